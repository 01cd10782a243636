//! Which columns of an export are carried, by the manifest and by the places that `migrate` has made on Traffic; pure.

use crate::checkpoint::ImportedColumns;
use crate::error::{Error, Result};
use crate::files::{FileColumn, Manifest, TableFile};
use crate::landing::left_out::{LeftOut, LeftOutReason};
use crate::language::message;
use crate::mapping::{Passthrough, TableMapping};
use crate::model::change::{Column, Table};
use crate::model::column_rules::ColumnRules;
use crate::model::names::Names;

/// The decision about every column of an export.
#[derive(Debug)]
pub(super) struct DecidedColumns {
    pub carried: ImportedColumns,
    pub left_out: Vec<LeftOut>,
}

/// What decides beside the export itself.
#[derive(Clone, Copy)]
pub(super) struct Deciders<'d> {
    pub names: &'d Names,
    pub tables: &'d [Table],
    /// The places on Traffic.
    pub recorded: &'d Passthrough,
    pub rules: &'d ColumnRules,
}

/// The file of a table.
///
/// # Errors
/// Refused when the export has none.
pub(super) fn file_of(manifest: &Manifest, table: Table) -> Result<&TableFile> {
    manifest.tables.iter().find(|file| file.holds == table).ok_or_else(|| {
        let remedy = match table {
            Table::ScheduledNotifications => {
                message!("import-remedy-no-notifications")
            }
            Table::LandingLeads | Table::LeadJourney => message!("error-remedy-export-with-this-version"),
        };
        Error::refused(format!("the export has no file of {}", table.label())).remedy(remedy)
    })
}

/// Decides about each column of each file, as `migrate` and the stream do.
///
/// # Errors
/// Refused for a column that a rule reads and that is missing or of another type, and for a column without a place
/// on Traffic that the configuration does not skip.
pub(super) fn decide(manifest: &Manifest, deciders: Deciders<'_>) -> Result<DecidedColumns> {
    let mut decided = DecidedColumns { carried: ImportedColumns::default(), left_out: Vec::new() };
    for &table in deciders.tables {
        decide_table(table, file_of(manifest, table)?, deciders, &mut decided)?;
    }
    Ok(decided)
}

fn decide_table(
    table: Table,
    file: &TableFile,
    deciders: Deciders<'_>,
    decided: &mut DecidedColumns,
) -> Result<()> {
    let Deciders { names, recorded, rules, .. } = deciders;
    let name = names.landing_name(table);
    let left_out =
        |column: &FileColumn, reason| LeftOut { table: name.to_owned(), column: column.name.clone(), reason };
    let known = decided.carried.known.entry(table).or_default();
    let passthrough = decided.carried.passthrough.0.entry(table).or_default();
    for column in &file.columns {
        if let Some(read) = table.columns().iter().find(|read| read.name == column.name) {
            check_type(name, read, column)?;
            known.insert(column.name.clone());
        } else if rules.skips(table, &column.name) {
            decided.left_out.push(left_out(column, LeftOutReason::Skipped));
        } else if let Some(place) = recorded.of(table).iter().find(|place| place.landing == column.name) {
            passthrough.push(place.clone());
        } else {
            return Err(Error::refused(format!(
                "column {name}.{} of the export has no place on Traffic",
                column.name
            ))
            .remedy(message!("import-remedy-no-place", table = name, column = &column.name)));
        }
    }
    let generated = file.generated.iter().map(|generated| &generated.column);
    decided.left_out.extend(generated.map(|column| left_out(column, LeftOutReason::Generated)));
    let known = &decided.carried.known;
    let has = |column: &&Column| known.get(&table).is_some_and(|known| known.contains(&*column.name));
    match table.columns().iter().filter(|column| column.required).find(|column| !has(column)) {
        None => Ok(()),
        Some(missing) => {
            Err(Error::refused(format!("column {name}.{} is missing in the export", missing.name))
                .remedy(message!("import-remedy-column-missing")))
        }
    }
}

fn check_type(table: &str, read: &Column, column: &FileColumn) -> Result<()> {
    if read.kind.accepts_named(&without_modifier(&column.sql_type)) {
        return Ok(());
    }
    Err(Error::refused(format!(
        "column {table}.{} of the export has the type {}, not {}",
        column.name,
        column.sql_type,
        read.kind.accepted_names()
    ))
    .remedy(message!("import-remedy-column-type")))
}

/// `timestamp(3) with time zone` as `timestamp with time zone`.
fn without_modifier(sql_type: &str) -> String {
    match (sql_type.find('('), sql_type.find(')')) {
        (Some(from), Some(to)) if from < to => {
            let (before, after) = (sql_type.get(..from), sql_type.get(to + 1..));
            format!("{}{}", before.unwrap_or_default(), after.unwrap_or_default())
        }
        _ => sql_type.to_owned(),
    }
}

/// For each column of the mapping, the position of its values in a row of the file; `None` for a column that the
/// file lacks.
pub(super) fn positions(mapping: &TableMapping, file: &TableFile) -> Vec<Option<usize>> {
    let position = |(at, column): (usize, &Column)| {
        mapping.has(at).then(|| file.columns.iter().position(|known| known.name == column.name)).flatten()
    };
    mapping.columns().iter().enumerate().map(position).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::change::ColumnType;

    #[test]
    fn a_type_is_known_by_its_name_whatever_its_modifier() {
        for (sql_type, plain) in [
            ("timestamp(3) with time zone", "timestamp with time zone"),
            ("character varying(50)", "character varying"),
            ("numeric(20,10)", "numeric"),
            ("text", "text"),
        ] {
            assert_eq!(without_modifier(sql_type), plain);
        }
        let accepted = [
            (ColumnType::Timestamptz, "timestamp with time zone"),
            (ColumnType::Text, "character varying"),
            (ColumnType::Integer, "smallint"),
        ];
        assert!(accepted.iter().all(|(kind, sql_type)| kind.accepts_named(sql_type)));
        let refused = [
            (ColumnType::Timestamptz, "timestamp without time zone"),
            (ColumnType::Jsonb, "json"),
            (ColumnType::Text, "character"),
            (ColumnType::Integer, "bigint"),
        ];
        assert!(!refused.iter().any(|(kind, sql_type)| kind.accepts_named(sql_type)));
    }
}
