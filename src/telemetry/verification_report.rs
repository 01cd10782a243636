//! What background verification does and has found, as part of the status document.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::difference_counts::DifferenceCounts;

/// What background verification does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VerificationActivity {
    /// Switched off: `[verify] every = "off"`.
    Off,
    /// A round is in hand.
    Comparing,
    /// Differing rows are being repaired.
    Repairing,
    /// Held up: see `rests_because`.
    Resting,
    /// The last round has ended, and the next one has not begun.
    Waiting,
    /// No daemon runs here.
    Stopped,
}

/// Background verification: its round, and the rows that differ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VerificationReport {
    pub activity: VerificationActivity,
    /// Why it rests, for people; null unless it rests.
    pub rests_because: Option<String>,
    /// Null before the first round.
    pub round: Option<RoundReport>,
    /// The last round that has ended; null before.
    pub last: Option<LastRound>,
    /// When the next round is due; null while a round is in hand.
    pub next_at: Option<Timestamp>,
    /// Rows that are known to differ now, a table each; null before the first comparison.
    pub differing: Option<Vec<DifferingRows>>,
    /// Whether the daemon repairs rows that differ.
    pub repairs: bool,
    /// Counted since this process started, as is `repaired`.
    pub rows_read: u64,
    pub repaired: u64,
    pub rounds: u64,
}

/// The round in hand, or the last one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundReport {
    pub number: u64,
    pub begun_at: Timestamp,
    /// Between 0 and 1; 1 when every range is compared. `None` without a daemon, which alone knows the ranges.
    pub coverage: Option<f64>,
}

/// The last round that has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastRound {
    pub number: u64,
    pub begun_at: Timestamp,
    pub ended_at: Timestamp,
    /// Rows of Landing.
    pub rows: u64,
    /// Every row was compared, and none differed.
    pub clean: bool,
    /// Rows that differed at its end.
    pub differing: u64,
    pub repaired: u64,
    /// Ranges in which rows changed at each look, so that not everything is known of them.
    pub open_ranges: u64,
    /// Why differing rows were not repaired.
    pub not_repaired: Option<String>,
}

/// Rows of one table that differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DifferingRows {
    /// The table's name on Landing.
    pub table: String,
    #[serde(flatten)]
    pub counts: DifferenceCounts,
    /// Keys of the first rows.
    pub examples: Vec<Uuid>,
}

impl VerificationReport {
    /// A report before anything is known.
    pub fn new(activity: VerificationActivity, repairs: bool) -> Self {
        VerificationReport {
            activity,
            rests_because: None,
            round: None,
            last: None,
            next_at: None,
            differing: None,
            repairs,
            rows_read: 0,
            repaired: 0,
            rounds: 0,
        }
    }

    /// Rows that are known to differ and are not in quarantine; `None` while not known.
    pub fn unexplained(&self) -> Option<u64> {
        self.differing.as_ref().map(|tables| tables.iter().map(|table| table.counts.unexplained()).sum())
    }
}
