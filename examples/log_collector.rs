//! A log collector: several processes send lines through a ring, and one process writes them to a file.
//!
//! The collector acknowledges lines only after they are in the file. It is killed in the middle by `kill -9`, and a
//! new one continues: no line is missing, and only lines that the killed one held can be in the file twice. The
//! processes that log go on meanwhile; they wait only when the ring is full.
//!
//! `cargo run --example log_collector`

mod common;

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use common::{Actor, Cast, Part, Result, ensure, perform, say, wait_until};
use ringpipe::{Error, RingOptions};

/// A log collector that is killed, and a second one that continues
#[derive(Parser)]
struct Options {
    /// Processes that log
    #[arg(long, value_name = "N", default_value_t = 3)]
    sources: u64,
    /// Lines of each
    #[arg(long, value_name = "N", default_value_t = 200)]
    lines: u64,
    /// Pause after each line
    #[arg(long, value_name = "DUR", default_value = "1ms", value_parser = humantime::parse_duration)]
    pause: Duration,
    #[command(flatten)]
    part: Part,
}

/// Lines that the collector takes, writes and acknowledges together.
const BATCH: usize = 16;

fn main() -> ExitCode {
    let options = Options::parse();
    perform(&options.part, |part| match part.role() {
        "source" => log(&options),
        "collector" => collect(&options),
        _ => direct(&options),
    })
}

/// The file of the collector for this ring.
fn file_of(ring: &str) -> String {
    std::env::temp_dir().join(ring).display().to_string()
}

fn direct(options: &Options) -> Result {
    let mut cast = Cast::new();
    let name = cast.name("log");
    let path = cast.file("log");
    ensure(path == file_of(&name), "the file has the ring's name")?;
    let sources = u32::try_from(options.sources)?;
    // The stream ends when all of these have come and gone.
    let ring = RingOptions::new().capacity(256).expected_producers(sources).create(&name)?;

    let first = Actor::quiet("collector", 1, &name)?;
    (1..=options.sources).try_for_each(|number| cast.start("source", number, &name))?;
    wait_until("some lines in the file", Duration::from_secs(30), || {
        Ok(std::fs::metadata(&path).is_ok_and(|file| file.len() > 200))
    })?;
    first.kill()?;
    say("kill -9: the collector");
    let second = Actor::quiet("collector", 2, &name)?;
    cast.wait()?;
    second.end()?;
    ring.remove()?;

    let mut times: BTreeMap<String, u64> = BTreeMap::new();
    for line in std::fs::read_to_string(&path)?.lines() {
        *times.entry(line.into()).or_default() += 1;
    }
    let wanted = (1..=options.sources).flat_map(|source| (1..=options.lines).map(move |n| line(source, n)));
    let missing = wanted.filter(|line| !times.contains_key(line)).count();
    let twice = times.values().filter(|times| **times > 1).count();
    say(format_args!("{} lines sent, {missing} missing, {twice} twice", options.sources * options.lines));
    ensure(missing == 0 && twice <= BATCH, "no line is missing, and few are there twice")
}

fn line(source: u64, number: u64) -> String {
    format!("source {source}: event {number}.")
}

fn log(options: &Options) -> Result {
    let mut ring = options.part.ring()?.producer()?;
    for number in 1..=options.lines {
        ring.send(line(options.part.number(), number).as_bytes())?;
        std::thread::sleep(options.pause);
    }
    Ok(())
}

fn collect(options: &Options) -> Result {
    let mut ring = options.part.ring()?.consumer()?;
    let path = file_of(options.part.name());
    // A collector that was killed while it wrote may have left half a line. That whole line comes again.
    let unfinished = std::fs::read(&path).is_ok_and(|text| text.last().is_some_and(|last| *last != b'\n'));
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    if unfinished {
        file.write_all(b"\n")?;
    }
    loop {
        let batch = match ring.recv_batch(BATCH) {
            Ok(batch) => batch,
            Err(Error::Ended) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let mut text = Vec::new();
        for item in batch.iter() {
            item.append_to(&mut text);
            text.push(b'\n');
        }
        file.write_all(&text)?;
        // Only now, so that lines that are not in the file are delivered again. To survive a loss of power, call
        // sync_data first.
        batch.ack();
    }
}
