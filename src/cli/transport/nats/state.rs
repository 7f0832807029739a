//! What the participants of a stream tell each other: a record in a key-value bucket beside the stream. Each change is a
//! compare-and-swap.

use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::kv::{self, Store, UpdateErrorKind};
use async_nats::jetstream::stream::{Config, DiscardPolicy, StorageType};
use serde::{Deserialize, Serialize};

use super::link::{Link, is_said, may_pass};
use crate::{Error, Role};

/// The key of the record.
pub const STATE: &str = "state";
/// Before the sequence of an item that has failed.
const FAILURES: &str = "failures.";
/// How long the entry of a participant stays without a sign of life: long after all others count it as dead.
const FORGET: Duration = Duration::from_secs(3600);

/// The record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Name and version of this format.
    pub schema: String,
    /// Distinguishes this stream from others of the same name: 32 hexadecimal digits.
    pub id: String,
    /// Producers that must have come before the stream may end.
    pub expected: u64,
    /// The number of the next producer, and of the next consumer.
    pub next_producer: u64,
    pub next_consumer: u64,
    /// Counts the ends of the stream. The next two counts begin again with each.
    pub generation: u64,
    /// Producers that came, and those that left.
    pub producers: u64,
    pub producers_left: u64,
    /// Consumers that came, and those that left.
    pub consumers: u64,
    pub consumers_left: u64,
    /// Whether the stream accepts no more items.
    pub closed: bool,
    /// Whether it was closed before all its producers had come and left.
    #[serde(default)]
    pub closed_early: bool,
    /// Whether it is being removed.
    #[serde(default)]
    pub removed: bool,
    /// How its producers frame items: a word as in a ring.
    pub framing: u64,
    /// Marks of the last changes: a process whose answer was lost finds its own.
    #[serde(default)]
    pub changes: Vec<u64>,
}

/// Changes that a record remembers: more than there are while one process waits for an answer.
const MOST_CHANGES: usize = 32;
/// The pause before a change is tried again.
const PAUSE: Duration = Duration::from_millis(50);

pub const SCHEMA: &str = "ringpipe.stream/1";

impl Record {
    /// The record of a new stream.
    pub fn new(expected: u64) -> Self {
        let id = fastrand::u128(..);
        Record {
            schema: SCHEMA.into(),
            id: format!("{id:032x}"),
            expected,
            next_producer: 0,
            next_consumer: 0,
            generation: 0,
            producers: 0,
            producers_left: 0,
            consumers: 0,
            consumers_left: 0,
            closed: false,
            closed_early: false,
            removed: false,
            framing: 0,
            changes: Vec::new(),
        }
    }

    /// The id in bytes.
    pub fn id(&self) -> [u8; 16] {
        u128::from_str_radix(&self.id, 16).unwrap_or_default().to_be_bytes()
    }

    /// How many came, and how many of them left.
    pub fn came_and_left(&self, role: Role) -> (u64, u64) {
        match role {
            Role::Producer => (self.producers, self.producers_left),
            Role::Consumer => (self.consumers, self.consumers_left),
        }
    }

    /// Counts one more, and returns its number.
    pub fn enter(&mut self, role: Role) -> u64 {
        let (came, next) = match role {
            Role::Producer => (&mut self.producers, &mut self.next_producer),
            Role::Consumer => (&mut self.consumers, &mut self.next_consumer),
        };
        *came += 1;
        *next += 1;
        *next - 1
    }

    /// Counts one less, which came in generation `generation`.
    pub fn leave(&mut self, role: Role, generation: u64) {
        match role {
            Role::Producer => {
                // One that was counted as dead at an end, and was not, may have sent items since.
                self.producers += u64::from(self.generation != generation);
                self.producers_left += 1;
            }
            Role::Consumer => self.consumers_left += 1,
        }
    }

    /// Closes the stream. Returns whether it was open.
    pub fn close(&mut self) -> bool {
        let was_open = !std::mem::replace(&mut self.closed, true);
        let is_early = self.producers < self.expected || self.producers_left < self.producers;
        self.closed_early |= was_open && is_early;
        was_open
    }

    /// Notes a change under its mark.
    fn note_change(&mut self, mark: u64) {
        if self.changes.len() >= MOST_CHANGES {
            self.changes.remove(0);
        }
        self.changes.push(mark);
    }

    /// Begins the next generation, after an end.
    pub fn begin_again(&mut self) {
        self.generation += 1;
        (self.producers, self.producers_left, self.framing) = (0, 0, 0);
    }
}

/// The two buckets of a stream.
#[derive(Clone)]
pub struct Buckets {
    /// The record, and the failures of items.
    pub state: Store,
    /// A key for each participant, rewritten as a sign of life.
    pub live: Store,
}

/// The names of the buckets.
pub fn bucket_names(stream: &str) -> [String; 2] {
    [format!("ringpipe-state-{stream}"), format!("ringpipe-live-{stream}")]
}

impl Buckets {
    /// Finds the buckets. `None`: one does not exist.
    pub async fn find(link: &Link, stream: &str) -> Result<Option<Self>, Error> {
        let [state, live] = bucket_names(stream);
        let mut found = Vec::new();
        for name in [state, live] {
            match link.jetstream.get_key_value(name).await {
                Ok(store) => found.push(store),
                Err(error) if is_said(&error, NOT_FOUND) => return Ok(None),
                Err(error) => return Err(link.refused(&error)),
            }
        }
        let live = found.pop();
        Ok(found.pop().zip(live).map(|(state, live)| Buckets { state, live }))
    }

    /// Makes the buckets, as far as they do not exist.
    pub async fn make(link: &Link, stream: &str, replicas: usize) -> Result<Self, Error> {
        let [state, live] = bucket_names(stream);
        let mut made = Vec::new();
        for (bucket, max_age) in [(state, Duration::ZERO), (live, FORGET)] {
            // The client's own call asks for the account first, whose form older servers do not have (2.9).
            let config = Config {
                name: format!("KV_{bucket}"),
                subjects: vec![format!("$KV.{bucket}.>")],
                max_messages_per_subject: 1,
                max_messages: -1,
                max_bytes: -1,
                max_consumers: -1,
                max_age,
                discard: DiscardPolicy::New,
                storage: StorageType::File,
                num_replicas: replicas,
                allow_rollup: true,
                deny_delete: true,
                allow_direct: true,
                description: Some("made by ringpipe".into()),
                ..Config::default()
            };
            let result = link.jetstream.create_stream(config).await;
            // If that failed, another process may have made it.
            let store = link.jetstream.get_key_value(bucket).await;
            made.push(store.map_err(|error| match &result {
                Err(error) => link.refused(error),
                Ok(_) => link.refused(&error),
            })?);
        }
        let live = made.pop().ok_or_else(|| link.silent())?;
        let state = made.pop().ok_or_else(|| link.silent())?;
        Ok(Buckets { state, live })
    }

    /// Writes the record of a new stream. If another process was first, its record stays.
    pub async fn begin(&self, record: &Record) -> Result<(), Error> {
        let bytes = serde_json::to_vec(record).unwrap_or_default();
        // If it exists, or was written and the answer was lost, the next read tells.
        let _ = self.state.create(STATE, bytes.into()).await;
        Ok(())
    }

    /// The record and its revision. `None`: there is none.
    pub async fn read(&self, link: &Link) -> Result<Option<(Record, u64)>, Error> {
        let entry = self.state.entry(STATE).await.map_err(|error| link.refused(&error))?;
        let Some(entry) = entry.filter(|entry| entry.operation == kv::Operation::Put) else {
            return Ok(None);
        };
        match serde_json::from_slice::<Record>(&entry.value) {
            Ok(record) if record.schema == SCHEMA => Ok(Some((record, entry.revision))),
            _ => Err(self.damaged()),
        }
    }

    /// The error for a record that cannot be read.
    pub fn damaged(&self) -> Error {
        Error::Damaged(format!("the record in bucket {} is not one of {SCHEMA}", self.state.name).into())
    }

    /// Changes the record, once; `change` returns `None` to leave it as it is. Returns the record, and what `change` returned.
    /// Tries again while the server does not answer: callers limit the time.
    pub async fn change<T>(
        &self,
        link: &Link,
        mut change: impl FnMut(&mut Record) -> Option<T>,
    ) -> Result<Option<(Record, Option<T>)>, Error> {
        let (mark, mut written) = (fastrand::u64(..), None);
        loop {
            match self.read(link).await {
                Ok(None) => return Ok(None),
                // The change was made, and only its answer was lost.
                Ok(Some((record, _))) if written.is_some() && record.changes.contains(&mark) => {
                    return Ok(Some((record, written)));
                }
                Ok(Some((mut record, revision))) => {
                    let before = record.clone();
                    let Some(result) = change(&mut record) else { return Ok(Some((before, None))) };
                    record.note_change(mark);
                    match self.write(link, &record, revision).await {
                        Ok(true) => return Ok(Some((record, Some(result)))),
                        Ok(false) => {}
                        Err(error) if may_pass(&error) => {}
                        Err(error) => return Err(error),
                    }
                    written = Some(result);
                }
                Err(error) if may_pass(&error) => {}
                Err(error) => return Err(error),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Writes the record, if its revision is still this one.
    pub async fn write(&self, link: &Link, record: &Record, revision: u64) -> Result<bool, Error> {
        let bytes = serde_json::to_vec(record).unwrap_or_default();
        match self.state.update(STATE, bytes.into(), revision).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => Ok(false),
            Err(error) if is_said(&error, OTHER_REVISION) => Ok(false),
            Err(error) => Err(link.refused(&error)),
        }
    }

    /// How often the item with this sequence in the stream has failed.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn failures(&self, link: &Link, sequence: u64) -> Result<u8, Error> {
        let value = self.state.get(format!("{FAILURES}{sequence}")).await;
        let Some(value) = value.map_err(|error| link.refused(&error))? else { return Ok(0) };
        let number = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok());
        number.ok_or_else(|| {
            let (bucket, key) = (&self.state.name, format!("{FAILURES}{sequence}"));
            Error::Damaged(format!("the value of {key} in bucket {bucket} is no number from 0 to 255").into())
        })
    }

    /// Records how often an item has failed.
    pub async fn record_failures(&self, sequence: u64, failures: u8) {
        // If this is lost, the item is tried more often.
        let _ = self.state.put(format!("{FAILURES}{sequence}"), failures.to_string().into()).await;
    }

    /// Forgets the failures of an item that is gone.
    pub async fn forget_failures(&self, sequence: u64) {
        // A key that stays is never read again: sequences are not reused.
        let _ = self.state.stream.purge().filter(format!("{}{FAILURES}{sequence}", self.state.prefix)).await;
    }
}

/// JetStream's newer code for a record that has changed meanwhile.
const OTHER_REVISION: ErrorCode = ErrorCode(10164);
/// JetStream's code for a stream that does not exist.
pub const NOT_FOUND: ErrorCode = ErrorCode::STREAM_NOT_FOUND;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_tells_whether_producers_were_there_when_it_was_closed() {
        for (came, left, is_early) in [(0, 0, true), (1, 0, true), (2, 1, true), (1, 1, false)] {
            let mut record = Record { producers: came, producers_left: left, ..Record::new(1) };
            assert!(record.close() && !record.close());
            assert_eq!(record.closed_early, is_early, "{left} of {came} left");
            // They leave because of it.
            record.leave(Role::Producer, 0);
            record.close();
            assert_eq!(record.closed_early, is_early, "{left} of {came} left");
        }
    }
}
