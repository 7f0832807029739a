//! The commands that a consumer runs, for display: the child processes of its process, as the system lists them.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use serde::Serialize;

use crate::cli::common::escape;

/// The name of the process that ends a worker's commands if the worker is killed.
const GUARD: &str = "ringpipe-guard";
/// Bytes of a command line that are shown, and child processes of one process.
const LINE: u64 = 1024;
const MOST: usize = 1024;

/// A child process.
#[derive(Serialize)]
pub struct Running {
    pub pid: u32,
    /// Its command line as words of a shell: what it contains cannot control a terminal.
    pub command: String,
}

/// The child processes of process `pid`, without guards. None where the system does not show them.
pub fn of(pid: u32) -> Vec<Running> {
    in_processes(Path::new("/proc"), pid)
}

fn in_processes(processes: &Path, pid: u32) -> Vec<Running> {
    let Ok(threads) = fs::read_dir(processes.join(pid.to_string()).join("task")) else { return Vec::new() };
    let mut children: Vec<u32> = threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|ids| ids.split_ascii_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>())
        .collect();
    children.sort_unstable();
    children.truncate(MOST);
    let running = |child: &u32| {
        let folder = processes.join(child.to_string());
        let name = fs::read(folder.join("comm")).ok()?;
        let name = name.strip_suffix(b"\n").unwrap_or(&name);
        let shown = || Some(Running { pid: *child, command: command(&folder).unwrap_or(escape::word(name)) });
        if name == GUARD.as_bytes() { None } else { shown() }
    };
    children.iter().filter_map(running).collect()
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
        in_processes(folder.path(), 7).into_iter().map(|one| (one.pid, one.command)).collect()
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
        assert!(in_processes(folder.path(), 7).is_empty());
        assert!(in_processes(folder.path(), 8).is_empty());
    }
}
