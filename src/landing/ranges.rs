//! Ranges of a table's pages, so that a large table is read in several statements.

use crate::model::change::Table;

/// Pages in a range: few enough to spread the work evenly, enough to read in one go.
const RANGE_PAGES: i64 = 1024;

/// A range of a table's pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    pub table: Table,
    first_page: i64,
    /// First page after the range; `None` for the last range, because the table may have grown since the
    /// measurement.
    end_page: Option<i64>,
}

impl Range {
    /// The ranges of a table that has `pages` pages.
    pub fn all(table: Table, pages: i64) -> Vec<Range> {
        let range = |first| {
            let end = first + RANGE_PAGES;
            Range { table, first_page: first, end_page: (end < pages).then_some(end) }
        };
        (0..pages.max(1)).step_by(RANGE_PAGES as usize).map(range).collect()
    }

    /// SQL condition on a row: the range holds the row.
    pub fn condition(&self) -> String {
        let first = self.first_page;
        let end = self.end_page.map_or(String::new(), |end| format!(" AND ctid < '({end},0)'"));
        format!("ctid >= '({first},0)'{end}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_every_page_once_and_the_last_is_open() {
        let pages = |total| {
            Range::all(Table::LandingLeads, total)
                .iter()
                .map(|range| (range.first_page, range.end_page))
                .collect::<Vec<_>>()
        };
        assert_eq!(pages(0), [(0, None)]);
        assert_eq!(pages(1024), [(0, None)]);
        assert_eq!(pages(1025), [(0, Some(1024)), (1024, None)]);
        assert_eq!(pages(2048), [(0, Some(1024)), (1024, None)]);
    }

    #[test]
    fn a_condition_names_the_pages_by_their_tuple_ids() {
        let conditions: Vec<_> = Range::all(Table::LandingLeads, 1025).iter().map(Range::condition).collect();
        assert_eq!(conditions, ["ctid >= '(0,0)' AND ctid < '(1024,0)'", "ctid >= '(1024,0)'"]);
    }
}
