//! Batches: bounds, commit boundaries and the net effect of many changes; pure.

pub mod bisect;
mod collect;
pub mod keys;
mod plan;

pub use collect::{Batch, BatchLimits, Changes, Collector};
pub use plan::{KeyChange, PlanStep, Segment, Write, plan};
