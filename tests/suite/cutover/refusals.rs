//! A cutover is refused for each failed condition, with the reason, and nothing is changed.

use std::time::Duration;

use super::{CutoverSetup, LEAD};
use crate::testkit::{
    Bridge, World, holds, landing, least_privileged, one, traffic, until_holds, until_true,
};

/// The command fails, names the check and these words, and every database is as before.
async fn assert_not_ready(setup: &CutoverSetup, more: &[&str], check: &str, words: &str) {
    let said = setup.cutover(more).await;
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    let found: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(found["ready"], false);
    let errors: Vec<&serde_json::Value> =
        found["findings"].as_array().unwrap().iter().filter(|one| one["level"] == "error").collect();
    let named = errors.iter().any(|one| {
        one["check"] == check && one["message"].as_str().unwrap().contains(words) && one["remedy"].is_string()
    });
    assert!(named, "{check}: {words} is not in {errors:?}");
    setup.assert_as_before().await;
}

#[tokio::test]
async fn without_a_daemon() {
    let mut setup = CutoverSetup::new().await;
    setup.daemon.signal(nix::sys::signal::Signal::SIGTERM);
    setup.daemon.ended(Duration::from_secs(20)).await;
    until_holds(&setup.world.landing().await, "NOT bool_or(active) FROM pg_replication_slots").await;
    assert_not_ready(&setup, &[], "slot", "no session streams").await;
}

#[tokio::test]
async fn with_rows_in_quarantine() {
    let mut setup = CutoverSetup::new().await;
    let long = "INSERT INTO landing_leads (name, phone) VALUES (repeat('n', 300), '+7')";
    landing(&setup.world, long).await;
    setup.daemon.caught_up(&setup.world).await;
    assert_not_ready(&setup, &[], "quarantine", "1 rows wait in quarantine").await;
}

#[tokio::test]
async fn with_a_lag() {
    let mut setup = CutoverSetup::new().await;
    let holder = setup.world.traffic().await;
    holder.batch_execute("BEGIN; LOCK TABLE traffic_leads IN SHARE MODE").await.unwrap();
    landing(&setup.world, LEAD).await;
    assert_not_ready(&setup, &["--max-lag-seconds", "0.5"], "lag", "a marker did not come through").await;
    holder.batch_execute("ROLLBACK").await.unwrap();
    setup.daemon.caught_up(&setup.world).await;
}

#[tokio::test]
async fn with_a_row_that_differs() {
    let setup = CutoverSetup::new().await;
    traffic(&setup.world, "UPDATE traffic_leads SET email_sent = NOT email_sent WHERE id = (SELECT min(id::text)::uuid FROM traffic_leads)").await;
    assert_not_ready(&setup, &[], "verification", "1 of landing_leads").await;
}

#[tokio::test]
async fn with_a_transaction_that_holds_the_tables() {
    let setup = CutoverSetup::new().await;
    let holder = setup.world.landing().await;
    holder.batch_execute(&format!("BEGIN; {LEAD}")).await.unwrap();
    let pid: i32 = one(&holder, "SELECT pg_backend_pid()").await;
    assert_not_ready(&setup, &[], "old_transactions", &format!("process {pid} ")).await;
}

#[tokio::test]
async fn with_a_prepared_transaction_that_holds_the_tables() {
    let world = World::with_settings(&[("max_prepared_transactions", "2")], &[]).await;
    let bridge = Bridge::new(&world);
    let setup = CutoverSetup::between(world, bridge).await;
    landing(&setup.world, &format!("BEGIN; {LEAD}; PREPARE TRANSACTION 'forgotten'")).await;
    assert_not_ready(&setup, &[], "old_transactions", "prepared transaction 'forgotten'").await;
}

#[tokio::test]
async fn without_a_fence_to_close() {
    let setup = CutoverSetup::new().await;
    landing(&setup.world, "DROP FUNCTION leadbridge.close_fence").await;
    assert_not_ready(&setup, &[], "fence", "not installed").await;
}

#[tokio::test]
async fn without_the_tables_for_changed_keys() {
    let setup = CutoverSetup::new().await;
    landing(&setup.world, "DROP TABLE leadbridge.held_keys").await;
    assert_not_ready(&setup, &[], "fence", "could not record changed keys").await;
}

#[tokio::test]
async fn without_reverse_replication() {
    let setup = CutoverSetup::new().await;
    traffic(&setup.world, "ALTER PUBLICATION leadbridge_reverse DROP TABLE traffic_lead_journey").await;
    assert_not_ready(&setup, &[], "reverse_replication", "lacks: traffic_lead_journey").await;
}

#[tokio::test]
async fn with_a_traffic_that_cannot_decode_its_wal() {
    let world = World::with_settings(&[], &[("wal_level", "replica")]).await;
    let bridge = Bridge::new(&world);
    let setup = CutoverSetup::between(world, bridge).await;
    assert_not_ready(&setup, &[], "reverse_replication", "cannot decode its WAL").await;
}

#[tokio::test]
async fn with_a_role_that_may_not_replicate_from_traffic() {
    let world = World::new().await;
    let bridge = least_privileged(&world).await;
    let setup = CutoverSetup::between(world, bridge).await;
    traffic(&setup.world, "ALTER ROLE bridge NOREPLICATION").await;
    assert_not_ready(&setup, &[], "reverse_replication", "the role bridge may not replicate from Traffic")
        .await;
}

#[tokio::test]
async fn with_a_traffic_that_has_no_slot_left() {
    let world = World::with_settings(&[], &[("max_replication_slots", "1")]).await;
    let bridge = Bridge::new(&world);
    let setup = CutoverSetup::between(world, bridge).await;
    traffic(&setup.world, "SELECT pg_create_physical_replication_slot('standby')").await;
    let said = setup.cutover(&["--dry-run"]).await;
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    assert!(said.out.contains("Traffic has no replication slot left"), "{}", said.out);
}

#[tokio::test]
async fn with_a_slot_that_is_losing_its_wal() {
    let limits = [("max_slot_wal_keep_size", "1MB"), ("max_wal_size", "32MB"), ("min_wal_size", "32MB")];
    let world = World::with_settings(&limits, &[]).await;
    let bridge = Bridge::new(&world);
    let setup = CutoverSetup::between(world, bridge).await;
    // The daemon stands still, while writers go on writing to Landing.
    setup.daemon.signal(nix::sys::signal::Signal::SIGSTOP);
    let noise =
        "SELECT pg_logical_emit_message(true, 'noise', repeat('x', 8000)) FROM generate_series(1, 4000);
                 SELECT pg_switch_wal()";
    let losing = "bool_or(wal_status IN ('unreserved', 'lost')) FROM pg_replication_slots";
    let client = setup.world.landing().await;
    until_true("the slot loses its WAL", async || {
        client.batch_execute(noise).await.unwrap();
        holds(&client, losing).await
    })
    .await;
    let said = setup.cutover(&["--dry-run"]).await;
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    assert!(
        said.out.contains("is losing the WAL") || said.out.contains("no session streams"),
        "{}",
        said.out
    );
    setup.daemon.signal(nix::sys::signal::Signal::SIGCONT);
}

#[tokio::test]
async fn with_a_pause_that_would_be_too_long() {
    let setup = CutoverSetup::new().await;
    assert_not_ready(&setup, &["--max-pause", "1ms"], "pause", "--max-pause").await;
}

#[tokio::test]
async fn while_another_command_is_in_the_middle_of_one() {
    let setup = CutoverSetup::new().await;
    let hooked = setup.bridge.dir().join("hooked");
    let hook = format!("test $LEADBRIDGE_EVENT = check || {{ touch {}; sleep 30; }}", hooked.display());
    let arguments = setup.arguments(&["--hook", &hook]);
    let mut first = setup.bridge.command(&arguments).spawn().unwrap();
    until_true("the hook runs", async || hooked.exists()).await;
    let said = setup.cutover(&[]).await;
    crate::testkit::assert_refused(&said, &["another command is in the middle"]);
    first.kill().await.unwrap();
    setup.settled().await;
    setup.assert_as_before().await;
}

/// The command waits politely for the holder of the tables: no writer waits longer than the lock's own time limit.
#[tokio::test]
async fn a_long_transaction_makes_the_fence_give_up_and_nobody_waits_behind_it_for_long() {
    let setup = CutoverSetup::new().await;
    let holder = setup.world.landing().await;
    let statement =
        "UPDATE landing_leads SET click_count = 1 WHERE id = (SELECT min(id::text)::uuid FROM landing_leads)";
    // A lock that only the fence conflicts with, taken again and again in separate transactions, so that no two looks
    // find the same transaction, with hardly a gap between the locks.
    let stop = std::sync::atomic::AtomicBool::new(false);
    let second = setup.world.landing().await;
    let relay = async {
        let clients = [&holder, &second];
        clients[0].batch_execute(&format!("BEGIN; {statement}")).await.unwrap();
        for turn in 1.. {
            if stop.load(std::sync::atomic::Ordering::Relaxed) {
                break;
            }
            let (next, last) = (clients[turn % 2], clients[(turn + 1) % 2]);
            let take = "BEGIN; LOCK TABLE landing_leads IN ROW EXCLUSIVE MODE";
            next.batch_execute(take).await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
            last.batch_execute("ROLLBACK").await.unwrap();
        }
        for client in clients {
            client.batch_execute("ROLLBACK").await.unwrap();
        }
    };
    // A writer that fails rather than waits for a second.
    let writer = setup.world.landing().await;
    let written = async {
        let mut written = 0;
        while !stop.load(std::sync::atomic::Ordering::Relaxed) {
            let write = "SET lock_timeout = '1s'; UPDATE landing_leads SET click_count = 2 \
                         WHERE id = (SELECT max(id::text)::uuid FROM landing_leads)";
            writer.batch_execute(write).await.unwrap();
            written += 1;
        }
        written
    };
    let command = async {
        let said = setup.cutover(&["--timeout", "8s", "--lock-timeout", "100ms"]).await;
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        said
    };
    let (said, (), written) = tokio::join!(command, relay, written);
    assert!(written > 0);
    assert_eq!(said.code, 3, "{}{}", said.out, said.err);
    assert!(said.err.contains("could not be locked: they are held by process"), "{}", said.err);
    setup.assert_as_before().await;
}

/// The fence lets one role pass on Landing, the role that closed the fence: the daemon must have that role.
#[tokio::test]
async fn as_another_role_than_the_daemons() {
    let world = World::new().await;
    let bridge = least_privileged(&world).await;
    let setup = CutoverSetup::between(world, bridge).await;
    let urls = [("LANDING_DATABASE_URL", "Landing DB"), ("TRAFFIC_DATABASE_URL", "Traffic DB")];
    for (at, (variable, side)) in urls.into_iter().enumerate() {
        let url = [setup.world.landing_url(), setup.world.traffic_url()];
        let mut command = setup.bridge.command(&setup.arguments(&[]));
        command.env(variable, &url[at]);
        let said = crate::testkit::said(command).await;
        assert_eq!(said.code, 1, "{}{}", said.out, said.err);
        let message = format!("on the {side} the daemon is bridge, and this command is postgres");
        assert!(said.out.contains(&message) && said.out.contains(variable), "{}", said.out);
        setup.assert_as_before().await;
    }
    setup.switches(&[]).await;
}

/// Nothing is written on Landing before the fence, so only a rolled-back write shows that a role may only read there.
#[tokio::test]
async fn as_a_role_whose_transactions_are_read_only() {
    let world = World::new().await;
    let bridge = least_privileged(&world).await;
    let setup = CutoverSetup::between(world, bridge).await;
    let settings = [
        ("ALTER ROLE bridge", "ALTER ROLE bridge RESET"),
        ("ALTER ROLE bridge IN DATABASE landing", "ALTER ROLE bridge IN DATABASE landing RESET"),
        ("ALTER DATABASE landing", "ALTER DATABASE landing RESET"),
    ];
    for (whose, remedy) in settings {
        landing(&setup.world, &format!("{whose} SET default_transaction_read_only = on")).await;
        let said = setup.cutover(&["--dry-run"]).await;
        assert_eq!(said.code, 1, "{}{}", said.out, said.err);
        assert!(
            said.out.contains("transactions of this role on the Landing DB are read-only"),
            "{}",
            said.out
        );
        assert!(said.out.contains(remedy), "{}", said.out);
        let doctor = setup.bridge.run(&["doctor"]).await;
        assert_eq!(doctor.code, 0, "replication only reads there: {}{}", doctor.out, doctor.err);
        assert!(doctor.out.contains("so no cutover can be made"), "{}", doctor.out);
        assert!(doctor.out.contains(remedy), "{}", doctor.out);
        let client = setup.world.landing().await;
        client.batch_execute("SET default_transaction_read_only = off").await.unwrap();
        let reset = format!("{whose} RESET default_transaction_read_only");
        client.batch_execute(&reset).await.unwrap();
        setup.assert_as_before().await;
    }
    traffic(&setup.world, "ALTER ROLE bridge SET default_transaction_read_only = on").await;
    assert_not_ready(&setup, &[], "read_only", "on the Traffic DB are read-only").await;
    traffic(&setup.world, "ALTER ROLE bridge RESET default_transaction_read_only").await;
    setup.switches(&[]).await;
}
