//! What operators are told of the state, and what nobody is told.

mod live_status;
mod secrecy;
mod status;
