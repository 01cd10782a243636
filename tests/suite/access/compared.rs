//! The comparison of both sides, as `doctor`, `run` and `resync` make it.

use leadbridge::migrate::MigrateOptions;
use leadbridge::report::{Finding, Level};

use super::platform::{ROLES, errors, findings, open_traffic, rows_as, sql_of, world};
use crate::testkit::{Bridge, World, holds, landing, traffic};

const LEADS: &str = "SELECT FROM public.traffic_leads";

async fn migrated(grants_by_default: bool) -> World {
    let world = world(grants_by_default).await;
    world.migrate(&MigrateOptions { notifications: true, ..MigrateOptions::default() }).await;
    world
}

fn messages(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(|finding| finding.message.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_traffic_that_hides_as_much_as_landing_gets_no_complaint_whatever_the_platform_grants() {
    for grants_by_default in [true, false] {
        let world = migrated(grants_by_default).await;
        let found = findings(&world, &[]).await;
        assert_eq!(found.iter().map(|finding| finding.level).collect::<Vec<_>>(), [Level::Ok], "{found:?}");
        assert!(found[0].message.to_string().contains("anon, authenticated, service_role"), "{found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leads_that_everybody_may_read_are_refused_by_doctor_run_and_resync_and_the_printed_sql_closes_them()
{
    let world = migrated(true).await;
    open_traffic(&world).await;
    world.fill(1, 5).await;
    let found = errors(&world).await;
    assert_eq!(found.len(), ROLES.len(), "{:?}", messages(&found));
    for (finding, role) in found.iter().zip(ROLES) {
        let says =
            format!("{role} has more rights on public.traffic_leads than on Landing's public.landing_leads");
        assert!(finding.message.to_string().contains(&says), "{finding:?}");
        assert!(finding.message.to_string().contains("SELECT (all rows)"), "{finding:?}");
    }
    let bridge = Bridge::new(&world).configured("scheduled_notifications = true");
    for command in [&["run", "--until-caught-up"][..], &["resync", "--yes"]] {
        let said = bridge.run(command).await;
        assert_eq!(said.code, 4, "{command:?}: {}", said.err);
        assert!(said.err.contains("anon has more rights on public.traffic_leads"), "{}", said.err);
        assert!(said.err.contains("ENABLE ROW LEVEL SECURITY"), "{}", said.err);
    }
    assert!(holds(&world.traffic().await, "count(*) = 0 FROM traffic_leads").await);
    assert!(holds(&world.landing().await, "count(*) = 0 FROM pg_replication_slots").await);

    let client = world.traffic().await;
    for finding in &found {
        client.batch_execute(&sql_of(finding)).await.unwrap();
    }
    assert_eq!(messages(&errors(&world).await), [""; 0]);
    bridge.catch_up().await;
    for role in ROLES {
        assert_ne!(rows_as(&client, role, LEADS).await, Ok(5), "{role}");
        assert!(rows_as(&client, role, LEADS).await.unwrap_or(0) == 0, "{role}");
    }
    assert_eq!(rows_as(&client, "service_role", LEADS).await, Ok(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_operator_has_accepted_is_a_warning_that_says_so_and_bars_no_copy() {
    let world = migrated(true).await;
    open_traffic(&world).await;
    let accept = ["anon:traffic_leads", "authenticated:traffic_leads"];
    let found = findings(&world, &accept).await;
    assert_eq!(found.len(), 2, "{found:?}");
    for finding in &found {
        assert_eq!(finding.level, Level::Warning, "{finding:?}");
        assert!(finding.message.to_string().starts_with("accepted: "), "{finding:?}");
    }
    let lines = "scheduled_notifications = true\n[privacy]\naccept = [\"anon:traffic_leads\"]";
    let bridge = Bridge::new(&world).configured(lines);
    let said = bridge.run(&["run", "--until-caught-up"]).await;
    assert_eq!(said.code, 4, "only one of the two is accepted: {}", said.err);
    let lines = format!("scheduled_notifications = true\n[privacy]\naccept = {accept:?}");
    bridge.configured(&lines).catch_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_stream_is_not_ended_by_rights_that_somebody_gives_later_and_doctor_says_them() {
    let world = migrated(true).await;
    let bridge = Bridge::new(&world).configured("scheduled_notifications = true");
    bridge.catch_up().await;
    open_traffic(&world).await;
    world.fill(2, 3).await;
    bridge.catch_up().await;
    assert!(holds(&world.traffic().await, "count(*) = 3 FROM traffic_leads").await);
    assert_eq!(errors(&world).await.len(), 2);
    assert_eq!(bridge.run(&["doctor"]).await.code, 1);
}

/// Each way past Landing's rules is found by the object's name, and closed by the SQL that is shown.
#[tokio::test(flavor = "multi_thread")]
async fn each_way_past_landings_rules_is_found_by_name_and_closed_by_the_sql_that_is_shown() {
    let world = migrated(false).await;
    let client = world.traffic().await;
    for (opening, named) in [
        (
            "GRANT SELECT ON traffic_leads TO anon; CREATE POLICY p ON traffic_leads USING (true)",
            "DROP POLICY \"p\" ON",
        ),
        (
            "GRANT SELECT ON traffic_leads TO PUBLIC; CREATE POLICY p ON traffic_leads USING (true)",
            "DROP POLICY \"p\" ON",
        ),
        (
            "CREATE ROLE staff; GRANT staff TO authenticated; GRANT SELECT ON traffic_lead_journey TO staff;
             CREATE POLICY p ON traffic_lead_journey FOR SELECT TO staff USING (stage <> 'x')",
            "traffic_lead_journey",
        ),
        (
            "GRANT UPDATE (name) ON traffic_leads TO anon; CREATE POLICY p ON traffic_leads FOR UPDATE USING (true)",
            "UPDATE",
        ),
        (
            "CREATE VIEW shown AS SELECT phone FROM traffic_leads; GRANT SELECT ON shown TO anon",
            "public.shown",
        ),
        (
            "CREATE VIEW below AS SELECT * FROM traffic_leads;
             CREATE VIEW shown AS SELECT phone FROM below; GRANT INSERT ON shown TO PUBLIC",
            "public.shown",
        ),
        (
            "CREATE MATERIALIZED VIEW shown AS SELECT * FROM v_traffic_leads_with_journey; GRANT SELECT ON shown TO anon",
            "public.shown",
        ),
        (
            "GRANT USAGE ON SCHEMA leadbridge TO anon; GRANT SELECT ON leadbridge.quarantine TO anon",
            "quarantine",
        ),
        (
            "GRANT USAGE ON SCHEMA leadbridge TO anon; GRANT EXECUTE ON FUNCTION leadbridge.lift_fence(uuid) TO PUBLIC",
            "leadbridge.lift_fence(uuid)",
        ),
    ] {
        client.batch_execute(opening).await.unwrap();
        let found = errors(&world).await;
        assert!(!found.is_empty(), "{opening}");
        let says = |finding: &Finding| format!("{} {}", finding.message, sql_of(finding)).contains(named);
        assert!(found.iter().any(says), "{named}: {found:?}");
        for finding in &found {
            // A statement for one role may have closed the other role's way too.
            let _ = client.batch_execute(&sql_of(finding)).await;
        }
        assert_eq!(messages(&errors(&world).await), [""; 0], "{opening}");
        let clean = "DROP VIEW IF EXISTS below CASCADE; DROP POLICY IF EXISTS p ON traffic_leads;
                     DROP POLICY IF EXISTS p ON traffic_lead_journey";
        client.batch_execute(clean).await.unwrap();
        let kind = if opening.contains("MATERIALIZED") { "MATERIALIZED VIEW" } else { "VIEW" };
        client.batch_execute(&format!("DROP {kind} IF EXISTS shown")).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_of_the_asking_role_and_a_view_of_other_tables_are_no_way_past() {
    let world = migrated(true).await;
    let sql = "CREATE VIEW invoked WITH (security_invoker = on) AS SELECT * FROM traffic_leads;
               CREATE VIEW above AS SELECT * FROM invoked;
               CREATE VIEW teams AS SELECT * FROM traffic_teams";
    traffic(&world, sql).await;
    assert_eq!(messages(&errors(&world).await), [""; 0]);
    assert_eq!(rows_as(&world.traffic().await, "anon", "SELECT FROM public.above").await, Ok(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_landing_opens_to_everybody_may_be_open_on_traffic_as_well() {
    let world = migrated(false).await;
    landing(&world, "CREATE POLICY o ON scheduled_notifications USING (true) WITH CHECK (true)").await;
    let open = "GRANT ALL ON traffic_scheduled_notifications TO anon;
                CREATE POLICY mine ON traffic_scheduled_notifications USING (true)";
    traffic(&world, open).await;
    assert_eq!(messages(&errors(&world).await), [""; 0]);
    landing(&world, "ALTER POLICY o ON scheduled_notifications USING (status = 'pending')").await;
    assert_eq!(errors(&world).await.len(), ROLES.len(), "all rows are more than the pending ones");
    traffic(&world, "ALTER POLICY mine ON traffic_scheduled_notifications USING (status = 'pending')").await;
    let found = errors(&world).await;
    assert_eq!(
        found.len(),
        ROLES.len(),
        "new rows are still unchecked on Landing only: {:?}",
        messages(&found)
    );
    traffic(&world, "ALTER POLICY mine ON traffic_scheduled_notifications WITH CHECK (true)").await;
    assert_eq!(messages(&errors(&world).await), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_of_landing_that_shows_what_its_tables_hide_is_a_warning() {
    let world = migrated(true).await;
    landing(&world, "CREATE VIEW leads_with_journey AS SELECT * FROM landing_leads").await;
    let found = findings(&world, &[]).await;
    let warnings: Vec<&Finding> = found.iter().filter(|finding| finding.level == Level::Warning).collect();
    assert_eq!(warnings.len(), 2, "{found:?}");
    assert!(warnings[0].message.to_string().contains("leads_with_journey"), "{found:?}");
    assert!(
        warnings[0].remedy.as_ref().unwrap().to_string().contains("REVOKE ALL ON public.leads_with_journey"),
        "{found:?}"
    );
    assert!(found.iter().all(|finding| finding.level != Level::Error), "{found:?}");
}
