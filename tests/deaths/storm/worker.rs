//! One of the processes in the storm: it sends or receives in every way there is until it is killed, or
//! kills itself between two calls, or in one.

use std::time::Duration;

use nix::sys::signal::{self, SigEvent, SigevNotify, Signal};
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::time::ClockId;
use ringpipe::{Consumer, Error, Item, ItemKey, Producer, Ring, Role};

use crate::storm::log::{Call, Event, Log, Record};
use crate::storm::payload;
use crate::support::Random;

/// What a worker is to be.
#[derive(Debug, Clone)]
pub struct Orders {
    pub role: Role,
    pub worker: u32,
    pub seed: u64,
    /// Microseconds after attaching at which a timer kills it, in the middle of whatever it does.
    pub alarm: Option<u64>,
    /// Choices after which it is killed: at once, or by a timer within the next few microseconds, so that
    /// it dies inside the call that follows.
    pub choices: Option<u64>,
}

/// The life of a worker, in a process of its own.
pub fn live(name: &str, log: Log<'_>, orders: &Orders) -> ! {
    let ring = log.within(Call::Attach, || Ring::open(name)).expect("the storm's ring");
    let mut life = Life {
        log,
        random: Random::new(orders.seed),
        choices: orders.choices,
        doom: None,
        alarm: Alarm::new(),
        worker: orders.worker,
        count: 0,
        slot_size: ring.slot_size(),
        fixed: ring.fixed(),
        capacity: ring.capacity(),
    };
    if let Some(after) = orders.alarm {
        life.alarm.set(Duration::from_micros(after));
    }
    match orders.role {
        Role::Producer => {
            let mut producer = log.within(Call::Attach, || ring.producer()).expect("a place for a producer");
            life.produce(&mut producer)
        }
        Role::Consumer => {
            let mut consumer = log.within(Call::Attach, || ring.consumer()).expect("a place for a consumer");
            life.consume(&mut consumer)
        }
    }
}

struct Life<'b> {
    log: Log<'b>,
    random: Random,
    choices: Option<u64>,
    /// When it dies after the beginning of the next call.
    doom: Option<Duration>,
    alarm: Alarm,
    worker: u32,
    count: u32,
    slot_size: u64,
    /// The length of each item, if all have the same.
    fixed: Option<u64>,
    capacity: u64,
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

impl Life<'_> {
    /// A choice, after which this worker's end may come: at once, or in the next call.
    fn choose(&mut self, ways: u64) -> u64 {
        match self.choices {
            Some(0) if self.random.one_in(16) => signal::raise(Signal::SIGKILL).expect("a kill"),
            Some(0) => {
                self.choices = None;
                let most = [500, 2_000, 8_000, 50_000][self.random.below(4) as usize];
                // Less is over before the timer's own call has come back.
                self.doom = Some(Duration::from_nanos(700 + self.random.below(most)));
            }
            Some(left) => self.choices = Some(left - 1),
            None => {}
        }
        self.random.below(ways)
    }

    /// The last thing before a call: the one that is to be its last begins.
    fn brace(&mut self) {
        if let Some(doom) = self.doom.take() {
            self.alarm.set(doom);
        }
    }

    /// Now and then long enough that other workers pass the sleeping one.
    fn rest(&mut self) {
        let most = if self.random.one_in(8) { 8000 } else { 100 };
        std::thread::sleep(Duration::from_micros(self.random.below(most)));
    }

    /// In between, holding nothing.
    fn pause(&mut self) {
        std::thread::sleep(Duration::from_micros(self.random.below(100)));
    }

    fn produce(&mut self, producer: &mut Producer) -> ! {
        loop {
            if self.log.is_calm() {
                self.pause();
            }
            match self.choose(40) {
                0..20 => self.send_one(producer),
                20..29 => self.send_batch(producer),
                29..39 => self.reserve(producer),
                _ => self.pause(),
            }
        }
    }

    /// Mostly items of one slot, now and then longer ones, up to the largest; in a ring of fixed items, one of these.
    fn item(&mut self, most: u64) -> Vec<u8> {
        let most = match self.random.below(8) {
            0 => most,
            1 => most.min(200),
            _ => most.min(64),
        };
        let any = || payload::LEAST + self.random.below(most - payload::LEAST + 1);
        let len = self.fixed.unwrap_or_else(any);
        self.count += 1;
        payload::make(self.worker, self.count, len as usize)
    }

    /// How many items a batch has, usually: 2 and up to `more`. In a long ring of fixed items now and then far more, so that
    /// its rows are.
    fn batch(&mut self, more: u64) -> u64 {
        let usual = 2 + self.choose(more);
        match self.fixed.is_some() && self.capacity > 64 && self.random.one_in(4) {
            true => self.capacity / 2 - self.random.below(self.capacity / 4),
            false => usual,
        }
    }

    fn sending(&self, event: Event, producer: &Producer, ahead: u64, bytes: &[u8]) -> Record {
        let (worker, count) = payload::item(bytes);
        // A fixed item has no key before it is delivered: then it has its position.
        let (producer, sequence) = match self.fixed {
            Some(_) => (ItemKey::NO_PRODUCER, 0),
            None => (producer.id(), (producer.sent() + ahead) as u32),
        };
        let (attempt, hash) = (0, payload::hash(bytes));
        let slots = (bytes.len() as u64).div_ceil(self.slot_size) as u16;
        Record { event, attempt, slots, worker, count, producer, sequence, hash, time: 0 }
    }

    fn send_one(&mut self, producer: &mut Producer) {
        let bytes = self.item(producer.max_item());
        let record = self.sending(Event::Attempt, producer, 0, &bytes);
        self.log.write(&[record]);
        let patience = Duration::from_micros(self.random.below(3000));
        let way = self.choose(4);
        self.brace();
        let result = self.log.within(Call::Send, || match way {
            0 => producer.try_send(&bytes),
            1 => producer.send_timeout(&bytes, patience),
            _ => producer.send(&bytes),
        });
        let event = outcome(result);
        self.log.write(&[Record { event, ..record }]);
    }

    fn send_batch(&mut self, producer: &mut Producer) {
        let many = self.batch(6);
        let items: Vec<Vec<u8>> = (0..many).map(|_| self.item(producer.max_item())).collect();
        let mut records: Vec<Record> = (0..)
            .zip(&items)
            .map(|(ahead, bytes)| self.sending(Event::Attempt, producer, ahead, bytes))
            .collect();
        self.log.write(&records);
        let patience = Duration::from_micros(self.random.below(3000));
        let way = self.choose(if self.fixed.is_some() { 4 } else { 2 });
        let packed = if way > 1 { items.concat() } else { Vec::new() };
        self.brace();
        let result = self.log.within(Call::SendBatch, || match way {
            0 => producer.send_batch_timeout(&items, patience),
            1 => producer.send_batch(&items),
            2 => producer.send_packed_timeout(&packed, patience),
            _ => producer.send_packed(&packed),
        });
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
        let spare = match self.fixed {
            Some(_) => 0,
            None => self.random.below(40).min(producer.max_item() - bytes.len() as u64),
        };
        let patience = Duration::from_micros(self.random.below(3000));
        let mut event = Event::Refused;
        let log = self.log;
        self.brace();
        match log.within(Call::Reserve, || producer.reserve_timeout(bytes.len() as u64 + spare, patience)) {
            Ok(mut reservation) => {
                assert!(reservation.write_at(0, &bytes));
                if self.choose(16) == 0 {
                    self.rest();
                }
                if self.choose(4) > 0 {
                    self.brace();
                    log.within(Call::Commit, || reservation.commit_first(bytes.len() as u64));
                    event = Event::Sent;
                } else {
                    self.brace();
                    log.within(Call::Commit, || drop(reservation));
                }
            }
            Err(error) => drop(outcome(Err(error))),
        }
        self.log.write(&[Record { event, ..record }]);
    }

    fn consume(&mut self, consumer: &mut Consumer) -> ! {
        loop {
            if self.log.is_calm() {
                self.pause();
            }
            match self.choose(40) {
                0..25 => self.receive_one(consumer),
                25..39 => self.receive_batch(consumer),
                _ => self.pause(),
            }
        }
    }

    fn receive_one(&mut self, consumer: &mut Consumer) {
        let patience = Duration::from_micros(self.random.below(3000));
        let way = self.choose(4);
        self.brace();
        let result = self.log.within(Call::Receive, || match way {
            0 => consumer.try_recv(),
            1 => consumer.recv_timeout(patience),
            _ => consumer.recv(),
        });
        match result {
            Ok(item) => self.handle(item),
            Err(error) => no_item(error),
        }
    }

    fn handle(&mut self, item: Item<'_>) {
        let record = got(&item, item.attempt(), item.producer(), item.sequence());
        self.log.write(&[record]);
        match self.choose(16) {
            0 => {
                self.brace();
                self.log.within(Call::GiveBack, || item.give_back());
            }
            1 => {
                self.brace();
                self.log.within(Call::GiveBack, || drop(item));
            }
            way => {
                if way == 2 && self.random.one_in(2) {
                    self.rest();
                }
                self.log.write(&[Record { event: Event::Acking, ..record }]);
                self.choose(1);
                self.brace();
                self.log.within(Call::Acknowledge, || item.ack());
                self.log.write(&[Record { event: Event::Acked, ..record }]);
            }
        }
    }

    fn receive_batch(&mut self, consumer: &mut Consumer) {
        let most = self.batch(7) as usize;
        let patience = Duration::from_micros(self.random.below(3000));
        let way = self.choose(2);
        let log = self.log;
        self.brace();
        let result = log.within(Call::ReceiveBatch, || match way {
            0 => consumer.recv_batch_timeout(most, patience),
            _ => consumer.recv_batch(most),
        });
        let mut batch = match result {
            Ok(batch) => batch,
            Err(error) => return no_item(error),
        };
        let mut records: Vec<Record> = batch
            .iter()
            .map(|item| got(&item.to_vec(), item.attempt(), item.producer(), item.sequence()))
            .collect();
        if let Some(bytes) = self.fixed {
            let mut packed = vec![0; batch.len() * bytes as usize];
            let copied = batch.copy_packed(&mut packed);
            let same =
                packed.chunks(bytes as usize).zip(batch.iter()).all(|(one, item)| one == item.to_vec());
            assert!(copied == batch.len() && same, "copied at once, items are not what they are one by one");
        }
        self.log.write(&records);
        // Some from the front one by one, then all of the rest, or none of it.
        let singly = if self.choose(2) == 0 { self.random.below(records.len() as u64 + 1) } else { 0 };
        for record in records.drain(..singly as usize) {
            self.log.write(&[Record { event: Event::Acking, ..record }]);
            self.choose(1);
            self.brace();
            assert!(log.within(Call::Acknowledge, || batch.ack_first()));
            self.log.write(&[Record { event: Event::Acked, ..record }]);
        }
        if self.choose(8) > 0 {
            let told = |event| records.iter().map(|record| Record { event, ..*record }).collect::<Vec<_>>();
            self.log.write(&told(Event::Acking));
            self.choose(1);
            self.brace();
            log.within(Call::Acknowledge, || batch.ack());
            self.log.write(&told(Event::Acked));
        } else {
            self.brace();
            log.within(Call::GiveBack, || drop(batch));
        }
    }
}

/// The record of a delivery.
pub fn got(bytes: &[u8], attempt: u8, producer: u32, sequence: u64) -> Record {
    let (worker, count, whole) = payload::check(bytes);
    let event = if whole { Event::Got } else { Event::Corrupt };
    let (sequence, hash) = (sequence as u32, payload::hash(bytes));
    Record { event, attempt, slots: 0, worker, count, producer, sequence, hash, time: 0 }
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
