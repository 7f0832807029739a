//! What a worker process is told to do, as its argument.

use std::os::fd::RawFd;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::peer::Work;

/// The argument that makes a process a worker.
pub const WORKER: &str = "worker";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    pub carrier: String,
    /// Name of the link; the two of a round trip are named after it.
    pub link: String,
    #[serde(with = "WorkFields")]
    pub work: Work,
    /// The workers in this process: one, or all where a carrier joins threads.
    pub seats: Vec<Seat>,
    /// Descriptors that were inherited, by name.
    pub inherited: Vec<(String, RawFd)>,
}

impl Job {
    /// Name of the link that carries the answers of a round trip.
    pub fn answers(&self) -> String {
        answers(&self.link)
    }
}

/// Name of the link that carries the answers to what `link` carries.
pub fn answers(link: &str) -> String {
    format!("{link}-answers")
}

/// One worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Seat {
    /// Which line of the control block is its own.
    pub line: usize,
    /// Which core it is bound to.
    pub core: usize,
    pub role: Role,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Sends, as the sender of this number.
    Send(usize),
    Receive,
    /// Asks, so long after the last answer.
    Ping(Duration),
    /// Answers, so long after the question.
    Pong(Duration),
    /// Sends into a ledger, as the sender of this number.
    SendUntilKilled(usize),
    /// Receives into a ledger.
    ReceiveUntilKilled,
}

/// How [`Work`] is written down.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Work")]
pub struct WorkFields {
    pub size: usize,
    pub depth: usize,
    pub batch: usize,
    pub in_place: bool,
    pub senders: usize,
    pub receivers: usize,
}
