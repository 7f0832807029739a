//! The participants of a stream: each writes a sign of life into a bucket, and watches those of the others.
//!
//! No clocks are compared, neither with other machines nor with the server. A participant counts as dead when this process
//! has seen several of its own signs come back through the server with none of the other's in between. So while the
//! server or the connection is down, and while this process is stopped, no one grows old.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::jetstream::kv::{Entry, Operation, Watch, WatcherError};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use super::link::{Link, is_said};
use super::state::{Buckets, NOT_FOUND, Record, SCHEMA, STATE};
use crate::cli::transport::Peer;
use crate::{Error, Liveness, Role};

/// The time between two signs of life.
pub const BEAT: Duration = Duration::from_secs(2);
/// Own signs without one of another participant, after which that one counts as dead.
pub const DEAD_AFTER: u32 = 5;
/// Own signs between the count of a participant that enters and its first sign, at most.
const ENTERING: u32 = 2;
/// The pause before a watch is tried again.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a participant that leaves waits for the server.
const LEAVING: Duration = Duration::from_secs(2);
/// The same, if the server did not answer before.
const LEAVING_SILENT: Duration = Duration::from_millis(500);
/// How long the server must deny a stream that is gone, and how long a denial says something about the next one.
pub const DENIED_FOR: Duration = Duration::from_secs(1);
const DENIAL_LASTS: Duration = Duration::from_secs(10);
/// How long to wait for the first view of the others.
const FIRST_VIEW: Duration = Duration::from_secs(5);

/// What a participant says about itself.
#[derive(Debug, Serialize, Deserialize)]
pub struct Sign {
    pub pid: u32,
    pub host: String,
}

/// What is known about one.
#[derive(Debug, Clone)]
pub struct Member {
    pub role: Role,
    pub pid: u32,
    pub host: String,
    /// Own signs since its last one.
    quiet: u32,
}

impl Member {
    pub fn is_alive(&self) -> bool {
        self.quiet < DEAD_AFTER
    }
}

/// What this process knows about the stream, as the server told it.
#[derive(Debug, Default)]
pub struct View {
    pub record: Option<Record>,
    /// By their keys.
    pub members: HashMap<String, Member>,
    /// Own signs during which no live producer, and no live consumer, was known.
    alone: [u32; 2],
    /// The record cannot be read.
    pub is_damaged: bool,
    /// The stream was removed, or replaced by another of the same name.
    pub is_removed: bool,
    /// What was there at the beginning has arrived.
    is_current: [bool; 2],
}

fn index(role: Role) -> usize {
    usize::from(role == Role::Consumer)
}

fn prefix(role: Role) -> &'static str {
    match role {
        Role::Producer => "producer.",
        Role::Consumer => "consumer.",
    }
}

impl View {
    /// Whether some came, and all of them have left or died.
    pub fn are_gone(&self, role: Role) -> bool {
        let (came, left) = self.record.as_ref().map_or((0, 0), |record| record.came_and_left(role));
        came > 0 && (left >= came || self.alone[index(role)] >= DEAD_AFTER)
    }

    /// Those of a role, by number.
    pub fn of(&self, role: Role) -> Vec<(&str, &Member)> {
        let mut all: Vec<_> = self
            .members
            .iter()
            .filter(|(_, member)| member.role == role)
            .map(|(key, member)| (key.as_str(), member))
            .collect();
        all.sort_by_key(|(key, _)| key.rsplit('.').next().and_then(|number| number.parse::<u64>().ok()));
        all
    }

    pub fn peers(&self, role: Role) -> Vec<Peer> {
        let liveness = |member: &Member| if member.is_alive() { Liveness::Alive } else { Liveness::Dead };
        self.of(role).into_iter().map(|(_, one)| Peer { pid: one.pid, liveness: liveness(one) }).collect()
    }

    /// Notes an entry of the bucket with the signs of life.
    fn note_sign(&mut self, entry: &Entry, own: &str) {
        let role = match entry.key.split('.').next() {
            Some("producer") => Role::Producer,
            Some("consumer") => Role::Consumer,
            _ => return,
        };
        if entry.operation != Operation::Put {
            self.members.remove(&entry.key);
            return;
        }
        let sign = serde_json::from_slice(&entry.value).unwrap_or(Sign { pid: 0, host: String::new() });
        let member = Member { role, pid: sign.pid, host: sign.host, quiet: 0 };
        self.members.insert(entry.key.clone(), member);
        self.alone[index(role)] = 0;
        if entry.key == own {
            self.note_own_sign(own);
        }
    }

    /// The others' signs of life up to now have arrived before this own one.
    fn note_own_sign(&mut self, own: &str) {
        for (key, member) in &mut self.members {
            if key != own {
                member.quiet = member.quiet.saturating_add(1);
            }
        }
        for role in [Role::Producer, Role::Consumer] {
            let is_known = self.members.values().any(|member| member.role == role && member.is_alive());
            let all_died = !is_known && self.members.values().any(|member| member.role == role);
            let alone = &mut self.alone[index(role)];
            // One that enters shows itself a moment after it was counted.
            let least = if all_died { DEAD_AFTER - ENTERING } else { 0 };
            *alone = if is_known { 0 } else { (*alone).max(least).saturating_add(1) };
        }
    }

    /// Notes a change of the record.
    fn note_record(&mut self, entry: &Entry, id: &str) {
        if entry.operation != Operation::Put {
            self.is_removed = true;
            return;
        }
        let record = serde_json::from_slice::<Record>(&entry.value).ok();
        let Some(record) = record.filter(|record| record.schema == SCHEMA) else {
            self.is_damaged = true;
            return;
        };
        self.is_damaged = false;
        if record.id != id {
            self.is_removed = true;
            return;
        }
        for role in [Role::Producer, Role::Consumer] {
            let came = |record: &Record| record.came_and_left(role).0;
            if self.record.as_ref().map(came) != Some(came(&record)) {
                self.alone[index(role)] = 0;
            }
        }
        self.is_removed |= record.removed;
        self.record = Some(record);
    }
}

/// A view that threads share.
pub type SharedView = Arc<Mutex<View>>;

pub fn locked(view: &SharedView) -> MutexGuard<'_, View> {
    // No invariant spans two statements that can panic.
    view.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A participant of a stream. Dropping it takes it out.
pub struct Membership {
    pub number: u64,
    /// The generation that it came in.
    generation: Arc<Mutex<u64>>,
    role: Role,
    key: String,
    link: Link,
    buckets: Buckets,
    pub view: SharedView,
    task: JoinHandle<()>,
}

impl Membership {
    /// Enters the stream with this id, and waits for the first view of the others. `None`: it does not exist any more.
    pub fn enter(
        link: &Link,
        buckets: &Buckets,
        stream: &str,
        role: Role,
        limit: Duration,
    ) -> Result<Option<Self>, Error> {
        let entered = buckets.change(link, |record| Some(record.enter(role)));
        let entered = link.answer_within(limit, entered).flatten()?;
        let Some((record, Some(number))) = entered else { return Ok(None) };
        let key = format!("{}{number}", prefix(role));
        let generation = Arc::new(Mutex::new(record.generation));
        let view = SharedView::default();
        locked(&view).record = Some(record.clone());
        let keeper = Keeper {
            link: link.clone(),
            buckets: buckets.clone(),
            stream: stream.into(),
            id: record.id,
            role,
            key: key.clone(),
            generation: Arc::clone(&generation),
            view: Arc::clone(&view),
        };
        let task = link.spawn(keeper.keep());
        let is_current = async {
            while locked(&view).is_current != [true; 2] {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        // Without it, others count as absent until their next sign.
        let _ = link.wait(FIRST_VIEW.min(limit), Duration::ZERO, is_current);
        let (link, buckets) = (link.clone(), buckets.clone());
        Ok(Some(Membership { number, generation, role, key, link, buckets, view, task }))
    }

    pub fn generation(&self) -> u64 {
        *self.generation.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.task.abort();
        if locked(&self.view).is_removed || !self.link.is_up() {
            return;
        }
        let (role, generation) = (self.role, self.generation());
        let leave = async {
            // If this fails, the others see no more signs of life.
            let _ = self.buckets.live.delete(&self.key).await;
            let _ = self
                .buckets
                .change(&self.link, |record| {
                    record.leave(role, generation);
                    Some(())
                })
                .await;
        };
        let limit = if self.link.is_silent() { LEAVING_SILENT } else { LEAVING };
        let _ = self.link.wait(limit, limit, leave);
    }
}

/// Writes the signs of life, and follows those of the others.
struct Keeper {
    link: Link,
    buckets: Buckets,
    stream: String,
    id: String,
    role: Role,
    key: String,
    generation: Arc<Mutex<u64>>,
    view: SharedView,
}

impl Keeper {
    async fn keep(self) {
        let sign = Sign { pid: std::process::id(), host: host() };
        let sign = serde_json::to_vec(&sign).unwrap_or_default();
        tokio::join!(self.beat(sign), self.watch_signs(), self.watch_record());
    }

    async fn beat(&self, sign: Vec<u8>) {
        let mut denials = Denials::default();
        loop {
            let is_written = self.buckets.live.put(&self.key, sign.clone().into()).await.is_ok();
            self.link.note_answer(is_written);
            if !is_written {
                self.check_removal(&mut denials).await;
            }
            if locked(&self.view).is_removed {
                return;
            }
            self.enter_again().await;
            tokio::time::sleep(BEAT).await;
        }
    }

    /// Notes whether the stream was removed. A server that does not answer says nothing about that.
    async fn check_removal(&self, denials: &mut Denials) {
        let is_denied = is_denied(&self.link, &self.stream).await;
        if self.link.is_up() && denials.note(is_denied, Instant::now()) {
            locked(&self.view).is_removed = true;
        }
    }

    /// A producer that others counted as dead, so that the stream ended, counts again.
    async fn enter_again(&self) {
        let own = *self.generation.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = locked(&self.view).record.as_ref().map(|record| record.generation);
        if self.role != Role::Producer || seen.is_none_or(|seen| seen == own) {
            return;
        }
        let change = |record: &mut Record| {
            record.producers += 1;
            Some(record.generation)
        };
        if let Ok(Some((_, Some(generation)))) = self.buckets.change(&self.link, change).await {
            *self.generation.lock().unwrap_or_else(PoisonError::into_inner) = generation;
        }
    }

    async fn watch_signs(&self) {
        let note = |view: &mut View, entry: &Entry| view.note_sign(entry, &self.key);
        self.follow(0, || self.buckets.live.watch_with_history(">"), note).await;
    }

    async fn watch_record(&self) {
        let note = |view: &mut View, entry: &Entry| view.note_record(entry, &self.id);
        self.follow(1, || self.buckets.state.watch_with_history(STATE), note).await;
    }

    /// Notes the entries of a watch, which is begun again after each failure.
    async fn follow<F, E>(&self, which: usize, begin: impl Fn() -> F, note: impl Fn(&mut View, &Entry))
    where
        F: Future<Output = Result<Watch, E>>,
    {
        loop {
            if let Ok(mut watch) = begin().await {
                while let Some(Ok::<Entry, WatcherError>(entry)) = watch.next().await {
                    let mut view = locked(&self.view);
                    note(&mut view, &entry);
                    view.is_current[which] |= entry.seen_current;
                    if view.is_removed {
                        return;
                    }
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Whether the server says that there is no such stream.
pub async fn is_denied(link: &Link, stream: &str) -> bool {
    matches!(link.jetstream.get_stream(stream).await, Err(error) if is_said(&error, NOT_FOUND))
}

/// The answers of a server that denies a stream: the first and the last.
#[derive(Debug, Default)]
pub struct Denials(Option<(Instant, Instant)>);

impl Denials {
    /// Notes an answer. Returns whether the stream is gone.
    pub fn note(&mut self, is_denied: bool, now: Instant) -> bool {
        if !is_denied {
            self.0 = None;
            return false;
        }
        let first = match self.0 {
            Some((first, last)) if now.duration_since(last) < DENIAL_LASTS => first,
            _ => now,
        };
        self.0 = Some((first, now));
        now.duration_since(first) >= DENIED_FOR
    }
}

/// The name of this machine.
fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, operation: Operation) -> Entry {
        Entry {
            bucket: "b".into(),
            key: key.into(),
            value: serde_json::to_vec(&Sign { pid: 7, host: "h".into() }).unwrap().into(),
            revision: 1,
            delta: 0,
            created: std::time::SystemTime::UNIX_EPOCH.into(),
            operation,
            seen_current: true,
        }
    }

    #[test]
    fn a_stream_is_gone_when_the_server_denies_it_for_some_time() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut denials = Denials::default();
        assert!(!denials.note(true, start), "the first");
        assert!(!denials.note(true, start + second / 2));
        assert!(denials.note(true, start + second));
        assert!(!denials.note(false, start + second), "it is there");
        assert!(!denials.note(true, start + 2 * second), "the first again");
        assert!(!denials.note(true, start + 60 * second), "the one before says nothing any more");
    }

    fn view(producers: u64) -> View {
        let record = Record { producers, ..Record::new(1) };
        View { record: Some(record), ..View::default() }
    }

    #[test]
    fn a_participant_is_dead_after_several_own_signs_without_one_of_its_own() {
        let mut view = view(1);
        view.note_sign(&entry("producer.0", Operation::Put), "consumer.0");
        for _ in 1..DEAD_AFTER {
            view.note_sign(&entry("consumer.0", Operation::Put), "consumer.0");
            assert!(!view.are_gone(Role::Producer));
        }
        view.note_sign(&entry("producer.0", Operation::Put), "consumer.0");
        for _ in 0..DEAD_AFTER {
            assert_eq!(view.peers(Role::Producer)[0].liveness, Liveness::Alive);
            view.note_sign(&entry("consumer.0", Operation::Put), "consumer.0");
        }
        assert_eq!(view.peers(Role::Producer)[0].liveness, Liveness::Dead);
        assert!(!view.are_gone(Role::Producer), "its death is new");
        for _ in 1..ENTERING {
            view.note_sign(&entry("consumer.0", Operation::Put), "consumer.0");
        }
        assert!(view.are_gone(Role::Producer));
        assert_eq!(view.peers(Role::Consumer)[0].liveness, Liveness::Alive, "its own signs");
    }

    #[test]
    fn signs_of_others_do_not_age_anyone() {
        let mut view = view(2);
        view.note_sign(&entry("producer.0", Operation::Put), "consumer.0");
        for _ in 0..3 * DEAD_AFTER {
            view.note_sign(&entry("producer.1", Operation::Put), "consumer.0");
        }
        assert!(view.peers(Role::Producer).iter().all(|peer| peer.liveness == Liveness::Alive));
    }

    #[test]
    fn all_that_came_have_left() {
        let mut view = view(2);
        assert!(!view.are_gone(Role::Producer));
        view.record.as_mut().unwrap().leave(Role::Producer, 0);
        assert!(!view.are_gone(Role::Producer));
        view.record.as_mut().unwrap().leave(Role::Producer, 0);
        assert!(view.are_gone(Role::Producer));
        view.record.as_mut().unwrap().enter(Role::Producer);
        assert!(!view.are_gone(Role::Producer));
        view.record.as_mut().unwrap().begin_again();
        assert!(!view.are_gone(Role::Producer), "none has come since the end");
        view.record.as_mut().unwrap().leave(Role::Producer, 0);
        assert!(view.are_gone(Role::Producer), "one that was wrongly counted as dead leaves");
    }
}
