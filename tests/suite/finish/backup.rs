//! The content of a backup's files: every row and every value, in either form.

use leadbridge::backup::{Directory, Format, restore_hint, take};
use leadbridge::model::change::Table;
use leadbridge::model::side::Side;
use leadbridge::postgres::Endpoint;
use secrecy::SecretString;
use tokio_postgres::Client;

use crate::testkit::{World, holds, landing};

/// Values that a careless writer would break, and columns that the mapping does not know.
const AWKWARD: &str = r#"
    ALTER TABLE landing_leads ADD COLUMN "имя ""x""" text, ADD COLUMN code char(5), ADD COLUMN bytes bytea,
        ADD COLUMN list text[], ADD COLUMN doc json, ADD COLUMN score numeric(20,10), ADD COLUMN ratio float8,
        ADD COLUMN seen timestamptz, ADD COLUMN word varchar(9),
        ADD COLUMN shout text GENERATED ALWAYS AS (upper(name)) STORED;
    INSERT INTO landing_leads (name, phone, email, source, metadata, "имя ""x""", code, bytes, list, doc, score, ratio,
            seen, word)
    VALUES
        (E'a\\b\nc\td\re"f\'g,\\.', E'\\N', '', NULL, 'null', E'\\.', ' x ', '\x00ff5c0a', ARRAY['a,"b', NULL, ''],
            E'{"a" : 1,\n"a":2}', 1234567890.0000000001, 'NaN', 'infinity', E'\b\f\v\x01\x7f'),
        ('Айгерим Қасымова ℵ 😀', '+7 (701) 1', NULL, '', '{"k": "v\\\"\n\u0001"}', '"', '', '', '{}', 'null', NULL,
            0.1::float8 + 0.2, '2024-02-29 23:59:59.999999+05', ''),
        (E'\n', E'\t', E'\\', 'NULL', NULL, NULL, NULL, NULL, NULL, NULL, 'NaN', '-Infinity', NULL, 'null');
    INSERT INTO journey_stages (lead_id, stage, source) SELECT id, E's\\n\n' || name, '' FROM landing_leads LIMIT 3"#;

/// Runs the operator's `\copy`, which is COPY with the file on the client's side.
async fn restore(client: &Client, hint: &str) {
    for line in hint.lines() {
        let Some(copy) = line.strip_prefix("\\copy ") else {
            client.batch_execute(line).await.unwrap();
            continue;
        };
        let (before, rest) = copy.split_once(" FROM '").unwrap();
        let (path, after) = rest.split_once('\'').unwrap();
        let content = bytes::Bytes::from(std::fs::read(path).unwrap());
        let sink = client.copy_in(&format!("COPY {before} FROM STDIN{after}")).await.unwrap();
        futures_util::pin_mut!(sink);
        futures_util::SinkExt::send(&mut sink, content).await.unwrap();
        sink.finish().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn either_form_restores_every_value_of_every_row_as_it_was() {
    let world = World::new().await;
    world.fill(62, 200).await;
    landing(&world, AWKWARD).await;
    let endpoint = Endpoint::parse(Side::Landing, &SecretString::from(world.landing_url())).unwrap();
    let parent = tempfile::tempdir().unwrap();
    let tables = [Table::LandingLeads, Table::LeadJourney, Table::ScheduledNotifications];
    for format in [Format::Csv, Format::Jsonl] {
        let directory = parent.path().join(format.to_string());
        let manifest = take(&endpoint, &world.names, &tables, Directory::claim(&directory, format).unwrap())
            .await
            .unwrap();
        manifest.verify(&directory).unwrap();
        assert_eq!(manifest.tables[0].rows, 203);
        assert_eq!(manifest.tables[2].rows, 0);
        let [generated] = manifest.tables[0].generated.as_slice() else { panic!("one is generated") };
        assert_eq!((&*generated.column.name, &*generated.expression), ("shout", "upper(name)"));

        let client = world.landing().await;
        let copies = "CREATE SCHEMA restored;
            CREATE TABLE restored.landing_leads (LIKE public.landing_leads INCLUDING ALL);
            CREATE TABLE restored.journey_stages (LIKE public.journey_stages INCLUDING ALL);
            CREATE TABLE restored.scheduled_notifications (LIKE public.scheduled_notifications INCLUDING ALL)";
        client.batch_execute(copies).await.unwrap();
        restore(&client, &restore_hint(&manifest, &directory).replace("\"public\".", "restored.")).await;
        for table in ["landing_leads", "journey_stages"] {
            let same = format!(
                "count(*) > 0 AND bool_and((a::text = b::text) IS TRUE)
                 FROM public.{table} AS a FULL JOIN restored.{table} AS b USING (id)"
            );
            assert!(holds(&client, &same).await, "{table} as {format}");
        }
        client.batch_execute("DROP SCHEMA restored CASCADE").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_tables_are_of_one_snapshot_and_in_the_order_of_their_keys() {
    let world = World::new().await;
    world.fill(63, 2000).await;
    let writers = world.write(&leadbridge::throwaway::writers::WriteRate::default());
    let endpoint = Endpoint::parse(Side::Landing, &SecretString::from(world.landing_url())).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let tables = [Table::LandingLeads, Table::LeadJourney];
    take(&endpoint, &world.names, &tables, Directory::claim(directory.path(), Format::Jsonl).unwrap())
        .await
        .unwrap();
    writers.stop().await.unwrap();
    let column = |file: &str, name: &str| -> Vec<String> {
        let text = std::fs::read_to_string(directory.path().join(file)).unwrap();
        let objects = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        objects.map(|object| object[name].as_str().unwrap().to_owned()).collect()
    };
    let leads = column("landing_leads.jsonl", "id");
    assert!(leads.len() >= 1900 && leads.is_sorted(), "{} leads", leads.len());
    // A journey entry without its lead would be of another moment.
    assert!(column("journey_stages.jsonl", "lead_id").iter().all(|lead| leads.binary_search(lead).is_ok()));
}
