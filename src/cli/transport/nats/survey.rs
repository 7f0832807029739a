//! Observes streams, for `ringctl`. An observation writes nothing on the server (2.10 and newer), and makes no consumer.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use async_nats::jetstream::kv::Operation;
use futures_util::TryStreamExt;
use serde::Deserialize;

use super::admin::Admin;
use super::link::{Link, may_pass};
use super::members::{BEAT, DEAD_AFTER, Sign};
pub use super::members::{DENIED_FOR, Denials};
use super::state::{Buckets, bucket_names};
use super::stream::{CONSUMER, Found, find_as_it_is};
use super::{Limit, ask, connect};
use crate::cli::common::exit::Failure;
use crate::cli::common::report::Reporter;
use crate::cli::common::stream_name::{ServerName, StreamName};
use crate::cli::transport::Patience;
use crate::{Error, Role, StopFlag};

/// How long one of several streams is asked for.
const EACH: Duration = Duration::from_secs(5);

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

/// The figures that one request tells.
pub struct Counts {
    pub used: u64,
    pub acknowledged: u64,
    pub capacity: u64,
}

/// What an observation found.
pub enum Observed {
    /// The stream.
    Stream(Box<Look>),
    /// There is none, says the server. One that is starting denies streams that exist.
    Missing,
    /// The server does not answer, or not yet.
    Silent,
}

/// A stream that was found, as it is; or why it cannot be used.
pub type Listed = (StreamName, Result<Look, String>);

impl Look {
    pub fn alive(&self, role: Role) -> u64 {
        self.members.iter().filter(|member| member.role == role && member.is_alive()).count() as u64
    }

    /// `open` or `closed`.
    pub fn state(&self) -> &'static str {
        if self.found.record.closed { "closed" } else { "open" }
    }
}

impl Member {
    /// How long a participant may be quiet.
    pub const QUIET: Duration = Duration::from_secs(BEAT.as_secs() * DEAD_AFTER as u64);

    pub fn is_alive(&self) -> bool {
        self.quiet < Self::QUIET
    }
}

/// The streams of a server that this program made, by name. `None`: the stop flag was raised first.
///
/// # Errors
/// The server cannot be reached, refuses the credentials, or does not answer.
pub fn names(
    server: &ServerName,
    report: &Reporter,
    stop: &StopFlag,
) -> Result<Option<Vec<StreamName>>, Failure> {
    Ok(open(server, report, stop)?.map(|(_, names)| names))
}

/// The same, each as it is.
///
/// # Errors
/// As [`names`].
pub fn list(server: &ServerName, report: &Reporter, stop: &StopFlag) -> Result<Option<Vec<Listed>>, Failure> {
    let Some((link, names)) = open(server, report, stop)? else { return Ok(None) };
    let mut found = Vec::new();
    for name in names {
        let admin = Admin { link: link.clone(), name };
        match ask(&link, Limit::of(Patience::Limited(EACH)), || admin.look_now()) {
            // It was removed meanwhile.
            Ok(None) => {}
            Ok(Some(look)) => found.push((admin.name, Ok(look))),
            Err(_) if stop.is_raised() => return Ok(None),
            Err(error) => found.push((admin.name, Err(error.to_string()))),
        }
    }
    Ok(Some(found))
}

fn open(
    server: &ServerName,
    report: &Reporter,
    stop: &StopFlag,
) -> Result<Option<(Link, Vec<StreamName>)>, Failure> {
    let Some(link) = connect(server, Patience::None, report, stop)? else { return Ok(None) };
    let all = ask(&link, Limit::of(Patience::None), || async {
        let names = link.jetstream.stream_names().try_collect::<BTreeSet<String>>().await;
        names.map_err(|error| link.refused(&error))
    });
    let all = match all {
        Err(_) if stop.is_raised() => return Ok(None),
        all => all.map_err(|error| Failure::of_ring(server.as_str(), &error))?,
    };
    let is_own = |stream: &&String| all.contains(&format!("KV_{}", bucket_names(stream)[0]));
    let names = all.iter().filter(is_own).filter_map(|stream| server.stream(stream)).collect();
    Ok(Some((link, names)))
}

impl Admin {
    /// The stream. `None`: there is none.
    ///
    /// # Errors
    /// The server does not answer, or has another kind of stream of this name.
    pub fn look(&self) -> Result<Option<Look>, Failure> {
        ask(&self.link, Limit::of(Patience::None), || self.look_now()).map_err(|error| self.failed(&error))
    }

    /// The stream, if the server tells it within `limit`.
    ///
    /// # Errors
    /// The server has another kind of stream of this name.
    pub fn observe(&self, limit: Duration) -> Result<Observed, Failure> {
        match ask(&self.link, Limit::of(Patience::Limited(limit)), || self.look_now()) {
            Ok(Some(look)) => Ok(Observed::Stream(Box::new(look))),
            Ok(None) => Ok(Observed::Missing),
            Err(error) if may_pass(&error) || matches!(error, Error::Interrupted) => Ok(Observed::Silent),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// What one request tells within `limit`. `None`: no answer, or no such stream.
    ///
    /// # Errors
    /// The server refuses to tell it.
    pub fn counts(&self, limit: Duration) -> Result<Option<Counts>, Failure> {
        self.within(limit, async {
            let stream = self.link.jetstream.get_stream(self.name.stream()).await;
            let info = stream.map_err(|error| self.link.refused(&error))?.cached_info().clone();
            Ok(Some(Counts {
                used: info.state.messages,
                acknowledged: info.state.last_sequence.saturating_sub(info.state.messages),
                capacity: u64::try_from(info.config.max_messages).unwrap_or_default(),
            }))
        })
    }

    /// The ids of its participants' processes, on whatever machines, within `limit`. `None` as for [`counts`](Self::counts).
    ///
    /// # Errors
    /// The server refuses to tell them.
    pub fn processes(&self, limit: Duration) -> Result<Option<Vec<u32>>, Failure> {
        self.within(limit, async {
            let Some(buckets) = Buckets::find(&self.link, self.name.stream()).await? else { return Ok(None) };
            let members = self.members(&buckets).await?;
            Ok(Some(members.iter().map(|member| member.pid).collect()))
        })
    }

    fn within<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<Option<T>, Error>>,
    ) -> Result<Option<T>, Failure> {
        match self.link.answer_within(limit, work).flatten() {
            Err(Error::NotFound(_) | Error::Interrupted) => Ok(None),
            Err(error) if may_pass(&error) => Ok(None),
            told => told.map_err(|error| self.failed(&error)),
        }
    }

    async fn look_now(&self) -> Result<Option<Look>, Error> {
        match self.look_at_all().await {
            // It was removed between two requests.
            Err(Error::NotFound(_)) => Ok(None),
            Ok(Some(look)) if look.found.record.removed => Ok(None),
            look => look,
        }
    }

    async fn look_at_all(&self) -> Result<Option<Look>, Error> {
        let link = &self.link;
        let Some(found) = find_as_it_is(link, &self.name).await? else { return Ok(None) };
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
        let (keys, now) = self.keys_and_time(buckets).await?;
        let mut signs = Vec::new();
        for (role, number, key) in keys {
            let entry = live.entry(&*key).await.map_err(|error| link.refused(&error))?;
            // It may have left meanwhile.
            if let Some(entry) = entry.filter(|entry| entry.operation == Operation::Put)
                && let Ok(sign) = serde_json::from_slice::<Sign>(&entry.value)
            {
                signs.push((role, number, sign, SystemTime::from(entry.created)));
            }
        }
        let now = match now {
            Some(now) => now,
            None => self.time_of_a_key(buckets).await?,
        };
        let mut members: Vec<Member> = signs
            .into_iter()
            .map(|(role, number, Sign { pid, host }, at)| {
                // A sign that came since then is new.
                let quiet = now.duration_since(at).unwrap_or_default();
                Member { role, number, pid, host, quiet }
            })
            .collect();
        members.sort_by_key(|member| (member.role == Role::Consumer, member.number));
        Ok(members)
    }

    /// The keys of participants, and the time by the server's clock if it says that.
    async fn keys_and_time(
        &self,
        buckets: &Buckets,
    ) -> Result<(Vec<(Role, u64, String)>, Option<SystemTime>), Error> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            error: Option<async_nats::jetstream::Error>,
            #[serde(default)]
            ts: Option<String>,
            #[serde(default)]
            state: State,
        }
        #[derive(Default, Deserialize)]
        struct State {
            /// By subject, with the number of their messages.
            #[serde(default)]
            subjects: std::collections::BTreeMap<String, u64>,
        }
        let (link, live) = (&self.link, &buckets.live);
        let subject = format!("STREAM.INFO.{}", live.stream_name);
        let filter = serde_json::json!({ "subjects_filter": format!("{}>", live.prefix) });
        let answer: Answer = link.jetstream.request(subject, &filter).await.map_err(|e| link.refused(&e))?;
        if let Some(error) = answer.error {
            return Err(link.refused(&error));
        }
        let mut keys = Vec::new();
        for subject in answer.state.subjects.keys() {
            let key = subject.strip_prefix(&live.prefix).unwrap_or(subject);
            let Some((role, number)) = key.split_once('.') else { continue };
            if let (Some(role), Ok(number)) = (role_of(role), number.parse()) {
                keys.push((role, number, key.to_string()));
            }
        }
        Ok((keys, answer.ts.and_then(|text| humantime::parse_rfc3339(&text).ok())))
    }

    /// The time by the clock of a server that does not say it (2.9): this process writes a key, and reads when that was.
    async fn time_of_a_key(&self, buckets: &Buckets) -> Result<SystemTime, Error> {
        let (link, live) = (&self.link, &buckets.live);
        let own = format!("observer.{:032x}", fastrand::u128(..));
        live.put(&own, "".into()).await.map_err(|error| link.refused(&error))?;
        let entry = live.entry(&own).await.map_err(|error| link.refused(&error))?;
        // If this is lost, the server forgets the key after an hour.
        let _ = live.stream.purge().filter(format!("{}{own}", live.prefix)).await;
        entry.map(|entry| SystemTime::from(entry.created)).ok_or_else(|| link.silent())
    }
}

fn role_of(name: &str) -> Option<Role> {
    [Role::Producer, Role::Consumer].into_iter().find(|role| role.to_string() == name)
}
