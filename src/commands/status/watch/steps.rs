//! The steps of a cutover or a rollback, from the journal; pure.

use std::time::Duration;

use jiff::Timestamp;

use crate::language::written::{clock, duration};
use crate::telemetry::{CutoverReport, CutoverStep, FenceEnd, StepMark};

/// The lines of the newest cutover or rollback: its steps with the times since its start, and how it stands. `passed` is
/// the time since Traffic answered.
pub fn lines(report: &CutoverReport, passed: Duration) -> Vec<String> {
    let mut lines = vec![steps(report)];
    let after = |at: Timestamp| since(report.started_at, at);
    if let (Some(begun), None) = (report.hook_begun_at, report.hook_ended_at) {
        lines.push(format!("its hook has begun at {} and has not succeeded", after(begun)));
    } else if let Some(ended) = report.hook_ended_at {
        lines.push(format!("its hook has succeeded at {}", after(ended)));
    }
    let now = report.asked_at + passed;
    match report.finished_at.filter(|_| report.is_decided()) {
        None => lines.push(undecided(report, now)),
        Some(at) => lines.push(decided(report, at, now)),
    }
    lines
}

/// `[x] started 12:03:01 UTC  [x] fenced +0.31 s  [>] drained  [ ] verified  [ ] switched`.
fn steps(report: &CutoverReport) -> String {
    let mut text =
        format!("{}: [x]\u{a0}started\u{a0}{}", report.direction, words_together(&clock(report.started_at)));
    for (step, mark) in report.steps() {
        let name = match step {
            // Stands already, with its time of day.
            CutoverStep::Started => continue,
            CutoverStep::Fenced => "fenced",
            CutoverStep::Drained => "drained",
            CutoverStep::Verified => "verified",
            CutoverStep::Switched => "switched",
            CutoverStep::RolledBack => "rolled\u{a0}back",
        };
        match mark {
            StepMark::Reached(at) => {
                let after = words_together(&since(report.started_at, at));
                text += &format!("  [x]\u{a0}{name}\u{a0}{after}");
            }
            StepMark::NotReached => text += &format!("  [-]\u{a0}{name}"),
            StepMark::Next => text += &format!("  [>]\u{a0}{name}"),
            StepMark::Later => text += &format!("  [\u{a0}]\u{a0}{name}"),
        }
    }
    text
}

fn words_together(text: &str) -> String {
    text.replace(' ', "\u{a0}")
}

fn undecided(report: &CutoverReport, now: Timestamp) -> String {
    let under_way = seconds(report.started_at, now);
    let closed = match (report.direction.as_str(), report.fenced_at) {
        (_, None) => "no fence is recorded yet",
        ("rollback", Some(_)) => "Traffic is fenced",
        (_, Some(_)) => "Landing is fenced",
    };
    let left = seconds(now, report.deadline);
    let deadline = match left > 0.0 {
        true => format!("the deadline is in {}", duration(left)),
        false => "THE DEADLINE IS OVER: it cannot be decided any more, and is aborted".to_owned(),
    };
    format!("not decided for {}; {closed}; {deadline}", duration(under_way))
}

fn decided(report: &CutoverReport, at: Timestamp, now: Timestamp) -> String {
    let (what, record) = match (report.state.as_str(), report.direction.as_str()) {
        ("switched", _) => ("switched", "Traffic is the system of record"),
        ("rolled_back", _) => ("rolled back", "Landing is the system of record"),
        (_, "rollback") => ("ABORTED", "Traffic is the system of record, as before"),
        _ => ("ABORTED", "Landing is the system of record, as before"),
    };
    let took = duration(seconds(report.started_at, at));
    let mut text = format!("{what} after {took}, {} ago: {record}", duration(seconds(at, now)));
    match report.fence_end() {
        None | Some(FenceEnd::WithoutFence) => {}
        Some(FenceEnd::Lifted(at)) => {
            text += &format!("; the fence was lifted at {}", since(report.started_at, at));
        }
        Some(FenceEnd::NotRecorded) => text += "; THE FENCE IS NOT RECORDED AS LIFTED YET",
    }
    if let Some(reason) = report.reason.as_ref().filter(|_| report.state == "aborted") {
        text += &format!("; reason: {reason}");
    }
    text
}

/// Seconds from `from` to `to`; 0 when `to` is earlier.
fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}

/// `+0.31 s`, or `+3 min 5 s`.
fn since(from: Timestamp, to: Timestamp) -> String {
    match seconds(from, to) {
        short @ 0.0..10.0 => format!("+{short:.2} s"),
        long => format!("+{}", duration(long)),
    }
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
        lines(report, Duration::from_millis(500)).join("\n").replace('\u{a0}', " ")
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
