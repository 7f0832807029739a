//! A condition: a lock, and for each participant a word that says whether it waits or was notified.
//!
//! A notification goes to one waiting participant: it is stored in that participant's word, and taken only
//! when that participant has the lock again. So if the participant dies, recovery finds the notification in
//! the word and passes it on. Or recovery finds the lock held by the dead participant: the lock is then
//! abandoned, and all waiting participants are notified, since what they wait for may have happened without a
//! notification.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::time::Duration;

use super::lock::{self, Held};
use super::object::{Member, Numbers, ObjectRepair, open_or_create};
use super::options::ObjectOptions;
use crate::layout::mapping::Words;
use crate::layout::named::wait_state::{self, IDLE};
use crate::layout::named::{ObjectKind, ObjectLayout, entry, head};
use crate::membership::table::{Entry, numbers};
use crate::sys::clock::Deadline;
use crate::wait::{Depth, Signal, StopFlag};
use crate::{Error, Result};

/// A condition variable between processes, by name, with its own lock inside, like Python's
/// `threading.Condition`.
///
/// A handle that holds the lock may [`wait`](ConditionGuard::wait): this releases the lock, waits for a
/// notification, and takes the lock again. Waiting handles are notified in the order in which they began to
/// wait. Check what you wait for in a loop, or use [`wait_while`](ConditionGuard::wait_while): another handle
/// may have been faster, and a wait may end without a notification.
///
/// If a notified process is killed before it has the lock, its notification goes to the next waiting handle.
/// If a process is killed while it holds the lock, all waiting handles wake up, and the next guard says so
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
/// A handle is for one thread at a time. Each thread opens its own:
///
/// ```compile_fail,E0277
/// fn shared(_: impl Sync) {}
/// shared(ringpipe::sync::Condition::open("doc-condition-shared").unwrap());
/// ```
#[derive(Debug)]
pub struct Condition {
    member: Member<ConditionRepair>,
}

impl Condition {
    /// Creates a condition of this name, for this user alone (mode 0600), and attaches to it.
    ///
    /// # Errors
    /// [`Error::Name`]; [`Error::Exists`] if an object or file of this name exists; [`Error::NoSpace`].
    pub fn create(name: &str) -> Result<Condition> {
        let layout = ObjectLayout::new(ObjectKind::Condition, 0)?;
        Member::create(name, ObjectOptions::new(), layout, Vec::new).map(|member| Condition { member })
    }

    /// Attaches to the condition of this name.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Incompatible`] if it is not a condition, or one of another version, libc
    /// or word size; [`Error::Busy`] if 512 handles are in use.
    pub fn open(name: &str) -> Result<Condition> {
        Member::open(name, ObjectOptions::new(), ObjectKind::Condition).map(|member| Condition { member })
    }

    /// Attaches to the condition of this name, or creates it. If several processes do so at once, one creates
    /// it.
    ///
    /// # Errors
    /// As [`create`](Self::create) and [`open`](Self::open).
    pub fn open_or_create(name: &str) -> Result<Condition> {
        open_or_create(|| Condition::open(name), || Condition::create(name))
    }

    /// Removes the name. Attached handles keep their condition; a condition created later under this name is
    /// a new one. Returns false if the name was gone, or belongs to a newer object.
    ///
    /// # Errors
    /// [`Error::Io`] if the system refuses.
    pub fn remove(&self) -> Result<bool> {
        self.member.remove()
    }

    /// The name, without a slash.
    pub fn name(&self) -> &str {
        self.member.name()
    }

    /// Lets `stop` end any wait of this handle with [`Error::Interrupted`], within 100 milliseconds.
    pub fn set_stop_flag(&mut self, stop: StopFlag) {
        self.member.stop = Some(stop);
    }

    /// Waits for the lock and takes it.
    ///
    /// # Errors
    /// As [`Lock::lock`](super::Lock::lock).
    pub fn lock(&mut self) -> Result<ConditionGuard<'_>> {
        self.acquire(Deadline::never())
    }

    /// Waits for the lock, at most `timeout`, and takes it.
    ///
    /// # Errors
    /// As [`lock`](Self::lock), and [`Error::TimedOut`].
    pub fn lock_timeout(&mut self, timeout: Duration) -> Result<ConditionGuard<'_>> {
        self.acquire(Deadline::after(timeout))
    }

    fn acquire(&mut self, deadline: Deadline) -> Result<ConditionGuard<'_>> {
        self.member.check_entry()?;
        let abandoned = acquire(&self.member, deadline)?;
        Ok(ConditionGuard { held: Held::new(&mut self.member, abandoned) })
    }
}

/// The held lock of a condition. Dropping it releases the lock and wakes a handle that waits for the lock.
///
/// A wait consumes the guard and returns it with the lock. After a wait that failed, the lock is not held and
/// there is no guard:
///
/// ```compile_fail,E0382
/// # fn check(guard: ringpipe::sync::ConditionGuard<'static>) {
/// let result = guard.wait();
/// guard.notify_all();
/// # }
/// ```
///
/// A guard may move to another thread, but threads cannot share it:
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
    held: Held<'a, ConditionRepair>,
}

impl ConditionGuard<'_> {
    /// Whether the previous holder of the lock died, or called [`abandon`](Self::abandon): what the lock
    /// protects may be half changed. Only the first guard after that says so.
    pub fn is_abandoned(&self) -> bool {
        self.held.abandoned
    }

    /// Releases the lock and tells the next holder that what it protects may be half changed. All waiting
    /// handles wake up, as after a death.
    pub fn abandon(mut self) {
        self.held.gives_up = true;
    }

    /// Notifies the handle that has waited longest: it continues when it gets the lock. Returns false if no
    /// handle waits.
    pub fn notify_one(&self) -> bool {
        self.held.member.check().is_ok() && notify_next(self.held.member.words())
    }

    /// Notifies all waiting handles.
    pub fn notify_all(&self) {
        if self.held.member.check().is_ok() {
            notify_all(self.held.member.words());
        }
    }

    /// Releases the lock, waits until notified, and takes the lock again.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if the stop flag was raised, [`Error::Damaged`] if the object's bytes were
    /// overwritten, [`Error::Forked`] in a child of the process that opened it. After an error the lock is no
    /// longer held.
    pub fn wait(self) -> Result<Self> {
        self.wait_by(Deadline::never()).map(|(guard, _)| guard)
    }

    /// As [`wait`](Self::wait), but waits for a notification at most `timeout`. Returns false if none came.
    /// Takes the lock again in either case, however long that takes.
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

    /// Waits as long as `condition` returns true. It is called only while the lock is held.
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

    /// As [`wait_while`](Self::wait_while), at most `timeout`. Returns false if `condition` is still true.
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
        self.held.member.check_entry()?;
        let notified = wait(self.held.member, deadline);
        // The wait released this guard's lock. If taking it again failed, there is no guard to return.
        let (abandoned, notified) = notified?;
        self.held.abandoned = abandoned;
        self.held.member.check_entry()?;
        Ok((self, notified))
    }
}

/// Takes the lock. If it was abandoned, notifies all waiting participants before another one can take the
/// lock.
fn acquire(member: &Member<ConditionRepair>, deadline: Deadline) -> Result<bool> {
    let abandoned = lock::acquire(member, deadline)?;
    if abandoned {
        notify_all(member.words());
    }
    Ok(abandoned)
}

/// Releases the lock, waits, and takes it again. Returns whether the lock was abandoned, and whether this
/// participant was notified.
fn wait(member: &Member<ConditionRepair>, deadline: Deadline) -> Result<(bool, bool)> {
    let words = member.words();
    let word = wait_word(words, member.me.number);
    // Relaxed: only the lock's holder draws a ticket.
    let ticket = words.word(head::TICKET).fetch_add(1, Relaxed).wrapping_add(1);
    let waiting = wait_state::waiting(ticket);
    // P4: publishes whose wait this is. A notifying participant has the lock, and sees it by P1.
    word.store(waiting, Release);
    lock::release(member, false);
    let there = || word.load(Relaxed) != waiting; // Relaxed: the lock orders what it stands for.
    let waited = member.wait(&own_signal(words, member.me.number), deadline, there, |look| {
        if there() || lock::is_left(member, look)? {
            return Ok(Some(()));
        }
        if look == Depth::Thorough {
            member.sweep_in_turn();
        }
        Ok(None)
    });
    let locked = match waited {
        Ok(()) | Err(Error::TimedOut) => acquire(member, Deadline::never()),
        Err(error) => Err(error),
    };
    match locked {
        // Relaxed: only a lock holder notifies, or a participant that passes a notification on, which counts
        // as well.
        Ok(abandoned) => Ok((abandoned, word.swap(IDLE, Relaxed) != waiting)),
        Err(error) => {
            give_up(words, word, waiting);
            Err(error)
        }
    }
}

/// Ends a wait without the lock. If a notification came meanwhile, passes it on to another participant.
fn give_up(words: &Words, word: &std::sync::atomic::AtomicU64, waiting: u64) {
    // Relaxed, all: these words publish no other data.
    if word.compare_exchange(waiting, IDLE, Relaxed, Relaxed).is_err() {
        // Notify first: a death in between then passes the notification on twice rather than never.
        notify_next(words);
        word.store(IDLE, Relaxed);
    }
}

/// Notifies the participant that has waited longest. Returns false if none waits.
fn notify_next(words: &Words) -> bool {
    offer(words, |number, seen| notify(words, number, seen))
}

/// Offers a notification to the participant that has waited longest, until one takes it. Returns false if
/// none waits.
fn offer(words: &Words, notify: impl Fn(u32, u64) -> bool) -> bool {
    // Skips a participant that stops waiting meanwhile, or is notified by another: each leaves one fewer to
    // try.
    for _ in 0..=words.geometry().participants {
        let waits = |number| {
            // Relaxed: the exchange decides; a lock holder sees all waiting participants by P1.
            let seen = wait_word(words, number).load(Relaxed);
            wait_state::is_waiting(seen).then_some((seen, number))
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
        if wait_state::is_waiting(seen) {
            notify(words, number, seen);
        }
    }
}

/// Notifies a participant whose wait word was `seen`. Returns false if the word has changed.
fn notify(words: &Words, number: u32, seen: u64) -> bool {
    let notified = wait_state::notified(seen);
    // Relaxed: the lock publishes what the notification is about.
    let done = wait_word(words, number).compare_exchange(seen, notified, Relaxed, Relaxed).is_ok();
    if done {
        own_signal(words, number).notify(1);
    }
    done
}

fn wait_word(words: &Words, number: u32) -> &std::sync::atomic::AtomicU64 {
    words.word(words.geometry().entry(number) + entry::WAIT)
}

/// The signal on which this participant sleeps while it waits for the condition.
fn own_signal(words: &Words, number: u32) -> Signal<'_> {
    Signal {
        waiting: words.word(words.geometry().entry(number) + entry::SLEEPING),
        semaphore: words.semaphore_of(number),
        fences: words.word(head::FENCES),
    }
}

/// Recovery of a condition: of its lock, and of its notifications.
#[derive(Debug)]
struct ConditionRepair;

impl ObjectRepair for ConditionRepair {
    fn repair(words: &Words, dead: &Entry<'_>) {
        lock::repair(words, dead.number, || dead.stands());
        repair(words, dead.number, || dead.stands());
    }

    fn suspects(words: &Words) -> Numbers {
        notified(words)
    }
}

/// The participants that were notified and have not taken the lock since. If one of them is dead, its
/// notification must be passed on.
fn notified(words: &Words) -> Numbers {
    let mut found = Numbers::default();
    // Relaxed: the word is read again before anything is changed.
    let is_notified = |number: &u32| wait_state::is_notified(wait_word(words, *number).load(Relaxed));
    numbers(words).filter(is_notified).for_each(|number| found.insert(number));
    found
}

/// Passes on the notification of a dead participant, and ends its wait.
fn repair(words: &Words, number: u32, stands: impl Fn() -> bool) {
    let word = wait_word(words, number);
    // A dead participant changes its word no more, but another one may notify it meanwhile.
    for _ in 0..3 {
        let seen = word.load(Acquire); // P4: before the check of the entry.
        if seen == IDLE || !stands() {
            return;
        }
        if wait_state::is_notified(seen) {
            // First, as in `give_up`.
            notify_next(words);
        }
        // P4: the number's next holder finds an idle word. Relaxed: on failure the word has changed.
        if word.compare_exchange(seen, IDLE, AcqRel, Relaxed).is_ok() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
