//! Processes whose liveness is hard to tell, and the means by which a test controls them.
//!
//! A life says one line on standard error for each thing that it has done, and takes orders from standard input.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{ChildStderr, ChildStdin, Command, Stdio};

use nix::sys::signal::Signal;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork};
use ringpipe::{Consumer, Item, Liveness, Ring};

use crate::support::actor::RemoteActor;
use crate::support::{Kept, again, die_with_parent, times_slower};

const LIFE: &str = "RINGPIPE_TEST_LIFE";
const NAME: &str = "RINGPIPE_TEST_RING";
const LAST_PID: &str = "/proc/sys/kernel/ns_last_pid";
/// Seconds after which a forked child ends itself.
const WATCHDOG: libc::c_uint = 60;

/// A life; it is killed when this is dropped.
pub struct Life {
    process: Kept,
    to: ChildStdin,
    from: Lines<BufReader<ChildStderr>>,
}

impl Life {
    pub fn of(kind: &str, name: &str) -> Life {
        Life::start(again("liveness::life", LIFE, kind), name)
    }

    /// In a PID namespace of its own, where it is process 1.
    pub fn apart(unshare: &[&str], kind: &str, name: &str) -> Life {
        let inner = again("liveness::life", LIFE, kind);
        let mut command = Command::new("unshare");
        command.args(unshare).arg(inner.get_program()).args(inner.get_args()).stdout(Stdio::null());
        let variables = inner.get_envs().filter_map(|(name, value)| Some((name, value?)));
        command.envs(variables.map(|(name, value)| (OsString::from(name), OsString::from(value))));
        Life::start(command, name)
    }

    fn start(mut command: Command, name: &str) -> Life {
        command.env(NAME, name).stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("a child");
        let to = child.stdin.take().expect("piped");
        let from = BufReader::new(child.stderr.take().expect("piped")).lines();
        Life { process: Kept(child), to, from }
    }

    pub fn says(&mut self) -> String {
        self.from.next().expect("it speaks").expect("in text")
    }

    pub fn does(&mut self, what: &str) -> String {
        writeln!(self.to, "{what}").expect("it listens");
        self.says()
    }

    pub fn kill(&self) {
        self.process.signal(Signal::SIGKILL);
    }

    pub fn pid(&self) -> Pid {
        self.process.pid()
    }
}

/// How many are alive, and how many dead, as `ring` has it.
pub fn verdict(ring: &Ring) -> String {
    let all = ring.participants();
    let dead = all.iter().filter(|one| one.liveness == Liveness::Dead).count();
    format!("alive {} dead {dead}", all.len() - dead)
}

/// Does nothing by itself; in a process that [`Life::start`] made, it is that life.
pub fn live_if_told() {
    let Ok(kind) = std::env::var(LIFE) else { return };
    let name = std::env::var(NAME).expect("set by the starter");
    let apart = std::process::id() == 1;
    if !apart {
        die_with_parent();
    }
    match kind.as_str() {
        "looker" => obey(&name, None),
        "holder" => hold(&name),
        "headless" => lose_the_main_thread(&name),
        "parent" => have_a_child(&name, false),
        "parent-of-sleep" => have_a_child(&name, true),
        "reuse" => reuse(&name),
        _ => panic!("{kind}?"),
    }
}

fn say(what: &str) {
    eprintln!("{what}");
}

/// Until standard input ends.
fn obey(name: &str, mut held: Option<Item<'_>>) {
    for line in std::io::stdin().lines().map_while(Result::ok) {
        match line.as_str() {
            "look" => say(&verdict(&Ring::open(name).expect("it is there"))),
            "ack" => {
                held.take().expect("it holds one").ack();
                say("done");
            }
            _ => panic!("{line}?"),
        }
    }
}

fn attached(name: &str) -> Consumer {
    Ring::open(name).and_then(|ring| ring.consumer()).expect("a place")
}

fn hold(name: &str) {
    let mut consumer = attached(name);
    let item = consumer.recv().expect("an item");
    say(&format!("holds {}", std::process::id()));
    obey(name, Some(item));
}

/// A process of which the main thread has ended looks like a zombie.
fn lose_the_main_thread(name: &str) {
    let name = name.to_string();
    // SAFETY: the test harness' other thread waits and holds no lock; the C library sees to its own.
    match unsafe { fork() }.expect("a child") {
        ForkResult::Child => {
            // SAFETY: system calls without memory.
            unsafe {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                libc::alarm(WATCHDOG * times_slower());
            }
            std::thread::spawn(move || {
                hold(&name);
                std::process::exit(0);
            });
            // SAFETY: ends this thread alone; nothing on its stack is used by another.
            unsafe { libc::syscall(libc::SYS_exit, 0) };
        }
        ForkResult::Parent { child } => drop(waitpid(child, None)),
    }
}

/// A child that has copies of all descriptors, until it becomes another program.
fn have_a_child(name: &str, execs: bool) {
    let ring = Ring::open(name).expect("it is there");
    let mut consumer = ring.consumer().expect("a place");
    let item = consumer.recv().expect("an item");
    // SAFETY: as above.
    match unsafe { fork() }.expect("a child") {
        ForkResult::Child => {
            // SAFETY: a system call without memory; `exec` keeps the alarm.
            unsafe { libc::alarm(WATCHDOG * times_slower()) };
            // The item is the parent's.
            item.ack();
            let refused = consumer.try_recv().expect_err("not in the child").kind();
            if execs {
                say(&format!("child {} {refused:?}", std::process::id()));
                let error = std::os::unix::process::CommandExt::exec(Command::new("sleep").arg("60"));
                panic!("no sleep: {error}");
            }
            // What was opened before can still be attached to.
            let own = ring.consumer().expect("a place of its own");
            say(&format!("child {} {refused:?} {}", std::process::id(), verdict(&ring)));
            nix::unistd::pause();
            drop(own);
        }
        ForkResult::Parent { .. } => obey(name, Some(item)),
    }
}

/// In a PID namespace of its own: again and again a consumer is killed with an item in its hand, and the next
/// one gets its process id.
fn reuse(name: &str) {
    let ring = Ring::open(name).expect("it is there");
    let mut victim = RemoteActor::attached(name, "consumer");
    let mut attempt = 1;
    assert_eq!(victim.does("recv"), format!("got {attempt} item"));
    let mut same_start = 0;
    while attempt < 20 {
        let (pid, start) = (victim.pid(), start_time(victim.pid()));
        drop(victim);
        if let Err(error) = std::fs::write(LAST_PID, (pid.as_raw() - 1).to_string()) {
            return say(&format!("skipped: {LAST_PID}: {error}"));
        }
        victim = RemoteActor::attached(name, "consumer");
        assert_eq!(victim.pid(), pid, "another process got the id");
        same_start += u32::from(start_time(pid) == start);
        // Two entries with one process id, one of a dead and one of a living process.
        assert_eq!(verdict(&ring), "alive 1 dead 1");
        attempt += 1;
        assert_eq!(victim.does("recv"), format!("got {attempt} item"));
        assert_eq!(verdict(&ring), "alive 1 dead 0");
    }
    say(&format!("reused {} times, {same_start} within a tick of the clock", attempt - 1));
}

fn start_time(pid: Pid) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    let (_, rest) = stat.rsplit_once(')').expect("a name");
    rest.split_ascii_whitespace().nth(19).expect("22 fields").into()
}
