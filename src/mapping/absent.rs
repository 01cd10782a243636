//! Landing columns that a database lacks, as older databases do. The target columns derived from absent
//! columns belong to Traffic (guarantees 4.3); pure.

use super::{Rule, Target, targets};
use crate::model::change::Table;

/// The optional columns of one Landing table that this database lacks.
///
/// In a new row on Traffic, a target column derived from an absent column gets the value that the mapping
/// derives from null. An existing row keeps Traffic's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absent {
    table: Table,
    /// Positions in a [`Row`](crate::model::change::Row).
    columns: Vec<usize>,
}

impl Absent {
    /// `has`: whether Landing has the column at the given position of [`Table::columns`].
    pub fn new(table: Table, has: impl Fn(usize) -> bool) -> Self {
        let columns = (0..table.columns().len()).filter(|&column| !has(column)).collect();
        Absent { table, columns }
    }

    /// For a Landing table with every column.
    pub fn none(table: Table) -> Self {
        Absent { table, columns: Vec::new() }
    }

    /// Whether Landing gives a value to this column of Traffic's table. A column derived from several Landing
    /// columns, or from a column that Landing must have, always gets a value.
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

    /// The columns of Traffic's table that belong to Traffic because their source is absent.
    pub fn traffics(&self) -> impl Iterator<Item = &'static str> {
        targets(self.table).iter().filter(|target| !self.leaves(target)).map(|target| target.name)
    }

    /// The absent columns of Landing's table that the mapping reads.
    pub fn landings(&self) -> impl Iterator<Item = &'static str> {
        self.columns.iter().filter_map(|column| self.table.columns().get(*column)).map(|column| column.name)
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
            // The columns that Landing has under another column's name keep Landing's spelling.
            let is_spelling = column.name == "phone_normalized" || column.name.starts_with("utm_");
            let spelling = format!("landing_{}", column.name);
            let expected = match column.name {
                _ if is_spelling => vec![spelling.as_str()],
                "amocrm_contact_id" => vec!["amocrm_contact_id", "landing_amocrm_contact_id"],
                name => vec![name],
            };
            assert_eq!(traffics, expected);
        }
        assert_eq!(Absent::none(Table::LandingLeads).traffics().count(), 0);
    }
}
