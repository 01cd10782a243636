//! Background verification, in words; pure.

use jiff::Timestamp;

use super::view::{duration, thousands};
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
            coverage: if round.ended_at.is_some() { 1.0 } else { 0.0 },
        }),
        last: round.last.as_ref().map(last_round),
        ..VerificationReport::new(VerificationActivity::Stopped, false)
    }
}

/// Lines with their labels: what was found last, what differs, and what happens now. Empty when nothing is known.
pub fn lines(live: &Live, now: Timestamp) -> Vec<(&'static str, String)> {
    let Some(report) = &live.verification else { return Vec::new() };
    let mut lines = Vec::new();
    for table in report.differing.iter().flatten().filter(|table| table.unexplained() > 0) {
        lines.push(("DIFFERENT", differing(table)));
    }
    if let Some(why) = report.last.as_ref().and_then(|last| last.not_repaired.as_ref()) {
        lines.push(("", format!("not repaired: {why}")));
    }
    lines.push(("verified", round(report, now)));
    lines
}

fn differing(rows: &DifferingRows) -> String {
    let count = rows.unexplained();
    let differ = if count == 1 { "row of {} differs" } else { "rows of {} differ" };
    let kinds = [
        (rows.missing, "missing on Traffic"),
        (rows.extra, "on Traffic only"),
        (rows.different, "with other values"),
        (rows.refused, "too long for Traffic"),
    ];
    let kinds: Vec<String> = kinds
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, kind)| format!("{count} {kind}"))
        .collect();
    let example = rows.examples.first().map_or_else(String::new, |id| format!(", for example {id}"));
    format!(
        "{} {} ({}){example}; see `leadbridge explain ID`",
        thousands(count),
        differ.replace("{}", &rows.table),
        kinds.join(", ")
    )
}

fn round(report: &VerificationReport, now: Timestamp) -> String {
    if report.activity == VerificationActivity::Off {
        return "background verification is switched off ([verify] every)".to_owned();
    }
    let mut text = match &report.last {
        Some(last) => result(last, now),
        None => "no round is known yet".to_owned(),
    };
    let percent =
        |round: &RoundReport| format!("round {}, {:.0} % compared", round.number, round.coverage * 100.0);
    text += &match (report.activity, &report.round) {
        (VerificationActivity::Off, _) => String::new(),
        (VerificationActivity::Comparing, Some(round)) if round.coverage < 1.0 => {
            format!("; {}", percent(round))
        }
        (VerificationActivity::Comparing, _) => "; a round begins".to_owned(),
        (VerificationActivity::Repairing, _) => "; rows are being repaired".to_owned(),
        (VerificationActivity::Resting, round) => {
            let why = report.rests_because.as_deref().unwrap_or("held up");
            let reached =
                round.as_ref().filter(|round| round.coverage < 1.0).map(|round| percent(round) + " and ");
            format!("; {}rests: {why}", reached.unwrap_or_default())
        }
        (VerificationActivity::Waiting, _) => match report.next_at {
            Some(at) if at > now => format!("; the next round begins in {}", until(now, at)),
            _ => String::new(),
        },
        (VerificationActivity::Stopped, _) => "; no daemon runs to verify".to_owned(),
    };
    text
}

fn result(last: &LastRound, now: Timestamp) -> String {
    let result = match (last.clean, last.differing, last.open_ranges) {
        (true, _, _) => "equal".to_owned(),
        (false, 0, open) => {
            format!("no difference, but nothing is known of rows in {open} ranges that kept changing")
        }
        (false, differing, _) => format!("{} differ", thousands(differing)),
    };
    let repaired = match last.repaired {
        0 => String::new(),
        rows => format!(", {} repaired", thousands(rows)),
    };
    format!(
        "{} rows, {result}{repaired}: round {} ended {} ago",
        thousands(last.rows),
        last.number,
        until(last.ended_at, now)
    )
}

fn until(from: Timestamp, to: Timestamp) -> String {
    duration(to.duration_since(from).as_secs_f64().max(0.0))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn report(activity: VerificationActivity) -> VerificationReport {
        VerificationReport {
            round: Some(RoundReport { number: 8, begun_at: at(0), coverage: 0.42 }),
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

    fn said(report: VerificationReport) -> Vec<(&'static str, String)> {
        lines(&Live { verification: Some(report), ..Live::starting() }, at(180))
    }

    #[test]
    fn the_last_result_comes_first_and_then_what_happens_now() {
        let text = |activity| said(report(activity)).remove(0).1;
        let equal = "12 345 rows, equal: round 7 ended 2 min ago";
        let equal = equal.replace("12 345", &thousands(12_345)).replace("2 min", &duration(120.0));
        assert_eq!(text(VerificationActivity::Comparing), format!("{equal}; round 8, 42 % compared"));
        let waiting = format!("{equal}; the next round begins in {}", duration(3_420.0));
        assert_eq!(text(VerificationActivity::Waiting), waiting);
        let mut resting = report(VerificationActivity::Resting);
        resting.rests_because = Some("why".into());
        assert_eq!(said(resting)[0].1, format!("{equal}; round 8, 42 % compared and rests: why"));
        assert_eq!(lines(&Live::starting(), at(0)), []);
    }

    #[test]
    fn rows_that_differ_are_named_by_table_kind_and_key_and_a_quarantined_row_is_told_elsewhere() {
        let id = Uuid::nil();
        let rows = DifferingRows {
            table: "landing_leads".into(),
            missing: 1,
            extra: 0,
            different: 1,
            refused: 0,
            quarantined: 1,
            examples: vec![id],
        };
        let mut differ = report(VerificationActivity::Comparing);
        differ.differing = Some(vec![rows.clone(), DifferingRows { quarantined: 2, ..rows }]);
        let lines = said(differ);
        assert_eq!(lines.len(), 2);
        let text = format!(
            "1 row of landing_leads differs (1 missing on Traffic, 1 with other values), for example {id}; see `leadbridge \
             explain ID`"
        );
        assert_eq!(lines[0], ("DIFFERENT", text));
    }
}
