//! Text 004: a semaphore that begins with 0 is an event. Five times, a consumer waits for an item that a producer
//! makes after three seconds.
//!
//! *What it does.* `Semaphore(0)`: the consumer's `acquire()` waits until the producer's `release()`, whichever comes
//! first. The item itself is a global variable.
//!
//! *Right:* the semaphore remembers the release, so that nothing is lost when the producer is first; a bare condition
//! variable would lose it. *Wrong:* processes share no such global variable; and if the producer dies, the consumer
//! waits for ever: `join()` never returns.
//!
//! *Here:* `ringpipe::sync::Event`, set by the producer, taken by the consumer, in shared memory; the item goes
//! through a ring of two slots. Every wait here has a deadline, and the event outlives any death, set or not.
//!
//! From the shell, with a POSIX semaphore:
//!
//! ```sh
//! ringctl sem create event --value 0
//! (sleep 3; ringctl sem post event) & ringctl sem wait event --timeout 10s && echo consumed
//! ringctl sem rm event
//! ```

mod common;

use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use clap::Parser;
use common::{Cast, Part, Result, perform, say};
use ringpipe::sync::Event;
use ringpipe::{Ring, RingOptions};

/// Text 004: an event, waited for and set, five times
#[derive(Parser)]
struct Options {
    /// Iterations
    #[arg(long, value_name = "N", default_value_t = 5)]
    count: u64,
    /// How long a second of the text lasts here
    #[arg(long, value_name = "DUR", default_value = "200ms", value_parser = humantime::parse_duration)]
    second: Duration,
    #[command(flatten)]
    part: Part,
}

/// The longest wait of the consumer.
const PATIENCE: Duration = Duration::from_secs(30);

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
    let (event_name, item_name) = (cast.name("event"), cast.name("item"));
    let event = Event::create(&event_name)?;
    let item = RingOptions::new().capacity(2).create(&item_name)?;
    let both = format!("{event_name} {item_name}");
    for _ in 0..options.count {
        say(format_args!("We will do {} iterations:", options.count));
        cast.start("producer", 1, &both)?;
        cast.start("consumer", 1, &both)?;
        cast.wait()?;
    }
    item.remove()?;
    event.remove()?;
    say("program terminated");
    Ok(())
}

/// The event and the item.
fn shared(part: &Part) -> Result<(Event, Ring)> {
    let (event, item) = part.name().split_once(' ').ok_or("two names are expected")?;
    Ok((Event::open(event)?, Ring::open(item)?))
}

fn consume(options: &Options) -> Result {
    let (mut event, item) = shared(&options.part)?;
    say("consumer is waiting.");
    event.take_timeout(PATIENCE)?;
    let mut item = item.consumer()?.typed::<u32>();
    let item = item.recv_timeout(PATIENCE)?;
    say(format_args!("Consumer notify : consumed item number {} ", *item));
    item.ack();
    Ok(())
}

fn produce(options: &Options) -> Result {
    let (event, item) = shared(&options.part)?;
    sleep(options.second * 3);
    let number = fastrand::u32(0..=1000);
    item.producer()?.typed::<u32>().send(&number)?;
    say(format_args!("producer notify : producted item number {number}"));
    event.set()?;
    Ok(())
}
