//! The source: Landing's catalog, the slot, the snapshot and the stream.

pub mod catalog;
mod copied;
pub mod reading;
pub mod snapshot;
pub mod stream;
pub mod write;
