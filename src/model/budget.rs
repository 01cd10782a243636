//! Memory bound for collected rows, in bytes; pure.
//!
//! Collected rows are bounded in bytes rather than by number, because a lead may have 300 bytes of metadata
//! or 50 MB. A row that is larger than the budget is processed alone.

/// A value of at least this stored size makes its row a large row. The stored size is known without reading
/// the value. PostgreSQL compresses a value to a ninetieth of its size at best (pglz), so a row that is not
/// large has a few megabytes at most.
pub const LARGE: i32 = 64 << 10;

/// Bytes of large rows that are read together. A row with more bytes is read, compared and written alone.
pub const TOGETHER: Budget = Budget::of(4 << 20);

/// A row of the stream with at least this many bytes is a long row: its message is counted until the row is
/// applied.
pub const LONG_ROW: usize = 1 << 20;

/// Bytes of long rows with which a batch is full, whatever the configured bound of a batch is.
pub const LONG_ROWS: usize = 4 << 20;

/// Bytes of rows that may be held at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget(u64);

impl Budget {
    pub const fn of(bytes: usize) -> Self {
        Budget(bytes as u64)
    }

    /// Number of parts into which `rows` rows of `bytes` bytes in total must be cut.
    pub fn parts(self, rows: usize, bytes: u64) -> usize {
        usize::try_from(bytes.div_ceil(self.0.max(1))).unwrap_or(usize::MAX).clamp(1, rows.max(1))
    }

    /// Whether a row of this size must be alone.
    pub const fn is_exceeded_by(self, bytes: u64) -> bool {
        bytes > self.0
    }

    /// Cuts keys into portions of at most `most` keys. Each key comes with the bytes of its row.
    pub fn portions<K>(self, keys: impl IntoIterator<Item = (K, u64)>, most: usize) -> Vec<Vec<K>> {
        let (mut portions, mut held) = (Vec::<Vec<K>>::new(), 0);
        for (key, bytes) in keys {
            held += bytes;
            match portions.last_mut() {
                Some(portion) if portion.len() < most && held <= self.0 => portion.push(key),
                _ => {
                    portions.push(vec![key]);
                    held = bytes;
                }
            }
        }
        portions
    }
}

/// SQL for the approximate size of the given text or JSON columns as text. For an uncompressed value the
/// stored size is used, because a large uncompressed value need not be read. A compressed value must be read,
/// because the size after decompression is not known otherwise.
pub fn weight(columns: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let weights: Vec<String> = columns
        .into_iter()
        .map(|column| {
            let column = column.as_ref();
            format!(
                "coalesce(CASE WHEN pg_catalog.pg_column_compression({column}) IS NULL \
                 THEN pg_catalog.pg_column_size({column}) ELSE pg_catalog.octet_length({column}::text) END, 0)"
            )
        })
        .collect();
    format!("({})::bigint", weights.join(" + "))
}

/// SQL condition on a row: one of the given columns makes the row a large row.
pub fn is_large(columns: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let sizes: Vec<String> = columns.into_iter().map(|column| stored_size(column.as_ref())).collect();
    match sizes.is_empty() {
        true => "false".to_owned(),
        // GREATEST passes over nulls, and is null when every value is null.
        false => format!("coalesce(greatest({}) >= {LARGE}, false)", sizes.join(", ")),
    }
}

fn stored_size(column: &str) -> String {
    format!("pg_catalog.pg_column_size({column})")
}

/// SQL for `text`, the text of `column`, or null when the column makes its row a large row.
pub fn unless_large(column: &str, text: &str) -> String {
    format!("CASE WHEN {} >= {LARGE} THEN NULL ELSE {text} END", stored_size(column))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portions_stay_within_the_budget_and_a_larger_row_goes_alone() {
        let budget = Budget::of(10);
        let portions = budget.portions([("a", 4), ("b", 6), ("c", 1), ("d", 11), ("e", 2), ("f", 0)], 10);
        assert_eq!(portions, [vec!["a", "b"], vec!["c"], vec!["d"], vec!["e", "f"]]);
        assert_eq!(budget.portions([(1, 0), (2, 0), (3, 0)], 2), [vec![1, 2], vec![3]]);
        assert!(budget.portions(Vec::<(u8, u64)>::new(), 2).is_empty());
    }

    #[test]
    fn a_large_row_is_known_by_the_stored_size_of_any_of_its_columns() {
        assert_eq!(is_large(Vec::<&str>::new()), "false");
        assert_eq!(
            is_large(["a", "\"B\""]),
            "coalesce(greatest(pg_catalog.pg_column_size(a), pg_catalog.pg_column_size(\"B\")) >= 65536, false)"
        );
        assert!(TOGETHER.is_exceeded_by((4 << 20) + 1) && !TOGETHER.is_exceeded_by(4 << 20));
    }

    #[test]
    fn rows_are_cut_into_as_many_parts_as_they_are_budgets() {
        let budget = Budget::of(10);
        assert_eq!([0, 10, 11, 30].map(|bytes| budget.parts(100, bytes)), [1, 1, 2, 3]);
        assert_eq!(budget.parts(2, 1000), 2, "no part without a row");
        assert_eq!(budget.parts(1, 1000), 1);
        assert_eq!(budget.parts(0, 1000), 1);
    }
}
