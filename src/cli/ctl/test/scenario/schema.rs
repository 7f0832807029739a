//! The JSON schema of scenario files, for editors: made from the table of keys that the parser uses.

use serde_json::{Map, Value, json};

use super::keys::FILE;
use super::kind::{Key, KeyForm, Kind, Program, Rest, Section};
use super::options::{ProgramOption, Takes};

/// The schema, as JSON.
pub fn schema() -> Value {
    let mut schema = section(&FILE);
    if let Some(object) = schema.as_object_mut() {
        object.insert("$schema".into(), "http://json-schema.org/draft-07/schema#".into());
        object.insert("title".into(), "Scenario of ringctl test".into());
    }
    schema
}

fn section(section: &Section) -> Value {
    let mut properties: Map<String, Value> = section
        .keys
        .iter()
        .map(|key| (key.name.to_string(), described(&kind(&key.kind), key.about)))
        .collect();
    let mut rest = Value::Bool(false);
    match section.rest {
        Rest::Nothing => {}
        Rest::Programs(of) => rest = kind(of),
        Rest::Options(program) => properties.extend(options(program)),
    }
    let required: Vec<_> = section.keys.iter().filter(|key| key.required).map(|key: &Key| key.name).collect();
    let mut schema = json!({
        "type": "object",
        "description": section.about,
        "properties": properties,
        "additionalProperties": rest,
    });
    if let Some(object) = schema.as_object_mut() {
        if !required.is_empty() {
            object.insert("required".into(), json!(required));
        }
        if !section.one_of.is_empty() {
            let choices: Vec<_> = section.one_of.iter().map(|key| json!({ "required": [key] })).collect();
            object.insert("oneOf".into(), json!(choices));
        }
    }
    schema
}

/// A schema with this description instead of its own.
fn described(schema: &Value, about: &str) -> Value {
    let mut schema = schema.clone();
    if let Some(object) = schema.as_object_mut() {
        object.insert("description".into(), about.into());
    }
    schema
}

fn options(program: Program) -> impl Iterator<Item = (String, Value)> {
    program.options().into_iter().map(|option| {
        let schema = described(&takes(&option.takes), &option.help);
        let ProgramOption { name, .. } = option;
        (name, schema)
    })
}

fn takes(takes: &Takes) -> Value {
    let Takes::Value { optional, repeated, choices, .. } = takes else { return json!({ "type": "boolean" }) };
    let one = match choices.is_empty() {
        true => json!({ "type": ["string", "number"] }),
        false => json!({ "enum": choices }),
    };
    match (optional, repeated) {
        (true, _) => json!({ "anyOf": [one, { "type": "boolean" }] }),
        (_, true) => json!({ "anyOf": [one, { "type": "array", "items": one }] }),
        _ => one,
    }
}

fn kind(of: &Kind) -> Value {
    match of {
        Kind::Text => json!({ "type": "string" }),
        Kind::Word | Kind::Signal | Kind::Errno => json!({ "type": "string", "minLength": 1 }),
        Kind::Pattern => json!({ "type": "string", "format": "regex" }),
        Kind::Call => json!({ "type": "string", "pattern": "^[a-z_][a-z0-9_]*$" }),
        Kind::Sha256 => json!({ "type": "string", "pattern": "^[0-9a-fA-F]{64}$" }),
        Kind::Truth => json!({ "type": "boolean" }),
        Kind::Whole(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Kind::Duration | Kind::Span | Kind::Size | Kind::Sizes => {
            json!({ "type": ["string", "number"], "minimum": 0, "minLength": 1 })
        }
        Kind::Exit => {
            json!({ "type": ["integer", "string"], "minimum": 0, "maximum": 255, "minLength": 1 })
        }
        Kind::Choice(texts) => json!({ "enum": texts }),
        Kind::List(of, least) => json!({ "type": "array", "items": kind(of), "minItems": least }),
        Kind::Table(of) => section(of),
        Kind::Map(names, of) => map(*names, of),
        Kind::Either(kinds) => json!({ "anyOf": kinds.iter().map(kind).collect::<Vec<_>>() }),
    }
}

fn map(names: KeyForm, of: &Kind) -> Value {
    let mut patterns = Map::new();
    patterns.insert(names.pattern().into(), kind(of));
    json!({ "type": "object", "patternProperties": patterns, "additionalProperties": false })
}
