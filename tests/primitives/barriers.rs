//! Barriers: which processes pass, which count, and what deaths, stops and timeouts change.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use nix::sys::signal::Signal;
use ringpipe::internal::layout::named;
use ringpipe::sync::{Barrier, ObjectOptions};
use ringpipe::{ErrorKind, StopFlag};

use crate::actor::Actor;
use crate::support::{TestName, wait_until, within};

const SHORT: Duration = Duration::from_millis(5);
/// Long enough for several checks for dead processes.
const A_WHILE: Duration = Duration::from_millis(150);

fn actors(name: &str, number: usize) -> Vec<Actor> {
    (0..number).map(|_| Actor::with("barrier", name)).collect()
}

/// Tells all to come, and waits until they wait.
fn come(barrier: &Barrier, actors: &mut [Actor]) {
    for actor in actors {
        let before = barrier.waiting();
        actor.told("come");
        wait_until("one more waits", || barrier.waiting() == before + 1);
    }
}

#[test]
fn all_continue_when_the_last_comes_again_and_again() {
    let name = TestName::new("barrier");
    let mut barrier = Barrier::create(&name, 3).unwrap();
    let mut others = actors(&name, 2);
    for _ in 0..5 {
        come(&barrier, &mut others);
        assert_eq!(barrier.waiting(), 2);
        assert!(barrier.wait().unwrap(), "it came last");
        assert!(others.iter_mut().all(|other| other.answer() == "first"));
        assert_eq!(barrier.waiting(), 0);
    }
    assert_eq!((barrier.parties(), barrier.name()), (3, &*name.name));
    barrier.remove().unwrap();
}

#[test]
fn a_barrier_for_one_holds_up_no_process() {
    let name = TestName::new("alone");
    let mut barrier = Barrier::create(&name, 1).unwrap();
    assert!(barrier.wait().unwrap() && barrier.wait_timeout(Duration::ZERO).unwrap());
    barrier.remove().unwrap();
}

#[test]
fn a_process_that_was_killed_while_it_waited_does_not_count() {
    let name = TestName::new("killed");
    let mut barrier = Barrier::create(&name, 3).unwrap();
    let mut others = actors(&name, 2);
    come(&barrier, &mut others);
    others.pop().unwrap().killed();
    assert_eq!(barrier.waiting(), 1);
    assert_eq!(barrier.wait_timeout(A_WHILE).unwrap_err().kind(), ErrorKind::TimedOut);
    let mut third = actors(&name, 1);
    come(&barrier, &mut third);
    assert!(barrier.wait().unwrap());
    assert!(others.iter_mut().chain(&mut third).all(|other| other.answer() == "first"));
    barrier.remove().unwrap();
}

#[test]
fn a_stopped_process_counts_and_holds_up_no_other_at_the_barrier() {
    let name = TestName::new("stopped");
    let mut barrier = Barrier::create(&name, 3).unwrap();
    let mut others = actors(&name, 2);
    come(&barrier, &mut others);
    others[0].stop();
    assert!(barrier.wait().unwrap());
    assert_eq!(others[1].answer(), "first");
    others[0].signal(Signal::SIGCONT);
    assert_eq!(others[0].answer(), "first");
    barrier.remove().unwrap();
}

#[test]
fn a_wait_that_ended_by_a_timeout_or_a_stop_flag_does_not_count() {
    let name = TestName::new("gave-up");
    let (mut first, mut second) = (Barrier::create(&name, 2).unwrap(), Barrier::open(&name).unwrap());
    assert_eq!(first.wait_timeout(SHORT).unwrap_err().kind(), ErrorKind::TimedOut);
    let stop = StopFlag::new();
    stop.raise();
    first.set_stop_flag(stop);
    assert_eq!(first.wait().unwrap_err().kind(), ErrorKind::Interrupted);
    assert_eq!(second.waiting(), 0);
    assert_eq!(second.wait_timeout(SHORT).unwrap_err().kind(), ErrorKind::TimedOut);
    second.remove().unwrap();
}

/// The waits of three times as many threads as pass together, in whatever order: one of each group came last.
#[test]
fn more_than_pass_together_pass_in_groups() {
    let name = TestName::new("groups");
    let barrier = Barrier::create(&name, 4).unwrap();
    // As many waits as make whole groups, whichever thread does them.
    let left = Arc::new(AtomicU32::new(600));
    let threads: Vec<_> = (0..12)
        .map(|_| {
            let (mut barrier, left) = (Barrier::open(&name).unwrap(), Arc::clone(&left));
            let next = move || left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok();
            std::thread::spawn(move || {
                std::iter::from_fn(|| next().then(|| barrier.wait().unwrap()))
                    .filter(|was_last| *was_last)
                    .count()
            })
        })
        .collect();
    let last = within("all pass", || threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>());
    assert_eq!(last, 150);
    barrier.remove().unwrap();
}

#[test]
fn another_number_of_processes_is_refused() {
    let name = TestName::new("other-number");
    let barrier = Barrier::create(&name, 2).unwrap();
    for options in [ObjectOptions::new(), ObjectOptions::new().ephemeral(true)] {
        let error = options.barrier(&name, 3).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.to_string().ends_with("is for 2 processes, not for 3"), "{error}");
    }
    for bad in [0, 1025] {
        assert_eq!(Barrier::open_or_create(&name, bad).unwrap_err().kind(), ErrorKind::Usage);
    }
    barrier.remove().unwrap();
}

/// A process that comes is killed after each of its steps. What it leaves is written by hand.
#[test]
fn a_process_that_died_with_the_barriers_lock_holds_up_no_other() {
    let name = TestName::new("died-inside");
    let mut barrier = Barrier::create(&name, 2).unwrap();
    let geometry = named::ObjectLayout::new(named::ObjectKind::Barrier, 2).unwrap();
    let dead = named::Owner { number: 9, serial: 7 };
    let file = std::fs::OpenOptions::new().write(true).open(name.path()).unwrap();
    let write = |at: u64, word: u64| {
        std::os::unix::fs::FileExt::write_all_at(&file, &word.to_le_bytes(), at).unwrap();
    };
    for last in 1..=3 {
        let ticket = name.word(named::head::TICKET);
        // Lock taken; ticket drawn; word waiting.
        let steps = [
            (named::head::OWNER, dead.word()),
            (named::head::TICKET, ticket + 1),
            (geometry.entry(9) + named::entry::WAIT, named::wait_state::waiting(ticket)),
        ];
        write(named::head::NUMBERS, 10);
        write(geometry.entry(9), named::in_use(7));
        steps[..last].iter().for_each(|(at, word)| write(*at, *word));
        assert_eq!(barrier.wait_timeout(A_WHILE).unwrap_err().kind(), ErrorKind::TimedOut, "step {last}");
        let mut other = Barrier::open(&name).unwrap();
        let thread = std::thread::spawn(move || other.wait().unwrap());
        wait_until("it waits", || barrier.waiting() == 1);
        assert!(barrier.wait().unwrap(), "step {last}");
        assert!(!within("it passes", move || thread.join().unwrap()), "it came first");
    }
    barrier.remove().unwrap();
}

#[test]
fn fifty_processes_pass_together_and_one_of_them_came_last() {
    let name = TestName::new("fifty");
    let barrier = Barrier::create(&name, 3).unwrap();
    let mut all = actors(&name, 48);
    for _ in 0..3 {
        all.iter_mut().for_each(|actor| actor.told("come"));
        let answers: Vec<String> = all.iter_mut().map(Actor::answer).collect();
        assert_eq!(answers.iter().filter(|answer| *answer == "last").count(), 16);
        assert_eq!(answers.iter().collect::<BTreeSet<_>>().len(), 2);
    }
    drop(all);
    barrier.remove().unwrap();
}
