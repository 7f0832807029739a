//! The death watch: a thread that sleeps until a participant's process ends, and then recovers from its
//! death. A handle that waits long enough starts one. With it, other handles get a dead participant's items
//! within a millisecond instead of at the end of a slice.
//!
//! The watch is an optimisation: the checks at the end of each slice find whatever it misses. Participants
//! are watched in groups by their numbers. Each group has two seats, so that if one watching process dies,
//! the other sees it. A handle that checks for deaths and finds a free seat takes it. A seat is a byte that
//! the kernel keeps locked for its holder (`sys::liveness`), not a state in the segment: a death frees it.

use std::cell::Cell;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::liveness_probe::LivenessProbe;
use super::memory::{SegmentMemory, SegmentRingCore};
use super::table::{numbers, reap};
use crate::Result;
use crate::layout::mapping::Mapping;
use crate::layout::{entry, head};
use crate::protocol::RingCore;
use crate::protocol::memory::Memory;
use crate::sys::liveness::Seat;
use crate::sys::process;
use crate::sys::watch::{self, Vigil, Watcher};

/// Participants in one group. Watching each one needs a descriptor.
const GROUP: u32 = 64;
/// The longest sleep of the watch. It learns of a new participant when the handle that owns the watch next
/// checks for deaths, or after this time if that handle is busy.
const LONGEST_SLEEP: Duration = Duration::from_millis(500);
/// Seats for each group.
const SEATS: u32 = 2;

/// The segments that this process watches, once each: two watches in one process would die together.
static WATCHED: Mutex<Vec<Watched>> = Mutex::new(Vec::new());

/// A segment's identity and the process generation. A forked child has a new generation, and none of its
/// parent's threads.
type Watched = ([u8; 16], u32);

/// Owns a thread that watches some of a ring's participants for as long as this value lives.
#[derive(Debug)]
pub(crate) struct DeathWatch {
    watcher: Watcher,
    /// The stream state when the watch last looked for new participants. It counts each participant once its
    /// entry is in use.
    stream: Cell<u64>,
    _entry: Entry,
}

impl DeathWatch {
    /// Takes a free seat for a participant that `holds` its number's lock. Returns `None` if there is no
    /// seat, this process has one already, the system refuses what is needed, or other code of this process
    /// has closed its descriptors.
    ///
    /// `holds` is called after the watch has opened its own descriptors: code that closes all descriptors later
    /// closes these, too. Otherwise the watch would take its own process for dead.
    pub fn start(mapping: &Mapping, holds: impl FnOnce() -> bool) -> Option<Self> {
        let entry = Entry::new(mapping)?;
        let (seat, numbers) = take_seat(mapping).ok()??;
        let asks = LivenessProbe::Observer(seat.observer().ok()?);
        if !holds() {
            return None;
        }
        let slots = RingCore::new(SegmentMemory::new(mapping, asks));
        let watcher = Watcher::start(move |vigil| {
            Group { slots, numbers, known: Vec::new() }.keep(vigil);
            drop(seat);
        });
        Some(DeathWatch { watcher: watcher.ok()?, stream: Cell::new(0), _entry: entry })
    }

    /// Wakes the watch if participants have attached since the last call.
    pub fn look(&self, mapping: &Mapping) {
        // E8: a participant that is counted has its entry, which the thread then finds.
        let stream = mapping.head_word(head::STREAM_STATE).load(Acquire);
        if self.stream.replace(stream) != stream {
            self.watcher.wake();
        }
    }
}

#[cfg(test)]
impl DeathWatch {
    /// A watch that recovers nothing, and sends a message each time it is woken.
    pub fn heard(mapping: &Mapping) -> (Self, std::sync::mpsc::Receiver<()>) {
        let (told, hear) = std::sync::mpsc::channel();
        let watcher = Watcher::start(move |vigil| {
            while vigil.sleep(&[], Duration::from_secs(60)) {
                let _ = told.send(());
            }
        });
        (DeathWatch { watcher: watcher.unwrap(), stream: Cell::new(0), _entry: tests::entry(mapping) }, hear)
    }
}

/// This process's entry in `WATCHED`.
#[derive(Debug)]
struct Entry(Watched);

impl Entry {
    fn new(mapping: &Mapping) -> Option<Self> {
        let watched = (mapping.segment().identity(), process::fork_generation());
        // In a child that was forked while this was locked, it stays locked for ever, and the child has no
        // watch.
        let mut all = WATCHED.try_lock().ok()?;
        if all.contains(&watched) {
            return None;
        }
        all.push(watched);
        Some(Entry(watched))
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if process::fork_generation() == self.0.1 {
            WATCHED.lock().unwrap_or_else(PoisonError::into_inner).retain(|one| *one != self.0);
        }
    }
}

/// Takes a free seat. Returns it with the numbers that are watched from there.
fn take_seat(mapping: &Mapping) -> Result<Option<(Seat, std::ops::Range<u32>)>> {
    let mut fd = mapping.segment().reopen()?;
    let groups = numbers(mapping).end.div_ceil(GROUP);
    for index in 0..groups * SEATS {
        match Seat::try_take(fd, index)? {
            Ok(seat) => {
                let first = index / SEATS * GROUP;
                return Ok(Some((seat, first..first + GROUP)));
            }
            Err(same) => fd = same,
        }
    }
    Ok(None)
}

/// The group of participants that one thread watches.
struct Group {
    slots: SegmentRingCore,
    numbers: std::ops::Range<u32>,
    known: Vec<Known>,
}

/// A participant that the thread knows.
struct Known {
    number: u32,
    /// The state of its entry, which tells one holder of the number from the next.
    state: u64,
    /// Its process. `None` if the process cannot be watched, or ended without freeing the number because a
    /// child holds copies of its descriptors.
    process: Option<OwnedFd>,
}

impl Group {
    fn keep(mut self, vigil: &Vigil) {
        loop {
            self.take_notice();
            let fds: Vec<_> =
                self.known.iter().filter_map(|one| Some(one.process.as_ref()?.as_fd())).collect();
            if !vigil.sleep(&fds, LONGEST_SLEEP) {
                if vigil.is_lost() {
                    // These descriptor numbers may now be other files', so do not close them.
                    self.known.into_iter().for_each(|one| std::mem::forget(one.process));
                }
                return;
            }
            for one in &mut self.known {
                if one.process.as_ref().is_some_and(|process| watch::is_over(process.as_fd())) {
                    one.process = None;
                    if self.slots.memory().is_dead(one.number) {
                        reap(&self.slots, one.number);
                    }
                }
            }
        }
    }

    /// Updates the known participants: forgets those that left, and adds new ones.
    fn take_notice(&mut self) {
        let mapping = self.slots.memory().mapping.clone();
        // E11: the process id belongs to the number's present holder.
        let state_of = |number| mapping.entry_word(number, entry::STATE).load(Acquire);
        self.known.retain(|one| state_of(one.number) == one.state);
        let all = numbers(&mapping);
        for number in self.numbers.start..self.numbers.end.min(all.end) {
            let state = state_of(number);
            if state == 0 || self.known.iter().any(|one| one.number == number) {
                continue;
            }
            // Relaxed: E11 ordered it.
            let pid = mapping.entry_word(number, entry::PID).load(Relaxed) as u32;
            let process = (pid != process::id()).then(|| watch::pidfd(pid as i32).ok()).flatten();
            self.known.push(Known { number, state, process });
            // It may have died before its process was looked for.
            if self.slots.memory().is_dead(number) {
                reap(&self.slots, number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::Role;
    use crate::membership::testing::{Ring, attached, dies, ring};
    use crate::sys::liveness::Observer;

    /// Retries, since another test may hold the list.
    pub(crate) fn entry(mapping: &Mapping) -> Entry {
        (0..1000)
            .find_map(|_| {
                std::thread::yield_now();
                Entry::new(mapping)
            })
            .unwrap()
    }

    #[test]
    fn a_process_has_one_watch_of_a_ring() {
        let ((_name, one), (_other, another)) = (ring(Default::default()), ring(Default::default()));
        let first = entry(one.mapping());
        assert!(Entry::new(one.mapping()).is_none());
        drop(entry(another.mapping()));
        drop(first);
        drop(entry(one.mapping()));
    }

    #[test]
    fn a_new_participant_wakes_the_watch_at_the_next_check() {
        let (_name, ring) = ring(Default::default());
        let (watch, hear) = DeathWatch::heard(ring.mapping());
        for role in [Role::Consumer, Role::Producer] {
            drop(attached(&ring, role));
            watch.look(ring.mapping());
            hear.recv_timeout(Duration::from_secs(20)).unwrap();
        }
    }

    fn group(ring: &Ring) -> Group {
        let asks =
            LivenessProbe::Observer(Observer::new(ring.mapping().segment().reopen().unwrap()).unwrap());
        let slots = RingCore::new(SegmentMemory::new(ring.mapping(), asks));
        Group { slots, numbers: 0..GROUP, known: Vec::new() }
    }

    #[test]
    fn a_participant_that_died_before_the_watch_noticed_it_is_reaped() {
        let (_name, ring) = ring(Default::default());
        let number = dies(attached(&ring, Role::Consumer));
        group(&ring).take_notice();
        assert_eq!(ring.mapping().entry_word(number, entry::STATE).load(Relaxed), 0);
    }

    #[test]
    fn the_next_holder_of_a_number_is_a_different_participant() {
        let (_name, ring) = ring(Default::default());
        let mut group = group(&ring);
        for role in [Role::Consumer, Role::Producer, Role::Consumer] {
            let one = attached(&ring, role);
            group.take_notice();
            let state = ring.mapping().entry_word(one.number, entry::STATE).load(Relaxed);
            let known: Vec<_> = group.known.iter().map(|known| (known.number, known.state)).collect();
            assert_eq!(known, [(0, state)]);
        }
        group.take_notice();
        assert!(group.known.is_empty());
    }
}
