//! The command: the steps of a cutover and of a rollback up to the decision.
//!
//! A step that needs the command's session on Traffic fails when the session is gone, and a step that is written by
//! compare-and-set fails when the entry is decided. A failed step leads to the abort. A step that waits returns `None`;
//! `give_up` stands for every time limit, and for every condition that does not hold.

use super::Protocol;
use super::flaw::Flaw;
use super::state::{
    Decision, Direction, Handover, Hook, Keep, LandingFence, Right, Side, Slot, State, Step, TrafficFence,
};
use super::writers;

/// The command's next step, when nothing disturbs it.
pub fn next(protocol: &Protocol, state: &State) -> Option<State> {
    let mut next = *state;
    let succeeds = if state.step < Step::BeginRollback {
        cut_over(protocol, state, &mut next)?
    } else {
        roll_back(protocol, state, &mut next)?
    };
    if !succeeds {
        next = *state;
        abort(&mut next);
    }
    Some(next)
}

/// Ends the command's open transactions. What has begun is undone by the steps of the abort.
pub fn abort(state: &mut State) {
    if state.landing.fence == LandingFence::Held {
        state.landing.fence = LandingFence::Absent;
    }
    if state.landing.keep == Keep::Pending && state.step == Step::CommitKeep {
        state.landing.keep = Keep::No;
    }
    if state.traffic.fence == TrafficFence::Held {
        state.traffic.fence = TrafficFence::Open;
    }
    state.landing.waiting = false;
    state.step = Step::Abort;
}

/// A time limit is over, or a condition does not hold.
pub fn give_up(protocol: &Protocol, state: &State) -> Option<State> {
    if state.step >= Step::Abort {
        return None;
    }
    let mut next = *state;
    if state.step == Step::HookEnds && !protocol.has(Flaw::ChildrenGoOn) {
        next.hook = Hook::Ended;
    }
    abort(&mut next);
    Some(next)
}

/// The command's session on Traffic lives, and nobody has decided.
fn may_write(state: &State) -> bool {
    state.right == Right::Command && state.journal.decision == Decision::Undecided
}

fn holds(state: &State) -> bool {
    state.landing.fence == LandingFence::Held
}

/// `Some(false)`: the step fails.
fn cut_over(protocol: &Protocol, state: &State, next: &mut State) -> Option<bool> {
    let journal = &mut next.journal;
    let (done, then) = match state.step {
        Step::Begin | Step::CreateReverseSlot => return Some(begin(protocol, state, next)),
        Step::HandoverPosition => {
            journal.handover = Handover::Position;
            (may_write(state), Step::HandoverId)
        }
        Step::HandoverId if protocol.has(Flaw::HandoverAtEnd) => {
            journal.handover = Handover::Complete;
            (may_write(state), Step::Verify)
        }
        Step::HandoverId => {
            journal.handover = Handover::Id;
            (may_write(state), Step::HandoverWait)
        }
        Step::HandoverWait if writers::older_than_handover(state) => return None,
        Step::HandoverWait => {
            journal.handover = Handover::Complete;
            (state.right == Right::Command, Step::HoldFence)
        }
        Step::HoldFence if writers::landing_is_writing(state) => return None,
        Step::HoldFence => {
            next.landing.fence = LandingFence::Held;
            (true, Step::Drain)
        }
        Step::Drain if holds(state) && !writers::landing_is_drained(state) => return None,
        Step::Drain if protocol.has(Flaw::HandoverAtEnd) => {
            (may_write(state) && holds(state), Step::HandoverPosition)
        }
        Step::Drain => (may_write(state) && holds(state), Step::Verify),
        Step::Verify => (may_write(state) && holds(state), Step::CloseFence),
        Step::CloseFence => {
            next.landing.fence = LandingFence::Closed;
            if protocol.has(Flaw::LiftBeforeSwitch) && !state.traffic_accepts() {
                next.traffic.fence = TrafficFence::Lifted;
            }
            (holds(state), Step::BeginHook)
        }
        Step::BeginHook => {
            journal.hook_begun = true;
            (may_write(state), Step::Hook)
        }
        _ => return finish_cutover(protocol, state, next),
    };
    next.step = then;
    Some(done)
}

fn begin(protocol: &Protocol, state: &State, next: &mut State) -> bool {
    if state.traffic.slot == Slot::Foreign && !protocol.has(Flaw::SlotRefusedLate) {
        // Refused before there is an entry, so there is nothing to abort.
        (next.right, next.step) = (Right::Free, Step::Ended);
        return true;
    }
    let slot_first = protocol.has(Flaw::SlotBeforeJournal);
    if state.step == Step::Begin {
        next.journal.decision = Decision::Undecided;
    } else {
        next.traffic.slot = Slot::Present;
    }
    let is_refused = state.step == Step::CreateReverseSlot && state.traffic.slot == Slot::Foreign;
    next.step = match (state.step, slot_first) {
        // With the flaw the command's first step is the slot.
        (Step::Begin, false) => Step::CreateReverseSlot,
        (Step::CreateReverseSlot, true) => Step::Begin,
        _ if protocol.has(Flaw::HandoverAtEnd) => Step::HoldFence,
        _ => Step::HandoverPosition,
    };
    state.right == Right::Command && !is_refused
}

/// From the hook to the decision.
fn finish_cutover(protocol: &Protocol, state: &State, next: &mut State) -> Option<bool> {
    let landing = &mut next.landing;
    let closed = state.landing.fence == LandingFence::Closed && state.landing.keep == Keep::No;
    let (done, then) = match state.step {
        Step::Hook => {
            next.hook = Hook::Running;
            (true, Step::HookEnds)
        }
        Step::HookEnds if !state.moved => return None,
        Step::HookEnds => {
            next.hook = Hook::Ended;
            (true, Step::KeepFence)
        }
        Step::KeepFence if protocol.has(Flaw::ClockBeforeLock) => {
            (closed && !state.landing.expired, Step::LockKeptFence)
        }
        // The exclusive lock waits for every writer that has passed.
        Step::KeepFence | Step::LockKeptFence if state.fence_is_shared() => return None,
        Step::KeepFence | Step::LockKeptFence => {
            landing.keep = Keep::Pending;
            let in_time = !state.landing.expired || state.step == Step::LockKeptFence;
            (closed && in_time, Step::CommitKeep)
        }
        Step::CommitKeep => {
            landing.keep = Keep::Kept;
            (state.landing.keep == Keep::Pending, Step::Switch)
        }
        Step::Switch => {
            switch(next);
            next.right = Right::Free;
            (may_write(state) || protocol.has(Flaw::BlindSwitch), Step::Ended)
        }
        _ => return None,
    };
    next.step = then;
    Some(done)
}

/// The transaction that decides a cutover.
fn switch(state: &mut State) {
    state.journal.decision = Decision::Switched;
    state.traffic.record = Side::Traffic;
    if state.traffic.fence == TrafficFence::Expiring {
        state.traffic.fence = TrafficFence::Lifted;
    }
}

/// Another command takes the right, and begins a rollback.
pub fn begin_rollback(state: &State) -> Option<State> {
    let is_switched = state.journal.decision == Decision::Switched;
    // One rollback is enough: one that ends before its journal's entry could be tried again without end.
    let is_first = state.journal.direction == Direction::Cutover;
    let mut next = *state;
    next.journal.direction = Direction::Rollback;
    (next.right, next.step, next.hangs) = (Right::Command, Step::BeginRollback, false);
    (state.right == Right::Free && is_switched && is_first).then_some(next)
}

fn holds_traffic(state: &State) -> bool {
    state.traffic.fence == TrafficFence::Held
}

fn roll_back(protocol: &Protocol, state: &State, next: &mut State) -> Option<bool> {
    let (done, then) = match state.step {
        Step::BeginRollback => {
            (next.journal.decision, next.journal.hook_begun) = (Decision::Undecided, false);
            (state.right == Right::Command, Step::Adopt)
        }
        Step::Adopt => (state.right == Right::Command, Step::HoldTraffic),
        Step::HoldTraffic if state.traffic_is_writing() => return None,
        Step::HoldTraffic => {
            next.traffic.fence = TrafficFence::Held;
            (true, Step::DrainBack)
        }
        Step::DrainBack if holds_traffic(state) && state.traffic_owes() => return None,
        Step::DrainBack => (may_write(state) && holds_traffic(state), Step::VerifyBack),
        Step::VerifyBack => (may_write(state) && holds_traffic(state), Step::WaitOnLanding),
        Step::WaitOnLanding => {
            next.landing.waiting = true;
            if protocol.has(Flaw::OpenBeforeDecision) {
                (next.landing.fence, next.landing.waiting) = (LandingFence::Lifted, false);
            }
            (true, Step::RollBack)
        }
        // The fence's own transaction, in which the journal's entry is compared and set.
        Step::RollBack => {
            decide_rollback(protocol, next);
            let undecided = state.journal.decision == Decision::Undecided;
            (holds_traffic(state) && undecided, Step::Resolve)
        }
        _ => return None,
    };
    next.step = then;
    Some(done)
}

pub fn decide_rollback(protocol: &Protocol, state: &mut State) {
    state.journal.decision = Decision::RolledBack;
    state.traffic.record = Side::Landing;
    state.traffic.fence = match protocol.has(Flaw::ExpiryFromTheStart) {
        true => TrafficFence::Expiring,
        false => TrafficFence::Closed,
    };
}
