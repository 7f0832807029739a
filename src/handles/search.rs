//! How a consumer looks for its next item: at head, behind head, and at those who stand in the way.

use std::sync::atomic::Ordering::Acquire;

use super::end;
use super::participant::Participant;
use crate::ring::memory::Memory;
use crate::ring::word::Word;
use crate::ring::{Claim, Nothing};
use crate::sync::{Look, SLICE};
use crate::sys::clock;
use crate::{Error, Result};

/// How long a writer may keep those behind it waiting before they pass it.
const WRITER_PATIENCE_NS: u64 = 5_000_000;
/// How often `try_recv` looks thoroughly although nothing was announced.
const THOROUGH_EVERY_NS: u64 = 1_000_000;
/// A search for returned items that nobody announced may take this share of the time: one in so many.
const SEARCH_SHARE: u64 = 2_000;
/// The same for a busy consumer's look for the dead.
const SWEEP_SHARE: u64 = 50;
/// Items that a busy consumer takes at most between two readings of the clock.
const MOST_UNTIMED: u32 = 4096;

/// What a consumer remembers between looks.
#[derive(Debug)]
pub(super) struct Search {
    /// The news that were known at the last search for returned items.
    news: u64,
    /// Where the last search found something: there may be more behind it.
    again: Option<u64>,
    /// When an unannounced search is due next.
    due: u64,
    /// When `try_recv` last looked thoroughly.
    thorough_at: u64,
    /// The writer in the way, and since when.
    writer: Option<(u64, Word, u64)>,
    /// Where something was held when the end of the stream was last looked for.
    held: Option<u64>,
    /// Items until the clock is read, and how many that is after a reading.
    untimed: (u32, u32),
    /// When the clock was last read between items.
    timed_at: u64,
    /// A busy consumer does not look for the dead before this.
    sweep_due: u64,
}

impl Search {
    /// Nothing is known yet: the first look is a thorough one.
    pub fn new() -> Self {
        Search {
            news: 0,
            again: Some(0),
            due: 0,
            thorough_at: 0,
            writer: None,
            held: None,
            untimed: (1, 1),
            timed_at: clock::coarse_ns(),
            sweep_due: 0,
        }
    }

    /// The news that this consumer knows.
    pub fn news(&self) -> u64 {
        self.news
    }

    /// Whether the last search for returned items found one: there may be more.
    pub fn expects_more(&self) -> bool {
        self.again.is_some()
    }

    /// Whether more than a look at head is called for.
    #[inline]
    pub fn is_due(&mut self, participant: &Participant) -> bool {
        self.untimed.0 -= 1;
        if self.untimed.0 == 0 && self.sweep_while_busy(participant) {
            return true;
        }
        self.has_news(participant)
    }

    /// A consumer that never waits looks for the dead as well, about once per slice, or less often where
    /// that takes long; how many items a slice is, it learns. True: somebody was buried.
    #[cold]
    fn sweep_while_busy(&mut self, participant: &Participant) -> bool {
        let now = clock::coarse_ns();
        let passed = now.saturating_sub(self.timed_at);
        let items = self.untimed.1;
        let items = if passed < SLICE.as_nanos() as u64 / 2 { items * 2 } else { items / 2 };
        let items = items.clamp(1, MOST_UNTIMED);
        self.untimed = (items, items);
        self.timed_at = now;
        if now < self.sweep_due {
            return false;
        }
        let begin = clock::monotonic_ns();
        let found = participant.sweep_in_turn();
        // In a large crowd it takes milliseconds.
        self.sweep_due = now + (clock::monotonic_ns() - begin) * SWEEP_SHARE;
        found
    }

    #[inline]
    fn has_news(&self, participant: &Participant) -> bool {
        // E9: what was announced is seen.
        self.again.is_some() || participant.memory().returned().load(Acquire) != self.news
    }

    /// How thoroughly a consumer looks that does not wait.
    pub fn depth_of_try(&mut self) -> Look {
        let now = clock::coarse_ns();
        if now.wrapping_sub(self.thorough_at) < THOROUGH_EVERY_NS {
            return Look::Quick;
        }
        self.thorough_at = now;
        Look::Thorough
    }

    /// One look for up to `most` items.
    pub fn look(
        &mut self,
        participant: &Participant,
        look: Look,
        most: usize,
        follow: bool,
    ) -> Result<Option<Claim>> {
        let slots = &participant.slots;
        let mut thorough = look != Look::Quick;
        // What is at head is left for later only as long as more can come.
        let aside = look == Look::Aside && end::more_may_come(slots);
        if self.has_news(participant) {
            // Returned items are older than what waits at head.
            if let Some(claim) = self.follow_news(participant) {
                return Ok(Some(claim));
            }
            thorough = true;
        }
        let at_head = match aside {
            true => Err(Nothing::Empty),
            false => slots.claim_items(participant.number, most, slots.codec().max_run()),
        };
        match at_head {
            Ok(claim) => return Ok(Some(claim)),
            Err(Nothing::Writing(position, word)) if thorough => {
                if self.stands_in_the_way(participant, position, word) {
                    return Ok(slots.claim_items(participant.number, most, slots.codec().max_run()).ok());
                }
            }
            Err(_) => {}
        }
        if !thorough {
            return Ok(None);
        }
        let now = clock::monotonic_ns();
        if participant.sweep_in_turn() || now >= self.due {
            let found = self.find_returned(participant, None);
            self.due = now + (clock::monotonic_ns() - now) * SEARCH_SHARE;
            if found.is_some() {
                return Ok(found);
            }
        }
        self.end(participant, follow)
    }

    /// Looks for returned items if there may be some: they were announced, or some were found before.
    fn follow_news(&mut self, participant: &Participant) -> Option<Claim> {
        // E9: read before the search: what comes later is news again.
        let news = participant.memory().returned().load(Acquire);
        // The low half counts returned items, the high half other news.
        let returned = news as u32 != self.news as u32;
        self.news = news;
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

    /// Deals with the writer of the next item: dead, it is buried; slow, it is passed. True: look again.
    fn stands_in_the_way(&mut self, participant: &Participant, position: u64, word: Word) -> bool {
        if participant.bury_owner(word.owner()) {
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
        match end::stream_ended(&participant.slots, Some(participant.number), &mut self.held) {
            Some(door) if !follow || door.is_closed() => Err(Error::Ended),
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handles::participant::tell_news;
    use crate::handles::testing::{attached, dies, ring};
    use crate::handles::{Ring, Role};
    use crate::layout::fields::entry;
    use std::sync::atomic::Ordering::Relaxed;

    /// One that looks at what it is told to look at, and takes what it finds.
    struct Looker(Participant, Search);

    impl Looker {
        /// It has looked once.
        fn on(ring: &Ring) -> Looker {
            let mut looker = Looker(attached(ring, Role::Consumer), Search::new());
            assert!(matches!(looker.looks(Look::Quick), Ok(None)));
            looker
        }

        fn looks(&mut self, depth: Look) -> Result<Option<Claim>> {
            self.1.look(&self.0, depth, 1, false)
        }
    }

    #[test]
    fn news_make_a_quick_look_thorough_and_are_news_once() {
        let (_name, ring) = ring(Default::default());
        let producer = ring.producer().unwrap();
        let mut looker = Looker::on(&ring);
        tell_news(looker.0.memory());
        assert!(looker.1.has_news(&looker.0));
        assert!(matches!(looker.looks(Look::Quick), Ok(None)));
        assert!(!looker.1.has_news(&looker.0), "they are known");
        drop(producer);
        assert!(matches!(looker.looks(Look::Quick), Err(Error::Ended)), "who leaves tells it");
    }

    #[test]
    fn a_dead_writer_at_head_is_buried_and_what_is_behind_it_is_found_at_once() {
        let (_name, ring) = ring(Default::default());
        let (mut dead, mut producer) = (ring.producer().unwrap(), ring.producer().unwrap());
        let mut looker = Looker::on(&ring);
        std::mem::forget(dead.reserve(1).unwrap());
        drop(dead);
        producer.send(b"behind").unwrap();
        assert_eq!(looker.looks(Look::Thorough).unwrap().map(|claim| claim.position), Some(1));
    }

    #[test]
    fn a_thorough_look_buries_the_dead_if_it_is_time() {
        let (_name, ring) = ring(Default::default());
        let _producer = ring.producer().unwrap();
        let mut looker = Looker::on(&ring);
        let number = dies(attached(&ring, Role::Consumer));
        ring.view().head_word(crate::layout::fields::head::SWEPT_AT).store(0, Relaxed);
        assert!(matches!(looker.looks(Look::Thorough), Ok(None)));
        assert_eq!(ring.view().entry_word(number, entry::STATE).load(Relaxed), 0);
    }

    #[test]
    fn what_is_left_for_later_is_taken_when_nobody_is_left_to_bring_more() {
        let (_name, ring) = ring(Default::default());
        let mut producer = ring.producer().unwrap();
        let mut looker = Looker::on(&ring);
        producer.send(b"below the level").unwrap();
        assert!(matches!(looker.looks(Look::Aside), Ok(None)));
        drop(producer);
        assert!(matches!(looker.looks(Look::Aside), Ok(Some(_))));
    }
}
