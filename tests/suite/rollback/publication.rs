//! Landing's publication is altered while Traffic is the system of record: the daemon reports the alteration, and a
//! rollback is refused before its decision.

use crate::cutover::CutoverSetup;
use crate::replication::reverse::switch::carried;
use crate::testkit::{holds, landing, said, traffic, until_true};

const PUT_RIGHT: &str = "ALTER PUBLICATION leadbridge SET (publish = 'insert, update, delete, truncate')";

async fn assert_refused_and_reported(setup: &mut CutoverSetup, what: &str) {
    setup
        .daemon
        .until(what, |status| {
            status["reverse"]["landing_publication"].as_str().is_some_and(|said| said.contains(what))
        })
        .await;
    let said = said(setup.daemon.command(&setup.bridge, &["status"])).await;
    assert!(said.out.contains(what), "{}", said.out);
    let said = setup.rollback(&["--dry-run"]).await;
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    assert!(said.out.contains("forward_publication") && said.out.contains(what), "{}", said.out);
    // Reverse replication does not need the publication.
    traffic(&setup.world, "UPDATE traffic_leads SET click_count = click_count + 1").await;
    carried(&setup.world, &mut setup.daemon).await;
}

async fn ready_again(setup: &CutoverSetup) {
    until_true("the rollback is ready", async || {
        let said = setup.rollback(&["--dry-run"]).await;
        said.code == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_altered_publication_is_reported_and_refuses_a_rollback_until_it_is_put_right() {
    let mut setup = CutoverSetup::switched().await;
    landing(&setup.world, "ALTER PUBLICATION leadbridge SET (publish = 'insert')").await;
    assert_refused_and_reported(&mut setup, "was altered").await;
    landing(&setup.world, PUT_RIGHT).await;
    ready_again(&setup).await;
    landing(&setup.world, "DROP PUBLICATION leadbridge").await;
    assert_refused_and_reported(&mut setup, "is gone").await;
    landing(&setup.world, "CREATE PUBLICATION leadbridge FOR TABLE landing_leads").await;
    assert_refused_and_reported(&mut setup, "dropped and recreated").await;
    landing(&setup.world, "ALTER PUBLICATION leadbridge ADD TABLE journey_stages").await;
    ready_again(&setup).await;
    setup.rolls_back(&[]).await;
    setup.assert_rolled_back().await;
    landing(&setup.world, "UPDATE landing_leads SET click_count = 4242").await;
    setup.daemon.caught_up(&setup.world).await;
    assert!(
        holds(&setup.world.traffic().await, "count(*) >= 60 FROM traffic_leads WHERE click_count = 4242")
            .await
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_with_a_row_filter_on_landing_refuses_a_rollback() {
    let mut setup = CutoverSetup::switched().await;
    landing(
        &setup.world,
        "ALTER PUBLICATION leadbridge SET TABLE landing_leads WHERE (id IS NULL), journey_stages",
    )
    .await;
    assert_refused_and_reported(&mut setup, "taken out of the publication").await;
    landing(&setup.world, "ALTER PUBLICATION leadbridge SET TABLE landing_leads, journey_stages").await;
    ready_again(&setup).await;
}
