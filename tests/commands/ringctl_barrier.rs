//! `ringctl barrier`, between real processes.

use std::process::{Command, Stdio};

use crate::support::*;
use nix::sys::signal::Signal;

fn barrier(name: &str, arguments: &[&str]) -> Ended {
    ringctl(&[&["barrier", name], arguments].concat())
}

/// A `ringctl barrier NAME NUMBER`.
fn comes(name: &TestName, number: &str) -> Kept {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringctl"));
    command.args(["barrier", name, number]).stdin(Stdio::null()).stderr(Stdio::piped());
    Kept::start(&mut command)
}

/// How many live processes wait there.
fn waiting(name: &TestName) -> u32 {
    ringpipe::sync::Barrier::open(name).map_or(0, |barrier| barrier.waiting())
}

/// The same, once it has come.
fn waits(name: &TestName, number: &str) -> Kept {
    let before = waiting(name);
    let process = comes(name, number);
    wait_until("one more waits", || waiting(name) == before + 1);
    process
}

#[test]
fn all_continue_when_the_last_has_come_and_leave_nothing() {
    let name = TestName::new("all");
    for _ in 0..3 {
        let mut others = [waits(&name, "3"), waits(&name, "3")];
        barrier(&name, &["3"]).succeeds().quiet();
        assert_eq!(others.each_mut().map(Kept::wait), [Some(0); 2]);
        assert!(!name.exists());
    }
    barrier(&name, &["1"]).succeeds();
}

#[test]
fn loops_in_several_shells_go_on_step_by_step() {
    let (name, dir) = (TestName::new("loops"), tempfile::tempdir().unwrap());
    let (script, log) = (dir.path().join("loop"), dir.path().join("log"));
    let program = env!("CARGO_BIN_EXE_ringctl");
    let text = format!(
        "#!/bin/sh\nfor step in 1 2 3 4 5; do echo $step >> {log:?}; {program} barrier {} 3 || exit; done\n",
        name.name
    );
    write_script(&script, &text);
    let shells = [(); 3].map(|()| Run::new(script.to_str().unwrap()).spawn());
    shells.into_iter().for_each(|shell| drop(shell.end().succeeds()));
    // No shell begins a step before all have ended the one before.
    let steps = std::fs::read_to_string(&log).unwrap();
    assert_eq!(steps, "1\n1\n1\n2\n2\n2\n3\n3\n3\n4\n4\n4\n5\n5\n5\n");
    assert!(!name.exists());
}

#[test]
fn a_process_that_is_killed_or_gives_up_does_not_count() {
    let name = TestName::new("killed");
    let mut first = waits(&name, "3");
    let mut killed = waits(&name, "3");
    killed.kill();
    let late = barrier(&name, &["3", "--timeout", "100ms"]).with_code(4);
    let line = format!("ringctl: barrier {:?}: 2 of 3 processes have come, waited 100ms", name.name);
    assert_eq!(late.complaint(), line);
    let mut second = waits(&name, "3");
    assert_eq!(waiting(&name), 2);
    barrier(&name, &["3"]).succeeds();
    assert_eq!([first.wait(), second.wait()], [Some(0); 2]);
    assert!(!name.exists());
}

#[test]
fn a_signal_ends_the_wait_which_then_does_not_count() {
    use std::os::unix::process::ExitStatusExt;
    let name = TestName::new("signal");
    let mut first = waits(&name, "2");
    first.signal(Signal::SIGTERM);
    assert_eq!(first.ended().signal(), Some(Signal::SIGTERM as i32));
    assert!(!name.exists());
    barrier(&name, &["2", "--timeout", "50ms"]).with_code(4);
}

#[test]
fn another_number_is_a_usage_error_while_others_wait_and_counts_when_they_are_dead() {
    let name = TestName::new("number");
    let mut first = waits(&name, "2");
    let other = barrier(&name, &["3"]).with_code(2);
    let line = format!("ringctl: barrier {:?} is for 2 processes, not for 3", name.name);
    assert_eq!((other.complaint(), other.stderr.lines().count()), (line.as_str(), 1));
    first.kill();
    assert!(name.exists());
    barrier(&name, &["1"]).succeeds();
    assert!(!name.exists());
    for bad in ["0", "1025", "-1", "x", ""] {
        barrier(&name, &[bad]).with_code(2);
    }
    ringctl(&["barrier", &name]).with_code(2);
    ringctl(&["event", &name, "set"]).succeeds();
    let wrong = barrier(&name, &["2"]).with_code(6);
    assert!(wrong.complaint().contains("it is an event, expected a barrier"), "{wrong:?}");
    ringctl(&["event", &name, "rm"]).succeeds();
}

#[test]
fn fifty_processes_come_at_once_and_all_pass() {
    let name = TestName::new("fifty");
    let mut all: Vec<Kept> = (0..50).map(|_| comes(&name, "50")).collect();
    assert!(all.iter_mut().all(|process| process.wait() == Some(0)));
    // In groups of five, in any order.
    let mut all: Vec<Kept> = (0..50).map(|_| comes(&name, "5")).collect();
    assert!(all.iter_mut().all(|process| process.wait() == Some(0)));
    assert!(!name.exists());
}
