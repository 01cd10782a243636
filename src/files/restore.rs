//! The restore of an export, as lines for an operator to type into `psql`.

use std::fmt::Write as _;
use std::path::Path;

use postgres_protocol::escape::{escape_identifier, escape_literal};

use super::manifest::ColumnSequence;
use super::{Format, Manifest, TableFile};

/// Lines for `psql` to read the files of `directory` into existing, empty tables, and to let the sequences of the
/// tables go on after the numbers read.
pub fn restore_hint(manifest: &Manifest, directory: &Path) -> String {
    let mut text = String::from("\\encoding UTF8\n");
    if manifest.format == Format::Jsonl {
        text.push_str("CREATE TEMPORARY TABLE exported_line (line json);\n");
    }
    for file in &manifest.tables {
        let from = source(file, &directory.join(&file.file).to_string_lossy());
        let columns = list(file, |name, _| escape_identifier(name));
        let table = &file.table;
        // Writing to a String cannot fail.
        let _ = match manifest.format {
            Format::Csv => writeln!(text, "\\copy {table} ({columns}) FROM {from} WITH (FORMAT csv, HEADER)"),
            // JSON text contains neither of the two characters unescaped, so each line is one value. COPY writes
            // an identity column as it is, an INSERT has to say so.
            Format::Jsonl => writeln!(
                text,
                "\\copy exported_line FROM {from} WITH (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')\n\
                 INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {} FROM exported_line;\n\
                 TRUNCATE exported_line;",
                list(file, |name, sql_type| format!("(line ->> {})::{sql_type}", escape_literal(name)))
            ),
        };
        text.extend(file.columns.iter().filter_map(|column| {
            column.sequence.as_ref().map(|sequence| going_on(table, &column.name, sequence))
        }));
    }
    text
}

/// The file as `\copy` names it, which knows no escape but the doubled quote.
fn source(file: &TableFile, path: &str) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    if !file.has_end_marker {
        return quoted(path);
    }
    // Before version 18 psql and the server take a line that is no more than `\.` for the end of the data,
    // between quotes, too. `\"."` has the same meaning as `\.`, within a quoted value and outside.
    let program = format!(r#"LC_ALL=C sed 's/^\\\./\\"."/' '{}'"#, path.replace('\'', r"'\''"));
    format!("PROGRAM {}", quoted(&program))
}

/// A line that sets a column's sequence to the last number of the column. A restored table may have a sequence of
/// its own.
fn going_on(table: &str, column: &str, sequence: &ColumnSequence) -> String {
    let ColumnSequence { name, increment, least, most } = sequence;
    let last = if *increment < 0 { "min" } else { "max" };
    let last = format!("{last}({})::bigint", escape_identifier(column));
    format!(
        "SELECT setval(coalesce(pg_get_serial_sequence({}, {}), {}), {last}) FROM {table} \
         HAVING {last} BETWEEN {least} AND {most};\n",
        escape_literal(table),
        escape_literal(column),
        escape_literal(name)
    )
}

fn list(file: &TableFile, one: impl Fn(&str, &str) -> String) -> String {
    file.columns.iter().map(|column| one(&column.name, &column.sql_type)).collect::<Vec<_>>().join(", ")
}
