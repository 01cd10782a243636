//! Rows that Landing does not take are quarantined, all other rows flow, and quarantined rows leave by themselves.

use super::exact::{assert_back, differences_back};
use super::switch::{carried, switch};
use crate::testkit::{Bridge, Daemon, World, holds, landing, one, traffic, until_holds};

const LEAD: &str = "00000000-0000-0000-0000-00000000000a";
const OTHER: &str = "00000000-0000-0000-0000-00000000000b";

async fn switched(world: &World) -> (Bridge, Daemon) {
    world.fill(220, 20).await;
    let bridge = Bridge::new(world);
    bridge.catch_up().await;
    switch(world, &bridge).await;
    let mut daemon = bridge.daemon().await;
    carried(world, &mut daemon).await;
    (bridge, daemon)
}

/// Quarantined rows as table, SQLSTATE and message.
async fn waiting(world: &World) -> Vec<(String, String, String)> {
    let sql = "SELECT traffic_table, sqlstate, message FROM leadbridge.reverse_quarantine ORDER BY 1, row_id";
    let rows = world.traffic().await.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

fn born(id: &str, name: &str) -> String {
    format!(
        "INSERT INTO traffic_leads (id, name, phone, landing_source) VALUES ('{id}', '{name}', '1', 'twland');"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_that_landing_refuses_waits_with_its_stages_and_leaves_when_it_becomes_good() {
    let world = World::new().await;
    let (_bridge, mut daemon) = switched(&world).await;
    landing(&world, "ALTER TABLE landing_leads ADD CONSTRAINT short CHECK (length(name) < 50) NOT VALID")
        .await;
    let name = "Аружан".repeat(10);
    let changes = format!(
        "{} INSERT INTO traffic_lead_journey (lead_id, stage, created_at) VALUES ('{LEAD}', 's', now());
         UPDATE traffic_leads SET click_count = 3 WHERE id <> '{LEAD}'",
        born(LEAD, &name)
    );
    traffic(&world, &format!("BEGIN; {changes}; COMMIT")).await;
    carried(&world, &mut daemon).await;
    let found = waiting(&world).await;
    let kinds: Vec<_> = found.iter().map(|(table, code, _)| (table.as_str(), code.as_str())).collect();
    assert_eq!(kinds, [("traffic_lead_journey", "23503"), ("traffic_leads", "23514")]);
    assert!(found.iter().all(|(_, _, message)| !message.contains("Аружан")), "{found:?}");
    assert!(!daemon.log().contains("Аружан"));
    let all_others = differences_back(&world, &[LEAD.parse().unwrap()]).await;
    assert_eq!(all_others.len(), 1, "only the stage: {all_others:?}");
    daemon.until("the status counts them", |status| status["reverse"]["quarantined"] == 2).await;
    // The row is tried again with each change, without success as long as the row is bad.
    traffic(&world, &format!("UPDATE traffic_leads SET click_count = 1 WHERE id = '{LEAD}'")).await;
    carried(&world, &mut daemon).await;
    let client = world.traffic().await;
    let again = "attempts = 2 FROM leadbridge.reverse_quarantine WHERE traffic_table = 'traffic_leads'";
    assert!(holds(&client, again).await);
    traffic(&world, &format!("UPDATE traffic_leads SET name = 'short' WHERE id = '{LEAD}'")).await;
    carried(&world, &mut daemon).await;
    assert_eq!(waiting(&world).await, []);
    assert_back(&world, &[]).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_landing_takes_again_leaves_at_the_next_start_and_what_is_deleted_at_once() {
    let world = World::new().await;
    let (bridge, mut daemon) = switched(&world).await;
    landing(&world, "ALTER TABLE landing_leads ADD CONSTRAINT short CHECK (length(name) < 5) NOT VALID")
        .await;
    traffic(&world, &(born(LEAD, "far too long") + &born(OTHER, "also too long"))).await;
    carried(&world, &mut daemon).await;
    assert_eq!(waiting(&world).await.len(), 2);
    traffic(&world, &format!("DELETE FROM traffic_leads WHERE id = '{OTHER}'")).await;
    carried(&world, &mut daemon).await;
    assert_eq!(waiting(&world).await.len(), 1);
    daemon.terminate().await;
    landing(&world, "ALTER TABLE landing_leads DROP CONSTRAINT short").await;
    bridge.catch_up().await;
    assert_eq!(waiting(&world).await, []);
    assert_back(&world, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_only_a_deleted_row_had_in_the_way_is_no_reason_to_wait() {
    let world = World::new().await;
    let (_bridge, mut daemon) = switched(&world).await;
    traffic(&world, &born(LEAD, "only once")).await;
    carried(&world, &mut daemon).await;
    landing(&world, "CREATE UNIQUE INDEX once ON landing_leads (name) WHERE name = 'only once'").await;
    let swap =
        format!("BEGIN; DELETE FROM traffic_leads WHERE id = '{LEAD}'; {} COMMIT", born(OTHER, "only once"));
    traffic(&world, &swap).await;
    carried(&world, &mut daemon).await;
    assert_eq!(waiting(&world).await, []);
    assert_back(&world, &[]).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_that_landing_forbids_waits_and_one_bad_row_costs_the_others_nothing() {
    let world = World::new().await;
    let (_bridge, mut daemon) = switched(&world).await;
    let referring = "CREATE TABLE referring (lead_id uuid REFERENCES landing_leads (id));
                     INSERT INTO referring SELECT id FROM landing_leads ORDER BY id LIMIT 1";
    landing(&world, referring).await;
    let count: i64 = one(&world.landing().await, "SELECT count(*) FROM landing_leads").await;
    traffic(&world, "DELETE FROM traffic_leads").await;
    carried(&world, &mut daemon).await;
    let found = waiting(&world).await;
    assert_eq!((found.len(), found[0].1.as_str()), (1, "23503"), "{found:?}");
    assert!(count > 1 && holds(&world.landing().await, "count(*) = 1 FROM landing_leads").await);
    until_holds(&world.traffic().await, "count(*) = 0 FROM traffic_leads").await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_that_has_become_good_comes_with_the_next_stage_of_it_and_so_do_those_that_waited() {
    let world = World::new().await;
    let (_bridge, mut daemon) = switched(&world).await;
    landing(&world, "ALTER TABLE landing_leads ADD CONSTRAINT short CHECK (length(name) < 5) NOT VALID")
        .await;
    let stage = format!(
        "INSERT INTO traffic_lead_journey (lead_id, stage, created_at) VALUES ('{LEAD}', 's', now());"
    );
    traffic(&world, &(born(LEAD, "far too long") + &stage + &stage)).await;
    carried(&world, &mut daemon).await;
    assert_eq!(waiting(&world).await.len(), 3);
    landing(&world, "ALTER TABLE landing_leads DROP CONSTRAINT short").await;
    traffic(&world, &stage).await;
    carried(&world, &mut daemon).await;
    assert_eq!(waiting(&world).await, []);
    assert_back(&world, &[]).await;
    daemon.terminate().await;
}

/// A user-defined trigger on Landing, for replicated rows too, that fails for or leaves out rows with the name `bad`.
fn trigger(events: &str, body: &str) -> String {
    format!(
        "CREATE FUNCTION public.says() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN
             IF coalesce(NEW.name, OLD.name) = 'bad' THEN {body}; END IF;
             RETURN coalesce(NEW, OLD);
         END $f$;
         CREATE TRIGGER says BEFORE {events} ON landing_leads FOR EACH ROW EXECUTE FUNCTION public.says();
         ALTER TABLE landing_leads ENABLE ALWAYS TRIGGER says"
    )
}

const LIFT: &str = "DROP FUNCTION public.says CASCADE";

async fn only_bad_waits(world: &World, daemon: &mut Daemon, code: &str, what: &str) {
    carried(world, daemon).await;
    let found = waiting(world).await;
    assert_eq!((found.len(), found.first().map(|row| row.1.as_str())), (1, Some(code)), "{what}: {found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_trigger_on_landing_fails_at_or_leaves_out_waits_alone_whatever_the_code() {
    let world = World::new().await;
    let (bridge, mut daemon) = switched(&world).await;
    for (body, code) in [
        ("PERFORM 1 / 0", "22012"),
        ("PERFORM FROM nowhere", "42P01"),
        ("RAISE USING ERRCODE = 'object_not_in_prerequisite_state'", "55000"),
        ("RETURN NULL", "09000"),
    ] {
        landing(&world, &trigger("INSERT OR UPDATE", body)).await;
        let both = format!("BEGIN; {} {} COMMIT", born(LEAD, "bad"), born(OTHER, "good"));
        traffic(&world, &both).await;
        only_bad_waits(&world, &mut daemon, code, body).await;
        assert!(
            holds(&world.landing().await, &format!("count(*) = 1 FROM landing_leads WHERE id = '{OTHER}'"))
                .await
        );
        traffic(&world, &format!("UPDATE traffic_leads SET name = 'fine' WHERE id = '{LEAD}'")).await;
        carried(&world, &mut daemon).await;
        assert_eq!(waiting(&world).await, [], "{body}");
        traffic(&world, &format!("UPDATE traffic_leads SET name = 'bad' WHERE id = '{LEAD}'")).await;
        only_bad_waits(&world, &mut daemon, code, body).await;
        landing(&world, LIFT).await;
        // Deletes a quarantined row and another row.
        let bad = format!(
            "SET leadbridge.passes_fence = on; UPDATE landing_leads SET name = 'bad' WHERE id = '{LEAD}'"
        );
        landing(&world, &bad).await;
        landing(&world, &trigger("DELETE", body)).await;
        traffic(&world, &format!("DELETE FROM traffic_leads WHERE id IN ('{LEAD}', '{OTHER}')")).await;
        only_bad_waits(&world, &mut daemon, code, body).await;
        assert!(
            holds(&world.landing().await, &format!("count(*) = 1 FROM landing_leads WHERE id = '{LEAD}'"))
                .await
        );
        daemon.terminate().await;
        landing(&world, LIFT).await;
        bridge.catch_up().await;
        assert_eq!(waiting(&world).await, [], "{body}");
        assert_back(&world, &[]).await;
        daemon = bridge.daemon().await;
        carried(&world, &mut daemon).await;
    }
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_landing_refuses_only_at_commit_waits_alone_and_what_holds_at_the_end_passes() {
    let world = World::new().await;
    let (_bridge, mut daemon) = switched(&world).await;
    let deferred = "CREATE TABLE deals (lead_id uuid REFERENCES landing_leads DEFERRABLE INITIALLY DEFERRED);
        INSERT INTO deals SELECT id FROM landing_leads ORDER BY id LIMIT 1;
        CREATE FUNCTION public.needs_entry() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN
            IF NOT EXISTS (SELECT FROM public.journey_stages j WHERE j.lead_id = NEW.id) THEN RAISE EXCEPTION 'no'; END IF;
            RETURN NULL;
        END $f$;
        CREATE CONSTRAINT TRIGGER needs_entry AFTER INSERT ON landing_leads
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.needs_entry();
        ALTER TABLE landing_leads ENABLE ALWAYS TRIGGER needs_entry";
    landing(&world, deferred).await;
    let entry = "INSERT INTO traffic_lead_journey (lead_id, stage, created_at) VALUES";
    let whole = format!("BEGIN; {} {entry} ('{LEAD}', 's', now()); COMMIT", born(LEAD, "with an entry"));
    traffic(&world, &whole).await;
    carried(&world, &mut daemon).await;
    assert_eq!(waiting(&world).await, []);
    assert_back(&world, &[]).await;
    traffic(&world, &born(OTHER, "without")).await;
    only_bad_waits(&world, &mut daemon, "P0001", "no entry").await;
    traffic(&world, &format!("DELETE FROM traffic_leads WHERE id = '{OTHER}'")).await;
    traffic(&world, "DELETE FROM traffic_leads").await;
    only_bad_waits(&world, &mut daemon, "23503", "a deal").await;
    assert!(holds(&world.landing().await, "count(*) = 1 FROM landing_leads").await);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_entries_of_a_lead_that_traffic_deleted_without_its_cascade_wait_and_come_back_with_it() {
    let world = World::new().await;
    let (_bridge, mut daemon) = switched(&world).await;
    let entry = format!(
        "INSERT INTO traffic_lead_journey (lead_id, stage, created_at) VALUES ('{LEAD}', 's', now());"
    );
    traffic(&world, &(born(LEAD, "n") + &entry + &entry)).await;
    carried(&world, &mut daemon).await;
    assert_back(&world, &[]).await;
    let delete =
        format!("SET session_replication_role = replica; DELETE FROM traffic_leads WHERE id = '{LEAD}'");
    traffic(&world, &delete).await;
    carried(&world, &mut daemon).await;
    let codes: Vec<String> = waiting(&world).await.into_iter().map(|row| row.1).collect();
    assert_eq!(codes, ["23503", "23503"]);
    traffic(&world, &born(LEAD, "again")).await;
    carried(&world, &mut daemon).await;
    assert_eq!(waiting(&world).await, []);
    assert_back(&world, &[]).await;
    daemon.terminate().await;
}
