//! Closing the fence: the locks, the trial, and the commit.

use std::time::{Duration, Instant};

use tokio_postgres::error::SqlState;
use uuid::Uuid;

use super::roles::{FencedRoles, Tried};
use super::{call, holders, pass};
use crate::error::{Error, Kind, Result};
use crate::language::message;
use crate::model::change::Table;
use crate::model::names::Names;
use crate::model::side::Side;
use crate::postgres::advisory::{self, ExclusiveRight};
use crate::postgres::step::during;
use crate::postgres::{Backend, Database, Endpoint, Session};

const FENCING: &str = "closing the fence";

/// Terms of closing the fence.
#[derive(Clone, Debug)]
pub struct FenceTerms<'n> {
    pub names: &'n Names,
    pub cutover: Uuid,
    /// Message to a writer that the closed fence refuses.
    pub message: String,
    /// Whether the fence includes `scheduled_notifications`.
    pub with_notifications: bool,
    /// Longest time for which an unsuccessful attempt may hold up a writer.
    pub lock_timeout: Duration,
    /// Longest time for which the transaction may be idle, and so outlive the command.
    pub idle_limit: Duration,
    /// Time after which the closed fence opens by itself, unless [`keep`] makes the fence permanent; `None` for
    /// a fence that stays closed.
    pub valid_for: Option<Duration>,
}

/// Time for the end of the fence's transaction, while writers wait.
const UNDOING: Duration = Duration::from_secs(1);

/// Pause between two attempts, long enough for the held-up writers to pass.
const PAUSE: Duration = Duration::from_millis(500);

/// A fence that blocks every writer, in a transaction that has not been committed.
pub struct HeldFence {
    session: Session,
    cutover: Uuid,
    since: Instant,
}

impl FenceTerms<'_> {
    /// Takes the fence of `fenced`, with repeated attempts until `patience` is over.
    ///
    /// # Errors
    /// Transient, with the sessions that hold the tables, when no attempt got its locks; no writer waits any
    /// more.
    pub async fn hold(&self, fenced: &Endpoint, patience: Duration) -> Result<HeldFence> {
        let session = fenced.connect("fence").await?;
        let database = Database { client: &session, side: fenced.side(), names: self.names };
        self.check_extent(database).await?;
        let started = Instant::now();
        loop {
            // A writer waits from this moment on at the earliest, so the reported pause is never too short.
            let since = Instant::now();
            let Err(error) = self.attempt(database).await else {
                return Ok(HeldFence { session, cutover: self.cutover, since });
            };
            during(&session, FENCING).batch("ROLLBACK").await?;
            let locked = matches!(
                error.sqlstate(),
                Some(
                    &SqlState::LOCK_NOT_AVAILABLE
                        | &SqlState::QUERY_CANCELED
                        | &SqlState::T_R_DEADLOCK_DETECTED
                )
            );
            if !locked {
                return Err(error);
            }
            let holders = holders::of_tables(database, self.with_notifications).await?;
            if started.elapsed() + PAUSE >= patience {
                return Err(Error::new(
                    Kind::Transient,
                    format!("the tables could not be locked: they are held by {}", holders::phrase(&holders)),
                )
                .remedy(message!("error-remedy-held-nothing-changed")));
            }
            tracing::info!("the tables are held by {}: trying again", holders.join("; "));
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The fence's functions name the tables, and skip a name that no table has.
    async fn check_extent(&self, fenced: Database<'_>) -> Result<()> {
        let open = left_open(fenced, self.with_notifications).await?;
        if open.is_empty() {
            return Ok(());
        }
        Err(Error::refused(format!(
            "the fence on the {} would leave {} open to writers: it was made for tables of other names",
            fenced.side,
            open.join(", ")
        ))
        .remedy(message!("report-migrate")))
    }

    async fn attempt(&self, fenced: Database<'_>) -> Result<()> {
        // An attempt may wait for the lock of each table while the attempt holds the locks of earlier tables.
        // The waits together must not be longer than `lock_timeout`.
        let each = self.lock_timeout / if self.with_notifications { 3 } else { 2 };
        let step = fenced.during(FENCING);
        step.batch(&format!(
            "BEGIN; SET LOCAL lock_timeout = '{}ms'; SET LOCAL idle_in_transaction_session_timeout = '{}ms'",
            each.as_millis().max(1),
            self.idle_limit.as_millis().max(1)
        ))
        .await?;
        // The lock tells [`is_released`] that this transaction is alive.
        let life = ExclusiveRight::Fence(self.cutover);
        let take = format!("SELECT pg_try_advisory_xact_lock({})", life.key(self.names));
        if !step.row(&take, &[]).await?.get::<_, bool>(0) {
            advisory::refuse_foreign(fenced, life).await?;
            return Err(Error::internal(format!("another session of leadbridge holds {life}")));
        }
        let close =
            format!("SELECT {}($1, $2, make_interval(secs => $3), $4)", self.names.own("close_fence"));
        let valid_for = self.valid_for.map(|valid_for| valid_for.as_secs_f64());
        let closed =
            step.row(&close, &[&self.cutover, &self.message, &valid_for, &self.with_notifications]).await;
        match closed {
            Err(error) if error.sqlstate() == Some(&SqlState::OBJECT_IN_USE) => Err(standing(fenced.side)),
            closed => closed.map(drop),
        }
    }
}

/// The replicated tables that a closed fence would not close, because the fence was made before the tables had
/// their names.
pub async fn left_open(fenced: Database<'_>, with_notifications: bool) -> Result<Vec<String>> {
    let tables: Vec<String> =
        Table::replicated(with_notifications).into_iter().map(|table| fenced.table(table)).collect();
    let sql = format!(
        "SELECT name FROM unnest($1::text[]) AS name WHERE pg_catalog.to_regclass(name) IS NOT NULL \
         AND pg_catalog.to_regclass(name) NOT IN (SELECT closed FROM {}($2) AS closed)",
        fenced.names.own("fenced_tables")
    );
    let step = fenced.during(format!("asking the fence on the {} for its tables", fenced.side));
    Ok(step.rows(&sql, &[&tables, &with_notifications]).await?.iter().map(|row| row.get(0)).collect())
}

/// The triggers of other installations' fences around the tables, each as a phrase. Such a fence refuses the
/// session that passes ours, so two fences never stand at once.
pub async fn others(fenced: Database<'_>, with_notifications: bool) -> Result<Vec<String>> {
    let sql = format!(
        "SELECT DISTINCT format('%s of schema %s', t.tgname, n.nspname) FROM pg_trigger AS t \
         JOIN pg_proc AS p ON p.oid = t.tgfoid JOIN pg_namespace AS n ON n.oid = p.pronamespace \
         WHERE t.tgrelid IN (SELECT {}($1)) AND t.tgname LIKE 'leadbridge\\_fence%' AND n.nspname <> $2",
        fenced.names.own("fenced_tables")
    );
    let step = fenced.during(format!("looking for other fences on the {}", fenced.side));
    let rows = step.rows(&sql, &[&with_notifications, &fenced.names.schema]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
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

    /// Rolls the fence back, so that nothing has changed. A statement of the session may still run, and a
    /// ROLLBACK would wait for its end while writers wait: after a second the backend is terminated.
    pub async fn undo(self, fenced: &Endpoint) {
        match tokio::time::timeout(UNDOING, self.session.batch_execute("ROLLBACK")).await {
            Ok(Ok(())) => {}
            // A server that is gone has rolled the transaction back by itself.
            Ok(Err(_)) => tracing::info!("the fence's transaction is gone with its connection"),
            Err(_) => {
                if let Err(error) = terminate(fenced, self.session.backend()).await {
                    tracing::warn!("the fence's session could not be terminated: {}", error.message());
                }
            }
        }
        self.session.close().await;
    }
}

/// Makes a closed fence permanent. Once this function has returned, the fence has been closed without a gap:
/// `keep_fence` and a writer that passes an expired fence wait for each other's lock of the fence's row.
///
/// # Errors
/// Refused when the fence is open, because its deadline has passed, or when its triggers are damaged;
/// transient when the commit takes longer than `limit`.
pub async fn keep(fenced: Database<'_>, cutover: Uuid, limit: Duration) -> Result<()> {
    let kept = tokio::time::timeout(limit, call(fenced, "keep_fence", cutover)).await;
    let late = |_| {
        Error::new(Kind::Transient, "the fence could not be made permanent before the deadline")
            .remedy(message!("error-remedy-commit-waits"))
    };
    if !kept.map_err(late)?? {
        return Err(Error::refused("the fence has opened by itself: its deadline has passed")
            .remedy(message!("error-remedy-more-time")));
    }
    pass::refuse_damage(fenced, cutover).await
}

/// Whether the transaction that took the fence of `cutover` has ended. After a commit, the fence exists and
/// can be lifted; after a rollback, the fence does not exist and never will.
///
/// The lock is exclusive, so whoever else holds the lock proves that the transaction does not: any role may take the
/// lock, and must not keep the fence from being lifted.
pub async fn is_released(fenced: Database<'_>, cutover: Uuid) -> Result<bool> {
    let holders = advisory::holders(fenced, ExclusiveRight::Fence(cutover)).await?;
    Ok(!holders.iter().any(|holder| holder.has_rights))
}

/// The refusal for tables around which another fence stands.
fn standing(side: Side) -> Error {
    Error::refused(format!("another fence stands around the tables on the {side}"))
        .remedy(message!("fence-remedy-standing"))
}

async fn terminate(fenced: &Endpoint, backend: &Backend) -> Result<()> {
    let session = fenced.connect_at(&backend.place, "fence").await?;
    let sql =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND backend_start::text = $2";
    during(&session, "ending the fence's session").run(sql, &[&backend.pid, &backend.started]).await.map(drop)
}
