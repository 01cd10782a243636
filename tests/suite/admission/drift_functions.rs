//! User-defined functions called by leadbridge's statements, under an empty search_path.

use crate::testkit::{Bridge, World, assert_equal, holds, landing, traffic};

/// Fires for replicated rows too, and names a table without a schema.
const PLPGSQL: &str = "CREATE FUNCTION audit_lead() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO audit VALUES (NEW.id); RETURN NEW; END $$;
    CREATE TRIGGER audit BEFORE INSERT ON traffic_leads FOR EACH ROW EXECUTE FUNCTION audit_lead();
    ALTER TABLE traffic_leads ENABLE ALWAYS TRIGGER audit";

/// Not inlined, and calls a function without a schema.
const SQL: &str = "CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE FUNCTION fits(name text) RETURNS boolean LANGUAGE sql VOLATILE AS 'SELECT one(); SELECT true';
    ALTER TABLE traffic_leads ADD CONSTRAINT fits CHECK (fits(name))";

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_names_things_without_a_schema_stops_the_daemon_with_what_to_do_and_nothing_is_lost()
{
    let faults = [
        (PLPGSQL, "42P01", "ALTER FUNCTION public.audit_lead() SET search_path = public"),
        (SQL, "42883", "ALTER FUNCTION fits SET search_path = public"),
    ];
    let world = World::new().await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    traffic(&world, "CREATE TABLE audit (lead_id uuid)").await;
    for (number, (function, code, remedy)) in faults.into_iter().enumerate() {
        traffic(&world, function).await;
        landing(&world, &format!("INSERT INTO landing_leads (name, phone) VALUES ('n', '{number}')")).await;
        let said = bridge.run(&["run", "--until-caught-up"]).await;
        assert_eq!(said.code, 4, "{}", said.err);
        let errors = said.err.matches("what to do:").count();
        assert!(errors == 1 && said.err.contains(code), "{}", said.err);
        assert!(said.err.contains("SET search_path = public"), "{}", said.err);
        assert!(code != "42P01" || said.err.contains(remedy), "{}", said.err);
        assert!(holds(&world.traffic().await, "count(*) = 0 FROM leadbridge.quarantine").await);
        traffic(&world, remedy).await;
        bridge.catch_up().await;
        assert_equal(&world).await;
    }
}
