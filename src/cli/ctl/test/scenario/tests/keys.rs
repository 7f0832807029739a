//! The table of keys and the parser agree: each key has an effect, and its value is checked.

use std::collections::BTreeSet;

use super::super::keys::{
    CONSUMER, EXPECT, EXPECTATIONS, FAULT, FILE, HISTORY, INPUT, LEFTOVERS, LOGGING, MAPPING, MOMENT, POINTS,
    PROCESS, PRODUCER, READINESS, RING, STOPPING,
};
use super::super::kind::{Kind, Section};
use super::{parsed, right};

/// What every text here begins with.
const BEGIN: &str =
    "[ring.jobs]\n[ring.results]\n[process.other]\nrun = \"x\"\n[process.worker]\nrun = \"x\"\n";

/// A key in its section: the section, the key, the lines before its line, and `%` for its line in the last of them.
struct Place {
    section: &'static Section,
    text: fn(key: &str) -> &'static str,
}

/// How a key of each section is written: `%` stands for `KEY = VALUE`.
const PLACES: &[Place] = &[
    Place {
        section: &PROCESS,
        text: |key| if key == "run" { "[process.p]\n%\n" } else { "[process.p]\nrun = \"y\"\n%\n" },
    },
    Place {
        section: &PRODUCER,
        text: |key| match key {
            "items" | "stdin" => "[producer.p]\nring = \"jobs\"\n%\n",
            "ring" => "[producer.p]\nitems = 2\n%\n",
            _ => "[producer.p]\nring = \"jobs\"\nitems = 2\n%\n",
        },
    },
    Place {
        section: &CONSUMER,
        text: |key| if key == "ring" { "[consumer.p]\n%\n" } else { "[consumer.p]\nring = \"jobs\"\n%\n" },
    },
    Place {
        section: &INPUT,
        text: |key| match key {
            "size" => "[process.p]\nrun = \"y\"\nstdin = { items = 3, % }\n",
            _ => "[process.p]\nrun = \"y\"\nstdin = { % }\n",
        },
    },
    Place { section: &READINESS, text: |_| "[process.p]\nrun = \"y\"\nready = { % }\n" },
    Place { section: &LOGGING, text: |_| "[process.p]\nrun = \"y\"\nhistory = { % }\n" },
    Place { section: &STOPPING, text: |_| "[process.p]\nrun = \"y\"\nstop = { % }\n" },
    Place {
        section: &FAULT,
        text: |key| match key {
            "do" => "[[fault]]\non = \"other\"\nat = \"9s\"\n%\n",
            "on" => "[[fault]]\ndo = \"term\"\nat = \"9s\"\n%\n",
            "at" | "every" => "[[fault]]\ndo = \"term\"\non = \"other\"\n%\n",
            "max" | "within" => "[[fault]]\ndo = \"term\"\non = \"other\"\nevery = \"syscall\"\n%\n",
            "signal" => "[[fault]]\ndo = \"signal\"\non = \"other\"\nat = \"9s\"\n%\n",
            "limit" => "[[fault]]\ndo = \"memory\"\non = \"other\"\nat = \"9s\"\n%\n",
            "error" => "[[fault]]\ndo = \"fail\"\ncalls = [\"read\"]\non = \"other\"\nat = \"9s\"\n%\n",
            "calls" => "[[fault]]\ndo = \"fail\"\nerror = \"EIO\"\non = \"other\"\nat = \"9s\"\n%\n",
            "path" | "times" => {
                "[[fault]]\ndo = \"fail\"\ncalls = [\"read\"]\nerror = \"EIO\"\non = \"other\"\nat = \"9s\"\n%\n"
            }
            "for" => "[[fault]]\ndo = \"stop\"\non = \"other\"\nat = \"9s\"\n%\n",
            "group" => "[[fault]]\ndo = \"kill\"\non = \"other\"\nat = { syscall = 9 }\n%\n",
            "pause" => "[[fault]]\ndo = \"stop\"\nrepeat = 9\non = \"other\"\nat = \"9s\"\n%\n",
            _ => "[[fault]]\ndo = \"kill\"\non = \"other\"\nat = \"9s\"\n%\n",
        },
    },
    Place {
        section: &MOMENT,
        text: |key| match key {
            "of" | "nth" => "[[fault]]\ndo = \"kill\"\non = \"other\"\nat = { line = \"z\", % }\n",
            "ring" => "[[fault]]\ndo = \"kill\"\non = \"other\"\nat = { acknowledged = 4, % }\n",
            "acknowledged" => "[[fault]]\ndo = \"kill\"\non = \"other\"\nat = { ring = \"results\", % }\n",
            "calls" => "[[fault]]\ndo = \"kill\"\non = \"other\"\nat = { syscall = 4, % }\n",
            _ => "[[fault]]\ndo = \"kill\"\non = \"other\"\nat = { % }\n",
        },
    },
    Place { section: &POINTS, text: |_| "[[fault]]\ndo = \"kill\"\non = \"other\"\nevery = { % }\n" },
    Place {
        section: &HISTORY,
        text: |key| match key {
            "files" => "[history]\nsent = \"(?<id>a)\"\n%\n",
            _ => "[history]\n%\n",
        },
    },
    Place {
        section: &MAPPING,
        text: |key| match key {
            "files" => "[history.other]\nsent = \"(?<id>a)\"\n%\n",
            _ => "[history.other]\n%\n",
        },
    },
    Place { section: &EXPECT, text: |_| "[process.p]\nrun = \"y\"\n[expect]\n%\n" },
    Place { section: &LEFTOVERS, text: |_| "[expect]\nleftovers = { % }\n" },
];

/// Other values of keys that must be there. The first that is right there is used.
const OTHER: &[(&str, &str)] = &[
    ("do", "\"term\""),
    ("on", "\"other\""),
    ("run", "\"z\""),
    ("acknowledged", "7"),
    ("acknowledged", "\"(?<id>z)\""),
    ("syscall", "[\"z\"]"),
    ("ring", "\"jobs\""),
    ("calls", "[\"read\"]"),
    ("signal", "\"INT\""),
    ("limit", "\"1M\""),
    ("error", "\"ENOSPC\""),
    ("items", "7"),
    ("fd", "7"),
    ("stdin", "\"z\""),
    ("sent", "\"(?<id>z)\""),
    ("received", "\"(?<id>z)\""),
    ("except", "[\"z\"]"),
];

fn written(text: &str, key: &str, value: &str) -> String {
    format!("{BEGIN}{}", text.replace('%', &format!("{key} = {value}")))
}

/// The text with another one of the keys of which the section needs one.
fn written_as_another(section: &Section, text: &str, key: &str) -> String {
    assert!(section.one_of.contains(&key), "{key} must be there: OTHER needs a value of it");
    let other = section.one_of.iter().rfind(|other| **other != key).expect("there are several");
    written(text, other, section.key(other).unwrap().example)
}

/// Every section that a kind leads to.
fn sections(kind: &Kind, found: &mut Vec<&'static Section>) {
    match kind {
        Kind::Table(section) => {
            found.push(section);
            section.keys.iter().for_each(|key| sections(&key.kind, found));
            if let super::super::kind::Rest::Programs(of) = section.rest {
                sections(of, found);
            }
        }
        Kind::List(of, _) | Kind::Map(_, of) => sections(of, found),
        Kind::Either(kinds) => kinds.iter().for_each(|kind| sections(kind, found)),
        _ => {}
    }
}

#[test]
fn every_section_has_a_place_in_this_test() {
    let mut found = Vec::new();
    sections(&Kind::Table(&FILE), &mut found);
    for section in found {
        let is_here = std::ptr::eq(section, &raw const FILE)
            || std::ptr::eq(section, &raw const RING)
            || PLACES.iter().any(|place| std::ptr::eq(section, place.section));
        assert!(is_here, "{}", section.about);
    }
}

#[test]
fn the_example_of_every_key_is_read_and_has_an_effect() {
    let mut tried = 0;
    for place in PLACES {
        for key in place.section.keys {
            let text = (place.text)(key.name);
            let with = right(&written(text, key.name, key.example));
            let other = match parsed(&format!("{BEGIN}{}", text.replace('%', ""))) {
                Ok(without) => without,
                Err(_) => OTHER
                    .iter()
                    .filter(|(name, _)| *name == key.name)
                    .find_map(|(_, value)| parsed(&written(text, key.name, value)).ok())
                    .unwrap_or_else(|| right(&written_as_another(place.section, text, key.name))),
            };
            assert_ne!(format!("{with:?}"), format!("{other:?}"), "{} has no effect:\n{text}", key.name);
            tried += 1;
        }
    }
    assert!(tried > 80, "{tried}");
}

#[test]
fn the_example_of_every_key_of_the_file_is_read_and_has_an_effect() {
    let rest = "process.p.run = \"x\"\nring.jobs = {}\n";
    for key in FILE.keys {
        let text = match key.name {
            "process" | "ring" => key.example.to_string() + "\n",
            _ => key.example.to_string() + "\n" + rest,
        };
        let text = match key.name {
            "process" => format!("{} = {text}ring.jobs = {{}}\n", key.name),
            "ring" => format!("{} = {text}process.p.run = \"x\"\n", key.name),
            _ => format!("{} = {text}", key.name),
        };
        let with = format!("{:?}", right(&text));
        assert_ne!(with, format!("{:?}", right(rest)), "{} has no effect", key.name);
    }
}

#[test]
fn a_scenario_can_say_of_each_expectation_that_it_fails() {
    let keys = EXPECT.keys.iter().map(|key| key.name);
    assert_eq!(["timeout"].into_iter().chain(keys).collect::<Vec<_>>(), EXPECTATIONS);
    for key in EXPECT.keys {
        let text = format!(
            "fails = [{:?}]\nprocess.p.run = \"x\"\n[expect]\n{} = {}\n",
            key.name, key.name, key.example
        );
        assert_eq!(right(&text).fails, [key.name]);
    }
}

#[test]
fn the_type_of_every_key_is_checked_where_it_stands() {
    for place in PLACES {
        for key in place.section.keys {
            let text = written((place.text)(key.name), key.name, "1979-05-27");
            let failure = parsed(&text).expect_err(&text);
            let expected = format!("{}: this is a date or a time; expected ", key.name);
            assert!(failure.line.contains(&expected), "{}: {}", key.name, failure.line);
            let before = text.split("1979").next().unwrap();
            let column = before.rsplit('\n').next().unwrap().chars().count() + 1;
            let place = format!(":{}:{column}: ", before.matches('\n').count() + 1);
            assert!(failure.line.contains(&place), "{place} {}", failure.line);
        }
    }
}

#[test]
fn a_key_is_listed_once_and_a_key_of_one_of_is_listed() {
    for place in PLACES {
        let names: BTreeSet<_> = place.section.keys.iter().map(|key| key.name).collect();
        assert_eq!(names.len(), place.section.keys.len(), "{names:?}");
        assert!(place.section.one_of.iter().all(|key| names.contains(key)), "{names:?}");
        for key in place.section.keys {
            assert!(!key.about.is_empty() && !key.about.ends_with('.'), "{}: {}", key.name, key.about);
        }
    }
}
