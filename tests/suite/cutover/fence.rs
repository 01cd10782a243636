//! The fence stands without a gap from its closing to the decision, is looked at while it stands, and belongs to one
//! installation.

use std::time::Duration;

use leadbridge::failpoint::Point;

use super::faults::{go_on, standing_at};
use super::hook::WaitingHook;
use super::{CutoverSetup, LEAD};
use crate::testkit::{
    Bridge, assert_refused, commits_wait, holds, landing, one, traffic, until_holds, until_true,
};

/// A fence that expires in `seconds`, closed by hand.
async fn close(setup: &CutoverSetup, seconds: u32) -> String {
    let id: String = one(&setup.world.landing().await, "SELECT gen_random_uuid()::text").await;
    let close =
        format!("SELECT leadbridge.close_fence('{id}', 'closed', make_interval(secs => {seconds}), false)");
    landing(&setup.world, &close).await;
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_waits_for_a_fence_that_is_being_kept_when_its_expiry_passes_and_is_refused() {
    let setup = CutoverSetup::new().await;
    let id = close(&setup, 2).await;
    // A transaction whose snapshot has seen the expiry.
    let old = setup.world.landing().await;
    old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM landing_leads LIMIT 1")
        .await
        .unwrap();
    // The commit takes longer than the fence lasts, as behind a synchronous standby that is away.
    let keeper = setup.world.landing().await;
    assert!(holds_now(&keeper, &format!("BEGIN; SELECT leadbridge.keep_fence('{id}')")).await);
    let writer = setup.world.landing().await;
    let writing = tokio::spawn(async move { writer.batch_execute(LEAD).await });
    let expired = "bool_and(expires_at <= clock_timestamp()) FROM leadbridge.fence";
    until_holds(&setup.world.landing().await, expired).await;
    until_true("the writer waits for the fence's row", async || {
        holds(
            &setup.world.landing().await,
            "EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock')",
        )
        .await
            || writing.is_finished()
    })
    .await;
    keeper.batch_execute("COMMIT").await.unwrap();
    assert_eq!(writing.await.unwrap().unwrap_err().code().unwrap().code(), "55000");
    // The older snapshot has the expiry, and the row has a newer version.
    assert_eq!(old.batch_execute(LEAD).await.unwrap_err().code().unwrap().code(), "40001");
}

/// Runs statements of which the last answers with a boolean.
async fn holds_now(client: &tokio_postgres::Client, sql: &str) -> bool {
    let answers = client.simple_query(sql).await.unwrap();
    answers.iter().any(|answer| match answer {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0) == Some("t"),
        _ => false,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fence_is_not_kept_once_a_writer_has_passed_it() {
    let setup = CutoverSetup::new().await;
    let id = close(&setup, 1).await;
    let writer = setup.world.landing().await;
    until_true("the fence expires", async || {
        writer.batch_execute(&format!("BEGIN; {LEAD}")).await.is_ok() || {
            writer.batch_execute("ROLLBACK").await.unwrap();
            false
        }
    })
    .await;
    let keeper = setup.world.landing().await;
    let keep = format!("SELECT leadbridge.keep_fence('{id}')");
    let keeping = tokio::spawn(async move { keeper.query_one(&keep, &[]).await.unwrap().get::<_, bool>(0) });
    until_holds(
        &setup.world.landing().await,
        "EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock')",
    )
    .await;
    writer.batch_execute("COMMIT").await.unwrap();
    assert!(!keeping.await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_that_waits_for_a_standby_beyond_the_deadline_is_aborted_and_no_write_is_lost() {
    let setup = CutoverSetup::new().await;
    // Landing's commits wait for a standby that is away, from the hook until long after the deadline.
    let hook = WaitingHook::new(&setup, 0);
    let operator = setup.world.landing().await;
    let arguments = setup.arguments(&["--timeout", "6s", "--hook", &hook.command]);
    let command = setup.bridge.command(&arguments).stderr(std::process::Stdio::piped()).spawn().unwrap();
    hook.begins().await;
    commits_wait(&setup.world.landing_url()).await;
    hook.go_on();
    let expired = "bool_and(expires_at <= clock_timestamp()) FROM leadbridge.fence";
    until_holds(&setup.world.landing().await, expired).await;
    // A writer passes, or waits for the fence's row; its commit waits for the standby too.
    let writer = setup.world.landing().await;
    let writing = tokio::spawn(async move { writer.batch_execute(LEAD).await.is_ok() });
    let waits = "EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE 'INSERT INTO landing_leads%' AND state = 'active' \
                 AND wait_event_type IN ('Lock', 'IPC'))";
    until_true("the writer waits, or has ended", async || {
        writing.is_finished() || holds(&operator, waits).await
    })
    .await;
    operator.batch_execute("ALTER SYSTEM RESET synchronous_standby_names").await.unwrap();
    operator.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    let output = command.wait_with_output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("ABORTED"), "{said}");
    writing.await.unwrap();
    setup.settled().await;
    landing(&setup.world, LEAD).await;
    let mut setup = setup;
    setup.daemon.caught_up(&setup.world).await;
    crate::testkit::assert_equal(&setup.world).await;
}

/// Damage to the fence around Landing after a switch.
const DAMAGE: [&str; 4] = [
    "ALTER TABLE landing_leads DISABLE TRIGGER ALL; ALTER TABLE landing_leads ENABLE TRIGGER ALL",
    "DO $$ DECLARE t name; BEGIN FOR t IN SELECT tgname FROM pg_trigger WHERE tgname LIKE 'leadbridge\\_fence%'
         AND tgrelid = 'journey_stages'::regclass LOOP
         EXECUTE format('ALTER TABLE journey_stages DISABLE TRIGGER %I', t);
         EXECUTE format('ALTER TABLE journey_stages ENABLE ALWAYS TRIGGER %I', t); END LOOP; END $$",
    "DO $$ BEGIN EXECUTE format('DROP TRIGGER %I ON landing_leads', (SELECT min(tgname) FROM pg_trigger
         WHERE tgname LIKE 'leadbridge\\_fence%' AND tgrelid = 'landing_leads'::regclass)); END $$",
    "ALTER TABLE journey_stages RENAME TO elsewhere; CREATE TABLE journey_stages (LIKE elsewhere INCLUDING ALL);
     DROP TABLE elsewhere CASCADE;
     ALTER TABLE journey_stages ADD FOREIGN KEY (lead_id) REFERENCES landing_leads ON DELETE CASCADE",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_fence_ends_reverse_replication_refuses_a_rollback_and_migrate_makes_it_whole() {
    let mut setup = CutoverSetup::switched().await;
    for damage in DAMAGE {
        landing(&setup.world, damage).await;
        let ended = setup.daemon.ended(Duration::from_secs(20)).await;
        assert_eq!(ended.code(), Some(4), "{damage}: {}", setup.daemon.log());
        let log = setup.daemon.log();
        let replaced = damage.contains("RENAME");
        assert!(
            replaced || log.contains("is damaged") && log.contains("leadbridge migrate"),
            "{damage}: {log}"
        );
        let said = setup.bridge.run(&["status"]).await;
        assert!(said.code == 2 && said.out.contains("is damaged"), "{damage}: {}", said.out);
        let said = setup.bridge.run(&["migrate"]).await;
        assert_eq!(said.code, 0, "{damage}: {}", said.err);
        assert!(said.out.contains("triggers of the fence"), "{}", said.out);
        let error = setup.world.landing().await.batch_execute(LEAD).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), "55000", "{damage}");
        if replaced {
            return;
        }
        setup.daemon = setup.bridge.daemon().await;
        setup.flows_back().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_apply_worker_of_a_subscription_does_not_pass_the_fence() {
    let setup = CutoverSetup::switched().await;
    // An apply worker fires row triggers in the role `replica`, and no statement triggers.
    let client = setup.world.landing().await;
    let id: String = one(&client, "SELECT cutover_id::text FROM leadbridge.fence").await;
    let statement = format!("leadbridge_fence_{}", id.replace('-', ""));
    client
        .batch_execute(&format!(
            "BEGIN; ALTER TABLE landing_leads DISABLE TRIGGER {statement}; SET LOCAL session_replication_role = replica"
        ))
        .await
        .unwrap();
    assert_eq!(client.batch_execute(LEAD).await.unwrap_err().code().unwrap().code(), "55000");
}

/// A second installation that shares Landing: another schema, slot, publication, and Traffic tables of its own.
async fn beside(setup: &CutoverSetup) -> Bridge {
    traffic(&setup.world, "CREATE DATABASE second TEMPLATE template0").await;
    let url = setup.world.traffic.url("second");
    let second = leadbridge::throwaway::connect(&url).await.unwrap();
    second.batch_execute(leadbridge::throwaway::fixture::TRAFFIC).await.unwrap();
    let names = "[names]\nschema = \"second\"\nslot = \"second\"\npublication = \"second\"\n";
    let bridge = Bridge::between(&setup.world.landing_url(), &url).configured(names);
    let said = bridge.run(&["migrate"]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    bridge
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_never_touches_the_fence_of_another_that_shares_landing() {
    let setup = CutoverSetup::new().await;
    let second = beside(&setup).await;
    let mut other = second.daemon().await;
    other.streaming().await;
    setup.switches(&[]).await;
    let directory = second.dir().to_str().unwrap();
    let arguments = ["cutover", "--yes", "--certificate", directory];
    let said = second.run(&arguments).await;
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    assert!(said.out.contains("another installation's fence stands"), "{}", said.out);
    setup.assert_switched().await;
    // The second installation is not dismantled with the first.
    other.terminate().await;
    let CutoverSetup { world, bridge, daemon } = setup;
    daemon.terminate().await;
    let said = bridge.run(&["finish", "--yes"]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    let client = world.landing().await;
    assert!(holds(&client, "EXISTS (SELECT FROM pg_publication WHERE pubname = 'second')").await);
    assert!(
        holds(&client, "to_regprocedure('second.close_fence(uuid,text,interval,boolean)') IS NOT NULL").await
    );
    assert!(holds(&client, "EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = 'second')").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fence_gives_and_takes_only_the_rights_that_its_writer_lacks() {
    let world = crate::testkit::World::new().await;
    let bridge = crate::testkit::least_privileged(&world).await;
    let setup = CutoverSetup::between(world, bridge).await;
    landing(
        &setup.world,
        "GRANT INSERT ON landing_leads TO bridge; GRANT UPDATE ON scheduled_notifications TO bridge",
    )
    .await;
    let said = setup.cutover(&["--hook", "test $LEADBRIDGE_EVENT != switch"]).await;
    assert_eq!(said.code, 4, "{}", said.err);
    let client = setup.world.landing().await;
    assert!(holds(&client, "has_table_privilege('bridge', 'landing_leads', 'INSERT')").await);
    assert!(holds(&client, "has_table_privilege('bridge', 'scheduled_notifications', 'UPDATE')").await);
    assert!(holds(&client, "NOT has_table_privilege('bridge', 'landing_leads', 'DELETE')").await);
    assert!(holds(&client, "NOT has_table_privilege('bridge', 'journey_stages', 'INSERT')").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_hangs_beyond_the_deadline_is_ended_by_the_daemon_and_landing_opens() {
    let mut setup = CutoverSetup::new().await;
    let arguments = setup.arguments(&["--timeout", "3s"]);
    let command = standing_at(&setup.bridge, &arguments, Point::CutoverKept).await;
    let client = setup.world.landing().await;
    until_true("Landing opens", async || client.batch_execute(LEAD).await.is_ok()).await;
    setup.settled().await;
    let (said, code) = go_on(command).await;
    assert!(code != 0 && said.contains("ABORTED"), "{said}");
    setup.daemon.caught_up(&setup.world).await;
    setup.assert_as_before().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_landing_that_a_forgotten_cutover_has_closed_is_named_and_opened_by_a_rollback() {
    let mut setup = CutoverSetup::new().await;
    close(&setup, 3600).await;
    landing(&setup.world, "UPDATE leadbridge.fence SET expires_at = NULL").await;
    let said = setup.bridge.run(&["status"]).await;
    assert!(said.code == 2 && said.out.contains("which Traffic does not know"), "{}", said.out);
    assert_refused(&setup.cutover(&[]).await, &["which Traffic does not know", "leadbridge resync"]);
    setup.settled().await;
    let said = setup.bridge.run(&["rollback", "--yes"]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    landing(&setup.world, LEAD).await;
    setup.daemon.caught_up(&setup.world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_triggers_of_an_expired_fence_are_removed() {
    let mut setup = CutoverSetup::switched().await;
    setup.rolls_back(&["--refuse-for", "1s"]).await;
    let gone = "NOT EXISTS (SELECT FROM pg_trigger WHERE tgname LIKE 'leadbridge\\_fence%')";
    until_holds(&setup.world.traffic().await, gone).await;
    until_holds(&setup.world.landing().await, gone).await;
    setup.daemon.caught_up(&setup.world).await;
}

/// A ROLLBACK would wait for the end of the statement that runs in the fence's own session.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_statement_of_the_fences_own_session_holds_no_writer_beyond_the_pause() {
    let setup = CutoverSetup::new().await;
    let slow = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF current_setting('application_name') = 'leadbridge fence' THEN PERFORM pg_sleep(60); END IF;
            RETURN NULL; END $$;
        CREATE TRIGGER a_slow BEFORE INSERT OR UPDATE OR DELETE ON landing_leads FOR EACH STATEMENT EXECUTE FUNCTION slow()";
    landing(&setup.world, slow).await;
    let writing = async {
        let sleeps = "EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep')";
        until_holds(&setup.world.landing().await, sleeps).await;
        let writer = setup.world.landing().await;
        writer.batch_execute(&format!("SET lock_timeout = '30s'; {LEAD}")).await.unwrap();
    };
    let arguments = ["--max-pause", "3s"];
    let mut running = std::pin::pin!(setup.cutover(&arguments));
    let said = tokio::select! {
        said = &mut running => panic!("nothing was slow: {said:?}"),
        () = writing => running.await,
    };
    assert!(said.err.contains("ABORTED") && said.err.contains("--max-pause"), "{}", said.err);
    setup.settled().await;
    setup.assert_as_before().await;
}
