//! Killed and stopped at chosen moments.

use std::time::Duration;

use nix::sys::signal::Signal;
use ringpipe::sync::{Condition, Event, Lock, Semaphore};
use ringpipe::{ErrorKind, internal::layout::named};

use crate::actor::Actor;
use crate::support::{TestName, within};

const LONG: Duration = Duration::from_secs(20);
/// Long enough for several checks for dead processes.
const A_WHILE: Duration = Duration::from_millis(150);

#[test]
fn a_waiter_gets_a_killed_holders_lock_and_learns_that_it_was_abandoned() {
    let name = TestName::new("killed-holder");
    let mut lock = Lock::create(&name).unwrap();
    let (mut holder, mut waiter) = (Actor::with("lock", &name), Actor::with("lock", &name));
    assert_eq!(holder.does("lock"), "clean");
    waiter.sleeps_at("lock");
    holder.killed();
    assert_eq!(waiter.answer(), "abandoned");
    assert!(lock.try_lock().unwrap().is_none());
    assert_eq!(waiter.does("unlock"), "done");
    assert!(!lock.lock().unwrap().is_abandoned(), "it was put in order");
    assert_eq!(waiter.does("lock"), "clean");
    waiter.killed();
    assert!(lock.try_lock().unwrap().unwrap().is_abandoned(), "also without waiting");
    lock.remove().unwrap();
}

#[test]
fn a_suspended_holder_keeps_its_lock() {
    let name = TestName::new("stopped-holder");
    let mut lock = Lock::create(&name).unwrap();
    let mut holder = Actor::with("lock", &name);
    assert_eq!(holder.does("lock"), "clean");
    holder.stop();
    assert_eq!(lock.lock_timeout(A_WHILE).unwrap_err().kind(), ErrorKind::TimedOut);
    assert!(lock.try_lock().unwrap().is_none());
    holder.signal(Signal::SIGCONT);
    assert_eq!(holder.does("unlock"), "done");
    assert!(!lock.lock_timeout(LONG).unwrap().is_abandoned());
    lock.remove().unwrap();
}

#[test]
fn a_wakeup_taken_by_a_killed_or_stopped_waiter_delays_no_other() {
    for death in [Signal::SIGKILL, Signal::SIGSTOP] {
        let name = TestName::new("killed-waiter");
        let mut lock = Lock::create(&name).unwrap();
        let guard = lock.lock().unwrap();
        let mut waiters: Vec<Actor> = (0..3).map(|_| Actor::with("lock", &name)).collect();
        waiters.iter_mut().for_each(|waiter| waiter.sleeps_at("lock"));
        // All of them are posted while they cannot run: whichever it was, it does not answer.
        waiters.iter().for_each(Actor::stop);
        drop(guard);
        waiters[..2].iter().for_each(|waiter| waiter.signal(death));
        waiters[2].signal(Signal::SIGCONT);
        assert_eq!(waiters[2].answer(), "clean");
        assert_eq!(waiters[2].does("unlock"), "done");
        drop(waiters);
        lock.remove().unwrap();
    }
}

#[test]
fn a_killed_holders_permits_come_back_to_waits_and_tries_but_used_up_ones_do_not() {
    let name = TestName::new("killed-permit");
    let semaphore = Semaphore::create(&name, 4, 4).unwrap();
    let mut holder = Actor::with("semaphore", &name);
    for told in ["acquire", "acquire", "acquire", "acquire", "forget"] {
        assert_eq!(holder.does(told), "done");
    }
    assert_eq!(semaphore.value(), 0);
    holder.stop();
    assert!(semaphore.try_acquire().unwrap().is_none());
    assert_eq!(semaphore.acquire_timeout(A_WHILE).unwrap_err().kind(), ErrorKind::TimedOut);
    let mut waiter = Actor::with("semaphore", &name);
    waiter.sleeps_at("acquire");
    holder.killed();
    assert_eq!(waiter.answer(), "done");
    assert_eq!(semaphore.value(), 2);
    waiter.killed();
    assert_eq!(semaphore.value(), 3, "one is held by the dead, and counts");
    let all: Vec<_> = (0..3).map(|_| semaphore.try_acquire().unwrap().unwrap()).collect();
    assert!(semaphore.try_acquire().unwrap().is_none());
    drop(all);
    semaphore.remove().unwrap();
}

#[test]
fn a_permit_posted_to_a_killed_waiter_goes_to_another() {
    let name = TestName::new("posted-permit");
    let semaphore = Semaphore::create(&name, 0, 4).unwrap();
    let mut waiters: Vec<Actor> = (0..2).map(|_| Actor::with("semaphore", &name)).collect();
    waiters.iter_mut().for_each(|waiter| waiter.sleeps_at("acquire"));
    waiters.iter().for_each(Actor::stop);
    semaphore.release().unwrap();
    let mut survivor = waiters.pop().unwrap();
    waiters.pop().unwrap().killed();
    survivor.signal(Signal::SIGCONT);
    assert_eq!(survivor.answer(), "done");
    semaphore.remove().unwrap();
}

/// The one that has waited longest is notified while it is stopped, and then killed.
#[test]
fn a_notification_of_a_killed_waiter_is_passed_on() {
    let name = TestName::new("passed-on");
    let mut condition = Condition::create(&name).unwrap();
    let mut waiters: Vec<Actor> = (0..4).map(|_| Actor::with("condition", &name)).collect();
    for waiter in &mut waiters {
        assert_eq!(waiter.does("lock"), "clean");
        waiter.sleeps_at("wait");
    }
    let second = waiters.remove(1);
    let first = waiters.remove(0);
    first.stop();
    second.killed();
    assert!(condition.lock().unwrap().notify_one());
    first.killed();
    let [third, fourth] = &mut waiters[..] else { unreachable!() };
    assert_eq!(third.answer(), "woken", "past the first and the second, which are dead");
    assert_eq!(third.does("unlock"), "done");
    // The fourth was not notified: it still waits, and is the next.
    assert!(condition.lock().unwrap().notify_one());
    assert_eq!(fourth.answer(), "woken");
    assert_eq!(fourth.does("unlock"), "done");
    assert!(!condition.lock().unwrap().notify_one());
    drop(waiters);
    condition.remove().unwrap();
}

#[test]
fn the_death_of_a_condition_locks_holder_wakes_all_waiters() {
    let name = TestName::new("killed-notifier");
    let mut condition = Condition::create(&name).unwrap();
    let mut waiters: Vec<Actor> = (0..3).map(|_| Actor::with("condition", &name)).collect();
    for waiter in &mut waiters {
        assert_eq!(waiter.does("lock"), "clean");
        waiter.sleeps_at("wait");
    }
    let mut notifier = Actor::with("condition", &name);
    assert_eq!(notifier.does("lock"), "clean");
    notifier.killed();
    // In whatever order they get the lock.
    waiters.iter_mut().for_each(|waiter| waiter.told("unlock"));
    let mut answers: Vec<String> = waiters.iter_mut().map(Actor::answer).collect();
    assert!(waiters.iter_mut().all(|waiter| waiter.answer() == "done"));
    answers.sort();
    assert_eq!(answers, ["woken", "woken", "woken, abandoned"]);
    assert!(!condition.lock_timeout(LONG).unwrap().is_abandoned());
    drop(waiters);
    condition.remove().unwrap();
}

#[test]
fn a_killed_waiter_of_an_event_delays_no_other_waiter() {
    let name = TestName::new("killed-event");
    let event = Event::create(&name).unwrap();
    let mut waiters: Vec<Actor> = (0..3).map(|_| Actor::with("event", &name)).collect();
    waiters.iter_mut().for_each(|waiter| waiter.sleeps_at("take"));
    waiters.iter().for_each(Actor::stop);
    event.set().unwrap();
    waiters.drain(..2).for_each(Actor::killed);
    waiters[0].signal(Signal::SIGCONT);
    assert_eq!(waiters[0].answer(), "done");
    assert!(!event.is_set());
    event.remove().unwrap();
}

/// Fills the table with entries whose locks are free, so that the next one needs a dead participant's number.
#[test]
fn a_number_is_granted_again_only_after_its_traces_were_repaired() {
    let name = TestName::new("numbers");
    let mut lock = Lock::create(&name).unwrap();
    let mut holder = Actor::with("lock", &name);
    assert_eq!(holder.does("lock"), "clean");
    let file = std::fs::OpenOptions::new().read(true).write(true).open(name.path()).unwrap();
    for number in 2..u64::from(named::ObjectKind::Lock.participants()) {
        let state = 1u64 << 32 | (1000 + number);
        std::os::unix::fs::FileExt::write_all_at(&file, &state.to_le_bytes(), named::HEAD_BYTES + 8 * number)
            .unwrap();
    }
    let owner = || {
        let mut word = [0; 8];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut word, named::head::OWNER).unwrap();
        u64::from_le_bytes(word)
    };
    let held = owner();
    assert_eq!(held >> 8 & 0xffff, 1, "its number");
    holder.killed();
    assert_eq!(owner(), held, "no process has looked yet");
    let mut next = Lock::open(&name).unwrap();
    assert_ne!(owner(), held, "repaired before the number was given");
    let guard = next.lock().unwrap();
    assert!(guard.is_abandoned());
    assert_eq!((owner() >> 8 & 0xffff, owner() == held), (1, false), "the same number, another serial");
    assert!(lock.try_lock().unwrap().is_none(), "it is alive, and not taken for its predecessor");
    drop(guard);
    lock.remove().unwrap();
}

#[test]
fn a_forked_child_can_use_nothing_and_changes_nothing() {
    [false, true].into_iter().for_each(forks);
}

/// The child drops its copies of what its parent holds, or says that it gives the locks up as they are.
fn forks(gives_up: bool) {
    let names = [(); 3].map(|()| TestName::new("fork"));
    let (mut lock, semaphore) =
        (Lock::create(&names[0]).unwrap(), Semaphore::create(&names[1], 2, 2).unwrap());
    let mut condition = Condition::create(&names[2]).unwrap();
    let idle = Semaphore::open(&names[1]).unwrap();
    let permit = semaphore.acquire().unwrap();
    let (guard, other_guard) = (lock.lock().unwrap(), condition.lock().unwrap());
    // SAFETY: the child only calls what answers at once, and ends without running anything else.
    match unsafe { nix::unistd::fork() }.unwrap() {
        nix::unistd::ForkResult::Child => {
            let refused = semaphore.try_acquire().is_err_and(|error| error.kind() == ErrorKind::Forked)
                && semaphore.release().is_err_and(|error| error.kind() == ErrorKind::Forked);
            match gives_up {
                true => (guard.abandon(), other_guard.abandon()),
                false => (drop(guard), drop(other_guard)),
            };
            drop((permit, idle));
            // SAFETY: ends the process at once.
            unsafe { nix::libc::_exit(if refused { 0 } else { 1 }) }
        }
        nix::unistd::ForkResult::Parent { child } => {
            let status = nix::sys::wait::waitpid(child, None).unwrap();
            assert_eq!(status, nix::sys::wait::WaitStatus::Exited(child, 0));
        }
    }
    assert!(Lock::open(&names[0]).unwrap().try_lock().unwrap().is_none());
    let mut other = Condition::open(&names[2]).unwrap();
    assert_eq!(other.lock_timeout(Duration::ZERO).unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(semaphore.value(), 1);
    assert_ne!(names[1].word(named::HEAD_BYTES + 8), 0, "the second handle takes part as before");
    drop((guard, other_guard, permit, idle));
    assert_eq!(semaphore.value(), 2);
    within("all are free", move || {
        assert!(!lock.lock().unwrap().is_abandoned() && !other.lock().unwrap().is_abandoned());
        lock.remove().unwrap();
        condition.remove().unwrap();
        semaphore.remove().unwrap();
    });
}
