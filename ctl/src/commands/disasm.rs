//! `forebay disasm FILE`: the bytecode of a script, or of a file that `build` wrote.

use std::path::PathBuf;

use crate::{Failure, Outcome};

/// Arguments of `forebay disasm`.
#[derive(Debug, clap::Args)]
pub struct DisasmArgs {
    /// Script or bytecode file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Show the superinstructions that the engine makes of it at load
    #[arg(long)]
    pub fused: bool,
}

/// Prints it.
///
/// # Errors
/// Code frames, or what is wrong with the bytecode file.
pub fn run(args: &DisasmArgs) -> Outcome {
    let shown = |error: &dyn std::fmt::Display| Failure::because(args.file.display(), error);
    let bytes = std::fs::read(&args.file).map_err(|error| shown(&error))?;
    let disassemble =
        if args.fused { forebay_bytecode::disassemble_fused } else { forebay_bytecode::disassemble };
    let text = if bytes.starts_with(&forebay_bytecode::format::MAGIC) {
        let module = forebay_bytecode::decode(&bytes).map_err(|error| shown(&error))?;
        let verified = forebay_bytecode::verify(module).map_err(|error| shown(&error))?;
        disassemble(&verified)
    } else {
        disassemble(super::run::load(&args.file)?.module())
    };
    print!("{text}");
    Ok(())
}
