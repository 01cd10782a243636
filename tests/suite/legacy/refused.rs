//! What `migrate --legacy` refuses, and what it names.

use leadbridge::migrate::{MigrateOptions, migrate};

use super::{as_announced, legacy, step};
use crate::access::platform::findings;
use crate::testkit::{Bridge, World, holds, landing, traffic};

async fn refused(world: &World, options: &MigrateOptions) -> (String, String) {
    let (mut landing, mut traffic) = (world.landing().await, world.traffic().await);
    let error = migrate(&mut landing, &mut traffic, &world.names, options).await.unwrap_err();
    (error.message(), error.remedy_text().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn an_object_of_the_schools_own_under_a_legacy_name_is_refused_and_stays() {
    let world = World::new().await;
    traffic(&world, "CREATE VIEW lead_journey AS SELECT 1 AS one").await;
    let (message, remedy) = refused(&world, &legacy()).await;
    assert!(message.contains("the view public.lead_journey is not as leadbridge makes it"), "{message}");
    assert!(remedy.contains("DROP VIEW public.lead_journey"), "{remedy}");
    let client = world.traffic().await;
    assert!(holds(&client, "one = 1 AND to_regclass('landing_leads') IS NULL FROM lead_journey").await);
    traffic(&world, "DROP VIEW lead_journey; CREATE TABLE landing_leads (id int)").await;
    let (message, _) = refused(&world, &legacy()).await;
    assert!(message.contains("public.landing_leads is the name of a table"), "{message}");
    traffic(&world, "DROP TABLE landing_leads").await;
    as_announced(&world, &legacy()).await;
    // A view that somebody has changed since is not replaced either.
    traffic(&world, "ALTER VIEW landing_leads RESET (security_invoker)").await;
    let (message, _) = refused(&world, &legacy()).await;
    assert!(message.contains("the view public.landing_leads is not as leadbridge makes it"), "{message}");
}

#[tokio::test]
async fn numbers_that_leads_of_landing_share_are_refused_and_those_of_traffics_own_leads_are_cleared() {
    let world = World::new().await;
    let rows = "SET leadbridge.applying = 'on';
        INSERT INTO traffic_leads (name, amocrm_lead_id, landing_amocrm_lead_id, landing_synced_at, updated_at) VALUES
            ('a', 7, '7', now(), '2024-01-01'), ('b', 7, '7', now(), '2024-01-01'), ('own', 7, '7', NULL, '2024-01-01')";
    traffic(&world, rows).await;
    let (message, remedy) = refused(&world, &legacy()).await;
    assert!(
        message.contains("leads have the same landing_amocrm_lead_id, which is unique on Landing"),
        "{message}"
    );
    let query = remedy.split_once("again: ").unwrap().1;
    let shown = world.traffic().await.query(query, &[]).await.unwrap();
    assert_eq!((shown.len(), shown[0].get::<_, i64>(1)), (1, 2), "{query}");
    traffic(&world, "SET leadbridge.applying = 'on'; UPDATE traffic_leads SET landing_amocrm_lead_id = '8' WHERE name = 'b'").await;
    let report = as_announced(&world, &legacy()).await;
    let clears =
        "clears landing_amocrm_lead_id and landing_amocrm_contact_id of the leads that are Traffic's own: 1";
    assert!(step(&report).changes.contains(&clears.to_owned()), "{report}");
    let client = world.traffic().await;
    let kept = "bool_and(amocrm_lead_id = 7 AND updated_at = '2024-01-01') AND count(landing_amocrm_lead_id) = 2 FROM traffic_leads";
    assert!(holds(&client, kept).await, "the number and the time of the last change stay");
    let error = client
        .batch_execute("INSERT INTO landing_leads (name, phone, amocrm_lead_id) VALUES ('c', '1', '7')")
        .await
        .unwrap_err();
    assert_eq!(error.code().unwrap().code(), "23505");
}

#[tokio::test]
async fn columns_defaults_and_keys_that_traffic_cannot_have_are_named() {
    let world = World::new().await;
    landing(
        &world,
        "CREATE SEQUENCE ticket; CREATE TYPE mood AS ENUM ('calm', 'warm');
         CREATE FUNCTION uuid_generate_v4() RETURNS uuid LANGUAGE sql AS 'SELECT gen_random_uuid()';
         ALTER TABLE landing_leads ADD ticket bigint DEFAULT nextval('ticket'), ADD mood mood DEFAULT 'warm',
             ADD twice text GENERATED ALWAYS AS (name || name) STORED, ALTER id SET DEFAULT public.uuid_generate_v4();
         CREATE UNIQUE INDEX one_email ON landing_leads (email);
         CREATE UNIQUE INDEX some_tickets ON landing_leads (ticket) WHERE ticket > 0",
    )
    .await;
    let report = as_announced(&world, &legacy()).await;
    let notes = step(&report).notes.join("\n");
    for note in [
        "landing_leads is made without the column twice",
        "landing_leads is made without the default of ticket, which is not PostgreSQL's own: nextval('",
        "the unique index one_email of Landing's landing_leads is not made on Traffic, and ON CONFLICT cannot use it: Traffic's own rows",
        "the unique index some_tickets of Landing's landing_leads is not made on Traffic, and ON CONFLICT cannot use it: it is partial",
    ] {
        assert!(notes.contains(note), "{note}\n{notes}");
    }
    traffic(&world, "INSERT INTO landing_leads (name, phone) VALUES ('n', '1')").await;
    assert!(
        holds(
            &world.traffic().await,
            "mood = 'warm' AND id IS NOT NULL AND ticket IS NULL FROM landing_leads"
        )
        .await
    );
}

#[tokio::test]
async fn doctor_says_whether_old_code_finds_its_tables_and_who_may_write_too_early() {
    let world = World::new().await;
    world.migrate(&MigrateOptions { legacy: false, ..legacy() }).await;
    let bridge = Bridge::new(&world).configured("scheduled_notifications = true");
    let found = async || {
        let said = bridge.run(&["doctor", "--json"]).await;
        let found: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        let all = found["findings"].as_array().unwrap();
        let of = all.iter().find(|one| one["check"] == "legacy_names").unwrap_or_else(|| panic!("{found:#}"));
        (of["level"].as_str().unwrap().to_owned(), format!("{}|{}", of["message"], of["remedy"]))
    };
    let (level, text) = found().await;
    assert_eq!(level, "warning", "{text}");
    assert!(text.contains("leadbridge migrate --legacy"), "{text}");
    world.migrate(&legacy()).await;
    let (level, text) = found().await;
    assert_eq!(level, "ok", "{text}");
    assert!(
        text.contains("old code finds journey_stages, landing_leads, lead_journey, scheduled_notifications"),
        "{text}"
    );
    traffic(
        &world,
        "GRANT INSERT ON landing_leads TO authenticated; GRANT UPDATE (stage) ON lead_journey TO PUBLIC",
    )
    .await;
    let (level, text) = found().await;
    assert_eq!(level, "error", "{text}");
    let revoke = text.split_once("run on the Traffic DB: ").unwrap().1.trim_end_matches('"').to_owned();
    traffic(&world, &revoke).await;
    // Without row-level security, what the switch gives would open every lead to everybody.
    traffic(&world, "ALTER TABLE traffic_leads DISABLE ROW LEVEL SECURITY").await;
    let (level, text) = found().await;
    assert_eq!(level, "error", "{text}");
    assert!(text.contains("the switch would give rights that Landing does not give: anon"), "{text}");
    traffic(&world, "ALTER TABLE traffic_leads ENABLE ROW LEVEL SECURITY").await;
    landing(&world, "ALTER TABLE landing_leads ADD tag text").await;
    assert_eq!(found().await.0, "ok", "a column without a place is another finding's");
    traffic(&world, "DROP VIEW lead_journey").await;
    let (level, text) = found().await;
    assert_eq!(level, "warning", "{text}");
    assert!(text.contains("lead_journey"), "{text}");
    world.migrate(&legacy()).await;
    assert_eq!(found().await.0, "ok");
    assert!(
        findings(&world, &[]).await.iter().all(|finding| finding.level != leadbridge::report::Level::Error)
    );
}
