//! A column's value as the text that the type's output function gives, and that a logical stream sends.

/// An expression for the output text of `column`, a column of the type `sql_type`.
///
/// A cast to text is not always the output: a boolean casts to `true`, an inet to an address with a mask, a
/// character(n) loses its trailing blanks. The output of the listed types equals the cast, which is faster.
pub fn text(column: &str, sql_type: &str) -> String {
    match sql_type {
        "boolean" => format!("CASE {column} WHEN true THEN 't' WHEN false THEN 'f' END"),
        "uuid" | "text" | "jsonb" | "json" | "smallint" | "integer" | "bigint" | "timestamptz" => {
            format!("{column}::text")
        }
        // A row type with only nulls `IS NULL`, so the value is compared with null instead.
        _ => format!("CASE WHEN {column} IS DISTINCT FROM NULL THEN pg_catalog.format('%s', {column}) END"),
    }
}
