//! The plan of `leadbridge migrate --api-access`: Traffic's row-level security, policies and grants as
//! Landing's; pure.
//!
//! The plan takes nothing from `service_role`, nor from any role but `anon` and `authenticated`, and drops no
//! policy but copies of Landing's. What the plan leaves open is for the operator.

use std::collections::BTreeSet;

use super::actions::{Action, Draft, copied_name};
use super::closing::{closing_of_functions, revoking};
use super::facts::{Command, Facts, Grant, Policy, SERVICE, TableFacts};
use super::judge::{Place, plain};
use super::rights::is_same_column;
use super::{COPIED, Comparison, KEEP};
use crate::mapping;
use crate::model::change::Table;
use crate::model::side::Side;

/// Statements on Traffic, in the order of execution.
#[derive(Clone, Debug)]
pub struct Plan {
    pub statements: Vec<String>,
    /// What the plan does not copy, and why.
    pub notes: Vec<String>,
    /// The facts of Traffic afterwards.
    pub(super) after: Facts,
}

impl Comparison<'_> {
    /// Traffic with the tables that `leadbridge migrate` creates, as the migrations create and grant the
    /// tables. A function of the school's that a migration replaces has the rights of whoever calls it then, and keeps
    /// its grants: taking one from `PUBLIC` would take the function from `service_role`.
    pub fn as_migrated(mut self) -> Self {
        for (position, &table) in self.tables.iter().enumerate() {
            if self.traffic.table(position).is_none() {
                let created = self.created(position, table);
                self.traffic.tables.push(created);
            }
        }
        self.traffic.functions.retain(|function| function.is_own);
        self
    }

    /// What Landing grants on whole tables to `anon` and `authenticated`, by the table's name on Traffic: the
    /// grants of [`Comparison::as_migrated`] on a created table, for `sql/traffic/033_api_grants.sql`.
    pub fn landing_grants(&self) -> serde_json::Value {
        let mut tables = serde_json::Map::new();
        for (position, table) in self.tables.iter().enumerate() {
            let roles = self.traffic.roles.iter().filter(|role| role.name != SERVICE);
            let given = roles.filter_map(|role| {
                let granted = |command: &Command| !self.is_ungranted(position, &role.name, *command);
                let commands: Vec<&str> =
                    Command::ALL.into_iter().filter(granted).map(Command::sql).collect();
                let is_given = !commands.is_empty();
                is_given.then(|| serde_json::json!({"role": role.name, "privileges": commands.join(", ")}))
            });
            tables.insert(table.traffic_name().to_owned(), given.collect());
        }
        tables.into()
    }

    fn created(&self, position: usize, table: Table) -> TableFacts {
        let mut grants = Vec::new();
        for role in &self.traffic.roles {
            let given = |command: &Command| {
                role.name == SERVICE || !self.is_ungranted(position, &role.name, *command)
            };
            let commands = Command::ALL.into_iter().filter(given);
            grants.extend(commands.map(|command| Grant::of(&role.name, command)));
        }
        let columns = mapping::known_targets(table).iter().map(|target| target.name.to_string());
        let columns = columns.chain(["id".to_owned()]).collect();
        TableFacts { position, columns, row_security: true, grants, ..TableFacts::default() }
    }

    /// The statements that bring Traffic's rights to Landing's.
    pub fn plan(&self) -> Plan {
        let (mut draft, mut notes) = (Draft::of(&self.traffic), Vec::new());
        for position in 0..self.tables.len() {
            let planned = self.plan_safely(&draft.after, position);
            draft.actions.extend(planned.actions);
            notes.extend(planned.notes);
            draft.after = planned.after;
        }
        for action in self.closing_the_rest() {
            draft.add(vec![action]);
        }
        Plan { statements: self.statements(&draft.actions), notes, after: draft.after }
    }

    /// The plan for one table. A role that would have more than on Landing, through a grant or a policy of Traffic's
    /// own, is given nothing.
    pub(super) fn plan_safely(&self, facts: &Facts, position: usize) -> Draft {
        let roles: Vec<&str> = self.traffic.roles.iter().map(|role| role.name.as_str()).collect();
        let opened = self.plan_table(facts, position, &roles);
        let safe = |role: &&str| self.still_beyond(&opened.after, position, role).is_empty();
        let safe: Vec<&str> = roles.iter().copied().filter(safe).collect();
        match safe.len() == roles.len() {
            true => opened,
            false => self.plan_table(facts, position, &safe),
        }
    }

    /// Views with their owner's rights, and leadbridge's own schema.
    fn closing_the_rest(&self) -> Vec<Action> {
        let mut actions: Vec<Action> = Vec::new();
        for found in self.found() {
            let (role, object) = (&found.role, &found.object);
            if found.side != Side::Traffic || role == SERVICE || self.accepts(role, object) {
                continue;
            }
            let closing = match &found.place {
                Place::Table(..) => Vec::new(),
                Place::View(name, grants) => {
                    let revoke = || Action::RevokeView { name: name.clone(), role: role.clone() };
                    grants.iter().any(Grant::is_direct).then(revoke).into_iter().collect()
                }
                Place::OwnSchema => self.closing_of_schema(role),
                Place::Functions(functions) => closing_of_functions(role, functions),
            };
            for action in closing {
                if !actions.contains(&action) {
                    actions.push(action);
                }
            }
        }
        actions
    }

    /// The plan for one table that gives nothing to a role outside of `open`.
    fn plan_table(&self, facts: &Facts, position: usize, open: &[&str]) -> Draft {
        let mut draft = Draft::of(facts);
        let (Some(table), Some(&kind)) = (facts.table(position), self.tables.get(position)) else {
            return draft;
        };
        let landing = self.landing.table(position);
        // The tables of journey entries and notifications have been made with row-level security.
        if kind != Table::LandingLeads || landing.is_some_and(|table| table.row_security) {
            draft.add(self.enabling(facts, position));
        }
        let wanted = match draft.after.table(position).is_some_and(|table| table.row_security) {
            true => self.copies(&mut draft, position, open),
            false => Vec::new(),
        };
        draft.add(renewing(table, &wanted));
        for role in self.traffic.roles.iter().filter(|role| role.name != SERVICE) {
            if !self.accepts(&role.name, kind.traffic_name()) {
                let withheld = self.withheld(&draft.after, position, &role.name);
                draft.add(revoking(&draft.after, position, &role.name, &withheld));
            }
        }
        for role in open {
            draft.add(self.granting(&draft.after, position, role));
        }
        draft
    }

    /// The privileges that Landing does not give to the role, neither for the table nor for these columns.
    fn withheld(&self, facts: &Facts, position: usize, role: &str) -> Vec<Command> {
        let landing = self.landing.table(position);
        let has_none = |command: &Command| landing.and_then(|table| table.grant(role, *command)).is_none();
        let beyond = self.still_beyond(facts, position, role);
        let withheld = |command: &Command| {
            has_none(command) || (beyond.contains(command) && self.is_ungranted(position, role, *command))
        };
        Command::ALL.into_iter().filter(withheld).collect()
    }

    /// Gives the role what Landing gives, as far as the role's rights then stay within those on Landing.
    fn granting(&self, facts: &Facts, position: usize, role: &str) -> Vec<Action> {
        let (Some(table), Some(facts_of_role)) = (facts.table(position), facts.role(role)) else {
            return Vec::new();
        };
        let is_lacking = |command: &Command| {
            if self.is_ungranted(position, role, *command) || table.grant(role, *command).is_some() {
                return false;
            }
            let mut with = table.clone();
            with.grants.push(Grant::of(role, *command));
            self.is_within(&with, facts_of_role, *command)
        };
        let commands: Vec<Command> = Command::ALL.into_iter().filter(is_lacking).collect();
        if commands.is_empty() {
            return Vec::new();
        }
        vec![Action::Grant { table: position, role: role.to_owned(), commands }]
    }

    /// The copies of Landing's policies that Traffic's table is to have.
    fn copies(&self, draft: &mut Draft, position: usize, open: &[&str]) -> Vec<Policy> {
        let (Some(landing), Some(&kind)) = (self.landing.table(position), self.tables.get(position)) else {
            return Vec::new();
        };
        if !landing.row_security {
            return Vec::new();
        }
        let Some(table) = draft.after.table(position) else { return Vec::new() };
        let mut notes = Vec::new();
        let mut closed: BTreeSet<&str> = BTreeSet::new();
        let mut wanted: Vec<Policy> = Vec::new();
        // Restrictive policies come first: without such a policy a role must not get the permissive ones.
        let mut policies: Vec<&Policy> = landing.policies.iter().collect();
        policies.sort_by_key(|policy| policy.is_permissive);
        for policy in policies {
            let is_due =
                |role: &&&str| !closed.contains(**role) && self.is_due(policy, role, position, table);
            let roles: Vec<&str> = open.iter().filter(is_due).copied().collect();
            if roles.is_empty() {
                continue;
            }
            match self.obstacle(policy, kind, table) {
                None => wanted.push(Policy {
                    name: copied_name(&policy.name),
                    roles: roles.iter().map(|role| (*role).to_owned()).collect(),
                    ..policy.clone()
                }),
                Some(obstacle) => {
                    notes.push(format!(
                        "the policy \"{}\" of {} is not copied to {}, which stays closed to {} where the policy opens \
                         it: {obstacle}",
                        policy.name,
                        plain(&self.names.landing_table(kind)),
                        plain(&self.names.traffic_table(kind)),
                        roles.join(", ")
                    ));
                    if !policy.is_permissive {
                        closed.extend(open.iter().copied().filter(|role| roles.contains(role)));
                    }
                }
            }
        }
        draft.notes.extend(notes);
        wanted
    }

    /// Whether the policy acts for the role on Landing, and no policy of Traffic's own says the same.
    fn is_due(&self, policy: &Policy, role: &str, position: usize, traffic: &TableFacts) -> bool {
        let landing = self.landing.table(position);
        let is_granted = |command: Command| landing.is_some_and(|table| table.grant(role, command).is_some());
        let acts =
            Command::ALL.into_iter().any(|command| policy.applies(role, command) && is_granted(command));
        let bypasses = self.traffic.role(role).is_none_or(|role| role.bypasses);
        let is_there = traffic.policies.iter().any(|own| {
            !own.name.starts_with(COPIED)
                && own.says_the_same(policy)
                && own.roles.iter().any(|name| name == role)
        });
        acts && !bypasses && !is_there
    }

    /// The reason why the policy cannot say on Traffic what the policy says on Landing.
    fn obstacle(&self, policy: &Policy, kind: Table, traffic: &TableFacts) -> Option<String> {
        if let Some(other) = policy.others.first() {
            return Some(format!("it refers to {other}"));
        }
        let unknown = |function: &&String| !self.traffic.known_functions.contains(function);
        if let Some(function) = policy.functions.iter().find(unknown) {
            return Some(format!(
                "it calls {function}, which Traffic does not have, or not for the API's roles"
            ));
        }
        let differs = |column: &&String| !traffic.columns.contains(column) || !is_same_column(kind, column);
        let column = policy.columns.iter().find(differs)?;
        Some(format!("it reads {column}, which Traffic does not have with the same values"))
    }
}

/// Replaces copies that differ from the wanted copies, and adds those that are missing.
fn renewing(table: &TableFacts, wanted: &[Policy]) -> Vec<Action> {
    let roles = |policy: &Policy| policy.roles.iter().cloned().collect::<BTreeSet<String>>();
    let equal = |one: &Policy, other: &Policy| {
        one.name == other.name && one.says_the_same(other) && roles(one) == roles(other)
    };
    let is_copy = |policy: &&Policy| policy.name.starts_with(COPIED) && policy.name != KEEP;
    let copies: Vec<&Policy> = table.policies.iter().filter(is_copy).collect();
    let position = table.position;
    let stale = copies.iter().filter(|copy| !wanted.iter().any(|policy| equal(copy, policy)));
    let drop = |copy: &&Policy| Action::DropPolicy { table: position, name: copy.name.clone() };
    let missing = wanted.iter().filter(|policy| !copies.iter().any(|copy| equal(copy, policy)));
    let create = |policy: &Policy| {
        let (policy, to) = (policy.clone(), policy.roles.clone());
        Action::CreatePolicy { table: position, policy, to }
    };
    stale.map(drop).chain(missing.map(create)).collect()
}
