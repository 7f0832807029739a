//! One process on the buffer of the textbooks, and what the kernel says of it.

use std::fs;

use nix::libc::SYS_futex;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::super::stage::state;
use crate::Role;
use crate::sys::command::textbook::Object;
use crate::testing::{Ended, Follow, Process};

/// One of the processes.
pub struct Actor {
    pub role: Role,
    pub process: Process,
    /// What it says.
    pub lines: Follow,
    /// The item that it has taken and is not done with, or has made and not signalled.
    pub item: Option<u64>,
    pub ended: Option<Ended>,
    /// It was sent SIGKILL.
    pub is_killed: bool,
    pub doing: Doing,
    /// Where the buffer is in its memory.
    base: Option<u64>,
}

/// What a process does, as the kernel tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    Runs,
    /// It sleeps for a time, or on something else than an object of the buffer.
    Sleeps,
    /// It sleeps on this object.
    SleepsOn(Object),
    /// It sleeps, and the system does not say where.
    Unknown,
    Stopped,
    Dead,
}

impl Actor {
    pub fn new(role: Role, process: Process) -> Self {
        let lines = process.stdout().follow();
        Actor {
            role,
            process,
            lines,
            item: None,
            ended: None,
            is_killed: false,
            doing: Doing::Runs,
            base: None,
        }
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    pub fn named(&self) -> String {
        format!("{} {}", self.role, self.pid())
    }

    pub fn is_alive(&self) -> bool {
        self.doing != Doing::Dead
    }

    /// Whether it runs or is stopped, and is not about to end.
    pub fn is_running(&self) -> bool {
        self.ended.is_none() && !self.is_killed
    }

    /// Whether it sleeps on this object, or may do so.
    pub fn may_sleep_on(&self, object: Object) -> bool {
        self.doing == Doing::SleepsOn(object) || self.doing == Doing::Unknown
    }

    pub fn signal(&self, signal: Signal) {
        // The session reaps it in the end: until then, the id belongs to it.
        let _ = kill(Pid::from_raw(self.pid() as i32), signal);
    }

    /// Asks the kernel what the process does.
    pub fn observe(&mut self, buffer: &str) {
        let read = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", self.process.id())).ok();
        self.doing = match state(self.pid()) {
            _ if self.ended.is_some() => Doing::Dead,
            Some('T') => Doing::Stopped,
            Some('S') => {
                if self.base.is_none() {
                    self.base = read("maps").and_then(|maps| address(&maps, buffer));
                }
                match (self.base, read("syscall")) {
                    (Some(base), Some(call)) => {
                        let offset = futex(&call).and_then(|at| at.checked_sub(base));
                        offset.and_then(Object::at).map_or(Doing::Sleeps, Doing::SleepsOn)
                    }
                    _ => Doing::Unknown,
                }
            }
            _ => Doing::Runs,
        };
    }
}

/// The address at which a process has mapped a segment.
fn address(maps: &str, name: &str) -> Option<u64> {
    let line = maps.lines().find(|line| line.ends_with(&format!("/{name}")))?;
    u64::from_str_radix(line.split('-').next()?, 16).ok()
}

/// The address on which a process sleeps, from the number and the arguments of its system call.
fn futex(call: &str) -> Option<u64> {
    let mut words = call.split_whitespace();
    words.next().filter(|number| number.parse() == Ok(SYS_futex))?;
    u64::from_str_radix(words.next()?.trim_start_matches("0x"), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_on_which_a_process_sleeps_is_found_by_its_address() {
        let maps = "7f00a000-7f00b000 rw-s 00000000 00:19 7 /dev/shm/other\n\
                    7f00b000-7f00c000 rw-s 00000000 00:19 8 /dev/shm/book\n";
        assert_eq!(address(maps, "book"), Some(0x7f00_b000));
        assert_eq!(address(maps, "none"), None);
        assert_eq!(futex(&format!("{SYS_futex} 0x7f00b040 0x189 0x0 0x0")), Some(0x7f00_b040));
        for call in ["running", "-1 0x0 0x0", "", "0 0x7f00b040 0x189"] {
            assert_eq!(futex(call), None, "{call}");
        }
    }
}
