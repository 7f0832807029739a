//! Whether an item costs the same in a large ring, in a crowd, and after many deaths.
//!
//! ```text
//! cargo bench --bench growth        # about a minute
//! ```
//!
//! One thread sends 32 items of 8 bytes and receives them, again and again, around the whole ring. Rounds are
//! interleaved. The bench prints medians, and their ratio to the first line of each table.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use ringpipe::{Consumer, Discipline, Error, Producer, Ring, RingOptions};

/// Items sent before they are received.
const STRETCH: u64 = 32;
/// Items in a measurement; more in a large ring, so that the measurement goes around it.
const ITEMS: u64 = 1 << 18;
const ROUNDS: usize = 51;
const DEATHS: usize = 1000;
/// The child that waits, and is killed.
const WAITER: &str = "wait";

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, word, name] = &arguments[..]
        && word == WAITER
    {
        return wait(name);
    }
    // Each handle has a descriptor of its own.
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
    println!("nanoseconds to send and to receive an item; medians of {ROUNDS} rounds");
    by_capacity()?;
    by_participants()?;
    Discipline::ALL.iter().try_for_each(|discipline| by_deaths(*discipline))
}

fn by_capacity() -> Result<(), Error> {
    let slots = [6, 10, 14, 17, 20].map(|bits| 1_u64 << bits);
    let mut rings = slots
        .into_iter()
        .map(|slots| Pair::new(slots, 2, Discipline::Adaptive))
        .collect::<Result<Vec<_>, _>>()?;
    let mut times = vec![Vec::new(); rings.len()];
    for _ in 0..ROUNDS {
        for (pair, times) in rings.iter_mut().zip(&mut times) {
            times.push(pair.measure()?);
        }
    }
    table("slots", rings.iter().map(|pair| pair.ring.capacity().to_string()).zip(times));
    Ok(())
}

fn by_participants() -> Result<(), Error> {
    let (mut pairs, mut idle) = (Vec::new(), Vec::new());
    for count in [2, 100, 1000] {
        let pair = Pair::new(1024, 1024, Discipline::Adaptive)?;
        for _ in 2..count {
            idle.push(pair.ring.consumer()?);
        }
        pairs.push((count, pair));
    }
    let mut times = vec![Vec::new(); pairs.len()];
    for _ in 0..ROUNDS {
        for ((_, pair), times) in pairs.iter_mut().zip(&mut times) {
            times.push(pair.measure()?);
        }
    }
    table("participants", pairs.iter().map(|(count, _)| count.to_string()).zip(times));
    drop(idle);
    Ok(())
}

/// In each discipline, waiting consumers are killed: under most disciplines while they sleep.
fn by_deaths(discipline: Discipline) -> Result<(), Error> {
    let (mut calm, mut struck) = (Pair::new(1024, 1024, discipline)?, Pair::new(1024, 1024, discipline)?);
    for _ in 0..DEATHS / 20 {
        let mut waiters: Vec<Child> = (0..20).map(|_| struck.waiter()).collect();
        for waiter in &mut waiters {
            // The child prints a line when it is about to wait.
            let _ = waiter.stdout.as_mut().map(|out| out.read(&mut [0]));
        }
        std::thread::sleep(Duration::from_millis(2));
        for mut waiter in waiters {
            let _ = waiter.kill();
            let _ = waiter.wait();
        }
    }
    struck.ring.repair();
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        times[0].push(calm.measure()?);
        times[1].push(struck.measure()?);
    }
    table(&format!("killed, {discipline}"), ["0".to_string(), DEATHS.to_string()].into_iter().zip(times));
    Ok(())
}

fn wait(name: &str) -> Result<(), Error> {
    let mut consumer = Ring::options().open(name)?.consumer()?;
    println!();
    consumer.recv()?.ack();
    Ok(())
}

/// A ring with a producer and a consumer, removed in the end.
struct Pair {
    ring: Ring,
    producer: Producer,
    consumer: Consumer,
}

impl Pair {
    fn new(slots: u64, participants: u32, discipline: Discipline) -> Result<Self, Error> {
        let name = format!("bench-growth-{}-{}", std::process::id(), fastrand::u64(..));
        let options =
            RingOptions::new().capacity(slots).slot_size(8).participants(participants).sync(discipline);
        let ring = options.prefault(true).create(&name)?;
        Ok(Pair { producer: ring.producer()?, consumer: ring.consumer()?, ring })
    }

    fn waiter(&self) -> Child {
        let mut command = Command::new(std::env::current_exe().expect("the path of this program"));
        command.arg(WAITER).arg(self.ring.name()).stdout(Stdio::piped());
        command.spawn().expect("a child")
    }

    /// Nanoseconds for each item.
    fn measure(&mut self) -> Result<f64, Error> {
        let items = ITEMS.max(self.ring.capacity());
        let start = Instant::now();
        for _ in 0..items / STRETCH {
            for n in 0..STRETCH {
                self.producer.send(&n.to_ne_bytes())?;
            }
            for n in 0..STRETCH {
                let mut bytes = [0; 8];
                let item = self.consumer.recv()?;
                item.copy_to(&mut bytes);
                item.ack();
                assert_eq!(u64::from_ne_bytes(bytes), n);
            }
        }
        Ok(start.elapsed().as_nanos() as f64 / items as f64)
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        let _ = self.ring.remove();
    }
}

fn table(what: &str, rows: impl Iterator<Item = (String, Vec<f64>)>) {
    println!("\n{what:>17}     ns  ratio");
    let mut first = None;
    for (name, mut times) in rows {
        times.sort_by(f64::total_cmp);
        let median = times[times.len() / 2];
        println!("{name:>17}  {median:>5.1}  {:>5.2}", median / *first.get_or_insert(median));
    }
}
