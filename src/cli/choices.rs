//! Flags with a fixed list of values, and the help of each value.

use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::cutover::readiness::Compare;
use crate::files::Format;
use crate::language::Language;
use crate::model::side::Side;

impl ValueEnum for Format {
    fn value_variants<'v>() -> &'v [Self] {
        &[Format::Csv, Format::Jsonl]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Format::Csv => PossibleValue::new("csv").help("`COPY … (FORMAT csv, HEADER)`, byte for byte"),
            Format::Jsonl => PossibleValue::new("jsonl")
                .help("An object on each line: each value PostgreSQL's text in a JSON string, null for null"),
        })
    }
}

impl ValueEnum for Language {
    fn value_variants<'v>() -> &'v [Self] {
        &Language::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Language::English => "English",
            Language::Russian => "русский",
        };
        Some(PossibleValue::new(self.code()).help(help))
    }
}

impl ValueEnum for Side {
    fn value_variants<'v>() -> &'v [Self] {
        &[Side::Landing, Side::Traffic]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Side::Landing => {
                PossibleValue::new("landing").help("The tables that are replicated, as Landing has them")
            }
            Side::Traffic => PossibleValue::new("traffic")
                .help("The tables on Traffic, with every column of Traffic's own"),
        })
    }
}

impl ValueEnum for Compare {
    fn value_variants<'v>() -> &'v [Self] {
        &[Compare::Auto, Compare::Waiting, Compare::After]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Compare::Auto => PossibleValue::new("auto")
                .help("While writers wait if the comparison is short, otherwise after the decision"),
            Compare::Waiting => PossibleValue::new("waiting").help("While writers wait, before the decision"),
            Compare::After => PossibleValue::new("after").help(
                "After the decision, on snapshots from before the decision. Keys and recent rows are always \
                 compared before the decision",
            ),
        })
    }
}
