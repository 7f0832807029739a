//! A lock: one word that says who holds it.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::time::Duration;

use super::{Member, Object, Owner, signal};
use crate::layout::named::{Geometry, Kind, head};
use crate::layout::view::Words;
use crate::sync::{Look, StopFlag};
use crate::sys::clock::Deadline;
use crate::{Error, Result};

/// The word of a lock that nobody holds, and whose last holder died, or gave it up as it was.
const ABANDONED: u64 = 2;

/// A lock between processes, by name: held by one handle at a time, and by nobody who is dead.
///
/// When the holder is killed, the next one gets the lock, within about 20 milliseconds, and its guard says
/// [`is_abandoned`](LockGuard::is_abandoned). A holder that is merely stopped keeps it. There is no order
/// among those who wait.
///
/// ```
/// # let name = format!("doc-lock-{}", std::process::id());
/// use ringpipe::sync::Lock;
/// use std::time::Duration;
///
/// let mut mine = Lock::create(&name)?;
/// let mut theirs = Lock::open(&name)?;        // in another process, or another thread
/// let guard = mine.lock()?;
/// assert!(theirs.try_lock()?.is_none());
/// assert!(theirs.lock_timeout(Duration::from_millis(5)).is_err());
/// drop(guard);
/// assert!(theirs.try_lock()?.is_some());
/// mine.remove()?;
/// # Ok::<(), ringpipe::Error>(())
/// ```
///
/// A handle cannot wait for itself: its guard borrows it.
///
/// ```compile_fail,E0499
/// let mut lock = ringpipe::sync::Lock::open_or_create("doc-lock-twice")?;
/// let first = lock.lock()?;
/// let second = lock.lock()?;
/// drop(first);
/// # Ok::<(), ringpipe::Error>(())
/// ```
///
/// Nor is one handle for several threads: each opens its own.
///
/// ```compile_fail,E0277
/// fn shared(_: impl Sync) {}
/// shared(ringpipe::sync::Lock::open("doc-lock-shared").unwrap());
/// ```
#[derive(Debug)]
pub struct Lock {
    member: Member,
}

impl Lock {
    /// Makes a lock of this name, for this user alone (mode 0600), and attaches to it.
    ///
    /// # Errors
    /// [`Error::Name`]; [`Error::Exists`] when the name is taken, by whatever; [`Error::NoSpace`].
    pub fn create(name: &str) -> Result<Lock> {
        Lock::attach(Object::create(name, geometry()?, Vec::new)?)
    }

    /// Attaches to the lock of this name.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Incompatible`] for what is no lock, or one of another version, libc or
    /// word size; [`Error::Busy`] when 1,024 handles are in use.
    pub fn open(name: &str) -> Result<Lock> {
        Lock::attach(Object::open(name, Kind::Lock)?)
    }

    /// Attaches to the lock of this name, or makes it. Of several that do so at once, one makes it.
    ///
    /// # Errors
    /// As [`create`](Self::create) and [`open`](Self::open).
    pub fn open_or_create(name: &str) -> Result<Lock> {
        Lock::attach(Object::open_or_create(name, geometry()?, Vec::new)?)
    }

    fn attach(object: Object) -> Result<Lock> {
        Ok(Lock { member: Member::join(object)? })
    }

    /// Removes the name. Those attached keep their lock; who makes another one of this name has another one.
    /// False: the name was gone, or stands for something newer.
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
    /// [`Error::Interrupted`] when the stop flag was raised; [`Error::Forked`] in a child of the process that
    /// opened it; [`Error::Busy`] when this handle holds it already, by a guard that was forgotten
    /// (`mem::forget`); [`Error::Damaged`] when its bytes were overwritten.
    pub fn lock(&mut self) -> Result<LockGuard<'_>> {
        self.acquire(Deadline::never())
    }

    /// Takes the lock, and waits for it at most `timeout`.
    ///
    /// # Errors
    /// As [`lock`](Self::lock), and [`Error::TimedOut`].
    pub fn lock_timeout(&mut self, timeout: Duration) -> Result<LockGuard<'_>> {
        self.acquire(Deadline::after(timeout))
    }

    /// Takes the lock if nobody who is alive holds it.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    pub fn try_lock(&mut self) -> Result<Option<LockGuard<'_>>> {
        self.member.object.check()?;
        let taken = take(&self.member, Look::Thorough)?;
        self.member.object.check()?;
        Ok(taken.map(|abandoned| LockGuard::new(&mut self.member, abandoned)))
    }

    fn acquire(&mut self, deadline: Deadline) -> Result<LockGuard<'_>> {
        self.member.object.check()?;
        let abandoned = acquire(&self.member, deadline)?;
        Ok(LockGuard::new(&mut self.member, abandoned))
    }
}

fn geometry() -> Result<Geometry> {
    Geometry::new(Kind::Lock, 0)
}

/// The lock, held; dropping it releases it and wakes one that waits.
///
/// If it is dropped by a panic, the next one finds the lock abandoned, as after a death.
///
/// It may go to another thread together with the right to release, but no two threads share it.
///
/// ```
/// fn goes(_: impl Send) {}
/// # fn check(guard: ringpipe::sync::LockGuard<'static>) {
/// goes(guard);
/// # }
/// ```
///
/// ```compile_fail,E0277
/// fn shared(_: impl Sync) {}
/// # fn check(guard: ringpipe::sync::LockGuard<'static>) {
/// shared(guard);
/// # }
/// ```
///
/// It does not outlive its handle:
///
/// ```compile_fail,E0597
/// let guard = {
///     let mut lock = ringpipe::sync::Lock::open("doc-lock-outlived").unwrap();
///     lock.lock().unwrap()
/// };
/// ```
#[derive(Debug)]
#[must_use = "dropping the guard releases the lock"]
pub struct LockGuard<'a> {
    member: &'a mut Member,
    abandoned: bool,
    panicking: bool,
    gives_up: bool,
}

impl<'a> LockGuard<'a> {
    fn new(member: &'a mut Member, abandoned: bool) -> Self {
        member.guard_made();
        LockGuard { member, abandoned, panicking: std::thread::panicking(), gives_up: false }
    }

    /// Whether the last holder died, or said [`abandon`](Self::abandon): what the lock protects may be half
    /// changed. It is said once: who releases the lock vouches for what it protects.
    pub fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    /// Releases the lock and tells the next one that what it protects may be half changed: for who cannot
    /// mend it.
    ///
    /// ```
    /// # let name = format!("doc-lock-abandon-{}", std::process::id());
    /// # let mut lock = ringpipe::sync::Lock::create(&name)?;
    /// lock.lock()?.abandon();
    /// assert!(lock.lock()?.is_abandoned());
    /// assert!(!lock.lock()?.is_abandoned());
    /// # lock.remove()?;
    /// # Ok::<(), ringpipe::Error>(())
    /// ```
    pub fn abandon(mut self) {
        self.gives_up = true;
    }
}

impl Drop for LockGuard<'_> {
    fn drop(&mut self) {
        // In a child of the process that took it, it is the parent's still.
        if self.member.object.check().is_ok() {
            release(self.member, self.gives_up || std::thread::panicking() && !self.panicking);
            self.member.guard_done();
        }
    }
}

/// Takes the lock if it is free, or, at a thorough look, if its holder is dead. True: it was abandoned.
pub(super) fn take(member: &Member, look: Look) -> Result<Option<bool>> {
    // Relaxed: the exchange decides.
    take_seen(member, member.words().word(head::OWNER).load(Relaxed), look)
}

/// Takes a lock whose word was `seen`; not if it changed.
fn take_seen(member: &Member, seen: u64, look: Look) -> Result<Option<bool>> {
    let abandoned = match Owner::of(seen) {
        None => seen & ABANDONED != 0,
        Some(owner) if owner == member.me => {
            let text = format!("{:?} is held by this handle already", member.object.name());
            return Err(Error::Busy(text.into()));
        }
        Some(owner) if look == Look::Thorough && member.is_owner_dead(owner)? => true,
        Some(_) => return Ok(None),
    };
    let (word, mine) = (member.words().word(head::OWNER), member.me.word());
    // P1: what was written under the lock; of the dead, the kernel's answer ordered it. P4: whose it is.
    Ok(word.compare_exchange(seen, mine, AcqRel, Relaxed).is_ok().then_some(abandoned))
}

/// Takes the lock, and waits for it. True: it was abandoned.
pub(super) fn acquire(member: &Member, deadline: Deadline) -> Result<bool> {
    if let Some(abandoned) = take(member, Look::Quick)? {
        member.object.check()?;
        return Ok(abandoned);
    }
    let word = member.words().word(head::OWNER);
    let there = || Owner::of(word.load(Relaxed)).is_none(); // Relaxed: a hint, looked at again.
    member.wait(&member.object.signal(), deadline, there, |look| take(member, look))
}

/// Releases the lock, if this member holds it, and wakes one.
pub(super) fn release(member: &Member, abandoned: bool) {
    let word = member.words().word(head::OWNER);
    let seen = word.load(Relaxed); // Relaxed: only its holder changes it while that is alive.
    let free = if abandoned { ABANDONED } else { 0 };
    // P1: hands what it protects to the next one. Relaxed: overwritten by somebody, it is not ours to free.
    if Owner::of(seen) == Some(member.me) && word.compare_exchange(seen, free, Release, Relaxed).is_ok() {
        member.object.signal().notify(1);
    }
}

/// Whether the lock was left by a death, or by who gave it up, and nobody has it yet; a holder that is dead is
/// seen at a thorough look.
pub(super) fn is_left(member: &Member, look: Look) -> Result<bool> {
    let seen = member.words().word(head::OWNER).load(Relaxed); // Relaxed: a reason to look, no more.
    match Owner::of(seen) {
        None => Ok(seen & ABANDONED != 0),
        Some(owner) if look == Look::Thorough => member.is_owner_dead(owner),
        Some(_) => Ok(false),
    }
}

/// Frees the lock of a dead holder: it stays abandoned.
pub(super) fn repair(words: &Words, number: u32, stands: &dyn Fn() -> bool) {
    let word = words.word(head::OWNER);
    let seen = word.load(Acquire); // P4: before the look at the entry.
    if Owner::of(seen).is_some_and(|owner| owner.number == number) && stands() {
        // P1: as a release, of what the dead did. Relaxed: another did it, or took the lock.
        if word.compare_exchange(seen, ABANDONED, AcqRel, Relaxed).is_ok() {
            signal(words).notify(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{dead, get, member, set, sleeping};
    use super::*;

    #[test]
    fn a_lock_that_was_taken_meanwhile_is_not_taken_again() {
        let (_name, member) = member(Kind::Lock);
        let other = Owner { number: 1, serial: 9 }.word();
        set(member.words(), head::OWNER, other);
        for seen in [0, ABANDONED] {
            assert_eq!(take_seen(&member, seen, Look::Thorough).unwrap(), None);
            assert_eq!(get(member.words(), head::OWNER), other);
        }
    }

    #[test]
    fn who_releases_frees_what_it_holds_and_nothing_else_and_wakes_one() {
        let (_name, member) = member(Kind::Lock);
        let (words, mine) = (member.words(), member.me.word());
        let other = Owner { number: 1, serial: 9 }.word();
        for (held, free, posted) in [(other, other, 0), (ABANDONED, ABANDONED, 0), (mine, 0, 1)] {
            set(words, head::OWNER, held);
            sleeping(words, 1);
            release(&member, false);
            assert_eq!((get(words, head::OWNER), words.semaphore().value()), (free, posted));
        }
    }

    #[test]
    fn who_waits_for_the_condition_sees_that_its_lock_was_left() {
        let (_name, member) = member(Kind::Condition);
        let dead = dead(member.words(), 5);
        for (word, quick, thorough) in [
            (0, false, false),
            (ABANDONED, true, true),
            (member.me.word(), false, false),
            (dead.word(), false, true),
        ] {
            set(member.words(), head::OWNER, word);
            let left = [Look::Quick, Look::Thorough].map(|look| is_left(&member, look).unwrap());
            assert_eq!(left, [quick, thorough], "{word:x}");
        }
    }

    #[test]
    fn the_lock_of_the_dead_is_freed_with_a_mark_and_one_is_woken_and_nobody_elses_is() {
        let (_name, member) = member(Kind::Lock);
        let words = member.words();
        let (dead, other) = (dead(words, 5), dead(words, 6));
        sleeping(words, 1);
        for (owner, stands) in [(other, true), (dead, false)] {
            set(words, head::OWNER, owner.word());
            repair(words, 5, &|| stands);
            assert_eq!((get(words, head::OWNER), words.semaphore().value()), (owner.word(), 0));
        }
        repair(words, 5, &|| true);
        assert_eq!((get(words, head::OWNER), words.semaphore().value()), (ABANDONED, 1));
    }
}
