//! The SQL that writes to Traffic, built from the mapping's tables; pure.
//!
//! Rows travel as arrays, one per column, so that a batch is one round trip per table. Texts are cast on the
//! server: PostgreSQL alone decides what it can read.

use crate::change::{Table, lead};
use crate::database::pipelined::IS_OPEN;
use crate::mapping::{self, Target};
use crate::names::Names;

/// The columns that stand before the mapped ones in every set of rows: their name and array type.
pub(super) const FIXED: [(&str, &str); 2] = [("id", "uuid"), ("landing_synced_at", "timestamptz")];

/// Whether a row that is equal already is written all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// The stream: what changes nothing writes nothing (semantics 4.3).
    OnlyChanges,
    /// The snapshot: every row gets its `landing_synced_at`, by which the rows it did not touch are found.
    EveryRow,
}

/// Upsert of leads. Parameters: ids, synced times, then one text array for each target column. Writes nothing outside
/// of a transaction of ours, as [`IS_OPEN`] says.
pub fn upsert_leads(names: &Names, touch: Touch) -> String {
    let table = Table::LandingLeads;
    let targets: Vec<&Target> = mapping::targets(table).iter().collect();
    let targets = &targets;
    // The arrays are in primary-key order and a function scan keeps it: locks are taken in that order.
    format!(
        "INSERT INTO {traffic} AS t ({columns}, status) SELECT {values}, '{status}' FROM {input} \
         WHERE {IS_OPEN} ON CONFLICT (id) DO UPDATE SET {set} {unequal}",
        traffic = names.traffic_table(table),
        columns = column_list(targets),
        values = value_list(targets),
        status = initial_status(table).unwrap_or_default(),
        input = input(targets),
        set = set_list(targets),
        unequal = only_when_unequal(targets, touch),
    )
}

/// Upsert of stages or notifications whose lead is there; answers the ids of those whose lead is not.
///
/// The lead is locked as PostgreSQL's own foreign key check would lock it, since that check does not run
/// under `session_replication_role = replica`. Parameters as in [`upsert_leads`].
pub fn upsert_children(names: &Names, table: Table, touch: Touch) -> String {
    let targets: Vec<&Target> = mapping::targets(table).iter().collect();
    let targets = &targets;
    format!(
        "WITH i AS MATERIALIZED (SELECT * FROM {input} WHERE {IS_OPEN}), \
         present AS MATERIALIZED (SELECT l.id FROM {leads} l \
           WHERE l.id = ANY (ARRAY(SELECT DISTINCT i.lead_id::uuid FROM i)) ORDER BY l.id FOR KEY SHARE), \
         written AS (INSERT INTO {traffic} AS t ({columns}) SELECT {values} FROM i \
           WHERE i.lead_id::uuid IN (SELECT id FROM present) ORDER BY i.id \
           ON CONFLICT (id) DO UPDATE SET {set} {unequal}) \
         SELECT i.id FROM i WHERE i.lead_id::uuid NOT IN (SELECT id FROM present)",
        input = input(targets),
        leads = names.traffic_table(Table::LandingLeads),
        traffic = names.traffic_table(table),
        columns = column_list(targets),
        values = value_list(targets),
        set = set_list(targets),
        unequal = only_when_unequal(targets, touch),
    )
}

/// Inserts rows that are not there, in the binary format: ids, synced times, the mapped columns, and of leads their
/// status.
pub fn copy(names: &Names, table: Table) -> String {
    let targets: Vec<&Target> = mapping::targets(table).iter().collect();
    let status = initial_status(table).map_or("", |_| ", status");
    let (traffic, columns) = (names.traffic_table(table), column_list(&targets));
    format!("COPY {traffic} ({columns}{status}) FROM STDIN (FORMAT binary)")
}

/// Keeps the table as it is until the transaction ends, as an INSERT does.
pub fn hold_table(names: &Names, table: Table) -> String {
    format!("LOCK TABLE {} IN ROW EXCLUSIVE MODE", names.traffic_table(table))
}

/// The status of a lead that is new to Traffic, whose own it is from then on.
pub fn initial_status(table: Table) -> Option<&'static str> {
    (table == Table::LandingLeads).then_some("new")
}

/// Locks leads as [`upsert_children`] does, and answers those that are not there. Parameter: ids.
pub fn lock_leads(names: &Names) -> String {
    format!(
        "WITH present AS MATERIALIZED (SELECT l.id FROM {leads} l WHERE l.id = ANY ($1::uuid[]) ORDER BY l.id \
         FOR KEY SHARE) SELECT i.id FROM unnest($1::uuid[]) AS i(id) WHERE i.id NOT IN (SELECT id FROM present)",
        leads = names.traffic_table(Table::LandingLeads),
    )
}

/// Update of leads whose `metadata` was left alone: it and what comes from it stay on the server as they are.
/// Answers the rows that it could not write: id, whether Traffic has the row from Landing, and what its metadata
/// declares as the funnel. It could not when the row is not there, or when `funnel_type` is null and the source is
/// another one now, so that the funnel must be computed anew.
///
/// Parameters: ids, synced times, then one text array for each of [`mapping::targets_beside_metadata`].
pub fn update_leads_beside_metadata(names: &Names) -> String {
    let targets: Vec<&Target> = mapping::targets_beside_metadata().collect();
    let kept = |target: &Target| match target.is_partly_of_metadata() {
        true => format!("COALESCE(i.{0}, t.{0})", target.name),
        false => format!("i.{}", target.name),
    };
    let new: Vec<String> = targets.iter().map(|target| kept(target)).collect();
    let set: Vec<String> =
        targets.iter().zip(&new).map(|(target, new)| format!("{} = {new}", target.name)).collect();
    let current: Vec<String> = targets.iter().map(|target| format!("t.{}", target.name)).collect();
    // A row is locked before it is judged, in primary-key order: it cannot change between the two.
    format!(
        "WITH i AS MATERIALIZED (SELECT {values} FROM {input}), \
         known AS MATERIALIZED (SELECT t.id FROM {traffic} t JOIN i ON i.id = t.id \
           WHERE t.landing_synced_at IS NOT NULL \
           AND (i.funnel_type IS NOT NULL OR i.landing_source IS NOT DISTINCT FROM t.landing_source) \
           ORDER BY t.id FOR NO KEY UPDATE OF t), \
         written AS (UPDATE {traffic} t SET {set}, landing_synced_at = i.landing_synced_at FROM i \
           WHERE t.id = i.id AND t.id IN (SELECT id FROM known) AND ({current}) IS DISTINCT FROM ({new})) \
         SELECT i.id, t.id IS NOT NULL, t.metadata->>'funnel_type' FROM i \
           LEFT JOIN {traffic} t ON t.id = i.id AND t.landing_synced_at IS NOT NULL \
           WHERE i.id NOT IN (SELECT id FROM known)",
        values = named_value_list(&targets),
        input = input(&targets),
        traffic = names.traffic_table(Table::LandingLeads),
        set = set.join(", "),
        current = current.join(", "),
        new = new.join(", "),
    )
}

/// The text that the mapping gives for such a column, of a row `t`.
pub fn as_text(target: &Target) -> String {
    let name = target.name;
    match target.sql_type {
        // A type's output is `t`, a cast's `true`.
        "boolean" => format!("CASE t.{name} WHEN true THEN 't' WHEN false THEN 'f' END"),
        _ => format!("t.{name}::text"),
    }
}

/// Deletes rows that came from Landing. Parameter: ids.
pub fn delete(names: &Names, table: Table) -> String {
    format!(
        "DELETE FROM {} WHERE id = ANY ($1::uuid[]) AND landing_synced_at IS NOT NULL",
        names.traffic_table(table)
    )
}

/// What Traffic holds verbatim of rows whose change left TOASTed values out. Parameter: ids.
/// The answer's columns: id, then one text for each of [`restorable`].
pub fn read_verbatim(names: &Names, table: Table) -> String {
    let columns: String =
        restorable(table).iter().map(|(_, target)| format!(", t.{}::text", target.name)).collect();
    format!(
        "SELECT t.id{columns} FROM {} t WHERE t.id = ANY ($1::uuid[]) AND t.landing_synced_at IS NOT NULL",
        names.traffic_table(table)
    )
}

/// The bytes in which Traffic stores what [`read_verbatim`] would answer, without reading them. Parameter: ids.
pub fn weigh(names: &Names, table: Table) -> String {
    let sizes: Vec<String> = restorable(table)
        .iter()
        .map(|(_, target)| format!("coalesce(pg_catalog.pg_column_size(t.{}), 0)", target.name))
        .collect();
    format!(
        "SELECT coalesce(sum({}), 0)::bigint FROM {} t WHERE t.id = ANY ($1::uuid[])",
        sizes.join(" + "),
        names.traffic_table(table)
    )
}

/// The Landing columns that Traffic holds verbatim: position in a row, and where.
pub fn restorable(table: Table) -> Vec<(usize, &'static Target)> {
    mapping::targets(table).iter().filter_map(|target| Some((target.verbatim_of()?, target))).collect()
}

/// Columns that Traffic does not hold verbatim and yet no rule needs: they do not have to be read again.
pub fn is_expendable(table: Table, column: usize) -> bool {
    table == Table::LandingLeads && column == lead::PHONE_NORMALIZED
}

fn input(targets: &[&Target]) -> String {
    let fixed = FIXED.iter().map(|(_, sql_type)| *sql_type);
    let arrays: Vec<String> = fixed
        .chain(targets.iter().map(|_| "text"))
        .enumerate()
        .map(|(position, sql_type)| format!("${}::{sql_type}[]", position + 1))
        .collect();
    format!("unnest({}) AS i({})", arrays.join(", "), column_list(targets))
}

fn column_list(targets: &[&Target]) -> String {
    let fixed = FIXED.iter().map(|(name, _)| *name);
    fixed.chain(targets.iter().map(|target| target.name)).collect::<Vec<_>>().join(", ")
}

fn value_list(targets: &[&Target]) -> String {
    let fixed = FIXED.iter().map(|(name, _)| format!("i.{name}"));
    let cast = targets.iter().map(|target| format!("i.{}::{}", target.name, target.sql_type));
    fixed.chain(cast).collect::<Vec<_>>().join(", ")
}

/// The same, each under its own name.
fn named_value_list(targets: &[&Target]) -> String {
    let fixed = FIXED.iter().map(|(name, _)| format!("i.{name}"));
    let cast = targets.iter().map(|target| format!("i.{0}::{1} AS {0}", target.name, target.sql_type));
    fixed.chain(cast).collect::<Vec<_>>().join(", ")
}

/// The value a column gets in an update: Traffic keeps its own where Landing has none to give.
fn updated(target: &Target) -> String {
    let name = target.name;
    if target.keeps_target_when_null() {
        format!("COALESCE(EXCLUDED.{name}, t.{name})")
    } else {
        format!("EXCLUDED.{name}")
    }
}

fn set_list(targets: &[&Target]) -> String {
    let set = targets.iter().map(|target| format!("{} = {}", target.name, updated(target)));
    let synced = "landing_synced_at = EXCLUDED.landing_synced_at".to_owned();
    set.chain([synced]).collect::<Vec<_>>().join(", ")
}

fn only_when_unequal(targets: &[&Target], touch: Touch) -> String {
    if touch == Touch::EveryRow {
        return String::new();
    }
    let current: Vec<_> = targets.iter().map(|target| format!("t.{}", target.name)).collect();
    let new: Vec<_> = targets.iter().map(|target| updated(target)).collect();
    format!("WHERE ({}) IS DISTINCT FROM ({})", current.join(", "), new.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_never_names_a_column_that_traffic_owns() {
        let sql = upsert_leads(&Names::default(), Touch::OnlyChanges);
        let update = sql.split("DO UPDATE").nth(1).unwrap();
        for owned in ["status", "amocrm_pipeline_id", "amocrm_status_id"] {
            assert!(!update.contains(owned), "{owned}");
        }
        assert!(update.contains("fb_ad_id = COALESCE(EXCLUDED.fb_ad_id, t.fb_ad_id)"));
    }

    #[test]
    fn every_landing_text_that_can_be_toasted_is_restorable_or_known_not_to_be() {
        let restored: Vec<_> =
            restorable(Table::LandingLeads).iter().map(|(_, target)| target.name).collect();
        for name in ["metadata", "name", "phone", "email", "landing_source"] {
            assert!(restored.contains(&name), "{name}");
        }
        assert!(!restored.contains(&"amocrm_lead_id"), "a number is not the text it came from");
    }
}
