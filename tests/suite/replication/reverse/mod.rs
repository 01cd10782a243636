//! After the switch: what changes on Traffic is on Landing, whatever breaks meanwhile, and nothing comes back as an
//! echo.

pub mod compare;
mod echo;
pub mod exact;
mod faults;
mod idle_slot;
mod installations;
mod killpoints;
mod properties;
mod quarantine;
mod refusals;
pub mod rows;
mod status;
pub mod switch;
