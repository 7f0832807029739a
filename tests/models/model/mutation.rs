//! Memories that misbehave in one way: each stands for a step that the protocol could have got wrong.

use ringpipe::internal::protocol::word::{Tag, Word};

use crate::model::memory::{Access, Place, Shared};
use crate::model::process::{Kind, Taking};
use crate::model::scenarios::{
    ONE, PAIR, WIDE, abandoning, consumer, named, producer, recoverer, ring, rows, runs, single, stopped,
    successor,
};
use crate::model::system::Scenario;

/// Generated states after which a search for a mutation ends, which is left as soon as it is found out.
const MUTATED: usize = 1_500_000;

/// One way to misbehave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// A claim of room does not move tail behind the run.
    ClaimWithoutMovingTail,
    /// Freeing a gap that consumers have seen does not move head behind it.
    FreeGapWithoutMovingHead,
    /// Recovery does not move tail.
    RecoverWithoutMovingTail,
    /// Recovery does not move head.
    RecoverWithoutMovingHead,
    /// The first word of a batch says READY before the inner ones do.
    PublishFirstWordFirst,
    /// The publisher overwrites a late mark.
    PublishOverLateMark,
    /// Acknowledging the first item leaves the rest without a record.
    ForgetNestedRun,
    /// Recovery of a reader overlooks the unread items of its batch.
    RecoverFirstOnly,
    /// Acknowledging overwrites the word whatever it says.
    AcknowledgeBlindly,
    /// A consumer's claim overwrites the word whatever it says.
    ClaimBlindly,
    /// A returned item is claimed whatever the word says by then.
    ClaimReturnedBlindly,
    /// Recovery resolves the first word whatever it says by then.
    RecoverBlindly,
    /// Recovery does not look again whether the first word still stands.
    RecoverWithoutLookingAgain,
    /// A row is parted, and its inner words stay as they were.
    PartFirstWordOnly,
    /// An inner word of a row that is parted is overwritten whatever it says by then.
    PartBlindly,
    /// A row counts as single items from the moment at which it begins to be parted.
    PartFirstWordFirst,
    /// Acknowledging a row one by one leaves the rest without a record.
    ForgetRestOfRow,
    /// A producer renews a held word and does not keep the item's name.
    RenewWithoutName,
    /// A producer renews a held word whatever it says by then.
    RenewBlindly,
    /// This living participant is called dead.
    CallDead(u32),
}

impl Mutation {
    /// The reply to an access that misbehaves, `None` where it behaves. `inner`: whether
    /// the access leaves the place at which the operation's present round began.
    pub fn misbehave(
        self,
        kind: Kind,
        place: Place,
        access: Access,
        inner: bool,
        shared: &mut Shared,
        held_back: &mut Vec<(u8, u64)>,
    ) -> Option<u64> {
        use Access::{Exchange, Load, Store};
        use Mutation::*;
        use Place::{Head, IsDead, Tail, Word as At};
        let tag = |bits: u64| Word(bits).tag();
        match (self, kind, place, access) {
            (ClaimWithoutMovingTail, Kind::ClaimRoom, Tail, Exchange(..)) => Some(1),
            (FreeGapWithoutMovingHead, Kind::ClaimRoom, Head, Exchange(..)) => Some(1),
            (RecoverWithoutMovingTail, Kind::Recover, Tail, Exchange(..)) => Some(1),
            (RecoverWithoutMovingHead, Kind::Recover, Head, Exchange(..)) => Some(1),
            (PublishFirstWordFirst, Kind::Publish, At(slot), Store(word)) => {
                held_back.push((slot, word));
                Some(0)
            }
            (ForgetNestedRun, Kind::AcknowledgeFirst, At(_), Store(_)) => Some(0),
            (RecoverFirstOnly, Kind::Recover, At(_), Exchange(from, _))
                if inner && matches!(tag(from), Tag::Ready | Tag::ReadyRow | Tag::Free) =>
            {
                Some(1)
            }
            (PartFirstWordOnly, Kind::ClaimItems, At(_), Exchange(from, to))
                if tag(from) == Tag::Free && tag(to) == Tag::Ready =>
            {
                Some(1)
            }
            (PartBlindly, Kind::ClaimItems, At(slot), Exchange(from, to))
                if tag(from) == Tag::Free && tag(to) == Tag::Ready =>
            {
                shared.words[slot as usize] = to;
                Some(1)
            }
            (PartFirstWordFirst, Kind::ClaimItems, At(slot), Exchange(from, to))
                if tag(to) == Tag::PartingRow && shared.words[slot as usize] == from =>
            {
                shared.words[slot as usize] = from & !0xf | Tag::Ready as u64;
                Some(1)
            }
            (ForgetRestOfRow, Kind::AcknowledgeFirst, At(_), Store(word))
                if matches!(tag(word), Tag::ReadingRow | Tag::ReadingRows | Tag::Reading) =>
            {
                Some(0)
            }
            (PublishOverLateMark, Kind::Publish, At(slot), Exchange(_, new))
            | (AcknowledgeBlindly, Kind::AcknowledgeAll, At(slot), Exchange(_, new))
            | (ClaimBlindly, Kind::ClaimItems, At(slot), Exchange(_, new))
            | (ClaimReturnedBlindly, Kind::ClaimReturned, At(slot), Exchange(_, new)) => {
                shared.words[slot as usize] = new;
                Some(1)
            }
            (RecoverBlindly, Kind::Recover, At(slot), Exchange(_, new)) if !inner => {
                shared.words[slot as usize] = new;
                Some(1)
            }
            (RenewWithoutName, Kind::ClaimRoom, Place::Name(_), Exchange(..)) => Some(1),
            (RenewBlindly, Kind::ClaimRoom, At(slot), Exchange(_, new)) if tag(new) == Tag::Reading => {
                shared.words[slot as usize] = new;
                Some(1)
            }
            (CallDead(number), _, IsDead(asked), Load) if number == asked => Some(1),
            _ => None,
        }
    }
}

impl Mutation {
    /// Whether it is noticed only after most of the time that all take.
    pub fn takes_long(self) -> bool {
        use Mutation::*;
        matches!(
            self,
            AcknowledgeBlindly | CallDead(1) | ClaimBlindly | PartBlindly | RenewBlindly | RenewWithoutName
        )
    }
}

/// For each mutation the system that is to expose it.
pub fn mutated() -> Vec<Scenario> {
    use Mutation::*;
    use Taking::{AcknowledgeAll, GiveBackFirst};
    let [single, stopped, runs, rows, named] = [single(), stopped(), runs(), rows(), named()];
    let shared_item = ring(
        "an item given back, 2 consumers",
        2,
        vec![
            producer(1, &[ONE]),
            consumer(3, 2, 1, GiveBackFirst),
            consumer(4, 1, 1, AcknowledgeAll),
            recoverer(5),
        ],
    );
    let reuse = ring(
        "a reader of a batch dies, its number is used again",
        4,
        vec![
            producer(1, &[PAIR]),
            consumer(3, 1, 2, AcknowledgeAll),
            successor(consumer(3, 2, 1, AcknowledgeAll)),
            recoverer(5),
        ],
    );
    let two_readers = ring(
        "a full ring of held items",
        2,
        vec![
            producer(1, &[ONE, ONE, ONE]),
            consumer(3, 1, 1, AcknowledgeAll),
            consumer(4, 2, 1, AcknowledgeAll),
        ],
    );
    let gap = Scenario {
        crashes: 0,
        ..ring(
            "a gap of two behind a head that lags",
            4,
            vec![producer(1, &[ONE]), abandoning(2, &[WIDE]), consumer(3, 2, 1, AcknowledgeAll)],
        )
    };
    let mut scenarios = Vec::new();
    let mut add = |mutation, scenario: &Scenario| {
        scenarios.push(Scenario {
            mutation: Some(mutation),
            stop_all: false,
            limit: MUTATED,
            ..scenario.clone()
        });
    };
    add(ClaimWithoutMovingTail, &runs[3]);
    add(FreeGapWithoutMovingHead, &gap);
    add(RecoverWithoutMovingTail, &runs[3]);
    add(RecoverWithoutMovingHead, &runs[3]);
    add(PublishFirstWordFirst, &rows[3]);
    add(PublishOverLateMark, &stopped[5]);
    add(ForgetNestedRun, &runs[0]);
    add(RecoverFirstOnly, &runs[0]);
    add(AcknowledgeBlindly, &stopped[4]);
    add(ClaimBlindly, &single[1]);
    add(ClaimReturnedBlindly, &shared_item);
    add(RecoverBlindly, &single[6]);
    add(RecoverWithoutLookingAgain, &reuse);
    add(PartFirstWordOnly, &rows[0]);
    add(PartBlindly, &rows[0]);
    add(PartFirstWordFirst, &rows[0]);
    add(ForgetRestOfRow, &rows[8]);
    add(RecoverFirstOnly, &rows[6]);
    add(RenewWithoutName, &named[0]);
    add(RenewBlindly, &stopped[4]);
    add(CallDead(1), &single[0]);
    add(CallDead(3), &two_readers);
    scenarios
}
