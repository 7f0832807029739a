//! The items of the next job.

use std::time::{Duration, Instant};

use super::{Dispatcher, SLICE};
use crate::Error;
use crate::cli::common::args::{Count, DurationArg};
use crate::cli::common::escape;
use crate::cli::common::exit::{Failure, code};
use crate::cli::transport::{Observe, Owned, Receiver, Sender};
use crate::cli::worker::options::WorkerOptions;
use crate::cli::worker::slots::Job;
use crate::cli::worker::stop::Stop;

/// The longest wait for an item while no command runs.
const IDLE_SLICE: Duration = Duration::from_millis(500);
/// Bytes of items after which no more go into one command's arguments: what xargs takes by default.
const MOST_ARGUMENTS: usize = 128 << 10;

/// Why no more items are taken.
pub(super) enum Over {
    /// The commands that run go on to their end, and failed items are tried again.
    Taken,
    /// As `Taken`; then this failure is reported.
    Short(Failure),
    /// Stop early.
    Stop(Stop),
}

/// What the main thread found.
pub(super) enum Found<O> {
    Item(O),
    /// Nothing yet.
    Nothing,
    /// An item that needed no command.
    Dropped,
    Over(Over),
}

impl<R: Receiver, S: Sender> Dispatcher<'_, '_, R, S> {
    /// The items of the next job.
    pub(super) fn next_items(&mut self) -> Found<Vec<R::Owned>> {
        let most = self.options().work.max_items.map_or(1, |Count(most)| most.max(1));
        let mut items = match self.next_item(None) {
            Found::Item(item) => vec![item],
            Found::Nothing => return Found::Nothing,
            Found::Dropped => return Found::Dropped,
            Found::Over(over) => return Found::Over(over),
        };
        let wait = self.options().work.max_wait.map_or(Duration::ZERO, |DurationArg(wait)| wait);
        let start = Instant::now();
        let fits = |items: &[R::Owned]| {
            !self.worker.template.uses_item()
                || items.iter().map(|item| item.bytes().len()).sum::<usize>() < MOST_ARGUMENTS
        };
        while (items.len() as u64) < most && fits(&items) {
            // Meanwhile, failed items that are due are tried again.
            self.worker.jobs.room();
            self.show();
            let left = wait.saturating_sub(start.elapsed());
            match self.next_item(Some(left)) {
                Found::Item(item) => items.push(item),
                Found::Nothing if left.is_zero() => break,
                // Exhausted items, each a job of its own, have taken the room.
                Found::Dropped if self.worker.jobs.room() == 0 => break,
                Found::Nothing | Found::Dropped => {}
                // The items that were taken for this job are given back.
                Found::Over(over @ Over::Stop(_)) => return Found::Over(over),
                // It is found again for the next job.
                Found::Over(_) => break,
            }
        }
        Found::Item(items)
    }

    /// The next item. With `further`, it is for a job that has an item already, and the wait lasts at most
    /// that long.
    fn next_item(&mut self, further: Option<Duration>) -> Found<R::Owned> {
        if self.source.taking().has_enough() {
            return Found::Over(Over::Taken);
        }
        if let Some(stop) = self.early_end() {
            return Found::Over(Over::Stop(stop));
        }
        if further.is_some()
            && let Some(wait) = self.held_up()
        {
            self.worker.jobs.wait(wait.min(further.unwrap_or_default()));
            return Found::Nothing;
        }
        let tries_once = self.tries_once();
        let (busy, postponed) = self.worker.jobs.in_hand();
        let slice = if busy + postponed > 0 { SLICE } else { IDLE_SLICE };
        let limits = [self.options().wait.timeout, self.options().idle_exit];
        let left = limits.into_iter().flatten().map(|DurationArg(limit)| limit.saturating_sub(self.waited));
        let wait = match further {
            _ if tries_once => Duration::ZERO,
            Some(left) => left.min(SLICE),
            None => left.fold(slice, Duration::min).min(self.worker.jobs.until_due()),
        };
        let Some(received) = self.source.receive(wait) else { return Found::Over(Over::Taken) };
        match received {
            Ok(item) => {
                self.waited = Duration::ZERO;
                self.deserted = false;
                self.due = None;
                self.unless_done(item)
            }
            Err(Error::TimedOut | Error::Empty) if further.is_some() => Found::Nothing,
            Err(Error::TimedOut | Error::Empty) => {
                // A slot may have received an item meanwhile.
                let (busy_now, postponed_now) = self.worker.jobs.in_hand();
                self.nothing_came(wait, busy + postponed + busy_now + postponed_now > 0)
            }
            Err(Error::Ended) => Found::Over(self.short_of_count("the stream ended")),
            Err(Error::Interrupted) => Found::Over(Over::Stop(Stop::Stopped)),
            Err(error) => Found::Over(Over::Stop(self.ring_failure(&error).into())),
        }
    }

    /// Acknowledges an item that the joblog has as done.
    fn unless_done(&mut self, item: R::Owned) -> Found<R::Owned> {
        let key = item.key();
        if !self.done.contains(key.producer, key.sequence) {
            return self.unless_duplicate(item);
        }
        match self.options().work.dry_run {
            true => self.printed.push(item),
            false => {
                if let Err(error) = item.acknowledge() {
                    return Found::Over(Over::Stop(self.ring_failure(&error).into()));
                }
            }
        }
        self.worker.finisher.skipped(1);
        Found::Dropped
    }

    /// Acknowledges an item that was done before (`--dedup`). It does not count for `-n`.
    fn unless_duplicate(&mut self, item: R::Owned) -> Found<R::Owned> {
        if !self.worker.finisher.is_duplicate(item.key()) {
            return self.unless_exhausted(item);
        }
        self.source.taking().taken -= 1;
        match item.acknowledge() {
            Ok(()) => Found::Dropped,
            Err(error) => Found::Over(Over::Stop(self.ring_failure(&error).into())),
        }
    }

    /// Makes an item a job of its own if other workers have tried it as often as allowed: a slot finishes it,
    /// and may have to wait for room for the dead letter.
    fn unless_exhausted(&mut self, item: R::Owned) -> Found<R::Owned> {
        if self.options().work.dry_run || !self.worker.finisher.is_exhausted(&item) {
            return Found::Item(item);
        }
        let number = self.source.taking().next_number();
        self.worker.jobs.add(Job { number, items: vec![item] });
        Found::Dropped
    }

    /// Whether to take what is there now, and wait for no item.
    fn tries_once(&self) -> bool {
        self.options().wait.no_wait || self.options().drain || self.options().work.dry_run
    }

    /// No item came in `wait`.
    fn nothing_came(&mut self, wait: Duration, busy: bool) -> Found<R::Owned> {
        let WorkerOptions { wait: limits, drain, idle_exit, .. } = *self.options();
        let (timeout, no_wait) = (limits.timeout, limits.no_wait);
        if self.tries_once() {
            // Postponed items are this worker's own: it has them, whatever the ring has.
            return match no_wait && !drain && self.source.taking().taken == 0 {
                true => Found::Over(Over::Short(self.ring_failure(&Error::Empty))),
                false => Found::Over(self.short_of_count("it is empty")),
            };
        }
        // While commands run, the worker is not idle.
        self.waited =
            if busy { Duration::from_nanos(1) } else { self.waited + wait.max(Duration::from_nanos(1)) };
        if idle_exit.is_some_and(|DurationArg(limit)| self.waited >= limit) {
            return Found::Over(self.short_of_count("nothing came"));
        }
        if let Some(DurationArg(limit)) = timeout.filter(|limit| self.waited >= limit.0) {
            let (ring, waited) = (self.worker.finisher.ring, humantime::format_duration(limit));
            let line = format!("ring {ring:?} is empty, waited {waited}");
            let hint = format!("ringctl inspect {} lists its processes", escape::argument(ring));
            return Found::Over(Over::Short(Failure::new(code::FULL, line).hint(hint)));
        }
        // Checked twice in a row, so that items that a producer sent before it left are received.
        let deserted = {
            let taking = self.source.taking();
            let observed = taking.receiver.observe();
            observed.is_nameless() && !observed.has_live(crate::Role::Producer)
        };
        match std::mem::replace(&mut self.deserted, deserted) && deserted {
            true => Found::Over(self.short_of_count("it was removed")),
            false => Found::Nothing,
        }
    }

    /// The end, which is a failure before `-n` items.
    fn short_of_count(&self, why: &str) -> Over {
        match self.options().count {
            Some(wanted) => {
                let (ring, taken) = (self.worker.finisher.ring, self.source.taking().taken);
                let line = format!("ring {ring:?}: {why} after {taken} of {wanted} items");
                Over::Short(Failure::new(code::EMPTY, line))
            }
            None => Over::Taken,
        }
    }
}
