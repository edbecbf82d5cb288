//! The S-expression front end: `*.sxs` (docs/SEXPR.md).
//!
//! ```text
//! text --parse--> forms --emit--> statements + places --files, lower--> Module --places--> Module
//! ```
//!
//! Forms become the statements that a person would write for them in the other front end, and go the
//! rest of the way with those: one lowering, one set of checks, one bytecode. Each piece of a statement knows the form
//! that it stands for; places in diagnostics and in the module are those of the forms.

mod emit;
mod parse;

use std::sync::Arc;

use forebay_bytecode::Module;

use crate::diagnostic::{Diagnostic, Place, Severity};
use crate::{Loader, Options};

/// Which bytes of the code stand for which form.
#[derive(Default, Debug)]
struct Map {
    /// By `start`; an inner one follows the one around it.
    regions: Vec<Region>,
}

#[derive(Clone, Copy, Debug)]
struct Region {
    start: u32,
    end: u32,
    place: Place,
    outer: Option<u32>,
}

impl Map {
    /// The innermost form around these bytes.
    fn place(&self, start: u32, end: u32) -> Place {
        let mut at = self.regions.partition_point(|region| region.start <= start).checked_sub(1);
        while let Some(region) = at.and_then(|index| self.regions.get(index)) {
            if region.end >= end {
                return region.place;
            }
            at = region.outer.map(|outer| outer as usize);
        }
        Place::default()
    }
}

/// Whether a file is read by this front end.
pub(crate) fn is_path(path: &str) -> bool {
    path.ends_with(".sxs")
}

/// Shows the other front end the code in place of the forms.
struct Emitted<'l> {
    loader: &'l dyn Loader,
    path: &'l str,
    code: Box<str>,
}

impl Loader for Emitted<'_> {
    fn load(&self, path: &str) -> Option<Box<str>> {
        if path == self.path { Some(self.code.clone()) } else { self.loader.load(path) }
    }
    fn modules(&self) -> Vec<String> {
        self.loader.modules()
    }
    fn queries(&self) -> Vec<String> {
        self.loader.queries()
    }
    fn schema(&self) -> Option<Arc<crate::schema::Schema>> {
        self.loader.schema()
    }
}

/// Compiles a file of forms.
pub(crate) fn compile(
    loader: &dyn Loader,
    path: &str,
    text: &str,
    options: Options,
) -> Result<(Module, Vec<Diagnostic>), Vec<Diagnostic>> {
    let emitted = parse::parse(text).and_then(|forms| emit::emit(&forms));
    let shared: Arc<str> = text.into();
    let (code, map) = emitted.map_err(|refusal| {
        vec![Diagnostic {
            severity: Severity::Error,
            code: refusal.code,
            message: refusal.message,
            file: path.into(),
            text: shared.clone(),
            place: refusal.place,
            labels: refusal.label.into_iter().collect(),
            hint: refusal.hint,
        }]
    })?;
    let restore = |mut list: Vec<Diagnostic>| {
        for diagnostic in list.iter_mut().filter(|diagnostic| &*diagnostic.file == path) {
            diagnostic.text = shared.clone();
            let moved = |place: Place| map.place(place.start, place.end);
            diagnostic.place = moved(diagnostic.place);
            diagnostic.labels.iter_mut().for_each(|(place, _)| *place = moved(*place));
        }
        list
    };
    let loader = Emitted { loader, path, code: code.into() };
    let (mut module, warnings) = crate::compile_tree(&loader, path, options).map_err(restore)?;
    for position in module
        .functions
        .iter_mut()
        .flat_map(|function| &mut function.positions)
        .chain(
            module.works.iter_mut().flat_map(|work| work.routes.iter_mut().map(|route| &mut route.position)),
        )
        .filter(|position| position.file == 0)
    {
        let place = map.place(position.start, position.end);
        (position.start, position.end) = (place.start, place.end);
    }
    if let Some(file) = module.files.first_mut() {
        file.text = text.into();
    }
    Ok((module, restore(warnings)))
}
