//! Named points at which a test makes the process kill itself, to prove that a crash at any of the points is
//! safe; or stop, hang or panic there.
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
    StoreCleared = "snapshot.store_cleared": "the local store is empty; Traffic has no record of the snapshot yet",
    IntentRecorded = "snapshot.intent_recorded": "Traffic has recorded the snapshot; the slot is the earlier slot, or does not exist",
    SlotDropped = "snapshot.slot_dropped": "the earlier snapshot's slot is dropped, the new slot is not created",
    SlotCreated = "snapshot.slot_created": "no session has imported the slot's snapshot",
    IndexesLeftOut = "snapshot.indexes_left_out": "indexes of an empty table are dropped, and recorded on Traffic",
    Imported = "snapshot.imported": "every reader has imported the snapshot, no row is copied",
    Copying = "snapshot.copying": "a COPY into an empty table is running",
    CopyCommitted = "snapshot.batch_committed": "a part of a table is committed on Traffic",
    Copied = "snapshot.copied": "every row is on Traffic; rows that Landing no longer has are there, too",
    IndexMade = "snapshot.index_made": "every row is on Traffic, and a part of the indexes",
    Finishing = "snapshot.finishing": "inside the last transaction of the snapshot",
    Finished = "snapshot.finished": "Traffic's state is `streaming`, the local store is empty",
    FinishStored = "snapshot.stored": "the local store has the position, nothing is streamed",
    BatchOpened = "apply.opened": "a transaction on Traffic is open and has written nothing",
    RowsWritten = "apply.rows_written": "rows are written, their position is not",
    PartWritten = "apply.part_written": "a part of a Landing transaction is written",
    Recorded = "apply.recorded": "rows and position are written, not committed",
    Committed = "apply.committed": "the batch is committed, the local store has the earlier position",
    KeyMoving = "apply.key_moving": "a row and the rows that refer to it have the new key; leadbridge's records of the row have the old key",
    Deleted = "apply.deleted": "a delete and its cascades are done; leadbridge's records of these rows still exist",
    Quarantined = "apply.quarantined": "a row is in quarantine, not committed",
    StoreWritten = "keep.written": "the local store has the position, not flushed",
    StoreFlushed = "keep.flushed": "the local store has flushed the position, the slot has the earlier position",
    Acknowledged = "keep.acknowledged": "the position is being sent to the slot",
    RangeCompared = "verify.range_compared": "background verification has compared a range, nothing is recorded",
    RangeRecorded = "verify.range_recorded": "a compared range is recorded, the round goes on",
    RepairWritten = "verify.repair_written": "rows are repaired, not committed",
    RepairCommitted = "verify.repair_committed": "rows are repaired, the record still says that they differ",
    CutoverBegun = "cutover.begun": "the journal has an entry, the reverse slot does not exist",
    CutoverPrepared = "cutover.prepared": "the reverse slot exists, no fence is closed",
    CutoverFenced = "cutover.fenced": "writers wait",
    CutoverDrained = "cutover.drained": "writers wait, Traffic has every change",
    CutoverVerified = "cutover.verified": "writers wait, both sides are equal",
    CutoverClosed = "cutover.closed": "Landing refuses writes, the switch is not decided",
    HookBegun = "hook.begun": "the journal says that the hook runs, the hook has not begun",
    CutoverHooked = "cutover.hooked": "the hook has run, the switch is not decided",
    CutoverKept = "cutover.kept": "the fence no longer opens by itself, the switch is not decided",
    CutoverSwitched = "cutover.switched": "the switch is decided, no certificate is written",
    RollbackBegun = "rollback.begun": "the journal has an entry, no fence is closed",
    RollbackFenced = "rollback.fenced": "writers wait",
    RollbackDrained = "rollback.drained": "writers wait, Landing has every change",
    RollbackVerified = "rollback.verified": "writers wait, both sides are equal",
    RollbackDecided = "rollback.decided": "the rollback is decided, both databases refuse writes",
    RollbackLifted = "rollback.lifted": "Landing takes writes, the hook has not run",
    ReverseRead = "reverse.read": "rows are read from Traffic, not written to Landing",
    ReverseKeyMoved = "reverse.key_moved": "a row on Landing has another key, or Landing has refused the key; nothing is committed on Landing",
    ReverseQuarantined = "reverse.quarantined": "a row is in the reverse quarantine, nothing is committed on Landing",
    ReverseWritten = "reverse.written": "rows are written to Landing, not committed",
    ReversePartWritten = "reverse.part_written": "a part of a Traffic transaction is written",
    ReverseCommitted = "reverse.committed": "Landing has committed, Traffic has the earlier position",
    ReverseReleased = "reverse.released": "rows have left the reverse quarantine, their position is not recorded",
    ReverseRecorded = "reverse.recorded": "both positions are recorded on Traffic, the slot has the earlier position",
    ReverseAcknowledged = "reverse.acknowledged": "the position is being sent to the slot on Traffic",
    FollowStored = "reverse.follow_stored": "the local store has Landing's position, the slot on Landing has the earlier position",
    FollowAdvanced = "reverse.follow_advanced": "the slot on Landing was advanced past the rows of reverse replication",
    NewSlotIntended = "new_slot.intended": "Traffic has recorded that a new slot on Landing is to be made",
    NewSlotCreated = "new_slot.created": "the new slot on Landing exists, its position is not recorded",
    NewSlotRecorded = "new_slot.recorded": "Traffic has the new slot's position, the local store has an earlier position",
    ImportBegun = "import.begun": "Traffic has recorded the import, no row is written",
    ImportWritten = "import.written": "rows are written, the place in the file is not",
    ImportRecorded = "import.recorded": "rows and the place in the file are written, not committed",
    ImportCommitted = "import.committed": "a batch is committed, with the place in the file",
    FinishBegun = "finish.begun": "Traffic has recorded the backup's directory, which is empty",
    TableBackedUp = "finish.table_written": "a table is in its file, under a temporary name",
    FilesBackedUp = "finish.files_written": "every file has its name and was read back, the manifest is missing",
    BackedUp = "finish.backed_up": "the backup is complete, and not recorded on Traffic",
    Dismantling = "finish.dismantling": "Traffic has recorded that the slots are being dropped",
    ReverseSlotDropped = "finish.reverse_slot_dropped": "the reverse slot is dropped, Landing's slot keeps WAL",
    ForwardSlotDropped = "finish.forward_slot_dropped": "the slots are dropped; publications and functions exist",
    PublicationsDropped = "finish.publications_dropped": "the publications are dropped, the fence's functions exist",
    FunctionsDropped = "finish.functions_dropped": "the fence's functions are dropped, the roles have their rights",
    Dismantled = "finish.dismantled": "everything is dropped and taken away, no certificate is written",
    Certified = "finish.certified": "the certificate is written, and not recorded on Traffic",
}

/// Kills the process at the point and pass that the environment names (`NAME:PASS`), or stops the process
/// until a SIGCONT (`NAME:PASS:stop`). `NAME:PASS:hang` never returns, as a write to a hung disk;
/// `NAME:PASS:panic` panics with a message that stands for one with a value.
#[cfg(debug_assertions)]
pub fn reach(point: Point) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static WANTED: OnceLock<Option<(String, AtomicU64, String)>> = OnceLock::new();
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("LEADBRIDGE_FAILPOINT").ok()?;
        let mut parts = text.split(':');
        let (name, passes) = (parts.next()?.to_owned(), parts.next().unwrap_or("1"));
        let fault = parts.next().unwrap_or("kill").to_owned();
        Some((name, AtomicU64::new(passes.parse().unwrap_or(1)), fault))
    });
    if let Some((name, left, fault)) = wanted
        && name == point.name()
        && left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        strike(name, fault);
    }
}

#[cfg(debug_assertions)]
#[allow(clippy::panic, reason = "a test wants the process to panic here")]
fn strike(name: &str, fault: &str) {
    use nix::sys::signal::{Signal, kill};
    let signal = match fault {
        "stop" => Signal::SIGSTOP,
        "hang" => loop {
            std::thread::park();
        },
        "panic" => panic!("the value of {name}"),
        _ => Signal::SIGKILL,
    };
    // Cannot fail: a process may always signal itself, and neither signal can be blocked.
    let _ = kill(nix::unistd::Pid::this(), signal);
}

#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn reach(_: Point) {}
