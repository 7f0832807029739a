//! What others do between two steps of a consumer that has stopped there: nothing that is decided by both steps together
//! may come out wrong.

use std::cell::Cell;
use std::io::ErrorKind;

use nix::unistd::Pid;
use ringpipe::internal::sys::trace::files;
use ringpipe::{Ring, RingOptions};

use crate::support::TestName;
use crate::syscalls::not_tried;
use crate::syscalls::victim::{self, Call, Outcome, Plan};

/// Runs `consumer NAME ARGUMENTS` and stops it once where it `halts`, for what happens `meanwhile`. `None` where
/// processes may not be traced.
fn consumer(
    name: &str,
    arguments: &[&str],
    halts: fn(Pid, &Call) -> bool,
    meanwhile: impl FnMut(),
) -> Option<Outcome> {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_consumer"));
    // Its output is read when it has ended.
    command.arg(name).args(["--ack", "write"]).args(arguments);
    match victim::run(command, Plan { halt: Some(halts), ..Plan::default() }, meanwhile) {
        Ok(outcome) => Some(outcome),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            not_tried(&format!("{error}; a container's filter?"));
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// A ring to which a producer has come and gone, which sent these.
fn left(items: &[&str]) -> (TestName, Ring) {
    let name = TestName::new("meanwhile");
    let ring = RingOptions::new().capacity(8).create(&name).unwrap();
    let mut producer = ring.producer().unwrap();
    items.iter().for_each(|item| producer.send(item.as_bytes()).unwrap());
    (name, ring)
}

/// Whether this is the fence between a read of the stream state and one of the slots.
fn is_heavy_fence(_: Pid, call: &Call) -> bool {
    call.number == libc::SYS_membarrier && call.arguments[0] == libc::MEMBARRIER_CMD_GLOBAL_EXPEDITED as u64
}

#[test]
fn a_producer_that_attaches_while_a_consumer_checks_for_the_end_keeps_the_stream_open() {
    if !ringpipe::internal::sys::fence::register() {
        return not_tried("the system has no membarrier");
    }
    let (name, ring) = left(&[]);
    let producer = Cell::new(None);
    let come = || producer.set(Some(ring.producer().unwrap()));
    let Some(outcome) = consumer(&name, &["--timeout", "200ms"], is_heavy_fence, come) else { return };
    assert!(producer.take().is_some(), "it looked at the slots without a fence");
    assert_eq!(outcome.status.code(), Some(4), "it waited in vain: {outcome:?}");
    ring.remove().unwrap();
}

/// Whether this takes the lock of number 0.
fn is_lock_of_first_number(pid: Pid, call: &Call) -> bool {
    let takes = call.number == libc::SYS_fcntl && call.arguments[1] == libc::F_OFD_SETLK as u64;
    let start = call.arguments[2] + std::mem::offset_of!(libc::flock, l_start) as u64;
    takes && files::word(pid, start).is_ok_and(|start| start == 1 << 40)
}

#[test]
fn a_number_whose_holder_dies_during_an_attach_is_repaired_before_it_is_granted() {
    let (name, ring) = left(&["held"]);
    let come_and_die = || {
        let mut other = ring.consumer().unwrap();
        assert_eq!(ring.participants()[0].number, 0);
        // To other processes, a participant that leaves with a forgotten item is like a killed one.
        std::mem::forget(other.recv().unwrap());
    };
    let arguments = ["-n", "1", "--timeout", "5s"];
    let Some(outcome) = consumer(&name, &arguments, is_lock_of_first_number, come_and_die) else { return };
    assert_eq!((outcome.status.code(), outcome.stdout.as_str()), (Some(0), "held\n"), "{outcome:?}");
    assert_eq!(ring.snapshot().unwrap().totals.received, 2, "it was received by both");
    ring.remove().unwrap();
}
