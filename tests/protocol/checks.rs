//! The invariants hold, and each known mistake violates one of them.

use stateright::{Checker as _, HasDiscoveries, Model as _};

use super::flaw::Flaw;
use super::properties::{
    FENCE_STAYS, FOREIGN_SLOT_STAYS, NONE_LOST_ON_LANDING, NONE_LOST_ON_TRAFFIC, NOTHING_OWED, ONE_SIDE,
    WAY_OUT,
};
use super::state::Writers;
use super::{Protocol, Run, termination};

/// The orders of this many faults are checked.
const FAULTS: u8 = 2;
/// The cores that the project counts on.
const THREADS: usize = 2;
const ONE_EACH: Writers = Writers { landing: 1, traffic: 1 };
const TWO_EACH: Writers = Writers { landing: 2, traffic: 2 };

/// Visits every state, or fails with a run that violates a property.
fn holds(run: Run, writers: Writers) {
    let protocol = Protocol { run, writers, faults: FAULTS, flaw: None };
    let checker =
        protocol.checker().threads(THREADS).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    println!("{run:?}: {} states", checker.unique_state_count());
    checker.assert_properties();
}

/// Finds a run in which `flaw` violates `property`, with so many faults at most.
fn harms(run: Run, flaw: Flaw, faults: u8, property: &'static str) {
    let protocol = Protocol { run, writers: ONE_EACH, faults, flaw: Some(flaw) };
    let found = HasDiscoveries::AnyOf([property].into());
    let checker = protocol.checker().finish_when(found).spawn_bfs().join();
    let path = checker.discovery(property).expect("the checker finds no harm in the flaw");
    println!("{flaw:?} violates \"{property}\":\n{:?}", path.into_actions());
}

#[test]
fn a_cutover_loses_nothing_and_ends_whatever_two_faults_strike() {
    holds(Run::Cutover, TWO_EACH);
}

#[test]
fn a_rollback_loses_nothing_and_ends_whatever_two_faults_strike() {
    holds(Run::Rollback, TWO_EACH);
}

#[test]
fn a_cutover_soon_after_a_rollback_loses_nothing_and_ends_whatever_two_faults_strike() {
    holds(Run::CutoverAgain, ONE_EACH);
}

#[test]
fn a_cutover_and_a_rollback_lose_nothing_and_end_whatever_two_faults_strike() {
    holds(Run::Both, ONE_EACH);
}

#[test]
fn no_run_goes_round_in_a_circle() {
    for run in [Run::Both, Run::CutoverAgain] {
        let protocol = Protocol { run, writers: ONE_EACH, faults: FAULTS, flaw: None };
        assert_eq!(termination::circle(&protocol), None, "{run:?}");
    }
}

#[test]
fn a_command_that_hangs_keeps_landing_closed_if_its_session_is_not_ended() {
    harms(Run::Cutover, Flaw::HungForever, 1, WAY_OUT);
}

#[test]
fn a_writer_that_passes_an_expired_fence_without_a_lock_loses_its_write() {
    harms(Run::Cutover, Flaw::NoShareLock, 0, NONE_LOST_ON_LANDING);
}

#[test]
fn a_writer_that_believes_an_old_expiry_writes_behind_the_switch() {
    harms(Run::Cutover, Flaw::StaleExpiry, 0, ONE_SIDE);
}

#[test]
fn a_clock_that_is_read_before_the_lock_keeps_a_fence_that_was_passed() {
    harms(Run::Cutover, Flaw::ClockBeforeLock, 0, NONE_LOST_ON_LANDING);
}

#[test]
fn a_handover_under_the_fence_misses_an_invisible_commit() {
    harms(Run::Cutover, Flaw::HandoverAtEnd, 0, NONE_LOST_ON_TRAFFIC);
}

#[test]
fn a_fence_lifted_before_the_switch_is_open_after_an_abort() {
    harms(Run::CutoverAgain, Flaw::LiftBeforeSwitch, 0, FENCE_STAYS);
}

#[test]
fn an_abort_that_keeps_nothing_loses_what_traffic_took() {
    harms(Run::Cutover, Flaw::NothingKept, 0, NOTHING_OWED);
}

#[test]
fn an_abort_that_keeps_only_once_loses_what_traffic_takes_afterwards() {
    harms(Run::Cutover, Flaw::KeptOnce, 0, NOTHING_OWED);
}

#[test]
fn a_hook_that_only_the_command_knows_of_is_not_undone_by_the_daemon() {
    harms(Run::Cutover, Flaw::HookNotInJournal, 0, NOTHING_OWED);
}

#[test]
fn a_child_of_the_hook_that_goes_on_moves_applications_after_the_abort() {
    harms(Run::Cutover, Flaw::ChildrenGoOn, 0, NOTHING_OWED);
}

#[test]
fn a_command_that_lives_runs_the_hook_after_the_operator_has_undone_it() {
    harms(Run::Cutover, Flaw::UndoneTooEarly, 1, WAY_OUT);
}

#[test]
fn an_abort_without_the_right_leaves_a_slot_that_is_created_late() {
    harms(Run::Cutover, Flaw::AbortWithoutRight, 1, WAY_OUT);
}

#[test]
fn a_slot_that_the_journal_does_not_know_is_left_by_a_crash() {
    harms(Run::Cutover, Flaw::SlotBeforeJournal, 0, WAY_OUT);
}

#[test]
fn a_slot_of_another_program_stays() {
    holds(Run::CutoverBesideSlot, ONE_EACH);
}

#[test]
fn a_slot_that_is_refused_after_the_entry_is_dropped_by_the_abort() {
    harms(Run::CutoverBesideSlot, Flaw::SlotRefusedLate, 0, FOREIGN_SLOT_STAYS);
}

#[test]
fn a_fence_on_traffic_that_expires_opens_traffic_before_landing() {
    harms(Run::Rollback, Flaw::ExpiryFromTheStart, 0, ONE_SIDE);
}

#[test]
fn a_resolver_that_forgets_the_expiry_leaves_traffic_closed() {
    harms(Run::Rollback, Flaw::NoExpiry, 0, WAY_OUT);
}

#[test]
fn a_landing_that_opens_before_the_decision_makes_two_systems_of_record() {
    harms(Run::Rollback, Flaw::OpenBeforeDecision, 0, ONE_SIDE);
}

#[test]
fn a_switch_that_compares_nothing_follows_an_abort() {
    harms(Run::Cutover, Flaw::BlindSwitch, 1, ONE_SIDE);
}
