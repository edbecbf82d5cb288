//! The Cookie field (RFC 6265 section 4.2): `name=value; name=value`.

/// The cookies of one field value, in order. Names and values as sent: nothing is
/// decoded, surrounding whitespace and one pair of double quotes are cut off.
/// Pieces without `=` or with an empty name are skipped: cookies come from
/// anywhere in the domain, and one bad cookie must not lock its user out.
///
/// A request may have several Cookie fields; go through each.
#[derive(Clone, Debug)]
pub struct Cookies<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Cookies<'a> {
    /// Iterates over a field value.
    #[must_use]
    pub const fn new(value: &'a [u8]) -> Self {
        Self { rest: Some(value) }
    }
}

impl<'a> Iterator for Cookies<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = self.rest?;
            let end = memchr::memchr(b';', rest);
            self.rest = end.map(|end| &rest[end + 1..]);
            let piece = &rest[..end.unwrap_or(rest.len())];
            let Some(equals) = memchr::memchr(b'=', piece) else { continue };
            let name = piece[..equals].trim_ascii();
            let value = piece[equals + 1..].trim_ascii();
            if name.is_empty() {
                continue;
            }
            let value = match value {
                [b'"', inner @ .., b'"'] => inner,
                _ => value,
            };
            return Some((name, value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &str, expect: &[(&str, &str)]) {
        let cookies: Vec<_> = Cookies::new(value.as_bytes())
            .map(|(name, value)| (std::str::from_utf8(name).unwrap(), std::str::from_utf8(value).unwrap()))
            .collect();
        assert_eq!(cookies, expect, "{value}");
    }

    #[test]
    fn cookies() {
        check("", &[]);
        check("a=1", &[("a", "1")]);
        check("a=1; b=2;c=3 ; a=4", &[("a", "1"), ("b", "2"), ("c", "3"), ("a", "4")]);
        check("a=\"x y\"; b=\"; c=", &[("a", "x y"), ("b", "\""), ("c", "")]);
        check(";; junk; =x; a==b=; ", &[("a", "=b=")]);
        check("a=caf\u{e9}%20", &[("a", "caf\u{e9}%20")]);
    }
}
