//! What the named objects share: the segment, its participants, and the repair of what a dead participant
//! left.
//!
//! Handles that can own something are participants: see [`table`](crate::membership::table), which also
//! explains why a crash at any step is safe. An owned word names its owner by number and serial.
//!
//! | edge | from, to | carries |
//! |---|---|---|
//! | P1 | release of a lock or permit, or a new permit (release), the next claim (acquire) | what was written under it |
//! | P3 | setting an event (release), a process that finds it set (acquire) | what was written before |
//! | P4 | a claim, or the beginning of a wait (release), a process that repairs it (acquire) | which participant claimed it, and that its entry is in use |
//! | P5 | the store that lets processes pass a barrier (release), each of them (acquire) | what all of them wrote before they came |
//!
//! E4 and E11 apply to all shared objects: see `wait` and `membership`.

use std::cell::RefCell;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::ephemeral;
use super::options::ObjectOptions;
use super::signals::{self, signal};
use crate::layout::mapping::Words;
use crate::layout::named::{OBJECT_MAGIC, ObjectKind, ObjectLayout, Owner, entry, head, in_use};
use crate::membership::liveness_probe::LivenessProbe;
use crate::membership::table::{
    Entry, Membership, Recover, Table, Turns, count_in_use, reap, reap_all, take_number,
};
use crate::sys::clock::{self, Deadline};
use crate::sys::liveness::ParticipantLock;
use crate::sys::name::RingName;
use crate::sys::segment::{self, Segment};
use crate::sys::{fence, process};
use crate::wait::{Depth, Signal, StopFlag, Waiter};
use crate::{Error, Result};

/// Removes the named object of this name, of any kind, even if it is damaged or of another version. Returns
/// false if another process removed it at this moment. Handles that have it open keep it.
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
/// [`Error::NotFound`]; [`Error::Incompatible`] if it is anything else, such as a ring, which then stays.
pub fn remove(name: &str) -> Result<bool> {
    segment::remove_leftover(&RingName::parse(name)?, OBJECT_MAGIC)
}

/// A set of participant numbers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Numbers([u64; 16]);

impl Numbers {
    /// Adds a number. Ignores numbers that no participant can have.
    pub(super) fn insert(&mut self, number: u32) {
        if let Some(bits) = self.0.get_mut(number as usize / 64) {
            *bits |= 1 << (number % 64);
        }
    }

    pub(super) fn contains(&self, number: u32) -> bool {
        self.0.get(number as usize / 64).is_some_and(|bits| bits & (1 << (number % 64)) != 0)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        (0..1024).filter(|number| self.contains(*number))
    }
}

/// Opens an object, or creates it. If several processes do so at once, one creates it.
pub(super) fn open_or_create<T>(open: impl Fn() -> Result<T>, create: impl Fn() -> Result<T>) -> Result<T> {
    loop {
        match open() {
            Err(Error::NotFound(_)) => {}
            result => return result,
        }
        match create() {
            // Another process created or removed it in between.
            Err(Error::Exists(_) | Error::NotFound(_)) => {}
            result => return result,
        }
    }
}

/// A named object, opened.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) words: Words,
    /// See `process::epoch`.
    pub(super) epoch: AtomicU64,
    options: ObjectOptions,
}

impl Object {
    /// Creates an object. The words in `set` begin with these values, all others with 0.
    pub(super) fn create(
        name: &str,
        options: ObjectOptions,
        geometry: ObjectLayout,
        set: impl Fn() -> Vec<(u64, u64)>,
    ) -> Result<Object> {
        let name = RingName::parse(name)?;
        let segment = Arc::new(Words::create(&name, options.mode, &geometry, set)?);
        let object = Object::new(Arc::clone(&segment), geometry.kind).inspect_err(|_| {
            // The memory is lost: no process can use it. Report the first error, not one of the removal.
            let _ = segment.unlink();
        });
        Ok(Object { options, ..object? })
    }

    /// Opens an object. [`Error::NotFound`] also if it is retired: its name is then gone.
    pub(super) fn open(name: &str, options: ObjectOptions, kind: ObjectKind) -> Result<Object> {
        let object = Object::find(name, options, kind)?;
        match ephemeral::is_gone(&object.words)? {
            true => Err(Error::NotFound(name.into())),
            false => Ok(object),
        }
    }

    /// Opens an object, even a retired one.
    fn find(name: &str, options: ObjectOptions, kind: ObjectKind) -> Result<Object> {
        let segment = Segment::open(&RingName::parse(name)?, options.owners)?;
        Ok(Object { options, ..Object::new(Arc::new(segment), kind)? })
    }

    pub(super) fn new(segment: Arc<Segment>, kind: ObjectKind) -> Result<Object> {
        process::fork_generation();
        let epoch = AtomicU64::new(process::epoch());
        let words = Words::new(segment, kind)?;
        // Every waker relies on this registration.
        if !fence::register() {
            // Relaxed: a waker that does not see it yet may miss a sleeper, which then wakes at the end of
            // its slice.
            words.word(head::FENCES).store(1, Relaxed);
        }
        let object = Object { words, epoch, options: ObjectOptions::new() };
        object.check()?;
        Ok(object)
    }

    /// Fails in a child of the process that opened it, and when the mapped memory was lost.
    pub(super) fn check(&self) -> Result<()> {
        self.words.segment().check(&self.epoch)
    }

    pub(super) fn name(&self) -> &str {
        self.words.segment().name().as_str()
    }

    pub(super) fn remove(&self) -> Result<bool> {
        self.words.segment().unlink()
    }

    /// The signal on which all handles sleep, except a condition's waiting participants.
    pub(super) fn signal(&self) -> Signal<'_> {
        signal(&self.words)
    }
}

/// What recovery repairs in one kind of object.
pub(super) trait ObjectRepair: Debug {
    /// Repairs what the dead holder of an entry owned.
    fn repair(words: &Words, dead: &Entry<'_>);

    /// The participants that own something that other handles may wait for without asking whether the owner
    /// is alive.
    fn suspects(words: &Words) -> Numbers;
}

/// A handle that takes part in an object: it has a number and can own something.
#[derive(Debug)]
pub(super) struct Member<R: ObjectRepair> {
    words: Words,
    membership: Membership,
    turns: Turns,
    /// Holds this handle's own number.
    probe: LivenessProbe,
    pub(super) me: Owner,
    pub(super) waiter: RefCell<Waiter>,
    pub(super) stop: Option<StopFlag>,
    pub(super) options: ObjectOptions,
    repair: PhantomData<R>,
}

impl<R: ObjectRepair> Member<R> {
    /// Creates an object and takes part in it. A retired object of this name does not count.
    pub(super) fn create(
        name: &str,
        options: ObjectOptions,
        geometry: ObjectLayout,
        set: impl Fn() -> Vec<(u64, u64)>,
    ) -> Result<Self> {
        let was_gone = || {
            let found = Object::find(name, options, geometry.kind);
            found.and_then(|object| ephemeral::is_gone(&object.words)).unwrap_or(false)
        };
        let object = loop {
            match Object::create(name, options, geometry, &set) {
                Err(Error::Exists(_)) if was_gone() => {}
                result => break result?,
            }
        };
        let segment = Arc::clone(object.words.segment());
        Member::join(object).inspect_err(|_| ephemeral::withdraw(segment, geometry.kind))
    }

    /// Opens an object and takes part in it.
    pub(super) fn open(name: &str, options: ObjectOptions, kind: ObjectKind) -> Result<Self> {
        Member::join(Object::open(name, options, kind)?)
    }

    pub(super) fn join(object: Object) -> Result<Self> {
        let Object { words, epoch, options } = object;
        // Relaxed: only needs to be a number that no other participant has; it orders nothing.
        let serial = words.word(head::SERIAL).fetch_add(1, Relaxed) as u32;
        let lock = number_for::<R>(&words)?;
        let number = lock.number();
        if words.geometry().kind == ObjectKind::Condition {
            // Relaxed: a hint.
            words.word(words.geometry().entry(number) + entry::SLEEPING).store(0, Relaxed);
        }
        let membership = Membership::begin(&words, number, in_use(serial), epoch.into_inner());
        Ok(Member {
            words,
            membership,
            turns: Turns::default(),
            probe: LivenessProbe::Participant(lock),
            me: Owner { number, serial },
            waiter: RefCell::default(),
            stop: None,
            options,
            repair: PhantomData,
        })
    }

    pub(super) fn words(&self) -> &Words {
        &self.words
    }

    pub(super) fn name(&self) -> &str {
        self.words.segment().name().as_str()
    }

    pub(super) fn remove(&self) -> Result<bool> {
        self.words.segment().unlink()
    }

    /// The signal on which all handles sleep, except a condition's waiting participants.
    pub(super) fn signal(&self) -> Signal<'_> {
        signal(&self.words)
    }

    /// Fails in a child of the process that opened it, and when the mapped memory was lost.
    pub(super) fn check(&self) -> Result<()> {
        self.membership.check(self.words.segment())
    }

    /// See [`Membership::check_entry`].
    pub(super) fn check_entry(&self) -> Result<()> {
        self.membership.check_entry(&self.words, &self.probe)
    }

    /// Whether no living process holds this number. If the system refuses the query, the answer is false.
    pub(super) fn is_dead(&self, number: u32) -> bool {
        self.probe.is_dead(number, self.words.geometry().participants)
    }

    /// As [`is_dead`](Self::is_dead), for a word's owner.
    ///
    /// # Errors
    /// [`Error::Damaged`] for a number that no participant can have: such a word would stay owned for ever.
    pub(super) fn is_owner_dead(&self, owner: Owner) -> Result<bool> {
        if owner.number >= self.words.geometry().participants {
            let why = format!("{:?} is held by number {}, which no process has", self.name(), owner.number);
            return Err(Error::Damaged(why.into()));
        }
        Ok(self.is_dead(owner.number))
    }

    /// Calls `act`. If that finds the object retired ([`Error::NotFound`]) and this handle is ephemeral, it attaches
    /// to the object that has the name now, and calls it again.
    pub(super) fn on_current<T>(
        &mut self,
        attach: impl Fn(&str, ObjectOptions) -> Result<Member<R>>,
        act: impl Fn(&mut Member<R>) -> Result<T>,
    ) -> Result<T> {
        loop {
            self.check_entry()?;
            match act(self) {
                // The system refused to remove the name: the object goes on.
                Err(Error::NotFound(_)) if !ephemeral::is_retired(&self.words) => {}
                Err(Error::NotFound(_)) if self.options.ephemeral => {
                    if !ephemeral::finish(&self.words)? {
                        continue;
                    }
                    let mut next = attach(self.name(), self.options)?;
                    next.stop = self.stop.take();
                    *self = next;
                }
                result => return result,
            }
        }
    }

    /// Waits until `look` returns something: see [`Waiter::wait`].
    pub(super) fn wait<T>(
        &self,
        signal: &Signal<'_>,
        deadline: Deadline,
        there: impl Fn() -> bool,
        mut look: impl FnMut(Depth) -> Result<Option<T>>,
    ) -> Result<T> {
        let mut waiter = self.waiter.take();
        let look = |depth| {
            self.check_entry()?;
            look(depth)
        };
        // There is at most one thing to find.
        let result = waiter.wait_on(signal, deadline, self.stop.as_ref(), |n| n == 0 && there(), look);
        self.waiter.replace(waiter);
        // Discard the result if the memory was lost meanwhile.
        self.check_entry()?;
        result
    }

    /// Recovers from those deaths that other handles wait for, unless this handle saw another one take that
    /// turn in the last slice.
    pub(super) fn sweep_in_turn(&self) {
        // Nearly always, at most one participant is asked about.
        let steps = u64::from(self.words.geometry().participants);
        if self.turns.take(self.words.word(head::SWEPT_AT), clock::coarse_ns(), steps) {
            self.sweep();
        }
    }

    /// Recovers from those deaths that other handles wait for.
    pub(super) fn sweep(&self) {
        let dead = Members::<R>::new(&self.words, &self.probe);
        // Repeat: a notification of one dead participant may have gone to another dead one.
        for _ in 0..self.words.geometry().participants {
            if R::suspects(&self.words).iter().filter(|number| reap(&dead, *number)).count() == 0 {
                break;
            }
        }
    }

    /// The descriptor through which the kernel knows that this participant is alive. While any process has a copy open,
    /// the participant counts as alive.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.probe.descriptor()
    }

    pub(super) fn guard_made(&self) {
        self.membership.guard_made();
    }

    pub(super) fn guard_done(&self) {
        self.membership.guard_done();
    }
}

#[cfg(test)]
impl<R: ObjectRepair> Member<R> {
    /// Recovers from the death of one participant. Returns false if it is alive or has left.
    pub(super) fn reap(&self, number: u32) -> bool {
        reap(&Members::<R>::new(&self.words, &self.probe), number)
    }
}

impl<R: ObjectRepair> Drop for Member<R> {
    /// Leaves: frees the entry, then releases the number's lock. If a forgotten guard still owns something,
    /// the entry stays and only the lock is released; it is then repaired as after a death.
    fn drop(&mut self) {
        if self.check().is_ok() && !self.membership.has_guards() {
            self.membership.end(&self.words, &self.probe);
            if self.options.ephemeral {
                // If the system refuses, the name stays until the next handle leaves.
                let _ = ephemeral::retire(&self.words);
            }
        }
    }
}

/// Takes the lowest free number.
fn number_for<R: ObjectRepair>(words: &Words) -> Result<ParticipantLock> {
    let participants = words.geometry().participants;
    let reap = |observer| {
        let probe = LivenessProbe::Observer(observer);
        reap_all(&Members::<R>::new(words, &probe), |_| true, |_| ());
    };
    take_number(words, 0..participants, reap)?.ok_or_else(|| {
        let (name, what) = (words.segment().name().as_str(), words.geometry().kind.in_words());
        Error::Busy(format!("{name:?} is {what} with all of its {participants} handles in use").into())
    })
}

impl Table for Words {
    fn segment(&self) -> &Segment {
        Words::segment(self)
    }

    fn participants(&self) -> u32 {
        self.geometry().participants
    }

    fn state(&self, number: u32) -> &AtomicU64 {
        self.word(self.geometry().entry(number) + entry::STATE)
    }

    fn highest(&self) -> &AtomicU64 {
        self.word(head::NUMBERS)
    }
}

/// An object's table of participants, and the probe that tells which of them are alive.
struct Members<'a, R> {
    words: &'a Words,
    probe: &'a LivenessProbe,
    repair: PhantomData<R>,
}

impl<'a, R> Members<'a, R> {
    fn new(words: &'a Words, probe: &'a LivenessProbe) -> Self {
        Members { words, probe, repair: PhantomData }
    }
}

impl<R: ObjectRepair> Recover for Members<'_, R> {
    type Table = Words;
    type Found = ();
    /// Whether this process freed the entry.
    type Repaired = bool;

    fn table(&self) -> &Words {
        self.words
    }

    fn is_dead(&self, number: u32) -> bool {
        self.probe.is_dead(number, self.words.geometry().participants)
    }

    fn repair(&self, entry: &Entry<'_>) {
        R::repair(self.words, entry);
    }

    fn finish(&self, (): (), freed: bool) -> bool {
        if freed {
            let handles = || count_in_use(self.words, |_| true);
            signals::all(self.words).for_each(|signal| signal.wake_survivors(handles));
        }
        freed
    }
}
