//! What is needed to build and read values: a task's heap, and what its core
//! holds for the blueprint. Code that runs no script works on a [`Mem`]: sinks and
//! sources at the host boundary, JSON, objects, strings.
#![expect(clippy::cast_possible_truncation, reason = "packed words are taken apart by their width")]

use crate::heap::{Arena, Heap};
use crate::known::Known;
use crate::shape::Shapes;
use crate::string::{Atoms, WORKER_ARENA_BYTES};
use crate::unit::{Cache, Hot, MEMBERS, Member, Site, Unit};
use crate::value::{Ref, Value, space};
use std::sync::Arc;

/// A frozen space: built once, shared by all cores.
#[derive(Clone, Default)]
pub(crate) struct Frozen {
    pub(crate) arena: Option<Arc<Arena>>,
    pub(crate) atoms: Option<Arc<Atoms>>,
}

/// What a core holds for one blueprint: shapes and keys it has learned, inline
/// caches, module variables. Lives as long as the blueprint is adopted.
pub(crate) struct Local {
    /// By space: TASK is empty, then blueprint and intrinsics.
    pub(crate) frozen: [Frozen; 3],
    pub(crate) shapes: Shapes,
    /// Keys learned at run time.
    pub(crate) worker: Heap,
    /// Code: of the blueprint, of the intrinsics.
    pub(crate) units: [Arc<Unit>; 2],
    /// Module variables, by unit.
    pub(crate) slots: [Vec<Value>; 2],
    /// What `SetHandler` stored.
    pub(crate) handlers: Vec<Value>,
    /// Inline caches, by unit and site.
    pub(crate) caches: [Vec<Site>; 2],
    /// The same for operations without a site: see [`Member`].
    pub(crate) members: Box<[Member; MEMBERS]>,
    /// Functions as the loop calls them, by unit; made by `set_unit`.
    pub(crate) hot: [Box<[Hot]>; 2],
    /// The caches of tasks that have changed a built-in object, and whether they are the ones in use.
    pub(crate) overlay_caches: [Vec<Site>; 2],
    pub(crate) in_overlay: bool,
    pub(crate) known: Known,
    /// `init` runs: module variables may be set, the host may not be called.
    pub(crate) loading: bool,
    /// The last row's columns (address, length) and what was derived from them.
    pub(crate) row: RowShape,
    pub(crate) requests: crate::request::Shapes,
    /// Buffers of the JSON reader and writer.
    pub(crate) json: Option<Box<crate::builtins::json::Scratch>>,
    /// Callee, this and arguments of a [`crate::throw::Throw::TailCall`]; arguments of an effect.
    pub(crate) tail: Vec<Value>,
    /// What is known of short bodies and answers.
    pub(crate) flat: Box<crate::builtins::flat::Flat>,
    /// Comparators that `sort` has read.
    pub(crate) comparators: crate::builtins::comparator::Comparators,
    /// Natives that may be called without a call, by number.
    pub(crate) quick: &'static [Option<crate::builtins::quick::Quick>],
    /// Compiled regular expressions.
    pub(crate) regexes: crate::builtins::regexp::Regexes,
    /// Imports of restored tasks (snapshot/imports.rs).
    pub(crate) imports: crate::snapshot::Remembered,
    /// Buffers of a restoration.
    pub(crate) restoring: crate::snapshot::Restoring,
}

/// The shape of the rows of the result that is being received.
#[derive(Default)]
pub(crate) struct RowShape {
    pub(crate) columns: (usize, usize),
    pub(crate) keys: Vec<Value>,
    pub(crate) shape: Option<u32>,
}

impl Local {
    pub(crate) fn new(
        frozen: [Frozen; 3],
        shapes: Shapes,
        units: [Arc<Unit>; 2],
        slots: [Vec<Value>; 2],
        handlers: Vec<Value>,
        known: Known,
    ) -> Option<Self> {
        let worker = Heap::new(Arena::reserve(WORKER_ARENA_BYTES)?, space::WORKER);
        let row = RowShape::default();
        let json = Some(Box::default());
        let mut local = Self {
            frozen,
            shapes,
            worker,
            units,
            slots,
            handlers,
            caches: Default::default(),
            members: Box::new([Member::default(); MEMBERS]),
            hot: Default::default(),
            overlay_caches: [Vec::new(), Vec::new()],
            in_overlay: false,
            known,
            loading: false,
            row,
            requests: crate::request::Shapes::default(),
            json,
            tail: Vec::new(),
            flat: Box::default(),
            comparators: crate::builtins::comparator::Comparators::default(),
            quick: crate::builtins::quick::table(),
            regexes: crate::builtins::regexp::Regexes::default(),
            imports: crate::snapshot::Remembered::default(),
            restoring: crate::snapshot::Restoring::default(),
        };
        for at in 0..2 {
            local.set_unit(at, Arc::clone(&local.units[at]));
        }
        Some(local)
    }

    /// Puts a unit in place, with fresh caches. No task may be running.
    pub(crate) fn set_unit(&mut self, at: usize, unit: Arc<Unit>) {
        self.comparators.clear();
        self.caches[at] = unit.new_caches();
        self.hot[at] = unit.hot(at as u8);
        self.units[at] = unit;
        self.point_hot();
    }

    /// Tells the hot tables where the caches are that are in use now.
    pub(crate) fn point_hot(&mut self) {
        for (hot, caches) in self.hot.iter_mut().zip(&mut self.caches) {
            for function in hot {
                function.caches = caches[function.site_base as usize..].as_mut_ptr();
            }
        }
    }

    /// Teaches a site.
    pub(crate) fn learn(&mut self, unit: usize, site: usize, cache: Cache) {
        let caches = &mut self.caches[unit][site];
        if caches[0].header != cache.header || caches[0].proto != cache.proto {
            caches[1] = caches[0];
        }
        caches[0] = cache;
    }

    /// Where what is known of a member stands.
    #[inline(always)]
    fn member_at(header: u64, name: Value) -> usize {
        ((header >> 32) ^ name.bits()) as usize % MEMBERS
    }

    /// What is known of a property of objects with this header.
    #[inline(always)]
    pub(crate) fn member(&self, header: u64, name: Value) -> Option<&Member> {
        let member = &self.members[Self::member_at(header, name)];
        (member.header == header && member.name == name).then_some(member)
    }

    /// Remembers that.
    pub(crate) fn learn_member(&mut self, member: Member) {
        self.members[Self::member_at(member.header, member.name)] = member;
    }

    /// Lets a task's heap resolve references into everything it may see.
    pub(crate) fn show(&self, heap: &mut Heap) {
        for (number, frozen) in (0u8..).zip(&self.frozen) {
            if let Some(arena) = &frozen.arena {
                heap.see(number, arena);
            }
        }
        heap.see(space::WORKER, self.worker.arena());
    }
}

/// A heap and what goes with it.
pub(crate) struct Mem<'a> {
    pub(crate) heap: &'a mut Heap,
    pub(crate) local: &'a mut Local,
}

impl Mem<'_> {
    /// The unit of code and the index in it that a closure's word 3 names.
    #[inline(always)]
    pub(crate) fn function_of(&self, closure: Ref) -> (usize, u32) {
        let word = self.heap.load(closure, 3);
        (usize::from(word & crate::unit::INTRINSIC != 0), word as u32 & 0x7fff_ffff)
    }

    /// The short form of a native, if it has one.
    #[inline(always)]
    pub(crate) fn quick_of(&self, native: Ref) -> Option<crate::builtins::quick::Quick> {
        self.local.quick.get(self.heap.load(native, 3) as usize).copied().flatten()
    }

    /// False for a function that can't see what it is called with.
    pub(crate) fn takes_arguments(&self, function: Value) -> bool {
        if self.kind_of(function) != Some(crate::heap::kind::CLOSURE) {
            return true;
        }
        let (unit, index) = self.function_of(function.as_ref());
        let function = self.local.units.get(unit).and_then(|unit| unit.functions().get(index as usize));
        function.is_none_or(|f| f.parameters > 0 || f.rest.is_some() || f.arguments_register().is_some())
    }
}
