//! The identity of the server behind Landing's connections, and the position of the server's WAL. A failover
//! changes the server, and during a failover each connection may reach a different server. Reverse
//! replication uses the module for Traffic.

use tokio_postgres::Client;
use tokio_postgres::types::PgLsn;

use crate::error::{Error, Kind, Result};
use crate::language::message;
use crate::model::side::Side;
use crate::postgres::Endpoint;
use crate::postgres::replication::Replication;
use crate::postgres::step::during;
use crate::postgres::timeline::{LandingWal, TimelineHistory};

/// The server that an attempt began with. Each connection of the attempt must reach the same server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Primary {
    pub side: Side,
    /// The cluster's system identifier; a standby has the same as the primary.
    pub system_id: String,
    /// Never changes while a primary runs; a promoted standby has another.
    pub timeline: u32,
}

impl Primary {
    /// Makes sure that a replication session has reached this server. Runs before any other command of the
    /// session.
    ///
    /// # Errors
    /// Transient when the session has reached another server: a failover is under way, and the next attempt
    /// begins with the new server.
    pub async fn check(&self, session: &mut Replication) -> Result<()> {
        let step = "asking which server the replication connection has reached";
        let identity = session.identify_system(step).await?;
        let rows = session.query(step, "SELECT pg_is_in_recovery()").await?;
        if rows.first().and_then(|row| row.first()).and_then(Option::as_deref) != Some(b"f".as_slice()) {
            return Err(standby(self.side));
        }
        let reached = Primary { side: self.side, system_id: identity.system_id, timeline: identity.timeline };
        if reached == *self {
            return Ok(());
        }
        Err(Error::new(
            Kind::Transient,
            format!("{}: the connections have reached different servers, a failover is under way", self.side),
        ))
    }
}

/// Opens the replication connection and reads the cluster's system identifier. The session ends when dropped.
///
/// # Errors
/// Errors of connecting, and of reading the server's state.
pub async fn system_identifier(endpoint: &Endpoint) -> Result<String> {
    let step = format!("opening the replication connection to the {}", endpoint.side());
    Ok(endpoint.replicate().await?.identify_system(&step).await?.system_id)
}

fn standby(side: Side) -> Error {
    let remedy = message!("postgres-remedy-standby", variable = side.variable());
    Error::new(Kind::Transient, format!("{side}: a standby that is not promoted yet")).remedy(remedy)
}

/// The current WAL position and timeline of a side, without the timeline's history.
///
/// # Errors
/// Transient on a standby.
pub async fn wal(control: &Client, side: Side) -> Result<LandingWal> {
    let step = during(control, format!("{side}: reading the timeline"));
    // During recovery the position functions raise an error that could not be told apart from other errors.
    let row = step.row("SELECT pg_is_in_recovery()", &[]).await?;
    if row.get(0) {
        return Err(standby(side));
    }
    // The name of a WAL file begins with the timeline. No other function gives the new timeline right after a
    // promotion.
    let sql = "SELECT substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8), pg_current_wal_flush_lsn()";
    let row = step.row(sql, &[]).await?;
    let timeline = u32::from_str_radix(row.get(0), 16)
        .map_err(|_| Error::internal("the name of a WAL file is not understood"))?;
    let flushed = row.get::<_, PgLsn>(1).into();
    Ok(LandingWal { timeline, flushed, history: TimelineHistory::default() })
}

/// Adds the history needed to judge a position reached on the timeline `recorded`. Reads no history when
/// `recorded` is the current timeline.
///
/// # Errors
/// Refused when the server has no history of its timeline.
pub async fn with_history(wal: LandingWal, endpoint: &Endpoint, recorded: Option<u32>) -> Result<LandingWal> {
    match recorded {
        Some(recorded) if recorded < wal.timeline => {
            let history = history(endpoint, wal.timeline).await?;
            Ok(LandingWal { history, ..wal })
        }
        _ => Ok(wal),
    }
}

async fn history(endpoint: &Endpoint, timeline: u32) -> Result<TimelineHistory> {
    let step = format!("reading the history of {}'s timeline {timeline}", endpoint.side().name());
    let mut session = endpoint.replicate().await?;
    session.timeline_history(&step, timeline).await.map_err(no_history)?.parse()
}

/// Every base backup copies the history file, and the server never removes the file: a missing file does not
/// come back on its own, so the error is refused and not transient.
fn no_history(error: Error) -> Error {
    match error.sqlstate().map(|code| code.code()) {
        Some("58P01") => Error::refused(error.message()).remedy(message!("postgres-remedy-history-gone")),
        _ => error,
    }
}
