//! Measures how long the commands take to start.
use std::{
    io::Read,
    os::{fd::AsFd, unix::process::CommandExt},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::poll::PollFlags;
use serde::Serialize;

use super::{Bench, TRIALS, figure::Figure, rings::SHARED, team::Halt};
use crate::{
    Consumer, Error, Ring, Role, StopFlag,
    cli::common::{
        exit::{Failure, code},
        signals,
    },
    cli::ctl::children::{Process, command},
};

const ITEM: &str = "first";
/// How long a command may take before this checks whether it has ended.
const PATIENCE: Duration = Duration::from_millis(50);

#[derive(Debug, Serialize)]
struct Line {
    trials: usize,
    producer_ns: Figure,
    consumer_ns: Figure,
}

/// The time from the start of `producer` to its first item in the ring, and from that of `consumer` to its first
/// line.
pub fn measure(bench: &Bench<'_>) -> Result<(), Halt> {
    let ring = SHARED.make(64, 1, false)?;
    let failed = |error| Failure::of_ring(ring.name(), &error);
    let (mut first, mut line) = (Vec::new(), Vec::new());
    for _ in 0..TRIALS {
        bench.report.step("start");
        let consumer = ring.consumer().map_err(failed)?;
        first.push(first_item(&ring, consumer, bench.stop)?.as_nanos() as f64);
        ring.producer().and_then(|mut producer| producer.send(ITEM.as_bytes())).map_err(failed)?;
        line.push(first_line(&ring, bench.stop)?.as_nanos() as f64);
    }
    let line = Line { trials: TRIALS, producer_ns: Figure::of(first), consumer_ns: Figure::of(line) };
    let (producer, consumer) = (line.producer_ns.time(), line.consumer_ns.time());
    bench.report.emit("start", &[line], |_| {
        format!(
            "\nStart: a producer's first item is in the ring after {producer}; a consumer's first line is out \
             after {consumer} (medians of {TRIALS}, from before fork)\n"
        )
    })?;
    Ok(())
}

fn first_item(ring: &Ring, mut consumer: Consumer, stop: &StopFlag) -> Result<Duration, Halt> {
    let mut command = quiet(Role::Producer)?;
    command.args(["--no-create", "--item", ITEM, ring.name()]);
    let start = Instant::now();
    let mut process = Process::start("producer", command)?;
    loop {
        match consumer.try_recv() {
            Ok(item) => {
                let time = start.elapsed();
                let sound = *item == *ITEM.as_bytes();
                item.ack();
                same(sound)?;
                ended(&mut process, stop)?;
                return Ok(time);
            }
            Err(Error::Empty | Error::Ended) => {}
            Err(error) => return Err(Failure::of_ring(ring.name(), &error).into()),
        }
        if stop.is_raised() {
            return Err(Halt::Stopped);
        }
        if start.elapsed() > PATIENCE
            && let Some(complaint) = process.complaint()
        {
            return Err(Failure::new(code::RUNTIME, complaint).into());
        }
        // If there is only one processor, the producer needs it.
        thread::yield_now();
    }
}

fn first_line(ring: &Ring, stop: &StopFlag) -> Result<Duration, Halt> {
    let mut command = quiet(Role::Consumer)?;
    command.args(["-n", "1", ring.name()]).stdout(Stdio::piped());
    let start = Instant::now();
    let mut process = Process::start("consumer", command)?;
    let Some(mut output) = process.take_output() else {
        return Err(Failure::new(code::RUNTIME, "a consumer has no pipe").into());
    };
    let failed = |error| Failure::io("reading from a consumer", &error);
    if !signals::ready(output.as_fd(), PollFlags::POLLIN, stop).map_err(failed)? {
        return Err(Halt::Stopped);
    }
    let time = start.elapsed();
    let mut line = String::new();
    output.read_to_string(&mut line).map_err(failed)?;
    ended(&mut process, stop)?;
    same(line.trim_end() == ITEM)?;
    Ok(time)
}

/// The command of this role, without input and output.
fn quiet(role: Role) -> Result<Command, Failure> {
    let mut command = command(role)?;
    // Ctrl-C in a terminal goes only to this command, which then ends the other one.
    command.stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
    Ok(command)
}

/// Waits for the end of a command.
fn ended(process: &mut Process, stop: &StopFlag) -> Result<(), Halt> {
    while process.status().is_none() {
        if !signals::sleep(Duration::from_micros(200), stop) {
            return Err(Halt::Stopped);
        }
    }
    match process.complaint() {
        Some(complaint) => Err(Failure::new(code::RUNTIME, complaint).into()),
        None => Ok(()),
    }
}

fn same(sound: bool) -> Result<(), Failure> {
    match sound {
        true => Ok(()),
        false => Err(Failure::new(code::ASSERTION, "the first item is not the one that was sent")),
    }
}
