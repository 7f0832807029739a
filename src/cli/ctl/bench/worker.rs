//! The work of a measuring process.
use std::{
    io::{self, Read},
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

use super::{
    cost::Meter,
    job::{Answer, Job, RoundTrips, Timed, Work},
    message::{Checker, Message, Tally, first_number, number_of},
};
use crate::cli::common::exit::{Failure, code};
use crate::cli::common::start::End;
use crate::cli::common::ui::Ui;
use crate::sys::command::clock;
use crate::{Consumer, Error, Producer, Result, Ring};

/// Bytes of a round trip's message.
pub const ROUND_TRIP_SIZE: usize = 8;
/// Messages, and bytes, between two readings of the clock.
const BLOCK: usize = 64;
const BLOCK_BYTES: usize = 1 << 20;
/// The minimum number of messages between two readings: even a short measurement has several.
const LEAST_BLOCK: usize = 8;
/// The longest time that a histogram distinguishes: a minute.
const LONGEST_NS: u64 = 60_000_000_000;

/// A process that `ringctl bench` starts to measure with
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do, as JSON
    job: Job,
}

/// Does the job that the command which started this process has given it.
pub fn run(args: &Args, ui: &Ui) -> std::result::Result<End, Failure> {
    if let Some(core) = args.job.core {
        pin(core).map_err(|error| Failure::io(format!("pinning to core {core}"), &error))?;
    }
    let done = match &args.job.work {
        Work::Send { ring, sender, size, batch, seconds } => {
            let producer = attached(ring, Ring::producer)?;
            let send = || send(producer, *sender, *size, *batch, Duration::from_secs_f64(*seconds));
            answer(ui, ring, send)
        }
        Work::Receive { ring, size, batch } => {
            let consumer = attached(ring, Ring::consumer)?;
            answer(ui, ring, || receive(consumer, *size, *batch))
        }
        Work::Ping { there, back, seconds, pause_us } => {
            let (to, from) = (attached(there, Ring::producer)?, attached(back, Ring::consumer)?);
            let pause = Duration::from_micros(*pause_us);
            answer(ui, there, || ping(to, from, Duration::from_secs_f64(*seconds), pause))
        }
        Work::Pong { there, back } => {
            let (from, to) = (attached(there, Ring::consumer)?, attached(back, Ring::producer)?);
            answer(ui, back, || pong(from, to))
        }
        Work::Hold { ring } => {
            let mut consumer = attached(ring, Ring::consumer)?;
            let held = consumer.recv().map_err(|error| Failure::of_ring(ring, &error))?;
            // The signal to begin never comes: this process is killed.
            say_ready_and_wait(ui)?;
            held.give_back();
            Ok(())
        }
        Work::Take { ring } => {
            let consumer = attached(ring, Ring::consumer)?;
            answer(ui, ring, || take(consumer))
        }
    };
    done.map(|()| End::Done)
}

/// Keeps this thread to one core.
fn pin(core: usize) -> io::Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &cores)?)
}

fn attached<T>(ring: &str, attach: impl FnOnce(&Ring) -> Result<T>) -> std::result::Result<T, Failure> {
    let opened = Ring::options().prefault(true).open(ring);
    opened.and_then(|ring| attach(&ring)).map_err(|error| Failure::of_ring(ring, &error))
}

/// Waits for the signal to begin, works, and reports the result.
fn answer(ui: &Ui, ring: &str, work: impl FnOnce() -> Result<Answer>) -> std::result::Result<(), Failure> {
    if !say_ready_and_wait(ui)? {
        return Ok(());
    }
    say(ui, &work().map_err(|error| Failure::of_ring(ring, &error))?)
}

/// Reports that this process is ready, and waits for the signal to begin. False: the process that started it is
/// gone.
fn say_ready_and_wait(ui: &Ui) -> std::result::Result<bool, Failure> {
    say(ui, &Answer::Ready)?;
    match io::stdin().read(&mut [0]) {
        Ok(bytes) => Ok(bytes > 0),
        Err(error) => Err(Failure::new(code::RUNTIME, format!("reading the start command: {error}"))),
    }
}

fn say(ui: &Ui, answer: &Answer) -> std::result::Result<(), Failure> {
    ui.emit_json(answer)
}

fn block(size: usize) -> usize {
    (BLOCK_BYTES / size).clamp(LEAST_BLOCK, BLOCK)
}

fn send(mut producer: Producer, sender: u8, size: usize, batch: usize, time: Duration) -> Result<Answer> {
    let meter = Meter::start()?;
    let end = Instant::now() + time;
    let first = first_number(sender);
    let mut number = first;
    if batch > 1 {
        let mut messages: Vec<Message> = (0..batch).map(|_| Message::new(size)).collect();
        while number == first || Instant::now() < end {
            for message in &mut messages {
                message.write(number);
                number += 1;
            }
            let mut rest = &messages[..];
            while !rest.is_empty() {
                rest = &rest[producer.send_batch(rest)?..];
            }
        }
    } else {
        let mut message = Message::new(size);
        while number == first || Instant::now() < end {
            for _ in 0..block(size) {
                message.write(number);
                number += 1;
                producer.send(message.as_ref())?;
            }
        }
    }
    let used = meter.stop()?;
    // Ends the stream before adding up the numbers, which takes time.
    drop(producer);
    Ok(Answer::Sent { tally: Tally::of(first..number), used })
}

fn receive(mut consumer: Consumer, size: usize, batch: usize) -> Result<Answer> {
    let mut checker = Checker::new(size);
    let mut stopwatch = Stopwatch::default();
    let meter = Meter::start()?;
    let result = match batch {
        1 => receive_one_by_one(&mut consumer, block(size), &mut checker, &mut stopwatch),
        _ => receive_batches(&mut consumer, size, batch, &mut checker, &mut stopwatch),
    };
    let (used, tally) = (meter.stop()?, checker.tally());
    match result {
        Ok(()) => Ok(Answer::Fault(format!("message {} was altered, or came out of its order", tally.count))),
        Err(Error::Ended) => Ok(Answer::Received { tally, timed: stopwatch.timed(tally.count), used }),
        Err(error) => Err(error),
    }
}

/// Returns early only at a wrong message.
fn receive_one_by_one(
    consumer: &mut Consumer,
    block: usize,
    checker: &mut Checker,
    stopwatch: &mut Stopwatch,
) -> Result<()> {
    let mut next_reading = 1;
    loop {
        for _ in 0..next_reading {
            let item = consumer.recv()?;
            let sound = checker.take(&item, item.redelivered());
            item.ack();
            if !sound {
                return Ok(());
            }
        }
        stopwatch.read(checker.tally().count);
        next_reading = block;
    }
}

/// As [`receive_one_by_one`], with up to `batch` messages at once.
fn receive_batches(
    consumer: &mut Consumer,
    size: usize,
    batch: usize,
    checker: &mut Checker,
    stopwatch: &mut Stopwatch,
) -> Result<()> {
    // The bytes before the message align it to a cache line.
    let mut bytes = vec![0; size + 64];
    let pad = bytes.as_ptr().align_offset(64).min(64);
    let mut next_reading = 1;
    loop {
        let items = consumer.recv_batch(batch)?;
        let mut sound = true;
        for item in items.iter() {
            let len = item.copy_to(&mut bytes[pad..]);
            sound &= checker.take(&bytes[pad..pad + len], item.redelivered());
        }
        items.ack();
        if !sound {
            return Ok(());
        }
        let count = checker.tally().count;
        if count >= next_reading {
            stopwatch.read(count);
            next_reading = count + batch as u64;
        }
    }
}

/// The times at which messages came: the first reading is the start, the last one the end.
#[derive(Debug, Default)]
struct Stopwatch {
    start: Option<(u64, u64)>,
    end: Option<(u64, u64)>,
}

impl Stopwatch {
    fn read(&mut self, messages: u64) {
        let reading = (messages, clock::monotonic_ns());
        match self.start {
            None => self.start = Some(reading),
            Some(_) => self.end = Some(reading),
        }
    }

    /// The measurement of `messages` in all; `None` if no message came.
    fn timed(mut self, messages: u64) -> Option<Timed> {
        if self.end.is_none() {
            self.read(messages);
        }
        let ((first, start_ns), (last, end_ns)) = self.start.zip(self.end)?;
        Some(Timed { messages: last - first, start_ns, end_ns })
    }
}

fn ping(mut to: Producer, mut from: Consumer, time: Duration, pause: Duration) -> Result<Answer> {
    let bounds = Histogram::<u64>::new_with_bounds(1, LONGEST_NS, 3);
    let mut times = bounds.map_err(|error| Error::Options(error.to_string().into()))?;
    let mut message = Message::new(ROUND_TRIP_SIZE);
    let meter = Meter::start()?;
    let end = Instant::now() + time;
    for number in 0.. {
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
        message.write(number);
        let start = Instant::now();
        to.send(message.as_ref())?;
        let item = from.recv()?;
        let returned = number_of(&item, ROUND_TRIP_SIZE);
        item.ack();
        let stop = Instant::now();
        times.saturating_record((stop - start).as_nanos() as u64);
        if returned != Some(number) {
            return Ok(Answer::Fault(format!("message {number} got the answer to another message")));
        }
        if stop >= end {
            break;
        }
    }
    let used = meter.stop()?;
    let percentile = |share| times.value_at_quantile(share);
    let times = RoundTrips {
        count: times.len(),
        p50_ns: percentile(0.5),
        p99_ns: percentile(0.99),
        p999_ns: percentile(0.999),
    };
    Ok(Answer::RoundTrips { times, used })
}

fn pong(mut from: Consumer, mut to: Producer) -> Result<Answer> {
    let meter = Meter::start()?;
    loop {
        let item = match from.recv() {
            Ok(item) => item,
            Err(Error::Ended) => return Ok(Answer::Returned { used: meter.stop()? }),
            Err(error) => return Err(error),
        };
        to.send(&item)?;
        item.ack();
    }
}

fn take(mut consumer: Consumer) -> Result<Answer> {
    let item = consumer.recv()?;
    let at_ns = clock::monotonic_ns();
    let redelivered = item.redelivered();
    item.ack();
    Ok(Answer::Taken { at_ns, redelivered })
}
