//! Places of a URL's server: the hosts in the URL's order, each with all of its addresses.
//!
//! Each address has a time limit of its own, so an address that swallows packets does not use up the time of
//! the next address. Later connections begin at the address that answered last, because all connections
//! should reach the same server.

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::slice::Iter;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Endpoint;
use super::failure;
use super::url::Host;
use crate::error::{Error, Kind, Result};
use crate::model::side::Side;

/// An address of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub host: Host,
    /// `None` for a Unix socket.
    pub address: Option<IpAddr>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) if self.host.name.parse() != Ok(address) => write!(f, "{} ({address})", self.host),
            _ => write!(f, "{}", self.host),
        }
    }
}

/// The place that answered last, shared by all connections to a database.
#[derive(Clone, Debug, Default)]
pub struct Answered(Arc<Mutex<Option<Place>>>);

impl Answered {
    pub fn get(&self) -> Option<Place> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set(&self, place: Option<Place>) {
        // Poisoning does not matter, because nobody panics while holding the lock of a plain value.
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = place;
    }
}

/// The places of an endpoint, in the order of attempts.
pub struct Search<'e> {
    side: Side,
    answered: &'e Answered,
    /// The place that answered last: tried first, and not a second time.
    known: Option<Place>,
    hosts: Iter<'e, Host>,
    ready: VecDeque<Place>,
    limit: Duration,
    failed: Option<Error>,
}

impl<'e> Search<'e> {
    pub fn begin(endpoint: &'e Endpoint, hosts: &'e [Host], answered: &'e Answered) -> Self {
        let known = answered.get();
        Search {
            side: endpoint.side(),
            answered,
            hosts: hosts.iter(),
            ready: known.iter().cloned().collect(),
            known,
            limit: endpoint.connect_timeout(),
            failed: None,
        }
    }

    /// The next place to try. A host's name is looked up when the host's turn comes.
    pub async fn next(&mut self) -> Option<Place> {
        loop {
            if let Some(place) = self.ready.pop_front() {
                return Some(place);
            }
            let host = self.hosts.next()?;
            match places(self.side, host, self.limit).await {
                Ok(places) => {
                    self.ready.extend(places.into_iter().filter(|place| Some(place) != self.known.as_ref()))
                }
                Err(error) => self.failed = Some(error),
            }
        }
    }

    /// Records that `place` has answered.
    pub fn found(&self, place: Place) {
        self.answered.set(Some(place));
    }

    /// Records that a place has not answered, or has turned the connection away.
    ///
    /// # Errors
    /// `error` itself, when another place cannot help: all places have the same users and passwords.
    pub fn failed(&mut self, error: Error) -> Result<()> {
        match error.kind() {
            Kind::Unreachable | Kind::Transient => {
                self.failed = Some(error);
                Ok(())
            }
            _ => Err(error),
        }
    }

    /// The error of the place that failed last.
    pub fn reason(self) -> Error {
        // Parsing refuses a URL without a host, so at least a single place has failed.
        self.failed.unwrap_or_else(|| Error::internal(format!("{}: no host to connect to", self.side)))
    }
}

async fn places(side: Side, host: &Host, limit: Duration) -> Result<Vec<Place>> {
    let at = |address| Place { host: host.clone(), address };
    if host.is_socket() {
        return Ok(vec![at(None)]);
    }
    if let Some(address) = host.address.or_else(|| host.name.parse().ok()) {
        return Ok(vec![at(Some(address))]);
    }
    let looked_up =
        tokio::time::timeout(limit, tokio::net::lookup_host((host.name.as_str(), host.port))).await;
    let mut places: Vec<Place> = Vec::new();
    for found in
        looked_up.map_err(|_| failure::no_name(side, host))?.map_err(|_| failure::no_name(side, host))?
    {
        let place = at(Some(found.ip()));
        if !places.contains(&place) {
            places.push(place);
        }
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str) -> Endpoint {
        Endpoint::parse(Side::Traffic, &url.into()).unwrap()
    }

    fn hosts(names: &[&str]) -> Vec<Host> {
        names.iter().map(|name| Host { name: (*name).to_owned(), port: 5432, address: None }).collect()
    }

    async fn shown(mut search: Search<'_>) -> (Vec<String>, Option<Error>) {
        let mut shown = Vec::new();
        while let Some(place) = search.next().await {
            shown.push(place.to_string());
        }
        (shown, search.failed)
    }

    #[tokio::test]
    async fn every_address_of_every_host_has_its_turn_and_the_one_that_answered_before_is_first() {
        let (endpoint, answered) = (endpoint("postgresql://u@h/d"), Answered::default());
        let hosts = hosts(&["10.0.0.1", "no-such-host.invalid", "/run/postgresql", "::1"]);
        let (in_order, failed) = shown(Search::begin(&endpoint, &hosts, &answered)).await;
        assert_eq!(in_order, ["10.0.0.1:5432", "/run/postgresql/.s.PGSQL.5432", "[::1]:5432"]);
        assert!(failed.unwrap().message().contains("cannot be resolved"));
        let last = Place { host: hosts[3].clone(), address: "::1".parse().ok() };
        Search::begin(&endpoint, &hosts, &answered).found(last);
        let (in_order, _) = shown(Search::begin(&endpoint, &hosts, &answered)).await;
        assert_eq!(in_order, ["[::1]:5432", "10.0.0.1:5432", "/run/postgresql/.s.PGSQL.5432"]);
    }

    #[tokio::test]
    async fn a_name_is_shown_with_the_address_that_was_tried() {
        let found = places(Side::Traffic, &hosts(&["localhost"])[0], Duration::from_secs(5)).await.unwrap();
        let addresses = ["localhost:5432 (127.0.0.1)", "localhost:5432 (::1)"];
        assert!(!found.is_empty());
        assert!(found.iter().all(|place| addresses.contains(&&*place.to_string())), "{found:?}");
    }
}
