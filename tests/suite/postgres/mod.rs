//! Connections to one server, either side.

mod connection;
mod messages;
mod naming;
mod network;
mod output;
mod security;
mod tls;
mod transport;
