//! The replication slot of either side: reading, creating and dropping the slot.

use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::PgLsn;
use tokio_util::sync::CancellationToken;

use super::primary::Primary;
use crate::error::{Error, Kind, Result};
use crate::language::message;
use crate::model::lsn::Lsn;
use crate::postgres::replication::Replication;
use crate::postgres::step::{Step, during};
use crate::postgres::{Database, Endpoint};

/// Position and state of a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotPosition {
    pub confirmed_flush: Lsn,
    /// `pg_replication_slots.wal_status`; `lost` once the server has removed WAL that the slot needs.
    pub wal_status: Option<String>,
    pub plugin: String,
    pub database: String,
}

impl SlotPosition {
    /// Whether the slot decodes `database` with `pgoutput`, so that the slot can be leadbridge's.
    pub fn decodes(&self, database: &str) -> bool {
        self.plugin == "pgoutput" && self.database == database
    }
}

/// leadbridge's row in `pg_replication_slots`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotState {
    pub position: SlotPosition,
    pub active: bool,
    /// Process ID of the session that streams from the slot.
    pub active_pid: Option<i32>,
    /// [`SlotPosition::decodes`] for the session's database.
    pub is_ours: bool,
    /// WAL that the slot keeps on Landing's disk, in bytes.
    pub retained_bytes: u64,
    /// WAL that may be written before the server drops WAL that the slot needs, in bytes; `None` without a limit.
    pub safe_bytes: Option<u64>,
    /// `max_slot_wal_keep_size`, in bytes; `None` without a limit.
    pub limit_bytes: Option<u64>,
    /// Whether standbys may keep a copy of the slot; `None` before PostgreSQL 17.
    pub failover: Option<bool>,
}

/// The slot of the given name; `None` when the slot does not exist.
pub async fn read(client: &Client, name: &str) -> Result<Option<SlotState>> {
    let sql = "SELECT COALESCE(confirmed_flush_lsn, '0/0'::pg_lsn), wal_status::text, COALESCE(plugin::text, ''), \
               COALESCE(database::text, ''), active, \
               COALESCE(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint, \
               (to_jsonb(s) ->> 'failover')::boolean, active_pid, current_database()::text, safe_wal_size, \
               pg_size_bytes(current_setting('max_slot_wal_keep_size')) \
               FROM pg_replication_slots AS s WHERE slot_name = $1";
    let row = during(client, format!("reading the slot `{name}`")).row_if_any(sql, &[&name]).await?;
    Ok(row.map(|row| {
        let position = SlotPosition {
            confirmed_flush: row.get::<_, PgLsn>(0).into(),
            wal_status: row.get(1),
            plugin: row.get(2),
            database: row.get(3),
        };
        SlotState {
            is_ours: position.decodes(row.get(8)),
            position,
            active: row.get(4),
            retained_bytes: row.get::<_, i64>(5).max(0) as u64,
            // Negative when the limit is exceeded already.
            safe_bytes: row.get::<_, Option<i64>>(9).map(|bytes| u64::try_from(bytes).unwrap_or(0)),
            // -1 means that there is no limit.
            limit_bytes: u64::try_from(row.get::<_, i64>(10)).ok(),
            failover: row.get(6),
            active_pid: row.get(7),
        }
    }))
}

/// Interval between two log lines about the transaction that delays the creation of the slot.
const BLOCKER_REPORT: Duration = Duration::from_secs(5);

/// A slot to be created.
#[derive(Clone, Copy, Debug)]
pub struct NewSlot<'s> {
    pub endpoint: &'s Endpoint,
    pub name: &'s str,
    /// Whether standbys may keep a copy of the slot; needs PostgreSQL 17.
    pub failover: bool,
    /// Time in which the slot must be created.
    pub timeout: Duration,
}

/// A new slot and the snapshot of the database at the slot's consistent point.
///
/// The snapshot belongs to the session that created the slot. Other sessions can import the snapshot for as
/// long as this value lives.
pub struct ExportedSnapshot {
    session: Replication,
    /// The snapshot holds every change before this position, the stream every change after.
    pub consistent_point: Lsn,
    /// Argument of `SET TRANSACTION SNAPSHOT`.
    pub name: String,
}

impl ExportedSnapshot {
    /// Ends the session; the slot stays. Dropping a session that has not begun to stream ends the session.
    pub fn release(self) {
        drop(self.session);
    }
}

/// Creates the slot on `primary` with an exported snapshot. PostgreSQL waits for running transactions. The
/// log names one of these transactions, and after `slot_creation_timeout` the attempt fails with the reason.
///
/// # Errors
/// Transient on a time-out; refused when the slot exists or the server cannot decode.
pub async fn create(
    new: &NewSlot<'_>,
    control: &Client,
    primary: &Primary,
    shutdown: &CancellationToken,
) -> Result<ExportedSnapshot> {
    let mut session = new.endpoint.replicate().await?;
    primary.check(&mut session).await?;
    // A server before PostgreSQL 17 does not know the option.
    let failover = if new.failover { ", FAILOVER true" } else { "" };
    let sql = format!(
        "CREATE_REPLICATION_SLOT {} LOGICAL pgoutput (SNAPSHOT 'export'{failover})",
        postgres_protocol::escape::escape_identifier(new.name)
    );
    let step = format!("creating the slot `{}` on Landing", new.name);
    let created = tokio::select! {
        created = session.query_patiently(&step, &sql) => Some(created),
        () = report_blockers(control) => None,
        () = tokio::time::sleep(new.timeout) => None,
        () = shutdown.cancelled() => None,
    };
    let Some(created) = created else {
        // While the walsender waits, the server does not notice a closed connection: without a cancellation
        // the walsender would wait on.
        cancel_creation(control, new.name).await?;
        let blocker = blocker(control).await?.unwrap_or_else(|| "a transaction that has ended".to_owned());
        return Err(Error::new(
            Kind::Transient,
            format!("creating the slot `{}` was given up; it was waiting for {blocker}", new.name),
        )
        .remedy(message!("postgres-remedy-end-transaction")));
    };
    let rows = created.map_err(creation_error)?;
    let text = |column: usize| {
        let value = rows.first().and_then(|row| row.get(column)).and_then(Option::as_ref);
        value.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    };
    let (Some(point), Some(name)) = (text(1).and_then(|point| point.parse().ok()), text(2)) else {
        return Err(Error::internal("CREATE_REPLICATION_SLOT gave an answer that is not understood"));
    };
    Ok(ExportedSnapshot { session, consistent_point: point, name })
}

fn creation_error(error: Error) -> Error {
    match error.sqlstate().map(|code| code.code()) {
        Some("55000") => error.remedy(message!("postgres-remedy-wal-level")),
        Some("53400") => Error::refused(error.message()).remedy(message!("postgres-remedy-slots")),
        _ => error,
    }
}

/// Logs every few seconds the transaction that delays the slot's creation. Never returns on its own.
async fn report_blockers(control: &Client) {
    loop {
        tokio::time::sleep(BLOCKER_REPORT).await;
        match blocker(control).await {
            Ok(Some(blocker)) => tracing::warn!("creating the slot waits for {blocker}"),
            Ok(None) => {}
            Err(error) => tracing::warn!("the transaction that delays the slot could not be read: {error}"),
        }
    }
}

/// The oldest transaction with an id, or prepared transaction: the slot's creation waits until all of these
/// have ended. Leaves out the query, because the query may hold data.
pub async fn blocker(control: &Client) -> Result<Option<String>> {
    let sql = "SELECT description FROM ( \
                   SELECT xact_start AS since, format( \
                       'the transaction of process %s (%s, application %s), open for %s', pid, usename, \
                       quote_literal(application_name), date_trunc('second', clock_timestamp() - xact_start) \
                   ) AS description \
                   FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid() \
                   UNION ALL SELECT prepared, format('the prepared transaction %s, prepared %s ago', \
                       quote_literal(gid), date_trunc('second', clock_timestamp() - prepared)) \
                   FROM pg_prepared_xacts \
               ) AS blocker ORDER BY since LIMIT 1";
    let row = during(control, "looking for the transaction that delays a slot").row_if_any(sql, &[]).await?;
    Ok(row.map(|row| row.get(0)))
}

async fn cancel_creation(control: &Client, name: &str) -> Result<()> {
    let sql = "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots \
               WHERE slot_name = $1 AND active_pid IS NOT NULL";
    during(control, "giving up the slot's creation").run(sql, &[&name]).await.map(drop)
}

/// Refuses a slot of this name.
///
/// # Errors
/// Transient when the slot decodes this database with `pgoutput`, and so may be the slot of a rollback whose
/// daemon has not let go of it yet; refused for any other slot.
pub async fn refuse_existing(on: Database<'_>, name: &str) -> Result<()> {
    let Some(slot) = read(on.client, name).await? else { return Ok(()) };
    let side = on.side;
    if slot.is_ours && slot.active {
        return Err(Error::new(Kind::Transient, format!("the slot `{name}` on the {side} is still in use"))
            .remedy(message!("postgres-remedy-slot-in-use")));
    }
    Err(Error::refused(format!(
        "a slot `{name}` exists on the {side} that no cutover of this installation has left: it decodes database `{}` \
         with `{}`",
        slot.position.database, slot.position.plugin
    ))
    .remedy(message!("postgres-remedy-foreign-slot")))
}

/// Creates the slot without a snapshot. From then on, the server keeps the WAL of every commit for the slot.
/// `failover`: standbys may keep a copy of the slot, from PostgreSQL 17 on.
///
/// # Errors
/// Transient when open transactions delay the slot for longer than `limit`.
pub async fn create_without_snapshot(
    on: Database<'_>,
    name: &str,
    failover: bool,
    limit: Duration,
) -> Result<()> {
    let side = on.side;
    let step = on.during(format!("creating the slot `{name}` on the {side}"));
    let version = step.row("SELECT current_setting('server_version_num')::int", &[]).await?;
    let survives = failover && version.get::<_, i32>(0) >= 170_000;
    if create_within(&step, name, if survives { ", failover => true" } else { "" }, limit).await? {
        return Ok(());
    }
    let message =
        format!("the slot `{name}` could not be created on the {side} within {:.0} s", limit.as_secs_f64());
    Err(Error::new(Kind::Transient, message).remedy(message!("postgres-remedy-open-transactions")))
}

/// Tries whether a slot can be created: creates a temporary slot, which ends with the session at the latest.
/// Returns the transaction that delays the slot for longer than `limit`, as a phrase.
///
/// # Errors
/// The server creates no slot.
pub async fn try_creation(session: &Client, limit: Duration) -> Result<Option<String>> {
    let step = during(session, "trying to create a slot");
    let name: String = step.row("SELECT 'leadbridge_trial_' || pg_backend_pid()", &[]).await?.get(0);
    if !create_within(&step, &name, ", true", limit).await? {
        let blocker = blocker(session).await?;
        return Ok(Some(blocker.unwrap_or_else(|| "a transaction that has ended".to_owned())));
    }
    drop_slot(session, &name).await.map(|()| None)
}

/// Creates a slot, with `more` arguments after the plugin. Returns false when the server has waited for open
/// transactions for `limit`: a time limit on the client alone would leave the server waiting.
async fn create_within(step: &Step<'_>, name: &str, more: &str, limit: Duration) -> Result<bool> {
    step.batch(&format!("SET statement_timeout = '{}ms'", limit.as_millis().max(1))).await?;
    let sql = format!("SELECT pg_create_logical_replication_slot($1, 'pgoutput'{more})");
    let created = step.run(&sql, &[&name]).await;
    step.batch("SET statement_timeout = 0").await?;
    match created {
        Err(error) if error.sqlstate() == Some(&SqlState::QUERY_CANCELED) => Ok(false),
        created => created.map(|_| true),
    }
}

/// Drops the slot if the slot exists. A slot in use is [`Kind::Transient`], because the consumer may be about
/// to end.
pub async fn drop_slot(control: &Client, name: &str) -> Result<()> {
    let sql = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1";
    during(control, format!("dropping the slot `{name}`")).run(sql, &[&name]).await.map(drop)
}

/// Drops the slot unless a session streams from the slot, because the WAL that the server keeps for the slot
/// would fill the disk. A slot of another plugin or database is another's, and is left alone. Returns whether
/// the slot does not exist any more.
pub async fn drop_unused(control: &Client, name: &str) -> Result<bool> {
    let step = during(control, format!("dropping the slot `{name}`"));
    let ours = "slot_name = $1 AND plugin = 'pgoutput' AND database = current_database()";
    let sql = format!(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE {ours} AND NOT active"
    );
    step.run(&sql, &[&name]).await?;
    let sql = format!("SELECT NOT EXISTS (SELECT FROM pg_replication_slots WHERE {ours})");
    Ok(step.row(&sql, &[&name]).await?.get(0))
}
