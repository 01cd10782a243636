//! `leadbridge migrate --legacy`: the legacy names on Traffic, made from Landing's catalog (docs/legacy-names.md).
//!
//! The step is planned and run like a migration, and is not recorded as one: its work follows Landing's catalog. Once
//! the names are there, every run keeps them up to date.

mod definition;
mod uniques;
mod views;

use postgres_protocol::escape::escape_literal;
use serde_json::json;

use super::MigrateOptions;
use super::sql::PLAN_BEGINS;
use crate::access::{Comparison, LegacyRight, LegacyRights, LegacyTable, RightOn};
use crate::checkpoint::legacy_names::{RecordedName, recorded_names};
use crate::error::{Error, Result};
use crate::landing::legacy_names::{LEADS_WITH_JOURNEY, LegacyName, legacy_names};
use crate::language::message;
use crate::mapping::Passthrough;
use crate::model::change::Table;
use crate::model::names::{Names, qualified};
use crate::model::side::Side;
use crate::postgres::Databases;

use definition::LandingView;
use uniques::UniqueKeys;

/// The SQL of the step.
pub(super) struct LegacyPlan {
    pub sql: String,
    /// Whether the names have been made before.
    pub is_recorded: bool,
}

/// Plans the legacy names; changes nothing. `None` when they were neither asked for nor made before.
///
/// # Errors
/// Refused when `--public-view` names a view that Landing does not show so.
pub(super) async fn plan(
    databases: Databases<'_>,
    options: &MigrateOptions,
    (places, comparison): (&Passthrough, &Comparison<'_>),
) -> Result<Option<LegacyPlan>> {
    let recorded = recorded_names(databases.on(Side::Traffic)).await?;
    if !options.legacy && recorded.is_empty() {
        return Ok(None);
    }
    let shown = legacy_names(databases, &options.tables(), places).await?;
    let uniques = uniques::read(databases.on(Side::Landing), &shown).await?;
    let landing_view = LandingView::read(databases, &shown).await?;
    let has_owner_rights = owner_rights(options, &recorded, landing_view.as_ref())?;
    let rights = comparison.legacy_rights(&LegacyTable::of_names(shown.iter().map(LegacyName::carried)));
    let recorded_as: Vec<String> = recorded.iter().map(|name| name.name.clone()).collect();
    let built =
        Built { names: databases.names, shown, uniques, landing_view, has_owner_rights, rights, recorded_as };
    let seen = |table| comparison.sees_leads_too(table);
    Ok(Some(LegacyPlan { sql: built.sql(&seen), is_recorded: !recorded.is_empty() }))
}

/// Whether the view of leads with journeys runs with its owner's rights. A run with `--legacy` decides; any other run
/// keeps what was decided.
fn owner_rights(
    options: &MigrateOptions,
    recorded: &[RecordedName],
    view: Option<&LandingView>,
) -> Result<bool> {
    if !options.legacy {
        return Ok(recorded.iter().any(|name| name.name == LEADS_WITH_JOURNEY && name.has_owner_rights));
    }
    let is_public = |name: &str| name == LEADS_WITH_JOURNEY && view.is_some_and(|view| !view.is_invoker);
    match options.public_views.iter().find(|name| !is_public(name)) {
        None => Ok(!options.public_views.is_empty()),
        Some(name) => Err(Error::refused(format!(
            "--public-view {name}: Landing has no view of this name that shows leads with its owner's rights"
        ))
        .remedy(message!("migrate-remedy-public-view", view = LEADS_WITH_JOURNEY))),
    }
}

/// Everything that the step's SQL is made of.
struct Built<'b> {
    names: &'b Names,
    shown: Vec<LegacyName>,
    uniques: UniqueKeys,
    landing_view: Option<LandingView>,
    has_owner_rights: bool,
    rights: LegacyRights,
    /// The names that an earlier run has made.
    recorded_as: Vec<String>,
}

impl Built<'_> {
    /// `sees_leads` says whether a condition on a row's lead hides nothing from anybody.
    fn sql(&self, sees_leads: &dyn Fn(Table) -> bool) -> String {
        let mut sql = PLAN_BEGINS.to_owned();
        let leads = self.names.traffic_table(Table::LandingLeads);
        sql += &call(
            "clear_spelling",
            &[&literal(&leads), &array(&["landing_amocrm_lead_id", "landing_amocrm_contact_id"])],
        );
        for keys in &self.uniques.made {
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            sql += &call("unique", &[&literal(&leads), &array(&keys)]);
        }
        for statement in &self.rights.policies {
            sql += &call("change", &[&literal(statement), &literal(statement)]);
        }
        sql += &self.views(sees_leads);
        sql += &self.readers();
        sql += &self.records();
        for note in self.notes() {
            sql += &call("note", &[&literal(&note)]);
        }
        sql
    }

    fn qualified(&self, name: &str) -> String {
        qualified(&self.names.traffic_schema, name)
    }

    fn views(&self, sees_leads: &dyn Fn(Table) -> bool) -> String {
        let mut made: Vec<(&str, String)> = Vec::new();
        for name in &self.shown {
            made.push((&name.name, views::source(self.names, name, sees_leads(name.table))));
        }
        if let Some(Ok(query)) = self.landing_view.as_ref().map(|view| &view.query) {
            let query = views::over_tables(self.names, &self.shown, query);
            made.push((LEADS_WITH_JOURNEY, views::of_landing(self.names, &query, self.has_owner_rights)));
        }
        views::wanted(self.names, &made) + "SELECT pg_temp.leadbridge_make_legacy();\n"
    }

    /// Gives SELECT on the names to whoever may read Landing's tables.
    fn readers(&self) -> String {
        let mut sql = String::new();
        for name in &self.shown {
            for reader in self.rights.readers.iter().filter(|reader| reader.table == name.table) {
                sql +=
                    &call("legacy_reader", &[&literal(&self.qualified(&name.name)), &literal(&reader.role)]);
            }
        }
        if let Some(view) = self.landing_view.as_ref().filter(|view| view.query.is_ok()) {
            for role in &view.readers {
                sql +=
                    &call("legacy_reader", &[&literal(&self.qualified(LEADS_WITH_JOURNEY)), &literal(role)]);
            }
        }
        sql
    }

    fn relations(&self, right: &LegacyRight) -> Vec<String> {
        match right.on {
            RightOn::Base => vec![self.names.traffic_table(right.table)],
            RightOn::Names => {
                let of_table = self.shown.iter().filter(|name| name.table == right.table);
                of_table.map(|name| self.qualified(&name.name)).collect()
            }
        }
    }

    fn records(&self) -> String {
        let of_table = |name: &LegacyName| json!({"name": name.name, "shows": name.table.label(), "has_owner_rights": false});
        let mut names: Vec<serde_json::Value> = self.shown.iter().map(of_table).collect();
        if self.landing_view.as_ref().is_some_and(|view| view.query.is_ok()) {
            names.push(
                json!({"name": LEADS_WITH_JOURNEY, "shows": null, "has_owner_rights": self.has_owner_rights}),
            );
        }
        let rights: Vec<serde_json::Value> = self
            .rights
            .rights
            .iter()
            .flat_map(|right| self.relations(right).into_iter().map(move |relation| (relation, right)))
            .map(|(relation, LegacyRight { role, privilege, columns, .. })| {
                json!({"relation": relation, "role": role, "privilege": privilege, "columns": columns})
            })
            .collect();
        let record = |what: &str, table: &str, columns: &str, rows: Vec<serde_json::Value>| {
            let rows = serde_json::Value::from(rows).to_string();
            let own = self.names.own(table);
            format!(
                "pg_temp.leadbridge_legacy_record({}, {}, {}, {})",
                literal(what),
                literal(&own),
                literal(columns),
                literal(&rows)
            )
        };
        let names = record(
            "the record of the legacy names",
            "legacy_names",
            "name text, shows text, has_owner_rights boolean",
            names,
        );
        let columns = "relation text, role name, privilege text, columns text[]";
        let rights = record(&self.given_by_the_switch(), "legacy_rights", columns, rights);
        format!(
            "DO $leadbridge_legacy$\nDECLARE\n    has_names boolean := {names};\n    has_rights boolean := {rights};\nBEGIN\n    \
             IF has_names OR has_rights THEN PERFORM pg_temp.leadbridge_open_legacy(); END IF;\nEND\n$leadbridge_legacy$;\n"
        )
    }

    /// Who may write what from the switch on, in words: roles with the same privileges on the same names stand together.
    fn given_by_the_switch(&self) -> String {
        let written = self.rights.rights.iter().filter(|right| right.on == RightOn::Names);
        let by_role = grouped(written.map(|LegacyRight { table, role, privilege, columns, .. }| {
            let some = columns.as_ref().map_or("", |_| " (some columns)");
            ((role.clone(), self.names.landing_name(*table)), format!("{privilege}{some}"))
        }));
        let by_name = grouped(
            by_role.into_iter().map(|((role, name), privileges)| ((name, privileges.join(", ")), role)),
        );
        let together = grouped(by_name.into_iter().map(|((name, privileges), roles)| {
            (format!("{}: {privileges}", roles.join(", ")), name.to_owned())
        }));
        let given: Vec<String> =
            together.into_iter().map(|(who, names)| format!("{who} on {}", names.join(", "))).collect();
        match given.is_empty() {
            true => "the switch gives nobody a right to write through the legacy names".to_owned(),
            false => format!("the rights to write that the switch gives: {}", given.join("; ")),
        }
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for name in &self.shown {
            notes.extend(name.left_out.iter().map(|what| format!("{} is made without {what}", name.name)));
        }
        notes.extend(self.uniques.notes.iter().cloned());
        notes.extend(self.rights.notes.iter().cloned());
        if let Some(view) = &self.landing_view {
            notes.extend(view.note(self.has_owner_rights));
        }
        let has_view = self.landing_view.as_ref().is_some_and(|view| view.query.is_ok());
        for name in &self.recorded_as {
            let is_shown = self.shown.iter().any(|shown| shown.name == *name);
            let is_made = is_shown || (has_view && name == LEADS_WITH_JOURNEY);
            if !is_made {
                let view = self.qualified(name);
                notes
                    .push(format!("{name} is no legacy name any more, and stays as it is: DROP VIEW {view}"));
            }
        }
        notes
    }
}

fn literal(text: &str) -> String {
    escape_literal(text)
}

fn array(texts: &[&str]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| escape_literal(text)).collect();
    format!("ARRAY[{}]::text[]", texts.join(", "))
}

/// A call of one of the session's functions.
fn call(function: &str, arguments: &[&str]) -> String {
    format!("SELECT pg_temp.leadbridge_{function}({});\n", arguments.join(", "))
}

/// The values of each key, in the order in which keys and values first appear.
fn grouped<K: PartialEq>(pairs: impl Iterator<Item = (K, String)>) -> Vec<(K, Vec<String>)> {
    let mut groups: Vec<(K, Vec<String>)> = Vec::new();
    for (key, value) in pairs {
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, values)) => values.push(value),
            None => groups.push((key, vec![value])),
        }
    }
    groups
}
