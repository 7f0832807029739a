//! A condition: a lock, and for each participant a word that says whether it waits, and was notified.
//!
//! A notification is given to one who waits, by its word; it is taken only when that one has the lock again.
//! So a death finds it in the word, and the burial passes it on; or finds the lock held, which then is
//! abandoned, and then all who wait are notified: what they wait for may have come about unannounced.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::time::Duration;

use super::lock;
use super::{Member, Numbers, Object, numbers};
use crate::layout::named::{Geometry, Kind, entry, head};
use crate::layout::view::Words;
use crate::sync::{Look, Signal, StopFlag};
use crate::sys::clock::Deadline;
use crate::{Error, Result};

/// A wait word: what, in the low bits, and the ticket above.
const IDLE: u64 = 0;
const WAITING: u64 = 1;
const NOTIFIED: u64 = 2;
const WHAT: u64 = 0xff;

/// A condition variable between processes, by name, with its own lock inside, as Python's
/// `threading.Condition`.
///
/// Who holds the lock may [`wait`](ConditionGuard::wait): the lock is released, and taken again when somebody
/// notified this one. Those who wait are notified in the order in which they came. Look at what you wait for in a
/// loop, or use [`wait_while`](ConditionGuard::wait_while): somebody may have been quicker, and a wait may
/// end without a notification.
///
/// Who is notified and killed before it has the lock passes its notification on. When somebody is killed
/// who holds the lock, all who wait are woken, and the next one is told
/// ([`is_abandoned`](ConditionGuard::is_abandoned)).
///
/// ```
/// # let name = format!("doc-condition-{}", std::process::id());
/// use ringpipe::sync::{Condition, Event};
/// # let full_name = format!("{name}-full");
/// # let full = Event::create(&full_name)?;
///
/// let mut producer = Condition::create(&name)?;
/// # let names = (name.clone(), full_name.clone());
/// let consumer = std::thread::spawn(move || -> ringpipe::Result<()> {     // or another process
///     # let (name, full_name) = names;
///     let mut condition = Condition::open(&name)?;
///     let full = Event::open(&full_name)?;          // whatever the lock protects
///     let guard = condition.lock()?.wait_while(|| !full.is_set())?;
///     full.reset()?;
///     Ok(())
/// });
/// let guard = producer.lock()?;
/// full.set()?;
/// guard.notify_one();
/// drop(guard);
/// consumer.join().unwrap()?;
/// assert!(!full.is_set());
/// # full.remove()?;
/// producer.remove()?;
/// # Ok::<(), ringpipe::Error>(())
/// ```
///
/// One handle is for one thread at a time: each opens its own.
///
/// ```compile_fail,E0277
/// fn shared(_: impl Sync) {}
/// shared(ringpipe::sync::Condition::open("doc-condition-shared").unwrap());
/// ```
#[derive(Debug)]
pub struct Condition {
    member: Member,
}

impl Condition {
    /// Makes a condition of this name, for this user alone (mode 0600), and attaches to it.
    ///
    /// # Errors
    /// [`Error::Name`]; [`Error::Exists`] when the name is taken, by whatever; [`Error::NoSpace`].
    pub fn create(name: &str) -> Result<Condition> {
        Condition::attach(Object::create(name, geometry()?, Vec::new)?)
    }

    /// Attaches to the condition of this name.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Incompatible`] for what is no condition, or one of another version, libc
    /// or word size; [`Error::Busy`] when 512 handles are in use.
    pub fn open(name: &str) -> Result<Condition> {
        Condition::attach(Object::open(name, Kind::Condition)?)
    }

    /// Attaches to the condition of this name, or makes it. Of several that do so at once, one makes it.
    ///
    /// # Errors
    /// As [`create`](Self::create) and [`open`](Self::open).
    pub fn open_or_create(name: &str) -> Result<Condition> {
        Condition::attach(Object::open_or_create(name, geometry()?, Vec::new)?)
    }

    fn attach(object: Object) -> Result<Condition> {
        Ok(Condition { member: Member::join(object)? })
    }

    /// Removes the name. Those attached keep their condition; who makes another one of this name has another
    /// one. False: the name was gone, or stands for something newer.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses.
    pub fn remove(&self) -> Result<bool> {
        self.member.object.remove()
    }

    /// The name, without a slash.
    pub fn name(&self) -> &str {
        self.member.object.name()
    }

    /// Lets `stop` end any wait of this handle with [`Error::Interrupted`], within 100 milliseconds.
    pub fn set_stop_flag(&mut self, stop: StopFlag) {
        self.member.stop = Some(stop);
    }

    /// Takes the lock, and waits for it.
    ///
    /// # Errors
    /// As [`Lock::lock`](super::Lock::lock).
    pub fn lock(&mut self) -> Result<ConditionGuard<'_>> {
        self.acquire(Deadline::never())
    }

    /// Takes the lock, and waits for it at most `timeout`.
    ///
    /// # Errors
    /// As [`lock`](Self::lock), and [`Error::TimedOut`].
    pub fn lock_timeout(&mut self, timeout: Duration) -> Result<ConditionGuard<'_>> {
        self.acquire(Deadline::after(timeout))
    }

    fn acquire(&mut self, deadline: Deadline) -> Result<ConditionGuard<'_>> {
        self.member.object.check()?;
        let abandoned = acquire(&self.member, deadline)?;
        self.member.guard_made();
        let panicking = std::thread::panicking();
        Ok(ConditionGuard { member: &mut self.member, abandoned, panicking, gives_up: false })
    }
}

fn geometry() -> Result<Geometry> {
    Geometry::new(Kind::Condition, 0)
}

/// The lock of a condition, held; dropping it releases the lock and wakes one that waits for that.
///
/// A wait takes the guard, and gives it back with the lock; after a wait that failed there is no lock, and
/// no guard:
///
/// ```compile_fail,E0382
/// # fn check(guard: ringpipe::sync::ConditionGuard<'static>) {
/// let result = guard.wait();
/// guard.notify_all();
/// # }
/// ```
///
/// It may go to another thread, but no two threads share it:
///
/// ```compile_fail,E0277
/// fn shared(_: impl Sync) {}
/// # fn check(guard: ringpipe::sync::ConditionGuard<'static>) {
/// shared(guard);
/// # }
/// ```
#[derive(Debug)]
#[must_use = "dropping the guard releases the lock"]
pub struct ConditionGuard<'a> {
    member: &'a mut Member,
    abandoned: bool,
    panicking: bool,
    gives_up: bool,
}

impl ConditionGuard<'_> {
    /// Whether, when the lock was last taken, its holder before had died, or said [`abandon`](Self::abandon):
    /// what the lock protects may be half changed. It is said once.
    pub fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    /// Releases the lock and tells the next one that what it protects may be half changed. All who wait are
    /// woken, as after a death.
    pub fn abandon(mut self) {
        self.gives_up = true;
    }

    /// Notifies the one that has waited longest, if somebody waits: it goes on when it gets the lock.
    /// False: nobody waits.
    pub fn notify_one(&self) -> bool {
        self.member.object.check().is_ok() && notify_next(self.member.words())
    }

    /// Notifies all who wait.
    pub fn notify_all(&self) {
        if self.member.object.check().is_ok() {
            notify_all(self.member.words());
        }
    }

    /// Releases the lock, waits until notified, and takes the lock again.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when the stop flag was raised, [`Error::Damaged`] when the bytes were
    /// overwritten, [`Error::Forked`] in a child of the process that opened it: the lock is not held any more.
    pub fn wait(self) -> Result<Self> {
        self.wait_by(Deadline::never()).map(|(guard, _)| guard)
    }

    /// As [`wait`](Self::wait), at most `timeout` until notified; false: it was not. The lock is then taken
    /// again, however long that takes.
    ///
    /// ```
    /// # let name = format!("doc-wait-timeout-{}", std::process::id());
    /// # let mut condition = ringpipe::sync::Condition::create(&name)?;
    /// use std::time::Duration;
    /// let (guard, notified) = condition.lock()?.wait_timeout(Duration::from_millis(5))?;
    /// assert!(!notified);
    /// # drop(guard);
    /// # condition.remove()?;
    /// # Ok::<(), ringpipe::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(self, timeout: Duration) -> Result<(Self, bool)> {
        self.wait_by(Deadline::after(timeout))
    }

    /// Waits as long as `condition` is true. It is asked only while the lock is held.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_while(self, mut condition: impl FnMut() -> bool) -> Result<Self> {
        let mut guard = self;
        while condition() {
            guard = guard.wait()?;
        }
        Ok(guard)
    }

    /// As [`wait_while`](Self::wait_while), at most `timeout`; false: `condition` is still true.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_while_timeout(
        self,
        timeout: Duration,
        mut condition: impl FnMut() -> bool,
    ) -> Result<(Self, bool)> {
        let (mut guard, deadline) = (self, Deadline::after(timeout));
        while condition() {
            if deadline.passed() {
                return Ok((guard, false));
            }
            (guard, _) = guard.wait_by(deadline)?;
        }
        Ok((guard, true))
    }

    fn wait_by(mut self, deadline: Deadline) -> Result<(Self, bool)> {
        self.member.object.check()?;
        let notified = wait(self.member, deadline);
        // Whatever came of it, this guard's lock was released: without it again, there is no guard.
        let (abandoned, notified) = notified?;
        self.abandoned = abandoned;
        self.member.object.check()?;
        Ok((self, notified))
    }
}

impl Drop for ConditionGuard<'_> {
    fn drop(&mut self) {
        // In a child of the process that took it, it is the parent's still.
        if self.member.object.check().is_ok() {
            // Does nothing when a wait has failed, and the lock is not this one's.
            lock::release(self.member, self.gives_up || std::thread::panicking() && !self.panicking);
            self.member.guard_done();
        }
    }
}

/// Takes the lock; if it was abandoned, all who wait are told, before anybody else can have it.
fn acquire(member: &Member, deadline: Deadline) -> Result<bool> {
    let abandoned = lock::acquire(member, deadline)?;
    if abandoned {
        notify_all(member.words());
    }
    Ok(abandoned)
}

/// Releases the lock, waits, and takes it again: whether it was abandoned, and whether this one was notified.
fn wait(member: &Member, deadline: Deadline) -> Result<(bool, bool)> {
    let words = member.words();
    let word = wait_word(words, member.me.number);
    // Relaxed: only who holds the lock draws one.
    let ticket = words.word(head::TICKET).fetch_add(1, Relaxed).wrapping_add(1);
    let waiting = ticket << 8 | WAITING;
    // P4: whose it is. Who notifies has the lock, and sees it by P1.
    word.store(waiting, Release);
    lock::release(member, false);
    let there = || word.load(Relaxed) != waiting; // Relaxed: the lock orders what it stands for.
    let waited = member.wait(&own_signal(words, member.me.number), deadline, there, |look| {
        if there() || lock::is_left(member, look)? {
            return Ok(Some(()));
        }
        if look == Look::Thorough {
            member.sweep_in_turn();
        }
        Ok(None)
    });
    let locked = match waited {
        Ok(()) | Err(Error::TimedOut) => acquire(member, Deadline::never()),
        Err(error) => Err(error),
    };
    match locked {
        // Relaxed: nobody notifies but who holds the lock, or passes a notification on, which counts as well.
        Ok(abandoned) => Ok((abandoned, word.swap(IDLE, Relaxed) != waiting)),
        Err(error) => {
            give_up(words, word, waiting);
            Err(error)
        }
    }
}

/// Ends a wait without the lock: a notification that came meanwhile is somebody else's.
fn give_up(words: &Words, word: &std::sync::atomic::AtomicU64, waiting: u64) {
    // Relaxed, all: nothing is handed over.
    if word.compare_exchange(waiting, IDLE, Relaxed, Relaxed).is_err() {
        // First, so that a death in between passes it on once more rather than never.
        notify_next(words);
        word.store(IDLE, Relaxed);
    }
}

/// Notifies the one that has waited longest. False: nobody waits.
fn notify_next(words: &Words) -> bool {
    offer(words, |number, seen| notify(words, number, seen))
}

/// Offers a notification to the one that has waited longest, until it is taken. False: nobody waits.
fn offer(words: &Words, notify: impl Fn(u32, u64) -> bool) -> bool {
    // Who stops waiting meanwhile, or is notified by another, is looked past: each time it is one less.
    for _ in 0..=words.geometry().participants {
        let waits = |number| {
            // Relaxed: the exchange decides; who holds the lock sees all who wait by P1.
            let seen = wait_word(words, number).load(Relaxed);
            (seen & WHAT == WAITING).then_some((seen, number))
        };
        let Some((seen, number)) = numbers(words).filter_map(waits).min() else { return false };
        if notify(number, seen) {
            return true;
        }
    }
    false
}

fn notify_all(words: &Words) {
    for number in numbers(words) {
        let seen = wait_word(words, number).load(Relaxed); // Relaxed: as above.
        if seen & WHAT == WAITING {
            notify(words, number, seen);
        }
    }
}

/// Notifies one whose wait word was `seen`. False: it changed.
fn notify(words: &Words, number: u32, seen: u64) -> bool {
    let notified = seen & !WHAT | NOTIFIED;
    // Relaxed: the lock hands over what it is about.
    let done = wait_word(words, number).compare_exchange(seen, notified, Relaxed, Relaxed).is_ok();
    if done {
        own_signal(words, number).notify(1);
    }
    done
}

fn wait_word(words: &Words, number: u32) -> &std::sync::atomic::AtomicU64 {
    words.word(words.geometry().entry(number) + entry::WAIT)
}

/// What this participant sleeps on while it waits for the condition.
fn own_signal(words: &Words, number: u32) -> Signal<'_> {
    Signal {
        waiting: words.word(words.geometry().entry(number) + entry::SLEEPING),
        semaphore: words.semaphore_of(number),
        fences: words.word(head::FENCES),
    }
}

/// Who was notified and has not taken the lock since: if it is dead, its notification is lost on it.
pub(super) fn notified(words: &Words) -> Numbers {
    let mut found = Numbers::default();
    // Relaxed: looked at again before anything is changed.
    let is_notified = |number: &u32| wait_word(words, *number).load(Relaxed) & WHAT == NOTIFIED;
    numbers(words).filter(is_notified).for_each(|number| found.insert(number));
    found
}

/// Passes on the notification of one who died, and ends its wait.
pub(super) fn repair(words: &Words, number: u32, stands: &dyn Fn() -> bool) {
    let word = wait_word(words, number);
    // The dead do not change it, but somebody may notify them meanwhile.
    for _ in 0..3 {
        let seen = word.load(Acquire); // P4: before the look at the entry.
        if seen == IDLE || !stands() {
            return;
        }
        if seen & WHAT == NOTIFIED {
            // First, as in `give_up`.
            notify_next(words);
        }
        // P4: nothing is left for who gets the number. Relaxed: it changed.
        if word.compare_exchange(seen, IDLE, AcqRel, Relaxed).is_ok() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
