//! The loops that are measured, the same for every carrier.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::control::{Control, Phase};
use crate::message::{self, Checker};
use crate::peer::{Receiver, Sender, Work};

/// Messages between two looks at the stop flag.
const STRETCH: u64 = 64;

/// Memory of the sender or the receiver, at the start of a page: copies to or from a place shortly behind
/// another one, modulo 4096, are many times slower than others on some processors.
struct Buffer(Vec<Page>);

#[derive(Clone, Copy, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C, align(4096))]
struct Page([u8; message::PAGE]);

impl Buffer {
    fn new(bytes: usize) -> Self {
        Buffer(bytemuck::zeroed_vec(bytes.div_ceil(size_of::<Page>())))
    }

    fn bytes(&mut self) -> &mut [u8] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

/// Sends until the parent says stop.
pub fn send<S: Sender>(link: &mut S, work: &Work, sender: usize, control: &Control, worker: usize) {
    let line = control.line(worker);
    let mut buffer = Buffer::new(work.size * work.batch);
    let buffer = &mut buffer.bytes()[..work.size * work.batch];
    let (mut sequence, mut sum) = (0u64, 0u64);
    let mut next = || {
        let stamp = message::stamp(sender, sequence);
        sequence += 1;
        sum = sum.wrapping_add(stamp);
        (stamp, sequence, sum)
    };
    while !control.is_stopped() {
        let calls = if work.size >= message::PAGE { 1 } else { STRETCH.div_ceil(work.batch as u64) };
        for _ in 0..calls {
            let (sent, sum) = if work.in_place {
                let (stamp, sent, sum) = next();
                link.send_in_place(work.size, |place| message::fill_pages(place, stamp));
                (sent, sum)
            } else if work.batch == 1 {
                let (stamp, sent, sum) = next();
                message::fill(buffer, stamp);
                link.send(buffer);
                (sent, sum)
            } else {
                let mut last = (0, 0);
                for message in buffer.chunks_exact_mut(work.size) {
                    let (stamp, sent, sum) = next();
                    message::fill(message, stamp);
                    last = (sent, sum);
                }
                link.send_batch(buffer, work.size);
                last
            };
            line.count(sent, sum);
        }
    }
}

/// Receives until this process is killed.
pub fn receive<R: Receiver>(link: &mut R, work: &Work, control: &Control, worker: usize) -> ! {
    let line = control.line(worker);
    let mut buffer = Buffer::new(work.size * work.batch);
    let buffer = &mut buffer.bytes()[..work.size * work.batch];
    let mut checker = Checker::new(work.senders, work.receivers);
    loop {
        if work.in_place {
            link.receive_in_place(work.size, |place| checker.check_pages(place));
        } else if work.batch == 1 {
            link.receive(buffer);
            checker.check(buffer);
        } else {
            let count = link.receive_batch(buffer, work.size);
            buffer.chunks_exact(work.size).take(count).for_each(|message| checker.check(message));
        }
        line.show(&checker);
    }
}

/// What a round trip took, in nanoseconds.
pub type Times = Histogram<u64>;

/// Above this a time counts as this.
const LONGEST: u64 = 60_000_000_000;

/// An empty set of times: two digits, which is 1 ns below 256 ns.
pub fn times() -> Times {
    Histogram::new_with_max(LONGEST, 2).expect("two digits are allowed")
}

/// Sends a word and awaits its answer until the parent says stop, pausing before each.
///
/// The answer says how long the other side kept it, and that is not counted.
pub fn ping<S: Sender, R: Receiver>(to: &mut S, from: &mut R, pause: Duration, control: &Control) -> Times {
    let mut times = times();
    let line = control.line(0);
    let mut faults = Checker::new(1, 1);
    for sequence in 0u64.. {
        let phase = control.phase();
        if phase == Phase::Stop {
            break;
        }
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
        let mut answer = [0; 8];
        let start = Instant::now();
        to.send(&sequence.to_ne_bytes());
        from.receive(&mut answer);
        let elapsed = start.elapsed().as_nanos() as u64;
        let (kept, number) = split(u64::from_ne_bytes(answer));
        if number != sequence as u32 {
            faults.faults.corrupted += 1;
        }
        if phase == Phase::Measure {
            times.saturating_record(elapsed.saturating_sub(kept));
        }
        faults.received = sequence + 1;
        line.show(&faults);
    }
    times
}

/// Answers every word, `pause` after it came, until this process is killed.
pub fn pong<S: Sender, R: Receiver>(to: &mut S, from: &mut R, pause: Duration) -> ! {
    let mut question = [0; 8];
    loop {
        from.receive(&mut question);
        let mut kept = 0;
        if !pause.is_zero() {
            let came = Instant::now();
            std::thread::sleep(pause);
            kept = came.elapsed().as_nanos() as u64;
        }
        to.send(&join(kept, u64::from_ne_bytes(question)).to_ne_bytes());
    }
}

fn join(kept: u64, number: u64) -> u64 {
    kept << 32 | number & 0xffff_ffff
}

fn split(answer: u64) -> (u64, u32) {
    (answer >> 32, answer as u32)
}
