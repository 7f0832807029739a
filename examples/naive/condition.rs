//! Text 002: its producer and its customers, word for word.

use std::sync::atomic::Ordering::Relaxed;
use std::thread::sleep;
use std::time::Duration;

use ringpipe::{Discipline, RingOptions, Thresholds};

use super::Verdict;
use crate::common::{Actor, Cast, Part, Result, say, wait_until};
use crate::ours::{self, Count};
use crate::textbook::Textbook;

/// The producer makes goods up to this number.
const LEVEL: i64 = 5;
/// Goods in the experiment with the lock, and how long each takes.
const GOODS: u64 = 15;
const SECOND: Duration = Duration::from_millis(30);
/// Goods in the experiment with `if`, and customers.
const MANY: u64 = 500;
const CUSTOMERS: u64 = 3;
/// How long the customers may take until one of them takes from an empty shelf.
const LONGEST: Duration = Duration::from_secs(20);

/// How many goods are taken while the producer makes one.
pub fn starving() -> Result<Verdict> {
    let cast = Cast::new();
    let shelf = Textbook::create(&cast.name("textbook"))?;
    let customers = customers(&shelf, "condition slow customer", 2)?;
    let producer = Actor::quiet("condition slow producer", 1, shelf.name())?;
    wait_until("goods", Duration::from_secs(60), || Ok(shelf.put.load(Relaxed) >= GOODS))?;
    let naive = shelf.meanwhile.load(Relaxed);
    producer.kill()?;
    customers.into_iter().try_for_each(Actor::kill)?;

    let monitor = Discipline::Monitor(Thresholds::default());
    let ring = ours::ring(&cast.name("ring"), monitor, RingOptions::new())?;
    let customers = (0..2).map(|_| ours::consumer(&ring)).collect::<Result<Vec<_>>>()?;
    let producer = Actor::quiet("condition our producer", 1, ring.name())?;
    let ours: u64 = producer.end()?.parse()?;
    let received = receive(customers)?;
    ring.remove()?;
    Ok(Verdict {
        naive: format!(
            "{naive} of {GOODS} were taken while something was being made: all others wait for the lock"
        ),
        failed: naive == 0,
        ours: format!("{ours} of {GOODS} were taken while something was being made"),
        // A third is enough: on a busy machine a process may be late, and the last item is never taken meanwhile.
        held: ours >= GOODS / 3 && received == Count { received: GOODS, again: 0, missing: 0 },
    })
}

/// Whether a customer takes from an empty shelf.
pub fn negative() -> Result<Verdict> {
    let cast = Cast::new();
    let shelf = Textbook::create(&cast.name("textbook"))?;
    let customers = customers(&shelf, "condition customer", CUSTOMERS)?;
    let producer = Actor::quiet("condition producer", 1, shelf.name())?;
    let failed = wait_until("less than nothing", LONGEST, || Ok(shelf.stage.load(Relaxed) > 0)).is_ok();
    producer.kill()?;
    customers.into_iter().try_for_each(Actor::kill)?;
    let (put, below) = (shelf.put.load(Relaxed), shelf.stage.load(Relaxed));

    let monitor = Discipline::Monitor(Thresholds { wake_at: LEVEL as u64, resume_at: Some(0) });
    let ring = ours::ring(&cast.name("ring"), monitor, RingOptions::new())?;
    let customers = (0..CUSTOMERS).map(|_| ours::consumer(&ring)).collect::<Result<Vec<_>>>()?;
    ours::producer(&ring, 1, MANY)?.end()?;
    let received = receive(customers)?;
    ring.remove()?;
    Ok(Verdict {
        naive: format!("a customer took from an empty shelf (num = -{below}) when {put} goods had been made"),
        failed,
        ours: format!(
            "{} goods made, {} taken by {CUSTOMERS} customers, none twice",
            MANY, received.received
        ),
        held: received.received == MANY && received.again == 0,
    })
}

fn customers(shelf: &Textbook, role: &str, count: u64) -> Result<Vec<Actor>> {
    (1..=count).map(|number| Actor::quiet(role, number, shelf.name())).collect()
}

/// Adds up what several consumers of the ring have received. `missing` of each counts items that the others had, so it
/// is left out.
fn receive(customers: Vec<Actor>) -> Result<Count> {
    let mut all = Count::default();
    for customer in customers {
        let count: Count = customer.end()?.parse()?;
        all.received += count.received;
        all.again += count.again;
    }
    Ok(all)
}

/// The parts.
pub fn play(role: &str, part: &Part) -> Result {
    if role == "our producer" {
        return our_producer(part);
    }
    let shelf = Textbook::open(part.name())?;
    let second = if role.starts_with("slow") { SECOND } else { Duration::from_micros(200) };
    match role.ends_with("producer") {
        true => producer(&shelf, second),
        false => customer(&shelf, second),
    }
}

/// 002's producer.
fn producer(shelf: &Textbook, second: Duration) -> Result {
    shelf.acquire();
    loop {
        let taken = shelf.taken.load(Relaxed);
        let num = shelf.num.fetch_add(1, Relaxed) + 1;
        sleep(second);
        shelf.put.fetch_add(1, Relaxed);
        // For the experiment with the lock: how many were taken while this one was made.
        shelf.meanwhile.fetch_add(shelf.taken.load(Relaxed) - taken, Relaxed);
        if num >= LEVEL {
            shelf.notify_all();
            shelf.wait_for_notice();
        }
    }
}

/// 002's customer, whose money never ends.
fn customer(shelf: &Textbook, second: Duration) -> Result {
    loop {
        shelf.acquire();
        if shelf.num.load(Relaxed) <= 0 {
            shelf.notify_all();
            shelf.wait_for_notice();
        }
        let num = shelf.num.fetch_sub(1, Relaxed) - 1;
        shelf.taken.fetch_add(1, Relaxed);
        if num < 0 {
            shelf.stage.store(num.unsigned_abs(), Relaxed);
        }
        shelf.release();
        sleep(second);
    }
}

/// Makes the same number of goods, in the same time each, and prints how many were taken meanwhile.
fn our_producer(part: &Part) -> Result {
    let ring = part.ring()?;
    let mut shelf = ring.producer()?.typed::<ours::Item>();
    let mut meanwhile = 0;
    for number in 1..=GOODS {
        sleep(SECOND);
        // All goods so far were taken while the producer made one: sending takes no time.
        meanwhile = ring.snapshot()?.totals.acknowledged;
        shelf.send(&[1, number])?;
    }
    say(meanwhile);
    Ok(())
}
