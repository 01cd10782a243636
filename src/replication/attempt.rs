//! One attempt: from two connections to a running stream.

use std::sync::Arc;
use std::time::Duration;

use super::liveness::Work;
use super::pipeline::{self, PreparedStream};
use super::{Context, Until, Watched, copy, indexes, last_error, reverse};
use crate::admission::{Bars, admit_both};
use crate::checkpoint::{
    Finish, Identity, Installation, Ledger, Published, Start, agree, check_slot, is_switched, lease,
    refuse_switched,
};
use crate::config::Config;
use crate::doctor;
use crate::error::{Error, Kind, Result};
use crate::landing::catalog;
use crate::model::change::Position;
use crate::model::lsn::Lsn;
use crate::model::side::Side;
use crate::postgres::timeline::LandingWal;
use crate::postgres::{Session, primary, slot, wal};
use crate::report::{Finding, Level};
use crate::telemetry::State;
use crate::traffic::{Touch, Writer};

/// Result of the preparations.
enum Next {
    /// The run has reached its end, or a shutdown was requested.
    End,
    Forward(Box<PreparedStream>),
    Reverse(Box<reverse::PreparedReverse>),
}

/// State that a run keeps from one attempt to the next.
pub struct Attempts {
    until: Until,
    /// Position at which the run ends, on the named side; `None` until the first attempt has read the
    /// position.
    goal: Option<(Side, Lsn)>,
    reached: bool,
    resynced: bool,
}

impl Attempts {
    pub fn new(until: Until) -> Self {
        Attempts { until, goal: None, reached: false, resynced: false }
    }

    /// Whether both databases have answered at least once.
    pub fn reached(&self) -> bool {
        self.reached
    }

    /// Result of a run that a shutdown request has ended. An incomplete resync is an error, so that the
    /// command does not report success.
    pub fn stopped(&self) -> Result<()> {
        if self.until == Until::Resynced && !self.resynced {
            return Err(Error::refused("stopped before the snapshot was complete")
                .remedy("run `leadbridge resync` again; a snapshot that had begun is restarted by `leadbridge run`, too"));
        }
        Ok(())
    }

    /// Returns when the run has reached its end, or a shutdown was requested.
    pub async fn attempt(&mut self, context: &Arc<Context>) -> Result<()> {
        let config = &context.config;
        for endpoint in [&config.landing, &config.traffic] {
            endpoint.begin_with_first_host();
        }
        let (traffic, control) =
            tokio::try_join!(config.traffic.connect_to_write("apply"), config.landing.connect("control"))?;
        let work = context.liveness.watch(&[(Side::Traffic, &traffic), (Side::Landing, &control)]);
        // The preparations may be dropped at any point, because no change is in flight before the stream
        // begins.
        let preparing = Box::pin(self.prepare(context, traffic, control, &work));
        let streamed = match context.liveness.guard(preparing).await? {
            Next::End => return Ok(()),
            Next::Forward(prepared) => {
                context.watch(Some(Watched::Landing(prepared.published.clone())));
                Box::pin(pipeline::run(context, *prepared, self.goal.map(|goal| goal.1), &work)).await
            }
            Next::Reverse(prepared) => {
                context.watch(Some(Watched::Traffic));
                reverse::run(context, *prepared, self.goal.map(|goal| goal.1), &work).await
            }
        };
        context.watch(None);
        streamed
    }

    /// All steps before the stream.
    async fn prepare(
        &mut self,
        context: &Arc<Context>,
        traffic: Session,
        control: Session,
        work: &Work,
    ) -> Result<Next> {
        let config = &context.config;
        // Before any other check: the state of another installation must not be judged by this one.
        Installation::refuse_another(&traffic, config, Side::Traffic).await?;
        // Before the checks that would report slots and publications missing, because a finish drops both on
        // purpose.
        Finish::refuse(&traffic, &config.names).await?;
        context.liveness.terminate_stale_backends(Side::Traffic, &traffic).await?;
        context.liveness.terminate_stale_backends(Side::Landing, &control).await?;
        let system_id = primary::system_identifier(&config.landing).await?;
        self.examine(config, &traffic, work).await?;
        if !self.take_lease(context, &traffic).await? {
            return Ok(Next::End);
        }
        // Checked again, because the previous holder of the lease may have been a `finish`.
        Finish::refuse(&traffic, &config.names).await?;
        // Sampled under the lease, because no other daemon can then move Traffic's position beyond the
        // sampled WAL position.
        let wal = primary::wal(&control, Side::Landing).await?;
        let ledger = Ledger::new(&config.names, Identity::new(config, system_id), wal.timeline);
        Installation::admit(ledger.identity(), &traffic, &config.names, Side::Traffic).await?;
        let start = self.start(context, &control, &traffic, &ledger, wal).await?;
        match start {
            (Start::CarryBack, _) => self.set_goal(Side::Traffic, &traffic).await?,
            _ => self.set_goal(Side::Landing, &control).await?,
        }
        let (from, published) = match start {
            (Start::CarryBack, _) => {
                last_error::forget(&traffic, config).await?;
                let prepared = reverse::prepare(context, traffic, control, ledger).await?;
                return Ok(Next::Reverse(Box::new(prepared)));
            }
            (Start::Snapshot { drop_slot }, _) => {
                admit_both(&control, &traffic, &config.names, &context.tables, Bars::Replication).await?;
                let copied = copy::run(context, &control, &traffic, &ledger, drop_slot, work).await?;
                let Some(copied) = copied else { return Ok(Next::End) };
                copied
            }
            (Start::Stream(lsn), before) => {
                let published = still_published(context, &control, before.as_ref()).await?;
                if !indexes::complete(context, &traffic, work).await? {
                    return Ok(Next::End);
                }
                ledger.claim(&traffic).await?;
                if before.as_ref() != Some(&published) {
                    ledger.renew(&traffic, &published).await?;
                }
                // Traffic is ahead of the local store when the answer to a commit was lost. The stream
                // acknowledges its start to the slot at once, and the slot must not pass the local store.
                context.store.advance(ledger.identity(), lsn)?;
                let caught_up_at = ledger.caught_up_at(&traffic).await?;
                (Position { lsn, commit_time: None, caught_up_at }, published)
            }
        };
        // Checked again, because a copy or a standby's wait may have taken hours.
        admit_both(&control, &traffic, &config.names, &context.tables, Bars::Replication).await?;
        if self.until == Until::Resynced {
            self.resynced = true;
            return Ok(Next::End);
        }
        last_error::forget(&traffic, config).await?;
        let writer = stream_writer(context, traffic, &published).await?;
        Ok(Next::Forward(Box::new(PreparedStream { writer, control, ledger, from, published })))
    }

    /// Runs `doctor`'s checks, once for each run.
    async fn examine(&mut self, config: &Config, traffic: &Session, work: &Work) -> Result<()> {
        if self.reached {
            return Ok(());
        }
        work.idle();
        // The checks concern forward replication, so after the switch the checks are skipped. If the state
        // cannot be read, the checks run and report the reason.
        if !is_switched(traffic, &config.names).await.unwrap_or(false) {
            preflight(config).await?;
        }
        work.busy();
        self.reached = true;
        Ok(())
    }

    /// Sets the goal to everything that is committed now on the server that is streamed from. Set once for
    /// each run, and again after a cutover has changed the direction, because positions of two servers cannot
    /// be compared.
    async fn set_goal(&mut self, side: Side, source: &Session) -> Result<()> {
        if self.until == Until::CaughtUp && self.goal.as_ref().is_none_or(|goal| goal.0 != side) {
            self.goal = Some((side, wal::committed_so_far(source).await?));
        }
        Ok(())
    }

    async fn take_lease(&self, context: &Context, traffic: &Session) -> Result<bool> {
        if lease::take_soon(traffic, &context.config.names).await? {
            return Ok(true);
        }
        if self.until == Until::Resynced {
            return Err(Error::refused("a daemon applies for this slot")
                .remedy("stop it, then run `leadbridge resync`"));
        }
        tracing::info!("another daemon applies for this slot: standing by");
        context.telemetry.update(|live| live.state = State::Standby);
        lease::wait(traffic, &context.config.names, &context.shutdown).await
    }

    async fn start(
        &self,
        context: &Context,
        control: &Session,
        traffic: &Session,
        ledger: &Ledger,
        wal: LandingWal,
    ) -> Result<(Start, Option<Published>)> {
        let config = &context.config;
        let slot = slot::read(control, &config.names.slot).await?;
        if self.until == Until::Resynced {
            refuse_switched(
                traffic,
                &config.names,
                "a resync would bring back Landing's older rows: nothing was done",
            )
            .await?;
            if let Some(slot) = &slot {
                check_slot(ledger.identity(), &slot.position)?;
            }
            return Ok((Start::Snapshot { drop_slot: slot.is_some() }, None));
        }
        let recorded = ledger.read(traffic).await?;
        let timeline = recorded.as_ref().and_then(|recorded| recorded.timeline);
        let wal = primary::with_history(wal, &config.landing, timeline).await?;
        let local = context.store.read()?;
        let slot = slot.map(|slot| slot.position);
        let start = agree(ledger.identity(), &wal, recorded.as_ref(), local.as_ref(), slot.as_ref())?;
        Ok((start, recorded.and_then(|recorded| recorded.published)))
    }
}

/// Writer of a forward stream on Traffic.
async fn stream_writer(context: &Context, traffic: Session, landing: &Published) -> Result<Writer> {
    let config = &context.config;
    let (names, tables, touch) = (&config.names, &context.tables, Touch::OnlyChanges);
    let mut writer = Writer::new(traffic, names, landing, tables, touch, config.on_truncate).await?;
    for &table in &context.tables {
        writer.copy_into(table).await?;
    }
    Ok(writer)
}

/// The current state of Landing's publication and tables. An error if the stream may have lacked changes
/// since the state was recorded.
async fn still_published(
    context: &Context,
    control: &Session,
    before: Option<&Published>,
) -> Result<Published> {
    let now = catalog::published(control, &context.config.names, &context.tables).await?;
    match before {
        Some(before) => now.check_successor_of(before)?,
        None => tracing::info!("what Landing publishes was not written down before: taken as it is now"),
    }
    Ok(now)
}

/// Time limit of `doctor`'s checks, after which a connection of the checks counts as dead.
const EXAMINATION: Duration = Duration::from_secs(60);

/// Finds everything that would stop the replication, before anything is changed.
async fn preflight(config: &Config) -> Result<()> {
    let examined = tokio::time::timeout(EXAMINATION, doctor::examine(config)).await;
    let late = |_| Error::unreachable("the examination of both databases got no answer");
    let findings = examined.map_err(late)?.findings;
    // Slot and positions are judged by the attempt, because a resync repairs states that a stream must
    // refuse. The limit on sessions is judged by the connections, because a limit that is high enough for a
    // stream may be too low for a copy, and a refused connection is retried.
    let ours = |check: &str| matches!(check, "slot" | "positions" | "connection_limit");
    let stops = |finding: &&Finding| finding.level == Level::Error && !ours(finding.check);
    let errors: Vec<_> = findings.iter().filter(stops).collect();
    // A connection that broke during the checks says nothing about the databases: the attempt is retried.
    let passes = |finding: &&Finding| matches!(finding.hindrance, Some(Kind::Unreachable | Kind::Transient));
    let lasting = errors.iter().find(|finding| !passes(finding));
    let Some(first) = lasting.or(errors.first()) else { return Ok(()) };
    let side = first.side.map(|side| format!("{side}: ")).unwrap_or_default();
    let more = match errors.len() {
        1 => String::new(),
        count => format!(" (and {} more: see `leadbridge doctor`)", count - 1),
    };
    let kind = first.hindrance.filter(|_| passes(first)).unwrap_or(Kind::Refused);
    let error = Error::new(kind, format!("{side}{}{more}", first.message));
    Err(match &first.remedy {
        Some(remedy) => error.remedy(remedy),
        None => error,
    })
}
