//! The page of scenario files, docs/TESTING.md: its tables are the table of keys, and its examples are scenarios.

use super::super::keys::{
    CONSUMER, EXPECT, FAULT, FILE, HISTORY, INPUT, LEFTOVERS, LOGGING, MOMENT, POINTS, PROCESS, PRODUCER,
    READINESS, STOPPING,
};
use super::super::kind::{Key, Section};
use super::right;

const PAGE: &str = include_str!("../../../../../../docs/TESTING.md");

/// The sections that have a table, and the key below which they stand in another one.
const TABLES: &[(&Section, &str)] = &[
    (&FILE, ""),
    (&PROCESS, ""),
    (&PRODUCER, ""),
    (&CONSUMER, ""),
    (&FAULT, ""),
    (&HISTORY, ""),
    (&EXPECT, ""),
    (&INPUT, "stdin."),
    (&READINESS, "ready."),
    (&LOGGING, "history."),
    (&STOPPING, "stop."),
    (&MOMENT, "at."),
    (&POINTS, "every."),
    (&LEFTOVERS, "leftovers."),
];

fn row(below: &str, key: &Key) -> String {
    let must = if key.required { " (required)" } else { "" };
    format!("| `{below}{}`{must} | {} | `{}` |", key.name, key.about, key.example)
}

#[test]
fn the_page_has_a_row_for_every_key_as_the_table_of_keys_has_it() {
    for (section, below) in TABLES {
        // Producers and consumers share the keys of all programs.
        let is_shared = |key: &Key| PROCESS.key(key.name).is_some_and(|other| other.about == key.about);
        let is_process = std::ptr::eq(*section, &raw const PROCESS);
        for key in section.keys.iter().filter(|key| is_process || !is_shared(key)) {
            let row = row(below, key);
            assert!(PAGE.lines().any(|line| line == row), "docs/TESTING.md needs this row:\n{row}");
        }
    }
}

#[test]
fn the_examples_of_the_page_are_scenarios() {
    let examples: Vec<_> = PAGE
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split_once("```"))
        .map(|(text, _)| text)
        .collect();
    assert!(examples.len() >= 3, "{}", examples.len());
    for example in examples {
        let scenario = right(example);
        assert!(scenario.about.is_some(), "{example}");
    }
}
