//! `ringctl event`, between real processes.

use std::process::{Command, Stdio};

use crate::support::*;
use nix::sys::signal::Signal;

fn event(name: &str, arguments: &[&str]) -> Ended {
    ringctl(&[&["event", name], arguments].concat())
}

/// A `ringctl event NAME wait` that has the event open.
fn waits(name: &TestName) -> Kept {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringctl"));
    command.args(["event", name, "wait"]).stdin(Stdio::null()).stderr(Stdio::piped());
    let process = Kept::start(&mut command);
    let (maps, path) = (format!("/proc/{}/maps", process.pid()), name.path());
    wait_until("it has the event", || {
        std::fs::read_to_string(&maps).is_ok_and(|maps| maps.contains(path.to_str().unwrap()))
    });
    process
}

#[test]
fn either_side_comes_first_and_all_that_wait_continue() {
    let name = TestName::new("event").stays();
    let mut waiting = [(); 3].map(|()| waits(&name));
    event(&name, &["set"]).succeeds().quiet();
    assert_eq!(waiting.each_mut().map(Kept::wait), [Some(0); 3]);
    event(&name, &["wait"]).succeeds();
    event(&name, &["wait", "--no-wait"]).succeeds();
    event(&name, &["set"]).succeeds();
    event(&name, &["reset"]).succeeds().quiet();
    let late = event(&name, &["wait", "--timeout", "30ms"]).with_code(4);
    assert_eq!(late.complaint(), format!("ringctl: event {:?} is not set, waited 30ms", name.name));
    assert!(late.stderr.contains("\nhint: ringctl event"), "{late:?}");
    let none = event(&name, &["wait", "--no-wait"]).with_code(3);
    assert_eq!(none.complaint(), format!("ringctl: event {:?} is not set", name.name));
    event(&name, &["rm"]).succeeds();
    assert!(!name.exists());
}

#[test]
fn a_missing_event_is_made_by_all_but_a_look_and_a_removal() {
    let name = TestName::new("missing").stays();
    event(&name, &["wait", "--no-wait"]).with_code(3);
    let gone = event(&name, &["rm"]).with_code(3);
    assert_eq!(gone.complaint(), format!("ringctl: event {:?} does not exist", name.name));
    assert!(!name.exists());
    event(&name, &["reset", "--mode", "660"]).succeeds();
    let mode = std::fs::metadata(name.path()).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777, 0o660);
    event(&name, &["wait", "--no-wait"]).with_code(3);
    event(&name, &["rm"]).succeeds();
}

#[test]
fn bad_calls_and_other_objects_are_refused() {
    let name = TestName::new("bad").stays();
    for bad in [
        &["set", "--no-wait"][..],
        &["rm", "--timeout", "1s"],
        &["wait", "--no-wait", "--timeout", "1s"],
        &["take"],
        &[],
    ] {
        event(&name, bad).with_code(2);
    }
    assert!(!name.exists());
    let ring = TestName::ring("ring", &[]);
    for action in ["wait", "set", "reset", "rm"] {
        let refused = event(&ring, &[action]).with_code(6);
        assert!(refused.complaint().contains("expected an event"), "{refused:?}");
    }
    assert!(ring.exists());
}

#[test]
fn a_signal_ends_a_wait_and_the_death_of_one_delays_no_other() {
    use std::os::unix::process::ExitStatusExt;
    let name = TestName::new("signal").stays();
    let mut first = waits(&name);
    wait_until("TERM is caught", || {
        first.signal(Signal::SIGTERM);
        first.0.try_wait().unwrap().is_some()
    });
    assert_eq!(first.ended().signal(), Some(Signal::SIGTERM as i32));
    let mut waiting = [(); 3].map(|()| waits(&name));
    waiting[0].kill();
    waiting[1].signal(Signal::SIGSTOP);
    event(&name, &["set"]).succeeds();
    assert_eq!(waiting[2].wait(), Some(0));
    waiting[1].signal(Signal::SIGCONT);
    assert_eq!(waiting[1].wait(), Some(0));
    event(&name, &["rm"]).succeeds();
}
