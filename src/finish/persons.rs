//! What an operator is told about values of persons that a finish removes, and that outlive it.

use super::certificate::FinishCertificate;
use crate::model::names::Names;
use crate::quarantine::HeldCopies;

/// Lines of the plan: the copies to remove; empty if there are none.
pub(super) fn plan(names: &Names, removed: &HeldCopies, keeps_notes: bool) -> String {
    if removed.is_none() {
        return String::new();
    }
    let mut plan = format!(
        "  {} are deleted on Traffic: no deletion of a person would reach them any more\n",
        counted(removed)
    );
    if !keeps_notes && removed.conversion_notes > 0 {
        plan += &format!(
            "    (the notes hold what the mapping had to change, {}; keep them with --keep-notes, or save them first)\n",
            names.own("conversion_notes")
        );
    }
    plan
}

/// Where values of persons are after the finish, and what a later deletion of a person has to reach by hand.
pub(super) fn left(certificate: &FinishCertificate) -> String {
    let FinishCertificate { copies_removed, notes_kept, backup, .. } = certificate;
    let mut text = "\nPersons: nothing follows a deletion on Traffic any more.\n".to_owned();
    if !copies_removed.is_none() {
        text += &format!("  Deleted from leadbridge's tables on Traffic: {}.\n", counted(copies_removed));
    }
    if *notes_kept > 0 {
        text += &format!(
            "  {notes_kept} conversion notes stay on Traffic: for each lead that is deleted later, delete the rows with its \
             row_id\n  in leadbridge's table conversion_notes as well, or all at once when nobody needs them.\n"
        );
    }
    text += &format!(
        "  The backup in {} and Landing's tables hold every person as of now. A file cannot follow a deletion:\n  delete \
         the backup and drop Landing's tables once nobody needs them, and until then delete a person there too.\n",
        backup.directory.display()
    );
    text
}

fn counted(copies: &HeldCopies) -> String {
    let HeldCopies { conversion_notes, quarantine, left_on_traffic } = copies;
    let counts = [
        (conversion_notes, "conversion notes"),
        (quarantine, "discarded rows of the quarantine"),
        (left_on_traffic, "rows that an aborted cutover has left"),
    ];
    let counts = counts.into_iter().filter(|(count, _)| **count > 0);
    counts.map(|(count, what)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
}
