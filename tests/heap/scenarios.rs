//! Small stories of some handles side by side. The states that they begin with are forged by the main thread, so that
//! what is to be explored is short.

use super::life::mortal;
use super::ring::{Handle, Item, Ring, Shape, Story, one, wide};
use crate::world::{AtomicU64, Relaxed, SeqCst, fence, spawn};

use std::sync::Arc;

/// A story, and how far it can be explored.
#[derive(Clone, Copy)]
pub struct Scenario {
    pub name: &'static str,
    /// Most preemptions that loom tries; none: all.
    pub preemptions: Option<usize>,
    /// A story with a death is told once for each of this many of the victim's accesses.
    pub deaths: u32,
    pub run: fn(u32),
}

type Part = Box<dyn FnOnce() -> Vec<u64> + Send>;

/// Makes a part of a story: who, and what it does; the answer are the items it acknowledged.
fn part(handle: Handle, work: impl FnOnce(&Handle) -> Vec<u64> + Send + 'static) -> Part {
    Box::new(move || work(&handle))
}

/// All parts at once, the first in this thread.
fn together(parts: Vec<Part>) -> Vec<u64> {
    let mut parts = parts.into_iter();
    let first = parts.next().expect("a story has a part");
    let others: Vec<_> = parts.map(spawn).collect();
    let mut acknowledged = first();
    for other in others {
        acknowledged.extend(other.join().expect("a part that ends"));
    }
    acknowledged
}

fn many(capacity: u64) -> Shape {
    Shape { capacity, ..Shape::MANY }
}

fn exclusive(capacity: u64) -> Shape {
    Shape { capacity, exclusive: true, ..Shape::MANY }
}

/// A handle that has sent these items before the story begins.
fn filled(ring: &Ring, number: u32, batches: &[&[Item]]) -> Handle {
    let handle = ring.handle(number);
    for batch in batches {
        assert_eq!(handle.send(batch), batch.len());
    }
    handle
}

/// A part that sends items, one call each; which came to be sent is told apart from what was acknowledged by their
/// ids, which the story knows.
fn sends(handle: Handle, sent: &Sent, batches: &'static [&'static [Item]]) -> Part {
    let sent = sent.clone();
    part(handle, move |handle| {
        for batch in batches {
            let count = handle.send(batch);
            batch[..count].iter().for_each(|item| sent.note(item.id));
        }
        Vec::new()
    })
}

/// A part that consumes so many times.
fn consumes(handle: Handle, times: usize, most: usize) -> Part {
    part(handle, move |handle| (0..times).flat_map(|_| handle.consume(most)).collect())
}

/// The items that were sent: noted outside of what is explored.
#[derive(Clone, Default)]
struct Sent(Arc<std::sync::Mutex<Vec<u64>>>);

impl Sent {
    fn note(&self, id: u64) {
        self.0.lock().expect("nobody panics with it").push(id);
    }

    fn story(&self, before: &[u64], acknowledged: Vec<u64>) -> Story {
        let mut sent = before.to_vec();
        sent.extend(self.0.lock().expect("nobody panics with it").iter());
        Story { sent, acknowledged, ..Story::default() }
    }
}

const A: Item = one(1);
const B: Item = one(2);
const C: Item = one(3);
const D: Item = one(4);
const WIDE: Item = wide(5);
const WIDER: Item = wide(6);
const E: Item = one(7);
const F: Item = one(8);
const G: Item = one(9);
const WIDEST: Item = wide(8);

pub const ALL: &[Scenario] = &[
    complete("one sends, one receives", |_| {
        let (ring, sent) = (many(2).ring(), Sent::default());
        let acknowledged =
            together(vec![consumes(ring.handle(3), 2, 1), sends(ring.handle(1), &sent, &[&[A], &[B]])]);
        ring.settle(sent.story(&[], acknowledged));
    }),
    complete("a full ring, one slot is freed and used again", |_| {
        let (ring, sent) = (many(2).ring(), Sent::default());
        let producer = filled(&ring, 1, &[&[A], &[B]]);
        let acknowledged = together(vec![
            consumes(ring.handle(3), 1, 1),
            part(producer, {
                let sent = sent.clone();
                move |producer| {
                    for _ in 0..2 {
                        (0..producer.send(&[C])).for_each(|_| sent.note(3));
                        if sent.0.lock().unwrap().contains(&3) {
                            break;
                        }
                    }
                    Vec::new()
                }
            }),
        ]);
        ring.settle(sent.story(&[1, 2], acknowledged));
    }),
    bounded("two send, one receives", 3, |_| {
        let (ring, sent) = (many(2).ring(), Sent::default());
        let acknowledged = together(vec![
            consumes(ring.handle(3), 2, 1),
            sends(ring.handle(1), &sent, &[&[A]]),
            sends(ring.handle(2), &sent, &[&[B]]),
        ]);
        ring.settle(sent.story(&[], acknowledged));
    }),
    bounded("one sends into what two free", 3, |_| {
        let (ring, sent) = (many(2).ring(), Sent::default());
        let producer = filled(&ring, 1, &[&[A], &[B]]);
        let acknowledged = together(vec![
            sends(producer, &sent, &[&[C], &[D]]),
            consumes(ring.handle(3), 1, 1),
            consumes(ring.handle(4), 1, 1),
        ]);
        ring.settle(sent.story(&[1, 2], acknowledged));
    }),
    bounded("two send into what one frees", 3, |_| {
        let (ring, sent) = (many(2).ring(), Sent::default());
        filled(&ring, 1, &[&[A], &[B]]);
        let acknowledged = together(vec![
            consumes(ring.handle(3), 2, 1),
            sends(ring.handle(1), &sent, &[&[C]]),
            sends(ring.handle(2), &sent, &[&[D]]),
        ]);
        ring.settle(sent.story(&[1, 2], acknowledged));
    }),
    complete("a batch is sent and taken as one", |_| {
        let (ring, sent) = (many(4).ring(), Sent::default());
        let acknowledged =
            together(vec![consumes(ring.handle(3), 1, 2), sends(ring.handle(1), &sent, &[&[A, B]])]);
        ring.settle(sent.story(&[], acknowledged));
    }),
    complete("a batch is freed, and used again by a batch", |_| {
        let (ring, sent) = (many(4).ring(), Sent::default());
        filled(&ring, 1, &[&[A, B], &[C, D]]);
        let acknowledged = together(vec![
            consumes(ring.handle(3), 1, 2),
            sends(ring.handle(2), &sent, &[&[E, F]]),
        ]);
        ring.settle(sent.story(&[1, 2, 3, 4], acknowledged));
    }),
    complete("a batch is acknowledged one by one, and its slots are used again", |_| {
        let (ring, sent) = (many(4).ring(), Sent::default());
        filled(&ring, 1, &[&[A, B], &[C, D]]);
        let acknowledged = together(vec![
            part(ring.handle(3), |consumer| {
                consumer.take(2).map(|taken| consumer.acknowledge_each(taken)).unwrap_or_default()
            }),
            sends(ring.handle(2), &sent, &[&[E], &[F]]),
        ]);
        ring.settle(sent.story(&[1, 2, 3, 4], acknowledged));
    }),
    complete("a wide item beside a single one, sent and taken as a batch", |_| {
        let (ring, sent) = (Shape { wide: true, ..many(8) }.ring(), Sent::default());
        let acknowledged =
            together(vec![consumes(ring.handle(3), 1, 2), sends(ring.handle(1), &sent, &[&[A, WIDE]])]);
        ring.settle(sent.story(&[], acknowledged));
    }),
    complete("a batch with a wide item is freed, and its slots are used again", |_| {
        let (ring, sent) = (Shape { wide: true, ..many(8) }.ring(), Sent::default());
        filled(&ring, 1, &[&[A, WIDE], &[B, WIDER], &[C, D]]);
        let acknowledged = together(vec![
            consumes(ring.handle(3), 1, 2),
            sends(ring.handle(2), &sent, &[&[E, WIDEST]]),
        ]);
        ring.settle(sent.story(&[1, 2, 3, 4, 5, 6], acknowledged));
    }),
    bounded("a wide item is freed, two send single ones into its slots", 3, |_| wide_is_split(0)),
    bounded("the same, and the counter is moved between the two", 3, |_| wide_is_split(1)),
    bounded("a batch into what a batch and others freed", 2, |_| {
        // The second producer passes a run whose inner slot it has not seen freed itself.
        let (ring, sent) = (Shape { wide: true, ..many(4) }.ring(), Sent::default());
        filled(&ring, 1, &[&[WIDE], &[A, B]]);
        let acknowledged = together(vec![
            consumes(ring.handle(3), 2, 1),
            sends(ring.handle(1), &sent, &[&[E, F]]),
            sends(ring.handle(2), &sent, &[&[G]]),
        ]);
        ring.settle(sent.story(&[1, 2, 5], acknowledged));
    }),
    bounded("wide items with padding before the ring's end", 3, |_| {
        let (ring, sent) = (Shape { wide: true, base: 3, ..many(4) }.ring(), Sent::default());
        let acknowledged =
            together(vec![consumes(ring.handle(3), 2, 1), sends(ring.handle(1), &sent, &[&[WIDE], &[A]])]);
        ring.settle(sent.story(&[], acknowledged));
    }),
    complete("claimed for more than is published", |_| {
        let (ring, sent) = (Shape { wide: true, ..many(4) }.ring(), Sent::default());
        let acknowledged = together(vec![
            consumes(ring.handle(3), 2, 2),
            part(ring.handle(1), {
                let sent = sent.clone();
                move |producer| {
                    if let Some((claim, 1)) = producer.claim(&[WIDE]) {
                        producer.write(claim, &[A]);
                        producer.slots.publish_part(claim, 1);
                        sent.note(1);
                    }
                    Vec::new()
                }
            }),
        ]);
        ring.settle(sent.story(&[], acknowledged));
    }),
    bounded("given up, and passed, and used again", 3, |_| {
        let (ring, sent) = (many(2).ring(), Sent::default());
        filled(&ring, 1, &[&[A]]);
        let acknowledged = together(vec![
            part(ring.handle(1), {
                let sent = sent.clone();
                move |producer| {
                    if let Some((claim, 1)) = producer.claim(&[B]) {
                        producer.write(claim, &[B]);
                        producer.slots.abandon(claim);
                    }
                    (0..producer.send(&[C])).for_each(|_| sent.note(3));
                    Vec::new()
                }
            }),
            consumes(ring.handle(3), 2, 1),
            sends(ring.handle(2), &sent, &[&[D]]),
        ]);
        ring.settle(sent.story(&[1], acknowledged));
    }),
    bounded("given back, taken again, used again", 3, |_| {
        let (ring, sent) = (many(2).ring(), Sent::default());
        filled(&ring, 1, &[&[A], &[B]]);
        let acknowledged = together(vec![
            part(ring.handle(3), |consumer| {
                if let Ok(taken) = consumer.take(1) {
                    consumer.give_back(taken);
                }
                Vec::new()
            }),
            part(ring.handle(4), |consumer| {
                consumer.take_returned().map(|taken| consumer.acknowledge(taken)).unwrap_or_default()
            }),
            sends(ring.handle(2), &sent, &[&[C]]),
        ]);
        ring.settle(sent.story(&[1, 2], acknowledged));
    }),
    bounded("a batch is given back, and its second item taken again", 3, |_| {
        let (ring, sent) = (many(4).ring(), Sent::default());
        filled(&ring, 1, &[&[A, B], &[C, D]]);
        let acknowledged = together(vec![
            part(ring.handle(3), |consumer| {
                if let Ok(taken) = consumer.take(2) {
                    consumer.give_back(taken);
                }
                Vec::new()
            }),
            part(ring.handle(4), |consumer| {
                let mut ids = Vec::new();
                while let Some(taken) = consumer.take_returned() {
                    ids.extend(consumer.acknowledge(taken));
                }
                ids
            }),
        ]);
        ring.settle(sent.story(&[1, 2, 3, 4], acknowledged));
    }),
    complete("who hears of a returned item finds it", |_| {
        let ring = many(2).ring();
        filled(&ring, 1, &[&[A]]);
        let holder = ring.handle(3);
        let taken = holder.take(1).expect("an item was sent");
        let acknowledged = together(vec![
            part(ring.handle(4), |consumer| {
                if !consumer.has_news() {
                    return Vec::new();
                }
                let taken = consumer.take_returned().expect("what was announced is there");
                consumer.acknowledge(taken)
            }),
            part(holder, move |holder| {
                holder.give_back(taken);
                Vec::new()
            }),
        ]);
        ring.settle(Sent::default().story(&[1], acknowledged));
    }),
    bounded("a held slot is stepped over while its holder acknowledges", 3, |_| {
        let (ring, sent) = (many(2).ring(), Sent::default());
        filled(&ring, 1, &[&[A], &[B]]);
        let (holder, other) = (ring.handle(3), ring.handle(4));
        let taken = holder.take(1).expect("an item was sent");
        let before = other.consume(1);
        let mut acknowledged = together(vec![
            sends(ring.handle(2), &sent, &[&[C], &[D]]),
            part(holder, move |holder| holder.acknowledge(taken)),
            consumes(other, 1, 1),
        ]);
        acknowledged.extend(before);
        ring.settle(sent.story(&[1, 2], acknowledged));
    }),
    bounded("a held slot is stepped over while its holder gives it back", 3, |_| {
        let (ring, sent) = (many(2).ring(), Sent::default());
        filled(&ring, 1, &[&[A], &[B]]);
        let (holder, other) = (ring.handle(3), ring.handle(4));
        let taken = holder.take(1).expect("an item was sent");
        let before = other.consume(1);
        let mut acknowledged = together(vec![
            sends(ring.handle(2), &sent, &[&[C]]),
            part(holder, move |holder| {
                holder.give_back(taken);
                Vec::new()
            }),
            part(other, |other| {
                other.take_returned().map(|taken| other.acknowledge(taken)).unwrap_or_default()
            }),
        ]);
        acknowledged.extend(before);
        ring.settle(sent.story(&[1, 2], acknowledged));
    }),
    bounded("a slow writer is passed, and publishes late", 3, |_| late_writer(false)),
    bounded("a slow writer is passed, and gives up late", 3, |_| late_writer(true)),
    bounded("a passed writer is stepped over", 2, |_| {
        let (ring, sent) = (many(2).ring(), Sent::default());
        let (slow, claim) = passed(&ring);
        let acknowledged = together(vec![
            part(slow, {
                let sent = sent.clone();
                move |slow| {
                    slow.write(claim, &[A]);
                    slow.publish(claim, &[A]);
                    sent.note(1);
                    Vec::new()
                }
            }),
            sends(ring.handle(2), &sent, &[&[B], &[C]]),
            consumes(ring.handle(3), 2, 1),
        ]);
        ring.settle(sent.story(&[], acknowledged));
    }),
    bounded("an end is not seen while an item is claimed", 3, |_| {
        // As a consumer that looks for the end of the stream: `leave_out` names those that wait (E10).
        let ring = many(2).ring();
        filled(&ring, 1, &[&[A]]);
        let waits = Arc::new(AtomicU64::new(1));
        let acknowledged = together(vec![
            part(ring.handle(4), {
                let waits = waits.clone();
                move |other| {
                    let held = other.slots.find_held(|owner| owner == 3 && waits.load(Relaxed) == 1);
                    assert!(held.is_some(), "the item is held, or waits");
                    if let Some(slot) = held {
                        other.slots.is_held(slot, |_| false);
                    }
                    Vec::new()
                }
            }),
            part(ring.handle(3), move |consumer| {
                waits.store(0, Relaxed);
                drop(consumer.take(1).expect("an item was sent"));
                Vec::new()
            }),
        ]);
        assert!(acknowledged.is_empty());
    }),
    bounded("a producer that claims and a consumer that ends do not miss each other", 3, |_| {
        // E4 as in `handles/end.rs` and `handles/room.rs`: claim, fence, look at the door; close the door,
        // fence, look for claims, look at the door.
        let (ring, door) = (many(2).ring(), Arc::new(AtomicU64::new(0)));
        let sent = Sent::default();
        let ended = Arc::new(std::sync::Mutex::new(false));
        let parts = vec![
            part(ring.handle(3), {
                let (door, ended) = (door.clone(), ended.clone());
                move |consumer| {
                    door.store(1, SeqCst);
                    fence(SeqCst);
                    *ended.lock().unwrap() = consumer.slots.find_held(|_| false).is_none();
                    Vec::new()
                }
            }),
            part(ring.handle(1), {
                let sent = sent.clone();
                move |producer| {
                    let (claim, _) = producer.claim(&[A]).expect("an empty ring");
                    fence(SeqCst);
                    if door.load(SeqCst) == 1 {
                        producer.slots.abandon(claim);
                    } else {
                        producer.write(claim, &[A]);
                        producer.publish(claim, &[A]);
                        sent.note(1);
                    }
                    Vec::new()
                }
            }),
        ];
        let acknowledged = together(parts);
        let story = sent.story(&[], acknowledged);
        assert!(!*ended.lock().unwrap() || story.sent.is_empty(), "the stream ended with an item on its way");
        ring.settle(story);
    }),
    complete("exclusive: one sends, one receives", |_| {
        let (ring, sent) = (exclusive(2).ring(), Sent::default());
        let acknowledged =
            together(vec![consumes(ring.handle(1), 2, 1), sends(ring.handle(0), &sent, &[&[A], &[B]])]);
        ring.settle(sent.story(&[], acknowledged));
    }),
    complete("exclusive: a slot is freed and used again", |_| {
        let (ring, sent) = (exclusive(2).ring(), Sent::default());
        let producer = filled(&ring, 0, &[&[A], &[B]]);
        let acknowledged =
            together(vec![consumes(ring.handle(1), 2, 1), sends(producer, &sent, &[&[C], &[D]])]);
        ring.settle(sent.story(&[1, 2], acknowledged));
    }),
    complete("exclusive: batches are sent, taken, freed, and used again", |_| {
        let (ring, sent) = (exclusive(4).ring(), Sent::default());
        let producer = filled(&ring, 0, &[&[A, B], &[C]]);
        let acknowledged =
            together(vec![consumes(ring.handle(1), 2, 2), sends(producer, &sent, &[&[E, F]])]);
        ring.settle(sent.story(&[1, 2, 3], acknowledged));
    }),
    complete("exclusive: wide items, padding, and a batch acknowledged one by one", |_| {
        let (ring, sent) = (Shape { wide: true, base: 3, ..exclusive(8) }.ring(), Sent::default());
        let producer = filled(&ring, 0, &[&[A, WIDE]]);
        let acknowledged = together(vec![
            part(ring.handle(1), |consumer| {
                consumer.take(2).map(|taken| consumer.acknowledge_each(taken)).unwrap_or_default()
            }),
            sends(producer, &sent, &[&[B], &[WIDER]]),
        ]);
        ring.settle(sent.story(&[1, 5], acknowledged));
    }),
    dying("a producer dies while a consumer looks on and recovers", 2, 9, |steps| {
        producer_dies(steps, many(2), &[A], 1)
    }),
    dying("a producer of a batch dies, two recover", 2, 10, |steps| {
        producer_dies(steps, many(4), &[A, B], 2)
    }),
    dying("a consumer dies, two recover, and its slot is used again", 2, 8, |steps| {
        consumer_dies(steps, 2, &[&[A], &[B]], 1)
    }),
    dying("a consumer dies with a batch, two recover", 2, 10, |steps| {
        consumer_dies(steps, 4, &[&[A, B]], 2)
    }),
    dying("an exclusive producer dies in a batch, and another one follows", 3, 6, |steps| {
        let (ring, sent) = (Shape { mortal: Some(0), ..exclusive(4) }.ring(), Sent::default());
        let victim = filled(&ring, 0, &[&[C]]);
        let follower = ring.handle(0);
        let dead = Arc::new(std::sync::Mutex::new(false));
        let acknowledged = together(vec![
            consumes(ring.handle(1), 2, 2),
            part(victim, {
                let (dead, sent) = (dead.clone(), sent.clone());
                move |victim| {
                    if mortal(steps, || victim.send(&[A, B])).is_none() {
                        *dead.lock().unwrap() = true;
                    } else {
                        [1, 2].iter().for_each(|id| sent.note(*id));
                    }
                    // The lock of its number is handed on by the kernel; here by being the same thread.
                    follower.slots.resume_tail();
                    (0..follower.send(&[D])).for_each(|_| sent.note(4));
                    Vec::new()
                }
            }),
        ]);
        let mut story = sent.story(&[3], acknowledged);
        if *dead.lock().unwrap() {
            story.perhaps_sent = vec![1, 2];
        }
        ring.settle(story);
    }),
];

const fn complete(name: &'static str, run: fn(u32)) -> Scenario {
    Scenario { name, preemptions: None, deaths: 0, run }
}

const fn bounded(name: &'static str, preemptions: usize, run: fn(u32)) -> Scenario {
    Scenario { name, preemptions: Some(preemptions), deaths: 0, run }
}

const fn dying(name: &'static str, preemptions: usize, deaths: u32, run: fn(u32)) -> Scenario {
    Scenario { name, preemptions: Some(preemptions), deaths, run }
}

/// A wide item's inner slot has no word of its own that says when it was freed: its next producer knows by the
/// first slot's, or by the counter, or by who passed the first slot.
fn wide_is_split(base: u64) {
    let (ring, sent) = (Shape { wide: true, base, ..many(4) }.ring(), Sent::default());
    filled(&ring, 1, &[&[WIDE], &[A], &[B]]);
    let acknowledged = together(vec![
        consumes(ring.handle(3), 1, 1),
        sends(ring.handle(1), &sent, &[&[E]]),
        sends(ring.handle(2), &sent, &[&[F]]),
    ]);
    ring.settle(sent.story(&[5, 1, 2], acknowledged));
}

/// A writer that has a claim, and is passed.
fn passed(ring: &Ring) -> (Handle, ringpipe::ring::Claim) {
    let slow = ring.handle(1);
    let (claim, _) = slow.claim(&[A]).expect("an empty ring");
    let other = ring.handle(3);
    let Err(ringpipe::ring::Nothing::Writing(position, word)) = other.take(1) else {
        panic!("nothing but a writer is there");
    };
    assert!(other.slots.pass_writer(position, word));
    assert!(other.take(1).is_err());
    (slow, claim)
}

fn late_writer(gives_up: bool) {
    let (ring, sent) = (many(2).ring(), Sent::default());
    let slow = ring.handle(1);
    let (claim, _) = slow.claim(&[A]).expect("an empty ring");
    let acknowledged = together(vec![
        part(ring.handle(3), |consumer| {
            let mut ids = match consumer.take(1) {
                Ok(taken) => consumer.acknowledge(taken),
                Err(ringpipe::ring::Nothing::Writing(position, word)) => {
                    consumer.slots.pass_writer(position, word);
                    consumer.consume(1)
                }
                Err(_) => Vec::new(),
            };
            ids.extend(consumer.take_returned().map(|taken| consumer.acknowledge(taken)).unwrap_or_default());
            ids
        }),
        part(slow, {
            let sent = sent.clone();
            move |slow| {
                slow.write(claim, &[A]);
                if gives_up {
                    slow.slots.abandon(claim);
                } else {
                    slow.publish(claim, &[A]);
                    sent.note(1);
                }
                Vec::new()
            }
        }),
        sends(ring.handle(2), &sent, &[&[B]]),
    ]);
    ring.settle(sent.story(&[], acknowledged));
}

/// Participant 1 dies while it sends; who finds it dead recovers it, and goes on.
fn producer_dies(steps: u32, shape: Shape, items: &'static [Item], recoverers: u32) {
    let (ring, sent) = (Shape { mortal: Some(1), ..shape }.ring(), Sent::default());
    let died = Arc::new(std::sync::Mutex::new(false));
    let victim = part(ring.handle(1), {
        let (died, sent) = (died.clone(), sent.clone());
        move |victim| {
            match mortal(steps, || victim.send(items)) {
                Some(count) => items[..count].iter().for_each(|item| sent.note(item.id)),
                None => {
                    *died.lock().unwrap() = true;
                    victim.let_go();
                }
            }
            Vec::new()
        }
    });
    let mut parts = vec![part(ring.handle(3), |consumer| {
        consumer.slots.recover(1);
        consumer.consume(2)
    })];
    parts.extend((1..recoverers).map(|more| {
        part(ring.handle(3 + more), |other| {
            other.slots.recover(1);
            Vec::new()
        })
    }));
    parts.push(victim);
    let acknowledged = together(parts);
    let mut story = sent.story(&[], acknowledged);
    if *died.lock().unwrap() {
        story.perhaps_sent = items.iter().map(|item| item.id).collect();
    }
    ring.settle(story);
}

/// Participant 3 dies while it takes and acknowledges; two recover it, and one of them uses the slot again.
fn consumer_dies(steps: u32, capacity: u64, before: &'static [&'static [Item]], most: usize) {
    let (ring, sent) = (Shape { mortal: Some(3), ..many(capacity) }.ring(), Sent::default());
    filled(&ring, 1, before);
    let taken = Arc::new(std::sync::Mutex::new(Vec::new()));
    let victim = part(ring.handle(3), {
        let taken = taken.clone();
        move |victim| {
            let work = || match victim.take(most) {
                Ok(items) => {
                    *taken.lock().unwrap() = items.ids();
                    victim.acknowledge_each(items)
                }
                Err(_) => Vec::new(),
            };
            match mortal(steps, work) {
                Some(ids) => ids,
                None => {
                    victim.let_go();
                    Vec::new()
                }
            }
        }
    });
    let acknowledged = together(vec![
        part(ring.handle(4), |other| {
            other.slots.recover(3);
            other.take_returned().map(|taken| other.acknowledge(taken)).unwrap_or_default()
        }),
        part(ring.handle(2), {
            let sent = sent.clone();
            move |producer| {
                producer.slots.recover(3);
                (0..producer.send(&[D])).for_each(|_| sent.note(4));
                Vec::new()
            }
        }),
        victim,
    ]);
    let ids: Vec<u64> = before.iter().flat_map(|batch| batch.iter().map(|item| item.id)).collect();
    let mut story = sent.story(&ids, acknowledged);
    story.perhaps_acknowledged = taken.lock().unwrap().clone();
    ring.settle(story);
}
