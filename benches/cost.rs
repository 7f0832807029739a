//! What an item costs without a peer, and what waiting costs.
//!
//! ```text
//! cargo bench --bench cost        # about fifteen seconds
//! ```
//!
//! One thread sends 500 items and then receives them, again and again, so that no cache line travels: the
//! price of the instructions alone. Then a consumer waits for ten seconds, with a producer attached that sends
//! nothing, and its thread's processor time is read.

use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use ringpipe::{Error, Ring, RingOptions};

const ROUND: u32 = 500;
const ROUNDS: u32 = 4000;
const IDLE: Duration = Duration::from_secs(10);

fn main() -> Result<(), Error> {
    for exclusive in [true, false] {
        for size in [8, 64, 1024] {
            with_ring(exclusive, size, |ring| item(ring, exclusive, size as usize))?;
        }
    }
    with_ring(false, 64, idle)
}

fn with_ring(exclusive: bool, size: u64, work: impl Fn(&Ring) -> Result<(), Error>) -> Result<(), Error> {
    let name = format!("bench-cost-{}", std::process::id());
    let options = RingOptions::new().capacity(1024).slot_size(size).exclusive(exclusive).prefault(true);
    let ring = options.create(&name)?;
    let result = work(&ring);
    ring.remove()?;
    result
}

fn item(ring: &Ring, exclusive: bool, size: usize) -> Result<(), Error> {
    let (mut producer, mut consumer) = (ring.producer()?, ring.consumer()?);
    let bytes = vec![1; size];
    let (mut sending, mut receiving) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..ROUND {
            producer.send(&bytes)?;
        }
        let middle = Instant::now();
        for _ in 0..ROUND {
            let item = consumer.recv()?;
            std::hint::black_box(&*item);
            item.ack();
        }
        sending += middle - start;
        receiving += middle.elapsed();
    }
    let each = |time: Duration| time.as_nanos() as f64 / f64::from(ROUND * ROUNDS);
    let kind = if exclusive { "exclusive" } else { "for many" };
    println!(
        "{kind}, {size:>4} B: send {:.1} ns, receive and acknowledge {:.1} ns",
        each(sending),
        each(receiving)
    );
    Ok(())
}

fn idle(ring: &Ring) -> Result<(), Error> {
    let (_producer, mut consumer) = (ring.producer()?, ring.consumer()?);
    let cpu = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default();
    let before = cpu();
    assert!(matches!(consumer.recv_timeout(IDLE), Err(Error::TimedOut)));
    let used = cpu() - before;
    let share = 100.0 * used.as_secs_f64() / IDLE.as_secs_f64();
    println!(
        "waiting for {IDLE:?}: {:.1} ms of processor time, {share:.3} % of a core",
        used.as_secs_f64() * 1e3
    );
    Ok(())
}
