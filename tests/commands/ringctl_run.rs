//! `ringctl run`: real input through a ring between processes, verified.

use std::{
    fs,
    process::{Command, Stdio},
};

use crate::support::*;
use nix::sys::signal::Signal;

fn sources() -> Vec<String> {
    let files = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests")).unwrap();
    let files = files.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    files.map(|path| path.to_str().unwrap().to_string()).collect()
}

#[test]
fn numbered_lines_are_sent_and_verified_where_there_is_no_input() {
    let summary = Run::new(env!("CARGO_BIN_EXE_ringctl")).args(&["run", "--json"]).run().json();
    assert_eq!((&summary["schema"], &summary["verified"]), (&"ringpipe.run/1".into(), &true.into()));
    assert_eq!(
        (&summary["sent"]["items"], &summary["received"]["items"]),
        (&1_000_000.into(), &1_000_000.into())
    );
    assert_eq!(summary["sent"]["sum"], summary["received"]["sum"]);
    assert_eq!(summary["sent"]["processes"].as_array().unwrap().len(), 2);
}

#[test]
fn files_go_whole_to_producers_and_arrive_as_the_same_lines() {
    let files = sources();
    let arguments =
        ["run", "-p2", "-c3", "--output", "-"].into_iter().chain(files.iter().map(String::as_str));
    let ended = ringctl(&arguments.collect::<Vec<_>>()).succeeds();
    assert!(ended.stderr.contains("verified: every item was received exactly once"), "{}", ended.stderr);
    let text: Vec<String> = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let mut sent: Vec<&str> = text.iter().flat_map(|text| text.lines()).collect();
    let mut received: Vec<&str> = ended.text().lines().collect();
    sent.sort_unstable();
    received.sort_unstable();
    assert!(sent == received);
}

#[test]
fn one_producer_and_one_consumer_keep_the_order() {
    let input: String = (0..50_000).map(|n| format!("{}\n", n % 7)).collect();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringctl"));
    command.args(["run", "-p1", "-c1", "--output=-"]);
    let ended = run_with(command, input.as_bytes()).succeeds();
    assert!(ended.text() == input);
    assert!(ended.stderr.contains("each producer's items in order"), "{}", ended.stderr);
}

#[test]
fn several_producers_share_one_input_and_one_consumer_shows_their_order() {
    let input: String = (0..100_000).map(|n| format!("line {n}\n")).collect();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringctl"));
    command.args(["run", "-p", "3", "-c", "1", "--json"]);
    let summary = run_with(command, input.as_bytes()).json();
    assert_eq!((&summary["verified"], &summary["order"]), (&true.into(), &"kept".into()));
    let shares = summary["sent"]["processes"].as_array().unwrap();
    let items: Vec<u64> = shares.iter().map(|share| share["items"].as_u64().unwrap()).collect();
    assert_eq!((items.len(), items.iter().sum::<u64>()), (3, 100_000));
}

#[test]
fn every_framing_passes_through_a_run() {
    for (option, input) in [
        ("--null", &b"a\0\nb\0\0last"[..]),
        ("--delimiter=,", b"a,b\n,,"),
        ("--frame=len32", b"\0\0\0\x02\n\0\0\0\0\0\0\0\0\x01x"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringctl"));
        command.args(["run", option, "--json"]);
        let summary = run_with(command, input).json();
        assert_eq!(summary["verified"], true, "{option}");
        assert_eq!(summary["sent"]["items"], if option == "--null" { 4 } else { 3 }, "{option}");
    }
}

#[test]
fn an_empty_input_verifies_nothing_and_is_not_called_verified() {
    let ended = ringctl(&["run", "--json"]).with_code(3);
    let summary: serde_json::Value = serde_json::from_str(ended.text()).unwrap();
    assert_eq!((&summary["verified"], &summary["sent"]["items"]), (&false.into(), &0.into()));
    for arguments in [&["run"][..], &["run", "--lines", "0", "-c1"], &["run", "/dev/null"]] {
        let ended = ringctl(arguments).with_code(3);
        assert!(ended.text().ends_with("nothing verified\n"), "{ended:?}");
        assert_eq!(ended.complaint(), "ringctl: nothing was verified: the input had no items");
        assert_eq!(ended.stderr.lines().count(), 2, "{ended:?}");
    }
}

#[test]
fn an_unreadable_or_too_long_input_is_reported_and_nothing_is_left() {
    let missing = ringctl(&["run", "/no/such/file"]).with_code(1);
    assert_eq!(missing.complaint(), "ringctl: /no/such/file: No such file or directory");
    let directory = ringctl(&["run", "/"]).with_code(1);
    assert_eq!(directory.complaint(), "ringctl: /: is a directory");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringctl"));
    command.args(["run", "--capacity", "16"]);
    let long = run_with(command, &[b'x'; 10_000]).with_code(1);
    assert!(long.stderr.contains("standard input: ") && long.stderr.contains("--slot-size"), "{long:?}");
    assert_eq!(long.stderr.lines().count(), 2, "the same twice: {long:?}");
}

#[test]
fn a_full_disk_fails_the_run_and_is_said() {
    let ended = ringctl(&["run", "--lines", "1000", "--output", "/dev/full"]).with_code(1);
    assert!(ended.stderr.contains("No space left"), "{ended:?}");
}

#[test]
fn ringctl_alone_can_run_producers_and_consumers() {
    let directory = tempfile::tempdir().unwrap();
    let alone = directory.path().join("ringctl");
    copy_program(env!("CARGO_BIN_EXE_ringctl"), &alone);
    let mut command = Command::new(alone);
    command.args(["run", "--lines", "10000", "--json"]);
    assert_eq!(run_with(command, b"").json()["verified"], true);
}

#[test]
fn a_consumer_that_loses_an_item_is_detected() {
    // Stand-ins beside a copy of ringctl: the consumer swallows a line.
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    copy_program(env!("CARGO_BIN_EXE_ringctl"), path("ringctl"));
    let stand_in = |name: &str, script: &str| write_script(path(name), script);
    let real = env!("CARGO_BIN_EXE_consumer");
    for (filter, complaint) in [
        ("sed 77d", "not verified: 1 item missing"),
        ("sed 77p", "not verified: 1 item more than were sent"),
        ("sed s/^77$/78/", "not verified: other items were received than sent"),
        ("tac", "not verified: a producer's items came in another order"),
    ] {
        stand_in("consumer", &format!("#!/bin/bash\nset -o pipefail\n{real} \"$@\" | {filter}\n"));
        let mut command = Command::new(path("ringctl"));
        command.args(["run", "-p1", "-c1", "--lines", "1000"]);
        let ended = run_with(command, b"").with_code(10);
        assert_eq!(ended.complaint(), format!("ringctl: {complaint}"), "{ended:?}");
    }
    stand_in("consumer", "#!/bin/sh\nexit 3\n");
    let mut command = Command::new(path("ringctl"));
    command.args(["run", "-c1", "--lines", "100000"]);
    let ended = run_with(command, b"").with_code(10);
    assert!(ended.stderr.contains("ended by exit status 3"), "{ended:?}");
}

#[test]
fn an_interrupted_run_ends_by_its_signal_and_leaves_nothing() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringctl"));
    command.args(["run", "-p2", "-c2"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut process = Kept::start(&mut command);
    let pid = process.0.id();
    wait_until("the run has its ring", || rings_of("run", pid).len() == 1);
    process.signal(Signal::SIGINT);
    assert_eq!(process.wait(), None);
    assert_eq!(rings_of("run", pid).len(), 0);
}

#[test]
fn a_killed_run_leaves_no_process_behind() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringctl"));
    let mut run = command.args(["run", "-p", "2", "-c", "2"]).stdin(Stdio::piped()).stdout(Stdio::null());
    run = run.stderr(Stdio::null());
    let mut run = Kept::start(run);
    let pid = run.0.id();
    wait_until("the run has its workers", || children_of(pid).len() == 4);
    let children = children_of(pid);
    run.kill();
    wait_until("the workers have ended", || !children.iter().any(|child| is_running(*child)));
    // The ring has no participant any more: `ringctl clean --yes` would remove it.
    for name in rings_of("run", pid) {
        ringctl(&["rm", &name]).succeeds();
    }
}
