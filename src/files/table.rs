//! Copies one table from the snapshot to a file.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::pin::pin;

use futures_util::StreamExt as _;
use postgres_protocol::escape::escape_identifier;
use sha2::{Digest as _, Sha256};
use tokio_postgres::Client;
use uuid::Uuid;

use super::directory::{self, Directory};
use super::format::{self, Format};
use super::manifest::{ColumnSequence, FileColumn, GeneratedColumn, TableFile};
use crate::error::{Error, Result};
use crate::model::budget;
use crate::model::change::Table;
use crate::model::sha256;
use crate::postgres::step::during;
use crate::postgres::{Database, large};

/// Writes the rows of a table in the open snapshot to a file under a temporary name.
pub(super) async fn write(database: Database<'_>, table: Table, directory: &Directory) -> Result<TableFile> {
    let (name, format) = (database.table(table), directory.format());
    let (columns, generated) = columns(database.client, &name).await?;
    let list: Vec<String> = columns.iter().map(|column| escape_identifier(&column.name)).collect();
    let step = format!("copying {name} from {}", database.side.name());
    let file = directory::file_name(database, table, format);
    let mut copy = CopiedTable {
        format,
        columns,
        out: HashedFile::new(directory.create(&file)?),
        broken: &|error| directory::failed("writing", &directory.path().join(&file), &error),
        rows: 0,
        has_end_marker: false,
    };
    for (at, part) in parts(database, table, &copy.columns).await?.into_iter().enumerate() {
        let sql = format!(
            "COPY (SELECT {} FROM {name} AS t WHERE {part} ORDER BY t.id) TO STDOUT ({})",
            list.join(", "),
            if at == 0 { format.copy_options() } else { format.further_options() }
        );
        copy.part(database.client, &sql, &step, at == 0).await?;
    }
    let CopiedTable { columns, out, broken, rows, has_end_marker, .. } = copy;
    let (bytes, sha256) = out.finish().map_err(broken)?;
    Ok(TableFile {
        table: name,
        holds: table,
        file: file.clone(),
        rows,
        bytes,
        sha256,
        has_end_marker,
        columns,
        generated,
    })
}

/// Conditions on a row `t` that divide the table: a row that must be alone in memory is a part of its own,
/// because the connection reads several rows ahead. The parts are in the order of their keys.
async fn parts(database: Database<'_>, table: Table, columns: &[FileColumn]) -> Result<Vec<String>> {
    if !large::may_hold(database, table).await? {
        return Ok(vec!["true".to_owned()]);
    }
    let idents: Vec<String> =
        columns.iter().map(|column| format!("t.{}", escape_identifier(&column.name))).collect();
    let sql = format!(
        "SELECT t.id, {} FROM {} AS t WHERE {} ORDER BY t.id",
        budget::weight(&idents),
        database.table(table),
        budget::is_large(&idents)
    );
    let step = database.during(format!("looking for large rows of {}", database.table(table)));
    let (mut parts, mut after) = (Vec::new(), "true".to_owned());
    for row in step.rows(&sql, &[]).await? {
        if budget::TOGETHER.is_exceeded_by(row.get::<_, i64>(1).unsigned_abs()) {
            let id: Uuid = row.get(0);
            parts.push(format!("{after} AND t.id < '{id}'"));
            parts.push(format!("t.id = '{id}'"));
            after = format!("t.id > '{id}'");
        }
    }
    parts.push(after);
    Ok(parts)
}

/// A table while its rows are written.
struct CopiedTable<'c> {
    format: Format,
    columns: Vec<FileColumn>,
    out: HashedFile,
    broken: &'c (dyn Fn(io::Error) -> Error + Sync),
    rows: u64,
    has_end_marker: bool,
}

impl CopiedTable<'_> {
    /// Writes the answer of a COPY. In CSV the answer to the `first` COPY begins with a header.
    async fn part(&mut self, session: &Client, sql: &str, step: &str, first: bool) -> Result<()> {
        let failed = |error| Error::database(step, &error);
        let mut copied = pin!(session.copy_out(sql).await.map_err(failed)?);
        let mut is_header = first && self.format == Format::Csv;
        // The server sends each row in a separate message, after a message with the header in CSV.
        while let Some(row) = copied.next().await {
            let row = row.map_err(failed)?;
            self.rows += u64::from(!std::mem::take(&mut is_header));
            match self.format {
                Format::Csv => {
                    self.has_end_marker |=
                        row.starts_with(br"\.") || row.windows(3).any(|part| part == b"\n\\.");
                    self.out.write(&row)
                }
                Format::Jsonl => {
                    let line = format::json_line(&self.columns, &row);
                    self.out.write(&line.map_err(|error| error.context(step))?)
                }
            }
            .map_err(self.broken)?;
        }
        Ok(())
    }
}

/// All columns of the table: the stored columns, and the columns that PostgreSQL computes.
async fn columns(session: &Client, name: &str) -> Result<(Vec<FileColumn>, Vec<GeneratedColumn>)> {
    let sql = "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), \
               CASE WHEN a.attgenerated <> '' THEN pg_get_expr(d.adbin, d.adrelid) END, \
               s.seqrelid::regclass::text, s.seqincrement, s.seqmin, s.seqmax \
               FROM pg_attribute AS a LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
               LEFT JOIN LATERAL (SELECT s.* FROM pg_depend AS p JOIN pg_sequence AS s ON \
                   (p.classid, p.objid, p.refclassid, p.refobjid, p.refobjsubid, p.deptype) = ('pg_class'::regclass, \
                       s.seqrelid, 'pg_class'::regclass, a.attrelid, a.attnum::int, 'i') \
                   OR (p.classid, p.objid, p.refclassid, p.refobjid) = ('pg_attrdef'::regclass, \
                       d.oid, 'pg_class'::regclass, s.seqrelid) LIMIT 1) AS s ON true \
               WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";
    let rows = during(session, format!("reading the columns of {name}")).rows(sql, &[&name]).await?;
    let (mut columns, mut generated) = (Vec::new(), Vec::new());
    for row in rows {
        let name: Option<String> = row.get(3);
        let sequence = name.map(|name| ColumnSequence {
            name,
            increment: row.get(4),
            least: row.get(5),
            most: row.get(6),
        });
        let column = FileColumn { name: row.get(0), sql_type: row.get(1), sequence };
        match row.get(2) {
            None => columns.push(column),
            Some(expression) => generated.push(GeneratedColumn { column, expression }),
        }
    }
    Ok((columns, generated))
}

/// A file with the hash and the size of the written bytes. Writes block the thread, because nothing else
/// waits for the thread.
struct HashedFile {
    file: BufWriter<File>,
    hash: Sha256,
    bytes: u64,
}

impl HashedFile {
    fn new(file: File) -> Self {
        HashedFile { file: BufWriter::with_capacity(1 << 18, file), hash: Sha256::new(), bytes: 0 }
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    /// Flushes the file to disk. Returns size and hash.
    fn finish(mut self) -> std::io::Result<(u64, String)> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        Ok((self.bytes, sha256::hexadecimal(&self.hash.finalize())))
    }
}
