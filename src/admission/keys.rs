//! Judgement of keys: `id` is unique, PostgreSQL uses the replica identity, and every unique or exclusion
//! constraint is checked immediately.

use super::{Bars, IndexFacts, Subject, Unfit};
use crate::language::{Message, message};
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
            message!("admission-keys-deferrable-id", short = short, index = &index.name),
            message!("admission-keys-deferrable-id-remedy", side = side, name = name, index = &index.name),
        ),
        Some(index) if is_unique => (
            message!("admission-keys-nullable-id", short = short, index = &index.name),
            message!("admission-keys-nullable-id-remedy", side = side, name = name, index = &index.name),
        ),
        _ => (
            message!("admission-keys-no-unique-id", short = short),
            message!("admission-keys-no-unique-id-remedy", side = side, name = name),
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
                message!("admission-identity-full", short = short, column = &generated.name),
            ));
        }
        "n" => return Some(unfit(subject, message!("admission-identity-nothing", short = short))),
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
            message!("admission-identity-without-id", short = short, index = &index.name),
        )),
        (Some(index), None) => {
            Some(unfit(subject, message!("admission-identity-unusable", short = short, index = &index.name)))
        }
        (None, None) => Some(unfit(subject, message!("admission-identity-none", short = short))),
    }
}

fn unfit(subject: &Subject<'_>, what: Message) -> Unfit {
    let (name, side) = (subject.name, subject.side);
    let remedy = message!("admission-identity-remedy", side = side, name = name);
    let remedy = match side {
        Side::Landing => message!("admission-identity-remedy-meanwhile", remedy = remedy),
        Side::Traffic => remedy,
    };
    Unfit { check: "replica_identity", bars: Bars::Replication, what, remedy }
}

/// Findings for DEFERRABLE constraints. PostgreSQL checks a DEFERRABLE constraint in a trigger, and does not
/// run the trigger under `session_replication_role = replica`: two rows with the same key would be stored.
fn deferrable(subject: &Subject<'_>) -> Vec<Unfit> {
    let (name, side, short) = (subject.name, subject.side, subject.short);
    let deferrable = subject.shape.indexes.iter().filter(|index| !index.is_immediate);
    let unfit = |index: &IndexFacts| {
        let kind = match index.is_exclusion {
            true => message!("admission-keys-exclusion"),
            false => message!("admission-keys-unique"),
        };
        Unfit {
            check: "keys",
            bars: subject.bars_writing(),
            what: message!("admission-keys-deferrable", short = short, kind = kind, index = &index.name),
            remedy: message!(
                "admission-keys-deferrable-remedy",
                side = side,
                name = name,
                index = &index.name
            ),
        }
    };
    deferrable.map(unfit).collect()
}
