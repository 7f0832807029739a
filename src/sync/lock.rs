//! A lock: one word that says which handle holds it.

use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::time::Duration;

use super::ephemeral::RETIRED;
use super::object::{Member, Numbers, ObjectRepair, open_or_create};
use super::options::ObjectOptions;
use super::signals::signal;
use crate::layout::mapping::Words;
use crate::layout::named::{ObjectKind, ObjectLayout, Owner, head};
use crate::membership::table::Entry;
use crate::sys::clock::Deadline;
use crate::wait::{Depth, StopFlag};
use crate::{Error, Result};

/// The word of a free lock whose last holder died, or called `abandon`.
const ABANDONED: u64 = 2;

/// Recovery of a lock.
#[derive(Debug)]
struct LockRepair;

impl ObjectRepair for LockRepair {
    fn repair(words: &Words, dead: &Entry<'_>) {
        repair(words, dead.number, || dead.stands());
    }

    fn suspects(_: &Words) -> Numbers {
        // Nothing to suspect: a handle that waits for the lock asks itself whether the holder is alive.
        Numbers::default()
    }
}

/// A lock between processes, by name. One handle holds it at a time, and a dead holder loses it.
///
/// If the holder is killed, the next handle gets the lock within about 20 milliseconds, and its guard reports
/// [`is_abandoned`](LockGuard::is_abandoned). A holder that is only stopped keeps the lock. Waiting handles
/// get the lock in no particular order.
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
/// A handle cannot wait for itself, because its guard borrows it:
///
/// ```compile_fail,E0499
/// let mut lock = ringpipe::sync::Lock::open_or_create("doc-lock-twice")?;
/// let first = lock.lock()?;
/// let second = lock.lock()?;
/// drop(first);
/// # Ok::<(), ringpipe::Error>(())
/// ```
///
/// Threads cannot share a handle. Each thread opens its own:
///
/// ```compile_fail,E0277
/// fn shared(_: impl Sync) {}
/// shared(ringpipe::sync::Lock::open("doc-lock-shared").unwrap());
/// ```
#[derive(Debug)]
pub struct Lock {
    member: Member<LockRepair>,
}

impl Lock {
    /// Creates a lock of this name, for this user alone (mode 0600), and attaches to it.
    ///
    /// # Errors
    /// [`Error::Name`]; [`Error::Exists`] if an object or file of this name exists; [`Error::NoSpace`].
    pub fn create(name: &str) -> Result<Lock> {
        create(name, ObjectOptions::new()).map(|member| Lock { member })
    }

    /// Attaches to the lock of this name.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Incompatible`] if it is not a lock, or one of another version, libc or
    /// word size; [`Error::Busy`] if 1,024 handles are in use.
    pub fn open(name: &str) -> Result<Lock> {
        Member::open(name, ObjectOptions::new(), ObjectKind::Lock).map(|member| Lock { member })
    }

    /// Attaches to the lock of this name, or creates it. If several processes do so at once, one creates it.
    ///
    /// # Errors
    /// As [`create`](Self::create) and [`open`](Self::open).
    pub fn open_or_create(name: &str) -> Result<Lock> {
        Lock::attach(name, ObjectOptions::new())
    }

    pub(super) fn attach(name: &str, options: ObjectOptions) -> Result<Lock> {
        attach(name, options).map(|member| Lock { member })
    }

    /// Removes the name. Attached handles keep their lock; a lock created later under this name is a new one.
    /// Returns false if the name was gone, or belongs to a newer object.
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
    /// [`Error::Interrupted`] if the stop flag was raised; [`Error::Forked`] in a child of the process that
    /// opened it; [`Error::Busy`] if this handle holds the lock already, through a guard that was forgotten
    /// (`mem::forget`); [`Error::Damaged`] if its bytes were overwritten; [`Error::NotFound`] if the last
    /// [ephemeral](super::ObjectOptions::ephemeral) handle has removed it, and this handle is not ephemeral.
    pub fn lock(&mut self) -> Result<LockGuard<'_>> {
        self.acquire(Deadline::never())
    }

    /// Waits for the lock, at most `timeout`, and takes it.
    ///
    /// # Errors
    /// As [`lock`](Self::lock), and [`Error::TimedOut`].
    pub fn lock_timeout(&mut self, timeout: Duration) -> Result<LockGuard<'_>> {
        self.acquire(Deadline::after(timeout))
    }

    /// Takes the lock if it is free or its holder is dead.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    pub fn try_lock(&mut self) -> Result<Option<LockGuard<'_>>> {
        let taken = self.member.on_current(attach, |member| take(member, Depth::Thorough))?;
        self.member.check_entry()?;
        Ok(taken.map(|abandoned| LockGuard { held: Held::new(&mut self.member, abandoned) }))
    }

    fn acquire(&mut self, deadline: Deadline) -> Result<LockGuard<'_>> {
        let abandoned = self.member.on_current(attach, |member| acquire(member, deadline))?;
        Ok(LockGuard { held: Held::new(&mut self.member, abandoned) })
    }
}

fn create(name: &str, options: ObjectOptions) -> Result<Member<LockRepair>> {
    Member::create(name, options, ObjectLayout::new(ObjectKind::Lock, 0)?, Vec::new)
}

fn attach(name: &str, options: ObjectOptions) -> Result<Member<LockRepair>> {
    open_or_create(|| Member::open(name, options, ObjectKind::Lock), || create(name, options))
}

/// The held lock. Dropping it releases the lock and wakes a waiting handle.
///
/// If a panic drops it, the next holder finds the lock abandoned, as after a death.
///
/// A guard may move to another thread, which then releases the lock, but threads cannot share it.
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
/// A guard does not outlive its handle:
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
    held: Held<'a, LockRepair>,
}

impl LockGuard<'_> {
    /// Whether the last holder died, or called [`abandon`](Self::abandon): what the lock protects may be half
    /// changed. Only the first guard after that says so: a holder that releases the lock confirms that it
    /// repaired what the lock protects.
    pub fn is_abandoned(&self) -> bool {
        self.held.abandoned
    }

    /// A descriptor that keeps the lock held after this process's death: as long as any process has a copy of
    /// it open, this handle counts as alive. Give it to a child process that must not run beside the next
    /// holder. Releasing the lock works whatever copies exist.
    ///
    /// # Errors
    /// [`Error::Evicted`] if other code of this process has closed it.
    pub fn descriptor(&self) -> Result<BorrowedFd<'_>> {
        self.held.member.descriptor().ok_or(Error::Evicted)
    }

    /// Releases the lock and tells the next holder that what it protects may be half changed. For a holder
    /// that cannot repair it.
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
        self.held.gives_up = true;
    }
}

/// What the guards of a lock and of a condition have in common: a lock that is held until this value is dropped.
#[derive(Debug)]
pub(super) struct Held<'a, R: ObjectRepair> {
    pub(super) member: &'a mut Member<R>,
    /// Whether the last holder left the lock abandoned.
    pub(super) abandoned: bool,
    /// Whether to leave the lock abandoned.
    pub(super) gives_up: bool,
    /// Whether the thread was panicking when it took the lock.
    panicking: bool,
}

impl<'a, R: ObjectRepair> Held<'a, R> {
    /// The lock that `member` has just taken.
    pub(super) fn new(member: &'a mut Member<R>, abandoned: bool) -> Self {
        member.guard_made();
        Held { member, abandoned, gives_up: false, panicking: std::thread::panicking() }
    }
}

impl<R: ObjectRepair> Drop for Held<'_, R> {
    fn drop(&mut self) {
        // In a forked child the lock still belongs to the parent.
        if self.member.check().is_ok() {
            // Does nothing if a wait has failed and this member no longer has the lock.
            release(self.member, self.gives_up || std::thread::panicking() && !self.panicking);
            self.member.guard_done();
        }
    }
}

/// Takes the lock if it is free, or, in a thorough check, if its holder is dead. Returns whether it was
/// abandoned.
pub(super) fn take<R: ObjectRepair>(member: &Member<R>, look: Depth) -> Result<Option<bool>> {
    // Relaxed: the exchange decides.
    take_seen(member, member.words().word(head::OWNER).load(Relaxed), look)
}

/// Takes a lock whose word was `seen`, unless the word has changed.
fn take_seen<R: ObjectRepair>(member: &Member<R>, seen: u64, look: Depth) -> Result<Option<bool>> {
    let abandoned = match Owner::of(seen) {
        None if seen == RETIRED => return Err(Error::NotFound(member.name().into())),
        None => seen & ABANDONED != 0,
        Some(owner) if owner == member.me => {
            let text = format!("{:?} is held by this handle already", member.name());
            return Err(Error::Busy(text.into()));
        }
        Some(owner) if look == Depth::Thorough && member.is_owner_dead(owner)? => true,
        Some(_) => return Ok(None),
    };
    let (word, mine) = (member.words().word(head::OWNER), member.me.word());
    // P1: see what was written under the lock; for a dead holder, the kernel's answer ordered it. P4:
    // publishes the owner.
    Ok(word.compare_exchange(seen, mine, AcqRel, Relaxed).is_ok().then_some(abandoned))
}

/// Waits for the lock and takes it. Returns whether it was abandoned.
pub(super) fn acquire<R: ObjectRepair>(member: &Member<R>, deadline: Deadline) -> Result<bool> {
    if let Some(abandoned) = take(member, Depth::Quick)? {
        member.check_entry()?;
        return Ok(abandoned);
    }
    let word = member.words().word(head::OWNER);
    let there = || Owner::of(word.load(Relaxed)).is_none(); // Relaxed: a hint; `take` decides.
    member.wait(&member.signal(), deadline, there, |look| take(member, look))
}

/// Releases the lock, if this member holds it, and wakes a waiting handle.
pub(super) fn release<R: ObjectRepair>(member: &Member<R>, abandoned: bool) {
    let word = member.words().word(head::OWNER);
    let seen = word.load(Relaxed); // Relaxed: only a live holder changes it.
    let free = if abandoned { ABANDONED } else { 0 };
    // P1: publishes what the lock protects. Relaxed: on failure the word was overwritten, so do not free it.
    if Owner::of(seen) == Some(member.me) && word.compare_exchange(seen, free, Release, Relaxed).is_ok() {
        member.signal().notify(1);
    }
}

/// Whether the lock was abandoned, by a death or by `abandon`, and no handle has taken it yet. Only a
/// thorough check detects a dead holder.
pub(super) fn is_left<R: ObjectRepair>(member: &Member<R>, look: Depth) -> Result<bool> {
    let seen = member.words().word(head::OWNER).load(Relaxed); // Relaxed: only a reason to check.
    match Owner::of(seen) {
        None => Ok(seen & ABANDONED != 0),
        Some(owner) if look == Depth::Thorough => member.is_owner_dead(owner),
        Some(_) => Ok(false),
    }
}

/// Frees the lock of a dead holder and marks it abandoned.
pub(super) fn repair(words: &Words, number: u32, stands: impl Fn() -> bool) {
    let word = words.word(head::OWNER);
    let seen = word.load(Acquire); // P4: before the check of the entry.
    if Owner::of(seen).is_some_and(|owner| owner.number == number) && stands() {
        // P1: publishes, like a release, what the dead holder did. Relaxed: on failure another process freed
        // or took the lock.
        if word.compare_exchange(seen, ABANDONED, AcqRel, Relaxed).is_ok() {
            signal(words).notify(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::tests::{dead, get, member, set, sleeping};

    #[test]
    fn a_lock_that_another_handle_has_taken_is_not_taken_again() {
        let (_name, member) = member::<LockRepair>(ObjectKind::Lock);
        let other = Owner { number: 1, serial: 9 }.word();
        set(member.words(), head::OWNER, other);
        for seen in [0, ABANDONED] {
            assert_eq!(take_seen(&member, seen, Depth::Thorough).unwrap(), None);
            assert_eq!(get(member.words(), head::OWNER), other);
        }
    }

    #[test]
    fn releasing_frees_only_a_lock_that_is_held_and_wakes_one_handle() {
        let (_name, member) = member::<LockRepair>(ObjectKind::Lock);
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
    fn a_handle_that_waits_for_the_condition_sees_its_lock_abandoned() {
        let (_name, member) = member::<LockRepair>(ObjectKind::Condition);
        let dead = dead(member.words(), 5);
        for (word, quick, thorough) in [
            (0, false, false),
            (ABANDONED, true, true),
            (member.me.word(), false, false),
            (dead.word(), false, true),
        ] {
            set(member.words(), head::OWNER, word);
            let left = [Depth::Quick, Depth::Thorough].map(|look| is_left(&member, look).unwrap());
            assert_eq!(left, [quick, thorough], "{word:x}");
        }
    }

    #[test]
    fn only_a_dead_holders_lock_is_freed_as_abandoned_and_one_handle_is_woken() {
        let (_name, member) = member::<LockRepair>(ObjectKind::Lock);
        let words = member.words();
        let (dead, other) = (dead(words, 5), dead(words, 6));
        sleeping(words, 1);
        for (owner, stands) in [(other, true), (dead, false)] {
            set(words, head::OWNER, owner.word());
            repair(words, 5, || stands);
            assert_eq!((get(words, head::OWNER), words.semaphore().value()), (owner.word(), 0));
        }
        repair(words, 5, || true);
        assert_eq!((get(words, head::OWNER), words.semaphore().value()), (ABANDONED, 1));
    }
}
