//! Notifications, one step at a time: none is lost if its receiver dies or stops waiting.

use super::*;
use crate::layout::named::Owner;
use crate::membership::table::Table;
use crate::sync::tests::{dead, get, member, set};

/// The wait word of a participant that waits since it drew this ticket.
fn waiting(ticket: u64) -> u64 {
    wait_state::waiting(ticket)
}

/// The wait word of a participant that drew this ticket and was notified.
fn notified(ticket: u64) -> u64 {
    wait_state::notified(waiting(ticket))
}

/// Adds dead participants with these numbers and wait words.
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
fn a_recovery_frees_the_lock_passes_the_notification_on_and_then_frees_the_entry() {
    let (_name, member) = member::<ConditionRepair>(ObjectKind::Condition);
    let words = member.words();
    forge(words, &[(5, notified(1)), (6, waiting(3)), (7, waiting(2))]);
    set(words, head::OWNER, dead(words, 5).word());
    assert!(member.reap(5));
    let lock = get(words, head::OWNER);
    assert!(Owner::of(lock).is_none() && lock != 0, "free, and marked");
    assert_eq!(words_of(words, [5, 6, 7]), [IDLE, waiting(3), notified(2)]);
    assert_eq!(words.state(5).load(Relaxed), 0);
}

#[test]
fn a_notification_skips_dead_participants() {
    let (_name, member) = member::<ConditionRepair>(ObjectKind::Condition);
    let words = member.words();
    forge(words, &[(3, notified(1)), (2, waiting(2)), (1, waiting(3))]);
    wait_word(words, member.me.number).store(waiting(4), Relaxed);
    member.sweep();
    assert_eq!(words_of(words, [3, 2, 1, member.me.number]), [IDLE, IDLE, IDLE, notified(4)]);
}

#[test]
fn a_participant_that_stops_waiting_passes_its_notification_on() {
    let (_name, member) = member::<ConditionRepair>(ObjectKind::Condition);
    let words = member.words();
    for (mine, other) in [(waiting(1), waiting(2)), (notified(1), notified(2))] {
        forge(words, &[(4, mine), (5, waiting(2))]);
        give_up(words, wait_word(words, 4), waiting(1));
        assert_eq!(words_of(words, [4, 5]), [IDLE, other]);
    }
}

#[test]
fn a_participant_that_stops_waiting_just_before_its_notification_is_skipped() {
    let (_name, member) = member::<ConditionRepair>(ObjectKind::Condition);
    let words = member.words();
    forge(words, &[(4, waiting(1)), (5, waiting(2))]);
    let stops = |number, seen| {
        if number == 4 {
            wait_word(words, 4).store(IDLE, Relaxed);
        }
        notify(words, number, seen)
    };
    assert!(offer(words, stops));
    assert_eq!(words_of(words, [4, 5]), [IDLE, notified(2)]);
}

#[test]
fn only_the_notified_participant_is_woken() {
    let (_name, member) = member::<ConditionRepair>(ObjectKind::Condition);
    let words = member.words();
    forge(words, &[(4, waiting(1)), (5, waiting(2))]);
    for number in [4, 5] {
        own_signal(words, number).waiting.store(1, Relaxed);
    }
    assert!(notify_next(words));
    assert_eq!([4, 5].map(|number| words.semaphore_of(number).value()), [1, 0]);
}

#[test]
fn a_notification_during_recovery_is_not_lost() {
    let (_name, member) = member::<ConditionRepair>(ObjectKind::Condition);
    let words = member.words();
    forge(words, &[(4, waiting(1)), (5, waiting(2))]);
    let notified_meanwhile = || {
        let (waiting, notified) = (waiting(1), notified(1));
        let _ = wait_word(words, 4).compare_exchange(waiting, notified, Relaxed, Relaxed);
        true
    };
    repair(words, 4, notified_meanwhile);
    assert_eq!(words_of(words, [4, 5]), [IDLE, notified(2)]);
}

#[test]
fn the_next_holder_of_the_number_keeps_its_wait() {
    let (_name, member) = member::<ConditionRepair>(ObjectKind::Condition);
    let words = member.words();
    forge(words, &[(4, notified(1)), (5, waiting(2))]);
    repair(words, 4, || false);
    assert_eq!(words_of(words, [4, 5]), [notified(1), waiting(2)]);
}
