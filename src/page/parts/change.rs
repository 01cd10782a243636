//! A cutover or a rollback: its steps as they happen, and what stands in the way of the next one.

use jiff::Timestamp;
use maud::{Markup, html};

use super::super::words::Words;
use super::{Scene, prose};
use crate::language::message;
use crate::language::written::{clock, date};
use crate::telemetry::conditions::{Condition, Met, conditions};
use crate::telemetry::{CutoverReport, CutoverStep, FenceEnd, StepMark};

/// The steps of the newest cutover or rollback. Empty without one.
pub fn steps(scene: &Scene, words: Words) -> Markup {
    let Some(report) = &scene.live.cutover else { return html! {} };
    let title = match report.is_rollback() {
        true => message!("page-rollback"),
        false => message!("page-cutover"),
    };
    html! {
        section aria-labelledby="h-steps" class=[(!report.is_decided()).then_some("under-way")] {
            h2 id="h-steps" { (words.say(title)) }
            ol class="steps" { @for (step, mark) in report.steps() { (row(report, step, mark, words)) } }
            p { (outcome(report, words)) }
            @if let Some(hook) = hook(report, words) { p { (hook) } }
            @if let Some(reason) = report.reason.as_ref().filter(|_| report.is_aborted()) {
                p { (words.say(message!("page-aborted-reason"))) " " span lang="en" { (reason) } }
            }
        }
    }
}

fn row(report: &CutoverReport, step: CutoverStep, mark: StepMark, words: Words) -> Markup {
    let name = words.say(match step {
        CutoverStep::Started => message!("cutover-step-started"),
        CutoverStep::Fenced if report.is_rollback() => message!("page-step-fenced-traffic"),
        CutoverStep::Fenced => message!("page-step-fenced-landing"),
        CutoverStep::Drained => message!("cutover-step-drained"),
        CutoverStep::Verified => message!("cutover-step-verified"),
        CutoverStep::Switched => message!("cutover-step-switched"),
        CutoverStep::RolledBack => message!("cutover-step-rolled-back"),
    });
    let (class, sign, said) = match mark {
        StepMark::Reached(at) if step == CutoverStep::Started => ("reached", "✓", clock(at)),
        StepMark::Reached(at) => ("reached", "✓", since(report.started_at, at, words)),
        StepMark::Next => ("next", "▸", words.say(message!("page-step-next"))),
        StepMark::Later => ("later", "·", words.say(message!("page-step-later"))),
        StepMark::NotReached => ("not-reached", "–", words.say(message!("page-step-not-reached"))),
    };
    html! {
        li class=(class) {
            span class="sign" aria-hidden="true" { (sign) }
            span { (name) " " span class="note" { (said) } }
        }
    }
}

/// `+0.3 s`, or `+3 min 5 s`.
fn since(from: Timestamp, to: Timestamp, words: Words) -> String {
    format!("+{}", words.duration(seconds(from, to)))
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}

fn outcome(report: &CutoverReport, words: Words) -> String {
    let Some(at) = report.finished_at.filter(|_| report.is_decided()) else {
        let closed = match (report.fenced_at, report.is_rollback()) {
            (None, _) => message!("page-nothing-fenced"),
            (Some(_), true) => message!("page-traffic-fenced"),
            (Some(_), false) => message!("page-landing-fenced"),
        };
        let left = seconds(report.asked_at, report.deadline);
        let deadline = match left > 0.0 {
            true => message!("cutover-deadline", time = words.duration(left)),
            false => message!("cutover-deadline-over"),
        };
        return format!("{}; {}", words.say(closed), words.say(deadline));
    };
    let took = words.duration(seconds(report.started_at, at));
    let record = report.record();
    let said = match report.is_aborted() {
        true => message!("page-aborted", time = took, at = date(at), record = record),
        false => message!("page-decided", time = took, at = date(at), record = record),
    };
    let mut parts = vec![words.say(said)];
    parts.extend(match report.fence_end() {
        None | Some(FenceEnd::WithoutFence) => None,
        Some(FenceEnd::Lifted(at)) => {
            Some(words.say(message!("cutover-fence-lifted", time = since(report.started_at, at, words))))
        }
        Some(FenceEnd::NotRecorded) => Some(words.say(message!("cutover-fence-not-lifted"))),
    });
    parts.join("; ")
}

fn hook(report: &CutoverReport, words: Words) -> Option<String> {
    let begun = report.hook_begun_at?;
    Some(words.say(match report.hook_ended_at {
        Some(ended) => message!("page-hook-ended", time = since(report.started_at, ended, words)),
        None => message!("page-hook-begun", time = since(report.started_at, begun, words)),
    }))
}

/// What the daemon's own figures say about the next cutover or rollback. Empty while one is under way.
pub fn readiness(scene: &Scene, words: Words) -> Markup {
    let within = scene.limits.lag_is_within(&scene.live);
    let Some(found) = conditions(&scene.live, Met::of(within)) else { return html! {} };
    let (title, command) = match found.is_rollback {
        true => (message!("page-ready-rollback"), message!("page-ready-rollback-command")),
        false => (message!("page-ready-cutover"), message!("page-ready-cutover-command")),
    };
    html! {
        section aria-labelledby="h-readiness" {
            h2 id="h-readiness" { (words.say(title)) }
            ul class="conditions" {
                @for (condition, met) in &found.all { (condition_row(scene, *condition, *met, words)) }
            }
            p class="note" { (prose(&words.say(command))) }
        }
    }
}

fn condition_row(scene: &Scene, condition: Condition, met: Met, words: Words) -> Markup {
    let (class, sign, said) = match met {
        Met::Yes => ("good", "✓", message!("page-met")),
        Met::No => ("bad", "✗", message!("page-not-met")),
        Met::NotKnown => ("plain", "?", message!("figures-not-known")),
    };
    let limits = scene.limits;
    let text = words.say(match condition {
        Condition::Stream => message!("page-condition-stream"),
        Condition::Lag => {
            let (time, size) = (words.duration(limits.max_lag_seconds), words.size(limits.max_lag_bytes));
            message!("page-condition-lag", time = time, size = size)
        }
        Condition::Quarantine { .. } => message!("page-condition-quarantine"),
        Condition::Equal { .. } => message!("page-condition-equal"),
        Condition::ReverseSlot => message!("page-condition-reverse-slot"),
        Condition::LandingSlot => message!("page-condition-landing-slot"),
        Condition::LandingPublication => message!("page-condition-publication"),
        Condition::Operator { .. } => message!("page-condition-operator"),
    });
    html! {
        li class=(class) {
            span class="sign" aria-hidden="true" { (sign) }
            span { (text) " " span class="note" { "— " (words.say(said)) } }
        }
    }
}
