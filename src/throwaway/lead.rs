//! A realistic lead with its journey, from a random number generator.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use uuid::{Builder, Uuid};

use super::metadata::{metadata, usual_metadata};

const FIRST_NAMES: [&str; 9] =
    ["Айгерім", "Нұрсұлтан", "Әлия", "Жанна", "Ольга", "Ёлка", "Dmitry", "Гүлнұр 🌸", "Қымбат"];
const LAST_NAMES: [&str; 7] =
    ["Ахметова", "Сейітқали", "Иванов-Петров", "O'Brien", "Өтеген", "", "Шығанақ\\ова"];
const SOURCES: [&str; 14] = [
    "twland",
    "expresscourse",
    "proftest_arystan",
    "challenge3d_kz",
    "Challenge3D_FB",
    "INTENSIVE1d",
    "intensive_google",
    "facebook_lead",
    "FaceBook",
    "TikTok-ads",
    "Google tiktok",
    "Twland",
    "канал «Ұшқын»",
    "",
];
const STAGES: [&str; 6] = [
    "proftest_submitted",
    "expresscourse_clicked",
    "expresscourse_submitted",
    "payment_kaspi",
    "payment_card",
    "payment_manager",
];

/// The empty one stands for null.
const EVENT_TYPES: [&str; 4] = ["", "form_submit", "click", "payment"];

/// 2024-01-01 00:00 UTC, in seconds since 1970.
const EPOCH: i64 = 1_704_067_200;

/// The columns of a [`Lead`], in the order of its values. An older database lacks some of these columns.
pub(super) const LEAD_COLUMNS: [&str; 29] = [
    "id",
    "email",
    "name",
    "phone",
    "phone_normalized",
    "source",
    "metadata",
    "amocrm_lead_id",
    "amocrm_contact_id",
    "amocrm_synced",
    "email_sent",
    "sms_sent",
    "email_clicked",
    "sms_clicked",
    "email_clicked_at",
    "sms_clicked_at",
    "click_count",
    "created_at",
    "updated_at",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_content",
    "utm_term",
    "email_sent_at",
    "email_error",
    "sms_message_id",
    "amocrm_sync_status",
    "amocrm_sync_attempts",
];
pub(super) const JOURNEY_COLUMNS: [&str; 7] =
    ["id", "lead_id", "stage", "source", "metadata", "created_at", "event_type"];

/// Values as PostgreSQL's text, `None` for null.
pub(super) type Lead = [Option<String>; 29];
pub(super) type JourneyEntry = [Option<String>; 7];

/// A lead and its one to six journey entries (three on average).
pub(super) fn lead(rng: &mut StdRng) -> (Lead, Vec<JourneyEntry>) {
    let id = uuid(rng);
    let created = EPOCH + rng.random_range(0..60_000_000);
    // Rows of the first years have nulls where newer rows have defaults.
    let old = rng.random_ratio(1, 5);
    let flag = |rng: &mut StdRng| (!old).then(|| rng.random_ratio(1, 3).to_string());
    let phone = phone(rng);
    let mut lead = [
        Some(id.to_string()),
        rng.random_ratio(4, 5).then(|| format!("lead{}@example.kz", rng.random::<u32>())),
        Some(name(rng)),
        Some(phone.clone()),
        // Not normalised on purpose: nothing may rely on Landing's own normalisation.
        (!old).then_some(phone),
        source(rng),
        metadata(rng),
        unique_amocrm_id(rng, id),
        amocrm_id(rng),
        flag(rng),
        flag(rng),
        flag(rng),
        flag(rng),
        flag(rng),
        rng.random_ratio(1, 4).then(|| time(rng, created + 4000)),
        rng.random_ratio(1, 6).then(|| time(rng, created + 9000)),
        (!old).then(|| rng.random_range(0..7).to_string()),
        Some(time(rng, created)),
        Some(time(rng, created + 10_000)),
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        (!old).then(|| "pending".into()),
        (!old).then(|| "0".into()),
    ];
    if id.as_u128().is_multiple_of(3) {
        was_mailed(&mut lead, id);
    }
    if is_of_webhook(id) {
        put_utm_into_columns(&mut lead);
    }
    let entries = rng.random_range(1..=6).min(rng.random_range(1..=8));
    let entries = (0..entries).map(|number| journey_entry(rng, id, created + 600 * number)).collect();
    (lead, entries)
}

/// A lead with metadata and CRM ids, if any, of the usual form.
pub(super) fn usual_lead(rng: &mut StdRng) -> (Lead, Vec<JourneyEntry>) {
    let (mut lead, mut entries) = lead(rng);
    // A CRM id typed by hand, which leads to a conversion note, is rare.
    for id in &mut lead[7..9] {
        if id.is_some() && !rng.random_ratio(1, 100) {
            *id = Some(rng.random_range(10_000_000..99_999_999).to_string());
        }
    }
    for document in lead[6..7].iter_mut().chain(entries.iter_mut().map(|entry| &mut entry[4])) {
        *document = document.is_some().then(|| usual_metadata(rng));
    }
    let id = id_of(&lead);
    lead[7] = lead[7].take().map(|text| with_suffix(&text, id));
    if is_of_webhook(id) {
        put_utm_into_columns(&mut lead);
    }
    (lead, entries)
}

fn id_of(lead: &Lead) -> Uuid {
    lead[0].as_deref().and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// One lead in ten is of the funnel whose webhook writes UTM values into columns of their own, and nowhere else.
fn is_of_webhook(id: Uuid) -> bool {
    id.as_u128().is_multiple_of(10)
}

fn put_utm_into_columns(lead: &mut Lead) {
    lead[5] = Some("expresscourse".into());
    lead[6] = Some(r#"{"webhook": "amocrm", "paymentMethod": "kaspi"}"#.into());
    for (column, value) in
        lead[19..24].iter_mut().zip(["kenjifb", "cpc", "expresscourse_kz", "video 2", "қыс"])
    {
        *column = Some(value.into());
    }
}

/// What the site notes when it has sent, or could not send, an e-mail; and of the transfer to the CRM.
fn was_mailed(lead: &mut Lead, id: Uuid) {
    let failed = id.as_u128().is_multiple_of(2);
    let at = lead[18].clone();
    lead[24] = at;
    lead[25] = failed.then(|| "550 5.1.1 жоқ мекенжай".into());
    lead[26] = Some(format!("msg-{}", id.simple()));
    lead[27] = Some(if failed { "failed" } else { "synced" }.into());
    lead[28] = Some(if failed { "3" } else { "1" }.into());
}

pub(super) fn journey_entry(rng: &mut StdRng, lead: Uuid, created: i64) -> JourneyEntry {
    [
        Some(uuid(rng).to_string()),
        Some(lead.to_string()),
        STAGES.choose(rng).map(|&stage| stage.to_owned()),
        source(rng),
        rng.random_ratio(1, 3).then(|| metadata(rng)).flatten(),
        Some(time(rng, created)),
        EVENT_TYPES.choose(rng).map(|&event| event.to_owned()).filter(|event| !event.is_empty()),
    ]
}

pub(super) fn uuid(rng: &mut StdRng) -> Uuid {
    Builder::from_random_bytes(rng.random()).into_uuid()
}

pub(super) fn name(rng: &mut StdRng) -> String {
    let first = FIRST_NAMES.choose(rng).copied().unwrap_or_default();
    format!("{first} {}", LAST_NAMES.choose(rng).copied().unwrap_or_default())
}

pub(super) fn source(rng: &mut StdRng) -> Option<String> {
    match rng.random_range(0..30) {
        0 => None,
        // Longer than Traffic's column: the value is cut, with a note.
        1 => Some(format!("лендинг {}", "ж".repeat(60))),
        2..12 => Some("twland".into()),
        _ => SOURCES.choose(rng).map(|&source| source.to_owned()),
    }
}

pub(super) fn phone(rng: &mut StdRng) -> String {
    let (code, a, b, c): (u16, u16, u8, u8) = (
        rng.random_range(700..779),
        rng.random_range(0..1000),
        rng.random_range(0..100),
        rng.random_range(0..100),
    );
    match rng.random_range(0..8) {
        0 => format!("+7 ({code}) {a:03}-{b:02}-{c:02}"),
        1 => format!("8{code}{a:03}{b:02}{c:02}"),
        2 => format!("8 ({code}) {a:03}-{b:02}-{c:02} доб. {}", b % 10),
        3 => format!("7{code}{a:03}{b:02}{c:02}"),
        4 => format!("+7{code} {a:03} {b:02} {c:02} "),
        5 => format!("тел:{code}.{a:03}.{b:02}{c:02}"),
        // Digits that are not ASCII do not count.
        6 => format!("٠{code}{a:03}-{b:02}{c:02}"),
        _ => format!("+7{code}{a:03}{b:02}{c:02}"),
    }
}

pub(super) fn amocrm_id(rng: &mut StdRng) -> Option<String> {
    Some(match rng.random_range(0..20) {
        0..8 => return None,
        8 => String::new(),
        9 => "99999999999999999999".into(),
        10 => "9223372036854775807".into(),
        11 => "-5".into(),
        12 => "12a".into(),
        13 => " 77".into(),
        14 => "٤٢".into(),
        15 => "000123".into(),
        _ => rng.random_range(10_000_000..99_999_999).to_string(),
    })
}

/// Like [`amocrm_id`], but no other lead has it.
pub(super) fn unique_amocrm_id(rng: &mut StdRng, lead: Uuid) -> Option<String> {
    amocrm_id(rng).filter(|text| !text.is_empty()).map(|text| with_suffix(&text, lead))
}

/// Appends digits of the lead's id. A short number stays a number that fits a bigint.
fn with_suffix(text: &str, lead: Uuid) -> String {
    let digits = lead.as_u128();
    if text.len() > 8 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return format!("{text}{digits}");
    }
    let width = 18 - text.trim_start_matches('0').len();
    let digits = format!("{digits:018}");
    format!("{text}{}", &digits[digits.len() - width..])
}

/// PostgreSQL's text of a time: seconds since 1970, and random microseconds.
fn time(rng: &mut StdRng, seconds: i64) -> String {
    let micros = seconds * 1_000_000 + rng.random_range(0..1_000_000);
    // The generator makes only times that jiff can represent.
    jiff::Timestamp::from_microsecond(micros).unwrap_or_default().to_string()
}
