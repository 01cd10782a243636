//! A key that changes on Traffic stays the row on Landing: what refers to the row, and what only Landing has, follows.

use leadbridge::failpoint::Point;

use super::compare::tamper;
use super::exact::{assert_back, differences_back};
use super::killpoints::dies;
use super::rows::switched;
use super::switch::carried;
use crate::testkit::{Bridge, World, holds, landing, least_privileged, traffic, until_holds};

const OWN: &str = "00000000-0000-0000-0000-0000000000f1";
const LATER: &str = "00000000-0000-0000-0000-0000000000f2";

/// The key with a number.
fn id(number: u8) -> String {
    format!("00000000-0000-0000-0000-0000000000{number:02x}")
}

/// Leads `1..=count` with the names `lead N`, each with a journey entry of the same key.
async fn leads(world: &World, count: u8) {
    for number in 1..=count {
        let (id, sql) = (id(number), "INSERT INTO landing_leads (id, name, phone, amocrm_lead_id) VALUES");
        landing(
            world,
            &format!(
                "{sql} ('{id}', 'lead {number}', '{number}', '00{number}');
                 INSERT INTO journey_stages (id, lead_id, stage) VALUES ('{id}', '{id}', 'stage {number}')"
            ),
        )
        .await;
    }
}

/// User-defined tables on Landing whose rows a delete of a lead or of an entry would remove, empty or forbid, and a
/// column that only Landing has. Each row is marked with its lead's name or its entry's stage.
const OWN_TABLES: &str =
    "CREATE TABLE deals (lead_id uuid REFERENCES landing_leads ON DELETE CASCADE, of text);
    CREATE TABLE calls (lead_id uuid REFERENCES landing_leads ON DELETE SET NULL ON UPDATE SET NULL, of text);
    CREATE TABLE bills (lead_id uuid REFERENCES landing_leads ON UPDATE RESTRICT, of text);
    CREATE TABLE reminders (entry_id uuid REFERENCES journey_stages ON DELETE CASCADE, of text);
    INSERT INTO deals SELECT id, name FROM landing_leads;
    INSERT INTO calls SELECT id, name FROM landing_leads;
    INSERT INTO bills SELECT id, name FROM landing_leads WHERE name NOT LIKE '%0';
    INSERT INTO reminders SELECT id, stage FROM journey_stages;
    ALTER TABLE landing_leads ADD COLUMN only_here text;";

/// Fills the column that only Landing has, as the fence's writer.
const ONLY_HERE: &str = "SET session_replication_role = replica; SET leadbridge.passes_fence = on;
    DO $do$ BEGIN EXECUTE format('SET SESSION AUTHORIZATION %I', (SELECT writer FROM leadbridge.fence)); END $do$;
    UPDATE landing_leads SET only_here = name";

/// A lead's key changes, and its entries follow.
fn moves(from: &str, to: &str) -> String {
    format!(
        "WITH entries AS (UPDATE traffic_lead_journey SET lead_id = '{to}' WHERE lead_id = '{from}')
             UPDATE traffic_leads SET id = '{to}' WHERE id = '{from}';"
    )
}

fn born(id: &str, name: &str) -> String {
    format!(
        "INSERT INTO traffic_leads (id, name, phone, landing_source) VALUES ('{id}', '{name}', '7', 'twland');"
    )
}

/// Every lead with a number up to `count`, but the deleted ones, still has its rows.
async fn assert_kept(world: &World, count: u8, deleted: &[u8], what: &str) {
    let gone: Vec<String> = deleted.iter().map(|number| format!("'lead {number}'")).collect();
    let gone = if gone.is_empty() { "''".to_owned() } else { gone.join(", ") };
    let client = world.landing().await;
    let left = usize::from(count) - deleted.len();
    for table in ["deals", "calls"] {
        let kept = format!(
            "count(*) = {left} AND bool_and(t.of = l.name AND l.only_here = l.name)
                 FROM {table} AS t JOIN landing_leads AS l ON l.id = t.lead_id WHERE t.of NOT IN ({gone})"
        );
        assert!(holds(&client, &kept).await, "{table}: {what}");
    }
    let bills =
        "bool_and(t.of = l.name) IS NOT FALSE FROM bills AS t JOIN landing_leads AS l ON l.id = t.lead_id";
    assert!(holds(&client, bills).await, "{what}");
    let calls = format!("count(*) = {} FROM calls WHERE lead_id IS NULL", deleted.len());
    assert!(holds(&client, &calls).await, "{what}");
    let entries = format!(
        "count(*) = {left} AND bool_and(t.of = j.stage AND l.name = replace(j.stage, 'stage', 'lead'))
             FROM reminders AS t JOIN journey_stages AS j ON j.id = t.entry_id JOIN landing_leads AS l ON l.id = j.lead_id"
    );
    assert!(holds(&client, &entries).await, "{what}");
}

async fn assert_none_waits(world: &World, what: &str) {
    let traffic = world.traffic().await;
    assert!(holds(&traffic, "count(*) = 0 FROM leadbridge.reverse_quarantine").await, "{what}");
    assert!(holds(&world.landing().await, "count(*) = 0 FROM leadbridge.held_keys").await, "{what}");
}

/// Transactions in which keys change, and the numbers of the leads that they delete. Lead 10 has no bill.
fn histories() -> Vec<(&'static str, String, Vec<u8>)> {
    let key = id;
    let moved = |from: u8, to: u8| moves(&key(from), &key(to));
    let alone = |sql: &str| format!("BEGIN; {sql} COMMIT;");
    let delete = |number: u8| format!("DELETE FROM traffic_leads WHERE id = '{}';", key(number));
    vec![
        ("one key", moved(1, 101), vec![]),
        ("a chain in one transaction", alone(&(moved(1, 101) + &moved(101, 102))), vec![]),
        ("a chain in several", alone(&moved(1, 101)) + &alone(&moved(101, 102)), vec![]),
        ("there and back", alone(&moved(1, 101)) + &alone(&moved(101, 1)), vec![]),
        ("each takes the next one's key", alone(&(moved(3, 103) + &moved(2, 3) + &moved(1, 2))), vec![]),
        ("a swap", alone(&(moved(1, 101) + &moved(2, 1) + &moved(101, 2))), vec![]),
        ("a swap in three", alone(&moved(1, 101)) + &alone(&moved(2, 1)) + &alone(&moved(101, 2)), vec![]),
        ("a new row under the freed key", alone(&(moved(1, 101) + &born(&key(1), "new"))), vec![]),
        (
            "a new row under the freed key that moves on",
            alone(&(moved(1, 101) + &born(&key(1), "new"))) + &alone(&moved(1, 102)) + &alone(&moved(2, 1)),
            vec![],
        ),
        ("the key of a deleted row", alone(&(delete(10) + &moved(1, 10))), vec![10]),
        ("the key of a row deleted before", alone(&delete(10)) + &alone(&moved(1, 10)), vec![10]),
        ("a moved row is deleted", alone(&moved(10, 101)) + &alone(&delete(101)), vec![10]),
        (
            "a moved row is deleted, and its key taken",
            alone(&(moved(10, 101) + &delete(101) + &moved(1, 101) + &born(&key(1), "new"))),
            vec![10],
        ),
        (
            "a key of an entry, and its lead's",
            format!(
                "BEGIN; UPDATE traffic_lead_journey SET id = '{0}' WHERE id = '{1}'; {2} COMMIT;",
                key(101),
                key(1),
                moved(1, 101)
            ),
            vec![],
        ),
        ("changed besides", alone(&(moved(1, 101) + "UPDATE traffic_leads SET click_count = 9;")), vec![]),
    ]
}

async fn plays_every_history(rows: usize, may_switch_triggers: bool) {
    let world = World::new().await;
    leads(&world, 10).await;
    let bridge = least_privileged(&world).await.configured(&format!("[stream]\nbatch_rows = {rows}"));
    if !may_switch_triggers {
        landing(&world, "REVOKE SET ON PARAMETER session_replication_role FROM bridge").await;
    }
    let daemon = switched(&world, &bridge).await;
    daemon.terminate().await;
    landing(&world, OWN_TABLES).await;
    landing(&world, ONLY_HERE).await;
    landing(&world, "GRANT SELECT, UPDATE ON deals, calls, bills, reminders TO bridge").await;
    let keep = "CREATE TABLE kept_leads AS SELECT * FROM traffic_leads;
                CREATE TABLE kept_entries AS SELECT * FROM traffic_lead_journey";
    traffic(&world, keep).await;
    for (what, history, deleted) in histories() {
        let what = format!("{what}, in loads of {rows}, {may_switch_triggers}");
        traffic(&world, &format!("SET session_replication_role = origin; {history}")).await;
        bridge.catch_up().await;
        if may_switch_triggers {
            assert_back(&world, &[]).await;
        }
        assert_none_waits(&world, &what).await;
        assert_kept(&world, 10, &deleted, &what).await;
        // The next history begins with the same rows.
        let again = "DELETE FROM traffic_leads; INSERT INTO traffic_leads SELECT * FROM kept_leads;
                     INSERT INTO traffic_lead_journey SELECT * FROM kept_entries";
        landing(&world, "DELETE FROM bills").await;
        traffic(&world, "DELETE FROM traffic_leads").await;
        bridge.catch_up().await;
        traffic(&world, again).await;
        bridge.catch_up().await;
        let rows = "TRUNCATE deals, calls, bills, reminders;
            INSERT INTO deals SELECT id, name FROM landing_leads; INSERT INTO calls SELECT id, name FROM landing_leads;
            INSERT INTO bills SELECT id, name FROM landing_leads WHERE name NOT LIKE '%0';
            INSERT INTO reminders SELECT id, stage FROM journey_stages";
        landing(&world, rows).await;
        landing(&world, ONLY_HERE).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_key_keeps_what_refers_to_the_row_and_what_only_landing_has() {
    let world = World::new().await;
    leads(&world, 10).await;
    let bridge = Bridge::new(&world);
    let mut daemon = switched(&world, &bridge).await;
    landing(&world, OWN_TABLES).await;
    landing(&world, ONLY_HERE).await;
    traffic(&world, &moves(&id(1), OWN)).await;
    carried(&world, &mut daemon).await;
    assert_back(&world, &[]).await;
    assert_none_waits(&world, "one key").await;
    assert_kept(&world, 10, &[], "one key").await;
    let spelled = format!("amocrm_lead_id = '001' FROM landing_leads WHERE id = '{OWN}'");
    assert!(holds(&world.landing().await, &spelled).await);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chains_swaps_and_reused_keys_end_exact_in_one_load() {
    plays_every_history(5000, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chains_swaps_and_reused_keys_end_exact_in_transactions_larger_than_a_load() {
    plays_every_history(1, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chains_swaps_and_reused_keys_end_exact_where_triggers_cannot_be_switched_off() {
    plays_every_history(5000, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_is_carried_twice_changes_its_keys_once() {
    for point in [
        Point::ReverseKeyMoved,
        Point::ReverseWritten,
        Point::ReverseCommitted,
        Point::ReverseReleased,
        Point::ReverseRecorded,
    ] {
        let world = World::new().await;
        leads(&world, 10).await;
        let bridge = Bridge::new(&world);
        switched(&world, &bridge).await.terminate().await;
        landing(&world, OWN_TABLES).await;
        landing(&world, ONLY_HERE).await;
        // A key is freed, taken by a lead that is deleted, taken by another lead, and freed again.
        let first = moves(&id(1), OWN)
            + &born(&id(1), "new")
            + &format!("DELETE FROM traffic_leads WHERE id = '{}';", id(1))
            + &moves(&id(2), &id(1));
        traffic(&world, &first).await;
        dies(&bridge, point).await;
        until_holds(&world.traffic().await, "NOT bool_or(active) FROM pg_replication_slots").await;
        traffic(&world, &(moves(&id(1), LATER) + &born(&id(1), "last"))).await;
        bridge.catch_up().await;
        assert_back(&world, &[]).await;
        assert_none_waits(&world, point.name()).await;
        assert_kept(&world, 10, &[], point.name()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_landing_refuses_waits_and_nothing_is_deleted() {
    let world = World::new().await;
    leads(&world, 10).await;
    let bridge = least_privileged(&world).await;
    let mut daemon = switched(&world, &bridge).await;
    landing(&world, OWN_TABLES).await;
    landing(&world, ONLY_HERE).await;
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
    assert_kept(&world, 10, &[], "refused").await;
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
    assert_kept(&world, 10, &[], "refused again").await;
    daemon.terminate().await;
    // Killed and started again, the row still waits.
    bridge.catch_up().await;
    assert!(holds(&traffic_side, &waits).await);
    assert_kept(&world, 10, &[], "refused at a start").await;
    landing(&world, "GRANT SELECT, UPDATE ON deals, calls, bills, reminders TO bridge").await;
    bridge.catch_up().await;
    assert_back(&world, &[]).await;
    assert_none_waits(&world, "granted").await;
    assert_kept(&world, 10, &[], "granted").await;
    assert!(holds(&on_landing, &format!("name = 'new' FROM landing_leads WHERE id = '{}'", id(1))).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_under_a_refused_key_goes_home_or_is_deleted() {
    let world = World::new().await;
    leads(&world, 10).await;
    let bridge = Bridge::new(&world);
    let mut daemon = switched(&world, &bridge).await;
    landing(&world, OWN_TABLES).await;
    landing(&world, ONLY_HERE).await;
    landing(&world, &format!("ALTER TABLE landing_leads ADD CHECK (id NOT IN ('{OWN}', '{LATER}'))")).await;
    traffic(&world, &(moves(&id(1), OWN) + &moves(&id(10), LATER))).await;
    carried(&world, &mut daemon).await;
    assert!(holds(&world.landing().await, "count(*) = 2 FROM leadbridge.held_keys").await);
    assert!(differences_back(&world, &[]).await.len() > 1);
    assert_kept(&world, 10, &[], "refused").await;
    let both = format!("{} DELETE FROM traffic_leads WHERE id = '{LATER}'", moves(OWN, &id(1)));
    traffic(&world, &both).await;
    carried(&world, &mut daemon).await;
    assert_back(&world, &[]).await;
    assert_none_waits(&world, "home").await;
    assert_kept(&world, 10, &[10], "home").await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_key_with_on_update_cascade_needs_no_right_on_its_table() {
    let world = World::new().await;
    leads(&world, 3).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_a_lead_of_traffics_own_changes_nothing_on_landing() {
    let world = World::new().await;
    leads(&world, 3).await;
    let bridge = Bridge::new(&world);
    let mut daemon = switched(&world, &bridge).await;
    tamper(&world, &format!("INSERT INTO landing_leads (id, name, phone) VALUES ('{OWN}', 'other', '1')"))
        .await;
    let own = format!(
        "INSERT INTO traffic_leads (id, name, phone, fb_lead_id) VALUES ('{OWN}', 'form', '9', 'fb');
         UPDATE traffic_leads SET id = '{LATER}', name = 'changed' WHERE id = '{OWN}'"
    );
    traffic(&world, &own).await;
    carried(&world, &mut daemon).await;
    let client = world.landing().await;
    assert!(holds(&client, &format!("name = 'other' FROM landing_leads WHERE id = '{OWN}'")).await);
    assert!(holds(&client, "count(*) = 4 FROM landing_leads").await);
    assert_none_waits(&world, "stays").await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_refers_to_the_old_key_when_the_key_changes_is_not_left_behind() {
    let world = World::new().await;
    leads(&world, 3).await;
    let bridge = Bridge::new(&world);
    let mut daemon = switched(&world, &bridge).await;
    landing(&world, OWN_TABLES).await;
    landing(&world, ONLY_HERE).await;
    // Not yet committed when the daemon changes the key.
    let mut writer = world.landing().await;
    let late = writer.transaction().await.unwrap();
    late.batch_execute(&format!("INSERT INTO deals VALUES ('{}', 'lead 1')", id(1))).await.unwrap();
    traffic(&world, &moves(&id(1), OWN)).await;
    let waits = "count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name LIKE 'leadbridge%'";
    until_holds(&world.landing().await, waits).await;
    late.commit().await.unwrap();
    carried(&world, &mut daemon).await;
    let both = format!("count(*) = 2 FROM deals WHERE lead_id = '{OWN}'");
    assert!(holds(&world.landing().await, &both).await);
    assert_back(&world, &[]).await;
    daemon.terminate().await;
}
