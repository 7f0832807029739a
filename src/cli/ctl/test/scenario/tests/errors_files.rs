//! Errors of syntax, of the keys of the file, and of processes.

use super::{Row, refuses};

/// Rows whole files: the text, the line, the hint.
const FILES: &[Row] = &[
    ("name = \n", "1:8: string values must be quoted; expected literal string", ""),
    ("name = \"a\n", r#"1:10: invalid basic string; expected `"`"#, ""),
    ("a b = 1\n", "1:3: key with no value; expected `=`", ""),
    ("[process.p\n", "1:11: unclosed table; expected `]`", ""),
    (
        "x = 99999999999999999999\n",
        r#"1:1: unknown key "x"; expected one of name, about, timeout, needs, fails, ring, process, producer, consumer, fault, history, expect"#,
        "",
    ),
    (
        "[process.p]\nrun = \"x\"\ncoutn = 2\n",
        r#"3:1: unknown key "coutn"; expected one of run, count, env, cwd, stdin, ready, history, after, after-end, background, stop, output-limit"#,
        r#"did you mean "count"?"#,
    ),
    ("name = 5\n[process.p]\nrun = \"true\"\n", "1:8: name: this is a whole number; expected a text", ""),
    ("name = \"\"\n[process.p]\nrun = \"true\"\n", "1:8: name: this is empty; expected a text", ""),
    (
        "timeout = \"soon\"\n[process.p]\nrun = \"true\"\n",
        r#"1:11: timeout: "soon" is not understood; expected a duration such as "250ms", "5s" or "2m", or seconds"#,
        "",
    ),
    (
        "timeout = true\n[process.p]\nrun = \"true\"\n",
        r#"1:11: timeout: this is true or false; expected a duration such as "250ms", "5s" or "2m", or seconds"#,
        "",
    ),
    (
        "timeout = 0\n[process.p]\nrun = \"true\"\n",
        r#"1:11: timeout: this is no time at all; expected a duration above 0 such as "5s""#,
        "",
    ),
    (
        "needs = \"python3\"\n[process.p]\nrun = \"true\"\n",
        "1:9: needs: this is a text; expected a list, each element a text",
        "",
    ),
    (
        "needs = [3]\n[process.p]\nrun = \"true\"\n",
        "1:10: needs: this is a whole number; expected a text",
        "",
    ),
    (
        "process = 5\n",
        "1:11: process: this is a whole number; expected a table, each value a table with keys such as run",
        "",
    ),
    ("process.p = 5\n", "1:13: p: this is a whole number; expected a table with keys such as run", ""),
    (
        "[process.\"a b\"]\nrun = \"x\"\n",
        r#"1:10: "a b" is no name here; expected letters, digits, - and _"#,
        "",
    ),
    (
        "[process.p]\n",
        r#"1:10: p: run is missing; expected a line such as run = ["{file}/server", "--port", "{port.http}"]"#,
        "",
    ),
    ("[process.p]\nrun = []\n", "2:7: run: the list is too short; expected at least 1 element", ""),
    (
        "[process.p]\nrun = [\"\"]\n",
        "2:7: run: the name of the program is empty; expected a program and its arguments",
        "",
    ),
    ("[process.p]\nrun = 5\n", "2:7: run: this is a whole number; expected a text, or a list of these", ""),
    ("[process.p]\nrun = [\"x\", 5]\n", "2:13: run: this is a whole number; expected a text", ""),
    (
        "[process.a]\nrun = \"x\"\nafter = \"b\"\n[process.b]\nrun = \"x\"\nafter = [\"a\"]\n",
        "3:9: after: these programs wait for each other; expected an order without a circle",
        "",
    ),
    (
        "fails = [\"lsot\"]\n[process.p]\nrun = \"true\"\n",
        r#"1:10: fails: unknown value "lsot"; expected "timeout", "lost", "unexpected", "duplicated", "corrupted", "order", "received", "exit", "stdout", "stderr", "equal", "sha256", "stall", "latency", "leftovers", "within""#,
        r#"did you mean "lost"?"#,
    ),
    (
        "fails = []\n[process.p]\nrun = \"true\"\n",
        "1:9: fails: the list is too short; expected at least 1 element",
        "",
    ),
    (
        "fails = [\"timeout\", \"lost\"]\n[process.p]\nrun = \"true\"\n[expect]\nreceived = 1\n",
        "1:21: fails: lost is not expected; expected lost = ... in [expect]",
        "",
    ),
    ("", "1:1: the scenario starts no program; expected a table such as [process.server]", ""),
];

/// Rows below a process `p`: the text, the line, the hint.
const PROCESSES: &[Row] = &[
    ("name = \"a\"\nname = \"b\"\n", "3:1: duplicate key; expected each key once", ""),
    (
        "tiemout = \"1s\"\n",
        r#"2:1: unknown key "tiemout"; expected one of name, about, timeout, needs, fails, ring, process, producer, consumer, fault, history, expect"#,
        r#"did you mean "timeout"?"#,
    ),
    (
        "frobnicate = 1\n",
        r#"2:1: unknown key "frobnicate"; expected one of name, about, timeout, needs, fails, ring, process, producer, consumer, fault, history, expect"#,
        "",
    ),
    (
        "[[fault]]\ndo = \"kill\"\non = \"p\"\nat = \"1s\"\nwhom = \"all\"\n",
        r#"6:1: unknown key "whom"; expected one of do, on, who, at, every, max, within, signal, error, calls, path, times, for, limit, repeat, pause, group, must-strike"#,
        r#"did you mean "who"?"#,
    ),
    (
        "[[fault]]\ndo = \"kill\"\non = \"p\"\nat = { lin = \"x\" }\n",
        r#"5:8: unknown key "lin"; expected one of line, of, nth, acknowledged, ring, full, empty, held, syscall, calls, instruction"#,
        r#"did you mean "line"?"#,
    ),
    (
        "[process.q]\nrun = \"x\"\nready = { stdot = \"x\" }\n",
        r#"4:11: unknown key "stdot"; expected one of stdout, stderr, file, tcp, fd"#,
        r#"did you mean "stdout"?"#,
    ),
    (
        "[history.p]\nsend = \"(?<id>x)\"\n",
        r#"3:1: unknown key "send"; expected one of sent, received, acknowledged, files"#,
        r#"did you mean "sent"?"#,
    ),
    (
        "process.p.count = 0\n",
        "2:19: count: the number is too small or too large; expected a whole number from 1 to 4096",
        "",
    ),
    (
        "process.p.count = 5000\n",
        "2:19: count: the number is too small or too large; expected a whole number from 1 to 4096",
        "",
    ),
    (
        "process.p.count = 99999999999999999999\n",
        "2:19: count: the number is too small or too large; expected a whole number from 1 to 4096",
        "",
    ),
    ("process.p.count = \"2\"\n", "2:19: count: this is a text; expected a whole number from 1 to 4096", ""),
    ("process.p.env = { A = 1 }\n", "2:23: A: this is a whole number; expected a text", ""),
    (
        "process.p.env = { \"A=B\" = \"x\" }\n",
        r#"2:19: "A=B" is no name of a variable; expected a name without ="#,
        "",
    ),
    ("process.p.cwd = \"\"\n", "2:17: cwd: this is empty; expected a text", ""),
    (
        "process.p.stdin = 5\n",
        "2:19: stdin: this is a whole number; expected a text, or a table with one of file, items",
        "",
    ),
    (
        "process.p.stdin = { file = \"x\", items = 1 }\n",
        "2:33: file and items exclude each other; expected one of file, items",
        "",
    ),
    ("process.p.stdin = {}\n", "2:11: stdin: a key is missing; expected one of file, items", ""),
    (
        "process.p.stdin = { file = \"x\", size = 1 }\n",
        "2:33: size has no meaning here; expected size beside items",
        "",
    ),
    (
        "process.p.stdin = { items = 1, size = \"9..1\" }\n",
        r#"2:39: size: "9..1" is not understood; expected a number of bytes such as 64 or "1K", or a range such as "10..1000""#,
        "",
    ),
    (
        "process.p.ready = \"listening\"\n",
        "2:19: ready: this is a text; expected a table with one of stdout, stderr, file, tcp, fd",
        "",
    ),
    (
        "process.p.ready = {}\n",
        "2:11: ready: a key is missing; expected one of stdout, stderr, file, tcp, fd",
        "",
    ),
    (
        "process.p.ready = { stdout = \"(\" }\n",
        r#"2:30: stdout: "(" is not understood: found open group without closing ')'; expected a regular expression"#,
        "",
    ),
    (
        "process.p.ready = { fd = 2 }\n",
        "2:26: fd: the number is too small or too large; expected a whole number from 3 to 255",
        "",
    ),
    (
        "process.p.ready = { tcp = \"80\" }\n",
        r#"2:27: tcp: "80" is no address; expected HOST:PORT such as 127.0.0.1:8080 or 127.0.0.1:{port.http}"#,
        "",
    ),
    (
        "process.p.ready = { tcp = \"localhost:http\" }\n",
        r#"2:27: tcp: "localhost:http" is no address; expected HOST:PORT such as 127.0.0.1:8080 or 127.0.0.1:{port.http}"#,
        "",
    ),
    (
        "process.p.ready = { stdout = \"x\", fd = 3 }\n",
        "2:35: stdout and fd exclude each other; expected one of stdout, stderr, file, tcp, fd",
        "",
    ),
    (
        "process.p.history = \"log\"\n",
        "2:21: history: this is a text; expected a table with keys such as fd",
        "",
    ),
    ("process.p.history = {}\n", "2:11: history: fd is missing; expected a line such as fd = 3", ""),
    (
        "process.p.history = { fd = 2 }\n",
        "2:28: fd: the number is too small or too large; expected a whole number from 3 to 255",
        "",
    ),
    (
        "process.p.history = { fd = -1 }\n",
        "2:28: fd: the number is too small or too large; expected a whole number from 3 to 255",
        "",
    ),
    (
        "process.p.history = { fd = 256 }\n",
        "2:28: fd: the number is too small or too large; expected a whole number from 3 to 255",
        "",
    ),
    (
        "[process.q]\nrun = \"x\"\nready = { fd = 4 }\nhistory = { fd = 4 }\n",
        "5:18: fd: ready has descriptor 4 already; expected another number from 3 to 255",
        "",
    ),
    (
        "process.p.output-limit = \"much\"\n",
        r#"2:26: output-limit: this is not understood; expected a number of bytes such as 4096 or "64K", or "none""#,
        "",
    ),
    (
        "process.p.output-limit = -1\n",
        r#"2:26: output-limit: "-1" is not understood; expected a number of bytes such as 4096 or "64K""#,
        "",
    ),
    ("process.p.after = \"q\"\n", r#"2:19: after: there is no program "q"; expected p"#, ""),
    (
        "process.p.after = \"p\"\n",
        "2:19: after: these programs wait for each other; expected an order without a circle",
        "",
    ),
    ("process.p.background = 1\n", "2:24: background: this is a whole number; expected true or false", ""),
    (
        "process.p.background = true\n",
        "1:1: all programs are in the background, so the run ends at once; expected a program without background = true",
        "",
    ),
    (
        "process.p.stop = \"BYE\"\n",
        r#"2:18: stop: there is no signal "BYE"; expected the name of a signal such as "TERM", "INT" or "HUP""#,
        "",
    ),
    (
        "process.p.stop = { grace = \"x\" }\n",
        r#"2:28: grace: "x" is not understood; expected a duration such as "250ms", "5s" or "2m", or seconds"#,
        "",
    ),
    (
        "process.p.cwd = \"{ring.jobs}\"\n",
        r#"2:17: cwd: there is no ring "jobs"; expected a table [ring.jobs]"#,
        "",
    ),
    ("process.p.cwd = \"{port.}\"\n", "2:17: cwd: the port has no name; expected {port.NAME}", ""),
    (
        "fault = { do = \"kill\" }\n",
        "2:1: fault: this is a table; expected a list of tables, each below a line [[fault]]",
        "",
    ),
];

#[test]
fn a_wrong_file_is_refused_with_its_place_and_the_expected_form() {
    refuses("", FILES);
}

#[test]
fn a_wrong_process_is_refused_with_its_place_and_the_expected_form() {
    refuses("process.p.run = \"true\"\n", PROCESSES);
}
