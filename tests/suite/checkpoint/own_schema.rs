//! leadbridge's own schema in the hands of somebody else: a schema that another role has made, and objects that were
//! added to or changed in ours.

use leadbridge::checkpoint::own_schema::{self, Extent};
use leadbridge::error::Kind;
use leadbridge::migrate::{MigrateOptions, migrate};
use leadbridge::model::names::Names;
use leadbridge::postgres::Database;

use crate::testkit::{Bridge, World, assert_equal, assert_refused, holds, landing, traffic};

/// A role that may create a schema, and nothing else.
const MALLORY: &str =
    "CREATE ROLE mallory LOGIN; CREATE TABLE public.heard (who text); GRANT INSERT ON public.heard TO PUBLIC;
     DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO mallory', current_database()); END $$;
     SET ROLE mallory; CREATE SCHEMA leadbridge; GRANT ALL ON SCHEMA leadbridge TO PUBLIC;
     CREATE FUNCTION leadbridge.hear() RETURNS text LANGUAGE plpgsql AS
         $$ BEGIN INSERT INTO public.heard VALUES (session_user); RETURN 'leadbridge'; END $$;
     CREATE FUNCTION leadbridge.hear_write() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN INSERT INTO public.heard VALUES (session_user); RETURN NULL; END $$;";

/// The tables that are read first: one is a view that runs code, the other has a trigger.
const TRAPS: &str = "CREATE VIEW leadbridge.installation AS SELECT leadbridge.hear() AS slot, 'leadbridge' AS publication,
         NULL::text AS landing_system_id, NULL::text AS landing_database, 'public' AS traffic_schema;
     CREATE TABLE leadbridge.migrations (name text PRIMARY KEY, checksum text, applied_at timestamptz, applied_by text,
         leadbridge_version text);
     CREATE TRIGGER hear AFTER INSERT ON leadbridge.migrations EXECUTE FUNCTION leadbridge.hear_write();
     GRANT ALL ON ALL TABLES IN SCHEMA leadbridge TO PUBLIC; RESET ROLE;";

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_another_role_has_made_is_refused_by_every_command_and_none_of_its_code_runs() {
    for side in ["Traffic", "Landing"] {
        let world = World::unmigrated().await;
        let trap = format!("{MALLORY}{TRAPS}");
        match side {
            "Traffic" => traffic(&world, &trap).await,
            _ => landing(&world, &trap).await,
        }
        let bridge = Bridge::new(&world);
        let commands: &[&[&str]] = &[
            &["migrate"],
            &["migrate", "--dry-run"],
            &["run"],
            &["resync", "--yes"],
            &["cutover", "--yes"],
            &["rollback", "--yes"],
            &["finish", "--yes", "--backup", "/nowhere"],
            &["verify", "--repair"],
            &["quarantine", "list"],
        ];
        for command in commands {
            // On an unmigrated Traffic the commands end before they come to Landing.
            if side == "Landing" && !matches!(command[0], "migrate" | "cutover" | "rollback") {
                continue;
            }
            let said = bridge.run(command).await;
            assert_refused(&said, &["somebody else has made", "owner mallory", "schema leadbridge", side]);
        }
        let said = bridge.run(&["doctor"]).await;
        assert!((said.out + &said.err).contains("owner mallory"), "{side}");
        let client = if side == "Traffic" { world.traffic().await } else { world.landing().await };
        assert!(holds(&client, "count(*) = 0 FROM public.heard").await, "{side}");
    }
}

/// A statement, and what the refusal names.
const DAMAGES: [(&str, &str); 22] = [
    ("CREATE TRIGGER spy BEFORE INSERT ON {} EXECUTE FUNCTION leadbridge.refuse_write()", "trigger spy on"),
    ("CREATE RULE spy AS ON DELETE TO {} DO ALSO NOTIFY heard", "rule spy on"),
    ("CREATE POLICY spy ON {} USING (true)", "policy spy on"),
    ("ALTER TABLE {} ADD COLUMN spied text", "spied"),
    ("ALTER TABLE {} RENAME COLUMN slot TO spied", "spied"),
    ("ALTER TABLE {} ALTER slot TYPE varchar", "slot"),
    ("ALTER TABLE {} ALTER publication DROP NOT NULL", "publication"),
    ("ALTER TABLE {} ALTER publication SET DEFAULT lower('X')", "publication"),
    ("ALTER TABLE {} ADD CONSTRAINT spy CHECK (slot <> '')", "constraint spy on"),
    ("ALTER TABLE {} SET UNLOGGED", "table"),
    ("ALTER TABLE {} DISABLE TRIGGER ALL; ALTER TABLE leadbridge.fence DROP CONSTRAINT fence_pkey", "fence_pkey"),
    ("CREATE INDEX spy ON {} (lower(slot))", "index spy"),
    ("CREATE TABLE public.child () INHERITS ({})", "child"),
    ("CREATE TABLE public.referring (id uuid REFERENCES leadbridge.fence)", "referring"),
    ("CREATE VIEW leadbridge.spy AS SELECT 1 AS one", "view spy"),
    ("CREATE TABLE leadbridge.spy (id int)", "table spy"),
    ("CREATE FUNCTION leadbridge.spy() RETURNS int LANGUAGE sql AS 'SELECT 1'", "function spy()"),
    ("CREATE TYPE leadbridge.spy AS ENUM ('a')", "type spy"),
    ("CREATE TYPE leadbridge.spy AS (a int)", "type spy"),
    ("ALTER FUNCTION leadbridge.lift_fence(uuid) RESET search_path", "function lift_fence"),
    ("ALTER FUNCTION leadbridge.lift_fence(uuid) SECURITY INVOKER", "function lift_fence"),
    (
        "CREATE OR REPLACE FUNCTION leadbridge.refuse_write() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
             SET search_path = pg_catalog, pg_temp AS $$ BEGIN RETURN coalesce(NEW, OLD); END $$",
        "function refuse_write()",
    ),
];

#[tokio::test]
async fn whatever_is_added_to_the_schema_or_changed_there_is_refused_by_name_on_either_side() {
    let world = World::new().await;
    let (to_landing, to_traffic) = (world.landing().await, world.traffic().await);
    for database in
        [Database::landing(&to_landing, &world.names), Database::traffic(&to_traffic, &world.names)]
    {
        own_schema::admit(database, Extent::Whole).await.unwrap();
        for (damage, named) in DAMAGES {
            let damage = damage.replace("{}", "leadbridge.installation");
            database.client.batch_execute(&format!("BEGIN; {damage}")).await.unwrap();
            let error = own_schema::admit(database, Extent::Whole).await.expect_err(&damage);
            database.client.batch_execute("ROLLBACK").await.unwrap();
            assert_eq!(error.kind(), Kind::Refused, "{damage}");
            assert!(error.message().contains(named), "{damage}: {error}");
        }
        own_schema::admit(database, Extent::Whole).await.unwrap();
    }
}

#[tokio::test]
async fn an_object_of_another_owner_in_our_schema_is_refused_by_name() {
    let world = World::new().await;
    let client = world.traffic().await;
    client.batch_execute("CREATE ROLE former").await.unwrap();
    for (object, named) in [
        ("TABLE leadbridge.quarantine", "quarantine"),
        ("FUNCTION leadbridge.close_fence", "close_fence"),
        ("SCHEMA leadbridge", "schema leadbridge"),
    ] {
        client.batch_execute(&format!("BEGIN; ALTER {object} OWNER TO former")).await.unwrap();
        let error =
            own_schema::refuse_foreign_owner(Database::traffic(&client, &world.names)).await.unwrap_err();
        client.batch_execute("ROLLBACK").await.unwrap();
        assert!(error.message().contains(named) && error.message().contains("owner former"), "{error}");
    }
    // The owner of the replicated table, and a member of that role, may do to the rows what they like already.
    let member = "ALTER TABLE traffic_leads OWNER TO former; CREATE ROLE member IN ROLE former;
                  ALTER TABLE leadbridge.quarantine OWNER TO former; ALTER TABLE leadbridge.markers OWNER TO member";
    client.batch_execute(member).await.unwrap();
    own_schema::refuse_foreign_owner(Database::traffic(&client, &world.names)).await.unwrap();
}

/// A trigger that a role with the right TRIGGER could make.
const SPY: &str = "CREATE FUNCTION public.spy() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN INSERT INTO public.heard VALUES (session_user); RETURN NULL; END $$;
     CREATE TABLE public.heard (who text);
     CREATE TRIGGER spy AFTER INSERT OR UPDATE OR DELETE ON leadbridge.checkpoint EXECUTE FUNCTION public.spy();
     CREATE TRIGGER spy AFTER INSERT OR UPDATE OR DELETE ON leadbridge.cutover EXECUTE FUNCTION public.spy();
     CREATE TRIGGER spy AFTER INSERT OR UPDATE OR DELETE ON leadbridge.quarantine EXECUTE FUNCTION public.spy();
     CREATE TRIGGER spy AFTER INSERT OR UPDATE OR DELETE ON leadbridge.finish EXECUTE FUNCTION public.spy()";

#[tokio::test(flavor = "multi_thread")]
async fn every_command_that_writes_refuses_a_foreign_trigger_and_migrate_names_it_and_changes_nothing() {
    let world = World::new().await;
    world.fill(70, 5).await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    traffic(&world, SPY).await;
    for command in [
        &["run"] as &[&str],
        &["resync", "--yes"],
        &["cutover", "--yes"],
        &["cutover", "--dry-run"],
        &["rollback", "--yes"],
        &["verify", "--repair"],
        &["quarantine", "retry"],
        &["quarantine", "discard", "1", "--yes"],
        &["finish", "--yes", "--backup", "/nowhere"],
        &["migrate"],
    ] {
        assert_refused(&bridge.run(command).await, &["trigger spy on checkpoint", "Traffic"]);
    }
    let said = bridge.run(&["doctor"]).await;
    assert_eq!(said.code, 1, "{}", said.out);
    assert!(said.out.contains("trigger spy on checkpoint"), "{}", said.out);
    assert!(holds(&world.traffic().await, "count(*) = 0 FROM public.heard").await);
    // What only reads goes on.
    assert_eq!(bridge.run(&["quarantine", "list"]).await.code, 0);

    let drop = "DROP TRIGGER spy ON leadbridge.checkpoint; DROP TRIGGER spy ON leadbridge.cutover;
                DROP TRIGGER spy ON leadbridge.quarantine; DROP TRIGGER spy ON leadbridge.finish";
    traffic(&world, drop).await;
    bridge.catch_up().await;
    landing(&world, "CREATE TABLE leadbridge.spy (id int)").await;
    for command in [&["run"] as &[&str], &["cutover", "--yes"], &["migrate"]] {
        assert_refused(&bridge.run(command).await, &["table spy", "Landing"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_makes_again_what_is_missing_or_replaced_and_records_nothing_beside() {
    let world = World::new().await;
    let bridge = Bridge::new(&world);
    let lift = "CREATE OR REPLACE FUNCTION leadbridge.lift_fence(cutover uuid) RETURNS boolean LANGUAGE sql AS 'SELECT true'";
    landing(&world, &format!("{lift}; DROP TABLE leadbridge.held_keys")).await;
    traffic(&world, &format!("{lift}; ALTER TABLE leadbridge.checkpoint DROP COLUMN settings")).await;
    assert_refused(&bridge.run(&["run"]).await, &["lift_fence", "leadbridge migrate"]);
    let report = world.migrate(&MigrateOptions::default()).await;
    assert!(report.changes_something(), "{report}");
    assert!(!world.migrate(&MigrateOptions::default()).await.changes_something());
    world.fill(71, 5).await;
    bridge.catch_up().await;
    assert_equal(&world).await;

    // A form that no migration gives again is refused before anything is changed.
    traffic(&world, "ALTER TABLE leadbridge.markers ALTER slot DROP NOT NULL").await;
    assert_refused(&bridge.run(&["migrate"]).await, &["altered: column markers.slot", "Traffic"]);
    traffic(&world, "ALTER TABLE leadbridge.markers ALTER slot SET NOT NULL").await;
    bridge.catch_up().await;
}

#[tokio::test]
async fn a_schema_that_a_dba_has_made_and_a_name_that_needs_quotes_are_no_hindrance() {
    for schema in ["Lead-Bridge", "Школа", "leadbridge"] {
        let world = World::unmigrated().await;
        let names = Names { schema: schema.into(), ..world.names.clone() };
        let owner = "CREATE ROLE dba LOGIN PASSWORD 'x'; ALTER DATABASE {} OWNER TO dba;
                     DO $$ BEGIN EXECUTE 'GRANT ' || quote_ident((SELECT pg_get_userbyid(relowner) FROM pg_class
                         WHERE oid = 'public.{t}'::regclass)) || ' TO dba'; END $$;";
        let made = format!("CREATE SCHEMA \"{schema}\" AUTHORIZATION dba");
        let sql = |database, table| format!("{}{made}", owner.replace("{}", database).replace("{t}", table));
        landing(&world, &sql("landing", "landing_leads")).await;
        traffic(&world, &sql("traffic", "traffic_leads")).await;
        let (mut to_landing, mut to_traffic) = (world.landing().await, world.traffic().await);
        let options = MigrateOptions::default();
        for is_first in [true, false] {
            let report = migrate(&mut to_landing, &mut to_traffic, &names, &options).await.unwrap();
            assert_eq!(report.changes_something(), is_first, "{schema}: {report}");
        }
        for database in [Database::landing(&to_landing, &names), Database::traffic(&to_traffic, &names)] {
            own_schema::refuse_foreign_owner(database).await.unwrap();
            own_schema::admit(database, Extent::Whole).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_record_that_a_stranger_has_made_in_a_schema_of_his_own_bars_nobody() {
    let world = World::unmigrated().await;
    let claim = "CREATE ROLE mallory; CREATE SCHEMA claim AUTHORIZATION mallory; SET ROLE mallory;
         CREATE TABLE claim.installation (slot text, publication text, landing_system_id text, traffic_schema text);
         INSERT INTO claim.installation VALUES ('theirs', 'theirs', '1', 'public');
         GRANT USAGE ON SCHEMA claim TO PUBLIC; GRANT SELECT ON claim.installation TO PUBLIC; RESET ROLE";
    traffic(&world, claim).await;
    assert!(world.migrate(&MigrateOptions::default()).await.changes_something());
}
