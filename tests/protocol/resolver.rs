//! The abort, and everything else that follows a decision: by the command, or by the daemon for a command that has
//! ended. Both do the next duty that the journal and the two databases leave, while they have the right to decide.

use super::Protocol;
use super::flaw::Flaw;
use super::state::{
    Decision, Direction, Hook, Keep, LandingFence, Left, Resolver, Right, Slot, State, Step, TrafficFence,
};
use super::writers;

/// A step after the decision, or the decision to abort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    Abort,
    KeepLeft,
    LiftFence,
    DropReverseSlot,
    OpenLanding,
    ExpireFence,
    Lifted,
    KeepLeftFinally,
}

/// Whether `who` knows that the hook has begun.
fn knows_hook(protocol: &Protocol, state: &State, who: Resolver) -> bool {
    if protocol.has(Flaw::HookNotInJournal) {
        return who == Resolver::Command && state.hook != Hook::NotRun;
    }
    state.journal.hook_begun
}

/// What `who` has to do next, whether or not it must wait. `None`: the entry is resolved.
fn duty(protocol: &Protocol, state: &State, who: Resolver) -> Option<Duty> {
    let (landing, traffic, journal) = (&state.landing, &state.traffic, &state.journal);
    // The slot is known by its name alone.
    let is_slot_left = matches!(traffic.slot, Slot::Present | Slot::Foreign);
    match (journal.direction, journal.decision) {
        (_, Decision::Unwritten | Decision::Switched) => return None,
        (_, Decision::Undecided) => return Some(Duty::Abort),
        (_, Decision::RolledBack) if journal.lifted => return None,
        (_, Decision::RolledBack) if landing.fence == LandingFence::Closed => return Some(Duty::OpenLanding),
        (_, Decision::RolledBack) if traffic.fence == TrafficFence::Closed && !forgets(protocol, who) => {
            return Some(Duty::ExpireFence);
        }
        (_, Decision::RolledBack) if is_slot_left => return Some(Duty::DropReverseSlot),
        (Direction::Rollback, _) => return (!journal.lifted).then_some(Duty::Lifted),
        (Direction::Cutover, _) => {}
    }
    let keeps = knows_hook(protocol, state, who) && !protocol.has(Flaw::NothingKept);
    if journal.lifted {
        let is_left = journal.hook_undone && journal.left != Left::Complete;
        (keeps && is_left && !protocol.has(Flaw::KeptOnce)).then_some(Duty::KeepLeftFinally)
    } else if keeps && journal.left == Left::Unread {
        Some(Duty::KeepLeft)
    } else if !matches!(landing.fence, LandingFence::Absent | LandingFence::Lifted) {
        Some(Duty::LiftFence)
    } else if is_slot_left {
        Some(Duty::DropReverseSlot)
    } else {
        Some(Duty::Lifted)
    }
}

fn forgets(protocol: &Protocol, who: Resolver) -> bool {
    protocol.has(Flaw::NoExpiry) && who == Resolver::Daemon
}

/// Does a duty. `None`: the duty waits.
pub fn perform(state: &State, duty: Duty) -> Option<State> {
    let mut next = *state;
    match duty {
        // The transaction of a decision that is on its way holds the entry's row.
        Duty::Abort if state.traffic.fence == TrafficFence::Committing => return None,
        Duty::Abort => next.journal.decision = Decision::Aborted,
        Duty::KeepLeft => {
            writers::keep_left(&mut next);
            next.journal.left = Left::Read;
        }
        // The fence's transaction may still commit; the row may be locked by a writer or by a keep_fence.
        Duty::LiftFence => {
            let is_released = state.landing.fence == LandingFence::Closed;
            if !is_released || state.landing.keep == Keep::Pending || state.fence_is_shared() {
                return None;
            }
            (next.landing.fence, next.landing.keep) = (LandingFence::Lifted, Keep::No);
            next.landing.expired = false;
        }
        Duty::DropReverseSlot => next.traffic.slot = Slot::Absent,
        // The command opens in its transaction that waits on Landing, if that is there. The daemon waits for the
        // end of that transaction, which holds the fence's row.
        Duty::OpenLanding if state.landing.waiting && state.right == Right::Daemon => return None,
        Duty::OpenLanding => {
            (next.landing.fence, next.landing.keep, next.landing.waiting) =
                (LandingFence::Lifted, Keep::No, false);
        }
        Duty::ExpireFence => next.traffic.fence = TrafficFence::Expiring,
        Duty::Lifted => {
            if matches!(state.traffic.fence, TrafficFence::Held | TrafficFence::Committing) {
                return None;
            }
            next.journal.lifted = true;
        }
        Duty::KeepLeftFinally => {
            if state.traffic_is_writing() {
                return None;
            }
            writers::keep_left(&mut next);
            next.journal.left = Left::Complete;
        }
    }
    Some(next)
}

/// The duty that `who` may do now.
pub fn due(protocol: &Protocol, state: &State, who: Resolver) -> Option<Duty> {
    let is_at_it = match who {
        Resolver::Command => state.step == Step::Resolve && has_right(protocol, state),
        Resolver::Daemon => state.right == Right::Daemon,
    };
    if is_at_it { duty(protocol, state, who) } else { None }
}

/// The daemon takes the right when there is something to do, and gives the right back when there is nothing more.
pub fn daemon(protocol: &Protocol, state: &State) -> Option<State> {
    let mut next = *state;
    match (state.right, duty(protocol, state, Resolver::Daemon)) {
        (Right::Free, Some(_)) => next.right = Right::Daemon,
        (Right::Daemon, None) => next.right = Right::Free,
        // The session of a command that hangs is ended once the deadline is over, because the switch is refused from
        // then on. A command that wakes up and goes on is the fault `SessionOnTrafficEnds`.
        (Right::Command, Some(_)) if state.hangs && !protocol.has(Flaw::HungForever) => {
            (next.right, next.step, next.hangs) = (Right::Free, Step::Ended, false);
        }
        _ => return None,
    }
    Some(next)
}

fn has_right(protocol: &Protocol, state: &State) -> bool {
    state.right == Right::Command || protocol.has(Flaw::AbortWithoutRight)
}

/// The command after a failed step, or after the decision of a rollback: what is no [`Duty`].
pub fn command(protocol: &Protocol, state: &State) -> Option<State> {
    let mut next = *state;
    if !has_right(protocol, state) {
        // The abort works on new connections.
        next.right = Right::Command;
        return (state.right == Right::Free).then_some(next);
    }
    let decision = state.journal.decision;
    match state.step {
        Step::Abort => {
            if decision == Decision::Undecided {
                next = perform(state, Duty::Abort)?;
            }
            next.step = Step::UndoHook;
        }
        Step::UndoHook => {
            next.step = Step::Resolve;
            let undoes = decision == Decision::Aborted && knows_hook(protocol, state, Resolver::Command);
            if undoes && !state.journal.hook_undone {
                undo_hook(&mut next);
            }
        }
        Step::Resolve if duty(protocol, state, Resolver::Command).is_none() => end(&mut next),
        _ => return None,
    }
    Some(next)
}

fn undo_hook(state: &mut State) {
    state.journal.hook_undone = true;
    state.moved = false;
}

/// The hook's `abort` event fails, or the command leaves the rest to the daemon.
pub fn command_gives_up(state: &State) -> Option<State> {
    let mut next = *state;
    match state.step {
        Step::UndoHook if state.journal.hook_begun => next.step = Step::Resolve,
        Step::Abort | Step::Resolve => end(&mut next),
        _ => return None,
    }
    Some(next)
}

fn end(state: &mut State) {
    if state.right == Right::Command {
        state.right = Right::Free;
    }
    state.landing.waiting = false;
    state.step = Step::Ended;
}

/// The operator points the applications back to Landing and says so, once neither the command nor a process of the hook
/// is left.
pub fn operator(protocol: &Protocol, state: &State) -> Option<State> {
    let journal = &state.journal;
    let is_alone = state.step == Step::Ended || state.hangs || protocol.has(Flaw::UndoneTooEarly);
    let is_asked = is_alone
        && (journal.direction, journal.decision) == (Direction::Cutover, Decision::Aborted)
        && (journal.hook_begun || protocol.has(Flaw::HookNotInJournal) && state.hook != Hook::NotRun)
        && !journal.hook_undone
        && state.hook != Hook::Running;
    is_asked.then(|| {
        let mut next = *state;
        undo_hook(&mut next);
        next
    })
}
