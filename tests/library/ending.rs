//! Ends: of the stream, of the ring, of a wait.

use std::time::Duration;

use ringpipe::internal::layout::geometry::{HEAD_BYTES, PARTICIPANT_BYTES};
use ringpipe::internal::layout::{entry, head};
use ringpipe::{Consumer, Error, ErrorKind, Liveness, Producer, Ring, Role, StopFlag};

use crate::support::actor::RemoteActor;
use crate::support::{TestName, options, wait_until, within};

const MOMENT: Duration = Duration::from_millis(60);

fn ring(what: &str) -> (TestName, Ring) {
    let name = TestName::new(what);
    let ring = options().capacity(4).slot_size(64).create(&name).unwrap();
    (name, ring)
}

fn seems_to_wait_for_items(name: &TestName, number: u32) {
    name.forge(HEAD_BYTES + u64::from(number) * PARTICIPANT_BYTES + entry::ACTIVITY, 1);
}

/// Looks everywhere, and does not wait.
fn finds(consumer: &mut Consumer) -> ErrorKind {
    consumer.recv_batch_timeout(1, Duration::ZERO).map(drop).expect_err("nothing to have").kind()
}

/// What a wait in another thread ended with.
struct Waiting(std::thread::JoinHandle<ErrorKind>);

impl Waiting {
    fn begin(wait: impl FnOnce() -> Result<(), Error> + Send + 'static) -> Waiting {
        Waiting(std::thread::spawn(move || wait().expect_err("it has nothing to come back with").kind()))
    }

    fn end(self) -> ErrorKind {
        within("a wait ends", move || self.0.join().expect("no panic"))
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
fn closing_wakes_waiting_producers_and_consumers() {
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
fn removing_wakes_waiting_producers_and_consumers() {
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
fn a_send_to_a_closed_ring_fails_and_leaves_no_claim() {
    let (_name, ring) = ring("no-more");
    let mut producer = ring.producer().unwrap();
    ring.close();
    let closed = |result: Result<(), Error>| matches!(result, Err(Error::Closed));
    assert!(closed(producer.send(b"x")) && closed(producer.try_send(&[7; 100])));
    assert!(closed(producer.send_batch(&["x", "y"]).map(drop)) && closed(producer.reserve(1).map(drop)));
    assert!(ring.is_drained());
    assert!(matches!(ring.consumer().unwrap().try_recv(), Err(Error::Ended)));
    ring.remove().unwrap();
}

#[test]
fn an_unpublished_item_of_a_killed_producer_does_not_delay_the_end_of_stream() {
    let (name, ring) = ring("unpublished");
    let mut writer = RemoteActor::attached(&name, "producer");
    assert_eq!(writer.does("reserve 100"), "reserved");
    assert!(!ring.is_drained(), "it may yet be sent");
    drop(writer);
    wait_until("its death is seen", || ring.participants()[0].liveness == Liveness::Dead);
    assert!(ring.is_drained());
    // What a dead consumer holds is an item, and what was published before the death as well.
    let (mut writer, mut reader) =
        (RemoteActor::attached(&name, "producer"), RemoteActor::attached(&name, "consumer"));
    assert_eq!(writer.does("send item"), "sent");
    drop(writer);
    assert!(!ring.is_drained());
    assert_eq!(reader.does("recv"), "got 1 item");
    drop(reader);
    wait_until("its death is seen", || ring.participants().iter().all(|one| one.liveness == Liveness::Dead));
    assert!(!ring.is_drained());
    ring.remove().unwrap();
}

#[test]
fn closing_in_one_process_wakes_another() {
    let (name, ring) = ring("across");
    let (mut sender, mut receiver) =
        (RemoteActor::attached(&name, "producer"), RemoteActor::attached(&name, "consumer"));
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
fn a_killed_producer_counts_as_having_left() {
    let (name, ring) = ring("left");
    let mut producer = RemoteActor::attached(&name, "producer");
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
fn the_stream_does_not_end_before_the_expected_producers_have_attached() {
    let name = TestName::new("expected");
    let ring = options().capacity(4).expected_producers(2).create(&name).unwrap();
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
fn a_follower_continues_after_every_producer_has_left() {
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
fn the_stream_does_not_end_while_another_consumer_may_give_an_item_back() {
    let (name, ring) = ring("held");
    ring.producer().unwrap().send(b"wanted").unwrap();
    let mut holder = RemoteActor::attached(&name, "consumer");
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
    within("the item comes back", move || waiting.join().unwrap());
    assert_eq!(holder.does("recv"), "Ended");
    ring.remove().unwrap();
}

/// Were each to wait for what the other one holds, both would wait for ever.
#[test]
fn items_held_by_the_caller_or_by_a_waiting_consumer_do_not_delay_the_end_of_stream() {
    let (name, ring) = ring("holders");
    ring.producer().unwrap().send(b"held").unwrap();
    let (mut one, mut other) = (ring.consumer().unwrap(), ring.consumer().unwrap());
    std::mem::forget(one.recv().unwrap());
    assert_eq!(finds(&mut one), ErrorKind::Ended);
    assert_eq!(finds(&mut other), ErrorKind::TimedOut, "it may be given back");
    seems_to_wait_for_items(&name, ring.snapshot().unwrap().held[0].owner);
    assert_eq!(finds(&mut other), ErrorKind::Ended);
    ring.remove().unwrap();
}

/// Forged: what the last holder of a producer's number was doing is read a moment too late.
#[test]
fn the_stream_does_not_end_while_a_producer_writes_even_if_its_entry_says_that_it_waits() {
    let (name, ring) = ring("writes");
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    let room = producer.reserve(4).unwrap();
    ring.close();
    let number = ring.participants().iter().find(|one| one.role == Role::Producer).unwrap().number;
    seems_to_wait_for_items(&name, number);
    assert_eq!(finds(&mut consumer), ErrorKind::TimedOut);
    drop(room);
    assert_eq!(finds(&mut consumer), ErrorKind::Ended);
    ring.remove().unwrap();
}

#[test]
fn a_deadline_ends_a_wait_and_a_try_does_not_wait() {
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

/// Forged: a consumer was killed between its claim and saying that it no longer waits, a moment after
/// another participant had looked for the dead.
#[test]
fn items_of_a_consumer_killed_while_marked_as_waiting_are_delivered_before_the_end_of_stream() {
    let (name, ring) = ring("seemed");
    let mut consumer = ring.consumer().unwrap();
    // It has looked, and knows of a turn.
    assert!(consumer.try_recv().is_err());
    ring.producer().unwrap().send(b"last").unwrap();
    let mut holder = RemoteActor::attached(&name, "consumer");
    assert_eq!(holder.does("recv"), "got 1 last");
    let number = ring.snapshot().unwrap().held[0].owner;
    drop(holder);
    seems_to_wait_for_items(&name, number);
    // As if another had just taken the turn to look for the dead.
    name.forge(head::SWEPT_AT, name.word(head::SWEPT_AT) + 7);
    within("it comes again", move || {
        let item = consumer.recv().unwrap();
        assert_eq!((&*item, item.attempt()), (&b"last"[..], 2));
        item.ack();
        assert!(matches!(consumer.recv(), Err(Error::Ended)));
    });
    ring.remove().unwrap();
}

#[test]
fn a_try_notices_a_death_and_the_end_of_stream_after_a_wait_that_found_an_item() {
    let (name, ring) = ring("content");
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    let sleep_once = |consumer: &mut Consumer, producer: &mut Producer| {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(MOMENT);
                producer.send(b"x").unwrap();
            });
            consumer.recv_timeout(Duration::from_secs(20)).unwrap().ack();
        });
    };
    sleep_once(&mut consumer, &mut producer);
    producer.send(b"held").unwrap();
    let mut holder = RemoteActor::attached(&name, "consumer");
    assert_eq!(holder.does("recv"), "got 1 held");
    drop(holder);
    wait_until("what the dead one held comes again", || {
        let batch = consumer.recv_batch_timeout(1, Duration::ZERO);
        batch.is_ok_and(|batch| {
            batch.ack();
            true
        })
    });
    sleep_once(&mut consumer, &mut producer);
    let last = RemoteActor::attached(&name, "producer");
    drop(producer);
    assert!(matches!(consumer.recv_batch_timeout(1, Duration::ZERO), Err(Error::TimedOut)));
    // Killed: the event counter does not change.
    drop(last);
    wait_until("the end", || matches!(consumer.recv_batch_timeout(1, Duration::ZERO), Err(Error::Ended)));
    ring.remove().unwrap();
}

#[test]
fn a_stop_flag_ends_reads_and_writes_through_the_adapters() {
    use std::io::{Read, Write};

    fn is_interrupted<T>(result: std::io::Result<T>) -> bool {
        let error = result.err().expect("an error");
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        matches!(inner, Some(Error::Interrupted)) && error.kind() != std::io::ErrorKind::Interrupted
    }

    let (_name, ring) = ring("adapters");
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    let stop = StopFlag::new();
    producer.set_stop_flag(stop.clone());
    consumer.set_stop_flag(stop.clone());
    stop.raise();
    within("the adapters end", move || {
        assert!(is_interrupted(std::io::copy(&mut consumer.reader(), &mut std::io::sink())));
        assert!(is_interrupted(consumer.reader().read_to_end(&mut Vec::new())));
        assert!(is_interrupted(producer.writer(64).write_all(&[0; 64 * 5])));
    });
    ring.remove().unwrap();
}
