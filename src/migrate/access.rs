//! The API roles' rights on Traffic, as far as `leadbridge migrate` looks after the rights: what a created
//! object is granted, what `--api-access` closes, and what stays open.

use serde::Serialize;
use tokio_postgres::Client;

use super::trial::WriteTrial;
use super::{Patience, with_remedy};
use crate::access::{AccessScope, Comparison, Plan, Standing};
use crate::error::Result;
use crate::language::{Message, message};
use crate::postgres::step::during;

/// Statements about the API's roles that were run, or in a dry run would be run, and what they leave open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ApiAccess {
    /// Statements of `--api-access` on Traffic, in the order of execution.
    pub statements: Vec<String>,
    /// Rights on Landing that are not copied, and why.
    pub notes: Vec<String>,
    /// Rights on Traffic beyond those on Landing.
    pub left: Vec<LeftOpen>,
}

/// A right on Traffic that Landing does not give.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOpen {
    pub what: String,
    pub remedy: Message,
}

impl ApiAccess {
    pub(super) fn lines(&self, dry_run: bool) -> Vec<Message> {
        let said = |says: Message| message!("migrate-api", says = says);
        let run = |statement: &String| {
            said(match dry_run {
                true => message!("migrate-would-run", statement = statement),
                false => message!("migrate-ran", statement = statement),
            })
        };
        let mut lines: Vec<Message> = self.statements.iter().map(run).collect();
        lines.extend(self.notes.iter().map(|note| said(Message::verbatim(note))));
        for LeftOpen { what, remedy } in &self.left {
            let left = said(message!("migrate-left-open", what = what));
            lines.extend(with_remedy(left, remedy.clone()));
        }
        lines
    }
}

/// The rights of both sides before the migrations, and the plan of `--api-access`. The plan is made before
/// anything is changed, so that a dry run and a run have the same plan.
pub(super) struct PlannedAccess<'p> {
    scope: AccessScope<'p>,
    comparison: Comparison<'p>,
    plan: Option<Plan>,
}

impl<'p> PlannedAccess<'p> {
    pub(super) async fn read(
        landing: &Client,
        traffic: &Client,
        (scope, is_asked_for): (AccessScope<'p>, bool),
    ) -> Result<Self> {
        let comparison = Comparison::read(landing, traffic, scope).await?.as_migrated();
        let plan = is_asked_for.then(|| comparison.plan());
        Ok(PlannedAccess { scope, comparison, plan })
    }

    /// The rights after the plan of `--api-access`, if it is asked for.
    pub(super) fn comparison_afterwards(&self) -> Comparison<'p> {
        self.plan.as_ref().map_or_else(|| self.comparison.clone(), |plan| self.comparison.after(plan))
    }

    /// What a run would do and leave.
    pub(super) fn predicted(&self) -> ApiAccess {
        let left = match &self.plan {
            Some(plan) => left(&self.comparison.after(plan)),
            None => left(&self.comparison),
        };
        ApiAccess { left, ..self.planned() }
    }

    fn planned(&self) -> ApiAccess {
        let (statements, notes) =
            self.plan.as_ref().map(|plan| (plan.statements.clone(), plan.notes.clone())).unwrap_or_default();
        ApiAccess { statements, notes, left: Vec::new() }
    }

    /// Tells the session's migrations what Landing grants on its tables.
    pub(super) async fn announce(&self, traffic: &Client) -> Result<()> {
        let set = "SELECT pg_catalog.set_config('leadbridge.landing_grants', $1, false)";
        let grants = self.comparison.landing_grants().to_string();
        during(traffic, "preparing the grants on Traffic").row(set, &[&grants]).await.map(drop)
    }

    /// Runs the plan in one transaction. The rights of `anon` and `authenticated` are taken away on purpose; every other
    /// role goes on writing.
    pub(super) async fn apply(
        &self,
        traffic: &mut Client,
        (patience, trial): (Patience, &WriteTrial),
    ) -> Result<()> {
        let statements = self.planned().statements;
        if statements.is_empty() {
            return Ok(());
        }
        let sql = format!("{};\nNOTIFY pgrst, 'reload schema';", statements.join(";\n"));
        let others = trial.without(&["anon", "authenticated"]);
        patience.execute(traffic, ("the change of the API roles' rights on Traffic", &sql), &others).await?;
        Ok(())
    }

    /// What was done, and what both databases now leave open.
    pub(super) async fn done(&self, landing: &Client, traffic: &Client) -> Result<ApiAccess> {
        let now = Comparison::read(landing, traffic, self.scope).await?;
        Ok(ApiAccess { left: left(&now), ..self.planned() })
    }
}

fn left(comparison: &Comparison<'_>) -> Vec<LeftOpen> {
    let refused = comparison.judge().into_iter().filter(|excess| excess.standing == Standing::Refused);
    refused.map(|excess| LeftOpen { remedy: excess.remedy(), what: excess.what }).collect()
}
