//! Finds and makes streams. A stream that this program can use has the settings of a bounded buffer: items stay until they
//! are acknowledged, and a full stream refuses further ones. Servers ignore settings that they do not know, so all are
//! read back.

use std::time::Duration;

use async_nats::jetstream::consumer::pull::Config as ConsumerConfig;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy};
use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, RetentionPolicy, StorageType};

use super::link::{Link, code_of};
use super::state::{Buckets, NOT_FOUND, Record};
use crate::Error;
use crate::cli::common::stream_name::{Settings, StreamName};

/// The consumer of the server that all consumers of this program share.
pub const CONSUMER: &str = "workers";
/// Before the name of a stream in the subject of its items.
const SUBJECT: &str = "ringpipe.";
/// How long the server remembers the ids of items, so that one that is sent again is stored once.
const REMEMBERED: Duration = Duration::from_secs(120);
/// Processes that wait for items at the same time.
const MOST_WAITING: i64 = 16_384;
/// Deliveries of an item. An item at a limit would keep its place for ever.
const MOST_DELIVERIES: i64 = -1;

/// The subject of a stream's items.
pub fn subject(stream: &str) -> String {
    format!("{SUBJECT}{stream}")
}

/// A stream that exists.
#[derive(Clone)]
pub struct Found {
    pub buckets: Buckets,
    pub record: Record,
    /// Items that it takes.
    pub capacity: u64,
    /// The longest message that it takes, if that is set.
    pub most_bytes: Option<u64>,
    /// How long the server waits for a sign of the process that holds an item.
    pub ack_wait: Duration,
    pub replicas: usize,
}

/// Finds a stream. `None`: there is none of this name.
pub async fn find(link: &Link, name: &StreamName) -> Result<Option<Found>, Error> {
    let info = match link.jetstream.get_stream(name.stream()).await {
        Ok(stream) => stream.cached_info().clone(),
        Err(error) if code_of(&error).is_some_and(|(code, _)| code == NOT_FOUND) => return Ok(None),
        Err(error) => return Err(link.refused(&error)),
    };
    check(name, &info)?;
    let Some(buckets) = Buckets::find(link, name.stream()).await? else { return Ok(None) };
    let Some((record, _)) = buckets.read(link).await? else { return Ok(None) };
    let ack_wait = consumer(link, name).await?;
    Ok(Some(found(buckets, record, &info, ack_wait)))
}

fn found(buckets: Buckets, record: Record, info: &Info, ack_wait: Duration) -> Found {
    Found {
        buckets,
        record,
        capacity: u64::try_from(info.config.max_messages).unwrap_or_default(),
        most_bytes: u64::try_from(info.config.max_message_size).ok().filter(|bytes| *bytes > 0),
        ack_wait,
        replicas: info.config.num_replicas,
    }
}

/// Makes a stream, or what is missing of it. Also returns whether this process made it.
pub async fn make(
    link: &Link,
    name: &StreamName,
    capacity: u64,
    expected: u64,
) -> Result<(Found, bool), Error> {
    let Settings { replicas, .. } = name.settings;
    let buckets = Buckets::make(link, name.stream(), replicas).await?;
    let made = link.jetstream.create_stream(config(name, capacity)).await;
    let info = match made {
        Ok(stream) => stream.cached_info().clone(),
        // Another process has made it, with other settings.
        Err(error) => match link.jetstream.get_stream(name.stream()).await {
            Ok(stream) => stream.cached_info().clone(),
            Err(_) => return Err(link.refused(&error)),
        },
    };
    check(name, &info)?;
    let ack_wait = consumer(link, name).await?;
    let record = Record::new(expected);
    buckets.begin(&record).await?;
    match buckets.read(link).await? {
        Some((found_record, _)) => {
            let is_made = found_record.id == record.id;
            Ok((found(buckets, found_record, &info, ack_wait), is_made))
        }
        None => Err(link.silent()),
    }
}

fn config(name: &StreamName, capacity: u64) -> Config {
    Config {
        name: name.stream().into(),
        subjects: vec![subject(name.stream())],
        retention: RetentionPolicy::WorkQueue,
        discard: DiscardPolicy::New,
        max_messages: i64::try_from(capacity).unwrap_or(i64::MAX),
        max_messages_per_subject: -1,
        // A limit of bytes that discards new messages has lost acknowledged ones (server 2.9.10).
        max_bytes: -1,
        max_consumers: -1,
        storage: StorageType::File,
        num_replicas: name.settings.replicas,
        duplicate_window: REMEMBERED,
        description: Some("made by ringpipe".into()),
        ..Config::default()
    }
}

/// Checks the settings that the promises depend on.
fn check(name: &StreamName, info: &Info) -> Result<(), Error> {
    let Config { retention, discard, max_messages, max_bytes, max_age, no_ack, subjects, sealed, .. } =
        &info.config;
    let subject = subject(name.stream());
    let why = if *retention != RetentionPolicy::WorkQueue {
        format!("its retention is {retention:?}; expected WorkQueue")
    } else if *discard != DiscardPolicy::New {
        format!("its discard policy is {discard:?}; expected New")
    } else if *max_messages < 1 {
        "it has no limit of messages (max_msgs); expected one".into()
    } else if *max_bytes > 0 {
        format!("it has a limit of {max_bytes} bytes (max_bytes); expected none")
    } else if !max_age.is_zero() {
        "it drops old messages (max_age); expected none".into()
    } else if *no_ack || *sealed {
        "it acknowledges no message (no_ack, sealed); expected the contrary".into()
    } else if !subjects.contains(&subject) {
        format!("its subjects are {subjects:?}; expected {subject:?}")
    } else {
        return Ok(());
    };
    Err(Error::Incompatible { name: name.as_str().into(), why: why.into() })
}

/// Makes the shared consumer if it is missing, and checks it. Returns its `ack_wait`.
pub async fn consumer(link: &Link, name: &StreamName) -> Result<Duration, Error> {
    let stream = link.jetstream.get_stream(name.stream()).await.map_err(|error| link.refused(&error))?;
    let config = match stream.consumer_info(CONSUMER).await {
        Ok(info) => info.config,
        Err(_) => {
            let wanted = ConsumerConfig {
                durable_name: Some(CONSUMER.into()),
                deliver_policy: DeliverPolicy::All,
                ack_policy: AckPolicy::Explicit,
                ack_wait: name.settings.ack_wait,
                max_deliver: MOST_DELIVERIES,
                max_ack_pending: -1,
                max_waiting: MOST_WAITING,
                ..ConsumerConfig::default()
            };
            match stream.create_consumer(wanted).await {
                Ok(made) => made.cached_info().config.clone(),
                // Another process has made it.
                Err(error) => stream.consumer_info(CONSUMER).await.map_err(|_| link.refused(&error))?.config,
            }
        }
    };
    let why = if config.ack_policy != AckPolicy::Explicit {
        format!("its consumer's ack policy is {:?}; expected Explicit", config.ack_policy)
    } else if config.max_deliver > 0 {
        format!("its consumer gives up after {} deliveries (max_deliver); expected none", config.max_deliver)
    } else {
        return Ok(config.ack_wait);
    };
    Err(Error::Incompatible { name: name.as_str().into(), why: why.into() })
}
