//! An exhaustive check of the protocol of a cutover and a rollback: no server is needed.
//!
//! The model has the steps of `cutover` and `rollback`, the writers on both sides, the daemon, the operator's hook, and
//! the faults. A step of the model has the name of the protocol's step. The checker visits every state that any order
//! of steps and of two faults leads to.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "what a test cannot go on without fails it; clippy's own exception stops at #[test] functions"
)]

mod checks;
mod command;
mod faults;
mod flaw;
mod properties;
mod resolver;
mod state;
mod termination;
mod writers;

use faults::{EVENTS, Event, FAULTS, Fault};
use flaw::Flaw;
use resolver::Duty;
use state::{Resolver, Side, Slot, State, Step, TrafficFence, WRITERS, Writers};
use stateright::{Model, Property};

/// What is modelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    Cutover,
    /// A cutover while the fence of a recent rollback stands on Traffic.
    CutoverAgain,
    /// A cutover while another program has a slot of the reverse slot's name.
    CutoverBesideSlot,
    Rollback,
    /// A cutover, and a rollback by another command.
    Both,
}

#[derive(Clone, Debug)]
struct Protocol {
    run: Run,
    writers: Writers,
    faults: u8,
    flaw: Option<Flaw>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    /// The command's step of this name.
    Command(Step),
    GiveUp(Step),
    /// A step after the decision.
    Resolve(Resolver, Duty),
    /// The daemon takes the right to decide, or gives it back.
    RightOfDaemon,
    /// The operator points the applications back to Landing by hand.
    UndoHook,
    /// The operator begins the rollback.
    Rollback,
    Writer(Side, usize),
    Event(Event),
    Fault(Fault),
}

impl Protocol {
    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        match self.run {
            Run::Cutover | Run::CutoverAgain | Run::CutoverBesideSlot | Run::Both => {
                let mut first = State::before_cutover(self.writers, self.faults);
                if self.has(Flaw::SlotBeforeJournal) {
                    first.step = Step::CreateReverseSlot;
                }
                if self.run == Run::CutoverAgain {
                    first.traffic.fence = TrafficFence::Expiring;
                }
                if self.run == Run::CutoverBesideSlot {
                    first.traffic.slot = Slot::Foreign;
                }
                vec![first]
            }
            Run::Rollback => vec![State::before_rollback(self.writers, self.faults)],
        }
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.step == Step::Ended || state.hangs {
            actions.push(Action::Rollback);
        } else {
            actions.extend([Action::Command(state.step), Action::GiveUp(state.step)]);
            let due = resolver::due(self, state, Resolver::Command);
            actions.extend(due.map(|duty| Action::Resolve(Resolver::Command, duty)));
        }
        let due = resolver::due(self, state, Resolver::Daemon);
        actions.push(due.map_or(Action::RightOfDaemon, |duty| Action::Resolve(Resolver::Daemon, duty)));
        actions.push(Action::UndoHook);
        for at in 0..WRITERS {
            actions.push(Action::Writer(Side::Landing, at));
            actions.push(Action::Writer(Side::Traffic, at));
        }
        actions.extend(EVENTS.map(Action::Event));
        if state.faults > 0 {
            actions.extend(FAULTS.map(Action::Fault));
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        match action {
            Action::Command(Step::Abort | Step::UndoHook | Step::Resolve) => resolver::command(self, state),
            Action::Command(_) => command::next(self, state),
            Action::GiveUp(Step::Abort | Step::UndoHook | Step::Resolve) => resolver::command_gives_up(state),
            Action::GiveUp(_) => command::give_up(self, state),
            Action::Resolve(_, duty) => resolver::perform(state, duty),
            Action::RightOfDaemon => resolver::daemon(self, state),
            Action::UndoHook => resolver::operator(self, state),
            Action::Rollback if self.run == Run::Both => command::begin_rollback(state),
            Action::Rollback => None,
            Action::Writer(side, at) => writers::next(self, state, side, at),
            Action::Event(event) => faults::happen(self, state, event),
            Action::Fault(fault) => faults::strike(self, state, fault),
        }
    }

    fn properties(&self) -> Vec<Property<Protocol>> {
        let mut properties = properties::always();
        if self.flaw.is_none() {
            properties.extend(match self.run {
                Run::Cutover => properties::reached_by_cutover(),
                Run::CutoverAgain => properties::reached_by_second_cutover(),
                Run::CutoverBesideSlot => Vec::new(),
                Run::Rollback | Run::Both => properties::reached_by_rollback(),
            });
        }
        properties
    }
}
