//! Connections that die silently: a firewall that forgot them, a proxy whose other side is gone.
//!
//! TCP's own limits do not see a peer that a proxy answers for, and a statement has no limit in time: it may wait
//! for somebody's lock for as long as that takes. So, when an answer is long in coming, another connection asks the
//! server whether anybody works for us. Where nobody does, nobody is going to answer, and the attempt is given up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio_postgres::Client;

use crate::change::SourcedChange;
use crate::database::replication::{Feed, Pulse};
use crate::database::{Backend, Session, Side};
use crate::error::{Error, Kind, Result};

/// How long a watched may be silent, and how many looks in a row must agree: a process that was stopped for a while
/// has looked once only.
const SILENCE: Duration = Duration::from_secs(8);
const LOOKS: u32 = 3;
/// The slowest network that is still one: what is on its way to a server at this many bytes a second is not late.
const SLOWEST: usize = 16 << 10;
/// What the earlier run of a session is given to end, in milliseconds.
const END_LIMIT: i64 = 2_000;

/// The sessions that this process waits for, by watched.
#[derive(Debug, Default)]
pub struct Liveness {
    state: Mutex<Watch>,
    silent: Notify,
}

#[derive(Debug, Default)]
struct Watch {
    watched: BTreeMap<u64, WatchedSessions>,
    numbers_given: u64,
    /// Of watched that have ended: the servers may not have noticed.
    stale: Vec<(Side, Backend)>,
}

/// Sessions that take turns at one piece of work: while it is not at rest, one of them is waited for.
#[derive(Debug)]
struct WatchedSessions {
    members: Vec<(Side, Backend)>,
    /// Raised whenever something is known to have moved.
    turn: u64,
    /// How long this turn may be silent.
    patience: Duration,
    is_idle: bool,
    /// Of a stream: what arrives on it is the turn.
    pulse: Option<Arc<Pulse>>,
    seen: Option<Silence>,
}

/// What the last looks found: the same turn, and nobody who had done anything since.
#[derive(Debug)]
struct Silence {
    turn: u64,
    marks: Vec<String>,
    since: Instant,
    looks: u32,
}

/// A watched's place among those that are looked after, until it is dropped.
#[derive(Debug)]
pub struct Work {
    liveness: Arc<Liveness>,
    number: u64,
}

impl Work {
    /// Begins to wait for the databases, or goes on: something was achieved.
    pub fn busy(&self) {
        self.turn(false, 0);
    }

    /// The same with so many bytes to be sent: a server at which they have not arrived does not work yet.
    pub fn busy_sending(&self, changes: &[SourcedChange]) {
        self.turn(false, changes.iter().map(|change| change.change.size()).sum());
    }

    /// Waits for something else than these sessions.
    pub fn idle(&self) {
        self.turn(true, 0);
    }

    fn turn(&self, is_idle: bool, bytes: usize) {
        if let Some(watched) = self.liveness.state().watched.get_mut(&self.number) {
            watched.turn += 1;
            watched.is_idle = is_idle;
            watched.patience = SILENCE + Duration::from_secs((bytes / SLOWEST) as u64);
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let mut state = self.liveness.state();
        if let Some(watched) = state.watched.remove(&self.number) {
            state.stale.extend(watched.members);
        }
    }
}

/// What a server says of some of our sessions.
#[derive(Debug)]
pub enum Answer {
    /// Of each that is there: its process id, whether it works, and when that last changed.
    Seen(Vec<(i32, bool, String)>),
    /// It answers, but not this: nobody is given up for that.
    Unknown,
    /// It does not answer.
    Nothing,
}

impl Liveness {
    /// Looks after sessions from now on; their work has begun.
    pub fn watch(self: &Arc<Self>, sessions: &[(Side, &Session)]) -> Work {
        self.hire(sessions.iter().map(|(side, session)| (*side, session.backend().clone())).collect(), None)
    }

    /// Looks after a stream, which asks its server to answer when it has been silent for long.
    pub fn watch_stream(self: &Arc<Self>, side: Side, feed: &Feed) -> Work {
        self.hire(vec![(side, feed.backend().clone())], Some(Arc::clone(feed.pulse())))
    }

    fn hire(self: &Arc<Self>, members: Vec<(Side, Backend)>, pulse: Option<Arc<Pulse>>) -> Work {
        let mut state = self.state();
        state.numbers_given += 1;
        let number = state.numbers_given;
        let watched =
            WatchedSessions { members, turn: 0, patience: SILENCE, is_idle: false, pulse, seen: None };
        state.watched.insert(number, watched);
        Work { liveness: Arc::clone(self), number }
    }

    /// Does `work`, unless a connection dies silently meanwhile.
    pub async fn guard<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let silent = self.silent.notified();
        tokio::select! {
            done = work => done,
            () = silent => Err(Error::unreachable(format!(
                "a connection has died silently: no answer for {} s or more, and no server works on one",
                SILENCE.as_secs()
            ))),
        }
    }

    /// Ends what earlier attempts of this process have left behind on a server that has not noticed their end: it
    /// holds the lease, or locks.
    pub async fn terminate_stale_backends(&self, side: Side, client: &Client) -> Result<()> {
        let stale: Vec<_> = self.state().stale.iter().filter(|member| member.0 == side).cloned().collect();
        if stale.is_empty() {
            return Ok(());
        }
        let (pids, started) = columns(stale.iter().map(|member| &member.1));
        let sql = "SELECT pg_terminate_backend(a.pid, $3) FROM pg_stat_activity AS a \
                   JOIN unnest($1::int4[], $2::text[]) AS ours (pid, started) \
                   ON a.pid = ours.pid AND a.backend_start = ours.started::timestamptz";
        let step = "ending earlier sessions of ours";
        let ended = client.query(sql, &[&pids, &started, &END_LIMIT]).await;
        let ended = ended.map_err(|error| Error::database(step, &error))?.len();
        if ended > 0 {
            tracing::info!(%side, ended, "{step} that the server had not noticed the end of");
        }
        self.state().stale.retain(|member| !stale.contains(member));
        Ok(())
    }

    /// The sessions of `side` to ask after: of watched that are still at the turn they were at in the last look.
    pub fn overdue(&self, side: Side) -> Vec<Backend> {
        let state = self.state();
        let watched = state.watched.values().filter(|watched| watched.is_overdue());
        let members = watched.flat_map(|watched| &watched.members).filter(|member| member.0 == side);
        members.map(|member| member.1.clone()).collect()
    }

    /// Takes in what the servers said, once in each of the monitor's rounds.
    pub fn judge(&self, answers: &[(Side, Answer)]) {
        let mut silent = false;
        for watched in self.state().watched.values_mut() {
            silent |= watched.judge(answers);
        }
        if silent {
            self.silent.notify_waiters();
        }
    }

    /// Nobody leaves it half changed: after a panic elsewhere it is as good as before.
    fn state(&self) -> MutexGuard<'_, Watch> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WatchedSessions {
    fn turn(&self) -> u64 {
        self.pulse.as_ref().map_or(self.turn, |pulse| pulse.arrivals())
    }

    fn is_at_rest(&self) -> bool {
        self.pulse.as_ref().map_or(self.is_idle, |pulse| pulse.is_full())
    }

    fn is_overdue(&self) -> bool {
        !self.is_at_rest() && self.seen.as_ref().is_some_and(|seen| seen.turn == self.turn())
    }

    /// Returns whether it has been silent for too long.
    fn judge(&mut self, answers: &[(Side, Answer)]) -> bool {
        let overdue = self.is_overdue();
        let mut marks = Vec::new();
        let mut works = false;
        for (side, backend) in self.members.iter().filter(|_| overdue) {
            match answers.iter().find(|answer| answer.0 == *side).map(|answer| &answer.1) {
                Some(Answer::Seen(seen)) => {
                    let found = seen.iter().find(|(pid, ..)| *pid == backend.pid);
                    works |= found.is_some_and(|(_, works, _)| *works);
                    marks.extend(found.map(|(pid, _, changed)| format!("{pid} {changed}")));
                }
                Some(Answer::Nothing) => {}
                Some(Answer::Unknown) | None => works = true,
            }
        }
        let turn = self.turn();
        match &mut self.seen {
            Some(seen) if overdue && !works && (seen.looks == 0 || seen.marks == marks) => {
                seen.marks = marks;
                seen.looks += 1;
                seen.looks >= LOOKS && seen.since.elapsed() >= self.patience
            }
            _ => {
                self.seen = Some(Silence { turn, marks, since: Instant::now(), looks: 0 });
                false
            }
        }
    }
}

/// Asks a server after sessions of ours. One that waits for us to read or to write does not work for us.
pub async fn ask(client: &Client, sessions: &[Backend]) -> Result<Answer> {
    let (pids, started) = columns(sessions.iter());
    let sql = "SELECT a.pid, a.state IS NULL OR a.state = 'disabled' OR (a.state NOT LIKE 'idle%' AND \
               a.wait_event_type IS DISTINCT FROM 'Client'), COALESCE(a.state_change::text, '') \
               FROM pg_stat_activity AS a JOIN unnest($1::int4[], $2::text[]) AS ours (pid, started) \
               ON a.pid = ours.pid AND a.backend_start = ours.started::timestamptz";
    let rows = client.query(sql, &[&pids, &started]).await;
    let rows = rows.map_err(|error| Error::database("asking after our sessions", &error))?;
    Ok(Answer::Seen(rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()))
}

/// What it means when a server could not be asked.
pub fn unanswered(error: &Error) -> Answer {
    match error.kind() {
        Kind::Unreachable => Answer::Nothing,
        _ => Answer::Unknown,
    }
}

fn columns<'b>(sessions: impl Iterator<Item = &'b Backend>) -> (Vec<i32>, Vec<String>) {
    sessions.map(|backend| (backend.pid, backend.started.clone())).unzip()
}
