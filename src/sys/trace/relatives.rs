//! What the system shows of a thread: its process, its tracer, its relatives.

use std::fs;

use nix::unistd::Pid;

pub(super) fn number_in_status(thread: Pid, key: &str) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(key))?.trim().parse().ok()
}

/// A thread that has gone counts as a process of its own.
pub(super) fn process_of(thread: Pid) -> Pid {
    number_in_status(thread, "Tgid:").map_or(thread, Pid::from_raw)
}

pub(super) fn parent_of(process: Pid) -> Option<Pid> {
    number_in_status(process, "PPid:").map(Pid::from_raw)
}

/// The threads of a process, and its child processes.
pub(super) fn relatives(process: Pid) -> Vec<Pid> {
    let folder = format!("/proc/{process}/task");
    let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
    let threads: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let children = |thread: &String| fs::read_to_string(format!("{folder}/{thread}/children")).ok();
    let children: Vec<String> = threads.iter().filter_map(children).collect();
    let ids =
        threads.iter().map(String::as_str).chain(children.iter().flat_map(|ids| ids.split_whitespace()));
    ids.filter_map(|id| id.parse().ok()).map(Pid::from_raw).collect()
}
