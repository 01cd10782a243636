//! Who may see what: no role of the API may read or write on Traffic what Landing hides from the role.
//!
//! | right of a role | how far it is known | compared by |
//! |---|---|---|
//! | a table: SELECT, INSERT, UPDATE, DELETE | grants of tables and columns, through PUBLIC and memberships too; USAGE on the schema; row-level security; policies | columns; no rows, all rows, or the texts of the policies |
//! | a view with its owner's rights, a materialized view | the replicated tables below the view | all rows of each such table on Landing |
//! | leadbridge's schema | USAGE on the schema, and a grant | all rows of every replicated table on Landing |
//! | a SECURITY DEFINER function | only leadbridge's own | nothing |
//!
//! In leadbridge's schema, on either side, every right of every grantee counts, and none but the owners and the roles
//! that leadbridge serves may have one (`foreign_rights`).
//!
//! A right on Traffic that is not known to be within the role's right on Landing is an excess. The judgement is
//! pure; the facts are read with one query for each side.

mod actions;
mod closing;
mod facts;
mod judge;
mod legacy;
mod own;
mod plan;
mod rights;

use tokio_postgres::Client;

use crate::error::{Error, Result};
use crate::language::message;
use crate::model::change::Table;
use crate::model::names::Names;
use crate::postgres::{Database, Databases};
pub use facts::API_ROLES;
use facts::Facts;
pub use judge::{Excess, Standing};
pub use legacy::{LegacyReader, LegacyRight, LegacyRights, LegacyTable, RightOn};
pub use own::{ForeignRight, foreign_rights, foreign_rights_on_both, foreign_rights_sql};
pub use plan::Plan;

/// Beginning of the name of a copied policy.
const COPIED: &str = "leadbridge_";

/// Name of the policy that keeps other roles' rights when row-level security is switched on.
const KEEP: &str = "leadbridge_keep";

/// The compared tables, and the rights that are meant.
#[derive(Clone, Copy, Debug)]
pub struct AccessScope<'s> {
    pub names: &'s Names,
    pub tables: &'s [Table],
    /// What the operator has accepted: `role:object`.
    pub accept: &'s [String],
}

/// The rights on both sides.
#[derive(Clone, Debug)]
pub struct Comparison<'c> {
    names: &'c Names,
    tables: &'c [Table],
    accept: &'c [String],
    landing: Facts,
    traffic: Facts,
    /// Views of Traffic that the operator has let run with their owner's rights, as on Landing.
    public_views: Vec<String>,
}

impl<'c> Comparison<'c> {
    /// Reads the rights on both sides.
    ///
    /// # Errors
    /// A connection broke.
    pub async fn read(landing: &Client, traffic: &Client, scope: AccessScope<'c>) -> Result<Comparison<'c>> {
        let AccessScope { names, tables, .. } = scope;
        let landing = Facts::read(Database::landing(landing, names), tables, &[]).await?;
        Self::against(landing, traffic, scope).await
    }

    /// Reads the rights on Traffic, beside those that are known of Landing.
    async fn against(landing: Facts, traffic: &Client, scope: AccessScope<'c>) -> Result<Comparison<'c>> {
        let AccessScope { names, tables, accept } = scope;
        let traffic = Database::traffic(traffic, names);
        let public_views = legacy::public_views(traffic).await?;
        let traffic = Facts::read(traffic, tables, &landing.functions_in_policies()).await?;
        Ok(Comparison { names, tables, accept, landing, traffic, public_views })
    }

    /// The comparison after the statements of `plan`.
    pub fn after(&self, plan: &Plan) -> Self {
        Comparison { traffic: plan.after.clone(), ..self.clone() }
    }

    /// The API's roles on Traffic, for messages.
    pub fn roles(&self) -> Vec<&str> {
        self.traffic.roles.iter().map(|role| role.name.as_str()).collect()
    }
}

/// Refuses to begin a copy while Traffic would show a role what Landing hides from the role, or while somebody else
/// has a right in leadbridge's own schema, which holds quarantined rows.
///
/// # Errors
/// Refused, with the first excess that the operator has not accepted.
pub async fn admit(databases: Databases<'_>, tables: &[Table], accept: &[String]) -> Result<()> {
    own::refuse(&foreign_rights_on_both(databases).await?)?;
    let Databases { landing, traffic, names } = databases;
    refuse(&Comparison::read(landing, traffic, AccessScope { names, tables, accept }).await?)
}

/// The rights on Landing as a document, for [`admit_exported`].
///
/// # Errors
/// The connection broke.
pub async fn document(landing: Database<'_>, tables: &[Table]) -> Result<serde_json::Value> {
    Facts::document(landing, tables, &[]).await
}

/// As [`admit`], with the rights on Landing as they were when `document` was made. The first tables of the document
/// are the tables of `scope`, in the same order.
///
/// # Errors
/// As [`admit`]; refused when the document is not understood.
pub async fn admit_exported(
    document: &serde_json::Value,
    traffic: &Client,
    scope: AccessScope<'_>,
) -> Result<()> {
    own::refuse(&foreign_rights(Database::traffic(traffic, scope.names)).await?)?;
    let landing: Facts = serde_json::from_value(document.clone()).map_err(|error| {
        Error::refused("the manifest does not say who may see what on Landing")
            .remedy(message!("error-remedy-export-with-this-version"))
            .source_error(error)
    })?;
    refuse(&Comparison::against(landing, traffic, scope).await?)
}

fn refuse(comparison: &Comparison<'_>) -> Result<()> {
    let found = comparison.judge();
    let mut refused = found.iter().filter(|excess| excess.standing == Standing::Refused);
    let Some(first) = refused.next() else { return Ok(()) };
    let more = match refused.count() {
        0 => String::new(),
        count => format!(" (and {count} more: see `leadbridge doctor`)"),
    };
    Err(Error::refused(format!("{}: {}{more}", first.side, first.what)).remedy(first.remedy()))
}

#[cfg(test)]
mod tests;
