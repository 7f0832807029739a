//! Tests of attaching, leaving and recovery, one step at a time, and of the words that each step leaves. The
//! tests write segments as a death would leave them.

use std::fs::File;

use nix::sys::resource::{Resource, setrlimit};

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::ephemeral;
use super::object::*;
use super::options::ObjectOptions;
use super::signals;
use crate::layout::mapping::Words;
use crate::layout::named::{ObjectKind, ObjectLayout, Owner, entry, head, in_use};
use crate::membership::table::{Entry, Table};
use crate::sys::clock::Deadline;
use crate::sys::testing::{Child, TestName};
use crate::{Error, Result};
use crate::{ErrorKind, sync};

/// The recovery of an object with nothing to repair.
#[derive(Debug)]
pub(super) struct NoRepair;

impl ObjectRepair for NoRepair {
    fn repair(_: &Words, _: &Entry<'_>) {}

    fn suspects(_: &Words) -> Numbers {
        Numbers::default()
    }
}

/// Creates an object and a participant of it.
pub(super) fn member<R: ObjectRepair>(kind: ObjectKind) -> (TestName, Member<R>) {
    let (name, object) = object(kind);
    (name, Member::join(object).unwrap())
}

fn object(kind: ObjectKind) -> (TestName, Object) {
    let name = TestName::new();
    let limit = u32::from(matches!(kind, ObjectKind::Semaphore | ObjectKind::Barrier));
    let layout = ObjectLayout::new(kind, limit).unwrap();
    let object = Object::create(name.0.as_str(), ObjectOptions::new(), layout, Vec::new).unwrap();
    (name, object)
}

pub(super) fn get(words: &Words, at: u64) -> u64 {
    words.word(at).load(Relaxed)
}

pub(super) fn set(words: &Words, at: u64, value: u64) {
    words.word(at).store(value, Relaxed);
}

/// Sets the count of sleepers.
pub(super) fn sleeping(words: &Words, count: u64) {
    set(words, head::WAITING, count);
}

/// Adds a participant that its entry and the kernel report as dead.
pub(super) fn dead(words: &Words, number: u32) -> Owner {
    let owner = Owner { number, serial: 1000 + number };
    words.word(head::NUMBERS).fetch_max(u64::from(number) + 1, Relaxed);
    words.state(number).store(in_use(owner.serial), Relaxed);
    owner
}

/// Calls `make` with 0, 1, 2 ... free descriptors until it succeeds: a failed call must leave no object.
fn leaves_nothing_without_descriptors(make: impl Fn(&str) -> Result<()>) {
    let name = TestName::new();
    // In a separate process, where all other descriptors are closed.
    Child::pausing(|| {
        setrlimit(Resource::RLIMIT_NOFILE, 64, 64).unwrap();
        let mut all: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        let mut refusals = 0;
        while let Err(error) = make(name.0.as_str()) {
            if error.kind() != ErrorKind::Io || name.path().exists() || all.pop().is_none() {
                return false;
            }
            refusals += 1;
        }
        refusals >= 2
    });
    assert!(name.path().exists());
}

#[test]
fn a_creation_that_fails_for_lack_of_descriptors_leaves_no_object() {
    leaves_nothing_without_descriptors(|name| sync::Lock::create(name).map(drop));
    leaves_nothing_without_descriptors(|name| sync::Semaphore::create(name, 1, 1).map(drop));
    leaves_nothing_without_descriptors(|name| sync::Condition::open_or_create(name).map(drop));
    leaves_nothing_without_descriptors(|name| sync::Event::open_or_create(name).map(drop));
}

#[test]
fn a_new_participant_finds_nothing_of_its_numbers_last_holder() {
    let (_name, object) = object(ObjectKind::Condition);
    let sleeping = object.words.geometry().entry(0) + entry::SLEEPING;
    set(&object.words, sleeping, 3);
    let member = Member::<NoRepair>::join(object).unwrap();
    assert_eq!((member.me.number, get(member.words(), sleeping)), (0, 0));
}

#[test]
fn what_killed_sleepers_left_is_forgotten_when_their_entries_are_freed() {
    for kind in [ObjectKind::Lock, ObjectKind::Semaphore, ObjectKind::Barrier] {
        let (_name, member) = member::<NoRepair>(kind);
        let words = member.words();
        for signal in signals::all(words) {
            dead(words, 5);
            signal.waiting.store(9, Relaxed);
            assert!(member.reap(5));
            let left = (signal.waiting.load(Relaxed), signal.semaphore.value());
            assert_eq!(left, (0, 1), "{kind:?}: of one handle");
        }
    }
}

#[test]
fn leaving_frees_the_entry_unless_a_forgotten_guard_owns_something() {
    let (name, first) = member::<NoRepair>(ObjectKind::Lock);
    let (words, state) = (first.words().clone(), || first.words().state(1).load(Relaxed));
    let other = || {
        Member::<NoRepair>::join(
            Object::open(name.0.as_str(), ObjectOptions::new(), ObjectKind::Lock).unwrap(),
        )
        .unwrap()
    };
    let leaves = other();
    assert_eq!((leaves.me.number, state()), (1, in_use(leaves.me.serial)));
    drop(leaves);
    assert_eq!(state(), 0);
    let forgets = other();
    let held = forgets.me.word();
    set(&words, head::OWNER, held);
    forgets.guard_made();
    drop(forgets);
    assert_ne!(state(), 0, "what it holds is to be repaired");
    assert_eq!(other().me.number, 2, "before that, no process gets its number");
    assert_eq!(get(&words, head::OWNER), held);
}

#[test]
fn a_living_participant_that_was_reaped_reports_it_and_leaves_the_entry_alone() {
    let (_name, member) = member::<NoRepair>(ObjectKind::Lock);
    let words = member.words().clone();
    let state = words.state(member.me.number);
    assert!(member.check_entry().is_ok());
    let next = in_use(member.me.serial + 1);
    state.store(next, Relaxed);
    assert!(matches!(member.check_entry(), Err(Error::Evicted)));
    let waited = member.wait(&member.signal(), Deadline::never(), || false, |_| Ok(None::<()>));
    assert!(matches!(waited, Err(Error::Evicted)));
    drop(member);
    assert_eq!(state.load(Relaxed), next);
}

/// It leaves before it makes another call, so it does not know that its number is another participant's.
#[test]
fn a_living_participant_that_was_reaped_without_noticing_leaves_the_entry_alone() {
    let (_name, member) = member::<NoRepair>(ObjectKind::Lock);
    let words = member.words().clone();
    let state = words.state(member.me.number);
    let next = in_use(member.me.serial + 1);
    state.store(next, Relaxed);
    assert!(member.check().is_ok(), "it does not look at its entry");
    drop(member);
    assert_eq!(state.load(Relaxed), next);
}

#[test]
fn a_result_from_memory_that_was_lost_meanwhile_is_discarded() {
    crate::sys::truncation::survive_truncation().unwrap();
    let (name, member) = member::<NoRepair>(ObjectKind::Lock);
    let look = |_| {
        File::options().write(true).open(name.path()).unwrap().set_len(0).unwrap();
        // The lock looks free.
        Ok((get(member.words(), head::OWNER) == 0).then_some(()))
    };
    let found = member.wait(&member.signal(), Deadline::never(), || false, look);
    assert!(matches!(found, Err(Error::Truncated)), "{found:?}");
}

#[test]
fn a_failed_creation_removes_only_what_no_other_process_uses() {
    for kind in [ObjectKind::Lock, ObjectKind::Barrier, ObjectKind::Condition] {
        let name = TestName::new();
        let (name, number) = (name.0.as_str(), u32::from(kind == ObjectKind::Barrier));
        let layout = ObjectLayout::new(kind, number).unwrap();
        let other = Member::<NoRepair>::create(name, ObjectOptions::new(), layout, Vec::new).unwrap();
        let segment = Arc::clone(other.words().segment());
        ephemeral::withdraw(Arc::clone(&segment), kind);
        assert!(Object::open(name, ObjectOptions::new(), kind).is_ok());
        assert_eq!(get(other.words(), head::OWNER), 0);
        drop(other);
        ephemeral::withdraw(segment, kind);
        let gone = Object::open(name, ObjectOptions::new(), kind).unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::NotFound);
    }
}
