//! What a checker found.

use std::fmt;
use std::path::PathBuf;

use super::logs::Place;

/// The possible faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Sent or received, but neither acknowledged nor being acknowledged in its last delivery.
    Lost,
    /// Received, sent or acknowledged without the event that must come before.
    Unexpected,
    /// Received with another hash than it was sent with.
    Corrupted,
    /// Delivered after it was acknowledged.
    Duplicated,
    /// Acknowledged twice.
    AcknowledgedTwice,
    /// Held by two consumers at once.
    HeldTwice,
    /// First delivered to one process after a later item of its producer.
    OutOfOrder,
    /// More items in the ring than it has room for.
    OverCapacity,
    /// A second, different item under the same number.
    Renamed,
}

impl Fault {
    /// All faults, in the order in which they are reported.
    pub const ALL: [Fault; 9] = [
        Fault::Lost,
        Fault::Unexpected,
        Fault::Corrupted,
        Fault::Duplicated,
        Fault::AcknowledgedTwice,
        Fault::HeldTwice,
        Fault::OutOfOrder,
        Fault::OverCapacity,
        Fault::Renamed,
    ];

    /// Its name in words.
    pub const fn name(self) -> &'static str {
        match self {
            Fault::Lost => "lost",
            Fault::Unexpected => "unexpected",
            Fault::Corrupted => "corrupted",
            Fault::Duplicated => "duplicated",
            Fault::AcknowledgedTwice => "acknowledged twice",
            Fault::HeldTwice => "held twice",
            Fault::OutOfOrder => "out of order",
            Fault::OverCapacity => "over capacity",
            Fault::Renamed => "renamed",
        }
    }
}

/// One fault, and where it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What it is.
    pub fault: Fault,
    /// The item's producer.
    pub producer: u64,
    /// The item's number at its producer.
    pub sequence: u64,
    /// The contradiction, in words.
    pub text: String,
    /// The event at which it was found; a lost item has none.
    pub place: Option<Place>,
}

/// Counts of a history, apart from faults.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lines.
    pub events: u64,
    /// Items that a producer began to send, counting each attempt.
    pub attempts: u64,
    /// Items whose `send` returned success, without those that were sent under the key of another one.
    pub sent: u64,
    /// Attempts that were refused.
    pub refused: u64,
    /// Items that were sent under the key of another one, counting each time.
    pub forwarded: u64,
    /// Items whose acknowledgement returned.
    pub acknowledged: u64,
    /// Items that a producer dropped to make room.
    pub dropped: u64,
    /// Items that were delivered although their producer died before it could record the end of the send.
    pub recovered: u64,
    /// Deliveries after an item's first.
    pub redelivered: u64,
    /// Items acknowledged or dropped by a process that died before it could record the end of the call.
    pub unsure: u64,
    /// The most items that were certainly in the ring at the same time.
    pub most_at_once: u64,
}

/// What is true of a history.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What happened, apart from faults.
    pub counts: Counts,
    /// The first faults.
    pub found: Vec<Found>,
    /// The files that were read, in the order of [`Place::file`]; none if events came from elsewhere.
    pub files: Vec<PathBuf>,
    /// Files that end in the middle of a line, which was left out.
    pub truncated: u64,
    pub(super) faults: [u64; Fault::ALL.len()],
}

impl Report {
    /// Whether there are no faults.
    pub fn is_clean(&self) -> bool {
        self.faults == [0; Fault::ALL.len()]
    }

    /// How often a fault was found.
    pub fn count(&self, fault: Fault) -> u64 {
        self.faults[fault as usize]
    }
}

/// A line for each of the first faults; then one that counts all of them, or `clean`.
impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Found { fault, producer, sequence, text, place } in &self.found {
            write!(out, "{}: item {sequence} of producer {producer}: {text}", fault.name())?;
            if let Some(Place { file, line }) = place {
                match self.files.get(*file as usize) {
                    Some(file) => write!(out, " ({}, line {line})", file.display())?,
                    None => write!(out, " (file {file}, line {line})")?,
                }
            }
            writeln!(out)?;
        }
        if self.is_clean() {
            return write!(out, "clean");
        }
        let some = Fault::ALL.into_iter().filter(|fault| self.count(*fault) > 0);
        let list: Vec<String> = some.map(|fault| format!("{} {}", self.count(fault), fault.name())).collect();
        write!(out, "{}", list.join(", "))
    }
}
