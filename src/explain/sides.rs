//! The two databases, as far as they answer, and how far the stream between them has come.

use std::time::Duration;

use serde::Serialize;
use tokio_postgres::types::PgLsn;

use crate::checkpoint::{Finish, ImportRecord, Installation, recorded_published};
use crate::compare;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::landing::catalog;
use crate::language::message;
use crate::mapping::{Mapping, Passthrough};
use crate::model::change::Table;
use crate::model::lsn::Lsn;
use crate::model::names::Names;
use crate::model::side::Side;
use crate::model::timestamp::Timestamp;
use crate::postgres::{Database, Databases, Session, slot, wal};

/// Longest time of one statement: a search on a table without a fitting index must not load a live database for long.
pub const STATEMENT_LIMIT: Duration = Duration::from_secs(10);

/// Sessions on the databases that answer.
pub struct Sides {
    pub landing: Option<Session>,
    pub traffic: Option<Session>,
    /// One error for each database that does not answer, or that refuses to be read.
    pub failures: Vec<(Side, Error)>,
    /// With the journey's name on Landing, where Landing answers.
    pub config: Config,
}

/// How far the stream from the system of record to the other side has come.
#[derive(Clone, Debug, Default, Serialize)]
pub struct StreamPosition {
    /// State in Traffic's checkpoint; `null` before the first copy, or when Traffic does not answer.
    pub state: Option<String>,
    /// Everything that the system of record committed before this position is on the other side.
    pub applied_lsn: Option<Lsn>,
    /// Commit time of the last Landing transaction applied, by Landing's clock.
    pub applied_commit_time: Option<String>,
    /// Where the system of record's WAL is now.
    pub source_lsn: Option<Lsn>,
    pub lag_bytes: Option<u64>,
    /// Whether a session streams from the slot.
    pub running: Option<bool>,
    /// When `leadbridge finish` was begun or completed: nothing flows any more.
    pub finished_at: Option<String>,
    /// Without a checkpoint: an import is complete, so Traffic holds Landing's rows as of the export.
    #[serde(skip)]
    is_imported: bool,
}

impl Sides {
    /// Connects to both databases.
    ///
    /// # Errors
    /// Refused when Traffic has no state tables of this installation. A database that does not answer is no error.
    pub async fn open(config: &Config) -> Result<Self> {
        let (landing, traffic) =
            tokio::join!(open(config, Side::Landing), Box::pin(open(config, Side::Traffic)));
        let mut failures = Vec::new();
        let mut answered = |side, session: Result<Session>| match session {
            Ok(session) => Some(session),
            Err(error) => {
                failures.push((side, error));
                None
            }
        };
        let (landing, traffic) = (answered(Side::Landing, landing), answered(Side::Traffic, traffic));
        let mut sides = Sides { landing, traffic, failures, config: config.clone() };
        if let Some(traffic) = &sides.traffic {
            let database = Database::traffic(traffic, &config.names);
            Installation::refuse_another(database, &config.landing).await?;
            refuse_unmigrated(database).await?;
        }
        if let Some(landing) = &sides.landing {
            match config.resolved(landing).await {
                Ok(resolved) => sides.config = resolved,
                Err(error) => sides.fail(Side::Landing, error),
            }
        }
        Ok(sides)
    }

    /// From now on the side counts as not answering.
    pub fn fail(&mut self, side: Side, error: Error) {
        match side {
            Side::Landing => self.landing = None,
            Side::Traffic => self.traffic = None,
        }
        self.failures.push((side, error));
    }

    pub fn names(&self) -> &Names {
        &self.config.names
    }

    pub fn landing(&self) -> Option<Database<'_>> {
        self.landing.as_ref().map(|session| Database::landing(session, self.names()))
    }

    pub fn traffic(&self) -> Option<Database<'_>> {
        self.traffic.as_ref().map(|session| Database::traffic(session, self.names()))
    }

    pub fn both(&self) -> Option<Databases<'_>> {
        let (landing, traffic) = (self.landing.as_ref()?, self.traffic.as_ref()?);
        Some(Databases { landing, traffic, names: self.names() })
    }

    /// The mapping by which Traffic holds Landing's rows, as far as the answering databases tell. Without Traffic
    /// no passthrough column is known.
    ///
    /// # Errors
    /// A database cannot be read.
    pub async fn mapping(&self) -> Result<Mapping> {
        let tables = self.config.tables();
        if let Some(databases) = self.both() {
            return catalog::mapping(databases, &tables).await;
        }
        match (self.landing(), self.traffic()) {
            (_, Some(traffic)) => Ok(recorded_published(traffic.client, traffic.names).await?.mapping()),
            (Some(landing), None) => {
                Ok(catalog::published(landing, &tables, &Passthrough::default()).await?.mapping())
            }
            (None, None) => Ok(Mapping::whole()),
        }
    }

    /// The system of record, and the position of the stream that leaves it.
    ///
    /// # Errors
    /// A database cannot be read.
    pub async fn stream(&self) -> Result<(Side, StreamPosition)> {
        let mut stream = StreamPosition::default();
        if let Some(traffic) = self.traffic() {
            let sql = format!(
                "SELECT state, applied_lsn, commit_time FROM {} WHERE slot = $1",
                traffic.names.own("checkpoint")
            );
            let step = traffic.during("reading the checkpoint on Traffic");
            if let Some(row) = step.row_if_any(&sql, &[&traffic.names.slot]).await? {
                stream.state = Some(row.get(0));
                stream.applied_lsn = row.get::<_, Option<PgLsn>>(1).map(Lsn::from);
                stream.applied_commit_time = text(row.get(2));
            } else {
                let imported = ImportRecord::read(traffic).await?;
                stream.is_imported = imported.is_some_and(|imported| imported.finished_at.is_some());
            }
        }
        let is_switched = stream.state.as_deref() == Some("switched");
        let source = if is_switched { Side::Traffic } else { Side::Landing };
        if is_switched {
            self.reverse(&mut stream).await?;
        }
        let database = match source {
            Side::Landing => self.landing(),
            Side::Traffic => self.traffic(),
        };
        if let Some(database) = database.filter(|_| stream.finished_at.is_none()) {
            let name = database.names.slot_on(source);
            let (sample, slot) =
                tokio::try_join!(wal::sample(database.client), slot::read(database.client, &name))?;
            stream.source_lsn = Some(sample.flushed);
            stream.lag_bytes = stream.applied_lsn.map(|applied| sample.flushed.bytes_since(applied));
            stream.running = Some(slot.is_some_and(|slot| slot.active));
        }
        Ok((source, stream))
    }

    /// The position of reverse replication in place of the checkpoint's.
    async fn reverse(&self, stream: &mut StreamPosition) -> Result<()> {
        let Some(traffic) = self.traffic() else { return Ok(()) };
        stream.finished_at = match Finish::read(traffic.client, traffic.names).await? {
            Some(Finish::Finished { at } | Finish::Dismantling { since: at }) => Some(at.to_string()),
            None => None,
        };
        let reverse = crate::checkpoint::Reverse::read(traffic.client, traffic.names).await?;
        stream.applied_lsn = reverse.map(|reverse| reverse.applied);
        stream.applied_commit_time = None;
        Ok(())
    }
}

impl StreamPosition {
    /// Whether the first copy is complete, so that rows can be compared.
    pub fn has_copied(&self) -> bool {
        self.is_imported || self.state.as_deref().is_some_and(|state| state != "snapshot")
    }
}

/// A session in which no statement takes longer than [`STATEMENT_LIMIT`].
async fn open(config: &Config, side: Side) -> Result<Session> {
    let endpoint = match side {
        Side::Landing => &config.landing,
        Side::Traffic => &config.traffic,
    };
    let session = endpoint.connect("explain").await?;
    let limit = format!("SET statement_timeout = {}", STATEMENT_LIMIT.as_millis());
    let limited = session.batch_execute(&limit).await;
    limited.map_err(|error| Error::database(format!("preparing to read on {}", side.name()), &error))?;
    Ok(session)
}

async fn refuse_unmigrated(traffic: Database<'_>) -> Result<()> {
    let tables = ["checkpoint", "quarantine", "conversion_notes", "reverse", "left_on_traffic"];
    let tables = tables.map(|table| traffic.names.own(table));
    let sql = "SELECT bool_and(to_regclass(name) IS NOT NULL) FROM unnest($1::text[]) AS name";
    let step = traffic.during("looking for leadbridge's tables on Traffic");
    if step.row(sql, &[&&tables[..]]).await?.get(0) {
        return Ok(());
    }
    Err(Error::refused(format!(
        "the Traffic DB has no schema `{}` with our tables yet",
        traffic.names.schema
    ))
    .remedy(message!("error-remedy-migrate-and-run")))
}

/// The moment as RFC 3339.
pub fn text(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| at.to_string())
}

/// How a few rows of a table stand; `None` while the first copy is not complete, or a database does not answer.
pub async fn settled(
    sides: &Sides,
    source: Side,
    (table, ids): (Table, &[uuid::Uuid]),
    deadline: tokio::time::Instant,
) -> Result<Option<Vec<compare::SettledRow>>> {
    match sides.both() {
        Some(databases) => {
            Box::pin(compare::settled(databases, source, (table, ids), deadline)).await.map(Some)
        }
        None => Ok(None),
    }
}
