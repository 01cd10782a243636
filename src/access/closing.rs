//! The statements that close one excess, for an operator to run; pure.

use super::actions::{Action, Draft};
use super::facts::{Command, Facts, Grant, Policy, SERVICE};
use super::judge::{Found, Place};
use super::{Comparison, KEEP};

impl Comparison<'_> {
    pub(super) fn closing(&self, found: &Found) -> Vec<String> {
        let role = &found.role;
        let actions = match &found.place {
            Place::Table(position, commands) => self.closing_of_table(*position, role, commands),
            Place::View(name, grants) => {
                let revoke = |role| Action::RevokeView { name: name.clone(), role };
                grantees(grants).into_iter().map(revoke).collect()
            }
            Place::OwnSchema => self.closing_of_schema(role),
            Place::Functions(functions) => closing_of_functions(role, functions),
        };
        self.statements(&actions)
    }

    pub(super) fn statements(&self, actions: &[Action]) -> Vec<String> {
        let tables: Vec<String> = self.tables.iter().map(|table| self.names.traffic_table(*table)).collect();
        actions.iter().map(|action| action.sql(&tables)).collect()
    }

    /// The schema is leadbridge's own, so nothing of the school's depends on a right there.
    pub(super) fn closing_of_schema(&self, role: &str) -> Vec<Action> {
        let revoke =
            |role: &str| Action::RevokeSchema { name: self.names.schema.clone(), role: role.to_owned() };
        vec![revoke("PUBLIC"), revoke(role)]
    }

    /// First what Landing does as well: row-level security, and no grant. Then the policies of Traffic that
    /// Landing does not have, and at last the grants that Landing has too.
    fn closing_of_table(&self, position: usize, role: &str, commands: &[Command]) -> Vec<Action> {
        let mut draft = Draft::of(&self.traffic);
        let landing = self.landing.table(position);
        if landing.is_some_and(|table| table.row_security) {
            draft.add(self.enabling(&self.traffic, position));
        }
        let hidden: Vec<Command> =
            commands.iter().copied().filter(|command| self.is_ungranted(position, role, *command)).collect();
        draft.add(revoking(&draft.after, position, role, &hidden));
        for command in self.still_beyond(&draft.after, position, role) {
            draft.add(self.dropping(&draft.after, position, (role, command)));
        }
        for command in self.still_beyond(&draft.after, position, role) {
            let grant = draft.after.table(position).and_then(|table| table.grant(role, command));
            let revoke = |role| Action::Revoke { table: position, role, commands: vec![command] };
            draft.add(grantees(grant).into_iter().map(revoke).collect());
        }
        draft.actions
    }

    /// Whether Landing has given the role no such privilege for the whole table.
    pub(super) fn is_ungranted(&self, position: usize, role: &str, command: Command) -> bool {
        let grant = self.landing.table(position).and_then(|table| table.grant(role, command));
        grant.is_none_or(|grant| grant.columns.is_some())
    }

    pub(super) fn still_beyond(&self, facts: &Facts, position: usize, role: &str) -> Vec<Command> {
        let (Some(table), Some(role)) = (facts.table(position), facts.role(role)) else { return Vec::new() };
        Command::ALL.into_iter().filter(|command| !self.is_within(table, role, *command)).collect()
    }

    /// Switches row-level security on. Roles that row-level security would cut off, though nothing is wrong
    /// with their rights, keep the rights by a policy.
    pub(super) fn enabling(&self, facts: &Facts, position: usize) -> Vec<Action> {
        let Some(table) = facts.table(position).filter(|table| !table.row_security) else {
            return Vec::new();
        };
        let object = self.tables.get(position).map_or("", |table| table.traffic_name());
        let keeps = |role: &&super::facts::RoleFacts| {
            let name = &role.name;
            let is_meant = name == SERVICE || self.accepts(name, object);
            is_meant && !role.bypasses && table.grants.iter().any(|grant| grant.role == *name)
        };
        let roles: Vec<String> = facts.roles.iter().filter(keeps).map(|role| role.name.clone()).collect();
        let to: Vec<String> = table.others.iter().chain(&roles).cloned().collect();
        let mut actions = Vec::new();
        if !to.is_empty() {
            if table.policies.iter().any(|policy| policy.name == KEEP) {
                actions.push(Action::DropPolicy { table: position, name: KEEP.to_owned() });
            }
            actions.push(Action::CreatePolicy { table: position, policy: keeping(roles), to });
        }
        actions.push(Action::EnableRowSecurity(position));
        actions
    }

    /// Drops the permissive policies that Landing does not have for the role.
    fn dropping(&self, facts: &Facts, position: usize, (role, command): (&str, Command)) -> Vec<Action> {
        let landing = self.landing.table(position).map_or(&[][..], |table| &table.policies);
        let is_known = |policy: &Policy| {
            landing.iter().any(|known| known.applies(role, command) && known.says_the_same(policy))
        };
        let policies = facts.table(position).into_iter().flat_map(|table| &table.policies);
        policies
            .filter(|policy| policy.is_permissive && policy.applies(role, command) && !is_known(policy))
            .map(|policy| Action::DropPolicy { table: position, name: policy.name.clone() })
            .collect()
    }
}

/// Takes from the role what the role itself has been given.
pub(super) fn revoking(facts: &Facts, position: usize, role: &str, commands: &[Command]) -> Vec<Action> {
    let Some(table) = facts.table(position) else { return Vec::new() };
    let is_direct = |command: &Command| table.grant(role, *command).is_some_and(Grant::is_direct);
    let commands: Vec<Command> = commands.iter().copied().filter(is_direct).collect();
    if commands.is_empty() {
        return Vec::new();
    }
    vec![Action::Revoke { table: position, role: role.to_owned(), commands }]
}

/// The functions are leadbridge's own, so nothing of the school's depends on a right there.
pub(super) fn closing_of_functions(role: &str, functions: &[String]) -> Vec<Action> {
    let of_function = |function: &String| {
        ["PUBLIC", role].map(|role| Action::RevokeFunction { name: function.clone(), role: role.to_owned() })
    };
    functions.iter().flat_map(of_function).collect()
}

/// Everybody whose grant gives a role one of the privileges.
fn grantees<'g>(grants: impl IntoIterator<Item = &'g Grant>) -> Vec<String> {
    let mut names: Vec<String> = grants.into_iter().flat_map(|grant| grant.through.clone()).collect();
    names.sort();
    names.dedup();
    names
}

fn keeping(roles: Vec<String>) -> Policy {
    let always = Some("true".to_owned());
    Policy {
        name: KEEP.to_owned(),
        is_permissive: true,
        command: "*".to_owned(),
        roles,
        using: always.clone(),
        check: always,
        columns: Vec::new(),
        functions: Vec::new(),
        others: Vec::new(),
    }
}
