//! Connections that die without a word: a firewall that forgot them, a proxy whose other side is gone.
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

/// How long a crew may be silent, and how many looks in a row must agree: a process that was stopped for a while
/// has looked once only.
const SILENCE: Duration = Duration::from_secs(8);
const LOOKS: u32 = 3;
/// The slowest network that is still one: what is on its way to a server at this many bytes a second is not late.
const SLOWEST: usize = 16 << 10;
/// What the earlier run of a session is given to end, in milliseconds.
const END_LIMIT: i64 = 2_000;

/// The sessions that this process waits for, by crew.
#[derive(Debug, Default)]
pub struct Liveness {
    state: Mutex<State>,
    silent: Notify,
}

#[derive(Debug, Default)]
struct State {
    crews: BTreeMap<u64, Crew>,
    hired: u64,
    /// Of crews that have ended: the servers may not have noticed.
    former: Vec<(Side, Backend)>,
}

/// Sessions that take turns at one piece of work: while it is not at rest, one of them is waited for.
#[derive(Debug)]
struct Crew {
    members: Vec<(Side, Backend)>,
    /// Raised whenever something is known to have moved.
    turn: u64,
    /// How long this turn may be silent.
    patience: Duration,
    at_rest: bool,
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

/// A crew's place among those that are looked after, until it is dropped.
#[derive(Debug)]
pub struct Work {
    liveness: Arc<Liveness>,
    number: u64,
}

impl Work {
    /// Begins to wait for the databases, or goes on: something was achieved.
    pub fn goes_on(&self) {
        self.turn(false, 0);
    }

    /// The same with so many bytes to be sent: a server at which they have not arrived does not work yet.
    pub fn sends(&self, changes: &[SourcedChange]) {
        self.turn(false, changes.iter().map(|change| change.change.size()).sum());
    }

    /// Waits for something else than these sessions.
    pub fn rests(&self) {
        self.turn(true, 0);
    }

    fn turn(&self, at_rest: bool, bytes: usize) {
        if let Some(crew) = self.liveness.state().crews.get_mut(&self.number) {
            crew.turn += 1;
            crew.at_rest = at_rest;
            crew.patience = SILENCE + Duration::from_secs((bytes / SLOWEST) as u64);
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let mut state = self.liveness.state();
        if let Some(crew) = state.crews.remove(&self.number) {
            state.former.extend(crew.members);
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
        state.hired += 1;
        let number = state.hired;
        let crew = Crew { members, turn: 0, patience: SILENCE, at_rest: false, pulse, seen: None };
        state.crews.insert(number, crew);
        Work { liveness: Arc::clone(self), number }
    }

    /// Does `work`, unless a connection dies without a word meanwhile.
    pub async fn guard<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let silent = self.silent.notified();
        tokio::select! {
            done = work => done,
            () = silent => Err(Error::unreachable(format!(
                "a connection has died without a word: no answer for {} s or more, and no server works on one",
                SILENCE.as_secs()
            ))),
        }
    }

    /// Ends what earlier attempts of this process have left behind on a server that has not noticed their end: it
    /// holds the lease, or locks.
    pub async fn bury(&self, side: Side, client: &Client) -> Result<()> {
        let former: Vec<_> = self.state().former.iter().filter(|member| member.0 == side).cloned().collect();
        if former.is_empty() {
            return Ok(());
        }
        let (pids, started) = columns(former.iter().map(|member| &member.1));
        let sql = "SELECT pg_terminate_backend(a.pid, $3) FROM pg_stat_activity AS a \
                   JOIN unnest($1::int4[], $2::text[]) AS ours (pid, started) \
                   ON a.pid = ours.pid AND a.backend_start = ours.started::timestamptz";
        let step = "ending earlier sessions of ours";
        let ended = client.query(sql, &[&pids, &started, &END_LIMIT]).await;
        let ended = ended.map_err(|error| Error::database(step, &error))?.len();
        if ended > 0 {
            tracing::info!(%side, ended, "{step} that the server had not noticed the end of");
        }
        self.state().former.retain(|member| !former.contains(member));
        Ok(())
    }

    /// The sessions of `side` to ask after: of crews that are still at the turn they were at in the last look.
    pub fn overdue(&self, side: Side) -> Vec<Backend> {
        let state = self.state();
        let crews = state.crews.values().filter(|crew| crew.is_overdue());
        let members = crews.flat_map(|crew| &crew.members).filter(|member| member.0 == side);
        members.map(|member| member.1.clone()).collect()
    }

    /// Takes in what the servers said, once in each of the monitor's rounds.
    pub fn judge(&self, answers: &[(Side, Answer)]) {
        let mut silent = false;
        for crew in self.state().crews.values_mut() {
            silent |= crew.judge(answers);
        }
        if silent {
            self.silent.notify_waiters();
        }
    }

    /// Nobody leaves it half changed: after a panic elsewhere it is as good as before.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Crew {
    fn turn(&self) -> u64 {
        self.pulse.as_ref().map_or(self.turn, |pulse| pulse.arrivals())
    }

    fn is_at_rest(&self) -> bool {
        self.pulse.as_ref().map_or(self.at_rest, |pulse| pulse.is_full())
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
