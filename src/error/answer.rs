//! A server's error, and what may be told of it; pure.
//!
//! A server's text is passed on only where it is known to hold no value of a row: the SQLSTATE and the origin
//! of the error decide, never the words, because a server may answer in any language. Everywhere else the
//! message is made of leadbridge's own words and of the names that the server gives in fields of their own.

use tokio_postgres::error::{DbError, ErrorPosition, SqlState};

use super::context;
use super::sqlstate::words;

/// The server's routine for PL/pgSQL's `RAISE`, as named in an error answer.
const RAISE: &str = "exec_stmt_raise";

/// The server's routines that look for a publication or a slot by a name that a command of ours gives.
const LOOKING: [&str; 2] = ["get_publication_oid", "ReplicationSlotAcquire"];

/// Replaces the text of a RAISE, whose SQLSTATE may be any.
const RAISED: &str = "refused by a trigger or function";

/// The fields of a server's error.
#[derive(Clone, Copy, Debug)]
pub struct ServerAnswer<'a> {
    pub code: &'a SqlState,
    pub message: &'a str,
    /// Function of the server's source code that reported the error: the same in every language.
    pub routine: Option<&'a str>,
    /// The context: the functions and statements inside of which the error happened.
    pub place: Option<&'a str>,
    /// Whether the error has a position in the statement that was sent: the server did not understand the
    /// statement's own text, and no row was looked at.
    pub is_of_text: bool,
    pub schema: Option<&'a str>,
    pub table: Option<&'a str>,
    pub column: Option<&'a str>,
    pub datatype: Option<&'a str>,
    pub constraint: Option<&'a str>,
}

impl<'a> ServerAnswer<'a> {
    /// An answer without names.
    pub fn new(code: &'a SqlState, message: &'a str) -> Self {
        ServerAnswer {
            code,
            message,
            routine: None,
            place: None,
            is_of_text: false,
            schema: None,
            table: None,
            column: None,
            datatype: None,
            constraint: None,
        }
    }

    pub fn of(db: &'a DbError) -> Self {
        ServerAnswer {
            routine: db.routine(),
            place: db.where_(),
            is_of_text: matches!(db.position(), Some(ErrorPosition::Original(_))),
            schema: db.schema(),
            table: db.table(),
            column: db.column(),
            datatype: db.datatype(),
            constraint: db.constraint(),
            ..Self::new(db.code(), db.message())
        }
    }

    pub(super) fn place(&self) -> &'a str {
        self.place.unwrap_or_default()
    }

    /// Whether a `RAISE` of PL/pgSQL made the error.
    pub(super) fn is_raised(&self) -> bool {
        self.routine == Some(RAISE)
    }

    /// Whether no user-defined function can have made the error. Such a function can put a value into every
    /// field (`RAISE … USING COLUMN`).
    pub(super) fn is_of_server(&self) -> bool {
        !self.is_raised() && self.place.is_none_or(context::is_known)
    }

    /// Whether the error happened inside functions or blocks of leadbridge's alone.
    pub fn is_in_own_function(&self) -> bool {
        context::is_ours(self.place())
    }

    /// Whether the error happened inside a user-defined function.
    pub(super) fn is_in_function(&self) -> bool {
        context::is_user_defined(self.place()) && !context::is_ours(self.place())
    }

    /// The server's text, where it is known to hold no value of a row.
    pub(super) fn text(&self) -> Option<&'a str> {
        (self.is_of_server() && self.quotes_names_only()).then_some(self.message)
    }

    /// Whether the SQLSTATE and the routine are known to quote nothing but names and numbers, where no
    /// user-defined function was called.
    fn quotes_names_only(&self) -> bool {
        match self.code.code() {
            // An expression of an index, of a CHECK or of a column may look up names that a row holds, so a
            // missing object is believed only where the statement's own text names the object.
            "42501" | "42710" | "42809" | "428C9" | "42P07" | "42P10" => true,
            code if code.starts_with("42") => {
                self.is_of_text || self.routine.is_some_and(|routine| LOOKING.contains(&routine))
            }
            // The type's length.
            "22001" => matches!(self.routine, Some("varchar" | "bpchar")),
            // A damaged file.
            "XX001" | "XX002" => true,
            code => matches!(
                code.get(..2),
                Some("08" | "25" | "28" | "3D" | "3F" | "40" | "53" | "55" | "57" | "58")
            ),
        }
    }

    /// What happened, without values: the server's text where it may be passed on, else words of our own with
    /// the names of what refused; then the outermost user-defined function.
    pub(super) fn told(&self) -> String {
        let what = match self.text() {
            Some(text) => text.to_owned(),
            None if self.is_raised() => RAISED.to_owned(),
            None => words(self.code).to_owned() + &self.names(),
        };
        match context::function(self.place()).filter(|_| self.is_in_function()) {
            Some(function) => format!("{what}, in the user-defined function {function}"),
            None => what,
        }
    }

    /// The names that the server gives: constraint, column, type and table.
    fn names(&self) -> String {
        if !self.is_of_server() {
            return String::new();
        }
        let datatype = self.datatype.map(|name| self.in_schema(name));
        let named = [
            ("constraint", self.constraint.map(str::to_owned)),
            ("column", self.column.map(str::to_owned)),
            ("type", datatype),
            ("table", self.qualified_table()),
        ];
        let named = named.into_iter().filter_map(|(kind, name)| name.map(|name| format!("{kind} {name}")));
        match named.collect::<Vec<_>>().join(" of ") {
            names if names.is_empty() => names,
            names => format!(": {names}"),
        }
    }

    /// `schema.table`, as the server names the table.
    pub(super) fn qualified_table(&self) -> Option<String> {
        self.table.filter(|_| self.is_of_server()).map(|table| self.in_schema(table))
    }

    fn in_schema(&self, name: &str) -> String {
        match self.schema {
            Some(schema) => format!("{schema}.{name}"),
            None => name.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = "+79161234567";
    const FUNCTION: &str = "PL/pgSQL function public.audit() line 3 at assignment";

    fn code(text: &str) -> SqlState {
        SqlState::from_code(text)
    }

    #[test]
    fn a_data_exception_is_told_in_our_own_words_in_any_language() {
        for (state, message, told) in [
            (
                "22P02",
                "invalid input syntax for type integer: \"+79161234567\"",
                "a value does not parse as its type",
            ),
            (
                "22P02",
                "ungültige Eingabesyntax für Typ integer: »+79161234567«",
                "a value does not parse as its type",
            ),
            ("22007", "invalid value \"+79161234567\" for \"YYYY\"", "a date or time has an invalid format"),
            ("22023", "time zone \"+79161234567\" not recognized", "a parameter has an invalid value"),
            ("22999", "whatever +79161234567 says", "a value was not accepted"),
            ("42601", "syntax error in tsquery: \"+79161234567\"", "a syntax error"),
            ("42P01", "relation \"+79161234567\" does not exist", "a table is missing"),
            ("54000", "word is too long in tsquery: \"+79161234567\"", "a limit of the server is exceeded"),
            ("XX000", "cache lookup failed for +79161234567", "an internal error of the server"),
            ("ZZZZZ", "+79161234567", "the server reports an error"),
        ] {
            let code = code(state);
            assert_eq!(ServerAnswer::new(&code, message).told(), told, "{state}");
        }
    }

    #[test]
    fn no_field_of_an_error_inside_a_function_is_told_whatever_its_sqlstate() {
        let states =
            ["22P02", "23505", "42501", "42P01", "57014", "53100", "28000", "P0001", "XX000", "SCH01"];
        let places =
            [FUNCTION, "PL/Python function \"note\"", "SQL function \"f\" statement 1", "note() LINE 3: x"];
        for state in states {
            for place in places.into_iter().map(Some).chain([None]) {
                let code = code(state);
                let answer = ServerAnswer {
                    routine: place.is_none().then_some(RAISE),
                    place,
                    is_of_text: true,
                    schema: Some(VALUE),
                    table: Some(VALUE),
                    column: Some(VALUE),
                    datatype: Some(VALUE),
                    constraint: Some(VALUE),
                    ..ServerAnswer::new(&code, VALUE)
                };
                let told = answer.told();
                assert!(!told.contains(VALUE), "{state} {place:?}: {told}");
                assert_eq!(told.contains("public.audit()"), place == Some(FUNCTION), "{told}");
                assert_eq!(answer.qualified_table(), None);
            }
        }
    }

    #[test]
    fn a_constraint_is_told_with_its_names_and_a_missing_object_as_the_server_says() {
        let unique = code("23505");
        let answer = ServerAnswer {
            schema: Some("public"),
            table: Some("traffic_leads"),
            constraint: Some("once"),
            ..ServerAnswer::new(&unique, "дубликат")
        };
        let told =
            "another row has the value of a unique index: constraint once of table public.traffic_leads";
        assert_eq!(answer.told(), told);
        let missing = code("42P01");
        let said = "relation \"leadbridge.finish\" does not exist";
        let answer = ServerAnswer { is_of_text: true, ..ServerAnswer::new(&missing, said) };
        assert_eq!(answer.told(), said);
        let stopped = code("57P01");
        assert_eq!(ServerAnswer::new(&stopped, "terminating").told(), "terminating");
    }
}
