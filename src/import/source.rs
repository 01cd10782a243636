//! Rows of a table's file as rows of Landing, in batches.

use std::path::Path;
use std::sync::Arc;

use super::columns;
use crate::batch::{Batch, BatchLimits, Collector};
use crate::error::{Error, Result};
use crate::files::{FileRow, Format, RowReader, TableFile};
use crate::language::message;
use crate::mapping::TableMapping;
use crate::model::change::{Change, Datum, Operation, Origin, Position, Row, SourcedChange};

/// The rest of one file.
pub(super) struct FileSource {
    reader: RowReader,
    mapping: Arc<TableMapping>,
    positions: Vec<Option<usize>>,
    name: String,
}

impl FileSource {
    /// Opens a file at the row that begins at byte `offset`; 0 stands for the first row.
    pub fn open(
        (directory, format): (&Path, Format),
        file: &TableFile,
        mapping: &Arc<TableMapping>,
        offset: u64,
    ) -> Result<Self> {
        let reader = RowReader::open(directory, format, file, offset)?;
        let positions = columns::positions(mapping, file);
        Ok(FileSource { reader, mapping: Arc::clone(mapping), positions, name: file.file.clone() })
    }

    /// Position of the next row in the file, in bytes.
    pub fn offset(&self) -> u64 {
        self.reader.offset()
    }

    pub fn next_row(&mut self) -> Result<Option<Row>> {
        let at = self.reader.offset();
        let Some(mut values) = self.reader.next_row()? else { return Ok(None) };
        let values =
            self.positions.iter().map(|position| datum(&mut values, *position)).collect::<Box<[_]>>();
        let id = values.first().and_then(Datum::as_str).and_then(|id| id.parse().ok());
        let id = id.ok_or_else(|| {
            Error::refused(format!("{}: the row at byte {at} has no uuid as its id", self.name))
                .remedy(message!("error-remedy-export-again"))
        })?;
        Ok(Some(Row { table: self.mapping.table, id, values }))
    }

    /// The next batch, as a copy from Landing would bring the rows; empty at the end of the file.
    pub fn batch(&mut self, limits: BatchLimits, origin: Origin) -> Result<Batch> {
        let mut collector = Collector::new(limits, Position::default());
        while !collector.is_full() {
            let Some(row) = self.next_row()? else { break };
            let change = Change::Write { operation: Operation::Copy, row, old_id: None };
            collector.push(SourcedChange { origin, change });
        }
        Ok(collector.take())
    }
}

fn datum(values: &mut FileRow, position: Option<usize>) -> Datum {
    let value = position.and_then(|position| values.get_mut(position)).and_then(Option::take);
    value.map_or(Datum::Null, Datum::text)
}
