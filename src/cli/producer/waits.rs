//! The waits of a producer, for room, for input and for its pace, and the states of the ring that end them.

use std::time::{Duration, Instant};

use super::Job;
use super::notice::PATIENCE;
use crate::cli::common::signals;
use crate::cli::transport::{Observe, Sender};
use crate::{Error, Role};

/// The longest wait for input or for the pace without a check of the ring, and the shortest time between two
/// checks of its consumers.
const SLICE: Duration = Duration::from_millis(80);
/// The time between two checks of the ring's name, and the longest wait for room without one.
const NAME_CHECK: Duration = Duration::from_secs(1);
/// Before a producer ends, it checks a ring without a name again after this time: a consumer may be attaching.
const LAST_CHECK: Duration = Duration::from_millis(20);

/// Why a producer stops sending.
#[derive(Debug)]
pub(super) enum Halt {
    /// The stop flag was raised.
    Signal,
    /// The ring refuses items.
    Refused(Error),
    /// The ring has lost its name, and no consumer is attached.
    Unreachable,
    /// Consumers came, and all have left: `--until-consumers-gone`.
    ConsumersGone,
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        match error {
            Error::Interrupted => Halt::Signal,
            error => Halt::Refused(error),
        }
    }
}

/// One attempt to send, with the longest wait for room.
pub(super) trait Attempt<S, T>: FnMut(&mut S, Duration) -> Result<T, Error> {}
impl<S, T, F: FnMut(&mut S, Duration) -> Result<T, Error>> Attempt<S, T> for F {}

/// When to check the ring next.
#[derive(Debug)]
pub(super) struct Checks {
    name_due: Instant,
    /// The last check of the name found it gone, and no consumer attached.
    unreachable: bool,
    consumers_due: Instant,
    consumers: Option<Consumers>,
}

/// The state of `--until-consumers-gone`.
#[derive(Debug)]
struct Consumers {
    /// The number of consumers that had ever attached when this producer attached.
    before: u64,
    /// Whether a consumer was attached at some time since then.
    came: bool,
}

impl Checks {
    /// The first checks are due after their intervals.
    pub(super) fn new(sender: &impl Sender, until_consumers_gone: bool) -> Self {
        let now = Instant::now();
        let consumers = until_consumers_gone.then(|| Consumers {
            before: if sender.has_made_ring() { 0 } else { sender.consumers_ever() },
            came: sender.consumers_ever() > 0 && !sender.is_abandoned(),
        });
        Checks { name_due: now + NAME_CHECK, unreachable: false, consumers_due: now + SLICE, consumers }
    }

    /// The longest wait for room until the next check.
    fn slice(&self) -> Duration {
        if self.consumers.is_some() || self.unreachable { SLICE } else { NAME_CHECK }
    }
}

impl<S: Sender> Job<'_, S> {
    /// Fails if items that are sent from now on cannot be received. Cheap enough for every batch: most calls read
    /// the clock and one word of the ring.
    pub(super) fn check_ring(&mut self) -> Result<(), Halt> {
        if self.sender.observe().is_closed() {
            // Lost memory reads as zeros, which do not mean a closed ring.
            return Err(Halt::Refused(Error::Closed));
        }
        let now = Instant::now();
        if now >= self.checks.consumers_due {
            self.checks.consumers_due = now + SLICE;
            self.sender.check()?;
            self.check_consumers()?;
        }
        if now >= self.checks.name_due {
            // Checked twice in a row, so that a consumer that is just attaching is found.
            let unreachable = self.is_unreachable();
            if unreachable && self.checks.unreachable {
                return Err(Halt::Unreachable);
            }
            self.checks.unreachable = unreachable;
            self.checks.name_due = now + if unreachable { SLICE } else { NAME_CHECK };
        }
        Ok(())
    }

    fn check_consumers(&mut self) -> Result<(), Halt> {
        let Some(consumers) = &mut self.checks.consumers else { return Ok(()) };
        // Also a consumer that came and left between two checks.
        consumers.came |= self.sender.consumers_ever() > consumers.before;
        if consumers.came && self.sender.is_abandoned() { Err(Halt::ConsumersGone) } else { Ok(()) }
    }

    /// Whether the ring's name is gone and no consumer is attached: none will come.
    fn is_unreachable(&self) -> bool {
        self.sender.observe().is_nameless() && !self.sender.observe().has_live(Role::Consumer)
    }

    /// Whether the ring has items that no consumer can receive any more. Call this at the end.
    pub(super) fn has_lost_items(&self) -> bool {
        let lost = || self.is_unreachable() && !self.sender.observe().is_drained();
        lost() && {
            std::thread::sleep(LAST_CHECK);
            lost()
        }
    }

    /// Waits for as long as the pace asks.
    pub(super) fn pause(&mut self, time: Duration) -> Result<(), Halt> {
        let start = Instant::now();
        loop {
            let left = time.saturating_sub(start.elapsed());
            if !signals::sleep(left.min(SLICE), &self.stop) {
                return Err(Halt::Signal);
            }
            if left <= SLICE {
                return Ok(());
            }
            self.check_ring()?;
        }
    }

    /// Sends by `attempt`, which waits for room at most for the given time. Notes once that it has to wait.
    pub(super) fn send_by<T>(&mut self, mut attempt: impl Attempt<S, T>) -> Result<T, Halt> {
        self.notice.begin();
        let start = Instant::now();
        loop {
            let left = self.timeout.map(|limit| limit.saturating_sub(start.elapsed()));
            let mut slice = self.checks.slice();
            if self.notice.is_pending() {
                slice = slice.min(PATIENCE);
            }
            let wait = left.map_or(slice, |left| slice.min(left));
            match attempt(self.sender, wait) {
                Err(Error::TimedOut) if left.is_none_or(|left| left > wait) => {}
                result => return Ok(result?),
            }
            self.check_ring()?;
            if self.notice.is_due(self.sender.observe()) {
                let (full, hint) = (self.fill(), self.advice());
                self.report.note(format!("{full}: waiting for room ({hint})"));
            }
        }
    }
}
