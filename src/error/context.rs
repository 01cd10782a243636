//! Reads the context of a server's error, and removes values from the message; pure.

use tokio_postgres::error::SqlState;

/// Replaces the text of a RAISE or an ASSERT.
pub(super) const RAISED: &str = "refused by a trigger or function";

/// Replaces a message that quotes a name or a value.
const FAILED: &str = "a trigger or function failed";

/// Function of the fence's triggers. The function refuses whole statements, so its error is not an error of a
/// row.
const FENCE: &str = "refuse_write()";

/// Whether the context `place` names a user-defined function.
///
/// The check holds for servers of every language: a localised context still names the procedural language,
/// and the context of an SQL function ends with the number of the statement. The context of a statement that
/// PostgreSQL itself runs, for a cascade for example, names no function.
pub(super) fn is_user_defined(place: &str) -> bool {
    let sql_function =
        |line: &str| line.contains("SQL") && line.ends_with(|last: char| last.is_ascii_digit());
    let of_function =
        |line: &str| line.contains("PL/") || line.starts_with("SQL function") || sql_function(line);
    !place.contains(FENCE) && place.lines().any(of_function)
}

/// Name and parameters of the innermost PL/pgSQL function. No other part of the context is used, because the
/// context may quote statements with values.
pub(super) fn function(place: &str) -> Option<&str> {
    let mut lines = place.lines();
    let (signature, _) =
        lines.find_map(|line| line.strip_prefix("PL/pgSQL function ")?.split_once(" line "))?;
    (!signature.contains('"')).then_some(signature)
}

/// Whether the SQLSTATE reports a missing object of a kind that is looked up along the `search_path`.
pub(super) fn is_looked_up(code: &SqlState) -> bool {
    matches!(code.code(), "42P01" | "42883" | "42704")
}

/// Remedy for an object that a user-defined function, of a trigger for example, does not find. leadbridge's
/// `search_path` is empty, like the `search_path` of PostgreSQL's own apply worker.
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

/// The message without values. A class 22 message is cut before the refused value, and the text of a RAISE or
/// an ASSERT is replaced, because either may hold a person's name.
pub(super) fn without_values<'m>(code: &SqlState, message: &'m str) -> &'m str {
    match code.code() {
        "P0001" | "P0004" => RAISED,
        code if code.starts_with("22") => before_quoted_value(message),
        _ => message,
    }
}

/// The part of the message before a colon and a quotation, in the quotation marks of any language.
fn before_quoted_value(message: &str) -> &str {
    let colon = |(at, _): (usize, char)| message.get(..at)?.trim_end().strip_suffix([':', '：']);
    message.char_indices().filter(|(_, letter)| is_quotation_mark(*letter)).find_map(colon).unwrap_or(message)
}

fn is_quotation_mark(letter: char) -> bool {
    matches!(letter, '"' | '\'' | '«' | '»' | '„' | '“' | '”' | '‘' | '’' | '「')
}

/// The message of an error inside a user-defined function. A quoting message is replaced, because dynamic SQL
/// may have put values in the place of names. A constraint's message is kept, because such a message quotes
/// names only.
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
    fn a_missing_object_is_remedied_in_the_function_that_names_it() {
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
