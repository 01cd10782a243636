//! Metadata as landing pages write it: UTM values in every form, answers, a user agent, an address, few bytes or many.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use serde_json::{Map, Value, json};

/// Values that targetologists put into links. The Traffic fixture binds some of these values, also in other
/// spellings.
const UTM_SOURCES: [&str; 8] =
    ["kenjifb", "alex_FB", "Arystan_tiktok", "google_ads", "insta-story", "КАНАЛ_тг", "sms", "none"];
const CAMPAIGNS: [&str; 5] = ["twland_kz", "challenge 3D | август", "intensive_1d", "retarget%20warm", "қыс"];
const QUESTIONS: [&str; 4] = ["Сколько вам лет?", "Какой у вас опыт?", "Сіз қай қаладансыз?", "goal"];
const ANSWERS: [&str; 5] = ["25–34", "нет опыта", "Алматы", "заработок \"онлайн\" \\ дома", "таза\nкөңіл"];
const AGENTS: [&str; 3] = [
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Instagram 334.0.4",
    "Mozilla/5.0 (Linux; Android 14; SM-A546E) AppleWebKit/537.36 Chrome/126.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/126.0.0.0 Safari/537.36",
];
const SLUGS: [&str; 3] = ["express-course", "challenge3d-almaty", "proftest"];
const PAYMENTS: [&str; 3] = ["kaspi", "card", "manager"];
const KEYS: [(&str, &str); 5] = [
    ("utm_source", "utmSource"),
    ("utm_medium", "utmMedium"),
    ("utm_campaign", "utmCampaign"),
    ("utm_content", "utmContent"),
    ("utm_term", "utmTerm"),
];

/// JSON text, or `None` for SQL's null.
pub(super) fn metadata(rng: &mut StdRng) -> Option<String> {
    match rng.random_range(0..100) {
        0..3 => None,
        3 => Some("[1, 2]".into()),
        4 => Some("\"x\"".into()),
        5 => Some("null".into()),
        6..9 => Some("{}".into()),
        _ => Some(Value::Object(document(rng)).to_string()),
    }
}

/// JSON text of the usual document: the lead's attribution, without a form's answers.
pub(super) fn usual_metadata(rng: &mut StdRng) -> String {
    let mut document = attribution(rng);
    // An unknown funnel, which leads to a conversion note, is rare.
    let known = ["challenge3d", "intensive1d", "express"].map(Value::from);
    if document.get("funnel_type").is_some_and(|funnel| !known.contains(funnel)) && !rng.random_ratio(1, 50) {
        document.remove("funnel_type");
    }
    Value::Object(document).to_string()
}

fn document(rng: &mut StdRng) -> Map<String, Value> {
    let mut document = attribution(rng);
    fill(rng, &mut document);
    document
}

fn attribution(rng: &mut StdRng) -> Map<String, Value> {
    let mut document = Map::new();
    document.insert("userAgent".into(), json!(AGENTS.choose(rng)));
    let host: u32 = rng.random();
    document.insert("ip".into(), json!(std::net::Ipv4Addr::from_bits(host).to_string()));
    if rng.random_ratio(1, 3) {
        document.insert("campaignSlug".into(), json!(SLUGS.choose(rng)));
    }
    if rng.random_ratio(1, 4) {
        document.insert("paymentMethod".into(), json!(PAYMENTS.choose(rng)));
    }
    match rng.random_range(0..10) {
        0 => {}
        1..4 => snake_case(rng, &mut document),
        4..6 => camel_case(rng, &mut document),
        6 => {
            document.insert("utmParams".into(), odd(rng));
        }
        form => {
            let mut nested = Map::new();
            snake_case(rng, &mut nested);
            if form == 8 {
                camel_case(rng, &mut nested);
            }
            document.insert("utmParams".into(), nested.into());
        }
    }
    if rng.random_ratio(1, 8) {
        // Of the four places the first value that is not empty counts, so the places are given different
        // values.
        camel_case(rng, &mut document);
        snake_case(rng, &mut document);
    }
    funnel_and_facebook(rng, &mut document);
    document
}

fn snake_case(rng: &mut StdRng, into: &mut Map<String, Value>) {
    for (key, _) in KEYS {
        if rng.random_ratio(3, 4) {
            into.insert(key.into(), utm_value(rng, key));
        }
    }
}

fn camel_case(rng: &mut StdRng, into: &mut Map<String, Value>) {
    for (key, camel) in KEYS {
        if rng.random_ratio(2, 3) {
            into.insert(camel.into(), utm_value(rng, key));
        }
    }
}

fn utm_value(rng: &mut StdRng, key: &str) -> Value {
    match rng.random_range(0..40) {
        0..3 => odd(rng),
        // Longer than every limit of Traffic: the value is cut, with a note.
        3 => json!("ұзақ_".repeat(rng.random_range(30..80))),
        _ if key == "utm_source" => json!(UTM_SOURCES.choose(rng)),
        _ => json!(CAMPAIGNS.choose(rng)),
    }
}

/// Values for which `->>` gives an unexpected result.
fn odd(rng: &mut StdRng) -> Value {
    let odd = [
        Value::Null,
        json!(""),
        json!(42),
        json!(-1.50),
        json!(true),
        json!({"b": [1, "ә"], "a": null}),
        json!([]),
        json!("null"),
        json!(" "),
        json!("line\nbreak\ttab"),
    ];
    odd.choose(rng).cloned().unwrap_or(Value::Null)
}

fn funnel_and_facebook(rng: &mut StdRng, into: &mut Map<String, Value>) {
    match rng.random_range(0..12) {
        0 => drop(into.insert("funnel_type".into(), json!("challenge3d"))),
        1 => drop(into.insert("funnel_type".into(), json!("intensive1d"))),
        2 => drop(into.insert("funnel_type".into(), json!("express"))),
        3 => drop(into.insert("funnel_type".into(), json!("webinar"))),
        4 => drop(into.insert("funnel_type".into(), odd(rng))),
        _ => {}
    }
    if rng.random_ratio(1, 6) {
        for key in ["fb_lead_id", "fb_form_id", "fb_ad_id", "fb_adset_id", "fb_campaign_id"] {
            let id = rng.random_range(10u64.pow(14)..10u64.pow(16));
            into.insert(key.into(), if rng.random() { json!(id) } else { json!(id.to_string()) });
        }
    }
}

/// Adds answers, so that sizes run from 100 bytes to 20 kB. Random tokens do not compress, so documents past
/// 2 kB are TOASTed.
fn fill(rng: &mut StdRng, into: &mut Map<String, Value>) {
    let count = match rng.random_range(0..100) {
        0..70 => rng.random_range(0..6),
        70..97 => rng.random_range(10..60),
        _ => rng.random_range(100..220),
    };
    let mut answers = Map::new();
    for number in 0..count {
        let question = QUESTIONS.choose(rng).copied().unwrap_or_default();
        let token = format!("{:032x}", rng.random::<u128>());
        let answer = json!({"answer": ANSWERS.choose(rng), "token": token});
        answers.insert(format!("{question} {number}"), answer);
    }
    if count > 0 {
        into.insert("answers".into(), answers.into());
    }
}
