//! The steps of items from slot to slot, as sentences. Consecutive steps of one kind, as of the items of a batch,
//! make one sentence.

use std::time::Duration;

use super::observation::{Seen, Watched, Who};
use crate::ItemKey;
use crate::cli::ctl::show;

/// The kind of a sentence, which determines its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// A participant attaches, leaves, or waits.
    Note,
    /// A producer writes.
    Write,
    /// An item is ready.
    Ready,
    /// A consumer takes an item.
    Take,
    /// An item is done, a slot is free.
    Done,
    /// A participant died, or an item is delivered again.
    Alarm,
}

/// The previous holder of an item that is delivered again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    pub from: Who,
    pub died: bool,
    pub after: Duration,
    /// Both events happened between the same two observations, so the time between them was shorter.
    pub at_most: bool,
}

impl Origin {
    /// `2.1s after consumer 7 died with it`.
    pub fn words(&self, many: bool) -> String {
        let less = if self.at_most { "less than " } else { "" };
        let after = show::duration(self.after.as_nanos() as u64);
        let it = if many { "them" } else { "it" };
        match self.died {
            true => format!("{less}{after} after {} died with {it}", self.from),
            false => format!("{less}{after} after {} gave {it} back", self.from),
        }
    }
}

/// What happened to an item or a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A producer has claimed the slot.
    Writes,
    /// A producer wrote the item and published it, both since the last observation.
    Wrote,
    IsReady,
    /// Consumers have moved past the producer.
    IsLate,
    CameLate,
    GaveUp,
    /// A consumer takes it; with the number of the delivery, and the previous holder of a redelivered item.
    Takes(u8, Option<Origin>),
    GivesBack,
    ComesAgain,
    Done,
    /// Taken and acknowledged since the last observation.
    TookAndDone(Option<Origin>),
    /// Acknowledged, by the consumer that held it or by another one to which it was delivered again.
    DoneByOne,
    /// Written, taken and acknowledged since the last observation, by this consumer if it is the only one.
    WentThrough(Option<Who>),
}

/// A step of one item, or of several in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    what: What,
    who: Option<Who>,
    pub position: u64,
    /// First and last slot.
    slots: (u64, u64),
    /// The producer's serial number, and the counts of its first and last item.
    items: Option<(u32, u64, u64)>,
}

impl Step {
    pub fn of(seen: &Seen, what: What, who: Option<Who>) -> Self {
        let first = seen.slot.number;
        // The parts of a free slot are unknown.
        let slots = (first, first + seen.slot.parts.max(1) - 1);
        let items = seen.id().map(|(producer, sequence)| (producer, sequence, sequence));
        Step { what, who, position: seen.slot.position, slots, items }
    }

    /// The same step at another position.
    pub fn at(self, position: u64) -> Self {
        Step { position, ..self }
    }

    /// Adds the next step, if it continues this one.
    fn join(&mut self, next: &Step) -> bool {
        let follows = match (self.items, next.items) {
            (Some((producer, _, last)), Some((other, first, _))) => (producer, last + 1) == (other, first),
            (None, None) => true,
            _ => false,
        };
        let joins =
            follows && (self.what, self.who) == (next.what, next.who) && self.slots.1 + 1 == next.slots.0;
        if joins {
            self.slots.1 = next.slots.1;
            self.items = self.items.zip(next.items).map(|(a, b)| (a.0, a.1, b.2));
        }
        joins
    }

    fn mood(&self) -> Mood {
        match self.what {
            What::Writes => Mood::Write,
            What::Wrote | What::IsReady => Mood::Ready,
            What::Takes(_, Some(_)) | What::TookAndDone(Some(_)) => Mood::Alarm,
            What::Takes(..) => Mood::Take,
            What::Done | What::TookAndDone(None) | What::DoneByOne | What::WentThrough(_) => Mood::Done,
            What::IsLate | What::CameLate | What::GaveUp | What::GivesBack | What::ComesAgain => Mood::Alarm,
        }
    }

    fn sentence(&self, watched: &Watched) -> String {
        let who = |role: &str| self.who.map_or(format!("a {role}"), |who| who.to_string());
        let (producer, consumer) = (|| who("producer"), || who("consumer"));
        let slots = match self.slots {
            (first, last) if first == last => format!("slot {first}"),
            (first, last) => format!("slots {first} to {last}"),
        };
        let (items, many) = match self.items {
            Some(range) => (items(range, watched), range.1 != range.2),
            None => ("what it was".into(), false),
        };
        let (are, they, their) = if many { ("are", "they are", "their") } else { ("is", "it is", "its") };
        match self.what {
            What::Writes => format!("{} writes {slots}", producer()),
            What::Wrote => format!("{} wrote {items} into {slots}: {they} ready", producer()),
            What::IsReady => format!("{slots}: {items} {are} ready"),
            What::IsLate => format!("{} is slow with {slots}: consumers continue without it", producer()),
            What::CameLate => format!("{slots}: {items} came late, and waits"),
            What::GaveUp => format!("{}'s writing in {slots} came to nothing", producer()),
            What::Takes(1, _) => format!("{} takes {items} from {slots}", consumer()),
            What::Takes(n, origin) => {
                let origin = origin.map_or(String::new(), |origin| format!(", {}", origin.words(many)));
                format!("{} takes {items} from {slots}, {their} delivery no. {n}{origin}", consumer())
            }
            What::GivesBack => format!("{} gives {items} back: to be delivered again", consumer()),
            What::ComesAgain => {
                format!("{slots}: {items} {} to be delivered again", if many { "wait" } else { "waits" })
            }
            What::Done => format!("{} is done with {items}: {slots} {} free", consumer(), free(self.slots)),
            What::TookAndDone(origin) => {
                let origin = origin.map_or(String::new(), |origin| format!(", {}", origin.words(many)));
                format!("{} took {items} and is done{origin}: {slots} {} free", consumer(), free(self.slots))
            }
            What::DoneByOne => {
                let (is, done) = (free(self.slots), if many { "are" } else { "is" });
                let had = consumer();
                format!("{slots} {is} free: {items}, which {had} had, {done} done, perhaps by another one")
            }
            What::WentThrough(taker) => {
                let taker = taker.map_or("a consumer".into(), |who| who.to_string());
                format!("{items} went through {slots}: {} wrote, {taker} took", producer())
            }
        }
    }
}

fn free((first, last): (u64, u64)) -> &'static str {
    if first == last { "is" } else { "are" }
}

/// A producer's items by their counts, and by the producer if there was more than one.
pub fn items((producer, first, last): (u32, u64, u64), watched: &Watched) -> String {
    let of = of_producer(producer, watched);
    if first == last { format!("item {first}{of}") } else { format!("items {first} to {last}{of}") }
}

fn of_producer(serial: u32, watched: &Watched) -> String {
    // A fixed item has no record of its producer.
    if watched.last.snapshot.producers_ever < 2 || serial == ItemKey::NO_PRODUCER {
        return String::new();
    }
    match watched.known.get(&serial) {
        Some(who) => format!(" of {who}"),
        None => format!(" of producer no. {serial}"),
    }
}

/// The steps as sentences.
pub fn sentences(steps: Vec<Step>, watched: &Watched) -> Vec<(Mood, String)> {
    let mut joined: Vec<Step> = Vec::new();
    for step in steps {
        // The steps of several items alternate: `ready` and `takes` of one item, then those of the next one.
        let recent = joined.iter_mut().rev().take(2);
        if !recent.into_iter().any(|earlier| earlier.join(&step)) {
            joined.push(step);
        }
    }
    joined.iter().map(|step| (step.mood(), step.sentence(watched))).collect()
}
