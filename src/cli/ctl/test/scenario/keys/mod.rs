//! The keys of a scenario file: one table for the parser, for the schema and for the messages.

mod expectations;
mod faults;
mod programs;

pub use expectations::{EXPECT, EXPECTATIONS, HISTORY, LEFTOVERS, MAPPING};
pub use faults::{FAULT, MOMENT, POINTS};
pub use programs::{CONSUMER, INPUT, LOGGING, PROCESS, PRODUCER, READINESS, STOPPING};

use super::kind::{Key, KeyForm, Kind, Program, Rest, Section};

/// The most instances of a program.
pub const MOST_INSTANCES: u64 = 4096;

const fn key(name: &'static str, kind: Kind, about: &'static str, example: &'static str) -> Key {
    Key { name, kind, required: false, about, example }
}

const fn required(name: &'static str, kind: Kind, about: &'static str, example: &'static str) -> Key {
    Key { name, kind, required: true, about, example }
}

const fn section(about: &'static str, keys: &'static [Key]) -> Section {
    Section { about, keys, one_of: &[], rest: Rest::Nothing }
}

const FROM_ONE: Kind = Kind::Whole(1, i64::MAX as u64);
const INSTANCES: Kind = Kind::Whole(1, MOST_INSTANCES);
const WORDS: Kind = Kind::List(&Kind::Word, 0);

/// The file.
pub static FILE: Section = section(
    "A scenario: what a test starts, what goes wrong meanwhile, and what must be true afterwards",
    &[
        key("name", Kind::Word, "Name in reports [default: the name of the file]", r#""two-workers""#),
        key("about", Kind::Text, "One sentence for reports", r#""A killed worker loses no job""#),
        key("timeout", Kind::Duration, "A run that takes longer has stalled [default: 1m]", r#""30s""#),
        key(
            "needs",
            WORDS,
            "Programs that must be in PATH; without one of them the scenario is skipped",
            r#"["python3"]"#,
        ),
        key(
            "fails",
            Kind::List(&Kind::Choice(EXPECTATIONS), 1),
            "Keys of [expect], or timeout, that the run must break: it shows a known fault",
            r#"["timeout"]"#,
        ),
        key(
            "ring",
            Kind::Map(KeyForm::Plain, &Kind::Table(&RING)),
            "Rings, made before the programs start",
            "{ more = {} }",
        ),
        key(
            "process",
            Kind::Map(KeyForm::Plain, &Kind::Table(&PROCESS)),
            "Programs of any kind",
            r#"{ more = { run = "true" } }"#,
        ),
        key(
            "producer",
            Kind::Map(KeyForm::Plain, &Kind::Table(&PRODUCER)),
            "Programs that send items to a ring",
            "{ more = { items = 5 } }",
        ),
        key(
            "consumer",
            Kind::Map(KeyForm::Plain, &Kind::Table(&CONSUMER)),
            "Programs that take items from a ring",
            "{ more = {} }",
        ),
        key(
            "fault",
            Kind::List(&Kind::Table(&FAULT), 0),
            "What goes wrong, once all programs are ready",
            r#"[{ do = "kill", on = "p", at = "1s" }]"#,
        ),
        key(
            "history",
            Kind::Table(&HISTORY),
            "How events of items are read from the output of programs",
            r#"{ sent = "PUT (?<id>\\d+)" }"#,
        ),
        key("expect", Kind::Table(&EXPECT), "What must be true afterwards", "{ lost = 0 }"),
    ],
);

/// `[ring.NAME]`.
pub static RING: Section = Section {
    about: "A ring; its keys are the long options of ringctl create",
    keys: &[],
    one_of: &[],
    rest: Rest::Options(Program::Create),
};
