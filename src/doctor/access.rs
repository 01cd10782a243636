//! Whether Traffic lets a role of the API do what Landing does not.

use crate::access::{AccessScope, Comparison, Excess, Standing};
use crate::config::Config;
use crate::error::Result;
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

async fn compare(databases: Databases<'_>, config: &Config) -> Result<(Vec<Excess>, String)> {
    let Databases { landing, traffic, names } = databases;
    let tables = config.tables();
    let scope = AccessScope { names, tables: &tables, accept: &config.accepted_access };
    let comparison = Comparison::read(landing, traffic, scope).await?;
    let fine = match comparison.roles().as_slice() {
        [] => "there is none of the API's roles".to_owned(),
        roles => format!("{} have no more rights on the tables than on Landing", roles.join(", ")),
    };
    Ok((comparison.judge(), fine))
}

fn verdict(excess: &Excess) -> Verdict {
    match excess.standing {
        Standing::Refused => Verdict::error(excess.what.clone(), excess.remedy()),
        Standing::Accepted => Verdict::warning(format!("accepted: {}", excess.what), excess.remedy()),
        Standing::Servers | Standing::OnLanding => Verdict::warning(excess.what.clone(), excess.remedy()),
    }
}
