//! A key in the index: 24 bytes, without an allocation up to 22 bytes of key.

use std::cmp::Ordering;

/// A key's bytes. What an inline key doesn't use is zero, so that two inline keys compare as
/// numbers: their order is that of the zero-filled bytes, then of the lengths, which is the order of the bytes.
#[derive(Clone)]
pub(crate) enum Key {
    Inline(u8, [u8; INLINE_BYTES]),
    Heap(Box<[u8]>),
}

const INLINE_BYTES: usize = 22;
const _: () = assert!(size_of::<Key>() == 24);

impl Key {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        match u8::try_from(bytes.len()) {
            Ok(len) if bytes.len() <= INLINE_BYTES => {
                let mut inline = [0; INLINE_BYTES];
                inline[..bytes.len()].copy_from_slice(bytes);
                Self::Inline(len, inline)
            }
            _ => Self::Heap(bytes.into()),
        }
    }

    /// The least key that is greater than all that begin with `prefix`; `None` if there is none.
    pub(crate) fn behind(prefix: &[u8]) -> Option<Self> {
        let end = prefix.iter().rposition(|byte| *byte != 0xff)?;
        let mut bytes = prefix[..=end].to_vec();
        bytes[end] += 1;
        Some(Self::new(&bytes))
    }
}

/// An inline key as two numbers in its order.
#[inline]
fn numbers(len: u8, bytes: &[u8; INLINE_BYTES]) -> (u128, u64) {
    let (mut head, mut tail) = ([0; 16], [0; 8]);
    head.copy_from_slice(&bytes[..16]);
    tail[..6].copy_from_slice(&bytes[16..]);
    tail[6] = len;
    (u128::from_be_bytes(head), u64::from_be_bytes(tail))
}

impl std::ops::Deref for Key {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Inline(len, bytes) => &bytes[..usize::from(*len)],
            Self::Heap(bytes) => bytes,
        }
    }
}

impl PartialEq for Key {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Inline(len, bytes), Self::Inline(len2, bytes2)) => len == len2 && bytes == bytes2,
            _ => **self == **other,
        }
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Inline(len, bytes), Self::Inline(len2, bytes2)) => {
                numbers(*len, bytes).cmp(&numbers(*len2, bytes2))
            }
            _ => (**self).cmp(&**other),
        }
    }
}

impl std::hash::Hash for Key {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forebay_base::rng::Rng;

    #[test]
    fn keys_compare_as_their_bytes() {
        let mut rng = Rng::new(1);
        let mut random = || {
            let len = usize::try_from(rng.below(30)).unwrap_or(0);
            // Few values, so that prefixes and zeros meet.
            (0..len).map(|_| [0, 1, 0xff][usize::try_from(rng.below(3)).unwrap_or(0)]).collect::<Vec<u8>>()
        };
        for _ in 0..20_000 {
            let (a, b) = (random(), random());
            assert_eq!(Key::new(&a).cmp(&Key::new(&b)), a.cmp(&b), "{a:?} {b:?}");
            assert_eq!(Key::new(&a) == Key::new(&b), a == b);
            let inside = Key::behind(&a).is_none_or(|behind| Key::new(&b) < behind);
            assert_eq!(b.starts_with(&a), b >= a && inside, "{a:?} {b:?}");
        }
    }
}
