//! Rows that the target refuses, and values that the mapping changed: [`Quarantine`] holds refused rows of
//! Landing, [`ReverseQuarantine`] the keys of refused rows of Traffic, [`notes`] the conversion notes.

mod image;
pub mod keys;
pub mod notes;
pub mod rows;

pub use keys::ReverseQuarantine;
pub use rows::Quarantine;
