//! A process that does with a named object what it is told, one line at a time.
//!
//! | told | does | answers |
//! |---|---|---|
//! | `lock` | takes the lock (of a lock, of a condition) | `clean` or `abandoned`, and holds it |
//! | `hand` | starts a process with a copy of the held lock's descriptor | its id |
//! | `unlock` | releases it | `done` |
//! | `wait` | waits (condition, event) | `woken` |
//! | `one`, `all` | notifies (condition) | `done` |
//! | `acquire`, `release` | (semaphore) | `done` |
//! | `drop`, `forget` | the permit taken last (semaphore) | `done` |
//! | `set`, `take` | (event) | `done` |
//! | `come` | waits (barrier) | `first` or `last` |
//!
//! An error is answered by its kind. When it is told nothing more, it drops the object and says `left`.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use nix::sys::signal::Signal;
use ringpipe::Error;
use ringpipe::sync::{Barrier, Condition, ConditionGuard, Event, Lock, LockGuard, ObjectOptions, Semaphore};

use crate::support::{Kept, again, die_with_parent, wait_until};

/// How long an answer may take.
const LONG: Duration = Duration::from_secs(20);
const ACTOR: &str = "RINGPIPE_TEST_ACTOR";

/// An actor; it is killed when this is dropped.
pub struct Actor {
    child: Kept,
    /// `None`: it was told to leave.
    to: Option<ChildStdin>,
    from: Receiver<String>,
}

impl Actor {
    /// An actor that has opened the object `name`, which is a `lock`, `semaphore`, `condition`, `event`, `barrier` for
    /// three, or a `lock` or `barrier` that is `ephemeral-`.
    pub fn with(kind: &str, name: &str) -> Actor {
        let mut child = again("actor", ACTOR, &format!("{kind} {name}"))
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a child");
        let to = child.stdin.take();
        let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let (tell, from) = channel();
        // Ends with the actor.
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tell.send(line)));
        let mut actor = Actor { child: Kept(child), to, from };
        assert_eq!(actor.answer(), "opened");
        actor
    }

    /// Tells it to do something, and does not wait for the answer.
    pub fn told(&mut self, what: &str) {
        writeln!(self.to.as_ref().expect("it has not left"), "{what}").expect("the actor listens");
    }

    pub fn pid(&self) -> u32 {
        self.child.pid().as_raw() as u32
    }

    /// Tells it to do something, and waits for the answer. False: it has died.
    pub fn outlives(&mut self, what: &str) -> bool {
        let told = self.to.as_mut().is_some_and(|to| writeln!(to, "{what}").is_ok());
        told && self.answers()
    }

    /// Has it drop its object, and waits until it has. False: it has died.
    pub fn leaves(&mut self) -> bool {
        self.to = None;
        self.answers()
    }

    fn answers(&mut self) -> bool {
        match self.from.recv_timeout(LONG) {
            Ok(_) => true,
            Err(RecvTimeoutError::Disconnected) => false,
            Err(RecvTimeoutError::Timeout) => panic!("the actor does not answer"),
        }
    }

    pub fn answer(&mut self) -> String {
        self.from.recv_timeout(LONG).expect("the actor answers")
    }

    /// Tells it to do something, and waits for the answer.
    pub fn does(&mut self, what: &str) -> String {
        self.told(what);
        self.answer()
    }

    /// Tells it to do something that makes it sleep, and waits until it does.
    pub fn sleeps_at(&mut self, what: &str) {
        self.told(what);
        let wchan = format!("/proc/{}/stat", self.child.pid());
        // Asleep, and not because it waits for the next line: it has been told one.
        let mut times = 0;
        wait_until("asleep", || {
            let asleep = std::fs::read_to_string(&wchan).is_ok_and(|stat| stat.contains(") S "));
            times = if asleep { times + 1 } else { 0 };
            times > 50
        });
    }

    pub fn signal(&self, signal: Signal) {
        self.child.signal(signal);
    }

    /// Kills it, and returns when it is gone.
    pub fn killed(self) {
        drop(self);
    }

    /// Stops it, and waits until it stands still.
    pub fn stop(&self) {
        self.signal(Signal::SIGSTOP);
        let stat = format!("/proc/{}/stat", self.child.pid());
        wait_until("stopped", || std::fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") T ")));
    }
}

/// Does nothing by itself; in a process that [`Actor::with`] made, it is the actor.
pub fn run_if_told() {
    let Ok(orders) = std::env::var(ACTOR) else { return };
    die_with_parent();
    let (kind, name) = orders.split_once(' ').expect("a kind and a name");
    match kind {
        "lock" => play_lock(&mut Lock::open(name).expect("a lock")),
        "semaphore" => play_semaphore(&Semaphore::open(name).expect("a semaphore")),
        "condition" => play_condition(&mut Condition::open(name).expect("a condition")),
        "ephemeral-lock" => play_lock(&mut ephemeral().lock(name).expect("a lock")),
        "barrier" => play_barrier(&mut Barrier::open_or_create(name, 3).expect("a barrier")),
        "ephemeral-barrier" => play_barrier(&mut ephemeral().barrier(name, 3).expect("a barrier")),
        "event" => play_event(&mut Event::open(name).expect("an event")),
        _ => panic!("{kind}?"),
    }
    say("left");
}

fn say(what: &str) {
    eprintln!("{what}");
}

fn said<T>(result: Result<T, Error>) -> Option<T> {
    result.map_err(|error| say(&format!("{:?}", error.kind()))).ok()
}

fn next() -> Option<String> {
    std::io::stdin().lines().next()?.ok()
}

fn play_lock(lock: &mut Lock) {
    say("opened");
    while let Some(line) = next() {
        assert_eq!(line, "lock");
        let Some(guard) = said(lock.lock()) else { continue };
        say(if guard.is_abandoned() { "abandoned" } else { "clean" });
        let mut told = next().expect("more");
        if told == "hand" {
            say(&sleeper_with(&guard).to_string());
            told = next().expect("more");
        }
        assert_eq!(told, "unlock");
        drop(guard);
        say("done");
    }
}

/// The id of a process that has a copy of the lock's descriptor. The test ends it.
#[allow(clippy::zombie_processes)]
fn sleeper_with(guard: &LockGuard<'_>) -> u32 {
    let fd = guard.descriptor().expect("the lock's descriptor").as_raw_fd();
    let mut command = Command::new("sleep");
    command.arg("1000").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let inherit = move || {
        // SAFETY: a system call without memory.
        match unsafe { nix::libc::fcntl(fd, nix::libc::F_SETFD, 0) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: it makes a system call and reads errno.
    unsafe { command.pre_exec(inherit) };
    command.spawn().expect("a sleeper").id()
}

fn play_semaphore(semaphore: &Semaphore) {
    say("opened");
    let mut permits = Vec::new();
    while let Some(line) = next() {
        let done = match line.as_str() {
            "acquire" => said(semaphore.acquire()).map(|permit| permits.push(permit)),
            "release" => said(semaphore.release()),
            "drop" => permits.pop().map(drop),
            "forget" => permits.pop().map(|permit| permit.forget()),
            _ => panic!("{line}?"),
        };
        if done.is_some() {
            say("done");
        }
    }
}

fn play_condition(condition: &mut Condition) {
    say("opened");
    while let Some(line) = next() {
        assert_eq!(line, "lock");
        let Some(guard) = said(condition.lock()) else { continue };
        say(if guard.is_abandoned() { "abandoned" } else { "clean" });
        while_locked(guard);
    }
}

fn while_locked(mut guard: ConditionGuard<'_>) {
    while let Some(line) = next() {
        match line.as_str() {
            "wait" => match said(guard.wait()) {
                Some(again) => {
                    say(if again.is_abandoned() { "woken, abandoned" } else { "woken" });
                    guard = again;
                    continue;
                }
                None => return,
            },
            "one" => drop(guard.notify_one()),
            "all" => guard.notify_all(),
            "unlock" => {
                drop(guard);
                return say("done");
            }
            _ => panic!("{line}?"),
        }
        say("done");
    }
}

fn play_event(event: &mut Event) {
    say("opened");
    while let Some(line) = next() {
        let result = match line.as_str() {
            "set" => event.set().map(drop),
            "wait" => event.wait(),
            "take" => event.take(),
            _ => panic!("{line}?"),
        };
        if said(result).is_some() {
            say("done");
        }
    }
}

fn ephemeral() -> ObjectOptions {
    ObjectOptions::new().ephemeral(true)
}

fn play_barrier(barrier: &mut Barrier) {
    say("opened");
    while let Some(line) = next() {
        assert_eq!(line, "come");
        if let Some(was_last) = said(barrier.wait()) {
            say(if was_last { "last" } else { "first" });
        }
    }
}
