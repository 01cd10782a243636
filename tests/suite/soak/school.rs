//! The school's work besides the writers on Landing: sales on Traffic, and rows that Traffic refuses.

use rand::Rng as _;

use super::Soak;
use crate::testkit::{World, holds, landing, traffic};

/// A sale records its lead's status. Leads born on Traffic are counted, so that a loss is noticed.
pub async fn prepare(world: &World) {
    let born = "INSERT INTO traffic_leads (name, phone) SELECT 'born on Traffic', n::text FROM generate_series(1, 20) AS n;
         CREATE TABLE soak_sold (n integer GENERATED ALWAYS AS IDENTITY)";
    traffic(world, born).await;
}

/// A sale and the lead's new status, in one transaction. While Traffic is down or locked, no sale happens.
pub async fn works_on_traffic(soak: &mut Soak) {
    let from = uuid::Uuid::from_u128(soak.rng.random());
    // The user-defined trigger is off: the trigger would stamp `updated_at`, and Landing's value would return only
    // with Landing's next change.
    let sql = format!(
        "BEGIN; SET LOCAL session_replication_role = replica; SET LOCAL lock_timeout = '200ms'; SET LOCAL default_transaction_read_only = off; SET TRANSACTION READ WRITE;
         WITH sold AS (SELECT id FROM traffic_leads WHERE id >= '{from}' ORDER BY id LIMIT 1 FOR UPDATE),
              converted AS (UPDATE traffic_leads SET status = 'converted' WHERE id IN (SELECT id FROM sold) RETURNING id),
              sale AS (INSERT INTO traffic_sales (lead_id, amount) SELECT id, 777 FROM converted RETURNING 1)
         INSERT INTO soak_sold SELECT FROM sale; COMMIT"
    );
    if let Ok(client) = leadbridge::throwaway::connect(&soak.world.traffic_url()).await {
        // A commit with a lost answer counts when the commit took place: sale and count are one transaction.
        let _ = client.batch_execute(&sql).await;
    }
    // Too long for Traffic: the row is quarantined, and later changes are quarantined too, until Landing repairs the
    // row.
    if soak.rng.random_ratio(1, 4)
        && let Ok(client) = leadbridge::throwaway::connect(&soak.world.landing_url()).await
    {
        let bad = format!(
            "UPDATE landing_leads SET name = repeat('long ', 60)
             WHERE id = (SELECT id FROM landing_leads WHERE id >= '{from}' ORDER BY id LIMIT 1)"
        );
        let _ = client.batch_execute(&bad).await;
    }
}

/// Landing repairs every row that Traffic refuses, so that quarantine must become empty.
pub async fn repairs_bad_rows(world: &World) {
    landing(world, "UPDATE landing_leads SET name = 'repaired' WHERE length(name) > 255").await;
}

/// Traffic's own data is unchanged, after any kill and any number of repeated writes.
pub async fn assert_own_is_kept(world: &World) {
    let client = world.traffic().await;
    for kept in [
        "count(*) = 20 FROM traffic_leads WHERE landing_synced_at IS NULL AND name = 'born on Traffic'",
        "(SELECT count(*) FROM traffic_sales WHERE amount = 777) = (SELECT count(*) FROM soak_sold)",
        "NOT EXISTS (SELECT FROM traffic_sales AS s JOIN traffic_leads AS l ON l.id = s.lead_id
                     WHERE s.amount = 777 AND l.status <> 'converted')",
    ] {
        assert!(holds(&client, kept).await, "{kept}");
    }
}
