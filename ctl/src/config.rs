//! `forebay.toml`: what an app folder says about its listener, limits, database
//! and placement. A pure parser: text in, [`Config`] or a list of code frames out.
//!
//! ```toml
//! listen = "127.0.0.1:8080"          # or a list
//! data = ".forebay/data"             # relative to the app folder
//! admin = ".forebay/admin.sock"
//! cores = [0, 1]                     # or "0-3,8"
//! placement = "auto"                 # auto | inline | split
//! huge_pages = true                  # forebay's own code
//!
//! [limits]                           # HttpLimits and TaskLimits of base/src/limits.rs
//! body_bytes = "1MiB"
//! wall_time = "30s"
//! [worker]                           # WorkerLimits
//! tasks = 4096
//! [database]                         # DatabaseLimits, and
//! url = "private"                    # or "postgres://..." or "$NAME" of the environment
//! [database.other]                   # another one, for db("other"): the same keys
//! url = "$OTHER_DATABASE"
//! [env]
//! allow = ["STRIPE_KEY"]             # what env() may read
//! [dev.rewrite]                      # outbound HTTP in `forebay dev`
//! "https://api.exchangerate.host" = "/_fake/rates"
//! ```
//!
//! Every key is read by name through `Reader`, which so learns all names: a key
//! that nobody asked for is an error with the nearest name that somebody did.
//! All errors of a file are reported at once.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use forebay_base::limits::{DatabaseLimits, HEADER_COUNT_MAX, HttpLimits, TaskLimits, WorkerLimits};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::frame::{Frame, nearest};
use crate::units;

/// Bytes of a configuration file that are read; a larger one is refused.
pub const CONFIG_BYTES_MAX: u64 = 1024 * 1024;
/// Listeners of one app.
pub const LISTEN_COUNT_MAX: usize = 16;

/// What to do about reactor and worker threads; see [`forebay_tuning::plan`].
pub use forebay_tuning::Placement;

/// Everything that `forebay.toml` and the command line decide.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Config {
    /// TCP addresses to listen on; empty: the command's default.
    pub listen: Vec<SocketAddr>,
    /// Data folder (log store, generations); `None`: the command's default.
    pub data: Option<PathBuf>,
    /// Path of the admin socket; `None`: the command's default.
    pub admin: Option<PathBuf>,
    /// CPU numbers that may be used, one data-path core each; `None`: all that are allowed.
    pub cores: Option<Vec<u32>>,
    /// Forced placement; `None` is `"auto"`.
    pub placement: Option<Placement>,
    /// `huge_pages = false`: the program's code stays on small pages.
    pub small_pages: bool,
    /// `[limits]`, the part of connections and requests.
    pub http: HttpLimits,
    /// `[limits]`, the part of tasks.
    pub task: TaskLimits,
    /// `[worker]`.
    pub worker: WorkerLimits,
    /// `[kv]`: what each tenant may store.
    pub quota: forebay_kv::Quota,
    /// `[database]`, if there is one.
    pub database: Option<Database>,
    /// `[database.NAME]`, for `db("NAME")`.
    pub more_databases: Vec<(String, Database)>,
    /// `[dev.rewrite]`, longest origin first.
    pub rewrites: Vec<Rewrite>,
    /// Names of environment variables that scripts may read (`[env] allow`).
    pub env_allow: Vec<String>,
    /// `[http] allow_private`: outbound requests may go to private addresses.
    pub allow_private: bool,
}

/// `[database]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// Where it is.
    pub source: DatabaseSource,
    /// Pool sizes, queues and deadlines.
    pub limits: DatabaseLimits,
}

/// `[database] url`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseSource {
    /// `"private"`: a cluster of the app's own (crate::devpg).
    Private,
    /// `postgres://user:password@host:port/name?...` or `host=... dbname=...`, checked
    /// by the client's own parser.
    Url(String),
    /// `"$NAME"`: the URL is in this environment variable, so that no secret is in the file.
    Variable(String),
}

impl DatabaseSource {
    /// The URL, or `None` for a private cluster.
    ///
    /// # Errors
    /// A sentence, if the variable isn't set.
    pub fn url(&self, env: impl Fn(&str) -> Option<String>) -> Result<Option<String>, String> {
        match self {
            Self::Private => Ok(None),
            Self::Url(url) => Ok(Some(url.clone())),
            Self::Variable(name) => env(name).filter(|url| !url.is_empty()).map(Some).ok_or_else(|| {
                format!("[database] url is \"${name}\", but the environment has no variable {name}")
            }),
        }
    }
}

/// One line of `[dev.rewrite]`: outbound requests to an origin go elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// `scheme://host[:port]`, lower case, no trailing slash.
    pub from: String,
    /// Where to.
    pub to: RewriteTarget,
}

/// The right side of a rewrite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RewriteTarget {
    /// Another base URL, no trailing slash; the request's path is appended.
    Url(String),
    /// A path of the app's own listener (begins with `/`, no trailing slash),
    /// so that a blueprint can play the outside world.
    Own(String),
}

impl Rewrite {
    /// The URL that `url` becomes, if this rewrite applies to it. `own` is the
    /// app's own base URL, as in `http://127.0.0.1:8080`.
    #[must_use]
    pub fn apply(&self, url: &str, own: &str) -> Option<String> {
        let head = url.get(..self.from.len())?;
        let rest = &url[self.from.len()..];
        // An origin ends where a path, a query or the URL does: not inside a host name or port.
        if !head.eq_ignore_ascii_case(&self.from) || !(rest.is_empty() || rest.starts_with(['/', '?', '#'])) {
            return None;
        }
        Some(match &self.to {
            RewriteTarget::Url(base) => format!("{base}{rest}"),
            RewriteTarget::Own(path) => format!("{own}{path}{rest}"),
        })
    }
}

/// What the command line says; each part wins over the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--listen`; replaces the file's list if not empty.
    pub listen: Vec<SocketAddr>,
    /// `--data`.
    pub data: Option<PathBuf>,
    /// `--admin`.
    pub admin: Option<PathBuf>,
    /// `--cores`.
    pub cores: Option<Vec<u32>>,
    /// `--placement`; the outer `None` means that it wasn't given.
    pub placement: Option<Option<Placement>>,
}

impl Config {
    /// Parses the text of a `forebay.toml`. `folder` is the app's: relative
    /// paths of the file start there.
    ///
    /// # Errors
    /// All errors of the file, in the order of their place.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, Vec<Frame>> {
        let root = DeTable::parse(text).map_err(|error| {
            vec![Frame {
                code: "config/syntax",
                title: "this is not TOML".to_owned(),
                span: error.span().unwrap_or(0..0),
                label: error.message().lines().next().unwrap_or_default().to_owned(),
                help: None,
            }]
        })?;
        let reader = Reader::default();
        let config = read(&reader, root.get_ref(), folder);
        let mut errors = reader.finish();
        if errors.is_empty() {
            return Ok(config);
        }
        errors.sort_by_key(|frame| frame.span.start);
        Err(errors)
    }

    /// Every key that has a meaning, as (section, key); the top level is "".
    #[must_use]
    pub fn keys() -> Vec<(&'static str, &'static str)> {
        let reader = Reader::default();
        read(&reader, &DeTable::new(), Path::new(""));
        reader.known.into_inner()
    }

    /// Reads `path`, or an empty configuration if `optional` and there is no such
    /// file. Relative paths in it start at `folder`.
    ///
    /// # Errors
    /// The text for stderr: code frames, or why the file can't be read.
    pub fn load(path: &Path, folder: &Path, optional: bool, color: bool) -> Result<Self, String> {
        let shown = path.display();
        let text = match std::fs::metadata(path) {
            Ok(meta) if meta.len() > CONFIG_BYTES_MAX => {
                return Err(format!("{shown} is larger than {}", units::show_size(CONFIG_BYTES_MAX)));
            }
            Ok(_) => std::fs::read_to_string(path).map_err(|e| format!("can't read {shown}: {e}"))?,
            Err(e) if optional && e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(format!("can't read {shown}: {e}")),
        };
        Self::parse(&text, folder).map_err(|frames| {
            let more = crate::codes::more(frames.iter().map(|frame| frame.code));
            let frames: Vec<_> = frames.iter().map(|f| f.render(&shown.to_string(), &text, color)).collect();
            frames.join("\n\n") + &more
        })
    }

    /// Applies the command line.
    #[must_use]
    pub fn with(mut self, over: Overrides) -> Self {
        if !over.listen.is_empty() {
            self.listen = over.listen;
        }
        self.data = over.data.or(self.data);
        self.admin = over.admin.or(self.admin);
        self.cores = over.cores.or(self.cores);
        self.placement = over.placement.unwrap_or(self.placement);
        self
    }

    /// Where to listen: what is configured, else 127.0.0.1:8080.
    #[must_use]
    pub fn listen_or_default(&self) -> Vec<SocketAddr> {
        let default = SocketAddr::from(([127, 0, 0, 1], 8080));
        if self.listen.is_empty() { vec![default] } else { self.listen.clone() }
    }

    /// The data folder: what is configured, else `.forebay/data` of the app.
    #[must_use]
    pub fn data_folder(&self, app: &Path) -> PathBuf {
        self.data.clone().unwrap_or_else(|| app.join(".forebay/data"))
    }

    /// The admin socket: what is configured, else as [`crate::admin::default_server_path`].
    #[must_use]
    pub fn admin_path(&self, app: &Path) -> PathBuf {
        self.admin.clone().unwrap_or_else(|| crate::admin::default_server_path(app))
    }

    /// What the configuration asks of the placement.
    #[must_use]
    pub fn plan_request(&self) -> forebay_tuning::Request {
        forebay_tuning::Request { cores: self.cores.clone(), placement: self.placement }
    }

    /// The URL that an outbound request to `url` goes to in dev, if a rewrite applies.
    #[must_use]
    pub fn rewrite(&self, url: &str, own: &str) -> Option<String> {
        self.rewrites.iter().find_map(|rewrite| rewrite.apply(url, own))
    }
}

/// A listen address: `127.0.0.1:8080`, `[::]:443`, `localhost:8080`.
///
/// # Errors
/// A sentence that says what an address looks like.
pub fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    numeric.parse().map_err(|_| {
        let port = text.trim_start_matches(':');
        if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) {
            format!(
                "an address needs a host: \"127.0.0.1:{port}\" (this machine) or \"0.0.0.0:{port}\" (all)"
            )
        } else {
            "not an address; write IP:PORT, as in \"127.0.0.1:8080\" or \"[::]:443\"".to_owned()
        }
    })
}

/// `auto`, `inline` or `split`.
///
/// # Errors
/// A sentence that lists them.
pub fn placement(text: &str) -> Result<Option<Placement>, String> {
    match text {
        "auto" => Ok(None),
        "inline" => Ok(Some(Placement::Inline)),
        "split" => Ok(Some(Placement::Split)),
        _ => Err("not a placement; one of \"auto\", \"inline\", \"split\"".to_owned()),
    }
}

/// The shape of the file, key by key.
fn read(reader: &Reader, root: &DeTable<'_>, folder: &Path) -> Config {
    let mut config = Config::default();
    let top = reader.section("", Some(root));
    top.strings("listen", LISTEN_COUNT_MAX, |text| {
        config.listen.push(listen_address(text)?);
        Ok(())
    });
    top.string("data", |text| path(text, folder).map(|p| config.data = Some(p)));
    top.string("admin", |text| path(text, folder).map(|p| config.admin = Some(p)));
    top.cores("cores", &mut config.cores);
    top.string("placement", |text| placement(text).map(|p| config.placement = p));
    let mut huge_pages = true;
    top.flag("huge_pages", &mut huge_pages);
    config.small_pages = !huge_pages;

    {
        let limits = top.table("limits");
        let HttpLimits {
            request_head_bytes,
            uri_bytes,
            header_count,
            body_bytes,
            requests_per_turn,
            connections,
            output_bytes,
            held_bytes,
            idle_timeout,
            header_timeout,
            body_timeout,
            write_timeout,
        } = &mut config.http;
        limits.size("request_head_bytes", request_head_bytes, 256..=1 << 20);
        limits.size("uri_bytes", uri_bytes, 64..=1 << 20);
        limits.count("header_count", header_count, 1..=HEADER_COUNT_MAX);
        limits.size("body_bytes", body_bytes, 0..=1 << 30);
        limits.count("requests_per_turn", requests_per_turn, 1..=1024);
        limits.count("connections", connections, 1..=1 << 20);
        limits.size("output_bytes", output_bytes, 4096..=1 << 30);
        limits.size("held_bytes", held_bytes, 1 << 20..=1 << 40);
        limits.duration("idle_timeout", idle_timeout);
        limits.duration("header_timeout", header_timeout);
        limits.duration("body_timeout", body_timeout);
        limits.duration("write_timeout", write_timeout);
        let TaskLimits { fuel, wall_time, memory, stack_depth, fibers, effects } = &mut config.task;
        limits.fuel("fuel", fuel);
        limits.duration("wall_time", wall_time);
        limits.size("memory", memory, 64 << 10..=1 << 30);
        limits.count("stack_depth", stack_depth, 16..=1_000_000);
        limits.count("fibers", fibers, 1..=1 << 20);
        limits.count("effects", effects, 1..=1 << 16);
    }
    {
        let worker = top.table("worker");
        let WorkerLimits { request_queue, tasks, slice_fuel } = &mut config.worker;
        worker.power_of_two("request_queue", request_queue, 2..=1 << 20);
        worker.count("tasks", tasks, 1..=1 << 20);
        worker.fuel("slice_fuel", slice_fuel);
    }
    {
        let kv = top.table("kv");
        let limit = |key: &'static str, into: &mut u64| {
            let mut value = usize::try_from(*into).unwrap_or(usize::MAX);
            kv.size(key, &mut value, 1..=1 << 50);
            *into = value as u64;
        };
        limit("bytes", &mut config.quota.bytes);
        let mut keys = usize::try_from(config.quota.keys).unwrap_or(usize::MAX);
        kv.count("keys", &mut keys, 1..=1 << 40);
        config.quota.keys = keys as u64;
    }
    {
        let database = top.table("database");
        config.database = database_of(&database);
        for (name, table) in database.named() {
            match database_of(&reader.section("database.NAME", table)) {
                Some(more) => config.more_databases.push((name, more)),
                None if table.is_some_and(|table| !table.contains_key("url")) => {
                    database.bad_value(&name, database.span_of(&name), "it needs a url of its own".into());
                }
                None => {}
            }
        }
    }
    {
        let env = top.table("env");
        env.strings("allow", 256, |text| {
            if text.is_empty() || text.contains(['=', '\0']) {
                return Err("not the name of an environment variable".to_owned());
            }
            config.env_allow.push(text.to_owned());
            Ok(())
        });
    }
    top.table("http").flag("allow_private", &mut config.allow_private);
    {
        let dev = top.table("dev");
        dev.map("rewrite", |from, to| {
            config.rewrites.push(rewrite(from, to)?);
            Ok(())
        });
        config.rewrites.sort_by_key(|rewrite| std::cmp::Reverse(rewrite.from.len()));
    }
    config
}

/// `[database]` and its like; `None` without a usable url.
fn database_of(section: &Section<'_>) -> Option<Database> {
    let mut source = None;
    section.string("url", |text| database_source(text).map(|s| source = Some(s)));
    let mut limits = DatabaseLimits::default();
    let DatabaseLimits {
        connections,
        window,
        queue,
        acquire_timeout,
        result_bytes,
        statements,
        transactions,
        lifetime,
        idle_check,
    } = &mut limits;
    section.count("connections", connections, 1..=1024);
    section.count("window", window, 1..=4096);
    section.count("queue", queue, 0..=1 << 20);
    section.duration("acquire_timeout", acquire_timeout);
    section.size("result_bytes", result_bytes, 1 << 10..=1 << 30);
    section.count("statements", statements, 1..=1 << 16);
    section.count("transactions", transactions, 0..=1024);
    section.duration("lifetime", lifetime);
    section.duration("idle_check", idle_check);
    if source.is_none() && section.name == "database" {
        section.missing("url", "\"private\", \"postgres://...\" or \"$NAME\"");
    }
    source.map(|source| Database { source, limits })
}

fn path(text: &str, folder: &Path) -> Result<PathBuf, String> {
    if text.is_empty() || text.contains('\0') {
        return Err("not a path".to_owned());
    }
    Ok(folder.join(text))
}

fn database_source(text: &str) -> Result<DatabaseSource, String> {
    if text == "private" {
        Ok(DatabaseSource::Private)
    } else if let Some(name) = text.strip_prefix('$').filter(|name| !name.is_empty()) {
        Ok(DatabaseSource::Variable(name.to_owned()))
    } else if text.starts_with("postgres://") || text.starts_with("postgresql://") || is_pairs(text) {
        Ok(DatabaseSource::Url(text.to_owned()))
    } else {
        Err("one of \"private\", \"postgres://user@host/name\", or \"$NAME\" of the environment".to_owned())
    }
}

/// `host=/run/postgresql dbname=shop`, libpq's other spelling.
fn is_pairs(text: &str) -> bool {
    text.contains('=') && !text.contains("://")
}

fn rewrite(from: &str, to: &str) -> Result<Rewrite, String> {
    let origin = from.trim_end_matches('/').to_ascii_lowercase();
    let authority =
        http_rest(&origin).ok_or("the left side is an origin: \"https://host\" or \"http://host:port\"")?;
    if authority.is_empty() || authority.contains(['/', '?', '#', '@']) {
        return Err("the left side is an origin, without a path: \"https://host\"".to_owned());
    }
    let target = to.trim_end_matches('/');
    let to = if to.starts_with('/') && !to.starts_with("//") {
        RewriteTarget::Own(target.to_owned())
    } else if http_rest(target).is_some_and(|rest| !rest.is_empty() && !rest.contains(['?', '#', '@'])) {
        RewriteTarget::Url(target.to_owned())
    } else {
        return Err(
            "the right side is \"http://host:port\" or a path of this app, as in \"/_fake\"".to_owned()
        );
    };
    Ok(Rewrite { from: origin, to })
}

fn http_rest(url: &str) -> Option<&str> {
    url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"))
}

/// Collects errors and the names that were asked for.
#[derive(Default)]
struct Reader {
    errors: RefCell<Vec<Frame>>,
    /// (section, key) of everything that has a meaning.
    known: RefCell<Vec<(&'static str, &'static str)>>,
    /// (section, key, place) of everything that the file has.
    found: RefCell<Vec<(&'static str, String, Range<usize>)>>,
}

impl Reader {
    /// A section that is absent is read as well, so that its names are known.
    fn section<'a>(&'a self, name: &'static str, table: Option<&'a DeTable<'a>>) -> Section<'a> {
        for key in table.into_iter().flat_map(|table| table.keys()) {
            self.found.borrow_mut().push((name, key.get_ref().to_string(), key.span()));
        }
        Section { reader: self, name, table }
    }

    fn error(&self, code: &'static str, title: String, span: Range<usize>, label: String) {
        self.errors.borrow_mut().push(Frame { code, title, span, label, help: None });
    }

    /// Adds the keys that nobody asked for.
    fn finish(self) -> Vec<Frame> {
        let mut errors = self.errors.into_inner();
        let known = self.known.into_inner();
        for (section, key, span) in self.found.into_inner() {
            if known.contains(&(section, &key)) {
                continue;
            }
            let here = || known.iter().filter(|(s, _)| *s == section).map(|(_, k)| *k);
            let elsewhere = known.iter().find(|(_, k)| *k == key).map(|(s, _)| *s);
            let help = match (nearest(&key, here()), elsewhere) {
                (Some(name), _) => format!("did you mean `{name}`?"),
                (None, Some("")) => format!("`{key}` belongs above the first [section]"),
                (None, Some(other)) => format!("`{key}` belongs to [{other}]"),
                (None, None) => format!("known here: {}", here().collect::<Vec<_>>().join(", ")),
            };
            let place = if section.is_empty() { "the top level".to_owned() } else { format!("[{section}]") };
            errors.push(Frame {
                code: "config/unknown-key",
                title: format!("unknown key `{key}`"),
                span,
                label: format!("not a key of {place}"),
                help: Some(help),
            });
        }
        errors
    }
}

/// One table of the file.
struct Section<'a> {
    reader: &'a Reader,
    name: &'static str,
    table: Option<&'a DeTable<'a>>,
}

impl<'a> Section<'a> {
    fn get(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.reader.known.borrow_mut().push((self.name, key));
        self.table?.get(key)
    }

    fn flag(&self, key: &'static str, into: &mut bool) {
        let Some(value) = self.get(key) else { return };
        match value.get_ref() {
            DeValue::Boolean(value) => *into = *value,
            _ => self.wrong_type(key, value, "true or false"),
        }
    }

    fn wrong_type(&self, key: &str, value: &Spanned<DeValue<'_>>, expected: &str) {
        let found = value.get_ref().type_str();
        self.reader.error(
            "config/type",
            format!("`{key}` must be {expected}"),
            value.span(),
            format!("this is {} {found}", if found.starts_with(['a', 'i']) { "an" } else { "a" }),
        );
    }

    fn bad_value(&self, key: &str, span: Range<usize>, reason: String) {
        self.reader.error("config/value", format!("`{key}` has a value that can't be used"), span, reason);
    }

    fn missing(&self, key: &'static str, expected: &str) {
        // No such section; or the value was there but wrong, which is reported already.
        if self.table.is_none_or(|table| table.contains_key(key)) {
            return;
        }
        let section = self
            .reader
            .found
            .borrow()
            .iter()
            .find(|(s, k, _)| s.is_empty() && k == self.name)
            .map(|f| f.2.clone());
        self.reader.error(
            "config/missing-key",
            format!("[{}] needs `{key}`", self.name),
            section.unwrap_or(0..0),
            format!("add {key} = {expected}"),
        );
    }

    /// The tables in it, whose names are data.
    fn named(&self) -> Vec<(String, Option<&'a DeTable<'a>>)> {
        let mut named = Vec::new();
        for (name, value) in self.table.into_iter().flatten() {
            if let Some(table) = value.get_ref().as_table() {
                let name = name.get_ref().to_string();
                self.reader
                    .found
                    .borrow_mut()
                    .retain(|(section, key, _)| *section != self.name || *key != name);
                named.push((name, Some(table)));
            }
        }
        named
    }

    fn span_of(&self, key: &str) -> Range<usize> {
        self.table.and_then(|table| table.get(key)).map_or(0..0, Spanned::span)
    }

    fn table(&self, key: &'static str) -> Section<'a> {
        let table = self.get(key).and_then(|value| {
            let table = value.get_ref().as_table();
            if table.is_none() {
                self.wrong_type(key, value, &format!("a section, [{key}]"));
            }
            table
        });
        self.reader.section(key, table)
    }

    fn string(&self, key: &'static str, mut take: impl FnMut(&str) -> Result<(), String>) {
        let Some(value) = self.get(key) else { return };
        match value.get_ref().as_str() {
            Some(text) => {
                if let Err(reason) = take(text) {
                    self.bad_value(key, value.span(), reason);
                }
            }
            None => self.wrong_type(key, value, "a string"),
        }
    }

    /// A string or a list of strings.
    fn strings(&self, key: &'static str, max: usize, mut take: impl FnMut(&str) -> Result<(), String>) {
        let Some(value) = self.get(key) else { return };
        let one = std::slice::from_ref(value);
        let items: &[Spanned<DeValue<'_>>] = match value.get_ref().as_array() {
            Some(items) => items,
            None => one,
        };
        if items.len() > max {
            self.bad_value(key, value.span(), format!("at most {max} items"));
            return;
        }
        for item in items {
            match item.get_ref().as_str() {
                Some(text) => {
                    if let Err(reason) = take(text) {
                        self.bad_value(key, item.span(), reason);
                    }
                }
                None => self.wrong_type(key, item, "a string or a list of strings"),
            }
        }
    }

    /// A section of strings whose keys are data.
    fn map(&self, key: &'static str, mut take: impl FnMut(&str, &str) -> Result<(), String>) {
        let Some(value) = self.get(key) else { return };
        let Some(table) = value.get_ref().as_table() else {
            self.wrong_type(key, value, &format!("a section, [{}.{key}]", self.name));
            return;
        };
        for (name, item) in table {
            match item.get_ref().as_str() {
                Some(text) => {
                    if let Err(reason) = take(name.get_ref(), text) {
                        self.bad_value(name.get_ref(), name.span().start..item.span().end, reason);
                    }
                }
                None => self.wrong_type(name.get_ref(), item, "a string"),
            }
        }
    }

    fn duration(&self, key: &'static str, into: &mut Duration) {
        self.string(key, |text| {
            let value = units::duration(text)?;
            if value.is_zero() || value > Duration::from_secs(366 * 86_400) {
                return Err("must be above 0 and at most 366d".to_owned());
            }
            *into = value;
            Ok(())
        });
    }

    fn integer(&self, key: &'static str, value: &Spanned<DeValue<'_>>) -> Option<u64> {
        let digits = value
            .get_ref()
            .as_integer()
            .and_then(|i| u64::from_str_radix(i.as_str().trim_start_matches('+'), i.radix()).ok());
        if digits.is_none() {
            if value.get_ref().is_integer() {
                self.bad_value(key, value.span(), "must be at least 0 and fit 64 bits".to_owned());
            } else {
                self.wrong_type(key, value, "a whole number");
            }
        }
        digits
    }

    fn size(&self, key: &'static str, into: &mut usize, range: std::ops::RangeInclusive<usize>) {
        let Some(value) = self.get(key) else { return };
        let bytes = match value.get_ref().as_str() {
            Some(text) => match units::size(text) {
                Ok(bytes) => Some(bytes),
                Err(reason) => {
                    self.bad_value(key, value.span(), reason);
                    None
                }
            },
            None if value.get_ref().is_integer() => self.integer(key, value),
            None => {
                self.wrong_type(key, value, "a size, as in \"64MiB\" or 4096");
                None
            }
        };
        let Some(bytes) = bytes else { return };
        match usize::try_from(bytes).ok().filter(|bytes| range.contains(bytes)) {
            Some(bytes) => *into = bytes,
            None => {
                let (low, high) =
                    (units::show_size(*range.start() as u64), units::show_size(*range.end() as u64));
                self.bad_value(key, value.span(), format!("must be {low} to {high}"));
            }
        }
    }

    fn count(&self, key: &'static str, into: &mut usize, range: std::ops::RangeInclusive<usize>) {
        let Some(value) = self.get(key) else { return };
        let Some(count) = self.integer(key, value) else { return };
        match usize::try_from(count).ok().filter(|count| range.contains(count)) {
            Some(count) => *into = count,
            None => {
                self.bad_value(key, value.span(), format!("must be {} to {}", range.start(), range.end()));
            }
        }
    }

    fn power_of_two(&self, key: &'static str, into: &mut usize, range: std::ops::RangeInclusive<usize>) {
        let mut value = *into;
        self.count(key, &mut value, range);
        if value.is_power_of_two() {
            *into = value;
        } else if let Some(found) = self.table.and_then(|table| table.get(key)) {
            self.bad_value(
                key,
                found.span(),
                format!("must be a power of two, as {}", value.next_power_of_two()),
            );
        }
    }

    fn fuel(&self, key: &'static str, into: &mut u64) {
        let Some(value) = self.get(key) else { return };
        match self.integer(key, value) {
            Some(0) => self.bad_value(key, value.span(), "must be at least 1".to_owned()),
            Some(fuel) => *into = fuel,
            None => {}
        }
    }

    /// `[0, 1]` or `"0-3,8"`.
    fn cores(&self, key: &'static str, into: &mut Option<Vec<u32>>) {
        let Some(value) = self.get(key) else { return };
        let list = match (value.get_ref().as_str(), value.get_ref().as_array()) {
            (Some(text), _) => text.to_owned(),
            (None, Some(items)) => {
                let mut numbers = Vec::new();
                for item in items {
                    match self.integer(key, item) {
                        Some(number) => numbers.push(number.to_string()),
                        None => return,
                    }
                }
                numbers.join(",")
            }
            (None, None) => {
                self.wrong_type(key, value, "a list of CPU numbers, as in [0, 1] or \"0-3,8\"");
                return;
            }
        };
        match forebay_tuning::parse_cpu_list(&list) {
            Ok(cpus) => *into = Some(cpus),
            Err(reason) => self.bad_value(key, value.span(), reason),
        }
    }
}

#[cfg(test)]
mod tests;
