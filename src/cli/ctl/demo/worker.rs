//! A process on the buffer of the textbooks: `ringctl demo-worker`. Each lesson is the program of its document.

use std::io::Write;
use std::process;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::sleep;
use std::time::Duration;

use super::textbook::lesson::Lesson;
use crate::RingName;
use crate::cli::common::exit::{Failure, code};
use crate::cli::common::start::End;
use crate::sys::command::textbook::{BUFFERSIZE, Semaphore, Textbook};

/// How long a process is where it must not die: long enough to be seen.
const INSIDE: Duration = Duration::from_millis(30);
/// How long a producer makes an item, and a consumer works on one.
const MAKING: Duration = Duration::from_millis(600);
const WORK: Duration = Duration::from_millis(500);
/// How long the producer of the condition makes an item, with the lock.
const MAKING_LOCKED: Duration = Duration::from_millis(150);
/// How many items it makes before it waits.
const BATCH: i64 = 5;

/// The options of `ringctl demo-worker`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the buffer
    #[arg(value_name = "NAME")]
    buffer: RingName,
    /// The program to run
    #[arg(long, value_enum, default_value = "mutex")]
    lesson: Lesson,
    /// Put items into it, instead of taking them out
    #[arg(long)]
    produce: bool,
}

/// Puts or takes items until the process is killed, and writes a line for each step.
///
/// # Errors
/// The [`Failure`] of a buffer that cannot be opened, or of the output.
pub fn run(args: &Args) -> Result<End, Failure> {
    let name = args.buffer.as_str();
    let buffer = Textbook::open(name).map_err(|error| {
        Failure::new(code::EMPTY, format!("buffer {name:?}: {error}"))
            .hint("ringctl demo makes one, with key t")
    })?;
    match (args.lesson, args.produce) {
        (Lesson::Mutex | Lesson::WrongSignal, true) => put_under_mutex(&buffer),
        (Lesson::Mutex, false) => take_under_mutex(&buffer, Semaphore::Room),
        (Lesson::WrongSignal, false) => take_under_mutex(&buffer, Semaphore::Items),
        (Lesson::Condition, true) => make_five(&buffer),
        (Lesson::Condition, false) => take_in_turn(&buffer),
        (Lesson::Event, true) => signal_an_event(&buffer),
        (Lesson::Event, false) => wait_for_an_event(&buffer),
    }
}

// Relaxed, all below: the semaphores and the lock order what the processes read and write.

fn put_under_mutex(buffer: &Textbook) -> Result<End, Failure> {
    loop {
        sleep(MAKING);
        buffer.wait(Semaphore::Room);
        let item = inside(buffer, || {
            let place = buffer.next_in.load(Relaxed);
            let item = next_item(buffer);
            buffer.buffer[(place % BUFFERSIZE) as usize].store(item, Relaxed);
            buffer.next_in.store((place + 1) % BUFFERSIZE, Relaxed);
            item
        });
        say("put", item)?;
        buffer.signal(Semaphore::Items);
    }
}

/// `after`: what it signals after each item.
fn take_under_mutex(buffer: &Textbook, after: Semaphore) -> Result<End, Failure> {
    loop {
        buffer.wait(Semaphore::Items);
        let item = inside(buffer, || {
            let place = buffer.next_out.load(Relaxed);
            let item = buffer.buffer[(place % BUFFERSIZE) as usize].swap(0, Relaxed);
            buffer.next_out.store((place + 1) % BUFFERSIZE, Relaxed);
            buffer.taken.fetch_add(1, Relaxed);
            item
        });
        say_taken(item)?;
        buffer.signal(after);
        work_on(item)?;
    }
}

/// Runs the critical section.
fn inside<T>(buffer: &Textbook, section: impl FnOnce() -> T) -> T {
    buffer.wait(Semaphore::Mutex);
    own(buffer);
    sleep(INSIDE);
    let result = section();
    disown(buffer);
    buffer.signal(Semaphore::Mutex);
    result
}

/// The producer has the lock while it makes an item, and gives it back only while it waits.
fn make_five(buffer: &Textbook) -> Result<End, Failure> {
    buffer.acquire();
    own(buffer);
    loop {
        sleep(MAKING_LOCKED);
        buffer.num.fetch_add(1, Relaxed);
        say("put", next_item(buffer))?;
        while buffer.num.load(Relaxed) >= BATCH {
            buffer.notify_all();
            wait_for_notice(buffer);
        }
    }
}

fn take_in_turn(buffer: &Textbook) -> Result<End, Failure> {
    loop {
        buffer.acquire();
        own(buffer);
        // With the document's `if`, `num` becomes -1: docs/CLASSICS.md.
        while buffer.num.load(Relaxed) <= 0 {
            buffer.notify_all();
            wait_for_notice(buffer);
        }
        sleep(INSIDE);
        buffer.num.fetch_sub(1, Relaxed);
        let item = buffer.taken.fetch_add(1, Relaxed) + 1;
        say("took", item)?;
        disown(buffer);
        buffer.release();
        work_on(item)?;
    }
}

fn wait_for_notice(buffer: &Textbook) {
    disown(buffer);
    buffer.wait_for_notice();
    own(buffer);
}

fn signal_an_event(buffer: &Textbook) -> Result<End, Failure> {
    loop {
        sleep(MAKING);
        let item = next_item(buffer);
        let before = buffer.buffer[0].swap(item, Relaxed);
        if before > 0 {
            say("over", before)?;
        }
        own(buffer);
        say("made", item)?;
        sleep(INSIDE);
        disown(buffer);
        buffer.signal(Semaphore::Items);
        say("put", item)?;
    }
}

fn wait_for_an_event(buffer: &Textbook) -> Result<End, Failure> {
    loop {
        buffer.wait(Semaphore::Items);
        let item = buffer.buffer[0].swap(0, Relaxed);
        say_taken(item)?;
        work_on(item)?;
    }
}

/// 0: there was no item.
fn say_taken(item: u64) -> Result<(), Failure> {
    say(if item > 0 { "took" } else { "nothing" }, item)
}

fn work_on(item: u64) -> Result<(), Failure> {
    sleep(WORK);
    if item > 0 { say("done", item) } else { Ok(()) }
}

/// The number of an item that is made now.
fn next_item(buffer: &Textbook) -> u64 {
    buffer.put.fetch_add(1, Relaxed) + 1
}

/// From here on, this process must not die.
fn own(buffer: &Textbook) {
    buffer.owner.store(process::id(), Relaxed);
}

fn disown(buffer: &Textbook) {
    buffer.owner.store(0, Relaxed);
}

fn say(what: &str, item: u64) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    let written = writeln!(out, "{what} {item}").and_then(|()| out.flush());
    written.map_err(|error| Failure::io("standard output", &error))
}
