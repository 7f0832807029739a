//! Lost wake-ups: a process dies with the wake-up that was for all, or before it has given one, and another one
//! sleeps on. It looks again at the end of its slice, whatever happens.
//!
//! | race | sleeper | about the same moment |
//! |---|---|---|
//! | items | two consumers | an item is sent, and one of the two is killed |
//! | room | two producers at a full ring | a slot is freed, and one of the two is killed |
//! | sender | a consumer | a producer sends an item, and is killed |
//!
//! `cargo test` tries some of each under each discipline; `RINGPIPE_WAKEUPS=10000 cargo test --release --test deaths
//! storm::wakeups:: -- --nocapture` many. How long the survivor slept on is printed, and not judged: a machine may be busy. What is
//! judged is how often it went to sleep after the wake-up was due, which no load changes: a process that is late
//! sleeps no more often. Without the look at the end of a slice it would sleep for ever.

use std::process::Stdio;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use ringpipe::internal::sys::clock;
use ringpipe::{Activity, Consumer, Discipline, Producer, Ring, RingOptions, Role};

use crate::storm::crowd::{WATCHDOG, forked};
use crate::storm::shared::Words;
use crate::support::{
    Kept, Random, TestName, again, die_with_parent, env_number, report, seed, times_slower,
};

/// The variable that says what a process is to do: discipline, race, trials, seed.
const ORDERS: &str = "RINGPIPE_TEST_WAKEUPS";
const RACES: [&str; 3] = ["items", "room", "sender"];
/// What `cargo test` tries.
const FEW: u64 = 240;
/// Longest time from a post to the kill, in nanoseconds; or a quarter of it before.
const AROUND: u64 = 60_000;
/// So long after it has begun to send a sender is killed, at most.
const AFTER: u64 = 10_000;

/// How often a survivor may go to sleep after the wake-up was due. It may be about to sleep at that
/// moment; and a dead one's claim may not be found before the kernel has let go of it. Under a discipline with
/// turns it also waits for the turn of the dead. A handle that polls does not sleep.
fn most_sleeps(discipline: Discipline) -> Option<u64> {
    discipline.sleeps().then(|| if discipline.takes_turns() { 6 } else { 3 })
}

#[test]
fn a_wakeup_lost_with_a_killed_process_delays_others_by_a_slice_at_most() {
    let wanted = env_number("RINGPIPE_WAKEUPS").unwrap_or(FEW);
    let each = wanted.div_ceil((Discipline::ALL.len() * RACES.len()) as u64);
    let seed = seed();
    report(&format!("wake-ups: seed {seed}, {each} of each race under each discipline"));
    for n in 0..Discipline::ALL.len() {
        // Side by side: they sleep most of the time.
        let run = |race: usize| {
            let orders = format!("{n} {race} {each} {seed}");
            let mut command = again("storm::posting_and_killing", ORDERS, &orders);
            Kept(command.stderr(Stdio::inherit()).spawn().expect("a process"))
        };
        for mut race in [0, 1, 2].map(run) {
            let status = race.0.wait().expect("it ends");
            assert!(status.success(), "seed {seed}: {status}, see above");
        }
    }
}

/// Does nothing by itself; in a process that the test has made, it runs one race again and again.
pub fn run_if_told() {
    let Ok(orders) = std::env::var(ORDERS) else { return };
    die_with_parent();
    let numbers: Vec<u64> = orders.split(' ').map(|n| n.parse().expect("a number")).collect();
    let [discipline, race, trials, seed] = numbers[..] else { panic!("{orders}?") };
    let discipline = Discipline::ALL[discipline as usize];
    let ring_name = TestName::new("strm-wake");
    let options = RingOptions::new().capacity(4).slot_size(64).participants(8).sync(discipline);
    let ring = options.create(&ring_name).expect("a ring");
    let words = Words::new(WORDS);
    let random = Random::new(seed);
    let mut trial =
        Trial { ring: &ring, words: &words, random, sleeper: None, other: None, trial: 0, slept: 0 };
    let stalls = match RACES[race as usize] {
        "items" => trial.items(trials),
        "room" => trial.room(trials),
        _ => trial.sender(trials),
    };
    drop(trial);
    assert!(ring.remove().expect("it is ours"));
    stalls.print(discipline.name(), RACES[race as usize]);
    assert!(stalls.seen.len() as u64 * 10 >= trials, "the survivor was hardly ever concerned");
    if let Some(most) = most_sleeps(discipline) {
        let worst = stalls.seen.iter().map(|stall| stall.sleeps).max().expect("some");
        assert!(worst <= most, "{discipline}: it slept {worst} times after the wake-up was due");
    }
}

/// What the survivor tells: the number of what it got, when, and how often it had slept by then.
const GOT: usize = 0;
const TIME: usize = 1;
const SLEEPS: usize = 2;
/// When the wake-up was due; a sender tells that itself.
const DUE: usize = 3;
/// The trial in which the sender is to send.
const GO: usize = 4;
const WORDS: usize = 8;

/// Once that a wake-up was due.
struct Stall {
    ns: u64,
    sleeps: u64,
}

#[derive(Default)]
struct Stalls {
    seen: Vec<Stall>,
    /// Trials in which the one that was killed had got, or not yet sent, what there was.
    others: u64,
}

impl Stalls {
    fn print(&self, discipline: &str, race: &str) {
        let mut times: Vec<u64> = self.seen.iter().map(|stall| stall.ns).collect();
        times.sort_unstable();
        let at = |percent: usize| times.get(times.len() * percent / 100).or(times.last());
        let ms = |time: Option<&u64>| time.map_or(0.0, |ns| *ns as f64 / 1e6);
        let slices = times.iter().filter(|ns| **ns > 1_000_000).count();
        let sleeps = self.seen.iter().map(|stall| stall.sleeps).max().unwrap_or(0);
        report(&format!(
            "wake-ups: {discipline}, {race}: {} due, {} not; stalls p50 {:.3} ms, p99 {:.2} ms, longest {:.2} ms, {slices} \
             above 1 ms; slept {sleeps} times at most",
            self.seen.len(),
            self.others,
            ms(at(50)),
            ms(at(99)),
            ms(times.last()),
        ));
    }
}

struct Trial<'a> {
    ring: &'a Ring,
    words: &'a [AtomicU64],
    random: Random,
    sleeper: Option<Pid>,
    other: Option<Pid>,
    trial: u64,
    /// How often the survivor had gone to sleep when the wake-up was due.
    slept: u64,
}

impl Trial<'_> {
    fn items(&mut self, trials: u64) -> Stalls {
        let (mut producer, mut stalls) = (self.ring.producer().expect("a place"), Stalls::default());
        self.start_sleeper(Role::Consumer);
        for trial in 1..=trials {
            self.trial = trial;
            self.ring.repair();
            self.start_other(Role::Consumer);
            self.both_wait(Activity::WaitingForItems, 2);
            self.around_a_kill(|words| {
                words[DUE].store(clock::monotonic_ns(), Relaxed);
                producer.send(&trial.to_le_bytes()).expect("room");
            });
            // It comes to the survivor, or the other one has acknowledged it.
            self.settle(&mut stalls, |this| this.ring.snapshot().is_ok_and(|it| it.used_slots == 0));
        }
        stalls
    }

    fn room(&mut self, trials: u64) -> Stalls {
        let (mut consumer, mut stalls) = (self.ring.consumer().expect("a place"), Stalls::default());
        self.start_sleeper(Role::Producer);
        for trial in 1..=trials {
            self.trial = trial;
            self.ring.repair();
            self.start_other(Role::Producer);
            self.both_wait(Activity::WaitingForRoom, 2);
            let got = self.got();
            let item = consumer.recv_timeout(WATCHDOG * times_slower()).expect("a full ring");
            self.around_a_kill(|words| {
                words[DUE].store(clock::monotonic_ns(), Relaxed);
                item.ack();
            });
            // The slot is the survivor's, or the other one's item is in it, or the claim that it died with.
            let full = |this: &Self| {
                this.ring.snapshot().is_ok_and(|it| it.used_slots == it.capacity && it.writing == 0)
            };
            self.await_that("the slot is taken", |this| this.got() > got || full(this));
            self.note(&mut stalls, got);
        }
        stalls
    }

    fn sender(&mut self, trials: u64) -> Stalls {
        // So that the stream does not end.
        let (_producer, mut stalls) = (self.ring.producer().expect("a place"), Stalls::default());
        self.start_sleeper(Role::Consumer);
        for trial in 1..=trials {
            self.trial = trial;
            let (name, words) = (self.ring.name(), self.words);
            self.ring.repair();
            self.other = Some(forked(|| send_when_told(name, words, trial)));
            self.await_that("the sender is there", |this| this.ring.participants().len() == 3);
            self.both_wait(Activity::WaitingForItems, 1);
            self.words[DUE].store(0, Relaxed);
            self.words[GO].store(trial, Release);
            // It may have to wait for a processor.
            self.await_that("the sender begins", |this| this.words[DUE].load(Relaxed) != 0);
            spin(self.random.below(AFTER));
            self.kill_other();
            self.slept = self.sleeps();
            self.reap_other();
            self.settle(&mut stalls, |this| this.ring.snapshot().is_ok_and(|it| it.used_slots == 0));
        }
        stalls
    }

    /// Posts, and kills the other one shortly before or after. How often the survivor has slept by then is read
    /// after the post: this process may have waited for a processor before it.
    fn around_a_kill(&mut self, post: impl FnOnce(&[AtomicU64])) {
        let at = self.random.below(AROUND);
        if self.random.one_in(4) {
            self.kill_other();
            spin(at / 4);
            post(self.words);
        } else {
            post(self.words);
            spin(at);
            self.kill_other();
        }
        self.slept = self.sleeps();
        self.reap_other();
    }

    fn kill_other(&self) {
        kill(self.other.expect("another one"), Signal::SIGKILL).expect("not reaped yet");
    }

    fn reap_other(&mut self) {
        waitpid(self.other.take(), None).expect("a child of ours");
    }

    /// Waits until nothing is left in the ring, and notes whether it came to the survivor.
    fn settle(&mut self, stalls: &mut Stalls, over: impl Fn(&Self) -> bool) {
        let got = self.trial;
        self.await_that("what was sent is taken", |this| this.got() == got || over(this));
        // The survivor tells after it has acknowledged.
        std::thread::sleep(Duration::from_micros(200));
        self.note(stalls, got - 1);
    }

    fn note(&self, stalls: &mut Stalls, got: u64) {
        if self.got() <= got {
            stalls.others += 1;
            return;
        }
        let word = |n: usize| self.words[n].load(Relaxed);
        let (ns, sleeps) = (word(TIME).saturating_sub(word(DUE)), word(SLEEPS).saturating_sub(self.slept));
        stalls.seen.push(Stall { ns, sleeps });
    }

    fn start_sleeper(&mut self, role: Role) {
        let (name, words) = (self.ring.name(), self.words);
        self.sleeper = Some(forked(|| {
            let ring = Ring::open(name).expect("the ring");
            match role {
                Role::Consumer => receive_for_ever(ring.consumer().expect("a place"), words),
                Role::Producer => send_for_ever(ring.producer().expect("a place"), words),
            }
        }));
    }

    fn start_other(&mut self, role: Role) {
        let name = self.ring.name();
        self.other = Some(forked(|| {
            let ring = Ring::open(name).expect("the ring");
            match role {
                Role::Consumer => {
                    let mut consumer = ring.consumer().expect("a place");
                    consumer.set_follow(true);
                    loop {
                        consumer.recv().expect("an item").ack();
                    }
                }
                Role::Producer => {
                    let mut producer = ring.producer().expect("a place");
                    loop {
                        producer.send(b"the other's").expect("room");
                    }
                }
            }
        }));
    }

    /// Until this number of processes wait, and a little longer: they spin before they sleep.
    fn both_wait(&mut self, activity: Activity, many: usize) {
        self.await_that("they wait", |this| {
            this.ring.participants().iter().filter(|one| one.activity == activity).count() == many
        });
        let more = self.random.below(300);
        std::thread::sleep(Duration::from_micros(more));
    }

    fn got(&self) -> u64 {
        self.words[GOT].load(Acquire)
    }

    /// How often the survivor has gone to sleep so far.
    fn sleeps(&self) -> u64 {
        let sleeper = self.sleeper.expect("started");
        let status = std::fs::read_to_string(format!("/proc/{sleeper}/status")).expect("it lives");
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.and_then(|count| count.trim().parse().ok()).expect("a count")
    }

    fn await_that(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let begin = Instant::now();
        while !condition(self) {
            let (trial, ring) = (self.trial, self.ring);
            assert!(
                begin.elapsed() < WATCHDOG * times_slower(),
                "trial {trial}, not yet: {what}\n{:#?}",
                ring.snapshot()
            );
            // Sleeping would be too slow to kill a process in the middle of something.
            std::thread::yield_now();
        }
    }
}

fn spin(ns: u64) {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_nanos(ns) {
        std::hint::spin_loop();
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        for child in [self.sleeper, self.other].into_iter().flatten() {
            let _ = kill(child, Signal::SIGKILL);
            let _ = waitpid(child, None);
        }
    }
}

/// Tells what it got, and when.
fn tell(words: &[AtomicU64], got: u64, time: u64) {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).expect("its own");
    words[TIME].store(time, Relaxed);
    words[SLEEPS].store(usage.voluntary_context_switches() as u64, Relaxed);
    words[GOT].store(got, Release);
}

fn receive_for_ever(mut consumer: Consumer, words: &[AtomicU64]) {
    consumer.set_follow(true);
    loop {
        let item = consumer.recv().expect("an item");
        let (time, bytes) = (clock::monotonic_ns(), item.to_vec());
        let trial = u64::from_le_bytes(bytes.try_into().expect("a trial's number"));
        tell(words, trial, time);
        item.ack();
    }
}

fn send_for_ever(mut producer: Producer, words: &[AtomicU64]) {
    for sent in 1.. {
        producer.send(b"the survivor's").expect("room");
        tell(words, sent, clock::monotonic_ns());
    }
}

fn send_when_told(name: &str, words: &[AtomicU64], trial: u64) {
    let mut producer = Ring::open(name).expect("the ring").producer().expect("a place");
    while words[GO].load(Acquire) != trial {
        std::hint::spin_loop();
    }
    words[DUE].store(clock::monotonic_ns(), Relaxed);
    producer.send(&trial.to_le_bytes()).expect("room");
    loop {
        std::thread::sleep(WATCHDOG * times_slower());
    }
}
