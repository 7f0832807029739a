//! The textbook's ring for many: semaphores room, items and mutex, next in and next out, and a buffer.

use libc::{sem_init, sem_post, sem_t, sem_wait};

use super::mapping::Mapping;
use crate::peer::{About, Kind, Peer, Receiver, Sender, Work};

pub struct Textbook;

#[repr(C)]
struct Head {
    room: sem_t,
    items: sem_t,
    mutex: sem_t,
    next_in: usize,
    next_out: usize,
}

/// Where the buffer begins.
const BUFFER: usize = 4096;

impl Peer for Textbook {
    const ABOUT: About = About {
        name: "textbook ring",
        version: "sem_t",
        kind: Kind::SharedMemory,
        waits: "sleeps",
        remark: "Semaphores room, items, mutex. A batch is sent one by one. Wedges or loses when a process is killed.",
    };
    type Host = Mapping;
    type Sender = End;
    type Receiver = End;

    fn refuses(work: &Work) -> Option<&'static str> {
        work.in_place.then_some("copies under its mutex")
    }

    fn host(name: &str, work: &Work) -> Mapping {
        let mapping = Mapping::create(name, BUFFER + work.depth * work.size);
        let head = mapping.at::<Head>(0);
        // SAFETY: zeroed shared memory that no other process has mapped yet.
        unsafe {
            sem_init(&raw mut (*head).room, 1, work.depth as u32);
            sem_init(&raw mut (*head).items, 1, 0);
            sem_init(&raw mut (*head).mutex, 1, 1);
        }
        mapping
    }

    fn sender(name: &str, work: &Work) -> End {
        End::open(name, work)
    }

    fn receiver(name: &str, work: &Work) -> End {
        End::open(name, work)
    }
}

pub struct End {
    head: *mut Head,
    buffer: *mut u8,
    size: usize,
    depth: usize,
    _mapping: Mapping,
}

impl End {
    fn open(name: &str, work: &Work) -> Self {
        let mapping = Mapping::open(name);
        End {
            head: mapping.at(0),
            buffer: mapping.at(BUFFER),
            size: work.size,
            depth: work.depth,
            _mapping: mapping,
        }
    }
}

impl Sender for End {
    #[inline]
    fn send(&mut self, message: &[u8]) {
        assert_eq!(message.len(), self.size);
        let head = self.head;
        // SAFETY: `host` made the semaphores and a buffer of `depth` messages; the mutex guards the buffer and
        // `next_in`, which stays below `depth`.
        unsafe {
            sem_wait(&raw mut (*head).room);
            sem_wait(&raw mut (*head).mutex);
            let slot = self.buffer.add((*head).next_in * self.size);
            slot.copy_from_nonoverlapping(message.as_ptr(), self.size);
            (*head).next_in = ((*head).next_in + 1) % self.depth;
            sem_post(&raw mut (*head).mutex);
            sem_post(&raw mut (*head).items);
        }
    }
}

impl Receiver for End {
    #[inline]
    fn receive(&mut self, message: &mut [u8]) {
        assert_eq!(message.len(), self.size);
        let head = self.head;
        // SAFETY: as in `send`, with `next_out`.
        unsafe {
            sem_wait(&raw mut (*head).items);
            sem_wait(&raw mut (*head).mutex);
            let slot = self.buffer.add((*head).next_out * self.size);
            slot.copy_to_nonoverlapping(message.as_mut_ptr(), self.size);
            (*head).next_out = ((*head).next_out + 1) % self.depth;
            sem_post(&raw mut (*head).mutex);
            sem_post(&raw mut (*head).room);
        }
    }
}
