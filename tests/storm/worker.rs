//! One of the processes in the storm: it sends or receives in every way there is until it is killed, or
//! kills itself between two calls.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{self, SigEvent, SigevNotify, Signal};
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::time::ClockId;
use ringpipe::{Consumer, Error, Item, Producer, Ring, Role};

use crate::log::{Event, Log, Record};
use crate::payload;
use crate::processes::{Random, die_with_parent};

/// Says what a worker is to do; the variable that carries it through `exec`.
pub const ORDERS: &str = "RINGPIPE_STORM_WORKER";

/// What a worker is told.
#[derive(Debug, Clone)]
pub struct Orders {
    pub ring: String,
    pub log: String,
    pub role: Role,
    pub worker: u32,
    pub seed: u64,
    /// Microseconds after attaching at which a timer kills it, in the middle of whatever it does.
    pub alarm: Option<u64>,
    /// Choices after which it is killed: at once, or by a timer within the next few microseconds, so that
    /// it dies inside the call that follows.
    pub choices: Option<u64>,
}

impl Orders {
    pub fn to_text(&self) -> String {
        let Orders { ring, log, worker, seed, .. } = self;
        let number = |n: Option<u64>| n.map_or("-".into(), |n| n.to_string());
        let (alarm, choices) = (number(self.alarm), number(self.choices));
        format!("{ring} {log} {} {worker} {seed} {alarm} {choices}", self.role)
    }

    fn from_text(text: &str) -> Option<Orders> {
        let mut words = text.split(' ');
        Some(Orders {
            ring: words.next()?.into(),
            log: words.next()?.into(),
            role: if words.next()? == "producer" { Role::Producer } else { Role::Consumer },
            worker: words.next()?.parse().ok()?,
            seed: words.next()?.parse().ok()?,
            alarm: words.next()?.parse().ok(),
            choices: words.next()?.parse().ok(),
        })
    }
}

/// Does nothing by itself; in a process that the storm made, it is that worker, and does not return.
pub fn run_if_told() {
    let Ok(text) = std::env::var(ORDERS) else { return };
    die_with_parent();
    let orders = Orders::from_text(&text).expect("orders of the right form");
    let ring = Ring::open(&orders.ring).expect("the storm's ring");
    let mut life = Life {
        log: Log::append_to(Path::new(&orders.log)),
        random: Random::new(orders.seed),
        choices: orders.choices,
        alarm: Alarm::new(),
        worker: orders.worker,
        count: 0,
    };
    if let Some(after) = orders.alarm {
        life.alarm.set(Duration::from_micros(after));
    }
    match orders.role {
        Role::Producer => life.produce(&mut ring.producer().expect("a place for a producer")),
        Role::Consumer => life.consume(&mut ring.consumer().expect("a place for a consumer")),
    }
}

struct Life {
    log: Log,
    random: Random,
    choices: Option<u64>,
    alarm: Alarm,
    worker: u32,
    count: u32,
}

/// A timer whose signal is SIGKILL.
struct Alarm(Timer);

impl Alarm {
    fn new() -> Alarm {
        let kill = SigevNotify::SigevSignal { signal: Signal::SIGKILL, si_value: 0 };
        Alarm(Timer::new(ClockId::CLOCK_MONOTONIC, SigEvent::new(kill)).expect("a timer"))
    }

    fn set(&mut self, after: Duration) {
        let when = Expiration::OneShot(after.max(Duration::from_nanos(1)).into());
        self.0.set(when, TimerSetTimeFlags::empty()).expect("the timer's time");
    }
}

impl Life {
    /// A point just before a call, at which this worker's end may come.
    fn choose(&mut self, ways: u64) -> u64 {
        match self.choices {
            Some(0) if self.random.one_in(8) => signal::raise(Signal::SIGKILL).expect("a kill"),
            Some(0) => {
                self.choices = None;
                self.alarm.set(Duration::from_nanos(self.random.below(12_000)));
            }
            Some(left) => self.choices = Some(left - 1),
            None => {}
        }
        self.random.below(ways)
    }

    fn produce(&mut self, producer: &mut Producer) -> ! {
        loop {
            match self.choose(10) {
                0..5 => self.send_one(producer),
                5..7 => self.send_batch(producer),
                7 | 8 => self.reserve(producer),
                _ => std::thread::sleep(Duration::from_micros(self.random.below(300))),
            }
        }
    }

    /// Mostly items of one slot, now and then longer ones, up to the largest.
    fn item(&mut self, most: u64) -> Vec<u8> {
        let most = match self.random.below(8) {
            0 => most,
            1 => most.min(200),
            _ => most.min(64),
        };
        let len = payload::LEAST + self.random.below(most - payload::LEAST + 1);
        self.count += 1;
        payload::make(self.worker, self.count, len as usize)
    }

    fn sending(&self, event: Event, producer: &Producer, ahead: u64, bytes: &[u8]) -> Record {
        let (worker, count, _) = payload::check(bytes);
        let sequence = (producer.sent() + ahead) as u32;
        let (attempt, producer, hash) = (0, producer.id(), payload::hash(bytes));
        Record { event, attempt, worker, count, producer, sequence, hash }
    }

    fn send_one(&mut self, producer: &mut Producer) {
        let bytes = self.item(producer.max_item());
        let record = self.sending(Event::Attempt, producer, 0, &bytes);
        self.log.write(&[record]);
        let patience = Duration::from_micros(self.random.below(3000));
        let result = match self.choose(4) {
            0 => producer.try_send(&bytes),
            1 => producer.send_timeout(&bytes, patience),
            _ => producer.send(&bytes),
        };
        let event = outcome(result);
        self.log.write(&[Record { event, ..record }]);
    }

    fn send_batch(&mut self, producer: &mut Producer) {
        let items: Vec<Vec<u8>> = (0..2 + self.choose(6)).map(|_| self.item(producer.max_item())).collect();
        let mut records: Vec<Record> = (0..)
            .zip(&items)
            .map(|(ahead, bytes)| self.sending(Event::Attempt, producer, ahead, bytes))
            .collect();
        self.log.write(&records);
        let patience = Duration::from_micros(self.random.below(3000));
        let result = match self.choose(2) {
            0 => producer.send_batch_timeout(&items, patience),
            _ => producer.send_batch(&items),
        };
        let sent = match result {
            Ok(sent) => sent,
            Err(error) => {
                outcome(Err(error));
                0
            }
        };
        for (n, record) in records.iter_mut().enumerate() {
            record.event = if n < sent { Event::Sent } else { Event::Refused };
        }
        self.log.write(&records);
    }

    fn reserve(&mut self, producer: &mut Producer) {
        let bytes = self.item(producer.max_item());
        let record = self.sending(Event::Attempt, producer, 0, &bytes);
        self.log.write(&[record]);
        let spare = self.random.below(40).min(producer.max_item() - bytes.len() as u64);
        let patience = Duration::from_micros(self.random.below(3000));
        let mut event = Event::Refused;
        match producer.reserve_timeout(bytes.len() as u64 + spare, patience) {
            Ok(mut reservation) => {
                assert!(reservation.write_at(0, &bytes));
                if self.choose(8) == 0 {
                    std::thread::sleep(Duration::from_micros(self.random.below(8000)));
                }
                if self.choose(4) > 0 {
                    reservation.commit_first(bytes.len() as u64);
                    event = Event::Sent;
                }
            }
            Err(error) => drop(outcome(Err(error))),
        }
        self.log.write(&[Record { event, ..record }]);
    }

    fn consume(&mut self, consumer: &mut Consumer) -> ! {
        loop {
            match self.choose(10) {
                0..6 => self.receive_one(consumer),
                6..9 => self.receive_batch(consumer),
                _ => std::thread::sleep(Duration::from_micros(self.random.below(300))),
            }
        }
    }

    fn receive_one(&mut self, consumer: &mut Consumer) {
        let patience = Duration::from_micros(self.random.below(3000));
        let result = match self.choose(4) {
            0 => consumer.try_recv(),
            1 => consumer.recv_timeout(patience),
            _ => consumer.recv(),
        };
        match result {
            Ok(item) => self.handle(item),
            Err(error) => no_item(error),
        }
    }

    fn handle(&mut self, item: Item<'_>) {
        let record = got(&item, item.attempt(), item.producer(), item.sequence());
        self.log.write(&[record]);
        match self.choose(16) {
            0 => item.give_back(),
            1 => drop(item),
            way => {
                if way == 2 {
                    std::thread::sleep(Duration::from_micros(self.random.below(8000)));
                }
                self.log.write(&[Record { event: Event::Acking, ..record }]);
                self.choose(1);
                item.ack();
                self.log.write(&[Record { event: Event::Acked, ..record }]);
            }
        }
    }

    fn receive_batch(&mut self, consumer: &mut Consumer) {
        let most = 2 + self.choose(7) as usize;
        let patience = Duration::from_micros(self.random.below(3000));
        let result = match self.choose(2) {
            0 => consumer.recv_batch_timeout(most, patience),
            _ => consumer.recv_batch(most),
        };
        let mut batch = match result {
            Ok(batch) => batch,
            Err(error) => return no_item(error),
        };
        let mut records: Vec<Record> = batch
            .iter()
            .map(|item| got(&item.to_vec(), item.attempt(), item.producer(), item.sequence()))
            .collect();
        self.log.write(&records);
        // Some from the front one by one, then all of the rest, or none of it.
        let singly = if self.choose(2) == 0 { self.random.below(records.len() as u64 + 1) } else { 0 };
        for record in records.drain(..singly as usize) {
            self.log.write(&[Record { event: Event::Acking, ..record }]);
            self.choose(1);
            assert!(batch.ack_first());
            self.log.write(&[Record { event: Event::Acked, ..record }]);
        }
        if self.choose(8) > 0 {
            let told = |event| records.iter().map(|record| Record { event, ..*record }).collect::<Vec<_>>();
            self.log.write(&told(Event::Acking));
            self.choose(1);
            batch.ack();
            self.log.write(&told(Event::Acked));
        }
    }
}

/// The record of a delivery.
pub fn got(bytes: &[u8], attempt: u8, producer: u32, sequence: u64) -> Record {
    let (worker, count, whole) = payload::check(bytes);
    let event = if whole { Event::Got } else { Event::Corrupt };
    Record { event, attempt, worker, count, producer, sequence: sequence as u32, hash: payload::hash(bytes) }
}

fn outcome(result: Result<(), Error>) -> Event {
    match result {
        Ok(()) => Event::Sent,
        Err(Error::Full | Error::TimedOut) => Event::Refused,
        Err(error) => panic!("sending: {error}"),
    }
}

fn no_item(error: Error) {
    match error {
        Error::Empty | Error::TimedOut => {}
        // No producer lives at this moment; the next one comes soon.
        Error::Ended => std::thread::sleep(Duration::from_micros(200)),
        error => panic!("receiving: {error}"),
    }
}
