//! The columns read by the mapping on Landing and written on Traffic. Other columns are not judged.

use super::{Bars, ColumnFacts, Extent, Subject, Unfit};
use crate::mapping;
use crate::model::change::{Column, ColumnType, Table};
use crate::model::side::Side;

/// Whether `leadbridge migrate` adds the column to a table on Traffic that lacks it. The columns that begin
/// with `landing_` are all leadbridge's.
fn is_made_by_migrate(table: Table, name: &str) -> bool {
    let made: &[&str] = match table {
        Table::LandingLeads => &[
            "phone_normalized",
            "email_sent",
            "sms_sent",
            "email_clicked",
            "sms_clicked",
            "email_clicked_at",
            "sms_clicked_at",
            "click_count",
            "amocrm_synced",
        ],
        Table::LeadJourney => &["source", "metadata", "created_at"],
        Table::ScheduledNotifications => &[
            "status",
            "sent_at",
            "error_message",
            "retry_count",
            "last_retry_at",
            "metadata",
            "created_at",
            "updated_at",
        ],
    };
    name.starts_with("landing_") || made.contains(&name)
}

/// Second step of a remedy on Landing, for a running stream, because changes committed while the column was
/// not admissible cannot be applied exactly.
const MEANWHILE: &str = "If the stream was running, run `leadbridge resync` then";

pub(super) fn judge(subject: &Subject<'_>) -> Vec<Unfit> {
    match subject.side {
        Side::Landing => {
            subject.table.columns().iter().flat_map(|column| on_landing(subject, column)).collect()
        }
        Side::Traffic => written(subject.table)
            .into_iter()
            .flat_map(|(name, kind)| on_traffic(subject, name, kind))
            .collect(),
    }
}

/// The columns written by replication on Traffic, each with the type for the cast of its values.
pub(super) fn written(table: Table) -> Vec<(&'static str, ColumnType)> {
    let kind = |sql_type: &str| match sql_type {
        "uuid" => ColumnType::Uuid,
        "jsonb" => ColumnType::Jsonb,
        "boolean" => ColumnType::Boolean,
        "integer" | "bigint" => ColumnType::Integer,
        "timestamptz" => ColumnType::Timestamptz,
        _ => ColumnType::Text,
    };
    let fixed = [("id", ColumnType::Uuid), ("landing_synced_at", ColumnType::Timestamptz)];
    let status = (table == Table::LandingLeads).then_some(("status", ColumnType::Text));
    let mapped = mapping::known_targets(table).iter().map(|target| (&*target.name, kind(&target.sql_type)));
    fixed.into_iter().chain(mapped).chain(status).collect()
}

fn unfit(bars: Bars, what: String, remedy: String) -> Unfit {
    Unfit { check: "columns", bars, what, remedy }
}

fn on_landing(subject: &Subject<'_>, column: &Column) -> Vec<Unfit> {
    let place = format!("{}.{}", subject.short, column.name);
    let Some(found) = subject.shape.column(&column.name) else {
        // An optional column that is absent counts as null.
        let missing = || {
            let remedy = format!("the mapping needs the column: bring it back under this name. {MEANWHILE}");
            unfit(Bars::Replication, format!("{place} is missing"), remedy)
        };
        return column.required.then(missing).into_iter().collect();
    };
    let mut all = Vec::new();
    if !column.kind.accepts(found.type_oid) {
        let names = column.kind.accepted_names();
        all.push(retyped(subject, found, &names, sql_name(column.kind)));
    }
    if found.is_generated && !column.may_be_generated() {
        all.push(unfit(
            Bars::Replication,
            format!("{place} is a generated column: a snapshot reads it, and the stream does not send it"),
            format!(
                "make it an ordinary column, which the application fills (ALTER TABLE {} ALTER COLUMN \"{}\" DROP \
                 EXPRESSION keeps what is stored). {MEANWHILE}",
                subject.name, column.name
            ),
        ));
    }
    all.extend(not_writable(subject, found, Bars::Cutover));
    all
}

fn on_traffic(subject: &Subject<'_>, name: &str, kind: ColumnType) -> Vec<Unfit> {
    let place = format!("{}.{name}", subject.short);
    let Some(found) = subject.shape.column(name) else {
        let is_made = is_made_by_migrate(subject.table, name);
        let missing = || {
            let remedy = match is_made {
                true => "run `leadbridge migrate`",
                false => {
                    "bring the column back, as `leadbridge migrate --print=traffic` and the contract have it"
                }
            };
            unfit(Bars::Replication, format!("{place} is missing"), remedy.to_owned())
        };
        return (subject.extent == Extent::Whole || !is_made).then(missing).into_iter().collect();
    };
    let (accepted, names) = accepted(subject.table, name, kind);
    let mut all = Vec::new();
    if !accepted.contains(&found.type_oid) {
        all.push(retyped(subject, found, names, names.split(" or ").next().unwrap_or(names)));
    }
    if found.is_generated {
        all.push(unfit(
            Bars::Replication,
            format!("{place} is a generated column: nothing can be written to it"),
            format!(
                "run on the {}: ALTER TABLE {} ALTER COLUMN \"{name}\" DROP EXPRESSION",
                subject.side, subject.name
            ),
        ));
    }
    all.extend(not_writable(subject, found, Bars::Replication));
    all
}

/// Types admissible for a column on Traffic: OIDs for the comparison, names for the message.
fn accepted(table: Table, name: &str, kind: ColumnType) -> (&'static [u32], &'static str) {
    let is_bigint =
        mapping::known_targets(table).iter().any(|target| target.name == name && target.sql_type == "bigint");
    match kind {
        ColumnType::Uuid => (&[2950], "uuid"),
        ColumnType::Text => (&[25, 1043], "text or varchar"),
        ColumnType::Jsonb => (&[3802], "jsonb"),
        ColumnType::Boolean => (&[16], "boolean"),
        ColumnType::Integer if is_bigint => (&[20], "bigint"),
        ColumnType::Integer => (&[23, 20], "integer or bigint"),
        ColumnType::Timestamptz => (&[1184], "timestamptz"),
        ColumnType::Other => (&[], "no type"),
    }
}

fn retyped(subject: &Subject<'_>, found: &ColumnFacts, accepted: &str, wanted: &str) -> Unfit {
    let (side, name, column) = (subject.side, subject.name, &found.name);
    let kind = match found.type_kind.as_str() {
        "d" => "the domain ",
        "e" => "the enum ",
        _ => "",
    };
    let meanwhile = if side == Side::Landing { MEANWHILE } else { "Then start again" };
    unfit(
        Bars::Replication,
        format!("{}.{column} is of type {kind}{}, not {accepted}", subject.short, found.type_name),
        format!(
            "run on the {side}: ALTER TABLE {name} ALTER COLUMN \"{column}\" TYPE {wanted} USING \
             \"{column}\"::text::{wanted} (a default of another type is to be dropped before); views of the column \
             are to be made again. {meanwhile}"
        ),
    )
}

/// Finding for a column that refuses an explicit value (GENERATED ALWAYS AS IDENTITY), or that rounds the
/// value (a timestamptz with fewer than six digits of a second).
fn not_writable(subject: &Subject<'_>, found: &ColumnFacts, bars: Bars) -> Option<Unfit> {
    let (side, name, column, short) = (subject.side, subject.name, &found.name, subject.short);
    if found.is_always_identity {
        return Some(unfit(
            bars,
            format!("{short}.{column} is GENERATED ALWAYS AS IDENTITY: it takes no value from replication"),
            format!(
                "run on the {side}: ALTER TABLE {name} ALTER COLUMN \"{column}\" SET GENERATED BY DEFAULT"
            ),
        ));
    }
    found.precision.filter(|digits| *digits < 6).map(|digits| {
        unfit(
            bars,
            format!("{short}.{column} keeps {digits} digits of a second: other times than the other side's would be stored"),
            format!("run on the {side}: ALTER TABLE {name} ALTER COLUMN \"{column}\" TYPE timestamptz"),
        )
    })
}

fn sql_name(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::Uuid => "uuid",
        ColumnType::Text => "text",
        ColumnType::Jsonb => "jsonb",
        ColumnType::Boolean => "boolean",
        ColumnType::Integer => "integer",
        ColumnType::Timestamptz => "timestamptz",
        ColumnType::Other => "text",
    }
}
