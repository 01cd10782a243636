//! The publication must send whole rows of exactly the replicated tables, with all operations.

use tokio_postgres::Client;

use super::Outcome;
use crate::error::Result;
use crate::language::{Message, message};
use crate::model::change::Table;
use crate::model::names::Names;
use crate::postgres::publication::{self, PublicationMember};
use crate::report::Verdict;

/// The publication in the catalog.
struct PublicationShape {
    all_tables: bool,
    every_operation: bool,
    /// Quoted, with schema.
    tables: Vec<String>,
    /// Tables published with a column list or a row filter, so that columns or rows would be missing.
    in_part: Vec<String>,
}

pub async fn exists(client: &Client, names: &Names, tables: &[Table]) -> Outcome {
    let name = &names.publication;
    let Some(publication) = read(client, name).await? else {
        return Ok(Verdict::error(
            message!("doctor-publication-absent", name = name),
            message!("report-migrate-or-print"),
        ));
    };
    let wanted: Vec<String> = tables.iter().map(|table| names.landing_table(*table)).collect();
    Ok(judge(name, &publication, &wanted))
}

fn judge(name: &str, publication: &PublicationShape, wanted: &[String]) -> Verdict {
    if publication.all_tables {
        return Verdict::error(
            message!("doctor-publication-all-tables", name = name),
            message!("doctor-publication-all-tables-remedy", name = name),
        );
    }
    let missing = wanted.iter().filter(|table| !publication.tables.contains(table));
    let extra = publication.tables.iter().filter(|table| !wanted.contains(table));
    let mut wrong: Vec<Message> =
        missing.map(|table| message!("doctor-publication-table-missing", table = table)).collect();
    wrong.extend(extra.map(|table| message!("doctor-publication-table-extra", table = table)));
    wrong.extend(
        publication.in_part.iter().map(|table| message!("doctor-publication-table-in-part", table = table)),
    );
    if !publication.every_operation {
        wrong.push(message!("doctor-publication-operations"));
    }
    if wrong.is_empty() {
        return Verdict::ok(message!("doctor-publication-fits", name = name));
    }
    Verdict::error(
        message!("doctor-publication-unfit", name = name, wrong = Message::joined(wrong, ", ")),
        message!("doctor-publication-unfit-remedy", name = name, tables = wanted.join(", ")),
    )
}

async fn read(client: &Client, name: &str) -> Result<Option<PublicationShape>> {
    let Some(entry) = publication::read(client, name).await? else { return Ok(None) };
    let members = publication::members(client, name).await?;
    Ok(Some(PublicationShape {
        all_tables: entry.all_tables,
        every_operation: entry.every_operation,
        tables: members.iter().map(PublicationMember::qualified).collect(),
        in_part: members.iter().filter(|m| m.is_partial()).map(PublicationMember::qualified).collect(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Level;

    fn publication(tables: &[&str]) -> PublicationShape {
        PublicationShape {
            all_tables: false,
            every_operation: true,
            tables: tables.iter().map(|table| (*table).to_owned()).collect(),
            in_part: Vec::new(),
        }
    }

    #[test]
    fn a_publication_must_have_the_wanted_tables_and_no_others() {
        let wanted = ["a".to_owned(), "b".to_owned()];
        assert_eq!(judge("p", &publication(&["b", "a"]), &wanted).level, Level::Ok);
        for (tables, says) in
            [(&["a"][..], "b is missing"), (&["a", "b", "users"], "users does not belong there")]
        {
            let verdict = judge("p", &publication(tables), &wanted);
            assert_eq!(verdict.level, Level::Error);
            assert!(verdict.message.to_string().contains(says), "{}", verdict.message);
        }
        let all = PublicationShape { all_tables: true, ..publication(&["a", "b"]) };
        assert_eq!(judge("p", &all, &wanted).level, Level::Error);
        let half = PublicationShape { every_operation: false, ..publication(&["a", "b"]) };
        assert_eq!(judge("p", &half, &wanted).level, Level::Error);
        let filtered = PublicationShape { in_part: vec!["a".into()], ..publication(&["a", "b"]) };
        assert_eq!(judge("p", &filtered, &wanted).level, Level::Error);
    }
}
