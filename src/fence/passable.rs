//! The fence that a rollback closes on Traffic's tables for a limited time: the check for leadbridge's own
//! sessions.

use tokio_postgres::Client;

use crate::error::{Error, Kind, Result};
use crate::model::names::Names;
use crate::model::timestamp::Timestamp;

const STEP: &str = "looking for a fence around Traffic's tables";

/// Checks that this role may write to Traffic's tables, in sessions of
/// [`Endpoint::connect_to_write`](crate::postgres::Endpoint::connect_to_write).
///
/// # Errors
/// Transient when another role has closed a fence, because a fence lets only its own role pass.
pub async fn check_passable(traffic: &Client, names: &Names) -> Result<()> {
    let fence = names.own("fence");
    let failed = |error| Error::database(STEP, &error);
    // Without the table `fence`, or without the right to read the table, no rollback of leadbridge has closed
    // a fence.
    let open = "SELECT COALESCE(pg_catalog.has_table_privilege(pg_catalog.to_regclass($1), 'SELECT'), false)";
    if !traffic.query_one(open, &[&fence]).await.map_err(failed)?.get::<_, bool>(0) {
        return Ok(());
    }
    let sql = format!(
        "SELECT writer::text, expires_at FROM {fence} WHERE lifted_at IS NULL AND writer <> session_user \
         AND (expires_at IS NULL OR expires_at > clock_timestamp()) ORDER BY expires_at DESC LIMIT 1"
    );
    let Some(row) = traffic.query_opt(&sql, &[]).await.map_err(failed)? else { return Ok(()) };
    let (writer, until): (String, Option<Timestamp>) = (row.get(0), row.get(1));
    let until = until.map_or("it is lifted".to_owned(), |until| until.to_string());
    Err(Error::new(
        Kind::Transient,
        format!("no copy begins: Traffic refuses writes until {until}, and lets only the role {writer} pass"),
    )
    .remedy(format!("wait until then; or let TRAFFIC_DATABASE_URL name the user of the rollback, {writer}")))
}
