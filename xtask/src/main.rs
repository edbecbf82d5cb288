//! `cargo run -p xtask -- COMMAND`: checks of the repository itself that no tool
//! at hand does.
//!
//! | command | what it checks |
//! |---|---|
//! | `promises` | docs/SPECIFICATION.md against the tests that it names |
//! | `sim [--seed N] [--minutes M] [--disks N]` | power cuts over the log store on a simulated disk, optimised |
//! | `test262 --root DIR ...` | the engine against the ECMAScript conformance suite (vm/conformance) |
//!
//! `test262` is a program of its own, so that the other commands don't wait for the engine to
//! be compiled. It is built with profile `release`; `FOREBAY_PROFILE=NAME` takes another.

mod promises;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["promises"] => promises::run(),
        ["sim", ref options @ ..] => sim(options),
        ["test262", ..] => return test262(&arguments[1..]),
        _ => {
            eprintln!(
                "usage: cargo xtask promises | sim [--seed N] [--minutes M] [--disks N] | test262 --root DIR [...]"
            );
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(summary) => {
            println!("{summary}");
            ExitCode::SUCCESS
        }
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the store's crash test as an optimised binary; its failures name the seed to rerun.
fn sim(options: &[&str]) -> Result<String, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = std::process::Command::new(cargo);
    command.args(["test", "--release", "--locked", "-p", "forebay-kv", "--test", "crash", "what_was"]);
    command.args(["--", "--nocapture"]);
    if options.is_empty() {
        command.env("KV_MINUTES", "1");
    }
    for option in options.chunks(2) {
        match option {
            ["--seed", value] => command.env("KV_SEED", value),
            ["--minutes", value] => command.env("KV_MINUTES", value),
            ["--disks", value] => command.env("KV_DISKS", value),
            _ => return Err("usage: sim [--seed N] [--minutes M] [--disks N]".to_owned()),
        };
    }
    match command.status() {
        Ok(status) if status.success() => Ok("0 acknowledged writes lost".to_owned()),
        Ok(status) => Err(format!("the simulation failed: {status}")),
        Err(error) => Err(format!("cargo doesn't start: {error}")),
    }
}

/// Builds and runs the conformance runner.
fn test262(arguments: &[String]) -> ExitCode {
    let profile = std::env::var("FOREBAY_PROFILE").unwrap_or_else(|_| "release".into());
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let status = std::process::Command::new(cargo)
        .args(["run", "--quiet", "--profile", &profile, "--package", "forebay-conformance", "--"])
        .args(arguments)
        .status();
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) => ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)),
        Err(error) => {
            eprintln!("cargo can't be run: {error}");
            ExitCode::FAILURE
        }
    }
}
