//! Lifting the fence: writers are held in front of the fence, let through, and the triggers go.

use std::time::Duration;

use tokio_postgres::error::SqlState;
use uuid::Uuid;

use super::call;
use crate::error::Result;
use crate::postgres::Database;

/// Time for which a session that holds Landing's writers may be idle, and so outlive the command.
const IDLE: Duration = Duration::from_secs(10);

/// Fences that were closed and not lifted, including a fence whose deadline has passed.
pub async fn closed(fenced: Database<'_>) -> Result<Vec<Uuid>> {
    let sql = format!("SELECT cutover_id FROM {} WHERE lifted_at IS NULL", fenced.names.own("fence"));
    let rows = fenced.during("looking for closed fences").rows(&sql, &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Opens a closed fence. Returns false when there was no closed fence.
pub async fn lift(fenced: Database<'_>, cutover: Uuid) -> Result<bool> {
    call(fenced, "lift_fence", cutover).await
}

/// Opens every closed fence.
pub async fn lift_all(fenced: Database<'_>) -> Result<()> {
    for closed in closed(fenced).await? {
        lift(fenced, closed).await?;
    }
    Ok(())
}

/// Lets writers wait in front of a closed fence, in a transaction that [`open`] ends, because the fence would
/// otherwise refuse the writers. Reverse replication waits as well, and finds the fence lifted afterwards.
/// Without the tables' locks, which a VACUUM may hold, writers are refused until [`open`].
pub async fn wait(fenced: Database<'_>, lock_timeout: Duration) -> Result<()> {
    // Only reverse replication writes to these tables, and locks the fence's row before a table. The order of
    // the locks is the same here, so no deadlock is possible.
    let step = fenced.during("holding writers in front of the fence");
    step.batch(&format!(
        "BEGIN; SET LOCAL lock_timeout = '{}ms'; SET LOCAL idle_in_transaction_session_timeout = '{}ms'",
        lock_timeout.as_millis().max(1),
        IDLE.as_millis()
    ))
    .await?;
    for closed in closed(fenced).await? {
        let hold = format!("SELECT {}($1, true)", fenced.names.own("hold_fence"));
        step.row(&hold, &[&closed]).await?;
    }
    let sql = format!(
        "DO $lock$ DECLARE fenced regclass; BEGIN FOR fenced IN SELECT DISTINCT tgrelid::regclass FROM pg_trigger \
         WHERE tgname LIKE 'leadbridge\\_fence%' AND tgrelid IN (SELECT {}(true)) LOOP \
         EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', fenced); END LOOP; END $lock$",
        fenced.names.own("fenced_tables")
    );
    step.batch("SAVEPOINT tables").await?;
    match step.batch(&sql).await {
        Err(error) if error.sqlstate() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
            tracing::info!("writers are refused until the fence is lifted: another session holds the tables");
            step.batch("ROLLBACK TO tables").await
        }
        locked => locked,
    }
}

/// Opens every closed fence, and lets the waiting writers through.
pub async fn open(fenced: Database<'_>) -> Result<()> {
    lift_all(fenced).await?;
    fenced.during("opening the fence").batch("COMMIT").await
}

/// Drops the triggers of a lifted fence, if no other session holds the tables. The triggers refuse nothing
/// any more.
pub async fn remove(fenced: Database<'_>, cutover: Uuid) -> Result<()> {
    let sql = format!(
        "BEGIN; SET LOCAL lock_timeout = '200ms'; SELECT {}('{cutover}'); COMMIT",
        fenced.names.own("remove_lifted_fence")
    );
    let step = fenced.during("taking the lifted fence's triggers away");
    let removed = step.batch(&sql).await;
    if removed.is_err() {
        step.batch("ROLLBACK").await?;
    }
    removed
}

/// Gives a permanent fence an expiry. Nothing happens to a fence that has an expiry or is lifted.
pub async fn expire(fenced: Database<'_>, cutover: Uuid, valid_for: Duration) -> Result<()> {
    let sql = format!("SELECT {}($1, make_interval(secs => $2))", fenced.names.own("expire_fence"));
    let step = fenced.during("giving the fence an expiry");
    step.row(&sql, &[&cutover, &valid_for.as_secs_f64()]).await.map(drop)
}

/// Lifts the fences that have expired, and removes the triggers of every fence that refuses nothing any more.
/// A table that is in use keeps its triggers until the next call.
pub async fn sweep(fenced: Database<'_>) -> Result<()> {
    let sql = format!(
        "SELECT f.cutover_id, f.lifted_at IS NULL FROM {} AS f \
         WHERE (f.lifted_at IS NOT NULL OR f.expires_at <= clock_timestamp()) AND EXISTS (SELECT FROM pg_trigger AS t \
         WHERE t.tgname LIKE 'leadbridge\\_fence\\_' || replace(f.cutover_id::text, '-', '') || '%')",
        fenced.names.own("fence")
    );
    let step = fenced.during("looking for fences that are over");
    for row in step.rows(&sql, &[]).await? {
        let cutover = row.get(0);
        if row.get(1) {
            lift(fenced, cutover).await?;
        }
        if let Err(error) = remove(fenced, cutover).await {
            tracing::debug!("{}", error.message());
        }
    }
    Ok(())
}
