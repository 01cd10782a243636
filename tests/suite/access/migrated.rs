//! What `leadbridge migrate` grants on the objects that it creates, and what `--api-access` closes.

use leadbridge::migrate::{MigrateOptions, Report};

use super::platform::{ROLES, TAKE_LEADS, errors, open_traffic, rows_as, world};
use crate::testkit::{Bridge, World, holds, landing, one, traffic};

const INSERT_LEAD: &str = "INSERT INTO public.traffic_leads (name, phone) VALUES ('n', '1')";

fn plain() -> MigrateOptions {
    MigrateOptions { notifications: true, ..MigrateOptions::default() }
}

fn closing() -> MigrateOptions {
    MigrateOptions { api_access: true, ..plain() }
}

/// Migrates after a dry run that must have said the same, and before a second run that must find nothing to do.
async fn as_announced(world: &World, options: &MigrateOptions) -> Report {
    let announced = world.migrate(&MigrateOptions { dry_run: true, ..options.clone() }).await;
    let report = world.migrate(options).await;
    assert_eq!(announced.access, report.access);
    assert_eq!(announced.steps, report.steps);
    let again = world.migrate(options).await;
    assert!(!again.changes_something(), "{again}");
    assert_eq!(again.access.left, report.access.left);
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn after_migrate_and_a_copy_anon_reads_as_much_on_traffic_as_on_landing_nothing() {
    for grants_by_default in [true, false] {
        let world = world(grants_by_default).await;
        as_announced(&world, &plain()).await;
        let filled = world.fill(3, 5).await;
        Bridge::new(&world).configured("scheduled_notifications = true").catch_up().await;
        let (from, to) = (world.landing().await, world.traffic().await);
        let on_landing = ["public.landing_leads", "public.journey_stages", "public.scheduled_notifications"];
        let on_traffic = [
            "public.traffic_leads",
            "public.traffic_lead_journey",
            "public.traffic_scheduled_notifications",
            "public.v_traffic_leads_with_journey",
            "public.v_traffic_leads_last_stage",
            "leadbridge.quarantine",
            "leadbridge.conversion_notes",
            "leadbridge.api_objects",
        ];
        for role in ROLES {
            for (client, relation) in
                on_landing.map(|name| (&from, name)).into_iter().chain(on_traffic.map(|name| (&to, name)))
            {
                let read = rows_as(client, role, &format!("SELECT FROM {relation}")).await;
                let is_nothing = read == Ok(0) || read == Err("42501".to_owned());
                assert!(is_nothing, "{role} {relation} {read:?}");
            }
            let call = "SELECT public.find_or_create_unified_lead('a@b.kz', 'n', '1', 's', '{}')";
            assert_eq!(rows_as(&to, role, call).await, Err("42501".to_owned()), "{role}");
            assert_eq!(rows_as(&to, role, "SELECT public.normalize_phone('1')").await, Ok(1), "{role}");
        }
        assert_eq!(
            rows_as(&to, "service_role", "SELECT FROM public.traffic_lead_journey").await,
            Ok(filled.journey_entries as usize)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn api_access_closes_an_open_traffic_and_leaves_its_other_users_what_they_have() {
    let world = world(true).await;
    open_traffic(&world).await;
    let dashboard = "CREATE ROLE dashboard; GRANT SELECT, UPDATE ON traffic_leads TO dashboard;
                     CREATE VIEW phones AS SELECT phone FROM traffic_leads";
    traffic(&world, dashboard).await;
    let report = as_announced(&world, &plain()).await;
    assert_eq!(report.access.statements, [""; 0]);
    assert_eq!(report.access.left.len(), 4, "{report}");
    assert!(report.to_string().contains("run `leadbridge migrate --api-access`"), "{report}");
    assert_eq!(errors(&world).await.len(), 4);

    let report = as_announced(&world, &closing()).await;
    assert_eq!(report.access.left, [], "{report}");
    for statement in [
        r#"ALTER TABLE "public"."traffic_leads" ENABLE ROW LEVEL SECURITY"#,
        r#"CREATE POLICY "leadbridge_keep" ON "public"."traffic_leads" AS PERMISSIVE FOR ALL TO "dashboard""#,
        r#"CREATE POLICY "leadbridge_Anyone can leave a lead" ON "public"."traffic_leads" AS PERMISSIVE FOR INSERT TO "anon" WITH CHECK (true)"#,
        r#"REVOKE ALL ON public.phones FROM "anon""#,
    ] {
        assert!(report.to_string().contains(&format!("ran: {statement}")), "{statement}: {report}");
    }
    assert_eq!(errors(&world).await, []);
    world.fill(4, 5).await;
    Bridge::new(&world).configured("scheduled_notifications = true").catch_up().await;
    let client = world.traffic().await;
    let read = "SELECT FROM public.traffic_leads";
    for (role, rows) in [("anon", 0), ("authenticated", 0), ("dashboard", 5), ("service_role", 5)] {
        assert_eq!(rows_as(&client, role, read).await, Ok(rows), "{role}");
    }
    let update = "UPDATE public.traffic_leads SET status = 'lost' RETURNING id";
    assert_eq!(rows_as(&client, "dashboard", update).await, Ok(5));
    // As on Landing: the site may leave a lead, and a signed-in user may not.
    assert_eq!(rows_as(&client, "anon", INSERT_LEAD).await, Ok(0));
    assert_eq!(rows_as(&client, "authenticated", INSERT_LEAD).await, Err("42501".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_landing_does_not_grant_is_revoked_and_what_it_grants_is_granted() {
    let world = world(true).await;
    let grants = "REVOKE ALL ON landing_leads, journey_stages FROM anon, authenticated;
                  GRANT SELECT, INSERT ON journey_stages TO authenticated;
                  CREATE POLICY own ON journey_stages TO authenticated USING (lead_id = auth.uid())";
    landing(&world, grants).await;
    traffic(&world, "REVOKE ALL ON traffic_leads FROM authenticated").await;
    let report = as_announced(&world, &closing()).await;
    let revoke = r#"REVOKE SELECT, INSERT, UPDATE, DELETE ON "public"."traffic_leads" FROM "anon""#;
    assert!(report.access.statements.iter().any(|statement| statement == revoke), "{report}");
    let client = world.traffic().await;
    for (role, table, privilege, expected) in [
        ("anon", "traffic_leads", "SELECT", false),
        ("authenticated", "traffic_leads", "INSERT", false),
        ("anon", "traffic_lead_journey", "SELECT", false),
        ("authenticated", "traffic_lead_journey", "SELECT", true),
        ("authenticated", "traffic_lead_journey", "INSERT", true),
        ("authenticated", "traffic_lead_journey", "DELETE", false),
        ("service_role", "traffic_lead_journey", "DELETE", true),
        ("service_role", "traffic_leads", "SELECT", true),
    ] {
        let has = format!("has_table_privilege('{role}', '{table}', '{privilege}')");
        assert_eq!(holds(&client, &has).await, expected, "{has}");
    }
    let copied = "SELECT pg_get_expr(polqual, polrelid) FROM pg_policy WHERE polname = 'leadbridge_own'";
    assert_eq!(one::<String>(&client, copied).await, "(lead_id = auth.uid())");
    // A policy that changes on Landing changes on Traffic with the next run.
    landing(&world, "ALTER POLICY own ON journey_stages USING (id = auth.uid())").await;
    assert_eq!(errors(&world).await.len(), 1, "the copy now shows other rows than Landing");
    as_announced(&world, &closing()).await;
    assert_eq!(one::<String>(&client, copied).await, "(id = auth.uid())");
    assert_eq!(errors(&world).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_cannot_say_the_same_on_traffic_is_named_and_not_copied() {
    let world = world(false).await;
    let policies = "CREATE FUNCTION staff() RETURNS boolean LANGUAGE sql AS 'SELECT true';
         CREATE POLICY calls ON landing_leads FOR SELECT TO authenticated USING (staff());
         CREATE POLICY looks ON landing_leads FOR SELECT TO authenticated USING (id IN (SELECT id FROM users));
         CREATE POLICY reads ON landing_leads FOR SELECT TO authenticated USING (source = 'twland');
         CREATE POLICY mine ON landing_leads FOR SELECT TO authenticated USING (id = auth.uid());
         CREATE POLICY unless ON journey_stages AS RESTRICTIVE TO authenticated USING (staff());
         CREATE POLICY open ON journey_stages TO authenticated USING (true);
         CREATE FUNCTION closed() RETURNS boolean LANGUAGE sql AS 'SELECT true';
         CREATE POLICY fails ON landing_leads FOR SELECT TO authenticated USING (closed())";
    landing(&world, policies).await;
    // A policy whose function a role may not execute would make the role's statements fail.
    let closed = "CREATE FUNCTION closed() RETURNS boolean LANGUAGE sql AS 'SELECT true';
                  REVOKE EXECUTE ON FUNCTION closed() FROM PUBLIC, anon, authenticated";
    traffic(&world, closed).await;
    let report = as_announced(&world, &closing()).await;
    for (name, reason) in [
        ("calls", "staff()"),
        ("looks", "users"),
        ("reads", "source"),
        ("unless", "staff()"),
        ("fails", "closed()"),
    ] {
        let named = |note: &&String| note.contains(&format!("\"{name}\"")) && note.contains(reason);
        assert!(report.access.notes.iter().any(|note| named(&note)), "{name}: {report}");
    }
    let copied = "SELECT string_agg(polname, ',' ORDER BY polname) FROM pg_policy";
    let names: String = one(&world.traffic().await, copied).await;
    assert_eq!(names, "leadbridge_Anyone can leave a lead,leadbridge_mine");
    assert_eq!(errors(&world).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_of_traffics_own_is_never_dropped_but_named_with_the_statement_for_the_operator() {
    let world = world(true).await;
    let own = "CREATE POLICY \"read all\" ON traffic_leads FOR SELECT USING (true);
               CREATE POLICY team ON traffic_leads FOR UPDATE TO authenticated USING (status = 'new')";
    traffic(&world, own).await;
    let report = as_announced(&world, &closing()).await;
    assert_eq!(report.access.left.len(), 2, "{report}");
    for left in &report.access.left {
        assert!(
            left.remedy.to_string().contains(r#"DROP POLICY "read all" ON "public"."traffic_leads""#),
            "{left:?}"
        );
        assert!(!left.remedy.to_string().contains("--api-access"), "{left:?}");
    }
    let policies = "count(*) = 2 FROM pg_policy WHERE polname IN ('read all', 'team')";
    assert!(holds(&world.traffic().await, policies).await);
    // What the operator accepts stays as it is, and the other role is closed.
    let accept = ["authenticated:traffic_leads".to_owned()].to_vec();
    let report = world.migrate(&MigrateOptions { accept, ..closing() }).await;
    assert_eq!(report.access.left.len(), 1, "{report}");
    assert!(report.access.left[0].what.starts_with("anon "), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_role_keeps_its_rights_when_row_level_security_is_switched_on() {
    let world = world(true).await;
    open_traffic(&world).await;
    traffic(&world, "INSERT INTO traffic_leads (name) VALUES ('n')").await;
    let accept = ["authenticated:traffic_leads".to_owned()].to_vec();
    let report = as_announced(&world, &MigrateOptions { accept, ..closing() }).await;
    assert_eq!(report.access.left, [], "{report}");
    let client = world.traffic().await;
    assert_eq!(rows_as(&client, "authenticated", "SELECT FROM public.traffic_leads").await, Ok(1));
    assert_eq!(rows_as(&client, "anon", "SELECT FROM public.traffic_leads").await, Ok(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_are_given_once_and_what_the_owner_changes_later_stays() {
    let world = world(true).await;
    landing(&world, &format!("DROP POLICY \"Anyone can leave a lead\" ON landing_leads; {TAKE_LEADS}")).await;
    world.migrate(&plain()).await;
    let client = world.traffic().await;
    let acl = "SELECT string_agg(relname || relacl::text, ' ' ORDER BY relname) FROM pg_class
               WHERE relname ~ '^(traffic_lead_|v_)' AND relkind IN ('r', 'v')";
    let changed = "REVOKE ALL ON traffic_lead_journey FROM service_role;
                   GRANT SELECT ON v_traffic_leads_last_stage TO authenticated";
    traffic(&world, changed).await;
    let before: String = one(&client, acl).await;
    traffic(&world, "UPDATE leadbridge.migrations SET checksum = 'old'").await;
    assert!(world.migrate(&plain()).await.changes_something());
    assert_eq!(one::<String>(&client, acl).await, before);
    // A table that is made again gets its rights again, whatever the default privileges are.
    traffic(&world, "DROP TABLE traffic_lead_journey CASCADE").await;
    world.migrate(&plain()).await;
    assert!(holds(&client, "has_table_privilege('service_role', 'traffic_lead_journey', 'INSERT')").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_were_there_before_leadbridge_keep_their_grants() {
    let world = world(true).await;
    let own = "CREATE TABLE traffic_lead_journey (
                   id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
                   lead_id uuid NOT NULL REFERENCES traffic_leads (id) ON DELETE CASCADE, stage text NOT NULL,
                   source text, metadata jsonb DEFAULT '{}', created_at timestamptz NOT NULL DEFAULT now(),
                   landing_synced_at timestamptz);
               ALTER TABLE traffic_lead_journey ENABLE ROW LEVEL SECURITY";
    traffic(&world, own).await;
    let client = world.traffic().await;
    let acl = "SELECT relacl::text FROM pg_class WHERE relname = 'traffic_lead_journey'";
    let before: String = one(&client, acl).await;
    world.migrate(&plain()).await;
    assert_eq!(one::<String>(&client, acl).await, before);
    assert!(before.contains("anon="), "{before}");
    assert!(!holds(&client, "has_table_privilege('anon', 'v_traffic_leads_last_stage', 'SELECT')").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_shows_each_statement_and_takes_what_is_accepted_from_the_configuration() {
    let world = world(true).await;
    open_traffic(&world).await;
    let bridge = Bridge::new(&world).configured("[privacy]\naccept = [\"authenticated:traffic_leads\"]");
    let dry = bridge.run(&["migrate", "--api-access", "--dry-run"]).await;
    assert_eq!(dry.code, 0, "{}", dry.err);
    assert!(
        dry.out.contains("API roles: would run: ALTER TABLE \"public\".\"traffic_leads\" ENABLE"),
        "{}",
        dry.out
    );
    assert!(dry.out.contains("AS PERMISSIVE FOR ALL TO \"authenticated\""), "{}", dry.out);
    assert!(!dry.out.contains("REVOKE"), "Landing grants as much, and hides the rows: {}", dry.out);
    let nothing = "to_regnamespace('leadbridge') IS NULL AND NOT (SELECT relrowsecurity FROM pg_class WHERE relname = 'traffic_leads')";
    assert!(holds(&world.traffic().await, nothing).await);
    let done = bridge.run(&["migrate", "--api-access"]).await;
    assert_eq!(done.code, 0, "{}", done.err);
    let statements = |said: &str| -> Vec<String> {
        let after = |line: &str| {
            line.split_once("would run: ").or(line.split_once("ran: ")).map(|parts| parts.1.to_owned())
        };
        said.lines().filter_map(after).collect()
    };
    assert_eq!(statements(&dry.out), statements(&done.out));
    bridge.catch_up().await;
    assert_eq!(bridge.run(&["migrate", "--print", "--api-access"]).await.code, 64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_not_copied_where_a_grant_to_public_would_open_more_than_landing() {
    let world = world(true).await;
    let policy = "REVOKE SELECT, UPDATE, DELETE ON landing_leads FROM authenticated;
                  CREATE POLICY own ON landing_leads TO authenticated USING (id = auth.uid())";
    landing(&world, policy).await;
    traffic(&world, "GRANT SELECT ON traffic_leads TO PUBLIC").await;
    let report = as_announced(&world, &closing()).await;
    assert_eq!(report.access.left, [], "{report}");
    assert!(!report.to_string().contains("leadbridge_own"), "{report}");
    assert_eq!(errors(&world).await, []);
}
