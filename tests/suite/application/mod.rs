//! The school's old code, unchanged but for its connection: on Landing, after a cutover on Traffic, after a rollback on
//! Landing again.

mod calls;
mod form;
mod http;
mod notifications;
mod relation;
mod request;
mod schedulers;
mod transcript;

use calls::{Code, run};
use http::{AUTHENTICATOR, Http};

use crate::testkit::{World, landing};

const PRODUCTION: Code = Code { journey: "journey_stages", is_newer: true };

fn on_landing_url(world: &World) -> String {
    world.landing.url_as("authenticator", "authenticator", "landing")
}

fn on_traffic_url(world: &World) -> String {
    world.traffic.url_as("authenticator", "authenticator", "traffic")
}

async fn on_landing(world: &World) -> Http {
    Http::connect(&on_landing_url(world)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_code_runs_on_landing_and_every_run_has_the_same_answers() {
    let world = World::unmigrated().await;
    landing(&world, AUTHENTICATOR).await;
    let first = run(&mut on_landing(&world).await, PRODUCTION, "4101").await;
    let second = run(&mut on_landing(&world).await, PRODUCTION, "4202").await;
    let found = first.differences(&second);
    assert!(found.is_empty(), "{}", found.join("\n"));
}
