//! The conditions of a cutover or a rollback that the daemon's own figures show. The command checks more; pure.

use super::{CutoverReport, Live, State, VerificationActivity, VerificationReport};

/// A condition, with the figure that decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The stream of the present direction runs.
    Stream,
    /// The lag is within the limits of `/readyz`.
    Lag,
    /// No row of the present direction is in quarantine.
    Quarantine { rows: Option<u64> },
    /// Background verification knows of no row that differs.
    Equal { differing: Option<u64> },
    /// The slot of reverse replication is usable.
    ReverseSlot,
    /// Landing's slot is not being made again.
    LandingSlot,
    /// Landing's publication is as recorded.
    LandingPublication,
    /// Nothing waits for an operator.
    Operator { count: Option<usize> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    Yes,
    No,
    NotKnown,
}

impl Met {
    /// `None` is not known.
    pub fn of(is_met: Option<bool>) -> Self {
        match is_met {
            Some(true) => Met::Yes,
            Some(false) => Met::No,
            None => Met::NotKnown,
        }
    }
}

/// The conditions of the change that may come next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conditions {
    /// Whether the next change is a rollback.
    pub is_rollback: bool,
    pub all: Vec<(Condition, Met)>,
}

/// `None` while a cutover or a rollback is under way, and after the finish. `lag` is whether the lag is within the limits
/// of `/readyz`.
pub fn conditions(live: &Live, lag: Met) -> Option<Conditions> {
    let is_decided = live.cutover.as_ref().is_none_or(CutoverReport::is_decided);
    if !is_decided || live.finished_at.is_some() {
        return None;
    }
    let is_rollback = live.state == State::Switched;
    let streams = matches!(live.state, State::Streaming | State::Switched);
    let rows = match is_rollback {
        true => live.reverse.as_ref().and_then(|reverse| reverse.quarantined),
        false => live.quarantined,
    };
    let count = live.attention.as_ref().map(Vec::len);
    let mut all = vec![
        (Condition::Stream, Met::of(Some(streams))),
        (Condition::Lag, if streams { lag } else { Met::NotKnown }),
        (Condition::Quarantine { rows }, Met::of(rows.map(|rows| rows == 0))),
    ];
    // After the switch background verification rests, and what it knew before tells nothing.
    let verifies =
        |report: &&VerificationReport| !is_rollback && report.activity != VerificationActivity::Off;
    if let Some(report) = live.verification.as_ref().filter(verifies) {
        let differing = report.unexplained();
        all.push((Condition::Equal { differing }, Met::of(differing.map(|rows| rows == 0))));
    }
    if let Some(reverse) = live.reverse.as_ref().filter(|_| is_rollback) {
        let is_lost = matches!(reverse.wal_status.as_deref(), None | Some("lost"));
        all.extend([
            (Condition::ReverseSlot, Met::of(Some(!is_lost))),
            (Condition::LandingSlot, Met::of(Some(reverse.new_slot_since.is_none()))),
            (Condition::LandingPublication, Met::of(Some(reverse.landing_publication.is_none()))),
        ]);
    }
    all.push((Condition::Operator { count }, Met::of(count.map(|count| count == 0))));
    Some(Conditions { is_rollback, all })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::Message;
    use crate::report::Attention;
    use crate::telemetry::ReverseReport;

    fn streaming() -> Live {
        Live {
            state: State::Streaming,
            quarantined: Some(0),
            attention: Some(Vec::new()),
            ..Live::starting()
        }
    }

    fn unmet(live: &Live) -> Vec<Condition> {
        let found = conditions(live, Met::Yes).unwrap();
        found.all.into_iter().filter(|(_, met)| *met == Met::No).map(|(condition, _)| condition).collect()
    }

    #[test]
    fn each_figure_that_refuses_a_cutover_is_named() {
        assert_eq!(unmet(&streaming()), []);
        assert_eq!(unmet(&Live { state: State::Snapshot, ..streaming() }), [Condition::Stream]);
        let full = Live { quarantined: Some(4), ..streaming() };
        assert_eq!(unmet(&full), [Condition::Quarantine { rows: Some(4) }]);
        let waits = Live {
            attention: Some(vec![Attention::new(Message::verbatim("a"), Message::verbatim("b"))]),
            ..streaming()
        };
        assert_eq!(unmet(&waits), [Condition::Operator { count: Some(1) }]);
        let late = conditions(&streaming(), Met::No).unwrap();
        assert!(late.all.contains(&(Condition::Lag, Met::No)));
    }

    #[test]
    fn what_is_not_known_is_neither_met_nor_refused() {
        let unknown = Live { quarantined: None, attention: None, ..streaming() };
        let found = conditions(&unknown, Met::NotKnown).unwrap().all;
        let not_known = found.iter().filter(|(_, met)| *met == Met::NotKnown).count();
        assert_eq!((found.len(), not_known, unmet(&unknown)), (4, 3, vec![]));
    }

    #[test]
    fn a_rollback_has_conditions_of_its_own() {
        let reverse = ReverseReport {
            wal_status: Some("lost".into()),
            quarantined: Some(2),
            new_slot_since: Some("now".into()),
            landing_publication: Some("another table".into()),
            ..ReverseReport::default()
        };
        let switched = Live { state: State::Switched, reverse: Some(reverse), ..streaming() };
        assert!(conditions(&switched, Met::Yes).unwrap().is_rollback);
        let expected = [
            Condition::Quarantine { rows: Some(2) },
            Condition::ReverseSlot,
            Condition::LandingSlot,
            Condition::LandingPublication,
        ];
        assert_eq!(unmet(&switched), expected);
    }
}
