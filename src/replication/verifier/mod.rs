//! Background verification beside the stream: the task that carries out what `verification` schedules.
//!
//! The task has sessions of its own, and reads a range of keys at a time in statements of their own, so no snapshot is
//! held for long. It rests whenever replication has something better to do, and for its share of the time. An error is
//! logged, and the task begins again where its record on Traffic says. Nothing that the task does ends a stream, but for a
//! repair whose write fails as a batch of the stream does; a round tries such a repair a few times only.

mod obstacle;
mod repairing;
mod report;
mod seat;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Context, Until};
use crate::error::{Error, Result};
use crate::telemetry::{VerificationActivity, VerificationReport};
use crate::verification::{Task, Terms, next, rest};
pub use report::last_round;
use seat::Seat;

/// Interval between two looks at the daemon's state, while there is nothing to compare.
const LOOK: Duration = Duration::from_secs(1);
/// Attempts of a round to repair that may fail, because each may have ended the stream.
const REPAIRS: u32 = 3;
/// Pause after an error, so that a server in trouble is not asked without end.
const AFTER_ERROR: Duration = Duration::from_secs(5);

/// Runs until `stop`. A run that ends by itself does not verify, because its command waits for the stream alone.
pub async fn run(context: Arc<Context>, until: Until, stop: CancellationToken) {
    let settings = &context.config.verify;
    let Some(every) = settings.every.filter(|_| until == Until::Shutdown) else {
        report::say(&context, VerificationActivity::Off, None);
        return;
    };
    let terms = Terms { every, repairs: settings.repair };
    let mut verifier =
        Verifier { context: &context, terms, seat: None, told: None, failed: FailedRepairs::default() };
    loop {
        // Dropped at any point, a step leaves at most an open transaction, which ends with its session; the rows that
        // wait on the desk are dropped with the desk.
        let pause = tokio::select! {
            () = stop.cancelled() => return,
            pause = verifier.step() => pause,
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

struct Verifier<'v> {
    context: &'v Arc<Context>,
    terms: Terms,
    /// The sessions and the record; `None` while verification is held up.
    seat: Option<Seat>,
    /// The last error that was logged.
    told: Option<String>,
    failed: FailedRepairs,
}

/// Repairs of one round that have ended with an error.
#[derive(Debug, Default, PartialEq)]
struct FailedRepairs {
    round: u64,
    count: u32,
    why: String,
}

impl FailedRepairs {
    fn add(&mut self, round: u64, why: String) {
        let count = if self.round == round { self.count + 1 } else { 1 };
        *self = FailedRepairs { round, count, why };
    }

    /// Why round `round` tries no more; `None` while it may.
    fn enough(&self, round: u64) -> Option<&str> {
        (self.round == round && self.count >= REPAIRS).then_some(&*self.why)
    }
}

impl Verifier<'_> {
    /// Does one thing. Returns how long to rest afterwards.
    async fn step(&mut self) -> Duration {
        let live = self.context.telemetry.live();
        if let Some(why) = obstacle::of(&live, &self.context.config.verify) {
            return self.rest(why);
        }
        let work = Self::work(self.context, self.terms, &mut self.seat, &self.failed);
        let working = self.context.verifying.guard(work);
        // A comparison that is dropped has changed nothing, and its sessions go with the seat.
        let stepped = tokio::select! {
            stepped = working => stepped,
            why = held_up(self.context) => return self.rest(why),
        };
        match stepped {
            Ok(pause) => {
                self.told = None;
                pause
            }
            Err(error) => {
                self.fail(&error);
                AFTER_ERROR
            }
        }
    }

    /// Something stands in the way. The sessions are not kept: a cutover waits for nobody of ours, and a restarted server is
    /// reached again.
    fn rest(&mut self, why: String) -> Duration {
        self.seat = None;
        self.context.repairs.leave_nothing();
        report::say(self.context, VerificationActivity::Resting, Some(why));
        LOOK
    }

    /// The next task of the schedule.
    async fn work(
        context: &Arc<Context>,
        terms: Terms,
        seat: &mut Option<Seat>,
        failed: &FailedRepairs,
    ) -> Result<Duration> {
        let seat = match seat {
            Some(seat) => seat,
            None => {
                let seat = seat.insert(Seat::open(context).await?);
                if let Some(why) = seat.record.in_hand().and_then(|round| failed.enough(round.number)) {
                    (seat.has_repaired, seat.not_repaired) = (true, Some(why.to_owned()));
                }
                report::tell(context, seat, terms);
                seat
            }
        };
        let now = Timestamp::now();
        let task = next(&seat.record, terms, seat.has_repaired, (now, Instant::now()));
        let activity = match task {
            Task::Wait if seat.record.in_hand().is_none() => VerificationActivity::Waiting,
            Task::Repair => VerificationActivity::Repairing,
            _ => VerificationActivity::Comparing,
        };
        report::say(context, activity, None);
        let begun = Instant::now();
        seat.work.busy();
        let waited = match task {
            Task::Wait => {
                seat.work.idle();
                return Ok(LOOK);
            }
            Task::BeginRound => seat.begin(context, now).await?,
            Task::Divide(range) => seat.divide(context, range).await?,
            Task::Compare(range) => seat.compare(context, range, now).await?,
            Task::Repair => seat.repair(context, now).await?,
            Task::EndRound => seat.end(context, now).await?,
        };
        seat.work.idle();
        report::tell(context, seat, terms);
        Ok(rest(begun.elapsed().saturating_sub(waited), context.config.verify.share))
    }

    fn fail(&mut self, error: &Error) {
        let message = error.message();
        let seat = self.seat.take().filter(|seat| seat.is_repairing);
        if let Some(round) = seat.as_ref().and_then(|seat| seat.record.in_hand()) {
            self.failed.add(round.number, message.clone());
        }
        self.context.repairs.leave_nothing();
        if self.told.as_ref() != Some(&message) {
            tracing::warn!("background verification is tried again: {error}");
        }
        report::say(self.context, VerificationActivity::Resting, Some(message.clone()));
        self.told = Some(message);
    }
}

/// Resolves with the reason when something stands in the way of the comparison in hand.
async fn held_up(context: &Context) -> String {
    loop {
        tokio::time::sleep(LOOK).await;
        if let Some(why) = obstacle::of(&context.telemetry.live(), &context.config.verify) {
            return why;
        }
    }
}

/// A report before this process knows of any round.
fn nothing_known(context: &Context, activity: VerificationActivity) -> VerificationReport {
    VerificationReport::new(activity, context.config.verify.repair)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_gives_up_repairing_after_some_failures_and_the_next_one_tries_again() {
        let mut failed = FailedRepairs::default();
        for _ in 1..REPAIRS {
            failed.add(7, "why".into());
            assert_eq!(failed.enough(7), None);
        }
        failed.add(7, "why".into());
        assert_eq!((failed.enough(7), failed.enough(8)), (Some("why"), None));
        failed.add(8, "another".into());
        assert_eq!((failed.enough(7), failed.enough(8)), (None, None));
    }
}
