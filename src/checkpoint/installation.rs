//! The installation to which a leadbridge schema belongs, on either database. The state tables hold rows
//! without a slot, so a second installation in the same schema would empty the first installation's
//! quarantine and mistake the first installation's fence for its own.

use tokio_postgres::Client;

use super::{Identity, own_schema};
use crate::error::{Error, Kind, Result};
use crate::language::message;
use crate::model::names::Names;
use crate::model::side::Side;
use crate::postgres::step::during;
use crate::postgres::{Database, Endpoint};

/// Record in the table `installation`: the installation that migrated first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    slot: String,
    publication: String,
    /// Landing's system identifier. `None` until a start, or a migration of both databases, has asked
    /// Landing.
    system_id: Option<String>,
    database: Option<String>,
}

impl Installation {
    /// Reads `installation`; in a schema from a version without that table, `checkpoint`, where a row of
    /// another slot comes first. `None` without a row, or when neither table is open to the role: the
    /// examination and `migrate`, necessary for every installation, name a missing table.
    ///
    /// # Errors
    /// The database cannot be queried.
    async fn read(database: Database<'_>) -> Result<Option<Self>> {
        let names = database.names;
        for table in ["installation", "checkpoint"] {
            let sql = format!(
                "SELECT slot, publication, landing_system_id, landing_database FROM {} ORDER BY slot = $1 LIMIT 1",
                names.own(table)
            );
            let step = database.during("reading which installation owns the schema");
            match step.row_if_any(&sql, &[&names.slot]).await {
                Ok(row) => {
                    return Ok(row.map(|row| Installation {
                        slot: row.get(0),
                        publication: row.get(1),
                        system_id: row.get(2),
                        database: row.get(3),
                    }));
                }
                Err(error) if error.kind() == Kind::Refused => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Refuses a schema of another installation. Every command calls this function before the first access to
    /// a state table on `side`.
    ///
    /// # Errors
    /// `Refused` when the schema on `side` belongs to another installation, as far as the configuration tells
    /// installations apart, or when somebody else has made the schema.
    pub async fn refuse_another(database: Database<'_>, landing: &Endpoint) -> Result<()> {
        own_schema::refuse_foreign_owner(database).await?;
        let Some(known) = Self::read(database).await? else { return Ok(()) };
        let Names { slot, publication, .. } = database.names;
        known.compare(&[slot, publication, landing.database()], (database.side, &database.names.schema))
    }

    /// Refuses a schema of another installation, with the identity that Landing has reported.
    ///
    /// # Errors
    /// `Refused` when the schema on `side` belongs to another installation.
    pub async fn refuse_another_than(identity: &Identity, database: Database<'_>) -> Result<()> {
        let Some(known) = Self::read(database).await? else { return Ok(()) };
        let Identity { landing_system_id, landing_database, slot, publication } = identity;
        known.compare(
            &[slot, publication, landing_database, landing_system_id],
            (database.side, &database.names.schema),
        )
    }

    /// Compares the record with `ours`: slot, publication, Landing's database and Landing's system
    /// identifier, as far as known.
    fn compare(&self, ours: &[&str], (side, schema): (Side, &str)) -> Result<()> {
        let known = [
            ("slot", Some(&self.slot)),
            ("publication", Some(&self.publication)),
            ("Landing database", self.database.as_ref()),
            ("Landing cluster (system identifier)", self.system_id.as_ref()),
        ];
        let named =
            known.into_iter().zip(ours).filter_map(|((what, known), ours)| Some((what, known?, *ours)));
        let Some((what, known, ours)) = named.into_iter().find(|(_, known, ours)| known != ours) else {
            return Ok(());
        };
        Err(Error::refused(format!(
            "{side}: the schema `{schema}` belongs to another installation: its {what} is `{known}`, this one's is \
             `{ours}`"
        ))
        .remedy(message!("checkpoint-remedy-own-schema")))
    }

    /// Refuses Traffic's tables when another leadbridge schema on Traffic replicates to the same tables,
    /// because a snapshot of either installation would remove the rows of the other.
    ///
    /// # Errors
    /// `Refused` when there is another such schema.
    pub async fn refuse_shared_tables(traffic: &Client, names: &Names) -> Result<()> {
        let step = during(traffic, "looking for other installations on Traffic");
        // A table of a stranger would bar every installation, and a policy on it would run with our rights.
        let sql = "WITH {{trusted}} SELECT n.nspname::text FROM pg_catalog.pg_class AS c \
                   JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
                   WHERE c.relname = 'installation' AND c.relkind = 'r' AND n.nspname::text <> $1 \
                   AND c.relowner IN (SELECT t.oid FROM trusted AS t) \
                   AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') \
                   AND pg_catalog.has_table_privilege(c.oid, 'SELECT') \
                   AND (SELECT count(*) FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = c.oid \
                        AND a.attname IN ('slot', 'traffic_schema', 'landing_system_id')) = 3";
        let sql = sql.replace("{{trusted}}", own_schema::trusted());
        let tables = own_schema::replicated(Database::traffic(traffic, names));
        for row in step.rows(&sql, &[&names.schema, &tables]).await? {
            let other = Names { schema: row.get(0), ..names.clone() };
            let sql = format!("SELECT slot FROM {} WHERE traffic_schema = $1", other.own("installation"));
            if let Some(row) = step.row_if_any(&sql, &[&names.traffic_schema]).await? {
                return Err(Error::refused(format!(
                    "Traffic: the tables of the schema `{}` belong to another installation: that of slot `{}`, whose \
                     own schema is `{}`",
                    names.traffic_schema,
                    row.get::<_, String>(0),
                    other.schema
                ))
                .remedy(message!("checkpoint-remedy-own-tables")));
            }
        }
        Ok(())
    }

    /// Records Landing's system identifier and database, unless already recorded.
    ///
    /// # Errors
    /// `Refused` when the schema belongs to another installation.
    pub async fn admit(identity: &Identity, database: Database<'_>) -> Result<()> {
        Self::refuse_another_than(identity, database).await?;
        let Some(Installation { system_id: None, .. }) = Self::read(database).await? else {
            return Ok(());
        };
        let sql = format!(
            "UPDATE {} SET landing_system_id = $1, landing_database = $2 WHERE landing_system_id IS NULL",
            database.names.own("installation")
        );
        let step = database.during("recording which installation owns the schema");
        step.run(&sql, &[&identity.landing_system_id, &identity.landing_database]).await.map(drop)
    }

    /// Makes the schema belong to this installation from now on, whatever installation owned the schema
    /// before.
    pub async fn replace(identity: &Identity, database: Database<'_>) -> Result<()> {
        let names = database.names;
        let step = database.during("recording which installation owns the schema");
        let table = names.own("installation");
        if !step.finds(&table).await? {
            return Ok(());
        }
        let sql = format!(
            "UPDATE {table} SET slot = $1, publication = $2, landing_system_id = $3, landing_database = $4, \
             traffic_schema = $5, recorded_at = now()"
        );
        let Identity { landing_system_id, landing_database, slot, publication } = identity;
        step.run(&sql, &[slot, publication, landing_system_id, landing_database, &names.traffic_schema])
            .await
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(system_id: Option<&str>) -> Installation {
        let text = str::to_owned;
        Installation {
            slot: text("a"),
            publication: text("p"),
            system_id: system_id.map(text),
            database: system_id.map(|_| text("landing")),
        }
    }

    #[test]
    fn another_slot_publication_database_or_cluster_is_refused_and_what_is_not_known_is_not_compared() {
        let compare =
            |known: &Installation, ours: [&str; 4]| known.compare(&ours, (Side::Traffic, "leadbridge"));
        for other in [
            ["b", "p", "landing", "7"],
            ["a", "q", "landing", "7"],
            ["a", "p", "x", "7"],
            ["a", "p", "landing", "8"],
        ] {
            let error = compare(&known(Some("7")), other).expect_err(other[0]);
            assert!(error.to_string().contains("[names] schema"), "{error}");
        }
        assert!(compare(&known(Some("7")), ["a", "p", "landing", "7"]).is_ok());
        assert!(compare(&known(None), ["a", "p", "x", "8"]).is_ok());
    }
}
