//! A pool of worker processes: each task goes to one worker, and to another one if this worker is killed.
//!
//! The first process sends tasks through one ring and gets results through a second one. A worker acknowledges a task
//! only after it has sent the result. So a killed worker loses no task; at worst a result comes twice, which the first
//! process recognises by the task's number. One worker is killed by `kill -9` while it works on a task.
//!
//! `cargo run --example worker_pool`

mod common;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use common::{Actor, Cast, Part, Result, ensure, perform, say, wait_until};
use ringpipe::{Error, Ring, RingOptions};

/// A pool of worker processes, one of which is killed
#[derive(Parser)]
struct Options {
    /// Worker processes
    #[arg(long, value_name = "N", default_value_t = 3)]
    workers: u64,
    /// Tasks
    #[arg(long, value_name = "N", default_value_t = 30)]
    tasks: u64,
    /// How long a worker works on a task
    #[arg(long, value_name = "DUR", default_value = "50ms", value_parser = humantime::parse_duration)]
    work: Duration,
    #[command(flatten)]
    part: Part,
}

fn main() -> ExitCode {
    let options = Options::parse();
    perform(&options.part, |part| match part.role() {
        "worker" => work(&options),
        _ => direct(&options),
    })
}

fn direct(options: &Options) -> Result {
    let mut cast = Cast::new();
    let name = cast.name("tasks");
    let results_name = cast.name("tasks-results");
    let tasks = RingOptions::new().capacity(64).create(&name)?;
    // The stream of results ends when all workers have come and gone.
    let workers = u32::try_from(options.workers)?;
    let results = RingOptions::new().capacity(64).expected_producers(workers).create(&results_name)?;

    // A worker that gets the first task and is killed while it works on it.
    let victim = Actor::quiet("worker", 1, &name)?;
    let mut producer = tasks.producer()?;
    producer.send(b"0")?;
    wait_until("a task in a worker's hands", Duration::from_secs(30), || {
        Ok(!tasks.snapshot()?.held.is_empty())
    })?;
    (2..=options.workers).try_for_each(|number| cast.start("worker", number, &name))?;
    victim.kill()?;
    say("kill -9: a worker with task 0 in hand");

    for task in 1..options.tasks {
        // Waits while the ring is full: slow workers slow the sender down.
        producer.send(task.to_string().as_bytes())?;
    }
    // The stream ends when its only producer has left; workers then end by themselves.
    drop(producer);

    let mut consumer = results.consumer()?;
    let mut known = BTreeMap::new();
    while (known.len() as u64) < options.tasks {
        let result = consumer.recv_timeout(Duration::from_secs(30))?;
        let text = String::from_utf8_lossy(&result).into_owned();
        let (task, answer) = text.split_once(' ').ok_or("a result is a task and its answer")?;
        known.insert(task.parse::<u64>()?, answer.to_string());
        result.ack();
    }
    cast.wait()?;
    tasks.remove()?;
    results.remove()?;
    let right = known.iter().all(|(task, answer)| *answer == square(*task).to_string());
    say(format_args!("{} tasks, {} results", options.tasks, known.len()));
    ensure(right, "each task has its result")
}

fn square(number: u64) -> u64 {
    number * number
}

fn work(options: &Options) -> Result {
    let mut tasks = options.part.ring()?.consumer()?;
    let mut results = Ring::open(&options.part.name().replace("tasks", "tasks-results"))?.producer()?;
    loop {
        let task = match tasks.recv() {
            Ok(task) => task,
            Err(Error::Ended) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let number: u64 = String::from_utf8_lossy(&task).parse()?;
        if task.redelivered() {
            say(format_args!(
                "worker {}: task {number} again, attempt {}",
                options.part.number(),
                task.attempt()
            ));
        }
        // The worker that is to be killed never finishes.
        let lasts = if options.part.number() == 1 { Duration::from_secs(3600) } else { options.work };
        std::thread::sleep(lasts);
        results.send(format!("{number} {}", square(number)).as_bytes())?;
        // Only now: a worker that dies before this leaves the task to another one.
        task.ack();
    }
}
