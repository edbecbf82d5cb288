//! Arenas and the words in them.
//!
//! A task's memory is one region of reserved address space that fills from the
//! bottom: an allocation moves `top`, the end of the task sets it back. Nothing
//! moves while a task runs and nothing is freed, so a reference is an index and
//! growth copies nothing. Pages that an outlier touched go back to the kernel at reset.
//!
//! ```text
//!   base                top            limit                reserved end
//!    |xxxxxxxxxxxxxxxxxxx|..............|....................|
//!    word 0 is never allocated: index 0 means "none" in packed fields
//! ```
//!
//! A cell starts with a header word: kind (bits 0-7), flags (8-15), a small
//! number (16-23), and 32 bits whose meaning is the kind's (a shape, a length).
#![expect(unsafe_code, reason = "words of an arena are read and written through pointers; see Safety below")]
// Safety. Every `Ref` comes from `Heap::alloc` of the space it names (constructors
// are crate-private) and is used only while that space lives: a task's references
// die with the task, blueprint and intrinsics are kept alive by `Local`. Offsets
// inside a cell follow from its kind. Debug builds check bounds on each access;
// frozen spaces are also mapped read-only, so a stray store faults at once.

use crate::api::Trap;
use crate::crumbs::Crumbs;
use crate::overlay::Overlay;
use crate::string::Atoms;
use crate::throw::Throw;
use crate::value::{Ref, Value, space};

/// The kinds, and a list of them: whoever adds one is told by a test to teach the snapshots about it.
macro_rules! kinds {
    ($($(#[$meta:meta])* pub(crate) const $name:ident: u8 = $number:literal;)*) => {
        $($(#[$meta])* pub(crate) const $name: u8 = $number;)*
        /// All of them, with their names.
        pub(crate) const ALL: &[(u8, &str)] = &[$(($name, stringify!($name))),*];
    };
}

/// What a cell is: bits 0-7 of its header.
pub(crate) mod kind {
    kinds! {
        pub(crate) const STRING: u8 = 1;
        pub(crate) const ROPE: u8 = 2;
        /// A rope that was flattened: word 2 is the flat string.
        pub(crate) const FLATTENED: u8 = 3;
        pub(crate) const SYMBOL: u8 = 4;
        pub(crate) const BIGINT: u8 = 5;
        /// A captured variable: word 1 is its value.
        pub(crate) const VARIABLE: u8 = 6;
        /// Getter and setter.
        pub(crate) const ACCESSOR: u8 = 7;
        /// Bytes of a `Const::Data`, or of a byte string.
        pub(crate) const DATA: u8 = 8;
        /// Values: slots out of line, or dense elements; the header's upper half is the capacity.
        pub(crate) const VALUES: u8 = 9;
        /// Ordered hash table (dict.rs).
        pub(crate) const DICT: u8 = 10;
        /// A promise reaction (promise.rs).
        pub(crate) const REACTION: u8 = 11;

        // Objects. `is_object` relies on the order.
        pub(crate) const OBJECT: u8 = 32;
        pub(crate) const ARRAY: u8 = 33;
        /// A script function: word 3 = function index; upvalues from word 4.
        pub(crate) const CLOSURE: u8 = 34;
        /// A native function: word 3 = index into the table; word 4 = a value of its own.
        pub(crate) const NATIVE: u8 = 35;
        /// `fn.bind(...)`: word 3 = count; word 4 target, 5 this, then arguments.
        pub(crate) const BOUND: u8 = 36;
        pub(crate) const ERROR: u8 = 37;
        /// Word 4: the primitive.
        pub(crate) const BOXED: u8 = 38;
        /// Word 4: milliseconds as a Number; word 5: microseconds beyond them, as an integer.
        pub(crate) const DATE: u8 = 39;
        /// Word 4: a DICT cell.
        pub(crate) const MAP: u8 = 40;
        pub(crate) const SET: u8 = 41;
        /// Word 3: state; word 4: value; word 5: reactions.
        pub(crate) const PROMISE: u8 = 42;
        pub(crate) const REGEXP: u8 = 43;
        /// Word 4: digits as a string.
        pub(crate) const DECIMAL: u8 = 44;
        /// Word 4: array of operations.
        pub(crate) const QUERY: u8 = 45;
        /// Word 3: status; word 4: body; word 5: headers object or undefined; word 6: content type or undefined.
        pub(crate) const RESPONSE: u8 = 46;
        /// Word 4: a DATA cell.
        pub(crate) const BYTES: u8 = 47;
        /// An iterator of the engine's own: word 4 = what it walks, word 5 = position.
        pub(crate) const ITERATOR: u8 = 48;
        /// A generator (generator.rs): word 3: state and pc; word 4: closure; word 5: registers; word 6, 7: requests.
        pub(crate) const GENERATOR: u8 = 49;
    }
}

/// Words of a cell before the inline slots of an object.
pub(crate) const OBJECT_WORDS: u32 = 4;

/// Reserved address space. Unmapped on drop.
pub(crate) struct Arena {
    base: *mut u64,
    bytes: usize,
}

// SAFETY: an Arena owns its mapping; sharing `&Arena` gives no access to its words.
unsafe impl Send for Arena {}
// SAFETY: as above; words are reached through a `Heap`, and shared arenas are frozen before they are shared.
unsafe impl Sync for Arena {}

const PAGE: usize = 4096;
/// Bytes of a huge page.
const HUGE: usize = 2 << 20;
/// Behind so many bytes an arena asks for huge pages (madvise(2) MADV_HUGEPAGE): each page that a task touches for the first time costs
/// it a fault, and one that needs so much is going to touch hundreds. Smaller tasks keep small pages.
const SMALL: usize = 1 << 20;

impl Arena {
    /// Reserves `bytes` (rounded up to pages, at most 32 GiB).
    pub(crate) fn reserve(bytes: usize) -> Option<Self> {
        let bytes = bytes.clamp(PAGE, 32 << 30).next_multiple_of(PAGE);
        // SAFETY: an anonymous private mapping at an address of the kernel's choice touches no memory of ours.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return None;
        }
        if bytes > SMALL {
            // SAFETY: the range lies in our new mapping. A kernel that has no huge pages refuses: that changes nothing.
            unsafe { libc::madvise(base.cast::<u8>().add(SMALL).cast(), bytes - SMALL, libc::MADV_HUGEPAGE) };
        }
        Some(Self { base: base.cast(), bytes })
    }

    /// Gives the pages from `keep` to `used` bytes back to the kernel.
    pub(crate) fn trim(&self, keep: usize, used: usize) {
        let from = keep.next_multiple_of(PAGE).min(self.bytes);
        // Whole huge pages: a part of one that stayed would have to be split.
        let to = if used > SMALL {
            (self.base.addr() + used).next_multiple_of(HUGE) - self.base.addr()
        } else {
            used.next_multiple_of(PAGE)
        };
        let to = to.min(self.bytes);
        if from < to {
            // SAFETY: the range lies in our mapping and `&self` of an unfrozen arena has no live references.
            unsafe {
                libc::madvise(self.base.cast::<u8>().add(from).cast(), to - from, libc::MADV_DONTNEED);
            }
        }
    }

    /// Bytes of the reservation.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes the first `used` bytes read-only and gives the rest of the reservation back.
    fn freeze(&mut self, used: usize) {
        let used = used.next_multiple_of(PAGE).clamp(PAGE, self.bytes);
        // SAFETY: both ranges lie in our mapping; nobody writes to a frozen arena (`Heap::store` checks the space).
        unsafe {
            if used < self.bytes {
                libc::munmap(self.base.cast::<u8>().add(used).cast(), self.bytes - used);
                self.bytes = used;
            }
            libc::mprotect(self.base.cast(), used, libc::PROT_READ);
        }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: base and bytes are those of our mapping, and whoever drops an arena holds no reference into it.
        unsafe {
            libc::munmap(self.base.cast(), self.bytes);
        }
    }
}

/// Whether loops and calls charge fuel and allocations look at the limit. Off only in a build that measures what that
/// costs: its arenas are reserved far larger than anything that it runs.
pub(crate) const METERED: bool = !cfg!(feature = "unmetered");

/// More fuel than any slice has.
const PRESSURE: u64 = 1 << 48;

/// All memory that a running task sees: its own arena, and the frozen ones.
pub(crate) struct Heap {
    bases: [*mut u64; 4],
    /// Next free word of the own arena.
    top: u32,
    /// Where `alloc` stops and looks: the soft limit until that is reached, then the hard one.
    limit: u32,
    /// `top` never passes it.
    hard: u32,
    /// Which space `alloc` fills: TASK, or the one under construction.
    own: u8,
    arena: Arena,
    /// Bytes that stacks of this task hold outside the arena; they count against the limit.
    outside: usize,
    /// Interned strings of the own space.
    pub(crate) atoms: Atoms,
    /// Fuel that work inside natives has cost since the interpreter last looked.
    pub(crate) work: u64,
    /// How much of that, or of what was settled since, was no work: see `pass_soft_limit`.
    owed: u64,
    /// What the task has changed of the built-in objects (overlay.rs); 0: nothing, there is no overlay.
    pub(crate) touched: u8,
    /// The task's copy of the built-in objects, or one that an earlier task has left.
    pub(crate) overlay: Option<Box<Overlay>>,
    /// Bytes of the frozen built-in objects.
    pub(crate) intrinsics_bytes: usize,
    /// Whose spaces it sees: a number of the machine's own, 0 for none.
    pub(crate) shown: u64,
    pub(crate) crumbs: Crumbs,
}

#[expect(clippy::cast_possible_truncation, reason = "an arena has at most 2^32 words")]
impl Heap {
    /// A heap whose own space is `own`.
    pub(crate) fn new(arena: Arena, own: u8) -> Self {
        let mut bases = [std::ptr::null_mut(); 4];
        bases[own as usize] = arena.base;
        let limit = (arena.bytes / 8).min(u32::MAX as usize) as u32;
        Self {
            bases,
            top: 1,
            limit,
            hard: limit,
            own,
            arena,
            outside: 0,
            atoms: Atoms::default(),
            work: 0,
            owed: 0,
            touched: 0,
            overlay: None,
            intrinsics_bytes: 0,
            shown: 0,
            crumbs: Crumbs::default(),
        }
    }

    /// Lets references into a frozen (or the worker's) arena resolve.
    pub(crate) fn see(&mut self, of: u8, arena: &Arena) {
        debug_assert!(of != self.own);
        debug_assert!(self.touched == 0, "an overlay is in use");
        self.bases[of as usize] = arena.base;
        if of == space::INTRINSICS {
            self.intrinsics_bytes = arena.bytes;
        }
    }

    /// Copies the first `bytes` of a space into `arena` and lets its references resolve there; returns where
    /// they resolved before, for [`Heap::point_at`].
    pub(crate) fn redirect(&mut self, of: u8, arena: &Arena, bytes: usize) -> *mut u64 {
        assert!(of != self.own && bytes <= arena.bytes);
        let frozen = self.bases[of as usize];
        // SAFETY: the space is frozen and `bytes` long (`see` noted its size); the target is as large (asserted),
        // ours alone, and elsewhere.
        unsafe { std::ptr::copy_nonoverlapping(frozen.cast_const(), arena.base, bytes / 8) };
        self.bases[of as usize] = arena.base;
        frozen
    }

    /// Undoes [`Heap::redirect`].
    pub(crate) fn point_at(&mut self, of: u8, base: *mut u64) {
        self.bases[of as usize] = base;
    }

    /// Next free word of the own arena.
    pub(crate) fn top(&self) -> usize {
        self.top as usize
    }

    /// Sets the byte limit, and the soft one to half of it.
    pub(crate) fn set_limit(&mut self, bytes: usize) {
        self.hard = (bytes.min(self.arena.bytes) / 8).clamp(1, u32::MAX as usize) as u32;
        self.limit = self.hard / 2;
    }

    /// The task has passed its soft limit: evacuate.rs.
    pub(crate) fn is_pressed(&self) -> bool {
        self.limit == self.hard
    }

    /// Stops again at `bytes`, or never if that is near the hard limit.
    pub(crate) fn set_soft_limit(&mut self, bytes: usize) {
        let words = (bytes / 8).clamp(1, u32::MAX as usize) as u32;
        self.limit = if words > self.hard - self.hard / 16 { self.hard } else { words.max(self.top) };
    }

    /// Bytes of the hard limit.
    pub(crate) fn hard_limit(&self) -> usize {
        self.hard as usize * 8
    }

    /// Bytes of the reservation.
    pub(crate) fn reserved(&self) -> usize {
        self.arena.bytes
    }

    /// Bytes allocated.
    pub(crate) fn used(&self) -> usize {
        self.top as usize * 8 + self.outside
    }

    /// Counts `bytes` of a stack.
    pub(crate) fn charge_outside(&mut self, bytes: usize) -> Result<(), Throw> {
        self.outside += bytes;
        if METERED && self.used() > self.hard as usize * 8 { Err(Throw::Trap(Trap::Memory)) } else { Ok(()) }
    }

    /// A stack of that many bytes has gone.
    pub(crate) fn release_outside(&mut self, bytes: usize) {
        self.outside = self.outside.saturating_sub(bytes);
    }

    /// Forgets everything; keeps at most `keep` bytes resident.
    #[inline]
    pub(crate) fn reset(&mut self, keep: usize) {
        let used = self.top as usize * 8;
        if used > keep {
            self.arena.trim(keep, used);
        }
        self.top = 1;
        self.outside = 0;
        self.work = 0;
        self.owed = 0;
        self.atoms.clear();
        self.drop_overlay();
        self.crumbs.clear();
    }

    /// Makes words `1..top` of an empty heap the caller's to write, as a snapshot has them.
    pub(crate) fn set_top(&mut self, top: u32) -> Result<(), Throw> {
        if top == 0 || top > self.hard {
            return Err(Throw::Trap(Trap::Memory));
        }
        self.top = top;
        Ok(())
    }

    /// Ends construction: the arena becomes read-only.
    pub(crate) fn into_frozen(self) -> (Arena, Atoms) {
        let used = self.top as usize * 8;
        let mut arena = self.arena;
        arena.freeze(used);
        (arena, self.atoms)
    }

    /// The own arena, for another heap to see.
    pub(crate) fn arena(&self) -> &Arena {
        &self.arena
    }

    /// Which space scripts may write to.
    #[inline(always)]
    pub(crate) fn own(&self) -> u8 {
        self.own
    }

    /// A new cell of `words` words, its header written, the rest to be written by the caller.
    #[inline(always)]
    pub(crate) fn alloc(&mut self, words: u32, header: u64) -> Result<Ref, Throw> {
        let at = self.top;
        if METERED && words > self.limit.saturating_sub(at) {
            self.pass_soft_limit(words)?;
        }
        self.top = at + words;
        let r = Ref::new(self.own, at);
        // SAFETY: at < limit <= hard <= reserved words.
        unsafe { *self.bases[self.own as usize].add(at as usize) = header };
        Ok(r)
    }

    /// A new cell whose first words are these, the rest to be written by the caller.
    #[inline(always)]
    pub(crate) fn alloc_object(
        &mut self,
        words: u32,
        start: [u64; OBJECT_WORDS as usize],
    ) -> Result<Ref, Throw> {
        assert!(words >= OBJECT_WORDS);
        let at = self.top;
        if METERED && words > self.limit.saturating_sub(at) {
            self.pass_soft_limit(words)?;
        }
        self.top = at + words;
        let r = Ref::new(self.own, at);
        // SAFETY: at + words <= limit <= hard <= reserved words, and at least these are the cell's (asserted above).
        unsafe {
            *self.bases[self.own as usize].add(r.index() as usize).cast::<[u64; OBJECT_WORDS as usize]>() =
                start
        };
        Ok(r)
    }

    /// Undoes the allocations since [`Heap::top`] was this; nobody may have kept a reference to one.
    pub(crate) fn rewind(&mut self, top: usize) {
        debug_assert!(top <= self.top as usize && top > 0);
        self.top = self.top.min(top as u32);
    }

    /// `words` more pass `limit`. Once per soft limit the slice is made to end soon, by fuel that `Vm::run` gives
    /// back.
    #[cold]
    fn pass_soft_limit(&mut self, words: u32) -> Result<(), Throw> {
        if words > self.hard.saturating_sub(self.top) {
            return Err(Throw::Trap(Trap::Memory));
        }
        if self.limit != self.hard {
            self.limit = self.hard;
            self.work += PRESSURE;
            self.owed += PRESSURE;
        }
        Ok(())
    }

    /// Fuel that was charged to end the slice: the caller gives it back.
    pub(crate) fn take_owed(&mut self) -> u64 {
        std::mem::take(&mut self.owed)
    }

    /// Bytes that may still be allocated.
    pub(crate) fn free_bytes(&self) -> usize {
        (self.hard as usize * 8).saturating_sub(self.used())
    }

    /// Fails as `alloc(words)` would, without allocating: for natives that know the size of their result.
    pub(crate) fn check_room(&self, bytes: usize) -> Result<(), Throw> {
        let free = (self.hard - self.top.min(self.hard)) as usize * 8;
        if METERED && bytes > free { Err(Throw::Trap(Trap::Memory)) } else { Ok(()) }
    }

    /// Grows the newest cell in place by `more` words, if `r` with `words` words is the newest.
    pub(crate) fn extend(&mut self, r: Ref, words: u32, more: u32) -> bool {
        let fits = r.space() == self.own
            && r.index() + words == self.top
            && more <= self.limit.saturating_sub(self.top);
        if fits {
            self.top += more;
        }
        fits
    }

    #[inline(always)]
    fn at(&self, r: Ref, offset: u32) -> *mut u64 {
        debug_assert!(!self.bases[r.space() as usize].is_null(), "space {} is not there", r.space());
        debug_assert!(r.space() != self.own || r.index() + offset <= self.top, "beyond the arena");
        debug_assert!(r.index() != 0, "null reference");
        // SAFETY: `r` names a cell of a live space and `offset` a word of it (see Safety above).
        unsafe { self.bases[r.space() as usize].add(r.index() as usize + offset as usize) }
    }

    /// Word `offset` of a cell.
    #[inline(always)]
    pub(crate) fn load(&self, r: Ref, offset: u32) -> u64 {
        // SAFETY: `at` points to an initialised word of a live space.
        unsafe { *self.at(r, offset) }
    }

    /// Writes word `offset` of a cell of the own space.
    #[inline(always)]
    pub(crate) fn store(&mut self, r: Ref, offset: u32, word: u64) {
        assert!(r.space() == self.own || self.writable(r.space()), "store to a frozen space");
        // SAFETY: `at` points to a word of the own arena or overlay, which nobody else reads or writes.
        unsafe { *self.at(r, offset) = word };
    }

    /// A value in a cell.
    #[inline(always)]
    pub(crate) fn get(&self, r: Ref, offset: u32) -> Value {
        Value::from_bits(self.load(r, offset))
    }

    /// Writes a value into a cell of the own space.
    #[inline(always)]
    pub(crate) fn set(&mut self, r: Ref, offset: u32, value: Value) {
        self.store(r, offset, value.bits());
    }

    /// The header.
    #[inline(always)]
    pub(crate) fn header(&self, r: Ref) -> u64 {
        self.load(r, 0)
    }

    /// The kind of a cell.
    #[inline(always)]
    pub(crate) fn kind(&self, r: Ref) -> u8 {
        self.load(r, 0) as u8
    }

    /// `len` bytes from word `offset` of a cell.
    #[inline(always)]
    pub(crate) fn bytes(&self, r: Ref, offset: u32, len: usize) -> &[u8] {
        // SAFETY: the cell holds `len` bytes from there on (its header says so); `&self` keeps the arena
        // alive, and cells with bytes are never written after they were made.
        unsafe { std::slice::from_raw_parts(self.at(r, offset).cast_const().cast::<u8>(), len) }
    }

    /// The same, to fill a cell that was just made.
    pub(crate) fn bytes_mut(&mut self, r: Ref, offset: u32, len: usize) -> &mut [u8] {
        assert!(self.writable(r.space()));
        let words = len.div_ceil(8);
        assert!(r.index() as usize + offset as usize + words <= self.top_of(r.space()));
        // SAFETY: inside the own arena or overlay (asserted); `&mut self` makes it the only access; memory from
        // mmap is always initialised.
        unsafe { std::slice::from_raw_parts_mut(self.at(r, offset).cast::<u8>(), len) }
    }

    /// Lets `fill` write `len` bytes from word `offset` of a cell that was just made, and read older cells meanwhile: the new one
    /// it has as a slice only.
    #[inline(always)]
    pub(crate) fn fill_bytes(
        &mut self,
        r: Ref,
        offset: u32,
        len: usize,
        fill: impl FnOnce(&Self, &mut [u8]),
    ) {
        assert!(
            r.space() == self.own && r.index() as usize + offset as usize + len.div_ceil(8) <= self.top()
        );
        // SAFETY: inside the own arena (asserted); `&mut self` makes it the only access but for those of `fill`, which reads
        // cells through references that scripts have: none to this one yet. Memory from mmap is always initialised.
        let out = unsafe { std::slice::from_raw_parts_mut(self.at(r, offset).cast::<u8>(), len) };
        fill(self, out);
    }

    /// Lets `fill` write up to `most` bytes behind the first two words of the next cell, and read other cells meanwhile; the caller
    /// makes that cell of them, or doesn't. None, and nothing has happened, if there is no room before the limit.
    #[inline(always)]
    pub(crate) fn write_ahead<T>(
        &mut self,
        most: usize,
        fill: impl FnOnce(&Self, &mut [u8]) -> T,
    ) -> Option<T> {
        if 2 + most.div_ceil(8) > self.limit.saturating_sub(self.top) as usize {
            return None;
        }
        // SAFETY: the words from `top` to `limit`, which is below the reservation's end, are mapped, always initialised, and
        // no cell's: nothing refers to them. `&mut self` makes it the only access.
        let out = unsafe {
            let at = self.bases[self.own as usize].add(self.top as usize + 2);
            std::slice::from_raw_parts_mut(at.cast::<u8>(), most)
        };
        Some(fill(self, out))
    }

    /// Copies `len` bytes between cells: from byte `from` after word `from_word` of `src` to byte `to` after
    /// word `to_word` of the new cell `dst`.
    #[inline]
    pub(crate) fn copy_bytes(&mut self, src: (Ref, u32, usize), dst: (Ref, u32, usize), len: usize) {
        assert!(self.writable(dst.0.space()));
        let end = dst.0.index() as usize * 8 + dst.1 as usize * 8 + dst.2 + len;
        assert!(end <= self.top_of(dst.0.space()) * 8);
        // SAFETY: the source range lies in its cell (callers take it from the cell's length), the target in the
        // own arena (asserted); a new cell does not overlap an older one.
        unsafe {
            let from = self.at(src.0, src.1).cast_const().cast::<u8>().add(src.2);
            let to = self.at(dst.0, dst.1).cast::<u8>().add(dst.2);
            std::ptr::copy_nonoverlapping(from, to, len);
        }
    }

    /// Copies `len` words between two cells that don't overlap.
    pub(crate) fn copy_words(&mut self, src: (Ref, u32), dst: (Ref, u32), len: u32) {
        self.copy_bytes((src.0, src.1, 0), (dst.0, dst.1, 0), len as usize * 8);
    }

    /// The words of a cell as values.
    #[inline(always)]
    pub(crate) fn values(&self, r: Ref, offset: u32, len: usize) -> &[Value] {
        // SAFETY: as `bytes`; Value is a transparent u64. The slice borrows the heap, so nothing is stored meanwhile.
        unsafe { std::slice::from_raw_parts(self.at(r, offset).cast_const().cast::<Value>(), len) }
    }

    /// All values of a VALUES cell of the own space, which has `len` of them.
    #[inline(always)]
    fn all_values_mut(&mut self, cell: Ref, len: usize) -> &mut [Value] {
        let header = u64::from(kind::VALUES) | (len as u64) << 32;
        assert!(cell.space() == self.own && self.header(cell) == header, "a cell of {len} values");
        // SAFETY: the cell is of the own space and has `len` values (both asserted); exclusive through `&mut self`.
        unsafe { std::slice::from_raw_parts_mut(self.at(cell, 1).cast::<Value>(), len) }
    }

    /// Moves them to `into`; holes are left there.
    #[inline(always)]
    pub(crate) fn take_values(&mut self, cell: Ref, into: &mut [Value]) {
        const HOLES: &[Value] = &[Value::HOLE; 32];
        let values = self.all_values_mut(cell, into.len());
        into.copy_from_slice(values);
        match HOLES.get(..into.len()) {
            Some(holes) => values.copy_from_slice(holes),
            None => values.fill(Value::HOLE),
        }
    }

    /// The reverse.
    #[inline(always)]
    pub(crate) fn put_values(&mut self, cell: Ref, from: &[Value]) {
        self.all_values_mut(cell, from.len()).copy_from_slice(from);
    }

    /// The words of a cell of the own space as values.
    #[inline(always)]
    pub(crate) fn values_mut(&mut self, r: Ref, offset: u32, len: usize) -> &mut [Value] {
        assert!(self.writable(r.space()));
        assert!(r.index() as usize + offset as usize + len <= self.top_of(r.space()));
        // SAFETY: inside the own arena or overlay (asserted), exclusive through `&mut self`, initialised.
        unsafe { std::slice::from_raw_parts_mut(self.at(r, offset).cast::<Value>(), len) }
    }
}
