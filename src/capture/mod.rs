//! Messages of a stream become changes of whole rows ([`rows`]), or only the keys of changed rows ([`keys`]);
//! pure. [`framing`] has what both directions share; [`layout`] finds the columns of a table.

pub mod framing;
pub mod keys;
pub mod layout;
pub mod rows;
