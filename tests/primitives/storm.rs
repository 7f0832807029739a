//! Processes over each object, killed at random, and logs that prove what was promised.
//!
//! Nothing but the object protects what the workers share: words in another segment that are read, changed and
//! written in separate steps, and a log to which every worker appends one record when it comes in and one when
//! it leaves, and the storm one before it kills.
//!
//! `RINGPIPE_PRIMITIVES_KILLS` sets how many are killed over each object (60), `RINGPIPE_STORM_SEED` repeats a run.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use ringpipe::internal::layout::mapping::Words;
use ringpipe::internal::layout::named::ObjectKind;
use ringpipe::internal::sys::segment::Segment;
use ringpipe::sync::{Condition, Event, Lock, ObjectOptions, Semaphore};

use crate::support::{
    Kept, Random, TestName, again, die_with_parent, env_number, report, seed, wait_until, within,
};

const ORDERS: &str = "RINGPIPE_TEST_PRIMITIVES";
const WORKERS: u64 = 5;
const PERMITS: u32 = 3;
const PARTIES: u32 = 3;

/// The words that workers share: in an event's segment, behind all that the event uses.
struct Shared(Words);

impl Shared {
    fn create(name: &str) -> Shared {
        drop(Event::create(name).expect("a segment"));
        Shared::open(name)
    }

    fn open(name: &str) -> Shared {
        let segment =
            Segment::open(&name.parse().expect("a name"), Default::default()).expect("the shared words");
        Shared(Words::new(Arc::new(segment), ObjectKind::Event).expect("an event"))
    }

    /// The process inside; 0 for none.
    fn inside(&self) -> &AtomicU64 {
        self.0.word(0x800)
    }

    /// Counted up inside, not atomically.
    fn counter(&self) -> &AtomicU64 {
        self.0.word(0x840)
    }

    /// 0, or what went wrong.
    fn fault(&self) -> &AtomicU64 {
        self.0.word(0x880)
    }

    /// What a worker's place has done in all.
    fn done(&self, place: u64) -> &AtomicU64 {
        self.0.word(0x900 + place * 64)
    }

    fn all_done(&self) -> u64 {
        (0..WORKERS).map(|place| self.done(place).load(Relaxed)).sum()
    }
}

fn add(word: &AtomicU64, more: u64) {
    word.store(word.load(Relaxed).wrapping_add(more), Relaxed);
}

/// Does nothing by itself; in a process that a storm made, it is a worker, and does not return.
pub fn run_if_told() {
    let Ok(orders) = std::env::var(ORDERS) else { return };
    die_with_parent();
    let words: Vec<&str> = orders.split(' ').collect();
    let [what, name, shared, place, id] = words[..] else { panic!("{orders}?") };
    let (place, id) = (place.parse().expect("a place"), id.parse().expect("an id"));
    match what {
        "lock" => count_under_lock(&mut Lock::open(name).expect("a place"), &Shared::open(shared), place, id),
        "condition" => hand_over(&mut Condition::open(name).expect("a place"), &Shared::open(shared), place),
        "event" => take(&mut Event::open(name).expect("an event"), &Shared::open(shared), place),
        "logged-lock" => {
            let mut lock = Lock::open(name).expect("a place");
            log_all(shared, id, |section| {
                let _guard = lock.lock().expect("the lock");
                section();
            });
        }
        // The name comes and goes with each section.
        "ephemeral-lock" => log_all(shared, id, |section| {
            let mut lock = ephemeral().lock(name).expect("a place");
            let _guard = lock.lock().expect("the lock");
            section();
        }),
        "barrier" => meet(name, shared, id),
        "semaphore" => {
            let semaphore = Semaphore::open(name).expect("a place");
            log_all(shared, id, |section| {
                let _permit = semaphore.acquire().expect("a permit");
                section();
            });
        }
        _ => panic!("{what}?"),
    }
}

fn count_under_lock(lock: &mut Lock, shared: &Shared, place: u64, id: u64) {
    loop {
        let guard = lock.lock().expect("the lock");
        let before = shared.inside().load(Relaxed);
        if before != 0 && !guard.is_abandoned() {
            shared.fault().store(before << 32 | id, Relaxed);
        }
        shared.inside().store(id, Relaxed);
        let count = shared.counter().load(Relaxed);
        for _ in 0..id % 64 {
            std::hint::spin_loop();
        }
        if shared.inside().load(Relaxed) != id {
            shared.fault().store(id, Relaxed);
        }
        shared.counter().store(count + 1, Relaxed);
        add(shared.done(place), 1);
        shared.inside().store(0, Relaxed);
        drop(guard);
    }
}

/// The first two produce one item when there is none; the others consume it. The counter is the number of
/// items, and one wake-up that is lost for good leaves all of them waiting.
fn hand_over(condition: &mut Condition, shared: &Shared, place: u64) {
    let items = shared.counter();
    loop {
        let guard = condition.lock().expect("the lock");
        if place < 2 {
            if items.load(Relaxed) == 0 {
                items.store(1, Relaxed);
                guard.notify_one();
            }
            drop(guard);
            std::thread::yield_now();
        } else {
            let guard = guard.wait_while(|| items.load(Relaxed) == 0).expect("a wait");
            items.store(0, Relaxed);
            add(shared.done(place), 1);
            drop(guard);
        }
    }
}

fn take(event: &mut Event, shared: &Shared, place: u64) {
    loop {
        event.take().expect("the event");
        add(shared.done(place), 1);
    }
}

fn ephemeral() -> ObjectOptions {
    ObjectOptions::new().ephemeral(true)
}

/// Logs coming to the barrier and passing it. The name comes and goes with the groups.
fn meet(name: &str, path: &str, id: u64) {
    let log = OpenOptions::new().append(true).open(path).expect("the log");
    loop {
        let mut barrier = ephemeral().barrier(name, PARTIES).expect("a place");
        record(&log, What::In, id);
        barrier.wait().expect("all come");
        record(&log, What::Out, id);
    }
}

/// Logs coming in and leaving; `enter` calls its argument while it holds what is to be held.
fn log_all(path: &str, id: u64, mut enter: impl FnMut(&mut dyn FnMut())) {
    let log = OpenOptions::new().append(true).open(path).expect("the log");
    let mut random = Random::new(id);
    loop {
        enter(&mut || {
            record(&log, What::In, id);
            for _ in 0..random.below(200) {
                std::hint::spin_loop();
            }
            record(&log, What::Out, id);
        });
    }
}

/// What happened, in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    In,
    Out,
    Killed,
}

/// Appends eight bytes at once: the order in the file is the order in which it happened.
fn record(mut log: &File, what: What, id: u64) {
    log.write_all(&((what as u64) << 32 | id).to_le_bytes()).expect("the log grows");
}

fn read_log(mut log: &File) -> Vec<(What, u64)> {
    let mut bytes = Vec::new();
    log.read_to_end(&mut bytes).expect("the log");
    let words = bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().expect("eight")));
    let what = |n| [What::In, What::Out, What::Killed][n as usize];
    words.map(|word| (what(word >> 32), word & 0xffff_ffff)).collect()
}

/// Keeps workers running, and kills one after the other.
struct Storm {
    what: &'static str,
    name: String,
    shared: String,
    log: Option<File>,
    workers: Vec<(Kept, u64)>,
    random: Random,
    started: u64,
    kills: u64,
}

impl Storm {
    fn start(what: &'static str, name: &str, shared: &str, log: Option<File>) -> Storm {
        let seed = seed();
        let kills = env_number("RINGPIPE_PRIMITIVES_KILLS").unwrap_or(60);
        report(&format!("storm over a {what}: seed {seed}, {kills} kills"));
        let (name, shared) = (name.into(), shared.into());
        let random = Random::new(seed);
        let mut storm = Storm { what, name, shared, log, workers: Vec::new(), random, started: 0, kills };
        for place in 0..WORKERS {
            let worker = storm.worker(place);
            storm.workers.push(worker);
        }
        storm
    }

    fn worker(&mut self, place: u64) -> (Kept, u64) {
        self.started += 1;
        let orders = format!("{} {} {} {place} {}", self.what, self.name, self.shared, self.started);
        (Kept(again("worker", ORDERS, &orders).spawn().expect("a worker")), self.started)
    }

    /// Kills and replaces one after the other; `lives` says how much was done so far, which must grow.
    fn rage(&mut self, done: impl Fn(&Storm) -> u64) {
        for _ in 0..self.kills {
            std::thread::sleep(Duration::from_micros(self.random.below(8000)));
            let place = self.random.below(WORKERS);
            let (worker, id) = &self.workers[place as usize];
            if let Some(log) = &self.log {
                record(log, What::Killed, *id);
            }
            worker.signal(nix::sys::signal::Signal::SIGKILL);
            let next = self.worker(place);
            self.workers[place as usize] = next;
            if self.random.one_in(4) {
                let before = done(self);
                wait_until("the others go on", || done(self) > before);
            }
        }
        let before = done(self);
        wait_until("the survivors go on", || done(self) > before);
    }

    /// Ends all of them; no longer records.
    fn end(&mut self) {
        for (worker, id) in self.workers.drain(..) {
            if let Some(log) = &self.log {
                record(log, What::Killed, id);
            }
            drop(worker);
        }
    }
}

#[test]
fn a_counter_under_a_lock_loses_nothing_while_its_holders_are_killed() {
    let (name, words) = (TestName::new("storm-lock"), TestName::new("storm-words"));
    let mut lock = Lock::create(&name).unwrap();
    let shared = Shared::create(&words);
    let begin = Instant::now();
    let mut storm = Storm::start("lock", &name, &words, None);
    storm.rage(|_| shared.all_done());
    storm.end();
    let (count, done, kills) = (shared.counter().load(Relaxed), shared.all_done(), storm.kills + WORKERS);
    assert_eq!(shared.fault().load(Relaxed), 0, "two were inside");
    // Counted, and killed before it said so: at most once for each.
    assert!((done..=done + kills).contains(&count), "{count} counted, {done} done, {kills} killed");
    report(&format!("{done} sections, {kills} kills, {:.1?}", begin.elapsed()));
    drop(lock.lock().unwrap());
    lock.remove().unwrap();
    ringpipe::sync::remove(&words).unwrap();
}

/// At no moment are more inside than allowed: a killed process may count as gone once the storm has said so,
/// and not before.
fn check_log(log: &[(What, u64)], most: usize) -> u64 {
    let (mut inside, mut dead, mut sections) = (Vec::new(), Vec::new(), 0);
    for (what, id) in log {
        match what {
            What::Killed => dead.push(*id),
            What::Out => {
                assert!(inside.contains(id), "{id} leaves, and has not come");
                inside.retain(|other| other != id);
                sections += 1;
            }
            What::In => {
                inside.push(*id);
                if inside.len() > most {
                    // A place was given away: it was a dead process's, the first of which was seen to die first.
                    let gone = dead.iter().find_map(|id| inside.iter().position(|other| other == id));
                    inside.remove(gone.unwrap_or_else(|| panic!("{inside:?} are inside, and alive")));
                }
            }
        }
    }
    sections
}

fn logged_storm(what: &'static str, name: &str, most: usize) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let log = OpenOptions::new().create(true).append(true).read(true).open(&path).unwrap();
    let mut storm = Storm::start(what, name, path.to_str().unwrap(), Some(log));
    let length = |storm: &Storm| storm.log.as_ref().unwrap().metadata().unwrap().len();
    storm.rage(length);
    storm.end();
    let records = read_log(&File::open(&path).unwrap());
    let sections = check_log(&records, most);
    report(&format!("{sections} sections, {} records", records.len()));
    assert!(sections > 0);
}

#[test]
fn the_log_of_a_lock_shows_one_holder_at_a_time() {
    let name = TestName::new("storm-logged");
    let lock = Lock::create(&name).unwrap();
    logged_storm("logged-lock", &name, 1);
    lock.remove().unwrap();
}

#[test]
fn the_log_of_a_lock_that_comes_and_goes_shows_one_holder_at_a_time() {
    let name = TestName::new("storm-ephemeral");
    logged_storm("ephemeral-lock", &name, 1);
    drop(ephemeral().lock(&name).unwrap().lock().unwrap());
    assert!(!name.exists());
}

/// Checks that at any time no more processes have passed than complete groups have come.
fn check_groups(log: &[(What, u64)]) -> usize {
    let (mut came, mut passed) = (0, 0);
    for (what, _) in log {
        match what {
            What::In => came += 1,
            What::Out => passed += 1,
            What::Killed => {}
        }
        assert!(passed <= came / PARTIES as usize * PARTIES as usize, "{passed} passed when {came} had come");
    }
    passed
}

#[test]
fn processes_pass_a_barrier_in_whole_groups_while_others_are_killed_there() {
    let (name, folder) = (TestName::new("storm-barrier"), tempfile::tempdir().unwrap());
    let path = folder.path().join("log");
    let log = OpenOptions::new().create(true).append(true).read(true).open(&path).unwrap();
    let mut storm = Storm::start("barrier", &name, path.to_str().unwrap(), Some(log));
    storm.rage(|storm| storm.log.as_ref().unwrap().metadata().unwrap().len());
    storm.end();
    let passed = check_groups(&read_log(&File::open(&path).unwrap()));
    report(&format!("{passed} passed"));
    assert!(passed > PARTIES as usize);
    // Whatever the killed left, one process that comes alone passes a barrier for one, which replaces theirs.
    assert!(ephemeral().barrier(&name, 1).unwrap().wait().unwrap());
    assert!(!name.exists());
}

#[test]
fn the_check_of_groups_finds_one_that_passed_alone() {
    use What::{In, Out};
    let group = [(In, 1), (In, 2), (In, 3), (Out, 2), (Out, 1), (Out, 3)];
    assert_eq!(check_groups(&group), 3);
    let early = [&group[..], &[(In, 1), (Out, 1)]].concat();
    assert!(std::panic::catch_unwind(|| check_groups(&early)).is_err());
}

#[test]
fn the_log_of_a_semaphore_shows_no_more_holders_than_permits_and_all_permits_come_back() {
    let name = TestName::new("storm-semaphore");
    let semaphore = Semaphore::create(&name, PERMITS, PERMITS).unwrap();
    logged_storm("semaphore", &name, PERMITS as usize);
    assert_eq!(semaphore.value(), PERMITS);
    let all: Vec<_> = (0..PERMITS).map(|_| semaphore.try_acquire().unwrap().unwrap()).collect();
    assert!(semaphore.try_acquire().unwrap().is_none());
    drop(all);
    semaphore.remove().unwrap();
}

#[test]
fn the_check_finds_too_many_holders_in_a_log() {
    use What::{In, Killed, Out};
    let fine = [(In, 1), (Killed, 1), (In, 2), (Out, 2), (In, 3)];
    assert_eq!(check_log(&fine, 1), 1);
    for bad in [&[(In, 1), (In, 2)][..], &[(In, 1), (In, 2), (Killed, 1)], &[(Out, 1)]] {
        assert!(std::panic::catch_unwind(|| check_log(bad, 1)).is_err(), "{bad:?}");
    }
}

#[test]
fn waiters_of_a_condition_continue_while_waiters_and_notifiers_are_killed() {
    let (name, words) = (TestName::new("storm-condition"), TestName::new("storm-items"));
    let condition = Condition::create(&name).unwrap();
    let shared = Shared::create(&words);
    let mut storm = Storm::start("condition", &name, &words, None);
    storm.rage(|_| shared.all_done());
    storm.end();
    report(&format!("{} items went through", shared.all_done()));
    condition.remove().unwrap();
    ringpipe::sync::remove(&words).unwrap();
}

#[test]
fn each_set_of_an_event_is_taken_at_most_once_and_a_dead_waiter_takes_at_most_one() {
    let (name, words) = (TestName::new("storm-event"), TestName::new("storm-taken"));
    let event = Event::create(&name).unwrap();
    let shared = Shared::create(&words);
    let stop = ringpipe::StopFlag::new();
    let setter = {
        let (event, stop) = (Event::open(&name).unwrap(), stop.clone());
        std::thread::spawn(move || {
            let mut sets = 0u64;
            while !stop.is_raised() {
                sets += u64::from(event.set().unwrap());
                std::thread::yield_now();
            }
            sets
        })
    };
    let mut storm = Storm::start("event", &name, &words, None);
    storm.rage(|_| shared.all_done());
    storm.end();
    stop.raise();
    let sets = within("the setter ends", move || setter.join().unwrap());
    let (taken, kills) = (shared.all_done(), storm.kills + WORKERS);
    let left = u64::from(event.is_set());
    assert!(
        taken + left <= sets && sets <= taken + left + kills,
        "{sets} set, {taken} taken, {kills} killed"
    );
    report(&format!("{sets} set, {taken} taken"));
    event.remove().unwrap();
    ringpipe::sync::remove(&words).unwrap();
}
