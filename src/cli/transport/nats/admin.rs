//! Makes, shows, closes and removes streams, for `ringctl`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

use async_nats::jetstream::kv::{Operation, Store};
use futures_util::{StreamExt, TryStreamExt};
use serde::Deserialize;

use super::link::{Link, is_said};
use super::members::{BEAT, DEAD_AFTER, DENIED_FOR, Denials, Sign};
use super::received::key;
use super::send::KEY;
use super::state::{Buckets, NOT_FOUND, Record, bucket_names};
use super::stream::{CONSUMER, Found, find, make};
use super::{Limit, ask, connect};
use crate::cli::common::exit::Failure;
use crate::cli::common::report::Reporter;
use crate::cli::common::stream_name::{ServerName, StreamName};
use crate::cli::transport::Patience;
use crate::{Error, ItemKey, Role, StopFlag};

/// A connection to the server of a stream, which is no participant of it.
pub struct Admin {
    link: Link,
    name: StreamName,
}

/// A stream at one moment.
pub struct Look {
    pub found: Found,
    /// Items in it, those that consumers hold included.
    pub used: u64,
    pub bytes: u64,
    /// Items that wait, items that are held, and of these the ones that were delivered before.
    pub waiting: u64,
    pub held: u64,
    pub held_again: u64,
    /// Items that were acknowledged since it was made.
    pub acknowledged: u64,
    pub members: Vec<Member>,
}

/// A participant.
#[derive(Clone)]
pub struct Member {
    pub role: Role,
    pub number: u64,
    pub pid: u32,
    pub host: String,
    /// Since its last sign of life, by the server's clock.
    pub quiet: Duration,
}

impl Member {
    pub fn is_alive(&self) -> bool {
        self.quiet < BEAT * DEAD_AFTER
    }
}

/// An item that waits.
pub struct Waiting {
    pub key: ItemKey,
    pub failures: u8,
    pub sent_at: u64,
    pub bytes: Vec<u8>,
}

impl Look {
    pub fn alive(&self, role: Role) -> u64 {
        self.members.iter().filter(|member| member.role == role && member.is_alive()).count() as u64
    }
}

/// A stream that was found, as it is; or why it cannot be used.
pub type Listed = (StreamName, Result<Look, String>);

/// The streams of a server that this program made, by name. `None`: the stop flag was raised first.
///
/// # Errors
/// The server cannot be reached, refuses the credentials, or does not answer.
pub fn list(server: &ServerName, report: &Reporter, stop: &StopFlag) -> Result<Option<Vec<Listed>>, Failure> {
    let Some(link) = connect(server, Patience::None, report, stop)? else { return Ok(None) };
    let limit = Limit::of(Patience::None);
    let failed = |error: Error| Failure::of_ring(server.as_str(), &error);
    let all: BTreeSet<String> = ask(&link, limit, || async {
        link.jetstream.stream_names().try_collect().await.map_err(|error| link.refused(&error))
    })
    .map_err(failed)?;
    let is_own = |stream: &&String| all.contains(&format!("KV_{}", bucket_names(stream)[0]));
    let mut found = Vec::new();
    for name in all.iter().filter(is_own).filter_map(|stream| server.stream(stream)) {
        let admin = Admin { link: link.clone(), name };
        match ask(&link, limit, || admin.look_now()) {
            // It was removed meanwhile.
            Ok(None) => {}
            Ok(Some(look)) => found.push((admin.name, Ok(look))),
            Err(error @ (Error::Incompatible { .. } | Error::Damaged(_))) => {
                found.push((admin.name, Err(error.to_string())));
            }
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(Some(found))
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

    fn failed(&self, error: &Error) -> Failure {
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

    /// The stream. `None`: there is none.
    ///
    /// # Errors
    /// The server does not answer, or has another kind of stream of this name.
    pub fn look(&self) -> Result<Option<Look>, Failure> {
        ask(&self.link, Limit::of(Patience::None), || self.look_now()).map_err(|error| self.failed(&error))
    }

    /// The stream, of which the server has just denied that it exists. `None`: it goes on with that, so it was removed. A server
    /// that is starting denies streams that exist.
    ///
    /// # Errors
    /// The server does not answer, or has another kind of stream of this name.
    pub fn look_until_denied(&self) -> Result<Option<Look>, Failure> {
        let mut denials = Denials::default();
        loop {
            match self.look()? {
                None if !denials.note(true, Instant::now()) && self.sleep(DENIED_FOR / 4) => {}
                look => return Ok(look),
            }
        }
    }

    async fn look_now(&self) -> Result<Option<Look>, Error> {
        let link = &self.link;
        let Some(found) = find(link, &self.name).await? else { return Ok(None) };
        let stream = link.jetstream.get_stream(self.name.stream()).await.map_err(|e| link.refused(&e))?;
        let state = stream.cached_info().state.clone();
        let consumer = stream.consumer_info(CONSUMER).await.map_err(|e| link.refused(&e))?;
        Ok(Some(Look {
            used: state.messages,
            bytes: state.bytes,
            waiting: consumer.num_pending,
            held: consumer.num_ack_pending as u64,
            held_again: consumer.num_redelivered as u64,
            acknowledged: state.last_sequence.saturating_sub(state.messages),
            members: self.members(&found.buckets).await?,
            found,
        }))
    }

    /// The participants. Their ages are by the server's clock.
    async fn members(&self, buckets: &Buckets) -> Result<Vec<Member>, Error> {
        let (link, live) = (&self.link, &buckets.live);
        let mut keys = live.keys().await.map_err(|error| link.refused(&error))?;
        let mut members = Vec::new();
        while let Some(key) = keys.next().await {
            let key = key.map_err(|error| link.refused(&error))?;
            let Some((role, number)) = key.split_once('.') else { continue };
            let (Some(role), Ok(number)) = (role_of(role), number.parse()) else { continue };
            let entry = live.entry(&*key).await.map_err(|error| link.refused(&error))?;
            // It may have left meanwhile.
            if let Some(entry) = entry.filter(|entry| entry.operation == Operation::Put)
                && let Ok(sign) = serde_json::from_slice::<Sign>(&entry.value)
            {
                members.push((role, number, sign, SystemTime::from(entry.created)));
            }
        }
        let now = self.server_time(live).await?;
        let mut members: Vec<Member> = members
            .into_iter()
            .map(|(role, number, Sign { pid, host }, at)| Member {
                role,
                number,
                pid,
                host,
                quiet: now.duration_since(at).unwrap_or_default(),
            })
            .collect();
        members.sort_by_key(|member| (member.role == Role::Consumer, member.number));
        Ok(members)
    }

    /// The time by the server's clock.
    async fn server_time(&self, live: &Store) -> Result<SystemTime, Error> {
        #[derive(Deserialize)]
        struct Answer {
            ts: Option<String>,
        }
        let link = &self.link;
        let subject = format!("STREAM.INFO.{}", live.stream_name);
        let answer: Answer = link.jetstream.request(subject, &()).await.map_err(|e| link.refused(&e))?;
        if let Some(time) = answer.ts.and_then(|text| humantime::parse_rfc3339(&text).ok()) {
            return Ok(time);
        }
        // Older servers (2.9) do not say it: this process writes a key, and reads when that was.
        let own = format!("observer.{:032x}", fastrand::u128(..));
        live.put(&own, "".into()).await.map_err(|error| link.refused(&error))?;
        let entry = live.entry(&own).await.map_err(|error| link.refused(&error))?;
        // If this is lost, the server forgets the key after an hour.
        let _ = live.stream.purge().filter(format!("{}{own}", live.prefix)).await;
        entry.map(|entry| SystemTime::from(entry.created)).ok_or_else(|| link.silent())
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

fn role_of(name: &str) -> Option<Role> {
    [Role::Producer, Role::Consumer].into_iter().find(|role| role.to_string() == name)
}
