//! How much more memory the control groups of this process allow.
//!
//! The kernel does not refuse memory beyond the limit of a group: it kills a process of the group by SIGKILL. So a
//! process that is about to reserve shared memory, which counts in its own group, asks here first.
//!
//! The limits of the process's own group and of all enclosing groups count, in the hierarchies of version 1 and 2,
//! as far as this process's mounts show them. Usage excludes file caches, since the kernel drops them. Free swap
//! space is added, since shared memory can go there. If a file cannot be read, there is no limit.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The share that the kernel needs for its records of shared memory, and the processes for page tables: about a
/// 256th.
const RECORDS: u64 = 256;

/// A limit of a group.
#[derive(Debug, PartialEq, Eq)]
pub struct Limit {
    /// The file that states it.
    pub file: PathBuf,
    /// How many bytes it allows.
    pub bytes: u64,
    /// How many of them are left.
    pub left: u64,
}

/// The tightest limit that `len` bytes of shared memory would exceed.
pub fn exceeded_by(len: u64) -> Option<Limit> {
    exceeded_under(Path::new("/"), len)
}

/// The same where `proc` and the mounted groups are below `root`.
fn exceeded_under(root: &Path, len: u64) -> Option<Limit> {
    let read = |path: &str| fs::read_to_string(root.join(path)).ok();
    let (groups, mounts) = (read("proc/self/cgroup")?, read("proc/self/mountinfo")?);
    let free_swap = || read("proc/meminfo").and_then(|text| field(&text, "SwapFree:")).unwrap_or(0) * 1024;
    let needed = len.saturating_add(len / RECORDS);
    let exceeded = [&VERSION_1, &VERSION_2].into_iter().flat_map(|version| {
        let enclosing = version.enclosing(&groups, &mounts);
        enclosing.into_iter().enumerate().filter_map(|(above, group)| {
            let directory = root.join(group.strip_prefix("/").ok()?);
            if above > 0 && !version.reaches_down(&directory) {
                return None;
            }
            let left = version.left(&directory, needed, free_swap)?;
            Some(Limit { file: group.join(version.limit), ..left })
        })
    });
    exceeded.min_by_key(|limit| limit.left)
}

/// The names that differ between the two versions.
struct Version {
    /// Type of the file system.
    file_system: &'static str,
    /// The controller, as version 1 names it in the mount options and in the list of groups.
    controller: &'static str,
    limit: &'static str,
    usage: &'static str,
    /// Memory in caches of files, in `memory.stat`.
    caches: [&'static str; 2],
    /// Limit and usage of swap space; in version 1, those of memory and swap space together.
    swap: [&'static str; 2],
    swap_has_memory: bool,
    /// A file that is not 0 where the group's limit also applies to the groups below it.
    reaches_down: Option<&'static str>,
}

const VERSION_1: Version = Version {
    file_system: "cgroup",
    controller: "memory",
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    caches: ["total_inactive_file", "total_active_file"],
    swap: ["memory.memsw.limit_in_bytes", "memory.memsw.usage_in_bytes"],
    swap_has_memory: true,
    reaches_down: Some("memory.use_hierarchy"),
};

const VERSION_2: Version = Version {
    file_system: "cgroup2",
    controller: "",
    limit: "memory.max",
    usage: "memory.current",
    caches: ["inactive_file", "active_file"],
    swap: ["memory.swap.max", "memory.swap.current"],
    swap_has_memory: false,
    reaches_down: None,
};

impl Version {
    /// The mounted directories of the process's own group and of the enclosing ones, the own group first.
    fn enclosing(&self, groups: &str, mounts: &str) -> Vec<PathBuf> {
        let own = groups.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            controllers.split(',').any(|one| one == self.controller).then_some(path)
        });
        let Some(own) = own.map(Path::new) else { return Vec::new() };
        // A mount shows the groups below its root. If it does not show the own group, it shows no enclosing one
        // either. The mount with the shortest root shows the most groups.
        let seen = mounts.lines().filter_map(|line| {
            let (root, point) = self.mount(line)?;
            let below = own.strip_prefix(&root).ok()?.to_path_buf();
            // A group outside the namespace has `..` in its path.
            let is_plain = !below.components().any(|part| part.as_os_str() == "..");
            is_plain.then_some((point, below))
        });
        let Some((point, below)) = seen.max_by_key(|(_, below)| below.components().count()) else {
            return Vec::new();
        };
        below.ancestors().map(|below| point.join(below)).collect()
    }

    /// Whether the limit of the group in this directory applies to the groups below it.
    fn reaches_down(&self, directory: &Path) -> bool {
        let says = self.reaches_down.and_then(|file| fs::read_to_string(directory.join(file)).ok());
        says.is_none_or(|says| says.trim() != "0")
    }

    /// Root and mount point of a mount of this hierarchy, from a line of `mountinfo`.
    fn mount(&self, line: &str) -> Option<(PathBuf, PathBuf)> {
        let (mount, system) = line.split_once(" - ")?;
        let mut system = system.split(' ');
        let is_this = system.next()? == self.file_system
            && (self.controller.is_empty()
                || system.next_back()?.split(',').any(|one| one == self.controller));
        let mut mount = mount.split(' ').skip(3);
        is_this.then_some((unescaped(mount.next()?), unescaped(mount.next()?)))
    }

    /// What is left in a group, if that is less than needed; the caller fills in the file's name.
    fn left(&self, group: &Path, needed: u64, free_swap: impl Fn() -> u64) -> Option<Limit> {
        let text = |file: &str| fs::read_to_string(group.join(file)).ok();
        // A value that is not a number is "max".
        let number = |file: &str| text(file)?.trim().parse::<u64>().ok();
        let bytes = number(self.limit)?;
        let free = bytes.saturating_sub(number(self.usage)?);
        if free >= needed {
            return None;
        }
        // Read only now, since the kernel takes time to count this.
        let stat = text("memory.stat").unwrap_or_default();
        let caches: u64 = self.caches.iter().filter_map(|name| field(&stat, name)).sum();
        let [most_swap, swap] = self.swap.map(number);
        let swap_left = most_swap.map_or(u64::MAX, |most| most.saturating_sub(swap.unwrap_or(0)));
        let with_swap = free.saturating_add(caches).saturating_add(match self.swap_has_memory {
            true => free_swap(),
            false => free_swap().min(swap_left),
        });
        let left = match self.swap_has_memory {
            true => with_swap.min(swap_left.saturating_add(caches)),
            false => with_swap,
        };
        (left < needed).then_some(Limit { file: PathBuf::new(), bytes, left })
    }
}

/// The number after this name at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some(name)).then(|| words.next()?.parse().ok())?
    })
}

/// A path of `mountinfo`, which escapes spaces and the like as three octal digits.
fn unescaped(path: &str) -> PathBuf {
    let mut pieces = path.split('\\');
    let mut whole = pieces.next().unwrap_or_default().to_string();
    for piece in pieces {
        match piece.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => whole.push(byte.into()),
            None => whole.push_str(piece.get(..3).unwrap_or(piece)),
        }
        whole.push_str(piece.get(3..).unwrap_or_default());
    }
    whole.into()
}

#[cfg(test)]
mod tests;
