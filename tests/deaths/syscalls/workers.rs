//! A worker is killed before and after each system call of each of its threads, from its first look at the ring on: its
//! item comes again or was acknowledged, its command does not go on, and nothing is left in /dev/shm.
//!
//! The threads run in another order each time, so that the number of a call does not name it; all together, the numbers
//! reach all calls. The guard and the commands are processes of their own, and are not traced.

use std::collections::HashMap;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use ringpipe::{ErrorKind, RingOptions};

use crate::support::{TestName, is_running, report, times_slower, wait_until};
use crate::syscalls::victim::Moment;
use crate::syscalls::{in_full, not_tried, stride};

/// Seconds after which a worker ends itself by SIGALRM: it hangs.
const WATCHDOG: libc::c_uint = 20;
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
fn live(mut command: Command, moment: Option<Moment>) -> nix::Result<(bool, usize)> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: system calls without memory, which are allowed between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            libc::alarm(WATCHDOG * times_slower());
            Ok(ptrace::traceme()?)
        });
    }
    let child =
        command.spawn().map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))?;
    let main = Pid::from_raw(child.id() as i32);
    waitpid(main, None)?;
    let options = ptrace::Options::PTRACE_O_EXITKILL
        | ptrace::Options::PTRACE_O_TRACESYSGOOD
        | ptrace::Options::PTRACE_O_TRACECLONE;
    ptrace::setoptions(main, options)?;
    ptrace::syscall(main, None)?;
    // The number of the call in which a thread is.
    let mut within = HashMap::<Pid, usize>::new();
    let (mut calls, mut has_begun, mut is_killed) = (0, false, false);
    loop {
        // Threads of this tracer alone: other tests have children, too.
        let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        let (thread, signal) = match waitpid(None, Some(flags))? {
            WaitStatus::PtraceSyscall(thread) => {
                let Ok(info) = ptrace::syscall_info(thread) else { continue };
                let after = info.op != libc::PTRACE_SYSCALL_INFO_ENTRY;
                let call = match after {
                    true => within.remove(&thread),
                    false => {
                        // SAFETY: this is the part of the union that the operation names.
                        let (number, arguments) = unsafe { (info.u.entry.nr, info.u.entry.args) };
                        has_begun |=
                            number == libc::SYS_openat as u64 && is_in_shared_memory(thread, arguments[1]);
                        has_begun.then(|| {
                            calls += 1;
                            within.insert(thread, calls - 1);
                            calls - 1
                        })
                    }
                };
                if call.is_some_and(|call| moment == Some(Moment { call, after })) {
                    kill(main, Signal::SIGKILL)?;
                    is_killed = true;
                }
                (thread, None)
            }
            // A new thread begins with this signal, which nothing else sends here.
            WaitStatus::Stopped(thread, Signal::SIGSTOP) => (thread, None),
            WaitStatus::Stopped(thread, signal) => (thread, Some(signal)),
            WaitStatus::PtraceEvent(thread, ..) => (thread, None),
            WaitStatus::Exited(ended, code) if ended == main => {
                assert!(code == 0 || is_killed, "exit code {code}");
                return Ok((false, calls));
            }
            WaitStatus::Signaled(ended, by, _) if ended == main => {
                assert!(is_killed && by == Signal::SIGKILL, "ended by {by}");
                return Ok((true, calls));
            }
            _ => continue,
        };
        match ptrace::syscall(thread, signal) {
            // Its end has come in between, and is waited for.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => return Err(errno),
        }
    }
}

fn is_in_shared_memory(thread: Pid, path: u64) -> bool {
    // Unreadable is not it.
    ptrace::read(thread, path as *mut libc::c_void).unwrap_or(0).to_ne_bytes() == *b"/dev/shm"
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
fn try_one((option, items, script): (&str, u64, &str), moment: Option<Moment>) -> nix::Result<(bool, usize)> {
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
            Err(errno) => {
                return not_tried(&format!("ptrace is refused here ({errno}), by a container's filter?"));
            }
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
