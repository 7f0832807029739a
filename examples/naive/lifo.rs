//! Text 000, first program: `queue.append` and `queue.pop()` work at the same end of the list.

use std::sync::atomic::Ordering::Relaxed;
use std::thread::sleep;
use std::time::Duration;

use ringpipe::{Discipline, Error, RingOptions};

use super::{ROUNDS, Verdict};
use crate::common::{Actor, Cast, Part, Result, say};
use crate::ours::{self, Item};
use crate::textbook::{BUFFERSIZE, Semaphore::*, Textbook};

/// Items of the producer.
const COUNT: u64 = 2000;
/// How long the consumer takes for an item: it is slower than the producer, so the list stays full.
const WORK: Duration = Duration::from_micros(50);

pub fn run() -> Result<Verdict> {
    let cast = Cast::new();
    let mut naive = 0;
    for _ in 0..ROUNDS {
        let list = Textbook::create(&cast.name("textbook"))?;
        let consumer = Actor::quiet("lifo consumer", 1, list.name())?;
        Actor::quiet("lifo producer", 1, list.name())?.end()?;
        naive = consumer.end()?.parse()?;
        if naive >= 10 * BUFFERSIZE {
            break;
        }
    }
    let ring = ours::ring(&cast.name("ring"), Discipline::Semaphore, RingOptions::new())?;
    let consumer = Actor::quiet("lifo our consumer", 1, ring.name())?;
    ours::producer(&ring, 1, COUNT)?.end()?;
    let ours: u64 = consumer.end()?.parse()?;
    ring.remove()?;
    Ok(Verdict {
        naive: format!("of {COUNT} items one was passed by {naive} younger ones, in a list of {BUFFERSIZE}"),
        failed: naive >= 10 * BUFFERSIZE,
        ours: format!("of {COUNT} items none was passed by more than {ours} younger ones"),
        held: ours <= BUFFERSIZE,
    })
}

/// The parts.
pub fn play(role: &str, part: &Part) -> Result {
    if role == "our consumer" {
        return our_consumer(part);
    }
    let list = Textbook::open(part.name())?;
    match role {
        "producer" => (1..=COUNT).for_each(|item| append(&list, item)),
        _ => {
            let items = (0..COUNT).map(|_| pop(&list)).inspect(|_| sleep(WORK)).collect::<Vec<_>>();
            say(most_passed(&items));
        }
    }
    Ok(())
}

fn append(list: &Textbook, item: u64) {
    list.wait(Room);
    list.wait(Mutex);
    let len = list.len.load(Relaxed);
    list.buffer[len as usize].store(item, Relaxed);
    list.len.store(len + 1, Relaxed);
    list.signal(Mutex);
    list.signal(Items);
}

fn pop(list: &Textbook) -> u64 {
    list.wait(Items);
    list.wait(Mutex);
    let len = list.len.load(Relaxed) - 1;
    let item = list.buffer[len as usize].load(Relaxed);
    list.len.store(len, Relaxed);
    list.signal(Mutex);
    list.signal(Room);
    item
}

fn our_consumer(part: &Part) -> Result {
    let mut consumer = part.ring()?.consumer()?.typed::<Item>();
    let mut items = Vec::new();
    loop {
        match consumer.recv() {
            Ok(item) => {
                items.push(item[1]);
                item.ack();
            }
            Err(Error::Ended) => break,
            Err(error) => return Err(error.into()),
        }
        sleep(WORK);
    }
    say(most_passed(&items));
    Ok(())
}

/// For the item that was passed by the most younger ones: how many passed it.
fn most_passed(items: &[u64]) -> u64 {
    let younger = |(at, item)| items[..at].iter().filter(|before| *before > item).count() as u64;
    items.iter().enumerate().map(younger).max().unwrap_or(0)
}
