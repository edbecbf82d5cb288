//! The S-expression front end: what it refuses and where, and that no text breaks it.

use forebay_compiler::{SourceSet, compile};

/// As in errors.rs: `¦` marks the place of the first error.
fn check(source: &str, code: &str, words: &str) {
    let place = source.find('¦').unwrap_or_else(|| panic!("no mark in {source}"));
    let text = source.replace('¦', "");
    let Err(errors) = compile(&SourceSet::one("a.sxs", &text), "a.sxs") else {
        panic!("it compiles: {text}")
    };
    let frame = errors[0].to_string();
    assert_eq!(errors[0].code, code, "{frame}");
    assert!(frame.contains(words), "{words:?} is not in\n{frame}");
    assert_eq!(errors[0].place.start as usize, place, "the caret of\n{frame}");
}

fn accept(text: &str) {
    if let Err(errors) = compile(&SourceSet::one("a.sxs", text), "a.sxs") {
        panic!("{text}\n{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    }
}

#[test]
fn brackets_strings_and_numbers() {
    check("¦(+ 1 (+ 2 3)", "FB0901", "never closed");
    check("(+ 1 2)¦)", "FB0901", "nothing is open");
    check("(do 1¦}", "FB0901", "expected `)`");
    check("(str ¦\"abc)", "FB0901", "has no end");
    check("\"a¦\\q\"", "FB0901", "escape");
    check("\"¦\\u{110000}\"", "FB0901", "escape");
    check("¦12abc", "FB0901", "number");
    check("¦9223372036854775808", "FB0901", "64 bits");
    check("¦$a-b", "FB0901", "name of a variable");
    accept("(list 1 -1 +2 2.5 1e9 9007199254740993 \"\\u{1F600}\\n\" null nil true false) ; a comment");
    accept("");
}

#[test]
fn forms() {
    check("(¦core/kv/gte \"k\")", "FB0902", "did you mean `core/kv/get`?");
    check("(¦exists \"k\")", "FB0902", "did you mean `core/kv/exists`?");
    check("¦(core/kv/get)", "FB0903", "takes 1 argument, not 0");
    check("¦(core/kv/cas \"k\" 1)", "FB0903", "takes 3 arguments");
    check("¦(map \"a\")", "FB0903", "no value");
    check("(let ¦x 1)", "FB0903", "(let $name value)");
    check("(core/kv/set ¦k 1)", "FB0904", "\"k\"");
    check("(¦core/event/pub \"A\" 100 1)", "FB0905", "not built yet");
    check("(¦core/event/sub \"A\" 100 { 1 })", "FB0905", "not built yet");
    check("(¦core/expr/await 1 \"B\" 100)", "FB0905", "not built yet");
    check("¦()", "FB0903", "(list)");
    check("1 ¦(work \"A\" (get \"/a\"))", "FB0903", "first form");
}

#[test]
fn what_the_lowering_finds_has_its_place_in_the_forms() {
    check("(let $total 1)\n(+ ¦$totl 1)", "FB0201", "did you mean `$total`?");
    check("(work \"A\" (¦gte \"/a\"))", "FB0504", "did you mean `get`?");
    check("(let $a 1) (let ¦$a 2)", "FB0101", "already been declared");
}

#[test]
fn depth_and_size_are_bounded() {
    let nested = |n: usize| format!("{}1{}", "(do ".repeat(n), ")".repeat(n));
    accept(&nested(64));
    let errors = compile(&SourceSet::one("a.sxs", &nested(65)), "a.sxs").unwrap_err();
    assert_eq!(errors[0].code, "FB0802");
    let values = |n: usize| format!("{}1{}", "(if 1 { (let $a (str ".repeat(n), ")) } 2)".repeat(n));
    accept(&values(16));
    let errors = compile(&SourceSet::one("a.sxs", &" ".repeat(300 << 10)), "a.sxs").unwrap_err();
    assert_eq!(errors[0].code, "FB0801");
}

/// Seeded: `n` is the only thing that a failing run needs.
#[test]
fn no_text_breaks_it() {
    let seed = "(work \"A\" (post \"/a/{id}\"))\n(let $x (core/kv/get (param \"id\")))\n\
        (core/kv/iterate \"p\" 0 10 { (if (> $value 1) (core/util/log \"é\\u{41}\" $key) { (set $x null) }) })\n\
        (each $y (list 1 -2.5 true) { (while false 1) })\n(response 201 (map \"x\" (at $x \"a\" 0) \"y\" (or $x 1)))";
    accept(seed);
    let pieces = [
        "(",
        ")",
        "{",
        "}",
        "\"",
        "$",
        "$key",
        "\\",
        "\\u{",
        ";",
        "é",
        "\u{2028}",
        "-",
        "1e999",
        "9007199254740993",
        "work",
        "map",
        "\u{0}",
        " ",
        "`",
        "${",
        "*/",
        "//",
        "core/kv/load",
        "let",
    ];
    for n in 0..1500_u64 {
        let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % below as u64).unwrap()
        };
        let mut chars: Vec<char> = seed.chars().collect();
        for _ in 0..=random(4) {
            let at = random(chars.len());
            match random(3) {
                0 => drop(chars.drain(at..(at + random(8)).min(chars.len()))),
                1 => drop(chars.splice(at..at, pieces[random(pieces.len())].chars())),
                _ => {
                    let copy = chars[at..(at + random(20)).min(chars.len())].to_vec();
                    drop(chars.splice(at..at, copy));
                }
            }
        }
        let text: String = chars.into_iter().collect();
        match compile(&SourceSet::one("a.sxs", &text), "a.sxs") {
            Ok((module, _)) => {
                let positions = module.functions.iter().flat_map(|f| &f.positions);
                assert!(positions.clone().all(|p| p.end as usize <= text.len()), "{n}: {text}");
                forebay_bytecode::verify(module).unwrap_or_else(|e| panic!("{n}: {e:?}\n{text}"));
            }
            Err(errors) => {
                for error in errors {
                    assert_ne!(error.code, "FB0899", "{n}: {text}");
                    assert!(error.render().contains(error.code), "{n}");
                }
            }
        }
    }
}
