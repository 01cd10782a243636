//! Free ports of the loopback address.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

use crate::error::{Error, Result};

/// Ports of servers. Like [`DAEMONS`], below the range from which Linux assigns ports to outgoing connections:
/// no connection can take the port of a server that restarts.
pub(super) const SERVERS: Range<u16> = 15_000..32_000;
/// Ports of daemons, apart from [`SERVERS`], so that no daemon takes the port of a server that restarts.
const DAEMONS: Range<u16> = 10_000..15_000;

/// A port for a daemon's HTTP.
///
/// # Errors
/// Refused when a hundred ports in a row are taken.
pub fn free_port() -> Result<u16> {
    free_port_of(&DAEMONS)
}

/// A port of `ports` on which no process listens. Another process may take the port before the caller does.
pub(super) fn free_port_of(ports: &Range<u16>) -> Result<u16> {
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    (0..100).map(|_| rand::random_range(ports.clone())).find(free).ok_or_else(|| {
        Error::refused("no free port on 127.0.0.1").remedy("end some of the servers that listen there")
    })
}
