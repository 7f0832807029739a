//! A process on the buffer of the textbooks, with three semaphores: `ringctl demo-worker`.

use std::io::Write;
use std::process;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::sleep;
use std::time::Duration;

use crate::RingName;
use crate::cli::common::exit::{Failure, code};
use crate::cli::common::start::End;
use crate::sys::command::textbook::{BUFFERSIZE, Semaphore, Textbook};

/// How long a process is in the critical section: long enough to be seen.
const INSIDE: Duration = Duration::from_millis(30);
/// How long a producer makes an item, and a consumer works on one.
const MAKING: Duration = Duration::from_millis(600);
const WORK: Duration = Duration::from_millis(500);

/// The options of `ringctl demo-worker`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the buffer
    #[arg(value_name = "NAME")]
    buffer: RingName,
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
    loop {
        match args.produce {
            true => put(&buffer)?,
            false => take(&buffer)?,
        }
    }
}

/// The producer of the textbooks.
fn put(buffer: &Textbook) -> Result<(), Failure> {
    sleep(MAKING);
    buffer.wait(Semaphore::Room);
    let item = inside(buffer, || {
        // Relaxed: one process is in the critical section, and the semaphore orders them.
        let place = buffer.next_in.load(Relaxed);
        let item = buffer.put.load(Relaxed) + 1;
        buffer.buffer[(place % BUFFERSIZE) as usize].store(item, Relaxed);
        buffer.next_in.store((place + 1) % BUFFERSIZE, Relaxed);
        buffer.put.store(item, Relaxed);
        item
    });
    say("put", item)?;
    buffer.signal(Semaphore::Items);
    Ok(())
}

/// The consumer of the textbooks.
fn take(buffer: &Textbook) -> Result<(), Failure> {
    buffer.wait(Semaphore::Items);
    let item = inside(buffer, || {
        // Relaxed: as in `put`.
        let place = buffer.next_out.load(Relaxed);
        let item = buffer.buffer[(place % BUFFERSIZE) as usize].swap(0, Relaxed);
        buffer.next_out.store((place + 1) % BUFFERSIZE, Relaxed);
        buffer.taken.fetch_add(1, Relaxed);
        item
    });
    say("took", item)?;
    buffer.signal(Semaphore::Room);
    sleep(WORK);
    say("done", item)
}

/// Runs the critical section.
fn inside<T>(buffer: &Textbook, section: impl FnOnce() -> T) -> T {
    buffer.wait(Semaphore::Mutex);
    // Relaxed: for observers.
    buffer.owner.store(process::id(), Relaxed);
    sleep(INSIDE);
    let result = section();
    buffer.owner.store(0, Relaxed);
    buffer.signal(Semaphore::Mutex);
    result
}

fn say(what: &str, item: u64) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    let written = writeln!(out, "{what} {item}").and_then(|()| out.flush());
    written.map_err(|error| Failure::io("standard output", &error))
}
