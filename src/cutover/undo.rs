//! Undoing a cutover or rollback from any step. A decision that was made meanwhile stays.
//!
//! The order is the protocol's (`docs/design.md`): the journal says `aborted`, the hook is undone, the rows
//! that the hook's applications wrote on Traffic are kept, the fence is lifted, the slot is dropped. Every
//! statement runs on new connections, because the old connections may have failed.

use std::time::Duration;

use super::hook::{self, Event, Hook};
use super::journal::{CutoverJournal, CutoverRun, CutoverStep, JournalEntry};
use super::{left, resolve};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::model::side::Side;
use crate::postgres::step::during;
use crate::postgres::{Database, Databases, Session, wal};

/// Time for which the command tries to reach a state, before the command leaves the rest to the daemon.
const UNDOING: Duration = Duration::from_secs(20);
/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(300);
/// Time for which the transactions of applications on Traffic are waited for, once the hook is undone.
const SETTLING: Duration = Duration::from_secs(10);

/// A cutover or rollback to undo.
pub(super) struct Undoing<'c> {
    pub config: &'c Config,
    pub run: CutoverRun,
    pub hook: Option<&'c str>,
    /// Whether the fence may have been committed.
    pub closed: bool,
    /// Keeps the command's lock on Landing: until the hook is undone nobody else says that the applications are
    /// back.
    pub _life: Session,
}

/// Result of undoing.
struct Undone {
    state: CutoverStep,
    /// Rows that only Traffic has.
    left: u64,
    /// Whether applications may still be pointed to the database that does not become the system of record.
    misdirected: bool,
}

impl Undoing<'_> {
    /// Returns `cause` with the outcome.
    pub async fn undo(&self, cause: Error) -> Error {
        tracing::warn!("aborting: {}", cause.message());
        let undone = tokio::time::timeout(2 * UNDOING, self.try_undo(&cause)).await;
        let undone = undone.unwrap_or_else(|_| Err(Error::unreachable("undoing took too long")));
        let (from, to) = self.run.direction.sides();
        match undone {
            Ok(undone) if undone.state == self.run.direction.done() => cause.context(format!(
                "DECIDED: leads are written to {to} now, and {from} refuses them; but something failed after that"
            )),
            Ok(undone) => cause.context(undone.says(from, to)),
            Err(error) => cause.context(format!(
                "NOT KNOWN to be aborted ({}): {}; see `leadbridge status`",
                error.message(),
                match self.closed {
                    true => "the fence may still be closed; the daemon lifts it as soon as it reaches both databases",
                    false => "no fence was closed",
                }
            )),
        }
    }

    async fn try_undo(&self, cause: &Error) -> Result<Undone> {
        let entry = patiently(async || self.abort(&cause.message()).await).await?;
        let Some(entry) = entry else {
            // Nothing was begun.
            return Ok(Undone { state: CutoverStep::Aborted, left: 0, misdirected: false });
        };
        if entry.state != CutoverStep::Aborted {
            return Ok(Undone { state: entry.state, left: 0, misdirected: false });
        }
        let is_back = match entry.needs_hook_undone() {
            true => self.undo_hook().await,
            false => true,
        };
        patiently(async || self.open(&entry).await).await?;
        if entry.needs_hook_undone() && is_back {
            patiently(async || self.settle_hook(&entry).await).await?;
        }
        let traffic = self.config.traffic.connect("cutover").await?;
        let left = left::count(&traffic, &self.config.names, self.run.id).await?;
        Ok(Undone { state: CutoverStep::Aborted, left, misdirected: !is_back })
    }

    /// A session on Traffic that has the right to decide; `None` while another session has the right: the
    /// command's own earlier session, whose backend may still run a statement, or the daemon's.
    async fn session(&self) -> Result<Option<Session>> {
        let traffic = self.config.traffic.connect("cutover").await?;
        let taken = CutoverJournal::new(&self.config.names).take(&traffic).await?;
        Ok(taken.then_some(traffic))
    }

    /// As [`Self::session`], with a session on Landing.
    async fn sessions(&self) -> Result<Option<[Session; 2]>> {
        let Some(traffic) = self.session().await? else { return Ok(None) };
        Ok(Some([self.config.landing.connect("cutover").await?, traffic]))
    }

    /// Records the abort. Returns the entry, which may be decided otherwise; without an entry, `Some(None)`.
    async fn abort(&self, reason: &str) -> Result<Option<Option<JournalEntry>>> {
        let Some(traffic) = self.session().await? else { return Ok(None) };
        let journal = CutoverJournal::new(&self.config.names);
        if journal.abort(&traffic, self.run.id, reason).await? {
            resolve::announce(&traffic, self.run, CutoverStep::Aborted).await?;
        }
        journal.entry(&traffic, self.run.id).await.map(Some)
    }

    /// Runs the hook with [`Event::Abort`]. Returns whether the applications are back.
    async fn undo_hook(&self) -> bool {
        let Some(command) = self.hook else { return false };
        let hook = Hook { command, environment: &self.config.hook_environment };
        match hook::call(hook, Event::Abort, self.run, UNDOING).await {
            Ok(()) => true,
            Err(error) => {
                tracing::error!("{error}");
                false
            }
        }
    }

    async fn open(&self, entry: &JournalEntry) -> Result<Option<()>> {
        let Some([landing, traffic]) = self.sessions().await? else { return Ok(None) };
        let databases = Databases { landing: &landing, traffic: &traffic, names: &self.config.names };
        // The daemon may have opened the side already; the rows are kept all the same.
        if entry.is_lifted {
            resolve::keep_left(databases, entry).await?;
            return Ok(Some(()));
        }
        Ok(resolve::open(databases, entry).await?.then_some(()))
    }

    /// Keeps the last rows once the applications are back, and records that the hook is undone.
    async fn settle_hook(&self, entry: &JournalEntry) -> Result<Option<()>> {
        let Some([landing, traffic]) = self.sessions().await? else { return Ok(None) };
        let databases = Databases { landing: &landing, traffic: &traffic, names: &self.config.names };
        settle_hook(databases, &JournalEntry { is_lifted: true, ..*entry }).await?;
        Ok(Some(()))
    }
}

/// Keeps the last rows that applications wrote on Traffic because of the hook of `entry`, and records that the
/// hook is undone. The applications are back, so no transaction of theirs begins any more.
///
/// # Errors
/// Transient when a transaction on Traffic lasts too long.
pub(super) async fn settle_hook(databases: Databases<'_>, entry: &JournalEntry) -> Result<()> {
    let Database { client, names, .. } = databases.on(Side::Traffic);
    let step = during(client, "reading Traffic's transactions");
    let row = step.row("SELECT pg_current_xact_id()::text", &[]).await?;
    wal::until_over(databases.on(Side::Traffic), row.get(0), SETTLING).await?;
    resolve::keep_left(databases, entry).await?;
    CutoverJournal::new(names).hook_undone(client, entry.id).await
}

/// Repeats `attempt` until the attempt has a result, for [`UNDOING`].
async fn patiently<T>(attempt: impl AsyncFn() -> Result<Option<T>>) -> Result<T> {
    let repeated = async {
        loop {
            match attempt().await {
                Ok(Some(result)) => return result,
                Ok(None) => {}
                Err(error) => tracing::warn!("undoing: {}", error.message()),
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    let late = |_| Error::unreachable("undoing took too long");
    tokio::time::timeout(UNDOING, repeated).await.map_err(late)
}

impl Undone {
    fn says(&self, from: &str, to: &str) -> String {
        let mut says = format!("ABORTED, {from} takes writes");
        says += &match self.left {
            0 => " and everything is as it was".to_owned(),
            rows => format!(
                "; {rows} rows that applications wrote on {to} because of the hook are not on {from}: they are kept in \
                 leadbridge.left_on_traffic, write them to {from}"
            ),
        };
        if self.misdirected {
            says += &format!(
                "; the hook was not undone, and applications may still be pointed to {to}: run it with \
                 LEADBRIDGE_EVENT=abort, see `leadbridge status`"
            );
        }
        says
    }
}
