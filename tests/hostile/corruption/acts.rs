//! The process that damages.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ringpipe::RingName;
use ringpipe::internal::layout::geometry::HEAD_BYTES;
use ringpipe::internal::layout::head;
use ringpipe::internal::sys::segment::Segment;
use ringpipe::internal::sys::semaphore::RawSemaphore;

use crate::support::{Random, again, die_with_parent};

const CORRUPTION: &str = "RINGPIPE_TEST_CORRUPTION";

/// What the corrupting process overwrites.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Everything.
    All,
    /// The fixed part and the table of participants.
    Head,
    /// The slots' words and the items' headers.
    Slots,
    /// Posts and drains the semaphores.
    Semaphores,
    /// Overwrites the semaphores, too.
    SemaphoreBytes,
    /// Cuts the file, and grows it again half of the times.
    Length,
}

impl Style {
    pub const ALL: [Style; 6] =
        [Style::All, Style::Head, Style::Slots, Style::Semaphores, Style::SemaphoreBytes, Style::Length];
}

/// The orders of a corrupting process: all of them numbers.
#[derive(Debug, Clone, Copy)]
pub struct Orders {
    pub style: Style,
    pub seed: u64,
    /// Longest pause between two acts, in microseconds.
    pub pause: u64,
    pub time: Duration,
    /// Where the slots' words begin, and where the payload.
    pub words: u64,
    pub payload: u64,
}

/// A corrupting process that is to be started.
pub fn of(name: &str, orders: &Orders) -> Command {
    let style = Style::ALL.iter().position(|one| *one == orders.style).unwrap_or(0);
    let Orders { seed, pause, time, words, payload, .. } = *orders;
    let text = format!("{name} {style} {seed} {pause} {} {words} {payload}", time.as_millis());
    let mut command = again("corruption::another_process", CORRUPTION, &text);
    // The harness prints to standard output.
    command.stderr(Stdio::piped());
    command
}

pub fn run_if_told() {
    let Ok(text) = std::env::var(CORRUPTION) else { return };
    die_with_parent();
    // It maps the segment, too.
    ringpipe::survive_truncation().unwrap();
    let mut parts = text.split(' ');
    let name = parts.next().unwrap().to_string();
    let numbers: Vec<u64> = parts.map(|part| part.parse().unwrap()).collect();
    let [style, seed, pause, time, words, payload] = numbers[..] else { panic!("{text}") };
    let style = Style::ALL[style as usize];
    let orders = Orders { style, seed, pause, time: Duration::from_millis(time), words, payload };
    let acts = damage(&name, &orders);
    let _ = writeln!(std::io::stderr(), "{acts}");
    std::process::exit(0);
}

/// Damages until the time is over; answers how often.
fn damage(name: &str, orders: &Orders) -> u64 {
    let path = format!("/dev/shm/{name}");
    let Ok(file) = OpenOptions::new().read(true).write(true).open(&path) else { return 0 };
    let size = file.metadata().map_or(0, |found| found.len());
    let segment = RingName::parse(name).and_then(|name| Segment::open(&name, Default::default())).ok();
    let mut random = Random::new(orders.seed);
    let (begin, mut acts) = (Instant::now(), 0);
    while begin.elapsed() < orders.time {
        match orders.style {
            Style::Length => {
                std::thread::sleep(Duration::from_millis(random.below(400)));
                let _ = file.set_len(random.below(size + 1) & !(random.below(2) * 4095));
                if random.one_in(2) {
                    std::thread::sleep(Duration::from_micros(random.below(2000)));
                    let _ = file.set_len(size);
                }
            }
            Style::Semaphores => {
                let at = [head::ITEMS_SEMAPHORE, head::ROOM_SEMAPHORE, head::MUTEX_SEMAPHORE];
                if let Some(segment) = &segment {
                    tamper(segment, at[random.below(3) as usize], &mut random);
                }
            }
            _ => overwrite(&file, orders, size, &mut random),
        }
        acts += 1;
        if orders.pause > 0 {
            std::thread::sleep(Duration::from_micros(random.below(orders.pause)));
        }
    }
    acts
}

/// Posts a semaphore some times, or drains it.
fn tamper(segment: &Segment, at: u64, random: &mut Random) {
    // SAFETY: the place lies in the fixed part of a ring, aligned to 64 bytes, and the segment outlives the handle.
    let semaphore = unsafe { RawSemaphore::at(segment.base().add(at as usize)) };
    match random.one_in(3) {
        true => (0..random.below(5)).for_each(|_| drop(semaphore.post())),
        false => while let Ok(true) = semaphore.try_wait() {},
    }
}

fn overwrite(file: &File, orders: &Orders, size: u64, random: &mut Random) {
    let within = |from: u64, to: u64, random: &mut Random| from + random.below((to - from).max(8)) / 8 * 8;
    let at = match orders.style {
        Style::Head => within(0, orders.words, random),
        Style::Slots => within(orders.words, orders.payload, random),
        Style::SemaphoreBytes => within(head::ITEMS_SEMAPHORE, head::MUTEX_SEMAPHORE + 64, random),
        _ => match random.below(4) {
            0 => within(0, HEAD_BYTES, random),
            1 => within(orders.words, orders.payload, random),
            2 => within(0, orders.words, random),
            _ => within(0, size, random),
        },
    };
    let mut old = [0; 8];
    let _ = file.read_at(&mut old, at);
    let old = u64::from_le_bytes(old);
    let new = match random.below(7) {
        0 => random.next(),
        1 => 0,
        2 => u64::MAX,
        3 => old ^ 1 << random.below(64),
        4 => old & !15 | random.below(16),
        5 => old.wrapping_add(random.below(64) << 23),
        _ => random.below(1 << 12),
    };
    if at + 8 <= size {
        let _ = file.write_all_at(&new.to_le_bytes(), at);
    }
}
