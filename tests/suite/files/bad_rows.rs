//! Rows of an export that Traffic does not take.

use super::{export, import, imported, leads};
use crate::testkit::{Bridge, World, assert_equal, holds, landing, traffic};

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_traffic_does_not_take_waits_in_quarantine_with_what_depends_on_it_and_leaves_by_a_retry()
{
    let world = World::new().await;
    leads(&world, 1, 200).await;
    // Too long for Traffic, refused by a CHECK there, and a journey entry without its lead.
    let bad = "UPDATE landing_leads SET name = repeat('ы', 300), sms_error = 'kept' WHERE name = 'lead 20';
        UPDATE landing_leads SET phone = 'refused' WHERE name = 'lead 21';
        SET session_replication_role = replica;
        DELETE FROM landing_leads WHERE name = 'lead 22'";
    landing(&world, bad).await;
    let check = "ALTER TABLE traffic_leads ADD CONSTRAINT no_refused CHECK (phone <> 'refused')";
    traffic(&world, check).await;
    let bridge = Bridge::new(&world).configured("[stream]\nbatch_rows = 50");
    let path = export(&bridge, "files", &[]).await;
    let said = import(&bridge, &path, &[]).await;
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    assert!(!said.err.contains("ыы") && !said.out.contains("ыы"), "no value of a row is shown");
    let report: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(report["complete"], true, "{report}");
    assert_eq!((&report["quarantined"], &report["rows_quarantined"]), (&8.into(), &8.into()), "{report}");
    assert_eq!(report["rows_written"], 199 + 400 - 8, "{report}");
    let waits = "(SELECT string_agg(DISTINCT source_table || ' ' || sqlstate, ', ' ORDER BY source_table || ' ' || sqlstate)
            FROM leadbridge.quarantine) = 'landing_leads 22001, landing_leads 23514, lead_journey 23503'
        AND (SELECT bool_and(operation = 'copy' AND lsn = (SELECT lsn FROM leadbridge.import)) FROM leadbridge.quarantine)";
    assert!(holds(&world.traffic().await, waits).await);

    // The retry knows the columns of the export, although no copy has recorded any.
    traffic(&world, "ALTER TABLE traffic_leads DROP CONSTRAINT no_refused").await;
    let said = bridge.run(&["quarantine", "retry"]).await;
    assert_eq!((said.code, &*said.out), (1, "3 of 8 rows left quarantine.\n"), "{}", said.err);
    let left = "(SELECT landing_synced_at = (SELECT snapshot_time FROM leadbridge.import) AND amocrm_sync_status = 'pending'
            FROM traffic_leads WHERE phone = 'refused')
        AND (SELECT count(*) FROM traffic_lead_journey WHERE lead_id = md5('lead 21')::uuid) = 2";
    assert!(holds(&world.traffic().await, left).await);

    // What was put right on Landing arrives with the next export, and what was deleted there waits no more.
    landing(
        &world,
        "UPDATE landing_leads SET name = 'short' WHERE sms_error = 'kept';
        DELETE FROM journey_stages WHERE lead_id = md5('lead 22')::uuid",
    )
    .await;
    let report = imported(&bridge, &export(&bridge, "later", &["--format", "jsonl"]).await).await;
    assert_eq!(report["quarantined"], 0, "{report}");
    assert_equal(&world).await;
    assert!(holds(&world.traffic().await, "count(*) = 0 FROM leadbridge.quarantine").await);
}
