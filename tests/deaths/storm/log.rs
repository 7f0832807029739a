//! What the workers did, written so that it survives their deaths: in memory that they share with the process
//! that forked them, a log for each place. A record counts from the moment the log's length has grown, so that none
//! is torn. Beside it stands which call of the library the worker is in, so that its death can be placed.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, compiler_fence};

use ringpipe::internal::sys::clock;

use crate::storm::shared::Words;

/// What a record tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Event {
    /// About to send; whether it was sent, another record says, or is not known.
    Attempt = 1,
    /// Sent: the library said so.
    Sent = 2,
    /// Not sent: the library said so.
    Refused = 3,
    /// Received.
    Got = 4,
    /// About to acknowledge.
    Acking = 5,
    /// Acknowledged: the call came back.
    Acked = 6,
    /// Received with bytes that contradict themselves.
    Corrupt = 7,
}

impl Event {
    fn from_byte(byte: u8) -> Option<Event> {
        use Event::*;
        [Attempt, Sent, Refused, Got, Acking, Acked, Corrupt].into_iter().find(|e| *e as u8 == byte)
    }
}

/// One thing that happened to one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    pub event: Event,
    /// Which delivery; 0 from producers.
    pub attempt: u8,
    /// How many the item fills.
    pub slots: u16,
    /// The worker that sent the item: unique in a storm.
    pub worker: u32,
    /// Its count of attempts.
    pub count: u32,
    /// The producer's number, and the item's, as the library gives them.
    pub producer: u32,
    pub sequence: u32,
    pub hash: u32,
    /// When it was written, in nanoseconds: set by [`Log::write`].
    pub time: u64,
}

impl Record {
    const WORDS: usize = 4;

    fn to_words(self) -> [u64; Self::WORDS] {
        let two = |low: u32, high: u32| low as u64 | (high as u64) << 32;
        let first = self.event as u32 | (self.attempt as u32) << 8 | (self.slots as u32) << 16;
        [two(first, self.hash), two(self.worker, self.count), two(self.producer, self.sequence), self.time]
    }

    fn from_words(words: [u64; Self::WORDS]) -> Record {
        let [first, item, number, time] = words;
        Record {
            event: Event::from_byte(first as u8).expect("a log has only records"),
            attempt: (first >> 8) as u8,
            slots: (first >> 16) as u16,
            hash: (first >> 32) as u32,
            worker: item as u32,
            count: (item >> 32) as u32,
            producer: number as u32,
            sequence: (number >> 32) as u32,
            time,
        }
    }
}

/// The calls in which a worker may die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Call {
    None = 0,
    Attach,
    Send,
    SendBatch,
    Reserve,
    Commit,
    Receive,
    ReceiveBatch,
    Acknowledge,
    GiveBack,
}

impl Call {
    pub const MANY: usize = 10;
    pub const NAMES: [&str; Self::MANY] = [
        "between calls",
        "attach",
        "send",
        "send_batch",
        "reserve",
        "commit, drop",
        "recv",
        "recv_batch",
        "ack",
        "give back",
    ];
}

/// Records that a log has room for: a place that has written half of them ends the storm.
const ROOM: usize = 1 << 17;
/// Length and mark have lines of their own.
const LENGTH: usize = 0;
const MARK: usize = 8;
const RECORDS: usize = 16;
const LOG: usize = RECORDS + ROOM * Record::WORDS;
/// In the first words of all: whether the storm is over, and all workers shall slow down.
const CALM: usize = 0;
const LOGS: usize = 16;

/// The logs of all places of a storm. What is not written takes no memory.
pub struct Board {
    words: Words,
    places: usize,
}

impl Board {
    pub fn new(places: usize) -> Board {
        Board { words: Words::new(LOGS + places * LOG), places }
    }

    pub fn log(&self, place: usize) -> Log<'_> {
        let calm = &self.words[CALM];
        Log { words: &self.words[LOGS + place * LOG..][..LOG], calm }
    }

    pub fn logs(&self) -> impl Iterator<Item = Log<'_>> {
        (0..self.places).map(|place| self.log(place))
    }

    /// Makes all workers slow down from now on.
    pub fn calm(&self) {
        self.words[CALM].store(1, Relaxed); // Relaxed: seen soon.
    }
}

/// The log of a place: one worker after the other writes it.
#[derive(Clone, Copy)]
pub struct Log<'b> {
    words: &'b [AtomicU64],
    calm: &'b AtomicU64,
}

impl Log<'_> {
    pub fn write(&self, records: &[Record]) {
        // Relaxed: the one worker of the place is the only writer, and its death comes before the next one's birth.
        let length = self.words[LENGTH].load(Relaxed) as usize;
        assert!(length + records.len() <= ROOM, "the log is full");
        let time = clock::monotonic_ns();
        for (n, record) in records.iter().enumerate() {
            let to = &self.words[RECORDS + (length + n) * Record::WORDS..];
            for (to, word) in to.iter().zip(Record { time, ..*record }.to_words()) {
                to.store(word, Relaxed);
            }
        }
        // Release: the records come before the length that counts them.
        self.words[LENGTH].store((length + records.len()) as u64, Release);
    }

    pub fn len(&self) -> usize {
        self.words[LENGTH].load(Acquire) as usize
    }

    pub fn is_long(&self) -> bool {
        self.len() > ROOM / 2
    }

    pub fn is_calm(&self) -> bool {
        self.calm.load(Relaxed) != 0
    }

    pub fn read(&self) -> Vec<Record> {
        let word = |at: usize| self.words[RECORDS + at].load(Relaxed);
        let record = |n: usize| Record::from_words(std::array::from_fn(|m| word(n * Record::WORDS + m)));
        (0..self.len()).map(record).collect()
    }

    /// Does a call, and says so in the mark.
    pub fn within<T>(&self, call: Call, work: impl FnOnce() -> T) -> T {
        // Relaxed: read when the worker is dead, or to be compared; a signal sees the program's order.
        let mark = self.words[MARK].load(Relaxed);
        self.words[MARK].store(((mark >> 8) + 1) << 8 | call as u64, Relaxed);
        compiler_fence(Release);
        let result = work();
        compiler_fence(Release);
        self.words[MARK].store(((mark >> 8) + 1) << 8, Relaxed);
        result
    }

    /// Counts the calls, and says in the low byte which one it is.
    pub fn mark(&self) -> u64 {
        self.words[MARK].load(Relaxed)
    }

    /// A new worker comes: it is in no call.
    pub fn clear_mark(&self) {
        self.words[MARK].store(((self.mark() >> 8) + 1) << 8, Relaxed);
    }
}
