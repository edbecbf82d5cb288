//! `forebay types APP`: types for the editor.

use std::path::{Path, PathBuf};

use crate::{Failure, Outcome, types};

/// Arguments of `forebay types`.
#[derive(Debug, clap::Args)]
pub struct TypesArgs {
    /// App folder
    #[arg(value_name = "APP", default_value = ".")]
    pub app: PathBuf,
    /// Write tsconfig.json even if there is one
    #[arg(long)]
    pub force: bool,
}

/// Writes `forebay.d.ts`, and `tsconfig.json` unless there is one.
///
/// # Errors
/// APP is no folder, or can't be written.
pub fn run(args: &TypesArgs) -> Outcome {
    if !args.app.is_dir() {
        return Err(Failure::Usage(format!("{} is not a folder", args.app.display())));
    }
    let write = |path: &Path, text: &str| {
        std::fs::write(path, text)
            .map_err(|error| Failure::because(format!("can't write {}", path.display()), error))?;
        println!("wrote {}", path.display());
        Ok(())
    };
    write(&args.app.join("forebay.d.ts"), &types::declarations(&args.app))?;
    let config = args.app.join("tsconfig.json");
    if config.exists() && !args.force {
        let same = std::fs::read_to_string(&config).is_ok_and(|text| text == types::TSCONFIG);
        let why = if same { "is up to date" } else { "is yours: kept (--force writes it)" };
        println!("{} {why}", config.display());
        return Ok(());
    }
    write(&config, types::TSCONFIG)
}
