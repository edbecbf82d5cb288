//! Log lines: one JSON object a line on stderr, or one readable line in `dev`.
//!
//! ```text
//! {"ts":"2026-11-20T11:22:14.000123Z","level":"info","msg":"listening","address":"127.0.0.1:8080"}
//! ```
//!
//! A line is built where it happens, in a buffer of its own, bounded by
//! `LOG_LINE_BYTES_MAX`, and given to a bounded channel; a thread writes. Nobody
//! waits for stderr: when the channel is full the line is dropped and counted,
//! and the count is logged as soon as there is room.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use forebay_base::Timestamp;
use forebay_base::limits::LOG_LINE_BYTES_MAX;

/// Lines between those who log and the thread that writes. Beyond it they are dropped.
pub const LOG_QUEUE_LINES_MAX: usize = 4096;
/// How long [`Logger::flush`] waits for a place in the queue, and then for the writer.
pub const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes that a line keeps for `,"cut":true}` and its end.
const RESERVE_BYTES: usize = 16;
/// Bytes of `msg` and of one field's name, before escaping.
const MSG_BYTES_MAX: usize = 2048;
const NAME_BYTES_MAX: usize = 64;

/// How important a line is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// What happened.
    Info,
    /// What a person should look at some time.
    Warn,
    /// What failed.
    Error,
}

impl Level {
    /// As it stands in the line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// How a line looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    /// For machines.
    Json,
    /// For a person at a terminal; with colours if so.
    Pretty {
        /// ANSI colours.
        color: bool,
    },
}

/// Where lines go. Cheap to clone; every thread may have one.
#[derive(Clone, Debug)]
pub struct Logger {
    sender: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
    style: Style,
}

#[derive(Debug)]
enum Message {
    Line(String),
    Flush(SyncSender<()>),
}

/// A line being built: `logger.info("listening").str("address", "...").send()`.
#[derive(Debug)]
#[must_use = "a line is logged by `send`"]
pub struct Line<'a> {
    logger: &'a Logger,
    text: String,
    cut: bool,
}

impl Logger {
    /// Starts the thread that writes to `out`.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(style: Style, out: impl Write + Send + 'static) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(LOG_QUEUE_LINES_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&dropped);
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_lines(&receiver, &counter, style, out))?;
        Ok(Self { sender, dropped, style })
    }

    /// For commands that serve: JSON on stderr, or pretty if `dev` and stderr is a terminal.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn to_stderr(dev: bool) -> io::Result<Self> {
        use std::io::IsTerminal;
        let pretty = dev && io::stderr().is_terminal();
        let style = if pretty { Style::Pretty { color: crate::frame::stderr_color() } } else { Style::Json };
        Self::start(style, io::stderr())
    }

    /// A line of level info.
    pub fn info(&self, message: &str) -> Line<'_> {
        self.line(Level::Info, message)
    }

    /// A line of level warn.
    pub fn warn(&self, message: &str) -> Line<'_> {
        self.line(Level::Warn, message)
    }

    /// A line of level error.
    pub fn error(&self, message: &str) -> Line<'_> {
        self.line(Level::Error, message)
    }

    /// A line of any level, now.
    pub fn line(&self, level: Level, message: &str) -> Line<'_> {
        self.line_at(now(), level, message)
    }

    /// A line that happened at `at` (a core reads its clock once a turn).
    pub fn line_at(&self, at: Timestamp, level: Level, message: &str) -> Line<'_> {
        let mut line = Line { logger: self, text: String::with_capacity(256), cut: false };
        let message = line.clip(message, MSG_BYTES_MAX);
        let text = &mut line.text;
        match self.style {
            Style::Json => {
                let _ = write!(text, "{{\"ts\":\"{}\",\"level\":\"{}\",\"msg\":", rfc3339(at), level.name());
                push_json(text, message);
            }
            Style::Pretty { color } => {
                let (on, off) = match (color, level) {
                    (false, _) => ("", ""),
                    (true, Level::Info) => ("\x1b[32m", "\x1b[0m"),
                    (true, Level::Warn) => ("\x1b[33m", "\x1b[0m"),
                    (true, Level::Error) => ("\x1b[31m", "\x1b[0m"),
                };
                let time = rfc3339(at);
                let _ = write!(text, "{} {on}{:<5}{off} ", &time[11..23], level.name());
                push_visible(text, message, true);
            }
        }
        line
    }

    /// Text of several lines for a person, as a code frame: as it is in a pretty log,
    /// the field `detail` of one line in a JSON log. Cut at the line's bound.
    pub fn block(&self, text: &str) {
        match self.style {
            Style::Json => self.info("detail").str("detail", text).send(),
            Style::Pretty { .. } => {
                let mut lines =
                    text[..text.floor_char_boundary(8 * LOG_LINE_BYTES_MAX)].trim_end().to_owned();
                lines.push('\n');
                self.give(lines);
            }
        }
    }

    fn give(&self, line: String) {
        match self.sender.try_send(Message::Line(line)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Waits until all lines so far are written, at most twice [`FLUSH_TIMEOUT`].
    pub fn flush(&self) {
        const STEP: Duration = Duration::from_millis(5);
        let (sender, receiver) = sync_channel(1);
        // A queue that stays full means that nobody reads stderr: don't wait for ever.
        for _ in 0..FLUSH_TIMEOUT.as_millis() / STEP.as_millis() {
            match self.sender.try_send(Message::Flush(sender.clone())) {
                Ok(()) => {
                    let _ = receiver.recv_timeout(FLUSH_TIMEOUT);
                    return;
                }
                Err(TrySendError::Full(_)) => std::thread::sleep(STEP),
                Err(TrySendError::Disconnected(_)) => return,
            }
        }
    }

    /// Lines dropped so far that no line has reported yet.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Line<'_> {
    /// A field of text.
    pub fn str(mut self, name: &str, value: &str) -> Self {
        let room = self.room(name);
        let value = self.clip(value, room);
        self.field(name, |text, style| match style {
            Style::Json => push_json(text, value),
            Style::Pretty { .. } => push_visible(text, value, false),
        })
    }

    /// A field of whatever prints itself.
    pub fn show(self, name: &str, value: impl std::fmt::Display) -> Self {
        self.str(name, &value.to_string())
    }

    /// A number.
    pub fn int(self, name: &str, value: impl Into<i128>) -> Self {
        let value = value.into();
        self.field(name, |text, _| {
            let _ = write!(text, "{value}");
        })
    }

    /// A number with a fraction; null if it is none.
    pub fn float(self, name: &str, value: f64) -> Self {
        self.field(name, |text, _| {
            let _ = if value.is_finite() { write!(text, "{value}") } else { write!(text, "null") };
        })
    }

    /// A truth value.
    pub fn bool(self, name: &str, value: bool) -> Self {
        self.field(name, |text, _| {
            let _ = write!(text, "{value}");
        })
    }

    /// A field whose value is JSON already (one valid value, without line breaks).
    /// Left out, and the line marked as cut, if there is no room.
    pub fn json(self, name: &str, value: &str) -> Self {
        debug_assert!(!value.contains('\n'), "one line");
        self.field(name, |text, _| text.push_str(value))
    }

    /// Gives the line to the writer, or drops and counts it.
    pub fn send(mut self) {
        if self.cut {
            self.text.push_str(match self.logger.style {
                Style::Json => ",\"cut\":true",
                Style::Pretty { .. } => " (cut)",
            });
        }
        if self.logger.style == Style::Json {
            self.text.push('}');
        }
        self.text.push('\n');
        debug_assert!(self.text.len() <= LOG_LINE_BYTES_MAX);
        self.logger.give(self.text);
    }

    /// Bytes that a value may have so that the line stays within its bound.
    fn room(&self, name: &str) -> usize {
        // Name, quotes, colon, comma; a name is escaped as well.
        LOG_LINE_BYTES_MAX
            .saturating_sub(self.text.len() + RESERVE_BYTES + 6 * name.len().min(NAME_BYTES_MAX) + 6)
    }

    /// The longest start of `value` whose escaped form has at most `bytes`.
    fn clip<'v>(&mut self, value: &'v str, bytes: usize) -> &'v str {
        if value.len() * 6 <= bytes {
            return value;
        }
        let mut length = 0;
        for (at, c) in value.char_indices() {
            length += escaped_bytes(c);
            if length > bytes {
                self.cut = true;
                return &value[..at];
            }
        }
        value
    }

    fn field(mut self, name: &str, push: impl FnOnce(&mut String, Style)) -> Self {
        let name = &name[..name.floor_char_boundary(NAME_BYTES_MAX)];
        let before = self.text.len();
        match self.logger.style {
            Style::Json => {
                self.text.push(',');
                push_json(&mut self.text, name);
                self.text.push(':');
            }
            Style::Pretty { .. } => {
                self.text.push(' ');
                push_visible(&mut self.text, name, true);
                self.text.push('=');
            }
        }
        push(&mut self.text, self.logger.style);
        if self.text.len() + RESERVE_BYTES > LOG_LINE_BYTES_MAX {
            self.text.truncate(before);
            self.cut = true;
        }
        self
    }
}

/// The wall clock, for log lines.
#[must_use]
pub fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "the clock of log lines outside of a core's turn")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// `2026-11-20T11:22:14.000123Z` (RFC 3339 section 5.6), always 27 bytes for the
/// years 0 to 9999; others are clamped to them.
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    const DAY: i64 = 86_400_000_000;
    // 0000-01-01 and the last microsecond of 9999.
    let micros = at.0.clamp(-719_528 * DAY, 2_932_897 * DAY - 1);
    let (days, rest) = (micros.div_euclid(DAY), micros.rem_euclid(DAY));
    // Days to civil date: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (seconds, micros) = (rest / 1_000_000, rest % 1_000_000);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{micros:06}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// Bytes of a character in a JSON string (RFC 8259 section 7).
fn escaped_bytes(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' => 2,
        c if c.is_control() => 6,
        c => c.len_utf8(),
    }
}

fn push_json(text: &mut String, value: &str) {
    text.push('"');
    for c in value.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(text, "\\u{:04x}", c as u32);
            }
            c => text.push(c),
        }
    }
    text.push('"');
}

/// Text for a terminal: control characters are escaped (a log line must not move
/// the cursor); quoted where it wouldn't read as one word, unless `bare`.
fn push_visible(text: &mut String, value: &str, bare: bool) {
    let plain = |c: char| !c.is_control() && (bare || !(c.is_whitespace() || c == '"'));
    if value.chars().all(plain) && (bare || !value.is_empty()) {
        text.push_str(value);
    } else {
        push_json(text, value);
    }
}

/// The thread: writes until the last logger is gone.
fn write_lines(receiver: &Receiver<Message>, dropped: &AtomicU64, style: Style, mut out: impl Write) {
    // A batch is one write: fewer system calls when it rains.
    const BATCH_BYTES: usize = 64 * 1024;
    let mut batch = String::new();
    while let Ok(first) = receiver.recv() {
        let mut flushes = Vec::new();
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Line(line) => batch.push_str(&line),
                Message::Flush(sender) => flushes.push(sender),
            }
            next = if batch.len() < BATCH_BYTES { receiver.try_recv().ok() } else { None };
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let ts = rfc3339(now());
            let _ = match style {
                Style::Json => writeln!(
                    batch,
                    "{{\"ts\":\"{ts}\",\"level\":\"warn\",\"msg\":\"log lines dropped\",\"count\":{lost}}}"
                ),
                Style::Pretty { .. } => {
                    writeln!(batch, "{} warn  log lines dropped count={lost}", &ts[11..23])
                }
            };
        }
        write_all(&mut out, batch.as_bytes());
        batch.clear();
        for flush in flushes {
            let _ = flush.send(());
        }
    }
}

/// A stderr that is a full non-blocking pipe is waited for; one that is gone is
/// nobody's problem.
fn write_all(out: &mut impl Write, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => return,
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(_) => return,
        }
    }
    let _ = out.flush();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Condvar, Mutex};

    /// What was written; `gate` holds the writer back while it is closed.
    #[derive(Clone, Default)]
    struct Out(Arc<(Mutex<State>, Condvar)>);

    type State = (Vec<u8>, bool);

    impl Write for Out {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (lock, gate) = &*self.0;
            let mut state = gate.wait_while(lock.lock().unwrap(), |state| state.1).unwrap();
            state.0.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Out {
        fn set_closed(&self, closed: bool) {
            self.0.0.lock().unwrap().1 = closed;
            self.0.1.notify_all();
        }
        fn lines(&self) -> Vec<String> {
            let text = String::from_utf8(self.0.0.lock().unwrap().0.clone()).unwrap();
            text.lines().map(str::to_owned).collect()
        }
        fn json(&self) -> Vec<serde_json::Value> {
            self.lines().iter().map(|line| serde_json::from_str(line).expect(line)).collect()
        }
    }

    #[test]
    fn a_json_line() {
        let out = Out::default();
        let logger = Logger::start(Style::Json, out.clone()).unwrap();
        logger
            .line_at(Timestamp(1_795_000_934_000_123), Level::Warn, "he said \"no\"\n\x1b[31m")
            .str("path", "C:\\x\ty")
            .int("count", 7u64)
            .int("least", i64::MIN)
            .float("ratio", 0.5)
            .float("bad", f64::NAN)
            .bool("ok", true)
            .json("list", "[1,2]")
            .show("address", std::net::Ipv4Addr::LOCALHOST)
            .send();
        logger.flush();
        let lines = out.json();
        assert_eq!(
            lines[0],
            serde_json::json!({
                "ts": "2026-11-18T11:22:14.000123Z", "level": "warn", "msg": "he said \"no\"\n\x1b[31m",
                "path": "C:\\x\ty", "count": 7, "least": i64::MIN, "ratio": 0.5, "bad": null, "ok": true,
                "list": [1, 2], "address": "127.0.0.1",
            })
        );
        assert!(
            out.lines()[0].starts_with("{\"ts\":\"2026-11-18T11:22:14.000123Z\",\"level\":\"warn\",\"msg\":")
        );
    }

    #[test]
    fn lines_stay_within_the_bound_and_stay_json() {
        let out = Out::default();
        let logger = Logger::start(Style::Json, out.clone()).unwrap();
        for filler in ["x", "\"", "\x01", "é", "日", "\u{85}", "\n"] {
            for length in [10, 1000, 1360, 1361, 2048, 8000, 8190, 20_000] {
                let long = filler.repeat(length / filler.len());
                logger
                    .info(&long)
                    .str("a", &long)
                    .str(&long, "v")
                    .json("j", &format!("[{}]", "1,".repeat(length) + "1"))
                    .int("n", 1)
                    .send();
            }
        }
        logger.flush();
        let lines = out.lines();
        assert_eq!(lines.len(), 7 * 8);
        assert!(
            lines.iter().all(|line| line.len() < LOG_LINE_BYTES_MAX),
            "{}",
            lines.iter().map(String::len).max().unwrap()
        );
        let parsed = out.json();
        assert_eq!(parsed[0]["cut"], serde_json::Value::Null);
        assert_eq!(parsed[7]["cut"], true);
        assert!(lines[7].len() > LOG_LINE_BYTES_MAX / 2);
    }

    #[test]
    fn a_slow_reader_costs_lines_not_time_and_the_loss_is_told() {
        let out = Out::default();
        out.set_closed(true);
        let logger = Logger::start(Style::Json, out.clone()).unwrap();
        let total = LOG_QUEUE_LINES_MAX * 3;
        for number in 0..total {
            logger.info("x").int("n", number as u64).send();
        }
        assert!(logger.dropped() > 0);
        out.set_closed(false);
        logger.flush();
        logger.info("last").send();
        logger.flush();
        let lines = out.json();
        let lost: u64 = lines.iter().filter_map(|line| line["count"].as_u64()).sum();
        let written = lines.iter().filter(|line| line["n"].is_u64()).count();
        assert_eq!(written + usize::try_from(lost).unwrap(), total);
        assert_eq!(lines.last().unwrap()["msg"], "last");
    }

    #[test]
    fn a_pretty_line() {
        let out = Out::default();
        let logger = Logger::start(Style::Pretty { color: false }, out.clone()).unwrap();
        logger
            .line_at(Timestamp(14_000_123), Level::Info, "two words")
            .str("a", "b c")
            .str("d", "e")
            .str("f", "\x1b")
            .send();
        logger.flush();
        assert_eq!(out.lines(), ["00:00:14.000 info  two words a=\"b c\" d=e f=\"\\u001b\""]);
    }

    #[test]
    fn timestamps() {
        let check = |micros: i64, text: &str| assert_eq!(rfc3339(Timestamp(micros)), text);
        check(0, "1970-01-01T00:00:00.000000Z");
        check(-1, "1969-12-31T23:59:59.999999Z");
        check(951_782_400_000_000, "2000-02-29T00:00:00.000000Z");
        check(4_107_542_400_000_000, "2100-03-01T00:00:00.000000Z");
        check(i64::MIN, "0000-01-01T00:00:00.000000Z");
        check(i64::MAX, "9999-12-31T23:59:59.999999Z");
    }
}
