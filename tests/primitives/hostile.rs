//! Whatever bytes a peer writes, every call comes back with a value or an error.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use ringpipe::ErrorKind;
use ringpipe::internal::layout::named::{HEAD_BYTES, ObjectKind, ObjectLayout, ObjectPreamble, entry, head};
use ringpipe::sync::{Barrier, Condition, Event, Lock, ObjectOptions, Semaphore, remove};

use crate::support::{Random, TestName, env_number, report, seed, within};

const CASES: u64 = 600;
const KINDS: [ObjectKind; 5] =
    [ObjectKind::Lock, ObjectKind::Semaphore, ObjectKind::Condition, ObjectKind::Event, ObjectKind::Barrier];

fn create(kind: ObjectKind, name: &str) -> File {
    match kind {
        ObjectKind::Lock => drop(Lock::create(name).unwrap()),
        ObjectKind::Semaphore => drop(Semaphore::create(name, 2, 3).unwrap()),
        ObjectKind::Condition => drop(Condition::create(name).unwrap()),
        ObjectKind::Event => drop(Event::create(name).unwrap()),
        ObjectKind::Barrier => drop(Barrier::create(name, 2).unwrap()),
    }
    OpenOptions::new().read(true).write(true).open(format!("/dev/shm/{name}")).unwrap()
}

/// Where all words are that mean something, the semaphores' own among them.
fn words(kind: ObjectKind) -> Vec<u64> {
    let permits = match kind {
        ObjectKind::Semaphore => 3,
        ObjectKind::Barrier => 2,
        _ => 0,
    };
    let geometry = ObjectLayout::new(kind, permits).unwrap();
    let mut all: Vec<u64> = (head::OWNER..head::SEMAPHORE + 32).step_by(8).collect();
    if kind == ObjectKind::Barrier {
        all.extend((head::GATE_WAITING..head::GATE + 32).step_by(8));
    }
    for number in 0..geometry.participants.min(4) {
        let of_condition = [entry::WAIT, entry::SLEEPING, entry::SEMAPHORE, entry::SEMAPHORE + 8];
        let more = of_condition.iter().filter(|_| kind == ObjectKind::Condition);
        let wait = [entry::WAIT].into_iter().filter(|_| kind == ObjectKind::Barrier);
        all.extend([entry::STATE].iter().chain(more).map(|offset| geometry.entry(number) + offset));
        all.extend(wait.map(|offset| geometry.entry(number) + offset));
    }
    let permits = if kind == ObjectKind::Semaphore { geometry.limit } else { 0 };
    all.extend((0..permits).map(|index| geometry.permit(index)));
    all
}

fn damage(file: &File, at: u64, random: &mut Random) {
    let mut old = [0; 8];
    file.read_exact_at(&mut old, at).unwrap();
    let old = u64::from_le_bytes(old);
    let new = match random.below(6) {
        0 => random.next(),
        1 => 0,
        2 => u64::MAX,
        3 => old ^ 1 << random.below(64),
        // Held by one of the first few numbers, or by an unused one.
        4 => random.below(3) << 32 | random.below(5) << 8 | 1 | random.below(2) << 1,
        _ => 1 << 32 | 0xfff << 8 | random.below(4),
    };
    file.write_all_at(&new.to_le_bytes(), at).unwrap();
}

/// Calls everything there is; what it answers does not matter.
fn use_all(kind: ObjectKind, name: &str, random: &mut Random) -> ringpipe::Result<()> {
    let mut short = || Duration::from_micros(random.below(300));
    match kind {
        ObjectKind::Lock => {
            let (mut first, mut second) = (Lock::open(name)?, Lock::open(name)?);
            drop(first.try_lock());
            let held = first.lock_timeout(short());
            drop(second.lock_timeout(short()));
            drop(second.try_lock());
            drop(held.map(|guard| guard.abandon()));
        }
        ObjectKind::Semaphore => {
            let (first, second) = (Semaphore::open(name)?, Semaphore::open(name)?);
            let held = (first.try_acquire(), first.acquire_timeout(short()));
            drop((second.release(), second.value(), second.acquire_timeout(short())));
            drop(held.1.map(|permit| permit.forget()));
        }
        ObjectKind::Condition => {
            let (mut first, mut second) = (Condition::open(name)?, Condition::open(name)?);
            // Waits end by the deadline; the lock that they take again may name a holder that does not exist.
            let stop = ringpipe::StopFlag::new();
            first.set_stop_flag(stop.clone());
            let wait = short();
            std::thread::scope(|scope| {
                scope.spawn(|| drop(first.lock_timeout(wait).and_then(|guard| guard.wait_timeout(wait))));
                if let Ok(guard) = second.lock_timeout(wait) {
                    guard.notify_one();
                    guard.notify_all();
                }
                std::thread::sleep(wait);
                stop.raise();
            });
        }
        ObjectKind::Event => {
            let mut event = Event::open(name)?;
            drop((event.take_timeout(short()), event.set(), event.wait_timeout(short()), event.is_set()));
            drop((event.reset(), event.take_timeout(short())));
        }
        ObjectKind::Barrier => {
            let (mut first, mut second) = (Barrier::open(name)?, Barrier::open(name)?);
            let wait = short();
            std::thread::scope(|scope| {
                scope.spawn(|| drop(first.wait_timeout(wait)));
                drop(second.wait_timeout(wait));
            });
            drop((first.waiting(), Barrier::open_or_create(name, 3)));
        }
    }
    Ok(())
}

#[test]
fn hostile_words_give_values_or_errors_and_never_a_panic_or_an_endless_loop() {
    let seed = seed();
    let cases = env_number("RINGPIPE_HOSTILE_CASES").unwrap_or(CASES);
    report(&format!("hostile primitives: seed {seed}, {cases} cases"));
    for first in (0..cases).step_by(10) {
        within(&format!("seed {seed}, cases from {first}"), move || {
            for case in first..(first + 10).min(cases) {
                let mut random = Random::new(seed.wrapping_add(case));
                let kind = KINDS[case as usize % KINDS.len()];
                let name = TestName::new("hostile");
                let file = create(kind, &name);
                let words = words(kind);
                for _ in 0..3 {
                    for _ in 0..1 + random.below(8) {
                        damage(&file, words[random.below(words.len() as u64) as usize], &mut random);
                    }
                    // Refused or not: it came back.
                    let _ = use_all(kind, &name, &mut random);
                }
                // A word may say by chance that the object is retired: then a handle removes the name.
                let may_retire = matches!(kind, ObjectKind::Lock | ObjectKind::Barrier);
                let is_gone = may_retire && !name.exists();
                assert!(is_gone || remove(&name).unwrap(), "RINGPIPE_STORM_SEED={}", seed + case);
            }
        });
    }
}

/// Handles that may remove the name, or replace the object, when they find it retired or left.
#[test]
fn hostile_words_keep_no_ephemeral_handle_in_an_endless_loop() {
    let seed = seed();
    report(&format!("hostile ephemeral objects: seed {seed}"));
    within(&format!("seed {seed}"), move || {
        for case in 0..120 {
            let mut random = Random::new(seed.wrapping_add(case));
            let kind = [ObjectKind::Lock, ObjectKind::Barrier][case as usize % 2];
            let name = TestName::new("hostile-ephemeral");
            let file = create(kind, &name);
            let words = words(kind);
            for _ in 0..1 + random.below(8) {
                damage(&file, words[random.below(words.len() as u64) as usize], &mut random);
            }
            if random.one_in(3) {
                // Retired.
                file.write_all_at(&4u64.to_le_bytes(), head::OWNER).unwrap();
            }
            let (options, time) = (ObjectOptions::new().ephemeral(true), Duration::from_micros(300));
            match kind {
                ObjectKind::Lock => drop(options.lock(&name).map(|mut lock| lock.lock_timeout(time).is_ok())),
                _ => drop(options.barrier(&name, 2).map(|mut barrier| barrier.wait_timeout(time))),
            }
            let _ = remove(&name);
            assert!(!name.exists(), "RINGPIPE_STORM_SEED={}", seed + case);
        }
    });
}

#[test]
fn a_lock_held_by_an_impossible_number_is_damaged() {
    let name = TestName::new("nobody");
    let file = create(ObjectKind::Lock, &name);
    file.write_all_at(&(0xfff_u64 << 8 | 1).to_le_bytes(), head::OWNER).unwrap();
    let mut lock = Lock::open(&name).unwrap();
    assert_eq!(lock.try_lock().unwrap_err().kind(), ErrorKind::Damaged);
    assert_eq!(lock.lock().unwrap_err().kind(), ErrorKind::Damaged);
    lock.remove().unwrap();
}

#[test]
fn a_preamble_that_contradicts_itself_is_refused_and_can_be_removed() {
    for kind in KINDS {
        for at in (0..ObjectPreamble::BYTES as u64).step_by(4).filter(|at| !(16..32).contains(at)) {
            let name = TestName::new("preamble");
            let file = create(kind, &name);
            let mut bytes = [0; 4];
            file.read_exact_at(&mut bytes, at).unwrap();
            file.write_all_at(&(u32::from_le_bytes(bytes) ^ 0x40_0040).to_le_bytes(), at).unwrap();
            let mut random = Random::new(at);
            let refused = use_all(kind, &name, &mut random).unwrap_err().kind();
            assert!(matches!(refused, ErrorKind::Incompatible | ErrorKind::Damaged), "{kind:?} {at}");
            // Without the magic nothing says that it is one of these.
            if at >= 8 {
                assert!(remove(&name).unwrap());
            } else {
                assert_eq!(remove(&name).unwrap_err().kind(), ErrorKind::Incompatible);
                std::fs::remove_file(name.path()).unwrap();
            }
        }
    }
    let name = TestName::new("short");
    let file = create(ObjectKind::Condition, &name);
    file.set_len(HEAD_BYTES).unwrap();
    assert_eq!(Condition::open(&name).unwrap_err().kind(), ErrorKind::Damaged);
    assert!(remove(&name).unwrap());
}
