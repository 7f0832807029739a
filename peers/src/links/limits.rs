//! What the machine can do at best, driven as the carriers are: not queues, and not lossless but for the way
//! they are driven.

use std::slice;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};

use libc::{sem_init, sem_post, sem_t, sem_wait};

use super::mapping::Mapping;
use crate::peer::{About, Kind, Peer, Receiver, Sender, Work};

const ROUND_TRIP_ONLY: &str = "a limit of the round trip";

/// Whether the work is more than one word at a time between two.
fn refuses_but_words(work: &Work) -> Option<&'static str> {
    let word = work.size == 8 && work.batch == 1 && work.senders + work.receivers == 2 && !work.in_place;
    // A queue has a depth; what holds one word has the round trip's.
    (!word || work.depth != 64).then_some(ROUND_TRIP_ONLY)
}

/// A word in shared memory, with how often it was written beside it in the same cache line.
#[repr(C, align(128))]
struct Word {
    count: AtomicU32,
    value: AtomicU64,
    /// Posted when there is a word.
    full: sem_t,
}

/// A mapping of one word.
pub struct One {
    mapping: Mapping,
    count: u32,
}

impl One {
    fn create(name: &str) -> Mapping {
        let mapping = Mapping::create(name, 4096);
        // SAFETY: zeroed shared memory that no other process has mapped yet.
        unsafe { sem_init(&raw mut (*mapping.at::<Word>(0)).full, 1, 0) };
        mapping
    }

    fn open(name: &str) -> Self {
        One { mapping: Mapping::open(name), count: 0 }
    }

    fn word(&self) -> &Word {
        // SAFETY: mapped as long as `self` lives; atomics and a semaphore, which are used through pointers.
        unsafe { &*self.mapping.at::<Word>(0) }
    }

    fn full(&self) -> *mut sem_t {
        // SAFETY: within the mapping; no reference is made.
        unsafe { &raw mut (*self.mapping.at::<Word>(0)).full }
    }

    #[inline]
    fn put(&mut self, message: &[u8]) {
        let value = message.first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes));
        self.word().value.store(value, Relaxed);
    }

    #[inline]
    fn get(&self, message: &mut [u8]) {
        message.copy_from_slice(&self.word().value.load(Relaxed).to_ne_bytes());
    }
}

/// The three limits of a round trip have all but their way to wait in common.
macro_rules! word_limit {
    ($limit:ident, $end:ident, $name:literal, $version:literal, $waits:literal, $remark:literal) => {
        pub struct $limit;
        pub struct $end(One);

        impl Peer for $limit {
            const ABOUT: About =
                About { name: $name, version: $version, kind: Kind::Limit, waits: $waits, remark: $remark };
            type Host = Mapping;
            type Sender = $end;
            type Receiver = $end;

            fn refuses(work: &Work) -> Option<&'static str> {
                refuses_but_words(work)
            }

            fn host(name: &str, _: &Work) -> Mapping {
                One::create(name)
            }

            fn sender(name: &str, _: &Work) -> $end {
                $end(One::open(name))
            }

            fn receiver(name: &str, _: &Work) -> $end {
                $end(One::open(name))
            }
        }
    };
}

word_limit!(Line, LineEnd, "bare cache line", "", "spins", "A word and its answer, a cache line each.");
word_limit!(
    Semaphores,
    SemaphoreEnd,
    "bare semaphores",
    "sem_t",
    "sleeps",
    "A word and a sem_post, each way."
);
word_limit!(Futexes, FutexEnd, "bare futexes", "", "sleeps", "A word and a futex, each way.");

impl Sender for LineEnd {
    #[inline]
    fn send(&mut self, message: &[u8]) {
        self.0.put(message);
        self.0.count = self.0.count.wrapping_add(1);
        self.0.word().count.store(self.0.count, Release);
    }
}

impl Receiver for LineEnd {
    #[inline]
    fn receive(&mut self, message: &mut [u8]) {
        self.0.count = self.0.count.wrapping_add(1);
        while self.0.word().count.load(Acquire) != self.0.count {
            std::hint::spin_loop();
        }
        self.0.get(message);
    }
}

impl Sender for SemaphoreEnd {
    #[inline]
    fn send(&mut self, message: &[u8]) {
        self.0.put(message);
        // SAFETY: `host` made the semaphore.
        unsafe { sem_post(self.0.full()) };
    }
}

impl Receiver for SemaphoreEnd {
    #[inline]
    fn receive(&mut self, message: &mut [u8]) {
        // SAFETY: as above.
        unsafe { sem_wait(self.0.full()) };
        self.0.get(message);
    }
}

impl Sender for FutexEnd {
    #[inline]
    fn send(&mut self, message: &[u8]) {
        self.0.put(message);
        self.0.count = self.0.count.wrapping_add(1);
        self.0.word().count.store(self.0.count, Release);
        // SAFETY: the word is mapped; the call takes no other pointer.
        unsafe { libc::syscall(libc::SYS_futex, self.0.word().count.as_ptr(), libc::FUTEX_WAKE, 1) };
    }
}

impl Receiver for FutexEnd {
    #[inline]
    fn receive(&mut self, message: &mut [u8]) {
        let last = self.0.count;
        self.0.count = last.wrapping_add(1);
        while self.0.word().count.load(Acquire) == last {
            let (word, never) = (self.0.word().count.as_ptr(), std::ptr::null::<libc::timespec>());
            // SAFETY: as above; a null time is none.
            unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAIT, last, never) };
        }
        self.0.get(message);
    }
}

/// Reading messages of shared memory where they lie, with nothing but a count each way beside them.
pub struct Slots;

/// The two counts, and then the messages.
#[repr(C)]
struct Counts {
    written: Padded,
    read: Padded,
}

#[repr(C, align(128))]
struct Padded(AtomicU64);

const MESSAGES: usize = 4096;

impl Peer for Slots {
    const ABOUT: About = About {
        name: "bare shared memory",
        version: "",
        kind: Kind::Limit,
        waits: "spins",
        remark: "One core reads a shared mapping that the other has written to; two counts say how far.",
    };
    type Host = Mapping;
    type Sender = SlotsEnd;
    type Receiver = SlotsEnd;

    fn refuses(work: &Work) -> Option<&'static str> {
        (!work.in_place || work.senders + work.receivers > 2).then_some("a limit of reading in place")
    }

    fn host(name: &str, work: &Work) -> Mapping {
        Mapping::create(name, MESSAGES + work.depth * work.size)
    }

    fn sender(name: &str, work: &Work) -> SlotsEnd {
        SlotsEnd { mapping: Mapping::open(name), depth: work.depth as u64, count: 0 }
    }

    fn receiver(name: &str, work: &Work) -> SlotsEnd {
        Slots::sender(name, work)
    }
}

pub struct SlotsEnd {
    mapping: Mapping,
    depth: u64,
    count: u64,
}

impl SlotsEnd {
    fn counts(&self) -> &Counts {
        // SAFETY: mapped as long as `self` lives; both are atomic.
        unsafe { &*self.mapping.at::<Counts>(0) }
    }

    fn slot(&self, size: usize) -> *mut u8 {
        self.mapping.at(MESSAGES + (self.count % self.depth) as usize * size)
    }
}

impl Sender for SlotsEnd {
    fn send(&mut self, _: &[u8]) {
        unreachable!("refused")
    }

    #[inline]
    fn send_in_place(&mut self, size: usize, fill: impl FnOnce(&mut [u8])) {
        while self.count - self.counts().read.0.load(Acquire) == self.depth {
            std::hint::spin_loop();
        }
        // SAFETY: the mapping has `depth` slots of this size; this one was read, and the reader waits for the
        // count.
        fill(unsafe { slice::from_raw_parts_mut(self.slot(size), size) });
        self.count += 1;
        self.counts().written.0.store(self.count, Release);
    }
}

impl Receiver for SlotsEnd {
    fn receive(&mut self, _: &mut [u8]) {
        unreachable!("refused")
    }

    #[inline]
    fn receive_in_place(&mut self, size: usize, look: impl FnOnce(&[u8])) {
        while self.counts().written.0.load(Acquire) == self.count {
            std::hint::spin_loop();
        }
        // SAFETY: as in `send_in_place`; it was written, and the writer waits for the count.
        look(unsafe { slice::from_raw_parts(self.slot(size), size) });
        self.count += 1;
        self.counts().read.0.store(self.count, Release);
    }
}
