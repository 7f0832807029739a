//! The death watch: who waits long enough has a thread that sleeps until a participant's process is gone,
//! and buries it then, so that what the dead held has somebody else within a millisecond, not at the end of
//! a slice.
//!
//! It is a help, not a promise: the looks at the end of each slice find whatever it misses. Participants are
//! watched in groups by their numbers, each group from two seats, so that the death of one who watches is
//! seen by the other. Whoever looks for the dead and finds a seat free takes it. A seat is a byte that the
//! kernel keeps locked for its holder (`sys::liveness`), and no state in the segment: a death frees it.

use std::cell::Cell;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::burial::bury;
use super::memory::{Liveness, SegmentMemory, SegmentSlots};
use super::participant::numbers;
use crate::Result;
use crate::layout::fields::{entry, head};
use crate::layout::view::View;
use crate::ring::Slots;
use crate::ring::memory::Memory;
use crate::sys::liveness::Seat;
use crate::sys::process;
use crate::sys::watch::{self, Vigil, Watcher};

/// Participants that one watches: each costs a descriptor.
const GROUP: u32 = 64;
/// A participant that comes is noticed at the next look for the dead of whoever has the thread, or after this,
/// if that one has other things to do.
const LONGEST_SLEEP: Duration = Duration::from_millis(500);
/// Seats for each group.
const SEATS: u32 = 2;

/// Segments that are watched from this process, once each: two watches that die together are one.
static WATCHED: Mutex<Vec<Watched>> = Mutex::new(Vec::new());

/// A segment by its identity, in a process by its generation: a forked child has no threads.
type Watched = ([u8; 16], u32);

/// A thread that watches some of a ring's participants, for as long as this value lives.
#[derive(Debug)]
pub(super) struct DeathWatch {
    watcher: Watcher,
    /// The door when it last took notice: it counts who comes, once its entry is there.
    door: Cell<u64>,
    _entry: Entry,
}

impl DeathWatch {
    /// Takes a free seat. `None`: there is none, or this process has one, or the system refuses what is needed.
    pub fn start(view: &View) -> Option<Self> {
        let entry = Entry::new(view)?;
        let (seat, numbers) = take_seat(view).ok()??;
        let asks = Liveness::Observer(seat.descriptor().try_clone_to_owned().ok()?);
        let slots = Slots::new(SegmentMemory::new(view, asks));
        let watcher = Watcher::start(move |vigil| {
            Group { slots, numbers, known: Vec::new() }.keep(vigil);
            drop(seat);
        });
        Some(DeathWatch { watcher: watcher.ok()?, door: Cell::new(0), _entry: entry })
    }

    /// Has it take notice of those who have come.
    pub fn look(&self, view: &View) {
        // E8: who is counted has its entry, which the thread finds.
        let door = view.head_word(head::DOOR).load(Acquire);
        if self.door.replace(door) != door {
            self.watcher.wake();
        }
    }
}

#[cfg(test)]
impl DeathWatch {
    /// One that buries nobody, and sends something each time that it is woken.
    pub fn heard(view: &View) -> (Self, std::sync::mpsc::Receiver<()>) {
        let (told, hear) = std::sync::mpsc::channel();
        let watcher = Watcher::start(move |vigil| {
            while vigil.sleep(&[], Duration::from_secs(60)) {
                let _ = told.send(());
            }
        });
        (DeathWatch { watcher: watcher.unwrap(), door: Cell::new(0), _entry: tests::entry(view) }, hear)
    }
}

/// This process' entry in `WATCHED`.
#[derive(Debug)]
struct Entry(Watched);

impl Entry {
    fn new(view: &View) -> Option<Self> {
        let watched = (view.segment().identity(), process::fork_generation());
        // Whoever was forked at the wrong moment finds it locked for ever, and has no watch.
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

/// A free seat, and the numbers that are watched from there.
fn take_seat(view: &View) -> Result<Option<(Seat, std::ops::Range<u32>)>> {
    let mut fd = view.segment().reopen()?;
    let groups = numbers(view).end.div_ceil(GROUP);
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

/// The participants that one watches.
struct Group {
    slots: SegmentSlots,
    numbers: std::ops::Range<u32>,
    known: Vec<Known>,
}

/// A participant.
struct Known {
    number: u32,
    /// The state of its entry, by which one holder of the number is told from the next.
    state: u64,
    /// Its process; none if that cannot be watched, or has ended without freeing the number: a child of it
    /// may hold copies of its descriptors.
    process: Option<OwnedFd>,
}

impl Group {
    fn keep(mut self, vigil: &Vigil) {
        loop {
            self.take_notice();
            let fds: Vec<_> =
                self.known.iter().filter_map(|one| Some(one.process.as_ref()?.as_fd())).collect();
            if !vigil.sleep(&fds, LONGEST_SLEEP) {
                return;
            }
            for one in &mut self.known {
                if one.process.as_ref().is_some_and(|process| watch::is_over(process.as_fd())) {
                    one.process = None;
                    if self.slots.memory().is_dead(one.number) {
                        bury(&self.slots, one.number);
                    }
                }
            }
        }
    }

    /// Takes notice of who has come and gone.
    fn take_notice(&mut self) {
        let view = self.slots.memory().view.clone();
        // E11: the process id is its present holder's.
        let state_of = |number| view.entry_word(number, entry::STATE).load(Acquire);
        self.known.retain(|one| state_of(one.number) == one.state);
        let all = numbers(&view);
        for number in self.numbers.start..self.numbers.end.min(all.end) {
            let state = state_of(number);
            if state == 0 || self.known.iter().any(|one| one.number == number) {
                continue;
            }
            // Relaxed: E11 ordered it.
            let pid = view.entry_word(number, entry::PID).load(Relaxed) as u32;
            let process = (pid != process::id()).then(|| watch::descriptor_of(pid)).flatten();
            self.known.push(Known { number, state, process });
            // It may have died before its process was looked for.
            if self.slots.memory().is_dead(number) {
                bury(&self.slots, number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handles::testing::{attached, dies, ring};
    use crate::handles::{Ring, Role};

    /// Another test may have the list just now.
    pub(super) fn entry(view: &View) -> Entry {
        (0..1000)
            .find_map(|_| {
                std::thread::yield_now();
                Entry::new(view)
            })
            .unwrap()
    }

    #[test]
    fn a_process_has_one_watch_of_a_ring() {
        let ((_name, one), (_other, another)) = (ring(Default::default()), ring(Default::default()));
        let first = entry(one.view());
        assert!(Entry::new(one.view()).is_none());
        drop(entry(another.view()));
        drop(first);
        drop(entry(one.view()));
    }

    #[test]
    fn whoever_comes_wakes_the_watch_at_the_next_look() {
        let (_name, ring) = ring(Default::default());
        let (watch, hear) = DeathWatch::heard(ring.view());
        for role in [Role::Consumer, Role::Producer] {
            drop(attached(&ring, role));
            watch.look(ring.view());
            hear.recv_timeout(Duration::from_secs(20)).unwrap();
        }
    }

    fn group(ring: &Ring) -> Group {
        let asks = Liveness::Observer(ring.view().segment().reopen().unwrap());
        let slots = Slots::new(SegmentMemory::new(ring.view(), asks));
        Group { slots, numbers: 0..GROUP, known: Vec::new() }
    }

    #[test]
    fn who_died_before_it_was_noticed_is_buried() {
        let (_name, ring) = ring(Default::default());
        let number = dies(attached(&ring, Role::Consumer));
        group(&ring).take_notice();
        assert_eq!(ring.view().entry_word(number, entry::STATE).load(Relaxed), 0);
    }

    #[test]
    fn the_next_holder_of_a_number_is_another_one() {
        let (_name, ring) = ring(Default::default());
        let mut group = group(&ring);
        for role in [Role::Consumer, Role::Producer, Role::Consumer] {
            let one = attached(&ring, role);
            group.take_notice();
            let state = ring.view().entry_word(one.number, entry::STATE).load(Relaxed);
            let known: Vec<_> = group.known.iter().map(|known| (known.number, known.state)).collect();
            assert_eq!(known, [(0, state)]);
        }
        group.take_notice();
        assert!(group.known.is_empty());
    }
}
