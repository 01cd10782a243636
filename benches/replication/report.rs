//! The report at the end.

use std::fmt;
use std::time::Duration;

use super::daemon::Spent;

const HEADERS: [&str; 12] = [
    "what",
    "size",
    "daemon",
    "floor",
    "ratio",
    "plain",
    "ratio",
    "triggers",
    "ratio",
    "CPU per million",
    "WAL per change",
    "peak memory",
];

/// The runs of one measurement: all contenders of a run did the same work, in turn.
#[derive(Default)]
pub struct Runs {
    pub daemon: Vec<Spent>,
    pub floor: Vec<Duration>,
    /// PostgreSQL's own replication into tables with a primary key only.
    pub plain: Vec<Duration>,
    /// The same with translating triggers.
    pub triggers: Vec<Duration>,
}

#[derive(Default)]
pub struct Report {
    rows: Vec<[String; HEADERS.len()]>,
    notes: Vec<String>,
}

impl Report {
    /// The daemon's median run against the contenders' median runs, with the highest peak of all runs; `size` counts
    /// changes.
    pub fn throughput(&mut self, what: &str, size: u64, unit: &str, runs: &Runs) {
        let spent = &runs.daemon;
        let wall = median(&spent.iter().map(|run| run.wall).collect::<Vec<_>>());
        let against = |others: &[Duration]| {
            if others.is_empty() {
                return ["-".to_owned(), "-".to_owned()];
            }
            let other = median(others);
            [seconds(other), format!("{:.2}", wall.as_secs_f64() / other.as_secs_f64())]
        };
        let ([floor, to_floor], [plain, to_plain], [triggers, to_triggers]) =
            (against(&runs.floor), against(&runs.plain), against(&runs.triggers));
        let changes = (size * spent.len() as u64) as f64;
        let cpu = spent.iter().map(|run| run.cpu).sum::<f64>() / changes * 1e6;
        let wal = spent.iter().filter_map(|run| run.wal).sum::<u64>() as f64 / changes;
        self.rows.push([
            what.to_owned(),
            format!("{size} {unit}"),
            seconds(wall),
            floor,
            to_floor,
            plain,
            to_plain,
            triggers,
            to_triggers,
            format!("{cpu:.1} s"),
            format!("{wal:.0} B"),
            peak(spent),
        ]);
    }

    /// A single figure without a contender.
    pub fn note(&mut self, what: &str, size: u64, unit: &str, found: &str, run: Option<Spent>) {
        let memory = run.map(|run| format!(", peak memory {}", peak(&[run]))).unwrap_or_default();
        self.notes.push(format!("{what} ({size} {unit}): {found}{memory}"));
    }
}

pub fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

pub fn peak(runs: &[Spent]) -> String {
    let bytes = runs.iter().map(|run| run.peak).max().unwrap_or_default();
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// The middle value of an odd number, the higher of the two middle values of an even number.
pub fn median(durations: &[Duration]) -> Duration {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<_> =
            std::iter::once(HEADERS.map(str::to_owned)).chain(self.rows.iter().cloned()).collect();
        write_table(f, &rows)?;
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}"))
    }
}

/// Writes rows of equally many cells, of which the first holds words and the others hold figures.
pub fn write_table<const COLUMNS: usize>(
    f: &mut fmt::Formatter<'_>,
    rows: &[[String; COLUMNS]],
) -> fmt::Result {
    let widths: [usize; COLUMNS] =
        std::array::from_fn(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or_default());
    for row in rows {
        for (at, (cell, width)) in row.iter().zip(widths).enumerate() {
            // Words to the left, figures to the right.
            if at == 0 { write!(f, "{cell:<width$}")? } else { write!(f, "  {cell:>width$}")? }
        }
        writeln!(f)?;
    }
    Ok(())
}
