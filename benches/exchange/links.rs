//! The carriers.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crossbeam_queue::ArrayQueue;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use ringpipe::sys::segment::Segment;
use ringpipe::sys::semaphore::Semaphore;
use ringpipe::{Consumer, Producer, Ring, RingName, RingOptions};

use crate::link::{BATCH, Kind, Link};

/// Bytes of payload that every carrier has room for.
const DEPTH_BYTES: usize = 256 * 1024;

/// Binds this thread to one core, where there are several.
pub fn pin(core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core).expect("a core number");
    let _ = sched_setaffinity(Pid::from_raw(0), &cores);
}

/// Removes what was created.
pub struct Guard(Option<RingName>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(name) = &self.0 {
            let _ = Segment::open(name).and_then(|segment| segment.unlink());
        }
    }
}

fn depth(size: usize) -> usize {
    (DEPTH_BYTES / size).clamp(64, 4096)
}

/// Makes the carrier `name` for messages of `size` bytes.
pub fn create(kind: Kind, name: &str, size: usize) -> Guard {
    let ring_name = RingName::parse(name).expect("a name");
    match kind {
        Kind::Shared | Kind::Exclusive => {
            RingOptions::new()
                .capacity(depth(size) as u64)
                .slot_size(size as u64)
                .exclusive(kind == Kind::Exclusive)
                .create(name)
                .expect("a ring");
        }
        Kind::Textbook => Textbook::create(&ring_name, size),
        Kind::Pipe | Kind::Threads => return Guard(None),
    }
    Guard(Some(ring_name))
}

/// The two ends of a pipe, where a pipe is what is measured.
pub fn stdio(kind: Kind) -> (Option<Stdio>, Option<Stdio>) {
    if kind != Kind::Pipe {
        return (None, None);
    }
    let (read, write) = std::io::pipe().expect("a pipe");
    (Some(write.into()), Some(read.into()))
}

/// The sending end.
pub fn sender(kind: Kind, name: &str, size: usize) -> Box<dyn Link> {
    match kind {
        Kind::Shared | Kind::Exclusive => Box::new(Sender(
            Ring::options().prefault(true).open(name).and_then(|r| r.producer()).expect("a place"),
        )),
        Kind::Textbook => Box::new(Textbook::open(name, size)),
        Kind::Pipe => Box::new(Pipe::new(std::io::stdout().as_fd().try_clone_to_owned(), size)),
        Kind::Threads => unreachable!("threads need no name"),
    }
}

/// The receiving end.
pub fn receiver(kind: Kind, name: &str, size: usize) -> Box<dyn Link> {
    match kind {
        Kind::Shared | Kind::Exclusive => Box::new(Receiver(
            Ring::options().prefault(true).open(name).and_then(|r| r.consumer()).expect("a place"),
        )),
        Kind::Textbook => Box::new(Textbook::open(name, size)),
        Kind::Pipe => Box::new(Pipe::new(std::io::stdin().as_fd().try_clone_to_owned(), size)),
        Kind::Threads => unreachable!("threads need no name"),
    }
}

struct Sender(Producer);

impl Link for Sender {
    fn send(&mut self, message: &[u8]) {
        self.0.send(message).expect("sent");
    }

    fn send_batch(&mut self, messages: &[Vec<u64>]) {
        let mut slices = [[0u8; 0].as_slice(); BATCH];
        for (slice, message) in slices.iter_mut().zip(messages) {
            *slice = bytemuck::cast_slice(message);
        }
        let mut rest = &slices[..];
        while !rest.is_empty() {
            rest = &rest[self.0.send_batch(rest).expect("sent")..];
        }
    }

    fn recv(&mut self, _: &mut dyn FnMut(&[u8])) {
        unreachable!("this end sends");
    }
}

struct Receiver(Consumer);

impl Link for Receiver {
    fn send(&mut self, _: &[u8]) {
        unreachable!("this end receives");
    }

    fn recv(&mut self, look: &mut dyn FnMut(&[u8])) {
        let item = self.0.recv().expect("received");
        look(&item);
        item.ack();
    }

    fn recv_batch(&mut self, look: &mut dyn FnMut(&[u8])) {
        let mut bytes = Vec::new();
        let batch = self.0.recv_batch(BATCH).expect("received");
        for item in batch.iter() {
            bytes.clear();
            item.append_to(&mut bytes);
            look(&bytes);
        }
        batch.ack();
    }
}

struct Pipe {
    file: File,
    message: Vec<u8>,
}

impl Pipe {
    fn new(fd: std::io::Result<std::os::fd::OwnedFd>, size: usize) -> Self {
        Pipe { file: File::from(fd.expect("a descriptor")), message: vec![0; size] }
    }
}

impl Link for Pipe {
    fn send(&mut self, message: &[u8]) {
        self.file.write_all(message).expect("written");
    }

    fn send_batch(&mut self, messages: &[Vec<u64>]) {
        let joined: Vec<u64> = messages.concat();
        self.file.write_all(bytemuck::cast_slice(&joined)).expect("written");
    }

    fn recv(&mut self, look: &mut dyn FnMut(&[u8])) {
        self.file.read_exact(&mut self.message).expect("read");
        look(&self.message);
    }
}

/// The documents' ring for many: room, items and mutex.
struct Textbook {
    segment: Segment,
    size: usize,
    depth: usize,
    message: Vec<u8>,
}

/// Offsets of the parts: three semaphores, then `in` and `out`, each on its own line, then the buffer.
const ROOM: usize = 128;
const ITEMS: usize = 192;
const MUTEX: usize = 256;
const IN: usize = 320;
const OUT: usize = 384;
const BUFFER: usize = 4096;

impl Textbook {
    fn create(name: &RingName, size: usize) {
        let depth = depth(size);
        let len = BUFFER + depth * size;
        Segment::create(name, len as u64, 0o600, |base, _| {
            // SAFETY: the segment has more than BUFFER bytes, and nobody else knows it yet.
            unsafe {
                Semaphore::init(base.add(ROOM), depth as u32)?;
                Semaphore::init(base.add(ITEMS), 0)?;
                Semaphore::init(base.add(MUTEX), 1)?;
            }
            Ok(1)
        })
        .expect("a segment");
    }

    fn open(name: &str, size: usize) -> Self {
        let segment = Segment::open(&RingName::parse(name).expect("a name")).expect("a segment");
        segment.prefault();
        Textbook { segment, size, depth: depth(size), message: vec![0; size] }
    }

    fn semaphore(&self, at: usize) -> Semaphore {
        // SAFETY: `create` made semaphores at these places; the segment stays mapped with `self`.
        unsafe { Semaphore::at(self.segment.base().add(at)) }
    }

    fn wait(&self, at: usize) {
        use ringpipe::sys::semaphore::Wake;
        let semaphore = self.semaphore(at);
        while !semaphore.try_wait().expect("a semaphore")
            && semaphore.wait_for(std::time::Duration::from_secs(1)).expect("a semaphore") != Wake::Posted
        {
        }
    }

    /// Takes the next slot number at `at`, inside the mutex.
    fn next(&self, at: usize) -> usize {
        // SAFETY: inside the segment, aligned, and only used as an atomic.
        let word = unsafe { &*self.segment.base().add(at).as_ptr().cast::<AtomicU64>() };
        let now = word.load(Ordering::Relaxed);
        word.store((now + 1) % self.depth as u64, Ordering::Relaxed);
        now as usize % self.depth
    }
}

impl Link for Textbook {
    fn send(&mut self, message: &[u8]) {
        self.wait(ROOM);
        self.wait(MUTEX);
        let slot = self.next(IN);
        // SAFETY: slot < depth, the message has `size` bytes, and the mutex is held.
        unsafe {
            let to = self.segment.base().add(BUFFER + slot * self.size).as_ptr();
            std::ptr::copy_nonoverlapping(message.as_ptr(), to, self.size);
        }
        self.semaphore(MUTEX).post().expect("posted");
        self.semaphore(ITEMS).post().expect("posted");
    }

    fn recv(&mut self, look: &mut dyn FnMut(&[u8])) {
        self.wait(ITEMS);
        self.wait(MUTEX);
        let slot = self.next(OUT);
        // SAFETY: as above.
        unsafe {
            let from = self.segment.base().add(BUFFER + slot * self.size).as_ptr();
            std::ptr::copy_nonoverlapping(from, self.message.as_mut_ptr(), self.size);
        }
        self.semaphore(MUTEX).post().expect("posted");
        self.semaphore(ROOM).post().expect("posted");
        look(&self.message);
    }
}

/// Most bytes of a message between threads, which are sent by value as everybody does.
type Inline<const N: usize> = [u64; N];

struct Queue<const N: usize>(Arc<ArrayQueue<Inline<N>>>);

impl<const N: usize> Link for Queue<N> {
    fn send(&mut self, message: &[u8]) {
        let mut value: Inline<N> = bytemuck::pod_read_unaligned(message);
        while let Err(back) = self.0.push(value) {
            value = back;
            std::hint::spin_loop();
        }
    }

    fn recv(&mut self, look: &mut dyn FnMut(&[u8])) {
        loop {
            if let Some(value) = self.0.pop() {
                return look(bytemuck::bytes_of(&value));
            }
            std::hint::spin_loop();
        }
    }
}

type Ends = (Box<dyn Link + Send>, Box<dyn Link>);

/// Two ends of an ArrayQueue.
pub fn threads(size: usize) -> Ends {
    fn ends<const N: usize>() -> Ends
    where
        [u64; N]: bytemuck::Pod,
    {
        let queue = Arc::new(ArrayQueue::new(depth(N * 8)));
        (Box::new(Queue::<N>(queue.clone())), Box::new(Queue::<N>(queue)))
    }
    match size {
        8 => ends::<1>(),
        64 => ends::<8>(),
        _ => ends::<128>(),
    }
}

/// As `link::ping` between two threads.
pub fn threads_round_trip(seconds: f64) -> [f64; 2] {
    let (there, back) =
        (Arc::new(ArrayQueue::<Inline<1>>::new(64)), Arc::new(ArrayQueue::<Inline<1>>::new(64)));
    std::thread::scope(|scope| {
        let (from, to) = (there.clone(), back.clone());
        scope.spawn(move || {
            pin(1);
            crate::link::pong(&mut Queue(to), &mut Queue(from));
        });
        pin(0);
        let start = Instant::now();
        let figures = crate::link::ping(&mut Queue(there), &mut Queue(back), seconds);
        assert!(start.elapsed().as_secs_f64() >= seconds);
        figures
    })
}
