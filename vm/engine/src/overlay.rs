//! A task's own copy of the built-in objects, made at its first write to one.
//!
//! ```text
//!   frozen arena of the intrinsics        shared by all threads, read-only
//!        | copied whole, once (some hundred KB)
//!        v
//!   overlay  |same words, same indexes|cells that changed objects need|......|
//!            word 0                    frozen end                    top    limit
//! ```
//!
//! A reference names a space and an index, so pointing the task's heap at the copy is all that
//! lookups, prototype walks and `===` need: an object keeps its reference and is read where it was
//! changed. Tasks that never write pay nothing, as nothing on their way asks whether there is a copy.
//! What a copy can't share is what a core has learned about frozen objects for everybody, inline
//! caches and globals: [`Mem::enter_overlay`] swaps them for the task's while it runs.

use crate::api::Trap;
use crate::heap::{Arena, Heap};
use crate::known::{GLOBALS, Known};
use crate::mem::Mem;
use crate::object::{Key, Own};
use crate::throw::Throw;
use crate::value::{Ref, Value, space};
use forebay_bytecode::Global;

/// Bytes that changed built-in objects may grow by.
const GROWTH_BYTES: usize = 16 << 20;
/// What a copy is charged for at once; its pages cost no more than the process's built-in objects.
const CHARGED_BYTES: usize = 64 << 10;

/// Which assumptions of fast paths a task has broken: bits of `Heap::touched`.
pub(crate) mod touched {
    /// A prototype has got an integer key or another prototype.
    pub(crate) const ELEMENTS: u8 = 1;
    /// How arrays or strings are iterated.
    pub(crate) const ITERATION: u8 = 2;
    /// Anything of Promise or its prototype, or a `then`.
    pub(crate) const PROMISE: u8 = 4;
    /// `toJSON` of what JSON.stringify writes by itself.
    pub(crate) const TO_JSON: u8 = 8;
    /// RegExp.prototype, or a symbol by which strings find regular expressions.
    pub(crate) const REGEXP: u8 = 16;
    /// `constructor`, Symbol.species or Symbol.isConcatSpreadable of anything.
    pub(crate) const SPECIES: u8 = 32;
    /// Any write at all.
    pub(crate) const ANY: u8 = 128;
}

/// The copy of a task.
pub(crate) struct Overlay {
    arena: Arena,
    /// Next free word.
    top: u32,
    /// The frozen words, for the heap's next task.
    frozen: *mut u64,
    /// The language's globals as this task sees them.
    globals: Box<[Value; GLOBALS]>,
}

#[expect(clippy::cast_possible_truncation, reason = "an arena has at most 2^32 words")]
impl Heap {
    /// Whether this task has changed a built-in object.
    #[inline(always)]
    pub(crate) fn has_overlay(&self) -> bool {
        self.touched != 0
    }

    /// Whether cells of this space may be written.
    #[inline(always)]
    pub(crate) fn writable(&self, of: u8) -> bool {
        of == self.own() || (of == space::INTRINSICS && self.touched != 0)
    }

    /// Makes the built-in objects writable for this task.
    #[cold]
    fn make_overlay(&mut self, globals: &[Value; GLOBALS]) -> Result<(), Throw> {
        self.charge_outside(CHARGED_BYTES)?;
        let bytes = self.intrinsics_bytes;
        let mut overlay = match self.overlay.take() {
            Some(overlay) => overlay,
            None => {
                let arena = Arena::reserve(bytes + GROWTH_BYTES).ok_or(Throw::Trap(Trap::Memory))?;
                Box::new(Overlay { arena, top: 0, frozen: std::ptr::null_mut(), globals: Box::new(*globals) })
            }
        };
        overlay.top = (bytes / 8) as u32;
        *overlay.globals = *globals;
        overlay.frozen = self.redirect(space::INTRINSICS, &overlay.arena, bytes);
        self.overlay = Some(overlay);
        self.touched = touched::ANY;
        Ok(())
    }

    /// Ends the copy; its address space stays for the heap's next task that needs one.
    pub(crate) fn drop_overlay(&mut self) {
        if self.touched == 0 {
            return;
        }
        self.touched = 0;
        if let Some(overlay) = &self.overlay {
            let (frozen, top) = (overlay.frozen, overlay.top);
            overlay.arena.trim(self.intrinsics_bytes, top as usize * 8);
            self.point_at(space::INTRINSICS, frozen);
        }
    }

    /// A new cell of the space that `of` names: the own one, or the overlay.
    pub(crate) fn alloc_in(&mut self, of: u8, words: u32, header: u64) -> Result<Ref, Throw> {
        if of == self.own() {
            return self.alloc(words, header);
        }
        self.charge_outside(words as usize * 8)?;
        let Some(overlay) = self.overlay.as_mut().filter(|_| self.touched != 0) else {
            return Err(Throw::Trap(Trap::Memory));
        };
        let at = overlay.top;
        if words as usize * 8 > overlay.arena.bytes() - at as usize * 8 {
            return Err(Throw::Trap(Trap::Memory));
        }
        overlay.top = at + words;
        let r = Ref::new(of, at);
        self.store(r, 0, header);
        Ok(r)
    }

    /// First word of a writable space that is not allocated.
    pub(crate) fn top_of(&self, of: u8) -> usize {
        if of == self.own() { self.top() } else { self.overlay.as_ref().map_or(0, |o| o.top as usize) }
    }
}

/// What a write to property `key` of a built-in object breaks; without a key its prototype or all of it.
fn broken(known: &Known, r: Ref, key: Option<Key>) -> u8 {
    let v = r.object();
    let all = touched::ELEMENTS
        | touched::ITERATION
        | touched::PROMISE
        | touched::TO_JSON
        | touched::REGEXP
        | touched::SPECIES;
    let key = match key {
        None => return touched::ANY | all,
        Some(Key::Index(_)) => return touched::ANY | touched::ELEMENTS,
        Some(Key::Atom(atom)) => atom,
    };
    let mut bits = touched::ANY;
    if key == known.to_json {
        bits |= touched::TO_JSON;
    }
    if key == known.sym_iterator || key == known.next {
        bits |= touched::ITERATION;
    }
    if [known.constructor, known.sym_species, known.sym_is_concat_spreadable].contains(&key) {
        bits |= touched::SPECIES | touched::PROMISE;
    }
    if v == known.promise || key == known.then || v == known.promise_constructor {
        bits |= touched::PROMISE;
    }
    let regexp_symbols =
        [known.sym_match, known.sym_match_all, known.sym_replace, known.sym_search, known.sym_split];
    if v == known.regexp || regexp_symbols.contains(&key) {
        bits |= touched::REGEXP;
    }
    bits
}

impl Mem<'_> {
    /// Before a change of `key` (none: of the prototype, or the whole) of an object that isn't the task's.
    #[cold]
    pub(crate) fn touch(&mut self, r: Ref, key: Option<Key>) -> Result<(), Throw> {
        if r.space() == space::BLUEPRINT {
            return Err(Throw::type_error(
                "module objects are immutable, as all requests share them: use kv",
            ));
        }
        if self.heap.own() != space::TASK || r.space() != space::INTRINSICS {
            return Err(Throw::type_error(
                "built-in objects can't be changed while a module loads: do it in the handler",
            ));
        }
        if !self.heap.has_overlay() {
            self.heap.make_overlay(&self.local.known.globals)?;
        }
        self.heap.touched |= broken(&self.local.known, r, key);
        self.enter_overlay();
        Ok(())
    }

    /// Swaps what the core has learned for what is right for this task, if it has an overlay. The spare
    /// caches only ever learn where an object's own properties are, which holds for every task.
    pub(crate) fn enter_overlay(&mut self) {
        if self.heap.has_overlay() && !self.local.in_overlay {
            self.swap_learned();
        }
    }

    /// The reverse, at the end of the slice.
    pub(crate) fn leave_overlay(&mut self) {
        if self.local.in_overlay {
            self.swap_learned();
        }
    }

    fn swap_learned(&mut self) {
        let local = &mut *self.local;
        for (caches, spare) in local.caches.iter_mut().zip(&mut local.overlay_caches) {
            spare.resize(caches.len(), crate::unit::Site::default());
            std::mem::swap(caches, spare);
        }
        local.point_hot();
        if let Some(overlay) = self.heap.overlay.as_mut() {
            std::mem::swap(&mut local.known.globals, &mut overlay.globals);
        }
        local.in_overlay = !local.in_overlay;
    }

    /// After a change of `key` of the global object: the numbered global of this name is what it says.
    #[cold]
    pub(crate) fn sync_global(&mut self, r: Ref, key: Key) -> Result<(), Throw> {
        let Key::Atom(atom) = key else { return Ok(()) };
        if r.object() != self.local.known.global_this || !atom.is_string() {
            return Ok(());
        }
        let name = self.heap.to_text(atom)?;
        if let Some(global) = Global::ALL.iter().find(|g| g.name() == name)
            && let Own::Data(v, _) = self.get_own(r, key)?
        {
            self.local.known.globals[*global as usize] = v;
        }
        Ok(())
    }
}
