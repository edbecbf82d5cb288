//! `forebay disasm FILE`: what the VM will run.

use std::path::PathBuf;

use crate::Outcome;

/// Arguments of `forebay disasm`.
#[derive(Debug, clap::Args)]
pub struct DisasmArgs {
    /// Script or bytecode file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Prints the listing on stdout.
///
/// # Errors
/// A code frame, or why the bytecode isn't valid.
pub fn run(_args: &DisasmArgs) -> Outcome {
    super::not_joined("disasm")
}
