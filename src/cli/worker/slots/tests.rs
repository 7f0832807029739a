use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::*;
use crate::{Error, ItemKey};

struct Thing;

impl Owned for Thing {
    fn bytes(&self) -> &[u8] {
        &[]
    }

    fn key(&self) -> ItemKey {
        ItemKey { producer: 0, sequence: 0 }
    }

    fn attempt(&self) -> u8 {
        1
    }

    fn failures(&self) -> u8 {
        0
    }

    fn sent_at(&self) -> Option<u64> {
        None
    }

    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    fn record_failure(&self) -> u8 {
        1
    }

    fn acknowledge(self) -> Result<(), Error> {
        Ok(())
    }

    fn give_back(self) {}
}

type TestJobs = Jobs<Thing, &'static str>;

fn job() -> Job<Thing> {
    Job { number: 1, items: vec![Thing] }
}

fn rings(bell: &Bell) -> bool {
    let mut fds = [PollFd::new(bell.fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).unwrap() > 0
}

/// Takes all that the slot may have.
fn take(jobs: &TestJobs, slot: usize, most: usize, held: &mut VecDeque<Job<Thing>>) -> Supply {
    loop {
        match jobs.try_take(slot, most, held) {
            Supply::Taken => {}
            end => return end,
        }
    }
}

#[test]
fn no_slot_has_more_than_its_share() {
    for (slots, ahead, count) in [(2, 10, 4), (3, 5, 7), (4, 0, 4), (3, 1, 6)] {
        let jobs = TestJobs::of_standing(slots, ahead).unwrap();
        let mut held: Vec<VecDeque<Job<Thing>>> = Vec::new();
        held.resize_with(slots, VecDeque::new);
        (0..count).for_each(|_| jobs.add(job()));
        // Also if the first ones are quicker.
        for (slot, held) in held.iter_mut().enumerate() {
            take(&jobs, slot, ahead + 1, held);
        }
        let counts: Vec<usize> = held.iter().map(VecDeque::len).collect();
        assert_eq!(counts.iter().sum::<usize>(), count, "{counts:?}");
        assert!(counts.iter().all(|have| *have <= count.div_ceil(slots)), "{counts:?}");
    }
}

#[test]
fn a_job_never_waits_while_all_slots_sleep() {
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..300 {
        let (slots, ahead) = (random.usize(1..6), random.usize(0..5));
        let jobs = TestJobs::of_standing(slots, ahead).unwrap();
        let mut held: Vec<VecDeque<Job<Thing>>> = Vec::new();
        held.resize_with(slots, VecDeque::new);
        let mut asleep = vec![false; slots];
        for _ in 0..300 {
            let slot = random.usize(..slots);
            match random.u8(..3) {
                0 if jobs.room() > 0 => jobs.add(job()),
                // An answer comes.
                1 if !held[slot].is_empty() => {
                    let count = random.usize(1..=held[slot].len());
                    held[slot].drain(..count);
                    jobs.finished_some(slot, (0..count).map(|_| After::Settled));
                    asleep[slot] = false;
                }
                _ => {
                    jobs.bell(slot).silence();
                    assert_eq!(take(&jobs, slot, ahead + 1, &mut held[slot]), Supply::NotYet);
                    asleep[slot] = true;
                }
            }
            let waiting = jobs.in_hand().0 - held.iter().map(VecDeque::len).sum::<usize>();
            let is_awake = |slot: usize| !asleep[slot] || rings(jobs.bell(slot));
            assert!(waiting == 0 || (0..slots).any(is_awake), "{waiting} jobs wait");
        }
        // Slots that follow their bells get all jobs that there is room for.
        while let Some(slot) = (0..slots).find(|&slot| !asleep[slot] || rings(jobs.bell(slot))) {
            jobs.bell(slot).silence();
            take(&jobs, slot, ahead + 1, &mut held[slot]);
            asleep[slot] = true;
        }
        assert_eq!(jobs.in_hand().0, held.iter().map(VecDeque::len).sum::<usize>());
    }
}

#[test]
fn slots_that_receive_jobs_themselves_never_have_more_than_one_and_leave_no_job_waiting() {
    let mut random = fastrand::Rng::with_seed(8);
    for _ in 0..300 {
        let slots = random.usize(1..5);
        let jobs = TestJobs::of_standing(slots, 0).unwrap();
        let mut held: Vec<VecDeque<Job<Thing>>> = Vec::new();
        held.resize_with(slots, VecDeque::new);
        let (mut asleep, mut receiving) = (vec![false; slots], vec![false; slots]);
        let mut reserved = false;
        for _ in 0..500 {
            let slot = random.usize(..slots);
            match random.u8(..4) {
                // The main thread needs some time for an item, or gets none.
                0 if reserved && random.bool() => jobs.add(job()),
                0 if reserved => jobs.wait(Duration::ZERO),
                1 => {}
                2 if receiving[slot] => {
                    receiving[slot] = false;
                    match random.bool() {
                        true => held[slot].push_back(job()),
                        false => asleep[slot] = !jobs.received_none(slot),
                    }
                }
                _ if receiving[slot] => {}
                2 if !held[slot].is_empty() => {
                    held[slot].clear();
                    jobs.finished_quietly(slot, std::iter::once(After::Settled));
                    asleep[slot] = false;
                }
                _ => {
                    jobs.bell(slot).silence();
                    assert_eq!(take(&jobs, slot, 1, &mut held[slot]), Supply::NotYet);
                    receiving[slot] = jobs.may_receive(slot);
                    asleep[slot] = !receiving[slot];
                }
            }
            reserved = jobs.reserve();
            let busy = held.iter().map(VecDeque::len).sum::<usize>()
                + receiving.iter().filter(|receiving| **receiving).count();
            let (in_hand, _) = jobs.in_hand();
            assert!(held.iter().all(|jobs| jobs.len() <= 1));
            assert!(in_hand + usize::from(reserved) <= slots, "{in_hand} of {slots}");
            let is_awake = |slot: usize| !asleep[slot] || rings(jobs.bell(slot));
            assert!(in_hand == busy || (0..slots).any(is_awake), "a job waits");
        }
    }
}

#[test]
fn no_slot_receives_a_job_after_the_reason_to_stop_or_before_a_failed_one_that_is_due() {
    let jobs = TestJobs::of_standing(2, 0).unwrap();
    let mut held = VecDeque::new();
    assert!(jobs.may_receive(0));
    jobs.finished_some(0, std::iter::once(After::Postponed(job(), Instant::now())));
    assert!(!jobs.may_receive(0), "the failed job is due");
    assert_eq!((jobs.room(), take(&jobs, 0, 1, &mut held)), (1, Supply::NotYet));
    assert_eq!(held.len(), 1);
    jobs.finished_quietly(0, std::iter::once(After::Stop("why")));
    assert!(!jobs.may_receive(0));
    assert_eq!(jobs.stop(), Some("why"));
    assert!(!jobs.may_receive(0) && !jobs.may_receive(1), "the main thread knows it");
}

#[test]
fn all_bells_ring_at_the_end_and_a_slot_that_gives_up_has_no_jobs() {
    let jobs = TestJobs::of_standing(2, 3).unwrap();
    let mut held = VecDeque::new();
    (0..3).for_each(|_| jobs.add(job()));
    take(&jobs, 0, 4, &mut held);
    jobs.give_up(0, "why");
    assert_eq!(jobs.in_hand(), (3 - held.len(), 0));
    assert_eq!(jobs.end().len(), 3 - held.len());
    assert!(rings(jobs.bell(0)) && rings(jobs.bell(1)));
    assert_eq!(take(&jobs, 1, 4, &mut VecDeque::new()), Supply::Over);
    assert_eq!(jobs.stop(), Some("why"));
    let stands = jobs.stands();
    assert!(!jobs.wait_for_running(Duration::ZERO));
    drop(stands);
    assert!(jobs.wait_for_running(Duration::ZERO));
}

#[test]
fn busy_commands_and_the_items_of_postponed_jobs_are_counted() {
    let jobs = TestJobs::new(2, 1);
    let pair = |number| Job { number, items: vec![Thing, Thing] };
    (1..=3).for_each(|number| jobs.add(pair(number)));
    let (first, second) = (jobs.take().unwrap(), jobs.take().unwrap());
    assert_eq!(jobs.busy_and_delayed(), (2, 0), "the third waits for a slot");
    jobs.finished(After::Postponed(first, Instant::now()));
    jobs.finished(After::Postponed(second, Instant::now() + Duration::from_secs(3600)));
    assert_eq!(jobs.busy_and_delayed(), (0, 4));
    jobs.room();
    assert_eq!(jobs.busy_and_delayed(), (0, 2), "the first is due");
    jobs.end();
    assert_eq!(jobs.busy_and_delayed(), (0, 0));
}

#[test]
fn a_standing_command_with_several_jobs_is_one_busy_command() {
    let jobs = TestJobs::of_standing(2, 4).unwrap();
    (0..4).for_each(|_| jobs.add(job()));
    let mut held = VecDeque::new();
    take(&jobs, 0, 2, &mut held);
    assert_eq!((held.len(), jobs.busy_and_delayed()), (2, (1, 0)));
}
