//! Delivers items: takes them from the ring, writes them, and acknowledges them when they have arrived.
//!
//! An item has arrived when it was written. With `--ack read`, it has arrived when the reader of the pipe has taken
//! its last byte: the bytes that the system counts as unread are the last ones written to the pipe. Other writers'
//! bytes count as unread, too, so with them an item counts as arrived later, never earlier.

use std::collections::VecDeque;
use std::mem;
use std::time::{Duration, Instant};

use super::window::{Sleeps, Window};
use super::write::Framer;
use super::{BATCH, BATCH_BYTES, Tally};
use crate::cli::common::signals::Ready;
use crate::cli::common::stdout::{Cut, Output};
use crate::cli::transport::{Batch, Held, Item, Receiver};
use crate::framing::FramingError;
use crate::{Error, ItemKey, StopFlag};

/// Written bytes after which to check what the reader has taken, so that producers get room early.
const SETTLE_EVERY: u64 = 8 * 1024;
/// The number of batches for whose ends allocations are kept.
const SPARE: usize = 4;
/// After a stop signal, the consumer waits as long as its reader takes bytes at least this often, and no
/// longer than `GRACE`.
const GRACE_PROGRESS: Duration = Duration::from_millis(20);
const GRACE: Duration = Duration::from_millis(100);

/// A consumer, its output, and the items between the two.
pub(super) struct Delivery<R: Receiver> {
    pub receiver: R,
    output: Output,
    framer: Framer,
    stop: StopFlag,
    /// Whether an item has arrived only when the reader has taken it.
    until_read: bool,
    /// Batches with items that have not arrived, oldest first; only the last batch may still be unwritten.
    held: VecDeque<Part<R::Held>>,
    /// The number of items in `held`, and how many of these were written before (`--dedup`).
    held_items: usize,
    held_duplicates: usize,
    /// Bytes written in total, and that number when the reader's progress was last checked.
    written: u64,
    settled_at: u64,
    window: Window,
    /// The number of items to take next, estimated from the length of the last ones.
    batch: usize,
    /// The ring's memory was lost, or the log cannot be written: nothing more is acknowledged, and nothing is waited for.
    lost: bool,
    pub tally: Tally,
    /// Allocations for the ends of a batch, kept from one batch to the next.
    spare: Vec<Vec<u64>>,
}

/// A batch with items that have not arrived.
struct Part<H> {
    batch: H,
    /// Where each framed item ends in the total output.
    ends: Vec<u64>,
    /// Which of the items in `ends` were written before: they have no bytes in the output.
    duplicates: Vec<usize>,
    /// The number of acknowledged items.
    arrived: usize,
}

impl<H> Part<H> {
    /// The number of the batch's items that were framed and not acknowledged.
    fn framed(&self) -> usize {
        self.ends.len() - self.arrived
    }
}

impl<R: Receiver> Delivery<R> {
    pub fn new(
        receiver: R,
        output: Output,
        framer: Framer,
        until_read: bool,
        capacity: u64,
        stop: &StopFlag,
    ) -> Self {
        // At most half of the ring, so that its producers have room meanwhile.
        let most = usize::try_from(capacity / 2).unwrap_or(usize::MAX);
        Delivery {
            receiver,
            output,
            framer,
            stop: stop.clone(),
            until_read,
            held: VecDeque::new(),
            held_items: 0,
            held_duplicates: 0,
            written: 0,
            settled_at: 0,
            window: Window::new(most),
            batch: 1,
            lost: false,
            tally: Tally::default(),
            spare: Vec::new(),
        }
    }

    /// The number of items that have arrived or are held, without those that were written before.
    pub fn items(&self) -> u64 {
        self.tally.items + (self.held_items - self.held_duplicates) as u64
    }

    /// Whether items are held that have not arrived.
    pub fn is_holding(&self) -> bool {
        self.held_items > 0
    }

    /// Fails if the ring's memory was lost while items were held.
    ///
    /// # Errors
    /// [`Error::Truncated`]; others as [`Receiver::check`].
    pub fn check(&self) -> Result<(), Error> {
        if self.lost { self.receiver.check() } else { Ok(()) }
    }

    /// Whether the output's reader has left.
    pub fn is_abandoned(&self) -> bool {
        self.output.is_abandoned()
    }

    /// Whether the consumer ends when its reader leaves. Then it checks for that more often.
    pub fn has_reader(&self) -> bool {
        self.output.may_block()
    }

    /// Whether an item was written that its reader sees as more than one item.
    pub fn is_ambiguous(&self) -> bool {
        self.framer.is_ambiguous
    }

    /// Whether another process may have to wait until this one pauses.
    pub fn is_locked(&self) -> bool {
        self.output.is_locked()
    }

    /// Lets other processes write.
    pub fn unlock(&mut self) {
        self.output.unlock();
    }

    /// Takes up to `most` items; waits at most `wait` for the first.
    pub fn take(&mut self, most: usize, wait: Duration) -> Result<(), Error> {
        let room =
            if self.until_read { self.window.items().saturating_sub(self.held_items).max(1) } else { BATCH };
        let most = most.min(room).min(self.batch);
        let batch = self.receiver.receive(most, wait)?;
        self.tally.redelivered += batch.redelivered() as u64;
        let batch = batch.set_aside();
        self.held_items += batch.len();
        let ends = self.spare.pop().unwrap_or_default();
        self.held.push_back(Part { batch, ends, duplicates: Vec::new(), arrived: 0 });
        Ok(())
    }

    /// Writes the batch that was taken last. Items that were not completely written stay in it. The others
    /// have arrived, or stay until the reader has taken them.
    pub fn write(&mut self) -> Result<Option<Cut>, FramingError> {
        let (before, items) = (self.written, self.held.back().map_or(0, |part| part.batch.len()));
        loop {
            let Delivery { receiver, framer, held, .. } = self;
            let Some(part) = held.back_mut().filter(|part| part.framed() < part.batch.len()) else { break };
            let first = part.framed();
            let batch = receiver.resume(mem::take(&mut part.batch));
            let bare = framer.bare_item(&batch, first).map(|item| (item.key(), item.len()));
            let framed = if bare.is_none() { framer.frame(&batch, first) } else { Ok(()) };
            let lost = batch.check().is_err();
            part.batch = batch.set_aside();
            framed?;
            if lost {
                // The bytes may be zeros, so they are dropped. The next attempt to take items reports the reason.
                return Ok(None);
            }
            let cut = match bare {
                Some((key, len)) => self.write_bare(key, len),
                None => self.write_framed(),
            };
            if cut.is_some() {
                return Ok(cut);
            }
        }
        if let Some(length) = (self.written - before).checked_div(items as u64) {
            self.batch = (BATCH_BYTES / length.max(1)).clamp(1, BATCH as u64) as usize;
        }
        if !self.until_read || self.written - self.settled_at >= SETTLE_EVERY {
            self.settle(false);
        }
        Ok(None)
    }

    /// Writes the framed bytes.
    fn write_framed(&mut self) -> Option<Cut> {
        let before = self.written;
        let ends = self.framer.ends.iter().map(|&end| before + end as u64);
        let part = self.held.back_mut()?;
        part.duplicates.extend(self.framer.duplicates.iter().map(|&index| part.ends.len() + index));
        self.held_duplicates += self.framer.duplicates.len();
        part.ends.extend(ends);
        let mut at = 0;
        while at < self.framer.bytes.len() {
            let begins = at == 0 || self.framer.ends.binary_search(&at).is_ok();
            if let Some(cut) = self.wait_for_room(begins) {
                return Some(cut);
            }
            match self.output.write_piece(&self.framer.bytes, at, &self.framer.ends) {
                Ok(0) if self.stop.is_raised() => return Some(Cut::Stopped),
                Ok(n) => at += n,
                Err(error) => return Some(error.into()),
            }
            self.written = before + at as u64;
        }
        None
    }

    /// Writes the next item, of `len` bytes, straight from its slots, unless it was written before.
    fn write_bare(&mut self, key: ItemKey, len: usize) -> Option<Cut> {
        let before = self.written;
        let part = self.held.back_mut()?;
        if self.framer.is_duplicate(key) {
            part.duplicates.push(part.ends.len());
            part.ends.push(before);
            self.held_duplicates += 1;
            return None;
        }
        part.ends.push(before + len as u64);
        let mut at = 0;
        while at < len {
            if let Some(cut) = self.wait_for_room(at == 0) {
                return Some(cut);
            }
            let Delivery { receiver, output, held, .. } = self;
            let part = held.back_mut()?;
            let index = part.framed() - 1;
            let batch = receiver.resume(mem::take(&mut part.batch));
            let result = batch.items(index).next().map_or(Ok(0), |item| {
                let left = (item.len() - at) as u64;
                output.write_by(left, |most, file, wait| item.write_to(at as u64, most, file, wait))
            });
            let lost = batch.check().is_err();
            part.batch = batch.set_aside();
            match result {
                _ if lost => return None,
                Ok(0) if self.stop.is_raised() => return Some(Cut::Stopped),
                Ok(n) => at += n,
                Err(error) => return Some(error.into()),
            }
            self.written = before + at as u64;
            // The item has many slots, which producers need soon.
            if !self.until_read || self.written - self.settled_at >= SETTLE_EVERY {
                self.settle(true);
            }
        }
        None
    }

    /// Waits until the output accepts a piece, and, where an item `begins`, until no other process is in the
    /// middle of one.
    fn wait_for_room(&mut self, begins: bool) -> Option<Cut> {
        let mut waits: Option<Sleeps> = None;
        loop {
            if begins && !self.output.lock() {
                let sleep = waits.get_or_insert_with(Sleeps::new).next();
                match self.output.rest(sleep) {
                    Ready::Yes => return Some(Cut::Closed),
                    Ready::Stopped => return Some(Cut::Stopped),
                    Ready::NotYet => self.settle(true),
                }
                continue;
            }
            let looks_aside = self.until_read || self.output.is_locked();
            let limit = match &waits {
                None if looks_aside => Duration::from_millis(1),
                Some(waits) if looks_aside => waits.beside_event(),
                _ => Duration::MAX,
            };
            match self.output.room(limit) {
                Ok(Ready::Yes) => break,
                Ok(Ready::Stopped) => return Some(Cut::Stopped),
                Ok(Ready::NotYet) => {}
                Err(error) => return Some(error.into()),
            }
            waits.get_or_insert_with(Sleeps::new);
            self.settle(true);
            if begins {
                self.output.unlock();
            }
        }
        if let Some(waits) = waits {
            self.window.note(waits.elapsed());
        }
        None
    }

    /// Acknowledges the items that have arrived: whole batches, or `each` item.
    fn settle(&mut self, each: bool) {
        if self.held.is_empty() {
            return;
        }
        self.settled_at = self.written;
        let unread = if self.until_read { self.output.unread() } else { None };
        // If the system reports nothing any more, written items count as arrived.
        self.until_read = unread.is_some();
        let arrived = self.written.saturating_sub(unread.unwrap_or(0));
        while let Some(mut part) = self.held.pop_front() {
            let count = part.ends[part.arrived..].partition_point(|&end| end <= arrived);
            let whole = count == part.batch.len();
            self.lost = self.receiver.check().is_err();
            if self.lost || !whole && (!each || count == 0) {
                self.held.push_front(part);
                return;
            }
            let mut batch = self.receiver.resume(part.batch);
            let before = (self.tally, self.held_duplicates);
            self.tally.items += count as u64;
            self.tally.bytes += batch.items(0).take(count).map(|item| item.len() as u64).sum::<u64>();
            self.held_items -= count;
            for index in &part.duplicates {
                if let Some(at) = index.checked_sub(part.arrived).filter(|at| *at < count) {
                    self.held_duplicates -= 1;
                    self.tally.items -= 1;
                    self.tally.bytes -= batch.items(at).next().map_or(0, |item| item.len() as u64);
                    self.tally.duplicates += 1;
                }
            }
            if whole {
                if batch.acknowledge().is_err() {
                    // They were given back. The receiver's check says why.
                    (self.tally, self.held_duplicates, self.lost) = (before.0, before.1, true);
                    return;
                }
                if self.spare.len() < SPARE {
                    part.ends.clear();
                    self.spare.push(part.ends);
                }
                continue;
            }
            let acknowledged = batch.acknowledge_first(count).is_ok();
            let batch = batch.set_aside();
            if !acknowledged {
                (self.tally, self.held_duplicates, self.lost) = (before.0, before.1, true);
                self.held_items += count;
                self.held.push_front(Part { batch, ..part });
                return;
            }
            part.arrived += count;
            self.held.push_front(Part { batch, ..part });
            return;
        }
    }

    /// Whether more items may be taken.
    pub fn has_room(&mut self) -> bool {
        if !self.until_read || self.held_items < self.window.items() {
            return true;
        }
        self.settle(false);
        self.held_items < self.window.items()
    }

    /// Waits until at most `left` items are held; at most for `limit`.
    fn wait_until_left(&mut self, left: usize, limit: Duration) -> Ready {
        let sleeps = Sleeps::new();
        self.settle(true);
        while self.held_items > left && !self.lost {
            let sleep = sleeps.next();
            if !sleep.is_zero() {
                self.output.unlock();
            }
            match self.output.rest(sleep.min(limit.saturating_sub(sleeps.elapsed()))) {
                // The reader may have taken some bytes before it left.
                Ready::Yes => {
                    self.settle(true);
                    return Ready::Yes;
                }
                Ready::Stopped => return Ready::Stopped,
                Ready::NotYet if sleeps.elapsed() >= limit => return Ready::NotYet,
                Ready::NotYet => self.settle(true),
            }
        }
        Ready::NotYet
    }

    /// Waits until the reader has taken half of the window; at most `limit`. `Ready::Yes`: the reader has left.
    pub fn wait_for_reader(&mut self, limit: Duration) -> Ready {
        let start = Instant::now();
        let ready = self.wait_until_left(self.window.refill_at(), limit);
        self.window.note(start.elapsed());
        ready
    }

    /// Sleeps for `time`, and meanwhile acknowledges items that arrive. `Ready::Yes`: the output's reader has
    /// left.
    pub fn sleep(&mut self, time: Duration) -> Ready {
        let start = Instant::now();
        self.output.unlock();
        match self.wait_until_left(0, time) {
            Ready::NotYet => self.output.rest(time.saturating_sub(start.elapsed())),
            ready => ready,
        }
    }

    /// Whether items are still held, after a check of what has arrived.
    pub fn is_held_up(&mut self) -> bool {
        self.settle(true);
        self.is_holding()
    }

    /// Waits until the reader has taken everything; at most `limit`.
    pub fn wait_until_read(&mut self, limit: Duration) -> Ready {
        self.wait_until_left(0, limit)
    }

    /// Acknowledges the items that have arrived, and gives the rest back. `stopped`: gives a reader that is still
    /// reading a moment to take what is in the pipe, as those items would be delivered twice.
    pub fn end(&mut self, stopped: bool) {
        let start = Instant::now();
        let mut progress = (start, self.held_items);
        self.settle(true);
        while stopped && self.until_read && self.is_holding() && !self.lost && !self.is_abandoned() {
            if self.held_items != progress.1 {
                progress = (Instant::now(), self.held_items);
            }
            if start.elapsed() >= GRACE || progress.0.elapsed() >= GRACE_PROGRESS {
                break;
            }
            std::thread::sleep(Duration::from_micros(200));
            self.settle(true);
        }
        for part in mem::take(&mut self.held) {
            self.receiver.resume(part.batch).give_back();
        }
        (self.held_items, self.held_duplicates) = (0, 0);
        self.output.unlock();
    }
}

impl<R: Receiver> Drop for Delivery<R> {
    fn drop(&mut self) {
        self.end(false);
    }
}
