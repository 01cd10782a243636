//! The table at the end.

use std::fmt;
use std::time::Duration;

use super::daemon::Spent;

const HEADERS: [&str; 8] =
    ["what", "size", "daemon", "floor", "ratio", "per second", "daemon's CPU", "peak memory"];

#[derive(Default)]
pub struct Report {
    rows: Vec<[String; HEADERS.len()]>,
    notes: Vec<String>,
}

impl Report {
    /// Something that has a floor: the median run against it, the highest peak of all runs.
    pub fn throughput(&mut self, what: &str, size: u64, unit: &str, runs: &[Spent], floor: Duration) {
        let wall = median(&runs.iter().map(|run| run.wall).collect::<Vec<_>>());
        let cpu = runs.iter().map(|run| run.cpu).sum::<f64>() / runs.len() as f64;
        self.rows.push([
            what.to_owned(),
            format!("{size} {unit}"),
            format!("{:.2} s", wall.as_secs_f64()),
            format!("{:.2} s", floor.as_secs_f64()),
            format!("{:.2}", wall.as_secs_f64() / floor.as_secs_f64()),
            format!("{:.0}", size as f64 / wall.as_secs_f64()),
            format!("{cpu:.2} s"),
            peak(runs),
        ]);
    }

    /// Something that is a figure of its own.
    pub fn note(&mut self, what: &str, size: u64, unit: &str, found: &str, run: Option<Spent>) {
        let memory = run.map(|run| format!(", peak memory {}", peak(&[run]))).unwrap_or_default();
        self.notes.push(format!("{what} ({size} {unit}): {found}{memory}"));
    }
}

fn peak(runs: &[Spent]) -> String {
    let bytes = runs.iter().map(|run| run.peak).max().unwrap_or_default();
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// The middle one of an odd number, the higher of the two in the middle of an even one.
pub fn median(durations: &[Duration]) -> Duration {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers = HEADERS.map(str::to_owned);
        let lines = || std::iter::once(&headers).chain(&self.rows);
        let widths: [usize; HEADERS.len()] =
            std::array::from_fn(|at| lines().map(|line| line[at].chars().count()).max().unwrap_or_default());
        for line in lines() {
            for (at, (cell, width)) in line.iter().zip(widths).enumerate() {
                // Words to the left, figures to the right.
                if at == 0 { write!(f, "{cell:<width$}")? } else { write!(f, "  {cell:>width$}")? }
            }
            writeln!(f)?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}"))
    }
}
