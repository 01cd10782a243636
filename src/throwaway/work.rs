//! One transaction of a live writer: a few typical changes of leads.

use postgres_protocol::escape::escape_literal;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use tokio_postgres::Client;

use super::copy::copy_in;
use super::lead::{
    JOURNEY_COLUMNS, LEAD_COLUMNS, amocrm_id, journey_entry, lead, name, phone, source, unique_amocrm_id,
    uuid,
};
use super::metadata::metadata;
use crate::error::{Error, Result};
use crate::model::change::Table;
use crate::model::names::Names;

/// Runs one transaction. True when the transaction was committed, false when rolled back on purpose (one in
/// thirty).
pub(super) async fn transaction(client: &mut Client, names: &Names, rng: &mut StdRng) -> Result<bool> {
    let failed = |e| Error::database("a live writer", &e);
    // BEGIN and COMMIT as statements, not tokio-postgres's transaction guard, because COPY needs the client
    // itself.
    client.batch_execute("BEGIN").await.map_err(failed)?;
    for _ in 0..rng.random_range(1..5) {
        if let Err(error) = act(client, names, rng).await {
            // If the rollback fails too, the session is broken, and the first error says so.
            client.batch_execute("ROLLBACK").await.ok();
            return Err(error);
        }
    }
    let commit = !rng.random_ratio(1, 30);
    client.batch_execute(if commit { "COMMIT" } else { "ROLLBACK" }).await.map_err(failed)?;
    Ok(commit)
}

async fn act(client: &Client, names: &Names, rng: &mut StdRng) -> Result<()> {
    let leads = names.landing_table(Table::LandingLeads);
    let one = a_lead(&leads, rng);
    let sql = match rng.random_range(0..100) {
        0..15 => return whole_lead(client, names, rng).await,
        15..25 => bare_lead(&leads, rng),
        25..45 => return next_entry(client, names, &one, rng).await,
        45..60 => click(&leads, &one),
        60..78 => format!("UPDATE {leads} SET {} WHERE id = {one}", assignment(rng)),
        78..82 => format!(
            "SAVEPOINT s; UPDATE {leads} SET name = 'gone' WHERE id = {one}; ROLLBACK TO s;
             UPDATE {leads} SET amocrm_synced = true WHERE id = {one}"
        ),
        82..85 => format!("DELETE FROM {leads} WHERE id = {one}"),
        85..87 => changed_key(names, &one),
        _ => lms(names, rng),
    };
    client.batch_execute(&sql).await.map_err(|e| Error::database("a live writer", &e))
}

/// SQL for the id of a random lead; null when there is no lead.
fn a_lead(leads: &str, rng: &mut StdRng) -> String {
    format!("(SELECT id FROM {leads} WHERE id >= '{}' ORDER BY id LIMIT 1)", uuid(rng))
}

async fn whole_lead(client: &Client, names: &Names, rng: &mut StdRng) -> Result<()> {
    let (lead, entries) = lead(rng);
    copy_in(client, &names.landing_table(Table::LandingLeads), &LEAD_COLUMNS, [lead]).await?;
    copy_in(client, &names.landing_table(Table::LeadJourney), &JOURNEY_COLUMNS, entries).await?;
    Ok(())
}

/// A lead as a form inserts it, with the table's defaults for the other columns.
fn bare_lead(leads: &str, rng: &mut StdRng) -> String {
    let (name, phone) = (escape_literal(&name(rng)), escape_literal(&phone(rng)));
    format!(
        "INSERT INTO {leads} (name, phone, source, metadata) VALUES ({name}, {phone}, {}, {})",
        literal(source(rng)),
        literal(metadata(rng)),
    )
}

async fn next_entry(client: &Client, names: &Names, one: &str, rng: &mut StdRng) -> Result<()> {
    let failed = |e| Error::database("a live writer", &e);
    let row = client.query_one(&format!("SELECT {one}"), &[]).await.map_err(failed)?;
    let Some(lead) = row.get(0) else { return Ok(()) };
    let created = jiff::Timestamp::now().as_second();
    let entries = [journey_entry(rng, lead, created)];
    copy_in(client, &names.landing_table(Table::LeadJourney), &JOURNEY_COLUMNS, entries).await?;
    Ok(())
}

/// A short update that leaves a TOASTed metadata unchanged.
fn click(leads: &str, one: &str) -> String {
    format!(
        "UPDATE {leads} SET email_clicked = true, email_clicked_at = clock_timestamp(),
             click_count = coalesce(click_count, 0) + 1 WHERE id = {one}"
    )
}

fn assignment(rng: &mut StdRng) -> String {
    let flags = ["email_sent", "sms_sent", "email_clicked", "sms_clicked", "amocrm_synced"];
    match rng.random_range(0..15) {
        0 => format!("name = {}", escape_literal(&name(rng))),
        1 => format!("phone = {}", escape_literal(&phone(rng))),
        2 => format!("email = {}", if rng.random() { "NULL" } else { "'new@example.kz'" }),
        // Leaves metadata unchanged, because funnel_type depends on both columns.
        3 | 4 => format!("source = {}", literal(source(rng))),
        5 | 6 => format!("metadata = {}", literal(metadata(rng))),
        7 => "metadata = CASE jsonb_typeof(metadata) WHEN 'object'
                  THEN metadata || '{\"utm_source\": \"kenjifb\"}' ELSE metadata END"
            .into(),
        8 => {
            let number = uuid(rng);
            format!("amocrm_lead_id = {}", literal(unique_amocrm_id(rng, number)))
        }
        9 => format!("amocrm_contact_id = {}", literal(amocrm_id(rng))),
        10 => "sms_clicked_at = clock_timestamp(), click_count = NULL".into(),
        // Columns that no rule of the mapping reads.
        11 => "email_sent_at = clock_timestamp(), email_error = NULL, email_opened_at = NULL".into(),
        12 => {
            "sms_error = 'нет абонента', amocrm_sync_attempts = coalesce(amocrm_sync_attempts, 0) + 1".into()
        }
        13 => format!("utm_source = {}", literal(source(rng))),
        _ => {
            let flag = flags.choose(rng).copied().unwrap_or("email_sent");
            let value = ["true", "false", "NULL"].choose(rng).copied().unwrap_or("NULL");
            format!("{flag} = {value}")
        }
    }
}

/// Only a lead without journey entries can change its key, because the foreign key does not cascade updates.
fn changed_key(names: &Names, one: &str) -> String {
    let (leads, entries) =
        (names.landing_table(Table::LandingLeads), names.landing_table(Table::LeadJourney));
    format!(
        "WITH chosen AS MATERIALIZED (SELECT {one} AS id)
         UPDATE {leads} AS l SET id = gen_random_uuid() FROM chosen WHERE l.id = chosen.id
             AND NOT EXISTS (SELECT FROM {entries} AS s WHERE s.lead_id = l.id)"
    )
}

/// Typical changes of the LMS, in the fixture's tables.
fn lms(names: &Names, rng: &mut StdRng) -> String {
    let table = |name| crate::model::names::qualified(&names.landing_schema, name);
    let (events, users, lessons) = (table("video_events"), table("users"), table("lessons"));
    let position = rng.random_range(0..3600);
    format!(
        "INSERT INTO {events} (user_id, lesson_id, position_seconds, payload)
             SELECT u.id, l.id, {position}, repeat('video ', 50)
             FROM {users} AS u, {lessons} AS l ORDER BY random() LIMIT 10;
         UPDATE {users} SET xp = xp + 1
             WHERE id = (SELECT id FROM {users} ORDER BY id OFFSET {} LIMIT 1)",
        position % 20,
    )
}

fn literal(text: Option<String>) -> String {
    text.map_or_else(|| "NULL".into(), |text| escape_literal(&text))
}
