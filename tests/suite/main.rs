//! The one test binary: every test starts real PostgreSQL servers of its own. A module has the name of the room of
//! `src` under test.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "what a test cannot go on without fails it; clippy's own exception stops at #[test] functions"
)]

mod access;
mod admission;
mod alert;
mod application;
mod checkpoint;
mod compare;
mod cutover;
mod demo;
mod doctor;
mod explain;
mod files;
mod finish;
mod installed;
mod landing;
mod language;
mod legacy;
mod mapping;
mod migrate;
mod page;
mod postgres;
mod properties;
mod quarantine;
mod replication;
mod rollback;
mod shapes;
mod soak;
mod telemetry;
mod testkit;
mod throwaway;
mod traffic;
mod verification;
