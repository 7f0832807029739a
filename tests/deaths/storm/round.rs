//! The rounds of a storm: one ring each, from its making to its removal, in a process that forks the workers
//! and never takes part itself.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use ringpipe::{Error, Ring};

use crate::storm::check;
use crate::storm::crowd::{Crowd, WATCHDOG, forked};
use crate::storm::log::{Board, Event, Log, Record};
use crate::storm::shapes::{Shape, shapes};
use crate::storm::tally::Tally;
use crate::storm::worker;
use crate::support::{Random, TestName, die_with_parent, mix, report, times_slower};

/// Says what a process is to do; the variable that carries it through `exec`.
pub const ORDERS: &str = "RINGPIPE_STORM_ORDERS";

/// Most kills in one ring's life, unless so few could hardly kill each of many processes.
const KILLS_PER_RING: u64 = 400;

/// What one of several processes that storm side by side is told.
#[derive(Debug, Clone, Copy)]
pub struct Orders {
    pub seed: u64,
    /// In all; 0 for no end but that of the time.
    pub kills: u64,
    /// Seconds; 0 for no end but that of the kills.
    pub seconds: u64,
    pub part: u64,
    pub parts: u64,
}

impl Orders {
    pub fn to_text(self) -> String {
        let Orders { seed, kills, seconds, part, parts } = self;
        format!("{seed} {kills} {seconds} {part} {parts}")
    }

    fn from_text(text: &str) -> Orders {
        let numbers: Vec<u64> = text.split(' ').map(|n| n.parse().expect("a number")).collect();
        let [seed, kills, seconds, part, parts] = numbers[..] else { panic!("{text}?") };
        Orders { seed, kills, seconds, part, parts }
    }
}

/// Does nothing by itself; in a process that the test has made, it storms.
pub fn run_if_told() {
    let Ok(text) = std::env::var(ORDERS) else { return };
    die_with_parent();
    let Orders { seed, kills, seconds, part, parts } = Orders::from_text(&text);
    let begin = Instant::now();
    let shapes = shapes();
    let per_ring = if kills == 0 { KILLS_PER_RING } else { KILLS_PER_RING.min(kills / shapes.len() as u64) };
    let mut killed = 0;
    for round in (part..).step_by(parts as usize) {
        // Each shape has its turn, even if a few kills are wanted.
        let all = round >= shapes.len() as u64;
        let done = kills > 0 && killed >= kills / parts;
        let over = seconds > 0 && begin.elapsed().as_secs() >= seconds;
        if (done && all) || over {
            return;
        }
        let shape = (round % shapes.len() as u64) as usize;
        let tally = storm(&shapes[shape], per_ring, Random::new(mix(seed ^ mix(round))));
        killed += tally.kills;
        report(&tally.to_line(shape));
    }
}

fn storm(shape: &Shape, kills: u64, random: Random) -> Tally {
    let begin = Instant::now();
    let name = TestName::new("strm");
    let ring = shape.options.create(&name).expect("a ring");
    let many = shape.roles.len();
    let board = Board::new(many + 1);
    let mut crowd = Crowd::new(&ring, &shape.roles, &board, random);
    crowd.storm(kills.max(2 * many as u64).saturating_sub(many as u64));
    crowd.calm();
    crowd.end();
    survive(&ring, board.log(many));
    let logs: Vec<Vec<Record>> = board.logs().map(|log| log.read()).collect();
    let (counts, wrong) = check::check(&logs, ring.capacity());
    assert!(ring.remove().expect("the name is ours to remove"));
    assert!(wrong.is_empty(), "{}:\n{}", shape.name, wrong.join("\n"));
    let Crowd { kills, stops, deaths, .. } = crowd;
    Tally { rings: 1, kills, stops, deaths, counts, busy: begin.elapsed() }
}

/// A survivor takes what is left, and finds a whole ring.
fn survive(ring: &Ring, log: Log<'_>) {
    let name = ring.name().to_string();
    let survivor = forked(|| {
        let ring = Ring::open(&name).expect("the storm's ring");
        drain(&ring, log);
        let left = ring.participants();
        assert!(left.is_empty(), "still in the table: {left:?}");
        fill_and_empty(&ring);
    });
    let begin = Instant::now();
    loop {
        match waitpid(survivor, Some(WaitPidFlag::WNOHANG)).expect("a child of ours") {
            WaitStatus::Exited(_, 0) => return,
            WaitStatus::StillAlive if begin.elapsed() < WATCHDOG * times_slower() => {
                std::thread::sleep(Duration::from_micros(100));
            }
            status => {
                let _ = kill(survivor, Signal::SIGKILL);
                panic!("the survivor: {status:?}\n{:#?}", ring.snapshot());
            }
        }
    }
}

/// Receives and acknowledges everything that is left.
fn drain(ring: &Ring, log: Log<'_>) {
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
    let bytes = |n: u64| {
        let mut bytes = n.to_le_bytes().to_vec();
        bytes.resize(ring.fixed().unwrap_or(8) as usize, 0);
        bytes
    };
    for n in 0..room {
        let result = producer.try_send(&bytes(n));
        assert!(result.is_ok(), "item {n} of {room}: {result:?}\n{:#?}", ring.snapshot());
    }
    assert!(matches!(producer.try_send(&bytes(room)), Err(Error::Full)));
    drop(producer);
    for n in 0..room {
        let item = consumer.recv_timeout(Duration::from_secs(10)).expect("what was just sent");
        assert_eq!(*item, *bytes(n));
        assert_eq!(item.attempt(), 1);
        item.ack();
    }
    assert!(matches!(consumer.try_recv(), Err(Error::Ended)));
}
