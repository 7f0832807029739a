//! What the named objects share: the segment, who takes part, and the repair of what the dead left.
//!
//! Handles that can own something have a number, and hold the lock of its byte, which the kernel lets go
//! of with the process. The word that is owned says by whom: number and serial. Claim and ownership are one
//! compare-exchange, so there is nothing in between that a death could leave. A number whose byte is
//! free while its entry is in use belongs to the dead: what it owned is repaired first, and then the
//! entry is freed, so that a number never comes back while its traces are there.
//!
//! | edge | from, to | carries |
//! |---|---|---|
//! | P1 | release of a lock or permit, or a new permit (release), the next claim (acquire) | what was written under it |
//! | P2 | an entry's state (release), whoever reads it (acquire) | a free entry owns nothing |
//! | P3 | setting an event (release), whoever finds it set (acquire) | what was written before |
//! | P4 | a claim, or the beginning of a wait (release), whoever repairs it (acquire) | whose entry it was, and that that one is in use |
//!
//! And E4, which belongs to the sleepers of all floors: see `sync`.

mod condition;
mod event;
mod lock;
mod semaphore;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use super::{Look, SLICE, Signal, StopFlag, Waiter};
use crate::layout::named::{Geometry, Kind, MAGIC, entry, head};
use crate::layout::view::Words;
use crate::sys::clock::{self, Deadline};
use crate::sys::liveness::{self, ParticipantLock};
use crate::sys::name::RingName;
use crate::sys::segment::{self, Segment};
use crate::sys::{fence, process};
use crate::{Error, Result};

pub use condition::{Condition, ConditionGuard};
pub use event::Event;
pub use lock::{Lock, LockGuard};
pub use semaphore::{Permit, Semaphore};

/// Removes the named object of this name, of whichever kind, also one that is damaged or of another
/// version. False: somebody else did at this moment. Those who have it open keep it.
///
/// ```
/// # let name = format!("doc-sync-remove-{}", std::process::id());
/// ringpipe::sync::Event::create(&name)?;
/// ringpipe::sync::remove(&name)?;
/// assert!(ringpipe::sync::Event::open(&name).is_err());
/// # Ok::<(), ringpipe::Error>(())
/// ```
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Incompatible`] if it is anything else, a ring for instance, which then stays.
pub fn remove(name: &str) -> Result<bool> {
    segment::remove_leftover(&RingName::parse(name)?, MAGIC)
}

/// Who owns a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owner {
    number: u32,
    serial: u32,
}

/// Set in a word that somebody owns.
const HELD: u64 = 1;

impl Owner {
    /// The word that this one owns.
    fn word(self) -> u64 {
        u64::from(self.serial) << 32 | u64::from(self.number) << 8 | HELD
    }

    fn of(word: u64) -> Option<Owner> {
        let owner = Owner { number: (word >> 8) as u32 & 0xffff, serial: (word >> 32) as u32 };
        (word & HELD != 0).then_some(owner)
    }
}

/// Some numbers of participants.
#[derive(Debug, Clone, Copy, Default)]
struct Numbers([u64; 16]);

impl Numbers {
    /// Numbers that no participant can have are left out.
    fn insert(&mut self, number: u32) {
        if let Some(bits) = self.0.get_mut(number as usize / 64) {
            *bits |= 1 << (number % 64);
        }
    }

    fn contains(&self, number: u32) -> bool {
        self.0.get(number as usize / 64).is_some_and(|bits| bits & (1 << (number % 64)) != 0)
    }

    fn iter(&self) -> impl Iterator<Item = u32> {
        (0..1024).filter(|number| self.contains(*number))
    }
}

/// A named object, opened.
#[derive(Debug)]
struct Object {
    words: Words,
    /// See `process::epoch`.
    epoch: Cell<u64>,
}

impl Object {
    /// Makes an object; the words in `set` begin with these values, all others with 0.
    fn create(name: &str, geometry: Geometry, set: impl Fn() -> Vec<(u64, u64)>) -> Result<Object> {
        let name = RingName::parse(name)?;
        let segment = Segment::create(&name, geometry.size, 0o600, |base, _| {
            Words::initialise(base, &geometry, set())
        })?;
        Object::new(segment, geometry.kind)
    }

    fn open(name: &str, kind: Kind) -> Result<Object> {
        Object::new(Segment::open(&RingName::parse(name)?)?, kind)
    }

    fn open_or_create(name: &str, geometry: Geometry, set: impl Fn() -> Vec<(u64, u64)>) -> Result<Object> {
        loop {
            match Object::open(name, geometry.kind) {
                Err(Error::NotFound(_)) => {}
                result => return result,
            }
            match Object::create(name, geometry, &set) {
                // Somebody made it, or removed it, in between.
                Err(Error::Exists(_) | Error::NotFound(_)) => {}
                result => return result,
            }
        }
    }

    fn new(segment: Segment, kind: Kind) -> Result<Object> {
        process::fork_generation();
        let epoch = Cell::new(process::epoch());
        let words = Words::new(Arc::new(segment), kind)?;
        // Whoever wakes others relies on it.
        if !fence::register() {
            // Relaxed: until a waker sees it, wake-ups that are missed are made good by slices.
            words.word(head::FENCES).store(1, Relaxed);
        }
        let object = Object { words, epoch };
        object.check()?;
        Ok(object)
    }

    /// Refuses to work in a child of the process that opened it, and where the memory is lost.
    fn check(&self) -> Result<()> {
        self.words.segment().check(&self.epoch)
    }

    fn name(&self) -> &str {
        self.words.segment().name().as_str()
    }

    fn remove(&self) -> Result<bool> {
        self.words.segment().unlink()
    }

    /// What all but a condition's waiters sleep on.
    fn signal(&self) -> Signal<'_> {
        signal(&self.words)
    }
}

fn signal(words: &Words) -> Signal<'_> {
    Signal {
        waiting: words.word(head::WAITING),
        semaphore: words.semaphore(),
        fences: words.word(head::FENCES),
    }
}

/// One who takes part: a handle's object, and its number.
#[derive(Debug)]
struct Member {
    object: Object,
    lock: ParticipantLock,
    me: Owner,
    /// Guards that own something; one that was forgotten stays counted.
    guards: Cell<u32>,
    waiter: RefCell<Waiter>,
    stop: Option<StopFlag>,
}

impl Member {
    fn join(object: Object) -> Result<Member> {
        let words = &object.words;
        // Relaxed: a number no other participant has; it orders nothing.
        let serial = words.word(head::SERIAL).fetch_add(1, Relaxed) as u32;
        let lock = take_number(words, ParticipantLock::try_acquire)?;
        let number = lock.number();
        if words.geometry().kind == Kind::Condition {
            // Relaxed: a hint.
            words.word(words.geometry().entry(number) + entry::SLEEPING).store(0, Relaxed);
        }
        // P2, both: who sees the entry in use looks that far.
        words.word(head::NUMBERS).fetch_max(u64::from(number) + 1, Release);
        state_of(words, number).store(in_use(serial), Release);
        let me = Owner { number, serial };
        Ok(Member { object, lock, me, guards: Cell::new(0), waiter: RefCell::default(), stop: None })
    }

    fn words(&self) -> &Words {
        &self.object.words
    }

    /// Whether nobody who is alive has this number. A question that the system refuses is not a death.
    fn is_dead(&self, number: u32) -> bool {
        number < self.words().geometry().participants && matches!(self.lock.is_alive(number), Ok(false))
    }

    /// As [`is_dead`](Self::is_dead), of a word's owner.
    ///
    /// # Errors
    /// [`Error::Damaged`] for a number that nobody can have: such a word would never be free again.
    fn is_owner_dead(&self, owner: Owner) -> Result<bool> {
        if owner.number >= self.words().geometry().participants {
            let why =
                format!("{:?} is held by number {}, which nobody has", self.object.name(), owner.number);
            return Err(Error::Damaged(why.into()));
        }
        Ok(self.is_dead(owner.number))
    }

    /// Waits until `look` has an answer: see [`Waiter::wait`].
    fn wait<T>(
        &self,
        signal: &Signal<'_>,
        deadline: Deadline,
        there: impl Fn() -> bool,
        mut look: impl FnMut(Look) -> Result<Option<T>>,
    ) -> Result<T> {
        let mut waiter = self.waiter.take();
        let look = |depth| {
            self.object.check()?;
            look(depth)
        };
        // There is never more than one thing to find.
        let result = waiter.wait_on(signal, deadline, self.stop.as_ref(), |n| n == 0 && there(), look);
        self.waiter.replace(waiter);
        // What was found in lost memory is nothing.
        self.object.check()?;
        result
    }

    /// Buries those dead that others wait for, if nobody has looked for them in the last slice.
    fn sweep_in_turn(&self) {
        let word = self.words().word(head::SWEPT_AT);
        let now = clock::coarse_ns();
        let before = word.load(Relaxed); // Relaxed: only decides who looks.
        // A time to come is a lie: look.
        let due = now.wrapping_sub(before) >= SLICE.as_nanos() as u64 * 3 / 4;
        if due && word.compare_exchange(before, now, Relaxed, Relaxed).is_ok() {
            self.sweep();
        }
    }

    /// Buries those dead that others wait for.
    fn sweep(&self) {
        // What one of them had may have gone to another.
        for _ in 0..self.words().geometry().participants {
            let bury = |number| bury(self.words(), number, &|number| self.is_dead(number));
            if suspects(self.words()).iter().filter(|number| bury(*number)).count() == 0 {
                break;
            }
        }
    }

    fn guard_made(&self) {
        self.guards.set(self.guards.get() + 1);
    }

    fn guard_done(&self) {
        self.guards.set(self.guards.get().saturating_sub(1));
    }
}

impl Drop for Member {
    /// Leaves: the entry is freed, then the number's lock. What a forgotten guard still owns is repaired as
    /// from the dead: the entry stays, and the lock goes.
    fn drop(&mut self) {
        if self.object.check().is_ok() && self.guards.get() == 0 {
            // P2: who finds the entry free finds nothing owned by this number.
            state_of(self.words(), self.me.number).store(0, Release);
        }
    }
}

fn in_use(serial: u32) -> u64 {
    1 << 32 | u64::from(serial)
}

fn state_of(words: &Words, number: u32) -> &std::sync::atomic::AtomicU64 {
    words.word(words.geometry().entry(number) + entry::STATE)
}

/// The numbers that may be in use.
fn numbers(words: &Words) -> std::ops::Range<u32> {
    // Relaxed: who is not seen yet owns nothing yet.
    let highest = words.word(head::NUMBERS).load(Relaxed);
    0..highest.min(u64::from(words.geometry().participants)) as u32
}

/// The lowest number that is free, and that `acquire` can have; the dead are buried if there is none.
fn take_number(
    words: &Words,
    acquire: impl Fn(OwnedFd, u32) -> Result<std::result::Result<ParticipantLock, OwnedFd>>,
) -> Result<ParticipantLock> {
    let participants = words.geometry().participants;
    for _ in 0..3 {
        let mut fd = words.segment().reopen()?;
        for number in 0..participants {
            let state = state_of(words, number);
            // P2: nothing is owned by a free number.
            if state.load(Acquire) != 0 {
                continue;
            }
            match acquire(fd, number)? {
                Ok(lock) if state.load(Acquire) == 0 => return Ok(lock), // P2: nor has anybody come meanwhile.
                // Somebody came and died between the two looks.
                Ok(lock) => {
                    drop(lock);
                    fd = words.segment().reopen()?;
                }
                Err(same) => fd = same,
            }
        }
        let is_dead = |number| matches!(liveness::is_held(fd.as_fd(), number), Ok(false));
        for number in 0..participants {
            bury(words, number, &is_dead);
        }
    }
    let (name, what) = (words.segment().name().as_str(), words.geometry().kind.in_words());
    Err(Error::Busy(format!("{name:?} is {what} with all of its {participants} handles in use").into()))
}

/// Repairs what dead participant `number` left, then frees its entry. Any number of processes may do so
/// at once, and any may be stopped or killed in the middle of it. False: it was not dead, or another did it.
fn bury(words: &Words, number: u32, is_dead: &dyn Fn(u32) -> bool) -> bool {
    let state = state_of(words, number);
    // P2. Before the question: whoever has this serial is the one who is dead.
    let before = state.load(Acquire);
    if before == 0 || !is_dead(number) {
        return false;
    }
    // P2: while the entry stands, nobody else has the number, and what was read belongs to the dead.
    let stands = || state.load(Acquire) == before;
    match words.geometry().kind {
        Kind::Lock => lock::repair(words, number, &stands),
        Kind::Semaphore => semaphore::repair(words, number, &stands),
        Kind::Condition => {
            lock::repair(words, number, &stands);
            condition::repair(words, number, &stands);
        }
        Kind::Event => {}
    }
    // P2: nothing is owned by it any more. Relaxed: another did it, or somebody has come since.
    state.compare_exchange(before, 0, AcqRel, Relaxed).is_ok()
}

/// The numbers that own what others may be waiting for.
fn suspects(words: &Words) -> Numbers {
    match words.geometry().kind {
        Kind::Semaphore => semaphore::holders(words),
        Kind::Condition => condition::notified(words),
        // Who waits for a lock asks about its holder.
        Kind::Lock | Kind::Event => Numbers::default(),
    }
}
