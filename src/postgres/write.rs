//! A session that writes replicated rows to one side: its transaction, savepoints, triggers and deferred
//! constraints.

use std::ops::Deref;

use tokio_postgres::Client;

use super::Session;
use super::step::during;
use super::triggers::{self, TriggerControl};
use crate::error::{Error, Result, row_refusal};
use crate::model::side::Side;

/// Runs the deferred constraints and triggers for all rows written so far. The rest of the transaction checks
/// each statement at once.
pub const CHECK_DEFERRED: &str = "SET CONSTRAINTS ALL IMMEDIATE";

/// As [`CHECK_DEFERRED`], but a rollback to a savepoint defers the checks again, so the end of the
/// transaction repeats the checks.
pub const CHECK_AND_DEFER: &str =
    "SAVEPOINT checked; SET CONSTRAINTS ALL IMMEDIATE; ROLLBACK TO checked; RELEASE checked";

/// Gives the rest of the transaction, or of its savepoint, the role's own `search_path`.
pub const OWN_SEARCH_PATH: &str = "SELECT pg_catalog.set_config(s.name, s.reset_val, true) \
                                   FROM pg_catalog.pg_settings s WHERE s.name = 'search_path'";

/// A session that writes to one side, in one transaction at a time. After any error except a refused row the
/// session must be dropped.
pub struct WriteSession {
    session: Session,
    side: Side,
    triggers: TriggerControl,
    may_defer: bool,
    in_transaction: bool,
}

impl WriteSession {
    /// # Errors
    /// The connection broke.
    pub async fn new(session: Session, side: Side) -> Result<Self> {
        let triggers = TriggerControl::probe(&session).await?;
        let may_defer = triggers::may_defer(&session).await?;
        Ok(WriteSession { session, side, triggers, may_defer, in_transaction: false })
    }

    pub fn triggers(&self) -> TriggerControl {
        self.triggers
    }

    /// Whether the database has a constraint or a trigger that can be deferred to the end of a transaction.
    pub fn may_defer(&self) -> bool {
        self.may_defer
    }

    pub fn in_transaction(&self) -> bool {
        self.in_transaction
    }

    /// Executes statements without parameters. `doing` becomes the step, with the side.
    pub async fn execute(&self, doing: &str, sql: &str) -> Result<()> {
        during(&self.session, format!("{doing} on {}", self.side.name())).batch(sql).await
    }

    /// SQL that opens a transaction with `begin`. Ordinary triggers do not fire in the transaction.
    pub fn opening(&self, begin: &str) -> String {
        format!("{begin}; {}", self.triggers.suppress())
    }

    /// Opens a transaction by statements that begin with [`WriteSession::opening`].
    pub async fn open(&mut self, sql: &str) -> Result<()> {
        self.execute("opening a transaction", sql).await?;
        self.opened();
        Ok(())
    }

    /// Records that the caller has opened a transaction.
    pub fn opened(&mut self) {
        self.in_transaction = true;
    }

    /// Commits the open transaction, if there is one.
    ///
    /// # Errors
    /// Transient when a deferred constraint refuses a row: the constraint is newer than the session, because
    /// a writer checks the known deferred constraints before the commit.
    pub async fn commit(&mut self) -> Result<()> {
        if self.in_transaction {
            let step = format!("committing on {}", self.side.name());
            let committed = during(&self.session, step).write_batch("COMMIT").await;
            committed.map_err(Error::into_transient)?;
            self.in_transaction = false;
        }
        Ok(())
    }

    /// Switches ordinary triggers: on for deletes, so that cascades act, and off for writes.
    pub async fn fire_triggers(&self, on: bool) -> Result<()> {
        let sql = if on { self.triggers.restore() } else { self.triggers.suppress() };
        self.execute("switching triggers", sql).await
    }

    /// Checks deferred constraints with `sql`, which begins with [`CHECK_DEFERRED`] or [`CHECK_AND_DEFER`].
    ///
    /// # Errors
    /// A constraint refuses a row.
    pub async fn check_deferred(&self, sql: &str) -> Result<()> {
        let step = format!("checking deferred constraints on {}", self.side.name());
        during(&self.session, step).write_batch(sql).await
    }
}

impl Deref for WriteSession {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

/// A savepoint of a transaction on one side. Every method takes the connection of the transaction.
#[derive(Clone, Copy)]
pub struct Savepoint(pub Side, pub &'static str);

impl Savepoint {
    async fn execute(self, client: &Client, sql: String) -> Result<()> {
        let step = format!("{sql} on {}", self.0.name());
        during(client, step).batch(&sql).await
    }

    pub async fn set(self, client: &Client) -> Result<()> {
        self.execute(client, format!("SAVEPOINT {}", self.1)).await
    }

    /// Keeps everything done since the savepoint.
    pub async fn release(self, client: &Client) -> Result<()> {
        self.execute(client, format!("RELEASE {}", self.1)).await
    }

    /// Keeps everything done since the savepoint, and sets the savepoint again.
    pub async fn renew(self, client: &Client) -> Result<()> {
        self.execute(client, format!("RELEASE {0}; SAVEPOINT {0}", self.1)).await
    }

    /// Undoes everything done since the savepoint. The savepoint stays.
    pub async fn undo(self, client: &Client) -> Result<()> {
        self.execute(client, format!("ROLLBACK TO {}", self.1)).await
    }

    /// Undoes everything done since the savepoint, and removes the savepoint.
    pub async fn discard(self, client: &Client) -> Result<()> {
        self.execute(client, format!("ROLLBACK TO {0}; RELEASE {0}", self.1)).await
    }

    /// Ends the attempt that began with the savepoint: releases the savepoint, or discards a refused row.
    ///
    /// # Errors
    /// The outcome's error, except for a refused row.
    pub async fn close<T>(self, client: &Client, outcome: Result<T>) -> Result<Result<T>> {
        let outcome = row_refusal(outcome)?;
        match outcome {
            Ok(_) => self.release(client).await?,
            Err(_) => self.discard(client).await?,
        }
        Ok(outcome)
    }
}
