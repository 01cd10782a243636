//! Rows that were frozen more than 2^31 transactions ago: PostgreSQL keeps their `xmin`, whose age has wrapped around.

use leadbridge::postgres::written_since::written_since;
use leadbridge::throwaway::{Cluster, Shutdown};
use serde_json::Value;

use super::CutoverSetup;
use crate::testkit::{Bridge, World, holds, one, traffic};

/// Moves the server's next transaction id on by three thousand million, in steps that PostgreSQL allows. Every row is
/// frozen before each step. Needs a server without replication slots.
async fn move_transaction_ids_on(server: &mut Cluster, database: &str) {
    // The start of a segment of `pg_xact`, because the server makes the segment's file then.
    for xid in [1431_u32 << 20, 2862 << 20] {
        let client = server.connect(database).await.unwrap();
        client.batch_execute("ALTER DATABASE template0 ALLOW_CONNECTIONS true").await.unwrap();
        for name in ["template0", "template1", "postgres", database] {
            server.connect(name).await.unwrap().batch_execute("VACUUM FREEZE").await.unwrap();
        }
        drop(client);
        server.stop(Shutdown::Fast).await.unwrap();
        let mut reset = server.command("pg_resetwal");
        let done = reset.arg("-D").arg(server.data_dir()).args(["-x", &xid.to_string()]).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        server.resume().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_were_frozen_two_thousand_million_transactions_ago_are_not_recent() {
    let mut world = World::new().await;
    if world.landing.program("pg_resetwal").is_none() {
        return;
    }
    world.fill(90, 60).await;
    move_transaction_ids_on(&mut world.landing, "landing").await;
    assert_told_apart(&world.landing).await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    // A lead that was born on Traffic long before the switch stays there.
    traffic(&world, "INSERT INTO traffic_leads (name, phone, landing_source) VALUES ('b', '+7', 'twland')")
        .await;
    move_transaction_ids_on(&mut world.traffic, "traffic").await;
    for (client, table) in
        [(world.landing().await, "landing_leads"), (world.traffic().await, "traffic_leads")]
    {
        assert!(holds(&client, &format!("bool_and(age(xmin) < 0) FROM {table}")).await, "{table}");
    }

    let mut daemon = bridge.daemon().await;
    daemon.caught_up(&world).await;
    let mut setup = CutoverSetup { world, bridge, daemon };
    let certificate = setup.switches(&[]).await;
    for table in certificate["tables"].as_array().unwrap() {
        assert_eq!(table["recent"], 0, "{table}");
    }
    setup.flows_back().await;
    traffic(
        &setup.world,
        "UPDATE traffic_leads SET click_count = 9 WHERE id = (SELECT min(id::text)::uuid FROM traffic_leads)",
    )
    .await;
    let said = setup.rollback(&["--dry-run"]).await;
    let found: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(found["ready"], true, "{found}");
    setup.rolls_back(&[]).await;
    setup.assert_rolled_back().await;
}

/// Whether a row with the `xmin` counts as written since a transaction, for ids of every distance.
async fn assert_told_apart(server: &Cluster) {
    let client = server.connect("postgres").await.unwrap();
    let now: String = one(&client, "SELECT pg_current_xact_id()::text").await;
    let now: u64 = now.parse().unwrap();
    // Id of a row, and of the transaction to compare with, both counted back from the newest.
    for behind in [1, 1000, 1 << 30, (1 << 31) - 1, 1 << 31, (1 << 31) + 1, 2_999_000_000] {
        for row in [0, 1, behind / 2, behind - 1, behind, behind + 1, 2_999_000_000, 3_000_000_000_u64] {
            let (xmin, since) = (format!("'{}'::xid", now - row), (now - behind).to_string());
            let found = holds(&client, &written_since(&xmin, &since)).await;
            assert_eq!(found, row <= behind, "a row {row} ids back, since {behind} ids back");
        }
    }
}
