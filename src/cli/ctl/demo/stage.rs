//! The processes of the demonstration: each has a place, where one process runs at a time.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::textbook::lesson::Lesson;
use crate::cli::common::exit::{Failure, code};
use crate::cli::ctl::check;
use crate::cli::ctl::children::{self, not_started};
use crate::cli::ctl::own_ring::OwnRing;
use crate::sys::command::DIRECTORY;
use crate::testing::history::{self, Checker, Event, Report};
use crate::testing::{Ended, Follow, Output, Process, Program, Session};
use crate::{RingOptions, Role};

/// How many items a second each producer sends.
const RATE: &str = "1.5/s";
/// How long the command of each worker runs, in seconds.
const WORK: [&str; 3] = ["0.4", "0.5", "0.6"];
const PRODUCERS: usize = 2;
/// The lines that a producer has to send: enough for a day.
const LINES: u32 = 150_000;
const CAPACITY: u64 = 8;
/// How long the processes may take to end when asked.
const GRACE: Duration = Duration::from_secs(3);
/// How long a key waits for a process that it is meant for, and the time between two checks.
pub const PATIENCE: Duration = Duration::from_secs(5);
pub const POLL: Duration = Duration::from_millis(1);
/// How long the last consumer may take for the items that are left in a ring of this size.
const LAST: Duration = Duration::from_secs(30);

/// A place: a producer or a worker, which can be killed and started again.
#[derive(Debug)]
pub struct Place {
    pub role: Role,
    /// The seconds that a worker's command takes.
    work: &'static str,
    process: Process,
    log: Follow,
    ended: Option<Ended>,
    is_stopped: bool,
    /// It was sent SIGKILL.
    is_killed: bool,
}

impl Place {
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    pub fn is_alive(&self) -> bool {
        self.ended.is_none()
    }

    /// Whether it runs, and is not about to end.
    pub fn is_running(&self) -> bool {
        self.is_alive() && !self.is_killed
    }

    pub fn is_stopped(&self) -> bool {
        self.is_alive() && self.is_stopped
    }

    /// How the process ended, as a sentence; `None`: it was killed.
    pub fn complaint(&self) -> Option<String> {
        complaint(self.role, &self.process, self.ended)
    }
}

/// How a process ended, as a sentence; `None`: it was killed, or has not ended.
pub fn complaint(role: Role, process: &Process, ended: Option<Ended>) -> Option<String> {
    let who = format!("{role} {}", process.id());
    match ended? {
        Ended::Signal(9) => None,
        Ended::Signal(number) => Some(format!("{who} ended by signal {number}")),
        Ended::Code(0) => Some(format!("{who} has ended")),
        Ended::Code(number) => {
            let said = process.stderr().text().unwrap_or_default();
            let said = said.lines().last().map_or(String::new(), |line| format!(": {line}"));
            Some(format!("{who} ended with code {number}{said}"))
        }
    }
}

/// The state of a process, as /proc has it.
pub fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')').next()?.trim_start().chars().next()
}

/// Stops a process, and waits until it has stopped. False: it has not, or is dead.
pub fn stop_and_wait(pid: u32) -> bool {
    // The session reaps it in the end: until then, the id belongs to it.
    let _ = kill(Pid::from_raw(pid as i32), Signal::SIGSTOP);
    let start = Instant::now();
    loop {
        match state(pid) {
            Some('T') => return true,
            None | Some('Z' | 'X') => return false,
            _ if start.elapsed() > PATIENCE => return false,
            _ => thread::sleep(POLL),
        }
    }
}

fn textbook_name(ring: &OwnRing) -> String {
    format!("{}-textbook", ring.name())
}

/// The ring, and all processes.
pub struct Stage {
    pub places: Vec<Place>,
    /// Processes that were killed, by this command or another one.
    pub killed: u64,
    /// The logs of all processes so far.
    logs: Vec<PathBuf>,
    session: Session,
    // Dropped last: it is removed when no process uses it any more.
    pub ring: OwnRing,
}

impl Stage {
    /// Makes the ring and starts all processes.
    pub fn new() -> Result<Self, Failure> {
        let ring = OwnRing::make("demo", &RingOptions::new().capacity(CAPACITY))?;
        let folder = std::env::temp_dir().join(ring.name());
        fs::create_dir(&folder).map_err(|error| Failure::io(format!("folder {folder:?}"), &error))?;
        // Also if this command is killed.
        let shared = Path::new(DIRECTORY);
        let left = vec![shared.join(ring.name()), shared.join(textbook_name(&ring)), folder.clone()];
        let session = Session::removing(&folder, |_| left).map_err(|error| {
            let _ = fs::remove_dir(&folder);
            not_started("guard", &error)
        })?;
        let mut stage = Stage { places: Vec::new(), killed: 0, logs: Vec::new(), session, ring };
        let roles = [Role::Producer; PRODUCERS].into_iter().map(|role| (role, ""));
        for (role, work) in roles.chain(WORK.map(|work| (Role::Consumer, work))) {
            let place = stage.start(role, work)?;
            stage.places.push(place);
        }
        Ok(stage)
    }

    /// The name of the buffer of the textbooks.
    pub fn textbook_name(&self) -> String {
        textbook_name(&self.ring)
    }

    /// Starts a process on the buffer of the textbooks.
    pub fn start_on_textbook(&self, role: Role, lesson: Lesson) -> io::Result<Process> {
        let program = Program::new(std::env::current_exe()?).named("textbook").arg("demo-worker");
        let program = program.arg(self.textbook_name()).args(["--lesson", lesson.argument()]);
        self.session.start(&match role {
            Role::Producer => program.arg("--produce"),
            Role::Consumer => program,
        })
    }

    /// The command of this role, with a log of its own.
    fn program(&mut self, role: Role) -> Result<(Program, Output), Failure> {
        let command = children::command(role)?;
        let log = self.session.folder().join(format!("{role}-{}.log", self.logs.len()));
        self.logs.push(log.clone());
        let program = Program::new(command.get_program()).args(command.get_args());
        Ok((program.arg("--log").arg(&log).arg(self.ring.name()), Output::new(log)))
    }

    fn start(&mut self, role: Role, work: &'static str) -> Result<Place, Failure> {
        let (program, log) = self.program(role)?;
        let program = match role {
            Role::Producer => {
                let lines: String = (1..=LINES).map(|number| format!("job {number}\n")).collect();
                program.args(["--rate", RATE]).stdin(lines)
            }
            // With --follow, a worker stays while all producers are dead.
            Role::Consumer => program.args(["--follow", "--", "sleep", work]),
        };
        let process = self.session.start(&program).map_err(|error| not_started("process", &error))?;
        Ok(Place { role, work, process, log: log.follow(), ended: None, is_stopped: false, is_killed: false })
    }

    /// Starts the process of a place again, and returns the id of the one before.
    pub fn restart(&mut self, place: usize) -> Result<u32, Failure> {
        let Place { role, work, .. } = self.places[place];
        let new = self.start(role, work)?;
        Ok(std::mem::replace(&mut self.places[place], new).pid())
    }

    /// Sends a signal to the process of a place: to it alone, as `kill PID` does.
    pub fn signal(&mut self, place: usize, signal: Signal) {
        let place = &mut self.places[place];
        // The session reaps it in the end: until then, the id belongs to it.
        let _ = kill(Pid::from_raw(place.pid() as i32), signal);
        match signal {
            Signal::SIGSTOP => place.is_stopped = true,
            Signal::SIGCONT => place.is_stopped = false,
            Signal::SIGKILL => place.is_killed = true,
            _ => {}
        }
    }

    /// Notes which processes have ended since the last time, and returns their places.
    pub fn ended(&mut self) -> Result<Vec<usize>, Failure> {
        let mut found = Vec::new();
        for (number, place) in self.places.iter_mut().enumerate().filter(|(_, place)| place.is_alive()) {
            place.ended = place.process.ended().map_err(|error| Failure::io("a process", &error))?;
            if let Some(ended) = place.ended {
                self.killed += u64::from(ended == Ended::Signal(9));
                found.push(number);
            }
        }
        Ok(found)
    }

    /// What the processes have logged since the last time.
    pub fn events(&mut self) -> Result<Vec<Event>, Failure> {
        let mut events = Vec::new();
        for place in &mut self.places {
            for line in place.log.lines().map_err(|error| Failure::io("reading a log", &error))? {
                if line.starts_with('#') || line.is_empty() {
                    continue;
                }
                let wrong = |wrong| Failure::new(code::RUNTIME, format!("the log of a process: {wrong}"));
                events.push(Event::parse(line.as_bytes()).map_err(wrong)?);
            }
        }
        Ok(events)
    }

    /// Ends all processes, receives what is left in the ring by another consumer, and checks all logs. The second value is
    /// the number of killed processes.
    pub fn end(mut self) -> Result<(Report, u64), Failure> {
        // A worker ends when its command has ended, so that its item is not delivered again.
        for signal in [Signal::SIGCONT, Signal::SIGTERM] {
            (0..self.places.len()).for_each(|place| self.signal(place, signal));
        }
        let start = Instant::now();
        while self.places.iter().any(Place::is_alive) && start.elapsed() < GRACE {
            thread::sleep(POLL);
            self.ended()?;
        }
        let killed = self.killed;
        self.session.kill().map_err(|error| Failure::io("ending the processes", &error))?;
        let (program, _) = self.program(Role::Consumer)?;
        let program = program.args(["--drain", "--ack=write"]);
        let last = self.session.start(&program).map_err(|error| not_started("consumer", &error))?;
        let ended = last.wait(LAST).map_err(|error| Failure::io("the last consumer", &error))?;
        if ended != Some(Ended::Code(0)) {
            let said = last.stderr().text().unwrap_or_default();
            let said = said.lines().last().unwrap_or("it has not ended");
            return Err(Failure::new(code::RUNTIME, format!("the last consumer failed: {said}")));
        }
        // A process that was killed at its start has no log.
        self.logs.retain(|log| log.exists());
        let checker = Checker::new().capacity(self.ring.capacity());
        Ok((history::check(&self.logs, checker).map_err(check::failure)?, killed))
    }
}
