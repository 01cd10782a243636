//! What is exported from Landing and imported into Traffic is what a copy would have brought.

use leadbridge::throwaway::writers::WriteRate;

use super::{COLUMNS, VALUES, assert_verified, emptied, export, imported, leads};
use crate::testkit::{
    Bridge, World, assert_equal, assert_refused, holds, landing, least_privileged, one, traffic,
    writers_go_on,
};

const WITH_NOTIFICATIONS: &str = "scheduled_notifications = true\n[stream]\nbatch_rows = 50";

async fn migrated(world: &World) -> Bridge {
    let bridge = Bridge::new(world).configured(WITH_NOTIFICATIONS);
    let said = bridge.run(&["migrate"]).await;
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    bridge
}

#[tokio::test(flavor = "multi_thread")]
async fn every_value_of_every_column_arrives_from_either_format_and_a_later_copy_ends_equal() {
    let world = World::unmigrated().await;
    landing(&world, COLUMNS).await;
    let bridge = migrated(&world).await;
    world.fill(70, 200).await;
    landing(&world, VALUES).await;
    for format in ["csv", "jsonl"] {
        emptied(&world).await;
        let path = export(&bridge, format, &["--format", format]).await;
        let report = imported(&bridge, &path).await;
        assert_eq!(report["complete"], true, "{report}");
        assert_eq!(report["rows"], report["rows_done"], "{report}");
        assert_eq!(report["rows"], report["rows_written"], "{report}");
        assert_equal(&world).await;
        assert_verified(&bridge).await;
        let synced =
            "bool_and(landing_synced_at = (SELECT snapshot_time FROM leadbridge.import)) FROM traffic_leads";
        assert!(holds(&world.traffic().await, synced).await, "{format}");
    }
    // The next copy brings what was written since, and removes what Landing no longer has.
    landing(&world, "DELETE FROM landing_leads WHERE name = 'large'; UPDATE landing_leads SET name = 'later' WHERE phone = '\\N'").await;
    leads(&world, 1, 3).await;
    bridge.catch_up().await;
    assert_equal(&world).await;
    assert_verified(&bridge).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_shape_of_the_databases_is_imported_from_either_format() {
    let world = World::older().await;
    let bridge = migrated(&world).await;
    let email = "ALTER TABLE landing_leads ALTER email SET DEFAULT 'a@example.kz'";
    landing(&world, email).await;
    leads(&world, 1, 120).await;
    for format in ["csv", "jsonl"] {
        emptied(&world).await;
        let path = export(&bridge, format, &["--format", format]).await;
        assert!(path.join(format!("lead_journey.{format}")).exists());
        imported(&bridge, &path).await;
        assert_equal(&world).await;
        assert_verified(&bridge).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_needs_no_landing_and_no_more_rights_than_the_daemon() {
    let world = World::new().await;
    leads(&world, 1, 30).await;
    let bridge = least_privileged(&world).await;
    let path = export(&bridge, "files", &[]).await;
    let alone = Bridge::between(
        "postgresql://bridge:bridge@127.0.0.1:1/landing",
        &world.traffic.url_as("bridge", "bridge", "traffic"),
    );
    imported(&alone, &path).await;
    assert_equal(&world).await;
    // The same command again has nothing to do.
    let report = imported(&alone, &path).await;
    assert_eq!((&report["complete"], &report["rows_done"]), (&true.into(), &90.into()), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_beside_live_writers_and_a_daemon_is_imported_as_one_moment() {
    let world = World::new().await;
    world.fill(71, 300).await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    let writers = world.write(&WriteRate::default());
    writers_go_on(&world, 10).await;
    let path = export(&bridge, "files", &["--format", "jsonl"]).await;
    writers.stop().await.unwrap();
    daemon.terminate().await;
    // Another Traffic, of the same Landing: the export alone fills it.
    let other = World::new().await;
    let elsewhere = Bridge::new(&other);
    let report = imported(&elsewhere, &path).await;
    assert_eq!(report["quarantined"], 0, "no journey entry comes without its lead: {report}");
    let orphans = "NOT EXISTS (SELECT FROM traffic_lead_journey AS j WHERE NOT EXISTS
        (SELECT FROM traffic_leads AS l WHERE l.id = j.lead_id))";
    assert!(holds(&other.traffic().await, orphans).await);
    assert_eq!(report["rows_written"], report["rows"], "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_traffics_own_are_kept_and_with_the_same_id_only_as_the_operator_says() {
    let world = World::new().await;
    leads(&world, 1, 10).await;
    let own = "INSERT INTO traffic_leads (name, phone, status, fb_lead_id) VALUES ('form', '+7 777', 'lost', 'fb-1');
        INSERT INTO traffic_leads (id, name, phone, status, amocrm_pipeline_id)
            VALUES (md5('lead 3')::uuid, 'theirs', '3', 'converted', 7)";
    traffic(&world, own).await;
    let bridge = Bridge::new(&world);
    let path = export(&bridge, "files", &[]).await;
    let said = super::import(&bridge, &path, &[]).await;
    assert_refused(&said, &["the id of a lead in the export: 1", "same_id = \"landing\""]);
    assert!(holds(&world.traffic().await, "count(*) = 2 FROM traffic_leads").await);

    let bridge = bridge.configured("[snapshot]\nsame_id = \"landing\"");
    imported(&bridge, &path).await;
    let kept = "(SELECT status || amocrm_pipeline_id || name FROM traffic_leads WHERE id = md5('lead 3')::uuid) = 'converted7lead 3'
        AND (SELECT original FROM leadbridge.conversion_notes WHERE column_name = 'name') = 'theirs'
        AND (SELECT status = 'lost' AND landing_synced_at IS NULL FROM traffic_leads WHERE fb_lead_id = 'fb-1')
        AND (SELECT count(*) FROM traffic_leads) = 11";
    assert!(holds(&world.traffic().await, kept).await);
    // Importing once more over the same rows changes nothing that Traffic owns.
    traffic(&world, "UPDATE traffic_leads SET status = 'qualified' WHERE id = md5('lead 4')::uuid").await;
    let said = super::import(&bridge, &path, &["--restart"]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    let status: String =
        one(&world.traffic().await, "SELECT status FROM traffic_leads WHERE id = md5('lead 4')::uuid").await;
    assert_eq!(status, "qualified");
}
