//! `leadbridge explain`: one lead, end to end, as text or JSON.

mod columns;
mod page;
mod text;

use std::io::Read as _;

use super::{complain, print, print_json};
use crate::cli::ExplainArguments;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::explain::{self, Asked, Question};
use crate::language::Language;

/// No phone and no e-mail is longer.
const LONGEST: u64 = 1000;

pub async fn run(config: &Config, arguments: &ExplainArguments, language: Language) -> Result<Exit> {
    let asked = Asked::parse(&value(&arguments.lead)?)?;
    let question = Question { asked, with_values: arguments.values, wait: arguments.wait };
    let found = explain::explain(config, &question).await?;
    for error in &found.failures {
        complain(error, language);
    }
    if arguments.json {
        print_json(&found)?;
    } else {
        print(&text::of(&found, arguments.values, language))?;
    }
    Ok(match found.failures.first() {
        Some(error) => Exit::from(error),
        None if explain::all_right(&found.leads) => Exit::Ok,
        None => Exit::CheckFailed,
    })
}

/// The words of a phone that was typed without quotes, as one; or the first line of stdin.
fn value(words: &[String]) -> Result<String> {
    if !matches!(words, [word] if word == "-") {
        return Ok(words.join(" "));
    }
    let mut text = String::new();
    let read = std::io::stdin().lock().take(LONGEST).read_to_string(&mut text);
    read.map_err(|error| Error::usage("stdin cannot be read as text").source_error(error))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
