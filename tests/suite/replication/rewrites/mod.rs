//! A table that is rewritten is empty to every snapshot of before, and each of its rows gets a new `xmin`: neither is
//! taken for a delete or for a write.

mod copy;
mod reverse;
mod statements;

use tokio_postgres::Client;

use crate::testkit::until_holds;

/// Rewrites a table, and gives each row its own value, which a mere default would not.
fn rewrite(table: &str, column: &str) -> String {
    format!("ALTER TABLE {table} ADD COLUMN {column} uuid DEFAULT gen_random_uuid()")
}

/// Waits until a session of ours stands behind somebody's lock.
async fn until_we_wait(client: &Client) {
    let waiting = "EXISTS (SELECT FROM pg_stat_activity WHERE application_name LIKE 'leadbridge%'
                           AND wait_event_type = 'Lock')";
    until_holds(client, waiting).await;
}
