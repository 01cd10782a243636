//! A rewritten table is empty to every earlier snapshot, and each row gets a new `xmin`: leadbridge takes neither for
//! a delete or a write.

mod copy;
mod reverse;
mod statements;

use tokio_postgres::Client;

use crate::testkit::until_holds;

/// Rewrites a table, and gives each row a value of its own, which a mere default would not.
fn rewrite(table: &str, column: &str) -> String {
    format!("ALTER TABLE {table} ADD COLUMN {column} uuid DEFAULT gen_random_uuid()")
}

/// Waits until a session of leadbridge waits for another session's lock.
async fn until_we_wait(client: &Client) {
    let waiting = "EXISTS (SELECT FROM pg_stat_activity WHERE application_name LIKE 'leadbridge%'
                           AND wait_event_type = 'Lock')";
    until_holds(client, waiting).await;
}
