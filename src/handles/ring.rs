//! The handle of a ring: opens, attaches, closes, repairs and removes it.

use std::ops::Deref;
use std::sync::Arc;
#[cfg(feature = "cli")]
use std::sync::atomic::Ordering::Relaxed;

use super::{Consumer, Liveness, Producer, RingObserver};
use crate::layout::geometry::Geometry;
use crate::layout::head;
use crate::layout::mapping::Mapping;
use crate::layout::preamble::{MAGIC, Preamble};
use crate::membership::stream_end;
use crate::membership::stream_state::StreamState;
use crate::membership::{Repaired, recovery};
use crate::sys::name::RingName;
use crate::sys::owners::Owners;
use crate::sys::segment::{self, NameState, Segment};
use crate::sys::{abi, clock, process};
use crate::{Error, Result};

/// An open ring in named shared memory. Attach to it with [`producer`](Self::producer) and
/// [`consumer`](Self::consumer), or observe it with the methods of [`RingObserver`], which it derefs to. Dropping
/// it does not change the ring.
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
    /// Its segment is mapped for writing.
    observer: RingObserver,
    death_watch: bool,
}

impl Deref for Ring {
    type Target = RingObserver;

    fn deref(&self) -> &RingObserver {
        &self.observer
    }
}

impl Ring {
    /// Opens the ring of this name if it belongs to the user of this process or to root.
    /// [`RingOptions::owners`](crate::RingOptions::owners) accepts other users' rings.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none; [`Error::Untrusted`] if it belongs to another user;
    /// [`Error::Incompatible`] if the name belongs to another kind of object, or to a ring of another version,
    /// libc or processor; [`Error::Damaged`] if its geometry contradicts itself.
    pub fn open(name: &str) -> Result<Ring> {
        Ring::open_of(name, Owners::Own)
    }

    pub(super) fn open_of(name: &str, owners: Owners) -> Result<Ring> {
        let name = RingName::parse(name)?;
        let ring = Ring::look_of(&name, owners)?;
        if StreamState::read(ring.mapping().head_word(head::STREAM_STATE)).is_retired() {
            if ring.mapping().segment().may_unlink()? {
                ring.mapping().segment().unlink()?;
                return Err(Error::NotFound(name.as_str().into()));
            }
            // The process that retired the ring died before it removed the name, or is about to remove it. No
            // process is attached to a retired ring, so the ring can continue where it stopped.
            ring.reinstate()?;
        }
        Ok(ring)
    }

    /// Opens the ring of this name as it is. Unlike [`open`](Self::open), it leaves a retired ring retired: one
    /// that is over, with only its name left (see [`is_over`](RingObserver::is_over)).
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn look(name: &RingName) -> Result<Ring> {
        Ring::look_of(name, Owners::Own)
    }

    pub(super) fn look_of(name: &RingName, owners: Owners) -> Result<Ring> {
        Ring::new(Segment::open(name, owners)?)
    }

    /// Opens the ring of this name for observation only, whatever its owner. Its memory is mapped for reading
    /// only, and read permission is enough.
    ///
    /// ```
    /// # let name = format!("doc-observe-{}", std::process::id());
    /// # let ring = ringpipe::RingOptions::new().mode(0o644).create(&name)?;
    /// # let name = ringpipe::RingName::parse(&name)?;
    /// let seen = ringpipe::Ring::observe(&name)?;
    /// assert_eq!(seen.snapshot()?.ready, 0);
    /// # ring.remove()?;
    /// # Ok::<(), ringpipe::Error>(())
    /// ```
    ///
    /// It has no methods that change a ring:
    ///
    /// ```compile_fail
    /// fn closes(seen: ringpipe::RingObserver) {
    ///     seen.close();
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`open`](Self::open), except [`Error::Untrusted`].
    pub fn observe(name: &RingName) -> Result<RingObserver> {
        RingObserver::new(Segment::observe(name)?)
    }

    /// Undoes the retirement, unless the process that retired the ring has removed the name.
    fn reinstate(&self) -> Result<()> {
        let segment = self.mapping().segment();
        segment.between_removals(|| match segment.name_state()? {
            NameState::Current => {
                StreamState::reinstate(self.mapping().head_word(head::STREAM_STATE));
                Ok(())
            }
            _ => Err(Error::NotFound(self.name().into())),
        })?
    }

    /// The names of all rings in shared memory, sorted, including rings that are over. It never waits, and does
    /// not touch other programs' objects.
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
        let mut names = Vec::new();
        for name in segment::list_names()? {
            if segment::first_word(&name)? == Some(MAGIC) {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Removes the name of a ring that cannot be opened: its creator died, or it is damaged or of another version.
    /// False: another process removed it.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Incompatible`] for any other object, which stays.
    pub fn remove_leftover(name: &RingName) -> Result<bool> {
        segment::remove_leftover(name, MAGIC)
    }

    pub(super) fn create(name: &RingName, geometry: &Geometry, mode: u32) -> Result<Ring> {
        let preamble = Preamble::new(geometry, abi::TAG, process::id(), clock::realtime_ns());
        let segment = Mapping::create(name, geometry.size, mode, &preamble)?;
        let segment = Arc::new(segment);
        Ring::new(Arc::clone(&segment)).inspect_err(|_| {
            // After a failed creation no ring may exist. The caller gets the first error, so this one is ignored.
            let _ = segment.unlink();
        })
    }

    /// Removes the name of the ring of this name, if that ring is over. False: the name belongs to another
    /// ring.
    pub(super) fn clear_retired(name: &RingName, owners: Owners) -> Result<bool> {
        match Ring::open_of(&name.os_id(), owners) {
            Err(Error::NotFound(_)) => Ok(true),
            _ => Ok(false),
        }
    }

    fn new(segment: impl Into<Arc<Segment>>) -> Result<Ring> {
        Ok(Ring { observer: RingObserver::new(segment)?, death_watch: true })
    }

    /// Records how a producer's items are framed: `with` computes the new word from the current one.
    #[cfg(feature = "cli")]
    pub fn tell_framing(&self, with: impl Fn(u64) -> u64) {
        // Relaxed: stored before the first item is published.
        let _ =
            self.mapping().head_word(head::FRAMING).fetch_update(Relaxed, Relaxed, |word| Some(with(word)));
    }

    /// Attaches a producer.
    ///
    /// # Errors
    /// [`Error::Closed`] if the ring accepts no more items; [`Error::Busy`] if there is no place for it;
    /// [`Error::NotFound`] if the last participant has just removed the ring.
    pub fn producer(&self) -> Result<Producer> {
        Producer::attach(self.mapping(), self.death_watch)
    }

    /// Attaches a consumer.
    ///
    /// # Errors
    /// [`Error::Busy`] if there is no place for it; [`Error::NotFound`] if the last participant has just removed
    /// the ring.
    pub fn consumer(&self) -> Result<Consumer> {
        Consumer::attach(self.mapping(), self.death_watch)
    }

    /// Whether producers and consumers that attach through this handle from now on may watch for deaths. The
    /// default is `true`.
    ///
    /// A participant that waits, has been attached for 20 milliseconds, and finds too few others watching, starts
    /// a thread. The thread sleeps until the process of another participant ends, and returns the items that it
    /// held for redelivery within a millisecond. Without such a thread this happens at the next end of some
    /// participant's slice of 20 to 80 milliseconds. At most one thread per process watches, and two processes for
    /// each 64 participants of a ring. The thread ends with its producer or consumer, and no signal is delivered
    /// to it. It has up to 67 descriptors open, one for each participant that it watches.
    pub fn set_death_watch(&mut self, on: bool) {
        self.death_watch = on;
    }

    /// Closes the ring: producers get [`Error::Closed`]; consumers receive the remaining items and then
    /// [`Error::Ended`]. False: it was closed already.
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
    /// In an exclusive ring, an item that is sent at this very moment may remain for the next consumer.
    pub fn close(&self) -> bool {
        let closed = StreamState::close(self.mapping().head_word(head::STREAM_STATE));
        self.observer().memory().announce_event();
        closed
    }

    /// Closes the ring and removes its name. Attached participants keep the memory and finish. False: the name was
    /// gone, or belongs to another ring by now. If the process dies, or the system refuses the last step, a closed
    /// ring remains, which can be removed again.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses.
    pub fn remove(&self) -> Result<bool> {
        let segment = self.mapping().segment();
        // A process that may not remove the name does not close the ring. One that may remove it closes it first,
        // while no other process removes it. So a death between the two steps leaves a closed ring under its name,
        // not an open ring without one.
        let removed = match segment.name_state()? == NameState::Current && segment.may_unlink()? {
            true => segment.unlink_if(
                || {
                    self.close();
                    true
                },
                || {},
            )?,
            false => segment.unlink()?,
        };
        self.close();
        Ok(removed)
    }

    /// Whether the name no longer refers to this ring. A ring is closed before its name is removed: if it is closed, this
    /// waits for a removal in progress, at most a second.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses; [`Error::Busy`] if a removal does not end.
    pub fn is_removed(&self) -> Result<bool> {
        let segment = self.mapping().segment();
        let state = match self.is_closed() {
            true => segment.between_removals(|| segment.name_state())??,
            false => segment.name_state()?,
        };
        Ok(state != NameState::Current)
    }

    /// Removes the ring unless a live participant is attached or, without `with_items`, an item is in it. False:
    /// it stays. A process that attaches at the same moment either keeps the ring, or gets [`Error::NotFound`].
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses; [`Error::Truncated`].
    pub fn remove_if_deserted(&self, with_items: bool) -> Result<bool> {
        let word = self.mapping().head_word(head::STREAM_STATE);
        // A participant that attaches after this read is counted, and then the ring is not retired.
        let stream = StreamState::read(word);
        let deserted = self.participants().iter().all(|one| one.liveness == Liveness::Dead);
        if !deserted || !(with_items || self.is_drained()) {
            return Ok(false);
        }
        // Lost memory reads as a ring without participants and items.
        if self.mapping().segment().is_lost() {
            return Err(Error::Truncated);
        }
        stream_end::retire(self.mapping(), stream)
    }

    /// Recovers dead participants: frees their numbers, gives up their incomplete items, and returns the items
    /// that they held for redelivery. Waiting participants do the same; call this when no participant waits.
    pub fn repair(&self) -> Repaired {
        recovery::reap_all(self.observer())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use crate::handles::testing::ring;

    #[test]
    fn a_ring_that_is_closed_by_its_removal_is_removed_for_each_process_that_sees_it_closed() {
        let (_name, ring) = ring(Default::default());
        let remover = ring.clone();
        let (closed, sees_it) = mpsc::channel();
        let removing = thread::spawn(move || {
            let close = || {
                remover.close();
                closed.send(()).unwrap();
                thread::sleep(Duration::from_millis(50));
                true
            };
            remover.mapping().segment().unlink_if(close, || {}).unwrap()
        });
        sees_it.recv().unwrap();
        assert!(ring.is_closed() && ring.is_removed().unwrap());
        assert!(removing.join().unwrap());
    }
}
