//! `ringctl` with streams.

use std::io::Write;

use crate::server::{Server, consumer, producer, ringctl};
use crate::support::seq;

#[test]
fn a_stream_is_made_shown_closed_and_removed() {
    let Some(server) = Server::start() else { return };
    let jobs = server.name("jobs");
    ringctl(&["inspect", &jobs]).run().with_code(3).saying("does not exist");
    let made = ringctl(&["create", &format!("{jobs}?ack-wait=3s"), "--capacity", "7", "--json"]).run().json();
    assert_eq!((&made["capacity"], &made["ack_wait_ns"]), (&7.into(), &3_000_000_000_u64.into()));
    ringctl(&["create", &jobs]).run().with_code(1).saying("exists already");
    producer(&jobs, &[]).input(seq(4)).run().succeeds();
    let mut holding = consumer(&jobs, &["--", "sleep", "60"]).spawn();
    ringctl(&["wait", &jobs, "--until", "consumers=1", "--timeout", "30s"]).run().succeeds();
    ringctl(&["wait", &jobs, "--until", "items=3", "--timeout", "30s"]).run().succeeds();
    ringctl(&["wait", &jobs, "--until", "empty", "--timeout", "200ms"]).run().with_code(4);
    crate::support::wait_until("that one is held", || {
        ringctl(&["inspect", &jobs, "--json"]).run().json()["items_held"] == 1
    });
    let seen = ringctl(&["inspect", &jobs, "--json"]).run().json();
    assert_eq!(
        (&seen["used"], &seen["items_waiting"], &seen["state"]),
        (&4.into(), &3.into(), &"open".into())
    );
    assert_eq!((&seen["producers_ever"], &seen["consumers_ever"]), (&1.into(), &1.into()));
    let participants = seen["participants"].as_array().unwrap();
    assert_eq!(participants.len(), 1, "{seen}");
    let one = &participants[0];
    assert_eq!(
        (&one["role"], &one["state"], &one["pid"]),
        (&"consumer".into(), &"alive".into(), &holding.pid().into())
    );
    let text = ringctl(&["inspect", &jobs]).run().succeeds();
    assert!(text.text().contains("items: 4 of 7"), "{}", text.text());
    let peeked = ringctl(&["peek", &jobs, "-n", "2"]).run().succeeds();
    assert_eq!(peeked.text(), "1\n2\n");
    assert!(holding.is_running());
    drop(holding);
    assert_eq!(ringctl(&["close", &jobs, "--json"]).run().json()["changed"], true);
    ringctl(&["close", &jobs]).run().succeeds().saying("was closed already");
    ringctl(&["wait", &jobs, "--until", "closed"]).run().succeeds();
    producer(&jobs, &["--item", "x"]).run().with_code(5).saying("is closed");
    ringctl(&["rm", &jobs]).run().succeeds().saying("4 items discarded");
    ringctl(&["rm", &jobs]).run().with_code(3);
    ringctl(&["rm", "-f", &jobs]).run().succeeds();
    ringctl(&["wait", &jobs, "--until", "gone"]).run().succeeds();
}

#[test]
fn processes_notice_that_a_stream_was_closed_or_removed() {
    let Some(server) = Server::start() else { return };
    let (closed, removed) = (server.name("closed"), server.name("removed"));
    for (name, verb, words) in [(&closed, "close", "it was closed"), (&removed, "rm", "it was removed")] {
        let mut sending = producer(name, &["-v"]).open_input().spawn();
        sending.wait_for_stderr("made stream");
        sending.stdin.as_mut().unwrap().write_all(b"1\n").unwrap();
        let receiving = consumer(name, &["--follow"]).spawn();
        receiving.wait_for_stdout(b"1\n");
        ringctl(&["wait", name, "--until", "empty", "--timeout", "30s"]).run().succeeds();
        ringctl(&[verb, name]).run().succeeds();
        let ended = receiving.end().succeeds();
        // When the producer of a closed ring has left before, that is the ordinary end.
        assert!(ended.stderr.contains(words) || verb == "close", "{}", ended.stderr);
        let _ = sending.stdin.as_mut().unwrap().write_all(b"2\n");
        sending.end().with_code(5);
    }
}

#[test]
fn a_failed_item_shows_its_failures() {
    let Some(server) = Server::start() else { return };
    let jobs = server.name("jobs");
    producer(&jobs, &["--item", "x"]).run().succeeds();
    let worker = consumer(&jobs, &["--backoff", "60s", "-v", "--", "false"]).spawn();
    worker.wait_for_stderr("attempt 2 of 4");
    let seen = ringctl(&["peek", &jobs, "--json"]).run().json();
    assert_eq!((&seen["failures"], &seen["text"], &seen["sequence"]), (&1.into(), &"x".into(), &0.into()));
}

#[test]
fn other_verbs_say_that_they_are_for_shared_memory() {
    for verb in ["watch", "repair"] {
        let ended = ringctl(&[verb, "nats://127.0.0.1:1/jobs"]).run().with_code(2);
        ended.saying("is a stream; expected a ring in shared memory");
    }
}
