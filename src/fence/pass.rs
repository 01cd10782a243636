//! Whether leadbridge's own sessions may write to the fenced tables. A fence lets one role pass. After the
//! switch, an advisory lock lets one session of leadbridge write to Landing. A rollback closes a fence on
//! Traffic for a limited time.

use std::time::Duration;

use uuid::Uuid;

use super::closed;
use crate::error::{Error, Kind, Result};
use crate::language::message;
use crate::model::names::Names;
use crate::model::timestamp::Timestamp;
use crate::postgres::Database;
use crate::postgres::advisory::{self, ExclusiveRight};

/// How long an earlier session of leadbridge is given to end.
const PATIENCE: Duration = Duration::from_secs(2);

const LOOKING: &str = "looking for the fence around Landing";

/// Takes the right to write to Landing, which lasts as long as the session.
pub async fn take_right(landing: Database<'_>) -> Result<()> {
    let step = "taking the right to write to Landing";
    let key = ExclusiveRight::WriteLanding.key(landing.names);
    if advisory::take_within(landing.client, &key, step, PATIENCE).await? {
        return Ok(());
    }
    // Waited out like any fault, because the lock may be free again at any moment.
    let waits = |error: Error| error.of_kind(Kind::Transient);
    advisory::refuse_foreign(landing, ExclusiveRight::WriteLanding).await.map_err(waits)?;
    Err(Error::new(Kind::Transient, "another session of leadbridge still writes to Landing"))
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
pub async fn stands(landing: Database<'_>, cutover: Uuid) -> Result<bool> {
    let step = landing.during(LOOKING);
    Ok(step.row_if_any(&standing(landing.names), &[&cutover]).await?.is_some())
}

/// Checks that the fence keeps others from writing to Landing, and lets this session pass.
///
/// # Errors
/// Refused when others may write to Landing, or this session's role may not.
pub async fn check(landing: Database<'_>, cutover: Uuid) -> Result<()> {
    let sql =
        format!("SELECT writer::text, writer = session_user FROM ({}) AS standing", standing(landing.names));
    let Some(row) = landing.during(LOOKING).row_if_any(&sql, &[&cutover]).await? else {
        return Err(Error::refused(format!(
            "Traffic is switched to, but the fence of cutover {cutover} does not stand around Landing's tables"
        ))
        .remedy(message!("fence-remedy-lifted")));
    };
    refuse_damage(landing, cutover).await?;
    if row.get(1) {
        return Ok(());
    }
    let writer: &str = row.get(0);
    Err(Error::refused(format!("the fence around Landing's tables lets {writer} pass, and nobody else"))
        .remedy(message!("fence-remedy-other-user", writer = writer)))
}

/// Checks that the triggers of a closed fence are as the fence was closed with.
///
/// # Errors
/// Refused when a trigger was dropped, disabled or altered, or a table was replaced: writes may have passed.
pub async fn refuse_damage(fenced: Database<'_>, cutover: Uuid) -> Result<()> {
    let sql = format!("SELECT * FROM {}($1)", fenced.names.own("fence_damage"));
    let step = fenced.during(format!("looking at the fence's triggers on the {}", fenced.side));
    let rows = step.rows(&sql, &[&cutover]).await?;
    let damage: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    if damage.is_empty() {
        return Ok(());
    }
    Err(Error::refused(format!(
        "the fence of cutover {cutover} on the {} is damaged: {}; rows may have been written there since, which are \
         in no other database",
        fenced.side,
        damage.join("; ")
    ))
    .remedy(message!("fence-remedy-damaged")))
}

/// Checks every closed fence of a side with [`refuse_damage`].
///
/// # Errors
/// Refused, with the first damaged fence.
pub async fn refuse_any_damage(fenced: Database<'_>) -> Result<()> {
    for cutover in closed(fenced).await? {
        refuse_damage(fenced, cutover).await?;
    }
    Ok(())
}

/// Keeps the fence from being lifted until the open transaction on `landing` ends. Once a rollback has lifted
/// the fence, Landing takes new writes, and rows read on Traffic are older than Landing's.
///
/// # Errors
/// Transient when the fence was lifted: nothing more may be carried.
pub async fn hold(landing: Database<'_>, cutover: Uuid) -> Result<()> {
    let sql = format!("SELECT {}($1, false)", landing.names.own("hold_fence"));
    if landing.during("holding the fence around Landing").row(&sql, &[&cutover]).await?.get(0) {
        return Ok(());
    }
    Err(Error::new(Kind::Transient, "the fence around Landing was lifted: reverse replication has stopped"))
}

/// Checks that this role may write to Traffic's tables, in sessions of
/// [`Endpoint::connect_to_write`](crate::postgres::Endpoint::connect_to_write).
///
/// # Errors
/// Transient when another role has closed a fence, because a fence lets only its own role pass.
pub async fn check_passable(traffic: Database<'_>) -> Result<()> {
    let fence = traffic.names.own("fence");
    let step = traffic.during("looking for a fence around Traffic's tables");
    // Without the table `fence`, or without the right to read the table, no rollback of leadbridge has closed
    // a fence.
    let open = "SELECT COALESCE(pg_catalog.has_table_privilege(pg_catalog.to_regclass($1), 'SELECT'), false)";
    if !step.row(open, &[&fence]).await?.get::<_, bool>(0) {
        return Ok(());
    }
    let sql = format!(
        "SELECT writer::text, expires_at FROM {fence} WHERE lifted_at IS NULL AND writer <> session_user \
         AND (expires_at IS NULL OR expires_at > clock_timestamp()) ORDER BY expires_at DESC LIMIT 1"
    );
    let Some(row) = step.row_if_any(&sql, &[]).await? else { return Ok(()) };
    let (writer, until): (String, Option<Timestamp>) = (row.get(0), row.get(1));
    let until = until.map_or("it is lifted".to_owned(), |until| until.to_string());
    Err(Error::new(
        Kind::Transient,
        format!("no copy begins: Traffic refuses writes until {until}, and lets only the role {writer} pass"),
    )
    .remedy(message!("fence-remedy-wait-or-other-user", writer = writer)))
}
