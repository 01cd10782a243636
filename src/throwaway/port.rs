//! Ports of the loopback address for servers and daemons.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::ops::Range;

use crate::error::{Error, Result};
use crate::language::Message;

/// Ports of servers. Like [`DAEMONS`], below the range from which Linux assigns ports to outgoing connections:
/// no connection can take the port of a server that restarts.
const SERVERS: Range<u16> = 15_000..32_000;
/// Ports of daemons, apart from [`SERVERS`], so that no daemon takes the port of a server that restarts.
const DAEMONS: Range<u16> = 10_000..15_000;

/// A free TCP port, kept apart from every other [`ReservedPort`] of this machine for as long as the value
/// lives, also while no process listens on the port.
///
/// The reservation is a UDP socket with the same number. Every process sees the reservation, the kernel ends it
/// with its process, and neither a server nor a daemon uses UDP.
#[derive(Debug)]
pub struct ReservedPort {
    number: u16,
    _reservation: UdpSocket,
}

impl ReservedPort {
    /// A port for a daemon's HTTP.
    ///
    /// # Errors
    /// Refused when a hundred ports in a row are taken.
    pub fn for_daemon() -> Result<Self> {
        Self::within(&DAEMONS)
    }

    /// A port for a server.
    ///
    /// # Errors
    /// As [`ReservedPort::for_daemon`].
    pub(super) fn for_server() -> Result<Self> {
        Self::within(&SERVERS)
    }

    pub fn number(&self) -> u16 {
        self.number
    }

    /// The port of the loopback address.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }

    fn within(ports: &Range<u16>) -> Result<Self> {
        let reserve = |number: u16| {
            let reservation = UdpSocket::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
            // Another program may listen without a reservation.
            TcpListener::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
            Some(ReservedPort { number, _reservation: reservation })
        };
        (0..100).find_map(|_| reserve(rand::random_range(ports.clone()))).ok_or_else(|| {
            Error::refused("no free port on 127.0.0.1")
                .remedy(Message::verbatim("end some of the servers that listen there"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_reserved_once_although_nobody_listens_on_it() {
        let first = ReservedPort::for_daemon().unwrap();
        let only = first.number()..first.number() + 1;
        assert!(ReservedPort::within(&only).is_err());
        drop(first);
        assert_eq!(ReservedPort::within(&only).unwrap().number(), only.start);
    }
}
