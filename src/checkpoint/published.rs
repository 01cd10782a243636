//! The objects that Landing publishes, recorded together with a position; pure.
//!
//! A stream continues silently when a table leaves the publication, when the publication is restricted for a
//! while, or when `ALTER TABLE` rewrites rows: no such change is in the stream. Objects are therefore
//! recorded by values that PostgreSQL never gives twice (OIDs, column numbers, the `xmin` of a catalog row).
//! A look at the catalog, however late, then tells whether a change was not sent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::language::message;
use crate::mapping::{Mapping, Passthrough};
use crate::model::change::Table;
use crate::model::side::Side;

/// The publication and the replicated tables in the catalog at a position.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// `None` when Landing has no publication of the configured name.
    pub publication: Option<Publication>,
    /// By the label of the table, which stays when the table is renamed.
    pub tables: BTreeMap<String, PublishedTable>,
    /// The columns that no rule of the mapping reads, and that are carried all the same.
    #[serde(default)]
    pub passthrough: Passthrough,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    pub oid: u32,
    /// `xmin` of the publication's catalog row: every ALTER PUBLICATION changes the `xmin`.
    pub version: String,
    /// Owner of the publication. The owner makes no difference to the changes sent.
    pub owner: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedTable {
    /// The table's name on Landing, for messages; empty in a record of an older version.
    #[serde(default)]
    pub name: String,
    /// OID by which the stream announces the table.
    pub relation: u32,
    /// OID of the table's membership in the publication; 0 without a membership. A filter or a column list
    /// gives the table another membership.
    pub membership: u32,
    /// `relfilenode`. Changes when the table is rewritten, by ALTER TABLE as by VACUUM FULL.
    pub storage: u32,
    /// The columns that the mapping carries.
    pub columns: BTreeMap<String, PublishedColumn>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedColumn {
    /// `attnum`. A column dropped and added again has another number.
    pub number: i16,
    /// `xmin` of the column's catalog row: ALTER COLUMN … TYPE changes the `xmin`, and so does a new default.
    /// Empty where the `xmin` tells nothing.
    pub version: String,
}

impl Published {
    /// The mapping of the recorded tables. A table without a record counts as a table with every column.
    pub fn mapping(&self) -> Mapping {
        let has = |table: Table, column: &str| {
            self.tables.get(table.label()).is_none_or(|known| known.columns.contains_key(column))
        };
        Mapping::new(has, &self.passthrough)
    }

    /// The record, with the columns that the mapping of `before` carries. A column that came later is carried
    /// from the next copy on.
    pub fn with_columns_of(mut self, before: &Published) -> Self {
        for (label, table) in &mut self.tables {
            let (Some(known), Some(earlier)) = (Table::from_label(label), before.tables.get(label)) else {
                continue;
            };
            // No other column depends on a column that Landing may compute, so such a column may appear at any
            // time.
            for column in known.columns().iter().filter(|column| column.may_be_generated()) {
                if !earlier.columns.contains_key(&*column.name) {
                    table.columns.remove(&*column.name);
                }
            }
        }
        self
    }

    /// The record as JSON.
    pub fn to_text(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| Error::internal(error.to_string()))
    }

    /// OID by which the stream must announce `table`; `None` when not recorded.
    pub fn relation(&self, table: Table) -> Option<u32> {
        self.tables.get(table.label()).map(|table| table.relation)
    }

    /// Name of the table that the stream announces by the OID `relation`.
    pub fn table_of(&self, relation: u32) -> Option<&str> {
        let table = self.tables.iter().find(|(_, table)| table.relation == relation);
        table.map(|(label, table)| table.shown(label))
    }

    /// # Errors
    /// Since `before`, Landing may have changed rows without sending the changes.
    pub fn check_successor_of(&self, before: &Published) -> Result<()> {
        match self.difference(before, Side::Landing) {
            None => Ok(()),
            Some(what) => Err(Error::refused(format!("{what}: changes since then may not have been sent"))
                .remedy(message!("checkpoint-remedy-publication"))),
        }
    }

    /// Whether a copy under the snapshot of this record sees the rows of `table`. `now` is the table's
    /// present OID and storage. A table rewritten by ALTER TABLE or TRUNCATE is empty to an older snapshot.
    /// VACUUM FULL moves rows from a part not yet copied into a part already copied.
    ///
    /// # Errors
    /// `Transient`: the copy must begin again.
    pub fn check_storage(&self, table: Table, now: Option<(u32, u32)>) -> Result<()> {
        let recorded = self.tables.get(table.label());
        let known = recorded.map(|table| (table.relation, table.storage));
        if now.is_some() && now == known {
            return Ok(());
        }
        let name = recorded.map_or(table.label(), |recorded| recorded.shown(table.label()));
        Err(Error::new(
            Kind::Transient,
            format!("the copy restarts: {name} on Landing was rewritten or replaced since its snapshot"),
        ))
    }

    /// Checks publication, columns and storage of every table, with the catalog `now` at the end of the copy.
    ///
    /// # Errors
    /// `Transient`: the copy must begin again.
    pub fn check_copied(&self, now: &Published) -> Result<()> {
        now.check_successor_of(self).map_err(|error| {
            Error::new(Kind::Transient, format!("the copy restarts: {}", error.message()))
        })?;
        let tables = self.tables.keys().filter_map(|label| Table::from_label(label));
        for table in tables {
            let storage = now.tables.get(table.label()).map(|table| (table.relation, table.storage));
            self.check_storage(table, storage)?;
        }
        Ok(())
    }

    /// The first difference since `before` by which `side` may have changed rows without sending the changes.
    pub fn difference(&self, before: &Published, side: Side) -> Option<String> {
        let on = side.name();
        match (&self.publication, &before.publication) {
            (None, _) => return Some(format!("the publication on {on} is gone")),
            (Some(now), Some(before)) if now.oid != before.oid => {
                return Some(format!("the publication on {on} was dropped and recreated"));
            }
            // A new owner changes the version too.
            (Some(now), Some(before)) if now.version != before.version && now.owner == before.owner => {
                return Some(format!("the publication on {on} was altered"));
            }
            _ => {}
        }
        if let Some((label, new)) = self.tables.iter().find(|(label, _)| !before.tables.contains_key(*label))
        {
            return Some(format!("{} was not replicated until now", new.shown(label)));
        }
        before.tables.iter().find_map(|(label, before)| match self.tables.get(label) {
            None => Some(format!(
                "{} is not replicated any more, or was dropped or renamed on {on}",
                before.shown(label)
            )),
            Some(now) => now.difference((now.shown(label), on), before),
        })
    }
}

impl PublishedTable {
    fn shown<'n>(&'n self, label: &'n str) -> &'n str {
        if self.name.is_empty() { label } else { &self.name }
    }

    fn difference(&self, (name, on): (&str, &str), before: &PublishedTable) -> Option<String> {
        if self.relation != before.relation {
            return Some(format!("{name} on {on} is another table than the one that was copied"));
        }
        if self.membership == 0 {
            return Some(format!("{name} was taken out of the publication on {on}"));
        }
        if self.membership != before.membership {
            return Some(format!("{name} was taken out of the publication on {on} and put into it again"));
        }
        let column = |column: &str| format!("column {name}.{column} on {on}");
        for (known, earlier) in &before.columns {
            match self.columns.get(known) {
                None => return Some(format!("{} was dropped or renamed", column(known))),
                Some(now) if now.number != earlier.number => {
                    return Some(format!("{} was dropped and recreated", column(known)));
                }
                Some(_) => {}
            }
        }
        // A rewrite, even by VACUUM FULL, also changes the version of a column whose default from ADD COLUMN
        // … DEFAULT was not yet written to the rows. The catalog does not tell the case from ALTER COLUMN …
        // TYPE … USING.
        let altered: Vec<String> = before
            .columns
            .iter()
            .filter(|(name, earlier)| {
                let is_known = !earlier.version.is_empty();
                is_known && self.columns.get(*name).is_some_and(|now| now.version != earlier.version)
            })
            .map(|(name, _)| column(name))
            .collect();
        if self.storage != before.storage && !altered.is_empty() {
            return Some(format!("altered, and the table rewritten: {}", altered.join(", ")));
        }
        let added = self.columns.keys().find(|name| !before.columns.contains_key(*name));
        added.map(|name| format!("{} was added, perhaps with a default for older rows", column(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(relation: u32) -> PublishedTable {
        let column = |number| PublishedColumn { number, version: "7".into() };
        PublishedTable {
            name: String::new(),
            relation,
            membership: relation + 1,
            storage: relation,
            columns: [("id".to_owned(), column(1)), ("name".to_owned(), column(2))].into(),
        }
    }

    fn published() -> Published {
        Published {
            publication: Some(Publication { oid: 5, version: "7".into(), owner: 10 }),
            tables: [("landing_leads".to_owned(), table(100)), ("lead_journey".to_owned(), table(200))]
                .into(),
            passthrough: Passthrough::default(),
        }
    }

    fn after(change: impl Fn(&mut Published, &mut PublishedTable)) -> Result<()> {
        let mut now = published();
        let mut leads = table(100);
        change(&mut now, &mut leads);
        if now.tables.contains_key("landing_leads") {
            now.tables.insert("landing_leads".to_owned(), leads);
        }
        now.check_successor_of(&published())
    }

    type Damage<'d> = &'d dyn Fn(&mut Published, &mut PublishedTable);

    fn version(table: &mut PublishedTable) {
        table.columns.insert("name".into(), PublishedColumn { number: 2, version: "9".into() });
    }

    #[test]
    fn whatever_may_have_kept_a_change_out_of_the_stream_is_refused() {
        let refused: [(&str, Damage<'_>); 11] = [
            ("gone", &|now, _| now.publication = None),
            ("recreated", &|now, _| now.publication.as_mut().unwrap().oid = 6),
            ("altered", &|now, _| now.publication.as_mut().unwrap().version = "8".into()),
            ("not replicated any more", &|now, _| drop(now.tables.remove("landing_leads"))),
            ("until now", &|now, _| drop(now.tables.insert("other".into(), table(300)))),
            ("another table", &|_, leads| leads.relation = 101),
            ("taken out", &|_, leads| leads.membership = 0),
            ("put into it again", &|_, leads| leads.membership = 9),
            ("landing_leads.name on Landing was dropped", &|_, leads| drop(leads.columns.remove("name"))),
            ("landing_leads.more on Landing was added", &|_, leads| {
                leads.columns.insert("more".into(), PublishedColumn { number: 3, version: "9".into() });
            }),
            ("rewritten", &|_, leads| {
                version(leads);
                leads.storage = 1;
            }),
        ];
        for (says, change) in refused {
            let error = after(change).expect_err(says);
            assert!(error.message().contains(says), "{error}");
            assert!(error.to_string().contains("leadbridge resync"), "{error}");
        }
        let again = |_: &mut Published, leads: &mut PublishedTable| {
            leads.columns.insert("name".into(), PublishedColumn { number: 3, version: "9".into() });
        };
        assert!(after(again).is_err());
    }

    #[test]
    fn a_copy_ends_only_with_the_storage_that_it_began_with() {
        let before = published();
        before.check_copied(&published()).unwrap();
        let changes: [fn(&mut PublishedTable); 2] = [|leads| leads.storage = 1, |leads| leads.relation = 1];
        for change in changes {
            let mut now = published();
            change(now.tables.get_mut("landing_leads").unwrap());
            let error = before.check_copied(&now).unwrap_err();
            assert_eq!(error.kind(), Kind::Transient);
            assert!(error.message().contains("landing_leads"), "{error}");
        }
        let gone = before.check_storage(Table::LandingLeads, None);
        assert!(gone.is_err(), "a table that is not there is not the one of the snapshot");
        before.check_storage(Table::LandingLeads, Some((100, 100))).unwrap();
    }

    #[test]
    fn what_changes_no_value_is_passed_over() {
        assert!(after(|_, _| {}).is_ok());
        // VACUUM FULL; SET DEFAULT or a wider varchar; a new owner.
        assert!(after(|_, leads| leads.storage = 1).is_ok());
        assert!(after(|_, leads| version(leads)).is_ok());
        let owned = |now: &mut Published, _: &mut PublishedTable| {
            now.publication = Some(Publication { oid: 5, version: "8".into(), owner: 11 });
        };
        assert!(after(owned).is_ok());
    }
}
