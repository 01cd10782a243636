//! Values that every room speaks about: positions, times, tables, rows, changes, names; pure. `model` imports
//! nothing else of the crate.

pub mod budget;
pub mod change;
pub mod column_rules;
pub mod difference_counts;
pub mod lsn;
pub mod names;
pub mod reached;
pub mod same_id;
pub mod sha256;
pub mod side;
pub mod table;
pub mod timestamp;
pub mod truncate;
