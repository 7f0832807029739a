//! The consumers that hold items, and how many of these items are being worked on or wait.

use std::collections::BTreeMap;

use serde::Serialize;

use super::runs::{self, Running, Runs, Work};
use crate::cli::consumer;
use crate::{Held, ItemKey, Liveness, ParticipantInfo, PidNamespace, RingObserver, SlotState};

/// A consumer that holds items.
#[derive(Serialize)]
pub struct Holder {
    pub participant: u32,
    pub pid: Option<u32>,
    /// How many, and since when it has held the oldest of them.
    pub items: u64,
    pub oldest_for_ns: Option<u64>,
    /// The held items with earlier failures.
    pub items_failed: u64,
    #[serde(flatten)]
    pub states: States,
    /// The commands that it runs: the child processes of its process.
    pub runs: Vec<Running>,
}

/// What the items of a worker wait for. `None`: it cannot be known.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct States {
    /// Items that a command works on.
    #[serde(rename = "items_running")]
    pub running: Option<u64>,
    /// Items without failures that no command works on.
    #[serde(rename = "items_waiting")]
    pub waiting: Option<u64>,
    /// Items that have failed before, and that no command works on.
    #[serde(rename = "items_delayed")]
    pub delayed: Option<u64>,
}

/// An item that a consumer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct HeldItem {
    key: ItemKey,
    failures: u8,
}

/// The consumers that hold items, by their numbers.
pub fn holders(ring: &RingObserver, held: &[Held], participants: &[ParticipantInfo]) -> Vec<Holder> {
    let holder = |(number, items): (u32, Vec<HeldItem>)| {
        let owner = participants.iter().find(|participant| participant.number == number);
        // Only then does the process id refer to that process here.
        let is_here = |owner: &&ParticipantInfo| {
            owner.liveness != Liveness::Dead && owner.pid_namespace == Some(PidNamespace::This)
        };
        let (runs, states) = match owner.filter(is_here) {
            Some(owner) => {
                // Read the commands after the items: a command that started in between works on none of these
                // items.
                let runs = runs::of(owner.pid, ring.name());
                let tells = runs::command_line(owner.pid)
                    .is_some_and(|line| consumer::starts_a_command_for_each_job(&line, ring.name()));
                let states = if tells { states(&items, &runs) } else { States::default() };
                (runs.list, states)
            }
            None => Default::default(),
        };
        let own = held.iter().filter(|one| one.owner == number && !one.writing);
        Holder {
            participant: number,
            pid: owner.map(|owner| owner.pid),
            items: items.len() as u64,
            oldest_for_ns: own.filter_map(|one| one.since).max(),
            items_failed: items.iter().filter(|item| item.failures > 0).count() as u64,
            states,
            runs,
        }
    };
    held_items(ring).into_iter().map(holder).collect()
}

/// The items that each participant holds.
fn held_items(ring: &RingObserver) -> BTreeMap<u32, Vec<HeldItem>> {
    let mut owners: BTreeMap<u32, Vec<HeldItem>> = BTreeMap::new();
    for slot in ring.slots().filter(|slot| slot.state == SlotState::Reading && slot.part == 0) {
        // An item that was settled meanwhile is left out.
        if let (Some(owner), Some(item)) = (slot.owner, ring.slot_item(&slot, 0)) {
            let key = ItemKey { producer: item.producer, sequence: item.sequence };
            owners.entry(owner).or_default().push(HeldItem { key, failures: item.failures });
        }
    }
    owners
}

/// What the items of a worker that runs these commands wait for.
fn states(items: &[HeldItem], runs: &Runs) -> States {
    let Some(works) = runs.works() else { return States::default() };
    let mut rest = items.to_vec();
    for Work { key, attempt, items } in works {
        if items > 1 && attempt > 1 {
            // Any of its items may have failed, and only the first is named.
            return States::default();
        }
        let is_first = |item: &HeldItem| item.key == key && u32::from(item.failures) + 1 == attempt;
        // A command whose item came or was settled meanwhile works on none of these.
        let Some(first) = rest.iter().position(is_first) else { continue };
        rest.swap_remove(first);
        for _ in 1..items {
            let other = rest.iter().position(|item| item.failures == 0);
            other.map(|other| rest.swap_remove(other));
        }
    }
    let delayed = rest.iter().filter(|item| item.failures > 0).count();
    States {
        running: Some((items.len() - rest.len()) as u64),
        waiting: Some((rest.len() - delayed) as u64),
        delayed: Some(delayed as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Held items, by sequence and failures.
    fn held<const N: usize>(items: [(u64, u8); N]) -> [HeldItem; N] {
        items.map(|(sequence, failures)| HeldItem { key: ItemKey { producer: 1, sequence }, failures })
    }

    /// Running, waiting and delayed, with commands that work on these: sequence, attempt and number of items.
    fn counts(items: &[HeldItem], works: &[Option<(u64, u32, u64)>]) -> Option<[u64; 3]> {
        let work = |&(sequence, attempt, items): &(u64, u32, u64)| Work {
            key: ItemKey { producer: 1, sequence },
            attempt,
            items,
        };
        let list = works.iter().map(|one| Running::of_test(one.as_ref().map(work))).collect();
        let States { running, waiting, delayed } = states(items, &Runs { list, is_complete: true });
        Some([running?, waiting?, delayed?])
    }

    #[test]
    fn items_without_a_command_wait_or_are_delayed() {
        let items = held([(0, 0), (1, 2), (2, 1), (3, 0)]);
        assert_eq!(counts(&items, &[]), Some([0, 2, 2]));
        assert_eq!(counts(&items, &[Some((0, 1, 1)), Some((2, 2, 1))]), Some([2, 1, 1]));
        // Two items have the same key, and one of them has failed.
        let twice = held([(0, 0), (0, 1)]);
        assert_eq!(counts(&twice, &[Some((0, 1, 1))]), Some([1, 0, 1]));
        assert_eq!(counts(&twice, &[Some((0, 2, 1))]), Some([1, 1, 0]));
    }

    #[test]
    fn a_command_whose_item_was_settled_works_on_none() {
        assert_eq!(counts(&held([(1, 1)]), &[Some((1, 1, 1)), Some((7, 1, 1))]), Some([0, 0, 1]));
    }

    #[test]
    fn a_first_attempt_at_several_items_has_none_that_failed() {
        let items = held([(0, 0), (1, 0), (2, 0), (3, 0), (4, 1)]);
        assert_eq!(counts(&items, &[Some((1, 1, 3))]), Some([3, 1, 1]));
        assert_eq!(counts(&items, &[Some((1, 1, 9))]), Some([4, 0, 1]));
    }

    #[test]
    fn nothing_is_said_where_a_command_does_not_tell_its_items() {
        let items = held([(0, 0), (1, 1)]);
        assert_eq!(counts(&items, &[Some((0, 1, 1)), None]), None);
        assert_eq!(counts(&items, &[Some((1, 2, 2))]), None);
        let unread = Runs { list: Vec::new(), is_complete: false };
        assert_eq!(states(&items, &unread), States::default());
    }
}
