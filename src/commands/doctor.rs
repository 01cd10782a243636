//! `leadbridge doctor`: the findings, as text or JSON.

use std::fmt::Write as _;

use super::{print, print_json};
use crate::cli;
use crate::config::Config;
use crate::doctor;
use crate::error::Result;
use crate::exit::Exit;
use crate::report::{Finding, Findings, Level};

pub async fn run(config: &Config, arguments: &cli::Doctor) -> Result<Exit> {
    let findings = doctor::examine(config).await;
    if arguments.json {
        print_json(&findings)?;
    } else {
        print(&text(&findings))?;
    }
    Ok(if findings.worst() == Level::Error { Exit::CheckFailed } else { Exit::Ok })
}

fn text(findings: &Findings) -> String {
    let mut text = lines(findings);
    // Writing to a String cannot fail.
    let _ = match (findings.count(Level::Error), findings.count(Level::Warning)) {
        (0, 0) => writeln!(text, "\nnothing stands in the way"),
        (0, warnings) => writeln!(text, "\nnothing stands in the way; warnings: {warnings}"),
        (errors, warnings) => writeln!(text, "\nerrors: {errors}, warnings: {warnings}"),
    };
    text
}

/// One line for each finding, and one for its remedy.
pub(super) fn lines(findings: &Findings) -> String {
    let mut text = String::new();
    for finding in &findings.findings {
        line(&mut text, finding);
    }
    text
}

fn line(text: &mut String, finding: &Finding) {
    let level = match finding.level {
        Level::Ok => "ok",
        Level::Warning => "warning",
        Level::Error => "ERROR",
    };
    let side = finding.side.map_or_else(String::new, |side| format!("{side}: "));
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{level:<8} {side}{}", finding.message);
    if let Some(remedy) = &finding.remedy {
        let _ = writeln!(text, "{:8}   what to do: {remedy}", "");
    }
}
