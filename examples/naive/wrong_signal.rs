//! Text 001: its consumer for many signals `items` where it must signal `room`.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ringpipe::{Discipline, RingOptions};

use super::{START, Verdict, until_still};
use crate::common::{Actor, Cast, Part, Result, wait_until};
use crate::ours::{self, Count};
use crate::textbook::{BUFFERSIZE, Semaphore::*, Textbook};

/// Items to be sent.
const COUNT: u64 = 1000;

pub fn run(patience: Duration) -> Result<Verdict> {
    let cast = Cast::new();
    let textbook = Textbook::create(&cast.name("textbook"))?;
    let name = textbook.name();
    let consumer = Actor::quiet("wrong-signal consumer", 1, name)?;
    let producer = Actor::quiet("wrong-signal producer", 1, name)?;
    wait_until("a full buffer", START, || Ok(textbook.put.load(Relaxed) >= BUFFERSIZE))?;
    let put = until_still(patience, || textbook.put.load(Relaxed))?;
    let empty = textbook.taken.load(Relaxed).saturating_sub(put);
    let room = textbook.value(Room);
    producer.kill()?;
    consumer.kill()?;
    drop(textbook);

    let options = RingOptions::new();
    let ring = ours::ring(&cast.name("ring"), Discipline::Semaphore, options)?;
    let (consumer, producer) = (ours::consumer(&ring)?, ours::producer(&ring, 1, COUNT)?);
    producer.end()?;
    let seen: Count = consumer.end()?.parse()?;
    ring.remove()?;
    Ok(Verdict {
        naive: format!(
            "{put} of {COUNT} items went in, then the producer waited for room = {room} for ever; the consumer \
             took {empty} slots that held nothing new"
        ),
        failed: put == BUFFERSIZE && empty > 0,
        ours: format!("{} of {COUNT} items went through, {} twice", seen.received, seen.again),
        held: seen == Count { received: COUNT, again: 0, missing: 0 },
    })
}

/// The parts: 001's own lines.
pub fn play(role: &str, part: &Part) -> Result {
    let buffer = Textbook::open(part.name())?;
    match role {
        "producer" => {
            for item in 1..=COUNT {
                produce(&buffer, item);
                buffer.put.fetch_add(1, Relaxed);
            }
        }
        _ => loop {
            consume(&buffer);
            buffer.taken.fetch_add(1, Relaxed);
        },
    }
    Ok(())
}

/// 001: `produce(self, item)`, for many.
pub fn produce(buffer: &Textbook, item: u64) {
    buffer.wait(Room);
    buffer.wait(Mutex);
    let place = buffer.next_in.load(Relaxed);
    buffer.buffer[place as usize].store(item, Relaxed);
    buffer.next_in.store((place + 1) % BUFFERSIZE, Relaxed);
    buffer.signal(Mutex);
    buffer.signal(Items);
}

/// 001: `consume(self)`, for many.
pub fn consume(buffer: &Textbook) -> u64 {
    buffer.wait(Items);
    buffer.wait(Mutex);
    let place = buffer.next_out.load(Relaxed);
    let item = buffer.buffer[place as usize].load(Relaxed);
    buffer.next_out.store((place + 1) % BUFFERSIZE, Relaxed);
    buffer.signal(Mutex);
    buffer.signal(Items); // 000 has room here, and says so in a remark
    item
}
