//! Landing's tables: are they there, with the columns that the mapping needs, and do updates name their row?

use tokio_postgres::Client;

use super::{Findings, Outcome, Verdict};
use crate::change::Table;
use crate::checkpoint::Published;
use crate::database::Side;
use crate::error::{Error, Result};
use crate::names::Names;

/// A table that is not there is one finding.
pub async fn examine(findings: &mut Findings, client: &Client, names: &Names, table: Table) {
    let side = Some(Side::Landing);
    let found = match columns_of(client, &names.landing_table(table)).await {
        Ok(found) => found,
        Err(error) => return findings.add("columns", side, Err(error)),
    };
    if found.is_empty() {
        let missing = Verdict::error(
            format!("table {} is missing", names.landing_table(table)),
            "check the database's name in LANDING_DATABASE_URL and [names] landing_schema",
        );
        return findings.add("columns", side, Ok(missing));
    }
    findings.add("columns", side, Ok(columns(&found, table)));
    findings.add("replica_identity", side, replica_identity(client, names, table).await);
}

/// A needed column that is missing or of another type is an error. What comes of an optional one that is missing is
/// Traffic's. A generated one is an error too: a snapshot would read it, and the stream does not send it.
fn columns(found: &[Found], table: Table) -> Verdict {
    let name = table.landing_name();
    let generated: Vec<String> = found
        .iter()
        .filter(|column| column.generated && Published::is_read(table, &column.name))
        .map(|column| format!("{name}.{}", column.name))
        .collect();
    if !generated.is_empty() {
        return Verdict::error(
            format!("generated columns are not in the stream: {}", generated.join(", ")),
            "make them ordinary columns, which the application fills (ALTER TABLE … ALTER COLUMN … DROP EXPRESSION \
             keeps what is stored)",
        );
    }
    let (mut wrong, mut absent) = (Vec::new(), Vec::new());
    for column in table.columns() {
        match found.iter().find(|found| found.name == column.name) {
            Some(found) if column.kind.accepts(found.type_oid) => {}
            Some(Found { type_name, .. }) => {
                let expected = column.kind.accepted_names();
                wrong.push(format!("{name}.{} is {type_name}, not {expected}", column.name));
            }
            None if column.required => wrong.push(format!("{name}.{} is missing", column.name)),
            None if Published::is_read(table, column.name) => absent.push(column.name),
            None => {}
        }
    }
    let fine = match absent.as_slice() {
        [] => format!("{name} has every column"),
        absent => format!(
            "{name} has what is needed; without {}: these columns are Traffic's own, in every direction",
            absent.join(", ")
        ),
    };
    let remedy = "give the columns the names and types that the mapping knows; see the table in the README";
    Verdict::none_of(&wrong, &fine, "columns do not fit", remedy)
}

/// A column as the catalog has it.
struct Found {
    name: String,
    type_oid: u32,
    type_name: String,
    generated: bool,
}

async fn columns_of(client: &Client, table: &str) -> Result<Vec<Found>> {
    let sql = "SELECT a.attname::text, t.oid, t.typname::text, a.attgenerated <> '' FROM pg_attribute AS a \
               JOIN pg_type AS t ON t.oid = a.atttypid WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped";
    let rows = client
        .query(sql, &[&table])
        .await
        .map_err(|error| Error::database(format_args!("reading the columns of {table}"), &error))?;
    Ok(rows
        .iter()
        .map(|row| Found {
            name: row.get(0),
            type_oid: row.get(1),
            type_name: row.get(2),
            generated: row.get(3),
        })
        .collect())
}

/// Published without a usable replica identity, the *application's* updates and deletes would fail.
async fn replica_identity(client: &Client, names: &Names, table: Table) -> Outcome {
    let quoted = names.landing_table(table);
    let sql = "SELECT c.relreplident::text, c.relkind::text, COALESCE(bool_or(a.attname = 'id'), false) \
               FROM pg_class AS c LEFT JOIN pg_index AS i ON i.indrelid = c.oid AND i.indisvalid \
               AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident END \
               LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey) \
               WHERE c.oid = to_regclass($1) GROUP BY c.relreplident, c.relkind";
    let row = client
        .query_one(sql, &[&quoted])
        .await
        .map_err(|error| Error::database(format_args!("reading the replica identity of {quoted}"), &error))?;
    let (identity, kind, has_id): (String, String, bool) = (row.get(0), row.get(1), row.get(2));
    let name = table.landing_name();
    let remedy =
        format!("run on Landing: ALTER TABLE {quoted} REPLICA IDENTITY DEFAULT (with a primary key on id)");
    Ok(match (identity.as_str(), has_id) {
        _ if kind != "r" => Verdict::error(
            format!("{name} is no plain table"),
            "leadbridge replicates plain tables; views and partitioned tables are not supported",
        ),
        ("f", _) => Verdict::ok(format!("{name}: the whole row is the replica identity")),
        ("d", true) => Verdict::ok(format!("{name}: the primary key on id is the replica identity")),
        ("i", true) => Verdict::ok(format!("{name}: an index with id is the replica identity")),
        ("n", _) => Verdict::error(format!("{name}: replica identity is NOTHING"), remedy),
        _ => Verdict::error(format!("{name}: the replica identity does not contain id"), remedy),
    })
}
