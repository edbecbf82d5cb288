//! What a parked task holds, for people: variables by name, the lines at which it waits; and a variable changed by hand.
//!
//! Names come from the blueprint's debug names (`Function::locals`): a register has a name from the instruction that
//! gives the variable its value to the end of its block.

use crate::api::TaskHandle;
use crate::error::{line_column, position_at};
use crate::fiber::Wait;
use crate::heap::{Heap, kind};
use crate::value::Value;
use crate::value_ref::ValueRef;
use crate::vm::Vm;
use forebay_base::Value as Plain;
use forebay_bytecode::{Const, Function, Module};

/// A variable of a call in flight.
pub struct Local<'a> {
    /// The fiber, by number.
    pub fiber: u32,
    /// The call, 0 the outermost.
    pub call: u32,
    /// The function's name; empty: anonymous.
    pub function: Box<str>,
    /// The variable's.
    pub name: Box<str>,
    /// What it holds; undefined before its declaration.
    pub value: ValueRef<'a>,
}

/// Where a fiber waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: Box<str>,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The line's text, without its indentation.
    pub text: Box<str>,
}

/// Why a variable can't be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetLocalError {
    /// There is no variable of that name; those that there are.
    Unknown(Vec<String>),
    /// Several calls have one; how each is named.
    Several(Vec<String>),
    /// The value doesn't fit into the task.
    Value(String),
}

impl std::fmt::Display for SetLocalError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown(there) if there.is_empty() => f.write_str("the task has no variables now"),
            Self::Unknown(there) => write!(f, "there is no such variable; there are {}", there.join(", ")),
            Self::Several(there) => write!(f, "several calls have one: say which of {}", there.join(", ")),
            Self::Value(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for SetLocalError {}

/// A variable and where it is.
struct Found {
    fiber: u32,
    call: u32,
    at: usize,
    function: Box<str>,
    name: Box<str>,
}

impl Found {
    fn path(&self) -> String {
        if self.function.is_empty() {
            self.name.to_string()
        } else {
            format!("{}.{}", self.function, self.name)
        }
    }
}

fn paths<'f>(of: impl Iterator<Item = &'f Found>) -> Vec<String> {
    of.map(Found::path).collect()
}

fn text(module: &Module, constant: u32) -> Box<str> {
    match module.constants.get(constant as usize) {
        Some(Const::Str(text)) => text.clone(),
        _ => "".into(),
    }
}

fn function(module: &Module, index: u32) -> Option<&Function> {
    module.functions.get(index as usize)
}

/// Takes a captured variable out of its cell; nothing before its declaration.
fn held(heap: &Heap, value: Value) -> Value {
    let value = if value.is_cell() && heap.kind(value.as_ref()) == kind::VARIABLE {
        heap.get(value.as_ref(), 1)
    } else {
        value
    };
    if value.is_empty() || value.is_cell() { Value::UNDEFINED } else { value }
}

impl Vm {
    fn found(&self, task: TaskHandle) -> Vec<Found> {
        let Some(blueprint) = self.blueprint_of(task) else { return Vec::new() };
        let Some((_, _, state)) = self.read(task) else { return Vec::new() };
        let module = blueprint.module();
        let mut all = Vec::new();
        for (fiber, of) in (0u32..).zip(&state.fibers) {
            if of.wait == Wait::Free {
                continue;
            }
            for (call, frame) in (0u32..).zip(&of.frames) {
                if frame.unit != 0 {
                    continue;
                }
                let Some(function) = function(module, frame.function) else { continue };
                let pc = frame.pc.saturating_sub(1);
                for local in function.locals.iter().filter(|l| l.start <= pc && pc < l.end) {
                    all.push(Found {
                        fiber,
                        call,
                        at: frame.base as usize + usize::from(local.register),
                        function: text(module, function.name),
                        name: text(module, local.name),
                    });
                }
            }
        }
        all
    }

    /// The variables of a task that doesn't run, calls from the outermost.
    #[must_use]
    pub fn locals(&self, task: TaskHandle) -> Vec<Local<'_>> {
        let Some((heap, local, state)) = self.read(task) else { return Vec::new() };
        let each = |found: Found| {
            let value = *state.fibers.get(found.fiber as usize)?.stack.get(found.at)?;
            let value = ValueRef { heap, local, value: held(heap, value) };
            let Found { fiber, call, function, name, .. } = found;
            Some(Local { fiber, call, function, name, value })
        };
        self.found(task).into_iter().filter_map(each).collect()
    }

    /// Where the fibers of a task that doesn't run wait: the innermost line of the app's own code of each.
    #[must_use]
    pub fn places(&self, task: TaskHandle) -> Vec<Place> {
        let Some(blueprint) = self.blueprint_of(task) else { return Vec::new() };
        let Some((_, _, state)) = self.read(task) else { return Vec::new() };
        let module = blueprint.module();
        let waits = |wait: Wait| matches!(wait, Wait::Effect(_) | Wait::Ready);
        let fibers = state.fibers.iter().filter(|fiber| waits(fiber.wait));
        let place = |fiber: &crate::fiber::Fiber| {
            let frame = fiber.frames.iter().rev().find(|frame| frame.unit == 0)?;
            let position = position_at(function(module, frame.function)?, frame.pc)?;
            let file = module.files.get(usize::from(position.file))?;
            let (line, column) = line_column(&file.text, position.start as usize);
            let text = file.text.lines().nth(line - 1).unwrap_or_default().trim();
            Some(Place { file: file.path.clone(), line, column, text: text.into() })
        };
        fibers.filter_map(place).collect()
    }

    /// Changes a variable of a task that doesn't run: `name`, or `function.name` where several calls have one. What a
    /// closure captured of a variable that never changes stays as it was.
    ///
    /// # Errors
    /// [`SetLocalError`].
    pub fn set_local(&mut self, task: TaskHandle, name: &str, value: &Plain) -> Result<(), SetLocalError> {
        let all = self.found(task);
        let named: Vec<&Found> =
            all.iter().filter(|found| &*found.name == name || found.path() == name).collect();
        let found = match named.as_slice() {
            [] => return Err(SetLocalError::Unknown(paths(all.iter()))),
            [only] => *only,
            several => return Err(SetLocalError::Several(paths(several.iter().copied()))),
        };
        let new = self.build_value(task, value).map_err(|error| SetLocalError::Value(error.to_string()))?;
        let Some((mem, state)) = self.parts(task) else { return Ok(()) };
        let Some(slot) =
            state.fibers.get_mut(found.fiber as usize).and_then(|fiber| fiber.stack.get_mut(found.at))
        else {
            return Ok(());
        };
        if slot.is_cell() && mem.heap.kind(slot.as_ref()) == kind::VARIABLE {
            mem.heap.set(slot.as_ref(), 1, new);
        } else {
            *slot = new;
        }
        Ok(())
    }
}
