//! `forebay check APP`: everything that `serve` would refuse, without serving.

use std::path::PathBuf;

use serde_json::json;

use crate::{Failure, Outcome, app, config, frame, types};

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
    match app::build(&args.app, 1, &config.task) {
        Ok(built) => {
            for warning in &built.warnings {
                eprintln!("{warning}");
            }
            if args.types {
                match types::check(&args.app) {
                    Ok(()) => {}
                    Err(types::CheckError::Failed(why)) => return Err(Failure::Failed(why)),
                    Err(types::CheckError::Types(text)) => {
                        let count = text.lines().filter(|line| line.contains("error TS")).count();
                        if args.json {
                            let problems: Vec<_> = text
                                .lines()
                                .map(|line| json!({ "code": "app/types", "message": line }))
                                .collect();
                            println!("{}", json!({ "ok": false, "problems": problems }));
                            return Err(Failure::Failed(format!("{count} problems")));
                        }
                        let more = crate::codes::more(["app/types"]);
                        return Err(Failure::Failed(format!("error[app/types]: tsc says\n{text}{more}")));
                    }
                }
            }
            let generation = &built.generation;
            let (routes, blueprints) = (generation.entries.len(), generation.blueprints.len());
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
        Err(problems) if args.json => {
            println!("{}", json!({ "ok": false, "problems": problems.list }));
            let count = problems.list.len();
            Err(Failure::Failed(format!("{count} problems")))
        }
        Err(problems) => Err(Failure::Failed(problems.text())),
    }
}
