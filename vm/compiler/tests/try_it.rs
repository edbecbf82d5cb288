#[test]
fn try_it() {
    let path = std::env::var("SRC").unwrap_or_default();
    if path.is_empty() { return; }
    let text = std::fs::read_to_string(&path).unwrap();
    let name = std::env::var("NAME").unwrap_or("blueprints/x.js".into());
    match forebay_compiler::compile(&forebay_compiler::SourceSet::one(&name, &text), &name) {
        Ok((m, w)) => { for d in w { println!("{d}"); } println!("{}", forebay_bytecode::disassemble(&m)); println!("{:?}", m.works); }
        Err(e) => for d in e { println!("{d}\n"); }
    }
}
