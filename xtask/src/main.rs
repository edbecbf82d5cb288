//! `cargo run -p xtask -- COMMAND`: checks of the repository itself that no tool
//! at hand does.
//!
//! | command | what it checks |
//! |---|---|
//! | `deny` | the dependency tree against deny.toml: names, licenses, sources |
//! | `promises` | docs/SPECIFICATION.md against the tests that it names |

mod deny;
mod promises;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["deny"] => deny::run(),
        ["promises"] => promises::run(),
        _ => {
            eprintln!("usage: cargo run -p xtask -- deny|promises");
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
