//! Quarantined rows of which Traffic holds an older image under another key (`held_under`).

use std::collections::{HashMap, HashSet};

use tokio_postgres::Client;
use uuid::Uuid;

use super::Quarantine;
use crate::error::Result;
use crate::model::change::Table;
use crate::postgres::step::during;

const STEP: &str = "looking for keys in quarantine";

/// The row `id`, held by Traffic under the key `under`.
#[derive(Clone, Copy)]
pub struct KeyOnTraffic {
    pub table: Table,
    pub id: Uuid,
    pub under: Uuid,
}

/// Keys of rows on the target of a direction, by the keys of the rows on the source. Only rows whose two keys
/// differ.
#[derive(Debug, Default)]
pub struct KeysOnTarget(pub HashMap<Uuid, Uuid>);

impl KeysOnTarget {
    /// Whether a row has the key on the target and another key on the source.
    pub fn occupies(&self, key: Uuid) -> bool {
        self.0.values().any(|under| *under == key)
    }

    /// Whether a row has the key on one side and another key on the other side.
    pub fn differs_at(&self, key: Uuid) -> bool {
        self.0.contains_key(&key) || self.occupies(key)
    }

    /// The key of the row `id` on the target; `None` when another row has the key `id` there.
    pub fn on_target(&self, id: Uuid) -> Option<Uuid> {
        self.0.get(&id).copied().or_else(|| (!self.occupies(id)).then_some(id))
    }

    /// The key on the source of the row with this key on the target.
    pub fn on_source(&self, key: Uuid) -> Uuid {
        self.0.iter().find(|(_, under)| **under == key).map_or(key, |(id, _)| *id)
    }

    /// The rows among `ids` that have another key on the target.
    pub fn among(&self, ids: &[Uuid]) -> impl Iterator<Item = Uuid> {
        ids.iter().copied().filter(|id| self.0.contains_key(id))
    }

    /// A row among `ids` that can take its key: no other row of `self` has the key on the target, or the key is
    /// part of a circle whose rows are all among `ids`.
    pub fn next(&self, ids: &HashSet<Uuid>) -> Option<Uuid> {
        let mine = || self.0.keys().copied().filter(|key| ids.contains(key));
        let in_the_way = |key: Uuid| self.0.iter().find(|(_, under)| **under == key).map(|(other, _)| *other);
        mine().find(|key| in_the_way(*key).is_none()).or_else(|| {
            mine().find(|key| {
                let mut other = in_the_way(*key);
                // A circle has no more members than there are rows.
                for _ in 0..self.0.len() {
                    match other {
                        Some(next) if next == *key => return true,
                        Some(next) if ids.contains(&next) => other = in_the_way(next),
                        _ => return false,
                    }
                }
                false
            })
        })
    }
}

impl Quarantine {
    /// The rows of which Traffic holds an older image under another key, where either key is among `ids`.
    pub async fn held(&self, client: &Client, table: Table, ids: &[Uuid]) -> Result<KeysOnTarget> {
        let sql = format!(
            "SELECT row_id, held_under FROM {} WHERE source_table = $1 AND held_under IS NOT NULL \
             AND (row_id = ANY ($2) OR held_under = ANY ($2))",
            self.table()
        );
        let rows = during(client, STEP).rows(&sql, &[&table.label(), &ids]).await?;
        Ok(KeysOnTarget(rows.iter().map(|row| (row.get(0), row.get(1))).collect()))
    }

    /// Whether the delete of the row waits in quarantine.
    pub async fn is_deleted(&self, client: &Client, table: Table, id: Uuid) -> Result<bool> {
        let sql = format!(
            "SELECT EXISTS (SELECT FROM {} WHERE source_table = $1 AND row_id = $2 AND operation = 'delete')",
            self.table()
        );
        let row = during(client, STEP).row(&sql, &[&table.label(), &id]).await?;
        Ok(row.get(0))
    }

    /// Records under which key Traffic holds a quarantined row. Returns whether the row is in
    /// quarantine.
    pub async fn hold_under(&self, client: &Client, row: KeyOnTraffic) -> Result<bool> {
        let KeyOnTraffic { table, id, under } = row;
        let sql =
            format!("UPDATE {} SET held_under = $3 WHERE source_table = $1 AND row_id = $2", self.table());
        Ok(during(client, STEP).run(&sql, &[&table.label(), &id, &under]).await? == 1)
    }

    /// Records that Traffic holds the row `id` under its own key, if at all.
    pub async fn at_home(&self, client: &Client, table: Table, id: Uuid) -> Result<()> {
        let sql = format!(
            "UPDATE {} SET held_under = NULL WHERE source_table = $1 AND row_id = $2 AND held_under IS NOT NULL",
            self.table()
        );
        during(client, STEP).run(&sql, &[&table.label(), &id]).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    /// Rows by key, each with its key on Traffic.
    fn held(rows: &[(u128, u128)]) -> KeysOnTarget {
        KeysOnTarget(rows.iter().map(|(key, under)| (id(*key), id(*under))).collect())
    }

    #[test]
    fn a_row_takes_a_key_that_nobody_has_before_one_that_another_row_must_leave_first() {
        let chain = held(&[(3, 2), (2, 1)]);
        assert_eq!(chain.next(&HashSet::from([id(2), id(3)])), Some(id(3)));
        assert_eq!(chain.next(&HashSet::from([id(2)])), None, "whoever has the key is not written now");
        assert_eq!(chain.on_target(id(3)), Some(id(2)));
        assert_eq!(chain.on_target(id(1)), None);
        assert_eq!(chain.on_target(id(9)), Some(id(9)));
    }

    #[test]
    fn a_circle_is_opened_only_when_all_of_it_is_written() {
        let circle = held(&[(1, 2), (2, 3), (3, 1)]);
        assert!(circle.next(&HashSet::from([id(1), id(2), id(3)])).is_some());
        assert_eq!(circle.next(&HashSet::from([id(1), id(2)])), None);
    }
}
