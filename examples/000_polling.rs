//! Texts 000 and 001, third class: polling. Look, give the processor away, look again.
//!
//! *What it does.* `while (in + 1) % buffersize == out: sched_yield()`, then write `buffer[in]` and move `in` on; the
//! consumer likewise while `in == out`.
//!
//! *Right:* with one producer and one consumer, on a machine that keeps the order of stores, it works, without any
//! semaphore. *Wrong:* the title says many, but two producers may both see the last free slot, write the same one,
//! and move `in` twice: an item is lost, and an old one comes again. (`cargo run --example naive -- lost-items`
//! makes it happen.) One slot always stays empty. And a waiting process takes a whole processor.
//!
//! *Here:* `Discipline::Polling`. The look itself takes the slot, by one compare-exchange on the slot's own word, so
//! that any number may poll. Each consumer prints at its end how much processor time it has used: here, too,
//! waiting takes a whole processor.
//!
//! ```sh
//! ringctl create polling --capacity 10 --sync polling
//! seq 1 100 | producer polling & seq 101 200 | producer polling & consumer polling
//! ```

mod common;

use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::Parser;
use common::{Cast, Part, Result, ensure, perform, say};
use nix::sys::resource::{UsageWho, getrusage};
use ringpipe::{Discipline, Error, RingOptions};

/// Texts 000 and 001: polling, with two producers and two consumers
#[derive(Parser)]
struct Options {
    /// Items of each producer
    #[arg(long, value_name = "N", default_value_t = 8)]
    count: u64,
    /// How long a producer takes for an item
    #[arg(long, value_name = "DUR", default_value = "100ms", value_parser = humantime::parse_duration)]
    work: Duration,
    #[command(flatten)]
    part: Part,
}

/// Producers, and as many consumers.
const EACH: u64 = 2;

fn main() -> ExitCode {
    let options = Options::parse();
    perform(&options.part, |part| match part.role() {
        "producer" => produce(&options),
        "consumer" => consume(&options),
        _ => direct(&options),
    })
}

fn direct(options: &Options) -> Result {
    let mut cast = Cast::new();
    let name = cast.name("polling");
    let ring = RingOptions::new().capacity(10).sync(Discipline::Polling);
    let ring = ring.expected_producers(EACH as u32).create(&name)?;
    for number in 1..=EACH {
        cast.start("consumer", number, &name)?;
        cast.start("producer", number, &name)?;
    }
    cast.wait()?;
    let totals = ring.snapshot()?.totals;
    ring.remove()?;
    say(format_args!("\n{} produced, {} consumed", totals.sent, totals.acknowledged));
    let wanted = EACH * options.count;
    ensure(totals.sent == wanted && totals.acknowledged == wanted, "all that was produced is consumed")
}

fn produce(options: &Options) -> Result {
    let mut buffer = options.part.ring()?.producer()?.typed::<[u64; 2]>();
    for n in 1..=options.count {
        sleep(options.work);
        buffer.send(&[options.part.number(), n])?; // while full: sched_yield()
    }
    Ok(())
}

fn consume(options: &Options) -> Result {
    let number = options.part.number();
    let mut buffer = options.part.ring()?.consumer()?.typed::<[u64; 2]>();
    let (start, mut items, mut last) = (Instant::now(), 0, [0; EACH as usize]);
    loop {
        match buffer.recv() {
            // while empty: sched_yield()
            Ok(item) => {
                let [producer, n] = *item;
                say(format_args!("consumer {number} got item {n} of producer {producer}"));
                let before = &mut last[producer as usize - 1];
                ensure(n > std::mem::replace(before, n), "each producer's items in its order")?;
                item.ack();
                items += 1;
            }
            Err(Error::Ended) => break,
            Err(error) => return Err(error.into()),
        }
    }
    let used = getrusage(UsageWho::RUSAGE_SELF)?;
    let used = Duration::from_micros(
        [used.user_time(), used.system_time()]
            .iter()
            .map(|time| (time.tv_sec() * 1_000_000 + time.tv_usec()) as u64)
            .sum(),
    );
    let all = start.elapsed();
    say(format_args!(
        "consumer {number}: {items} items in {:.1} s, {:.1} s of them on a processor: waiting by polling",
        all.as_secs_f64(),
        used.as_secs_f64()
    ));
    Ok(())
}
