//! The jobs of a worker: those that wait for a slot, those that run, and those that wait for their next attempt.
//!
//! The main thread adds jobs; a thread for each slot takes them, and reports what became of them.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::Postponed;
use crate::cli::transport::Owned;

/// Items for one command.
#[derive(Debug)]
pub struct Job<O> {
    /// Counted from 1; the same at each attempt.
    pub number: u64,
    /// One item, or with `--max-items` several.
    pub items: Vec<O>,
}

impl<O: Owned> Job<O> {
    /// The attempt that comes next, from 1: one more than the failures so far.
    pub fn attempt(&self) -> u32 {
        1 + u32::from(self.items.iter().map(O::failures).max().unwrap_or_default())
    }
}

/// What became of a job that a slot had.
#[derive(Debug)]
pub enum After<O, S> {
    /// Its items are acknowledged, or given back.
    Settled,
    /// It is tried again at that time.
    Postponed(Job<O>, Instant),
    /// Its items are given back, and the worker is to stop.
    Stop(S),
}

/// All jobs in hand.
#[derive(Debug)]
pub struct Jobs<O, S> {
    state: Mutex<State<O, S>>,
    /// A job was added, or no more will come.
    added: Condvar,
    /// A slot is free, or something else changed that the main thread waits for.
    changed: Condvar,
    slots: usize,
    /// Jobs that may wait for a slot.
    prefetch: usize,
}

#[derive(Debug)]
struct State<O, S> {
    waiting: VecDeque<Job<O>>,
    running: usize,
    postponed: Postponed<Job<O>>,
    stop: Option<S>,
    over: bool,
}

impl<O: Owned, S> Jobs<O, S> {
    pub fn new(slots: usize, prefetch: usize) -> Self {
        let state = State {
            waiting: VecDeque::new(),
            running: 0,
            postponed: Postponed::new(),
            stop: None,
            over: false,
        };
        Jobs { state: Mutex::new(state), added: Condvar::new(), changed: Condvar::new(), slots, prefetch }
    }

    fn state(&self) -> MutexGuard<'_, State<O, S>> {
        // No invariant spans two statements that can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a job.
    pub fn add(&self, job: Job<O>) {
        self.state().waiting.push_back(job);
        self.added.notify_one();
    }

    /// The next job, for a slot that is free; waits for it. `None`: no more will come.
    pub fn take(&self) -> Option<Job<O>> {
        let mut state = self.state();
        loop {
            if state.over {
                return None;
            }
            if let Some(job) = state.waiting.pop_front() {
                state.running += 1;
                return Some(job);
            }
            state = self.added.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A job that waits for a slot, if the slot that asks may hold another one.
    pub fn try_take(&self) -> Option<Job<O>> {
        let mut state = self.state();
        let job = state.waiting.pop_front().filter(|_| !state.over)?;
        state.running += 1;
        Some(job)
    }

    /// A slot has finished a job.
    pub fn finished(&self, after: After<O, S>) {
        let mut state = self.state();
        state.running -= 1;
        match after {
            After::Settled => {}
            After::Postponed(job, due) => state.postponed.push(job, due),
            After::Stop(why) => drop(state.stop.get_or_insert(why)),
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Moves the postponed jobs that are due to the front, as far as there is room; then answers how many more jobs may
    /// be added.
    pub fn room(&self) -> usize {
        let mut state = self.state();
        let now = Instant::now();
        let most = self.slots + self.prefetch;
        let mut moved = false;
        while state.running + state.waiting.len() < most
            && let Some(job) = state.postponed.pop_due(now)
        {
            state.waiting.push_front(job);
            moved = true;
        }
        if moved {
            self.added.notify_all();
        }
        most.saturating_sub(state.running + state.waiting.len())
    }

    /// Waits for a change, at most `limit`, and no longer than until the next postponed job is due.
    pub fn wait(&self, limit: Duration) {
        let state = self.state();
        let limit = limit.min(until_due(&state.postponed));
        drop(self.changed.wait_timeout(state, limit));
    }

    /// How long until the next postponed job is due.
    pub fn until_due(&self) -> Duration {
        until_due(&self.state().postponed)
    }

    /// Jobs that wait for a slot or run, and jobs that are postponed.
    pub fn in_hand(&self) -> (usize, usize) {
        let state = self.state();
        (state.running + state.waiting.len(), state.postponed.len())
    }

    /// Why a slot wants the worker to stop.
    pub fn stop(&self) -> Option<S> {
        self.state().stop.take()
    }

    /// No job starts any more. Answers those that have not started; running ones go on.
    pub fn end(&self) -> Vec<Job<O>> {
        let mut state = self.state();
        state.over = true;
        let mut left: Vec<_> = state.waiting.drain(..).collect();
        left.extend(std::mem::take(&mut state.postponed).into_items());
        self.added.notify_all();
        left
    }

    /// Waits until no job runs, at most `limit`. False: some run.
    pub fn wait_for_running(&self, limit: Duration) -> bool {
        let state = self.state();
        let waited = self.changed.wait_timeout_while(state, limit, |state| state.running > 0);
        waited.is_ok_and(|(state, _)| state.running == 0)
    }
}

fn until_due<T>(postponed: &Postponed<T>) -> Duration {
    let due = postponed.next_due();
    due.map_or(Duration::MAX, |due| due.saturating_duration_since(Instant::now()))
}
