//! A generation: everything an app serves, compiled and checked as one thing.
//!
//! It is built whole, handed to every core, and adopted by all of them or by none
//! (docs/decisions/0003). Tasks that run keep the generation they began with; a
//! generation's memory goes with the last of them.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use forebay_base::limits::TaskLimits;
use forebay_bytecode::Action;
use forebay_bytecode::module::Durable;
use forebay_engine::Blueprint;
use forebay_http::Method;
use forebay_http::routes::{RouteError, RouteTable};

use crate::assets::{AssetError, Assets};

/// Generations that may be alive at once: the current one and those whose tasks
/// still run. Beyond it a deploy is refused.
pub const GENERATIONS_MAX: usize = 8;

/// The method of entries that handle notifications of the database; their pattern is the channel.
pub const LISTEN: &str = "LISTEN";

/// What a route leads to.
#[derive(Debug)]
pub struct Entry {
    /// The work's name.
    pub work: Box<str>,
    /// The work's version, if it says one.
    pub version: Option<Box<str>>,
    /// Upper-case method.
    pub method: Box<str>,
    /// The pattern as written.
    pub pattern: Box<str>,
    /// The file that declares it.
    pub file: Box<str>,
    /// What answers.
    pub target: Target,
    /// Budgets: the configuration's, with what the work sets for itself.
    pub limits: TaskLimits,
    /// Requests start durable tasks.
    pub durable: Option<Durable>,
    /// What answers looks at nothing of a request but its method and path.
    pub blind: bool,
}

/// What answers a request.
#[derive(Debug)]
pub enum Target {
    /// A handler of a blueprint.
    Script {
        /// Index into [`Generation::blueprints`].
        blueprint: u32,
        /// Which of its handlers.
        action: Action,
    },
    /// A file, or files below a folder whose path is the `{*rest}` of the route.
    Assets(Assets),
    /// Another address.
    Redirect {
        /// Location.
        to: Box<str>,
        /// 301, 302, 303, 307 or 308.
        status: u16,
    },
    /// State and result of durable tasks.
    Tasks,
    /// Signals for durable tasks, and values of their promises.
    Posts,
}

/// Where a durable task tells its state: this and its id.
pub const TASKS_PATH: &str = "/_forebay/tasks/";

/// Where a promise of a durable task is fulfilled: this and its token.
pub const PROMISES_PATH: &str = "/_forebay/promises/";

/// An app, ready to serve. Immutable.
pub struct Generation {
    /// Counts the generations of this process, from 1.
    pub id: u64,
    /// Hash of what it was compiled from, for people and for the admin socket.
    pub hash: String,
    /// Method and path to an index into `entries`.
    pub routes: RouteTable<u32>,
    /// What routes lead to, then handlers of events.
    pub entries: Vec<Entry>,
    /// Channels of the database, each with an index into `entries`.
    pub listens: Vec<(Box<str>, u32)>,
    /// Compiled blueprints.
    pub blueprints: Vec<Arc<Blueprint>>,
    /// The configuration's budgets, for durable tasks of code that isn't in `entries` any more.
    pub limits: TaskLimits,
}

impl Generation {
    /// What the app declares: routes, and handlers of events.
    pub fn declared(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| !matches!(entry.target, Target::Tasks | Target::Posts))
    }
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generation")
            .field("id", &self.id)
            .field("hash", &self.hash)
            .field("entries", &self.entries)
            .finish_non_exhaustive()
    }
}

/// Why an app can't be served. The author of the blueprints must act.
#[derive(Debug)]
pub enum GenerationError {
    /// Two works have the same name.
    DuplicateWork {
        /// The name.
        name: String,
        /// Where it is declared first.
        first: String,
        /// Where it is declared again.
        second: String,
    },
    /// A route that can't be, or two that can't both be.
    Route {
        /// `GET /users/{id} (blueprints/users.js)`.
        route: String,
        /// What the route table says.
        error: RouteError,
    },
    /// A static file or folder that can't be served.
    Asset {
        /// The file that declares it.
        file: String,
        /// Why not.
        error: AssetError,
    },
}

impl fmt::Display for GenerationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DuplicateWork { name, first, second } => {
                write!(f, "{second}: a work named {name:?} is already declared in {first}")
            }
            Self::Route { route, error } => write!(f, "{route}: {error}"),
            Self::Asset { file, error } => write!(f, "{file}: {error}"),
        }
    }
}

impl std::error::Error for GenerationError {}

impl Generation {
    /// Puts loaded blueprints together: names, routes, files, limits.
    ///
    /// `root` is the app's folder: files of `file()` and `assets()` lie below it.
    /// All errors are collected, so that one run shows them all.
    pub fn build(
        id: u64,
        hash: String,
        root: &Path,
        blueprints: Vec<Arc<Blueprint>>,
        limits: &TaskLimits,
    ) -> Result<Self, Vec<GenerationError>> {
        let mut errors = Vec::new();
        let mut names: HashMap<&str, &str> = HashMap::new();
        let mut entries = Vec::new();
        let mut routes = RouteTable::builder();
        let mut events: Vec<Entry> = Vec::new();
        for (index, blueprint) in blueprints.iter().enumerate() {
            let module = blueprint.module();
            let file: &str = module.files.first().map_or("", |file| &file.path);
            for work in &module.works {
                if let Some(first) = names.insert(&work.name, file) {
                    errors.push(GenerationError::DuplicateWork {
                        name: work.name.to_string(),
                        first: first.to_owned(),
                        second: file.to_owned(),
                    });
                }
                for route in &work.routes {
                    let target = match &route.action {
                        Action::File(path) => {
                            Assets::file(root, path, work.static_seconds).map(Target::Assets)
                        }
                        Action::Assets(path) => {
                            Assets::folder(root, path, work.static_seconds).map(Target::Assets)
                        }
                        Action::Redirect(to, status) => {
                            Ok(Target::Redirect { to: to.clone(), status: *status })
                        }
                        action @ (Action::Function(_) | Action::Handler(_)) => Ok(Target::Script {
                            blueprint: u32::try_from(index).unwrap_or(u32::MAX),
                            action: action.clone(),
                        }),
                    };
                    let target = match target {
                        Ok(target) => target,
                        Err(error) => {
                            errors.push(GenerationError::Asset { file: file.to_owned(), error });
                            continue;
                        }
                    };
                    let listens = &*route.method == LISTEN;
                    let durable = work.durable.clone().filter(|_| !listens);
                    let described = Entry {
                        work: work.name.clone(),
                        version: work.version.clone(),
                        method: route.method.clone(),
                        pattern: route.pattern.clone(),
                        file: file.into(),
                        target,
                        limits: with_own(limits, &work.limits),
                        blind: durable.is_none() && !sees_request(blueprint, &route.action),
                        durable,
                    };
                    if listens {
                        events.push(described);
                        continue;
                    }
                    let entry = u32::try_from(entries.len()).unwrap_or(u32::MAX);
                    let method = Method::from_bytes(route.method.as_bytes());
                    if let Err(error) = routes.add(method, &route.pattern, entry) {
                        let route = format!("{} {} ({file})", route.method, route.pattern);
                        errors.push(GenerationError::Route { route, error });
                    }
                    entries.push(described);
                }
            }
        }
        // Of an app without durable works, too: an earlier generation may have left tasks, whose Locations and promises are out.
        for (method, pattern, target) in [
            ("GET", format!("{TASKS_PATH}{{id}}"), Target::Tasks),
            ("POST", format!("{TASKS_PATH}{{id}}/signals/{{name}}"), Target::Posts),
            ("POST", format!("{PROMISES_PATH}{{token}}"), Target::Posts),
        ] {
            let entry = u32::try_from(entries.len()).unwrap_or(u32::MAX);
            if let Err(error) = routes.add(Method::from_bytes(method.as_bytes()), &pattern, entry) {
                let route = format!("{method} {pattern} (of durable works)");
                errors.push(GenerationError::Route { route, error });
            }
            entries.push(Entry {
                work: "forebay".into(),
                version: None,
                method: method.into(),
                pattern: pattern.into(),
                file: "".into(),
                target,
                limits: limits.clone(),
                durable: None,
                blind: false,
            });
        }
        if errors.is_empty() {
            let first = u32::try_from(entries.len()).unwrap_or(u32::MAX);
            let listens = events.iter().map(|event| event.pattern.clone()).zip(first..).collect();
            entries.append(&mut events);
            Ok(Self {
                id,
                hash,
                routes: routes.build(),
                entries,
                listens,
                blueprints,
                limits: limits.clone(),
            })
        } else {
            Err(errors)
        }
    }
}

impl Generation {
    /// One handler under `POST /`: what `forebay run` serves itself.
    #[must_use]
    pub fn single(blueprint: Arc<Blueprint>, action: Action, limits: TaskLimits) -> Self {
        let mut routes = RouteTable::builder();
        // The first route of an empty table: can't conflict.
        let _ = routes.add(Method::Post, "/", 0);
        let file = blueprint.module().files.first().map_or("", |file| &file.path).into();
        let entry = Entry {
            work: "run".into(),
            version: None,
            method: "POST".into(),
            pattern: "/".into(),
            file,
            blind: !sees_request(&blueprint, &action),
            target: Target::Script { blueprint: 0, action },
            limits: limits.clone(),
            durable: None,
        };
        Self {
            id: 1,
            hash: String::new(),
            routes: routes.build(),
            entries: vec![entry],
            listens: Vec::new(),
            blueprints: vec![blueprint],
            limits,
        }
    }
}

/// Whether a handler can look at its request; files and redirects are none.
fn sees_request(blueprint: &Blueprint, action: &Action) -> bool {
    forebay_engine::Entry::of(action).is_none_or(|entry| blueprint.sees_request(entry))
}

/// The configuration's budgets, with those that a work sets for itself.
pub(crate) fn with_own(limits: &TaskLimits, own: &forebay_bytecode::module::WorkLimits) -> TaskLimits {
    let count = |value: Option<u64>, default: usize| {
        value.map_or(default, |value| usize::try_from(value).unwrap_or(usize::MAX))
    };
    TaskLimits {
        fuel: own.fuel.unwrap_or(limits.fuel),
        wall_time: own.wall_ms.map_or(limits.wall_time, std::time::Duration::from_millis),
        memory: count(own.memory, limits.memory),
        stack_depth: count(own.stack_depth, limits.stack_depth),
        fibers: count(own.fibers, limits.fibers),
        effects: count(own.effects, limits.effects),
    }
}
