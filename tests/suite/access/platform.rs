//! The school's databases with the roles and grants of the platform.

use leadbridge::config::{Config, Flags};
use leadbridge::doctor;
use leadbridge::report::{Finding, Level};
use tokio_postgres::Client;

use crate::testkit::{World, landing, traffic};

pub const ROLES: [&str; 2] = ["anon", "authenticated"];

/// Takes away what the databases of the other tests grant, and grants what each test here begins with.
const GRANT_ANEW: &str = "
     REVOKE ALL ON ALL TABLES IN SCHEMA public FROM anon, authenticated, service_role;
     GRANT USAGE ON SCHEMA public TO anon, authenticated, service_role;
     CREATE SCHEMA auth; GRANT USAGE ON SCHEMA auth TO anon, authenticated, service_role;
     CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS 'SELECT NULL::uuid';";

/// What the platform granted on new objects of `public` before 2026-10-30.
const DEFAULT_PRIVILEGES: &str = "
     GRANT ALL ON ALL TABLES IN SCHEMA public TO anon, authenticated, service_role;
     ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO anon, authenticated, service_role;
     ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON FUNCTIONS TO anon, authenticated, service_role;
     ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON SEQUENCES TO anon, authenticated, service_role;";

/// Notifications are closed here, so that each policy is of a test.
const FIXTURE_POLICIES: &str = "DROP POLICY \"Anyone can leave a lead\" ON landing_leads;
     DROP POLICY \"Open to everybody\" ON scheduled_notifications;";

/// Policy of Landing by which the site takes leads.
pub const TAKE_LEADS: &str =
    "CREATE POLICY \"Anyone can leave a lead\" ON landing_leads FOR INSERT TO anon WITH CHECK (true)";

/// Unmigrated databases on a platform that grants new objects to the API's roles, or not. Landing has been there
/// for longer: all roles have all grants, and row-level security hides the rows.
pub async fn world(grants_by_default: bool) -> World {
    let world = World::unmigrated().await;
    landing(&world, &format!("{GRANT_ANEW}{DEFAULT_PRIVILEGES}{FIXTURE_POLICIES}{TAKE_LEADS}")).await;
    let defaults = if grants_by_default { DEFAULT_PRIVILEGES } else { "" };
    traffic(&world, &format!("{GRANT_ANEW}{defaults}")).await;
    world
}

/// A Traffic whose leads everybody may read and write: no row-level security, and every grant.
pub async fn open_traffic(world: &World) {
    let sql = "ALTER TABLE traffic_leads DISABLE ROW LEVEL SECURITY;
               GRANT ALL ON traffic_leads TO anon, authenticated, service_role";
    traffic(world, sql).await;
}

/// The findings of `doctor` about the API's roles, with `accept` of the configuration.
pub async fn findings(world: &World, accept: &[&str]) -> Vec<Finding> {
    let (from, to) = (world.landing_url(), world.traffic_url());
    let env = |name: &str| match name {
        "LANDING_DATABASE_URL" => Some(from.clone()),
        "TRAFFIC_DATABASE_URL" => Some(to.clone()),
        "LEADBRIDGE_HTTP_LISTEN" => Some("off".into()),
        "LEADBRIDGE_STATE_DIR" => Some("/nowhere/yet".into()),
        _ => None,
    };
    let mut config = Config::load(&Flags::default(), &env).unwrap();
    config.settings.accepted_access = accept.iter().map(|&entry| entry.to_owned()).collect();
    config.settings.scheduled_notifications = true;
    let found = doctor::examine(&config).await.findings;
    found.into_iter().filter(|finding| finding.check == "api_access").collect()
}

/// The errors among [`findings`].
pub async fn errors(world: &World) -> Vec<Finding> {
    findings(world, &[]).await.into_iter().filter(|finding| finding.level == Level::Error).collect()
}

/// The SQL at the end of a remedy, as an operator copies it.
pub fn sql_of(finding: &Finding) -> String {
    finding.remedy.as_ref().unwrap().to_string().split_once("on the Traffic DB: ").unwrap().1.to_owned()
}

/// Runs a statement as `role`; the number of rows, or the SQLSTATE.
pub async fn rows_as(client: &Client, role: &str, sql: &str) -> Result<usize, String> {
    client.batch_execute(&format!("BEGIN; SET LOCAL ROLE {role}")).await.unwrap();
    let rows = client.query(sql, &[]).await;
    client.batch_execute("ROLLBACK").await.unwrap();
    rows.map(|rows| rows.len()).map_err(|error| error.code().unwrap().code().to_owned())
}
