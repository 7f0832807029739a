//! The schema has exactly the keys that the parser knows, and accepts the examples.

use serde_json::Value;

use super::super::init::EXAMPLE;
use super::super::keys::{CONSUMER, FILE, PRODUCER, RING};
use super::super::kind::{Kind, Program, Rest, Section};
use super::super::schema::schema;
use super::{parsed, right};

/// The properties of a section's schema are its keys and options.
fn compare(section: &Section, schema: &Value, compared: &mut usize) {
    let properties = schema["properties"].as_object().unwrap();
    let options = match section.rest {
        Rest::Options(program) => program.options(),
        _ => Vec::new(),
    };
    let mut known: Vec<&str> = section.keys.iter().map(|key| key.name).collect();
    known
        .extend(options.iter().map(|option| option.name.as_str()).filter(|name| section.key(name).is_none()));
    let mut listed: Vec<&str> = properties.keys().map(String::as_str).collect();
    known.sort_unstable();
    listed.sort_unstable();
    assert_eq!(known, listed);
    *compared += listed.len();
    for key in section.keys {
        let property = &properties[key.name];
        assert_eq!(property["description"], key.about);
        descend(&key.kind, property, compared);
    }
    match section.rest {
        Rest::Programs(of) => descend(of, &schema["additionalProperties"], compared),
        _ => assert_eq!(schema["additionalProperties"], false),
    }
}

fn descend(kind: &Kind, schema: &Value, compared: &mut usize) {
    match kind {
        Kind::Table(section) => compare(section, schema, compared),
        Kind::List(of, _) => descend(of, &schema["items"], compared),
        Kind::Map(names, of) => descend(of, &schema["patternProperties"][names.pattern()], compared),
        Kind::Either(kinds) => kinds
            .iter()
            .zip(schema["anyOf"].as_array().unwrap())
            .for_each(|(kind, schema)| descend(kind, schema, compared)),
        _ => assert!(schema.get("type").or(schema.get("enum")).is_some(), "{kind:?}: {schema}"),
    }
}

#[test]
fn the_schema_has_every_key_that_the_parser_knows_and_no_other() {
    let mut compared = 0;
    compare(&FILE, &schema(), &mut compared);
    assert!(compared > 150, "{compared}");
}

#[test]
fn the_parser_knows_every_option_that_the_schema_lists() {
    let schema = schema();
    for (table, section, program) in [
        ("ring", &RING, Program::Create),
        ("producer", &PRODUCER, Program::Producer),
        ("consumer", &CONSUMER, Program::Consumer),
    ] {
        let listed = &schema["properties"][table]["patternProperties"]["^[A-Za-z0-9_-]+$"]["properties"];
        for name in listed.as_object().unwrap().keys().filter(|name| section.key(name).is_none()) {
            // A value of a type that no option has: it is refused for that, not as an unknown key.
            let text = format!("process.p.run = \"x\"\n[{table}.x]\n{name} = {{}}\n");
            let failure = parsed(&text).expect_err(name);
            assert!(
                failure.line.contains(&format!("{name}: this is a table; expected ")),
                "{}",
                failure.line
            );
            assert!(program.option(name).is_some(), "{name}");
        }
    }
}

#[test]
fn the_example_of_init_is_a_scenario_of_all_kinds_of_tables() {
    let scenario = right(EXAMPLE);
    assert_eq!((scenario.rings.len(), scenario.programs.len(), scenario.faults.len()), (1, 3, 1));
    assert_eq!(scenario.expect.lost, Some(0));
    for line in EXAMPLE.lines() {
        assert!(line.chars().count() <= 120, "{line}");
    }
}
