//! Types of the extension pgvector, against a server that has it: a vector is a list of numbers, halfvec and sparsevec
//! are the server's text. Runs only where the extension is available, and says so where it isn't.
#![allow(clippy::unwrap_used, reason = "a test; helpers outside of #[test] functions unwrap too")]

mod common;

use forebay_base::Value;
use forebay_base::rng::Rng;
use forebay_postgres::blocking::Client;
use forebay_postgres::{Param, QueryError, Shape};

const SEED: u64 = 5;

/// A client of a database with the extension; None, said aloud, if the server hasn't got it.
fn client(database: &str) -> Option<Client> {
    let mut client = common::client();
    let sql = "select count(*) from pg_available_extensions where name = 'vector'";
    if client.query(sql, &[], Shape::Scalar).unwrap() != Value::Int(1) {
        eprintln!("SKIPPED: this server has no extension \"vector\" (pgvector)");
        return None;
    }
    Some(common::client_of(database, "create extension vector"))
}

/// Numbers that a float4 can be: whole, decimal, tiny, huge.
fn number(rng: &mut Rng) -> String {
    match rng.below(5) {
        0 => "0".into(),
        1 => format!("{}", i64::try_from(rng.below(2_000_001)).unwrap() - 1_000_000),
        2 => format!("{:.3}", rng.unit_f64() * 2.0 - 1.0),
        3 => format!("-{}e-{}", 1 + rng.below(9), rng.below(40)),
        _ => loop {
            #[expect(clippy::cast_possible_truncation, reason = "random bits")]
            let value = f32::from_bits(rng.next_u64() as u32);
            if value.is_finite() {
                break format!("{value:e}");
            }
        },
    }
}

/// The float4s of the server's text: several texts may name the same one.
fn floats(text: &str) -> Vec<f32> {
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap();
    inner.split(',').map(|number| number.parse().unwrap()).collect()
}

/// A list of numbers that are float4s.
fn list_of(value: &Value) -> Vec<f32> {
    let Value::List(items) = value else { panic!("{value:?}") };
    let number = |item: &Value| match item {
        #[expect(clippy::cast_possible_truncation, reason = "float4 on purpose")]
        Value::Float(number) => *number as f32,
        other => panic!("{other:?}"),
    };
    items.iter().map(number).collect()
}

#[test]
fn vectors_agree_with_the_servers_text() {
    let Some(mut client) = client("vectors") else { return };
    let mut rng = Rng::new(SEED);
    let text = |client: &mut Client, sql: &str, params: &[Param<'_>]| {
        client.query(sql, params, Shape::Scalar).unwrap().as_str().unwrap().to_owned()
    };
    for round in 0..300 {
        let count = if round % 50 == 0 { 16_000 } else { 1 + rng.below(300) };
        let numbers: Vec<String> = (0..count).map(|_| number(&mut rng)).collect();
        let literal = format!("[{}]", numbers.join(","));
        let param = [Param::Str(&literal)];
        let shown = text(&mut client, "select $1::vector::text", &param);
        let value = client.query("select $1::vector", &param, Shape::Scalar).unwrap();
        assert_eq!(list_of(&value), floats(&shown), "{literal}");
        // There and back, by itself and in an array.
        let back = text(&mut client, "select $1::vector::text", &[Param::from(&value)]);
        assert_eq!(back, shown);
        if count < 1000 {
            let both = Value::List(vec![value.clone(), Value::Null]);
            let sql = "select array[$1::vector, null]";
            assert_eq!(client.query(sql, &param, Shape::Scalar).unwrap(), both);
        }
    }
}

#[test]
fn vectors_in_tables_queries_and_other_types() {
    let Some(mut client) = client("spots") else { return };
    client
        .batch(
            "create table item (id int4, place vector(3));
             create domain spot as vector(2); create type placed as (id int4, place vector)",
        )
        .unwrap();
    let list = |numbers: &[f64]| Value::List(numbers.iter().map(|n| Value::Float(*n)).collect());
    for (id, place) in [(1, [1.0, 2.0, 3.0]), (2, [0.1, -0.5, 1e-7])] {
        let place = list(&place);
        let params = [Param::Int(id), Param::from(&place)];
        client.query("insert into item values ($1, $2)", &params, Shape::Affected).unwrap();
    }
    let near = list(&[0.0, 0.0, 0.0]);
    let rows =
        client.rows("select id, place from item order by place <-> $1", &[Param::from(&near)]).unwrap();
    assert_eq!(rows[0].get("place"), Some(&list(&[0.1, -0.5, 1e-7])));
    assert_eq!(rows[1].get("place"), Some(&list(&[1.0, 2.0, 3.0])));
    let mut check = |sql: &str, expect: Value| {
        assert_eq!(client.query(sql, &[], Shape::Scalar).unwrap(), expect, "{sql}");
    };
    check("select '[3,4]'::vector <-> '[0,0]'::vector", Value::Float(5.0));
    check("select avg(v) from (values ('[1,3]'::vector), ('[2,5]')) t (v)", list(&[1.5, 4.0]));
    check("select '[1,2]'::spot", list(&[1.0, 2.0]));
    check("select null::vector", Value::Null);
    check(
        "select row(7, '[1,2]')::placed",
        Value::Map(vec![("id".into(), Value::Int(7)), ("place".into(), list(&[1.0, 2.0]))]),
    );
    // Those without a binary form here are the server's text, also as parameters.
    check("select '[1,2.5]'::halfvec", "[1,2.5]".into());
    check("select '{1:1,3:2.5}/5'::sparsevec", "{1:1,3:2.5}/5".into());
    check("select array['[1,2]'::halfvec, null]", Value::List(vec!["[1,2]".into(), Value::Null]));
    check("select array['{1:1}/2'::sparsevec]", Value::List(vec!["{1:1}/2".into()]));
    let text = [Param::Str("{2:0.5}/3")];
    let got = client.query("select $1::sparsevec", &text, Shape::Scalar).unwrap();
    assert_eq!(got, "{2:0.5}/3".into());
    // What isn't one.
    let mut refused = |param: Value, expect: &str| {
        let error = client.query("insert into item values (3, $1)", &[Param::from(&param)], Shape::Affected);
        let error = error.unwrap_err();
        assert!(error.to_string().contains(expect), "{error}");
        error
    };
    refused(list(&[1.0, 2.0]), "expected 3 dimensions, not 2");
    refused("[1,x,3]".into(), "invalid input syntax for type vector");
    let error = refused(Value::List(vec!["a".into()]), "expected numbers");
    assert!(matches!(error, QueryError::Parameter(_)));
    refused(Value::Int(1), "expected a list of numbers");
}
