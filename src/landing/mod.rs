//! Landing: catalog, rows, the initial snapshot; writing after the switch.

pub mod catalog;
pub mod left_out;
pub mod legacy_names;
pub mod ranges;
pub mod reading;
pub mod snapshot;
pub mod write;
