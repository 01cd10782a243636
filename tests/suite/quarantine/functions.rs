//! An error inside a user-defined function is an error of one row, for every origin of the row. The SQLSTATEs:
//! `codes`.

use super::{pair, quarantined, streaming};
use crate::testkit::{World, assert_equal, holds, landing, one, traffic};

/// A user-defined trigger, for replicated rows too, that divides by zero where the condition holds.
fn divides_by_zero(table: &str, events: &str, condition: &str) -> String {
    format!(
        "CREATE FUNCTION public.ratio() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN
             IF {condition} THEN PERFORM 1 / 0; END IF;
             RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
         END $f$;
         CREATE TRIGGER ratio BEFORE {events} ON {table} FOR EACH ROW EXECUTE FUNCTION public.ratio();
         ALTER TABLE {table} ENABLE ALWAYS TRIGGER ratio"
    )
}

const LIFT: &str = "DROP FUNCTION public.ratio CASCADE";

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_divides_by_zero_costs_its_row_alone_in_copy_and_stream() {
    let world = World::new().await;
    traffic(&world, &divides_by_zero("traffic_leads", "INSERT OR UPDATE", "NEW.name = 'bad'")).await;
    landing(&world, "INSERT INTO landing_leads (name, phone) VALUES ('a', '1'), ('bad', '2'), ('c', '3')")
        .await;
    let (bridge, mut daemon) = streaming(&world).await;
    let lead = || pair("landing_leads", "22012");
    assert_eq!(quarantined(&world).await, [lead()]);
    let large = "INSERT INTO landing_leads (name, phone)
        SELECT CASE n WHEN 777 THEN 'bad' ELSE 'lead' END, n::text FROM generate_series(1, 1000) AS n";
    landing(&world, large).await;
    landing(&world, "UPDATE landing_leads SET name = 'bad' WHERE phone = '1' AND name = 'a'").await;
    daemon.caught_up(&world).await;
    assert_eq!(quarantined(&world).await, [lead(), lead(), lead()]);
    assert!(holds(&world.traffic().await, "count(*) = 1001 FROM traffic_leads").await);
    let said = "SELECT DISTINCT message FROM leadbridge.quarantine";
    let message: String = one(&world.traffic().await, said).await;
    assert!(message.contains("division by zero, in the user-defined function public.ratio()"), "{message}");
    daemon.terminate().await;
    // A repair writes the other rows, and names the rows that could not be written.
    let damage = "SET session_replication_role = replica; UPDATE traffic_leads SET email = 'x' WHERE phone IN ('5', '6')";
    traffic(&world, damage).await;
    let repaired = bridge.run(&["verify", "--repair"]).await;
    let found = ["2 rows written", "3 in quarantine"];
    assert!(found.iter().all(|words| repaired.out.contains(words)), "{}{}", repaired.out, repaired.err);
    traffic(&world, LIFT).await;
    assert_eq!(bridge.run(&["quarantine", "retry"]).await.code, 0);
    bridge.catch_up().await;
    assert_equal(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_divides_by_zero_at_a_delete_costs_that_delete_alone() {
    let world = World::new().await;
    let (bridge, mut daemon) = streaming(&world).await;
    landing(
        &world,
        "INSERT INTO landing_leads (name, phone) SELECT 'n', n::text FROM generate_series(1, 200) AS n",
    )
    .await;
    daemon.caught_up(&world).await;
    traffic(&world, &divides_by_zero("traffic_leads", "DELETE", "OLD.phone IN ('2', '150')")).await;
    landing(&world, "DELETE FROM landing_leads WHERE phone IN ('1', '2', '3')").await;
    daemon.caught_up(&world).await;
    assert_eq!(quarantined(&world).await, [pair("landing_leads", "22012")]);
    daemon.terminate().await;
    landing(&world, "DELETE FROM landing_leads").await;
    let resynced = bridge.run(&["resync", "--yes"]).await;
    assert_eq!(resynced.code, 0, "{}", resynced.err);
    assert_eq!(quarantined(&world).await.len(), 2);
    assert!(holds(&world.traffic().await, "count(*) = 2 FROM traffic_leads").await);
    traffic(&world, LIFT).await;
    assert_eq!(bridge.run(&["quarantine", "retry"]).await.code, 0);
    assert_equal(&world).await;
}
