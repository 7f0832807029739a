//! What is counted, where a fault strikes, what it does, and the outcome.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use libc::c_long;
use nix::unistd::Pid;

use super::{files, names, request::Call, tracees::Run};

/// Where counting begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Begin {
    /// At the first instruction of the program that the process becomes next.
    #[default]
    Exec,
    /// At once.
    Now,
}

/// What is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unit {
    /// System calls, at their entry.
    Syscall(Calls),
    /// Instructions. A repetition of an instruction is one, and so is a system call. Each takes several microseconds.
    Instruction,
}

/// Which system calls count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Calls {
    /// All of them.
    All,
    /// The calls with these numbers: see [`named`](Self::named).
    Numbers(Vec<c_long>),
    /// Calls that need room on a disk: writes to regular files, and calls that make a file. Files in `/dev`, `/proc`
    /// and `/sys` are on no disk. Writes through a memory mapping are not calls.
    NeedRoom,
}

impl Calls {
    /// The system calls with these names, such as `write`. A name that only other processors have matches no call.
    ///
    /// # Errors
    /// The first name that no processor has.
    pub fn named<N: AsRef<str>>(names: &[N]) -> Result<Calls, UnknownCall> {
        let numbers = names.iter().map(|name| {
            let name = name.as_ref();
            names::number(name).ok_or_else(|| UnknownCall(name.to_string()))
        });
        Ok(Calls::Numbers(numbers.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect()))
    }

    /// The names that [`named`](Self::named) knows.
    pub fn names() -> impl Iterator<Item = &'static str> {
        names::names()
    }
}

/// A name that no system call has, on any processor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no system call {0:?}")]
pub struct UnknownCall(pub String);

/// What happens at the point. The call or instruction of the point has not been executed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strike {
    /// SIGKILL for the process that has reached the point.
    Kill,
    /// SIGKILL for the process that has reached the point, and for the process group of the process that was attached
    /// to, unless that is the caller's own group: no process of the group sees the death of another one.
    KillGroup,
    /// This signal for the process, before the call.
    Signal(i32),
    /// SIGSTOP for the process, before the call; and after this time SIGCONT.
    Stop {
        /// `None`: it stays stopped.
        resume_after: Option<Duration>,
    },
    /// The call is not made, and returns this error. Calls that never return are not counted.
    Fail {
        /// The number of the error, as `libc::ENOSPC`.
        errno: i32,
        /// How many of the calls that are counted fail.
        lasting: Lasting,
    },
}

/// How long calls fail. The call of the point always fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasting {
    /// Only the call of the point.
    Once,
    /// This number of calls.
    Times(u64),
    /// All calls in this time.
    For(Duration),
    /// All calls from then on.
    Always,
}

/// A point in the life of a process and its children, and what happens there.
///
/// The counts of a process with one thread repeat from run to run, as long as its input is the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Where counting begins.
    pub begin: Begin,
    /// What is counted.
    pub unit: Unit,
    /// The number of the point, from 1, and what happens there. `None`: the plan only counts.
    pub strike: Option<(u64, Strike)>,
    /// Only calls on files in this folder, or below it, count.
    pub below: Option<PathBuf>,
}

impl Plan {
    /// Counts from the first instruction of the program on, and does nothing.
    pub fn count(unit: Unit) -> Self {
        Plan { begin: Begin::Exec, unit, strike: None, below: None }
    }

    /// Strikes at the point with this number; the first is 1.
    pub fn at(self, number: u64, strike: Strike) -> Self {
        Plan { strike: Some((number, strike)), ..self }
    }

    /// Counts from the moment of attaching to a process that runs.
    pub fn from_now(self) -> Self {
        Plan { begin: Begin::Now, ..self }
    }

    /// Counts only calls on files in this folder, or below it.
    pub fn below(self, folder: impl Into<PathBuf>) -> Self {
        Plan { below: Some(folder.into()), ..self }
    }

    /// A full disk from now on: each call that needs room fails with ENOSPC.
    pub fn full_disk(lasting: Lasting) -> Self {
        let strike = Strike::Fail { errno: libc::ENOSPC, lasting };
        Plan::count(Unit::Syscall(Calls::NeedRoom)).at(1, strike).from_now()
    }

    /// How far threads run while points are counted.
    pub(super) fn run(&self) -> Run {
        match self.unit {
            Unit::Syscall(_) => Run::ToCall,
            Unit::Instruction => Run::Step,
        }
    }

    /// Whether a call is a point.
    pub(super) fn counts(&self, thread: Pid, call: &Call) -> bool {
        let Unit::Syscall(calls) = &self.unit else { return false };
        let is_one = match calls {
            Calls::All => true,
            Calls::Numbers(numbers) => numbers.contains(&call.number),
            Calls::NeedRoom => files::needs_room(thread, call),
        };
        let returns =
            ![libc::SYS_exit, libc::SYS_exit_group, libc::SYS_rt_sigreturn, libc::SYS_restart_syscall, -1]
                .contains(&call.number);
        let fails = matches!(self.strike, Some((_, Strike::Fail { .. })));
        is_one
            && (returns || !fails)
            && self.below.as_ref().is_none_or(|folder| files::is_below(thread, call, folder))
    }
}

/// The outcome of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Points that were reached until the fault struck, or until the end of the last traced process.
    pub count: u64,
    /// `None`: all traced processes ended before they reached the point, or the plan had none.
    pub struck: Option<Struck>,
}

/// Where a fault struck.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Struck {
    /// The number of the point.
    pub number: u64,
    /// The id of the process that reached it.
    pub process: u32,
    /// The id of the thread that reached it.
    pub thread: u32,
    /// The name of the system call.
    pub call: Option<String>,
    /// The place in the code: a mapped file and the offset in it, as `libc.so.6+0x1234`.
    pub place: Option<String>,
    /// When the fault struck.
    pub at: Instant,
}
