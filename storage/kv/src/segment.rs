//! A segment: a preallocated file of records, and values that point into it.

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;

use crate::api::Error;
use crate::map::Map;
use crate::medium::{Medium, SegmentFile};
use crate::record::{SEGMENT_HEADER_BYTES, Seeds, SegmentHeader};
use crate::testing::Planted;

/// The suffix of segment files; `.tmp` while one is being prepared.
pub(crate) const SUFFIX: &str = ".seg";
pub(crate) const SUFFIX_TMP: &str = ".tmp";

/// An open segment. Who holds it keeps its bytes: removing the file is safe.
pub(crate) struct Segment {
    pub(crate) name: String,
    pub(crate) header: SegmentHeader,
    pub(crate) file: Arc<dyn SegmentFile>,
    map: Option<Map>,
}

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
        Self { name: name.to_owned(), header, file, map }
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

    /// Makes the bytes readable, where they aren't at once: on media without maps they are read.
    pub(crate) fn resolve(&mut self) -> Result<(), Error> {
        if let At::Segment { segment, start, len } = &self.at
            && segment.map.is_none()
        {
            let value = segment.read(*start as usize, *len as usize)?;
            self.at = At::Owned(value.into());
        }
        Ok(())
    }

    /// Its bytes will be read soon.
    pub(crate) fn prefetch(&self) {
        if let At::Segment { segment, start, .. } = &self.at
            && let Some(map) = &segment.map
        {
            map.prefetch(*start as usize);
        }
    }
}

impl Deref for ValueRef {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.at {
            At::Segment { segment, start, len } => match &segment.map {
                Some(map) => map.settled(*start as usize, *start as usize + *len as usize),
                None => &[],
            },
            At::Owned(value) => value,
        }
    }
}
