//! Takes snapshots of a ring and its participants, without changing them.

use std::sync::atomic::Ordering::{Acquire, Relaxed};

use super::{Header, RingObserver};
use crate::handles::Role;
use crate::layout::discipline::Discipline;
use crate::layout::{entry, head};
use crate::membership::Repaired;
use crate::membership::deaths;
use crate::membership::entry::{Activity, role_of};
use crate::membership::memory::sleepers;
use crate::membership::participant::Participant;
use crate::membership::stream_state::StreamState;
use crate::membership::table::numbers;
use crate::protocol::inspect::Seen;
use crate::protocol::memory::Memory;
use crate::protocol::word::{Tag, Word};
use crate::sys::clock;
use crate::sys::fence;
use crate::sys::process::{self, ProcessState};
use crate::sys::segment::Attributes;
use crate::wait::owner_of;
use crate::{Error, Result};

/// A ring at one moment. Its parts were read one after the other, while other processes continued.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Number of slots.
    pub capacity: u64,
    /// Bytes of payload in a slot.
    pub slot_size: u64,
    /// The length in bytes of every item, in a ring of fixed items.
    pub fixed: Option<u64>,
    /// Bytes of the segment.
    pub size: u64,
    /// Slots that are not free.
    pub used_slots: u64,
    /// Items to be received, including those to be delivered again.
    pub ready: u64,
    /// How many `ready` items were delivered before, or were published late.
    pub returned: u64,
    /// How many `ready` items have failed attempts at processing.
    pub failed: u64,
    /// Claims that producers have not published yet.
    pub writing: u64,
    /// The claims that participants hold, oldest first.
    pub held: Vec<Held>,
    /// Age of the oldest item in nanoseconds; only in rings with timestamps.
    pub oldest_age: Option<u64>,
    /// Next position to write.
    pub tail: u64,
    /// Next position to read.
    pub head: u64,
    /// Whether the ring accepts no more items.
    pub closed: bool,
    /// Producers that ever attached.
    pub producers_ever: u64,
    /// Consumers that ever attached.
    pub consumers_ever: u64,
    /// The stream does not end before this many producers have attached.
    pub expected_producers: u32,
    /// The semaphore that consumers sleep on: its value, and how many live consumers report that they sleep.
    pub items_semaphore: (i32, u64),
    /// The semaphore that producers sleep on: its value, and how many live producers report that they sleep.
    pub room_semaphore: (i32, u64),
    /// How producers and consumers wait for each other.
    pub discipline: Discipline,
    /// The mutex of a discipline with turns: the semaphore's value, and the number of the participant that has the
    /// turn.
    pub mutex: (i32, Option<u32>),
    /// Counters of all participants, present and past.
    pub totals: Totals,
    /// How many participants died and were recovered so far, and what was recovered from them: statistics, as the
    /// counters.
    pub recovered: Repaired,
    /// The present participants.
    pub participants: Vec<ParticipantInfo>,
    /// Owner and mode of the segment.
    pub attributes: Attributes,
    /// Process id of the creator.
    pub creator: u32,
    /// When the ring was created, nanoseconds since 1970.
    pub created_at: u64,
}

/// Counters. They are statistics: after a death they may be a little too low.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Totals {
    /// Items sent.
    pub sent: u64,
    /// Items received, each delivery counted.
    pub received: u64,
    /// Items acknowledged.
    pub acknowledged: u64,
    /// Items given back by consumers.
    pub returned: u64,
    /// Items that a producer dropped instead of sending.
    pub dropped_newest: u64,
    /// Items that a producer took out of the ring to make room.
    pub dropped_oldest: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Bytes received.
    pub bytes_received: u64,
}

impl Totals {
    fn read(word: impl Fn(u64) -> u64) -> Self {
        Totals {
            sent: word(0),
            received: word(1),
            acknowledged: word(2),
            returned: word(3),
            dropped_newest: word(4),
            dropped_oldest: word(5),
            bytes_sent: word(6),
            bytes_received: word(7),
        }
    }

    pub(in crate::handles) fn of(participant: &Participant) -> Self {
        // Relaxed: only this participant writes them, and it is the one that reads.
        Self::read(|n| {
            participant.mapping().entry_word(participant.number, entry::COUNTERS + n * 8).load(Relaxed)
        })
    }

    fn add(&mut self, more: &Totals) {
        let sum = |a: &mut u64, b: u64| *a = a.wrapping_add(b);
        sum(&mut self.sent, more.sent);
        sum(&mut self.received, more.received);
        sum(&mut self.acknowledged, more.acknowledged);
        sum(&mut self.returned, more.returned);
        sum(&mut self.dropped_newest, more.dropped_newest);
        sum(&mut self.dropped_oldest, more.dropped_oldest);
        sum(&mut self.bytes_sent, more.bytes_sent);
        sum(&mut self.bytes_received, more.bytes_received);
    }
}

/// What one participant holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Number of the participant.
    pub owner: u32,
    /// First slot.
    pub slot: u64,
    /// Number of slots.
    pub run: u64,
    /// Whether it is being written; otherwise it is being read.
    pub writing: bool,
    /// Deliveries so far, the present one included; 0 while it is being written.
    pub attempt: u8,
    /// Nanoseconds since it was claimed; only in rings with timestamps, and for readers.
    pub since: Option<u64>,
}

/// Whether a participant is alive, according to the kernel; also, for display, whether its process is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Liveness {
    /// It may be alive.
    Alive,
    /// It is alive, and stopped.
    Stopped,
    /// It is certainly dead; what it held is not recovered yet.
    Dead,
}

/// Which process the reader finds under the process id that a participant recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PidNamespace {
    /// The participant's process.
    This,
    /// Another process: the participant is in another PID namespace.
    Other,
    /// No process: the participant is in another PID namespace, or its process has ended and a forked child keeps
    /// its number taken.
    Unseen,
}

/// One participant.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParticipantInfo {
    /// Its number in the table.
    pub number: u32,
    /// Its serial number, which its items carry.
    pub serial: u32,
    /// Producer or consumer.
    pub role: Role,
    /// Its process id, in its own PID namespace.
    pub pid: u32,
    /// What that process id means to the reader; `None` for a dead participant, and where it is unknown.
    pub pid_namespace: Option<PidNamespace>,
    /// Its command name.
    pub command: String,
    /// When it attached, nanoseconds since 1970.
    pub attached_at: u64,
    /// Whether it is alive.
    pub liveness: Liveness,
    /// What it is doing.
    pub activity: Activity,
    /// Its counters.
    pub totals: Totals,
}

impl ParticipantInfo {
    /// Whether it is alive and waits as a participant of this role does. The words that count sleepers also count
    /// participants that were killed asleep.
    fn waits_as(&self, role: Role) -> bool {
        let waits = match role {
            Role::Producer => Activity::WaitingForRoom,
            Role::Consumer => Activity::WaitingForItems,
        };
        self.liveness != Liveness::Dead && self.activity == waits
    }
}

/// An item as observed, without taking it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peeked {
    /// Its producer's serial number, or [`ItemKey::NO_PRODUCER`](crate::ItemKey::NO_PRODUCER).
    pub producer: u32,
    /// Its producer's count, from 0; in a ring of fixed items, the position at which it was sent.
    pub sequence: u64,
    /// Deliveries so far.
    pub attempt: u8,
    /// How many attempts at processing it have failed.
    pub failures: u8,
    /// When it was sent, nanoseconds since 1970; only in rings with timestamps.
    pub sent_at: Option<u64>,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Whether a word lies inside the run that was seen last, as part of a claim or of an item; `until` keeps the end
/// of that run.
fn is_covered(until: &mut Option<u64>, seen: Seen) -> bool {
    let covered = until.is_some_and(|end| (end.wrapping_sub(seen.position) as i64) > 0);
    if !covered {
        *until = (seen.run > 1).then(|| seen.position.wrapping_add(seen.run));
    }
    covered
}

impl RingObserver {
    /// What was recovered from the dead participant with this serial number. `None`: it is alive, it left, or no
    /// process has found its death yet. The ring keeps one mark for each serial number modulo 128: of two deaths
    /// with the same remainder, it keeps the later one.
    pub fn death_of(&self, serial: u32) -> Option<Repaired> {
        deaths::death_of(self.mapping(), serial)
    }

    /// Reads everything. Takes time in proportion to the capacity.
    ///
    /// ```
    /// # let name = format!("doc-snapshot-{}", std::process::id());
    /// # let ring = ringpipe::RingOptions::new().create(&name)?;
    /// ring.producer()?.send(b"seen")?;
    /// let mut consumer = ring.consumer()?;
    /// assert_eq!(ring.peek(10)[0].bytes, b"seen");
    /// let item = consumer.recv()?;
    /// let snapshot = ring.snapshot()?;
    /// assert_eq!((snapshot.ready, snapshot.held.len(), snapshot.participants.len()), (0, 1, 1));
    /// item.ack();
    /// # ring.remove()?;
    /// # Ok::<(), ringpipe::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses to describe the segment; [`Error::Truncated`].
    pub fn snapshot(&self) -> Result<Snapshot> {
        let (mapping, slots) = (self.mapping(), self.observer());
        let geometry = mapping.geometry();
        let stream = StreamState::read(mapping.head_word(head::STREAM_STATE));
        let participants = self.participants();
        // Relaxed, all: for display.
        let word = |offset| mapping.head_word(offset).load(Relaxed);
        let mut totals = Totals::read(|n| word(head::TOTALS + n * 8));
        participants.iter().for_each(|participant| totals.add(&participant.totals));
        let asleep = |role| {
            let waiting = sleepers(mapping, role).signal.waiting.load(Relaxed);
            waiting.min(participants.iter().filter(|one| one.waits_as(role)).count() as u64)
        };
        let mut snapshot = Snapshot {
            capacity: geometry.capacity,
            slot_size: geometry.slot_size,
            fixed: self.fixed(),
            size: geometry.size,
            used_slots: 0,
            ready: 0,
            returned: 0,
            failed: 0,
            writing: 0,
            held: Vec::new(),
            oldest_age: None,
            tail: self.observer().find_tail(),
            head: self.observer().find_head(),
            closed: stream.is_closed(),
            producers_ever: stream.producers(),
            consumers_ever: stream.consumers(),
            expected_producers: geometry.expected_producers,
            items_semaphore: (mapping.semaphore(head::ITEMS_SEMAPHORE).value(), asleep(Role::Consumer)),
            room_semaphore: (mapping.semaphore(head::ROOM_SEMAPHORE).value(), asleep(Role::Producer)),
            discipline: geometry.discipline,
            mutex: (mapping.semaphore(head::MUTEX_SEMAPHORE).value(), owner_of(word(head::MUTEX_OWNER))),
            totals,
            recovered: deaths::totals(mapping),
            participants,
            attributes: mapping.segment().attributes()?,
            creator: self.preamble().creator,
            created_at: self.preamble().created_at,
        };
        let now = clock::realtime_ns();
        let mut covered_until = None;
        slots.survey(|seen| self.account(&mut snapshot, seen, now, &mut covered_until));
        if mapping.segment().is_lost() {
            return Err(Error::Truncated);
        }
        Ok(snapshot)
    }

    fn account(&self, snapshot: &mut Snapshot, seen: Seen, now: u64, covered_until: &mut Option<u64>) {
        if is_covered(covered_until, seen) {
            return;
        }
        snapshot.used_slots += seen.run;
        let tag = seen.word.tag();
        match tag {
            Tag::Ready | Tag::ReadyRow | Tag::PartingRow | Tag::Redeliver => {
                snapshot.ready += 1;
                snapshot.returned += (tag == Tag::Redeliver) as u64;
                let header = Header::read(self.observer(), seen.position, seen.word, seen.run);
                snapshot.failed += (header.failures > 0) as u64;
                let age = header.time.map(|time| now.saturating_sub(time));
                snapshot.oldest_age = snapshot.oldest_age.max(age);
            }
            Tag::Reading | Tag::ReadingRow | Tag::ReadingRows | Tag::Writing | Tag::Late => {
                let writing = matches!(tag, Tag::Writing | Tag::Late);
                snapshot.writing += writing as u64;
                let owner = seen.word.owner();
                // Relaxed: for display.
                let word = |offset| self.mapping().entry_word(owner, offset).load(Relaxed);
                let attached_for = clock::realtime_ns().saturating_sub(word(entry::ATTACHED_AT));
                let since = match writing {
                    true => None,
                    false => held_for(word(entry::HELD_SINCE), clock::coarse_ns(), attached_for),
                };
                let (slot, run, attempt) = (seen.slot, seen.run, seen.word.attempt());
                snapshot.held.push(Held { owner, slot, run, writing, attempt, since });
            }
            _ => {}
        }
    }

    /// The present participants.
    pub fn participants(&self) -> Vec<ParticipantInfo> {
        let mapping = self.mapping();
        numbers(mapping).filter_map(|number| self.participant(number)).collect()
    }

    fn participant(&self, number: u32) -> Option<ParticipantInfo> {
        // Relaxed, all but the first: for display.
        let word = |offset| self.mapping().entry_word(number, offset).load(Relaxed);
        // E11: the other words belong to the present holder of the entry.
        let entry_state = self.mapping().entry_word(number, entry::STATE);
        let before = entry_state.load(Acquire);
        let (role, serial) = role_of(before)?;
        let pid = word(entry::PID) as u32;
        let start_time = word(entry::START_TIME);
        let state = process::state(pid, start_time);
        let (liveness, pid_namespace) = match (self.observer().memory().is_dead(number), state) {
            (true, _) => (Liveness::Dead, None),
            // The participant had no /proc.
            (false, _) if start_time == 0 => (Liveness::Alive, None),
            (false, ProcessState::Stopped) => (Liveness::Stopped, Some(PidNamespace::This)),
            (false, ProcessState::Another) => (Liveness::Alive, Some(PidNamespace::Other)),
            (false, ProcessState::Gone) => (Liveness::Alive, Some(PidNamespace::Unseen)),
            (false, ProcessState::Unknown) => (Liveness::Alive, None),
            (false, ProcessState::Running | ProcessState::Zombie) => {
                (Liveness::Alive, Some(PidNamespace::This))
            }
        };
        // E11: a participant that left meanwhile has freed its entry before its lock. It did not die.
        if entry_state.load(Acquire) != before {
            return None;
        }
        Some(ParticipantInfo {
            number,
            serial,
            role,
            pid,
            pid_namespace,
            command: entry::command_of([word(entry::COMMAND), word(entry::COMMAND + 8)]),
            attached_at: word(entry::ATTACHED_AT),
            liveness,
            activity: Activity::of(word(entry::ACTIVITY)),
            totals: Totals::read(|n| word(entry::COUNTERS + n * 8)),
        })
    }

    /// Copies up to `most` of the items to be received, oldest first, without taking them. Leaves out an item that
    /// a consumer takes during the copy.
    pub fn peek(&self, most: usize) -> Vec<Peeked> {
        for _ in 1..MOST_PEEKS {
            if let (peeked, false) = self.peek_once(most) {
                return peeked;
            }
        }
        self.peek_once(most).0
    }

    /// The same, and whether it left out items that no consumer took: a row of items was parted during the copy.
    fn peek_once(&self, most: usize) -> (Vec<Peeked>, bool) {
        let (mapping, slots) = (self.mapping(), self.observer());
        let mut waiting = Vec::new();
        let mut covered_until = None;
        slots.survey(|seen| {
            if is_covered(&mut covered_until, seen) {
                return;
            }
            if matches!(seen.word.tag(), Tag::Ready | Tag::ReadyRow | Tag::PartingRow | Tag::Redeliver) {
                waiting.push(seen);
            }
        });
        waiting.sort_by_key(|seen| seen.position);
        let mut parted = false;
        let copy = |seen: Seen| {
            let within = seen.run.min(slots.codec().to_end(seen.slot));
            let header = Header::read(slots, seen.position, seen.word, within);
            let mut bytes = Vec::new();
            mapping.copy_out(seen.slot, 0, header.len, &mut bytes);
            // E4, with the light fence between a claim and the writes into it: if the word has not changed, the
            // copy is of the item.
            fence::heavy();
            let now = Word(mapping.word(seen.word_slot).load(Relaxed));
            let same = now == seen.word;
            let waits = matches!(now.tag(), Tag::Ready | Tag::ReadyRow | Tag::PartingRow);
            parted |= !same && waits && seen.word.is_row();
            let Header { producer, sequence, failures, time, .. } = header;
            let attempt = seen.word.attempt();
            same.then_some(Peeked { producer, sequence, attempt, failures, sent_at: time, bytes })
        };
        let peeked = waiting.into_iter().filter_map(copy).take(most).collect();
        (peeked, parted)
    }
}

/// How often `peek` begins anew because of a row that was parted.
const MOST_PEEKS: u32 = 4;

/// For how long a participant has held a claim, from the time that it recorded. `None`: it recorded no time,
/// or its clock is not the reader's.
fn held_for(since: u64, now: u64, attached_for: u64) -> Option<u64> {
    // The clocks may be read a little later than the values that they are compared with.
    const SLACK: u64 = 1_000_000_000;
    let age = now.checked_sub(since).filter(|_| since != 0)?;
    (age <= attached_for.saturating_add(SLACK)).then_some(age)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_another_clock_is_not_shown_as_an_age() {
        let minute = 60_000_000_000;
        assert_eq!(held_for(0, 10 * minute, minute), None);
        assert_eq!(held_for(10 * minute - 5, 10 * minute, minute), Some(5));
        assert_eq!(held_for(11 * minute, 10 * minute, minute), None, "yet to come");
        assert_eq!(held_for(minute, 10 * minute, minute), None, "before it attached");
    }
}
