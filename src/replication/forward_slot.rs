//! Landing's own slot during reverse replication: moved along, kept in use, and made again when lost.
//!
//! A new slot after the switch is safe while Landing is fenced, because before the slot's position leadbridge
//! alone has written to Landing's tables. The order lets a crash at any moment leave a state from which the
//! next start goes on: intent on Traffic, slot on Landing, position on Traffic together with the end of the
//! intent, local store.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_postgres::types::PgLsn;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Context;
use super::follow::PAUSE;
use super::liveness::Work;
use crate::checkpoint::{Ledger, LocalPosition};
use crate::error::{Error, Kind, Result};
use crate::failpoint::{Point, reach};
use crate::fence::pass as fence;
use crate::language::message;
use crate::model::lsn::Lsn;
use crate::model::side::Side;
use crate::postgres::slot::{self, NewSlot};
use crate::postgres::step::during;
use crate::postgres::{Database, Session};

/// Interval of the look at the slot and at `idle_replication_slot_timeout` while Traffic is quiet.
const IDLE: Duration = Duration::from_secs(10);

/// Time for a creation to give up at the end of the attempt.
const GIVING_UP: Duration = Duration::from_secs(3);

/// State of Landing's slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SlotHealth {
    Usable,
    /// Gone, or lost its WAL; or a new slot is intended, and its position not recorded.
    Lost,
    /// Another program's slot has the name.
    Foreign,
}

/// The slot on Landing, as the follower of reverse replication sees it.
pub(super) struct ForwardSlot {
    pub context: Arc<Context>,
    pub ledger: Ledger,
    /// The cutover whose fence stands around Landing.
    pub cutover: Uuid,
    /// Whether Traffic has recorded the intent of a new slot.
    pub is_intended: bool,
    session: Option<(Session, Work)>,
    complaint: Option<String>,
    /// Time without a move after which the slot is looked at again.
    pub idle_for: Duration,
}

impl ForwardSlot {
    pub fn new(context: Arc<Context>, ledger: Ledger, cutover: Uuid, is_intended: bool) -> Self {
        ForwardSlot { context, ledger, cutover, is_intended, session: None, complaint: None, idle_for: PAUSE }
    }

    /// Moves the slot to `to`; `None` keeps the slot in use where it is. Makes a new slot in place of a lost
    /// one, until the channel `positions` closes. What cannot be done is reported once and retried, because
    /// only a rollback needs the slot.
    ///
    /// # Errors
    /// The local store cannot be written.
    pub async fn follow(
        &mut self,
        to: Option<Lsn>,
        local: &LocalPosition,
        positions: &watch::Receiver<Lsn>,
    ) -> Result<()> {
        let context = Arc::clone(&self.context);
        // A half-open connection must not delay the end of the attempt.
        let health = context.liveness.guard(self.look(to)).await;
        let made = match health {
            Ok(SlotHealth::Usable) => return self.is_well(),
            Ok(SlotHealth::Foreign) => Err(foreign(&context.names().slot)),
            Ok(SlotHealth::Lost) => self.make_until_closed(positions).await,
            Err(error) => Err(error),
        };
        match made {
            Ok(at) => local.advance(at).await.and_then(|()| self.is_well()),
            Err(error) => {
                self.session = None;
                self.complain(&error);
                Ok(())
            }
        }
    }

    fn is_well(&mut self) -> Result<()> {
        self.complaint = None;
        Ok(())
    }

    fn complain(&mut self, error: &Error) {
        let why = error.to_string();
        if self.complaint.as_ref() != Some(&why) {
            tracing::warn!("Landing's slot is not moved along, and a rollback will need it: {why}");
            self.complaint = Some(why);
        }
    }

    async fn open(&mut self) -> Result<&mut (Session, Work)> {
        let context = &self.context;
        Ok(match &mut self.session {
            Some(open) => open,
            none => {
                let session = context.config.landing.connect("slot").await?;
                let work = context.liveness.watch(&[(Side::Landing, &session)]);
                none.insert((session, work))
            }
        })
    }

    async fn look(&mut self, to: Option<Lsn>) -> Result<SlotHealth> {
        let (name, is_intended) = (self.context.names().slot.clone(), self.is_intended);
        let (session, work) = self.open().await?;
        work.busy();
        let health = match slot::read(session, &name).await? {
            Some(slot) if !slot.is_ours => SlotHealth::Foreign,
            Some(slot) if !is_intended && slot.position.wal_status.as_deref() != Some("lost") => {
                SlotHealth::Usable
            }
            _ => SlotHealth::Lost,
        };
        let idle_for = match (health, to) {
            (SlotHealth::Usable, Some(to)) => {
                advance(session, &name, to).await?;
                None
            }
            (SlotHealth::Usable, None) => Some(keep_active(session, &name).await?),
            (SlotHealth::Lost | SlotHealth::Foreign, _) => None,
        };
        work.idle();
        if let Some(idle_for) = idle_for {
            self.idle_for = idle_for;
        }
        Ok(health)
    }

    /// Makes the slot; gives up when the channel closes, because the attempt ends then.
    async fn make_until_closed(&mut self, positions: &watch::Receiver<Lsn>) -> Result<Lsn> {
        let (stop, mut closing) = (self.context.shutdown.child_token(), positions.clone());
        let mut making = std::pin::pin!(self.make(stop.clone()));
        let closed = async { drop(closing.wait_for(|_| false).await) };
        tokio::select! {
            made = &mut making => return made,
            () = closed => {}
        }
        // The creation gives up by itself, and so leaves no walsender behind that waits on.
        stop.cancel();
        let late = |_| Err(Error::unreachable("the creation of the slot did not give up in time"));
        tokio::time::timeout(GIVING_UP, making).await.unwrap_or_else(late)
    }

    async fn make(&mut self, stop: CancellationToken) -> Result<Lsn> {
        let context = Arc::clone(&self.context);
        let (names, config) = (context.names(), &context.config);
        let (name, cutover) = (&names.slot, self.cutover);
        let traffic = config.traffic.connect("slot").await?;
        let ledger = self.ledger.clone();
        let (session, _) = self.open().await?;
        check_fence(Database::landing(session, names), cutover).await?;
        ledger.intend_slot(&traffic).await?;
        self.is_intended = true;
        reach(Point::NewSlotIntended);
        let (session, _) = self.open().await?;
        let at = match slot::read(session, name).await? {
            Some(slot) if !slot.is_ours => return Err(foreign(name)),
            // An earlier creation may still wait, in a walsender that has not noticed the end of its client.
            Some(slot) if slot.active => return Err(in_use(name)),
            // A creation that a crash cut off before its position was recorded.
            Some(slot) if slot.position.wal_status.as_deref() != Some("lost") => {
                slot.position.confirmed_flush
            }
            found => {
                if found.is_some() && !drop_lost(session, name).await? {
                    return Err(in_use(name));
                }
                let new = NewSlot {
                    endpoint: &config.landing,
                    name,
                    failover: config.slot_failover,
                    timeout: config.slot_creation_timeout,
                };
                let created = slot::create(&new, session, &ledger.primary(), &stop).await?;
                let at = created.consistent_point;
                created.release();
                at
            }
        };
        reach(Point::NewSlotCreated);
        // If the fence stands now, the fence stood at the slot's position.
        check_fence(Database::landing(session, names), cutover).await?;
        ledger.record_slot(&traffic, at).await?;
        self.is_intended = false;
        reach(Point::NewSlotRecorded);
        traffic.close().await;
        tracing::warn!(
            "a new slot `{name}` on Landing, at {at}: the earlier slot was dropped or had lost its WAL; Landing is \
             fenced, so that no change is missing, and a rollback can use the new slot"
        );
        Ok(at)
    }
}

async fn check_fence(landing: Database<'_>, cutover: Uuid) -> Result<()> {
    if fence::stands(landing, cutover).await? {
        return Ok(());
    }
    Err(Error::new(Kind::Transient, "the fence around Landing's tables was lifted: no new slot is made"))
}

fn foreign(name: &str) -> Error {
    Error::refused(format!("the slot `{name}` on Landing is not leadbridge's, and is left alone"))
        .remedy(message!("error-remedy-forward-slot-foreign"))
}

fn in_use(name: &str) -> Error {
    Error::new(Kind::Transient, format!("the slot `{name}` on Landing is to be made again, and is in use"))
}

/// Drops the slot if it is leadbridge's, lost, and not in use. Returns whether no slot has the name any more.
async fn drop_lost(session: &Session, name: &str) -> Result<bool> {
    let step = during(session, format!("dropping the lost slot `{name}` on Landing"));
    let sql = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name::text = $1 \
               AND NOT active AND wal_status = 'lost' AND plugin = 'pgoutput' AND database = current_database()";
    step.run(sql, &[&name]).await?;
    let sql = "SELECT NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name::text = $1)";
    Ok(step.row(sql, &[&name]).await?.get(0))
}

async fn advance(session: &Session, name: &str, to: Lsn) -> Result<()> {
    let sql = "SELECT CASE WHEN confirmed_flush_lsn < $2 THEN pg_replication_slot_advance(slot_name, $2) END \
               FROM pg_replication_slots WHERE slot_name::text = $1 AND wal_status IS DISTINCT FROM 'lost'";
    let step = during(session, "moving Landing's slot along");
    step.row_if_any(sql, &[&name, &PgLsn::from(to)]).await.map(drop)
}

/// Keeps the slot in use while Traffic is quiet, because PostgreSQL 18 and later invalidate a slot that was
/// unused for `idle_replication_slot_timeout`. A move to the slot's current position counts as use. Returns
/// the time until the next look.
async fn keep_active(session: &Session, name: &str) -> Result<Duration> {
    let step = during(session, "keeping Landing's slot active");
    // The unit of the setting is seconds.
    let sql = "SELECT setting::float8 FROM pg_settings WHERE name = 'idle_replication_slot_timeout'";
    let timeout = step.row_if_any(sql, &[]).await?;
    let timeout = timeout.map(|row| row.get::<_, f64>(0)).filter(|seconds| *seconds > 0.0);
    let Some(timeout) = timeout else { return Ok(IDLE) };
    let sql = "SELECT pg_replication_slot_advance(slot_name, confirmed_flush_lsn) FROM pg_replication_slots \
               WHERE slot_name::text = $1 AND NOT active AND wal_status IS DISTINCT FROM 'lost'";
    step.row_if_any(sql, &[&name]).await?;
    Ok((Duration::from_secs_f64(timeout) / 3).min(IDLE))
}
