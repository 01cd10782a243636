//! The one test binary: every test against real PostgreSQL servers of its own.

mod migrations;
mod oracle;
mod replication;
mod testkit;
mod throwaway;
