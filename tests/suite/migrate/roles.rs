//! The SQL for leadbridge's roles only adds, gives what PUBLIC may not have, and refuses a role of somebody else.

use leadbridge::migrate::{MigrateOptions, MigratedSide, privileges};
use tokio_postgres::Client;

use super::scalar;
use crate::testkit::World;

const SIDES: [MigratedSide; 2] = [MigratedSide::Landing, MigratedSide::Traffic];

async fn on(world: &World, side: MigratedSide) -> Client {
    match side {
        MigratedSide::Landing => world.landing().await,
        MigratedSide::Traffic => world.traffic().await,
    }
}

fn sql(world: &World, side: MigratedSide) -> String {
    privileges(side, &world.names, "worker", &MigrateOptions::default()).unwrap()
}

/// Everything that a role has, but for the grants: attributes, password, settings, memberships, comment.
const HAD: &str = "SELECT concat_ws(E'\\n', a.*::text,
        (SELECT string_agg(concat_ws(' ', s.setdatabase, s.setconfig::text), ';' ORDER BY s.setdatabase)
         FROM pg_db_role_setting AS s WHERE s.setrole = a.oid),
        (SELECT string_agg(concat_ws(' ', m.roleid::regrole, m.member::regrole, m.admin_option), ';' ORDER BY m.roleid, m.member)
         FROM pg_auth_members AS m WHERE a.oid IN (m.roleid, m.member)),
        shobj_description(a.oid, 'pg_authid'))
    FROM pg_authid AS a WHERE a.rolname = 'worker'";

/// The grants to the role.
const GRANTS: &str =
    "SELECT c.oid::text AS object, a.privilege_type AS privilege, a.is_grantable AS grantable
    FROM pg_class AS c, aclexplode(c.relacl) AS a WHERE a.grantee = 'worker'::regrole
    UNION ALL SELECT n.oid::text, a.privilege_type, a.is_grantable
    FROM pg_namespace AS n, aclexplode(n.nspacl) AS a WHERE a.grantee = 'worker'::regrole
    UNION ALL SELECT d.oid::text, a.privilege_type, a.is_grantable
    FROM pg_database AS d, aclexplode(d.datacl) AS a WHERE a.grantee = 'worker'::regrole
    UNION ALL SELECT d.oid::text, a.privilege_type, a.is_grantable
    FROM pg_default_acl AS d, aclexplode(d.defaclacl) AS a WHERE a.grantee = 'worker'::regrole";

#[tokio::test]
async fn nothing_that_an_existing_role_had_is_gone_after_the_printed_sql() {
    let world = World::new().await;
    for side in SIDES {
        let client = on(&world, side).await;
        for attributes in [
            "LOGIN REPLICATION BYPASSRLS CREATEDB CREATEROLE INHERIT CONNECTION LIMIT 7 VALID UNTIL '2099-01-01'",
            "LOGIN REPLICATION BYPASSRLS NOINHERIT",
            "LOGIN SUPERUSER CREATEDB CREATEROLE",
        ] {
            client
                .batch_execute(&format!(
                    "CREATE ROLE worker {attributes} PASSWORD 'theirs'; COMMENT ON ROLE worker IS 'of the school';
                     CREATE ROLE team; CREATE ROLE apprentice; GRANT team TO worker WITH ADMIN OPTION; GRANT worker TO apprentice;
                     ALTER ROLE worker SET statement_timeout = '5min';
                     ALTER ROLE worker SET idle_in_transaction_session_timeout = '1min';
                     ALTER ROLE worker SET search_path = leadbridge, public;
                     ALTER ROLE worker SET log_error_verbosity = 'verbose';
                     DO $$ BEGIN EXECUTE format('ALTER ROLE worker IN DATABASE %I SET work_mem = ''8MB''', current_database()); END $$;
                     CREATE TABLE theirs (id int); GRANT ALL ON theirs TO worker WITH GRANT OPTION;
                     GRANT CREATE ON SCHEMA public TO worker; GRANT ALL ON ALL TABLES IN SCHEMA public TO worker;
                     ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO worker;
                     CREATE TABLE granted AS {GRANTS}"
                ))
                .await
                .unwrap();
            let before: String = scalar(&client, HAD).await;
            client.batch_execute(&sql(&world, side)).await.unwrap();
            assert_eq!(scalar::<String>(&client, HAD).await, before, "{side}: {attributes}");
            let gone = format!("SELECT count(*) FROM (TABLE granted EXCEPT ({GRANTS})) AS gone");
            assert_eq!(scalar::<i64>(&client, &gone).await, 0, "{side}: {attributes}");
            let clear = "DROP TABLE granted; DROP OWNED BY worker; DROP TABLE theirs; DROP ROLE worker, team, apprentice";
            client.batch_execute(clear).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_role_of_somebody_else_that_lacks_an_attribute_is_refused_with_the_difference() {
    let world = World::new().await;
    for (side, lacks) in SIDES.into_iter().zip(["REPLICATION BYPASSRLS", "BYPASSRLS"]) {
        let client = on(&world, side).await;
        client.batch_execute("CREATE ROLE worker LOGIN CREATEDB").await.unwrap();
        let before: String = scalar(&client, HAD).await;
        let error = client.batch_execute(&sql(&world, side)).await.unwrap_err();
        let refused = error.as_db_error().unwrap();
        let said =
            format!("the role worker exists, leadbridge has not made the role, and the role lacks {lacks}");
        assert_eq!(refused.message(), said);
        assert!(
            refused.hint().unwrap().contains(&format!("ALTER ROLE worker {lacks}")),
            "{:?}",
            refused.hint()
        );
        assert_eq!(scalar::<String>(&client, HAD).await, before);
        client.batch_execute(&format!("ALTER ROLE worker {lacks}")).await.unwrap();
        client.batch_execute(&sql(&world, side)).await.unwrap();
    }
}

#[tokio::test]
async fn a_role_that_leadbridge_makes_is_marked_and_has_replication_on_landing_alone() {
    let world = World::new().await;
    for side in SIDES {
        let client = on(&world, side).await;
        client.batch_execute(&sql(&world, side)).await.unwrap();
        let attributes =
            "SELECT concat_ws(' ', rolcanlogin, rolreplication, rolbypassrls, rolcreatedb, rolcreaterole,
                              shobj_description(oid, 'pg_authid')) FROM pg_roles WHERE rolname = 'worker'";
        let replicates = side == MigratedSide::Landing;
        let mark = "made by leadbridge for the slot leadbridge, schema leadbridge";
        let wanted = format!("t {} t f f {mark}", if replicates { "t" } else { "f" });
        assert_eq!(scalar::<String>(&client, attributes).await, wanted);
        // What an administrator has given since stays, and what is lacking is given again.
        client.batch_execute("ALTER ROLE worker CREATEDB NOBYPASSRLS").await.unwrap();
        client.batch_execute(&sql(&world, side)).await.unwrap();
        let wanted = format!("t {} t t f {mark}", if replicates { "t" } else { "f" });
        assert_eq!(scalar::<String>(&client, attributes).await, wanted);
    }
}
