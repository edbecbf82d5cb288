//! Front ends: JavaScript/TypeScript and S-expressions to bytecode.
//!
//! ```text
//! text --parse--> tree --check, resolve--> symbols --lower--> Module
//!      (oxc)           (oxc_semantic, scope)       (lower/*)
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | [`diagnostic`] | build errors with code frames |
//! | `nesting` | refuses sources that would overflow the parser's stack |
//! | `files` | loads a blueprint and what it imports, parses, links names |
//! | `scope` | what each variable needs: register, cell or slot; checks before initialisation |
//! | `emit` | one function under construction: registers, jumps, sites, positions |
//! | [`sqlfile`] | `sql/*.sql`: named queries |
//! | [`schema`] | names in chains against the tables of the lock file |
//! | `lower` | tree to instructions: statements, expressions, patterns, calls, chains |
//! | `sexpr` | S-expressions: forms to statements |
//! | `work` | `work()` chains, read at build time |
//!
//! Whatever the language subset doesn't have is a build error with a code frame;
//! no construct is ever skipped silently (matches over the tree have no catch-all
//! that emits nothing).

pub mod diagnostic;
mod emit;
mod files;
mod lower;
mod nesting;
pub mod schema;
mod scope;
mod sexpr;
pub mod sqlfile;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub use diagnostic::{Diagnostic, Place, Severity, did_you_mean};
use forebay_bytecode::Module;

/// Where sources come from. Paths are relative to the app's folder, with `/`.
pub trait Loader: Sync {
    /// The text of a file, or `None` if there is none.
    fn load(&self, path: &str) -> Option<Box<str>>;
    /// Why `load` gave no text, if something is there.
    fn why(&self, _path: &str) -> Option<String> {
        None
    }
    /// Paths of the modules that can be imported, for "did you mean".
    fn modules(&self) -> Vec<String> {
        Vec::new()
    }
    /// Paths of the files with named queries (`sql/*.sql`), in order.
    fn queries(&self) -> Vec<String> {
        Vec::new()
    }
    /// The tables of the database, if it is known: what isn't among them is an error.
    fn schema(&self) -> Option<Arc<schema::Schema>> {
        None
    }
}

/// How to compile.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The file is a Script of ECMA-262 instead of a blueprint: its `var`s and functions are
    /// properties of the global object, unknown names are looked up there at run time, built-in
    /// names can be assigned, and there are no host functions but `print`. For conformance tests;
    /// nothing that a blueprint says turns it on.
    pub conformance: bool,
    /// Each statement of a handler tells the host that it runs ([`forebay_bytecode::HostFn::Cover`]): for the
    /// coverage of tests.
    pub coverage: bool,
}

/// Compiles a blueprint and what it imports.
///
/// The module is as its authors wrote it, or there is none: errors (at most
/// [`diagnostic::DIAGNOSTICS_MAX`]) or a module with warnings. Works on a thread of
/// its own, whose stack suffices for whatever the bounds on nesting let through.
pub fn compile(loader: &dyn Loader, path: &str) -> Result<(Module, Vec<Diagnostic>), Vec<Diagnostic>> {
    compile_with(loader, path, Options::default())
}

/// The same, with options.
pub fn compile_with(
    loader: &dyn Loader,
    path: &str,
    options: Options,
) -> Result<(Module, Vec<Diagnostic>), Vec<Diagnostic>> {
    let failed = |message: &str| {
        vec![Diagnostic {
            severity: Severity::Error,
            code: "FB0899",
            message: message.into(),
            file: path.into(),
            text: "".into(),
            place: Place::default(),
            labels: Vec::new(),
            hint: None,
        }]
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("compile".into())
            .stack_size(nesting::STACK_BYTES)
            .spawn_scoped(scope, || compile_here(loader, path, options));
        match thread {
            Ok(thread) => {
                thread.join().unwrap_or_else(|_| Err(failed("the compiler has failed on this file")))
            }
            Err(why) => Err(failed(&format!("there is no memory for the compiler's stack: {why}"))),
        }
    })
}

fn compile_here(
    loader: &dyn Loader,
    path: &str,
    options: Options,
) -> Result<(Module, Vec<Diagnostic>), Vec<Diagnostic>> {
    match loader.load(path) {
        Some(text) if sexpr::is_path(path) => sexpr::compile(loader, path, &text, options),
        _ => compile_tree(loader, path, options),
    }
}

/// The JavaScript front end, which the other one ends in.
fn compile_tree(
    loader: &dyn Loader,
    path: &str,
    options: Options,
) -> Result<(Module, Vec<Diagnostic>), Vec<Diagnostic>> {
    let allocator = oxc_allocator::Allocator::default();
    let mut sink = diagnostic::Sink::default();
    let files = files::Files::load(&allocator, loader, path, options, &mut sink);
    if sink.has_errors() {
        return sink.finish().map(|warnings| (Module::default(), warnings));
    }
    files.check_imports(&mut sink);
    if let Some(schema) = loader.schema() {
        schema::check(&files, &schema, &mut sink);
    }
    let (module, _) = lower::lower(&files, &mut sink);
    let warnings = sink.finish()?;
    #[cfg(debug_assertions)]
    if let Err(error) = forebay_bytecode::verify(module.clone()) {
        panic!("the compiler's own output: {error:?}\n{}", forebay_bytecode::disassemble(&module));
    }
    Ok((module, warnings))
}

/// The chains of a blueprint and of what it imports that give the same statement every time. `leaf` gives what stands
/// for value number n. Nothing for a blueprint with errors: those are [`compile`]'s to tell.
pub fn static_statements(
    loader: &dyn Loader,
    path: &str,
    leaf: &(dyn Fn(u16) -> forebay_base::Value + Sync),
) -> Vec<schema::StaticStatement> {
    if sexpr::is_path(path) {
        return Vec::new();
    }
    let here = || {
        let allocator = oxc_allocator::Allocator::default();
        let mut sink = diagnostic::Sink::default();
        let files = files::Files::load(&allocator, loader, path, Options::default(), &mut sink);
        if sink.has_errors() {
            return Vec::new();
        }
        let (_, trees) = lower::lower(&files, &mut sink);
        if sink.has_errors() { Vec::new() } else { schema::statements(&files, &trees, leaf) }
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("compile".into())
            .stack_size(nesting::STACK_BYTES)
            .spawn_scoped(scope, here);
        thread.map_or_else(|_| Vec::new(), |thread| thread.join().unwrap_or_default())
    })
}

/// Where the body of a script-style file begins, in bytes: behind its last import. None if it is in handler style, or
/// doesn't parse.
#[must_use]
pub fn script_body(path: &str, text: &str) -> Option<usize> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .stack_size(nesting::STACK_BYTES)
            .spawn_scoped(scope, || {
                let allocator = oxc_allocator::Allocator::default();
                let mut sink = diagnostic::Sink::default();
                let loader = SourceSet::one(path, text);
                // Its imports may not be there: only the file itself matters.
                let files = files::Files::load(&allocator, &loader, path, Options::default(), &mut sink);
                lower::script_body(&files)
            })
            .ok()?;
        thread.join().ok()?
    })
}

/// What only the app as a whole can show: two works of one name, two routes for
/// the same requests. One diagnostic per clash, at the later of the two.
#[must_use]
pub fn check_app(modules: &[&Module]) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut names: HashMap<&str, &str> = HashMap::new();
    let mut routes: HashMap<(String, String), &str> = HashMap::new();
    for module in modules {
        let Some(file) = module.files.first() else { continue };
        let mut report = |code, place: Place, message: String| {
            found.push(Diagnostic {
                severity: Severity::Error,
                code,
                message,
                file: Arc::from(&*file.path),
                text: Arc::from(&*file.text),
                place,
                labels: Vec::new(),
                hint: None,
            });
        };
        for work in &module.works {
            if let Some(other) = names.insert(&work.name, &file.path) {
                let place = work
                    .routes
                    .first()
                    .map_or(Place::default(), |r| Place { start: r.position.start, end: r.position.end });
                report("FB0507", place, format!("there is a work \"{}\" in `{other}`, too", work.name));
            }
            for route in &work.routes {
                let key = (route.method.to_string(), lower::normalised(&route.pattern));
                if let Some(other) = routes.insert(key, &file.path) {
                    let place = Place { start: route.position.start, end: route.position.end };
                    report(
                        "FB0510",
                        place,
                        format!("{} {} is a route of `{other}`, too", route.method, route.pattern),
                    );
                }
            }
        }
    }
    found
}

/// Sources in memory: tests, `forebay run`, and generations.
#[derive(Clone, Debug, Default)]
pub struct SourceSet {
    files: BTreeMap<Box<str>, Box<str>>,
}

impl SourceSet {
    /// No files yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One file.
    #[must_use]
    pub fn one(path: &str, text: &str) -> Self {
        Self::new().with(path, text)
    }

    /// Adds or replaces a file.
    #[must_use]
    pub fn with(mut self, path: &str, text: &str) -> Self {
        self.files.insert(path.into(), text.into());
        self
    }
}

impl Loader for SourceSet {
    fn load(&self, path: &str) -> Option<Box<str>> {
        self.files.get(path).cloned()
    }

    fn modules(&self) -> Vec<String> {
        self.files.keys().filter(|path| path.starts_with("lib/")).map(ToString::to_string).collect()
    }
}
