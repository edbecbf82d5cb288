//! Rows that are handed over undecoded: the engine's one pass over them gives what their values one by one give.
#![allow(clippy::unwrap_used, reason = "a test; helpers outside of #[test] functions unwrap too")]

use std::sync::Arc;

use forebay_base::limits::TaskLimits;
use forebay_base::rng::Rng;
use forebay_base::value::Field;
use forebay_base::value::packed::{self, Packed, PackedRows};
use forebay_base::{Monotonic, TenantId, Timestamp, ValueError, ValueSink};
use forebay_engine::{Blueprint, Entry, NoHost, RequestInput, Run, Vm, VmConfig};

struct Text;

impl forebay_compiler::Loader for Text {
    fn load(&self, _: &str) -> Option<Box<str>> {
        Some("return db().table('t').get()".into())
    }
}

/// Rows by number; the columns of kind `Other` are made of their first byte.
struct Rows<'b> {
    rows: &'b [Vec<u8>],
    text: String,
}

impl<'b> PackedRows<'b> for Rows<'b> {
    fn next_row(&mut self) -> Option<&'b [u8]> {
        let (first, rest) = self.rows.split_first()?;
        self.rows = rest;
        Some(first)
    }

    fn other(&mut self, column: usize, bytes: &'b [u8]) -> Result<(Field<'b>, &str), ValueError> {
        self.text = format!("x{column}12.50");
        let field = match bytes.first().copied().unwrap_or(0) % 8 {
            0 => Field::Null,
            1 => Field::Bool(true),
            2 => Field::Int(1 << 60),
            3 => Field::Float(-0.5),
            4 => Field::Text(bytes),
            5 => Field::Timestamp(1_500_001),
            6 => Field::Made(0, 2),
            _ => Field::Digits(
                u32::try_from(self.text.len()).unwrap() - 5,
                u32::try_from(self.text.len()).unwrap(),
            ),
        };
        Ok((field, &self.text))
    }
}

/// The JSON of what a script returns that gets these rows: pushed at once, or value by value.
fn body(
    columns: &[Box<str>],
    kinds: &[Packed],
    rows: &[Vec<u8>],
    at_once: bool,
) -> Result<String, ValueError> {
    let (module, _) = forebay_compiler::compile(&Text, "rows.js").unwrap();
    let blueprint: Arc<Blueprint> = Blueprint::load(&forebay_bytecode::verify(module).unwrap()).unwrap();
    let mut vm = Vm::new(VmConfig::default());
    let id = vm.adopt(&blueprint).unwrap();
    let (input, limits) = (RequestInput::empty(), TaskLimits::default());
    let task = vm.start(id, Entry::Main, &input, &limits, TenantId(0), Monotonic(0)).unwrap();
    assert_eq!(vm.run(task, Monotonic(1), Timestamp(0), 100_000, &mut NoHost), Run::Parked);
    let mut effects = Vec::new();
    vm.take_effects(task, &mut effects);
    let sink = vm.result_sink(task, effects[0].id).unwrap();
    sink.begin_list(Some(rows.len())).unwrap();
    let mut rows = Rows { rows, text: String::new() };
    if at_once {
        sink.packed(columns, kinds, &mut rows)?;
    } else {
        packed::push::<dyn ValueSink>(sink, columns, kinds, &mut rows)?;
    }
    sink.end_list().unwrap();
    vm.resume_with_result(task, effects[0].id).unwrap();
    assert_eq!(vm.run(task, Monotonic(1), Timestamp(0), 10_000_000, &mut NoHost), Run::Done);
    let mut body = Vec::new();
    vm.write_body(task, &mut body).unwrap();
    Ok(String::from_utf8(body).unwrap())
}

fn check(columns: &[&str], kinds: &[Packed], rows: &[Vec<u8>]) -> Result<String, ValueError> {
    let columns: Vec<Box<str>> = columns.iter().map(|name| (*name).into()).collect();
    let (one, all) = (body(&columns, kinds, rows, false), body(&columns, kinds, rows, true));
    assert_eq!(one, all, "{columns:?} {kinds:?}");
    all
}

fn row(values: &[Option<&[u8]>]) -> Vec<u8> {
    let mut row = Vec::new();
    for value in values {
        match value {
            None => row.extend((-1i32).to_be_bytes()),
            Some(bytes) => {
                row.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
                row.extend_from_slice(bytes);
            }
        }
    }
    row
}

#[test]
fn text_of_every_length_with_any_letter_anywhere() {
    let letters = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut rows = Vec::new();
    for length in 0..70 {
        let text: Vec<u8> = letters.iter().copied().cycle().take(length).collect();
        rows.push(row(&[Some(&text)]));
        for at in 0..length.saturating_sub(1) {
            let mut text = text.clone();
            text[at..at + 2].copy_from_slice("\u{e9}".as_bytes());
            rows.push(row(&[Some(&text)]));
        }
    }
    let body = check(&["t"], &[Packed::Text], &rows).unwrap();
    assert!(
        body.starts_with(r#"[{"t":""},{"t":"a"},{"t":"ab"},{"t":"é"},{"t":"abc"},{"t":"éc"},{"t":"aé"}"#),
        "{body:.90}"
    );
    for length in 1..40 {
        for at in 0..length {
            let mut text = vec![b'a'; length];
            text[at] = 0xff;
            let error = check(&["t"], &[Packed::Text], &[row(&[Some(&text)])]).unwrap_err();
            assert!(matches!(error, ValueError::Malformed { expected: "UTF-8 text", .. }), "{error:?}");
        }
    }
}

#[test]
fn numbers_at_their_ends_and_nulls() {
    use Packed::{Bool, Float8, Int2, Int4, Int8};
    let mut rows = Vec::new();
    let edges = [
        0,
        1,
        -1,
        1 << 31,
        -(1 << 31),
        (1 << 31) - 1,
        1 << 53,
        (1 << 53) + 1,
        -(1 << 53) - 1,
        i64::MIN,
        i64::MAX,
    ];
    for edge in edges {
        let (short, int) = (i16::try_from(edge).unwrap_or(i16::MIN), i32::try_from(edge).unwrap_or(i32::MAX));
        let float = f64::from_bits(edge.cast_unsigned());
        let float = if float.is_nan() { -0.0 } else { float };
        rows.push(row(&[
            Some(&short.to_be_bytes()),
            Some(&int.to_be_bytes()),
            Some(&edge.to_be_bytes()),
            Some(&float.to_be_bytes()),
            Some(&[u8::from(edge % 2 == 0)]),
        ]));
    }
    rows.push(row(&[None; 5]));
    // JSON has no BigInt.
    let mut kept = rows.clone();
    kept.retain(|row| {
        let wide = i64::from_be_bytes(row.get(18..26).and_then(|b| b.try_into().ok()).unwrap_or_default());
        wide.unsigned_abs() <= 1 << 53
    });
    check(&["a", "b", "c", "d", "e"], &[Int2, Int4, Int8, Float8, Bool], &kept).unwrap();
    let wrong: [(Packed, &[u8]); 6] =
        [(Int2, &[0; 3]), (Int4, &[0; 2]), (Int8, &[0; 9]), (Float8, &[]), (Bool, &[2]), (Bool, &[])];
    for (kind, bytes) in wrong {
        check(&["a"], &[kind], &[row(&[Some(bytes)])]).unwrap_err();
    }
}

#[test]
fn any_columns_any_kinds_and_rows_that_are_torn_anywhere() {
    let kinds =
        [Packed::Int2, Packed::Int4, Packed::Int8, Packed::Float8, Packed::Bool, Packed::Text, Packed::Other];
    let mut rng = Rng::new(5);
    let mut pick = |bound: usize| usize::try_from(rng.below(u64::try_from(bound).unwrap())).unwrap();
    for round in 0..60 {
        // Beyond 32 columns, with a name twice or one that is a number, a row has no shape.
        let count = [1, 2, 3, 7, 8, 9, 12, 32, 33, 40][pick(10)];
        let mut names: Vec<String> = (0..count).map(|n| format!("c{n}")).collect();
        match pick(4) {
            0 => names[count - 1] = names[0].clone(),
            1 => names[0] = "7".into(),
            _ => {}
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let kinds: Vec<Packed> = (0..count).map(|_| kinds[pick(kinds.len())]).collect();
        let rows: Vec<Vec<u8>> = (0..3)
            .map(|_| {
                let values: Vec<Option<Vec<u8>>> = kinds
                    .iter()
                    .map(|kind| {
                        let number = [0, 5, 250][pick(3)];
                        let value = match kind {
                            Packed::Int2 => vec![0, number],
                            Packed::Int4 => vec![number, 0, 0, 1],
                            Packed::Int8 => vec![0, 0, number / 20, 0, 0, 0, 0, 1],
                            Packed::Float8 => vec![64, number / 2, 0, 0, 0, 0, 0, 0],
                            Packed::Bool => vec![number % 2],
                            Packed::Text => vec![b'a'; usize::from(number)],
                            // 2 is a BigInt, which JSON refuses.
                            Packed::Other => vec![[0, 1, 3, 4, 5, 6, 7][pick(7)]],
                        };
                        (pick(6) > 0).then_some(value)
                    })
                    .collect();
                row(&values.iter().map(Option::as_deref).collect::<Vec<_>>())
            })
            .collect();
        check(&names, &kinds, &rows).unwrap_or_else(|error| panic!("round {round}: {error}"));
        let mut torn = rows.clone();
        let cut = pick(torn[1].len());
        torn[1].truncate(cut);
        check(&names, &kinds, &torn).unwrap_err();
        torn[1].clone_from(&rows[1]);
        torn[1].push(0);
        check(&names, &kinds, &torn).unwrap_err();
    }
}
