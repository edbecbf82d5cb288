//! Refuses sources that would overflow a stack.
//!
//! The parser, its semantic pass and our lowering recurse over the source's
//! nesting. Two guards bound that: [`check`] reads the text before it is parsed and
//! bounds what makes the *parser* recurse (brackets, prefix operators, chains to
//! the right, nested statements without braces); [`depth`] walks the parsed tree and
//! bounds what makes the *passes behind it* recurse (chains to the left, too: the
//! parser reads `a + a + a` in a loop). With both bounds, the stack of
//! [`STACK_BYTES`] suffices; a test holds them to that.

use oxc_ast::ast::{AssignmentTarget, BindingPattern, Expression, Program, Statement, TSType, TSTypeName};
use oxc_ast_visit::{Visit, walk};
use oxc_span::{GetSpan, Span};

/// Open brackets around a place.
pub(crate) const BRACKETS_MAX: usize = 500;
/// Tokens that can nest without brackets, since the last `;` around a place.
pub(crate) const CHAIN_MAX: usize = 10_000;
/// Depth of the parsed tree.
pub(crate) const DEPTH_MAX: usize = 2_000;
/// Stack of the thread that compiles: mapped, but only touched as deep as the
/// source nests.
pub(crate) const STACK_BYTES: usize = 512 << 20;

/// The place where a text nests too deeply for the parser.
///
/// Reads strings, templates and comments as the language does. Whether `/` begins
/// a regular expression is guessed from what stands before it.
pub(crate) fn check(text: &str) -> Result<(), Span> {
    let bytes = text.as_bytes();
    // Open brackets (`$` is `${`), each with the tokens counted directly inside.
    let mut open: Vec<(u8, usize)> = vec![(0, 0)];
    let mut chain = 0;
    let mut before = Before::Operator;
    let mut i = 0;
    while i < bytes.len() {
        let start = i;
        let c = bytes[i];
        i += 1;
        let mut counts = false;
        let mut now = Before::Operator;
        match c {
            b' ' | b'\t' | b'\r' | b'\n' => continue,
            b'/' if bytes.get(i) == Some(&b'/') => {
                i = find(bytes, i, b"\n");
                continue;
            }
            b'/' if bytes.get(i) == Some(&b'*') => {
                i = find(bytes, i + 1, b"*/");
                continue;
            }
            b'/' => {
                if before == Before::Operator
                    && let Some(end) = regex_end(bytes, i)
                {
                    i = end;
                    now = Before::Value;
                }
            }
            b'\'' | b'"' => {
                i = string_end(bytes, i, c);
                now = Before::Value;
            }
            b'`' => (i, now) = template(bytes, i, &mut open),
            b'(' | b'[' | b'{' => open.push((c, 0)),
            b')' | b']' | b'}' => {
                now = Before::Value;
                if open.len() > 1 {
                    let (bracket, count) = open.pop().unwrap_or_default();
                    chain -= count;
                    if bracket == b'$' {
                        (i, now) = template(bytes, i, &mut open);
                    }
                }
            }
            b';' | b',' => {
                if let Some((_, count)) = open.last_mut() {
                    chain -= std::mem::take(count);
                }
            }
            b'!' | b'~' | b'+' | b'-' | b'?' | b'=' | b'*' | b':' | b'<' | b'@' => counts = true,
            _ if is_word(c) => {
                i += bytes[i..].iter().take_while(|b| is_word(**b)).count();
                if KEYWORDS.contains(&&text[start..i]) {
                    counts = true;
                } else {
                    now = Before::Value;
                }
            }
            _ => {}
        }
        before = now;
        if counts && let Some((_, count)) = open.last_mut() {
            *count += 1;
            chain += 1;
        }
        if open.len() > BRACKETS_MAX || chain > CHAIN_MAX {
            let at = u32::try_from(start).unwrap_or(u32::MAX);
            return Err(Span::new(at, at.saturating_add(1)));
        }
    }
    Ok(())
}

/// What stands before a `/`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Operator,
    Value,
}

/// Words behind which an expression or statement nests.
const KEYWORDS: &[&str] = &[
    "typeof",
    "void",
    "delete",
    "await",
    "new",
    "if",
    "else",
    "while",
    "for",
    "do",
    "with",
    "yield",
    "async",
    "return",
    "throw",
    "case",
    "in",
    "of",
    "instanceof",
    "keyof",
    "readonly",
    "unique",
    "infer",
    "extends",
];

fn is_word(c: u8) -> bool {
    c.is_ascii_alphanumeric() || c == b'_' || c == b'$' || c == b'#' || c >= 0x80
}

/// The position behind the next `needle`.
fn find(bytes: &[u8], from: usize, needle: &[u8]) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    rest.windows(needle.len()).position(|w| w == needle).map_or(bytes.len(), |p| from + p + needle.len())
}

/// The position behind a string; an unterminated one ends with its line.
fn string_end(bytes: &[u8], mut i: usize, quote: u8) -> usize {
    while let Some(&c) = bytes.get(i) {
        match c {
            b'\\' => i += 1,
            b'\n' => return i,
            _ if c == quote => return i + 1,
            _ => {}
        }
        i += 1;
    }
    bytes.len()
}

/// The position behind the text of a template, up to its end or its next `${`.
fn template(bytes: &[u8], mut i: usize, open: &mut Vec<(u8, usize)>) -> (usize, Before) {
    while let Some(&c) = bytes.get(i) {
        match c {
            b'\\' => i += 1,
            b'`' => return (i + 1, Before::Value),
            b'$' if bytes.get(i + 1) == Some(&b'{') => {
                open.push((b'$', 0));
                return (i + 2, Before::Operator);
            }
            _ => {}
        }
        i += 1;
    }
    (bytes.len(), Before::Value)
}

/// The position behind a regular expression, if one ends on this line.
fn regex_end(bytes: &[u8], mut i: usize) -> Option<usize> {
    let mut in_class = false;
    loop {
        match *bytes.get(i)? {
            b'\n' => return None,
            b'\\' => i += 1,
            b'[' => in_class = true,
            b']' => in_class = false,
            b'/' if !in_class => return Some(i + 1),
            _ => {}
        }
        i += 1;
    }
}

/// The place where a parsed tree is deeper than [`DEPTH_MAX`].
pub(crate) fn depth<'a>(program: &Program<'a>) -> Result<(), Span> {
    let mut walker = Depth { depth: 0, too_deep: None };
    walker.visit_program(program);
    walker.too_deep.map_or(Ok(()), Err)
}

/// Every cycle of the tree's types goes through one of the nodes below.
struct Depth {
    depth: usize,
    too_deep: Option<Span>,
}

impl Depth {
    fn within(&mut self, span: Span, walk: impl FnOnce(&mut Self)) {
        if self.depth >= DEPTH_MAX {
            self.too_deep.get_or_insert(span);
        }
        if self.too_deep.is_none() {
            self.depth += 1;
            walk(self);
            self.depth -= 1;
        }
    }
}

impl<'a> Visit<'a> for Depth {
    fn visit_expression(&mut self, it: &Expression<'a>) {
        self.within(it.span(), |this| walk::walk_expression(this, it));
    }
    fn visit_statement(&mut self, it: &Statement<'a>) {
        self.within(it.span(), |this| walk::walk_statement(this, it));
    }
    fn visit_binding_pattern(&mut self, it: &BindingPattern<'a>) {
        self.within(it.span(), |this| walk::walk_binding_pattern(this, it));
    }
    fn visit_assignment_target(&mut self, it: &AssignmentTarget<'a>) {
        self.within(it.span(), |this| walk::walk_assignment_target(this, it));
    }
    fn visit_ts_type(&mut self, it: &TSType<'a>) {
        self.within(it.span(), |this| walk::walk_ts_type(this, it));
    }
    fn visit_ts_type_name(&mut self, it: &TSTypeName<'a>) {
        self.within(it.span(), |this| walk::walk_ts_type_name(this, it));
    }
}
