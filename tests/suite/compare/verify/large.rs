//! Rows whose values are left out of the pages: each kind of difference is counted as in any other row.

use super::*;
use crate::testkit::{landing, traffic};

/// `jsonb` of some hundred kilobytes, which PostgreSQL cannot compress.
fn metadata(of: &str) -> String {
    format!(
        "jsonb_build_object('answers', (SELECT string_agg(md5({of} || ' ' || k), '') FROM generate_series(1, 4000) AS k))"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn large_rows_are_compared_whole_whichever_side_has_the_large_value() {
    let world = World::new().await;
    let leads = format!(
        "INSERT INTO landing_leads (id, name, phone, metadata)
         SELECT ('00000000-0000-0000-0000-00000000000' || n)::uuid, 'n', n::text,
                CASE WHEN n < 9 THEN {} ELSE '{{}}' END FROM generate_series(1, 9) AS n",
        metadata("n::text")
    );
    landing(&world, &leads).await;
    let config = copied(&world).await;
    let rows = LEADS as u64 + 9;
    let equal = found(&config, Table::LandingLeads).await;
    assert_eq!((equal.landing_rows, equal.traffic_rows, equal.differences()), (rows, rows, 0));

    let lead = |n: u8| format!("id = '00000000-0000-0000-0000-00000000000{n}'");
    let tamper = format!(
        "SET session_replication_role = replica;
         DELETE FROM traffic_leads WHERE {one};
         UPDATE traffic_leads SET click_count = 5 WHERE {two};
         UPDATE traffic_leads SET metadata = '{{}}', click_count = 6 WHERE {three};
         UPDATE traffic_leads SET metadata = {large}, click_count = 7 WHERE {nine};
         UPDATE traffic_leads SET metadata = jsonb_set(metadata, '{{answers}}', '\"x\"') WHERE {four}",
        one = lead(1),
        two = lead(2),
        three = lead(3),
        four = lead(4),
        nine = lead(9),
        large = metadata("'other'"),
    );
    traffic(&world, &tamper).await;
    landing(
        &world,
        &format!("SET session_replication_role = replica; DELETE FROM landing_leads WHERE {}", lead(5)),
    )
    .await;
    let differ = found(&config, Table::LandingLeads).await;
    assert_eq!((differ.landing_rows, differ.traffic_rows), (rows - 1, rows - 1));
    assert_eq!((differ.missing, differ.extra, differ.different), (1, 1, 3), "{:?}", differ.examples);
    // The metadata of the fourth alone was changed on Traffic, and Landing need not have sent it since.
    assert_eq!(differ.changed_on_traffic, 1, "{:?}", differ.examples);
    let mut columns = differ.examples.iter().filter_map(|example| match &example.difference {
        Difference::Different(columns) => Some(columns.join(" ")),
        _ => None,
    });
    assert!(columns.all(|columns| columns.contains("click_count")));
}
