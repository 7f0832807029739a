use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::process::ExitStatus;
use std::sync::atomic::Ordering;
use std::{mem, ptr};

use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill};
use nix::unistd::Pid;

use super::super::super::descriptors::{close_all_but, close_each, close_range};
use super::start::begin;
use super::*;
use crate::sys::testing;

fn with(name: &str) -> With<'_> {
    With { name: OsStr::new(name), slot: 0, input: false, also: None }
}

fn command<'a>(program: &str, arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

fn shell(script: &str) -> Command {
    command("/bin/sh", ["-c", script])
}

/// Its output, once it has ended, and how it ended.
fn finish(running: &mut Running) -> (String, ExitStatus) {
    drop(running.stdin.take());
    let mut text = String::new();
    running.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    (text, running.reap().unwrap())
}

/// As the shell prints it.
fn output(script: &str, with: &With<'_>) -> String {
    let guard = Guard::start(1).unwrap();
    finish(&mut guard.spawn(&shell(script), with).unwrap()).0
}

#[test]
fn a_command_ends_with_its_status_and_its_slot_is_free_again() {
    let guard = Guard::start(1).unwrap();
    for (script, code) in [("exit 0", 0), ("exit 1", 1), ("exit 255", 255)] {
        let mut running = guard.spawn(&shell(script), &with("sh")).unwrap();
        assert_eq!(guard.groups.all()[0].load(Ordering::SeqCst), running.id() as i32);
        assert_eq!(finish(&mut running).1.code(), Some(code));
        assert_eq!(guard.groups.all()[0].load(Ordering::SeqCst), 0);
    }
}

#[test]
fn the_error_of_the_system_is_reported_and_leaves_no_process() {
    let guard = Guard::start(1).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (plain, missing) = (dir.path().join("plain"), dir.path().join("missing"));
    fs::write(&plain, "exit 0").unwrap();
    let long = "x".repeat(1 << 20);
    for (path, argument, errno) in [
        (missing.to_str().unwrap(), "", libc::ENOENT),
        (plain.to_str().unwrap(), "", libc::EACCES),
        ("/bin/true", long.as_str(), libc::E2BIG),
    ] {
        let error = guard.spawn(&command(path, [argument]), &with("name")).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(errno), "{path}");
        assert_eq!(guard.groups.all()[0].load(Ordering::SeqCst), 0);
    }
    // The thread goes on with its signals as before.
    assert!(!SigSet::thread_get_mask().unwrap().contains(Signal::SIGTERM));
}

#[test]
fn a_file_that_the_system_does_not_execute_is_run_by_the_shell() {
    let guard = Guard::start(1).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("script");
    fs::write(&path, "echo \"$0 $1\"").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let path = path.to_str().unwrap();
    let mut running = loop {
        match guard.spawn(&command(path, ["one"]), &with("script")) {
            // A child that another test forked has the file open for writing still.
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {}
            spawned => break spawned.unwrap(),
        }
    };
    assert_eq!(finish(&mut running).0, format!("{path} one\n"));
}

#[test]
fn input_is_a_pipe_or_empty_and_a_further_descriptor_has_its_number() {
    let guard = Guard::start(1).unwrap();
    assert_eq!(output("cat; readlink /proc/$$/fd/0", &with("sh")), "/dev/null\n");
    let mut running = guard.spawn(&shell("cat"), &With { input: true, ..with("sh") }).unwrap();
    running.stdin.as_mut().unwrap().write_all(b"input").unwrap();
    assert_eq!(finish(&mut running).0, "input");
    let mut file = memory_file().unwrap();
    file.write_all(b"more").unwrap();
    let own = file.as_raw_fd();
    // A number of its own, and one that descriptors of the start may have.
    for to in [own, own + 1, own + 2, 9] {
        let also = Some((file.as_fd(), to));
        assert_eq!(output(&format!("cat /proc/self/fd/{to}"), &With { also, ..with("sh") }), "more", "{to}");
    }
}

#[test]
fn standard_descriptors_may_be_given_as_others() {
    let guard = Guard::start(1).unwrap();
    let (reader, mut writer) = io::pipe().unwrap();
    let script =
        shell("exit $(($(readlink /proc/$$/fd/1 | grep -Fxc \"$(readlink /proc/$PPID/fd/0)\") + 3))");
    let image = Image::new(
        script.get_program(),
        ["sh"].into_iter().map(OsStr::new).chain(script.get_args()),
        &script,
    );
    let image = image.unwrap();
    // If 0 were replaced before it is copied, 1 would be the pipe.
    let streams = [reader.as_raw_fd(), 0, 2];
    let group = &guard.groups.all()[0];
    let start = Start {
        image: &image,
        streams,
        also: None,
        group: Some(group),
        parent: getpid(),
        handled: handled(),
        failed: AtomicI32::new(0),
    };
    let pid = start.run().unwrap();
    writer.write_all(b"x").unwrap();
    assert_eq!(waitpid(pid, None).unwrap(), WaitStatus::Exited(pid, 4));
    group.store(0, Ordering::SeqCst);
}

#[test]
fn the_environment_is_inherited_changed_and_reduced() {
    let guard = Guard::start(1).unwrap();
    let mut command =
        shell("echo \"$RINGPIPE_ADDED ${HOME-none} ${PATH+path}\"; env | grep -c ^RINGPIPE_ADDED=");
    command.env("RINGPIPE_ADDED", "a=b").env_remove("HOME");
    assert_eq!(finish(&mut guard.spawn(&command, &with("sh")).unwrap()).0, "a=b none path\n1\n");
}

#[test]
fn a_command_begins_without_blocked_or_caught_signals() {
    let guard = Guard::start(1).unwrap();
    let blocked = SigSet::from_iter([Signal::SIGUSR2]);
    let before = blocked.thread_swap_mask(SigmaskHow::SIG_BLOCK).unwrap();
    let mut running = guard.spawn(&command("/bin/cat", ["/proc/self/status"]), &with("cat")).unwrap();
    let after = SigSet::thread_get_mask().unwrap();
    before.thread_set_mask().unwrap();
    assert!(after.contains(Signal::SIGUSR2) && !after.contains(Signal::SIGUSR1));
    let set = |status: &str, name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    let status = finish(&mut running).0;
    assert_eq!((set(&status, "SigBlk:"), set(&status, "SigCgt:")), (0, 0));
    assert_eq!(set(&status, "SigIgn:") >> (libc::SIGPIPE - 1) & 1, 0);
}

/// Signals of the terminal reach a new process while it is in the worker's group.
#[test]
fn signals_for_the_group_of_the_parent_do_not_reach_the_program() {
    let command = shell("exit 9");
    let called = ["sh"].into_iter().map(OsStr::new).chain(command.get_args());
    let image = Image::new(command.get_program(), called, &command).unwrap();
    let (groups, null) = (Groups::new(1).unwrap(), File::open("/dev/null").unwrap());
    let start = Start {
        image: &image,
        streams: [null.as_raw_fd(); 3],
        also: None,
        group: Some(&groups.all()[0]),
        parent: getpid(),
        handled: handled(),
        failed: AtomicI32::new(0),
    };
    let ended = testing::ended(|| {
        // SAFETY: system calls, in a process that is about to execute a program, as if `run` had started it.
        unsafe {
            let mut all: libc::sigset_t = mem::zeroed();
            libc::sigfillset(&mut all);
            libc::sigprocmask(libc::SIG_SETMASK, &all, ptr::null_mut());
            for signal in [libc::SIGINT, libc::SIGTSTP, libc::SIGUSR1, libc::SIGRTMIN()] {
                libc::kill(libc::getpid(), signal);
            }
            libc::alarm(60);
            begin(ptr::from_ref(&start).cast_mut().cast());
        }
    });
    assert!(matches!(ended, WaitStatus::Exited(_, 9)), "{ended:?}");
}

#[test]
fn a_real_time_signal_ends_a_command_and_the_rest_of_its_group_ends_too() {
    let guard = Guard::start(1).unwrap();
    let mut running = guard.spawn(&shell("sleep 1000 & kill -40 $$"), &with("sh")).unwrap();
    assert_eq!(signal_of(running.reap().unwrap()), Some(40));
    // It ends when no process has the pipe open.
    assert_eq!(running.stdout.take().unwrap().read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_process_that_is_no_child_is_not_signalled() {
    let guard = Guard::start(1).unwrap();
    let script = shell("setsid sleep 1000 >/dev/null 2>&1 & echo $!; wait $!");
    let mut parent = guard.spawn(&script, &with("sh")).unwrap();
    let mut text = String::new();
    while !text.ends_with('\n') {
        let mut byte = [0];
        parent.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
        text.push(byte[0].into());
    }
    let pid = Pid::from_raw(text.trim().parse().unwrap());
    while fs::read(format!("/proc/{pid}/comm")).unwrap() != b"sleep\n" {
        std::thread::yield_now();
    }
    let group = Some((Arc::clone(&guard.groups), 0));
    let mut running =
        Running { stdin: None, stdout: None, stderr: None, pid, group, ended: None, reaped: false };
    assert!(running.has_ended());
    running.signal(Signal::SIGKILL);
    assert_eq!(running.reap().unwrap_err().raw_os_error(), Some(libc::ECHILD));
    drop(running);
    assert_eq!(guard.groups.all()[0].load(Ordering::SeqCst), 0);
    // A signal KILL that it got would go before this one.
    kill(pid, Signal::SIGTERM).unwrap();
    assert_eq!(parent.reap().unwrap().code(), Some(128 + libc::SIGTERM));
}

#[test]
fn descriptors_are_closed_one_by_one_where_the_system_cannot_close_a_range() {
    for close in [close_range, close_each] {
        let ended = testing::ended(|| {
            let is_open = |fd| {
                // SAFETY: a system call without memory.
                unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
            };
            for fd in 100..120 {
                // SAFETY: a system call without memory; the numbers are not in use in this process any more.
                unsafe { libc::dup2(2, fd) };
            }
            close_all_but(3, &[0, 105, 106, 110], close);
            let kept = |fd| fd < 3 || [105, 106, 110].contains(&fd);
            if (0..1024).any(|fd| is_open(fd) && !kept(fd)) || ![105, 106, 110].into_iter().all(is_open) {
                // SAFETY: ends this process.
                unsafe { libc::_exit(1) }
            }
        });
        assert!(matches!(ended, WaitStatus::Exited(_, 0)), "{ended:?}");
    }
}
