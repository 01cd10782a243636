//! The facts that the comparison judges: who may read and write the replicated tables of one side, read with
//! one query.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::model::change::Table;
use crate::model::side::Side;
use crate::postgres::Database;

/// Returns one row with one column, a JSON document. Parameters: the tables' names, the API's roles,
/// leadbridge's schema, and functions to look for.
const QUERY: &str = include_str!("../../sql/access.sql");

/// The roles of the platform's HTTP API. `anon` acts for everybody who holds the public key, `authenticated`
/// for a signed-in user, `service_role` for the school's own servers.
pub const API_ROLES: [&str; 3] = ["anon", SIGNED_IN, SERVICE];

pub const SIGNED_IN: &str = "authenticated";

/// The role of the school's own servers, which bypasses row-level security on the platform.
pub const SERVICE: &str = "service_role";

/// A kind of access to the rows of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Command {
    Select,
    Insert,
    Update,
    Delete,
}

impl Command {
    pub const ALL: [Command; 4] = [Command::Select, Command::Insert, Command::Update, Command::Delete];

    pub fn sql(self) -> &'static str {
        match self {
            Command::Select => "SELECT",
            Command::Insert => "INSERT",
            Command::Update => "UPDATE",
            Command::Delete => "DELETE",
        }
    }

    /// The command in `pg_policy.polcmd`.
    pub fn code(self) -> &'static str {
        match self {
            Command::Select => "r",
            Command::Insert => "a",
            Command::Update => "w",
            Command::Delete => "d",
        }
    }
}

/// The part of one side's catalog that the comparison judges.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Facts {
    /// The API's roles that exist.
    pub roles: Vec<RoleFacts>,
    /// The requested tables that exist.
    pub tables: Vec<TableFacts>,
    /// Views that show rows of a requested table, or of leadbridge's schema, past row-level security, and
    /// that a role may use.
    pub views: Vec<ViewFacts>,
    /// Tables of leadbridge's schema that a role may use.
    pub own: Vec<ObjectFacts>,
    /// leadbridge's functions that run with their owner's rights, and that a role may execute.
    pub functions: Vec<FunctionFacts>,
    /// Those of the requested functions that exist, and that the API's roles may execute.
    pub known_functions: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct RoleFacts {
    pub name: String,
    /// A superuser, or BYPASSRLS.
    pub bypasses: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct TableFacts {
    /// Index in the list of requested tables.
    pub position: usize,
    pub columns: Vec<String>,
    pub row_security: bool,
    /// The API's roles that own the table, so that row-level security does not hold for the roles.
    pub owners: Vec<String>,
    pub grants: Vec<Grant>,
    /// Roles beside the API's with a privilege, for whom row-level security would hold.
    pub others: Vec<String>,
    pub policies: Vec<Policy>,
}

/// A privilege of a role, in a schema on which the role has USAGE.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Grant {
    pub role: String,
    pub command: Command,
    /// The columns, where the privilege is not for the whole table.
    pub columns: Option<Vec<String>>,
    /// The grantees of the privilege: the role, `PUBLIC`, or roles that the role is a member of.
    pub through: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Policy {
    pub name: String,
    pub is_permissive: bool,
    /// `pg_policy.polcmd`; `*` for every command.
    pub command: String,
    /// The API's roles to which the policy applies.
    pub roles: Vec<String>,
    pub using: Option<String>,
    pub check: Option<String>,
    /// The table's columns in the expressions.
    pub columns: Vec<String>,
    /// User-defined functions in the expressions, with their types.
    pub functions: Vec<String>,
    /// Other objects in the expressions, as PostgreSQL describes the objects.
    pub others: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct ViewFacts {
    #[serde(flatten)]
    pub object: ObjectFacts,
    /// A materialized view.
    pub is_stored: bool,
    /// Indexes in the list of requested tables.
    pub tables: Vec<usize>,
    /// Whether the view reads tables of leadbridge's schema.
    pub reads_own: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub struct ObjectFacts {
    /// Quoted where necessary, and with the schema.
    pub name: String,
    pub schema: String,
    pub relation: String,
    pub grants: Vec<Grant>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct FunctionFacts {
    /// With schema and types.
    pub name: String,
    /// The function is in leadbridge's schema.
    pub is_own: bool,
    /// The API's roles that may execute the function.
    pub roles: Vec<String>,
}

fn unreadable(error: serde_json::Error) -> Error {
    Error::internal("the tables' privileges cannot be read").source_error(error)
}

impl Facts {
    /// Reads the facts of one side. `functions` are names with types, as in [`Policy::functions`].
    ///
    /// # Errors
    /// The connection broke.
    pub async fn read(database: Database<'_>, tables: &[Table], functions: &[String]) -> Result<Facts> {
        let document = Facts::document(database, tables, functions).await?;
        serde_json::from_value(document).map_err(unreadable)
    }

    /// The facts of one side as JSON, for [`Facts`] to be read from later.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn document(
        database: Database<'_>,
        tables: &[Table],
        functions: &[String],
    ) -> Result<serde_json::Value> {
        let names: Vec<String> = tables.iter().map(|table| database.table(*table)).collect();
        let own = match database.side {
            // The fence's tables on Landing hold no rows of people.
            Side::Landing => None,
            Side::Traffic => Some(database.names.schema.as_str()),
        };
        let step = database.during(format!("reading who may see what on the {}", database.side));
        let row = step.row(QUERY, &[&names, &&API_ROLES[..], &own, &functions]).await?;
        serde_json::from_str(row.get(0)).map_err(unreadable)
    }

    pub fn role(&self, name: &str) -> Option<&RoleFacts> {
        self.roles.iter().find(|role| role.name == name)
    }

    /// Facts of the table at `position` in the list of requested tables.
    pub fn table(&self, position: usize) -> Option<&TableFacts> {
        self.tables.iter().find(|table| table.position == position)
    }

    pub fn table_mut(&mut self, position: usize) -> Option<&mut TableFacts> {
        self.tables.iter_mut().find(|table| table.position == position)
    }

    /// The functions in policies of the tables.
    pub fn functions_in_policies(&self) -> Vec<String> {
        let policies = self.tables.iter().flat_map(|table| &table.policies);
        let names: BTreeSet<&String> = policies.flat_map(|policy| &policy.functions).collect();
        names.into_iter().cloned().collect()
    }
}

impl TableFacts {
    pub fn grant(&self, role: &str, command: Command) -> Option<&Grant> {
        self.grants.iter().find(|grant| grant.role == role && grant.command == command)
    }
}

impl Grant {
    /// A privilege for the whole table that the role itself has been given.
    pub fn of(role: &str, command: Command) -> Grant {
        Grant { role: role.to_owned(), command, columns: None, through: vec![role.to_owned()] }
    }

    pub fn is_direct(&self) -> bool {
        self.through.contains(&self.role)
    }
}

impl Policy {
    pub fn applies(&self, role: &str, command: Command) -> bool {
        (self.command == "*" || self.command == command.code()) && self.roles.iter().any(|name| name == role)
    }

    /// Whether the other policy says the same, under whatever name and to whatever roles.
    pub fn says_the_same(&self, other: &Policy) -> bool {
        let content = |policy: &Policy| {
            (policy.is_permissive, policy.command.clone(), policy.using.clone(), policy.check.clone())
        };
        content(self) == content(other)
    }
}
