//! Two throw-away servers with the school's databases, and the oracle that says what Traffic should hold.

mod oracle;
mod world;

pub use oracle::{assert_equal, differences, expected_leads};
pub use world::{World, template};
