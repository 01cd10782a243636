//! Judgement of a replicated table's kind, inheritance, rules, subscriptions and triggers.

use super::{AdmissionScope, Bars, Extent, Subject, Unfit};
use crate::model::change::Table;
use crate::model::side::Side;

/// How the names of a fence's triggers begin: ENABLE ALWAYS, and part of leadbridge.
const FENCE: &str = "leadbridge_fence";

/// Finding for a missing table. `leadbridge migrate` creates all of Traffic's tables but the leads.
pub(super) fn missing(scope: AdmissionScope<'_>, table: Table, name: &str) -> Option<Unfit> {
    let AdmissionScope { side, extent, .. } = scope;
    if extent == Extent::BeforeMigrate && side == Side::Traffic && table != Table::LandingLeads {
        return None;
    }
    let remedy = match (side, table) {
        (Side::Landing, _) => "check the database's name in LANDING_DATABASE_URL and [names] landing_schema",
        (Side::Traffic, Table::LandingLeads) => {
            "check the database's name in TRAFFIC_DATABASE_URL and [names] traffic_schema; where it is the right one, \
             bring the table back and run `leadbridge migrate`"
        }
        (Side::Traffic, _) => "run `leadbridge migrate`",
    };
    Some(Unfit {
        check: "tables",
        bars: Bars::Replication,
        what: format!("table {name} is missing"),
        remedy: remedy.to_owned(),
    })
}

pub(super) fn judge(subject: &Subject<'_>) -> Vec<Unfit> {
    let (shape, name, short) = (subject.shape, subject.name, subject.short);
    let side = subject.side;
    let unfit = |bars, what: String, remedy: String| Unfit {
        check: "tables",
        bars,
        what: format!("{short} {what}"),
        remedy,
    };
    if let Some(kind) = odd_kind(&shape.kind) {
        return vec![unfit(
            Bars::Replication,
            format!("is {kind}, not an ordinary table"),
            "leadbridge replicates ordinary tables only: give the table itself this name, or name its schema in [names]"
                .to_owned(),
        )];
    }
    let mut found = Vec::new();
    if shape.persistence != "p" {
        found.push(unfit(
            Bars::Replication,
            "is UNLOGGED: a crash empties the table, and its changes are in no WAL".to_owned(),
            format!("run on the {side}: ALTER TABLE {name} SET LOGGED"),
        ));
    }
    if let Some(method) = shape.access_method.as_deref().filter(|method| *method != "heap") {
        found.push(unfit(
            Bars::Replication,
            format!("has the access method {method}: only heap is known to be decoded and upserted exactly"),
            format!("move the rows into a table of the access method heap (PostgreSQL 15: ALTER TABLE {name} SET ACCESS METHOD heap)"),
        ));
    }
    found.extend(inheritance(subject));
    for rule in &shape.rules {
        found.push(unfit(
            subject.bars_writing(),
            format!("has the rule {rule}, which rewrites what is written there"),
            format!(
                "run on the {side}: DROP RULE \"{rule}\" ON {name}; a trigger does the same for each row"
            ),
        ));
    }
    for subscription in &shape.subscriptions {
        found.push(unfit(
            Bars::Cutover,
            format!("is written to by the subscription {subscription}, whose writes no fence sees"),
            format!("take the table out of what {subscription} subscribes to before a cutover"),
        ));
    }
    found.extend(triggers(subject));
    found
}

/// Findings for a parent, a partitioned table, a child or a partition. A write through a parent, or to a
/// child, reaches neither the stream nor the fence of the table.
fn inheritance(subject: &Subject<'_>) -> Vec<Unfit> {
    let (shape, name, short, side) = (subject.shape, subject.name, subject.short, subject.side);
    let unfit = |what: String, sql: String| Unfit {
        check: "tables",
        bars: Bars::Replication,
        what: format!("{short} {what}"),
        remedy: format!("run on the {side}: {sql}"),
    };
    let of_parent = |parent: &String| match shape.is_partition {
        true => unfit(
            format!("is a partition of {parent}: what is written through that table passes the fence"),
            format!("ALTER TABLE {parent} DETACH PARTITION {name}"),
        ),
        false => unfit(
            format!("inherits from {parent}: what is written through that table passes the fence"),
            format!("ALTER TABLE {name} NO INHERIT {parent}"),
        ),
    };
    let of_child = |child: &String| {
        unfit(
            format!(
                "has the child table {child}, whose rows are read with the table and are not in its stream"
            ),
            format!("ALTER TABLE {child} NO INHERIT {name}"),
        )
    };
    shape.parents.iter().map(of_parent).chain(shape.children.iter().map(of_child)).collect()
}

fn odd_kind(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "r" => return None,
        "p" => "a partitioned table",
        "v" => "a view",
        "m" => "a materialized view",
        "f" => "a foreign table",
        _ => "another kind of relation",
    })
}

/// Finding for ENABLE ALWAYS and ENABLE REPLICA triggers. Both kinds fire under `session_replication_role =
/// replica`, and so for replicated rows.
fn triggers(subject: &Subject<'_>) -> Option<Unfit> {
    let firing: Vec<&str> =
        subject.shape.triggers.iter().map(String::as_str).filter(|name| !name.starts_with(FENCE)).collect();
    if subject.side == Side::Landing || firing.is_empty() {
        return None;
    }
    Some(Unfit {
        check: "triggers",
        bars: Bars::Nothing,
        what: format!(
            "triggers of {} that fire for replicated rows too: {}",
            subject.short,
            firing.join(", ")
        ),
        remedy: "is that wanted? Otherwise ALTER TABLE … ENABLE TRIGGER … makes them ordinary".to_owned(),
    })
}
