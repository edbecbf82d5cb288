//! The lock file as TypeScript: rows of tables, `sql.NAME` of named queries. For forebay.d.ts.
//!
//! What a value is in a script follows from its SQL type (storage/postgres/src/types/decode.rs): an int8 is a bigint
//! beyond 2^53, a numeric is a Decimal, dates without a time zone are text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use forebay_postgres::inspect::{Column, UserType};

use crate::lock::{Lock, Query};

/// Declarations of a lock file's tables and named queries: the body of a global scope.
#[must_use]
pub fn sql_declarations(lock: &Lock) -> String {
    let mut out = tables(lock);
    out.push_str("/** The named queries of `sql/`. */\ndeclare const sql: {\n");
    // What a COPY takes and gives is its columns', which nobody describes.
    for (name, query) in lock.queries.iter().filter(|(_, query)| query.kind != "copy") {
        out.push_str(&method(name, query, lock));
    }
    out.push_str("};\n");
    out
}

/// Rows of the lock file's tables.
#[must_use]
pub fn tables(lock: &Lock) -> String {
    let types = &lock.schema.types;
    let mut out = String::from(
        "/** Rows of the tables, by the names that `table(...)` takes. */\ninterface Tables {\n",
    );
    for (name, table) in &lock.schema.tables {
        let _ = writeln!(out, "  {}: {{", key(name));
        for column in &table.columns {
            let read_only = if column.generated { "readonly " } else { "" };
            let ty = nullable(&column.type_name, column.nullable, types);
            let _ = writeln!(out, "    {read_only}{}: {ty};", key(&column.name));
        }
        out.push_str("  };\n");
    }
    out.push_str("}\n/** What an insert into a table takes: a column with a default may be left out. */\ninterface Inserts {\n");
    for (name, table) in &lock.schema.tables {
        let _ = writeln!(out, "  {}: {{", key(name));
        for column in table.columns.iter().filter(|column| !column.generated) {
            let may = if column.has_default || column.nullable { "?" } else { "" };
            let given = put(column, types);
            let _ = writeln!(out, "    {}{may}: {given};", key(&column.name));
        }
        out.push_str("  };\n");
    }
    out.push_str("}\n/** What columns may be compared with. */\ninterface Givens {\n");
    for (name, table) in &lock.schema.tables {
        let _ = writeln!(out, "  {}: {{", key(name));
        for column in &table.columns {
            let _ = writeln!(out, "    {}: {};", key(&column.name), put(column, types));
        }
        out.push_str("  };\n");
    }
    out.push_str("}\n");
    out
}

/// What a chain may give for a column: as [`given`], but text for a number has to look like one.
fn put(column: &Column, types: &Types) -> String {
    let text = given(&column.type_name, types);
    let text = match text.strip_suffix("number | bigint | string") {
        Some(rest) => format!("{rest}number | bigint | `${{number}}`"),
        None => text,
    };
    if column.nullable { format!("{text} | null") } else { text }
}

/// A named query as a method of `sql`.
#[must_use]
pub fn method(name: &str, query: &Query, lock: &Lock) -> String {
    let types = &lock.schema.types;
    let file = query.file.replace("*/", "* /");
    format!("  /** `{file}` */\n  {}({}): {};\n", key(name), parameters(query, types), result(query, types))
}

type Types = BTreeMap<String, UserType>;

fn parameters(query: &Query, types: &Types) -> String {
    if query.params.is_empty() {
        return String::new();
    }
    // PostgreSQL doesn't say whether a parameter may be null: any may.
    let each = query
        .params
        .iter()
        .map(|(name, type_name)| format!("{}: {} | null", key(name), given(type_name, types)));
    format!("args: {{ {} }}", each.collect::<Vec<_>>().join("; "))
}

fn result(query: &Query, types: &Types) -> String {
    let row = match &query.columns {
        _ if query.kind == "exec" => return "number".to_owned(),
        None => "{}".to_owned(),
        Some(columns) => {
            // Of two columns with one name the later one is in the row.
            let mut last: Vec<(&str, String)> = Vec::new();
            for column in columns {
                last.retain(|(name, _)| *name != column.name);
                last.push((&column.name, nullable(&column.type_name, column.nullable, types)));
            }
            let fields: Vec<String> = last.iter().map(|(name, ty)| format!("{}: {ty}", key(name))).collect();
            format!("{{ {} }}", fields.join("; "))
        }
    };
    match query.kind.as_str() {
        "one" => row,
        "opt" => format!("{row} | undefined"),
        _ => format!("Array<{row}>"),
    }
}

fn nullable(type_name: &str, nullable: bool, types: &Types) -> String {
    let ty = read(type_name, types);
    if nullable { format!("{ty} | null") } else { ty }
}

/// A range's object (docs/DATABASE.md).
macro_rules! range {
    ($bound:literal) => {
        concat!(
            "{ lower: ",
            $bound,
            " | null; upper: ",
            $bound,
            " | null; lowerInclusive: boolean; upperInclusive: boolean; empty: boolean }"
        )
    };
}

/// What a value of this type is in a script.
fn read(type_name: &str, types: &Types) -> String {
    if let Some(element) = type_name.strip_suffix("[]") {
        // An element may always be null.
        return format!("Array<{} | null>", read(element, types));
    }
    match types.get(type_name) {
        Some(UserType::Enum(labels)) => {
            let labels: Vec<String> = labels.iter().map(|label| quoted(label)).collect();
            return if labels.is_empty() { "never".to_owned() } else { labels.join(" | ") };
        }
        Some(UserType::Domain(base)) if base != type_name => return read(base, types),
        Some(UserType::Domain(_)) => return "string".to_owned(),
        // Composites and hstore are objects, a vector is a list, others are text.
        Some(UserType::Other) => return "any".to_owned(),
        None => {}
    }
    match type_name {
        "bool" => "boolean",
        "int2" | "int4" | "float4" | "float8" | "oid" | "regclass" | "regtype" | "regproc" | "xid"
        | "cid" => "number",
        "int8" => "number | bigint",
        "numeric" => "Decimal",
        "json" | "jsonb" => "any",
        "timestamp" | "timestamptz" => "Date",
        "bytea" => "any",
        "void" => "null",
        "int4range" => range!("number"),
        "int8range" => range!("number | bigint"),
        "numrange" => range!("Decimal"),
        "daterange" => range!("string"),
        "tsrange" | "tstzrange" => range!("Date | string"),
        "int4multirange" => concat!("Array<", range!("number"), ">"),
        "int8multirange" => concat!("Array<", range!("number | bigint"), ">"),
        "nummultirange" => concat!("Array<", range!("Decimal"), ">"),
        "datemultirange" => concat!("Array<", range!("string"), ">"),
        "tsmultirange" | "tstzmultirange" => concat!("Array<", range!("Date | string"), ">"),
        _ => "string",
    }
    .to_owned()
}

/// What a script may give for a value of this type: text, too, which the server reads.
fn given(type_name: &str, types: &Types) -> String {
    if let Some(element) = type_name.strip_suffix("[]") {
        return format!("Array<{} | null>", given(element, types));
    }
    if type_name.ends_with("range") && !types.contains_key(type_name) {
        let ranges = if type_name.ends_with("multirange") { "Array<" } else { "" };
        let bound = "number | bigint | Decimal | Date | string | null";
        let range = format!(
            "{{ lower?: {bound}; upper?: {bound}; lowerInclusive?: boolean; upperInclusive?: boolean; empty?: boolean }}"
        );
        let close = if ranges.is_empty() { "" } else { ">" };
        return format!("{ranges}{range}{close} | string");
    }
    let ty = read(type_name, types);
    match ty.as_str() {
        "any" | "string" => ty,
        "Decimal" => "Decimal | number | bigint | string".to_owned(),
        "number" | "number | bigint" => "number | bigint | string".to_owned(),
        "Date" => "Date | string".to_owned(),
        _ => ty,
    }
}

fn key(name: &str) -> String {
    let mut chars = name.chars();
    let plain = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_' || c == '$')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '$');
    if plain { name.to_owned() } else { quoted(name) }
}

/// As a JSON string, which is one of TypeScript's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_follow_tables_and_queries() {
        let lock = Lock::parse(
            r#"{"format": 1, "queries": {
              "one": {"columns": [{"name": "id", "type": "int8"}, {"name": "odd name", "nullable": true, "type": "mood"}],
                "file": "sql/a.sql", "kind": "one", "params": [{"name": "id", "type": "int8"}, {"name": "tags", "type": "text[]"}], "sha256": ""},
              "opt": {"columns": [{"name": "n", "type": "numeric"}, {"name": "n", "type": "timestamptz"}], "file": "sql/a.sql", "kind": "opt", "params": [], "sha256": ""},
              "many": {"columns": [{"name": "a", "nullable": true, "type": "email[]"}], "file": "sql/a.sql", "kind": "many", "params": [], "sha256": ""},
              "exec": {"columns": null, "file": "sql/a.sql", "kind": "exec", "params": [], "sha256": ""}},
            "tables": {"person": {"columns": [{"default": true, "generated": true, "name": "id", "type": "int8"},
              {"name": "name", "type": "text"}, {"name": "age", "nullable": true, "type": "int4"}, {"default": true, "name": "mood", "type": "mood"}], "schema": "public"},
              "other.x": {"columns": [{"name": "during", "type": "tstzrange"}], "schema": "other"}},
            "types": {"mood": {"enum": ["happy", "so \"so\""]}, "email": {"domain": "text"}}}"#,
        )
        .unwrap();
        let text = sql_declarations(&lock);
        for part in [
            "  person: {\n    readonly id: number | bigint;\n    name: string;\n    age: number | null;\n    mood: \"happy\" | \"so \\\"so\\\"\";\n  };\n",
            "  person: {\n    name: string;\n    age?: number | bigint | `${number}` | null;\n    mood?: \"happy\" | \"so \\\"so\\\"\";\n  };\n",
            "  person: {\n    id: number | bigint | `${number}`;\n    name: string;\n",
            "  \"other.x\": {\n    during: { lower: Date | string | null; upper: Date | string | null; lowerInclusive: boolean; upperInclusive: boolean; empty: boolean };\n  };\n",
            "    during: { lower?: number | bigint | Decimal | Date | string | null; upper?:",
            "  one(args: { id: number | bigint | string | null; tags: Array<string | null> | null }): { id: number | bigint; \"odd name\": \"happy\" | \"so \\\"so\\\"\" | null };\n",
            "  opt(): { n: Date } | undefined;\n",
            "  many(): Array<{ a: Array<string | null> | null }>;\n",
            "  exec(): number;\n",
        ] {
            assert!(text.contains(part), "{part}\nis not in\n{text}");
        }
    }
}
