//! Leads that were imported into Traffic before leadbridge's first copy: a copy would overwrite those with the
//! id of a lead on Landing, and would double those with another id (docs/imports.md).
//!
//! The two databases are two servers, so no query joins them. Traffic's leads are read in pages by id, and
//! Landing is asked for the ids of each page. Phones and e-mail addresses have no index on Landing, so Landing's
//! leads are read once, in ranges of the table's pages, each in a statement of its own: no lock lasts. Memory
//! holds a page, and the contacts of `COMPARED` leads at most.

mod contacts;
mod verdicts;

use std::collections::HashSet;

use futures_util::{TryStreamExt as _, pin_mut};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::landing::catalog;
use crate::landing::ranges::Range;
use crate::language::message;
use crate::model::change::Table;
use crate::model::same_id::SameId;
use crate::model::side::Side;
use crate::postgres::paging::PageStart;
use crate::postgres::{Database, Databases};
use crate::report::{Findings, Level, Verdict};
use contacts::Contacts;

/// Number of leads on Traffic whose phones and e-mail addresses are compared with Landing's.
const COMPARED: usize = 100_000;

/// Leads in a page of Traffic's leads.
const PAGE: i64 = 10_000;

/// Number of ids that a query in a message lists.
const LISTED: usize = 100;

/// Leads of Traffic that leadbridge did not bring, and that Landing has too.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct EarlierImports {
    /// The condition for all leads on Traffic that leadbridge did not bring.
    own: String,
    own_count: u64,
    same_id: Found,
    other_id: Found,
    /// Whether more than [`COMPARED`] leads had to be compared, so `other_id` counts only some.
    is_partial: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    count: u64,
    /// The first [`LISTED`] ids.
    first: Vec<Uuid>,
}

impl Found {
    fn add(&mut self, id: Uuid) {
        self.count += 1;
        if self.first.len() < LISTED {
            self.first.push(id);
        }
    }
}

/// The question put to both databases.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Look {
    SameIds,
    /// Asks for phones and e-mail addresses too, which reads every lead of Landing.
    SameIdsAndContacts,
}

/// Adds findings while the next run begins with a copy.
pub(super) async fn examine(findings: &mut Findings, databases: Databases<'_>, config: &Config) {
    let side = Some(Side::Traffic);
    match EarlierImports::find(databases, Look::SameIdsAndContacts).await {
        Ok(imports) => {
            for verdict in imports.judge(config.same_id, databases.names) {
                findings.add("earlier_imports", side, Ok(verdict));
            }
        }
        // Another check reports the missing privilege or table.
        Err(error) if error.kind() == Kind::Refused && findings.worst() == Level::Error => {}
        Err(error) => findings.add("earlier_imports", side, Err(error)),
    }
}

/// Must be asked before a copy deletes or writes anything. Logs a warning for each finding that refuses nothing.
///
/// # Errors
/// Refused when Traffic has leads with ids of Landing's leads, and the configuration does not say whose values
/// win.
pub async fn admit(databases: Databases<'_>, look: Look, same_id: SameId) -> Result<()> {
    let imports = EarlierImports::find(databases, look).await?;
    for verdict in imports.judge(same_id, databases.names) {
        let Verdict { level, message, remedy } = verdict;
        let remedy = remedy.unwrap_or_else(|| message!("report-see-doctor"));
        match level {
            Level::Ok => {}
            Level::Warning => tracing::warn!("{message}; what to do: {remedy}"),
            Level::Error => return Err(Error::refused(message.to_string()).remedy(remedy)),
        }
    }
    Ok(())
}

impl EarlierImports {
    async fn find(databases: Databases<'_>, look: Look) -> Result<EarlierImports> {
        let (landing, traffic) = (databases.on(Side::Landing), databases.on(Side::Traffic));
        let mut imports = EarlierImports { own: own_leads(traffic).await?, ..EarlierImports::default() };
        let (mut contacts, mut start) = (Contacts::default(), PageStart::FIRST);
        loop {
            let page = page(traffic, &imports.own, start).await?;
            let ids: Vec<Uuid> = page.iter().map(|row| row.get(0)).collect();
            let Some(last) = ids.last() else { break };
            start = PageStart::after(*last);
            let there = on_landing(landing, &ids).await?;
            for (id, row) in ids.into_iter().zip(&page) {
                imports.own_count += 1;
                if there.contains(&id) {
                    imports.same_id.add(id);
                } else if look == Look::SameIdsAndContacts && contacts.len() < COMPARED {
                    contacts.add(id, row.get(1), row.get(2));
                } else {
                    imports.is_partial = true;
                }
            }
        }
        if !contacts.are_unknown() {
            meet_landing(landing, &mut contacts).await?;
            contacts.known().for_each(|id| imports.other_id.add(id));
        }
        Ok(imports)
    }
}

/// The condition for leads that leadbridge did not bring. Before `leadbridge migrate` the table lacks the columns
/// that tell, and all its leads are Traffic's.
async fn own_leads(traffic: Database<'_>) -> Result<String> {
    let sql = "SELECT attname::text FROM pg_catalog.pg_attribute WHERE attrelid = pg_catalog.to_regclass($1) \
               AND attname IN ('landing_synced_at', 'landing_lead') AND NOT attisdropped";
    let step = traffic.during("looking for leads that were imported into Traffic");
    let rows = step.rows(sql, &[&traffic.table(Table::LandingLeads)]).await?;
    let has = |name: &str| rows.iter().any(|row| row.get::<_, &str>(0) == name);
    let conditions = [
        has("landing_synced_at").then_some("landing_synced_at IS NULL"),
        has("landing_lead").then_some("NOT landing_lead"),
    ];
    let conditions: Vec<_> = conditions.into_iter().flatten().collect();
    Ok(if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") })
}

/// The next page of Traffic's own leads: id, phone, e-mail.
async fn page(traffic: Database<'_>, own: &str, start: PageStart) -> Result<Vec<tokio_postgres::Row>> {
    let sql = format!(
        "SELECT id, phone::text, email::text FROM {} WHERE {} AND {own} ORDER BY id LIMIT {PAGE}",
        traffic.table(Table::LandingLeads),
        start.condition("id"),
    );
    traffic.during("reading leads that were imported into Traffic").rows(&sql, &[start.key()]).await
}

async fn on_landing(landing: Database<'_>, ids: &[Uuid]) -> Result<HashSet<Uuid>> {
    let sql = format!("SELECT id FROM {} WHERE id = ANY ($1)", landing.table(Table::LandingLeads));
    let rows = landing.during("looking for Traffic's leads on Landing").rows(&sql, &[&ids]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Lets `contacts` meet every lead of Landing.
async fn meet_landing(landing: Database<'_>, contacts: &mut Contacts) -> Result<()> {
    let pages = catalog::pages(landing.client, landing.names, Table::LandingLeads).await?;
    for range in Range::all(Table::LandingLeads, pages) {
        meet_range(landing, &range, contacts).await?;
    }
    Ok(())
}

async fn meet_range(landing: Database<'_>, range: &Range, contacts: &mut Contacts) -> Result<()> {
    let step = "reading phones and e-mail addresses of leads on Landing";
    let failed = |error| Error::database(step, &error);
    let sql = format!(
        "SELECT phone::text, email::text FROM {} WHERE {}",
        landing.table(range.table),
        range.condition()
    );
    let parameters: [&str; 0] = [];
    let client: &Client = landing.client;
    let rows = client.query_raw(&sql, parameters).await.map_err(failed)?;
    pin_mut!(rows);
    while let Some(row) = rows.try_next().await.map_err(failed)? {
        contacts.meet(row.get(0), row.get(1));
    }
    Ok(())
}
