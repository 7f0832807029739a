//! Texts 000 and 001, the class for many, while processes are killed with `kill -9`.

use std::sync::atomic::Ordering::Relaxed;
use std::thread::{sleep, yield_now};
use std::time::Duration;

use ringpipe::{Discipline, RingOptions};

use super::{START, Verdict, until_still};
use crate::common::{Actor, Cast, Part, Result, wait_until};
use crate::ours::{self, Count};
use crate::textbook::{BUFFERSIZE, Semaphore::*, Textbook};
use crate::wrong_signal::produce;

/// Items to be sent after a kill.
const COUNT: u64 = 1000;
/// Kills at random moments that the naive version may survive.
const MOST_KILLS: u64 = 200;
/// The least number of kills on the ring; more if twice the kills of the naive version are more.
const KILLS: u64 = 25;
/// A victim lives less than this before it is killed.
const LIFE_US: u64 = 2000;
/// The stage of a producer that has begun.
const BEGUN: u64 = 1 << 32;

/// A process is killed while it holds the mutex.
pub fn with_mutex(patience: Duration) -> Result<Verdict> {
    let cast = Cast::new();
    let textbook = Textbook::create(&cast.name("textbook"))?;
    let name = textbook.name();
    let victim = Actor::quiet("kills with mutex", 1, name)?;
    wait_until("the mutex in hand", START, || Ok(textbook.stage.load(Relaxed) == 1))?;
    victim.kill()?;
    let (consumer, producer) =
        (Actor::quiet("kills consumer", 1, name)?, Actor::quiet("kills producer", 1, name)?);
    wait_until("a producer", START, || Ok(textbook.stage.load(Relaxed) == BEGUN))?;
    let put = until_still(patience, || textbook.put.load(Relaxed))?;
    let mutex = textbook.value(Mutex);
    producer.kill()?;
    consumer.kill()?;

    let ring =
        ours::ring(&cast.name("ring"), Discipline::Semaphore, RingOptions::new().expected_producers(2))?;
    let victim = ours::holder(&ring, 1)?;
    wait_until("a slot in hand", START, || Ok(ring.snapshot()?.writing == 1))?;
    victim.kill()?;
    let (consumer, producer) = (ours::consumer(&ring)?, ours::producer(&ring, 2, COUNT)?);
    producer.end()?;
    let seen: Count = consumer.end()?.parse()?;
    ring.remove()?;
    Ok(Verdict {
        naive: format!("{put} of {COUNT} items went through after the kill: mutex = {mutex} for ever"),
        failed: put == 0 && mutex == 0,
        ours: format!("{} of {COUNT} items went through after the kill", seen.received),
        held: seen == Count { received: COUNT, again: 0, missing: 0 },
    })
}

/// One process after the other is killed between `wait(room)` and `signal(items)`.
pub fn capacity(patience: Duration) -> Result<Verdict> {
    let cast = Cast::new();
    let textbook = Textbook::create(&cast.name("textbook"))?;
    let name = textbook.name();
    let mut rooms = vec![textbook.value(Room).to_string()];
    for n in 1..=BUFFERSIZE {
        let victim = Actor::quiet("kills with room", n, name)?;
        wait_until("a token in hand", START, || Ok(textbook.stage.load(Relaxed) == n))?;
        victim.kill()?;
        rooms.push(textbook.value(Room).to_string());
    }
    let producer = Actor::quiet("kills producer", 1, name)?;
    wait_until("a producer", START, || Ok(textbook.stage.load(Relaxed) == BEGUN))?;
    let put = until_still(patience, || textbook.put.load(Relaxed))?;
    producer.kill()?;

    let ring = ours::ring(&cast.name("ring"), Discipline::Semaphore, RingOptions::new())?;
    for n in 1..=ring.capacity() {
        let victim = ours::holder(&ring, n)?;
        wait_until("a slot in hand", START, || holds(&ring, victim.id()))?;
        victim.kill()?;
    }
    let mut producer = ring.producer()?.typed::<ours::Item>();
    let mut sent = 0;
    while sent < ring.capacity() && producer.send_timeout(&[99, sent + 1], START).is_ok() {
        sent += 1;
    }
    let capacity = ring.capacity();
    ring.remove()?;
    Ok(Verdict {
        naive: format!(
            "room = {}: after {BUFFERSIZE} kills {put} items fit into a buffer of {BUFFERSIZE} that is empty",
            rooms.join(", ")
        ),
        failed: put == 0 && textbook.value(Room) == 0,
        ours: format!("after {capacity} kills {sent} items fit into a ring of {capacity}"),
        held: sent == capacity,
    })
}

/// Whether this process is in the middle of a write.
fn holds(ring: &ringpipe::Ring, pid: u32) -> Result<bool> {
    let seen = ring.snapshot()?;
    let number = seen.participants.iter().find(|one| one.pid == pid).map(|one| one.number);
    Ok(seen.held.iter().any(|held| held.writing && Some(held.owner) == number))
}

/// A busy producer is killed somewhere, and the next one takes its place.
///
/// Both versions' producers give the processor away in the middle of each put, as happens by itself on a busy machine:
/// otherwise, on few processors, a victim would nearly always be killed asleep.
pub fn random(patience: Duration) -> Result<Verdict> {
    let cast = Cast::new();
    let (mut kills, mut stuck) = (0, None);
    let textbook = Textbook::create(&cast.name("textbook"))?;
    let consumer = Actor::quiet("kills consumer", 1, textbook.name())?;
    while kills < MOST_KILLS {
        let before = textbook.taken.load(Relaxed);
        let victim = Actor::quiet("kills victim", kills + 1, textbook.name())?;
        let goes_on = || Ok(textbook.taken.load(Relaxed) > before + BUFFERSIZE);
        while stuck.is_none() && wait_until("an item", patience, goes_on).is_err() {
            stuck = standstill(&textbook);
        }
        if stuck.is_some() {
            break;
        }
        sleep(Duration::from_micros(fastrand::u64(..LIFE_US)));
        victim.kill()?;
        kills += 1;
    }
    consumer.kill()?;

    let ring = ours::ring(&cast.name("ring"), Discipline::Semaphore, RingOptions::new())?;
    // As long as this producer is attached, the stream does not end.
    let present = ring.producer()?;
    let consumer = ours::consumer(&ring)?;
    let ours = KILLS.max(2 * kills);
    for n in 1..=ours {
        let before = ring.snapshot()?.totals.acknowledged;
        let victim = ours::victim(&ring, n)?;
        wait_until("an item", START, || Ok(ring.snapshot()?.totals.acknowledged > before + ring.capacity()))?;
        sleep(Duration::from_micros(fastrand::u64(..LIFE_US)));
        victim.kill()?;
    }
    drop(present);
    let seen: Count = consumer.end()?.parse()?;
    ring.remove()?;
    let failed = stuck.is_some();
    let state = stuck.map(|state| {
        let plural = if kills == 1 { "" } else { "s" };
        format!("nothing moves any more after {kills} kill{plural}: {state}")
    });
    Ok(Verdict {
        naive: state.unwrap_or_else(|| format!("went on after {kills} kills")),
        failed,
        ours: format!(
            "went on after {ours} kills: {} items, {} lost, {} twice",
            seen.received, seen.missing, seen.again
        ),
        held: seen.missing == 0 && seen.again == 0,
    })
}

/// The semaphores, if no process can continue any more.
fn standstill(buffer: &Textbook) -> Option<String> {
    let (room, items, mutex) = (buffer.value(Room), buffer.value(Items), buffer.value(Mutex));
    let still = mutex == 0 || (room == 0 && items == 0);
    still.then(|| format!("room = {room}, items = {items}, mutex = {mutex}"))
}

/// The parts.
pub fn play(role: &str, part: &Part) -> Result {
    let buffer = Textbook::open(part.name())?;
    match role {
        "producer" => {
            buffer.stage.store(BEGUN, Relaxed);
            for item in 1.. {
                produce(&buffer, item);
                buffer.put.fetch_add(1, Relaxed);
            }
        }
        "victim" => {
            for item in 1.. {
                produce_by_and_by(&buffer, item);
            }
        }
        "consumer" => loop {
            consume(&buffer);
            buffer.taken.fetch_add(1, Relaxed);
        },
        with => {
            buffer.wait(Room);
            if with == "with mutex" {
                buffer.wait(Mutex);
            }
            buffer.stage.store(part.number(), Relaxed);
            sleep(Duration::from_secs(3600));
        }
    }
    Ok(())
}

/// 000: `produce(self, item)`, for many, as on a busy machine.
fn produce_by_and_by(buffer: &Textbook, item: u64) {
    buffer.wait(Room);
    buffer.wait(Mutex);
    let place = buffer.next_in.load(Relaxed);
    buffer.buffer[place as usize].store(item, Relaxed);
    yield_now();
    buffer.next_in.store((place + 1) % BUFFERSIZE, Relaxed);
    buffer.signal(Mutex);
    buffer.signal(Items);
}

/// 000: `consume(self)`, for many.
fn consume(buffer: &Textbook) -> u64 {
    buffer.wait(Items);
    buffer.wait(Mutex);
    let place = buffer.next_out.load(Relaxed);
    let item = buffer.buffer[place as usize].load(Relaxed);
    buffer.next_out.store((place + 1) % BUFFERSIZE, Relaxed);
    buffer.signal(Mutex);
    buffer.signal(Room);
    item
}
