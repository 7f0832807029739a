//! What a worker did, written so that it survives its death: records of 32 bytes, each appended by a
//! `write` of its own or with others by one, in files that begin empty, so that none crosses a page.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

/// What a record tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Event {
    /// About to send; whether it was sent, another record says, or nobody knows.
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
    /// The worker that sent the item: unique in a storm.
    pub worker: u32,
    /// Its count of attempts.
    pub count: u32,
    /// The producer's number, and the item's, as the library gives them.
    pub producer: u32,
    pub sequence: u32,
    pub hash: u64,
}

impl Record {
    const BYTES: usize = 32;

    fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[0] = self.event as u8;
        bytes[1] = self.attempt;
        let words = [self.worker, self.count, self.producer, self.sequence];
        for (n, word) in words.into_iter().enumerate() {
            bytes[4 + n * 4..8 + n * 4].copy_from_slice(&word.to_le_bytes());
        }
        bytes[24..].copy_from_slice(&self.hash.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Record {
        let word = |n: usize| u32::from_le_bytes(bytes[4 + n * 4..8 + n * 4].try_into().unwrap());
        Record {
            event: Event::from_byte(bytes[0]).expect("a log has only records"),
            attempt: bytes[1],
            worker: word(0),
            count: word(1),
            producer: word(2),
            sequence: word(3),
            hash: u64::from_le_bytes(bytes[24..].try_into().unwrap()),
        }
    }
}

/// A log being written.
pub struct Log {
    file: File,
    records: u64,
}

impl Log {
    pub fn append_to(path: &Path) -> Log {
        let file = OpenOptions::new().create(true).append(true).open(path).expect("the log");
        Log { file, records: 0 }
    }

    pub fn write(&mut self, records: &[Record]) {
        let bytes: Vec<u8> = records.iter().flat_map(|record| record.to_bytes()).collect();
        self.file.write_all(&bytes).expect("room for the log");
        self.records += records.len() as u64;
    }
}

/// All records of a log.
pub fn read(path: &Path) -> Vec<Record> {
    let mut bytes = Vec::new();
    File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)).expect("the log");
    let (records, rest) = bytes.as_chunks::<{ Record::BYTES }>();
    assert!(rest.is_empty(), "a record was torn");
    records.iter().map(|bytes| Record::from_bytes(bytes)).collect()
}
