//! Rows that a rollback gives back to Landing, of two kinds: rows born on Traffic and carried to Landing
//! since, and rows with a value on Traffic, in a column of Landing's, that could not be carried to Landing.
//!
//! Rows born on Traffic are marked as Landing's (`landing_synced_at`), so that after the rollback an update or
//! a delete of such a row reaches Traffic. Then Landing writes again, unchanged, every row that Traffic does
//! not have as the mapping makes the row, and every row written since the comparison. The writes come after
//! the position from which Landing's stream continues, so the stream brings the mapped rows to Traffic, as
//! after any change.

use std::time::{Duration, Instant};

use tokio_postgres::error::SqlState;
use uuid::Uuid;

use super::content::Horizon;
use crate::compare;
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::fence::holders;
use crate::language::message;
use crate::model::change::Table;
use crate::model::side::Side;
use crate::model::timestamp::Timestamp;
use crate::postgres::paging::PageStart;
use crate::postgres::step::during;
use crate::postgres::triggers::TriggerControl;
use crate::postgres::{Database, Databases, Session};
use crate::traffic::flowing;

/// Rows for Landing to send again, by table: 16 bytes a row.
pub(super) type Rows = Vec<(Table, Vec<Uuid>)>;

/// Number of keys in a page.
const PAGE: i64 = 1000;

/// Number of rows that Landing sends again in one transaction.
const SENT_TOGETHER: usize = 10_000;

/// Number of rows that are written in a trial.
const TRIED: usize = 1000;

/// Pause between two attempts to lock rows.
const PAUSE: Duration = Duration::from_millis(500);

const ADOPTING: &str = "adopting rows on Traffic";

/// Marking of rows that were born on Traffic and are on Landing.
pub struct Adoption<'c> {
    pub databases: Databases<'c>,
    pub tables: Vec<Table>,
    /// Keeps Traffic's triggers from stamping the marked rows.
    pub triggers: TriggerControl,
    /// Longest time to wait for a row that another transaction holds.
    pub lock_timeout: Duration,
}

impl Adoption<'_> {
    /// Marks every row, before the fence holds back any writer, a page in each transaction. Returns the rows
    /// that Traffic does not have as the mapping makes the rows. Changes of some rows may still be in the
    /// stream; Landing sends such rows once more in vain.
    ///
    /// # Errors
    /// Transient, with the holders, when rows were held by other transactions for `patience` in all.
    pub(super) async fn all(&self, patience: Duration) -> Result<Rows> {
        let mut left = patience;
        for &table in &self.tables {
            self.patiently(&mut left, async || self.release(table, "true").await).await?;
            let mut start = Some(PageStart::FIRST);
            while let Some(page) = start {
                let adopt = async || self.adopt(table, "true", page).await;
                start = self.patiently(&mut left, adopt).await?.1;
            }
        }
        unlike(self.databases, &self.tables).await
    }

    /// Marks the rows written on Traffic since `horizon`, in the transaction that holds the fence on Traffic.
    ///
    /// # Errors
    /// Transient, with the holders, when another transaction holds a row. The transaction is rolled back then.
    pub(super) async fn recent(&self, horizon: &Horizon) -> Result<()> {
        let passes = format!("SET LOCAL leadbridge.passes_fence = 'on'; {}", self.limit());
        let traffic = self.databases.on(Side::Traffic);
        during(traffic.client, ADOPTING).batch(&passes).await?;
        match self.mark_born(&horizon.is_recent(Side::Traffic)).await {
            Err(error) if is_locked(&error) => {
                during(traffic.client, ADOPTING).batch("ROLLBACK").await?;
                Err(held(traffic, &self.tables).await?)
            }
            marked => marked.map(drop),
        }
    }

    /// Marks rows in the open transaction on Traffic, which passes Traffic's fence. `which` is a condition on
    /// the rows of Traffic to look at. Returns the number of adopted rows.
    ///
    /// # Errors
    /// A database cannot be read or written.
    pub async fn mark_born(&self, which: &str) -> Result<u64> {
        let traffic = during(self.databases.traffic, ADOPTING);
        traffic.batch(self.triggers.suppress()).await?;
        let mut adopted = 0;
        for &table in &self.tables {
            self.release(table, which).await?;
            let mut start = Some(PageStart::FIRST);
            while let Some(page) = start {
                let (rows, next) = self.adopt(table, which, page).await?;
                adopted += rows;
                start = next;
            }
        }
        traffic.batch(self.triggers.restore()).await?;
        Ok(adopted)
    }

    /// Gives journey entries back to Traffic that have passed to a lead of Traffic's own, and so left Landing.
    async fn release(&self, table: Table, which: &str) -> Result<()> {
        if table.lead_column().is_none() {
            return Ok(());
        }
        let Databases { traffic, names, .. } = self.databases;
        let release = format!(
            "UPDATE {} AS t SET landing_synced_at = NULL WHERE t.landing_synced_at IS NOT NULL AND {} AND {which}",
            names.traffic_table(table),
            flowing::stays(names, table)
        );
        during(traffic, ADOPTING).run(&release, &[]).await.map(drop)
    }

    /// Marks a page of rows. Returns the number of marked rows, and the start of the next page.
    async fn adopt(&self, table: Table, which: &str, start: PageStart) -> Result<(u64, Option<PageStart>)> {
        let Databases { landing, traffic, names } = self.databases;
        let (landing, traffic) = (during(landing, ADOPTING), during(traffic, ADOPTING));
        let (theirs, ours) = (names.traffic_table(table), names.landing_table(table));
        let born = format!(
            "SELECT t.id FROM {theirs} AS t WHERE t.landing_synced_at IS NULL AND {} AND {which} AND {} \
             ORDER BY t.id LIMIT $2",
            flowing::flows(names, table),
            start.condition("t.id")
        );
        let rows = traffic.rows(&born, &[start.key(), &PAGE]).await?;
        let ids: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
        let Some(last) = ids.last() else { return Ok((0, None)) };
        let there = format!("SELECT id, clock_timestamp() FROM {ours} WHERE id = ANY ($1)");
        let found = landing.rows(&there, &[&ids]).await?;
        let next = Some(PageStart::after(*last));
        let Some(now) = found.first().map(|row| row.get::<_, Timestamp>(1)) else { return Ok((0, next)) };
        let found: Vec<Uuid> = found.iter().map(|row| row.get(0)).collect();
        let adopt = format!("UPDATE {theirs} SET landing_synced_at = $2 WHERE id = ANY ($1)");
        Ok((traffic.run(&adopt, &[&found, &now]).await?, next))
    }

    /// Carries out `step` in a transaction on Traffic, with repeated attempts while other transactions hold
    /// the rows. `left` is the time that may still be spent on attempts in vain.
    async fn patiently<T>(&self, left: &mut Duration, step: impl AsyncFn() -> Result<T>) -> Result<T> {
        let traffic = self.databases.on(Side::Traffic);
        let session = during(traffic.client, ADOPTING);
        loop {
            let begun = Instant::now();
            session.batch(&format!("BEGIN; {}; {}", self.limit(), self.triggers.suppress())).await?;
            let error = match step().await {
                Ok(done) => return session.batch("COMMIT").await.map(|()| done),
                Err(error) => error,
            };
            session.batch("ROLLBACK").await?;
            if !is_locked(&error) {
                return Err(error);
            }
            let held = held(traffic, &self.tables).await?;
            tracing::info!("{}: trying again", held.message());
            tokio::time::sleep(PAUSE).await;
            *left = left.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Err(held);
            }
        }
    }

    fn limit(&self) -> String {
        limit(self.lock_timeout)
    }
}

/// The rows that Traffic does not have as the mapping makes the rows.
async fn unlike(databases: Databases<'_>, tables: &[Table]) -> Result<Rows> {
    let mut rows = Rows::new();
    for &table in tables {
        rows.push((table, compare::unlike(databases, table).await?));
    }
    Ok(rows)
}

/// Writes `rows` on Landing again, past Landing's fence, so that Landing's stream sends the rows.
///
/// # Errors
/// Transient, with the holders, when another transaction holds a row on Landing for `lock_timeout`.
pub(super) async fn send_again(
    config: &Config,
    rows: impl Iterator<Item = &(Table, Vec<Uuid>)>,
    lock_timeout: Duration,
) -> Result<()> {
    let landing = config.landing.connect("cutover").await?;
    let again = WritingAgain::begin(config, &landing, lock_timeout).await?;
    for (table, ids) in rows {
        for ids in ids.chunks(SENT_TOGETHER) {
            again.write(*table, ids, "COMMIT").await?;
        }
    }
    landing.close().await;
    Ok(())
}

/// Rows that a rollback would send again while writers wait.
pub(super) struct Sending {
    /// Includes every row that was born on Traffic, because the rows are not marked yet. So a rollback may
    /// send fewer rows.
    pub rows: u64,
    /// Expected time.
    pub seconds: f64,
}

/// Finds the rows that a rollback would send again, and writes some of them on Landing in a transaction that is
/// rolled back, to learn the time.
///
/// # Errors
/// As [`send_again`]; the errors of a role that may not write on Landing.
pub(super) async fn try_sending(
    config: &Config,
    databases: Databases<'_>,
    lock_timeout: Duration,
) -> Result<Sending> {
    let rows = unlike(databases, &config.tables()).await?;
    let landing = config.landing.connect("cutover").await?;
    let again = WritingAgain::begin(config, &landing, lock_timeout).await?;
    let mut sending = Sending { rows: 0, seconds: 0.0 };
    for (table, ids) in &rows {
        let tried = &ids[..ids.len().min(TRIED)];
        let begun = Instant::now();
        again.write(*table, tried, "ROLLBACK").await?;
        sending.rows += ids.len() as u64;
        sending.seconds += begun.elapsed().as_secs_f64() * ids.len() as f64 / tried.len().max(1) as f64;
    }
    landing.close().await;
    Ok(sending)
}

/// A session that writes rows on Landing once more, with the values that they have.
struct WritingAgain<'c> {
    config: &'c Config,
    landing: &'c Session,
    /// Begins a transaction.
    begin: String,
}

impl<'c> WritingAgain<'c> {
    async fn begin(config: &'c Config, landing: &'c Session, lock_timeout: Duration) -> Result<Self> {
        let triggers = TriggerControl::probe(landing).await?;
        let begin = format!(
            "BEGIN; {}; SET LOCAL leadbridge.passes_fence = 'on'; {}",
            triggers.suppress(),
            limit(lock_timeout)
        );
        Ok(WritingAgain { config, landing, begin })
    }

    /// Writes rows in a transaction, which the statement `end` ends.
    async fn write(&self, table: Table, ids: &[Uuid], end: &str) -> Result<()> {
        let step = during(self.landing, "writing rows on Landing again");
        // The value goes through text, because the stream leaves out a TOASTed value assigned to itself.
        let sql = format!(
            "UPDATE {} SET metadata = metadata::text::jsonb WHERE id = ANY ($1)",
            self.config.names.landing_table(table)
        );
        step.batch(&self.begin).await?;
        match step.run(&sql, &[&ids]).await {
            Ok(_) => step.batch(end).await,
            Err(error) if is_locked(&error) => {
                step.batch("ROLLBACK").await?;
                let landing = Database::landing(self.landing, &self.config.names);
                Err(held(landing, &self.config.tables()).await?)
            }
            Err(error) => Err(error),
        }
    }
}

fn limit(lock_timeout: Duration) -> String {
    format!("SET LOCAL lock_timeout = '{}ms'", lock_timeout.as_millis().max(1))
}

fn is_locked(error: &Error) -> bool {
    matches!(error.sqlstate(), Some(&SqlState::LOCK_NOT_AVAILABLE | &SqlState::T_R_DEADLOCK_DETECTED))
}

/// The error for a row that another transaction holds.
async fn held(database: Database<'_>, tables: &[Table]) -> Result<Error> {
    let holders = holders::of_rows(database, tables.contains(&Table::ScheduledNotifications)).await?;
    let (side, who) = (database.side, holders::phrase(&holders));
    Ok(Error::new(Kind::Transient, format!("rows on the {side} could not be locked: they are held by {who}"))
        .remedy(message!("error-remedy-held-nothing-changed")))
}
