//! A ring that is used while its bytes are overwritten, and its file is cut and grown.
//!
//! The input chooses a geometry, a discipline, and steps: overwrite a word, or call something. What holds an item
//! or a reservation goes on with other steps before it resolves it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;

use ringpipe::internal::layout::geometry::{Geometry, HEAD_BYTES, PARTICIPANT_BYTES};
use ringpipe::internal::layout::{entry, head, header};
use ringpipe::{
    Consumer, Discipline, ItemKey, OnFull, Producer, Ring, RingOptions, StopFlag, Thresholds,
    survive_truncation,
};

use super::{Input, Name, likely_word};

/// More steps show nothing that fewer do not.
const MOST_STEPS: usize = 200;
/// Guards within guards.
const DEEPEST: usize = 3;

pub fn run(bytes: &[u8]) {
    survive_truncation().expect("a handler can be installed");
    let mut input = Input::new(bytes);
    let name = Name::new("segment");
    let Some(mut scene) = Scene::new(&name, &mut input) else { return };
    scene.steps = MOST_STEPS;
    while !input.is_empty() && scene.steps > 0 {
        scene.step(&mut input, 0);
    }
    let Scene { ring, producers, consumers, .. } = scene;
    drop((producers, consumers));
    ring.close();
    let _ = ring.remove();
}

struct Scene {
    ring: Ring,
    producers: Vec<Producer>,
    consumers: Vec<Consumer>,
    file: File,
    geometry: Geometry,
    steps: usize,
}

fn discipline(input: &mut Input<'_>) -> Discipline {
    match input.below(6) {
        0..=2 => Discipline::Adaptive,
        3 => Discipline::Semaphore,
        4 => Discipline::Polling,
        _ => {
            let wake_at = 1 + input.below(4);
            let resume_at = match input.below(2) {
                0 => None,
                _ => Some(input.below(wake_at)),
            };
            Discipline::Monitor(Thresholds { wake_at, resume_at })
        }
    }
}

impl Scene {
    fn new(name: &Name, input: &mut Input<'_>) -> Option<Scene> {
        let shape = input.byte();
        let exclusive = shape & 3 == 3;
        let flags = exclusive as u64 | ((shape >> 2) as u64 & 1) << 1 | ((shape >> 3) as u64 & 1) << 2;
        let (capacity, slot_size) = (2 << (shape >> 4 & 3), 8 << (shape >> 6 & 3));
        let participants = if exclusive { 2 } else { 8 };
        let discipline = discipline(input);
        let options = RingOptions::new().capacity(capacity).slot_size(slot_size).participants(participants);
        let options = options.exclusive(exclusive).timestamps(flags & 2 != 0).ephemeral(flags & 4 != 0);
        let ring = options.sync(discipline).create(name).ok()?;
        let geometry = Geometry::new(capacity, slot_size, participants, 1, flags).ok()?;
        let geometry = geometry.with_discipline(discipline).ok()?;
        Some(Scene {
            producers: Vec::new(),
            consumers: Vec::new(),
            file: name.file()?,
            geometry,
            steps: 0,
            ring,
        })
    }

    /// The place of a word.
    fn place(&self, input: &mut Input<'_>) -> u64 {
        let geometry = &self.geometry;
        let at = match input.below(16) {
            // Slot words are what everything hangs on.
            0..6 => geometry.words + 8 * input.below(geometry.capacity),
            6 => [head::HEAD, head::TAIL, head::STREAM_STATE, head::EVENTS][input.below(4) as usize],
            7 => [
                head::SERIAL,
                head::FENCES,
                head::NUMBERS,
                head::FAIRNESS,
                head::ITEMS_WAITING,
                head::SWEPT_AT,
                head::ITEMS_STARTS,
                head::ROOM_WAITING,
                head::ROOM_STARTS,
                head::MUTEX_OWNER,
            ][input.below(10) as usize],
            8 => {
                let semaphores = [head::ITEMS_SEMAPHORE, head::ROOM_SEMAPHORE, head::MUTEX_SEMAPHORE];
                semaphores[input.below(3) as usize] + 8 * input.below(4)
            }
            9..11 => {
                let entry = HEAD_BYTES + PARTICIPANT_BYTES * input.below(geometry.participants as u64);
                let word = [
                    entry::STATE,
                    entry::STATE,
                    entry::PID,
                    entry::COMMAND,
                    entry::ACTIVITY,
                    entry::COUNTERS,
                ];
                entry + word[input.below(6) as usize]
            }
            11..14 => {
                let slot = input.below(geometry.capacity);
                let header = geometry.headers + geometry.header_stride * slot;
                // A word has the lengths of two slots.
                [(geometry.lengths + 4 * slot) & !7, header + header::SEQUENCE][input.below(2) as usize]
            }
            14 => 8 * input.below(HEAD_BYTES / 8),
            _ => 8 * input.below(geometry.size / 8),
        };
        at.min(geometry.size - 8)
    }

    fn damage(&self, input: &mut Input<'_>) {
        if input.below(40) == 39 {
            return self.cut(input);
        }
        let at = self.place(input);
        let mut old = [0; 8];
        let _ = self.file.read_at(&mut old, at);
        let new = likely_word(input, u64::from_le_bytes(old));
        let _ = self.file.write_all_at(&new.to_le_bytes(), at);
    }

    /// Cuts the file, and may grow it again: what was cut off is then zeros, and no signal tells of it.
    fn cut(&self, input: &mut Input<'_>) {
        let _ = self.file.set_len(input.below(self.geometry.size / 8) * 8);
        if input.below(2) == 0 {
            let _ = self.file.set_len(self.geometry.size);
        }
    }

    /// One step. What it answers does not matter.
    fn step(&mut self, input: &mut Input<'_>, depth: usize) {
        self.steps = self.steps.saturating_sub(1);
        match input.below(8) {
            0..3 => self.damage(input),
            3 | 4 => self.send(input, depth),
            5 | 6 => self.receive(input, depth),
            _ => self.other(input),
        }
    }

    /// Some steps while something is held.
    fn meanwhile(&mut self, input: &mut Input<'_>, depth: usize) {
        if depth < DEEPEST {
            for _ in 0..input.below(4) {
                self.step(input, depth + 1);
            }
        }
    }

    fn send(&mut self, input: &mut Input<'_>, depth: usize) {
        let which = input.byte() as usize;
        if self.producers.len() < 2 && (self.producers.is_empty() || which & 16 != 0) {
            self.producers.extend(self.ring.producer().ok());
        }
        if self.producers.is_empty() {
            return;
        }
        let mut producer = self.producers.swap_remove(which % self.producers.len());
        let bytes = vec![which as u8; input.below(self.ring.max_item() + 2) as usize];
        let wait = input.moment();
        match input.below(9) {
            0 => drop(producer.try_send(&bytes)),
            1 if which & 8 != 0 => {
                let key = ItemKey { producer: which as u32, sequence: ItemKey::MAX_SEQUENCE };
                let _ = producer.send_as_timeout(key, &bytes, wait);
            }
            1 => drop(producer.send_timeout(&bytes, wait)),
            2 => drop(producer.send_batch_timeout(&[&bytes[..], b"x", &bytes], wait)),
            3 => drop(producer.send_batch_timeout(&["a", "b", "c", "d", "e"], wait)),
            4 | 5 => {
                if let Ok(mut reservation) = producer.reserve_timeout(bytes.len() as u64, wait) {
                    let _ = reservation.write_at(input.below(16), &bytes);
                    let _ = reservation.write(&bytes);
                    self.meanwhile(input, depth);
                    match input.below(4) {
                        0 => reservation.commit(),
                        1 => reservation.commit_first(input.below(64)),
                        2 => drop(reservation),
                        _ => std::mem::forget(reservation),
                    }
                }
            }
            6 => {
                let policies = [OnFull::Block, OnFull::Fail, OnFull::DropNewest, OnFull::DropOldest];
                let _ = producer.set_on_full(policies[input.below(4) as usize]);
                let _ = producer.send_timeout(&bytes, wait);
            }
            7 => {
                raised(|stop| producer.set_stop_flag(stop));
                let _ = producer.writer(7).write_all(&bytes);
            }
            _ => drop((producer.is_abandoned(), producer.totals())),
        }
        if input.below(8) > 0 {
            self.producers.push(producer);
        }
    }

    fn receive(&mut self, input: &mut Input<'_>, depth: usize) {
        let which = input.byte() as usize;
        if self.consumers.len() < 2 && (self.consumers.is_empty() || which & 16 != 0) {
            self.consumers.extend(self.ring.consumer().ok());
        }
        if self.consumers.is_empty() {
            return;
        }
        let mut consumer = self.consumers.swap_remove(which % self.consumers.len());
        let wait = input.moment();
        match input.below(8) {
            0 => drop(consumer.try_recv()),
            1 | 2 => {
                if let Ok(item) = consumer.recv_timeout(wait) {
                    self.meanwhile(input, depth);
                    sum(&item);
                    let mut part = [0; 9];
                    item.copy_to(&mut part);
                    match input.below(4) {
                        0 | 1 => item.ack(),
                        2 => {
                            let item = item.into_owned();
                            self.meanwhile(input, depth + 1);
                            sum(&[item.record_failure(), item.failures()]);
                            item.give_back();
                        }
                        _ => std::mem::forget(item),
                    }
                }
            }
            3 | 4 => {
                if let Ok(mut batch) = consumer.recv_batch_timeout(1 + input.below(70) as usize, wait) {
                    self.meanwhile(input, depth);
                    batch.iter().for_each(|item| sum(&item.to_vec()));
                    for _ in 0..input.below(4) {
                        batch.ack_first();
                        self.meanwhile(input, depth + 1);
                        batch.iter().for_each(|item| sum(&item.sequence().to_le_bytes()));
                    }
                    match input.below(3) {
                        0 | 1 => batch.ack(),
                        _ => batch.give_back(),
                    }
                }
            }
            5 => {
                raised(|stop| consumer.set_stop_flag(stop));
                let mut part = vec![0; input.below(100) as usize];
                let _ = consumer.reader().read(&mut part);
            }
            6 => {
                raised(|stop| consumer.set_stop_flag(stop));
                consumer.set_follow(which & 32 != 0);
                consumer.items().take(3).flatten().for_each(|bytes| sum(&bytes));
            }
            _ => {
                let mut typed = consumer.typed::<[u32; 4]>();
                if let Ok(item) = typed.recv_timeout(wait) {
                    item.ack();
                }
                consumer = typed.into_inner();
            }
        }
        if input.below(8) > 0 {
            self.consumers.push(consumer);
        }
    }

    fn other(&mut self, input: &mut Input<'_>) {
        let ring = &self.ring;
        match input.below(12) {
            0 => drop(ring.snapshot()),
            1 => drop(ring.peek(5)),
            2 => ring.slots().for_each(|slot| drop(ring.slot_item(&slot, 20))),
            3 => drop(ring.participants()),
            4 | 5 => drop(ring.repair()),
            6 => drop((ring.is_drained(), ring.is_over(), ring.is_closed(), ring.name_state())),
            7 => drop(ring.close()),
            8 => drop(ring.remove_if_deserted(input.below(2) == 0)),
            9 => drop((Ring::open(ring.name()), RingOptions::new().create(ring.name()))),
            10 => self.producers.clear(),
            _ => self.consumers.clear(),
        }
    }
}

/// With a flag that is raised already an endless wait ends at once.
fn raised(set: impl FnOnce(StopFlag)) {
    let stop = StopFlag::new();
    stop.raise();
    set(stop);
}

fn sum(bytes: &[u8]) {
    std::hint::black_box(bytes.iter().map(|byte| *byte as u64).sum::<u64>());
}
