//! Who may read and write through the legacy names: before the switch, after it, and after a rollback.

use leadbridge::migrate::MigrateOptions;
use serde_json::json;

use super::{http, insert, legacy};
use crate::access::platform::errors;
use crate::cutover::CutoverSetup;
use crate::testkit::{World, holds, least_privileged, one, traffic};

const LEAD: [(&str, &str); 2] = [("name", "text"), ("phone", "text")];

/// Every right of the API's roles on the names and on the tables below.
const RIGHTS: &str = "SELECT coalesce(string_agg(r, E'\\n' ORDER BY r), '') FROM (
     SELECT format('%s %s %s', c.relname, a.privilege_type, g.rolname) AS r
     FROM pg_class c, aclexplode(c.relacl) a JOIN pg_roles g ON g.oid = a.grantee
     WHERE c.relnamespace = 'public'::regnamespace AND g.rolname IN ('anon', 'authenticated', 'service_role')
     UNION ALL
     SELECT format('%s.%s %s %s', c.relname, t.attname, a.privilege_type, g.rolname)
     FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid, aclexplode(t.attacl) a JOIN pg_roles g ON g.oid = a.grantee
     WHERE c.relnamespace = 'public'::regnamespace AND g.rolname IN ('anon', 'authenticated', 'service_role')) AS x";

async fn may_write(world: &World, role: &str, name: &str) -> [bool; 3] {
    let client = world.traffic().await;
    let mut may = [false; 3];
    for (at, privilege) in ["INSERT", "UPDATE", "DELETE"].into_iter().enumerate() {
        may[at] = holds(&client, &format!("has_table_privilege('{role}', '{name}', '{privilege}')")).await;
    }
    may
}

#[tokio::test]
async fn rights_to_write_come_with_the_switch_and_go_with_a_rollback_exactly() {
    let world = World::new().await;
    let options = MigrateOptions { notifications: false, ..legacy() };
    let report = world.migrate(&options).await;
    assert!(report.to_string().contains("view public.landing_leads"), "{report}");
    let bridge = least_privileged(&world).await;
    let mut setup = CutoverSetup::between(world, bridge).await;
    let client = setup.world.traffic().await;
    let before: String = one(&client, RIGHTS).await;
    for role in ["anon", "authenticated", "service_role"] {
        for name in ["landing_leads", "journey_stages", "lead_journey"] {
            assert!(holds(&client, &format!("has_table_privilege('{role}', '{name}', 'SELECT')")).await);
            assert_eq!(may_write(&setup.world, role, name).await, [false; 3], "{role} {name}");
        }
        let denied = http(&client, role, &insert("landing_leads", &LEAD, "RETURNING 1"), &json!({})).await;
        assert_eq!(denied, Err("42501".to_owned()), "{role}");
    }
    let read = http(&client, "service_role", "SELECT id FROM landing_leads", &json!(null)).await.unwrap();
    let leads: i64 = one(&setup.world.landing().await, "SELECT count(*) FROM landing_leads").await;
    assert_eq!(read.as_array().unwrap().len(), usize::try_from(leads).unwrap());

    let dry = setup.cutover(&["--dry-run"]).await;
    assert!(
        dry.out.contains("anon, authenticated, service_role may write through them from the switch on"),
        "{}",
        dry.out
    );
    setup.switches(&[]).await;
    for role in ["anon", "authenticated", "service_role"] {
        assert_eq!(may_write(&setup.world, role, "landing_leads").await, [true; 3], "{role}");
    }
    // The site may leave a lead with the public key and reads none, as on Landing.
    let body = json!({"name": "Әсем", "phone": "8 (701) 1"});
    let left = http(&client, "anon", &insert("landing_leads", &LEAD, "RETURNING 1"), &body).await;
    assert_eq!(left.map(|rows| rows.as_array().unwrap().len()), Ok(1));
    let read = http(&client, "anon", "SELECT * FROM landing_leads", &json!(null)).await;
    assert_eq!(read, Ok(json!([])));
    assert_eq!(errors(&setup.world).await, [], "what the switch gives is what Landing gives");
    setup.flows_back().await;

    setup.rolls_back(&[]).await;
    assert_eq!(one::<String>(&client, RIGHTS).await, before);
    let on_landing = "count(*) = 1 FROM landing_leads WHERE name = 'Әсем' AND source = 'twland'";
    assert!(holds(&setup.world.landing().await, on_landing).await);
    assert!(holds(&client, "count(*) = 0 FROM leadbridge.legacy_grants").await);
}

#[tokio::test]
async fn a_rollback_leaves_what_the_roles_had_before() {
    let world = World::new().await;
    traffic(
        &world,
        "GRANT INSERT ON traffic_leads TO anon; GRANT UPDATE (name) ON traffic_leads TO authenticated",
    )
    .await;
    world.migrate(&legacy()).await;
    let client = world.traffic().await;
    let before: String = one(&client, RIGHTS).await;
    traffic(&world, "SELECT leadbridge.open_legacy_names(); SELECT leadbridge.open_legacy_names()").await;
    assert_ne!(one::<String>(&client, RIGHTS).await, before);
    let given = "NOT EXISTS (SELECT FROM leadbridge.legacy_grants WHERE role = 'authenticated' AND 'name' = ANY (columns)
                 AND privilege = 'UPDATE' AND relation LIKE '%traffic_leads%')
        AND has_column_privilege('authenticated', 'traffic_leads', 'landing_source', 'UPDATE')";
    assert!(holds(&client, given).await, "only what was lacking is given");
    traffic(&world, "SELECT leadbridge.close_legacy_names()").await;
    assert_eq!(one::<String>(&client, RIGHTS).await, before);
}
