//! Two at once: one is stopped at an instruction of its operation while another runs to an instruction of its own;
//! then one or both are killed, the live one continues to its end, and the survivors must find everything.
//!
//! First come the instructions after which the segment was another, each of the one with each of the other, then
//! others by lot. `RINGPIPE_STORM_SEED` has no say in it: the lot is the same in every run.

use std::collections::BTreeMap;
use std::time::Duration;

use ringpipe::{Consumer, Ring, RingOptions, Role};

use crate::kills::check;
use crate::kills::scenario::{self, Hook, Kind, kinds};
use crate::kills::table::{Row, Share};
use crate::kills::trace::{Stage, Victim};
use crate::kills::trail::{Trail, WAYS};
use crate::kills::worker::{Chosen, Course, Part, course};
use crate::kills::world::{Fate, Ledger, Outcome, PATIENCE, WIDE, World, Wrong, id_of, payload, trouble};
use crate::support::scale::is_ci;
use crate::support::{Random, env_number};

/// A consumer's first scan takes some 2,300. A waiting process makes no progress: more of a wait shows nothing new.
const MOST: u64 = 4_000;
/// What the first and the second producer send, and what is sent for a consumer that would wait for ever.
const A: u64 = 101;
const B: u64 = 105;
const FEED: u64 = 109;

/// What one of the two does.
#[derive(Debug, Clone, Copy)]
enum Does {
    /// Sends these, and waits for room.
    Send(&'static [u64]),
    TrySend(u64),
    Reserve(u64),
    /// Receives and keeps up to this number of items, if there are any.
    Take(usize),
    /// Receives one, and waits for it.
    Wait,
    /// Receives one and acknowledges it, if there is one.
    Consume,
    /// Has received these before, and acknowledges them.
    Acknowledge(&'static [u64]),
    GiveBack(u64),
}

use Does::*;

impl Does {
    fn role(self) -> Role {
        match self {
            Send(_) | TrySend(_) | Reserve(_) => Role::Producer,
            _ => Role::Consumer,
        }
    }

    fn name(self) -> String {
        match self {
            Send([id]) if id & WIDE != 0 => "send, spanning".into(),
            Send([_]) => "send".into(),
            Send(ids) => format!("send_batch of {}", ids.len()),
            TrySend(_) => "try_send".into(),
            Reserve(_) => "reserve, commit".into(),
            Take(1) => "try_recv".into(),
            Take(most) => format!("recv_batch of {most}"),
            Wait => "recv".into(),
            Consume => "recv, ack".into(),
            Acknowledge([_]) => "ack".into(),
            Acknowledge(ids) => format!("ack, batch of {}", ids.len()),
            GiveBack(_) => "give back".into(),
        }
    }

    /// The life of the victim. A receiver answers with a bit for each item.
    fn live(self, stage: &Stage, ring: &Ring) {
        match self {
            Send([id]) => {
                let (mut producer, bytes) = (ring.producer().expect("a place"), payload(*id));
                stage.act(|| (producer.send(&bytes).is_ok() as u64, ()));
            }
            Send(ids) => {
                let items: Vec<Vec<u8>> = ids.iter().map(|id| payload(*id)).collect();
                let mut producer = ring.producer().expect("a place");
                stage.act(|| (producer.send_batch(&items).map_or(0, |sent| sent as u64), ()));
            }
            TrySend(id) => {
                let (mut producer, bytes) = (ring.producer().expect("a place"), payload(id));
                stage.act(|| (producer.try_send(&bytes).is_ok() as u64, ()));
            }
            Reserve(id) => {
                let (mut producer, bytes) = (ring.producer().expect("a place"), payload(id));
                stage.act(|| {
                    let mut reservation = producer.reserve(bytes.len() as u64).expect("room");
                    reservation.write_at(0, &bytes);
                    reservation.commit();
                    (1, ())
                });
            }
            Take(1) => keep(stage, &mut ring.consumer().expect("a place"), Duration::ZERO),
            Wait => keep(stage, &mut ring.consumer().expect("a place"), PATIENCE),
            Take(most) => {
                let mut consumer = ring.consumer().expect("a place");
                let batch = stage.act(|| {
                    let batch = consumer.recv_batch_timeout(most, Duration::ZERO);
                    let bits = batch.iter().flat_map(|batch| batch.iter()).map(|item| bit_of(&item.to_vec()));
                    (bits.sum(), batch)
                });
                drop(batch);
            }
            Consume => {
                let mut consumer = ring.consumer().expect("a place");
                stage.act(|| match consumer.try_recv() {
                    Ok(item) => {
                        let bit = bit_of(&item);
                        item.ack();
                        (bit, ())
                    }
                    Err(_) => (0, ()),
                });
            }
            Acknowledge(ids) => {
                let mut consumer = ring.consumer().expect("a place");
                let batch = consumer.recv_batch(ids.len()).expect("items");
                assert_eq!(batch.len(), ids.len());
                stage.act(|| {
                    batch.ack();
                    (1, ())
                });
            }
            GiveBack(_) => {
                let mut consumer = ring.consumer().expect("a place");
                let item = consumer.recv().expect("an item");
                stage.act(|| {
                    item.give_back();
                    (1, ())
                });
            }
        }
    }

    /// What must become of the items, the operation having returned with `result`, or not.
    fn settle(self, ledger: &mut Ledger, result: Option<u64>) {
        let mut sends = |ids: &[u64]| {
            for (n, id) in ids.iter().enumerate() {
                let fate = match result {
                    None => Fate::Maybe,
                    Some(sent) if (n as u64) < sent => Fate::Once,
                    Some(_) => Fate::Never,
                };
                ledger.fates.insert(*id, fate);
            }
        };
        match self {
            Send(ids) => sends(ids),
            TrySend(id) | Reserve(id) => sends(&[id]),
            Acknowledge(ids) => {
                let fate = if result.is_some() { Fate::Never } else { Fate::MaybeAgain };
                ledger.fates.extend(ids.iter().map(|id| (*id, fate)));
            }
            GiveBack(id) => drop(ledger.fates.insert(id, Fate::Again)),
            Take(_) | Wait | Consume => {
                for (id, fate) in &mut ledger.fates {
                    let taken = result.is_some_and(|bits| bits & bit(*id) != 0);
                    match (taken, matches!(self, Consume)) {
                        (true, true) => *fate = Fate::Never,
                        (true, false) => *fate = Fate::Again,
                        (false, _) if *fate == Fate::First => *fate = Fate::Once,
                        (false, _) => {}
                    }
                }
                // Which one is not known; it cannot be more than one.
                ledger.may_be_gone += (matches!(self, Consume) && result.is_none()) as usize;
            }
        }
    }
}

fn keep(stage: &Stage, consumer: &mut Consumer, patience: Duration) {
    let item = stage.act(|| {
        let item = consumer.recv_timeout(patience);
        (item.as_ref().map_or(0, |item| bit_of(item)), item)
    });
    drop(item);
}

/// The bit of an item in its receiver's answer.
fn bit(id: u64) -> u64 {
    match id & !WIDE {
        id @ 1..=8 => 1 << id,
        id @ A..=FEED => 1 << (10 + id - A),
        _ => 0,
    }
}

fn bit_of(bytes: &[u8]) -> u64 {
    id_of(bytes).map_or(1 << 30, bit)
}

/// Two operations in one state of the ring: the first is stopped, the second runs.
#[derive(Clone, Copy)]
struct Pair {
    state: &'static str,
    before: Hook,
    first: Does,
    second: Does,
}

impl Pair {
    /// Whether an item has several slots, which is not in rings of fixed items.
    fn spans(&self) -> bool {
        let sends = |does| matches!(does, Send(ids) if ids.iter().any(|id| id & WIDE != 0));
        sends(self.first) || sends(self.second)
    }
}

/// One slot is free.
fn seven(world: &mut World) {
    world.send(&[1, 2, 3, 4, 5, 6, 7]);
}

/// A producer and a consumer, each of which is suspended once while the other runs.
fn opposite() -> Vec<Pair> {
    const ONE: &[u64] = &[A];
    const THREE: &[u64] = &[A, A + 1, A + 2];
    const LONG: &[u64] = &[WIDE + A];
    const HELD: &[u64] = &[1];
    const FOUR: &[u64] = &[1, 2, 3, 4];
    let of = |state, before: Hook, first, second| Pair { state, before, first, second };
    let pairs = [
        of("empty", scenario::empty, Send(ONE), Take(1)),
        of("empty, waits", scenario::empty, Send(ONE), Wait),
        of("empty", scenario::empty, Reserve(A), Take(1)),
        of("one there", scenario::one, Send(ONE), Take(1)),
        of("two there", scenario::two, Send(ONE), Consume),
        of("full", scenario::full, TrySend(A), Consume),
        of("full, waits", scenario::full, Send(ONE), Consume),
        of("the last slot", seven, Send(ONE), Take(1)),
        of("over the end", scenario::four_over_the_end, Send(ONE), Take(4)),
        of("four there", scenario::four, Send(THREE), Take(4)),
        of("near the end", scenario::near_the_end, Send(THREE), Take(1)),
        of("near the end", scenario::near_the_end, Send(LONG), Take(1)),
        of("spanning there", scenario::wide, Send(LONG), Consume),
        of("one held", scenario::one, Send(ONE), Acknowledge(HELD)),
        of("full, one held", scenario::full, TrySend(A), Acknowledge(HELD)),
        of("four held", scenario::four, Send(THREE), Acknowledge(FOUR)),
        of("one held of two", scenario::two, Send(ONE), GiveBack(1)),
        of("a row", scenario::row, Send(ONE), Take(2)),
        of("a row and single items", scenario::row_and_singles, Send(THREE), Take(4)),
        of("a row held", scenario::row, Send(THREE), Acknowledge(FOUR)),
    ];
    let swapped = |pair: Pair| Pair { first: pair.second, second: pair.first, ..pair };
    // Alternately, so that a sample has both.
    pairs.into_iter().flat_map(|pair| [pair, swapped(pair)]).collect()
}

/// Two of one role, in rings for many.
fn alike() -> Vec<Pair> {
    const FIRST: &[u64] = &[A];
    const SECOND: &[u64] = &[B];
    const THREE: &[u64] = &[A, A + 1, A + 2];
    const LONG: &[u64] = &[WIDE + B];
    let of = |state, before: Hook, first, second| Pair { state, before, first, second };
    vec![
        of("empty", scenario::empty, Send(FIRST), Send(SECOND)),
        of("near the end", scenario::near_the_end, Send(THREE), Send(SECOND)),
        of("near the end", scenario::near_the_end, Send(THREE), Send(LONG)),
        of("near the end", scenario::near_the_end, Send(LONG), Send(FIRST)),
        of("the last slot", seven, TrySend(A), TrySend(B)),
        of("empty", scenario::empty, Reserve(A), Reserve(B)),
        of("two there", scenario::two, Take(1), Take(1)),
        of("two there", scenario::two, Consume, Consume),
        of("four there", scenario::four, Take(4), Take(1)),
        of("over the end", scenario::four_over_the_end, Consume, Take(4)),
        of("one held of two", scenario::two, GiveBack(1), Take(1)),
        of("one held of two", scenario::two, Acknowledge(&[1]), Consume),
        of("a row", scenario::row, Take(2), Take(1)),
        of("a row", scenario::row, Take(2), Take(4)),
        of("a held slot at tail", scenario::held_a_lap_ago, Send(FIRST), Send(SECOND)),
    ]
}

/// Which of the two is killed in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Killed {
    First,
    Second,
    Both,
}

const KILLED: [Killed; 3] = [Killed::First, Killed::Second, Killed::Both];

/// Instructions of the first and of the second, and which is killed.
type Point = (u64, u64, Killed);

/// How many points there are in all: `RINGPIPE_PAIRS`.
fn wanted() -> u64 {
    let usual = match Share::of_env() {
        Share::Few => 20,
        Share::Sample if is_ci() => 300,
        Share::Sample => 30,
        _ => 25_000,
    };
    env_number("RINGPIPE_PAIRS").unwrap_or(usual)
}

pub fn run(part: Part, chosen: &Chosen) {
    let mut all = Vec::new();
    let kinds = kinds();
    for kind in &kinds {
        let alike = if kind.exclusive { vec![] } else { alike() };
        let pairs = opposite().into_iter().chain(alike).filter(|pair| !(kind.fixed && pair.spans()));
        all.extend(pairs.map(|pair| (kind, pair)));
    }
    // Each pair in one of the two orders, and fewer, where there is less time.
    let all: Vec<(&Kind, Pair)> = match Share::of_env() {
        Share::Sample if is_ci() => all
            .into_iter()
            .enumerate()
            .filter(|(n, _)| (n + n / 2).is_multiple_of(2))
            .map(|(_, one)| one)
            .collect(),
        Share::Sample => all.into_iter().step_by(7).collect(),
        _ => all,
    };
    let each = wanted().div_ceil(all.len() as u64);
    let stages = [Stage::new(), Stage::new()];
    for (n, (kind, pair)) in all.into_iter().enumerate() {
        let name = &kind.name;
        let operation = format!("{} / {}", pair.first.name(), pair.second.name());
        // Of pairs a process has all points, since each stop of the first has a course of the second.
        if n as u64 % part.parts != part.part || !chosen.has(&format!("{operation} {} {name}", pair.state)) {
            continue;
        }
        let trial = Trial { stages: &stages, options: &kind.options, pair };
        let (first, trail) = trial.course_of_first();
        let (instructions, states) = (first.instructions, first.changes.len() as u64);
        let mut row = Row::new(operation, pair.state, name, instructions, states);
        let mut stops: Vec<u64> = [0].into_iter().chain(first.changes).collect();
        stops.dedup();
        let mut trails = Trails { first: trail, stops, seconds: BTreeMap::new() };
        for (i, j, killed) in trial.points(instructions, &mut trails, each, n as u64) {
            let point = i * 100_000 + j * 10 + killed as u64;
            row.count(point, trial.at(i, j, killed, &mut trails));
        }
        row.arrivals.add(trails.first.arrivals);
        trails.seconds.values().for_each(|second| row.arrivals.add(second.arrivals));
        row.print();
    }
}

/// The course of the first, and those of the second while the first stands at one of its instructions.
struct Trails {
    first: Trail,
    /// After which instructions of the first the segment is another, and 0.
    stops: Vec<u64>,
    seconds: BTreeMap<u64, Trail>,
}

impl Trails {
    /// That of the second while the first stands at `i`: between two changes, all is as after the first of them.
    fn second(&mut self, i: u64) -> &mut Trail {
        let stop = self.stops[self.stops.partition_point(|stop| *stop <= i) - 1];
        let second = self.seconds.entry(stop).or_default();
        second.share_with(&mut self.first);
        second
    }
}

struct Trial<'a> {
    stages: &'a [Stage; 2],
    options: &'a RingOptions,
    pair: Pair,
}

impl Trial<'_> {
    /// Both at their marks.
    fn start(&self) -> (World, Victim<'_>, Victim<'_>) {
        let mut world = World::for_two(self.options);
        (self.pair.before)(&mut world);
        world.identify_all();
        let name = world.name.to_string();
        let victim = |stage, does: Does| {
            let live = |stage: &Stage| does.live(stage, &crate::kills::world::open(&name));
            Victim::start(stage, live).expect("tracing was tried before")
        };
        let first = victim(&self.stages[0], self.pair.first);
        let second = victim(&self.stages[1], self.pair.second);
        (world, first, second)
    }

    /// Whether one of the two waits.
    fn is_timed(&self) -> bool {
        self.pair.state.ends_with("waits")
    }

    fn course_of_first(&self) -> (Course, Trail) {
        let (world, mut first, second) = self.start();
        first.begin();
        let segment = world.segment();
        let pid = first.pid();
        let found = course(&segment, pid, self.is_timed(), |seen| first.run(MOST, None, seen));
        self.clean(world, [first, second]);
        found
    }

    /// The second's course while the first stands at its instruction `i`.
    fn course_of_second(&self, i: u64, trail: &mut Trail) -> (Course, Trail) {
        let (world, first, mut second) = self.first_at(i, trail);
        second.begin();
        let segment = world.segment();
        let pid = second.pid();
        let found = course(&segment, pid, self.is_timed(), |seen| second.run(MOST, None, seen));
        self.clean(world, [first, second]);
        found
    }

    /// The first at its instruction `i`, the second at its mark.
    fn first_at(&self, i: u64, trail: &mut Trail) -> (World, Victim<'_>, Victim<'_>) {
        for way in WAYS {
            let (world, mut first, second) = self.start();
            if way.run(trail, &mut first, i, &world.segment()).is_ok() {
                return (world, first, second);
            }
            self.clean(world, [first, second]);
        }
        unreachable!("a victim that takes steps does not go astray");
    }

    /// The first at its instruction `i`, the second at its instruction `j`.
    fn both_at(&self, i: u64, j: u64, trails: &mut Trails) -> (World, Victim<'_>, Victim<'_>) {
        for way in WAYS {
            let (world, first, mut second) = self.first_at(i, &mut trails.first);
            let came = way.run(trails.second(i), &mut second, j, &world.segment());
            // What this one has learned, for the others.
            trails.second(i);
            if came.is_ok() {
                return (world, first, second);
            }
            self.clean(world, [first, second]);
        }
        unreachable!("a victim that takes steps does not go astray");
    }

    /// Of a run that is there to be looked at; the points that are tried come to the same end.
    fn clean(&self, world: World, victims: [Victim<'_>; 2]) {
        victims.into_iter().for_each(Victim::kill);
        world.ring.remove().expect("it can be removed");
    }

    /// The number of points that are tried.
    fn points(&self, instructions: u64, trails: &mut Trails, most: u64, row: u64) -> Vec<Point> {
        let mut random = Random::new(row);
        let mut stops = trails.stops.clone();
        // A sample has time for the second's course at two of the first's instructions.
        while most < 100 && stops.len() > 2 {
            stops.swap_remove(random.below(stops.len() as u64) as usize);
        }
        let (mut points, mut longest) = (Vec::new(), 1);
        for i in stops {
            let (second, trail) = self.course_of_second(i, &mut trails.first);
            trails.seconds.insert(i, trail);
            longest = second.instructions.max(longest);
            for j in [0].into_iter().chain(second.changes) {
                points.extend(KILLED.map(|killed| (i, j, killed)));
            }
        }
        // By lot, if there are too many of them, and more by lot, if too few.
        while points.len() as u64 > most {
            points.swap_remove(random.below(points.len() as u64) as usize);
        }
        while (points.len() as u64) < most {
            let (i, j) = (random.below(instructions + 1), random.below(longest + 1));
            points.push((i, j, KILLED[random.below(3) as usize]));
        }
        points
    }

    fn at(&self, i: u64, j: u64, killed: Killed, trails: &mut Trails) -> Outcome {
        let (mut world, first, second) = self.both_at(i, j, trails);
        let outcome = match killed {
            Killed::First => {
                first.kill();
                go_on(&mut world, second, self.pair.second)
            }
            Killed::Second => {
                second.kill();
                go_on(&mut world, first, self.pair.first)
            }
            Killed::Both => {
                first.kill();
                second.kill();
                Ok(())
            }
        };
        // What was taken may be what was sent at the same time.
        let mut both = [(self.pair.first, &self.stages[0]), (self.pair.second, &self.stages[1])];
        both.sort_by_key(|(does, _)| does.role() == Role::Consumer);
        for (does, stage) in both {
            does.settle(&mut world.ledger, stage.result());
        }
        outcome.and(check::survivors(world))
    }
}

/// A process that was not killed runs to its end, for which it may need an item, or room.
fn go_on(world: &mut World, victim: Victim<'_>, does: Does) -> Outcome {
    victim.stop();
    let mut fed = false;
    let mut help = || match does.role() {
        Role::Consumer if !std::mem::replace(&mut fed, true) => {
            world.send(&[FEED]);
            world.ledger.fates.insert(FEED, Fate::Once);
        }
        Role::Consumer => {}
        Role::Producer => {
            if world.consumer.is_none() {
                world.attach_consumer().expect("a place");
            }
            let _ = world.receive(Duration::ZERO);
        }
    };
    match victim.go_on_with(&mut help) {
        true => Ok(()),
        false => Err(trouble(Wrong::Wedged, "the process that was not killed hangs")),
    }
}
