//! Common parts of a cutover and a rollback: the journal, the deadline, the hook, and undoing from any step.

use std::time::{Duration, Instant};

use tokio_postgres::Client;
use uuid::Uuid;

use super::certificate::{CertifiedDatabase, CutoverCertificate, Times, configuration_hash};
use super::content::{FencedSides, TableProof};
use super::hook::{self, Event};
use super::journal::{CutoverJournal, CutoverStep, Direction};
use super::readiness::Readiness;
use super::{CutoverOptions, adopt, marker, resolve, reverse_slot};
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::fence::roles::Tried;
use crate::fence::{self, HeldFence};
use crate::model::change::Table;
use crate::model::lsn::Lsn;
use crate::model::names::Names;
use crate::model::timestamp::Timestamp;
use crate::postgres::{Databases, Endpoint, Session, slot, table_lock};

/// Time for which the command tries to undo its changes, before the command leaves the rest to the daemon.
const UNDOING: Duration = Duration::from_secs(20);

/// A running cutover or rollback.
pub(super) struct Scene<'c> {
    pub config: &'c Config,
    pub options: &'c CutoverOptions,
    pub direction: Direction,
    pub landing: Session,
    pub traffic: Session,
    pub journal: CutoverJournal,
    pub id: Uuid,
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
    pub fn new(
        config: &'c Config,
        options: &'c CutoverOptions,
        direction: Direction,
        landing: Session,
        traffic: Session,
    ) -> Self {
        let (journal, id) = (CutoverJournal::new(&config.names), Uuid::new_v4());
        let started = Instant::now();
        let (closed, hooked) = (false, false);
        Scene { config, options, direction, landing, traffic, journal, id, started, closed, hooked }
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

    /// Takes the fence around the tables of `fenced`.
    pub async fn hold(&self, fenced: &Endpoint, valid_for: Duration) -> Result<HeldFence> {
        tracing::info!(id = %self.id, "closing the fence");
        let session = fenced.connect("fence").await?;
        let terms = fence::FenceTerms {
            cutover: self.id,
            message: self.config.fence_message.clone(),
            with_notifications: self.config.scheduled_notifications,
            lock_timeout: self.options.lock_timeout,
            idle_limit: self.options.readiness.max_pause,
            valid_for,
        };
        fence::hold(session, self.names(), &terms, self.left()).await
    }

    /// Time for which writers may still be made to wait.
    pub fn budget(&self, held: &HeldFence) -> Duration {
        self.options.readiness.max_pause.saturating_sub(held.elapsed())
    }

    pub async fn reach(&self, step: CutoverStep) -> Result<()> {
        self.journal.reach(&self.traffic, self.id, step).await
    }

    /// Waits until our marker has come through the stream of `slot`.
    pub async fn drained(&self, slot: &str) -> Result<Lsn> {
        marker::arrival(&self.traffic, self.names(), slot, self.id, self.left()).await
    }

    pub async fn hook(&mut self) -> Result<()> {
        let Some(command) = &self.options.hook else { return Ok(()) };
        self.hooked = true;
        tracing::info!("running the hook");
        hook::run(command, Event::Switch, self.direction, self.id, self.left()).await
    }

    /// Compares both sides, and reads the fenced side in the session `fenced`. Also returns the rows that
    /// were written since the comparison before the fence.
    ///
    /// # Errors
    /// Refused when a row differs.
    pub async fn prove(
        &self,
        fenced: &Client,
        readiness: &Readiness,
    ) -> Result<(Vec<TableProof>, adopt::Rows)> {
        let sides = match self.direction {
            Direction::Cutover => self.sides(fenced, &self.traffic),
            Direction::Rollback => self.sides(&self.landing, fenced),
        };
        let (mut tables, mut recent) = (Vec::new(), adopt::Rows::new());
        for table in self.config.tables() {
            let (proof, rows) = sides.prove(table, readiness.horizon()?, readiness.whole).await?;
            if !proof.is_equal() {
                let look = match self.direction {
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
            direction: self.direction,
            databases: Databases { landing, traffic, names: self.names() },
        }
    }

    /// Writes the certificate before the comparison that is left until after the decision, and again
    /// afterwards.
    pub async fn certify(
        &self,
        readiness: &Readiness,
        proof: Proof,
        pause: &Pause,
    ) -> Result<CutoverCertificate> {
        let [landing, traffic] = self.databases().await?;
        let mut certificate = CutoverCertificate {
            id: self.id,
            direction: self.direction,
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
            conversion_notes: readiness.conversion_notes,
            traffic_owned: readiness.traffic_owned.clone(),
            markers_before: readiness.latency,
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

    /// Descriptions of Landing and Traffic for the certificate.
    async fn databases(&self) -> Result<[CertifiedDatabase; 2]> {
        let of = async |endpoint: &Endpoint, session: &Session| {
            let system_id = slot::system_identifier(endpoint).await?;
            let row = session.query_one("SELECT current_setting('server_version')", &[]).await;
            let row = row.map_err(|error| Error::database("asking for the server's version", &error))?;
            Ok::<_, Error>(CertifiedDatabase::new(endpoint, system_id, row.get(0)))
        };
        Ok([of(&self.config.landing, &self.landing).await?, of(&self.config.traffic, &self.traffic).await?])
    }

    /// Sessions for the comparison after the decision: each sees Landing or Traffic as of now, and keeps the
    /// tables from being rewritten, for the lifetime of the session. `None` when every row was compared
    /// already.
    pub async fn snapshots(&self, readiness: &Readiness) -> Result<Option<[Session; 2]>> {
        if readiness.whole {
            return Ok(None);
        }
        let tables = self.config.tables();
        let of = async |endpoint: &Endpoint, name: &dyn Fn(Table) -> String| {
            let session = endpoint.connect("cutover").await?;
            // The tables are read after the decision. A table that was rewritten in between would be empty to
            // the snapshot.
            let tables: Vec<String> = tables.iter().map(|table| name(*table)).collect();
            let (side, patience) = (endpoint.side(), Some(self.options.lock_timeout));
            let taken = "SELECT pg_current_snapshot()";
            table_lock::open(&session, side, table_lock::ONE_SNAPSHOT, &tables, taken, patience).await?;
            Ok::<_, Error>(session)
        };
        let names = self.names();
        let landing = of(&self.config.landing, &|table| names.landing_table(table)).await?;
        let traffic = of(&self.config.traffic, &|table| names.traffic_table(table)).await?;
        Ok(Some([landing, traffic]))
    }

    /// Undoes the cutover or rollback, and returns `cause` with the outcome. A decision that was made
    /// meanwhile stays.
    pub async fn abort(&mut self, cause: Error) -> Error {
        tracing::warn!("aborting: {}", cause.message());
        let undone = tokio::time::timeout(UNDOING, self.undo(&cause)).await;
        let undone = undone.unwrap_or_else(|_| Err(Error::unreachable("undoing took too long")));
        let (from, to) = self.direction.sides();
        let done = self.direction.done();
        if self.hooked
            && !undone.as_ref().is_ok_and(|state| *state == done)
            && let Some(command) = &self.options.hook
            && let Err(error) = hook::run(command, Event::Abort, self.direction, self.id, UNDOING).await
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
        self.journal.abort(&traffic, self.id, &cause.message()).await?;
        let Some(entry) = self.journal.entry(&traffic, self.id).await? else {
            // Without a journal entry, at most the slot was created.
            if self.direction == Direction::Cutover {
                reverse_slot::drop_unused(&traffic, self.names()).await?;
            }
            return Ok(Some(CutoverStep::Aborted));
        };
        if entry.state != CutoverStep::Aborted || entry.is_lifted {
            return Ok(Some(entry.state));
        }
        let landing = self.config.landing.connect("cutover").await?;
        if !resolve::open(&landing, &traffic, self.names(), &entry).await? {
            return Ok(None);
        }
        resolve::announce(&traffic, self.id, self.direction, CutoverStep::Aborted).await?;
        Ok(Some(CutoverStep::Aborted))
    }
}
