//! `leadbridge finish`: the end of a move.

use std::io::{self, Write as _};

use super::confirm::confirm;
use super::{EARLIER_LINES, print, print_json};
use crate::cli;
use crate::config::Config;
use crate::error::Result;
use crate::exit::Exit;
use crate::finish::{self, Examined, FinishCertificate, FinishOptions, OwnedObject};
use crate::language::Language;
use crate::telemetry::logging;

pub async fn run(config: &Config, arguments: &cli::FinishArguments, language: Language) -> Result<Exit> {
    let cli::FinishArguments { backup, format, max_behind, keep_notes, yes, json } = arguments;
    let options = FinishOptions {
        backup: backup.clone(),
        format: *format,
        max_behind: *max_behind,
        keep_notes: *keep_notes,
    };
    match finish::examine(config, options).await? {
        Examined::Finished(certificate, left) => show(&certificate, Some(&left), (*json, language))?,
        Examined::Ready(finish) => {
            let plan = finish.plan();
            if *yes {
                logging::flush(EARLIER_LINES);
                // Nobody can be told of a closed stderr.
                let _ = writeln!(io::stderr(), "{}", plan.in_language(language));
            } else {
                confirm(&plan, language)?;
            }
            show(&Box::pin(finish.carry_out()).await?, None, (*json, language))?;
        }
    }
    Ok(Exit::Ok)
}

/// `left`: the objects that exist now, when the move was finished earlier.
fn show(
    certificate: &FinishCertificate,
    left: Option<&[OwnedObject]>,
    (json, language): (bool, Language),
) -> Result<()> {
    let mut certificate = certificate.clone();
    if let Some(left) = left {
        certificate.left_for_owner = left.to_vec();
    }
    if json { print_json(&certificate) } else { print(&certificate.text(language)) }
}
