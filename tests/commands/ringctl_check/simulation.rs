//! Histories that are right, and what makes them wrong.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::Write;
use std::rc::Rc;

use crate::support::{Random, mix};

/// Writes histories of a queue of `CAPACITY` slots that keeps its promises, with deaths.
pub struct Simulation<'w> {
    random: Random,
    time: u64,
    /// Producers' logs, then consumers'.
    logs: Vec<Box<dyn Write + 'w>>,
    /// The last number of each producer.
    pub next: [u64; PRODUCERS],
    /// Items that wait: producer, sequence, attempt of the next delivery.
    waiting: VecDeque<(usize, u64, u64)>,
    pub events: u64,
}

pub const PRODUCERS: usize = 3;
pub const CONSUMERS: usize = 3;
pub const CAPACITY: usize = 16;

impl<'w> Simulation<'w> {
    pub fn new(seed: u64, log: impl Fn(usize) -> Box<dyn Write + 'w>) -> Self {
        let logs = (0..PRODUCERS + CONSUMERS).map(log).collect();
        let (next, waiting) = ([0; PRODUCERS], Default::default());
        Simulation { random: Random::new(seed), time: 0, logs, next, waiting, events: 0 }
    }

    fn tell(&mut self, log: usize, event: &str, (producer, sequence): (usize, u64), attempt: u64) {
        self.time += 1 + self.random.below(1000);
        self.events += 1;
        let hash = mix(sequence << 8 | producer as u64);
        let time = self.time;
        writeln!(self.logs[log], "{time} {log} {event} {producer} {sequence} {attempt} {hash:x}").unwrap();
    }

    pub fn run(&mut self, events: u64) {
        while self.events < events {
            match self.waiting.len() {
                0 => self.send(),
                CAPACITY => self.receive(),
                _ if self.random.one_in(2) => self.send(),
                _ => self.receive(),
            }
        }
        while !self.waiting.is_empty() {
            self.receive();
        }
        self.logs.iter_mut().for_each(|log| log.flush().unwrap());
    }

    fn send(&mut self) {
        let producer = self.random.below(PRODUCERS as u64) as usize;
        self.next[producer] += 1;
        let item = (producer, self.next[producer]);
        self.tell(producer, "attempt", item, 0);
        if self.random.one_in(20) {
            self.drop_oldest(producer);
        }
        match self.random.below(20) {
            0 => self.tell(producer, "refused", item, 0),
            // It dies before the send, or before it can tell.
            1 => {}
            2 => self.waiting.push_back((producer, item.1, 1)),
            _ => {
                self.waiting.push_back((producer, item.1, 1));
                self.tell(producer, "sent", item, 0);
            }
        }
    }

    /// A producer takes out the oldest item; sometimes it dies meanwhile.
    fn drop_oldest(&mut self, log: usize) {
        let Some((producer, sequence, attempt)) = self.waiting.pop_front() else { return };
        self.tell(log, "dropping", (producer, sequence), attempt);
        match self.random.below(10) {
            0 => self.waiting.push_front((producer, sequence, attempt + 1)),
            1 => {}
            _ => self.tell(log, "dropped", (producer, sequence), attempt),
        }
    }

    fn receive(&mut self) {
        let Some((producer, sequence, attempt)) = self.waiting.pop_front() else { return };
        let item = (producer, sequence);
        let log = PRODUCERS + self.random.below(CONSUMERS as u64) as usize;
        let fate = if attempt > 5 { 9 } else { self.random.below(20) };
        if fate > 0 {
            self.tell(log, "got", item, attempt);
        }
        match fate {
            // It dies before it tells that it got the item, or afterwards, or gives it back, or dies before
            // it is acknowledged, or after it.
            0 | 1 => {}
            2 => self.tell(log, "returning", item, attempt),
            3 | 4 => self.tell(log, "acking", item, attempt),
            _ => {
                self.tell(log, "acking", item, attempt);
                self.tell(log, "acked", item, attempt);
                return;
            }
        }
        if fate != 4 {
            self.waiting.push_front((producer, sequence, attempt + 1));
        }
    }
}

/// A history in memory, a text for each process.
pub fn history(seed: u64, events: u64) -> Vec<String> {
    let buffers: Vec<_> = (0..PRODUCERS + CONSUMERS).map(|_| Shared::default()).collect();
    Simulation::new(seed, |log| Box::new(buffers[log].clone())).run(events);
    buffers.iter().map(|buffer| String::from_utf8(buffer.0.borrow().clone()).unwrap()).collect()
}

#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Does one thing to a history that makes it wrong, and says what.
pub fn mutate(logs: &mut [String], random: &mut Random) -> String {
    loop {
        let log = random.below(logs.len() as u64) as usize;
        let mut lines: Vec<String> = logs[log].lines().map(String::from).collect();
        let at = random.below(lines.len() as u64) as usize;
        let line = lines[at].clone();
        let words: Vec<&str> = line.split(' ').collect();
        let told = |what: &str| format!("{what}: {line:?} in log {log}");
        let what = match (random.below(6), words[2]) {
            // Half of the acknowledged item's story, or all of it, is left out or told twice.
            (0, "attempt") if logs.iter().any(|log| log.contains(&got(&words))) => {
                lines.remove(at);
                told("left out")
            }
            (
                1,
                "attempt" | "sent" | "refused" | "got" | "acking" | "acked" | "returning" | "dropping"
                | "dropped",
            ) => {
                lines.insert(at, line.clone());
                told("twice")
            }
            (2, "got") => {
                lines[at] = format!("{} {}", words[..6].join(" "), "1234");
                told("another hash for")
            }
            (3, "sent") if logs.iter().any(|log| log.contains(&got(&words))) => {
                lines[at] = line.replace("sent", "refused");
                told("refused")
            }
            (4, "acked") => {
                // Given back after all; what was acknowledged is not.
                let acking = line.replace("acked", "acking");
                let same = |one: &String| one.split_once(' ').unwrap().1 == acking.split_once(' ').unwrap().1;
                let before = lines.iter().position(same).unwrap();
                lines.remove(at);
                lines.remove(before);
                told("never acknowledged")
            }
            (5, "got") => {
                // The attempt, or the producer, may be the same number.
                let mut words = words.clone();
                words[4] = "1000000";
                lines[at] = words.join(" ");
                told("an item of nobody for")
            }
            _ => continue,
        };
        logs[log] = lines.join("\n") + "\n";
        return what;
    }
}

/// How a delivery of the item in these words begins, behind time and process.
fn got(words: &[&str]) -> String {
    format!(" got {} {} ", words[3], words[4])
}
