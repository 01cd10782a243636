//! When a message is sent; pure. Once when a cause begins, at intervals while the cause stands, once when the cause is
//! over, and once a day.
//!
//! A cause begins when it was seen for `after`, and is over when it was not seen for `after`. A cause that comes back
//! soon after its end must be gone for twice as long as the time before, up to `remind_every`: so a cause that comes and
//! goes gives few messages, and its beginning is never late.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};

use super::causes::{Cause, Finding, Observed};
use super::message::Event;
use super::record::{Record, ToldCause};
use super::words;
use crate::config::AlertTimes;

/// A point in time by two clocks. `elapsed` never jumps and decides about intervals; `wall` is for texts and for the
/// daily line.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Since the process started.
    pub elapsed: Duration,
    pub wall: Timestamp,
}

/// A message to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    Begun(Episode),
    Reminder(Episode),
    /// An operator is needed for something else than before.
    Changed(Episode),
    Over(Episode),
    Aborted {
        direction: String,
        reason: Option<String>,
        at: Timestamp,
    },
    /// The causes that stand, for the daily line.
    Daily {
        standing: Vec<Episode>,
    },
}

/// A cause from its beginning to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Episode {
    pub cause: Cause,
    pub finding: Finding,
    pub since: Timestamp,
    pub lasted: Duration,
    /// How often the cause came and went meanwhile.
    pub times: u32,
}

impl Episode {
    pub fn title(&self) -> &'static str {
        self.finding.title.unwrap_or_else(|| words::title(self.cause))
    }
}

/// A cause that is seen, or was told and is not over.
#[derive(Clone, Debug)]
struct Standing {
    finding: Finding,
    since: Timestamp,
    /// Time before `from`, in an earlier process.
    before: Duration,
    from: Duration,
    times: u32,
    told: Option<Told>,
    /// Since when the cause is not seen.
    gone: Option<Duration>,
    /// How long the cause must be gone to be over.
    quiet: Duration,
}

#[derive(Clone, Debug)]
struct Told {
    at: Timestamp,
    next: Duration,
    /// The detail that was told last.
    detail: String,
    /// Whether a channel has delivered the first message.
    delivered: bool,
}

/// The last end of a cause.
#[derive(Clone, Copy, Debug)]
struct Ended {
    at: Duration,
    quiet: Duration,
}

pub struct Schedule {
    times: AlertTimes,
    standing: BTreeMap<Cause, Standing>,
    ended: BTreeMap<Cause, Ended>,
    /// Time of the last daily line.
    daily: Option<Timestamp>,
    /// The aborted cutover or rollback that was told last, and whether a channel has delivered the message.
    aborted: Option<(String, bool)>,
}

impl Schedule {
    /// Goes on where an earlier process stopped.
    pub fn restored(times: AlertTimes, record: &Record, now: Moment) -> Self {
        let gap =
            |earlier: Timestamp| Duration::try_from(now.wall.duration_since(earlier)).unwrap_or_default();
        let standing = record.standing.iter().map(|told| {
            // A clock that was set meanwhile moves a reminder by one interval at most.
            let ago = gap(told.told_at).min(times.remind_every);
            let standing = Standing {
                finding: Finding::new(told.detail.clone(), ""),
                since: told.since,
                before: gap(told.since),
                from: now.elapsed,
                times: told.times,
                told: Some(Told {
                    at: told.told_at,
                    next: now.elapsed + times.remind_every - ago,
                    detail: told.detail.clone(),
                    delivered: true,
                }),
                gone: None,
                quiet: times.after,
            };
            (told.cause, standing)
        });
        Schedule {
            standing: standing.collect(),
            ended: BTreeMap::new(),
            daily: record.daily.or(Some(now.wall)),
            aborted: record.aborted.clone().map(|id| (id, true)),
            times,
        }
    }

    /// What the next process must know. A message that no channel has delivered is not recorded, so that the next
    /// process sends it again.
    pub fn record(&self) -> (Vec<ToldCause>, Option<Timestamp>, Option<String>) {
        let told = self.standing.iter().filter_map(|(cause, standing)| {
            let told = standing.told.as_ref().filter(|told| told.delivered)?;
            Some(ToldCause {
                cause: *cause,
                since: standing.since,
                told_at: told.at,
                times: standing.times,
                detail: told.detail.clone(),
            })
        });
        let aborted = self.aborted.clone().and_then(|(id, is_delivered)| is_delivered.then_some(id));
        (told.collect(), self.daily, aborted)
    }

    /// A channel has delivered a message. The end of an earlier episode of a cause says nothing of the present one.
    pub fn delivered(&mut self, event: Event, cause: Option<Cause>) {
        match event {
            Event::Begun | Event::Reminder | Event::Changed => {
                let standing = cause.and_then(|cause| self.standing.get_mut(&cause));
                if let Some(told) = standing.and_then(|standing| standing.told.as_mut()) {
                    told.delivered = true;
                }
            }
            Event::Aborted => {
                if let Some((_, is_delivered)) = &mut self.aborted {
                    *is_delivered = true;
                }
            }
            Event::Over | Event::Daily | Event::Test => {}
        }
    }

    /// The messages that are due after `found` was observed.
    pub fn observe(&mut self, found: &[(Cause, Observed)], now: Moment) -> Vec<Notice> {
        let mut due = Vec::new();
        let has_ended = self.standing.contains_key(&Cause::DaemonEnded);
        for (cause, seen) in found {
            // An end of the daemon implies that replication has stopped, and is told by itself.
            let implied = match cause {
                Cause::DaemonEnded => !has_ended,
                Cause::ReplicationStopped => has_ended,
                _ => false,
            };
            match seen {
                Observed::Present(_) if implied => {}
                Observed::Present(finding) => due.extend(self.present(*cause, finding, now)),
                Observed::Absent => due.extend(self.absent(*cause, now)),
                Observed::Unknown => {}
            }
        }
        due
    }

    /// Begins a cause without delay. A cause that stands is only told again when its reminder is due.
    pub fn begin(&mut self, cause: Cause, finding: &Finding, now: Moment) -> Option<Notice> {
        self.seen(cause, finding, now);
        self.tell(cause, now, Duration::ZERO)
    }

    /// An aborted cutover or rollback is told once, unless it is old news at the first start.
    pub fn aborted(&mut self, run: &crate::telemetry::AbortedChange, now: Moment) -> Option<Notice> {
        if self.aborted.as_ref().is_some_and(|(id, _)| *id == run.id) {
            return None;
        }
        let is_news = now.wall.duration_since(run.at) < SignedDuration::from_hours(1);
        self.aborted = Some((run.id.clone(), !is_news));
        let (direction, reason) = (run.direction.clone(), run.reason.clone());
        is_news.then_some(Notice::Aborted { direction, reason, at: run.at })
    }

    /// The daily line, once for each day on which a process ran.
    pub fn daily(&mut self, now: Moment) -> Option<Notice> {
        let last = self.daily?;
        if last > now.wall + SignedDuration::from_hours(24) {
            // The clock was ahead when the line was sent.
            self.daily = Some(now.wall);
            return None;
        }
        let due = latest_daily(self.times.daily_at?, self.times.offset, now.wall)?;
        if last >= due {
            return None;
        }
        self.daily = Some(now.wall);
        let told = self.standing.iter().filter(|(_, standing)| standing.told.is_some());
        Some(Notice::Daily {
            standing: told.map(|(cause, standing)| episode(*cause, standing, now)).collect(),
        })
    }

    fn present(&mut self, cause: Cause, finding: &Finding, now: Moment) -> Option<Notice> {
        self.seen(cause, finding, now);
        self.tell(cause, now, self.times.after)
    }

    fn seen(&mut self, cause: Cause, finding: &Finding, now: Moment) {
        let quiet = self.quiet(cause, now);
        let standing = self.standing.entry(cause).or_insert_with(|| Standing {
            finding: finding.clone(),
            since: now.wall,
            before: Duration::ZERO,
            from: now.elapsed,
            times: 1,
            told: None,
            gone: None,
            quiet,
        });
        standing.finding = finding.clone();
        if standing.gone.take().is_some() {
            standing.times = standing.times.saturating_add(1);
        }
    }

    /// How long a cause that begins now must be gone to be over.
    fn quiet(&self, cause: Cause, now: Moment) -> Duration {
        match self.ended.get(&cause) {
            Some(ended) if now.elapsed.saturating_sub(ended.at) < self.times.remind_every => {
                (ended.quiet * 2).min(self.times.remind_every)
            }
            _ => self.times.after,
        }
    }

    /// The message that is due about a cause that is seen.
    fn tell(&mut self, cause: Cause, now: Moment, after: Duration) -> Option<Notice> {
        let remind_every = self.times.remind_every;
        let standing = self.standing.get_mut(&cause)?;
        let fresh = Told {
            at: now.wall,
            next: now.elapsed + remind_every,
            detail: standing.finding.detail.clone(),
            delivered: false,
        };
        let Some(told) = &mut standing.told else {
            if now.elapsed.saturating_sub(standing.from) < after {
                return None;
            }
            standing.told = Some(fresh);
            return Some(Notice::Begun(episode(cause, standing, now)));
        };
        let is_due = now.elapsed >= told.next;
        // Another state needs the operator. At most one such message in `after`.
        let last = (told.next + self.times.after).saturating_sub(remind_every);
        let has_changed = cause == Cause::NeedsOperator && told.detail != fresh.detail && now.elapsed >= last;
        if !is_due && !has_changed {
            return None;
        }
        let delivered = told.delivered;
        standing.told = Some(Told { delivered, ..fresh });
        let episode = episode(cause, standing, now);
        Some(if has_changed { Notice::Changed(episode) } else { Notice::Reminder(episode) })
    }

    fn absent(&mut self, cause: Cause, now: Moment) -> Option<Notice> {
        let standing = self.standing.get_mut(&cause)?;
        if standing.told.is_none() {
            self.standing.remove(&cause);
            return None;
        }
        let gone = *standing.gone.get_or_insert(now.elapsed);
        if now.elapsed.saturating_sub(gone) < standing.quiet {
            return None;
        }
        let quiet = standing.quiet;
        let mut over = episode(cause, standing, now);
        over.lasted = over.lasted.saturating_sub(now.elapsed.saturating_sub(gone));
        self.standing.remove(&cause);
        self.ended.insert(cause, Ended { at: now.elapsed, quiet });
        Some(Notice::Over(over))
    }
}

fn episode(cause: Cause, standing: &Standing, now: Moment) -> Episode {
    Episode {
        cause,
        finding: standing.finding.clone(),
        since: standing.since,
        lasted: standing.before + now.elapsed.saturating_sub(standing.from),
        times: standing.times,
    }
}

/// The last time at or before `now` at which a daily line is due.
fn latest_daily(at: jiff::civil::Time, offset: Offset, now: Timestamp) -> Option<Timestamp> {
    let today = offset.to_datetime(now).date().to_datetime(at);
    let due = offset.to_timestamp(today).ok()?;
    if due <= now { Some(due) } else { due.checked_sub(SignedDuration::from_hours(24)).ok() }
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
