//! Any bytes under a name, opened in every way there is.
//!
//! The input chooses what the file begins as (nothing, a ring, or one of the named objects), what is overwritten
//! in it, and where it is cut.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use ringpipe::sync::{Condition, Event, Lock, Semaphore};
use ringpipe::{Ring, RingName, RingOptions};

use super::{Input, Name, likely_word};

/// An object with this many bytes or more is longer than any that is made here.
const LONGEST: u64 = 96 * 1024;
const MOMENT: Duration = Duration::from_micros(100);

pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let name = Name::new("preamble");
    let Some(file) = begin(&name, &mut input) else { return };
    overwrite(&file, &mut input);
    open_as_everything(&name);
    drop(file);
    let parsed = RingName::parse(&name).expect("a good name");
    let _ = Ring::remove_leftover(&parsed);
}

fn begin(name: &Name, input: &mut Input<'_>) -> Option<File> {
    match input.below(8) {
        0 => {
            let file = OpenOptions::new().read(true).write(true).create_new(true).open(name.path()).ok()?;
            let text = input.rest();
            // Not a file without bytes: opening it waits for its creator to continue.
            let len = text.len().clamp(4096, LONGEST as usize);
            file.write_all_at(&vec![0; len], 0).ok()?;
            file.write_all_at(&text[..text.len().min(len)], 0).ok()?;
            return Some(file);
        }
        1..4 => {
            let options = RingOptions::new().capacity(8).slot_size(16).participants(4);
            drop(options.exclusive(input.below(2) == 0).create(name).ok()?);
        }
        4 => drop(Lock::create(name).ok()?),
        5 => drop(Semaphore::create(name, 2, 3).ok()?),
        6 => drop(Condition::create(name).ok()?),
        _ => drop(Event::create(name).ok()?),
    }
    name.file()
}

fn overwrite(file: &File, input: &mut Input<'_>) {
    let Ok(len) = file.metadata().map(|found| found.len()) else { return };
    for _ in 0..64 {
        if input.is_empty() {
            return;
        }
        let at = match input.below(8) {
            // The preamble.
            0..4 => 4 * input.below(32),
            4..7 => 8 * input.below(512),
            _ => 8 * input.below((len / 8).max(1)),
        };
        let mut old = [0; 8];
        let _ = file.read_at(&mut old, at);
        let new = likely_word(input, u64::from_le_bytes(old));
        let bytes = new.to_le_bytes();
        let _ = file.write_all_at(&bytes[..if input.below(2) == 0 { 4 } else { 8 }], at);
        if input.below(32) == 31 {
            let _ = file.set_len((input.below(1 << 16) * 8).clamp(1, LONGEST));
        }
    }
}

fn open_as_everything(name: &Name) {
    let parsed = RingName::parse(name).expect("a good name");
    let rings = [Ring::look(&parsed), Ring::open(name), RingOptions::new().prefault(true).open(name)];
    for ring in rings.into_iter().flatten() {
        drop((ring.snapshot(), ring.peek(4), ring.participants(), ring.repair(), ring.is_drained()));
        ring.slots().for_each(|slot| drop(ring.slot_item(&slot, 8)));
        if let (Ok(mut producer), Ok(mut consumer)) = (ring.producer(), ring.consumer()) {
            let _ = producer.send_timeout(b"one", MOMENT);
            let _ = producer.send_timeout(&[7; 40], MOMENT);
            for _ in 0..20 {
                let Ok(item) = consumer.recv_timeout(MOMENT) else { break };
                std::hint::black_box(item.to_vec());
                item.ack();
            }
        }
    }
    let _ = RingOptions::new().capacity(4).create(name);
    if let Ok(mut lock) = Lock::open(name) {
        drop(lock.lock_timeout(MOMENT).map(|guard| guard.abandon()));
        drop(lock.try_lock());
    }
    if let Ok(semaphore) = Semaphore::open(name) {
        let _ = (semaphore.value(), semaphore.most());
        drop((semaphore.acquire_timeout(MOMENT), semaphore.try_acquire()));
        let _ = semaphore.release();
    }
    if let Ok(mut condition) = Condition::open(name)
        && let Ok(guard) = condition.lock_timeout(MOMENT)
    {
        guard.notify_one();
        guard.notify_all();
        drop(guard.wait_timeout(MOMENT));
    }
    if let Ok(mut event) = Event::open(name) {
        drop((event.is_set(), event.wait_timeout(MOMENT), event.take_timeout(MOMENT)));
        drop((event.set(), event.reset()));
    }
}
