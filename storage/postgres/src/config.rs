//! Where the database is and who we are there.
//!
//! Three spellings, as libpq has them (manual: "Connection Strings"):
//! `postgres://user:password@host:port/database?host=/socket/dir&application_name=x`,
//! `host=/run/postgresql user=app dbname=shop`, and the `PG*` variables, which fill what the text leaves
//! out. The environment is an argument: nothing here reads it.
//!
//! **TLS.** There is none yet. `sslmode=disable`, `allow` and `prefer` (libpq's default) connect in plain
//! text; `require` and above are refused, so that nobody believes in an encryption that isn't there.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Where the server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A unix socket's folder; the socket in it is `.s.PGSQL.<port>`.
    Unix(PathBuf),
    /// A name or an address.
    Tcp(String),
}

/// Everything that a connection needs to know before its first byte.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// Where the server listens.
    pub host: Host,
    /// Port, or the number in the unix socket's name.
    pub port: u16,
    /// Role.
    pub user: String,
    /// Password, if there is one. Not shown by `Debug`.
    pub password: Option<String>,
    /// Database.
    pub database: String,
    /// Shown in `pg_stat_activity`.
    pub application_name: String,
    /// Command-line options for the server, such as `-c search_path=app`; may be empty.
    pub options: String,
    /// From the start of a connection attempt to the first ReadyForQuery.
    pub connect_timeout: Duration,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("database", &self.database)
            .field("application_name", &self.application_name)
            .field("options", &self.options)
            .field("connect_timeout", &self.connect_timeout)
            .finish()
    }
}

/// What is wrong with a connection string; names the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The key, variable or part of the URL at fault.
    pub key: String,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "database: {}: {}", self.key, self.reason)
    }
}

impl std::error::Error for ConfigError {}

/// Keys, and the variables that stand in for them.
const KEYS: [(&str, &str); 9] = [
    ("host", "PGHOST"),
    ("port", "PGPORT"),
    ("user", "PGUSER"),
    ("password", "PGPASSWORD"),
    ("dbname", "PGDATABASE"),
    ("application_name", "PGAPPNAME"),
    ("options", "PGOPTIONS"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("sslmode", "PGSSLMODE"),
];

/// Values by the index of their key in [`KEYS`].
#[derive(Default)]
struct Settings([Option<String>; KEYS.len()]);

impl Settings {
    fn set(&mut self, key: &str, value: String) -> Result<(), ConfigError> {
        let key = if key == "database" { "dbname" } else { key };
        match KEYS.iter().position(|(name, _)| *name == key) {
            Some(index) => {
                self.0[index] = Some(value);
                Ok(())
            }
            None => {
                let known = KEYS.map(|(name, _)| name).join(", ");
                Err(error(key, format!("unknown key; known are {known}")))
            }
        }
    }

    fn get(&self, key: &str) -> Option<&str> {
        let index = KEYS.iter().position(|(name, _)| *name == key)?;
        self.0[index].as_deref().filter(|value| !value.is_empty())
    }
}

fn error(key: &str, reason: impl Into<String>) -> ConfigError {
    ConfigError { key: key.to_owned(), reason: reason.into() }
}

impl Config {
    /// Reads a URL or `key=value` pairs; what they leave out comes from `env` (called with names such as
    /// `PGHOST`), then from libpq's defaults. An empty text is the environment alone.
    ///
    /// # Errors
    /// A key that isn't known, a port that isn't a number, several hosts, `sslmode` of `require` or above.
    pub fn parse(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let text = text.trim();
        let mut settings = Settings::default();
        if let Some(rest) = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://")) {
            parse_url(rest, &mut settings)?;
        } else if let Some((scheme, _)) = text.split_once("://") {
            return Err(error("url", format!("starts with \"{scheme}://\", expected \"postgres://\"")));
        } else {
            parse_pairs(text, &mut settings)?;
        }
        for (index, (_, variable)) in KEYS.iter().enumerate() {
            if settings.0[index].is_none() {
                settings.0[index] = env(variable);
            }
        }
        Self::from_settings(&settings, env)
    }

    fn from_settings(settings: &Settings, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        match settings.get("sslmode").unwrap_or("prefer") {
            "disable" | "allow" | "prefer" => {}
            mode @ ("require" | "verify-ca" | "verify-full") => {
                return Err(error(
                    "sslmode",
                    format!(
                        "\"{mode}\" needs TLS to the database, which isn't supported yet; use a unix socket or a private network with sslmode=disable"
                    ),
                ));
            }
            other => return Err(error("sslmode", format!("\"{other}\" is not a mode"))),
        }
        let host = settings.get("host").unwrap_or("/var/run/postgresql");
        if host.contains(',') {
            return Err(error("host", "several hosts aren't supported yet"));
        }
        if host.starts_with('@') {
            return Err(error("host", "abstract unix sockets aren't supported"));
        }
        let port = match settings.get("port") {
            None => 5432,
            Some(text) => match text.parse() {
                Ok(port) if port != 0 => port,
                _ => return Err(error("port", format!("\"{text}\" is not a port, expected 1 to 65535"))),
            },
        };
        let user = match settings.get("user") {
            Some(user) => user.to_owned(),
            None => env("USER")
                .filter(|user| !user.is_empty())
                .ok_or_else(|| error("user", "missing; set it in the URL or in PGUSER"))?,
        };
        let connect_timeout = match settings.get("connect_timeout") {
            None => 10,
            Some(text) => text.parse::<u32>().map_err(|_| {
                error("connect_timeout", format!("\"{text}\" is not a whole number of seconds"))
            })?,
        };
        for (key, _) in KEYS {
            if settings.get(key).is_some_and(|value| value.contains('\0')) {
                return Err(error(key, "contains a NUL byte"));
            }
        }
        Ok(Self {
            host: if host.starts_with('/') { Host::Unix(host.into()) } else { Host::Tcp(host.to_owned()) },
            port,
            database: settings.get("dbname").map_or_else(|| user.clone(), str::to_owned),
            user,
            password: settings.get("password").map(str::to_owned),
            application_name: settings.get("application_name").unwrap_or("forebay").to_owned(),
            options: settings.get("options").unwrap_or_default().to_owned(),
            // libpq: 0 waits forever; here it is the longest time there is a reason for.
            connect_timeout: Duration::from_secs(if connect_timeout == 0 {
                3600
            } else {
                connect_timeout.into()
            }),
        })
    }

    /// The address for messages: the unix socket's path, or `host:port`.
    #[must_use]
    pub fn address(&self) -> String {
        match &self.host {
            Host::Unix(folder) => format!("{}/.s.PGSQL.{}", folder.display(), self.port),
            Host::Tcp(name) if name.contains(':') => format!("[{name}]:{}", self.port),
            Host::Tcp(name) => format!("{name}:{}", self.port),
        }
    }

    /// The unix socket's path, if the host is one.
    #[must_use]
    pub fn unix_socket(&self) -> Option<PathBuf> {
        match &self.host {
            Host::Unix(folder) => Some(folder.join(format!(".s.PGSQL.{}", self.port))),
            Host::Tcp(_) => None,
        }
    }
}

/// `[user[:password]@][host][:port][/dbname][?key=value&...]`
fn parse_url(rest: &str, settings: &mut Settings) -> Result<(), ConfigError> {
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (userinfo, address) = authority.rsplit_once('@').unwrap_or(("", authority));
    if !userinfo.is_empty() {
        let (user, password) = match userinfo.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (userinfo, None),
        };
        settings.set("user", percent_decode("user", user)?)?;
        if let Some(password) = password {
            settings.set("password", percent_decode("password", password)?)?;
        }
    }
    let (host, port) = if let Some(inside) = address.strip_prefix('[') {
        let (host, tail) =
            inside.split_once(']').ok_or_else(|| error("host", "an IPv6 address without its \"]\""))?;
        match tail.strip_prefix(':') {
            Some(port) => (host, port),
            None if tail.is_empty() => (host, ""),
            None => return Err(error("host", "unexpected text after \"]\"")),
        }
    } else {
        address.split_once(':').unwrap_or((address, ""))
    };
    if !host.is_empty() {
        settings.set("host", percent_decode("host", host)?)?;
    }
    if !port.is_empty() {
        settings.set("port", port.to_owned())?;
    }
    if !path.is_empty() {
        settings.set("dbname", percent_decode("dbname", path)?)?;
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or_else(|| error(pair, "expected key=value"))?;
        settings.set(&percent_decode("url", key)?, percent_decode(key, value)?)?;
    }
    Ok(())
}

fn percent_decode(key: &str, text: &str) -> Result<String, ConfigError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |index: usize| rest.get(index).and_then(|b| char::from(*b).to_digit(16));
        match (digit(0), digit(1)) {
            (Some(high), Some(low)) => {
                bytes.push(u8::try_from(high << 4 | low).unwrap_or_default());
                rest = &rest[2..];
            }
            _ => {
                return Err(error(
                    key,
                    "\"%\" is not followed by two hexadecimal digits (write %25 for \"%\")",
                ));
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| error(key, "is not UTF-8 after decoding"))
}

/// `key = value key='quoted value'`; `\'` and `\\` escape.
fn parse_pairs(text: &str, settings: &mut Settings) -> Result<(), ConfigError> {
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.peek().is_none() {
            return Ok(());
        }
        let mut key = String::new();
        while let Some(c) = chars.next_if(|c| *c != '=' && !c.is_whitespace()) {
            key.push(c);
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.next() != Some('=') {
            return Err(error(&key, "expected \"=\" after this key"));
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let mut value = String::new();
        let quoted = chars.next_if_eq(&'\'').is_some();
        loop {
            match chars.next() {
                None if quoted => return Err(error(&key, "unterminated quoted value")),
                None => break,
                Some('\'') if quoted => break,
                Some(c) if !quoted && c.is_whitespace() => break,
                Some('\\') => value.extend(chars.next()),
                Some(c) => value.push(c),
            }
        }
        settings.set(&key, value)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Ok`: host|port|user|password|database. `Err`: the message.
    fn check(text: &str, env: &[(&str, &str)], expect: &str) {
        let env = |name: &str| env.iter().find(|(k, _)| *k == name).map(|(_, v)| (*v).to_owned());
        let got = match Config::parse(text, &env) {
            Ok(c) => {
                let host = match &c.host {
                    Host::Unix(path) => path.display().to_string(),
                    Host::Tcp(name) => name.clone(),
                };
                format!("{host}|{}|{}|{}|{}", c.port, c.user, c.password.unwrap_or_default(), c.database)
            }
            Err(e) => e.to_string(),
        };
        assert!(got.contains(expect), "{text:?}: got {got:?}, expected {expect:?}");
    }

    #[test]
    fn the_three_spellings() {
        check("postgres://app:s%40c@db.local:6543/shop", &[], "db.local|6543|app|s@c|shop");
        check("postgresql://app@[::1]/", &[], "::1|5432|app||app");
        check("postgres://app@/shop?host=/tmp/pg&port=5", &[], "/tmp/pg|5|app||shop");
        check("postgres://app@%2Ftmp%2Fpg/shop", &[], "/tmp/pg|5432|app||shop");
        check("host=/tmp user='a b' password = 'it\\'s' dbname=x", &[], "/tmp|5432|a b|it's|x");
        check("", &[("PGHOST", "h"), ("PGUSER", "u"), ("PGPORT", "7")], "h|7|u||u");
        check("", &[("USER", "me")], "/var/run/postgresql|5432|me||me");
        check("postgres://a:b@h/d?sslmode=prefer", &[("PGUSER", "u")], "h|5432|a|b|d");
    }

    #[test]
    fn errors_name_the_key() {
        check("mysql://x", &[], "url: starts with \"mysql://\"");
        check("postgres://u@h:99999/x", &[], "port: \"99999\" is not a port");
        check("postgres://u@h/x?sslmode=require", &[], "sslmode: \"require\" needs TLS");
        check("postgres://u@h/x?sslmode=maybe", &[], "sslmode: \"maybe\" is not a mode");
        check("postgres://u:50%@h/x", &[], "password: \"%\" is not followed");
        check("postgres://u@h/x?target=y", &[], "target: unknown key");
        check("host", &[], "host: expected \"=\"");
        check("host='x", &[], "host: unterminated");
        check("host=a,b user=u", &[], "host: several hosts");
        check("host=a", &[], "user: missing");
    }

    #[test]
    fn the_password_is_not_shown() {
        let config = Config::parse("postgres://u:secret@h/d", &|_| None).unwrap();
        assert!(!format!("{config:?}").contains("secret"));
    }
}
