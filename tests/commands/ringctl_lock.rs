//! `ringctl lock`, between real processes: one holder at a time, how its command ends, and what a kill leaves.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::support::terminal::Terminal;
use crate::support::*;
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const RINGCTL: &str = env!("CARGO_BIN_EXE_ringctl");

fn lock(name: &str, arguments: &[&str]) -> Ended {
    ringctl(&[&["lock", name], arguments].concat())
}

/// A directory for what commands write, and a lock.
struct Place {
    name: TestName,
    dir: tempfile::TempDir,
}

impl Place {
    fn new(label: &str) -> Self {
        Place { name: TestName::new(label), dir: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_default()
    }

    /// `ringctl lock -- sh -c SCRIPT`, which runs in the directory.
    fn command(&self, script: &str) -> Command {
        let mut command = Command::new(RINGCTL);
        command.args(["lock", &self.name, "--", "sh", "-c", script]).current_dir(self.dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// The same, once the script has written its process id to the file `pid`.
    ///
    /// It has a process group of its own. The group of the tests may be orphaned, and the kernel ignores TSTP in such
    /// a group.
    fn holder(&self, script: &str) -> (Kept, u32) {
        let mut command = self.command(&format!("echo $$ > new; mv new pid; {script}"));
        let process = Kept::start(command.process_group(0));
        wait_until("the command runs", || self.file("pid").exists());
        let pid = self.read("pid").trim().parse().unwrap();
        fs::remove_file(self.file("pid")).unwrap();
        (process, pid)
    }
}

/// Whether there is such a process that has not ended.
fn lives(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn the_command_has_its_streams_its_arguments_and_its_exit_code() {
    let name = TestName::new("command");
    let run = Run::new(RINGCTL).args(&[
        "lock",
        &name,
        "--",
        "sh",
        "-c",
        "cat; echo \"$0 $1\" >&2; exit 7",
        "a b",
        "c",
    ]);
    let ended = run.input("through").run().with_code(7);
    assert_eq!((ended.text(), ended.stderr.as_str()), ("through", "a b c\n"));
    assert!(!name.exists(), "the last one removes it");
    lock(&name, &["--", "true"]).succeeds().quiet();
    // With a dash, and without a slash in its first argument.
    lock(&name, &["--", "sh", "-c", "test \"$0\" = -x", "-x"]).succeeds();
}

#[test]
fn a_command_that_is_ended_by_a_signal_gives_128_and_its_number() {
    use std::os::unix::process::ExitStatusExt;
    let place = Place::new("signals");
    for signal in [libc::SIGKILL, libc::SIGSEGV, libc::SIGUSR1] {
        let ended = lock(&place.name, &["-q", "--", "sh", "-c", &format!("ulimit -c 0; kill -{signal} $$")]);
        ended.with_code(128 + signal);
    }
    lock(&place.name, &["-q", "--", "true"]).succeeds();
    // A shell must see these as signals.
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let status = Kept::start(&mut place.command(&format!("kill -{signal} $$"))).ended();
        assert_eq!(status.signal(), Some(signal));
    }
    lock(&place.name, &["-q", "--", "true"]).succeeds();
    assert!(!place.name.exists());
}

#[test]
fn a_command_that_cannot_run_is_found_out_before_the_lock_is_taken() {
    let place = Place::new("missing");
    let missing = lock(&place.name, &["--", "no-such-program"]).with_code(127);
    assert!(missing.complaint().contains("was not found; expected a program in PATH"), "{missing:?}");
    lock(&place.name, &["--", "/etc/passwd"]).with_code(126);
    let none = lock(&place.name, &[]).with_code(2);
    assert_eq!(none.complaint(), "ringctl: there is no command; expected -- COMMAND [ARG]...");
    lock(&place.name, &["--no-wait", "--timeout", "1s", "--", "true"]).with_code(2);
    lock("a/b", &["--", "true"]).with_code(2);
    // Found, and the system refuses it: what the last holder left is still there for the next one.
    lock(&place.name, &["--", "sh", "-c", "kill -9 $$"]).with_code(137);
    let script = place.file("script");
    write_script(&script, "#!/no/such/interpreter\n");
    lock(&place.name, &["-q", "--", script.to_str().unwrap()]).with_code(127);
    let next = lock(&place.name, &["--", "true"]).succeeds();
    assert!(next.stderr.contains("died"), "{next:?}");
    assert!(!place.name.exists());
}

#[test]
fn one_at_a_time_holds_it_and_others_wait_give_up_or_do_not_wait() {
    let place = Place::new("held");
    let (mut holder, _) = place.holder("while :; do sleep 0.01; done");
    let held = lock(&place.name, &["--no-wait", "--", "true"]).with_code(3);
    assert_eq!(held.complaint(), format!("ringctl: lock {:?} is held by another process", place.name.name));
    let late = lock(&place.name, &["--timeout", "30ms", "--", "true"]).with_code(4);
    let line = format!("ringctl: lock {:?} is held by another process, waited 30ms", place.name.name);
    assert_eq!(late.complaint(), line);
    assert_eq!(holder.0.try_wait().unwrap(), None);
    holder.signal(Signal::SIGTERM);
    holder.ended();
    lock(&place.name, &["--no-wait", "--", "true"]).succeeds().quiet();
    assert!(!place.name.exists());
    let ring = TestName::ring("ring", &[]);
    let refused = lock(&ring, &["--", "true"]).with_code(6);
    assert!(refused.complaint().contains("expected a lock") && ring.exists(), "{refused:?}");
}

#[test]
fn fifty_processes_at_once_lose_no_count() {
    let place = Place::new("fifty");
    fs::write(place.file("count"), "0\n").unwrap();
    let script = "read n < count; echo $((n + 1)) > next; mv next count";
    let mut all: Vec<Kept> = (0..50).map(|_| Kept::start(&mut place.command(script))).collect();
    assert!(all.iter_mut().all(|process| process.wait() == Some(0)));
    assert_eq!(place.read("count"), "50\n");
    assert!(!place.name.exists());
}

/// What is killed is the ringctl that holds the lock: its command, and what that has started, die with it.
#[test]
fn a_killed_holders_command_dies_and_the_next_one_gets_the_lock_and_is_told() {
    let place = Place::new("killed");
    let (mut holder, pid) = place.holder("sleep 1000 & echo $! > child; wait");
    wait_until("it has a child", || !place.read("child").trim().is_empty());
    let child: u32 = place.read("child").trim().parse().unwrap();
    let script = "echo \"$RINGCTL_LOCK_RECOVERED\"";
    let next = Run::new(RINGCTL).args(&["lock", &place.name, "--", "sh", "-c", script]).spawn();
    holder.kill();
    let next = next.end().succeeds();
    assert!(!lives(pid) && !lives(child), "both are dead before the next one has the lock");
    assert_eq!(next.text(), "1\n");
    let line = "the last holder of lock \"{}\" died: what the lock protects may be half changed";
    assert_eq!(next.stderr, format!("ringctl: {}\n", line.replace("{}", &place.name.name)));
    let after = lock(&place.name, &["--", "sh", "-c", script]).succeeds().quiet();
    assert_eq!(after.text(), "\n");
    assert!(!place.name.exists());
}

#[test]
fn a_killed_command_is_told_to_the_next_one_and_an_ended_one_is_not() {
    let place = Place::new("crashed");
    let (mut holder, pid) = place.holder("sleep 1000");
    kill(Pid::from_raw(pid as i32), Signal::SIGKILL).unwrap();
    assert_eq!(holder.wait(), Some(137));
    let next = lock(&place.name, &["-q", "--", "sh", "-c", "exit ${RINGCTL_LOCK_RECOVERED:-9}"]);
    next.with_code(1).quiet();
    // Asked to end by a signal to ringctl: an end like others.
    let (mut holder, _) = place.holder("exec sleep 1000");
    holder.signal(Signal::SIGTERM);
    holder.ended();
    assert!(!place.name.exists());
    lock(&place.name, &["--", "sh", "-c", "exit ${RINGCTL_LOCK_RECOVERED:-9}"]).with_code(9).quiet();
}

#[test]
fn a_crash_after_a_signal_that_the_command_ignored_is_told_to_the_next_one() {
    let place = Place::new("ignored");
    let (mut holder, pid) = place.holder("trap '' HUP; : > ignores; exec sleep 1000");
    wait_until("it ignores HUP", || place.file("ignores").exists());
    holder.signal(Signal::SIGHUP);
    kill(Pid::from_raw(pid as i32), Signal::SIGKILL).unwrap();
    assert_eq!(holder.wait(), Some(137));
    let next = lock(&place.name, &["-q", "--", "sh", "-c", "exit ${RINGCTL_LOCK_RECOVERED:-9}"]);
    next.with_code(1).quiet();
}

#[test]
fn an_interrupt_at_any_moment_of_the_start_ends_it() {
    use std::os::unix::process::ExitStatusExt;
    let place = Place::new("early");
    for round in 0..100 {
        let mut process = Kept::start(&mut place.command("exec sleep 1000"));
        std::thread::sleep(std::time::Duration::from_micros(round * 150));
        process.signal(Signal::SIGINT);
        assert_eq!(process.ended().signal(), Some(libc::SIGINT), "round {round}");
    }
    lock(&place.name, &["--no-wait", "--", "true"]).succeeds().quiet();
}

/// A signal after the end of the command must not be written to a descriptor that was closed and is another file's by then.
#[test]
fn a_storm_of_signals_at_the_end_leaves_the_lock_as_it_is() {
    let place = Place::new("storm");
    let mut plain = ringpipe::sync::Lock::create(&place.name).unwrap();
    for round in 0..200 {
        let (mut holder, _) = place.holder("exit 0");
        while holder.0.try_wait().unwrap().is_none() {
            holder.signal(Signal::SIGTERM);
        }
        assert!(ringpipe::sync::Lock::open(&place.name).is_ok(), "round {round}");
        assert!(plain.try_lock().unwrap().is_some(), "round {round}");
    }
    plain.remove().unwrap();
}

#[test]
fn signals_are_passed_on_and_the_end_of_the_command_is_waited_for() {
    let place = Place::new("passed-on");
    for (signal, name) in [(Signal::SIGTERM, "TERM"), (Signal::SIGHUP, "HUP"), (Signal::SIGQUIT, "QUIT")] {
        let script = format!("trap 'sleep 0.1; echo {name} > got; exit 5' {name}; sleep 1000 & wait");
        let (mut holder, _) = place.holder(&script);
        // The shell sets its trap after it has told its number: a signal before that ends it.
        std::thread::sleep(std::time::Duration::from_millis(100));
        holder.signal(signal);
        assert_eq!(holder.wait(), Some(5), "{name}");
        assert_eq!(place.read("got"), format!("{name}\n"));
    }
    assert!(!place.name.exists());
}

#[test]
fn what_a_command_leaves_running_does_not_hold_the_lock() {
    let place = Place::new("left");
    let script = "sleep 1000 > /dev/null 2>&1 & echo $! > child";
    lock(&place.name, &["--", "sh", "-c", &format!("cd {:?}; {script}", place.dir.path())]).succeeds();
    let child: i32 = place.read("child").trim().parse().unwrap();
    assert!(lives(child as u32), "as with flock and env");
    lock(&place.name, &["--no-wait", "--", "true"]).succeeds().quiet();
    kill(Pid::from_raw(child), Signal::SIGKILL).unwrap();
}

/// Starts `command` as the leader of a session with this terminal.
fn on_terminal(terminal: &Terminal, command: &mut Command) -> Kept {
    command.stdout(terminal.side()).stderr(terminal.side());
    // SAFETY: system calls without memory.
    unsafe {
        command.pre_exec(|| {
            libc::setsid();
            libc::ioctl(1, libc::TIOCSCTTY, 0);
            Ok(())
        });
    }
    Kept::start(command)
}

/// As one that asks for a password does.
#[test]
fn a_command_whose_input_is_a_pipe_reads_from_the_terminal() {
    let (place, terminal) = (Place::new("piped"), Terminal::new(80));
    let script = "read line < /dev/tty; echo \"got $line\"; read line < /dev/tty";
    let mut reads = on_terminal(&terminal, place.command(script).stdin(Stdio::piped()));
    terminal.type_keys("keys\n");
    terminal.wait_for("got keys");
    terminal.type_keys("\x03");
    reads.ended();
    assert!(!place.name.exists(), "the interrupt has ended it: that is no crash");
}

/// There, a child of the command goes on when ringctl is killed, and the lock is held until it ends.
#[test]
fn at_a_terminal_the_command_reads_keys_and_gets_interrupts_itself() {
    let (place, terminal) = (Place::new("terminal"), Terminal::new(80));
    let on = |script: &str| on_terminal(&terminal, place.command(script).stdin(terminal.side()));
    let mut reads = on("trap 'echo interrupted; exit 6' INT; read line; echo \"got $line\"; read line");
    terminal.type_keys("keys\n");
    terminal.wait_for("got keys");
    terminal.type_keys("\x03");
    assert_eq!(reads.wait(), Some(6));
    terminal.wait_for("interrupted");
    assert_eq!(terminal.text().matches("interrupted").count(), 1);
    assert!(!place.name.exists());
    let mut holder = on("trap '' HUP; sleep 1000 & echo $! > new; mv new child; wait");
    wait_until("it has a child", || place.file("child").exists());
    let child: i32 = place.read("child").trim().parse().unwrap();
    holder.kill();
    lock(&place.name, &["--timeout", "100ms", "--", "true"]).with_code(4);
    kill(Pid::from_raw(child), Signal::SIGKILL).unwrap();
    let next = lock(&place.name, &["--timeout", "20s", "--", "true"]).succeeds();
    assert!(next.stderr.contains("died"), "{next:?}");
}

#[test]
fn a_stop_from_the_keyboard_stops_the_command_and_a_continue_continues_it() {
    let place = Place::new("stopped");
    // Starts no process: a shell that waits for the beginning of one cannot stop before that is continued.
    nix::unistd::mkfifo(&place.file("go"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let (mut holder, pid) = place.holder("read line < go; exit 3");
    let state = |pid: u32| fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    holder.signal(Signal::SIGTSTP);
    wait_until("both stand still", || {
        state(pid).contains(") T ") && state(holder.pid().as_raw() as u32).contains(") T ")
    });
    holder.signal(Signal::SIGCONT);
    wait_until("both go on", || {
        !state(pid).contains(") T ") && !state(holder.pid().as_raw() as u32).contains(") T ")
    });
    assert_eq!(holder.0.try_wait().unwrap(), None);
    fs::write(place.file("go"), "on\n").unwrap();
    assert_eq!(holder.wait(), Some(3));
}

#[test]
fn mode_and_owner_are_as_asked_for() {
    let place = Place::new("mode");
    let script = format!("stat -c %a {:?}", place.name.path());
    let made = lock(&place.name, &["--mode", "666", "--shared", "--", "sh", "-c", &script]).succeeds();
    assert_eq!(made.text(), "666\n");
    lock(&place.name, &["--mode", "8", "--", "true"]).with_code(2);
}
