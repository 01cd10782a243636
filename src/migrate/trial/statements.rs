//! The statements of a trial: an INSERT, an UPDATE and a DELETE as each role, as far as the role may write, with
//! invented values.

use std::collections::{BTreeMap, BTreeSet};

use postgres_protocol::escape::{escape_identifier, escape_literal};
use uuid::Uuid;

use super::{Attempt, TriedWriters};
use crate::error::Result;
use crate::model::change::Table;
use crate::postgres::Database;
use crate::postgres::writers::TableWriter;

/// What a trial runs.
pub(super) struct PlannedStatements {
    pub attempts: Vec<Attempt>,
    /// Statements that make a row of each table, parents first.
    pub rows: Vec<String>,
    pub writers: TriedWriters,
}

/// A column that takes values.
struct Column {
    name: String,
    /// Whether an INSERT must name the column.
    is_required: bool,
    /// PostgreSQL's category of the type, and for an enumeration the first label.
    category: char,
    label: Option<String>,
    type_name: String,
}

/// Values of the columns that leadbridge knows, for a new row and for a changed row. `{lead}` stands for the key of the
/// trial's lead.
const VALUES: [(&str, &str, Option<&str>); 8] = [
    ("name", "leadbridge trial", Some("leadbridge trial, changed")),
    ("phone", "+70000000000", Some("+70000000001")),
    ("email", "trial@leadbridge.invalid", Some("changed@leadbridge.invalid")),
    ("lead_id", "{lead}", None),
    ("stage", "leadbridge_trial", Some("leadbridge_changed")),
    ("notification_type", "email", Some("sms")),
    ("scheduled_for", "now", Some("tomorrow")),
    ("metadata", "{}", Some("{\"leadbridge\": \"trial\"}")),
];

/// Plans the statements. `lead` is the key of the lead to which the rows of other tables refer.
pub(super) async fn plan(database: Database<'_>, tables: &[Table], lead: Uuid) -> Result<PlannedStatements> {
    let mut planned = PlannedStatements { attempts: vec![], rows: vec![], writers: TriedWriters::default() };
    let (mut tried, mut untried) = (BTreeSet::new(), BTreeSet::new());
    for table in tables {
        let columns = columns(database, *table).await?;
        if columns.is_empty() {
            continue;
        }
        let id = if *table == Table::LandingLeads { lead } else { Uuid::new_v4() };
        let name = database.table(*table);
        planned.rows.push(row(&name, &columns, (id, lead)));
        let target = format!("SELECT 1 FROM {name} WHERE id = '{id}' FOR UPDATE");
        let rights = rights(database, &name).await?;
        let is_made = is_made(database, *table).await?;
        for writer in TableWriter::read(database.client, std::slice::from_ref(&name)).await? {
            // Nobody is a predefined role; the members of such a role are tried.
            let is_closed_on_purpose = is_made && matches!(writer.role.as_str(), "anon" | "authenticated");
            if writer.role.starts_with("pg_") || is_closed_on_purpose {
                continue;
            }
            if !writer.is_assumable || !(writer.inserts || writer.updates.is_some() || writer.deletes) {
                untried.insert(writer.role);
                continue;
            }
            tried.insert(writer.role.clone());
            let rights = rights.get(&writer.role);
            planned.attempts.extend(attempts(&writer, (&name, &target), &columns, rights, lead));
        }
    }
    untried.retain(|role| !tried.contains(role));
    planned.writers =
        TriedWriters { tried: tried.into_iter().collect(), not_tried: untried.into_iter().collect() };
    Ok(planned)
}

/// Whether leadbridge has made the table. Row-level security of such a table is switched on again, and closes the table to
/// `anon` and `authenticated`, because Traffic shows these roles no more than Landing does.
async fn is_made(database: Database<'_>, table: Table) -> Result<bool> {
    let record = database.names.own("api_objects");
    let step = database.during(format!("reading which tables leadbridge has made on the {}", database.side));
    if !step.finds(&record).await? {
        return Ok(false);
    }
    let sql = format!("SELECT EXISTS (SELECT FROM {record} WHERE name = $1 AND is_ours)");
    Ok(step.row(&sql, &[&table.traffic_name()]).await?.get(0))
}

/// Columns into which a role may insert, and columns that the role may update.
#[derive(Default)]
struct ColumnRights {
    inserts: Vec<String>,
    updates: Vec<String>,
}

async fn columns(database: Database<'_>, table: Table) -> Result<Vec<Column>> {
    let sql = "SELECT a.attname::text, a.attnotnull AND NOT a.atthasdef AND a.attidentity = '', t.typcategory,
                      (SELECT e.enumlabel::text FROM pg_enum AS e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder LIMIT 1),
                      t.typname::text
               FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
               WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
                 AND a.attidentity <> 'a' ORDER BY a.attnum";
    let step = database.during(format!("reading the columns to write on the {}", database.side));
    let rows = step.rows(sql, &[&database.table(table)]).await?;
    let column = |row: &tokio_postgres::Row| Column {
        name: row.get(0),
        is_required: row.get(1),
        category: char::from(row.get::<_, i8>(2).unsigned_abs()),
        label: row.get(3),
        type_name: row.get(4),
    };
    Ok(rows.iter().map(column).collect())
}

/// The rights on columns of each role with any right to write.
async fn rights(database: Database<'_>, table: &str) -> Result<BTreeMap<String, ColumnRights>> {
    let sql = "SELECT r.rolname::text, a.attname::text, has_column_privilege(r.oid, a.attrelid, a.attnum, 'INSERT'),
                      has_column_privilege(r.oid, a.attrelid, a.attnum, 'UPDATE')
               FROM pg_roles AS r, pg_attribute AS a
               WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped
                 AND has_any_column_privilege(r.oid, a.attrelid, 'INSERT, UPDATE') ORDER BY r.rolname, a.attnum";
    let step = database.during(format!("reading who may write which column on the {}", database.side));
    let mut rights: BTreeMap<String, ColumnRights> = BTreeMap::new();
    for row in step.rows(sql, &[&table]).await? {
        let of = rights.entry(row.get(0)).or_default();
        if row.get(2) {
            of.inserts.push(row.get(1));
        }
        if row.get(3) {
            of.updates.push(row.get(1));
        }
    }
    Ok(rights)
}

/// The statement that makes a row with the key `id`.
fn row(table: &str, columns: &[Column], (id, lead): (Uuid, Uuid)) -> String {
    let mut names = vec!["id".to_owned()];
    let mut values = vec![format!("'{id}'")];
    for column in columns.iter().filter(|column| column.name != "id") {
        if let Some(value) = inserted(column, lead) {
            names.push(escape_identifier(&column.name));
            values.push(value);
        }
    }
    format!("INSERT INTO {table} ({}) VALUES ({})", names.join(", "), values.join(", "))
}

/// The value of a new row: for a column that leadbridge knows, and for a column that needs one.
fn inserted(column: &Column, lead: Uuid) -> Option<String> {
    let known = VALUES.iter().find(|(name, ..)| *name == column.name);
    if let Some((_, value, _)) = known {
        return Some(escape_literal(&value.replace("{lead}", &lead.to_string())));
    }
    if !column.is_required {
        return None;
    }
    Some(match (column.category, column.type_name.as_str()) {
        (_, "uuid") => "pg_catalog.gen_random_uuid()".to_owned(),
        (_, "json" | "jsonb") | ('A', _) => "'{}'".to_owned(),
        ('N', _) => "0".to_owned(),
        ('B', _) => "false".to_owned(),
        ('D', _) => "'now'".to_owned(),
        ('T', _) => "'0'".to_owned(),
        ('E', _) => escape_literal(column.label.as_deref().unwrap_or_default()),
        _ => "''".to_owned(),
    })
}

/// The writes of one role to one table, as far as the role may write. Each statement needs no other right than the
/// right to that kind of write.
fn attempts(
    writer: &TableWriter,
    (table, target): (&str, &str),
    columns: &[Column],
    rights: Option<&ColumnRights>,
    lead: Uuid,
) -> Vec<Attempt> {
    let none = ColumnRights::default();
    let rights = rights.unwrap_or(&none);
    let attempt = |kind: &str, statement: String, target: Option<&str>| Attempt {
        role: writer.role.clone(),
        what: format!("{kind} {}", writer.table),
        statement,
        table: table.to_owned(),
        calls_indexes: kind != "DELETE from",
        target: target.map(str::to_owned),
    };
    let mut attempts = Vec::new();
    if writer.inserts {
        let given = columns
            .iter()
            .filter(|column| rights.inserts.contains(&column.name))
            .filter_map(|column| Some((escape_identifier(&column.name), inserted(column, lead)?)));
        let (names, values): (Vec<_>, Vec<_>) = given.unzip();
        let statement = match names.is_empty() {
            true => format!("INSERT INTO {table} DEFAULT VALUES"),
            false => format!("INSERT INTO {table} ({}) VALUES ({})", names.join(", "), values.join(", ")),
        };
        attempts.push(attempt("INSERT into", statement, None));
    }
    let changed: Vec<String> = columns
        .iter()
        .filter(|column| rights.updates.contains(&column.name))
        .filter_map(|column| {
            let (_, _, value) = VALUES.iter().find(|(name, ..)| *name == column.name)?;
            Some(format!("{} = {}", escape_identifier(&column.name), escape_literal((*value)?)))
        })
        .collect();
    match &writer.updates {
        Some(_) if !changed.is_empty() => {
            let statement =
                format!("UPDATE {table} SET {} WHERE CURRENT OF leadbridge_trial", changed.join(", "));
            attempts.push(attempt("UPDATE of", statement, Some(target)));
        }
        Some(column) => {
            let statement = format!("UPDATE {table} SET {column} = DEFAULT WHERE false");
            attempts.push(attempt("UPDATE of", statement, None));
        }
        None => {}
    }
    if writer.deletes {
        let statement = format!("DELETE FROM {table} WHERE CURRENT OF leadbridge_trial");
        attempts.push(attempt("DELETE from", statement, Some(target)));
    }
    attempts
}
