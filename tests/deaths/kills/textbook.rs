//! The ring of the textbooks, to show that the harness has teeth: semaphores `room`, `items` and `mutex`, the
//! counters in shared memory, and no record of what a dead process was about to do.

use std::fs::{File, OpenOptions};
use std::os::fd::AsFd;
use std::ptr::NonNull;

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use crate::kills::table::{Row, Share, TEXTBOOK};
use crate::kills::trace::{Stage, Victim};
use crate::kills::worker::{Part, course};
use crate::kills::world::{Outcome, Wrong, trouble};
use crate::support::TestName;

const SLOTS: usize = 4;
const BYTES: usize = 4096;

#[repr(C)]
struct Shared {
    room: libc::sem_t,
    items: libc::sem_t,
    mutex: libc::sem_t,
    tail: u64,
    head: u64,
    slots: [u64; SLOTS],
}

/// A textbook ring, in a segment of its own.
struct Textbook {
    shared: NonNull<Shared>,
    file: File,
    // Its file is removed when this is dropped.
    name: TestName,
}

impl Textbook {
    fn new() -> Textbook {
        let name = TestName::new("textbook");
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(name.path());
        let file = file.expect("a segment");
        file.set_len(BYTES as u64).expect("room");
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let length = BYTES.try_into().expect("not zero");
        // SAFETY: a new mapping of a file that stays as long as it is.
        let shared = unsafe { mmap(None, length, protection, MapFlags::MAP_SHARED, file.as_fd(), 0) };
        let shared = shared.expect("a mapping").cast::<Shared>();
        // SAFETY: zeroed memory of the right size, which is not shared yet.
        unsafe {
            let ring = shared.as_ptr();
            libc::sem_init(&raw mut (*ring).room, 1, SLOTS as u32);
            libc::sem_init(&raw mut (*ring).items, 1, 0);
            libc::sem_init(&raw mut (*ring).mutex, 1, 1);
        }
        Textbook { shared, file, name }
    }

    /// The classic push. `wait` is `sem_wait`; false: it would wait for ever.
    fn push(&self, item: u64, wait: unsafe extern "C" fn(*mut libc::sem_t) -> libc::c_int) -> bool {
        let ring = self.shared.as_ptr();
        // SAFETY: mapped as long as `self`; the mutex keeps others from counter and slots.
        unsafe {
            if wait(&raw mut (*ring).room) != 0 || wait(&raw mut (*ring).mutex) != 0 {
                return false;
            }
            let tail = (&raw mut (*ring).tail).read_volatile();
            (&raw mut (*ring).slots[tail as usize % SLOTS]).write_volatile(item);
            (&raw mut (*ring).tail).write_volatile(tail + 1);
            libc::sem_post(&raw mut (*ring).mutex);
            libc::sem_post(&raw mut (*ring).items);
        }
        true
    }

    /// The classic pop.
    fn pop(&self, wait: unsafe extern "C" fn(*mut libc::sem_t) -> libc::c_int) -> Option<u64> {
        let ring = self.shared.as_ptr();
        // SAFETY: as above.
        unsafe {
            if wait(&raw mut (*ring).items) != 0 || wait(&raw mut (*ring).mutex) != 0 {
                return None;
            }
            let head = (&raw mut (*ring).head).read_volatile();
            let item = (&raw mut (*ring).slots[head as usize % SLOTS]).read_volatile();
            (&raw mut (*ring).head).write_volatile(head + 1);
            libc::sem_post(&raw mut (*ring).mutex);
            libc::sem_post(&raw mut (*ring).room);
            Some(item)
        }
    }

    fn is_locked(&self) -> bool {
        let mut value = 0;
        // SAFETY: as above.
        unsafe { libc::sem_getvalue(&raw mut (*self.shared.as_ptr()).mutex, &mut value) };
        value < 1
    }

    /// Alone with the ring, a semaphore that cannot be had now never will be. `must` and `may` come.
    fn survive(&self, must: &[u64], may: &[u64]) -> Outcome {
        if self.is_locked() {
            return Err(trouble(Wrong::Wedged, "the mutex is the dead's for ever"));
        }
        let mut got = Vec::new();
        while let Some(item) = self.pop(libc::sem_trywait) {
            got.push(item);
        }
        if let Some(lost) = must.iter().find(|item| !got.contains(item)) {
            return Err(trouble(Wrong::Lost, format!("item {lost} is lost")));
        }
        if got.iter().any(|item| !must.contains(item) && !may.contains(item))
            || got.len() > must.len() + may.len()
        {
            return Err(trouble(Wrong::Doubled, format!("{got:?} came")));
        }
        let filled = (0..SLOTS as u64 + 1).take_while(|n| self.push(1000 + n, libc::sem_trywait)).count();
        let drained = std::iter::from_fn(|| self.pop(libc::sem_trywait)).count();
        match filled == SLOTS && drained == SLOTS {
            true => Ok(()),
            false => Err(trouble(Wrong::Short, format!("{filled} of {SLOTS} slots, {drained} items"))),
        }
    }
}

impl Drop for Textbook {
    fn drop(&mut self) {
        // SAFETY: no other thread of this process uses it.
        unsafe { munmap(self.shared.cast(), BYTES) }.expect("it was mapped");
        std::fs::remove_file(self.name.path()).expect("it is there");
    }
}

/// Push and pop, on a ring with two items, killed like ringpipe's operations.
pub fn run(stage: &Stage, part: Part) {
    for operation in ["push", "pop"] {
        let start = |ring: &Textbook| {
            assert!(ring.push(1, libc::sem_wait) && ring.push(2, libc::sem_wait));
            let live = |stage: &Stage| match operation {
                "push" => stage.act(|| (ring.push(3, libc::sem_wait) as u64, ())),
                _ => stage.act(|| (ring.pop(libc::sem_wait).is_some() as u64, ())),
            };
            let mut victim = Victim::start(stage, live).expect("tracing was tried before");
            victim.begin();
            victim
        };
        let ring = Textbook::new();
        let mut victim = start(&ring);
        let pid = victim.pid();
        let (course, _) = course(&ring.file, pid, false, |seen| victim.run(u64::MAX, None, seen));
        victim.kill();
        let states = course.changes.len() as u64;
        let mut row = Row::new(operation.into(), "two there", TEXTBOOK, course.instructions, states);
        for point in part.of(Share::of_env().points_of_textbook(&course)) {
            let ring = Textbook::new();
            let mut victim = start(&ring);
            victim.run(point, None, |_| {});
            victim.kill();
            let outcome = match (operation, stage.result()) {
                ("push", Some(_)) => ring.survive(&[1, 2, 3], &[]),
                ("push", None) => ring.survive(&[1, 2], &[3]),
                // It has no acknowledgement: what a dead consumer took is gone, and may be.
                (_, Some(_)) => ring.survive(&[2], &[]),
                (_, None) => ring.survive(&[2], &[1]),
            };
            row.count(point, outcome);
        }
        row.print();
    }
}
