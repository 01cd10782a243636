//! Whether Traffic lets a role of the API do what Landing does not.

use crate::access::{AccessScope, Comparison, Excess, Standing};
use crate::config::Config;
use crate::error::Result;
use crate::language::{Message, message};
use crate::model::side::Side;
use crate::postgres::Databases;
use crate::report::{Findings, Verdict};

/// Adds one finding for each role and object.
pub async fn examine(findings: &mut Findings, databases: Databases<'_>, config: &Config) {
    let (found, fine) = match compare(databases, config).await {
        Ok(compared) => compared,
        Err(error) => return findings.add("api_access", None, Err(error)),
    };
    if found.iter().all(|excess| excess.side == Side::Landing) {
        findings.add("api_access", Some(Side::Traffic), Ok(Verdict::ok(fine)));
    }
    for excess in found {
        findings.add("api_access", Some(excess.side), Ok(verdict(&excess)));
    }
}

async fn compare(databases: Databases<'_>, config: &Config) -> Result<(Vec<Excess>, Message)> {
    let Databases { landing, traffic, names } = databases;
    let tables = config.tables();
    let scope = AccessScope { names, tables: &tables, accept: &config.accepted_access };
    let comparison = Comparison::read(landing, traffic, scope).await?;
    let fine = match comparison.roles().as_slice() {
        [] => message!("doctor-access-no-api-role"),
        roles => message!("doctor-access-fine", roles = roles.join(", ")),
    };
    Ok((comparison.judge(), fine))
}

fn verdict(excess: &Excess) -> Verdict {
    let (what, remedy) = (Message::verbatim(&excess.what), excess.remedy());
    match excess.standing {
        Standing::Refused => Verdict::error(what, remedy),
        Standing::Accepted => Verdict::warning(message!("doctor-access-accepted", what = what), remedy),
        Standing::Servers | Standing::OnLanding => Verdict::warning(what, remedy),
    }
}
