//! Rows of which quarantine holds only the key, because no jsonb could hold the row.

use super::{pair, quarantined, streaming};
use crate::testkit::{World, assert_equal, caught_up_and_equal, holds, landing, traffic};

#[tokio::test(flavor = "multi_thread")]
async fn a_row_without_an_image_is_not_tried_again_and_its_next_change_reads_it_whole_from_landing() {
    let world = World::new().await;
    let (bridge, mut daemon) = streaming(&world).await;
    let metadata =
        |letter: char| format!("jsonb_build_object('utm_source', '{letter}', 'x', repeat('{letter}', 9000))");
    landing(
        &world,
        &format!(
            "ALTER TABLE landing_leads ALTER metadata SET STORAGE EXTERNAL;
             INSERT INTO landing_leads (name, phone, metadata) VALUES ('good', '1', {})",
            metadata('o')
        ),
    )
    .await;
    caught_up_and_equal(&world, &mut daemon).await;
    traffic(&world, "ALTER TABLE traffic_leads ADD CONSTRAINT no CHECK (name <> 'bad')").await;
    landing(&world, &format!("UPDATE landing_leads SET name = 'bad', metadata = {}", metadata('n'))).await;
    daemon.caught_up(&world).await;
    assert_eq!(quarantined(&world).await, [pair("landing_leads", "23514")]);
    // Simulates a row that is too large.
    traffic(&world, "UPDATE leadbridge.quarantine SET row_data = NULL").await;
    assert_eq!(bridge.run(&["quarantine", "retry"]).await.code, 1);
    assert!(
        holds(&world.traffic().await, "bool_and(metadata ->> 'utm_source' = 'o') FROM traffic_leads").await
    );
    // Values that the next changes do not send exist on Traffic only in their older form.
    landing(&world, "UPDATE landing_leads SET email = 'e'").await;
    daemon.caught_up(&world).await;
    let whole = "bool_and(length(row_data ->> 'metadata') > 9000 AND row_data ->> 'metadata' LIKE '%nnn%') FROM leadbridge.quarantine";
    assert!(holds(&world.traffic().await, whole).await);
    traffic(&world, "UPDATE leadbridge.quarantine SET row_data = NULL").await;
    landing(&world, "UPDATE landing_leads SET name = 'better'").await;
    caught_up_and_equal(&world, &mut daemon).await;
    assert_eq!(quarantined(&world).await, []);
    daemon.terminate().await;
    assert_equal(&world).await;
}
