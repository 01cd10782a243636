//! The applications' transactions on both sides, and the daemon's replication in both directions.

use super::Protocol;
use super::flaw::Flaw;
use super::state::{
    Decision, Direction, Handover, Keep, LandingFence, LandingWriter, Seen, Side, State, Step, TrafficFence,
    TrafficWriter,
};

/// The next step of a writer's transaction, or of the replication of its write.
pub fn next(protocol: &Protocol, state: &State, side: Side, at: usize) -> Option<State> {
    let mut next = *state;
    match side {
        Side::Landing => {
            next.landing.writers[at] = on_landing(protocol, state, at)?;
            next.landing.writers.sort_unstable();
        }
        Side::Traffic => {
            next.traffic.writers[at] = on_traffic(state, at)?;
            next.traffic.writers.sort_unstable();
        }
    }
    Some(next)
}

fn on_landing(protocol: &Protocol, state: &State, at: usize) -> Option<LandingWriter> {
    match state.landing.writers[at] {
        // What begins after an abort is resolved is a day like any other.
        LandingWriter::Idle if is_over(state) => None,
        LandingWriter::Idle => Some(LandingWriter::Began(seen(state))),
        LandingWriter::Began(seen) => write(protocol, state, seen),
        LandingWriter::Wrote { .. } => Some(LandingWriter::Acknowledged),
        // Forward apply.
        LandingWriter::Acknowledged if state.traffic.record == Side::Landing => Some(LandingWriter::Over),
        LandingWriter::Acknowledged | LandingWriter::Over => None,
    }
}

/// A cutover was aborted and resolved, or never begun.
fn is_over(state: &State) -> bool {
    let journal = &state.journal;
    match (journal.direction, journal.decision) {
        (_, Decision::Unwritten) => state.step == Step::Ended,
        (Direction::Cutover, Decision::Aborted) => journal.lifted,
        _ => false,
    }
}

fn seen(state: &State) -> Seen {
    match (state.landing.fence, state.landing.keep) {
        (LandingFence::Absent | LandingFence::Held | LandingFence::Committing, _) => Seen::NoFence,
        (LandingFence::Closed, Keep::Kept) => Seen::Kept,
        (LandingFence::Closed, _) => Seen::Expiring,
        (LandingFence::Lifted, _) => Seen::Lifted,
    }
}

/// The fence's trigger. The triggers are there as soon as they are committed, whatever the writer's snapshot; the
/// fence's row is read in the snapshot. `None`: the writer waits for a lock.
fn write(protocol: &Protocol, state: &State, seen: Seen) -> Option<LandingWriter> {
    let landing = &state.landing;
    match landing.fence {
        LandingFence::Held | LandingFence::Committing => return None,
        _ if landing.waiting => return None,
        LandingFence::Absent => return Some(LandingWriter::Wrote { shares: false }),
        LandingFence::Closed | LandingFence::Lifted => {}
    }
    match seen {
        Seen::NoFence | Seen::Kept => Some(LandingWriter::Over),
        Seen::Lifted => Some(LandingWriter::Wrote { shares: false }),
        Seen::Expiring if !landing.expired => Some(LandingWriter::Over),
        Seen::Expiring if protocol.has(Flaw::NoShareLock) && landing.keep != Keep::Kept => {
            Some(LandingWriter::Wrote { shares: false })
        }
        Seen::Expiring if protocol.has(Flaw::StaleExpiry) && landing.keep == Keep::Kept => {
            Some(LandingWriter::Wrote { shares: false })
        }
        // The share lock waits for a keep_fence that is being committed. A row that has changed since the snapshot
        // refuses the writer.
        Seen::Expiring => match (landing.fence, landing.keep) {
            (_, Keep::Pending) => None,
            (LandingFence::Lifted, _) | (_, Keep::Kept) => Some(LandingWriter::Over),
            _ => Some(LandingWriter::Wrote { shares: true }),
        },
    }
}

fn on_traffic(state: &State, at: usize) -> Option<TrafficWriter> {
    let handover = state.journal.handover;
    match state.traffic.writers[at] {
        TrafficWriter::Idle if may_begin(state) => {
            Some(TrafficWriter::Open { since: handover >= Handover::Id })
        }
        TrafficWriter::Open { since } => {
            Some(TrafficWriter::Durable { since, streamed: handover >= Handover::Position })
        }
        TrafficWriter::Durable { since, streamed } => Some(match handover {
            Handover::Complete => TrafficWriter::Acknowledged { since, streamed },
            _ => TrafficWriter::Over,
        }),
        // Reverse apply, in a transaction that holds the row of Landing's fence.
        TrafficWriter::Acknowledged { streamed: true, .. }
            if state.traffic.record == Side::Traffic
                && state.landing.fence == LandingFence::Closed
                && !state.landing.waiting =>
        {
            Some(TrafficWriter::Over)
        }
        _ => None,
    }
}

/// Traffic has writers of its own at any time. Once a cutover is aborted, only an application that the hook has moved
/// matters; once a rollback is decided, none.
fn may_begin(state: &State) -> bool {
    let is_concerned = match (state.journal.direction, state.journal.decision) {
        (_, Decision::RolledBack) => false,
        (_, Decision::Unwritten) if state.step == Step::Ended => false,
        (Direction::Cutover, Decision::Aborted) => state.moved,
        _ => true,
    };
    is_concerned && state.traffic_accepts()
}

/// What waits for the end of a transaction on Landing also waits for a writer there.
pub fn landing_is_writing(state: &State) -> bool {
    state.landing.writers.iter().any(|w| matches!(w, LandingWriter::Wrote { .. }))
}

/// Everything that Landing has acknowledged is on Traffic.
pub fn landing_is_drained(state: &State) -> bool {
    !state.landing.writers.contains(&LandingWriter::Acknowledged)
}

/// A transaction on Traffic that is older than the handover's id is not visible yet.
pub fn older_than_handover(state: &State) -> bool {
    let older = |w: &TrafficWriter| {
        matches!(w, TrafficWriter::Open { since: false } | TrafficWriter::Durable { since: false, .. })
    };
    state.traffic.writers.iter().any(older)
}

/// Keeps the images of what Traffic has acknowledged since the handover.
pub fn keep_left(state: &mut State) {
    for writer in &mut state.traffic.writers {
        if matches!(writer, TrafficWriter::Acknowledged { since: true, .. }) {
            *writer = TrafficWriter::Over;
        }
    }
    state.traffic.writers.sort_unstable();
}

/// A crash ends the open transactions of a side. A commit that was durable stays, and nobody was told of it.
pub fn lose_open(state: &mut State, side: Side) {
    match side {
        Side::Landing => {
            for writer in &mut state.landing.writers {
                if matches!(writer, LandingWriter::Began(_) | LandingWriter::Wrote { .. }) {
                    *writer = LandingWriter::Over;
                }
            }
            state.landing.writers.sort_unstable();
        }
        Side::Traffic => {
            for writer in &mut state.traffic.writers {
                if matches!(writer, TrafficWriter::Open { .. } | TrafficWriter::Durable { .. }) {
                    *writer = TrafficWriter::Over;
                }
            }
            state.traffic.writers.sort_unstable();
        }
    }
}

/// The fence that a rollback left on Traffic opens by itself.
pub fn expire_on_traffic(state: &State) -> Option<State> {
    (state.traffic.fence == TrafficFence::Expiring).then(|| {
        let mut next = *state;
        next.traffic.fence = TrafficFence::Expired;
        next
    })
}
