//! A read-only handle of a ring, and the questions that it answers.

use std::cell::RefCell;
use std::sync::Arc;
#[cfg(feature = "cli")]
use std::sync::atomic::Ordering::Relaxed;

#[cfg(doc)]
use crate::handles::Ring;
use crate::layout::discipline::Discipline;
use crate::layout::head;
use crate::layout::mapping::Mapping;
use crate::layout::preamble::Preamble;
use crate::membership::memory::{self, SegmentRingCore};
use crate::membership::stream_state::StreamState;
use crate::protocol::memory::Memory;
use crate::protocol::word::{Tag, Word};
use crate::sys::fence;
use crate::sys::segment::{Attributes, NameState, Segment};
use crate::{Error, Result};

/// A ring in named shared memory, opened for observation: [`Ring::observe`] maps it for reading only. Each
/// [`Ring`] derefs to one, too.
#[derive(Debug, Clone)]
pub struct RingObserver {
    slots: Arc<SegmentRingCore>,
    preamble: Preamble,
}

impl RingObserver {
    pub(in crate::handles) fn new(segment: impl Into<Arc<Segment>>) -> Result<Self> {
        // Processes that wake others rely on this registration: see `sync`.
        fence::register();
        let (mapping, preamble) = Mapping::new(segment.into())?;
        Ok(RingObserver { slots: Arc::new(memory::observer(&mapping)?), preamble })
    }

    pub(in crate::handles) fn mapping(&self) -> &Mapping {
        &self.slots.memory().mapping
    }

    pub(in crate::handles) fn observer(&self) -> &SegmentRingCore {
        &self.slots
    }

    pub(super) fn preamble(&self) -> &Preamble {
        &self.preamble
    }

    /// The ring's name, without a slash.
    pub fn name(&self) -> &str {
        self.mapping().segment().name().as_str()
    }

    /// The ring's identity: random, and different for every ring that has had this name.
    pub fn id(&self) -> [u8; 16] {
        self.preamble.id
    }

    /// Number of slots.
    pub fn capacity(&self) -> u64 {
        self.mapping().geometry().capacity
    }

    /// Bytes of payload in a slot.
    pub fn slot_size(&self) -> u64 {
        self.mapping().geometry().slot_size
    }

    /// The length in bytes of every item, in a ring of fixed items: see
    /// [`RingOptions::fixed`](crate::RingOptions::fixed). `None`: items have lengths of their own.
    ///
    /// ```
    /// # let name = format!("doc-ring-fixed-{}", std::process::id());
    /// # use ringpipe::RingOptions;
    /// let ring = RingOptions::new().fixed(13).create(&name)?;
    /// assert_eq!((ring.fixed(), ring.slot_size(), ring.max_item()), (Some(13), 16, 13));
    /// # ring.remove()?;
    /// # Ok::<(), ringpipe::Error>(())
    /// ```
    pub fn fixed(&self) -> Option<u64> {
        Some(self.mapping().geometry().fixed).filter(|&bytes| bytes > 0)
    }

    /// Largest item in bytes: half of the slots, or the length of a fixed item.
    pub fn max_item(&self) -> u64 {
        self.mapping().geometry().max_item()
    }

    /// Whether the ring is exclusive: one producer and one consumer use it without others.
    pub fn is_exclusive(&self) -> bool {
        self.mapping().geometry().is_exclusive()
    }

    /// How producers and consumers wait for each other.
    pub fn discipline(&self) -> Discipline {
        self.mapping().geometry().discipline
    }

    /// Whether the last participant to leave removes the ring.
    pub fn is_ephemeral(&self) -> bool {
        self.mapping().geometry().is_ephemeral()
    }

    /// The stream does not end before this many producers have attached.
    pub fn expected_producers(&self) -> u32 {
        self.mapping().geometry().expected_producers
    }

    /// How the ring's producers frame their items: a word that the framing defines, 0 at first.
    #[cfg(feature = "cli")]
    pub fn framing_word(&self) -> u64 {
        // Relaxed: a producer stores it before it publishes its first item.
        self.mapping().head_word(head::FRAMING).load(Relaxed)
    }

    /// Whether the ring accepts no more items.
    pub fn is_closed(&self) -> bool {
        StreamState::read(self.mapping().head_word(head::STREAM_STATE)).is_closed()
    }

    /// Whether the ring is over: drained, ended, and only its name is left. The next process to open it removes
    /// the name.
    pub fn is_over(&self) -> bool {
        StreamState::read(self.mapping().head_word(head::STREAM_STATE)).is_retired()
    }

    /// Whether the ring has no items: none waits, none is held, and no producer that may be alive is writing one.
    /// What a dead producer had not published is not an item. Takes time in proportion to the capacity.
    pub fn is_drained(&self) -> bool {
        let slots = &self.slots;
        let is_dead = |word: Word| {
            matches!(word.tag(), Tag::Writing | Tag::Late) && slots.memory().is_dead(word.owner())
        };
        // A producer may publish after its word was read, and then die. So the word is read again.
        let unpublished = RefCell::new(Vec::new());
        let notes_dead = |word| {
            is_dead(word) && {
                unpublished.borrow_mut().push(word);
                true
            }
        };
        if slots.find_held(notes_dead).is_some() {
            return false;
        }
        let unpublished = unpublished.into_inner();
        unpublished.is_empty()
            || slots.find_held(|word| unpublished.contains(&word) && is_dead(word)).is_none()
    }

    /// Whether items carry the time of their sending.
    pub fn has_timestamps(&self) -> bool {
        self.mapping().geometry().has_timestamps()
    }

    /// The maximum number of producers and consumers at a time.
    pub fn max_participants(&self) -> u32 {
        self.mapping().geometry().participants
    }

    /// Asks the system whether the ring's memory is still complete.
    ///
    /// Some methods cannot fail, such as [`Ring::close`], [`is_drained`](Self::is_drained),
    /// [`participants`](Self::participants) or [`Ring::repair`]. They answer from what the memory contains: zeros,
    /// once it is lost. A program that survives truncation calls this after them.
    /// # Errors
    /// [`Error::Truncated`] if another program has truncated it; [`Error::Io`] when the system refuses to answer.
    pub fn check(&self) -> Result<()> {
        let segment = self.mapping().segment();
        if segment.is_lost() || segment.truncated()? { Err(Error::Truncated) } else { Ok(()) }
    }

    /// What the ring's name refers to now: this ring, nothing, or another ring.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses to answer.
    pub fn name_state(&self) -> Result<NameState> {
        self.mapping().segment().name_state()
    }

    /// Whether this process may remove the ring's name, as far as can be known without removing it.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses to answer.
    pub fn may_be_removed(&self) -> Result<bool> {
        self.mapping().segment().may_unlink()
    }

    /// The owner of the ring's memory and its permissions, as of now.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses to answer.
    pub fn attributes(&self) -> Result<Attributes> {
        self.mapping().segment().attributes()
    }
}
