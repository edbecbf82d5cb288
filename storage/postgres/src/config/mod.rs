//! Where the database is and who we are there.
//!
//! Three spellings, as libpq has them (manual: "Connection Strings"):
//! `postgres://user:password@host:port/database?host=/socket/dir&application_name=x`,
//! `host=/run/postgresql user=app dbname=shop`, and the `PG*` variables, which fill what the text leaves
//! out. The environment is an argument: nothing here reads it, and no file unless it names one or a home folder.
//! Passwords and services may come from libpq's files (`files.rs`), certificates from where `tls.rs` says; several
//! hosts are tried in order, or in a random one.
//!
//! | file | what it holds |
//! |---|---|
//! | `text.rs` | the URL and `key=value` |
//! | `files.rs` | `.pgpass`, `.pg_service.conf` |
//! | `tls.rs` | sslmode, certificates, trust |

mod files;
mod text;
mod tls;

pub use tls::{SslMode, Tls};

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

/// Which of several servers will do (`target_session_attrs`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Session {
    /// Whichever answers first.
    #[default]
    Any,
    /// One that accepts writes.
    ReadWrite,
    /// One that doesn't.
    ReadOnly,
    /// Not in recovery.
    Primary,
    /// In recovery.
    Standby,
    /// In recovery; if there is none, any.
    PreferStandby,
}

/// Whether SCRAM is bound to the TLS connection, so that nobody in between can pass it on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ChannelBinding {
    /// Not at all.
    Disable,
    /// If the server offers it.
    #[default]
    Prefer,
    /// Or no connection.
    Require,
}

/// One more host of several.
#[derive(Clone, PartialEq, Eq)]
pub struct Other {
    /// Where the server listens.
    pub host: Host,
    /// Port, or the number in the unix socket's name.
    pub port: u16,
    /// Password for this host.
    pub password: Option<String>,
}

/// Hosts of one connection string.
pub const HOSTS_MAX: usize = 16;

/// Everything that a connection needs to know before its first byte.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// Where the server listens; the first of several.
    pub host: Host,
    /// Port, or the number in the unix socket's name.
    pub port: u16,
    /// The hosts behind the first.
    pub others: Vec<Other>,
    /// Start with a random one of the hosts (`load_balance_hosts=random`).
    pub balance: bool,
    /// Which of them will do.
    pub session: Session,
    /// Encryption and trust.
    pub tls: Tls,
    /// Whether SCRAM is bound to the TLS connection.
    pub channel_binding: ChannelBinding,
    /// The least and the newest minor version of protocol 3 to agree on: 0 or 2.
    pub protocol: (u16, u16),
    /// Send every query with its text (`prepared_statements=unnamed`): for poolers in transaction mode. They are noticed
    /// without it, but the first transaction may fail with 26000.
    pub unnamed: bool,
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
            .field("others", &self.others.iter().map(|o| (&o.host, o.port)).collect::<Vec<_>>())
            .field("session", &self.session)
            .field("tls", &self.tls)
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
const KEYS: [(&str, &str); 21] = [
    ("host", "PGHOST"),
    ("port", "PGPORT"),
    ("user", "PGUSER"),
    ("password", "PGPASSWORD"),
    ("dbname", "PGDATABASE"),
    ("application_name", "PGAPPNAME"),
    ("options", "PGOPTIONS"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("sslmode", "PGSSLMODE"),
    ("sslnegotiation", "PGSSLNEGOTIATION"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("channel_binding", "PGCHANNELBINDING"),
    ("target_session_attrs", "PGTARGETSESSIONATTRS"),
    ("load_balance_hosts", "PGLOADBALANCEHOSTS"),
    ("service", "PGSERVICE"),
    ("passfile", "PGPASSFILE"),
    ("min_protocol_version", "PGMINPROTOCOLVERSION"),
    ("max_protocol_version", "PGMAXPROTOCOLVERSION"),
    ("prepared_statements", "PGPREPAREDSTATEMENTS"),
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

    /// As [`Settings::set`], unless it is set.
    fn set_default(&mut self, key: &str, value: String) -> Result<(), ConfigError> {
        if self.get(key).is_some() {
            return Ok(());
        }
        self.set(key, value)
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
    /// A key that isn't known, a port that isn't a number, a file that can't be read.
    pub fn parse(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let text = text.trim();
        let mut settings = Settings::default();
        if let Some(rest) = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://")) {
            text::parse_url(rest, &mut settings)?;
        } else if let Some((scheme, _)) = text.split_once("://") {
            return Err(error("url", format!("starts with \"{scheme}://\", expected \"postgres://\"")));
        } else {
            text::parse_pairs(text, &mut settings)?;
        }
        // A service stands before the environment (manual: "The Connection Service File").
        settings.set_default("service", env("PGSERVICE").unwrap_or_default())?;
        files::service(&mut settings, env)?;
        for (index, (_, variable)) in KEYS.iter().enumerate() {
            if settings.0[index].is_none() {
                settings.0[index] = env(variable);
            }
        }
        Self::from_settings(&settings, env)
    }

    fn from_settings(settings: &Settings, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        for (key, _) in KEYS {
            if settings.get(key).is_some_and(|value| value.contains('\0')) {
                return Err(error(key, "contains a NUL byte"));
            }
        }
        let hosts = hosts(settings)?;
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
        let tls = tls::from_settings(settings, env)?;
        let session = one_of(
            settings,
            "target_session_attrs",
            &[
                ("any", Session::Any),
                ("read-write", Session::ReadWrite),
                ("read-only", Session::ReadOnly),
                ("primary", Session::Primary),
                ("standby", Session::Standby),
                ("prefer-standby", Session::PreferStandby),
            ],
        )?;
        let channel_binding = one_of(
            settings,
            "channel_binding",
            &[
                ("prefer", ChannelBinding::Prefer),
                ("disable", ChannelBinding::Disable),
                ("require", ChannelBinding::Require),
            ],
        )?;
        let balance = one_of(settings, "load_balance_hosts", &[("disable", false), ("random", true)])?;
        let unnamed = one_of(settings, "prepared_statements", &[("named", false), ("unnamed", true)])?;
        let versions = [("3.0", 0), ("3.2", 2), ("latest", 2)];
        let protocol = (
            one_of(settings, "min_protocol_version", &versions)?,
            one_of(settings, "max_protocol_version", &versions)?,
        );
        if protocol.0 > protocol.1 && settings.get("max_protocol_version").is_some() {
            return Err(error("max_protocol_version", "is below min_protocol_version"));
        }
        let protocol = (protocol.0, protocol.0.max(protocol.1));
        let database = settings.get("dbname").map_or_else(|| user.clone(), str::to_owned);
        let mut all = Vec::with_capacity(hosts.len());
        for (host, port) in hosts {
            let password = match settings.get("password") {
                Some(password) => Some(password.to_owned()),
                None => files::password(settings, env, &host, port, &database, &user)?,
            };
            all.push(Other { host, port, password });
        }
        let Other { host, port, password } = all.remove(0);
        Ok(Self {
            host,
            port,
            others: all,
            balance,
            session,
            tls,
            channel_binding,
            protocol,
            unnamed,
            database,
            user,
            password,
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

    /// How many hosts there are: at least one.
    #[must_use]
    pub fn host_count(&self) -> usize {
        1 + self.others.len()
    }

    /// Host, port and password of the host with this number; of the first beyond the last.
    #[must_use]
    pub fn host(&self, index: usize) -> (&Host, u16, Option<&str>) {
        match index.checked_sub(1).and_then(|index| self.others.get(index)) {
            Some(other) => (&other.host, other.port, other.password.as_deref()),
            None => (&self.host, self.port, self.password.as_deref()),
        }
    }

    /// The first address for messages: the unix socket's path, or `host:port`.
    #[must_use]
    pub fn address(&self) -> String {
        self.address_of(0)
    }

    /// As [`Config::address`], of the host with this number.
    #[must_use]
    pub fn address_of(&self, index: usize) -> String {
        match self.host(index) {
            (Host::Unix(folder), port, _) => format!("{}/.s.PGSQL.{port}", folder.display()),
            (Host::Tcp(name), port, _) if name.contains(':') => format!("[{name}]:{port}"),
            (Host::Tcp(name), port, _) => format!("{name}:{port}"),
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

/// The value of `key` among `choices`; the first of them if it isn't set.
fn one_of<T: Copy>(settings: &Settings, key: &str, choices: &[(&str, T)]) -> Result<T, ConfigError> {
    let text = settings.get(key).unwrap_or(choices[0].0);
    choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        error(key, format!("\"{text}\" is not one of {}", known.join(", ")))
    })
}

/// Hosts with their ports: one port for all, or as many as hosts.
fn hosts(settings: &Settings) -> Result<Vec<(Host, u16)>, ConfigError> {
    let names: Vec<&str> = settings.get("host").unwrap_or("/var/run/postgresql").split(',').collect();
    if names.len() > HOSTS_MAX {
        return Err(error("host", format!("more than {HOSTS_MAX} hosts")));
    }
    let ports: Vec<&str> = settings.get("port").unwrap_or("5432").split(',').collect();
    if ports.len() != 1 && ports.len() != names.len() {
        return Err(error("port", format!("{} ports for {} hosts", ports.len(), names.len())));
    }
    let mut all = Vec::with_capacity(names.len());
    for (index, name) in names.into_iter().enumerate() {
        let name = if name.is_empty() { "/var/run/postgresql" } else { name };
        if name.starts_with('@') {
            return Err(error("host", "abstract unix sockets aren't supported"));
        }
        let text = ports[if ports.len() == 1 { 0 } else { index }];
        let port = match text.parse() {
            _ if text.is_empty() => 5432,
            Ok(port) if port != 0 => port,
            _ => return Err(error("port", format!("\"{text}\" is not a port, expected 1 to 65535"))),
        };
        let host = if name.starts_with('/') { Host::Unix(name.into()) } else { Host::Tcp(name.to_owned()) };
        all.push((host, port));
    }
    Ok(all)
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
        check("postgres://u@h/x?sslmode=verify-full", &[], "sslrootcert: missing");
        check(
            "postgres://u@h/x?sslnegotiation=direct",
            &[],
            "sslnegotiation: \"direct\" needs sslmode=require",
        );
        check("postgres://u@h/x?sslmode=require&sslrootcert=/none", &[], "sslrootcert: /none: ");
        check("host=a,b,c port=1,2 user=u", &[], "port: 2 ports for 3 hosts");
        check("host=h user=u target_session_attrs=x", &[], "target_session_attrs: \"x\" is not one of any");
        check(
            "host=h user=u min_protocol_version=3.2 max_protocol_version=3.0",
            &[],
            "max_protocol_version: ",
        );
        check("service=x user=u", &[("HOME", "/nonexistent")], "service: \"x\" is not in any");
        check("postgres://u@h/x?sslmode=maybe", &[], "sslmode: \"maybe\" is not a mode");
        check("postgres://u:50%@h/x", &[], "password: \"%\" is not followed");
        check("postgres://u@h/x?target=y", &[], "target: unknown key");
        check("host", &[], "host: expected \"=\"");
        check("host='x", &[], "host: unterminated");
        check("host=a", &[], "user: missing");
    }

    #[test]
    fn several_hosts_each_with_its_port() {
        let check = |text: &str, expect: &[&str]| {
            let config = Config::parse(text, &|_| None).unwrap();
            let all: Vec<String> = (0..config.host_count()).map(|i| config.address_of(i)).collect();
            assert_eq!(all, expect, "{text}");
        };
        check("postgres://u@a:1,b:2,[::1]:3/d", &["a:1", "b:2", "[::1]:3"]);
        check("postgres://u@a,b:2/d", &["a:5432", "b:2"]);
        check("host=a,/tmp port=7 user=u", &["a:7", "/tmp/.s.PGSQL.7"]);
        check("host=a,b port=7,8 user=u", &["a:7", "b:8"]);
    }

    #[test]
    fn services_and_passwords_come_from_files() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().display().to_string();
        let write = |name: &str, text: &str, mode: u32| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        write(".pg_service.conf", "# all\n[a]\nhost=ha\nuser = ua\n[b]\nhost=hb\nport=77\n", 0o644);
        write(".pgpass", "# none\nother:*:*:*:no\nhb:77:*:u\\:x:p\\:w\n*:*:*:*:any\n", 0o600);
        let env = [("HOME", home.as_str()), ("PGUSER", "env")];
        check("service=a", &env, "ha|5432|ua|any|ua");
        check("service=b user=u:x", &env, "hb|77|u:x|p:w|u:x");
        check("service=b password=given", &env, "hb|77|env|given|env");
        write(".pgpass", "*:*:*:*:any\n", 0o644);
        check("service=b", &env, "others may read it (mode 644)");
    }

    #[test]
    fn the_password_is_not_shown() {
        let config = Config::parse("postgres://u:secret@h/d", &|_| None).unwrap();
        assert!(!format!("{config:?}").contains("secret"));
    }
}
