//! The unique keys of Landing's tables that old code's ON CONFLICT needs on Traffic.

use crate::error::Result;
use crate::landing::legacy_names::LegacyName;
use crate::model::change::Table;
use crate::postgres::Database;

/// The unique keys.
#[derive(Debug, Default)]
pub(super) struct UniqueKeys {
    /// Columns of `traffic_leads`.
    pub made: Vec<Vec<String>>,
    /// Keys that Traffic does not get, and why.
    pub notes: Vec<String>,
}

/// A unique index of Landing's.
struct UniqueIndex {
    name: String,
    /// Columns; fewer than the index has where an expression is one of its keys.
    columns: Vec<String>,
    has_distinct_nulls: bool,
    is_plain: bool,
}

/// Reads the unique keys of the tables behind `shown`.
pub(super) async fn read(landing: Database<'_>, shown: &[LegacyName]) -> Result<UniqueKeys> {
    let mut keys = UniqueKeys::default();
    for name in shown.iter().filter(|name| name.name == landing.names.landing_name(name.table)) {
        for index in indexes(landing, name.table).await? {
            keys.judge(name, index);
        }
    }
    Ok(keys)
}

impl UniqueKeys {
    fn judge(&mut self, name: &LegacyName, index: UniqueIndex) {
        let UniqueIndex { name: index_name, columns, has_distinct_nulls, is_plain } = index;
        let mut not_made = |why: &str| {
            self.notes.push(format!(
                "the unique index {index_name} of Landing's {} is not made on Traffic, and ON CONFLICT cannot use it: {why}",
                name.name
            ));
        };
        if !is_plain {
            return not_made("it is partial, deferrable or on an expression");
        }
        let on_traffic = |column: &String| name.columns.iter().find(|shown| shown.landing == *column);
        let Some(traffic) = columns.iter().map(on_traffic).collect::<Option<Vec<_>>>() else {
            return not_made("Traffic does not have the columns");
        };
        if !has_distinct_nulls {
            return not_made("nulls are equal there, and Traffic's own rows have nulls in the columns");
        }
        // Migration 029 leaves these empty in Traffic's own leads; any other column holds values of theirs too.
        let is_landings = |column: &&crate::landing::legacy_names::LegacyColumn| {
            let is_rules = name.table.columns().iter().any(|known| known.name == column.landing);
            column.traffic.starts_with("landing_amocrm_") || !is_rules
        };
        if name.table != Table::LandingLeads || !traffic.iter().all(is_landings) {
            return not_made("Traffic's own rows have values in the columns");
        }
        let traffic = traffic.into_iter().map(|column| column.traffic.clone()).collect();
        self.made.push(traffic);
    }
}

async fn indexes(landing: Database<'_>, table: Table) -> Result<Vec<UniqueIndex>> {
    let sql = "SELECT c.relname::text, ARRAY(SELECT a.attname::text \
                 FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) WITH ORDINALITY AS k (attnum, at) \
                 JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum AND k.attnum > 0 ORDER BY k.at), \
                 NOT i.indnullsnotdistinct, i.indexprs IS NULL AND i.indpred IS NULL AND i.indimmediate \
               FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid \
               WHERE i.indrelid = pg_catalog.to_regclass($1) AND i.indisunique AND NOT i.indisprimary AND i.indisvalid ORDER BY 1";
    let step = landing.during("reading the unique keys of Landing's tables");
    let index = |row: &tokio_postgres::Row| UniqueIndex {
        name: row.get(0),
        columns: row.get(1),
        has_distinct_nulls: row.get(2),
        is_plain: row.get(3),
    };
    Ok(step.rows(sql, &[&landing.table(table)]).await?.iter().map(index).collect())
}
