//! A semaphore: a word for each permit that says whether there is one, and who has it.

use std::cell::Cell;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::time::Duration;

use super::{Member, Numbers, Object, Owner, signal};
use crate::layout::named::{Geometry, Kind, head};
use crate::layout::view::Words;
use crate::sync::{Look, StopFlag};
use crate::sys::clock::Deadline;
use crate::{Error, Result};

/// The word of a permit that there is not: neither this nor held is anything else.
const NONE: u64 = 0;
/// The word of a permit that anybody may take.
const FREE: u64 = 2;

/// A counting semaphore between processes, by name, whose permits belong to who took them.
///
/// A permit that is dropped is given back; one whose holder is killed is given back by the next who waits or
/// looks. One that was [forgotten](Permit::forget) is used up for good, and
/// [`release`](Self::release) makes a new one: so producers count up what consumers count down. There is no order among those
/// who wait.
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
/// One handle is for one thread: each opens its own.
///
/// ```compile_fail,E0277
/// fn shared(_: impl Sync) {}
/// shared(ringpipe::sync::Semaphore::open("doc-semaphore-shared").unwrap());
/// ```
#[derive(Debug)]
pub struct Semaphore {
    member: Member,
    /// Where the last permit was found or left.
    hint: Cell<u32>,
}

impl Semaphore {
    /// Makes a semaphore with `permits` permits, and room for `most`, for this user alone (mode 0600), and
    /// attaches to it.
    ///
    /// # Errors
    /// [`Error::Name`]; [`Error::Options`] unless `most` is 1 to 4,096 and `permits` no more than that;
    /// [`Error::Exists`] when the name is taken, by whatever; [`Error::NoSpace`].
    pub fn create(name: &str, permits: u32, most: u32) -> Result<Semaphore> {
        let geometry = geometry(permits, most)?;
        Semaphore::attach(Object::create(name, geometry, || initial(&geometry, permits))?)
    }

    /// Attaches to the semaphore of this name.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Incompatible`] for what is no semaphore of this kind, or one of another
    /// version, libc or word size; [`Error::Busy`] when 1,024 handles are in use.
    pub fn open(name: &str) -> Result<Semaphore> {
        Semaphore::attach(Object::open(name, Kind::Semaphore)?)
    }

    /// Attaches to the semaphore of this name, with whatever permits it has, or makes it. Of several that do
    /// so at once, one makes it.
    ///
    /// # Errors
    /// As [`create`](Self::create) and [`open`](Self::open).
    pub fn open_or_create(name: &str, permits: u32, most: u32) -> Result<Semaphore> {
        let geometry = geometry(permits, most)?;
        Semaphore::attach(Object::open_or_create(name, geometry, || initial(&geometry, permits))?)
    }

    fn attach(object: Object) -> Result<Semaphore> {
        Ok(Semaphore { member: Member::join(object)?, hint: Cell::new(0) })
    }

    /// Removes the name. Those attached keep their semaphore; who makes another one of this name has another
    /// one. False: the name was gone, or stands for something newer.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses.
    pub fn remove(&self) -> Result<bool> {
        self.member.object.remove()
    }

    /// The name, without a slash.
    pub fn name(&self) -> &str {
        self.member.object.name()
    }

    /// Lets `stop` end any wait of this handle with [`Error::Interrupted`], within 100 milliseconds.
    pub fn set_stop_flag(&mut self, stop: StopFlag) {
        self.member.stop = Some(stop);
    }

    /// Takes a permit, and waits for it. A handle may hold several.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when the stop flag was raised; [`Error::Forked`] in a child of the process that
    /// opened it; [`Error::Damaged`] when its bytes were overwritten.
    pub fn acquire(&self) -> Result<Permit<'_>> {
        self.acquire_by(Deadline::never())
    }

    /// Takes a permit, and waits for it at most `timeout`.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire), and [`Error::TimedOut`].
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Permit<'_>> {
        self.acquire_by(Deadline::after(timeout))
    }

    /// Takes a permit if there is one that is free, or held by a process that is dead.
    ///
    /// # Errors
    /// [`Error::Forked`] in a child of the process that opened it.
    pub fn try_acquire(&self) -> Result<Option<Permit<'_>>> {
        self.member.object.check()?;
        let mut index = self.claim();
        if index.is_none() {
            self.member.sweep();
            index = self.claim();
        }
        self.member.object.check()?;
        Ok(index.map(|index| self.permit(index)))
    }

    /// Makes one more permit, which anybody may take, and wakes one who waits.
    ///
    /// # Errors
    /// [`Error::Full`] when there are as many as there may be, held ones included; [`Error::Forked`] in a
    /// child of the process that opened it.
    pub fn release(&self) -> Result<()> {
        self.member.object.check()?;
        let words = self.member.words();
        for index in self.all() {
            let word = words.word(words.geometry().permit(index));
            let seen = word.load(Relaxed); // Relaxed: the exchange decides.
            // P1: hands over what was written before.
            if is_none(seen) && word.compare_exchange(seen, FREE, Release, Relaxed).is_ok() {
                self.hint.set(index);
                announce(words, 1);
                return self.member.object.check();
            }
        }
        self.member.object.check()?;
        Err(Error::Full)
    }

    /// Permits that could be taken now: free ones, and those of the dead. Looking changes nothing.
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

    /// Most permits that there may be.
    pub fn most(&self) -> u32 {
        self.member.words().geometry().permits
    }

    fn acquire_by(&self, deadline: Deadline) -> Result<Permit<'_>> {
        self.member.object.check()?;
        if let Some(index) = self.claim() {
            self.member.object.check()?;
            return Ok(self.permit(index));
        }
        let news = || self.member.words().word(head::NEWS).load(Relaxed); // Relaxed: a hint.
        let known = Cell::new(news());
        let index = self.member.wait(
            &self.member.object.signal(),
            deadline,
            || news() != known.get(),
            |look| {
                if look == Look::Thorough {
                    self.member.sweep_in_turn();
                }
                // Before the look: what comes later is news.
                known.set(news());
                Ok(self.claim())
            },
        )?;
        Ok(self.permit(index))
    }

    /// All permits there may be, from the hint on.
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

    /// Takes a permit that was free; not if it changed.
    fn take_free(&self, index: u32) -> bool {
        let word = self.member.words().word(self.member.words().geometry().permit(index));
        // P1: what was handed over. P4: whose it is.
        word.compare_exchange(FREE, self.member.me.word(), AcqRel, Relaxed).is_ok()
    }

    fn permit(&self, index: u32) -> Permit<'_> {
        self.member.guard_made();
        Permit { semaphore: self, index }
    }

    /// Ends the holding of a permit.
    fn put(&self, index: u32, value: u64) {
        let words = self.member.words();
        let word = words.word(words.geometry().permit(index));
        // P1: hands over what was done while it was held. Relaxed: overwritten by somebody, it is not ours.
        let put = word.compare_exchange(self.member.me.word(), value, Release, Relaxed).is_ok();
        if put && value == FREE {
            self.hint.set(index);
            announce(words, 1);
        }
    }
}

fn geometry(permits: u32, most: u32) -> Result<Geometry> {
    if permits > most {
        let text = format!("bad number of permits {permits}: expected 0 to {most}, the most there may be");
        return Err(Error::Options(text.into()));
    }
    Geometry::new(Kind::Semaphore, most)
}

fn initial(geometry: &Geometry, permits: u32) -> Vec<(u64, u64)> {
    (0..permits).map(|index| (geometry.permit(index), FREE)).collect()
}

/// One of a semaphore's permits, held; dropping it gives it back and wakes one who waits.
///
/// It stays in the thread of its handle:
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
    /// Uses the permit up: there is one less from then on, until somebody [releases](Semaphore::release) a new
    /// one. Until this returns, a death gives the permit back: work that is done before it is done once
    /// more, and none is lost.
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
        if self.semaphore.member.object.check().is_ok() {
            // The drop that follows finds that it is no longer held.
            self.semaphore.put(self.index, NONE);
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        // In a child of the process that took it, it is the parent's still.
        if self.semaphore.member.object.check().is_ok() {
            self.semaphore.put(self.index, FREE);
            self.semaphore.member.guard_done();
        }
    }
}

/// Whether a word says that there is no permit, or what nobody writes.
fn is_none(word: u64) -> bool {
    word != FREE && Owner::of(word).is_none()
}

/// Says that there are `count` more to take, and wakes as many.
fn announce(words: &Words, count: u64) {
    // Relaxed: a hint; who sees it looks at the words.
    words.word(head::NEWS).fetch_add(1, Relaxed);
    signal(words).notify(count);
}

/// Who holds permits.
pub(super) fn holders(words: &Words) -> Numbers {
    let mut numbers = Numbers::default();
    for index in 0..words.geometry().permits {
        // Relaxed: looked at again before anything is changed.
        if let Some(owner) = Owner::of(words.word(words.geometry().permit(index)).load(Relaxed)) {
            numbers.insert(owner.number);
        }
    }
    numbers
}

/// Gives back what a dead holder had.
pub(super) fn repair(words: &Words, number: u32, stands: &dyn Fn() -> bool) {
    let mut freed = 0;
    for index in 0..words.geometry().permits {
        let word = words.word(words.geometry().permit(index));
        let seen = word.load(Acquire); // P4: before the look at the entry.
        if Owner::of(seen).is_some_and(|owner| owner.number == number) && stands() {
            // P1: as a release, of what the dead did. Relaxed: another did it.
            freed += u64::from(word.compare_exchange(seen, FREE, AcqRel, Relaxed).is_ok());
        }
    }
    if freed > 0 {
        announce(words, freed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{dead, get, set, sleeping};
    use super::*;
    use crate::sys::testing::TestName;

    #[test]
    fn a_permit_that_was_taken_meanwhile_is_not_taken_again() {
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
    fn each_permit_that_becomes_free_is_news_and_wakes_one() {
        let name = TestName::new();
        let semaphore = Semaphore::create(name.0.as_str(), 1, 2).unwrap();
        let words = semaphore.member.words();
        let (dead, permit) = (dead(words, 5), semaphore.acquire().unwrap());
        let told = || (get(words, head::NEWS), words.semaphore().value());
        sleeping(words, 1);
        semaphore.release().unwrap();
        assert_eq!(told(), (1, 1), "made");
        sleeping(words, 1);
        drop(permit);
        assert_eq!(told(), (2, 2), "given back");
        set(words, words.geometry().permit(0), dead.word());
        sleeping(words, 1);
        repair(words, 6, &|| true);
        repair(words, 5, &|| false);
        assert_eq!(told(), (2, 2), "nobody's");
        repair(words, 5, &|| true);
        assert_eq!(told(), (3, 3), "of the dead");
    }
}
