//! From an app folder to a [`Generation`]: find the blueprints, compile, verify,
//! load, put together. Everything that `check`, `serve` and `dev` refuse is refused here.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use forebay_base::limits::TaskLimits;
use forebay_bytecode::{Module, content_hash, verify};
use forebay_compiler::schema::Schema;
use forebay_compiler::{Diagnostic, Loader, Options, Severity, compile_with};
use forebay_engine::{Blueprint, ErrorReport, LoadError};
use forebay_worker::Generation;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::codes;
use crate::frame::Frame;

/// Bytes of one source file. Beyond it the app is refused.
pub const SOURCE_BYTES_MAX: u64 = 1024 * 1024;
/// Blueprints of one app. Beyond it the app is refused.
pub const BLUEPRINT_COUNT_MAX: usize = 4096;
/// Depth of folders below `blueprints/`.
const DEPTH_MAX: usize = 32;

/// Reads sources from an app folder. Only files below it, by their path in it.
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
    schema: Option<Arc<Schema>>,
}

impl Folder {
    /// The app folder `root`.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), schema: None }
    }

    /// With the tables that its database has.
    #[must_use]
    pub fn with_schema(self, schema: Option<Schema>) -> Self {
        Self { schema: schema.map(Arc::new), ..self }
    }
}

impl Loader for Folder {
    fn load(&self, path: &str) -> Option<Box<str>> {
        let relative = Path::new(path);
        let inside = relative.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        let file = self.root.join(relative);
        let about = fs::metadata(&file).ok()?;
        // A pipe would be waited for, a device may have no end.
        if !inside || !about.is_file() || about.len() > SOURCE_BYTES_MAX {
            return None;
        }
        fs::read_to_string(file).ok().map(Into::into)
    }

    fn why(&self, path: &str) -> Option<String> {
        let file = self.root.join(path);
        let about = match fs::metadata(&file) {
            Ok(about) => about,
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Some(format!("can't be read: {error}"));
            }
            Err(_) => {
                return fs::read_link(&file).ok().map(|to| format!("is a link to nothing: {}", to.display()));
            }
        };
        if about.is_dir() {
            return Some("is a folder".to_owned());
        }
        if !about.is_file() {
            return Some("is not a regular file".to_owned());
        }
        if about.len() > SOURCE_BYTES_MAX {
            return Some(format!("has {} bytes; a source file has at most {SOURCE_BYTES_MAX}", about.len()));
        }
        let bytes = match fs::read(&file) {
            Ok(bytes) => bytes,
            Err(error) => return Some(format!("can't be read: {error}")),
        };
        let good = std::str::from_utf8(&bytes).err()?.valid_up_to();
        let line = 1 + bytes[..good].iter().filter(|byte| **byte == b'\n').count();
        Some(format!("is not UTF-8: byte 0x{:02x} in line {line}; save it as UTF-8", bytes[good]))
    }

    fn modules(&self) -> Vec<String> {
        let mut found = Vec::new();
        let _ = walk(&self.root, &self.root.join("lib"), 0, &mut |path| {
            if is_source(path) {
                found.push(path.to_owned());
            }
        });
        found
    }

    fn queries(&self) -> Vec<String> {
        self.sql_files()
    }

    fn schema(&self) -> Option<Arc<Schema>> {
        self.schema.clone()
    }
}

impl Folder {
    /// Paths of the sources below `blueprints/` and `lib/`, tests included, in order.
    #[must_use]
    pub fn sources(&self) -> Vec<String> {
        self.sources_below(&["blueprints", "lib"])
    }

    /// Paths of the sources below these folders, in order.
    #[must_use]
    pub fn sources_below(&self, folders: &[&str]) -> Vec<String> {
        let mut found = Vec::new();
        for folder in folders {
            let _ = walk(&self.root, &self.root.join(folder), 0, &mut |path| {
                if is_source(path) {
                    found.push(path.to_owned());
                }
            });
        }
        found.sort();
        found
    }

    /// Paths of `sql/*.sql`, in order.
    fn sql_files(&self) -> Vec<String> {
        let files = fs::read_dir(self.root.join("sql")).into_iter().flatten().flatten();
        let mut found: Vec<String> = files
            .filter_map(|file| file.file_name().into_string().ok())
            .filter(|name| name.ends_with(".sql") && !name.starts_with('.'))
            .map(|name| format!("sql/{name}"))
            .collect();
        found.sort();
        found
    }
}

/// Why an app can't be served, ready to be shown.
#[derive(Clone, Debug, Default)]
pub struct Problems {
    /// Code frames and sentences, one per problem.
    pub frames: Vec<String>,
    /// The same for programs: `code`, `file`, `line`, `column`, `message`.
    pub list: Vec<Value>,
}

impl Problems {
    /// One more, at its place in a file.
    pub fn show(&mut self, diagnostic: &Diagnostic) {
        self.add(diagnostic.render(), fact(diagnostic));
    }

    fn add(&mut self, text: String, fact: Value) {
        // What several blueprints import is wrong once.
        if self.list.contains(&fact) && self.frames.contains(&text) {
            return;
        }
        self.frames.push(text);
        self.list.push(fact);
    }

    /// One of the compiler's.
    pub fn diagnostic(&mut self, diagnostic: &Diagnostic) {
        self.add(diagnostic.render(), fact(diagnostic));
    }

    /// One more, as a sentence.
    pub fn sentence(&mut self, code: &str, text: String) {
        self.add(format!("error[{code}]: {text}"), json!({ "code": code, "message": text }));
    }

    /// Everything as one text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = self.frames.join("\n");
        let count = self.frames.len();
        let _ = write!(text, "\n{count} {}", if count == 1 { "problem" } else { "problems" });
        text.push_str(&codes::more(self.list.iter().filter_map(|fact| fact["code"].as_str())));
        text
    }
}

/// An app that compiled.
#[derive(Debug)]
pub struct Built {
    /// Ready to be served.
    pub generation: Generation,
    /// Code frames of warnings.
    pub warnings: Vec<String>,
}

/// Paths of an app's blueprints, in order.
#[must_use]
pub fn blueprints(root: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    let _ = walk(root, &root.join("blueprints"), 0, &mut |path| paths.push(path.to_owned()));
    paths.retain(|path| is_blueprint(path));
    paths.sort();
    paths
}

/// Compiles and loads everything in `root`, by the tables of its lock file if it has one.
///
/// # Errors
/// All problems that one pass can find.
pub fn build(root: &Path, id: u64, limits: &TaskLimits) -> Result<Built, Problems> {
    build_by(root, id, limits, locked(root)?)
}

/// The tables of the app's lock file.
fn locked(root: &Path) -> Result<Option<Schema>, Problems> {
    match crate::lock::Lock::load(root) {
        Ok(lock) => Ok(lock.map(|lock| lock.names())),
        Err(why) => {
            let mut problems = Problems::default();
            problems.sentence("app/lock", why);
            Err(problems)
        }
    }
}

/// Compiles and loads everything in `root`, by these tables.
///
/// # Errors
/// All problems that one pass can find.
pub fn build_by(
    root: &Path,
    id: u64,
    limits: &TaskLimits,
    schema: Option<Schema>,
) -> Result<Built, Problems> {
    let Parts { blueprints, hash, warnings } = parts_by(root, Options::default(), schema)?;
    match Generation::build(id, hash, root, blueprints, limits) {
        Ok(generation) => Ok(Built { generation, warnings }),
        Err(errors) => {
            let mut problems = Problems::default();
            for error in errors {
                problems.sentence("app/routes", error.to_string());
            }
            Err(problems)
        }
    }
}

/// What a generation is made of.
#[derive(Debug)]
pub struct Parts {
    /// One per file, without tests.
    pub blueprints: Vec<Arc<Blueprint>>,
    /// Of all of them.
    pub hash: String,
    /// Code frames of warnings.
    pub warnings: Vec<String>,
}

/// Compiles and loads the blueprints in `root`, by the tables of its lock file if it has one.
///
/// # Errors
/// All problems that one pass can find.
pub fn parts(root: &Path, options: Options) -> Result<Parts, Problems> {
    parts_by(root, options, locked(root)?)
}

fn parts_by(root: &Path, options: Options, schema: Option<Schema>) -> Result<Parts, Problems> {
    let mut problems = Problems::default();
    let mut paths = Vec::new();
    let folder = root.join("blueprints");
    if let Err(error) = walk(root, &folder, 0, &mut |path| paths.push(path.to_owned())) {
        problems.sentence("app/blueprints", format!("can't read {}: {error}", folder.display()));
        return Err(problems);
    }
    paths.sort();
    if paths.len() > BLUEPRINT_COUNT_MAX {
        problems.sentence("app/blueprints", format!("more than {BLUEPRINT_COUNT_MAX} blueprints"));
        return Err(problems);
    }
    let loader = Folder::new(root).with_schema(schema);
    let mut blueprints = Vec::new();
    let mut warnings = Vec::new();
    let mut hash = Sha256::new();
    for path in &paths {
        if !is_blueprint(path) {
            continue;
        }
        if let Some(blueprint) = load_one(&loader, path, options, &mut hash, &mut warnings, &mut problems) {
            blueprints.push(blueprint);
        }
    }
    if !problems.frames.is_empty() {
        return Err(problems);
    }
    let hash: String = hash.finalize().iter().take(8).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    Ok(Parts { blueprints, hash, warnings })
}

fn load_one(
    loader: &dyn Loader,
    path: &str,
    options: Options,
    hash: &mut Sha256,
    warnings: &mut Vec<String>,
    problems: &mut Problems,
) -> Option<Arc<Blueprint>> {
    match load_file_with(loader, path, options) {
        Ok((blueprint, diagnostics)) => {
            hash.update(content_hash(blueprint.module()));
            warnings.extend(diagnostics.iter().map(Diagnostic::render));
            Some(blueprint)
        }
        Err(LoadFailure::Build(diagnostics)) => {
            diagnostics.iter().for_each(|diagnostic| problems.diagnostic(diagnostic));
            None
        }
        Err(LoadFailure::Bug(text)) => {
            problems.sentence("app/compiler", text);
            None
        }
        Err(LoadFailure::Init(module, report)) => {
            let text = explain(&module, &report);
            problems.add(text, json!({ "code": report.code, "file": path, "message": report.message }));
            None
        }
    }
}

/// Why one file can't be loaded.
#[derive(Debug)]
pub enum LoadFailure {
    /// Its author's mistakes.
    Build(Vec<Diagnostic>),
    /// Its top level threw.
    Init(Box<Module>, Box<ErrorReport>),
    /// Ours: the compiler wrote what the verifier refuses, or the kernel gave no memory.
    Bug(String),
}

/// Compiles, verifies and loads one file; also gives its warnings.
///
/// # Errors
/// [`LoadFailure`].
pub fn load_file(loader: &dyn Loader, path: &str) -> Result<(Arc<Blueprint>, Vec<Diagnostic>), LoadFailure> {
    load_file_with(loader, path, Options::default())
}

fn load_file_with(
    loader: &dyn Loader,
    path: &str,
    options: Options,
) -> Result<(Arc<Blueprint>, Vec<Diagnostic>), LoadFailure> {
    let (module, warnings) = compile_with(loader, path, options).map_err(LoadFailure::Build)?;
    let kept = module.clone();
    let verified = verify(module).map_err(|error| {
        LoadFailure::Bug(format!("{path}: the compiler made bytecode that its own verifier refuses: {error}"))
    })?;
    match Blueprint::load(&verified) {
        Ok(blueprint) => Ok((blueprint, warnings)),
        Err(LoadError::Init(report)) => Err(LoadFailure::Init(Box::new(kept), report)),
        Err(LoadError::NoMemory) => Err(LoadFailure::Bug(format!("{path}: the kernel gave no memory"))),
    }
}

fn fact(diagnostic: &Diagnostic) -> Value {
    let (line, column) = diagnostic.line_column();
    json!({
        "code": diagnostic.code,
        "severity": if diagnostic.severity == Severity::Error { "error" } else { "warning" },
        "file": &*diagnostic.file,
        "line": line,
        "column": column,
        "message": diagnostic.message,
        "hint": diagnostic.hint,
    })
}

/// An error of a running script as a code frame, with its stack.
#[must_use]
pub fn explain(module: &Module, report: &ErrorReport) -> String {
    let title = match (&*report.name, &*report.message) {
        ("", message) => message.to_owned(),
        (name, "") => name.to_owned(),
        (name, message) => format!("{name}: {message}"),
    };
    let place = report.position.and_then(|(file, start, end)| {
        module.files.get(usize::from(file)).map(|file| (file, start as usize..end as usize))
    });
    let Some((file, span)) = place else {
        let text = format!("error[{}]: {title}\n{}", report.code, report.stack).trim_end().to_owned();
        return text + &more_about(&report.code);
    };
    // Codes of traps are ours and few; a frame wants them to live as long as the program.
    let code = forebay_engine::Trap::ALL.iter().map(|trap| trap.code()).find(|code| **code == *report.code);
    let frame = Frame { code: code.unwrap_or("script_error"), title, span, label: String::new(), help: None };
    let mut text = frame.render(&file.path, &file.text, false);
    if !report.stack.is_empty() {
        let _ = write!(text, "\n{}", report.stack.trim_end());
    }
    text + &more_about(&report.code)
}

/// Of an exception the message says all there is to say.
fn more_about(code: &str) -> String {
    if code == "script_error" { String::new() } else { codes::more([code]) }
}

fn is_blueprint(path: &str) -> bool {
    let is_test = path.ends_with(".test.js") || path.ends_with(".test.ts");
    path.ends_with(".sxs") || (is_source(path) && !is_test)
}

fn is_source(path: &str) -> bool {
    path.ends_with(".js") || path.ends_with(".ts")
}

/// Calls `each` with every file below `folder`, by its path in `root`; none if there is no such folder.
fn walk(root: &Path, folder: &Path, depth: usize, each: &mut dyn FnMut(&str)) -> std::io::Result<()> {
    let items = match fs::read_dir(folder) {
        Ok(items) => items,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for item in items {
        let path = item?.path();
        let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        if hidden {
            continue;
        }
        let refuse = |why: &str| Err(std::io::Error::other(format!("{} {why}", path.display())));
        if path.is_dir() {
            if depth >= DEPTH_MAX {
                return refuse("lies too deep");
            }
            if path.is_symlink() && fs::canonicalize(folder)?.starts_with(fs::canonicalize(&path)?) {
                return refuse("is a link to a folder that it lies in");
            }
            walk(root, &path, depth + 1, each)?;
        } else if let Some(name) = path.strip_prefix(root).ok().and_then(Path::to_str) {
            each(name);
        } else if is_blueprint(&path.to_string_lossy()) {
            return refuse("has a name that is not UTF-8");
        }
    }
    Ok(())
}
