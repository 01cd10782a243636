//! The rollback, from its beginning to its decision: Landing becomes the system of record again, and nothing
//! is lost.
//!
//! A rollback is a cutover with the sides exchanged, and simpler: the journal is on Traffic, and so is the
//! fence, so the commit of the fence's transaction is the decision. Landing, which is closed, is opened after
//! the commit.

use std::time::{Duration, Instant};

use tokio_postgres::types::PgLsn;

use super::certificate::CutoverCertificate;
use super::journal::{CutoverStep, Direction};
use super::readiness::Readiness;
use super::scene::{Pause, Proof, Scene};
use super::{adopt, marker, resolve};
use crate::error::{Error, Result};
use crate::failpoint::{Point, reach};
use crate::fence::{self, HeldFence};
use crate::model::lsn::Lsn;
use crate::postgres::step::during;
use crate::postgres::triggers::TriggerControl;
use crate::postgres::wal;

pub(super) struct Backward<'c> {
    pub scene: Scene<'c>,
    pub readiness: Readiness,
    /// Keeps Traffic's triggers from stamping rows that the rollback writes on Traffic.
    pub control: TriggerControl,
    /// Rows that Landing has to send again.
    pub rewrite: adopt::Rows,
    /// How long Traffic refuses writers after the decision, so that applications that still use Traffic
    /// notice the rollback.
    pub refuse_for: Duration,
}

impl Backward<'_> {
    pub(super) async fn run(mut self) -> Result<CutoverCertificate> {
        match self.attempt().await {
            Ok(certificate) => Ok(certificate),
            Err(error) => Err(self.scene.abort(error).await),
        }
    }

    async fn attempt(&mut self) -> Result<CutoverCertificate> {
        let scene = &self.scene;
        scene.journal.begin(&scene.traffic, scene.id, Direction::Rollback, scene.left()).await?;
        reach(Point::RollbackBegun);
        let (landing, traffic) = (&scene.config.landing, &scene.config.traffic);
        // The time counts from the taking of the fence, and the fence has to stand at least until the
        // decision was tried.
        let refuse_for = self.refuse_for.max(scene.options.readiness.max_pause);
        let held = scene.hold(traffic, refuse_for).await?;
        let decided = tokio::time::timeout(scene.budget(&held), async {
            let proof = self.behind(&held).await?;
            self.decide(&held, &proof).await.map(|()| proof)
        });
        let proof = match decided.await.unwrap_or_else(|_| Err(scene.too_long())) {
            Ok(proof) => proof,
            Err(error) => {
                held.undo().await;
                return Err(error);
            }
        };
        // Writers refused by Traffic after the commit go to Landing, and wait there until Landing is open.
        let landing = landing.connect("fence").await?;
        let waiting = fence::wait(&landing, scene.names(), scene.options.lock_timeout).await;
        if let Err(error) = waiting {
            held.undo().await;
            return Err(error);
        }
        self.scene.closed = true;
        let write_pause = held.commit().await?;
        reach(Point::RollbackDecided);
        fence::open(&landing, self.scene.names()).await?;
        tracing::info!("rolled back: writers were held for {:.0} ms", write_pause.as_secs_f64() * 1e3);
        self.finish(proof, write_pause).await
    }

    /// The steps that run while the fence blocks Traffic's writers: write the marker, drain, adopt rows,
    /// compare.
    async fn behind(&self, held: &HeldFence) -> Result<Proof> {
        let scene = &self.scene;
        let names = scene.names();
        scene.reach(CutoverStep::Fenced).await?;
        reach(Point::RollbackFenced);
        marker::write(held.session(), scene.id).await?;
        marker::flush(&scene.traffic).await?;
        // The trial of the fence runs while the marker is on its way.
        let writers = held.prove(&self.readiness.writers).await?;
        let marker = scene.drained(&names.reverse_slot()).await?;
        scene.reach(CutoverStep::Drained).await?;
        reach(Point::RollbackDrained);
        let position = self.resume_from(held).await?;
        let horizon = self.readiness.horizon()?;
        adopt::recent(&scene.landing, held.session(), scene.config, self.control, horizon).await?;
        let (tables, recent) = scene.prove(held.session(), &self.readiness).await?;
        adopt::send_again(scene.config, self.rewrite.iter().chain(&recent)).await?;
        let snapshots = scene.snapshots(&self.readiness).await?;
        scene.reach(CutoverStep::Verified).await?;
        reach(Point::RollbackVerified);
        Ok(Proof { marker, position, tables, writers, snapshots })
    }

    /// Landing's position from which the stream continues.
    async fn resume_from(&self, held: &HeldFence) -> Result<Lsn> {
        let names = self.scene.names();
        // The daemon advances the slot on Landing, and writes the new position to the checkpoint first. The
        // row lock makes the daemon wait, so the slot cannot pass the position that is read next.
        let sql = format!("SELECT FROM {} WHERE slot = $1 FOR UPDATE", names.own("checkpoint"));

        during(held.session(), "holding the checkpoint on Traffic").rows(&sql, &[&names.slot]).await?;
        wal::committed_so_far(&self.scene.landing).await
    }

    /// Writes the decision in the fence's own transaction, which the caller commits.
    async fn decide(&self, held: &HeldFence, proof: &Proof) -> Result<()> {
        let scene = &self.scene;
        let names = scene.names();
        let failed = |error| Error::database("rolling back on Traffic", &error);
        let now = wal::sample(&scene.landing).await?.now;
        let traffic = held.session();
        scene.journal.reach(traffic, scene.id, CutoverStep::RolledBack).await?;
        // The rollback sets the position on purpose, because a new stream begins there. Everywhere else only
        // the commit of applied changes sets the position.
        let sql = format!(
            "UPDATE {} SET state = 'streaming', applied_lsn = $2, caught_up_at = $3, updated_at = now() \
             WHERE slot = $1 AND state = 'switched'",
            names.own("checkpoint")
        );
        let position = PgLsn::from(proof.position);
        if traffic.execute(&sql, &[&names.slot, &position, &now]).await.map_err(failed)? != 1 {
            let slot = &names.slot;
            return Err(Error::refused(format!(
                "the checkpoint of slot `{slot}` is not `switched` any more"
            ))
            .remedy("see `leadbridge status`"));
        }
        let sql = format!("DELETE FROM {} WHERE slot = $1", names.own("reverse"));
        traffic.execute(&sql, &[&names.slot]).await.map_err(failed)?;
        resolve::announce(traffic, scene.id, Direction::Rollback, CutoverStep::RolledBack).await
    }

    /// Resolves the journal entry, runs the hook and writes the certificate. If the entry cannot be resolved
    /// now, the daemon resolves the entry later.
    async fn finish(&mut self, proof: Proof, write_pause: Duration) -> Result<CutoverCertificate> {
        let decided = Instant::now();
        let scene = &self.scene;
        let entry = scene.journal.entry(&scene.traffic, scene.id).await?;
        let entry = entry.ok_or_else(|| Error::internal("the journal has lost this rollback"))?;
        resolve::open(&scene.landing, &scene.traffic, scene.names(), &entry).await?;
        reach(Point::RollbackLifted);
        let pause = Pause { write: write_pause, until_decided: write_pause + decided.elapsed() };
        self.scene.hook().await?;
        self.scene.certify(&self.readiness, proof, &pause).await
    }
}
