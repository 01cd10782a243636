//! The columns read by the mapping on Landing and written on Traffic. Other columns are not judged.

use super::{Bars, ColumnFacts, Extent, Subject, Unfit};
use crate::language::{Message, message};
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
fn meanwhile() -> Message {
    message!("admission-columns-meanwhile")
}

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

fn unfit(bars: Bars, what: Message, remedy: Message) -> Unfit {
    Unfit { check: "columns", bars, what, remedy }
}

fn on_landing(subject: &Subject<'_>, column: &Column) -> Vec<Unfit> {
    let place = format!("{}.{}", subject.short, column.name);
    let Some(found) = subject.shape.column(&column.name) else {
        // An optional column that is absent counts as null.
        let missing = || {
            let remedy = message!("admission-columns-needed-remedy", meanwhile = meanwhile());
            unfit(Bars::Replication, message!("admission-columns-missing", place = place), remedy)
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
            message!("admission-columns-generated-on-landing", place = place),
            message!(
                "admission-columns-generated-on-landing-remedy",
                table = subject.name,
                column = &*column.name,
                meanwhile = meanwhile()
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
                true => message!("report-migrate"),
                false => {
                    message!("admission-columns-bring-back")
                }
            };
            unfit(Bars::Replication, message!("admission-columns-missing", place = place), remedy)
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
            message!("admission-columns-generated-on-traffic", place = place),
            message!(
                "admission-columns-generated-on-traffic-remedy",
                side = subject.side,
                table = subject.name,
                name = name
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
    let found_type = match found.type_kind.as_str() {
        "d" => message!("admission-columns-domain", name = &found.type_name),
        "e" => message!("admission-columns-enum", name = &found.type_name),
        _ => Message::verbatim(&found.type_name),
    };
    let meanwhile = match side {
        Side::Landing => meanwhile(),
        Side::Traffic => message!("admission-columns-start-again"),
    };
    unfit(
        Bars::Replication,
        message!(
            "admission-columns-type",
            table = subject.short,
            column = column,
            found_type = found_type,
            accepted = accepted
        ),
        message!(
            "admission-columns-type-remedy",
            side = side,
            name = name,
            column = column,
            wanted = wanted,
            meanwhile = meanwhile
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
            message!("admission-columns-identity", short = short, column = column),
            message!("admission-columns-identity-remedy", side = side, name = name, column = column),
        ));
    }
    found.precision.filter(|digits| *digits < 6).map(|digits| {
        unfit(
            bars,
            message!("admission-columns-precision", short = short, column = column, digits = digits),
            message!("admission-columns-precision-remedy", side = side, name = name, column = column),
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
