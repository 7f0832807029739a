//! `ringctl inspect` shows the consumers that hold items, and the commands that they run.

use std::fs;

use serde_json::Value;

use crate::support::{Running, TestName, consumer, consumer_that_holds, ringctl, wait_until};

fn holders(name: &TestName) -> Vec<Value> {
    name.inspect()["holders"].as_array().unwrap().clone()
}

/// The commands of a worker, once there are `number`.
fn runs(name: &TestName, number: usize) -> Vec<(u64, String)> {
    let mut found = Vec::new();
    let each = |one: &Value| (one["pid"].as_u64().unwrap(), one["command"].as_str().unwrap().to_string());
    wait_until("the commands run", || {
        let holders = holders(name);
        let runs = holders.iter().flat_map(|holder| holder["runs"].as_array().unwrap());
        found = runs.map(each).filter(|(_, command)| command.starts_with("sleep")).collect();
        found.len() == number
    });
    found
}

fn worker(name: &TestName, options: &[&str]) -> Running {
    consumer(name, options).spawn()
}

#[test]
fn the_commands_of_a_worker_are_shown_without_its_guard() {
    let name = TestName::ring("holders", &[]);
    name.send_lines("100001\n100002\n100003\n");
    let worker = worker(&name, &["-j", "2", "--prefetch", "1", "--", "sleep", "{}"]);
    let found = runs(&name, 2);
    let mut commands: Vec<&str> = found.iter().map(|(_, command)| command.as_str()).collect();
    commands.sort_unstable();
    assert_eq!(commands, ["sleep 100001", "sleep 100002"]);
    for (pid, _) in &found {
        assert_eq!(fs::read_to_string(format!("/proc/{pid}/comm")).unwrap(), "sleep\n");
    }
    wait_until("the third item is held", || holders(&name)[0]["items"] == 3);
    let holder = &holders(&name)[0];
    assert_eq!(holder["pid"], worker.pid());
    assert!(holder["oldest_for_ns"].as_u64().unwrap() > 0);
    assert_eq!(holder["runs"].as_array().unwrap().len(), 2, "{holder}");

    let text = ringctl(&["inspect", &name]).succeeds().into_text();
    let heading = text.lines().position(|line| line.trim_start().starts_with("HOLDER ")).unwrap();
    let rows: Vec<Vec<&str>> =
        text.lines().skip(heading + 1).map(|line| line.split_whitespace().collect()).collect();
    let pid = worker.pid().to_string();
    assert_eq!((rows[0][0], rows[0][2], rows[0][3]), ("participant", &*pid, "3"), "{text}");
    for (pid, command) in &found {
        let row = format!("{pid}  {command}");
        assert!(text.lines().any(|line| line.ends_with(&row)), "{row:?} in {text}");
    }
}

#[test]
fn a_command_line_cannot_control_the_terminal() {
    let name = TestName::ring("holders-odd", &[]);
    name.send_lines("1\u{1b}[2J\u{202e}\n");
    // After the first argument, sleep of busybox and of coreutils would complain; sh does not.
    let _worker = worker(&name, &["--", "sh", "-c", "sleep 100000", "{}"]);
    let mut text = String::new();
    wait_until("the command runs", || {
        text = ringctl(&["inspect", &name]).succeeds().into_text();
        text.contains("sh -c 'sleep 100000' $'1\\x1b[2J")
    });
    assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
}

#[test]
fn a_consumer_without_commands_runs_none() {
    let name = TestName::ring("holders-plain", &[]);
    assert!(holders(&name).is_empty());
    name.send_lines(&format!("{}\n", "x".repeat(100_000)));
    let consumer = consumer_that_holds(&name);
    let holders = holders(&name);
    assert_eq!((holders.len(), &holders[0]["pid"]), (1, &consumer.0.id().into()));
    assert_eq!((&holders[0]["items"], &holders[0]["runs"]), (&1.into(), &Value::Array(Vec::new())));
}
