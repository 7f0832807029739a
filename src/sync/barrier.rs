//! A barrier: a lock, for each participant a word that says whether it waits, and one word that lets waits pass.
//!
//! A handle that comes takes the lock, draws a ticket, and stores it in its word. If the number of live
//! handles that wait has then reached the barrier's number, it lets them all pass by one store to
//! `head::PASSED`: each wait with a lower ticket than this word has passed. Only the lock's holder writes
//! tickets, this word, and the word of a wait that is given up. So while the holder counts, no handle comes
//! or gives up. It first reads all waits, and then asks the kernel which of their processes are alive. Each
//! handle that it counts waited, and was alive, at the moment in between.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::time::Duration;

use super::ephemeral;
use super::lock;
use super::object::{Member, Numbers, Object, ObjectRepair, open_or_create};
use super::options::ObjectOptions;
use super::signals::gate;
use crate::layout::mapping::Words;
use crate::layout::named::wait_state::{self, IDLE, is_waiting, ticket_of};
use crate::layout::named::{ObjectKind, ObjectLayout, entry, head};
use crate::membership::table::{Entry, numbers};
use crate::sys::clock::Deadline;
use crate::wait::StopFlag;
use crate::{Error, Result};

/// A barrier between processes, by name: handles wait until a number of them has come, and then all continue.
/// It can be used again and again, like Python's `threading.Barrier`.
///
/// Handles pass in groups of exactly this number, in the order in which they came. A handle whose process is killed
/// while it waits does not count, and neither does one that gives up after a timeout. A stopped process is alive and
/// counts.
///
/// ```
/// # let name = format!("doc-barrier-{}", std::process::id());
/// use ringpipe::sync::Barrier;
/// # let names = name.clone();
///
/// let mut mine = Barrier::open_or_create(&name, 2)?;
/// let other = std::thread::spawn(move || -> ringpipe::Result<bool> {     // or another process
///     # let name = names;
///     Barrier::open_or_create(&name, 2)?.wait()
/// });
/// let was_last = mine.wait()?;
/// assert_ne!(was_last, other.join().unwrap()?);      // one of them came last
/// mine.remove()?;
/// # Ok::<(), ringpipe::Error>(())
/// ```
///
/// A handle is for one thread at a time. Each thread opens its own:
///
/// ```compile_fail,E0277
/// fn shared(_: impl Sync) {}
/// shared(ringpipe::sync::Barrier::open("doc-barrier-shared").unwrap());
/// ```
#[derive(Debug)]
pub struct Barrier {
    member: Member<BarrierRepair>,
}

impl Barrier {
    /// Creates a barrier of this name for `parties` processes, for this user alone (mode 0600), and attaches to it.
    ///
    /// # Errors
    /// [`Error::Name`]; [`Error::Options`] unless `parties` is 1 to 1,024; [`Error::Exists`] if an object or file of
    /// this name exists; [`Error::NoSpace`].
    pub fn create(name: &str, parties: u32) -> Result<Barrier> {
        create(name, parties, ObjectOptions::new()).map(|member| Barrier { member })
    }

    /// Attaches to the barrier of this name.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Incompatible`] if it is not a barrier, or one of another version, libc or word
    /// size; [`Error::Busy`] if 1,024 handles are in use.
    pub fn open(name: &str) -> Result<Barrier> {
        Member::open(name, ObjectOptions::new(), ObjectKind::Barrier).map(|member| Barrier { member })
    }

    /// Attaches to the barrier of this name for `parties` processes, or creates it. If several processes do so at once,
    /// one creates it.
    ///
    /// # Errors
    /// As [`create`](Self::create) and [`open`](Self::open); [`Error::Options`] if it is for another number.
    pub fn open_or_create(name: &str, parties: u32) -> Result<Barrier> {
        Barrier::attach(name, parties, ObjectOptions::new())
    }

    pub(super) fn attach(name: &str, parties: u32, options: ObjectOptions) -> Result<Barrier> {
        attach(name, parties, options).map(|member| Barrier { member })
    }

    /// Removes the name. Attached handles keep their barrier; a barrier created later under this name is a new one.
    /// Returns false if the name was gone, or belongs to a newer object.
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

    /// The number of processes that pass together.
    pub fn parties(&self) -> u32 {
        self.member.words().geometry().limit
    }

    /// How many live handles wait at this moment.
    pub fn waiting(&self) -> u32 {
        let words = self.member.words();
        let passed = words.word(head::PASSED).load(Acquire); // P5.
        let live = |(_, number): &(u64, u32)| !self.member.is_dead(*number);
        waits(words, passed).into_iter().filter(live).count() as u32
    }

    /// Lets `stop` end any wait of this handle with [`Error::Interrupted`], within 100 milliseconds.
    pub fn set_stop_flag(&mut self, stop: StopFlag) {
        self.member.stop = Some(stop);
    }

    /// Waits until [`parties`](Self::parties) handles have come, this one among them. Returns true in the
    /// handle that came last, and false in the others. If the last one is killed at this moment, no handle
    /// gets true.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if the stop flag was raised; [`Error::Forked`] in a child of the process that opened it;
    /// [`Error::Damaged`] if its bytes were overwritten. After an error this handle no longer counts.
    pub fn wait(&mut self) -> Result<bool> {
        self.wait_by(Deadline::never())
    }

    /// As [`wait`](Self::wait), at most `timeout`. To give up, it takes the barrier's own lock, however long that takes:
    /// other handles hold it for microseconds, unless their process is stopped there.
    ///
    /// # Errors
    /// As [`wait`](Self::wait), and [`Error::TimedOut`].
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<bool> {
        self.wait_by(Deadline::after(timeout))
    }

    fn wait_by(&mut self, deadline: Deadline) -> Result<bool> {
        let parties = self.parties();
        let attach = |name: &str, options| attach(name, parties, options);
        self.member.on_current(attach, |member| pass(member, deadline))
    }
}

/// How long `attach` retries while a barrier for another number of processes, at which none waits, is still
/// in use.
const LEAVING: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(1);

/// Whether a living process waits at the barrier.
fn is_waited_at(words: &Words) -> Result<bool> {
    let probe = ephemeral::observer(words)?;
    let waits = waits(words, words.word(head::PASSED).load(Acquire)); // P5.
    Ok(waits.iter().any(|(_, number)| !probe.is_dead(*number, words.geometry().participants)))
}

fn create(name: &str, parties: u32, options: ObjectOptions) -> Result<Member<BarrierRepair>> {
    let geometry = ObjectLayout::new(ObjectKind::Barrier, parties)?;
    Member::create(name, options, geometry, Vec::new)
}

fn attach(name: &str, parties: u32, options: ObjectOptions) -> Result<Member<BarrierRepair>> {
    ObjectLayout::new(ObjectKind::Barrier, parties)?;
    let patience = Deadline::after(LEAVING);
    let open = || {
        let object = Object::open(name, options, ObjectKind::Barrier)?;
        let found = object.words.geometry().limit;
        if found == parties {
            return Member::join(object);
        }
        // No process waits at it: killed processes left it behind, or its last handles are about to leave.
        // Retire it, so that a barrier for the new number can be created.
        while options.ephemeral && !is_waited_at(&object.words)? && !patience.passed() {
            if ephemeral::retire(&object.words)? || ephemeral::is_retired(&object.words) {
                return Err(Error::NotFound(name.into()));
            }
            std::thread::sleep(POLL);
        }
        let text = format!("barrier {name:?} is for {found} processes, not for {parties}");
        Err(Error::Options(text.into()))
    };
    open_or_create(open, || create(name, parties, options))
}

/// Comes to the barrier, and waits until all have come. Returns whether this one came last.
fn pass(member: &mut Member<BarrierRepair>, deadline: Deadline) -> Result<bool> {
    // An abandoned lock protects nothing that may be half changed: each step is one store.
    lock::acquire(member, deadline)?;
    let words = member.words();
    let word = wait_word(words, member.me.number);
    // Relaxed: only the lock's holder draws a ticket.
    let ticket = words.word(head::TICKET).fetch_add(1, Relaxed);
    let waiting = wait_state::waiting(ticket);
    let ticket = ticket_of(waiting);
    // P4: publishes whose wait this is.
    word.store(waiting, Release);
    let is_last = let_pass(member);
    lock::release(member, false);
    if is_last {
        gate(words).notify_all();
    }
    let passed = || has_passed(words, ticket);
    let waited = member.wait(&gate(words), deadline, passed, |_| match passed() {
        true => Ok(Some(())),
        // The wait may have passed before the barrier was retired.
        false if ephemeral::is_retired(words) && !passed() => Err(Error::NotFound(member.name().into())),
        false => Ok(None),
    });
    let result = waited.or_else(|error| give_up(member, ticket, error));
    // Relaxed: the wait has passed, or was given up under the lock.
    wait_word(member.words(), member.me.number).store(IDLE, Relaxed);
    result.map(|()| is_last)
}

/// Ends a wait that failed, unless it has passed meanwhile.
fn give_up(member: &mut Member<BarrierRepair>, ticket: u64, error: Error) -> Result<()> {
    // A raised stop flag ended the wait. It must not end this wait for the lock, too.
    let stop = member.stop.take();
    let locked = loop {
        let locked = lock::acquire(member, Deadline::never());
        if !matches!(locked, Err(Error::NotFound(_))) {
            break locked;
        }
        match end_retired(member, ticket) {
            // The removal of the name was refused, or takes long: try the lock again.
            Ok(false) | Err(Error::Busy(_)) => {}
            Ok(true) | Err(_) => break locked,
        }
    };
    member.stop = stop;
    if has_passed(member.words(), ticket) {
        lock::release(member, false);
        return member.check_entry();
    }
    if locked.is_ok() {
        // Relaxed: a process that counts has the lock.
        wait_word(member.words(), member.me.number).store(IDLE, Relaxed);
        lock::release(member, false);
    }
    Err(error)
}

/// Ends a wait at a retired barrier. Returns false if the barrier is no longer retired. While it is retired,
/// no process can take its lock and count, and only the process that removes the name changes this.
fn end_retired(member: &Member<BarrierRepair>, ticket: u64) -> Result<bool> {
    let words = member.words();
    words.segment().between_removals(|| {
        let is_retired = ephemeral::is_retired(words);
        if is_retired && !has_passed(words, ticket) {
            // Relaxed: the lock for removals orders it.
            wait_word(words, member.me.number).store(IDLE, Relaxed);
        }
        is_retired
    })
}

/// Lets the handles that have waited longest pass, if enough of them are alive. Only for the lock's holder.
fn let_pass(member: &Member<BarrierRepair>) -> bool {
    let words = member.words();
    let passed = words.word(head::PASSED).load(Relaxed); // Relaxed: only the lock's holder writes it.
    let parties = words.geometry().limit as usize;
    let waits = waits(words, passed);
    if waits.len() < parties {
        return false;
    }
    // If the holder of a number died, its word changes before the number is granted again.
    let is_live = |(ticket, number): &(u64, u32)| {
        let unchanged = || wait_word(words, *number).load(Relaxed) == wait_state::waiting(*ticket);
        !member.is_dead(*number) && unchanged()
    };
    let Some((last, _)) = waits.into_iter().filter(is_live).nth(parties - 1) else { return false };
    // P5: all that was written before any of them came, by P1.
    words.word(head::PASSED).store(last.wrapping_add(1), Release);
    true
}

fn has_passed(words: &Words, ticket: u64) -> bool {
    words.word(head::PASSED).load(Acquire) > ticket // P5.
}

/// The tickets and numbers of all participants that wait, or died while they waited, in the order in which
/// they came.
fn waits(words: &Words, passed: u64) -> Vec<(u64, u32)> {
    let wait_of = |number| {
        let seen = wait_word(words, number).load(Relaxed); // Relaxed: the lock orders it.
        (is_waiting(seen) && ticket_of(seen) >= passed).then_some((ticket_of(seen), number))
    };
    let mut waits: Vec<_> = numbers(words).filter_map(wait_of).collect();
    waits.sort_unstable();
    waits
}

fn wait_word(words: &Words, number: u32) -> &AtomicU64 {
    words.word(words.geometry().entry(number) + entry::WAIT)
}

/// Recovery of a barrier: of its lock, and of the word of a dead wait.
#[derive(Debug)]
struct BarrierRepair;

impl ObjectRepair for BarrierRepair {
    fn repair(words: &Words, dead: &Entry<'_>) {
        lock::repair(words, dead.number, || dead.stands());
        repair(words, dead.number, || dead.stands());
    }

    fn suspects(_: &Words) -> Numbers {
        // Nothing to suspect: a process that counts asks which handles are alive, and so does one that wants the lock.
        Numbers::default()
    }
}

/// Ends the wait of a dead participant.
fn repair(words: &Words, number: u32, stands: impl Fn() -> bool) {
    let word = wait_word(words, number);
    let seen = word.load(Acquire); // P4: before the check of the entry.
    if seen != IDLE && stands() {
        // P4: the number's next holder finds an idle word. Relaxed: on failure another process has done it.
        let _ = word.compare_exchange(seen, IDLE, AcqRel, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::tests::{dead, get, set};
    use crate::sys::testing::TestName;

    /// A barrier for `parties`, and this number of handles at it.
    fn barrier(parties: u32, handles: usize) -> (TestName, Vec<Barrier>) {
        let name = TestName::new();
        let open = |_| Barrier::open_or_create(name.0.as_str(), parties).unwrap();
        let handles = (0..handles).map(open).collect();
        (name, handles)
    }

    /// Has participant `number` wait, as the word says.
    fn waits_at(words: &Words, number: u32, ticket: u64) {
        wait_word(words, number).store(wait_state::waiting(ticket), Relaxed);
        words.word(head::TICKET).fetch_max(ticket + 1, Relaxed);
    }

    #[test]
    fn exactly_as_many_pass_as_the_barrier_is_for_and_the_first_to_come_before_others() {
        let (_name, handles) = barrier(2, 4);
        let words = handles[0].member.words();
        for (number, ticket) in [(0, 5), (1, 9), (2, 7)] {
            waits_at(words, number, ticket);
        }
        assert!(let_pass(&handles[3].member));
        assert_eq!([5, 7, 9].map(|ticket| has_passed(words, ticket)), [true, true, false]);
        assert!(!let_pass(&handles[3].member), "one is left");
        waits_at(words, 3, 10);
        assert!(let_pass(&handles[3].member));
        assert_eq!(get(words, head::PASSED), 11);
    }

    #[test]
    fn the_dead_do_not_count_and_are_passed_over() {
        let (_name, handles) = barrier(2, 2);
        let words = handles[0].member.words();
        dead(words, 5);
        waits_at(words, 5, 0);
        waits_at(words, 0, 1);
        assert_eq!(handles[0].waiting(), 1);
        assert!(!let_pass(&handles[1].member));
        waits_at(words, 1, 2);
        assert!(let_pass(&handles[1].member));
        assert_eq!(get(words, head::PASSED), 3);
        assert_eq!(handles[0].waiting(), 0);
    }

    #[test]
    fn a_wait_that_is_given_up_counts_no_more_unless_it_has_passed() {
        let (_name, mut handles) = barrier(2, 1);
        let member = &mut handles[0].member;
        let late = |member: &mut _| give_up(member, 3, Error::TimedOut).map_err(|error| error.kind());
        waits_at(member.words(), 0, 3);
        assert_eq!(late(member), Err(crate::ErrorKind::TimedOut));
        assert_eq!((get(member.words(), head::OWNER), wait_word(member.words(), 0).load(Relaxed)), (0, IDLE));
        waits_at(member.words(), 0, 3);
        set(member.words(), head::PASSED, 4);
        assert_eq!(late(member), Ok(()));
        assert_eq!(get(member.words(), head::OWNER), 0);
    }

    #[test]
    fn a_wait_at_a_retired_barrier_is_given_up_unless_it_has_passed_and_goes_on_once_that_is_undone() {
        let (_name, mut handles) = barrier(2, 1);
        let member = &mut handles[0].member;
        let gone =
            |member: &mut _| give_up(member, 3, Error::NotFound("".into())).map_err(|error| error.kind());
        waits_at(member.words(), 0, 3);
        set(member.words(), head::OWNER, 4);
        assert_eq!(gone(member), Err(crate::ErrorKind::NotFound));
        assert_eq!(wait_word(member.words(), 0).load(Relaxed), IDLE);
        waits_at(member.words(), 0, 3);
        set(member.words(), head::PASSED, 4);
        assert_eq!(gone(member), Ok(()));
        assert_eq!(get(member.words(), head::OWNER), 4);
        assert!(end_retired(member, 3).unwrap());
        set(member.words(), head::OWNER, 0);
        assert!(!end_retired(member, 9).unwrap());
        assert!(is_waiting(wait_word(member.words(), 0).load(Relaxed)), "no process has given it up");
        let attach = |_: &str, _| -> Result<Member<BarrierRepair>> { unreachable!("it has its name") };
        set(member.words(), head::PASSED, 4);
        let refused = std::cell::Cell::new(true);
        let act = |member: &mut Member<BarrierRepair>| match refused.take() {
            true => Err(Error::NotFound("".into())),
            false => lock::acquire(member, Deadline::never()).map(|_| lock::release(member, false)),
        };
        assert!(member.on_current(attach, act).is_ok(), "the lock is tried again");
    }

    #[test]
    fn recovery_ends_only_the_wait_of_the_dead() {
        let (_name, handles) = barrier(2, 1);
        let words = handles[0].member.words();
        waits_at(words, 5, 1);
        repair(words, 5, || false);
        assert!(is_waiting(wait_word(words, 5).load(Relaxed)));
        repair(words, 5, || true);
        assert_eq!(wait_word(words, 5).load(Relaxed), IDLE);
    }

    #[test]
    fn a_participant_without_a_name_to_come_back_to_is_told_that_its_barrier_is_gone() {
        let (_name, mut handles) = barrier(2, 1);
        // As the last ephemeral handle leaves it.
        set(handles[0].member.words(), head::OWNER, 4);
        assert_eq!(handles[0].wait().unwrap_err().kind(), crate::ErrorKind::NotFound);
    }
}
