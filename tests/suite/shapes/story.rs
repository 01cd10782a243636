//! The acts of a move, in SQL that both shapes understand.

use serde_json::Value;

use crate::cutover::CutoverSetup;
use crate::replication::reverse::exact::assert_back;
use crate::replication::reverse::switch::carried;
use crate::testkit::{Bridge, World, assert_equal, caught_up_and_equal, holds, landing, one, traffic};

/// Leads with and without TOASTed metadata, a journey entry for two of three leads, and their notifications.
const ROWS: &str = "
    INSERT INTO landing_leads (id, name, phone, email, source, amocrm_lead_id, metadata)
    SELECT ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'lead ' || n, '8 (701) ' || n, n || '@example.kz',
           'twland', (1000 + n)::text, jsonb_build_object('utmParams', '{\"utm_source\": \"kenjifb\"}'::jsonb, 'answers', noise)
    FROM generate_series(1, 40) AS n, LATERAL (
        SELECT string_agg(md5(n::text || i), '') AS noise FROM generate_series(1, CASE n % 4 WHEN 0 THEN 200 END) AS i) AS x;
    INSERT INTO JOURNEY (lead_id, stage, source, metadata)
    SELECT id, 'proftest_submitted', source, metadata FROM landing_leads WHERE name LIKE 'lead %' AND name !~ '[369]$';
    INSERT INTO scheduled_notifications (lead_id, notification_type, scheduled_for)
    SELECT id, 'both', now() FROM landing_leads WHERE name LIKE 'lead %'";

/// Changes of every kind; each is one step of the stream. CARRIED is a column of leads.
const CHANGES: [&str; 7] = [
    "INSERT INTO landing_leads (name, phone, email) SELECT 'new', n::text, 'new@example.kz' FROM generate_series(1, 5) AS n",
    // The TOASTed metadata is not sent.
    "UPDATE landing_leads SET source = 'Challenge3D', CARRIED = 'streamed' WHERE name ~ '[048]$'",
    "UPDATE JOURNEY SET source = 'streamed', ENTRY = 'streamed'",
    "UPDATE scheduled_notifications SET status = 'sent', NOTE = 'streamed'",
    "UPDATE landing_leads AS l SET id = gen_random_uuid(), CARRIED = 'another key' WHERE name IN ('lead 3', 'lead 6')
         AND NOT EXISTS (SELECT FROM scheduled_notifications AS n WHERE n.lead_id = l.id)",
    "DELETE FROM scheduled_notifications WHERE lead_id IN (SELECT id FROM landing_leads WHERE name IN ('lead 9', 'lead 13'))",
    "BEGIN; DELETE FROM landing_leads WHERE name = 'lead 13';
         UPDATE landing_leads SET id = gen_random_uuid(), CARRIED = 'moved' WHERE name = 'lead 9'; COMMIT",
];

/// A Landing table, its table on Traffic, and a text column that is carried verbatim.
type Carried = (&'static str, &'static str, &'static str);

pub struct Story {
    setup: CutoverSetup,
    carried: [Carried; 3],
}

impl Story {
    /// Migrates as an operator does, copies, and leaves the daemon streaming.
    pub async fn begin(world: World, carried: &[Carried; 3]) -> Story {
        let bridge = Bridge::new(&world).configured("scheduled_notifications = true");
        landing(&world, &spelled(ROWS, carried)).await;
        let migrated = bridge.run(&["migrate"]).await;
        assert_eq!(migrated.code, 0, "{}{}", migrated.out, migrated.err);
        let doctor = bridge.run(&["doctor"]).await;
        assert_eq!(doctor.code, 0, "{}{}", doctor.out, doctor.err);
        let mut daemon = bridge.daemon().await;
        caught_up_and_equal(&world, &mut daemon).await;
        Story { setup: CutoverSetup { world, bridge, daemon }, carried: *carried }
    }

    pub async fn told(mut self) {
        self.streams().await;
        self.quarantines_and_retries().await;
        let mut story = self.repairs_each_table().await;
        story.switches_and_carries_back("first").await;
        story.rolls_back().await;
        story.switches_and_carries_back("second").await;
        story.finishes().await;
    }

    async fn streams(&mut self) {
        let CutoverSetup { world, daemon, .. } = &mut self.setup;
        for change in CHANGES {
            landing(world, &spelled(change, &self.carried)).await;
            caught_up_and_equal(world, daemon).await;
        }
        let toasted =
            "count(*) >= 8 FROM traffic_leads WHERE funnel_type = 'challenge3d' AND utm_source = 'kenjifb'";
        assert!(holds(&world.traffic().await, toasted).await);
    }

    async fn quarantines_and_retries(&mut self) {
        let CutoverSetup { world, bridge, daemon } = &mut self.setup;
        traffic(world, "ALTER TABLE traffic_leads ADD CONSTRAINT no_bots CHECK (phone <> 'bot')").await;
        let bad = "BEGIN; INSERT INTO landing_leads (name, phone, email, amocrm_lead_id) VALUES ('bad', 'bot', 'b@example.kz', '77');
                   INSERT INTO JOURNEY (lead_id, stage, source) SELECT id, 's', 'kept' FROM landing_leads WHERE phone = 'bot';
                   UPDATE landing_leads SET CARRIED = 'kept in quarantine' WHERE phone = 'bot'; COMMIT";
        landing(world, &spelled(bad, &self.carried)).await;
        daemon.caught_up(world).await;
        assert_eq!(one::<i64>(&world.traffic().await, "SELECT count(*) FROM leadbridge.quarantine").await, 2);
        traffic(world, "ALTER TABLE traffic_leads DROP CONSTRAINT no_bots").await;
        let retried = bridge.run(&["quarantine", "retry"]).await;
        assert_eq!(retried.code, 0, "{}{}", retried.out, retried.err);
        assert_equal(world).await;
    }

    /// Damage to a column of each table is found and repaired.
    async fn repairs_each_table(self) -> Story {
        let Story { setup: CutoverSetup { world, bridge, daemon }, carried } = self;
        // A repair refuses to run beside a daemon.
        daemon.terminate().await;
        let verified = bridge.run(&["verify"]).await;
        assert_eq!(verified.code, 0, "{}{}", verified.out, verified.err);
        // Triggers are off, because a trigger would stamp `updated_at`.
        let mut damage = "SET session_replication_role = replica;".to_owned();
        for (_, table, column) in carried {
            damage += &format!(
                "UPDATE {table} SET {column} = 'damaged' WHERE id IN (SELECT id FROM {table} ORDER BY id LIMIT 3);"
            );
        }
        traffic(&world, &damage).await;
        let verified = bridge.run(&["verify", "--json"]).await;
        assert_eq!(verified.code, 1, "{}{}", verified.out, verified.err);
        for (table, _, column) in carried {
            assert!(
                verified.out.contains(table) && verified.out.contains(column),
                "{table}: {}",
                verified.out
            );
        }
        let repaired = bridge.run(&["verify", "--repair"]).await;
        assert_eq!(repaired.code, 0, "{}{}", repaired.out, repaired.err);
        assert_equal(&world).await;
        let mut daemon = bridge.daemon().await;
        daemon.caught_up(&world).await;
        Story { setup: CutoverSetup { world, bridge, daemon }, carried }
    }

    /// A cutover, and changes on Traffic that reach Landing in the columns in which they were made.
    async fn switches_and_carries_back(&mut self, word: &str) {
        self.setup.switches(&[]).await;
        self.setup.flows_back().await;
        let CutoverSetup { world, daemon, .. } = &mut self.setup;
        let mut changes = String::new();
        for (_, table, column) in self.carried {
            changes +=
                &format!("UPDATE {table} SET {column} = '{word}' WHERE landing_synced_at IS NOT NULL;");
        }
        traffic(world, &changes).await;
        traffic(
            world,
            "DELETE FROM traffic_leads WHERE id = (SELECT max(id::text)::uuid FROM traffic_leads)",
        )
        .await;
        carried(world, daemon).await;
        let client = world.landing().await;
        for (table, _, column) in self.carried {
            assert!(holds(&client, &format!("bool_and({column} = '{word}') FROM {table}")).await, "{table}");
        }
        assert_back(world, &[]).await;
    }

    async fn rolls_back(&mut self) {
        let certificate = self.setup.rolls_back(&[]).await;
        assert_eq!(certificate["complete"], true, "{certificate}");
        let CutoverSetup { world, daemon, bridge } = &mut self.setup;
        daemon
            .until("the stream from Landing resumes", |status: &Value| status["state"] == "streaming")
            .await;
        let change = "UPDATE landing_leads SET CARRIED = 'back on Landing'";
        landing(world, &spelled(change, &self.carried)).await;
        caught_up_and_equal(world, daemon).await;
        let verified = bridge.run(&["verify"]).await;
        assert_eq!(verified.code, 0, "{}{}", verified.out, verified.err);
    }

    /// The backup has every column of Landing.
    async fn finishes(self) {
        let CutoverSetup { world, bridge, daemon } = self.setup;
        daemon.terminate().await;
        let backup = bridge.dir().join("backup");
        let finish = ["finish", "--yes", "--max-behind", "1h", "--backup", backup.to_str().unwrap()];
        let finished = bridge.run(&finish).await;
        assert_eq!(finished.code, 0, "{}{}", finished.out, finished.err);
        for (table, _, column) in self.carried {
            let text = std::fs::read_to_string(backup.join(format!("{table}.csv"))).unwrap();
            let mut lines = text.lines();
            assert!(lines.next().is_some_and(|header| header.contains(column)), "{table}");
            let rows: i64 = one(&world.landing().await, &format!("SELECT count(*) FROM {table}")).await;
            assert!(
                rows > 0 && lines.filter(|line| line.contains("second")).count() as i64 == rows,
                "{table}"
            );
        }
    }
}

/// The names of the shape in place of the words in capitals.
fn spelled(sql: &str, carried: &[Carried; 3]) -> String {
    let [(_, _, lead), (journey, _, entry), (_, _, note)] = carried;
    sql.replace("JOURNEY", journey).replace("CARRIED", lead).replace("ENTRY", entry).replace("NOTE", note)
}
