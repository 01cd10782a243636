//! The checkpoint on Traffic: table `leadbridge.checkpoint`, a row for each slot.

use futures_util::FutureExt as _;
use tokio_postgres::types::{PgLsn, ToSql};
use tokio_postgres::{Client, Row, Statement};
use uuid::Uuid;

use super::{Identity, Published, ReplicatedSettings};
use crate::error::{Error, Result};
use crate::language::{Message, message};
use crate::model::change::Position;
use crate::model::lsn::Lsn;
use crate::model::names::Names;
use crate::model::side::Side;
use crate::model::timestamp::Timestamp;
use crate::postgres::Database;
use crate::postgres::pipelined::{IS_OPEN, in_order};
use crate::postgres::primary::Primary;
use crate::postgres::step::during;

const READING: &str = "reading the checkpoint on Traffic";

/// Durable state of a slot's replication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicationState {
    /// Set before the slot is created, until the copy is complete. After a restart the snapshot starts again.
    Snapshot,
    /// Set in the transaction that completes the snapshot. After a restart the stream continues.
    Streaming,
    /// Set in the cutover's last transaction, and reset by a rollback. Landing's changes are no longer
    /// applied to Traffic; reverse replication applies Traffic's changes to Landing.
    Switched,
}

/// Traffic's record of our slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    pub identity: Identity,
    pub state: ReplicationState,
    pub applied: Option<Lsn>,
    /// Landing's timeline on which `applied` was reached. `None` in a record of a version without timelines.
    pub timeline: Option<u32>,
    /// `None` during a snapshot, and in a record of a version without published objects.
    pub published: Option<Published>,
    /// `None` during a snapshot, and in a record of a version without settings.
    pub settings: Option<ReplicatedSettings>,
    /// After the switch: a new slot on Landing is being made, and its position is not recorded yet.
    pub makes_slot: bool,
}

/// Reads and writes the checkpoint row on behalf of a run. The run that started last owns the row. A daemon
/// believed dead that comes back finds the row taken, and cannot commit.
#[derive(Clone, Debug)]
pub struct Ledger {
    pub(super) table: String,
    pub(super) markers: String,
    pub(super) reverse: String,
    pub(super) identity: Identity,
    /// Landing's timeline during this run's attempt.
    timeline: u32,
    pub(super) run_id: Uuid,
}

/// Statements of [`Ledger::record`], prepared on a single session.
pub struct Recording {
    position: Statement,
    markers: Statement,
}

impl Ledger {
    /// A ledger for an attempt on Landing's `timeline`.
    pub fn new(names: &Names, identity: Identity, timeline: u32) -> Self {
        let [table, markers, reverse] = ["checkpoint", "markers", "reverse"].map(|table| names.own(table));
        Ledger { table, markers, reverse, identity, timeline, run_id: Uuid::new_v4() }
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The Landing server whose changes the ledger records, in this attempt.
    pub fn primary(&self) -> Primary {
        let system_id = self.identity.landing_system_id.clone();
        Primary { side: Side::Landing, system_id, timeline: self.timeline }
    }

    /// # Errors
    /// The table is missing (`leadbridge migrate` has not run), or the row's state is a state of another
    /// version.
    pub async fn read(&self, client: &Client) -> Result<Option<Recorded>> {
        let sql = format!(
            "SELECT publication, landing_system_id, landing_database, state, applied_lsn, published, \
             landing_timeline, settings, EXISTS (SELECT FROM {} AS r WHERE r.slot = $1 \
             AND r.new_slot_since IS NOT NULL) FROM {} WHERE slot = $1",
            self.reverse, self.table
        );
        let row = during(client, READING).row_if_any(&sql, &[&self.identity.slot]).await?;
        row.map(|row| recorded(&self.identity.slot, &row)).transpose()
    }

    /// Moment of Landing's clock: everything that Landing committed before is applied.
    pub async fn caught_up_at(&self, client: &Client) -> Result<Timestamp> {
        let sql = format!("SELECT caught_up_at FROM {} WHERE slot = $1", self.table);
        let row = during(client, READING).row(&sql, &[&self.identity.slot]).await?;
        Ok(row.get::<_, Option<Timestamp>>(0).unwrap_or_default())
    }

    /// Claims the row for this run, before anything is applied, and records this run's timeline, because the
    /// start has found the position to lie on this timeline too.
    pub async fn claim(&self, client: &Client) -> Result<()> {
        let sql = format!(
            "UPDATE {} SET run_id = $2, landing_timeline = $3, updated_at = now() WHERE slot = $1",
            self.table
        );
        self.execute_one(client, &sql, &[&self.identity.slot, &self.run_id, &i64::from(self.timeline)]).await
    }

    /// Records the objects that Landing publishes, after a change that affects no row; and, after the switch,
    /// once the publication is right again.
    pub async fn renew(&self, client: &Client, published: &Published) -> Result<()> {
        let sql = format!(
            "UPDATE {} SET published = $3 WHERE slot = $1 AND run_id = $2 AND state IN ('streaming', 'switched')",
            self.table
        );
        self.execute_one(client, &sql, &[&self.identity.slot, &self.run_id, &published.to_text()?]).await
    }

    /// Records the settings of this run.
    pub async fn record_settings(&self, client: &Client, settings: &ReplicatedSettings) -> Result<()> {
        let sql = format!("UPDATE {} SET settings = $3 WHERE slot = $1 AND run_id = $2", self.table);
        self.execute_one(client, &sql, &[&self.identity.slot, &self.run_id, &settings_text(settings)?]).await
    }

    /// Records the beginning of a snapshot, before the slot is created, so that a slot never exists without a
    /// record.
    pub async fn begin_snapshot(&self, client: &Client) -> Result<()> {
        let sql = format!(
            "INSERT INTO {} AS c (slot, publication, landing_system_id, landing_database, state, run_id, landing_timeline) \
             VALUES ($1, $2, $3, $4, 'snapshot', $5, $6) ON CONFLICT (slot) DO UPDATE SET state = 'snapshot', \
             publication = EXCLUDED.publication, landing_system_id = EXCLUDED.landing_system_id, \
             landing_database = EXCLUDED.landing_database, run_id = EXCLUDED.run_id, \
             landing_timeline = EXCLUDED.landing_timeline, applied_lsn = NULL, commit_time = NULL, caught_up_at = NULL, snapshot_time = NULL, published = NULL, settings = NULL, \
             updated_at = now() WHERE c.state <> 'switched'",
            self.table
        );
        let Identity { slot, publication, landing_system_id, landing_database } = &self.identity;
        self.execute_one(
            client,
            &sql,
            &[
                slot,
                publication,
                landing_system_id,
                landing_database,
                &self.run_id,
                &i64::from(self.timeline),
            ],
        )
        .await
    }

    /// Records that the copy with `settings` is complete up to `position`, and that Landing published
    /// `published` at `position`, in the transaction open on `client`.
    pub async fn finish_snapshot(
        &self,
        client: &Client,
        position: Position,
        (published, settings): (&Published, &ReplicatedSettings),
    ) -> Result<()> {
        let sql = format!(
            "UPDATE {} SET state = 'streaming', applied_lsn = $3, caught_up_at = $4, snapshot_time = $4, \
             published = $5, settings = $6, updated_at = now() WHERE slot = $1 AND run_id = $2 AND state = 'snapshot'",
            self.table
        );
        let lsn: PgLsn = position.lsn.into();
        let (published, settings) = (published.to_text()?, settings_text(settings)?);
        let parameters: [&(dyn ToSql + Sync); 6] =
            [&self.identity.slot, &self.run_id, &lsn, &position.caught_up_at, &published, &settings];
        self.execute_one(client, &sql, &parameters).await
    }

    /// Locks the row until the transaction ends, and makes sure that this run still owns the row.
    pub async fn guard(&self, client: &Client) -> Result<()> {
        let sql = format!("SELECT FROM {} WHERE slot = $1 AND run_id = $2 FOR SHARE", self.table);
        let found = during(client, "checking the checkpoint on Traffic")
            .row_if_any(&sql, &[&self.identity.slot, &self.run_id])
            .await?;
        found.map(|_| ()).ok_or_else(|| self.taken())
    }

    /// As [`Ledger::guard`], and returns whether Landing is still the source of the stream. Until the transaction ends, no
    /// cutover can switch.
    pub async fn guard_stream(&self, client: &Client) -> Result<bool> {
        let sql = format!(
            "SELECT state = 'streaming' FROM {} WHERE slot = $1 AND run_id = $2 FOR SHARE",
            self.table
        );
        let found = during(client, "checking the checkpoint on Traffic")
            .row_if_any(&sql, &[&self.identity.slot, &self.run_id])
            .await?;
        found.map(|row| row.get(0)).ok_or_else(|| self.taken())
    }

    /// Prepares [`Ledger::record`] on `client`. A position before the recorded position is not written: then,
    /// as when another run owns the row, nothing of the batch counts.
    pub async fn prepare(&self, client: &Client) -> Result<Recording> {
        let position = format!(
            "UPDATE {} SET applied_lsn = $3, commit_time = COALESCE($4, commit_time), \
             caught_up_at = greatest(caught_up_at, $5), updated_at = now() \
             WHERE slot = $1 AND run_id = $2 AND state = 'streaming' AND applied_lsn <= $3 AND {IS_OPEN}",
            self.table
        );
        let markers = format!(
            "UPDATE {} AS k SET lsn = m.lsn, applied_at = clock_timestamp() \
             FROM (SELECT id, max(lsn) AS lsn FROM unnest($2::uuid[], $3::pg_lsn[]) AS m (id, lsn) GROUP BY id) AS m \
             WHERE k.id = m.id AND k.slot = $1 AND k.lsn < m.lsn AND {IS_OPEN}",
            self.markers
        );
        let step = during(client, "preparing the checkpoint on Traffic");
        let (position, markers) = tokio::try_join!(step.prepare(&position), step.prepare(&markers))?;
        Ok(Recording { position, markers })
    }

    /// Writes the position, and the announced markers of Landing's WAL that came through, in the transaction of the
    /// rows. May be pipelined with the statements before. A marker that no command has announced is a stranger's, and
    /// leaves no trace.
    pub async fn record(
        &self,
        client: &Client,
        recording: &Recording,
        position: Position,
        markers: &[(Uuid, Lsn)],
    ) -> Result<()> {
        let mut statements = Vec::new();
        if !markers.is_empty() {
            statements.push(self.mark(client, recording, markers).boxed());
        }
        statements.push(self.advance(client, recording, position).boxed());
        in_order(statements).await.map(|_| ())
    }

    async fn advance(&self, client: &Client, recording: &Recording, position: Position) -> Result<()> {
        let lsn: PgLsn = position.lsn.into();
        let Position { commit_time, caught_up_at, .. } = position;
        let parameters: [&(dyn ToSql + Sync); 5] =
            [&self.identity.slot, &self.run_id, &lsn, &commit_time, &caught_up_at];
        let rows =
            during(client, "writing the checkpoint on Traffic").run(&recording.position, &parameters).await?;
        self.one_row(rows)
    }

    async fn mark(&self, client: &Client, recording: &Recording, markers: &[(Uuid, Lsn)]) -> Result<()> {
        let (ids, positions): (Vec<Uuid>, Vec<PgLsn>) =
            markers.iter().map(|(id, lsn)| (*id, PgLsn::from(*lsn))).unzip();
        during(client, "writing a marker on Traffic")
            .run(&recording.markers, &[&self.identity.slot, &ids, &positions])
            .await
            .map(drop)
    }

    async fn execute_one(
        &self,
        client: &Client,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<()> {
        let rows = during(client, "writing the checkpoint on Traffic").run(sql, parameters).await?;
        self.one_row(rows)
    }

    /// Whether a statement has written the one row of this daemon.
    ///
    /// # Errors
    /// `Transient` when another daemon has taken the checkpoint.
    pub(super) fn one_row(&self, written: u64) -> Result<()> {
        if written == 1 { Ok(()) } else { Err(self.taken()) }
    }

    fn taken(&self) -> Error {
        Error::new(
            crate::error::Kind::Transient,
            format!(
                "slot `{}` was switched by a cutover, taken over by another daemon, or has another position than this run's; \
                 nothing of this batch was applied",
                self.identity.slot
            ),
        )
    }
}

/// Refuses, after a cutover, a command that would write Landing's rows over newer rows of Traffic. In a
/// transaction of `client`, no cutover can switch before the transaction ends, because the row is locked.
///
/// # Errors
/// `Refused` when the checkpoint says `switched`; `instead` is the remedy. Or the checkpoint cannot be read.
pub async fn refuse_switched(client: &Client, names: &Names, instead: Message) -> Result<()> {
    let sql = format!("SELECT state = 'switched' FROM {} WHERE slot = $1 FOR SHARE", names.own("checkpoint"));
    let row = during(client, READING).row_if_any(&sql, &[&names.slot]).await?;
    match row.is_some_and(|row| row.get(0)) {
        true => Err(switched().remedy(instead)),
        false => Ok(()),
    }
}

/// State in the checkpoint; `None` without a row or without the table.
pub async fn recorded_state(client: &Client, names: &Names) -> Result<Option<String>> {
    let table = names.own("checkpoint");
    let step = during(client, READING);
    if !step.finds(&table).await? {
        return Ok(None);
    }
    let sql = format!("SELECT state FROM {table} WHERE slot = $1");
    Ok(step.row_if_any(&sql, &[&names.slot]).await?.map(|row| row.get(0)))
}

/// Objects that Landing published at Traffic's position; empty when not recorded.
pub async fn recorded_published(client: &Client, names: &Names) -> Result<Published> {
    let sql = format!("SELECT published FROM {} WHERE slot = $1", names.own("checkpoint"));
    let row = during(client, READING).row_if_any(&sql, &[&names.slot]).await?;
    let text = row.as_ref().and_then(|row| row.get::<_, Option<&str>>(0));
    Ok(published_of(&names.slot, text)?.unwrap_or_default())
}

/// The settings of the last copy, and the objects that Landing published; empty when not recorded, or before
/// Traffic was migrated.
pub(super) async fn recorded_settings(
    traffic: Database<'_>,
) -> Result<(Option<ReplicatedSettings>, Published)> {
    let Database { client, names, .. } = traffic;
    let (table, step) = (names.own("checkpoint"), during(client, READING));
    // A table that is missing or not open to the role is named by the examination that follows.
    let open = "SELECT COALESCE(has_table_privilege(to_regclass($1), 'SELECT'), false)";
    if !step.row(open, &[&table]).await?.get::<_, bool>(0) {
        return Ok(Default::default());
    }
    // An older schema has no column for the settings.
    let sql = format!("SELECT to_jsonb(c) ->> 'settings', c.published FROM {table} AS c WHERE slot = $1");
    let row = step.row_if_any(&sql, &[&names.slot]).await?;
    let text = |column: usize| row.as_ref().and_then(|row| row.get::<_, Option<&str>>(column));
    Ok((settings_of(&names.slot, text(0))?, published_of(&names.slot, text(1))?.unwrap_or_default()))
}

/// Whether Traffic is the system of record.
pub async fn is_switched(client: &Client, names: &Names) -> Result<bool> {
    Ok(recorded_state(client, names).await?.as_deref() == Some("switched"))
}

fn switched() -> Error {
    Error::refused("Traffic is the system of record since the cutover: Landing's rows are older than its own")
}

fn settings_text(settings: &ReplicatedSettings) -> Result<String> {
    serde_json::to_string(settings).map_err(|error| Error::internal(error.to_string()))
}

fn recorded(slot: &str, row: &Row) -> Result<Recorded> {
    let state = match row.get::<_, &str>(3) {
        "snapshot" => ReplicationState::Snapshot,
        "streaming" => ReplicationState::Streaming,
        "switched" => ReplicationState::Switched,
        other => {
            return Err(Error::refused(format!("the checkpoint of slot `{slot}` is in state `{other}`"))
                .remedy(message!("checkpoint-remedy-state-unknown")));
        }
    };
    let identity = Identity {
        slot: slot.to_owned(),
        publication: row.get(0),
        landing_system_id: row.get(1),
        landing_database: row.get(2),
    };
    let published = published_of(slot, row.get(5))?;
    // A number that is no timeline becomes 0. No history holds timeline 0, so the start refuses the position.
    let timeline = row.get::<_, Option<i64>>(6).map(|timeline| u32::try_from(timeline).unwrap_or(0));
    let applied = row.get::<_, Option<PgLsn>>(4).map(Into::into);
    let settings = settings_of(slot, row.get(7))?;
    Ok(Recorded { identity, state, applied, timeline, published, settings, makes_slot: row.get(8) })
}

pub(super) fn published_of(slot: &str, text: Option<&str>) -> Result<Option<Published>> {
    text.map(serde_json::from_str).transpose().map_err(|error| {
        Error::refused(format!(
            "what the checkpoint of slot `{slot}` says of Landing is not understood: {error}"
        ))
        .remedy(message!("error-remedy-resync"))
    })
}

fn settings_of(slot: &str, text: Option<&str>) -> Result<Option<ReplicatedSettings>> {
    text.map(serde_json::from_str).transpose().map_err(|error| {
        Error::refused(format!("the settings in the checkpoint of slot `{slot}` are not understood: {error}"))
            .remedy(message!("checkpoint-remedy-settings-newer"))
    })
}
