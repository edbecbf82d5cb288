//! `forebay explain CODE`: what an error's code means and what to do about it.

use serde_json::{Value, json};

use crate::codes::{self, Page};
use crate::frame::nearest;
use crate::{Failure, Outcome};

/// Arguments of `forebay explain`.
#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    /// Codes, as in FB0201, config/type or memory_exhausted; without one, the list of all
    #[arg(value_name = "CODE")]
    pub codes: Vec<String>,
    /// Print JSON: an array of pages
    #[arg(long)]
    pub json: bool,
}

/// Prints pages, or the list.
///
/// # Errors
/// There is no such code.
pub fn run(args: &ExplainArgs) -> Outcome {
    let mut found: Vec<&Page> = Vec::new();
    for code in &args.codes {
        found.push(codes::page(code).ok_or_else(|| Failure::Failed(unknown(code)))?);
    }
    if args.json {
        let fact = |page: &Page, text: Value| {
            let mut fact = json!({ "code": page.code, "title": page.title, "section": page.section });
            if !text.is_null() {
                fact["text"] = text;
            }
            fact
        };
        let facts: Vec<Value> = if args.codes.is_empty() {
            codes::pages().iter().map(|page| fact(page, Value::Null)).collect()
        } else {
            found.iter().map(|page| fact(page, page.text.into())).collect()
        };
        println!("{}", Value::from(facts));
    } else if args.codes.is_empty() {
        print!("{}", list());
    } else {
        let texts: Vec<String> = found.iter().map(|page| page.render()).collect();
        println!("{}", texts.join("\n\n"));
    }
    Ok(())
}

fn list() -> String {
    let width = codes::pages().iter().map(|page| page.code.len()).max().unwrap_or(0);
    let mut out = String::new();
    let mut section = "";
    for page in codes::pages() {
        if page.section != section {
            section = page.section;
            out.push_str(&format!("{}{section}\n", if out.is_empty() { "" } else { "\n" }));
        }
        out.push_str(&format!("  {:width$}  {}\n", page.code, page.title.replace('`', "")));
    }
    out
}

fn unknown(code: &str) -> String {
    // PostgreSQL manual, appendix "PostgreSQL Error Codes": five digits or capitals.
    let is_sqlstate = code.len() == 5
        && code.starts_with(|c: char| c.is_ascii_digit() || c.is_ascii_uppercase())
        && code.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
    let known = || codes::pages().iter().map(|page| page.code);
    // Codes in capitals are compared in lower case, as `nearest` lowers what was asked for.
    let lower: Vec<String> = known().map(str::to_ascii_lowercase).collect();
    let hint = match nearest(code, lower.iter().map(String::as_str)) {
        _ if is_sqlstate => {
            "; five digits or capitals are an SQLSTATE of PostgreSQL: see the appendix of error codes in its \
             manual, and `forebay explain DatabaseError`"
                .to_owned()
        }
        Some(name) => {
            let shown = known().find(|known| known.eq_ignore_ascii_case(name)).unwrap_or(name);
            format!("; did you mean {shown}?")
        }
        None => "; `forebay explain` lists all".to_owned(),
    };
    format!("there is no code {code}{hint}")
}
