//! Chains of `db()` against the tables of a lock file. `¦` marks the place that the error shows.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::sync::Arc;

use forebay_base::Value;
use forebay_compiler::schema::{Schema, Shape, Table};
use forebay_compiler::{Loader, SourceSet, compile, static_statements};

struct App(SourceSet);

impl Loader for App {
    fn load(&self, path: &str) -> Option<Box<str>> {
        self.0.load(path)
    }

    fn schema(&self) -> Option<Arc<Schema>> {
        let table = |schema: &str, columns: &[&str]| Table {
            schema: schema.to_owned(),
            columns: columns.iter().map(|column| (*column).to_owned()).collect(),
        };
        let tables = BTreeMap::from([
            ("person".to_owned(), table("public", &["id", "name", "age", "city"])),
            ("purchase".to_owned(), table("public", &["id", "person_id", "amount"])),
            ("tag".to_owned(), table("public", &["page", "n"])),
            ("other.thing".to_owned(), table("other", &["id"])),
        ]);
        Some(Arc::new(Schema { tables }))
    }
}

fn source(expression: &str) -> String {
    format!("work(\"W\").get(\"/w\", () => {{ const q = payload(); return {expression}; }});\n")
}

/// No error without a mark, else exactly one, there.
#[track_caller]
fn check(expression: &str, code: &str, words: &str) {
    let marked = source(expression);
    let text = marked.replace('¦', "");
    let result = compile(&App(SourceSet::one("blueprints/w.js", &text)), "blueprints/w.js");
    let Some(place) = marked.find('¦') else {
        assert!(result.is_ok(), "{expression}: {}", result.unwrap_err()[0]);
        return;
    };
    let errors = result.err().unwrap_or_else(|| panic!("{expression}: no error"));
    assert_eq!(errors.len(), 1, "{expression}: {errors:?}");
    let error = &errors[0];
    assert_eq!((error.code, error.place.start as usize), (code, place), "{expression}: {error}");
    assert!(error.to_string().contains(words), "{expression}: {error}");
}

#[test]
fn tables_and_columns_that_are_not_there_are_errors() {
    let table = |expression: &str, words: &str| check(expression, "FB0605", words);
    let column = |expression: &str, words: &str| check(expression, "FB0606", words);
    let good = |expression: &str| check(expression, "", "");
    table("db().table(¦\"persn\").get()", "did you mean `person`?");
    table("db().from(¦\"zebra\", \"z\").get()", "forebay.lock.json has");
    table("db().table(¦\"other.person\").get()", "there is no table");
    good("db().table(\"public.person\").where(\"person.age\", 1).get()");
    good("db().table(\"other.thing\").find(1)");
    column("db().table(\"person\").where(¦\"agee\", 1).get()", "did you mean `age`?");
    column(
        "db().table(\"person\").where(\"age\", \">\", 1).and(¦\"x\", \"<\", 2).get()",
        "it has id, name, age, city",
    );
    column("db().table(\"person\").where({ age: 1, ¦ctiy: 2 }).get()", "did you mean `city`?");
    column("db().table(\"person\").in(¦\"idd\", [1]).get()", "did you mean `id`?");
    column("db().table(\"person\").isNull(¦\"nam\").count()", "did you mean `name`?");
    column("db().table(\"person\").between(¦\"ag\", 1, 2).count()", "did you mean `age`?");
    column("db().table(\"person\").sum(¦\"aged\")", "did you mean `age`?");
    column("db().table(\"tag\").¦find(1)", "looks for `id`");
    column("db().table(\"person\").select(\"id\", ¦\"nme as n\").get()", "did you mean `name`?");
    column("db().table(\"person\").select([\"id\", ¦\"nme\"]).get()", "did you mean `name`?");
    column("db().table(\"person\").group(¦\"town\").count()", "no column `town`");
    column("db().table(\"person\").order(¦\"nam\", \"desc\").get()", "did you mean `name`?");
    good("db().table(\"person\").select(\"name as n\").order(\"n\").get()");
    good("db().table(\"person\").select(p => ({ n: count() })).group(\"city\").order(\"n\").get()");
    column("db().table(\"person\").insert({ id: 1, ¦nme: 2 })", "did you mean `name`?");
    column("db().table(\"person\").insert([{ id: 1 }, { ¦idd: 2 }])", "did you mean `id`?");
    column("db().table(\"person\").update({ ¦nme: 2 }).where(\"id\", 1)", "did you mean `name`?");
    column("db().table(\"person\").update(p => ({ ¦nme: p.name })).where(\"id\", 1)", "did you mean `name`?");
    column("db().table(\"person\").update(p => ({ name: p.¦nme })).where(\"id\", 1)", "did you mean `name`?");
    column("db().table(\"person\").insert({ id: 1 }).returning(¦\"nme\")", "did you mean `name`?");
    column(
        "db().table(\"tag\").insert({ page: 1 }).onConflict(¦\"pag\", \"update\")",
        "did you mean `page`?",
    );
    column("db().table(\"tag\").insert({ page: 1 }).onConflict(\"page\", [¦\"zebra\"])", "it has page, n");
    column("db().table(\"tag\").insert({ page: 1 }).onConflict(\"page\", { ¦zebra: 1 })", "it has page, n");
    // Lambdas.
    column("db().table(\"person\").where(p => p.age > 1 && p.¦cty == q.x).get()", "did you mean `city`?");
    column("db().table(\"person\").where(({ age, ¦nme }) => age > nme).get()", "did you mean `name`?");
    column("db().table(\"person\").where(p => p[¦\"nme\"] == 1).get()", "did you mean `name`?");
    good("db().table(\"person\").where(p => p.age > q.anything.at.all).get()");
    column(
        "db().from(\"person\").join(\"purchase\", (p, o) => o.¦persn_id == p.id).get()",
        "did you mean `person_id`?",
    );
    column(
        "db().from(\"person\").join(\"purchase\", (p, o) => o.person_id == p.id).where((p, o) => o.¦age > 1).get()",
        "table `purchase` has no column `age`",
    );
    column(
        "db().from(\"person\", \"p\").join(\"purchase\", \"o\", \"o.person_id\", ¦\"p.idd\").get()",
        "did you mean `id`?",
    );
    table(
        "db().from(\"person\", \"p\").leftJoin(\"purchase\", \"o\", ¦\"zebra.id\", \"p.id\").get()",
        "it has p, o",
    );
    table(
        "db().from(\"person\").join(¦\"purchases\", (p, o) => o.x == p.id).get()",
        "did you mean `purchase`?",
    );
    column(
        "db().from(\"person\", \"p\").join(\"purchase\", \"o\", \"o.person_id\", \"p.id\").where(¦\"amont\", 1).get()",
        "did you mean `amount`?",
    );
    good(
        "db().from(\"person\", \"p\").join(\"purchase\", \"o\", \"o.person_id\", \"p.id\").where(\"amount\", 1).select(\"p.*\", \"o.id as o\").get()",
    );
    // What can't be seen is not judged.
    good("db().table(q.name).where(\"whatever\", 1).get()");
    good("db().table(\"person\").where(q.column, 1).get()");
    good("db(\"other\").table(\"elsewhere\").where(\"x\", 1).get()");
    good("tx(() => db().table(\"elsewhere\").count(), { database: \"other\" })");
    good("db().raw(\"select x from nowhere\")");
    good("db().table(\"person\").get().map(p => p.anything).filter(x => x.where)");
    good("db().table(\"person\").each(row => row.anything)");
    good(
        "db().table(\"person\").insert([{ id: 1 }]).returning(\"id\").map(r => ({ t: r.id })).filter(x => x.t)",
    );
    good("db().table(\"person\").insert([{ id: 1 }]).returning(\"id\").find(r => r.total)");
    column("db().table(\"person\").where(¦\"agee\", 1).cursor()", "did you mean `age`?");
    good("((db) => db().table(\"nowhere\").get())(q.db)");
    table("tx(() => db().table(¦\"nowhere\").count(), { readOnly: true })", "there is no table");
    table(
        "db().table(\"person\").where(\"id\", db().table(¦\"nowhere\").count()).get()",
        "there is no table",
    );
}

#[test]
fn without_a_schema_nothing_is_judged() {
    let text = source("db().table(\"nowhere\").where(p => p.x == 1).get()");
    assert!(compile(&SourceSet::one("blueprints/w.js", &text), "blueprints/w.js").is_ok());
}

#[test]
fn chains_that_are_the_same_every_time_are_found() {
    let found = |expression: &str| {
        let sources = SourceSet::one("blueprints/w.js", &source(expression));
        let list =
            static_statements(&sources, "blueprints/w.js", &|n| Value::Str(format!("leaf {n}").into()));
        list.into_iter()
            .map(|one| (one.text[one.place.start as usize..one.place.end as usize].to_owned(), one.shape))
            .collect::<Vec<_>>()
    };
    let list = found(
        "db().table(\"person\").where(\"age\", q.x).and(p => p.city == q.y).limit(0).get().map(x => x)",
    );
    assert_eq!(list.len(), 1);
    assert_eq!(
        list[0].0,
        "db().table(\"person\").where(\"age\", q.x).and(p => p.city == q.y).limit(0).get()"
    );
    let Shape::Query(map) = &list[0].1 else { panic!("{list:?}") };
    let shown = format!("{map:?}");
    assert!(shown.contains("leaf 0") && shown.contains("leaf 1") && !shown.contains("leaf 2"), "{shown}");
    let raw = found("db().raw(\"select $1::int\", q)");
    let Shape::Raw(text, place) = &raw[0].1 else { panic!("{raw:?}") };
    assert_eq!(text, "select $1::int");
    assert_eq!(
        &source("db().raw(\"select $1::int\", q)")[place.start as usize..place.end as usize],
        "select $1::int"
    );
    for none in [
        "db().table(q).get()",
        "db().table(\"a\").where(q, 1).get()",
        "db().table(\"a\").where({ [q]: 1 }).get()",
        "db(\"x\").table(\"a\").get()",
        "db().table(\"a\").insert(q)",
        "db().table(\"a\").select(...q).get()",
        "tx(() => db().table(\"a\").get(), q)",
    ] {
        assert!(found(none).is_empty(), "{none}");
    }
}
