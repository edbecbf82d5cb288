//! The engine in a program of your own: `cargo run -p forebay-engine --example embed`.
//! A price rule is a script; the program answers its `kv.get`.

use forebay_base::Value;
use forebay_engine::embed::{Engine, Error};

const RULE: &str = "
const { amount, customer } = payload();
const discount = kv.get(`discount/${customer}`) ?? 0;
return { pay: amount * (100 - discount) / 100 };
";

fn main() -> Result<(), Error> {
    let mut engine = Engine::new().on_call(|name, args| match (name, args) {
        ("kv.get", [Value::Str(key)]) if &**key == "discount/ada" => Ok(Value::Int(20)),
        ("kv.get", _) => Ok(Value::Undefined),
        _ => Err(format!("{name}: not in this program")),
    });
    let work = engine.build("rule.js", RULE)?;
    for customer in ["ada", "bob"] {
        let answer = engine.trigger(&work, &format!(r#"{{"amount": 50, "customer": "{customer}"}}"#))?;
        println!("{customer}: {} {} (fuel {})", answer.status, answer.text(), answer.used.0);
    }
    Ok(())
}
