//! The restore of a backup, as lines for an operator to type into `psql`.

use std::fmt::Write as _;
use std::path::Path;

use postgres_protocol::escape::{escape_identifier, escape_literal};

use super::{Format, Manifest, TableFile};

/// Lines for `psql` to read the files of `directory` into existing, empty tables.
pub fn restore_hint(manifest: &Manifest, directory: &Path) -> String {
    let mut text = String::new();
    if manifest.format == Format::Jsonl {
        text.push_str("CREATE TEMPORARY TABLE backup_line (line json);\n");
    }
    for file in &manifest.tables {
        let path = escape_literal(&directory.join(&file.file).to_string_lossy());
        let columns = list(file, |name, _| escape_identifier(name));
        let table = &file.table;
        // Writing to a String cannot fail.
        let _ = match manifest.format {
            Format::Csv => writeln!(text, "\\copy {table} ({columns}) FROM {path} WITH (FORMAT csv, HEADER)"),
            // JSON text contains neither of the two characters unescaped, so each line is one value.
            Format::Jsonl => writeln!(
                text,
                "\\copy backup_line FROM {path} WITH (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')\n\
                 INSERT INTO {table} ({columns}) SELECT {} FROM backup_line;\n\
                 TRUNCATE backup_line;",
                list(file, |name, sql_type| format!("(line ->> {})::{sql_type}", escape_literal(name)))
            ),
        };
    }
    text
}

fn list(file: &TableFile, one: impl Fn(&str, &str) -> String) -> String {
    file.columns.iter().map(|column| one(&column.name, &column.sql_type)).collect::<Vec<_>>().join(", ")
}
