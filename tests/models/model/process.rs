//! The processes: what each does next, and what the end of an operation means for it.

use ringpipe::internal::protocol::word::Word;
use ringpipe::internal::protocol::{Claim, Full, NoItem, RingCore};

use crate::model::memory::{Replay, Shared};

/// Items of a claim, at most.
pub const MAX_BATCH: usize = 4;

/// One process of a scenario.
#[derive(Clone, Debug)]
pub struct Role {
    /// Its participant number.
    pub number: u32,
    /// Whether it takes over the number of a dead participant.
    pub successor: bool,
    pub work: Work,
}

/// What a process does.
#[derive(Clone, Debug)]
pub enum Work {
    /// Sends batches of items with these spans.
    Produce { batches: Vec<Vec<u8>>, how: Sending },
    /// Takes this many claims of at most `batch` items.
    Consume { claims: u8, batch: u8, how: Taking },
    /// Recovers each process that dies.
    Recover,
    /// Asks whether the ring holds anything when no producer is left.
    Watch,
}

/// How a producer goes on after a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    Publish,
    /// The first claim is abandoned, then published in a second attempt.
    AbandonFirst,
    /// Each item is claimed with a slot more than it needs, where a run may be so long.
    PublishPart,
}

/// How a consumer goes on after a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taking {
    AcknowledgeEach,
    AcknowledgeAll,
    /// The first claim is given back, the later ones are acknowledged together.
    GiveBackFirst,
}

/// A kind of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Recover,
    ResumeTail,
    ClaimRoom,
    Write,
    Publish,
    Abandon,
    FlushHeldBack,
    ClaimReturned,
    ClaimItems,
    PassWriter,
    AcknowledgeFirst,
    AcknowledgeAll,
    GiveBack,
    HoldsAny,
    Finished,
}

/// Where a process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Life {
    /// A successor that has not got its number yet.
    Attaching,
    Alive,
    /// Alive, but never scheduled again.
    Stopped,
    Crashed,
}

/// The local state of a process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    pub life: Life,
    /// The present operation, and the replies it has had.
    pub op: Kind,
    pub log: Vec<u64>,
    /// Whether it goes on only when something has changed.
    pub waiting: bool,
    /// The process to recover.
    pub dead: u32,
    /// The participants it has recovered.
    pub recovered: u16,
    pub claim: Option<Claim>,
    /// Whether the claim's slots are its own beyond doubt.
    pub holds: bool,
    /// The spans of the claim's items.
    pub spans: [u8; MAX_BATCH],
    /// Items published, or claims taken.
    pub done: u8,
    /// How often it still tries on a full or empty ring.
    pub tries: u8,
    /// How often it still passes a writer.
    pub passes: u8,
    /// The writer at head when it last looked.
    pub blocker: Option<(u64, Word)>,
    /// Whether this search for returned items is the one before it waits.
    pub last_look: bool,
    /// The position after the first of the last claim at tail or head.
    pub behind: u64,
    /// What its handle has seen decided.
    pub lead: Lead,
    pub held_back: Vec<(u8, u64)>,
}

/// Positions that a handle has seen decided, where the counters do not say so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Lead {
    pub tail: Option<u64>,
    pub head: Option<u64>,
}

impl Lead {
    /// Forgets what the counters say by now.
    pub fn forget_old(&mut self, shared: &Shared) {
        let ahead = |counter: u64| move |position: &u64| (position.wrapping_sub(counter) as i64) > 0;
        self.tail = self.tail.filter(ahead(shared.tail));
        self.head = self.head.filter(ahead(shared.head));
    }
}

/// The result of an operation.
#[derive(Debug)]
pub enum Outcome {
    Room(Result<Claim, Full>),
    Items(Result<Claim, NoItem>),
    Returned(Option<Claim>),
    Rest(Option<Claim>),
    HoldsAny(bool),
    Nothing,
}

impl Process {
    pub fn new(role: &Role, tries: u8, passes: u8) -> Process {
        let mut process = Process {
            life: if role.successor { Life::Attaching } else { Life::Alive },
            op: Kind::Recover,
            log: Vec::new(),
            waiting: false,
            dead: if role.successor { role.number } else { 0 },
            recovered: 0,
            claim: None,
            holds: false,
            spans: [0; MAX_BATCH],
            done: 0,
            tries,
            passes: if matches!(role.work, Work::Consume { .. }) { passes } else { 0 },
            blocker: None,
            last_look: false,
            behind: 0,
            lead: Lead::default(),
            held_back: Vec::new(),
        };
        if !role.successor {
            process.op = process.first_op(role, false);
        }
        process
    }

    /// What a process begins with when it has its number.
    pub fn first_op(&self, role: &Role, exclusive: bool) -> Kind {
        match role.work {
            Work::Produce { .. } if exclusive && role.successor => Kind::ResumeTail,
            Work::Produce { .. } => Kind::ClaimRoom,
            Work::Consume { .. } => Kind::ClaimItems,
            Work::Recover => Kind::Recover,
            Work::Watch => Kind::HoldsAny,
        }
    }

    /// Items that the present claim has, in order.
    pub fn spans(&self) -> impl DoubleEndedIterator<Item = u64> + use<> {
        let spans = self.spans;
        let items = spans.iter().take_while(|&&span| span > 0).count();
        (0..items).map(move |at| spans[at] as u64)
    }

    /// Spans that the producer sends next, in one claim if there is room.
    pub fn to_send(&self, batches: &[Vec<u8>]) -> Vec<u8> {
        let mut skip = self.done as usize;
        for batch in batches {
            if skip < batch.len() {
                return batch[skip..].to_vec();
            }
            skip -= batch.len();
        }
        Vec::new()
    }

    /// Runs the present operation.
    pub fn call(&self, role: &Role, slots: &RingCore<Replay>) -> Outcome {
        let claim = || self.claim.expect("an operation on a claim has one");
        match self.op {
            Kind::Recover => {
                slots.recover(self.dead);
            }
            Kind::ResumeTail => slots.resume_tail(),
            Kind::ClaimRoom => {
                let Work::Produce { batches, how } = &role.work else { unreachable!() };
                let spans = self.to_send(batches);
                let most: u64 = spans.iter().map(|&span| span as u64).sum();
                let most = most.min(slots.codec().max_run());
                if *how == Sending::PublishPart {
                    let room = (spans[0] as u64 + 1).min(slots.codec().max_run());
                    return Outcome::Room(slots.claim_room(role.number, room, room, |_| room));
                }
                return Outcome::Room(slots.claim_room(role.number, spans[0] as u64, most, |free| {
                    fitting(&spans, free).iter().map(|&span| span as u64).sum()
                }));
            }
            Kind::Publish => match role.work {
                Work::Produce { how: Sending::PublishPart, .. } => {
                    slots.publish_part(claim(), self.spans[0] as u64);
                }
                _ if self.spans().all(|span| span == 1) => drop(slots.publish_singles(claim())),
                _ => drop(slots.publish(claim(), self.spans())),
            },
            Kind::Abandon => slots.abandon(claim()),
            Kind::ClaimReturned => return Outcome::Returned(slots.claim_returned(role.number, None)),
            Kind::ClaimItems => {
                let Work::Consume { batch, .. } = role.work else { unreachable!() };
                let most_slots = slots.codec().max_run();
                return Outcome::Items(slots.claim_items(role.number, batch as usize, most_slots));
            }
            Kind::PassWriter => {
                let (position, word) = self.blocker.expect("a process that passes a writer has seen one");
                slots.pass_writer(position, word);
            }
            Kind::AcknowledgeFirst => {
                return Outcome::Rest(slots.acknowledge_first(claim(), self.spans[0] as u64));
            }
            Kind::AcknowledgeAll if self.spans().all(|span| span == 1) => slots.acknowledge_singles(claim()),
            Kind::AcknowledgeAll => slots.acknowledge_all(claim(), self.spans()),
            Kind::GiveBack => slots.give_back(claim(), self.spans()),
            Kind::HoldsAny => return Outcome::HoldsAny(slots.find_held(|_| false).is_some()),
            Kind::Write | Kind::FlushHeldBack | Kind::Finished => unreachable!("no operation of the ring"),
        }
        Outcome::Nothing
    }

    /// The end of its story, with what does not matter any more forgotten.
    pub fn end(&mut self, life: Life) {
        *self = Process {
            life,
            op: Kind::Finished,
            log: Vec::new(),
            claim: None,
            holds: false,
            waiting: false,
            spans: [0; MAX_BATCH],
            blocker: None,
            last_look: false,
            dead: 0,
            recovered: 0,
            tries: 0,
            passes: 0,
            behind: 0,
            lead: Lead::default(),
            held_back: Vec::new(),
            ..*self
        };
    }

    /// Waits for a change before it tries again, or gives up.
    fn wait(&mut self, op: Kind) {
        self.op = op;
        self.waiting = true;
        self.tries -= 1;
        if self.tries == 0 {
            self.end(Life::Alive);
        }
    }

    fn recover(&mut self, number: u32) {
        self.op = Kind::Recover;
        self.dead = number;
    }

    /// Decides what comes after a finished operation (whose claim, if any, has been noted).
    pub fn settle(
        &mut self,
        me: usize,
        role: &Role,
        exclusive: bool,
        shared: &mut Shared,
        outcome: &Outcome,
        is_dead: impl Fn(u32) -> bool,
    ) {
        match (self.op, outcome) {
            (Kind::Recover, _) if self.life == Life::Attaching => {
                self.life = Life::Alive;
                self.dead = 0;
                shared.dead &= !(1 << role.number);
                self.op = self.first_op(role, exclusive);
            }
            (Kind::Recover, _) => {
                if matches!(role.work, Work::Recover) {
                    self.recovered |= 1 << self.dead;
                }
                self.dead = 0;
                self.op = self.first_op(role, false);
            }
            (Kind::HoldsAny, _) => self.end(Life::Alive),
            (Kind::ResumeTail, _) => self.op = Kind::ClaimRoom,
            (Kind::ClaimRoom, Outcome::Room(Err(full))) => match full.word.is_owned() {
                true if is_dead(full.word.owner()) => self.recover(full.word.owner()),
                _ => self.wait(Kind::ClaimRoom),
            },
            (Kind::ClaimRoom, _) => self.op = Kind::Write,
            (Kind::Write, _) => {
                let Work::Produce { how, .. } = role.work else { unreachable!() };
                let abandons = how == Sending::AbandonFirst && self.done == 0 && self.recovered & 1 == 0;
                self.op = if abandons { Kind::Abandon } else { Kind::Publish };
            }
            (Kind::Publish, _) if !self.held_back.is_empty() => self.op = Kind::FlushHeldBack,
            (Kind::Publish | Kind::FlushHeldBack, _) => {
                self.done += self.spans().count() as u8;
                self.next_batch(role);
            }
            (Kind::Abandon, _) => {
                self.recovered |= 1;
                self.next_batch(role);
            }
            (Kind::ClaimItems, Outcome::Items(Err(nothing))) => {
                self.blocker = match *nothing {
                    NoItem::Writing(position, word) => Some((position, word)),
                    NoItem::Empty => None,
                };
                self.op = Kind::ClaimReturned;
                self.last_look = true;
            }
            (Kind::ClaimReturned, Outcome::Returned(None)) if !self.last_look => self.op = Kind::ClaimItems,
            (Kind::ClaimReturned, Outcome::Returned(None)) => {
                self.last_look = false;
                match self.blocker {
                    Some((_, word)) if is_dead(word.owner()) => self.recover(word.owner()),
                    Some(_) if self.passes > 0 => {
                        self.passes -= 1;
                        self.op = Kind::PassWriter;
                        return;
                    }
                    _ => self.wait(Kind::ClaimItems),
                }
                self.blocker = None;
            }
            (Kind::PassWriter, _) => {
                self.blocker = None;
                self.look(me, shared);
            }
            (Kind::ClaimItems | Kind::ClaimReturned, _) => {
                let Work::Consume { how, .. } = role.work else { unreachable!() };
                self.blocker = None;
                self.last_look = false;
                self.op = match how {
                    Taking::AcknowledgeEach => Kind::AcknowledgeFirst,
                    Taking::GiveBackFirst if self.done == 0 => Kind::GiveBack,
                    _ => Kind::AcknowledgeAll,
                };
            }
            (Kind::AcknowledgeFirst, Outcome::Rest(Some(rest))) => {
                self.claim = Some(*rest);
                self.spans.rotate_left(1);
                self.spans[MAX_BATCH - 1] = 0;
            }
            (Kind::AcknowledgeFirst | Kind::AcknowledgeAll | Kind::GiveBack, _) => {
                let Work::Consume { claims, .. } = role.work else { unreachable!() };
                self.release();
                self.done += 1;
                match self.done < claims {
                    true => self.look(me, shared),
                    false => self.end(Life::Alive),
                }
            }
            (op, outcome) => unreachable!("{op:?} with {outcome:?}"),
        }
    }

    fn next_batch(&mut self, role: &Role) {
        let Work::Produce { batches, .. } = &role.work else { unreachable!() };
        self.release();
        match self.to_send(batches).is_empty() {
            true => self.end(Life::Alive),
            false => self.op = Kind::ClaimRoom,
        }
    }

    /// What a consumer does first: a new count of returned items is worth a search.
    fn look(&mut self, me: usize, shared: &Shared) {
        let returned = shared.returned >> me & 1 == 1;
        self.op = if returned { Kind::ClaimReturned } else { Kind::ClaimItems };
    }

    fn release(&mut self) {
        self.claim = None;
        self.holds = false;
        self.spans = [0; MAX_BATCH];
    }
}

/// The first of `spans` that fit into `free` slots.
pub fn fitting(spans: &[u8], free: u64) -> &[u8] {
    let mut sum = 0;
    let fits = spans.iter().take_while(|&&span| {
        sum += span as u64;
        sum <= free
    });
    &spans[..fits.count()]
}
