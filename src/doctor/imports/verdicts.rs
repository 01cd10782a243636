//! What an operator is told of earlier imports; pure.

use super::{COMPARED, EarlierImports, Found, LISTED};
use crate::language::{Argument, message};
use crate::model::change::Table;
use crate::model::names::Names;
use crate::model::same_id::SameId;
use crate::report::Verdict;

const GUIDE: &str = "docs/imports.md";

impl EarlierImports {
    pub(super) fn judge(&self, setting: SameId, names: &Names) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        if self.same_id.count > 0 {
            verdicts.push(self.same_ids(setting, names));
        }
        if self.other_id.count > 0 {
            verdicts.push(self.other_ids(names));
        }
        if verdicts.is_empty() {
            verdicts.push(Verdict::ok(message!("doctor-imports-none")));
        }
        verdicts
    }

    fn same_ids(&self, setting: SameId, names: &Names) -> Verdict {
        let found = message!("doctor-imports-same-id", count = self.same_id.count);
        let list = self.query(&self.same_id, names);
        match setting {
            SameId::Refuse => Verdict::error(
                message!("doctor-imports-same-id-refused", found = found),
                message!(
                    "doctor-imports-same-id-refused-remedy",
                    notes = names.own("conversion_notes"),
                    guide = GUIDE,
                    list = list
                ),
            ),
            SameId::Landing => Verdict::warning(
                message!(
                    "doctor-imports-same-id-landing-wins",
                    found = found,
                    notes = names.own("conversion_notes")
                ),
                message!("doctor-imports-same-id-landing-wins-remedy", guide = GUIDE, list = list),
            ),
        }
    }

    fn other_ids(&self, names: &Names) -> Verdict {
        let count = self.other_id.count;
        let counted = match self.is_partial {
            true => Argument::from(message!("doctor-imports-at-least", count = count, compared = COMPARED)),
            false => Argument::from(count),
        };
        Verdict::warning(
            message!("doctor-imports-other-id", counted = counted),
            message!(
                "doctor-imports-other-id-remedy",
                guide = GUIDE,
                list = self.query(&self.other_id, names)
            ),
        )
    }

    /// A query that lists the leads found, or the first of them.
    fn query(&self, found: &Found, names: &Names) -> String {
        let is_whole = found.count <= LISTED as u64;
        let condition = match found.count == self.own_count && !is_whole {
            true => self.own.clone(),
            false => {
                let ids: Vec<_> = found.first.iter().map(|id| format!("'{id}'")).collect();
                format!("id IN ({})", ids.join(", "))
            }
        };
        let some = match is_whole || found.count == self.own_count {
            true => String::new(),
            false => format!(" -- the first {LISTED}"),
        };
        format!(
            "SELECT id, name, phone, email, created_at FROM {} WHERE {condition} ORDER BY created_at{some}",
            names.traffic_table(Table::LandingLeads)
        )
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::report::Level;

    fn found(count: u128) -> Found {
        let mut found = Found::default();
        (0..count).for_each(|id| found.add(Uuid::from_u128(id)));
        found
    }

    fn imports(same_id: u128, other_id: u128) -> EarlierImports {
        let (own, own_count) = ("landing_synced_at IS NULL".to_owned(), 1_000);
        let (same_id, other_id) = (found(same_id), found(other_id));
        EarlierImports { own, own_count, same_id, other_id, is_partial: false }
    }

    #[test]
    fn the_same_id_stops_a_copy_unless_landing_wins_and_another_id_never_does() {
        let names = Names::default();
        let levels = |imports: EarlierImports, setting| {
            imports.judge(setting, &names).iter().map(|verdict| verdict.level).collect::<Vec<_>>()
        };
        assert_eq!(levels(imports(0, 0), SameId::Refuse), [Level::Ok]);
        assert_eq!(levels(imports(1, 1), SameId::Refuse), [Level::Error, Level::Warning]);
        assert_eq!(levels(imports(1, 0), SameId::Landing), [Level::Warning]);
        assert_eq!(levels(imports(0, 1), SameId::Refuse), [Level::Warning]);
    }

    #[test]
    fn a_query_lists_all_leads_by_id_or_by_condition_or_says_that_it_lists_the_first() {
        let query = |count| {
            let imports = imports(count, 0);
            imports.query(&imports.same_id, &Names::default())
        };
        assert!(query(2).contains(&format!("id IN ('{}', '{}')", Uuid::from_u128(0), Uuid::from_u128(1))));
        assert!(query(1_000).contains("WHERE landing_synced_at IS NULL ORDER BY"));
        assert!(!query(1_000).contains("first"));
        assert_eq!(
            (query(500).matches("-0000-0000-0000-").count(), query(500).contains("-- the first 100")),
            (100, true)
        );
    }

    #[test]
    fn a_count_that_reaches_the_bound_is_a_lower_bound() {
        let partial = EarlierImports { is_partial: true, ..imports(0, 7) };
        let message = partial.judge(SameId::Refuse, &Names::default())[0].message.to_string();
        assert!(message.contains("at least 7") && message.contains("100000"), "{message}");
    }
}
