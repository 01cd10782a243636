//! The source: what Landing is like, its slot, the snapshot and the stream.

pub mod capture;
pub mod catalog;
pub mod layout;
pub mod reading;
