//! Landing's publication changes while the stream runs: the stream itself does not announce the change.

use std::time::Duration;

use crate::testkit::{
    Bridge, Daemon, Said, World, assert_equal, caught_up_and_equal, holds, landing, one, until_holds,
};

/// A change of every table.
const WORK: &str = "UPDATE landing_leads SET click_count = coalesce(click_count, 0) + 1;
    UPDATE journey_stages SET source = 'w' || coalesce(source, '')";

/// The daemon ends by itself with exit 4, one error and its remedy.
async fn assert_ends(daemon: &mut Daemon, what: &str, words: &[&str]) {
    let ended = daemon.ended(Duration::from_secs(20)).await;
    assert_eq!(ended.code(), Some(4), "{what}: {}", daemon.log());
    let log = daemon.log();
    let (_, error) = log.rsplit_once("error: ").expect("an error");
    assert_eq!(error.matches("what to do: ").count(), 1, "{what}: {log}");
    for word in words {
        assert!(error.contains(word), "{what}: {word} is not in: {error}");
    }
}

fn assert_refused(what: &str, said: &Said, word: &str) {
    assert_eq!(said.code, 4, "{what}: {}", said.err);
    assert_eq!(said.err.matches("error: ").count(), 1, "{what}: {}", said.err);
    assert_eq!(said.err.matches("what to do: ").count(), 1, "{what}: {}", said.err);
    assert!(said.err.contains(word), "{what}: {word} is not in: {}", said.err);
}

async fn resync(world: &World, bridge: &Bridge, what: &str) {
    let said = bridge.run(&["resync", "--yes"]).await;
    assert_eq!(said.code, 0, "{what}: {}", said.err);
    landing(world, WORK).await;
    bridge.catch_up().await;
    assert_equal(world).await;
}

/// The damage to the publication, the SQL that undoes the damage, and the error's words without a repair.
const TAMPERING: [(&str, &str, &str); 8] = [
    (
        "ALTER PUBLICATION leadbridge DROP TABLE journey_stages",
        "ALTER PUBLICATION leadbridge ADD TABLE journey_stages",
        "journey_stages was taken out",
    ),
    (
        "DROP PUBLICATION leadbridge",
        "CREATE PUBLICATION leadbridge FOR TABLE landing_leads, journey_stages",
        "publication",
    ),
    (
        "ALTER PUBLICATION leadbridge SET (publish = 'insert')",
        "ALTER PUBLICATION leadbridge SET (publish = 'insert, update, delete, truncate')",
        "the publication on Landing was altered",
    ),
    (
        "ALTER PUBLICATION leadbridge SET TABLE landing_leads (id, name), journey_stages",
        "ALTER PUBLICATION leadbridge SET TABLE landing_leads, journey_stages",
        "landing_leads",
    ),
    (
        "ALTER PUBLICATION leadbridge SET TABLE landing_leads WHERE (id > '80000000-0000-0000-0000-000000000000'),
         journey_stages",
        "ALTER PUBLICATION leadbridge SET TABLE landing_leads, journey_stages",
        "landing_leads was taken out",
    ),
    (
        "DROP PUBLICATION leadbridge; CREATE PUBLICATION leadbridge FOR ALL TABLES",
        "DROP PUBLICATION leadbridge;
         CREATE PUBLICATION leadbridge FOR TABLE landing_leads, journey_stages",
        "publication",
    ),
    (
        "ALTER PUBLICATION leadbridge DROP TABLE journey_stages;
         ALTER PUBLICATION leadbridge ADD TABLES IN SCHEMA public",
        "ALTER PUBLICATION leadbridge DROP TABLES IN SCHEMA public;
         ALTER PUBLICATION leadbridge ADD TABLE journey_stages",
        "journey_stages was taken out",
    ),
    (
        "ALTER TABLE journey_stages RENAME TO elsewhere",
        "ALTER TABLE elsewhere RENAME TO journey_stages",
        "journey_stages",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_that_is_changed_under_the_stream_ends_it() {
    let world = World::new().await;
    world.fill(80, 20).await;
    let bridge = Bridge::new(&world);
    for (damage, repair, says) in TAMPERING {
        let mut daemon = bridge.daemon().await;
        daemon.streaming().await;
        landing(&world, damage).await;
        assert_ends(&mut daemon, damage, &[says, "what to do"]).await;
        landing(&world, repair).await;
        // Only the rename can be undone: no row was written in between, and the table is the same table.
        if damage.contains("RENAME") {
            landing(&world, WORK).await;
            bridge.catch_up().await;
            assert_equal(&world).await;
        } else {
            assert_refused(damage, &bridge.run(&["run"]).await, "leadbridge resync");
            resync(&world, &bridge, damage).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_that_was_changed_and_changed_back_between_two_looks_is_noticed() {
    let world = World::new().await;
    world.fill(81, 20).await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    for (damage, repair, _) in TAMPERING {
        // Rows written in between are written under the other publication, so the stream lacks these rows, or parts
        // of them.
        let written = if damage.contains("RENAME") {
            WORK.replace("journey_stages", "elsewhere")
        } else {
            WORK.to_owned()
        };
        landing(&world, &format!("{damage}; {written}; {repair}")).await;
        let said = bridge.run(&["run", "--until-caught-up"]).await;
        assert_refused(damage, &said, "leadbridge resync");
        // The catalog does not show that a table has its old name again: only the stream does.
        let doctor = bridge.run(&["doctor"]).await;
        let renamed = damage.contains("RENAME");
        assert!(
            renamed || doctor.out.contains("ERROR") && doctor.out.contains("leadbridge resync"),
            "{damage}: {}",
            doctor.out
        );
        resync(&world, &bridge, damage).await;
    }
    // The same under a running stream, too quick for the monitor's next look.
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    let (out, back, _) = TAMPERING[0];
    landing(&world, &format!("BEGIN; {out}; COMMIT; {WORK}; BEGIN; {back}; COMMIT")).await;
    assert_ends(&mut daemon, out, &["journey_stages", "leadbridge resync"]).await;
    resync(&world, &bridge, out).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_replaced_is_refused() {
    let world = World::new().await;
    world.fill(82, 20).await;
    let bridge = Bridge::new(&world);
    let again = "CREATE TABLE journey_stages (LIKE elsewhere INCLUDING ALL,
            FOREIGN KEY (lead_id) REFERENCES landing_leads (id) ON DELETE CASCADE);
        INSERT INTO journey_stages SELECT * FROM elsewhere ORDER BY id LIMIT 10";
    for (what, sql) in [
        ("recreated", "ALTER TABLE journey_stages RENAME TO elsewhere; ANEW; DROP TABLE elsewhere"),
        (
            "put in place",
            "ALTER TABLE journey_stages RENAME TO elsewhere; ANEW; DROP TABLE elsewhere CASCADE",
        ),
    ] {
        let mut daemon = bridge.daemon().await;
        daemon.streaming().await;
        let sql = sql.replace("ANEW", again);
        let add = "ALTER PUBLICATION leadbridge ADD TABLE journey_stages";
        landing(&world, &format!("BEGIN; {sql}; {add}; COMMIT; {WORK}")).await;
        assert_ends(&mut daemon, what, &["journey_stages", "leadbridge resync"]).await;
        assert_refused(what, &bridge.run(&["run"]).await, "another table");
        resync(&world, &bridge, what).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_catalog_that_keeps_nothing_back_is_passed_over() {
    let world = World::new().await;
    world.fill(83, 20).await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    let client = world.landing().await;
    client.batch_execute("CREATE ROLE somebody").await.unwrap();
    for sql in [
        "VACUUM FULL landing_leads",
        "ALTER TABLE landing_leads ALTER source SET DEFAULT 'site', ALTER name SET STATISTICS 50",
        "ALTER TABLE landing_leads ALTER phone TYPE varchar",
        "ANALYZE landing_leads",
        "ALTER TABLE landing_leads REPLICA IDENTITY FULL",
        "CREATE INDEX ON landing_leads (email)",
        "ALTER PUBLICATION leadbridge OWNER TO somebody",
        "CLUSTER landing_leads USING landing_leads_pkey",
    ] {
        let before: Option<String> =
            one(&world.traffic().await, "SELECT published FROM leadbridge.checkpoint").await;
        let shape = "SELECT (SELECT xmin::text FROM pg_publication) || (SELECT relfilenode FROM pg_class
            WHERE relname = 'landing_leads') || (SELECT string_agg(xmin::text, ' ' ORDER BY attnum)
            FROM pg_attribute WHERE attrelid = 'landing_leads'::regclass AND attnum > 0)";
        let earlier: String = one(&client, shape).await;
        client.batch_execute(sql).await.unwrap();
        if one::<String>(&client, shape).await != earlier {
            // A harmless change is recorded, so that two harmless changes together never look like a harmful change.
            let renewed = format!("published <> '{}' FROM leadbridge.checkpoint", before.unwrap());
            until_holds(&world.traffic().await, &renewed).await;
        }
        client.batch_execute(WORK).await.unwrap();
        caught_up_and_equal(&world, &mut daemon).await;
    }
    daemon.terminate().await;
    bridge.catch_up().await;
    assert_equal(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_that_did_not_write_down_what_is_published_does_so_at_its_next_start() {
    let world = World::new().await;
    world.fill(84, 20).await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    let traffic = world.traffic().await;
    traffic.batch_execute("ALTER TABLE leadbridge.checkpoint DROP COLUMN published").await.unwrap();
    assert_refused("an old schema", &bridge.run(&["run"]).await, "leadbridge migrate");
    // A version with further migrations has another checksum.
    traffic.batch_execute("UPDATE leadbridge.migrations SET checksum = 'old'").await.unwrap();
    world.migrate(&leadbridge::migrate::MigrateOptions::default()).await;
    assert!(holds(&traffic, "published IS NULL FROM leadbridge.checkpoint").await);
    landing(&world, WORK).await;
    bridge.catch_up().await;
    assert_equal(&world).await;
    assert!(holds(&traffic, "published IS NOT NULL FROM leadbridge.checkpoint").await);
    landing(&world, TAMPERING[0].0).await;
    landing(&world, TAMPERING[0].1).await;
    assert_refused("tampering", &bridge.run(&["run"]).await, "put into it again");
}
