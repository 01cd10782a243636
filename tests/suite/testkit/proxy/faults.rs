//! Active faults, and the connections that each fault meets.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The connections that a fault meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Every,
    /// Connections whose `application_name` is `leadbridge <this>`.
    Named(&'static str),
}

/// Direction of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    ToServer,
    ToClient,
}

/// Kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Resets open connections on both sides, with the loss of bytes on their way. New connections work.
    Cut,
    /// Leaves open connections open, but carries nothing on them any more, for good. New connections work.
    HalfOpen,
    /// As `HalfOpen`, in one direction only.
    OneWay(Direction),
    /// Delays each piece, on old and new connections, until healed.
    Delay(Duration),
    /// Carries at most the given number of bytes in a second in each direction, on old and new connections, until
    /// healed.
    Throttle(u32),
    /// Carries nothing, on old and new connections, until healed; then held bytes arrive.
    Stall,
    /// Closes new connections after their start-up message, until healed.
    Refuse,
    /// Answers new connections as a full session pooler does, until healed.
    TurnAway,
    /// Once: the server executes the next COMMIT of a matching connection, and the proxy cuts the connection before
    /// the client receives the answer.
    CutAfterCommit,
    /// Once: the next BEGIN of a matching connection is spoilt on its way, so the server executes the following
    /// statements outside of a transaction.
    SpoilBegin,
}

/// The present rules for a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conduct {
    pub delay: Option<Duration>,
    pub bytes_per_second: Option<u32>,
    pub stalled: bool,
    refused: bool,
    pub turned_away: bool,
}

/// The lasting faults, and the open connections.
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
    /// One entry for each [`Fault::CutAfterCommit`] that is still to strike.
    commits_to_cut: Vec<Target>,
    commits_cut: u64,
    /// One entry for each [`Fault::SpoilBegin`] that is still to strike.
    begins_to_spoil: Vec<Target>,
}

/// The state of a connection for faults.
#[derive(Clone)]
pub struct Link {
    pub number: u64,
    pub name: Option<String>,
    pub cut: CancellationToken,
    /// Directions (to the server, to the client) that carry nothing any more.
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

    /// No code leaves the state half changed: the state stays valid after a panic elsewhere.
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

    /// Called when the server has committed on this connection. Returns whether the client must not receive the
    /// answer.
    pub fn committed(&self, link: &Link) -> bool {
        let mut state = self.state();
        let met = state.commits_to_cut.iter().position(|target| target.meets(link.name.as_deref()));
        if let Some(index) = met {
            state.commits_to_cut.remove(index);
            state.commits_cut += 1;
        }
        met.is_some()
    }

    /// Called when a transaction begins on this connection. Returns whether the BEGIN must be spoilt.
    pub fn begins(&self, link: &Link) -> bool {
        let mut state = self.state();
        let met = state.begins_to_spoil.iter().position(|target| target.meets(link.name.as_deref()));
        met.map(|index| state.begins_to_spoil.remove(index)).is_some()
    }

    pub fn subscribe(&self) -> watch::Receiver<Vec<(Target, Fault)>> {
        self.lasting.subscribe()
    }
}

/// Combined effect of all faults on a connection with the name; the later delay counts.
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
