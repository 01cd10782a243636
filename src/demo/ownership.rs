//! The data that belongs to Traffic: columns that only Traffic's own people write, and a lead born on
//! Traffic.

use uuid::Uuid;

use super::setup::DemoSetup;
use crate::error::{Error, Result};
use crate::model::change::Table;
use crate::model::timestamp::Timestamp;
use crate::postgres::step::during;

/// Leads whose status is changed on Traffic.
const MARKED: i64 = 100;

/// The data written on Traffic, to be checked at the end.
#[derive(Debug)]
pub struct Owned {
    /// Leads with journey entries, because no writer changes the key of such a lead.
    marked: Vec<Uuid>,
    marked_at: Timestamp,
    own_lead: Uuid,
    own_image: String,
}

impl Owned {
    pub fn marked(&self) -> u64 {
        self.marked.len() as u64
    }
}

/// The state of the written data at the end.
#[derive(Debug)]
pub struct Kept {
    /// Leads that were marked and that no writer has deleted on Landing since.
    pub remaining: u64,
    /// Remaining leads that still have the status and pipeline written on Traffic.
    pub kept: u64,
    /// Remaining leads that Landing's changes have rewritten since.
    pub rewritten: u64,
    /// Whether the lead born on Traffic is unchanged, to the last byte.
    pub own_lead: bool,
}

impl Kept {
    pub fn holds(&self) -> bool {
        self.own_lead && self.kept == self.remaining && self.remaining > 0
    }
}

/// Changes the status of leads, as a person on Traffic does, and inserts a lead of Traffic's own, as a
/// Facebook form does.
pub async fn write(setup: &DemoSetup<'_>) -> Result<Owned> {
    let step = during(&setup.traffic, "writing on Traffic");
    let names = &setup.config.names;
    let (leads, entries) =
        (names.traffic_table(Table::LandingLeads), names.traffic_table(Table::LeadJourney));
    // The statement locks in the order of the keys, as the daemon does, so the two cannot deadlock. The
    // statement leaves out a lead that the daemon wrote during the wait for the lead's lock: Traffic's
    // trigger stamps the start time of the statement's transaction, and the stamp would precede Landing's
    // change.
    let mark = format!(
        "WITH chosen AS MATERIALIZED (SELECT l.id FROM {leads} AS l WHERE l.landing_synced_at IS NOT NULL \
             AND EXISTS (SELECT FROM {entries} AS e WHERE e.lead_id = l.id) \
             ORDER BY l.id LIMIT $1 FOR NO KEY UPDATE) \
         UPDATE {leads} AS l SET status = 'qualified', amocrm_pipeline_id = 4242 FROM chosen \
         WHERE l.id = chosen.id AND l.landing_synced_at < pg_catalog.now() RETURNING l.id, pg_catalog.now()"
    );
    let rows = step.rows(&mark, &[&MARKED]).await?;
    let bring = format!(
        "INSERT INTO {leads} AS l (name, phone, fb_lead_id) VALUES ('Demo', '+7', 'demo') \
         RETURNING l.id, pg_catalog.md5(l::text)"
    );
    let own = step.row(&bring, &[]).await?;
    Ok(Owned {
        marked: rows.iter().map(|row| row.get(0)).collect(),
        marked_at: rows.first().map(|row| row.get(1)).ok_or_else(|| Error::internal("no lead on Traffic"))?,
        own_lead: own.get(0),
        own_image: own.get(1),
    })
}

/// Neither side may change during the check.
pub async fn look_again(setup: &DemoSetup<'_>, owned: &Owned) -> Result<Kept> {
    const STEP: &str = "looking at what Traffic owns";
    let names = &setup.config.names;
    let count =
        format!("SELECT count(*) FROM {} WHERE id = ANY ($1)", names.landing_table(Table::LandingLeads));
    let landing = during(&setup.landing, STEP).row(&count, &[&owned.marked]).await?;
    // Both servers use one machine's clock, so their times can be compared.
    let sql = format!(
        "SELECT count(*) FILTER (WHERE l.id = ANY ($1) AND l.status = 'qualified' AND l.amocrm_pipeline_id = 4242), \
             count(*) FILTER (WHERE l.id = ANY ($1) AND l.landing_synced_at > $2), \
             count(*) FILTER (WHERE l.id = $3 AND pg_catalog.md5(l::text) = $4) = 1 FROM {} AS l",
        names.traffic_table(Table::LandingLeads)
    );
    let Owned { marked, marked_at, own_lead, own_image } = owned;
    let step = during(&setup.traffic, STEP);
    let traffic = step.row(&sql, &[marked, marked_at, own_lead, own_image]).await?;
    let unsigned = |number: i64| number.max(0) as u64;
    Ok(Kept {
        remaining: unsigned(landing.get(0)),
        kept: unsigned(traffic.get(0)),
        rewritten: unsigned(traffic.get(1)),
        own_lead: traffic.get(2),
    })
}
