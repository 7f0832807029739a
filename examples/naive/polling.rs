//! Texts 000 and 001: the polling solution, said to be for many, with two producers.
//!
//! Both producers may pass the check for the same free slot. For one item in 64, this program gives the processor
//! away between the check and the write, as the texts' own loop does while the buffer is full. So the fault soon
//! happens also on machines with few processors.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::thread::yield_now;

use ringpipe::{Discipline, RingOptions};

use super::{ROUNDS, Verdict};
use crate::common::{Actor, Cast, Part, Result, say};
use crate::ours::{self, Count, Ledger};
use crate::textbook::{BUFFERSIZE, Textbook};

/// Items of each producer, and the number of producers.
const COUNT: u64 = 10_000;
const PRODUCERS: u64 = 2;
const ALL: u64 = COUNT * PRODUCERS;

pub fn run() -> Result<Verdict> {
    let cast = Cast::new();
    let (mut lost, mut again, mut rounds) = (0, 0, 0);
    while lost == 0 && rounds < ROUNDS {
        rounds += 1;
        let seen = textbook(&cast)?;
        (lost, again) = (ALL - seen.received, seen.again);
    }
    let options = RingOptions::new().expected_producers(PRODUCERS as u32);
    let ring = ours::ring(&cast.name("ring"), Discipline::Polling, options)?;
    let consumer = ours::consumer(&ring)?;
    let producers =
        (1..=PRODUCERS).map(|number| ours::producer(&ring, number, COUNT)).collect::<Result<Vec<_>>>()?;
    producers.into_iter().try_for_each(|producer| producer.end().map(drop))?;
    let seen: Count = consumer.end()?.parse()?;
    ring.remove()?;
    Ok(Verdict {
        naive: format!("{lost} of {ALL} items lost, {again} old ones read again"),
        failed: lost > 0,
        ours: format!("{} of {ALL} items lost, {} read again", ALL - seen.received, seen.again),
        held: seen == Count { received: ALL, again: 0, missing: 0 },
    })
}

/// Two producers and a consumer on the texts' buffer.
fn textbook(cast: &Cast) -> Result<Count> {
    let buffer = Textbook::create(&cast.name("textbook"))?;
    let consumer = Actor::quiet("polling consumer", 1, buffer.name())?;
    let producers = (1..=PRODUCERS)
        .map(|number| Actor::quiet("polling producer", number, buffer.name()))
        .collect::<Result<Vec<_>>>()?;
    producers.into_iter().try_for_each(|producer| producer.end().map(drop))?;
    // All items are in the buffer: the consumer ends when it finds nothing more.
    buffer.stage.store(1, Release);
    consumer.end()?.parse()
}

/// The parts.
pub fn play(role: &str, part: &Part) -> Result {
    let buffer = Textbook::open(part.name())?;
    match role {
        "producer" => (1..=COUNT).for_each(|number| produce(&buffer, part.number() << 32 | number)),
        _ => {
            let mut ledger = Ledger::default();
            while let Some(item) = consume(&buffer) {
                ledger.note([item >> 32, item & 0xffff_ffff]);
            }
            say(ledger.count());
        }
    }
    Ok(())
}

/// `produce(self, item)`.
fn produce(buffer: &Textbook, item: u64) {
    while (buffer.next_in.load(Relaxed) + 1) % BUFFERSIZE == buffer.next_out.load(Acquire) {
        yield_now();
    }
    if item.is_multiple_of(64) {
        yield_now(); // lets the other producer in: see above
    }
    let place = buffer.next_in.load(Relaxed);
    buffer.buffer[place as usize].store(item, Relaxed);
    buffer.next_in.store((place + 1) % BUFFERSIZE, Release);
}

/// `consume(self)`; `None` when all was put in and taken.
fn consume(buffer: &Textbook) -> Option<u64> {
    let place = buffer.next_out.load(Relaxed);
    while buffer.next_in.load(Acquire) == place {
        if buffer.stage.load(Acquire) == 1 && buffer.next_in.load(Acquire) == place {
            return None;
        }
        yield_now();
    }
    let item = buffer.buffer[place as usize].load(Relaxed);
    buffer.next_out.store((place + 1) % BUFFERSIZE, Release);
    Some(item)
}
