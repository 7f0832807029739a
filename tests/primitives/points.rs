//! Killed at single instructions of what they do with a named object: whatever the point, the next processes go on, and
//! nothing is held, counted or named that belongs to the dead one.

use std::io::ErrorKind;
use std::time::Duration;

use nix::sys::signal::Signal;
use ringpipe::sync::{Barrier, Condition, Event, Lock, ObjectOptions, Semaphore};
use ringpipe::testing::point::{Outcome, Plan, Strike, Trace, Unit, has_ended};

use crate::actor::Actor;
use crate::support::{TestName, env_number, not_tested, scale, wait_until};

const LONG: Duration = Duration::from_secs(20);
/// How many points of each scene are tried: in `cargo test`, and at the scale of the gate.
/// `RINGPIPE_PRIMITIVES_POINTS` sets another number.
const POINTS: u64 = 4;
const POINTS_CI: u64 = 16;

/// What a process does while it is killed.
struct Scene {
    /// As [`Actor::with`] has it.
    kind: &'static str,
    told: &'static [&'static str],
    /// Whether it then drops its handle.
    leaves: bool,
}

impl Scene {
    /// Runs the scene with other processes that `prepare` starts, once for each tried point. `judge` gets them when the
    /// process is dead.
    fn at_points<P>(&self, prepare: impl Fn(&str) -> P, judge: impl Fn(&str, P)) {
        let run = |point: Option<u64>| {
            let name = TestName::new("point");
            let prepared = prepare(&name);
            let plan = Plan::count(Unit::Instruction).from_now();
            let plan = if let Some(number) = point { plan.at(number, Strike::Kill) } else { plan };
            let outcome = self.play(&name, plan)?;
            judge(&name, prepared);
            let place = outcome.struck.as_ref().map(|struck| struck.place.clone().unwrap_or_default());
            Some((outcome.count, place))
        };
        let Some((all, _)) = run(None) else { return };
        assert!(all > 500, "only {all} instructions were counted");
        let usual = if scale::is_ci() { POINTS_CI } else { POINTS };
        let tried = env_number("RINGPIPE_PRIMITIVES_POINTS").unwrap_or(usual);
        let mut struck = 0;
        for part in 0..tried {
            // One point in each of equal parts.
            let (begin, end) = (1 + part * all / tried, 1 + (part + 1) * all / tried);
            let point = fastrand::u64(begin..end.max(begin + 1));
            eprintln!("{}, {:?}: killed at instruction {point} of {all}", self.kind, self.told);
            let (_, place) = run(Some(point)).expect("tracing was possible before");
            struck += u64::from(place.is_some());
        }
        // A wait takes fewer instructions when what it waits for comes early.
        assert!(struck * 2 >= tried, "{struck} of {tried} points were reached");
        println!("{}, {:?}: {struck} deaths at {all} instructions", self.kind, self.told);
    }

    /// Plays the scene, and returns when its process is dead. `None`: the system forbids tracing.
    fn play(&self, name: &str, plan: Plan) -> Option<Outcome> {
        let mut actor = Actor::with(self.kind, name);
        let pid = actor.pid();
        let trace = match Trace::attach(pid, plan) {
            Ok(trace) => trace,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                not_tested(&format!("tracing is refused: {error}"));
                return None;
            }
            Err(error) => panic!("{error}"),
        };
        let answers = self.told.iter().all(|what| actor.outlives(what));
        if answers && self.leaves {
            actor.leaves();
        }
        actor.signal(Signal::SIGKILL);
        // Until then, the tracer waits for it.
        wait_until("the end of the traced process", || has_ended(pid));
        Some(trace.outcome().expect("an outcome"))
    }
}

fn actors<const N: usize>(kind: &str, name: &str) -> [Actor; N] {
    [(); N].map(|()| Actor::with(kind, name))
}

#[test]
fn a_lock() {
    let scene = Scene { kind: "lock", told: &["lock", "unlock"], leaves: false };
    let prepare = |name: &str| Lock::create(name).unwrap();
    scene.at_points(prepare, |name, lock| {
        let [mut one, mut other] = actors("lock", name);
        // The second waits while the first has it.
        let first = one.does("lock");
        assert!(first == "clean" || first == "abandoned", "{first}");
        other.sleeps_at("lock");
        assert_eq!(one.does("unlock"), "done");
        assert_eq!(other.answer(), "clean");
        assert_eq!(other.does("unlock"), "done");
        lock.remove().unwrap();
    });
}

#[test]
fn a_permit_that_is_acquired_and_dropped_or_used_up() {
    for (last, least) in [("drop", 2), ("forget", 1)] {
        let told: &'static [&'static str] =
            if last == "drop" { &["acquire", "drop"] } else { &["acquire", "forget"] };
        let scene = Scene { kind: "semaphore", told, leaves: false };
        let prepare = |name: &str| Semaphore::create(name, 2, 2).unwrap();
        scene.at_points(prepare, |_, semaphore| {
            let permits: Vec<_> = (0..least).map(|_| semaphore.acquire_timeout(LONG).unwrap()).collect();
            let more = semaphore.try_acquire().unwrap();
            assert!(more.is_none() || least == 1, "no permit is made");
            drop((permits, more));
            semaphore.remove().unwrap();
        });
    }
}

#[test]
fn a_permit_that_is_made() {
    let scene = Scene { kind: "semaphore", told: &["release"], leaves: false };
    let prepare = |name: &str| {
        let semaphore = Semaphore::create(name, 0, 2).unwrap();
        let mut waiter = Actor::with("semaphore", name);
        waiter.sleeps_at("acquire");
        (semaphore, waiter)
    };
    scene.at_points(prepare, |_, (semaphore, mut waiter)| {
        // It was made or not; this one is made.
        semaphore.release().unwrap();
        assert_eq!(waiter.answer(), "done");
        assert!(semaphore.value() <= 1);
        semaphore.remove().unwrap();
    });
}

#[test]
fn a_notification() {
    let scene = Scene { kind: "condition", told: &["lock", "one", "unlock"], leaves: false };
    let prepare = |name: &str| {
        let condition = Condition::create(name).unwrap();
        let mut waiters: [Actor; 2] = actors("condition", name);
        for waiter in &mut waiters {
            assert_eq!(waiter.does("lock"), "clean");
            waiter.sleeps_at("wait");
        }
        (condition, waiters)
    };
    scene.at_points(prepare, |_, (mut condition, mut waiters)| {
        // One was woken, or all if the lock was abandoned, or none: they unlock once they are woken.
        waiters.iter_mut().for_each(|waiter| waiter.told("unlock"));
        condition.lock_timeout(LONG).unwrap().notify_all();
        for waiter in &mut waiters {
            let woken = waiter.answer();
            assert!(woken == "woken" || woken == "woken, abandoned", "{woken}");
            assert_eq!(waiter.answer(), "done");
        }
        assert!(!condition.lock_timeout(LONG).unwrap().is_abandoned());
        condition.remove().unwrap();
    });
}

#[test]
fn an_event_that_is_set_and_taken() {
    let scene = Scene { kind: "event", told: &["set", "take"], leaves: false };
    let prepare = |name: &str| Event::create(name).unwrap();
    scene.at_points(prepare, |name, event| {
        let mut taker = Actor::with("event", name);
        taker.told("take");
        event.set().unwrap();
        assert_eq!(taker.answer(), "done");
        event.set().unwrap();
        assert_eq!(taker.does("take"), "done");
        event.remove().unwrap();
    });
}

#[test]
fn a_barrier_whose_last_process_comes() {
    let scene = Scene { kind: "barrier", told: &["come"], leaves: false };
    let prepare = |name: &str| {
        let barrier = Barrier::create(name, 3).unwrap();
        let mut others: [Actor; 2] = actors("barrier", name);
        others.iter_mut().for_each(|other| other.told("come"));
        wait_until("two wait", || barrier.waiting() == 2);
        (barrier, others)
    };
    scene.at_points(prepare, |name, (barrier, mut others)| {
        // The wait of the dead one does not count. If it has let the others pass, they come again.
        let have_passed = barrier.waiting() == 0;
        assert!(have_passed || barrier.waiting() == 2, "both pass, or none");
        let mut third = Actor::with("barrier", name);
        third.told("come");
        assert!(others.iter_mut().all(|other| other.answer() == "first"));
        if have_passed {
            others.iter_mut().for_each(|other| other.told("come"));
        }
        let third = third.answer();
        let mut all = vec![third];
        if have_passed {
            all.extend(others.iter_mut().map(Actor::answer));
        }
        assert_eq!(all.iter().filter(|answer| *answer == "last").count(), 1, "{all:?}");
        assert_eq!(barrier.waiting(), 0);
        barrier.remove().unwrap();
    });
}

#[test]
fn an_ephemeral_lock_that_is_left() {
    let scene = Scene { kind: "ephemeral-lock", told: &["lock", "unlock"], leaves: true };
    scene.at_points(
        |_| (),
        |name, ()| {
            let options = ObjectOptions::new().ephemeral(true);
            let mut lock = options.lock(name).unwrap();
            drop(lock.lock_timeout(LONG).unwrap());
            drop(lock);
            assert!(
                !std::fs::exists(format!("/dev/shm/{name}")).unwrap(),
                "the last handle removes the name"
            );
        },
    );
}

#[test]
fn an_ephemeral_barrier_that_is_left() {
    let scene = Scene { kind: "ephemeral-barrier", told: &[], leaves: true };
    scene.at_points(
        |_| (),
        |name, ()| {
            // For another number: the process of the one before is dead.
            let mut barrier = ObjectOptions::new().ephemeral(true).barrier(name, 1).unwrap();
            assert!(barrier.wait_timeout(LONG).unwrap());
            drop(barrier);
            assert!(
                !std::fs::exists(format!("/dev/shm/{name}")).unwrap(),
                "the last handle removes the name"
            );
        },
    );
}
