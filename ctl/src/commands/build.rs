//! `forebay build FILE -o OUT`: a bytecode file.

use std::path::PathBuf;

use crate::{Failure, Outcome};

/// Arguments of `forebay build`.
#[derive(Debug, clap::Args)]
pub struct BuildArgs {
    /// Script
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Bytecode file to write (docs/formats/bytecode.md)
    #[arg(short, long, value_name = "OUT")]
    pub out: PathBuf,
}

/// Compiles one file with what it imports.
///
/// # Errors
/// Code frames, or why OUT can't be written.
pub fn run(args: &BuildArgs) -> Outcome {
    let script = super::run::load(&args.file)?;
    let bytes = forebay_bytecode::encode(script.module());
    std::fs::write(&args.out, &bytes).map_err(|error| Failure::because(args.out.display(), error))?;
    println!("{}: {} bytes", args.out.display(), bytes.len());
    Ok(())
}
