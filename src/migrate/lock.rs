//! Locks without queueing: a short wait, then another attempt after a pause.
//!
//! A statement that waits for a table lock blocks every later statement on the table. So an attempt waits
//! briefly, and the pause before the next attempt lets the blocked statements pass.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Transaction};

use super::failure;
use super::listed::Listed;
use super::trial::WriteTrial;
use crate::error::{Error, Result};
use crate::language::message;
use crate::model::names::Names;
use crate::postgres::Database;
use crate::postgres::advisory::{self, ExclusiveRight};

/// How long to wait for a lock, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Longest wait of one attempt for a lock. For the same time, other sessions may have to wait in the
    /// queue.
    pub lock_timeout: Duration,
    /// Attempts after the first attempt, with growing pauses.
    pub retries: usize,
    /// The first pause.
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience { lock_timeout: Duration::from_secs(2), retries: 4, pause: Duration::from_secs(1) }
    }
}

impl Patience {
    fn pauses(self) -> impl Iterator<Item = Duration> {
        ExponentialBuilder::default()
            .with_min_delay(self.pause)
            .with_max_times(self.retries)
            .with_jitter()
            .build()
    }

    /// Runs `sql` in one transaction that never waits long for a lock; returns what `sql` has listed. Writes that go
    /// through before go through afterwards, or nothing is changed.
    ///
    /// # Errors
    /// Transient, with the oldest transactions of the database, when no attempt got the lock. Refused when a write of
    /// `trial` fails afterwards.
    pub(super) async fn execute(
        self,
        client: &mut Client,
        (step, sql): (&str, &str),
        trial: &WriteTrial,
    ) -> Result<Listed> {
        let mut pauses = self.pauses();
        loop {
            let error = match self.attempt(client, (step, sql), trial).await {
                Ok(listed) => return listed,
                Err(error) => error,
            };
            let locked = is_locked(&error);
            match pauses.next() {
                Some(pause) if locked => {
                    tracing::info!(step, ?pause, "another session holds the lock; trying again");
                    tokio::time::sleep(pause).await;
                }
                _ if locked => return Err(gave_up(client, step, &error).await),
                _ => return Err(failure::of_statement(step, &error)),
            }
        }
    }

    /// Makes an index with `CREATE INDEX CONCURRENTLY`, for which no writer waits. The statement itself waits for the
    /// transactions that are older, for as long as all attempts of a step may wait for their locks.
    ///
    /// # Errors
    /// Transient, with the oldest transactions of the database, when the older transactions did not end. The next run
    /// drops the unfinished index and makes the index again.
    pub(super) async fn make_index(self, client: &Client, (step, sql): (&str, &str)) -> Result<()> {
        let attempts = u32::try_from(self.retries).unwrap_or(u32::MAX).saturating_add(1);
        let millis = self.lock_timeout.saturating_mul(attempts).as_millis().clamp(1, i32::MAX as u128);
        let failed = |error| failure::of_statement(step, &error);
        client.batch_execute(&format!("SET lock_timeout = '{millis}ms'")).await.map_err(failed)?;
        match client.batch_execute(sql).await {
            // 0 is what every session of leadbridge is pinned to.
            Ok(()) => client.batch_execute("SET lock_timeout = 0").await.map_err(failed),
            Err(error) if is_locked(&error) => Err(gave_up(client, step, &error).await),
            Err(error) => Err(failed(error)),
        }
    }

    async fn attempt(
        self,
        client: &mut Client,
        (step, sql): (&str, &str),
        trial: &WriteTrial,
    ) -> Result<Result<Listed>, tokio_postgres::Error> {
        let transaction = client.transaction().await?;
        self.set_timeout(&transaction).await?;
        let before = trial.outcomes(&transaction).await?;
        transaction.batch_execute(sql).await?;
        let listed = Listed::read(&transaction, "reading what was changed").await;
        let after = trial.outcomes(&transaction).await?;
        let refusal = before.and_then(|before| Ok(trial.refusal(step, &before, &after?)));
        match refusal {
            Ok(None) => transaction.commit().await?,
            // Dropping the transaction rolls it back.
            Ok(Some(refusal)) | Err(refusal) => return Ok(Err(refusal)),
        }
        Ok(listed)
    }

    pub(super) async fn set_timeout(
        self,
        transaction: &Transaction<'_>,
    ) -> Result<(), tokio_postgres::Error> {
        let millis = self.lock_timeout.as_millis().max(1);
        transaction.batch_execute(&format!("SET LOCAL lock_timeout = '{millis}ms'")).await
    }
}

fn is_locked(error: &tokio_postgres::Error) -> bool {
    matches!(error.code(), Some(&SqlState::LOCK_NOT_AVAILABLE | &SqlState::T_R_DEADLOCK_DETECTED))
}

async fn gave_up(client: &Client, step: &str, error: &tokio_postgres::Error) -> Error {
    let failed = Error::database(step, error);
    let names = Names::default();
    // Any role may take the lock that lets migrations run one after the other.
    let migrating = advisory::holders(Database::traffic(client, &names), ExclusiveRight::Migration).await;
    if let Some(holder) = migrating.ok().as_ref().and_then(|holders| holders.first()) {
        return failed.remedy(message!(
            "migrate-remedy-lock-held",
            lock = ExclusiveRight::Migration.message(),
            holder = holder.to_string(),
            end = holder.end()
        ));
    }
    match oldest_transactions(client).await {
        Ok(sessions) if !sessions.is_empty() => {
            failed.remedy(message!("migrate-remedy-sessions", sessions = sessions))
        }
        _ => failed.remedy(message!("migrate-remedy-long-transaction")),
    }
}

/// Process ids of the sessions with the oldest transactions. Leaves out the query text, because a query may
/// hold people's data.
async fn oldest_transactions(client: &Client) -> Result<String, tokio_postgres::Error> {
    let sql = "SELECT string_agg(format('pid %s (%s, for %s s)', pid, state, age), ', ') FROM (
                   SELECT pid, state, extract(epoch FROM clock_timestamp() - xact_start)::bigint AS age
                   FROM pg_catalog.pg_stat_activity
                   WHERE datname = current_database() AND pid <> pg_backend_pid()
                     AND backend_type = 'client backend' AND xact_start IS NOT NULL
                   ORDER BY xact_start LIMIT 3) AS oldest";
    Ok(client.query_one(sql, &[]).await?.get::<_, Option<String>>(0).unwrap_or_default())
}
