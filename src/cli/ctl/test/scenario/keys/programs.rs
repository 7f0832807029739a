//! The keys of processes, producers and consumers.

use super::{FROM_ONE, INSTANCES, key, required, section};
use crate::cli::ctl::test::scenario::kind::{Key, KeyForm, Kind, Program, Rest, Section};

const TEXTS: Kind = Kind::Map(KeyForm::Any, &Kind::Text);
const WORD_OR_WORDS: Kind = Kind::Either(&[Kind::Word, Kind::List(&Kind::Word, 1)]);
const INPUTS: &[Kind] = &[Kind::Text, Kind::Table(&INPUT)];
const LIMITS: &[Kind] = &[Kind::Size, Kind::Choice(&["none"])];
const ENDS: &[Kind] = &[Kind::Signal, Kind::Table(&STOPPING)];

const COUNT: Key = key("count", INSTANCES, "Number of instances [default: 1]", "3");
const ENV: Key = key("env", TEXTS, "Additional environment variables", r#"{ LEVEL = "debug" }"#);
const CWD: Key = key("cwd", Kind::Word, "Working directory [default: {dir}]", r#""{dir}/work""#);
const STDIN: Key = key(
    "stdin",
    Kind::Either(INPUTS),
    "Standard input: a text, a file or generated lines [default: nothing]",
    r#""some text\n""#,
);
const READY: Key = key(
    "ready",
    Kind::Table(&READINESS),
    "When an instance is ready [default: when it is started; producers and consumers: when they are attached]",
    r#"{ stdout = "listening" }"#,
);
const LOG: Key = key(
    "history",
    Kind::Table(&LOGGING),
    "Where it writes lines of a history itself; RINGPIPE_LOG_FD tells it the number",
    "{ fd = 3 }",
);
const AFTER: Key = key(
    "after",
    WORD_OR_WORDS,
    "Programs whose instances must all be ready before this one is started",
    r#""other""#,
);
const AFTER_END: Key = key(
    "after-end",
    WORD_OR_WORDS,
    "Programs whose instances must all have ended before this one is started; faults do not wait for it",
    r#""other""#,
);
const BACKGROUND: Key = key(
    "background",
    Kind::Truth,
    "The run does not wait for it: it is ended when all others have ended [default: false]",
    "true",
);
const STOP: Key = key(
    "stop",
    Kind::Either(ENDS),
    "The signal that ends it in the background, and the time until KILL [default: TERM and 5s]",
    r#"{ signal = "INT", grace = "1s" }"#,
);
const LIMIT: Key = key(
    "output-limit",
    Kind::Either(LIMITS),
    "The most bytes of standard output, of standard error and of the history of an instance, or none [default: 1G]",
    r#""64M""#,
);
const RING_OF: Key =
    key("ring", Kind::Word, "The ring [default: the only ring of the scenario]", r#""results""#);

/// `[process.NAME]`.
pub static PROCESS: Section = section(
    "A program of any kind",
    &[
        required(
            "run",
            Kind::Either(&[Kind::Word, Kind::List(&Kind::Text, 1)]),
            "A list of a program and its arguments, or a line for /bin/sh -c",
            r#"["{file}/server", "--port", "{port.http}"]"#,
        ),
        COUNT,
        ENV,
        CWD,
        STDIN,
        READY,
        LOG,
        AFTER,
        AFTER_END,
        BACKGROUND,
        STOP,
        LIMIT,
    ],
);

/// `[producer.NAME]`.
pub static PRODUCER: Section = Section {
    about: "Producers: with keys of their own, and the long options of producer",
    keys: &[
        RING_OF,
        key(
            "items",
            FROM_ONE,
            "How many items each instance sends: lines that are generated from the seed",
            "1000",
        ),
        key("size", Kind::Sizes, "Sizes of these items in bytes [default: 64]", r#""10..1000""#),
        COUNT,
        ENV,
        CWD,
        STDIN,
        READY,
        LOG,
        AFTER,
        AFTER_END,
        BACKGROUND,
        STOP,
        LIMIT,
    ],
    one_of: &[],
    rest: Rest::Options(Program::Producer),
};

/// `[consumer.NAME]`.
pub static CONSUMER: Section = Section {
    about: "Consumers, and workers: with keys of their own, and the long options of consumer",
    keys: &[
        RING_OF,
        key(
            "run",
            Kind::Either(&[Kind::Word, Kind::List(&Kind::Text, 1)]),
            "A command for each item: a list of a program and its arguments, or a line for /bin/sh",
            r#"["{file}/work", "{}"]"#,
        ),
        key("items", FROM_ONE, "Stop after this many items: consumer --count", "1000"),
        COUNT,
        ENV,
        CWD,
        STDIN,
        READY,
        LOG,
        AFTER,
        AFTER_END,
        BACKGROUND,
        STOP,
        LIMIT,
    ],
    one_of: &[],
    rest: Rest::Options(Program::Consumer),
};

/// `stdin = { ... }`.
pub static INPUT: Section = Section {
    about: "Standard input",
    keys: &[
        key("file", Kind::Word, "This file", r#""{file}/input.txt""#),
        key("items", FROM_ONE, "This many lines, generated from the seed", "1000"),
        key("size", Kind::Sizes, "Sizes of these lines in bytes [default: 64]", r#""10..1000""#),
    ],
    one_of: &["file", "items"],
    rest: Rest::Nothing,
};

/// `ready = { ... }`.
pub static READINESS: Section = Section {
    about: "When an instance is ready",
    keys: &[
        key("stdout", Kind::Pattern, "A line of its standard output matches", r#""listening on""#),
        key("stderr", Kind::Pattern, "A line of its standard error matches", r#""listening on""#),
        key("file", Kind::Word, "This file exists", r#""{dir}/server.pid""#),
        key("tcp", Kind::Word, "A connection to HOST:PORT is accepted", r#""127.0.0.1:{port.http}""#),
        key("fd", Kind::Whole(3, 255), "It writes a line to this descriptor, or closes it", "3"),
    ],
    one_of: &["stdout", "stderr", "file", "tcp", "fd"],
    rest: Rest::Nothing,
};

/// `history = { ... }`.
pub static LOGGING: Section = section(
    "Where a program writes lines of a history itself",
    &[required(
        "fd",
        Kind::Whole(3, 255),
        "This descriptor: a file of each instance, to whose end the instance and its children write",
        "3",
    )],
);

/// `stop = { ... }`.
pub static STOPPING: Section = section(
    "How it is ended",
    &[
        key("signal", Kind::Signal, "The signal [default: TERM]", r#""INT""#),
        key("grace", Kind::Duration, "The time until KILL [default: 5s]", r#""1s""#),
    ],
);
