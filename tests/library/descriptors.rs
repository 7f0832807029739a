//! Descriptors that other code of a process closes under its handles, as daemons do.

use ringpipe::{Error, ErrorKind};

use crate::support::actor::RemoteActor;
use crate::support::{TestName, options};
use crate::watch::watches;

#[test]
fn a_process_that_closed_its_descriptors_declares_no_participant_dead_and_gets_an_error() {
    let name = TestName::new("descriptors");
    let ring = options().capacity(4).slot_size(64).create(&name).unwrap();
    let mut producer = ring.producer().unwrap();
    let (mut living, mut loses) =
        (RemoteActor::attached(&name, "consumer"), RemoteActor::attached(&name, "consumer"));
    producer.send(b"one").unwrap();
    assert_eq!(living.does("recv"), "got 1 one");
    assert_eq!(loses.does("lose"), "lost");
    // It has been there for long enough to watch for deaths.
    std::thread::sleep(std::time::Duration::from_millis(60));
    // It waits, and looks for the dead.
    assert_eq!(loses.does("recv"), "Evicted");
    assert_eq!(loses.does("recv"), "Evicted");
    assert!(!watches(&loses), "it would take itself for dead");
    // To the others it is dead; a watch of theirs may have seen that already.
    ring.repair();
    assert_eq!(ring.participants().len(), 2);
    assert_eq!(living.does("ack"), "done");
    assert!(matches!(ring.consumer().unwrap().try_recv(), Err(Error::Empty)));
    assert_eq!(ring.snapshot().unwrap().totals.returned, 0);
    drop((producer, living, loses));
    ring.repair();
    ring.remove().unwrap();
}

#[test]
fn a_handle_evicted_because_its_descriptors_were_closed_gets_an_error() {
    let name = TestName::new("evicted");
    let ring = options().capacity(2).slot_size(64).create(&name).unwrap();
    let mut producer = ring.producer().unwrap();
    let (mut consumes, mut sends) =
        (RemoteActor::attached(&name, "consumer"), RemoteActor::attached(&name, "producer"));
    producer.send(b"one").unwrap();
    assert_eq!(consumes.does("recv"), "got 1 one");
    assert_eq!((consumes.does("lose"), sends.does("lose")), ("lost".into(), "lost".into()));
    assert_eq!(ring.repair().participants, 2);
    // Another has its number by now, and holds its item.
    let mut next = ring.consumer().unwrap();
    let item = next.recv().unwrap();
    assert_eq!((&*item, item.attempt()), (&b"one"[..], 2));
    assert_eq!(consumes.does("ack"), "done");
    assert_eq!(consumes.does("recv"), "Evicted");
    item.ack();
    while producer.try_send(b"x").is_ok() {}
    assert_eq!(sends.does("send y"), "Evicted");
    drop((consumes, sends));
    assert_eq!(ring.participants().len(), 2, "an evicted participant frees no other's entry");
    drop((producer, next));
    ring.remove().unwrap();
}

#[test]
fn the_error_of_an_evicted_handle_has_a_kind_and_a_message() {
    let text = Error::Evicted.to_string();
    assert_eq!(Error::Evicted.kind(), ErrorKind::Evicted);
    assert!(
        text.contains("closed") && text.contains("open the ring again") && !text.contains('\n'),
        "{text}"
    );
}
