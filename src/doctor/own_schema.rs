//! Whether leadbridge's own schema is as `leadbridge migrate` has made it, whom it serves, and whether somebody else
//! has rights in it.

use super::Outcome;
use crate::access;
use crate::checkpoint::own_schema::{self, Extent};
use crate::error::Kind;
use crate::language::{Message, message};
use crate::model::side::Side;
use crate::postgres::Database;
use crate::report::{Findings, Level, Verdict};

pub async fn examine(findings: &mut Findings, database: Database<'_>) {
    let side = Some(database.side);
    findings.add("own_schema", side, form(database).await);
    findings.add("served_role", side, served(database).await);
    match access::foreign_rights(database).await {
        Ok(rights) if rights.is_empty() => {
            let fine = message!("doctor-own-no-foreign-rights");
            findings.add("own_rights", side, Ok(Verdict::ok(fine)));
        }
        Ok(rights) => {
            for right in rights {
                let remedy =
                    message!("access-remedy-foreign-rights", side = right.side, statement = right.statement);
                findings.add("own_rights", side, Ok(Verdict::error(Message::verbatim(right.what), remedy)));
            }
        }
        Err(error) => findings.add("own_rights", side, Err(error)),
    }
}

async fn form(database: Database<'_>) -> Outcome {
    own_schema::refuse_foreign_owner(database).await?;
    own_schema::admit(database, Extent::Whole).await?;
    Ok(Verdict::ok(message!("doctor-own-schema")))
}

async fn served(database: Database<'_>) -> Outcome {
    match own_schema::refuse_unserved(database).await {
        Ok(()) => Ok(Verdict::ok(message!("doctor-own-served"))),
        // Replication needs no fence on Landing; only a cutover does.
        Err(error) if database.side == Side::Landing && error.kind() == Kind::Refused => {
            let verdict = Verdict::from(&error);
            Ok(Verdict { level: Level::Warning, ..verdict })
        }
        Err(error) => Err(error),
    }
}
