//! Two throw-away servers with the school's databases, the oracle of Traffic's expected rows, and the real binary
//! between the servers.

mod authority;
mod bridge;
mod copies;
mod daemon;
mod exact;
mod fixtures;
mod limit;
mod memory;
mod oracle;
mod oracle_tests;
mod proxy;
mod receivers;
mod refusal;
mod wait;
mod world;

pub use authority::Authority;
pub use bridge::{Bridge, Said, said, said_of};
pub use copies::{back_up, copy_dir, restore, standby_of};
pub use daemon::Daemon;
pub use exact::differences_beside_quarantine;
pub use fixtures::{
    Positions, at_each_insert, brake, caught_up_and_equal, commits_wait, holds, landing, least_privileged,
    one, record_form, release_brake, released, repeat_numbers, stranger, traffic, until_holds, writers_go_on,
};
pub use limit::MemoryLimit;
pub use memory::{assert_peak, said_with_peak};
pub use oracle::{assert_equal, differences, expected_leads, table_rows};
pub use proxy::{Direction, Fault, Proxy, Target};
pub use receivers::{Answer, Front, MailServer, Way, WebServer};
pub use refusal::{assert_refused, ends_refused};
pub use wait::{tried_for_a_minute, until, until_true, within};
pub use world::{World, template};
