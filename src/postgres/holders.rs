//! Holders of locks on tables. The holders' queries are never read, because a query may hold people's data.

use std::collections::BTreeMap;

use tokio_postgres::Client;

use super::step::during;
use crate::error::Result;

/// Sessions and prepared transactions with a lock on any of `tables`, each described in a phrase, by virtual
/// transaction ID. `tables` is a query with a single column of `regclass`; `which` is a condition on `l`, the
/// rows of `pg_locks`.
///
/// # Errors
/// The connection broke.
pub async fn of(client: &Client, tables: &str, which: &str) -> Result<BTreeMap<String, String>> {
    // `pid` is null for a lock of a prepared transaction.
    let sql = format!(
        "SELECT l.virtualtransaction, CASE WHEN l.pid IS NULL
             THEN 'prepared transaction ' || coalesce(quote_literal(x.gid), '(of another database)')
             ELSE format('process %s (%s, application %s)', l.pid,
                         coalesce(a.usename, a.backend_type, 'another user'),
                         quote_literal(coalesce(a.application_name, '')))
                  || coalesce(', in a transaction for '
                              || date_trunc('second', clock_timestamp() - a.xact_start), '') END
         FROM pg_locks AS l
         JOIN ({tables}) AS t (relation) ON l.relation = t.relation
         LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid
         LEFT JOIN pg_locks AS own ON l.pid IS NULL AND own.pid IS NULL AND own.locktype = 'transactionid'
             AND own.virtualtransaction = l.virtualtransaction
         LEFT JOIN pg_prepared_xacts AS x ON x.transaction = own.transactionid
         WHERE l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
           AND l.locktype = 'relation' AND l.pid IS DISTINCT FROM pg_backend_pid() AND {which}"
    );
    let rows = during(client, "reading which sessions hold the tables").rows(&sql, &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
