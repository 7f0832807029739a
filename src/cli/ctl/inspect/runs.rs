//! The commands that a consumer runs, for display: the child processes of its process, as the system lists them, and the
//! items that they work on, as their environment names them.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use serde::Serialize;

use crate::ItemKey;
use crate::cli::common::escape;
use crate::cli::common::no_producer;

/// The name of the process that ends a worker's commands if the worker is killed.
const GUARD: &str = "ringpipe-guard";
/// The most bytes of a command line that are shown, and the most child processes of one process.
const LINE: u64 = 1024;
const MOST: usize = 1024;
/// Bytes of arguments or environment that are read: more than Linux allows.
const MOST_BYTES: u64 = 8 << 20;

/// A child process.
#[derive(Serialize)]
pub struct Running {
    pub pid: u32,
    /// Its command line as words of a shell: what it contains cannot control a terminal.
    pub command: String,
    /// What it works on, unless its environment does not tell that, or may not be read.
    #[serde(flatten)]
    pub work: MaybeWork,
    /// It has ended, and its end was not noticed yet.
    #[serde(skip)]
    has_ended: bool,
}

/// The work of a command, in JSON.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct MaybeWork {
    #[serde(serialize_with = "no_producer::serialize_any")]
    producer: Option<u32>,
    sequence: Option<u64>,
    attempt: Option<u32>,
    items: Option<u64>,
}

/// What a command works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Its item, or the first one.
    pub key: ItemKey,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// The number of its items.
    pub items: u64,
}

impl From<Option<Work>> for MaybeWork {
    fn from(work: Option<Work>) -> Self {
        MaybeWork {
            producer: work.map(|work| work.key.producer),
            sequence: work.map(|work| work.key.sequence),
            attempt: work.map(|work| work.attempt),
            items: work.map(|work| work.items),
        }
    }
}

impl MaybeWork {
    /// The work, if it is known.
    pub fn known(self) -> Option<Work> {
        let MaybeWork { producer, sequence, attempt, items } = self;
        let key = ItemKey { producer: producer?, sequence: sequence? };
        Some(Work { key, attempt: attempt?, items: items? })
    }
}

/// The child processes of a process, without guards.
#[derive(Default)]
pub struct Runs {
    pub list: Vec<Running>,
    /// Whether there are no others.
    pub is_complete: bool,
}

impl Runs {
    /// What all of them work on. `None`: of some, it is not known.
    pub fn works(&self) -> Option<Vec<Work>> {
        let running = self.list.iter().filter(|one| !one.has_ended);
        if self.is_complete { running.map(|one| one.work.known()).collect() } else { None }
    }
}

/// The child processes of process `pid`, which work on items of `ring`. None where the system does not show them.
pub fn of(pid: u32, ring: &str) -> Runs {
    in_processes(Path::new("/proc"), pid, ring)
}

/// The command line of process `pid`, if the system shows it.
pub fn command_line(pid: u32) -> Option<Vec<OsString>> {
    let line = read(&Path::new("/proc").join(pid.to_string()).join("cmdline"))?;
    let line = line.strip_suffix(&[0])?;
    Some(line.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec())).collect())
}

fn in_processes(processes: &Path, pid: u32, ring: &str) -> Runs {
    let Ok(threads) = fs::read_dir(processes.join(pid.to_string()).join("task")) else {
        return Runs::default();
    };
    let (mut children, mut is_complete) = (Vec::<u32>::new(), true);
    for thread in threads.flatten() {
        match fs::read_to_string(thread.path().join("children")) {
            Ok(ids) => children.extend(ids.split_ascii_whitespace().filter_map(|id| id.parse::<u32>().ok())),
            Err(_) => is_complete = false,
        }
    }
    children.sort_unstable();
    is_complete &= children.len() <= MOST;
    children.truncate(MOST);
    let running = |child: &u32| {
        let folder = processes.join(child.to_string());
        let name = fs::read(folder.join("comm")).ok()?;
        let name = name.strip_suffix(b"\n").unwrap_or(&name);
        if name == GUARD.as_bytes() {
            return None;
        }
        let (line, environment) = (command(&folder), read(&folder.join("environ")));
        let has_ended = has_ended(&folder);
        let work = environment.and_then(|environment| work(&environment, ring)).into();
        let command = line.unwrap_or(escape::word(name));
        Some(Running { pid: *child, command, work, has_ended })
    };
    Runs { list: children.iter().filter_map(running).collect(), is_complete }
}

/// Whether the process has ended and waits for its parent.
fn has_ended(folder: &Path) -> bool {
    let stat = read(&folder.join("stat")).unwrap_or_default();
    // The name before the state may have any bytes, but none of the fields behind it has a parenthesis.
    let behind_name = stat.iter().rposition(|byte| *byte == b')').map_or(stat.len(), |at| at + 1);
    stat[behind_name..].starts_with(b" Z")
}

/// What a process with this environment works on, if that is an item of `ring`.
fn work(environment: &[u8], ring: &str) -> Option<Work> {
    let mut variables = HashMap::new();
    for variable in environment.split(|byte| *byte == 0) {
        let (name, value) = std::str::from_utf8(variable).ok().and_then(|text| text.split_once('=')).unzip();
        variables.entry(name).or_insert(value);
    }
    let value = |name| *variables.get(&Some(name))?;
    if value("RING_NAME")? != ring {
        return None;
    }
    let key = ItemKey {
        producer: no_producer::parse(value("RING_PRODUCER")?)?,
        sequence: value("RING_SEQ")?.parse().ok()?,
    };
    let (attempt, items) = (value("RING_ATTEMPT")?.parse().ok()?, value("RING_ITEMS")?.parse().ok()?);
    Some(Work { key, attempt, items })
}

/// The bytes of a file, if it can be read.
fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MOST_BYTES).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// The beginning of the command line. `None`: it has none, as a process that has ended.
fn command(folder: &Path) -> Option<String> {
    let mut line = Vec::new();
    File::open(folder.join("cmdline")).ok()?.take(LINE + 1).read_to_end(&mut line).ok()?;
    let is_cut = line.len() as u64 > LINE;
    line.truncate(LINE as usize);
    let line = line.strip_suffix(&[0]).unwrap_or(&line);
    if line.is_empty() {
        return None;
    }
    let words: Vec<String> = line.split(|byte| *byte == 0).map(escape::word).collect();
    Some(words.join(" ") + if is_cut { " ..." } else { "" })
}

#[cfg(test)]
impl Running {
    /// A command that works on this, or does not tell.
    pub fn of_test(work: Option<Work>) -> Self {
        Running { pid: 1, command: "test".into(), work: work.into(), has_ended: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder as /proc: process 7 with two threads; its children are those of `children`.
    fn processes(children: &[(u32, &[u8], &[u8])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let ids: Vec<String> = children.iter().map(|(pid, ..)| pid.to_string()).collect();
        let (some, others) = ids.split_at(ids.len() / 2);
        for (thread, ids) in [("7", some), ("8", others)] {
            let place = folder.path().join("7/task").join(thread);
            fs::create_dir_all(&place).unwrap();
            fs::write(place.join("children"), ids.join(" ") + " ").unwrap();
        }
        for (pid, comm, cmdline) in children {
            let place = folder.path().join(pid.to_string());
            fs::create_dir_all(&place).unwrap();
            fs::write(place.join("comm"), comm).unwrap();
            fs::write(place.join("cmdline"), cmdline).unwrap();
        }
        folder
    }

    fn commands(children: &[(u32, &[u8], &[u8])]) -> Vec<(u32, String)> {
        let folder = processes(children);
        in_processes(folder.path(), 7, "jobs").list.into_iter().map(|one| (one.pid, one.command)).collect()
    }

    #[test]
    fn the_children_of_all_threads_are_shown_without_the_guard() {
        let shown = commands(&[
            (30, b"sh\n", b"sh\0-c\0sleep 1\0"),
            (20, b"ringpipe-guard\n", b"consumer\0jobs\0"),
            (10, b"sleep\n", b"sleep\0\x1b[2J\0"),
            (40, b"gone\n", b""),
        ]);
        let expected = [(10, r"sleep $'\x1b[2J'"), (30, "sh -c 'sleep 1'"), (40, "gone")];
        assert_eq!(shown, expected.map(|(pid, line)| (pid, line.to_string())));
    }

    #[test]
    fn a_long_command_line_is_cut() {
        let line = [b"x\0".as_slice(), &[b'a'; 5000]].concat();
        let shown = commands(&[(10, b"x\n", &line)]);
        assert!(shown[0].1.len() < 1100 && shown[0].1.ends_with("aaa ..."), "{shown:?}");
    }

    #[test]
    fn what_the_system_does_not_show_is_left_out() {
        let folder = processes(&[(10, b"x\n", b"x\0")]);
        fs::remove_dir_all(folder.path().join("10")).unwrap();
        assert!(in_processes(folder.path(), 7, "jobs").list.is_empty());
        assert!(in_processes(folder.path(), 8, "jobs").list.is_empty());
    }

    /// What a command with this environment works on; the outer `None`: it is not known.
    fn works(environment: Option<&str>) -> Option<Vec<Work>> {
        let folder = processes(&[(10, b"x\n", b"x\0")]);
        if let Some(environment) = environment {
            fs::write(folder.path().join("10/environ"), environment).unwrap();
        }
        in_processes(folder.path(), 7, "jobs").works()
    }

    #[test]
    fn the_environment_names_the_item() {
        let environment = "A=B\0RING_NAME=jobs\0RING_SEQ=5\0RING_PRODUCER=2\0RING_ATTEMPT=3\0RING_ITEMS=1\0odd\0RING_SEQ=6\0";
        let work = Work { key: ItemKey { producer: 2, sequence: 5 }, attempt: 3, items: 1 };
        assert_eq!(works(Some(environment)), Some(vec![work]));
        // Of another ring; of a standing command; not a number; no variables; not to be read.
        assert_eq!(works(Some(&environment.replace("=jobs", "=other"))), None);
        assert_eq!(works(Some("RING_NAME=jobs\0RING_SLOT=1\0")), None);
        assert_eq!(works(Some(&environment.replace("=5", "=five"))), None);
        assert_eq!(works(Some("A=B\0")), None);
        assert_eq!(works(None), None);
        assert_eq!(works(Some("")), None);
    }

    #[test]
    fn a_command_that_has_ended_works_on_nothing() {
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        let folder = Path::new("/proc").join(ended.id().to_string());
        while !has_ended(&folder) {
            std::thread::yield_now();
        }
        let mut runs = of(std::process::id(), "jobs");
        // Other tests may have children, too.
        runs.list.retain(|one| one.pid == ended.id());
        assert_eq!((runs.list.len(), runs.works()), (1, Some(Vec::new())));
        ended.wait().unwrap();
        assert!(!has_ended(&folder));
    }

    #[test]
    fn nothing_is_known_of_the_children_of_a_process_that_does_not_show_them() {
        let folder = processes(&[]);
        assert_eq!(in_processes(folder.path(), 7, "jobs").works(), Some(Vec::new()));
        fs::remove_file(folder.path().join("7/task/8/children")).unwrap();
        assert_eq!(in_processes(folder.path(), 7, "jobs").works(), None);
        assert_eq!(in_processes(folder.path(), 9, "jobs").works(), None);
    }
}
