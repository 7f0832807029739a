//! What is measured: every shape of work that the carriers are given.

use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::job::WorkFields;
use crate::peer::Work;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Messages of a batch.
pub const BATCH: usize = 64;
/// Sizes of one-way messages in bytes.
const SIZES: [usize; 4] = [8, 64, KIB, 16 * KIB];
/// Sizes of large ones; the first is copied among the others.
const LARGE: [usize; 4] = [16 * KIB, 256 * KIB, MIB, 8 * MIB];
/// Bytes that a link may hold, where that is 64 to 4096 messages.
const DEPTH: usize = 256 * KIB;
/// Sizes of memory that is copied and read.
pub const MEMORY: [usize; 5] = [16 * KIB, 256 * KIB, MIB, 8 * MIB, 64 * MIB];

/// What a shape of work is there to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Test {
    /// One sender, one receiver.
    OneWay,
    /// Large messages, copied and in place.
    Large,
    /// Two senders, two receivers.
    Many,
    /// More and more of them.
    Scaling,
    /// A word and its answer.
    RoundTrip,
    /// What the memory does without any queue.
    Memory,
}

/// On which of two cores the workers run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// All senders on the first, all receivers on the second.
    Apart,
    /// As many of each on either.
    Mixed,
    /// All workers on the first.
    Together,
}

/// How a round trip is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trip {
    /// The next question follows at once.
    Awake,
    /// Both sides have long been idle when something comes.
    Asleep,
}

impl Trip {
    /// How long each side pauses before it sends.
    pub fn pause(self) -> Duration {
        match self {
            Trip::Awake => Duration::ZERO,
            Trip::Asleep => Duration::from_micros(250),
        }
    }
}

/// One shape of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    pub test: Test,
    #[serde(flatten, with = "WorkFields")]
    pub work: Work,
    pub place: Place,
    pub trip: Option<Trip>,
}

impl Shape {
    fn one_way(test: Test, size: usize, batch: usize) -> Self {
        let work = Work { size, depth: depth(size), batch, in_place: false, senders: 1, receivers: 1 };
        Shape { test, work, place: Place::Apart, trip: None }
    }

    fn in_place(size: usize) -> Self {
        let mut shape = Shape::one_way(Test::Large, size, 1);
        shape.work.in_place = true;
        shape
    }

    fn many(test: Test, each: usize, size: usize, batch: usize, place: Place) -> Self {
        let mut shape = Shape::one_way(test, size, batch);
        (shape.work.senders, shape.work.receivers, shape.place) = (each, each, place);
        shape
    }

    fn round_trip(trip: Trip, place: Place) -> Self {
        let mut shape = Shape::one_way(Test::RoundTrip, 8, 1);
        shape.work.depth = 64;
        (shape.place, shape.trip) = (place, Some(trip));
        shape
    }

    /// A line that tells it from the others.
    pub fn title(&self) -> String {
        let Work { size, batch, in_place, senders, receivers, .. } = self.work;
        let size = bytes(size);
        match (self.trip, in_place) {
            (Some(trip), _) => format!("round trip, {trip:?}, {:?}", self.place).to_lowercase(),
            (None, true) => format!("{size} in place"),
            (None, false) => format!("{senders} to {receivers}, {:?}, {size}, {batch} in a call", self.place),
        }
    }
}

/// Messages that a link of this size of messages may hold.
fn depth(size: usize) -> usize {
    if size <= 16 * KIB { (DEPTH / size).clamp(64, 4096) } else { (MIB / size).max(4) }
}

/// "64 B", "16 KiB".
pub fn bytes(size: usize) -> String {
    match size {
        size if size >= MIB => format!("{} MiB", size / MIB),
        size if size >= KIB => format!("{} KiB", size / KIB),
        size => format!("{size} B"),
    }
}

/// All shapes, in the order of a round. [`Test::Memory`] has none: it needs no carrier.
pub fn shapes() -> Vec<Shape> {
    let mut shapes = Vec::new();
    let ways = [1, BATCH];
    for batch in ways {
        shapes.extend(SIZES.map(|size| Shape::one_way(Test::OneWay, size, batch)));
    }
    shapes.extend(LARGE[1..].iter().map(|&size| Shape::one_way(Test::Large, size, 1)));
    shapes.extend(LARGE.map(Shape::in_place));
    for place in [Place::Apart, Place::Mixed] {
        for batch in ways {
            shapes.extend([8, 64].map(|size| Shape::many(Test::Many, 2, size, batch, place)));
        }
    }
    for batch in ways {
        shapes.extend([4, 16].map(|each| Shape::many(Test::Scaling, each, 64, batch, Place::Mixed)));
    }
    shapes.push(Shape::round_trip(Trip::Awake, Place::Apart));
    shapes.push(Shape::round_trip(Trip::Asleep, Place::Apart));
    shapes.push(Shape::round_trip(Trip::Awake, Place::Together));
    shapes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_hold_a_quarter_of_a_mebibyte_where_that_is_not_too_few_or_too_many() {
        let depths = [8, 64, KIB, 16 * KIB, 256 * KIB, 8 * MIB].map(depth);
        assert_eq!(depths, [4096, 4096, 256, 64, 4, 4]);
    }

    #[test]
    fn no_shape_comes_twice() {
        let shapes = shapes();
        for (place, shape) in shapes.iter().enumerate() {
            assert!(!shapes[..place].contains(shape), "{}", shape.title());
        }
    }
}
