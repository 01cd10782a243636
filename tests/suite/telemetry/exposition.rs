//! A strict parser of the OpenMetrics text format: whatever it does not know is an error.

use std::collections::{BTreeMap, BTreeSet};

/// A metric with its samples.
#[derive(Debug, Default)]
pub struct Family {
    pub kind: String,
    pub help: String,
    pub unit: Option<String>,
    pub samples: Vec<Sample>,
}

#[derive(Debug)]
pub struct Sample {
    /// With the suffix.
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// Metrics by name.
#[derive(Debug, Default)]
pub struct Exposition(pub BTreeMap<String, Family>);

impl Exposition {
    /// The value of the sample with this name and exactly these labels.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let is_it = |sample: &&Sample| {
            let found = sample.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            sample.name == name && found.collect::<BTreeSet<_>>() == labels.iter().copied().collect()
        };
        self.0.values().flat_map(|family| &family.samples).find(is_it).map(|sample| sample.value)
    }

    /// The names that a query can use: of samples that are there, or could be.
    pub fn queryable(&self) -> BTreeSet<String> {
        let names = |(name, family): (&String, &Family)| {
            suffixes(&family.kind).iter().map(|suffix| format!("{name}{suffix}")).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(names).collect()
    }
}

fn suffixes(kind: &str) -> &'static [&'static str] {
    match kind {
        "gauge" => &[""],
        "counter" => &["_total"],
        "histogram" => &["_bucket", "_sum", "_count"],
        "info" => &["_info"],
        other => panic!("a kind that is not expected: {other}"),
    }
}

/// # Panics
/// With the line that does not belong there.
pub fn parse(text: &str) -> Exposition {
    let body = text.strip_suffix("# EOF\n").expect("the text ends with # EOF");
    let mut families = Exposition::default();
    let mut present = String::new();
    for line in body.split_terminator('\n') {
        assert!(!line.is_empty() && !line.ends_with('\r'), "{line:?}");
        match line.strip_prefix("# ") {
            Some(description) => describe(&mut families, &mut present, description),
            None => {
                let sample = parse_sample(line);
                let family =
                    families.0.get_mut(&present).unwrap_or_else(|| panic!("no metric before {line}"));
                let suffix =
                    sample.name.strip_prefix(&present).unwrap_or_else(|| panic!("not of {present}: {line}"));
                assert!(suffixes(&family.kind).contains(&suffix), "{line} in a {}", family.kind);
                family.samples.push(sample);
            }
        }
    }
    for (name, family) in &families.0 {
        check(name, family);
    }
    families
}

fn describe(families: &mut Exposition, present: &mut String, description: &str) {
    let mut words = description.splitn(3, ' ');
    let (word, name, text) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
    assert!(!name.is_empty() && !text.is_empty(), "{description}");
    if word == "HELP" {
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
        let family = Family { help: text.to_owned(), ..Family::default() };
        assert!(families.0.insert(name.to_owned(), family).is_none(), "{name} comes twice");
        name.clone_into(present);
        return;
    }
    assert_eq!(name, present, "{description}");
    let family = families.0.get_mut(name).unwrap();
    assert!(family.samples.is_empty(), "{description}");
    match word {
        "TYPE" => text.clone_into(&mut family.kind),
        "UNIT" => family.unit = Some(text.to_owned()),
        _ => panic!("{description}"),
    }
}

fn parse_sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("{line}"));
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(listed) = rest.strip_prefix('{') {
        rest = listed;
        while !rest.starts_with('}') {
            let (label, value) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
            assert!(label.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{line}");
            let (value, after) = unescaped(value, line);
            assert!(labels.insert(label.to_owned(), value).is_none(), "{line}");
            rest = after.strip_prefix(',').unwrap_or(after);
            assert!(after.starts_with(['}', ',']), "{line}");
        }
        rest = &rest[1..];
    }
    // A second word would be a time, and the daemon gives none.
    let value = rest.strip_prefix(' ').and_then(|number| number.parse().ok());
    Sample { name: name.to_owned(), labels, value: value.unwrap_or_else(|| panic!("{line}")) }
}

/// The value up to the closing quote, and the text after it.
fn unescaped<'t>(text: &'t str, line: &str) -> (String, &'t str) {
    let (mut value, mut letters) = (String::new(), text.char_indices());
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(match letters.next() {
                Some((_, 'n')) => '\n',
                Some((_, letter @ ('\\' | '"'))) => letter,
                _ => panic!("{line}"),
            }),
            letter => value.push(letter),
        }
    }
    panic!("{line}")
}

fn check(name: &str, family: &Family) {
    assert!(name.starts_with("leadbridge_"), "{name}");
    assert!(family.help.ends_with('.') && !family.kind.is_empty(), "{name}: {family:?}");
    if let Some(unit) = &family.unit {
        assert!(name.ends_with(&format!("_{unit}")), "{name} has unit {unit}");
    }
    let keys: BTreeSet<_> = family.samples.iter().map(|sample| (&sample.name, &sample.labels)).collect();
    assert_eq!(keys.len(), family.samples.len(), "a sample of {name} comes twice");
    if family.kind != "gauge" {
        assert!(
            family.samples.iter().all(|sample| sample.value.is_finite() && sample.value >= 0.0),
            "{name}"
        );
    }
    if family.kind == "histogram" {
        check_buckets(name, family);
    }
}

/// The buckets of each histogram rise to the count of all.
fn check_buckets(name: &str, family: &Family) {
    let mut histograms = BTreeMap::<_, Vec<(f64, f64)>>::new();
    for sample in family.samples.iter().filter(|sample| sample.name.ends_with("_bucket")) {
        let mut labels = sample.labels.clone();
        let bound = labels.remove("le").unwrap().parse().unwrap();
        histograms.entry(labels).or_default().push((bound, sample.value));
    }
    assert!(!histograms.is_empty(), "{name}");
    for (labels, buckets) in histograms {
        assert!(buckets.is_sorted_by(|(a, x), (b, y)| a < b && x <= y), "{name}: {buckets:?}");
        let count = format!("{name}_count");
        let all =
            family.samples.iter().find(|sample| sample.name == count && sample.labels == labels).unwrap();
        assert_eq!(buckets.last(), Some(&(f64::INFINITY, all.value)), "{name}");
    }
}

#[test]
fn what_is_not_the_format_is_not_taken_for_it() {
    let good = "# HELP leadbridge_a_bytes A.\n# TYPE leadbridge_a_bytes gauge\n# UNIT leadbridge_a_bytes bytes\n\
                leadbridge_a_bytes{of=\"x\\\"\\n\"} 1.5\n# EOF\n";
    assert_eq!(parse(good).value("leadbridge_a_bytes", &[("of", "x\"\n")]), Some(1.5));
    for (from, to) in [
        ("# EOF\n", ""),
        ("1.5", "1.5 17"),
        ("1.5", "one"),
        ("} 1.5\n", "} 1.5\n\n"),
        ("gauge", "counter"),
        ("UNIT leadbridge_a_bytes bytes", "UNIT leadbridge_a_bytes seconds"),
        ("{of", "{of=\"y\",of"),
        ("\\n", "\\t"),
        ("A.", ""),
        ("\nleadbridge_a_bytes{", "\nleadbridge_b_bytes{"),
        ("# EOF", "leadbridge_a_bytes{of=\"x\\\"\\n\"} 2\n# EOF"),
    ] {
        let bad = good.replace(from, to);
        assert!(bad != good && std::panic::catch_unwind(|| parse(&bad)).is_err(), "{bad}");
    }
}
