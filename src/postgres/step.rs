//! Statements that carry the step that they belong to, so that each error says what was being done.

use std::borrow::Cow;

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, SimpleQueryMessage, Statement, ToStatement};

use crate::error::{Error, Result};

/// Parameters of a statement.
type Parameters<'p> = [&'p (dyn ToSql + Sync)];

/// A connection in the middle of a step. Each method sends one statement, or several without parameters.
#[derive(Clone)]
pub struct Step<'c> {
    client: &'c Client,
    step: Cow<'c, str>,
    table: Option<&'c str>,
}

/// Begins a step. `step` names the action and the database, for errors: "reading the slot on Landing".
pub fn during<'c>(client: &'c Client, step: impl Into<Cow<'c, str>>) -> Step<'c> {
    Step { client, step: step.into(), table: None }
}

impl<'c> Step<'c> {
    /// Names the table whose rows are read or written, for errors.
    pub fn of_table(self, table: &'c str) -> Self {
        Step { table: Some(table), ..self }
    }

    fn failed(&self, error: &tokio_postgres::Error) -> Error {
        self.at_table(Error::database(&self.step, error))
    }

    fn refused(&self, error: &tokio_postgres::Error) -> Error {
        self.at_table(Error::writing(&self.step, error))
    }

    fn at_table(&self, error: Error) -> Error {
        match self.table {
            Some(table) => error.of_table(table),
            None => error,
        }
    }

    pub async fn rows<T: ToStatement + ?Sized>(&self, sql: &T, values: &Parameters<'_>) -> Result<Vec<Row>> {
        self.client.query(sql, values).await.map_err(|error| self.failed(&error))
    }

    /// Exactly one row.
    pub async fn row<T: ToStatement + ?Sized>(&self, sql: &T, values: &Parameters<'_>) -> Result<Row> {
        self.client.query_one(sql, values).await.map_err(|error| self.failed(&error))
    }

    /// Whether there is a relation of this name, which is quoted where it must be.
    pub async fn finds(&self, relation: &str) -> Result<bool> {
        Ok(self.row("SELECT pg_catalog.to_regclass($1) IS NOT NULL", &[&relation]).await?.get(0))
    }

    /// At most one row.
    pub async fn row_if_any<T: ToStatement + ?Sized>(
        &self,
        sql: &T,
        values: &Parameters<'_>,
    ) -> Result<Option<Row>> {
        self.client.query_opt(sql, values).await.map_err(|error| self.failed(&error))
    }

    /// Returns the number of rows that the statement has changed or selected.
    pub async fn run<T: ToStatement + ?Sized>(&self, sql: &T, values: &Parameters<'_>) -> Result<u64> {
        self.client.execute(sql, values).await.map_err(|error| self.failed(&error))
    }

    /// Writes or deletes replicated rows; returns their number. Errors of a row are told apart from other
    /// errors ([`Error::writing`]).
    pub async fn write<T: ToStatement + ?Sized>(&self, sql: &T, values: &Parameters<'_>) -> Result<u64> {
        self.client.execute(sql, values).await.map_err(|error| self.refused(&error))
    }

    /// Like [`Step::write`], for a statement that gives rows back.
    pub async fn write_rows<T: ToStatement + ?Sized>(
        &self,
        sql: &T,
        values: &Parameters<'_>,
    ) -> Result<Vec<Row>> {
        self.client.query(sql, values).await.map_err(|error| self.refused(&error))
    }

    /// Like [`Step::write`], for a statement that gives exactly one row back.
    pub async fn write_row<T: ToStatement + ?Sized>(&self, sql: &T, values: &Parameters<'_>) -> Result<Row> {
        self.client.query_one(sql, values).await.map_err(|error| self.refused(&error))
    }

    /// Several statements without parameters.
    pub async fn batch(&self, sql: &str) -> Result<()> {
        self.client.batch_execute(sql).await.map_err(|error| self.failed(&error))
    }

    /// Several statements that write replicated rows, or check deferred constraints.
    pub async fn write_batch(&self, sql: &str) -> Result<()> {
        self.client.batch_execute(sql).await.map_err(|error| self.refused(&error))
    }

    /// Several statements without parameters; all answers as texts.
    pub async fn texts(&self, sql: &str) -> Result<Vec<SimpleQueryMessage>> {
        self.client.simple_query(sql).await.map_err(|error| self.failed(&error))
    }

    pub async fn prepare(&self, sql: &str) -> Result<Statement> {
        self.client.prepare(sql).await.map_err(|error| self.failed(&error))
    }
}
