//! Foreign keys from and to the replicated tables. Replicated rows are written under
//! `session_replication_role = replica`, where PostgreSQL neither checks a foreign key nor runs its ON UPDATE
//! action. Replicated deletes run with the checks and actions of foreign keys.

use super::{Bars, Facts, ForeignKey, Subject, Unfit, columns};
use crate::language::{Message, message};
use crate::model::change::Table;
use crate::model::side::Side;

pub(super) fn judge(subject: &Subject<'_>) -> Vec<Unfit> {
    let mut found: Vec<Unfit> = lead_reference(subject).into_iter().collect();
    found.extend(incoming(subject).filter_map(|key| judge_incoming(subject, key)));
    found.extend(outgoing(subject).filter_map(|key| judge_outgoing(subject, key)));
    found
}

fn unfit(bars: Bars, what: Message, remedy: Message) -> Unfit {
    Unfit { check: "references", bars, what, remedy }
}

fn position(subject: &Subject<'_>, table: Table) -> Option<usize> {
    subject.tables.iter().position(|known| *known == table)
}

/// Foreign keys to the table; for the leads also foreign keys to columns that change with a lead's `id`.
fn incoming<'f>(subject: &'f Subject<'_>) -> impl Iterator<Item = &'f ForeignKey> {
    let this = position(subject, subject.table);
    let is_leads = subject.table == Table::LandingLeads;
    // The facts hold a foreign key between two other tables only when a chain of foreign keys leads from
    // there to the `id` of a replicated table. Such a key is judged with the leads.
    let belongs = move |key: &&ForeignKey| {
        key.to_table == this || (is_leads && key.to_table.is_none() && key.from_table.is_none())
    };
    subject.facts.references.iter().filter(|key| key.is_enforced).filter(belongs)
}

fn outgoing<'f>(subject: &'f Subject<'_>) -> impl Iterator<Item = &'f ForeignKey> {
    let this = position(subject, subject.table);
    subject.facts.references.iter().filter(move |key| key.is_enforced && key.from_table == this)
}

/// Whether `key` refers from a journey entry or a notification to the lead.
fn is_lead_reference(subject: &Subject<'_>, key: &ForeignKey) -> bool {
    let leads = position(subject, Table::LandingLeads);
    subject.table != Table::LandingLeads
        && key.to_table == leads
        && key.from_columns == ["lead_id"]
        && key.to_columns == ["id"]
}

/// Finding for a table on Landing without an active foreign key to the leads. Traffic's foreign key deletes a
/// lead's journey entries and notifications together with the lead; on Landing the rows would stay.
fn lead_reference(subject: &Subject<'_>) -> Option<Unfit> {
    let is_child = subject.side == Side::Landing && subject.table != Table::LandingLeads;
    let acts = |key: &ForeignKey| is_lead_reference(subject, key) && !key.is_disabled;
    if !is_child || outgoing(subject).any(acts) {
        return None;
    }
    let (name, short) = (subject.name, subject.short);
    Some(unfit(
        Bars::Replication,
        message!("admission-references-none", short = short),
        message!(
            "admission-references-none-remedy",
            side = subject.side,
            name = name,
            leads = Table::LandingLeads.label()
        ),
    ))
}

fn judge_incoming(subject: &Subject<'_>, key: &ForeignKey) -> Option<Unfit> {
    let (side, bars) = (subject.side, subject.bars_writing());
    let ForeignKey { name, from, to, .. } = key;
    // Replication updates the referring columns together with a changed `id`, whatever other columns the key
    // has. An update of another column reaches no referring table.
    let is_updated = |column: &&String| *column != "id" && is_written(subject, column);
    if key.to_table.is_some()
        && let Some(column) = key.to_columns.iter().find(is_updated)
    {
        return Some(unfit(
            bars,
            message!("admission-references-other-column", name = name, from = from, to = to, column = column),
            message!("admission-references-other-column-remedy", side = side, from = from, name = name),
        ));
    }
    key.is_disabled.then(|| {
        unfit(
            bars,
            message!("admission-references-disabled", name = name, from = from),
            message!("admission-references-disabled-remedy", side = side, to = to, from = from),
        )
    })
}

/// Whether replication writes `column`; on Landing, whether reverse replication does after a cutover.
fn is_written(subject: &Subject<'_>, column: &str) -> bool {
    match subject.side {
        Side::Landing => subject.table.columns().iter().any(|known| known.name == column),
        Side::Traffic => columns::written(subject.table).iter().any(|(known, _)| *known == column),
    }
}

/// Finding for a foreign key whose referring columns replication writes, because PostgreSQL does not check
/// the key for replicated rows.
fn judge_outgoing(subject: &Subject<'_>, key: &ForeignKey) -> Option<Unfit> {
    let (side, name, short) = (subject.side, subject.name, subject.short);
    if is_lead_reference(subject, key) || !key.from_columns.iter().any(|column| is_written(subject, column)) {
        return None;
    }
    Some(unfit(
        subject.bars_writing(),
        message!(
            "admission-references-unchecked",
            short = short,
            key = &key.name,
            columns = key.from_columns.join(", "),
            to = &key.to
        ),
        message!("admission-references-unchecked-remedy", side = side, name = name, key = &key.name),
    ))
}

/// Foreign keys whose actions carry a write from another table to a replicated table. A closed fence refuses
/// such a write.
pub fn reached_by_others(facts: &Facts) -> Vec<Message> {
    let acts = |action: &String| matches!(action.as_str(), "c" | "n" | "d");
    let reaches = |key: &&ForeignKey| {
        key.is_enforced
            && key.from_table.is_some()
            && key.to_table.is_none()
            && (acts(&key.on_delete) || acts(&key.on_update))
    };
    let says = |key: &ForeignKey| {
        let (name, from, to) = (&key.name, &key.from, &key.to);
        match (acts(&key.on_delete), acts(&key.on_update)) {
            (true, true) => {
                message!("admission-references-both-reach", to = to, from = from, name = name)
            }
            (true, false) => {
                message!("admission-references-deletes-reach", to = to, from = from, name = name)
            }
            _ => message!("admission-references-updates-reach", to = to, from = from, name = name),
        }
    };
    facts.references.iter().filter(reaches).map(says).collect()
}
