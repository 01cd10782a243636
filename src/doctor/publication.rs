//! The publication must send whole rows of exactly the replicated tables, with all operations.

use tokio_postgres::Client;

use super::Outcome;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::report::Verdict;

/// The publication in the catalog.
struct Publication {
    all_tables: bool,
    every_operation: bool,
    /// Quoted, with schema.
    tables: Vec<String>,
    /// Tables published with a column list or a row filter, so that columns or rows would be missing.
    in_part: Vec<String>,
}

pub async fn exists(client: &Client, config: &Config) -> Outcome {
    let name = &config.names.publication;
    let Some(publication) = read(client, name).await? else {
        return Ok(Verdict::error(
            format!("publication {name} does not exist"),
            "run `leadbridge migrate`, or have a DBA run what `leadbridge migrate --print` shows",
        ));
    };
    let wanted: Vec<String> =
        config.tables().into_iter().map(|table| config.names.landing_table(table)).collect();
    Ok(judge(name, &publication, &wanted))
}

fn judge(name: &str, publication: &Publication, wanted: &[String]) -> Verdict {
    if publication.all_tables {
        return Verdict::error(
            format!("publication {name} is FOR ALL TABLES: the LMS's changes would all be decoded and sent"),
            format!(
                "DROP PUBLICATION {name} and run `leadbridge migrate`, or choose another name in [names]"
            ),
        );
    }
    let missing = wanted.iter().filter(|table| !publication.tables.contains(table));
    let extra = publication.tables.iter().filter(|table| !wanted.contains(table));
    let mut wrong: Vec<String> = missing.map(|table| format!("{table} is missing")).collect();
    wrong.extend(extra.map(|table| format!("{table} does not belong there")));
    wrong
        .extend(publication.in_part.iter().map(|table| format!("{table} has a column list or a row filter")));
    if !publication.every_operation {
        wrong.push("not every operation is published".to_owned());
    }
    Verdict::none_of(
        &wrong,
        &format!("publication {name} has exactly the wanted tables"),
        &format!("publication {name} does not fit"),
        format!(
            "run ALTER PUBLICATION \"{name}\" SET TABLE {}; ALTER PUBLICATION \"{name}\" SET (publish = 'insert, \
             update, delete, truncate')",
            wanted.join(", ")
        ),
    )
}

async fn read(client: &Client, name: &str) -> Result<Option<Publication>> {
    let failed = |error: &tokio_postgres::Error| Error::database("reading the publication", error);
    let sql = "SELECT oid, puballtables, pubinsert AND pubupdate AND pubdelete AND pubtruncate \
               FROM pg_publication WHERE pubname = $1";
    let Some(row) = client.query_opt(sql, &[&name]).await.map_err(|error| failed(&error))? else {
        return Ok(None);
    };
    // pg_publication_tables also lists the tables that FOR TABLES IN SCHEMA adds.
    let sql = "SELECT format('\"%s\".\"%s\"', replace(t.schemaname::text, '\"', '\"\"'), \
               replace(t.tablename::text, '\"', '\"\"')), EXISTS (SELECT FROM pg_publication_rel AS r \
               JOIN pg_class AS c ON c.oid = r.prrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace \
               WHERE r.prpubid = $2 AND c.relname = t.tablename AND n.nspname = t.schemaname \
               AND (r.prattrs IS NOT NULL OR r.prqual IS NOT NULL)) \
               FROM pg_publication_tables AS t WHERE t.pubname = $1";
    let oid: u32 = row.get(0);
    let rows = client.query(sql, &[&name, &oid]).await.map_err(|error| failed(&error))?;
    let in_part = rows.iter().filter(|row| row.get(1));
    Ok(Some(Publication {
        all_tables: row.get(1),
        every_operation: row.get(2),
        tables: rows.iter().map(|row| row.get(0)).collect(),
        in_part: in_part.map(|row| row.get(0)).collect(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Level;

    fn publication(tables: &[&str]) -> Publication {
        Publication {
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
            assert!(verdict.message.contains(says), "{}", verdict.message);
        }
        let all = Publication { all_tables: true, ..publication(&["a", "b"]) };
        assert_eq!(judge("p", &all, &wanted).level, Level::Error);
        let half = Publication { every_operation: false, ..publication(&["a", "b"]) };
        assert_eq!(judge("p", &half, &wanted).level, Level::Error);
        let filtered = Publication { in_part: vec!["a".into()], ..publication(&["a", "b"]) };
        assert_eq!(judge("p", &filtered, &wanted).level, Level::Error);
    }
}
