//! A thread for what would hold up a core: proofs of passwords (SCRAM), a millisecond each.
//!
//! One per core, started when first needed, ended with its channel. Answers come back with a wake-up.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use forebay_postgres::connection::Job;
use forebay_postgres::pool::Link;
use forebay_ring::Waker;

/// Jobs that wait: more than a core has connections. Beyond it: done on the spot.
const JOBS_MAX: usize = 256;

/// A job with where it belongs: number of the database, link.
type Task = (usize, Link, Job);

/// See the module's text.
pub(crate) struct Compute {
    waker: Waker,
    thread: Option<(SyncSender<Task>, Receiver<Task>)>,
}

impl Compute {
    pub(crate) fn new(waker: Waker) -> Self {
        Self { waker, thread: None }
    }

    /// Hands a job over; gives it back, done, if the thread has too many or is gone.
    pub(crate) fn start(&mut self, database: usize, link: Link, job: Job) -> Option<Job> {
        let waker = &self.waker;
        let (ask, _) = self.thread.get_or_insert_with(|| start(waker.clone()));
        match ask.try_send((database, link, job)) {
            Ok(()) => None,
            Err(std::sync::mpsc::TrySendError::Full((_, _, mut job)))
            | Err(std::sync::mpsc::TrySendError::Disconnected((_, _, mut job))) => {
                job.run();
                Some(job)
            }
        }
    }

    pub(crate) fn take(&mut self) -> Option<Task> {
        self.thread.as_ref()?.1.try_recv().ok()
    }
}

#[expect(clippy::disallowed_methods, reason = "the one thread of this file, ended with its channel")]
fn start(waker: Waker) -> (SyncSender<Task>, Receiver<Task>) {
    let (ask, asked) = sync_channel::<Task>(JOBS_MAX);
    let (tell, done) = sync_channel(JOBS_MAX);
    std::thread::spawn(move || {
        for (database, link, mut job) in asked {
            job.run();
            if tell.send((database, link, job)).is_err() {
                return;
            }
            waker.wake();
        }
    });
    (ask, done)
}
