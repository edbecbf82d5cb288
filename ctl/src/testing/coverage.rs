//! Which lines of the blueprints ran: statements tell it (`HostFn::Cover`), the bytecode's source positions say which
//! statements there are.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use forebay_bytecode::{HostFn, Module, Op};
use serde_json::{Value, json};

use super::{ByLine, line_of};

/// The lines of an app's files.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// By path in the app.
    pub files: BTreeMap<String, FileCoverage>,
}

/// The lines of one file.
#[derive(Clone, Debug, Default)]
pub struct FileCoverage {
    /// Lines (from 1) with code that can run, each with how often it did.
    pub lines: BTreeMap<u32, u64>,
    text: Box<str>,
}

impl FileCoverage {
    /// Lines that ran.
    #[must_use]
    pub fn hit(&self) -> usize {
        self.lines.values().filter(|count| **count > 0).count()
    }

    /// Lines that didn't, joined: `3, 7-9`. Lines between two of them without code don't part them.
    #[must_use]
    pub fn missed(&self) -> String {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        let mut joined = false;
        for (line, count) in &self.lines {
            if *count > 0 {
                joined = false;
                continue;
            }
            match ranges.last_mut().filter(|_| joined) {
                Some(range) => range.1 = *line,
                None => ranges.push((*line, *line)),
            }
            joined = true;
        }
        let shown = ranges.iter().map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") });
        shown.collect::<Vec<_>>().join(", ")
    }
}

impl Coverage {
    /// All lines with statements of these modules; none has run.
    pub fn of<'m>(modules: impl Iterator<Item = &'m Module>) -> Self {
        let mut all = Self::default();
        for module in modules {
            for function in &module.functions {
                for (pc, instruction) in function.code.iter().enumerate() {
                    let is_mark = instruction.op() == Some(Op::HostCall)
                        && HostFn::from_u16(instruction.c()) == Some(HostFn::Cover);
                    if !is_mark {
                        continue;
                    }
                    let next = function.positions.partition_point(|p| p.pc as usize <= pc);
                    let Some(at) = next.checked_sub(1).map(|i| function.positions[i]) else { continue };
                    let Some(file) = module.files.get(usize::from(at.file)) else { continue };
                    let entry = all
                        .files
                        .entry(file.path.to_string())
                        .or_insert_with(|| FileCoverage { lines: ByLine::new(), text: file.text.clone() });
                    entry.lines.entry(line_of(&file.text, at.start)).or_insert(0);
                }
            }
        }
        all
    }

    /// Adds what ran: offsets by file.
    pub fn count(&mut self, covered: &BTreeMap<String, BTreeMap<u32, u64>>) {
        for (path, offsets) in covered {
            let Some(file) = self.files.get_mut(path) else { continue };
            for (offset, count) in offsets {
                let line = line_of(&file.text, *offset);
                let most = file.lines.entry(line).or_insert(0);
                *most = (*most).max(*count);
            }
        }
    }

    /// A table: file, lines that ran, those that didn't.
    #[must_use]
    pub fn table(&self) -> String {
        let width = self.files.keys().map(String::len).max().unwrap_or(0).max(5);
        let mut out = String::new();
        let (mut hits, mut all) = (0, 0);
        for (path, file) in &self.files {
            let (hit, lines) = (file.hit(), file.lines.len());
            (hits, all) = (hits + hit, all + lines);
            let missed = file.missed();
            let missed = if missed.is_empty() { missed } else { format!("  not: {missed}") };
            let _ = writeln!(out, "{path:width$}  {:>6}  {hit}/{lines}{missed}", percent(hit, lines));
        }
        let _ = writeln!(out, "{:width$}  {:>6}  {hits}/{all}", "total", percent(hits, all));
        out
    }

    /// lcov's tracefile format (geninfo(1), "Tracefile format").
    #[must_use]
    pub fn lcov(&self) -> String {
        let mut out = String::new();
        for (path, file) in &self.files {
            let _ = writeln!(out, "TN:\nSF:{path}");
            for (line, count) in &file.lines {
                let _ = writeln!(out, "DA:{line},{count}");
            }
            let _ = writeln!(out, "LF:{}\nLH:{}\nend_of_record", file.lines.len(), file.hit());
        }
        out
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let file = |(path, file): (&String, &FileCoverage)| {
            let missed: Vec<u32> =
                file.lines.iter().filter(|(_, count)| **count == 0).map(|(line, _)| *line).collect();
            json!({ "file": path, "lines": file.lines.len(), "hit": file.hit(), "missed": missed })
        };
        self.files.iter().map(file).collect()
    }
}

fn percent(part: usize, all: usize) -> String {
    if all == 0 { "-".to_owned() } else { format!("{:.1}%", part as f64 * 100.0 / all as f64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_lines_are_joined_over_lines_without_code() {
        let lines = BTreeMap::from([(1, 1), (3, 0), (4, 0), (7, 0), (8, 2), (9, 0)]);
        let file = FileCoverage { lines, text: "".into() };
        assert_eq!((file.missed().as_str(), file.hit()), ("3-7, 9", 2));
        let coverage = Coverage { files: BTreeMap::from([("a.js".to_owned(), file)]) };
        assert!(coverage.table().contains("33.3%  2/6  not: 3-7, 9"), "{}", coverage.table());
        assert!(coverage.lcov().ends_with("DA:9,0\nLF:6\nLH:2\nend_of_record\n"));
    }
}
