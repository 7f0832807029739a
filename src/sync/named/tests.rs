//! Who comes, who leaves and who is buried, one step at a time, and the words that this leaves. Segments are forged as the
//! dead leave them.

use std::fs::File;

use super::*;
use crate::sys::testing::TestName;

/// A new object, and one who takes part in it.
pub(super) fn member(kind: Kind) -> (TestName, Member) {
    let (name, object) = object(kind);
    (name, Member::join(object).unwrap())
}

fn object(kind: Kind) -> (TestName, Object) {
    let name = TestName::new();
    let object = Object::create(name.0.as_str(), Geometry::new(kind, 0).unwrap(), Vec::new).unwrap();
    (name, object)
}

pub(super) fn get(words: &Words, at: u64) -> u64 {
    words.word(at).load(Relaxed)
}

pub(super) fn set(words: &Words, at: u64, value: u64) {
    words.word(at).store(value, Relaxed);
}

/// So many sleep, as far as anybody knows.
pub(super) fn sleeping(words: &Words, count: u64) {
    set(words, head::WAITING, count);
}

/// One who died, as far as its entry and the kernel tell.
pub(super) fn dead(words: &Words, number: u32) -> Owner {
    let owner = Owner { number, serial: 1000 + number };
    words.word(head::NUMBERS).fetch_max(u64::from(number) + 1, Relaxed);
    state_of(words, number).store(in_use(owner.serial), Relaxed);
    owner
}

#[test]
fn who_comes_finds_nothing_of_the_one_before() {
    let (_name, object) = object(Kind::Condition);
    let sleeping = object.words.geometry().entry(0) + entry::SLEEPING;
    set(&object.words, sleeping, 3);
    let member = Member::join(object).unwrap();
    assert_eq!((member.me.number, get(member.words(), sleeping)), (0, 0));
}

#[test]
fn a_number_that_somebody_had_and_died_with_meanwhile_is_not_taken() {
    let (_name, object) = object(Kind::Lock);
    let acquire = |fd, number| {
        if number == 0 {
            dead(&object.words, 0);
        }
        ParticipantLock::try_acquire(fd, number)
    };
    assert_eq!(take_number(&object.words, acquire).unwrap().number(), 1);
}

#[test]
fn who_leaves_frees_its_entry_unless_it_holds_something_for_ever() {
    let (name, first) = member(Kind::Lock);
    let (words, state) = (first.words().clone(), || state_of(first.words(), 1).load(Relaxed));
    let other = || Member::join(Object::open(name.0.as_str(), Kind::Lock).unwrap()).unwrap();
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
    assert_eq!(other().me.number, 2, "and before that, nobody has its number");
    assert_eq!(get(&words, head::OWNER), held);
}

#[test]
fn whoever_has_a_number_by_the_time_its_last_holder_is_buried_keeps_all() {
    let (_name, object) = object(Kind::Lock);
    let words = &object.words;
    let next = Owner { serial: 2000, ..dead(words, 5) };
    // Somebody else was quicker, and the number was granted again.
    let comes = |number| {
        state_of(words, number).store(in_use(next.serial), Relaxed);
        set(words, head::OWNER, next.word());
        true
    };
    assert!(!bury(words, 5, &comes));
    assert_eq!(state_of(words, 5).load(Relaxed), in_use(next.serial));
    assert_eq!(get(words, head::OWNER), next.word());
}

#[test]
fn what_is_found_in_memory_that_is_lost_meanwhile_is_nothing() {
    crate::sys::truncation::survive_truncation().unwrap();
    let (name, member) = member(Kind::Lock);
    let look = |_| {
        File::options().write(true).open(name.path()).unwrap().set_len(0).unwrap();
        // Free, as it seems.
        Ok((get(member.words(), head::OWNER) == 0).then_some(()))
    };
    let found = member.wait(&member.object.signal(), Deadline::never(), || false, look);
    assert!(matches!(found, Err(Error::Truncated)), "{found:?}");
}
