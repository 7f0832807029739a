//! The thread that carries out a plan: counts points, strikes at one, and then lets the processes go.

use std::{collections::HashMap, io, os::fd::OwnedFd, sync::Arc, thread::sleep, time::Instant};

use nix::unistd::{Pid, getpgid, getpgrp};

use super::{
    Shared, files, names,
    plan::{Begin, Lasting, Outcome, Plan, Strike, Struck},
    registers,
    request::{self, Call, survived},
    tracees::{Next, Run, Scope, Stop, Tracees, Why},
};

/// What remains to be done where a thread leaves a skipped call.
#[derive(Debug, Clone, Copy)]
enum Pending {
    /// The call returns this error.
    Error(i32),
    /// The thread makes the call again, after the signal that it got before it.
    Repeat(Call),
}

/// Calls that fail after the point.
#[derive(Debug, Clone, Copy)]
enum Failing {
    Times(u64),
    Until(Instant),
    Always,
}

/// Carries out one plan.
#[derive(Debug)]
pub struct Follower {
    plan: Plan,
    shared: Arc<Shared>,
    tracees: Tracees,
    /// The process that was attached to.
    root: Pid,
    is_counting: bool,
    count: u64,
    struck: Option<Struck>,
    failing: Option<Failing>,
    pending: HashMap<Pid, Pending>,
    /// The plan is carried out, except for what is pending.
    is_done: bool,
    /// A stopped process, and when it continues.
    asleep: Option<(OwnedFd, Instant)>,
}

impl Follower {
    pub(super) fn new(mut plan: Plan, shared: Arc<Shared>) -> Self {
        // The paths of calls are compared with it.
        plan.below = plan.below.map(|folder| files::resolved(&folder));
        let is_counting = plan.begin == Begin::Now;
        Follower {
            tracees: Tracees::new(Scope::Tree, if is_counting { plan.run() } else { Run::On }),
            plan,
            shared,
            root: Pid::from_raw(0),
            is_counting,
            count: 0,
            struck: None,
            failing: None,
            pending: HashMap::new(),
            is_done: false,
            asleep: None,
        }
    }

    /// Traces this process from now on.
    pub(super) fn seize(&mut self, process: Pid) -> io::Result<()> {
        self.root = process;
        match self.plan.begin {
            // It stops at its next program.
            Begin::Exec => self.tracees.seize(process),
            // Only a stopped thread can be told to stop at its next call.
            Begin::Now => self.tracees.seize_tree(process),
        }
    }

    /// The outcome of the plan so far.
    pub(super) fn outcome(&self) -> Outcome {
        Outcome { count: self.count, struck: self.struck.clone() }
    }

    /// Runs until no process is traced, and no stopped process is still to be continued.
    pub(super) fn run(&mut self) -> io::Result<()> {
        loop {
            let until = self.asleep.as_ref().map(|(_, until)| *until);
            match self.tracees.next(until)? {
                Next::Stop(stop) => {
                    self.at(&stop)?;
                    self.pending.retain(|&thread, _| self.tracees.contains(thread));
                    if (self.is_done || self.shared.is_released()) && self.pending.is_empty() {
                        self.shared.publish(Ok(self.outcome()));
                        self.tracees.leave();
                    }
                    self.tracees.resume(&stop)?;
                }
                Next::Late => self.wake(),
                Next::Over => break,
            }
        }
        if let Some((_, until)) = &self.asleep {
            sleep(until.saturating_duration_since(Instant::now()));
            self.wake();
        }
        Ok(())
    }

    fn at(&mut self, stop: &Stop) -> io::Result<()> {
        match stop.why {
            Why::Exec if !self.is_counting && stop.process == self.root => {
                self.is_counting = true;
                self.tracees.run = self.plan.run();
                Ok(())
            }
            Why::Entry(call) if self.is_counting && !self.is_done && self.plan.counts(stop.thread, &call) => {
                self.reach(stop, Some(call))
            }
            Why::Exit => match self.pending.remove(&stop.thread) {
                Some(Pending::Error(errno)) => survived(registers::answer(stop.thread, errno)).map(drop),
                Some(Pending::Repeat(call)) => {
                    survived(registers::repeat_call(stop.thread, call.number, call.arguments[0])).map(drop)
                }
                None => Ok(()),
            },
            Why::Stepped if self.is_counting && !self.is_done => self.reach(stop, None),
            // The process stood before an instruction when it was attached to.
            Why::Present if self.is_counting && self.tracees.run == Run::Step && self.count == 0 => {
                self.reach(stop, None)
            }
            _ => Ok(()),
        }
    }

    /// The thread is at the next point.
    fn reach(&mut self, stop: &Stop, call: Option<Call>) -> io::Result<()> {
        if let Some(failing) = self.failing {
            return self.fail_again(stop, failing);
        }
        self.count += 1;
        let Some((_, strike)) = self.plan.strike.filter(|&(number, _)| number == self.count) else {
            return Ok(());
        };
        let place = request::place(stop.thread).ok().and_then(|address| files::place(stop.thread, address));
        self.struck = Some(Struck {
            number: self.count,
            process: stop.process.as_raw() as u32,
            thread: stop.thread.as_raw() as u32,
            call: call.and_then(|call| names::name(call.number)).map(str::to_string),
            place,
            at: Instant::now(),
        });
        self.strike(stop, call, strike)?;
        self.shared.publish(Ok(self.outcome()));
        Ok(())
    }

    fn strike(&mut self, stop: &Stop, call: Option<Call>, strike: Strike) -> io::Result<()> {
        match strike {
            // The kernel makes no call for a thread that is being killed.
            Strike::Kill => {
                self.is_done = true;
                request::send(stop.process, libc::SIGKILL)
            }
            Strike::KillGroup => {
                self.is_done = true;
                let group = getpgid(Some(self.root)).ok().filter(|group| *group != getpgrp());
                if let Some(group) = group {
                    request::send(Pid::from_raw(-group.as_raw()), libc::SIGKILL)?;
                }
                request::send(stop.process, libc::SIGKILL)
            }
            Strike::Signal(signal) => self.interpose(stop, call, signal),
            Strike::Stop { resume_after } => {
                if let Some(time) = resume_after
                    && let Some(process) = request::pidfd(stop.process)?
                {
                    self.asleep = Some((process, Instant::now() + time));
                }
                self.interpose(stop, call, libc::SIGSTOP)
            }
            Strike::Fail { errno, lasting } => {
                self.failing = match lasting {
                    Lasting::Once | Lasting::Times(0 | 1) => None,
                    Lasting::Times(times) => Some(Failing::Times(times - 1)),
                    Lasting::For(time) => Some(Failing::Until(Instant::now() + time)),
                    Lasting::Always => Some(Failing::Always),
                };
                self.is_done = self.failing.is_none();
                self.fail(stop, errno)
            }
        }
    }

    /// Sends a signal which the process gets before the call.
    fn interpose(&mut self, stop: &Stop, call: Option<Call>, signal: i32) -> io::Result<()> {
        self.is_done = true;
        request::send(stop.process, signal)?;
        if let Some(call) = call
            && survived(registers::skip_call(stop.thread))?
        {
            self.pending.insert(stop.thread, Pending::Repeat(call));
        }
        Ok(())
    }

    fn fail(&mut self, stop: &Stop, errno: i32) -> io::Result<()> {
        if survived(registers::skip_call(stop.thread))? {
            self.pending.insert(stop.thread, Pending::Error(errno));
        }
        Ok(())
    }

    fn fail_again(&mut self, stop: &Stop, failing: Failing) -> io::Result<()> {
        let Some((_, Strike::Fail { errno, .. })) = self.plan.strike else { return Ok(()) };
        match failing {
            Failing::Until(end) if Instant::now() >= end => {
                self.is_done = true;
                return Ok(());
            }
            Failing::Times(left) => {
                self.is_done = left == 1;
                self.failing = Some(Failing::Times(left - 1));
            }
            Failing::Until(_) | Failing::Always => {}
        }
        self.fail(stop, errno)
    }

    /// Continues the process that was stopped.
    fn wake(&mut self) {
        if let Some((process, _)) = self.asleep.take() {
            // Fails only if it has ended.
            let _ = request::send_to(&process, libc::SIGCONT);
        }
    }
}
