//! The reason why the last run ended, kept for `leadbridge status`: in the state directory, and on Traffic,
//! because the next run may be on another machine. The record holds the text of the log: no row values and no
//! password.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use crate::checkpoint::Installation;
use crate::config::Config;
use crate::disk;
use crate::error::{Error, Kind, Result};
use crate::model::names::Names;
use crate::postgres::Database;
use crate::postgres::advisory::{self, ExclusiveRight, Holder};
use crate::postgres::step::during;
use crate::telemetry::LastError;

const FILE: &str = "last_error.json";

/// Time limit for writing the record to Traffic at the end of a process.
const LIMIT: Duration = Duration::from_secs(3);

/// Records why a run has ended. A place that cannot be written is skipped, because the error is on stderr as
/// well.
pub async fn keep(config: &Config, error: &Error) {
    let last = keep_here(&config.state_dir, error);
    let kept = tokio::time::timeout(LIMIT, write_row(config, &last)).await;
    match kept {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("the last error is not kept on Traffic: {error}"),
        Err(_) => tracing::debug!("the last error is not kept on Traffic: no answer in time"),
    }
}

/// Records why a run ends in the state directory alone, for a process that must not wait for a database.
pub fn keep_here(state_dir: &Path, error: &Error) -> LastError {
    // The process ends, so even an error of a retryable kind is not retried.
    let last = LastError { retrying: false, ..LastError::new(error) };
    if let Err(error) = write_file(state_dir, &last) {
        tracing::debug!(%error, "the last error is not kept in the state directory");
    }
    last
}

/// Deletes the record, because a stream is about to run.
///
/// # Errors
/// Traffic cannot be queried.
pub async fn forget(traffic: &Client, config: &Config) -> Result<()> {
    let removed = std::fs::remove_file(file(&config.state_dir));
    if let Err(error) = removed.or_else(absent_is_fine) {
        tracing::warn!(%error, "the last error cannot be removed from the state directory");
    }
    let sql = format!("DELETE FROM {} WHERE slot = $1", config.names.own("last_error"));
    let forgotten = during(traffic, "forgetting the last error").run(&sql, &[&config.names.slot]).await;
    unless_closed(forgotten).map(drop)
}

/// The newer record of both places. A place that cannot be read counts as a place without a record.
pub fn latest(state_dir: &Path, on_traffic: Option<LastError>) -> Option<LastError> {
    let text = std::fs::read(file(state_dir)).ok();
    let here = text.and_then(|text| serde_json::from_slice::<LastError>(&text).ok());
    here.into_iter().chain(on_traffic).max_by_key(|last| last.at)
}

/// The record on Traffic; `None` also when the table does not exist or the role may not read the table.
///
/// # Errors
/// Traffic cannot be queried.
pub async fn read_row(traffic: &Client, names: &Names) -> Result<Option<LastError>> {
    let sql = format!(
        "SELECT message, remedy, EXTRACT(EPOCH FROM at)::float8 FROM {} WHERE slot = $1",
        names.own("last_error")
    );
    let row = traffic.query_opt(&sql, &[&names.slot]).await;
    let row = row.map_err(|error| Error::database("asking Traffic for the last error", &error));
    Ok(unless_closed(row)?.flatten().map(|row| LastError {
        message: row.get(0),
        remedy: row.get(1),
        remedy_message: None,
        at: Timestamp::from_millisecond((row.get::<_, f64>(2) * 1e3) as i64).unwrap_or(Timestamp::UNIX_EPOCH),
        retrying: false,
    }))
}

fn file(state_dir: &Path) -> PathBuf {
    state_dir.join(FILE)
}

/// Replaces the file atomically: a reader never sees a partial file.
fn write_file(state_dir: &Path, last: &LastError) -> std::io::Result<()> {
    let text = serde_json::to_vec(last)?;
    disk::replace(&file(state_dir), &text)
}

async fn write_row(config: &Config, last: &LastError) -> Result<()> {
    let (names, step) = (&config.names, "keeping the last error on Traffic");
    let traffic = config.traffic.connect("status").await?;
    // The schema of another installation has that installation's last error.
    Installation::refuse_another(Database::traffic(&traffic, &config.names), &config.landing).await?;
    // While another daemon holds the lease, replication works, and this process's error must not be reported.
    let holders = advisory::holders(Database::traffic(&traffic, names), ExclusiveRight::Lease).await?;
    if !holders.iter().any(Holder::is_ours) {
        let sql = format!(
            "INSERT INTO {} AS l (slot, message, remedy, at, leadbridge_version) \
             VALUES ($1, $2, $3, to_timestamp($4), $5) ON CONFLICT (slot) DO UPDATE \
             SET (message, remedy, at, leadbridge_version) = \
             (EXCLUDED.message, EXCLUDED.remedy, EXCLUDED.at, EXCLUDED.leadbridge_version)",
            names.own("last_error")
        );
        let at = last.at.as_millisecond() as f64 / 1e3;
        let version = env!("CARGO_PKG_VERSION");
        let parameters: [&(dyn ToSql + Sync); 5] = [&names.slot, &last.message, &last.remedy, &at, &version];
        during(&traffic, step).run(&sql, &parameters).await?;
    }
    traffic.close().await;
    Ok(())
}

fn absent_is_fine(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// A table that `migrate` has not created yet, or that the role may not use, is reported by other checks.
fn unless_closed<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.kind() == Kind::Refused => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(message: &str, second: i64) -> LastError {
        let at = Timestamp::from_second(second).unwrap();
        LastError { message: message.into(), remedy: None, remedy_message: None, at, retrying: false }
    }

    #[test]
    fn the_newer_error_is_the_last_one_and_a_torn_file_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path();
        assert_eq!(latest(place, None), None);
        assert_eq!(latest(place, Some(last("there", 1))), Some(last("there", 1)));
        write_file(place, &last("here", 2)).unwrap();
        assert_eq!(latest(place, Some(last("there", 1))), Some(last("here", 2)));
        assert_eq!(latest(place, Some(last("there", 3))), Some(last("there", 3)));
        std::fs::write(file(place), b"{\"mess").unwrap();
        assert_eq!(latest(place, None), None);
        assert!(write_file(Path::new("/nowhere/at/all"), &last("here", 2)).is_err());
    }
}
