//! Errors of faults.

use super::{Row, refuses};

/// Rows below a process `p`, a ring `jobs` and `[[fault]]`: the text, the line, the hint.
const FAULTS: &[Row] = &[
    (
        "do = \"explode\"\non = \"p\"\nat = \"1s\"\n",
        r#"4:6: do: unknown value "explode"; expected "kill", "stop", "term", "signal", "restart", "full-disk", "fail", "memory""#,
        "",
    ),
    ("on = \"p\"\nat = \"1s\"\n", r#"3:1: fault: do is missing; expected a line such as do = "kill""#, ""),
    (
        "do = \"kill\"\nat = \"1s\"\n",
        r#"3:1: fault: on is missing; expected a line such as on = "worker""#,
        "",
    ),
    ("do = \"kill\"\non = \"p\"\n", "3:1: fault: a key is missing; expected one of at, every", ""),
    (
        "do = \"kill\"\non = \"p\"\nat = \"1s\"\nevery = \"syscall\"\n",
        "7:1: at and every exclude each other; expected one of at, every",
        "",
    ),
    ("do = \"kill\"\non = \"q\"\nat = \"1s\"\n", r#"5:6: on: there is no program "q"; expected p"#, ""),
    (
        "do = \"kill\"\non = \"p.2\"\nat = \"1s\"\n",
        r#"5:6: on: there is no instance "p.2"; expected p or p.1"#,
        "",
    ),
    (
        "do = \"kill\"\non = \"p.1\"\nwho = \"all\"\nat = \"1s\"\n",
        "6:1: who has no meaning beside an instance; expected on = NAME",
        "",
    ),
    (
        "do = \"kill\"\non = \"p\"\nwho = 2\nat = \"1s\"\n",
        r#"6:7: who: 2 instances of "p" do not exist; expected 1 to 1"#,
        "",
    ),
    (
        "do = \"kill\"\non = \"p\"\nwho = \"some\"\nat = \"1s\"\n",
        r#"6:7: who: unknown value "some"; expected "one", "all", or a whole number from 1 to 4096"#,
        "",
    ),
    (
        "do = \"kill\"\non = \"p\"\nat = \"later\"\n",
        r#"6:6: at: "later" is not understood; expected a duration such as "200ms", or a range of durations such as "100ms..2s""#,
        "",
    ),
    (
        "do = \"kill\"\non = \"p\"\nat = \"2s..1s\"\n",
        r#"6:6: at: "2s..1s" is not understood; expected a duration such as "200ms", or a range of durations such as "100ms..2s""#,
        "",
    ),
    (
        "do = \"kill\"\non = \"p\"\nat = true\n",
        r#"6:6: at: this is true or false; expected a duration such as "200ms", or a range of durations such as "100ms..2s", or a table with one of line, acknowledged, full, empty, held, syscall, instruction"#,
        "",
    ),
    (
        "do = \"kill\"\non = \"p\"\nat = \"1s\"\ncalls = [\"write\"]\n",
        r#"7:1: calls has no meaning here; expected calls beside do = "fail""#,
        "",
    ),
    (
        "do = \"kill\"\non = \"p\"\nat = \"1s\"\nerror = \"EIO\"\n",
        r#"7:1: error has no meaning here; expected error beside do = "fail""#,
        "",
    ),
    (
        "do = \"kill\"\non = \"p\"\nat = \"1s\"\nfor = \"1s\"\n",
        r#"7:1: for has no meaning here; expected for beside do = "stop" or do = "full-disk" or do = "fail" or do = "restart""#,
        "",
    ),
    (
        "do = \"kill\"\non = \"p\"\nat = \"1s\"\nsignal = \"HUP\"\n",
        r#"7:1: signal has no meaning here; expected signal beside do = "signal""#,
        "",
    ),
    (
        "do = \"kill\"\non = \"p\"\nat = \"1s\"\nlimit = 5\n",
        r#"7:1: limit has no meaning here; expected limit beside do = "memory""#,
        "",
    ),
    (
        "do = \"kill\"\non = \"p\"\nat = \"1s\"\npath = \"x\"\n",
        r#"7:1: path has no meaning here; expected path beside do = "full-disk" or do = "fail""#,
        "",
    ),
    (
        "do = \"kill\"\non = \"p\"\nat = \"1s\"\ntimes = 1\n",
        r#"7:1: times has no meaning here; expected times beside do = "fail""#,
        "",
    ),
    (
        "do = \"kill\"\non = \"p\"\nat = \"1s\"\nmax = 1\n",
        "7:1: max has no meaning here; expected every = ... beside it",
        "",
    ),
    (
        "do = \"kill\"\non = \"p\"\nat = \"1s\"\nwithin = \"1s\"\n",
        "7:1: within has no meaning here; expected every = ... beside it",
        "",
    ),
    (
        "do = \"kill\"\non = \"p\"\nat = \"1s\"\npause = \"1s\"\n",
        "7:1: pause has no meaning here; expected pause beside repeat",
        "",
    ),
    (
        "do = \"kill\"\non = \"p\"\nat = \"1s\"\nrepeat = 0\n",
        "7:10: repeat: the number is too small or too large; expected a whole number from 1 to 1000000",
        "",
    ),
    (
        "do = \"signal\"\non = \"p\"\nat = \"1s\"\n",
        r#"3:1: fault: signal is missing; expected a line such as signal = "HUP""#,
        "",
    ),
    (
        "do = \"signal\"\nsignal = \"BYE\"\non = \"p\"\nat = \"1s\"\n",
        r#"5:10: signal: there is no signal "BYE"; expected the name of a signal such as "TERM", "INT" or "HUP""#,
        "",
    ),
    (
        "do = \"memory\"\non = \"p\"\nat = \"1s\"\n",
        r#"3:1: fault: limit is missing; expected a line such as limit = "64M""#,
        "",
    ),
    (
        "do = \"memory\"\nlimit = \"x\"\non = \"p\"\nat = \"1s\"\n",
        r#"5:9: limit: "x" is not understood; expected a number of bytes such as 4096 or "64K""#,
        "",
    ),
    (
        "do = \"fail\"\ncalls = [\"write\"]\non = \"p\"\nat = \"1s\"\n",
        r#"3:1: fault: error is missing; expected a line such as error = "EIO""#,
        "",
    ),
    (
        "do = \"fail\"\nerror = \"EIO\"\non = \"p\"\nat = \"1s\"\n",
        r#"3:1: fault: calls is missing; expected a line such as calls = ["write"]"#,
        "",
    ),
    (
        "do = \"fail\"\nerror = \"EOI\"\ncalls = [\"write\"]\non = \"p\"\nat = \"1s\"\n",
        r#"5:9: error: there is no error "EOI"; expected the name of an error such as "EIO", "ENOSPC" or "EMFILE""#,
        "",
    ),
    (
        "do = \"fail\"\nerror = \"EIO\"\ncalls = [\"Write\"]\non = \"p\"\nat = \"1s\"\n",
        r#"6:10: calls: "Write" is not a name; expected the name of a system call such as "write" or "openat""#,
        "",
    ),
    (
        "do = \"fail\"\nerror = \"EIO\"\ncalls = []\non = \"p\"\nat = \"1s\"\n",
        "6:9: calls: the list is too short; expected at least 1 element",
        "",
    ),
    (
        "do = \"fail\"\nerror = \"EIO\"\ncalls = [\"write\"]\ntimes = 1\nfor = \"1s\"\non = \"p\"\nat = \"1s\"\n",
        "7:1: times and for exclude each other; expected one of times, for",
        "",
    ),
    (
        "do = \"fail\"\nerror = \"EIO\"\ncalls = [\"write\"]\non = \"p\"\nat = { syscall = 1, calls = [\"read\"] }\n",
        "8:21: the fault says already which calls fail; expected no other list: the failing calls are counted",
        "",
    ),
    (
        "do = \"fail\"\nerror = \"EIO\"\ncalls = [\"write\"]\non = \"p\"\nat = { instruction = 1 }\n",
        "8:1: an instruction does not fail as a system call does; expected syscall",
        "",
    ),
    (
        "do = \"fail\"\nerror = \"EIO\"\ncalls = [\"write\"]\non = \"p\"\nevery = { syscall = [\"read\"] }\n",
        "8:11: the fault says already which calls fail; expected no other list: the failing calls are counted",
        "",
    ),
    (
        "do = \"full-disk\"\non = \"p\"\nevery = \"instruction\"\n",
        "6:1: an instruction does not fail as a system call does; expected syscall",
        "",
    ),
    (
        "do = \"memory\"\nlimit = 5\non = \"p\"\nat = { syscall = 1 }\n",
        "7:1: memory is not limited at a point of the program; expected at = a time or an event of rings or lines",
        "",
    ),
    (
        "do = \"kill\"\non = \"p\"\nat = { of = \"p\", syscall = 1 }\n",
        "6:8: of has no meaning here; expected of beside line",
        "",
    ),
    (
        "do = \"kill\"\non = \"p\"\nat = { line = \"x\", of = \"q\" }\n",
        r#"6:25: of: there is no program "q"; expected p"#,
        "",
    ),
    (
        "do = \"kill\"\non = \"p\"\nat = { line = \"[\" }\n",
        r#"6:15: line: "[" is not understood: found unclosed character class; expected a regular expression"#,
        "",
    ),
    (
        "do = \"kill\"\non = \"p\"\nat = { full = \"job\" }\n",
        r#"6:15: full: there is no ring "job"; expected jobs"#,
        r#"did you mean "jobs"?"#,
    ),
    (
        "do = \"kill\"\non = \"p\"\nat = { acknowledged = 0 }\n",
        "6:23: acknowledged: the number is too small or too large; expected a whole number from 1 up",
        "",
    ),
    (
        "do = \"kill\"\non = \"p\"\nat = { full = \"jobs\", empty = \"jobs\" }\n",
        "6:23: full and empty exclude each other; expected one of line, acknowledged, full, empty, held, syscall, instruction",
        "",
    ),
    (
        "do = \"kill\"\non = \"p\"\nat = { held = \"jobs\", ring = \"jobs\" }\n",
        "6:23: ring has no meaning here; expected ring beside acknowledged",
        "",
    ),
    (
        "do = \"kill\"\non = \"p\"\nevery = \"sycall\"\n",
        r#"6:9: every: unknown value "sycall"; expected "syscall", "instruction", or a table with keys such as syscall"#,
        r#"did you mean "syscall"?"#,
    ),
    (
        "do = \"kill\"\non = \"p\"\nevery = \"syscall\"\nrepeat = 2\n",
        "7:1: repeat has no meaning here; expected no repeat beside every: each run strikes once",
        "",
    ),
    (
        "do = \"kill\"\non = \"p\"\nwho = \"all\"\nevery = \"syscall\"\n",
        r#"6:1: every strikes one instance; expected who = "one" or on = NAME.NUMBER"#,
        "",
    ),
    (
        "do = \"kill\"\non = \"p\"\nevery = \"syscall\"\nwithin = 0\n",
        r#"7:10: within: this is no time at all; expected a duration above 0 such as "5s""#,
        "",
    ),
    (
        "do = \"kill\"\non = \"p\"\nevery = \"syscall\"\n[[fault]]\ndo = \"term\"\non = \"p\"\nevery = \"syscall\"\n",
        "10:1: a second fault has every; expected every in one fault",
        "",
    ),
    (
        "do = \"kill\"\non = \"p\"\nat = \"1s\"\nmust-strike = \"no\"\n",
        "7:15: must-strike: this is a text; expected true or false",
        "",
    ),
];

#[test]
fn a_wrong_fault_is_refused_with_its_place_and_the_expected_form() {
    refuses("process.p.run = \"true\"\n[ring.jobs]\n[[fault]]\n", FAULTS);
}
