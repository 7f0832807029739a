//! Finds and makes streams. A stream that this program can use has the settings of a bounded buffer: items stay until they
//! are acknowledged, and a full stream refuses further ones. Servers ignore settings that they do not know, so all are
//! read back.

use std::time::Duration;

use async_nats::jetstream::consumer::pull::Config as ConsumerConfig;
use async_nats::jetstream::consumer::{
    AckPolicy, Config as AnyConsumer, DeliverPolicy, PriorityPolicy, ReplayPolicy,
};
use async_nats::jetstream::context::ConsumerInfoErrorKind;
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, Info, PersistenceMode, RetentionPolicy, StorageType,
};

use super::link::Link;
use super::state::{Buckets, Record};
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

/// Finds a stream, and makes its consumer if that is missing. `None`: there is none of this name.
pub async fn find(link: &Link, name: &StreamName) -> Result<Option<Found>, Error> {
    let found = match find_parts(link, name).await {
        Ok(Some((buckets, record, info))) => {
            consumer(link, name).await.map(|ack_wait| Some(found(buckets, record, &info, ack_wait)))
        }
        Ok(None) => Ok(None),
        Err(error) => Err(error),
    };
    none_if_removed(found)
}

/// Finds a stream, and makes nothing. `None`: there is none of this name.
pub async fn find_as_it_is(link: &Link, name: &StreamName) -> Result<Option<Found>, Error> {
    none_if_removed(find_unchanged(link, name).await)
}

async fn find_unchanged(link: &Link, name: &StreamName) -> Result<Option<Found>, Error> {
    let Some((buckets, record, info)) = find_parts(link, name).await? else { return Ok(None) };
    let stream = link.jetstream.get_stream_no_info(name.stream()).await.map_err(|e| link.refused(&e))?;
    let ack_wait = match stream.consumer_info(CONSUMER).await {
        Ok(info) => info.config.ack_wait,
        Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => {
            let why =
                format!("it has no consumer {CONSUMER:?}; expected one, which producers and consumers make");
            return Err(Error::Incompatible { name: name.as_str().into(), why: why.into() });
        }
        Err(error) => return Err(link.refused(&error)),
    };
    Ok(Some(found(buckets, record, &info, ack_wait)))
}

/// A part was missing because the stream is being removed.
fn none_if_removed<T>(found: Result<Option<T>, Error>) -> Result<Option<T>, Error> {
    match found {
        Err(Error::NotFound(_)) => Ok(None),
        found => found,
    }
}

/// What belongs to a stream but its consumer.
async fn find_parts(link: &Link, name: &StreamName) -> Result<Option<(Buckets, Record, Info)>, Error> {
    let info = match link.jetstream.get_stream(name.stream()).await {
        Ok(stream) => stream.cached_info().clone(),
        Err(error) => return Err(link.refused(&error)),
    };
    check(name, &info)?;
    let Some(buckets) = Buckets::find(link, name.stream()).await? else { return Ok(None) };
    let Some((record, _)) = buckets.read(link).await? else { return Ok(None) };
    Ok(Some((buckets, record, info)))
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
    record: &Record,
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
    buckets.begin(record).await?;
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
    let wrong = of_items(&info.config, &subject(name.stream())).or_else(|| of_storage(&info.config));
    refuse(name, wrong)
}

fn refuse(name: &StreamName, wrong: Option<String>) -> Result<(), Error> {
    match wrong {
        Some(why) => Err(Error::Incompatible { name: name.as_str().into(), why: why.into() }),
        None => Ok(()),
    }
}

/// The first of the claims that holds, with its text.
fn first<const N: usize>(claims: [(bool, String); N]) -> Option<String> {
    claims.into_iter().find_map(|(holds, text)| holds.then_some(text))
}

/// Which items it takes and how long they stay.
fn of_items(config: &Config, subject: &String) -> Option<String> {
    let Config { retention, discard, subjects, max_messages_per_subject: per_subject, .. } = config;
    let others = config.mirror.is_some() || config.sources.as_ref().is_some_and(|all| !all.is_empty());
    first([
        (others, "its items come from other streams (mirror, sources); expected none of these".into()),
        (
            *retention != RetentionPolicy::WorkQueue,
            format!("its retention is {retention:?}; expected WorkQueue"),
        ),
        (*discard != DiscardPolicy::New, format!("its discard policy is {discard:?}; expected New")),
        (config.max_messages < 1, "it has no limit of messages (max_msgs); expected one".into()),
        (
            *per_subject > 0,
            format!(
                "it has a limit of {per_subject} messages for each subject (max_msgs_per_subject); expected none"
            ),
        ),
        (
            config.max_bytes > 0,
            format!("it has a limit of {} bytes (max_bytes); expected none", config.max_bytes),
        ),
        (!config.max_age.is_zero(), "it drops old messages (max_age); expected none".into()),
        (
            config.no_ack || config.sealed,
            "it acknowledges no message (no_ack, sealed); expected the contrary".into(),
        ),
        (!subjects.contains(subject), format!("its subjects are {subjects:?}; expected {subject:?}")),
    ])
}

/// What it does with the items that it takes.
fn of_storage(config: &Config) -> Option<String> {
    let Config { storage, duplicate_window, .. } = config;
    let expected = humantime::format_duration(REMEMBERED);
    first([
        (*storage != StorageType::File, format!("its storage is {storage:?}; expected File")),
        (
            config.persist_mode == Some(PersistenceMode::Async),
            "it acknowledges messages before it writes them (persist_mode); expected after".into(),
        ),
        (
            *duplicate_window < REMEMBERED,
            format!(
                "it remembers the ids of messages for {} (duplicate_window); expected at least {expected}",
                humantime::format_duration(*duplicate_window)
            ),
        ),
        (
            config.republish.is_some() || config.subject_transform.is_some(),
            "it sends its messages on, or changes their subjects (republish, subject_transform); expected neither"
                .into(),
        ),
        (
            config.allow_rollup || config.allow_message_ttl,
            "messages can remove others, or expire (allow_rollup_hdrs, allow_msg_ttl); expected neither".into(),
        ),
    ])
}

/// Makes the shared consumer if it is missing, and checks it. Returns its `ack_wait`.
pub async fn consumer(link: &Link, name: &StreamName) -> Result<Duration, Error> {
    let stream = link.jetstream.get_stream(name.stream()).await.map_err(|error| link.refused(&error))?;
    let config = match stream.consumer_info(CONSUMER).await {
        Ok(info) => info.config,
        Err(error) if error.kind() != ConsumerInfoErrorKind::NotFound => return Err(link.refused(&error)),
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
    refuse(name, of_deliveries(&config).or_else(|| of_requests(&config)))?;
    Ok(config.ack_wait)
}

/// Which items the consumer delivers, and when again.
fn of_deliveries(config: &AnyConsumer) -> Option<String> {
    let AnyConsumer { ack_policy, deliver_policy, max_deliver, filter_subject, filter_subjects, .. } = config;
    first([
        (
            *ack_policy != AckPolicy::Explicit,
            format!("its consumer's ack policy is {ack_policy:?}; expected Explicit"),
        ),
        (
            *max_deliver > 0,
            format!("its consumer gives up after {max_deliver} deliveries (max_deliver); expected none"),
        ),
        (
            *deliver_policy != DeliverPolicy::All,
            format!("its consumer's deliver policy is {deliver_policy:?}; expected All"),
        ),
        (
            !filter_subject.is_empty() || !filter_subjects.is_empty(),
            "its consumer delivers some subjects only (filter_subject); expected no filter".into(),
        ),
        (
            config.headers_only,
            "its consumer delivers no bodies (headers_only); expected whole messages".into(),
        ),
        (
            !config.backoff.is_empty(),
            "its consumer has other times than ack_wait (backoff); expected none".into(),
        ),
        (config.memory_storage, "its consumer is in memory (mem_storage); expected in files".into()),
    ])
}

/// What processes may ask the consumer for.
fn of_requests(config: &AnyConsumer) -> Option<String> {
    let AnyConsumer { max_ack_pending, max_batch, max_bytes, max_expires, .. } = config;
    first([
        (
            config.deliver_subject.is_some(),
            "its consumer sends by itself (deliver_subject); expected one that is asked".into(),
        ),
        (
            *max_ack_pending > 0,
            format!(
                "its consumer lets {max_ack_pending} messages be held (max_ack_pending); expected no limit"
            ),
        ),
        (
            *max_batch > 0 || *max_bytes > 0 || !max_expires.is_zero(),
            "its consumer limits requests (max_batch, max_bytes, max_expires); expected no limits".into(),
        ),
        (
            config.replay_policy != ReplayPolicy::Instant || config.rate_limit > 0,
            "its consumer slows deliveries down (replay_policy, rate_limit_bps); expected neither".into(),
        ),
        (
            config.priority_policy != PriorityPolicy::None,
            "its consumer has groups (priority_policy); expected none".into(),
        ),
    ])
}
