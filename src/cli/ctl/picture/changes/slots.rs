//! Determines what happened to each slot between two observations, and which participant did it.

use super::{Changes, Tally, Who};
use crate::cli::ctl::picture::deaths::{Death, Lost};
use crate::cli::ctl::picture::observation::{Observation, Seen};
use crate::cli::ctl::picture::steps::{Origin, Step, What};
use crate::{Liveness, ParticipantInfo, Role, SlotState};

/// Which consumer finished an item that a consumer held.
enum Credit {
    /// The one that held it.
    Holder,
    /// Another consumer, to which it was delivered again.
    Another,
    Unknown,
}

impl Changes<'_> {
    pub fn steps(&self, tally: &mut Tally) -> Vec<Step> {
        let mut steps = Vec::new();
        for (before, now) in self.before.slots.iter().zip(&self.now.slots) {
            match left_unread(before, now, self.now.snapshot.capacity) {
                Some(before) => self.slot(&before, now, &mut steps, tally),
                None => self.slot(before, now, &mut steps, tally),
            }
        }
        // A stable sort: the steps of one item stay in their order.
        steps.sort_by_key(|step| step.position);
        steps
    }

    fn slot(&self, before: &Seen, now: &Seen, steps: &mut Vec<Step>, tally: &mut Tally) {
        let inner = |seen: &Seen| seen.slot.part > 0;
        if inner(before) && inner(now) || before.slot == now.slot {
            return;
        }
        if !inner(before) && before.slot.state != SlotState::Free {
            if !inner(now) && is_same(before, now) {
                return self.went_on(before, now, steps, tally);
            }
            self.ended(before, steps, tally);
        }
        if !inner(now) {
            self.began(before, now, steps, tally);
        }
    }

    /// The same item, or the same claim, in another state.
    fn went_on(&self, before: &Seen, now: &Seen, steps: &mut Vec<Step>, tally: &mut Tally) {
        use SlotState::*;
        let (was, is) = (before.slot.state, now.slot.state);
        let delivery = now.slot.attempt;
        let mut step = |what, who| steps.push(Step::of(now, what, who));
        let taker = self.owner(self.now, now);
        match (was, is) {
            (Writing, Ready) => step(What::IsReady, None),
            (Writing, Reading) => {
                step(What::IsReady, None);
                step(What::Takes(delivery, self.unseen_origin(now, tally)), taker);
            }
            (Writing, Late) => step(What::IsLate, taker),
            (Writing | Late, Redeliver) => step(What::CameLate, None),
            (Writing | Late, Abandoned) => step(What::GaveUp, self.owner(self.before, before)),
            (Ready | Redeliver | Late, Reading) => {
                let origin = now.id().and_then(|id| tally.deaths.origin(id, self.now.at));
                let origin = origin.or_else(|| self.unseen_origin(now, tally));
                step(What::Takes(delivery, origin), taker);
            }
            (Ready, Redeliver) => {
                if let (Some(victim), Some(id)) = (self.only_victim(tally), now.id()) {
                    let lost = Lost::from(victim);
                    tally.deaths.lose(id, lost);
                }
                step(What::ComesAgain, None);
            }
            (Reading, Redeliver) => {
                let lost = self.lost(before, tally);
                if let (Some(lost), Some(id)) = (lost, now.id()) {
                    tally.deaths.lose(id, lost);
                }
                match lost.filter(|lost| !lost.died) {
                    Some(lost) => step(What::GivesBack, Some(lost.from)),
                    None => step(What::ComesAgain, None),
                }
            }
            (Reading, Reading) if before.slot.attempt != delivery => {
                let lost = self.lost(before, tally);
                if let Some(lost) = lost.filter(|lost| !lost.died) {
                    step(What::GivesBack, Some(lost.from));
                }
                step(What::Takes(delivery, lost.map(|lost| lost.origin(self.now.at))), taker);
            }
            _ => {}
        }
    }

    /// The content of the slot is gone.
    fn ended(&self, before: &Seen, steps: &mut Vec<Step>, tally: &mut Tally) {
        let mut step = |what, who| steps.push(Step::of(before, what, who));
        let holder = self.owner(self.before, before);
        match before.slot.state {
            SlotState::Reading => match self.credit(before, tally) {
                Credit::Holder => step(What::Done, holder),
                Credit::Another => {
                    let origin = self.lost(before, tally).map(|lost| lost.origin(self.now.at));
                    step(What::TookAndDone(origin), self.only_taker(before.slot.owner));
                }
                Credit::Unknown => step(What::DoneByOne, holder),
            },
            SlotState::Ready | SlotState::Redeliver => {
                let origin = before.id().and_then(|id| tally.deaths.origin(id, self.now.at));
                step(What::TookAndDone(origin), self.only_taker(None));
            }
            // If its owner is alive, the item was published, and then taken: see `began`.
            SlotState::Writing | SlotState::Late if !self.is_alive(before) => step(What::GaveUp, holder),
            _ => {}
        }
    }

    /// The slot has new content.
    fn began(&self, before: &Seen, now: &Seen, steps: &mut Vec<Step>, tally: &Tally) {
        let producer = now.id().and_then(|(serial, _)| self.watched.known.get(&serial).copied());
        let taker = self.owner(self.now, now);
        let delivery = now.slot.attempt;
        let mut step = |what, who| steps.push(Step::of(now, what, who));
        match now.slot.state {
            SlotState::Free if self.went_through(before, now) => {
                // The item belongs to the lap before the one for which the slot is free.
                let position = now.slot.position.wrapping_sub(self.now.snapshot.capacity);
                let what = What::WentThrough(self.only_taker(None));
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
                step(What::Takes(delivery, self.unseen_origin(now, tally)), taker);
            }
            _ => {}
        }
    }

    /// Which consumer finished the item that a consumer held at the last observation: the holder, unless it died
    /// with the item or gave it back.
    fn credit(&self, before: &Seen, tally: &Tally) -> Credit {
        let Some(holder) = self.holder(before) else { return Credit::Unknown };
        if holder.liveness == Liveness::Dead {
            return Credit::Another;
        }
        if let Some(death) = tally.deaths.of(holder.serial) {
            return match before.id().is_some_and(|id| death.ids.contains(&id)) {
                true => Credit::Another,
                false if death.items > death.ids.len() as u64 => Credit::Unknown,
                false => Credit::Holder,
            };
        }
        let (earlier, now) = (self.before.snapshot.totals.returned, self.now.snapshot.totals.returned);
        let own = self.now.participant(holder.number).filter(|one| one.serial == holder.serial);
        let gave_none_back = own.is_some_and(|one| one.totals.returned == holder.totals.returned);
        if earlier == now || gave_none_back { Credit::Holder } else { Credit::Unknown }
    }

    /// The previous holder of an item that was held at the last observation and is no longer held by the same
    /// consumer.
    fn lost(&self, before: &Seen, tally: &Tally) -> Option<Lost> {
        let holder = self.holder(before)?;
        Some(match tally.deaths.of(holder.serial) {
            Some(death) => Lost::from(death),
            None => Lost { from: self.who(holder), died: false, before: self.before.at, seen: self.now.at },
        })
    }

    /// The previous holder of an item that was not observed as held: the only participant that died with items.
    fn unseen_origin(&self, now: &Seen, tally: &Tally) -> Option<Origin> {
        let victim = self.only_victim(tally).filter(|_| now.slot.attempt > 1)?;
        Some(Lost::from(victim).origin(self.now.at))
    }

    /// The only participant that died since the last observation and left items, if all returned items are from
    /// it.
    fn only_victim<'t>(&self, tally: &'t Tally) -> Option<&'t Death> {
        let none_given_back = self.before.snapshot.totals.returned == self.now.snapshot.totals.returned;
        tally.deaths.only_victim(self.now).filter(|_| none_given_back)
    }

    /// The only consumer, besides `but`, that can have taken the items taken since the last observation.
    fn only_taker(&self, but: Option<u32>) -> Option<Who> {
        let but = but.and_then(|number| self.before.participant(number)).map(|one| one.serial);
        let came = self.now.snapshot.participants.iter().filter(|one| self.earlier(one).is_none());
        let all = self.before.snapshot.participants.iter().chain(came);
        let mut takers = all.filter(|one| {
            one.role == Role::Consumer && one.liveness != Liveness::Dead && Some(one.serial) != but
        });
        takers.next().filter(|_| takers.next().is_none()).map(|one| self.who(one))
    }

    /// Whether a free slot had an item in between, which was not observed: the header that is left shows it.
    fn went_through(&self, before: &Seen, now: &Seen) -> bool {
        let unpublished =
            matches!(before.slot.state, SlotState::Writing | SlotState::Late) && !self.is_alive(before);
        let is_news = now.id().is_some() && now.id() != before.id();
        now.slot.position > before.slot.position && is_news && !unpublished
    }

    fn owner(&self, look: &Observation, seen: &Seen) -> Option<Who> {
        let number = seen.slot.owner?;
        look.participant(number).or_else(|| self.before.participant(number)).map(|one| self.who(one))
    }

    /// The participant that held this at the last observation.
    fn holder(&self, before: &Seen) -> Option<&ParticipantInfo> {
        before.slot.owner.and_then(|number| self.before.participant(number))
    }

    /// Whether the participant that held this before is still attached.
    fn is_alive(&self, before: &Seen) -> bool {
        self.holder(before).is_some_and(|one| {
            let now = self.now.participant(one.number).filter(|now| now.serial == one.serial);
            now.is_some_and(|now| now.liveness != Liveness::Dead)
        })
    }
}

/// The slot as it was, with its item, if the item was taken and finished during the observation: its header
/// identifies the item.
fn left_unread(before: &Seen, now: &Seen, capacity: u64) -> Option<Seen> {
    let is_next = now.slot.position == before.slot.position.wrapping_add(capacity);
    let left = now.slot.state == SlotState::Free && is_next && now.item.is_some();
    (before.is_unread() && left).then(|| Seen { slot: before.slot, item: now.item.clone() })
}

/// Whether both are the same item or claim: they have the same position, or the position was renewed.
pub fn is_same(before: &Seen, now: &Seen) -> bool {
    let renewable = matches!(now.slot.state, SlotState::Reading | SlotState::Redeliver | SlotState::Late);
    let renewed = match before.slot.state {
        SlotState::Reading | SlotState::Redeliver => now.id() == before.id(),
        SlotState::Late => before.slot.owner == now.slot.owner || now.slot.state == SlotState::Redeliver,
        _ => false,
    };
    now.slot.state != SlotState::Free && (before.slot.position == now.slot.position || renewable && renewed)
}
