//! Many realistic leads, the same leads for the same seed.

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio_postgres::Client;

use super::copy::copy_in;
use super::lead::{JOURNEY_COLUMNS, JourneyEntry, LEAD_COLUMNS, Lead, lead, usual_lead};
use crate::error::Result;
use crate::model::change::Table;
use crate::model::names::Names;

/// Leads made before their journey entries are written: bounds memory at some 20 MB.
const BATCH: usize = 10_000;

/// Numbers of written rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filled {
    pub leads: u64,
    pub journey_entries: u64,
}

/// Writes `count` leads and about three times as many journey entries to Landing. A second call with the same
/// seed fails with a duplicate key. The metadata has from 100 bytes to 20 kB.
pub async fn fill(client: &Client, names: &Names, seed: u64, count: usize) -> Result<Filled> {
    fill_with(client, names, seed, count, lead).await
}

/// Like [`fill`], with some 350 bytes of metadata, for measurements: large documents would outweigh
/// everything else.
pub async fn fill_usual(client: &Client, names: &Names, seed: u64, count: usize) -> Result<Filled> {
    fill_with(client, names, seed, count, usual_lead).await
}

async fn fill_with(
    client: &Client,
    names: &Names,
    seed: u64,
    count: usize,
    lead: fn(&mut StdRng) -> (Lead, Vec<JourneyEntry>),
) -> Result<Filled> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut filled = Filled::default();
    let leads_table = names.landing_table(Table::LandingLeads);
    let journey_table = names.landing_table(Table::LeadJourney);
    for start in (0..count).step_by(BATCH) {
        let made = (start..count.min(start + BATCH)).map(|_| lead(&mut rng));
        let (leads, entries): (Vec<_>, Vec<_>) = made.unzip();
        filled.leads += copy_in(client, &leads_table, &LEAD_COLUMNS, leads).await?;
        filled.journey_entries +=
            copy_in(client, &journey_table, &JOURNEY_COLUMNS, entries.into_iter().flatten()).await?;
    }
    Ok(filled)
}
