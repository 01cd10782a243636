//! The initial copy as a table; pure.

use crate::language::written::{duration, grouped, per_cent};
use crate::telemetry::{Live, TableProgress};

/// Speed and time left of the whole copy.
pub fn whole(live: &Live) -> String {
    let (done, expected) = live.snapshot_rows();
    let mut text = format!("{} rows", grouped(done));
    if let Some(expected) = expected.filter(|expected| *expected > 0) {
        text += &format!(" of about {} ({} %)", grouped(expected), per_cent(done, expected));
    }
    if let Some(rate) = live.snapshot_rows_per_second {
        text += &format!(", {} rows/s", grouped(rate.max(0.0).round() as u64));
    }
    if let Some(left) = live.snapshot_seconds_left {
        text += &format!(", about {} left", duration(left));
    }
    if let Some(left) = live.snapshot_indexes_left.filter(|left| *left > 0) {
        text += &format!("; then {left} indexes");
    }
    text
}

/// A heading and a row for each table; `rate` is a table's rows in a second. At most 78 columns wide for names as
/// Landing has them.
pub fn rows(live: &Live, rate: impl Fn(&str) -> Option<f64>) -> Vec<String> {
    let row = |name: &str, done: &str, of: &str, part: &str, rate: &str, left: &str| {
        format!("  {name:<23} {done:>11} {of:>11} {part:>5} {rate:>9} {left:>12}")
    };
    let mut rows = vec![row("table", "rows", "of about", "", "rows/s", "time left")];
    for table in &live.snapshot {
        let rate = rate(&table.table).filter(|_| !table.finished);
        let expected = table.rows_expected.filter(|_| !table.finished);
        let part = match table.rows_expected.filter(|expected| *expected > 0) {
            _ if table.finished => "100 %".to_owned(),
            Some(expected) => format!("{} %", per_cent(table.rows_done, expected)),
            None => String::new(),
        };
        rows.push(row(
            &table.table,
            &grouped(table.rows_done),
            &expected.map_or_else(String::new, grouped),
            &part,
            &rate.map_or_else(String::new, |rate| grouped(rate.round() as u64)),
            &left(table, rate),
        ));
    }
    rows
}

fn left(table: &TableProgress, rate: Option<f64>) -> String {
    if table.finished {
        return "done".to_owned();
    }
    let missing = table.rows_expected.and_then(|expected| expected.checked_sub(table.rows_done));
    match (missing.filter(|rows| *rows > 0), rate.filter(|rate| *rate > 0.0)) {
        _ if table.rows_done == 0 => "waits".to_owned(),
        (Some(rows), Some(rate)) => duration(rows as f64 / rate).to_string(),
        _ => "not known".to_owned(),
    }
}
