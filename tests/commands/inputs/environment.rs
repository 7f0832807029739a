//! What the commands read from their environment, with values that make no sense.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use ringpipe::RingOptions;

use crate::inputs::commands::path;
use crate::inputs::verdict::{is_orderly, without_colours};
use crate::support::scale::Share;
use crate::support::{Ended, Run, TestName, producer};

/// Read by the commands themselves, and by the libraries that draw, colour, and read files for them.
const VARIABLES: [&str; 23] = [
    "NO_COLOR",
    "TERM",
    "COLUMNS",
    "LINES",
    "LC_ALL",
    "LC_CTYPE",
    "LANG",
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "COLORTERM",
    "FORCE_COLOR",
    "RUST_BACKTRACE",
    "RUST_LIB_BACKTRACE",
    "RUST_LOG",
    "RUST_MIN_STACK",
    "TMPDIR",
    "HOME",
    "PATH",
    "TZ",
    "CI",
    "RINGPIPE",
    "NATS_CONTEXT",
    "XDG_CONFIG_HOME",
];

fn bad_values() -> Vec<OsString> {
    let mut values: Vec<OsString> = [
        "",
        "0",
        "1",
        "-1",
        "18446744073709551616",
        "abc",
        "🦀",
        "dumb",
        "xterm-256color",
        "a\nb",
        "=",
        "1x1",
    ]
    .into_iter()
    .map(OsString::from)
    .collect();
    values.push("x".repeat(100_000).into());
    values.push(OsString::from_vec(b"\xff\xfe".to_vec()));
    values
}

#[test]
fn every_variable_that_the_source_reads_is_tried_here() {
    fn names(folder: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                names(&path, found);
                continue;
            }
            let source = fs::read_to_string(&path).unwrap();
            for call in ["env::var(", "env::var_os(", "set("] {
                for (at, _) in source.match_indices(call) {
                    let argument = source[at + call.len()..].split(')').next().unwrap();
                    let quoted = argument.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
                    found.extend(quoted.map(String::from));
                }
            }
        }
    }
    let mut found = Vec::new();
    names(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli"), &mut found);
    let variables: Vec<_> =
        found.into_iter().filter(|name| name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')).collect();
    assert!(variables.iter().any(|name| name == "TERM"), "the source was not read");
    for name in variables {
        assert!(VARIABLES.contains(&name.as_str()), "{name} is read and not tried");
    }
}

/// What it wrote, but for times, which go on.
fn told(ended: &Ended) -> (Option<i32>, usize, String) {
    (ended.code, ended.stdout.split(|&b| b == b'\n').count(), without_colours(&ended.stderr))
}

#[test]
fn no_value_of_a_variable_changes_how_a_command_ends() {
    let ring = TestName::made("env", &RingOptions::new().capacity(8));
    ring.send(&["one", "two"]);
    let calls: [(&str, &[&str]); 9] = [
        ("ringctl", &["inspect"]),
        ("ringctl", &["watch", "--once"]),
        ("ringctl", &["peek"]),
        ("ringctl", &["watch", "--json", "-n", "1"]),
        ("ringctl", &["--color", "auto", "repair"]),
        ("ringctl", &["inspect", "--help"]),
        ("ringctl", &["peek", "-n", "x"]),
        ("producer", &["-n", "0", "--no-create", "--stats", "-q"]),
        ("consumer", &["--no-wait", "-n", "0"]),
    ];
    let mut share = Share::new(19);
    for (program, arguments) in calls {
        let run = || Run::new(path(program)).args(arguments).arg(&ring.name);
        let usual = run().run();
        for variable in VARIABLES {
            for value in bad_values().into_iter().filter(|_| share.takes()) {
                let call = format!(
                    "{variable}={} {program} {}",
                    value.to_string_lossy().chars().take(30).collect::<String>(),
                    arguments.join(" ")
                );
                let ended = run().env(variable, &value).run();
                is_orderly(&ended, &call);
                let layout = ["watch", "--help"].iter().any(|word| arguments.contains(word));
                // Statistics have times in them.
                if !layout && !arguments.contains(&"--stats") {
                    assert_eq!(told(&ended), told(&usual), "{call}");
                }
                assert_eq!(ended.code, usual.code, "{call}");
            }
        }
    }
}

#[test]
fn a_command_needs_no_environment_and_no_name_of_its_own() {
    let ring = TestName::new("bare");
    producer(&ring, &["--item", "x"]).without_environment().run().with_code(0).quiet();
    let ended =
        Run::new(path("ringctl")).args(&["inspect", &ring.name]).without_environment().run().with_code(0);
    assert!(ended.text().contains(&ring.name), "{}", ended.text());
    for program in ["producer", "consumer", "ringctl"] {
        let ended = Run::new(path(program)).called("").run().with_code(2);
        assert!(ended.stderr.to_lowercase().contains("usage: "), "{}", ended.stderr);
    }
    assert_eq!(crate::support::consumer(&ring, &[]).without_environment().run().with_code(0).text(), "x\n");
}
