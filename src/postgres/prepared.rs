//! A statement prepared on first use, because a writer needs few of its statements.

use tokio::sync::OnceCell;
use tokio_postgres::{Client, Statement};

use crate::error::{Error, Result};

/// A statement of one session.
#[derive(Debug)]
pub struct LazyStatement {
    sql: String,
    statement: OnceCell<Statement>,
}

impl LazyStatement {
    pub fn new(sql: String) -> Self {
        LazyStatement { sql, statement: OnceCell::new() }
    }

    /// The statement, prepared on `client`. `client` must be the same in every call. `step` describes the
    /// purpose in an error.
    pub async fn on(&self, client: &Client, step: &str) -> Result<&Statement> {
        let prepare = async || client.prepare(&self.sql).await;
        self.statement.get_or_try_init(prepare).await.map_err(|error| Error::database(step, &error))
    }
}
