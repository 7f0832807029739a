//! The jobs of a worker: waiting for a slot, running, or waiting for their next attempt.
//!
//! The main thread adds jobs; a thread for each slot takes them, and reports what became of them.
//!
//! A slot that runs a command for each job has one job at a time and waits for it by a condition variable. A slot with a
//! standing command has several, and waits for jobs and for its command at once: it has a [`Bell`], a descriptor.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::eventfd::{EfdFlags, EventFd};

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
    /// Its items are too many for one command: each becomes a job of its own.
    Divided(Vec<Job<O>>),
    /// Its items are given back, and the worker is to stop.
    Stop(S),
}

/// What a slot finds that asks for more jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Supply {
    /// Some were taken; there may be others.
    Taken,
    /// None for now. The slot's bell rings when that changes.
    NotYet,
    /// No more will come.
    Over,
}

/// Wakes a slot that waits for descriptors.
#[derive(Debug)]
pub struct Bell(EventFd);

impl Bell {
    fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Bell(EventFd::from_value_and_flags(0, flags)?))
    }

    fn ring(&self) {
        // Refused only if it rings already.
        let _ = self.0.write(1);
    }

    /// Ends the ringing.
    pub fn silence(&self) {
        // Refused only if it does not ring.
        let _ = self.0.read();
    }

    /// A descriptor that is readable while it rings.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// All jobs that the worker has.
#[derive(Debug)]
pub struct Jobs<O, S> {
    state: Mutex<State<O, S>>,
    /// One for each slot, if the slots have standing commands; otherwise none.
    bells: Vec<Bell>,
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
    /// The items of these jobs.
    delayed: usize,
    stop: Option<S>,
    over: bool,
    /// The main thread waits for a change.
    awaited: bool,
    /// Something changed since the main thread asked for room.
    has_changed: bool,
    /// Standing commands that run.
    standing: usize,
    /// Jobs that each slot with a bell has.
    held: Vec<usize>,
    /// The slots whose bells are to ring for a job.
    asleep: Vec<usize>,
    /// The main thread is about to add a job.
    adding: bool,
    /// The main thread knows a reason to stop.
    ending: bool,
}

impl<O, S> State<O, S> {
    /// Jobs that wait for a slot or run.
    fn in_hand(&self) -> usize {
        self.running + self.waiting.len()
    }

    /// How many jobs a slot may have, so that the others can have as many: its share, rounded up.
    fn share(&self) -> usize {
        self.in_hand().div_ceil(self.held.len().max(1))
    }

    /// The slot to wake for the next job that waits: of those asleep, the one with the fewest jobs.
    ///
    /// A job never waits while all slots sleep: the slot with the fewest jobs of all may always take one. If that slot
    /// is awake, it looks for a job before it sleeps; if it sleeps, this function returns it.
    fn next_awake(&mut self) -> Option<usize> {
        if self.waiting.is_empty() {
            return None;
        }
        let fewest = (0..self.asleep.len()).min_by_key(|&at| self.held[self.asleep[at]])?;
        let may_take = self.held[self.asleep[fewest]] < self.share();
        may_take.then(|| self.asleep.swap_remove(fewest))
    }

    fn finished(&mut self, after: After<O, S>) {
        self.running -= 1;
        match after {
            After::Settled => {}
            After::Postponed(job, due) => {
                self.delayed += job.items.len();
                self.postponed.push(job, due);
            }
            After::Divided(jobs) => jobs.into_iter().rev().for_each(|job| self.waiting.push_front(job)),
            After::Stop(why) => drop(self.stop.get_or_insert(why)),
        }
    }
}

impl<O: Owned, S> Jobs<O, S> {
    pub fn new(slots: usize, prefetch: usize) -> Self {
        let state = State {
            waiting: VecDeque::new(),
            running: 0,
            postponed: Postponed::new(),
            delayed: 0,
            stop: None,
            over: false,
            awaited: false,
            has_changed: false,
            standing: 0,
            held: Vec::new(),
            asleep: Vec::new(),
            adding: false,
            ending: false,
        };
        Jobs {
            state: Mutex::new(state),
            bells: Vec::new(),
            added: Condvar::new(),
            changed: Condvar::new(),
            slots,
            prefetch,
        }
    }

    /// For slots with standing commands, each of which may have `ahead` jobs more than the one that its command works on.
    ///
    /// # Errors
    /// The error of the system: no descriptors are left.
    pub fn of_standing(slots: usize, ahead: usize) -> io::Result<Self> {
        let mut jobs = Self::new(slots, slots.saturating_mul(ahead).min(usize::MAX / 2));
        jobs.bells = (0..slots).map(|_| Bell::new()).collect::<io::Result<_>>()?;
        jobs.state().held = vec![0; slots];
        Ok(jobs)
    }

    fn state(&self) -> MutexGuard<'_, State<O, S>> {
        // No invariant spans two statements that can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a job.
    pub fn add(&self, job: Job<O>) {
        let mut state = self.state();
        state.adding = false;
        state.waiting.push_back(job);
        if self.bells.is_empty() {
            drop(state);
            self.added.notify_one();
        } else if let Some(slot) = state.next_awake() {
            drop(state);
            self.bells[slot].ring();
        }
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

    /// The bell of a slot with a standing command.
    pub fn bell(&self, slot: usize) -> &Bell {
        &self.bells[slot]
    }

    /// Takes waiting jobs until `slot` has `most` jobs or its share of all jobs.
    pub fn try_take(&self, slot: usize, most: usize, jobs: &mut VecDeque<Job<O>>) -> Supply {
        let mut state = self.state();
        state.asleep.retain(|&asleep| asleep != slot);
        if state.over {
            return Supply::Over;
        }
        let more = most.min(state.share()).saturating_sub(state.held[slot]).min(state.waiting.len());
        jobs.extend(state.waiting.drain(..more));
        state.running += more;
        state.held[slot] += more;
        if more > 0 {
            return Supply::Taken;
        }
        state.asleep.push(slot);
        let other = state.next_awake();
        drop(state);
        if let Some(other) = other {
            self.bells[other].ring();
        }
        Supply::NotYet
    }

    /// Whether a slot that found no job may receive one itself: there is room, no failed item is due, and the
    /// worker does not end. If so, the slot counts as having a job until it reports by
    /// [`received_none`](Self::received_none) that there is none. If not, the main thread is told what the
    /// slot has finished quietly.
    pub fn may_receive(&self, slot: usize) -> bool {
        let mut state = self.state();
        let is_free = state.held[slot] == 0
            && state.waiting.is_empty()
            && state.in_hand() + usize::from(state.adding) < self.slots + self.prefetch;
        let is_over = state.over || state.ending || state.stop.is_some();
        // A failed item that is due goes first.
        if is_free && !is_over && state.postponed.next_due().is_none_or(|due| due > Instant::now()) {
            state.running += 1;
            state.held[slot] += 1;
            return true;
        }
        self.notify(state);
        false
    }

    /// A slot that was allowed to receive a job found none. True: a job waits by now.
    pub fn received_none(&self, slot: usize) -> bool {
        let mut state = self.state();
        state.running -= 1;
        state.held[slot] -= 1;
        let waits = !state.waiting.is_empty();
        self.notify(state);
        waits
    }

    /// A slot has finished some of its jobs, and asks by [`may_receive`](Self::may_receive) at once for
    /// another one. The main thread is told only if not all of them are settled.
    pub fn finished_quietly(&self, slot: usize, all: impl Iterator<Item = After<O, S>>) {
        let mut state = self.state();
        let mut is_quiet = true;
        for after in all {
            is_quiet &= matches!(after, After::Settled);
            state.held[slot] -= 1;
            state.finished(after);
        }
        if !is_quiet {
            self.notify(state);
        }
    }

    /// A slot has finished some of its jobs.
    pub fn finished_some(&self, slot: usize, all: impl Iterator<Item = After<O, S>>) {
        let mut state = self.state();
        for after in all {
            state.held[slot] -= 1;
            state.finished(after);
        }
        self.notify(state);
    }

    /// A slot stops the worker. It gives back the jobs that it has.
    pub fn give_up(&self, slot: usize, why: S) {
        let mut state = self.state();
        state.running -= std::mem::take(&mut state.held[slot]);
        state.stop.get_or_insert(why);
        self.notify(state);
    }

    /// Records that a standing command runs, until the returned value is dropped.
    pub fn stands(&self) -> Stands<'_, O, S> {
        self.state().standing += 1;
        Stands(self)
    }

    /// A slot has finished a job.
    pub fn finished(&self, after: After<O, S>) {
        let mut state = self.state();
        state.finished(after);
        self.notify(state);
    }

    /// Wakes the main thread if it waits.
    fn notify(&self, mut state: MutexGuard<'_, State<O, S>>) {
        state.has_changed = true;
        let awaited = state.awaited;
        drop(state);
        if awaited {
            self.changed.notify_one();
        }
    }

    /// Moves the postponed jobs that are due to the front, as far as there is room. Returns how many more
    /// jobs may be added.
    pub fn room(&self) -> usize {
        self.room_in(&mut self.state())
    }

    /// As [`room`](Self::room), for one job: until the main thread adds it or waits, slots leave its place free.
    pub fn reserve(&self) -> bool {
        let mut state = self.state();
        state.adding = self.room_in(&mut state) > 0;
        state.adding
    }

    fn room_in(&self, state: &mut State<O, S>) -> usize {
        state.has_changed = false;
        let now = Instant::now();
        let most = self.slots + self.prefetch;
        let mut moved = false;
        while state.in_hand() < most
            && let Some(job) = state.postponed.pop_due(now)
        {
            state.delayed -= job.items.len();
            state.waiting.push_front(job);
            moved = true;
        }
        if moved {
            self.added.notify_all();
            while let Some(slot) = state.next_awake() {
                self.bells[slot].ring();
            }
        }
        most.saturating_sub(state.in_hand())
    }

    /// Waits for a change since the main thread last asked for room, at most `limit`, and no longer than until the next
    /// postponed job is due.
    pub fn wait(&self, limit: Duration) {
        let mut state = self.state();
        // Without room, a postponed job that is due has to wait for a change.
        let has_room = state.in_hand() < self.slots + self.prefetch;
        let limit = if has_room { limit.min(until_due(&state.postponed)) } else { limit };
        (state.awaited, state.adding) = (true, false);
        let waited = self.changed.wait_timeout_while(state, limit, |state| !state.has_changed);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        (state.awaited, state.has_changed) = (false, false);
    }

    /// How long until the next postponed job is due.
    pub fn until_due(&self) -> Duration {
        until_due(&self.state().postponed)
    }

    /// Jobs that wait for a slot or run, and jobs that are postponed.
    pub fn in_hand(&self) -> (usize, usize) {
        let state = self.state();
        (state.in_hand(), state.postponed.len())
    }

    /// Commands that have a job, and items that wait for their next attempt.
    pub fn busy_and_delayed(&self) -> (usize, usize) {
        let state = self.state();
        let busy = match self.bells.is_empty() {
            true => state.running,
            false => state.held.iter().filter(|held| **held > 0).count(),
        };
        (busy, state.delayed)
    }

    /// Why a slot wants the worker to stop.
    pub fn stop(&self) -> Option<S> {
        let mut state = self.state();
        let stop = state.stop.take();
        state.ending |= stop.is_some();
        stop
    }

    /// Lets no further job start. Returns the jobs that have not started; running jobs continue.
    pub fn end(&self) -> Vec<Job<O>> {
        let mut state = self.state();
        state.over = true;
        let mut left: Vec<_> = state.waiting.drain(..).collect();
        left.extend(std::mem::take(&mut state.postponed).into_items());
        state.delayed = 0;
        self.added.notify_all();
        self.bells.iter().for_each(Bell::ring);
        left
    }

    /// Waits until no job runs, and no standing command, at most `limit`. False: some run.
    pub fn wait_for_running(&self, limit: Duration) -> bool {
        let is_busy = |state: &mut State<O, S>| state.running + state.standing > 0;
        let mut state = self.state();
        state.awaited = true;
        let waited = self.changed.wait_timeout_while(state, limit, is_busy);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.awaited = false;
        !is_busy(&mut state)
    }
}

/// A standing command that runs.
#[derive(Debug)]
pub struct Stands<'j, O: Owned, S>(&'j Jobs<O, S>);

impl<O: Owned, S> Drop for Stands<'_, O, S> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.standing -= 1;
        self.0.notify(state);
    }
}

fn until_due<T>(postponed: &Postponed<T>) -> Duration {
    let due = postponed.next_due();
    due.map_or(Duration::MAX, |due| due.saturating_duration_since(Instant::now()))
}

#[cfg(test)]
mod tests;
