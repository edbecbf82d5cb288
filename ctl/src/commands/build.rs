//! `forebay build FILE -o OUT`: a script to a bytecode file.

use std::path::PathBuf;

use crate::Outcome;

/// Arguments of `forebay build`.
#[derive(Debug, clap::Args)]
pub struct BuildArgs {
    /// Script
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Bytecode file to write
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
}

/// Compiles and writes.
///
/// # Errors
/// A code frame, or why OUT can't be written.
pub fn run(_args: &BuildArgs) -> Outcome {
    super::not_joined("build")
}
