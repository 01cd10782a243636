//! Any row maps or is refused; what comes out fits, and what was cut left its original in a note.
#![no_main]

use arbitrary::Arbitrary;
use leadbridge::model::change::{Datum, Row, Table};
use leadbridge::mapping::{Mapping, known_targets};
use libfuzzer_sys::fuzz_target;
use uuid::Uuid;

#[derive(Arbitrary, Debug)]
struct Input {
    table: u8,
    values: Vec<Option<String>>,
    limits: Vec<Option<u8>>,
}

fuzz_target!(|input: Input| {
    let table = Table::ALL[usize::from(input.table) % Table::ALL.len()];
    let datum = |at: usize| match input.values.get(at) {
        Some(Some(text)) => Datum::text(text.as_str()),
        _ => Datum::Null,
    };
    let values = (0..table.columns().len()).map(datum).collect();
    let row = Row { table, id: Uuid::nil(), values };
    let limit = |at: usize| input.limits.get(at).copied().flatten().map(usize::from);
    let limits: Vec<_> = (0..known_targets(table).len()).map(limit).collect();
    let Ok(mapped) = Mapping::whole().of(table).map(&row, &limits) else { return };
    assert_eq!(mapped.values.len(), limits.len());
    for ((value, limit), target) in mapped.values.iter().zip(&limits).zip(known_targets(table)) {
        let (Some(value), Some(limit)) = (value, limit) else { continue };
        assert!(value.chars().count() <= *limit, "{} is too long", target.name);
    }
    for note in &mapped.notes {
        let position = known_targets(table).iter().position(|target| target.name == note.column).unwrap();
        if let Some(value) = mapped.values[position].as_deref().filter(|_| note.reason.starts_with("cut")) {
            assert!(note.original.starts_with(value) && note.original.len() > value.len());
        }
    }
});
