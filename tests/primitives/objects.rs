//! What each object promises while no process dies.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use ringpipe::sync::{self, Condition, Event, Lock, Semaphore};
use ringpipe::{ErrorKind, Ring, RingOptions, StopFlag};

use crate::support::{TestName, join_soon, within};

const SHORT: Duration = Duration::from_millis(5);

fn kind<T>(result: ringpipe::Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

#[test]
fn an_object_is_opened_only_as_its_own_kind() {
    let names = [(); 5].map(|()| TestName::new("kinds"));
    Lock::create(&names[0]).unwrap();
    Semaphore::create(&names[1], 0, 1).unwrap();
    Condition::create(&names[2]).unwrap();
    Event::create(&names[3]).unwrap();
    let ring = RingOptions::new().capacity(2).slot_size(8).create(&names[4]).unwrap();
    for (n, name) in names.iter().enumerate() {
        let expected = |of| (n != of).then_some(ErrorKind::Incompatible);
        assert_eq!(kind(Lock::open(name)), expected(0));
        assert_eq!(kind(Semaphore::open(name)), expected(1));
        assert_eq!(kind(Condition::open(name)), expected(2));
        assert_eq!(kind(Event::open(name)), expected(3));
        assert_eq!(kind(Ring::open(name)), expected(4));
        assert_eq!(kind(Lock::create(name)), Some(ErrorKind::Exists));
        assert_eq!(Ring::names().unwrap().iter().any(|found| found.as_str() == &**name), n == 4);
    }
    let error = Lock::open(&names[1]).unwrap_err().to_string();
    assert!(error.ends_with("it is a semaphore, expected a lock"), "{error}");
    assert_eq!(kind(sync::remove(&names[4])), Some(ErrorKind::Incompatible));
    ring.remove().unwrap();
    for name in &names[..4] {
        assert!(Ring::remove_leftover(&name.parse().unwrap()).is_err());
        assert!(sync::remove(name).unwrap());
        assert_eq!(kind(sync::remove(name)), Some(ErrorKind::NotFound));
        assert_eq!(kind(Lock::open(name)), Some(ErrorKind::NotFound));
    }
    assert_eq!(kind(Lock::create("a/b")), Some(ErrorKind::Usage));
    assert_eq!(kind(Semaphore::create("never-made", 2, 1)), Some(ErrorKind::Usage));
    assert_eq!(kind(Semaphore::create("never-made", 0, 4097)), Some(ErrorKind::Usage));
}

#[test]
fn concurrent_open_or_create_calls_create_one_object_and_removal_spares_a_newer_one() {
    let name = TestName::new("race");
    let threads = (0..8).map(|_| {
        let name = name.to_string();
        std::thread::spawn(move || Semaphore::open_or_create(&name, 3, 3).unwrap())
    });
    let all: Vec<Semaphore> = threads.collect::<Vec<_>>().into_iter().map(|t| t.join().unwrap()).collect();
    let permits: Vec<_> =
        all[..3].iter().map(|semaphore| semaphore.try_acquire().unwrap().unwrap()).collect();
    assert!(all[3].try_acquire().unwrap().is_none());
    drop(permits);
    assert_eq!(std::fs::metadata(name.path()).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(all[0].remove().unwrap());
    let newer = Semaphore::create(&name, 1, 1).unwrap();
    assert!(!all[0].remove().unwrap());
    assert!(name.exists() && newer.remove().unwrap());
}

#[test]
fn a_lock_has_one_holder_and_is_released_on_drop() {
    let name = TestName::new("lock");
    let mut locks: Vec<Lock> = (0..3).map(|_| Lock::open_or_create(&name).unwrap()).collect();
    let [first, second, third] = &mut locks[..] else { unreachable!() };
    let guard = first.lock().unwrap();
    assert!(second.try_lock().unwrap().is_none());
    assert_eq!(kind(second.lock_timeout(SHORT)), Some(ErrorKind::TimedOut));
    let stop = StopFlag::new();
    stop.raise();
    third.set_stop_flag(stop);
    assert_eq!(kind(third.lock()), Some(ErrorKind::Interrupted));
    drop(guard);
    assert!(!second.lock().unwrap().is_abandoned());
    // A guard that is forgotten keeps the lock as long as its handle lives.
    std::mem::forget(second.lock().unwrap());
    assert_eq!(kind(second.lock()), Some(ErrorKind::Busy));
    assert!(first.try_lock().unwrap().is_none());
    let forgetful = locks.remove(1);
    forgetful.remove().unwrap();
    drop(forgetful);
    assert!(locks[0].try_lock().unwrap().unwrap().is_abandoned());
}

#[test]
fn a_guard_dropped_by_a_panic_leaves_the_lock_abandoned() {
    let name = TestName::new("panic");
    let mut lock = Lock::create(&name).unwrap();
    let panics = std::panic::AssertUnwindSafe(|| {
        let _guard = lock.lock().unwrap();
        std::panic::resume_unwind(Box::new("on purpose"));
    });
    assert!(std::panic::catch_unwind(panics).is_err());
    assert!(lock.lock().unwrap().is_abandoned());
    assert!(!lock.lock().unwrap().is_abandoned());
    lock.remove().unwrap();
}

#[test]
fn threads_that_count_under_a_lock_lose_nothing() {
    let name = TestName::new("count");
    let counter = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let lock = Lock::create(&name).unwrap();
    let threads = (0..4).map(|_| {
        let (mut lock, counter) = (Lock::open(&name).unwrap(), counter.clone());
        std::thread::spawn(move || {
            use std::sync::atomic::Ordering::Relaxed;
            for _ in 0..5000 {
                let _guard = lock.lock().unwrap();
                counter.store(counter.load(Relaxed) + 1, Relaxed);
            }
        })
    });
    let threads: Vec<_> = threads.collect();
    within("they count", move || threads.into_iter().for_each(|thread| thread.join().unwrap()));
    assert_eq!(counter.load(std::sync::atomic::Ordering::Relaxed), 4 * 5000);
    lock.remove().unwrap();
}

#[test]
fn permits_are_counted_used_up_and_added() {
    let name = TestName::new("permits");
    let (mine, theirs) = (Semaphore::create(&name, 1, 3).unwrap(), Semaphore::open(&name).unwrap());
    assert_eq!((mine.value(), mine.most()), (1, 3));
    let permit = mine.acquire().unwrap();
    assert!(theirs.try_acquire().unwrap().is_none());
    assert_eq!(kind(theirs.acquire_timeout(SHORT)), Some(ErrorKind::TimedOut));
    theirs.release().unwrap();
    theirs.release().unwrap();
    assert_eq!(kind(theirs.release()), Some(ErrorKind::Full), "the held one counts");
    permit.forget();
    assert_eq!(mine.value(), 2);
    theirs.release().unwrap();
    let all: Vec<_> = (0..3).map(|_| mine.try_acquire().unwrap().unwrap()).collect();
    assert!(mine.try_acquire().unwrap().is_none());
    drop(all);
    assert_eq!(theirs.value(), 3);
    mine.remove().unwrap();
}

#[test]
fn a_waiter_gets_the_permit_that_is_released() {
    let name = TestName::new("handed");
    let items = Semaphore::create(&name, 0, 100).unwrap();
    let consumer = {
        let items = Semaphore::open(&name).unwrap();
        std::thread::spawn(move || (0..500).for_each(|_| items.acquire().unwrap().forget()))
    };
    for _ in 0..500 {
        while kind(items.release()) == Some(ErrorKind::Full) {
            std::thread::yield_now();
        }
    }
    within("all are consumed", move || consumer.join().unwrap());
    assert_eq!(items.value(), 0);
    items.remove().unwrap();
}

#[test]
fn waiters_of_a_condition_are_notified_in_order_and_one_at_a_time() {
    let name = TestName::new("in-order");
    let mut condition = Condition::create(&name).unwrap();
    assert!(!condition.lock().unwrap().notify_one(), "there is no waiter");
    let (guard, notified) = condition.lock().unwrap().wait_timeout(SHORT).unwrap();
    assert!(!notified && !guard.notify_one());
    drop(guard);
    let (tell, hear) = std::sync::mpsc::channel();
    for n in 0..5 {
        let (mut theirs, tell) = (Condition::open(&name).unwrap(), tell.clone());
        let (inside, locked) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let guard = theirs.lock().unwrap();
            inside.send(()).unwrap();
            let guard = guard.wait().unwrap();
            tell.send(n).unwrap();
            drop(guard);
        });
        locked.recv().unwrap();
        // The next holder of the lock finds it waiting.
        drop(condition.lock().unwrap());
    }
    for n in 0..3 {
        assert!(condition.lock().unwrap().notify_one());
        assert_eq!(hear.recv_timeout(Duration::from_secs(20)), Ok(n));
        assert!(hear.try_recv().is_err());
    }
    condition.lock().unwrap().notify_all();
    let mut rest: Vec<i32> = (0..2).map(|_| hear.recv_timeout(Duration::from_secs(20)).unwrap()).collect();
    rest.sort();
    assert_eq!(rest, [3, 4]);
    condition.remove().unwrap();
}

#[test]
fn a_wait_that_is_stopped_gives_its_notification_to_the_next() {
    let name = TestName::new("stopped-wait");
    let mut condition = Condition::create(&name).unwrap();
    let mut hasty = Condition::open(&name).unwrap();
    let stop = StopFlag::new();
    hasty.set_stop_flag(stop.clone());
    let waits = std::thread::spawn(move || kind(hasty.lock().unwrap().wait()));
    std::thread::sleep(SHORT);
    stop.raise();
    assert_eq!(join_soon(waits), Some(ErrorKind::Interrupted));
    assert!(!condition.lock().unwrap().notify_one(), "it waits no more");
    condition.remove().unwrap();
}

#[test]
fn wait_while_waits_for_what_the_lock_protects() {
    let name = TestName::new("while");
    let (mut condition, items) =
        (Condition::create(&name).unwrap(), std::sync::Arc::new(std::sync::Mutex::new(0)));
    let consumer = {
        let (mut condition, items) = (Condition::open(&name).unwrap(), items.clone());
        std::thread::spawn(move || {
            for _ in 0..200 {
                let _guard = condition.lock().unwrap().wait_while(|| *items.lock().unwrap() == 0).unwrap();
                *items.lock().unwrap() -= 1;
            }
        })
    };
    for _ in 0..200 {
        let guard = condition.lock().unwrap();
        *items.lock().unwrap() += 1;
        guard.notify_one();
    }
    within("all are consumed", move || consumer.join().unwrap());
    let guard = condition.lock().unwrap();
    let (guard, fulfilled) = guard.wait_while_timeout(SHORT, || *items.lock().unwrap() == 0).unwrap();
    assert!(!fulfilled);
    drop(guard);
    condition.remove().unwrap();
}

#[test]
fn an_event_wakes_all_waiters_and_is_taken_by_one() {
    let name = TestName::new("event");
    let mut event = Event::create(&name).unwrap();
    assert_eq!(kind(event.wait_timeout(SHORT)), Some(ErrorKind::TimedOut));
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let mut theirs = Event::open(&name).unwrap();
            std::thread::spawn(move || theirs.wait_timeout(Duration::from_secs(20)))
        })
        .collect();
    assert!(event.set().unwrap() && !event.set().unwrap());
    waiting.into_iter().for_each(|thread| thread.join().unwrap().unwrap());
    event.take().unwrap();
    assert_eq!(kind(event.take_timeout(Duration::ZERO)), Some(ErrorKind::TimedOut));
    assert!(event.set().unwrap() && event.reset().unwrap() && !event.reset().unwrap() && !event.is_set());
    let takers: Vec<_> = (0..4)
        .map(|_| {
            let mut theirs = Event::open(&name).unwrap();
            std::thread::spawn(move || theirs.take_timeout(Duration::from_secs(20)))
        })
        .collect();
    for _ in 0..4 {
        within("it is taken", {
            let event = Event::open(&name).unwrap();
            move || {
                while event.is_set() {
                    std::thread::yield_now();
                }
            }
        });
        assert!(event.set().unwrap());
    }
    takers.into_iter().for_each(|thread| thread.join().unwrap().unwrap());
    assert!(!event.is_set());
    event.remove().unwrap();
}
