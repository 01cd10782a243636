//! The inverse mapping: a Traffic row becomes the Landing row from which the forward mapping would make the
//! Traffic row; pure.
//!
//! The inverse mapping keeps two promises, in this order. Everything that can be carried is carried: the
//! forward mapping of the result gives Traffic's values. And Landing keeps its own spelling wherever the
//! spelling maps to Traffic's value already: `007` for 7, null for false.
//!
//! | Landing's column | gets |
//! |---|---|
//! | `email`, `name`, `phone`, `amocrm_synced`, `email_clicked_at`, `sms_clicked_at`, `created_at`, `updated_at`; all columns of a journey entry or a notification | Traffic's value |
//! | `source` | the first of `landing_source`, Landing's own `source`, Traffic's `source` that maps to Traffic's `source` |
//! | `metadata` | Traffic's `metadata`, with `utm_*`, `funnel_type` and `fb_*` put in where `metadata` does not imply Traffic's values |
//! | `amocrm_lead_id`, `amocrm_contact_id`, `click_count`, and the four flags | Landing's own value if the value maps to Traffic's, else Traffic's value as text |
//! | `phone_normalized` | Landing's own value as long as `phone` is the same, else Traffic's |
//!
//! A null for a column that is NOT NULL on Landing becomes the empty text, false, 0 or `{}`. A column that
//! Landing lacks or computes is left alone. [`not_carried`](super::not_carried) lists the changes that have
//! no place on Landing.

use bytestring::ByteString;
use uuid::Uuid;

use super::metadata;
use crate::mapping::{self, Limits, Rule, values};
use crate::model::change::{ColumnType, Datum, Row, Table, lead};

/// A Traffic row: a text or null for each of [`mapping::targets`].
#[derive(Clone, PartialEq, Eq)]
pub struct TrafficImage {
    pub table: Table,
    pub id: Uuid,
    pub values: Vec<Option<ByteString>>,
}

impl TrafficImage {
    /// The lead of a journey entry or a notification.
    pub fn lead_id(&self) -> Option<Uuid> {
        self.table.lead_column()?;
        self.value("lead_id")?.parse().ok()
    }

    fn value(&self, column: &str) -> Option<&str> {
        let at = mapping::targets(self.table).iter().position(|target| target.name == column)?;
        self.values.get(at)?.as_deref()
    }
}

/// Properties of one Landing column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnPlace {
    /// The column exists, and PostgreSQL does not compute the value.
    pub is_written: bool,
    pub is_not_null: bool,
}

/// A place for each of [`Table::columns`].
pub type Places = [ColumnPlace];

/// The Landing row that Traffic's row (`held`) becomes. `now` is the row that Landing has now; columns that
/// are not written keep the values of `now`. `limits` are the limits of Traffic's columns.
pub fn inverse(held: &TrafficImage, now: Option<&Row>, places: &Places, limits: &Limits) -> Row {
    let mut row = verbatim(held, now, limits);
    if held.table == Table::LandingLeads {
        set(&mut row, lead::SOURCE, source(held, now, limits));
        let metadata = metadata_of(held, &row, limits);
        set(&mut row, lead::METADATA, metadata);
        let same_phone = now.is_some_and(|now| now.values.get(lead::PHONE) == row.values.get(lead::PHONE));
        let normalized = match now.filter(|_| same_phone) {
            Some(now) => now.values.get(lead::PHONE_NORMALIZED).cloned().unwrap_or(Datum::Null),
            None => datum(held.value("phone_normalized")),
        };
        set(&mut row, lead::PHONE_NORMALIZED, normalized);
    }
    let columns = held.table.columns().iter().zip(places).enumerate();
    for (at, (column, place)) in columns {
        let theirs = now.and_then(|now| now.values.get(at)).cloned();
        let Some(value) = row.values.get_mut(at) else { continue };
        if !place.is_written {
            *value = theirs.unwrap_or(Datum::Null);
        } else if place.is_not_null && *value == Datum::Null {
            *value = when_null(column.kind);
        }
    }
    row
}

/// The Landing columns that each correspond to one column of Traffic; the other columns are null.
fn verbatim(held: &TrafficImage, now: Option<&Row>, limits: &Limits) -> Row {
    let targets = mapping::targets(held.table);
    // A Landing row that is too long for Traffic does not map, so none of its spellings is kept.
    let mapped = now.and_then(|now| Some((now, mapping::map(now, limits).ok()?)));
    let mut values = vec![Datum::Null; held.table.columns().len()];
    for (at, (target, theirs)) in targets.iter().zip(&held.values).enumerate() {
        let column = match target.rule() {
            Rule::Verbatim(column)
            | Rule::Number(column)
            | Rule::FalseWhenNull(column)
            | Rule::ZeroWhenNull(column) => column,
            _ => continue,
        };
        let own = mapped.as_ref().filter(|(_, mapped)| mapped.values.get(at) == Some(theirs));
        let value = match own.and_then(|(now, _)| now.values.get(column)) {
            Some(own) => own.clone(),
            None => theirs.clone().map_or(Datum::Null, Datum::Text),
        };
        if let Some(place) = values.get_mut(column) {
            *place = value;
        }
    }
    let mut row = Row { table: held.table, id: held.id, values: values.into() };
    set(&mut row, 0, Datum::text(held.id.to_string()));
    row
}

/// A `source` that maps to Traffic's `source`. If there is none: Landing's own, or for a new lead
/// `landing_source`, else Traffic's `source`.
fn source(held: &TrafficImage, now: Option<&Row>, limits: &Limits) -> Datum {
    let (landing_source, source) = (held.value("landing_source"), held.value("source"));
    let own = now.map(|now| now.values.get(lead::SOURCE).and_then(Datum::as_str));
    let limit = limit("source", limits);
    let gives = |candidate: &Option<&str>| Some(cut(values::source_word(*candidate), limit)) == source;
    let found = [Some(landing_source), own, Some(source)].into_iter().flatten().find(gives);
    datum(found.unwrap_or_else(|| own.unwrap_or(landing_source.or(source))))
}

/// Traffic's `metadata`. Values of derived columns are put in where the forward mapping would not get the
/// values from the metadata alone.
fn metadata_of(held: &TrafficImage, row: &Row, limits: &Limits) -> Datum {
    let base = held.value("metadata");
    let mut plain = row.clone();
    set(&mut plain, lead::METADATA, datum(base));
    let unchanged = datum(base);
    if base.is_some_and(|base| !metadata::is_object(base)) {
        return unchanged;
    }
    let targets = mapping::targets(Table::LandingLeads);
    let Ok(mapped) = mapping::map(&plain, limits) else { return unchanged };
    let source = row.values.get(lead::SOURCE).and_then(Datum::as_str);
    let mut put = Vec::new();
    for (target, (ours, theirs)) in targets.iter().zip(mapped.values.iter().zip(&held.values)) {
        // Null cannot be put in, nor the empty text for a UTM column, because the forward mapping passes over
        // both.
        let Some(theirs) = theirs.as_deref().filter(|text| ours.as_deref() != Some(*text)) else { continue };
        let works = match target.rule() {
            Rule::Utm { .. } => !theirs.is_empty(),
            Rule::FacebookKey => true,
            Rule::Funnel { .. } => values::funnel(source, Some(theirs)) == theirs,
            _ => false,
        };
        if works {
            put.push((target.name, theirs));
        }
    }
    if put.is_empty() { unchanged } else { Datum::text(metadata::with_members(base, &put)) }
}

fn limit(column: &str, limits: &Limits) -> Option<usize> {
    let at = mapping::targets(Table::LandingLeads).iter().position(|target| target.name == column)?;
    limits.get(at).copied().flatten()
}

fn cut(text: &str, limit: Option<usize>) -> &str {
    let end = limit.and_then(|limit| values::char_end(text, limit));
    end.and_then(|end| text.get(..end)).unwrap_or(text)
}

fn when_null(kind: ColumnType) -> Datum {
    match kind {
        ColumnType::Text => Datum::text(""),
        ColumnType::Boolean => Datum::text("f"),
        ColumnType::Integer => Datum::text("0"),
        ColumnType::Jsonb => Datum::text("{}"),
        // Landing refuses a null here, and the row is quarantined.
        ColumnType::Uuid | ColumnType::Timestamptz => Datum::Null,
    }
}

fn datum(text: Option<&str>) -> Datum {
    text.map_or(Datum::Null, Datum::text)
}

fn set(row: &mut Row, column: usize, value: Datum) {
    if let Some(place) = row.values.get_mut(column) {
        *place = value;
    }
}

#[cfg(test)]
#[path = "inverse_tests.rs"]
mod tests;
