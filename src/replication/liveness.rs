//! Detection of half-open connections: a firewall dropped the connection's state, or a proxy's other side is
//! gone.
//!
//! TCP keepalives do not detect the loss of a server behind a proxy, because the proxy answers. A statement
//! has no time limit, because a statement may wait for another session's lock without end. So when an answer
//! is overdue, another connection asks the server whether a backend of the watched session is active. If none
//! is active, no answer can come, and the attempt ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio_postgres::Client;

use crate::error::{Error, Kind, Result};
use crate::model::change::SourcedChange;
use crate::model::side::Side;
use crate::postgres::replication::{Feed, Pulse};
use crate::postgres::{Backend, Session};

/// Time for which watched sessions may be silent, and the number of looks in a row that must agree. A single
/// look is not enough, because a stopped process has also been silent.
const SILENCE: Duration = Duration::from_secs(8);
const LOOKS: u32 = 3;
/// Slowest supported network, in bytes a second. Data in transit at this speed is not late.
const SLOWEST: usize = 16 << 10;
/// Time for a stale backend to end after its termination, in milliseconds.
const END_LIMIT: i64 = 2_000;

/// Watched sessions of this process.
#[derive(Debug, Default)]
pub struct Liveness {
    state: Mutex<Watch>,
    silent: Notify,
}

#[derive(Debug, Default)]
struct Watch {
    watched: BTreeMap<u64, WatchedSessions>,
    numbers_given: u64,
    /// Backends of watched sessions that have ended on this side; the servers may not have noticed.
    stale: Vec<(Side, Backend)>,
}

/// Sessions that share one piece of work. While the group is busy, this process waits for an answer of some
/// session.
#[derive(Debug)]
struct WatchedSessions {
    members: Vec<(Side, Backend)>,
    /// Increases whenever the work is known to have progressed.
    turn: u64,
    /// Time for which the current turn may be silent.
    patience: Duration,
    is_idle: bool,
    /// For a stream: counts the arrivals, which replace `turn`.
    pulse: Option<Arc<Pulse>>,
    seen: Option<Silence>,
}

/// Result of the last looks: the turn is unchanged, and no backend has changed its state.
#[derive(Debug)]
struct Silence {
    turn: u64,
    marks: Vec<String>,
    since: Instant,
    looks: u32,
}

/// Registration of a group of watched sessions; dropping the value ends the watch.
#[derive(Debug)]
pub struct Work {
    liveness: Arc<Liveness>,
    number: u64,
}

impl Work {
    /// Marks the group busy: this process waits for a database. A call while busy counts as progress.
    pub fn busy(&self) {
        self.turn(false, 0);
    }

    /// Marks the group busy with the given changes to be sent. The limit grows with the size of the changes,
    /// because a backend does not work before the data has arrived.
    pub fn busy_sending(&self, changes: &[SourcedChange]) {
        self.turn(false, changes.iter().map(|change| change.change.size()).sum());
    }

    /// Marks the group idle: this process does not wait for these sessions.
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

/// Answer of a server about watched sessions.
#[derive(Debug)]
pub enum Answer {
    /// For each backend that exists: process id, whether the backend works, and the time of its last change
    /// of state.
    Seen(Vec<(i32, bool, String)>),
    /// The server is up but cannot say; no session is given up.
    Unknown,
    /// The server does not answer.
    Nothing,
}

impl Liveness {
    /// Watches sessions from now on. The group starts busy.
    pub fn watch(self: &Arc<Self>, sessions: &[(Side, &Session)]) -> Work {
        self.register(
            sessions.iter().map(|(side, session)| (*side, session.backend().clone())).collect(),
            None,
        )
    }

    /// Watches a stream. A stream that has been silent for long asks its server for a keepalive.
    pub fn watch_stream(self: &Arc<Self>, side: Side, feed: &Feed) -> Work {
        self.register(vec![(side, feed.backend().clone())], Some(Arc::clone(feed.pulse())))
    }

    fn register(self: &Arc<Self>, members: Vec<(Side, Backend)>, pulse: Option<Arc<Pulse>>) -> Work {
        let mut state = self.state();
        state.numbers_given += 1;
        let number = state.numbers_given;
        let watched =
            WatchedSessions { members, turn: 0, patience: SILENCE, is_idle: false, pulse, seen: None };
        state.watched.insert(number, watched);
        Work { liveness: Arc::clone(self), number }
    }

    /// Runs `work` until done, or until some watched connection is found half-open.
    pub async fn guard<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let silent = self.silent.notified();
        tokio::select! {
            done = work => done,
            () = silent => Err(Error::unreachable(format!(
                "a half-open connection: no answer for {} s or more, and no backend of this process is active",
                SILENCE.as_secs()
            ))),
        }
    }

    /// Terminates the backends of this process's earlier attempts. A server that has not noticed a broken
    /// connection keeps its backend, and with the backend the lease and row locks.
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
            tracing::info!(%side, ended, "{step} whose end the server had not noticed");
        }
        self.state().stale.retain(|member| !stale.contains(member));
        Ok(())
    }

    /// Sessions of `side` to ask the server about: members of groups that have not progressed since the last
    /// look.
    pub fn overdue(&self, side: Side) -> Vec<Backend> {
        self.backends(side, WatchedSessions::is_overdue)
    }

    /// The sessions of `side` from which this process awaits an answer. Streams are left out: a
    /// walsender waits for no lock of a table.
    pub fn waiting(&self, side: Side) -> Vec<Backend> {
        self.backends(side, |watched| watched.pulse.is_none() && !watched.is_idle)
    }

    fn backends(&self, side: Side, which: impl Fn(&WatchedSessions) -> bool) -> Vec<Backend> {
        let state = self.state();
        let found = state.watched.values().filter(|watched| which(watched));
        let members = found.flat_map(|watched| &watched.members).filter(|member| member.0 == side);
        members.map(|member| member.1.clone()).collect()
    }

    /// Takes in the answers of the servers, once in each of the monitor's rounds.
    pub fn judge(&self, answers: &[(Side, Answer)]) {
        let mut silent = false;
        for watched in self.state().watched.values_mut() {
            silent |= watched.judge(answers);
        }
        if silent {
            self.silent.notify_waiters();
        }
    }

    /// Ignores a poisoned lock, because no holder of the lock can panic between two changes of the value.
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

    /// Returns whether the group has been silent for too long.
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

/// Asks a server about watched sessions. A backend that waits for its client, to read or to write, does not
/// work.
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

/// The answer that stands for a server that could not be asked.
pub fn unanswered(error: &Error) -> Answer {
    match error.kind() {
        Kind::Unreachable => Answer::Nothing,
        _ => Answer::Unknown,
    }
}

fn columns<'b>(sessions: impl Iterator<Item = &'b Backend>) -> (Vec<i32>, Vec<String>) {
    sessions.map(|backend| (backend.pid, backend.started.clone())).unzip()
}
