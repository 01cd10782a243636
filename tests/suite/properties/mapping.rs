//! Thousands of rows with every form of every column, mapped in one run and compared with the oracle.

use tokio_postgres::Client;

use crate::testkit::{Bridge, World, differences_beside_quarantine, one};

/// Each column of a lead with SQL arrays of values: every form that the rules name, and other forms.
pub(super) const COLUMNS: [(&str, &str); 16] = [
    ("email", "ARRAY[NULL, '', 'a@b.kz', repeat('я', 255), repeat('😀', 256), repeat('a', 250) || '      ']"),
    ("name", "ARRAY['n', '', 'Әлия \\ \"''', repeat('ж', 255), repeat('e' || U&'\\0301', 128), E'\\x01\\t\\n']"),
    (
        "phone",
        "ARRAY['+7 (701) 123-45-67', '8 701 доб. ٣٤ ९', '＋７ 701', '', U&'1\\200F2\\00A03', 'IV²½', repeat('1', 50), repeat('1', 51)]",
    ),
    (
        "source",
        "ARRAY[NULL, '', 'twland', 'Twland', ' twland', 'FACEBOOK', 'faceboo' || U&'\\212A', 'T' || U&'\\0130' || 'KTOK', 'tıktok',
               'GoogleTikTok', 'my_facebook_google', 'CHALLENGE3d', 'challenge intensive', U&'\\0130' || 'ntensive',
               'ıntensıve', 'INTENSIVE', repeat('ж', 50), repeat('ж', 51), repeat('😀', 51), repeat('x', 50) || ' ',
               'expresscourse', 'null', E'chal\\nlenge']",
    ),
    (
        "amocrm_lead_id",
        "ARRAY[NULL, '', '17', '0042', '+1', '-1', ' 12', '12 ', '٣', '９', '9223372036854775807', '9223372036854775808',
               '009223372036854775807', repeat('0', 400) || '5', repeat('9', 400), '1e3', '0x1F', '1_000', E'1\\n']",
    ),
    ("amocrm_contact_id", "ARRAY[NULL, '', '9223372036854775807', '18446744073709551616', '1.0', '00']"),
    ("amocrm_synced", "ARRAY[true, false, NULL]"),
    ("email_sent", "ARRAY[true, false, NULL]"),
    ("sms_sent", "ARRAY[true, false, NULL]"),
    ("email_clicked", "ARRAY[true, false, NULL]"),
    ("sms_clicked", "ARRAY[true, false, NULL]"),
    (
        "email_clicked_at",
        "ARRAY[NULL, 'infinity', '-infinity', '0044-03-15 12:00:00+00 BC', '4714-11-24 00:00:00+00 BC']::timestamptz[]",
    ),
    (
        "sms_clicked_at",
        "ARRAY[NULL, '294276-12-31 23:59:59.999999+00', '10000-01-01 00:00:00+00', '1880-01-01 00:00:00 Asia/Almaty']::timestamptz[]",
    ),
    ("click_count", "ARRAY[NULL, 0, -1, 2147483647, -2147483648]"),
    ("created_at", "ARRAY['2025-03-30 01:30:00.000001+00', '2025-01-01 00:00:00+05:30', 'infinity', 'epoch']::timestamptz[]"),
    ("updated_at", "ARRAY['2025-10-26 02:30:00.5 Europe/Berlin', '0001-01-01 00:00:00+00', '-infinity']::timestamptz[]"),
];

/// Values of a key in the metadata.
const VALUES: &str = r#"ARRAY['null', '""', '"x"', '"null"', '42', '-0', '1.50', '1e400', 'true', '{}', '{"a": [1, "b"]}', '[]',
    '[null]', '"challenge3d"', '"intensive1d"', '"express"', '"webinar"', '" challenge3d"', '"\u0001\n\t\"\\"', '"\ud83d\ude00"',
    '"' || repeat('ы', 100) || '"', '"' || repeat('ы', 101) || '"', '"' || repeat('😀', 256) || '"', '"' || repeat('z', 3000) || '"',
    '[' || repeat('7, ', 200) || '7]']"#;

const KEYS: &str = "ARRAY['utm_source', 'utmSource', 'utm_medium', 'utmMedium', 'utm_campaign', 'utmCampaign', 'utm_content',
    'utmContent', 'utm_term', 'utmTerm', 'UTM_SOURCE', 'funnel_type', 'fb_lead_id', 'fb_form_id', 'fb_ad_id', 'fb_adset_id',
    'fb_campaign_id', 'fb_', 'utm', '', 'ж']";

/// A random element of a random array; `n` keeps the planner from choosing once for all rows.
pub(super) fn any_of(array: &str) -> String {
    format!(
        "(SELECT a[1 + floor(random() * array_length(a, 1))::integer] FROM (SELECT {array}) AS t (a) WHERE n >= 0)"
    )
}

fn object(members: &str) -> String {
    format!(
        "(SELECT coalesce(jsonb_object_agg(k, v), '{{}}') FROM (SELECT k, {value}::jsonb AS v FROM unnest({KEYS}) AS k (k)
          WHERE n >= 0 AND random() < {members}) AS m)",
        value = any_of(VALUES).replace("n >= 0", "n >= 0 AND k IS NOT NULL")
    )
}

/// Metadata of every form, as a SQL expression.
pub(super) fn metadata() -> String {
    let (top, params) = (object("0.2"), object("0.4"));
    let odd = any_of(
        r#"ARRAY[NULL, 'null', '[1, 2]', '"x"', '7', 'true', '{}', '{"utmParams": [{"utm_source": "no"}]}']"#,
    );
    format!(
        "CASE WHEN random() < 0.1 THEN {odd}::jsonb WHEN random() < 0.5 THEN {top}
              ELSE {top} || jsonb_build_object('utmParams', {params}) END"
    )
}

fn insert(seed: u32, count: u32) -> String {
    let columns: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
    let values: Vec<String> = COLUMNS.iter().map(|(_, array)| any_of(array)).collect();
    format!(
        "SELECT setseed({seed}::float8 / 1000);
         INSERT INTO landing_leads (metadata, {}) SELECT {}, {} FROM generate_series(1, {count}) AS n",
        columns.join(", "),
        metadata(),
        values.join(", ")
    )
}

async fn assert_maps(world: &World, landing: &Client, what: &str) {
    let found = differences_beside_quarantine(world).await;
    assert!(
        found.is_empty(),
        "{what}: {} differences, the first: {:#?}",
        found.len(),
        &found[..found.len().min(10)]
    );
    let bad: i64 = one(&world.traffic().await, "SELECT count(*) FROM leadbridge.quarantine").await;
    let all: i64 = one(landing, "SELECT count(*) FROM landing_leads").await;
    let notes: i64 = one(&world.traffic().await, "SELECT count(*) FROM leadbridge.conversion_notes").await;
    // The compared rows cover all cases.
    assert!(
        bad > all / 20 && bad < all * 2 / 3 && notes > all / 4,
        "{what}: {bad} bad, {notes} notes of {all}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_rows_of_every_form_map_as_the_oracle_says() {
    let world = World::new().await;
    crate::testkit::repeat_numbers(&world).await;
    let bridge = Bridge::new(&world);
    let landing = world.landing().await;
    // The snapshot, and then two rounds of the stream: new rows, and other values in the old rows.
    landing.batch_execute(&insert(1, 1500)).await.unwrap();
    bridge.catch_up().await;
    assert_maps(&world, &landing, "the snapshot").await;
    landing.batch_execute(&insert(2, 1500)).await.unwrap();
    bridge.catch_up().await;
    assert_maps(&world, &landing, "inserts").await;
    landing.batch_execute(&format!(
        "{}; UPDATE landing_leads AS l SET metadata = o.metadata, source = o.source, name = o.name, amocrm_lead_id = o.amocrm_lead_id
             FROM (SELECT *, row_number() OVER (ORDER BY id) AS n FROM landing_leads) AS o,
                  (SELECT id, row_number() OVER (ORDER BY random()) AS n FROM landing_leads) AS p
             WHERE p.n = o.n AND l.id = p.id",
        insert(3, 200)
    ))
    .await
    .unwrap();
    bridge.catch_up().await;
    assert_maps(&world, &landing, "updates").await;
}
