//! What the commands say besides their data: one form of error, colours, versions, sizes, times.

use std::time::{Duration, Instant};

use crate::support::terminal::Terminal;
use crate::support::*;
use ringpipe::RingOptions;

const PROGRAMS: [(&str, &str); 3] = [
    ("producer", env!("CARGO_BIN_EXE_producer")),
    ("consumer", env!("CARGO_BIN_EXE_consumer")),
    ("ringctl", env!("CARGO_BIN_EXE_ringctl")),
];

#[test]
fn a_usage_error_is_a_line_and_a_hint_as_any_other_error() {
    for (program, arguments, expected) in [
        (
            0,
            &["--rat", "5", "r"][..],
            "unexpected argument '--rat' found\nhint: a similar argument exists: '--rate'; ",
        ),
        (
            0,
            &[],
            "the following required arguments were not provided: <RING>\nhint: usage: producer <RING> [FILE]...; ",
        ),
        (
            0,
            &["r", "--on-full", "blok"],
            "invalid value 'blok' for '--on-full <POLICY>'; expected block, fail, ",
        ),
        (1, &["r", "--timeout", "1\n2"], "invalid value '1\\n2' for '--timeout <DURATION>': "),
        (2, &["peak"], "unrecognized subcommand 'peak'\nhint: a similar subcommand exists: 'peek'; "),
        (
            2,
            &["wait", "r"],
            "the following required arguments were not provided: --until <CONDITION>\nhint: usage: ",
        ),
    ] {
        let (name, path) = PROGRAMS[program];
        let ended = Run::new(path).args(arguments).run().with_code(2);
        assert!(ended.stderr.starts_with(&format!("{name}: {expected}")), "{}", ended.stderr);
        assert!(ended.stderr.ends_with(" --help tells more\n"), "{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 2, "{}", ended.stderr);
    }
    let ended = Run::new(PROGRAMS[2].1).args(&["wait", "r"]).run().with_code(2);
    assert!(ended.stderr.ends_with("; ringctl wait --help tells more\n"), "{}", ended.stderr);
    let long = "x".repeat(10_000);
    let ended = Run::new(PROGRAMS[0].1).args(&["r", "--rate", &long]).run().with_code(2);
    assert!(ended.stderr.len() < 400, "{}", ended.stderr);
}

/// What a command writes to standard error, by itself or on a terminal.
fn coloured(path: &str, arguments: &[&str], variables: &[(&str, &str)], on_terminal: bool) -> bool {
    let terminal = Terminal::new(80);
    let mut run = Run::new(path).without_environment().env("TERM", "xterm").args(arguments);
    for (name, value) in variables {
        run = run.env(name, value);
    }
    match on_terminal {
        true => {
            run.stderr(terminal.side()).run();
            terminal.wait_for("hint");
            terminal.text().contains("\u{1b}[")
        }
        false => run.run().stderr.contains("\u{1b}["),
    }
}

#[test]
fn colours_follow_the_option_then_the_environment_then_the_terminal() {
    for (program, path) in PROGRAMS {
        // A usage error, and one of the command's own.
        let missing = if program == "ringctl" { "rm" } else { "--no-create" };
        let own: &[&str] = match program {
            "consumer" => &["--no-wait", "messages-no-such-ring"],
            _ => &[missing, "messages-no-such-ring"],
        };
        for error in [&["--no-such-option"][..], own] {
            let with = |option: &'static str| [&[option], error].concat();
            let call = format!("{program} {error:?}");
            assert!(coloured(path, error, &[], true), "{call} on a terminal");
            assert!(!coloured(path, error, &[], false), "{call} to a pipe");
            assert!(!coloured(path, error, &[("NO_COLOR", "1")], true), "{call} with NO_COLOR");
            assert!(!coloured(path, error, &[("CLICOLOR", "0")], true), "{call} with CLICOLOR=0");
            assert!(!coloured(path, error, &[("TERM", "dumb")], true), "{call} on a dumb terminal");
            assert!(coloured(path, error, &[("CLICOLOR_FORCE", "1")], false), "{call}, forced");
            assert!(
                !coloured(path, &with("--color=never"), &[("CLICOLOR_FORCE", "1")], true),
                "{call}, never"
            );
            assert!(coloured(path, &with("--color=always"), &[("NO_COLOR", "1")], false), "{call}, always");
        }
        let help = |color| Run::new(path).args(&["--help", "--color", color]).run().with_code(0).stdout;
        assert!(help("always").contains(&0x1b) && !help("never").contains(&0x1b), "{program}");
    }
}

#[test]
fn a_version_is_short_or_tells_all_that_two_processes_must_agree_on() {
    for (program, path) in PROGRAMS {
        let version = env!("CARGO_PKG_VERSION");
        let short = Run::new(path).arg("-V").run().with_code(0).quiet();
        assert_eq!(short.text(), format!("{program} {version}\n"));
        let long = Run::new(path).arg("--version").run().with_code(0).quiet();
        let lines = long.lines();
        assert_eq!(lines[0], format!("{program} {version}"));
        assert!(lines[1].starts_with(&format!(
            "layout version {}; ",
            ringpipe::internal::layout::preamble::LAYOUT_VERSION
        )));
        assert!(lines[2].starts_with("C library: "), "{lines:?}");
        let tokio = if cfg!(feature = "tokio") { ", tokio" } else { "" };
        assert_eq!(lines[3..], [format!("features: cli{tokio}")]);
    }
}

#[test]
fn a_duration_without_a_unit_is_in_seconds() {
    let ring = TestName::new("seconds");
    for (given, shown, least) in [("0.3", "300ms", 300), ("1", "1s", 1000)] {
        let start = Instant::now();
        let ended = consumer(&ring, &["--timeout", given]).run().with_code(4);
        assert!(ended.stderr.contains(&format!("waited {shown}\n")), "{}", ended.stderr);
        assert!(start.elapsed() >= Duration::from_millis(least));
    }
}

#[test]
fn sizes_have_units_and_small_ones_are_exact() {
    let ring = TestName::new("sizes");
    let ended =
        producer(&ring, &["-v", "--slot-size", "64K", "--capacity", "4", "--item", "x"]).run().with_code(0);
    assert!(ended.stderr.contains("4 slots of 64 KiB"), "{}", ended.stderr);
    let item = vec![b'x'; 3 << 20];
    let ended = producer(&ring, &["--whole-file"]).input(item).run().with_code(1);
    assert!(ended.stderr.contains(" KiB") && ended.stderr.lines().count() == 2, "{}", ended.stderr);
    assert_eq!(consumer(&ring, &[]).run().with_code(0).text(), "x\n");
    // One that cannot be: more than there is.
    let ended = producer(&ring, &["--slot-size", "1G", "--capacity", "16777216"]).run();
    assert!(ended.stderr.contains(" PiB required, "), "{}", ended.stderr);
}

#[test]
fn the_first_line_of_the_help_is_true() {
    let help = Run::new(PROGRAMS[1].1).arg("-h").run().with_code(0);
    assert!(help.lines()[0].ends_with("each to one consumer"), "{:?}", help.lines()[0]);
}

#[test]
fn a_full_ring_is_reported_only_when_no_item_is_taken_for_seconds() {
    let options = RingOptions::new().capacity(8).slot_size(64);
    let (moves, stuck) = (TestName::made("moves", &options), TestName::made("stuck", &options));
    let calm = Terminal::new(80);
    let start = Instant::now();
    let _moving = producer(&moves, &[]).input(seq(1000)).stderr(calm.side()).spawn();
    let waiting = producer(&stuck, &[]).input(seq(20)).spawn();
    // Slower than the producer, which it makes wait: two slots a second.
    let _slow = consumer(&moves, &["--rate", "2/s"]).spawn();
    waiting.wait_for_stderr("is full (8/8): waiting for room (no live consumer");
    assert!(start.elapsed() >= Duration::from_secs(5), "said after {:?}", start.elapsed());
    assert_eq!(calm.text(), "");
    assert_eq!(consumer(&stuck, &[]).run().with_code(0).text(), seq(20));
    let told = waiting.end().with_code(0).stderr;
    assert_eq!(told.matches("waiting for room").count(), 1, "{told}");
}
