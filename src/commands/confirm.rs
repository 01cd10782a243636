//! Asks the operator before data or objects are destroyed.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use super::EARLIER_LINES;
use crate::error::{Error, Result};
use crate::language::{Language, message};
use crate::telemetry::logging;

/// Returns when the operator types `yes`, in either language. `what` is already in `language`.
///
/// # Errors
/// `Usage` when there is no terminal for the prompt, `Refused` for any other answer: nothing was done.
pub fn confirm(what: &str, language: Language) -> Result<()> {
    if !io::stdin().is_terminal() {
        return Err(Error::usage(format!("{what}: there is no terminal for the confirmation prompt"))
            .remedy("pass --yes to skip the confirmation prompt"));
    }
    let failed = |error: io::Error| Error::internal(format!("the terminal cannot be read: {error}"));
    logging::flush(EARLIER_LINES);
    let prompt = message!("commands-confirm-prompt").in_language(language);
    write!(io::stderr(), "{what}\n{prompt} ").map_err(failed)?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(failed)?;
    if answer.trim() == "yes" { Ok(()) } else { Err(Error::refused("not confirmed: nothing was done")) }
}
