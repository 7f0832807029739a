//! A queue of values with due times, the earliest first.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::time::Instant;

/// A queue of values of any type, each with a due time: the earliest first, and first in, first out among
/// equal times. It is meant for items that are tried again after a delay.
///
/// ```
/// # let name = format!("doc-postponed-{}", std::process::id());
/// # let ring = ringpipe::RingOptions::new().create(&name)?;
/// # ring.producer()?.send_batch(&["fails once"])?;
/// use ringpipe::{Error, OwnedItem, Postponed};
/// use std::time::{Duration, Instant};
/// # let mut tries = 0;
/// # let mut work = |_: &[u8]| { tries += 1; tries > 1 };
///
/// const DELAY: Duration = Duration::from_millis(5);
/// let mut consumer = ring.consumer()?;
/// let mut postponed: Postponed<OwnedItem> = Postponed::new();
/// loop {
///     let item = match postponed.pop_due(Instant::now()) {
///         Some(item) => item,
///         None => {
///             let next = postponed.next_due().map(|due| due.saturating_duration_since(Instant::now()));
///             match consumer.recv_timeout(next.unwrap_or(Duration::from_secs(1))) {
///                 Ok(item) => item.into_owned(),
///                 // The stream is over, but for what this consumer holds itself.
///                 Err(Error::Ended) if postponed.is_empty() => break,
///                 Err(Error::Ended) => {
///                     std::thread::sleep(next.unwrap_or_default());
///                     continue;
///                 }
///                 Err(Error::TimedOut) => continue,
///                 Err(error) => return Err(error),
///             }
///         }
///     };
///     if work(&item) {
///         item.ack();
///     } else {
///         item.record_failure();
///         postponed.push(item, Instant::now() + DELAY);
///     }
/// }
/// assert_eq!(ring.snapshot()?.totals.acknowledged, 1);
/// # drop(consumer);
/// # ring.remove()?;
/// # Ok::<(), ringpipe::Error>(())
/// ```
///
/// # Where a delay is kept
///
/// Only in the process that holds the item, not in the ring. When this process dies, its items are delivered
/// again at once, to another consumer; the failures that it recorded are kept
/// ([`OwnedItem::record_failure`](crate::OwnedItem::record_failure)).
///
/// A postponed item keeps its slots, like every held item, so many postponed items leave producers little
/// room: see [`OwnedItem`](crate::OwnedItem).
#[derive(Debug)]
#[doc(alias = "nack_after")]
#[doc(alias = "delay")]
#[must_use = "items that are dropped are given back, to be delivered again"]
pub struct Postponed<T> {
    heap: BinaryHeap<Reverse<Entry<T>>>,
    /// The number of values pushed so far.
    pushed: u64,
}

/// A value, ordered by its due time and then by its number.
#[derive(Debug)]
struct Entry<T> {
    due: Instant,
    number: u64,
    item: T,
}

impl<T> Postponed<T> {
    /// An empty queue.
    pub fn new() -> Self {
        Postponed { heap: BinaryHeap::new(), pushed: 0 }
    }

    /// Adds a value that is due at this moment.
    pub fn push(&mut self, item: T, due: Instant) {
        let number = self.pushed;
        self.pushed += 1;
        self.heap.push(Reverse(Entry { due, number, item }));
    }

    /// When the first value is due. `None`: there is none.
    pub fn next_due(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(first)| first.due)
    }

    /// Takes the first value out, if it is due by `now`.
    pub fn pop_due(&mut self, now: Instant) -> Option<T> {
        self.next_due().filter(|due| *due <= now)?;
        self.heap.pop().map(|Reverse(first)| first.item)
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// All values, due or not, in the order in which they are due.
    pub fn into_items(self) -> impl ExactSizeIterator<Item = T> {
        let mut entries: Vec<_> = self.heap.into_iter().map(|Reverse(entry)| entry).collect();
        entries.sort_unstable();
        entries.into_iter().map(|entry| entry.item)
    }
}

impl<T> Default for Postponed<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Entry<T> {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Values that say when they are due and in which order they came.
    fn filled(start: Instant) -> Postponed<(u64, u64)> {
        let mut postponed = Postponed::new();
        for number in 0..60 {
            let second = number * 7 % 10;
            postponed.push((second, number), start + Duration::from_secs(second));
        }
        postponed
    }

    #[test]
    fn values_come_in_the_order_of_their_moments_and_then_of_their_pushes() {
        let start = Instant::now();
        let mut postponed = filled(start);
        let mut came = Vec::new();
        while let Some(item) = postponed.pop_due(start + Duration::from_secs(9)) {
            came.push(item);
        }
        assert_eq!(came.len(), 60);
        assert!(came.is_sorted(), "{came:?}");
        assert!(filled(start).into_items().eq(came), "all at once come in the same order");
    }

    #[test]
    fn nothing_comes_before_it_is_due() {
        let start = Instant::now();
        let mut postponed: Postponed<&str> = Postponed::default();
        assert_eq!(
            (postponed.next_due(), postponed.pop_due(start), postponed.is_empty()),
            (None, None, true)
        );
        let later = start + Duration::from_nanos(2);
        postponed.push("later", later);
        postponed.push("now", start);
        assert_eq!((postponed.len(), postponed.next_due()), (2, Some(start)));
        assert_eq!(postponed.pop_due(start), Some("now"));
        assert_eq!((postponed.pop_due(start), postponed.next_due()), (None, Some(later)));
        assert_eq!(postponed.pop_due(later - Duration::from_nanos(1)), None);
        assert_eq!((postponed.pop_due(later), postponed.len()), (Some("later"), 0));
    }

    #[test]
    fn a_value_that_is_pushed_again_goes_behind_those_of_its_moment() {
        let due = Instant::now();
        let mut postponed = Postponed::new();
        ["a", "b"].into_iter().for_each(|text| postponed.push(text, due));
        let first = postponed.pop_due(due).unwrap();
        postponed.push(first, due);
        assert!(postponed.into_items().eq(["b", "a"]));
    }
}
