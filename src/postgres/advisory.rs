//! Advisory locks: exclusive rights that PostgreSQL releases when the holder's session ends.
//!
//! PostgreSQL lets every role of a database take every advisory lock, and shows the locks to every role. So a lock
//! that is taken says nothing before its holder is known: [`Holder::is_ours`].

use std::fmt;
use std::time::Duration;

use postgres_protocol::escape::escape_literal;
use tokio_postgres::Client;
use uuid::Uuid;

use super::Database;
use crate::error::{Error, Result};
use crate::language::{Message, message};
use crate::model::names::Names;
use crate::model::side::Side;
use crate::postgres::step::during;

/// Pause between two attempts to take a lock.
const LOOK: Duration = Duration::from_millis(100);

/// The exclusive rights of an installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExclusiveRight {
    /// The lease: to apply for the slot. On Traffic.
    Lease,
    /// To decide a cutover or a rollback. On Traffic.
    Decision,
    /// To be the living command of a cutover or a rollback. On Landing.
    Command,
    /// To write to Landing after the switch. On Landing.
    WriteLanding,
    /// To hold the fence of this cutover, in a transaction. On the fenced side.
    Fence(Uuid),
    /// To migrate. On both sides.
    Migration,
}

impl ExclusiveRight {
    /// The rights that an installation holds on a side for longer than a moment.
    pub fn lasting_on(side: Side) -> [ExclusiveRight; 2] {
        match side {
            Side::Landing => [ExclusiveRight::Command, ExclusiveRight::WriteLanding],
            Side::Traffic => [ExclusiveRight::Lease, ExclusiveRight::Decision],
        }
    }

    /// SQL of the lock's 64-bit key.
    pub fn key(self, names: &Names) -> String {
        let Names { schema, slot, .. } = names;
        let name = match self {
            ExclusiveRight::Lease => format!("leadbridge/{schema}/{slot}"),
            ExclusiveRight::Decision => format!("leadbridge/{schema}/{slot}/cutover"),
            ExclusiveRight::Command => format!("leadbridge/{schema}/{slot}/command"),
            ExclusiveRight::WriteLanding => format!("leadbridge/{schema}/{slot}/reverse"),
            ExclusiveRight::Fence(cutover) => format!("leadbridge/fence/{cutover}"),
            ExclusiveRight::Migration => return "hashtext('leadbridge migrate')::bigint".to_owned(),
        };
        format!("hashtextextended({}, 0)", escape_literal(&name))
    }
}

impl ExclusiveRight {
    pub fn message(self) -> Message {
        match self {
            ExclusiveRight::Lease => message!("postgres-right-lease"),
            ExclusiveRight::Decision => message!("postgres-right-decision"),
            ExclusiveRight::Command => message!("postgres-right-command"),
            ExclusiveRight::WriteLanding => message!("postgres-right-write-landing"),
            ExclusiveRight::Fence(cutover) => message!("postgres-right-fence", id = cutover),
            ExclusiveRight::Migration => message!("postgres-right-migration"),
        }
    }
}

impl fmt::Display for ExclusiveRight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.message().fmt(f)
    }
}

/// A session or a prepared transaction that holds an advisory lock, as far as this role may see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    /// `None` for a prepared transaction.
    pub pid: Option<i32>,
    pub role: Option<String>,
    pub application: Option<String>,
    pub client: Option<String>,
    /// When the session was connected or the transaction prepared, by the server's clock.
    pub since: Option<String>,
    /// The name of a prepared transaction; leadbridge prepares none.
    prepared: Option<String>,
    /// Whether the role may read leadbridge's tables, or is the role that asks.
    pub has_rights: bool,
}

impl Holder {
    /// Whether the holder is a session of leadbridge, of this installation. The role proves it: a stranger may take
    /// the lock and call itself what it likes, but has no right on leadbridge's tables.
    pub fn is_ours(&self) -> bool {
        self.pid.is_some() && self.has_rights && self.is_called_leadbridge()
    }

    pub fn is_called_leadbridge(&self) -> bool {
        self.application.as_deref().is_some_and(|name| name.starts_with("leadbridge "))
    }

    /// The statement that ends the holder, and who may run it.
    pub fn end(&self) -> Message {
        let role = match &self.role {
            Some(role) => Message::verbatim(role),
            None => message!("postgres-remedy-holder-role"),
        };
        match (self.pid, &self.prepared) {
            (Some(pid), _) => message!("postgres-remedy-end-session", pid = pid, role = role),
            (None, Some(name)) => {
                let name = escape_literal(name);
                message!("postgres-remedy-rollback-prepared", name = name.trim(), role = role)
            }
            (None, None) => message!("postgres-remedy-rollback-shown"),
        }
    }
}

impl Holder {
    pub fn message(&self) -> Message {
        let known = |text: &Option<String>| match text {
            Some(text) => Message::verbatim(text),
            None => message!("postgres-holder-unknown"),
        };
        let (role, name) = (known(&self.role), known(&self.prepared));
        let who = match self.pid {
            Some(pid) => message!("postgres-holder-process", pid = pid, role = role),
            None => message!("postgres-holder-prepared", name = name, role = role),
        };
        let application = self.application.as_ref();
        let application =
            application.map(|application| message!("postgres-holder-application", application = application));
        let client =
            self.client.as_ref().map(|client| message!("postgres-session-address", address = client));
        let since = self.since.as_ref().map(|since| message!("figures-since", since = since));
        Message::joined([Some(who), application, client, since].into_iter().flatten(), ", ")
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.message().fmt(f)
    }
}

/// Takes the lock with `key` until the session ends. False when another session holds the lock.
pub async fn take(client: &Client, key: &str, step: &str) -> Result<bool> {
    let row = during(client, step).row(&format!("SELECT pg_try_advisory_lock({key})"), &[]).await?;
    Ok(row.get(0))
}

/// Repeats [`take`] until the lock is taken or `patience` is over, because a server needs a moment to notice
/// the end of a session.
pub async fn take_within(client: &Client, key: &str, step: &str, patience: Duration) -> Result<bool> {
    for _ in 0..patience.as_millis() / LOOK.as_millis() {
        if take(client, key, step).await? {
            return Ok(true);
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(false)
}

/// Releases a lock of this session.
pub async fn give_back(client: &Client, key: &str, step: &str) -> Result<()> {
    during(client, step).row(&format!("SELECT pg_advisory_unlock({key})"), &[]).await.map(drop)
}

/// Holders of the right; several where sessions share the lock.
pub async fn holders(database: Database<'_>, right: ExclusiveRight) -> Result<Vec<Holder>> {
    let names = database.names;
    // `pg_locks` shows a 64-bit key as two 32-bit numbers: `classid` is the upper half, `objid` the lower half. A
    // session that has ended since has no row in pg_stat_activity.
    let sql = format!(
        "SELECT l.pid, coalesce(a.usename, x.owner)::text, a.application_name, host(a.client_addr),
                date_trunc('second', coalesce(a.backend_start, x.prepared))::text, x.gid,
                coalesce(a.usename = session_user OR has_table_privilege(a.usesysid, to_regclass($1), 'SELECT'), false)
         FROM (SELECT {key} AS key) AS k
         JOIN pg_locks AS l ON l.classid = ((k.key >> 32) & 4294967295)::oid AND l.objid = (k.key & 4294967295)::oid
         LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid
         LEFT JOIN pg_locks AS own ON l.pid IS NULL AND own.pid IS NULL AND own.locktype = 'transactionid'
             AND own.virtualtransaction = l.virtualtransaction
         LEFT JOIN pg_prepared_xacts AS x ON x.transaction = own.transactionid
         WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
           AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
           AND (l.pid IS NULL OR a.pid IS NOT NULL)
         ORDER BY l.pid",
        key = right.key(names)
    );
    let step = database.during(format!("asking who holds {right}"));
    let rows = step.rows(&sql, &[&names.own("installation")]).await?;
    let holder = |row: &tokio_postgres::Row| Holder {
        pid: row.get(0),
        role: row.get(1),
        application: row.get(2),
        client: row.get(3),
        since: row.get(4),
        prepared: row.get(5),
        has_rights: row.get(6),
    };
    Ok(rows.iter().map(holder).collect())
}

/// Holders of the right, all of them sessions of leadbridge's.
///
/// # Errors
/// Refused when a session that is not leadbridge's holds the right: the error names the holder, and the statement
/// that ends the holder.
pub async fn own_holders(database: Database<'_>, right: ExclusiveRight) -> Result<Vec<Holder>> {
    let (own, foreign): (Vec<_>, Vec<_>) =
        holders(database, right).await?.into_iter().partition(Holder::is_ours);
    if foreign.is_empty() { Ok(own) } else { Err(refusal(database.side, right, &foreign)) }
}

/// # Errors
/// Those of [`own_holders`].
pub async fn refuse_foreign(database: Database<'_>, right: ExclusiveRight) -> Result<()> {
    own_holders(database, right).await.map(drop)
}

fn refusal(side: Side, right: ExclusiveRight, foreign: &[Holder]) -> Error {
    let who: Vec<String> = foreign.iter().map(ToString::to_string).collect();
    let how = Message::joined(foreign.iter().map(Holder::end), "; ");
    Error::refused(format!(
        "{side}: {right} is held by a session that is not leadbridge's: {}",
        who.join("; ")
    ))
    .remedy(message!("postgres-remedy-foreign-lock", side = side, how = how))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(application: &str, has_rights: bool) -> Holder {
        Holder {
            pid: Some(7),
            role: Some("app".into()),
            application: Some(application.into()),
            has_rights,
            ..Holder::default()
        }
    }

    #[test]
    fn a_holder_is_ours_by_its_role_and_its_name_together() {
        assert!(session("leadbridge apply", true).is_ours());
        assert!(!session("leadbridge apply", false).is_ours());
        assert!(!session("psql", true).is_ours());
        assert!(!Holder { pid: None, ..session("leadbridge apply", true) }.is_ours());
    }

    #[test]
    fn a_foreign_holder_is_named_with_what_may_be_seen_of_it_and_the_statement_that_ends_it() {
        let error = refusal(Side::Traffic, ExclusiveRight::Lease, &[session("psql", false)]);
        assert!(error.message().contains("process 7 of role app, application 'psql'"), "{error}");
        let remedy = error.remedy_text().unwrap();
        assert!(remedy.contains("SELECT pg_terminate_backend(7), as app"), "{remedy}");
        let prepared =
            Holder { role: Some("app".into()), prepared: Some("it's".into()), ..Holder::default() };
        let error = refusal(Side::Traffic, ExclusiveRight::Lease, &[prepared]);
        assert!(error.message().contains("prepared transaction it's of role app"), "{error}");
        assert!(error.remedy_text().unwrap().contains("ROLLBACK PREPARED 'it''s', as app"), "{error:?}");
    }
}
