//! Bytes to send.
//!
//! A connection has two places: the one being filled and the one in flight.
//! While a send is under way the next answers collect in the first; when it is
//! done they swap, so pipelined answers leave in one send. Large pieces
//! (static, shared, file ranges) queue between the two uncopied.
//!
//! ```text
//!   caller -> fill --seal--> queue [bytes | static | shared | file]* --> flight -> kernel
//!                 (fill becomes flight directly while the queue is empty)
//! ```
//!
//! Nothing here bounds what a caller appends: the caller looks at
//! [`Output::pending_bytes`] and starts no further request above
//! `HttpLimits::output_bytes`. A connection without output holds no buffer.
//!
//! Files: below 64 KiB reading and sending costs what sendfile does; above it
//! sendfile(2) measured 18.5 us per 64 KiB against 21.7 for a ring send, but it
//! blocks on a cold page and splice in the ring is slow. So a range is read through
//! the ring into one bounded chunk and sent from there; sendfile of ranges that
//! are known to be warm can come behind [`Output::push_file`] unseen.

use std::collections::VecDeque;
use std::sync::Arc;

use forebay_base::ConnectionId;

use crate::disk::File;

/// Up to here a static or shared piece is copied: one send of 16 KiB costs less than two sends.
const COPY_BYTES_MAX: usize = 16 * 1024;

/// The outputs of a reactor's connections, as lent to a caller by [`crate::Transport::split`].
///
/// A view and not the table: what is in flight must be out of reach even of a
/// `mem::swap`, since the kernel reads it.
#[derive(Debug)]
pub struct Outputs<'a> {
    table: &'a mut OutputTable,
}

impl<'a> Outputs<'a> {
    pub(crate) fn new(table: &'a mut OutputTable) -> Self {
        Self { table }
    }

    /// The connection's output, now marked for the send at the turn's end. None
    /// if the connection is gone or closing.
    pub fn get(&mut self, connection: ConnectionId) -> Option<&mut Output> {
        self.table.get(connection)
    }

    /// [`Outputs::get`] for as long as the reactor is borrowed.
    #[must_use]
    pub fn into_output(self, connection: ConnectionId) -> Option<&'a mut Output> {
        self.table.get(connection)
    }

    /// The connection's output, to look at: [`Output::pending_bytes`] for backpressure,
    /// [`Output::sent_bytes`] for a write timeout. None if the connection is gone.
    #[must_use]
    pub fn peek(&self, connection: ConnectionId) -> Option<&Output> {
        let output = self.table.outputs.get(connection.slot as usize)?;
        if output.generation == connection.generation { Some(output) } else { None }
    }

    /// [`Output::pending_bytes`] of a connection that [`Outputs::get`] would give. Marks nothing.
    #[must_use]
    #[inline]
    pub fn pending_bytes(&self, connection: ConnectionId) -> Option<u64> {
        self.peek(connection).filter(|output| output.open).map(Output::pending_bytes)
    }

    /// Buffers kept for reuse.
    #[must_use]
    pub fn spare_count(&self) -> usize {
        self.table.spare.len()
    }
}

#[derive(Debug)]
pub(crate) struct OutputTable {
    /// By connection slot.
    outputs: Vec<Output>,
    /// By connection slot too, but never lent to callers.
    flights: Vec<Flight>,
    /// Slots that may have something to send.
    dirty: VecDeque<u32>,
    spare: Vec<Vec<u8>>,
    spare_max: usize,
    spare_bytes_max: usize,
    send_bytes_max: usize,
    chunk_bytes: usize,
}

/// One connection's output. Swapping two of them is a bug, but only the callers'.
#[derive(Debug)]
pub struct Output {
    generation: u32,
    open: bool,
    dirty: bool,
    fill: Vec<u8>,
    queue: VecDeque<Segment>,
    /// Bytes of the queue and of what is in flight that are yet to be sent.
    sealed_bytes: u64,
    sent_bytes: u64,
}

#[derive(Debug)]
enum Segment {
    Bytes(Vec<u8>),
    Static(&'static [u8]),
    Shared(Arc<[u8]>),
    File { file: File, offset: u64, len: u64 },
}

/// What the kernel is working on, or will next. Its memory stays where it is until
/// [`OutputTable::sent`] or [`OutputTable::read`] tells that the operation has ended.
#[derive(Debug, Default)]
enum Flight {
    #[default]
    None,
    /// `at` bytes of the segment are sent.
    Memory { segment: Memory, at: usize },
    /// The chunk holds `filled` bytes of the file before `offset`, `at` of them sent; `len` are unread.
    File { file: File, offset: u64, len: u64, chunk: Vec<u8>, filled: usize, at: usize },
}

#[derive(Debug)]
enum Memory {
    Bytes(Vec<u8>),
    Static(&'static [u8]),
    Shared(Arc<[u8]>),
}

impl Memory {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Static(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

/// The next operation for a connection's output.
pub(crate) enum Step<'a> {
    /// Nothing to send.
    Nothing,
    /// Send these; `more` follows at once (MSG_MORE).
    Send { bytes: &'a [u8], more: bool },
    /// Read these first.
    Read { file: &'a File, offset: u64, buffer: &'a mut [u8] },
}

impl Output {
    fn new() -> Self {
        Self {
            generation: 0,
            open: false,
            dirty: false,
            fill: Vec::new(),
            queue: VecDeque::new(),
            sealed_bytes: 0,
            sent_bytes: 0,
        }
    }

    /// Where to append. Bytes of this turn can still be changed or cut, since they
    /// are sent when the turn ends; what was there before must stay.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.fill
    }

    /// Appends a copy.
    pub fn push(&mut self, bytes: &[u8]) {
        self.fill.extend_from_slice(bytes);
    }

    /// Moves `bytes` behind what is there and leaves it empty. Where nothing is there yet the two change their memory: no
    /// byte is copied, and `bytes` has the memory of an earlier send.
    pub fn append(&mut self, bytes: &mut Vec<u8>) {
        if self.fill.is_empty() {
            std::mem::swap(&mut self.fill, bytes);
        } else {
            self.fill.append(bytes);
        }
    }

    /// Appends bytes that live forever; large ones are not copied.
    pub fn push_static(&mut self, bytes: &'static [u8]) {
        if bytes.len() <= COPY_BYTES_MAX {
            self.push(bytes);
        } else {
            self.seal(Segment::Static(bytes), bytes.len() as u64);
        }
    }

    /// Appends bytes that are shared; large ones are not copied.
    pub fn push_shared(&mut self, bytes: &Arc<[u8]>) {
        if bytes.len() <= COPY_BYTES_MAX {
            self.push(bytes);
        } else {
            self.seal(Segment::Shared(Arc::clone(bytes)), bytes.len() as u64);
        }
    }

    /// Appends `len` bytes of a file from `offset`. If the file turns out shorter
    /// or unreadable the connection ends with [`crate::CloseReason::File`].
    pub fn push_file(&mut self, file: &File, offset: u64, len: u64) {
        if len > 0 {
            self.seal(Segment::File { file: file.clone(), offset, len }, len);
        }
    }

    /// Bytes appended and not yet taken by the kernel, unread file ranges included.
    #[must_use]
    pub fn pending_bytes(&self) -> u64 {
        self.sealed_bytes + self.fill.len() as u64
    }

    /// Bytes taken by the kernel since the connection began.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    fn seal(&mut self, segment: Segment, len: u64) {
        self.seal_fill();
        self.queue.push_back(segment);
        self.sealed_bytes += len;
    }

    fn seal_fill(&mut self) {
        if !self.fill.is_empty() {
            self.sealed_bytes += self.fill.len() as u64;
            self.queue.push_back(Segment::Bytes(std::mem::take(&mut self.fill)));
        }
    }
}

impl OutputTable {
    pub(crate) fn new(config: &crate::Config) -> Self {
        Self {
            outputs: Vec::new(),
            flights: Vec::new(),
            dirty: VecDeque::new(),
            spare: Vec::new(),
            spare_max: config.output_buffers_kept as usize,
            spare_bytes_max: config.output_buffer_bytes_kept as usize,
            send_bytes_max: config.send_bytes.max(1) as usize,
            chunk_bytes: config.file_chunk_bytes.max(1) as usize,
        }
    }

    fn get(&mut self, connection: ConnectionId) -> Option<&mut Output> {
        let output = self.outputs.get_mut(connection.slot as usize)?;
        if output.generation != connection.generation || !output.open {
            return None;
        }
        if output.fill.capacity() == 0
            && let Some(spare) = self.spare.pop()
        {
            output.fill = spare;
        }
        if !output.dirty {
            output.dirty = true;
            self.dirty.push_back(connection.slot);
        }
        Some(output)
    }

    pub(crate) fn open(&mut self, connection: ConnectionId) {
        let slot = connection.slot as usize;
        if self.outputs.len() <= slot {
            self.outputs.resize_with(slot + 1, Output::new);
            self.flights.resize_with(slot + 1, Flight::default);
        }
        let output = &mut self.outputs[slot];
        output.generation = connection.generation;
        output.open = true;
        output.sent_bytes = 0;
    }

    /// No more appending; what is there is still sent.
    pub(crate) fn shut(&mut self, slot: u32) {
        self.outputs[slot as usize].open = false;
    }

    /// Drops what isn't in flight.
    pub(crate) fn discard(&mut self, slot: u32) {
        let output = &mut self.outputs[slot as usize];
        output.open = false;
        output.queue.clear();
        let fill = std::mem::take(&mut output.fill);
        output.sealed_bytes = 0;
        self.recycle(fill);
    }

    /// The connection is gone and so is every operation on its memory.
    pub(crate) fn reset(&mut self, slot: u32) {
        self.discard(slot);
        let output = &mut self.outputs[slot as usize];
        output.generation = output.generation.wrapping_add(1);
        match std::mem::take(&mut self.flights[slot as usize]) {
            Flight::Memory { segment: Memory::Bytes(buffer), .. } | Flight::File { chunk: buffer, .. } => {
                self.recycle(buffer);
            }
            _ => {}
        }
    }

    pub(crate) fn mark(&mut self, slot: u32) {
        let output = &mut self.outputs[slot as usize];
        if !output.dirty {
            output.dirty = true;
            self.dirty.push_back(slot);
        }
    }

    pub(crate) fn pop_dirty(&mut self) -> Option<u32> {
        let slot = self.dirty.pop_front()?;
        let output = &mut self.outputs[slot as usize];
        output.dirty = false;
        if output.fill.is_empty() && output.fill.capacity() > 0 {
            let fill = std::mem::take(&mut output.fill);
            self.recycle(fill);
        }
        Some(slot)
    }

    pub(crate) fn dirty_count(&self) -> usize {
        self.dirty.len()
    }

    pub(crate) fn is_drained(&self, slot: u32) -> bool {
        self.outputs[slot as usize].pending_bytes() == 0
    }

    /// The next operation. The caller starts it at once and calls nothing else for
    /// this slot that touches the flight before its end is known.
    pub(crate) fn next(&mut self, slot: u32) -> Step<'_> {
        let (send_bytes_max, chunk_bytes) = (self.send_bytes_max, self.chunk_bytes);
        let output = &mut self.outputs[slot as usize];
        let flight = &mut self.flights[slot as usize];
        if matches!(flight, Flight::None) {
            *flight = match output.queue.pop_front() {
                Some(Segment::Bytes(b)) => Flight::Memory { segment: Memory::Bytes(b), at: 0 },
                Some(Segment::Static(b)) => Flight::Memory { segment: Memory::Static(b), at: 0 },
                Some(Segment::Shared(b)) => Flight::Memory { segment: Memory::Shared(b), at: 0 },
                Some(Segment::File { file, offset, len }) => {
                    let mut chunk = self.spare.pop().unwrap_or_default();
                    let bytes = chunk_bytes.min(usize::try_from(len).unwrap_or(usize::MAX));
                    chunk.resize(bytes, 0);
                    Flight::File { file, offset, len, chunk, filled: 0, at: 0 }
                }
                None if !output.fill.is_empty() => {
                    output.sealed_bytes += output.fill.len() as u64;
                    let bytes = std::mem::take(&mut output.fill);
                    Flight::Memory { segment: Memory::Bytes(bytes), at: 0 }
                }
                None => return Step::Nothing,
            };
        }
        let more_queued = !output.queue.is_empty();
        match flight {
            Flight::None => Step::Nothing,
            Flight::Memory { segment, at } => {
                let rest = &segment.bytes()[*at..];
                let now = &rest[..rest.len().min(send_bytes_max)];
                Step::Send { bytes: now, more: more_queued && now.len() == rest.len() }
            }
            Flight::File { file, offset, len, chunk, filled, at } => {
                if at == filled {
                    let want = chunk.len().min(usize::try_from(*len).unwrap_or(usize::MAX));
                    Step::Read { file, offset: *offset, buffer: &mut chunk[..want] }
                } else {
                    let rest = &chunk[*at..*filled];
                    let now = &rest[..rest.len().min(send_bytes_max)];
                    Step::Send { bytes: now, more: more_queued && *len == 0 && now.len() == rest.len() }
                }
            }
        }
    }

    /// The kernel took `count` bytes of what [`Step::Send`] offered.
    pub(crate) fn sent(&mut self, slot: u32, count: usize) {
        let output = &mut self.outputs[slot as usize];
        output.sent_bytes += count as u64;
        output.sealed_bytes = output.sealed_bytes.saturating_sub(count as u64);
        let done = match &mut self.flights[slot as usize] {
            Flight::None => false,
            Flight::Memory { segment, at } => {
                *at += count;
                *at >= segment.bytes().len()
            }
            Flight::File { len, filled, at, .. } => {
                *at += count;
                at == filled && *len == 0
            }
        };
        if done {
            match std::mem::take(&mut self.flights[slot as usize]) {
                Flight::Memory { segment: Memory::Bytes(buffer), .. }
                | Flight::File { chunk: buffer, .. } => {
                    self.recycle(buffer);
                }
                _ => {}
            }
        }
    }

    /// The kernel read `count` bytes, at least one, into what [`Step::Read`] offered.
    pub(crate) fn read(&mut self, slot: u32, count: usize) {
        if let Flight::File { offset, len, filled, at, .. } = &mut self.flights[slot as usize] {
            *offset += count as u64;
            *len = len.saturating_sub(count as u64);
            *filled = count;
            *at = 0;
        }
    }

    fn recycle(&mut self, mut buffer: Vec<u8>) {
        let keep = 1..=self.spare_bytes_max;
        if self.spare.len() < self.spare_max && keep.contains(&buffer.capacity()) {
            buffer.clear();
            self.spare.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_appended_to_nothing_changes_its_memory() {
        let mut output = Output::new();
        let mut bytes = b"first".to_vec();
        let memory = bytes.as_ptr();
        output.append(&mut bytes);
        assert!(bytes.is_empty() && output.bytes().as_ptr() == memory);
        bytes.extend_from_slice(b" second");
        output.append(&mut bytes);
        assert!(bytes.is_empty() && output.bytes() == b"first second");
        assert_eq!(output.pending_bytes(), 12);
    }
}
