//! What a role may do to the rows of a table, and whether a right on Traffic is within a right on Landing;
//! pure.

use std::collections::BTreeSet;

use super::facts::{Command, Policy, RoleFacts, TableFacts};
use crate::mapping;
use crate::model::change::Table;

/// What a role may do to a table with one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Right {
    /// `None`: all columns.
    columns: Option<BTreeSet<String>>,
    rows: Rows,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rows {
    All,
    /// The rows that satisfy one of the permissive conditions and all restrictive ones.
    Under {
        permissive: BTreeSet<Condition>,
        restrictive: BTreeSet<Condition>,
        names: Vec<String>,
    },
}

/// A policy's expressions for one command, and the table's columns in the expressions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Condition {
    using: Option<String>,
    check: Option<String>,
    columns: Vec<String>,
}

impl Condition {
    fn of(policy: &Policy, command: Command) -> Condition {
        // A policy without WITH CHECK checks new rows with USING.
        let check = policy.check.clone().or_else(|| policy.using.clone());
        let (using, check) = match command {
            Command::Select | Command::Delete => (policy.using.clone(), None),
            Command::Insert => (None, check),
            Command::Update => (policy.using.clone(), check),
        };
        Condition { using, check, columns: policy.columns.clone() }
    }

    fn expressions(&self) -> impl Iterator<Item = &str> {
        self.using.iter().chain(&self.check).map(String::as_str)
    }

    fn is_never_true(&self) -> bool {
        self.expressions().any(|expression| expression == "false")
    }

    fn is_always_true(&self) -> bool {
        self.expressions().all(|expression| expression == "true")
    }
}

/// What `role` may do to the table; `None` for nothing.
pub fn right(table: &TableFacts, role: &RoleFacts, command: Command) -> Option<Right> {
    let grant = table.grant(&role.name, command)?;
    let columns = grant.columns.as_ref().map(|columns| columns.iter().cloned().collect());
    if role.bypasses || !table.row_security || table.owners.contains(&role.name) {
        return Some(Right { columns, rows: Rows::All });
    }
    let applying = table.policies.iter().filter(|policy| policy.applies(&role.name, command));
    let (permissive, restrictive): (Vec<&Policy>, Vec<&Policy>) =
        applying.partition(|policy| policy.is_permissive);
    let names = permissive.iter().map(|policy| policy.name.clone()).collect();
    let condition = |policy: &Policy| Condition::of(policy, command);
    let permissive: BTreeSet<Condition> =
        permissive.into_iter().map(condition).filter(|condition| !condition.is_never_true()).collect();
    let restrictive: BTreeSet<Condition> =
        restrictive.into_iter().map(condition).filter(|condition| !condition.is_always_true()).collect();
    if permissive.is_empty() || restrictive.iter().any(Condition::is_never_true) {
        return None;
    }
    let rows = match permissive.iter().any(Condition::is_always_true) && restrictive.is_empty() {
        true => Rows::All,
        false => Rows::Under { permissive, restrictive, names },
    };
    Some(Right { columns, rows })
}

impl Right {
    /// Whether the right is for all rows and all columns.
    pub fn is_whole(&self) -> bool {
        self.columns.is_none() && self.rows == Rows::All
    }

    /// Whether this right on Traffic gives no more than `landing`. Rights that cannot be compared are not
    /// within one another: conditions are compared by their text, which means the same on both sides only for
    /// columns with the same values.
    pub fn is_within(&self, landing: &Right, table: Table) -> bool {
        let columns = match (&self.columns, &landing.columns) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(traffic), Some(landing)) => {
                traffic.iter().all(|name| landing.iter().any(|own| is_held_in(table, own, name)))
            }
        };
        let rows = match (&self.rows, &landing.rows) {
            (_, Rows::All) => true,
            (Rows::All, Rows::Under { .. }) => false,
            (
                Rows::Under { permissive, restrictive, .. },
                Rows::Under { permissive: allowed, restrictive: required, .. },
            ) => {
                let same =
                    |condition: &Condition| condition.columns.iter().all(|name| is_same_column(table, name));
                permissive.is_subset(allowed)
                    && permissive.iter().all(same)
                    && required.is_subset(restrictive)
                    && required.iter().all(same)
            }
        };
        columns && rows
    }

    /// The right for people: `SELECT (all rows)`.
    pub fn describe(&self, command: Command) -> String {
        let rows = match &self.rows {
            Rows::All if command == Command::Insert => "any row".to_owned(),
            Rows::All => "all rows".to_owned(),
            Rows::Under { names, .. } => format!("by policy {}", names.join(", ")),
        };
        format!("{} ({rows})", command.sql())
    }
}

/// Whether the column `traffic` of Traffic's table holds Landing's column, in Landing's own spelling.
fn is_held_in(table: Table, landing: &str, traffic: &str) -> bool {
    match mapping::spelled_on_traffic(table, landing) {
        Some(spelled) => spelled == traffic,
        // A passthrough column, unless the configuration renames it.
        None => {
            let is_rules = mapping::known_targets(table).iter().any(|target| target.name == traffic);
            !is_rules && (traffic == landing || traffic.strip_prefix("landing_") == Some(landing))
        }
    }
}

/// Whether the column of Traffic's table holds the value of Landing's column with the same name.
pub fn is_same_column(table: Table, name: &str) -> bool {
    let target = mapping::known_targets(table).iter().find(|target| target.name == name);
    let source = target.and_then(mapping::Target::verbatim_of).and_then(|at| table.columns().get(at));
    name == "id" || source.is_some_and(|column| column.name == name)
}
