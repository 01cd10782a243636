//! The state shown to operators, and values that no output may contain.

mod exposition;
mod http;
mod live_status;
mod logged;
mod metrics;
mod metrics_documented;
mod notified;
mod printed;
mod refused_rows;
mod secrecy;
mod server_log;
mod status;
mod survival;
mod watch_screen;
