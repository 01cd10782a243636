//! Leads that were imported into Traffic before the first copy: with Landing's ids, or with new ids.

use uuid::Uuid;

use crate::testkit::{
    Bridge, Said, World, assert_equal, assert_refused, caught_up_and_equal, holds, landing, one, traffic,
};

const LANDING_WINS: &str = "[snapshot]\nsame_id = \"landing\"";

/// Two ids of leads on Landing.
const KNOWN: [&str; 2] = ["11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"];

/// Two imported leads with the ids of [`KNOWN`], and a lead from a Facebook form, which Landing does not have.
async fn imported(world: &World) {
    let [first, second] = KNOWN;
    landing(
        world,
        &format!(
            "INSERT INTO landing_leads (id, name, phone, email, email_sent, source) VALUES
                 ('{first}', 'Айгерим', '+7 701 1', 'a@landing.example', false, 'twland'),
                 ('{second}', 'Болат', '+7 701 2', NULL, false, 'twland')"
        ),
    )
    .await;
    traffic(
        world,
        &format!(
            "INSERT INTO traffic_leads (id, name, phone, email, email_sent, status, amocrm_pipeline_id) VALUES
                 ('{first}', 'Тайна', '+7 701 1', 'secret@traffic.example', true, 'converted', 7),
                 ('{second}', 'Болат', '+7 701 2', NULL, false, 'lost', NULL);
             INSERT INTO traffic_leads (name, phone, fb_lead_id) VALUES ('form', '+7 777 000', 'fb-1')"
        ),
    )
    .await;
}

async fn doctor(bridge: &Bridge) -> Said {
    let said = bridge.run(&["doctor"]).await;
    assert_nobody_is_shown(&said);
    said
}

fn assert_nobody_is_shown(said: &Said) {
    for person in ["Тайна", "traffic.example", "landing.example", "Болат", "+7 701", "+7 777"] {
        assert!(
            !said.out.contains(person) && !said.err.contains(person),
            "{person}: {}{}",
            said.out,
            said.err
        );
    }
}

/// The ids that the query after "to list them on Traffic" gives.
async fn listed(world: &World, text: &str) -> Vec<String> {
    let (_, query) = text.split_once("to list them on Traffic: ").expect("a query");
    let query = query.lines().next().unwrap();
    let rows = world.traffic().await.query(query, &[]).await.unwrap();
    let mut ids: Vec<_> = rows.iter().map(|row| row.get::<_, Uuid>(0).to_string()).collect();
    ids.sort();
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn leads_imported_with_landings_ids_are_refused_before_anything_is_changed() {
    let world = World::new().await;
    world.fill(131, 20).await;
    imported(&world).await;
    let bridge = Bridge::new(&world);
    let words = ["the id of a lead on Landing: 2;", "overwrite", "same_id = \"landing\"", "SELECT id"];
    let examined = doctor(&bridge).await;
    assert_eq!(examined.code, 1, "{}", examined.out);
    for word in words {
        assert!(examined.out.contains(word), "{word}: {}", examined.out);
    }
    let json = bridge.run(&["doctor", "--json"]).await.out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let found: Vec<_> = json["findings"].as_array().unwrap().iter().collect();
    let found: Vec<_> = found.iter().filter(|finding| finding["check"] == "earlier_imports").collect();
    assert_eq!((found.len(), &found[0]["level"], &found[0]["side"]), (1, &"error".into(), &"traffic".into()));
    for command in [&["run"][..], &["run", "--until-caught-up"], &["resync", "--yes"]] {
        let said = bridge.run(command).await;
        assert_refused(&said, &words);
        assert_nobody_is_shown(&said);
        assert_eq!(listed(&world, &said.err).await, KNOWN);
    }
    assert!(holds(&world.landing().await, "count(*) = 0 FROM pg_replication_slots").await);
    let untouched = "(SELECT count(*) = 3 AND bool_and(landing_synced_at IS NULL) FROM traffic_leads)
        AND (SELECT count(*) = 0 FROM leadbridge.checkpoint)";
    assert!(holds(&world.traffic().await, untouched).await);

    // A first copy is complete: a resync asks again, because somebody has imported since.
    traffic(&world, &format!("DELETE FROM traffic_leads WHERE id IN ('{}', '{}')", KNOWN[0], KNOWN[1])).await;
    assert!(
        doctor(&bridge).await.out.contains("Traffic holds no lead of Landing that leadbridge did not bring")
    );
    bridge.catch_up().await;
    assert!(!doctor(&bridge).await.out.contains("did not bring"), "no copy is ahead");
    let before: String =
        one(&world.traffic().await, "SELECT applied_lsn::text FROM leadbridge.checkpoint").await;
    traffic(&world, &format!("UPDATE traffic_leads SET landing_synced_at = NULL WHERE id = '{}'", KNOWN[0]))
        .await;
    assert_refused(&bridge.run(&["resync", "--yes"]).await, &["the id of a lead on Landing: 1;"]);
    let streaming = format!("state = 'streaming' AND applied_lsn = '{before}' FROM leadbridge.checkpoint");
    assert!(holds(&world.traffic().await, &streaming).await, "nothing was begun");
}

#[tokio::test(flavor = "multi_thread")]
async fn landings_values_win_where_that_is_configured_and_traffics_are_kept_as_notes() {
    let world = World::new().await;
    // Enough leads for a COPY, which must give way to upserts.
    world.fill(132, 300).await;
    imported(&world).await;
    let bridge = Bridge::new(&world).configured(LANDING_WINS);
    let examined = doctor(&bridge).await;
    assert_eq!(examined.code, 0, "{}", examined.out);
    assert!(examined.out.contains("the copy gives them Landing's values"), "{}", examined.out);
    assert_eq!(listed(&world, &examined.out).await, KNOWN);

    let mut daemon = bridge.daemon().await;
    daemon.caught_up(&world).await;
    assert!(daemon.log().contains("the copy gives them Landing's values"), "{}", daemon.log());
    assert_equal(&world).await;
    let client = world.traffic().await;
    let [first, second] = KNOWN;
    let owned = format!(
        "(SELECT (status, amocrm_pipeline_id, name, email_sent) = ('converted', 7, 'Айгерим', false)
              FROM traffic_leads WHERE id = '{first}')
         AND (SELECT status = 'lost' FROM traffic_leads WHERE id = '{second}')"
    );
    assert!(holds(&client, &owned).await);
    // Each value of Traffic that is not null and differed; the times and what the trigger derived differ, too.
    let notes = format!(
        "(SELECT jsonb_object_agg(column_name, original) @> '{{\"name\": \"Тайна\", \"email\": \"secret@traffic.example\",
                  \"email_sent\": \"true\", \"source\": \"facebook\"}}'
              AND NOT jsonb_object_agg(column_name, original) ?| ARRAY['phone', 'sms_sent', 'metadata', 'status']
              AND jsonb_object_agg(column_name, original) ?& ARRAY['created_at', 'updated_at']
              AND bool_and(reason = 'Traffic''s own value before the first copy' AND lsn IS NOT NULL)
          FROM leadbridge.conversion_notes WHERE source_table = 'traffic_leads' AND row_id = '{first}')
         AND (SELECT count(*) = 0 FROM leadbridge.conversion_notes WHERE source_table = 'traffic_leads'
                  AND row_id = '{second}' AND column_name IN ('name', 'email', 'email_sent', 'phone'))
         AND (SELECT count(DISTINCT row_id) = 2 FROM leadbridge.conversion_notes WHERE source_table = 'traffic_leads')"
    );
    assert!(holds(&client, &notes).await);

    // The notes stay after changes of the lead, of its number, and after a resync.
    let change =
        "UPDATE landing_leads SET name = 'Айгерим Т', amocrm_lead_id = 'x' WHERE email = 'a@landing.example'";
    landing(&world, change).await;
    caught_up_and_equal(&world, &mut daemon).await;
    assert!(holds(&client, &notes).await, "after a change");
    daemon.terminate().await;
    let resync = bridge.run(&["resync", "--yes"]).await;
    assert_eq!(resync.code, 0, "{}", resync.err);
    assert!(holds(&client, &notes).await, "after a resync");
    // The notes go with the row, and follow its key.
    let mut daemon = bridge.daemon().await;
    landing(
        &world,
        &format!(
            "UPDATE landing_leads SET id = '33333333-3333-4333-8333-333333333333' WHERE id = '{first}';
        DELETE FROM landing_leads WHERE id = '{second}'"
        ),
    )
    .await;
    caught_up_and_equal(&world, &mut daemon).await;
    let kept = "bool_and(row_id = '33333333-3333-4333-8333-333333333333') FROM leadbridge.conversion_notes
        WHERE source_table = 'traffic_leads'";
    assert!(holds(&client, kept).await);
    daemon.terminate().await;
    landing(&world, "DELETE FROM landing_leads").await;
    assert_eq!(bridge.run(&["resync", "--yes"]).await.code, 0);
    assert!(holds(&client, "count(*) = 0 FROM leadbridge.conversion_notes").await);
}

/// People of Landing under other ids, and leads that are nobody's double.
async fn imported_under_other_ids(world: &World) -> Vec<String> {
    // More leads than one statement reads on Landing.
    landing(
        world,
        "INSERT INTO landing_leads (name, phone, email, metadata)
             SELECT 'n', '+7 (705) ' || n, n || '@landing.example', jsonb_build_object('answers', repeat('x', 1000))
             FROM generate_series(100001, 110001) AS n;
         INSERT INTO landing_leads (name, phone, email) VALUES ('n', 'unknown', ''), ('n', '', '')",
    )
    .await;
    traffic(
        world,
        "INSERT INTO traffic_leads (name, phone, email, status) VALUES ('Тайна', '+7705100001', NULL, 'qualified'),
             ('n', '+7-705-110-001', 'other@traffic.example', 'new'), ('n', NULL, '105000@landing.example', 'new');
         CREATE TABLE doubles AS SELECT id FROM traffic_leads;
         INSERT INTO traffic_leads (name, phone, email) VALUES ('form', '+7 777 000', 'f@traffic.example'),
             ('n', 'none', ''), ('n', '', NULL), ('n', '7705100001', '105000@LANDING.example');
         INSERT INTO traffic_leads (name, phone, landing_lead) VALUES ('born through the old name', '+7705100001', true)",
    )
    .await;
    one(&world.traffic().await, "SELECT array_agg(id::text ORDER BY id) FROM doubles").await
}

/// A block of SQL of docs/imports.md that contains `words`.
fn documented(words: &str) -> &'static str {
    let page = include_str!("../../../docs/imports.md");
    let blocks = page.split("```sql\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.into_iter().find(|block| block.contains(words)).expect(words)
}

#[tokio::test(flavor = "multi_thread")]
async fn people_of_landing_under_other_ids_are_listed_and_can_be_merged_after_the_copy() {
    let world = World::new().await;
    let doubles = imported_under_other_ids(&world).await;
    let bridge = Bridge::new(&world);
    let words = "the phone or the e-mail of a lead on Landing under another id: 3;";
    let examined = doctor(&bridge).await;
    assert_eq!(examined.code, 0, "{}", examined.out);
    assert!(examined.out.contains(words), "{}", examined.out);
    assert_eq!(listed(&world, &examined.out).await, doubles);
    let said = bridge.run(&["run", "--until-caught-up"]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.err.contains(words), "{}", said.err);
    assert_nobody_is_shown(&said);
    assert_equal(&world).await;

    let own = "(SELECT id FROM traffic_leads WHERE status = 'qualified')";
    traffic(
        &world,
        &format!(
            "INSERT INTO traffic_sales (lead_id, amount) VALUES ({own}, 10);
             INSERT INTO traffic_lead_journey (lead_id, stage) VALUES ({own}, 'payment_kaspi')"
        ),
    )
    .await;
    let client = world.traffic().await;
    client.batch_execute(documented("CREATE TEMPORARY TABLE pairs")).await.unwrap();
    let pairs =
        "(SELECT array_agg(goes ORDER BY goes) FROM pairs) = (SELECT array_agg(id ORDER BY id) FROM doubles)";
    assert!(holds(&client, pairs).await);
    client.batch_execute(documented("UPDATE traffic_sales")).await.unwrap();
    let merged = "(SELECT count(*) = 0 FROM traffic_leads JOIN doubles USING (id))
        AND (SELECT l.status = 'qualified' AND l.email = '100001@landing.example'
             FROM traffic_sales s JOIN traffic_leads l ON l.id = s.lead_id)
        AND (SELECT l.email = '100001@landing.example' FROM traffic_lead_journey j JOIN traffic_leads l ON l.id = j.lead_id
             WHERE j.stage = 'payment_kaspi')";
    assert!(holds(&client, merged).await);
    // The lead that took over the status has a new updated_at, until its next change on Landing.
    assert_eq!(bridge.run(&["verify", "--wait", "0s"]).await.code, 0);
    landing(&world, "UPDATE landing_leads SET name = 'm' WHERE email = '100001@landing.example'").await;
    bridge.catch_up().await;
    assert_equal(&world).await;
    client.batch_execute(documented("original = 'true'")).await.unwrap();
    client.batch_execute(documented("j.landing_synced_at IS NULL")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn imports_are_counted_before_the_schema_knows_whose_a_lead_is() {
    let world = World::unmigrated().await;
    landing(
        &world,
        &format!("INSERT INTO landing_leads (id, name, phone) VALUES ('{}', 'Болат', '+7 701 2')", KNOWN[0]),
    )
    .await;
    traffic(
        &world,
        &format!("INSERT INTO traffic_leads (id, name, phone) VALUES ('{}', 'Болат', '+7 701 2')", KNOWN[0]),
    )
    .await;
    let examined = doctor(&Bridge::new(&world)).await;
    assert!(examined.out.contains("the id of a lead on Landing: 1;"), "{}", examined.out);
    assert_eq!(listed(&world, &examined.out).await, KNOWN[..1]);
}
