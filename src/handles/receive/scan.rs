//! Finds a consumer's next item: at head, behind head, and by checking the owners of slots that are in the way.

use std::sync::atomic::Ordering::Acquire;

use crate::membership::participant::Participant;
use crate::membership::recovery::reap_all;
use crate::membership::stream_end;
use crate::membership::sweep::Sweep;
use crate::protocol::memory::Memory;
use crate::protocol::word::Word;
use crate::protocol::{Claim, NoItem};
use crate::sys::clock;
use crate::wait::{Depth, SLICE};
use crate::{Error, Result};

/// Consumers move past a writer at head that takes longer than this.
const WRITER_PATIENCE_NS: u64 = 5_000_000;
/// The maximum number of thorough looks between two searches for returned items that no process announced: of
/// looks before a sleep, and of looks of a try. The number does not depend on the duration of a search: if the
/// process was suspended during one, that would delay the next search by hours.
const LOOKS_OF_A_WAIT: u64 = 16;
const LOOKS_OF_A_TRY: u64 = 256;
/// The slots that such a search may cost per thorough look, within the limits above.
const SLOTS_PER_LOOK: u64 = 1024;
/// The maximum number of items that a busy consumer takes between two readings of the clock.
const MOST_UNTIMED: u32 = 4096;

/// The state that a consumer keeps from one look to the next.
#[derive(Debug)]
pub struct Scan {
    /// Decides when to check for dead participants.
    sweep: Sweep,
    /// The event counter at the last search for returned items.
    events: u64,
    /// Where the last search found an item: there may be more behind it.
    again: Option<u64>,
    /// Thorough looks until an unannounced search is due.
    unsearched: u64,
    /// Whether the looks belong to a wait, not to a try.
    pub waits: bool,
    /// The writer in the way, and since when it has been in the way.
    writer: Option<(u64, Word, u64)>,
    /// What the last look for the end of the stream found.
    looked: stream_end::Looked,
    /// Items until the next reading of the clock, and the number to start from after a reading.
    untimed: (u32, u32),
    /// When the clock was last read between items.
    timed_at: u64,
}

impl Scan {
    /// The state before the first look, which is a thorough one. `watches` as for [`Sweep::new`].
    pub fn new(watches: bool) -> Self {
        Scan {
            sweep: Sweep::new(watches),
            events: 0,
            again: Some(0),
            unsearched: 0,
            waits: false,
            writer: None,
            looked: stream_end::Looked::default(),
            untimed: (1, 1),
            timed_at: clock::coarse_ns(),
        }
    }

    /// The event counter that this consumer has seen.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Whether the last search for returned items found one: there may be more of them.
    pub fn expects_more(&self) -> bool {
        self.again.is_some()
    }

    /// Whether a look at head is not enough.
    #[inline]
    pub fn is_due(&mut self, participant: &Participant) -> bool {
        self.untimed.0 -= 1;
        if self.untimed.0 == 0 && self.sweep_while_busy(participant) {
            return true;
        }
        self.has_events(participant)
    }

    /// Takes the turn to check for dead participants about once per slice even if the consumer never waits. It
    /// also learns how many items come in a slice. True: some were dead.
    #[cold]
    fn sweep_while_busy(&mut self, participant: &Participant) -> bool {
        let now = clock::coarse_ns();
        let passed = now.saturating_sub(self.timed_at);
        let items = self.untimed.1;
        let items = if passed < SLICE.as_nanos() as u64 / 2 { items * 2 } else { items / 2 };
        let items = items.clamp(1, MOST_UNTIMED);
        self.untimed = (items, items);
        self.timed_at = now;
        self.sweep.in_turn(participant)
    }

    #[inline]
    fn has_events(&self, participant: &Participant) -> bool {
        // E9: this acquire sees the announced items.
        self.again.is_some() || participant.memory().returned().load(Acquire) != self.events
    }

    /// Checks the liveness of all participants before a consumer reports that there is no item, without or after a
    /// wait. True: there may be an item now.
    #[cold]
    pub fn reaps_all(&self, participant: &Participant) -> bool {
        // Another process may have freed a dead participant's entry meanwhile. It announced the items before that.
        reap_all(&participant.slots).any() || self.has_events(participant)
    }

    /// Whether to search for returned items although no process announced any. Each handle counts its looks.
    fn searches_unannounced(&mut self, capacity: u64) -> bool {
        if self.unsearched > 0 {
            self.unsearched -= 1;
            return false;
        }
        let most = if self.waits { LOOKS_OF_A_WAIT } else { LOOKS_OF_A_TRY };
        self.unsearched = (capacity / SLOTS_PER_LOOK).min(most).saturating_sub(1);
        true
    }

    /// One look for up to `most` items.
    pub fn look(
        &mut self,
        participant: &Participant,
        look: Depth,
        most: usize,
        follow: bool,
    ) -> Result<Option<Claim>> {
        let slots = &participant.slots;
        let mut thorough = look != Depth::Quick;
        // The item at head is left for later only while more items can come.
        let aside = look == Depth::Aside && stream_end::more_may_come(slots);
        if self.has_events(participant) {
            // Returned items are older than the item at head.
            if let Some(claim) = self.follow_announced(participant) {
                return Ok(Some(claim));
            }
            thorough = true;
        }
        let at_head = match aside {
            true => Err(NoItem::Empty),
            false => slots.claim_items(participant.number, most, slots.codec().max_run()),
        };
        match at_head {
            Ok(claim) => return Ok(Some(claim)),
            Err(NoItem::Writing(position, word)) if thorough => {
                if self.stands_in_the_way(participant, position, word) {
                    return Ok(slots.claim_items(participant.number, most, slots.codec().max_run()).ok());
                }
            }
            Err(_) => {}
        }
        if !thorough {
            return Ok(None);
        }
        // A wait begins with at most its own limit, whatever count the tries have left.
        self.unsearched = self.unsearched.min(if self.waits { LOOKS_OF_A_WAIT } else { LOOKS_OF_A_TRY });
        let due = self.searches_unannounced(slots.codec().capacity());
        if self.sweep.in_turn(participant) || due {
            let found = self.find_returned(participant, None);
            if found.is_some() {
                return Ok(found);
            }
        }
        self.end(participant, follow)
    }

    /// Searches for returned items if there may be some: they were announced, or the last search found one.
    fn follow_announced(&mut self, participant: &Participant) -> Option<Claim> {
        // E9: read before the search, so that a later event starts another search.
        let events = participant.memory().returned().load(Acquire);
        // The low half counts returned items, the high half other events.
        let returned = events as u32 != self.events as u32;
        self.events = events;
        match self.again {
            _ if returned => self.find_returned(participant, None),
            Some(slot) => self.find_returned(participant, Some(slot)),
            None => None,
        }
    }

    fn find_returned(&mut self, participant: &Participant, from: Option<u64>) -> Option<Claim> {
        let found = participant.slots.claim_returned(participant.number, from);
        self.again = found.map(|claim| claim.position);
        found
    }

    /// Handles the writer of the next item: recovers its claim if it is dead, moves past it if it is slow. True:
    /// look again.
    fn stands_in_the_way(&mut self, participant: &Participant, position: u64, word: Word) -> bool {
        if participant.reap_owner(word.owner()) {
            return true;
        }
        let now = clock::monotonic_ns();
        match self.writer {
            Some((at, seen, since)) if (at, seen) == (position, word) => {
                now - since >= WRITER_PATIENCE_NS && participant.slots.pass_writer(position, word)
            }
            _ => {
                self.writer = Some((position, word, now));
                false
            }
        }
    }

    fn end(&mut self, participant: &Participant, follow: bool) -> Result<Option<Claim>> {
        match stream_end::stream_ended(&participant.slots, Some(participant.number), &mut self.looked) {
            Some(stream) if !follow || stream.is_closed() => Err(Error::Ended),
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handles::testing::{attached, dies, ring};
    use crate::handles::{Ring, RingOptions, Role};
    use crate::layout::entry;
    use crate::membership::table::reap;
    use crate::protocol::word::Tag;
    use crate::sys::testing::TestName;
    use std::sync::atomic::Ordering::Relaxed;

    /// A participant that looks when a test tells it to, and takes what it finds.
    struct Searcher(Participant, Scan);

    impl Searcher {
        /// Has looked once.
        fn on(ring: &Ring) -> Searcher {
            let mut searcher = Searcher(attached(ring, Role::Consumer), Scan::new(false));
            assert!(matches!(searcher.looks(Depth::Quick), Ok(None)));
            searcher
        }

        fn looks(&mut self, depth: Depth) -> Result<Option<Claim>> {
            self.1.look(&self.0, depth, 1, false)
        }
    }

    #[test]
    fn an_event_makes_one_quick_look_thorough() {
        let (_name, ring) = ring(Default::default());
        let producer = ring.producer().unwrap();
        let mut searcher = Searcher::on(&ring);
        searcher.0.memory().announce_event();
        assert!(searcher.1.has_events(&searcher.0));
        assert!(matches!(searcher.looks(Depth::Quick), Ok(None)));
        assert!(!searcher.1.has_events(&searcher.0), "they are known");
        drop(producer);
        assert!(
            matches!(searcher.looks(Depth::Quick), Err(Error::Ended)),
            "a consumer that leaves announces it"
        );
    }

    #[test]
    fn a_dead_writer_at_head_is_recovered_and_the_item_behind_it_is_found_at_once() {
        let (_name, ring) = ring(Default::default());
        let (mut dead, mut producer) = (ring.producer().unwrap(), ring.producer().unwrap());
        let mut searcher = Searcher::on(&ring);
        std::mem::forget(dead.reserve(1).unwrap());
        drop(dead);
        producer.send(b"behind").unwrap();
        assert_eq!(searcher.looks(Depth::Thorough).unwrap().map(|claim| claim.position), Some(1));
    }

    #[test]
    fn a_thorough_look_recovers_dead_participants_when_a_sweep_is_due() {
        let (_name, ring) = ring(Default::default());
        let _producer = ring.producer().unwrap();
        let mut searcher = Searcher::on(&ring);
        let number = dies(attached(&ring, Role::Consumer));
        ring.mapping().head_word(crate::layout::head::SWEPT_AT).store(0, Relaxed);
        assert!(matches!(searcher.looks(Depth::Thorough), Ok(None)));
        assert_eq!(ring.mapping().entry_word(number, entry::STATE).load(Relaxed), 0);
    }

    /// Marks the item in slot 0 for redelivery without an announcement, as a process does that recovers the item
    /// and is killed right after its exchange.
    fn returned_by_a_killed_process(ring: &Ring) {
        let (word, codec) = (ring.mapping().word(0), ring.observer().codec());
        let held = Word(word.load(Relaxed));
        word.store(codec.turned(held, Tag::Redeliver, 1, 0, held.attempt()).0, Relaxed);
    }

    /// A ring of `capacity` slots with an item that a dead consumer holds, the number of that consumer, and a
    /// searcher that has just searched everywhere and will do so again after `most` looks.
    fn held_by_the_dead(capacity: u64, most: u64) -> (TestName, Ring, u32, Searcher) {
        let name = TestName::new();
        let ring = RingOptions::new().capacity(capacity).slot_size(8).create(name.0.as_str()).unwrap();
        let mut producer = ring.producer().unwrap();
        producer.send(b"x").unwrap();
        let mut holder = ring.consumer().unwrap();
        std::mem::forget(holder.recv().unwrap());
        let number = holder.core.participant().number;
        drop(holder);
        let mut searcher = Searcher(attached(&ring, Role::Consumer), Scan::new(false));
        searcher.1.waits = true;
        // As after a search that found nothing and took so long that a sweep would be due.
        searcher.1.again = None;
        searcher.1.events = ring.observer().memory().returned().load(Acquire);
        searcher.1.unsearched = most - 1;
        std::mem::forget(producer);
        (name, ring, number, searcher)
    }

    #[test]
    fn an_item_returned_by_a_killed_process_is_found_when_another_one_frees_the_entry() {
        let (_name, ring, number, mut searcher) = held_by_the_dead(1 << 20, u64::MAX);
        returned_by_a_killed_process(&ring);
        assert_eq!(reap(ring.observer(), number).returned, 0);
        assert!(matches!(searcher.looks(Depth::Quick), Ok(Some(_))));
    }

    #[test]
    fn an_unannounced_item_is_found_after_a_number_of_looks_however_long_a_search_takes() {
        for (waits, most) in [(true, LOOKS_OF_A_WAIT), (false, LOOKS_OF_A_TRY)] {
            // A try leaves a higher limit behind than a wait may have.
            let (_name, ring, number, mut searcher) = held_by_the_dead(1 << 20, LOOKS_OF_A_TRY);
            searcher.1.waits = waits;
            returned_by_a_killed_process(&ring);
            // Frees the entry without announcing it.
            ring.mapping().entry_word(number, entry::STATE).store(0, Relaxed);
            let looks = (0..=most).find(|_| matches!(searcher.looks(Depth::Thorough), Ok(Some(_))));
            assert!(looks.is_some(), "not in {most} looks");
        }
    }

    #[test]
    fn a_large_ring_is_searched_only_after_many_tries() {
        let mut scan = Scan::new(false);
        let searches = |scan: &mut Scan| (0..512).filter(|_| scan.searches_unannounced(1 << 20)).count();
        assert_eq!(searches(&mut scan), 2);
        scan.waits = true;
        assert_eq!(searches(&mut scan), 32);
    }

    #[test]
    fn an_item_left_for_later_is_taken_when_no_more_can_come() {
        let (_name, ring) = ring(Default::default());
        let mut producer = ring.producer().unwrap();
        let mut searcher = Searcher::on(&ring);
        producer.send(b"below the level").unwrap();
        assert!(matches!(searcher.looks(Depth::Aside), Ok(None)));
        drop(producer);
        assert!(matches!(searcher.looks(Depth::Aside), Ok(Some(_))));
    }
}
