//! A write as every role that may write to the tables, before and after a step of `migrate`, in the step's own
//! transaction (guarantees 8.2). What the trial writes is rolled back to a savepoint.
//!
//! A trial writes real rows, because a statement without a row calls neither an index's function nor a constraint's.
//! The rows are invented. The school's triggers fire: whatever they do in the database is rolled back too, except that
//! a sequence keeps the values that were taken. Where a trigger could reach outside of the database, no trigger fires.

mod statements;

use postgres_protocol::escape::escape_literal;
use serde::{Deserialize, Serialize};
use tokio_postgres::{Client, SimpleQueryMessage, Transaction};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::language::message;
use crate::model::change::Table;
use crate::model::names::Names;
use crate::model::side::Side;
use crate::postgres::Database;
use crate::postgres::triggers::TriggerControl;

const BLOCK: &str = include_str!("../../sql/trial.sql");

/// The writes to try on one side.
#[derive(Clone, Debug)]
pub(super) struct WriteTrial {
    side: Side,
    attempts: Vec<Attempt>,
    /// Statements that make the rows for UPDATE and DELETE, as the session's own role.
    rows: Vec<String>,
    fires_triggers: bool,
    writers: TriedWriters,
}

/// The roles as which a write was tried on one side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TriedWriters {
    pub tried: Vec<String>,
    /// Roles that this session may not assume, or that may only truncate.
    pub not_tried: Vec<String>,
}

/// A write as a role.
#[derive(Clone, Debug, Serialize)]
struct Attempt {
    role: String,
    /// `INSERT into public.traffic_leads`, for messages.
    what: String,
    statement: String,
    /// The table as SQL, and whether a row of the statement gets entries in the table's indexes.
    table: String,
    calls_indexes: bool,
    /// The query of the row to change, for UPDATE and DELETE.
    target: Option<String>,
}

/// Result of an attempt.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Outcome {
    /// Rows written; 0 for a failed statement.
    touched: i64,
    /// SQLSTATE, empty for success.
    state: String,
    message: String,
    /// PostgreSQL's context of the error.
    context: String,
}

impl WriteTrial {
    /// Reads the roles, and plans a write as each role. `tables` are the replicated tables.
    ///
    /// # Errors
    /// A connection broke.
    pub async fn plan(client: &Client, side: Side, names: &Names, tables: &[Table]) -> Result<WriteTrial> {
        let database = Database { client, side, names };
        let lead = Uuid::new_v4();
        let planned = statements::plan(database, tables, lead).await?;
        let mut fires_triggers = true;
        let (mut attempts, mut writers) = (planned.attempts, planned.writers);
        if reaches_outside(database).await? {
            fires_triggers = false;
            if TriggerControl::probe(client).await? != TriggerControl::ReplicaRole {
                attempts.clear();
                writers.not_tried.append(&mut writers.tried);
                writers.not_tried.sort();
            }
        }
        Ok(WriteTrial { side, attempts, rows: planned.rows, fires_triggers, writers })
    }

    /// A trial without a write, for a step that closes tables to writers on purpose.
    pub fn of_nothing(side: Side) -> WriteTrial {
        WriteTrial {
            side,
            attempts: Vec::new(),
            rows: Vec::new(),
            fires_triggers: true,
            writers: TriedWriters::default(),
        }
    }

    /// The same trial without the roles whose rights the step takes away on purpose.
    pub fn without(&self, roles: &[&str]) -> WriteTrial {
        let mut trial = self.clone();
        trial.attempts.retain(|attempt| !roles.contains(&attempt.role.as_str()));
        trial
    }

    pub fn writers(&self) -> &TriedWriters {
        &self.writers
    }

    /// Tries each write; the transaction is as before afterwards.
    ///
    /// # Errors
    /// A lock was not to be had, or the connection broke.
    pub async fn outcomes(
        &self,
        transaction: &Transaction<'_>,
    ) -> Result<Result<Vec<Outcome>>, tokio_postgres::Error> {
        if self.attempts.is_empty() {
            return Ok(Ok(Vec::new()));
        }
        // A function that an earlier trial has called keeps its plans, which were made for the table as it was.
        let sql = format!(
            "SAVEPOINT leadbridge_trial; DISCARD PLANS;\n{}DO {};\n\
             SELECT pg_catalog.current_setting('leadbridge.tried');\n\
             ROLLBACK TO SAVEPOINT leadbridge_trial; RELEASE SAVEPOINT leadbridge_trial",
            if self.fires_triggers { "" } else { "SET LOCAL session_replication_role = replica;\n" },
            escape_literal(&self.block())
        );
        let answers = transaction.simple_query(&sql).await?;
        let said = answers.iter().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        Ok(said.and_then(|said| serde_json::from_str(said).ok()).ok_or_else(|| {
            Error::internal("the trial of a write has no answer").context(format!("on the {}", self.side))
        }))
    }

    /// The refusal for writes that went through before `step` and do not any more; `None` where all writes do.
    pub fn refusal(&self, step: &str, before: &[Outcome], after: &[Outcome]) -> Option<Error> {
        let worse = |(_, before, after): &(&Attempt, &Outcome, &Outcome)| after.rank() < before.rank();
        let lost: Vec<String> = self
            .attempts
            .iter()
            .zip(before)
            .zip(after)
            .map(|((attempt, before), after)| (attempt, before, after))
            .filter(worse)
            .map(|(attempt, _, after)| format!("{} as role {}: {}", attempt.what, attempt.role, after.why()))
            .collect();
        (!lost.is_empty()).then(|| {
            Error::refused(format!(
                "{step} would make writes of the school fail that go through now: {}",
                lost.join("; ")
            ))
            .remedy(message!("migrate-remedy-writes-would-fail"))
        })
    }

    /// The block that tries every write.
    fn block(&self) -> String {
        let rows: String = self.rows.iter().map(|row| format!("        {row};\n")).collect();
        let attempts = serde_json::to_string(&self.attempts).unwrap_or_default();
        BLOCK.replace("{{attempts}}", &escape_literal(&attempts)).replace("{{rows}}", &rows)
    }
}

impl Outcome {
    /// A statement that writes its row is better than a statement that finds no row, and both are better than an error.
    fn rank(&self) -> u8 {
        match (self.state.is_empty(), self.touched) {
            (true, 1..) => 2,
            (true, _) => 1,
            (false, _) => 0,
        }
    }

    /// The reason of a worse outcome. A text that a function of the school has raised may hold anything, so the function
    /// is named instead.
    fn why(&self) -> String {
        if self.state.is_empty() {
            return "the statement finds or writes no row any more (row-level security, or a trigger)"
                .to_owned();
        }
        let function = |line: &str| {
            let place =
                line.strip_prefix("PL/pgSQL function ").or_else(|| line.strip_prefix("SQL function "))?;
            let name = place.split(" line ").next()?.split(" statement ").next()?.trim_matches('"');
            (!name.starts_with("inline_code_block")).then(|| name.to_owned())
        };
        match self.context.lines().find_map(function) {
            Some(function) => format!("SQLSTATE {} in the function {function}", self.state),
            None => format!("{} (SQLSTATE {})", self.message, self.state),
        }
    }
}

/// Extensions whose functions have no effect outside of the database that a rollback does not undo.
const TRANSACTIONAL: [&str; 40] = [
    "autoinc",
    "btree_gin",
    "btree_gist",
    "citext",
    "cube",
    "earthdistance",
    "fuzzystrmatch",
    "hstore",
    "hypopg",
    "index_advisor",
    "insert_username",
    "intarray",
    "isn",
    "lo",
    "ltree",
    "moddatetime",
    "pg_cron",
    "pg_graphql",
    "pg_hashids",
    "pg_net",
    "pg_stat_statements",
    "pg_trgm",
    "pg_walinspect",
    "pgaudit",
    "pgcrypto",
    "pgjwt",
    "pgmq",
    "pgsodium",
    "pgtap",
    "plpgsql",
    "postgis",
    "postgres_fdw",
    "refint",
    "seg",
    "supabase_vault",
    "tablefunc",
    "tcn",
    "unaccent",
    "uuid-ossp",
    "vector",
];

/// Whether a function of the database could have an effect that a rollback does not undo: a function of an extension
/// that is not known to have none, or of a language that is not trusted.
async fn reaches_outside(database: Database<'_>) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT FROM pg_extension AS e WHERE e.extname <> ALL ($1)
                              AND EXISTS (SELECT FROM pg_depend AS d WHERE d.refclassid = 'pg_extension'::regclass
                                          AND d.refobjid = e.oid AND d.classid = 'pg_proc'::regclass))
                   OR EXISTS (SELECT FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang
                              WHERE NOT l.lanpltrusted AND l.lanname NOT IN ('internal', 'c', 'sql'))";
    let step = database.during(format!("looking for functions that reach outside of the {}", database.side));
    Ok(step.row(sql, &[&TRANSACTIONAL.as_slice()]).await?.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(touched: i64, state: &str, context: &str) -> Outcome {
        let message = "permission denied for function f".to_owned();
        Outcome { touched, state: state.into(), message, context: context.into() }
    }

    #[test]
    fn a_write_that_writes_less_than_before_is_worse_and_one_that_failed_before_is_not() {
        let ranks = [outcome(1, "", ""), outcome(0, "", ""), outcome(0, "42501", "")].map(|o| o.rank());
        assert_eq!(ranks, [2, 1, 0]);
    }

    #[test]
    fn a_text_of_the_school_s_own_function_is_not_shown_and_the_function_is() {
        let raised = "PL/pgSQL function public.audit(text) line 3 at RAISE\nSQL statement \"INSERT …\"\n\
                      PL/pgSQL function inline_code_block line 40 at EXECUTE";
        let why = outcome(0, "P0001", raised).why();
        assert_eq!(why, "SQLSTATE P0001 in the function public.audit(text)");
        let own = "SQL statement \"INSERT …\"\nPL/pgSQL function inline_code_block line 40 at EXECUTE";
        assert_eq!(outcome(0, "42501", own).why(), "permission denied for function f (SQLSTATE 42501)");
    }
}
