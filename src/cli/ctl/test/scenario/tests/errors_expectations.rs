//! Errors of the history and of expectations.

use super::{Row, refuses};

/// Rows below a process `p` and `[history]`: the text, the line, the hint.
const HISTORY: &[Row] = &[
    ("send = \"(?<id>x)\"\n", "3:8: send: this is a text; expected a table with keys such as sent", ""),
    ("", "2:2: history: no event is described; expected at least one of sent, received, acknowledged", ""),
    (
        "sent = \"PUT\"\n",
        r#"3:8: sent: the pattern has no group id; expected a pattern such as "PUT (?<id>\\d+)""#,
        "",
    ),
    (
        "sent = \"(\"\n",
        r#"3:8: sent: "(" is not understood: found open group without closing ')'; expected a regular expression"#,
        "",
    ),
    (
        "files = [\"x\"]\n",
        "2:2: history: no event is described; expected at least one of sent, received, acknowledged",
        "",
    ),
    ("[history.q]\nsent = \"(?<id>x)\"\n", r#"3:10: history: there is no program "q"; expected p"#, ""),
    ("p = 5\n", "3:5: p: this is a whole number; expected a table with keys such as sent", ""),
];

/// Rows below a process `p` and `[expect]`: the text, the line, the hint.
const EXPECTATIONS: &[Row] = &[
    (
        "lsot = 0\n",
        r#"3:1: unknown key "lsot"; expected one of lost, unexpected, duplicated, corrupted, order, received, exit, stdout, stderr, equal, sha256, stall, latency, leftovers, within"#,
        r#"did you mean "lost"?"#,
    ),
    ("lost = -1\n", "3:8: lost: the number is too small or too large; expected a whole number from 0 up", ""),
    ("lost = \"no\"\n", "3:8: lost: this is a text; expected a whole number from 0 up", ""),
    (
        "duplicated = \"twice\"\n",
        r#"3:14: duplicated: unknown value "twice"; expected a whole number from 0 up, or "redelivered""#,
        "",
    ),
    ("order = 1\n", "3:9: order: this is a whole number; expected true or false", ""),
    (
        "exit = 256\n",
        r#"3:8: exit: there is no such exit code; expected an exit code from 0 to 255, or the name of a signal such as "KILL""#,
        "",
    ),
    (
        "exit = \"BYE\"\n",
        r#"3:8: exit: there is no signal "BYE"; expected an exit code from 0 to 255, or the name of a signal such as "KILL""#,
        "",
    ),
    ("exit = { q = 0 }\n", r#"3:10: exit: there is no program "q"; expected p"#, ""),
    ("exit = { p = [] }\n", "3:14: p: the list is too short; expected at least 1 element", ""),
    (
        "exit = true\n",
        r#"3:8: exit: this is true or false; expected an exit code from 0 to 255, or the name of a signal such as "KILL", or a list of these, or a table of these"#,
        "",
    ),
    (
        "stdout = \"x\"\n",
        "3:10: stdout: this is a text; expected a table, each value a regular expression, or a list of these",
        "",
    ),
    ("stdout = { q = \"x\" }\n", r#"3:12: stdout: there is no program "q"; expected p"#, ""),
    (
        "stdout = { p = \"(\" }\n",
        r#"3:16: p: "(" is not understood: found open group without closing ')'; expected a regular expression"#,
        "",
    ),
    ("equal = [[\"a\"]]\n", "3:10: equal: the list is too short; expected at least 2 elements", ""),
    ("equal = [[\"a\", \"b\", \"c\"]]\n", "3:10: equal: these are 3 files; expected pairs of two files", ""),
    (
        "sha256 = { a = \"12\" }\n",
        "3:16: a: these are not 64 hexadecimal digits; expected a SHA-256 checksum: 64 hexadecimal digits",
        "",
    ),
    (
        "stall = \"x\"\n",
        r#"3:9: stall: "x" is not understood; expected a duration such as "250ms", "5s" or "2m", or seconds"#,
        "",
    ),
    ("stall = 0\n", r#"3:9: stall: this is no time at all; expected a duration above 0 such as "5s""#, ""),
    (
        "latency = { p5x = \"1s\" }\n",
        r#"3:13: "p5x" is no name here; expected max, or a percentile such as p50, p99 or "p99.9""#,
        "",
    ),
    (
        "latency = { p99 = \"x\" }\n",
        r#"3:19: p99: "x" is not understood; expected a duration such as "250ms", "5s" or "2m", or seconds"#,
        "",
    ),
    (
        "leftovers = \"all\"\n",
        r#"3:13: leftovers: unknown value "all"; expected "none", or a table with keys such as except"#,
        "",
    ),
    (
        "leftovers = {}\n",
        r#"3:1: leftovers: except is missing; expected a line such as except = ["x.log"]"#,
        "",
    ),
    ("within = 0\n", r#"3:10: within: this is no time at all; expected a duration above 0 such as "5s""#, ""),
    (
        "equal = [[\"{ring.x}\", \"b\"]]\n",
        r#"3:11: equal: there is no ring "x"; expected a table [ring.x]"#,
        "",
    ),
];

#[test]
fn a_wrong_history_is_refused_with_its_place_and_the_expected_form() {
    refuses("process.p.run = \"true\"\n[history]\n", HISTORY);
}

#[test]
fn a_wrong_expectation_is_refused_with_its_place_and_the_expected_form() {
    refuses("process.p.run = \"true\"\n[expect]\n", EXPECTATIONS);
}
