//! The steps of a cutover or a rollback, from the journal; pure.

use std::time::Duration;

use jiff::Timestamp;

use crate::language::written::{clock, duration};
use crate::language::{Argument, Message, message};
use crate::model::side::Side;
use crate::telemetry::{CutoverReport, CutoverStep, FenceEnd, StepMark};

/// The lines of the newest cutover or rollback: its steps with the times since its start, and how it stands. `passed` is
/// the time since Traffic answered.
pub fn lines(report: &CutoverReport, passed: Duration) -> Vec<Message> {
    let mut lines = vec![steps(report)];
    let after = |at: Timestamp| since(report.started_at, at);
    if let (Some(begun), None) = (report.hook_begun_at, report.hook_ended_at) {
        lines.push(message!("watch-hook-begun", after = after(begun)));
    } else if let Some(ended) = report.hook_ended_at {
        lines.push(message!("watch-hook-ended", after = after(ended)));
    }
    let now = report.asked_at + passed;
    match report.finished_at.filter(|_| report.is_decided()) {
        None => lines.push(undecided(report, now)),
        Some(at) => lines.push(decided(report, at, now)),
    }
    lines
}

/// `[x] started 12:03:01 UTC  [x] fenced +0.31 s  [>] drained  [ ] verified  [ ] switched`.
fn steps(report: &CutoverReport) -> Message {
    let begun = Message::verbatim(clock(report.started_at));
    let mut steps = vec![step("[x]", message!("cutover-step-started"), Some(begun))];
    for (which, mark) in report.steps() {
        let name = match which {
            // Stands already, with its time of day.
            CutoverStep::Started => continue,
            CutoverStep::Fenced => message!("cutover-step-fenced"),
            CutoverStep::Drained => message!("cutover-step-drained"),
            CutoverStep::Verified => message!("cutover-step-verified"),
            CutoverStep::Switched => message!("cutover-step-switched"),
            CutoverStep::RolledBack => message!("cutover-step-rolled-back"),
        };
        steps.push(match mark {
            StepMark::Reached(at) => step("[x]", name, Some(since(report.started_at, at))),
            StepMark::NotReached => step("[-]", name, None),
            StepMark::Next => step("[>]", name, None),
            StepMark::Later => step("[ ]", name, None),
        });
    }
    let change = message!("watch-change", change = &report.direction);
    Message::joined([change, Message::joined(steps, "  ")], ": ")
}

fn step(mark: &str, name: Message, at: Option<Message>) -> Message {
    Message::joined([Some(Message::verbatim(mark)), Some(name), at].into_iter().flatten(), " ").unbroken()
}

fn undecided(report: &CutoverReport, now: Timestamp) -> Message {
    let under_way = seconds(report.started_at, now);
    let fenced = match (report.fenced_at, report.is_rollback()) {
        (None, _) => message!("watch-fenced-nothing"),
        (Some(_), true) => message!("watch-fenced", side = Side::Traffic),
        (Some(_), false) => message!("watch-fenced", side = Side::Landing),
    };
    let left = seconds(now, report.deadline);
    let deadline = match left > 0.0 {
        true => message!("cutover-deadline", time = duration(left)),
        false => message!("cutover-deadline-over"),
    };
    message!("watch-undecided", time = duration(under_way), fenced = fenced, deadline = deadline)
}

fn decided(report: &CutoverReport, at: Timestamp, now: Timestamp) -> Message {
    let what = match report.state.as_str() {
        "switched" => message!("cutover-step-switched"),
        "rolled_back" => message!("cutover-step-rolled-back"),
        _ => message!("watch-aborted"),
    };
    let record = report.record();
    let took = duration(seconds(report.started_at, at));
    let ago = duration(seconds(at, now));
    let mut parts = vec![message!("watch-decided", what = what, took = took, ago = ago, record = record)];
    match report.fence_end() {
        None | Some(FenceEnd::WithoutFence) => {}
        Some(FenceEnd::Lifted(at)) => {
            parts.push(message!("cutover-fence-lifted", time = since(report.started_at, at)));
        }
        Some(FenceEnd::NotRecorded) => parts.push(message!("cutover-fence-not-lifted")),
    }
    let reason = report.reason.as_ref().filter(|_| report.is_aborted());
    parts.extend(reason.map(|reason| message!("watch-reason", reason = reason)));
    Message::joined(parts, "; ")
}

/// Seconds from `from` to `to`; 0 when `to` is earlier.
fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}

/// `+0.31 s`, or `+3 min 5 s`.
fn since(from: Timestamp, to: Timestamp) -> Message {
    let time = match seconds(from, to) {
        short @ 0.0..10.0 => message!("figures-seconds", seconds = Argument::Decimal(format!("{short:.2}"))),
        long => duration(long),
    };
    Message::joined([Message::verbatim("+"), time], "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(1_796_000_000_000 + milliseconds).unwrap()
    }

    fn report(direction: &str, state: &str) -> CutoverReport {
        CutoverReport {
            direction: direction.into(),
            state: state.into(),
            started_at: at(0),
            deadline: at(120_000),
            asked_at: at(1_500),
            ..CutoverReport::default()
        }
    }

    fn said(report: &CutoverReport) -> String {
        Message::joined(lines(report, Duration::from_millis(500)), "\n").to_string().replace('\u{a0}', " ")
    }

    #[test]
    fn a_step_has_its_time_and_the_next_one_its_mark() {
        let fenced = CutoverReport { fenced_at: Some(at(312)), ..report("cutover", "fenced") };
        let text = said(&fenced);
        let begun = clock(at(0));
        assert_eq!(
            text,
            format!(
                "cutover: [x] started {begun}  [x] fenced +0.31 s  [>] drained  [ ] verified  [ ] switched\n\
                 not decided for 2.0 s; Landing is fenced; the deadline is in 1 min 58 s"
            )
        );
        let late = CutoverReport { asked_at: at(130_000), ..fenced };
        assert!(said(&late).contains("THE DEADLINE IS OVER"), "{}", said(&late));
    }

    #[test]
    fn an_aborted_run_names_reason_record_and_fence() {
        let aborted = CutoverReport {
            finished_at: Some(at(1_000)),
            reason: Some("a hook failed".into()),
            ..report("rollback", "aborted")
        };
        let text = said(&aborted);
        assert!(text.contains("[-] fenced") && text.contains("[-] rolled back"), "{text}");
        assert!(
            text.ends_with(
                "ABORTED after 1.0 s, 1.0 s ago: Traffic is the system of record, as before; THE FENCE IS NOT RECORDED AS LIFTED \
                 YET; reason: a hook failed"
            ),
            "{text}"
        );
        let fenced_at = Some(at(300));
        let lifted = said(&CutoverReport { fenced_at, lifted_at: Some(at(1_200)), ..aborted });
        assert!(lifted.contains("the fence was lifted at +1.20 s"), "{lifted}");
    }

    #[test]
    fn a_hook_that_runs_is_told_from_one_that_has_succeeded() {
        let begun = CutoverReport { hook_begun_at: Some(at(700)), ..report("cutover", "verified") };
        assert!(said(&begun).contains("has begun at +0.70 s and has not succeeded"));
        let ended = CutoverReport { hook_ended_at: Some(at(900)), ..begun };
        assert!(said(&ended).contains("its hook has succeeded at +0.90 s"));
    }
}
