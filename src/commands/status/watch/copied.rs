//! The initial copy as a table; pure.

use crate::language::written::{duration, grouped, per_cent};
use crate::language::{Argument, Language, Message, message};
use crate::telemetry::{Live, TableProgress};

/// Speed and time left of the whole copy.
pub fn whole(live: &Live) -> Message {
    let (done, expected) = live.snapshot_rows();
    let rows = message!("figures-rows", rows = Argument::Grouped(done));
    let rows = match expected.filter(|expected| *expected > 0) {
        Some(expected) => message!(
            "watch-copied-of",
            rows = rows,
            expected = Argument::Grouped(expected),
            percent = per_cent(done, expected)
        ),
        None => rows,
    };
    let rate = live.snapshot_rows_per_second.map(|rate| rate.max(0.0).round() as u64);
    let rate = rate.map(|rate| message!("figures-rows-per-second", rows = Argument::Grouped(rate)));
    let left = live.snapshot_seconds_left.map(|left| message!("figures-left", time = duration(left)));
    let copied = Message::joined([Some(rows), rate, left].into_iter().flatten(), ", ");
    let indexes = live.snapshot_indexes_left.filter(|left| *left > 0);
    let indexes = indexes.map(|count| message!("figures-indexes", count = count));
    Message::joined([Some(copied), indexes].into_iter().flatten(), "; ")
}

/// A heading and a row for each table; `rate` is a table's rows in a second. At most 78 columns wide for names as
/// Landing has them.
pub fn rows(live: &Live, rate: impl Fn(&str) -> Option<f64>, language: Language) -> Vec<String> {
    let row = |[name, done, of, part, rate, left]: [String; 6]| {
        format!("  {name:<23} {done:>11} {of:>11} {part:>5} {rate:>9} {left:>12}")
    };
    let heading = [
        message!("watch-copied-table"),
        message!("watch-copied-rows"),
        message!("watch-copied-expected"),
        Message::verbatim(""),
        message!("watch-copied-rate"),
        message!("watch-copied-left"),
    ];
    let mut rows = vec![row(heading.map(|text| text.in_language(language)))];
    for table in &live.snapshot {
        let rate = rate(&table.table).filter(|_| !table.finished);
        let expected = table.rows_expected.filter(|_| !table.finished);
        let part = match table.rows_expected.filter(|expected| *expected > 0) {
            _ if table.finished => "100 %".to_owned(),
            Some(expected) => format!("{} %", per_cent(table.rows_done, expected)),
            None => String::new(),
        };
        rows.push(row([
            table.table.clone(),
            grouped(table.rows_done),
            expected.map_or_else(String::new, grouped),
            part,
            rate.map_or_else(String::new, |rate| grouped(rate.round() as u64)),
            left(table, rate).in_language(language),
        ]));
    }
    rows
}

fn left(table: &TableProgress, rate: Option<f64>) -> Message {
    if table.finished {
        return message!("watch-copied-done");
    }
    let missing = table.rows_expected.and_then(|expected| expected.checked_sub(table.rows_done));
    match (missing.filter(|rows| *rows > 0), rate.filter(|rate| *rate > 0.0)) {
        _ if table.rows_done == 0 => message!("watch-copied-waits"),
        (Some(rows), Some(rate)) => duration(rows as f64 / rate),
        _ => message!("figures-not-known"),
    }
}
