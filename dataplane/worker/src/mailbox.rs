//! Commands to a thread of the data path: deploy, drain, stop. Cold: a mutex and a
//! flag that the thread reads once per turn.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use forebay_ring::Waker;

use crate::durable::Message;
use crate::generation::Generation;

/// What a thread can be told.
#[derive(Debug)]
pub(crate) enum Command {
    /// Serve this from now on; running tasks keep theirs.
    Adopt(Arc<Generation>, Ack),
    /// Accept no more, end connections as they fall idle.
    Drain,
    /// End now.
    Stop,
    /// About a durable task whose home is here, or an answer from its home.
    Durable(Message),
}

/// Told when a command has been carried out. Never blocks the thread: the channel
/// has room for every thread's answer.
pub(crate) type Ack = SyncSender<()>;

/// One thread's mailbox.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    waiting: AtomicBool,
    commands: Mutex<VecDeque<Command>>,
    /// Known once the thread has made its reactor.
    waker: OnceLock<Waker>,
}

impl Mailbox {
    /// Leaves a command and wakes the thread.
    pub(crate) fn send(&self, command: Command) {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner).push_back(command);
        self.waiting.store(true, Ordering::Release);
        self.wake();
    }

    /// Wakes the thread without a command.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake();
        }
    }

    /// The thread's side, once.
    pub(crate) fn set_waker(&self, waker: Waker) {
        let _ = self.waker.set(waker);
    }

    /// The thread's side: the next command.
    #[inline]
    pub(crate) fn take(&self) -> Option<Command> {
        if !self.waiting.load(Ordering::Acquire) {
            return None;
        }
        let mut commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        let command = commands.pop_front();
        if commands.is_empty() {
            self.waiting.store(false, Ordering::Release);
        }
        command
    }
}
