//! An empty table is filled without the indexes that only make reading faster, and has every index afterwards.

use leadbridge::failpoint::Point;

use crate::testkit::{
    Bridge, World, assert_equal, assert_refused, at_each_insert, differences_beside_quarantine, holds,
    landing, least_privileged, one, traffic, until_holds, until_true,
};

/// Both tables' indexes, with their definitions.
const DEFINITIONS: &str =
    "SELECT string_agg(pg_get_indexdef(indexrelid), E'\n' ORDER BY indexrelid::regclass::text)
    FROM pg_index WHERE indrelid IN ('traffic_leads'::regclass, 'traffic_lead_journey'::regclass)";

async fn definitions(world: &World) -> String {
    one(&world.traffic().await, DEFINITIONS).await
}

/// From now on Traffic records the indexes that a table has when rows are inserted, for any role.
async fn watch_indexes(world: &World) {
    traffic(world, "CREATE TABLE public.seen (relation text, index text)").await;
    let note = "INSERT INTO public.seen SELECT DISTINCT TG_RELNAME, c.relname
        FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
        WHERE i.indrelid = TG_RELID";
    at_each_insert(world, note).await;
}

/// The indexes that existed for some inserted row of the table.
async fn seen(world: &World, table: &str) -> Vec<String> {
    let sql = format!("SELECT DISTINCT index FROM seen WHERE relation = '{table}' ORDER BY 1");
    let rows = world.traffic().await.query(&sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// All indexes of the table in a school's database at the end.
async fn indexes(world: &World, table: &str) -> Vec<String> {
    let sql =
        "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = $1::text::regclass ORDER BY 1";
    let rows = world.traffic().await.query(sql, &[&table]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_table_is_filled_without_its_indexes_and_has_them_all_afterwards() {
    let world = World::new().await;
    world.fill(140, 200).await;
    let bridge = least_privileged(&world).await.configured("[stream]\nbatch_rows = 70");
    // Indexes of the school's own: each has a property that the definition does not show, or may refuse a row.
    let own = "CREATE UNIQUE INDEX own_unique ON traffic_lead_journey (id, stage);
        CREATE INDEX own_expression ON traffic_leads (lower(email));
        CREATE INDEX own_partial ON traffic_leads (status) WHERE status <> 'new';
        CREATE INDEX own_comment ON traffic_leads (fb_ad_id);
        COMMENT ON INDEX own_comment IS 'ours';
        CREATE INDEX own_document ON traffic_leads USING gin (metadata);
        CREATE INDEX own_two_texts ON traffic_leads (landing_source, phone_normalized);
        CREATE INDEX own_including ON traffic_leads (status) INCLUDE (name)";
    traffic(&world, own).await;
    traffic(
        &world,
        "CREATE INDEX \"Own plain\" ON traffic_leads (status, created_at DESC) WITH (fillfactor = 80)",
    )
    .await;
    let before = definitions(&world).await;
    watch_indexes(&world).await;
    let mut daemon = bridge.daemon().await;
    daemon.caught_up(&world).await;
    assert_eq!(daemon.status().await["snapshot_indexes_left"], 0);
    daemon.terminate().await;
    let kept = [
        "own_comment",
        "own_document",
        "own_expression",
        "own_including",
        "own_partial",
        "own_two_texts",
        "traffic_leads_phone_digits_idx",
        "traffic_leads_pkey",
    ];
    assert_eq!(seen(&world, "traffic_leads").await, kept);
    assert_eq!(seen(&world, "traffic_lead_journey").await, ["own_unique", "traffic_lead_journey_pkey"]);
    assert_eq!(definitions(&world).await, before);
    assert!(holds(&world.traffic().await, "count(*) = 0 FROM leadbridge.deferred_indexes").await);
    assert_equal(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_holds_a_row_or_whose_owner_wants_them_kept_up_keeps_its_indexes() {
    let world = World::new().await;
    world.fill(141, 100).await;
    traffic(&world, "INSERT INTO traffic_leads (name, phone) VALUES ('born here', '1')").await;
    watch_indexes(&world).await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    let all = indexes(&world, "traffic_leads").await;
    assert!(all.len() > 9, "{all:?}");
    assert_eq!(seen(&world, "traffic_leads").await, all);
    assert_eq!(seen(&world, "traffic_lead_journey").await, ["traffic_lead_journey_pkey"]);

    traffic(&world, "TRUNCATE traffic_leads CASCADE; TRUNCATE seen").await;
    let bridge = bridge.configured("[snapshot]\ndefer_indexes = false");
    assert_eq!(bridge.run(&["resync", "--yes"]).await.code, 0);
    assert_eq!(seen(&world, "traffic_leads").await, all);
    assert_eq!(seen(&world, "traffic_lead_journey").await, indexes(&world, "traffic_lead_journey").await);
    assert_equal(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_dies_in_between_leaves_no_index_missing_for_long() {
    let world = World::new().await;
    world.fill(142, 100).await;
    let before = definitions(&world).await;
    let bridge = Bridge::new(&world);
    for (point, pass) in [(Point::IndexesLeftOut, 2), (Point::CopyCommitted, 1), (Point::IndexMade, 3)] {
        bridge.dying_command(&["run", "--until-caught-up"], point, pass).output().await.unwrap();
        assert_ne!(definitions(&world).await, before, "{}", point.name());
        let said = bridge.run(&["doctor"]).await;
        assert!(said.out.contains("missing until a snapshot is complete: "), "{}{}", said.out, said.err);
    }
    // An index made by hand in between, by leadbridge's function or by another statement, counts as made.
    let by_hand = "SELECT leadbridge.make_deferred_index()";
    let made: String = one(&world.traffic().await, &format!("{by_hand}::text")).await;
    let sql = "SELECT definition FROM leadbridge.deferred_indexes ORDER BY index_name LIMIT 1";
    let own: String = one(&world.traffic().await, sql).await;
    traffic(&world, &own).await;
    assert!(definitions(&world).await.contains(&made));
    bridge.catch_up().await;
    assert_eq!(definitions(&world).await, before);
    assert!(holds(&world.traffic().await, "count(*) = 0 FROM leadbridge.deferred_indexes").await);
    assert_equal(&world).await;
    let said = bridge.run(&["doctor"]).await;
    assert!(said.out.contains("no index waits to be made"), "{}", said.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_does_not_begin_while_an_index_is_missing() {
    let world = World::new().await;
    world.fill(143, 50).await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    let before = definitions(&world).await;
    // The state of a backup of Traffic that was taken while indexes were made.
    traffic(
        &world,
        "INSERT INTO leadbridge.deferred_indexes (schema_name, index_name, table_name, definition)
             SELECT 'public', 'traffic_leads_email_idx', 'traffic_leads', pg_get_indexdef('traffic_leads_email_idx'::regclass);
         DROP INDEX traffic_leads_email_idx",
    )
    .await;
    bridge.catch_up().await;
    assert_eq!(definitions(&world).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_an_index_would_refuse_is_quarantined_as_if_it_had_been_there() {
    let world = World::new().await;
    world.fill(144, 100).await;
    // So long that no index takes the value, compressed or not.
    let digits = "SELECT string_agg(('x' || md5(i::text))::bit(31)::integer::text, '') FROM \
                  generate_series(1, 1200) AS i";
    traffic(&world, "CREATE INDEX own_source ON traffic_leads (landing_source)").await;
    landing(
        &world,
        &format!(
            "INSERT INTO landing_leads (id, name, phone, source)
                 VALUES ('00000000-0000-0000-0000-0000000000aa', 'long', '1', ({digits}));
             INSERT INTO journey_stages (id, lead_id, stage)
                 SELECT '00000000-0000-0000-0000-0000000000bb', lead_id, ({digits}) FROM journey_stages LIMIT 1"
        ),
    )
    .await;
    let before = definitions(&world).await;
    let bridge = Bridge::new(&world).configured("[stream]\nbatch_rows = 40");
    bridge.catch_up().await;
    let quarantined = "SELECT string_agg(source_table || ' ' || sqlstate, ', ' ORDER BY source_table)
        FROM leadbridge.quarantine WHERE row_id::text LIKE '00000000-0000-0000-0000-0000000000%'";
    let quarantined: String = one(&world.traffic().await, quarantined).await;
    assert_eq!(quarantined, "landing_leads 54000, lead_journey 54000");
    assert_eq!(definitions(&world).await, before);
    // The oracle does not know of indexes: the oracle misses only these two rows.
    let missed = differences_beside_quarantine(&world).await;
    assert!(missed.iter().all(|what| what.contains("00000000-0000-0000-0000-0000000000")), "{missed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_somebody_reads_or_writes_is_waited_for_only_when_indexes_are_made() {
    let world = World::new().await;
    world.fill(145, 100).await;
    let before = definitions(&world).await;
    watch_indexes(&world).await;
    // A reader of an empty table: the table's indexes stay, and the reader makes no session wait.
    let reader = world.traffic().await;
    reader.batch_execute("BEGIN; SELECT FROM traffic_leads").await.unwrap();
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.logs("its indexes stay while it is filled").await;
    daemon.caught_up(&world).await;
    reader.batch_execute("COMMIT").await.unwrap();
    daemon.terminate().await;
    assert_eq!(seen(&world, "traffic_leads").await, indexes(&world, "traffic_leads").await);
    assert_eq!(definitions(&world).await, before);

    // A writer of another lead, with a late commit.
    traffic(&world, "TRUNCATE traffic_leads CASCADE; DELETE FROM leadbridge.checkpoint; TRUNCATE seen").await;
    landing(&world, "SELECT pg_drop_replication_slot('leadbridge')").await;
    std::fs::remove_dir_all(bridge.state_dir()).unwrap();
    let log = bridge.dir().join("log");
    let mut stopped = bridge.stopping_command(&["run", "--until-caught-up"], Point::Copied);
    let file = std::fs::File::create(&log).unwrap();
    let mut copying = stopped.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
    until_holds(&world.traffic().await, "count(*) > 0 FROM leadbridge.deferred_indexes").await;
    let copied =
        "(SELECT count(*) FROM traffic_lead_journey) > 0 AND NOT EXISTS (SELECT FROM pg_stat_activity
        WHERE application_name = 'leadbridge snapshot' AND state <> 'idle')";
    until_holds(&world.traffic().await, copied).await;
    let writer = world.traffic().await;
    writer
        .batch_execute("BEGIN; INSERT INTO traffic_leads (name, phone) VALUES ('born', '1')")
        .await
        .unwrap();
    leadbridge::throwaway::signal(&copying, nix::sys::signal::Signal::SIGCONT).unwrap();
    until_true("it waits for the writer", async || {
        std::fs::read_to_string(&log)
            .unwrap()
            .contains("an index waits: another session has locked the table")
    })
    .await;
    assert!(copying.try_wait().unwrap().is_none());
    writer.batch_execute("COMMIT").await.unwrap();
    assert!(copying.wait().await.unwrap().success());
    assert_eq!(definitions(&world).await, before);
    assert_equal(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_grants_every_index_is_kept_up_and_without_the_migration_a_start_is_refused() {
    let world = World::new().await;
    world.fill(146, 50).await;
    let bridge = least_privileged(&world).await;
    watch_indexes(&world).await;
    let without_grants = "REVOKE SELECT ON leadbridge.deferred_indexes FROM bridge;
         REVOKE EXECUTE ON FUNCTION leadbridge.defer_indexes(regclass), leadbridge.make_deferred_index() FROM bridge";
    traffic(&world, without_grants).await;
    let said = bridge.run(&["doctor"]).await;
    assert!(said.out.contains("has to keep up every index"), "{}{}", said.out, said.err);
    assert_eq!(bridge.run(&["resync", "--yes"]).await.code, 0);
    assert_eq!(seen(&world, "traffic_leads").await, indexes(&world, "traffic_leads").await);
    assert_equal(&world).await;
    let without_migration =
        "DROP FUNCTION leadbridge.defer_indexes(regclass), leadbridge.make_deferred_index();
         DROP TABLE leadbridge.deferred_indexes";
    traffic(&world, without_migration).await;
    let said = bridge.run(&["doctor"]).await;
    assert!(said.out.contains("has to keep up every index"), "{}{}", said.out, said.err);
    assert_refused(
        &bridge.run(&["resync", "--yes"]).await,
        &["table deferred_indexes", "leadbridge migrate"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_other_table_loses_an_index_by_the_function_and_no_other_role_may_call_it() {
    let world = World::new().await;
    let bridge = least_privileged(&world).await;
    traffic(&world, "CREATE TABLE other (id int); CREATE INDEX other_idx ON other (id)").await;
    let client =
        leadbridge::throwaway::connect(&world.traffic.url_as("bridge", "bridge", "traffic")).await.unwrap();
    let deferred: i64 = one(&client, "SELECT count(*) FROM leadbridge.defer_indexes('other')").await;
    assert_eq!(deferred, 0);
    // Nor may leadbridge's role record statements that the tables' owner would then run.
    let forged =
        "INSERT INTO leadbridge.deferred_indexes VALUES ('public', 'x', 'traffic_leads', 'DROP TABLE other')";
    let error = client.batch_execute(forged).await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42501");
    traffic(&world, "CREATE ROLE stranger LOGIN PASSWORD 'x'; GRANT USAGE ON SCHEMA leadbridge TO stranger")
        .await;
    let stranger =
        leadbridge::throwaway::connect(&world.traffic.url_as("stranger", "x", "traffic")).await.unwrap();
    for call in ["leadbridge.defer_indexes('traffic_leads')", "leadbridge.make_deferred_index()"] {
        let error = stranger.batch_execute(&format!("SELECT {call}")).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), "42501", "{call}");
    }
    drop(bridge);
}
