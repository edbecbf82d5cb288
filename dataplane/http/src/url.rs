//! `http://` URLs for requests that scripts send, parsed strictly (RFC 3986, RFC 9110 section 4.2.1).
//!
//! What a browser would repair is an error here, so that the address that was
//! checked against the private ranges is the address that is called.

use std::fmt;

use crate::parse::{check_host, decimal};

/// Longest URL.
pub const URL_BYTES_MAX: usize = 8 * 1024;

/// A parsed URL, borrowed from its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Url<'a> {
    /// The host to resolve: a name, an IPv4 address, or an IPv6 address without its brackets.
    pub host: &'a str,
    /// The port, 80 where the URL has none. 1 <= port.
    pub port: u16,
    /// What the Host field says: host and port as written, brackets included.
    pub authority: &'a str,
    /// Path and query, as sent; empty where the URL has no path (`/` or `/?query` is sent).
    path_and_query: &'a str,
}

/// Why a URL is refused: the script's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlError {
    /// No `http://` at the start.
    Scheme,
    /// `https://`, which isn't built yet.
    Https,
    /// `user@` or `user:password@` before the host.
    UserInfo,
    /// The host isn't a name, an IPv4 address or a bracketed IPv6 address, or its port isn't 1 to 65535.
    Host,
    /// A byte that must be percent-encoded, or a `%` without two hex digits.
    Character {
        /// Its offset in the URL.
        offset: usize,
    },
    /// Longer than [`URL_BYTES_MAX`].
    TooLong,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme => f.write_str("a URL begins with http://"),
            Self::Https => f.write_str("https:// is not supported yet"),
            Self::UserInfo => {
                f.write_str("a URL must not have a user name or password; use the Authorization header")
            }
            Self::Host => f.write_str("the URL's host is not a name or an address with an optional port"),
            Self::Character { offset } => {
                write!(f, "byte {offset} of the URL must be percent-encoded (encodeURIComponent)")
            }
            Self::TooLong => write!(f, "the URL is longer than {URL_BYTES_MAX} bytes"),
        }
    }
}

impl std::error::Error for UrlError {}

impl<'a> Url<'a> {
    /// Parses a URL. A fragment is cut off: it is never sent.
    pub fn parse(text: &'a str) -> Result<Self, UrlError> {
        const SCHEME: &str = "http://";
        if text.len() > URL_BYTES_MAX {
            return Err(UrlError::TooLong);
        }
        let starts = |scheme: &str| text.get(..scheme.len()).is_some_and(|s| s.eq_ignore_ascii_case(scheme));
        if starts("https://") {
            return Err(UrlError::Https);
        }
        if !starts(SCHEME) {
            return Err(UrlError::Scheme);
        }
        let end = text.find('#').unwrap_or(text.len());
        let rest = &text[SCHEME.len()..end];
        let authority_bytes = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path_and_query) = rest.split_at(authority_bytes);
        if authority.contains('@') {
            return Err(UrlError::UserInfo);
        }
        check_host(authority.as_bytes()).map_err(|_| UrlError::Host)?;
        check_characters(path_and_query.as_bytes())
            .map_err(|offset| UrlError::Character { offset: SCHEME.len() + authority_bytes + offset })?;

        // `check_host` leaves only `host`, `host:` and `host:digits`; an IPv6 address ends with `]`.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port),
            _ => (authority, ""),
        };
        let port = match port {
            "" => 80,
            digits => {
                decimal(digits.as_bytes()).and_then(|port| u16::try_from(port).ok()).ok_or(UrlError::Host)?
            }
        };
        if port == 0 {
            return Err(UrlError::Host);
        }
        let authority = authority.strip_suffix(':').unwrap_or(authority);
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Ok(Self { host, port, authority, path_and_query })
    }

    /// Appends the request target in origin-form.
    pub fn write_target(&self, out: &mut Vec<u8>) {
        if !self.path_and_query.starts_with('/') {
            out.push(b'/');
        }
        out.extend_from_slice(self.path_and_query.as_bytes());
    }
}

/// Offset of the first byte that RFC 3986 doesn't allow in a path or query.
fn check_characters(text: &[u8]) -> Result<(), usize> {
    for (offset, byte) in text.iter().enumerate() {
        let allowed = match byte {
            b'%' => {
                matches!(text.get(offset + 1..offset + 3), Some(digits) if digits.iter().all(u8::is_ascii_hexdigit))
            }
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | b'[' | b']' => false,
            _ => byte.is_ascii_graphic(),
        };
        if !allowed {
            return Err(offset);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Result<(&str, u16, &str, &str), UrlError>) {
        let url = Url::parse(text);
        let mut target = Vec::new();
        if let Ok(url) = url {
            url.write_target(&mut target);
        }
        let target = String::from_utf8(target).unwrap();
        assert_eq!(url.map(|url| (url.host, url.port, url.authority, &*target)), expect, "{text}");
    }

    #[test]
    fn urls() {
        check("http://a", Ok(("a", 80, "a", "/")));
        check(
            "HTTP://a.example:8080/x/y?z=1&%20#frag",
            Ok(("a.example", 8080, "a.example:8080", "/x/y?z=1&%20")),
        );
        check("http://a:/x", Ok(("a", 80, "a", "/x")));
        check("http://a?q", Ok(("a", 80, "a", "/?q")));
        check("http://a#f", Ok(("a", 80, "a", "/")));
        check("http://[::1]:81/", Ok(("::1", 81, "[::1]:81", "/")));
        check("http://[2001:db8::1]", Ok(("2001:db8::1", 80, "[2001:db8::1]", "/")));
        check("http://127.0.0.1/?a=/b", Ok(("127.0.0.1", 80, "127.0.0.1", "/?a=/b")));
    }

    #[test]
    fn refusals() {
        check("https://a", Err(UrlError::Https));
        for text in ["", "a", "http:/a", "http:a", "ftp://a", "//a", "/a", " http://a"] {
            check(text, Err(UrlError::Scheme));
        }
        for text in ["http://u@a", "http://u:p@a/", "http://a@b@c"] {
            check(text, Err(UrlError::UserInfo));
        }
        for text in [
            "http://",
            "http:///a",
            "http://:80",
            "http://a b",
            "http://a:b",
            "http://a:0",
            "http://a:65536",
            "http://a\\b",
            "http://[::1",
            "http://::1",
            "http://é",
            "http://a%2e",
            "http://[::1]a",
            "http://a:80:80",
            "http://a\r\nb",
        ] {
            check(text, Err(UrlError::Host));
        }
        for (text, offset) in [
            ("http://a/ b", 9),
            ("http://a/é", 9),
            ("http://a/\r\nX: y", 9),
            ("http://a/%2", 9),
            ("http://a/%zz", 9),
            ("http://a?{", 9),
            ("http://a/\0", 9),
        ] {
            check(text, Err(UrlError::Character { offset }));
        }
        check(&format!("http://a/{}", "x".repeat(URL_BYTES_MAX)), Err(UrlError::TooLong));
    }
}
