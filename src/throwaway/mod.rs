//! Throw-away PostgreSQL servers with realistic leads, for `leadbridge demo` and for the tests.
//!
//! A [`Template`] is a stopped server's data directory; each [`Cluster`] is a running copy of it in a private
//! directory, on a private port. Whatever happens to this process, a `watchdog` ends its servers and removes their directories.

mod binaries;
mod cluster;
mod copy;
mod lead;
pub mod leads;
mod metadata;
mod owner;
mod server;
mod template;
mod watchdog;
mod work;
pub mod writers;

pub use binaries::Binaries;
pub use cluster::{Cluster, Shutdown, connect};
pub use template::Template;

/// Both databases' tables as the school has them, Traffic before Migration 016.
pub mod fixture {
    /// The Landing DB: leads, journeys, notifications, and an LMS that is none of our business.
    pub const LANDING: &str = include_str!("../../sql/throwaway/landing.sql");
    /// The Traffic DB: targetologists, their UTM sources, empty leads and sales.
    pub const TRAFFIC: &str = include_str!("../../sql/throwaway/traffic.sql");
}
