//! A statement that is prepared when it is first needed: most of a writer's never are.

use tokio::sync::OnceCell;
use tokio_postgres::{Client, Statement};

use crate::error::{Error, Result};

/// Of one session.
#[derive(Debug)]
pub(super) struct LazyStatement {
    sql: String,
    statement: OnceCell<Statement>,
}

impl LazyStatement {
    pub(super) fn new(sql: String) -> Self {
        LazyStatement { sql, statement: OnceCell::new() }
    }

    /// The statement on `client`, which must be the same each time. `step` says what it is for.
    pub(super) async fn on(&self, client: &Client, step: &str) -> Result<&Statement> {
        let prepare = async || client.prepare(&self.sql).await;
        self.statement.get_or_try_init(prepare).await.map_err(|error| Error::database(step, &error))
    }
}
