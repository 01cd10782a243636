//! Decoded messages become changes of replicated rows ([`rows`]), or only the keys of changed rows ([`keys`]);
//! pure. [`layout`] finds the columns of a table.

pub mod keys;
pub mod layout;
pub mod rows;
