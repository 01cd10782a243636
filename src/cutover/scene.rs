//! Common parts of a cutover and a rollback: the journal, the deadline, the hook, the proofs, the certificate.

use std::time::{Duration, Instant};

use tokio_postgres::Client;
use uuid::Uuid;

use super::certificate::{CertifiedDatabase, CutoverCertificate, Times, configuration_hash};
use super::content::{FencedSides, TableProof};
use super::hook::{self, Event, Hook};
use super::journal::{CutoverJournal, CutoverRun, CutoverStep, Direction, READING};
use super::marker::{self, MarkerArrival};
use super::readiness::Readiness;
use super::undo::Undoing;
use super::{CutoverOptions, PreparedCutover, adopt};
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::failpoint::{Point, reach};
use crate::fence::{FenceTerms, HeldFence, Tried};
use crate::language::message;
use crate::model::lsn::Lsn;
use crate::model::names::Names;
use crate::model::side::Side;
use crate::model::timestamp::Timestamp;
use crate::postgres::step::during;
use crate::postgres::{Databases, Endpoint, Session, primary, table_lock};

/// A running cutover or rollback.
pub(super) struct Scene<'c> {
    pub config: &'c Config,
    pub options: &'c CutoverOptions,
    pub run: CutoverRun,
    pub readiness: Readiness,
    pub landing: Session,
    pub traffic: Session,
    pub journal: CutoverJournal,
    /// Id of the marker that proves the drain.
    marker: Uuid,
    started: Instant,
    /// Whether the fence may have been committed.
    pub closed: bool,
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
        let (marker, closed) = (Uuid::new_v4(), false);
        Scene { config, options, run, readiness, landing, traffic, journal, marker, started, closed }
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
            .remedy(message!("cutover-remedy-longer-pause"))
    }

    /// Announces the marker of the drain, and takes the fence around the tables of the fenced side.
    pub async fn hold(&self, valid_for: Option<Duration>) -> Result<HeldFence> {
        // Before the fence, because writers wait behind the fence.
        marker::expect(self.databases().on(Side::Traffic), &self.drained_slot(), &[self.marker]).await?;
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
        let slot = self.drained_slot();
        // Under the fence's locks: every change of a writer lies before the marker.
        let marker = marker::write(held.session(), self.marker).await?;
        marker::flush(source).await?;
        // The trial of the fence runs while the marker is on its way.
        let writers = held.prove(&self.readiness.writers).await?;
        let arrival = MarkerArrival { traffic: self.databases().on(Side::Traffic), slot: &slot };
        let marker = arrival.of(marker, self.left()).await?;
        self.reach(CutoverStep::Drained).await?;
        Ok((marker, writers))
    }

    /// The slot whose stream is drained.
    fn drained_slot(&self) -> String {
        match self.run.direction {
            Direction::Cutover => self.names().slot.clone(),
            Direction::Rollback => self.names().reverse_slot(),
        }
    }

    /// Runs the hook. The journal says first that the hook may have pointed applications to the other
    /// database, whatever happens to this process.
    pub async fn hook(&self) -> Result<()> {
        let Some(command) = &self.options.hook else { return Ok(()) };
        self.journal.begin_hook(&self.traffic, self.run.id).await?;
        reach(Point::HookBegun);
        tracing::info!("running the hook");
        let hook = Hook { command, environment: &self.config.hook_environment };
        hook::call(hook, Event::Switch, self.run, self.left()).await?;
        self.journal.end_hook(&self.traffic, self.run.id).await
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
                    .remedy(message!("cutover-remedy-nothing-changed", look = look)));
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
        marker::forget(self.databases().on(Side::Traffic)).await?;
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
            hook: self.options.hook.is_some(),
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

    /// Ends the session on Traffic, and with it the right to decide, for what follows.
    pub async fn end(self) -> Undoing<'c> {
        let Scene { config, options, run, closed, landing, traffic, .. } = self;
        traffic.close().await;
        Undoing { config, run, hook: options.hook.as_deref(), closed, _life: landing }
    }
}
