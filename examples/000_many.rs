//! Texts 000 and 001, second class: many producers and consumers; semaphores `room` and `items`, and a `mutex`.
//!
//! *What it does.* The same as with one of each; in addition a process holds `mutex` while it works on the buffer. It
//! takes `mutex` after `room` or `items`, never before (a producer that waited for room while it holds the mutex would
//! keep every consumer out, and none could make room), and gives it back before it signals the other side.
//!
//! *Right:* any number of each, first in, first out, without polling. *Wrong:* the mutex has no owner. A process that
//! is killed while it holds the mutex keeps all others out for ever; a process that is killed elsewhere between wait
//! and signal costs a slot or hides an item. A kill does such damage at two thirds of the instructions of the
//! textbook ring's `push` (docs/CLASSICS.md).
//!
//! *Here:* `Discipline::Semaphore` on a shared ring: the same three semaphores in the same order. Beside `mutex`
//! a word names the process that has the turn, and the kernel tells whether this process is alive. This example kills a
//! consumer with `kill -9` while it holds an item, and still every item is consumed once.
//!
//! ```sh
//! ringctl create many --capacity 10 --sync semaphore
//! seq 1 100 | producer many & seq 101 200 | producer many & consumer many & consumer many
//! ```

mod common;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use common::{Actor, Cast, Part, Result, doze, ensure, perform, say, wait_until};
use ringpipe::{Discipline, Error, RingOptions};

/// Texts 000 and 001: many producers and consumers, two semaphores and a mutex
#[derive(Parser)]
struct Options {
    /// Producers, and as many consumers
    #[arg(long, value_name = "N", default_value_t = 3)]
    each: u64,
    /// Items of each producer
    #[arg(long, value_name = "N", default_value_t = 12)]
    count: u64,
    /// Longest time that a process takes for an item
    #[arg(long, value_name = "DUR", default_value = "200ms", value_parser = humantime::parse_duration)]
    work: Duration,
    #[command(flatten)]
    part: Part,
}

fn main() -> ExitCode {
    let options = Options::parse();
    perform(&options.part, |part| match part.role() {
        "producer" => produce(&options),
        "consumer" => consume(&options),
        "greedy consumer" => hold(&options),
        _ => direct(&options),
    })
}

fn direct(options: &Options) -> Result {
    let mut cast = Cast::new();
    let name = cast.name("many");
    let ring = RingOptions::new().capacity(10).sync(Discipline::Semaphore).timestamps(false);
    // The stream ends when all producers have come and gone.
    let ring = ring.expected_producers(u32::try_from(options.each)?).create(&name)?;
    let greedy = Actor::quiet("greedy consumer", 1, &name)?;
    (1..=options.each).try_for_each(|number| cast.start("producer", number, &name))?;
    wait_until("an item in hand", Duration::from_secs(30), || Ok(!ring.snapshot()?.held.is_empty()))?;
    say("kill -9: a consumer with an item in hand");
    greedy.kill()?;
    let consumers = (1..=options.each)
        .map(|number| Actor::quiet("consumer", number, &name))
        .collect::<Result<Vec<_>>>()?;
    cast.wait()?;
    let mut times = BTreeMap::new();
    for (consumer, number) in consumers.into_iter().zip(1..) {
        let items = consumer.end()?;
        say(format_args!("consumer {number}: {items}"));
        for item in items.split_whitespace() {
            *times.entry(item.trim_end_matches('*').to_string()).or_insert(0) += 1;
        }
    }
    ring.remove()?;
    let (wanted, once) = (options.each * options.count, times.values().filter(|times| **times == 1).count());
    say(format_args!(
        "\n{wanted} produced by {} producers, {once} consumed once (*: again, after the kill)",
        options.each
    ));
    ensure(once as u64 == wanted && times.len() == once, "every item is consumed once")
}

fn produce(options: &Options) -> Result {
    let mut buffer = options.part.ring()?.producer()?;
    for n in 1..=options.count {
        // room.wait(), mutex.wait(), buffer[in] = item, mutex.signal(), items.signal()
        buffer.send(format!("{}.{n}", options.part.number()).as_bytes())?;
        doze(options.work);
    }
    Ok(())
}

fn consume(options: &Options) -> Result {
    let mut buffer = options.part.ring()?.consumer()?;
    let mut items = Vec::new();
    loop {
        match buffer.recv() {
            Ok(item) => {
                let again = if item.redelivered() { "*" } else { "" };
                items.push(format!("{}{again}", String::from_utf8_lossy(&item)));
                // items.wait(), mutex.wait(), item = buffer[out], mutex.signal(), room.signal()
                item.ack();
            }
            Err(Error::Ended) => break,
            Err(error) => return Err(error.into()),
        }
        doze(options.work);
    }
    say(items.join(" "));
    Ok(())
}

/// Takes an item, and holds it until the process is killed.
fn hold(options: &Options) -> Result {
    let mut buffer = options.part.ring()?.consumer()?;
    let item = buffer.recv()?;
    std::thread::sleep(Duration::from_secs(3600));
    item.ack();
    Ok(())
}
