//! Notifications, one step at a time: none is lost on who died or stops waiting.

use super::super::tests::{dead, get, member, set};
use super::super::{Owner, bury, state_of};
use super::*;

/// The word of one who waits, or was notified, with this ticket.
const fn word(ticket: u64, what: u64) -> u64 {
    ticket << 8 | what
}

/// Dead ones with these numbers and wait words.
fn forge(words: &Words, all: &[(u32, u64)]) {
    for (number, value) in all {
        dead(words, *number);
        wait_word(words, *number).store(*value, Relaxed);
    }
}

fn words_of<const N: usize>(words: &Words, numbers: [u32; N]) -> [u64; N] {
    numbers.map(|number| wait_word(words, number).load(Relaxed))
}

#[test]
fn a_burial_frees_the_lock_and_passes_the_notification_on_and_then_frees_the_entry() {
    let (_name, member) = member(Kind::Condition);
    let words = member.words();
    forge(words, &[(5, word(1, NOTIFIED)), (6, word(3, WAITING)), (7, word(2, WAITING))]);
    set(words, head::OWNER, dead(words, 5).word());
    assert!(bury(words, 5, &|_| true));
    let lock = get(words, head::OWNER);
    assert!(Owner::of(lock).is_none() && lock != 0, "free, and marked");
    assert_eq!(words_of(words, [5, 6, 7]), [IDLE, word(3, WAITING), word(2, NOTIFIED)]);
    assert_eq!(state_of(words, 5).load(Relaxed), 0);
}

#[test]
fn a_notification_goes_past_all_who_are_dead() {
    let (_name, member) = member(Kind::Condition);
    let words = member.words();
    forge(words, &[(3, word(1, NOTIFIED)), (2, word(2, WAITING)), (1, word(3, WAITING))]);
    wait_word(words, member.me.number).store(word(4, WAITING), Relaxed);
    member.sweep();
    assert_eq!(words_of(words, [3, 2, 1, member.me.number]), [IDLE, IDLE, IDLE, word(4, NOTIFIED)]);
}

#[test]
fn who_stops_waiting_hands_its_notification_to_the_next() {
    let (_name, member) = member(Kind::Condition);
    let words = member.words();
    for (mine, other) in [(WAITING, WAITING), (NOTIFIED, NOTIFIED)] {
        forge(words, &[(4, word(1, mine)), (5, word(2, WAITING))]);
        give_up(words, wait_word(words, 4), word(1, WAITING));
        assert_eq!(words_of(words, [4, 5]), [IDLE, word(2, other)]);
    }
}

#[test]
fn who_stops_waiting_just_before_it_is_notified_is_looked_past() {
    let (_name, member) = member(Kind::Condition);
    let words = member.words();
    forge(words, &[(4, word(1, WAITING)), (5, word(2, WAITING))]);
    let stops = |number, seen| {
        if number == 4 {
            wait_word(words, 4).store(IDLE, Relaxed);
        }
        notify(words, number, seen)
    };
    assert!(offer(words, stops));
    assert_eq!(words_of(words, [4, 5]), [IDLE, word(2, NOTIFIED)]);
}

#[test]
fn who_is_notified_is_woken_and_nobody_else() {
    let (_name, member) = member(Kind::Condition);
    let words = member.words();
    forge(words, &[(4, word(1, WAITING)), (5, word(2, WAITING))]);
    for number in [4, 5] {
        own_signal(words, number).waiting.store(1, Relaxed);
    }
    assert!(notify_next(words));
    assert_eq!([4, 5].map(|number| words.semaphore_of(number).value()), [1, 0]);
}

#[test]
fn who_is_notified_during_its_burial_loses_nothing() {
    let (_name, member) = member(Kind::Condition);
    let words = member.words();
    forge(words, &[(4, word(1, WAITING)), (5, word(2, WAITING))]);
    let notified_meanwhile = || {
        let (waiting, notified) = (word(1, WAITING), word(1, NOTIFIED));
        let _ = wait_word(words, 4).compare_exchange(waiting, notified, Relaxed, Relaxed);
        true
    };
    repair(words, 4, &notified_meanwhile);
    assert_eq!(words_of(words, [4, 5]), [IDLE, word(2, NOTIFIED)]);
}

#[test]
fn whoever_has_the_number_by_then_waits_on() {
    let (_name, member) = member(Kind::Condition);
    let words = member.words();
    forge(words, &[(4, word(1, NOTIFIED)), (5, word(2, WAITING))]);
    repair(words, 4, &|| false);
    assert_eq!(words_of(words, [4, 5]), [word(1, NOTIFIED), word(2, WAITING)]);
}
