//! Locks and barriers whose name goes with the last handle.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ringpipe::sync::{Barrier, Lock, ObjectOptions};
use ringpipe::{ErrorKind, Owners};

use crate::actor::Actor;
use crate::support::{TestName, within};

fn ephemeral() -> ObjectOptions {
    ObjectOptions::new().ephemeral(true)
}

#[test]
fn the_name_goes_with_the_last_handle_and_not_before() {
    let name = TestName::new("last");
    let (mut first, second) = (ephemeral().lock(&name).unwrap(), ephemeral().lock(&name).unwrap());
    drop(first.lock().unwrap());
    drop(second);
    assert!(name.exists());
    drop(first);
    assert!(!name.exists());
    let barriers = [(); 2].map(|()| ephemeral().barrier(&name, 2).unwrap());
    for (left, barrier) in [1, 0].into_iter().zip(barriers) {
        drop(barrier);
        assert_eq!(name.exists(), left == 1);
    }
    // Of another handle that stays, the name stays, too.
    let stays = Lock::create(&name).unwrap();
    drop(ephemeral().lock(&name).unwrap());
    assert!(name.exists());
    drop(stays);
    assert!(name.exists());
    drop(ephemeral().lock(&name).unwrap());
    assert!(!name.exists());
}

#[test]
fn a_lock_whose_holder_died_stays_until_the_next_holder_knows() {
    let name = TestName::new("died");
    let mut holder = Actor::with("ephemeral-lock", &name);
    assert_eq!(holder.does("lock"), "clean");
    holder.killed();
    drop(ephemeral().lock(&name).unwrap());
    assert!(name.exists());
    let mut lock = ephemeral().lock(&name).unwrap();
    assert!(lock.lock().unwrap().is_abandoned());
    drop(lock);
    assert!(!name.exists());
    let mut lock = ephemeral().lock(&name).unwrap();
    lock.lock().unwrap().abandon();
    drop(lock);
    assert!(name.exists());
    assert!(ephemeral().lock(&name).unwrap().lock().unwrap().is_abandoned());
    assert!(!name.exists());
}

#[test]
fn killed_waiting_processes_keep_no_name() {
    let name = TestName::new("killed");
    let lock = ephemeral().lock(&name).unwrap();
    let mut waiters = [(); 2].map(|()| Actor::with("ephemeral-lock", &name));
    assert_eq!(waiters[0].does("lock"), "clean");
    waiters[1].sleeps_at("lock");
    let [holder, waiter] = waiters;
    waiter.killed();
    drop(holder);
    drop(lock);
    drop(ephemeral().lock(&name).unwrap().lock().unwrap());
    assert!(!name.exists());
    let mut at_barrier = Actor::with("ephemeral-barrier", &name);
    at_barrier.sleeps_at("come");
    at_barrier.killed();
    assert!(name.exists(), "no process is left that could remove it");
    // For another number: the processes that it was for are dead.
    let barrier = ephemeral().barrier(&name, 2).unwrap();
    assert_eq!(barrier.parties(), 2);
    drop(barrier);
    assert!(!name.exists());
}

/// Makes the object one whose last handle was killed before it removed the name.
fn retire(name: &TestName) {
    let file = std::fs::OpenOptions::new().write(true).open(name.path()).unwrap();
    let owner = ringpipe::internal::layout::named::head::OWNER;
    std::os::unix::fs::FileExt::write_all_at(&file, &4u64.to_le_bytes(), owner).unwrap();
    assert!(name.exists());
}

#[test]
fn a_retired_object_is_not_found_and_made_anew() {
    let name = TestName::new("anew");
    let lock = |again: fn(&str) -> ringpipe::Result<Lock>| {
        drop(Lock::create(&name).unwrap());
        retire(&name);
        let mut lock = again(&name).unwrap();
        assert!(!lock.lock().unwrap().is_abandoned());
        lock.remove().unwrap();
    };
    lock(Lock::create);
    lock(Lock::open_or_create);
    let barrier = |again: fn(&str, u32) -> ringpipe::Result<Barrier>| {
        drop(Barrier::create(&name, 2).unwrap());
        retire(&name);
        let mut barrier = again(&name, 1).unwrap();
        assert!(barrier.wait().unwrap());
        barrier.remove().unwrap();
    };
    barrier(Barrier::create);
    barrier(Barrier::open_or_create);
    drop(Lock::create(&name).unwrap());
    retire(&name);
    assert_eq!(Lock::open(&name).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(!name.exists());
    drop(Lock::create(&name).unwrap());
    assert_eq!(Lock::create(&name).unwrap_err().kind(), ErrorKind::Exists);
    drop(ephemeral().lock(&name).unwrap());
}

/// A handle that has attached, and wants the lock only after the name was removed.
#[test]
fn a_handle_of_a_retired_object_works_on_the_one_that_has_the_name() {
    let name = TestName::new("retired");
    let (mut lock, mut plain) = (ephemeral().lock(&name).unwrap(), Lock::open(&name).unwrap());
    retire(&name);
    assert_eq!(plain.try_lock().unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(plain.lock().unwrap_err().kind(), ErrorKind::NotFound);
    let guard = lock.lock().unwrap();
    let mut other = ephemeral().lock(&name).unwrap();
    assert!(other.try_lock().unwrap().is_none(), "it is the same lock");
    drop(guard);
    drop((lock, other, plain));
    assert!(!name.exists());
    let mut barrier = ephemeral().barrier(&name, 2).unwrap();
    let mut plain = Barrier::open(&name).unwrap();
    retire(&name);
    assert_eq!(plain.wait().unwrap_err().kind(), ErrorKind::NotFound);
    let waits = std::thread::spawn(move || barrier.wait().unwrap());
    let mut other = within("the new one is there", {
        let name = name.to_string();
        move || loop {
            match Barrier::open(&name) {
                Ok(barrier) if barrier.waiting() == 1 => break barrier,
                _ => std::thread::yield_now(),
            }
        }
    });
    assert!(other.wait().unwrap());
    assert!(!within("it passes", move || waits.join().unwrap()));
    drop((other, plain));
    drop(ephemeral().barrier(&name, 2).unwrap());
    assert!(!name.exists());
}

/// The holder dies, and a child to which it has given the descriptor is alive.
#[test]
fn a_child_with_the_descriptor_keeps_the_lock_of_a_dead_holder() {
    let name = TestName::new("descriptor");
    let mut lock = Lock::create(&name).unwrap();
    let mut holder = Actor::with("lock", &name);
    assert_eq!(holder.does("lock"), "clean");
    let sleeper = Pid::from_raw(holder.does("hand").parse().unwrap());
    holder.killed();
    assert_eq!(lock.lock_timeout(Duration::from_millis(150)).unwrap_err().kind(), ErrorKind::TimedOut);
    kill(sleeper, Signal::SIGKILL).unwrap();
    assert!(lock.lock_timeout(Duration::from_secs(20)).unwrap().is_abandoned());
    // A holder that releases the lock needs no such end.
    let mut holder = Actor::with("lock", &name);
    assert_eq!(holder.does("lock"), "clean");
    let sleeper = Pid::from_raw(holder.does("hand").parse().unwrap());
    assert_eq!(holder.does("unlock"), "done");
    assert!(!lock.try_lock().unwrap().unwrap().is_abandoned());
    kill(sleeper, Signal::SIGKILL).unwrap();
    lock.remove().unwrap();
}

#[test]
fn options_set_the_mode_of_what_is_created_and_whose_objects_are_accepted() {
    let name = TestName::new("options");
    let options = ObjectOptions::new().mode(0o640).owners(Owners::Any);
    let mode = || std::fs::metadata(name.path()).unwrap().permissions().mode() & 0o777;
    let lock = options.lock(&name).unwrap();
    assert_eq!(mode(), 0o640);
    lock.remove().unwrap();
    let barrier = options.barrier(&name, 2).unwrap();
    assert_eq!(mode(), 0o640);
    barrier.remove().unwrap();
    let event = options.event(&name).unwrap();
    assert_eq!(mode(), 0o640);
    assert!(options.existing_event(&name).is_ok());
    event.remove().unwrap();
    assert_eq!(options.existing_event(&name).unwrap_err().kind(), ErrorKind::NotFound);
}
