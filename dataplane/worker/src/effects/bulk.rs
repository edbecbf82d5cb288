//! COPY and cursors of scripts.
//!
//! ```text
//!   db().table("t").copy(rows)    columns from the rows -> pool.copy -> Event::Copy -> rows out of the arena, in parts
//!   db()....copyOut()             the chain as text -> COPY (...) TO STDOUT -> lists into the arena
//!   db()....cursor()              %cursorOpen: BEGIN, or the transaction that is there; %cursorFetch; %cursorClose
//! ```
//! The rows of a COPY stay where the script has them and are encoded when the connection has room; nothing is copied in
//! between.

use forebay_base::value::{ValueBuilder, codec};
use forebay_base::{Monotonic, Value};
use forebay_engine::{QueryOps, ValueRef, Vm};
use forebay_postgres::builder::quote_name;
use forebay_postgres::copy::{Bytes, CopySource, CopyWriter, inline};
use forebay_postgres::pool::{Mode, OVER};
use forebay_postgres::{Param, QueryError, Shape, Sql, Token};

use super::sql::{Refusal, refusal_of};
use super::tx::{self, Step};
use super::{Call, Effects, What, plans};

/// Rows of one part of a cursor.
const BATCH_MAX: u32 = 100_000;
/// Columns of a table (manual: "PostgreSQL Limits").
const COLUMNS_MAX: usize = 1600;

/// A COPY in flight.
#[derive(Debug)]
pub(crate) struct Copy {
    command: String,
    data: Data,
    /// Rows, or bytes, that are sent.
    sent: usize,
}

#[derive(Debug)]
enum Data {
    /// Argument 1 of the effect: lists, or objects with these keys.
    Rows(Option<Vec<String>>),
    /// Argument 1 of the effect: text or bytes.
    Raw,
    /// To the script.
    Out(Shape),
}

impl Copy {
    /// Whether its result is what the sink has, and not how many rows went in.
    pub(crate) fn gives_rows(&self) -> bool {
        matches!(self.data, Data::Out(_))
    }
}

/// A cursor of a script.
#[derive(Debug)]
pub(crate) struct Cursor {
    number: u32,
    run: u64,
    database: usize,
    /// The pool's token of its transaction.
    root: u64,
    /// The transaction is its own.
    own: bool,
    open: bool,
}

/// What the cursors of a core need beside transactions.
#[derive(Debug, Default)]
pub(crate) struct Cursors {
    list: Vec<Cursor>,
    last: u32,
}

impl Cursors {
    pub(crate) fn any(&self) -> bool {
        !self.list.is_empty()
    }

    fn next_number(&mut self) -> u32 {
        loop {
            self.last = self.last.wrapping_add(1).max(1);
            if self.list.iter().all(|cursor| cursor.number != self.last) {
                return self.last;
            }
        }
    }

    fn find(&mut self, number: u32, run: u64) -> Option<&mut Cursor> {
        self.list.iter_mut().find(|cursor| cursor.number == number && cursor.run == run)
    }

    pub(crate) fn remove(&mut self, number: u32) {
        self.list.retain(|cursor| cursor.number != number);
    }

    /// Transactions of the cursors that a run leaves open: database and token.
    pub(crate) fn abandon(&mut self, run: u64) -> Vec<(usize, u64)> {
        let gone = self.list.iter().filter(|cursor| cursor.run == run && cursor.own);
        let gone = gone.map(|cursor| (cursor.database, cursor.root)).collect();
        self.list.retain(|cursor| cursor.run != run);
        gone
    }
}

/// What a COPY is about.
struct Target {
    command: String,
    /// The statement that tells the types of the columns.
    types: Option<String>,
    data: Data,
}

fn wrong(message: String) -> Refusal {
    ("TypeError", message, None)
}

impl Effects {
    pub(super) fn begin_copy(&mut self, vm: &mut Vm, call: &Call<'_>, out: bool) {
        let begun = if out { self.send_copy_out(vm, call) } else { self.send_copy_in(vm, call) };
        match begun {
            Ok(true) => self.settle_sql_all(vm, call.now),
            // No rows.
            Ok(false) => self.answer(vm, call, &mut |sink| sink.int(0)),
            Err(refusal) => self.refuse(vm, call, &refusal),
        }
    }

    /// False: there is nothing to copy.
    fn send_copy_in(&mut self, vm: &Vm, call: &Call<'_>) -> Result<bool, Refusal> {
        let ops = vm.query(call.task, call.effect.id);
        let data = vm.arg(call.task, call.effect.id, 1);
        let options = vm.arg(call.task, call.effect.id, 2);
        let options = Options::read("copy", &options).map_err(wrong)?;
        let target = copy_in_target(ops, &data, &options).map_err(wrong)?;
        match target {
            Some(target) => self.send_copy(vm, call, target).map(|()| true),
            None => Ok(false),
        }
    }

    fn send_copy_out(&mut self, vm: &Vm, call: &Call<'_>) -> Result<bool, Refusal> {
        let options = vm.arg(call.task, call.effect.id, 1);
        let options = Options::read("copyOut", &options).map_err(wrong)?;
        let ops = vm.query(call.task, call.effect.id);
        let target = if let Some(text) = named(ops) {
            named_out(&text?).map_err(wrong)?
        } else {
            let mut leaves = Vec::new();
            let statement = self.plans.of(ops, &mut leaves).map_err(wrong)?;
            let owned = plans::owned(&leaves).map_err(wrong)?;
            let mut params = Vec::with_capacity(statement.plan.sources.len());
            plans::parameters(&statement.plan, &leaves, &owned, &mut params);
            let text = &statement.plan.text;
            let reads = text.get(..6).is_some_and(|word| word.eq_ignore_ascii_case("select"));
            if statement.shown || statement.plan.shape != Shape::Rows || !reads {
                return Err(wrong(
                    "copyOut: it takes a query that selects rows, without get(), first() or another verb"
                        .into(),
                ));
            }
            let query = inline(text, &params).map_err(refusal_of)?;
            match options.format() {
                None => Target {
                    command: format!("COPY ({query}) TO STDOUT"),
                    types: Some(text.to_string()),
                    data: Data::Out(Shape::Lists),
                },
                Some(format) => Target {
                    command: format!("COPY ({query}) TO STDOUT ({format})"),
                    types: None,
                    data: Data::Out(Shape::Text),
                },
            }
        };
        self.send_copy(vm, call, target).map(|()| true)
    }

    fn send_copy(&mut self, vm: &Vm, call: &Call<'_>, target: Target) -> Result<(), Refusal> {
        let (database, root) = self.place_of(vm, call)?;
        let Target { command, types, data } = target;
        let key = self.wait(call, What::Copy(database, Box::new(Copy { command, data, sent: 0 })));
        let types = types.as_deref().map(Sql::new);
        let sent = self.pool(database).and_then(|pool| {
            let sent = pool.copy(root, Token(key), types.as_ref(), call.now);
            sent.map_err(|error| if error == OVER { tx::lost() } else { refusal_of(error) })
        });
        if sent.is_err() {
            self.unwait(key);
        }
        sent
    }

    /// Which database a query is of, and in which transaction.
    fn place_of(&mut self, vm: &Vm, call: &Call<'_>) -> Result<(usize, Option<Token>), Refusal> {
        let label = vm.query_database(call.task, call.effect.id);
        let number = vm.transaction(call.task, call.effect.id);
        self.place_of_query(label, number, call.run)
    }

    /// A COPY has its connection, or room for more rows.
    pub(super) fn copy_goes_on(
        &mut self,
        vm: &mut Vm,
        database: usize,
        token: Token,
        starts: bool,
        now: Monotonic,
    ) {
        let Some(waiting) = self.waiting.get_mut(token.0) else { return };
        let What::Copy(_, copy) = &mut waiting.what else { return };
        let Some(pool) = self.databases.get_mut(database).and_then(|sql| sql.pool.as_mut()) else { return };
        let data = vm.arg(waiting.task, waiting.effect, 1);
        let Copy { command, data: kind, sent } = &mut **copy;
        let result = match kind {
            Data::Out(shape) => pool.copy_out(token, command, *shape, now),
            Data::Rows(keys) => {
                let mut source = Rows {
                    rows: data,
                    count: data.array_len().unwrap_or(0),
                    next: *sent,
                    keys: keys.as_deref(),
                    found: Vec::new(),
                };
                let result = if starts {
                    pool.copy_in(token, command, &mut source, now)
                } else {
                    pool.copy_more(token, &mut source);
                    Ok(())
                };
                *sent = source.next;
                result
            }
            Data::Raw => {
                let bytes = data.as_bytes().or_else(|| data.as_str().map(str::as_bytes)).unwrap_or_default();
                let mut source = Bytes::new(bytes, *sent);
                let result = if starts {
                    pool.copy_in(token, command, &mut source, now)
                } else {
                    pool.copy_more(token, &mut source);
                    Ok(())
                };
                *sent = source.written();
                result
            }
        };
        if let Err(error) = result
            && let Some(waiting) = self.done(token.0)
        {
            super::sql::throw(vm, &waiting, &error);
        }
    }

    pub(super) fn open_cursor(&mut self, vm: &mut Vm, call: &Call<'_>) {
        if let Err(refusal) = self.begin_cursor(vm, call) {
            self.refuse(vm, call, &refusal);
        }
    }

    fn begin_cursor(&mut self, vm: &mut Vm, call: &Call<'_>) -> Result<(), Refusal> {
        // What is wrong with the chain is said before a transaction begins.
        let mut leaves = Vec::new();
        let statement = self.plans.of(vm.query(call.task, call.effect.id), &mut leaves).map_err(wrong)?;
        if statement.shown || statement.plan.shape != Shape::Rows {
            return Err(wrong(
                "cursor: it takes a query of rows, without first(), count() or another verb".into(),
            ));
        }
        drop(leaves);
        let (database, root) = self.place_of(vm, call)?;
        let number = self.cursors.next_number();
        if let Some(root) = root {
            self.cursors.list.push(Cursor {
                number,
                run: call.run,
                database,
                root: root.0,
                own: false,
                open: false,
            });
            self.answer(vm, call, &mut |sink| sink.int(i64::from(number)));
            return Ok(());
        }
        let key = self.wait(call, What::Tx(database, Step::Cursor(number)));
        let begun = self
            .pool(database)
            .and_then(|pool| pool.begin(Token(key), Mode::default(), call.now).map_err(refusal_of));
        if let Err(refusal) = begun {
            self.unwait(key);
            return Err(refusal);
        }
        self.cursors.list.push(Cursor { number, run: call.run, database, root: key, own: true, open: false });
        Ok(())
    }

    pub(super) fn fetch_cursor(&mut self, vm: &mut Vm, call: &Call<'_>) {
        if let Err(refusal) = self.send_fetch(vm, call) {
            self.refuse(vm, call, &refusal);
        }
    }

    fn send_fetch(&mut self, vm: &Vm, call: &Call<'_>) -> Result<(), Refusal> {
        let number =
            |index| vm.arg(call.task, call.effect.id, index).as_i64().and_then(|n| u32::try_from(n).ok());
        let (cursor, rows) = (number(1).unwrap_or(0), number(2).unwrap_or(0).clamp(1, BATCH_MAX));
        let Some(Cursor { database, root, open, .. }) = self.cursors.find(cursor, call.run) else {
            return Err(("TransactionError", "the cursor is closed".into(), None));
        };
        let (database, root) = (*database, Token(*root));
        let first = !std::mem::replace(open, true);
        let key = self.wait(call, What::Sql(database, None));
        let sent = if first {
            let mut leaves = Vec::new();
            self.plans.of(vm.query(call.task, call.effect.id), &mut leaves).map_err(wrong).and_then(
                |statement| {
                    let owned = plans::owned(&leaves).map_err(wrong)?;
                    let mut params = Vec::with_capacity(statement.plan.sources.len());
                    plans::parameters(&statement.plan, &leaves, &owned, &mut params);
                    let plan = &statement.plan;
                    let sql = Sql { text: &plan.text, hash: plan.hash, access: plan.access };
                    let pool = self.pool(database)?;
                    pool.open_cursor(root, Token(key), (cursor, rows), &sql, &params).map_err(of_cursor)
                },
            )
        } else {
            self.pool(database)
                .and_then(|pool| pool.fetch(root, Token(key), (cursor, rows)).map_err(of_cursor))
        };
        if sent.is_err() {
            self.unwait(key);
        }
        sent
    }

    pub(super) fn close_cursor(&mut self, vm: &mut Vm, call: &Call<'_>) {
        let number = vm.arg(call.task, call.effect.id, 0).as_i64().and_then(|n| u32::try_from(n).ok());
        let found = self
            .cursors
            .list
            .iter()
            .position(|cursor| Some(cursor.number) == number && cursor.run == call.run);
        let Some(cursor) = found.map(|index| self.cursors.list.swap_remove(index)) else {
            return self.answer(vm, call, &mut |sink| sink.undefined());
        };
        if !cursor.own {
            if let Ok(pool) = self.pool(cursor.database) {
                pool.close_cursor(Token(cursor.root), cursor.number);
            }
            return self.answer(vm, call, &mut |sink| sink.undefined());
        }
        let key = self.wait(call, What::Tx(cursor.database, Step::CursorEnd));
        let ended = self
            .pool(cursor.database)
            .and_then(|pool| pool.end(Token(cursor.root), Token(key), true).map_err(refusal_of));
        if ended.is_err() {
            // Its connection is gone, and the transaction with it: its last fetch has said so.
            self.unwait(key);
            self.answer(vm, call, &mut |sink| sink.undefined());
        }
    }
}

fn of_cursor(error: QueryError) -> Refusal {
    if error == OVER { tx::lost() } else { refusal_of(error) }
}

/// Options of `copy` and `copyOut`.
#[derive(Default)]
struct Options {
    columns: Option<Vec<String>>,
    format: Option<&'static str>,
    header: bool,
    delimiter: Option<char>,
}

impl Options {
    fn read(what: &str, value: &ValueRef<'_>) -> Result<Self, String> {
        let mut options = Self::default();
        let mut failure = None;
        let read = value.each_property(&mut |key, value| {
            if value.is_undefined() || failure.is_some() {
                return;
            }
            match key {
                "columns" if what == "copy" => match texts(&value) {
                    Some(columns) if !columns.is_empty() => options.columns = Some(columns),
                    _ => failure = Some(format!("{what}: columns is a list of names")),
                },
                "format" => match value.as_str() {
                    Some("csv") => options.format = Some("csv"),
                    Some("text") => options.format = Some("text"),
                    _ => failure = Some(format!("{what}: format is \"csv\" or \"text\"")),
                },
                "header" => match value.as_bool() {
                    Some(header) => options.header = header,
                    None => failure = Some(format!("{what}: header is true or false")),
                },
                "delimiter" => match value.as_str().map(|text| (text.chars().next(), text.len())) {
                    Some((Some(delimiter), 1)) if delimiter != '\'' && delimiter != '\\' => {
                        options.delimiter = Some(delimiter);
                    }
                    _ => failure = Some(format!("{what}: delimiter is one ASCII character")),
                },
                other => {
                    failure = Some(format!(
                        "{what}: unknown option {other:?}; there are columns, format, header, delimiter"
                    ))
                }
            }
        });
        if let Err(error) = read {
            failure = Some(format!("{what}: {error}"));
        }
        if options.format.is_none() && (options.header || options.delimiter.is_some()) {
            options.format = Some("csv");
        }
        failure.map_or(Ok(options), Err)
    }

    /// What stands in the parentheses of the command, if the data is text.
    fn format(&self) -> Option<String> {
        let format = self.format?;
        let header = if self.header { ", HEADER true" } else { "" };
        let delimiter = self.delimiter.map_or(String::new(), |c| format!(", DELIMITER '{c}'"));
        Some(format!("FORMAT {format}{header}{delimiter}"))
    }
}

fn texts(list: &ValueRef<'_>) -> Option<Vec<String>> {
    (0..list.array_len()?).map(|index| list.at(index).as_str().map(str::to_owned)).collect()
}

/// The text of a `:copy` of sql/, if the chain is one.
fn named(mut ops: QueryOps<'_>) -> Option<Result<String, Refusal>> {
    let op = ops.next().filter(|op| op.name == "%lambda")?;
    let malformed = || wrong("a query's data is malformed".to_owned());
    let mut builder = ValueBuilder::default();
    let bytes = op.arg(0).as_bytes()?;
    if codec::decode(bytes, &mut builder).is_err() {
        return Some(Err(malformed()));
    }
    let data = builder.finish().unwrap_or_default();
    let [Value::Str(method), tree] = data.as_list()? else { return None };
    match tree.as_list() {
        Some([Value::Str(text), Value::Str(kind), _]) if &**method == "sql" && &**kind == "copy" => {
            Some(Ok(text.to_string()))
        }
        _ => None,
    }
}

/// `COPY` and what follows it up to FROM STDIN or TO STDOUT, and the options behind that.
fn split_copy<'t>(text: &'t str, stream: &str) -> Result<(&'t str, &'t str), String> {
    let malformed = || format!("this is no COPY ... {stream}");
    let lower = text.to_ascii_lowercase();
    let (direction, word) = if stream == "FROM STDIN" { ("from", "stdin") } else { ("to", "stdout") };
    let at = lower.rfind(word).ok_or_else(malformed)?;
    let before = lower[..at].trim_end();
    let before = before.strip_suffix(direction).ok_or_else(malformed)?;
    let start = lower.find("copy").ok_or_else(malformed)? + 4;
    let target = text.get(start..before.len()).ok_or_else(malformed)?;
    Ok((target.trim(), text[at + word.len()..].trim()))
}

fn named_out(text: &str) -> Result<Target, String> {
    let (target, options) = split_copy(text, "TO STDOUT")?;
    if !options.is_empty() {
        return Ok(Target { command: text.to_owned(), types: None, data: Data::Out(Shape::Text) });
    }
    let types = match (target.strip_prefix('('), target.split_once('(')) {
        (Some(query), _) => query.strip_suffix(')').unwrap_or(query).to_owned(),
        (None, Some((table, columns))) => format!("SELECT {} FROM {table}", columns.trim_end_matches(')')),
        (None, None) => format!("SELECT * FROM {target}"),
    };
    Ok(Target { command: text.to_owned(), types: Some(types), data: Data::Out(Shape::Lists) })
}

/// `None`: there are no rows.
fn copy_in_target(
    ops: QueryOps<'_>,
    data: &ValueRef<'_>,
    options: &Options,
) -> Result<Option<Target>, String> {
    let raw = data.as_bytes().is_some() || data.as_str().is_some();
    if !raw && data.array_len().is_none() {
        return Err("copy: expected a list of rows, or text".to_owned());
    }
    if !raw && options.format.is_some() {
        return Err("copy: a format is for text; rows have none".to_owned());
    }
    if let Some(text) = named(ops) {
        let text = text.map_err(|(_, message, _)| message)?;
        let (target, rest) = split_copy(&text, "FROM STDIN")?;
        if raw {
            return Ok(Some(Target { command: text, types: None, data: Data::Raw }));
        }
        if !rest.is_empty() {
            return Err(format!("copy: this COPY has options ({rest}), so it takes text, not rows"));
        }
        let Some(first) = first_row(data)? else { return Ok(None) };
        let columns = target.split_once('(').map(|(_, list)| list.trim_end_matches(')').split(',').count());
        let width = columns.unwrap_or_else(|| first.width());
        let keys = match (&first, target.split_once('(')) {
            (First::List(_), _) => None,
            (First::Keys(_), Some((_, list))) => {
                let name = |name: &str| name.trim().trim_matches('"').to_owned();
                Some(list.trim_end_matches(')').split(',').map(name).collect())
            }
            (First::Keys(_), None) => {
                return Err(
                    "copy: rows that are objects need the columns in the COPY: COPY t (a, b) FROM STDIN"
                        .to_owned(),
                );
            }
        };
        let types = format!("INSERT INTO {target} VALUES ({})", places(width));
        return Ok(Some(Target { command: text, types: Some(types), data: Data::Rows(keys) }));
    }
    let mut table = None;
    for op in ops {
        match (op.name, op.len()) {
            ("table" | "from", 1) => table = op.arg(0).as_str(),
            (name, _) => return Err(format!("copy: it takes table(name) alone, not {name}()")),
        }
    }
    let table = quote_name(table.ok_or("copy: no table: db().table(\"t\").copy(rows)")?)
        .map_err(|e| e.to_string())?;
    let list = |columns: &[String]| -> Result<String, String> {
        let quoted: Result<Vec<String>, String> = columns.iter().map(|c| quote_column(c)).collect();
        Ok(format!(" ({})", quoted?.join(", ")))
    };
    if raw {
        let columns = options.columns.as_deref().map_or(Ok(String::new()), list)?;
        let format = options.format().unwrap_or_else(|| "FORMAT csv".to_owned());
        let command = format!("COPY {table}{columns} FROM STDIN ({format})");
        return Ok(Some(Target { command, types: None, data: Data::Raw }));
    }
    let Some(first) = first_row(data)? else { return Ok(None) };
    let columns = match (&options.columns, &first) {
        (Some(columns), _) => Some(columns.clone()),
        (None, First::Keys(keys)) => Some(keys.clone()),
        (None, First::List(_)) => None,
    };
    let width = columns.as_ref().map_or(first.width(), Vec::len);
    if width == 0 || width > COLUMNS_MAX {
        return Err(format!("copy: a row of {width} columns"));
    }
    let named = columns.as_deref().map_or(Ok(String::new()), list)?;
    let keys = if matches!(first, First::Keys(_)) { columns } else { None };
    Ok(Some(Target {
        command: format!("COPY {table}{named} FROM STDIN"),
        types: Some(format!("INSERT INTO {table}{named} VALUES ({})", places(width))),
        data: Data::Rows(keys),
    }))
}

/// A column's name, dots and all.
fn quote_column(name: &str) -> Result<String, String> {
    if name.is_empty() || name.contains('\0') {
        return Err(format!("copy: {name:?} is no name of a column"));
    }
    Ok(format!("\"{}\"", name.replace('"', "\"\"")))
}

/// `$1, $2, ...`
fn places(count: usize) -> String {
    let places: Vec<String> = (1..=count).map(|n| format!("${n}")).collect();
    places.join(", ")
}

/// What the first row is like; the others are like it.
enum First {
    List(usize),
    Keys(Vec<String>),
}

impl First {
    fn width(&self) -> usize {
        match self {
            Self::List(width) => *width,
            Self::Keys(keys) => keys.len(),
        }
    }
}

fn first_row(rows: &ValueRef<'_>) -> Result<Option<First>, String> {
    if rows.array_len() == Some(0) {
        return Ok(None);
    }
    let row = rows.at(0);
    if let Some(width) = row.array_len() {
        return Ok(Some(First::List(width)));
    }
    if !row.is_plain_object() {
        return Err("copy: row 1 is neither a list nor an object".to_owned());
    }
    let mut keys = Vec::new();
    row.each_property(&mut |key, _| keys.push(key.to_owned()))
        .map_err(|error| format!("copy: row 1: {error}"))?;
    Ok(Some(First::Keys(keys)))
}

/// Rows in the arena of a task.
struct Rows<'a, 'k> {
    rows: ValueRef<'a>,
    count: usize,
    next: usize,
    /// Names of the columns, if rows are objects.
    keys: Option<&'k [String]>,
    found: Vec<Option<ValueRef<'a>>>,
}

impl CopySource for Rows<'_, '_> {
    fn fill(&mut self, writer: &mut CopyWriter<'_>) -> Result<bool, QueryError> {
        while self.next < self.count {
            if writer.is_full() {
                return Ok(true);
            }
            let row = self.rows.at(self.next);
            writer.begin_row();
            let written = match self.keys {
                None => match row.array_len() {
                    Some(len) => (0..len).try_for_each(|index| put(writer, &row.at(index))),
                    None => Err(of_row("it is no list, as the first row is")),
                },
                Some(keys) => self.object(writer, &row, keys),
            };
            written.and_then(|()| writer.end_row()).map_err(|error| in_row(self.next, error))?;
            self.next += 1;
        }
        Ok(false)
    }

    fn rewind(&mut self) {
        self.next = 0;
    }
}

impl<'a> Rows<'a, '_> {
    fn object(
        &mut self,
        writer: &mut CopyWriter<'_>,
        row: &ValueRef<'a>,
        keys: &[String],
    ) -> Result<(), QueryError> {
        if !row.is_plain_object() {
            return Err(of_row("it is no object, as the first row is"));
        }
        self.found.clear();
        self.found.resize(keys.len(), None);
        let (mut next, mut strange) = (0, None);
        let found = &mut self.found;
        let read = row.each_property(&mut |name, value| {
            // Mostly they come in the order of the first row.
            let at = if keys.get(next).is_some_and(|key| key == name) {
                Some(next)
            } else {
                keys.iter().position(|key| key == name)
            };
            match at {
                Some(at) => {
                    found[at] = Some(value);
                    next = at + 1;
                }
                None => strange = Some(name.to_owned()),
            }
        });
        if let Err(error) = read {
            return Err(of_row(&error.to_string()));
        }
        if let Some(name) = strange {
            return Err(of_row(&format!("it has {name:?}, which is no column of the COPY")));
        }
        for (value, key) in self.found.iter().zip(keys) {
            match value {
                Some(value) => put(writer, value)?,
                None => return Err(of_row(&format!("it has no {key:?}"))),
            }
        }
        Ok(())
    }
}

#[inline]
fn put(writer: &mut CopyWriter<'_>, value: &ValueRef<'_>) -> Result<(), QueryError> {
    if let Some(param) = plans::scalar(value) {
        return writer.value(&param);
    }
    if value.is_undefined() {
        return writer.value(&Param::Undefined);
    }
    let value = ValueBuilder::build(value).map_err(QueryError::Value)?;
    writer.value(&Param::from(&value))
}

fn of_row(reason: &str) -> QueryError {
    forebay_postgres::ParameterError { index: 0, type_name: Box::default(), reason: reason.into() }.into()
}

/// Says which row it was.
fn in_row(index: usize, error: QueryError) -> QueryError {
    match error {
        QueryError::Parameter(mut error) => {
            error.reason = format!("row {}: {}", index + 1, error.reason).into();
            QueryError::Parameter(error)
        }
        other => other,
    }
}
