//! The SQL for writing to Traffic, built from the mapping's tables; pure.
//!
//! Rows travel as arrays, one array for each column, so a batch takes one round trip for each table. The
//! server casts the texts, because only PostgreSQL decides if a text is valid.

use std::borrow::Cow;

use crate::mapping::{TableMapping, Target};
use crate::model::budget;
use crate::model::change::Table;
use crate::model::names::Names;
use crate::postgres::output::TextForm;
use crate::postgres::pipelined::IS_OPEN;
use crate::postgres::unique::{self, Filler, UniqueColumn};

/// Columns before the mapped columns in every set of rows: name and type.
pub(super) const FIXED: [(&str, &str); 2] = [("id", "uuid"), ("landing_synced_at", "timestamptz")];

/// Whether to write a row equal to Traffic's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// For the stream: an update without an effect writes nothing (guarantees 4.3).
    OnlyChanges,
    /// For the snapshot: every row gets a new `landing_synced_at`. A row on Traffic with another time was not
    /// touched by the snapshot.
    EveryRow,
}

/// A table of Traffic, for the statements on whole rows.
#[derive(Clone, Copy)]
pub struct TargetTable<'t> {
    pub names: &'t Names,
    pub mapping: &'t TableMapping,
}

impl TargetTable<'_> {
    /// Upsert of one table's rows. Parameters: ids, synced times, then one text array for each target column. A
    /// row already on Traffic keeps its values in the columns that Landing lacks. Outside of
    /// leadbridge's transaction the statement writes nothing (see [`IS_OPEN`]).
    ///
    /// The answer is one row, and its four columns account for every input row: number of rows written; number of
    /// rows equal already; ids of rows neither written nor equal, by the snapshot of the statement; ids of rows
    /// without a lead.
    pub fn upsert(&self, touch: Touch) -> String {
        let TargetTable { names, mapping } = *self;
        let table = mapping.table;
        let targets: Vec<&Target> = mapping.targets().iter().collect();
        let (targets, given) = (&targets, &given(&targets, mapping));
        let traffic = names.traffic_table(table);
        let lead_is_there = "EXISTS (SELECT FROM present p WHERE p.id = i.lead_id::uuid)";
        let has_lead = table.lead_column().is_some();
        // The arrays are in primary-key order and a function scan keeps the order, so the rows are locked in
        // primary-key order.
        let (with, source, condition, order, orphans) = match has_lead {
            false => ("WITH".to_owned(), input(targets), IS_OPEN, "", "'{}'::uuid[]".to_owned()),
            true => (
                format!("{} ", with_present_leads(names, targets)),
                "i".to_owned(),
                lead_is_there,
                "ORDER BY i.id",
                format!("ARRAY(SELECT i.id FROM i WHERE NOT {lead_is_there})"),
            ),
        };
        let initial = initial_status(table).map(|status| format!(", '{status}'")).unwrap_or_default();
        // `rest` reads rows only when some rows were not written.
        format!(
            "{with} written AS (INSERT INTO {traffic} AS t ({columns}{status}) SELECT {values}{initial} FROM {source} \
               WHERE {condition} {order} ON CONFLICT (id) DO UPDATE SET {set} {unequal} RETURNING t.id), \
             rest AS MATERIALIZED (SELECT i.id, {equal} AS equal FROM {source} LEFT JOIN {traffic} t ON t.id = i.id \
               WHERE (SELECT count(*) FROM written) < cardinality($1) AND {condition} \
               AND NOT EXISTS (SELECT FROM written w WHERE w.id = i.id)) \
             SELECT (SELECT count(*) FROM written), (SELECT count(*) FROM rest WHERE rest.equal), \
               ARRAY(SELECT rest.id FROM rest WHERE NOT rest.equal), {orphans}",
            columns = column_list(targets),
            status = initial_status(table).map_or("", |_| ", status"),
            values = value_list(targets),
            set = set_list(given),
            unequal = only_when_unequal(given, touch),
            equal = is_equal(given, touch),
        )
    }

    /// Ids of the rows whose row on Traffic is missing or different now. Parameters as in [`TargetTable::upsert`].
    pub fn differing(&self, touch: Touch) -> String {
        let TargetTable { names, mapping } = *self;
        let table = mapping.table;
        let targets: Vec<&Target> = mapping.targets().iter().collect();
        format!(
            "SELECT i.id FROM {input} LEFT JOIN {traffic} t ON t.id = i.id WHERE NOT {equal}",
            input = input(&targets),
            traffic = names.traffic_table(table),
            equal = is_equal(&given(&targets, mapping), touch),
        )
    }

    /// Replaces the values of `unique` columns that are about to change by fillers, so the rows do not collide
    /// with each other. Parameters as in [`TargetTable::upsert`]. `None` when Landing has no value for any of the columns.
    pub fn give_up(&self, unique: &[UniqueColumn], filler: Filler) -> Option<String> {
        let TargetTable { names, mapping } = *self;
        let table = mapping.table;
        let targets: Vec<&Target> = mapping.targets().iter().collect();
        let given = given(&targets, mapping);
        let columns = unique.iter().filter_map(|column| {
            let target = given.iter().find(|target| target.name == column.name)?;
            let (name, new) = (target.ident(), cast(target));
            // Where Landing has null, Traffic's value stays, so the column does not change.
            let given = if target.keeps_target_when_null() {
                format!("{new} IS NOT NULL AND ")
            } else {
                String::new()
            };
            Some((column, format!("({given}t.{name} IS DISTINCT FROM {new})")))
        });
        let (traffic, input) = (names.traffic_table(table), input(&targets));
        unique::give_up((&traffic, &input), columns, filler)
    }
}

/// The input rows with a lead, and their leads on Traffic. Each lead is locked like in PostgreSQL's foreign
/// key check, because `session_replication_role = replica` disables the check.
fn with_present_leads(names: &Names, targets: &[&Target]) -> String {
    format!(
        "WITH i AS MATERIALIZED (SELECT * FROM {input} WHERE {IS_OPEN}), \
         present AS MATERIALIZED (SELECT l.id FROM {leads} l \
           WHERE l.id = ANY (ARRAY(SELECT DISTINCT i.lead_id::uuid FROM i)) ORDER BY l.id FOR KEY SHARE),",
        input = input(targets),
        leads = names.traffic_table(Table::LandingLeads),
    )
}

/// Inserts new rows in the binary format. Columns: id, synced time, the mapped columns, and for leads
/// `status`.
pub fn copy(names: &Names, mapping: &TableMapping) -> String {
    let table = mapping.table;
    let targets: Vec<&Target> = mapping.targets().iter().collect();
    let status = initial_status(table).map_or("", |_| ", status");
    let (traffic, columns) = (names.traffic_table(table), column_list(&targets));
    format!("COPY {traffic} ({columns}{status}) FROM STDIN (FORMAT binary)")
}

/// Locks the table like an INSERT, so the definition of the table stays the same until the transaction ends.
pub fn hold_table(names: &Names, table: Table) -> String {
    format!("LOCK TABLE {} IN ROW EXCLUSIVE MODE", names.traffic_table(table))
}

/// The `status` of a lead created on Traffic. From then on the column belongs to Traffic.
pub fn initial_status(table: Table) -> Option<&'static str> {
    (table == Table::LandingLeads).then_some("new")
}

/// Locks leads like [`TargetTable::upsert`] does. Answers the ids of the leads missing on Traffic. Parameter: ids.
pub fn lock_leads(names: &Names) -> String {
    format!(
        "WITH present AS MATERIALIZED (SELECT l.id FROM {leads} l WHERE l.id = ANY ($1::uuid[]) ORDER BY l.id \
         FOR KEY SHARE) SELECT i.id FROM unnest($1::uuid[]) AS i(id) WHERE i.id NOT IN (SELECT id FROM present)",
        leads = names.traffic_table(Table::LandingLeads),
    )
}

/// Partial update of leads: `metadata` was not sent, so `metadata` and the values derived from `metadata`
/// alone stay on Traffic. Answers one row for each lead not written although Traffic's row is missing or
/// differs: id; whether Traffic has the lead from Landing; the members of Traffic's `metadata` that the rules
/// read, as the text of an object; whether a trigger left the lead out. Without a trigger, there are two reasons
/// not to write a lead: Traffic does not have the lead, or `funnel_type` is null in the input (the caller knew
/// nothing of the metadata) and a column changes from which, together with the metadata, others are derived.
///
/// Parameters: ids, synced times, then one text array for each of [`TableMapping::partial_update_targets`].
pub fn partial_update_leads(names: &Names, mapping: &TableMapping) -> String {
    let targets: Vec<&Target> = mapping.partial_update_targets().collect();
    let given = given(&targets, mapping);
    // The funnel is never null, so a null says that the metadata was unknown.
    let kept = |target: &Target| match target.is_partly_of_metadata() {
        true => format!("CASE WHEN i.funnel_type IS NULL THEN t.{0} ELSE i.{0} END", target.ident()),
        false => format!("i.{}", target.ident()),
    };
    let sources = targets.iter().filter_map(|target| target.other_source());
    let same: Vec<String> = sources
        .filter_map(|source| given.iter().find(|target| target.verbatim_of() == Some(source)))
        .map(|target| {
            let (new, held) =
                (text_of(&format!("i.{}", target.ident())), text_of(&format!("t.{}", target.ident())));
            format!("{new} IS NOT DISTINCT FROM {held}")
        })
        .collect();
    let new: Vec<String> = given.iter().map(|target| kept(target)).collect();
    let set: Vec<String> =
        given.iter().zip(&new).map(|(target, new)| format!("{} = {new}", target.ident())).collect();
    let differs = differs(given.iter().zip(new).map(|(target, new)| (*target, new)));
    // A row is locked before the comparison, in primary-key order, so the row cannot change between the two.
    format!(
        "WITH i AS MATERIALIZED (SELECT {values} FROM {input}), \
         known AS MATERIALIZED (SELECT t.id FROM {traffic} t JOIN i ON i.id = t.id \
           WHERE t.landing_synced_at IS NOT NULL \
           AND (i.funnel_type IS NOT NULL OR ({same})) \
           ORDER BY t.id FOR NO KEY UPDATE OF t), \
         written AS (UPDATE {traffic} t SET {set}, landing_synced_at = i.landing_synced_at FROM i \
           WHERE t.id = i.id AND t.id IN (SELECT id FROM known) AND ({differs}) RETURNING t.id) \
         SELECT i.id, t.id IS NOT NULL, CASE jsonb_typeof(t.metadata) WHEN 'object' THEN \
             (SELECT jsonb_object_agg(m.key, m.value)::text FROM jsonb_each(t.metadata) AS m \
               WHERE m.key LIKE 'utm%' OR m.key = 'funnel_type') END, false FROM i \
           LEFT JOIN {traffic} t ON t.id = i.id AND t.landing_synced_at IS NOT NULL \
           WHERE NOT EXISTS (SELECT FROM known k WHERE k.id = i.id) \
         UNION ALL SELECT i.id, true, NULL, true FROM i JOIN {traffic} t ON t.id = i.id \
           WHERE (SELECT count(*) FROM written) < (SELECT count(*) FROM known) \
           AND t.id IN (SELECT id FROM known) AND NOT EXISTS (SELECT FROM written w WHERE w.id = i.id) \
           AND ({differs})",
        values = named_value_list(&targets),
        input = input(&targets),
        traffic = names.traffic_table(Table::LandingLeads),
        set = set.join(", "),
        same = same.join(" AND "),
    )
}

/// The text of a column of the row `t`, as the mapping writes the text.
pub fn as_text(target: &Target) -> String {
    TextForm::of_name(&target.sql_type).of(&format!("t.{}", target.ident()))
}

/// Traffic's verbatim values of rows, for changes with unchanged TOAST values. Parameter: ids. Columns of the
/// answer: id, then one text for each of [`TableMapping::verbatim`].
pub fn read_verbatim(names: &Names, mapping: &TableMapping) -> String {
    let columns: String = mapping.verbatim().map(|(_, target)| format!(", {}", as_text(target))).collect();
    format!(
        "SELECT t.id{columns} FROM {} t WHERE t.id = ANY ($1::uuid[]) AND t.landing_synced_at IS NOT NULL",
        names.traffic_table(mapping.table)
    )
}

/// Approximate bytes of the answer of [`read_verbatim`]. Parameter: ids.
pub fn weigh(names: &Names, mapping: &TableMapping) -> String {
    format!(
        "SELECT coalesce(sum({}), 0)::bigint FROM {} t WHERE t.id = ANY ($1::uuid[])",
        budget::weight(mapping.verbatim().map(|(_, target)| target.ident())),
        names.traffic_table(mapping.table)
    )
}

/// The target columns that get a value, because Landing has their source column.
pub(super) fn given<'t>(targets: &[&'t Target], mapping: &TableMapping) -> Vec<&'t Target> {
    targets.iter().copied().filter(|target| mapping.gives(target)).collect()
}

pub(super) fn input(targets: &[&Target]) -> String {
    let fixed = FIXED.iter().map(|(_, sql_type)| *sql_type);
    let arrays: Vec<String> = fixed
        .chain(targets.iter().map(|_| "text"))
        .enumerate()
        .map(|(position, sql_type)| format!("${}::{sql_type}[]", position + 1))
        .collect();
    format!("unnest({}) AS i({})", arrays.join(", "), column_list(targets))
}

fn column_list(targets: &[&Target]) -> String {
    let fixed = FIXED.iter().map(|(name, _)| Cow::Borrowed(*name));
    fixed.chain(targets.iter().map(|target| target.ident())).collect::<Vec<_>>().join(", ")
}

fn value_list(targets: &[&Target]) -> String {
    let fixed = FIXED.iter().map(|(name, _)| format!("i.{name}"));
    fixed.chain(targets.iter().map(|target| cast(target))).collect::<Vec<_>>().join(", ")
}

/// The input's values, cast to the mapping's types, each under its column's name.
fn named_value_list(targets: &[&Target]) -> String {
    let fixed = FIXED.iter().map(|(name, _)| format!("i.{name}"));
    let named = targets.iter().map(|target| format!("{} AS {}", cast(target), target.ident()));
    fixed.chain(named).collect::<Vec<_>>().join(", ")
}

/// New value of a column in an update. Where Landing has null, Traffic's value may stay.
fn updated(target: &Target) -> String {
    let name = target.ident();
    if target.keeps_target_when_null() {
        format!("COALESCE(EXCLUDED.{name}, t.{name})")
    } else {
        format!("EXCLUDED.{name}")
    }
}

fn set_list(targets: &[&Target]) -> String {
    let set = targets.iter().map(|target| format!("{} = {}", target.ident(), updated(target)));
    let synced = "landing_synced_at = EXCLUDED.landing_synced_at".to_owned();
    set.chain([synced]).collect::<Vec<_>>().join(", ")
}

fn only_when_unequal(targets: &[&Target], touch: Touch) -> String {
    if touch == Touch::EveryRow {
        return String::new();
    }
    let new = targets.iter().map(|target| (*target, updated(target)));
    // A row with null `landing_synced_at` is always written, because a row of Landing belongs to Landing even
    // if Traffic had the row before.
    format!("WHERE t.landing_synced_at IS NULL OR {}", differs(new))
}

/// Whether Traffic's row `t` is equal to the input row `i`. Compares every column as text, because a column
/// of `t` may have another type than the mapping's.
fn is_equal(targets: &[&Target], touch: Touch) -> String {
    if touch == Touch::EveryRow {
        return "false".to_owned();
    }
    let equal = |target: &&Target| {
        let (held, value) = (text_of(&format!("t.{}", target.ident())), text_of(&cast(target)));
        match target.keeps_target_when_null() {
            true => format!("(i.{} IS NULL OR {held} IS NOT DISTINCT FROM {value})", target.ident()),
            false => format!("{held} IS NOT DISTINCT FROM {value}"),
        }
    };
    let all: Vec<String> = targets.iter().map(equal).collect();
    format!("(t.landing_synced_at IS NOT NULL AND {})", all.join(" AND "))
}

/// Whether a value of the row `t` has another text than the new value. A type's own equality may be coarser
/// than equality of texts: jsonb takes 5 for 5.00, a nondeterministic collation takes upper case for lower
/// case. The texts of jsonb are computed only where all else is equal.
fn differs<'t>(values: impl Iterator<Item = (&'t Target, String)>) -> String {
    let (mut held, mut new, mut documents) = (Vec::new(), Vec::new(), String::new());
    for (target, value) in values {
        let column = format!("t.{}", target.ident());
        match &*target.sql_type {
            "jsonb" => {
                let (text, new_text) = (text_of(&column), text_of(&value));
                documents +=
                    &format!(" OR {column} IS DISTINCT FROM {value} OR {text} IS DISTINCT FROM {new_text}");
            }
            "uuid" | "boolean" | "integer" | "bigint" | "smallint" | "timestamptz" => {
                held.push(column);
                new.push(value);
            }
            // A type may have no equality, or a coarser one.
            _ => {
                held.push(text_of(&column));
                new.push(text_of(&value));
            }
        }
    }
    format!("({}) IS DISTINCT FROM ({}){documents}", held.join(", "), new.join(", "))
}

/// The value as text, for a comparison byte by byte.
pub(super) fn text_of(value: &str) -> String {
    format!("({value})::text COLLATE \"C\"")
}

/// The input's value of a column, cast to the mapping's type.
pub(super) fn cast(target: &Target) -> String {
    format!("i.{}::{}", target.ident(), target.sql_type)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::{self, Mapping};
    use crate::model::change::ColumnType;

    fn upsert(table: Table) -> String {
        let mapping = Mapping::whole();
        TargetTable { names: &Names::default(), mapping: mapping.of(table) }.upsert(Touch::OnlyChanges)
    }

    #[test]
    fn an_update_never_names_a_column_that_traffic_owns() {
        let sql = upsert(Table::LandingLeads);
        let update = sql.split("DO UPDATE").nth(1).unwrap().split("RETURNING").next().unwrap();
        for owned in ["status", "amocrm_pipeline_id", "amocrm_status_id"] {
            assert!(!update.contains(owned), "{owned}");
        }
        assert!(update.contains("fb_ad_id = COALESCE(EXCLUDED.fb_ad_id, t.fb_ad_id)"));
    }

    #[test]
    fn what_is_equal_for_its_type_only_is_compared_as_text() {
        for table in Table::ALL {
            let sql = upsert(table);
            let update = sql.split("DO UPDATE").nth(1).unwrap().split("RETURNING").next().unwrap();
            for target in mapping::known_targets(table) {
                let is_coarse = matches!(&*target.sql_type, "jsonb" | "text");
                let as_text = text_of(&format!("t.{}", target.name));
                assert_eq!(update.contains(&as_text), is_coarse, "{}", target.name);
            }
        }
    }

    #[test]
    fn every_landing_text_can_be_restored_from_traffic() {
        for table in Table::ALL {
            let mapping = Mapping::whole();
            let restored: Vec<_> = mapping.of(table).verbatim().map(|(column, _)| column).collect();
            let can_be_toasted = |kind| matches!(kind, ColumnType::Text | ColumnType::Jsonb);
            for (at, column) in table.columns().iter().enumerate().filter(|(_, c)| can_be_toasted(c.kind)) {
                assert!(restored.contains(&at), "{}", column.name);
            }
        }
    }
}
