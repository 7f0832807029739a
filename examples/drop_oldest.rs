//! Back-pressure without waiting: a sensor that never waits, and a display that is slow.
//!
//! With `OnFull::DropOldest` a producer that finds the ring full drops the oldest items and sends. So the sensor keeps its
//! pace, and the display always gets recent readings: it misses some, and each producer counts what it dropped.
//!
//! `cargo run --example drop_oldest`

mod common;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use common::{Cast, Part, Result, ensure, perform, say};
use ringpipe::{Error, OnFull, RingOptions};

/// A fast sensor, a slow display, and a ring that drops the oldest readings
#[derive(Parser)]
struct Options {
    /// Readings
    #[arg(long, value_name = "N", default_value_t = 200)]
    readings: u64,
    /// Pause of the sensor after each reading
    #[arg(long, value_name = "DUR", default_value = "2ms", value_parser = humantime::parse_duration)]
    pause: Duration,
    /// How long the display shows a reading
    #[arg(long, value_name = "DUR", default_value = "40ms", value_parser = humantime::parse_duration)]
    show: Duration,
    #[command(flatten)]
    part: Part,
}

fn main() -> ExitCode {
    let options = Options::parse();
    perform(&options.part, |part| match part.role() {
        "sensor" => measure(&options),
        "display" => display(&options),
        _ => direct(&options),
    })
}

fn direct(options: &Options) -> Result {
    let mut cast = Cast::new();
    let name = cast.name("readings");
    // A short ring, so that its items are recent.
    let ring = RingOptions::new().capacity(8).create(&name)?;
    cast.start("display", 1, &name)?;
    cast.start("sensor", 1, &name)?;
    cast.wait()?;
    let totals = ring.snapshot()?.totals;
    ring.remove()?;
    let (shown, dropped) = (totals.acknowledged, totals.dropped_oldest);
    say(format_args!("{} readings sent: {shown} shown, {dropped} dropped as oldest", totals.sent));
    ensure(totals.sent == options.readings, "the sensor sent all readings")?;
    ensure(dropped > 0 && shown + dropped == totals.sent, "each reading was shown or dropped")
}

fn measure(options: &Options) -> Result {
    let mut ring = options.part.ring()?.producer()?;
    ring.set_on_full(OnFull::DropOldest)?;
    for number in 1..=options.readings {
        ring.send(number.to_string().as_bytes())?;
        std::thread::sleep(options.pause);
    }
    Ok(())
}

fn display(options: &Options) -> Result {
    let mut ring = options.part.ring()?.consumer()?;
    let mut last = String::new();
    loop {
        match ring.recv() {
            Ok(item) => {
                last = String::from_utf8_lossy(&item).into_owned();
                item.ack();
                say(format_args!("reading {last}"));
                std::thread::sleep(options.show);
            }
            Err(Error::Ended) => break,
            Err(error) => return Err(error.into()),
        }
    }
    ensure(last == options.readings.to_string(), "the last reading was shown")
}
