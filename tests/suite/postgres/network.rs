//! A network between the daemon and either server that cuts, delays, throttles and drops: the daemon ends exact,
//! without help.

use std::time::Duration;

use leadbridge::throwaway::writers::WriteRate;

use crate::testkit::{
    Bridge, Daemon, Fault, Positions, Proxy, Target, World, assert_equal, brake, caught_up_and_equal, holds,
    landing, release_brake, traffic, until_holds, until_true, writers_go_on,
};

/// Names of the daemon's connections while streaming, and while copying.
const LANDING_STREAM: [&str; 3] = ["stream", "control", "monitor"];
const LANDING_COPY: [&str; 2] = ["snapshot", "monitor"];
const TRAFFIC_STREAM: [&str; 2] = ["apply", "monitor"];
const TRAFFIC_COPY: [&str; 3] = ["snapshot", "apply", "monitor"];

/// Two servers, each behind a proxy, and an installation between the proxies.
struct Net {
    world: World,
    landing: Proxy,
    traffic: Proxy,
    bridge: Bridge,
}

impl Net {
    async fn new(seed: u64, leads: usize) -> Net {
        Self::configured(seed, leads, "").await
    }

    /// With the snapshot in small steps, so that a fault can hit the middle.
    async fn copying(seed: u64, leads: usize) -> (Net, Daemon) {
        let net = Self::configured(seed, leads, "[stream]\nbatch_rows = 40\n[snapshot]\nworkers = 2").await;
        brake(&net.world, 0.2).await;
        let mut daemon = net.bridge.daemon().await;
        copies(&mut daemon).await;
        (net, daemon)
    }

    async fn configured(seed: u64, leads: usize, lines: &str) -> Net {
        let world = World::new().await;
        world.fill(seed, leads).await;
        let landing = Proxy::to(world.landing.port()).await;
        let traffic = Proxy::to(world.traffic.port()).await;
        let bridge = Bridge::between(
            &landing.url(&world.landing_url(), world.landing.port()),
            &traffic.url(&world.traffic_url(), world.traffic.port()),
        )
        .configured(lines);
        Net { world, landing, traffic, bridge }
    }

    async fn streaming(&self) -> Daemon {
        let mut daemon = self.bridge.daemon().await;
        daemon.streaming().await;
        daemon
    }

    /// Every connection of the daemon while streaming, or while copying.
    fn connections(&self, streams: bool) -> Vec<(&Proxy, Target)> {
        let named = |names: &[&'static str]| names.iter().copied().map(Target::Named).collect::<Vec<_>>();
        let (landing, traffic) = match streams {
            true => (named(&LANDING_STREAM), named(&TRAFFIC_STREAM)),
            false => (named(&LANDING_COPY), named(&TRAFFIC_COPY)),
        };
        let landing = landing.into_iter().map(|target| (&self.landing, target));
        landing.chain(traffic.into_iter().map(|target| (&self.traffic, target))).collect()
    }

    /// Ends the story: every written change has arrived, the positions have their order.
    async fn exact(&self, mut daemon: Daemon) {
        daemon.caught_up(&self.world).await;
        daemon.terminate().await;
        Positions::read(&self.world, &self.bridge).await.assert_ordered();
        assert_equal(&self.world).await;
    }
}

/// Waits until some rows are copied, but not all.
async fn copies(daemon: &mut Daemon) {
    let copied = |status: &serde_json::Value| {
        status["state"] == "snapshot"
            && status["snapshot"][0]["rows_done"].as_u64().is_some_and(|rows| rows > 0)
    };
    daemon.until("rows are copied", copied).await;
}

/// Injects a fault that must hit an open connection.
async fn strike(proxy: &Proxy, target: Target, fault: Fault) {
    until_true("such a connection is struck", async || proxy.inject(target, fault) > 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_connection_of_the_stream_may_be_cut_under_live_writers() {
    let net = Net::new(80, 60).await;
    let writers = net.world.write(&WriteRate::default());
    let daemon = net.streaming().await;
    for (proxy, target) in net.connections(true) {
        strike(proxy, target, Fault::Cut).await;
        writers_go_on(&net.world, 10).await;
    }
    for proxy in [&net.landing, &net.traffic] {
        strike(proxy, Target::Every, Fault::Cut).await;
        writers_go_on(&net.world, 10).await;
    }
    writers.stop().await.unwrap();
    net.exact(daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_connection_of_the_snapshot_may_be_cut_under_live_writers() {
    let (net, mut daemon) = Net::copying(81, 200).await;
    let writers = net.world.write(&WriteRate::default());
    for (proxy, target) in net.connections(false) {
        copies(&mut daemon).await;
        strike(proxy, target, Fault::Cut).await;
    }
    release_brake(&net.world).await;
    writers.stop().await.unwrap();
    net.exact(daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_and_a_narrow_network_delay_snapshot_and_stream_and_break_nothing() {
    let net = Net::new(82, 60).await;
    let writers = net.world.write(&WriteRate::default());
    for proxy in [&net.landing, &net.traffic] {
        proxy.inject(Target::Every, Fault::Throttle(200_000));
    }
    let mut daemon = net.streaming().await;
    for (proxy, target) in net.connections(true) {
        proxy.inject(target, Fault::Delay(Duration::from_millis(100)));
        writers_go_on(&net.world, 5).await;
    }
    writers.stop().await.unwrap();
    for proxy in [&net.landing, &net.traffic] {
        proxy.heal();
    }
    daemon.caught_up(&net.world).await;
    assert!(!daemon.log().contains("retry_in"), "{}", daemon.log());
    net.exact(daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_neither_lost_nor_made_twice() {
    // Only changes are committed: idle positions are not recorded.
    let net = Net::configured(83, 40, "[stream]\ncheckpoint_interval = \"1h\"").await;
    // Every write of a lead leaves a log line, for any role.
    traffic(
        &net.world,
        "CREATE TABLE public.written (id uuid, clicks int);
         CREATE FUNCTION public.witness() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO public.written VALUES (NEW.id, NEW.click_count); RETURN NULL; END $$;
         CREATE TRIGGER witness AFTER INSERT OR UPDATE ON public.traffic_leads
             FOR EACH ROW EXECUTE FUNCTION public.witness();
         ALTER TABLE public.traffic_leads ENABLE ALWAYS TRIGGER witness",
    )
    .await;
    let mut daemon = net.streaming().await;
    landing(&net.world, "UPDATE landing_leads SET click_count = 100").await;
    daemon.caught_up(&net.world).await;
    traffic(&net.world, "TRUNCATE public.written").await;
    let applied = |status: serde_json::Value| status["transactions_applied"].as_u64().unwrap();
    let before = applied(daemon.status().await);
    for round in 1..=5 {
        net.traffic.inject(Target::Named("apply"), Fault::CutAfterCommit);
        landing(&net.world, "UPDATE landing_leads SET click_count = click_count + 1").await;
        until_true("a commit is cut", async || net.traffic.commits_cut() == round).await;
        daemon.caught_up(&net.world).await;
    }
    assert_eq!(daemon.log().matches("committing on Traffic: ").count(), 5, "{}", daemon.log());
    // An attempt counts no transaction without a received answer; only a later attempt that repeats the work counts.
    assert_eq!(applied(daemon.status().await), before);
    let client = net.world.traffic().await;
    let once = "(SELECT count(*) FROM public.written) = 5 * (SELECT count(*) FROM public.traffic_leads)
        AND (SELECT count(*) = count(DISTINCT (id, clicks)) FROM public.written)";
    assert!(holds(&client, once).await);
    net.exact(daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_open_apply_connection_is_given_up_and_its_lease_and_locks_with_it() {
    let net = Net::new(84, 40).await;
    let mut daemon = net.streaming().await;
    strike(&net.traffic, Target::Named("apply"), Fault::HalfOpen).await;
    landing(&net.world, "UPDATE landing_leads SET click_count = click_count + 1").await;
    daemon.logs("half-open connection").await;
    caught_up_and_equal(&net.world, &mut daemon).await;
    assert!(!daemon.log().contains("standing by"), "its own earlier session is no other daemon");
    net.exact(daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_open_connection_that_rows_are_read_back_on_is_given_up() {
    let net = Net::new(85, 40).await;
    let mut daemon = net.streaming().await;
    strike(&net.landing, Target::Named("control"), Fault::HalfOpen).await;
    traffic(&net.world, "DELETE FROM traffic_leads").await;
    landing(
        &net.world,
        "UPDATE landing_leads SET metadata = metadata || jsonb_build_object('long',
             (SELECT string_agg(md5(i::text || name), '') FROM generate_series(1, 150) AS i));
         DELETE FROM journey_stages",
    )
    .await;
    daemon.caught_up(&net.world).await;
    traffic(&net.world, "DELETE FROM traffic_leads").await;
    landing(&net.world, "UPDATE landing_leads SET click_count = click_count + 1").await;
    daemon.logs("half-open connection").await;
    caught_up_and_equal(&net.world, &mut daemon).await;
    net.exact(daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_open_connections_of_a_snapshot_are_given_up_on_either_side() {
    // Two stories at the same time, because both are mostly silence.
    tokio::join!(
        a_half_open_snapshot_is_given_up(|net| &net.landing),
        a_half_open_snapshot_is_given_up(|net| &net.traffic)
    );
}

async fn a_half_open_snapshot_is_given_up(side: impl Fn(&Net) -> &Proxy) {
    let (net, daemon) = Net::copying(86, 200).await;
    strike(side(&net), Target::Named("snapshot"), Fault::HalfOpen).await;
    daemon.logs("half-open connection").await;
    release_brake(&net.world).await;
    net.exact(daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_a_wait_for_a_lock_nor_a_batch_long_on_its_way_is_taken_for_a_dead_connection() {
    // Two stories at the same time, because both mostly wait.
    tokio::join!(a_statement_waits_for_somebodys_lock(), a_batch_is_long_on_its_way());
}

async fn a_statement_waits_for_somebodys_lock() {
    let net = Net::new(87, 40).await;
    let mut daemon = net.streaming().await;
    let holder = net.world.traffic().await;
    holder.batch_execute("BEGIN; SELECT FROM traffic_leads FOR UPDATE").await.unwrap();
    landing(&net.world, "UPDATE landing_leads SET click_count = click_count + 1").await;
    let waiting = "count(*) > 0 FROM pg_stat_activity WHERE application_name = 'leadbridge apply'
        AND wait_event_type = 'Lock' AND now() - query_start > interval '12 seconds'";
    until_holds(&net.world.traffic().await, waiting).await;
    assert!(!daemon.log().contains("retry_in"), "{}", daemon.log());
    holder.batch_execute("ROLLBACK").await.unwrap();
    caught_up_and_equal(&net.world, &mut daemon).await;
    net.exact(daemon).await;
}

async fn a_batch_is_long_on_its_way() {
    let net = Net::new(89, 40).await;
    let mut daemon = net.streaming().await;
    let landing = net.world.landing().await;
    // One transaction of about 500 kB: more than fifteen seconds at the throttled rate.
    net.traffic.inject(Target::Named("apply"), Fault::Throttle(30_000));
    let long = "UPDATE landing_leads SET metadata = metadata || jsonb_build_object('long',
        (SELECT string_agg(md5(i::text || name), '') FROM generate_series(1, 400) AS i))";
    landing.batch_execute(long).await.unwrap();
    daemon.caught_up(&net.world).await;
    assert!(!daemon.log().contains("retry_in"), "{}", daemon.log());
    net.exact(daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_carries_nothing_for_a_while_is_waited_for() {
    let net = Net::new(88, 40).await;
    let mut daemon = net.streaming().await;
    let writers = net.world.write(&WriteRate::default());
    for proxy in [&net.landing, &net.traffic] {
        proxy.inject(Target::Every, Fault::Stall);
        writers_go_on(&net.world, 30).await;
        proxy.heal();
        daemon.caught_up(&net.world).await;
    }
    for proxy in [&net.landing, &net.traffic] {
        proxy.inject(Target::Every, Fault::Refuse);
        proxy.inject(Target::Every, Fault::Cut);
        let status = daemon.until("the outage is seen", |status| status["state"] == "error").await;
        assert_eq!(status["last_error"]["retrying"], true, "{status}");
        proxy.heal();
        daemon.caught_up(&net.world).await;
    }
    writers.stop().await.unwrap();
    net.exact(daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_landing_is_left_alone() {
    let net = Net::configured(91, 10, "[stream]\ncheckpoint_interval = \"1h\"").await;
    let daemon = net.streaming().await;
    // Longer than the permitted silence of a connection with a waiting caller.
    let idle = "count(*) = 1 FROM pg_stat_activity WHERE application_name = 'leadbridge apply'
        AND state = 'idle' AND now() - state_change > interval '15 seconds'";
    until_holds(&net.world.traffic().await, idle).await;
    assert!(!daemon.log().contains("retry_in"), "{}", daemon.log());
    net.exact(daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_cut_at_one_position_again_and_again_points_to_the_servers_log() {
    let net = Net::new(92, 20).await;
    let mut daemon = net.streaming().await;
    // No row is written meanwhile, but now and then the server's own records move the position.
    while !daemon.log().contains("cut 3 times in a row") {
        daemon.streaming().await;
        let heard = daemon.log().matches("retry_in").count();
        strike(&net.landing, Target::Named("stream"), Fault::Cut).await;
        until_true("the cut is heard of", async || daemon.log().matches("retry_in").count() > heard).await;
    }
    assert!(daemon.log().contains("log of the Landing DB's server"), "{}", daemon.log());
    // The beginning of a stream is no progress, because a stream began before each cut.
    let told = |status: &serde_json::Value| {
        status["state"] == "streaming"
            && status["last_error"]["message"]
                .as_str()
                .is_some_and(|message| message.contains("times in a row"))
    };
    daemon.until("the status tells of it, too", told).await;
    landing(&net.world, "UPDATE landing_leads SET click_count = click_count + 1").await;
    daemon.until("nothing is wrong any more", |status| status["last_error"].is_null()).await;
    net.exact(daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_is_full_is_named_and_waited_for_once_both_databases_were_reached() {
    let net = Net::new(93, 20).await;
    for proxy in [&net.landing, &net.traffic] {
        proxy.inject(Target::Every, Fault::TurnAway);
        let said = net.bridge.run(&["run"]).await;
        assert_eq!(said.code, 3, "{}", said.err);
        assert!(said.err.contains("XX000") && said.err.contains("what to do: "), "{}", said.err);
        proxy.heal();
    }
    let mut daemon = net.streaming().await;
    for proxy in [&net.landing, &net.traffic] {
        proxy.inject(Target::Every, Fault::TurnAway);
        proxy.inject(Target::Every, Fault::Cut);
        let full = |status: &serde_json::Value| {
            let error = &status["last_error"];
            error["retrying"] == true
                && error["message"].as_str().is_some_and(|message| message.contains("XX000"))
                && error["remedy"].as_str().is_some_and(|remedy| remedy.contains("pooler full"))
        };
        daemon.until("the pooler is named", full).await;
        proxy.heal();
        daemon.caught_up(&net.world).await;
    }
    net.exact(daemon).await;
}
