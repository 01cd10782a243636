//! A column's value as the text that the type's output function gives, and that a logical stream sends.

/// OID of `boolean`, as fixed in pg_type.dat.
const BOOLEAN: u32 = 16;

/// Types whose output equals their cast to text: OID as fixed in pg_type.dat, and name.
pub const OUTPUT_IS_CAST: [(u32, &str); 15] = [
    (20, "bigint"),
    (21, "smallint"),
    (23, "integer"),
    (25, "text"),
    (114, "json"),
    (700, "real"),
    (701, "double precision"),
    (1009, "text[]"),
    (1043, "character varying"),
    (1082, "date"),
    (1114, "timestamp without time zone"),
    (1184, "timestamptz"),
    (1700, "numeric"),
    (2950, "uuid"),
    (3802, "jsonb"),
];

/// The form of an SQL expression for the output text of a column.
///
/// A cast to text is not always the output: a boolean casts to `true`, an inet to an address with a mask, a
/// character(n) loses its trailing blanks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextForm {
    Boolean,
    /// The fastest form.
    Cast,
    /// The form for every type.
    Output,
}

impl TextForm {
    pub fn of_oid(type_oid: u32) -> Self {
        match type_oid {
            BOOLEAN => TextForm::Boolean,
            _ if OUTPUT_IS_CAST.iter().any(|(oid, _)| *oid == type_oid) => TextForm::Cast,
            _ => TextForm::Output,
        }
    }

    /// The form for a type under a name as in [`OUTPUT_IS_CAST`]; another name of such a type gets the form for
    /// every type.
    pub fn of_name(sql_type: &str) -> Self {
        match sql_type {
            "boolean" => TextForm::Boolean,
            _ if OUTPUT_IS_CAST.iter().any(|(_, name)| *name == sql_type) => TextForm::Cast,
            _ => TextForm::Output,
        }
    }

    /// The expression for `column`, which must be quoted where necessary.
    pub fn of(self, column: &str) -> String {
        match self {
            TextForm::Boolean => format!("CASE {column} WHEN true THEN 't' WHEN false THEN 'f' END"),
            TextForm::Cast => format!("{column}::text"),
            // A row type with only nulls `IS NULL`, so the value is compared with null instead.
            TextForm::Output => {
                format!("CASE WHEN {column} IS DISTINCT FROM NULL THEN pg_catalog.format('%s', {column}) END")
            }
        }
    }
}
