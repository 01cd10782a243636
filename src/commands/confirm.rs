//! Asks the operator before data or objects are destroyed.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use super::EARLIER_LINES;
use crate::error::{Error, Result};
use crate::language::{Language, Message, message};
use crate::telemetry::logging;

/// Returns when the operator types `yes`, in either language.
///
/// # Errors
/// `Usage` when there is no terminal for the prompt, `Refused` for any other answer: nothing was done.
pub fn confirm(what: &Message, language: Language) -> Result<()> {
    if !io::stdin().is_terminal() {
        return Err(nobody_to_ask(what));
    }
    let failed = |error: io::Error| Error::internal(format!("the terminal cannot be read: {error}"));
    logging::flush(EARLIER_LINES);
    let prompt = message!("commands-confirm-prompt").in_language(language);
    write!(io::stderr(), "{}\n{prompt} ", what.in_language(language)).map_err(failed)?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(failed)?;
    if answer.trim() == "yes" { Ok(()) } else { Err(Error::refused("not confirmed: nothing was done")) }
}

/// What is wrong, in English, as of every error.
fn nobody_to_ask(what: &Message) -> Error {
    Error::usage(format!("{what}: there is no terminal for the confirmation prompt"))
        .remedy(message!("commands-remedy-yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_without_a_terminal_is_english_in_every_language() {
        let error = nobody_to_ask(&message!("commands-orphan-question", found = "Landing is closed"));
        assert_eq!(
            error.message(),
            "Landing is closed. Landing will take writes to leads again.: there is no terminal for the confirmation \
             prompt"
        );
    }
}
