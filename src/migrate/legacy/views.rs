//! The statements that make the views.

use postgres_protocol::escape::{escape_identifier, escape_literal};

use crate::landing::legacy_names::LegacyName;
use crate::model::change::Table;
use crate::model::names::{Names, qualified};
use crate::model::sha256;

/// The rows of `traffic_leads` that old code knows.
const IS_LANDINGS: &str = "(l.landing_synced_at IS NOT NULL OR l.landing_lead)";

/// The query of a legacy name: plain columns, so that PostgreSQL updates through the view, and finds foreign keys
/// through it. `is_bound`: only the rows whose lead is Landing's.
fn query(names: &Names, name: &LegacyName, is_bound: bool) -> String {
    let columns: Vec<String> = name
        .columns
        .iter()
        .map(|column| {
            let [traffic, landing] = [&column.traffic, &column.landing].map(|name| escape_identifier(name));
            if traffic == landing { format!("l.{traffic}") } else { format!("l.{traffic} AS {landing}") }
        })
        .collect();
    let (columns, table) = (columns.join(",\n    "), names.traffic_table(name.table));
    let leads = names.traffic_table(Table::LandingLeads);
    let condition = match (name.table, is_bound) {
        (Table::LandingLeads, _) => format!("\nWHERE {IS_LANDINGS}"),
        (_, true) => {
            let is_landings = IS_LANDINGS.replace("l.", "o.");
            format!("\nWHERE EXISTS (SELECT FROM {leads} AS o WHERE o.id = l.lead_id AND {is_landings})")
        }
        (_, false) => String::new(),
    };
    format!("SELECT {columns}\nFROM {table} AS l{condition}")
}

/// The statements that make a legacy name.
pub(super) fn source(names: &Names, name: &LegacyName, is_bound: bool) -> String {
    let view = qualified(&names.traffic_schema, &name.name);
    let mut sql = format!(
        "CREATE VIEW {view} WITH (security_invoker = true) AS\n{};\n{}",
        query(names, name, is_bound),
        closed(&view)
    );
    for column in &name.columns {
        if let Some(default) = &column.default {
            let column = escape_identifier(&column.landing);
            sql += &format!("ALTER VIEW {view} ALTER COLUMN {column} SET DEFAULT {default};\n");
        }
    }
    let comment = format!("legacy name of {}, made by leadbridge for old code", name.table.traffic_name());
    sql + &format!("COMMENT ON VIEW {view} IS {}", escape_literal(&comment))
}

/// The statements that make the view that has Landing's own definition. With its owner's rights the view must not leak
/// the leads that it leaves out, hence `security_barrier`.
pub(super) fn of_landing(names: &Names, query: &str, has_owner_rights: bool) -> String {
    let view = qualified(&names.traffic_schema, crate::landing::legacy_names::LEADS_WITH_JOURNEY);
    let options = match has_owner_rights {
        true => "security_invoker = false, security_barrier = true",
        false => "security_invoker = true",
    };
    format!(
        "CREATE VIEW {view} WITH ({options}) AS\n{query};\n{}COMMENT ON VIEW {view} IS \
         'Landing''s own view over the leads that are Landing''s, made by leadbridge for old code'",
        closed(&view)
    )
}

fn closed(view: &str) -> String {
    format!("SELECT pg_temp.leadbridge_close_view({});\n", escape_literal(view))
}

/// Landing's query with a common table expression in the place of each of Landing's tables.
pub(super) fn over_tables(names: &Names, shown: &[LegacyName], query_of_landing: &str) -> String {
    with(query_of_landing, |table| {
        let name = names.landing_name(table);
        let of_table = shown.iter().find(|shown| shown.name == name)?;
        Some((name.to_owned(), query(names, of_table, true)))
    })
}

/// The same with rows of nulls, which tells whether the query fits the columns without a table.
pub(super) fn over_nulls(names: &Names, shown: &[LegacyName], query_of_landing: &str) -> String {
    with(query_of_landing, |table| {
        let name = names.landing_name(table);
        let of_table = shown.iter().find(|shown| shown.name == name)?;
        let null = |column: &crate::landing::legacy_names::LegacyColumn| {
            format!("NULL::{} AS {}", column.sql_type, escape_identifier(&column.landing))
        };
        let columns: Vec<String> = of_table.columns.iter().map(null).collect();
        Some((name.to_owned(), format!("SELECT {}", columns.join(", "))))
    })
}

fn with(query: &str, table: impl Fn(Table) -> Option<(String, String)>) -> String {
    let tables = Table::ALL.into_iter().filter_map(table);
    let tables: Vec<String> = tables
        .map(|(name, query)| format!("{} AS NOT MATERIALIZED (\n{query}\n)", escape_identifier(&name)))
        .collect();
    let (tables, query) = (tables.join(", "), query.trim().trim_end_matches(';'));
    match (query.strip_prefix("WITH RECURSIVE "), query.strip_prefix("WITH ")) {
        (Some(rest), _) => format!("WITH RECURSIVE {tables}, {rest}"),
        (_, Some(rest)) => format!("WITH {tables}, {rest}"),
        (None, None) => format!("WITH {tables}\n{query}"),
    }
}

/// The statement that tells the session which views are wanted. A change of one view makes all views again, because a
/// view may depend on another one.
pub(super) fn wanted(names: &Names, views: &[(&str, String)]) -> String {
    let all: String = views.iter().map(|(name, source)| format!("{name}\n{source}\n")).collect();
    let set = sha256::of(&all);
    let row = |(name, source): &(&str, String)| {
        let source = format!("-- legacy names {set}\n{source}");
        let clearing = format!("DROP VIEW IF EXISTS {};", qualified(&names.traffic_schema, name));
        format!(
            "SELECT 'view', {}, NULL::text, NULL::text, NULL::text[], NULL::int, NULL::int, {}, {}",
            escape_literal(name),
            escape_literal(&source),
            escape_literal(&clearing)
        )
    };
    let rows: Vec<String> = views.iter().map(row).collect();
    format!(
        "CREATE OR REPLACE FUNCTION pg_temp.leadbridge_wanted()\n    RETURNS TABLE (kind text, name text, arguments text, \
         returns text, parameters text[], fewest int, most int, source text, clearing text)\n    LANGUAGE sql\n    AS \
         $leadbridge_wanted$\n{}\n$leadbridge_wanted$;\n",
        rows.join("\nUNION ALL\n")
    )
}
