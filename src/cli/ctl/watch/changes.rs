//! What changed between two looks, in plain sentences.
//!
//! A look is a moment: what happened in between is told as far as the slots, the headers that are left in them
//! and the counters show it, and as if it had happened in the order of positions.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::model::{Look, Model, Mood, Seen, Who};
use super::steps::{Step, What, sentences};
use crate::cli::ctl::show;
use crate::{Activity, Liveness, ParticipantInfo, Role, SlotState};

/// More steps between two looks than anybody reads.
const MOST_STEPS: usize = 64;
/// Of a busy ring, a sentence is told so often.
const SUMMARY_EVERY: Duration = Duration::from_secs(1);

type Told = (Mood, String);

/// What is remembered from look to look besides the looks.
#[derive(Debug, Default)]
pub struct Tally {
    /// Serial numbers of those whose death was told.
    dead: HashSet<u32>,
    /// Since when too much happens to be told, and the items that had come and gone by then.
    busy: Option<(Instant, u64, u64)>,
    closed: bool,
}

impl Tally {
    pub fn new(look: &Look) -> Self {
        Tally { closed: look.snapshot.closed, ..Tally::default() }
    }
}

/// How things stand when watching begins.
pub fn at_first(model: &Model) -> Vec<Told> {
    let snapshot = &model.look.snapshot;
    let held = snapshot.held.len() as u64;
    let mut told = vec![(
        Mood::Note,
        format!(
            "ring {:?}: {}, {} in use; {} waiting, {held} held",
            model.ring.name(),
            show::counted(snapshot.capacity, "slot"),
            show::count(model.look.census.used()),
            show::counted(snapshot.ready, "item"),
        ),
    )];
    for one in &snapshot.participants {
        let doing = match (one.liveness, one.activity) {
            (Liveness::Dead, _) => "is dead".to_string(),
            (Liveness::Stopped, _) => "is here, stopped".to_string(),
            (_, Activity::Busy) => "is here".to_string(),
            (_, doing) => format!("is here, {}", show::activity(doing)),
        };
        told.push((Mood::Note, format!("{} {doing}", Who { role: one.role, pid: one.pid })));
    }
    told
}

/// What changed from `before` to the model's own look.
pub fn between(before: &Look, model: &Model, tally: &mut Tally) -> Vec<Told> {
    let changes = Changes { before, now: &model.look, model };
    let mut told = changes.arrivals();
    told.extend(changes.fates(tally));
    told.extend(changes.items(tally));
    told.extend(changes.waits());
    told.extend(changes.departures(tally));
    if model.look.snapshot.closed && !tally.closed {
        tally.closed = true;
        told.push((Mood::Alarm, "the ring is closed: no more items come in".into()));
    }
    told
}

/// Two looks, the second being the model's own.
struct Changes<'m> {
    before: &'m Look,
    now: &'m Look,
    model: &'m Model,
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

    /// Who died, was stopped, or goes on.
    fn fates(&self, tally: &mut Tally) -> Vec<Told> {
        let mut told = Vec::new();
        for one in &self.now.snapshot.participants {
            let earlier = self.earlier(one).map_or(Liveness::Alive, |earlier| earlier.liveness);
            let who = self.who(one);
            match (earlier, one.liveness) {
                (_, Liveness::Dead) if tally.dead.insert(one.serial) => {
                    told.push((Mood::Alarm, format!("{who} died{}", self.legacy(self.now, one.number))));
                }
                (Liveness::Alive, Liveness::Stopped) => {
                    told.push((Mood::Alarm, format!("{who} is stopped; it keeps what it holds")));
                }
                (Liveness::Stopped, Liveness::Alive) => told.push((Mood::Note, format!("{who} goes on"))),
                _ => {}
            }
        }
        for one in self.gone().filter(|one| self.was_robbed(one)) {
            if tally.dead.insert(one.serial) {
                let legacy = self.legacy(self.before, one.number);
                told.push((Mood::Alarm, format!("{} died{legacy}", self.who(one))));
            }
        }
        told
    }

    /// What becomes of that which participant `number` held in `look`.
    fn legacy(&self, look: &Look, number: u32) -> String {
        let held: Vec<&Seen> = look.firsts().filter(|seen| seen.slot.owner == Some(number)).collect();
        let Some(first) = held.first() else { return String::new() };
        match (first.slot.state, held.len()) {
            (SlotState::Reading, 1) => format!("; {} will be delivered again", self.item(first)),
            (SlotState::Reading, n) => format!("; the {n} items that it held will be delivered again"),
            _ => format!("; what it was writing in slot {} vanishes", first.slot.number),
        }
    }

    /// Whether others resolved what a participant held that has gone: it died. Who leaves in good order gives
    /// back what it holds, and counts it.
    fn was_robbed(&self, one: &ParticipantInfo) -> bool {
        let gave_back = self.now.snapshot.totals.returned > self.before.snapshot.totals.returned;
        let mut held = self.before.firsts().filter(|seen| seen.slot.owner == Some(one.number));
        held.any(|seen| {
            let Some(now) = self.now.slots.get(seen.slot.number as usize) else { return false };
            match (seen.slot.state, now.slot.state) {
                (SlotState::Reading, SlotState::Redeliver) => !gave_back,
                (SlotState::Reading, SlotState::Reading) => {
                    !gave_back && now.id() == seen.id() && now.slot.attempt != seen.slot.attempt
                }
                (SlotState::Writing | SlotState::Late, SlotState::Abandoned) => true,
                _ => false,
            }
        })
    }

    /// Who left in good order, or is not known not to have.
    fn departures(&self, tally: &mut Tally) -> Vec<Told> {
        let mut told = Vec::new();
        for one in self.gone() {
            if !tally.dead.remove(&one.serial) {
                told.push((Mood::Note, format!("{} leaves", self.who(one))));
            }
        }
        told
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

    /// What became of slots and items: step by step, or, where that is too much, in numbers.
    fn items(&self, tally: &mut Tally) -> Vec<Told> {
        let (sent, received) = (self.now.snapshot.totals.sent, self.now.snapshot.totals.received);
        let (earlier, taken) = (self.before.snapshot.totals.sent, self.before.snapshot.totals.received);
        let moved = sent.saturating_sub(earlier).max(received.saturating_sub(taken));
        let steps = if moved > self.now.slots.len() as u64 { None } else { Some(self.steps()) };
        let told = steps.map(|steps| sentences(steps, self.model)).filter(|told| told.len() <= MOST_STEPS);
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

    fn item(&self, seen: &Seen) -> String {
        seen.id().map_or("what it held".into(), |id| super::steps::item(id, self.model))
    }

    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for (before, now) in self.before.slots.iter().zip(&self.now.slots) {
            self.slot(before, now, &mut steps);
        }
        // Stable: the steps of one item stay in their order.
        steps.sort_by_key(|step| step.position);
        steps
    }

    /// What happened to one slot.
    fn slot(&self, before: &Seen, now: &Seen, steps: &mut Vec<Step>) {
        let inner = |seen: &Seen| seen.slot.part > 0;
        if inner(before) && inner(now) || before.slot == now.slot {
            return;
        }
        if !inner(before) && before.slot.state != SlotState::Free {
            if !inner(now) && is_same(before, now) {
                return self.went_on(before, now, steps);
            }
            self.ended(before, steps);
        }
        if !inner(now) {
            self.began(before, now, steps);
        }
    }

    /// The same item, or the same claim, in another state.
    fn went_on(&self, before: &Seen, now: &Seen, steps: &mut Vec<Step>) {
        use SlotState::*;
        let (was, is) = (before.slot.state, now.slot.state);
        let delivery = now.slot.attempt;
        let mut step = |what, who| steps.push(Step::of(now, what, who));
        let taker = self.owner(self.now, now);
        match (was, is) {
            (Writing, Ready) => step(What::IsReady, None),
            (Writing, Reading) => {
                step(What::IsReady, None);
                step(What::Takes(delivery), taker);
            }
            (Writing, Late) => step(What::IsLate, taker),
            (Writing | Late, Redeliver) => step(What::CameLate, None),
            (Writing | Late, Abandoned) => step(What::GaveUp, self.owner(self.before, before)),
            (Ready | Redeliver | Late, Reading) => step(What::Takes(delivery), taker),
            (Ready, Redeliver) => step(What::ComesAgain, None),
            (Reading, Redeliver) => {
                let held = self.owner(self.before, before);
                match held.filter(|_| self.is_alive(before)) {
                    Some(who) => step(What::GivesBack, Some(who)),
                    None => step(What::ComesAgain, None),
                }
            }
            (Reading, Reading) if before.slot.attempt != delivery => {
                if let Some(who) = self.owner(self.before, before).filter(|_| self.is_alive(before)) {
                    step(What::GivesBack, Some(who));
                }
                step(What::Takes(delivery), taker);
            }
            _ => {}
        }
    }

    /// What was in the slot is there no more.
    fn ended(&self, before: &Seen, steps: &mut Vec<Step>) {
        let mut step = |what, who| steps.push(Step::of(before, what, who));
        match before.slot.state {
            SlotState::Reading => step(What::Done, self.owner(self.before, before)),
            SlotState::Ready | SlotState::Redeliver => {
                step(What::TookAndDone, self.model.only(Role::Consumer));
            }
            // If its owner lives, it was published, and taken since: see `began`.
            SlotState::Writing | SlotState::Late if !self.is_alive(before) => {
                step(What::GaveUp, self.owner(self.before, before));
            }
            _ => {}
        }
    }

    /// Something is in the slot that was not there.
    fn began(&self, before: &Seen, now: &Seen, steps: &mut Vec<Step>) {
        let producer = now.id().and_then(|(serial, _)| self.model.known.get(&serial).copied());
        let taker = self.owner(self.now, now);
        let delivery = now.slot.attempt;
        let mut step = |what, who| steps.push(Step::of(now, what, who));
        match now.slot.state {
            SlotState::Free if self.went_through(before, now) => {
                // It lies before the lap that the slot is free for.
                let position = now.slot.position.wrapping_sub(self.capacity());
                let what = What::WentThrough(self.model.only(Role::Consumer));
                steps.push(Step::of(now, what, producer).at(position));
            }
            SlotState::Writing | SlotState::Late => step(What::Writes, taker),
            SlotState::Ready => step(What::Wrote, producer),
            SlotState::Redeliver => {
                step(What::Wrote, producer);
                step(What::ComesAgain, None);
            }
            SlotState::Reading => {
                step(What::Wrote, producer);
                step(What::Takes(delivery), taker);
            }
            _ => {}
        }
    }

    fn capacity(&self) -> u64 {
        self.now.snapshot.capacity
    }

    /// Whether a free slot had an item that was not seen there: the header that is left says so.
    fn went_through(&self, before: &Seen, now: &Seen) -> bool {
        let unpublished =
            matches!(before.slot.state, SlotState::Writing | SlotState::Late) && !self.is_alive(before);
        let is_news = now.id().is_some() && now.id() != before.id();
        now.slot.position > before.slot.position && is_news && !unpublished
    }

    fn owner(&self, look: &Look, seen: &Seen) -> Option<Who> {
        let number = seen.slot.owner?;
        look.participant(number).or_else(|| self.before.participant(number)).map(|one| self.who(one))
    }

    /// Whether the one who held this before is there still.
    fn is_alive(&self, seen: &Seen) -> bool {
        let held_by = seen.slot.owner.and_then(|number| self.before.participant(number));
        held_by.is_some_and(|one| {
            let now = self.now.participant(one.number).filter(|now| now.serial == one.serial);
            now.is_some_and(|now| now.liveness != Liveness::Dead)
        })
    }
}

/// Whether the two speak of the same item or claim: the position is, or it was renewed.
fn is_same(before: &Seen, now: &Seen) -> bool {
    let renewable = matches!(now.slot.state, SlotState::Reading | SlotState::Redeliver | SlotState::Late);
    let renewed = match before.slot.state {
        SlotState::Reading | SlotState::Redeliver => now.id() == before.id(),
        SlotState::Late => before.slot.owner == now.slot.owner || now.slot.state == SlotState::Redeliver,
        _ => false,
    };
    now.slot.state != SlotState::Free && (before.slot.position == now.slot.position || renewable && renewed)
}
