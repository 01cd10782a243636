//! What an operator is told about values of persons that a finish removes, and that outlive it.

use super::certificate::FinishCertificate;
use crate::language::{Message, message};
use crate::model::names::Names;
use crate::quarantine::HeldCopies;

/// Lines of the plan: the copies to remove; none if there are none.
pub(super) fn plan(names: &Names, removed: &HeldCopies, keeps_notes: bool) -> Vec<Message> {
    if removed.is_none() {
        return Vec::new();
    }
    let copies = message!("finish-plan-copies", copies = counted(removed)).indented(2);
    let notes = (!keeps_notes && removed.conversion_notes > 0)
        .then(|| message!("finish-plan-notes", table = names.own("conversion_notes")).indented(4));
    [Some(copies), notes].into_iter().flatten().collect()
}

/// Where values of persons are after the finish, and what a later deletion of a person has to reach by hand.
pub(super) fn left(certificate: &FinishCertificate) -> Vec<Message> {
    let FinishCertificate { copies_removed, notes_kept, backup, .. } = certificate;
    let deleted = (!copies_removed.is_none())
        .then(|| message!("finish-persons-deleted", copies = counted(copies_removed)).indented(2));
    let kept = (*notes_kept > 0).then(|| message!("finish-persons-notes", notes = notes_kept).indented(2));
    let directory = backup.directory.display().to_string();
    let backup = message!("finish-persons-backup", directory = directory).indented(2);
    [Some(message!("finish-persons")), deleted, kept, Some(backup)].into_iter().flatten().collect()
}

fn counted(copies: &HeldCopies) -> Message {
    let HeldCopies { conversion_notes, quarantine, left_on_traffic } = copies;
    let counts = [
        (conversion_notes, message!("finish-copies-notes", count = conversion_notes)),
        (quarantine, message!("finish-copies-quarantine", count = quarantine)),
        (left_on_traffic, message!("finish-copies-left", count = left_on_traffic)),
    ];
    Message::joined(counts.into_iter().filter(|(count, _)| **count > 0).map(|(_, what)| what), ", ")
}
