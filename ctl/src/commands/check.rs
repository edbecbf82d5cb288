//! `forebay check APP`: everything that `serve` would refuse, without serving.

use std::path::PathBuf;

use crate::Outcome;

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
pub fn run(_args: &CheckArgs) -> Outcome {
    super::not_joined("check")
}
