//! The ring as a thing with a name.

use std::sync::Arc;

use super::burial::{self, Buried};
use super::door::Door;
use super::memory::SegmentSlots;
use super::participant;
use super::{Consumer, Liveness, Producer, RingOptions};
use crate::layout::discipline::Discipline;
use crate::layout::fields::head;
use crate::layout::geometry::{Geometry, MAGIC, Preamble};
use crate::layout::view::View;
use crate::sys::name::RingName;
use crate::sys::segment::{self, NameState, Segment};
use crate::sys::{abi, clock, fence, process};
use crate::{Error, Result};

/// A ring in named shared memory, opened: attach to it with [`producer`](Self::producer) and
/// [`consumer`](Self::consumer), or look at it. Dropping it changes nothing.
///
/// ```
/// # let name = format!("doc-ring-{}", std::process::id());
/// use ringpipe::{Ring, RingOptions};
/// let ring = RingOptions::new().capacity(8).create(&name)?;
/// let same = Ring::open(&name)?;
/// assert_eq!(ring.id(), same.id());
/// ring.remove()?;
/// assert!(Ring::open(&name).is_err());
/// # Ok::<(), ringpipe::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Ring {
    observer: Arc<SegmentSlots>,
    preamble: Preamble,
    death_watch: bool,
}

impl Ring {
    /// Options for a new ring.
    pub fn options() -> RingOptions {
        RingOptions::new()
    }

    /// Opens the ring of this name.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none; [`Error::Incompatible`] if the name belongs to something else
    /// or to a ring of another version, libc or processor; [`Error::Damaged`] if its geometry contradicts
    /// itself.
    pub fn open(name: &str) -> Result<Ring> {
        let name = RingName::parse(name)?;
        let ring = Ring::new(Arc::new(Segment::open(&name)?))?;
        if Door::read(ring.view().head_word(head::DOOR)).is_retired() {
            ring.view().segment().unlink()?;
            return Err(Error::NotFound(name.as_str().into()));
        }
        Ok(ring)
    }

    /// Opens the ring of this name to look at it. Unlike [`open`](Self::open) it leaves a ring that
    /// is over, of which only the name is left, as it is: see [`is_over`](Self::is_over).
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn look(name: &RingName) -> Result<Ring> {
        Ring::new(Arc::new(Segment::open(name)?))
    }

    /// The names of all rings in shared memory, sorted, those that are over included. It does not
    /// wait for anything, and leaves objects of other programs alone.
    ///
    /// ```
    /// # let name = format!("doc-names-{}", std::process::id());
    /// # let ring = ringpipe::RingOptions::new().create(&name)?;
    /// assert!(ringpipe::Ring::names()?.iter().any(|found| found.as_str() == name));
    /// # ring.remove()?;
    /// # Ok::<(), ringpipe::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses to list them.
    pub fn names() -> Result<Vec<RingName>> {
        let mut names = segment::list_names()?;
        names.retain(|name| segment::first_word(name) == Some(MAGIC));
        Ok(names)
    }

    /// Removes what is left under a name of a ring that cannot be opened: one whose creator died, or one
    /// that is damaged or of another version. False: somebody else did.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Incompatible`] if it is anything else, which then stays.
    pub fn remove_leftover(name: &RingName) -> Result<bool> {
        segment::remove_leftover(name, MAGIC)
    }

    pub(super) fn create(name: &RingName, geometry: &Geometry, mode: u32) -> Result<Ring> {
        let preamble = Preamble::new(geometry, abi::TAG, process::id(), clock::realtime_ns());
        let segment =
            Segment::create(name, geometry.size, mode, |base, _| View::initialise(base, &preamble))?;
        let segment = Arc::new(segment);
        Ring::new(Arc::clone(&segment)).inspect_err(|_| {
            // Whoever hears that no ring was made finds none. What failed before is what the caller hears of.
            let _ = segment.unlink();
        })
    }

    /// Removes a ring of this name that is over, and only its name is left. False: there is another.
    pub(super) fn clear_retired(name: &RingName) -> Result<bool> {
        match Ring::open(name.as_str()) {
            Err(Error::NotFound(_)) => Ok(true),
            _ => Ok(false),
        }
    }

    fn new(segment: Arc<Segment>) -> Result<Ring> {
        // Whoever wakes others relies on it: see `sync`.
        fence::register();
        let (view, preamble) = View::new(segment)?;
        Ok(Ring { observer: Arc::new(participant::observer(&view)?), preamble, death_watch: true })
    }

    pub(super) fn view(&self) -> &View {
        &self.observer.memory().view
    }

    pub(super) fn observer(&self) -> &SegmentSlots {
        &self.observer
    }

    pub(super) fn preamble(&self) -> &Preamble {
        &self.preamble
    }

    /// Attaches a producer.
    ///
    /// # Errors
    /// [`Error::Closed`] if the ring takes no more items; [`Error::Busy`] if there is no place for it;
    /// [`Error::NotFound`] if the ring was just removed by the last one out.
    pub fn producer(&self) -> Result<Producer> {
        Producer::attach(self.view(), self.death_watch)
    }

    /// Attaches a consumer.
    ///
    /// # Errors
    /// [`Error::Busy`] if there is no place for it; [`Error::NotFound`] if the ring was just removed by
    /// the last one out.
    pub fn consumer(&self) -> Result<Consumer> {
        Consumer::attach(self.view(), self.death_watch)
    }

    /// Whether producers and consumers that are attached through this handle from now on may watch for
    /// deaths: they do, unless this says `false`.
    ///
    /// One that waits, has been there for 20 milliseconds, and finds too few others watching, starts a thread
    /// that sleeps until the process of another participant is gone, and has what the dead held delivered again
    /// at once: within a millisecond, where otherwise it is the next end of somebody's slice of 20 to 80
    /// milliseconds. Of a process one thread watches at most, of a ring two processes for each 64 participants.
    /// It ends with its producer or consumer, and no signal is delivered to it. It has up to 67 descriptors open, one
    /// for each participant that it watches.
    pub fn set_death_watch(&mut self, on: bool) {
        self.death_watch = on;
    }

    /// The ring's name, without a slash.
    pub fn name(&self) -> &str {
        self.view().segment().name().as_str()
    }

    /// The ring's identity: random, and another one for every ring that has had its name.
    pub fn id(&self) -> [u8; 16] {
        self.preamble.id
    }

    /// Number of slots.
    pub fn capacity(&self) -> u64 {
        self.view().geometry().capacity
    }

    /// Bytes of payload in a slot.
    pub fn slot_size(&self) -> u64 {
        self.view().geometry().slot_size
    }

    /// Largest item in bytes: half of the slots.
    pub fn max_item(&self) -> u64 {
        self.view().geometry().max_item()
    }

    /// Whether one producer and one consumer have the ring to themselves.
    pub fn is_exclusive(&self) -> bool {
        self.view().geometry().is_exclusive()
    }

    /// How the two sides wait for each other.
    pub fn discipline(&self) -> Discipline {
        self.view().geometry().discipline
    }

    /// Whether the last one out removes the ring.
    pub fn is_ephemeral(&self) -> bool {
        self.view().geometry().is_ephemeral()
    }

    /// No end of stream before so many producers have come.
    pub fn expected_producers(&self) -> u32 {
        self.view().geometry().expected_producers
    }

    /// Whether the ring takes no more items.
    pub fn is_closed(&self) -> bool {
        Door::read(self.view().head_word(head::DOOR)).is_closed()
    }

    /// Whether the ring is over: drained, ended, and left with nothing but its name, which the next to
    /// open it removes.
    pub fn is_over(&self) -> bool {
        Door::read(self.view().head_word(head::DOOR)).is_retired()
    }

    /// Whether no item waits, none is held, and none is being written. Takes time in proportion to the
    /// capacity.
    pub fn is_drained(&self) -> bool {
        self.observer.find_held(|_| false).is_none()
    }

    /// Whether items carry the time at which they were sent.
    pub fn has_timestamps(&self) -> bool {
        self.view().geometry().has_timestamps()
    }

    /// Most producers and consumers at a time.
    pub fn max_participants(&self) -> u32 {
        self.view().geometry().participants
    }

    /// Whether the ring's memory is all there, as the system says now.
    ///
    /// What cannot fail, as [`close`](Self::close), [`is_drained`](Self::is_drained),
    /// [`participants`](Self::participants) or [`repair`](Self::repair), answers from what it finds: once the memory is
    /// lost, that is zeros. Who survives a truncation asks this after them.
    ///
    /// # Errors
    /// [`Error::Truncated`] if somebody has cut it short; [`Error::Io`] when the system refuses to tell.
    pub fn check(&self) -> Result<()> {
        let segment = self.view().segment();
        if segment.is_lost() || segment.truncated()? { Err(Error::Truncated) } else { Ok(()) }
    }

    /// What the ring's name stands for by now: this ring, nothing, or another ring.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses to tell.
    pub fn name_state(&self) -> Result<NameState> {
        self.view().segment().name_state()
    }

    /// Closes the ring: producers get [`Error::Closed`], consumers receive what there is and then
    /// [`Error::Ended`]. False: it was closed.
    ///
    /// ```
    /// # let name = format!("doc-close-{}", std::process::id());
    /// # let ring = ringpipe::RingOptions::new().create(&name)?;
    /// let mut producer = ring.producer()?;
    /// producer.send(b"last")?;
    /// ring.close();
    /// assert!(matches!(producer.send(b"late"), Err(ringpipe::Error::Closed)));
    /// assert_eq!(ring.consumer()?.items().count(), 1);
    /// # ring.remove()?;
    /// # Ok::<(), ringpipe::Error>(())
    /// ```
    ///
    /// On an exclusive ring an item that is sent at this very moment may stay for the next consumer.
    pub fn close(&self) -> bool {
        let closed = Door::close(self.view().head_word(head::DOOR));
        participant::tell_news(self.observer.memory());
        closed
    }

    /// Closes the ring and removes its name; those attached keep their memory and finish. False: the
    /// name was gone, or belonged to another ring by now.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses.
    pub fn remove(&self) -> Result<bool> {
        // Whoever may not remove the name does not close the ring either.
        let removed = self.view().segment().unlink()?;
        self.close();
        Ok(removed)
    }

    /// Removes the ring unless somebody alive takes part in it, or, without `with_items`, an item is in
    /// it. False: it stays. Whoever comes at the same moment either keeps the ring, or is refused with
    /// [`Error::NotFound`].
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses; [`Error::Truncated`].
    pub fn remove_if_deserted(&self, with_items: bool) -> Result<bool> {
        let word = self.view().head_word(head::DOOR);
        // Who comes after this look is counted, and then the ring is not retired.
        let door = Door::read(word);
        let deserted = self.participants().iter().all(|one| one.liveness == Liveness::Dead);
        if !deserted || !(with_items || self.is_drained()) {
            return Ok(false);
        }
        // Lost memory looks deserted.
        if self.view().segment().is_lost() {
            return Err(Error::Truncated);
        }
        if !door.is_retired() && !door.retire(word) {
            return Ok(false);
        }
        self.view().segment().unlink()
    }

    /// Buries the dead: frees their numbers, gives up what they had half written, and has what they held
    /// delivered again. Waiting participants do the same; this is for when nobody waits.
    pub fn repair(&self) -> Buried {
        burial::bury_all(&self.observer)
    }
}
