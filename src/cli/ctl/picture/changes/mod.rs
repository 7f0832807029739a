//! Describes in plain sentences what changed between two observations.
//!
//! An observation is of a moment. What happened in between is reconstructed from the slots, the headers that are
//! left in them and the counters, and described as if it had happened in the order of positions.

mod slots;

use std::time::{Duration, Instant};

use super::deaths::{Death, Deaths};
use super::observation::{ItemId, Observation, Seen, Watched, Who};
use super::steps::{Mood, sentences};
use crate::cli::ctl::show;
use crate::{Activity, Held, Liveness, ParticipantInfo, Repaired, SlotState};

/// The maximum number of steps between two observations that are described one by one.
const MOST_STEPS: usize = 64;
/// How often the summary of a busy ring is written.
const SUMMARY_EVERY: Duration = Duration::from_secs(1);

type Told = (Mood, String);

/// What is kept from one observation to the next besides the observations themselves.
#[derive(Debug, Default)]
pub struct Tally {
    pub deaths: Deaths,
    /// Since when too much happens to describe each step, and how many items had come and gone by then.
    busy: Option<(Instant, u64, u64)>,
    closed: bool,
}

impl Tally {
    pub fn new(look: &Observation) -> Self {
        Tally { closed: look.snapshot.closed, ..Tally::default() }
    }
}

/// Describes the state when watching begins.
pub fn at_first(watched: &Watched, tally: &mut Tally) -> Vec<Told> {
    let snapshot = &watched.last.snapshot;
    let held = snapshot.held.len() as u64;
    let mut told = vec![(
        Mood::Note,
        format!(
            "ring {:?}: {}, {} in use; {} waiting, {held} held",
            watched.ring.name(),
            show::counted(snapshot.capacity, "slot"),
            show::count(watched.last.census.used()),
            show::counted(snapshot.ready, "item"),
        ),
    )];
    for one in &snapshot.participants {
        let doing = match (one.liveness, one.activity) {
            (Liveness::Dead, _) => {
                let death = unreaped(one, &watched.last, watched.last.at);
                let legacy = death.legacy(watched);
                tally.deaths.add(death);
                format!("is dead{legacy}")
            }
            (Liveness::Stopped, _) => "is here, stopped".to_string(),
            (_, Activity::Busy) => "is here".to_string(),
            (_, doing) => format!("is here, {}", show::activity(doing)),
        };
        let who = Who { role: one.role, pid: one.pid };
        let elsewhere = show::elsewhere(one.pid_namespace.map(show::pid_namespace));
        told.push((Mood::Note, format!("{who} {doing}{elsewhere}")));
    }
    told
}

/// A death whose participant has not been recovered yet.
fn unreaped(one: &ParticipantInfo, look: &Observation, alive: Instant) -> Death {
    let held = look.snapshot.held.iter().filter(|held| held.owner == one.number);
    let (claims, runs): (Vec<&Held>, Vec<&Held>) = held.partition(|held| held.writing);
    let ids: Vec<ItemId> = read_by(look, one.number).filter_map(Seen::id).collect();
    Death {
        info: one.clone(),
        alive,
        seen: look.at,
        // In a large ring, counts runs, without reading which items they have.
        items: if look.slots.is_empty() { runs.len() } else { ids.len() } as u64,
        ids,
        claims: claims.len() as u64,
        slot: claims.first().map(|held| held.slot),
        is_reaped: false,
        is_dismissed: false,
    }
}

/// The slots that participant `number` is reading.
fn read_by(look: &Observation, number: u32) -> impl Iterator<Item = &Seen> {
    look.held_by(number).filter(|seen| seen.slot.state == SlotState::Reading)
}

/// Describes what changed from `before` to the model's own observation.
pub fn between(before: &Observation, watched: &Watched, tally: &mut Tally) -> Vec<Told> {
    let changes = Changes { before, now: &watched.last, watched };
    let mut told = changes.arrivals();
    told.extend(changes.fates(tally));
    told.extend(changes.items(tally));
    told.extend(changes.waits());
    told.extend(changes.departures(tally));
    tally.deaths.tidy(&watched.last);
    if watched.last.snapshot.closed && !tally.closed {
        tally.closed = true;
        told.push((Mood::Alarm, "the ring is closed: no more items come in".into()));
    }
    told
}

/// Two observations; the second is the model's own.
struct Changes<'m> {
    before: &'m Observation,
    now: &'m Observation,
    watched: &'m Watched,
}

impl Changes<'_> {
    fn who(&self, one: &ParticipantInfo) -> Who {
        Who { role: one.role, pid: one.pid }
    }

    fn earlier(&self, one: &ParticipantInfo) -> Option<&ParticipantInfo> {
        self.before.participant(one.number).filter(|earlier| earlier.serial == one.serial)
    }

    fn gone(&self) -> impl Iterator<Item = &ParticipantInfo> {
        let still = |one: &&ParticipantInfo| {
            self.now.participant(one.number).is_none_or(|now| now.serial != one.serial)
        };
        self.before.snapshot.participants.iter().filter(still)
    }

    fn arrivals(&self) -> Vec<Told> {
        let new = self.now.snapshot.participants.iter().filter(|one| self.earlier(one).is_none());
        new.map(|one| (Mood::Note, format!("{} comes", self.who(one)))).collect()
    }

    /// Describes which participants died, were stopped, or continue.
    fn fates(&self, tally: &mut Tally) -> Vec<Told> {
        let mut told = Vec::new();
        for one in &self.now.snapshot.participants {
            let earlier = self.earlier(one).map_or(Liveness::Alive, |earlier| earlier.liveness);
            let who = self.who(one);
            match (earlier, one.liveness) {
                (_, Liveness::Dead) if tally.deaths.of(one.serial).is_none() => {
                    tally.deaths.add(unreaped(one, self.now, self.before.at));
                }
                (Liveness::Alive, Liveness::Stopped) => {
                    told.push((Mood::Alarm, format!("{who} is stopped; it keeps what it holds")));
                }
                (Liveness::Stopped, Liveness::Alive) => told.push((Mood::Note, format!("{who} continues"))),
                _ => {}
            }
        }
        for one in self.gone() {
            if tally.deaths.of(one.serial).is_none()
                && let Some(mark) = self.watched.ring.death_of(one.serial)
            {
                tally.deaths.add(self.reaped(one, mark));
            }
        }
        for death in tally.deaths.found(self.now) {
            told.push((Mood::Alarm, format!("{} died{}", death.who(), death.legacy(self.watched))));
        }
        told
    }

    /// A death that was observed after other participants had recovered the dead one.
    fn reaped(&self, one: &ParticipantInfo, mark: Repaired) -> Death {
        let mut ids: Vec<ItemId> = read_by(self.before, one.number).filter_map(Seen::id).collect();
        // The participant may have acknowledged some items, or taken others, after the last observation.
        if ids.len() as u64 != mark.returned {
            ids.retain(|id| self.is_back(*id));
        }
        let is_abandoned = |seen: &Seen| {
            self.now
                .slots
                .get(seen.slot.number as usize)
                .is_some_and(|now| now.slot.state == SlotState::Abandoned)
        };
        let mut claims = self.before.held_by(one.number).filter(|seen| seen.slot.state != SlotState::Reading);
        let claim = claims.find(|seen| is_abandoned(seen));
        Death {
            info: one.clone(),
            alive: self.before.at,
            seen: self.now.at,
            items: mark.returned.max(ids.len() as u64),
            ids,
            claims: mark.abandoned,
            slot: claim.map(|seen| seen.slot.number),
            is_reaped: true,
            is_dismissed: false,
        }
    }

    /// Whether an item that was held is to be delivered again, or was.
    fn is_back(&self, id: ItemId) -> bool {
        let of = |look: &Observation| look.firsts().find(|seen| seen.id() == Some(id)).map(|seen| seen.slot);
        let (Some(before), Some(now)) = (of(self.before), of(self.now)) else { return false };
        match now.state {
            SlotState::Redeliver => true,
            SlotState::Reading => now.attempt != before.attempt,
            _ => false,
        }
    }

    /// Describes which participants left. Deaths were described before.
    fn departures(&self, tally: &mut Tally) -> Vec<Told> {
        let left = self.gone().filter(|one| !tally.deaths.reap(one.serial));
        left.map(|one| (Mood::Note, format!("{} leaves", self.who(one)))).collect()
    }

    fn waits(&self) -> Vec<Told> {
        let mut told = Vec::new();
        for one in &self.now.snapshot.participants {
            let earlier = self.earlier(one).map(|earlier| earlier.activity);
            if earlier == Some(one.activity) || one.liveness == Liveness::Dead {
                continue;
            }
            let (used, capacity) = (self.now.census.used(), self.now.snapshot.capacity);
            let (who, slots) = (self.who(one), show::counted(capacity, "slot"));
            let text = match one.activity {
                Activity::Busy => continue,
                Activity::WaitingForRoom if used == capacity => {
                    format!("{who} waits for room: all {slots} are full")
                }
                Activity::WaitingForRoom => format!("{who} waits for room: {used} of {slots} are in use"),
                Activity::WaitingForItems if used == 0 => {
                    format!("{who} waits for an item: all {slots} are free")
                }
                Activity::WaitingForItems => format!("{who} waits for an item"),
            };
            told.push((Mood::Note, text));
        }
        told
    }

    /// Describes what happened to slots and items: step by step or, if there is too much, in numbers.
    fn items(&self, tally: &mut Tally) -> Vec<Told> {
        let (sent, received) = (self.now.snapshot.totals.sent, self.now.snapshot.totals.received);
        let (earlier, taken) = (self.before.snapshot.totals.sent, self.before.snapshot.totals.received);
        let moved = sent.saturating_sub(earlier).max(received.saturating_sub(taken));
        let steps = if moved > self.now.slots.len() as u64 { None } else { Some(self.steps(tally)) };
        let told = steps.map(|steps| sentences(steps, self.watched)).filter(|told| told.len() <= MOST_STEPS);
        if told.is_none() {
            tally.busy.get_or_insert((self.before.at, earlier, taken));
        }
        let mut all = Vec::new();
        if let Some((since, earlier, taken)) = tally.busy {
            let time = self.now.at - since;
            if time >= SUMMARY_EVERY || told.is_some() {
                tally.busy = None;
                all.push((
                    Mood::Note,
                    format!(
                        "in {:.1} s {} came in and {} were taken",
                        time.as_secs_f64(),
                        show::counted(sent.saturating_sub(earlier), "item"),
                        show::count(received.saturating_sub(taken)),
                    ),
                ));
            }
        }
        all.extend(told.unwrap_or_default());
        all
    }
}
