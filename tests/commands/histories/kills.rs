//! Real pipelines whose producers and consumers are killed at random moments: their history is clean.

use std::fs::File;
use std::thread;
use std::time::Duration;

use nix::libc::SIGKILL;
use serde_json::Value;

use super::{Folder, VARIABLE};
use crate::support::*;
use ringpipe::RingOptions;

/// How one kind of producer or consumer is started.
#[derive(Clone, Copy)]
struct Form {
    role: &'static str,
    options: &'static [&'static str],
    /// Standard output is a pipe that is read at once, or else /dev/null.
    pipe: bool,
}

const fn sends(options: &'static [&'static str]) -> Form {
    Form { role: "producer", options, pipe: false }
}

const fn receives(options: &'static [&'static str], pipe: bool) -> Form {
    Form { role: "consumer", options, pipe }
}

fn start(form: Form, ring: &TestName, folder: &Folder, random: &mut Random) -> Running {
    let run = match form.role {
        "producer" => {
            let lines: String =
                (0..2000).map(|n| format!("{n}{}\n", "x".repeat(random.below(90) as usize))).collect();
            producer(ring, form.options).input(lines)
        }
        _ => consumer(ring, form.options),
    };
    let run = run.env(VARIABLE, folder.path());
    let run =
        if form.pipe { run } else { run.stdout(File::options().write(true).open("/dev/null").unwrap()) };
    run.spawn()
}

/// Kills these processes of a ring again and again, until this event was logged, too; then lets the rest be received, and
/// checks the history.
fn killed_at_random(label: &str, options: &RingOptions, forms: &[Form], last: &[&str], event: &str) -> Value {
    let (ring, folder) = (TestName::made(label, options), Folder::new());
    let mut random = Random::new(seed());
    let mut running: Vec<Running> =
        forms.iter().map(|form| start(*form, &ring, &folder, &mut random)).collect();
    for _ in 0..24 {
        thread::sleep(Duration::from_millis(3 + random.below(25)));
        let n = random.below(forms.len() as u64) as usize;
        if running[n].is_running() {
            running[n].signal(SIGKILL);
        }
        running[n].ended();
        running[n] = start(forms[n], &ring, &folder, &mut random);
    }
    // The processes that ran so far may have been killed before they did anything.
    wait_until("such an event", || folder.has(event));
    for process in &mut running {
        if process.is_running() {
            process.signal(SIGKILL);
        }
        process.ended();
    }
    ring.open().repair();
    let rest = consumer(&ring, &[&["--drain"], last].concat()).env(VARIABLE, folder.path());
    rest.stdout(File::options().write(true).open("/dev/null").unwrap()).run().succeeds();
    let told = folder.is_clean();
    assert!(told["acknowledged"].as_u64() > Some(0), "{told}");
    report(&format!("history, {label}: {told}"));
    told
}

fn small() -> RingOptions {
    RingOptions::new().capacity(32).slot_size(64).participants(16)
}

#[test]
fn lines_through_files_and_pipes() {
    let forms = [
        sends(&[]),
        sends(&["--rate", "20000"]),
        receives(&[], true),
        receives(&["--ack", "write"], true),
        receives(&[], false),
    ];
    killed_at_random("lines", &small(), &forms, &[], "sent");
}

#[test]
fn pieces_of_a_stream() {
    let options = RingOptions::new().capacity(64).slot_size(1024).participants(16);
    let forms = [
        sends(&["--raw"]),
        sends(&["--block", "4K"]),
        receives(&["--raw"], true),
        receives(&["--raw"], false),
    ];
    killed_at_random("pieces", &options, &forms, &["--raw"], "sent");
}

#[test]
fn an_exclusive_ring() {
    killed_at_random("exclusive", &small().exclusive(true), &[sends(&[]), receives(&[], true)], &[], "sent");
}

#[test]
fn a_turn_taking_discipline() {
    let discipline = *ringpipe::Discipline::ALL.iter().find(|one| one.takes_turns()).unwrap();
    let forms = [sends(&[]), sends(&[]), receives(&[], true), receives(&[], false)];
    killed_at_random("turns", &small().sync(discipline), &forms, &[], "sent");
}

#[test]
fn producers_that_drop_the_oldest_items() {
    let forms = [
        sends(&["--on-full", "drop-oldest"]),
        sends(&["--on-full", "drop-oldest"]),
        receives(&["--rate", "2000"], false),
        receives(&["--rate", "2000"], true),
    ];
    let told = killed_at_random("oldest", &small(), &forms, &[], "dropped");
    assert!(told["dropped"].as_u64() > Some(0), "{told}");
}

#[test]
fn producers_that_drop_the_newest_items_or_do_not_wait() {
    let forms = [
        sends(&["--on-full", "drop-newest"]),
        sends(&["--no-wait"]),
        sends(&["--timeout", "1ms"]),
        receives(&["--rate", "2000"], false),
    ];
    let told = killed_at_random("newest", &small(), &forms, &[], "refused");
    assert!(told["refused"].as_u64() > Some(0), "{told}");
}

#[test]
fn workers_and_coprocesses() {
    let forms = [
        sends(&[]),
        receives(&["-j", "2", "--prefetch", "2", "--", "true"], false),
        receives(&["-j", "2", "--prefetch", "2", "--coprocess", "--", "sed", "-u", "s/.*/ok/"], false),
        receives(&["--max-items", "8", "--", "cat"], true),
    ];
    killed_at_random("workers", &small(), &forms, &[], "sent");
}
