//! The state shown to operators, and values that no output may contain.

mod http;
mod live_status;
mod secrecy;
mod status;
