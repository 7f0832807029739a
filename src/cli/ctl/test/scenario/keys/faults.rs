//! The keys of faults.

use super::{FROM_ONE, INSTANCES, key, required, section};
use crate::cli::ctl::test::scenario::kind::{Kind, Rest, Section};

const CALLS: Kind = Kind::List(&Kind::Call, 1);
const MOMENTS: &[Kind] = &[Kind::Span, Kind::Table(&MOMENT)];
const POINT_KINDS: &[Kind] = &[Kind::Choice(&["syscall", "instruction"]), Kind::Table(&POINTS)];

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
