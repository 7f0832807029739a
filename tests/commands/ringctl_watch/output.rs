//! Pictures as text, JSON objects, and what becomes of the output.

use std::fs::{self, File};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::ringctl_watch::Watch;
use crate::support::*;

#[test]
fn json_has_an_object_per_observation() {
    let name = TestName::ring("watch-json", &["--capacity", "8"]);
    name.send_lines("text\n");
    let mut binary = Command::new(env!("CARGO_BIN_EXE_producer"));
    binary.args(["--no-create", &name.name]);
    run_with(binary, b"\xff\xfe\n").succeeds();
    let ended = ringctl(&["watch", &name.name, "--json", "-n", "3", "--interval", "1ms"]).succeeds();
    let looks = ended.json_lines();
    assert_eq!(looks.iter().map(|look| look["look"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
    for look in &looks {
        assert_eq!((&look["schema"], &look["state"]), (&"ringpipe.watch/1".into(), &"open".into()));
        assert_eq!((&look["states"]["ready"], &look["states"]["free"]), (&2.into(), &6.into()));
        let items = look["items"].as_array().unwrap();
        assert_eq!((&items[0]["slot"], &items[0]["state"]), (&0.into(), &"ready".into()));
        assert_eq!((&items[0]["text"], &items[1]["base64"]), (&"text".into(), &"//4=".into()));
        assert_eq!(look["semaphores"]["items"]["sleepers"], 0);
    }
    let told = |look: &Value| look["events"].as_array().unwrap().len();
    assert_eq!((told(&looks[0]), told(&looks[1])), (1, 0));
}

#[test]
fn once_shows_each_slot_of_a_small_ring_as_text() {
    let name = TestName::ring("watch-once", &["--capacity", "4"]);
    name.send_lines("first\nse\tcond\n");
    let shown = ringctl(&["watch", &name.name, "--once"]).succeeds().into_text();
    assert_eq!(shown.matches("READY").count(), 3, "two slots and the legend:\n{shown}");
    assert_eq!(shown.matches("FREE").count(), 3, "two slots and the legend:\n{shown}");
    for part in ["#0", "first", "#1", "se\\tcond", "no process is attached", "items", "room", "2 of 4 in use"]
    {
        assert!(shown.contains(part), "no {part} in\n{shown}");
    }
    assert!(!shown.contains('\x1b'), "{shown}");
    let coloured = ringctl(&["watch", &name.name, "--once", "--color", "always"]).succeeds().into_text();
    assert!(coloured.contains("\x1b["), "{coloured}");
}

#[test]
fn observing_changes_nothing() {
    let name = TestName::ring("watch-only", &["--capacity", "16"]);
    name.send_lines("a\nb\n");
    let before = fs::read(name.path()).unwrap();
    ringctl(&["watch", &name.name, "--events", "-n", "5", "--interval", "1ms"]).succeeds();
    ringctl(&["watch", &name.name, "--once"]).succeeds();
    assert!(before == fs::read(name.path()).unwrap(), "the segment's bytes have changed");
}

#[test]
fn a_missing_ring_is_not_found_or_waited_for() {
    let name = TestName::new("watch-missing").stays();
    let ended = ringctl(&["watch", &name.name]).with_code(3);
    assert_eq!(ended.complaint(), format!("ringctl: ring {:?} does not exist", name.name));
    assert!(ended.stderr.contains("hint: ") && ended.stderr.contains("--wait"), "{ended:?}");
    let mut watch = Watch::start(&name, &["--wait", "-n", "1"]);
    ringctl(&["create", &name.name]).succeeds();
    assert_eq!(watch.process.wait(), Some(0));
    wait_until("a line was printed", || watch.lines().len() == 1);
}

#[test]
fn bad_arguments_are_usage_errors() {
    for arguments in [
        &["--interval", "0"][..],
        &["--interval", "2h"],
        &["--interval", "5x"],
        &["--once", "--json"],
        &["--json", "--events"],
        &["--once", "-n", "2"],
        &["-n", "x"],
    ] {
        let ended = ringctl(&[&["watch", "x"], arguments].concat()).with_code(2);
        assert!(ended.text().is_empty() && !ended.stderr.is_empty(), "{arguments:?}: {ended:?}");
    }
}

#[test]
fn a_closed_output_is_a_clean_stop_and_a_full_one_is_not() {
    let name = TestName::ring("watch-output", &["--capacity", "4"]);
    let mut watch = Command::new(env!("CARGO_BIN_EXE_ringctl"));
    watch.args(["watch", &name.name, "--interval", "1ms"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut watch = Kept::start(&mut watch);
    // Nothing more happens in the ring: that the reader has left is noticed without a write.
    drop(watch.0.stdout.take());
    assert_eq!(watch.wait(), Some(0));
    let mut full = Command::new(env!("CARGO_BIN_EXE_ringctl"));
    full.args(["watch", &name.name, "--events"]).stdout(File::create("/dev/full").unwrap());
    let mut full = Kept::start(full.stderr(Stdio::piped()));
    assert_eq!(full.wait(), Some(1));
}
