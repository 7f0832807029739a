//! Producers and consumers on a ring, for all experiments.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::thread::{sleep, yield_now};
use std::time::Duration;

use ringpipe::{Discipline, Error, Ring, RingOptions};

use crate::common::{Actor, Part, Result, say};
use crate::textbook::BUFFERSIZE;

/// An item: the number of its producer, and its own number from 1 on.
pub type Item = [u64; 2];

/// What a consumer has seen.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Different items.
    pub received: u64,
    /// Items that it had seen before.
    pub again: u64,
    /// Items that never came although later ones of the same producer did.
    pub missing: u64,
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.received, self.again, self.missing)
    }
}

impl FromStr for Count {
    type Err = Box<dyn std::error::Error>;

    fn from_str(text: &str) -> Result<Self> {
        let numbers = text.split(' ').map(str::parse).collect::<Result<Vec<_>, _>>()?;
        let [received, again, missing] = numbers[..] else { return Err("three numbers are expected".into()) };
        Ok(Count { received, again, missing })
    }
}

/// Counts received items.
#[derive(Default)]
pub struct Ledger {
    seen: BTreeMap<u64, Vec<u64>>,
    last: BTreeMap<u64, u64>,
    count: Count,
}

impl Ledger {
    /// Takes note of an item.
    pub fn note(&mut self, [producer, number]: Item) {
        let words = self.seen.entry(producer).or_default();
        let (word, bit) = ((number / 64) as usize, 1 << (number % 64));
        words.resize(words.len().max(word + 1), 0);
        if words[word] & bit != 0 {
            self.count.again += 1;
            return;
        }
        words[word] |= bit;
        self.count.received += 1;
        let last = self.last.entry(producer).or_default();
        *last = number.max(*last);
    }

    /// The counts, with the missing items.
    pub fn count(self) -> Count {
        let missing = self.last.values().sum::<u64>() - self.count.received;
        Count { missing, ..self.count }
    }
}

/// A ring for an experiment.
pub fn ring(name: &str, discipline: Discipline, options: RingOptions) -> Result<Ring> {
    Ok(options.capacity(BUFFERSIZE).sync(discipline).create(name)?)
}

/// Starts a producer of `count` items; it prints how many it has sent.
pub fn producer(ring: &Ring, number: u64, count: u64) -> Result<Actor> {
    Actor::quiet(&format!("ours send:{count}"), number, ring.name())
}

/// Starts a consumer; at the end of the stream it prints what it has seen.
pub fn consumer(ring: &Ring) -> Result<Actor> {
    Actor::quiet("ours receive:", 1, ring.name())
}

/// Starts a producer that reserves room for an item, and holds it until it is killed.
pub fn holder(ring: &Ring, number: u64) -> Result<Actor> {
    Actor::quiet("ours hold:", number, ring.name())
}

/// Starts a producer that goes on until it is killed, and gives the processor away in the middle of each item.
pub fn victim(ring: &Ring, number: u64) -> Result<Actor> {
    Actor::quiet("ours victim:", number, ring.name())
}

/// The parts.
pub fn play(role: &str, part: &Part) -> Result {
    match role.split_once(':') {
        Some(("send", count)) => send(part, count.parse()?),
        Some(("hold", _)) => hold(part),
        Some(("victim", _)) => send_by_and_by(part),
        _ => receive(part),
    }
}

fn send(part: &Part, count: u64) -> Result {
    let mut producer = part.ring()?.producer()?.typed::<Item>();
    for number in 1..=count {
        producer.send(&[part.number(), number])?;
    }
    say(count);
    Ok(())
}

fn send_by_and_by(part: &Part) -> Result {
    let mut producer = part.ring()?.producer()?;
    for number in 1_u64.. {
        let mut reserved = producer.reserve(16)?;
        reserved.write_at(0, &part.number().to_ne_bytes());
        yield_now();
        reserved.write_at(8, &number.to_ne_bytes());
        reserved.commit();
    }
    Ok(())
}

fn hold(part: &Part) -> Result {
    let mut producer = part.ring()?.producer()?;
    let reserved = producer.reserve(16)?;
    sleep(Duration::from_secs(3600));
    reserved.commit();
    Ok(())
}

fn receive(part: &Part) -> Result {
    let mut consumer = part.ring()?.consumer()?.typed::<Item>();
    let mut ledger = Ledger::default();
    loop {
        match consumer.recv() {
            Ok(item) => {
                ledger.note(*item);
                item.ack();
            }
            Err(Error::Ended) => break,
            Err(error) => return Err(error.into()),
        }
    }
    say(ledger.count());
    Ok(())
}
