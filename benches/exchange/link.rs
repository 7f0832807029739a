//! What is measured, whatever carries it.

use std::time::{Duration, Instant};

/// Messages per batch.
pub const BATCH: usize = 64;

/// What carries the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A ring for many producers and consumers.
    Shared,
    /// A ring for one of each.
    Exclusive,
    /// The textbook's ring.
    Textbook,
    /// A pipe.
    Pipe,
    /// ArrayQueue between threads.
    Threads,
}

impl Kind {
    /// All of them, in the order of a round.
    pub const ALL: [Kind; 5] = [Kind::Shared, Kind::Exclusive, Kind::Textbook, Kind::Pipe, Kind::Threads];

    /// Reads what `Debug` writes.
    pub fn parse(text: &str) -> Self {
        Self::ALL.into_iter().find(|kind| format!("{kind:?}") == text).expect("a kind")
    }

    /// The name in the report.
    pub fn title(self) -> &'static str {
        match self {
            Kind::Shared => "ringpipe",
            Kind::Exclusive => "ringpipe, exclusive",
            Kind::Textbook => "textbook semaphore ring",
            Kind::Pipe => "pipe",
            Kind::Threads => "crossbeam ArrayQueue (threads)",
        }
    }
}

/// How many messages are handed over per call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// One.
    One,
    /// [`BATCH`].
    Batch,
}

impl Way {
    /// Reads what `Debug` writes.
    pub fn parse(text: &str) -> Self {
        if text == "One" { Way::One } else { Way::Batch }
    }
}

/// One end of what carries the messages; blocks when full or empty.
pub trait Link {
    /// Sends one message.
    fn send(&mut self, message: &[u8]);
    /// Sends several.
    fn send_batch(&mut self, messages: &[Vec<u64>]) {
        messages.iter().for_each(|message| self.send(bytemuck::cast_slice(message)));
    }
    /// Receives one message, shows it, and acknowledges it.
    fn recv(&mut self, look: &mut dyn FnMut(&[u8]));
    /// Receives several.
    fn recv_batch(&mut self, look: &mut dyn FnMut(&[u8])) {
        self.recv(look);
    }
    /// Nothing more will be sent.
    fn finish(&mut self) {}
}

/// Writes message `sequence`: its number in every word.
pub fn fill(message: &mut [u64], sequence: u64) {
    message.fill(sequence);
}

/// The number of a message, and whether every word of it says so.
pub fn check(message: &[u8], size: usize) -> (u64, bool) {
    let word = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().unwrap());
    let number = word(&message[..8]);
    let same = message.chunks_exact(8).fold(0, |all, bytes| all | (word(bytes) ^ number)) == 0;
    (number, same && message.len() == size)
}

/// Sends and awaits messages for a while: median and 99th percentile in microseconds.
pub fn ping(to: &mut dyn Link, from: &mut dyn Link, seconds: f64) -> [f64; 2] {
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let mut times = Vec::new();
    for sequence in 0u64.. {
        let start = Instant::now();
        if start >= end {
            break;
        }
        to.send(&sequence.to_ne_bytes());
        from.recv(&mut |answer| assert_eq!(answer, sequence.to_ne_bytes()));
        times.push(start.elapsed().as_nanos() as u64);
    }
    to.send(&u64::MAX.to_ne_bytes());
    to.finish();
    times.sort_unstable();
    [0.5, 0.99].map(|share| times[(times.len() as f64 * share) as usize] as f64 / 1000.0)
}

/// Returns every message until the last.
pub fn pong(to: &mut dyn Link, from: &mut dyn Link) {
    let mut ended = false;
    while !ended {
        let mut message = [0; 8];
        from.recv(&mut |bytes| message.copy_from_slice(bytes));
        ended = message == [0xff; 8];
        if !ended {
            to.send(&message);
        }
    }
}
