//! The rights of the API's roles on the legacy names (docs/legacy-names.md), as Landing's tables give the rights.
//!
//! A legacy name runs with the rights of whoever asks, so a role needs each right twice: on the name, and on the columns
//! of Traffic's table below. A role is given neither where Traffic's row-level security would then let the role do more
//! than Landing.

use super::actions::Action;
use super::facts::{Command, Facts, Grant, RoleFacts, SERVICE, ViewFacts};
use super::judge::plain;
use super::rights::right;
use super::{COPIED, Comparison, KEEP};
use crate::error::{Kind, Result};
use crate::model::change::Table;
use crate::postgres::Database;

/// The columns of a replicated table that its legacy names show.
#[derive(Clone, Debug)]
pub struct LegacyTable {
    pub table: Table,
    /// Names of a column on Landing and on Traffic.
    pub columns: Vec<(String, String)>,
}

impl LegacyTable {
    /// The tables behind legacy names, each once, of the names' tables and columns.
    pub fn of_names(names: impl Iterator<Item = (Table, Vec<(String, String)>)>) -> Vec<Self> {
        let mut tables: Vec<LegacyTable> = Vec::new();
        for (table, columns) in names {
            if tables.iter().all(|known| known.table != table) {
                tables.push(LegacyTable { table, columns });
            }
        }
        tables
    }
}

/// What the legacy names need, and what the roles do not get.
#[derive(Clone, Debug, Default)]
pub struct LegacyRights {
    /// Statements on Traffic that copy Landing's policies; they give nobody a right without a grant.
    pub policies: Vec<String>,
    /// Who may read the names before the switch.
    pub readers: Vec<LegacyReader>,
    /// What the switch gives.
    pub rights: Vec<LegacyRight>,
    /// What is not as on Landing, and why.
    pub notes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyReader {
    pub table: Table,
    pub role: String,
}

/// A right that the switch gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyRight {
    pub table: Table,
    pub on: RightOn,
    pub role: String,
    /// `SELECT`, `INSERT`, `UPDATE` or `DELETE`.
    pub privilege: &'static str,
    /// `None`: the whole relation.
    pub columns: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RightOn {
    /// The table's legacy names.
    Names,
    /// Traffic's own table.
    Base,
}

/// Columns of `traffic_leads` by which a lead is known to be Landing's.
const MARKS: [&str; 2] = ["landing_synced_at", "landing_lead"];

/// The views that `migrate --public-view` has made.
pub(super) async fn public_views(traffic: Database<'_>) -> Result<Vec<String>> {
    let record = traffic.names.own("legacy_names");
    let step = traffic.during("reading the public views on Traffic");
    if !step.finds(&record).await? {
        return Ok(Vec::new());
    }
    match step.rows(&format!("SELECT name FROM {record} WHERE has_owner_rights"), &[]).await {
        Ok(rows) => Ok(rows.iter().map(|row| row.get(0)).collect()),
        // The record is not open to this role, to which then no view counts as meant.
        Err(error) if error.kind() == Kind::Refused => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

impl Comparison<'_> {
    /// Whether the operator has let the view show what Landing's view of the same name shows the role.
    pub(super) fn is_public_on_landing_too(&self, view: &ViewFacts, grant: &Grant) -> bool {
        let object = &view.object;
        let is_named =
            object.schema == self.names.traffic_schema && self.public_views.contains(&object.relation);
        let shows = |own: &ViewFacts| {
            (&own.object.schema, &own.object.relation) == (&self.names.landing_schema, &object.relation)
                && own.object.grants.iter().any(|given| {
                    (&given.role, given.command) == (&grant.role, grant.command) && given.columns.is_none()
                })
        };
        is_named && self.landing.views.iter().any(shows)
    }

    /// The rights on the legacy names of `shown`, as Landing gives them now.
    pub fn legacy_rights(&self, shown: &[LegacyTable]) -> LegacyRights {
        let mut found = LegacyRights::default();
        let after = self.with_policies(&mut found);
        for (position, &table) in self.tables.iter().enumerate() {
            let Some(shown) = shown.iter().find(|shown| shown.table == table) else { continue };
            for role in self.landing.roles.iter().filter_map(|role| after.role(&role.name)) {
                for command in Command::ALL {
                    self.give(&mut found, &after, (position, shown), (role, command));
                }
            }
            let others = self.landing.table(position).map_or(&[][..], |table| &table.others);
            if !others.is_empty() {
                found.notes.push(format!(
                    "other roles have rights on Landing's {}, and get none on its legacy name: {}",
                    self.names.landing_name(table),
                    others.join(", ")
                ));
            }
        }
        found
    }

    /// Whether everybody who may see rows of the table on Landing may see every lead there, so that a condition on the
    /// row's lead hides nothing from anybody.
    pub fn sees_leads_too(&self, table: Table) -> bool {
        let position = |wanted: Table| self.tables.iter().position(|table| *table == wanted);
        let (Some(at), Some(leads)) = (position(table), position(Table::LandingLeads)) else { return false };
        let sees = |role: &&RoleFacts| {
            let seen = [Command::Select, Command::Update, Command::Delete];
            seen.into_iter().any(|command| self.landing_right(&role.name, at, command).is_some())
        };
        self.landing.roles.iter().filter(sees).all(|role| {
            self.landing_right(&role.name, leads, Command::Select).is_some_and(|right| right.is_whole())
        })
    }

    /// Copies Landing's policies to the tables with row-level security; returns the facts with the copies.
    fn with_policies(&self, found: &mut LegacyRights) -> Facts {
        let mut after = self.traffic.clone();
        for position in 0..self.tables.len() {
            if !self.traffic.table(position).is_some_and(|table| table.row_security) {
                continue;
            }
            let planned = self.plan_safely(&self.traffic, position);
            let is_policy = |action: &&Action| match action {
                Action::CreatePolicy { policy, .. } => policy.name != KEEP,
                Action::DropPolicy { name, .. } => name.starts_with(COPIED) && name != KEEP,
                _ => false,
            };
            let policies: Vec<Action> = planned.actions.iter().filter(is_policy).cloned().collect();
            policies.iter().for_each(|action| action.apply(&mut after));
            found.policies.extend(self.statements(&policies));
            found.notes.extend(planned.notes);
        }
        after
    }

    /// Gives the role one right, if Landing gives it.
    fn give(
        &self,
        found: &mut LegacyRights,
        after: &Facts,
        (position, shown): (usize, &LegacyTable),
        (role, command): (&RoleFacts, Command),
    ) {
        let (Some(landing), Some(traffic)) = (self.landing.table(position), after.table(position)) else {
            return;
        };
        let Some(granted) = landing.grant(&role.name, command) else { return };
        let table = shown.table;
        let on_landing = plain(&self.names.landing_table(table));
        let verb = command.sql();
        if command == Command::Select {
            if granted.columns.is_some() {
                found.notes.push(format!(
                    "{} may read only some columns of Landing's {on_landing}, and gets no SELECT on its legacy name, which \
                     needs all columns",
                    role.name
                ));
                return;
            }
            found.readers.push(LegacyReader { table, role: role.name.clone() });
        }
        let is_given = |landing: &String| granted.columns.as_ref().is_none_or(|some| some.contains(landing));
        let given: Vec<&(String, String)> =
            shown.columns.iter().filter(|(landing, _)| is_given(landing)).collect();
        let mut base: Vec<String> = given.iter().map(|(_, traffic)| traffic.clone()).collect();
        if (table, command) == (Table::LandingLeads, Command::Select) {
            base.extend(MARKS.map(str::to_owned));
        }
        let mut with = traffic.clone();
        let columns = (command != Command::Delete).then(|| base.clone());
        with.grants.push(Grant { columns: columns.clone(), ..Grant::of(&role.name, command) });
        if role.name != SERVICE && !self.is_within(&with, role, command) {
            found.notes.push(format!(
                "{} gets no {verb} through the legacy names of {on_landing}, because Traffic's row-level security would \
                 let the role do more than Landing: `leadbridge migrate --api-access` closes {}",
                role.name,
                plain(&self.names.traffic_table(table))
            ));
            return;
        }
        let may_on_landing = self.landing_right(&role.name, position, command).is_some();
        if may_on_landing && right(&with, role, command).is_none() {
            found.notes.push(format!(
                "row-level security on {} lets {} {verb} no row, though {on_landing} on Landing does",
                plain(&self.names.traffic_table(table)),
                role.name
            ));
        }
        let right =
            |on, columns| LegacyRight { table, on, role: role.name.clone(), privilege: verb, columns };
        if command != Command::Select {
            let some = granted.columns.as_ref().map(|_| given.iter().map(|(name, _)| name.clone()).collect());
            found.rights.push(right(RightOn::Names, some));
        }
        found.rights.push(right(RightOn::Base, columns));
    }
}
