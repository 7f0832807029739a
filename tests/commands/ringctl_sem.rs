//! `ringctl sem`, between real processes, and with programs that know nothing of it.

use std::{
    ffi::CString,
    fs,
    io::Read,
    os::unix::fs::{PermissionsExt, symlink},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use crate::support::*;
use nix::libc;
use nix::sys::signal::Signal;

/// A semaphore's name; what is there is removed when the test ends.
fn name_of(what: &str) -> TestName {
    TestName::semaphore(TestName::new(what).name.clone()).stays()
}

/// The same, and there is one, with these options.
fn made(what: &str, options: &[&str]) -> TestName {
    let name = name_of(what);
    sem(&[&["create", &name], options].concat()).succeeds();
    name
}

fn value(name: &str) -> String {
    sem(&["value", name]).succeeds().into_text()
}

fn sem(arguments: &[&str]) -> Ended {
    ringctl(&[&["sem"], arguments].concat())
}

/// A `ringctl sem wait` that sleeps.
fn waiter(name: &TestName) -> Kept {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringctl"));
    command.args(["sem", "wait", name]).stdin(Stdio::null()).stderr(Stdio::piped());
    let process = Kept::start(&mut command);
    let comm = format!("/proc/{}/comm", process.0.id());
    let maps = format!("/proc/{}/maps", process.0.id());
    let path = name.path();
    wait_until("`ringctl` has mapped the semaphore", || {
        fs::read_to_string(&comm).is_ok_and(|comm| comm == "ringctl\n")
            && fs::read_to_string(&maps).is_ok_and(|maps| maps.contains(path.to_str().unwrap()))
    });
    // The signals are caught right after the semaphore was mapped, and then it sleeps.
    let status = format!("/proc/{}/status", process.0.id());
    wait_until("SIGTERM is caught", || caught_signals(&status) & (1 << (libc::SIGTERM - 1)) != 0);
    wait_until("SIGINT is caught", || caught_signals(&status) & (1 << (libc::SIGINT - 1)) != 0);
    thread::sleep(Duration::from_millis(5));
    process
}

fn caught_signals(status: &str) -> u64 {
    let text = fs::read_to_string(status).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// What any C program does.
struct Foreign(*mut libc::sem_t);

impl Foreign {
    fn open(name: &str, flags: i32, value: u32) -> Self {
        let id = CString::new(format!("/{name}")).unwrap();
        // SAFETY: a string that ends with a zero, and the numbers that O_CREAT asks for.
        let opened = unsafe { libc::sem_open(id.as_ptr(), flags, 0o600, value) };
        assert_ne!(opened, libc::SEM_FAILED, "{}", std::io::Error::last_os_error());
        Foreign(opened)
    }

    fn value(&self) -> i32 {
        let mut value = 0;
        // SAFETY: open until this is dropped.
        assert_eq!(unsafe { libc::sem_getvalue(self.0, &mut value) }, 0);
        value
    }

    fn post(&self) {
        // SAFETY: open until this is dropped.
        assert_eq!(unsafe { libc::sem_post(self.0) }, 0);
    }

    fn try_wait(&self) -> bool {
        // SAFETY: open until this is dropped.
        unsafe { libc::sem_trywait(self.0) == 0 }
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        // SAFETY: opened once, closed once.
        unsafe { libc::sem_close(self.0) };
    }
}

#[test]
fn tokens_are_added_taken_counted_and_used_up() {
    let name = made("tokens", &["--value", "2"]);
    assert_eq!(value(&name), "2\n");
    let json = sem(&["value", &name, "--json"]).json();
    assert_eq!((&json["schema"], &json["value"]), (&"ringpipe.sem-value/1".into(), &2.into()));
    assert_eq!(json["semaphore"], name.name);
    sem(&["wait", &name]).succeeds();
    sem(&["wait", &name, "--no-wait"]).succeeds();
    let empty = sem(&["wait", &name, "--no-wait"]).with_code(3);
    assert_eq!(empty.complaint(), format!("ringctl: semaphore {:?} has no token", name.name));
    let late = sem(&["wait", &name, "--timeout", "30ms"]).with_code(4);
    assert!(late.complaint().ends_with("has no token, waited 30ms"), "{late:?}");
    assert!(late.stderr.contains("\nhint: ringctl sem post"), "{late:?}");
    sem(&["post", &name, "-n", "3"]).succeeds();
    assert_eq!(value(&name), "3\n");
    sem(&["rm", &name]).succeeds();
    assert!(!name.path().exists());
}

#[test]
fn missing_existing_and_misnamed_semaphores_are_reported() {
    let name = name_of("missing");
    for verb in ["post", "wait", "value", "rm"] {
        let ended = sem(&[verb, &name]).with_code(3);
        assert_eq!(ended.complaint(), format!("ringctl: semaphore {:?} does not exist", name.name));
        assert!(ended.stderr.contains("\nhint: ringctl sem create"), "{ended:?}");
    }
    sem(&["create", &name]).succeeds();
    let again = sem(&["create", &name, "--value", "7"]).with_code(1);
    assert_eq!(again.complaint(), format!("ringctl: semaphore {:?} exists already", name.name));
    assert!(again.stderr.contains("\nhint: ringctl sem value"), "{again:?}");
    assert_eq!(value(&name), "0\n", "it stays as it was");
    for bad in
        [&["create", "a/b"][..], &["create", "x", "--value=-1"], &["create", "x", "--value=2147483648"]]
    {
        sem(bad).with_code(2);
    }
    sem(&["post", &name, "-n", "0"]).with_code(2);
    sem(&["wait", &name, "--timeout", "1s", "--no-wait"]).with_code(2);
}

#[test]
fn no_more_tokens_than_a_semaphore_can_have_are_posted() {
    let name = made("full", &["--value", "2147483646"]);
    let full = sem(&["post", &name, "-n", "2"]).with_code(4);
    assert!(full.complaint().ends_with("0 of 2 posted"), "{full:?}");
    sem(&["post", &name]).succeeds();
    sem(&["post", &name]).with_code(4);
    assert_eq!(value(&name), "2147483647\n");
}

#[test]
fn the_mode_is_as_asked_for_under_any_umask() {
    let mode = |name: &TestName| fs::metadata(name.path()).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&made("mode", &[])), 0o600);
    let name = name_of("mode");
    let script =
        format!("umask 077; exec {:?} sem create {} --mode 666", env!("CARGO_BIN_EXE_ringctl"), name.name);
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]);
    run_with(shell, b"").succeeds();
    assert_eq!(mode(&name), 0o666);
}

#[test]
fn a_program_that_calls_sem_open_shares_it_both_ways() {
    let name = made("foreign", &["--value", "1"]);
    let foreign = Foreign::open(&name, 0, 0);
    assert_eq!(foreign.value(), 1);
    assert!(foreign.try_wait() && !foreign.try_wait());
    let mut sleeper = waiter(&name);
    foreign.post();
    assert_eq!(sleeper.wait(), Some(0));
    sem(&["post", &name, "-n", "2"]).succeeds();
    assert!(foreign.try_wait() && foreign.try_wait() && !foreign.try_wait());

    let theirs = name_of("theirs");
    let foreign = Foreign::open(&theirs, libc::O_CREAT | libc::O_EXCL, 5);
    sem(&["wait", &theirs, "--no-wait"]).succeeds();
    assert_eq!((foreign.value(), value(&theirs).as_str()), (4, "4\n"));
    sem(&["rm", &theirs]).succeeds();
    foreign.post();
}

#[test]
fn a_signal_ends_the_wait_and_takes_no_token() {
    use std::os::unix::process::ExitStatusExt;
    let name = made("signal", &[]);
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let mut sleeper = waiter(&name);
        sleeper.signal(signal);
        assert_eq!(sleeper.ended().signal(), Some(signal as i32));
        sem(&["post", &name]).succeeds();
        assert_eq!(value(&name), "1\n");
        sem(&["wait", &name]).succeeds();
    }
}

#[test]
fn a_post_taken_by_a_killed_or_stopped_waiter_delays_no_other_waiter() {
    for death in [Signal::SIGKILL, Signal::SIGSTOP] {
        let name = made("lost", &[]);
        let mut sleepers: Vec<Kept> = (0..3).map(|_| waiter(&name)).collect();
        // All stand still when it is posted, so that the one that is woken cannot be the one that goes on.
        sleepers.iter().for_each(|sleeper| sleeper.signal(Signal::SIGSTOP));
        sem(&["post", &name]).succeeds();
        sleepers[..2].iter().for_each(|sleeper| sleeper.signal(death));
        sleepers[2].signal(Signal::SIGCONT);
        assert_eq!(sleepers[2].wait(), Some(0));
        assert_eq!(value(&name), "0\n");
    }
}

#[test]
fn each_of_many_waiters_gets_a_token() {
    let name = made("crowd", &[]);
    let mut sleepers: Vec<Kept> = (0..6).map(|_| waiter(&name)).collect();
    sem(&["post", &name, "-n", "6"]).succeeds();
    assert!(sleepers.iter_mut().all(|sleeper| sleeper.wait() == Some(0)));
    assert_eq!(value(&name), "0\n");
}

#[test]
fn a_file_that_is_no_semaphore_is_refused_and_left_alone() {
    let refused = |name: &TestName, why: &str| {
        for verb in ["post", "wait", "value", "rm"] {
            let ended = sem(&[verb, name]).with_code(6);
            assert!(ended.complaint().contains(why), "{ended:?}");
        }
        assert!(name.path().symlink_metadata().is_ok());
    };
    let name = name_of("no-semaphore");
    for bytes in [0, 7, 4096] {
        fs::write(name.path(), vec![1; bytes]).unwrap();
        refused(&name, &format!("it has {bytes} bytes"));
    }
    fs::remove_file(name.path()).unwrap();
    symlink("/etc/passwd", name.path()).unwrap();
    refused(&name, "it is not a regular file");
    fs::remove_file(name.path()).unwrap();
    nix::unistd::mkfifo(&name.path(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    refused(&name, "it is not a regular file");
}

/// Of the right size, and full of bytes that no C library writes.
#[cfg(target_env = "gnu")]
#[test]
fn foreign_bytes_of_the_right_size_are_refused() {
    let name = name_of("bytes");
    for byte in [0, 1, 0xff] {
        fs::write(name.path(), vec![byte; size_of::<libc::sem_t>()]).unwrap();
        for verb in ["post", "wait", "value"] {
            let ended = sem(&[verb, &name]).with_code(6);
            assert!(ended.complaint().contains("not those of a semaphore"), "{ended:?}");
        }
    }
}

#[test]
fn a_closed_standard_output_loses_no_token() {
    let name = made("pipe", &[]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringctl"));
    command.args(["sem", "value", &name]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = Kept::start(&mut command);
    drop(process.0.stdout.take());
    let mut said = String::new();
    process.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((process.wait(), said.as_str()), (Some(0), ""));
}
