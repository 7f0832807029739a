//! Text 003, last part: coroutines. A task that awaits gives its thread to other tasks.
//!
//! *What it says.* An event loop hands the execution from task to task; a coroutine that awaits gives up the thread;
//! a future is a value that will be there later. The text has no program for this; this one is its cookie jar with
//! tasks.
//!
//! *Right:* one thread waits for any number of things. *Wrong* as people often write it: a blocking `get()` in a
//! coroutine stops the whole loop, and a loop around `get_nowait()` polls. And a future that is dropped while it
//! gets an item may take that item with it.
//!
//! *Here:* `AsyncProducer` and `AsyncConsumer` (feature `tokio`) on the same rings as other handles. Each process has
//! one thread. On it two Homers eat, and a clock ticks, which shows that no task blocks the thread. One Homer gives
//! up waiting again and again (`timeout` drops the future), and still no cookie is lost: the futures are cancel-safe.
//!
//! `cargo run --features tokio --example 003_async`

mod common;

use std::cell::Cell;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use common::{Cast, Part, Result, ensure, perform, say};
use ringpipe::{Error, RingOptions};
use tokio::time::{sleep, timeout};

/// Text 003: tasks that await cookies (needs --features tokio)
#[derive(Parser)]
struct Options {
    /// Cookies of each Marge
    #[arg(long, value_name = "N", default_value_t = 6)]
    messages: u64,
    /// How long a second of the text lasts here
    #[arg(long, value_name = "DUR", default_value = "200ms", value_parser = humantime::parse_duration)]
    second: Duration,
    #[command(flatten)]
    part: Part,
}

/// Tasks in each process.
const EACH: u64 = 2;

fn main() -> ExitCode {
    let options = Options::parse();
    perform(&options.part, |part| match part.role() {
        "marges" => run(marges(&options)),
        "homers" => run(homers(&options)),
        _ => direct(&options),
    })
}

/// Runs tasks on one thread.
fn run(tasks: impl Future<Output = Result>) -> Result {
    tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(tasks)
}

fn direct(options: &Options) -> Result {
    let mut cast = Cast::new();
    let name = cast.name("async");
    let jar = RingOptions::new().capacity(10).expected_producers(EACH as u32).create(&name)?;
    cast.start("homers", 1, &name)?;
    cast.start("marges", 1, &name)?;
    cast.wait()?;
    let totals = jar.snapshot()?.totals;
    jar.remove()?;
    say(format_args!("\n{} cookies baked, {} eaten", totals.sent, totals.acknowledged));
    let wanted = EACH * options.messages;
    ensure(totals.sent == wanted && totals.acknowledged == wanted, "every cookie is eaten")
}

async fn marges(options: &Options) -> Result {
    tokio::try_join!(marge(options, 1), marge(options, 2))?;
    Ok(())
}

async fn marge(options: &Options, idnum: u32) -> Result {
    let mut cookiejar = options.part.ring()?.async_producer()?;
    for _ in 0..options.messages {
        sleep(options.second * idnum).await;
        cookiejar.send(idnum.to_string().as_bytes()).await?;
    }
    Ok(())
}

async fn homers(options: &Options) -> Result {
    let eating = Cell::new(EACH);
    let (_, _, ticks) = tokio::try_join!(
        homer(options, 1, &eating),
        impatient_homer(options, 2, &eating),
        clock(options.second / 10, &eating)
    )?;
    say(format_args!("the clock on the same thread ticked {ticks} times meanwhile"));
    ensure(ticks > 0, "the clock ticks")
}

async fn homer(options: &Options, number: u32, eating: &Cell<u64>) -> Result {
    let mut cookiejar = options.part.ring()?.async_consumer()?;
    loop {
        match cookiejar.recv().await {
            Ok(cookie) => {
                say(format_args!("consumer  {number}  got =>  {}", String::from_utf8_lossy(&cookie)));
                cookie.ack();
            }
            Err(Error::Ended) => break,
            Err(error) => return Err(error.into()),
        }
    }
    eating.set(eating.get() - 1);
    Ok(())
}

/// Waits a little, gives up, does something else, and waits again.
async fn impatient_homer(options: &Options, number: u32, eating: &Cell<u64>) -> Result {
    let mut cookiejar = options.part.ring()?.async_consumer()?;
    let mut given_up = 0;
    loop {
        match timeout(options.second / 4, cookiejar.recv()).await {
            Ok(Ok(cookie)) => {
                say(format_args!("consumer  {number}  got =>  {}", String::from_utf8_lossy(&cookie)));
                cookie.ack();
            }
            Ok(Err(Error::Ended)) => break,
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => given_up += 1,
        }
    }
    say(format_args!("consumer  {number}  gave up waiting {given_up} times, and lost nothing by it"));
    eating.set(eating.get() - 1);
    Ok(())
}

/// Ticks while a Homer eats.
async fn clock(tick: Duration, eating: &Cell<u64>) -> Result<u64> {
    let mut ticks = 0;
    while eating.get() > 0 {
        sleep(tick).await;
        ticks += 1;
    }
    Ok(ticks)
}
