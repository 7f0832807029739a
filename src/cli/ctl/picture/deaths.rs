//! Keeps track of deaths: which participant died, what it held, and where a redelivered item comes from.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::observation::{ItemId, Observation, Watched, Who};
use super::steps::{self, Origin};
use crate::cli::ctl::show;
use crate::{ParticipantInfo, SlotState};

/// The minimum time for which a death is shown among the processes, unless [`Deaths::show_for`] sets another.
const SHOWN: Duration = Duration::from_secs(10);

/// A participant that died.
#[derive(Debug)]
pub struct Death {
    /// Its last observed state.
    pub info: ParticipantInfo,
    /// The last observation at which it was alive, and the one that found it dead.
    pub alive: Instant,
    pub seen: Instant,
    /// The number of items that it held, and the items themselves as far as known.
    pub items: u64,
    pub ids: Vec<ItemId>,
    /// The number of its unpublished claims, and the place of one of them.
    pub claims: u64,
    pub slot: Option<u64>,
    /// Whether its entry is free again.
    pub is_reaped: bool,
    /// Whether it is no longer of interest.
    pub is_dismissed: bool,
}

impl Death {
    pub fn who(&self) -> Who {
        Who { role: self.info.role, pid: self.info.pid }
    }

    /// What it held, in a few words. `None`: nothing.
    pub fn held(&self, watched: &Watched) -> Option<String> {
        let items = (self.items > 0)
            .then(|| self.range(watched).unwrap_or_else(|| show::counted(self.items, "item")));
        let claims = (self.claims > 0).then(|| match (self.claims, self.slot) {
            (1, Some(slot)) => format!("slot {slot} unfinished"),
            (n, _) => show::counted(n, "unfinished claim"),
        });
        match (items, claims) {
            (Some(items), Some(claims)) => Some(format!("{items} and {claims}")),
            (items, claims) => items.or(claims),
        }
    }

    /// What happens to what it held, as the end of a sentence.
    pub fn legacy(&self, watched: &Watched) -> String {
        let items = (self.items > 0).then(|| match (self.range(watched), self.items) {
            (Some(items), _) => format!("{items} will be delivered again"),
            (None, 1) => "the item that it held will be delivered again".into(),
            (None, n) => format!("the {} items that it held will be delivered again", show::count(n)),
        });
        let claims = (self.claims > 0).then(|| match self.slot {
            Some(slot) => format!("what it was writing in slot {slot} vanishes"),
            None => "what it was writing vanishes".into(),
        });
        match [items, claims].into_iter().flatten().collect::<Vec<String>>() {
            parts if parts.is_empty() => "; it held nothing".into(),
            parts => format!("; {}", parts.join(", and ")),
        }
    }

    /// Its items by name, if all are known and consecutive.
    fn range(&self, watched: &Watched) -> Option<String> {
        let (&(producer, first), &(_, last)) = (self.ids.first()?, self.ids.last()?);
        let follows = |two: &[ItemId]| (two[0].0, two[0].1.wrapping_add(1)) == two[1];
        let all = self.items == self.ids.len() as u64 && self.ids.windows(2).all(follows);
        all.then(|| steps::items((producer, first, last), watched))
    }
}

/// An item to be delivered again.
#[derive(Debug, Clone, Copy)]
pub struct Lost {
    pub from: Who,
    pub died: bool,
    /// The last observation before it was returned, and the one that found it.
    pub before: Instant,
    pub seen: Instant,
}

impl Lost {
    pub fn origin(&self, now: Instant) -> Origin {
        let at_most = self.seen == now;
        let since = if at_most { self.before } else { self.seen };
        Origin { from: self.from, died: self.died, after: now.duration_since(since), at_most }
    }
}

impl From<&Death> for Lost {
    fn from(death: &Death) -> Lost {
        Lost { from: death.who(), died: true, before: death.alive, seen: death.seen }
    }
}

/// What is kept of deaths and of items to be delivered again.
#[derive(Debug)]
pub struct Deaths {
    all: Vec<Death>,
    lost: HashMap<ItemId, Lost>,
    shown_for: Duration,
}

impl Default for Deaths {
    fn default() -> Self {
        Deaths { all: Vec::new(), lost: HashMap::new(), shown_for: SHOWN }
    }
}

impl Deaths {
    /// Shows deaths for this long.
    pub fn show_for(&mut self, time: Duration) {
        self.shown_for = time;
    }

    /// No longer shows the deaths of the process `pid`.
    pub fn dismiss(&mut self, pid: u32) {
        let of_process = self.all.iter_mut().filter(|one| one.info.pid == pid);
        of_process.for_each(|one| one.is_dismissed = true);
    }

    fn is_shown(&self, death: &Death, now: Instant) -> bool {
        !death.is_dismissed && (!death.is_reaped || now.duration_since(death.seen) < self.shown_for)
    }

    /// The number of deaths whose entries are not free yet.
    pub fn unreaped(&self) -> u64 {
        self.all.iter().filter(|one| !one.is_reaped).count() as u64
    }

    pub fn add(&mut self, death: Death) {
        self.all.push(death);
    }

    /// The death of the participant of this serial number.
    pub fn of(&self, serial: u32) -> Option<&Death> {
        self.all.iter().find(|one| one.info.serial == serial)
    }

    /// Records that its entry is free. False: no death of this participant is known.
    pub fn reap(&mut self, serial: u32) -> bool {
        let death = self.all.iter_mut().find(|one| one.info.serial == serial);
        death.map(|one| one.is_reaped = true).is_some()
    }

    /// The only participant that died at this observation and left items.
    pub fn only_victim(&self, look: &Observation) -> Option<&Death> {
        let mut all = self.found(look).filter(|one| one.items > 0);
        all.next().filter(|_| all.next().is_none())
    }

    /// The deaths to show, in their order.
    pub fn shown(&self, now: Instant) -> impl Iterator<Item = &Death> {
        self.all.iter().filter(move |one| self.is_shown(one, now))
    }

    /// The deaths that this observation has found.
    pub fn found(&self, look: &Observation) -> impl Iterator<Item = &Death> {
        let at = look.at;
        self.all.iter().filter(move |one| one.seen == at)
    }

    pub fn lose(&mut self, id: ItemId, lost: Lost) {
        self.lost.insert(id, lost);
    }

    /// The previous holder of an item that is taken now.
    pub fn origin(&mut self, id: ItemId, now: Instant) -> Option<Origin> {
        self.lost.remove(&id).map(|lost| lost.origin(now))
    }

    /// Forgets what is no longer needed.
    pub fn tidy(&mut self, look: &Observation) {
        let all = std::mem::take(&mut self.all);
        self.all = all.into_iter().filter(|one| !one.is_reaped || self.is_shown(one, look.at)).collect();
        if !self.lost.is_empty() {
            let waits = |id| {
                look.firsts().any(|seen| seen.slot.state == SlotState::Redeliver && seen.id() == Some(id))
            };
            self.lost.retain(|&id, _| waits(id));
        }
    }
}
