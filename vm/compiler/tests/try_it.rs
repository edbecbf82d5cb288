//! Scratch.
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
#[test]
fn shop() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/shop");
    struct L(std::path::PathBuf);
    impl forebay_compiler::Loader for L { fn load(&self, p: &str) -> Option<Box<str>> { std::fs::read_to_string(self.0.join(p)).ok().map(Into::into) } }
    for f in std::fs::read_dir(root.join("blueprints")).unwrap() {
        let n = format!("blueprints/{}", f.unwrap().file_name().to_str().unwrap());
        match forebay_compiler::compile(&L(root.clone()), &n) { Ok((m, _)) => println!("{n}: {:?} {}", m.works, m.functions.len()), Err(e) => for d in e { println!("{d}\n"); } }
    }
}
#[test]
fn corpus() {
    let Ok(list) = std::env::var("CORPUS") else { return };
    let (mut ok, mut bad, mut codes) = (0, 0, std::collections::BTreeMap::new());
    for path in std::fs::read_to_string(list).unwrap().lines() {
        let Ok(text) = std::fs::read_to_string(path) else { continue };
        let text = format!("function wrapper(require, module, exports, console, process, Buffer, setTimeout, clearTimeout, Proxy, Reflect, URL, __dirname, __filename, queueMicrotask, setImmediate, Uint8Array, WeakMap, setInterval, clearInterval) {{\n{text}\n}}");
        match forebay_compiler::compile(&forebay_compiler::SourceSet::one("x.js", &text), "x.js") {
            Ok(_) => ok += 1,
            Err(e) => { bad += 1; if std::env::var("SHOW").is_ok_and(|c| c == e[0].code) { println!("{path} {}", e[0].to_string().chars().take(400).collect::<String>()); } let d = &e[0]; 
                if d.code == "FB0899" || d.code == "FB0999" { println!("{path}\n{d}"); }
                let e = codes.entry(format!("{} {}", d.code, if d.code == "FB0101" || d.code == "FB0301" {d.message.clone()} else {String::new()})).or_insert((0, path.to_string())); e.0 += 1; }
        }
    }
    println!("{ok} ok {bad} refused {codes:#?}");
}
