//! What the code looks like: locals in registers, no needless moves, checks and
//! cells only where they are needed.

use forebay_bytecode::disassemble;
use forebay_compiler::{SourceSet, compile};

/// The instructions of all functions, one per line, against the expected ones.
fn check(source: &str, expected: &str) {
    let (module, _) = compile(&SourceSet::one("x.js", source), "x.js").unwrap_or_else(|e| panic!("{}", e[0]));
    let actual: Vec<String> = disassemble(&module)
        .lines()
        .skip_while(|line| !line.starts_with("function"))
        .filter(|line| !line.starts_with("  local") && !line.is_empty())
        .map(|line| {
            let line = line.split("  ; ").next().unwrap_or("");
            let words: Vec<&str> = line.split_whitespace().collect();
            let is_instruction =
                words.first().is_some_and(|w| w.len() == 4 && w.bytes().all(|b| b.is_ascii_digit()));
            words[usize::from(is_instruction)..].join(" ")
        })
        .collect();
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    assert_eq!(actual, expected, "{source}\n{}", disassemble(&module));
}

#[test]
fn arithmetic_on_locals_needs_no_moves() {
    check(
        "let a = 1; let b = a + 2; a = b * a - 1; return a;",
        "function 0 <anonymous> parameters 0 registers 5 script
         LoadInt r1, 1
         LoadInt r3, 2
         Add r2, r1, r3
         Mul r3, r2, r1
         LoadInt r4, 1
         Sub r1, r3, r4
         Return r1
         LoadUndefined r3
         Return r3",
    );
}

#[test]
fn a_loop_over_a_local() {
    check(
        "let s = 0; for (let i = 0; i < 3; i++) s += i; return s;",
        "function 0 <anonymous> parameters 0 registers 4 script
         LoadInt r1, 0
         LoadInt r2, 0
         L2:
         LoadInt r3, 3
         Lt r3, r2, r3
         JumpIfFalse r3, L8
         Add r1, r1, r2
         Inc r2, r2
         Loop L2
         L8:
         Return r1
         LoadUndefined r2
         Return r2",
    );
}

#[test]
fn constants_are_captured_by_value_and_variables_by_cell() {
    check(
        "const k = 1; let n = 0; const f = () => { n += k; };",
        "function 0 f parameters 0 registers 4 arrow
         captures r2, r1
         GetUpCell r2, up0
         GetUpvalue r3, up1
         Add r1, r2, r3
         SetUpCell r1, up0
         LoadUndefined r1
         Return r1
         function 1 <anonymous> parameters 0 registers 5 script
         LoadInt r1, 1
         LoadInt r2, 0
         NewCell r2, r2
         Closure r3, function 0 f
         LoadUndefined r4
         Return r4",
    );
}

#[test]
fn recursion_needs_neither_cell_nor_capture() {
    check(
        "function f(n) { return f(n - 1); }",
        "function 0 f parameters 1 registers 7
         LoadCallee r2
         Move r3, r2
         LoadUndefined r4
         LoadInt r6, 1
         Sub r5, r1, r6
         Call r3, r3(r5)
         Return r3
         LoadUndefined r3
         Return r3
         function 1 <anonymous> parameters 0 registers 3 script
         Closure r1, function 0 f
         LoadUndefined r2
         Return r2",
    );
}

#[test]
fn a_literal_in_the_return_is_marked() {
    check(
        "return payload().ok ? { status: 201 } : null;",
        "function 0 <anonymous> parameters 0 registers 3 script
         HostCall r1, [], payload
         GetField r1, r1, .ok
         JumpIfFalse r1, L6
         NewObject r1, 1
         LoadInt r2, 201
         DefField r1, r2, .status
         Return r1, literal
         L7:
         LoadNull r1
         Return r1
         LoadUndefined r1
         Return r1"
            .replace("L6", "L7")
            .as_str(),
    );
}

#[test]
fn a_verb_executes_at_the_end_of_its_chain() {
    check(
        "db().table('t').insert({}).returning('id');",
        "function 0 <anonymous> parameters 0 registers 9 script
         HostCall r6, [], db
         GetMethod r5:r6, r6, .table
         LoadConst r7, \"t\"
         Call r4, r5(r7)
         GetMethod r3:r4, r4, .insert
         NewObject r5, 0
         Call r2, r3(r5)
         GetMethod r1:r2, r2, .returning
         LoadConst r3, \"id\"
         Call r1, r1(r3)
         QueryEnd r1, r1
         LoadUndefined r1
         Return r1"
            .replace("registers 9", "registers 8")
            .as_str(),
    );
}

#[test]
fn checks_stand_only_where_a_variable_may_be_uninitialised() {
    check(
        "let a = 1; { a; b; let b = a; b; }",
        "function 0 <anonymous> parameters 0 registers 4 script
         LoadInt r1, 1
         LoadEmpty r2
         CheckInit r2, \"b\"
         Move r2, r1
         LoadUndefined r2
         Return r2"
            .replace("registers 4", "registers 3")
            .as_str(),
    );
}

#[test]
fn a_module_prepares_once_and_stores_its_handlers() {
    check(
        "const rate = 2; work('A').get('/a', req => req.n * rate);",
        "function 0 <anonymous> parameters 1 registers 4 arrow
         GetField r2, r1, .n
         GetModule r3, variable 0 \"rate\"
         Mul r2, r2, r3
         Return r2
         function 1 <anonymous> parameters 0 registers 2 init
         LoadInt r1, 2
         SetModule r1, variable 0 \"rate\"
         Closure r1, function 0 <anonymous>
         SetHandler r1, handler 0
         LoadUndefined r1
         Return r1",
    );
}

#[test]
fn arguments_arrive_behind_the_parameters() {
    check(
        "const f = function (a, ...b) { return () => arguments; };",
        "function 0 <anonymous> parameters 0 registers 2 arrow
         captures r3
         GetUpvalue r1, up0
         Return r1
         function 1 f parameters 1 rest r2 registers 5 arguments
         Closure r4, function 0 <anonymous>
         Return r4
         LoadUndefined r4
         Return r4
         function 2 <anonymous> parameters 0 registers 3 script
         Closure r1, function 1 f
         LoadUndefined r2
         Return r2",
    );
}

#[test]
fn a_generator_branches_to_its_return() {
    check(
        "const f = function* (a) { const b = yield a; };",
        "function 0 f parameters 1 registers 7 generator
         StartGenerator
         Yield r4:r5, r1
         JumpIfFalse r5, L5
         EndGenerator r6, r4
         Return r6
         L5:
         Move r3, r4
         LoadUndefined r4
         EndGenerator r5, r4
         Return r5
         function 1 <anonymous> parameters 0 registers 3 script
         Closure r1, function 0 f
         LoadUndefined r2
         Return r2",
    );
}

#[test]
fn a_tagged_template_passes_its_own_object() {
    check(
        "const o = { f() {} }; return o.f`a${1}b`;",
        "function 0 f parameters 0 registers 2 method
         LoadUndefined r1
         Return r1
         function 1 <anonymous> parameters 0 registers 6 script
         NewObject r1, 1
         Closure r2, function 0 f
         DefField r1, r2, .f
         GetMethod r2:r3, r1, .f
         LoadConst r4, template \"a\", \"b\"
         LoadInt r5, 1
         Call r2, r2(r4..r5)
         Return r2
         LoadUndefined r2
         Return r2",
    );
}

#[test]
fn a_class_is_a_closure_and_its_fields_are_the_constructors() {
    check(
        "class A { x = 1; get() { return this.x; } } return new A();",
        "function 0 A parameters 0 registers 3 class
         CreateThis r0, r1
         LoadInt r2, 1
         DefField r0, r2, .x
         Return r0
         function 1 get parameters 0 registers 2 method
         GetField r1, r0, .x
         Return r1
         LoadUndefined r1
         Return r1
         function 2 <anonymous> parameters 0 registers 5 script
         NewObject r2, 3
         Closure r1, function 0 A
         DefClass r1, r2, r0
         LoadConst r3, \"get\"
         Closure r4, function 1 get
         DefElem r2, r3, r4, hidden
         Move r2, r1
         New r2, r2()
         Return r2
         LoadUndefined r2
         Return r2",
    );
}

/// The blueprints of examples/ as bytecode, in vm/compiler/tests/examples/. A change shows in review what it does to
/// code that people write; `FOREBAY_GOLDEN=write cargo test -p forebay-compiler --test golden` accepts it.
#[test]
fn the_examples_compile_to_the_code_that_is_on_record() {
    use std::{env, fs, path::Path};
    struct App(std::path::PathBuf);
    impl forebay_compiler::Loader for App {
        fn load(&self, path: &str) -> Option<Box<str>> {
            fs::read_to_string(self.0.join(path)).ok().map(Into::into)
        }
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let app = App(here.join("../../examples/shop"));
    let mut names: Vec<String> = fs::read_dir(app.0.join("blueprints"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".js") && !name.ends_with(".test.js"))
        .collect();
    names.sort();
    assert!(names.len() >= 5, "{names:?}");
    let mut changed = Vec::new();
    for name in names {
        let (module, _) = compile(&app, &format!("blueprints/{name}")).unwrap_or_else(|e| panic!("{}", e[0]));
        let actual = disassemble(&module);
        let record = here.join("tests/examples").join(name.replace(".js", ".txt"));
        if env::var_os("FOREBAY_GOLDEN").is_some_and(|value| value == "write") {
            fs::write(&record, &actual).unwrap();
        }
        let expected = fs::read_to_string(&record).unwrap_or_default();
        if let Some((line, (was, is))) =
            expected.lines().zip(actual.lines()).enumerate().find(|(_, (was, is))| was != is)
        {
            changed.push(format!("{name}, line {}:\n- {was}\n+ {is}", line + 1));
        } else if expected != actual {
            changed.push(format!(
                "{name}: {} lines were {}",
                actual.lines().count(),
                expected.lines().count()
            ));
        }
    }
    assert!(changed.is_empty(), "{}\nFOREBAY_GOLDEN=write accepts it", changed.join("\n"));
}
