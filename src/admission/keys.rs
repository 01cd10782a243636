//! Judgement of keys: `id` is unique, PostgreSQL uses the replica identity, and every unique or exclusion
//! constraint is checked immediately.

use super::{Bars, IndexFacts, Subject, Unfit};
use crate::model::side::Side;

/// First version of PostgreSQL that refuses updates and deletes of a published table whose replica identity
/// contains an unpublished generated column.
const CHECKS_GENERATED: u32 = 180_000;

pub(super) fn judge(subject: &Subject<'_>) -> Vec<Unfit> {
    let mut found = Vec::new();
    // For a table without `id`, the judgement of columns has a finding.
    if subject.shape.column("id").is_some() {
        found.extend(unique_id(subject));
        found.extend(replica_identity(subject));
    }
    found.extend(deferrable(subject));
    found
}

fn unique_id(subject: &Subject<'_>) -> Option<Unfit> {
    let (shape, name, side) = (subject.shape, subject.name, subject.side);
    let is_of_id = |index: &&IndexFacts| index.key == [Some("id".to_owned())];
    let is_unique = shape.indexes.iter().any(|index| is_of_id(&index) && index.is_dependable());
    let is_not_null = shape.column("id").is_some_and(|id| id.is_not_null);
    if is_unique && is_not_null {
        return None;
    }
    let short = subject.short;
    let (what, remedy) = match shape.indexes.iter().find(is_of_id) {
        Some(index) if index.is_unique && !index.is_immediate => (
            format!("{short}: id is unique by the DEFERRABLE constraint {} only", index.name),
            format!(
                "run on the {side}: ALTER TABLE {name} DROP CONSTRAINT \"{}\", ADD PRIMARY KEY (id)",
                index.name
            ),
        ),
        Some(index) if is_unique => (
            format!("{short}: id is unique by {} and may be null", index.name),
            format!("run on the {side}: ALTER TABLE {name} ADD PRIMARY KEY USING INDEX \"{}\"", index.name),
        ),
        _ => (
            format!(
                "{short}: id is not unique: there is no primary key on id, and no valid unique index on id alone"
            ),
            format!("run on the {side}: ALTER TABLE {name} ADD PRIMARY KEY (id)"),
        ),
    };
    Some(Unfit { check: "keys", bars: Bars::Replication, what, remedy })
}

/// Finding for a replica identity that PostgreSQL does not use, or that lacks `id`. Without a usable replica
/// identity, the *application's* updates and deletes of a published table fail.
fn replica_identity(subject: &Subject<'_>) -> Option<Unfit> {
    let (shape, short) = (subject.shape, subject.short);
    let checks_generated = subject.facts.version >= CHECKS_GENERATED;
    let is_generated = |name: &str| shape.column(name).is_some_and(|column| column.is_generated);
    let is_not_null = |name: &str| shape.column(name).is_some_and(|column| column.is_not_null);
    let index = match shape.identity.as_str() {
        "f" => {
            let generated = shape.columns.iter().find(|column| checks_generated && column.is_generated)?;
            return Some(unfit(
                subject,
                format!(
                    "{short}: the replica identity is FULL, and holds the generated column {}",
                    generated.name
                ),
            ));
        }
        "n" => return Some(unfit(subject, format!("{short}: the replica identity is NOTHING"))),
        "d" => shape.indexes.iter().find(|index| index.is_primary),
        _ => shape.indexes.iter().find(|index| index.is_identity),
    };
    let usable = |index: &&IndexFacts| {
        let key = || index.key.iter().flatten();
        index.is_dependable()
            && index.key.iter().all(Option::is_some)
            && key().all(|name| is_not_null(name))
            && !(checks_generated && key().any(|name| is_generated(name)))
    };
    match (index, index.filter(usable)) {
        (_, Some(index)) if index.has("id") => None,
        (_, Some(index)) => Some(unfit(
            subject,
            format!("{short}: the replica identity, the index {}, does not contain id", index.name),
        )),
        (Some(index), None) => Some(unfit(
            subject,
            format!(
                "{short}: the replica identity is the index {}, which PostgreSQL does not use as one: it must be \
                 immediate (not DEFERRABLE), valid, without a condition, all its columns NOT NULL and stored",
                index.name
            ),
        )),
        (None, None) => Some(unfit(
            subject,
            format!("{short} has no replica identity: its primary key, or the index, is gone"),
        )),
    }
}

fn unfit(subject: &Subject<'_>, what: String) -> Unfit {
    let (name, side) = (subject.name, subject.side);
    let meanwhile = match side {
        Side::Landing => {
            ". If the stream was running, run `leadbridge resync` then: changes that were written since may not \
             name their row"
        }
        Side::Traffic => "",
    };
    Unfit {
        check: "replica_identity",
        bars: Bars::Replication,
        what,
        remedy: format!(
            "run on the {side}: ALTER TABLE {name} REPLICA IDENTITY DEFAULT (with a primary key on id, not \
             DEFERRABLE){meanwhile}"
        ),
    }
}

/// Findings for DEFERRABLE constraints. PostgreSQL checks a DEFERRABLE constraint in a trigger, and does not
/// run the trigger under `session_replication_role = replica`: two rows with the same key would be stored.
fn deferrable(subject: &Subject<'_>) -> Vec<Unfit> {
    let (name, side, short) = (subject.name, subject.side, subject.short);
    let deferrable = subject.shape.indexes.iter().filter(|index| !index.is_immediate);
    let unfit = |index: &IndexFacts| {
        let kind = if index.is_exclusion { "exclusion" } else { "unique" };
        Unfit {
            check: "keys",
            bars: subject.bars_writing(),
            what: format!(
                "{short}: the {kind} constraint {} is DEFERRABLE: PostgreSQL does not check it for replicated rows",
                index.name
            ),
            remedy: format!(
                "run on the {side}: ALTER TABLE {name} DROP CONSTRAINT \"{}\", and add it again without DEFERRABLE",
                index.name
            ),
        }
    };
    deferrable.map(unfit).collect()
}
