//! The target: writing changes to Traffic's tables, exactly once. Inserts and updates do not fire Traffic's
//! ordinary triggers where the role can prevent the firing ([`TriggerControl`](crate::postgres::triggers::TriggerControl)).
//!
//! A [`Writer`] applies [`crate::batch::Batch`]es, in one transaction at a time. A row refused by Traffic
//! goes to [`quarantine`](crate::quarantine); a value changed by the mapping leaves a conversion note there.

mod apply;
mod binary;
mod catalog;
mod copying;
mod deletes;
pub mod flowing;
pub mod indexes;
mod keys;
pub mod own_values;
mod partial_update;
mod pipelined_batch;
pub mod reading;
mod retry;
pub mod since_switch;
pub mod stale;
mod statements;
mod together;
mod unchanged;
mod upserts;
mod writer;

pub use apply::Applied;
pub use catalog::TargetCatalog;
pub use retry::Retried;
pub use statements::Touch;
pub use writer::{RowCounts, Supplied, Writer, WriterSettings};
