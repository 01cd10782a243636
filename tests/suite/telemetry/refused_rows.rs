//! No value of a refused row leaves the row, however the server refuses the row and in whichever direction: not
//! in the log, the status, the message of the quarantine, or the output of a command.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::replication::reverse::switch::{carried, switch};
use crate::testkit::{Bridge, Daemon, World, landing, one, said, traffic};

/// Parts of the values of a bad row. A server may show only the beginning of a value, or only its digits.
const MARKS: [&str; 4] = ["Айге", "+7-701", "77010000042", "secret-mail"];

/// The bad case, the statement of a user-defined trigger that refuses the row, and the SQLSTATE.
const IN_FUNCTION: [(&str, &str, &str); 27] = [
    ("cast", "PERFORM NEW.phone::integer", "22P02"),
    ("uuid", "PERFORM NEW.name::uuid", "22P02"),
    ("range", r"PERFORM regexp_replace(NEW.phone, '\D', '', 'g')::integer", "22003"),
    ("date", "PERFORM to_date(NEW.name, 'YYYY')", "22007"),
    ("zone", "PERFORM now() AT TIME ZONE NEW.name", "22023"),
    ("regexp", "PERFORM 'x' ~ ('(' || NEW.name)", "2201B"),
    ("length", "DECLARE v varchar(3); BEGIN v := NEW.name; END", "22001"),
    ("path", r#"PERFORM jsonb_path_query('{}', ('strict $."' || NEW.name || '"')::jsonpath)"#, "2203A"),
    ("tsquery", "PERFORM to_tsquery('simple', NEW.name || ' ' || NEW.name)", "42601"),
    ("column", "EXECUTE 'SELECT ' || quote_ident(NEW.name)", "42703"),
    ("table", "EXECUTE 'SELECT FROM ' || quote_ident(NEW.name)", "42P01"),
    ("regclass", "PERFORM quote_ident(NEW.name)::regclass", "42P01"),
    ("role", "PERFORM quote_ident(NEW.name)::regrole", "42704"),
    ("parameter", "PERFORM set_config('x.' || NEW.name || '-', 'x', true)", "42602"),
    ("syntax", "EXECUTE 'garbage ' || NEW.name", "42601"),
    ("literal", "EXECUTE format('SELECT %L::integer', NEW.name)", "22P02"),
    ("insert", "EXECUTE format('INSERT INTO nowhere VALUES (%L)', NEW.name)", "42P01"),
    (
        "forged",
        r"EXECUTE format('SELECT %L::integer', E'\nPL/pgSQL function ' || NEW.name || ' line 1')",
        "22P02",
    ),
    ("domain", "PERFORM NEW.name::public.short", "23514"),
    ("language", "PERFORM public.in_sql(NEW.name)", "22P02"),
    ("strict", "SELECT u.id INTO STRICT NEW.id FROM pg_class u WHERE relname = NEW.name", "42703"),
    ("assert", "ASSERT false, NEW.name", "P0004"),
    ("raise", "RAISE EXCEPTION 'not % with %', NEW.name, NEW.phone", "P0001"),
    ("raise-own", "RAISE EXCEPTION 'not %', NEW.name USING ERRCODE = 'SCH01', COLUMN = NEW.name", "SCH01"),
    (
        "raise-unique",
        "RAISE EXCEPTION 'not %', NEW.name USING ERRCODE = 'unique_violation', DETAIL = NEW.phone, HINT = NEW.name,
             COLUMN = NEW.name, CONSTRAINT = NEW.email, DATATYPE = NEW.name, TABLE = NEW.name, SCHEMA = NEW.phone",
        "23505",
    ),
    ("raise-right", "RAISE EXCEPTION '%', NEW.name USING ERRCODE = 'insufficient_privilege'", "42501"),
    ("raise-internal", "RAISE EXCEPTION '%', NEW.name USING ERRCODE = 'XX000', TABLE = NEW.name", "XX000"),
];

/// The bad case, and the SQLSTATE of a rule of the table itself ([`rules`]).
const OF_TABLE: [(&str, &str); 6] = [
    ("check", "23514"),
    ("inlined", "22P02"),
    ("indexed", "22P02"),
    ("unique", "23505"),
    ("excluded", "23P01"),
    ("too-long", "54000"),
];

/// The rules of the table `leads` of either side.
fn rules(leads: &str) -> String {
    let mut cases = String::new();
    for (case, statement, _) in IN_FUNCTION {
        cases += &format!("WHEN '{case}' THEN {statement};\n");
    }
    format!(
        "CREATE DOMAIN public.short AS text CONSTRAINT short_enough CHECK (length(VALUE) < 3);
         CREATE FUNCTION public.in_sql(value text) RETURNS integer LANGUAGE sql VOLATILE STRICT SET work_mem = '4MB'
             AS 'SELECT value::integer';
         CREATE FUNCTION public.inlined(value text) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT $1::integer';
         CREATE FUNCTION public.school() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN
             RAISE NOTICE '% calls from %', NEW.name, NEW.phone;
             CASE split_part(split_part(NEW.email, '+', 2), '@', 1)
             {cases}
             ELSE NULL; END CASE;
             RETURN NEW;
         END $f$;
         CREATE TRIGGER school BEFORE INSERT ON {leads} FOR EACH ROW EXECUTE FUNCTION public.school();
         ALTER TABLE {leads} ENABLE ALWAYS TRIGGER school,
             ADD CONSTRAINT no_check CHECK (email NOT LIKE '%+check@%') NOT VALID,
             ADD CONSTRAINT no_inlined CHECK (email NOT LIKE '%+inlined@%' OR public.inlined(phone) > 0) NOT VALID,
             ADD CONSTRAINT no_excluded EXCLUDE USING hash (name WITH =) WHERE (email LIKE '%+excluded@%');
         CREATE INDEX no_indexed ON {leads} ((name::integer)) WHERE email LIKE '%+indexed@%';
         CREATE UNIQUE INDEX no_unique ON {leads} (phone) WHERE email LIKE '%+unique@%';
         CREATE INDEX no_too_long ON {leads} ((metadata::text)) WHERE email LIKE '%+too-long@%'"
    )
}

fn cases() -> BTreeMap<String, String> {
    let in_function = IN_FUNCTION.into_iter().map(|(case, _, code)| (case, code));
    in_function.chain(OF_TABLE).map(|(case, code)| (case.to_owned(), code.to_owned())).collect()
}

/// Inserts one bad lead for each case; two of the cases need a good lead with the same value first.
fn bad_leads(leads: &str, more: (&str, &str)) -> String {
    let (columns, values) = more;
    let long = "jsonb_build_object('x', (SELECT string_agg(sha512(n::text::bytea)::text, '') FROM generate_series(1, 90) n))";
    let lead = |case: &str| {
        let metadata = if case == "too-long" { long } else { "'{}'" };
        format!(
            "INSERT INTO {leads} (name, phone, email, metadata{columns})
                 VALUES ('Айгерим-ЖОҚ', '+7-701-0000042', 'secret-mail+{case}@example.kz', {metadata}{values});"
        )
    };
    let twice = ["unique", "excluded"].map(lead).concat();
    twice + &cases().keys().map(|case| lead(case)).collect::<String>()
}

/// The output leaves the values out, too.
fn assert_silent(what: &str, text: &str) {
    for mark in MARKS {
        let at = text.find(mark);
        let around = at.map(|at| text[..at].chars().rev().take(160).collect::<Vec<char>>());
        let before = around.map(|letters| letters.into_iter().rev().collect::<String>());
        assert!(before.is_none(), "{what} shows a value of {} letters after: {before:?}", mark.len());
    }
}

/// SQLSTATE and message of each case in the quarantine.
async fn refused(world: &World, quarantine: &str, emails: &str) -> BTreeMap<String, (String, String)> {
    let sql = format!(
        "SELECT split_part(split_part({emails}, '+', 2), '@', 1), q.sqlstate, q.message FROM {quarantine}"
    );
    let rows = world.traffic().await.query(&sql, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect()
}

fn assert_told(found: &BTreeMap<String, (String, String)>) {
    let codes: BTreeMap<String, String> =
        found.iter().map(|(case, (code, _))| (case.clone(), code.clone())).collect();
    assert_eq!(codes, cases());
    for (case, (code, message)) in found {
        assert_silent(case, message);
        assert!(message.contains(&format!("(SQLSTATE {code})")), "{case}: {message}");
        if IN_FUNCTION.iter().any(|(known, ..)| known == case) {
            assert!(message.contains(", in the user-defined function public.school()"), "{case}: {message}");
        }
    }
    for (case, name) in [("check", "no_check"), ("unique", "no_unique"), ("excluded", "no_excluded")] {
        let (_, message) = &found[case];
        assert!(message.contains(&format!(": constraint {name} of table public.")), "{message}");
    }
}

/// Whatever a daemon and the commands say, down to a trace, and whatever the state tables and files hold.
async fn assert_all_silent(world: &World, bridge: &Bridge, daemon: &Daemon) {
    assert_silent("the daemon's log", &daemon.log());
    assert_silent("the daemon's status", &daemon.asked().await.unwrap().to_string());
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["doctor"],
        &["doctor", "--json"],
        &["quarantine", "list"],
        &["verify", "--wait", "0s"],
    ] {
        let mut command = daemon.command(bridge, arguments);
        command.env("LEADBRIDGE_LOG", "trace");
        let said = said(command).await;
        assert_silent(&arguments.join(" "), &(said.out + &said.err));
    }
    let state = "SELECT concat_ws(' ', (SELECT string_agg(t::text, ' ') FROM leadbridge.last_error t),
            (SELECT string_agg(t::text, ' ') FROM leadbridge.cutover t),
            (SELECT string_agg(t::text, ' ') FROM leadbridge.reverse_quarantine t),
            (SELECT string_agg(message, ' ') FROM leadbridge.quarantine t))";
    assert_silent("a state table", &one::<String>(&world.traffic().await, state).await);
    for file in std::fs::read_dir(bridge.state_dir()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap_or_default();
        assert_silent("the state directory", &String::from_utf8_lossy(&bytes));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_refusal_of_traffic_shows_a_value_of_the_row() {
    let world = World::new().await;
    traffic(&world, &rules("public.traffic_leads")).await;
    let bridge = Bridge::new(&world);
    // Refusals of a copy.
    landing(&world, &bad_leads("landing_leads", ("", ""))).await;
    let mut command = bridge.command(&["run", "--until-caught-up"]);
    command.env("LEADBRIDGE_LOG", "trace");
    let copied = said(command).await;
    assert_eq!(copied.code, 0, "the copy failed");
    assert_silent("the log of the copy", &(copied.out + &copied.err));
    let with_image = ("leadbridge.quarantine q", "q.row_data ->> 'email'");
    assert_told(&refused(&world, with_image.0, with_image.1).await);
    // Refusals in the stream.
    landing(&world, "DELETE FROM landing_leads").await;
    bridge.catch_up().await;
    let mut daemon = bridge.daemon().await;
    landing(&world, &bad_leads("landing_leads", ("", ""))).await;
    daemon.caught_up(&world).await;
    assert_told(&refused(&world, with_image.0, with_image.1).await);
    assert_all_silent(&world, &bridge, &daemon).await;
    daemon.terminate().await;
    let mut command = bridge.command(&["quarantine", "retry"]);
    command.env("LEADBRIDGE_LOG", "trace");
    let retried = said(command).await;
    assert_silent("a retry", &(retried.out + &retried.err));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_refusal_of_landing_shows_a_value_of_the_row() {
    let world = World::new().await;
    world.fill(20, 3).await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    landing(&world, &rules("public.landing_leads")).await;
    switch(&world, &bridge).await;
    let mut daemon = bridge.daemon().await;
    traffic(&world, &bad_leads("traffic_leads", (", landing_source", ", 'twland'"))).await;
    carried(&world, &mut daemon).await;
    let rows = "leadbridge.reverse_quarantine q JOIN traffic_leads t ON t.id = q.row_id";
    assert_told(&refused(&world, rows, "t.email").await);
    assert_all_silent(&world, &bridge, &daemon).await;
    // The rows are tried again at a start.
    daemon.terminate().await;
    let mut command = bridge.command(&["run", "--until-caught-up"]);
    command.env("LEADBRIDGE_LOG", "trace");
    let again = said(command).await;
    assert_eq!(again.code, 0, "the rows are not tried again");
    assert_silent("the log of the next start", &(again.out + &again.err));
}

/// An expression of the table itself looks up a name that the row holds.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_ends_the_daemon_shows_no_value_either() {
    let world = World::new().await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    let rule = "ALTER TABLE traffic_leads ADD CONSTRAINT known
        CHECK (email NOT LIKE 'secret%' OR quote_ident(name)::regclass IS NOT NULL) NOT VALID";
    traffic(&world, rule).await;
    let lead = "INSERT INTO landing_leads (name, phone, email)
        VALUES ('Айгерим-ЖОҚ', '+7-701-0000042', 'secret-mail@example.kz')";
    landing(&world, lead).await;
    let mut command = bridge.command(&["run", "--until-caught-up"]);
    command.env("LEADBRIDGE_LOG", "trace");
    let ended = said(command).await;
    assert_silent("the end of the daemon", &(ended.out + &ended.err));
    assert!(ended.code == 4 && ended.err.contains("a table is missing (SQLSTATE 42P01)"), "{}", ended.code);
    let mut command = bridge.command(&["status", "--json"]);
    command.env("LEADBRIDGE_LOG", "trace");
    let status = said(command).await;
    let parsed: Value = serde_json::from_str(&status.out).unwrap();
    assert!(parsed["last_error"].to_string().contains("42P01"), "the status has no error");
    assert_silent("the status", &(status.out + &status.err));
    let kept: String = one(&world.traffic().await, "SELECT t::text FROM leadbridge.last_error t").await;
    assert_silent("the last error", &kept);
}
