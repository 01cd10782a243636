//! The Landing columns that a database lacks, as older ones do: what they become is Traffic's (guarantees 4.3); pure.

use super::{Rule, Target, targets};
use crate::change::{Table, lead};

/// The optional columns of one Landing table that this database lacks.
///
/// A new row on Traffic gets what the mapping makes of null. A row that is there keeps what Traffic has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absent {
    table: Table,
    /// Positions in a [`Row`](crate::change::Row).
    columns: Vec<usize>,
}

impl Absent {
    /// `has`: whether Landing has the column at that position of [`Table::columns`].
    pub fn new(table: Table, has: impl Fn(usize) -> bool) -> Self {
        let columns = (0..table.columns().len()).filter(|&column| !has(column)).collect();
        Absent { table, columns }
    }

    /// Landing has every column.
    pub fn none(table: Table) -> Self {
        Absent { table, columns: Vec::new() }
    }

    /// Whether Landing gives this column of Traffic's table a value. A column that comes from several of Landing's, or
    /// from one that Landing must have, always gets one.
    pub fn leaves(&self, target: &Target) -> bool {
        let source = match target.rule {
            Rule::Verbatim(column)
            | Rule::Number(column)
            | Rule::FalseWhenNull(column)
            | Rule::ZeroWhenNull(column) => column,
            Rule::NormalizedPhone(_)
            | Rule::SourceWord(_)
            | Rule::Utm { .. }
            | Rule::Funnel { .. }
            | Rule::FacebookKey => return true,
        };
        !self.columns.contains(&source)
    }

    /// The columns of Traffic's table that are Traffic's own for the lack of their source.
    pub fn traffics(&self) -> impl Iterator<Item = &'static str> {
        targets(self.table).iter().filter(|target| !self.leaves(target)).map(|target| target.name)
    }

    /// The columns of Landing's table that are missing and that the mapping reads.
    pub fn landings(&self) -> impl Iterator<Item = &'static str> {
        let unread = |column: usize| self.table == Table::LandingLeads && column == lead::PHONE_NORMALIZED;
        let read = self.columns.iter().filter(move |column| !unread(**column));
        read.filter_map(|column| self.table.columns().get(*column)).map(|column| column.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_optional_column_that_is_missing_leaves_exactly_its_own_target_to_traffic() {
        for (at, column) in Table::LandingLeads.columns().iter().enumerate().filter(|(_, c)| !c.required) {
            let absent = Absent::new(Table::LandingLeads, |other| other != at);
            let traffics: Vec<_> = absent.traffics().collect();
            // Landing's own normalisation is never used.
            let expected = if column.name == "phone_normalized" { vec![] } else { vec![column.name] };
            assert_eq!(traffics, expected);
        }
        assert_eq!(Absent::none(Table::LandingLeads).traffics().count(), 0);
    }
}
