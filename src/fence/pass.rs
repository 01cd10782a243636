//! The right to write to Landing after the switch: the fence lets one role pass, and an advisory lock lets
//! one session of leadbridge write.

use std::time::Duration;

use tokio_postgres::Client;
use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::model::names::Names;
use crate::postgres::advisory;
use crate::postgres::step::during;

/// How long an earlier session of leadbridge is given to end.
const PATIENCE: Duration = Duration::from_secs(2);

/// Takes the right to write to Landing, which lasts as long as the session.
pub async fn take_right(landing: &Client, names: &Names) -> Result<()> {
    let step = "taking the right to write to Landing";
    if advisory::take_within(landing, &right(names), step, PATIENCE).await? {
        return Ok(());
    }
    Err(Error::new(Kind::Transient, "another session of leadbridge still writes to Landing"))
}

/// Name of the advisory lock on Landing that stands for the right to write there.
pub(crate) fn right(names: &Names) -> String {
    format!("leadbridge/{}/{}/reverse", names.schema, names.slot)
}

/// A subquery for the fence, empty if the fence does not stand. The parameter is the id of the cutover.
fn standing(names: &Names) -> String {
    format!(
        "SELECT f.writer FROM {} AS f WHERE f.cutover_id = $1 AND f.lifted_at IS NULL \
         AND (f.expires_at IS NULL OR f.expires_at > clock_timestamp())",
        names.own("fence")
    )
}

/// Whether the fence stands, so that nobody else may write to Landing's tables.
pub async fn stands(landing: &Client, names: &Names, cutover: Uuid) -> Result<bool> {
    let row = during(landing, "looking for the fence around Landing")
        .row_if_any(&standing(names), &[&cutover])
        .await?;
    Ok(row.is_some())
}

/// Checks that the fence keeps others from writing to Landing, and lets this session pass.
///
/// # Errors
/// Refused when others may write to Landing, or this session's role may not.
pub async fn check(landing: &Client, names: &Names, cutover: Uuid) -> Result<()> {
    let sql = format!("SELECT writer::text, writer = session_user FROM ({}) AS standing", standing(names));
    let row = landing.query_opt(&sql, &[&cutover]).await;
    let row = row.map_err(|error| Error::database("looking for the fence around Landing", &error))?;
    let Some(row) = row else {
        return Err(Error::refused(format!(
            "Traffic is switched to, but the fence of cutover {cutover} does not stand around Landing's tables"
        ))
        .remedy(
            "rows written there now reach no other database: find out who lifted the fence, and write these \
             rows to Traffic; the fence is the row of that cutover in leadbridge.fence on Landing",
        ));
    };
    if row.get(1) {
        return Ok(());
    }
    let writer: &str = row.get(0);
    Err(Error::refused(format!("the fence around Landing's tables lets {writer} pass, and nobody else"))
        .remedy(format!("let LANDING_DATABASE_URL name the user of the cutover, {writer}")))
}

/// Keeps the fence from being lifted until the open transaction on `landing` ends. Once a rollback has lifted
/// the fence, Landing takes new writes, and rows read on Traffic are older than Landing's.
///
/// # Errors
/// Transient when the fence was lifted: nothing more may be carried.
pub async fn hold(landing: &Client, names: &Names, cutover: Uuid) -> Result<()> {
    let sql = format!("SELECT {}($1, false)", names.own("hold_fence"));
    let row = landing.query_one(&sql, &[&cutover]).await;
    let row = row.map_err(|error| Error::database("holding the fence around Landing", &error))?;
    if row.get(0) {
        return Ok(());
    }
    Err(Error::new(Kind::Transient, "the fence around Landing was lifted: reverse replication has stopped"))
}
