//! Asks both databases what an operator wants to know.

use std::time::{Duration, Instant};

use tokio_postgres::Client;
use tokio_postgres::types::PgLsn;

use super::reverse;
use crate::checkpoint::{Finish, Installation, recorded_published};
use crate::config::Config;
use crate::cutover::attention;
use crate::cutover::journal::{self, CutoverJournal};
use crate::error::{Error, Result};
use crate::landing::left_out::LandingColumns;
use crate::mapping::Mapping;
use crate::model::lsn::Lsn;
use crate::model::names::Names;
use crate::model::side::Side;
use crate::model::timestamp::Timestamp;
use crate::postgres::advisory::{self, ExclusiveRight};
use crate::postgres::step::during;
use crate::postgres::{Database, Databases, Session, wal};
use crate::quarantine::Quarantine;
use crate::replication::lease_holder::reported;
use crate::replication::{blocking, last_error, newest_cutover};
use crate::report::Attention;
use crate::telemetry::{
    BlockingSession, CutoverReport, LastError, LeaseHolder, ReverseReport, SlotReport, State,
};
use crate::verification::{Round, record};

/// Time between two looks at a server's WAL position.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// Landing's answer.
pub(super) struct Landing {
    pub flushed: Lsn,
    pub now: Timestamp,
    pub slot: Option<SlotReport>,
    /// WAL written in a second, from two looks; `None` when not asked for.
    pub wal_rate: Option<f64>,
    /// `None` when the tables could not be found.
    pub columns: Option<LandingColumns>,
}

/// Traffic's answer; the checkpoint is missing until an initial copy has begun.
pub(super) struct Traffic {
    pub checkpoint: Option<Checkpoint>,
    pub reverse: Option<ReverseReport>,
    pub finished: Option<Finish>,
    pub quarantined: u64,
    pub conversion_notes: u64,
    pub lease_holder: Option<LeaseHolder>,
    /// The newest cutover or rollback.
    pub cutover: Option<CutoverReport>,
    /// Who blocks the holder of the lease; empty without a holder of leadbridge's.
    pub blocked_by: Vec<BlockingSession>,
    /// As on Landing.
    pub wal_rate: Option<f64>,
    /// The mapping of the last copy; `None` before the first copy.
    pub mapping: Option<Mapping>,
    /// The last round of background verification, for a status without a daemon.
    pub round: Option<Round>,
}

pub(super) struct Checkpoint {
    pub state: String,
    pub applied: Option<Lsn>,
    pub caught_up_at: Option<Timestamp>,
}

/// The answers of both databases; `None` for a database that could not say.
pub(super) struct Answers {
    pub landing: Option<Landing>,
    /// Traffic's answer, and the last error that a daemon kept there.
    pub traffic: Option<(Option<Traffic>, Option<LastError>)>,
    pub attention: Option<Vec<Attention>>,
    pub unreachable: Vec<Error>,
}

/// Asks both databases at the same time. `twice`: looks a second time after a second, because without a daemon's history
/// nothing else tells how fast WAL is written.
pub(super) async fn ask_databases(config: &Config, twice: bool) -> Answers {
    let mut unreachable = Vec::new();
    let (landing, traffic) = tokio::join!(config.landing.connect("status"), config.traffic.connect("status"));
    let landing = landing.map_err(|error| unreachable.push(error)).ok();
    let traffic = traffic.map_err(|error| unreachable.push(error)).ok();
    let (of_landing, of_traffic, attention) = tokio::join!(
        answer(landing.as_ref(), async |client| ask_landing(client, config, twice).await),
        answer(traffic.as_ref(), async |client| {
            let traffic = ask_traffic(client, config, twice).await?;
            Ok((traffic, last_error::read_row(client, &config.names).await?))
        }),
        ask_attention(landing.as_ref(), traffic.as_ref(), config),
    );
    for session in [landing, traffic].into_iter().flatten() {
        session.close().await;
    }
    let landing = of_landing.map_err(|error| unreachable.push(error)).ok().flatten();
    let traffic = of_traffic.map_err(|error| unreachable.push(error)).ok().flatten();
    Answers { landing, traffic, attention, unreachable }
}

/// `None` without a session.
async fn answer<T>(
    session: Option<&Session>,
    question: impl AsyncFnOnce(&Client) -> Result<T>,
) -> Result<Option<T>> {
    match session {
        Some(session) => question(session).await.map(Some),
        None => Ok(None),
    }
}

/// The states that an operator has to end; `None` when a database could not say.
async fn ask_attention(
    landing: Option<&Session>,
    traffic: Option<&Session>,
    config: &Config,
) -> Option<Vec<Attention>> {
    let (landing, traffic) = (landing?, traffic?);
    let found = async {
        let config = config.resolved(landing).await?;
        let databases = Databases { landing, traffic, names: &config.names };
        Installation::refuse_another(databases.on(Side::Traffic), &config.landing).await?;
        attention::examine(databases).await
    };
    // What keeps a database from answering is named by the other questions.
    found.await.inspect_err(|error| tracing::debug!("{error}")).ok()
}

async fn ask_landing(client: &Client, config: &Config, twice: bool) -> Result<Landing> {
    let names = &config.names;
    let looked = Instant::now();
    let sql = "SELECT pg_current_wal_flush_lsn(), clock_timestamp(), s.slot_name IS NOT NULL, \
               COALESCE(s.active, false), s.wal_status, \
               pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn)::bigint, s.safe_wal_size, \
               pg_size_bytes(current_setting('max_slot_wal_keep_size')) \
               FROM (VALUES (1)) AS one LEFT JOIN pg_replication_slots AS s ON s.slot_name::text = $1";
    let row =
        during(client, "asking Landing for its WAL position and the slot").row(sql, &[&names.slot]).await?;
    let slot = row.get::<_, bool>(2).then(|| SlotReport {
        name: names.slot.clone(),
        active: row.get(3),
        wal_status: row.get(4),
        retained_bytes: row.get::<_, Option<i64>>(5).map(|bytes| u64::try_from(bytes).unwrap_or(0)),
        safe_bytes: row.get::<_, Option<i64>>(6).map(|bytes| u64::try_from(bytes).unwrap_or(0)),
        limit_bytes: u64::try_from(row.get::<_, i64>(7)).ok(),
    });
    let columns = match config.resolved(client).await {
        Ok(found) => {
            let landing = Database::landing(client, &found.names);
            Some(LandingColumns::read(landing, &config.tables()).await?)
        }
        Err(_) => None,
    };
    let (flushed, now): (Lsn, Timestamp) = (row.get::<_, PgLsn>(0).into(), row.get(1));
    let wal_rate = if twice { wal_rate(client, looked, (flushed, now)).await? } else { None };
    Ok(Landing { flushed, now, slot, wal_rate, columns })
}

/// Bytes of WAL written in a second since the first look, a second after it.
async fn wal_rate(client: &Client, looked: Instant, first: (Lsn, Timestamp)) -> Result<Option<f64>> {
    tokio::time::sleep(BETWEEN_LOOKS.saturating_sub(looked.elapsed())).await;
    let then = wal::sample(client).await?;
    // By the server's clock, so that a slow answer makes no error.
    let seconds = then.now.seconds_since(first.1);
    Ok(Some(then.flushed.bytes_since(first.0) as f64 / seconds).filter(|_| seconds > 0.0))
}

async fn ask_traffic(client: &Client, config: &Config, twice: bool) -> Result<Option<Traffic>> {
    let names = &config.names;
    let first = if twice { Some((Instant::now(), wal::sample(client).await?)) } else { None };
    Installation::refuse_another(Database::traffic(client, &config.names), &config.landing).await?;
    let (is_migrated, has_journal) = own_tables(client, names).await?;
    if !is_migrated {
        return Ok(None);
    }
    let step = during(client, "asking Traffic for the checkpoint");
    let (checkpoint, notes) = (names.own("checkpoint"), names.own("conversion_notes"));
    let waiting = Quarantine::count_waiting(names);
    let sql = format!(
        "SELECT c.slot IS NOT NULL, COALESCE(c.state, ''), c.applied_lsn, c.caught_up_at, \
         {waiting}, (SELECT count(*) FROM {notes}) \
         FROM (VALUES (1)) AS one LEFT JOIN {checkpoint} AS c ON c.slot = $1"
    );
    let row = step.row(&sql, &[&names.slot]).await?;
    // An undecided cutover or rollback lasts without its command and without a daemon.
    let unresolved = match has_journal {
        true => CutoverJournal::new(names).unresolved(client).await?,
        false => Vec::new(),
    };
    let undecided = journal::fenced_step(&unresolved);
    let checkpoint = row.get::<_, bool>(0).then(|| Checkpoint {
        state: undecided.map_or_else(|| row.get(1), |step| step.as_str().to_owned()),
        applied: row.get::<_, Option<PgLsn>>(2).map(Into::into),
        caught_up_at: row.get(3),
    });
    let count = |column: usize| u64::try_from(row.get::<_, i64>(column)).unwrap_or(0);
    let switched = row.get::<_, &str>(1) == State::Switched.as_str();
    let finished = if switched { Finish::read(client, names).await? } else { None };
    let reverse = match finished {
        None if switched => reverse::ask(client, names).await?,
        // After `finish` has begun, the slot of reverse replication is gone, or about to go, on purpose.
        _ => None,
    };
    let published = recorded_published(client, names).await?;
    let mapping = (!published.tables.is_empty()).then(|| published.mapping());
    let lease_holder = lease_holder(Database::traffic(client, names)).await?;
    let cutover = if has_journal { newest_cutover::ask(client, names).await? } else { None };
    // A daemon that answers says by itself who holds it up.
    let blocked_by = match lease_holder.as_ref().filter(|_| twice) {
        Some(holder) => blockers_of(client, holder).await?,
        None => Vec::new(),
    };
    let wal_rate = match first.filter(|_| reverse.is_some()) {
        Some((looked, first)) => wal_rate(client, looked, (first.flushed, first.now)).await?,
        None => None,
    };
    Ok(Some(Traffic {
        checkpoint,
        reverse,
        finished,
        quarantined: count(4),
        conversion_notes: count(5),
        lease_holder,
        cutover,
        blocked_by,
        wal_rate,
        mapping,
        round: if twice { record::round(Database::traffic(client, names)).await? } else { None },
    }))
}

/// Whether leadbridge's tables are there, and whether the journal of cutovers is.
async fn own_tables(client: &Client, names: &Names) -> Result<(bool, bool)> {
    let sql = "SELECT to_regclass($1) IS NOT NULL AND to_regclass($2) IS NOT NULL \
               AND to_regclass($3) IS NOT NULL, to_regclass($4) IS NOT NULL";
    let tables = [names.own("checkpoint"), names.own("quarantine"), names.own("conversion_notes")];
    let step = during(client, "asking Traffic for the checkpoint");
    let row = step.row(sql, &[&tables[0], &tables[1], &tables[2], &names.own("cutover")]).await?;
    Ok((row.get(0), row.get(1)))
}

/// Who holds locks for which a daemon that has the lease waits.
async fn blockers_of(client: &Client, holder: &LeaseHolder) -> Result<Vec<BlockingSession>> {
    match holder.pid.filter(|_| holder.is_leadbridge) {
        Some(pid) => blocking::of_processes(client, Side::Traffic, &[pid]).await,
        None => Ok(Vec::new()),
    }
}

async fn lease_holder(traffic: Database<'_>) -> Result<Option<LeaseHolder>> {
    let holders = advisory::holders(traffic, ExclusiveRight::Lease).await?;
    Ok(holders.first().map(reported))
}
