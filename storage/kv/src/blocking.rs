//! The store driven in place: every call waits for its answer. For tools, tests
//! and benches; also from several threads, one per core id, which then lead and follow as cores do.

use std::sync::{Arc, Condvar, Mutex};

use forebay_base::{CoreId, Timestamp};

use crate::api::{Batch, Completion, Config, Error, Op, Outcome, Refused, Unavailable, Wake};
use crate::medium::Medium;
use crate::space::Space;
use crate::store::{Store, lock};

/// Unsynced operations that collect before they are written: without other
/// cores there is no turn whose end would write them.
const UNSYNCED_OPS_MAX: usize = 4096;

/// A parked thread per core.
#[derive(Debug)]
struct Parking {
    places: Box<[(Mutex<bool>, Condvar)]>,
}

impl Wake for Parking {
    fn wake(&self, core: CoreId) {
        if let Some((woken, condvar)) = self.places.get(usize::from(core.0)) {
            *lock(woken) = true;
            condvar.notify_one();
        }
    }
}

/// A store whose calls wait for the disk.
#[derive(Debug)]
pub struct Blocking {
    store: Arc<Store>,
    parking: Arc<Parking>,
}

impl Blocking {
    /// Opens the data folder of `config`.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open(config: Config) -> Result<Self, Error> {
        let parking = Self::parking(&config);
        let store = Store::open(config, Arc::clone(&parking) as Arc<dyn Wake>)?;
        Ok(Self { store, parking })
    }

    /// Opens a store on any medium.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_on(config: Config, medium: Arc<dyn Medium>) -> Result<Self, Error> {
        let parking = Self::parking(&config);
        let store = Store::open_on(config, medium, Arc::clone(&parking) as Arc<dyn Wake>)?;
        Ok(Self { store, parking })
    }

    fn parking(config: &Config) -> Arc<Parking> {
        let places = (0..config.cores).map(|_| (Mutex::new(false), Condvar::new())).collect();
        Arc::new(Parking { places })
    }

    /// The store itself, for reads and statistics.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// A session for the thread that plays core `core`; one at a time for each core.
    #[must_use]
    pub fn session(&self, core: CoreId) -> Session<'_> {
        Session { blocking: self, core, answers: Vec::new(), token: 0, unsynced: 0 }
    }

    /// As [`Store::close`].
    ///
    /// # Errors
    /// As [`Store::close`].
    pub fn close(self) -> Result<(), Error> {
        self.store.close()
    }
}

/// One thread's view of a [`Blocking`] store.
#[derive(Debug)]
pub struct Session<'a> {
    blocking: &'a Blocking,
    core: CoreId,
    answers: Vec<Completion>,
    token: u64,
    unsynced: usize,
}

impl Session<'_> {
    /// Submits a batch and waits for its answer. A full log is maintained in place.
    ///
    /// # Errors
    /// [`Refused`] if a limit is broken.
    pub fn batch(
        &mut self,
        now: Timestamp,
        space: impl Into<Space>,
        ops: &[Op<'_>],
        sync: bool,
    ) -> Result<Completion, Refused> {
        self.run(now, Batch::One(space.into(), ops), sync)
    }

    /// As [`Session::batch`], over any keyspaces.
    ///
    /// # Errors
    /// [`Refused`] if a limit is broken.
    pub fn batch_across(
        &mut self,
        now: Timestamp,
        ops: &[(Space, Op<'_>)],
        sync: bool,
    ) -> Result<Completion, Refused> {
        self.run(now, Batch::Across(ops), sync)
    }

    fn run(&mut self, now: Timestamp, batch: Batch<'_>, sync: bool) -> Result<Completion, Refused> {
        let store = &self.blocking.store;
        store.admit(batch)?;
        loop {
            self.token += 1;
            store.submit_batch(self.core, self.token, now, batch, sync)?;
            let answer = self.wait(now);
            if answer.outcome != Outcome::Unavailable(Unavailable::Busy) {
                if !sync {
                    self.unsynced += batch.len();
                    if self.unsynced >= UNSYNCED_OPS_MAX {
                        self.unsynced = 0;
                        if let Some(job) = store.poll_commit(self.core) {
                            job.run();
                        }
                    }
                }
                return Ok(answer);
            }
            // A failure shows in the next answer: no space, or poisoned.
            let _ = store.maintain(now);
            let _ = store.flush();
        }
    }

    fn wait(&mut self, now: Timestamp) -> Completion {
        let store = &self.blocking.store;
        loop {
            store.completions(self.core, &mut self.answers);
            if let Some(place) = self.answers.iter().position(|c| c.token == self.token) {
                return self.answers.swap_remove(place);
            }
            if let Some(job) = store.poll_commit(self.core) {
                job.run();
                continue;
            }
            if store.is_stalled() {
                // Maybe nobody else prepares segments. What fails shows in the answer.
                let _ = store.maintain(now);
                continue;
            }
            // Someone else's write is in flight: theirs to finish, and maybe ours to follow.
            let (woken, condvar) = &self.blocking.parking.places[usize::from(self.core.0)];
            let mut flag = lock(woken);
            if !*flag {
                let timeout = std::time::Duration::from_micros(200);
                flag = match condvar.wait_timeout(flag, timeout) {
                    Ok((flag, _)) => flag,
                    Err(e) => e.into_inner().0,
                };
            }
            *flag = false;
        }
    }

    /// [`Op::Set`] with sync.
    ///
    /// # Errors
    /// [`Refused`] if a limit is broken.
    pub fn set(
        &mut self,
        now: Timestamp,
        space: impl Into<Space>,
        key: &[u8],
        value: &[u8],
    ) -> Result<Outcome, Refused> {
        let ops = [Op::Set { key, value, expires: None }];
        Ok(self.batch(now, space, &ops, true)?.outcome)
    }

    /// [`Op::Del`] with sync.
    ///
    /// # Errors
    /// [`Refused`] if a limit is broken.
    pub fn del(&mut self, now: Timestamp, space: impl Into<Space>, key: &[u8]) -> Result<Outcome, Refused> {
        Ok(self.batch(now, space, &[Op::Del { key }], true)?.outcome)
    }

    /// [`Op::Cas`] with sync.
    ///
    /// # Errors
    /// [`Refused`] if a limit is broken.
    pub fn cas(
        &mut self,
        now: Timestamp,
        space: impl Into<Space>,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<Outcome, Refused> {
        let ops = [Op::Cas { key, expected, new, expires: None }];
        Ok(self.batch(now, space, &ops, true)?.outcome)
    }
}
