//! Judgement of a replicated table's kind, inheritance, rules, subscriptions and triggers.

use super::{AdmissionScope, Bars, Extent, Subject, Unfit};
use crate::language::{Message, message};
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
        (Side::Landing, _) => message!("admission-tables-missing-on-landing-remedy"),
        (Side::Traffic, Table::LandingLeads) => {
            message!("admission-tables-missing-on-traffic-remedy")
        }
        (Side::Traffic, _) => message!("report-migrate"),
    };
    Some(Unfit {
        check: "tables",
        bars: Bars::Replication,
        what: message!("admission-tables-missing", name = name),
        remedy,
    })
}

pub(super) fn judge(subject: &Subject<'_>) -> Vec<Unfit> {
    let (shape, name, short) = (subject.shape, subject.name, subject.short);
    let side = subject.side;
    let unfit = |bars, what: Message, remedy: Message| Unfit { check: "tables", bars, what, remedy };
    if let Some(kind) = odd_kind(&shape.kind) {
        return vec![unfit(
            Bars::Replication,
            message!("admission-tables-kind", short = short, kind = kind),
            message!("admission-tables-kind-remedy"),
        )];
    }
    let mut found = Vec::new();
    if shape.persistence != "p" {
        found.push(unfit(
            Bars::Replication,
            message!("admission-tables-unlogged", short = short),
            message!("admission-tables-unlogged-remedy", side = side, name = name),
        ));
    }
    if let Some(method) = shape.access_method.as_deref().filter(|method| *method != "heap") {
        found.push(unfit(
            Bars::Replication,
            message!("admission-tables-method", short = short, method = method),
            message!("admission-tables-method-remedy", name = name),
        ));
    }
    found.extend(inheritance(subject));
    for rule in &shape.rules {
        found.push(unfit(
            subject.bars_writing(),
            message!("admission-tables-rule", short = short, rule = rule),
            message!("admission-tables-rule-remedy", side = side, rule = rule, name = name),
        ));
    }
    for subscription in &shape.subscriptions {
        found.push(unfit(
            Bars::Cutover,
            message!("admission-tables-subscription", short = short, subscription = subscription),
            message!("admission-tables-subscription-remedy", subscription = subscription),
        ));
    }
    found.extend(triggers(subject));
    found
}

/// Findings for a parent, a partitioned table, a child or a partition. A write through a parent, or to a
/// child, reaches neither the stream nor the fence of the table.
fn inheritance(subject: &Subject<'_>) -> Vec<Unfit> {
    let (shape, name, short, side) = (subject.shape, subject.name, subject.short, subject.side);
    let unfit = |what: Message, sql: String| Unfit {
        check: "tables",
        bars: Bars::Replication,
        what,
        remedy: message!("error-remedy-run-on", side = side, sql = sql),
    };
    let of_parent = |parent: &String| match shape.is_partition {
        true => unfit(
            message!("admission-tables-partition", short = short, parent = parent),
            format!("ALTER TABLE {parent} DETACH PARTITION {name}"),
        ),
        false => unfit(
            message!("admission-tables-child", short = short, parent = parent),
            format!("ALTER TABLE {name} NO INHERIT {parent}"),
        ),
    };
    let of_child = |child: &String| {
        unfit(
            message!("admission-tables-parent", short = short, child = child),
            format!("ALTER TABLE {child} NO INHERIT {name}"),
        )
    };
    shape.parents.iter().map(of_parent).chain(shape.children.iter().map(of_child)).collect()
}

fn odd_kind(kind: &str) -> Option<Message> {
    Some(match kind {
        "r" => return None,
        "p" => message!("admission-tables-partitioned"),
        "v" => message!("admission-tables-view"),
        "m" => message!("admission-tables-materialized-view"),
        "f" => message!("admission-tables-foreign-table"),
        _ => message!("admission-tables-other-kind"),
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
        what: message!("admission-triggers-always", table = subject.short, triggers = firing.join(", ")),
        remedy: message!("admission-triggers-always-remedy"),
    })
}
