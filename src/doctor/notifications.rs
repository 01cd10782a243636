//! Notifications that are pending on Landing while notifications are not replicated.

use tokio_postgres::Client;

use super::server::privileges_remedy;
use crate::config::Config;
use crate::error::Result;
use crate::language::message;
use crate::model::change::Table;
use crate::model::side::Side;
use crate::postgres::step::during;
use crate::report::Verdict;

/// Counts the pending notifications on Landing, of which Traffic knows nothing. Must be asked only while
/// notifications are not replicated.
pub async fn pending_notifications(landing: &Client, config: &Config) -> Result<Verdict> {
    let name = config.names.landing_name(Table::ScheduledNotifications);
    let step = during(landing, format!("looking for {name} on Landing"));
    // Row-level security is an error under `row_security = off`, unless the role bypasses it.
    let sql = "SELECT pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT') \
               AND NOT pg_catalog.row_security_active(c.oid) \
               FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
               JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'status' \
               WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p')";
    let Some(row) = step.row_if_any(sql, &[&config.names.landing_schema, &name]).await? else {
        return Ok(Verdict::ok(message!("doctor-notifications-absent", name = name)));
    };
    if !row.get::<_, bool>(0) {
        return Ok(Verdict::warning(
            message!("doctor-notifications-unreadable", name = name),
            privileges_remedy(Side::Landing),
        ));
    }
    let count = format!(
        "SELECT count(*) FROM {} WHERE status::text = 'pending'",
        config.names.landing_table(Table::ScheduledNotifications)
    );
    let row = during(landing, "counting the pending notifications on Landing").row(&count, &[]).await?;
    Ok(judge(row.get(0)))
}

fn judge(pending: i64) -> Verdict {
    if pending == 0 {
        return Verdict::ok(message!("doctor-notifications-none"));
    }
    Verdict::warning(
        message!("doctor-notifications-pending", pending = pending),
        message!("doctor-notifications-pending-remedy"),
    )
}
