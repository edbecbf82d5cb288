//! The query builder: its text, its refusals, and its meaning on a real server.
#![allow(clippy::unwrap_used, reason = "a test; helpers outside of #[test] functions unwrap too")]

mod common;

use forebay_base::Value;
use forebay_base::rng::Rng;
use forebay_postgres::{Access, Param, Query, Shape};

fn list(items: Vec<Value>) -> Value {
    Value::List(items)
}

fn map(pairs: &[(&str, Value)]) -> Value {
    Value::Map(pairs.iter().map(|(k, v)| ((*k).into(), v.clone())).collect())
}

/// json-like notation of a query, so that the tables below stay readable. `undefined` is the string "undefined".
fn parse(text: &str) -> Value {
    fn undefined(value: Value) -> Value {
        match value {
            Value::Str(s) if &*s == "undefined" => Value::Undefined,
            Value::List(items) => Value::List(items.into_iter().map(undefined).collect()),
            Value::Map(pairs) => Value::Map(pairs.into_iter().map(|(k, v)| (k, undefined(v))).collect()),
            other => other,
        }
    }
    let mut builder = forebay_base::value::ValueBuilder::default();
    forebay_postgres::types::json::parse(text.as_bytes(), &mut builder)
        .unwrap_or_else(|e| panic!("{text}: {e}"));
    undefined(builder.finish().unwrap())
}

/// `SQL | parameters | shape access`, or the error.
fn check(query: &str, expect: &str) {
    let value = parse(&format!("{{\"table\": \"t\", {query}}}"));
    let (mut sql, mut params) = (String::from("left over"), vec![Param::Null]);
    let rendered = Query::from_value(&value).and_then(|query| query.render(&mut sql, &mut params));
    let got = match rendered {
        Ok(rendered) => {
            let mut shown = String::new();
            let values: Vec<Value> = params.iter().map(Param::to_value).collect();
            forebay_postgres::types::json::write_list(&mut shown, &values, 0).unwrap();
            format!("{sql} | {shown} | {:?} {:?}", rendered.shape, rendered.access)
        }
        Err(error) => format!("error: {error}"),
    };
    assert_eq!(got, expect, "{query}");
}

#[test]
fn verbs() {
    check(r#""verb": "get""#, r#"SELECT * FROM "t" | [] | Rows Read"#);
    check(
        r#""verb": "get", "select": ["id", "u.name"], "where": [["pair", "id", 7]],
           "order": [["name", "desc"], ["id"]], "limit": 10, "offset": 20"#,
        r#"SELECT "id", "u"."name" FROM "t" WHERE "id" = $1 ORDER BY "name" DESC, "id" LIMIT $2 OFFSET $3 | [7,10,20] | Rows Read"#,
    );
    // As it comes out of a URL. What isn't a number is for the server to refuse.
    check(
        r#""verb": "get", "limit": "10", "offset": "many""#,
        r#"SELECT * FROM "t" LIMIT $1 OFFSET $2 | [10,"many"] | Rows Read"#,
    );
    check(r#""verb": "first", "limit": "0""#, r#"SELECT * FROM "t" LIMIT 0 | [] | First Read"#);
    check(r#""verb": "first", "limit": 5"#, r#"SELECT * FROM "t" LIMIT 1 | [] | First Read"#);
    check(r#""verb": "count""#, r#"SELECT count(*) FROM "t" | [] | Scalar Read"#);
    check(
        r#""verb": "count", "limit": 3"#,
        r#"SELECT count(*) FROM (SELECT 1 FROM "t" LIMIT $1) AS page | [3] | Scalar Read"#,
    );
    check(
        r#""verb": "exists", "where": [["pair", "a", "x"]]"#,
        r#"SELECT EXISTS (SELECT 1 FROM "t" WHERE "a" = $1) | ["x"] | Scalar Read"#,
    );
    check(
        r#""verb": "insert", "values": {"a": 1, "b": null}"#,
        r#"INSERT INTO "t" ("a", "b") VALUES ($1, $2) | [1,null] | Affected Write"#,
    );
    check(
        r#""verb": "insert", "values": [{"a": 1, "b": 2}, {"b": 4, "a": 3}], "returning": ["id"]"#,
        r#"INSERT INTO "t" ("a", "b") VALUES ($1, $2), ($3, $4) RETURNING "id" | [1,2,3,4] | Rows Write"#,
    );
    check(
        r#""verb": "insert", "values": [{"a": 1}, {"b": 4, "a": 3}, {"c": null}], "conflict": [[], "ignore"]"#,
        r#"INSERT INTO "t" ("a", "b", "c") VALUES ($1, DEFAULT, DEFAULT), ($2, $3, DEFAULT), (DEFAULT, DEFAULT, $4) ON CONFLICT DO NOTHING | [1,3,4,null] | Affected Write"#,
    );
    check(
        r#""verb": "insert", "values": {}, "returning": ["*"]"#,
        r#"INSERT INTO "t" DEFAULT VALUES RETURNING * | [] | First Write"#,
    );
    check(
        r#""verb": "update", "values": {"a": 1}, "where": [["pair", "id", ">=", 2]]"#,
        r#"UPDATE "t" SET "a" = $1 WHERE "id" >= $2 | [1,2] | Affected Write"#,
    );
    check(
        r#""verb": "delete", "all": true, "returning": ["id"]"#,
        r#"DELETE FROM "t" RETURNING "id" | [] | Rows Write"#,
    );
}

#[test]
fn pairs() {
    let check = |condition: &str, expect: &str| {
        check(
            &format!(r#""verb": "get", "where": [{condition}]"#),
            &format!(r#"SELECT * FROM "t" WHERE {expect} | Rows Read"#),
        );
    };
    check(r#"["pair", "a", null]"#, r#""a" IS NULL | []"#);
    check(r#"["pair", "a", "!=", null]"#, r#""a" IS NOT NULL | []"#);
    check(r#"["pair", "a", "<>", 1]"#, r#""a" IS DISTINCT FROM $1 | [1]"#);
    check(r#"["pair", "a", "like", "x%"]"#, r#""a" LIKE $1 | ["x%"]"#);
    check(r#"["pair", "a", "in", [1, 2]]"#, r#""a" = ANY($1) | [[1,2]]"#);
    check(r#"["pair", "a", "not in", []]"#, r#""a" <> ALL($1) | [[]]"#);
    check(r#"["pair", "a", [1, 2]]"#, r#""a" = ANY($1) | [[1,2]]"#);
    check(r#"["pair", "a", [1, null]]"#, r#"("a" = ANY($1) OR "a" IS NULL) | [[1,null]]"#);
    check(r#"["pair", "a", "!=", [1]]"#, r#"("a" = ANY($1)) IS NOT TRUE | [[1]]"#);
    check(
        r#"["pair", "a", "!=", [null]]"#,
        r#"(("a" = ANY($1)) IS NOT TRUE AND "a" IS NOT NULL) | [[null]]"#,
    );
    check(
        r#"["pair", "a", "not in", [1, null]]"#,
        r#"(("a" = ANY($1)) IS NOT TRUE AND "a" IS NOT NULL) | [[1,null]]"#,
    );
    check(r#"["object", {"a": 1, "b": null}]"#, r#""a" = $1 AND "b" IS NULL | [1]"#);
    check(r#"["pair", "x\"; drop table t; --", 1]"#, r#""x""; drop table t; --" = $1 | [1]"#);
}

#[test]
fn predicates() {
    let check = |tree: &str, captured: &str, expect: &str| {
        check(
            &format!(r#""verb": "get", "where": [["lambda", {tree}, {captured}]]"#),
            &format!(r#"SELECT * FROM "t" WHERE {expect} | Rows Read"#),
        );
    };
    check(
        r#"["and", [">", ["col", "age"], ["param", 0]], ["==", ["col", "role"], ["lit", "admin"]], ["not", ["col", "banned"]]]"#,
        "[18]",
        r#"(("age" > $1) AND ("role" = $2) AND ("banned" IS NOT TRUE)) | [18,"admin"]"#,
    );
    check(r#"["==", ["col", "a"], ["param", 0]]"#, "[null]", r#"("a" IS NULL) | []"#);
    check(r#"["!=", ["param", 0], ["col", "a"]]"#, "[null]", r#"("a" IS NOT NULL) | []"#);
    check(r#"["not", ["==", ["col", "a"], ["param", 0]]]"#, "[1]", r#"("a" IS DISTINCT FROM $1) | [1]"#);
    check(
        r#"["==", ["col", "t", "a"], ["col", "u", "b"]]"#,
        "[]",
        r#"("t"."a" IS NOT DISTINCT FROM "u"."b") | []"#,
    );
    check(
        r#"["or", ["in", ["col", "a"], ["param", 1]], ["<=", ["/", ["+", ["col", "a"], ["param", 0]], ["lit", 2]], ["col", "b"]]]"#,
        "[5, [1]]",
        r#"("a" = ANY($1) OR ((("a" + $2)::numeric / $3) <= "b")) | [[1],5,2]"#,
    );
    check(r#"["==", ["param", 0], ["col", "a"]]"#, "[[1]]", r#""a" = ANY($1) | [[1]]"#);
    check(r#"["!=", ["col", "a"], ["param", 0]]"#, "[[1]]", r#"("a" = ANY($1)) IS NOT TRUE | [[1]]"#);
    check(
        r#"["not", ["in", ["col", "a"], ["lit", [1, null]]]]"#,
        "[]",
        r#"(("a" = ANY($1) OR "a" IS NULL) IS NOT TRUE) | [[1,null]]"#,
    );
    check(r#"["col", "active"]"#, "[]", r#""active" | []"#);
    check(
        r#"["==", ["concat", ["concat", ["col", "a"], ["lit", " "]], ["col", "b"]], ["param", 0]]"#,
        r#"["x y"]"#,
        r#"((("a" || $1::text) || "b") = $2) | [" ","x y"]"#,
    );
    check(
        r#"["or", ["param", 0], ["like", ["col", "n"], ["lit", "A%"]]]"#,
        "[false]",
        r#"(FALSE OR ("n" LIKE $1)) | ["A%"]"#,
    );
}

#[test]
fn refusals() {
    let check = |query: &str, expect: &str| check(query, &format!("error: {expect}"));
    check(
        r#""verb": "delete""#,
        r#"delete without where would change every row of "t"; write all() if that is meant"#,
    );
    check(
        r#""verb": "update", "values": {"a": 1}"#,
        r#"update without where would change every row of "t"; write all() if that is meant"#,
    );
    check(r#""verb": "delete", "where": [["object", {}]]"#, "where({}): the object is empty");
    check(r#""verb": "update", "values": {}, "all": true"#, "update({}) has nothing to set");
    check(
        r#""verb": "get", "where": [["pair", "age", "undefined"]]"#,
        r#"where("age", undefined): the value is missing"#,
    );
    check(
        r#""verb": "get", "where": [["pair", "a", "=~", 1]]"#,
        r#"where("a", "=~"): unknown operator; known are =, ==, !=, <>, <, <=, >, >=, like, ilike, not like, not ilike, in, not in"#,
    );
    check(
        r#""verb": "get", "where": [["pair", "a", "<", [1]]]"#,
        r#"where("a"): "<" with a list; use "in" to match any of its elements"#,
    );
    check(
        r#""verb": "get", "where": [["pair", "a", "in", 1]]"#,
        r#"where("a"): "in" takes a list, got an integer"#,
    );
    check(r#""verb": "get", "limit": -1"#, "limit(-1): expected an integer, 0 or more");
    check(r#""verb": "get", "limit": "-1""#, "limit(text): expected an integer, 0 or more");
    check(r#""verb": "get", "limit": [1]"#, "limit(a list): expected an integer, 0 or more");
    check(r#""verb": "get", "offset": 1.5"#, "offset(1.5): expected an integer, 0 or more");
    check(r#""verb": "get", "offset": "undefined""#, "offset(undefined): expected an integer, 0 or more");
    check(
        r#""verb": "insert", "values": {"a": "undefined"}"#,
        r#"insert: "a" is undefined; use null for SQL NULL"#,
    );
    check(r#""verb": "insert", "values": []"#, "insert: a list needs at least one object");
    check(
        r#""verb": "insert", "values": [{"a": 1, "b": 2}, {"a": 1}], "conflict": [["a"], "update"]"#,
        r#"insert: object 2 of the list has no "b", which onConflict overwrites"#,
    );
    check(
        r#""verb": "insert", "values": [{"a": 1}, {"a": 1, "b": 2}], "conflict": [["a"], ["b"]]"#,
        r#"insert: object 1 of the list has no "b", which onConflict overwrites"#,
    );
    check(
        r#""verb": "get", "select": ["id as i, name"]"#,
        r#""id as i, name" is one column and its name; write each column as a text of its own"#,
    );
    check(r#""verb": "insert", "values": [1]"#, "insert: expected an object, got an integer");
    check(
        r#""verb": "delete", "all": true, "limit": 1"#,
        "insert, update and delete take no order, limit or offset",
    );
    check(r#""verb": "drop""#, r#"query: unknown verb "drop""#);
    check(r#""verb": "get", "wher": 1"#, r#"query: unknown key "wher""#);
    let lambda =
        |tree: &str, captured: &str| format!(r#""verb": "get", "where": [["lambda", {tree}, {captured}]]"#);
    check(
        &lambda(r#"["==", ["col", "a"], ["param", 0]]"#, r#"["undefined"]"#),
        r#"where("a"): compared with undefined; the value is missing"#,
    );
    check(
        &lambda(r#"[">", ["col", "a"], ["param", 0]]"#, "[[1]]"),
        r#"where("a"): ">" with a list; use "in" to match any of its elements"#,
    );
    check(
        &lambda(r#"["<", ["col", "a"], ["+", ["lit", 1], ["param", 0]]]"#, r#"["undefined"]"#),
        r#"where: compared with undefined; the value is missing"#,
    );
    check(&lambda(r#"["xor", 1, 2]"#, "[]"), r#"where: malformed predicate: unknown operator "xor""#);
    check(
        &lambda(r#"["==", ["col", "a"], ["param", 3]]"#, "[]"),
        "where: malformed predicate: no captured value 3",
    );
    check(
        &lambda(r#"["and", ["col", "a"]]"#, "[]"),
        r#"where: malformed predicate: "and" takes two or more conditions"#,
    );
    let deep = format!("{}[\"col\", \"a\"]{}", "[\"not\", ".repeat(100), "]".repeat(100));
    check(&lambda(&deep, "[]"), "where: malformed predicate: nested deeper than 64");
}

/// A row of the table below: a, b, s, f.
type Row = (Option<i64>, Option<i64>, Option<&'static str>, Option<bool>);

const ROWS: [Row; 8] = [
    (Some(1), Some(2), Some("x"), Some(true)),
    (Some(2), Some(2), Some("y"), Some(false)),
    (None, Some(1), Some("x"), None),
    (Some(3), None, None, Some(true)),
    (None, None, None, None),
    (Some(-1), Some(3), Some("A%"), Some(false)),
    (Some(0), Some(0), Some(""), Some(true)),
    (Some(2), Some(-2), Some("Abc"), None),
];

/// Random predicates: what the server selects is what a script would have.
fn predicate(rng: &mut Rng, depth: usize) -> Value {
    let head = |head: &str, rest: Vec<Value>| list(std::iter::once(head.into()).chain(rest).collect());
    let number = |rng: &mut Rng| match rng.below(4) {
        0 => head("col", vec!["a".into()]),
        1 => head("col", vec!["b".into()]),
        2 => head("+", vec![head("col", vec!["a".into()]), head("lit", vec![Value::Int(1)])]),
        _ => head("/", vec![head("col", vec!["b".into()]), head("lit", vec![Value::Int(2)])]),
    };
    let other = |rng: &mut Rng| match rng.below(3) {
        0 => head("col", vec!["b".into()]),
        _ => head("param", vec![Value::Int(i64::try_from(rng.below(4)).unwrap())]),
    };
    let pick = |rng: &mut Rng, of: &[&'static str]| of[usize::try_from(rng.below(of.len() as u64)).unwrap()];
    match rng.below(if depth < 3 { 8 } else { 5 }) {
        0 => {
            let op = pick(rng, &["==", "!="]);
            head(op, vec![number(rng), other(rng)])
        }
        1 => {
            let op = pick(rng, &["<", "<=", ">", ">="]);
            head(op, vec![head("col", vec!["a".into()]), other(rng)])
        }
        2 => head("in", vec![head("col", vec!["a".into()]), head("param", vec![Value::Int(4)])]),
        3 => {
            let op = pick(rng, &["==", "!="]);
            head(op, vec![head("col", vec!["s".into()]), head("param", vec![Value::Int(5)])])
        }
        4 => head("col", vec!["f".into()]),
        5 => head("not", vec![predicate(rng, depth + 1)]),
        6 => head("and", vec![predicate(rng, depth + 1), predicate(rng, depth + 1)]),
        _ => head("or", vec![predicate(rng, depth + 1), predicate(rng, depth + 1)]),
    }
}

/// A number or null, text or null.
#[derive(PartialEq, PartialOrd, Debug)]
enum Operand {
    Null,
    Number(f64),
    Text(String),
}

fn operand(tree: &Value, row: Row, captured: &[Value]) -> Operand {
    let items = tree.as_list().unwrap();
    let number = |v: Option<i64>| v.map_or(Operand::Null, |v| Operand::Number(v as f64));
    let constant = |v: &Value| match v {
        Value::Int(v) => Operand::Number(*v as f64),
        Value::Str(v) => Operand::Text(v.to_string()),
        _ => Operand::Null,
    };
    match (items[0].as_str().unwrap(), &items[1]) {
        ("col", Value::Str(name)) => match &**name {
            "a" => number(row.0),
            "b" => number(row.1),
            _ => row.2.map_or(Operand::Null, |s| Operand::Text(s.to_owned())),
        },
        ("param", Value::Int(index)) => constant(&captured[usize::try_from(*index).unwrap()]),
        ("lit", value) => constant(value),
        (op, x) => match (operand(x, row, captured), operand(&items[2], row, captured)) {
            (Operand::Number(x), Operand::Number(y)) => {
                Operand::Number(if op == "+" { x + y } else { x / y })
            }
            _ => Operand::Null,
        },
    }
}

fn holds(tree: &Value, row: Row, captured: &[Value]) -> bool {
    let items = tree.as_list().unwrap();
    let side = |index: usize| operand(&items[index], row, captured);
    let both = |f: fn(&Operand, &Operand) -> bool| {
        let (x, y) = (side(1), side(2));
        x != Operand::Null && y != Operand::Null && f(&x, &y)
    };
    match items[0].as_str().unwrap() {
        "and" => items[1..].iter().all(|item| holds(item, row, captured)),
        "or" => items[1..].iter().any(|item| holds(item, row, captured)),
        "not" => !holds(&items[1], row, captured),
        "==" => side(1) == side(2),
        "!=" => side(1) != side(2),
        "<" => both(|x, y| x < y),
        "<=" => both(|x, y| x <= y),
        ">" => both(|x, y| x > y),
        ">=" => both(|x, y| x >= y),
        "in" => row.0.is_some_and(|a| captured[4].as_list().unwrap().contains(&Value::Int(a))),
        _ => row.3 == Some(true),
    }
}

#[test]
fn a_predicate_selects_what_a_script_would() {
    let mut client = common::client();
    client.batch("create table p (n int, a int4, b int8, s text, f bool)").unwrap();
    for (n, row) in ROWS.iter().enumerate() {
        let or_null = |v: Option<i64>| v.map_or(Param::Null, Param::Int);
        let params = [
            Param::Int(n as i64),
            or_null(row.0),
            or_null(row.1),
            row.2.map_or(Param::Null, Param::Str),
            row.3.map_or(Param::Null, Param::Bool),
        ];
        client.execute("insert into p values ($1, $2, $3, $4, $5)", &params).unwrap();
    }
    let seed = 11;
    let mut rng = Rng::new(seed);
    for round in 0..1500 {
        let tree = predicate(&mut rng, 0);
        let captured = list(vec![
            Value::Int(2),
            Value::Null,
            Value::Int(-1),
            Value::Int(0),
            list(vec![Value::Int(2), Value::Int(3)]),
            if rng.one_in(3) {
                Value::Null
            } else {
                ["x", "A%"][usize::try_from(rng.below(2)).unwrap()].into()
            },
        ]);
        let query = map(&[
            ("table", "public.p".into()),
            ("verb", "get".into()),
            ("select", list(vec!["n".into()])),
            ("where", list(vec![list(vec!["lambda".into(), tree.clone(), captured.clone()])])),
            ("order", list(vec![list(vec!["n".into()])])),
        ]);
        let (mut sql, mut params) = (String::new(), Vec::new());
        let rendered = Query::from_value(&query).unwrap().render(&mut sql, &mut params).unwrap();
        assert_eq!((rendered.shape, rendered.access), (Shape::Rows, Access::Read));
        let rows = client.rows(&sql, &params).unwrap_or_else(|e| panic!("seed {seed}, {round}: {sql}: {e}"));
        let got: Vec<Value> = rows.iter().map(|row| row.get("n").cloned().unwrap()).collect();
        let expected: Vec<Value> = (0..ROWS.len())
            .filter(|n| holds(&tree, ROWS[*n], captured.as_list().unwrap()))
            .map(|n| Value::Int(n as i64))
            .collect();
        assert_eq!(got, expected, "seed {seed}, round {round}: {sql} with {params:?}");
    }
    client.batch("drop table p").unwrap();
}

/// The forms of `==` on a column use its index.
#[test]
fn equality_uses_an_index() {
    let mut client = common::client();
    client
        .batch("create table idx as select g as id from generate_series(1, 20000) g; create index on idx (id); analyze idx")
        .unwrap();
    for (value, form) in [(Value::Int(7), "Index Cond: (id = 7)"), (Value::Null, "Index Cond: (id IS NULL)")]
    {
        let tree = parse(r#"["==", ["col", "id"], ["param", 0]]"#);
        let query = map(&[
            ("table", "idx".into()),
            ("verb", "get".into()),
            ("where", list(vec![list(vec!["lambda".into(), tree, list(vec![value])])])),
        ]);
        let (mut sql, mut params) = (String::new(), Vec::new());
        Query::from_value(&query).unwrap().render(&mut sql, &mut params).unwrap();
        // EXPLAIN has no parameters of its own to describe in every version: write the value.
        let plan = client.rows(&format!("explain {}", sql.replace("$1", "7")), &[]).unwrap();
        let plan = format!("{plan:?}");
        assert!(plan.contains(form), "{plan}");
    }
    client.batch("drop table idx").unwrap();
}
