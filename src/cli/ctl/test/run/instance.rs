//! One process of a program of the scenario.

use std::time::Instant;

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
    /// Whether a fault has ended it.
    pub fn was_struck_down(&self) -> bool {
        self.struck && self.ended.is_some()
    }

    /// Whether it runs, and is not suspended for good.
    pub fn is_active(&self) -> bool {
        self.ended.is_none() && !self.stopped_for_good
    }
}
