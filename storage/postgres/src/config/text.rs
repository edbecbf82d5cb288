//! The two spellings of a connection string: URL and `key=value`.

use super::{ConfigError, Settings, error};

/// `[user[:password]@][host][:port][/dbname][?key=value&...]`
pub(super) fn parse_url(rest: &str, settings: &mut Settings) -> Result<(), ConfigError> {
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
    // Several hosts: `a:1,b:2`. Without any port there is nothing to say about ports.
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    for one in address.split(',') {
        let (host, port) = if let Some(inside) = one.strip_prefix('[') {
            let (host, tail) =
                inside.split_once(']').ok_or_else(|| error("host", "an IPv6 address without its \"]\""))?;
            match tail.strip_prefix(':') {
                Some(port) => (host, port),
                None if tail.is_empty() => (host, ""),
                None => return Err(error("host", "unexpected text after \"]\"")),
            }
        } else {
            one.split_once(':').unwrap_or((one, ""))
        };
        hosts.push(percent_decode("host", host)?);
        ports.push(port);
    }
    if !address.is_empty() {
        settings.set("host", hosts.join(","))?;
    }
    if ports.iter().any(|port| !port.is_empty()) {
        settings.set("port", ports.join(","))?;
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
pub(super) fn parse_pairs(text: &str, settings: &mut Settings) -> Result<(), ConfigError> {
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
