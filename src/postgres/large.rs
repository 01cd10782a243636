//! Whether a table may hold large rows ([`budget::LARGE`]), without reading the table.

use super::Database;
use crate::error::Result;
use crate::model::budget;
use crate::model::change::Table;

/// False when no row of the table can be large, because the table's TOAST relation is smaller than a large
/// value, and a value that PostgreSQL keeps in the row's own page is never large.
pub async fn may_hold(database: Database<'_>, table: Table) -> Result<bool> {
    let name = database.table(table);
    // A relation of another kind keeps its values elsewhere, so nothing is known of their sizes.
    let sql = format!(
        "SELECT c.relkind <> 'r' OR c.reltoastrelid <> 0 AND pg_relation_size(c.reltoastrelid) >= {} \
         FROM pg_class AS c WHERE c.oid = to_regclass($1)",
        budget::LARGE
    );
    let step = database.during(format!("measuring {name} on {}", database.side));
    let found = step.row_if_any(&sql, &[&name]).await?;
    Ok(found.is_none_or(|row| row.get(0)))
}
