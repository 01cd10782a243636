//! Connections to Landing and Traffic. A libpq URL has the same meaning for ordinary and for replication
//! connections.
//!
//! `url` parses the operator's URL, `security` the wishes for security in it and in the environment, `place` finds
//! the addresses, `tls` gives `sslmode` libpq's meaning, `socket` and `endpoint` connect. `session` is an ordinary
//! connection with pinned settings, `replication` a streaming connection. `pipelined` sends statements together,
//! `advisory` takes advisory locks, `table_lock` locks tables before a snapshot, `holders` finds the holders of a
//! lock, `blockers` those for which a session waits, `large` tells where large rows may be, `unique` lets rows
//! exchange unique values, `references` changes a key with everything that refers to the row, `write` is a session
//! that writes rows, `written_since` tells new rows from old rows, `output` asks for values as the stream's text,
//! `failure` explains in an operator's words why a connection failed, `copied` reads rows of texts without copying
//! them.

pub mod advisory;
pub mod blockers;
pub mod copied;
mod databases;
mod endpoint;
mod failure;
pub mod holders;
pub mod large;
pub mod output;
pub mod paging;
pub mod pipelined;
mod place;
pub mod prepared;
pub mod primary;
pub mod publication;
pub mod references;
pub mod replication;
pub mod role;
mod security;
mod session;
pub mod slot;
mod socket;
pub mod step;
pub mod stream;
pub mod synchronous;
pub mod table_lock;
pub mod timeline;
mod tls;
pub mod triggers;
pub mod unique;
mod url;
pub mod wal;
pub mod write;
pub mod writers;
pub mod written_since;

pub use databases::{Database, Databases};
pub use endpoint::Endpoint;
pub use security::Environment;
pub use session::{Backend, Session};
