//! What a process is doing, for a person who reads the report of a test.

use std::fmt;
use std::fs;

use nix::unistd::Pid;

use crate::sys::segment::DIRECTORY;

/// The longest shown command line, in characters.
const MOST: usize = 200;

/// A process at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Observed {
    /// Its process id.
    pub id: u32,
    /// The process id of its parent.
    pub parent: u32,
    /// Its program and arguments.
    pub command: String,
    /// Each of its threads.
    pub threads: Vec<ObservedThread>,
}

/// A thread at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObservedThread {
    /// Its id.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// What it is doing, such as `sleeping` or `stopped`.
    pub state: &'static str,
    /// The kernel's function in which it sleeps, if the system says so.
    pub sleeps_in: Option<String>,
    /// The number and the arguments of the system call in which it is, if the system says so.
    pub call: Option<String>,
    /// The functions of the kernel in which it is, innermost first, if the system says so.
    pub stack: Vec<String>,
}

/// What a process is doing; `None`: it has ended.
pub fn observe(pid: Pid) -> Option<Observed> {
    let folder = format!("/proc/{pid}");
    let stat = fs::read_to_string(format!("{folder}/stat")).ok()?;
    let after_name = stat.rsplit_once(')')?.1;
    let parent = after_name.split_whitespace().nth(1)?.parse().ok()?;
    let command = fs::read(format!("{folder}/cmdline")).unwrap_or_default();
    let command = String::from_utf8_lossy(&command).trim_end_matches('\0').replace('\0', " ");
    let threads = fs::read_dir(format!("{folder}/task")).ok()?;
    let mut threads: Vec<_> = threads
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|id| observe_thread(&folder, id))
        .collect();
    threads.sort_by_key(|thread| thread.id);
    Some(Observed { id: pid.as_raw() as u32, parent, command: command.chars().take(MOST).collect(), threads })
}

fn observe_thread(folder: &str, id: u32) -> Option<ObservedThread> {
    let read = |file: &str| fs::read_to_string(format!("{folder}/task/{id}/{file}")).ok();
    let stat = read("stat")?;
    let state = match stat.rsplit_once(')')?.1.trim_start().chars().next()? {
        'R' => "running",
        'S' | 'I' => "sleeping",
        'D' => "waiting for a device",
        'T' => "stopped",
        't' => "stopped by its tracer",
        'Z' | 'X' | 'x' => "ended",
        _ => "unknown",
    };
    let known = |text: String| {
        let text = text.trim();
        (!["", "0", "running"].contains(&text)).then(|| text.to_string())
    };
    let stack = read("stack").unwrap_or_default();
    let function = |line: &str| Some(line.split_once("] ")?.1.split('+').next()?.to_string());
    Some(ObservedThread {
        id,
        name: read("comm")?.trim_end().into(),
        state,
        sleeps_in: read("wchan").and_then(known),
        call: read("syscall").and_then(known),
        stack: stack.lines().filter_map(function).collect(),
    })
}

/// How many descriptors a process has open; `None` if it has ended, or the system does not say.
pub fn descriptors(pid: Pid) -> Option<usize> {
    Some(fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count())
}

/// The segments of shared memory that a process has mapped, by their names; none if it has ended.
pub fn segments(pid: Pid) -> Vec<String> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let folder = format!(" {DIRECTORY}/");
    let name = |line: &str| Some(line.split_once(&folder)?.1.to_string());
    let mut names: Vec<String> = maps.lines().filter_map(name).filter(|name| !name.ends_with(" (deleted)")).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// A line for the process, and one for each thread.
impl fmt::Display for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "process {}, child of {}: {}", self.id, self.parent, self.command)?;
        for thread in &self.threads {
            write!(f, "  thread {} {:?}: {}", thread.id, thread.name, thread.state)?;
            match (&thread.stack[..], &thread.sleeps_in) {
                ([], None) => {}
                ([], Some(place)) => write!(f, " in {place}")?,
                (stack, _) => write!(f, " in {}", stack.join(" < "))?,
            }
            match &thread.call {
                Some(call) => writeln!(f, ", system call {call}")?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_observed_with_its_threads() {
        let (started, thread) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
        std::thread::scope(|scope| {
            let other = std::thread::Builder::new().name("other".into());
            other.spawn_scoped(scope, || (started.wait(), thread.wait())).unwrap();
            started.wait();
            let this = observe(Pid::this()).unwrap();
            assert_eq!((this.id, this.parent), (std::process::id(), std::os::unix::process::parent_id()));
            let other = this.threads.iter().find(|thread| thread.name == "other").unwrap();
            assert!(["running", "sleeping"].contains(&other.state), "{this}");
            assert!(this.to_string().contains("\"other\": "), "{this}");
            thread.wait();
        });
        assert!(observe(Pid::from_raw(i32::MAX)).is_none());
        assert!(descriptors(Pid::this()) >= Some(3) && descriptors(Pid::from_raw(i32::MAX)).is_none());
    }
}
