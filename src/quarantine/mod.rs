//! Rows that the target refuses, and values that the mapping changed: [`Quarantine`] holds refused rows of
//! Landing, [`ReverseQuarantine`] the keys of refused rows of Traffic, [`notes`] the conversion notes; [`copies`]
//! lets the deletion of a row reach its copies.

pub mod copies;
pub mod held;
mod image;
pub mod notes;
mod of_lead;
mod operator;
mod reverse;
pub mod rows;

pub use copies::{Copies, HeldCopies};
pub use of_lead::{LeadRecords, NoteOfLead, QuarantinedRow, ReverseQuarantinedRow, RowLeftOnTraffic};
pub use operator::QuarantineEntry;
pub use reverse::{RefusedRow, ReverseQuarantine};
pub use rows::Quarantine;

use crate::error::Error;
use crate::model::side::Side;
use crate::postgres::unique::COLLISIONS;

/// Why a row is quarantined. Holds no values of the row.
#[derive(Clone, Debug)]
pub struct RefusalCause {
    pub sqlstate: String,
    pub message: String,
}

impl RefusalCause {
    pub fn new(sqlstate: &str, message: impl Into<String>) -> Self {
        RefusalCause { sqlstate: sqlstate.to_owned(), message: message.into() }
    }

    pub fn of(error: &Error) -> Self {
        Self::new(error.sqlstate().map_or("XX000", |code| code.code()), error.message())
    }

    /// The row names no lead, or names a lead missing on `side`.
    pub fn lead_is_missing(side: Side) -> Self {
        Self::new("23503", format!("its lead is not on {}", side.name()))
    }

    /// Whether the row was refused because another row holds a value.
    pub fn is_collision(&self) -> bool {
        COLLISIONS.contains(&&*self.sqlstate)
    }
}
