//! People's data and passwords must never be logged or printed.

use crate::testkit::{Bridge, Said, World, said};

/// Values that occur only in rows; each value in a different place.
const PEOPLE: [&str; 5] =
    ["Айгерим-ЖОҚ", "secret-mail@example.kz", "+7-701-0000042", "utm-of-somebody", "stage-of-somebody"];

fn assert_silent(world: &World, what: &str, text: &str) {
    let passwords = [world.landing.password(), world.traffic.password()];
    for value in PEOPLE.iter().chain(&passwords) {
        // The test's own output leaves the value out, too.
        let at = text.find(value);
        assert!(at.is_none(), "{what} shows a value of {} characters, at byte {at:?}", value.chars().count());
    }
}

async fn traced(bridge: &Bridge, arguments: &[&str]) -> Said {
    let mut command = bridge.command(arguments);
    command.env("LEADBRIDGE_LOG", "trace");
    said(command).await
}

#[tokio::test(flavor = "multi_thread")]
async fn not_even_a_trace_shows_a_name_a_phone_an_email_or_a_password() {
    let world = World::new().await;
    crate::testkit::repeat_numbers(&world).await;
    let bridge = Bridge::new(&world);
    let (landing, traffic) = (world.landing().await, world.traffic().await);
    let [name, email, phone, utm, stage] = PEOPLE;
    let lead = |prefix: &str| {
        format!(
            "WITH l AS (INSERT INTO landing_leads (name, email, phone, amocrm_lead_id, metadata)
                 VALUES ('{prefix}{name}', '{email}', '{phone}', '{phone}', '{{\"utm_source\": \"{utm}\"}}') RETURNING id)
             INSERT INTO journey_stages (lead_id, stage) SELECT id, '{stage}' FROM l"
        )
    };
    landing.batch_execute(&lead("")).await.unwrap();
    // Rows refused by the mapping, by a CHECK, and by a trigger with its own message.
    let too_long = "x".repeat(300);
    traffic
        .batch_execute(
            "ALTER TABLE traffic_leads ADD CHECK (name NOT LIKE 'checked%');
             CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN RAISE EXCEPTION 'not % with %', NEW.name, NEW.phone; END $$;
             CREATE TRIGGER refuse BEFORE INSERT ON traffic_leads FOR EACH ROW
                 WHEN (NEW.name LIKE 'triggered%') EXECUTE FUNCTION refuse();
             ALTER TABLE traffic_leads ENABLE ALWAYS TRIGGER refuse",
        )
        .await
        .unwrap();
    for run in 0..2 {
        for prefix in [too_long.as_str(), "checked ", "triggered "] {
            landing.batch_execute(&lead(prefix)).await.unwrap();
        }
        let copied = traced(&bridge, &["run", "--until-caught-up"]).await;
        assert_eq!(copied.code, 0, "run {run}");
        assert!(copied.err.contains("quarantined"), "run {run}");
        assert_silent(&world, "the daemon's log", &(copied.err + &copied.out));
    }
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["doctor"],
        &["verify", "--wait", "0s"],
        &["verify", "--json", "--repair"],
        &["quarantine", "list"],
        &["quarantine", "retry"],
        &["migrate"],
    ] {
        let Said { out, err, .. } = traced(&bridge, arguments).await;
        assert!(!out.is_empty(), "{arguments:?}");
        assert_silent(&world, arguments[0], &(out + &err));
    }
}
