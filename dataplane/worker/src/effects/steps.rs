//! Statements of durable tasks, exactly once: the row that says that a step was done is written in the
//! transaction that does it.
//!
//! ```text
//!   a statement   BEGIN; [is the row there? -> its result]; statement; INSERT the row with the result; COMMIT
//!   tx(fn)        ... statements of fn ...; INSERT the row; COMMIT          after a crash: is the row there?
//! ```
//! The row's key is the task's number, which no other task ever has, and the number of the effect. Whether it is
//! there is asked only where the statement may have been carried out before: when a task was loaded again.
//!
//! A COMMIT whose answer is lost has happened or not, and the script must not guess: the task is let go of
//! ([`Effects::uncertain`]), loaded again, and asks for the row.
//!
//! The table, `forebay_steps`, is made where the connection's search_path says, the first time that it is needed.

use std::rc::Rc;

use forebay_base::value::{ValueBuilder, codec};
use forebay_base::{Monotonic, Timestamp, Value, ValueSource as _};
use forebay_engine::{ErrorSpec, TaskHandle, Vm};
use forebay_postgres::pool::Mode;
use forebay_postgres::{Access, Complete, Delivery, Param, QueryError, Shape, Sql, Token};
use std::collections::HashMap;

use super::plans::{self, Statement};
use super::sql::{NOT_SENT, Refusal, passes, refusal_of, stops};
use super::tx::inside;
use super::{Call, Effects, Waiting, What};

/// Marks the token of a statement of a step.
const STEP: u64 = 1 << 61;
/// Marks the token of its COMMIT or ROLLBACK.
const END: u64 = 1 << 62;
/// Tasks whose rows one statement removes.
pub(crate) const SWEEP_MAX: usize = 1024;

const FIND: &str = "SELECT relnamespace::regnamespace::text FROM pg_catalog.pg_class \
                    WHERE oid = pg_catalog.to_regclass('forebay_steps')";
const CREATE: &str = "CREATE TABLE IF NOT EXISTS forebay_steps (\
                      task uuid NOT NULL, step bigint NOT NULL, name text NOT NULL, result bytea NOT NULL, \
                      at timestamptz NOT NULL DEFAULT pg_catalog.now(), PRIMARY KEY (task, step))";

/// Which step of which task.
#[derive(Clone, Debug)]
pub(crate) struct StepName {
    /// The task's number.
    pub(crate) number: [u8; 16],
    /// Its name, for people.
    pub(crate) task: Box<str>,
    /// The effect's number.
    pub(crate) effect: u32,
    /// It may have been done before.
    pub(crate) again: bool,
}

/// What a core knows of steps.
#[derive(Default)]
pub(crate) struct Steps {
    /// Tables, with their schema, by number of the database.
    tables: HashMap<usize, Rc<Table>>,
    under_way: HashMap<u64, Step>,
    /// Keys of the ends of transactions that must not be guessed about, and the numbers of their rows.
    committing: HashMap<u64, u64>,
    /// Why rows of those couldn't be written.
    unwritten: HashMap<u64, Refusal>,
    last_row: u64,
    /// Whether a step was done, for those who asked by [`Effects::look_for_step`].
    pub(crate) looked: Vec<(u64, Result<bool, Refusal>)>,
    /// Removals that have ended: the tokens given to [`Effects::sweep`], and whether it went well.
    pub(crate) swept: Vec<(u64, bool)>,
}

struct Table {
    insert: Box<str>,
    find: Box<str>,
    sweep: Box<str>,
}

impl Table {
    fn of(schema: &str) -> Self {
        let name = format!("{schema}.forebay_steps");
        Self {
            insert: format!("INSERT INTO {name} (task, step, name, result) VALUES ($1, $2, $3, $4)").into(),
            find: format!("SELECT result FROM {name} WHERE task = $1 AND step = $2").into(),
            sweep: format!("DELETE FROM {name} WHERE task = ANY ($1)").into(),
        }
    }
}

/// One step on its way.
struct Step {
    database: usize,
    name: StepName,
    goal: Goal,
    phase: Phase,
    /// What the last statement pushed.
    builder: ValueBuilder,
    /// To be delivered when it is committed.
    result: Option<Value>,
    /// Why the row couldn't be written.
    failed: Option<Refusal>,
}

enum Goal {
    /// A statement of its own.
    Statement(Rc<Statement>, Vec<Value>),
    /// The table has to be there before a transaction of the script begins.
    Transaction,
    /// To know whether it was done; the asker's number.
    Look(u64),
    /// Rows are removed; the asker's number.
    Sweep(u64, Vec<[u8; 16]>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Where the table is. `true`: it was made just now.
    Table(bool),
    Create,
    Begin,
    Find,
    Statement,
    Commit,
}

/// What an answer of the server leads to.
enum Next {
    Wait,
    /// Deliver the result.
    Done,
    /// Throw at the script: nothing was done.
    Throw(Refusal),
    /// Nobody knows.
    Uncertain(String),
}

/// A task's number as PostgreSQL writes a uuid.
fn uuid(number: &[u8; 16]) -> String {
    let hex: String = number.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

impl Steps {
    /// The sink of a step's statement.
    pub(super) fn sink(&mut self, token: Token) -> Option<&mut dyn forebay_base::ValueSink> {
        if token.0 & STEP == 0 {
            return None;
        }
        let step = self.under_way.get_mut(&(token.0 & !STEP))?;
        step.builder = ValueBuilder::default();
        Some(&mut step.builder)
    }

    /// Whether a token is of a step under way.
    pub(super) fn owns(&self, token: Token) -> bool {
        token.0 & (STEP | END) != 0 || self.under_way.contains_key(&token.0)
    }

    /// Whether a run is about to begin a transaction.
    fn begins(&self, waiting: &mut crate::slots::Slots<Waiting>, run: u64) -> bool {
        self.under_way.iter().any(|(key, step)| {
            matches!(step.goal, Goal::Transaction)
                && waiting.get_mut(*key).is_some_and(|waiting| waiting.run == run)
        })
    }

    pub(super) fn forget(&mut self, key: u64) {
        self.under_way.remove(&key);
        if let Some(row) = self.committing.remove(&key) {
            self.unwritten.remove(&row);
        }
    }
}

impl Effects {
    /// A statement that may write, of a durable task.
    pub(crate) fn begin_step(&mut self, vm: &mut Vm, call: &Call<'_>, name: StepName) {
        if let Err(refusal) = self.try_step(vm, call, name) {
            self.refuse(vm, call, &refusal);
        }
    }

    fn try_step(&mut self, vm: &mut Vm, call: &Call<'_>, name: StepName) -> Result<(), Refusal> {
        let wrong = |message: String| ("TypeError", message, None);
        let mut leaves = Vec::new();
        let statement = self.plans.of(vm.query(call.task, call.effect.id), &mut leaves).map_err(wrong)?;
        let owned = plans::owned(&leaves).map_err(wrong)?;
        let mut params = Vec::with_capacity(statement.plan.sources.len());
        plans::parameters(&statement.plan, &leaves, &owned, &mut params);
        let params: Vec<Value> = params.iter().map(Param::to_value).collect();
        let database = self.database(vm.query_database(call.task, call.effect.id))?;
        self.start_step(call, database, name, Goal::Statement(statement, params))
    }

    /// `%txBegin` of a durable task, outside of any other: the table is there before it.
    pub(crate) fn begin_tx_with_steps(&mut self, vm: &mut Vm, call: &Call<'_>, name: StepName) {
        let database = self.tx_database(vm, call);
        let started = database.and_then(|database| {
            if self.steps.tables.contains_key(&database) {
                return Ok(None);
            }
            self.start_step(call, database, name, Goal::Transaction).map(Some)
        });
        match started {
            Ok(Some(())) => {}
            Ok(None) => self.begin_tx(vm, call),
            Err(refusal) => self.refuse(vm, call, &refusal),
        }
    }

    /// Whether a durable task has a transaction open, or is about to.
    pub(crate) fn in_transaction(&mut self, run: u64) -> bool {
        self.transactions.has(run) || self.steps.begins(&mut self.waiting, run)
    }

    /// Whether a transaction is no savepoint, and may have written.
    pub(crate) fn writes_outermost(&self, number: u32, run: u64) -> bool {
        self.transactions.is_outermost(number, run)
    }

    /// What `db(name)` calls the database of a transaction.
    pub(crate) fn label_of_transaction(&self, number: u32, run: u64) -> &str {
        self.transactions.database_of(number, run).map_or("", |database| self.label_of(database))
    }

    /// `%txEnd(number, true)` of a durable task, outermost: the step's row goes with the COMMIT.
    pub(crate) fn commit_step(&mut self, vm: &mut Vm, call: &Call<'_>, name: &StepName) {
        self.steps.last_row += 1;
        let row = self.steps.last_row;
        if let Err(refusal) = self.send_row(vm, call, name, row) {
            return self.refuse(vm, call, &refusal);
        }
        self.end_tx(vm, call);
        // The end's key is the youngest of the run's.
        let key = self.waiting.keys().find(|key| {
            self.waiting.get(*key).is_some_and(|waiting| {
                waiting.run == call.run
                    && waiting.effect == call.effect.id
                    && matches!(waiting.what, What::Tx(_, super::tx::Step::End(_)))
            })
        });
        if let Some(key) = key {
            self.steps.committing.insert(key, row);
        }
    }

    fn send_row(&mut self, vm: &Vm, call: &Call<'_>, name: &StepName, number: u64) -> Result<(), Refusal> {
        let row_token = Token(STEP | END | number);
        let number = vm.arg(call.task, call.effect.id, 0).as_i64().and_then(|n| u32::try_from(n).ok());
        let open = self.transactions.of(number.unwrap_or(0), call.run);
        let (database, root) = open.map_err(|why| ("TransactionError", format!("tx: {why}"), None))?;
        let Some(table) = self.steps.tables.get(&database).cloned() else {
            return Err(("TransactionError", "tx: the table of steps isn't there".into(), None));
        };
        let uuid = uuid(&name.number);
        let nothing = codec::encode(&Value::List(Vec::new())).unwrap_or_default();
        let params = row(&uuid, name, &nothing);
        // Nobody waits for it: if it fails the COMMIT says so.
        self.pool(database)?
            .query_in(root, row_token, &Sql::new(&table.insert), &params, Shape::Affected, Delivery::Whole)
            .map_err(inside)
    }

    /// Asks whether a step was done; the answer comes in [`Steps::looked`] under `asker`.
    pub(crate) fn look_for_step(&mut self, database: &str, name: StepName, asker: u64, now: Monotonic) {
        let label = Some(database).filter(|label| !label.is_empty());
        let begun = self
            .database(label)
            .and_then(|database| self.start_step_alone(database, name, Goal::Look(asker), now));
        if let Err(refusal) = begun {
            self.steps.looked.push((asker, Err(refusal)));
        }
    }

    /// Removes the rows of tasks that are over.
    pub(crate) fn sweep(&mut self, database: &str, mut numbers: Vec<[u8; 16]>, asker: u64, now: Monotonic) {
        numbers.truncate(SWEEP_MAX);
        let label = Some(database).filter(|label| !label.is_empty());
        let name = StepName { number: [0; 16], task: "".into(), effect: 0, again: false };
        let begun = self
            .database(label)
            .and_then(|database| self.start_step_alone(database, name, Goal::Sweep(asker, numbers), now));
        if begun.is_err() {
            self.steps.swept.push((asker, false));
        }
    }

    fn start_step(
        &mut self,
        call: &Call<'_>,
        database: usize,
        name: StepName,
        goal: Goal,
    ) -> Result<(), Refusal> {
        self.asks_in_vain(call.run, database)?;
        let key = self.wait(call, What::Step(database));
        let begun = self.start_under(key, database, name, goal, call.now);
        if begun.is_err() {
            self.steps.under_way.remove(&key);
            self.unwait(key);
        }
        begun
    }

    /// A step that no run waits for.
    fn start_step_alone(
        &mut self,
        database: usize,
        name: StepName,
        goal: Goal,
        now: Monotonic,
    ) -> Result<(), Refusal> {
        let key = self.waiting.insert(Waiting {
            run: u64::MAX,
            task: TaskHandle { slot: u32::MAX, generation: 0 },
            effect: forebay_engine::EffectId(0),
            since: now,
            what: What::Step(database),
        });
        let begun = self.start_under(key, database, name, goal, now);
        if begun.is_err() {
            self.steps.under_way.remove(&key);
            self.waiting.remove(key);
        }
        begun
    }

    fn start_under(
        &mut self,
        key: u64,
        database: usize,
        name: StepName,
        goal: Goal,
        now: Monotonic,
    ) -> Result<(), Refusal> {
        let step = Step {
            database,
            name,
            goal,
            phase: Phase::Table(false),
            builder: ValueBuilder::default(),
            result: None,
            failed: None,
        };
        self.steps.under_way.insert(key, step);
        if self.steps.tables.contains_key(&database) {
            return self.have_table(key, now);
        }
        self.send(key, &Sql::read(FIND), &[], Shape::Scalar, now)
    }

    /// Sends a statement of the step that is outside of its transaction.
    fn send(
        &mut self,
        key: u64,
        sql: &Sql<'_>,
        params: &[Param<'_>],
        shape: Shape,
        now: Monotonic,
    ) -> Result<(), Refusal> {
        let Some(step) = self.steps.under_way.get(&key) else { return Ok(()) };
        let database = step.database;
        let token = Token(STEP | key);
        self.pool(database)?.query(token, sql, params, shape, Delivery::Whole, now).map_err(refusal_of)
    }

    /// Sends a statement of the step inside its transaction.
    fn send_inside(
        &mut self,
        key: u64,
        sql: &Sql<'_>,
        params: &[Param<'_>],
        shape: Shape,
    ) -> Result<(), Refusal> {
        let Some(step) = self.steps.under_way.get(&key) else { return Ok(()) };
        let database = step.database;
        let token = Token(STEP | key);
        self.pool(database)?.query_in(Token(key), token, sql, params, shape, Delivery::Whole).map_err(inside)
    }

    /// The table is known: on to what it is for.
    fn have_table(&mut self, key: u64, now: Monotonic) -> Result<(), Refusal> {
        let Some(step) = self.steps.under_way.get_mut(&key) else { return Ok(()) };
        let database = step.database;
        let Some(table) = self.steps.tables.get(&database).cloned() else { return Ok(()) };
        match &step.goal {
            Goal::Statement(..) => {
                step.phase = Phase::Begin;
                self.pool(database)?.begin_with(Token(key), Mode::default(), &[], now).map_err(refusal_of)
            }
            // Answered by whoever sees the phase.
            Goal::Transaction => {
                step.phase = Phase::Commit;
                Ok(())
            }
            Goal::Look(_) => {
                step.phase = Phase::Find;
                let uuid = uuid(&step.name.number);
                let effect = i64::from(step.name.effect);
                let params = [Param::Str(&uuid), Param::Int(effect)];
                self.send(key, &Sql::read(&table.find), &params, Shape::Scalar, now)
            }
            Goal::Sweep(_, numbers) => {
                step.phase = Phase::Statement;
                let list: Vec<Value> = numbers.iter().map(|n| Value::Str(uuid(n).into())).collect();
                let params = [Param::List(&list)];
                self.send(key, &Sql::new(&table.sweep), &params, Shape::Affected, now)
            }
        }
    }

    /// An answer of the server about a step.
    pub(super) fn step_answered(
        &mut self,
        vm: &mut Vm,
        token: Token,
        result: Result<Complete, QueryError>,
        now: Monotonic,
    ) {
        if token.0 & (STEP | END) == STEP | END {
            // The row of a transaction's end: its COMMIT tells.
            if let Err(error) = result {
                let row = token.0 & !(STEP | END);
                let refusal = unwritten(&error);
                self.log.line(
                    crate::back::Level::Error,
                    "a step's row can't be written",
                    &[("error", &refusal.1)],
                );
                if self.steps.committing.values().any(|other| *other == row) {
                    self.steps.unwritten.insert(row, refusal);
                }
            }
            return;
        }
        let key = token.0 & !(STEP | END);
        let Some(step) = self.steps.under_way.get_mut(&key) else { return };
        let again = step.name.again;
        let next = match (step.phase, token.0 & END != 0) {
            (Phase::Commit, true) => self.step_committed(key, result),
            (_, true) => return,
            (Phase::Table(made), _) => self.step_table(key, made, result, now),
            (Phase::Create, _) => {
                // Someone else may have made it in the same moment.
                step.phase = Phase::Table(true);
                match result {
                    Ok(_) => Ok(Next::Wait),
                    Err(QueryError::Server(error)) if matches!(&*error.code, "42P07" | "23505" | "42710") => {
                        Ok(Next::Wait)
                    }
                    Err(error) => Err(no_table(&error)),
                }
                .and_then(|next| self.send(key, &Sql::read(FIND), &[], Shape::Scalar, now).map(|()| next))
            }
            (Phase::Begin, _) => match result {
                Ok(_) if again => self.step_find(key),
                Ok(_) => self.step_statement(key),
                Err(error) => Err(refusal_of(error)),
            },
            (Phase::Find, _) => self.step_found(key, result),
            (Phase::Statement, _) => self.step_done(key, result),
            (Phase::Commit, _) => {
                if let Err(error) = result {
                    let refusal = unwritten(&error);
                    if let Some(step) = self.steps.under_way.get_mut(&key) {
                        step.failed = Some(refusal);
                    }
                }
                return;
            }
        };
        let next = match next {
            Ok(next) => next,
            // It may have been done in an earlier life: the script must not hear that it wasn't, as long as an answer may come.
            Err(refusal) if again && !lasts(&refusal) => Next::Uncertain(refusal.1),
            Err(refusal) if again => Next::Throw(self.not_looked_up(key, refusal)),
            // Its COMMIT was never sent, and a transaction ends with its connection.
            Err(refusal) if passes(&refusal) => Next::Uncertain(refusal.1),
            Err(refusal) => Next::Throw(refusal),
        };
        self.step_next(vm, key, next, now);
    }

    fn step_table(
        &mut self,
        key: u64,
        made: bool,
        result: Result<Complete, QueryError>,
        now: Monotonic,
    ) -> Result<Next, Refusal> {
        result.map_err(refusal_of)?;
        let Some(step) = self.steps.under_way.get_mut(&key) else { return Ok(Next::Wait) };
        let database = step.database;
        match std::mem::take(&mut step.builder).finish() {
            Some(Value::Str(schema)) => {
                self.steps.tables.insert(database, Rc::new(Table::of(&schema)));
                self.have_table(key, now)?;
                let transaction =
                    self.steps.under_way.get(&key).is_some_and(|step| matches!(step.goal, Goal::Transaction));
                Ok(if transaction { Next::Done } else { Next::Wait })
            }
            _ if made => {
                Err(("DatabaseError", "db: the table forebay_steps isn't in the search_path".into(), None))
            }
            _ => {
                step.phase = Phase::Create;
                self.send(key, &Sql::new(CREATE), &[], Shape::Affected, now)?;
                Ok(Next::Wait)
            }
        }
    }

    fn step_find(&mut self, key: u64) -> Result<Next, Refusal> {
        let Some(step) = self.steps.under_way.get_mut(&key) else { return Ok(Next::Wait) };
        step.phase = Phase::Find;
        let Some(table) = self.steps.tables.get(&step.database).cloned() else { return Ok(Next::Wait) };
        let (uuid, effect) = (uuid(&step.name.number), i64::from(step.name.effect));
        let params = [Param::Str(&uuid), Param::Int(effect)];
        self.send_inside(key, &Sql::read(&table.find), &params, Shape::Scalar)?;
        Ok(Next::Wait)
    }

    fn step_found(&mut self, key: u64, result: Result<Complete, QueryError>) -> Result<Next, Refusal> {
        result.map_err(refusal_of)?;
        let Some(step) = self.steps.under_way.get_mut(&key) else { return Ok(Next::Wait) };
        let found = match std::mem::take(&mut step.builder).finish() {
            Some(Value::Bytes(bytes)) => Some(bytes),
            _ => None,
        };
        if matches!(step.goal, Goal::Look(_)) {
            step.result = Some(Value::Bool(found.is_some()));
            return Ok(Next::Done);
        }
        let Some(bytes) = found else { return self.step_statement(key) };
        let mut builder = ValueBuilder::default();
        let read = codec::decode(&bytes, &mut builder).ok().and_then(|()| builder.finish());
        let Some(Value::List(mut list)) = read else {
            return Err(("DatabaseError", "db: a row of forebay_steps is damaged".into(), None));
        };
        step.result = Some(list.pop().unwrap_or(Value::Undefined));
        let database = step.database;
        // Nothing was done in it.
        let _ = self.pool(database).map(|pool| pool.end(Token(key), Token(END | key), false));
        Ok(Next::Done)
    }

    fn step_statement(&mut self, key: u64) -> Result<Next, Refusal> {
        let Some(step) = self.steps.under_way.get_mut(&key) else { return Ok(Next::Wait) };
        step.phase = Phase::Statement;
        let Goal::Statement(statement, params) = &step.goal else { return Ok(Next::Wait) };
        let (statement, params) = (Rc::clone(statement), params.clone());
        let params: Vec<Param<'_>> = params.iter().map(Param::from).collect();
        let plan = &statement.plan;
        let sql = Sql { text: &plan.text, hash: plan.hash, access: Access::Write };
        self.send_inside(key, &sql, &params, plan.shape)?;
        Ok(Next::Wait)
    }

    /// The statement has ended: its row and COMMIT, or ROLLBACK.
    fn step_done(&mut self, key: u64, result: Result<Complete, QueryError>) -> Result<Next, Refusal> {
        let Some(step) = self.steps.under_way.get_mut(&key) else { return Ok(Next::Wait) };
        let database = step.database;
        let statement = match &step.goal {
            Goal::Sweep(..) => {
                step.result = Some(Value::Bool(result.is_ok()));
                return Ok(Next::Done);
            }
            Goal::Statement(statement, _) => Rc::clone(statement),
            _ => return Ok(Next::Wait),
        };
        let undo = |effects: &mut Self, refusal: Refusal| {
            let _ = effects.pool(database).map(|pool| pool.end(Token(key), Token(END | key), false));
            // It was rolled back, whatever an earlier life did: that was looked for.
            Ok(Next::Throw(refusal))
        };
        let complete = match result {
            Ok(complete) => complete,
            Err(error) => {
                let refusal = refusal_of(error);
                return if passes(&refusal) { Err(refusal) } else { undo(self, refusal) };
            }
        };
        if let Some(name) = statement.must_exist.as_deref()
            && complete.rows == 0
        {
            let message = format!("sql.{name}: no row, and `:one` promises one");
            return undo(self, ("NotFoundError", message, None));
        }
        let value = std::mem::take(&mut step.builder).finish().unwrap_or_default();
        let list = if value == Value::Undefined { Vec::new() } else { vec![value.clone()] };
        let bytes = match codec::encode(&Value::List(list)) {
            Ok(bytes) => bytes,
            Err(error) => return undo(self, ("RangeError", format!("db: the result: {error}"), None)),
        };
        step.result = Some(value);
        step.phase = Phase::Commit;
        let name = step.name.clone();
        let Some(table) = self.steps.tables.get(&database).cloned() else { return Ok(Next::Wait) };
        let uuid = uuid(&name.number);
        let params = row(&uuid, &name, &bytes);
        self.send_inside(key, &Sql::new(&table.insert), &params, Shape::Affected)?;
        self.pool(database)?.end(Token(key), Token(END | key), true).map_err(inside)?;
        Ok(Next::Wait)
    }

    /// COMMIT was answered.
    fn step_committed(&mut self, key: u64, result: Result<Complete, QueryError>) -> Result<Next, Refusal> {
        let failed = self.steps.under_way.get_mut(&key).and_then(|step| step.failed.take());
        Ok(match result {
            Ok(_) => Next::Done,
            // The server says no: nothing happened. One that stops may say so behind a COMMIT.
            Err(QueryError::Server(error)) if !stops(&error.code) => {
                Next::Throw(refusal_of(QueryError::Server(error)))
            }
            // Rolled back, for a reason that will be there the next time, too.
            Err(QueryError::Refused(_)) if failed.as_ref().is_some_and(never_written) => {
                failed.map_or(Next::Wait, Next::Throw)
            }
            // Its row couldn't be written, or nobody knows: the row tells.
            Err(error) => Next::Uncertain(failed.map_or_else(|| error.to_string(), |(_, why, _)| why)),
        })
    }

    /// Whether a step was done can't be found out, now or later.
    fn not_looked_up(&mut self, key: u64, (name, message, code): Refusal) -> Refusal {
        let Some(step) = self.steps.under_way.get(&key) else { return (name, message, code) };
        let looks = matches!(step.phase, Phase::Table(_) | Phase::Create | Phase::Begin | Phase::Find);
        let of_statement = matches!(step.goal, Goal::Statement(..));
        if !looks || !of_statement && !matches!(step.goal, Goal::Look(_)) {
            return (name, message, code);
        }
        let database = step.database;
        if of_statement && step.phase == Phase::Find {
            // Nothing was done in it.
            let _ = self.pool(database).map(|pool| pool.end(Token(key), Token(END | key), false));
        }
        let message = format!("db: whether this was done before a restart can't be looked up: {message}");
        (name, message, code)
    }

    fn step_next(&mut self, vm: &mut Vm, key: u64, next: Next, now: Monotonic) {
        if matches!(next, Next::Wait) {
            return;
        }
        let Some(step) = self.steps.under_way.remove(&key) else { return };
        if let Goal::Look(asker) | Goal::Sweep(asker, _) = step.goal {
            self.waiting.remove(key);
            let said = match next {
                Next::Done => Ok(step.result == Some(Value::Bool(true))),
                Next::Throw(refusal) => Err(refusal),
                Next::Uncertain(why) => Err(("UnavailableError", why, Some(NOT_SENT.into()))),
                Next::Wait => return,
            };
            match step.goal {
                Goal::Sweep(..) => self.steps.swept.push((asker, said == Ok(true))),
                _ => self.steps.looked.push((asker, said)),
            }
            return;
        }
        if let Next::Uncertain(why) = next {
            // It stays in flight until the task is let go of: nobody takes it for one that rests.
            if let Some(run) = self.waiting.get_mut(key).map(|waiting| waiting.run) {
                self.uncertain.push((run, why));
            }
            return;
        }
        let Some(waiting) = self.done(key) else { return };
        self.metrics.sql.record(now.since(waiting.since));
        let (task, effect) = (waiting.task, waiting.effect);
        match next {
            Next::Done if matches!(step.goal, Goal::Transaction) => {
                // The table is there: now it can begin. Not resumed after all.
                self.resumed.pop();
                let effect = forebay_engine::Effect { id: effect, func: forebay_bytecode::HostFn::TxBegin };
                let call = Call {
                    run: waiting.run,
                    task,
                    effect: &effect,
                    now,
                    // BEGIN has no time of day.
                    timestamp: Timestamp(0),
                    tenant: forebay_base::TenantId(0),
                    once: None,
                };
                self.begin_tx(vm, &call);
            }
            Next::Done => {
                let value = step.result.unwrap_or_default();
                super::resume(vm, task, effect, &mut |sink| value.emit(sink));
            }
            Next::Throw((name, message, code)) => {
                let spec = ErrorSpec { name, message: &message, code: code.as_deref(), props: &[] };
                let _ = vm.resume_error(task, effect, &spec);
            }
            Next::Uncertain(_) | Next::Wait => {}
        }
    }

    /// Whether this was the end of a durable task's transaction, about which nobody may guess; and if its row can't ever be
    /// written, why. Forgets it.
    pub(super) fn was_committing(&mut self, key: u64) -> (bool, Option<Refusal>) {
        if self.steps.committing.is_empty() {
            return (false, None);
        }
        let Some(row) = self.steps.committing.remove(&key) else { return (false, None) };
        (true, self.steps.unwritten.remove(&row).filter(never_written))
    }
}

/// Whether a question about a step would have the same answer at any time: no right, no table, no database in the
/// configuration. Conflicts, timeouts, what is full or only read for now may pass (the PostgreSQL manual's appendix A).
pub(crate) fn lasts(refusal: &Refusal) -> bool {
    let (name, _, code) = refusal;
    let class = code.as_deref().and_then(|code| code.get(..2)).unwrap_or_default();
    let may_pass = matches!(class, "08" | "25" | "40" | "53" | "55" | "57" | "58" | "XX");
    !(passes(refusal) || *name == "DatabaseError" && may_pass)
}

/// A row that can't be written now can't be later on either. One that is there already says that the step was done.
fn never_written(refusal: &Refusal) -> bool {
    lasts(refusal) && refusal.2.as_deref() != Some("23505")
}

/// Why a row couldn't be written, for people.
fn unwritten(error: &QueryError) -> Refusal {
    let (name, message, code) = refusal_of_ref(error);
    (name, format!("db: the step's row can't be written to forebay_steps: {message}"), code)
}

fn no_table(error: &QueryError) -> Refusal {
    let (name, message, code) = refusal_of_ref(error);
    let message =
        format!("db: the table of durable steps can't be made: {message}; make it by a migration: {CREATE}");
    (name, message, code)
}

fn refusal_of_ref(error: &QueryError) -> Refusal {
    match error {
        QueryError::Server(server) => {
            ("DatabaseError", server.message.to_string(), Some(server.code.to_string()))
        }
        other => refusal_of(other.clone()),
    }
}

fn row<'a>(uuid: &'a str, name: &'a StepName, result: &'a [u8]) -> [Param<'a>; 4] {
    [Param::Str(uuid), Param::Int(i64::from(name.effect)), Param::Str(&name.task), Param::Bytes(result)]
}
