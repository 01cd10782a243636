//! The fence during a cutover or rollback: one open transaction on the fenced side (`sql/fence.sql`).
//!
//! Until the transaction commits, writers wait for its locks and nothing has changed. A killed command, a
//! broken connection or a time limit of the server ends the transaction, and with the transaction the fence.
//! After the commit, writers get an error with the operator's message.

pub mod holders;
pub mod pass;
pub mod passable;
pub mod roles;

use std::time::{Duration, Instant};

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::model::names::Names;
use crate::postgres::step::during;
use crate::postgres::{Session, advisory};
use roles::{FencedRoles, Tried};

/// Terms of closing the fence.
#[derive(Clone, Debug)]
pub struct FenceTerms {
    pub cutover: Uuid,
    /// Message to a writer that the closed fence refuses.
    pub message: String,
    /// Whether the fence includes `scheduled_notifications`.
    pub with_notifications: bool,
    /// Longest time for which an unsuccessful attempt may hold up a writer.
    pub lock_timeout: Duration,
    /// Longest time for which the transaction may be idle, and so outlive the command.
    pub idle_limit: Duration,
    /// Time after which the closed fence opens by itself, unless [`keep`] makes the fence permanent.
    pub valid_for: Duration,
}

/// Pause between two attempts, long enough for the held-up writers to pass.
const PAUSE: Duration = Duration::from_millis(500);

/// A fence that blocks every writer, in a transaction that has not been committed.
pub struct HeldFence {
    session: Session,
    cutover: Uuid,
    since: Instant,
}

/// Takes the fence, with repeated attempts until `patience` is over.
///
/// # Errors
/// Transient, with the sessions that hold the tables, when no attempt got its locks; no writer waits any
/// more.
pub async fn hold(
    session: Session,
    names: &Names,
    terms: &FenceTerms,
    patience: Duration,
) -> Result<HeldFence> {
    let started = Instant::now();
    loop {
        // A writer waits from this moment on at the earliest, so the reported pause is never too short.
        let since = Instant::now();
        let Err(error) = attempt(&session, names, terms).await else {
            return Ok(HeldFence { session, cutover: terms.cutover, since });
        };
        during(&session, FENCING).batch("ROLLBACK").await?;
        let locked = matches!(
            error.code(),
            Some(
                &SqlState::LOCK_NOT_AVAILABLE | &SqlState::QUERY_CANCELED | &SqlState::T_R_DEADLOCK_DETECTED
            )
        );
        if !locked {
            return Err(Error::database(FENCING, &error));
        }
        let holders = holders::of_tables(&session, names, terms.with_notifications).await?;
        if started.elapsed() + PAUSE >= patience {
            let who = if holders.is_empty() { "somebody".to_owned() } else { holders.join("; ") };
            return Err(Error::new(
                Kind::Transient,
                format!("the tables could not be locked: they are held by {who}"),
            )
            .remedy("wait for that transaction to end, or end it, then try again; nothing was changed"));
        }
        tracing::info!("the tables are held by {}: trying again", holders.join("; "));
        tokio::time::sleep(PAUSE).await;
    }
}

const FENCING: &str = "closing the fence";

async fn attempt(
    session: &Client,
    names: &Names,
    terms: &FenceTerms,
) -> std::result::Result<(), tokio_postgres::Error> {
    // An attempt may wait for the lock of each table while the attempt holds the locks of earlier tables. The
    // waits together must not be longer than `lock_timeout`.
    let each = terms.lock_timeout / if terms.with_notifications { 3 } else { 2 };
    session
        .batch_execute(&format!(
            "BEGIN; SET LOCAL lock_timeout = '{}ms'; SET LOCAL idle_in_transaction_session_timeout = '{}ms'; \
             SET LOCAL client_min_messages = warning",
            each.as_millis().max(1),
            terms.idle_limit.as_millis().max(1)
        ))
        .await?;
    // The lock tells [`is_released`] that this transaction is alive.
    session
        .query_one("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", &[&life(terms.cutover)])
        .await?;
    let close = format!("SELECT {}($1, $2, make_interval(secs => $3), $4)", names.own("close_fence"));
    let valid_for = terms.valid_for.as_secs_f64();
    let notifications = terms.with_notifications;
    session.query_one(&close, &[&terms.cutover, &terms.message, &valid_for, &notifications]).await.map(|_| ())
}

impl HeldFence {
    /// The session whose transaction holds the fence.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// How long writers have been waiting.
    pub fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }

    /// Tries a write as each role that may write, and undoes the write.
    ///
    /// # Errors
    /// Refused when the fence lets a write pass.
    pub async fn prove(&self, writers: &FencedRoles) -> Result<Tried> {
        writers.try_each(&self.session, self.cutover).await
    }

    /// Commits the fence: from the commit on, writers are refused. Returns how long writers waited.
    pub async fn commit(self) -> Result<Duration> {
        during(&self.session, FENCING).batch("COMMIT").await?;
        Ok(self.since.elapsed())
    }

    /// Rolls the fence back, so that nothing has changed.
    pub async fn undo(self) {
        // A server that is gone has rolled the transaction back by itself.
        if self.session.batch_execute("ROLLBACK").await.is_err() {
            tracing::info!("the fence's transaction is gone with its connection");
        }
        self.session.close().await;
    }
}

/// Makes a closed fence permanent, whatever its deadline was.
///
/// # Errors
/// Refused when the fence is open, because its deadline has passed.
pub async fn keep(client: &Client, names: &Names, cutover: Uuid) -> Result<()> {
    if call(client, names, "keep_fence", cutover).await? {
        return Ok(());
    }
    Err(Error::refused("the fence has opened by itself: its deadline has passed")
        .remedy("try again with a longer --timeout or a faster --hook"))
}

/// Whether the transaction that took the fence of `cutover` has ended. After a commit, the fence exists and
/// can be lifted; after a rollback, the fence does not exist and never will.
pub async fn is_released(client: &Client, cutover: Uuid) -> Result<bool> {
    let (life, step) = (life(cutover), "looking for the fence's transaction");
    let taken = advisory::take(client, &life, step).await?;
    if taken {
        advisory::give_back(client, &life, step).await?;
    }
    Ok(taken)
}

fn life(cutover: Uuid) -> String {
    format!("leadbridge/fence/{cutover}")
}

/// Opens a closed fence. Returns false when there was no closed fence.
pub async fn lift(client: &Client, names: &Names, cutover: Uuid) -> Result<bool> {
    call(client, names, "lift_fence", cutover).await
}

/// Lets writers wait in front of a closed fence, in a transaction that [`open`] ends, because the fence would
/// otherwise refuse the writers. Reverse replication waits as well, and finds the fence lifted afterwards.
pub async fn wait(fenced: &Client, names: &Names, lock_timeout: Duration) -> Result<()> {
    // Only reverse replication writes to these tables, and locks the fence's row before a table. The order of
    // the locks is the same here, so no deadlock is possible.
    let failed = |error| Error::database("holding writers in front of the fence", &error);
    let begin = format!("BEGIN; SET LOCAL lock_timeout = '{}ms'", lock_timeout.as_millis().max(1));
    fenced.batch_execute(&begin).await.map_err(failed)?;
    for closed in closed(fenced, names).await? {
        let hold = format!("SELECT {}($1, true)", names.own("hold_fence"));
        fenced.query_one(&hold, &[&closed]).await.map_err(failed)?;
    }
    let sql = format!(
        "DO $lock$ DECLARE fenced regclass; BEGIN \
         FOR fenced IN SELECT tgrelid::regclass FROM pg_trigger WHERE tgname = 'leadbridge_fence' \
         AND tgrelid IN (SELECT {}(true)) LOOP \
         EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', fenced); END LOOP; END $lock$",
        names.own("fenced_tables")
    );
    fenced.batch_execute(&sql).await.map_err(failed)
}

/// Opens every closed fence, and lets the waiting writers through.
pub async fn open(fenced: &Client, names: &Names) -> Result<()> {
    for closed in closed(fenced, names).await? {
        lift(fenced, names, closed).await?;
    }

    during(fenced, "opening the fence").batch("COMMIT").await
}

/// Fences that were closed and not lifted, including a fence whose deadline has passed.
pub async fn closed(client: &Client, names: &Names) -> Result<Vec<Uuid>> {
    let sql = format!("SELECT cutover_id FROM {} WHERE lifted_at IS NULL", names.own("fence"));
    let rows = client.query(&sql, &[]).await;
    let rows = rows.map_err(|error| Error::database("looking for closed fences", &error))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Drops the triggers of a lifted fence, if no other session holds the tables. The triggers refuse nothing
/// any more.
pub async fn remove(client: &Client, names: &Names, cutover: Uuid) -> Result<()> {
    let sql = format!(
        "BEGIN; SET LOCAL lock_timeout = '200ms'; SELECT {}('{cutover}'); COMMIT",
        names.own("remove_lifted_fence")
    );
    let Err(error) = client.batch_execute(&sql).await else { return Ok(()) };
    during(client, FENCING).batch("ROLLBACK").await?;
    Err(Error::database("taking the lifted fence's triggers away", &error))
}

async fn call(client: &Client, names: &Names, function: &str, cutover: Uuid) -> Result<bool> {
    let sql = format!("SELECT {}($1)", names.own(function));
    let row = during(client, format!("calling {function}")).row(&sql, &[&cutover]).await?;
    Ok(row.get(0))
}
