//! The cutover, from its beginning to its decision.

use std::time::Instant;

use tokio_postgres::types::{PgLsn, ToSql};

use super::certificate::CutoverCertificate;
use super::journal::CutoverStep;
use super::resolve;
use super::scene::{Pause, Proof, Scene};
use crate::checkpoint::published_on_traffic;
use crate::error::{Error, Result};
use crate::failpoint::{Point, reach};
use crate::fence::{self, HeldFence};
use crate::landing::catalog;
use crate::model::lsn::Lsn;
use crate::model::side::Side;
use crate::postgres::step::during;
use crate::postgres::{primary, slot};
use crate::traffic::since_switch;

const SWITCHING: &str = "switching on Traffic";

/// Traffic's state when the last change from Landing had been applied and no other change could come.
/// Everything that Traffic commits from then on flows back. The state is read before the decision, because
/// writers refused by Landing may write to Traffic before the decision.
struct Handover {
    lsn: Lsn,
    /// A transaction id, as the server's text.
    xid: String,
    /// Storage of Traffic's tables at the same moment, as JSON: see [`since_switch::storage`].
    storage: Option<String>,
    /// What Traffic published before `lsn`, as JSON, so that every later change of the publication is noticed.
    published: String,
}

impl Scene<'_> {
    pub(super) async fn cut_over(&mut self) -> Result<CutoverCertificate> {
        // Read before any writer waits.
        let traffic_id = primary::system_identifier(&self.config.traffic).await?;
        slot::create_without_snapshot(
            self.databases().on(Side::Traffic),
            &self.names().reverse_slot(),
            self.left(),
        )
        .await?;
        reach(Point::CutoverPrepared);
        self.journal.begin(&self.traffic, self.run, self.left()).await?;
        reach(Point::CutoverBegun);
        let held = self.hold(self.left()).await?;
        let proven = tokio::time::timeout(self.budget(&held), self.under_fence(&held)).await;
        match proven.unwrap_or_else(|_| Err(self.too_long())) {
            Ok((proof, handover)) => {
                let pause = self.decide(held, &traffic_id, &handover).await?;
                self.certify(proof, &pause).await
            }
            Err(error) => {
                held.undo().await;
                Err(error)
            }
        }
    }

    /// The steps that run while the fence blocks Landing's writers: write the marker, drain, compare.
    async fn under_fence(&self, held: &HeldFence) -> Result<(Proof, Handover)> {
        let (marker, writers) = self.drain(held, Point::CutoverFenced).await?;
        let handover = self.handover().await?;
        reach(Point::CutoverDrained);
        let (tables, _) = self.prove(held.session()).await?;
        let snapshots = self.snapshots().await?;
        self.reach(CutoverStep::Verified).await?;
        reach(Point::CutoverVerified);
        Ok((Proof { marker, position: handover.lsn, tables, writers, snapshots }, handover))
    }

    async fn handover(&self) -> Result<Handover> {
        let published = self.published_on_traffic().await?;
        // The statement's snapshot is older than its transaction id. So a table rewrite between the two
        // counts as a rewrite after the switch.
        let storage = since_switch::storage(self.names());
        let sql =
            format!("SELECT pg_current_wal_insert_lsn(), pg_current_xact_id()::text, ({storage})::text");
        let row = during(&self.traffic, "reading Traffic's position").row(&sql, &[]).await?;
        Ok(Handover { lsn: row.get::<_, PgLsn>(0).into(), xid: row.get(1), storage: row.get(2), published })
    }

    async fn published_on_traffic(&self) -> Result<String> {
        let (databases, tables) = (self.databases(), self.config.tables());
        let mapping = catalog::mapping(databases, &tables).await?;
        let published = published_on_traffic(databases.on(Side::Traffic), &tables, &mapping).await?;
        published.to_text()
    }

    /// Closes Landing for good, runs the hook, and records that Traffic is the system of record.
    async fn decide(&mut self, held: HeldFence, traffic_id: &str, from: &Handover) -> Result<Pause> {
        // A recent rollback may have left a fence on Traffic. Traffic must not refuse the writers that
        // Landing refuses from now on.
        let traffic = self.databases().on(Side::Traffic);
        for closed in fence::closed(traffic).await? {
            fence::lift(traffic, closed).await?;
        }
        self.closed = true;
        let write_pause = held.commit().await?;
        let closed = Instant::now();
        reach(Point::CutoverClosed);
        let millis = write_pause.as_secs_f64() * 1e3;
        tracing::info!("closed: writers were held for {millis:.0} ms and are refused now");
        self.hook().await?;
        reach(Point::CutoverHooked);
        fence::keep(self.databases().on(Side::Landing), self.run.id).await?;
        reach(Point::CutoverKept);
        self.switch(traffic_id, from).await?;
        reach(Point::CutoverSwitched);
        tracing::info!("switched: Traffic is the system of record");
        Ok(Pause { write: write_pause, until_decided: write_pause + closed.elapsed() })
    }

    /// Records the switch in one transaction on Traffic.
    async fn switch(&mut self, traffic_id: &str, from: &Handover) -> Result<()> {
        let (names, run, journal) = (self.names(), self.run, self.journal.clone());
        let failed = |error| Error::database(SWITCHING, &error);
        let transaction = self.traffic.transaction().await.map_err(failed)?;
        let step = during(transaction.client(), SWITCHING);
        journal.reach(transaction.client(), run.id, CutoverStep::Switched).await?;
        let sql = format!(
            "UPDATE {} SET state = 'switched', updated_at = now() WHERE slot = $1 AND state = 'streaming'",
            names.own("checkpoint")
        );
        if step.run(&sql, &[&names.slot]).await? != 1 {
            let slot = &names.slot;
            return Err(Error::refused(format!(
                "the checkpoint of slot `{slot}` is not `streaming` any more"
            ))
            .remedy("see `leadbridge status`"));
        }
        let sql = format!(
            "INSERT INTO {} AS r (slot, cutover_id, reverse_slot, traffic_system_id, applied_lsn, switch_xid, storage, caught_up_at, published) \
             VALUES ($1, $2, $3, $4, $5, $6::text::xid8, $7::text::jsonb, clock_timestamp(), $8) ON CONFLICT (slot) DO UPDATE \
             SET (cutover_id, reverse_slot, traffic_system_id, applied_lsn, switch_xid, storage, caught_up_at, published, \
                  new_slot_since, new_slot_made_at, updated_at) = \
             (EXCLUDED.cutover_id, EXCLUDED.reverse_slot, EXCLUDED.traffic_system_id, EXCLUDED.applied_lsn, \
              EXCLUDED.switch_xid, EXCLUDED.storage, EXCLUDED.caught_up_at, EXCLUDED.published, NULL, NULL, now())",
            names.own("reverse")
        );
        let position = PgLsn::from(from.lsn);
        let (slot, reverse_slot) = (&names.slot, names.reverse_slot());
        let parameters: [&(dyn ToSql + Sync); 8] =
            [slot, &run.id, &reverse_slot, &traffic_id, &position, &from.xid, &from.storage, &from.published];
        step.run(&sql, &parameters).await?;
        resolve::announce(transaction.client(), run, CutoverStep::Switched).await?;
        transaction.commit().await.map_err(failed)
    }
}
