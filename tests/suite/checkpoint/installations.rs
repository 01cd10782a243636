//! A schema belongs to one installation: a second installation on the same server changes nothing in the schema.

use leadbridge::migrate::{MigrateOptions, migrate};
use tokio_postgres::Client;

use crate::testkit::{Bridge, World, assert_equal, assert_refused, holds, landing, one, traffic};

/// Every row of leadbridge's schema on Traffic, and of the fence's schema on Landing.
async fn state(world: &World) -> Vec<String> {
    let (landing, traffic) = (world.landing().await, world.traffic().await);
    let mut state = vec![
        one(
            &landing,
            "SELECT coalesce(string_agg(p::text, ';' ORDER BY p.oid), '') FROM pg_publication AS p",
        )
        .await,
        one(&landing, "SELECT string_agg(slot_name, ';') FROM pg_replication_slots").await,
    ];
    for (client, side) in [(&landing, "Landing"), (&traffic, "Traffic")] {
        let tables = "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class
                      WHERE relnamespace = 'leadbridge'::regnamespace AND relkind = 'r'";
        for table in one::<String>(client, tables).await.split(' ') {
            let rows = format!(
                "SELECT coalesce(string_agg(t::text, ';' ORDER BY t::text), '') FROM leadbridge.{table} AS t"
            );
            state.push(format!("{side} {table}: {}", one::<String>(client, &rows).await));
        }
    }
    state
}

/// A first installation with a row in quarantine and a conversion note.
async fn first(world: &World) -> Bridge {
    world.fill(60, 20).await;
    let bad = "INSERT INTO landing_leads (name, phone) VALUES (repeat('long ', 60), '1');
               INSERT INTO landing_leads (name, phone, amocrm_lead_id) VALUES ('noted', '2', 'no number')";
    landing(world, bad).await;
    let bridge = Bridge::new(world);
    bridge.catch_up().await;
    let quarantined = "count(*) = 1 FROM leadbridge.quarantine";
    let noted = "count(*) >= 1 FROM leadbridge.conversion_notes";
    let traffic = world.traffic().await;
    assert!(holds(&traffic, quarantined).await && holds(&traffic, noted).await);
    bridge
}

const SECOND: &str = "[names]\nslot = \"second\"\npublication = \"second\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_second_installation_in_the_same_schema_is_refused_by_every_command_and_changes_nothing() {
    let world = World::new().await;
    let first = first(&world).await;
    let before = state(&world).await;
    let second = Bridge::new(&world).configured(SECOND);
    for command in [
        &["migrate"] as &[&str],
        &["migrate", "--dry-run"],
        &["run"],
        &["resync", "--yes"],
        &["cutover", "--yes"],
        &["rollback", "--yes"],
        &["finish", "--yes", "--backup", "/nowhere"],
        &["verify"],
        &["verify", "--repair"],
        &["quarantine", "list"],
        &["quarantine", "retry"],
        &["quarantine", "discard", "1", "--yes"],
    ] {
        let said = second.run(command).await;
        assert_refused(&said, &["belongs to another installation", "`leadbridge`", "[names] schema"]);
        assert_eq!(state(&world).await, before, "{command:?}");
    }
    for command in [&["doctor"] as &[&str], &["status"]] {
        let said = second.run(command).await;
        assert_ne!(said.code, 0, "{command:?}");
        assert!((said.out + &said.err).contains("[names] schema"), "{command:?}");
    }
    // The script for a DBA refuses, too.
    let script = second.run(&["migrate", "--print=traffic"]).await.out;
    let error = world.traffic().await.batch_execute(&script).await.expect_err("refused");
    assert!(error.as_db_error().unwrap().hint().unwrap().contains("[names] schema"), "{error}");
    // The time of application of the first migration, the same migration for both installations, may change.
    let but_migrations = |state: Vec<String>| {
        state.into_iter().filter(|table| !table.starts_with("Traffic migrations")).collect::<Vec<_>>()
    };
    assert_eq!(but_migrations(state(&world).await), but_migrations(before));

    landing(&world, "UPDATE landing_leads SET click_count = 5").await;
    first.catch_up().await;
    assert!(holds(&world.traffic().await, "count(*) = 1 FROM leadbridge.quarantine").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_installation_with_a_schema_and_tables_of_its_own_runs_beside_the_first() {
    let world = World::new().await;
    let first = first(&world).await;
    let shares_tables = Bridge::new(&world).configured(&format!("{SECOND}schema = \"second\""));
    assert_refused(&shares_tables.run(&["migrate"]).await, &["slot `leadbridge`", "[names] traffic_schema"]);
    assert!(holds(&world.traffic().await, "to_regnamespace('second') IS NULL").await);

    let tables = "CREATE SCHEMA school;
        CREATE TABLE school.traffic_leads (LIKE public.traffic_leads INCLUDING ALL);
        CREATE TABLE school.traffic_users (LIKE public.traffic_users INCLUDING ALL);
        CREATE TABLE school.traffic_user_utm_sources (LIKE public.traffic_user_utm_sources INCLUDING ALL)";
    traffic(&world, tables).await;
    let names = format!("{SECOND}schema = \"second\"\ntraffic_schema = \"school\"");
    let second = Bridge::new(&world).configured(&names);
    let before = state(&world).await[2..].to_vec();
    let said = second.run(&["migrate"]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    second.catch_up().await;
    assert_eq!(state(&world).await[2..], before);
    let same = "(SELECT count(*) FROM school.traffic_leads) = (SELECT count(*) FROM public.traffic_leads)";
    assert!(holds(&world.traffic().await, same).await);
    first.catch_up().await;
    let said = second.run(&["resync", "--yes"]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    first.catch_up().await;
    assert!(holds(&world.traffic().await, same).await);
}

async fn migrated(world: &World, landing: &mut Client, options: &MigrateOptions) -> Result<(), String> {
    let mut traffic = world.traffic().await;
    let report = migrate(landing, &mut traffic, &world.names, options).await;
    report.map(drop).map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_landing_that_was_replaced_is_refused_until_the_operator_says_so_and_copied_again_then() {
    let world = World::new().await;
    let bridge = first(&world).await;
    let other = World::of_another_cluster().await;
    other.fill(61, 10).await;
    // The refused runs are this installation's: `status` shows the reason of their end.
    let unchanged = async || {
        let mut state = state(&world).await;
        state.retain(|table| !table.starts_with("Traffic last_error: "));
        state
    };
    let before = unchanged().await;
    let moved = Bridge::between(&other.landing_url(), &world.traffic_url());
    for command in [&["run"] as &[&str], &["resync", "--yes"]] {
        assert_refused(&moved.run(command).await, &["belongs to another", "--replace-installation"]);
        assert_eq!(unchanged().await, before, "{command:?}");
    }
    let refused = migrated(&world, &mut other.landing().await, &MigrateOptions::default()).await.unwrap_err();
    assert!(refused.contains("--replace-installation"), "{refused}");
    assert_eq!(unchanged().await, before);

    let said = moved.run(&["migrate", "--replace-installation"]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    assert_refused(&moved.run(&["run"]).await, &["belongs to another Landing cluster", "leadbridge resync"]);
    let said = moved.run(&["resync", "--yes"]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    moved.catch_up().await;
    assert!(holds(&world.traffic().await, "count(*) = 10 FROM traffic_leads").await);
    assert_refused(&bridge.run(&["run"]).await, &["belongs to another"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_from_before_the_record_belongs_to_whose_checkpoint_it_holds() {
    let world = World::new().await;
    let first = first(&world).await;
    let forget =
        "DROP TABLE leadbridge.installation; DELETE FROM leadbridge.migrations WHERE name LIKE '024%'";
    traffic(&world, forget).await;
    landing(&world, "DROP TABLE leadbridge.installation").await;
    let second = Bridge::new(&world).configured(SECOND);
    for command in [&["run"], &["migrate"]] {
        assert_refused(&second.run(command).await, &["its slot is `leadbridge`", "[names] schema"]);
    }
    assert!(holds(&world.traffic().await, "state = 'streaming' FROM leadbridge.checkpoint").await);
    assert_eq!(first.run(&["migrate"]).await.code, 0);
    first.catch_up().await;
    let known = "slot = 'leadbridge' AND landing_system_id IS NOT NULL FROM leadbridge.installation";
    assert!(holds(&world.traffic().await, known).await);
    assert_refused(&second.run(&["migrate"]).await, &["[names] schema"]);
    landing(&world, "DELETE FROM landing_leads WHERE length(name) > 255").await;
    first.catch_up().await;
    assert_equal(&world).await;
}
