//! Every way for user-defined rules to refuse a row.

use super::{quarantined, streaming};
use crate::testkit::{World, assert_equal, caught_up_and_equal, landing, traffic};

/// The rule that makes Traffic refuse, Landing's writes, the SQL that removes the rule, and the SQLSTATE.
const REFUSALS: [(&str, &str, &str, &str); 19] = [
    (
        "ALTER TABLE traffic_leads ADD CONSTRAINT no CHECK (name <> 'bad')",
        "name = 'bad'",
        "ALTER TABLE traffic_leads DROP CONSTRAINT no",
        "23514",
    ),
    (
        "ALTER TABLE traffic_leads ALTER email SET NOT NULL",
        "email = NULL",
        "ALTER TABLE traffic_leads ALTER email DROP NOT NULL",
        "23502",
    ),
    ("CREATE UNIQUE INDEX no ON traffic_leads (email)", "email = 'taken'", "DROP INDEX no", "23505"),
    (
        "SELECT school('PERFORM NEW.click_count::smallint')",
        "click_count = 40000",
        "SELECT school('')",
        "22003",
    ),
    (
        "CREATE INDEX no ON traffic_leads (landing_source)",
        "source = (SELECT string_agg(sha512(n::text::bytea)::text, '') FROM generate_series(1, 90) n)",
        "DROP INDEX no",
        "54000",
    ),
    ("SELECT school('PERFORM NEW.name::integer')", "name = 'Әлия'", "SELECT school('')", "22P02"),
    ("SELECT school('RAISE EXCEPTION ''no %'', NEW.name')", "name = 'Әлия'", "SELECT school('')", "P0001"),
    (
        "SELECT school('RAISE EXCEPTION ''no %'', NEW.name USING ERRCODE = ''SCH01''')",
        "name = 'Әлия'",
        "SELECT school('')",
        "SCH01",
    ),
    (
        "SELECT school('RAISE EXCEPTION ''no %'', NEW.name USING ERRCODE = ''check_violation''')",
        "name = 'Әлия'",
        "SELECT school('')",
        "23514",
    ),
    (
        "SELECT school('SELECT u.id INTO STRICT NEW.id FROM public.traffic_users u WHERE u.full_name = NEW.name')",
        "name = 'Әлия'",
        "SELECT school('')",
        "P0002",
    ),
    (
        "SELECT school('PERFORM 1 / (length(NEW.name) - length(NEW.name))')",
        "name = 'Әлия'",
        "SELECT school('')",
        "22012",
    ),
    (
        "SELECT school('PERFORM (SELECT u.id FROM public.traffic_users u)')",
        "name = 'Әлия'",
        "SELECT school('')",
        "21000",
    ),
    (
        "SELECT school('CASE NEW.email WHEN ''x'' THEN NULL; END CASE')",
        "name = 'Әлия'",
        "SELECT school('')",
        "20000",
    ),
    (
        "SELECT school('EXECUTE ''SELECT '' || quote_ident(NEW.name)')",
        "name = 'Әлия'",
        "SELECT school('')",
        "42703",
    ),
    ("SELECT school('PERFORM FROM nowhere')", "name = 'Әлия'", "SELECT school('')", "42P01"),
    ("SELECT school('PERFORM public.nothing()')", "name = 'Әлия'", "SELECT school('')", "42883"),
    (
        "SELECT school('RAISE USING ERRCODE = ''insufficient_privilege''')",
        "name = 'Әлия'",
        "SELECT school('')",
        "42501",
    ),
    (
        "SELECT school('RAISE USING ERRCODE = ''object_not_in_prerequisite_state''')",
        "name = 'Әлия'",
        "SELECT school('')",
        "55000",
    ),
    (
        "SELECT school('IF TG_OP = ''UPDATE'' AND pg_trigger_depth() = 1 THEN UPDATE public.traffic_leads SET sms_sent = true WHERE id = NEW.id; END IF')",
        "name = 'Әлия'",
        "SELECT school('')",
        "27000",
    ),
];

/// `school(body)`: a user-defined trigger that fires for replicated rows too, for one of the two leads.
const SCHOOL: &str = "CREATE FUNCTION school(body text) RETURNS void LANGUAGE plpgsql AS $f$
    BEGIN
        DROP TRIGGER IF EXISTS school ON traffic_leads;
        EXECUTE format('CREATE OR REPLACE FUNCTION school_says() RETURNS trigger LANGUAGE plpgsql AS
            $b$ BEGIN IF NEW.phone = ''2'' THEN %s; END IF; RETURN NEW; END $b$', coalesce(nullif(body, ''), 'NULL'));
        CREATE TRIGGER school BEFORE INSERT OR UPDATE ON traffic_leads FOR EACH ROW EXECUTE FUNCTION school_says();
        ALTER TABLE traffic_leads ENABLE ALWAYS TRIGGER school;
    END $f$";

#[tokio::test(flavor = "multi_thread")]
async fn whatever_refuses_a_row_quarantines_that_row_alone_and_a_retry_frees_it() {
    let world = World::new().await;
    let (bridge, mut daemon) = streaming(&world).await;
    traffic(&world, SCHOOL).await;
    let leads =
        "INSERT INTO landing_leads (name, phone, email) VALUES ('one', '1', 'taken'), ('two', '2', 'free')";
    landing(&world, leads).await;
    caught_up_and_equal(&world, &mut daemon).await;
    for (refuse, write, lift, sqlstate) in REFUSALS {
        traffic(&world, refuse).await;
        // A good row, a bad row and a good row, in one transaction.
        landing(
            &world,
            &format!(
                "UPDATE landing_leads SET amocrm_lead_id = '5' WHERE phone = '1';
                 UPDATE landing_leads SET {write} WHERE phone = '2';
                 INSERT INTO journey_stages (lead_id, stage) SELECT id, '{sqlstate}' FROM landing_leads WHERE phone = '1'"
            ),
        )
        .await;
        daemon.caught_up(&world).await;
        let found = quarantined(&world).await;
        assert_eq!(found, [super::pair("landing_leads", sqlstate)], "{refuse}");
        traffic(&world, lift).await;
        let retried = bridge.run(&["quarantine", "retry"]).await;
        assert_eq!(retried.code, 0, "{refuse}: {}", retried.err);
        assert_equal(&world).await;
        landing(
            &world,
            "UPDATE landing_leads SET email = phone, name = phone, source = 'x', click_count = 1",
        )
        .await;
        landing(&world, "UPDATE landing_leads SET email = 'taken' WHERE phone = '1'").await;
        caught_up_and_equal(&world, &mut daemon).await;
    }
    assert!(!daemon.log().contains("Әлия"), "a name was logged");
    daemon.terminate().await;
}
