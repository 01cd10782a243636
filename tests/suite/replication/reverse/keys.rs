//! A key that changes on Traffic stays the row on Landing: what refers to the row, and what only Landing has, follows.

use leadbridge::failpoint::Point;
use leadbridge::migrate::MigrateOptions;

use super::compare::tamper;
use super::exact::assert_back;
use super::killpoints::dies;
use super::rows::switched;
use super::switch::carried;
use crate::testkit::{Bridge, Daemon, World, holds, landing, least_privileged, one, traffic, until_holds};

pub const OWN: &str = "00000000-0000-0000-0000-0000000000f1";
pub const LATER: &str = "00000000-0000-0000-0000-0000000000f2";

/// The key with a number.
pub fn id(number: u16) -> String {
    format!("00000000-0000-0000-0000-00000000{number:04x}")
}

/// Leads with these numbers and the names `lead N`, each with a journey entry of the same key. Odd ones have a number in
/// AmoCRM, which is unique.
pub async fn leads(world: &World, numbers: impl IntoIterator<Item = u16>) {
    let sql: String = numbers
        .into_iter()
        .map(|number| {
            format!(
                "INSERT INTO landing_leads (id, name, phone, phone_normalized, amocrm_lead_id)
                     VALUES ('{0}', 'lead {number}', '{number}', '{number}', CASE {number} % 2 WHEN 1 THEN '00{number}' END);
                 INSERT INTO journey_stages (id, lead_id, stage) VALUES ('{0}', '{0}', 'stage {number}');",
                id(number)
            )
        })
        .collect();
    landing(world, &sql).await;
}

/// User-defined tables on Landing whose rows a delete of a lead or of an entry would remove, empty or forbid, and a
/// column that only Landing has. Each row is marked with its lead's name or its entry's stage. A bill forbids to delete
/// its lead, and leads with a number that ends in 9 have none.
const OWN_TABLES: &str =
    "CREATE TABLE deals (lead_id uuid REFERENCES landing_leads ON DELETE CASCADE, of text);
    CREATE TABLE calls (lead_id uuid REFERENCES landing_leads ON DELETE SET NULL ON UPDATE SET NULL, of text);
    CREATE TABLE bills (lead_id uuid REFERENCES landing_leads ON UPDATE RESTRICT, of text);
    CREATE TABLE reminders (entry_id uuid REFERENCES journey_stages ON DELETE CASCADE, of text);
    INSERT INTO deals SELECT id, name FROM landing_leads;
    INSERT INTO calls SELECT id, name FROM landing_leads;
    INSERT INTO bills SELECT id, name FROM landing_leads WHERE name NOT LIKE '%9';
    INSERT INTO reminders SELECT id, stage FROM journey_stages;
    ALTER TABLE landing_leads ADD COLUMN only_here text;";

/// Fills the column that only Landing has, as the fence's writer.
const ONLY_HERE: &str = "SET session_replication_role = replica; SET leadbridge.passes_fence = on;
    DO $do$ BEGIN EXECUTE format('SET SESSION AUTHORIZATION %I', (SELECT writer FROM leadbridge.fence)); END $do$;
    UPDATE landing_leads SET only_here = name";

/// Makes the tables of [`OWN_TABLES`] and fills them from Landing's rows.
pub async fn own_tables(world: &World) {
    landing(world, OWN_TABLES).await;
    landing(world, ONLY_HERE).await;
}

/// Leads with rows of other tables that refer to them, after a switch, with a daemon that carries changes back.
pub async fn referred(count: u16) -> (World, Bridge, Daemon) {
    let world = World::new().await;
    leads(&world, 1..=count).await;
    let bridge = Bridge::new(&world);
    let daemon = switched(&world, &bridge).await;
    own_tables(&world).await;
    (world, bridge, daemon)
}

/// A lead's key changes, and its entries follow.
pub fn moves(from: &str, to: &str) -> String {
    format!(
        "WITH entries AS (UPDATE traffic_lead_journey SET lead_id = '{to}' WHERE lead_id = '{from}')
             UPDATE traffic_leads SET id = '{to}' WHERE id = '{from}';"
    )
}

/// As [`moves`], but the entries change first, as without checks of foreign keys.
fn moves_after_its_entries(from: &str, to: &str) -> String {
    format!(
        "SET LOCAL session_replication_role = replica;
         UPDATE traffic_lead_journey SET lead_id = '{to}' WHERE lead_id = '{from}';
         UPDATE traffic_leads SET id = '{to}' WHERE id = '{from}';
         SET LOCAL session_replication_role = origin;"
    )
}

pub fn born(id: &str, name: &str) -> String {
    format!(
        "INSERT INTO traffic_leads (id, name, phone, landing_source) VALUES ('{id}', '{name}', '7', 'twland');"
    )
}

/// Every one of the `count` leads, but the deleted ones, still has its rows.
pub async fn assert_kept(world: &World, count: usize, deleted: &[u16], what: &str) {
    let gone: Vec<String> = deleted.iter().map(|number| format!("'lead {number}'")).collect();
    let gone = if gone.is_empty() { "''".to_owned() } else { gone.join(", ") };
    let client = world.landing().await;
    let left = count - deleted.len();
    let lost = |table: &str| {
        format!(
            "SELECT string_agg(t.of, ', ') FROM {table} AS t LEFT JOIN landing_leads AS l ON l.id = t.lead_id
             WHERE (t.of = l.name AND l.only_here = l.name) IS NOT TRUE AND t.of NOT IN ({gone})"
        )
    };
    for table in ["deals", "calls", "bills"] {
        assert_eq!(one::<Option<String>>(&client, &lost(table)).await, None, "{table}: {what}");
    }
    assert!(holds(&client, &format!("count(*) = {left} FROM deals")).await, "{what}");
    let calls = format!("count(*) = {} FROM calls WHERE lead_id IS NULL", deleted.len());
    assert!(holds(&client, &calls).await, "{what}");
    let entries = format!(
        "count(*) = {left} AND bool_and(t.of = j.stage AND l.name = replace(j.stage, 'stage', 'lead'))
             FROM reminders AS t JOIN journey_stages AS j ON j.id = t.entry_id
             JOIN landing_leads AS l ON l.id = j.lead_id"
    );
    assert!(holds(&client, &entries).await, "{what}");
}

pub async fn assert_none_waits(world: &World, what: &str) {
    let traffic = world.traffic().await;
    assert!(holds(&traffic, "count(*) = 0 FROM leadbridge.reverse_quarantine").await, "{what}");
    assert!(holds(&world.landing().await, "count(*) = 0 FROM leadbridge.held_keys").await, "{what}");
}

/// Transactions in which the keys of leads 1, 2, 3 and 9 change, with `key` for the key of a number. Whether lead 9 is
/// deleted, too.
fn histories(key: impl Fn(u16) -> String) -> Vec<(String, bool)> {
    let moved = |from: u16, to: u16| moves(&key(from), &key(to));
    let alone = |sql: &str| format!("BEGIN; {sql} COMMIT;");
    let delete = |number: u16| format!("DELETE FROM traffic_leads WHERE id = '{}';", key(number));
    let entry = format!("UPDATE traffic_lead_journey SET id = '{}' WHERE id = '{}';", key(11), key(1));
    let new = born(&key(1), "new");
    vec![
        (moved(1, 11), false),
        // Chains, in one transaction and in several, and back.
        (alone(&(moved(1, 11) + &moved(11, 12))), false),
        (alone(&moved(1, 11)) + &alone(&moved(11, 12)), false),
        (alone(&moved(1, 11)) + &alone(&moved(11, 1)), false),
        (alone(&(moved(3, 13) + &moved(2, 3) + &moved(1, 2))), false),
        // Swaps.
        (alone(&(moved(1, 11) + &moved(2, 1) + &moved(11, 2))), false),
        (alone(&moved(1, 11)) + &alone(&moved(2, 1)) + &alone(&moved(11, 2)), false),
        // A new row under the freed key, which moves on, too.
        (alone(&(moved(1, 11) + &new)), false),
        (alone(&(moved(1, 11) + &new)) + &alone(&moved(1, 12)) + &alone(&moved(2, 1)), false),
        // The key of a deleted row.
        (alone(&(delete(9) + &moved(1, 9))), true),
        (alone(&delete(9)) + &alone(&moved(1, 9)), true),
        (alone(&moved(9, 11)) + &alone(&delete(11)), true),
        (alone(&(moved(9, 11) + &delete(11) + &moved(1, 11) + &new)), true),
        // Read ahead of the change of the key: the entry's lead is on Landing under the earlier key.
        (alone(&moves_after_its_entries(&key(1), &key(11))), false),
        (
            alone(
                &(moves_after_its_entries(&key(2), &key(12)) + &moves_after_its_entries(&key(12), &key(14))),
            ),
            false,
        ),
        // Other changes besides.
        (alone(&(entry + &moved(1, 11))), false),
        (
            alone(
                &(moved(1, 11)
                    + &format!("UPDATE traffic_leads SET click_count = 9 WHERE id = '{}';", key(11))),
            ),
            false,
        ),
    ]
}

/// Plays each history with leads of its own, and carries all at once.
async fn plays_every_history(settings: &str, may_switch_triggers: bool) {
    let number = |history: usize, number: u16| u16::try_from(history).unwrap() * 20 + number;
    let count = histories(id).len();
    let world = World::new().await;
    let all = (0..count).flat_map(|history| [1, 2, 3, 9].map(|lead| number(history, lead)));
    leads(&world, all).await;
    let bridge = least_privileged(&world).await.configured(settings);
    if !may_switch_triggers {
        landing(&world, "REVOKE SET ON PARAMETER session_replication_role FROM bridge").await;
    }
    switched(&world, &bridge).await.terminate().await;
    own_tables(&world).await;
    landing(&world, "GRANT SELECT, UPDATE ON deals, calls, bills, reminders TO bridge").await;
    let mut deleted = Vec::new();
    for history in 0..count {
        let (sql, deletes) = histories(|lead| id(number(history, lead))).swap_remove(history);
        traffic(&world, &sql).await;
        deleted.extend(deletes.then_some(number(history, 9)));
    }
    bridge.catch_up().await;
    // Where triggers fire, Landing stamps `updated_at`.
    if may_switch_triggers {
        assert_back(&world, &[]).await;
    }
    assert_none_waits(&world, settings).await;
    assert_kept(&world, count * 4, &deleted, settings).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_key_keeps_what_refers_to_the_row_and_what_only_landing_has() {
    let (world, _bridge, mut daemon) = referred(9).await;
    traffic(&world, &moves(&id(1), OWN)).await;
    carried(&world, &mut daemon).await;
    assert_back(&world, &[]).await;
    assert_none_waits(&world, "one key").await;
    assert_kept(&world, 9, &[], "one key").await;
    let spelled = format!("amocrm_lead_id = '001' FROM landing_leads WHERE id = '{OWN}'");
    assert!(holds(&world.landing().await, &spelled).await);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chains_swaps_and_reused_keys_end_exact_in_one_load() {
    plays_every_history("", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chains_swaps_and_reused_keys_end_exact_in_transactions_larger_than_a_load() {
    plays_every_history("[stream]\nbatch_rows = 1", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chains_swaps_and_reused_keys_end_exact_where_triggers_cannot_be_switched_off() {
    plays_every_history("", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_is_carried_twice_changes_its_keys_once() {
    let points = [
        Point::ReverseKeyMoved,
        Point::ReverseWritten,
        Point::ReverseCommitted,
        Point::ReverseReleased,
        Point::ReverseRecorded,
    ];
    let world = World::new().await;
    let number = |round: u16, number: u16| round * 20 + number;
    leads(&world, (0..5).flat_map(|round| [1, 2, 3].map(|lead| number(round, lead)))).await;
    let bridge = Bridge::new(&world);
    switched(&world, &bridge).await.terminate().await;
    own_tables(&world).await;
    for (round, point) in (0..).zip(points) {
        let key = |lead: u16| id(number(round, lead));
        // A key is freed, taken by a lead that is deleted, taken by another lead, and freed again.
        let first = moves(&key(1), &key(11))
            + &born(&key(1), "new")
            + &format!("DELETE FROM traffic_leads WHERE id = '{}';", key(1))
            + &moves(&key(2), &key(1));
        traffic(&world, &first).await;
        dies(&bridge, point).await;
        until_holds(&world.traffic().await, "NOT bool_or(active) FROM pg_replication_slots").await;
        traffic(&world, &(moves(&key(1), &key(12)) + &born(&key(1), "last"))).await;
        bridge.catch_up().await;
        assert_back(&world, &[]).await;
        assert_none_waits(&world, point.name()).await;
        assert_kept(&world, 15, &[], point.name()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_a_lead_of_traffics_own_changes_nothing_on_landing() {
    let world = World::new().await;
    leads(&world, 1..=3).await;
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
    let (world, _bridge, mut daemon) = referred(3).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_of_an_earlier_version_is_ready_after_migrate() {
    let world = World::new().await;
    leads(&world, 1..=3).await;
    let bridge = least_privileged(&world).await;
    switched(&world, &bridge).await.terminate().await;
    let earlier =
        "DROP TABLE leadbridge.changed_keys, leadbridge.held_keys; COMMENT ON TABLE leadbridge.fence IS NULL";
    landing(&world, earlier).await;
    let earlier = "ALTER TABLE leadbridge.reverse_quarantine DROP COLUMN is_delete;
                   UPDATE leadbridge.migrations SET checksum = '' WHERE name = '020_cutover'";
    traffic(&world, earlier).await;
    let refused = bridge.run(&["run", "--until-caught-up"]).await;
    assert_eq!(refused.code, 4, "{}", refused.err);
    // Either side may be named first.
    let missing = ["changed_keys", "reverse_quarantine.is_delete"];
    assert!(missing.iter().any(|missing| refused.err.contains(missing)), "{}", refused.err);
    assert!(refused.err.contains("leadbridge migrate"), "{}", refused.err);
    world.migrate(&MigrateOptions::default()).await;
    traffic(&world, &moves(&id(1), OWN)).await;
    bridge.catch_up().await;
    assert_back(&world, &[]).await;
    assert_none_waits(&world, "migrated").await;
}
