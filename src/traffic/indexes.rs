//! Indexes dropped from an empty table before a snapshot fills the table, and made afterwards (migration
//! 023).
//!
//! The transaction that drops an index also writes its definition to the state table `deferred_indexes`, so
//! the end of a process at any moment loses no index.

use std::time::Duration;

use postgres_protocol::escape::escape_literal;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::error::{Error, Kind, Result};
use crate::language::message;
use crate::model::change::{ColumnType, Datum, Row, Table};
use crate::model::names::Names;
use crate::postgres::step::during;

/// How long an attempt waits for the table's lock. Other sessions may queue behind the attempt for as long.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);

/// A text with more bytes may be too long for an index. PostgreSQL takes 2704 bytes for an entry, and an
/// index dropped by migration 023 has at most one text without a limit, beside columns of at most 16 bytes.
const LONG_TEXT: usize = 2000;

/// Result of an attempt to make an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Making {
    Made(String),
    /// Another session holds the table: try again.
    Locked,
    /// No index is missing, or other sessions are making the missing indexes.
    NoneLeft,
}

/// Drops the indexes of `table` that can be made again later, if the table is empty. Returns the names of the
/// dropped indexes. Where anything speaks against dropping, the indexes stay and the list is empty: the copy
/// only takes longer.
///
/// # Errors
/// The connection broke.
pub async fn leave_out(client: &Client, names: &Names, table: Table) -> Result<Vec<String>> {
    let traffic = names.traffic_table(table);
    let sql = format!(
        "SELECT name::text FROM {}({}::pg_catalog.regclass) AS name",
        names.own("defer_indexes"),
        escape_literal(&traffic)
    );
    let left_out = async {
        client.batch_execute(&format!("BEGIN; {}", lock_timeout("LOCAL"))).await?;
        let rows = client.query(&sql, &[]).await?;
        client.batch_execute("COMMIT").await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    };
    let step = format!("leaving out the indexes of {}", table.traffic_name());
    let error = match left_out.await {
        Ok(left_out) => return Ok(left_out),
        Err(error) => Error::database(&step, &error),
    };
    if error.kind() == Kind::Unreachable {
        return Err(error);
    }
    during(client, &step).batch("ROLLBACK").await?;
    tracing::info!(table = table.traffic_name(), "its indexes stay while it is filled: {error}");
    Ok(Vec::new())
}

/// Names of the indexes that were dropped and not made yet. `None` where the state table does not exist or
/// the role may not read the table, because then this installation has never dropped an index.
///
/// # Errors
/// The connection broke.
pub async fn left_out(client: &Client, names: &Names) -> Result<Option<Vec<String>>> {
    let deferred = names.own("deferred_indexes");
    let failed = |error| Error::database("looking for indexes that were left out", &error);
    let open = "SELECT COALESCE(pg_catalog.has_table_privilege(pg_catalog.to_regclass($1), 'SELECT'), false)";
    if !client.query_one(open, &[&deferred]).await.map_err(failed)?.get::<_, bool>(0) {
        return Ok(None);
    }
    let sql = format!("SELECT index_name::text FROM {deferred} ORDER BY 1");
    let rows = client.query(&sql, &[]).await.map_err(failed)?;
    Ok(Some(rows.iter().map(|row| row.get(0)).collect()))
}

/// Prepares a session to make indexes.
///
/// # Errors
/// The connection broke.
pub async fn begin(client: &Client) -> Result<()> {
    during(client, "preparing to make indexes").batch(&lock_timeout("SESSION")).await
}

/// Makes one missing index, in a session prepared by [`begin`]. Writers to the table wait meanwhile.
///
/// # Errors
/// Refused where a row now on Traffic does not fit into the index; the disk is full; the connection broke.
pub async fn make_one(client: &Client, names: &Names) -> Result<Making> {
    let sql = format!("SELECT {}()::text", names.own("make_deferred_index"));
    match client.query_one(&sql, &[]).await {
        Ok(row) => Ok(row.get::<_, Option<String>>(0).map_or(Making::NoneLeft, Making::Made)),
        Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => Ok(Making::Locked),
        Err(error) => {
            let error = Error::database("making an index that was left out", &error);
            Err(match error.kind() {
                Kind::Row => Error::refused(error.message().to_owned())
                    .remedy(message!("traffic-remedy-index", deferred = names.own("deferred_indexes"))),
                _ => error,
            })
        }
    }
}

/// Whether a dropped index might refuse a row of Landing. The caller then makes the indexes first, so the row
/// goes to quarantine and does not prevent the index.
pub fn might_refuse(row: &Row) -> bool {
    let long = |datum: &Datum| datum.as_str().is_some_and(|text| text.len() > LONG_TEXT);
    let texts = row.table.columns().iter().zip(&row.values);
    texts.filter(|(column, _)| column.kind == ColumnType::Text).any(|(_, datum)| long(datum))
}

fn lock_timeout(scope: &str) -> String {
    format!("SET {scope} lock_timeout = '{}ms'", LOCK_TIMEOUT.as_millis())
}
