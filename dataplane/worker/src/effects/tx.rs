//! `tx(fn)`: which transaction is whose, and how deep.
//!
//! ```text
//!   %txBegin, outside    BEGIN on a connection of its own; a number for the fiber
//!   %txBegin, inside     SAVEPOINT; another number, whose parent is the first
//!   a query              on the connection of its fiber's number
//!   %txEnd               COMMIT or ROLLBACK; of a savepoint RELEASE or ROLLBACK TO
//!   the run is over      everything that it still has is rolled back (trap, timeout, client gone)
//! ```
//! Savepoints are a stack at the server, while the fibers of a task are a tree: of two siblings that each open one,
//! the first to end would take the other along. So while a nested transaction is open only it may send statements;
//! its parent, and siblings that would open another, get an error that says so.

use std::collections::VecDeque;

use forebay_base::{Monotonic, Timestamp};
use forebay_engine::{Effect, TaskHandle, ValueRef, Vm};
use forebay_postgres::pool::{Isolation, Mode, OVER, Pool};
use forebay_postgres::{QueryError, Token};

use super::sql::{Refusal, passes, refusal_of};
use super::{Call, Effects, Fault, What};

/// Savepoints within one another.
pub(crate) const DEPTH_MAX: u32 = 32;
/// Marks tokens that no effect waits for.
const SILENT: u64 = 1 << 63;

/// One level of one transaction.
#[derive(Debug)]
struct Level {
    /// What the fiber carries; never 0.
    number: u32,
    run: u64,
    database: usize,
    /// The pool's token of the whole transaction.
    root: u64,
    /// Number of the level around it; 0: this is BEGIN's.
    parent: u32,
    depth: u32,
    read_only: bool,
    /// COMMIT, ROLLBACK or their savepoint kin are on their way.
    ending: bool,
}

/// The open transactions of one core.
#[derive(Debug, Default)]
pub(crate) struct Transactions {
    levels: Vec<Level>,
    last: u32,
    silent: u64,
    /// In a test: run and number of the transaction around everything. None before it is begun.
    around: Option<(u64, u32)>,
    /// The statement in it that has a savepoint of its own: key of the effect, its database and transaction.
    guarded: Option<(u64, usize, Token)>,
    /// Statements that wait for that one: a failed one would spoil those behind it.
    queued: VecDeque<(u64, TaskHandle, Effect)>,
}

/// The savepoint of a statement that would be a transaction by itself, in a test.
const GUARD: &str = "forebay_statement";

/// An effect of `tx` in flight.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Begin(u32),
    End(u32),
    /// BEGIN of a cursor.
    Cursor(u32),
    /// Its COMMIT.
    CursorEnd,
}

impl Transactions {
    fn find(&self, number: u32, run: u64) -> Option<&Level> {
        self.levels.iter().find(|level| level.number == number && level.run == run)
    }

    /// A token that no effect waits for.
    fn next_silent(&mut self) -> Token {
        let silent = Token(SILENT | self.silent);
        self.silent = (self.silent + 1) & !SILENT;
        silent
    }

    fn next_number(&mut self) -> u32 {
        loop {
            self.last = self.last.wrapping_add(1).max(1);
            if self.levels.iter().all(|level| level.number != self.last) {
                return self.last;
            }
        }
    }

    /// Whether this task has one.
    pub(crate) fn has(&self, run: u64) -> bool {
        self.levels.iter().any(|level| level.run == run)
    }

    /// Whether it is one, rather than a savepoint, and writes.
    pub(crate) fn is_outermost(&self, number: u32, run: u64) -> bool {
        self.find(number, run).is_some_and(|level| level.parent == 0 && !level.read_only)
    }

    /// Which database it is in.
    pub(crate) fn database_of(&self, number: u32, run: u64) -> Option<usize> {
        self.find(number, run).map(|level| level.database)
    }

    /// Whether it is the transaction around a test.
    pub(super) fn is_around(&self, run: u64, number: u32) -> bool {
        self.around == Some((run, number))
    }

    /// Whether a task has one.
    pub(crate) fn any(&self) -> bool {
        !self.levels.is_empty()
    }

    /// Forgets a level and those inside it.
    fn remove(&mut self, number: u32) {
        if self.around.is_some_and(|(_, around)| around == number) {
            (self.around, self.guarded) = (None, None);
        }
        let mut gone = vec![number];
        while let Some(number) = gone.pop() {
            self.levels.retain(|level| {
                if level.parent == number {
                    gone.push(level.number);
                }
                level.number != number
            });
        }
    }

    /// Database and token of the transaction that a statement of this fiber belongs to.
    pub(crate) fn of(&self, number: u32, run: u64) -> Result<(usize, Token), &'static str> {
        let level = self.find(number, run).ok_or(ENDED)?;
        if level.ending {
            return Err(ENDED);
        }
        if self.levels.iter().any(|other| other.parent == number) {
            return Err("a nested transaction is open: only it can send statements now");
        }
        Ok((level.database, Token(level.root)))
    }
}

const ENDED: &str = "the transaction that this belongs to has ended";

impl Effects {
    pub(super) fn begin_tx(&mut self, vm: &mut Vm, call: &Call<'_>) {
        let parent = vm.transaction(call.task, call.effect.id);
        let begun = match (parent, self.transactions.around) {
            (0, Some((run, number))) if run != call.run => self.begin_savepoint(call, number, run),
            (0, _) => self.begin_outermost(vm, call),
            _ => self.begin_savepoint(call, parent, call.run),
        };
        if let Err(refusal) = begun {
            self.refuse(vm, call, &refusal);
        }
    }

    /// In which database `%txBegin` begins.
    pub(crate) fn tx_database(&self, vm: &Vm, call: &Call<'_>) -> Result<usize, Refusal> {
        let options = vm.arg(call.task, call.effect.id, 0);
        let options = Options::read(&options).map_err(|message| ("TypeError", message, None))?;
        self.database(options.database)
    }

    /// Throws at the script; a durable task whose database is away for a while is let go of instead.
    pub(super) fn refuse(&mut self, vm: &mut Vm, call: &Call<'_>, refusal: &Refusal) {
        let (name, message, code) = refusal;
        if self.patient.contains(&call.run) && passes(refusal) {
            self.wait(call, What::Later);
            self.uncertain.push((call.run, message.clone()));
            return;
        }
        self.fail(vm, call, &Fault { name, message, code: code.as_deref() });
    }

    fn begin_outermost(&mut self, vm: &mut Vm, call: &Call<'_>) -> Result<(), Refusal> {
        let options = vm.arg(call.task, call.effect.id, 0);
        let wrong = |message: String| ("TypeError", message, None);
        let options = Options::read(&options).map_err(wrong)?;
        let database = self.database(options.database)?;
        let settings: Vec<(&str, &str)> = options.settings.iter().map(|(n, v)| (&**n, &**v)).collect();
        self.asks_in_vain(call.run, database)?;
        let number = self.transactions.next_number();
        let key = self.wait(call, What::Tx(database, Step::Begin(number)));
        let begun = self.pool(database).and_then(|pool| {
            pool.begin_with(Token(key), options.mode, &settings, call.now).map_err(refusal_of)
        });
        if let Err(refusal) = begun {
            self.unwait(key);
            return Err(refusal);
        }
        let level = Level {
            number,
            run: call.run,
            database,
            root: key,
            parent: 0,
            depth: 0,
            read_only: options.mode.read_only,
            ending: false,
        };
        self.transactions.levels.push(level);
        if self.test.is_some() && self.transactions.around.is_none() {
            self.transactions.around = Some((call.run, number));
        }
        Ok(())
    }

    /// `owner`: the run that has `parent`.
    fn begin_savepoint(&mut self, call: &Call<'_>, parent: u32, owner: u64) -> Result<(), Refusal> {
        let wrong = |message: &str| ("TransactionError", format!("tx: {message}"), None);
        let (database, root) = self.transactions.of(parent, owner).map_err(wrong)?;
        let depth = self.transactions.find(parent, owner).map_or(0, |level| level.depth) + 1;
        if depth > DEPTH_MAX {
            return Err(("RangeError", format!("tx: nested deeper than {DEPTH_MAX}"), None));
        }
        let number = self.transactions.next_number();
        let key = self.wait(call, What::Tx(database, Step::Begin(number)));
        let sent = self
            .pool(database)
            .and_then(|pool| control(pool, root, Token(key), &format!("SAVEPOINT forebay_{depth}")));
        if let Err(refusal) = sent {
            self.unwait(key);
            return Err(refusal);
        }
        let level = Level {
            number,
            run: call.run,
            database,
            root: root.0,
            parent,
            depth,
            read_only: false,
            ending: false,
        };
        self.transactions.levels.push(level);
        Ok(())
    }

    /// `%txEnd(number, commit)`. ROLLBACK never throws: what is in its way has ended the transaction already.
    pub(super) fn end_tx(&mut self, vm: &mut Vm, call: &Call<'_>) {
        let number = vm.arg(call.task, call.effect.id, 0).as_i64().and_then(|n| u32::try_from(n).ok());
        let commit = vm.arg(call.task, call.effect.id, 1).as_bool() == Some(true);
        let number = number.unwrap_or(0);
        let ended = self.end_level(call, number, commit);
        match ended {
            Ok(true) => {}
            Ok(false) => self.answer(vm, call, &mut |sink| sink.undefined()),
            Err(_) if !commit => {
                self.transactions.remove(number);
                self.answer(vm, call, &mut |sink| sink.undefined());
            }
            Err(refusal) => self.refuse(vm, call, &refusal),
        }
    }

    /// True if an answer of the server will end the effect.
    fn end_level(&mut self, call: &Call<'_>, number: u32, commit: bool) -> Result<bool, Refusal> {
        let Some(level) = self.transactions.find(number, call.run) else {
            // COMMIT has failed, and the transaction is over.
            return if commit { Err(("TransactionError", ENDED.to_owned(), None)) } else { Ok(false) };
        };
        let (database, root, parent, depth) = (level.database, level.root, level.parent, level.depth);
        if level.ending {
            return Ok(false);
        }
        if commit && self.transactions.levels.iter().any(|other| other.parent == number) {
            let message =
                "tx: a nested transaction is still open at the end; await what you start".to_owned();
            return Err(("TransactionError", message, None));
        }
        let key = self.wait(call, What::Tx(database, Step::End(number)));
        let sent = self.pool(database).and_then(|pool| match (parent, commit) {
            (0, _) => pool.end(Token(root), Token(key), commit).map_err(inside),
            (_, true) => {
                control(pool, Token(root), Token(key), &format!("RELEASE SAVEPOINT forebay_{depth}"))
            }
            (_, false) => control(pool, Token(root), Token(key), &undo(&format!("forebay_{depth}"))),
        });
        if let Err(refusal) = sent {
            self.unwait(key);
            self.transactions.remove(number);
            return Err(refusal);
        }
        if let Some(level) = self.transactions.levels.iter_mut().find(|level| level.number == number) {
            level.ending = true;
        }
        Ok(true)
    }

    /// The server has answered a step; the number that a script gets for a transaction that has begun.
    pub(super) fn tx_done(&mut self, step: Step, well: bool) -> Option<u32> {
        match step {
            Step::Begin(number) | Step::Cursor(number) if well => Some(number),
            Step::Cursor(number) => {
                self.cursors.remove(number);
                None
            }
            Step::CursorEnd => None,
            Step::Begin(number) | Step::End(number) => {
                self.transactions.remove(number);
                None
            }
        }
    }

    /// Database and transaction of a test, if this run's statement belongs there without having begun it.
    pub(super) fn around(&self, run: u64) -> Result<Option<(usize, Token)>, &'static str> {
        match self.transactions.around {
            Some((owner, number)) if owner != run => self.transactions.of(number, owner).map(Some),
            _ => Ok(None),
        }
    }

    /// A statement that would be a transaction by itself gets a savepoint around it.
    pub(super) fn guard(&mut self, key: u64, database: usize, root: Token) -> Result<(), Refusal> {
        let silent = self.transactions.next_silent();
        self.pool(database).and_then(|pool| control(pool, root, silent, &format!("SAVEPOINT {GUARD}")))?;
        self.transactions.guarded = Some((key, database, root));
        Ok(())
    }

    /// True if the statement has to wait for its turn, and does.
    pub(super) fn queue_behind_guarded(&mut self, call: &Call<'_>) -> bool {
        let waits = self.transactions.guarded.is_some();
        if waits {
            self.transactions.queued.push_back((call.run, call.task, *call.effect));
        }
        waits
    }

    /// The server has answered a statement: its savepoint, if it has one, ends.
    pub(super) fn unguard(&mut self, key: u64, well: bool) {
        let Some((_, database, root)) = self.transactions.guarded.take_if(|guarded| guarded.0 == key) else {
            return;
        };
        self.leave_savepoint(database, root, GUARD, well);
    }

    /// The next statement that waited for its turn.
    pub(super) fn begin_queued(&mut self, vm: &mut Vm, now: Monotonic) {
        while self.transactions.guarded.is_none()
            && let Some((run, task, effect)) = self.transactions.queued.pop_front()
        {
            let tenant = vm.tenant(task).unwrap_or_default();
            let call =
                Call { run, task, effect: &effect, now, timestamp: Timestamp::default(), tenant, once: None };
            self.begin_sql(vm, &call);
        }
    }

    /// Releases a savepoint, or undoes it; what is in the way has ended the transaction already.
    fn leave_savepoint(&mut self, database: usize, root: Token, name: &str, keep: bool) {
        let silent = self.transactions.next_silent();
        let text = if keep { format!("RELEASE SAVEPOINT {name}") } else { undo(name) };
        if let Ok(pool) = self.pool(database) {
            let _ = control(pool, root, silent, &text);
        }
    }

    /// A run is over: what it has open is rolled back.
    pub(super) fn abandon_transactions(&mut self, run: u64, now: Monotonic) {
        self.transactions.queued.retain(|queued| queued.0 != run);
        if let Some((owner, number)) = self.transactions.around {
            // Of a test's request only its savepoints are: the transaction is the test's.
            let open = |level: &&Level| level.run == run && level.parent == number && !level.ending;
            let own: Vec<(usize, u64, u32)> =
                self.transactions.levels.iter().filter(open).map(|l| (l.database, l.root, l.depth)).collect();
            for (database, root, depth) in own {
                self.leave_savepoint(database, Token(root), &format!("forebay_{depth}"), false);
            }
            if owner == run {
                (self.transactions.around, self.transactions.guarded) = (None, None);
            }
        }
        let Self { transactions, databases, .. } = self;
        transactions.levels.retain(|level| {
            if level.run != run {
                return true;
            }
            // One that is being committed is left to end by itself.
            if level.parent == 0
                && !level.ending
                && let Some(sql) = databases.get_mut(level.database)
            {
                sql.abandon(level.root, now);
            }
            false
        });
    }
}

/// Rolls back to a savepoint and forgets it.
fn undo(name: &str) -> String {
    format!("ROLLBACK TO SAVEPOINT {name}; RELEASE SAVEPOINT {name}")
}

/// Sends a statement of transaction control.
fn control(pool: &mut Pool, root: Token, token: Token, text: &str) -> Result<(), Refusal> {
    pool.control_in(root, token, text).map_err(inside)
}

/// Why a statement couldn't be sent on the connection of its transaction.
pub(super) fn inside(error: QueryError) -> Refusal {
    if error == OVER { lost() } else { refusal_of(error) }
}

/// The pool knows the transaction no more although nobody has ended it: its connection is gone.
pub(super) fn lost() -> Refusal {
    let message = "database unavailable: the connection of the transaction was lost, which rolled it back";
    ("UnavailableError", message.to_owned(), Some("08006".to_owned()))
}

/// Options of `tx`.
#[derive(Default)]
struct Options<'a> {
    mode: Mode,
    database: Option<&'a str>,
    settings: Vec<(String, String)>,
}

impl<'a> Options<'a> {
    fn read(value: &ValueRef<'a>) -> Result<Self, String> {
        let mut options = Self::default();
        if value.is_undefined() {
            return Ok(options);
        }
        let mut failure = None;
        let read = value.each_property(&mut |key, value| {
            if value.is_undefined() || failure.is_some() {
                return;
            }
            match key {
                "retry" => {}
                "readOnly" => match value.as_bool() {
                    Some(read_only) => options.mode.read_only = read_only,
                    None => failure = Some("tx: readOnly is true or false".to_owned()),
                },
                "isolation" => match isolation(value.as_str().unwrap_or_default()) {
                    Some(isolation) => options.mode.isolation = isolation,
                    None => {
                        let all = "\"read committed\", \"repeatable read\" or \"serializable\"";
                        failure = Some(format!("tx: isolation is {all}"));
                    }
                },
                "database" => match value.as_str() {
                    Some(name) => options.database = Some(name),
                    None => failure = Some("tx: database is a name of forebay.toml".to_owned()),
                },
                "set" => {
                    let read = value.each_property(&mut |name, value| {
                        let text = match (value.as_str(), value.as_bool(), value.as_i64()) {
                            (Some(text), ..) => text.to_owned(),
                            (_, Some(flag), _) => flag.to_string(),
                            (.., Some(number)) => number.to_string(),
                            _ => {
                                failure =
                                    Some(format!("tx: set {name:?}: expected text, a number or a boolean"));
                                return;
                            }
                        };
                        options.settings.push((name.to_owned(), text));
                    });
                    if let Err(error) = read {
                        failure = Some(format!("tx: set: {error}"));
                    }
                }
                other => {
                    let all = "isolation, readOnly, retry, database, set";
                    failure = Some(format!("tx: unknown option {other:?}; there are {all}"));
                }
            }
        });
        if let Err(error) = read {
            failure = Some(format!("tx: {error}"));
        }
        failure.map_or(Ok(options), Err)
    }
}

fn isolation(text: &str) -> Option<Isolation> {
    Some(match text {
        "read committed" => Isolation::ReadCommitted,
        "repeatable read" => Isolation::RepeatableRead,
        "serializable" => Isolation::Serializable,
        _ => return None,
    })
}
