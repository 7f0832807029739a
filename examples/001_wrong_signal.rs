//! Text 001: its consumer for many signals `items` where it must signal `room`.
//!
//! ```text
//! def consume(self):
//!     semaphore_items.wait()
//!     _mutex.wait()
//!     item = buffer[out]
//!     out = (out + 1) % buffersize
//!     _mutex.signal()
//!     semaphore_items.signal()      # room is meant
//! ```
//!
//! *What comes of it.* No thread ever signals `room`: when the producer has put as many items in as there are slots, it
//! waits for ever. `items` never goes down: the consumer does not wait when the buffer is empty, but goes around in
//! it and takes every item again and again. Nothing shows the mistake as long as fewer items come than there are
//! slots. (Text 000 has the same class with the right signal, and a remark at each of these lines.)
//!
//! *Here:* for each side, `Discipline::Semaphore` signals the other side in one place of the source. Even if a token
//! were missing, a waiting process would look at the slots after 20 ms.
//!
//! This example runs 001's program word for word (examples/naive), then the same on a ring. `cargo run --example naive
//! -- wrong-signal` prints only counts.

mod common;

use std::process::ExitCode;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::sleep;
use std::time::Duration;

use clap::Parser;
use common::{Actor, Cast, Part, Result, ensure, perform, say};
use ringpipe::internal::sys::command::textbook::{BUFFERSIZE, Semaphore::*, Textbook};
use ringpipe::{Discipline, Error, RingOptions};

/// Text 001: the consumer signals items where room is meant
#[derive(Parser)]
struct Options {
    /// Items to produce
    #[arg(long, value_name = "N", default_value_t = 15)]
    count: u64,
    /// How long the consumer takes for an item
    #[arg(long, value_name = "DUR", default_value = "60ms", value_parser = humantime::parse_duration)]
    work: Duration,
    /// How many items the consumer takes in 001's version before it is stopped
    #[arg(long, value_name = "N", default_value_t = 25)]
    takes: u64,
    #[command(flatten)]
    part: Part,
}

fn main() -> ExitCode {
    let options = Options::parse();
    perform(&options.part, |part| match part.role() {
        "001's producer" => produce_as_001(&options),
        "001's consumer" => consume_as_001(&options),
        "producer" => produce(&options),
        "consumer" => consume(&options),
        _ => direct(&options),
    })
}

fn direct(options: &Options) -> Result {
    let mut cast = Cast::new();
    say(format_args!("As 001 has it, in a buffer of {BUFFERSIZE}:"));
    let buffer = Textbook::create(&cast.name("textbook"))?;
    let producer = Actor::start("001's producer", 1, buffer.name())?;
    cast.start("001's consumer", 1, buffer.name())?;
    cast.wait()?;
    producer.kill()?;
    let (put, room, items) = (buffer.put.load(Relaxed), buffer.value(Room), buffer.value(Items));
    say(format_args!(
        "  the producer has put {put} of {} items and waits: room = {room}, items = {items}",
        options.count
    ));
    drop(buffer);

    say("\nOn a ring (--sync semaphore):");
    let name = cast.name("wrong-signal");
    let ring = RingOptions::new().capacity(BUFFERSIZE).sync(Discipline::Semaphore).create(&name)?;
    cast.start("producer", 1, &name)?;
    cast.start("consumer", 1, &name)?;
    cast.wait()?;
    let totals = ring.snapshot()?.totals;
    ring.remove()?;
    say(format_args!("  {} put, {} taken, each once", totals.sent, totals.acknowledged));
    ensure(options.count <= BUFFERSIZE || put == BUFFERSIZE, "001's producer waits for ever")?;
    ensure(totals.sent == options.count && totals.acknowledged == options.count, "all are taken")
}

fn produce_as_001(options: &Options) -> Result {
    let buffer = Textbook::open(options.part.name())?;
    for item in 1..=options.count {
        buffer.wait(Room);
        buffer.wait(Mutex);
        let place = buffer.next_in.load(Relaxed);
        buffer.buffer[place as usize].store(item, Relaxed);
        buffer.next_in.store((place + 1) % BUFFERSIZE, Relaxed);
        buffer.signal(Mutex);
        buffer.signal(Items);
        buffer.put.fetch_add(1, Relaxed);
        say(format_args!("  put {item}"));
    }
    Ok(())
}

fn consume_as_001(options: &Options) -> Result {
    let buffer = Textbook::open(options.part.name())?;
    let mut last = 0;
    for _ in 0..options.takes {
        sleep(options.work);
        buffer.wait(Items);
        buffer.wait(Mutex);
        let place = buffer.next_out.load(Relaxed);
        let item = buffer.buffer[place as usize].load(Relaxed);
        buffer.next_out.store((place + 1) % BUFFERSIZE, Relaxed);
        buffer.signal(Mutex);
        buffer.signal(Items); // the bug
        let remark = if item > last { "" } else { "  <- again" };
        last = item.max(last);
        say(format_args!("          take {item}{remark}"));
    }
    Ok(())
}

fn produce(options: &Options) -> Result {
    let mut buffer = options.part.ring()?.producer()?.typed::<u64>();
    for item in 1..=options.count {
        buffer.send(&item)?;
        say(format_args!("  put {item}"));
    }
    Ok(())
}

fn consume(options: &Options) -> Result {
    let mut buffer = options.part.ring()?.consumer()?.typed::<u64>();
    let mut last = 0;
    loop {
        sleep(options.work);
        match buffer.recv() {
            Ok(item) => {
                ensure(*item == last + 1, "each item once, in order")?;
                last = *item;
                say(format_args!("          take {last}"));
                item.ack();
            }
            Err(Error::Ended) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}
