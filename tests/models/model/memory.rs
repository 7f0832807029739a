//! A `ring::memory::Memory` whose every access is one step of the model.
//!
//! A process is advanced by running the ring's own code again from the start of the present operation.
//! The accesses that it made before are answered from its log, the next one is made on the shared state
//! and logged, and the one after that unwinds out of the operation, unless the operation ended first.

use std::any::Any;
use std::cell::RefCell;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::atomic::Ordering::{self, Relaxed};

use ringpipe::internal::protocol::RingCore;
use ringpipe::internal::protocol::memory::{Atom, LocalCursors, Memory};
use ringpipe::internal::protocol::word::{Tag, Word};

use crate::model::mutation::Mutation;
use crate::model::process::Kind;

/// Slots of the largest ring here.
pub const MAX_SLOTS: usize = 8;

/// What all processes share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shared {
    pub words: [u64; MAX_SLOTS],
    pub tail: u64,
    pub head: u64,
    /// Headers: the span of the item that begins in a slot, and the item's id in each of its slots.
    pub spans: [u8; MAX_SLOTS],
    pub ids: [u8; MAX_SLOTS],
    /// Beside each slot, the name of an item that producers have stepped over.
    pub names: [u64; MAX_SLOTS],
    /// Participant numbers that are dead, a bit each.
    pub dead: u16,
    /// Processes for which a word has changed, or another process died, since they began to look.
    pub woken: u16,
    /// Processes that have not seen the latest count of returned items.
    pub returned: u16,
}

/// A `LocalCursors`, as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub tail: u64,
    pub head: u64,
}

impl Seen {
    fn of(local_cursors: &LocalCursors) -> Self {
        Seen { tail: local_cursors.tail.load(Relaxed), head: local_cursors.head.load(Relaxed) }
    }
}

/// What an access is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Word(u8),
    Tail,
    Head,
    Returned,
    Span(u8),
    Name(u8),
    IsDead(u32),
}

/// What an access does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Load,
    Store(u64),
    Exchange(u64, u64),
    Add,
}

type Site = &'static Location<'static>;

/// The running operation of one process.
pub struct Run {
    pub shared: Shared,
    pub log: Vec<u64>,
    pub kind: Kind,
    pub mutation: Option<Mutation>,
    /// Stores that a mutation holds back.
    pub held_back: Vec<(u8, u64)>,
    /// How far the handle had seen when the log began.
    pub local_cursors: Seen,
    /// How far it has seen by now.
    seen: Rc<LocalCursors>,
    /// Whether to print each new access.
    pub trace: bool,
    cursor: usize,
    /// New accesses that may still be made.
    budget: usize,
    first_site: Option<Site>,
    /// Where in the log the present round of the operation's outer loop began, and with which slot.
    round: usize,
    round_place: Place,
    /// Whether this round has changed a word.
    round_changed: bool,
}

thread_local! {
    static RUN: RefCell<Option<Run>> = const { RefCell::new(None) };
}

struct Cut;

/// How a run of an operation ended.
pub enum End<T> {
    /// More accesses are to come.
    Cut,
    /// With its result.
    Done(T),
    /// With a panic.
    Panicked(String),
}

impl Run {
    /// Runs `operation` on `shared` with `log`, making at most `budget` new accesses.
    pub fn new(shared: Shared, log: Vec<u64>, local_cursors: Seen, kind: Kind, budget: usize) -> Run {
        Run {
            shared,
            log,
            kind,
            mutation: None,
            held_back: Vec::new(),
            local_cursors,
            seen: Rc::default(),
            trace: false,
            cursor: 0,
            budget,
            first_site: None,
            round: 0,
            round_place: Place::Tail,
            round_changed: false,
        }
    }

    pub fn run<T>(mut self, memory: Replay, operation: impl FnOnce(&RingCore<Replay>) -> T) -> (Run, End<T>) {
        memory.local_cursors.tail.store(self.local_cursors.tail, Relaxed);
        memory.local_cursors.head.store(self.local_cursors.head, Relaxed);
        self.seen = memory.local_cursors.clone();
        RUN.set(Some(self));
        let slots = RingCore::new(memory);
        let end = match catch_unwind(AssertUnwindSafe(|| operation(&slots))) {
            Ok(result) => End::Done(result),
            Err(payload) if payload.is::<Cut>() => End::Cut,
            Err(payload) => End::Panicked(panic_text(&*payload)),
        };
        let mut run = RUN.take().expect("only this call puts the run back");
        if matches!(end, End::Done(_)) {
            run.local_cursors = Seen::of(&run.seen);
        }
        (run, end)
    }

    fn access(&mut self, site: Site, place: Place, access: Access) -> Option<u64> {
        let first = *self.first_site.get_or_insert(site);
        let new_round = first == site;
        if self.cursor == self.log.len() {
            if new_round {
                self.forget_rounds(place);
            }
            if self.budget == 0 {
                return None;
            }
            self.budget -= 1;
            let reply = self.perform(place, access, new_round);
            if self.trace {
                let file = site.file().rsplit('/').next().unwrap_or_default();
                println!("      {file}:{:<4} {}", site.line(), self.say(place, access, reply));
            }
            self.log.push(self.canonical(place, access, reply));
        }
        if new_round {
            (self.round, self.round_place, self.round_changed) = (self.cursor, place, false);
        }
        let reply = self.log[self.cursor];
        self.round_changed |= matches!((place, access), (Place::Word(_), Access::Exchange(..))) && reply == 1;
        self.cursor += 1;
        if self.kind == Kind::ClaimReturned && matches!(access, Access::Exchange(..)) && reply == 0 {
            // The search goes on as if the word had not been there.
            self.log.truncate(self.cursor - 1);
            self.cursor -= 1;
            self.log[self.cursor - 1] = 0;
        }
        Some(reply)
    }

    /// At the start of a round of the operation's loop, what came before is forgotten as far as the
    /// operation has forgotten it (its count of rounds apart).
    fn forget_rounds(&mut self, next: Place) {
        match self.kind {
            Kind::ClaimRoom | Kind::ClaimItems => {
                self.log.clear();
                self.cursor = 0;
                self.local_cursors = Seen::of(&self.seen);
            }
            // A round of recovery that changed nothing is the same as one that found nothing.
            Kind::Recover if self.cursor > 0 && !self.round_changed => {
                self.log.truncate(self.round);
                if next != self.round_place {
                    self.log.push(0);
                }
                self.cursor = self.log.len();
            }
            _ => {}
        }
    }

    /// Replies between which the code makes no difference are made the same.
    fn canonical(&self, place: Place, access: Access, reply: u64) -> u64 {
        match (self.kind, place, access) {
            (Kind::ClaimReturned, Place::Word(_), Access::Load) if Word(reply).tag() != Tag::Redeliver => 0,
            _ => reply,
        }
    }

    fn perform(&mut self, place: Place, access: Access, new_round: bool) -> u64 {
        if let Some(reply) = self.misbehave(place, access, new_round) {
            return reply;
        }
        let shared = &mut self.shared;
        let before = shared.words;
        let cell = match place {
            Place::Word(slot) => &mut shared.words[slot as usize],
            Place::Tail => &mut shared.tail,
            Place::Head => &mut shared.head,
            Place::Returned => {
                shared.returned = u16::MAX;
                shared.woken = u16::MAX;
                return 0;
            }
            Place::Name(slot) => &mut shared.names[slot as usize],
            Place::Span(slot) => return shared.spans[slot as usize] as u64,
            Place::IsDead(number) => return (shared.dead >> number & 1) as u64,
        };
        let reply = match access {
            Access::Load => *cell,
            Access::Store(value) => {
                *cell = value;
                0
            }
            Access::Exchange(current, new) if *cell == current => {
                *cell = new;
                1
            }
            Access::Exchange(..) => 0,
            Access::Add => unreachable!("only the hint is added to"),
        };
        if shared.words != before {
            shared.woken = u16::MAX;
        }
        reply
    }

    fn misbehave(&mut self, place: Place, access: Access, new_round: bool) -> Option<u64> {
        let mutation = self.mutation?;
        if mutation == Mutation::RecoverWithoutLookingAgain && self.kind == Kind::Recover {
            let again = !new_round && place == self.round_place && access == Access::Load;
            return again.then(|| self.log[self.round]);
        }
        let inner = place != self.round_place;
        mutation.misbehave(self.kind, place, access, inner, &mut self.shared, &mut self.held_back)
    }

    fn say(&self, place: Place, access: Access, reply: u64) -> String {
        let word = |bits: u64| match place {
            Place::Word(slot) => {
                let word = Word(bits);
                let lap_run = bits >> 23;
                format!(
                    "w{slot}:{:?}(place {lap_run}, of {}, try {})",
                    word.tag(),
                    word.owner(),
                    word.attempt()
                )
            }
            _ => bits.to_string(),
        };
        match access {
            Access::Load => format!("{place:?} is {}", word(reply)),
            Access::Store(value) => format!("{place:?} := {}", word(value)),
            Access::Exchange(from, to) if reply == 1 => format!("{place:?}: {} -> {}", word(from), word(to)),
            Access::Exchange(from, _) => format!("{place:?}: is not {}", word(from)),
            Access::Add => format!("{place:?} += 1"),
        }
    }
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().cloned();
    text.or_else(|| payload.downcast_ref::<&str>().map(|text| text.to_string())).unwrap_or_default()
}

/// The memory that the ring's code sees.
pub struct Replay {
    pub capacity: u64,
    pub exclusive: bool,
    pub most_in_row: u64,
    pub named: bool,
    pub local_cursors: Rc<LocalCursors>,
}

/// A word, known by its place.
pub struct SharedWord(Place);

static WORDS: [SharedWord; MAX_SLOTS] = [
    SharedWord(Place::Word(0)),
    SharedWord(Place::Word(1)),
    SharedWord(Place::Word(2)),
    SharedWord(Place::Word(3)),
    SharedWord(Place::Word(4)),
    SharedWord(Place::Word(5)),
    SharedWord(Place::Word(6)),
    SharedWord(Place::Word(7)),
];

static NAMES: [SharedWord; MAX_SLOTS] = [
    SharedWord(Place::Name(0)),
    SharedWord(Place::Name(1)),
    SharedWord(Place::Name(2)),
    SharedWord(Place::Name(3)),
    SharedWord(Place::Name(4)),
    SharedWord(Place::Name(5)),
    SharedWord(Place::Name(6)),
    SharedWord(Place::Name(7)),
];

#[track_caller]
fn access(place: Place, access: Access) -> u64 {
    let site = Location::caller();
    let reply = RUN.with_borrow_mut(|run| run.as_mut().expect("within a run").access(site, place, access));
    reply.unwrap_or_else(|| resume_unwind(Box::new(Cut)))
}

impl Atom for SharedWord {
    #[track_caller]
    fn load(&self, _: Ordering) -> u64 {
        access(self.0, Access::Load)
    }
    #[track_caller]
    fn store(&self, value: u64, _: Ordering) {
        access(self.0, Access::Store(value));
    }
    #[track_caller]
    fn compare_exchange(&self, current: u64, new: u64, _: Ordering) -> Result<u64, u64> {
        // No caller uses the value of a failure: it would have to be in the log.
        if access(self.0, Access::Exchange(current, new)) == 1 { Ok(current) } else { Err(u64::MAX) }
    }
    #[track_caller]
    fn fetch_add(&self, _: u64, _: Ordering) -> u64 {
        access(self.0, Access::Add)
    }
}

impl Memory for Replay {
    type Atom = SharedWord;

    fn capacity(&self) -> u64 {
        self.capacity
    }
    fn is_exclusive(&self) -> bool {
        self.exclusive
    }
    fn most_in_row(&self) -> u64 {
        self.most_in_row
    }
    fn word(&self, slot: u64) -> &SharedWord {
        &WORDS[slot as usize]
    }
    fn words(&self, slot: u64, count: u64) -> &[SharedWord] {
        &WORDS[slot as usize..(slot + count).min(self.capacity) as usize]
    }
    fn tail(&self) -> &SharedWord {
        &SharedWord(Place::Tail)
    }
    fn head(&self) -> &SharedWord {
        &SharedWord(Place::Head)
    }
    fn returned(&self) -> &SharedWord {
        &SharedWord(Place::Returned)
    }
    fn local_cursors(&self) -> &LocalCursors {
        &self.local_cursors
    }
    fn name(&self, slot: u64) -> Option<&SharedWord> {
        self.named.then(|| &NAMES[slot as usize])
    }
    #[track_caller]
    fn span(&self, slot: u64) -> u64 {
        access(Place::Span(slot as u8), Access::Load)
    }
    #[track_caller]
    fn is_dead(&self, number: u32) -> bool {
        access(Place::IsDead(number), Access::Load) == 1
    }
}
