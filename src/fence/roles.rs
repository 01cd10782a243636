//! Roles with a write privilege on the fenced tables, and the proof that the fence refuses each role.

use postgres_protocol::escape::escape_literal;
use serde::Serialize;
use tokio_postgres::{Client, SimpleQueryMessage};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::postgres::Database;
use crate::postgres::step::during;

/// Every role with a write privilege on a fenced table.
#[derive(Clone, Debug, Default)]
pub struct FencedRoles {
    /// Role, table as SQL, and a statement that touches no row.
    attempts: Vec<(String, String, String)>,
    /// Roles that this session may not assume.
    beyond_reach: Vec<String>,
}

/// Result of the trial, for the certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tried {
    /// Roles with a refused trial write. The refusal comes from the fence, or from a missing privilege before
    /// the fence.
    pub refused: Vec<String>,
    /// Writing roles that the operator's session may not assume. No write was tried for these roles, but the
    /// fence's triggers fire for every role.
    pub not_tried: Vec<String>,
}

impl FencedRoles {
    /// Reads the roles before the fence is taken, so that no writer waits for the query.
    pub async fn read(fenced: Database<'_>, with_notifications: bool) -> Result<Self> {
        // Statement triggers fire for a statement without a matching row, too. The kind of statement depends
        // on the role's privileges.
        let sql = format!(
            "SELECT r.rolname::text, t::regclass::text, r.inserts, r.updates, r.reachable FROM {}($1) AS t,
             LATERAL (SELECT rolname, pg_has_role(session_user, oid, 'MEMBER') AS reachable,
                             has_table_privilege(oid, t, 'INSERT') AS inserts,
                             has_table_privilege(oid, t, 'UPDATE') AS updates,
                             has_table_privilege(oid, t, 'DELETE') AS deletes,
                             has_table_privilege(oid, t, 'TRUNCATE') AS truncates FROM pg_roles) AS r
             WHERE r.inserts OR r.updates OR r.deletes OR r.truncates ORDER BY 1, 2",
            fenced.names.own("fenced_tables")
        );
        let step = fenced.during("reading which roles may write to the tables");
        let rows = step.rows(&sql, &[&with_notifications]).await?;
        let mut writers = FencedRoles::default();
        for row in &rows {
            let (role, table): (String, String) = (row.get(0), row.get(1));
            if !row.get::<_, bool>(4) {
                if !writers.beyond_reach.contains(&role) {
                    writers.beyond_reach.push(role);
                }
                continue;
            }
            let statement = match (row.get(2), row.get(3)) {
                (true, _) => format!("INSERT INTO {table} (id) SELECT gen_random_uuid() WHERE false"),
                (_, true) => format!("UPDATE {table} SET id = DEFAULT WHERE false"),
                _ => format!("DELETE FROM {table} WHERE false"),
            };
            writers.attempts.push((role, table, statement));
        }
        Ok(writers)
    }

    /// Tries a write as each role, within the transaction that holds the fence, each in its own
    /// subtransaction.
    pub async fn try_each(&self, fenced: &Client, cutover: Uuid) -> Result<Tried> {
        let mut refused: Vec<String> = self.attempts.iter().map(|(role, ..)| role.clone()).collect();
        refused.dedup();
        if self.attempts.is_empty() {
            return Ok(Tried { refused, not_tried: self.beyond_reach.clone() });
        }
        let answers = during(fenced, "proving that the fence holds").texts(&self.trial(cutover)).await?;
        let said = answers.iter().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        match said.as_deref() {
            Some("") => Ok(Tried { refused, not_tried: self.beyond_reach.clone() }),
            Some(open) => {
                Err(Error::refused(format!("the fence does not hold: these writes passed: {open}")).remedy(
                    "did a session drop or disable the trigger leadbridge_fence? Run `leadbridge migrate`, \
                         then try again",
                ))
            }
            None => Err(Error::internal("the fence's proof has no answer")),
        }
    }

    /// SQL of the trial: one round trip for all roles, because writers wait meanwhile.
    fn trial(&self, cutover: Uuid) -> String {
        let attempts: Vec<String> = self
            .attempts
            .iter()
            .map(|(role, table, statement)| {
                let [role, table, statement] = [role, table, statement].map(|text| escape_literal(text));
                format!("({role}, {table}, {statement})")
            })
            .collect();
        let body = format!(
            "DECLARE
                 attempt record;
                 said text;
                 passed text[] := '{{}}';
             BEGIN
                 FOR attempt IN SELECT * FROM (VALUES {}) AS a (role, fenced, statement) LOOP
                     BEGIN
                         EXECUTE format('SET LOCAL ROLE %I', attempt.role);
                         EXECUTE attempt.statement;
                         EXECUTE 'RESET ROLE';
                         passed := passed || format('%s as %s', attempt.fenced, attempt.role);
                     EXCEPTION
                         WHEN object_not_in_prerequisite_state THEN
                             GET STACKED DIAGNOSTICS said = PG_EXCEPTION_DETAIL;
                             IF position('{cutover}' IN said) = 0 THEN RAISE; END IF;
                         -- Refused before the fence: the schema is not open to this role, say.
                         WHEN insufficient_privilege THEN NULL;
                     END;
                 END LOOP;
                 PERFORM set_config('leadbridge.passed', array_to_string(passed, ', '), true);
             END",
            attempts.join(", ")
        );
        format!("DO {}; SELECT current_setting('leadbridge.passed')", escape_literal(&body))
    }
}
