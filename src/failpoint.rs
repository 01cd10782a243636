//! Named places where a test lets the process kill itself, to prove that any of them may be the last.
//!
//! `LEADBRIDGE_FAILPOINT=<name>[:n]` sends SIGKILL at the n-th pass: no destructor runs, nothing is flushed, as with
//! `kill -9` or a lost machine. There is no crate for this: the known ones panic or block a thread, and neither is
//! a death. In a release build the calls are empty and the names are not there.

macro_rules! points {
    ($($point:ident = $name:literal: $doc:literal,)*) => {
        /// A place to die at.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Point {
            $(#[doc = $doc] $point,)*
        }

        #[cfg(debug_assertions)]
        impl Point {
            /// All of them, so that a test can prove that each one is really passed.
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
    Imported = "snapshot.imported": "every reader has the snapshot, nothing is copied",
    Copying = "snapshot.copying": "rows are on their way into a new table, the COPY has not ended",
    CopyCommitted = "snapshot.batch_committed": "a part of a table is on Traffic",
    Copied = "snapshot.copied": "every row is on Traffic, and also those that Landing no longer has",
    Finishing = "snapshot.finishing": "inside the last transaction of the snapshot",
    Finished = "snapshot.finished": "Traffic says `streaming`, the local store is empty",
    FinishStored = "snapshot.stored": "nothing was streamed",
    BatchOpened = "apply.opened": "a Traffic transaction is open and holds nothing",
    RowsWritten = "apply.rows_written": "rows without their position",
    PartWritten = "apply.part_written": "a part of a Landing transaction, with more of it to come",
    Recorded = "apply.recorded": "rows and position, not committed",
    Committed = "apply.committed": "committed, and nobody else knows",
    KeyMoving = "apply.key_moving": "between the statements of a changed key",
    Deleted = "apply.deleted": "a delete and its cascades, before what was known of those rows is forgotten",
    Parked = "apply.parked": "a row is in quarantine, not committed",
    StoreWritten = "keep.written": "the local store has the position, not flushed",
    StoreFlushed = "keep.flushed": "the local store has it for good, the slot was not told",
    Acknowledged = "keep.acknowledged": "the slot is being told",
}

/// Ends the process when the environment says that it is to die here.
#[cfg(debug_assertions)]
pub fn reach(point: Point) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    static WANTED: OnceLock<Option<(String, AtomicU64)>> = OnceLock::new();
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("LEADBRIDGE_FAILPOINT").ok()?;
        let (name, passes) = text.split_once(':').unwrap_or((&text, "1"));
        Some((name.to_owned(), AtomicU64::new(passes.parse().unwrap_or(1))))
    });
    if let Some((name, left)) = wanted
        && name == point.name()
        && left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        // Cannot fail, and does not return: our own process may be signalled, and nobody survives this one.
        let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGKILL);
    }
}

#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn reach(_: Point) {}
