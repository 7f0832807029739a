//! Kill storms: eight processes send and receive in every way there is, are killed with SIGKILL at random
//! moments, stopped now and then, and replaced. Each writes what it does to a log that survives it. When
//! the storm is over a survivor drains the ring, and the logs must add up.
//!
//! Each discipline has its storms. `cargo test --test storm` kills 2,000 processes and prints the seed. The long run:
//!
//! ```text
//! RINGPIPE_STORM_KILLS=100000 cargo test --release --test storm -- --nocapture kill_storms
//! ```
//!
//! `RINGPIPE_STORM_SEED=N` repeats the random choices of a run; when the kills land is up to the machine.
//! Nobody should tidy /dev/shm meanwhile: between two kills there are moments when nobody lives on a ring.

#[path = "../processes/mod.rs"]
mod processes;

mod check;
mod crowd;
mod latency;
mod log;
mod payload;
mod worker;

use std::time::{Duration, Instant};

use ringpipe::{Discipline, Error, Ring, RingOptions, Role, Thresholds};

use check::Counts;
use crowd::Crowd;
use log::{Event, Log, Record};
use processes::{Random, TestName, env_number, report, seed, within_20_s};

/// A ring to storm on, and by whom.
struct Shape {
    name: &'static str,
    options: RingOptions,
    roles: Vec<Role>,
}

fn shapes() -> Vec<Shape> {
    let shared = |name, capacity| Shape {
        name,
        // Few numbers, so that those of the dead come back soon.
        options: RingOptions::new().capacity(capacity).slot_size(64).participants(12),
        roles: [Role::Producer, Role::Consumer].repeat(4),
    };
    let exclusive = |name| Shape {
        name,
        options: RingOptions::new().capacity(8).slot_size(64).exclusive(true),
        roles: vec![Role::Producer, Role::Consumer],
    };
    let following = |shape: Shape, discipline| Shape { options: shape.options.sync(discipline), ..shape };
    let batches = Discipline::Monitor(Thresholds { wake_at: 4, resume_at: Some(1) });
    vec![
        shared("4 slots", 4),
        shared("8 slots", 8),
        shared("64 slots", 64),
        Shape {
            roles: [vec![Role::Producer; 6], vec![Role::Consumer; 2]].concat(),
            options: RingOptions::new().capacity(16).slot_size(64).timestamps(true),
            name: "16 slots, 6 producers",
        },
        exclusive("exclusive, 8 slots"),
        following(shared("8 slots, semaphore", 8), Discipline::Semaphore),
        following(exclusive("exclusive, semaphore"), Discipline::Semaphore),
        following(shared("8 slots, polling", 8), Discipline::Polling),
        following(shared("8 slots, monitor", 8), Discipline::Monitor(Thresholds::default())),
        following(shared("8 slots, monitor, wakes at 4, resumes at 1", 8), batches),
    ]
}

/// Kills in one ring's life.
const KILLS_PER_RING: u64 = 200;

#[test]
fn kill_storms_lose_nothing_double_nothing_and_leave_a_whole_ring() {
    let (seed, kills) = (seed(), env_number("RINGPIPE_STORM_KILLS").unwrap_or(2000));
    let begin = Instant::now();
    report(&format!("storm: seed {seed}, {kills} kills to come"));
    let mut random = Random::new(seed);
    let shapes = shapes();
    let (mut total, mut killed, mut stopped) = (Counts::default(), 0, 0);
    let mut wrong = Vec::new();
    let rounds = kills.div_ceil(KILLS_PER_RING).max(1);
    for round in 0..rounds {
        let shape = &shapes[round as usize % shapes.len()];
        let part = (kills - killed.min(kills)).div_ceil(rounds - round);
        let storm = storm(shape, part.max(shape.roles.len() as u64), Random::new(random.next()));
        let (shape, time) = (shape.name, begin.elapsed().as_secs_f32());
        report(&format!("storm: {shape}: {} kills by {time:.1} s; {}", storm.kills, storm.counts));
        total.add(&storm.counts);
        (killed, stopped) = (killed + storm.kills, stopped + storm.stops);
        wrong.extend(storm.wrong.into_iter().map(|text| format!("{shape}: {text}")));
        assert!(wrong.is_empty(), "seed {seed}:\n{}", wrong.join("\n"));
    }
    let time = begin.elapsed().as_secs_f32();
    report(&format!("storm: seed {seed}, {killed} kills, {stopped} stops, {time:.1} s; {total}"));
    assert!(total.sent > 0 && total.clean());
}

/// What came of one storm.
struct Storm {
    counts: Counts,
    wrong: Vec<String>,
    kills: u64,
    stops: u64,
}

fn storm(shape: &Shape, kills: u64, random: Random) -> Storm {
    let name = TestName::new("storm");
    let ring = shape.options.create(&name).expect("a ring");
    let logs = tempfile::tempdir().expect("a directory for the logs");
    let mut crowd = Crowd::new(&ring, &shape.roles, logs.path(), random);
    crowd.storm(kills - shape.roles.len() as u64);
    crowd.calm();
    crowd.end();
    let last = logs.path().join("survivor");
    let log = Log::append_to(&last);
    let survivor = ring.clone();
    within_20_s("the survivor drains the ring", move || {
        drain(&survivor, log);
        let left = survivor.participants();
        assert!(left.is_empty(), "still in the table: {left:?}");
        fill_and_empty(&survivor);
    });
    let logs: Vec<Vec<Record>> = crowd.logs().chain([&last]).map(|log| log::read(log)).collect();
    let (counts, wrong) = check::check(&logs);
    assert!(ring.remove().expect("the name is ours to remove"));
    Storm { counts, wrong, kills: crowd.kills, stops: crowd.stops }
}

/// Receives and acknowledges everything that is left.
fn drain(ring: &Ring, mut log: Log) {
    ring.repair();
    let mut consumer = ring.consumer().expect("a place for the survivor");
    loop {
        match consumer.recv_timeout(Duration::from_secs(10)) {
            Ok(item) => {
                let record = worker::got(&item, item.attempt(), item.producer(), item.sequence());
                log.write(&[record, Record { event: Event::Acking, ..record }]);
                item.ack();
                log.write(&[Record { event: Event::Acked, ..record }]);
            }
            Err(Error::Ended) => return,
            Err(error) => panic!("the survivor: {error}\n{:#?}", ring.snapshot()),
        }
    }
}

/// Every slot takes an item, up to the level at which producers wait, no more does, and all of them come out.
fn fill_and_empty(ring: &Ring) {
    let halting = ring.discipline().thresholds().filter(|thresholds| thresholds.resume_at.is_some());
    let room = halting.map_or(ring.capacity(), |thresholds| thresholds.wake_at);
    let mut producer = ring.producer().expect("a place");
    let mut consumer = ring.consumer().expect("a place");
    for n in 0..room {
        let result = producer.try_send(&n.to_le_bytes());
        assert!(result.is_ok(), "item {n} of {room}: {result:?}\n{:#?}", ring.snapshot());
    }
    assert!(matches!(producer.try_send(b"one more"), Err(Error::Full)));
    drop(producer);
    for n in 0..room {
        let item = consumer.recv_timeout(Duration::from_secs(10)).expect("what was just sent");
        assert_eq!(*item, n.to_le_bytes());
        assert_eq!(item.attempt(), 1);
        item.ack();
    }
    assert!(matches!(consumer.try_recv(), Err(Error::Ended)));
}

/// Not a test: what the processes of the storm run.
#[test]
fn worker() {
    worker::run_if_told();
}

/// Not a test: what the puppets run.
#[test]
fn puppet() {
    processes::puppet::run_if_told();
}
