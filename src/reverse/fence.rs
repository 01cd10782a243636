//! Who may write to Landing after the switch: one role, by the fence, and one session of it.

use std::time::Duration;

use tokio_postgres::Client;
use uuid::Uuid;

use crate::database::advisory;
use crate::error::{Error, Kind, Result};
use crate::names::Names;

/// How long an earlier session of ours is given to end.
const PATIENCE: Duration = Duration::from_secs(2);

/// Takes the right to write to Landing, which goes with the session.
pub(super) async fn take_right(landing: &Client, names: &Names) -> Result<()> {
    let step = "taking the right to write to Landing";
    if advisory::take_within(landing, &right(names), step, PATIENCE).await? {
        return Ok(());
    }
    Err(Error::new(Kind::Transient, "another session of leadbridge still writes to Landing"))
}

/// The name of the advisory lock on Landing that is the right to write there.
pub(crate) fn right(names: &Names) -> String {
    format!("leadbridge/{}/{}/reverse", names.schema, names.slot)
}

/// The fence that stands, as a subquery; its parameter is the cutover.
fn standing(names: &Names) -> String {
    format!(
        "SELECT f.writer FROM {} AS f WHERE f.cutover_id = $1 AND f.lifted_at IS NULL \
         AND (f.expires_at IS NULL OR f.expires_at > clock_timestamp())",
        names.own("fence")
    )
}

/// Whether nobody else may write to Landing's tables.
pub(super) async fn stands(landing: &Client, names: &Names, cutover: Uuid) -> Result<bool> {
    let row = landing.query_opt(&standing(names), &[&cutover]).await;
    Ok(row.map_err(|error| Error::database("looking for the fence around Landing", &error))?.is_some())
}

/// # Errors
/// Others may write to Landing, or we may not.
pub(super) async fn check(landing: &Client, names: &Names, cutover: Uuid) -> Result<()> {
    let sql = format!("SELECT writer::text, writer = session_user FROM ({}) AS standing", standing(names));
    let row = landing.query_opt(&sql, &[&cutover]).await;
    let row = row.map_err(|error| Error::database("looking for the fence around Landing", &error))?;
    let Some(row) = row else {
        return Err(Error::refused(format!(
            "Traffic is switched to, but the fence of cutover {cutover} does not stand around Landing's tables"
        ))
        .remedy(
            "whoever writes there now writes past everybody: find out who lifted it, and bring what was written to \
             Traffic; the fence is the row of that cutover in leadbridge.fence on Landing",
        ));
    };
    if row.get(1) {
        return Ok(());
    }
    let writer: &str = row.get(0);
    Err(Error::refused(format!("the fence around Landing's tables lets {writer} pass, and nobody else"))
        .remedy(format!("let LANDING_DATABASE_URL name the user of the cutover, {writer}")))
}

/// Keeps the fence standing until the transaction ends that is open on `landing`. A rollback lifts it: what is read on
/// Traffic from then on is older than what Landing has.
///
/// # Errors
/// Transient when it was lifted: nothing more may be carried.
pub(super) async fn hold(landing: &Client, names: &Names, cutover: Uuid) -> Result<()> {
    let sql = format!("SELECT {}($1, false)", names.own("hold_fence"));
    let row = landing.query_one(&sql, &[&cutover]).await;
    let row = row.map_err(|error| Error::database("holding the fence around Landing", &error))?;
    if row.get(0) {
        return Ok(());
    }
    Err(Error::new(Kind::Transient, "the fence around Landing was lifted: nothing is carried back any more"))
}
