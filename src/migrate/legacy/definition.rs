//! Landing's own view of leads with their journeys, and whether its definition fits Traffic.

use postgres_protocol::escape::escape_identifier;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::views;
use crate::access::API_ROLES;
use crate::error::{Error, Result};
use crate::landing::legacy_names::{LEADS_WITH_JOURNEY, LegacyName};
use crate::model::change::Table;
use crate::model::names::Names;
use crate::model::side::Side;
use crate::postgres::{Database, Databases};

/// Landing's view.
pub(super) struct LandingView {
    /// The query over Landing's names without a schema, or why Traffic cannot have it.
    pub query: std::result::Result<String, String>,
    pub is_invoker: bool,
    /// The API's roles that may read the view and exist on Traffic.
    pub readers: Vec<String>,
}

impl LandingView {
    /// Reads the view, and tries its query on Traffic over rows of nulls. `None` where Landing has no such view.
    pub async fn read(databases: Databases<'_>, shown: &[LegacyName]) -> Result<Option<LandingView>> {
        let landing = databases.on(Side::Landing);
        let names = databases.names;
        let tables: Vec<String> = shown.iter().map(|name| names.landing_table(name.table)).collect();
        // The search path decides which names the text qualifies. CASE sets the path before the text is made.
        let sql = "SELECT CASE WHEN pg_catalog.set_config('search_path', pg_catalog.quote_ident($1), true) IS NOT NULL \
                       THEN pg_catalog.pg_get_viewdef(c.oid) END, \
                     EXISTS (SELECT FROM pg_catalog.pg_options_to_table(c.reloptions) AS o \
                         WHERE o.option_name = 'security_invoker' AND o.option_value::boolean), \
                     ARRAY(SELECT r.rolname::text FROM pg_catalog.pg_roles AS r WHERE r.rolname = ANY ($3) \
                         AND pg_catalog.has_table_privilege(r.oid, c.oid, 'SELECT') ORDER BY 1), \
                     ARRAY(SELECT DISTINCT pg_catalog.pg_describe_object(d.refclassid, d.refobjid, 0) \
                         FROM pg_catalog.pg_rewrite AS w JOIN pg_catalog.pg_depend AS d \
                             ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = w.oid \
                         LEFT JOIN pg_catalog.pg_constraint AS k ON k.oid = d.refobjid \
                             AND d.refclassid = 'pg_catalog.pg_constraint'::pg_catalog.regclass \
                         WHERE w.ev_class = c.oid \
                             AND NOT EXISTS (SELECT FROM unnest($4::text[]) AS t WHERE pg_catalog.to_regclass(t)::oid = k.conrelid) \
                             AND (d.refclassid, d.refobjid) NOT IN ( \
                             SELECT 'pg_catalog.pg_class'::pg_catalog.regclass::oid, o.oid FROM ( \
                                 SELECT c.oid UNION SELECT pg_catalog.to_regclass(t)::oid FROM unnest($4::text[]) AS t \
                             ) AS o WHERE o.oid IS NOT NULL) ORDER BY 1) \
                   FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
                   WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('v', 'm')";
        let step = landing.during(format!("reading {LEADS_WITH_JOURNEY} on Landing"));
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
            [&names.landing_schema, &LEADS_WITH_JOURNEY, &&API_ROLES[..], &tables];
        let Some(row) = step.row_if_any(sql, &parameters).await? else { return Ok(None) };
        let (query, foreign): (String, Vec<String>) = (row.get(0), row.get(3));
        let query = match foreign.first() {
            Some(object) => Err(format!("it refers to {object}")),
            None => fit(databases.traffic, (names, shown), &query).await?,
        };
        let readers = on_traffic(databases.on(Side::Traffic), row.get(2)).await?;
        Ok(Some(LandingView { query, is_invoker: row.get(1), readers }))
    }

    /// What an operator must know of the view.
    pub fn note(&self, has_owner_rights: bool) -> Option<String> {
        if let Err(why) = &self.query {
            return Some(format!("Landing's view {LEADS_WITH_JOURNEY} is not made: {why}"));
        }
        let exposed: Vec<&str> =
            self.readers.iter().map(String::as_str).filter(|role| *role != "service_role").collect();
        if self.is_invoker || exposed.is_empty() {
            return None;
        }
        let exposed = exposed.join(" and ");
        Some(match has_owner_rights {
            true => format!(
                "{LEADS_WITH_JOURNEY} shows {exposed} every lead of Landing's with its phone and e-mail, as on Landing, because \
                 of --public-view"
            ),
            false => format!(
                "Landing's view {LEADS_WITH_JOURNEY} runs with its owner's rights and shows {exposed} every lead; Traffic's runs \
                 with the rights of whoever asks, and hides from them what the tables hide. Only if this is meant: \
                 `leadbridge migrate --legacy --public-view {LEADS_WITH_JOURNEY}`"
            ),
        })
    }
}

async fn on_traffic(traffic: Database<'_>, roles: Vec<String>) -> Result<Vec<String>> {
    let sql = "SELECT r.rolname::text FROM pg_catalog.pg_roles AS r WHERE r.rolname = ANY ($1) ORDER BY 1";
    let rows = traffic.during("reading the API's roles on Traffic").rows(sql, &[&roles]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The query in the form that Traffic takes, or why Traffic does not take it.
async fn fit(
    traffic: &Client,
    (names, shown): (&Names, &[LegacyName]),
    query: &str,
) -> Result<std::result::Result<String, String>> {
    let refused = match attempt(traffic, &views::over_nulls(names, shown, query)).await? {
        None => return Ok(Ok(query.to_owned())),
        Some(refused) => refused,
    };
    // A table's key stands for all of its columns in GROUP BY, a view's does not.
    if refused.is_grouping
        && let Some(grouped) = by_all_columns(names, shown, query)
    {
        return Ok(match attempt(traffic, &views::over_nulls(names, shown, &grouped)).await? {
            None => Ok(grouped),
            Some(refused) => Err(refused.message),
        });
    }
    Ok(Err(refused.message))
}

struct RefusedQuery {
    message: String,
    is_grouping: bool,
}

/// Lets the server parse a query, which runs nothing.
async fn attempt(traffic: &Client, query: &str) -> Result<Option<RefusedQuery>> {
    let Err(error) = traffic.prepare(query).await else { return Ok(None) };
    match error.as_db_error() {
        Some(refused) => Ok(Some(RefusedQuery {
            message: refused.message().to_owned(),
            is_grouping: *refused.code() == SqlState::GROUPING_ERROR,
        })),
        None => Err(Error::database(format!("trying the query of {LEADS_WITH_JOURNEY} on Traffic"), &error)),
    }
}

/// The query with every column of the leads beside their key in GROUP BY, which gives the same groups.
fn by_all_columns(names: &Names, shown: &[LegacyName], query: &str) -> Option<String> {
    let leads = shown.iter().find(|name| name.table == Table::LandingLeads)?;
    let table = names.landing_name(Table::LandingLeads);
    let (before, rest) = query.split_once("GROUP BY ")?;
    let end = rest.find([';', '\n', ')']).unwrap_or(rest.len());
    let (keys, after) = rest.split_at_checked(end)?;
    let alias = keys.split(", ").find_map(|key| key.trim().strip_suffix(".id"))?;
    let is_leads = |text: &str| {
        text.contains(&format!("{table} {alias}\n"))
            || text.contains(&format!("{table} {alias} "))
            || text.contains(&format!("{table} {alias})"))
            || alias == table
    };
    if !is_leads(before) {
        return None;
    }
    // `json` has no equality, and cannot be a key.
    let others = leads.columns.iter().filter(|column| column.landing != "id" && column.sql_type != "json");
    let others: String =
        others.map(|column| format!(", {alias}.{}", escape_identifier(&column.landing))).collect();
    Some(format!("{before}GROUP BY {keys}{others}{after}"))
}
