//! The jobs of the measuring processes, and their answers.
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{cost::Used, message::Tally};

/// The job of one process: on its command line, as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// The core to stay on, if any.
    pub core: Option<usize>,
    pub work: Work,
}

/// What to do. Every process attaches, sends [`Answer::Ready`], and waits for the signal to begin.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Work {
    /// Sends messages of `size` bytes for a while, `batch` at a time.
    Send { ring: String, sender: u8, size: usize, batch: usize, seconds: f64 },
    /// Receives messages to the end of the stream.
    Receive { ring: String, size: usize, batch: usize },
    /// Sends a message and waits for its return, again and again, with a pause before each.
    Ping { there: String, back: String, seconds: f64, pause_us: u64 },
    /// Returns every message.
    Pong { there: String, back: String },
    /// Receives one item before it is ready, and keeps it.
    Hold { ring: String },
    /// Receives one item.
    Take { ring: String },
}

impl Work {
    /// In one word, for messages.
    pub fn title(&self) -> &'static str {
        match self {
            Work::Send { .. } => "sender",
            Work::Receive { .. } => "receiver",
            Work::Ping { .. } => "asking process",
            Work::Pong { .. } => "answering process",
            Work::Hold { .. } => "holder",
            Work::Take { .. } => "waiting consumer",
        }
    }
}

impl FromStr for Job {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }
}

/// The answers of a process: each is a line of JSON on its standard output. Times are of the monotonic clock.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Answer {
    /// The process is attached.
    Ready,
    /// It sent all of these.
    Sent { tally: Tally, used: Used },
    /// It received all of these.
    Received { tally: Tally, timed: Option<Timed>, used: Used },
    /// The times of the round trips.
    RoundTrips { times: RoundTrips, used: Used },
    /// It returned all messages.
    Returned { used: Used },
    /// It got the item at this time.
    Taken { at_ns: u64, redelivered: bool },
    /// A message was wrong.
    Fault(String),
}

/// Messages that were received after the first, and their time.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Timed {
    pub messages: u64,
    pub start_ns: u64,
    pub end_ns: u64,
}

/// Percentiles in nanoseconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct RoundTrips {
    pub count: u64,
    pub p50_ns: u64,
    pub p99_ns: u64,
    pub p999_ns: u64,
}
