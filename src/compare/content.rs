//! A digest of a table's content. Equal rows on both sides give equal digests.

use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// Digest of each side: over every row's key, and every value that Landing owns, as the mapping gives the
/// value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Contents {
    pub landing: Digest,
    pub traffic: Digest,
}

/// The sum of the first 128 bits of each row's SHA-256, so that the order in which rows are read does not
/// matter. The sum reveals accidental differences; against somebody who forges rows the sum proves nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(u128);

impl Digest {
    pub(super) fn add(&mut self, row: RowHash) {
        let bytes = row.0.finalize();
        let first = bytes.iter().take(16).fold(0, |sum: u128, byte| sum << 8 | u128::from(*byte));
        self.0 = self.0.wrapping_add(first);
    }
}

/// 32 hexadecimal digits.
impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The hash of one row, before all values are added.
#[derive(Clone)]
pub(super) struct RowHash(Sha256);

impl RowHash {
    pub(super) fn new(id: Uuid) -> Self {
        RowHash(Sha256::new_with_prefix(id.as_bytes()))
    }

    pub(super) fn of<'v>(id: Uuid, values: impl Iterator<Item = Option<&'v str>>) -> Self {
        let mut hash = RowHash::new(id);
        values.for_each(|value| hash.value(value));
        hash
    }

    /// Adds the value's length before the value, so that the end of one column cannot be taken for the start
    /// of the next.
    pub(super) fn value(&mut self, value: Option<&str>) {
        match value {
            None => self.0.update([0]),
            Some(text) => {
                self.0.update([1]);
                self.0.update((text.len() as u64).to_be_bytes());
                self.0.update(text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(rows: &[(u128, &[Option<&str>])]) -> Digest {
        let mut digest = Digest::default();
        for (id, values) in rows {
            digest.add(RowHash::of(Uuid::from_u128(*id), values.iter().copied()));
        }
        digest
    }

    #[test]
    fn the_order_of_rows_does_not_matter_and_everything_else_does() {
        let (one, two): (&[_], &[_]) = (&[Some("a"), None], &[Some(""), Some("b")]);
        let both = digest(&[(1, one), (2, two)]);
        assert_eq!(both, digest(&[(2, two), (1, one)]));
        for other in [
            digest(&[(1, one)]),
            digest(&[(2, one), (1, two)]),
            digest(&[(1, &[Some("a"), Some("")]), (2, two)]),
            digest(&[(1, one), (2, &[Some("b"), Some("")])]),
            digest(&[(1, one), (2, &[Some("\u{1}"), Some("b")])]),
        ] {
            assert_ne!(both, other);
        }
        assert_eq!(both.to_string().len(), 32);
    }
}
