//! Which faults are on, and which connections they meet.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Which connections a fault meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Every,
    /// Those whose `application_name` is `leadbridge <this>`.
    Named(&'static str),
}

/// The way that bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    ToServer,
    ToClient,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Connections that are open now are reset on both sides, and what was on its way is lost. New ones work.
    Cut,
    /// Connections that are open now stay open and carry nothing any more, for good. New ones work.
    HalfOpen,
    /// The same in one direction only.
    OneWay(Direction),
    /// Each piece arrives that much later, on old and new connections, until healed.
    Delay(Duration),
    /// Carries at most so many bytes in a second in each direction, on old and new connections, until healed.
    Throttle(u32),
    /// Carries nothing, on old and new connections, until healed; then what waited arrives.
    Stall,
    /// New connections are closed as soon as they have said who they are, until healed.
    Refuse,
    /// New connections are answered as a session pooler answers that is full, until healed.
    TurnAway,
    /// Once: the next COMMIT of a connection that it meets is executed by the server, and the connection is cut
    /// before the client hears of it.
    CutAfterCommit,
    /// Once: the server does not understand the next BEGIN of a connection that it meets, and takes what follows as if
    /// there had been none.
    SpoilBegin,
}

/// What a connection has to obey at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conduct {
    pub delay: Option<Duration>,
    pub bytes_per_second: Option<u32>,
    pub stalled: bool,
    refused: bool,
    pub turned_away: bool,
}

/// The faults that last, and the connections that are open.
pub struct Faults {
    lasting: watch::Sender<Vec<(Target, Fault)>>,
    state: Mutex<State>,
    /// Cancelled when the proxy is dropped.
    open: CancellationToken,
}

#[derive(Default)]
struct State {
    links: BTreeMap<u64, Link>,
    opened: u64,
    /// One entry for each [`Fault::CutAfterCommit`] that has not struck yet.
    commits_to_cut: Vec<Target>,
    commits_cut: u64,
    /// The same of each [`Fault::SpoilBegin`].
    begins_to_spoil: Vec<Target>,
}

/// A connection, as far as faults are concerned.
#[derive(Clone)]
pub struct Link {
    pub number: u64,
    pub name: Option<String>,
    pub cut: CancellationToken,
    /// Carries nothing to the server, and nothing to the client, any more.
    pub dead: [CancellationToken; 2],
}

impl Target {
    fn meets(self, name: Option<&str>) -> bool {
        match self {
            Target::Every => true,
            Target::Named(purpose) => {
                name.and_then(|name| name.strip_prefix("leadbridge ")).is_some_and(|name| name == purpose)
            }
        }
    }
}

impl Link {
    pub fn dead(&self, direction: Direction) -> &CancellationToken {
        let [to_server, to_client] = &self.dead;
        match direction {
            Direction::ToServer => to_server,
            Direction::ToClient => to_client,
        }
    }

    fn is_alive(&self) -> bool {
        !self.cut.is_cancelled() && !self.dead.iter().any(CancellationToken::is_cancelled)
    }
}

impl Faults {
    pub fn new(open: CancellationToken) -> Self {
        Faults { lasting: watch::Sender::default(), state: Mutex::default(), open }
    }

    /// Nobody leaves the state half changed: after a panic elsewhere it is as good as before.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn inject(&self, target: Target, fault: Fault) -> usize {
        let mut state = self.state();
        match fault {
            Fault::CutAfterCommit => state.commits_to_cut.push(target),
            Fault::SpoilBegin => state.begins_to_spoil.push(target),
            _ => {}
        }
        let met: Vec<_> = state
            .links
            .values()
            .filter(|link| link.is_alive() && target.meets(link.name.as_deref()))
            .cloned()
            .collect();
        drop(state);
        match fault {
            Fault::Cut => met.iter().for_each(|link| link.cut.cancel()),
            Fault::HalfOpen => met.iter().flat_map(|link| &link.dead).for_each(CancellationToken::cancel),
            Fault::OneWay(carries) => {
                let other = match carries {
                    Direction::ToServer => Direction::ToClient,
                    Direction::ToClient => Direction::ToServer,
                };
                met.iter().for_each(|link| link.dead(other).cancel());
            }
            Fault::CutAfterCommit | Fault::SpoilBegin => {}
            lasting => self.lasting.send_modify(|faults| faults.push((target, lasting))),
        }
        met.len()
    }

    pub fn heal(&self) {
        let mut state = self.state();
        state.commits_to_cut.clear();
        state.begins_to_spoil.clear();
        drop(state);
        self.lasting.send_modify(Vec::clear);
    }

    pub fn forget_half_open(&self) {
        self.state().links.values().filter(|link| !link.is_alive()).for_each(|link| link.cut.cancel());
    }

    pub fn connections(&self, target: Target) -> usize {
        let state = self.state();
        state.links.values().filter(|link| link.is_alive() && target.meets(link.name.as_deref())).count()
    }

    pub fn commits_cut(&self) -> u64 {
        self.state().commits_cut
    }

    /// A new connection; `None` when it is refused.
    pub fn open(&self, name: Option<String>) -> Option<Link> {
        if conduct(&self.lasting.borrow(), name.as_deref()).refused {
            return None;
        }
        let mut state = self.state();
        state.opened += 1;
        let dead = [CancellationToken::new(), CancellationToken::new()];
        let link = Link { number: state.opened, name, cut: self.open.child_token(), dead };
        state.links.insert(link.number, link.clone());
        Some(link)
    }

    pub fn closed(&self, link: &Link) {
        self.state().links.remove(&link.number);
    }

    /// The server has committed on this connection. Returns whether the client must not hear of it.
    pub fn committed(&self, link: &Link) -> bool {
        let mut state = self.state();
        let met = state.commits_to_cut.iter().position(|target| target.meets(link.name.as_deref()));
        if let Some(index) = met {
            state.commits_to_cut.remove(index);
            state.commits_cut += 1;
        }
        met.is_some()
    }

    /// A transaction is begun on this connection. Returns whether the server must not understand it.
    pub fn begins(&self, link: &Link) -> bool {
        let mut state = self.state();
        let met = state.begins_to_spoil.iter().position(|target| target.meets(link.name.as_deref()));
        met.map(|index| state.begins_to_spoil.remove(index)).is_some()
    }

    pub fn subscribe(&self) -> watch::Receiver<Vec<(Target, Fault)>> {
        self.lasting.subscribe()
    }
}

/// What the faults together mean for a connection of that name; of two delays the later counts.
pub fn conduct(faults: &[(Target, Fault)], name: Option<&str>) -> Conduct {
    let mut conduct = Conduct::default();
    for (_, fault) in faults.iter().filter(|(target, _)| target.meets(name)) {
        match *fault {
            Fault::Delay(delay) => conduct.delay = Some(delay),
            Fault::Throttle(rate) => conduct.bytes_per_second = Some(rate.max(1)),
            Fault::Stall => conduct.stalled = true,
            Fault::Refuse => conduct.refused = true,
            Fault::TurnAway => conduct.turned_away = true,
            Fault::Cut | Fault::HalfOpen | Fault::OneWay(_) | Fault::CutAfterCommit | Fault::SpoilBegin => {}
        }
    }
    conduct
}
