//! One process of a program of the scenario.

use std::io;
use std::time::Instant;

use crate::cli::ctl::test::scenario;

use crate::testing::point::Trace;
use crate::testing::{Ended, Process};

/// An instance that was started.
#[derive(Debug)]
pub struct Instance {
    /// The place of its program in the scenario.
    pub program: usize,
    /// Its number among the instances of the program, from 1; a restarted one has the number of the one before.
    pub number: u32,
    /// The process.
    pub process: Process,
    /// When it was seen to be ready.
    pub ready: Option<Instant>,
    /// How it ended, and when that was seen.
    pub ended: Option<(Ended, Instant)>,
    /// Whether a fault struck it.
    pub struck: bool,
    /// Whether a fault has suspended it and will not continue it: the run does not wait for it.
    pub stopped_for_good: bool,
    /// The fault that is carried out by tracing it.
    pub traces: Vec<(usize, Trace)>,
    /// How many descriptors it had open when it was ready.
    pub descriptors: Option<usize>,
}

impl Instance {
    /// One that was just started, with the traces of faults.
    pub fn new(program: usize, number: u32, process: Process, traces: Vec<(usize, Trace)>) -> Self {
        Instance {
            program,
            number,
            process,
            ready: None,
            ended: None,
            struck: false,
            stopped_for_good: false,
            traces,
            descriptors: None,
        }
    }

    /// Notes whether it has ended, and returns whether it has become ready. `attaches`: it is ready when it is attached to
    /// a ring.
    pub fn look(&mut self, attaches: bool) -> io::Result<bool> {
        if self.ended.is_none() {
            self.ended = self.process.ended()?.map(|ended| (ended, Instant::now()));
        }
        if self.ready.is_some() {
            return Ok(false);
        }
        // It attached to its ring and left between two checks.
        let left = attaches && matches!(self.ended, Some((Ended::Code(0), _)));
        if !left && !self.process.is_ready()? {
            return Ok(false);
        }
        self.ready = Some(Instant::now());
        self.descriptors = self.process.descriptors();
        Ok(true)
    }

    /// Whether a fault has ended it.
    pub fn was_struck_down(&self) -> bool {
        self.struck && self.ended.is_some()
    }

    /// Whether it runs, and is not suspended for good.
    pub fn is_active(&self) -> bool {
        self.ended.is_none() && !self.stopped_for_good
    }
}

/// How a process ended, in words.
pub fn ended_text(ended: Ended) -> String {
    match ended {
        Ended::Code(_) => format!("ended with {}", ended_word(ended)),
        Ended::Signal(_) => format!("was ended by {}", ended_word(ended)),
    }
}

/// The code or the signal: `code 1`, `KILL`.
pub fn ended_word(ended: Ended) -> String {
    match ended {
        Ended::Code(code) => format!("code {code}"),
        Ended::Signal(number) => match nix::sys::signal::Signal::try_from(number) {
            Ok(signal) => scenario::Signal(signal).name().into(),
            Err(_) => format!("signal {number}"),
        },
    }
}
