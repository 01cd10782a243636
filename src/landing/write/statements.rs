//! The SQL that writes to Landing, built from the columns that Landing has; pure.
//!
//! Rows travel as arrays of text, one array per column. The server casts the texts.

use super::LandingTarget;
use crate::landing::catalog::CatalogColumn;
use crate::model::change::{Column, ColumnType};
use crate::model::names::Names;
use crate::postgres::unique::{self, Filler, UniqueColumn};

/// The written columns, each with the column's index in a row. The id is the first.
pub fn written(target: &LandingTarget) -> impl Iterator<Item = (usize, &Column)> {
    let columns = target.layout.mapping.columns().iter().zip(&target.places).enumerate();
    columns.filter(|(_, (_, place))| place.is_written).map(|(at, (column, _))| (at, column))
}

/// Inserts new rows. Parameters: a text array for each of [`written`].
pub fn insert(names: &Names, target: &LandingTarget) -> String {
    let columns: Vec<(usize, &Column)> = written(target).collect();
    let names_of: Vec<_> = columns.iter().map(|(_, column)| column.ident()).collect();
    let values: Vec<_> = columns.iter().map(|column| inserted(target, *column)).collect();
    format!(
        "INSERT INTO {} ({}) SELECT {} FROM {}",
        names.landing_table(target.layout.table()),
        names_of.join(", "),
        values.join(", "),
        input(&columns, ""),
    )
}

/// Updates existing rows. Parameters: the arrays of [`insert`], then a boolean array. True keeps a row's
/// JSON, so that a large value is not stored again.
pub fn update(names: &Names, target: &LandingTarget) -> String {
    let columns: Vec<(usize, &Column)> = written(target).collect();
    let changed = columns.iter().filter(|(_, column)| column.name != "id");
    let set = changed.map(|&(at, column)| {
        let (name, value) = (column.ident(), value(target, (at, column)));
        match column.kind {
            ColumnType::Jsonb => {
                format!("{name} = CASE WHEN i.keeps_json THEN l.{name} ELSE {value} END")
            }
            _ => format!("{name} = {value}"),
        }
    });
    format!(
        "UPDATE {} AS l SET {} FROM {} WHERE l.id = i.id::uuid",
        names.landing_table(target.layout.table()),
        set.collect::<Vec<_>>().join(", "),
        input(&columns, "keeps_json"),
    )
}

/// Lets rows give up the values of `unique` columns that are about to change. Parameters: the arrays of
/// [`insert`]. `None` when none of these columns is written.
pub fn give_up(
    names: &Names,
    target: &LandingTarget,
    (unique, filler): (&[UniqueColumn], Filler),
) -> Option<String> {
    let written: Vec<(usize, &Column)> = written(target).collect();
    let columns = unique.iter().filter_map(|column| {
        // The values of a JSON column are not always sent.
        let of =
            |(_, known): &&(usize, &Column)| known.name == column.name && known.kind != ColumnType::Jsonb;
        let known = written.iter().find(of)?;
        Some((column, format!("(t.{} IS DISTINCT FROM {})", known.1.ident(), value(target, *known))))
    });
    let (landing, input) = (names.landing_table(target.layout.table()), input(&written, ""));
    unique::give_up((&landing, &input), columns, filler)
}

/// Deletes rows. Parameter: an array of ids.
pub fn delete(names: &Names, target: &LandingTarget) -> String {
    format!("DELETE FROM {} WHERE id = ANY ($1::uuid[])", names.landing_table(target.layout.table()))
}

/// The value of a column in a new row: Landing's default where the column takes no null and Traffic has none.
fn inserted(target: &LandingTarget, (at, column): (usize, &Column)) -> String {
    let value = value(target, (at, column));
    let is_not_null = |found: &&CatalogColumn| found.is_not_null && column.is_passthrough;
    match target.column(at).filter(is_not_null).and_then(|found| found.default.as_ref()) {
        Some(default) => format!("COALESCE({value}, {default})"),
        None => value,
    }
}

/// The input's value of a column, cast to the column's type.
fn value(target: &LandingTarget, (at, column): (usize, &Column)) -> String {
    let sql_type = match column.kind {
        _ if column.is_passthrough => target.column(at).map_or("text", |found| &found.sql_type),
        ColumnType::Uuid => "uuid",
        ColumnType::Text | ColumnType::Other => return format!("i.{}", column.ident()),
        ColumnType::Jsonb => "jsonb",
        ColumnType::Boolean => "boolean",
        ColumnType::Integer => "integer",
        ColumnType::Timestamptz => "timestamptz",
    };
    format!("i.{}::{sql_type}", column.ident())
}

fn input(columns: &[(usize, &Column)], flag: &str) -> String {
    let mut names: Vec<_> = columns.iter().map(|(_, column)| column.ident()).collect();
    let mut arrays: Vec<String> = (1..=columns.len()).map(|at| format!("${at}::text[]")).collect();
    if !flag.is_empty() {
        names.push(flag.into());
        arrays.push(format!("${}::boolean[]", columns.len() + 1));
    }
    format!("unnest({}) AS i ({})", arrays.join(", "), names.join(", "))
}
