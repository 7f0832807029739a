//! The buffer of the classic texts (docs/CLASSICS.md), as they write it, in raw shared memory: semaphores, a
//! lock with its condition, two indices, a row of slots. Nothing in it knows which processes are alive.
//!
//! The texts' ordinary variables are atomics here. Each is read and written in separate steps, as the same
//! program does in C. `ringctl demo` and the examples show how it fails.
#![allow(unsafe_code)]

use std::io;
use std::mem::offset_of;
use std::ops::Deref;
use std::sync::atomic::{
    AtomicI64, AtomicU32, AtomicU64,
    Ordering::{Acquire, Release},
};

use libc::{pthread_cond_t, pthread_mutex_t, sem_t};
use shared_memory::{Shmem, ShmemConf};

/// Slots of the texts' buffer.
pub const BUFFERSIZE: u64 = 10;

/// One of the three semaphores.
#[derive(Debug, Clone, Copy)]
pub enum Semaphore {
    /// Free slots.
    Room,
    /// Filled slots.
    Items,
    /// 1 while no process touches the buffer.
    Mutex,
}

/// An object of the buffer on which a process can sleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Object {
    /// [`Semaphore::Room`].
    Room,
    /// [`Semaphore::Items`].
    Items,
    /// [`Semaphore::Mutex`].
    Mutex,
    /// The lock of the condition.
    Lock,
    /// The condition.
    Condition,
}

impl Object {
    /// Its name in the texts, or their word for it.
    pub fn name(self) -> &'static str {
        match self {
            Object::Room => "room",
            Object::Items => "items",
            Object::Mutex => "mutex",
            Object::Lock => "lock",
            Object::Condition => "condition",
        }
    }

    /// The semaphore, if the object is one.
    pub fn semaphore(self) -> Option<Semaphore> {
        match self {
            Object::Room => Some(Semaphore::Room),
            Object::Items => Some(Semaphore::Items),
            Object::Mutex => Some(Semaphore::Mutex),
            Object::Lock | Object::Condition => None,
        }
    }

    /// The object that has the byte at this distance from the beginning of the buffer.
    pub fn at(offset: u64) -> Option<Object> {
        let ends = [
            (Object::Room, offset_of!(Layout, items)),
            (Object::Items, offset_of!(Layout, mutex)),
            (Object::Mutex, offset_of!(Layout, lock)),
            (Object::Lock, offset_of!(Layout, condition)),
            (Object::Condition, offset_of!(Layout, variables)),
        ];
        ends.into_iter().find(|(_, end)| offset < *end as u64).map(|(object, _)| object)
    }
}

/// The texts' variables.
#[derive(Default)]
pub struct Variables {
    /// `in`.
    pub next_in: AtomicU64,
    /// `out`.
    pub next_out: AtomicU64,
    /// `buffer`; also the list of 000's first program.
    pub buffer: [AtomicU64; BUFFERSIZE as usize],
    /// Length of that list.
    pub len: AtomicU64,
    /// `num` of 002.
    pub num: AtomicI64,
    /// For observers: how far a process has come.
    pub stage: AtomicU64,
    /// For observers: the number of takes while an item was being made.
    pub meanwhile: AtomicU64,
    /// For observers: finished puts and takes.
    pub put: AtomicU64,
    /// See `put`.
    pub taken: AtomicU64,
    /// For observers: the process that has the mutex; 0: none.
    pub owner: AtomicU32,
}

#[repr(C)]
struct Layout {
    room: sem_t,
    items: sem_t,
    mutex: sem_t,
    lock: pthread_mutex_t,
    condition: pthread_cond_t,
    variables: Variables,
    /// [`MARK`], once all of it is initialised.
    mark: AtomicU64,
}

/// Tells a buffer from other segments: with those, the C library would end the process.
const MARK: u64 = u64::from_ne_bytes(*b"textbook");

/// The buffer, mapped; its creator removes its name when dropping it.
pub struct Textbook {
    memory: Shmem,
}

impl Textbook {
    /// Creates an empty buffer of this name.
    ///
    /// # Errors
    /// The error of the system.
    pub fn create(name: &str) -> io::Result<Self> {
        let memory =
            ShmemConf::new().os_id(name).size(size_of::<Layout>()).create().map_err(io::Error::other)?;
        let textbook = Textbook { memory };
        let layout = textbook.layout();
        // SAFETY: the memory is as long as a `Layout` (it was made so), zeroed, aligned to a page, and no other
        // process has it yet; each object is initialised once, with an attribute that lives until it is destroyed.
        unsafe {
            libc::sem_init(&raw mut (*layout).room, 1, BUFFERSIZE as u32);
            libc::sem_init(&raw mut (*layout).items, 1, 0);
            libc::sem_init(&raw mut (*layout).mutex, 1, 1);
            let mut attribute = std::mem::zeroed();
            libc::pthread_mutexattr_init(&raw mut attribute);
            libc::pthread_mutexattr_setpshared(&raw mut attribute, libc::PTHREAD_PROCESS_SHARED);
            libc::pthread_mutex_init(&raw mut (*layout).lock, &raw const attribute);
            libc::pthread_mutexattr_destroy(&raw mut attribute);
            let mut attribute = std::mem::zeroed();
            libc::pthread_condattr_init(&raw mut attribute);
            libc::pthread_condattr_setpshared(&raw mut attribute, libc::PTHREAD_PROCESS_SHARED);
            libc::pthread_cond_init(&raw mut (*layout).condition, &raw const attribute);
            libc::pthread_condattr_destroy(&raw mut attribute);
        }
        textbook.mark().store(MARK, Release);
        Ok(textbook)
    }

    /// Opens the buffer of this name.
    ///
    /// # Errors
    /// The error of the system; `InvalidData`: another kind of segment has this name.
    pub fn open(name: &str) -> io::Result<Self> {
        let memory = ShmemConf::new().os_id(name).open().map_err(io::Error::other)?;
        let textbook = Textbook { memory };
        // Acquire: with the Release in `create`, what it has initialised.
        match textbook.memory.len() >= size_of::<Layout>() && textbook.mark().load(Acquire) == MARK {
            true => Ok(textbook),
            false => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it is not a buffer of `ringctl demo` or of the examples",
            )),
        }
    }

    fn mark(&self) -> &AtomicU64 {
        // SAFETY: within the mapping (`layout` has checked it), which lives with `self`; an atomic, for which all bytes
        // are values.
        unsafe { &(*self.layout()).mark }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.memory.get_os_id().trim_start_matches('/')
    }

    fn layout(&self) -> *mut Layout {
        assert!(self.memory.len() >= size_of::<Layout>());
        self.memory.as_ptr().cast()
    }

    fn semaphore(&self, which: Semaphore) -> *mut sem_t {
        let layout = self.layout();
        // SAFETY: within the mapping, which is as long as a `Layout` (`layout` has checked it) and lives with `self`.
        unsafe {
            match which {
                Semaphore::Room => &raw mut (*layout).room,
                Semaphore::Items => &raw mut (*layout).items,
                Semaphore::Mutex => &raw mut (*layout).mutex,
            }
        }
    }

    /// `acquire()`, or `wait()`: for ever without a signal.
    pub fn wait(&self, which: Semaphore) {
        // SAFETY: `create` has initialised it.
        while unsafe { libc::sem_wait(self.semaphore(which)) } != 0 {}
    }

    /// `release()`, or `signal()`.
    pub fn signal(&self, which: Semaphore) {
        // SAFETY: `create` has initialised it.
        unsafe { libc::sem_post(self.semaphore(which)) };
    }

    /// What the semaphore counts.
    pub fn value(&self, which: Semaphore) -> i32 {
        let mut value = 0;
        // SAFETY: `create` has initialised it; `value` is written before the call returns.
        unsafe { libc::sem_getvalue(self.semaphore(which), &raw mut value) };
        value
    }

    /// `con.acquire()`.
    pub fn acquire(&self) {
        // SAFETY: `create` has initialised it, and it is in the mapping.
        unsafe { libc::pthread_mutex_lock(&raw mut (*self.layout()).lock) };
    }

    /// `con.release()`.
    pub fn release(&self) {
        // SAFETY: as in `acquire`, which this process has called.
        unsafe { libc::pthread_mutex_unlock(&raw mut (*self.layout()).lock) };
    }

    /// `con.notify_all()`.
    pub fn notify_all(&self) {
        // SAFETY: `create` has initialised it, and it is in the mapping.
        unsafe { libc::pthread_cond_broadcast(&raw mut (*self.layout()).condition) };
    }

    /// `con.wait()`: gives the lock back, sleeps until notified, and takes the lock.
    pub fn wait_for_notice(&self) {
        let layout = self.layout();
        // SAFETY: as in `notify_all`, and this process has the lock.
        unsafe { libc::pthread_cond_wait(&raw mut (*layout).condition, &raw mut (*layout).lock) };
    }
}

impl Deref for Textbook {
    type Target = Variables;

    fn deref(&self) -> &Variables {
        // SAFETY: within the mapping (`layout` has checked it), which lives with `self`; all of them are atomics,
        // for which zeroed bytes are values.
        unsafe { &(*self.layout()).variables }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_segment_that_is_no_buffer_is_refused() {
        let name = format!("textbook-{}", std::process::id());
        let path = format!("{}/{name}", crate::sys::segment::DIRECTORY);
        for length in [1, size_of::<Layout>() - 1, size_of::<Layout>(), 1 << 16] {
            fs::write(&path, vec![0; length]).unwrap();
            assert!(Textbook::open(&name).is_err(), "{length}");
            fs::remove_file(&path).unwrap();
        }
        let made = Textbook::create(&name).unwrap();
        made.signal(Semaphore::Items);
        assert_eq!(Textbook::open(&name).unwrap().value(Semaphore::Items), 1);
        drop(made);
        assert!(Textbook::open(&name).is_err() && !fs::exists(path).unwrap());
    }
}
