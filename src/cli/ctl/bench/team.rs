//! Measuring processes, as the command that started them sees them.
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
use crate::{
    StopFlag,
    cli::{
        ctl::{
            children::{Process, this_program},
            output,
        },
        exit::{Failure, code},
    },
    sys::trace::Tracer,
};

/// Longest sleep without a look at the stop flag.
const SLICE_MS: u8 = 100;
/// How long traced processes may work: many times as long as they do, but for a machine that has no time for them.
const TRACED_PATIENCE: Duration = Duration::from_secs(10);
/// How long a process that has closed its output may take to end.
const GRACE: Duration = Duration::from_secs(2);

/// Why a measurement came to nothing.
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

/// Several processes that work at the same time; killed, where they still run, when dropped.
pub struct Team<'s> {
    workers: Vec<Worker>,
    stop: &'s StopFlag,
    /// When answers come too late.
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

    /// Gives all of them the word.
    pub fn go(&mut self) -> Result<(), Halt> {
        for worker in &mut self.workers {
            let told = worker.input.write_all(b"\n");
            told.map_err(|error| Failure::io(format!("talking to a {}", worker.what), &error))?;
        }
        Ok(())
    }

    /// The next answer of each, in their order. A process that ends without one, or answers that it found a
    /// fault, ends this at once.
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

    /// Gives all of them the word, and waits for their answers.
    pub fn work(&mut self) -> Result<Vec<Answer>, Halt> {
        self.go()?;
        self.answers()
    }

    /// As [`work`](Self::work), with the number of system calls that all made together in their work, which
    /// are traced for that, and must not take too long. Where the system refuses to trace them, they work as ever.
    pub fn work_traced(&mut self) -> Result<(Vec<Answer>, io::Result<u64>), Halt> {
        let tracer = match Tracer::of(self.ids().collect()) {
            Ok(tracer) => tracer,
            Err(error) => return Ok((self.work()?, Err(error))),
        };
        self.deadline = Some(Instant::now() + TRACED_PATIENCE);
        let answers = self.work();
        self.deadline = None;
        if answers.is_err() {
            // The tracer's thread ends with them; while it is there, nobody else may ask how they are.
            self.workers.iter_mut().for_each(|worker| worker.process.kill());
        }
        let counts = tracer.counts();
        Ok((answers?, counts.map(|counts| counts.iter().sum())))
    }

    /// Those of `waiting` that have something to say, or have ended.
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

    /// Kills all of them, at once, and leaves no trace of them. Answers when, on the monotonic clock.
    pub fn kill(self) -> u64 {
        let at_ns = crate::sys::clock::monotonic_ns();
        drop(self);
        at_ns
    }
}

impl Worker {
    fn start(job: &Job) -> Result<Self, Failure> {
        let what = job.work.title();
        let mut command = Command::new(this_program()?);
        command.arg("bench-worker").arg(output::json_line(job)?.trim_end());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        // A terminal's Ctrl-C goes to the command, which then ends its processes.
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

    /// About an answer that does not belong here.
    fn nonsense(&self, answer: &Answer) -> Failure {
        Failure::new(code::RUNTIME, format!("a {} answered {answer:?}", self.what))
    }
}
