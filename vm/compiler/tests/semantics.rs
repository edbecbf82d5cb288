//! Scripts do what ECMAScript says: each case of `cases.js` is compiled, run by
//! the reference machine (reference.js, node's own operators under our
//! instructions), and compared with node running the script itself. Skipped, with a
//! word, where there is no node.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use forebay_bytecode::module::TemplatePart;
use forebay_bytecode::{Capture, Const, Global, HostFn, Module, Op};
use forebay_compiler::{SourceSet, compile};

/// Whether there is a node to compare with.
fn has_node() -> bool {
    let found = Command::new("node").arg("--version").output().is_ok();
    if !found {
        println!("no node on the PATH: nothing to compare with");
    }
    found
}

#[test]
fn scripts_do_what_node_does() {
    if has_node() {
        compare(include_str!("cases.js"));
    }
}

/// Random programs (generate.js). `FOREBAY_SEED=n FOREBAY_PROGRAMS=n` reruns or widens it.
#[test]
fn random_scripts_do_what_node_does() {
    if !has_node() {
        return;
    }
    let seed = std::env::var("FOREBAY_SEED").unwrap_or("1".into());
    let count = std::env::var("FOREBAY_PROGRAMS").unwrap_or("80".into());
    println!("FOREBAY_SEED={seed} FOREBAY_PROGRAMS={count} cargo test -p forebay-compiler random_scripts");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/generate.js");
    let programs = Command::new("node").args([script, &seed, &count]).output().unwrap();
    compare(&String::from_utf8(programs.stdout).unwrap());
}

#[expect(clippy::unwrap_used, reason = "a test")]
fn compare(text: &str) {
    let mut cases = String::from("[");
    let mut count = 0;
    for case in text.split("\n//--- ").skip(1) {
        let (name, source) = case.split_once('\n').unwrap();
        let module = match compile(&SourceSet::one("test.js", source), "test.js") {
            Ok((module, _)) => module,
            Err(errors) => panic!("{name}: {}", errors[0]),
        };
        if count > 0 {
            cases.push(',');
        }
        count += 1;
        write!(
            cases,
            "{{\"name\":{},\"source\":{},\"module\":{}}}",
            text_of(name),
            text_of(source),
            json(&module)
        )
        .unwrap();
    }
    cases.push(']');
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference.js");
    let mut node =
        Command::new("node").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    node.stdin.take().unwrap().write_all(cases.as_bytes()).unwrap();
    let output = node.wait_with_output().unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.lines().count(), count, "one line per case");
    let different: Vec<&str> = output.lines().filter(|l| !l.contains("\"same\":true")).collect();
    assert!(
        different.is_empty(),
        "{} of {count} differ:\n{}",
        different.len(),
        different.join("\n").replace("\\n", "\n")
    );
}

fn text_of(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if u32::from(c) < 0x20 || c == '\u{2028}' || c == '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn list<T>(items: impl IntoIterator<Item = T>, f: impl Fn(T) -> String) -> String {
    format!("[{}]", items.into_iter().map(f).collect::<Vec<_>>().join(","))
}

/// The code units of WTF-8.
fn units(text: &[u8]) -> Vec<u16> {
    let mut units = Vec::new();
    for part in text.utf8_chunks() {
        units.extend(part.valid().encode_utf16());
        // A half is three bytes, each of them invalid alone.
        units.extend(part.invalid().iter().map(|byte| u16::from(*byte)));
    }
    let mut joined: Vec<u16> = Vec::new();
    let mut rest = units.as_slice();
    while let [first, more @ ..] = rest {
        rest = match more {
            [second, third, more @ ..] if *first == 0xed && (0xa0..0xc0).contains(second) => {
                joined.push(0xd000 | (second & 0x3f) << 6 | third & 0x3f);
                more
            }
            more => {
                joined.push(*first);
                more
            }
        };
    }
    joined
}

/// The module as reference.js reads it.
fn json(module: &Module) -> String {
    let constant = |c: &Const| match c {
        Const::Number(n) => format!(
            "{{\"$number\":\"{}\"}}",
            if *n == 0.0 && n.is_sign_negative() {
                "-0".into()
            } else {
                format!("{n:e}").replace("NaN", "NaN").replace("inf", "Infinity")
            }
        ),
        Const::Str(s) => text_of(s),
        Const::BigInt(d) => format!("{{\"$bigint\":\"{d}\"}}"),
        Const::Data(d) => list(d.iter(), ToString::to_string),
        Const::Template(parts) => {
            let cooked = |p: &TemplatePart| p.cooked.map_or("null".into(), |at| at.to_string());
            let parts = list(parts.iter(), |p| format!("[{},{}]", cooked(p), p.raw));
            format!("{{\"$template\":{parts}}}")
        }
        Const::Wtf8(text) => format!("{{\"$units\":{}}}", list(units(text), |u| u.to_string())),
        Const::Private(text) => format!("{{\"$private\":{}}}", text_of(text)),
        Const::Namespace { .. } => unreachable!("the cases import nothing"),
    };
    let functions = list(&module.functions, |f| {
        let code = list(&f.code, |i| {
            format!(
                "[\"{}\",{},{},{},{},{},{}]",
                i.op().map_or("?", Op::name),
                i.n(),
                i.a(),
                i.b(),
                i.c(),
                i.bx(),
                i.sbx()
            )
        });
        let captures = list(&f.captures, |c| match c {
            Capture::Register(r) => format!("[\"r\",{r}]"),
            Capture::Upvalue(u) => format!("[\"u\",{u}]"),
        });
        let handlers = list(&f.handlers, |h| format!("[{},{},{},{}]", h.start, h.end, h.target, h.register));
        format!(
            "{{\"name\":{},\"flags\":{},\"length\":{},\"parameters\":{},\"rest\":{},\"registers\":{},\"site_base\":{},\"captures\":{captures},\"handlers\":{handlers},\"code\":{code}}}",
            f.name,
            f.flags,
            f.length,
            f.parameters,
            f.rest.map_or("null".into(), |r| r.to_string()),
            f.registers,
            f.site_base
        )
    });
    format!(
        "{{\"constants\":{},\"sites\":{},\"slots\":{},\"main\":{},\"globals\":{},\"hosts\":{},\"functions\":{functions}}}",
        list(&module.constants, constant),
        list(&module.sites, ToString::to_string),
        list(&module.slots, ToString::to_string),
        module.main.map_or("null".into(), |f| f.0.to_string()),
        list(Global::ALL, |g| text_of(g.name())),
        list(HostFn::ALL, |h| text_of(h.path())),
    )
}
