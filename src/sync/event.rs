//! An event: one word that says whether it is set.

use std::cell::RefCell;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::time::Duration;

use super::object::{Object, open_or_create};
use super::options::ObjectOptions;
use crate::Result;
use crate::layout::named::{ObjectKind, ObjectLayout, head};
use crate::sys::clock::Deadline;
use crate::wait::{StopFlag, Waiter};

const SET: u64 = 1;

/// An event between processes, by name: once set, it stays set until a process resets or takes it.
///
/// [`wait`](Self::wait) leaves the event set, so that all waiting handles continue. [`take`](Self::take) also
/// resets it in the same instruction, so that one handle continues each time it is set, as with a semaphore
/// that begins with 0. Setting an event that is set changes nothing; to count, use a
/// [`Semaphore`](super::Semaphore).
///
/// ```
/// # let name = format!("doc-event-{}", std::process::id());
/// use ringpipe::sync::Event;
///
/// let mut consumer = Event::create(&name)?;
/// let producer = Event::open(&name)?;        // in another process, or another thread
/// assert!(!consumer.is_set());
/// producer.set()?;
/// consumer.wait()?;                           // stays set
/// consumer.take()?;                           // no more
/// assert!(!producer.is_set());
/// consumer.remove()?;
/// # Ok::<(), ringpipe::Error>(())
/// ```
///
/// An event has no owner. A death leaves it set or not set, with nothing to repair. If a process takes an
/// event and dies right after, the event is lost. Where that matters, take a permit of a semaphore instead,
/// and [use it up](super::Permit::forget) when the work is done.
///
/// A handle is for one thread at a time:
///
/// ```compile_fail,E0277
/// fn shared(_: impl Sync) {}
/// shared(ringpipe::sync::Event::open("doc-event-shared").unwrap());
/// ```
#[derive(Debug)]
pub struct Event {
    object: Object,
    waiter: RefCell<Waiter>,
    stop: Option<StopFlag>,
}

impl Event {
    /// Creates an event of this name, not set, for this user alone (mode 0600).
    ///
    /// # Errors
    /// [`Error::Name`](crate::Error::Name); [`Error::Exists`](crate::Error::Exists) if an object or file of
    /// this name exists; [`Error::NoSpace`](crate::Error::NoSpace).
    pub fn create(name: &str) -> Result<Event> {
        Event::create_with(name, ObjectOptions::new())
    }

    /// Opens the event of this name.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound); [`Error::Incompatible`](crate::Error::Incompatible) if it
    /// is not an event, or one of another version, libc or word size.
    pub fn open(name: &str) -> Result<Event> {
        Event::existing(name, ObjectOptions::new())
    }

    /// Opens the event of this name, or creates it. If several processes do so at once, one creates it.
    ///
    /// # Errors
    /// As [`create`](Self::create) and [`open`](Self::open).
    pub fn open_or_create(name: &str) -> Result<Event> {
        Event::attach(name, ObjectOptions::new())
    }

    pub(super) fn attach(name: &str, options: ObjectOptions) -> Result<Event> {
        open_or_create(|| Event::existing(name, options), || Event::create_with(name, options))
    }

    pub(super) fn existing(name: &str, options: ObjectOptions) -> Result<Event> {
        Ok(Event::new(Object::open(name, options, ObjectKind::Event)?))
    }

    fn create_with(name: &str, options: ObjectOptions) -> Result<Event> {
        let geometry = ObjectLayout::new(ObjectKind::Event, 0)?;
        Ok(Event::new(Object::create(name, options, geometry, Vec::new)?))
    }

    fn new(object: Object) -> Event {
        Event { object, waiter: RefCell::default(), stop: None }
    }

    /// Removes the name. Handles that have it open keep their event. Returns false if the name was gone, or
    /// belongs to a newer object.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if the system refuses.
    pub fn remove(&self) -> Result<bool> {
        self.object.remove()
    }

    /// The name, without a slash.
    pub fn name(&self) -> &str {
        self.object.name()
    }

    /// Lets `stop` end any wait of this handle with
    /// [`Error::Interrupted`](crate::Error::Interrupted), within 100 milliseconds.
    pub fn set_stop_flag(&mut self, stop: StopFlag) {
        self.stop = Some(stop);
    }

    /// Sets the event and wakes all waiting handles. Returns true if it was not set before.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked) in a child of the process that opened it.
    pub fn set(&self) -> Result<bool> {
        self.object.check()?;
        // P3: publishes what was written before.
        let before = self.object.words.word(head::EVENT).swap(SET, Release);
        // Wake even if it was set: the process that set it may have died before it woke the others.
        self.object.signal().notify_all();
        self.object.check()?;
        Ok(before == 0)
    }

    /// Resets the event. Returns true if it was set.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked) in a child of the process that opened it.
    pub fn reset(&self) -> Result<bool> {
        self.object.check()?;
        // P3: the caller sees what was written before the event was set.
        let before = self.object.words.word(head::EVENT).swap(0, Acquire);
        self.object.check()?;
        Ok(before != 0)
    }

    /// Whether the event is set.
    pub fn is_set(&self) -> bool {
        // P3.
        self.object.words.word(head::EVENT).load(Acquire) != 0
    }

    /// Waits until the event is set, and leaves it set. The wait may miss an event that another process takes
    /// or resets right after it was set.
    ///
    /// # Errors
    /// [`Error::Interrupted`](crate::Error::Interrupted) if the stop flag was raised;
    /// [`Error::Forked`](crate::Error::Forked) in a child of the process that opened it;
    /// [`Error::Damaged`](crate::Error::Damaged) if its bytes were overwritten.
    pub fn wait(&mut self) -> Result<()> {
        self.wait_until(Deadline::never(), Self::is_set)
    }

    /// As [`wait`](Self::wait), at most `timeout`.
    ///
    /// # Errors
    /// As [`wait`](Self::wait), and [`Error::TimedOut`](crate::Error::TimedOut).
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<()> {
        self.wait_until(Deadline::after(timeout), Self::is_set)
    }

    /// Waits until the event is set, and resets it: no other handle gets it.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn take(&mut self) -> Result<()> {
        self.wait_until(Deadline::never(), Self::taken)
    }

    /// As [`take`](Self::take), at most `timeout`; [`Duration::ZERO`] tries once.
    ///
    /// # Errors
    /// As [`take`](Self::take), and [`Error::TimedOut`](crate::Error::TimedOut).
    pub fn take_timeout(&mut self, timeout: Duration) -> Result<()> {
        self.wait_until(Deadline::after(timeout), Self::taken)
    }

    fn taken(&self) -> bool {
        // Relaxed: the exchange decides.
        self.take_seen(self.object.words.word(head::EVENT).load(Relaxed))
    }

    /// Takes an event whose word was `seen`, unless the word has changed.
    fn take_seen(&self, seen: u64) -> bool {
        let word = self.object.words.word(head::EVENT);
        // P3: see what was written before it was set.
        seen != 0 && word.compare_exchange(seen, 0, AcqRel, Relaxed).is_ok()
    }

    fn wait_until(&self, deadline: Deadline, done: impl Fn(&Event) -> bool) -> Result<()> {
        self.object.check()?;
        if done(self) {
            return self.object.check();
        }
        let mut waiter = self.waiter.take();
        let word = self.object.words.word(head::EVENT);
        let there = |n| n == 0 && word.load(Relaxed) != 0; // Relaxed: a hint; `look` decides.
        let look = |_| {
            self.object.check()?;
            Ok(done(self).then_some(()))
        };
        let result = waiter.wait_on(&self.object.signal(), deadline, self.stop.as_ref(), there, look);
        self.waiter.replace(waiter);
        self.object.check()?;
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::tests::sleeping;
    use crate::sys::testing::TestName;

    #[test]
    fn setting_an_event_wakes_all_sleepers_even_if_it_was_set() {
        let name = TestName::new();
        let event = Event::create(name.0.as_str()).unwrap();
        let words = &event.object.words;
        for (first, sleepers, posted) in [(true, 2, 2), (false, 1, 3)] {
            sleeping(words, sleepers);
            assert_eq!(event.set().unwrap(), first);
            assert_eq!(words.semaphore().value(), posted);
        }
    }

    #[test]
    fn an_event_that_another_handle_has_taken_is_not_taken_again() {
        let name = TestName::new();
        let mut event = Event::create(name.0.as_str()).unwrap();
        event.set().unwrap();
        event.take().unwrap();
        assert!(!event.take_seen(SET));
    }
}
