//! Memories that misbehave in one way: each stands for a step that the protocol could have got wrong.

use ringpipe::ring::word::{Tag, Word};

use crate::memory::{Access, Place, Shared};
use crate::process::Kind;

/// One way to misbehave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Who claims room does not help tail over the run.
    ClaimWithoutHelpingTail,
    /// Recovery does not help tail.
    RecoverWithoutHelpingTail,
    /// Recovery does not help head.
    RecoverWithoutHelpingHead,
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
    /// A producer renews a held word whatever it says by then.
    RenewBlindly,
    /// This living participant is called dead.
    CallDead(u32),
}

impl Mutation {
    /// The reply to an access that misbehaves, `None` where it behaves. `last` is the reply before, and
    /// `inner` whether the access leaves the place at which the operation's present round began.
    #[allow(clippy::too_many_arguments)]
    pub fn misbehave(
        self,
        kind: Kind,
        place: Place,
        access: Access,
        last: u64,
        inner: bool,
        shared: &mut Shared,
        held_back: &mut Vec<(u8, u64)>,
    ) -> Option<u64> {
        use Access::{Exchange, Load, Store};
        use Mutation::*;
        use Place::{Head, IsDead, Tail, Word as At};
        let tag = |bits: u64| Word(bits).tag();
        match (self, kind, place, access) {
            (ClaimWithoutHelpingTail, Kind::ClaimRoom, Tail, Exchange(..)) if last == 1 => Some(1),
            (RecoverWithoutHelpingTail, Kind::Recover, Tail, Exchange(..)) => Some(1),
            (RecoverWithoutHelpingHead, Kind::Recover, Head, Exchange(..)) => Some(1),
            (PublishFirstWordFirst, Kind::Publish, At(slot), Store(word)) => {
                held_back.push((slot, word));
                Some(0)
            }
            (ForgetNestedRun, Kind::AcknowledgeFirst, At(_), Store(_)) => Some(0),
            (RecoverFirstOnly, Kind::Recover, At(_), Exchange(from, _))
                if inner && tag(from) == Tag::Ready =>
            {
                Some(1)
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
            (RenewBlindly, Kind::ClaimRoom, At(slot), Exchange(_, new)) if tag(new) == Tag::Reading => {
                shared.words[slot as usize] = new;
                Some(1)
            }
            (CallDead(number), _, IsDead(asked), Load) if number == asked => Some(1),
            _ => None,
        }
    }
}
