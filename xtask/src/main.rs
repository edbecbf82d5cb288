//! `cargo run -p xtask -- COMMAND`: checks of the repository itself that no tool
//! at hand does.
//!
//! | command | what it checks |
//! |---|---|
//! | `promises` | docs/SPECIFICATION.md against the tests that it names |

mod promises;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["promises"] => promises::run(),
        _ => {
            eprintln!("usage: cargo run -p xtask -- promises");
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
