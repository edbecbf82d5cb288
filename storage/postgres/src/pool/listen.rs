//! LISTEN: one connection of its own that hears what others NOTIFY.
//!
//! ```text
//!   listen(channels) --> connected --LISTEN a; LISTEN b--> Event::Listening { gap: false } --> Event::Notification*
//!                           ^                                                                         |
//!                           +-------- lost, made anew: Event::Listening { gap: true } <---------------+
//! ```
//! The server keeps nothing for a session that is away, so whoever hears `gap: true` looks at the tables again.

use std::collections::VecDeque;

use forebay_base::Monotonic;

use super::{Action, Lane, Pool, Slot, State, link_of};
use crate::connection::Connection;
use crate::error::QueryError;
use crate::query::{Event, Token};

/// Channels of one pool.
pub const CHANNELS_MAX: usize = 1024;
/// Bytes of a channel's name (the server's NAMEDATALEN - 1).
pub const CHANNEL_BYTES_MAX: usize = 63;
/// Our own statement on the connection that listens.
const OURS: Token = Token(u64::MAX);

/// What is listened to.
#[derive(Default)]
pub(super) struct Listener {
    channels: Vec<Box<str>>,
    /// All channels have been listened to before.
    before: bool,
}

impl Listener {
    /// Its connection is ready, or hears other channels from now on.
    pub(super) fn start(&self, connection: &mut Connection) {
        let mut sql = String::from("UNLISTEN *");
        for channel in &self.channels {
            sql.push_str("; LISTEN \"");
            sql.push_str(&channel.replace('"', "\"\""));
            sql.push('"');
        }
        // Ready, and nobody else's: it can't be refused.
        let _ = connection.simple(OURS, &sql);
    }

    pub(super) fn event(&mut self, event: Event, events: &mut VecDeque<Event>) {
        match event {
            Event::Done { token: OURS, result: Ok(_) } => {
                events.push_back(Event::Listening { gap: std::mem::replace(&mut self.before, true) });
            }
            // The connection is lost, which is told when it is back.
            Event::Done { .. } => {}
            other => events.push_back(other),
        }
    }
}

impl Pool {
    /// Listens to these channels, and to no others, on a connection of its own that is made anew whenever it is lost.
    /// [`Event::Listening`] says that it does, [`Event::Notification`] what it hears.
    ///
    /// # Errors
    /// A name that is empty, too long or has a NUL; too many of them.
    pub fn listen(&mut self, channels: &[&str], now: Monotonic) -> Result<(), QueryError> {
        if channels.len() > CHANNELS_MAX {
            return Err(QueryError::Refused("too many channels"));
        }
        let good = |name: &&str| !name.is_empty() && name.len() <= CHANNEL_BYTES_MAX && !name.contains('\0');
        if !channels.iter().all(good) {
            return Err(QueryError::Refused("a channel's name has 1 to 63 bytes and no NUL"));
        }
        self.listener.channels = channels.iter().map(|name| (*name).into()).collect();
        self.listener.before = false;
        let index = self.links.iter().position(|slot| slot.lane == Lane::Listener);
        match index {
            None if channels.is_empty() => {}
            None => {
                self.links.push(Slot::new(Lane::Listener, now));
                self.handle_timeout(now);
            }
            Some(index) if channels.is_empty() => {
                let link = link_of(index, self.links[index].generation);
                if !matches!(self.links[index].state, State::Down { .. }) {
                    self.actions.push_back(Action::Close { link });
                }
                // The last of all links, so that no other's number changes.
                self.links.truncate(index);
                self.turn = 0;
            }
            Some(index) => {
                let Self { links, listener, .. } = self;
                if let State::Open { connection, .. } = &mut links[index].state
                    && connection.is_ready()
                {
                    listener.start(connection);
                }
            }
        }
        Ok(())
    }
}
