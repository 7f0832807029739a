//! Commands that start late, to find tests whose result depends on how soon a process gets going.
//!
//! `RINGPIPE_LATE=producer` has each `producer` wait before it becomes its program, `RINGPIPE_LATE=consumer,ringctl` each of
//! both; `consumer:odd` the first, the third … that a test starts, `consumer:even` the others. The process is
//! there at once, with its process id, its signals and its open files: it has only not begun. A test that kills it then
//! may pass without having tried what it is about: a line says that.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use super::{Kept, report, write_script};

const LATE: &str = "RINGPIPE_LATE";
const DELAY: Duration = Duration::from_millis(300);
const COMMANDS: [(&str, &str); 3] = [
    ("producer", env!("CARGO_BIN_EXE_producer")),
    ("consumer", env!("CARGO_BIN_EXE_consumer")),
    ("ringctl", env!("CARGO_BIN_EXE_ringctl")),
];

/// Which of the processes of one command start late.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    All,
    Odd,
    Even,
}

impl Which {
    fn takes(self, count: u32) -> bool {
        match self {
            Which::All => true,
            Which::Odd => count % 2 == 1,
            Which::Even => count.is_multiple_of(2),
        }
    }
}

/// What the variable says.
fn late_commands() -> &'static HashMap<String, Which> {
    static SET: OnceLock<HashMap<String, Which>> = OnceLock::new();
    SET.get_or_init(|| {
        let text = std::env::var(LATE).unwrap_or_default();
        text.split(',').filter(|entry| !entry.is_empty()).map(parse).collect()
    })
}

fn parse(entry: &str) -> (String, Which) {
    let (name, which) = entry.split_once(':').unwrap_or((entry, "all"));
    let which = match which {
        "all" => Some(Which::All),
        "odd" => Some(Which::Odd),
        "even" => Some(Which::Even),
        _ => None,
    };
    let is_command = COMMANDS.iter().any(|(command, _)| *command == name);
    let which = which.filter(|_| is_command);
    let which = which.unwrap_or_else(|| {
        panic!("{LATE}: {entry}: expected producer, consumer or ringctl, with :odd or :even")
    });
    (name.to_string(), which)
}

/// How much longer than usual a command may take.
pub fn allowance() -> Duration {
    if late_commands().is_empty() { Duration::ZERO } else { DELAY }
}

/// To be called before a process is started: it starts late if its program is one that shall.
pub fn may_start_late(command: &mut Command) {
    let name = Path::new(command.get_program()).file_name().and_then(OsStr::to_str).unwrap_or_default();
    let Some(which) = late_commands().get(name) else { return };
    if which.takes(count_of(name)) {
        // SAFETY: it makes system calls and no more, which is allowed between fork and exec.
        unsafe { command.pre_exec(wait_in_child) };
    }
}

/// Says that a test sends a signal to a process that has not begun: it may have meant a later state.
pub fn note_signal(pid: i32) {
    // Until then it is a copy of this process.
    let line_of = |process: &str| fs::read(format!("/proc/{process}/cmdline")).ok();
    let has_not_begun = || line_of(&pid.to_string()) == line_of("self");
    if !late_commands().is_empty() && has_not_begun() {
        let test = std::thread::current().name().unwrap_or_default().to_string();
        report(&format!("{LATE}: {test} sends a signal to a process that has not begun"));
    }
}

impl Kept {
    /// Starts a command, late if it shall be.
    pub fn start(command: &mut Command) -> Self {
        may_start_late(command);
        Kept(command.spawn().unwrap())
    }
}

/// How many processes of this command the test has started, with this one: each test has a thread of its own.
fn count_of(name: &str) -> u32 {
    thread_local!(static STARTED: RefCell<HashMap<String, u32>> = RefCell::default());
    STARTED.with_borrow_mut(|started| {
        let count = started.entry(name.to_string()).or_default();
        *count += 1;
        *count
    })
}

/// Waits in the child, without what `exec` would take from it: handlers of signals, and descriptors. One of these tells
/// the parent, by its end, that `exec` has succeeded, and the parent waits for that.
fn wait_in_child() -> std::io::Result<()> {
    /// Few processes of these tests have more.
    const DESCRIPTORS: i32 = 4096;
    /// The last signal is `SIGRTMAX`.
    const SIGNALS: i32 = 64;
    for signal in 1..=SIGNALS {
        // SAFETY: a handler replaced by the default, in a process of one thread.
        unsafe {
            if libc::signal(signal, libc::SIG_DFL) == libc::SIG_IGN {
                libc::signal(signal, libc::SIG_IGN);
            }
        }
    }
    for fd in 3..DESCRIPTORS {
        // SAFETY: no pointers; nothing uses these descriptors in this process any more.
        unsafe {
            let flags = libc::fcntl(fd, libc::F_GETFD);
            if flags >= 0 && flags & libc::FD_CLOEXEC != 0 {
                libc::close(fd);
            }
        }
    }
    let delay = libc::timespec { tv_sec: 0, tv_nsec: DELAY.subsec_nanos().into() };
    // SAFETY: the pointer is to a valid time; the other may be null.
    unsafe { libc::nanosleep(&raw const delay, std::ptr::null_mut()) };
    Ok(())
}

/// The folder of the three commands, for scripts that start them. With `:odd` or `:even`, scripts have about every second
/// process start late, by its process id.
pub fn programs() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| match late_commands().is_empty() {
        true => Path::new(COMMANDS[0].1).parent().expect("a folder").to_path_buf(),
        false => late_programs(),
    })
}

/// Makes that folder for this process.
fn late_programs() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("late-{}", std::process::id()));
    // Another process had this number.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    for (name, program) in COMMANDS {
        let delay = format!("sleep {}", DELAY.as_secs_f32());
        let delay = match late_commands().get(name) {
            None => {
                symlink(program, folder.join(name)).unwrap();
                continue;
            }
            Some(Which::All) => delay,
            Some(Which::Odd) => format!("[ $(($$ % 2)) = 0 ] || {delay}"),
            Some(Which::Even) => format!("[ $(($$ % 2)) = 1 ] || {delay}"),
        };
        write_script(folder.join(name), &format!("#!/bin/sh\n{delay}\nexec {program} \"$@\"\n"));
    }
    folder
}
