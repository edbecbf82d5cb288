//! Bind, Execute and Sync of a statement whose parameters are integers (an id, mostly), written once: every use is a copy
//! with the values put in their places, as their length never changes.

use std::ops::Range;

use super::wire;
use crate::param::Param;
use crate::types::{Scalar, Type, encode};

/// Parameters of such a statement.
const INTS_MAX: usize = 8;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Ints {
    /// All three messages; zeros where the values belong.
    messages: Box<[u8]>,
    /// Formats and values, as [`super::Running`] keeps them.
    params: Range<usize>,
    /// Where each value is, and what it is.
    places: Box<[(usize, Scalar)]>,
}

impl Ints {
    /// `None` if a parameter is no integer, or there are none or too many.
    pub(super) fn new(prefix: &[u8], params: &[Type], formats: &[u8], suffix: &[u8]) -> Option<Self> {
        if params.is_empty() || params.len() > INTS_MAX {
            return None;
        }
        let mut messages = prefix.to_vec();
        let start = messages.len();
        let count = u16::try_from(params.len()).ok()?.to_be_bytes();
        messages.extend_from_slice(&count);
        for _ in params {
            messages.extend_from_slice(&encode::BINARY.to_be_bytes());
        }
        messages.extend_from_slice(&count);
        let mut places = Vec::with_capacity(params.len());
        for ty in params {
            let length: u32 = match ty.scalar {
                _ if ty.array => return None,
                Scalar::Int2 => 2,
                Scalar::Int4 => 4,
                Scalar::Int8 => 8,
                _ => return None,
            };
            messages.extend_from_slice(&length.to_be_bytes());
            places.push((messages.len(), ty.scalar));
            messages.resize(messages.len() + length as usize, 0);
        }
        let params = start..messages.len();
        messages.extend_from_slice(formats);
        wire::end(&mut messages, 1);
        messages.extend_from_slice(suffix);
        Some(Self { messages: messages.into(), params, places: places.into() })
    }

    /// Appends the messages; where in `out` formats and values are. `None`, and nothing is appended, if a value is no
    /// integer of its type: the general way says what is wrong with it, or converts it.
    #[inline]
    pub(super) fn bind(&self, out: &mut Vec<u8>, params: &[Param<'_>]) -> Option<Range<usize>> {
        if params.len() != self.places.len() {
            return None;
        }
        let fits = |(param, (_, ty)): (&Param<'_>, &(usize, Scalar))| match (param, ty) {
            (Param::Int(_), Scalar::Int8) => true,
            (Param::Int(v), Scalar::Int4) => i32::try_from(*v).is_ok(),
            (Param::Int(v), _) => i16::try_from(*v).is_ok(),
            _ => false,
        };
        if !params.iter().zip(&self.places).all(fits) {
            return None;
        }
        let base = out.len();
        out.extend_from_slice(&self.messages);
        for (param, (place, ty)) in params.iter().zip(&self.places) {
            let Param::Int(value) = param else { continue };
            // The low bytes of the same number, as it fits.
            let [_, _, _, _, .., a, b] = value.to_be_bytes();
            let all = value.to_be_bytes();
            let at = base + place;
            match ty {
                Scalar::Int8 => out[at..at + 8].copy_from_slice(&all),
                Scalar::Int4 => out[at..at + 4].copy_from_slice(&all[4..]),
                _ => out[at..at + 2].copy_from_slice(&[a, b]),
            }
        }
        Some(base + self.params.start..base + self.params.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::builtin;

    /// What the general way writes for the same values.
    fn general(oids: &[u32], params: &[Param<'_>]) -> Result<Vec<u8>, String> {
        let mut out = prefix();
        let count = u16::try_from(params.len()).unwrap().to_be_bytes();
        out.extend_from_slice(&count);
        let types: Vec<Type> = oids.iter().map(|oid| builtin(*oid).unwrap()).collect();
        for (param, ty) in params.iter().zip(&types) {
            out.extend_from_slice(&encode::format(param, *ty).to_be_bytes());
        }
        out.extend_from_slice(&count);
        for (param, ty) in params.iter().zip(&types) {
            encode::value(param, *ty, 1, &mut encode::Scratch::default(), &mut out)
                .map_err(|e| e.to_string())?;
        }
        out.extend_from_slice(FORMATS);
        wire::end(&mut out, 1);
        wire::execute_and_sync(&mut out);
        Ok(out)
    }

    const FORMATS: &[u8] = &[0, 1, 0, 1];

    fn prefix() -> Vec<u8> {
        b"B\0\0\0\0\0s7_abc\0".to_vec()
    }

    #[test]
    fn the_copy_is_what_the_general_way_writes_or_nothing() {
        let mut suffix = Vec::new();
        wire::execute_and_sync(&mut suffix);
        let check = |oids: &[u32], params: &[Param<'_>], copied: bool| {
            let types: Vec<Type> = oids.iter().map(|oid| builtin(*oid).unwrap()).collect();
            let ints = Ints::new(&prefix(), &types, FORMATS, &suffix);
            let mut out = b"before".to_vec();
            let range = ints.as_ref().and_then(|ints| ints.bind(&mut out, params));
            assert_eq!(range.is_some(), copied, "{oids:?} {params:?}");
            match range {
                None => assert_eq!(out, b"before"),
                Some(range) => {
                    let expect = general(oids, params).unwrap();
                    assert_eq!(out[6..], expect, "{oids:?} {params:?}");
                    let kept = prefix().len()..expect.len() - FORMATS.len() - suffix.len();
                    assert_eq!(out[range], expect[kept]);
                }
            }
        };
        for edge in [0, 1, -1, i64::from(i16::MIN), i64::from(i16::MAX)] {
            check(&[21, 23, 20], &[Param::Int(edge); 3], true);
        }
        for edge in [i64::from(i32::MIN), i64::from(i32::MAX), 32_768, -32_769] {
            check(&[23, 20], &[Param::Int(edge); 2], true);
            check(&[21], &[Param::Int(edge)], false);
        }
        for edge in [i64::MIN, i64::MAX, 2_147_483_648, -2_147_483_649] {
            check(&[20], &[Param::Int(edge)], true);
            check(&[23], &[Param::Int(edge)], false);
        }
        check(&[23], &[Param::Str("7")], false);
        check(&[23], &[Param::Null], false);
        check(&[23], &[Param::Float(1.0)], false);
        check(&[23, 23], &[Param::Int(1)], false);
        check(&[23], &[], false);
        check(&[], &[], false);
        check(&[25], &[Param::Int(1)], false);
        check(&[1007], &[Param::Int(1)], false);
        check(&[20; 9], &[Param::Int(1); 9], false);
    }
}
