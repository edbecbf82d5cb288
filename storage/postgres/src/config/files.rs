//! What libpq reads from files: services and passwords (manual: "The Connection Service File", "The Password File").

use std::path::{Path, PathBuf};

use super::{ConfigError, Host, Settings, error};

/// Bytes of such a file.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

type Env<'e> = &'e dyn Fn(&str) -> Option<String>;

/// A file of the user's home folder, if the environment names one.
pub(super) fn home(env: Env<'_>, name: &str) -> Option<PathBuf> {
    env("HOME").filter(|home| !home.is_empty()).map(|home| Path::new(&home).join(name))
}

fn read(path: &Path) -> Result<Option<String>, String> {
    match std::fs::metadata(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e.to_string()),
        Ok(metadata) if metadata.len() > FILE_BYTES_MAX => return Err("longer than 1 MiB".into()),
        Ok(_) => {}
    }
    std::fs::read_to_string(path).map(Some).map_err(|e| e.to_string())
}

/// Fills what the text left out from the section `[service]` of the service file.
pub(super) fn service(settings: &mut Settings, env: Env<'_>) -> Result<(), ConfigError> {
    let Some(name) = settings.get("service").map(str::to_owned) else { return Ok(()) };
    let own = env("PGSERVICEFILE").map(PathBuf::from).or_else(|| home(env, ".pg_service.conf"));
    let system = env("PGSYSCONFDIR").map(|folder| Path::new(&folder).join("pg_service.conf"));
    for path in [own, system].into_iter().flatten() {
        let shown = path.display();
        let Some(text) = read(&path).map_err(|e| error("service", format!("{shown}: {e}")))? else {
            continue;
        };
        let mut inside = false;
        let mut found = false;
        for (line, number) in text.lines().map(str::trim).zip(1..) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                inside = section == name;
                found |= inside;
            } else if inside {
                let (key, value) = line
                    .split_once('=')
                    .ok_or_else(|| error("service", format!("{shown}:{number}: expected key=value")))?;
                let key = key.trim();
                if key == "service" {
                    return Err(error("service", format!("{shown}:{number}: a service within a service")));
                }
                settings.set_default(key, value.trim().to_owned())?;
            }
        }
        if found {
            return Ok(());
        }
    }
    Err(error("service", format!("\"{name}\" is not in any service file")))
}

/// The password for this host from the password file; a file that others can read is refused, as libpq does.
pub(super) fn password(
    settings: &Settings,
    env: Env<'_>,
    host: &Host,
    port: u16,
    database: &str,
    user: &str,
) -> Result<Option<String>, ConfigError> {
    let asked = settings.get("passfile").map(PathBuf::from);
    let Some(path) = asked.or_else(|| home(env, ".pgpass")) else { return Ok(None) };
    let fail = |e: String| error("passfile", format!("{}: {e}", path.display()));
    let Some(text) = read(&path).map_err(fail)? else { return Ok(None) };
    {
        use std::os::unix::fs::MetadataExt as _;
        let mode = std::fs::metadata(&path).map_err(|e| fail(e.to_string()))?.mode();
        if mode & 0o077 != 0 {
            return Err(fail(format!("others may read it (mode {:o}); chmod 600", mode & 0o777)));
        }
    }
    let host = match host {
        // The default folder of sockets is written as localhost.
        Host::Unix(path) if path == Path::new("/var/run/postgresql") => "localhost".to_owned(),
        Host::Unix(path) => path.display().to_string(),
        Host::Tcp(name) => name.clone(),
    };
    let wanted = [host.as_str(), &port.to_string(), database, user];
    Ok(text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let fields = fields(line);
        let [four @ .., password] = fields.as_slice() else { return None };
        let fits =
            four.len() == 4 && four.iter().zip(wanted).all(|(field, want)| field == "*" || field == want);
        (fits && !password.is_empty()).then(|| password.clone())
    }))
}

/// `hostname:port:database:username:password`; a backslash takes the next character as it is.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        let Some(last) = fields.last_mut() else { break };
        match c {
            '\\' => last.extend(chars.next()),
            ':' => fields.push(String::new()),
            c => last.push(c),
        }
    }
    fields
}
