//! What a server's error says of where it arose, and what of it may be repeated; pure.

use tokio_postgres::error::SqlState;

/// Instead of the words of a RAISE.
pub(super) const RAISED: &str = "refused by a trigger or function";

/// Instead of a message that quotes something.
const FAILED: &str = "a trigger or function failed";

/// The function behind the fence, which refuses whole statements.
const FENCE: &str = "refuse_write()";

/// Whether the context `place` names a user-defined function.
///
/// A server that speaks another language names the procedural language all the same, and the number of the statement
/// of an SQL function last. A statement that PostgreSQL itself runs, a cascade's, is quoted without a function.
pub(super) fn is_user_defined(place: &str) -> bool {
    let sql_function =
        |line: &str| line.contains("SQL") && line.ends_with(|last: char| last.is_ascii_digit());
    let of_function =
        |line: &str| line.contains("PL/") || line.starts_with("SQL function") || sql_function(line);
    !place.contains(FENCE) && place.lines().any(of_function)
}

/// The name and the parameters of the innermost function in PL/pgSQL. The context may quote statements with their values,
/// so nothing else is taken from it.
pub(super) fn function(place: &str) -> Option<&str> {
    let mut lines = place.lines();
    let (signature, _) =
        lines.find_map(|line| line.strip_prefix("PL/pgSQL function ")?.split_once(" line "))?;
    (!signature.contains('"')).then_some(signature)
}

/// Whether this says that something is missing which is looked for along the search_path.
pub(super) fn is_looked_up(code: &SqlState) -> bool {
    matches!(code.code(), "42P01" | "42883" | "42704")
}

/// What helps when something is missing not in our statement but in a function of that database which it called,
/// a trigger's say: our `search_path` is empty, as that of PostgreSQL's own apply worker is.
pub(super) fn remedy(code: &SqlState, place: &str) -> Option<String> {
    if !is_looked_up(code) || !is_user_defined(place) {
        return None;
    }
    let name = function(place).unwrap_or("…");
    Some(format!(
        "it was missed inside a trigger or function of that database ({name}), which runs under an empty search_path: \
         qualify the names in it, or ALTER FUNCTION {name} SET search_path = public; then start again"
    ))
}

/// Class 22 messages quote the value that was refused, and a trigger's own words may hold anything: cut it off,
/// for it may be somebody's name.
pub(super) fn without_values<'m>(code: &SqlState, message: &'m str) -> &'m str {
    match code.code() {
        "P0001" | "P0004" => RAISED,
        code if code.starts_with("22") => before_quoted_value(message),
        _ => message,
    }
}

/// What stands before a colon and a quotation, in the quotation marks of whatever language.
fn before_quoted_value(message: &str) -> &str {
    let colon = |(at, _): (usize, char)| message.get(..at)?.trim_end().strip_suffix([':', '：']);
    message.char_indices().filter(|(_, letter)| is_quotation_mark(*letter)).find_map(colon).unwrap_or(message)
}

fn is_quotation_mark(letter: char) -> bool {
    matches!(letter, '"' | '\'' | '«' | '»' | '„' | '“' | '”' | '‘' | '’' | '「')
}

/// The message of an error inside a user-defined function, which may have put values where names stand: in dynamic SQL.
/// A constraint's message quotes names only.
pub(super) fn without_names<'m>(code: &SqlState, message: &'m str) -> &'m str {
    let message = without_values(code, message);
    match code.code().starts_with("23") {
        false if message.contains(is_quotation_mark) => FAILED,
        _ => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MISSED: &str = "SQL statement \"INSERT INTO audit VALUES ('Айгерим')\"\n\
                          PL/pgSQL function public.audit_lead() line 3 at SQL statement";

    #[test]
    fn what_a_function_misses_is_mended_in_that_function() {
        let remedy_of = |place| remedy(&SqlState::UNDEFINED_TABLE, place);
        let found = remedy_of(MISSED).unwrap();
        assert!(found.contains("ALTER FUNCTION public.audit_lead() SET search_path"), "{found}");
        assert!(!found.contains("Айгерим"));
        for place in ["SQL function \"note\" statement 1", "функция PL/pgSQL f(), строка 3, оператор SQL"]
        {
            let found = remedy_of(place).unwrap();
            assert!(found.contains("ALTER FUNCTION … SET search_path"), "{found}");
        }
        assert_eq!(remedy_of("unnamed portal parameter $1"), None);
        assert_eq!(remedy(&SqlState::UNIQUE_VIOLATION, MISSED), None);
    }

    #[test]
    fn a_function_is_told_from_a_cascade_and_from_a_copy_in_any_language() {
        let functions = [
            MISSED,
            "PL/Python function \"note\"",
            "SQL function \"fits\" during inlining",
            "SQL-Funktion »fits« Anweisung 1",
            "SQL-функция \"fits\", оператор 1",
        ];
        let others = [
            "SQL statement \"DELETE FROM ONLY \"public\".\"traffic_sales\" WHERE $1 OPERATOR(pg_catalog.=) \"lead_id\"\"",
            "COPY traffic_leads, line 3",
            "while inserting index tuple (0,1) in relation \"traffic_leads\"",
            "PL/pgSQL function leadbridge.refuse_write() line 13 at RAISE",
        ];
        assert!(functions.iter().all(|place| is_user_defined(place)));
        assert!(!others.iter().any(|place| is_user_defined(place)));
    }

    #[test]
    fn a_data_exception_shows_no_value_in_any_language() {
        for (message, shown) in [
            ("invalid input syntax for type uuid: \"Айгерим\"", "invalid input syntax for type uuid"),
            ("ungültige Eingabesyntax für Typ integer: »Айгерим«", "ungültige Eingabesyntax für Typ integer"),
            (
                "syntaxe en entrée invalide pour le type uuid : « Айгерим »",
                "syntaxe en entrée invalide pour le type uuid ",
            ),
            (
                "invalid byte sequence for encoding \"UTF8\": 0x00",
                "invalid byte sequence for encoding \"UTF8\": 0x00",
            ),
        ] {
            assert_eq!(without_values(&SqlState::INVALID_TEXT_REPRESENTATION, message), shown);
        }
    }

    #[test]
    fn a_message_from_inside_a_function_shows_no_value_that_stands_where_a_name_does() {
        let said = |code: &str, message| without_names(&SqlState::from_code(code), message);
        assert_eq!(said("42703", "column \"айгерим\" does not exist"), FAILED);
        assert_eq!(said("21000", "more than one row returned"), "more than one row returned");
        let unique = "duplicate key value violates unique constraint \"once\"";
        assert_eq!(said("23505", unique), unique);
    }
}
