//! Reads the context of a server's error: who executed the statement that failed; pure.

use tokio_postgres::error::SqlState;

use crate::language::{Message, message};

/// Function of the fence's triggers. The function refuses whole statements, so its error is not an error of a
/// row.
const FENCE: &str = "refuse_write()";

/// leadbridge's own functions that execute statements, and the blocks and session functions of its migrations.
/// Their statements hold names of objects and no value.
const OURS: [&str; 16] = [
    "inline_code_block",
    " pg_temp.",
    " pg_temp_",
    ".close_fence(",
    ".keep_fence(",
    ".expire_fence(",
    ".hold_fence(",
    ".lift_fence(",
    ".remove_lifted_fence(",
    ".restore_fence(",
    ".fence_damage(",
    ".fence_triggers(",
    ".create_fence_triggers(",
    ".fenced_tables(",
    ".defer_indexes(",
    ".make_deferred_index(",
];

/// Whether the context `place` names a user-defined function.
///
/// The check holds for servers of every language: a localised context still names the procedural language,
/// and the context of an SQL function ends with the number of the statement. The context of a statement that
/// PostgreSQL itself runs, for a cascade for example, names no function.
pub(super) fn is_user_defined(place: &str) -> bool {
    !place.contains(FENCE) && place.lines().any(|line| line.contains("PL/") || is_of_sql_function(line))
}

fn is_of_sql_function(line: &str) -> bool {
    line.starts_with("SQL function")
        || (line.contains("SQL") && line.ends_with(|last: char| last.is_ascii_digit()))
}

/// Whether the context shows that only PostgreSQL and leadbridge's own statements were at work. Every other
/// context may be one of a user-defined function, which can put a value into each field of an error.
///
/// The check holds for servers of every language, because the quoted parts of a context are not translated.
pub(super) fn is_known(place: &str) -> bool {
    is_of_copy(place) || is_of_reference(place) || is_of_decoding(place) || is_ours(place)
}

/// A row of COPY. Each function that the row has called would stand before.
fn is_of_copy(place: &str) -> bool {
    place.starts_with("COPY ") && is_one_line(place)
}

/// A statement of a foreign key: a check or a cascade. The statement holds parameters, and names.
fn is_of_reference(place: &str) -> bool {
    is_one_line(place)
        && place.contains(" ONLY ")
        && place.contains(" OPERATOR(pg_catalog.")
        && !place.contains('\'')
}

/// Logical decoding, which calls no user-defined function.
fn is_of_decoding(place: &str) -> bool {
    is_one_line(place) && place.contains("\"pgoutput\"") && !is_user_defined(place)
}

/// Whether every function in the context is leadbridge's own.
pub(super) fn is_ours(place: &str) -> bool {
    let is_of_ours = |line: &str| line.contains("PL/") && OURS.iter().any(|ours| line.contains(ours));
    let mut functions = place.lines().filter(|line| line.contains("PL/") || is_of_sql_function(line));
    place.lines().last().is_some_and(is_of_ours) && functions.all(is_of_ours)
}

fn is_one_line(place: &str) -> bool {
    place.lines().count() == 1
}

/// Name and parameters of the outermost PL/pgSQL function, as the server prints them from its catalog. Only
/// the last line of the context is read, apart from the line of a COPY or of a foreign key: lines of inner
/// statements may hold values, and lines that look like a function's. A statement ends with a quotation mark.
pub(super) fn function(place: &str) -> Option<&str> {
    let mut lines = place.lines().rev().skip_while(|line| is_of_copy(line) || is_of_reference(line));
    let last = lines.next().filter(|line| !line.ends_with('"'))?;
    let (signature, _) = last.strip_prefix("PL/pgSQL function ")?.split_once(" line ")?;
    (!signature.contains('"')).then_some(signature)
}

/// Whether the SQLSTATE reports a missing object of a kind that is looked up along the `search_path`.
pub(super) fn is_looked_up(code: &SqlState) -> bool {
    matches!(code.code(), "42P01" | "42883" | "42704")
}

/// Remedy for an object that a user-defined function, of a trigger for example, does not find. leadbridge's
/// `search_path` is empty, like the `search_path` of PostgreSQL's own apply worker.
pub(super) fn remedy(code: &SqlState, place: &str) -> Option<Message> {
    if !is_looked_up(code) || !is_user_defined(place) || is_ours(place) {
        return None;
    }
    let name = function(place).unwrap_or("…");
    Some(message!("error-missed-in-function", name = name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MISSED: &str = "SQL statement \"INSERT INTO audit VALUES ('Айгерим')\"\n\
                          PL/pgSQL function public.audit_lead() line 3 at SQL statement";
    const CASCADE: &str = "SQL statement \"DELETE FROM ONLY \"public\".\"traffic_sales\" WHERE $1 OPERATOR(pg_catalog.=) \"lead_id\"\"";

    #[test]
    fn a_missing_object_is_remedied_in_the_function_that_names_it() {
        let remedy_of = |place| remedy(&SqlState::UNDEFINED_TABLE, place).map(|found| found.to_string());
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
            CASCADE,
            "COPY traffic_leads, line 3",
            "while inserting index tuple (0,1) in relation \"traffic_leads\"",
            "PL/pgSQL function leadbridge.refuse_write() line 13 at RAISE",
        ];
        assert!(functions.iter().all(|place| is_user_defined(place) && !is_known(place)));
        assert!(!others.iter().any(|place| is_user_defined(place)));
    }

    #[test]
    fn only_a_context_of_the_server_itself_or_of_a_function_of_ours_is_known() {
        let fence = "SQL statement \"LOCK TABLE public.landing_leads\"\n\
                     PL/pgSQL function leadbridge.close_fence(uuid,text,interval,boolean) line 9 at EXECUTE";
        for place in [
            CASCADE,
            "COPY traffic_leads, строка 3",
            "slot \"leadbridge\", output plugin \"pgoutput\", in the change callback, associated LSN 0/1690",
            fence,
            "PL/pgSQL function inline_code_block line 3 at RAISE",
        ] {
            assert!(is_known(place), "{place}");
        }
        let school = "PL/pgSQL function public.audit() line 2 at EXECUTE";
        for place in [
            "anything else",
            "JSON data, line 1: Айгерим",
            "audit() LINE 3: throw new Error",
            "SQL statement \"DELETE FROM ONLY x WHERE y OPERATOR(pg_catalog.=) 'Айгерим'\"",
            &format!("{CASCADE}\n{school}"),
            &format!("{fence}\n{school}"),
            &format!("{school}\nCOPY traffic_leads, line 3"),
            &format!("PL/pgSQL function inline_code_block line 1 at RAISE\n{school}"),
        ] {
            assert!(!is_known(place), "{place}");
        }
    }

    #[test]
    fn no_line_of_a_statement_poses_as_the_function() {
        let forged = "SQL statement \"INSERT INTO audit VALUES ('\nPL/pgSQL function +79161234567 line 1')\"";
        let outer = "PL/pgSQL function public.audit_lead() line 3 at EXECUTE";
        assert_eq!(function(&format!("{forged}\n{outer}")), Some("public.audit_lead()"));
        assert_eq!(function(&format!("{outer}\n{CASCADE}")), Some("public.audit_lead()"));
        assert_eq!(function(&format!("{outer}\nCOPY traffic_leads, line 3")), Some("public.audit_lead()"));
        assert_eq!(function(&format!("{forged}\nSQL function \"outer\" statement 1")), None);
        assert_eq!(function(forged), None, "the last line is the statement's");
    }
}
