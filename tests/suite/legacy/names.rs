//! What the views are: Landing's columns in Landing's order, each a plain column of Traffic's table.

use leadbridge::migrate::MigrateOptions;

use super::{as_announced, legacy, step};
use crate::testkit::{World, holds, landing, one, traffic};

/// Columns with their defaults, in order. Landing's sessions and Traffic's print defaults alike.
fn columns_of(name: &str) -> String {
    format!(
        "SELECT string_agg(column_name || coalesce(' = ' || column_default, ''), ', ' ORDER BY ordinal_position)
         FROM information_schema.columns WHERE table_schema = 'public' AND table_name = '{name}'"
    )
}

const BOTH: [(&str, &str); 4] = [
    ("landing_leads", "landing_leads"),
    ("journey_stages", "journey_stages"),
    ("lead_journey", "journey_stages"),
    ("scheduled_notifications", "scheduled_notifications"),
];

#[tokio::test]
async fn the_names_have_landings_columns_in_landings_order_with_landings_defaults() {
    for world in [World::new().await, World::older().await] {
        // Rights follow row-level security as it is, and the first run switches it on for the school's own journey.
        world.migrate(&MigrateOptions { legacy: false, ..legacy() }).await;
        as_announced(&world, &legacy()).await;
        let (on_landing, on_traffic) = (world.landing().await, world.traffic().await);
        for (name, own) in BOTH {
            let own = if own == "journey_stages" { world.names.landing_journey.as_str() } else { own };
            let expected: String = one(&on_landing, &columns_of(own)).await;
            assert_eq!(one::<String>(&on_traffic, &columns_of(name)).await, expected, "{name}");
            // 4 UPDATE, 8 INSERT, 16 DELETE: PostgreSQL itself writes through the view.
            let whole = format!(
                "pg_relation_is_updatable('{name}'::regclass, false) = 28
                 AND (SELECT bool_and(pg_column_is_updatable('{name}'::regclass, attnum, false))
                      FROM pg_attribute WHERE attrelid = '{name}'::regclass AND attnum > 0)
                 AND 'security_invoker=true' = ANY (reloptions) FROM pg_class WHERE oid = '{name}'::regclass"
            );
            assert!(holds(&on_traffic, &whole).await, "{name}");
        }
    }
}

/// The column of a table that each column of a view is, as the HTTP layer finds them in the view's parse tree.
fn origins_of(view: &str) -> String {
    format!(
        "SELECT string_agg(v.attname || ' ' || t.attrelid::regclass || '.' || t.attname, ', ' ORDER BY v.attnum)
         FROM pg_rewrite AS r,
             regexp_matches(r.ev_action, ':resno (\\d+) :resname \\S+ :ressortgroupref 0 :resorigtbl (\\d+) :resorigcol (\\d+)', 'g') AS m
         JOIN pg_attribute AS t ON t.attrelid = m[2]::oid AND t.attnum = m[3]::int
         JOIN pg_attribute AS v ON v.attrelid = '{view}'::regclass AND v.attnum = m[1]::int
         WHERE r.ev_class = '{view}'::regclass"
    )
}

#[tokio::test]
async fn the_relation_of_a_journey_entry_to_its_lead_is_found_through_the_views() {
    let world = World::new().await;
    world.migrate(&legacy()).await;
    let client = world.traffic().await;
    for name in ["journey_stages", "lead_journey"] {
        let found: String = one(&client, &origins_of(name)).await;
        assert!(
            found.contains("id traffic_lead_journey.id, lead_id traffic_lead_journey.lead_id,"),
            "{found}"
        );
    }
    let found: String = one(&client, &origins_of("landing_leads")).await;
    assert!(found.starts_with("id traffic_leads.id,"), "{found}");
    assert!(found.contains("source traffic_leads.landing_source,"), "{found}");
    let key =
        "count(*) = 1 FROM pg_constraint WHERE contype = 'f' AND conrelid = 'traffic_lead_journey'::regclass
               AND confrelid = 'traffic_leads'::regclass";
    assert!(holds(&client, key).await);
}

#[tokio::test]
async fn only_leads_that_are_landings_or_were_born_through_its_names_are_shown() {
    let world = World::new().await;
    world.migrate(&legacy()).await;
    traffic(
        &world,
        "INSERT INTO traffic_leads (name, amocrm_lead_id) VALUES ('facebook', 7);
         INSERT INTO traffic_leads (name, landing_synced_at) VALUES ('copied', now());
         INSERT INTO landing_leads (name, phone) VALUES ('site', '8 701');
         SELECT find_or_create_unified_lead('u@b.kz', 'unified', '8 702', 'twland');
         INSERT INTO journey_stages (lead_id, stage) SELECT id, name FROM traffic_leads",
    )
    .await;
    let client = world.traffic().await;
    let shown = "string_agg(name, ' ' ORDER BY name) = 'copied site unified' FROM landing_leads";
    assert!(holds(&client, shown).await);
    let entries = "string_agg(stage, ' ' ORDER BY stage) = 'copied site unified' FROM lead_journey";
    assert!(holds(&client, entries).await);
    let born = "(source, landing_source, landing_lead, phone_normalized, amocrm_sync_status, email_sent)
        = ('direct', 'twland', true, '8701', 'pending', false) FROM traffic_leads WHERE name = 'site'";
    assert!(holds(&client, born).await);
}

#[tokio::test]
async fn a_later_migrate_follows_landings_columns_and_keeps_what_the_names_were_granted() {
    let world = World::new().await;
    world.migrate(&legacy()).await;
    traffic(&world, "CREATE ROLE report; GRANT SELECT ON landing_leads TO report; GRANT SELECT (id) ON lead_journey TO report").await;
    landing(&world, "ALTER TABLE landing_leads ADD tag text DEFAULT 'fresh', DROP sms_error, ALTER source SET DEFAULT 'site'").await;
    // Not asked for again, the names are kept up to date all the same.
    let options = MigrateOptions { legacy: false, ..legacy() };
    let report = as_announced(&world, &options).await;
    assert!(step(&report).changes.contains(&"view public.landing_leads".to_owned()), "{report}");
    let (on_landing, on_traffic) = (world.landing().await, world.traffic().await);
    let expected: String = one(&on_landing, &columns_of("landing_leads")).await;
    assert_eq!(one::<String>(&on_traffic, &columns_of("landing_leads")).await, expected);
    let kept = "has_table_privilege('report', 'landing_leads', 'SELECT')
        AND has_column_privilege('report', 'lead_journey', 'id', 'SELECT')
        AND NOT has_table_privilege('service_role', 'landing_leads', 'INSERT')";
    assert!(holds(&on_traffic, kept).await);
}

#[tokio::test]
async fn a_platform_that_grants_new_objects_to_everybody_opens_nothing_by_it() {
    let world = crate::access::platform::world(true).await;
    as_announced(&world, &legacy()).await;
    for role in ["anon", "authenticated", "service_role"] {
        for privilege in ["INSERT", "UPDATE", "DELETE", "TRUNCATE"] {
            let has = format!("NOT has_table_privilege('{role}', 'landing_leads', '{privilege}')");
            assert!(holds(&world.traffic().await, &has).await, "{role} {privilege}");
        }
    }
}
