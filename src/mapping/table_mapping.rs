//! How the rows of one Landing table become rows of Traffic's table, in this installation; pure.
//!
//! The rules are the same everywhere (`leads`, `journey`, `notifications`). Installations differ in the columns
//! that Landing lacks, and in the passthrough columns: the columns of Landing that no rule reads, carried
//! verbatim (docs/mapping.md). An initial copy records both; from then on they are fixed until the next copy.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};

use super::{Rule, Target, known_targets};
use crate::model::change::{Column, ColumnType, Table};

/// A column of Landing that no rule reads, and the column of Traffic that holds the values verbatim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassthroughColumn {
    /// The column's name on Landing.
    pub landing: String,
    /// The column's name on Traffic.
    pub traffic: String,
    /// The type of Traffic's column, without a modifier: `text`, `numeric`.
    pub sql_type: String,
}

/// The passthrough columns of the replicated tables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Passthrough(pub BTreeMap<Table, Vec<PassthroughColumn>>);

impl Passthrough {
    pub fn of(&self, table: Table) -> &[PassthroughColumn] {
        self.0.get(&table).map_or(&[], Vec::as_slice)
    }
}

/// The mapping of one table.
#[derive(Debug, PartialEq, Eq)]
pub struct TableMapping {
    pub table: Table,
    columns: Vec<Column>,
    targets: Vec<Target>,
    /// Positions in [`TableMapping::columns`] of the columns that Landing lacks.
    absent: Vec<usize>,
}

impl TableMapping {
    /// `has` says which of the columns that the rules read Landing has.
    pub fn new(table: Table, has: impl Fn(&str) -> bool, passthrough: &[PassthroughColumn]) -> Self {
        let known = table.columns();
        let absent = known.iter().enumerate().filter(|(_, column)| !has(&column.name)).map(|(at, _)| at);
        let more = passthrough.iter().map(|column| Column {
            name: Cow::Owned(column.landing.clone()),
            kind: ColumnType::of_sql(&column.sql_type),
            required: false,
            is_passthrough: true,
        });
        let carried = passthrough.iter().enumerate().map(|(at, column)| Target {
            name: Cow::Owned(column.traffic.clone()),
            sql_type: Cow::Owned(column.sql_type.clone()),
            rule: Rule::Verbatim(known.len() + at),
        });
        TableMapping {
            table,
            absent: absent.collect(),
            columns: known.iter().cloned().chain(more).collect(),
            targets: known_targets(table).iter().cloned().chain(carried).collect(),
        }
    }

    /// Columns of a [`Row`](crate::model::change::Row) in the order of its values: the columns that the rules
    /// read ([`Table::columns`]), then the passthrough columns.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The mapped columns of Traffic's table, without `id` and `landing_synced_at`.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// Whether Landing has the column at the given position of [`TableMapping::columns`].
    pub fn has(&self, column: usize) -> bool {
        column < self.columns.len() && !self.absent.contains(&column)
    }

    /// Whether Landing gives a value to this column of Traffic's table. A column derived from several Landing
    /// columns, or from a column that Landing must have, always gets a value. Where Landing gives no value, a
    /// new row on Traffic gets the value that the mapping derives from null, and an existing row keeps Traffic's
    /// value (guarantees 4.3).
    pub fn gives(&self, target: &Target) -> bool {
        match target.rule {
            Rule::Verbatim(column)
            | Rule::Number(column)
            | Rule::FalseWhenNull(column)
            | Rule::ZeroWhenNull(column) => self.has(column),
            Rule::NormalizedPhone(_)
            | Rule::SourceWord(_)
            | Rule::Utm { .. }
            | Rule::Funnel { .. }
            | Rule::FacebookKey => true,
        }
    }

    /// Whether Landing decides the column of a row: `given` is the value that the mapping makes of Landing's row.
    /// Where Landing does not decide, Traffic's value stays, and is not compared.
    pub fn decides(&self, target: &Target, given: Option<&str>) -> bool {
        self.gives(target) && (given.is_some() || !target.keeps_target_when_null())
    }

    /// The columns of Traffic's table that belong to Traffic because their source is absent.
    pub fn traffics(&self) -> impl Iterator<Item = &Target> {
        self.targets.iter().filter(|target| !self.gives(target))
    }

    /// The absent columns of Landing's table.
    pub fn absent(&self) -> impl Iterator<Item = &Column> {
        self.absent.iter().filter_map(|column| self.columns.get(*column))
    }

    /// The columns that Landing has, with their positions.
    pub fn present(&self) -> impl Iterator<Item = (usize, &Column)> {
        self.columns.iter().enumerate().filter(|(at, _)| self.has(*at))
    }

    /// The Landing columns held verbatim by Traffic: position in a Landing row, and column on Traffic.
    pub fn verbatim(&self) -> impl Iterator<Item = (usize, &Target)> {
        self.targets.iter().filter_map(|target| Some((target.verbatim_of()?, target)))
    }

    /// The columns of `traffic_leads` that a change can affect when the change leaves `metadata` unchanged.
    pub fn partial_update_targets(&self) -> impl Iterator<Item = &Target> {
        self.targets.iter().filter(|target| !target.is_of_metadata())
    }

    /// The target columns of variable size, which make up most of a row's bytes.
    pub fn of_variable_size(&self) -> impl Iterator<Item = &Target> {
        let fixed = ["uuid", "boolean", "integer", "bigint", "timestamptz"];
        self.targets.iter().filter(move |target| !fixed.contains(&&*target.sql_type))
    }
}

/// The mapping of every table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping([Arc<TableMapping>; Table::ALL.len()]);

static WHOLE: LazyLock<Mapping> = LazyLock::new(|| Mapping::new(|_, _| true, &Passthrough::default()));

impl Mapping {
    /// `has` says which of the columns that the rules read Landing has.
    pub fn new(has: impl Fn(Table, &str) -> bool, passthrough: &Passthrough) -> Self {
        Mapping(Table::ALL.map(|table| {
            Arc::new(TableMapping::new(table, |column| has(table, column), passthrough.of(table)))
        }))
    }

    /// For a Landing with every column that the rules read, and no other column.
    pub fn whole() -> Self {
        WHOLE.clone()
    }

    pub fn of(&self, table: Table) -> &Arc<TableMapping> {
        let [leads, journey, notifications] = &self.0;
        match table {
            Table::LandingLeads => leads,
            Table::LeadJourney => journey,
            Table::ScheduledNotifications => notifications,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_optional_column_that_is_missing_leaves_exactly_its_own_targets_to_traffic() {
        for column in Table::LandingLeads.columns().iter().filter(|column| !column.required) {
            let mapping = TableMapping::new(Table::LandingLeads, |name| name != column.name, &[]);
            let traffics: Vec<_> = mapping.traffics().map(|target| &*target.name).collect();
            // The columns that Landing has under another column's name keep Landing's spelling.
            let is_spelling = column.name == "phone_normalized" || column.name.starts_with("utm_");
            let spelling = format!("landing_{}", column.name);
            let expected = match &*column.name {
                _ if is_spelling => vec![&*spelling],
                "amocrm_contact_id" => vec!["amocrm_contact_id", "landing_amocrm_contact_id"],
                name => vec![name],
            };
            assert_eq!(traffics, expected);
        }
        assert_eq!(Mapping::whole().of(Table::LandingLeads).traffics().count(), 0);
    }

    #[test]
    fn a_passthrough_column_follows_the_known_ones_and_is_carried_verbatim() {
        let column = PassthroughColumn {
            landing: "tag".to_owned(),
            traffic: "landing_tag".to_owned(),
            sql_type: "numeric".to_owned(),
        };
        let mapping = TableMapping::new(Table::LeadJourney, |_| true, &[column]);
        let last = mapping.columns().len() - 1;
        assert_eq!(mapping.columns()[last].name, "tag");
        let (position, target) = mapping.verbatim().last().unwrap();
        assert_eq!((position, &*target.name, &*target.sql_type), (last, "landing_tag", "numeric"));
        assert!(mapping.gives(target));
    }
}
