//! One lead, end to end: where it is, by which rule each column got its value, whether the sides are equal, and if
//! not, why.
//!
//! Nothing here decides what is equal: the mapping and [`crate::compare`] do, as for `verify`. A database that does not
//! answer is named, and the other side is explained all the same. Values of rows are read only where the operator asks
//! for them, except for the lead's mapped columns, which the comparison needs; those are not passed on.

mod asked;
mod attribution;
mod children;
mod columns;
mod facts;
mod find;
mod sides;
mod verdict;

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;
use uuid::Uuid;

pub use asked::Asked;
pub use attribution::{Attribution, AttributionValues};
use children::ChildrenQuestion;
pub use children::{ChildExplanation, ChildrenExplanation};
use columns::LeadRows;
pub use columns::{ColumnExplanation, ColumnValues};
pub use facts::{Born, LandingFacts, OwnColumn, TrafficFacts};
use sides::Sides;
pub use sides::StreamPosition;
use verdict::Circumstances;
pub use verdict::{Verdict, all_right};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::landing::{catalog, reading};
use crate::language::{Message, message};
use crate::mapping::{Limits, Mapping};
use crate::model::change::{Row, Table};
use crate::model::side::Side;
use crate::quarantine::LeadRecords;
use crate::traffic::{TargetCatalog, reading as traffic_reading};

/// What an operator asks for.
pub struct Question {
    pub asked: Asked,
    /// Whether values of rows, which are people's data, are part of the answer.
    pub with_values: bool,
    /// Longest wait for the stream to pass a row that differs.
    pub wait: Duration,
}

/// The answer.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// `id`, `phone` or `email`.
    pub asked_by: &'static str,
    /// The database that takes writes now.
    /// `null` while Traffic does not answer.
    pub system_of_record: Option<Side>,
    pub stream: StreamPosition,
    /// The leads that match, the oldest first; empty when there is none.
    pub leads: Vec<LeadExplanation>,
    /// Whether more than 20 leads match.
    pub has_more: bool,
    /// Searches that were given up, and databases that do not answer.
    pub incomplete: Vec<Message>,
    /// One error for each database that could not be read.
    #[serde(skip)]
    pub failures: Vec<Error>,
}

/// One lead.
#[derive(Debug, Serialize)]
pub struct LeadExplanation {
    pub id: Uuid,
    pub verdict: Verdict,
    pub reasons: Vec<Message>,
    /// `null` where Landing has no such row, or does not answer.
    pub landing: Option<LandingFacts>,
    /// `null` where Traffic has no such row, or does not answer.
    pub traffic: Option<TrafficFacts>,
    pub columns: Vec<ColumnExplanation>,
    /// Why Traffic's columns cannot hold the lead.
    pub refusal: Option<String>,
    /// `null` where Traffic has no such lead, or the role may not read the bindings.
    pub attribution: Option<Attribution>,
    /// The journey, and the notifications where they are replicated.
    pub children: Vec<ChildrenExplanation>,
    #[serde(flatten)]
    pub records: LeadRecords,
}

/// Explains every lead that matches.
///
/// # Errors
/// Traffic has no state tables of this installation, or a statement fails. A database that does not answer is part of
/// the answer.
pub async fn explain(config: &Config, question: &Question) -> Result<Explanation> {
    let deadline = Instant::now() + question.wait;
    let mut sides = Sides::open(config).await?;
    let (source, stream) = sides.stream().await?;
    if let (Some(_), Some(landing)) = (&stream.finished_at, sides.landing()) {
        // The finish may have taken the rights on Landing away.
        if let Err(error) = facts::on_landing(landing, Uuid::nil()).await {
            sides.fail(Side::Landing, error);
        }
    }
    let mapping = sides.mapping().await?;
    let found = find::find(&sides, mapping.of(Table::LandingLeads), &question.asked).await?;
    let reader = LeadReader { sides: &sides, source, stream: &stream, mapping: &mapping, question, deadline };
    let mut leads = Vec::with_capacity(found.ids.len());
    for id in found.ids {
        // Boxed, because the futures of both directions' comparisons are large.
        leads.push(Box::pin(reader.explain(id)).await?);
    }
    let system_of_record = sides.traffic().map(|_| source);
    let silent = sides.failures.iter().map(|(side, _)| silent(*side));
    let incomplete = silent.chain(found.given_up).collect();
    let is_finished = stream.finished_at.is_some();
    // After the finish Landing may be gone for good.
    let failures = sides.failures.into_iter().filter(|(side, _)| !(is_finished && *side == Side::Landing));
    Ok(Explanation {
        asked_by: question.asked.kind(),
        system_of_record,
        leads,
        has_more: found.has_more,
        incomplete,
        failures: failures.map(|(_, error)| error).collect(),
        stream,
    })
}

/// What [`Explanation::incomplete`] says of a database that does not answer.
pub fn silent(side: Side) -> Message {
    message!("explain-silent", side = side)
}

/// Reads leads one after the other.
struct LeadReader<'r> {
    sides: &'r Sides,
    source: Side,
    stream: &'r StreamPosition,
    mapping: &'r Mapping,
    question: &'r Question,
    deadline: Instant,
}

impl LeadReader<'_> {
    async fn explain(&self, id: Uuid) -> Result<LeadExplanation> {
        let can_compare = self.stream.has_copied() && self.stream.finished_at.is_none();
        let (settled, children) = tokio::try_join!(
            async {
                match can_compare {
                    true => {
                        let ids = [id];
                        let asked = (Table::LandingLeads, &ids[..]);
                        sides::settled(self.sides, self.source, asked, self.deadline).await
                    }
                    false => Ok(None),
                }
            },
            self.children(id, can_compare),
        )?;
        let (landing, (traffic, image, limits), (records, attribution)) = tokio::try_join!(
            self.on_landing(id),
            self.on_traffic(id),
            self.records(id, verdict::keys(id, &children)),
        )?;
        let (landing, row) = landing.unzip();
        let rows = LeadRows {
            mapping: self.mapping.of(Table::LandingLeads),
            limits: &limits,
            landing: row.as_ref(),
            traffic: image.as_ref(),
        };
        let (columns, rejection) = match row.is_some() || image.is_some() {
            true => rows.explain(self.question.with_values),
            false => Default::default(),
        };
        let refusal = rejection.map(|rejection| rejection.message);
        let (verdict, reasons) = (Verdict::Unknown, Vec::new());
        let mut lead = LeadExplanation {
            id,
            verdict,
            reasons,
            landing,
            traffic,
            columns,
            refusal,
            attribution,
            children,
            records,
        };
        for children in &mut lead.children {
            children.mark(&lead.records.quarantine);
        }
        let both_answer = self.sides.both().is_some();
        let settled = settled.as_ref().and_then(|rows| rows.first());
        lead.judge(Circumstances { source: self.source, stream: self.stream, both_answer, lead: settled });
        Ok(lead)
    }

    /// What leadbridge's records say of the lead and of the rows with these keys, and whose the lead is.
    async fn records(&self, id: Uuid, keys: Vec<Uuid>) -> Result<(LeadRecords, Option<Attribution>)> {
        let Some(traffic) = self.sides.traffic() else { return Ok(Default::default()) };
        let with_values = self.question.with_values;
        tokio::try_join!(
            LeadRecords::read(traffic, id, &keys, with_values),
            attribution::of_lead(traffic, id, with_values)
        )
    }

    async fn children(&self, lead: Uuid, can_compare: bool) -> Result<Vec<ChildrenExplanation>> {
        let mut children = Vec::new();
        for table in self.sides.config.tables() {
            if table.lead_column().is_some() {
                let asked = ChildrenQuestion {
                    lead,
                    source: self.source,
                    can_compare,
                    with_values: self.question.with_values,
                    deadline: self.deadline,
                };
                children.push(children::explain(self.sides, table, asked).await?);
            }
        }
        Ok(children)
    }

    /// What Landing says of the lead, and the lead's row.
    async fn on_landing(&self, id: Uuid) -> Result<Option<(LandingFacts, Row)>> {
        let Some(landing) = self.sides.landing() else { return Ok(None) };
        let mapping = self.mapping.of(Table::LandingLeads);
        let (facts, layout) = tokio::try_join!(
            facts::on_landing(landing, id),
            catalog::layout(landing.client, landing.names, mapping)
        )?;
        let mut rows = reading::by_id(landing.client, landing.names, &layout, &[id]).await?;
        Ok(facts.zip(rows.remove(&id)))
    }

    /// What Traffic says of the lead, the lead's row, and the longest texts that Traffic's columns take.
    async fn on_traffic(&self, id: Uuid) -> Result<TrafficAnswer> {
        let mapping = self.mapping.of(Table::LandingLeads);
        let Some(traffic) = self.sides.traffic() else {
            return Ok((None, None, vec![None; mapping.targets().len()].into()));
        };
        let tables = [Table::LandingLeads];
        let (facts, image, target) = tokio::try_join!(
            facts::on_traffic(traffic, mapping, id, self.question.with_values),
            traffic_reading::by_id(traffic, mapping, id),
            TargetCatalog::read(traffic, &tables, self.mapping),
        )?;
        Ok((facts, image, target.limits(Table::LandingLeads).into()))
    }
}

type TrafficAnswer = (Option<TrafficFacts>, Option<crate::mapping::inverse::TrafficImage>, Box<Limits>);
