//! Keys that Landing refuses: the row waits under the new key, stays under the earlier key, and nothing is deleted.

use super::exact::{assert_back, differences_back};
use super::keys::{LATER, OWN, assert_kept, assert_none_waits, born, id, leads, moves, own_tables, referred};
use super::rows::switched;
use super::switch::carried;
use crate::testkit::{World, holds, landing, least_privileged, traffic};

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_landing_refuses_waits_and_nothing_is_deleted() {
    let world = World::new().await;
    leads(&world, 1..=9).await;
    let bridge = least_privileged(&world).await;
    let mut daemon = switched(&world, &bridge).await;
    own_tables(&world).await;
    let (traffic_side, on_landing) = (world.traffic().await, world.landing().await);
    // The role may not update the referring rows, and a new lead takes the freed key.
    traffic(&world, &(moves(&id(1), OWN) + &born(&id(1), "new"))).await;
    carried(&world, &mut daemon).await;
    let refused = format!(
        "count(*) = 1 FROM leadbridge.reverse_quarantine
             WHERE row_id = '{OWN}' AND sqlstate = '42501' AND message LIKE '%GRANT SELECT%calls%'"
    );
    assert!(holds(&traffic_side, &refused).await);
    // The row, its entry, and the new lead wait.
    assert!(holds(&traffic_side, "count(*) = 3 FROM leadbridge.reverse_quarantine").await);
    assert_kept(&world, 9, &[], "refused").await;
    // Its key changes again, and the new lead gets an entry.
    let more = format!(
        "{} INSERT INTO traffic_lead_journey (lead_id, stage, created_at) VALUES ('{}', 'new', now());
         UPDATE traffic_leads SET click_count = 4",
        moves(OWN, LATER),
        id(1)
    );
    traffic(&world, &more).await;
    carried(&world, &mut daemon).await;
    let waits = format!("count(*) = 1 FROM leadbridge.reverse_quarantine WHERE row_id = '{LATER}'");
    assert!(holds(&traffic_side, &waits).await);
    assert!(
        holds(
            &traffic_side,
            &format!("count(*) = 0 FROM leadbridge.reverse_quarantine WHERE row_id = '{OWN}'")
        )
        .await
    );
    assert_kept(&world, 9, &[], "refused again").await;
    daemon.terminate().await;
    // Killed and started again, the row still waits.
    bridge.catch_up().await;
    assert!(holds(&traffic_side, &waits).await);
    assert_kept(&world, 9, &[], "refused at a start").await;
    landing(&world, "GRANT SELECT, UPDATE ON deals, calls, bills, reminders TO bridge").await;
    bridge.catch_up().await;
    assert_back(&world, &[]).await;
    assert_none_waits(&world, "granted").await;
    assert_kept(&world, 9, &[], "granted").await;
    assert!(holds(&on_landing, &format!("name = 'new' FROM landing_leads WHERE id = '{}'", id(1))).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_under_a_refused_key_goes_home_or_is_deleted() {
    let (world, _bridge, mut daemon) = referred(9).await;
    landing(&world, &format!("ALTER TABLE landing_leads ADD CHECK (id NOT IN ('{OWN}', '{LATER}'))")).await;
    traffic(&world, &(moves(&id(1), OWN) + &moves(&id(9), LATER))).await;
    carried(&world, &mut daemon).await;
    assert!(holds(&world.landing().await, "count(*) = 2 FROM leadbridge.held_keys").await);
    assert!(differences_back(&world, &[]).await.len() > 1);
    assert_kept(&world, 9, &[], "refused").await;
    let both = format!("{} DELETE FROM traffic_leads WHERE id = '{LATER}'", moves(OWN, &id(1)));
    traffic(&world, &both).await;
    carried(&world, &mut daemon).await;
    assert_back(&world, &[]).await;
    assert_none_waits(&world, "home").await;
    assert_kept(&world, 9, &[9], "home").await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_key_with_on_update_cascade_needs_no_right_on_its_table() {
    let world = World::new().await;
    leads(&world, 1..=3).await;
    let bridge = least_privileged(&world).await;
    let mut daemon = switched(&world, &bridge).await;
    let sql = "CREATE TABLE links (lead_id uuid REFERENCES landing_leads ON UPDATE CASCADE ON DELETE CASCADE, of text);
               CREATE TABLE claims (lead_id uuid REFERENCES landing_leads ON DELETE CASCADE);
               INSERT INTO links SELECT id, name FROM landing_leads;
               INSERT INTO claims SELECT id FROM landing_leads WHERE name = 'lead 2'";
    landing(&world, sql).await;
    traffic(&world, &(moves(&id(1), OWN) + &moves(&id(2), LATER))).await;
    carried(&world, &mut daemon).await;
    let client = world.landing().await;
    let kept = "count(*) = 3 AND bool_and(t.of = l.name) FROM links AS t JOIN landing_leads AS l ON l.id = t.lead_id";
    assert!(holds(&client, kept).await);
    // A claim refers to the second lead, and the role may not update claims.
    assert!(holds(&client, &format!("count(*) = 1 FROM landing_leads WHERE id = '{OWN}'")).await);
    assert!(holds(&client, &format!("count(*) = 1 FROM claims WHERE lead_id = '{}'", id(2))).await);
    let waits = format!("sqlstate = '23503' FROM leadbridge.reverse_quarantine WHERE row_id = '{LATER}'");
    assert!(holds(&world.traffic().await, &waits).await);
    daemon.terminate().await;
}
