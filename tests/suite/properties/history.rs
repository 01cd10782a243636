//! Random histories of both databases, and the SQL of their statements.
//!
//! A history is printed as JSON, with the values as SQL: the last line of a failure is a readable file for
//! `tests/regressions/stream`.

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

/// A column of a statement and the SQL expression of its value.
pub type Set = Vec<(String, String)>;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct History {
    /// Whether updates and deletes carry the whole old row.
    pub replica_identity_full: bool,
    pub steps: Vec<Step>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Step {
    Transaction(Vec<Act>),
    /// Two sessions in turns; the session that began first need not commit first.
    Interleaved {
        one: Vec<Act>,
        other: Vec<Act>,
        other_commits_first: bool,
    },
    /// A daemon with the given batch size drains everything and ends.
    CatchUp {
        batch_rows: usize,
    },
    /// A daemon is dropped in mid-flight.
    Interrupted {
        batch_rows: usize,
        millis: u64,
    },
    /// Traffic's people change a lead's status and sell something.
    Sold {
        lead: u8,
    },
    /// A lead without a row on Landing.
    BornOnTraffic,
}

/// Tables that refer to a lead.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Child {
    JourneyEntry,
    Notification,
}

/// The effect of one statement. There are few rows, so that acts often meet on a row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Act {
    Insert {
        lead: u8,
        set: Set,
    },
    Update {
        lead: u8,
        set: Set,
    },
    Rename {
        lead: u8,
        to: u8,
    },
    Delete {
        lead: u8,
    },
    InsertAgain {
        lead: u8,
        set: Set,
    },
    InsertChild {
        child: Child,
        n: u8,
        lead: u8,
        set: Set,
    },
    UpdateChild {
        child: Child,
        n: u8,
        set: Set,
    },
    MoveChild {
        child: Child,
        n: u8,
        lead: u8,
    },
    RenameChild {
        child: Child,
        n: u8,
        to: u8,
    },
    DeleteChild {
        child: Child,
        n: u8,
    },
    Lms,
    TruncateLms,
    TruncateLeads,
    /// Acts in a savepoint that is rolled back.
    Undone(Vec<Act>),
    /// Acts in a savepoint that is released.
    Kept(Vec<Act>),
}

const TEXTS: [&str; 16] = [
    "'twland'",
    "NULL",
    "''",
    "'null'",
    "'Challenge3D_FB'",
    "'my FaceBook'",
    "'INTENSIVE'",
    "'Қазақша \\ \"''quoted'''",
    r"E'tab\tnew\nline\x01\r\x7f'",
    "'google tiktok'",
    "repeat('ж', 50)",
    "repeat('я', 51) || ' 😀'",
    "'😀 {\"a\": 1}'",
    "'\\N'",
    // Too long for a verbatim column: the lead is quarantined.
    "repeat('ы', 256)",
    "repeat('Aa', 150)",
];

const PHONES: [&str; 6] =
    ["'+7 (701) 123-45-67'", "'8 701 доб. ٣٤ ９'", "''", "'＋7'", "repeat('1', 50)", "repeat('2', 51)"];
const IDS: [&str; 9] = [
    "NULL",
    "''",
    "'17'",
    "'0042'",
    "'x1'",
    "' 12'",
    "'9223372036854775807'",
    "'9223372036854775808'",
    "'٣'",
];
const BOOLEANS: [&str; 3] = ["true", "false", "NULL"];
const TIMES: [&str; 6] = [
    "NULL",
    "'2025-03-30 01:30:00.123456+02'",
    "'infinity'",
    "'-infinity'",
    "'0044-03-15 00:00:00+00 BC'",
    "'12025-01-01 00:00:00+00'",
];
const NUMBERS: [&str; 4] = ["0", "NULL", "2147483647", "-1"];

/// Every UTM form, odd JSON, and documents that are TOASTed.
const METADATA: [&str; 14] = [
    "NULL",
    "'{}'",
    "'null'",
    "'[1, 2]'",
    "'\"x\"'",
    r#"'{"utm_source": "a", "utmSource": "b", "utmParams": {"utm_term": "t"}}'"#,
    r#"'{"utm_source": "", "utmSource": null, "utmParams": {"utmSource": "камп\u0041\n"}}'"#,
    r#"'{"utm_source": 42, "utm_term": {"a": [1, {"b": null}]}, "funnel_type": "challenge3d"}'"#,
    r#"'{"funnel_type": "webinar", "fb_ad_id": 12345678901234567890.50, "utm_medium": 1e40}'"#,
    r#"'{"funnel_type": {"a": 1}, "utmParams": [1], "UTM_SOURCE": "no", "": "empty", "utm_term": "\ud83d\ude00"}'"#,
    "jsonb_build_object('utm_source', repeat('ы', 300), 'fb_form_id', 'null')",
    "jsonb_build_object('funnel_type', 'intensive1d', 'big', (SELECT string_agg(md5(g::text), '') FROM generate_series(1, 200) g))",
    "jsonb_build_object('utmParams', '{\"utm_medium\": true}'::jsonb, 'big', (SELECT string_agg(md5(g::text), '') FROM generate_series(1, 900) g))",
    "jsonb_build_object('utm_campaign', (SELECT string_agg(md5(g::text), '') FROM generate_series(1, 300) g))",
];

const LEAD: [(&str, &[&str]); 22] = [
    ("email", &TEXTS),
    ("name", &TEXTS),
    ("phone", &PHONES),
    ("phone_normalized", &PHONES),
    ("source", &TEXTS),
    ("metadata", &METADATA),
    ("amocrm_lead_id", &IDS),
    ("amocrm_contact_id", &IDS),
    ("amocrm_synced", &BOOLEANS),
    ("email_sent", &BOOLEANS),
    ("sms_sent", &BOOLEANS),
    ("email_clicked", &BOOLEANS),
    ("sms_clicked", &BOOLEANS),
    ("email_clicked_at", &TIMES),
    ("sms_clicked_at", &TIMES),
    ("click_count", &NUMBERS),
    ("created_at", &TIMES),
    ("metadata", &METADATA),
    ("utm_source", &TEXTS),
    ("email_error", &TEXTS),
    ("email_sent_at", &TIMES),
    ("amocrm_sync_attempts", &NUMBERS),
];

const STAGE: [(&str, &[&str]); 5] = [
    ("stage", &TEXTS),
    ("source", &TEXTS),
    ("metadata", &METADATA),
    ("created_at", &TIMES),
    ("event_type", &TEXTS),
];

const NOTIFICATION: [(&str, &[&str]); 11] = [
    ("recipient_name", &TEXTS),
    ("source_campaign", &TEXTS),
    ("notification_type", &["'email'", "'both'"]),
    ("scheduled_for", &TIMES),
    ("status", &["'sent'", "'failed'"]),
    ("sent_at", &TIMES),
    ("error_message", &TEXTS),
    ("retry_count", &NUMBERS),
    ("last_retry_at", &TIMES),
    ("metadata", &METADATA),
    ("created_at", &TIMES),
];

/// Any subset of the columns, each with a random value of its list.
fn set(columns: &'static [(&str, &[&str])]) -> impl Strategy<Value = Set> {
    let column = prop::sample::select(columns).prop_flat_map(|(name, values)| {
        prop::sample::select(values).prop_map(move |value| (name.to_owned(), value.to_owned()))
    });
    prop::collection::vec(column, 1..5).prop_map(|mut set: Set| {
        // A statement may name a column only once.
        set.sort();
        set.dedup_by(|a, b| a.0 == b.0);
        set
    })
}

fn child() -> impl Strategy<Value = (Child, Set)> {
    prop_oneof![
        3 => set(&STAGE).prop_map(|set| (Child::JourneyEntry, set)),
        1 => set(&NOTIFICATION).prop_map(|set| (Child::Notification, set)),
    ]
}

fn plain_act() -> impl Strategy<Value = Act> {
    let (lead, n) = (|| 0..4_u8, || 0..4_u8);
    prop_oneof![
        8 => (lead(), set(&LEAD)).prop_map(|(lead, set)| Act::Insert { lead, set }),
        8 => (lead(), set(&LEAD)).prop_map(|(lead, set)| Act::Update { lead, set }),
        4 => (lead(), lead()).prop_map(|(lead, to)| Act::Rename { lead, to }),
        2 => lead().prop_map(|lead| Act::Delete { lead }),
        2 => (lead(), set(&LEAD)).prop_map(|(lead, set)| Act::InsertAgain { lead, set }),
        8 => (n(), lead(), child()).prop_map(|(n, lead, (child, set))| Act::InsertChild { child, n, lead, set }),
        4 => (n(), child()).prop_map(|(n, (child, set))| Act::UpdateChild { child, n, set }),
        4 => (n(), lead(), child()).prop_map(|(n, lead, (child, _))| Act::MoveChild { child, n, lead }),
        2 => (n(), n(), child()).prop_map(|(n, to, (child, _))| Act::RenameChild { child, n, to }),
        2 => (n(), child()).prop_map(|(n, (child, _))| Act::DeleteChild { child, n }),
        1 => Just(Act::Lms),
        1 => Just(Act::TruncateLms),
        1 => Just(Act::TruncateLeads),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    plain_act().prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..3).prop_map(Act::Undone),
            prop::collection::vec(inner, 1..3).prop_map(Act::Kept),
        ]
    })
}

pub fn history() -> impl Strategy<Value = History> {
    let acts = || prop::collection::vec(act(), 1..6);
    let batch_rows = || prop::sample::select(vec![1_usize, 2, 7, 5000]);
    let step = prop_oneof![
        8 => acts().prop_map(Step::Transaction),
        2 => (acts(), acts(), any::<bool>()).prop_map(|(one, other, other_commits_first)| Step::Interleaved {
            one, other, other_commits_first
        }),
        2 => batch_rows().prop_map(|batch_rows| Step::CatchUp { batch_rows }),
        1 => (batch_rows(), 20..150_u64).prop_map(|(batch_rows, millis)| Step::Interrupted { batch_rows, millis }),
        1 => (0..4_u8).prop_map(|lead| Step::Sold { lead }),
        1 => Just(Step::BornOnTraffic),
    ];
    (any::<bool>(), prop::collection::vec(step, 1..10))
        .prop_map(|(replica_identity_full, steps)| History { replica_identity_full, steps })
}

impl Child {
    fn table(self) -> &'static str {
        match self {
            Child::JourneyEntry => "journey_stages",
            Child::Notification => "scheduled_notifications",
        }
    }

    /// Values for an insert besides the key and the lead.
    fn required(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Child::JourneyEntry => &[("stage", "'s'")],
            Child::Notification => &[("notification_type", "'sms'"), ("scheduled_for", "now()")],
        }
    }

    fn id(self, n: u8) -> String {
        let kind = match self {
            Child::JourneyEntry => 'b',
            Child::Notification => 'c',
        };
        format!("'00000000-0000-4000-{kind}000-0000000000{n:02x}'")
    }
}

pub fn lead_id(n: u8) -> String {
    format!("'00000000-0000-4000-a000-0000000000{n:02x}'")
}

impl Act {
    pub fn sql(&self) -> String {
        let leads = "landing_leads";
        match self {
            Act::Insert { lead, set } => {
                insert(leads, &lead_id(*lead), &[("name", "'n'"), ("phone", "'1'")], set)
            }
            Act::Update { lead, set } => update(leads, &lead_id(*lead), set),
            // Landing's own foreign key lets a lead change its key only while no row refers to the lead.
            Act::Rename { lead, to } => rename(leads, &lead_id(*lead), &lead_id(*to)),
            Act::Delete { lead } => format!("DELETE FROM {leads} WHERE id = {}", lead_id(*lead)),
            Act::InsertAgain { lead, set } => {
                format!(
                    "{}; {}",
                    Act::Delete { lead: *lead }.sql(),
                    Act::Insert { lead: *lead, set: set.clone() }.sql()
                )
            }
            Act::InsertChild { child, n, lead, set } => {
                let lead_id = lead_id(*lead);
                let required = [&[("lead_id", lead_id.as_str())], child.required()].concat();
                insert(child.table(), &child.id(*n), &required, set)
            }
            Act::UpdateChild { child, n, set } => update(child.table(), &child.id(*n), set),
            Act::MoveChild { child, n, lead } => {
                update(child.table(), &child.id(*n), &vec![("lead_id".to_owned(), lead_id(*lead))])
            }
            Act::RenameChild { child, n, to } => rename(child.table(), &child.id(*n), &child.id(*to)),
            Act::DeleteChild { child, n } => {
                format!("DELETE FROM {} WHERE id = {}", child.table(), child.id(*n))
            }
            Act::Lms => "UPDATE courses SET title = title".to_owned(),
            Act::TruncateLms => "TRUNCATE video_events".to_owned(),
            Act::TruncateLeads => "TRUNCATE landing_leads CASCADE".to_owned(),
            Act::Undone(_) | Act::Kept(_) => unreachable!("a savepoint is made act by act"),
        }
    }
}

fn insert(table: &str, id: &str, required: &[(&str, &str)], set: &Set) -> String {
    let given = set.iter().map(|(column, value)| (column.as_str(), value.as_str()));
    let left = required.iter().copied().filter(|(name, _)| !set.iter().any(|(column, _)| column == name));
    let (columns, values): (Vec<&str>, Vec<&str>) = [("id", id)].into_iter().chain(left).chain(given).unzip();
    format!("INSERT INTO {table} ({}) VALUES ({})", columns.join(", "), values.join(", "))
}

fn update(table: &str, id: &str, set: &Set) -> String {
    let set: Vec<String> = set.iter().map(|(column, value)| format!("{column} = {value}")).collect();
    format!("UPDATE {table} SET {} WHERE id = {id}", set.join(", "))
}

fn rename(table: &str, id: &str, to: &str) -> String {
    format!("UPDATE {table} SET id = {to} WHERE id = {id}")
}
