//! A worker is killed before and after each system call of each of its threads, from its first look at the ring on: its
//! item comes again or was acknowledged, its command does not go on, and nothing is left in /dev/shm.
//!
//! The threads run in another order each time, so that the number of a call does not name it; all together, the numbers
//! reach all calls. The guard and the commands are processes of their own, and are not traced.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ringpipe::internal::sys::trace::tracees::{Next, Run, Scope, Tracees, Why};
use ringpipe::{ErrorKind, RingOptions};

use crate::support::{TestName, is_running, report, wait_until};
use crate::syscalls::victim::{self, Moment, is_about_shared_memory};
use crate::syscalls::{in_full, not_tried, stride};

/// Nothing takes a tenth of this.
const PATIENCE: Duration = Duration::from_secs(10);
/// A worker's option, its items, and its command: one that ends, one that is still there when its worker is killed late, and
/// a standing one, whose slot receives the second item itself.
const COURSES: [(&str, u64, &str); 3] = [
    ("-j1", 1, "sleep 1000 & echo done; exit 0"),
    ("-j1", 1, "sleep 1000 & sleep 0.02; echo done"),
    ("--coprocess", 3, "sleep 1000 & while read -r item; do echo ok; done"),
];

/// A life of `command`, which is killed at `moment`. Answers whether it was, and how many calls it had made.
fn live(mut command: Command, moment: Option<Moment>) -> io::Result<(bool, usize)> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut tracees = Tracees::new(Scope::Process, Run::ToCall);
    let mut child = tracees.start(victim::watched(command))?;
    // The number of the call in which a thread is.
    let mut within = HashMap::<Pid, usize>::new();
    let (mut calls, mut has_begun, mut is_killed) = (0, false, false);
    while let Next::Stop(stop) = tracees.next(None)? {
        let at = match stop.why {
            Why::Entry(call) => {
                has_begun |= call.number == libc::SYS_openat && is_about_shared_memory(stop.thread, &call);
                has_begun.then(|| {
                    calls += 1;
                    within.insert(stop.thread, calls - 1);
                    Moment { call: calls - 1, after: false }
                })
            }
            Why::Exit => within.remove(&stop.thread).map(|call| Moment { call, after: true }),
            _ => None,
        };
        if at.is_some() && at == moment {
            kill(stop.process, Signal::SIGKILL)?;
            is_killed = true;
        }
        tracees.resume(&stop)?;
    }
    let status = child.wait()?;
    match status.signal() {
        Some(libc::SIGKILL) if is_killed => Ok((true, calls)),
        _ => {
            assert!(status.success() || is_killed, "{status}");
            Ok((false, calls))
        }
    }
}

/// Processes of the worker of this ring, and of its commands, that run.
fn processes(ring: &str) -> Vec<String> {
    let contains = |path: String| {
        let bytes = fs::read(path).unwrap_or_default();
        bytes.split(|byte| *byte == 0).any(|word| word.ends_with(ring.as_bytes()))
    };
    let ids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    ids.filter(|id| id.parse().is_ok_and(is_running))
        .filter(|id| contains(format!("/proc/{id}/environ")) || contains(format!("/proc/{id}/cmdline")))
        .collect()
}

/// A worker, killed at `moment`, and all checks after it.
fn try_one((option, items, script): (&str, u64, &str), moment: Option<Moment>) -> io::Result<(bool, usize)> {
    let name = TestName::new("worker-calls");
    let ring = RingOptions::new().capacity(8).create(&name).unwrap();
    let mut producer = ring.producer().unwrap();
    (0..items).for_each(|_| producer.send(b"the item").unwrap());
    drop(producer);
    let mut command = Command::new(env!("CARGO_BIN_EXE_consumer"));
    command.args([&name.name, "-n", &items.to_string(), option, "--", "sh", "-c", script]);
    let (is_killed, calls) = live(command, moment)?;
    // A command that was about to start has copies of the descriptors which hold the item, until it sees that the worker
    // is dead.
    let mut consumer = ring.consumer().unwrap();
    let mut again = 0;
    loop {
        match consumer.recv_timeout(PATIENCE) {
            Ok(item) => {
                assert_eq!((&*item, item.failures()), (&b"the item"[..], 0), "{moment:?}");
                item.ack();
                again += 1;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Ended, "{moment:?}: {error}");
                break;
            }
        }
    }
    assert_eq!(ring.snapshot().unwrap().totals.acknowledged, items, "{moment:?}: each once, by one of them");
    assert!(is_killed || again == 0, "{moment:?}: {again} came again from a worker that had ended well");
    wait_until("the end of all processes of the worker", || processes(&name).is_empty());
    drop(consumer);
    assert!(ring.remove().unwrap(), "{moment:?}");
    Ok((is_killed, calls))
}

#[test]
fn a_worker_killed_at_any_system_call_leaves_its_item_or_has_acknowledged_it_and_no_process() {
    for course in COURSES {
        let calls = match try_one(course, None) {
            Ok((_, calls)) => calls,
            Err(error) => return not_tried(&format!("{error}; a container's filter?")),
        };
        assert!(calls > 50, "{calls}");
        let (mut tried, mut killed) = (0, 0);
        let all = (0..calls).flat_map(|call| [false, true].map(|after| Moment { call, after }));
        let moments = all.filter(|moment| in_full() || moment.after == (moment.call % 2 == 0));
        for moment in moments.step_by(if in_full() { 1 } else { 2 * stride() }) {
            let (is_killed, _) = try_one(course, Some(moment)).expect("tracing was allowed before");
            (tried, killed) = (tried + 1, killed + u32::from(is_killed));
        }
        if in_full() {
            report(&format!("worker, killed: {calls} calls, {tried} points, {killed} killed: {course:?}"));
        }
        // The order of the threads decides the number of calls.
        assert!(killed * 2 > tried, "{killed} of {tried}");
    }
}
