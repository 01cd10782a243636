//! A fresh pair of databases for each variation, on two servers shared by all variations.

use tokio_postgres::Client;

use crate::testkit::{
    Bridge, Said, World, differences_beside_quarantine, holds, landing, one, until, until_holds,
};

/// Moment of a variation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Before `migrate`.
    First,
    /// After `migrate`, before the first start.
    Migrated,
    /// While a daemon streams.
    Streaming,
}

/// Required outcome of a variation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Traffic equals the oracle's rows, and rows that Traffic does not take are in quarantine.
    Exact,
    /// As `Exact`, and a cutover is refused with this name.
    ExactUntilCutover(&'static str),
    /// As `Exact`, and a cutover's dry run shows this name.
    ExactAndNamed(&'static str),
    /// Refused with this name, and the applications' writes work as before.
    Refused(&'static str),
}

/// A database as a school might have it.
#[derive(Clone, Copy, Debug)]
pub struct Variation {
    pub when: When,
    pub sql: &'static str,
    pub wanted: Wanted,
    /// A condition that must hold on the varied side at the end; empty for none.
    pub check: &'static str,
}

pub const fn first(sql: &'static str, wanted: Wanted) -> Variation {
    Variation { when: When::First, sql, wanted, check: "" }
}

pub const fn migrated(sql: &'static str, wanted: Wanted) -> Variation {
    Variation { when: When::Migrated, sql, wanted, check: "" }
}

pub const fn streaming(sql: &'static str, wanted: Wanted) -> Variation {
    Variation { when: When::Streaming, sql, wanted, check: "" }
}

impl Variation {
    pub const fn ends_with(self, check: &'static str) -> Variation {
        Variation { check, ..self }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Varied {
    Landing,
    Traffic,
}

/// Leads with and without a journey. Each id ends with the lead's number.
const ROWS: &str = "
    INSERT INTO landing_leads (id, name, phone, email, phone_normalized, amocrm_lead_id, metadata)
        SELECT ('00000000-0000-4000-8000-00000000000' || n)::uuid, 'lead ' || n, '+7 701 ' || n, n || '@example.com',
               '7701' || n, '10' || n, jsonb_build_object('utm_source', 'u' || n, 'n', n)
        FROM generate_series(1, 6) AS n;
    INSERT INTO journey_stages (lead_id, stage, source)
        SELECT id, stage, 's' FROM landing_leads, unnest(ARRAY['one', 'two']) AS stage WHERE name < 'lead 4'";

/// Changes of every kind, as an application makes changes. No statement depends on a cascade.
const WORK: &str = "
    INSERT INTO landing_leads (id, name, phone, email, amocrm_lead_id, metadata) VALUES
        ('00000000-0000-4000-8000-000000000007', 'lead 7', '+7 701 7', '7@example.com', '107', '{\"utm_source\": \"u7\"}');
    INSERT INTO journey_stages (lead_id, stage) VALUES ('00000000-0000-4000-8000-000000000007', 'one');
    UPDATE landing_leads SET email = 'x' || email, email_sent = NOT email_sent WHERE name IN ('lead 1', 'lead 5');
    UPDATE landing_leads SET metadata = metadata || '{\"utm_term\": \"t\"}' WHERE name = 'lead 2';
    UPDATE journey_stages SET stage = 'two' WHERE lead_id = '00000000-0000-4000-8000-000000000001';
    DELETE FROM journey_stages WHERE lead_id = '00000000-0000-4000-8000-000000000003';
    DELETE FROM landing_leads WHERE id IN ('00000000-0000-4000-8000-000000000003', '00000000-0000-4000-8000-000000000004');
    UPDATE landing_leads SET id = '00000000-0000-4000-8000-000000000008' WHERE name = 'lead 6'";

/// Daily statements of each side's applications.
const SITE: [&[&str]; 2] = [
    &[
        "UPDATE landing_leads SET name = name",
        "DELETE FROM landing_leads",
        "UPDATE journey_stages SET stage = stage",
        "DELETE FROM journey_stages",
        "INSERT INTO landing_leads (name, phone) VALUES ('n', '1')",
    ],
    &[
        "UPDATE traffic_leads SET name = name",
        "DELETE FROM traffic_leads",
        "INSERT INTO traffic_leads (name, phone) VALUES ('n', '1')",
    ],
];

/// The two servers.
pub struct CutoverSetup {
    world: World,
    varied: Varied,
}

impl CutoverSetup {
    pub async fn new(varied: Varied) -> CutoverSetup {
        let world = World::unmigrated().await;
        for (cluster, name) in [(&world.landing, "landing"), (&world.traffic, "traffic")] {
            let postgres = cluster.connect("postgres").await.unwrap();
            // A session of the process that made the template may still be ending.
            until("nobody is connected to the template", async || {
                postgres.batch_execute(&format!("ALTER DATABASE {name} RENAME TO school")).await.ok()
            })
            .await;
        }
        CutoverSetup { world, varied }
    }

    async fn renew(&self) {
        for (cluster, name) in [(&self.world.landing, "landing"), (&self.world.traffic, "traffic")] {
            let postgres = cluster.connect("postgres").await.unwrap();
            until_holds(&postgres, "NOT coalesce(bool_or(active), false) FROM pg_replication_slots").await;
            let drop = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots";
            postgres.execute(drop, &[]).await.unwrap();
            postgres.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await.unwrap();
            postgres.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE school")).await.unwrap();
        }
        landing(&self.world, ROWS).await;
    }

    async fn client(&self) -> Client {
        match self.varied {
            Varied::Landing => self.world.landing().await,
            Varied::Traffic => self.world.traffic().await,
        }
    }

    async fn vary(&self, variation: &Variation) {
        let varied = self.client().await.batch_execute(variation.sql).await;
        varied.unwrap_or_else(|error| panic!("{}: {error:?}", variation.sql));
    }

    /// Each statement of the applications, and the SQLSTATE of its failure; all effects are rolled back.
    async fn writes(&self) -> Vec<(&'static str, Option<String>)> {
        let client = self.client().await;
        let mut outcomes = Vec::new();
        for &sql in SITE[self.varied as usize] {
            client.batch_execute("BEGIN").await.unwrap();
            let error = client.batch_execute(sql).await.err();
            outcomes.push((sql, error.and_then(|error| error.code().map(|code| code.code().to_owned()))));
            client.batch_execute("ROLLBACK").await.unwrap();
        }
        outcomes
    }

    /// Plays one variation to the end; returns a description of the first violation.
    pub async fn play(&self, variation: &Variation) -> Option<String> {
        self.renew().await;
        let bridge = Bridge::new(&self.world);
        if variation.when == When::First {
            self.vary(variation).await;
        }
        let before = self.writes().await;
        let said = bridge.run(&["migrate"]).await;
        if said.code != 0 {
            let untouched = self.is_untouched().await;
            let verdict = self.refused(variation, &said.code, &said.err, &before).await;
            return verdict.or_else(|| (!untouched).then(|| "migrate has changed something".to_owned()));
        }
        if variation.when == When::Migrated {
            self.vary(variation).await;
        }
        let before = self.writes().await;
        if variation.when == When::Streaming {
            return self.streamed(variation, &bridge, &before).await;
        }
        for work in ["", WORK] {
            landing(&self.world, work).await;
            let said = bridge.run(&["run", "--until-caught-up"]).await;
            if said.code != 0 {
                return self.refused(variation, &said.code, &said.err, &before).await;
            }
        }
        self.exact(variation, &bridge, &before).await
    }

    async fn streamed(
        &self,
        variation: &Variation,
        bridge: &Bridge,
        before: &[(&'static str, Option<String>)],
    ) -> Option<String> {
        let mut daemon = bridge.daemon().await;
        daemon.streaming().await;
        daemon.caught_up(&self.world).await;
        self.vary(variation).await;
        if let Wanted::Refused(_) = variation.wanted {
            let ended = daemon.ended(std::time::Duration::from_secs(30)).await;
            let verdict = self.refused(variation, &ended.code().unwrap_or(-1), &daemon.log(), before).await;
            // The change is noticed without any write; a start notices the change too, before applying anything.
            let said = bridge.run(&["run", "--until-caught-up"]).await;
            let again = self.refused(variation, &said.code, &said.err, before).await;
            return verdict.or(again);
        }
        landing(&self.world, WORK).await;
        daemon.caught_up(&self.world).await;
        daemon.terminate().await;
        self.exact(variation, bridge, before).await
    }

    async fn is_untouched(&self) -> bool {
        let nothing = "to_regnamespace('leadbridge') IS NULL";
        holds(&self.world.landing().await, nothing).await && holds(&self.world.traffic().await, nothing).await
    }

    /// Exit 4, one error with the object's name and a remedy, and the site goes on as before.
    async fn refused(
        &self,
        variation: &Variation,
        code: &i32,
        log: &str,
        before: &[(&'static str, Option<String>)],
    ) -> Option<String> {
        let error = log.rsplit_once("error: ").map_or(log, |(_, error)| error);
        let Wanted::Refused(word) = variation.wanted else { return Some(format!("refused: {error}")) };
        let named = *code == 4 && error.contains(word) && error.contains("what to do: ");
        if !named {
            return Some(format!("exit {code}, and {word} is not in: {error}"));
        }
        self.goes_on(before).await
    }

    async fn goes_on(&self, before: &[(&'static str, Option<String>)]) -> Option<String> {
        let now = self.writes().await;
        (now != before).then(|| format!("the site's writes: {before:?} before, {now:?} now"))
    }

    async fn exact(
        &self,
        variation: &Variation,
        bridge: &Bridge,
        before: &[(&'static str, Option<String>)],
    ) -> Option<String> {
        if let Wanted::Refused(word) = variation.wanted {
            return Some(format!("admitted, although {word} is to be refused"));
        }
        let found = differences_beside_quarantine(&self.world).await;
        if !found.is_empty() {
            return Some(format!("differences: {found:?}"));
        }
        if !variation.check.is_empty() && !holds(&self.client().await, variation.check).await {
            return Some(format!("in the end it does not hold: {}", variation.check));
        }
        let rows: i64 = one(&self.world.traffic().await, "SELECT count(*) FROM traffic_leads").await;
        let quarantined: i64 =
            one(&self.world.traffic().await, "SELECT count(*) FROM leadbridge.quarantine").await;
        if rows + quarantined == 0 {
            return Some("nothing has arrived".to_owned());
        }
        let Said { code, out, .. } = bridge.run(&["cutover", "--dry-run", "--json"]).await;
        let said: serde_json::Value = serde_json::from_str(&out).unwrap();
        let findings = said["findings"].as_array().unwrap();
        let names = |level: &str, word: &str| {
            findings
                .iter()
                .any(|one| one["level"] == level && one["message"].as_str().unwrap().contains(word))
        };
        let shapes = ["tables", "columns", "keys", "replica_identity", "references"];
        let barred = findings
            .iter()
            .find(|one| one["level"] == "error" && shapes.contains(&one["check"].as_str().unwrap()));
        let fits = match variation.wanted {
            Wanted::ExactUntilCutover(word) => code == 1 && names("error", word),
            Wanted::ExactAndNamed(word) => barred.is_none() && names("warning", word),
            _ => barred.is_none(),
        };
        if !fits {
            return Some(format!("a cutover's dry run says {out}"));
        }
        self.goes_on(before).await
    }
}

/// Plays all variations, and fails with the list of all violations.
pub async fn play_all(varied: Varied, variations: &[Variation]) {
    let setup = CutoverSetup::new(varied).await;
    let mut wrong = Vec::new();
    for variation in variations {
        if let Some(verdict) = setup.play(variation).await {
            wrong.push(format!("{:?} {}\n    {verdict}", variation.when, variation.sql));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), variations.len(), wrong.join("\n"));
}
