//! The trial of the fence: a write as each role that may write anything, and what refused the write.

use serde_json::Value;

use super::CutoverSetup;
use crate::testkit::{Bridge, World, assert_equal, holds, landing, least_privileged, traffic};

/// The list of the certificate that names the role.
fn list_of(certificate: &Value, role: &str) -> Vec<String> {
    let lists = certificate["writers"].as_object().unwrap();
    let names = |list: &Value| list.as_array().unwrap().iter().any(|name| name == role);
    lists.iter().filter(|(_, list)| names(list)).map(|(key, _)| key.clone()).collect()
}

#[tokio::test]
async fn a_write_is_tried_as_each_role_with_any_right_to_write_and_the_certificate_says_what_refused_it() {
    let world = World::new().await;
    // Each role with a single right, on a whole table or on a column.
    let rights = [
        ("inserts_mail", "INSERT (email) ON landing_leads", "refused"),
        ("updates_name", "UPDATE (name) ON landing_leads", "refused"),
        ("inserts", "INSERT ON journey_stages", "refused"),
        ("updates", "UPDATE ON journey_stages", "refused"),
        ("deletes", "DELETE ON journey_stages", "refused"),
        ("truncates", "TRUNCATE ON journey_stages", "not_tried"),
        ("outside", "INSERT ON landing_leads", "without_privilege"),
    ];
    landing(&world, "REVOKE USAGE ON SCHEMA public FROM PUBLIC").await;
    for (role, right, list) in rights {
        landing(&world, &format!("CREATE ROLE {role}; GRANT {right} TO {role}")).await;
        if list != "without_privilege" {
            landing(&world, &format!("GRANT USAGE ON SCHEMA public TO {role}")).await;
        }
    }
    // A policy of row-level security hides rows, and refuses no statement.
    landing(&world, "ALTER TABLE journey_stages ENABLE ROW LEVEL SECURITY").await;
    let bridge = Bridge::new(&world);
    let setup = CutoverSetup::between(world, bridge).await;
    let certificate = setup.switches(&[]).await;
    for (role, right, list) in rights {
        assert_eq!(list_of(&certificate, role), [list], "{right}: {}", certificate["writers"]);
    }
    let id = certificate["id"].as_str().unwrap();
    let page = setup.bridge.dir().join(format!("leadbridge-cutover-{id}.txt"));
    let page = std::fs::read_to_string(page).unwrap();
    let line =
        |begins: &str| page.lines().find(|line| line.starts_with(begins)).unwrap_or_default().to_owned();
    assert!(line("fence tried as").contains("updates_name"), "{page}");
    assert!(!line("fence tried as").contains("outside"), "{page}");
    assert!(line("lacks a privilege").contains("outside"), "{page}");
    assert!(line("and holds, untried, for").contains("truncates"), "{page}");
}

#[tokio::test]
async fn a_role_that_the_operator_may_not_assume_is_named_as_not_tried() {
    let world = World::new().await;
    let bridge = least_privileged(&world).await;
    landing(
        &world,
        "CREATE ROLE mine; CREATE ROLE other; GRANT UPDATE (name) ON landing_leads TO mine, other;
                     GRANT USAGE ON SCHEMA public TO mine, other; GRANT mine TO bridge",
    )
    .await;
    let client = world.landing().await;
    let can_forbid_set = holds(&client, "current_setting('server_version_num')::int >= 160000").await;
    if can_forbid_set {
        landing(
            &world,
            "CREATE ROLE unset; GRANT UPDATE (name) ON landing_leads TO unset;
                         GRANT USAGE ON SCHEMA public TO unset; GRANT unset TO bridge WITH SET FALSE",
        )
        .await;
    }
    let setup = CutoverSetup::between(world, bridge).await;
    let certificate = setup.switches(&[]).await;
    assert_eq!(list_of(&certificate, "mine"), ["refused"], "{}", certificate["writers"]);
    assert_eq!(list_of(&certificate, "other"), ["not_tried"], "{}", certificate["writers"]);
    if can_forbid_set {
        assert_eq!(list_of(&certificate, "unset"), ["not_tried"], "{}", certificate["writers"]);
    }
}

/// Takes away what every role has through PUBLIC, as a hardened server does.
const HARDEN: &str = "DO $$ DECLARE taken text; BEGIN
        EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
        FOR taken IN SELECT oid::regprocedure FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace
            AND proname IN ('pg_control_system', 'pg_create_logical_replication_slot', 'pg_drop_replication_slot',
                'pg_replication_slot_advance', 'pg_logical_emit_message', 'pg_current_wal_insert_lsn',
                'pg_current_wal_flush_lsn', 'pg_advisory_lock', 'pg_try_advisory_lock', 'pg_advisory_xact_lock', 'pg_notify')
        LOOP EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', taken); END LOOP;
    END $$;
    REVOKE ALL ON SCHEMA public FROM PUBLIC; REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC;
    REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC";

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_roles_do_the_whole_move_where_public_may_do_nothing() {
    let world = World::new().await;
    landing(&world, HARDEN).await;
    traffic(&world, HARDEN).await;
    world.fill(171, 40).await;
    let bridge = least_privileged(&world).await;
    let mut setup = CutoverSetup::between(world, bridge).await;
    let doctor = setup.bridge.run(&["doctor"]).await;
    assert_eq!(doctor.code, 0, "{}", doctor.out);
    setup.switches(&[]).await;
    setup.flows_back().await;
    setup.rolls_back(&[]).await;
    setup.daemon.caught_up(&setup.world).await;
    assert_equal(&setup.world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replication_on_traffic_is_a_condition_of_the_cutover_with_the_sql_that_gives_it() {
    let world = World::new().await;
    let bridge = least_privileged(&world).await;
    traffic(&world, "ALTER ROLE bridge NOREPLICATION").await;
    let setup = CutoverSetup::between(world, bridge).await;
    let said = setup.cutover(&["--dry-run"]).await;
    assert_eq!(said.code, 1, "{}", said.out);
    // The output is JSON, in which quotes are escaped.
    let out = said.out.replace("\\\"", "\"");
    for words in [
        "the role bridge may not replicate from Traffic",
        "ALTER ROLE \"bridge\" REPLICATION",
        "ALTER ROLE \"bridge\" NOREPLICATION",
        "only the role postgres can replicate",
    ] {
        assert!(out.contains(words), "{words} is not in: {out}");
    }
    traffic(&setup.world, "ALTER ROLE \"bridge\" REPLICATION").await;
    setup.switches(&[]).await;
}
