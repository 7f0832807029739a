//! Every instruction: each operation of the library is run in a victim process, one instruction at a time, and
//! killed after the first, the second, the third ...; survivors must go on by themselves, and find every item
//! that was sent, none twice, and all of the ring.
//!
//! `cargo test --test deaths kills::` tries a sample: some of the points after which the segment is another.
//! All of them, with a table:
//!
//! ```text
//! RINGPIPE_KILLS=full cargo test --release --test deaths kills:: -- --nocapture
//! ```
//!
//! Operations of more than 2,000 instructions (attaching, which is mostly the C library's, and waits) are killed
//! after each change and at 500 others; `RINGPIPE_KILLS=every` leaves none out, and takes hours.
//! `RINGPIPE_KILLS=few` tries a few, which a machine that is emulated can finish.
//! Of pairs (`pairs.rs`) there are 25,000 points in full, `RINGPIPE_PAIRS=N` says another number.
//! `RINGPIPE_KILLS_ONLY=TEXT` runs the rows that contain the text, `RINGPIPE_KILLS_ONLY=!TEXT` the others.
//!
//! The states that a death can leave are the prefixes of the victim's instructions, because SIGKILL loses no
//! retired store: see docs/RELIABILITY.md.

mod arrivals;
mod breakpoint;
mod check;
mod lives;
mod pairs;
mod scenario;
mod table;
mod textbook;
mod trace;
mod trail;
mod worker;
mod world;

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::support::{Kept, again, report};
use table::{Row, Share};
use trace::{Stage, Victim};
use world::Wrong;

/// Not a test: what the workers run.
#[test]
fn worker() {
    worker::run_if_told();
}

/// Whether this process may trace another. Where it may not nothing can be shown, which in CI is a failure.
fn tracing_is_allowed() -> bool {
    let stage = Stage::new();
    match Victim::start(&stage, |stage| stage.act(|| (0, ()))) {
        Ok(_) => true,
        Err(errno) => {
            let why = format!(
                "kills: NOT TRIED: ptrace is refused here ({errno}), by a container's seccomp filter?"
            );
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}");
            report(&why);
            false
        }
    }
}

/// Runs an experiment in several processes, and joins what they found.
fn rows_of(group: &str) -> Vec<Row> {
    let processors = std::thread::available_parallelism().map_or(1, |n| n.get());
    // The survivors' waits are idle.
    let parts = if Share::of_env().is_sample() { processors } else { 2 * processors };
    let start = |part| {
        let orders = format!("{group} {part} {parts}");
        let mut command = again("kills::worker", worker::ORDERS, &orders);
        Kept(command.stderr(Stdio::piped()).spawn().expect("a worker"))
    };
    let mut workers: Vec<Kept> = (0..parts).map(start).collect();
    let lines = |worker: &mut Kept| BufReader::new(worker.0.stderr.take().expect("piped")).lines();
    // Read by threads of their own: a full pipe would stop the others.
    let readers: Vec<_> =
        workers.iter_mut().map(lines).map(|lines| std::thread::spawn(move || read(lines))).collect();
    let mut rows: Vec<Row> = Vec::new();
    for reader in readers {
        for row in reader.join().expect("it reads") {
            let same = |one: &&mut Row| {
                (&one.operation, &one.path, &one.kind) == (&row.operation, &row.path, &row.kind)
            };
            match rows.iter_mut().find(same) {
                Some(one) => one.add(&row),
                None => rows.push(row),
            }
        }
    }
    for worker in &mut workers {
        let status = worker.ended();
        assert!(status.success(), "a worker of {group} failed: {status}");
    }
    rows
}

fn read(lines: impl Iterator<Item = std::io::Result<String>>) -> Vec<Row> {
    let mut rows = Vec::new();
    for line in lines.map_while(Result::ok) {
        match Row::from_line(&line) {
            Some(row) => rows.push(row),
            None => report(&line),
        }
    }
    rows
}

fn nothing_goes_wrong(group: &str) {
    if !tracing_is_allowed() {
        return;
    }
    let rows = rows_of(group);
    if Share::of_env() != Share::Sample || !rows.iter().all(Row::is_clean) {
        table::print(group, &rows);
    }
    let bad: Vec<&Row> = rows.iter().filter(|row| !row.is_clean()).collect();
    assert!(bad.is_empty(), "{bad:#?}");
    assert!(rows.iter().all(|row| row.points > 0));
    assert!(!rows.is_empty() || std::env::var_os("RINGPIPE_KILLS_ONLY").is_some());
}

#[test]
fn a_sender_killed_at_any_instruction_costs_other_processes_nothing() {
    nothing_goes_wrong("sending");
}

#[test]
fn a_receiver_killed_at_any_instruction_costs_other_processes_nothing() {
    nothing_goes_wrong("receiving");
}

#[test]
fn an_acknowledging_consumer_killed_at_any_instruction_costs_other_processes_nothing() {
    nothing_goes_wrong("acknowledging");
}

#[test]
fn a_process_killed_while_it_attaches_leaves_or_closes_leaves_no_trace() {
    nothing_goes_wrong("coming-and-going");
}

#[test]
fn a_recoverer_killed_at_any_instruction_leaves_the_rest_to_the_next() {
    nothing_goes_wrong("recovery");
}

#[test]
fn a_process_suspended_at_any_instruction_does_not_count_as_dead_and_continues_later() {
    nothing_goes_wrong("stopped");
}

/// One is stopped at an instruction while the other runs to one of its own, then one or both are killed.
#[test]
fn pairs_with_one_or_both_killed_at_any_instruction_cost_other_processes_nothing() {
    nothing_goes_wrong("pairs");
}

/// In what the other tests reach by breakpoints, N instructions of the operation have run, no more and no fewer.
#[test]
fn breakpoints_bring_a_process_to_the_instruction_to_which_steps_bring_it() {
    if !tracing_is_allowed() {
        return;
    }
    let mut command = again("kills::worker", worker::ORDERS, "arrivals 0 1");
    let output = command.output().expect("a worker");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The same harness on a ring that cannot survive: were this one clean, the others would mean nothing.
#[test]
fn the_textbook_ring_fails_the_same_kills() {
    if !tracing_is_allowed() {
        return;
    }
    let rows = rows_of("textbook");
    if !Share::of_env().is_sample() {
        table::print("the textbook ring", &rows);
    }
    assert_eq!(rows.len(), 2);
    for row in &rows {
        assert!(row.of(Wrong::Wedged) > 0, "{row:?}");
        assert!(row.of(Wrong::Short) + row.of(Wrong::Lost) > 0, "{row:?}");
        assert!(row.wrong.iter().sum::<u64>() < row.points, "{row:?}");
    }
}
