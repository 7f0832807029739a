//! Keeps one producer at work: after a kill, its successor sends what is left.
//!
//! A producer's log says what it began to send and what it has sent. The successor gets the items after
//! those. An item that was begun and not logged as sent may be in the ring or not: it is unsure until the
//! round is over and the received items show whether it was sent. Until then no process sends it again.
use std::io::{self, Write};
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use super::super::feed::{Block, Source, lock};
use super::super::verify::Digest;
use super::stage::{Ending, Life, Slot, Stage};
use crate::Role;
use crate::cli::common::exit::{Failure, code};
use crate::cli::ctl::check;
use crate::cli::ctl::children::Process;
use crate::testing::history::{EventKind, Logs, hash_of};

/// Items of a killed producer that may have been sent.
pub struct Unsure {
    /// The producer's number in the logs, and that of the first item.
    pub producer: u64,
    pub first: u64,
    pub items: Block,
}

/// What the producers of one place did in a round.
#[derive(Default)]
pub struct Produced {
    pub lives: Vec<Life>,
    pub unsure: Vec<Unsure>,
}

/// Feeds producers, one after the other, until the round has its share or the input ends. `first` is sent before the
/// input.
///
/// # Errors
/// The [`Failure`] of the input, or of a producer that fails.
pub fn produce(
    stage: &Stage,
    slot: &Slot,
    source: &Mutex<Source>,
    mut left: Block,
) -> Result<Produced, Failure> {
    let mut produced = Produced::default();
    loop {
        let log = stage.new_log(Role::Producer);
        let Some(pipe) = slot.start(stage, Role::Producer, &log, Process::take_input)? else {
            return Ok(produced);
        };
        let mut given = left;
        let fed = match pipe {
            Some(pipe) => feed(stage, source, pipe, &mut given),
            None => Ok(()),
        };
        let ending = slot.wait(stage);
        fed?;
        let was_killed = match ending? {
            Ending::Over => return Ok(produced),
            ending => matches!(ending, Ending::Killed),
        };
        produced.lives.push(Life { log: log.clone(), was_killed, written: Vec::new() });
        if !was_killed {
            return Ok(produced);
        }
        let told = Told::read(&log, &given)?;
        if told.sent < told.begun {
            let items = part(&given, told.sent, told.begun, stage)?;
            produced.unsure.push(Unsure { producer: told.producer, first: told.sent as u64, items });
        }
        left = part(&given, told.begun, given.len(), stage)?;
    }
}

/// Feeds one producer; `given` gets all items that were written to it. Returns when the producer has left, too.
fn feed(
    stage: &Stage,
    source: &Mutex<Source>,
    mut pipe: impl Write,
    given: &mut Block,
) -> Result<(), Failure> {
    if !write(&mut pipe, given)? {
        return Ok(());
    }
    let mut block = Block::default();
    while !stage.has_enough() {
        let has_time = stage.shared.input_ends.is_none_or(|end| Instant::now() < end);
        if !has_time || !lock(source).next_block(&mut block)? {
            return Ok(());
        }
        let mut digest = Digest::default();
        for item in block.items() {
            digest.add(item.len(), stage.shared.hash.of(item));
        }
        stage.note_given(digest);
        given.append(&block);
        if !write(&mut pipe, &block)? {
            return Ok(());
        }
    }
    Ok(())
}

/// False: the producer has left.
fn write(pipe: &mut impl Write, block: &Block) -> Result<bool, Failure> {
    match pipe.write_all(block.framed()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        result => result.map(|()| true).map_err(|error| Failure::io("feeding a producer", &error)),
    }
}

/// The items from `first` to before `end`.
fn part(block: &Block, first: usize, end: usize, stage: &Stage) -> Result<Block, Failure> {
    let mut part = Block::default();
    for item in block.items().skip(first).take(end - first) {
        let pushed = part.push(item, stage.shared.framing);
        pushed.map_err(|error| Failure::new(code::RUNTIME, error.to_string()))?;
    }
    Ok(part)
}

/// What a killed producer's log tells.
#[derive(Default)]
struct Told {
    producer: u64,
    /// The number of items that it began to send, and of those that it logged as sent.
    begun: usize,
    sent: usize,
}

impl Told {
    /// Reads the log of a producer that was given these items: items are numbered from 0 in the order in which it reads
    /// them.
    fn read(log: &Path, given: &Block) -> Result<Self, Failure> {
        let mut told = Told::default();
        if !log.exists() {
            // Killed before it made its log.
            return Ok(told);
        }
        let mut items = given.items();
        let mut logs = Logs::open(&[log]).map_err(check::failure)?;
        while let Some((event, _)) = logs.next().map_err(check::failure)? {
            told.producer = event.producer;
            match event.kind {
                EventKind::Attempt => {
                    let same = items.next().map(hash_of) == event.hash && event.sequence == told.begun as u64;
                    if !same {
                        let line = "not verified: a producer began to send an item that it was not given";
                        return Err(Failure::new(code::ASSERTION, line));
                    }
                    told.begun += 1;
                }
                EventKind::Sent => told.sent += 1,
                _ => {}
            }
        }
        Ok(told)
    }
}
