//! How many rows of one side are not as the other side has them.

use serde::{Deserialize, Serialize};

/// Rows that differ, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DifferenceCounts {
    pub missing: u64,
    pub extra: u64,
    pub different: u64,
    pub refused: u64,
    /// Rows among the others that are in quarantine, which holds the reason.
    pub quarantined: u64,
}

impl DifferenceCounts {
    /// All rows that differ.
    pub fn all(&self) -> u64 {
        self.missing + self.extra + self.different + self.refused
    }

    /// Rows that differ and are not in quarantine.
    pub fn unexplained(&self) -> u64 {
        self.all().saturating_sub(self.quarantined)
    }

    pub fn add(&mut self, other: &DifferenceCounts) {
        self.missing += other.missing;
        self.extra += other.extra;
        self.different += other.different;
        self.refused += other.refused;
        self.quarantined += other.quarantined;
    }
}
