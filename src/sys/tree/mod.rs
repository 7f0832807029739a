//! Processes that end with the process that started them, and their descendants with them.
//!
//! All processes of a [`Tree`] have an entry in their environment that no other process has. Each process
//! that the tree starts is in a process group of its own; where this process may make a control group, all
//! are in one. [`Tree::kill`] kills each process with one of these traits. A guard, a process in a session of
//! its own, does the same when this process ends for any reason, even by SIGKILL. If both are killed, the
//! kernel still kills the processes that the tree itself has started (`PR_SET_PDEATHSIG`).
//!
//! The processes that a tree has started are reaped when it is dropped: until then, their ids are not used again.
//!
//! A process escapes if it has lost all traits: it was started with an empty environment, by a process of another group,
//! without a control group.
#![allow(unsafe_code)]

mod cgroup;
mod child;
mod guard;
mod observe;
mod scan;
#[cfg(test)]
mod tests;

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{self, Command};
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{mem, thread};

use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use self::cgroup::Cgroup;
pub use self::child::{Child, Ended, limit_memory};
use self::guard::Guard;
pub use self::observe::{Observed, descriptors, observe, segments};
use self::scan::Traits;
use super::descriptors::reserve;
use super::random;

/// The beginning of the entry in the environment; the tree's id follows.
const VARIABLE: &str = "RINGPIPE_TEST_";

/// The highest number of a signal.
const LAST_SIGNAL: i32 = 64;

/// How many scans, a millisecond apart, wait for processes that are executing a program.
const UNSURE_SCANS: u32 = 100;

/// How long [`Tree::kill`] waits for the kernel to end what it has killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// A set of processes, with their descendants.
#[derive(Debug)]
pub struct Tree {
    id: String,
    /// The groups of the processes that were started.
    groups: Mutex<Vec<i32>>,
    /// They are removed with the tree.
    files: Vec<PathBuf>,
    guard: Guard,
    cgroup: Option<Cgroup>,
    /// Leads to the thread that starts all processes: the kernel kills these when that thread ends.
    starter: Sender<Box<dyn FnOnce() + Send>>,
}

impl Tree {
    /// Starts the guard of a tree without processes.
    ///
    /// # Errors
    /// The error of the system: no process, no thread, no descriptor.
    pub fn new() -> io::Result<Self> {
        Tree::removing(|_| Vec::new())
    }

    /// As [`new`](Self::new). `files` gets the tree's id, and names files and folders that are removed when
    /// the processes have ended with the tree, by the guard if need be. A folder is removed with the files in
    /// it.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn removing(files: impl FnOnce(&str) -> Vec<PathBuf>) -> io::Result<Self> {
        Tree::with(Cgroup::new, files)
    }

    fn with(
        cgroup: impl FnOnce(&str) -> Option<Cgroup>,
        files: impl FnOnce(&str) -> Vec<PathBuf>,
    ) -> io::Result<Self> {
        let random = random::id().map_err(io::Error::other)?;
        let id: String = random[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let cgroup = cgroup(&format!("ringpipe-test-{id}"));
        let files = files(&id);
        let guard = Guard::start(marker(&id).as_bytes(), cgroup.as_ref(), &files)?;
        let (starter, jobs) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        thread::Builder::new()
            .name("starter".into())
            .spawn(move || jobs.into_iter().for_each(|job| job()))?;
        Ok(Tree { id, groups: Mutex::default(), files, guard, cgroup, starter })
    }

    /// Its id: 16 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Starts `command` as the first process of a group of its own, with default actions for all signals. `before` is
    /// called with its id after it was forked, and before it executes its program. `also` are descriptors and the
    /// numbers that they have in the new process.
    ///
    /// # Errors
    /// The error of the system, also of executing the program, or that of `before`.
    pub fn start(
        &self,
        mut command: Command,
        mut also: Vec<(OwnedFd, RawFd)>,
        before: Option<&dyn Fn(Pid) -> io::Result<()>>,
    ) -> io::Result<Child> {
        command.env(format!("{VARIABLE}{}", self.id), "1");
        // The numbers must not be those of descriptors that are made from here on.
        also.iter().try_for_each(|(_, number)| reserve(*number))?;
        let taken: Vec<RawFd> = also.iter().map(|(_, number)| *number).collect();
        // Open until the process is started: no descriptor that is made meanwhile may get their numbers.
        let mut replaced = Vec::new();
        for (fd, number) in &mut also {
            // Another one gets this number, and must not replace it before it was handed over.
            if fd.as_raw_fd() != *number && taken.contains(&fd.as_raw_fd()) {
                let copy = fd.try_clone()?;
                replaced.push(mem::replace(fd, copy));
            }
        }
        let (mut announced, announce) = io::pipe()?;
        let (go, mut went) = io::pipe()?;
        let groups = self.guard.groups().try_clone_to_owned()?;
        let members = self.cgroup.as_ref().map(|cgroup| cgroup.members().try_clone_to_owned()).transpose()?;
        let wait = before.is_some().then_some(go.as_raw_fd());
        let parent = process::id();
        let pipes = (groups.as_raw_fd(), announce.as_raw_fd());
        let member = members.as_ref().map(AsRawFd::as_raw_fd);
        let numbers: Vec<(RawFd, RawFd)> =
            also.iter().map(|(fd, number)| (fd.as_raw_fd(), *number)).collect();
        // SAFETY: `begin` makes system calls only. The descriptors are open in the child: they are moved into the job.
        unsafe {
            command.pre_exec(move || {
                begin(parent, pipes, member, wait)?;
                numbers.iter().try_for_each(|(from, to)| hand_over(*from, *to))
            })
        };
        let (answer, result) = mpsc::channel();
        let job = move || {
            let spawned = command.spawn();
            drop((announce, go, groups, members, also, replaced));
            // The caller waits for it.
            let _ = answer.send(spawned.map(|child| child.id() as i32));
        };
        let ended = |_| io::Error::other("the thread that starts processes has ended");
        self.starter.send(Box::new(job)).map_err(ended)?;
        let mut prepared = Ok(());
        if let Some(before) = before {
            let mut pid = [0; 4];
            // If this fails, the process could not be made, which the result says.
            if announced.read_exact(&mut pid).is_ok() {
                prepared = before(Pid::from_raw(i32::from_ne_bytes(pid)));
                let _ = went.write_all(&[prepared.is_ok().into()]);
            }
        }
        drop(went);
        let result =
            result.recv().map_err(|_| io::Error::other("the thread that starts processes has ended"))?;
        prepared?;
        let pid = result?;
        self.groups().push(pid);
        Ok(Child { pid: Pid::from_raw(pid) })
    }

    /// The live processes of the tree.
    pub fn survivors(&self) -> Vec<Pid> {
        let (groups, marker) = (self.groups().clone(), marker(&self.id));
        let traits = Traits { marker: marker.as_bytes(), groups: &groups };
        let mut found = Vec::new();
        for _ in 0..UNSURE_SCANS {
            found.clear();
            let unsure = scan::each(traits, |pid| found.push(pid));
            let members = self.cgroup.as_ref().map(Cgroup::processes).unwrap_or_default();
            found.extend(members.into_iter().filter(|pid| scan::is_alive(*pid)));
            if unsure == 0 {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Kills all processes of the tree, and waits until they have ended.
    ///
    /// # Errors
    /// `TimedOut`: the kernel has not ended them within ten seconds.
    pub fn kill(&self) -> io::Result<()> {
        let start = Instant::now();
        let marker = marker(&self.id);
        loop {
            if let Some(cgroup) = &self.cgroup {
                cgroup.kill();
            }
            let groups = self.groups().clone();
            if scan::kill(Traits { marker: marker.as_bytes(), groups: &groups }) == 0 {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                return Err(io::ErrorKind::TimedOut.into());
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn groups(&self) -> MutexGuard<'_, Vec<i32>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // The guard, which is dropped afterwards, would do no more.
        let _ = self.kill();
        for group in self.groups().drain(..) {
            let _ = waitpid(Pid::from_raw(group), Some(WaitPidFlag::WNOHANG));
        }
        for file in &self.files {
            // As a rule, they are removed by now.
            match std::fs::remove_file(file) {
                Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                    let _ = std::fs::remove_dir_all(file);
                }
                _ => {}
            }
        }
    }
}

fn marker(id: &str) -> String {
    format!("{VARIABLE}{id}=")
}

/// Runs in a new process before it executes its program.
fn begin(
    parent: u32,
    (groups, announce): (RawFd, RawFd),
    members: Option<RawFd>,
    wait: Option<RawFd>,
) -> io::Result<()> {
    let write = |fd, bytes: &[u8]| {
        // SAFETY: a system call that reads the slice.
        unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) }
    };
    // SAFETY: system calls whose pointers are to locals.
    unsafe {
        Errno::result(libc::setpgid(0, 0))?;
        let pid = libc::getpid().to_ne_bytes();
        write(groups, &pid);
        if let Some(members) = members {
            // If this is refused, the other traits remain.
            write(members, b"0");
        }
        Errno::result(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
        // The parent ended before the signal was set.
        if libc::getppid() as u32 != parent {
            return Err(Errno::ESRCH.into());
        }
        // Otherwise it would inherit the signals that this process has blocked.
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
        for signal in 1..=LAST_SIGNAL {
            libc::signal(signal, libc::SIG_DFL);
        }
        if let Some(wait) = wait {
            write(announce, &pid);
            let mut go = [0];
            while libc::read(wait, go.as_mut_ptr().cast(), 1) < 0 && Errno::last() == Errno::EINTR {}
            if go != [1] {
                return Err(Errno::ECANCELED.into());
            }
        }
    }
    Ok(())
}

/// Gives the new process the descriptor `from` under the number `to`.
fn hand_over(from: RawFd, to: RawFd) -> io::Result<()> {
    // SAFETY: system calls without memory.
    unsafe {
        match from == to {
            // dup2 of a descriptor to itself would leave it close-on-exec.
            true => Errno::result(libc::fcntl(from, libc::F_SETFD, 0))?,
            false => Errno::result(libc::dup2(from, to))?,
        };
    }
    Ok(())
}
