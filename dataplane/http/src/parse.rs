//! Bytes to a [`Head`]: the syntax and the rules about framing.
//!
//! httparse reads the syntax, with SIMD. It is lenient where RFC 9112 lets a
//! server be; on top of it we refuse everything that two servers could read in
//! two ways (CWE-444, request smuggling): bare LF, more than one Content-Length
//! or Host, Content-Length beside Transfer-Encoding, any coding but `chunked`.
//!
//! The outcome for a given sequence of bytes doesn't depend on how it was cut
//! into receives: errors of syntax are found in the order of the bytes, those of
//! the whole head (line ends, framing, Host, target) when it is complete. Only the
//! moment may differ: an error in a line whose end hasn't come yet.

use std::mem::MaybeUninit;
use std::net::Ipv6Addr;

use forebay_base::limits::HEADER_COUNT_MAX;

use crate::error::RequestError;
use crate::head::{BodyLength, DecodeLimits, Field, Head, Span, Version};
use crate::method::Method;

/// Parses the head at the start of `bytes` into `head`. `Ok(None)`: more bytes
/// are needed. `Ok(Some(n))`: the head is `bytes[..n]`.
pub(crate) fn parse(
    bytes: &[u8],
    limits: &DecodeLimits,
    head: &mut Head,
) -> Result<Option<usize>, RequestError> {
    let bytes = &bytes[..bytes.len().min(limits.head_bytes)];
    let mut storage = [const { MaybeUninit::<httparse::Header<'_>>::uninit() }; HEADER_COUNT_MAX];
    let mut request = httparse::Request::new(&mut []);
    let result = request.parse_with_uninit_headers(bytes, &mut storage[..limits.field_count]);
    let head_bytes = match result {
        Ok(httparse::Status::Complete(n)) => n,
        Ok(httparse::Status::Partial) => return incomplete(bytes, limits),
        Err(error) => return refuse(error, bytes, limits),
    };
    let bytes = &bytes[..head_bytes];
    let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
        return Err(RequestError::RequestLine);
    };
    if target.len() > limits.uri_bytes {
        return Err(RequestError::UriTooLong);
    }
    head.method = Method::from_bytes(method.as_bytes());
    head.version = if version == 0 { Version::Http10 } else { Version::Http11 };
    head.method_span = Span::within(method.as_bytes(), bytes);
    head.target = Span::within(target.as_bytes(), bytes);

    let mut framing = Framing::default();
    head.field_count = request.headers.len();
    for (slot, field) in head.fields.iter_mut().zip(request.headers.iter()) {
        let name = Span::within(field.name.as_bytes(), bytes);
        let start = usize::from(name.start);
        // httparse takes a bare LF as a line end (RFC 9112 section 2.2 leaves it to the server).
        if bytes[start - 2..start] != *b"\r\n" {
            return Err(RequestError::LineEnd);
        }
        let value = Span::within(field.value, bytes);
        *slot = Field { name, value };
        framing.see(field.name.as_bytes(), field.value, value)?;
    }
    if !bytes.ends_with(b"\r\n\r\n") {
        return Err(RequestError::LineEnd);
    }
    framing.finish(head)?;
    split_target(head, target.as_bytes(), framing.host)?;
    if let Some(host) = framing.host {
        check_host(host.of(bytes))?;
    }
    Ok(Some(head_bytes))
}

/// What the fields say about framing and addressing, gathered in one pass.
#[derive(Default)]
struct Framing {
    host: Option<Span>,
    content_length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    expect_continue: bool,
}

impl Framing {
    #[inline]
    fn see(&mut self, name: &[u8], value: &[u8], span: Span) -> Result<(), RequestError> {
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => match self.host {
                Some(_) => return Err(RequestError::HostRepeated),
                None => self.host = Some(span),
            },
            6 if name.eq_ignore_ascii_case(b"expect") => {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(RequestError::Expectation);
                }
                self.expect_continue = true;
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    self.close |= option.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                if self.content_length.is_some() {
                    return Err(RequestError::ContentLengthRepeated);
                }
                self.content_length = Some(decimal(value).ok_or(RequestError::ContentLength)?);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if self.chunked {
                    return Err(RequestError::TransferEncoding);
                }
                check_coding(value)?;
                self.chunked = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(&self, head: &mut Head) -> Result<(), RequestError> {
        let http10 = head.version == Version::Http10;
        head.body = match (self.chunked, self.content_length) {
            (true, Some(_)) => return Err(RequestError::LengthAndCoding),
            // RFC 9112 section 6.1: "MUST treat the message as if the framing is faulty".
            (true, None) if http10 => return Err(RequestError::TransferEncoding),
            (true, None) => BodyLength::Chunked,
            (false, Some(bytes)) => BodyLength::Fixed(bytes),
            (false, None) => BodyLength::None,
        };
        if !http10 && self.host.is_none() {
            return Err(RequestError::HostMissing);
        }
        head.keep_alive = !self.close && (!http10 || self.keep_alive);
        let has_body = !matches!(head.body, BodyLength::None | BodyLength::Fixed(0));
        head.expect_continue = self.expect_continue && has_body && !http10;
        Ok(())
    }
}

/// 1*DIGIT within 64 bits (RFC 9110 section 8.6).
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// Accepts `chunked` alone. Tells a coding that we could only not undo (501) from
/// a message whose end nobody can know (400), as RFC 9112 sections 6.1 and 6.3 ask.
fn check_coding(value: &[u8]) -> Result<(), RequestError> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let mut codings = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).rev();
    let known_end = codings.next().is_some_and(is_chunked)
        && codings.all(|coding| {
            !coding.is_empty() && coding.iter().copied().all(is_token_byte) && !is_chunked(coding)
        });
    Err(if known_end { RequestError::TransferCoding } else { RequestError::TransferEncoding })
}

/// Splits the target into path and query (RFC 9112 section 3.2) and settles the authority.
fn split_target(head: &mut Head, target: &[u8], host: Option<Span>) -> Result<(), RequestError> {
    let start = usize::from(head.target.start);
    head.authority = host.unwrap_or_default();
    let mut path_at = 0;
    match target[0] {
        b'/' if head.method != Method::Connect => {}
        b'*' if target.len() == 1 && head.method == Method::Options => {}
        _ => {
            // absolute-form: scheme "://" authority path-abempty [ "?" query ]. Its authority replaces Host.
            let authority_at = absolute_scheme_len(target).ok_or(RequestError::Target)?;
            if head.method == Method::Connect {
                return Err(RequestError::Target);
            }
            let rest = &target[authority_at..];
            let len = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
            check_host(&rest[..len]).map_err(|_| RequestError::Target)?;
            head.authority = Span::new(start + authority_at, len);
            path_at = authority_at + len;
        }
    }
    let path_and_query = &target[path_at..];
    let class = |byte: &u8| CLASS[usize::from(*byte)];
    let path_len =
        path_and_query.iter().position(|byte| class(byte) & PATH == 0).unwrap_or(path_and_query.len());
    let query = match &path_and_query[path_len..] {
        [] => &[],
        [b'?', query @ ..] => query,
        _ => return Err(RequestError::Target),
    };
    if query.iter().any(|byte| class(byte) & QUERY == 0) {
        return Err(RequestError::Target);
    }
    head.path = Span::new(start + path_at, path_len);
    head.query =
        (path_len < path_and_query.len()).then(|| Span::new(start + path_at + path_len + 1, query.len()));
    Ok(())
}

/// Length of `http://` or `https://` at the start.
fn absolute_scheme_len(target: &[u8]) -> Option<usize> {
    [&b"http://"[..], b"https://"]
        .into_iter()
        .find(|scheme| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
        .map(<[u8]>::len)
}

/// `uri-host [ ":" port ]` (RFC 9110 section 7.2), not empty, without userinfo.
///
/// Narrower than RFC 3986's reg-name: letters, digits and `-._~`, that is names
/// and IPv4 addresses, or an IPv6 address in brackets. Percent-encoding and
/// sub-delims are in no name that resolves, and in many an attack on a log or cache.
pub(crate) fn check_host(value: &[u8]) -> Result<(), RequestError> {
    let port = match value.first() {
        Some(b'[') => {
            let end = memchr::memchr(b']', value).ok_or(RequestError::HostInvalid)?;
            let address = std::str::from_utf8(&value[1..end]).map_err(|_| RequestError::HostInvalid)?;
            address.parse::<Ipv6Addr>().map_err(|_| RequestError::HostInvalid)?;
            &value[end + 1..]
        }
        Some(_) => {
            let len =
                value.iter().position(|byte| CLASS[usize::from(*byte)] & HOST == 0).unwrap_or(value.len());
            if len == 0 {
                return Err(RequestError::HostInvalid);
            }
            &value[len..]
        }
        None => return Err(RequestError::HostInvalid),
    };
    match port {
        [] | [b':'] => Ok(()), // port = *DIGIT: an empty one is the scheme's default
        [b':', digits @ ..] if digits.len() <= 5 && decimal(digits).is_some_and(|p| p <= 65_535) => Ok(()),
        _ => Err(RequestError::HostInvalid),
    }
}

/// tchar (RFC 9110 section 5.6.2).
const TOKEN: u8 = 1;
/// Letters, digits and `-._~`: see [`check_host`].
const HOST: u8 = 2;
/// What a path may have: visible ASCII but `?`, `#` and `\\`, which some read as `/`.
/// Wider than RFC 3986 (`|`, `{`, `"`): clients send these, and they can't be misread.
const PATH: u8 = 4;
/// What a query may have: visible ASCII but `#`.
const QUERY: u8 = 8;

/// The classes of each byte: one load instead of a chain of comparisons.
static CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0u8;
    while byte < 0x80 {
        let alphanumeric = byte.is_ascii_alphanumeric();
        let mut class = 0;
        if alphanumeric
            || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
        {
            class |= TOKEN;
        }
        if alphanumeric || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            class |= HOST;
        }
        if byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'\\') {
            class |= PATH;
        }
        if byte.is_ascii_graphic() && byte != b'#' {
            class |= QUERY;
        }
        table[byte as usize] = class;
        byte += 1;
    }
    table
};

/// tchar (RFC 9110 section 5.6.2).
#[inline]
pub(crate) fn is_token_byte(byte: u8) -> bool {
    CLASS[usize::from(byte)] & TOKEN != 0
}

/// A head that isn't whole yet: more bytes, unless there is no room for them.
#[cold]
fn incomplete(bytes: &[u8], limits: &DecodeLimits) -> Result<Option<usize>, RequestError> {
    if target_run(bytes).is_some_and(|run| run.len() > limits.uri_bytes) {
        Err(RequestError::UriTooLong)
    } else if bytes.len() >= limits.head_bytes {
        Err(RequestError::HeadTooLarge)
    } else {
        Ok(None)
    }
}

/// What httparse's error means, in our words. It doesn't say where: look again.
#[cold]
fn refuse(
    error: httparse::Error,
    bytes: &[u8],
    limits: &DecodeLimits,
) -> Result<Option<usize>, RequestError> {
    use httparse::Error as E;
    let run = target_run(bytes);
    if run.is_some_and(|run| run.len() > limits.uri_bytes) {
        return Err(RequestError::UriTooLong);
    }
    Err(match error {
        E::Token if run.is_none() => RequestError::Method,
        E::Token => RequestError::Target,
        E::Version => {
            let method_bytes = memchr::memchr(b' ', bytes).unwrap_or(0);
            let version_at = method_bytes + 1 + run.unwrap_or_default().len() + 1;
            let version = bytes.get(version_at..).unwrap_or_default();
            match version {
                [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9', ..] => RequestError::Version,
                _ if version.len() < 8 && b"HTTP/".starts_with(&version[..version.len().min(5)]) => {
                    return incomplete(bytes, limits);
                }
                _ => RequestError::RequestLine,
            }
        }
        E::NewLine => RequestError::LineEnd,
        E::HeaderName => bad_field(bytes),
        E::HeaderValue => RequestError::FieldValue,
        E::TooManyHeaders => RequestError::TooManyFields,
        E::Status => RequestError::RequestLine,
    })
}

/// The bytes of the target so far: from behind the method to the first byte that
/// can't be in one. `None` while the method isn't a token followed by a space.
fn target_run(bytes: &[u8]) -> Option<&[u8]> {
    let method_bytes = bytes.iter().position(|byte| !is_token_byte(*byte))?;
    if method_bytes == 0 || bytes[method_bytes] != b' ' {
        return None;
    }
    let rest = &bytes[method_bytes + 1..];
    let len = rest.iter().position(|byte| *byte <= b' ' || *byte == 0x7f).unwrap_or(rest.len());
    Some(&rest[..len])
}

/// Which rule the first bad field name breaks.
fn bad_field(bytes: &[u8]) -> RequestError {
    for line in bytes.split_inclusive(|byte| *byte == b'\n').skip(1) {
        let name_bytes = line.iter().position(|byte| !is_token_byte(*byte)).unwrap_or(line.len());
        match (name_bytes, line.get(name_bytes)) {
            (0, Some(b' ' | b'\t')) => return RequestError::FieldFold,
            (0, Some(b'\r' | b'\n')) => return RequestError::LineEnd,
            (_, Some(b':')) if name_bytes > 0 => {}
            (_, Some(b' ' | b'\t')) => return RequestError::FieldNameSpace,
            _ => return RequestError::FieldName,
        }
    }
    RequestError::FieldName
}
