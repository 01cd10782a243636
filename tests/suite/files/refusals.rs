//! Imports that must not begin: each is refused by name, and nothing is written.

use std::path::Path;

use leadbridge::failpoint::Point;
use serde_json::Value;

use super::{COLUMNS, assert_verified, export, held, import, imported, leads};
use crate::finish::switched;
use crate::testkit::{Bridge, World, assert_refused, holds, landing, traffic};

async fn filled(leads_on_landing: u32) -> (World, Bridge) {
    let world = World::new().await;
    leads(&world, 1, leads_on_landing).await;
    let bridge = Bridge::new(&world).configured("[stream]\nbatch_rows = 40");
    (world, bridge)
}

fn edit(path: &Path, change: impl Fn(&mut Value)) {
    let path = path.join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut manifest);
    std::fs::write(path, serde_json::to_vec(&manifest).unwrap()).unwrap();
}

/// Exports, damages the export, and asserts that an import is refused with `words` before anything is written.
async fn assert_damage_refused(
    (world, bridge): (&World, &Bridge),
    name: &str,
    damage: impl Fn(&Path),
    words: &[&str],
) {
    let path = export(bridge, name, &[]).await;
    damage(&path);
    let said = import(bridge, &path, &[]).await;
    assert_refused(&said, words);
    assert!(!said.err.contains("secret"), "{}", said.err);
    assert_eq!(held(world).await, (0, 0), "{name}");
}

/// Lets the manifest say of the leads' file what the file is now.
fn rehash(path: &Path, content: &str) {
    std::fs::write(path.join("landing_leads.csv"), content).unwrap();
    let hash = leadbridge::model::sha256::of(content);
    edit(path, |manifest| {
        manifest["tables"][0]["sha256"] = hash.clone().into();
        manifest["tables"][0]["bytes"] = content.len().into();
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_export_is_refused_by_the_name_of_what_is_damaged_before_anything_is_written() {
    let (world, bridge) = filled(30).await;
    let both = (&world, &bridge);
    let byte = |path: &Path| {
        let file = path.join("journey_stages.csv");
        let text = std::fs::read_to_string(&file).unwrap().replacen("s2", "s3", 1);
        std::fs::write(file, text).unwrap();
    };
    assert_damage_refused(both, "byte", byte, &["journey_stages.csv", "not what was written"]).await;
    let gone = |path: &Path| std::fs::remove_file(path.join("landing_leads.csv")).unwrap();
    assert_damage_refused(both, "gone", gone, &["landing_leads.csv"]).await;
    // The hash is right, and the last row has a value too many.
    let row = |path: &Path| {
        let text = std::fs::read_to_string(path.join("landing_leads.csv")).unwrap();
        let last = text.trim_end().rfind('\n').unwrap();
        rehash(path, &format!("{}\nsecret,{}", &text[..last], &text[last + 1..]));
    };
    assert_damage_refused(both, "row", row, &["landing_leads.csv", "not a row of the columns"]).await;
    let said = bridge.run(&["import", bridge.dir().join("nowhere").to_str().unwrap(), "--yes"]).await;
    assert_refused(&said, &["manifest.json is missing"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_is_damaged_or_of_traffic_is_refused_by_name() {
    let (world, bridge) = filled(30).await;
    let both = (&world, &bridge);
    let manifest = |path: &Path| std::fs::write(path.join("manifest.json"), "{").unwrap();
    assert_damage_refused(both, "manifest", manifest, &["manifest.json is not a manifest"]).await;
    let version = |path: &Path| edit(path, |manifest| manifest["format_version"] = 99.into());
    assert_damage_refused(both, "version", version, &["format 99"]).await;
    let table = |path: &Path| edit(path, |manifest| drop(manifest["tables"].as_array_mut().unwrap().pop()));
    assert_damage_refused(both, "table", table, &["no file of lead_journey"]).await;
    let sql_type =
        |path: &Path| edit(path, |manifest| manifest["tables"][0]["columns"][0]["type"] = "bigint".into());
    assert_damage_refused(both, "type", sql_type, &["landing_leads.id", "bigint", "not uuid"]).await;
    let column =
        |path: &Path| edit(path, |manifest| manifest["tables"][0]["columns"][2]["name"] = "names".into());
    assert_damage_refused(both, "column", column, &["landing_leads.names", "no place on Traffic"]).await;
    let access = |path: &Path| edit(path, |manifest| manifest["access"] = Value::Null);
    assert_damage_refused(both, "access", access, &["who may see what"]).await;
    let path = export(&bridge, "traffic", &["--side", "traffic"]).await;
    let words = ["is an export of Traffic", "\\copy \"public\".\"traffic_leads\""];
    assert_refused(&import(&bridge, &path, &[]).await, &words);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_without_a_place_is_refused_by_name_until_migrate_makes_a_place_or_it_is_skipped() {
    let (world, bridge) = filled(5).await;
    landing(&world, COLUMNS).await;
    let path = export(&bridge, "files", &[]).await;
    let said = import(&bridge, &path, &[]).await;
    assert_refused(&said, &["landing_leads.Тег ,x", "no place", "leadbridge migrate", "skip ="]);
    assert_eq!(held(&world).await, (0, 0));
    let skipped = r#"[columns.landing_leads]
        skip = ["Тег ,x", "code", "price", "tags", "mood", "raw", "seen_at", "doc", "status", "ratio", "flag"]"#;
    let bridge = bridge.configured(skipped);
    assert_refused(&import(&bridge, &path, &[]).await, &["journey_stages.Балл", "no place"]);
    let bridge = bridge.configured(&format!("{skipped}\n[columns.journey_stages]\nskip = [\"Балл\"]"));
    let report = imported(&bridge, &path).await;
    assert_eq!(report["left_out"].as_array().unwrap().len(), 12, "{report}");
    assert_eq!(report["left_out"][0]["reason"], "skipped", "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_export_is_refused_while_one_is_imported_in_part_and_an_older_one_afterwards() {
    let (world, bridge) = filled(100).await;
    let older = export(&bridge, "older", &[]).await;
    landing(&world, "UPDATE landing_leads SET click_count = 5").await;
    let newer = export(&bridge, "newer", &[]).await;
    let arguments = ["import", newer.to_str().unwrap(), "--yes"];
    let dying = bridge.dying_command(&arguments, Point::ImportCommitted, 2).output().await.unwrap();
    assert!(!dying.status.success());
    let said = import(&bridge, &older, &[]).await;
    assert_refused(&said, &["another export is imported in part", "newer", "--restart"]);
    imported(&bridge, &newer).await;
    assert_verified(&bridge).await;
    assert_refused(&import(&bridge, &older, &[]).await, &["a newer export was imported before", "--restart"]);
    assert_verified(&bridge).await;

    let said = import(&bridge, &older, &["--restart"]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(holds(&world.traffic().await, "bool_and(click_count = 0) FROM traffic_leads").await);
    // A newer export follows an older one without a word.
    imported(&bridge, &newer).await;
    assert_verified(&bridge).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_imported_while_a_daemon_runs_nor_once_one_has_copied_nor_after_the_switch() {
    let (world, bridge) = filled(10).await;
    let path = export(&bridge, "files", &[]).await;
    let before = held(&world).await;
    let standby = world.traffic().await;
    standby.batch_execute(crate::finish::LEASE).await.unwrap();
    assert_refused(&import(&bridge, &path, &[]).await, &["a daemon applies for this slot", "stop it"]);
    drop(standby);
    assert_eq!(held(&world).await, before);

    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    assert_refused(
        &import(&bridge, &path, &[]).await,
        &["the rows belong to the stream", "leadbridge resync"],
    );
    daemon.terminate().await;
    assert_refused(&import(&bridge, &path, &[]).await, &["the rows belong to the stream"]);
    traffic(&world, "UPDATE leadbridge.checkpoint SET state = 'snapshot'").await;
    assert_refused(&import(&bridge, &path, &[]).await, &["has begun to copy", "start the daemon again"]);
    bridge.catch_up().await;
    switched::switch_over(&world).await;
    assert_refused(&import(&bridge, &path, &[]).await, &["Traffic is the system of record"]);
    assert!(holds(&world.traffic().await, "count(*) = 0 FROM leadbridge.import").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_landing_hides_must_be_hidden_on_traffic_before_anything_is_imported() {
    let (world, bridge) = filled(5).await;
    let path = export(&bridge, "files", &[]).await;
    traffic(
        &world,
        "ALTER TABLE traffic_leads DISABLE ROW LEVEL SECURITY; GRANT SELECT ON traffic_leads TO anon",
    )
    .await;
    assert_refused(&import(&bridge, &path, &[]).await, &["anon", "traffic_leads"]);
    assert_eq!(held(&world).await, (0, 0));
    let said = import(&bridge.configured("[privacy]\naccept = [\"anon:traffic_leads\"]"), &path, &[]).await;
    assert_eq!(said.code, 0, "{}", said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_would_be_written_and_without_a_terminal_nobody_is_taken_to_agree() {
    let (world, bridge) = filled(5).await;
    let path = export(&bridge, "files", &[]).await;
    let said = bridge.run(&["import", path.to_str().unwrap(), "--dry-run"]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.contains("5 rows of landing_leads.csv into traffic_leads"), "{}", said.out);
    assert!(said.out.contains("10 rows of journey_stages.csv into traffic_lead_journey"), "{}", said.out);
    let said = bridge.run(&["import", path.to_str().unwrap()]).await;
    assert_eq!(said.code, 64, "{}", said.err);
    assert!(said.err.contains("--yes"), "{}", said.err);
    assert_eq!(held(&world).await, (0, 0));
}
