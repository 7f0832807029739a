//! The steps of items from slot to slot, and how they are said. Steps of one kind that follow each other, as of
//! the items of a batch, make one sentence.

use super::model::{Model, Mood, Seen, Who};

/// What happened to an item or a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A producer has claimed the slot.
    Writes,
    /// A producer wrote, and the item is ready: both since the last look.
    Wrote,
    IsReady,
    /// The producer was passed by the consumers.
    IsLate,
    CameLate,
    GaveUp,
    /// With the delivery's number.
    Takes(u8),
    GivesBack,
    ComesAgain,
    Done,
    /// Taken and done since the last look.
    TookAndDone,
    /// Written, taken and done since the last look, by this consumer if there is only one.
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
    /// Producer's serial number, and the first and last of its items.
    items: Option<(u32, u64, u64)>,
}

impl Step {
    pub fn of(seen: &Seen, what: What, who: Option<Who>) -> Self {
        let first = seen.slot.number;
        // Of what is free, the parts are not known.
        let slots = (first, first + seen.slot.parts.max(1) - 1);
        let items = seen.id().map(|(producer, sequence)| (producer, sequence, sequence));
        Step { what, who, position: seen.slot.position, slots, items }
    }

    /// The same, at another position.
    pub fn at(self, position: u64) -> Self {
        Step { position, ..self }
    }

    /// Takes up the next step, if it goes on with this one.
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
            What::Takes(_) => Mood::Take,
            What::Done | What::TookAndDone | What::WentThrough(_) => Mood::Done,
            What::IsLate | What::CameLate | What::GaveUp | What::GivesBack | What::ComesAgain => Mood::Alarm,
        }
    }

    fn sentence(&self, model: &Model) -> String {
        let who = |role: &str| self.who.map_or(format!("a {role}"), |who| who.to_string());
        let (producer, consumer) = (|| who("producer"), || who("consumer"));
        let slots = match self.slots {
            (first, last) if first == last => format!("slot {first}"),
            (first, last) => format!("slots {first} to {last}"),
        };
        let (items, many) = match self.items {
            Some((producer, first, last)) if first == last => (item((producer, first), model), false),
            Some((producer, first, last)) => {
                (format!("items {first} to {last}{}", of_producer(producer, model)), true)
            }
            None => ("what it was".into(), false),
        };
        let (are, they, their) = if many { ("are", "they are", "their") } else { ("is", "it is", "its") };
        match self.what {
            What::Writes => format!("{} writes {slots}", producer()),
            What::Wrote => format!("{} wrote {items} into {slots}: {they} ready", producer()),
            What::IsReady => format!("{slots}: {items} {are} ready"),
            What::IsLate => format!("{} is slow with {slots}: consumers go on without it", producer()),
            What::CameLate => format!("{slots}: {items} came late, and waits"),
            What::GaveUp => format!("{}'s writing in {slots} came to nothing", producer()),
            What::Takes(1) => format!("{} takes {items} from {slots}", consumer()),
            What::Takes(n) => format!("{} takes {items} from {slots}, {their} delivery no. {n}", consumer()),
            What::GivesBack => format!("{} gives {items} back: to be delivered again", consumer()),
            What::ComesAgain => {
                format!("{slots}: {items} {} to be delivered again", if many { "wait" } else { "waits" })
            }
            What::Done => format!("{} is done with {items}: {slots} {} free", consumer(), free(self.slots)),
            What::TookAndDone => {
                format!("{} took {items} and is done: {slots} {} free", consumer(), free(self.slots))
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

/// An item by its producer's count, and by its producer where there was more than one.
pub fn item((producer, sequence): (u32, u64), model: &Model) -> String {
    format!("item {sequence}{}", of_producer(producer, model))
}

fn of_producer(serial: u32, model: &Model) -> String {
    if model.look.snapshot.producers_ever < 2 {
        return String::new();
    }
    match model.known.get(&serial) {
        Some(who) => format!(" of {who}"),
        None => format!(" of producer no. {serial}"),
    }
}

/// The steps as sentences.
pub fn sentences(steps: Vec<Step>, model: &Model) -> Vec<(Mood, String)> {
    let mut joined: Vec<Step> = Vec::new();
    for step in steps {
        // The steps of several items alternate: one item's `ready` and `takes`, then the next one's.
        let recent = joined.iter_mut().rev().take(2);
        if !recent.into_iter().any(|earlier| earlier.join(&step)) {
            joined.push(step);
        }
    }
    joined.iter().map(|step| (step.mood(), step.sentence(model))).collect()
}
