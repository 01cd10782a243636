//! The statements that close what a comparison has found, and their effect on the facts; pure.

use postgres_protocol::escape::escape_identifier;

use super::COPIED;
use super::facts::{Command, Facts, Grant, Policy};

/// A statement on Traffic. Tables are indexes in the list of compared tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    EnableRowSecurity(usize),
    /// `to` are the roles in the statement, of which the policy's `roles` are the API's.
    CreatePolicy {
        table: usize,
        policy: Policy,
        to: Vec<String>,
    },
    DropPolicy {
        table: usize,
        name: String,
    },
    Grant {
        table: usize,
        role: String,
        commands: Vec<Command>,
    },
    Revoke {
        table: usize,
        role: String,
        commands: Vec<Command>,
    },
    /// A view, by its quoted name.
    RevokeView {
        name: String,
        role: String,
    },
    /// All rights of the role in leadbridge's schema.
    RevokeSchema {
        name: String,
        role: String,
    },
    RevokeFunction {
        name: String,
        role: String,
    },
}

impl Action {
    /// The statement, without a semicolon. `tables` are the quoted names of the compared tables.
    pub fn sql(&self, tables: &[String]) -> String {
        let table = |position: &usize| tables.get(*position).map_or("", String::as_str);
        let list = |commands: &[Command]| {
            commands.iter().map(|command| command.sql()).collect::<Vec<_>>().join(", ")
        };
        match self {
            Action::EnableRowSecurity(position) => {
                format!("ALTER TABLE {} ENABLE ROW LEVEL SECURITY", table(position))
            }
            Action::CreatePolicy { table: position, policy, to } => create(policy, table(position), to),
            Action::DropPolicy { table: position, name } => {
                format!("DROP POLICY {} ON {}", escape_identifier(name), table(position))
            }
            Action::Grant { table: position, role, commands } => {
                format!("GRANT {} ON {} TO {}", list(commands), table(position), grantee(role))
            }
            Action::Revoke { table: position, role, commands } => {
                format!("REVOKE {} ON {} FROM {}", list(commands), table(position), grantee(role))
            }
            Action::RevokeView { name, role } => format!("REVOKE ALL ON {name} FROM {}", grantee(role)),
            Action::RevokeSchema { name, role } => {
                format!("REVOKE ALL ON SCHEMA {} FROM {}", escape_identifier(name), grantee(role))
            }
            Action::RevokeFunction { name, role } => {
                format!("REVOKE EXECUTE ON FUNCTION {name} FROM {}", grantee(role))
            }
        }
    }

    /// Changes the facts as the statement changes the catalog.
    pub fn apply(&self, facts: &mut Facts) {
        match self {
            Action::EnableRowSecurity(position) => {
                if let Some(table) = facts.table_mut(*position) {
                    table.row_security = true;
                }
            }
            Action::CreatePolicy { table: position, policy, .. } => {
                if let Some(table) = facts.table_mut(*position) {
                    table.policies.push(policy.clone());
                }
            }
            Action::DropPolicy { table: position, name } => {
                if let Some(table) = facts.table_mut(*position) {
                    table.policies.retain(|policy| policy.name != *name);
                }
            }
            Action::Grant { table: position, role, commands } => {
                if let Some(table) = facts.table_mut(*position) {
                    table.grants.retain(|grant| grant.role != *role || !commands.contains(&grant.command));
                    table.grants.extend(commands.iter().map(|command| Grant::of(role, *command)));
                }
            }
            Action::Revoke { table: position, role, commands } => {
                if let Some(table) = facts.table_mut(*position) {
                    withdraw(&mut table.grants, role, commands);
                }
            }
            Action::RevokeView { name, role } => {
                for view in facts.views.iter_mut().filter(|view| view.object.name == *name) {
                    withdraw(&mut view.object.grants, role, &Command::ALL);
                }
            }
            Action::RevokeSchema { role, .. } => {
                // Without USAGE on the schema no privilege on its tables counts.
                for object in &mut facts.own {
                    object.grants.retain(|grant| grant.role != *role);
                }
            }
            Action::RevokeFunction { name, role } => {
                for function in facts.functions.iter_mut().filter(|function| function.name == *name) {
                    function.roles.retain(|caller| caller != role);
                }
            }
        }
    }
}

/// Actions, and the facts after the actions.
pub(super) struct Draft {
    pub actions: Vec<Action>,
    pub notes: Vec<String>,
    pub after: Facts,
}

impl Draft {
    pub fn of(facts: &Facts) -> Draft {
        Draft { actions: Vec::new(), notes: Vec::new(), after: facts.clone() }
    }

    pub fn add(&mut self, actions: Vec<Action>) {
        actions.iter().for_each(|action| action.apply(&mut self.after));
        self.actions.extend(actions);
    }
}

/// Takes the privileges from `grantee`. A role keeps a privilege that another grantee passes on.
fn withdraw(grants: &mut Vec<Grant>, grantee: &str, commands: &[Command]) {
    let passes_on = |grant: &Grant| grant.through.iter().any(|through| through == grantee);
    grants.retain_mut(|grant| {
        if !commands.contains(&grant.command) || !passes_on(grant) {
            return true;
        }
        grant.through.retain(|through| through != grantee);
        !grant.through.is_empty()
    });
}

fn create(policy: &Policy, table: &str, to: &[String]) -> String {
    let kind = if policy.is_permissive { "PERMISSIVE" } else { "RESTRICTIVE" };
    let command = Command::ALL.into_iter().find(|command| command.code() == policy.command);
    let to: Vec<String> = to.iter().map(|role| grantee(role)).collect();
    let mut sql = format!(
        "CREATE POLICY {} ON {table} AS {kind} FOR {} TO {}",
        escape_identifier(&policy.name),
        command.map_or("ALL", Command::sql),
        to.join(", ")
    );
    if let Some(using) = &policy.using {
        sql.push_str(&format!(" USING ({using})"));
    }
    if let Some(check) = &policy.check {
        sql.push_str(&format!(" WITH CHECK ({check})"));
    }
    sql
}

fn grantee(role: &str) -> String {
    match role {
        "PUBLIC" => "PUBLIC".to_owned(),
        role => escape_identifier(role),
    }
}

/// Name of the copy of one of Landing's policies, within PostgreSQL's 63 bytes.
pub fn copied_name(name: &str) -> String {
    let mut copied = format!("{COPIED}{name}");
    while copied.len() > crate::model::names::LONGEST {
        copied.pop();
    }
    copied
}
