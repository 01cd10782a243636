//! Whether the daemon and this command log in as the same role. A fence lets only the role pass that closed
//! the fence.

use crate::error::Result;
use crate::language::message;
use crate::model::side::Side;
use crate::postgres::advisory::{self, ExclusiveRight, Holder};
use crate::postgres::{Database, slot};
use crate::report::Verdict;

/// How to find the daemon's session on a server.
pub(super) enum Known {
    /// The session streams from the named slot.
    Slot(String),
    /// The session holds the right.
    Holder(ExclusiveRight),
}

/// Compares the role of the daemon's session with the role of `ours`, this command's session.
pub(super) async fn same(ours: Database<'_>, daemon: Known) -> Result<Verdict> {
    let Database { client, side, .. } = ours;
    let action = "reading the role of the daemon's session";
    let step = ours.during(format!("{action} on the {side}"));
    let pid: Option<i32> = match daemon {
        Known::Slot(name) => slot::read(client, &name).await?.and_then(|slot| slot.active_pid),
        Known::Holder(right) => {
            // The daemon may log in as a role that this command's role does not know as leadbridge's.
            let holders = advisory::holders(ours, right).await?;
            if !holders.iter().all(Holder::is_called_leadbridge) {
                advisory::refuse_foreign(ours, right).await?;
            }
            holders.first().and_then(|holder| holder.pid)
        }
    };
    let sql = "SELECT session_user::text, (SELECT usename::text FROM pg_stat_activity WHERE pid = $1)";
    let row = step.row(sql, &[&pid]).await?;
    let (ours, theirs): (String, Option<String>) = (row.get(0), row.get(1));
    Ok(judge(side, &ours, theirs.as_deref()))
}

fn judge(side: Side, ours: &str, theirs: Option<&str>) -> Verdict {
    let variable = side.variable();
    match theirs {
        Some(theirs) if theirs == ours => {
            Verdict::ok(message!("cutover-role-same", ours = ours, side = side))
        }
        Some(theirs) => Verdict::error(
            message!("cutover-role-differs", side = side, theirs = theirs, ours = ours),
            message!("cutover-role-differs-remedy", variable = variable, theirs = theirs, ours = ours),
        ),
        None => Verdict::error(
            message!("cutover-role-unknown", side = side),
            message!("cutover-role-unknown-remedy"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Level;

    #[test]
    fn another_role_is_an_error_that_names_both() {
        assert_eq!(judge(Side::Landing, "a", Some("a")).level, Level::Ok);
        assert_eq!(judge(Side::Landing, "a", None).level, Level::Error);
        let verdict = judge(Side::Traffic, "dba", Some("bridge"));
        assert_eq!(verdict.level, Level::Error);
        let says = verdict.message.to_string();
        assert!(says.contains("dba") && says.contains("bridge"), "{says}");
        assert!(verdict.remedy.is_some_and(|remedy| remedy.to_string().contains("TRAFFIC_DATABASE_URL")));
    }
}
