//! `forebay check APP`: everything that `serve` would refuse, without serving.
//!
//! With `--database`, the app's database is asked about every named query and every chain that gives the same
//! statement each time (Parse and Describe: nothing runs). Without it the lock file answers, if there is one.

use std::path::PathBuf;

use serde_json::json;

use forebay_compiler::{Diagnostic, Place, Severity};

use crate::app::{Folder, Problems};
use crate::commands::db::{DbTarget, connect, pull};
use crate::lock::Lock;
use crate::{Failure, Outcome, app, config, frame, lock, types};

/// Arguments of `forebay check`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// App folder
    #[arg(value_name = "APP", default_value = ".")]
    pub app: PathBuf,
    /// Check types as well, with TypeScript's compiler: tsc of the app's node_modules, or on the path
    #[arg(long)]
    pub types: bool,
    /// Print a JSON object instead of code frames
    #[arg(long)]
    pub json: bool,
    /// Ask the app's database about every query; without it, forebay.lock.json says what there is
    #[arg(long)]
    pub database: bool,
}

/// Compiles the app.
///
/// # Errors
/// The code frames of all errors.
pub fn run(args: &CheckArgs) -> Outcome {
    if !args.app.is_dir() {
        return Err(Failure::Usage(format!("{} is not a folder", args.app.display())));
    }
    let file = args.app.join("forebay.toml");
    let config =
        config::Config::load(&file, &args.app, true, frame::stderr_color()).map_err(Failure::Failed)?;
    let mut problems = Problems::default();
    let built = if args.database {
        by_database(args, &config.task, &mut problems)?
    } else {
        by_lock(args, &config.task, &mut problems)
    };
    let Some(built) = built.filter(|_| problems.frames.is_empty()) else {
        if args.json {
            println!("{}", json!({ "ok": false, "problems": problems.list }));
            let count = problems.list.len();
            return Err(Failure::Failed(format!("{count} problems")));
        }
        return Err(Failure::Failed(problems.text()));
    };
    for warning in &built.warnings {
        eprintln!("{warning}");
    }
    if args.types {
        check_types(args)?;
    }
    let generation = &built.generation;
    let (routes, blueprints) = (generation.declared().count(), generation.blueprints.len());
    if args.json {
        println!(
            "{}",
            json!({ "ok": true, "hash": generation.hash, "routes": routes, "blueprints": blueprints, "problems": [] })
        );
    } else {
        println!("{blueprints} blueprints, {routes} routes, no problems");
    }
    Ok(())
}

fn check_types(args: &CheckArgs) -> Outcome {
    match types::check(&args.app) {
        Ok(()) => Ok(()),
        Err(types::CheckError::Failed(why)) => Err(Failure::Failed(why)),
        Err(types::CheckError::Types(text)) => {
            let count = text.lines().filter(|line| line.contains("error TS")).count();
            if args.json {
                let problems: Vec<_> =
                    text.lines().map(|line| json!({ "code": "app/types", "message": line })).collect();
                println!("{}", json!({ "ok": false, "problems": problems }));
                return Err(Failure::Failed(format!("{count} problems")));
            }
            let more = crate::codes::more(["app/types"]);
            Err(Failure::Failed(format!("error[app/types]: tsc says\n{text}{more}")))
        }
    }
}

fn keep<T>(result: Result<T, Problems>, problems: &mut Problems) -> Option<T> {
    match result {
        Ok(built) => Some(built),
        Err(mut found) => {
            problems.frames.append(&mut found.frames);
            problems.list.append(&mut found.list);
            None
        }
    }
}

fn by_database(
    args: &CheckArgs,
    limits: &forebay_base::limits::TaskLimits,
    problems: &mut Problems,
) -> Result<Option<app::Built>, Failure> {
    let target = DbTarget { app: args.app.clone(), config: None, json: args.json };
    let Some((url, _server)) = target.database()? else {
        return Err(Failure::Failed(format!(
            "{} has no [database]",
            args.app.join("forebay.toml").display()
        )));
    };
    let mut client = connect(&url)?;
    let lost = |error: forebay_postgres::QueryError| Failure::because("the database", error);
    let folder = Folder::new(&args.app);
    let (found, refused) = pull::pull(&mut client, &folder).map_err(lost)?;
    for problem in &refused {
        problems.show(problem);
    }
    for path in app::blueprints(&args.app) {
        let statements = forebay_compiler::static_statements(&folder, &path, &pull::stand_in);
        for problem in pull::check_chains(&mut client, &statements).map_err(lost)? {
            // What two blueprints import is told once.
            if !problems.frames.contains(&problem.render()) {
                problems.show(&problem);
            }
        }
    }
    // Names that aren't there have been told, by the server; the rest is the compiler's.
    let schema = problems.frames.is_empty().then(|| found.names());
    Ok(keep(app::build_by(&args.app, 1, limits, schema), problems))
}

/// Without a database: the named queries must be those of the lock file.
fn by_lock(
    args: &CheckArgs,
    limits: &forebay_base::limits::TaskLimits,
    problems: &mut Problems,
) -> Option<app::Built> {
    if let Ok(Some(found)) = Lock::load(&args.app) {
        stale(&args.app, &found, problems);
    }
    keep(app::build(&args.app, 1, limits), problems)
}

fn stale(app: &std::path::Path, found: &Lock, problems: &mut Problems) {
    let (queries, _) = pull::named_queries(&Folder::new(app));
    for (query, text) in &queries {
        let what = match found.queries.get(&query.name) {
            Some(known) if known.sha256 == lock::digest(query) => continue,
            Some(_) => "is not the one that forebay.lock.json describes",
            None => "is not in forebay.lock.json",
        };
        let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let end = query.start + text[query.start..].find('\n').unwrap_or(0);
        problems.show(&Diagnostic {
            severity: Severity::Error,
            code: "FB0607",
            message: format!("the query `{}` {what}", query.name),
            file: query.file.as_ref().into(),
            text: std::sync::Arc::clone(text),
            place: Place { start: offset(query.start), end: offset(end) },
            labels: Vec::new(),
            hint: Some("`forebay db pull` asks the database, and writes the file".to_owned()),
        });
    }
    for (name, query) in &found.queries {
        if !queries.iter().any(|(known, _)| known.name == *name) {
            let text = format!(
                "forebay.lock.json has the query `{name}`, and {} has not; run `forebay db pull`",
                query.file
            );
            problems.sentence("app/lock", text);
        }
    }
}
