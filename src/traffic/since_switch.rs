//! Finds the rows of Traffic that were written since the switch.
//!
//! `xmin` alone does not suffice, because an ALTER TABLE with a rewrite gives every row the transaction id of
//! the rewrite. So the cutover records the storage of Traffic's tables ([`storage`]). In a table that has
//! another storage now, a row counts if the row was written after the rewrite.

use tokio_postgres::Client;

use crate::error::{Error, Result};
use crate::language::message;
use crate::model::change::Table;
use crate::model::names::Names;
use crate::postgres::written_since::written_since;

/// SQL of a `jsonb` object: for the name of each replicated table of Traffic, the OID and the storage in the
/// statement's snapshot. To be read not later than the transaction id of the switch.
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

/// A condition on a row `t` of one table: the row was written since the switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinceSwitch(String);

impl SinceSwitch {
    /// # Errors
    /// Refused when no cutover has switched to Traffic.
    pub async fn read(traffic: &Client, names: &Names, table: Table) -> Result<Self> {
        let failed = |error| Error::database("looking for the cutover", &error);
        // `storage` is null after a cutover by an earlier version.
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
            .remedy(message!("traffic-remedy-verify")));
        };
        let (switch, is_rewritten): (String, bool) = (row.get(0), row.get(1));
        let since = match is_rewritten {
            true => after_rewrite(traffic, names, table, &switch).await?.unwrap_or(switch),
            false => switch,
        };
        Ok(SinceSwitch(written_since("t.xmin", &since)))
    }

    pub fn condition(&self) -> &str {
        &self.0
    }
}

/// The transaction id that follows the rewrite of a table since `switch`. The `xmin` of most rows is the
/// rewrite's. If a later transaction has written more rows than are left of the rewrite, the later id is taken,
/// and fewer rows count as written since the switch, never more. `None` for an empty table, and for a table
/// whose rows kept their `xmin`, as VACUUM FULL lets them.
async fn after_rewrite(
    traffic: &Client,
    names: &Names,
    table: Table,
    switch: &str,
) -> Result<Option<String>> {
    // The rewrite is the transaction since the switch with the low 32 bits of `xmin`.
    let sql = format!(
        "SELECT ('{switch}'::bigint + ((age('{switch}'::xid8::xid)::bigint - age(xmin)) & 4294967295) + 1)::text \
         FROM (SELECT xmin FROM {} GROUP BY xmin ORDER BY count(*) DESC LIMIT 1) AS most WHERE {}",
        names.traffic_table(table),
        written_since("xmin", switch)
    );
    let row = traffic.query_opt(&sql, &[]).await;
    let step = format!("looking for the rewrite of {}", table.traffic_name());
    Ok(row.map_err(|error| Error::database(step, &error))?.map(|row| row.get(0)))
}
