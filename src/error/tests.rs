use super::*;

#[test]
fn every_sqlstate_has_one_response_and_the_unknown_halts() {
    let table = [
        ("08006", Response::Retry),
        ("40001", Response::Retry),
        ("40P01", Response::Retry),
        ("53100", Response::Retry),
        ("55006", Response::Retry),
        ("57P01", Response::Retry),
        ("57P03", Response::Retry),
        ("58030", Response::Retry),
        ("28P01", Response::AskOperator),
        ("42501", Response::AskOperator),
        ("42P01", Response::AskOperator),
        ("55000", Response::AskOperator),
        ("XX001", Response::Halt),
        ("ZZZZZ", Response::Halt),
    ];
    for (code, response) in table {
        let error = Error::server("step", SqlState::from_code(code), "message");
        assert_eq!(error.response(), response, "{code}");
    }
}

fn answer<'a>(code: &'a SqlState, message: &'a str) -> ServerAnswer<'a> {
    ServerAnswer::new(code, message)
}

#[test]
fn a_data_exception_is_a_matter_of_one_row_and_shows_no_value() {
    let text = "invalid input syntax for type uuid: \"Айгерим +7 701\"";
    let error = Error::answer("apply", &answer(&SqlState::INVALID_TEXT_REPRESENTATION, text));
    assert_eq!(error.kind(), Kind::Row);
    assert!(!error.to_string().contains("Айгерим"));
    assert_eq!(error.message(), "apply: a value does not parse as its type (SQLSTATE 22P02)");
}

#[test]
fn what_a_trigger_raises_is_a_matter_of_one_row_whatever_its_code_and_its_words_stay_there() {
    let place = Some("PL/pgSQL function public.audit_lead() line 3 at RAISE");
    let raised = |code: &SqlState| {
        let routine = Some("exec_stmt_raise");
        Error::of_row("apply", &ServerAnswer { routine, place, ..answer(code, "Айгерим") })
    };
    for code in ["P0001", "23514", "42501", "SCH01", "XX000"] {
        let error = raised(&SqlState::from_code(code));
        assert_eq!(error.kind(), Kind::Row, "{code}");
        let told = "refused by a trigger or function, in the user-defined function public.audit_lead()";
        assert_eq!(error.message(), format!("apply: {told} (SQLSTATE {code})"));
    }
    let known = raised(&SqlState::from_code("40001"));
    assert_eq!(known.response(), Response::Retry, "what the code says comes first");
    let code = SqlState::from_code("P0002");
    assert_eq!(Error::of_row("apply", &answer(&code, "no rows")).kind(), Kind::Row);
}

#[test]
fn what_fails_inside_a_user_defined_function_is_a_matter_of_one_row_whatever_its_code() {
    let of_row = |code: &str, place| {
        let code = SqlState::from_code(code);
        Error::of_row("apply", &ServerAnswer { place: Some(place), ..answer(&code, "no") })
    };
    let place = "PL/pgSQL function public.audit_lead() line 3 at assignment";
    for code in ["22012", "21000", "42703", "42P01", "42501", "0A000", "55000", "XX000", "24000", "ZZZZZ"] {
        let error = of_row(code, place);
        assert_eq!(error.kind(), Kind::Row, "{code}");
        assert!(error.message().contains("public.audit_lead()"), "{}", error.message());
    }
    for code in ["08006", "40001", "40P01", "53100", "53400", "57014", "57P01", "58030", "55P03", "25006"] {
        assert_ne!(of_row(code, place).kind(), Kind::Row, "{code}");
    }
    let ours = "PL/pgSQL function leadbridge.refuse_write() line 13 at RAISE";
    for place in ["", "unnamed portal parameter $1", ours] {
        assert_eq!(of_row("55000", place).kind(), Kind::Refused);
    }
}

#[test]
fn a_place_is_kept_beside_the_message_and_the_first_one_counts() {
    let error = Error::server("writing", SqlState::UNIQUE_VIOLATION, "no").context("retry");
    let error = error.of_table("traffic_leads").of_table("other").at(Lsn(16)).at(Lsn(17)).at(None);
    assert_eq!((error.step(), error.table()), (Some("retry: writing"), Some("traffic_leads")));
    assert_eq!(error.lsn(), Some(Lsn(16)));
    assert_eq!(error.to_string(), "retry: writing: no (SQLSTATE 23505)");
    assert_eq!(error.message(), error.to_string());
}

#[test]
fn a_server_error_shows_names_and_codes_as_the_source() {
    let source = ServerCause {
        sqlstate: SqlState::UNIQUE_VIOLATION,
        severity: "ERROR".to_owned(),
        routine: Some("_bt_check_unique".to_owned()),
        table: None,
        constraint: Some("once".to_owned()),
    };
    let shown = "ERROR 23505, routine _bt_check_unique, constraint once";
    let error = Error::refused("no").source_error(source);
    assert_eq!(error.source().map(ToString::to_string).as_deref(), Some(shown));
    assert_eq!(error.to_string(), "no");
}
