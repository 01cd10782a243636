//! Background verification, in words; pure.

use jiff::Timestamp;

use super::view::duration;
use crate::language::{Argument, Message, message};
use crate::replication::last_round;
use crate::telemetry::{
    DifferingRows, LastRound, Live, RoundReport, VerificationActivity, VerificationReport,
};
use crate::verification::Round;

/// What Traffic has recorded, for a status without a daemon: the rounds, and not the rows, which nobody looks at now.
pub(super) fn recorded(round: &Round) -> VerificationReport {
    VerificationReport {
        round: Some(RoundReport {
            number: round.number,
            begun_at: round.begun_at,
            coverage: round.ended_at.map(|_| 1.0),
        }),
        last: round.last.as_ref().map(last_round),
        ..VerificationReport::new(VerificationActivity::Stopped, false)
    }
}

/// What a line about verification says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VerificationLine {
    Different,
    NotRepaired,
    Verified,
}

impl VerificationLine {
    pub(super) fn label(self) -> Message {
        match self {
            VerificationLine::Different => message!("commands-label-different"),
            VerificationLine::NotRepaired => Message::verbatim(""),
            VerificationLine::Verified => message!("commands-label-verified"),
        }
    }
}

/// What differs, what was found last, and what happens now. Empty when nothing is known.
pub(super) fn lines(live: &Live, now: Timestamp) -> Vec<(VerificationLine, Message)> {
    let Some(report) = &live.verification else { return Vec::new() };
    let mut lines = Vec::new();
    for table in report.differing.iter().flatten().filter(|table| table.counts.unexplained() > 0) {
        lines.push((VerificationLine::Different, differing(table)));
    }
    if let Some(why) = report.last.as_ref().and_then(|last| last.not_repaired.as_ref()) {
        lines.push((VerificationLine::NotRepaired, message!("commands-verified-not-repaired", why = why)));
    }
    let ended = match &report.last {
        _ if report.activity == VerificationActivity::Off => None,
        Some(last) => Some(result(last, now)),
        None => Some(message!("commands-verified-none-yet")),
    };
    let both = [ended, activity(report, now)].into_iter().flatten();
    lines.push((VerificationLine::Verified, Message::joined(both, "; ")));
    lines
}

fn differing(rows: &DifferingRows) -> Message {
    let DifferingRows { table, counts, examples } = rows;
    let kinds = [
        (counts.missing, message!("commands-verified-missing", rows = counts.missing)),
        (counts.extra, message!("commands-verified-extra", rows = counts.extra)),
        (counts.different, message!("commands-verified-different", rows = counts.different)),
        (counts.refused, message!("commands-verified-refused", rows = counts.refused)),
    ];
    let kinds = kinds.into_iter().filter(|(count, _)| *count > 0).map(|(_, kind)| kind);
    let differ = message!(
        "commands-verified-differing",
        rows = Argument::Grouped(counts.unexplained()),
        table = table,
        kinds = Message::joined(kinds, ", ")
    );
    let example = examples.first().map(|id| message!("commands-verified-example", id = *id));
    let named = Message::joined([Some(differ), example].into_iter().flatten(), ", ");
    Message::joined([named, message!("commands-verified-see")], "; ")
}

/// What happens now; `None` when nothing is known of it.
fn activity(report: &VerificationReport, now: Timestamp) -> Option<Message> {
    let progress = report.round.as_ref().and_then(|round| {
        let coverage = round.coverage.filter(|coverage| *coverage < 1.0)?;
        let percent = format!("{:.0}", coverage * 100.0);
        Some(message!("commands-verified-progress", round = round.number, percent = percent))
    });
    Some(match report.activity {
        VerificationActivity::Off => message!("commands-verified-off"),
        VerificationActivity::Comparing => progress.unwrap_or_else(|| message!("commands-verified-begins")),
        VerificationActivity::Repairing => message!("commands-verified-repairing"),
        VerificationActivity::Resting => {
            let why = report
                .rests_because
                .as_deref()
                .map_or_else(|| message!("figures-not-known"), Message::verbatim);
            let rests = message!("commands-verified-rests", why = why);
            Message::joined([progress, Some(rests)].into_iter().flatten(), ", ")
        }
        VerificationActivity::Waiting => {
            let at = report.next_at.filter(|at| *at > now)?;
            message!("commands-verified-next", time = until(now, at))
        }
        VerificationActivity::Stopped => message!("commands-verified-stopped"),
    })
}

fn result(last: &LastRound, now: Timestamp) -> Message {
    let found = match (last.clean, last.differing, last.open_ranges) {
        (true, _, _) => message!("commands-verified-equal"),
        (false, 0, open) => message!("commands-verified-open", ranges = open),
        (false, differing, _) => message!("commands-verified-differ", rows = Argument::Grouped(differing)),
    };
    let repaired = (last.repaired > 0)
        .then(|| message!("commands-verified-repaired", rows = Argument::Grouped(last.repaired)));
    message!(
        "commands-verified-ended",
        rows = Argument::Grouped(last.rows),
        result = Message::joined([Some(found), repaired].into_iter().flatten(), ", "),
        round = last.number,
        ago = until(last.ended_at, now)
    )
}

fn until(from: Timestamp, to: Timestamp) -> Message {
    duration(to.duration_since(from).as_secs_f64().max(0.0))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::difference_counts::DifferenceCounts;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn report(activity: VerificationActivity) -> VerificationReport {
        VerificationReport {
            round: Some(RoundReport { number: 8, begun_at: at(0), coverage: Some(0.42) }),
            last: Some(LastRound {
                number: 7,
                begun_at: at(0),
                ended_at: at(60),
                rows: 12_345,
                clean: true,
                differing: 0,
                repaired: 0,
                open_ranges: 0,
                not_repaired: None,
            }),
            next_at: Some(at(3_600)),
            differing: Some(Vec::new()),
            ..VerificationReport::new(activity, false)
        }
    }

    fn said(report: VerificationReport) -> Vec<(String, String)> {
        let lines = lines(&Live { verification: Some(report), ..Live::starting() }, at(180));
        lines.into_iter().map(|(line, text)| (line.label().to_string(), text.to_string())).collect()
    }

    #[test]
    fn the_last_result_comes_first_and_then_what_happens_now() {
        let text = |activity| said(report(activity)).remove(0).1;
        let equal = "12 345 rows, equal: round 7 ended 2 min ago";
        let equal = equal.replace("12 345", "12\u{a0}345").replace("2 min", &duration(120.0).to_string());
        assert_eq!(text(VerificationActivity::Comparing), format!("{equal}; round 8, 42 % compared"));
        let waiting = format!("{equal}; the next round begins in {}", duration(3_420.0));
        assert_eq!(text(VerificationActivity::Waiting), waiting);
        let mut resting = report(VerificationActivity::Resting);
        resting.rests_because = Some("why".into());
        assert_eq!(said(resting)[0].1, format!("{equal}; round 8, 42 % compared, rests: why"));
        assert!(lines(&Live::starting(), at(0)).is_empty());
    }

    #[test]
    fn rows_that_differ_are_named_by_table_kind_and_key_and_a_quarantined_row_is_told_elsewhere() {
        let id = Uuid::nil();
        let rows = DifferingRows {
            table: "landing_leads".into(),
            counts: DifferenceCounts {
                missing: 1,
                different: 1,
                quarantined: 1,
                ..DifferenceCounts::default()
            },
            examples: vec![id],
        };
        let mut differ = report(VerificationActivity::Comparing);
        differ.differing = Some(vec![
            rows.clone(),
            DifferingRows { counts: DifferenceCounts { quarantined: 2, ..rows.counts }, ..rows },
        ]);
        let lines = said(differ);
        assert_eq!(lines.len(), 2);
        let text = format!(
            "1 row of landing_leads differs (1 missing on Traffic, 1 with other values), for example {id}; see `leadbridge \
             explain ID`"
        );
        assert_eq!(lines[0], ("DIFFERENT".to_owned(), text));
    }
}
