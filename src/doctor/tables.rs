//! The results of admission for the tables, as findings.

use tokio_postgres::Client;

use crate::admission::{AdmissionScope, Bars, Facts, Unfit, checks};
use crate::error::Result;
use crate::language::{Message, message};
use crate::model::side::Side;
use crate::report::{Findings, Verdict};

/// Examines the tables of one side; each object that is not admissible gives a finding of its own.
pub async fn examine(findings: &mut Findings, client: &Client, scope: AdmissionScope<'_>) {
    let side = scope.side;
    let (facts, unfit) = match scope.examine(client).await {
        Ok(examined) => examined,
        Err(error) => return findings.add("tables", Some(side), Err(error)),
    };
    for (check, fine) in checks() {
        let mut of_check = unfit.iter().filter(|unfit| unfit.check == check).peekable();
        if of_check.peek().is_none() {
            findings.add(check, Some(side), Ok(Verdict::ok(praise(check, fine, scope, &facts))));
        }
        for unfit in of_check {
            findings.add(check, Some(side), Ok(verdict(unfit, Bars::Replication)));
        }
    }
}

/// Findings that prevent a cutover or a rollback.
pub fn stands_in_the_way(
    findings: &mut Findings,
    side: Side,
    examined: Result<(Facts, Vec<Unfit>)>,
    fine: Message,
) {
    let unfit = match examined {
        Ok((_, unfit)) => unfit,
        Err(error) => return findings.add("tables", Some(side), Err(error)),
    };
    let barring: Vec<&Unfit> = unfit.iter().filter(|unfit| unfit.bars >= Bars::Cutover).collect();
    if barring.is_empty() {
        findings.add("tables", Some(side), Ok(Verdict::ok(fine)));
    }
    for unfit in barring {
        findings.add(unfit.check, Some(side), Ok(verdict(unfit, Bars::Cutover)));
    }
}

fn verdict(unfit: &Unfit, purpose: Bars) -> Verdict {
    let [what, remedy] = [&unfit.what, &unfit.remedy].map(Message::clone);
    match unfit.bars >= purpose {
        true => Verdict::error(what, remedy),
        false if unfit.bars == Bars::Cutover => {
            Verdict::warning(message!("doctor-tables-no-cutover", what = what), remedy)
        }
        false => Verdict::warning(what, remedy),
    }
}

/// Mentions a missing optional column of Landing: the column's absence is no fault, but the operator should
/// know.
fn praise(check: &str, fine: Message, scope: AdmissionScope<'_>, facts: &Facts) -> Message {
    let mut absent = Vec::new();
    if check == "columns" && scope.side == Side::Landing {
        for (position, &table) in scope.tables.iter().enumerate() {
            let Some(shape) = facts.table(position) else { continue };
            let missing = table.columns().iter().filter(|column| shape.column(&column.name).is_none());
            absent
                .extend(missing.map(|column| format!("{}.{}", scope.names.landing_name(table), column.name)));
        }
    }
    match absent.as_slice() {
        [] => fine,
        absent => message!("doctor-tables-absent-columns", fine = fine, absent = absent.join(", ")),
    }
}
