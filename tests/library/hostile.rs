//! Whatever bytes a peer writes, every call comes back with a value or an error.
//!
//! Left alone are the semaphores, which belong to the C library, and the geometry, which was read once and
//! is never read again; forged geometries are the business of `layout::geometry`.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use ringpipe::internal::layout::geometry::{Geometry, HEAD_BYTES};
use ringpipe::internal::layout::head;
use ringpipe::internal::protocol::word::{Codec, Tag};
use ringpipe::{Consumer, OnFull, Producer, Ring, StopFlag};

use crate::support::scale::is_ci;
use crate::support::{Random, TestName, env_number, options, report, seed, within};

const CASES: u64 = 1000;
/// The same at the scale of the gate.
const CASES_CI: u64 = 3000;
const SLOT: u64 = 16;

/// A ring with its handles, and its file, for tests that damage it.
struct Victim {
    ring: Ring,
    producer: Producer,
    consumer: Consumer,
    file: File,
    geometry: Geometry,
}

impl Victim {
    fn new(name: &str, capacity: u64, exclusive: bool) -> Victim {
        let options = options().capacity(capacity).slot_size(SLOT).participants(8);
        let ring = options.exclusive(exclusive).create(name).unwrap();
        let participants = if exclusive { 2 } else { 8 };
        Victim {
            producer: ring.producer().unwrap(),
            consumer: ring.consumer().unwrap(),
            file: OpenOptions::new().read(true).write(true).open(format!("/dev/shm/{name}")).unwrap(),
            geometry: Geometry::new(capacity, SLOT, participants, 1, exclusive as u64).unwrap(),
            ring,
        }
    }

    /// Overwrites some words.
    fn damage(&self, random: &mut Random) {
        for _ in 0..1 + random.below(12) {
            let at = match random.below(8) {
                // Slot words are what everything hangs on.
                0..4 => self.geometry.words + 8 * random.below(self.geometry.capacity),
                4 => [head::HEAD, head::TAIL][random.below(2) as usize],
                5 => [
                    head::EVENTS,
                    head::SERIAL,
                    head::STREAM_STATE,
                    head::ITEMS_WAITING,
                    head::ROOM_WAITING,
                    head::SWEPT_AT,
                ][random.below(6) as usize],
                6 => HEAD_BYTES + 8 * random.below((self.geometry.words - HEAD_BYTES) / 8),
                _ => match random.below(2) {
                    0 => self.geometry.lengths + 8 * random.below(self.geometry.capacity / 2),
                    _ => {
                        let bytes = self.geometry.capacity * self.geometry.header_stride;
                        self.geometry.headers + 8 * random.below(bytes / 8)
                    }
                },
            };
            let mut old = [0; 8];
            self.file.read_exact_at(&mut old, at).unwrap();
            let old = u64::from_le_bytes(old);
            let new = match random.below(6) {
                0 => random.next(),
                1 => 0,
                2 => u64::MAX,
                // A likely word, slightly wrong: another tag, owner, run or lap.
                3 => old ^ 1 << random.below(64),
                4 => old & !15 | random.below(11),
                _ => old.wrapping_add(random.below(16) << 23),
            };
            self.file.write_all_at(&new.to_le_bytes(), at).unwrap();
        }
    }

    /// Calls everything there is; what it answers does not matter.
    fn use_all(&mut self, random: &mut Random) {
        let Victim { ring, producer, consumer, .. } = self;
        let short = Duration::from_micros(random.below(300));
        let bytes = vec![7; random.below(ring.max_item() + 2) as usize];
        for _ in 0..4 {
            match random.below(14) {
                0 => drop(producer.try_send(&bytes)),
                1 => drop(producer.send_timeout(&bytes, short)),
                2 => drop(producer.send_batch_timeout(&[&bytes[..], b"x", &bytes], short)),
                3 => drop(producer.reserve_timeout(bytes.len() as u64, short)),
                4 => {
                    if let Ok(reservation) = producer.reserve_timeout(bytes.len() as u64, short) {
                        reservation.commit_first(random.below(20));
                    }
                }
                5 if !ring.is_exclusive() => {
                    producer.set_on_full(OnFull::DropOldest).unwrap();
                    drop(producer.send_timeout(&bytes, short));
                    producer.set_on_full(OnFull::Block).unwrap();
                }
                6 => drop(consumer.try_recv()),
                7 => {
                    if let Ok(item) = consumer.recv_timeout(short) {
                        std::hint::black_box(item.iter().map(|byte| *byte as u64).sum::<u64>());
                        item.ack();
                    }
                }
                8 => {
                    if let Ok(mut batch) = consumer.recv_batch_timeout(4, short) {
                        std::hint::black_box(batch.iter().map(|item| item.to_vec().len()).sum::<usize>());
                        while batch.ack_first() {}
                    }
                }
                9 => drop(consumer.recv_batch_timeout(9, short).map(|batch| batch.ack())),
                10 => drop(ring.snapshot()),
                11 => drop(ring.peek(5)),
                12 => drop(ring.repair()),
                _ => drop((ring.producer(), ring.consumer(), ring.participants(), producer.is_abandoned())),
            }
        }
    }
}

#[test]
fn hostile_bytes_give_values_or_errors_and_never_a_panic_or_an_endless_loop() {
    let seed = seed();
    let cases = env_number("RINGPIPE_HOSTILE_CASES").unwrap_or(if is_ci() { CASES_CI } else { CASES });
    report(&format!("hostile: seed {seed}, {cases} cases"));
    // Few at a time: on a busy machine a wait by sched_yield takes other processes' slices.
    for first in (0..cases).step_by(5) {
        within(&format!("seed {seed}, cases from {first}"), move || {
            for case in first..(first + 5).min(cases) {
                let mut random = Random::new(seed.wrapping_add(case));
                let work = || one_case(&mut random);
                let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
                assert!(result.is_ok(), "RINGPIPE_STORM_SEED={} panics in its first case", seed + case);
            }
        });
    }
}

fn one_case(random: &mut Random) {
    let name = TestName::new("hostile");
    let capacity = 2 << random.below(4);
    let exclusive = random.one_in(3);
    let mut victim = Victim::new(&name, capacity, exclusive);
    let stop = StopFlag::new();
    victim.producer.set_stop_flag(stop.clone());
    victim.consumer.set_stop_flag(stop);
    victim.use_all(random);
    for _ in 0..3 {
        victim.damage(random);
        victim.use_all(random);
    }
    let Victim { ring, producer, consumer, .. } = victim;
    drop((producer, consumer));
    ring.close();
    ring.remove().unwrap();
}

#[test]
fn a_consumer_that_holds_an_item_survives_damage_to_the_ring() {
    let name = TestName::new("held-hostile");
    let mut victim = Victim::new(&name, 8, false);
    for mask in [u64::MAX, 0xf, 0x3ff0, 1 << 22, 1 << 23, 1 << 63] {
        let _ = victim.producer.try_send(b"held");
        if let Ok(item) = victim.consumer.try_recv() {
            for slot in 0..8 {
                let at = victim.geometry.words + 8 * slot;
                let mut word = [0; 8];
                victim.file.read_exact_at(&mut word, at).unwrap();
                let word = u64::from_le_bytes(word) ^ mask;
                victim.file.write_all_at(&word.to_le_bytes(), at).unwrap();
            }
            item.ack();
        }
    }
    victim.ring.remove().unwrap();
}

/// Forged: the word of the last slot says that its item goes on where the ring ends.
#[test]
fn an_item_that_passes_the_end_of_the_ring_is_cut_there() {
    let name = TestName::new("past-the-end");
    for batch in [false, true] {
        let Victim { ring, mut producer, mut consumer, file, geometry } = Victim::new(&name, 8, false);
        (0..8).for_each(|_| producer.send(b"x").unwrap());
        (0..7).for_each(|_| consumer.recv().unwrap().ack());
        let word = Codec::new(8).pack(Tag::Ready, 7, 4, 0, 0);
        file.write_all_at(&word.0.to_le_bytes(), geometry.words + 8 * 7).unwrap();
        let length = geometry.lengths + 4 * 7;
        file.write_all_at(&(4 * SLOT as u32).to_le_bytes(), length).unwrap();
        if batch {
            let batch = consumer.recv_batch(4).unwrap();
            assert!(batch.iter().all(|item| item.to_vec().len() == item.len() && item.len() as u64 <= SLOT));
            batch.ack();
        } else {
            let item = consumer.recv().unwrap();
            assert_eq!((item.len(), item.in_place().len()), (SLOT as usize, SLOT as usize));
            item.ack();
        }
        drop((producer, consumer));
        ring.remove().unwrap();
    }
}
