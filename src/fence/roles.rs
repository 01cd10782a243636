//! Roles with a write privilege on the fenced tables, and the proof that the fence refuses each role.

use std::collections::{BTreeMap, BTreeSet};

use postgres_protocol::escape::escape_literal;
use serde::Serialize;
use tokio_postgres::{Client, SimpleQueryMessage};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::language::message;
use crate::postgres::Database;
use crate::postgres::step::during;
use crate::postgres::writers::TableWriter;

/// Every role that may write to a fenced table, or to a column of a fenced table.
#[derive(Clone, Debug, Default)]
pub struct FencedRoles {
    attempts: Vec<Attempt>,
    /// Roles without an attempt on some table.
    untried: BTreeSet<String>,
}

/// A trial write as a role. The statement touches no row.
#[derive(Clone, Debug)]
struct Attempt {
    role: String,
    /// The table as SQL.
    table: String,
    statement: String,
}

/// Result of the trial, for the certificate. Each role is in one list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tried {
    /// Roles as which a write was tried, and each of these writes was refused by the fence.
    pub refused: Vec<String>,
    /// Roles as which a write was refused before the fence, because the role lacks a further privilege, on the
    /// schema for example. Such a write says nothing about the fence.
    pub without_privilege: Vec<String>,
    /// Roles as which no write was tried: the operator's session may not assume the role, or the role may
    /// only truncate, and a trial of TRUNCATE would lock out readers. The fence's triggers fire for every role.
    pub not_tried: Vec<String>,
}

impl FencedRoles {
    /// Reads the roles before the fence is taken, so that no writer waits for the query.
    pub async fn read(fenced: Database<'_>, with_notifications: bool) -> Result<Self> {
        let tables = format!("SELECT t::text FROM {}($1) AS t", fenced.names.own("fenced_tables"));
        let step = fenced.during("reading the tables of the fence");
        let tables = step.rows(&tables, &[&with_notifications]).await?;
        let tables: Vec<String> = tables.iter().map(|row| row.get(0)).collect();
        let mut writers = FencedRoles::default();
        for writer in TableWriter::read(fenced.client, &tables).await? {
            let TableWriter { role, table, inserts, updates, deletes, is_assumable } = writer;
            // Statement triggers fire for a statement without a matching row, too. The kind of statement depends
            // on the role's privileges, which may be privileges on single columns.
            let statement = match (deletes, updates, inserts) {
                (true, ..) => Some(format!("DELETE FROM {table} WHERE false")),
                (_, Some(column), _) => Some(format!("UPDATE {table} SET {column} = DEFAULT WHERE false")),
                // An INSERT that names no column needs the privilege on any column.
                (.., true) => Some(format!("INSERT INTO {table} SELECT WHERE false")),
                _ => None,
            };
            match statement.filter(|_| is_assumable) {
                Some(statement) => writers.attempts.push(Attempt { role, table, statement }),
                None => {
                    writers.untried.insert(role);
                }
            }
        }
        Ok(writers)
    }

    /// Tries a write as each role, within the transaction that holds the fence, each in its own
    /// subtransaction.
    pub async fn try_each(&self, fenced: &Client, cutover: Uuid) -> Result<Tried> {
        if self.attempts.is_empty() {
            return Ok(self.tried(&[]));
        }
        let answers = during(fenced, "proving that the fence holds").texts(&self.trial(cutover)).await?;
        let said = answers.iter().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => row.get(0).zip(row.get(1)),
            _ => None,
        });
        match said {
            Some(("", unprivileged)) => {
                let numbers: Vec<usize> = unprivileged.split(',').filter_map(|at| at.parse().ok()).collect();
                Ok(self.tried(&numbers))
            }
            Some((open, _)) => {
                Err(Error::refused(format!("the fence does not hold: these writes passed: {open}"))
                    .remedy(message!("fence-remedy-does-not-hold")))
            }
            None => Err(Error::internal("the fence's proof has no answer")),
        }
    }

    /// Sorts the roles into lists. `unprivileged` are the numbers of the attempts that were refused before the
    /// fence.
    fn tried(&self, unprivileged: &[usize]) -> Tried {
        let mut roles: BTreeMap<&str, bool> = BTreeMap::new();
        for (at, attempt) in self.attempts.iter().enumerate() {
            *roles.entry(&attempt.role).or_default() |= unprivileged.contains(&at);
        }
        let untried = self.untried.iter().filter(|role| !roles.contains_key(role.as_str()));
        let of = |lacks: bool| {
            roles.iter().filter(|(_, found)| **found == lacks).map(|(role, _)| (*role).to_owned()).collect()
        };
        Tried { refused: of(false), without_privilege: of(true), not_tried: untried.cloned().collect() }
    }

    /// SQL of the trial: one round trip for all roles, because writers wait meanwhile.
    fn trial(&self, cutover: Uuid) -> String {
        let attempts: Vec<String> = self
            .attempts
            .iter()
            .enumerate()
            .map(|(at, Attempt { role, table, statement })| {
                let [role, table, statement] = [role, table, statement].map(|text| escape_literal(text));
                format!("({at}, {role}, {table}, {statement})")
            })
            .collect();
        // Under `row_security = off` a statement on a table with row-level security is an error before the
        // fence.
        let body = format!(
            "DECLARE
                 attempt record;
                 said text;
                 passed text[] := '{{}}';
                 unprivileged int[] := '{{}}';
             BEGIN
                 FOR attempt IN SELECT * FROM (VALUES {}) AS a (at, role, fenced, statement) LOOP
                     BEGIN
                         SET LOCAL row_security = on;
                         EXECUTE format('SET LOCAL ROLE %I', attempt.role);
                         EXECUTE attempt.statement;
                         EXECUTE 'RESET ROLE';
                         passed := passed || format('%s as %s', attempt.fenced, attempt.role);
                     EXCEPTION
                         WHEN object_not_in_prerequisite_state THEN
                             GET STACKED DIAGNOSTICS said = PG_EXCEPTION_DETAIL;
                             IF position('{cutover}' IN said) = 0 THEN RAISE; END IF;
                         WHEN insufficient_privilege THEN unprivileged := unprivileged || attempt.at;
                     END;
                 END LOOP;
                 PERFORM set_config('leadbridge.passed', array_to_string(passed, ', '), true),
                         set_config('leadbridge.unprivileged', array_to_string(unprivileged, ','), true);
             END",
            attempts.join(", ")
        );
        format!(
            "DO {}; SELECT current_setting('leadbridge.passed'), current_setting('leadbridge.unprivileged')",
            escape_literal(&body)
        )
    }
}
