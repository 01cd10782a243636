//! The SQL that writes to Traffic, built from the mapping's tables; pure.
//!
//! Rows travel as arrays, one per column, so that a batch is one round trip per table. Texts are cast on the
//! server: PostgreSQL alone decides what it can read.

use crate::budget;
use crate::change::{Table, lead};
use crate::database::pipelined::IS_OPEN;
use crate::database::unique::{self, Filler, UniqueColumn};
use crate::mapping::{self, Absent, Target};
use crate::names::Names;

/// The columns that stand before the mapped ones in every set of rows: their name and array type.
pub(super) const FIXED: [(&str, &str); 2] = [("id", "uuid"), ("landing_synced_at", "timestamptz")];

/// Whether a row that is equal already is written all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// The stream: what changes nothing writes nothing (guarantees 4.3).
    OnlyChanges,
    /// The snapshot: every row gets its `landing_synced_at`, by which the rows it did not touch are found.
    EveryRow,
}

/// Upsert of one table's rows. Parameters: ids, synced times, then one text array for each target column. A row that is
/// there keeps what comes from the columns that Landing lacks, `absent`. Writes nothing outside of a transaction of ours,
/// as [`IS_OPEN`] says.
///
/// Each row is answered for, in one row of four columns: how many rows were written; how many were equal already; the
/// ids of those that are neither, as far as the statement's snapshot shows; the ids of those whose lead is not there.
pub fn upsert(names: &Names, table: Table, absent: &Absent, touch: Touch) -> String {
    let targets: Vec<&Target> = mapping::targets(table).iter().collect();
    let (targets, given) = (&targets, &given(&targets, absent));
    let traffic = names.traffic_table(table);
    let lead_is_there = "EXISTS (SELECT FROM present p WHERE p.id = i.lead_id::uuid)";
    let has_lead = table.lead_column().is_some();
    // The arrays are in primary-key order and a function scan keeps it: locks are taken in that order.
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
    // Rows are looked at again only when some were not written.
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

/// The input of rows that belong to a lead, and those of their leads that are there. A lead is locked as PostgreSQL's own
/// foreign key check would lock it, since that check does not run under `session_replication_role = replica`.
fn with_present_leads(names: &Names, targets: &[&Target]) -> String {
    format!(
        "WITH i AS MATERIALIZED (SELECT * FROM {input} WHERE {IS_OPEN}), \
         present AS MATERIALIZED (SELECT l.id FROM {leads} l \
           WHERE l.id = ANY (ARRAY(SELECT DISTINCT i.lead_id::uuid FROM i)) ORDER BY l.id FOR KEY SHARE),",
        input = input(targets),
        leads = names.traffic_table(Table::LandingLeads),
    )
}

/// Those of the rows that Traffic does not hold as they are to be written, now. Parameters as in [`upsert`].
pub fn differing(names: &Names, table: Table, absent: &Absent, touch: Touch) -> String {
    let targets: Vec<&Target> = mapping::targets(table).iter().collect();
    format!(
        "SELECT i.id FROM {input} LEFT JOIN {traffic} t ON t.id = i.id WHERE NOT {equal}",
        input = input(&targets),
        traffic = names.traffic_table(table),
        equal = is_equal(&given(&targets, absent), touch),
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

/// Locks leads as [`upsert`] does, and answers those that are not there. Parameter: ids.
pub fn lock_leads(names: &Names) -> String {
    format!(
        "WITH present AS MATERIALIZED (SELECT l.id FROM {leads} l WHERE l.id = ANY ($1::uuid[]) ORDER BY l.id \
         FOR KEY SHARE) SELECT i.id FROM unnest($1::uuid[]) AS i(id) WHERE i.id NOT IN (SELECT id FROM present)",
        leads = names.traffic_table(Table::LandingLeads),
    )
}

/// Update of leads whose `metadata` was left alone: it and what comes from it stay on the server as they are.
/// Answers the rows that it has not written although they differ: id, whether Traffic has the row from Landing, what
/// its metadata declares as the funnel, and whether it should have been written. It could not be when the row is not
/// there, or when `funnel_type` is null and the source is another one now, so that the funnel must be computed again.
///
/// Parameters: ids, synced times, then one text array for each of [`mapping::partial_update_targets`].
pub fn partial_update_leads(names: &Names, absent: &Absent) -> String {
    let targets: Vec<&Target> = mapping::partial_update_targets().collect();
    let given = given(&targets, absent);
    let kept = |target: &Target| match target.is_partly_of_metadata() {
        true => format!("COALESCE(i.{0}, t.{0})", target.name),
        false => format!("i.{}", target.name),
    };
    let new: Vec<String> = given.iter().map(|target| kept(target)).collect();
    let set: Vec<String> =
        given.iter().zip(&new).map(|(target, new)| format!("{} = {new}", target.name)).collect();
    let differs = differs(given.iter().zip(new).map(|(target, new)| (*target, new)));
    // A row is locked before it is judged, in primary-key order: it cannot change between the two.
    format!(
        "WITH i AS MATERIALIZED (SELECT {values} FROM {input}), \
         known AS MATERIALIZED (SELECT t.id FROM {traffic} t JOIN i ON i.id = t.id \
           WHERE t.landing_synced_at IS NOT NULL \
           AND (i.funnel_type IS NOT NULL \
             OR {landing_source} IS NOT DISTINCT FROM {held_source}) \
           ORDER BY t.id FOR NO KEY UPDATE OF t), \
         written AS (UPDATE {traffic} t SET {set}, landing_synced_at = i.landing_synced_at FROM i \
           WHERE t.id = i.id AND t.id IN (SELECT id FROM known) AND ({differs}) RETURNING t.id) \
         SELECT i.id, t.id IS NOT NULL, t.metadata->>'funnel_type', false FROM i \
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
        landing_source = text_of("i.landing_source"),
        held_source = text_of("t.landing_source"),
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

/// Lets rows give up the values of `unique` columns that they are about to change. Parameters as in [`upsert`]. `None`
/// when Landing gives none of these columns a value.
pub fn give_up(
    names: &Names,
    table: Table,
    absent: &Absent,
    unique: &[UniqueColumn],
    filler: Filler,
) -> Option<String> {
    let targets: Vec<&Target> = mapping::targets(table).iter().collect();
    let given = given(&targets, absent);
    let columns = unique.iter().filter_map(|column| {
        let target = given.iter().find(|target| target.name == column.name)?;
        let (name, new) = (target.name, cast(target));
        // What Landing gives no value keeps Traffic's.
        let given =
            if target.keeps_target_when_null() { format!("{new} IS NOT NULL AND ") } else { String::new() };
        Some((column, format!("({given}t.{name} IS DISTINCT FROM {new})")))
    });
    let (set, changed) = unique::give_up("t", columns, filler)?;
    let (traffic, input) = (names.traffic_table(table), input(&targets));
    Some(format!("UPDATE {traffic} AS t SET {set} FROM {input} WHERE t.id = i.id AND ({changed})"))
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

/// The bytes of what [`read_verbatim`] would answer, about. Parameter: ids.
pub fn weigh(names: &Names, table: Table) -> String {
    format!(
        "SELECT coalesce(sum({}), 0)::bigint FROM {} t WHERE t.id = ANY ($1::uuid[])",
        budget::weight(restorable(table).iter().map(|(_, target)| target.name)),
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

/// Those that Landing gives a value.
fn given<'t>(targets: &[&'t Target], absent: &Absent) -> Vec<&'t Target> {
    targets.iter().copied().filter(|target| absent.leaves(target)).collect()
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
    fixed.chain(targets.iter().map(|target| cast(target))).collect::<Vec<_>>().join(", ")
}

/// The same, each under its own name.
fn named_value_list(targets: &[&Target]) -> String {
    let fixed = FIXED.iter().map(|(name, _)| format!("i.{name}"));
    let named = targets.iter().map(|target| format!("{} AS {}", cast(target), target.name));
    fixed.chain(named).collect::<Vec<_>>().join(", ")
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
    let new = targets.iter().map(|target| (*target, updated(target)));
    // A row that Landing has is Landing's, whoever brought it to Traffic.
    format!("WHERE t.landing_synced_at IS NULL OR {}", differs(new))
}

/// Whether Traffic's row `t` needs no write to become the row `i`. All columns are compared as text: that of `i` has the
/// mapping's type, that of `t` may have been given another one.
fn is_equal(targets: &[&Target], touch: Touch) -> String {
    if touch == Touch::EveryRow {
        return "false".to_owned();
    }
    let equal = |target: &&Target| {
        let (held, value) = (text_of(&format!("t.{}", target.name)), text_of(&cast(target)));
        match target.keeps_target_when_null() {
            true => format!("(i.{} IS NULL OR {held} IS NOT DISTINCT FROM {value})", target.name),
            false => format!("{held} IS NOT DISTINCT FROM {value}"),
        }
    };
    let all: Vec<String> = targets.iter().map(equal).collect();
    format!("(t.landing_synced_at IS NOT NULL AND {})", all.join(" AND "))
}

/// Whether a row `t` holds another text in one of these columns than the new value has. A type's own equality may be
/// coarser than its text: jsonb takes 5 for 5.00, a nondeterministic collation upper case for lower case. The texts of
/// jsonb are made only where all else is equal.
fn differs<'t>(values: impl Iterator<Item = (&'t Target, String)>) -> String {
    let (mut held, mut new, mut documents) = (Vec::new(), Vec::new(), String::new());
    for (target, value) in values {
        let column = format!("t.{}", target.name);
        match target.sql_type {
            "jsonb" => {
                let (text, new_text) = (text_of(&column), text_of(&value));
                documents +=
                    &format!(" OR {column} IS DISTINCT FROM {value} OR {text} IS DISTINCT FROM {new_text}");
            }
            "text" => {
                held.push(text_of(&column));
                new.push(text_of(&value));
            }
            _ => {
                held.push(column);
                new.push(value);
            }
        }
    }
    format!("({}) IS DISTINCT FROM ({}){documents}", held.join(", "), new.join(", "))
}

/// Its text, compared byte by byte.
fn text_of(value: &str) -> String {
    format!("({value})::text COLLATE \"C\"")
}

/// An input's value of the mapping's type.
fn cast(target: &Target) -> String {
    format!("i.{}::{}", target.name, target.sql_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_never_names_a_column_that_traffic_owns() {
        let none = Absent::none(Table::LandingLeads);
        let sql = upsert(&Names::default(), Table::LandingLeads, &none, Touch::OnlyChanges);
        let update = sql.split("DO UPDATE").nth(1).unwrap().split("RETURNING").next().unwrap();
        for owned in ["status", "amocrm_pipeline_id", "amocrm_status_id"] {
            assert!(!update.contains(owned), "{owned}");
        }
        assert!(update.contains("fb_ad_id = COALESCE(EXCLUDED.fb_ad_id, t.fb_ad_id)"));
    }

    #[test]
    fn what_is_equal_for_its_type_only_is_compared_as_text() {
        for table in Table::ALL {
            let sql = upsert(&Names::default(), table, &Absent::none(table), Touch::OnlyChanges);
            let update = sql.split("DO UPDATE").nth(1).unwrap().split("RETURNING").next().unwrap();
            for target in mapping::targets(table) {
                let is_coarse = matches!(target.sql_type, "jsonb" | "text");
                let as_text = text_of(&format!("t.{}", target.name));
                assert_eq!(update.contains(&as_text), is_coarse, "{}", target.name);
            }
        }
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
