//! `leadbridge doctor`: the findings, as text or JSON.

use std::fmt::Write as _;

use super::{print, print_json};
use crate::cli;
use crate::config::Config;
use crate::doctor;
use crate::error::Result;
use crate::exit::Exit;
use crate::language::{Language, message};
use crate::report::{Finding, Findings, Level};

pub async fn run(config: &Config, arguments: &cli::Doctor, language: Language) -> Result<Exit> {
    let findings = doctor::examine(config).await;
    if arguments.json {
        print_json(&findings)?;
    } else {
        print(&text(&findings, language))?;
    }
    Ok(if findings.worst() == Level::Error { Exit::CheckFailed } else { Exit::Ok })
}

fn text(findings: &Findings, language: Language) -> String {
    let (errors, warnings) = (findings.count(Level::Error), findings.count(Level::Warning));
    let sum = match (errors, warnings) {
        (0, 0) => message!("commands-doctor-clear"),
        (0, warnings) => message!("commands-doctor-clear-with-warnings", warnings = warnings),
        (errors, warnings) => message!("commands-doctor-errors", errors = errors, warnings = warnings),
    };
    format!("{}\n{}\n", lines(findings, language), sum.in_language(language))
}

/// One line for each finding, and one for its remedy.
pub(super) fn lines(findings: &Findings, language: Language) -> String {
    let mut text = String::new();
    for finding in &findings.findings {
        line(&mut text, finding, language);
    }
    text
}

fn line(text: &mut String, finding: &Finding, language: Language) {
    let level = match finding.level {
        Level::Ok => message!("commands-finding-ok"),
        Level::Warning => message!("commands-finding-warning"),
        Level::Error => message!("commands-finding-error"),
    };
    let side = finding.side.map_or_else(String::new, |side| format!("{side}: "));
    // Writing to a String cannot fail.
    let _ =
        writeln!(text, "{:<8} {side}{}", level.in_language(language), finding.message.in_language(language));
    if let Some(remedy) = &finding.remedy {
        let remedy = message!("error-what-to-do", remedy = remedy);
        let _ = writeln!(text, "{:8}   {}", "", remedy.in_language(language));
    }
}
