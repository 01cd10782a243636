//! The legacy names: which views stand on Traffic under Landing's names, with which columns (docs/legacy-names.md).

use super::catalog::{self, CatalogColumn};
use crate::error::Result;
use crate::mapping::{self, Passthrough};
use crate::model::change::Table;
use crate::model::names::JOURNEY_NAMES;
use crate::model::side::Side;
use crate::postgres::{Database, Databases};

/// Landing's view of leads with their journeys.
pub const LEADS_WITH_JOURNEY: &str = "leads_with_journey";

/// A view on Traffic that shows the rows of one replicated table under Landing's names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyName {
    pub name: String,
    pub table: Table,
    /// In Landing's order.
    pub columns: Vec<LegacyColumn>,
    /// Columns and defaults of Landing that the view cannot have, a phrase each.
    pub left_out: Vec<String>,
}

impl LegacyName {
    /// The table, and each column's name on Landing and on Traffic.
    pub fn carried(&self) -> (Table, Vec<(String, String)>) {
        let pair = |column: &LegacyColumn| (column.landing.clone(), column.traffic.clone());
        (self.table, self.columns.iter().map(pair).collect())
    }
}

/// A column of such a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyColumn {
    /// The column's name on Landing, and in the view.
    pub landing: String,
    /// The column of Traffic's table that the view shows.
    pub traffic: String,
    /// The type on Landing, where PostgreSQL itself defines it; else `text`, as Traffic holds the value.
    pub sql_type: String,
    /// The default of the view's column, as SQL.
    pub default: Option<String>,
}

/// The legacy names of `tables`, where Traffic has the columns of `places`.
///
/// # Errors
/// A connection broke.
pub async fn legacy_names(
    databases: Databases<'_>,
    tables: &[Table],
    places: &Passthrough,
) -> Result<Vec<LegacyName>> {
    let landing = databases.on(Side::Landing);
    let mut found = Vec::new();
    for &table in tables {
        let columns = catalog::columns(landing.client, landing.names, table).await?;
        let foreign = with_foreign_defaults(landing, table).await?;
        let shown = Shown::of(table, &columns, (&foreign, places));
        for name in names(landing, table).await? {
            let Shown { columns, left_out } = shown.clone();
            found.push(LegacyName { name, table, columns, left_out });
        }
    }
    Ok(found)
}

/// The names under which a table is found: Landing's own, and for the journey each other name that old code may know
/// it by, unless Landing has another relation of that name.
async fn names(landing: Database<'_>, table: Table) -> Result<Vec<String>> {
    let own = landing.names.landing_name(table).to_owned();
    let others = match table {
        Table::LeadJourney => JOURNEY_NAMES.iter().filter(|name| **name != own).collect(),
        Table::LandingLeads | Table::ScheduledNotifications => Vec::new(),
    };
    let mut names = vec![own];
    for other in others {
        let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class AS c WHERE c.relname = $1 \
                   AND c.relnamespace = pg_catalog.to_regnamespace(pg_catalog.quote_ident($2)))";
        let step = landing.during("looking for the journey's names on Landing");
        if !step.row(sql, &[other, &landing.names.landing_schema]).await?.get::<_, bool>(0) {
            names.push((*other).to_owned());
        }
    }
    Ok(names)
}

/// Columns whose default refers to an object that is not PostgreSQL's own: a function, a sequence, a type.
async fn with_foreign_defaults(landing: Database<'_>, table: Table) -> Result<Vec<String>> {
    let sql = "SELECT DISTINCT a.attname::text FROM pg_catalog.pg_attrdef AS d \
               JOIN pg_catalog.pg_attribute AS a ON a.attrelid = d.adrelid AND a.attnum = d.adnum \
               JOIN pg_catalog.pg_depend AS f ON f.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND f.objid = d.oid \
               WHERE d.adrelid = pg_catalog.to_regclass($1) \
               AND (f.refclassid, f.refobjid) <> ('pg_catalog.pg_class'::pg_catalog.regclass, d.adrelid)";
    let step = landing.during("reading the defaults of Landing's columns");
    Ok(step.rows(sql, &[&landing.table(table)]).await?.iter().map(|row| row.get(0)).collect())
}

/// The columns of a table that a view can show.
#[derive(Clone, Default)]
struct Shown {
    columns: Vec<LegacyColumn>,
    left_out: Vec<String>,
}

impl Shown {
    fn of(table: Table, columns: &[CatalogColumn], (foreign, places): (&[String], &Passthrough)) -> Shown {
        let mut shown = Shown::default();
        for column in columns {
            let name = &column.name;
            let carried = places.of(table).iter().find(|carried| carried.landing == *name);
            let traffic = mapping::spelled_on_traffic(table, name)
                .or_else(|| carried.map(|carried| carried.traffic.as_str()));
            let Some(traffic) = traffic else {
                shown.left_out.push(format!("the column {name}, which Traffic does not have"));
                continue;
            };
            let default = match default(column, foreign.contains(name)) {
                Ok(default) => default,
                Err(left_out) => {
                    shown
                        .left_out
                        .push(format!("the default of {name}, which is not PostgreSQL's own: {left_out}"));
                    None
                }
            };
            let sql_type =
                if column.type_schema == "pg_catalog" { column.definition.as_str() } else { "text" };
            let (landing, traffic, sql_type) = (name.clone(), traffic.to_owned(), sql_type.to_owned());
            shown.columns.push(LegacyColumn { landing, traffic, sql_type, default });
        }
        shown
    }
}

/// The default of the view's column. The error is a default that calls or names an object of Landing's own.
fn default(column: &CatalogColumn, is_foreign: bool) -> Result<Option<String>, &str> {
    let Some(text) = column.default.as_deref().filter(|_| !column.is_generated) else { return Ok(None) };
    match () {
        () if !is_foreign => Ok(Some(text.to_owned())),
        // An extension's function that PostgreSQL has itself by now.
        () if matches!(text.rsplit('.').next(), Some("uuid_generate_v4()" | "gen_random_uuid()")) => {
            Ok(Some("pg_catalog.gen_random_uuid()".to_owned()))
        }
        () => constant(text).map(|constant| Some(constant.to_owned())).ok_or(text),
    }
}

/// The constant of `'text'::type`: of an enumeration or a domain, whose values Traffic holds as text.
fn constant(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('\'')?;
    let end = inner.replace("''", "..").find('\'')?;
    let (constant, cast) = text.split_at_checked(end + 2)?;
    let is_plain = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '"' | '.' | ' ');
    cast.strip_prefix("::").filter(|name| name.chars().all(is_plain)).map(|_| constant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_loses_the_cast_to_a_type_that_traffic_does_not_have() {
        assert_eq!(constant("'new'::public.lead_status"), Some("'new'"));
        assert_eq!(constant("'it''s'::\"Статус\""), Some("'it''s'"));
        for other in ["f('x'::a)", "('x'::a || 'y'::a)", "'x'::a || 'y'::a", "'x'", "nextval('s'::regclass)"]
        {
            assert_eq!(constant(other), None, "{other}");
        }
    }

    #[test]
    fn a_default_that_calls_somebody_elses_function_is_left_out_by_its_text() {
        let column = |default: &str| CatalogColumn {
            name: "c".into(),
            is_generated: false,
            is_not_null: false,
            default: Some(default.into()),
            definition: "text".into(),
            sql_type: "text".into(),
            type_schema: "pg_catalog".into(),
            type_kind: "b".into(),
        };
        assert_eq!(default(&column("now()"), false), Ok(Some("now()".into())));
        assert_eq!(
            default(&column("extensions.uuid_generate_v4()"), true),
            Ok(Some("pg_catalog.gen_random_uuid()".into()))
        );
        assert_eq!(default(&column("public.next_number()"), true), Err("public.next_number()"));
    }
}
