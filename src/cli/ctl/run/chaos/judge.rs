//! Checks a round after its end: what was sent, what each consumer got and what it wrote are put side by side.
//!
//! The logs name each item by its producer and number. The whole items that a consumer wrote are the first ones that its
//! log has it receive, in the same order. So an item is known as delivered again by its name, not by its bytes, and equal
//! items are no problem.
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

/// What a round comes to.
#[derive(Default)]
pub struct Verdict {
    /// The items that were written, each once.
    pub distinct: Digest,
    /// Further times that items were written.
    pub again: u64,
    /// Of the deliveries after the first, those of an item whose consumer was not killed.
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
