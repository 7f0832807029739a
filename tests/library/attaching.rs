//! Taking part: numbers, exclusiveness, forks.

use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use ringpipe::{Error, ErrorKind, Liveness, Role};

use crate::support::actor::RemoteActor;
use crate::support::{TestName, join_soon, options, wait_until, within};

#[test]
fn two_handles_in_one_process_exchange_items() {
    let name = TestName::new("two");
    let ring = options().capacity(4).create(&name).unwrap();
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    let sender = std::thread::spawn(move || {
        for n in 0..10_000u32 {
            producer.send(&n.to_le_bytes()).unwrap();
        }
        producer.id()
    });
    for n in 0..10_000u32 {
        let item = consumer.recv().unwrap();
        assert_eq!(*item, n.to_le_bytes());
        assert_eq!((item.sequence(), item.attempt()), (n as u64, 1));
        item.ack();
    }
    assert!(matches!(consumer.recv(), Err(Error::Ended)));
    join_soon(sender);
    ring.remove().unwrap();
}

#[test]
#[allow(unsafe_code)]
fn handles_refuse_to_work_in_a_forked_child_and_go_on_in_the_parent() {
    let name = TestName::new("forked");
    let ring = options().capacity(4).create(&name).unwrap();
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    producer.send(b"before").unwrap();
    // SAFETY: the child calls only what answers before it allocates or locks anything, and _exit.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            let refused = matches!(producer.send(b"in the child"), Err(Error::Forked))
                && matches!(producer.try_send(b"in the child"), Err(Error::Forked))
                && matches!(producer.reserve(1), Err(Error::Forked))
                && matches!(consumer.recv(), Err(Error::Forked))
                && matches!(consumer.try_recv(), Err(Error::Forked))
                && matches!(consumer.recv_batch(2), Err(Error::Forked));
            // Dropping must not leave for the parent.
            drop((producer, consumer));
            // SAFETY: ends the child without running what belongs to the parent.
            unsafe { libc::_exit(if refused { 0 } else { 1 }) }
        }
        ForkResult::Parent { child } => {
            assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0));
        }
    }
    assert_eq!(ring.participants().len(), 2);
    producer.send(b"after").unwrap();
    for expected in [&b"before"[..], b"after"] {
        let item = consumer.recv().unwrap();
        assert_eq!(&*item, expected);
        item.ack();
    }
    assert!(matches!(consumer.try_recv(), Err(Error::Empty)));
    ring.remove().unwrap();
}

#[test]
fn an_exclusive_ring_has_one_of_each_and_lets_a_successor_in_after_a_kill() {
    let name = TestName::new("exclusive");
    let ring = options().capacity(8).slot_size(64).exclusive(true).create(&name).unwrap();
    let mut expected = 0;
    for _ in 0..10 {
        let mut producer = RemoteActor::attached(&name, "producer");
        let mut consumer = RemoteActor::attached(&name, "consumer");
        assert_eq!(ring.producer().unwrap_err().kind(), ErrorKind::Busy);
        assert_eq!(ring.consumer().unwrap_err().kind(), ErrorKind::Busy);
        for n in expected..expected + 3 {
            assert_eq!(producer.does(&format!("send {n}")), "sent");
        }
        assert_eq!(producer.does("reserve never"), "reserved");
        // The one before was killed with an item in its hand.
        let attempt = if expected == 0 { 1 } else { 2 };
        if expected > 0 {
            assert_eq!(consumer.does("recv"), format!("got {attempt} {}", expected - 1));
            assert_eq!(consumer.does("ack"), "done");
        }
        for n in expected..expected + 2 {
            assert_eq!(consumer.does("recv"), format!("got 1 {n}"));
            assert_eq!(consumer.does("ack"), "done");
        }
        assert_eq!(consumer.does("recv"), format!("got 1 {}", expected + 2));
        expected += 3;
        drop((producer, consumer));
    }
    let mut consumer = ring.consumer().unwrap();
    let item = consumer.recv().unwrap();
    assert_eq!((&*item, item.attempt()), (format!("{}", expected - 1).as_bytes(), 2));
    item.ack();
    assert!(matches!(consumer.recv(), Err(Error::Ended)));
    let mut producer = ring.producer().unwrap();
    for n in 0..8u8 {
        producer.try_send(&[n]).unwrap();
    }
    assert!(matches!(producer.try_send(b"9"), Err(Error::Full)));
    ring.remove().unwrap();
}

/// Forged: a producer was killed between publishing and saying how far it had come.
#[test]
fn an_exclusive_producer_begins_behind_all_that_its_predecessor_sent() {
    use ringpipe::internal::layout::head::TAIL;
    let name = TestName::new("successor");
    let ring = options().capacity(8).slot_size(64).exclusive(true).create(&name).unwrap();
    let mut consumer = ring.consumer().unwrap();
    ring.producer().unwrap().send(&[7; 200]).unwrap();
    consumer.recv().unwrap().ack();
    name.forge(TAIL, 0);
    let mut producer = ring.producer().unwrap();
    producer.try_send(b"next").unwrap();
    assert_eq!(&*consumer.try_recv().unwrap(), b"next");
    drop((producer, consumer));
    ring.remove().unwrap();
}

#[test]
fn a_ring_takes_1024_participants_and_no_more() {
    let name = TestName::new("thousand");
    let ring = options().capacity(64).create(&name).unwrap();
    let mut actors: Vec<RemoteActor> = (0..4).map(|_| RemoteActor::on(&name)).collect();
    actors.iter_mut().for_each(|actor| actor.told("crowd 250"));
    actors.iter_mut().for_each(|actor| assert_eq!(actor.answer(), "attached"));
    let seen = ring.participants();
    assert_eq!(seen.len(), 1000);
    assert!(seen.iter().all(|participant| participant.liveness == Liveness::Alive));
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    producer.send(b"through the crowd").unwrap();
    consumer.recv().unwrap().ack();
    let mut more: Vec<_> = (0..22).map(|_| ring.consumer().unwrap()).collect();
    assert_eq!(ring.consumer().unwrap_err().kind(), ErrorKind::Busy);
    assert_eq!(ring.producer().unwrap_err().kind(), ErrorKind::Busy);
    more.pop();
    more.push(ring.consumer().unwrap());
    // The places of a quarter of them come back at once when they die.
    actors.pop();
    let again: Vec<_> = (0..250).map(|_| ring.producer().unwrap()).collect();
    assert_eq!(ring.participants().len(), 1024);
    drop((again, more, producer, consumer, actors));
    ring.repair();
    assert_eq!(ring.participants(), []);
    ring.remove().unwrap();
}

#[test]
fn the_table_tells_running_stopped_and_dead_participants_apart() {
    let name = TestName::new("table");
    let ring = options().capacity(8).create(&name).unwrap();
    let mut actor = RemoteActor::attached(&name, "producer");
    assert_eq!(actor.does("send one"), "sent");
    let only = |liveness| {
        let all = ring.participants();
        assert_eq!(all.len(), 1);
        (all[0].role, all[0].liveness) == (Role::Producer, liveness)
    };
    assert!(only(Liveness::Alive));
    actor.stop();
    wait_until("seen as stopped", || only(Liveness::Stopped));
    actor.signal(Signal::SIGKILL);
    wait_until("seen as dead", || only(Liveness::Dead));
    let recovered = ring.repair();
    assert_eq!((recovered.participants, recovered.abandoned, recovered.returned), (1, 0, 0));
    assert_eq!(ring.participants(), []);
    let snapshot = ring.snapshot().unwrap();
    assert_eq!((snapshot.ready, snapshot.totals.sent), (1, 1));
    assert!(!ring.repair().any(), "there is nothing left to repair");
    ring.remove().unwrap();
}

#[test]
fn the_numbers_of_dead_participants_are_granted_again_clean() {
    let name = TestName::new("numbers");
    let ring = options().capacity(8).slot_size(64).participants(2).create(&name).unwrap();
    let mut producer = ring.producer().unwrap();
    producer.send(b"held").unwrap();
    for attempt in 1..20 {
        let mut victim = RemoteActor::attached(&name, "consumer");
        assert_eq!(victim.does("recv"), format!("got {attempt} held"));
    }
    let ring = within("the last one has it", move || {
        let mut consumer = ring.consumer().unwrap();
        let item = consumer.recv().unwrap();
        assert_eq!((&*item, item.attempt()), (&b"held"[..], 20));
        item.ack();
        drop(consumer);
        ring
    });
    ring.remove().unwrap();
}
