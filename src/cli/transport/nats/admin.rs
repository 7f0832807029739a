//! Makes, closes, removes and reads streams, for `ringctl`.

use std::time::{Duration, SystemTime};

use super::link::{Link, is_said};
use super::received::key;
use super::send::KEY;
use super::state::{Buckets, NOT_FOUND, Record, bucket_names};
use super::stream::{Found, find, make};
use super::{Limit, ask, connect};
use crate::cli::common::exit::Failure;
use crate::cli::common::report::Reporter;
use crate::cli::common::stream_name::StreamName;
use crate::cli::transport::Patience;
use crate::{Error, ItemKey, StopFlag};

/// A connection to the server of a stream, which is no participant of it.
pub struct Admin {
    pub(super) link: Link,
    pub(super) name: StreamName,
}

/// An item that waits.
pub struct Waiting {
    pub key: ItemKey,
    pub failures: u8,
    pub sent_at: u64,
    pub bytes: Vec<u8>,
}

impl Admin {
    /// Connects. `None`: the stop flag was raised first.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses the credentials.
    pub fn open(name: &StreamName, report: &Reporter, stop: &StopFlag) -> Result<Option<Self>, Failure> {
        let link = connect(&name.server, Patience::None, report, stop)?;
        Ok(link.map(|link| Admin { link, name: name.clone() }))
    }

    pub(super) fn failed(&self, error: &Error) -> Failure {
        Failure::of_ring(self.name.as_str(), error)
    }

    /// The server's version.
    pub fn version(&self) -> String {
        self.link.client.server_info().version
    }

    /// Waits. False: the stop flag was raised first.
    pub fn sleep(&self, time: Duration) -> bool {
        self.link.sleep(time)
    }

    /// Makes the stream.
    ///
    /// # Errors
    /// It exists already, or the server refuses it.
    pub fn create(&self, capacity: u64, producers: u64) -> Result<Found, Failure> {
        let record = Record::new(producers);
        let made = ask(&self.link, Limit::of(Patience::None), || async {
            // An attempt whose answer was lost may have made it.
            if find(&self.link, &self.name).await?.is_some_and(|found| found.record.id != record.id) {
                return Err(Error::Exists(self.name.as_str().into()));
            }
            match make(&self.link, &self.name, capacity, &record).await? {
                (found, true) => Ok(found),
                (_, false) => Err(Error::Exists(self.name.as_str().into())),
            }
        });
        made.map_err(|error| self.failed(&error))
    }

    /// Closes the stream. Returns whether it was open; `None`: there is none.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn close(&self) -> Result<Option<bool>, Failure> {
        let closed = ask(&self.link, Limit::of(Patience::None), || async {
            let Some(found) = find(&self.link, &self.name).await? else { return Ok(None) };
            let change = |record: &mut super::state::Record| record.close().then_some(());
            let changed = found.buckets.change(&self.link, change).await?;
            Ok(changed.map(|(_, changed)| changed.is_some()))
        });
        closed.map_err(|error| self.failed(&error))
    }

    /// Removes the stream and what belongs to it, as far as it exists. Returns the items that were in it; `None`: there was
    /// no such stream.
    ///
    /// # Errors
    /// The server does not answer, or has another kind of stream of this name (without `force`).
    pub fn remove(&self, force: bool) -> Result<Option<u64>, Failure> {
        let removed = ask(&self.link, Limit::of(Patience::None), || async {
            let link = &self.link;
            if !force && find(link, &self.name).await?.is_none() {
                return Ok(None);
            }
            // Closed first, so that producers end and do not make it again.
            if let Some(buckets) = Buckets::find(link, self.name.stream()).await? {
                let _ = buckets
                    .change(link, |record| {
                        record.close();
                        record.removed = true;
                        Some(())
                    })
                    .await;
            }
            let mut items = None;
            if let Ok(stream) = link.jetstream.get_stream(self.name.stream()).await {
                items = Some(stream.cached_info().state.messages);
            }
            let buckets = bucket_names(self.name.stream()).map(|bucket| format!("KV_{bucket}"));
            for name in [self.name.stream()].into_iter().chain(buckets.iter().map(String::as_str)) {
                match link.jetstream.delete_stream(name).await {
                    Ok(_) => {}
                    Err(error) if is_said(&error, NOT_FOUND) => {}
                    Err(error) => return Err(link.refused(&error)),
                }
            }
            Ok(items)
        });
        removed.map_err(|error| self.failed(&error))
    }

    /// Up to `most` of the items in the stream, oldest first, also those that are held. `None`: there is no such stream.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn peek(&self, most: u64) -> Result<Option<Vec<Waiting>>, Failure> {
        let peeked = ask(&self.link, Limit::of(Patience::None), || async {
            let link = &self.link;
            let Some(found) = find(link, &self.name).await? else { return Ok(None) };
            let stream = link.jetstream.get_stream(self.name.stream()).await.map_err(|e| link.refused(&e))?;
            let subject = super::stream::subject(self.name.stream());
            let mut next = stream.cached_info().state.first_sequence;
            let mut items = Vec::new();
            while (items.len() as u64) < most {
                // An error is the end: there is no further message.
                let ask = stream.raw_message_builder().sequence(next).next_by_subject(&*subject);
                let Ok(message) = ask.send().await else { break };
                next = message.sequence + 1;
                let own = message.headers.get(KEY).and_then(|value| key(value.as_str()));
                let sent_at = SystemTime::from(message.time).duration_since(SystemTime::UNIX_EPOCH);
                items.push(Waiting {
                    key: own
                        .unwrap_or(ItemKey { producer: ItemKey::NO_PRODUCER, sequence: message.sequence }),
                    failures: found.buckets.failures(link, message.sequence).await?,
                    sent_at: sent_at.map_or(0, |time| time.as_nanos() as u64),
                    bytes: message.payload.to_vec(),
                });
            }
            Ok(Some(items))
        });
        peeked.map_err(|error| self.failed(&error))
    }
}
