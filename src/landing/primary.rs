//! Which server answers for Landing, and where its WAL is. After a failover it is another one, and while a failover
//! is under way each connection may reach another. The same of Traffic, for reverse replication.

use tokio_postgres::Client;
use tokio_postgres::types::PgLsn;

use crate::checkpoint::{LandingWal, TimelineHistory};
use crate::database::replication::Replication;
use crate::database::{Endpoint, Side};
use crate::error::{Error, Kind, Result};

/// The server that an attempt began with, and that each of its connections must reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Primary {
    pub side: Side,
    /// The cluster's system identifier: the same on its standbys.
    pub system_id: String,
    /// Never changes while a primary runs: a promoted standby has another.
    pub timeline: u32,
}

impl Primary {
    /// Makes sure that a replication session, before it does anything, has reached this server.
    ///
    /// # Errors
    /// Transient when it has not: a failover is under way, and the next attempt begins with the new server.
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

fn standby(side: Side) -> Error {
    let remedy =
        format!("promote it, or point {} to the primary; the daemon carries on by itself", side.variable());
    Error::new(Kind::Transient, format!("{side}: a standby that is not promoted yet")).remedy(remedy)
}

/// Where the WAL of that side is now, without its history.
///
/// # Errors
/// Transient on a standby.
pub async fn wal(control: &Client, side: Side) -> Result<LandingWal> {
    let step = format!("{side}: reading the timeline");
    let failed = |error| Error::database(&step, &error);
    // In recovery the functions for the position raise an error that would not be told from others.
    let row = control.query_one("SELECT pg_is_in_recovery()", &[]).await.map_err(failed)?;
    if row.get(0) {
        return Err(standby(side));
    }
    // The name of a WAL file begins with its timeline; no other function tells it at once after a promotion.
    let sql = "SELECT substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8), pg_current_wal_flush_lsn()";
    let row = control.query_one(sql, &[]).await.map_err(failed)?;
    let timeline = u32::from_str_radix(row.get(0), 16)
        .map_err(|_| Error::internal("the name of a WAL file is not understood"))?;
    let flushed = row.get::<_, PgLsn>(1).into();
    Ok(LandingWal { timeline, flushed, history: TimelineHistory::default() })
}

/// The same with the history that it takes to judge a position reached on the timeline `recorded`.
///
/// # Errors
/// Refused when the server has no history of its timeline.
pub async fn with_history(wal: LandingWal, landing: &Endpoint, recorded: Option<u32>) -> Result<LandingWal> {
    match recorded {
        Some(recorded) if recorded < wal.timeline => {
            let history = history(landing, wal.timeline).await?;
            Ok(LandingWal { history, ..wal })
        }
        _ => Ok(wal),
    }
}

async fn history(landing: &Endpoint, timeline: u32) -> Result<TimelineHistory> {
    let step = format!("reading the history of Landing's timeline {timeline}");
    let mut session = landing.replicate().await?;
    session.timeline_history(&step, timeline).await.map_err(no_history)?.parse()
}

/// The file is copied with every base backup, and never removed by the server: it does not come back by itself.
fn no_history(error: Error) -> Error {
    match error.sqlstate().map(|code| code.code()) {
        Some("58P01") => Error::refused(error.message()).remedy(
            "whether Landing still has everything that Traffic has cannot be told: put the history file back into \
             pg_wal from the archive, or run `leadbridge resync`",
        ),
        _ => error,
    }
}
