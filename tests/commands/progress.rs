//! `--progress`, and what `ringctl run` says while it goes on: true figures, also while nothing moves.

use std::io::Write;

use crate::support::terminal::Terminal;
use crate::support::*;
use ringpipe::{RingOptions, Role};

fn ringctl(arguments: &[&str]) -> Run {
    Run::new(env!("CARGO_BIN_EXE_ringctl")).args(arguments)
}

#[test]
fn progress_lines_continue_while_the_input_is_idle_and_the_rate_falls_to_zero() {
    let ring = TestName::made("idle", &RingOptions::new().capacity(64));
    let mut running = producer(&ring, &["--progress"]).open_input().spawn();
    running.stdin.as_mut().unwrap().write_all(b"one\ntwo\n").unwrap();
    running.wait_for_stderr(": 2 items, 6 B, ");
    running.wait_for_stderr(" B/s, 1s, ring 3%, no consumer\n");
    // No more input: the time goes on, and there is no rate any more.
    running.wait_for_stderr(": 2 items, 6 B, 0 B/s, ");
    running.close_input();
    let ended = running.end().with_code(0);
    let last = ended.stderr.lines().last().unwrap();
    assert!(last.contains(": 2 items, 6 B in ") && last.ends_with("/s"), "{last}");
}

#[test]
fn the_slow_side_is_named() {
    let ring = TestName::made("slow", &RingOptions::new().capacity(64));
    let producing = producer(&ring, &["--progress"]).input(seq(100_000)).spawn();
    producing.wait_for_stderr("ring 100%, no consumer");
    let _slow = consumer(&ring, &["--rate", "5/s"]).spawn();
    producing.wait_for_stderr("%, consumers slow");
    drop(producing);

    let ring = TestName::made("fast", &RingOptions::new().capacity(64));
    let consuming = consumer(&ring, &["--progress"]).spawn();
    consuming.wait_for_stderr("ring 0%, no producer");
    let _idle = producer(&ring, &[]).open_input().spawn();
    ring.wait_for(Role::Producer, ringpipe::Activity::Busy);
    consuming.wait_for_stderr("ring 0%, producers slow");
}

#[test]
fn on_a_terminal_a_bar_shows_how_far_a_file_is_and_fits_into_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let input = file(&dir, "input", &noise(4 << 20));
    let terminal = Terminal::new(80);
    let ring = TestName::new("bar");
    // 16 pieces of 128 KiB a second, 32 in all.
    let running = producer(&ring, &["--raw", "--progress", "-v", "--rate", "16/s", &input])
        .stderr(terminal.side())
        .spawn();
    let receiving = consumer(&ring, &["--raw"]).uncollected().spawn();
    let receiving = std::thread::spawn(move || {
        let mut receiving = receiving;
        let _ = std::io::copy(&mut receiving.take_stdout(), &mut std::io::sink());
        receiving.end().with_code(0);
    });
    terminal.wait_for("s left, ring ");
    running.end().with_code(0);
    // The last process that leaves removes the ring.
    join_soon(receiving);
    terminal.wait_for(": 32 items, 4.00 MiB in ");
    let frames = terminal.frames();
    let bars: Vec<&String> = frames.iter().filter(|frame| frame.starts_with("sent ")).collect();
    assert!(bars.len() > 2, "{frames:?}");
    for bar in &bars {
        assert!(bar.chars().count() <= 80, "{} columns: {bar}", bar.chars().count());
        assert!(bar.contains("MiB/s [") || bar.contains("B/s ["), "{bar}");
    }
    assert!(bars.iter().any(|bar| bar.contains("=") && bar.contains("% ") | bar.contains("%, ")), "{bars:?}");
    let last = frames.iter().rfind(|frame| !frame.trim().is_empty()).unwrap();
    assert!(last.contains(": 32 items, 4.00 MiB in "), "{last}");
}

#[test]
fn progress_has_a_goal_for_a_file_or_a_count_and_none_for_a_pipe() {
    let dir = tempfile::tempdir().unwrap();
    let lines = file(&dir, "lines", seq(100).as_bytes());
    let ring = TestName::made("goal", &RingOptions::new().capacity(1024));
    let told = |args: &[&str], stdin: Option<&str>| {
        let mut run = producer(&ring, &[&["--progress", "--rate", "40/s"], args].concat());
        run = match stdin {
            Some(path) => run.stdin(std::fs::File::open(path).unwrap()),
            None => run.input(seq(100)),
        };
        run.run().with_code(0).stderr
    };
    let (redirected, counted, both) =
        (told(&[], Some(&lines)), told(&["-n", "80"], None), told(&["-n", "70", &lines], None));
    for text in [&redirected, &counted, &both] {
        let first = text.lines().next().unwrap();
        assert!(first.contains("%, ") && first.contains("s left"), "{text}");
    }
    let unknown = told(&[], None);
    assert!(!unknown.contains("left"), "{unknown}");
    consumer(&ring, &["--drain"]).run().with_code(0);
}

/// A ring with the items "1" to `last`, whose producer has left.
fn filled(label: &str, last: u32) -> TestName {
    let ring = TestName::made(label, &RingOptions::new().capacity(64));
    let items: Vec<String> = (1..=last).map(|n| n.to_string()).collect();
    ring.send(&items.iter().map(String::as_str).collect::<Vec<_>>());
    ring
}

/// A worker with four slots: item 1 fails for good, item 2 is delayed, 3 to 6 are done, and the others run until the
/// file "go" is there.
fn mixed(ring: &TestName, dir: &tempfile::TempDir) -> Run {
    let script =
        "case $0 in 1) exit 65;; 2) exit 1;; 3|4|5|6) ;; *) until test -e $D/go; do sleep 0.01; done;; esac";
    let options = ["--progress", "-j", "4", "--drop-failed", "--backoff", "1h"];
    consumer(ring, &options).args(&["--", "sh", "-c", script, "{}"]).env("D", dir.path())
}

#[test]
fn a_workers_lines_tell_what_runs_is_delayed_or_failed() {
    let (ring, dir) = (filled("worker", 12), tempfile::tempdir().unwrap());
    let running = mixed(&ring, &dir).spawn();
    // All producers have left: 12 items in all, of which five are settled.
    running.wait_for_stderr("41%, ");
    running.wait_for_stderr(", 1 failed, 4 running, 1 delayed, 1 retried, ring ");
    std::fs::write(dir.path().join("go"), "").unwrap();
    running.wait_for_stderr("91%, 1 failed, 1 delayed, 1 retried, ring ");
    running.signal(libc::SIGTERM);
    let ended = running.end().by_signal(libc::SIGTERM);
    let last = ended.stderr.lines().rfind(|line| line.contains(" items, ")).unwrap();
    assert!(last.contains(": 10 items, ") && last.ends_with("/s, 1 failed, 1 retried"), "{last}");
}

#[test]
fn a_worker_without_failures_says_nothing_of_them_at_the_end() {
    let ring = filled("clean", 3);
    let ended = consumer(&ring, &["--progress", "--", "true"]).run().with_code(0);
    let last = ended.stderr.lines().last().unwrap();
    assert!(last.contains(": 3 items, 3 B in ") && last.ends_with("/s"), "{last}");
}

#[test]
fn what_the_ring_holds_is_the_goal_with_drain_or_when_the_producers_have_left() {
    let ring = filled("goal-left", 60);
    let shown = |options: &[&str], text: &str| {
        let options = [&["--progress", "--rate", "2/s"], options].concat();
        let running = consumer(&ring, &options).args(&["--", "true"]).spawn();
        running.wait_for_stderr(text);
        running.signal(libc::SIGTERM);
        running.end().by_signal(libc::SIGTERM).stderr
    };
    shown(&[], "s left, ");
    // With a producer, more may come.
    let _idle = producer(&ring, &[]).open_input().spawn();
    ring.wait_for(Role::Producer, ringpipe::Activity::Busy);
    let text = shown(&[], "/s, 2s, ");
    assert!(!text.contains(" left"), "{text}");
    shown(&["--drain"], "s left, ");
}

#[test]
fn a_workers_bar_fits_into_any_terminal_and_keeps_what_matters() {
    for (columns, ends) in [
        (40, "s left, 1 failed"),
        (80, "s left, 1 failed, 4 running, 1 delayed, 1 retried"),
        (120, "s left, 1 failed, 4 running, 1 delayed, 1 retried, ring 10%, no producer"),
    ] {
        let (ring, dir) = (filled("narrow", 12), tempfile::tempdir().unwrap());
        let terminal = Terminal::new(columns);
        let running = mixed(&ring, &dir).stderr(terminal.side()).spawn();
        let is_it = |frame: &String| frame.starts_with("done 4 items, ") && frame.trim_end().ends_with(ends);
        let has_come = || terminal.frames().iter().any(is_it);
        wait_until(&format!("{ends:?}"), has_come);
        running.signal(libc::SIGKILL);
        running.end().by_signal(libc::SIGKILL);
        for frame in terminal.frames() {
            assert!(frame.chars().count() <= columns.into(), "{columns} columns: {frame:?}");
        }
    }
}

#[test]
fn a_note_does_not_run_into_the_bar() {
    let terminal = Terminal::new(80);
    let ring = TestName::made("note", &RingOptions::new().capacity(8));
    let running = producer(&ring, &["--progress", "-v"]).input(seq(100)).stderr(terminal.side()).spawn();
    terminal.wait_for("waiting for room");
    terminal.wait_for("no consumer");
    running.signal(libc::SIGINT);
    running.end().by_signal(libc::SIGINT);
    for frame in terminal.frames() {
        assert!(!frame.contains("consumerproducer") && !frame.contains("s, producer: "), "{frame}");
        let notes = ["producer: found", "producer: ring", "producer: interrupted"];
        assert!(
            frame.starts_with("sent ")
                || frame.trim().is_empty()
                || notes.iter().any(|note| frame.starts_with(note)),
            "{frame}"
        );
    }
}

#[test]
fn a_run_stops_saying_what_it_waited_for() {
    let mut running = ringctl(&["run"]).open_input().spawn();
    running.wait_for_stderr("ringctl: waiting for items from standard input (");
    running.stdin.as_mut().unwrap().write_all(b"one\n").unwrap();
    running.close_input();
    let ended = running.end().with_code(0);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert!(ended.text().contains("verified: every item was received exactly once"), "{}", ended.text());
    // One that has its items at once says nothing.
    ringctl(&["run", "--lines", "10"]).run().with_code(0).quiet();
    ringctl(&["run"]).input(seq(10)).run().with_code(0).quiet();
}

#[test]
fn a_long_run_shows_its_progress_on_a_terminal_alone() {
    let terminal = Terminal::new(80);
    let mut running = ringctl(&["run"]).open_input().stderr(terminal.side()).spawn();
    running.stdin.as_mut().unwrap().write_all(b"one\ntwo\n").unwrap();
    terminal.wait_for("received 2 items, 6 B, ");
    running.close_input();
    assert!(running.end().with_code(0).text().contains("received  2 items"));
}
