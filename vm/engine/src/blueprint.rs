//! A loaded blueprint: code and what its top level built, frozen and shared by all cores.

use crate::api::{Clock, Entry, ErrorReport, LoadError, NoHost, Trap};
use crate::ctx::Ctx;
use crate::fiber::TaskState;
use crate::heap::{Arena, Heap};
use crate::intrinsics::{Intrinsics, intrinsics};
use crate::mem::{Frozen, Local, Mem};
use crate::shape::{ShapeTable, Shapes};
use crate::snapshot::Names;
use crate::throw::Throw;
use crate::unit::Unit;
use crate::value::{Value, space};
use forebay_base::limits::TaskLimits;
use forebay_bytecode::{HostFn, Module, Op, Verified};
use std::sync::{Arc, OnceLock};

/// A module that is ready to run. Immutable; tasks of any thread may use it.
pub struct Blueprint {
    module: Verified,
    frozen: Frozen,
    shapes: Arc<ShapeTable>,
    unit: Arc<Unit>,
    slots: Vec<Value>,
    handlers: Vec<Value>,
    /// Somewhere in the code `payload()` or `req` is asked for.
    asks: bool,
    /// By handler: it can see what it is called with.
    takes: Box<[bool]>,
    intrinsics: &'static Intrinsics,
    /// What snapshots call its cells; found when the first is made.
    names: OnceLock<Names>,
    hash: OnceLock<[u8; 32]>,
}

impl Blueprint {
    /// Loads a module: makes its constants and runs its top level, within the default
    /// budgets of a task. The first call in a process builds the built-in objects.
    pub fn load(module: &Verified) -> Result<Arc<Blueprint>, LoadError> {
        Self::load_as(module, true)
    }

    /// The same without superinstructions: slower, and otherwise no different. For tests, and for whoever
    /// doubts an optimisation.
    pub fn load_unfused(module: &Verified) -> Result<Arc<Blueprint>, LoadError> {
        Self::load_as(module, false)
    }

    fn load_as(module: &Verified, fused: bool) -> Result<Arc<Blueprint>, LoadError> {
        let intrinsics = intrinsics().map_err(|message| {
            let code = Trap::Exception.code().into();
            LoadError::Init(Box::new(ErrorReport { code, message: message.into(), ..ErrorReport::default() }))
        })?;
        let limits = TaskLimits::default();
        let arena = Arena::reserve(limits.memory).ok_or(LoadError::NoMemory)?;
        let mut heap = Heap::new(arena, space::BLUEPRINT);
        let shapes = Shapes::new(space::BLUEPRINT, [None, None, Some(Arc::clone(&intrinsics.shapes))]);
        let frozen = [Frozen::default(), Frozen::default(), intrinsics.frozen.clone()];
        let units = [Arc::new(Unit::empty()), Arc::clone(&intrinsics.unit)];
        let slots = [Vec::new(), intrinsics.slots.clone()];
        let handlers = vec![Value::UNDEFINED; module.handler_slots as usize];
        let mut local = Local::new(frozen, shapes, units, slots, handlers, intrinsics.known)
            .ok_or(LoadError::NoMemory)?;
        local.show(&mut heap);
        let mut mem = Mem { heap: &mut heap, local: &mut local };
        let unit = Unit::load(&mut mem, module.clone(), fused).map_err(|_| LoadError::NoMemory)?;
        mem.local.slots[0] = unit.new_slots();
        mem.local.set_unit(0, Arc::new(unit));
        if let Some(init) = module.init {
            mem.local.loading = true;
            run_init(&mut mem, init.0, &limits)?;
            mem.local.loading = false;
        }
        let unit = Arc::clone(&mem.local.units[0]);
        mem.settle_namespaces(&unit).map_err(|_| LoadError::NoMemory)?;
        let takes = mem.local.handlers.iter().map(|handler| mem.takes_arguments(*handler)).collect();
        let slots = std::mem::take(&mut local.slots[0]);
        let handlers = std::mem::take(&mut local.handlers);
        let shapes = Arc::new(local.shapes.into_own());
        let (arena, atoms) = heap.into_frozen();
        let frozen = Frozen { arena: Some(Arc::new(arena)), atoms: Some(Arc::new(atoms)) };
        Ok(Arc::new(Self {
            module: module.clone(),
            frozen,
            shapes,
            unit,
            slots,
            handlers,
            asks: asks_for_request(module),
            takes,
            intrinsics,
            names: OnceLock::new(),
            hash: OnceLock::new(),
        }))
    }

    /// The module: its works and routes.
    #[must_use]
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// Whether a task of this entry can see anything of its request.
    #[must_use]
    pub fn sees_request(&self, entry: Entry) -> bool {
        self.asks || matches!(entry, Entry::Handler(slot) if self.takes_request(slot))
    }

    /// Whether this handler can see what it is called with.
    pub(crate) fn takes_request(&self, slot: u32) -> bool {
        self.takes.get(slot as usize).copied().unwrap_or(true)
    }

    /// The module's content hash: names the blueprint in snapshots.
    #[must_use]
    pub fn content_hash(&self) -> [u8; 32] {
        *self.hash.get_or_init(|| forebay_bytecode::content_hash(&self.module))
    }

    /// What snapshots call its cells.
    pub(crate) fn names(&self, heap: &Heap, local: &Local) -> &Names {
        self.names.get_or_init(|| Names::of_blueprint(heap, local))
    }

    /// What a core holds for it.
    pub(crate) fn local(&self) -> Option<Local> {
        let shapes = Shapes::new(
            space::TASK,
            [None, Some(Arc::clone(&self.shapes)), Some(Arc::clone(&self.intrinsics.shapes))],
        );
        let frozen = [Frozen::default(), self.frozen.clone(), self.intrinsics.frozen.clone()];
        let units = [Arc::clone(&self.unit), Arc::clone(&self.intrinsics.unit)];
        let slots = [self.slots.clone(), self.intrinsics.slots.clone()];
        Local::new(frozen, shapes, units, slots, self.handlers.clone(), self.intrinsics.known)
    }
}

/// [`forebay_bytecode::module::uses`] speaks of parameters as well, whichever handler has them.
fn asks_for_request(module: &Module) -> bool {
    let asks = [HostFn::Payload as u16, HostFn::Req as u16];
    let mut code = module.functions.iter().flat_map(|function| &function.code);
    code.any(|instr| instr.op() == Some(Op::HostCall) && asks.contains(&instr.c()))
}

impl std::fmt::Debug for Blueprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.module.files.first().map_or("", |file| &file.path);
        f.debug_struct("Blueprint").field("file", &name).finish_non_exhaustive()
    }
}

fn run_init(mem: &mut Mem<'_>, init: u32, limits: &TaskLimits) -> Result<(), LoadError> {
    let function = mem.new_closure(0, init).map_err(|_| LoadError::NoMemory)?.object();
    let mut task = TaskState::new();
    let mut ctx = Ctx {
        mem: Mem { heap: mem.heap, local: mem.local },
        task: &mut task,
        host: &mut NoHost,
        clock: Clock::default(),
        current: 0,
        stack: Vec::new(),
        stack_limit: 0,
        parked: Vec::new(),
        frames: Vec::new(),
        fuel: i64::try_from(limits.fuel).unwrap_or(i64::MAX),
        callee: Value::UNDEFINED,
        resumed: Value::EMPTY,
    };
    let report = match ctx.run_to_end(function, &[]) {
        Ok(_) => return Ok(()),
        Err(Throw::Value(v)) => ctx.mem.error_report(v, Trap::Exception.code()),
        Err(Throw::Trap(t)) => ErrorReport {
            code: t.code().into(),
            message: "the module's top level used up its budget".into(),
            ..ErrorReport::default()
        },
        Err(other) => ErrorReport { message: format!("{other:?}").into(), ..ErrorReport::default() },
    };
    Err(LoadError::Init(Box::new(report)))
}
