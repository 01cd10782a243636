//! Rows turned into columns: the array parameters of a batch's statements.

use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::mapping::TrafficRow;
use crate::model::timestamp::Timestamp;

/// One array for each column, all of the same length.
pub(super) struct Columns<'r> {
    ids: Vec<Uuid>,
    synced: Vec<Timestamp>,
    texts: Vec<Vec<Option<&'r str>>>,
}

impl<'r> Columns<'r> {
    /// `width` is the number of mapped columns.
    pub(super) fn new(width: usize, rows: impl Iterator<Item = (&'r TrafficRow, Timestamp)>) -> Self {
        let mut columns = Columns { ids: Vec::new(), synced: Vec::new(), texts: vec![Vec::new(); width] };
        for (row, synced) in rows {
            columns.ids.push(row.id);
            columns.synced.push(synced);
            for (column, value) in columns.texts.iter_mut().zip(&row.values) {
                column.push(value.as_deref());
            }
        }
        columns
    }

    /// In the order of the statements' parameters.
    pub(super) fn parameters(&self) -> Vec<&(dyn ToSql + Sync)> {
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&self.ids, &self.synced];
        parameters.extend(self.texts.iter().map(|column| column as &(dyn ToSql + Sync)));
        parameters
    }
}
