//! Looking at a ring. Nothing here changes it.

use std::sync::atomic::Ordering::{Acquire, Relaxed};

use super::door::Door;
use super::item::Header;
use super::participant::{Activity, Participant, numbers, role_of};
use super::{Ring, Role};
use crate::layout::discipline::Discipline;
use crate::layout::fields::{entry, head};
use crate::ring::inspect::Seen;
use crate::ring::memory::Memory;
use crate::ring::word::Tag;
use crate::sync::owner_of;
use crate::sys::clock;
use crate::sys::process::{self, ProcessState};
use crate::sys::segment::Attributes;
use crate::{Error, Result};

/// A ring at one moment; the parts were read one after the other while others went on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Number of slots.
    pub capacity: u64,
    /// Bytes of payload in a slot.
    pub slot_size: u64,
    /// Bytes of the segment.
    pub size: u64,
    /// Slots that are not free.
    pub used_slots: u64,
    /// Items that wait to be received, those to be delivered again included.
    pub ready: u64,
    /// Items among them that were delivered before, or came late.
    pub returned: u64,
    /// Claims of producers that have not published yet.
    pub writing: u64,
    /// Who holds what, oldest first.
    pub held: Vec<Held>,
    /// Age of the oldest item in nanoseconds; only in rings with timestamps.
    pub oldest_age: Option<u64>,
    /// Next position to write, and to read.
    pub tail: u64,
    /// Next position to read.
    pub head: u64,
    /// Whether the ring takes no more items.
    pub closed: bool,
    /// Producers that ever attached.
    pub producers_ever: u64,
    /// Consumers that ever attached.
    pub consumers_ever: u64,
    /// No end of stream before so many producers have come.
    pub expected_producers: u32,
    /// The semaphore that consumers sleep on: its value, and about how many sleep.
    pub items_semaphore: (i32, u64),
    /// The semaphore that producers sleep on: its value, and about how many sleep.
    pub room_semaphore: (i32, u64),
    /// How the two sides wait for each other.
    pub discipline: Discipline,
    /// The mutex of a discipline with turns: the semaphore's value, and whose turn it is, by its number.
    pub mutex: (i32, Option<u32>),
    /// Counters of all that are there and all that have left.
    pub totals: Totals,
    /// Who takes part.
    pub participants: Vec<ParticipantInfo>,
    /// Owner and mode of the segment.
    pub attributes: Attributes,
    /// Process id of the creator, and nanoseconds since 1970 at creation.
    pub creator: u32,
    /// When the ring was made, nanoseconds since 1970.
    pub created_at: u64,
}

/// Counters: statistics, which a death may leave a little short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Totals {
    /// Items sent.
    pub sent: u64,
    /// Items received, each delivery counted.
    pub received: u64,
    /// Items acknowledged.
    pub acknowledged: u64,
    /// Items given back.
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

    pub(super) fn of(participant: &Participant) -> Self {
        // Relaxed: the participant is the only writer, and asks.
        Self::read(|n| {
            participant.view().entry_word(participant.number, entry::COUNTERS + n * 8).load(Relaxed)
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
    /// Slots.
    pub run: u64,
    /// Whether it is being written; read otherwise.
    pub writing: bool,
    /// Deliveries so far, the present one included; 0 while it is being written.
    pub attempt: u8,
    /// Nanoseconds since it was claimed; only in rings with timestamps, and for readers.
    pub since: Option<u64>,
}

/// Whether a participant lives: the kernel's word, and for display what the process is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Liveness {
    /// It may be alive.
    Alive,
    /// It is alive, and stopped.
    Stopped,
    /// It is certainly dead; its traces are not recovered yet.
    Dead,
}

/// One participant.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParticipantInfo {
    /// Its number in the table.
    pub number: u32,
    /// Its serial number, which its items carry.
    pub serial: u32,
    /// What it is there for.
    pub role: Role,
    /// Its process id, as it saw it itself.
    pub pid: u32,
    /// Its command name.
    pub command: String,
    /// When it attached, nanoseconds since 1970.
    pub attached_at: u64,
    /// Whether it lives.
    pub liveness: Liveness,
    /// What it is doing.
    pub activity: Activity,
    /// Its counters.
    pub totals: Totals,
}

/// An item as an observer saw it, without taking it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peeked {
    /// Its producer's serial number.
    pub producer: u32,
    /// Its producer's count, from 0.
    pub sequence: u64,
    /// Deliveries so far.
    pub attempt: u8,
    /// When it was sent, nanoseconds since 1970; only in rings with timestamps.
    pub sent_at: Option<u64>,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Whether a word lies inside the run that was seen last, as part of a claim or of an item; keeps account of
/// runs in `until`.
fn is_covered(until: &mut Option<u64>, seen: Seen) -> bool {
    let covered = until.is_some_and(|end| (end.wrapping_sub(seen.position) as i64) > 0);
    if !covered {
        *until = (seen.run > 1).then(|| seen.position.wrapping_add(seen.run));
    }
    covered
}

impl Ring {
    /// Looks at everything. Takes time in proportion to the capacity.
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
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses to describe the segment; [`Error::Truncated`].
    pub fn snapshot(&self) -> Result<Snapshot> {
        let (view, slots) = (self.view(), self.observer());
        let geometry = view.geometry();
        let door = Door::read(view.head_word(head::DOOR));
        let participants = self.participants();
        // Relaxed, all: for display.
        let word = |offset| view.head_word(offset).load(Relaxed);
        let mut totals = Totals::read(|n| word(head::TOTALS + n * 8));
        participants.iter().for_each(|participant| totals.add(&participant.totals));
        let mut snapshot = Snapshot {
            capacity: geometry.capacity,
            slot_size: geometry.slot_size,
            size: geometry.size,
            used_slots: 0,
            ready: 0,
            returned: 0,
            writing: 0,
            held: Vec::new(),
            oldest_age: None,
            tail: self.observer().find_tail(),
            head: self.observer().find_head(),
            closed: door.is_closed(),
            producers_ever: door.producers(),
            consumers_ever: door.consumers(),
            expected_producers: geometry.expected_producers,
            items_semaphore: (view.semaphore(head::ITEMS_SEMAPHORE).value(), word(head::ITEMS_WAITING)),
            room_semaphore: (view.semaphore(head::ROOM_SEMAPHORE).value(), word(head::ROOM_WAITING)),
            discipline: geometry.discipline,
            mutex: (view.semaphore(head::MUTEX_SEMAPHORE).value(), owner_of(word(head::MUTEX_OWNER))),
            totals,
            participants,
            attributes: view.segment().attributes()?,
            creator: self.preamble().creator,
            created_at: self.preamble().created_at,
        };
        let now = clock::realtime_ns();
        let mut covered_until = None;
        slots.survey(|seen| self.account(&mut snapshot, seen, now, &mut covered_until));
        if view.segment().is_lost() {
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
            Tag::Ready | Tag::Redeliver => {
                snapshot.ready += 1;
                snapshot.returned += (tag == Tag::Redeliver) as u64;
                let header = Header::read(self.observer().memory(), seen.slot, seen.run);
                let age = header.time.map(|time| now.saturating_sub(time));
                snapshot.oldest_age = snapshot.oldest_age.max(age);
            }
            Tag::Reading | Tag::Writing | Tag::Late => {
                let writing = tag != Tag::Reading;
                snapshot.writing += writing as u64;
                let owner = seen.word.owner();
                // Relaxed: for display.
                let since = self.view().entry_word(owner, entry::HELD_SINCE).load(Relaxed);
                let since = (since != 0 && !writing).then(|| clock::coarse_ns().saturating_sub(since));
                let (slot, run, attempt) = (seen.slot, seen.run, seen.word.attempt());
                snapshot.held.push(Held { owner, slot, run, writing, attempt, since });
            }
            _ => {}
        }
    }

    /// Who takes part.
    pub fn participants(&self) -> Vec<ParticipantInfo> {
        let view = self.view();
        numbers(view).filter_map(|number| self.participant(number)).collect()
    }

    fn participant(&self, number: u32) -> Option<ParticipantInfo> {
        // Relaxed, all but the first: for display.
        let word = |offset| self.view().entry_word(number, offset).load(Relaxed);
        // E11: the other words are its present holder's.
        let (role, serial) = role_of(self.view().entry_word(number, entry::STATE).load(Acquire))?;
        let pid = word(entry::PID) as u32;
        let liveness = match self.observer().memory().is_dead(number) {
            true => Liveness::Dead,
            false if process::state(pid, word(entry::START_TIME)) == ProcessState::Stopped => {
                Liveness::Stopped
            }
            false => Liveness::Alive,
        };
        let command = [word(entry::COMMAND).to_le_bytes(), word(entry::COMMAND + 8).to_le_bytes()].concat();
        let text = String::from_utf8_lossy(&command);
        Some(ParticipantInfo {
            number,
            serial,
            role,
            pid,
            command: text.trim_end_matches('\0').chars().filter(|c| !c.is_control()).collect(),
            attached_at: word(entry::ATTACHED_AT),
            liveness,
            activity: Activity::of(word(entry::ACTIVITY)),
            totals: Totals::read(|n| word(entry::COUNTERS + n * 8)),
        })
    }

    /// Copies up to `most` of the items that wait, oldest first, without taking them. One that was taken
    /// while it was copied is left out.
    pub fn peek(&self, most: usize) -> Vec<Peeked> {
        let (view, slots) = (self.view(), self.observer());
        let mut waiting = Vec::new();
        let mut covered_until = None;
        slots.survey(|seen| {
            if is_covered(&mut covered_until, seen) {
                return;
            }
            if matches!(seen.word.tag(), Tag::Ready | Tag::Redeliver) {
                waiting.push(seen);
            }
        });
        waiting.sort_by_key(|seen| seen.position);
        let copy = |seen: Seen| {
            let within = seen.run.min(slots.codec().to_end(seen.slot));
            let header = Header::read(slots.memory(), seen.slot, within);
            let mut bytes = Vec::new();
            view.copy_out(seen.slot, 0, header.len, &mut bytes);
            // The copy is of the item if the word has not changed. Acquire keeps the copy before it.
            std::sync::atomic::fence(Acquire);
            let same = view.word(seen.slot).load(Relaxed) == seen.word.0;
            let Header { producer, sequence, time, .. } = header;
            let attempt = seen.word.attempt();
            same.then_some(Peeked { producer, sequence, attempt, sent_at: time, bytes })
        };
        waiting.into_iter().filter_map(copy).take(most).collect()
    }
}
