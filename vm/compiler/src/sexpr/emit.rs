//! Forms to the statements that a person would write for them in the other front end, piece by piece with
//! the form that each piece stands for.

use std::fmt::Write as _;

use super::parse::{Form, Kind, Refusal};
use super::{Map, Region};
use crate::diagnostic::{Place, did_you_mean};

/// Largest integer that is a Number; larger ones are BigInts.
const SAFE_MAX: u64 = (1 << 53) - 1;

/// What may stand at the head of a list: name, least and most arguments, how it is written in code. `%0` is the first argument,
/// `%*` all of them behind those that the pattern names, `%,` a comma and those if there are any.
const CALLS: &[(&str, usize, usize, &str)] = &[
    ("core/kv/set", 2, 3, "kv.set(%0, %1%,)"),
    ("core/kv/get", 1, 1, "(kv.get(%0) ?? null)"),
    ("core/kv/load", 1, 1, "load(%0)"),
    ("core/kv/del", 1, 1, "kv.del(%0)"),
    ("core/kv/exists", 1, 1, "kv.exists(%0)"),
    ("core/kv/snx", 2, 3, "kv.snx(%0, %1%,)"),
    ("core/kv/cas", 3, 3, "kv.cas(%0, %1, %2)"),
    ("core/kv/incr", 1, 2, "kv.incr(%0%,)"),
    ("core/util/log", 1, 32, "log(%*)"),
    ("payload", 0, 0, "payload()"),
    ("param", 1, 1, "(req.params[%0] ?? null)"),
    ("query", 1, 1, "(req.query[%0] ?? null)"),
    ("header", 1, 1, "(req.headers[%0] ?? null)"),
    ("response", 2, 2, "response(%1, { status: %0 })"),
    ("now", 0, 0, "now()"),
    ("uuid", 0, 0, "uuid()"),
    ("list", 0, 1000, "[%*]"),
    ("append", 2, 2, "[...%0, %1]"),
    ("merge", 2, 2, "({ ...%0, ...%1 })"),
    ("len", 1, 1, "(%0).len()"),
    ("=", 2, 2, "(%0 === %1)"),
    ("!=", 2, 2, "(%0 !== %1)"),
    ("<", 2, 2, "(%0 < %1)"),
    ("<=", 2, 2, "(%0 <= %1)"),
    (">", 2, 2, "(%0 > %1)"),
    (">=", 2, 2, "(%0 >= %1)"),
    ("%", 2, 2, "(%0 % %1)"),
    ("not", 1, 1, "(!%0)"),
];

/// Operators of two and more arguments, from the left.
const FOLDS: &[(&str, &str)] =
    &[("+", " + "), ("-", " - "), ("*", " * "), ("/", " / "), ("and", " && "), ("or", " || ")];

/// Forms with a shape of their own.
const SPECIAL: &[&str] = &[
    "work",
    "let",
    "set",
    "if",
    "do",
    "each",
    "while",
    "at",
    "map",
    "str",
    "core/kv/iterate",
    "core/expr/eval",
];

/// Forms of the design that need events.
const EVENTS: &[&str] = &["core/event/pub", "core/event/sub", "core/expr/await"];

/// What is done with a statement's value.
#[derive(Clone, Copy, PartialEq)]
enum Use {
    Return,
    Drop,
}

pub(super) struct Emitter {
    pub(super) text: String,
    pub(super) map: Map,
    current: Option<u32>,
    uses_load: bool,
}

type Done = Result<(), Refusal>;

/// The code of a file's forms.
pub(super) fn emit(forms: &[Form]) -> Result<(String, Map), Refusal> {
    let mut emitter = Emitter { text: String::new(), map: Map::default(), current: None, uses_load: false };
    let first_is_work = forms.first().is_some_and(|form| head(form) == Some("work"));
    if first_is_work && let Some(form) = forms.first() {
        emitter.within(form.place, |e| e.work(form))?;
    }
    emitter.sequence(&forms[usize::from(first_is_work)..], Use::Return)?;
    if emitter.uses_load {
        emitter.text.push_str(
            "\nfunction load(key) { const value = kv.get(key); if (value === undefined) \
             throw new RangeError(`core/kv/load: there is no key \"${key}\"`); return value; }\n",
        );
    }
    Ok((emitter.text, emitter.map))
}

/// The word that a list begins with.
fn head(form: &Form) -> Option<&str> {
    match &form.kind {
        Kind::List(items) => match items.first().map(|form| &form.kind) {
            Some(Kind::Word(word)) => Some(word),
            _ => None,
        },
        _ => None,
    }
}

fn wrong(place: Place, message: impl Into<String>) -> Refusal {
    Refusal::new("FB0903", place, message)
}

impl Emitter {
    fn put(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// What `write` writes stands for this place.
    fn within(&mut self, place: Place, write: impl FnOnce(&mut Self) -> Done) -> Done {
        let index = u32::try_from(self.map.regions.len()).unwrap_or(u32::MAX);
        let start = self.offset();
        self.map.regions.push(Region { start, end: start, place, outer: self.current });
        let outer = self.current.replace(index);
        write(self)?;
        self.current = outer;
        let end = self.offset();
        if let Some(region) = self.map.regions.get_mut(index as usize) {
            region.end = end;
        }
        Ok(())
    }

    fn offset(&self) -> u32 {
        u32::try_from(self.text.len()).unwrap_or(u32::MAX)
    }

    /// Forms one after the other; the value is the last one's.
    fn sequence(&mut self, forms: &[Form], used: Use) -> Done {
        if forms.is_empty() && used == Use::Return {
            self.put("return null;\n");
        }
        for (index, form) in forms.iter().enumerate() {
            let used = if index + 1 == forms.len() { used } else { Use::Drop };
            self.within(form.place, |e| e.statement(form, used))?;
        }
        Ok(())
    }

    fn statement(&mut self, form: &Form, used: Use) -> Done {
        let returns = |e: &mut Self| {
            if used == Use::Return {
                e.put("return null;\n")
            }
        };
        let args = match &form.kind {
            Kind::List(items) => items.get(1..).unwrap_or_default(),
            Kind::Block(forms) => {
                self.put("{\n");
                self.sequence(forms, used)?;
                self.put("}\n");
                return Ok(());
            }
            _ => &[],
        };
        match head(form) {
            Some(word @ ("let" | "set")) => {
                let [name, value] = args else {
                    return Err(wrong(form.place, format!("`{word}` takes a variable and a value")));
                };
                let Kind::Variable(_) = name.kind else {
                    let refusal = wrong(name.place, format!("`{word}` takes a variable first"));
                    return Err(refusal.hint(format!("({word} $name value)")));
                };
                self.put(if word == "let" { "let " } else { "" });
                self.expression(name)?;
                self.put(" = ");
                self.expression(value)?;
                self.put(";\n");
                returns(self);
            }
            Some("if") => {
                let (condition, yes, no) = if_parts(form, args)?;
                self.put("if (");
                self.expression(condition)?;
                self.put(") {\n");
                self.sequence(std::slice::from_ref(yes), used)?;
                self.put("}\n");
                if let Some(no) = no {
                    self.put("else {\n");
                    self.sequence(std::slice::from_ref(no), used)?;
                    self.put("}\n");
                } else {
                    returns(self);
                }
            }
            Some("do") => {
                self.put("{\n");
                self.sequence(args, used)?;
                self.put("}\n");
            }
            Some("while") => {
                let [condition, body] = args else {
                    return Err(wrong(form.place, "`while` takes a condition and a block"));
                };
                self.put("while (");
                self.expression(condition)?;
                self.put(") {\n");
                self.sequence(std::slice::from_ref(body), Use::Drop)?;
                self.put("}\n");
                returns(self);
            }
            Some("each") => {
                let [name @ Form { kind: Kind::Variable(_), .. }, list, body] = args else {
                    let refusal = wrong(form.place, "`each` takes a variable, a list and a block");
                    return Err(refusal.hint("(each $item $list { ... })"));
                };
                self.put("for (const ");
                self.expression(name)?;
                self.put(" of ");
                self.expression(list)?;
                self.put(") {\n");
                self.sequence(std::slice::from_ref(body), Use::Drop)?;
                self.put("}\n");
                returns(self);
            }
            Some("work") => {
                let message = "`work` is the first form of a file, and there is one";
                return Err(wrong(form.place, message));
            }
            _ => {
                self.put(if used == Use::Return { "return " } else { "" });
                self.expression(form)?;
                self.put(";\n");
            }
        }
        Ok(())
    }

    fn expression(&mut self, form: &Form) -> Done {
        self.within(form.place, |e| match &form.kind {
            Kind::Null => {
                e.put("null");
                Ok(())
            }
            Kind::Bool(value) => {
                e.put(if *value { "true" } else { "false" });
                Ok(())
            }
            Kind::Int(value) => {
                let suffix = if value.unsigned_abs() > SAFE_MAX { "n" } else { "" };
                let _ = write!(e.text, "({value}{suffix})");
                Ok(())
            }
            Kind::Float(value) => {
                let _ = write!(e.text, "({value:?})");
                Ok(())
            }
            Kind::Text(text) => {
                e.string(text);
                Ok(())
            }
            Kind::Variable(name) => {
                e.put("$");
                e.put(name);
                Ok(())
            }
            Kind::Word(word) => {
                let refusal =
                    Refusal::new("FB0904", form.place, format!("the bare word `{word}` is no value"));
                Err(refusal.hint(format!("a text is \"{word}\", a variable ${word}")))
            }
            Kind::Block(_) => e.inner(form),
            Kind::List(items) => e.call(form, items),
        })
    }

    /// Statements where a value is wanted.
    fn inner(&mut self, form: &Form) -> Done {
        self.put("(() => {\n");
        self.statement(form, Use::Return)?;
        self.put("})()");
        Ok(())
    }

    fn call(&mut self, form: &Form, items: &[Form]) -> Done {
        let Some((first, args)) = items.split_first() else {
            return Err(
                wrong(form.place, "the empty list `()` calls nothing").hint("an empty list is (list)")
            );
        };
        let Kind::Word(word) = &first.kind else {
            return Err(
                wrong(first.place, "a list begins with what it calls").hint("a list of values is (list ...)")
            );
        };
        if let Some(&(_, least, most, pattern)) = CALLS.iter().find(|(name, ..)| name == word) {
            if args.len() < least || args.len() > most {
                let count = if least == most { least.to_string() } else { format!("{least} to {most}") };
                let plural = if count == "1" { "" } else { "s" };
                return Err(wrong(
                    form.place,
                    format!("`{word}` takes {count} argument{plural}, not {}", args.len()),
                ));
            }
            self.uses_load |= word == "core/kv/load";
            return self.pattern(pattern, args);
        }
        if let Some((_, operator)) = FOLDS.iter().find(|(name, _)| name == word) {
            if args.len() < 2 {
                return Err(wrong(form.place, format!("`{word}` takes two arguments or more")));
            }
            // One bracket for all: the tree is as deep as there are arguments, which the other front end bounds.
            self.put("(");
            self.joined(args, operator)?;
            self.put(")");
            return Ok(());
        }
        match word.as_str() {
            "let" | "set" | "each" | "while" | "do" | "work" => self.inner(form),
            "if" => {
                let (condition, yes, no) = if_parts(form, args)?;
                self.put("(");
                self.expression(condition)?;
                self.put(" ? ");
                self.expression(yes)?;
                self.put(" : ");
                match no {
                    Some(no) => self.expression(no)?,
                    None => self.put("null"),
                }
                self.put(")");
                Ok(())
            }
            "core/expr/eval" => match args {
                [value] => self.expression(value),
                _ => Err(wrong(form.place, "`core/expr/eval` takes 1 argument")),
            },
            "at" => {
                let Some((value, keys @ [_, ..])) = args.split_first() else {
                    return Err(wrong(form.place, "`at` takes a map or list, and a key or more"));
                };
                self.put("(");
                self.expression(value)?;
                for key in keys {
                    self.put("?.[");
                    self.expression(key)?;
                    self.put("]");
                }
                self.put(" ?? null)");
                Ok(())
            }
            "map" => self.map_literal(form, args),
            "str" => {
                self.put("(\"\"");
                for arg in args {
                    self.put(" + String(");
                    self.expression(arg)?;
                    self.put(")");
                }
                self.put(")");
                Ok(())
            }
            "core/kv/iterate" => {
                let [prefix, offset, limit, body @ Form { kind: Kind::Block(_), .. }] = args else {
                    let refusal =
                        wrong(form.place, "`core/kv/iterate` takes a prefix, an offset, a limit and a block");
                    return Err(
                        refusal.hint("(core/kv/iterate \"user:\" 0 10 { (core/util/log $key $value) })")
                    );
                };
                self.put("kv.iterate(");
                self.joined(&[prefix.clone(), offset.clone(), limit.clone()], ", ")?;
                self.put(", ($key, $value) => ");
                self.within(body.place, |e| e.statement(body, Use::Drop))?;
                self.put(")");
                Ok(())
            }
            word if EVENTS.contains(&word) => {
                let refusal =
                    Refusal::new("FB0905", first.place, format!("`{word}`: events are not built yet"));
                Err(refusal.hint("pass data on in kv"))
            }
            word => {
                let names = CALLS.iter().map(|call| call.0).chain(FOLDS.iter().map(|fold| fold.0));
                let names: Vec<&str> = names.chain(SPECIAL.iter().copied()).collect();
                let refusal = Refusal::new("FB0902", first.place, format!("there is no form `{word}`"));
                let short = names.iter().find(|name| name.rsplit('/').next() == Some(word));
                let hint = did_you_mean(word, names.iter().copied())
                    .or_else(|| short.map(|name| format!("did you mean `{name}`?")));
                Err(refusal.hint(hint.unwrap_or_else(|| "docs/SEXPR.md lists all forms".into())))
            }
        }
    }

    fn pattern(&mut self, pattern: &str, args: &[Form]) -> Done {
        let mut named = 0;
        let mut chars = pattern.chars().peekable();
        while let Some(c) = chars.next() {
            match (c, chars.peek().copied()) {
                ('%', Some(digit @ '0'..='9')) => {
                    chars.next();
                    let index = digit as usize - '0' as usize;
                    named = named.max(index + 1);
                    if let Some(arg) = args.get(index) {
                        self.expression(arg)?;
                    }
                }
                ('%', Some(kind @ ('*' | ','))) => {
                    chars.next();
                    let rest = args.get(named..).unwrap_or_default();
                    if kind == ',' && !rest.is_empty() {
                        self.put(", ");
                    }
                    self.joined(rest, ", ")?;
                }
                (c, _) => self.text.push(c),
            }
        }
        Ok(())
    }

    fn joined(&mut self, forms: &[Form], between: &str) -> Done {
        for (index, form) in forms.iter().enumerate() {
            self.put(if index == 0 { "" } else { between });
            self.expression(form)?;
        }
        Ok(())
    }

    fn map_literal(&mut self, form: &Form, args: &[Form]) -> Done {
        if !args.len().is_multiple_of(2) {
            return Err(wrong(form.place, "`map` takes keys and values: the last key has no value"));
        }
        self.put("({ ");
        for pair in args.chunks_exact(2) {
            let [key, value] = pair else { continue };
            match &key.kind {
                // A name like any other here, the prototype there.
                Kind::Text(text) if text != "__proto__" => self.string(text),
                _ => {
                    self.put("[");
                    self.expression(key)?;
                    self.put("]");
                }
            }
            self.put(": ");
            self.expression(value)?;
            self.put(", ");
        }
        self.put("})");
        Ok(())
    }

    /// `(work "name" (get "/path") ...)`: a chain of calls.
    fn work(&mut self, form: &Form) -> Done {
        let Kind::List(items) = &form.kind else { return Ok(()) };
        let [_, name @ Form { kind: Kind::Text(_), .. }, steps @ ..] = items.as_slice() else {
            let refusal = wrong(form.place, "`work` takes a name first");
            return Err(refusal.hint("(work \"users\" (get \"/users/{id}\"))"));
        };
        self.put("work(");
        self.expression(name)?;
        self.put(")");
        for step in steps {
            let Kind::List(items) = &step.kind else {
                return Err(wrong(step.place, "behind its name, `work` takes lists").hint("(get \"/path\")"));
            };
            let Some((Form { kind: Kind::Word(method), place }, args)) = items.split_first() else {
                return Err(wrong(step.place, "a step of `work` begins with a word").hint("(get \"/path\")"));
            };
            if !method.bytes().all(|c| c.is_ascii_alphanumeric()) {
                return Err(Refusal::new("FB0902", *place, format!("`work` has no step `{method}`")));
            }
            self.put(".");
            self.within(*place, |e| {
                e.put(method);
                Ok(())
            })?;
            self.put("(");
            self.joined(args, ", ")?;
            self.put(")");
        }
        self.put(";\n");
        Ok(())
    }

    fn string(&mut self, text: &str) {
        self.put("\"");
        for c in text.chars() {
            match c {
                '"' | '\\' => {
                    self.text.push('\\');
                    self.text.push(c);
                }
                c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                    let _ = write!(self.text, "\\u{{{:x}}}", u32::from(c));
                }
                c => self.text.push(c),
            }
        }
        self.put("\"");
    }
}

fn if_parts<'f>(form: &Form, args: &'f [Form]) -> Result<(&'f Form, &'f Form, Option<&'f Form>), Refusal> {
    match args {
        [condition, yes] => Ok((condition, yes, None)),
        [condition, yes, no] => Ok((condition, yes, Some(no))),
        _ => Err(wrong(form.place, "`if` takes a condition, what is done, and what is done else")
            .hint("(if (> $n 1) \"many\" \"one\")")),
    }
}
