//! Ends: of the stream, of the ring, of a wait.

use std::time::Duration;

use ringpipe::{Error, ErrorKind, Ring, RingOptions, StopFlag};

use crate::processes::puppet::Puppet;
use crate::processes::{TestName, wait_until, within_20_s};

const MOMENT: Duration = Duration::from_millis(60);

fn ring(what: &str) -> (TestName, Ring) {
    let name = TestName::new(what);
    let ring = RingOptions::new().capacity(4).slot_size(64).create(&name).unwrap();
    (name, ring)
}

/// What a wait in another thread ended with.
struct Waiting(std::thread::JoinHandle<ErrorKind>);

impl Waiting {
    fn begin(wait: impl FnOnce() -> Result<(), Error> + Send + 'static) -> Waiting {
        Waiting(std::thread::spawn(move || wait().expect_err("it has nothing to come back with").kind()))
    }

    fn end(self) -> ErrorKind {
        within_20_s("a wait ends", move || self.0.join().expect("no panic"))
    }
}

/// A sender on the full ring, and receivers of each kind on an empty one of the same shape.
fn waits(full: &Ring, empty: &Ring, stop: &StopFlag) -> Vec<Waiting> {
    let mut filler = full.producer().unwrap();
    while filler.try_send(b"x").is_ok() {}
    let producer = || {
        let mut producer = full.producer().unwrap();
        producer.set_stop_flag(stop.clone());
        producer
    };
    let consumer = || {
        let mut consumer = empty.consumer().unwrap();
        consumer.set_stop_flag(stop.clone());
        consumer
    };
    let (mut one, mut two, mut three) = (producer(), producer(), producer());
    let (mut four, mut five, mut six) = (consumer(), consumer(), consumer());
    six.set_follow(true);
    let long = Duration::from_secs(1000);
    let waits = vec![
        Waiting::begin(move || one.send(b"no room")),
        Waiting::begin(move || two.send_batch(&["no", "room"]).map(drop)),
        Waiting::begin(move || three.reserve_timeout(1, long).map(drop)),
        Waiting::begin(move || four.recv().map(drop)),
        Waiting::begin(move || five.recv_batch_timeout(3, long).map(drop)),
        Waiting::begin(move || six.recv_timeout(long).map(drop)),
    ];
    std::thread::sleep(MOMENT);
    assert!(waits.iter().all(|wait| !wait.0.is_finished()));
    waits
}

fn ends(waits: Vec<Waiting>) -> Vec<ErrorKind> {
    waits.into_iter().map(Waiting::end).collect()
}

#[test]
fn closing_wakes_those_that_send_and_those_that_receive() {
    let ((_a, full), (_b, empty)) = (ring("full"), ring("empty"));
    let waits = waits(&full, &empty, &StopFlag::new());
    assert!(full.close() && empty.close());
    assert!(!full.close(), "it was closed");
    assert_eq!(ends(waits), [[ErrorKind::Closed; 3], [ErrorKind::Ended; 3]].concat());
    assert_eq!(full.producer().unwrap_err().kind(), ErrorKind::Closed);
    // What is there is still delivered.
    let mut consumer = full.consumer().unwrap();
    for _ in 0..4 {
        consumer.recv().unwrap().ack();
    }
    assert!(matches!(consumer.recv(), Err(Error::Ended)));
    assert!(full.remove().unwrap() && empty.remove().unwrap());
}

#[test]
fn removing_wakes_everybody_too() {
    let ((_a, full), (_b, empty)) = (ring("full"), ring("empty"));
    let waits = waits(&full, &empty, &StopFlag::new());
    assert!(full.remove().unwrap() && empty.remove().unwrap());
    assert_eq!(ends(waits), [[ErrorKind::Closed; 3], [ErrorKind::Ended; 3]].concat());
}

#[test]
fn a_stop_flag_ends_any_wait() {
    let ((_a, full), (_b, empty)) = (ring("full"), ring("empty"));
    let stop = StopFlag::new();
    let waits = waits(&full, &empty, &stop);
    stop.raise();
    assert_eq!(ends(waits), [ErrorKind::Interrupted; 6]);
    assert!(full.remove().unwrap() && empty.remove().unwrap());
}

#[test]
fn closing_in_one_process_wakes_another() {
    let (name, ring) = ring("across");
    let (mut sender, mut receiver) =
        (Puppet::attached(&name, "producer"), Puppet::attached(&name, "consumer"));
    for _ in 0..4 {
        assert_eq!(sender.does("send x"), "sent");
    }
    sender.told("send y");
    wait_until("the sender waits", || {
        ring.participants().iter().any(|p| p.activity == ringpipe::Activity::WaitingForRoom)
    });
    ring.close();
    assert_eq!(sender.answer(), "Closed");
    for _ in 0..4 {
        assert_eq!(receiver.does("recv"), "got 1 x");
        assert_eq!(receiver.does("ack"), "done");
    }
    assert_eq!(receiver.does("recv"), "Ended");
    ring.remove().unwrap();
}

#[test]
fn a_killed_producer_has_left() {
    let (name, ring) = ring("left");
    let mut producer = Puppet::attached(&name, "producer");
    assert_eq!(producer.does("send one"), "sent");
    assert_eq!(producer.does("send two"), "sent");
    assert_eq!(producer.does("reserve three"), "reserved");
    let mut consumer = ring.consumer().unwrap();
    for expected in ["one", "two"] {
        let item = consumer.recv().unwrap();
        assert_eq!(&*item, expected.as_bytes());
        item.ack();
    }
    let waiting = Waiting::begin(move || consumer.recv().map(drop));
    std::thread::sleep(MOMENT);
    assert!(!waiting.0.is_finished(), "it may still commit");
    drop(producer);
    assert_eq!(waiting.end(), ErrorKind::Ended);
    ring.remove().unwrap();
}

#[test]
fn the_stream_does_not_end_before_the_expected_producers_came() {
    let name = TestName::new("expected");
    let ring = RingOptions::new().capacity(4).expected_producers(2).create(&name).unwrap();
    let mut consumer = ring.consumer().unwrap();
    assert!(matches!(consumer.recv_timeout(MOMENT), Err(Error::TimedOut)));
    drop(ring.producer().unwrap());
    assert!(matches!(consumer.recv_timeout(MOMENT), Err(Error::TimedOut)));
    ring.producer().unwrap().send(b"from the second").unwrap();
    consumer.recv().unwrap().ack();
    assert!(matches!(consumer.recv(), Err(Error::Ended)));
    ring.remove().unwrap();
}

#[test]
fn who_follows_goes_on_when_every_producer_has_left() {
    let (_name, ring) = ring("follow");
    let mut consumer = ring.consumer().unwrap();
    consumer.set_follow(true);
    drop(ring.producer().unwrap());
    assert!(matches!(consumer.recv_timeout(MOMENT), Err(Error::TimedOut)));
    ring.producer().unwrap().send(b"later").unwrap();
    consumer.recv().unwrap().ack();
    ring.close();
    assert!(matches!(consumer.recv(), Err(Error::Ended)));
    ring.remove().unwrap();
}

#[test]
fn the_stream_does_not_end_while_somebody_may_give_an_item_back() {
    let (name, ring) = ring("held");
    ring.producer().unwrap().send(b"wanted").unwrap();
    let mut holder = Puppet::attached(&name, "consumer");
    assert_eq!(holder.does("recv"), "got 1 wanted");
    let mut consumer = ring.consumer().unwrap();
    assert!(matches!(consumer.recv_timeout(MOMENT), Err(Error::TimedOut)));
    assert!(matches!(consumer.try_recv(), Err(Error::Empty)));
    let waiting = std::thread::spawn(move || {
        let item = consumer.recv().unwrap();
        assert_eq!((&*item, item.attempt(), item.redelivered()), (&b"wanted"[..], 2, true));
        item.ack();
        assert!(matches!(consumer.recv(), Err(Error::Ended)));
    });
    std::thread::sleep(MOMENT);
    assert_eq!(holder.does("back"), "done");
    within_20_s("the item comes back", move || waiting.join().unwrap());
    assert_eq!(holder.does("recv"), "Ended");
    ring.remove().unwrap();
}

#[test]
fn deadlines_pass_and_tries_do_not_wait() {
    let (_name, ring) = ring("deadlines");
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    assert!(matches!(consumer.try_recv(), Err(Error::Empty)));
    assert!(matches!(consumer.recv_timeout(MOMENT), Err(Error::TimedOut)));
    assert!(matches!(consumer.recv_batch_timeout(2, Duration::ZERO), Err(Error::TimedOut)));
    (0..4).for_each(|_| producer.send(b"x").unwrap());
    assert!(matches!(producer.try_send(b"x"), Err(Error::Full)));
    assert!(matches!(producer.send_timeout(b"x", MOMENT), Err(Error::TimedOut)));
    assert!(matches!(producer.send_batch_timeout(&["x"], MOMENT), Err(Error::TimedOut)));
    assert!(matches!(producer.reserve_timeout(1, Duration::ZERO), Err(Error::TimedOut)));
    assert_eq!(producer.sent(), 4, "what was refused was not sent");
    ring.remove().unwrap();
}
