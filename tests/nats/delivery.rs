//! What arrives, and how a stream ends.

use crate::server::{Server, consumer, producer, sorted};
use crate::support::{noise, seq};

#[test]
fn lines_arrive_as_they_were_sent() {
    let Some(server) = Server::start() else { return };
    let jobs = server.name("jobs");
    producer(&jobs, &["--capacity", "20000"]).input(seq(20_000)).run().succeeds().quiet();
    let ended = consumer(&jobs, &[]).run().succeeds().quiet();
    assert!(ended.text() == seq(20_000), "{} lines", ended.lines().len());
}

#[test]
fn a_consumer_waits_for_the_stream_and_for_its_items() {
    let Some(server) = Server::start() else { return };
    let jobs = server.name("jobs");
    let waiting = consumer(&jobs, &["-v"]).spawn();
    waiting.wait_for_stderr("which does not exist yet");
    let mut sending = producer(&jobs, &[]).open_input().spawn();
    waiting.wait_for_stderr("found stream");
    std::io::Write::write_all(sending.stdin.as_mut().unwrap(), b"one\ntwo\n").unwrap();
    waiting.wait_for_stdout(b"one\ntwo\n");
    sending.close_input();
    sending.end().succeeds();
    assert_eq!(waiting.end().succeeds().text(), "one\ntwo\n");
}

#[test]
fn each_item_goes_to_one_of_several_consumers() {
    let Some(server) = Server::start() else { return };
    let jobs = server.name("jobs");
    let consumers: Vec<_> = (0..3).map(|_| consumer(&jobs, &[]).spawn()).collect();
    let producers: Vec<_> = [(1, 3000), (3001, 6000)]
        .map(|(first, last)| (first..=last).map(|n: u64| format!("{n}\n")).collect::<String>())
        .map(|lines| producer(&jobs, &["--producers", "2"]).input(lines).spawn())
        .into();
    producers.into_iter().for_each(|one| drop(one.end().succeeds()));
    let texts: String = consumers.into_iter().map(|one| one.end().succeeds().into_text()).collect();
    assert_eq!(sorted(&texts), (1..=6000).collect::<Vec<_>>());
}

#[test]
fn a_stream_begins_again_after_its_end() {
    let Some(server) = Server::start() else { return };
    let jobs = server.name("jobs");
    producer(&jobs, &["--item", "first"]).run().succeeds();
    assert_eq!(consumer(&jobs, &[]).run().succeeds().text(), "first\n");
    // Nothing has come since the end: it waits.
    consumer(&jobs, &["--timeout", "300ms"]).run().with_code(4).saying("is empty, waited 300ms");
    let waiting = consumer(&jobs, &[]).spawn();
    producer(&jobs, &["--item", "second"]).run().succeeds();
    assert_eq!(waiting.end().succeeds().text(), "second\n");
}

#[test]
fn bytes_and_other_framings_arrive_unchanged() {
    let Some(server) = Server::start() else { return };
    let (raw, null) = (server.name("raw"), server.name("null"));
    let bytes = noise(3_000_000);
    producer(&raw, &["--raw"]).input(bytes.clone()).run().succeeds();
    assert!(consumer(&raw, &["--raw"]).run().succeeds().quiet().stdout == bytes);
    producer(&null, &["-0"]).input("a\nb\0c").run().succeeds();
    let ended = consumer(&null, &[]).run().succeeds();
    assert_eq!(ended.text(), "a\nb\nc\n");
    ended.saying("its producers' framing is");
}

#[test]
fn an_envelope_tells_producer_sequence_and_time() {
    let Some(server) = Server::start() else { return };
    let jobs = server.name("jobs");
    producer(&jobs, &[]).input("a\nb\n").run().succeeds();
    let ended = consumer(&jobs, &["--json"]).run().succeeds();
    for (sequence, (object, text)) in ended.json_lines().into_iter().zip(["a", "b"]).enumerate() {
        assert_eq!((&object["text"], &object["sequence"]), (&text.into(), &sequence.into()), "{object}");
        assert_eq!((&object["producer"], &object["attempt"]), (&0.into(), &1.into()), "{object}");
        assert_eq!(object["time_of"], "sent");
    }
}

#[test]
fn a_full_stream_makes_producers_wait_fail_or_drop() {
    let Some(server) = Server::start() else { return };
    let jobs = server.name("jobs");
    producer(&jobs, &["--capacity", "5"]).input(seq(5)).run().succeeds();
    producer(&jobs, &["--item", "x", "--on-full", "fail"]).run().with_code(4).saying("is full (5/5)");
    producer(&jobs, &["--item", "x", "--no-wait"]).run().with_code(4);
    let late = producer(&jobs, &["--item", "x", "--timeout", "300ms"]).run().with_code(4);
    late.saying("is full (5/5), waited 300ms");
    let dropping = producer(&jobs, &["--on-full", "drop-newest", "--stats", "--json"]).input(seq(3)).run();
    let stats = dropping.succeeds().statistics();
    assert_eq!((&stats["items"], &stats["dropped_newest"]), (&0.into(), &3.into()));
    let blocked = producer(&jobs, &[]).input("6\n7\n8\n9\n10\n11\n12\n").spawn();
    let ended = consumer(&jobs, &[]).run().succeeds();
    blocked.end().succeeds();
    assert_eq!(ended.text(), seq(12));
}

#[test]
fn a_held_item_keeps_its_place() {
    let Some(server) = Server::start() else { return };
    let jobs = server.name("jobs");
    producer(&jobs, &["--capacity", "1", "--item", "held"]).run().succeeds();
    let holding = consumer(&jobs, &["--", "sleep", "60"]).spawn();
    crate::support::wait_until("that the item is held", || {
        producer(&jobs, &["--item", "x", "--on-full", "fail"]).run().code == Some(4)
            && consumer(&jobs, &["--no-wait"]).run().code == Some(3)
    });
    drop(holding);
}

#[test]
fn a_consumer_that_takes_what_there_is_does_not_wait() {
    let Some(server) = Server::start() else { return };
    let jobs = server.name("jobs");
    consumer(&jobs, &["--no-wait"]).run().with_code(3).saying("does not exist");
    let mut sending = producer(&jobs, &[]).open_input().spawn();
    std::io::Write::write_all(sending.stdin.as_mut().unwrap(), b"1\n2\n3\n").unwrap();
    crate::support::wait_until("items", || {
        let ended = consumer(&jobs, &["--no-wait", "-n", "1"]).run();
        ended.code == Some(0) && ended.text() == "1\n"
    });
    assert_eq!(consumer(&jobs, &["--drain"]).run().succeeds().text(), "2\n3\n");
    consumer(&jobs, &["--no-wait"]).run().with_code(3);
    consumer(&jobs, &["--idle-exit", "200ms"]).run().succeeds();
    sending.close_input();
    sending.end().succeeds();
}

#[test]
fn a_signal_ends_a_wait() {
    let Some(server) = Server::start() else { return };
    let jobs = server.name("jobs");
    let mut sending = producer(&jobs, &["-v", "--capacity", "1"]).open_input().spawn();
    sending.wait_for_stderr("made stream");
    let receiving = consumer(&jobs, &["-v"]).spawn();
    receiving.wait_for_stderr("found stream");
    receiving.signal(libc::SIGTERM);
    receiving.end().by_signal(libc::SIGTERM);
    std::io::Write::write_all(sending.stdin.as_mut().unwrap(), b"1\n2\n").unwrap();
    sending.wait_for_stderr("waiting for room");
    sending.signal(libc::SIGINT);
    sending.end().by_signal(libc::SIGINT);
    // Both have left: the stream ends at once.
    assert_eq!(consumer(&jobs, &[]).run().succeeds().text(), "1\n");
}
