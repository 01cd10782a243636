//! Throw-away PostgreSQL servers with realistic leads, for `leadbridge demo` and for the tests.
//!
//! A [`Template`] is a stopped server's data directory. Each [`Cluster`] runs on a copy of the template in a
//! private directory, on a private port. A [`DaemonProcess`] is the daemon between two of them. However this
//! process ends, a `watchdog` ends its servers and removes their directories.

mod binaries;
mod cluster;
mod copy;
mod daemon;
mod lead;
pub mod leads;
mod metadata;
mod owner;
mod port;
mod server;
mod template;
mod watchdog;
mod work;
pub mod writers;

pub use binaries::Binaries;
pub use cluster::{Cluster, Shutdown, connect};
pub use daemon::{DaemonProcess, peak_memory, signal};
pub use port::ReservedPort;
pub use template::Template;
pub use watchdog::GuardedDir;

/// Both databases' tables as the school has the tables, Traffic before Migration 016.
pub mod fixture {
    use crate::model::names::Names;

    /// The Landing DB: leads, journeys, notifications, and an LMS that leadbridge does not replicate.
    pub const LANDING: &str = include_str!("../../sql/throwaway/landing.sql");
    /// The Traffic DB: targetologists, their UTM sources, empty tables of leads and sales.
    pub const TRAFFIC: &str = include_str!("../../sql/throwaway/traffic.sql");
    /// The school's own Migration 016 of the Traffic DB, in another form than leadbridge's.
    pub const TRAFFIC_016: &str = include_str!("../../sql/throwaway/traffic_016.sql");

    /// The default names, with the journey's name on [`LANDING`].
    pub fn names() -> Names {
        Names { landing_journey: "journey_stages".into(), ..Names::default() }
    }
}
