//! The one test binary: every test against real PostgreSQL servers of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what a test cannot go on without fails it; clippy's own exception stops at #[test] functions"
)]

mod absent;
mod admission;
mod connection;
mod copying;
mod crash;
mod cutover;
mod demo;
mod doctor;
mod drift;
mod drift_functions;
mod drift_traffic;
mod failover;
mod finish;
mod first_key;
mod foreign_wal;
mod indexes;
mod installations;
mod keys;
mod killpoints;
mod large;
mod live_status;
mod memory;
mod migrations;
mod naming;
mod neighbours;
mod network;
mod oracle;
mod outages;
mod ownership;
mod pipelined_batch;
mod positions;
mod privileges;
mod properties;
mod publication;
mod quarantine;
mod refusals;
mod replication;
mod reverse;
mod rewrites;
mod role_default;
mod rollback;
mod secrecy;
mod shutdown;
mod silence;
mod soak;
mod state_disk;
mod status;
mod synchronous;
mod testkit;
mod throwaway;
mod tls;
mod toast;
mod transport;
mod unique;
mod verify;
