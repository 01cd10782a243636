//! Which rows of Traffic flow back to Landing after a cutover: leads that came from Landing, leads that were born
//! through Landing's names or `find_or_create_unified_lead`, and the journey entries and notifications of these
//! leads. A lead that Traffic's own code made stays on Traffic with everything that refers to the lead.

use crate::model::change::Table;
use crate::model::names::Names;

/// SQL condition on a row `t` of Traffic's table of `table`: the row stays on Traffic. A row whose lead is
/// missing does not stay, so that reverse replication reports the missing lead.
pub fn stays(names: &Names, table: Table) -> String {
    if table.lead_column().is_none() {
        return is_traffics_lead("t");
    }
    format!(
        "EXISTS (SELECT FROM {} AS l WHERE l.id = t.lead_id AND {})",
        names.traffic_table(Table::LandingLeads),
        is_traffics_lead("l")
    )
}

/// The complement of [`stays`].
pub fn flows(names: &Names, table: Table) -> String {
    format!("NOT {}", stays(names, table))
}

/// SQL condition on a row of `traffic_leads`: Traffic's own code made the lead.
pub(super) fn is_traffics_lead(alias: &str) -> String {
    format!("({alias}.landing_synced_at IS NULL AND NOT {alias}.landing_lead)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_stays_with_its_lead() {
        let names = Names::default();
        let lead = stays(&names, Table::LandingLeads);
        assert_eq!(lead, "(t.landing_synced_at IS NULL AND NOT t.landing_lead)");
        for child in Table::ALL.into_iter().filter(|table| table.lead_column().is_some()) {
            let condition = stays(&names, child);
            assert!(
                condition.contains(r#""public"."traffic_leads" AS l WHERE l.id = t.lead_id"#),
                "{condition}"
            );
            assert!(condition.contains(&lead.replace("t.", "l.")), "{condition}");
        }
    }
}
