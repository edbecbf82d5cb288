//! docs/SPECIFICATION.md against the tests that it names: every `path`: name must
//! be a function in that file (or in a file of that folder), marked as a test or
//! run by one.

use std::fs;
use std::path::Path;

/// Checks every line; says how many promises there are.
pub(crate) fn run() -> Result<String, String> {
    let text =
        fs::read_to_string("docs/SPECIFICATION.md").map_err(|e| format!("docs/SPECIFICATION.md: {e}"))?;
    let mut count = 0;
    let mut wrong = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let Some(last) = line.strip_suffix(" |").and_then(|row| row.rsplit("| ").next()) else { continue };
        let Some((path, rest)) = last.strip_prefix('`').and_then(|l| l.split_once('`')) else { continue };
        if !path.contains('/') {
            continue;
        }
        count += 1;
        let name = rest.trim_start_matches(':').trim();
        if !Path::new(path).exists() {
            wrong.push(format!("docs/SPECIFICATION.md:{}: there is no {path}", number + 1));
        } else if !name.is_empty() && !defines(Path::new(path), name) {
            wrong.push(format!("docs/SPECIFICATION.md:{}: {path} has no test {name}", number + 1));
        }
    }
    if wrong.is_empty() {
        Ok(format!("{count} promises name a test that exists"))
    } else {
        Err(wrong.join("\n"))
    }
}

fn defines(path: &Path, name: &str) -> bool {
    if path.is_dir() {
        let Ok(items) = fs::read_dir(path) else { return false };
        return items.flatten().any(|item| defines(&item.path(), name));
    }
    let needle = format!("fn {name}");
    fs::read_to_string(path).is_ok_and(|text| {
        text.match_indices(&needle).any(|(at, _)| text[at + needle.len()..].starts_with(['(', '<', ' ']))
            || text.lines().any(|line| {
                line.trim_start().starts_with(&format!("{name},")) || line.contains(&format!("\"{name}\""))
            })
    })
}
