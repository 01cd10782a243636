//! After the switch: every change on Traffic reaches Landing through any fault, and no change comes back as an echo.

pub mod compare;
mod copies;
mod echo;
pub mod exact;
mod faults;
mod idle_slot;
mod installations;
pub mod keys;
mod killpoints;
mod properties;
mod published;
mod quarantine;
mod refusals;
mod refused_keys;
pub mod rows;
mod status;
mod staying;
pub mod switch;
