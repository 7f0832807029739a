//! The keys of a scenario file: one table for the parser, for the schema and for the messages.

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

const ANY: Kind = Kind::Whole(0, i64::MAX as u64);
const FROM_ONE: Kind = Kind::Whole(1, i64::MAX as u64);
const INSTANCES: Kind = Kind::Whole(1, MOST_INSTANCES);
const WORDS: Kind = Kind::List(&Kind::Word, 0);
const CALLS: Kind = Kind::List(&Kind::Call, 1);
const TEXTS: Kind = Kind::Map(KeyForm::Any, &Kind::Text);
const WORD_OR_WORDS: Kind = Kind::Either(&[Kind::Word, Kind::List(&Kind::Word, 1)]);
const PATTERNS: Kind = Kind::Either(&[Kind::Pattern, Kind::List(&Kind::Pattern, 1)]);

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

const MOMENTS: &[Kind] = &[Kind::Span, Kind::Table(&MOMENT)];
const POINT_KINDS: &[Kind] = &[Kind::Choice(&["syscall", "instruction"]), Kind::Table(&POINTS)];
const LEFT: &[Kind] = &[Kind::Choice(&["none"]), Kind::Table(&LEFTOVERS)];

/// What a fault can do.
pub const DO: &[&str] = &["kill", "stop", "term", "signal", "restart", "full-disk", "fail", "memory"];

/// `[[fault]]`.
pub static FAULT: Section = Section {
    about: "What goes wrong",
    keys: &[
        required("do", Kind::Choice(DO), "What happens", r#""kill""#),
        required("on", Kind::Word, "The program, or an instance of it: NAME.NUMBER", r#""worker""#),
        key(
            "who",
            Kind::Either(&[Kind::Choice(&["one", "all"]), INSTANCES]),
            "The instances that it strikes: one, all or this many, chosen by the seed [default: one]",
            r#""all""#,
        ),
        key(
            "at",
            Kind::Either(MOMENTS),
            "When: a time after all programs are ready, or an event",
            r#""100ms..2s""#,
        ),
        key(
            "every",
            Kind::Either(POINT_KINDS),
            "A run for each point at which it can strike, instead of at",
            r#""syscall""#,
        ),
        key("max", FROM_ONE, "With every: the most runs, spread over the points [default: 100]", "50"),
        key("within", Kind::Duration, "With every: begin no run after this time [default: 1m]", r#""5m""#),
        key("signal", Kind::Signal, r#"With do = "signal": the signal"#, r#""HUP""#),
        key("error", Kind::Errno, r#"With do = "fail": the error of the calls"#, r#""EIO""#),
        key("calls", CALLS, r#"With do = "fail": the system calls that fail"#, r#"["write"]"#),
        key(
            "path",
            Kind::Word,
            "Only calls on files below this folder [default: with full-disk {dir}, with fail all calls]",
            r#""{dir}/data""#,
        ),
        key(
            "times",
            FROM_ONE,
            "With fail: this many calls fail [default: all; at a system call and with every: 1]",
            "2",
        ),
        key(
            "for",
            Kind::Duration,
            "With stop: the time until CONT; with full-disk and fail: how long calls fail; with restart: the pause",
            r#""50ms""#,
        ),
        key("limit", Kind::Size, r#"With do = "memory": the address space in bytes"#, r#""64M""#),
        key("repeat", Kind::Whole(1, 1_000_000), "How often it strikes at most [default: 1]", "5"),
        key("pause", Kind::Duration, "With repeat: the time in between [default: 0s]", r#""100ms""#),
        key(
            "group",
            Kind::Truth,
            "The whole instance is killed; false: only the process that has reached the point [default: true]",
            "false",
        ),
        key(
            "must-strike",
            Kind::Truth,
            "A run in which it does not strike all processes that it should, once at least, is inconclusive [default: true]",
            "false",
        ),
    ],
    one_of: &["at", "every"],
    rest: Rest::Nothing,
};

/// `at = { ... }`.
pub static MOMENT: Section = Section {
    about: "The event at which a fault strikes",
    keys: &[
        key(
            "line",
            Kind::Pattern,
            "A line of its output matches, standard error included",
            r#""^committed""#,
        ),
        key("of", Kind::Word, "With line: the program whose output it is [default: on]", r#""worker""#),
        key("nth", FROM_ONE, "With line: the n-th such line [default: 1]", "2"),
        key("acknowledged", FROM_ONE, "This many items were acknowledged", "1000"),
        key(
            "ring",
            Kind::Word,
            "With acknowledged: the ring [default: the only ring of the scenario]",
            r#""results""#,
        ),
        key("full", Kind::Word, "This ring has no free slot", r#""jobs""#),
        key("empty", Kind::Word, "This ring has had an item, and has none", r#""jobs""#),
        key("held", Kind::Word, "The struck instance holds an item of this ring", r#""jobs""#),
        key("syscall", FROM_ONE, "The n-th system call after it is ready", "17"),
        key(
            "calls",
            CALLS,
            r#"With syscall: count these only [default: all; with do = "fail": the fault's calls]"#,
            r#"["write"]"#,
        ),
        key("instruction", FROM_ONE, "The n-th instruction after it is ready", "1000"),
    ],
    one_of: &["line", "acknowledged", "full", "empty", "held", "syscall", "instruction"],
    rest: Rest::Nothing,
};

/// `every = { ... }`.
pub static POINTS: Section = section(
    "The points at which a fault strikes",
    &[required("syscall", CALLS, "Each call of these", r#"["write", "rename"]"#)],
);

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
