//! Measures the lag and the other figures that only the databases know, about once a second, and watches for
//! states that must end a stream.

mod sessions;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::liveness::{Answer, Liveness};
use super::{Context, Watched, blocking, liveness, measure, newest_cutover};
use crate::admission::Bars;
use crate::checkpoint::is_switched;
use crate::cutover::journal::{self, CutoverJournal};
use crate::cutover::{aborted, attention, resolve};
use crate::error::{Error, Kind, Response, Result};
use crate::fence;
use crate::model::side::Side;
use crate::postgres::{Backend, Database, Databases, Endpoint, Session};
use crate::quarantine::Quarantine;
use crate::telemetry::{AbortedChange, CertificateEnds, State};
pub(super) use sessions::Sessions;
use sessions::open;

const INTERVAL: Duration = Duration::from_secs(1);
/// Time limit of a round; longer than any sensible connect timeout.
const ROUND_LIMIT: Duration = Duration::from_secs(15);
/// Time limit of one short query, so that several queries fit into the time after which a silent connection
/// is given up.
const ASK_LIMIT: Duration = Duration::from_secs(3);
/// Rounds between two counts of quarantine and conversion notes, because the tables may be large, and between
/// two looks for fences that are over.
const COUNT_EVERY: u32 = 5;
/// Rounds between two log lines about the progress of an initial copy.
const REPORT_EVERY: u32 = 10;
/// Rounds between two looks for states that an operator has to end, which ask both databases several questions.
const ATTENTION_EVERY: u32 = 10;

/// Runs until `stop`. The figures of an unreachable database become unknown; an unreachable database never
/// stops the daemon.
pub async fn watch(context: Arc<Context>, stop: CancellationToken) {
    let mut sessions = Sessions::default();
    let mut round = 0_u32;
    // Each question to a database has a time limit, so a round always ends.
    let heartbeat = context.telemetry.heartbeats().begin("the monitor");
    loop {
        // Both branches may be dropped: a figure that was not measured is measured in the next round.
        tokio::select! {
            () = stop.cancelled() => return,
            () = observe(&context, &mut sessions, round) => {}
        }
        if round.is_multiple_of(REPORT_EVERY) {
            report_snapshot(&context);
        }
        heartbeat.beat();
        round = round.wrapping_add(1);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

/// Logs the progress of an initial copy.
fn report_snapshot(context: &Context) {
    let live = context.telemetry.live();
    if live.state != State::Snapshot || live.snapshot.is_empty() {
        return;
    }
    let (rows, expected) = live.snapshot_rows();
    let per_cent = expected.map(|expected| rows as f64 / (expected.max(1) as f64) * 100.0);
    tracing::info!(
        rows,
        expected,
        per_cent = per_cent.map(f64::round),
        rows_per_second = live.snapshot_rows_per_second.map(f64::round),
        seconds_left = live.snapshot_seconds_left.map(f64::round),
        "copying"
    );
}

async fn observe(context: &Context, sessions: &mut Sessions, round: u32) {
    sessions.renew(round);
    if let Err(error) = in_time(ASK_LIMIT, look_at_direction(context, &mut sessions.traffic)).await {
        tracing::debug!("monitor: {error}");
        sessions.traffic = None;
    }
    let source = context.source();
    let measured = in_time(ROUND_LIMIT, measure::stream(context, sessions, source)).await;
    let answered = measured.is_ok();
    if let Err(error) = measured {
        tracing::debug!("monitor: {error}");
        sessions.landing = None;
        if source == Side::Traffic {
            sessions.traffic = None;
        }
        context.telemetry.update(|live| {
            live.lag_bytes = None;
            live.lag_seconds = None;
        });
    }
    context.telemetry.sample(answered);
    // Runs after the check of the publication, because a replaced table must be reported as replaced,
    // whatever the shape of the new table.
    if let Err(error) = in_time(ROUND_LIMIT, observe_shapes(context, sessions)).await {
        tracing::debug!("monitor: {error}");
        (sessions.landing, sessions.traffic) = (None, None);
    }
    if let Err(error) = in_time(ROUND_LIMIT, observe_fence(context, sessions)).await {
        tracing::debug!("monitor: {error}");
        sessions.landing = None;
    }
    if round.is_multiple_of(COUNT_EVERY)
        && let Err(error) = in_time(ROUND_LIMIT, remove_fences(context, sessions)).await
    {
        tracing::debug!("monitor: {error}");
        (sessions.landing, sessions.traffic) = (None, None);
    }
    if round.is_multiple_of(COUNT_EVERY)
        && let Err(error) = in_time(ROUND_LIMIT, observe_traffic(context, &mut sessions.traffic)).await
    {
        tracing::debug!("monitor: {error}");
        sessions.traffic = None;
    }
    if let Err(error) = in_time(ROUND_LIMIT, observe_cutover(context, sessions)).await {
        tracing::debug!("monitor: {error}");
        // Dropping the session releases the right to resolve the cutover, if this session held the right.
        sessions.traffic = None;
        context.telemetry.update(|live| live.cutover = None);
    }
    if round.is_multiple_of(ATTENTION_EVERY)
        && let Err(error) = in_time(ROUND_LIMIT, observe_attention(context, sessions)).await
    {
        tracing::debug!("monitor: {error}");
        (sessions.landing, sessions.traffic) = (None, None);
        context.telemetry.update(|live| live.attention = None);
    }
    context.telemetry.update(|live| live.certificate_ends = certificate_ends(context));
    if source == Side::Landing && context.cuts().ends(context.progress.standing().applied()) {
        context.telemetry.update(|live| live.last_error = None);
    }
    observe_blockers(context, sessions).await;
    look_after_ours(context, sessions).await;
}

/// Reports who holds locks for which a session of this process waits. Null when a server could not be asked.
async fn observe_blockers(context: &Context, sessions: &mut Sessions) {
    let mut found = Some(Vec::new());
    for (side, session) in [(Side::Landing, &mut sessions.landing), (Side::Traffic, &mut sessions.traffic)] {
        let waiting = context.liveness.waiting(side);
        let Some(ours) = waiting.first() else { continue };
        // Another server of the URL knows nothing of these processes.
        let asked = match session.as_ref().filter(|session| session.backend().is_beside(ours)) {
            Some(session) => in_time(ASK_LIMIT, blocking::sessions(session, side, &waiting)).await.ok(),
            None => None,
        };
        if asked.is_none() {
            *session = None;
        }
        found = found.zip(asked).map(|(found, asked)| [found, asked].concat());
    }
    context.telemetry.update(|live| live.blocked_by = found);
}

/// Reports the step of a running cutover or rollback, and resolves a cutover or rollback whose command has
/// died.
async fn observe_cutover(context: &Context, sessions: &mut Sessions) -> Result<()> {
    let names = context.names();
    let cutovers = CutoverJournal::new(names);
    let traffic = open(&mut sessions.traffic, &context.config.traffic).await?;
    let unresolved = cutovers.unresolved(traffic).await?;
    // A figure alone: whatever keeps it from being read must keep nobody from resolving a cutover.
    let newest = newest_cutover::ask(traffic, names).await.unwrap_or_else(|error| {
        tracing::debug!("monitor: {error}");
        None
    });
    let reached = journal::fenced_step(&unresolved).and_then(|step| State::from_checkpoint(step.as_str()));
    let is_about_one = |state| matches!(state, State::Fenced | State::Drained | State::Verified);
    let is_idle = match context.watched().map(|watched| watched.source()) {
        Some(Side::Traffic) => State::Switched,
        Some(Side::Landing) | None => State::Streaming,
    };
    context.telemetry.update(|live| {
        if live.state == is_idle || is_about_one(live.state) {
            live.state = reached.unwrap_or(is_idle);
        }
        live.cutover = newest;
    });
    if unresolved.is_empty() {
        context.tell(None);
        return Ok(());
    }
    // A running command holds the right to resolve for as long as its session lives.
    if !cutovers.take(traffic).await? {
        return match cutovers.end_overdue(Database::traffic(traffic, names)).await {
            Err(foreign) if foreign.kind() == Kind::Refused => {
                context.tell(Some(&foreign.of_kind(Kind::Transient)));
                Ok(())
            }
            ended => ended,
        };
    }
    context.tell(None);
    let landing = open(&mut sessions.landing, &context.config.landing).await?;
    let settled = resolve::settle(Databases { landing, traffic, names }).await;
    cutovers.give_back(traffic).await?;
    settled
}

/// Reports the states that an operator has to end, and an aborted cutover or rollback. A standby leaves both to the
/// daemon that replicates.
async fn observe_attention(context: &Context, sessions: &mut Sessions) -> Result<()> {
    if context.watched().is_none() {
        context.telemetry.update(|live| live.attention = None);
        return Ok(());
    }
    let names = context.names();
    let landing = open(&mut sessions.landing, &context.config.landing).await?;
    let traffic = open(&mut sessions.traffic, &context.config.traffic).await?;
    let databases = Databases { landing, traffic, names };
    let attention = attention::examine(databases).await?;
    let aborted = aborted::newest(databases.on(Side::Traffic)).await?;
    context.telemetry.update(|live| {
        live.attention = Some(attention);
        live.aborted = aborted.and_then(|run| {
            let at = run.at.in_calendar()?;
            Some(AbortedChange { id: run.id, direction: run.direction, reason: run.reason, at })
        });
    });
    Ok(())
}

fn certificate_ends(context: &Context) -> CertificateEnds {
    let end = |endpoint: &Endpoint| jiff::Timestamp::from_second(endpoint.certificate_end()?).ok();
    CertificateEnds { landing: end(&context.config.landing), traffic: end(&context.config.traffic) }
}

/// Checks while reverse replication runs that the fence around Landing is whole. A damaged fence ends the
/// attempt, because rows may be written on Landing that no other database has.
async fn observe_fence(context: &Context, sessions: &mut Sessions) -> Result<()> {
    if !matches!(context.watched(), Some(Watched::Traffic(_))) {
        return Ok(());
    }
    let names = context.names();
    let landing = Database::landing(open(&mut sessions.landing, &context.config.landing).await?, names);
    match fence::pass::refuse_any_damage(landing).await {
        Err(damage) if damage.response() == Response::AskOperator => {
            context.progress.abandon(damage);
            Ok(())
        }
        checked => checked,
    }
}

/// Removes the triggers of fences that are over. An undecided cutover whose fence has expired cannot switch any
/// more, so nothing depends on its triggers.
async fn remove_fences(context: &Context, sessions: &mut Sessions) -> Result<()> {
    let names = context.names();
    let landing = open(&mut sessions.landing, &context.config.landing).await?;
    fence::sweep(Database::landing(landing, names)).await?;
    let traffic = open(&mut sessions.traffic, &context.config.traffic).await?;
    fence::sweep(Database::traffic(traffic, names)).await
}

/// Looks for a change of direction. A cutover or a rollback changes the direction by the state of the
/// checkpoint alone, and an idle stream does not carry the state.
async fn look_at_direction(context: &Context, session: &mut Option<Session>) -> Result<()> {
    let Some(before) = context.watched() else { return Ok(()) };
    let switched = is_switched(open(session, &context.config.traffic).await?, context.names()).await?;
    // A new attempt may have begun during the query.
    if switched != (before.source() == Side::Traffic) && context.watched().as_ref() == Some(&before) {
        let what = match switched {
            true => "a cutover has switched to Traffic: reverse replication begins",
            false => "the switch to Traffic was undone: the stream from Landing resumes",
        };
        context.turned.store(true, Ordering::Relaxed);
        context.progress.abandon(Error::new(Kind::Transient, what));
    }
    Ok(())
}

/// Asks the servers whether a backend is active for each session with an overdue answer.
async fn look_after_ours(context: &Context, sessions: &mut Sessions) {
    look_after(context, &context.liveness, sessions).await;
    look_after(context, &context.verifying, sessions).await;
}

async fn look_after(context: &Context, liveness: &Liveness, sessions: &mut Sessions) {
    let config = &context.config;
    let sides = [
        (Side::Landing, &config.landing, &mut sessions.landing),
        (Side::Traffic, &config.traffic, &mut sessions.traffic),
    ];
    let mut answers = Vec::new();
    for (side, endpoint, session) in sides {
        let overdue = liveness.overdue(side);
        if overdue.is_empty() {
            continue;
        }
        let asked = in_time(ASK_LIMIT, ask_beside(session, endpoint, &overdue)).await;
        answers.push((
            side,
            asked.unwrap_or_else(|error| {
                tracing::debug!("monitor: {error}");
                *session = None;
                liveness::unanswered(&error)
            }),
        ));
    }
    liveness.judge(&answers);
}

/// Asks the server of the overdue sessions about their backends. Must not ask another server: a URL with
/// several hosts may lead to another server by now. One attempt has opened all the sessions, so the first
/// session's server is the server of all.
async fn ask_beside(
    session: &mut Option<Session>,
    endpoint: &Endpoint,
    overdue: &[Backend],
) -> Result<Answer> {
    let Some(ours) = overdue.first() else { return Ok(Answer::Unknown) };
    if session.as_ref().is_none_or(|session| !session.backend().is_beside(ours)) {
        *session = Some(endpoint.connect_at(&ours.place, "monitor").await?);
    }
    match session {
        Some(session) if session.backend().is_beside(ours) => liveness::ask(session, overdue).await,
        // The address leads to a standby as well as to the sessions' server.
        Some(session) if session.backend().on_standby => Ok(Answer::Unknown),
        // The address leads to another server now: the sessions' server is gone.
        _ => Ok(Answer::Nothing),
    }
}

/// Limits `observing` in time. A connection that hangs is treated as a lost connection: the next round opens
/// a new session.
async fn in_time<T>(limit: Duration, observing: impl Future<Output = Result<T>>) -> Result<T> {
    let late = |_| Error::unreachable("no answer in time");
    tokio::time::timeout(limit, observing).await.map_err(late)?
}

async fn observe_traffic(context: &Context, session: &mut Option<Session>) -> Result<()> {
    let client = open(session, &context.config.traffic).await?;
    let (waiting, notes) = Quarantine::count_beside_notes(client, context.names()).await?;
    context.telemetry.update(|live| {
        live.quarantined = Some(waiting);
        live.conversion_notes = Some(notes);
    });
    Ok(())
}

/// Checks while a stream runs whether the tables of both sides are still admissible; a table that is no longer
/// admissible ends the attempt. A finding is reported in every round as long as the finding holds, because an
/// attempt is notified only while it waits for the stream.
async fn observe_shapes(context: &Context, sessions: &mut Sessions) -> Result<()> {
    let Some(watched) = context.watched() else { return Ok(()) };
    let purpose = if watched.source() == Side::Traffic { Bars::Cutover } else { Bars::Replication };
    let (names, tables) = (context.names(), &context.tables);
    let Sessions { landing, traffic, shapes: [of_landing, of_traffic], .. } = sessions;
    let landing = open(landing, &context.config.landing).await?;
    let traffic = open(traffic, &context.config.traffic).await?;
    let on_landing = of_landing.look(Database::landing(landing, names), tables, purpose).await?;
    let refused = match on_landing {
        Some(refused) => Some(refused),
        None => of_traffic.look(Database::traffic(traffic, names), tables, purpose).await?,
    };
    // A new attempt may have begun during the check, with a check of its own.
    if let Some(cause) = refused.filter(|_| context.watched().as_ref() == Some(&watched)) {
        context.progress.abandon(cause);
    }
    Ok(())
}
