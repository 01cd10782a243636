//! Which rule gave each column of a lead its value, and whether Traffic has that value; pure.

use bytestring::ByteString;
use serde::Serialize;

use crate::language::Message;
use crate::mapping::inverse::TrafficImage;
use crate::mapping::{Limits, Origin, Rejection, TableMapping, Target};
use crate::model::change::Row;

/// A mapped column of `traffic_leads`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ColumnExplanation {
    pub column: String,
    /// The rule in words.
    pub rule: String,
    /// The place on Landing that decided the value, as SQL; `null` where no place of the rule did.
    pub from: Option<String>,
    /// What the rule does with the value of the place, or what it gives without one. `null` without a row on Landing.
    pub how: Option<String>,
    /// Whether Traffic has the value that the mapping gives; `null` where Landing does not decide the column, and
    /// where one of the two rows is missing.
    pub equal: Option<bool>,
    /// Why the values differ.
    pub reason: Option<Message>,
    /// Why the mapping changed the value: the conversion note.
    pub note: Option<String>,
    /// The values, where values were asked for.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub values: Option<ColumnValues>,
}

/// The values of a column as PostgreSQL's text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ColumnValues {
    /// What the mapping gives of Landing's row.
    pub given: Option<String>,
    pub on_traffic: Option<String>,
}

/// The rows of a lead as they were read.
pub struct LeadRows<'r> {
    pub mapping: &'r TableMapping,
    /// The longest texts that Traffic's columns take, one for each of [`TableMapping::targets`].
    pub limits: &'r Limits,
    pub landing: Option<&'r Row>,
    pub traffic: Option<&'r TrafficImage>,
}

impl LeadRows<'_> {
    /// One entry for each of [`TableMapping::targets`], and why Traffic cannot hold the row, if it cannot.
    pub fn explain(&self, with_values: bool) -> (Vec<ColumnExplanation>, Option<Rejection>) {
        let origins: Option<Vec<Origin>> = self.landing.map(|row| self.mapping.origins(row));
        let (mapped, rejection) = match self.landing.map(|row| self.mapping.map(row, self.limits)) {
            Some(Ok(mapped)) => (Some(mapped), None),
            Some(Err(rejection)) => (None, Some(rejection)),
            None => (None, None),
        };
        let explain = |(at, target): (usize, &Target)| {
            let origin = origins.as_ref().and_then(|origins| origins.get(at));
            let given = text_of(mapped.as_ref().and_then(|mapped| mapped.values.get(at)));
            let held = text_of(self.traffic.and_then(|image| image.values.get(at)));
            let can_compare =
                mapped.is_some() && self.traffic.is_some() && self.mapping.decides(target, given);
            let notes = mapped.iter().flat_map(|mapped| &mapped.notes);
            let note = notes.filter(|note| note.column == target.name).map(|note| note.reason.clone());
            ColumnExplanation {
                column: target.name.to_string(),
                rule: self.mapping.rule_in_words(target),
                from: origin.and_then(|origin| Some(origin.place.as_ref()?.to_string())),
                how: origin.map(|origin| origin.how.to_string()),
                equal: can_compare.then(|| given == held),
                reason: None,
                note: note.reduce(|all, next| format!("{all}; {next}")),
                values: with_values.then(|| ColumnValues {
                    given: given.map(str::to_owned),
                    on_traffic: held.map(str::to_owned),
                }),
            }
        };
        (self.mapping.targets().iter().enumerate().map(explain).collect(), rejection)
    }
}

fn text_of(value: Option<&Option<ByteString>>) -> Option<&str> {
    value.and_then(|value| value.as_deref())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::mapping::Mapping;
    use crate::model::change::{Datum, Table, lead};

    fn landing(set: &[(usize, &str)]) -> Row {
        let mut values = vec![Datum::Null; Table::LandingLeads.columns().len()];
        for &(column, text) in set {
            values[column] = Datum::text(text);
        }
        Row { table: Table::LandingLeads, id: Uuid::nil(), values: values.into() }
    }

    fn explained(row: &Row, change: impl FnOnce(&mut TrafficImage)) -> Vec<ColumnExplanation> {
        let mapping = Mapping::whole();
        let mapping = mapping.of(Table::LandingLeads);
        let limits = vec![None; mapping.targets().len()];
        let values = mapping.map(row, &limits).unwrap().values;
        let mut image = TrafficImage { table: Table::LandingLeads, id: row.id, values };
        change(&mut image);
        let rows = LeadRows { mapping, limits: &limits, landing: Some(row), traffic: Some(&image) };
        rows.explain(false).0
    }

    fn named<'c>(columns: &'c [ColumnExplanation], name: &str) -> &'c ColumnExplanation {
        columns.iter().find(|column| column.column == name).unwrap()
    }

    #[test]
    fn what_traffic_owns_is_not_compared_and_what_differs_is_named() {
        let row = landing(&[(lead::NAME, "n"), (lead::AMOCRM_LEAD_ID, "12a"), (lead::METADATA, "{}")]);
        let at = |name: &str| {
            let mapping = Mapping::whole();
            mapping.of(Table::LandingLeads).targets().iter().position(|target| target.name == name).unwrap()
        };
        let columns = explained(&row, |image| {
            image.values[at("name")] = Some("other".into());
            image.values[at("fb_ad_id")] = Some("Traffic's".into());
        });
        assert_eq!(named(&columns, "name").equal, Some(false));
        assert_eq!(named(&columns, "email").equal, Some(true));
        let own = named(&columns, "fb_ad_id");
        assert_eq!((own.equal, own.from.as_deref()), (None, None));
        let number = named(&columns, "amocrm_lead_id");
        assert_eq!(number.note.as_deref(), Some("not only digits"));
        assert!(columns.iter().all(|column| column.values.is_none()));
    }

    #[test]
    fn a_row_that_traffic_cannot_hold_has_rules_and_no_comparison() {
        let row = landing(&[(lead::NAME, "too long")]);
        let mapping = Mapping::whole();
        let mapping = mapping.of(Table::LandingLeads);
        let limits = vec![Some(3); mapping.targets().len()];
        let rows = LeadRows { mapping, limits: &limits, landing: Some(&row), traffic: None };
        let (columns, rejection) = rows.explain(true);
        assert!(rejection.unwrap().message.contains("takes 3 characters"));
        assert!(columns.iter().all(|column| column.equal.is_none()));
        assert_eq!(named(&columns, "name").from.as_deref(), Some("name"));
    }
}
