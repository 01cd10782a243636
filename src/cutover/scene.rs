//! Common parts of a cutover and a rollback: the journal, the deadline, the hook, and undoing from any step.

use std::time::{Duration, Instant};

use tokio_postgres::Client;
use uuid::Uuid;

use super::certificate::{CertifiedDatabase, CutoverCertificate, Times, configuration_hash};
use super::content::{FencedSides, TableProof};
use super::hook::{self, Event};
use super::journal::{CutoverJournal, CutoverRun, CutoverStep, Direction, READING};
use super::marker::{self, MarkerArrival};
use super::readiness::Readiness;
use super::{CutoverOptions, PreparedCutover, adopt, resolve};
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::failpoint::{Point, reach};
use crate::fence::{FenceTerms, HeldFence, Tried};
use crate::model::lsn::Lsn;
use crate::model::names::Names;
use crate::model::side::Side;
use crate::model::timestamp::Timestamp;
use crate::postgres::step::during;
use crate::postgres::{Databases, Endpoint, Session, primary, slot, table_lock};

/// Time for which the command tries to undo its changes, before the command leaves the rest to the daemon.
const UNDOING: Duration = Duration::from_secs(20);

/// A running cutover or rollback.
pub(super) struct Scene<'c> {
    pub config: &'c Config,
    pub options: &'c CutoverOptions,
    pub run: CutoverRun,
    pub readiness: Readiness,
    pub landing: Session,
    pub traffic: Session,
    pub journal: CutoverJournal,
    started: Instant,
    /// Whether the fence may have been committed.
    pub closed: bool,
    pub hooked: bool,
}

/// Everything that was proven while writers waited.
pub(super) struct Proof {
    /// Position of our marker in the fenced side's WAL.
    pub marker: Lsn,
    /// Position in the other side's WAL when everything was there.
    pub position: Lsn,
    pub tables: Vec<TableProof>,
    pub writers: Tried,
    /// Landing and Traffic as seen inside the fence, when every row is still to be compared.
    pub snapshots: Option<[Session; 2]>,
}

/// Interruption of the writers.
pub(super) struct Pause {
    /// Until the fence refused writers with its message.
    pub write: Duration,
    /// Until the other database was announced.
    pub until_decided: Duration,
}

impl<'c> Scene<'c> {
    pub fn new(config: &'c Config, options: &'c CutoverOptions, prepared: PreparedCutover) -> Self {
        let PreparedCutover { readiness, direction, landing, traffic, .. } = prepared;
        let run = CutoverRun { id: Uuid::new_v4(), direction };
        let (journal, started) = (CutoverJournal::new(&config.names), Instant::now());
        let (closed, hooked) = (false, false);
        Scene { config, options, run, readiness, landing, traffic, journal, started, closed, hooked }
    }

    fn endpoint(&self, side: Side) -> &'c Endpoint {
        match side {
            Side::Landing => &self.config.landing,
            Side::Traffic => &self.config.traffic,
        }
    }

    pub fn databases(&self) -> Databases<'_> {
        Databases { landing: &self.landing, traffic: &self.traffic, names: self.names() }
    }

    pub fn names(&self) -> &'c Names {
        &self.config.names
    }

    /// Time until the deadline.
    pub fn left(&self) -> Duration {
        self.options.timeout.saturating_sub(self.started.elapsed())
    }

    pub fn too_long(&self) -> Error {
        let most = self.options.readiness.max_pause.as_secs_f64();
        Error::new(Kind::Transient, format!("writers had to wait for more than {most} s (--max-pause)"))
            .remedy("try again at a quieter moment, or allow a longer --max-pause")
    }

    /// Takes the fence around the tables of the fenced side.
    pub async fn hold(&self, valid_for: Duration) -> Result<HeldFence> {
        tracing::info!(id = %self.run.id, "closing the fence");
        let terms = FenceTerms {
            names: self.names(),
            cutover: self.run.id,
            message: self.config.fence_message.clone(),
            with_notifications: self.config.scheduled_notifications,
            lock_timeout: self.options.lock_timeout,
            idle_limit: self.options.readiness.max_pause,
            valid_for,
        };
        terms.hold(self.endpoint(self.run.direction.fenced()), self.left()).await
    }

    /// Time for which writers may still be made to wait.
    pub fn budget(&self, held: &HeldFence) -> Duration {
        self.options.readiness.max_pause.saturating_sub(held.elapsed())
    }

    pub async fn reach(&self, step: CutoverStep) -> Result<()> {
        self.journal.reach(&self.traffic, self.run.id, step).await
    }

    /// Drains the fenced side, while the fence blocks the writers there: everything that was written before
    /// the fence comes to the other side. Returns the position of our marker in the fenced side's WAL, and the
    /// trial of the fence. `fenced` is the point of a crash right after the fence.
    pub async fn drain(&self, held: &HeldFence, fenced: Point) -> Result<(Lsn, Tried)> {
        self.reach(CutoverStep::Fenced).await?;
        reach(fenced);
        let source = self.databases().on(self.run.direction.fenced()).client;
        let slot = match self.run.direction {
            Direction::Cutover => self.names().slot.clone(),
            Direction::Rollback => self.names().reverse_slot(),
        };
        marker::write(held.session(), self.run.id).await?;
        marker::flush(source).await?;
        // The trial of the fence runs while the marker is on its way.
        let writers = held.prove(&self.readiness.writers).await?;
        let arrival = MarkerArrival { traffic: self.databases().on(Side::Traffic), slot: &slot };
        let marker = arrival.of(self.run.id, self.left()).await?;
        self.reach(CutoverStep::Drained).await?;
        Ok((marker, writers))
    }

    pub async fn hook(&mut self) -> Result<()> {
        let Some(command) = &self.options.hook else { return Ok(()) };
        self.hooked = true;
        tracing::info!("running the hook");
        hook::call(command, Event::Switch, self.run, self.left()).await
    }

    /// Compares both sides, and reads the fenced side in the session `fenced`. Also returns the rows that
    /// were written since the comparison before the fence.
    ///
    /// # Errors
    /// Refused when a row differs.
    pub async fn prove(&self, fenced: &Client) -> Result<(Vec<TableProof>, adopt::Rows)> {
        let sides = match self.run.direction {
            Direction::Cutover => self.sides(fenced, &self.traffic),
            Direction::Rollback => self.sides(&self.landing, fenced),
        };
        let horizon = self.readiness.horizon()?;
        let (mut tables, mut recent) = (Vec::new(), adopt::Rows::new());
        for table in self.config.tables() {
            let (proof, rows) = sides.prove(table, horizon, self.readiness.whole).await?;
            if !proof.is_equal() {
                let look = match self.run.direction {
                    Direction::Cutover => "verify",
                    Direction::Rollback => "rollback --dry-run",
                };
                return Err(Error::refused(format!("{} differs under the fence", proof.table))
                    .remedy(format!("nothing was changed: see `leadbridge {look}`")));
            }
            tables.push(proof);
            recent.push((table, rows));
        }
        Ok((tables, recent))
    }

    fn sides<'s>(&'s self, landing: &'s Client, traffic: &'s Client) -> FencedSides<'s> {
        FencedSides {
            direction: self.run.direction,
            databases: Databases { landing, traffic, names: self.names() },
        }
    }

    /// Writes the certificate before the comparison that is left until after the decision, and again
    /// afterwards.
    pub async fn certify(&self, proof: Proof, pause: &Pause) -> Result<CutoverCertificate> {
        let [landing, traffic] = self.described().await?;
        let mut certificate = CutoverCertificate {
            id: self.run.id,
            direction: self.run.direction,
            leadbridge_version: env!("CARGO_PKG_VERSION"),
            configuration_sha256: configuration_hash(self.config),
            landing,
            traffic,
            times: self.times().await?,
            write_pause_seconds: pause.write.as_secs_f64(),
            until_decided_seconds: pause.until_decided.as_secs_f64(),
            marker_lsn: proof.marker,
            decided_lsn: proof.position,
            writers: proof.writers,
            complete: proof.snapshots.is_none(),
            tables: proof.tables,
            conversion_notes: self.readiness.conversion_notes,
            traffic_owned: self.readiness.traffic_owned.clone(),
            left_out: self.readiness.left_out.clone(),
            markers_before: self.readiness.latency,
            hook: self.hooked,
        };
        self.write_down(&certificate).await?;
        if let Some([landing, traffic]) = &proof.snapshots {
            tracing::info!("comparing every value of every row, in the state of both sides under the fence");
            for (table, proof) in self.config.tables().into_iter().zip(&mut certificate.tables) {
                self.sides(landing, traffic).prove_whole(table, proof).await?;
            }
            certificate.complete = true;
            self.write_down(&certificate).await?;
        }
        Ok(certificate)
    }

    async fn write_down(&self, certificate: &CutoverCertificate) -> Result<()> {
        let document = serde_json::to_value(certificate).map_err(|error| {
            Error::internal("the certificate cannot be written as JSON").source_error(error)
        })?;
        self.journal.certify(&self.traffic, self.run.id, &document).await
    }

    async fn times(&self) -> Result<Times> {
        let sql = format!(
            "SELECT started_at, fenced_at, drained_at, verified_at, finished_at FROM {} WHERE id = $1",
            self.names().own("cutover")
        );
        let row = during(&self.traffic, READING).row(&sql, &[&self.run.id]).await?;
        let at = |column: usize| row.get::<_, Option<Timestamp>>(column).unwrap_or_default();
        Ok(Times { started: at(0), fenced: at(1), drained: at(2), verified: at(3), decided: at(4) })
    }

    /// Descriptions of Landing and Traffic for the certificate.
    async fn described(&self) -> Result<[CertifiedDatabase; 2]> {
        let of = async |endpoint: &Endpoint, session: &Session| {
            let system_id = primary::system_identifier(endpoint).await?;
            let step = during(session, "asking for the server's version");
            let row = step.row("SELECT current_setting('server_version')", &[]).await?;
            Ok::<_, Error>(CertifiedDatabase::new(endpoint, system_id, row.get(0)))
        };
        Ok([of(&self.config.landing, &self.landing).await?, of(&self.config.traffic, &self.traffic).await?])
    }

    /// Sessions for the comparison after the decision: each sees Landing or Traffic as of now, and keeps the
    /// tables from being rewritten, for the lifetime of the session. `None` when every row was compared
    /// already.
    pub async fn snapshots(&self) -> Result<Option<[Session; 2]>> {
        if self.readiness.whole {
            return Ok(None);
        }
        let tables = self.config.tables();
        let of = async |side: Side| {
            let session = self.endpoint(side).connect("cutover").await?;
            // The tables are read after the decision. A table that was rewritten in between would be empty to
            // the snapshot.
            let on_side = self.databases().on(side);
            let tables: Vec<String> = tables.iter().map(|table| on_side.table(*table)).collect();
            let patience = Some(self.options.lock_timeout);
            let taken = "SELECT pg_current_snapshot()";
            table_lock::open(&session, side, table_lock::ONE_SNAPSHOT, &tables, taken, patience).await?;
            Ok::<_, Error>(session)
        };
        Ok(Some([of(Side::Landing).await?, of(Side::Traffic).await?]))
    }

    /// Undoes the cutover or rollback, and returns `cause` with the outcome. A decision that was made
    /// meanwhile stays.
    pub async fn abort(&mut self, cause: Error) -> Error {
        tracing::warn!("aborting: {}", cause.message());
        let undone = tokio::time::timeout(UNDOING, self.undo(&cause)).await;
        let undone = undone.unwrap_or_else(|_| Err(Error::unreachable("undoing took too long")));
        let (from, to) = self.run.direction.sides();
        let done = self.run.direction.done();
        if self.hooked
            && !undone.as_ref().is_ok_and(|state| *state == done)
            && let Some(command) = &self.options.hook
            && let Err(error) = hook::call(command, Event::Abort, self.run, UNDOING).await
        {
            tracing::error!("{error}; the applications may still be pointed to {to}");
        }
        match undone {
            Ok(state) if state == done => cause.context(format!(
                "DECIDED: leads are written to {to} now, and {from} refuses them; but something failed after that"
            )),
            Ok(_) => cause.context(format!("ABORTED, {from} takes writes and everything is as it was")),
            Err(error) => cause.context(format!(
                "NOT KNOWN to be aborted ({}): {}; see `leadbridge status`",
                error.message(),
                match self.closed {
                    true => "the fence may still be closed; the daemon lifts it as soon as it reaches both databases",
                    false => "no fence was closed",
                }
            )),
        }
    }

    /// Undoes on new connections, because the old connections may have failed.
    async fn undo(&mut self, cause: &Error) -> Result<CutoverStep> {
        loop {
            match self.try_undo(cause).await {
                Ok(Some(state)) => return Ok(state),
                // The fence's transaction is about to end.
                Ok(None) => {}
                Err(error) => tracing::warn!("undoing: {}", error.message()),
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    /// Returns `None` while the fence's transaction is still alive.
    async fn try_undo(&mut self, cause: &Error) -> Result<Option<CutoverStep>> {
        let traffic = self.config.traffic.connect("cutover").await?;
        self.journal.abort(&traffic, self.run.id, &cause.message()).await?;
        let Some(entry) = self.journal.entry(&traffic, self.run.id).await? else {
            // Without a journal entry, at most the slot was created.
            if self.run.direction == Direction::Cutover {
                slot::drop_unused(&traffic, &self.names().reverse_slot()).await?;
            }
            return Ok(Some(CutoverStep::Aborted));
        };
        if entry.state != CutoverStep::Aborted || entry.is_lifted {
            return Ok(Some(entry.state));
        }
        let landing = self.config.landing.connect("cutover").await?;
        let databases = Databases { landing: &landing, traffic: &traffic, names: self.names() };
        if !resolve::open(databases, &entry).await? {
            return Ok(None);
        }
        resolve::announce(&traffic, self.run, CutoverStep::Aborted).await?;
        Ok(Some(CutoverStep::Aborted))
    }
}
