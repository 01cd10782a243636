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
//! | `source`, `amocrm_lead_id`, `amocrm_contact_id` | the first of Traffic's `landing_` column, Landing's own value, Traffic's value as text that maps to Traffic's value |
//! | `phone_normalized` | `landing_phone_normalized`; where it is null, Landing's own value as long as `phone` is the same, else Traffic's |
//! | `utm_*` | Traffic's `landing_utm_*`, if it is empty or maps to Traffic's value, else Traffic's value |
//! | `metadata` | Traffic's `metadata`, with `utm_*`, `funnel_type` and `fb_*` put in where neither `metadata` nor the columns above imply Traffic's values |
//! | `click_count`, and the four flags | Landing's own value if the value maps to Traffic's, else Traffic's value as text |
//!
//! Traffic's trigger (migration 029) keeps the `landing_` columns in step with what Traffic's writers change, so
//! the first alternative is the rule, and the others are for rows that were written without the trigger. A null
//! for a column that is NOT NULL on Landing becomes the empty text, false, 0 or `{}`. A column that Landing lacks
//! or computes is left alone. [`not_carried`](super::not_carried) lists the changes that have no place on Landing.

use bytestring::ByteString;
use uuid::Uuid;

use super::metadata;
use crate::mapping::{Limits, Rule, TableMapping, known_targets, values};
use crate::model::change::{ColumnType, Datum, Row, Table, lead};

/// A Traffic row: a text or null for each of [`TableMapping::targets`].
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
        self.text(column).map(|text| &**text)
    }

    fn text(&self, column: &str) -> Option<&ByteString> {
        // The columns that the rules fill come first in every mapping.
        let at = known_targets(self.table).iter().position(|target| target.name == column)?;
        self.values.get(at)?.as_ref()
    }
}

/// Properties of one Landing column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnPlace {
    /// The column exists, and PostgreSQL does not compute the value.
    pub is_written: bool,
    pub is_not_null: bool,
    /// Landing gives the column a value of its own where an INSERT gives none.
    pub has_default: bool,
}

/// A place for each of [`TableMapping::columns`].
pub type Places = [ColumnPlace];

/// What the inverse mapping of a table knows of both sides.
#[derive(Clone, Copy)]
pub struct Inverse<'i> {
    pub mapping: &'i TableMapping,
    pub places: &'i Places,
    /// The limits of Traffic's columns, one for each of [`TableMapping::targets`].
    pub limits: &'i Limits,
}

/// The Landing row that Traffic's row (`held`) becomes. `now` is the row that Landing has now; columns that
/// are not written keep the values of `now`.
pub fn inverse(held: &TrafficImage, now: Option<&Row>, way: Inverse<'_>) -> Row {
    let Inverse { mapping, places, limits } = way;
    let mut row = verbatim(held, now, way);
    if held.table == Table::LandingLeads {
        spell(&mut row, held, now, limits);
        // A column that Landing lacks gives the forward mapping no value.
        for (value, place) in row.values.iter_mut().zip(places) {
            if !place.is_written {
                *value = Datum::Null;
            }
        }
        let metadata = metadata_of(held, &row, way);
        set(&mut row, lead::METADATA, metadata);
    }
    let columns = mapping.columns().iter().zip(places).enumerate();
    for (at, (column, place)) in columns {
        let theirs = now.and_then(|now| now.values.get(at)).cloned();
        let Some(value) = row.values.get_mut(at) else { continue };
        if !place.is_written {
            *value = theirs.unwrap_or(Datum::Null);
        } else if place.is_not_null && *value == Datum::Null {
            *value = match (column.is_passthrough && place.has_default, theirs) {
                // Landing keeps its value. The INSERT of a new row takes Landing's default.
                (true, theirs) => theirs.unwrap_or(Datum::Null),
                (false, _) => when_null(column.kind),
            };
        }
    }
    row
}

/// The Landing columns that each correspond to one column of Traffic; the other columns are null.
fn verbatim(held: &TrafficImage, now: Option<&Row>, way: Inverse<'_>) -> Row {
    let Inverse { mapping, limits, .. } = way;
    // A Landing row that is too long for Traffic does not map, so none of its spellings is kept.
    let mapped = now.and_then(|now| Some((now, mapping.map(now, limits).ok()?)));
    let mut values = vec![Datum::Null; mapping.columns().len()];
    for (at, (target, theirs)) in mapping.targets().iter().zip(&held.values).enumerate() {
        let column = match target.rule() {
            Rule::Verbatim(column) | Rule::FalseWhenNull(column) | Rule::ZeroWhenNull(column) => column,
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

/// Sets the columns of which Traffic keeps Landing's spelling.
fn spell(row: &mut Row, held: &TrafficImage, now: Option<&Row>, limits: &Limits) {
    set(row, lead::SOURCE, source(held, now, limits));
    for (column, name, spelling) in [
        (lead::AMOCRM_LEAD_ID, "amocrm_lead_id", "landing_amocrm_lead_id"),
        (lead::AMOCRM_CONTACT_ID, "amocrm_contact_id", "landing_amocrm_contact_id"),
    ] {
        let number = held.value(name);
        let gives =
            |text: &str| values::number(text).ok().flatten().map(|n| n.to_string()).as_deref() == number;
        let spelled = held.value(spelling).filter(|text| gives(text));
        let own = now.and_then(|now| now.values.get(column)).and_then(Datum::as_str);
        let own = own.filter(|text| spelled.is_none() && gives(text));
        set(row, column, datum(spelled.or(own).or(number)));
    }
    for (column, name, spelling) in [
        (lead::UTM_SOURCE, "utm_source", "landing_utm_source"),
        (lead::UTM_MEDIUM, "utm_medium", "landing_utm_medium"),
        (lead::UTM_CAMPAIGN, "utm_campaign", "landing_utm_campaign"),
        (lead::UTM_CONTENT, "utm_content", "landing_utm_content"),
        (lead::UTM_TERM, "utm_term", "landing_utm_term"),
    ] {
        let (value, spelled) = (held.value(name), held.value(spelling));
        let gives = |text: &str| text.is_empty() || Some(cut(text, limit(name, limits))) == value;
        set(row, column, datum(spelled.filter(|text| gives(text)).or(spelled.and(value))));
    }
    let same_phone = now.is_some_and(|now| now.values.get(lead::PHONE) == row.values.get(lead::PHONE));
    let own = now.filter(|_| same_phone).map(|now| now.values.get(lead::PHONE_NORMALIZED));
    let normalized = match (held.value("landing_phone_normalized"), own) {
        (Some(spelled), _) => Datum::text(spelled),
        (None, Some(own)) => own.cloned().unwrap_or(Datum::Null),
        (None, None) => datum(held.value("phone_normalized")),
    };
    set(row, lead::PHONE_NORMALIZED, normalized);
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
fn metadata_of(held: &TrafficImage, row: &Row, way: Inverse<'_>) -> Datum {
    let base = held.value("metadata");
    // Shares the text, because metadata may be very large.
    let unchanged = held.text("metadata").cloned().map_or(Datum::Null, Datum::Text);
    let mut plain = row.clone();
    set(&mut plain, lead::METADATA, unchanged.clone());
    if base.is_some_and(|base| !metadata::is_object(base)) {
        return unchanged;
    }
    let Ok(mapped) = way.mapping.map(&plain, way.limits) else { return unchanged };
    let source = row.values.get(lead::SOURCE).and_then(Datum::as_str);
    let mut put = Vec::new();
    for (target, (ours, theirs)) in way.mapping.targets().iter().zip(mapped.values.iter().zip(&held.values)) {
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
            put.push((&*target.name, theirs));
        }
    }
    if put.is_empty() { unchanged } else { Datum::text(metadata::with_members(base, &put)) }
}

fn limit(column: &str, limits: &Limits) -> Option<usize> {
    let at = known_targets(Table::LandingLeads).iter().position(|target| target.name == column)?;
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
        ColumnType::Uuid | ColumnType::Timestamptz | ColumnType::Other => Datum::Null,
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
