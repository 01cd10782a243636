//! The target: Traffic's tables and how changes are written to them, exactly once and without its triggers.
//!
//! A [`Writer`] applies [`crate::batch::Batch`]es within one transaction at a time. Rows that Traffic does not
//! take go to [`Quarantine`], values that had to be changed leave a note (`notes`).

mod apply;
mod binary;
mod catalog;
mod copying;
mod deletes;
pub mod fence;
mod image;
pub mod indexes;
mod keys;
mod notes;
mod partial_update;
mod pipelined_batch;
mod prepared;
mod quarantine;
mod retry;
mod rows;
mod segment;
pub mod stale;
mod statements;
mod together;
mod triggers;
mod writer;

pub use catalog::{TargetCatalog, may_defer};
pub use quarantine::Quarantine;
pub use retry::{QuarantineEntry, Retried};
pub use statements::{Touch, as_text};
pub use triggers::TriggerControl;
pub use writer::{Applied, RowCounts, Supplied, Writer};
