//! What characters are the same under the `i` flag, and what `\p{...}` names.
//!
//! ECMA-262 section 22.2.2.7.3, Canonicalize: with `u` the simple case folding of Unicode, without
//! it the upper case of one code unit, unless that is several, or ASCII for something that isn't.
//! Instead of folding while matching, classes are closed over their equivalents when a pattern is
//! compiled; only backreferences fold.

use crate::set::Set;
use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, HirKind};
use std::collections::HashMap;
use std::sync::OnceLock;

/// The set and everything that is the same as one of its members.
pub(crate) fn close(set: &Set, unicode: bool) -> Set {
    if unicode { close_unicode(set) } else { close_units(set) }
}

fn close_unicode(set: &Set) -> Set {
    let mut out = set.clone();
    let ranges = set.ranges().iter().flat_map(|(from, to)| characters(*from, *to));
    let mut class = ClassUnicode::new(ranges);
    if class.try_case_fold_simple().is_ok() {
        for range in class.ranges() {
            out.push(u32::from(range.start()), u32::from(range.end()));
        }
    }
    out.settle();
    out
}

/// A range without surrogates.
fn characters(from: u32, to: u32) -> Vec<ClassUnicodeRange> {
    let part = |from: u32, to: u32| {
        let (from, to) = (char::from_u32(from)?, char::from_u32(to)?);
        (from <= to).then(|| ClassUnicodeRange::new(from, to))
    };
    let below = if from < 0xd800 { part(from, to.min(0xd7ff)) } else { None };
    let above = if to > 0xdfff { part(from.max(0xe000), to) } else { None };
    below.into_iter().chain(above).collect()
}

/// Code units by what they become in upper case, without `u`; beyond ASCII only.
struct Upper {
    /// Unit to its upper case, where that differs.
    to: HashMap<u32, u32>,
    /// The reverse, the upper case itself not included.
    from: HashMap<u32, Vec<u32>>,
}

fn upper_table() -> &'static Upper {
    static TABLE: OnceLock<Upper> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table = Upper { to: HashMap::new(), from: HashMap::new() };
        for unit in 0x80..=0xffff {
            let upper = upper_of(unit);
            if upper != unit {
                table.to.insert(unit, upper);
                table.from.entry(upper).or_default().push(unit);
            }
        }
        table
    })
}

/// Canonicalize of a code unit.
fn upper_of(unit: u32) -> u32 {
    if unit < 0x80 {
        return if (0x61..=0x7a).contains(&unit) { unit - 0x20 } else { unit };
    }
    let Some(c) = char::from_u32(unit) else { return unit };
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(u), None) if (0x80..0x1_0000).contains(&u32::from(u)) => u32::from(u),
        _ => unit,
    }
}

fn close_units(set: &Set) -> Set {
    let mut out = set.clone();
    for (from, to) in set.ranges() {
        let mut ascii = |first: u32, last: u32, by: i32| {
            let (a, b) = (*from.max(&first), *to.min(&last));
            if a <= b {
                out.push(a.wrapping_add_signed(by), b.wrapping_add_signed(by));
            }
        };
        ascii(0x41, 0x5a, 0x20);
        ascii(0x61, 0x7a, -0x20);
    }
    let beyond = set.ranges().iter().any(|r| r.1 >= 0x80);
    let is_everything = set.ranges() == [(0, crate::set::POINT_MAX)];
    if beyond && !is_everything {
        let table = upper_table();
        for (upper, lowers) in &table.from {
            let hit = set.contains(*upper) || lowers.iter().any(|l| set.contains(*l));
            if hit {
                out.push(*upper, *upper);
                for lower in lowers {
                    out.push(*lower, *lower);
                }
            }
        }
    }
    out.settle();
    out
}

/// A representative of everything that is the same as the character.
pub(crate) fn canonical(point: u32, unicode: bool) -> u32 {
    if point < 0x80 && !unicode {
        return upper_of(point);
    }
    if !unicode {
        return upper_table().to.get(&point).copied().unwrap_or(point);
    }
    if point < 0x80 {
        // U+017F and U+212A are the same as s and k, but above them: the least one stands for all.
        return upper_of(point);
    }
    let class = close_unicode(&Set::of(&[(point, point)]));
    class.ranges().first().map_or(point, |r| r.0)
}

/// The set of `\p{name}` or `\p{name=value}`; none if there is no such property.
pub(crate) fn property(name: &str, value: Option<&str>) -> Option<Set> {
    let plain = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !plain(name) || !value.is_none_or(plain) {
        return None;
    }
    let text = match (name, value) {
        ("General_Category" | "gc", Some(v)) => format!(r"\p{{gc={v}}}"),
        ("Script" | "sc", Some(v)) => format!(r"\p{{sc={v}}}"),
        ("Script_Extensions" | "scx", Some(v)) => format!(r"\p{{scx={v}}}"),
        (_, Some(_)) => return None,
        // Scripts, ages and breaks need their property's name.
        (_, None) if !is_lone_name(name) => return None,
        (_, None) => format!(r"\p{{{name}}}"),
    };
    let hir = regex_syntax::ParserBuilder::new().unicode(true).build().parse(&text).ok()?;
    match hir.kind() {
        HirKind::Class(Class::Unicode(class)) => {
            let mut set = Set::default();
            for range in class.ranges() {
                set.push(u32::from(range.start()), u32::from(range.end()));
            }
            // The tables are of characters: what isn't one is unassigned or a surrogate.
            if matches!(name, "Any") || matches!(value.unwrap_or(name), "C" | "Other" | "Cs" | "Surrogate") {
                set.push(0xd800, 0xdfff);
            }
            set.settle();
            Some(set)
        }
        HirKind::Literal(literal) => {
            let c = std::str::from_utf8(&literal.0).ok()?.chars().next()?;
            Some(Set::of(&[(u32::from(c), u32::from(c))]))
        }
        _ => None,
    }
}

/// Whether the name is a value of General_Category or a binary property, as ECMA-262 tables 67 and 68 spell it.
fn is_lone_name(name: &str) -> bool {
    const CATEGORIES: &str = " L LC Lu Ll Lt Lm Lo M Mn Mc Me N Nd Nl No P Pc Pd Ps Pe Pi Pf Po S Sm Sc Sk So Z Zs Zl Zp \
        C Cc Cf Cs Co Cn Letter Cased_Letter Uppercase_Letter Lowercase_Letter Titlecase_Letter Modifier_Letter \
        Other_Letter Mark Combining_Mark Nonspacing_Mark Spacing_Mark Enclosing_Mark Number Decimal_Number digit \
        Letter_Number Other_Number Punctuation punct Connector_Punctuation Dash_Punctuation Open_Punctuation \
        Close_Punctuation Initial_Punctuation Final_Punctuation Other_Punctuation Symbol Math_Symbol Currency_Symbol \
        Modifier_Symbol Other_Symbol Separator Space_Separator Line_Separator Paragraph_Separator Other Control cntrl \
        Format Surrogate Private_Use Unassigned ";
    const BINARY: &str = " ASCII ASCII_Hex_Digit AHex Alphabetic Alpha Any Assigned Bidi_Control Bidi_C Bidi_Mirrored \
        Bidi_M Case_Ignorable CI Cased Changes_When_Casefolded CWCF Changes_When_Casemapped CWCM \
        Changes_When_Lowercased CWL Changes_When_NFKC_Casefolded CWKCF Changes_When_Titlecased CWT \
        Changes_When_Uppercased CWU Dash Default_Ignorable_Code_Point DI Deprecated Dep Diacritic Dia Emoji \
        Emoji_Component EComp Emoji_Modifier EMod Emoji_Modifier_Base EBase Emoji_Presentation EPres \
        Extended_Pictographic ExtPict Extender Ext Grapheme_Base Gr_Base Grapheme_Extend Gr_Ext Hex_Digit Hex \
        IDS_Binary_Operator IDSB IDS_Trinary_Operator IDST ID_Continue IDC ID_Start IDS Ideographic Ideo Join_Control \
        Join_C Logical_Order_Exception LOE Lowercase Lower Math Noncharacter_Code_Point NChar Pattern_Syntax Pat_Syn \
        Pattern_White_Space Pat_WS Quotation_Mark QMark Radical Regional_Indicator RI Sentence_Terminal STerm \
        Soft_Dotted SD Terminal_Punctuation Term Unified_Ideograph UIdeo Uppercase Upper Variation_Selector VS \
        White_Space space XID_Continue XIDC XID_Start XIDS ";
    let needle = format!(" {name} ");
    CATEGORIES.contains(&needle) || BINARY.contains(&needle)
}

/// Whether a character may start an identifier.
pub(crate) fn is_id_start(point: u32) -> bool {
    static SET: OnceLock<Set> = OnceLock::new();
    match point {
        0x24 | 0x5f | 0x41..=0x5a | 0x61..=0x7a => true,
        0..0x80 => false,
        _ => SET.get_or_init(|| property("ID_Start", None).unwrap_or_default()).contains(point),
    }
}

/// Whether a character may continue an identifier.
pub(crate) fn is_id_continue(point: u32) -> bool {
    static SET: OnceLock<Set> = OnceLock::new();
    match point {
        0x24 | 0x30..=0x39 | 0x5f | 0x41..=0x5a | 0x61..=0x7a | 0x200c | 0x200d => true,
        0..0x80 => false,
        _ => SET.get_or_init(|| property("ID_Continue", None).unwrap_or_default()).contains(point),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_under_i() {
        let closed = |c: u32, unicode| close(&Set::of(&[(c, c)]), unicode).ranges().to_vec();
        assert_eq!(closed(0x6b, false), [(0x4b, 0x4b), (0x6b, 0x6b)]);
        assert_eq!(closed(0x6b, true), [(0x4b, 0x4b), (0x6b, 0x6b), (0x212a, 0x212a)]);
        assert_eq!(closed(0x3c9, false), [(0x3a9, 0x3a9), (0x3c9, 0x3c9)]);
        assert_eq!(closed(0x3c9, true), [(0x3a9, 0x3a9), (0x3c9, 0x3c9), (0x2126, 0x2126)]);
        // The upper case of U+00DF is two letters.
        assert_eq!(closed(0xdf, false), [(0xdf, 0xdf)]);
        assert_eq!(closed(0xdf, true), [(0xdf, 0xdf), (0x1e9e, 0x1e9e)]);
    }

    #[test]
    fn representatives() {
        for unicode in [false, true] {
            for c in (0..0x3000).chain(0x1_0400..0x1_0450) {
                let class = close(&Set::of(&[(c, c)]), unicode);
                let one = canonical(c, unicode);
                assert!(class.contains(one), "{c:x}");
                for (from, to) in class.ranges() {
                    assert!((*from..=*to).all(|other| canonical(other, unicode) == one), "{c:x} {unicode}");
                }
            }
        }
    }

    #[test]
    fn properties() {
        let has = |name: &str, value: Option<&str>, c: char| {
            property(name, value).map(|s| s.contains(u32::from(c)))
        };
        assert_eq!(has("Lu", None, 'Ä'), Some(true));
        assert_eq!(has("Script", Some("Greek"), 'ω'), Some(true));
        assert_eq!(has("sc", Some("Latin"), 'ω'), Some(false));
        assert_eq!(has("Emoji", None, '😀'), Some(true));
        assert_eq!(has("Greek", None, 'ω'), None);
        assert_eq!(has("lu", None, 'ω'), None);
        assert_eq!(has("Script", None, 'ω'), None);
        assert_eq!(has("Lu]|[a", None, 'ω'), None);
    }
}
