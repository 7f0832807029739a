//! Every option of every command, with what it cannot be given.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;

use clap::Arg;

use crate::inputs::commands::{Leaf, good_values, leaves, listed_values, spelled, value_name, with_value};
use crate::inputs::verdict::{is_orderly, is_usage_error};
use crate::support::TestName;
use crate::support::scale::{Share, is_ci};

/// Values that no option of this kind may take.
fn bad_values(arg: &Arg) -> Vec<OsString> {
    let long = "9".repeat(100_000);
    // Of everything that is a number, a size, a time or a name out of a list.
    let mut bad: Vec<&str> = vec![
        "",
        " ",
        "\t",
        "-",
        "--",
        "-1",
        "-0x1",
        "0x10",
        "1e400",
        "inf",
        "nan",
        "NaN",
        "null",
        "true",
        "①",
        "１２",
        "٣",
        "1\u{0301}",
        "🦀",
        "\u{202e}1",
        "1\n2",
        "\r",
        "%s%n",
        "$(id)",
        "../../etc/passwd",
        "5 parsecs",
        "1;2",
        "a=b",
        "==",
        "'1'",
        "\"1\"",
        "{}",
        "\\",
        "\u{1b}[31m",
    ];
    match value_name(arg).as_str() {
        _ if listed_values(arg).is_some() => bad.push("no-such-choice"),
        "COUNT" | "N" | "LINE" | "SLOTS" => {
            bad.extend(["1.5", "10k", "1K", "5s", "18446744073709551616", "-9223372036854775809", &long]);
        }
        "SIZE" | "BYTES" => bad.extend(["K", "1X", "1K5", "64KK", "-64", "5s", "99999999999999G", &long]),
        "DURATION" => {
            bad.extend(["s", "5 .", "-5", "1d1", "1S.5", "-1s", "1h-2m", "99999999999999999999s", "64K"])
        }
        "RATE" => bad.extend(["0", "0/s", "-1/s", "10/d", "10/", "/s", "5s", "1/s/s", &long]),
        "MODE" => bad.extend(["8", "1000", "4755", "u+rw", "rwx", "0o", "77777777777777777777"]),
        // Any one byte is right: a space, a tab and the others are.
        "BYTE" => {
            bad.retain(|text| text.len() != 1);
            bad.extend(["ab", "\\q", "\\x", "\\x1", "\\x123", "\\xzz", "é"]);
        }
        "CONDITION" => bad.extend([
            "full",
            "items",
            "items=",
            "items=1+",
            "items=-1",
            "producers",
            "producers=",
            "producers=-1",
            "consumers=1.5",
            "exists=1",
        ]),
        "SECONDS" => bad.extend(["0", "1s", "3601", "1e9"]),
        "COLUMNSxROWS" => {
            bad.extend(["80", "80x", "x24", "0x24", "80x0", "1001x24", "80x24x1", "+80x24", &long])
        }
        "FILE.svg" => bad.extend(["plot.png", "svg", "plot.svg/"]),
        "DISCIPLINE" => bad.extend(["adaptive;semaphore", "none", "ALL!"]),
        "JOB" => bad.extend(["[]", "{\"kind\":1}"]),
        "RING" | "NAME" | "FROM" | "TO" | "RING2" => {
            bad = vec!["", "/", "shm:", "shm:/", ".", "..", "/..", "a/b", "//a", "a/", "../a", "shm:shm:/a/"]
        }
        "SERVER" => {
            // For a place on the command line it ends the options.
            bad.retain(|text| *text != "--" || !arg.is_positional());
            bad.extend(["jobs", "nats://", "nats://h/jobs", "nats://h?replicas=3", "http://h:4222"]);
        }
        // A number is the user's that has it.
        "USER" => {
            bad.extend(["no-such-user", "-0", "+0", "4294967296", "root:", "root ", "0x0"]);
        }
        // Anything is a text, and anything but nothing may be the name of a file.
        "TEXT" | "FILE" | "SCENARIO" | "COMMAND" => bad.clear(),
        "TOKEN" => bad.extend([
            "0-1",
            "-00000000000000000000000000000001",
            "0-0000000000000000000000000000000G",
            "0",
        ]),
        "PID" => bad.extend(["0", "1.5", "2147483648", "self", &long]),
        "JOBS" => bad.extend(["0", "0%", "1.5", "5000", "%", "1%%", &long]),
        "FD" => bad.extend(["0", "2", "256", "3.0", &long]),
        "RETRIES" => bad.extend(["256", "1.5", &long]),
        "LOAD" => bad.extend(["0", "0%", "80%%", "."]),
        "FREE" => bad.extend(["K", "1X", "64KK", "-64", "5s", &long]),
        "CODES" => bad.extend(["3", "3=", "=dead", "256=dead", "3=done", "6-4=ack", "3=dead,"]),
        "MIN..MAX" => bad.extend(["2s..1s", "..", "1s..", "..1s", "-1s", "1d1", "64K"]),
        "WHEN" => bad.extend(["soon", "later,fail=1", "now,fail=0", "now,fail=101%", "now,done=5%"]),
        "FORM" => bad.extend(["xml", "tap=x", "junit", "junit="]),
        "DIR" => bad = vec![""],
        kind => panic!("no test knows values of the kind {kind}: see good_values and bad_values"),
    }
    let mut bad: Vec<OsString> = bad.into_iter().map(OsString::from).collect();
    if !matches!(value_name(arg).as_str(), "TEXT" | "FILE" | "SCENARIO" | "DIR" | "COMMAND") {
        bad.extend(
            [vec![0xff], vec![b'1', 0xff], vec![0xc3], vec![0xed, 0xa0, 0x80]].map(OsString::from_vec),
        );
        bad.push("x".repeat(100_000).into());
    }
    bad
}

/// Values of the right form that may be too much, or too little.
fn extreme_values(kind: &str) -> &'static [&'static str] {
    match kind {
        "COUNT" | "N" | "LINE" | "SLOTS" => {
            &["0", "1", "2147483647", "4294967295", "4294967296", "18446744073709551615"]
        }
        "SIZE" | "BYTES" => &["0", "1", "7", "1T", "15E", "16777215T", "18446744073709551615"],
        "DURATION" => &["0", "1ns", "584y", "300000000000y", "0ns..1ns", "0..584y", "584y..585y"],
        "RATE" => &["0.0000417/h", "1_000_000_000_000", "99999999999999999999999/s"],
        "MODE" => &["0", "777"],
        "BYTE" => &["\\0", "\\n", "\\xff"],
        "CONDITION" => &[
            "items=18446744073709551615",
            "producers=18446744073709551615",
            "consumers=18446744073709551615+",
        ],
        "DIR" => &["/dev/null/x", "/proc/x"],
        "FILE" | "SCENARIO" => &["", "/", ".", "/dev/full", "/proc/self/mem", "no/such/file"],
        "TEXT" => &["", "-", "--", "\n", "\u{1b}[31m"],
        "SECONDS" => &["0.001"],
        "COLUMNSxROWS" => &["1x1", "1x1000", "1000x1000"],
        "USER" => &["0", "4294967295"],
        "TOKEN" => &["4294967295-ffffffffffffffffffffffffffffffff"],
        "PID" => &["1", "2147483647"],
        "JOBS" => &["1", "4096", "1%"],
        "FD" => &["3", "255"],
        "RETRIES" => &["0", "255"],
        "CODES" => &["0=dead", "255=ack", "0-255=ack"],
        "MIN..MAX" => &["0", "0ns..1ns", "0..584y"],
        "WHEN" => &["now,done=18446744073709551615", "soon,fail=100%"],
        _ => &[],
    }
}

/// That takes its time as it should.
fn goes_on(leaf: &Leaf, arg: &Arg, value: &str) -> bool {
    let option = arg.get_id().as_str();
    matches!(
        (leaf.name().as_str(), option, value),
        ("ringctl run", "lines", _)
            | ("ringctl watch", "count", _)
            | ("ringctl sem post", "count", "2147483647")
            // It waits for a ring that does not exist.
            | ("ringctl bridge", _, _)
            // The item is tried again after some seconds.
            | ("consumer" | "ringctl consumer", "item_timeout", _)
    ) || option == "timeout" && value != "0" && value != "1ns"
}

fn call(leaf: &Leaf, arguments: &[OsString]) -> String {
    let shown = |text: &OsString| text.to_string_lossy().chars().take(60).collect::<String>();
    format!("{} {}", leaf.name(), arguments.iter().map(shown).collect::<Vec<_>>().join(" "))
}

fn joined(parts: &[&[OsString]]) -> Vec<OsString> {
    parts.concat()
}

#[test]
fn a_value_that_an_option_cannot_have_is_a_usage_error() {
    let ring = TestName::new("bad");
    let (mut tried, mut share) = (0, Share::new(19));
    for leaf in leaves() {
        for arg in leaf.valued() {
            for value in bad_values(arg).into_iter().filter(|_| share.takes()) {
                let mut arguments = leaf.required_but(Some(arg), &ring.name);
                if arg.is_positional() {
                    arguments.push("--".into());
                }
                arguments.push(with_value(arg, &value));
                let call = call(&leaf, &arguments);
                is_usage_error(&leaf.run(&arguments).run(), &call);
                assert!(!ring.exists(), "{call} made a ring");
                tried += 1;
            }
        }
    }
    assert!(tried > if is_ci() { 2000 } else { 80 }, "only {tried} were tried");
    println!("{tried} bad values");
}

#[test]
fn an_option_that_takes_no_value_and_gets_one_is_a_usage_error() {
    let (ring, mut share) = (TestName::new("flag"), Share::new(5));
    for leaf in leaves() {
        for flag in leaf.flags().filter(|flag| flag.get_long().is_some()) {
            for value in ["", "true", "1"].into_iter().filter(|_| share.takes()) {
                let mut option = spelled(flag);
                option.push(format!("={value}"));
                let arguments = joined(&[&leaf.required(&ring.name), &[option]]);
                is_usage_error(&leaf.run(&arguments).run(), &call(&leaf, &arguments));
            }
        }
    }
}

#[test]
fn an_option_without_its_value_is_a_usage_error() {
    let (ring, mut share) = (TestName::new("none"), Share::new(7));
    for leaf in leaves() {
        let needs_value = |arg: &&Arg| arg.get_num_args().is_none_or(|values| values.min_values() > 0);
        let args = leaf.valued().filter(|arg| !arg.is_positional()).filter(needs_value);
        for arg in args.filter(|_| share.takes()) {
            let arguments = joined(&[&leaf.required_but(Some(arg), &ring.name), &[spelled(arg)]]);
            is_usage_error(&leaf.run(&arguments).run(), &call(&leaf, &arguments));
        }
    }
}

#[test]
fn an_option_that_is_given_twice_is_a_usage_error_or_repeats() {
    let (ring, mut share) = (TestName::new("twice"), Share::new(7));
    for leaf in leaves() {
        let valued = leaf.valued().filter(|arg| !arg.is_positional()).map(|arg| (arg, good_argument(arg)));
        let flags = leaf.flags().map(|flag| (flag, spelled(flag)));
        for (arg, option) in valued.chain(flags).filter(|_| share.takes()) {
            let required = leaf.required_but(Some(arg), &ring.name);
            let bounds = leaf.bounds(std::slice::from_ref(&option));
            let arguments = joined(&[&required, &bounds, &[option.clone(), option]]);
            let call = call(&leaf, &arguments);
            let repeats = matches!(arg.get_action(), clap::ArgAction::Append)
                || arg.get_id() == "pin"
                || arg.get_id() == "no_pin";
            match repeats {
                true => is_orderly(&leaf.run(&arguments).run(), &call),
                false => is_usage_error(&leaf.run(&arguments).run(), &call),
            }
        }
    }
    let _ = std::fs::remove_file(ring.path());
}

/// An option with a value that is right.
fn good_argument(arg: &Arg) -> OsString {
    let value = listed_values(arg)
        .map_or_else(|| good_values(&value_name(arg))[0].into(), |values| values[0].clone());
    with_value(arg, OsStr::new(&value))
}

#[test]
fn options_that_exclude_each_other_are_a_usage_error_together() {
    let ring = TestName::new("both");
    let mut tried = 0;
    for leaf in leaves() {
        for arg in leaf.command.get_arguments() {
            for other in leaf.command.get_arg_conflicts_with(arg) {
                let option = |arg: &Arg| match arg.get_action().takes_values() {
                    true => good_argument(arg),
                    false => spelled(arg),
                };
                let arguments = joined(&[&leaf.required(&ring.name), &[option(arg), option(other)]]);
                is_usage_error(&leaf.run(&arguments).run(), &call(&leaf, &arguments));
                tried += 1;
            }
        }
    }
    assert!(tried > 30, "only {tried} pairs were tried");
}

#[test]
fn an_unknown_option_or_argument_is_a_usage_error() {
    let (ring, mut share) = (TestName::new("unknown"), Share::new(7));
    for leaf in leaves() {
        let unknown =
            ["--no-such-option", "--no-such-option=1", "-\u{fc}", "-@", "--=", "--=x", "---", "--Help"];
        for unknown in unknown.into_iter().filter(|_| share.takes()) {
            let arguments = joined(&[&leaf.required(&ring.name), &[unknown.into()]]);
            is_usage_error(&leaf.run(&arguments).run(), &call(&leaf, &arguments));
        }
        let not_utf8 = OsString::from_vec(b"--\xff".to_vec());
        let arguments = joined(&[&leaf.required(&ring.name), &[not_utf8]]);
        is_usage_error(&leaf.run(&arguments).run(), &call(&leaf, &arguments));
        if leaf.required(&ring.name).is_empty() {
            continue;
        }
        is_usage_error(&leaf.run(&[]).run(), &format!("{} without anything", leaf.name()));
    }
    for verbs in [&["frobnicate"][..], &["sem", "frobnicate"], &["sem"], &[""], &["--"], &["LIST"]] {
        let run = verbs
            .iter()
            .fold(crate::support::Run::new(crate::inputs::commands::path("ringctl")), |run, verb| {
                run.arg(verb)
            });
        is_usage_error(&run.run(), &format!("ringctl {verbs:?}"));
    }
}

#[test]
fn the_lowest_and_highest_values_of_options_end_in_a_documented_way() {
    let (mut tried, mut share) = (0, Share::new(11));
    for leaf in leaves() {
        for arg in leaf.valued().filter(|arg| listed_values(arg).is_none()) {
            let kind = value_name(arg);
            let values = extreme_values(&kind).iter().filter(|value| !goes_on(&leaf, arg, value));
            for value in values.filter(|_| share.takes()) {
                let ring = TestName::new("extreme").stays();
                let option = with_value(arg, OsStr::new(value));
                let bounds = leaf.bounds(std::slice::from_ref(&option));
                let arguments = joined(&[&leaf.required_but(Some(arg), &ring.name), &bounds, &[option]]);
                let call = call(&leaf, &arguments);
                // A consumer finds an item and a producer room, where that is not refused first.
                if leaf.name().ends_with("consumer") {
                    crate::support::producer(&ring, &["--item", "x"]).run().with_code(0);
                }
                let ended = leaf.run(&arguments).run();
                // What `sem create` made is asked for no more.
                let _ = std::fs::remove_file(format!("/dev/shm/sem.{}", ring.name));
                is_orderly(&ended, &call);
                let makes_rings =
                    matches!(leaf.name().as_str(), "producer" | "ringctl producer" | "ringctl create");
                if ended.code != Some(0) && makes_rings {
                    // What was sent before it failed waits for a consumer.
                    let has_items = ring.exists() && ring.ready() > 0;
                    assert!(has_items || !ring.exists(), "{call} failed and left a ring: {}", ended.stderr);
                }
                tried += 1;
            }
        }
    }
    println!("{tried} extreme values");
}

#[test]
fn every_command_has_a_help_of_its_own_and_a_version() {
    for leaf in leaves() {
        for option in ["--help", "-h"] {
            let ended = leaf.run(&[option.into()]).run();
            is_orderly(&ended, &format!("{} {option}", leaf.name()));
            assert!(ended.code == Some(0) && ended.stderr.is_empty(), "{} {option}", leaf.name());
            assert!(ended.text().contains("Usage: "), "{} {option}", leaf.name());
        }
    }
    for program in ["producer", "consumer", "ringctl"] {
        let ended =
            crate::support::Run::new(crate::inputs::commands::path(program)).arg("-V").run().with_code(0);
        assert_eq!(ended.text(), format!("{program} {}\n", env!("CARGO_PKG_VERSION")));
    }
}
