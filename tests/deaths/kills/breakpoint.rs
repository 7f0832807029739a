//! A victim that runs at full speed to an instruction, in place of single steps.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

use crate::registers;
use crate::support::times_slower;

/// The victim is not where it was to be: its course is another this time.
#[derive(Debug)]
pub struct Astray;

impl From<Errno> for Astray {
    fn from(_: Errno) -> Self {
        Astray
    }
}

/// A victim that does not come to a breakpoint in this time has gone another way, and waits.
const PATIENCE: Duration = Duration::from_secs(1);

/// Lets a stopped `victim` run until it is before the instruction at `address` for the `hits`-th time. The
/// breakpoint is in the victim's own copy of a page of code; when this returns it is there no longer.
///
/// A victim that stands before that instruction already counts as one that has come to it. Each time but the last,
/// the instruction is run by one step, as in a course of steps alone: of a `rep` instruction each repetition counts.
pub fn run_to(victim: Pid, address: u64, hits: u32) -> Result<(), Astray> {
    let place = address as ptrace::AddressType;
    let original = ptrace::read(victim, place)?;
    let mut bytes = original.to_ne_bytes();
    bytes[0] = registers::TRAP;
    let trap = libc::c_long::from_ne_bytes(bytes);
    for hit in 0..hits {
        if hit > 0 {
            step(victim)?;
        }
        ptrace::write(victim, place, trap)?;
        ptrace::cont(victim, None)?;
        await_trap(victim)?;
        ptrace::write(victim, place, original)?;
        // The trap is of one byte.
        if registers::pc(victim)? != address + 1 {
            return Err(Astray);
        }
        registers::set_pc(victim, address)?;
    }
    Ok(())
}

/// One instruction.
pub fn step(victim: Pid) -> Result<(), Astray> {
    ptrace::step(victim, None)?;
    await_trap(victim)
}

/// Leaves a victim that has ended to be reaped by its owner.
fn await_trap(victim: Pid) -> Result<(), Astray> {
    let flags = WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT | WaitPidFlag::WSTOPPED | WaitPidFlag::WEXITED;
    let begin = Instant::now();
    loop {
        match waitid(Id::Pid(victim), flags)? {
            WaitStatus::StillAlive if begin.elapsed() > PATIENCE * times_slower() => return Err(Astray),
            WaitStatus::StillAlive => std::thread::yield_now(),
            WaitStatus::PtraceEvent(..) | WaitStatus::Stopped(..) => break,
            _ => return Err(Astray),
        }
    }
    match waitpid(victim, None)? {
        WaitStatus::Stopped(_, Signal::SIGTRAP) => Ok(()),
        _ => Err(Astray),
    }
}
