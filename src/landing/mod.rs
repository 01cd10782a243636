//! The source: Landing's catalog, the slot, the snapshot and the stream.

pub mod capture;
pub mod catalog;
mod copied;
pub mod layout;
pub mod primary;
pub mod reading;
pub mod slot;
pub mod snapshot;
pub mod stream;
pub mod synchronous;
