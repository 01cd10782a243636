//! The cutover, from its beginning to its decision.

use std::time::{Duration, Instant};

use tokio_postgres::types::{PgLsn, ToSql};

use super::certificate::CutoverCertificate;
use super::journal::CutoverStep;
use super::resolve;
use super::scene::{Pause, Proof, Scene};
use crate::checkpoint::legacy_names;
use crate::checkpoint::published_on_traffic;
use crate::error::{Error, Kind, Result};
use crate::failpoint::{Point, reach};
use crate::fence::{self, HeldFence};
use crate::landing::catalog;
use crate::language::message;
use crate::model::lsn::Lsn;
use crate::model::side::Side;
use crate::postgres::step::during;
use crate::postgres::{Database, primary, slot, wal};
use crate::traffic::since_switch;

const SWITCHING: &str = "switching on Traffic";

/// Traffic's state from which on everything that Traffic commits flows back. The state is read before the
/// fence, because a transaction may be committed in the WAL and not yet be visible: every transaction that the
/// stream will not send is visible before the comparison.
pub(super) struct Handover {
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
        // Before the journal's entry: an abort drops the slot by its name, because an entry proves that the name
        // was free.
        let (traffic, reverse_slot) = (self.databases().on(Side::Traffic), self.names().reverse_slot());
        slot::refuse_existing(traffic, &reverse_slot).await?;
        self.journal.begin(&self.traffic, self.run, (self.left(), Duration::ZERO)).await?;
        reach(Point::CutoverBegun);
        slot::create_without_snapshot(traffic, &reverse_slot, self.config.slot_failover, self.left()).await?;
        reach(Point::CutoverPrepared);
        let handover = self.handover().await?;
        let held = self.hold(Some(self.left())).await?;
        let proven = tokio::time::timeout(self.budget(&held), self.under_fence(&held, &handover)).await;
        match proven.unwrap_or_else(|_| Err(self.too_long())) {
            Ok(proof) => {
                let pause = self.decide(held, &traffic_id, &handover).await?;
                self.certify(proof, &pause).await
            }
            Err(error) => {
                held.undo(&self.config.landing).await;
                Err(error)
            }
        }
    }

    /// The steps that run while the fence blocks Landing's writers: write the marker, drain, compare.
    async fn under_fence(&self, held: &HeldFence, handover: &Handover) -> Result<Proof> {
        let (marker, writers) = self.drain(held, Point::CutoverFenced).await?;
        reach(Point::CutoverDrained);
        let (tables, _) = self.prove(held.session()).await?;
        let snapshots = self.snapshots().await?;
        self.reach(CutoverStep::Verified).await?;
        reach(Point::CutoverVerified);
        Ok(Proof { marker, position: handover.lsn, tables, writers, snapshots })
    }

    /// Reads the handover, and waits until every transaction before it is visible on Traffic.
    async fn handover(&self) -> Result<Handover> {
        let published = self.published_on_traffic().await?;
        // The statement's snapshot is older than its transaction id. So a table rewrite between the two
        // counts as a rewrite after the switch.
        let storage = since_switch::storage(self.names());
        let sql =
            format!("SELECT pg_current_wal_insert_lsn(), pg_current_xact_id()::text, ({storage})::text");
        let row = during(&self.traffic, "reading Traffic's position").row(&sql, &[]).await?;
        let (lsn, xid, storage) = (row.get::<_, PgLsn>(0).into(), row.get(1), row.get(2));
        let handover = Handover { lsn, xid, storage, published };
        wal::until_over(self.databases().on(Side::Traffic), &handover.xid, self.left()).await?;
        Ok(handover)
    }

    async fn published_on_traffic(&self) -> Result<String> {
        let (databases, tables) = (self.databases(), self.config.tables());
        let mapping = catalog::mapping(databases, &tables).await?;
        let published = published_on_traffic(databases.on(Side::Traffic), &tables, &mapping).await?;
        published.to_text()
    }

    /// Closes Landing for good, runs the hook, and records that Traffic is the system of record.
    async fn decide(&mut self, held: HeldFence, traffic_id: &str, from: &Handover) -> Result<Pause> {
        self.closed = true;
        let write_pause = held.commit().await?;
        let closed = Instant::now();
        reach(Point::CutoverClosed);
        let millis = write_pause.as_secs_f64() * 1e3;
        tracing::info!("closed: writers were held for {millis:.0} ms and are refused now");
        self.hook().await?;
        reach(Point::CutoverHooked);
        fence::keep(self.databases().on(Side::Landing), self.run.id, self.left()).await?;
        reach(Point::CutoverKept);
        let left = self.left();
        let late = |_| {
            Error::new(Kind::Transient, "the switch could not be committed on Traffic before the deadline")
                .remedy(message!("error-remedy-commit-waits"))
        };
        tokio::time::timeout(left, self.switch(traffic_id, from)).await.map_err(late)??;
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
            .remedy(message!("cutover-remedy-see-status")));
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
        // A recent rollback may have left a fence on Traffic. Traffic must not refuse the writers that Landing
        // refuses from now on, and must not take them before the decision.
        fence::lift_all(Database::traffic(transaction.client(), names)).await?;
        let writers = legacy_names::open(Database::traffic(transaction.client(), names)).await?;
        if !writers.is_empty() {
            tracing::info!(roles = writers.join(", "), "old code may write through the legacy names");
        }
        resolve::announce(transaction.client(), run, CutoverStep::Switched).await?;
        transaction.commit().await.map_err(failed)
    }
}
