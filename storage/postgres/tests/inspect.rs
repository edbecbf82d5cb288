//! What a database says about its tables and about statements that don't run.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use forebay_postgres::QueryError;
use forebay_postgres::inspect::{Inspector, UserType};

const TABLES: &str = r#"
create type mood as enum ('happy', 'so so');
create domain email as text check (value like '%@%');
create schema other;
create table person (id int8 primary key generated always as identity, name text not null, age int4, mood mood not null default 'happy',
  mails email[], upper_name text generated always as (upper(name)) stored);
create table purchase (id int8 primary key, person_id int8 references person, amount numeric(10,2) not null);
create table other.thing (id uuid not null);
create table empty ();
create view adult as select id, name from person where age >= 18;
create table part (id int8 not null, name text not null) partition by range (id);
create table part_1 partition of part for values from (0) to (10);
create table part_2 partition of part for values from (10) to (20);
"#;

#[test]
fn tables_and_types_are_read_by_name() {
    let mut client = common::client_of("inspect_tables", TABLES);
    let mut inspector = Inspector::new(&mut client).unwrap();
    let schema = inspector.schema(&mut client).unwrap();
    let names: Vec<&str> = schema.tables.keys().map(String::as_str).collect();
    assert_eq!(names, ["adult", "empty", "other.thing", "part", "part_1", "part_2", "person", "purchase"]);
    let person: Vec<String> = schema.tables["person"]
        .columns
        .iter()
        .map(|c| {
            let flags = [(c.nullable, "?"), (c.has_default, "="), (c.generated, "!")];
            let flags: String = flags.iter().filter(|(yes, _)| *yes).map(|(_, sign)| *sign).collect();
            format!("{} {}{flags}", c.name, c.type_name)
        })
        .collect();
    let expect =
        ["id int8=!", "name text", "age int4?", "mood mood=", "mails email[]?", "upper_name text?=!"];
    assert_eq!(person, expect);
    assert!(schema.tables["empty"].columns.is_empty());
    assert_eq!(schema.tables["other.thing"].schema, "other");
    assert_eq!(schema.types["mood"], UserType::Enum(vec!["happy".to_owned(), "so so".to_owned()]));
    assert_eq!(schema.types["email"], UserType::Domain("text".to_owned()));
    assert_eq!(schema.types.len(), 2);
}

#[test]
fn a_statement_says_what_it_takes_and_gives() {
    let mut client = common::client_of("inspect_statements", TABLES);
    let mut inspector = Inspector::new(&mut client).unwrap();
    inspector.schema(&mut client).unwrap();
    let mut check = |sql: &str, params: &[&str], columns: Option<&[&str]>| {
        let found = inspector.statement(&mut client, sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(found.params, params, "{sql}");
        let shown = found.columns.map(|list| {
            list.iter()
                .map(|c| format!("{} {}{}", c.name, c.type_name, if c.nullable { "?" } else { "" }))
                .collect::<Vec<_>>()
        });
        assert_eq!(
            shown.as_deref(),
            columns.map(|list| list.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>()).as_deref(),
            "{sql}"
        );
    };
    check(
        "select id, age, mood, mails from person where name = $1",
        &["text"],
        Some(&["id int8", "age int4?", "mood mood", "mails email[]?"]),
    );
    check("insert into person (name, mood) values ($1, $2)", &["text", "mood"], None);
    check(
        "insert into person (name) values ($1) returning id, age",
        &["text"],
        Some(&["id int8", "age int4?"]),
    );
    check(
        "update person set name = $2 where id = $1 returning name as n",
        &["int8", "text"],
        Some(&["n text"]),
    );
    // Outer joins make nulls, wherever the planner puts them.
    let sides = &["name text", "amount numeric?"][..];
    check(
        "select p.name, o.amount from person p left join purchase o on o.person_id = p.id",
        &[],
        Some(sides),
    );
    check(
        "select p.name, o.amount from purchase o right join person p on o.person_id = p.id",
        &[],
        Some(sides),
    );
    check(
        "select p.name, o.amount from person p full join purchase o on o.person_id = p.id",
        &[],
        Some(&["name text?", "amount numeric?"]),
    );
    check(
        "select p.name, o.amount from person p join purchase o on o.person_id = p.id",
        &[],
        Some(&["name text", "amount numeric"]),
    );
    check(
        "select a.name, b.name as other from person a left join person b on a.id = b.age",
        &[],
        Some(&["name text", "other text?"]),
    );
    check(
        "with x as materialized (select p.id, o.amount from person p left join purchase o on o.person_id = p.id) select id, amount from x",
        &[],
        Some(&["id int8?", "amount numeric?"]),
    );
    check(
        "select p.name, l.amount from person p left join lateral (select amount from purchase o where o.person_id = p.id limit 1) l on true",
        &[],
        Some(sides),
    );
    check(
        "select name, count(*) from person group by rollup (name)",
        &[],
        Some(&["name text?", "count int8?"]),
    );
    check("select name from person union all select null", &[], Some(&["name text?"]));
    check("select name from part", &[], Some(&["name text?"]));
    // Expressions may be null, but count.
    check(
        "select name || 'x' as n, upper(name), 1 as one from person",
        &[],
        Some(&["n text?", "upper text?", "one int4?"]),
    );
    check(
        "select mood, count(*), max(age) from person group by mood",
        &[],
        Some(&["mood mood", "count int8", "max int4?"]),
    );
    check("select id, name from adult", &[], Some(&["id int8?", "name text?"]));
    check("select relname from pg_class", &[], Some(&["relname name?"]));
    check("copy person (name) from stdin", &[], None);
    check("create table x (a int)", &[], None);
    check("select", &[], Some(&[]));
    // Nothing ran.
    check("select name from person where id > $1::int8 limit $2", &["int8", "int8"], Some(&["name text"]));
    let count = client.query("select count(*) from person", &[], forebay_postgres::Shape::Scalar).unwrap();
    assert_eq!(count, forebay_base::Value::Int(0));
    let error = inspector.statement(&mut client, "select nme from person").unwrap_err();
    assert!(matches!(&error, QueryError::Server(e) if &*e.code == "42703" && e.position == 8), "{error:?}");
    // The connection goes on.
    inspector.statement(&mut client, "select 1").unwrap();
}
