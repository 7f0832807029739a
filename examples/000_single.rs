//! Texts 000 and 001, first class: one producer, one consumer, two semaphores.
//!
//! *What it does.* `room` begins with the number of free slots, `items` with 0. The producer waits for `room`, writes
//! `buffer[in]`, moves `in` on, and signals `items`; the consumer waits for `items`, reads `buffer[out]`, moves
//! `out` on, and signals `room`. (`consume` returns `out`, the place, where `item` is meant.)
//!
//! *Right:* the two never touch the same slot, and need no lock: `in` belongs to one, `out` to the other. *Wrong:* a
//! second producer would break this, and nothing keeps one out; and if a process dies between a wait and a signal,
//! its token is lost for ever.
//!
//! *Here:* an exclusive ring with `Discipline::Semaphore`. The order of operations is the text's, and the two
//! semaphores are printed as they go up and down; a second producer is refused. Tokens of a killed process
//! are replaced, since the slots say what is there: `cargo run --example naive -- lost-capacity`.
//!
//! ```sh
//! ringctl create single --capacity 10 --sync semaphore --exclusive
//! seq 20 | producer single & consumer single
//! ```

mod common;

use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use clap::Parser;
use common::{Cast, Part, Result, ensure, perform, say, wait_until};
use ringpipe::{Discipline, Error, ErrorKind, Ring, RingOptions};

/// Texts 000 and 001: one producer, one consumer, two semaphores
#[derive(Parser)]
struct Options {
    /// Items to produce
    #[arg(long, value_name = "N", default_value_t = 24)]
    count: u64,
    /// How long the consumer takes for an item
    #[arg(long, value_name = "DUR", default_value = "100ms", value_parser = humantime::parse_duration)]
    work: Duration,
    #[command(flatten)]
    part: Part,
}

fn main() -> ExitCode {
    let options = Options::parse();
    perform(&options.part, |part| match part.role() {
        "producer" => produce(&options),
        "consumer" => consume(&options),
        _ => direct(),
    })
}

fn direct() -> Result {
    let mut cast = Cast::new();
    let name = cast.name("single");
    let ring = RingOptions::new().capacity(10).exclusive(true).sync(Discipline::Semaphore).create(&name)?;
    say(format_args!("a buffer of {} slots; {}", ring.capacity(), semaphores(&ring)?));
    cast.start("producer", 1, &name)?;
    wait_until("a producer", Duration::from_secs(30), || Ok(ring.snapshot()?.producers_ever > 0))?;
    let refused = ring.producer().map(drop).map_err(|error| error.kind());
    cast.start("consumer", 1, &name)?;
    cast.wait()?;
    let (totals, values) = (ring.snapshot()?.totals, semaphores(&ring)?);
    ring.remove()?;
    say(format_args!("\n{} produced, {} consumed, in order; {values}", totals.sent, totals.acknowledged));
    ensure(totals.sent > 0 && totals.sent == totals.acknowledged, "all that was produced is consumed")?;
    ensure(refused == Err(ErrorKind::Busy), "a second producer is refused")?;
    say("a second producer that tried to come was refused");
    Ok(())
}

/// The values of both semaphores.
fn semaphores(ring: &Ring) -> Result<String> {
    let seen = ring.snapshot()?;
    Ok(format!("room = {}, items = {}", seen.room_semaphore.0, seen.items_semaphore.0))
}

fn produce(options: &Options) -> Result {
    let ring = options.part.ring()?;
    let mut buffer = ring.producer()?.typed::<u64>();
    // Gives the first process time to try a second producer while this one is attached.
    sleep(Duration::from_millis(50));
    for item in 1..=options.count {
        buffer.send(&item)?; // room.wait(), buffer[in] = item, items.signal()
        say(format_args!("produce {item:<4}             {}", semaphores(&ring)?));
    }
    Ok(())
}

fn consume(options: &Options) -> Result {
    let ring = options.part.ring()?;
    let mut buffer = ring.consumer()?.typed::<u64>();
    for expected in 1.. {
        sleep(options.work);
        match buffer.recv() {
            Ok(item) => {
                ensure(*item == expected, "first in, first out")?;
                item.ack(); // items.wait(), item = buffer[out], room.signal()
                say(format_args!("            consume {expected:<4} {}", semaphores(&ring)?));
            }
            Err(Error::Ended) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
