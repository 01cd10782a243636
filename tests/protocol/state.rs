//! What the model knows of the two databases, the journal, the command, the daemon and the hook.
//!
//! A state holds only what a step of the protocol, a fault or a property reads. Each write is one writer, because the
//! invariants speak of single writes; the writers of a side are kept in order, so that states that differ only in
//! which writer did what are one state.

/// The most writers on one side.
pub const WRITERS: usize = 2;

/// How many writers there are on each side.
#[derive(Clone, Copy, Debug)]
pub struct Writers {
    pub landing: usize,
    pub traffic: usize,
}

/// A participant that resolves journal entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resolver {
    Command,
    Daemon,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    Landing,
    Traffic,
}

/// What the snapshot of a transaction on Landing says about the fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Seen {
    NoFence,
    /// Closed, with an expiry.
    Expiring,
    /// Closed, without an expiry.
    Kept,
    Lifted,
}

/// A transaction of an application on Landing, with one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LandingWriter {
    Idle,
    Began(Seen),
    /// `shares`: the transaction passed the fence by its expiry, and holds a share lock on the fence's row.
    Wrote {
        shares: bool,
    },
    /// Committed and acknowledged, not yet on Traffic.
    Acknowledged,
    /// Refused, lost before its commit, or on Traffic.
    Over,
}

/// A transaction on Traffic, with one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TrafficWriter {
    Idle,
    /// `since`: its id is not older than the handover's.
    Open {
        since: bool,
    },
    /// The commit is durable, and visible to no other session yet. `streamed`: it lies after the handover's position.
    Durable {
        since: bool,
        streamed: bool,
    },
    /// Acknowledged after the handover: the protocol owes that the write is carried to Landing, or kept by name.
    Acknowledged {
        since: bool,
        streamed: bool,
    },
    /// Refused, lost, acknowledged before the handover, carried or kept.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LandingFence {
    Absent,
    /// One open transaction holds the writers.
    Held,
    /// As `Held`, with a COMMIT on its way whose client is gone.
    Committing,
    Closed,
    Lifted,
}

/// Removal of the closed fence's expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Keep {
    No,
    /// The update holds the exclusive lock on the fence's row, and is not committed.
    Pending,
    Kept,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Landing {
    pub fence: LandingFence,
    pub keep: Keep,
    /// Landing's clock is past the fence's expiry.
    pub expired: bool,
    /// A rollback's `wait_on_landing` holds the writers, and the fence's row.
    pub waiting: bool,
    pub writers: [LandingWriter; WRITERS],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TrafficFence {
    Open,
    Held,
    Committing,
    /// Closed by a rollback, without an expiry.
    Closed,
    Expiring,
    Expired,
    /// Lifted before its expiry.
    Lifted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Slot {
    Absent,
    /// The session that creates the slot lives on, and its client is gone.
    Creating,
    Present,
    /// A slot of the same name that another program has created.
    Foreign,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Traffic {
    pub fence: TrafficFence,
    pub slot: Slot,
    pub writers: [TrafficWriter; WRITERS],
    /// The checkpoint: `Landing` while it is `streaming`, `Traffic` while it is `switched`.
    pub record: Side,
}

/// The session that has the right to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    Free,
    Command,
    Daemon,
    /// A session whose client is gone, and that has not ended.
    Lingering,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    Unwritten,
    /// `started` to `verified`.
    Undecided,
    Switched,
    RolledBack,
    Aborted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Handover {
    Unknown,
    Position,
    Id,
    /// Every transaction older than the handover's id is visible.
    Complete,
}

/// What Traffic took since the handover of an aborted cutover, kept in `left_on_traffic`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Left {
    Unread,
    /// Read once, before Landing was opened.
    Read,
    /// Read after the applications were back on Landing and every older transaction was over.
    Complete,
}

/// The newest entry of the journal. `Rollback` and `Switched`: the rollback's entry is not written yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Journal {
    pub direction: Direction,
    pub decision: Decision,
    pub handover: Handover,
    pub hook_begun: bool,
    /// The hook's `abort` event succeeded, or the operator did by hand what it does.
    pub hook_undone: bool,
    pub left: Left,
    pub lifted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    Cutover,
    Rollback,
}

/// The processes of the hook's group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hook {
    NotRun,
    Running,
    Ended,
}

/// The next step of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    Begin,
    CreateReverseSlot,
    HandoverPosition,
    HandoverId,
    HandoverWait,
    HoldFence,
    Drain,
    Verify,
    CloseFence,
    BeginHook,
    Hook,
    HookEnds,
    KeepFence,
    /// Of [`ClockBeforeLock`](super::flaw::Flaw::ClockBeforeLock) only.
    LockKeptFence,
    CommitKeep,
    Switch,
    BeginRollback,
    Adopt,
    HoldTraffic,
    DrainBack,
    VerifyBack,
    WaitOnLanding,
    RollBack,
    Abort,
    UndoHook,
    Resolve,
    /// The command ended, by itself or by a crash.
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub landing: Landing,
    pub traffic: Traffic,
    pub journal: Journal,
    pub right: Right,
    pub step: Step,
    /// The command does not go on, and its sessions live.
    pub hangs: bool,
    pub hook: Hook,
    /// The hook has pointed an application to Traffic, and nothing has pointed it back.
    pub moved: bool,
    /// Faults that may still happen.
    pub faults: u8,
}

impl State {
    /// Before a cutover.
    pub fn before_cutover(writers: Writers, faults: u8) -> State {
        let (mut on_landing, mut on_traffic) =
            ([LandingWriter::Over; WRITERS], [TrafficWriter::Over; WRITERS]);
        on_landing[..writers.landing].fill(LandingWriter::Idle);
        on_traffic[..writers.traffic].fill(TrafficWriter::Idle);
        let landing = Landing {
            fence: LandingFence::Absent,
            keep: Keep::No,
            expired: false,
            waiting: false,
            writers: on_landing,
        };
        let traffic = Traffic {
            fence: TrafficFence::Open,
            slot: Slot::Absent,
            writers: on_traffic,
            record: Side::Landing,
        };
        let journal = Journal {
            direction: Direction::Cutover,
            decision: Decision::Unwritten,
            handover: Handover::Unknown,
            hook_begun: false,
            hook_undone: false,
            left: Left::Unread,
            lifted: false,
        };
        State {
            landing,
            traffic,
            journal,
            right: Right::Command,
            step: Step::Begin,
            hangs: false,
            hook: Hook::NotRun,
            moved: false,
            faults,
        }
    }

    /// After a cutover that was decided, before a rollback.
    pub fn before_rollback(writers: Writers, faults: u8) -> State {
        let mut state = State::before_cutover(writers, faults);
        (state.landing.fence, state.landing.keep, state.landing.expired) =
            (LandingFence::Closed, Keep::Kept, true);
        (state.traffic.slot, state.traffic.record) = (Slot::Present, Side::Traffic);
        state.journal.direction = Direction::Rollback;
        (state.journal.decision, state.journal.handover) = (Decision::Switched, Handover::Complete);
        (state.step, state.hook, state.moved) = (Step::BeginRollback, Hook::Ended, true);
        state
    }

    /// Whether Landing's fence lets a new transaction of an application pass. False while writers wait.
    pub fn landing_accepts(&self) -> bool {
        match self.landing.fence {
            LandingFence::Absent | LandingFence::Lifted => !self.landing.waiting,
            LandingFence::Closed => self.landing.keep == Keep::No && self.landing.expired,
            LandingFence::Held | LandingFence::Committing => false,
        }
    }

    /// Whether Traffic's fence lets a new transaction pass.
    pub fn traffic_accepts(&self) -> bool {
        matches!(self.traffic.fence, TrafficFence::Open | TrafficFence::Expired | TrafficFence::Lifted)
    }

    /// A transaction on Traffic has written and is not acknowledged: its locks are held.
    pub fn traffic_is_writing(&self) -> bool {
        let writes =
            |w: &TrafficWriter| matches!(w, TrafficWriter::Open { .. } | TrafficWriter::Durable { .. });
        self.traffic.writers.iter().any(writes)
    }

    pub fn traffic_owes(&self) -> bool {
        self.traffic.writers.iter().any(|w| matches!(w, TrafficWriter::Acknowledged { .. }))
    }

    /// A transaction on Landing has passed the fence by its expiry, and is open.
    pub fn fence_is_shared(&self) -> bool {
        self.landing.writers.contains(&LandingWriter::Wrote { shares: true })
    }
}
