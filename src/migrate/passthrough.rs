//! The places on Traffic for columns of Landing that no rule of the mapping reads (docs/mapping.md): each column
//! is carried, or skipped by name, or refused by name.

use std::collections::HashSet;

use postgres_protocol::escape::escape_literal;

use super::sql::PLAN_BEGINS;
use crate::checkpoint::passthrough;
use crate::error::{Error, Result};
use crate::landing::catalog::{self, CatalogColumn};
use crate::language::message;
use crate::mapping::{Passthrough, PassthroughColumn, known_targets};
use crate::model::change::Table;
use crate::model::column_rules::ColumnRules;
use crate::model::names::{self, Names};
use crate::model::side::Side;
use crate::postgres::Databases;

/// Columns of Traffic's tables that replication writes or keeps beside the mapped columns.
const RESERVED: [&str; 3] = ["id", "landing_synced_at", "landing_lead"];

/// A column of Landing, and its place on Traffic.
#[derive(Clone, Debug)]
pub(super) struct Place {
    table: Table,
    carried: PassthroughColumn,
    /// The type of a column to be added, with its modifier; `None` when Traffic has the column.
    added: Option<String>,
    is_recorded: bool,
}

/// The places of all columns, and the record of Traffic without the columns that are skipped by now.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    places: Vec<Place>,
    /// Recorded columns that the configuration skips by now, or that Landing lacks.
    forgotten: Vec<(Table, String)>,
}

/// Decides on a place for each column; changes nothing.
///
/// # Errors
/// Refused when a name in `rules` is not a column that is carried, or when Traffic has no free name for a column.
pub(super) async fn plan(databases: Databases<'_>, tables: &[Table], rules: &ColumnRules) -> Result<Places> {
    let recorded = passthrough::read(databases.on(Side::Traffic)).await?;
    let mut all = Places::default();
    for &table in tables {
        let on_landing = catalog::columns(databases.landing, databases.names, table).await?;
        let asked = Asked { names: databases.names, table, rules };
        asked.check(&on_landing)?;
        let mut taken = taken(databases, table).await?;
        let is_there = taken.clone();
        let recorded = recorded.of(table);
        for column in on_landing.iter().filter(|column| asked.is_carried(column)) {
            let known = recorded.iter().find(|known| known.landing == column.name);
            let (carried, definition) = match known {
                Some(known) => (known.clone(), defined(&known.sql_type, column)),
                None => asked.place(column, &taken)?,
            };
            taken.insert(carried.traffic.clone());
            let added = (!is_there.contains(&carried.traffic)).then_some(definition);
            all.places.push(Place { table, carried, added, is_recorded: known.is_some() });
        }
        let is_carried = |name: &str| on_landing.iter().any(|c| c.name == name && asked.is_carried(c));
        let gone = recorded.iter().filter(|known| !is_carried(&known.landing));
        all.forgotten.extend(gone.map(|known| (table, known.landing.clone())));
    }
    Ok(all)
}

impl Places {
    /// The columns as they will be recorded.
    pub(super) fn passthrough(&self) -> Passthrough {
        let mut passthrough = Passthrough::default();
        for Place { table, carried, .. } in &self.places {
            passthrough.0.entry(*table).or_default().push(carried.clone());
        }
        passthrough
    }

    /// The SQL that lists, makes and records the places; `None` when nothing is to be done. `has_copied`: rows
    /// may have been copied without the new columns.
    pub(super) fn sql(&self, names: &Names, has_copied: bool) -> Option<String> {
        let new: Vec<&Place> =
            self.places.iter().filter(|place| place.added.is_some() || !place.is_recorded).collect();
        if new.is_empty() && self.forgotten.is_empty() {
            return None;
        }
        let mut sql = PLAN_BEGINS.to_owned();
        for table in Table::ALL {
            sql += &self.additions(names, table);
        }
        sql += &self.records(names);
        if has_copied && !new.is_empty() {
            sql += "SELECT pg_temp.leadbridge_note('`leadbridge resync` fills the columns');\n";
        }
        Some(sql)
    }

    /// The statement that adds one table's columns.
    fn additions(&self, names: &Names, table: Table) -> String {
        let of_table = self.places.iter().filter(|place| place.table == table);
        let added: Vec<String> = of_table
            .filter_map(|Place { carried, added, .. }| {
                let column = [&carried.traffic, added.as_ref()?].map(|text| escape_literal(text));
                Some(format!("ARRAY[{}]", column.join(", ")))
            })
            .collect();
        if added.is_empty() {
            return String::new();
        }
        let target = escape_literal(&names.traffic_table(table));
        format!("SELECT pg_temp.leadbridge_add_columns({target}, ARRAY[{}]);\n", added.join(", "))
    }

    /// The statements that record the places, and forget columns that are not carried any more.
    fn records(&self, names: &Names) -> String {
        let record = names.own("passthrough");
        let change = |what: String, statement: String| {
            let [what, statement] = [what, statement].map(|text| escape_literal(&text));
            format!("SELECT pg_temp.leadbridge_change({what}, {statement});\n")
        };
        let forgotten = self.forgotten.iter().map(|(table, column)| {
            change(
                format!("{}.{column} on Landing is not carried any more", names.landing_name(*table)),
                format!(
                    "DELETE FROM {record} WHERE source_table = {} AND landing_column = {}",
                    escape_literal(table.label()),
                    escape_literal(column)
                ),
            )
        });
        let new = self.places.iter().enumerate().filter(|(_, place)| !place.is_recorded);
        let recorded = new.map(|(position, Place { table, carried, .. })| {
            let PassthroughColumn { landing, traffic, sql_type } = carried;
            let values = [table.label(), landing, traffic, sql_type].map(escape_literal).join(", ");
            change(
                format!(
                    "carries {}.{landing} on Landing in {}.{traffic}",
                    names.landing_name(*table),
                    table.traffic_name()
                ),
                // Another run may have recorded the column since the plan.
                format!("INSERT INTO {record} VALUES ({values}, {position}) ON CONFLICT DO NOTHING"),
            )
        });
        forgotten.chain(recorded).collect()
    }
}

/// One table's columns, and the operator's decisions.
struct Asked<'a> {
    names: &'a Names,
    table: Table,
    rules: &'a ColumnRules,
}

impl Asked<'_> {
    fn is_known(&self, column: &str) -> bool {
        self.table.columns().iter().any(|known| known.name == column)
    }

    fn is_carried(&self, column: &CatalogColumn) -> bool {
        !column.is_generated && !self.is_known(&column.name) && !self.rules.skips(self.table, &column.name)
    }

    /// Refuses a decision about a column that does not exist, or that a rule of the mapping reads.
    fn check(&self, on_landing: &[CatalogColumn]) -> Result<()> {
        let on_landing = |name: &str| on_landing.iter().any(|column| column.name == name);
        let place = format!("[columns.{}]", self.names.landing_name(self.table));
        for name in self.rules.named(self.table) {
            let what = match (self.is_known(name), on_landing(name)) {
                (true, _) => "which a rule of the mapping reads: the column is always replicated",
                (false, false) => "which Landing does not have",
                (false, true) => continue,
            };
            return Err(Error::refused(format!(
                "{place} names {}.{name}, {what}",
                self.names.landing_name(self.table)
            ))
            .remedy(message!("migrate-remedy-column-name", place = place)));
        }
        Ok(())
    }

    /// A new place for a column: its own name, or `landing_` and its name where Traffic has a column of that
    /// name already.
    fn place(&self, column: &CatalogColumn, taken: &HashSet<String>) -> Result<(PassthroughColumn, String)> {
        let wanted = self.rules.renamed(self.table, &column.name).map(str::to_owned);
        let other = format!("landing_{}", column.name);
        let free = |name: &String| names::check_name(name).is_ok() && !taken.contains(name);
        let traffic = match &wanted {
            Some(wanted) => Some(wanted.clone()).filter(free),
            None => [column.name.clone(), other].into_iter().find(free),
        };
        let Some(traffic) = traffic else {
            let tried = wanted.unwrap_or_else(|| format!("{} or landing_{}", column.name, column.name));
            return Err(Error::refused(format!(
                "{}.{} on Landing has no place on Traffic: {} has a column {tried} already, or cannot have one",
                self.names.landing_name(self.table),
                column.name,
                self.table.traffic_name()
            ))
            .remedy(message!(
                "migrate-remedy-column-rename",
                table = self.names.landing_name(self.table),
                rename = format!("rename = {{ \"{}\" = \"…\" }}", column.name),
                column = &column.name
            )));
        };
        let sql_type = carried_type(column);
        let definition = defined(&sql_type, column);
        Ok((PassthroughColumn { landing: column.name.clone(), traffic, sql_type }, definition))
    }
}

/// The type of the values on Traffic, without a modifier. A type that PostgreSQL itself defines, and whose text
/// means the same in every database, stays; every other type (enum, domain, of an extension, a reference to a
/// catalog) is carried as text.
fn carried_type(column: &CatalogColumn) -> String {
    let of_server =
        column.type_schema == "pg_catalog" && matches!(column.type_kind.as_str(), "b" | "r" | "m");
    match column.sql_type.as_str() {
        "character varying" => "text".to_owned(),
        "timestamp with time zone" => "timestamptz".to_owned(),
        name if !of_server || name.starts_with("reg") || name == "aclitem" => "text".to_owned(),
        name => name.to_owned(),
    }
}

/// The definition of the column on Traffic.
fn defined(sql_type: &str, column: &CatalogColumn) -> String {
    match column.sql_type.as_str() {
        "character varying" | "timestamp with time zone" => column.definition.clone(),
        same if same == sql_type => column.definition.clone(),
        _ => sql_type.to_owned(),
    }
}

/// The names that Traffic's table has, or gets by the migrations.
async fn taken(databases: Databases<'_>, table: Table) -> Result<HashSet<String>> {
    let sql = "SELECT a.attname::text FROM pg_catalog.pg_attribute a \
               WHERE a.attrelid = pg_catalog.to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped";
    let traffic = databases.on(Side::Traffic);
    let step = traffic.during(format!("reading the columns of {} on Traffic", table.traffic_name()));
    let rows = step.rows(sql, &[&traffic.table(table)]).await?;
    let there = rows.iter().map(|row| row.get(0));
    let known = known_targets(table).iter().map(|target| target.name.to_string());
    Ok(there.chain(known).chain(RESERVED.map(str::to_owned)).collect())
}
