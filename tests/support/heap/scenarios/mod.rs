//! Small stories of some handles side by side. The states that they begin with are forged by the main thread, so that
//! what is to be explored is short.

mod dying;
mod ending;
mod exclusive;
mod returning;
mod sending;

use std::sync::{Arc, Mutex};

use super::super::world::spawn;
use super::ring::{Handle, Item, Ring, Shape, Story, one, wide};

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

/// Makes a part of a story: its participant, and what it does; the result is the items it acknowledged.
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

/// A part that consumes this number of times.
fn consumes(handle: Handle, times: usize, most: usize) -> Part {
    part(handle, move |handle| (0..times).flat_map(|_| handle.consume(most)).collect())
}

/// The items that were sent: noted outside of what is explored.
#[derive(Clone, Default)]
struct Sent(Arc<Mutex<Vec<u64>>>);

impl Sent {
    fn note(&self, id: u64) {
        self.0.lock().expect("no thread panics while it holds the lock").push(id);
    }

    fn story(&self, before: &[u64], acknowledged: Vec<u64>) -> Story {
        let mut sent = before.to_vec();
        sent.extend(self.0.lock().expect("no thread panics while it holds the lock").iter());
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
const H: Item = one(10);
const I: Item = one(11);
const J: Item = one(12);
const WIDEST: Item = wide(8);

/// All stories.
pub fn all() -> impl Iterator<Item = &'static Scenario> {
    [sending::ALL, returning::ALL, ending::ALL, exclusive::ALL, dying::ALL].into_iter().flatten()
}

const fn complete(name: &'static str, run: fn(u32)) -> Scenario {
    Scenario { name, preemptions: None, deaths: 0, run }
}

const fn bounded(name: &'static str, preemptions: usize, run: fn(u32)) -> Scenario {
    Scenario { name, preemptions: Some(preemptions), deaths: 0, run }
}
