//! A semaphore: for each permit, a word that says whether the permit exists and which handle holds it.

use std::cell::Cell;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::time::Duration;

use super::object::{Member, Numbers, ObjectRepair, open_or_create};
use super::options::ObjectOptions;
use super::signals::signal;
use crate::layout::mapping::Words;
use crate::layout::named::{ObjectKind, ObjectLayout, Owner, head};
use crate::membership::table::Entry;
use crate::sys::clock::Deadline;
use crate::wait::{Depth, StopFlag};
use crate::{Error, Result};

/// The word of a permit that does not exist. Any other value that is neither free nor held means the same.
const NONE: u64 = 0;
/// The word of a permit that is free to take.
const FREE: u64 = 2;

/// A counting semaphore between processes, by name. Each permit belongs to the handle that took it.
///
/// A dropped permit is given back. If its holder is killed, the next handle that waits or tries gives it
/// back. A permit that was [forgotten](Permit::forget) is used up for good, and [`release`](Self::release)
/// makes a new one: this way producers count up and consumers count down. Waiting handles get permits in no
/// particular order.
///
/// ```
/// # let name = format!("doc-semaphore-{}", std::process::id());
/// use ringpipe::sync::Semaphore;
///
/// let places = Semaphore::create(&name, 2, 2)?;  // two permits, never more
/// let first = places.acquire()?;
/// let second = places.acquire()?;
/// assert!(places.try_acquire()?.is_none());
/// drop(first);
/// assert_eq!(places.value(), 1);
/// second.forget();                               // used up
/// places.release()?;                             // and made anew
/// assert_eq!(places.value(), 2);
/// assert!(places.release().is_err());
/// places.remove()?;
/// # Ok::<(), ringpipe::Error>(())
/// ```
///
/// A handle is for one thread. Each thread opens its own:
///
/// ```compile_fail,E0277
/// fn shared(_: impl Sync) {}
/// shared(ringpipe::sync::Semaphore::open("doc-semaphore-shared").unwrap());
/// ```
#[derive(Debug)]
pub struct Semaphore {
    member: Member<SemaphoreRepair>,
    /// The index of the permit that was taken or given back last: searches begin there.
    hint: Cell<u32>,
}

impl Semaphore {
    /// Creates a semaphore with `permits` permits, and room for `most`, for this user alone (mode 0600), and
    /// attaches to it.
    ///
    /// # Errors
    /// [`Error::Name`]; [`Error::Options`] unless `most` is 1 to 4,096 and `permits` is at most `most`;
    /// [`Error::Exists`] if an object or file of this name exists; [`Error::NoSpace`].
    pub fn create(name: &str, permits: u32, most: u32) -> Result<Semaphore> {
        let geometry = geometry(permits, most)?;
        Member::create(name, ObjectOptions::new(), geometry, || initial(&geometry, permits))
            .map(Semaphore::of)
    }

    /// Attaches to the semaphore of this name.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Incompatible`] if it is not a semaphore, or one of another version, libc
    /// or word size; [`Error::Busy`] if 1,024 handles are in use.
    pub fn open(name: &str) -> Result<Semaphore> {
        Member::open(name, ObjectOptions::new(), ObjectKind::Semaphore).map(Semaphore::of)
    }

    /// Attaches to the semaphore of this name, with the permits that it has, or creates it. If several
    /// processes do so at once, one creates it.
    ///
    /// # Errors
    /// As [`create`](Self::create) and [`open`](Self::open).
    pub fn open_or_create(name: &str, permits: u32, most: u32) -> Result<Semaphore> {
        geometry(permits, most)?;
        open_or_create(|| Semaphore::open(name), || Semaphore::create(name, permits, most))
    }

    fn of(member: Member<SemaphoreRepair>) -> Semaphore {
        Semaphore { member, hint: Cell::new(0) }
    }

    /// Removes the name. Attached handles keep their semaphore; a semaphore created later under this name is
    /// a new one. Returns false if the name was gone, or belongs to a newer object.
    ///
    /// # Errors
    /// [`Error::Io`] if the system refuses.
    pub fn remove(&self) -> Result<bool> {
        self.member.remove()
    }

    /// The name, without a slash.
    pub fn name(&self) -> &str {
        self.member.name()
    }

    /// Lets `stop` end any wait of this handle with [`Error::Interrupted`], within 100 milliseconds.
    pub fn set_stop_flag(&mut self, stop: StopFlag) {
        self.member.stop = Some(stop);
    }

    /// Waits for a permit and takes it. A handle may hold several.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if the stop flag was raised; [`Error::Forked`] in a child of the process that
    /// opened it; [`Error::Damaged`] if its bytes were overwritten.
    pub fn acquire(&self) -> Result<Permit<'_>> {
        self.acquire_by(Deadline::never())
    }

    /// Waits for a permit, at most `timeout`, and takes it.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire), and [`Error::TimedOut`].
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Permit<'_>> {
        self.acquire_by(Deadline::after(timeout))
    }

    /// Takes a permit if one is free, or is held by a dead process.
    ///
    /// # Errors
    /// [`Error::Forked`] in a child of the process that opened it.
    pub fn try_acquire(&self) -> Result<Option<Permit<'_>>> {
        self.member.check_entry()?;
        let mut index = self.claim();
        if index.is_none() {
            self.member.sweep();
            index = self.claim();
        }
        self.member.check_entry()?;
        Ok(index.map(|index| self.permit(index)))
    }

    /// Makes one more permit, which any handle may take, and wakes a waiting handle.
    ///
    /// # Errors
    /// [`Error::Full`] if there are `most` permits already, held ones included; [`Error::Forked`] in a child
    /// of the process that opened it.
    pub fn release(&self) -> Result<()> {
        self.member.check_entry()?;
        let words = self.member.words();
        for index in self.all() {
            let word = words.word(words.geometry().permit(index));
            let seen = word.load(Relaxed); // Relaxed: the exchange decides.
            // P1: publishes what was written before.
            if is_none(seen) && word.compare_exchange(seen, FREE, Release, Relaxed).is_ok() {
                self.hint.set(index);
                announce(words, 1);
                return self.member.check_entry();
            }
        }
        self.member.check_entry()?;
        Err(Error::Full)
    }

    /// The number of permits that could be taken now: free ones, and those of dead holders. Changes nothing.
    pub fn value(&self) -> u32 {
        let words = self.member.words();
        let mut dead = Numbers::default();
        holders(words).iter().filter(|number| self.member.is_dead(*number)).for_each(|n| dead.insert(n));
        let can_be_taken = |index: &u32| {
            let seen = words.word(words.geometry().permit(*index)).load(Relaxed); // Relaxed: for display.
            seen == FREE || Owner::of(seen).is_some_and(|owner| dead.contains(owner.number))
        };
        self.all().filter(can_be_taken).count() as u32
    }

    /// The most permits that may exist.
    pub fn most(&self) -> u32 {
        self.member.words().geometry().limit
    }

    fn acquire_by(&self, deadline: Deadline) -> Result<Permit<'_>> {
        self.member.check_entry()?;
        if let Some(index) = self.claim() {
            self.member.check_entry()?;
            return Ok(self.permit(index));
        }
        let events = || self.member.words().word(head::EVENTS).load(Relaxed); // Relaxed: a hint.
        let known = Cell::new(events());
        let index = self.member.wait(
            &self.member.signal(),
            deadline,
            || events() != known.get(),
            |look| {
                if look == Depth::Thorough {
                    self.member.sweep_in_turn();
                }
                // Read before the search, so that a permit freed during the search is noticed afterwards.
                known.set(events());
                Ok(self.claim())
            },
        )?;
        Ok(self.permit(index))
    }

    /// The indices of all permits, beginning at the hint.
    fn all(&self) -> impl Iterator<Item = u32> {
        let (most, hint) = (self.most(), self.hint.get().min(self.most()));
        (hint..most).chain(0..hint)
    }

    /// Takes a permit if there is one.
    fn claim(&self) -> Option<u32> {
        let words = self.member.words();
        let taken = self.all().find(|index| {
            // Relaxed: the exchange decides.
            words.word(words.geometry().permit(*index)).load(Relaxed) == FREE && self.take_free(*index)
        });
        if let Some(index) = taken {
            self.hint.set(index);
        }
        taken
    }

    /// Takes a permit that was free, unless its word has changed.
    fn take_free(&self, index: u32) -> bool {
        let word = self.member.words().word(self.member.words().geometry().permit(index));
        // P1: see what was done before the permit was freed. P4: publishes the owner.
        word.compare_exchange(FREE, self.member.me.word(), AcqRel, Relaxed).is_ok()
    }

    fn permit(&self, index: u32) -> Permit<'_> {
        self.member.guard_made();
        Permit { semaphore: self, index }
    }

    /// Gives a permit back (`FREE`), or uses it up (`NONE`).
    fn put(&self, index: u32, value: u64) {
        let words = self.member.words();
        let word = words.word(words.geometry().permit(index));
        // P1: publishes what was done while it was held. Relaxed: on failure the word was overwritten, and is
        // not ours.
        let put = word.compare_exchange(self.member.me.word(), value, Release, Relaxed).is_ok();
        if put && value == FREE {
            self.hint.set(index);
            announce(words, 1);
        }
    }
}

fn geometry(permits: u32, most: u32) -> Result<ObjectLayout> {
    if permits > most {
        let text = format!("bad number of permits {permits}: expected 0 to {most}, the most there may be");
        return Err(Error::Options(text.into()));
    }
    ObjectLayout::new(ObjectKind::Semaphore, most)
}

fn initial(geometry: &ObjectLayout, permits: u32) -> Vec<(u64, u64)> {
    (0..permits).map(|index| (geometry.permit(index), FREE)).collect()
}

/// A held permit of a semaphore. Dropping it gives it back and wakes a waiting handle.
///
/// A permit stays in the thread of its handle:
///
/// ```compile_fail,E0277
/// fn goes(_: impl Send) {}
/// # fn check(permit: ringpipe::sync::Permit<'static>) {
/// goes(permit);
/// # }
/// ```
///
/// and does not outlive it:
///
/// ```compile_fail,E0597
/// let permit = {
///     let semaphore = ringpipe::sync::Semaphore::open("doc-permit-outlived").unwrap();
///     semaphore.acquire().unwrap()
/// };
/// ```
#[derive(Debug)]
#[must_use = "dropping the permit gives it back"]
pub struct Permit<'a> {
    semaphore: &'a Semaphore,
    index: u32,
}

impl Permit<'_> {
    /// Uses the permit up: there is one less from now on, until a handle [releases](Semaphore::release) a new
    /// one. If the process dies before this returns, the permit is given back. Work that was done before this
    /// call is then done once more, and none is lost.
    ///
    /// ```
    /// # let name = format!("doc-permit-{}", std::process::id());
    /// use ringpipe::sync::Semaphore;
    /// let items = Semaphore::create(&name, 0, 100)?;
    /// items.release()?;                        // the producer: an item is there
    /// let item = items.acquire()?;             // the consumer: it is mine
    /// item.forget();                           // and done with
    /// assert!(items.try_acquire()?.is_none());
    /// items.remove()?;
    /// # Ok::<(), ringpipe::Error>(())
    /// ```
    pub fn forget(self) {
        if self.semaphore.member.check().is_ok() {
            // The drop that follows finds that the permit is no longer held.
            self.semaphore.put(self.index, NONE);
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        // In a forked child the permit still belongs to the parent.
        if self.semaphore.member.check().is_ok() {
            self.semaphore.put(self.index, FREE);
            self.semaphore.member.guard_done();
        }
    }
}

/// Whether the permit does not exist; also true for values that no process writes.
fn is_none(word: u64) -> bool {
    word != FREE && Owner::of(word).is_none()
}

/// Announces that `count` more permits are free, and wakes as many handles.
fn announce(words: &Words, count: u64) {
    // Relaxed: a hint; a handle that sees it reads the permits' words.
    words.word(head::EVENTS).fetch_add(1, Relaxed);
    signal(words).notify(count);
}

/// Recovery of a semaphore.
#[derive(Debug)]
struct SemaphoreRepair;

impl ObjectRepair for SemaphoreRepair {
    fn repair(words: &Words, dead: &Entry<'_>) {
        repair(words, dead.number, || dead.stands());
    }

    fn suspects(words: &Words) -> Numbers {
        holders(words)
    }
}

/// The participants that hold permits.
fn holders(words: &Words) -> Numbers {
    let mut numbers = Numbers::default();
    for index in 0..words.geometry().limit {
        // Relaxed: the word is read again before anything is changed.
        if let Some(owner) = Owner::of(words.word(words.geometry().permit(index)).load(Relaxed)) {
            numbers.insert(owner.number);
        }
    }
    numbers
}

/// Gives back the permits of a dead holder.
fn repair(words: &Words, number: u32, stands: impl Fn() -> bool) {
    let mut freed = 0;
    for index in 0..words.geometry().limit {
        let word = words.word(words.geometry().permit(index));
        let seen = word.load(Acquire); // P4: before the check of the entry.
        if Owner::of(seen).is_some_and(|owner| owner.number == number) && stands() {
            // P1: publishes, like a release, what the dead holder did. Relaxed: on failure another process
            // freed it.
            freed += u64::from(word.compare_exchange(seen, FREE, AcqRel, Relaxed).is_ok());
        }
    }
    if freed > 0 {
        announce(words, freed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::tests::{dead, get, set, sleeping};
    use crate::sys::testing::TestName;

    #[test]
    fn a_permit_that_another_handle_has_taken_is_not_taken_again() {
        let name = TestName::new();
        let semaphore = Semaphore::create(name.0.as_str(), 2, 3).unwrap();
        let words = semaphore.member.words();
        let other = Owner { number: 1, serial: 9 }.word();
        for there in [other, NONE] {
            set(words, words.geometry().permit(1), there);
            assert!(!semaphore.take_free(1));
            assert_eq!(get(words, words.geometry().permit(1)), there);
        }
    }

    #[test]
    fn each_permit_that_becomes_free_is_announced_and_wakes_one_handle() {
        let name = TestName::new();
        let semaphore = Semaphore::create(name.0.as_str(), 1, 2).unwrap();
        let words = semaphore.member.words();
        let (dead, permit) = (dead(words, 5), semaphore.acquire().unwrap());
        let told = || (get(words, head::EVENTS), words.semaphore().value());
        sleeping(words, 1);
        semaphore.release().unwrap();
        assert_eq!(told(), (1, 1), "made");
        sleeping(words, 1);
        drop(permit);
        assert_eq!(told(), (2, 2), "given back");
        set(words, words.geometry().permit(0), dead.word());
        sleeping(words, 1);
        repair(words, 6, || true);
        repair(words, 5, || false);
        assert_eq!(told(), (2, 2), "nobody's");
        repair(words, 5, || true);
        assert_eq!(told(), (3, 3), "of the dead");
    }
}
