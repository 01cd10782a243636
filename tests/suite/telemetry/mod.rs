//! The state shown to operators, and values that no output may contain.

mod live_status;
mod logged;
mod notified;
mod printed;
mod secrecy;
mod status;
