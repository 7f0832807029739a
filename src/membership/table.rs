//! The table of participants, which rings and named objects share: numbers, entries, and recovery from deaths.
//!
//! Each handle that can own something has a number. It locks the byte of that number through a file
//! description of its own, and the kernel releases this lock when the process ends. The number's entry holds
//! a state word: 0 while the number is free, else a word with the serial number of its holder, which no two
//! holders share. A word in shared memory names the number of the handle that owns it, so claiming and
//! becoming the owner are one compare-exchange. A death can therefore never leave something claimed that
//! belongs to no number.
//!
//! # Crashes
//!
//! 1. A participant locks its byte, sees that the entry is still free, and puts the entry in use. Only then
//!    does it claim anything. Before it leaves, it owns nothing; it frees the entry, and then releases the
//!    lock. So if the byte is unlocked and the entry is in use, the participant is dead. A death before the
//!    entry is in use leaves nothing behind; a later death leaves an entry that recovery frees.
//! 2. A recovering process reads the entry, asks the kernel whether the number is dead, repairs, and then
//!    frees the entry by an exchange from the state that it has read. The exchange fails if any other process
//!    has freed the entry since. If it succeeds, the same holder had the entry all the time: it was dead when
//!    the kernel was asked, and the number was not granted again. So a number becomes free only after
//!    everything that its last holder owned was repaired.
//! 3. A repair reads a word (acquire), checks that the entry is unchanged (acquire), and then exchanges the
//!    word from what it has read. A next holder puts its entry in use (release) before it claims a word
//!    (release). So a word that the next holder claimed is never changed: the repair sees that the entry has
//!    changed. Two words of rings are excepted, the turn of the mutex and the fairness request: a repair that
//!    is suspended between its check and its exchange can end the next holder's turn or request. That costs
//!    only order: a turn guards nothing, and a request is made again after 10 ms.
//! 4. Any number of processes may recover from one death at the same time, and each may be killed or
//!    suspended at any step. Every repair is an exchange that the next process either skips or does. What
//!    other processes must learn is announced before the entry is freed: as long as the entry is in use, the
//!    next recovery announces it again.
//!
//! A process that takes a number holds the lock of a dead participant's byte for a moment if the entry was
//! put in use after its first check. The dead participant seems alive for that moment, and a later check
//! finds the death. No living participant ever seems dead.
//!
//! Edge E11: an entry's state (release) to any process that reads it (acquire). It publishes the entry's
//! other words, and that the number of a free entry owns nothing.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

use super::liveness_probe::LivenessProbe;
use crate::Result;
use crate::sys::clock::Deadline;
use crate::sys::liveness::{Observer, ParticipantLock};
use crate::sys::process;
use crate::sys::segment::Segment;
use crate::wait::{SLICE, Seen};

/// Gives access to the words of a segment's table of participants.
pub(crate) trait Table {
    /// The segment that contains the table.
    fn segment(&self) -> &Segment;

    /// The number of entries in the table.
    fn participants(&self) -> u32;

    /// The state word of an entry. A number beyond the table gives the last entry.
    fn state(&self, number: u32) -> &AtomicU64;

    /// One more than the highest number ever granted.
    fn highest(&self) -> &AtomicU64;
}

/// A table whose dead participants may have left something to repair.
pub(crate) trait Recover {
    /// The table.
    type Table: Table;
    /// What the repairs of one dead participant found, before its entry is freed.
    type Found;
    /// What a recovery changed, for the caller.
    type Repaired: Default;

    /// The table of entries.
    fn table(&self) -> &Self::Table;

    /// Whether no living process holds this number. If the system refuses the query, the answer is false.
    fn is_dead(&self, number: u32) -> bool;

    /// Repairs what the dead holder of `entry` left, and announces what other processes must not miss.
    /// Changes nothing that may belong to a next holder: see [`Entry::stands`].
    fn repair(&self, entry: &Entry<'_>) -> Self::Found;

    /// Counts and announces what was found, and whether this process `freed` the entry.
    fn finish(&self, found: Self::Found, freed: bool) -> Self::Repaired;
}

/// A participant's entry as it was at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    word: &'a AtomicU64,
    /// The number.
    pub number: u32,
    /// The value of the state word.
    pub state: u64,
}

impl<'a> Entry<'a> {
    /// Reads the entry of a number.
    pub fn read(table: &'a impl Table, number: u32) -> Self {
        let word = table.state(number);
        // E11: the entry's other words belong to the holder that this state names.
        Entry { word, number, state: word.load(Acquire) }
    }

    /// Whether the number is free: no participant holds it, and none is to be recovered.
    pub fn is_free(&self) -> bool {
        self.state == 0
    }

    /// Whether the entry still has this state. While it has, no other participant has taken the number.
    pub fn stands(&self) -> bool {
        // E11: a next holder's entry is visible before anything that it claims.
        self.word.load(Acquire) == self.state
    }

    /// Frees the entry. Returns false if it was free, or if another process has freed it meanwhile.
    fn free(&self) -> bool {
        // E11: a process that finds the entry free finds nothing owned by the number. Relaxed: on failure,
        // another process freed it.
        !self.is_free() && self.word.compare_exchange(self.state, 0, AcqRel, Relaxed).is_ok()
    }
}

/// The numbers that may be in use.
pub(crate) fn numbers(table: &impl Table) -> std::ops::Range<u32> {
    // Relaxed: a participant that is not visible yet owns nothing and cannot be dead yet.
    let highest = table.highest().load(Relaxed);
    0..highest.min(u64::from(table.participants())) as u32
}

/// How many entries of the `wanted` states are in use.
pub(crate) fn count_in_use(table: &impl Table, wanted: impl Fn(u64) -> bool) -> u64 {
    numbers(table)
        .map(|number| Entry::read(table, number))
        .filter(|entry| !entry.is_free() && wanted(entry.state))
        .count() as u64
}

/// If participant `number` is dead, repairs what it left and then frees its entry. Any number of processes
/// may do so at once.
pub(crate) fn reap<R: Recover>(members: &R, number: u32) -> R::Repaired {
    let entry = Entry::read(members.table(), number);
    if members.is_dead(number) { recover(members, &entry) } else { R::Repaired::default() }
}

/// As [`reap`], for an entry that was read before its number was found dead.
pub(super) fn recover<R: Recover>(members: &R, entry: &Entry<'_>) -> R::Repaired {
    let found = members.repair(entry);
    let freed = entry.free();
    members.finish(found, freed)
}

/// Recovers from the deaths of all participants whose entry is `wanted`. Reports each one's changes.
pub(crate) fn reap_all<R: Recover>(
    members: &R,
    wanted: impl Fn(&Entry<'_>) -> bool,
    mut tell: impl FnMut(R::Repaired),
) {
    let table = members.table();
    for number in numbers(table) {
        let entry = Entry::read(table, number);
        if !entry.is_free() && wanted(&entry) && members.is_dead(number) {
            tell(recover(members, &entry));
        }
    }
}

/// How long an attaching handle waits for a number whose entry is free but whose lock is still held. The
/// holder is leaving, which takes microseconds unless it is suspended there.
const LEAVING: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(1);

/// Takes the first free one of `numbers`. If there is none, calls `reap` with an observer, to recover from
/// deaths, and then tries again. Returns `None` if all numbers are in use.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io) when the system refuses descriptors or locks.
pub(crate) fn take_number<T: Table>(
    table: &T,
    numbers: impl Iterator<Item = u32> + Clone,
    reap: impl Fn(Observer),
) -> Result<Option<ParticipantLock>> {
    take_number_with(table, numbers, reap, ParticipantLock::try_acquire)
}

fn take_number_with<T: Table>(
    table: &T,
    numbers: impl Iterator<Item = u32> + Clone,
    reap: impl Fn(Observer),
    acquire: impl Fn(OwnedFd, u32) -> Result<std::result::Result<ParticipantLock, OwnedFd>>,
) -> Result<Option<ParticipantLock>> {
    let (mut passes, patience) = (0, Deadline::after(LEAVING));
    while passes < 3 {
        passes += 1;
        let mut leaving = false;
        let mut fd = table.segment().reopen()?;
        for number in numbers.clone() {
            if !Entry::read(table, number).is_free() {
                continue;
            }
            match acquire(fd, number)? {
                Ok(lock) if Entry::read(table, number).is_free() => return Ok(Some(lock)),
                // Another participant came and died between the two checks of the entry.
                Ok(lock) => {
                    drop(lock);
                    fd = table.segment().reopen()?;
                }
                // The holder is about to release the lock, or has just taken the number.
                Err(same) => (fd, leaving) = (same, true),
            }
        }
        if leaving && !patience.passed() {
            passes -= 1;
            std::thread::sleep(POLL);
        }
        reap(Observer::new(fd)?);
    }
    Ok(None)
}

/// The time between two checks for each step of one. A step takes some 10 ns: so the checks of all processes
/// together take 2 % of one processor.
const REST_NS_PER_STEP: u64 = 512;

/// The turns to check for deaths that one handle has seen taken.
#[derive(Debug, Default)]
pub(crate) struct Turns(Seen);

impl Turns {
    /// Takes the turn to check for deaths, unless this handle saw another one take it in the last slice, or in
    /// the longer time that a check of so many `steps` takes off. `turns` counts the turns.
    ///
    /// A step is one lock in the kernel's list. The kernel goes through the whole list for each question, so a
    /// check of n participants takes n² steps.
    pub fn take(&self, turns: &AtomicU64, now: u64, steps: u64) -> bool {
        let turn = turns.load(Relaxed); // Relaxed: only decides which handle looks.
        let age = self.0.age(turn, now);
        let rest = (SLICE.as_nanos() as u64 * 3 / 4).max(steps * REST_NS_PER_STEP);
        let due = turn == 0 || age.is_none_or(|age| age >= rest);
        let next = turn.wrapping_add(1).max(1);
        let wins = due && turns.compare_exchange(turn, next, Relaxed, Relaxed).is_ok();
        if wins {
            self.0.note(next, now);
        }
        wins
    }
}

#[cfg(test)]
impl Turns {
    /// Forgets all turns seen before, and remembers this one as seen long ago.
    pub fn has_seen(&self, turn: u64) {
        self.0.note(turn, 0);
    }
}

/// What a handle that takes part in a table remembers: its entry, its process, and its guards. Threads may
/// share it, but only the thread that has the handle makes and resolves guards.
#[derive(Debug)]
pub(crate) struct Membership {
    number: u32,
    /// The value of the entry's state word while this handle takes part.
    state: u64,
    /// See `process::epoch`.
    epoch: AtomicU64,
    /// The number of guards that own a claim. A forgotten guard stays counted.
    guards: AtomicU32,
}

impl Membership {
    /// Puts the entry of `number` in use with this state. The caller has written all its other words.
    pub fn begin(table: &impl Table, number: u32, state: u64, epoch: u64) -> Self {
        // E11, both: a process that sees the entry in use sees its other words, and scans at least this far.
        table.highest().fetch_max(u64::from(number) + 1, Release);
        table.state(number).store(state, Release);
        Membership { number, state, epoch: AtomicU64::new(epoch), guards: AtomicU32::new(0) }
    }

    /// Fails in a child of the process that attached, and when the mapped memory was lost.
    #[inline]
    pub fn check(&self, segment: &Segment) -> Result<()> {
        segment.check(&self.epoch)
    }

    /// As [`check`](Self::check), and also fails if other processes have taken this participant for dead.
    /// That happens when other code of this process closes the descriptor that held the lock.
    ///
    /// # Errors
    /// As [`check`](Self::check); [`Error::Evicted`](crate::Error::Evicted), from then on at each call.
    pub fn check_entry(&self, table: &impl Table, probe: &LivenessProbe) -> Result<()> {
        self.check(table.segment())?;
        if !self.has_entry(table, probe) {
            // After memory was lost, there is no entry to check.
            self.check(table.segment())?;
            self.epoch.store(process::NO_EPOCH, Relaxed); // Relaxed: as in `Segment::check`.
        }
        self.check(table.segment())
    }

    /// Whether this participant still has its entry and, as far as it knows, its lock.
    pub fn has_entry(&self, table: &impl Table, probe: &LivenessProbe) -> bool {
        // E11: a participant that finds its own state there was not reaped.
        !probe.is_lost() && table.state(self.number).load(Acquire) == self.state
    }

    /// Counts a new guard that owns a claim.
    #[inline]
    pub fn guard_made(&self) {
        self.guards.store(self.guards.load(Relaxed).wrapping_add(1), Relaxed); // Relaxed: only writer.
    }

    /// Counts that a guard's claim is resolved.
    #[inline]
    pub fn guard_done(&self) {
        self.guards.store(self.guards.load(Relaxed).wrapping_sub(1), Relaxed); // Relaxed: only writer.
    }

    /// Whether any guard owns a claim.
    #[inline]
    pub fn has_guards(&self) -> bool {
        self.guards.load(Relaxed) != 0 // Relaxed: its own; of another thread's it is for display.
    }

    /// Leaves: frees the entry, then releases the lock. Do not call this for a participant with a forgotten
    /// guard that owns a claim: its entry must stay, to be reaped after the lock is released.
    pub fn end(&self, table: &impl Table, probe: &LivenessProbe) {
        // E11: a process that finds the entry free finds nothing owned by the number. Relaxed: on failure
        // this participant was reaped, and the entry may be another one's.
        let _ = table.state(self.number).compare_exchange(self.state, 0, Release, Relaxed);
        // Release now, before the mapping goes: unmapping takes a while, and a successor may wait for the
        // number.
        probe.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::Role;
    use crate::membership::testing::{attached, dies, ring};
    use std::cell::Cell;

    /// Puts an entry in use as a new holder of the number does.
    fn comes(table: &impl Table, number: u32, state: u64) {
        table.highest().fetch_max(u64::from(number) + 1, Relaxed);
        table.state(number).store(state, Relaxed);
    }

    /// A table whose dead participants own nothing. It reports when a liveness query happens, and records the
    /// repairs.
    struct Forged<'a, T, F> {
        table: &'a T,
        is_dead: F,
        repaired: Cell<Option<bool>>,
    }

    impl<T: Table, F: Fn(u32) -> bool> Recover for Forged<'_, T, F> {
        type Table = T;
        type Found = ();
        type Repaired = bool;

        fn table(&self) -> &T {
            self.table
        }

        fn is_dead(&self, number: u32) -> bool {
            (self.is_dead)(number)
        }

        fn repair(&self, entry: &Entry<'_>) {
            self.repaired.set(Some(entry.stands()));
        }

        fn finish(&self, (): (), freed: bool) -> bool {
            freed
        }
    }

    #[test]
    fn a_number_whose_next_holder_came_and_died_between_the_two_checks_is_not_taken() {
        let (_name, ring) = ring(Default::default());
        let acquire = |fd, number| {
            if number == 0 {
                comes(ring.mapping(), 0, 7);
            }
            ParticipantLock::try_acquire(fd, number)
        };
        let taken = take_number_with(ring.mapping(), 0..4, |_| (), acquire).unwrap().unwrap();
        assert_eq!(taken.number(), 1);
    }

    #[test]
    fn a_recovery_changes_nothing_of_a_live_participant() {
        let (_name, ring) = ring(Default::default());
        comes(ring.mapping(), 5, 7);
        let forged = Forged { table: ring.mapping(), is_dead: |_| false, repaired: Cell::new(None) };
        assert!(!reap(&forged, 5));
        reap_all(&forged, |_| true, |_| unreachable!());
        assert_eq!((forged.repaired.get(), ring.mapping().state(5).load(Relaxed)), (None, 7));
    }

    #[test]
    fn an_entry_is_free_after_its_repair() {
        let (_name, ring) = ring(Default::default());
        comes(ring.mapping(), 5, 7);
        let forged = Forged { table: ring.mapping(), is_dead: |_| true, repaired: Cell::new(None) };
        assert!(reap(&forged, 5));
        assert_eq!((forged.repaired.get(), ring.mapping().state(5).load(Relaxed)), (Some(true), 0));
        assert!(!reap(&forged, 5), "a free entry is not freed again");
    }

    #[test]
    fn a_next_holder_keeps_its_entry() {
        let (_name, ring) = ring(Default::default());
        comes(ring.mapping(), 5, 7);
        // Another process recovered faster, and the number was granted again.
        let is_dead = |number| {
            comes(ring.mapping(), number, 8);
            true
        };
        let forged = Forged { table: ring.mapping(), is_dead, repaired: Cell::new(None) };
        assert!(!reap(&forged, 5));
        assert_eq!((forged.repaired.get(), ring.mapping().state(5).load(Relaxed)), (Some(false), 8));
    }

    #[test]
    fn only_wanted_entries_are_recovered() {
        let (_name, ring) = ring(Default::default());
        let numbers = [Role::Producer, Role::Consumer].map(|role| attached(&ring, role));
        let numbers = numbers.map(dies);
        reap_all(ring.observer(), |entry| entry.number == numbers[1], |_| ());
        let freed = numbers.map(|number| ring.mapping().state(number).load(Relaxed) == 0);
        assert_eq!(freed, [false, true]);
    }

    #[test]
    fn a_check_of_many_participants_is_due_less_often() {
        let (slice, word) = (SLICE.as_nanos() as u64, AtomicU64::new(0));
        for (participants, rest) in [(2_u64, slice * 3 / 4), (100, slice * 3 / 4), (1000, 512_000_000)] {
            let (turns, steps) = (Turns::default(), participants * participants);
            word.store(0, Relaxed);
            assert!(turns.take(&word, 1, steps), "the first one");
            assert!(!turns.take(&word, rest, steps), "{participants}");
            assert!(turns.take(&word, rest + 1, steps), "{participants}");
        }
    }
}
