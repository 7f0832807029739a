//! Text 000, first program: a bounded list of 10, a producer and a consumer that sleep at random.
//!
//! *What it does.* The semaphore `room` counts free places, `items` counts what is there, a lock guards the list.
//! Each side takes a token of its own semaphore, changes the list, gives the other side a token, and sleeps for up
//! to a second.
//!
//! *Right:* no thread polls, and the tokens keep the list between 0 and 10 items. *Wrong:* `queue.append` and
//! `queue.pop()` work at the same end. That is last in, first out: while new items keep coming, old ones wait for
//! ever (`cargo run --example naive -- lifo` shows it). The text means a queue, and the later classes of the
//! same text are one. And neither thread ever ends.
//!
//! *Here:* the two are processes, the list is a ring (10 places become 16, a power of two) with
//! `Discipline::Semaphore`: `room`, `items` and `mutex` are POSIX semaphores in shared memory. It hands items out
//! first in, first out, and the consumer checks that.
//!
//! The same from the shell:
//!
//! ```sh
//! ringctl create list --capacity 10 --sync semaphore
//! shuf -r -i 0-4 | producer list --delay 0s..1s & consumer list --delay 0s..1s
//! ```

mod common;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use common::{Cast, Part, Result, doze, ensure, perform, say};
use ringpipe::{Discipline, Error, RingOptions};

/// Text 000: producer and consumer with random sleeps and a bounded list
#[derive(Parser)]
struct Options {
    /// How long the producer goes on
    #[arg(long = "for", value_name = "DUR", default_value = "4s", value_parser = humantime::parse_duration)]
    time: Duration,
    /// How long a second of the text lasts here
    #[arg(long, value_name = "DUR", default_value = "500ms", value_parser = humantime::parse_duration)]
    second: Duration,
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
    let name = cast.name("random-sleeps");
    let ring = RingOptions::new().capacity(10).sync(Discipline::Semaphore).create(&name)?;
    cast.start("consumer", 1, &name)?;
    cast.start("producer", 1, &name)?;
    cast.wait()?;
    let totals = ring.snapshot()?.totals;
    ring.remove()?;
    say(format_args!("\n{} produced, {} consumed, first in, first out", totals.sent, totals.acknowledged));
    ensure(totals.sent > 0 && totals.sent == totals.acknowledged, "all that was produced is consumed")
}

fn produce(options: &Options) -> Result {
    let mut queue = options.part.ring()?.producer()?.typed::<u32>();
    let start = Instant::now();
    while start.elapsed() < options.time {
        let num = fastrand::u32(0..5);
        queue.send(&num)?;
        say(format_args!("room has space:  produced:  {num}"));
        doze(options.second);
    }
    Ok(())
}

fn consume(options: &Options) -> Result {
    let mut queue = options.part.ring()?.consumer()?.typed::<u32>();
    for place in 0.. {
        match queue.recv() {
            Ok(item) => {
                ensure(item.item().sequence() == place, "first in, first out")?;
                say(format_args!("consume item:  {}", *item));
                item.ack();
            }
            Err(Error::Ended) => break,
            Err(error) => return Err(error.into()),
        }
        doze(options.second);
    }
    Ok(())
}
