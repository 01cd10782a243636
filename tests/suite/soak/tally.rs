//! The record of a soak's faults.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

use super::faults::Fault;

pub struct Tally {
    begun: Instant,
    /// Faults since the last comparison: survived only when both sides are equal again.
    met: Vec<Fault>,
    survived: BTreeMap<&'static str, u64>,
    comparisons: u64,
    rows_compared: i64,
    differences: usize,
    pub transactions: u64,
    pub starts: u64,
    pub peak_memory: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Tally {
            begun: Instant::now(),
            met: Vec::new(),
            survived: BTreeMap::new(),
            comparisons: 0,
            rows_compared: 0,
            differences: 0,
            transactions: 0,
            starts: 0,
            peak_memory: 0,
        }
    }
}

impl Tally {
    pub fn meets(&mut self, fault: Fault) {
        self.met.push(fault);
    }

    pub fn comparisons(&self) -> u64 {
        self.comparisons
    }

    /// Both sides were compared: the faults since the last comparison are survived when the sides are equal.
    pub fn compared(&mut self, rows: i64, differences: usize) {
        self.comparisons += 1;
        self.rows_compared += rows;
        self.differences += differences;
        for fault in self.met.drain(..).filter(|_| differences == 0) {
            *self.survived.entry(fault.name()).or_default() += 1;
        }
        eprintln!(
            "soak: {:>5} s, {} faults survived, {} rows compared, {} differences",
            self.begun.elapsed().as_secs(),
            self.faults(),
            self.rows_compared,
            self.differences,
        );
    }

    fn faults(&self) -> u64 {
        self.survived.values().sum()
    }
}

/// The last line of a run.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "soak: {} faults survived in {} s, {} starts, {} transactions of the writers, {} MiB at the peak",
            self.faults(),
            self.begun.elapsed().as_secs(),
            self.starts,
            self.transactions,
            self.peak_memory >> 20,
        )?;
        for (name, count) in &self.survived {
            writeln!(f, "soak: {count:>5} × {name}")?;
        }
        write!(
            f,
            "soak: {} comparisons, {} rows compared, {} differences",
            self.comparisons, self.rows_compared, self.differences
        )
    }
}
