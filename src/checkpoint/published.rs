//! What Landing publishes, written down with the position it belongs to; pure.
//!
//! A stream goes on silently when a table leaves the publication, when the publication is restricted for a
//! while, or when `ALTER TABLE` rewrites rows: none of that is in the stream. So the objects are remembered by what
//! PostgreSQL never gives twice (OIDs, column numbers, the `xmin` of a catalog row), and any look at them, however
//! late, tells whether something was not sent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::change::{Table, lead};
use crate::error::{Error, Kind, Result};
use crate::mapping::Absent;

/// The publication and the replicated tables, as the catalog had them at one position.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// `None` when there is none of that name.
    pub publication: Option<Publication>,
    pub tables: BTreeMap<String, PublishedTable>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    pub oid: u32,
    /// `xmin` of its row: every ALTER PUBLICATION gives it another.
    pub version: String,
    /// Who owns it makes no difference to what is sent.
    pub owner: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedTable {
    /// The OID by which the stream announces it.
    pub relation: u32,
    /// OID of its membership in the publication; 0 when it has none. A filter or a column list makes another.
    pub membership: u32,
    /// Changes when the table is rewritten, by ALTER TABLE as by VACUUM FULL.
    pub storage: u32,
    /// Those that the mapping reads.
    pub columns: BTreeMap<String, PublishedColumn>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedColumn {
    /// A column dropped and added again has another.
    pub number: i16,
    /// `xmin` of its row: ALTER COLUMN … TYPE gives it another, and so does a new default.
    pub version: String,
}

impl Published {
    /// Whether a column's values come into Traffic's rows.
    pub fn is_read(table: Table, column: &str) -> bool {
        let unused = |at: usize| table == Table::LandingLeads && at == lead::PHONE_NORMALIZED;
        table.columns().iter().enumerate().any(|(at, known)| known.name == column && !unused(at))
    }

    /// The columns that Landing lacks of `table`, of those that the mapping reads; none where that was not written down.
    pub fn absent(&self, table: Table) -> Absent {
        let Some(known) = self.tables.get(table.landing_name()) else { return Absent::none(table) };
        let has = |name: &str| !Published::is_read(table, name) || known.columns.contains_key(name);
        Absent::new(table, |at| table.columns().get(at).is_some_and(|column| has(column.name)))
    }

    /// The OID by which the stream must announce `table`; `None` when that was not written down.
    pub fn relation(&self, table: Table) -> Option<u32> {
        self.tables.get(table.landing_name()).map(|table| table.relation)
    }

    /// The table that the stream announces by this OID.
    pub fn table_of(&self, relation: u32) -> Option<&str> {
        self.tables.iter().find(|(_, table)| table.relation == relation).map(|(name, _)| &**name)
    }

    /// # Errors
    /// Since `before`, something may have changed on Landing that was not sent.
    pub fn check_successor_of(&self, before: &Published) -> Result<()> {
        match self.difference(before) {
            None => Ok(()),
            Some(what) => Err(Error::refused(format!("{what}: changes since then may not have been sent"))
                .remedy(
                    "put Landing right (`leadbridge doctor` says whether something is wrong still), then run \
                     `leadbridge resync`",
                )),
        }
    }

    /// Whether a copy under the snapshot that this was read in sees the rows of `table`, whose OID and storage are these
    /// now. To an older snapshot a table that ALTER TABLE or TRUNCATE has rewritten is empty; VACUUM FULL moves rows from
    /// a part that was not copied into one that was.
    ///
    /// # Errors
    /// Transient: the copy must begin again.
    pub fn check_storage(&self, table: Table, now: Option<(u32, u32)>) -> Result<()> {
        let name = table.landing_name();
        let known = self.tables.get(name).map(|table| (table.relation, table.storage));
        if now.is_some() && now == known {
            return Ok(());
        }
        Err(Error::new(
            Kind::Transient,
            format!("the copy begins again: {name} on Landing was rewritten or replaced since its snapshot"),
        ))
    }

    /// The same of every table, as `now` has them at the end of the copy.
    ///
    /// # Errors
    /// Transient: the copy must begin again.
    pub fn check_copied(&self, now: &Published) -> Result<()> {
        now.check_successor_of(self).map_err(|error| {
            Error::new(Kind::Transient, format!("the copy begins again: {}", error.message()))
        })?;
        let tables = self.tables.keys().filter_map(|name| Table::from_landing_name(name));
        for table in tables {
            let storage = now.tables.get(table.landing_name()).map(|table| (table.relation, table.storage));
            self.check_storage(table, storage)?;
        }
        Ok(())
    }

    fn difference(&self, before: &Published) -> Option<String> {
        match (&self.publication, &before.publication) {
            (None, _) => return Some("the publication on Landing is gone".into()),
            (Some(now), Some(before)) if now.oid != before.oid => {
                return Some("the publication on Landing was dropped and recreated".into());
            }
            // A new owner is a new version too.
            (Some(now), Some(before)) if now.version != before.version && now.owner == before.owner => {
                return Some("the publication on Landing was altered".into());
            }
            _ => {}
        }
        if let Some(name) = self.tables.keys().find(|name| !before.tables.contains_key(*name)) {
            return Some(format!("{name} was not replicated until now"));
        }
        before.tables.iter().find_map(|(name, before)| match self.tables.get(name) {
            None => Some(format!("{name} is not replicated any more, or was dropped or renamed on Landing")),
            Some(now) => now.difference(name, before),
        })
    }
}

impl PublishedTable {
    fn difference(&self, name: &str, before: &PublishedTable) -> Option<String> {
        if self.relation != before.relation {
            return Some(format!("{name} on Landing is another table than the one that was copied"));
        }
        if self.membership == 0 {
            return Some(format!("{name} was taken out of the publication on Landing"));
        }
        if self.membership != before.membership {
            return Some(format!("{name} was taken out of the publication on Landing and put into it again"));
        }
        let column = |column: &str| format!("column {name}.{column} on Landing");
        for (known, earlier) in &before.columns {
            match self.columns.get(known) {
                None => return Some(format!("{} was dropped or renamed", column(known))),
                Some(now) if now.number != earlier.number => {
                    return Some(format!("{} was dropped and recreated", column(known)));
                }
                Some(_) => {}
            }
        }
        // A rewrite also touches the columns that ADD COLUMN … DEFAULT had not written out, even by VACUUM FULL:
        // that is not told apart from ALTER COLUMN … TYPE … USING.
        let altered: Vec<String> = before
            .columns
            .iter()
            .filter(|(name, earlier)| {
                self.columns.get(*name).is_some_and(|now| now.version != earlier.version)
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
