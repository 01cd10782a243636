//! Limits on the sessions of the role and the database, compared with the number that leadbridge needs.

use tokio_postgres::Client;

use super::Outcome;
use crate::config::Config;
use crate::language::message;
use crate::postgres::step::during;
use crate::report::Verdict;

/// Sessions besides the workers of the initial copy: for applying or reading, for the monitor, and for the
/// stream.
const BESIDES_WORKERS: i64 = 3;

/// Compares the limits of this session's role and database with leadbridge's need there. Superusers have no
/// limit.
pub(super) async fn limit(client: &Client, config: &Config) -> Outcome {
    let sql = "SELECT r.rolsuper, r.rolconnlimit, quote_ident(r.rolname), d.datconnlimit, quote_ident(d.datname), \
               (SELECT count(*) FROM pg_stat_activity AS a WHERE a.usesysid = r.oid \
                AND COALESCE(a.application_name, '') NOT LIKE 'leadbridge %'), \
               (SELECT count(*) FROM pg_stat_activity AS a WHERE a.datid = d.oid \
                AND COALESCE(a.application_name, '') NOT LIKE 'leadbridge %') \
               FROM pg_roles AS r, pg_database AS d \
               WHERE r.rolname = session_user AND d.datname = current_database()";
    let row = during(client, "reading the limits on connections").row(sql, &[]).await?;
    if row.get(0) {
        return Ok(Verdict::ok(message!("doctor-connections-superuser")));
    }
    let workers = i64::try_from(config.snapshot_workers).unwrap_or(i64::MAX / 4);
    let (role, database): (&str, &str) = (row.get(2), row.get(4));
    let limits = [
        Limit { of: format!("ROLE {role}"), most: row.get::<_, i32>(1).into(), others: row.get(5) },
        Limit { of: format!("DATABASE {database}"), most: row.get::<_, i32>(3).into(), others: row.get(6) },
    ];
    let verdicts = limits.iter().filter_map(|limit| limit.judge(workers + BESIDES_WORKERS));
    let worst = verdicts.max_by_key(|verdict| verdict.level);
    Ok(worst.unwrap_or_else(|| Verdict::ok(message!("doctor-connections-enough"))))
}

/// A CONNECTION LIMIT; negative means no limit.
struct Limit {
    of: String,
    most: i64,
    /// Sessions that count towards the limit and are not leadbridge's.
    others: i64,
}

impl Limit {
    /// `needed` is the daemon's number of sessions. A command beside the daemon, a comparison or a cutover,
    /// needs the same number again.
    fn judge(&self, needed: i64) -> Option<Verdict> {
        let Limit { of, most, others } = self;
        if *most < 0 || most - others >= 2 * needed {
            return None;
        }
        let enough = others + 2 * needed;
        let remedy = message!("doctor-connections-remedy", of = of, enough = enough);
        let has = message!("doctor-connections-limit", of = of, most = most, others = others);
        Some(if *most < needed {
            Verdict::error(
                message!("doctor-connections-too-low-for-copy", has = has, needed = needed),
                remedy,
            )
        } else if most - others < needed {
            Verdict::warning(
                message!("doctor-connections-too-few-left-for-copy", has = has, needed = needed),
                remedy,
            )
        } else {
            let message = message!("doctor-connections-for-daemon-only", has = has);
            Verdict::warning(message, remedy)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Level;

    #[test]
    fn a_limit_must_leave_room_for_the_daemon_and_a_command_beside_it() {
        let judged = |most, others| {
            let limit = Limit { of: "ROLE bridge".to_owned(), most, others };
            limit.judge(5).map(|verdict| (verdict.level, verdict.remedy.unwrap().to_string()))
        };
        let alter = |enough| format!("run as an administrator: ALTER ROLE bridge CONNECTION LIMIT {enough}");
        assert_eq!(judged(-1, 99), None);
        assert_eq!(judged(10, 0), None);
        assert_eq!(judged(9, 0), Some((Level::Warning, alter(10))));
        assert_eq!(judged(9, 6), Some((Level::Warning, alter(16))));
        assert_eq!(judged(4, 0), Some((Level::Error, alter(10))));
        assert_eq!(judged(0, 0), Some((Level::Error, alter(10))));
    }
}
