//! Named points at which a test makes the process kill itself, to prove that a crash at any of the points is
//! safe.
//!
//! `LEADBRIDGE_FAILPOINT=<name>[:n]` sends SIGKILL at the n-th pass: no destructor runs and no buffer is
//! flushed, as with `kill -9` or a lost machine. No crate serves this purpose, because the known failpoint
//! crates panic or block a thread instead of ending the process. In a release build the calls are empty and
//! the names are absent.

macro_rules! points {
    ($($point:ident = $name:literal: $doc:literal,)*) => {
        /// A point at which the process can be killed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Point {
            $(#[doc = $doc] $point,)*
        }

        #[cfg(debug_assertions)]
        impl Point {
            /// All points, so that a test can prove that every point is passed.
            pub const ALL: &[Point] = &[$(Point::$point,)*];

            pub fn name(self) -> &'static str {
                match self {
                    $(Point::$point => $name,)*
                }
            }
        }
    };
}

points! {
    StoreCleared = "snapshot.store_cleared": "the local store is empty, Traffic does not know of a snapshot yet",
    IntentRecorded = "snapshot.intent_recorded": "Traffic knows, the slot is still the old one or none",
    SlotDropped = "snapshot.slot_dropped": "between an earlier snapshot's slot and the new one",
    SlotCreated = "snapshot.slot_created": "nobody has imported its snapshot",
    IndexesLeftOut = "snapshot.indexes_left_out": "an empty table has lost indexes, which Traffic knows",
    Imported = "snapshot.imported": "every reader has the snapshot, nothing is copied",
    Copying = "snapshot.copying": "rows are on their way into a new table, the COPY has not ended",
    CopyCommitted = "snapshot.batch_committed": "a part of a table is on Traffic",
    Copied = "snapshot.copied": "every row is on Traffic, and also those that Landing no longer has",
    IndexMade = "snapshot.index_made": "every row is there, and not yet every index",
    Finishing = "snapshot.finishing": "inside the last transaction of the snapshot",
    Finished = "snapshot.finished": "Traffic says `streaming`, the local store is empty",
    FinishStored = "snapshot.stored": "nothing was streamed",
    BatchOpened = "apply.opened": "a Traffic transaction is open and holds nothing",
    RowsWritten = "apply.rows_written": "rows without their position",
    PartWritten = "apply.part_written": "a part of a Landing transaction, with more of it to come",
    Recorded = "apply.recorded": "rows and position, not committed",
    Committed = "apply.committed": "committed, and nobody else knows",
    KeyMoving = "apply.key_moving": "a row and what refers to it have the new key, before what is known of the row has",
    Deleted = "apply.deleted": "a delete and its cascades, before what was known of those rows is forgotten",
    Quarantined = "apply.quarantined": "a row is in quarantine, not committed",
    StoreWritten = "keep.written": "the local store has the position, not flushed",
    StoreFlushed = "keep.flushed": "the local store has it for good, the slot was not told",
    Acknowledged = "keep.acknowledged": "the slot is being told",
    CutoverPrepared = "cutover.prepared": "the reverse slot is there, the journal knows of nothing",
    CutoverBegun = "cutover.begun": "in the journal, nothing fenced",
    CutoverFenced = "cutover.fenced": "writers wait",
    CutoverDrained = "cutover.drained": "writers wait, everything is on Traffic",
    CutoverVerified = "cutover.verified": "writers wait, both sides are equal",
    CutoverClosed = "cutover.closed": "writers are refused, nothing is switched",
    CutoverHooked = "cutover.hooked": "the applications were told",
    CutoverKept = "cutover.kept": "the fence does not open by itself any more, nothing is switched",
    CutoverSwitched = "cutover.switched": "switched, without a certificate",
    RollbackBegun = "rollback.begun": "in the journal, nothing fenced",
    RollbackFenced = "rollback.fenced": "writers wait",
    RollbackDrained = "rollback.drained": "writers wait, everything is on Landing",
    RollbackVerified = "rollback.verified": "writers wait, both sides are equal",
    RollbackDecided = "rollback.decided": "decided, both databases refuse writes",
    RollbackLifted = "rollback.lifted": "Landing takes writes, nobody was told",
    ReverseRead = "reverse.read": "rows of Traffic are read, and not yet written to Landing",
    ReverseQuarantined = "reverse.quarantined": "a row waits in the quarantine of reverse replication, and nothing is committed on Landing",
    ReverseWritten = "reverse.written": "a load is on Landing, not committed",
    ReversePartWritten = "reverse.part_written": "a part of a Traffic transaction, with more of it to come",
    ReverseCommitted = "reverse.committed": "Landing has committed, and nobody else knows",
    ReverseReleased = "reverse.released": "rows have left the quarantine of reverse replication, their position is not written down",
    ReverseRecorded = "reverse.recorded": "both positions are written down on Traffic, the slot was not told",
    ReverseAcknowledged = "reverse.acknowledged": "the slot on Traffic is being told",
    FollowStored = "reverse.follow_stored": "the local store has Landing's position, the slot there has not",
    FollowAdvanced = "reverse.follow_advanced": "the slot on Landing stands behind what we wrote",
    FinishBegun = "finish.begun": "Traffic knows of the backup's directory, nothing is in it",
    TableBackedUp = "finish.table_written": "a table is in its file, under a temporary name",
    FilesBackedUp = "finish.files_written": "every file has its name and was read back, the manifest is missing",
    BackedUp = "finish.backed_up": "the backup is whole, and Traffic does not know",
    Dismantling = "finish.dismantling": "Traffic knows that the slots are about to go",
    ReverseSlotDropped = "finish.reverse_slot_dropped": "reverse replication is over, Landing still keeps WAL",
    ForwardSlotDropped = "finish.forward_slot_dropped": "publications and functions are left",
    PublicationsDropped = "finish.publications_dropped": "the fence's functions are left",
    Dismantled = "finish.dismantled": "everything is dropped, there is no certificate",
    Certified = "finish.certified": "the certificate is beside the backup, Traffic does not know that all is finished",
}

/// Kills the process at the point and pass that the environment names (`NAME:PASS`), or stops the process
/// until a SIGCONT (`NAME:PASS:stop`).
#[cfg(debug_assertions)]
pub fn reach(point: Point) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use nix::sys::signal::Signal;
    static WANTED: OnceLock<Option<(String, AtomicU64, Signal)>> = OnceLock::new();
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("LEADBRIDGE_FAILPOINT").ok()?;
        let mut parts = text.split(':');
        let (name, passes) = (parts.next()?.to_owned(), parts.next().unwrap_or("1"));
        let signal = if parts.next() == Some("stop") { Signal::SIGSTOP } else { Signal::SIGKILL };
        Some((name, AtomicU64::new(passes.parse().unwrap_or(1)), signal))
    });
    if let Some((name, left, signal)) = wanted
        && name == point.name()
        && left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        // Cannot fail: a process may always signal itself, and neither signal can be blocked.
        let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), *signal);
    }
}

#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn reach(_: Point) {}
