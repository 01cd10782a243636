//! The invariants of the protocol, and what must be reachable so that the model says anything.

use stateright::{Model as _, Property};

use super::state::{
    Decision, Direction, Hook, Keep, LandingFence, LandingWriter, Seen, Side, Slot, State, Step,
    TrafficFence, TrafficWriter,
};
use super::writers;
use super::{Protocol, Run};

pub const ONE_SIDE: &str = "at most one side accepts writes as the system of record";
pub const NONE_LOST_ON_LANDING: &str =
    "no acknowledged write is on Landing alone once Traffic is the system of record";
pub const NONE_LOST_ON_TRAFFIC: &str =
    "no acknowledged write is on Traffic alone once Landing is the system of record";
pub const FENCE_STAYS: &str = "only a switch lifts the fence that a rollback left on Traffic";
pub const FOREIGN_SLOT_STAYS: &str = "nothing drops the slot of another program";
pub const WAY_OUT: &str = "every run ends resolved, and with one side that accepts";
pub const NOTHING_OWED: &str = "at the end every write on Traffic is carried to Landing, or kept";

pub fn always() -> Vec<Property<Protocol>> {
    vec![
        Property::always(ONE_SIDE, |_, state| one_side(state)),
        Property::always(NONE_LOST_ON_LANDING, |_, state| none_lost_on_landing(state)),
        Property::always(NONE_LOST_ON_TRAFFIC, |_, state| none_lost_on_traffic(state)),
        Property::always(FENCE_STAYS, |_, state| fence_stays(state)),
        Property::always(FOREIGN_SLOT_STAYS, |protocol: &Protocol, state: &State| {
            protocol.run != Run::CutoverBesideSlot || state.traffic.slot == Slot::Foreign
        }),
        Property::always(WAY_OUT, |protocol: &Protocol, state| {
            is_resolved(state) || has_next(protocol, state)
        }),
        Property::always(NOTHING_OWED, |protocol: &Protocol, state| {
            !owes(state) || has_next(protocol, state)
        }),
    ]
}

fn one_side(state: &State) -> bool {
    match (state.traffic.record, state.journal.decision) {
        (Side::Traffic, _) => !state.landing_accepts() && !writers::landing_is_writing(state),
        // Traffic may accept its own writers again only after Landing.
        (Side::Landing, Decision::RolledBack) => state.landing_accepts() || !state.traffic_accepts(),
        (Side::Landing, _) => true,
    }
}

fn none_lost_on_landing(state: &State) -> bool {
    state.traffic.record == Side::Landing || writers::landing_is_drained(state)
}

/// After a switch, every write is in the stream that flows back. At the decision of a rollback, every write is on
/// Landing.
fn none_lost_on_traffic(state: &State) -> bool {
    let outside = |w: &TrafficWriter| matches!(w, TrafficWriter::Acknowledged { streamed: false, .. });
    match (state.traffic.record, state.journal.decision) {
        (Side::Traffic, _) => !state.traffic.writers.iter().any(outside),
        (Side::Landing, Decision::RolledBack) => !state.traffic_owes() && !state.traffic_is_writing(),
        (Side::Landing, _) => true,
    }
}

fn fence_stays(state: &State) -> bool {
    state.traffic.record == Side::Traffic || state.traffic.fence != TrafficFence::Lifted
}

/// Whether a run may end here.
fn is_resolved(state: &State) -> bool {
    let journal = &state.journal;
    let is_done = match (journal.direction, journal.decision) {
        (_, Decision::Unwritten | Decision::Switched) => true,
        (_, Decision::Undecided) => false,
        (Direction::Cutover, _) => journal.lifted && !state.moved,
        (Direction::Rollback, _) => journal.lifted,
    };
    let is_slot_right = (state.traffic.slot == Slot::Present) == (state.traffic.record == Side::Traffic);
    let is_landing_right = state.landing_accepts() == (state.traffic.record == Side::Landing);
    let opens_by_itself =
        state.traffic.fence == TrafficFence::Expiring && state.traffic.record == Side::Landing;
    (state.step == Step::Ended || state.hangs)
        && is_done
        && is_slot_right
        && is_landing_right
        && (state.traffic_accepts() || opens_by_itself)
        && writers::landing_is_drained(state)
}

/// Traffic has acknowledged a write that must not stay there alone. A cutover that was aborted before its hook has
/// moved no application: then Traffic's own writers go on as ever.
fn owes(state: &State) -> bool {
    let journal = &state.journal;
    let is_harmless = match (journal.direction, journal.decision) {
        (_, Decision::Unwritten) => true,
        (Direction::Cutover, Decision::Aborted) => state.hook == Hook::NotRun,
        _ => false,
    };
    state.traffic_owes() && !is_harmless
}

fn has_next(protocol: &Protocol, state: &State) -> bool {
    let mut actions = Vec::new();
    protocol.actions(state, &mut actions);
    actions.into_iter().any(|action| protocol.next_state(state, action).is_some())
}

/// Runs of a cutover without which the model would prove nothing.
pub fn reached_by_cutover() -> Vec<Property<Protocol>> {
    vec![
        Property::sometimes("a cutover switches", |_, state: &State| {
            state.journal.decision == Decision::Switched
        }),
        Property::sometimes("a cutover switches with a write on its way to Landing", |_, state: &State| {
            state.journal.decision == Decision::Switched && state.traffic_owes()
        }),
        Property::sometimes("an abort follows the hook", |_, state: &State| {
            state.journal.decision == Decision::Aborted && state.moved
        }),
        Property::sometimes("the hook goes on after the entry was resolved", |_, state: &State| {
            state.journal.lifted && state.hook == Hook::Running
        }),
        Property::sometimes("the fence expires while keep_fence is committing", |_, state: &State| {
            state.landing.keep == Keep::Pending && state.landing.expired
        }),
        Property::sometimes("a writer passes the expired fence", |_, state: &State| state.fence_is_shared()),
        Property::sometimes("an old snapshot meets a kept fence", |_, state: &State| {
            let old = LandingWriter::Began(Seen::Expiring);
            state.landing.keep == Keep::Kept && state.landing.writers.contains(&old)
        }),
        Property::sometimes(
            "a commit on Traffic is invisible when the handover is read",
            |_, state: &State| {
                let invisible = TrafficWriter::Durable { since: false, streamed: false };
                state.step == Step::HandoverWait && state.traffic.writers.contains(&invisible)
            },
        ),
        Property::sometimes("a COMMIT of the fence arrives after the abort", |_, state: &State| {
            state.landing.fence == LandingFence::Committing && state.journal.decision == Decision::Aborted
        }),
        Property::sometimes("the slot is created after its client has gone", |_, state: &State| {
            state.traffic.slot == Slot::Creating && state.step == Step::Ended
        }),
    ]
}

/// The same for a cutover soon after a rollback.
pub fn reached_by_second_cutover() -> Vec<Property<Protocol>> {
    vec![
        Property::sometimes("an aborted cutover leaves Traffic's fence", |_, state: &State| {
            state.journal.lifted && state.traffic.fence == TrafficFence::Expiring
        }),
        Property::sometimes("a switch lifts Traffic's fence", |_, state: &State| {
            state.traffic.record == Side::Traffic && state.traffic.fence == TrafficFence::Lifted
        }),
    ]
}

fn is_rollback(state: &State, decision: Decision) -> bool {
    (state.journal.direction, state.journal.decision) == (Direction::Rollback, decision)
}

/// The same for a rollback.
pub fn reached_by_rollback() -> Vec<Property<Protocol>> {
    vec![
        Property::sometimes("a rollback is decided without a fault", |protocol: &Protocol, state| {
            is_rollback(state, Decision::RolledBack) && state.faults == protocol.faults
        }),
        Property::sometimes("a rollback is aborted", |_, state: &State| {
            is_rollback(state, Decision::Aborted) && state.journal.lifted
        }),
        Property::sometimes("the daemon opens Landing for a command that died", |_, state: &State| {
            is_rollback(state, Decision::RolledBack) && state.step == Step::Ended && state.journal.lifted
        }),
        Property::sometimes("Traffic's fence expires after Landing was opened", |_, state: &State| {
            is_rollback(state, Decision::RolledBack) && state.traffic.fence == TrafficFence::Expired
        }),
        Property::sometimes("a COMMIT of the decision is on its way", |_, state: &State| {
            state.traffic.fence == TrafficFence::Committing && state.step == Step::Abort
        }),
        Property::sometimes("a writer on Landing goes on after a rollback", |_, state: &State| {
            is_rollback(state, Decision::RolledBack)
                && state.landing.writers.contains(&LandingWriter::Acknowledged)
        }),
    ]
}
