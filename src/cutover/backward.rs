//! The rollback, from its beginning to its decision: Landing becomes the system of record again, and nothing
//! is lost.
//!
//! A rollback is a cutover with the sides exchanged, and simpler: the journal is on Traffic, and so is the
//! fence, so the commit of the fence's transaction is the decision. Landing, which is closed, is opened after
//! the commit.

use std::time::{Duration, Instant};

use tokio_postgres::types::PgLsn;

use super::adopt::{self, Adoption};
use super::certificate::CutoverCertificate;
use super::journal::CutoverStep;
use super::resolve;
use super::scene::{Pause, Proof, Scene};
use crate::checkpoint::legacy_names;
use crate::error::{Error, Result};
use crate::failpoint::{Point, reach};
use crate::fence::{self, HeldFence};
use crate::language::message;
use crate::model::lsn::Lsn;
use crate::model::side::Side;
use crate::postgres::step::during;
use crate::postgres::triggers::TriggerControl;
use crate::postgres::{Database, Databases, wal};

impl Scene<'_> {
    /// `triggers` keeps Traffic's triggers from stamping rows that the rollback writes on Traffic; `rewrite`
    /// are rows that Landing has to send again.
    pub(super) async fn roll_back(
        &mut self,
        triggers: TriggerControl,
        rewrite: &adopt::Rows,
    ) -> Result<CutoverCertificate> {
        self.journal.begin(&self.traffic, self.run, (self.left(), self.options.refuse_for)).await?;
        reach(Point::RollbackBegun);
        // Traffic refuses writers until Landing takes writes, whatever happens to this process, and then for
        // a time, so that applications that still use Traffic notice the rollback.
        let held = self.hold(None).await?;
        let decided = tokio::time::timeout(self.budget(&held), async {
            let proof = self.under_traffics_fence(&held, triggers, rewrite).await?;
            self.roll_traffic_back(&held, &proof).await.map(|()| proof)
        });
        let proof = match decided.await.unwrap_or_else(|_| Err(self.too_long())) {
            Ok(proof) => proof,
            Err(error) => {
                held.undo(&self.config.traffic).await;
                return Err(error);
            }
        };
        // Writers refused by Traffic after the commit go to Landing, and wait there until Landing is open.
        let session = self.config.landing.connect("fence").await?;
        let landing = Database::landing(&session, self.names());
        if let Err(error) = fence::wait(landing, self.options.lock_timeout).await {
            held.undo(&self.config.traffic).await;
            return Err(error);
        }
        self.closed = true;
        let write_pause = held.commit().await?;
        reach(Point::RollbackDecided);
        fence::open(landing).await?;
        tracing::info!("rolled back: writers were held for {:.0} ms", write_pause.as_secs_f64() * 1e3);
        self.finish(proof, write_pause).await
    }

    /// The steps that run while the fence blocks Traffic's writers: write the marker, drain, adopt rows,
    /// compare.
    async fn under_traffics_fence(
        &self,
        held: &HeldFence,
        triggers: TriggerControl,
        rewrite: &adopt::Rows,
    ) -> Result<Proof> {
        let (marker, writers) = self.drain(held, Point::RollbackFenced).await?;
        reach(Point::RollbackDrained);
        let position = self.resume_from(held).await?;
        let databases = Databases { traffic: held.session(), ..self.databases() };
        // A held row must be noticed before the pause is over, so that its holder can be named.
        let lock_timeout = self.options.lock_timeout.min(self.budget(held) * 3 / 4);
        let adoption = Adoption { databases, tables: self.config.tables(), triggers, lock_timeout };
        adoption.recent(self.readiness.horizon()?).await?;
        let (tables, recent) = self.prove(held.session()).await?;
        adopt::send_again(self.config, rewrite.iter().chain(&recent), lock_timeout).await?;
        fence::pass::refuse_any_damage(self.databases().on(Side::Landing)).await?;
        let snapshots = self.snapshots().await?;
        self.reach(CutoverStep::Verified).await?;
        reach(Point::RollbackVerified);
        Ok(Proof { marker, position, tables, writers, snapshots })
    }

    /// Landing's position from which the stream continues.
    async fn resume_from(&self, held: &HeldFence) -> Result<Lsn> {
        let names = self.names();
        // The daemon advances the slot on Landing, and writes the new position to the checkpoint first. The
        // row lock makes the daemon wait, so the slot cannot pass the position that is read next.
        let sql = format!("SELECT FROM {} WHERE slot = $1 FOR UPDATE", names.own("checkpoint"));
        during(held.session(), "holding the checkpoint on Traffic").rows(&sql, &[&names.slot]).await?;
        wal::committed_so_far(&self.landing).await
    }

    /// Writes the decision in the fence's own transaction, which the caller commits.
    async fn roll_traffic_back(&self, held: &HeldFence, proof: &Proof) -> Result<()> {
        let (names, traffic) = (self.names(), held.session());
        let step = during(traffic, "rolling back on Traffic");
        let now = wal::sample(&self.landing).await?.now;
        self.journal.reach(traffic, self.run.id, CutoverStep::RolledBack).await?;
        // The rollback sets the position on purpose, because a new stream begins there. Everywhere else only
        // the commit of applied changes sets the position.
        let sql = format!(
            "UPDATE {} SET state = 'streaming', applied_lsn = $2, caught_up_at = $3, updated_at = now() \
             WHERE slot = $1 AND state = 'switched'",
            names.own("checkpoint")
        );
        let position = PgLsn::from(proof.position);
        if step.run(&sql, &[&names.slot, &position, &now]).await? != 1 {
            let slot = &names.slot;
            return Err(Error::refused(format!(
                "the checkpoint of slot `{slot}` is not `switched` any more"
            ))
            .remedy(message!("cutover-remedy-see-status")));
        }
        let sql = format!("DELETE FROM {} WHERE slot = $1", names.own("reverse"));
        step.run(&sql, &[&names.slot]).await?;
        legacy_names::close(Database::traffic(traffic, names)).await?;
        resolve::announce(traffic, self.run, CutoverStep::RolledBack).await
    }

    /// Resolves the journal entry, runs the hook and writes the certificate. If the entry cannot be resolved
    /// now, the daemon resolves the entry later.
    async fn finish(&mut self, proof: Proof, write_pause: Duration) -> Result<CutoverCertificate> {
        let decided = Instant::now();
        let entry = self.journal.entry(&self.traffic, self.run.id).await?;
        let entry = entry.ok_or_else(|| Error::internal("the journal has lost this rollback"))?;
        resolve::open(self.databases(), &entry).await?;
        reach(Point::RollbackLifted);
        let pause = Pause { write: write_pause, until_decided: write_pause + decided.elapsed() };
        self.hook().await?;
        self.certify(proof, &pause).await
    }
}
