//! Kill storms: 8 to 64 processes (2 on exclusive rings) send and receive in every way there is, are killed with
//! SIGKILL at random moments, stopped, continued, and replaced. Each writes what it does to a log that survives it.
//! When a ring has seen some hundred deaths a survivor drains it, the logs must add up, the ring must be whole, and the
//! next one is made. Workers are forked by a process that never takes part; on a machine of several processors
//! several such storm side by side.
//!
//! Each form of ring has its storms under each discipline. `cargo test --test deaths storm::` kills some 4,000 processes and
//! prints the seed. The long runs:
//!
//! ```text
//! RINGPIPE_STORM_KILLS=1000000 cargo test --release --test deaths storm::kill_storms -- --nocapture
//! RINGPIPE_STORM_FOR=10m cargo test --release --test deaths storm::kill_storms -- --nocapture
//! ```
//!
//! `RINGPIPE_STORM_ONLY=TEXT` takes the forms of ring whose name contains the text (`fixed items`).
//! `RINGPIPE_STORM_SEED=N` repeats the random choices of a run; when the kills land is up to the machine.
//! Do not tidy /dev/shm meanwhile: between two kills, a ring has no live participant for moments.

mod check;
mod crowd;
mod latency;
mod log;
mod payload;
mod round;
mod shapes;
mod shared;
mod tally;
mod wakeups;
mod worker;

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use crate::support::{Kept, again, env_number, report, seed};
use round::Orders;
use tally::Tally;

/// What `cargo test` kills.
const FEW: u64 = 4_000;
/// Between two lines about how far it is.
const PROGRESS: Duration = Duration::from_secs(10);

#[test]
fn kill_storms_lose_nothing_double_nothing_and_leave_a_usable_ring() {
    let (seed, seconds) = (seed(), env_seconds("RINGPIPE_STORM_FOR").unwrap_or(0));
    let kills = env_number("RINGPIPE_STORM_KILLS").unwrap_or(if seconds > 0 { 0 } else { FEW });
    assert!(kills > 0 || seconds > 0, "RINGPIPE_STORM_KILLS=0: expected at least 1");
    let parts = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let begin = Instant::now();
    report(&format!("storm: seed {seed}, {kills} kills, {seconds} s to come"));
    let shapes = shapes::shapes();
    assert!(!shapes.is_empty(), "RINGPIPE_STORM_ONLY: no form has this text in its name");
    let mut by_shape = vec![Tally::default(); shapes.len()];
    let (tell, hear) = channel();
    let mut storms: Vec<Kept> = (0..parts)
        .map(|part| {
            let orders = Orders { seed, kills, seconds, part, parts };
            let mut command = again("storm::storms", round::ORDERS, &orders.to_text());
            let mut child = command.stderr(Stdio::piped()).spawn().expect("a process");
            read(child.stderr.take().expect("piped"), tell.clone());
            Kept(child)
        })
        .collect();
    drop(tell);
    let (mut killed, mut told) = (0, Instant::now());
    for (shape, tally) in hear {
        by_shape[shape].add(&tally);
        killed += tally.kills;
        if told.elapsed() > PROGRESS {
            told = Instant::now();
            report(&format!("storm: {killed} kills by {:.0} s", begin.elapsed().as_secs_f32()));
        }
    }
    for storm in &mut storms {
        let status = storm.ended();
        assert!(status.success(), "seed {seed}: {status}, see above");
    }
    let mut total = Tally::default();
    for (shape, tally) in shapes.iter().zip(&by_shape) {
        total.add(tally);
        let (inside, waiting) = tally.shares();
        let Tally { rings, kills, stops, counts, busy, .. } = tally;
        let rate = *kills as f64 / busy.as_secs_f64().max(1e-9);
        report(&format!(
            "storm: {}: {rings} rings, {kills} kills ({rate:.0}/s), {stops} stops, {inside:.0} % in a call \
             ({waiting:.0} % waiting); {} sent, {} redelivered",
            shape.name, counts.sent, counts.redelivered
        ));
    }
    let ((inside, waiting), time) = (total.shares(), begin.elapsed().as_secs_f64());
    let Tally { rings, kills: killed, stops, counts, .. } = total;
    report(&format!("storm: deaths by call: {}", total.calls()));
    report(&format!(
        "storm: seed {seed}: {killed} kills in {time:.1} s ({:.0}/s) on {rings} rings, {stops} stops, \
         {inside:.1} % in a call ({waiting:.1} % waiting)\nstorm: {counts}",
        killed as f64 / time
    ));
    assert!(counts.sent > 0 && counts.clean());
    assert!(killed >= kills && (seconds > 0 || by_shape.iter().all(|tally| tally.rings > 0)));
}

/// Passes on what a storming process says.
fn read(from: std::process::ChildStderr, tell: Sender<(usize, Tally)>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            match Tally::from_line(&line) {
                Some(tally) => tell.send(tally).expect("the test listens"),
                None => report(&line),
            }
        }
    });
}

fn env_seconds(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let time = humantime::parse_duration(&text);
    Some(time.unwrap_or_else(|_| panic!("{name}={text}: expected a time such as 10m")).as_secs())
}

/// Not a test: what the processes that fork the workers run.
#[test]
fn storms() {
    round::run_if_told();
}

/// Not a test: what the processes that post and kill run.
#[test]
fn posting_and_killing() {
    wakeups::run_if_told();
}
