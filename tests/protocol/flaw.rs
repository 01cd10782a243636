//! Mistakes that the protocol avoids. The tests put each into the model, and expect that the checker finds the run in
//! which the mistake does harm.

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flaw {
    /// A writer passes an expired fence without a lock on the fence's row.
    NoShareLock,
    /// A writer with an old snapshot believes the expiry of a fence that is kept by now.
    StaleExpiry,
    /// `keep_fence` compares the clock before it waits for the fence's row.
    ClockBeforeLock,
    /// The handover is read under the fence, and waits for no older transaction.
    HandoverAtEnd,
    /// Traffic's fence is lifted before the switch, not in its transaction.
    LiftBeforeSwitch,
    /// An abort does not keep what Traffic has taken since the handover.
    NothingKept,
    /// An abort keeps what Traffic has taken once, before Landing is opened.
    KeptOnce,
    /// Only the command knows that the hook has begun.
    HookNotInJournal,
    /// The end of the hook's shell does not end the hook's other processes.
    ChildrenGoOn,
    /// The operator may say that the applications are back while the command lives.
    UndoneTooEarly,
    /// The command aborts on a new connection without the right to decide.
    AbortWithoutRight,
    /// The slot is created before the journal has the entry.
    SlotBeforeJournal,
    /// A slot of another program is noticed only when the slot is to be created.
    SlotRefusedLate,
    /// Traffic's fence has an expiry from the beginning of a rollback.
    ExpiryFromTheStart,
    /// A resolver opens Landing and forgets the expiry of Traffic's fence.
    NoExpiry,
    /// The switch does not ask the journal whether the cutover was aborted.
    BlindSwitch,
    /// A session that does not answer keeps the right to decide.
    HungForever,
    /// The command opens Landing before a rollback is decided.
    OpenBeforeDecision,
}
