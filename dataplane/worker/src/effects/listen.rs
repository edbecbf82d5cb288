//! Notifications of the database for handlers of `work().listen(channel, fn)`: core 0 listens for the process.

use forebay_base::Value;
use forebay_postgres::Notification;
use forebay_postgres::types::json;

use super::Effects;
use crate::back::Level;

/// Notifications that wait for their handlers. Beyond it they are dropped, and all channels hear of a gap.
const HEARD_MAX: usize = 4096;

/// Something that handlers hear of.
#[derive(Debug)]
pub(crate) struct Heard {
    /// Whose handlers; none: all.
    pub(crate) channel: Option<Box<str>>,
    /// None: something may have been missed.
    message: Option<(Box<str>, u32)>,
}

impl Heard {
    /// The argument of a handler of `channel`, as JSON.
    pub(crate) fn event(&self, channel: &str) -> String {
        let (payload, process) = match &self.message {
            Some((payload, process)) => (Value::Str(payload.clone()), Value::Int((*process).into())),
            None => (Value::Null, Value::Null),
        };
        let event = Value::Map(vec![
            ("channel".into(), channel.into()),
            ("payload".into(), payload),
            ("process".into(), process),
            ("gap".into(), Value::Bool(self.message.is_none())),
        ]);
        let mut text = String::new();
        // Text, numbers and booleans: there is nothing to refuse.
        let _ = json::write(&mut text, &event, 0);
        text
    }
}

impl Effects {
    /// The channels that handlers wait for from now on.
    pub(crate) fn listen(&mut self, channels: Vec<Box<str>>) {
        let Some(sql) = self.databases.first_mut() else { return };
        if let Err(why) = sql.set_channels(channels) {
            self.log.line(Level::Error, "listen: nobody will hear notifications", &[("cause", &why)]);
        }
    }

    pub(super) fn notified(&mut self, notification: Notification) {
        let Notification { channel, payload, process_id } = notification;
        if self.heard.len() >= HEARD_MAX {
            // What waits is older than the gap: it is heard first.
            if self.heard.back().is_some_and(|heard| heard.message.is_some()) {
                self.log.line(Level::Warn, "notifications come faster than their handlers run", &[]);
                self.heard.push_back(Heard { channel: None, message: None });
            }
            return;
        }
        self.heard.push_back(Heard { channel: Some(channel), message: Some((payload, process_id)) });
    }

    pub(super) fn listening(&mut self, gap: bool) {
        if gap {
            self.log.line(Level::Warn, "listening again: notifications in between are lost", &[]);
            self.heard.push_back(Heard { channel: None, message: None });
        }
    }
}
