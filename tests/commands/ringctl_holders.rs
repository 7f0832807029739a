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
    // A guard is known by its name, which it takes when it first runs.
    let runs = |holder: &Value| holder["runs"].as_array().unwrap().len();
    wait_until("the third item is held, and the guard has its name", || {
        let holder = &holders(&name)[0];
        holder["items"] == 3 && runs(holder) == 2
    });
    let holder = &holders(&name)[0];
    assert_eq!(holder["pid"], worker.pid());
    assert!(holder["oldest_for_ns"].as_u64().unwrap() > 0);

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

/// The numbers of a holder's items: all, with failures, running, waiting and delayed.
fn counts(holder: &Value) -> [Option<u64>; 5] {
    ["items", "items_failed", "items_running", "items_waiting", "items_delayed"]
        .map(|key| holder[key].as_u64())
}

/// Waits until the only holder has these numbers, and answers it.
fn wait_for_counts(name: &TestName, expected: [Option<u64>; 5]) -> Value {
    let mut found = Vec::new();
    wait_until(&format!("{expected:?}"), || {
        found = holders(name);
        found.iter().map(counts).eq([expected])
    });
    found.remove(0)
}

/// The row of the only holder, as words, and the whole text.
fn row(name: &TestName) -> (Vec<String>, String) {
    let text = ringctl(&["inspect", name]).succeeds().into_text();
    let row = text.lines().skip_while(|line| !line.trim_start().starts_with("HOLDER ")).nth(1).unwrap();
    (row.split_whitespace().map(String::from).collect(), text)
}

/// A command that fails for the item "bad", and otherwise does not end.
const BAD_FAILS: &str = "test \"$0\" != bad && exec sleep 100000";

#[test]
fn a_delayed_item_is_told_from_the_running_and_the_waiting() {
    let name = TestName::ring("holders-delayed", &[]);
    name.send_lines("bad\n2\n3\n");
    let options = ["--backoff", "1h", "--prefetch", "1", "--", "sh", "-c", BAD_FAILS, "{}"];
    let _worker = worker(&name, &options);
    let holder = wait_for_counts(&name, [Some(3), Some(1), Some(1), Some(1), Some(1)]);
    let run = &holder["runs"][0];
    assert_eq!(
        (&run["sequence"], &run["attempt"], &run["items"]),
        (&1.into(), &1.into(), &1.into()),
        "{run}"
    );
    assert_eq!(name.inspect()["items_held_failed"], 1);
    let (row, text) = row(&name);
    // Items, waiting, delayed and with failures; then for how long, and the item of the command.
    assert_eq!(
        (&row[3..7], row[8].ends_with(":1")),
        (&["3", "1", "1", "1"].map(String::from)[..], true),
        "{text}"
    );
    assert!(text.contains("3 runs held (1 item with failures);"), "{text}");
}

#[test]
fn an_item_that_is_tried_again_is_not_delayed_any_more() {
    let name = TestName::ring("holders-again", &[]);
    name.send_lines("bad\n");
    let script = "test $RING_ATTEMPT = 1 || exec sleep 100000; exit 1";
    let _worker = worker(&name, &["--backoff", "0s", "--", "sh", "-c", script]);
    let holder = wait_for_counts(&name, [Some(1), Some(1), Some(1), Some(0), Some(0)]);
    assert_eq!(holder["runs"][0]["attempt"], 2);
}

#[test]
fn what_cannot_be_known_is_not_said() {
    let cases: [(&str, &[&str], u64); 4] = [
        // Its environment names no item.
        ("coprocess", &["--coprocess", "--", "sh", "-c", "read x; echo retry no; exec sleep 100000"], 1),
        ("environment", &["--", "sh", "-c", "test $0 != bad && exec env -u RING_SEQ sleep 100000", "{}"], 1),
        // Finished items wait for earlier ones.
        ("order", &["--keep-order", "--", "sh", "-c", BAD_FAILS, "{}"], 1),
        // One of several items has failed before.
        ("batch", &["--max-items", "2", "--", "sh", "-c", "test $RING_ATTEMPT = 2 && exec sleep 100000"], 2),
    ];
    for (label, options, failed) in cases {
        let name = TestName::ring(&format!("holders-{label}"), &[]);
        name.send_lines("bad\n2\n");
        let backoff = if label == "batch" { "0s" } else { "1h" };
        // As in a command of another worker.
        let variables = ["RING_SEQ", "RING_PRODUCER", "RING_ATTEMPT", "RING_ITEMS"];
        let outer =
            variables.iter().fold(consumer(&name, &["--backoff", backoff]), |run, one| run.env(one, "1"));
        let _worker = outer.env("RING_NAME", &*name).args(options).spawn();
        let expected = [Some(2), Some(failed), None, None, None];
        wait_until(label, || {
            let runs = |holder: &Value| holder["runs"].to_string().contains("\"sleep 100000\"");
            holders(&name).iter().any(|holder| runs(holder) && counts(holder) == expected)
        });
        let names_item = !holders(&name)[0]["runs"][0]["sequence"].is_null();
        assert_eq!(names_item, matches!(label, "order" | "batch"), "{label}");
        let (row, text) = row(&name);
        assert_eq!(&row[3..7], ["2", "-", "-", &failed.to_string()], "{label}: {text}");
    }
}

#[test]
fn a_consumer_that_runs_no_commands_delays_nothing() {
    let name = TestName::ring("holders-failed", &[]);
    name.send_lines("bad\n");
    worker(&name, &["--retries", "0", "--", "false"]).end().with_code(123);
    let test = std::process::id().to_string();
    let holding = consumer(&name, &["--hold", "--hold-for", &test]).run().succeeds();
    wait_for_counts(&name, [Some(1), Some(1), None, None, None]);
    let token = holding.text().lines().next().unwrap().to_string();
    ringctl(&["done", &token]).succeeds();
}
