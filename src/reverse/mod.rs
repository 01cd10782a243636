//! Reverse replication: after a cutover has switched, what changes on Traffic is carried to Landing, so that a rollback loses
//! nothing.
//!
//! Traffic's stream gives keys only ([`KeyCapture`], [`Loader`]); what a row is, is read when it is carried, in one
//! snapshot of Traffic ([`Carrier`]), put through the inverse of the forward mapping ([`inverse`]) and written to
//! Landing through the fence ([`LandingWriter`]). Only then is the position written down on Traffic, and then
//! acknowledged: after a crash the same keys are carried again, and what is equal is not written. So nothing has to be
//! remembered of a row, and a row that Landing refuses is no more than a key in [`ReverseQuarantine`].

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
