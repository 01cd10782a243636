//! Rows refused only at COMMIT: by deferred user-defined foreign keys and constraint triggers.

use super::{pair, quarantined, streaming};
use crate::testkit::{Bridge, Daemon, World, assert_equal, caught_up_and_equal, holds, landing, traffic};

const LEADS: &str =
    "INSERT INTO landing_leads (name, phone) SELECT 'n', n::text FROM generate_series(1, 200) AS n;
                     INSERT INTO journey_stages (lead_id, stage) SELECT id, 's' FROM landing_leads";

/// Two leads with a deal each.
const DEALS: &str =
    "CREATE TABLE school_deals (lead_id uuid REFERENCES traffic_leads DEFERRABLE INITIALLY DEFERRED);
                     INSERT INTO school_deals SELECT id FROM traffic_leads WHERE phone IN ('2', '150')";

/// A lead needs an entry at the end of each transaction, and no lead may have the name `bad`.
const NEEDS_ENTRY: &str = "CREATE FUNCTION public.needs_entry() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN
        IF NEW.name = 'bad' OR NOT EXISTS (SELECT FROM public.traffic_lead_journey j WHERE j.lead_id = NEW.id) THEN
            RAISE EXCEPTION 'no entry';
        END IF;
        RETURN NULL;
    END $f$;
    CREATE CONSTRAINT TRIGGER needs_entry AFTER INSERT OR UPDATE ON public.traffic_leads
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.needs_entry();
    ALTER TABLE public.traffic_leads ENABLE ALWAYS TRIGGER needs_entry";

async fn with_leads() -> (World, Bridge, Daemon) {
    let world = World::new().await;
    let (bridge, mut daemon) = streaming(&world).await;
    landing(&world, LEADS).await;
    caught_up_and_equal(&world, &mut daemon).await;
    (world, bridge, daemon)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deferred_foreign_key_that_forbids_a_delete_costs_that_delete_alone_in_the_stream_and_a_resync() {
    let (world, bridge, mut daemon) = with_leads().await;
    // The constraint arrives while the daemon streams: the daemon learns of the constraint from a refused COMMIT.
    traffic(&world, DEALS).await;
    landing(&world, "DELETE FROM landing_leads WHERE phone IN ('1', '2', '3')").await;
    daemon.caught_up(&world).await;
    assert_eq!(quarantined(&world).await, [pair("landing_leads", "23503")]);
    assert!(holds(&world.traffic().await, "count(*) = 198 FROM traffic_leads").await);
    landing(&world, "DELETE FROM landing_leads WHERE phone = '4'").await;
    daemon.caught_up(&world).await;
    assert_eq!(daemon.log().matches("retry_in").count(), 1, "{}", daemon.log());
    daemon.terminate().await;
    landing(&world, "DELETE FROM landing_leads WHERE phone <> '5'").await;
    let resynced = bridge.run(&["resync", "--yes"]).await;
    assert_eq!(resynced.code, 0, "{}", resynced.err);
    assert_eq!(quarantined(&world).await, [pair("landing_leads", "23503"), pair("landing_leads", "23503")]);
    assert!(holds(&world.traffic().await, "count(*) = 3 FROM traffic_leads").await);
    assert_eq!(bridge.run(&["quarantine", "retry"]).await.code, 1);
    traffic(&world, "DROP TABLE school_deals").await;
    assert_eq!(bridge.run(&["quarantine", "retry"]).await.code, 0);
    assert_equal(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_quarantines_what_a_deferred_foreign_key_forbids() {
    let (world, bridge, daemon) = with_leads().await;
    daemon.terminate().await;
    traffic(&world, DEALS).await;
    landing(&world, "DELETE FROM landing_leads WHERE phone IN ('1', '2', '3')").await;
    let repaired = bridge.run(&["verify", "--repair"]).await;
    let said = ["5 deleted", "1 in quarantine"];
    assert!(said.iter().all(|words| repaired.out.contains(words)), "{}{}", repaired.out, repaired.err);
    assert_eq!(quarantined(&world).await, [pair("landing_leads", "23503")]);
    traffic(&world, "DELETE FROM school_deals").await;
    bridge.catch_up().await;
    assert_eq!(bridge.run(&["quarantine", "retry"]).await.code, 0);
    assert_equal(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deferred_trigger_that_holds_at_the_end_passes_and_one_that_does_not_costs_its_row() {
    let world = World::new().await;
    traffic(&world, NEEDS_ENTRY).await;
    let (bridge, mut daemon) = streaming(&world).await;
    let lead = |name: &str, number: usize| {
        format!(
            "WITH made AS (INSERT INTO landing_leads (name, phone) SELECT '{name}', n::text
                 FROM generate_series(1, {number}) AS n RETURNING id)
             INSERT INTO journey_stages (lead_id, stage) SELECT id, 's' FROM made"
        )
    };
    // Each set is valid only as a whole: a small batch, a COPY, an update of both.
    for sql in [lead("small", 1), lead("large", 300), "UPDATE landing_leads SET email = 'e'".to_owned()] {
        landing(&world, &sql).await;
        caught_up_and_equal(&world, &mut daemon).await;
    }
    assert_eq!(quarantined(&world).await, []);
    landing(&world, &lead("bad", 1)).await;
    daemon.caught_up(&world).await;
    let bad = [pair("landing_leads", "P0001"), pair("lead_journey", "23503")];
    assert_eq!(quarantined(&world).await, bad);
    // One bad row among rows that are each valid with their own transaction.
    landing(&world, &lead("good", 1)).await;
    landing(&world, "UPDATE landing_leads SET email = 'f' WHERE name <> 'bad'").await;
    daemon.caught_up(&world).await;
    assert_eq!(quarantined(&world).await, bad);
    traffic(&world, "DROP FUNCTION public.needs_entry CASCADE").await;
    assert_eq!(bridge.run(&["quarantine", "retry"]).await.code, 0);
    assert_equal(&world).await;
    daemon.terminate().await;
}
