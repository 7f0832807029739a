//! Checks a round after its end: compares what was sent, what each consumer received, and what it wrote.
//!
//! The logs name each item by its producer and number. The whole items that a consumer wrote are the first
//! items that it received, according to its log, in the same order. So a redelivered item is recognised by
//! its name, not by its bytes, and equal items are no problem.
use std::collections::HashMap;
use std::path::PathBuf;

use super::super::feed::Block;
use super::super::verify::Digest;
use super::produce::Unsure;
use super::stage::Life;
use crate::cli::common::exit::{Failure, code};
use crate::cli::ctl::check;
use crate::framing::Framing;
use crate::testing::history::{Checker, Event, EventKind, Logs, Report};

/// What is known of an item.
#[derive(Debug, Clone, Copy, Default)]
struct Item {
    was_sent: bool,
    was_got: bool,
    was_written: bool,
    /// The last consumer that received it, by the place of its log.
    holder: u32,
}

/// The result of a round.
#[derive(Default)]
pub struct Verdict {
    /// The items that were written, each once.
    pub distinct: Digest,
    /// Further times that items were written.
    pub again: u64,
    /// Deliveries after the first of items whose consumer was not killed.
    pub unexplained: u64,
    /// Items that were sent or received, and that no consumer wrote.
    pub lost: u64,
    /// Items that a consumer wrote without having received them.
    pub unexpected: u64,
    /// Items with other bytes than the log of their consumer has.
    pub altered: u64,
    /// The check of the logs.
    pub history: Report,
    /// Items that killed producers began to send and that are not in the ring: they are sent again.
    pub unsent: Block,
}

struct Judge<'l> {
    lives: &'l [&'l Life],
    items: HashMap<u64, Vec<Item>>,
    /// The number of items that each process has received so far.
    got: Vec<usize>,
    verdict: Verdict,
}

/// Checks the logs of all processes of a round through a ring of `slots` slots.
///
/// # Errors
/// The [`Failure`] of a log that cannot be read.
pub fn judge<'l>(
    lives: impl Iterator<Item = &'l Life>,
    unsure: &[Unsure],
    slots: u64,
    framing: Framing,
) -> Result<Verdict, Failure> {
    // A process that was killed at its start has no log.
    let lives: Vec<&Life> = lives.filter(|life| life.log.exists()).collect();
    let paths: Vec<&PathBuf> = lives.iter().map(|life| &life.log).collect();
    let mut logs = Logs::open(&paths).map_err(check::failure)?;
    let mut checker = Checker::new().capacity(slots);
    let mut judge = Judge {
        items: HashMap::new(),
        got: vec![0; lives.len()],
        verdict: Verdict::default(),
        lives: &lives,
    };
    while let Some((event, place)) = logs.next().map_err(check::failure)? {
        checker.take(&event, place);
        match event.kind {
            EventKind::Sent => judge.item(&event).was_sent = true,
            EventKind::Got => judge.got(&event, place.file as usize),
            _ => {}
        }
    }
    let mut history = checker.finish();
    history.truncated = logs.truncated();
    history.files = logs.into_files();
    let mut verdict = judge.finish(unsure, framing)?;
    verdict.history = history;
    Ok(verdict)
}

impl Judge<'_> {
    fn item(&mut self, event: &Event) -> &mut Item {
        let items = self.items.entry(event.producer).or_default();
        let index = event.sequence as usize;
        if items.len() <= index {
            items.resize(index + 1, Item::default());
        }
        &mut items[index]
    }

    /// A consumer received an item, and wrote it unless it was killed before.
    fn got(&mut self, event: &Event, file: usize) {
        let lives = self.lives;
        let written = lives[file].written.get(self.got[file]);
        self.got[file] += 1;
        let item = self.item(event);
        let before = item.was_got.then_some(item.holder);
        let was_written = item.was_written;
        (item.was_got, item.holder, item.was_written) = (true, file as u32, was_written || written.is_some());
        let verdict = &mut self.verdict;
        if before.is_some_and(|holder| !lives[holder as usize].was_killed) {
            verdict.unexplained += 1;
        }
        let Some(written) = written else { return };
        if event.hash != Some(written.logged) {
            verdict.altered += 1;
        }
        match was_written {
            true => verdict.again += 1,
            false => verdict.distinct.add(written.len, written.hash),
        }
    }

    fn finish(mut self, unsure: &[Unsure], framing: Framing) -> Result<Verdict, Failure> {
        let items = self.items.values().flatten();
        self.verdict.lost =
            items.filter(|item| (item.was_sent || item.was_got) && !item.was_written).count() as u64;
        let surplus =
            self.lives.iter().zip(&self.got).map(|(life, got)| life.written.len().saturating_sub(*got));
        self.verdict.unexpected = surplus.sum::<usize>() as u64;
        for Unsure { producer, first, items } in unsure {
            let known = self.items.get(producer);
            for (number, item) in (*first as usize..).zip(items.items()) {
                if known.and_then(|known| known.get(number)).is_some_and(|item| item.was_got) {
                    continue;
                }
                let pushed = self.verdict.unsent.push(item, framing);
                pushed.map_err(|error| Failure::new(code::RUNTIME, error.to_string()))?;
            }
        }
        Ok(self.verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::history::{Log, hash_of};

    use super::super::super::verify::Hash128;
    use super::super::stage::Written;

    /// The lives of one round, whose logs are written by hand.
    struct Story {
        folder: tempfile::TempDir,
        hash: Hash128,
        lives: Vec<Life>,
    }

    impl Story {
        fn new() -> Self {
            Story { folder: tempfile::tempdir().unwrap(), hash: Hash128::default(), lives: Vec::new() }
        }

        fn life(&mut self, was_killed: bool, written: &[&[u8]], log: impl FnOnce(&mut Log)) {
            let path = self.folder.path().join(format!("{}.log", self.lives.len()));
            let mut file = Log::open(&path).unwrap();
            file.set_process(self.lives.len() as u64);
            log(&mut file);
            let written = written.iter().map(|item| Written {
                len: item.len(),
                hash: self.hash.of(item),
                logged: hash_of(item),
            });
            let written = written.collect();
            self.lives.push(Life { log: path, was_killed, written });
        }

        fn judge(&self, unsure: &[Unsure]) -> Verdict {
            judge(self.lives.iter(), unsure, 64, Framing::Lines).unwrap()
        }

        fn digest(&self, items: &[&[u8]]) -> Digest {
            let mut digest = Digest::default();
            items.iter().for_each(|item| digest.add(item.len(), self.hash.of(item)));
            digest
        }
    }

    const ITEMS: [&[u8]; 3] = [b"a", b"a", b"c"];

    fn send(log: &mut Log, count: u64) {
        for (number, item) in (0..count).zip(ITEMS) {
            log.attempt(1, number, item).unwrap();
            log.sent(1, number).unwrap();
        }
    }

    fn receive(log: &mut Log, number: u64, attempt: u8, acknowledges: bool) {
        log.got(1, number, attempt, ITEMS[number as usize]).unwrap();
        if acknowledges {
            log.acking(1, number, attempt).unwrap();
            log.acked(1, number, attempt).unwrap();
        }
    }

    fn counts(verdict: &Verdict) -> [u64; 5] {
        [verdict.again, verdict.unexplained, verdict.lost, verdict.unexpected, verdict.altered]
    }

    #[test]
    fn an_item_that_was_in_hand_of_a_killed_consumer_comes_again() {
        let mut story = Story::new();
        story.life(false, &[], |log| send(log, 3));
        // It wrote two of three items and acknowledged one.
        story.life(true, &ITEMS[..2], |log| {
            receive(log, 0, 1, true);
            receive(log, 1, 1, false);
            receive(log, 2, 1, false);
        });
        story.life(false, &ITEMS[1..], |log| {
            receive(log, 1, 2, true);
            receive(log, 2, 2, true);
        });
        let verdict = story.judge(&[]);
        assert_eq!(counts(&verdict), [1, 0, 0, 0, 0]);
        assert_eq!(verdict.distinct, story.digest(&ITEMS));
        assert!(verdict.history.is_clean(), "{}", verdict.history);
    }

    #[test]
    fn an_item_that_comes_again_without_a_death_is_a_fault() {
        for was_killed in [true, false] {
            let mut story = Story::new();
            story.life(false, &[], |log| send(log, 1));
            story.life(was_killed, &ITEMS[..1], |log| receive(log, 0, 1, false));
            story.life(false, &ITEMS[..1], |log| receive(log, 0, 2, true));
            assert_eq!(counts(&story.judge(&[])), [1, u64::from(!was_killed), 0, 0, 0]);
        }
    }

    #[test]
    fn an_item_that_comes_again_after_its_acknowledgement_is_a_fault() {
        let mut story = Story::new();
        story.life(false, &[], |log| send(log, 1));
        story.life(true, &ITEMS[..1], |log| receive(log, 0, 1, true));
        story.life(false, &ITEMS[..1], |log| receive(log, 0, 2, true));
        assert!(!story.judge(&[]).history.is_clean());
    }

    #[test]
    fn items_that_no_consumer_wrote_are_lost() {
        let mut story = Story::new();
        story.life(true, &[], |log| send(log, 3));
        // The second was acknowledged and not written, the third never received.
        story.life(true, &ITEMS[..1], |log| (0..2).for_each(|number| receive(log, number, 1, true)));
        let verdict = story.judge(&[]);
        assert_eq!(counts(&verdict), [0, 0, 2, 0, 0]);
        assert_eq!(verdict.distinct, story.digest(&ITEMS[..1]));
    }

    #[test]
    fn what_was_written_and_not_received_or_changed_is_a_fault() {
        let mut story = Story::new();
        story.life(false, &[], |log| send(log, 1));
        story.life(false, &[b"b", b"x"], |log| receive(log, 0, 1, true));
        assert_eq!(counts(&story.judge(&[])), [0, 0, 0, 1, 1]);
    }

    #[test]
    fn an_unsure_item_is_sent_again_only_if_it_was_not_received() {
        let mut story = Story::new();
        story.life(true, &[], |log| {
            ITEMS.iter().zip(0..).for_each(|(item, number)| log.attempt(1, number, item).unwrap());
            log.sent(1, 0).unwrap();
        });
        story.life(false, &ITEMS[..2], |log| (0..2).for_each(|number| receive(log, number, 1, true)));
        let mut items = Block::default();
        ITEMS[1..].iter().for_each(|item| items.push(item, Framing::Lines).unwrap());
        let verdict = story.judge(&[Unsure { producer: 1, first: 1, items }]);
        assert_eq!(counts(&verdict), [0; 5]);
        assert_eq!(verdict.unsent.items().collect::<Vec<_>>(), [ITEMS[2]]);
        assert_eq!(verdict.history.counts.recovered, 1);
    }

    #[test]
    fn a_process_without_a_log_was_killed_at_its_start() {
        let mut story = Story::new();
        story.life(false, &[], |log| send(log, 1));
        let log = story.folder.path().join("missing");
        story.lives.push(Life { log, was_killed: true, written: Vec::new() });
        story.life(false, &ITEMS[..1], |log| receive(log, 0, 1, true));
        assert_eq!(counts(&story.judge(&[])), [0; 5]);
    }
}
