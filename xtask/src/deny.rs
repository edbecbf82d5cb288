//! The part of cargo-deny that CI needs, over `cargo metadata`: no crate that is
//! denied by name, no license that isn't allowed, no source but crates.io.
//!
//! cargo-deny itself reads the same deny.toml and is welcome to (`cargo deny check
//! bans licenses sources`), but compiling it takes longer than all of our tests, and
//! the version that comes ready-made can't read the metadata of today's cargo. A
//! key of deny.toml that is not known here is an error: a rule that nobody checks
//! is worse than none.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;
use toml::Table;

/// What deny.toml says.
#[derive(Debug, Default)]
struct Rules {
    banned: BTreeSet<String>,
    wildcards_denied: bool,
    licenses: BTreeSet<String>,
    registries: BTreeSet<String>,
}

/// Checks the workspace that cargo runs us in.
///
/// # Errors
/// All violations, a line each; or why there was nothing to check.
pub(crate) fn run() -> Result<String, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--all-features"])
        .output()
        .map_err(|error| format!("can't run cargo metadata: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let metadata: Value =
        serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))?;
    let root = metadata["workspace_root"].as_str().ok_or("cargo metadata has no workspace_root")?;
    let path = format!("{root}/deny.toml");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("can't read {path}: {error}"))?;
    check(&Rules::parse(&text)?, &metadata)
}

impl Rules {
    fn parse(text: &str) -> Result<Self, String> {
        let root: Table = text.parse().map_err(|error| format!("deny.toml: {error}"))?;
        let mut rules = Self::default();
        for (section, value) in &root {
            let table = value.as_table().ok_or_else(|| format!("deny.toml: {section} is no section"))?;
            for (key, value) in table {
                let strings = || -> Result<BTreeSet<String>, String> {
                    let items = value.as_array().ok_or_else(|| format!("deny.toml: {key} is no list"))?;
                    items
                        .iter()
                        .map(|item| item.as_str().or_else(|| item.get("name")?.as_str()).map(str::to_owned))
                        .collect::<Option<_>>()
                        .ok_or_else(|| format!("deny.toml: an item of {key} has no name"))
                };
                match (section.as_str(), key.as_str(), value.as_str()) {
                    ("bans", "deny", _) => rules.banned = strings()?,
                    ("bans", "wildcards", Some("deny")) => rules.wildcards_denied = true,
                    ("licenses", "allow", _) => rules.licenses = strings()?,
                    ("sources", "allow-registry", _) => rules.registries = strings()?,
                    // What holds here anyway, or is about reading license texts, which we don't.
                    ("bans", "multiple-versions", Some("allow"))
                    | ("bans", "allow-wildcard-paths", _)
                    | ("licenses", "confidence-threshold", _)
                    | ("sources", "unknown-registry" | "unknown-git", Some("deny")) => {}
                    _ => return Err(format!("deny.toml: `{key}` of [{section}] is not checked here")),
                }
            }
        }
        Ok(rules)
    }
}

fn check(rules: &Rules, metadata: &Value) -> Result<String, String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let packages = list(&metadata["packages"]);
    let members = list(&metadata["workspace_members"]);
    let mut problems = BTreeSet::new();
    for package in &packages {
        let (name, version) =
            (package["name"].as_str().unwrap_or_default(), package["version"].as_str().unwrap_or_default());
        if rules.banned.contains(name) {
            problems.insert(format!("bans: {name} {version} is in the tree (cargo tree -i {name})"));
        }
        match package["license"].as_str() {
            None => {
                problems.insert(format!("licenses: {name} {version} names none"));
            }
            Some(license) => match is_allowed(license, &rules.licenses) {
                Some(true) => {}
                Some(false) => {
                    problems.insert(format!("licenses: {name} {version} is {license}"));
                }
                None => {
                    problems.insert(format!("licenses: {name} {version}: can't read \"{license}\""));
                }
            },
        }
        // A path has no source; only members of the workspace may be one.
        let allowed = match package["source"].as_str() {
            None => members.contains(&package["id"]),
            Some(source) => {
                source.strip_prefix("registry+").is_some_and(|url| rules.registries.contains(url))
            }
        };
        if !allowed {
            let source = package["source"].as_str().unwrap_or("a path outside of the workspace");
            problems.insert(format!("sources: {name} {version} comes from {source}"));
        }
        if rules.wildcards_denied && members.contains(&package["id"]) {
            for dependency in list(&package["dependencies"]) {
                if dependency["req"] == "*" && dependency["path"].is_null() {
                    let on = dependency["name"].as_str().unwrap_or_default();
                    problems.insert(format!("bans: {name} takes any version of {on}"));
                }
            }
        }
    }
    if packages.is_empty() {
        problems.insert("cargo metadata names no package".to_owned());
    }
    if problems.is_empty() {
        return Ok(format!("bans, licenses, sources: {} packages are fine", packages.len()));
    }
    Err(problems.into_iter().collect::<Vec<_>>().join("\n"))
}

/// Whether an SPDX expression (SPDX specification, annex D) can be met with the
/// allowed licenses; `None` if it can't be read. `/` is the old way to write OR.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> Option<bool> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_ascii_whitespace().collect();
    let mut rest = words.as_slice();
    let result = any(&mut rest, allowed)?;
    rest.is_empty().then_some(result)
}

fn any(rest: &mut &[&str], allowed: &BTreeSet<String>) -> Option<bool> {
    let mut result = all(rest, allowed)?;
    while let ["OR", tail @ ..] = *rest {
        *rest = tail;
        result |= all(rest, allowed)?;
    }
    Some(result)
}

fn all(rest: &mut &[&str], allowed: &BTreeSet<String>) -> Option<bool> {
    let mut result = one(rest, allowed)?;
    while let ["AND", tail @ ..] = *rest {
        *rest = tail;
        result &= one(rest, allowed)?;
    }
    Some(result)
}

fn one(rest: &mut &[&str], allowed: &BTreeSet<String>) -> Option<bool> {
    match *rest {
        ["(", tail @ ..] => {
            *rest = tail;
            let result = any(rest, allowed)?;
            let [")", tail @ ..] = *rest else { return None };
            *rest = tail;
            Some(result)
        }
        ["AND" | "OR" | "WITH" | ")", ..] | [] => None,
        [license, "WITH", exception, tail @ ..] => {
            *rest = tail;
            Some(allowed.contains(&format!("{license} WITH {exception}")))
        }
        [license, tail @ ..] => {
            *rest = tail;
            Some(allowed.contains(*license))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn license_expressions() {
        let allowed: BTreeSet<String> =
            ["MIT", "Apache-2.0 WITH LLVM-exception", "Unicode-3.0"].map(str::to_owned).into();
        let check =
            |text: &str, expected: Option<bool>| assert_eq!(is_allowed(text, &allowed), expected, "{text}");
        check("MIT", Some(true));
        check("GPL-3.0", Some(false));
        check("MIT OR GPL-3.0", Some(true));
        check("GPL-3.0/MIT", Some(true));
        check("MIT AND GPL-3.0", Some(false));
        check("(MIT OR GPL-3.0) AND Unicode-3.0", Some(true));
        check("GPL-3.0 AND MIT OR Unicode-3.0", Some(true));
        check("GPL-3.0 AND (MIT OR Unicode-3.0)", Some(false));
        check("Apache-2.0 WITH LLVM-exception OR GPL-3.0", Some(true));
        check("Apache-2.0", Some(false));
        for bad in ["", "MIT OR", "(MIT", "MIT)", "MIT MIT", "AND", "MIT WITH"] {
            check(bad, None);
        }
    }

    #[test]
    fn each_rule_finds_its_violation() {
        let rules = Rules::parse(
            "[bans]\nwildcards = \"deny\"\ndeny = [{ name = \"tokio\" }]\n[licenses]\nallow = [\"MIT\"]\n\
             [sources]\nallow-registry = [\"https://good\"]\n",
        )
        .unwrap();
        let check_one = |package: Value, expected: &str| {
            let result = check(&rules, &json!({ "packages": [package], "workspace_members": ["us"] }));
            let text = result.clone().unwrap_or_else(|text| text);
            assert!(result.is_ok() == expected.is_empty() && text.contains(expected), "{text}");
        };
        let good = json!({ "id": "x", "name": "x", "version": "1", "license": "MIT", "source": "registry+https://good" });
        let with = |key: &str, value: Value| {
            let mut package = good.clone();
            package[key] = value;
            package
        };
        check_one(good.clone(), "");
        check_one(with("name", json!("tokio")), "bans: tokio");
        check_one(with("license", json!("GPL-3.0")), "licenses: x 1 is GPL-3.0");
        check_one(with("license", Value::Null), "names none");
        check_one(with("source", json!("git+https://good")), "sources: x 1 comes from git");
        check_one(with("source", Value::Null), "outside of the workspace");
        let mut ours = with("source", Value::Null);
        ours["id"] = json!("us");
        check_one(ours.clone(), "");
        ours["dependencies"] = json!([{ "name": "y", "req": "*" }]);
        check_one(ours.clone(), "any version of y");
        ours["dependencies"] = json!([{ "name": "y", "req": "*", "path": "/y" }]);
        check_one(ours, "");
        assert!(check(&rules, &json!({})).is_err());
    }

    #[test]
    fn a_rule_that_is_not_checked_is_refused() {
        for text in
            ["[bans]\nskip = []", "[licenses]\nprivate = {}", "[bans]\nwildcards = \"warn\"", "x = 1", "[x"]
        {
            assert!(Rules::parse(text).is_err(), "{text}");
        }
    }
}
