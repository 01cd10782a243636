//! `--lang`, and the environment in its place: texts in the operator's language, and everything else in English.

use serde_json::Value;

use crate::cutover::CutoverSetup;
use crate::explain::{LEAD, RICH};
use crate::finish::switched::switched;
use crate::testkit::{Bridge, Said, World, landing, said, traffic, until, until_true};

/// Runs a command with a variable of the locale.
async fn in_locale(bridge: &Bridge, locale: &[(&str, &str)], arguments: &[&str]) -> Said {
    let mut command = bridge.command(arguments);
    command.envs(locale.iter().copied());
    said(command).await
}

fn has_cyrillic(text: &str) -> bool {
    text.chars().any(|char| ('\u{400}'..='\u{4ff}').contains(&char))
}

/// The longest run of English words in a line, outside of backticks. Names of objects, SQL and settings have
/// underscores, digits, capitals or stops and are no words.
fn english_words(line: &str) -> usize {
    let outside: String = line.split('`').step_by(2).collect::<Vec<_>>().join(" | ");
    let is_word = |word: &str| {
        let word = word.trim_matches(|char: char| ",;:()".contains(char));
        word.len() > 1 && word.chars().all(|char| char.is_ascii_lowercase() || char == '\'')
    };
    let (mut run, mut longest) = (0, 0);
    for word in outside.split_whitespace() {
        run = if is_word(word) { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest
}

/// Asserts that `russian` says line by line what `english` says, and no sentence of it in English.
fn assert_translated(english: &str, russian: &str) {
    let lines = |text: &str| text.lines().count();
    assert_eq!(lines(english), lines(russian), "{english}\n{russian}");
    assert!(!has_cyrillic(english), "{english}");
    for line in russian.lines() {
        assert!(english_words(line) < 4, "English in Russian: {line}");
        let is_the_same = english.lines().any(|other| other == line);
        assert!(!is_the_same || english_words(line) < 2, "not translated: {line}");
    }
    assert!(has_cyrillic(russian), "{russian}");
}

#[test]
fn an_untranslated_sentence_is_found_and_names_and_sql_are_none() {
    assert!(english_words("ok       Landing DB: the tables are ordinary ones") >= 4);
    assert!(english_words("внимание Traffic DB: there is none of the API's roles") >= 4);
    for line in [
        "что делать: выполните ALTER ROLE \"bridge\" NOREPLICATION",
        "public.landing_leads, journey_stages: `leadbridge quarantine list`",
        "landing_leads             12 345",
    ] {
        assert!(english_words(line) < 2, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_status_and_a_dry_run_say_in_russian_what_they_say_in_english() {
    let setup = CutoverSetup::new().await;
    let bridge = &setup.bridge;
    for arguments in [&["doctor"][..], &["status"], &["cutover", "--dry-run"]] {
        // A line of the status, the rate for example, may become known between the two.
        let [english, russian] = until("both languages say the same number of lines", async || {
            let english = bridge.run(arguments).await;
            let russian = bridge.run(&[arguments, &["--lang", "ru"]].concat()).await;
            let is_alike = english.out.lines().count() == russian.out.lines().count();
            is_alike.then_some([english, russian])
        })
        .await;
        assert_eq!(english.code, russian.code, "{arguments:?}: {}", russian.err);
        assert_translated(&english.out, &russian.out);
    }
    let ready = bridge.run(&["--lang", "ru", "cutover", "--dry-run"]).await.out;
    assert!(ready.contains("Готово: `leadbridge cutover` пройдёт. Ничего не изменено."), "{ready}");
    assert!(ready.contains("все 230 строк равны"), "{ready}");
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_is_told_in_russian_and_counts_have_their_plural() {
    let world = World::new().await;
    world.fill(91, 21).await;
    let bridge = Bridge::new(&world);
    let english = bridge.run(&["doctor"]).await.out;
    assert_translated(&english, &bridge.run(&["doctor", "--lang", "ru"]).await.out);
    // Nothing is copied, no daemon runs, and a row is in quarantine once the copy is done.
    let stopped = bridge.run(&["status"]).await.out;
    let russian = bridge.run(&["status", "--lang", "ru"]).await.out;
    assert_translated(&stopped, &russian);
    assert!(russian.contains("запустите его командой `leadbridge run`"), "{russian}");
    let refused = bridge.run(&["cutover", "--dry-run"]).await;
    let russian = bridge.run(&["cutover", "--dry-run", "--lang", "ru"]).await;
    assert_eq!((refused.code, russian.code), (1, 1), "{}", russian.err);
    assert_translated(&refused.out, &russian.out);
    assert!(russian.out.contains("ОШИБКА"), "{}", russian.out);
    assert!(russian.out.ends_with("НЕ ГОТОВО: ничего не изменено.\n"), "{}", russian.out);
    bridge.catch_up().await;
    let traffic = world.traffic().await;
    for (rows, says) in [(1, "ждёт 1 строка"), (1, "ждут 2 строки"), (3, "ждут 5 строк")]
    {
        let sql = format!(
            "INSERT INTO leadbridge.quarantine (source_table, row_id, operation, sqlstate, message) \
             SELECT 'landing_leads', gen_random_uuid(), 'insert', '23514', 'x' FROM generate_series(1, {rows})"
        );
        traffic.batch_execute(&sql).await.unwrap();
        let status = bridge.run(&["status", "--lang", "ru"]).await.out;
        assert!(status.contains(says), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_verify_and_explain_speak_russian_and_their_json_stays_english() {
    let world = World::new().await;
    landing(&world, RICH).await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    let planned = bridge.run(&["migrate", "--dry-run"]).await.out;
    assert_translated(&planned, &bridge.run(&["migrate", "--dry-run", "--lang", "ru"]).await.out);
    let verified = bridge.run(&["verify"]).await;
    let russian = bridge.run(&["verify", "--lang", "ru"]).await;
    assert_eq!((verified.code, russian.code), (0, 0), "{}", russian.out);
    assert_translated(&verified.out, &russian.out);
    assert!(russian.out.contains("Равно: на Traffic есть всё"), "{}", russian.out);
    let explained = bridge.run(&["explain", LEAD, "--lang", "ru"]).await;
    assert!(explained.out.starts_with(&format!("лид {LEAD}: одинаков\n")), "{}", explained.out);
    for words in
        ["на Landing", "создан", "столбцы traffic_leads: одинаковых", "по пути изменено: not only digits"]
    {
        assert!(explained.out.contains(words), "{words} is not in {}", explained.out);
    }
    assert!(explained.out.lines().all(|line| line.chars().count() <= 100), "{}", explained.out);
    traffic(&world, "UPDATE traffic_leads SET phone = 'x'").await;
    let differs = bridge.run(&["verify", "--wait", "0s", "--lang", "ru"]).await;
    assert_eq!(differs.code, 1, "{}", differs.err);
    assert!(
        differs.out.contains(&format!("landing_leads {LEAD}: отличается в столбцах: phone")),
        "{}",
        differs.out
    );
    assert!(differs.out.contains("НЕ РАВНО."), "{}", differs.out);
    for (command, part) in [
        (&["verify", "--json", "--wait", "0s"][..], "/tables"),
        (&["explain", LEAD, "--json", "--wait", "0s"], "/leads/0/reasons"),
        (&["explain", LEAD, "--json", "--wait", "0s"], "/leads/0/columns"),
    ] {
        let said = bridge.run(&[command, &["--lang", "ru"]].concat()).await;
        let document: Value = serde_json::from_str(&said.out).unwrap();
        let part = document.pointer(part).unwrap_or_else(|| panic!("{document:#}"));
        assert!(!has_cyrillic(&part.to_string()) && !has_cyrillic(&said.err), "{part:#}{}", said.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finish_says_its_plan_and_its_end_in_russian_and_its_question_without_a_terminal_in_english() {
    let (_world, bridge) = switched(20).await;
    let asked = bridge.run(&["finish", "--lang", "ru"]).await;
    assert_eq!(asked.code, 64, "{}", asked.err);
    // The remedy is the reader's.
    let (error, _) = asked.err.split_once("\n  что делать: ").unwrap_or_else(|| panic!("{}", asked.err));
    assert!(!has_cyrillic(error) && error.contains("This is the end of"), "{error}");
    let done = bridge.run(&["finish", "--yes", "--lang", "ru"]).await;
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.err.contains("Это конец обратной репликации в "), "{}", done.err);
    assert!(done.err.contains("слот leadbridge_reverse на Traffic: удалить"), "{}", done.err);
    for words in ["Переезд завершён (", "Удалено или отобрано:", "Данные людей: "]
    {
        assert!(done.out.contains(words), "{words} is not in {}", done.out);
    }
    for line in done.out.lines().filter(|line| !line.contains("--") && !line.contains("\\copy")) {
        assert!(english_words(line) < 4, "English in Russian: {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn json_and_the_log_are_english_in_every_language() {
    let world = World::new().await;
    world.fill(92, 5).await;
    let bridge = Bridge::new(&world);
    let russian = [("LANG", "ru_RU.UTF-8")];
    let mut daemon = bridge.daemon_with(&russian).await;
    daemon.caught_up(&world).await;
    let findings = async |locale: &[(&str, &str)]| -> Value {
        let said = in_locale(&bridge, locale, &["doctor", "--json"]).await;
        serde_json::from_str(&said.out).unwrap()
    };
    // The WAL that the slot keeps grows by itself, so the two answers are equal in a quiet moment only.
    until_true("doctor --json is the same in both languages", async || {
        findings(&[]).await == findings(&russian).await
    })
    .await;
    for arguments in [&["status", "--json"][..], &["cutover", "--dry-run", "--json"], &["doctor", "--json"]] {
        let said = in_locale(&bridge, &russian, arguments).await;
        let document: Value = serde_json::from_str(&said.out).unwrap();
        assert!(document.is_object() && !has_cyrillic(&said.out), "{}", said.out);
        assert!(!has_cyrillic(&said.err), "{}", said.err);
    }
    let log = daemon.log();
    assert!(!log.is_empty() && !has_cyrillic(&log), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_written_in_the_language_of_the_command() {
    let setup = CutoverSetup::new().await;
    let directory = setup.bridge.dir().to_str().unwrap();
    for (command, title, verdict) in [
        ("cutover", "АКТ О ПЕРЕКЛЮЧЕНИИ ", "Каждое значение каждой строки на обеих сторонах одинаково."),
        ("rollback", "АКТ ОБ ОТКАТЕ ", "На Landing есть каждое значение каждой строки"),
    ] {
        let arguments = ["--lang", "ru", command, "--yes", "--certificate", directory];
        let mut done = setup.bridge.run(&arguments).await;
        if command == "rollback" {
            // Until the daemon has turned round, the rollback's conditions do not hold.
            until_true("the rollback is done", async || {
                if done.code != 0 {
                    done = setup.bridge.run(&arguments).await;
                }
                done.code == 0
            })
            .await;
        }
        assert_eq!(done.code, 0, "{}{}", done.out, done.err);
        assert!(done.out.contains(title) && done.out.contains(verdict), "{}", done.out);
        for line in done.out.lines() {
            assert!(english_words(line) < 4, "English in Russian: {line}");
        }
        let page = saved(directory, command, ".txt");
        assert!(done.out.ends_with(&page) && page.starts_with(title), "{page}");
        assert!(!has_cyrillic(&saved(directory, command, ".json")));
    }
}

/// The certificate of that direction in the directory.
fn saved(directory: &str, direction: &str, extension: &str) -> String {
    let files = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap());
    let mut files = files.filter(|file| {
        let name = file.file_name().into_string().unwrap();
        name.starts_with(&format!("leadbridge-{direction}-")) && name.ends_with(extension)
    });
    std::fs::read_to_string(files.next().unwrap().path()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_flag_decides_before_the_environment_and_an_unknown_language_is_refused() {
    // No server is needed to say that there is none.
    let bridge = Bridge::between(
        "postgresql://nobody@127.0.0.1:1/landing?sslmode=disable",
        "postgresql://nobody@127.0.0.1:1/traffic?sslmode=disable",
    );
    let russian = ("LANG", "ru_RU.UTF-8");
    for (locale, flag, is_russian) in [
        (&[russian][..], None, true),
        (&[("LANG", "C")], None, false),
        (&[], None, false),
        (&[russian, ("LC_ALL", "C")], None, false),
        (&[russian, ("LC_MESSAGES", "en_US.UTF-8")], None, false),
        (&[russian], Some("en"), false),
        (&[("LC_ALL", "C")], Some("ru"), true),
    ] {
        let mut arguments = vec!["doctor"];
        arguments.extend(flag.map(|flag| ["--lang", flag]).iter().flatten());
        let doctor = in_locale(&bridge, locale, &arguments).await;
        assert_eq!(doctor.out.contains("что делать"), is_russian, "{locale:?} {flag:?}: {}", doctor.out);
        assert_eq!(doctor.out.contains("what to do"), !is_russian, "{locale:?} {flag:?}: {}", doctor.out);
    }
    let refused = bridge.run(&["doctor", "--lang", "de"]).await;
    assert_eq!((refused.code, refused.out.as_str()), (64, ""));
    assert!(refused.err.contains("--lang") && refused.err.contains("en, ru"), "{}", refused.err);
}
