//! The ring's record of deaths: their number, what recovery found, and a mark for each dead participant under
//! its serial number. Observers use the mark to tell a participant that died from one that left.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::repaired::Repaired;
use crate::layout::head::{self, DeathMark};
use crate::layout::mapping::Mapping;
use crate::protocol::Recovered;

/// The mark for this serial number. Other serial numbers share the same word.
fn mark_of(mapping: &Mapping, serial: u32) -> &AtomicU64 {
    mapping.head_word(DeathMark::place(serial))
}

/// Marks participant `serial` as dead, and adds what this recovery found to the mark. This happens before the
/// entry is freed, so a process that finds the entry free finds the mark. If several processes recover from
/// one death, each adds what it found.
pub(crate) fn mark(mapping: &Mapping, serial: u32, recovered: Recovered) {
    // Relaxed: the exchange that frees the entry publishes the mark.
    let _ = mark_of(mapping, serial).fetch_update(Relaxed, Relaxed, |word| {
        let before = read(word, serial).unwrap_or_default();
        let abandoned = before.abandoned + recovered.abandoned;
        let returned = before.returned + recovered.returned;
        Some(DeathMark { serial, abandoned, returned }.write())
    });
}

fn read(word: u64, serial: u32) -> Option<Repaired> {
    let DeathMark { abandoned, returned, .. } = DeathMark::read(word).filter(|mark| mark.serial == serial)?;
    Some(Repaired { participants: 1, abandoned, returned })
}

/// Adds what a recovery found to the totals. This happens after the recovery: a death in between leaves the
/// totals too low.
pub(crate) fn count(mapping: &Mapping, repaired: Repaired) {
    for (n, more) in [repaired.participants, repaired.abandoned, repaired.returned].into_iter().enumerate() {
        mapping.head_word(head::DEATHS + n as u64 * 8).fetch_add(more, Relaxed); // Relaxed: statistics.
    }
}

/// What all recoveries found so far.
pub(crate) fn totals(mapping: &Mapping) -> Repaired {
    let word = |n: u64| mapping.head_word(head::DEATHS + n * 8).load(Relaxed); // Relaxed: statistics.
    Repaired { participants: word(0), abandoned: word(1), returned: word(2) }
}

/// What was recovered from the participant with this serial number, if it has a mark.
pub(crate) fn death_of(mapping: &Mapping, serial: u32) -> Option<Repaired> {
    read(mark_of(mapping, serial).load(Relaxed), serial) // Relaxed: for display.
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::Role;
    use crate::membership::table::{Entry, Recover, reap, recover};
    use crate::membership::testing::{attached, dies, ring};

    #[test]
    fn dying_leaves_a_mark_and_leaving_does_not() {
        let (_name, ring) = ring(Default::default());
        let (leaves, one) = (attached(&ring, Role::Consumer), attached(&ring, Role::Producer));
        let serials = (leaves.serial, one.serial);
        drop(leaves);
        let number = dies(one);
        assert_eq!(death_of(ring.mapping(), serials.1), None, "it is not found yet");
        reap(ring.observer(), number);
        assert_eq!(death_of(ring.mapping(), serials.0), None);
        assert_eq!(
            death_of(ring.mapping(), serials.1),
            Some(Repaired { participants: 1, ..Repaired::default() })
        );
        assert_eq!(totals(ring.mapping()).participants, 1);
    }

    /// It leaves after its entry was read, and before the kernel is asked: its number is then not locked any more.
    #[test]
    fn a_participant_that_leaves_during_its_recovery_is_not_marked() {
        let (_name, ring) = ring(Default::default());
        let leaves = attached(&ring, Role::Consumer);
        let (number, serial) = (leaves.number, leaves.serial);
        let entry = Entry::read(ring.mapping(), number);
        drop(leaves);
        assert!(ring.observer().is_dead(number));
        assert_eq!(recover(ring.observer(), &entry), Repaired::default());
        assert_eq!(death_of(ring.mapping(), serial), None);
        assert_eq!(totals(ring.mapping()), Repaired::default());
    }

    #[test]
    fn a_mark_sums_what_several_recoveries_found_and_its_counts_saturate() {
        let (_name, ring) = ring(Default::default());
        let recovered = |returned, abandoned| Recovered { returned, abandoned, ..Recovered::default() };
        let of = |serial| death_of(ring.mapping(), serial).map(|death| (death.returned, death.abandoned));
        mark(ring.mapping(), 5, recovered(2, 0));
        mark(ring.mapping(), 5, recovered(1, 1));
        assert_eq!(of(5), Some((3, 1)));
        mark(ring.mapping(), 5, recovered(1 << 23, 1 << 23));
        assert_eq!(of(5), Some((0xffff, 0x7fff)));
        mark(ring.mapping(), 133, recovered(1, 0));
        assert_eq!((of(5), of(133)), (None, Some((1, 0))), "the later of two in one place");
    }
}
