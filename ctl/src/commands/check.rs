//! `forebay check APP`: everything that `serve` would refuse, without serving.

use std::path::PathBuf;

use serde_json::json;

use crate::{Failure, Outcome, app, config, frame};

/// Arguments of `forebay check`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// App folder
    #[arg(value_name = "APP", default_value = ".")]
    pub app: PathBuf,
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
