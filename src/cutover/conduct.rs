//! One cutover from its beginning to its decision, and the way back from anywhere in between.

use std::time::{Duration, Instant};

use tokio_postgres::types::PgLsn;
use uuid::Uuid;

use super::certificate::{Certificate, Database, Times, configuration_hash};
use super::content::{self, TableProof};
use super::fence::{self, Held};
use super::hook::{self, Event};
use super::journal::{Direction, Journal, Step};
use super::readiness::Readiness;
use super::writers::Tried;
use super::{Options, Prepared, marker, resolve, reverse_slot};
use crate::config::Config;
use crate::database::{Endpoint, Session};
use crate::doctor::Level;
use crate::error::{Error, Kind, Result};
use crate::failpoint::{Point, reach};
use crate::landing::slot;
use crate::lsn::Lsn;
use crate::names::Names;
use crate::timestamp::Timestamp;

/// How long it is tried to undo what was done, before that is left to the daemon.
const UNDOING: Duration = Duration::from_secs(20);

pub(super) struct Conduct<'c> {
    config: &'c Config,
    options: &'c Options,
    readiness: Readiness,
    landing: Session,
    traffic: Session,
    journal: Journal,
    id: Uuid,
    started: Instant,
    /// The fence may have been committed.
    closed: bool,
    hooked: bool,
}

/// What was proven while writers waited.
struct Proof {
    marker: Lsn,
    tables: Vec<TableProof>,
    writers: Tried,
    /// Both sides as they were behind the fence, where every row is still to be compared.
    snapshots: Option<(Session, Session)>,
}

impl<'c> Conduct<'c> {
    pub(super) fn new(config: &'c Config, options: &'c Options, prepared: Prepared, id: Uuid) -> Self {
        let Prepared { readiness, landing, traffic } = prepared;
        let journal = Journal::new(&config.names);
        Conduct {
            config,
            options,
            readiness,
            landing,
            traffic,
            journal,
            id,
            started: Instant::now(),
            closed: false,
            hooked: false,
        }
    }

    pub(super) async fn run(mut self) -> Result<Certificate> {
        if !self.readiness.is_ready() {
            return Err(self.not_ready());
        }
        match self.attempt().await {
            Ok(certificate) => Ok(certificate),
            Err(error) => Err(self.abort(error).await),
        }
    }

    fn not_ready(&self) -> Error {
        let errors = self.readiness.findings.findings.iter().filter(|finding| finding.level == Level::Error);
        let messages: Vec<&str> = errors.map(|finding| finding.message.as_str()).collect();
        Error::refused(format!("not ready: {}", messages.join("; ")))
            .remedy("see `leadbridge cutover --dry-run`")
    }

    fn names(&self) -> &'c Names {
        &self.config.names
    }

    /// Until the deadline.
    fn left(&self) -> Duration {
        self.options.timeout.saturating_sub(self.started.elapsed())
    }

    async fn attempt(&mut self) -> Result<Certificate> {
        let landing_id = slot::system_identifier(&self.config.landing, self.names()).await?;
        let traffic_id = slot::system_identifier(&self.config.traffic, self.names()).await?;
        reverse_slot::create(&self.traffic, self.names(), self.left()).await?;
        reach(Point::CutoverPrepared);
        self.journal.begin(&self.traffic, self.id, Direction::Cutover, self.left()).await?;
        reach(Point::CutoverBegun);
        tracing::info!(id = %self.id, "closing the fence");
        let session = self.config.landing.connect("fence").await?;
        let held = fence::hold(session, self.names(), &self.fence_terms(), self.left()).await?;
        let left = self.options.readiness.max_pause.saturating_sub(held.elapsed());
        let proven = match tokio::time::timeout(left, self.behind(&held)).await {
            Ok(proven) => proven,
            Err(_) => Err(self.too_long()),
        };
        let proof = match proven {
            Ok(proof) => proof,
            Err(error) => {
                held.undo().await;
                return Err(error);
            }
        };
        self.closed = true;
        let (_, write_pause) = held.commit().await?;
        let paused = Instant::now();
        reach(Point::CutoverClosed);
        tracing::info!(
            "closed: writers were held for {:.0} ms and are refused now",
            write_pause.as_secs_f64() * 1e3
        );
        self.hook().await?;
        reach(Point::CutoverHooked);
        fence::keep(&self.landing, self.names(), self.id).await?;
        reach(Point::CutoverKept);
        let traffic_lsn = self.switch(&traffic_id).await?;
        reach(Point::CutoverSwitched);
        tracing::info!(at = %traffic_lsn, "switched: Traffic is the one database");
        let until_switched = write_pause + paused.elapsed();
        let Proof { marker, tables, writers, snapshots } = proof;
        let mut certificate = Certificate {
            id: self.id,
            direction: Direction::Cutover,
            leadbridge_version: env!("CARGO_PKG_VERSION"),
            configuration_sha256: configuration_hash(self.config),
            landing: database(&self.config.landing, &self.landing, landing_id).await?,
            traffic: database(&self.config.traffic, &self.traffic, traffic_id).await?,
            times: self.times().await?,
            write_pause_seconds: write_pause.as_secs_f64(),
            until_switched_seconds: until_switched.as_secs_f64(),
            marker_lsn: marker,
            traffic_lsn,
            writers,
            complete: snapshots.is_none(),
            tables,
            conversion_notes: self.readiness.verification.as_ref().map_or(0, |found| found.conversion_notes),
            markers_before: self.readiness.latency,
            hook: self.hooked,
        };
        self.write_down(&certificate).await?;
        if let Some((landing, traffic)) = snapshots {
            tracing::info!("comparing every value of every row, as both sides were behind the fence");
            for (table, proof) in self.config.tables().into_iter().zip(&mut certificate.tables) {
                content::prove_contents(&landing, &traffic, self.names(), table, proof).await?;
            }
            certificate.complete = true;
            self.write_down(&certificate).await?;
        }
        Ok(certificate)
    }

    fn fence_terms(&self) -> fence::Terms {
        let traffic = &self.config.traffic;
        fence::Terms {
            cutover: self.id,
            message: format!(
                "leads have moved to the database {} on {}",
                traffic.database(),
                traffic.hosts()
            ),
            with_notifications: self.config.scheduled_notifications,
            lock_timeout: self.options.lock_timeout,
            idle_limit: self.options.readiness.max_pause,
            valid_for: self.left(),
        }
    }

    fn too_long(&self) -> Error {
        let most = self.options.readiness.max_pause.as_secs_f64();
        Error::new(Kind::Transient, format!("writers had to wait for more than {most} s (--max-pause)"))
            .remedy("begin again at a quieter moment, or allow a longer --max-pause")
    }

    /// Everything that is done while writers wait.
    async fn behind(&mut self, held: &Held) -> Result<Proof> {
        self.journal.reach(&self.traffic, self.id, Step::Fenced).await?;
        reach(Point::CutoverFenced);
        marker::write(held.session(), self.id).await?;
        marker::flush(&self.landing).await?;
        // While the marker travels.
        let writers = held.prove(&self.readiness.writers).await?;
        let (names, slot) = (self.names(), &self.names().slot);
        let arrived = marker::arrival(&self.traffic, names, slot, self.id, self.left()).await?;
        self.journal.reach(&self.traffic, self.id, Step::Drained).await?;
        reach(Point::CutoverDrained);
        let horizon = self.readiness.horizon.as_ref();
        let horizon = horizon.ok_or_else(|| Error::internal("readiness without a horizon"))?;
        let mut tables = Vec::new();
        for table in self.config.tables() {
            let mut proof = content::prove(held.session(), &self.traffic, names, table, horizon).await?;
            if self.readiness.whole {
                content::prove_contents(held.session(), &self.traffic, names, table, &mut proof).await?;
            }
            if !proof.is_equal() {
                return Err(Error::refused(format!("{} differs behind the fence", proof.table))
                    .remedy("nothing has changed: see `leadbridge verify`"));
            }
            tables.push(proof);
        }
        let snapshots = match self.readiness.whole {
            true => None,
            false => Some((snapshot(&self.config.landing).await?, snapshot(&self.config.traffic).await?)),
        };
        self.journal.reach(&self.traffic, self.id, Step::Verified).await?;
        reach(Point::CutoverVerified);
        Ok(Proof { marker: arrived, tables, writers, snapshots })
    }

    async fn hook(&mut self) -> Result<()> {
        let Some(command) = &self.options.hook else { return Ok(()) };
        self.hooked = true;
        tracing::info!("running the hook");
        hook::run(command, Event::Switch, Direction::Cutover, self.id, self.left()).await
    }

    /// The decision: one transaction on Traffic.
    async fn switch(&mut self, traffic_id: &str) -> Result<Lsn> {
        let names = self.names();
        let failed = |error| Error::database("switching on Traffic", &error);
        let journal = self.journal.clone();
        let id = self.id;
        let transaction = self.traffic.transaction().await.map_err(failed)?;
        journal.reach(transaction.client(), id, Step::Switched).await?;
        let sql = format!(
            "UPDATE {} SET state = 'switched', updated_at = now() WHERE slot = $1 AND state = 'streaming'",
            names.own("checkpoint")
        );
        if transaction.execute(&sql, &[&names.slot]).await.map_err(failed)? != 1 {
            return Err(Error::refused(format!(
                "the checkpoint of slot `{}` is not `streaming` any more",
                names.slot
            ))
            .remedy("see `leadbridge status`"));
        }
        let sql = format!(
            "INSERT INTO {} AS r (slot, cutover_id, reverse_slot, traffic_system_id, applied_lsn, caught_up_at) \
             VALUES ($1, $2, $3, $4, pg_current_wal_insert_lsn(), clock_timestamp()) ON CONFLICT (slot) DO UPDATE \
             SET (cutover_id, reverse_slot, traffic_system_id, applied_lsn, caught_up_at, updated_at) = \
             (EXCLUDED.cutover_id, EXCLUDED.reverse_slot, EXCLUDED.traffic_system_id, EXCLUDED.applied_lsn, \
              EXCLUDED.caught_up_at, now()) RETURNING applied_lsn",
            names.own("reverse")
        );
        let row = transaction.query_one(&sql, &[&names.slot, &id, &names.reverse_slot(), &traffic_id]).await;
        let at: PgLsn = row.map_err(failed)?.get(0);
        let text = resolve::announcement(id, Direction::Cutover, Step::Switched);
        let told = transaction.execute("SELECT pg_notify('leadbridge_cutover', $1)", &[&text]).await;
        told.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(at.into())
    }

    async fn write_down(&self, certificate: &Certificate) -> Result<()> {
        let document = serde_json::to_value(certificate).map_err(|error| {
            Error::internal("the certificate cannot be written as JSON").source_error(error)
        })?;
        self.journal.certify(&self.traffic, self.id, &document).await
    }

    async fn times(&self) -> Result<Times> {
        let sql = format!(
            "SELECT started_at, fenced_at, drained_at, verified_at, finished_at FROM {} WHERE id = $1",
            self.names().own("cutover")
        );
        let row = self.traffic.query_one(&sql, &[&self.id]).await;
        let row = row.map_err(|error| Error::database("reading the cutover's journal on Traffic", &error))?;
        let at = |column: usize| row.get::<_, Option<Timestamp>>(column).unwrap_or_default();
        Ok(Times { started: at(0), fenced: at(1), drained: at(2), verified: at(3), decided: at(4) })
    }

    /// Back to how it was, and why. What has been decided meanwhile stays decided.
    async fn abort(&mut self, cause: Error) -> Error {
        tracing::warn!("aborting: {}", cause.message());
        let undone = tokio::time::timeout(UNDOING, self.undo(&cause)).await;
        let undone = undone.unwrap_or_else(|_| Err(Error::unreachable("undoing took too long")));
        if self.hooked
            && !matches!(undone, Ok(Step::Switched))
            && let Some(command) = &self.options.hook
            && let Err(error) = hook::run(command, Event::Abort, Direction::Cutover, self.id, UNDOING).await
        {
            tracing::error!("{error}; the applications may still be pointed to Traffic");
        }
        match undone {
            Ok(Step::Switched) => cause.context(
                "SWITCHED, Traffic is the one database and Landing refuses writes; but something failed after that",
            ),
            Ok(_) => cause.context("ABORTED, Landing takes writes and everything is as it was"),
            Err(error) => {
                let closed = match self.closed {
                    true => "the fence on Landing may still be closed: the daemon lifts it as soon as it reaches both databases, and at its deadline it opens by itself unless it was about to be switched",
                    false => "no fence was closed",
                };
                cause.context(format!("NOT KNOWN to be aborted ({}): {closed}; see `leadbridge status`", error.message()))
            }
        }
    }

    /// On new connections: those that we have may be what failed.
    async fn undo(&mut self, cause: &Error) -> Result<Step> {
        let started = Instant::now();
        loop {
            let error = match self.try_undo(cause).await {
                Ok(state) => return Ok(state),
                Err(error) => error,
            };
            if started.elapsed() >= UNDOING {
                return Err(error);
            }
            tracing::warn!("undoing: {}", error.message());
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn try_undo(&mut self, cause: &Error) -> Result<Step> {
        let traffic = self.config.traffic.connect("cutover").await?;
        self.journal.abort(&traffic, self.id, cause.message()).await?;
        let Some(entry) = self.journal.entry(&traffic, self.id).await? else {
            // Nothing had begun but the slot.
            reverse_slot::drop_unused(&traffic, self.names()).await?;
            return Ok(Step::Aborted);
        };
        if entry.state != Step::Aborted {
            return Ok(entry.state);
        }
        if !entry.is_lifted {
            let landing = self.config.landing.connect("cutover").await?;
            resolve::open(&landing, &traffic, self.names(), &entry).await?;
            resolve::announce(&traffic, self.id, Direction::Cutover, Step::Aborted).await?;
        }
        Ok(Step::Aborted)
    }
}

/// A session that sees its database as it is now, for as long as it lives.
async fn snapshot(endpoint: &Endpoint) -> Result<Session> {
    let session = endpoint.connect("cutover").await?;
    let begun = session
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT pg_current_snapshot()")
        .await;
    begun.map_err(|error| Error::database("taking a snapshot behind the fence", &error))?;
    Ok(session)
}

async fn database(endpoint: &Endpoint, session: &Session, system_identifier: String) -> Result<Database> {
    let row = session.query_one("SELECT current_setting('server_version')", &[]).await;
    let row = row.map_err(|error| Error::database("asking for the server's version", &error))?;
    Ok(Database::new(endpoint, system_identifier, row.get(0)))
}
