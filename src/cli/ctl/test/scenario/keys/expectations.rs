//! The keys of histories and of expectations.

use super::{WORDS, key, required, section};
use crate::cli::ctl::test::scenario::kind::{Key, KeyForm, Kind, Rest, Section};

const ANY: Kind = Kind::Whole(0, i64::MAX as u64);
const PATTERNS: Kind = Kind::Either(&[Kind::Pattern, Kind::List(&Kind::Pattern, 1)]);
const LEFT: &[Kind] = &[Kind::Choice(&["none"]), Kind::Table(&LEFTOVERS)];

/// `[history]`.
pub static HISTORY: Section = Section {
    about: "How events of items are read from the output of programs that write no history",
    keys: HISTORY_KEYS,
    one_of: &[],
    rest: Rest::Programs(&Kind::Table(&MAPPING)),
};

/// `[history.NAME]`.
pub static MAPPING: Section = section("The same, for one program", HISTORY_KEYS);

const HISTORY_KEYS: &[Key] = &[
    key(
        "sent",
        Kind::Pattern,
        "A line that matches says that the item of the group id was sent",
        r#""PUT (?<id>\\d+)""#,
    ),
    key("received", Kind::Pattern, "It was received", r#""GOT (?<id>\\d+)""#),
    key(
        "acknowledged",
        Kind::Pattern,
        "It is done [default: it is done when it is received]",
        r#""DONE (?<id>\\d+)""#,
    ),
    key("files", WORDS, "Files to read instead of standard output", r#"["{dir}/client.log"]"#),
];

/// What a run can break: `timeout`, and each key of `[expect]`.
pub const EXPECTATIONS: &[&str] = &[
    "timeout",
    "lost",
    "unexpected",
    "duplicated",
    "corrupted",
    "order",
    "received",
    "exit",
    "stdout",
    "stderr",
    "equal",
    "sha256",
    "stall",
    "latency",
    "leftovers",
    "within",
];

/// `[expect]`.
pub static EXPECT: Section = section("What must be true afterwards", EXPECT_KEYS);

const EXPECT_KEYS: &[Key] = &[
    key("lost", ANY, "Items that may be lost, at most", "0"),
    key("unexpected", ANY, "Items that may be received and were not sent, at most", "0"),
    key(
        "duplicated",
        Kind::Either(&[ANY, Kind::Choice(&["redelivered"])]),
        "Items that may be received twice, at most; redelivered: those that a struck process held",
        r#""redelivered""#,
    ),
    key("corrupted", ANY, "Items that may differ from what was sent, at most", "0"),
    key("order", Kind::Truth, "The items of each producer arrive in order", "true"),
    key("received", ANY, "Items that must be received, at least", "1000"),
    key(
        "exit",
        Kind::Either(EXITS),
        "How instances end: for all, or by program; \"*\" is all other programs, without struck instances",
        r#"{ p = ["KILL", 0], "*" = 0 }"#,
    ),
    key(
        "stdout",
        Kind::Map(KeyForm::Plain, &PATTERNS),
        "Patterns that the standard output of a program matches",
        r#"{ p = "^done$" }"#,
    ),
    key(
        "stderr",
        Kind::Map(KeyForm::Plain, &PATTERNS),
        "Patterns that the standard error of a program matches",
        r#"{ p = "^done$" }"#,
    ),
    key(
        "equal",
        Kind::List(&Kind::List(&Kind::Word, 2), 1),
        "Pairs of files with the same lines in any order",
        r#"[["{file}/input.txt", "{dir}/output.txt"]]"#,
    ),
    key(
        "sha256",
        Kind::Map(KeyForm::Any, &Kind::Sha256),
        "Checksums of files",
        r#"{ "{dir}/out" = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" }"#,
    ),
    key(
        "stall",
        Kind::Duration,
        "The longest time without an event of an item while programs run",
        r#""2s""#,
    ),
    key(
        "latency",
        Kind::Map(KeyForm::Percentile, &Kind::Duration),
        "The longest time from sending to receiving, by percentile",
        r#"{ p50 = "1ms", p99 = "10ms", max = "100ms" }"#,
    ),
    key(
        "leftovers",
        Kind::Either(LEFT),
        "No segment that a process had mapped, no process, no file and no descriptor stays",
        r#""none""#,
    ),
    key("within", Kind::Duration, "The longest time that a run takes", r#""30s""#),
];

const EXIT: &[Kind] = &[Kind::Exit, Kind::List(&Kind::Exit, 1)];
const EXITS: &[Kind] =
    &[Kind::Exit, Kind::List(&Kind::Exit, 1), Kind::Map(KeyForm::Any, &Kind::Either(EXIT))];

/// `leftovers = { ... }`.
pub static LEFTOVERS: Section = section(
    "What may stay",
    &[required("except", WORDS, "Files below the folder of the run", r#"["x.log"]"#)],
);
