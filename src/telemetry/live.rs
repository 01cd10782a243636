//! The state of a replication as a JSON document: `status --json` and `GET /status` answer with this
//! document.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::CutoverReport;
use super::alert_facts::{AbortedChange, AlertChannelReport, CertificateEnds};
use super::last_error::LastError;
use super::outlook::{CatchUp, Rate, Survival, Trend};
use super::sessions::{BlockingSession, LeaseHolder};
use super::verification_report::VerificationReport;
use crate::model::lsn::Lsn;
use crate::report::Attention;

/// State of a replication.
///
/// `snapshot`, `streaming` and `switched` are stored in `checkpoint` on Traffic and survive the daemon.
/// `fenced`, `drained` and `verified` are steps in the journal `leadbridge.cutover`, which the daemon reads. A
/// rollback takes the same steps with Traffic fenced, to `streaming`, or to `switched` when undone. The other
/// states belong to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Set by a daemon at its start, until the three positions are compared. Does not last. Then `standby`,
    /// `snapshot`, `streaming`, `switched`, or `error`.
    Starting,
    /// Set by the daemon when the daemon creates the slot; lasts until the copy is complete. Then
    /// `streaming`; a restart begins the copy again.
    Snapshot,
    /// Set by the daemon when the stream flows; lasts. Then `fenced` by a cutover, or `snapshot` by a resync.
    Streaming,
    /// Set by a daemon that waits because another daemon applies for the same slot. Does not last. Then
    /// `starting`.
    Standby,
    /// Set by the cutover when Landing takes no more writes; lasts. Then `drained`, or `streaming` when
    /// undone.
    Fenced,
    /// Set by the cutover when the fence's marker is applied; lasts. Then `verified`, or `streaming` when
    /// undone.
    Drained,
    /// Set by the cutover when both sides are found equal; lasts. Then `switched`, or `streaming` when
    /// undone.
    Verified,
    /// Set by the cutover: Traffic is the system of record, and reverse replication applies Traffic's changes
    /// to Landing; lasts. Then `streaming`, by a rollback.
    Switched,
    /// Set by a daemon that ends when told to, and reported when no daemon runs. Does not last. Then
    /// `starting`.
    Stopped,
    /// Set by a daemon that cannot continue, or retries; `last_error` tells the two apart. Does not last.
    /// Then the state before, once the cause is gone.
    Error,
}

impl State {
    pub const ALL: [State; 10] = [
        State::Starting,
        State::Snapshot,
        State::Streaming,
        State::Standby,
        State::Fenced,
        State::Drained,
        State::Verified,
        State::Switched,
        State::Stopped,
        State::Error,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Snapshot => "snapshot",
            State::Streaming => "streaming",
            State::Standby => "standby",
            State::Fenced => "fenced",
            State::Drained => "drained",
            State::Verified => "verified",
            State::Switched => "switched",
            State::Stopped => "stopped",
            State::Error => "error",
        }
    }

    /// The state named by the checkpoint's text; `None` for a text of another version.
    pub fn from_checkpoint(text: &str) -> Option<State> {
        use State::{Drained, Fenced, Snapshot, Streaming, Switched, Verified};
        [Snapshot, Streaming, Fenced, Drained, Verified, Switched]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Presence of the daemon that the document describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DaemonPresence {
    /// The daemon itself wrote the document.
    Running,
    /// A process streams from the slot, but no daemon answers at the configured HTTP address.
    Elsewhere,
    /// No process streams from the slot.
    Down,
    /// No daemon answers here, and Landing cannot be asked whether a process streams from the slot.
    Unknown,
}

/// Progress of a table's snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableProgress {
    /// The table's name on Landing.
    pub table: String,
    pub rows_done: u64,
    /// An estimate from PostgreSQL's statistics; `None` without statistics.
    pub rows_expected: Option<u64>,
    pub finished: bool,
}

/// The replication slot on Landing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotReport {
    pub name: String,
    /// Whether a process streams from the slot.
    pub active: bool,
    /// `reserved`, `extended`, `unreserved` or `lost`; `None` while the slot is being created.
    pub wal_status: Option<String>,
    /// Bytes of WAL that the slot keeps on Landing's disk; `None` for a lost slot.
    pub retained_bytes: Option<u64>,
    /// WAL that may be written before the server drops WAL that the slot needs (`safe_wal_size`); `None` without a
    /// limit, or for a lost slot.
    #[serde(default)]
    pub safe_bytes: Option<u64>,
    /// The server's `max_slot_wal_keep_size`; `None` without a limit.
    #[serde(default)]
    pub limit_bytes: Option<u64>,
}

/// Reverse replication, after a cutover.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReverseReport {
    /// The slot on Traffic.
    pub slot: String,
    /// Whether a process streams from the slot.
    pub active: bool,
    /// Values as in [`SlotReport`]; `None` when the slot is gone.
    pub wal_status: Option<String>,
    /// Bytes of WAL that the slot keeps on Traffic's disk.
    pub retained_bytes: Option<u64>,
    /// As in [`SlotReport`].
    #[serde(default)]
    pub safe_bytes: Option<u64>,
    /// As in [`SlotReport`].
    #[serde(default)]
    pub limit_bytes: Option<u64>,
    /// Position of Traffic's WAL: everything that Traffic committed before the position is committed on
    /// Landing.
    pub applied_lsn: Option<Lsn>,
    /// Traffic's current WAL position minus the applied position; 0 when nothing is under way.
    pub lag_bytes: Option<u64>,
    /// Traffic's present time minus the commit time of the oldest Traffic transaction not yet applied on
    /// Landing.
    pub lag_seconds: Option<f64>,
    /// Rows in quarantine that Landing could not take.
    pub quarantined: Option<u64>,
    /// Since when a new slot on Landing is being made in place of a lost one, by Traffic's clock.
    #[serde(default)]
    pub new_slot_since: Option<String>,
    /// When the latest new slot on Landing was recorded, by Traffic's clock; `None` when the slot is still the
    /// slot of the copy.
    #[serde(default)]
    pub new_slot_made_at: Option<String>,
    /// Why a rollback is refused because of Landing's publication; `None` when it is as recorded, or when no
    /// daemon has looked.
    #[serde(default)]
    pub landing_publication: Option<String>,
}

/// Everything known at a moment. An unknown figure is null, never zero.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Live {
    pub state: State,
    pub daemon: DaemonPresence,
    /// Landing's current WAL position minus the applied position; 0 on an idle Landing (guarantees 6). After
    /// the switch, the lag of reverse replication.
    pub lag_bytes: Option<u64>,
    /// Landing's present time minus the commit time of the oldest Landing transaction not yet applied; 0
    /// without such a transaction.
    pub lag_seconds: Option<f64>,
    /// Whether the lag is an upper bound computed from the checkpoint, not a measurement.
    pub lag_is_estimate: bool,
    /// Position of Landing's WAL: everything that Landing committed before the position is committed on
    /// Traffic.
    pub applied_lsn: Option<Lsn>,
    /// Landing's WAL position at the last query.
    pub landing_lsn: Option<Lsn>,
    pub slot: Option<SlotReport>,
    /// `None` before a cutover has switched.
    #[serde(default)]
    pub reverse: Option<ReverseReport>,
    /// Time of the move's finish, by Traffic's clock: nothing is left to replicate then. `None` before the
    /// finish.
    #[serde(default)]
    pub finished_at: Option<String>,
    /// An entry for each table of the snapshot in hand, or of the last snapshot of this process.
    pub snapshot: Vec<TableProgress>,
    pub snapshot_rows_per_second: Option<f64>,
    pub snapshot_seconds_left: Option<f64>,
    /// Indexes missing on Traffic until the snapshot creates the indexes, after the last row.
    #[serde(default)]
    pub snapshot_indexes_left: Option<u64>,
    /// Rows in quarantine that Traffic could not take.
    pub quarantined: Option<u64>,
    /// Values that the mapping had to change.
    pub conversion_notes: Option<u64>,
    /// Columns of Landing that are not replicated, each with the reason; null when not known. Only the command
    /// `status` fills the list, because the list needs both databases and the configuration.
    #[serde(default)]
    pub columns_not_replicated: Option<Vec<String>>,
    /// Null when no session holds the lease, or when not known. The command `status` and a daemon in `standby` fill
    /// the field.
    #[serde(default)]
    pub lease_holder: Option<LeaseHolder>,
    /// States that an operator has to end; null when not known.
    #[serde(default)]
    pub attention: Option<Vec<Attention>>,
    /// Null when no daemon has looked, or when the newest cutover or rollback was not aborted.
    #[serde(default)]
    pub aborted: Option<AbortedChange>,
    #[serde(default)]
    pub certificate_ends: CertificateEnds,
    /// An entry for each configured channel of `[alert]`; null without a daemon.
    #[serde(default)]
    pub alerts: Option<Vec<AlertChannelReport>>,
    /// The newest cutover or rollback; null without one, and when not known.
    #[serde(default)]
    pub cutover: Option<CutoverReport>,
    /// Speed over the last minute; null while too little is known.
    #[serde(default)]
    pub rate: Option<Rate>,
    /// Change of the lag over the last minute; null while too little is known.
    #[serde(default)]
    pub trend: Option<Trend>,
    /// How long the slot survives; null without a slot.
    #[serde(default)]
    pub survival: Option<Survival>,
    /// How long catching up takes; null while too little is known, and during a copy.
    #[serde(default)]
    pub catch_up: Option<CatchUp>,
    /// Who holds locks for which leadbridge has waited for a second or more; null when not known.
    #[serde(default)]
    pub blocked_by: Option<Vec<BlockingSession>>,
    /// Background verification; null before a daemon has begun it, and when not known.
    #[serde(default)]
    pub verification: Option<VerificationReport>,
    pub last_error: Option<LastError>,
    /// Counted since this process started, as is `rows_applied`.
    pub transactions_applied: u64,
    pub rows_applied: u64,
    /// Start of this process, by this machine's clock; null when no daemon runs here.
    pub started_at: Option<Timestamp>,
    pub version: String,
}

impl Live {
    /// State of a daemon that starts now.
    pub fn starting() -> Self {
        Live { started_at: Some(Timestamp::now()), daemon: DaemonPresence::Running, ..Self::stopped() }
            .with_state(State::Starting)
    }

    /// State when nothing runs and nothing is known yet.
    pub fn stopped() -> Self {
        Live {
            state: State::Stopped,
            daemon: DaemonPresence::Down,
            lag_bytes: None,
            lag_seconds: None,
            lag_is_estimate: false,
            applied_lsn: None,
            landing_lsn: None,
            slot: None,
            reverse: None,
            finished_at: None,
            snapshot: Vec::new(),
            snapshot_rows_per_second: None,
            snapshot_seconds_left: None,
            snapshot_indexes_left: None,
            quarantined: None,
            conversion_notes: None,
            columns_not_replicated: None,
            lease_holder: None,
            attention: None,
            aborted: None,
            certificate_ends: CertificateEnds::default(),
            alerts: None,
            cutover: None,
            rate: None,
            trend: None,
            survival: None,
            catch_up: None,
            blocked_by: None,
            verification: None,
            last_error: None,
            transactions_applied: 0,
            rows_applied: 0,
            started_at: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    fn with_state(mut self, state: State) -> Self {
        self.state = state;
        self
    }

    /// Rows copied so far, and the estimated total; `None` when a table has no estimate.
    pub fn snapshot_rows(&self) -> (u64, Option<u64>) {
        let done = self.snapshot.iter().map(|table| table.rows_done).sum();
        // An estimate may turn out too low, so the total is never less than the rows copied.
        let expected = |table: &TableProgress| match table.finished {
            true => Some(table.rows_done),
            false => table.rows_expected.map(|rows| rows.max(table.rows_done)),
        };
        (done, self.snapshot.iter().map(expected).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_written_in_json_as_it_is_written_in_the_checkpoint() {
        for state in [State::Snapshot, State::Streaming, State::Fenced, State::Drained, State::Switched] {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
            assert_eq!(State::from_checkpoint(state.as_str()), Some(state));
        }
        assert_eq!(State::from_checkpoint("standby"), None);
    }

    #[test]
    fn the_document_holds_every_promised_key_and_can_be_read_back() {
        let live = Live::starting();
        let json = serde_json::to_value(&live).unwrap();
        for key in [
            "state",
            "lag_bytes",
            "lag_seconds",
            "applied_lsn",
            "landing_lsn",
            "slot",
            "reverse",
            "snapshot",
            "quarantined",
            "conversion_notes",
            "columns_not_replicated",
            "lease_holder",
            "attention",
            "cutover",
            "rate",
            "trend",
            "survival",
            "catch_up",
            "blocked_by",
            "verification",
            "last_error",
        ] {
            assert!(json.get(key).is_some(), "{key}");
        }
        assert_eq!(serde_json::from_value::<Live>(json).unwrap(), live);
    }

    #[test]
    fn the_snapshots_total_is_never_less_than_what_was_copied() {
        let table = |rows_done, rows_expected, finished| TableProgress {
            table: "t".into(),
            rows_done,
            rows_expected,
            finished,
        };
        let mut live = Live::starting();
        live.snapshot = vec![table(10, Some(4), false), table(7, Some(100), true)];
        assert_eq!(live.snapshot_rows(), (17, Some(17)));
        live.snapshot.push(table(1, None, false));
        assert_eq!(live.snapshot_rows(), (18, None));
    }
}
