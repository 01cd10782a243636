//! What the servers, the clocks and the hook do by themselves, and the faults.

use super::Protocol;
use super::command;
use super::state::{Decision, Hook, Keep, LandingFence, Right, Side, Slot, State, Step, TrafficFence};
use super::writers;

/// An event that nobody causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The hook points an application to Traffic.
    HookMoves,
    /// The hook's processes end, and no command waits for them.
    HookStops,
    DeadlinePassesOnLanding,
    TrafficsFenceExpires,
    /// An open transaction ends: by its idle limit, or because its client is gone.
    LandingsTransactionEnds,
    WaitOnLandingEnds,
    TrafficsTransactionEnds,
    /// A COMMIT is executed whose client is gone.
    LateCloseFence,
    LateKeepFence,
    LateRollBack,
    LateSlot,
    /// The session that was to create the slot ends without it.
    NoSlot,
}

pub const EVENTS: [Event; 12] = [
    Event::HookMoves,
    Event::HookStops,
    Event::DeadlinePassesOnLanding,
    Event::TrafficsFenceExpires,
    Event::LandingsTransactionEnds,
    Event::WaitOnLandingEnds,
    Event::TrafficsTransactionEnds,
    Event::LateCloseFence,
    Event::LateKeepFence,
    Event::LateRollBack,
    Event::LateSlot,
    Event::NoSlot,
];

pub fn happen(protocol: &Protocol, state: &State, event: Event) -> Option<State> {
    let mut next = *state;
    let (landing, traffic) = (&mut next.landing, &mut next.traffic);
    let is_gone = |step| state.step != step || state.hangs;
    let is_keep_orphaned = state.landing.keep == Keep::Pending && is_gone(Step::CommitKeep);
    let may = match event {
        Event::HookMoves => {
            next.moved = true;
            state.hook == Hook::Running && !state.moved
        }
        Event::HookStops => {
            next.hook = Hook::Ended;
            state.hook == Hook::Running && is_gone(Step::HookEnds)
        }
        Event::DeadlinePassesOnLanding => {
            landing.expired = true;
            let fence = state.landing.fence;
            !matches!(fence, LandingFence::Absent | LandingFence::Lifted) && !state.landing.expired
        }
        Event::TrafficsFenceExpires => return writers::expire_on_traffic(state),
        Event::LandingsTransactionEnds => {
            landing.fence = match state.landing.fence {
                LandingFence::Held | LandingFence::Committing => LandingFence::Absent,
                other => other,
            };
            if is_keep_orphaned {
                landing.keep = Keep::No;
            }
            next.landing != state.landing
        }
        Event::WaitOnLandingEnds => {
            landing.waiting = false;
            state.landing.waiting
        }
        Event::TrafficsTransactionEnds => {
            traffic.fence = TrafficFence::Open;
            matches!(state.traffic.fence, TrafficFence::Held | TrafficFence::Committing)
        }
        Event::LateCloseFence => {
            landing.fence = LandingFence::Closed;
            state.landing.fence == LandingFence::Committing
        }
        Event::LateKeepFence => {
            landing.keep = Keep::Kept;
            is_keep_orphaned
        }
        Event::LateRollBack => {
            command::decide_rollback(protocol, &mut next);
            state.traffic.fence == TrafficFence::Committing
        }
        Event::LateSlot | Event::NoSlot => {
            traffic.slot = if event == Event::LateSlot { Slot::Present } else { Slot::Absent };
            release(&mut next, Right::Lingering);
            state.traffic.slot == Slot::Creating
        }
    };
    may.then_some(next)
}

fn release(state: &mut State, held: Right) {
    if state.right == held {
        state.right = Right::Free;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    CommandDies,
    /// The command stops, and its machine keeps its sessions alive.
    CommandHangs,
    DaemonDies,
    LandingRestarts,
    TrafficRestarts,
    /// The command's session on Traffic ends, and the command learns of it at its next step there.
    SessionOnTrafficEnds,
    /// The answer to the command's current step is lost. The step was executed, ...
    AnswerIsLost,
    /// ... was not executed, or is still on its way.
    RequestIsLost,
}

pub const FAULTS: [Fault; 8] = [
    Fault::CommandDies,
    Fault::CommandHangs,
    Fault::DaemonDies,
    Fault::LandingRestarts,
    Fault::TrafficRestarts,
    Fault::SessionOnTrafficEnds,
    Fault::AnswerIsLost,
    Fault::RequestIsLost,
];

pub fn strike(protocol: &Protocol, state: &State, fault: Fault) -> Option<State> {
    let mut next = *state;
    next.faults = state.faults.checked_sub(1)?;
    let may = match fault {
        Fault::CommandDies => {
            release(&mut next, Right::Command);
            (next.step, next.hangs) = (Step::Ended, false);
            state.step != Step::Ended
        }
        Fault::CommandHangs => {
            next.hangs = true;
            state.step != Step::Ended && !state.hangs
        }
        Fault::DaemonDies => {
            next.right = Right::Free;
            state.right == Right::Daemon
        }
        Fault::LandingRestarts => {
            restart_landing(&mut next);
            next.landing != state.landing
        }
        Fault::TrafficRestarts => {
            restart_traffic(&mut next);
            (next.traffic, next.right) != (state.traffic, state.right)
        }
        Fault::SessionOnTrafficEnds => {
            next.right = Right::Free;
            state.right == Right::Command
        }
        Fault::AnswerIsLost => return lose_answer(protocol, &next),
        Fault::RequestIsLost => return lose_request(&next),
    };
    may.then_some(next)
}

fn restart_landing(state: &mut State) {
    let landing = &mut state.landing;
    if matches!(landing.fence, LandingFence::Held | LandingFence::Committing) {
        landing.fence = LandingFence::Absent;
    }
    if landing.keep == Keep::Pending {
        landing.keep = Keep::No;
    }
    landing.waiting = false;
    writers::lose_open(state, Side::Landing);
}

fn restart_traffic(state: &mut State) {
    if matches!(state.traffic.fence, TrafficFence::Held | TrafficFence::Committing) {
        state.traffic.fence = TrafficFence::Open;
    }
    if state.traffic.slot == Slot::Creating {
        state.traffic.slot = Slot::Absent;
    }
    state.right = Right::Free;
    writers::lose_open(state, Side::Traffic);
}

/// The steps whose COMMIT can be executed without the command's knowing.
fn is_commit(step: Step) -> bool {
    matches!(
        step,
        Step::Begin
            | Step::CreateReverseSlot
            | Step::CloseFence
            | Step::BeginHook
            | Step::CommitKeep
            | Step::Switch
            | Step::BeginRollback
            | Step::RollBack
    )
}

fn is_on_landing(step: Step) -> bool {
    matches!(step, Step::CloseFence | Step::CommitKeep)
}

/// The connection is lost with the answer.
fn disconnect(state: &mut State, step: Step) {
    if !is_on_landing(step) {
        release(state, Right::Command);
    }
    state.landing.waiting = false;
    state.step = Step::Abort;
}

fn lose_answer(protocol: &Protocol, state: &State) -> Option<State> {
    if !is_commit(state.step) || state.hangs {
        return None;
    }
    let mut next = command::next(protocol, state)?;
    // A step that fails has no commit.
    if next.step == Step::Abort {
        return None;
    }
    disconnect(&mut next, state.step);
    Some(next)
}

fn lose_request(state: &State) -> Option<State> {
    let mut next = *state;
    match state.step {
        _ if state.hangs => return None,
        Step::CloseFence if state.landing.fence == LandingFence::Held => {
            next.landing.fence = LandingFence::Committing;
        }
        // The update remains pending, and nobody knows of it.
        Step::CommitKeep if state.landing.keep == Keep::Pending => {}
        Step::CreateReverseSlot if state.right == Right::Command && state.traffic.slot == Slot::Absent => {
            next.traffic.slot = Slot::Creating;
            next.right = Right::Lingering;
        }
        Step::RollBack
            if state.traffic.fence == TrafficFence::Held && state.journal.decision == Decision::Undecided =>
        {
            next.traffic.fence = TrafficFence::Committing;
        }
        step if is_commit(step) && !is_on_landing(step) && step != Step::RollBack => {}
        _ => return None,
    }
    disconnect(&mut next, state.step);
    Some(next)
}
