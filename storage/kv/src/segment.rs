//! A segment: a preallocated file of records, and values that point into it.

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use crate::api::Error;
use crate::hint::{Hint, Summary};
use crate::map::Map;
use crate::medium::{Medium, SegmentFile};
use crate::record::{Candidate, Kind, SEGMENT_HEADER_BYTES, Seeds, SegmentHeader, record_bytes};
use crate::space::Space;
use crate::testing::Planted;
use crate::tree::Slot;

/// The suffix of segment files; `.tmp` while one is being prepared.
pub(crate) const SUFFIX: &str = ".seg";
pub(crate) const SUFFIX_TMP: &str = ".tmp";

/// An open segment. Who holds it keeps its bytes: removing the file is safe.
pub(crate) struct Segment {
    pub(crate) name: String,
    pub(crate) header: SegmentHeader,
    pub(crate) file: Arc<dyn SegmentFile>,
    map: Option<Map>,
    /// It has a hint file, or it was tried to write one.
    pub(crate) has_hint: AtomicBool,
    /// What an open believed instead of reading the segment.
    hint: OnceLock<Hint>,
    /// [`CHECKED`], or who still has to check its records.
    check: AtomicU8,
}

/// All records were checked, or written by this process.
const CHECKED: u8 = 0;
/// Opened by its hint: records are checked when they are read, until maintenance has read all.
const UNCHECKED: u8 = 1;
/// The same for good: maintenance found something bad.
const DAMAGED: u8 = 2;

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segment")
            .field("name", &self.name)
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

impl Segment {
    pub(crate) fn name_of(id: u32) -> String {
        format!("{id:010}{SUFFIX}")
    }

    /// Prepares an empty segment: zeroed, its header written, its name durable.
    pub(crate) fn create(
        medium: &dyn Medium,
        header: SegmentHeader,
        planted: Planted,
    ) -> Result<Arc<Self>, Error> {
        let name = Self::name_of(header.id);
        let tmp = format!("{name}{SUFFIX_TMP}");
        let made = Self::create_as(medium, header, &tmp, &name, planted);
        if made.is_err() {
            // Best effort: the next open removes what is left of it.
            let _ = medium.remove(&tmp).or_else(|_| medium.remove(&name));
        }
        made
    }

    fn create_as(
        medium: &dyn Medium,
        header: SegmentHeader,
        tmp: &str,
        name: &str,
        planted: Planted,
    ) -> Result<Arc<Self>, Error> {
        let what = || format!("preparing segment {name}");
        let file = medium.create(tmp, header.bytes).map_err(|e| Error::io(what(), e))?;
        let bytes = header.encode();
        let written = file.write_at(0, &bytes, !planted.header_unsynced).map_err(|e| Error::io(what(), e))?;
        if written != bytes.len() {
            return Err(Error::io(what(), std::io::ErrorKind::WriteZero.into()));
        }
        medium.rename(tmp, name).map_err(|e| Error::io(what(), e))?;
        if !planted.no_folder_sync {
            medium.sync_folder().map_err(|e| Error::io(what(), e))?;
        }
        let map = file.map().map_err(|e| Error::io(format!("mapping {name}"), e))?;
        Ok(Arc::new(Self::assemble(name, header, file, map)))
    }

    /// Makes this segment, which nobody reads any more, another one. Its name goes first, durably: else a crash could
    /// leave the old name on the new header.
    pub(crate) fn recycle(
        self,
        medium: &dyn Medium,
        header: SegmentHeader,
        planted: Planted,
    ) -> Result<Arc<Self>, Error> {
        let name = Self::name_of(header.id);
        let tmp = format!("{name}{SUFFIX_TMP}");
        let what = |e| Error::io(format!("recycling {} as {name}", self.name), e);
        medium.rename(&self.name, &tmp).map_err(what)?;
        if !planted.recycle_at_once {
            medium.sync_folder().map_err(what)?;
        }
        self.write_header(&header).map_err(what)?;
        medium.rename(&tmp, &name).map_err(what)?;
        medium.sync_folder().map_err(what)?;
        Ok(Arc::new(Self::assemble(&name, header, self.file, self.map)))
    }

    /// Gives an unused recycled segment a new salt and epoch: a write into it that was interrupted is void.
    pub(crate) fn renew(self: Arc<Self>, medium: &dyn Medium, epoch: u32) -> Result<Arc<Self>, Error> {
        let header = SegmentHeader { salt: medium.random(), epoch, ..self.header };
        self.write_header(&header).map_err(|e| Error::io(format!("renewing {}", self.name), e))?;
        let map = self.file.map().map_err(|e| Error::io(format!("mapping {}", self.name), e))?;
        Ok(Arc::new(Self::assemble(&self.name, header, Arc::clone(&self.file), map)))
    }

    fn write_header(&self, header: &SegmentHeader) -> std::io::Result<()> {
        let bytes = header.encode();
        match self.file.write_at(0, &bytes, true)? {
            n if n == bytes.len() => Ok(()),
            _ => Err(std::io::ErrorKind::WriteZero.into()),
        }
    }

    /// Opens `name` and checks its header.
    pub(crate) fn open(medium: &dyn Medium, name: &str) -> Result<Arc<Self>, Error> {
        let corrupt = |offset, expected| Error::Corrupt { file: name.to_owned(), offset, expected };
        let file = medium.open(name).map_err(|e| Error::io(format!("opening {name}"), e))?;
        let bytes = file.bytes().map_err(|e| Error::io(format!("sizing {name}"), e))?;
        if bytes < SEGMENT_HEADER_BYTES as u64 {
            return Err(corrupt(bytes, "a segment's header page"));
        }
        let mut page = vec![0; SEGMENT_HEADER_BYTES];
        file.read_at(0, &mut page).map_err(|e| Error::io(format!("reading {name}"), e))?;
        let header = SegmentHeader::decode(&page).map_err(|(offset, expected)| corrupt(offset, expected))?;
        if Self::name_of(header.id) != name {
            return Err(corrupt(12, "the id that the file's name says"));
        }
        if u64::from(header.bytes) != bytes {
            return Err(corrupt(bytes.min(u64::from(header.bytes)), "as many bytes as the header says"));
        }
        let map = file.map().map_err(|e| Error::io(format!("mapping {name}"), e))?;
        Ok(Arc::new(Self::assemble(name, header, file, map)))
    }

    fn assemble(name: &str, header: SegmentHeader, file: Arc<dyn SegmentFile>, map: Option<Map>) -> Self {
        Self {
            name: name.to_owned(),
            header,
            file,
            map,
            has_hint: AtomicBool::new(false),
            hint: OnceLock::new(),
            check: AtomicU8::new(CHECKED),
        }
    }

    /// The open believes `hint`.
    pub(crate) fn set_hint(&self, hint: Hint) {
        self.check.store(UNCHECKED, Ordering::Release);
        self.has_hint.store(true, Ordering::Release);
        let _ = self.hint.set(hint);
    }

    /// All its records were checked.
    pub(crate) fn is_checked(&self) -> bool {
        self.check.load(Ordering::Acquire) == CHECKED
    }

    /// Takes the duty to read and check the segment, if that is still to be done.
    pub(crate) fn take_scrub(&self) -> bool {
        self.check.compare_exchange(UNCHECKED, DAMAGED, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// What was to be checked is good.
    pub(crate) fn set_checked(&self) {
        self.check.store(CHECKED, Ordering::Release);
    }

    /// What the hint that the open believed says of the segment.
    pub(crate) fn hint_summary(&self) -> Option<&Summary> {
        self.hint.get().map(|hint| &hint.summary)
    }

    /// The checksum of the hint that the open believed.
    pub(crate) fn hint_crc(&self) -> Option<u32> {
        self.hint.get().map(|hint| hint.crc)
    }

    /// Checks the record that a slot names: that it is whole, and of this key.
    pub(crate) fn check_record(&self, space: Space, slot: &Slot) -> Result<(), Error> {
        let (offset, expires) = (slot.offset(), slot.expires());
        let len = record_bytes(slot.key.len(), slot.value_len as usize, expires);
        let bytes = self.read(offset as usize, len)?;
        let epochs = self.hint.get().map_or(&[][..], |hint| &hint.summary.epochs);
        let epoch = epochs.iter().rev().find(|(from, _)| *from <= offset);
        let seeds = self.seeds(epoch.map_or(self.header.epoch, |(_, epoch)| *epoch));
        let record = Candidate::at(&bytes, 0).and_then(|candidate| candidate.check(&bytes, seeds));
        let right = record.is_some_and(|record| {
            let fields = record.fields;
            fields.kind == Kind::Set
                && fields.space == space
                && fields.key == &*slot.key
                && fields.value.len() == slot.value_len as usize
                && fields.expires.is_some() == expires
        });
        if right {
            return Ok(());
        }
        let (file, offset) = (self.name.clone(), u64::from(offset));
        Err(Error::Corrupt { file, offset, expected: "the record that its hint file names" })
    }

    /// The bytes of a settled range of the map; nothing on media without maps.
    pub(crate) fn mapped(&self, start: usize, len: usize) -> &[u8] {
        self.map.as_ref().map_or(&[], |map| map.settled(start, start + len))
    }

    /// Its bytes will be read soon.
    pub(crate) fn prefetch(&self, start: usize, len: usize) {
        if let Some(map) = &self.map {
            map.prefetch(start, len);
        }
    }

    /// Reads a settled range of the map once, so that an error of the medium is an error here. False on media without maps.
    pub(crate) fn touch(&self, start: usize, len: usize) -> Result<bool, Error> {
        let Some(map) = &self.map else { return Ok(false) };
        map.touch(start, start + len);
        match map.fault() {
            None => Ok(true),
            Some(at) => Err(self.fault_at(at)),
        }
    }

    /// A read of the map has failed, if one has.
    pub(crate) fn fault(&self) -> Option<Error> {
        let at = self.map.as_ref()?.fault()?;
        Some(self.fault_at(at))
    }

    fn fault_at(&self, at: usize) -> Error {
        let source = std::io::Error::from_raw_os_error(libc::EIO);
        Error::Io { what: format!("reading {} at byte {at} through its map (SIGBUS)", self.name), source }
    }

    pub(crate) fn seeds(&self, epoch: u32) -> Seeds {
        Seeds::new(self.header.id, self.header.salt, epoch)
    }

    /// The bytes of a settled range (see [`Map::settled`]): a record or part of
    /// one that the index names.
    pub(crate) fn read(&self, start: usize, len: usize) -> Result<Cow<'_, [u8]>, Error> {
        if let Some(map) = &self.map {
            return Ok(Cow::Borrowed(map.settled(start, start + len)));
        }
        let mut bytes = vec![0; len];
        self.file
            .read_at(start as u64, &mut bytes)
            .map_err(|e| Error::io(format!("reading {}", self.name), e))?;
        Ok(Cow::Owned(bytes))
    }

    /// The whole file, through read(2) and not the map, so that a medium error is
    /// an error and no signal.
    pub(crate) fn read_all(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; self.header.bytes as usize];
        self.file.read_at(0, &mut bytes).map_err(|e| Error::io(format!("reading {}", self.name), e))?;
        Ok(bytes)
    }
}

/// A value in the store. Borrows from the segment's map where there is one, and
/// keeps the segment while it lives: don't keep it across turns.
#[derive(Clone, Debug)]
pub struct ValueRef {
    at: At,
}

#[derive(Clone, Debug)]
enum At {
    Segment { segment: Arc<Segment>, start: u32, len: u32 },
    Owned(Arc<[u8]>),
}

impl ValueRef {
    /// `len` bytes at `start` of a segment.
    pub(crate) fn in_segment(segment: &Arc<Segment>, start: u32, len: u32) -> Self {
        Self { at: At::Segment { segment: Arc::clone(segment), start, len } }
    }

    pub(crate) fn owned(value: Arc<[u8]>) -> Self {
        Self { at: At::Owned(value) }
    }

    /// Makes the bytes readable: reads them on media without maps, touches them where there is one; checks the record
    /// of `unchecked`, which is theirs.
    pub(crate) fn settle(&mut self, space: Space, unchecked: Option<&Slot>) -> Result<(), Error> {
        let At::Segment { segment, start, len } = &self.at else { return Ok(()) };
        if let Some(slot) = unchecked {
            segment.check_record(space, slot)?;
        }
        if !segment.touch(*start as usize, *len as usize)? {
            let value = segment.read(*start as usize, *len as usize)?;
            self.at = At::Owned(value.into());
        }
        Ok(())
    }
}

impl Deref for ValueRef {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.at {
            At::Segment { segment, start, len } => segment.mapped(*start as usize, *len as usize),
            At::Owned(value) => value,
        }
    }
}
