//! `leadbridge finish`: a proven backup, then the removal of reverse replication; and the conditions that prevent a
//! finish.

mod killed;
mod persons;
mod refusals;
pub mod switched;

use std::path::{Path, PathBuf};

use leadbridge::files::Manifest;
use serde_json::Value;

use crate::testkit::{
    Bridge, World, assert_refused, ends_refused, holds, landing, least_privileged, one, said, traffic,
    until_holds,
};
use switched::{caught_up, switch, switched};

/// Remains of the move on either side: slots, publications, functions, the fence's triggers.
async fn remains(world: &World) -> String {
    let sql =
        "SELECT concat_ws(' ', (SELECT string_agg(slot_name, ',' ORDER BY 1) FROM pg_replication_slots),
        (SELECT string_agg(pubname, ',' ORDER BY 1) FROM pg_publication),
        (SELECT string_agg(proname, ',' ORDER BY proname) FROM pg_proc
            WHERE pronamespace = 'leadbridge'::regnamespace AND proname LIKE '%fence%'
                AND proname NOT IN ('fence_damage', 'fence_triggers')),
        (SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'leadbridge_fence%'))";
    format!(
        "{}; {}",
        one::<String>(&world.landing().await, sql).await,
        one::<String>(&world.traffic().await, sql).await
    )
}

/// The lease of an applying daemon.
pub const LEASE: &str = "SET application_name = 'leadbridge apply'; \
                     SELECT pg_advisory_lock(hashtextextended('leadbridge/leadbridge/leadbridge', 0))";

/// Only the closed fence is left.
const FINISHED: &str = "4; 0";

/// Landing's tables exist, are complete, and take no writes.
async fn assert_closed(world: &World, leads: i64) {
    let client = world.landing().await;
    assert_eq!(one::<i64>(&client, "SELECT count(*) FROM landing_leads").await, leads);
    let insert = "INSERT INTO landing_leads (name, phone) VALUES ('n', '1')";
    let error = client.execute(insert, &[]).await.unwrap_err();
    assert_eq!(error.as_db_error().unwrap().message(), "leads have moved to Traffic");
}

/// The only directory below `parent`.
fn only(parent: &Path) -> PathBuf {
    let entries: Vec<_> = std::fs::read_dir(parent).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(entries.len(), 1, "{entries:?}");
    entries[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finish_backs_up_takes_reverse_replication_apart_and_leaves_landing_closed() {
    let (world, bridge) = switched(300).await;
    let said = bridge.run(&["finish", "--yes"]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(remains(&world).await, FINISHED);
    assert_closed(&world, 300).await;

    let directory = only(&bridge.state_dir().join("backups"));
    let manifest = Manifest::read(&directory).unwrap().unwrap();
    manifest.verify(&directory).unwrap();
    let rows: Vec<u64> = manifest.tables.iter().map(|table| table.rows).collect();
    assert_eq!(
        rows,
        [300, one::<i64>(&world.landing().await, "SELECT count(*) FROM journey_stages").await as u64]
    );
    for table in &manifest.tables {
        for words in [&table.sha256, &format!("{}: {} rows, {} bytes", table.file, table.rows, table.bytes)] {
            assert!(said.out.contains(words), "{words} is not in: {}", said.out);
        }
    }
    for words in [
        "slot leadbridge on the Landing DB",
        "slot leadbridge_reverse on the Traffic DB",
        "publication leadbridge_reverse on the Traffic DB",
        "leadbridge.remove_lifted_fence(uuid), leadbridge.restore_fence(uuid,boolean) on the Landing DB",
        "\\copy \"public\".\"landing_leads\" (\"id\", ",
        "DROP TABLE \"public\".\"landing_leads\";",
        "-- public.scheduled_notifications refers to them",
        "DROP SCHEMA \"leadbridge\" CASCADE;",
        &directory.to_string_lossy(),
    ] {
        assert!(said.out.contains(words), "{words} is not in: {}", said.out);
    }
    let certificate: Value =
        serde_json::from_slice(&std::fs::read(directory.join("certificate.json")).unwrap()).unwrap();
    assert_eq!(certificate["dropped"].as_array().unwrap().len(), 22);
    assert_eq!(certificate["left_for_owner"], serde_json::json!([]));
    assert_eq!(certificate["backup"]["manifest"], serde_json::to_value(&manifest).unwrap());
    assert_eq!(certificate["reverse"]["left_behind"], 0);

    let again = bridge.run(&["finish", "--yes", "--json"]).await;
    assert_eq!(again.code, 0, "{}", again.err);
    assert_eq!(serde_json::from_str::<Value>(&again.out).unwrap(), certificate, "the same, and nothing done");
    only(&bridge.state_dir().join("backups"));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_finish_nothing_begins_again_and_every_command_says_why() {
    let (world, bridge) = switched(20).await;
    assert_eq!(bridge.run(&["finish", "--yes"]).await.code, 0);
    let rollback = ["rollback", "--yes"];
    for command in [
        &["run"][..],
        &["run", "--until-caught-up"],
        &["resync", "--yes"],
        &["cutover", "--dry-run"],
        &rollback,
    ] {
        let said = bridge.run(command).await;
        assert_refused(&said, &["was finished at", "systemctl disable"]);
    }
    let said = bridge.run(&["doctor"]).await;
    assert!(said.code == 0 && said.out.contains("was finished at"), "{} {}", said.out, said.err);
    let said = bridge.run(&["status", "--json"]).await;
    assert_eq!(
        (said.code, serde_json::from_str::<Value>(&said.out).unwrap()["state"].as_str()),
        (0, Some("switched"))
    );
    let said = bridge.run(&["status"]).await;
    assert!(said.code == 0 && said.out.starts_with("state       FINISHED"), "{} {}", said.out, said.err);
    assert_eq!(remains(&world).await, FINISHED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_stood_by_until_the_end_begins_nothing() {
    let (world, bridge) = switched(20).await;
    let holder = world.traffic().await;
    holder.batch_execute(LEASE).await.unwrap();
    let mut daemon = bridge.daemon().await;
    daemon.until("it stands by", |status| status["state"] == "standby").await;
    // A finish of another machine.
    let finish = "INSERT INTO leadbridge.finish
        VALUES ('leadbridge', gen_random_uuid(), '0/1', 0, '/', '{}', '[]', now(), now(), now(), '{}', 'o', 'v')";
    traffic(&world, finish).await;
    drop(holder);
    ends_refused(&mut daemon, &["was finished at"]).await;
    let streaming = "bool_or(active) IS NOT TRUE FROM pg_replication_slots";
    assert!(holds(&world.landing().await, streaming).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_role_may_not_drop_is_said_before_and_left_to_its_owner_with_the_sql() {
    let world = World::new().await;
    world.fill(61, 40).await;
    let bridge = least_privileged(&world).await;
    switch(&world, &bridge).await;
    let said = bridge.run(&["finish", "--yes"]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(
        said.err.contains("publication leadbridge on the Landing DB: left, since another role owns it"),
        "{}",
        said.err
    );
    for (client, slots) in [(world.landing().await, 0), (world.traffic().await, 0)] {
        assert_eq!(one::<i64>(&client, "SELECT count(*) FROM pg_replication_slots").await, slots);
    }
    assert_closed(&world, 40).await;
    // The owner runs the shown SQL.
    let (_, left) = said.out.split_once("Left for the owner").unwrap();
    assert!(
        left.contains("ALTER ROLE bridge NOREPLICATION;  -- on the Traffic DB, as a superuser"),
        "{left}"
    );
    let mut dropped = 0;
    for line in left.lines().filter(|line| line.contains("  -- on the ")) {
        let statement = line.split(" -- ").next().unwrap();
        match line.contains("Landing DB") {
            true => landing(&world, statement).await,
            false => traffic(&world, statement).await,
        }
        dropped += usize::from(line.contains("DROP "));
    }
    assert_eq!(dropped, 20);
    assert_eq!(remains(&world).await, FINISHED);
    assert_without_rights(&world, "bridge").await;
    let again = Bridge::new(&world).run(&["finish"]).await;
    assert!(again.code == 0 && !again.out.contains("Left for the owner"), "{}", again.out);
}

/// The role has no grant in either database, and neither REPLICATION nor BYPASSRLS.
async fn assert_without_rights(world: &World, role: &str) {
    let sql = format!(
        "SELECT concat_ws(' ', (SELECT string_agg(pg_describe_object(d.classid, d.objid, d.objsubid), ', ')
             FROM pg_shdepend AS d WHERE d.refobjid = r.oid), CASE WHEN rolreplication THEN 'REPLICATION' END,
             CASE WHEN rolbypassrls THEN 'BYPASSRLS' END) FROM pg_roles AS r WHERE rolname = '{role}'"
    );
    for client in [world.landing().await, world.traffic().await] {
        assert_eq!(one::<String>(&client, &sql).await, "", "{role}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finish_takes_every_right_from_the_roles_that_leadbridge_made_and_lists_what_others_hold() {
    let world = World::new().await;
    world.fill(62, 40).await;
    let daemon = least_privileged(&world).await;
    switch(&world, &daemon).await;
    // A role of the school's own, to which an operator has given what the daemon's role has.
    let other = "CREATE ROLE other LOGIN BYPASSRLS; GRANT USAGE ON SCHEMA leadbridge TO other";
    landing(&world, &format!("{other}; GRANT SELECT ON landing_leads, users TO other")).await;
    traffic(&world, &format!("{other}; GRANT SELECT ON leadbridge.checkpoint, traffic_leads TO other")).await;
    let administrator = Bridge::new(&world);
    let said = administrator.run(&["finish", "--yes"]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    assert_without_rights(&world, "bridge").await;
    for words in [
        "REPLICATION of bridge",
        "BYPASSRLS of bridge",
        "USAGE on schema leadbridge of bridge",
        "SELECT on table public.landing_leads of bridge",
        "SET on parameter session_replication_role of bridge",
        "SELECT on table leadbridge.checkpoint of other",
    ] {
        let (_, gone) = said.out.split_once("Dropped, or taken away:").unwrap();
        let (gone, _) = gone.split_once("Landing's tables are still there").unwrap();
        assert!(gone.contains(words), "{words} is not in: {gone}");
    }
    let (_, left) = said.out.split_once("Left for the owner").unwrap();
    let note = "leadbridge has not made this role: only if nothing else needs the right";
    for statement in [
        "REVOKE SELECT ON TABLE public.landing_leads FROM other;  -- on the Landing DB, as postgres",
        "REVOKE SELECT ON TABLE public.traffic_leads FROM other;  -- on the Traffic DB, as postgres",
        "ALTER ROLE other NOBYPASSRLS;  -- on the Traffic DB, as a superuser",
    ] {
        assert!(left.contains(&format!("{statement}; {note}")), "{statement} is not in: {left}");
    }
    assert!(!left.contains("bridge;") && !left.contains("users"), "{left}");
    let kept = "has_table_privilege('other', 'landing_leads', 'SELECT') AND has_table_privilege('other', 'users', 'SELECT')";
    assert!(holds(&world.landing().await, kept).await);
    assert_eq!(administrator.run(&["finish"]).await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_the_output_nor_a_trace_nor_what_lies_beside_the_backup_shows_a_person_or_a_password() {
    let world = World::new().await;
    let people = ["Айгерим-ЖОҚ", "secret-mail@example.kz", "+7-701-0000042", "utm-of-somebody"];
    let [name, email, phone, utm] = people;
    let lead = format!(
        "INSERT INTO landing_leads (name, email, phone, metadata)
             VALUES ('{name}', '{email}', '{phone}', '{{\"utm_source\": \"{utm}\"}}')"
    );
    landing(&world, &lead).await;
    let bridge = Bridge::new(&world);
    switch(&world, &bridge).await;
    for format in ["csv", "jsonl"] {
        let mut command = bridge.command(&["finish", "--yes", "--format", format]);
        command.env("LEADBRIDGE_LOG", "trace");
        let said = said(command).await;
        assert_eq!(said.code, 0, "{format}");
        let directory = only(&bridge.state_dir().join("backups"));
        let beside = |name| std::fs::read_to_string(directory.join(name)).unwrap();
        let recorded = "SELECT f::text FROM leadbridge.finish AS f";
        let recorded: String = one(&world.traffic().await, recorded).await;
        let text =
            [said.out, said.err, beside("manifest.json"), beside("certificate.json"), recorded].concat();
        for value in people.iter().chain(&[world.landing.password(), world.traffic.password()]) {
            assert!(text.find(value).is_none(), "a value of {} characters is shown", value.chars().count());
        }
        // The same again in the other form.
        std::fs::remove_dir_all(&directory).unwrap();
        traffic(&world, "DELETE FROM leadbridge.finish").await;
        switched::make_reverse_slot(&world).await;
        traffic(
            &world,
            "CREATE PUBLICATION leadbridge_reverse FOR TABLE traffic_leads, traffic_lead_journey",
        )
        .await;
        caught_up(&world).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_was_killed_a_moment_ago_is_no_hindrance_and_one_that_runs_is() {
    let (world, bridge) = switched(20).await;
    // The holder stands for a session whose end no server has noticed.
    let holder = world.traffic().await;
    holder.batch_execute(LEASE).await.unwrap();
    assert_refused(&bridge.run(&["finish", "--yes"]).await, &["a daemon applies for this slot", "stop it"]);
    let mut command = bridge.command(&["finish", "--yes"]);
    let finishing = tokio::spawn(async move { command.output().await.unwrap() });
    until_holds(&holder, "count(*) > 0 FROM pg_stat_activity WHERE application_name = 'leadbridge finish'")
        .await;
    drop(holder);
    assert_eq!(finishing.await.unwrap().status.code(), Some(0));
    assert!(holds(&world.traffic().await, "count(*) = 0 FROM pg_replication_slots").await);
}
