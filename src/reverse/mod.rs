//! Reverse replication: after a cutover, Traffic's changes are carried to Landing, so that a rollback loses
//! nothing.
//!
//! Traffic's stream gives only the keys of changed rows ([`KeyCapture`], [`Loader`]). [`Carrier`] reads the
//! rows in one snapshot of Traffic, [`inverse`] maps each row to a Landing row, and [`LandingWriter`] writes
//! the rows to Landing through the fence. The order is: Landing commits, Traffic records the position, the
//! slot is acknowledged. After a crash the same keys are carried again, and rows that are equal on Landing
//! are not written. So the values of a row never have to be remembered: [`ReverseQuarantine`] keeps only the
//! key of a row that Landing refuses.

mod adopt;
mod capture;
mod carried;
mod carry;
mod compare;
mod fence;
mod keys;
mod mapping;
mod metadata;
mod paging;
mod places;
mod quarantine;
mod reading;
mod since_switch;
mod statements;
mod step;
mod together;
mod writer;

pub use adopt::adopt;
pub use capture::{KeyCapture, Touched};
pub use carried::{NotCarried, not_carried};
pub use carry::Carrier;
pub use compare::{Compared, Lack, ReverseExample, compare, compare_rows};
pub(crate) use fence::right;
pub use keys::{Keys, Load, Loader};
pub use mapping::{ColumnPlace, Places, TrafficImage, inverse};
pub use quarantine::ReverseQuarantine;
pub use since_switch::storage;
pub use writer::{LandingPosition, LandingWriter};
