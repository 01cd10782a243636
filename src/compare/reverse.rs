//! The expectation of reverse replication: Landing holds the rows that the inverse mapping makes of Traffic's
//! rows. A rollback needs the result before Landing is opened again.

use std::borrow::Cow;
use std::sync::Arc;

use uuid::Uuid;

use super::comparison::{Comparison, Difference};
use super::merge::{Expectation, Met};
use super::pages::KeyRange;
use super::{ComparedSides, LargeHolders};
use crate::error::Result;
use crate::landing::catalog;
use crate::landing::write::LandingTarget;
use crate::mapping::inverse::{ColumnPlace, Inverse, TrafficImage, inverse};
use crate::mapping::{Limits, TableMapping};
use crate::model::change::{Row, Table};
use crate::model::side::Side;
use crate::postgres::Databases;
use crate::traffic::since_switch::SinceSwitch;
use crate::traffic::{TargetCatalog, flowing};

/// Compares the tables row by row. Sessions as for [`compare`](super::compare); a session may have an open
/// transaction, and needs none. Neither side may change meanwhile, unless the caller compares the differing
/// rows again.
///
/// # Errors
/// Refused when no cutover has switched to Traffic. Otherwise a database cannot be read.
pub async fn compare(databases: Databases<'_>, table: Table) -> Result<Comparison> {
    ComparedSides::reverse(databases, table).await?.compare(KeyRange::all()).await
}

/// Compares only the rows with these keys.
///
/// # Errors
/// As [`compare`].
pub async fn compare_rows(databases: Databases<'_>, table: Table, ids: &[Uuid]) -> Result<Comparison> {
    ComparedSides::reverse(databases, table).await?.compare_rows(ids).await
}

/// Landing's rows by the inverse mapping of Traffic's, with everything that has a place on Landing.
pub(super) struct ByInverse {
    mapping: Arc<TableMapping>,
    places: Vec<ColumnPlace>,
    limits: Box<Limits>,
    since_switch: SinceSwitch,
    /// See [`flowing::stays`].
    stays: String,
}

impl<'c> ComparedSides<'c, ByInverse> {
    pub(super) async fn reverse(databases: Databases<'c>, table: Table) -> Result<Self> {
        let Databases { traffic, names, .. } = databases;
        let since_switch = SinceSwitch::read(traffic, names, table).await?;
        let mapping = catalog::mapping(databases, &[table]).await?;
        let target = LandingTarget::read(databases.on(Side::Landing), mapping.of(table)).await?;
        let LandingTarget { layout, places, .. } = target;
        let read = TargetCatalog::read(databases.on(Side::Traffic), &[table], &mapping).await?;
        let (mapping, limits) = (Arc::clone(mapping.of(table)), read.limits(table).into());
        let expectation =
            ByInverse { mapping, places, limits, since_switch, stays: flowing::stays(names, table) };
        let may_hold_large = LargeHolders::find(databases, table).await?;
        Ok(ComparedSides { databases, layout, expectation, may_hold_large, pace: None })
    }
}

impl Expectation for ByInverse {
    const READS_ROWS_BORN_ON_TRAFFIC: bool = true;

    type Landing = Row;

    fn landing(&self, row: Row, _: usize) -> Row {
        row
    }

    fn id(landing: &Row) -> Uuid {
        landing.id
    }

    /// The row flows to Landing, and came from Landing or was written since the switch.
    fn must_be_on_landing(&self) -> String {
        let (stays, since_switch) = (&self.stays, self.since_switch.condition());
        format!("(NOT {stays} AND (t.landing_synced_at IS NOT NULL OR {since_switch}))")
    }

    fn stays_on_traffic(&self) -> String {
        self.stays.clone()
    }

    fn judge(&self, met: &Met<'_, Row>, found: &mut Comparison) {
        match *met {
            Met::Landing(own) => found.note(own.id, Difference::Extra),
            Met::Traffic(held) if held.must_be_on_landing => {
                found.note(held.image.id, Difference::Missing);
            }
            Met::Traffic(_) => found.elsewhere += 1,
            // A lead of Traffic's own is never carried, so a lead of Landing with the same id is another lead.
            Met::Both(own, held) if held.stays_on_traffic && own.table == Table::LandingLeads => {
                found.elsewhere += 1;
            }
            // The row's lead stays on Traffic, so the row must not be on Landing.
            Met::Both(own, held) if held.stays_on_traffic => found.note(own.id, Difference::Extra),
            Met::Both(own, held) => self.pair(own, &held.image, found),
        }
    }
}

impl ByInverse {
    fn pair(&self, own: &Row, held: &TrafficImage, found: &mut Comparison) {
        let ByInverse { mapping, places, limits, .. } = self;
        let expected = inverse(held, Some(own), Inverse { mapping, places, limits });
        let (mut columns, mut is_later): (Vec<Cow<'static, str>>, _) = (Vec::new(), false);
        let values = expected.values.iter().zip(&own.values);
        for (column, (expected, own)) in mapping.columns().iter().zip(values) {
            found.values += 1;
            if expected != own {
                // Times in UTC and ISO form sort in the order of their text.
                is_later |= column.name == "updated_at" && own.as_str() > expected.as_str();
                columns.push(column.name.clone());
            }
        }
        match &columns[..] {
            [] => {}
            [only] if only == "updated_at" && is_later => found.stamped += 1,
            _ => found.note(held.id, Difference::Different(columns)),
        }
    }
}
