//! The end of a worker: the commands that still run, the reports, and the exit code.

use std::time::{Duration, Instant};

use super::{Dispatcher, SLICE};
use crate::cli::common::args::DurationArg;
use crate::cli::common::escape;
use crate::cli::common::exit::{Failure, code};
use crate::cli::common::report::{More, Stats};
use crate::cli::common::signals;
use crate::cli::common::start::End;
use crate::cli::transport::{Receiver, Sender};
use crate::cli::worker::GRACE;
use crate::cli::worker::halt::When;
use crate::cli::worker::slots::After;
use crate::cli::worker::stop::Stop;

impl<R: Receiver, S: Sender> Dispatcher<'_, '_, R, S> {
    /// Waits until all jobs of this worker are settled, including jobs that are tried again. `Some`: stop early.
    pub(super) fn wait_for_all(&mut self) -> Option<Stop> {
        loop {
            self.show();
            if let Some(stop) = self.early_end() {
                return Some(stop);
            }
            self.worker.jobs.room();
            if self.worker.jobs.in_hand() == (0, 0) {
                return self.worker.jobs.stop();
            }
            self.worker.jobs.wait(SLICE);
        }
    }

    /// Notes what the worker waits for, and returns the time from which the grace counts.
    fn begin_grace(&self, limit: Duration) -> Instant {
        let (running, _) = self.worker.jobs.in_hand();
        if running > 0 && !limit.is_zero() && self.stop.is_raised() {
            let what = if running == 1 { "1 command".into() } else { format!("{running} commands") };
            let limit = humantime::format_duration(limit);
            self.report
                .note(format!("waiting at most {limit} for {what} to end; another signal ends them now"));
        }
        Instant::now()
    }

    /// Ends all slots, and gives back what has not started. Returns the final reason to stop.
    pub(super) fn end(&mut self, stop: Option<Stop>) -> Option<Stop> {
        drop(self.worker.jobs.end());
        let limit = self.options().work.grace.map_or(GRACE, |DurationArg(grace)| grace);
        // Counts from the reason to end the commands, which can be a signal that comes later.
        let mut start = None;
        loop {
            let left = match &stop {
                Some(Stop::Halted(When::Now)) => Duration::ZERO,
                // Until a signal comes.
                Some(Stop::Halted(When::Soon)) | None if !self.stop.is_raised() => Duration::MAX,
                _ => limit.saturating_sub(start.get_or_insert_with(|| self.begin_grace(limit)).elapsed()),
            };
            self.show();
            if self.worker.jobs.wait_for_running(SLICE.min(left)) {
                break;
            }
            if left.is_zero() {
                self.worker.finisher.late.raise();
                self.worker.terminator.terminate();
                while !self.worker.jobs.wait_for_running(SLICE) {}
                break;
            }
        }
        if self.stop.is_raised() {
            // From here on, no write waits for room in an output or in another ring.
            self.worker.finisher.late.raise();
        }
        // The work of these jobs is done: they only wait for their place in the output.
        let rest: Vec<_> = {
            let mut order = self.worker.order.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            order.rest().collect()
        };
        let mut late = None;
        for finished in rest {
            if let After::Stop(stop) = self.worker.finisher.finish(finished) {
                late.get_or_insert(stop);
            }
        }
        let later = self.worker.jobs.stop().or(late);
        match (stop, later) {
            (None, later) => later,
            // A failure says more than the earlier reason.
            (Some(Stop::Stopped | Stop::Unread | Stop::Halted(_)), Some(later @ Stop::Failed(_))) => {
                Some(later)
            }
            (stop, _) => stop,
        }
    }

    /// Writes the final reports, and decides the exit code.
    pub(super) fn finish(mut self, stop: Option<Stop>, short: Option<Failure>) -> Result<End, Failure> {
        self.show();
        let stats = self.options().process.report.stats;
        self.progress.finish(stats);
        let tally = self.worker.finisher.tally();
        if stats {
            let stats = Stats {
                schema: "ringpipe.worker/1",
                ring: self.worker.finisher.ring,
                items: tally.done,
                bytes: tally.bytes,
                seconds: self.start.elapsed().as_secs_f64(),
                more: More::Worker {
                    retried: tally.retried,
                    failed: tally.failed,
                    skipped: tally.skipped,
                    duplicates: self.options().dedup.then_some(tally.duplicates),
                },
            };
            self.report.stats(&stats, false)?;
        }
        if tally.skipped > 0 {
            let items = if tally.skipped == 1 { "1 item".into() } else { format!("{} items", tally.skipped) };
            self.report.note(format!("{items} skipped: the joblog has them as done"));
        }
        match stop {
            Some(Stop::Failed(failure)) => return Err(failure),
            Some(Stop::Stopped) => return Ok(signals::end()),
            Some(Stop::Halted(_)) if tally.failed > 0 => {}
            Some(Stop::Halted(_) | Stop::Unread) | None => {}
        }
        if tally.failed > 0 {
            let (failed, ring) = (tally.failed, self.worker.finisher.ring);
            let items = if failed == 1 { "1 item".into() } else { format!("{failed} items") };
            let failure = Failure::new(code::FAILED_ITEMS, format!("ring {ring:?}: {items} failed for good"));
            return Err(match &self.options().work.dead_letter {
                Some(name) => {
                    failure.hint(format!("ringctl peek {} shows why", escape::argument(name.as_str())))
                }
                None => failure,
            });
        }
        short.map_or(Ok(End::Done), Err)
    }
}
