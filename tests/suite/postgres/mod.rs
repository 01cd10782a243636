//! Connections to one server, either side.

mod connection;
mod naming;
mod network;
mod tls;
mod transport;
