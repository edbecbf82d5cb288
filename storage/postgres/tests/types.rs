//! Every type against the server's own text: binary results, parameters of every kind.

mod common;

use forebay_base::Value;
use forebay_postgres::{Param, Shape};

#[test]
fn first() {
    let mut client = common::client();
    let rows = client.rows("select 1 as a, 'x'::text as b, $1::int8 as c", &[Param::Int(7)]).unwrap();
    assert_eq!(
        rows,
        [Value::Map(vec![
            ("a".into(), Value::Int(1)),
            ("b".into(), "x".into()),
            ("c".into(), Value::Int(7))
        ])]
    );
    assert_eq!(client.query("select null", &[], Shape::Scalar).unwrap(), Value::Null);
}
