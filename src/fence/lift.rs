//! Lifting the fence: writers are held in front of the fence, let through, and the triggers go.

use std::time::Duration;

use uuid::Uuid;

use super::call;
use crate::error::Result;
use crate::postgres::Database;

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

/// Lets writers wait in front of a closed fence, in a transaction that [`open`] ends, because the fence would
/// otherwise refuse the writers. Reverse replication waits as well, and finds the fence lifted afterwards.
pub async fn wait(fenced: Database<'_>, lock_timeout: Duration) -> Result<()> {
    // Only reverse replication writes to these tables, and locks the fence's row before a table. The order of
    // the locks is the same here, so no deadlock is possible.
    let step = fenced.during("holding writers in front of the fence");
    step.batch(&format!("BEGIN; SET LOCAL lock_timeout = '{}ms'", lock_timeout.as_millis().max(1))).await?;
    for closed in closed(fenced).await? {
        let hold = format!("SELECT {}($1, true)", fenced.names.own("hold_fence"));
        step.row(&hold, &[&closed]).await?;
    }
    let sql = format!(
        "DO $lock$ DECLARE fenced regclass; BEGIN \
         FOR fenced IN SELECT tgrelid::regclass FROM pg_trigger WHERE tgname = 'leadbridge_fence' \
         AND tgrelid IN (SELECT {}(true)) LOOP \
         EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', fenced); END LOOP; END $lock$",
        fenced.names.own("fenced_tables")
    );
    step.batch(&sql).await
}

/// Opens every closed fence, and lets the waiting writers through.
pub async fn open(fenced: Database<'_>) -> Result<()> {
    for closed in closed(fenced).await? {
        lift(fenced, closed).await?;
    }
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
