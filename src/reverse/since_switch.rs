//! Which rows of Traffic were written since the switch.
//!
//! `xmin` alone does not say so: ALTER TABLE with a rewrite gives every row its own transaction. So the cutover writes
//! down what storage Traffic's tables have ([`storage`]), and a table that has another one now is judged by what was
//! written after its rewrite.

use tokio_postgres::Client;

use crate::change::Table;
use crate::error::{Error, Result};
use crate::names::Names;

/// SQL of a `jsonb` object: by name, the OID and the storage of Traffic's replicated tables, as the statement's
/// snapshot has them. To be read not later than the transaction id of the switch.
pub fn storage(names: &Names) -> String {
    let tables: Vec<String> = Table::ALL
        .iter()
        .map(|table| format!("'{}'", names.traffic_table(*table).replace('\'', "''")))
        .collect();
    format!(
        "SELECT pg_catalog.jsonb_object_agg(c.relname, c.oid || '/' || c.relfilenode) FROM pg_catalog.pg_class AS c \
         WHERE c.oid IN (SELECT pg_catalog.to_regclass(name) FROM pg_catalog.unnest(ARRAY[{}]) AS name)",
        tables.join(", ")
    )
}

/// A condition on a row `t` of one table: it was written since the switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SinceSwitch(String);

impl SinceSwitch {
    /// # Errors
    /// Refused when Traffic was not switched to.
    pub(super) async fn read(traffic: &Client, names: &Names, table: Table) -> Result<Self> {
        let failed = |error| Error::database("looking for the cutover", &error);
        // A cutover of an earlier version has not written any storage down.
        let sql = format!(
            "SELECT switch_xid::text, storage ->> $2::text IS DISTINCT FROM ({}) ->> $2::text AND storage IS NOT NULL \
             FROM {} WHERE slot = $1",
            storage(names),
            names.own("reverse")
        );
        let row = traffic.query_opt(&sql, &[&names.slot, &table.traffic_name()]).await.map_err(failed)?;
        let Some(row) = row else {
            return Err(Error::refused(
                "no cutover has switched to Traffic: there is no reverse replication to compare",
            )
            .remedy("run `leadbridge verify`"));
        };
        let (switch, is_rewritten): (String, bool) = (row.get(0), row.get(1));
        // A transaction's age counts back from the newest, so it compares across a wrap-around of ids.
        let since = SinceSwitch(format!("age(t.xmin) <= age('{switch}'::xid8::xid)"));
        if !is_rewritten {
            return Ok(since);
        }
        Ok(match rewriting(traffic, names, table).await? {
            None => since,
            Some(rewrite) => SinceSwitch(format!("age(t.xmin) < age('{rewrite}'::xid)")),
        })
    }

    pub(super) fn condition(&self) -> &str {
        &self.0
    }
}

/// The transaction that has rewritten a table: most rows are still as it wrote them. Where another one has written more
/// since, it stands for it, and fewer rows count as written since; never more. `None` for an empty table.
async fn rewriting(traffic: &Client, names: &Names, table: Table) -> Result<Option<String>> {
    let sql = format!(
        "SELECT xmin::text FROM {} GROUP BY xmin ORDER BY count(*) DESC LIMIT 1",
        names.traffic_table(table)
    );
    let row = traffic.query_opt(&sql, &[]).await;
    let step = format!("looking for the rewrite of {}", table.traffic_name());
    Ok(row.map_err(|error| Error::database(step, &error))?.map(|row| row.get(0)))
}
