//! The school's old code, unchanged but for its connection: on Landing, after a cutover on Traffic, after a rollback on
//! Landing again.

mod calls;
mod form;
pub mod http;
mod notifications;
mod relation;
mod request;
mod same_rows;
mod schedulers;
mod transcript;

use serde_json::json;

use calls::{Code, run};
use form::Form;
use http::{AUTHENTICATOR, Http};
use same_rows::assert_legacy_names_show_landing;
use transcript::Transcript;

use crate::cutover::CutoverSetup;
use crate::replication::reverse::exact::assert_back;
use crate::replication::reverse::switch::carried;
use crate::testkit::{Bridge, World, caught_up_and_equal, landing, traffic};

const PRODUCTION: Code = Code { journey: "journey_stages", is_newer: true };
/// Landing's view of leads with their journey: production's definition.
const WITH_JOURNEY: &str = "
    CREATE VIEW leads_with_journey AS
    SELECT l.*, coalesce((SELECT json_agg(json_build_object('stage', j.stage, 'source', j.source, 'at', j.created_at)
                              ORDER BY j.created_at, j.id)
                          FROM journey_stages AS j WHERE j.lead_id = l.id), '[]') AS journey_stages
    FROM landing_leads AS l;
    GRANT SELECT ON leads_with_journey TO service_role";

/// The same of an older Landing.
const OLDER_WITH_JOURNEY: &str = "
    CREATE VIEW leads_with_journey AS
    SELECT l.id, l.name, l.phone, l.source, l.created_at,
        json_agg(json_build_object('stage', j.stage, 'at', j.created_at) ORDER BY j.created_at, j.id)
            FILTER (WHERE j.id IS NOT NULL) AS journey_stages
    FROM landing_leads AS l LEFT JOIN lead_journey AS j ON j.lead_id = l.id GROUP BY l.id;
    GRANT SELECT ON leads_with_journey TO service_role";

const OLDER: Code = Code { journey: "lead_journey", is_newer: false };

fn on_landing_url(world: &World) -> String {
    world.landing.url_as("authenticator", "authenticator", "landing")
}

fn on_traffic_url(world: &World) -> String {
    world.traffic.url_as("authenticator", "authenticator", "traffic")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_code_runs_on_landing_and_every_run_has_the_same_answers() {
    let world = World::unmigrated().await;
    landing(&world, &[AUTHENTICATOR, WITH_JOURNEY].join(";")).await;
    let url = on_landing_url(&world);
    let first = run(&mut Http::connect(&url).await, PRODUCTION, "4101").await;
    // The answers are rows and refusals, not failures of the calls.
    assert_eq!(first.answer("the same e-mail")["rows"], first.answer("a lead through the function")["rows"]);
    assert_eq!(first.answer("journey entries with their lead")["total"], 2);
    assert_eq!(first.answer("a journey entry of no lead"), &json!({ "error": "23503" }));
    assert_eq!(first.answer("anon: a lead"), &json!({ "rows": [] }));
    assert_eq!(first.answer("authenticated: a lead"), &json!({ "error": "42501" }));
    let second = run(&mut Http::connect(&url).await, PRODUCTION, "4202").await;
    let found = first.differences(&second);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The two databases of a school while the old code runs, and Traffic's own form.
struct Play {
    setup: CutoverSetup,
    form: Form,
    code: Code,
}

impl Play {
    /// Everything migrated as an operator does, and the daemon streaming.
    async fn begin(world: World, code: Code) -> Play {
        let with_journey = if code.is_newer { WITH_JOURNEY } else { OLDER_WITH_JOURNEY };
        landing(&world, &[AUTHENTICATOR, with_journey].join(";")).await;
        traffic(&world, AUTHENTICATOR).await;
        let bridge = Bridge::new(&world).configured("scheduled_notifications = true");
        let migrated = bridge.run(&["migrate", "--api-access", "--legacy"]).await;
        assert_eq!(migrated.code, 0, "{}{}", migrated.out, migrated.err);
        let form = Form::open(&on_traffic_url(&world)).await;
        let mut daemon = bridge.daemon().await;
        daemon.caught_up(&world).await;
        Play { setup: CutoverSetup { world, bridge, daemon }, form, code }
    }

    /// Runs the old code on Landing. Afterwards Traffic is what the mapping makes of Landing.
    async fn on_landing(&mut self, tag: &str) -> Transcript {
        let CutoverSetup { world, bridge, daemon } = &mut self.setup;
        let said = run(&mut Http::connect(&on_landing_url(world)).await, self.code, tag).await;
        caught_up_and_equal(world, daemon).await;
        let verified = bridge.run(&["verify"]).await;
        assert_eq!(verified.code, 0, "{}{}", verified.out, verified.err);
        self.form.assert_undisturbed(world).await;
        assert_legacy_names_show_landing(world, self.code.journey).await;
        said
    }

    /// Runs the old code on Traffic. Afterwards the mapping makes Traffic's rows of Landing's.
    async fn on_traffic(&mut self, tag: &str) -> Transcript {
        let CutoverSetup { world, daemon, .. } = &mut self.setup;
        let said = run(&mut Http::connect(&on_traffic_url(world)).await, self.code, tag).await;
        carried(world, daemon).await;
        assert_back(world, &[]).await;
        self.form.assert_undisturbed(world).await;
        assert_legacy_names_show_landing(world, self.code.journey).await;
        said
    }

    /// The HTTP layer finds the lead of a journey entry and of a notification through the views of Traffic.
    async fn assert_leads_can_be_embedded(&self) {
        let traffic = self.setup.world.traffic().await;
        for child in ["journey_stages", "lead_journey", "scheduled_notifications"] {
            let found = relation::between(&traffic, child, "landing_leads").await;
            assert_eq!(found, Some(("lead_id".to_owned(), "id".to_owned())), "{child}");
        }
    }

    /// The whole move. The form is refused by nothing but the fence of the rollback.
    async fn play(mut self) {
        let first = self.on_landing("4101").await;
        self.assert_leads_can_be_embedded().await;
        self.setup.switches(&[]).await;
        self.setup.flows_back().await;
        let second = self.on_traffic("4202").await;
        self.form.goes_on().await;
        assert_eq!(self.form.refused().await, 0, "the form is refused");
        self.setup.rolls_back(&["--max-pause", "10s", "--refuse-for", "10s"]).await;
        self.setup
            .daemon
            .until("the stream from Landing resumes", |status| status["state"] == "streaming")
            .await;
        let third = self.on_landing("4303").await;
        // Once the fence is open.
        self.form.goes_on().await;
        self.form.assert_undisturbed(&self.setup.world).await;
        self.form.close().await;
        for (where_, other) in [("Traffic", &second), ("Landing after the rollback", &third)] {
            let found = first.differences(other);
            assert!(found.is_empty(), "on {where_}, {} answers differ:\n{}", found.len(), found.join("\n"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_code_runs_unchanged_on_landing_on_traffic_and_on_landing_again() {
    let world = World::unmigrated().await;
    world.fill(300, 40).await;
    Play::begin(world, PRODUCTION).await.play().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_code_of_an_older_landing_runs_on_a_traffic_with_a_migration_016_of_its_own() {
    let world = World::older().await;
    Play::begin(world, OLDER).await.play().await;
}
