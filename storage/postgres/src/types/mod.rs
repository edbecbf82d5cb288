//! SQL types on the wire.
//!
//! | file | what it does |
//! |---|---|
//! | [`decode`] | a column of a DataRow into a `ValueSink`, from the receive buffer |
//! | [`encode`] | a [`crate::Param`] into a Bind message |
//! | [`range`] | ranges and multiranges, both ways |
//! | `json` | json text into a sink, and a value as json text |
//! | `calendar` | days and microseconds as dates and times |
//!
//! Types below OID 16384 are the server's own and the same everywhere; [`builtin`] knows those we decode in
//! binary. An enum, a domain or an array of one has an OID that differs per database: the connection asks
//! `pg_type` once and keeps the answer in a [`Catalog`]. Everything else travels as text.

pub mod calendar;
pub mod decode;
pub mod encode;
pub mod json;
pub mod range;

use std::collections::HashMap;

pub use range::Bound;

/// How a value is encoded, arrays aside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scalar {
    /// bool
    Bool,
    /// int2
    Int2,
    /// int4
    Int4,
    /// int8
    Int8,
    /// oid and its aliases (regclass, xid, ...): unsigned 32 bits
    Oid,
    /// float4
    Float4,
    /// float8
    Float8,
    /// numeric
    Numeric,
    /// text, varchar, bpchar, name, unknown, "char", xml, enums: the binary form is the text
    Text,
    /// bytea
    Bytea,
    /// uuid
    Uuid,
    /// json
    Json,
    /// jsonb: a version byte, then json
    Jsonb,
    /// date: days since 2000-01-01
    Date,
    /// time without time zone: microseconds since midnight
    Time,
    /// timestamp: microseconds since 2000-01-01, taken as UTC
    Timestamp,
    /// timestamptz: microseconds since 2000-01-01T00:00:00Z
    Timestamptz,
    /// interval: microseconds, days, months
    Interval,
    /// void: the result of a function that returns nothing
    Void,
    /// timetz: microseconds since midnight, seconds west of UTC
    Timetz,
    /// bit and varbit: a count and bytes
    Bit,
    /// inet and cidr
    Inet,
    /// macaddr and macaddr8: 6 or 8 bytes
    Macaddr,
    /// A composite type of this database whose fields all have binary forms here: an object
    Composite,
    /// hstore: an object
    Hstore,
    /// vector, of the extension pgvector: a list of numbers
    Vector,
    /// A range: an object
    Range(Bound),
    /// A multirange: a list of objects
    Multirange(Bound),
    /// Anything else: travels as text.
    Other,
}

/// A type as the codecs see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Type {
    /// Its OID in this database.
    pub oid: u32,
    /// Encoding of the value, or of the elements.
    pub scalar: Scalar,
    /// An array of `scalar`, of any dimension.
    pub array: bool,
}

impl Type {
    /// Whether results of this type are asked for in binary.
    #[must_use]
    pub fn is_binary(self) -> bool {
        self.scalar != Scalar::Other
    }
}

/// The server's own types: OID, OID of the array, encoding, name (`pg_type.dat`).
const BUILTIN: [(u32, u32, Scalar, &str); 54] = [
    (16, 1000, Scalar::Bool, "bool"),
    (17, 1001, Scalar::Bytea, "bytea"),
    (18, 1002, Scalar::Text, "char"),
    (19, 1003, Scalar::Text, "name"),
    (20, 1016, Scalar::Int8, "int8"),
    (21, 1005, Scalar::Int2, "int2"),
    (23, 1007, Scalar::Int4, "int4"),
    (25, 1009, Scalar::Text, "text"),
    (26, 1028, Scalar::Oid, "oid"),
    (114, 199, Scalar::Json, "json"),
    (142, 143, Scalar::Text, "xml"),
    (700, 1021, Scalar::Float4, "float4"),
    (701, 1022, Scalar::Float8, "float8"),
    (705, 0, Scalar::Text, "unknown"),
    (1042, 1014, Scalar::Text, "bpchar"),
    (1043, 1015, Scalar::Text, "varchar"),
    (1082, 1182, Scalar::Date, "date"),
    (1083, 1183, Scalar::Time, "time"),
    (1114, 1115, Scalar::Timestamp, "timestamp"),
    (1184, 1185, Scalar::Timestamptz, "timestamptz"),
    (1186, 1187, Scalar::Interval, "interval"),
    (1700, 1231, Scalar::Numeric, "numeric"),
    (2275, 1263, Scalar::Text, "cstring"),
    (2278, 0, Scalar::Void, "void"),
    (1266, 1270, Scalar::Timetz, "timetz"),
    (1560, 1561, Scalar::Bit, "bit"),
    (1562, 1563, Scalar::Bit, "varbit"),
    (869, 1041, Scalar::Inet, "inet"),
    (650, 651, Scalar::Inet, "cidr"),
    (829, 1040, Scalar::Macaddr, "macaddr"),
    (774, 775, Scalar::Macaddr, "macaddr8"),
    // Text, whose arrays are lists of text. What money looks like is the server's locale.
    (790, 791, Scalar::Other, "money"),
    (600, 1017, Scalar::Other, "point"),
    (601, 1018, Scalar::Other, "lseg"),
    (602, 1019, Scalar::Other, "path"),
    (604, 1027, Scalar::Other, "polygon"),
    (628, 629, Scalar::Other, "line"),
    (718, 719, Scalar::Other, "circle"),
    (3614, 3643, Scalar::Other, "tsvector"),
    (3615, 3645, Scalar::Other, "tsquery"),
    (3904, 3905, Scalar::Range(Bound::Int4), "int4range"),
    (3906, 3907, Scalar::Range(Bound::Numeric), "numrange"),
    (3908, 3909, Scalar::Range(Bound::Timestamp), "tsrange"),
    (3910, 3911, Scalar::Range(Bound::Timestamptz), "tstzrange"),
    (3912, 3913, Scalar::Range(Bound::Date), "daterange"),
    (3926, 3927, Scalar::Range(Bound::Int8), "int8range"),
    (4451, 6150, Scalar::Multirange(Bound::Int4), "int4multirange"),
    (4532, 6151, Scalar::Multirange(Bound::Numeric), "nummultirange"),
    (4533, 6152, Scalar::Multirange(Bound::Timestamp), "tsmultirange"),
    (4534, 6153, Scalar::Multirange(Bound::Timestamptz), "tstzmultirange"),
    (4535, 6155, Scalar::Multirange(Bound::Date), "datemultirange"),
    (4536, 6157, Scalar::Multirange(Bound::Int8), "int8multirange"),
    (2950, 2951, Scalar::Uuid, "uuid"),
    (3802, 3807, Scalar::Jsonb, "jsonb"),
];

/// OIDs from here on are given out by `CREATE TYPE` (manual: FirstNormalObjectId).
pub const FIRST_USER_OID: u32 = 16_384;

/// A type of the server itself, if it is one that we decode in binary.
#[must_use]
pub fn builtin(oid: u32) -> Option<Type> {
    // The ten or so that make up nearly every result, first.
    let scalar = match oid {
        23 => Some(Scalar::Int4),
        20 => Some(Scalar::Int8),
        25 | 1043 => Some(Scalar::Text),
        _ => None,
    };
    if let Some(scalar) = scalar {
        return Some(Type { oid, scalar, array: false });
    }
    BUILTIN.iter().find_map(|&(scalar_oid, array_oid, scalar, _)| {
        let array = array_oid == oid && oid != 0;
        (array || scalar_oid == oid).then_some(Type { oid, scalar, array })
    })
}

/// Name of a type of the server, for messages; arrays as `int4[]`. Empty if it isn't one of ours.
#[must_use]
pub fn name(oid: u32) -> String {
    BUILTIN
        .iter()
        .find_map(|&(scalar_oid, array_oid, _, name)| {
            if scalar_oid == oid {
                Some(name.to_owned())
            } else if array_oid == oid && oid != 0 {
                Some(format!("{name}[]"))
            } else {
                None
            }
        })
        .unwrap_or_else(|| format!("with OID {oid}"))
}

/// Types of one database that aren't the server's own, by OID.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    types: HashMap<u32, Type>,
    /// Element types of arrays.
    elements: HashMap<u32, u32>,
    /// Fields of composite types, by the type's OID and by those of domains over it.
    fields: HashMap<u32, Fields>,
}

/// Names and types of a composite type's fields, in their order.
pub type Fields = std::sync::Arc<[(Box<str>, u32)]>;

/// What [`decode`] and [`encode`] look up while they are at work: the types of composite fields, resolved.
pub type Composites = std::sync::Arc<HashMap<u32, std::sync::Arc<[(Box<str>, Type)]>>>;

/// Composite types within one another; deeper ones travel as text.
const NESTING_MAX: usize = 8;

/// User types that a catalog keeps; beyond it, it starts over.
pub const CATALOG_TYPES_MAX: usize = 4096;

impl Catalog {
    /// The type, or `None` if `pg_type` has to be asked.
    #[must_use]
    pub fn get(&self, oid: u32) -> Option<Type> {
        if let Some(found) = builtin(oid) {
            return Some(found);
        }
        if oid < FIRST_USER_OID {
            return Some(Type { oid, scalar: Scalar::Other, array: false });
        }
        let found = self.types.get(&oid).copied()?;
        // A composite type is as good as its fields.
        let good = found.scalar != Scalar::Composite || self.is_binary(oid, 0);
        Some(if good { found } else { Type { oid, scalar: Scalar::Other, array: found.array } })
    }

    fn is_binary(&self, oid: u32, depth: usize) -> bool {
        let element = self.elements.get(&oid).copied().unwrap_or(oid);
        let Some(fields) = self.fields.get(&element).filter(|_| depth < NESTING_MAX) else { return false };
        fields.iter().all(|(_, field)| match builtin(*field).or_else(|| self.types.get(field).copied()) {
            Some(Type { scalar: Scalar::Composite, .. }) => self.is_binary(*field, depth + 1),
            Some(ty) => ty.is_binary(),
            None => false,
        })
    }

    /// Types that have to be asked for before `oid` can be used: itself, or fields of it.
    pub(crate) fn missing(&self, oid: u32, depth: usize, out: &mut Vec<u32>) {
        if builtin(oid).is_some() || oid < FIRST_USER_OID || depth > NESTING_MAX {
            return;
        }
        if !self.types.contains_key(&oid) {
            out.push(oid);
            return;
        }
        let element = self.elements.get(&oid).copied().unwrap_or(oid);
        if element != oid {
            self.missing(element, depth + 1, out);
        }
        for (_, field) in self.fields.get(&element).into_iter().flat_map(|fields| fields.iter()) {
            self.missing(*field, depth + 1, out);
        }
    }

    /// The fields of all composite types that are known, resolved.
    pub(crate) fn composites(&self) -> Composites {
        let resolve = |oid: u32| self.get(oid).unwrap_or(Type { oid, scalar: Scalar::Other, array: false });
        let each = |(oid, fields): (&u32, &Fields)| {
            (*oid, fields.iter().map(|(name, field)| (name.clone(), resolve(*field))).collect())
        };
        // Arrays too have their elements' fields.
        let arrays =
            self.elements.iter().filter_map(|(array, element)| Some((array, self.fields.get(element)?)));
        std::sync::Arc::new(self.fields.iter().chain(arrays).map(each).collect())
    }

    /// Records what `pg_type` says: `kind` is `typtype`, `base` the base type of a domain, `element` the element
    /// type of an array, each with the kind and base of that one. Unknown parts make it [`Scalar::Other`].
    pub(crate) fn insert(&mut self, row: &CatalogRow) {
        if self.types.len() >= CATALOG_TYPES_MAX {
            self.types.clear();
            self.elements.clear();
            self.fields.clear();
        }
        if !row.fields.is_empty() {
            self.fields.insert(row.oid, row.fields.iter().cloned().collect());
        }
        if row.element != 0 {
            self.elements.insert(row.oid, row.element);
        }
        let extension = match &*row.extension {
            "citext" => Some(Scalar::Text),
            "hstore" => Some(Scalar::Hstore),
            "vector" => Some(Scalar::Vector),
            _ => None,
        };
        if let (Some(scalar), 0) = (extension, row.element) {
            self.types.insert(row.oid, Type { oid: row.oid, scalar, array: false });
            return;
        }
        let bound = builtin(row.subtype).and_then(Bound::of);
        let scalar_of = |kind: u8, oid: u32, base: u32| match kind {
            b'e' => Scalar::Text,
            b'r' => bound.map_or(Scalar::Other, Scalar::Range),
            b'm' => bound.map_or(Scalar::Other, Scalar::Multirange),
            b'c' => Scalar::Composite,
            b'd' => builtin(base).filter(|t| !t.array).map_or(Scalar::Other, |t| t.scalar),
            _ => builtin(oid).filter(|t| !t.array).map_or(Scalar::Other, |t| t.scalar),
        };
        let found = if row.element != 0 {
            let known = self.types.get(&row.element).filter(|ty| !ty.array).map(|ty| ty.scalar);
            let scalar = known.unwrap_or_else(|| scalar_of(row.element_kind, row.element, row.element_base));
            Type { oid: row.oid, scalar, array: true }
        } else if let (b'd', Some(base)) = (row.kind, builtin(row.base)) {
            Type { oid: row.oid, ..base }
        } else {
            Type { oid: row.oid, scalar: scalar_of(row.kind, row.oid, row.base), array: false }
        };
        self.types.insert(row.oid, found);
    }

    /// A composite type has changed: all of them are asked for again when next needed.
    pub(crate) fn forget_composites(&mut self) {
        self.fields.clear();
        self.types.retain(|_, ty| ty.scalar != Scalar::Composite);
    }

    /// Records that `pg_type` doesn't know this OID (dropped meanwhile).
    pub(crate) fn insert_unknown(&mut self, oid: u32) {
        self.types.entry(oid).or_insert(Type { oid, scalar: Scalar::Other, array: false });
    }
}

/// One row of [`CATALOG_QUERY`].
#[derive(Clone, Debug, Default)]
pub(crate) struct CatalogRow {
    pub(crate) oid: u32,
    pub(crate) kind: u8,
    /// Base type of a domain, domains of domains resolved; else 0.
    pub(crate) base: u32,
    /// Element of a true array; else 0.
    pub(crate) element: u32,
    pub(crate) element_kind: u8,
    pub(crate) element_base: u32,
    /// The extension that the type is named after and belongs to, or empty.
    pub(crate) extension: Box<str>,
    /// Of a range or multirange, or an array of those: what it is of; else 0.
    pub(crate) subtype: u32,
    /// Of a composite type: names and types of its fields.
    pub(crate) fields: Vec<(Box<str>, u32)>,
}

/// Asks for [`CatalogRow`]s in text format; the list of OIDs and `)` follow. Sent as a simple query, so that it needs
/// no statement of its own. Multiranges by way of json: before PostgreSQL 14 there is no such column.
pub(crate) const CATALOG_QUERY: &str = "\
WITH RECURSIVE d(oid, base) AS (\
  SELECT oid, typbasetype FROM pg_catalog.pg_type WHERE typtype = 'd' \
  UNION ALL SELECT d.oid, b.typbasetype FROM d JOIN pg_catalog.pg_type b ON b.oid = d.base AND b.typtype = 'd'), \
r AS (SELECT d.oid, d.base FROM d JOIN pg_catalog.pg_type b ON b.oid = d.base AND b.typtype <> 'd') \
SELECT t.oid, t.typtype, coalesce(tr.base, 0), \
  CASE WHEN t.typcategory = 'A' AND t.typtype = 'b' THEN t.typelem ELSE 0 END, coalesce(e.typtype, 'b'), coalesce(er.base, 0), \
  coalesce((SELECT x.extname FROM pg_catalog.pg_depend p JOIN pg_catalog.pg_extension x ON x.oid = p.refobjid \
    WHERE p.classid = 'pg_catalog.pg_type'::regclass AND p.objid = t.oid AND p.deptype = 'e' \
    AND x.extname = t.typname), ''), \
  coalesce((SELECT g.rngsubtype FROM pg_catalog.pg_range g \
    WHERE CASE WHEN t.typcategory = 'A' AND t.typtype = 'b' THEN t.typelem ELSE t.oid END \
    IN (g.rngtypid, (pg_catalog.to_jsonb(g)->>'rngmultitypid')::oid)), 0), \
  coalesce((SELECT string_agg(a.atttypid || ' ' || a.attname, E'\\x01' ORDER BY a.attnum) \
    FROM pg_catalog.pg_attribute a WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 \
    AND NOT a.attisdropped), '') \
FROM pg_catalog.pg_type t LEFT JOIN r tr ON tr.oid = t.oid \
LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem LEFT JOIN r er ON er.oid = e.oid WHERE t.oid IN (";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enums_domains_and_their_arrays_find_their_encoding() {
        let mut catalog = Catalog::default();
        let check = |catalog: &mut Catalog, row: CatalogRow, scalar, array| {
            assert_eq!(catalog.get(row.oid), None);
            catalog.insert(&row);
            assert_eq!(catalog.get(row.oid), Some(Type { oid: row.oid, scalar, array }));
        };
        let none = || CatalogRow { element_kind: b'b', ..CatalogRow::default() };
        check(&mut catalog, CatalogRow { oid: 20_000, kind: b'e', ..none() }, Scalar::Text, false);
        check(&mut catalog, CatalogRow { oid: 20_001, kind: b'd', base: 23, ..none() }, Scalar::Int4, false);
        check(&mut catalog, CatalogRow { oid: 20_002, kind: b'd', base: 1007, ..none() }, Scalar::Int4, true);
        let array = CatalogRow { oid: 20_003, kind: b'b', element: 20_000, element_kind: b'e', ..none() };
        check(&mut catalog, array, Scalar::Text, true);
        let composite = |oid: u32, field: u32| {
            let fields = vec![("a".into(), 23), ("b".into(), field)];
            CatalogRow { oid, kind: b'c', fields, ..none() }
        };
        // As good as its fields: tsvector has no binary form here.
        check(&mut catalog, composite(20_004, 3614), Scalar::Other, false);
        check(&mut catalog, composite(20_005, 25), Scalar::Composite, false);
        check(&mut catalog, composite(20_006, 20_005), Scalar::Composite, false);
        let array = CatalogRow { oid: 20_007, kind: b'b', element: 20_006, element_kind: b'c', ..none() };
        check(&mut catalog, array, Scalar::Composite, true);
        let mut missing = Vec::new();
        catalog.insert(&composite(20_008, 20_009));
        catalog.missing(20_008, 0, &mut missing);
        assert_eq!(missing, [20_009]);
        // One that contains itself, through an array of it, ends somewhere.
        catalog.insert(&composite(20_010, 20_011));
        catalog.insert(&CatalogRow {
            oid: 20_011,
            kind: b'b',
            element: 20_010,
            element_kind: b'c',
            ..none()
        });
        assert_eq!(catalog.get(20_010).unwrap().scalar, Scalar::Other);
    }
}
