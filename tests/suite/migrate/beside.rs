//! `leadbridge migrate` beside the school's own Migration 016.

use std::collections::{BTreeMap, BTreeSet};

use leadbridge::error::{Error, Kind};
use leadbridge::migrate::{Effect, MigrateOptions, MigratedSide, Report};
use leadbridge::throwaway::fixture;

use super::{fails, scalar};
use crate::testkit::{Bridge, World, assert_equal, caught_up_and_equal, landing, one, traffic};

/// What `leadbridge.replaced` must bring back: definition, owner, grants, options and comments.
const OBJECTS: &str = "
    SELECT c.oid::regclass::text AS object, concat_ws(E'\\n', pg_get_viewdef(c.oid), c.reloptions, c.relowner::regrole,
        obj_description(c.oid), (SELECT string_agg(x::text, ' ' ORDER BY x::text)
            FROM aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) AS x),
        (SELECT string_agg(concat_ws(' ', a.attname, a.attacl, col_description(c.oid, a.attnum)), ' ' ORDER BY a.attnum)
            FROM pg_attribute AS a WHERE a.attrelid = c.oid)) AS described
    FROM pg_class AS c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'v'
    UNION ALL
    SELECT p.oid::regprocedure::text, concat_ws(E'\\n', pg_get_functiondef(p.oid), p.proowner::regrole,
        obj_description(p.oid), (SELECT string_agg(x::text, ' ' ORDER BY x::text)
            FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS x))
    FROM pg_proc AS p WHERE p.pronamespace = 'public'::regnamespace AND p.proname <> 'derive_traffic_lead'";

/// A world whose Traffic has had the school's own Migration 016, and `more`.
async fn beside(more: &str) -> World {
    let world = World::unmigrated().await;
    traffic(&world, ROLES).await;
    traffic(&world, fixture::TRAFFIC_016).await;
    traffic(&world, more).await;
    world
}

const ROLES: &str = "CREATE ROLE clerk; CREATE ROLE author";

const GRANTS: &str = "
    GRANT SELECT ON v_traffic_leads_with_journey TO anon, clerk WITH GRANT OPTION;
    GRANT SELECT (last_stage), UPDATE (last_stage_date) ON v_traffic_leads_last_stage TO clerk;
    ALTER VIEW v_top_utm_sources_by_leads OWNER TO author;
    REVOKE ALL ON FUNCTION find_or_create_unified_lead(text, text, text, text, jsonb) FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION find_or_create_unified_lead(text, text, text, text, jsonb) TO anon;
    ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO anon";

async fn described(world: &World, query: &str) -> BTreeMap<String, String> {
    let rows = world.traffic().await.query(query, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// Labels of the objects that are new or have changed between two states of the catalog. A new table stands for
/// its columns.
fn changed(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> BTreeSet<String> {
    let is_new_table = |name: &str| !before.contains_key(&format!("table {name}"));
    after
        .iter()
        .filter(|(label, definition)| before.get(*label) != Some(definition))
        .filter(|(label, _)| match label.strip_prefix("column ") {
            Some(column) => !is_new_table(column.split('.').next().unwrap()),
            None => true,
        })
        .map(|(label, _)| plain(label))
        .collect()
}

/// A label without quotes, schema and parentheses, and a column's without its definition.
fn plain(label: &str) -> String {
    let label = match label.strip_prefix("column ") {
        Some(column) => format!("column {}", column.replace("public.", "").split(' ').next().unwrap()),
        None => label.replace("public.", ""),
    };
    label.replace(['(', ')', '"', ' '], "")
}

fn listed(report: &Report) -> BTreeSet<String> {
    let changes = report.steps.iter().flat_map(|step| &step.changes);
    let is_of_catalog =
        |change: &&String| !change.starts_with("replaces ") && !change.starts_with("carries ");
    changes.filter(is_of_catalog).map(|change| plain(change)).collect()
}

/// The beginning of the label of a table's column.
fn column_of(table: &str) -> String {
    format!("column{table}.")
}

/// A dry run lists exactly the run's changes, and the run's changes are what the catalog shows.
async fn plans_exactly(world: &World, options: &MigrateOptions) -> Report {
    let catalog = include_str!("catalog.sql");
    let before = described(world, catalog).await;
    let planned = world.migrate(&MigrateOptions { dry_run: true, ..options.clone() }).await;
    assert_eq!(described(world, catalog).await, before);
    let made = world.migrate(options).await;
    assert_eq!(planned.steps, made.steps);
    // A new table stands for all its columns, also for those that the run adds to it.
    let mut listed = listed(&made);
    let new: Vec<String> =
        listed.iter().filter_map(|label| label.strip_prefix("table")).map(column_of).collect();
    listed.retain(|label| !new.iter().any(|table| label.starts_with(table)));
    assert_eq!(listed, changed(&before, &described(world, catalog).await));
    assert!(!world.migrate(options).await.changes_something());
    made
}

fn all_changes(report: &Report) -> String {
    report.steps.iter().flat_map(|step| &step.changes).map(|change| format!("{change}\n")).collect()
}

#[tokio::test]
async fn a_dry_run_lists_exactly_what_the_run_then_changes_on_both_shapes_of_traffic() {
    let with_notifications = MigrateOptions { notifications: true, ..MigrateOptions::default() };
    for world in [World::unmigrated().await, beside(GRANTS).await] {
        plans_exactly(&world, &MigrateOptions::default()).await;
        plans_exactly(&world, &with_notifications).await;
        // What is missing later is listed and made again.
        let damage = "DROP VIEW v_leads_by_team_daily; ALTER TABLE traffic_leads ADD COLUMN own text;
                      ALTER TABLE traffic_scheduled_notifications DISABLE ROW LEVEL SECURITY, DROP COLUMN sent_at;
                      DROP TRIGGER \"~leadbridge_keep_updated_at\" ON traffic_leads;
                      ALTER VIEW v_traffic_leads_last_stage RESET (security_invoker);
                      ALTER PUBLICATION leadbridge_reverse DROP TABLE traffic_lead_journey";
        traffic(&world, damage).await;
        let mended = plans_exactly(&world, &with_notifications).await;
        let own = "replaces view public.v_traffic_leads_last_stage of another origin";
        assert!(all_changes(&mended).contains(own), "{mended}");
    }
}

#[tokio::test]
async fn what_is_replaced_is_named_and_can_be_put_back_with_its_grants() {
    let world = beside(GRANTS).await;
    let before = described(&world, OBJECTS).await;
    let made = plans_exactly(&world, &MigrateOptions::default()).await;
    let changes = all_changes(&made);
    for replaced in [
        "function public.normalize_phone(text)",
        "function public.find_or_create_unified_lead(text,text,text,text,jsonb)",
        "view public.v_traffic_leads_with_journey",
        "view public.v_traffic_leads_last_stage",
        "view public.v_leads_by_targetologist_daily",
        "view public.v_leads_by_team_daily",
        "view public.v_top_utm_sources_by_leads",
    ] {
        let line =
            format!("replaces {replaced} of another origin; its definition is kept in leadbridge.replaced");
        assert!(changes.replace('"', "").contains(&line), "{replaced}\n{changes}");
        assert!(made.to_string().contains(replaced));
    }
    let client = world.traffic().await;
    assert_eq!(scalar::<i64>(&client, "SELECT count(*) FROM leadbridge.replaced").await, 7);

    let rows = client.query("SELECT definition FROM leadbridge.replaced ORDER BY id", &[]).await.unwrap();
    for row in rows {
        client.batch_execute(row.get(0)).await.unwrap();
    }
    assert_eq!(described(&world, OBJECTS).await, before);
    // Put back, the objects are of another origin again.
    let again = plans_exactly(&world, &MigrateOptions::default()).await;
    assert!(all_changes(&again).contains("replaces view"), "{again}");
}

#[tokio::test]
async fn grants_go_over_to_what_replaces_an_object() {
    let world = beside(GRANTS).await;
    world.migrate(&MigrateOptions::default()).await;
    for (held, question) in [
        (true, "has_table_privilege('anon', 'v_traffic_leads_with_journey', 'SELECT WITH GRANT OPTION')"),
        (true, "has_column_privilege('clerk', 'v_traffic_leads_last_stage', 'last_stage', 'SELECT')"),
        (true, "has_table_privilege('author', 'v_top_utm_sources_by_leads', 'SELECT')"),
        (
            true,
            "has_function_privilege('anon', 'find_or_create_unified_lead(text,text,text,text,jsonb)', 'EXECUTE')",
        ),
        (
            false,
            "has_function_privilege('clerk', 'find_or_create_unified_lead(text,text,text,text,jsonb)', 'EXECUTE')",
        ),
        // Default privileges would show anon what the school has not shown.
        (false, "has_table_privilege('anon', 'v_traffic_leads_last_stage', 'SELECT')"),
        (
            true,
            "(SELECT bool_and(reloptions::text ~ 'security_invoker=true') FROM pg_class WHERE relname ~ '^v_')",
        ),
    ] {
        assert_eq!(
            one::<String>(&world.traffic().await, &format!("SELECT {question}::text")).await,
            held.to_string(),
            "{question}"
        );
    }
}

async fn refused(more: &str) -> Error {
    let world = beside(more).await;
    let error = fails(&world, &MigrateOptions::default()).await;
    assert_eq!(error.kind(), Kind::Refused, "{error}");
    let nothing = "SELECT to_regnamespace('leadbridge') IS NULL AND to_regclass('public.idx_traffic_leads_email') IS NOT NULL
                   AND NOT EXISTS (SELECT FROM pg_attribute WHERE attname = 'landing_synced_at')";
    assert!(scalar::<bool>(&world.traffic().await, nothing).await, "{error}");
    error
}

#[tokio::test]
async fn what_depends_on_an_object_that_must_be_replaced_is_refused_by_name() {
    for (more, named) in [
        ("CREATE VIEW dashboard AS SELECT last_stage FROM v_traffic_leads_last_stage", "view public.dashboard"),
        (
            "CREATE MATERIALIZED VIEW cached AS SELECT * FROM v_top_utm_sources_by_leads",
            "materialized view public.cached",
        ),
        (
            "CREATE FUNCTION counted() RETURNS bigint LANGUAGE sql
             BEGIN ATOMIC; SELECT count(*) FROM v_traffic_leads_last_stage; END",
            "function public.counted()",
        ),
        (
            "CREATE TABLE kept (last v_traffic_leads_last_stage)",
            "column last of table public.kept",
        ),
        (
            "DROP VIEW v_leads_by_team_daily, v_traffic_leads_with_journey; DROP FUNCTION normalize_phone(text);
             CREATE FUNCTION normalize_phone(phone text) RETURNS varchar LANGUAGE sql IMMUTABLE AS 'SELECT phone';
             CREATE INDEX by_phone ON traffic_leads (normalize_phone(phone))",
            "index public.by_phone",
        ),
        ("DROP VIEW v_top_utm_sources_by_leads; CREATE TABLE v_top_utm_sources_by_leads ()", "is the name of a table"),
        (
            "ALTER TABLE traffic_lead_journey DROP CONSTRAINT traffic_lead_journey_lead_id_fkey",
            "public.traffic_lead_journey has no foreign key from lead_id",
        ),
    ] {
        let error = refused(more).await;
        assert!(error.message().contains(named), "{named}: {error}");
        assert!(error.remedy_text().is_some(), "{error}");
    }
}

#[tokio::test]
async fn functions_that_would_be_called_in_our_function_s_place_are_replaced_and_others_stay() {
    let overloads = "
        CREATE FUNCTION normalize_phone(phone varchar) RETURNS text LANGUAGE sql AS $$ SELECT 'wrong' $$;
        CREATE FUNCTION normalize_phone(phone text, country text) RETURNS text LANGUAGE sql AS $$ SELECT 'other' $$;
        DROP FUNCTION find_or_create_unified_lead(text, text, text, text, jsonb);
        CREATE FUNCTION find_or_create_unified_lead(email text, name text, phone text, source text) RETURNS uuid
            LANGUAGE sql AS 'SELECT NULL::uuid';
        CREATE FUNCTION find_or_create_unified_lead(email text, name text, phone text, source text, m jsonb DEFAULT NULL)
            RETURNS SETOF traffic_leads LANGUAGE sql AS 'SELECT * FROM traffic_leads'";
    let world = beside(overloads).await;
    let before = described(&world, OBJECTS).await;
    plans_exactly(&world, &MigrateOptions::default()).await;
    let client = world.traffic().await;
    let found = "SELECT count(find_or_create_unified_lead('a@b.kz', 'a', '+7 1', 'x')) || normalize_phone('8-1'::varchar)
                 || normalize_phone('8-1', 'kz')";
    assert_eq!(scalar::<String>(&client, found).await, "181other");
    let rows = client.query("SELECT definition FROM leadbridge.replaced ORDER BY id", &[]).await.unwrap();
    for row in rows {
        client.batch_execute(row.get(0)).await.unwrap();
    }
    assert_eq!(described(&world, OBJECTS).await, before);
}

#[tokio::test]
async fn an_index_on_the_school_s_function_stays_and_its_renewal_is_named() {
    let world = beside("CREATE INDEX by_phone ON traffic_leads (normalize_phone(phone))").await;
    let made = plans_exactly(&world, &MigrateOptions::default()).await;
    assert!(made.to_string().contains("REINDEX INDEX CONCURRENTLY public.by_phone"), "{made}");
    let parameter = "SELECT proargnames[1] FROM pg_proc WHERE proname = 'normalize_phone'";
    assert_eq!(scalar::<String>(&world.traffic().await, parameter).await, "phone_input");
}

#[tokio::test]
async fn indexes_under_other_names_are_used_and_not_doubled() {
    let world = beside("CREATE INDEX odd ON traffic_leads (email) WHERE email <> ''").await;
    let made = world.migrate(&MigrateOptions::default()).await;
    let indexes: Vec<_> =
        made.steps.iter().flat_map(|step| &step.changes).filter(|c| c.starts_with("index")).collect();
    assert_eq!(indexes.len(), 1, "{indexes:?}");
    assert!(indexes[0].contains("regexp_replace(phone"), "{indexes:?}");
    // An index that is not valid, or has another order of texts, does not serve.
    let instead = "DROP INDEX idx_traffic_leads_email, idx_traffic_lead_journey_stage;
                   CREATE INDEX patterns ON traffic_leads (email varchar_pattern_ops);
                   CREATE INDEX byte_order ON traffic_lead_journey (stage COLLATE \"C\")";
    traffic(&world, instead).await;
    let made = all_changes(&plans_exactly(&world, &MigrateOptions::default()).await);
    assert_eq!(made, "index on public.traffic_lead_journey (stage)\nindex on public.traffic_leads (email)\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn leads_are_copied_and_streamed_beside_the_school_s_migration() {
    let world = beside(GRANTS).await;
    world.fill(161, 40).await;
    let bridge = Bridge::new(&world);
    let said = bridge.run(&["migrate"]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(
        said.out.contains("\n  replaces view public.v_traffic_leads_with_journey of another origin"),
        "{}",
        said.out
    );
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    landing(
        &world,
        "UPDATE landing_leads SET name = name || '!'; DELETE FROM journey_stages WHERE stage = 'payment_card'",
    )
    .await;
    caught_up_and_equal(&world, &mut daemon).await;
    assert_eq!(bridge.run(&["verify"]).await.code, 0);
    assert_equal(&world).await;
    let shown =
        "SELECT (count(*) = (SELECT count(*) FROM traffic_leads))::text FROM v_traffic_leads_with_journey";
    assert_eq!(one::<String>(&world.traffic().await, shown).await, "true");
    let secured = "SELECT relrowsecurity::text FROM pg_class WHERE relname = 'traffic_lead_journey'";
    assert_eq!(one::<String>(&world.traffic().await, secured).await, "true");
}

#[tokio::test]
async fn an_earlier_version_s_objects_are_ours_and_new_columns_are_shown_when_migrate_runs_again() {
    let world = World::new().await;
    let client = world.traffic().await;
    // As an installation from before the record of made objects.
    traffic(&world, "DROP TABLE leadbridge.made, leadbridge.replaced; DELETE FROM leadbridge.migrations WHERE name ~ '^03'").await;
    traffic(&world, "ALTER TABLE traffic_leads ADD COLUMN \"Своя\" text, ADD COLUMN targetologist_id int")
        .await;
    traffic(&world, "CREATE VIEW dashboard AS SELECT leads_count FROM v_leads_by_team_daily").await;
    let error = fails(&world, &MigrateOptions::default()).await;
    assert!(
        error.message().contains("view public.dashboard depends on the view public.v_leads_by_team_daily"),
        "{error}"
    );
    traffic(&world, "DROP VIEW dashboard; GRANT SELECT ON v_traffic_leads_last_stage TO anon").await;
    let made = world.migrate(&MigrateOptions::default()).await;
    let changes = all_changes(&made);
    assert!(!changes.contains("replaces function public.find_or_create_unified_lead"), "{changes}");
    assert!(!changes.contains("replaces function public.normalize_phone"), "{changes}");
    assert!(!changes.contains("replaces view public.v_traffic_leads_"), "{changes}");
    assert!(changes.contains("replaces view public.v_leads_by_team_daily"), "{changes}");
    let shown = "SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute
                 WHERE attrelid = 'v_traffic_leads_with_journey'::regclass AND attnum > 0";
    let columns = scalar::<String>(&client, shown).await;
    let end =
        "Своя,journey_stages,targetologist_id,targetologist_name,targetologist_team,attributed_utm_source";
    assert!(columns.starts_with("id,") && columns.ends_with(end), "{columns}");
    let granted = "SELECT has_table_privilege('anon', 'v_traffic_leads_last_stage', 'SELECT')";
    assert!(scalar::<bool>(&client, granted).await);
    assert!(!world.migrate(&MigrateOptions::default()).await.changes_something());
}

#[tokio::test]
async fn the_printed_script_replaces_and_keeps_as_migrate_does() {
    // A printed script knows nothing of Landing's columns; the older Landing has none that no rule reads.
    let world = World::older().await;
    traffic(&world, ROLES).await;
    traffic(&world, GRANTS).await;
    let options = MigrateOptions::default();
    let script = leadbridge::migrate::script(MigratedSide::Traffic, &world.names, &options).unwrap();
    traffic(&world, &script).await;
    let report = world.migrate(&options).await;
    assert!(
        report
            .steps
            .iter()
            .all(|step| step.database == MigratedSide::Landing || step.effect == Effect::Unchanged)
    );
    assert_eq!(scalar::<i64>(&world.traffic().await, "SELECT count(*) FROM leadbridge.replaced").await, 7);
}
