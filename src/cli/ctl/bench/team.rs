//! Manages the measuring processes on the side of the command that started them.
use std::{
    io::{self, BufRead, BufReader, Write},
    os::{fd::AsFd, unix::process::CommandExt},
    process::{ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use super::job::{Answer, Job};
use crate::StopFlag;
use crate::cli::common::exit::{Failure, code};
use crate::cli::common::ui::json_line;
use crate::cli::ctl::children::{Process, this_program};
use crate::sys::command::trace::Tracer;

/// The longest sleep without a check of the stop flag.
const SLICE_MS: u8 = 100;
/// How long traced processes may work: many times longer than they need, except on an overloaded machine.
const TRACED_PATIENCE: Duration = Duration::from_secs(10);
/// How long a process that has closed its output may take to end.
const GRACE: Duration = Duration::from_secs(2);

/// Why a measurement has no result.
#[derive(Debug)]
pub enum Halt {
    /// A signal asks the command to end.
    Stopped,
    /// Traced processes took too long.
    Late,
    /// It failed.
    Failed(Failure),
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Self {
        Halt::Failed(failure)
    }
}

/// Several processes that work at the same time. Dropping this kills those that still run.
pub struct Team<'s> {
    workers: Vec<Worker>,
    stop: &'s StopFlag,
    /// The latest time for answers.
    deadline: Option<Instant>,
}

struct Worker {
    process: Process,
    what: &'static str,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl<'s> Team<'s> {
    /// Starts a process for each job, and waits until all are ready.
    pub fn start(jobs: &[Job], stop: &'s StopFlag) -> Result<Self, Halt> {
        let workers = jobs.iter().map(Worker::start).collect::<Result<_, _>>()?;
        let mut team = Team { workers, stop, deadline: None };
        for (answer, worker) in team.answers()?.iter().zip(&team.workers) {
            if !matches!(answer, Answer::Ready) {
                return Err(worker.nonsense(answer).into());
            }
        }
        Ok(team)
    }

    /// Starts one process, and waits until it is ready.
    pub fn of_one(job: Job, stop: &'s StopFlag) -> Result<Self, Halt> {
        Self::start(&[job], stop)
    }

    /// Gives all processes the signal to begin.
    pub fn go(&mut self) -> Result<(), Halt> {
        for worker in &mut self.workers {
            let told = worker.input.write_all(b"\n");
            told.map_err(|error| Failure::io(format!("talking to a {}", worker.what), &error))?;
        }
        Ok(())
    }

    /// The next answer of each process, in their order. Fails at once if a process ends without an answer, or
    /// reports a fault.
    pub fn answers(&mut self) -> Result<Vec<Answer>, Halt> {
        let mut answers: Vec<Option<Answer>> = self.workers.iter().map(|_| None).collect();
        loop {
            let waiting: Vec<usize> = (0..answers.len()).filter(|&at| answers[at].is_none()).collect();
            if waiting.is_empty() {
                return Ok(answers.into_iter().flatten().collect());
            }
            for at in self.ready(&waiting)? {
                answers[at] = Some(self.workers[at].read()?);
            }
        }
    }

    /// Gives all processes the signal to begin, and waits for their answers.
    pub fn work(&mut self) -> Result<Vec<Answer>, Halt> {
        self.go()?;
        self.answers()
    }

    /// As [`work`](Self::work), but also counts the system calls of all processes in their work, by tracing them;
    /// they must not take too long. If the system refuses to trace them, they work normally.
    pub fn work_traced(&mut self) -> Result<(Vec<Answer>, io::Result<u64>), Halt> {
        let tracer = match Tracer::of(self.ids().collect()) {
            Ok(tracer) => tracer,
            Err(error) => return Ok((self.work()?, Err(error))),
        };
        self.deadline = Some(Instant::now() + TRACED_PATIENCE);
        let answers = self.work();
        self.deadline = None;
        if answers.is_err() {
            // The tracer's thread ends with the processes; until then no other code may wait for them.
            self.workers.iter_mut().for_each(|worker| worker.process.kill());
        }
        let counts = tracer.counts();
        Ok((answers?, counts.map(|counts| counts.iter().sum())))
    }

    /// The processes of `waiting` that have sent an answer or ended.
    fn ready(&self, waiting: &[usize]) -> Result<Vec<usize>, Halt> {
        let fd = |&at: &usize| PollFd::new(self.workers[at].output.get_ref().as_fd(), PollFlags::POLLIN);
        let mut fds: Vec<PollFd<'_>> = waiting.iter().map(fd).collect();
        let polled = poll(&mut fds, PollTimeout::from(SLICE_MS));
        if self.stop.is_raised() {
            return Err(Halt::Stopped);
        }
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(Halt::Late);
        }
        match polled {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(Failure::io("waiting for processes", &error.into()).into()),
        }
        let ready = fds.iter().zip(waiting).filter(|(fd, _)| fd.any() == Some(true));
        Ok(ready.map(|(_, &at)| at).collect())
    }

    /// The process ids.
    pub fn ids(&self) -> impl Iterator<Item = u32> {
        self.workers.iter().map(|worker| worker.process.id())
    }

    /// Kills and reaps all processes at once. Returns the time of that on the monotonic clock.
    pub fn kill(self) -> u64 {
        let at_ns = crate::sys::command::clock::monotonic_ns();
        drop(self);
        at_ns
    }
}

impl Worker {
    fn start(job: &Job) -> Result<Self, Failure> {
        let what = job.work.title();
        let mut command = Command::new(this_program()?);
        command.arg("bench-worker").arg(json_line(job)?.trim_end());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        // Ctrl-C in a terminal goes only to the command, which then ends its processes.
        command.process_group(0);
        let mut process = Process::start(what, command)?;
        let (Some(input), Some(output)) = (process.take_input(), process.take_output()) else {
            return Err(Failure::new(code::RUNTIME, format!("a {what} has no pipes")));
        };
        Ok(Worker { process, what, input, output: BufReader::new(output) })
    }

    fn read(&mut self) -> Result<Answer, Failure> {
        let mut line = String::new();
        match self.output.read_line(&mut line) {
            Ok(0) => Err(self.end()),
            Ok(_) => match serde_json::from_str(&line) {
                Ok(Answer::Fault(fault)) => Err(Failure::new(code::ASSERTION, fault)),
                Ok(answer) => Ok(answer),
                Err(_) => Err(Failure::new(code::RUNTIME, format!("a {} said {line:?}", self.what))),
            },
            Err(error) => Err(Failure::io(format!("listening to a {}", self.what), &error)),
        }
    }

    /// Why there is no answer.
    fn end(&mut self) -> Failure {
        let start = Instant::now();
        while self.process.status().is_none() && start.elapsed() < GRACE {
            thread::sleep(Duration::from_millis(1));
        }
        let complaint = self.process.complaint();
        let line = complaint.unwrap_or_else(|| format!("a {} ended without an answer", self.what));
        Failure::new(code::RUNTIME, line)
    }

    /// The failure for an answer that was not expected.
    fn nonsense(&self, answer: &Answer) -> Failure {
        Failure::new(code::RUNTIME, format!("a {} answered {answer:?}", self.what))
    }
}
