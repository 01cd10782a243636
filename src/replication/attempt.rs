//! One attempt: from two connections to a running stream.

use std::sync::Arc;

use super::intake::StreamSpan;
use super::lease_holder::reported;
use super::liveness::Work;
use super::pipeline::{self, PreparedStream};
use super::{Context, Until, Watched, copy, indexes, last_error, reverse};
use crate::access;
use crate::admission::{Bars, admit_both};
use crate::checkpoint::lease::Lease;
use crate::checkpoint::own_schema::{self, Extent};
use crate::checkpoint::{
    Finish, Identity, Installation, Ledger, Published, Recorded, Start, agree, check_slot, is_switched,
    lease, refuse_switched,
};
use crate::config::Config;
use crate::doctor::{imports, preflight};
use crate::error::{Error, Kind, Result};
use crate::landing::catalog;
use crate::language::message;
use crate::mapping::Passthrough;
use crate::model::change::Position;
use crate::model::lsn::Lsn;
use crate::model::names::Names;
use crate::model::side::Side;
use crate::postgres::timeline::LandingWal;
use crate::postgres::{Database, Databases, Session, primary, slot, wal};
use crate::telemetry::State;
use crate::traffic::{Touch, Writer, WriterSettings};

/// Result of the preparations.
enum Next {
    /// The run has reached its end, or a shutdown was requested.
    End,
    Forward(Box<PreparedStream>),
    Reverse(Box<reverse::PreparedReverse>),
}

/// The two sessions of an attempt.
pub struct AttemptSessions {
    pub control: Session,
    pub traffic: Session,
}

impl AttemptSessions {
    fn databases<'d>(&'d self, names: &'d Names) -> Databases<'d> {
        Databases { landing: &self.control, traffic: &self.traffic, names }
    }
}

/// An attempt that holds the lease.
#[derive(Clone, Copy)]
pub struct Attempt<'a> {
    pub context: &'a Arc<Context>,
    pub sessions: &'a AttemptSessions,
    pub ledger: &'a Ledger,
    pub work: &'a Work,
}

/// State that a run keeps from one attempt to the next.
pub struct Attempts {
    until: Until,
    /// Position at which the run ends, on the named side; `None` until the first attempt has read the
    /// position.
    goal: Option<(Side, Lsn)>,
    reached: bool,
    /// Whether the operator was told of leads that a copy would double.
    told_of_imports: bool,
    resynced: bool,
}

impl Attempts {
    pub fn new(until: Until) -> Self {
        Attempts { until, goal: None, reached: false, told_of_imports: false, resynced: false }
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
                .remedy(message!("replication-remedy-stopped")));
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
        let preparing = Box::pin(self.prepare(context, AttemptSessions { control, traffic }, &work));
        let streamed = match context.liveness.guard(preparing).await? {
            Next::End => return Ok(()),
            Next::Forward(prepared) => {
                context.watch(Some(Watched::Landing(prepared.published.clone())));
                Box::pin(pipeline::run(context, *prepared, &work)).await
            }
            Next::Reverse(prepared) => {
                context.watch(Some(Watched::Traffic(prepared.watched.clone())));
                Box::pin(reverse::run(context, *prepared, &work)).await
            }
        };
        context.watch(None);
        streamed
    }

    /// All steps before the stream.
    async fn prepare(
        &mut self,
        context: &Arc<Context>,
        sessions: AttemptSessions,
        work: &Work,
    ) -> Result<Next> {
        let AttemptSessions { control, traffic } = &sessions;
        let config = &context.config;
        let Some((ledger, wal)) = self.enter(context, &sessions, work).await? else { return Ok(Next::End) };
        let attempt = Attempt { context, sessions: &sessions, ledger: &ledger, work };
        let (start, before) = self.start(attempt, wal).await?;
        let begun = match start {
            Start::Reverse => {
                let goal = self.goal(Side::Traffic, traffic).await?;
                last_error::forget(traffic, config).await?;
                let mut prepared = reverse::prepare(context, sessions, ledger, before.as_ref()).await?;
                prepared.goal = goal;
                return Ok(Next::Reverse(Box::new(prepared)));
            }
            Start::Snapshot { drop_slot } => {
                self.goal(Side::Landing, control).await?;
                let databases = sessions.databases(context.names());
                admit_both(databases, &context.tables, Bars::Replication).await?;
                access::admit(databases, &context.tables, &config.accepted_access).await?;
                self.admit_imports(databases, config).await?;
                copy::run(attempt, drop_slot).await?
            }
            Start::Stream(lsn) => {
                self.goal(Side::Landing, control).await?;
                resume(attempt, lsn, before.as_ref()).await?
            }
        };
        let Some((from, published)) = begun else { return Ok(Next::End) };
        // Checked again, because a copy or a standby's wait may have taken hours.
        admit_both(sessions.databases(context.names()), &context.tables, Bars::Replication).await?;
        if self.until == Until::Resynced {
            self.resynced = true;
            return Ok(Next::End);
        }
        last_error::forget(traffic, config).await?;
        let AttemptSessions { control, traffic } = sessions;
        let writer = stream_writer(context, traffic, &published).await?;
        let span = StreamSpan { from, goal: self.goal.map(|goal| goal.1) };
        Ok(Next::Forward(Box::new(PreparedStream { writer, control, ledger, span, published })))
    }

    /// Takes the lease, after the checks of the installation and of both databases. `None` after a shutdown
    /// was requested.
    async fn enter(
        &mut self,
        context: &Context,
        sessions: &AttemptSessions,
        work: &Work,
    ) -> Result<Option<(Ledger, LandingWal)>> {
        let AttemptSessions { control, traffic } = sessions;
        let config = &context.config;
        // Before any other check: the state of another installation must not be judged by this one.
        Installation::refuse_another(Database::traffic(traffic, context.names()), &config.landing).await?;
        // Before the checks that would report slots and publications missing, because a finish drops both on
        // purpose.
        Finish::refuse(traffic, context.names()).await?;
        // After a finish Landing's tables may be gone.
        context.find_names(control).await?;
        context.liveness.terminate_stale_backends(Side::Traffic, traffic).await?;
        context.liveness.terminate_stale_backends(Side::Landing, control).await?;
        let system_id = primary::system_identifier(&config.landing).await?;
        if self.until != Until::Resynced {
            context.replicated().refuse_daemon(Database::traffic(traffic, context.names())).await?;
        }
        self.examine(context, sessions, work).await?;
        if !self.take_lease(context, traffic).await? {
            return Ok(None);
        }
        // Checked again, because the previous holder of the lease may have been a `finish`.
        Finish::refuse(traffic, context.names()).await?;
        // Sampled under the lease, because no other daemon can then move Traffic's position beyond the
        // sampled WAL position.
        let wal = primary::wal(control, Side::Landing).await?;
        let ledger = Ledger::new(
            context.names(),
            Identity::new(context.names(), &config.landing, system_id),
            wal.timeline,
        );
        Installation::admit(ledger.identity(), Database::traffic(traffic, context.names())).await?;
        Ok(Some((ledger, wal)))
    }

    /// Judges leadbridge's own schema on both sides, and runs `doctor`'s checks, once for each run.
    async fn examine(&mut self, context: &Context, sessions: &AttemptSessions, work: &Work) -> Result<()> {
        if self.reached {
            return Ok(());
        }
        let (config, traffic) = (&context.config, &sessions.traffic);
        let databases = sessions.databases(context.names());
        // Before the first write to a table of the schema, whose triggers would run with our rights.
        tokio::try_join!(own_schema::admit(databases.on(Side::Traffic), Extent::Whole), async {
            own_schema::refuse_foreign_owner(databases.on(Side::Landing)).await?;
            own_schema::admit(databases.on(Side::Landing), Extent::Whole).await
        })?;
        own_schema::refuse_unserved(databases.on(Side::Traffic)).await?;
        // A copy is refused for such a right; a stream goes on, because its end would close nothing.
        for access::ForeignRight { side, what, statement } in
            access::foreign_rights_on_both(databases).await?
        {
            tracing::warn!(remedy = statement, "{side}: {what}, in leadbridge's own schema");
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

    /// Asked in each attempt that copies, because an import may come at any time. Contacts are compared only
    /// once for each run, because the comparison reads every lead of Landing.
    async fn admit_imports(&mut self, databases: Databases<'_>, config: &Config) -> Result<()> {
        let look =
            if self.told_of_imports { imports::Look::SameIds } else { imports::Look::SameIdsAndContacts };
        imports::admit(databases, look, config.same_id).await?;
        self.told_of_imports = true;
        Ok(())
    }

    /// The goal: everything that is committed now on the server that is streamed from. Set once for each run,
    /// and again after a cutover has changed the direction, because positions of two servers cannot be
    /// compared.
    async fn goal(&mut self, side: Side, source: &Session) -> Result<Option<Lsn>> {
        if self.until == Until::CaughtUp && self.goal.as_ref().is_none_or(|goal| goal.0 != side) {
            self.goal = Some((side, wal::committed_so_far(source).await?));
        }
        Ok(self.goal.map(|goal| goal.1))
    }

    async fn take_lease(&self, context: &Context, traffic: &Session) -> Result<bool> {
        let traffic = Database::traffic(traffic, context.names());
        // Waited out like any fault, because the lock may be free again at any moment.
        let waits = |error: Error| match self.until {
            Until::Resynced => error,
            Until::Shutdown | Until::CaughtUp => error.of_kind(Kind::Transient),
        };
        let lease = lease::take_soon(traffic).await.map_err(waits)?;
        if lease.is_taken() {
            return Ok(true);
        }
        if self.until == Until::Resynced {
            return Err(Error::refused(format!("a daemon applies for this slot: {}", lease.holder()))
                .remedy(message!("replication-remedy-daemon-runs")));
        }
        let standing_by = |lease: &Lease| {
            tracing::info!("another daemon applies for this slot: standing by for {}", lease.holder());
            context.telemetry.update(|live| {
                live.state = State::Standby;
                live.lease_holder = lease.other().map(reported);
            });
        };
        let waited = lease::wait(traffic, &context.shutdown, standing_by).await.map_err(waits);
        context.telemetry.update(|live| {
            live.lease_holder = None;
            if matches!(waited, Ok(true)) {
                live.state = State::Starting;
            }
        });
        waited
    }

    /// Also returns the checkpoint's record, from which the run goes on.
    async fn start(&self, attempt: Attempt<'_>, wal: LandingWal) -> Result<(Start, Option<Recorded>)> {
        let Attempt { context, sessions: AttemptSessions { control, traffic }, ledger, .. } = attempt;
        let config = &context.config;
        let slot = slot::read(control, &context.names().slot).await?;
        if self.until == Until::Resynced {
            refuse_switched(traffic, context.names(), message!("replication-remedy-switched")).await?;
            if let Some(slot) = &slot {
                check_slot(ledger.identity(), &slot.position)?;
            }
            // A resync is the way to change what is replicated, also where the record is not understood.
            let recorded = ledger.read(traffic).await.ok().flatten();
            if let Some(change) = recorded.and_then(|recorded| context.replicated().change_since(&recorded)) {
                tracing::warn!("the resync changes what is replicated: {change}");
            }
            return Ok((Start::Snapshot { drop_slot: slot.is_some() }, None));
        }
        let recorded = ledger.read(traffic).await?;
        let timeline = recorded.as_ref().and_then(|recorded| recorded.timeline);
        let wal = primary::with_history(wal, &config.landing, timeline).await?;
        let local = context.store.read()?;
        let slot = slot.map(|slot| slot.position);
        let start = agree(ledger.identity(), &wal, recorded.as_ref(), local.as_ref(), slot.as_ref())?;
        if let (Start::Stream(_) | Start::Reverse, Some(recorded)) = (start, &recorded) {
            context.replicated().check_daemon(recorded)?;
        }
        Ok((start, recorded))
    }
}

/// Continues after the position that Traffic has recorded; `None` after a shutdown was requested.
async fn resume(
    attempt: Attempt<'_>,
    lsn: Lsn,
    recorded: Option<&Recorded>,
) -> Result<Option<(Position, Published)>> {
    let Attempt { context, sessions: AttemptSessions { control, traffic }, ledger, work } = attempt;
    let before = recorded.and_then(|recorded| recorded.published.as_ref());
    let published = still_published(context, control, before).await?;
    if !indexes::complete(context, traffic, work).await? {
        return Ok(None);
    }
    ledger.claim(traffic).await?;
    record_settings(context, traffic, (ledger, recorded)).await?;
    if before != Some(&published) {
        ledger.renew(traffic, &published).await?;
    }
    // Traffic is ahead of the local store when the answer to a commit was lost. The stream acknowledges its
    // start to the slot at once, and the slot must not pass the local store.
    context.store.advance(ledger.identity(), lsn)?;
    let caught_up_at = ledger.caught_up_at(traffic).await?;
    Ok(Some((Position { lsn, commit_time: None, caught_up_at }, published)))
}

/// Records the settings of this run, which [`ReplicatedSettings::check_daemon`] has let pass. The run must have
/// claimed the checkpoint.
///
/// [`ReplicatedSettings::check_daemon`]: crate::checkpoint::ReplicatedSettings::check_daemon
pub(super) async fn record_settings(
    context: &Context,
    traffic: &Session,
    (ledger, recorded): (&Ledger, Option<&Recorded>),
) -> Result<()> {
    let settings = context.replicated();
    match recorded.and_then(|recorded| recorded.settings.as_ref()) {
        Some(known) if *known == settings => Ok(()),
        _ => ledger.record_settings(traffic, &settings).await,
    }
}

/// Writer of a forward stream on Traffic.
async fn stream_writer(context: &Context, traffic: Session, landing: &Published) -> Result<Writer> {
    let config = &context.config;
    let (tables, touch) = (&context.tables, Touch::OnlyChanges);
    let mapping = &landing.mapping();
    let settings = WriterSettings { mapping, tables, touch, on_truncate: config.on_truncate };
    let mut writer = Writer::new(traffic, context.names(), settings).await?;
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
    let (landing, tables) = (Database::landing(control, context.names()), &context.tables);
    let Some(before) = before else {
        tracing::info!("what Landing publishes was not written down before: taken as it is now");
        return catalog::published(landing, tables, &Passthrough::default()).await;
    };
    let now = catalog::published_since(landing, tables, before).await?;
    now.check_successor_of(before)?;
    Ok(now)
}
