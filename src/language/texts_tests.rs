//! Both languages are complete, and the source uses what they have.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use fluent_syntax::ast::{Entry, Expression, InlineExpression, Pattern, PatternElement, VariantKey};
use fluent_syntax::parser;
use proc_macro2::{TokenStream, TokenTree};

use super::texts::{self, ROOMS};
use super::{Argument, Language, Message};

/// What a message's text asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Asked {
    arguments: BTreeSet<String>,
    /// The texts that an argument is compared with, by argument.
    choices: BTreeMap<String, BTreeSet<String>>,
}

/// One count for each form of the plural in Russian, and one beyond the teens.
const COUNTS: [i128; 6] = [0, 1, 2, 5, 21, 111];

/// The CLDR's names of plural forms.
const PLURALS: [&str; 6] = ["zero", "one", "two", "few", "many", "other"];

fn asked_by(pattern: &Pattern<&str>, asked: &mut Asked) {
    for element in &pattern.elements {
        if let PatternElement::Placeable { expression } = element {
            expression_asks(expression, asked);
        }
    }
}

fn expression_asks(expression: &Expression<&str>, asked: &mut Asked) {
    match expression {
        Expression::Inline(inline) => inline_asks(inline, asked),
        Expression::Select { selector, variants } => {
            inline_asks(selector, asked);
            let InlineExpression::VariableReference { id } = selector else {
                panic!("selects by {selector:?}")
            };
            for variant in variants {
                if let VariantKey::Identifier { name } = variant.key {
                    asked.choices.entry(id.name.to_owned()).or_default().insert(name.to_owned());
                }
                asked_by(&variant.value, asked);
            }
        }
    }
}

fn inline_asks(inline: &InlineExpression<&str>, asked: &mut Asked) {
    match inline {
        InlineExpression::VariableReference { id } => {
            asked.arguments.insert(id.name.to_owned());
        }
        InlineExpression::StringLiteral { .. } => {}
        InlineExpression::Placeable { expression } => expression_asks(expression, asked),
        other => panic!("texts hold variables, choices and quoted characters only, not {other:?}"),
    }
}

/// Every message of one file, in its order.
fn messages(source: &str, file: &str) -> Vec<(String, Asked)> {
    let resource = parser::parse(source).unwrap_or_else(|(_, errors)| panic!("{file}: {errors:?}"));
    let mut found: Vec<(String, Asked)> = Vec::new();
    for entry in resource.body {
        match entry {
            Entry::Message(message) => {
                assert!(message.attributes.is_empty(), "{file}: {} has an attribute", message.id.name);
                let mut asked = Asked::default();
                let value = message.value.unwrap_or_else(|| panic!("{file}: {} is empty", message.id.name));
                asked_by(&value, &mut asked);
                found.push((message.id.name.to_owned(), asked));
            }
            Entry::Comment(_) | Entry::GroupComment(_) | Entry::ResourceComment(_) => {}
            Entry::Term(_) | Entry::Junk { .. } => panic!("{file} holds {entry:?}"),
        }
    }
    found
}

fn all_messages(language: Language) -> BTreeMap<String, Asked> {
    let mut all = BTreeMap::new();
    for texts in ROOMS {
        let source = match language {
            Language::English => texts.english,
            Language::Russian => texts.russian,
        };
        for (id, asked) in messages(source, texts.room) {
            let twice = all.insert(id.clone(), asked);
            assert!(twice.is_none(), "{id} stands twice in {language:?}");
        }
    }
    all
}

#[test]
fn both_languages_have_the_same_messages_in_the_same_order() {
    for texts in ROOMS {
        let [english, russian] = [texts.english, texts.russian].map(|source| messages(source, texts.room));
        let ids =
            |messages: &[(String, Asked)]| messages.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&english), ids(&russian), "{}", texts.room);
        for ((id, english), (_, russian)) in english.iter().zip(&russian) {
            assert_eq!(english.arguments, russian.arguments, "the arguments of {id}");
        }
    }
}

#[test]
fn each_id_begins_with_the_name_of_its_file_and_each_file_is_in_the_program() {
    for texts in ROOMS {
        for (id, _) in messages(texts.english, texts.room) {
            assert!(id.starts_with(&format!("{}-", texts.room)), "{id} stands in {}.ftl", texts.room);
            assert!(id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'), "{id}");
        }
    }
    for language in Language::ALL {
        let files = fs::read_dir(source_directory().join("language").join(language.code())).unwrap();
        let files: BTreeSet<String> =
            files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        let known = ROOMS.iter().map(|texts| format!("{}.ftl", texts.room)).collect();
        assert_eq!(files, known, "{language:?}");
    }
}

#[test]
fn each_choice_by_a_count_has_every_form_of_its_language() {
    for (language, needed) in
        [(Language::English, &["one", "other"][..]), (Language::Russian, &["few", "many", "one"][..])]
    {
        for (id, asked) in all_messages(language) {
            for (argument, choices) in asked.choices {
                if choices.iter().any(|choice| PLURALS.contains(&choice.as_str())) {
                    assert!(choices.iter().eq(needed), "{id} has {choices:?} of {argument} in {language:?}");
                }
            }
        }
    }
}

/// The texts of a message with each argument as a word, as every count, and as each word that it is compared with.
fn tried(language: Language, id: &str, asked: &Asked) -> Vec<Option<String>> {
    let with = |argument: &dyn Fn(&str) -> Argument| {
        let arguments: Vec<(Cow<'static, str>, Argument)> =
            asked.arguments.iter().map(|name| (Cow::from(name.clone()), argument(name))).collect();
        texts::text(language, id, &arguments)
    };
    let mut tried = vec![with(&|_| Argument::from("word"))];
    tried.extend(COUNTS.map(|count| with(&|_| Argument::Number(count))));
    for (chosen, choices) in &asked.choices {
        tried.extend(choices.iter().map(|choice| {
            with(&|name| Argument::from(if name == chosen { choice.as_str() } else { "word" }))
        }));
    }
    tried
}

#[test]
fn every_text_of_both_languages_can_be_made() {
    for language in Language::ALL {
        for (id, asked) in all_messages(language) {
            for text in tried(language, &id, &asked) {
                let text = text.unwrap_or_else(|| panic!("{id} fails in {language:?}"));
                assert!(!text.trim().is_empty(), "{id} is empty in {language:?}");
                assert!(
                    !text.contains("{$") && !text.contains(['\u{2068}', '\u{2069}']),
                    "{id} in {language:?}: {text}"
                );
            }
        }
    }
}

/// Words that are no name of an object, setting or statement of SQL, and no command in backticks.
fn english_words(text: &str) -> usize {
    let words = text.split('`').step_by(2).collect::<String>().replace("word", "");
    words.split_whitespace().filter(|word| word.chars().all(|c| c.is_ascii_lowercase())).count()
}

#[test]
fn each_russian_text_is_russian_or_has_nothing_to_translate() {
    for (id, asked) in all_messages(Language::Russian) {
        let text = tried(Language::Russian, &id, &asked).remove(0).unwrap();
        let has_cyrillic = text.chars().any(|c| ('\u{400}'..='\u{4ff}').contains(&c));
        assert!(has_cyrillic || english_words(&text) < 2, "{id} is not translated: {text}");
    }
}

fn source_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Each `message!(…)` in the tokens: its id and the names of its arguments.
fn uses(tokens: TokenStream, found: &mut Vec<(String, BTreeSet<String>)>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        let TokenTree::Group(group) = token else { continue };
        let is_message = at >= 2
            && matches!(&tokens[at - 1], TokenTree::Punct(mark) if mark.as_char() == '!')
            && matches!(&tokens[at - 2], TokenTree::Ident(name) if name == "message");
        if is_message {
            found.push(of_use(group.stream()));
        }
        uses(group.stream(), found);
    }
}

fn of_use(tokens: TokenStream) -> (String, BTreeSet<String>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let id = tokens.first().map(ToString::to_string).unwrap_or_default();
    let is_mark = |at: usize, mark: char| matches!(tokens.get(at), Some(TokenTree::Punct(found)) if found.as_char() == mark);
    let is_named = |at: usize| is_mark(at, ',') && is_mark(at + 2, '=') && !is_mark(at + 3, '=');
    let names = (0..tokens.len()).filter(|at| is_named(*at)).map(|at| tokens[at + 1].to_string());
    (id.trim_matches('"').to_owned(), names.collect())
}

#[test]
fn the_source_uses_each_message_with_exactly_its_arguments() {
    let known = all_messages(Language::English);
    let mut unused: BTreeSet<&String> = known.keys().collect();
    let mut files = Vec::new();
    sources(&source_directory(), &mut files);
    for file in files {
        let tokens: TokenStream = fs::read_to_string(&file).unwrap().parse().unwrap();
        let mut found = Vec::new();
        uses(tokens, &mut found);
        for (id, arguments) in found.into_iter().filter(|(id, _)| id != "$") {
            let asked = known.get(&id).unwrap_or_else(|| panic!("{}: no text for {id}", file.display()));
            assert_eq!(arguments, asked.arguments, "the arguments of {id} in {}", file.display());
            unused.remove(&id);
        }
    }
    assert!(unused.is_empty(), "no source uses {unused:?}");
}

/// One word, a label for example, may depend on its place: only longer texts are compared.
#[test]
fn no_two_messages_say_the_same() {
    let mut by_text: BTreeMap<[String; 2], Vec<String>> = BTreeMap::new();
    let [english, russian] = Language::ALL.map(all_messages);
    for (id, asked) in english {
        let texts = [(Language::English, &asked), (Language::Russian, &russian[&id])]
            .map(|(language, asked)| tried(language, &id, asked).remove(0).unwrap());
        if texts[0].split_whitespace().count() > 1 {
            by_text.entry(texts).or_default().push(id);
        }
    }
    by_text.retain(|_, ids| ids.len() > 1);
    assert!(by_text.is_empty(), "{by_text:#?}");
}

#[test]
fn a_missing_text_is_told_by_its_id() {
    let missing = Message::new("commands-there-is-no-such-text", vec![]);
    assert_eq!(missing.in_language(Language::Russian), "commands-there-is-no-such-text");
    assert_eq!(missing.to_string(), "commands-there-is-no-such-text");
    let incomplete = Message::new("commands-doctor-errors", vec![]);
    assert_eq!(incomplete.in_language(Language::Russian), "commands-doctor-errors");
}

#[test]
fn a_part_speaks_the_language_of_its_sentence_and_a_large_number_keeps_each_digit() {
    let clear = message!("commands-doctor-clear");
    let remedy = message!("error-what-to-do", remedy = clear);
    assert_eq!(remedy.to_string(), "what to do: nothing stands in the way");
    assert_eq!(remedy.in_language(Language::Russian), "что делать: препятствий нет");
    let listed = Message::joined([Message::verbatim("a"), message!("commands-doctor-clear")], ", ");
    let listed = message!("error-what-to-do", remedy = listed);
    assert_eq!(listed.in_language(Language::Russian), "что делать: a, препятствий нет");
    let counted = message!("commands-doctor-clear-with-warnings", warnings = u64::MAX);
    assert_eq!(counted.to_string(), format!("nothing stands in the way; warnings: {}", u64::MAX));
    for (number, shown) in [
        (999, "999"),
        (1_234_567, "1\u{a0}234\u{a0}567"),
        (u64::MAX, "18\u{a0}446\u{a0}744\u{a0}073\u{a0}709\u{a0}551\u{a0}615"),
    ] {
        let counted = message!("commands-doctor-clear-with-warnings", warnings = Argument::Grouped(number));
        assert_eq!(counted.to_string(), format!("nothing stands in the way; warnings: {shown}"));
    }
}

#[test]
fn json_holds_the_english_text_and_nothing_else() {
    let message = message!("commands-doctor-clear");
    assert_eq!(serde_json::to_string(&message).unwrap(), "\"nothing stands in the way\"");
    let read: Message = serde_json::from_str("\"nothing stands in the way\"").unwrap();
    assert_eq!(read, Message::verbatim("nothing stands in the way"));
}
