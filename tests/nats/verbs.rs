//! `ringctl` with streams.

use std::io::Write;

use crate::raw;
use crate::server::{Server, consumer, free_port, name_at, producer, ringctl};
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
fn the_streams_of_a_server_are_listed() {
    let Some(server) = Server::start() else { return };
    let address = server.address();
    assert_eq!(ringctl(&["list", &address]).run().succeeds().text(), "");
    let (jobs, done) = (server.name("jobs"), server.name("done"));
    ringctl(&["create", &jobs, "--capacity", "9"]).run().succeeds();
    producer(&jobs, &[]).input(seq(4)).run().succeeds();
    let holding = consumer(&jobs, &["--", "sleep", "60"]).spawn();
    crate::support::wait_until("that one is held", || {
        ringctl(&["inspect", &jobs, "--json"]).run().json()["items_held"] == 1
    });
    producer(&done, &["--item", "x"]).run().succeeds();
    ringctl(&["close", &done]).run().succeeds();
    // Another program's stream is none of them.
    raw::make(server.port(), &serde_json::json!({"name": "other", "subjects": ["other"]}));
    let names = ringctl(&["list", "-n", &address]).run().succeeds();
    assert_eq!(names.lines(), [&*done, &*jobs]);
    let rows = ringctl(&["list", "--json", &address]).run().succeeds().json_lines();
    let of = |row: &serde_json::Value| {
        let figures = ["used", "items_held", "capacity", "producers", "consumers", "dead", "replicas"];
        figures.map(|figure| row[figure].as_u64().unwrap())
    };
    assert_eq!((&rows[0]["ring"], &rows[0]["state"]), (&done.clone().into(), &"closed".into()));
    assert_eq!((&rows[1]["ring"], &rows[1]["state"]), (&jobs.clone().into(), &"open".into()));
    assert_eq!((of(&rows[0]), of(&rows[1])), ([1, 0, 8192, 0, 0, 0, 1], [4, 1, 9, 0, 1, 0, 1]));
    let table = ringctl(&["list", &address]).run().succeeds();
    assert_eq!(table.lines().len(), 3, "{}", table.text());
    assert!(table.lines()[2].contains("3/9"), "{}", table.text());
    drop(holding);
    // One that cannot be used does not hide the others.
    let [stream, consumer] = raw::configs(server.port(), "done");
    let changed = raw::changed(&stream, &serde_json::json!({"max_age": 3_600_000_000_000_u64}));
    raw::make_again(server.port(), "done", &changed, &consumer);
    let rows = ringctl(&["list", "--json", &address]).run().succeeds().json_lines();
    assert_eq!((&rows[0]["state"], rows[0].get("used")), (&"unusable".into(), None));
    assert!(rows[0]["error"].as_str().unwrap().contains("max_age") && rows[1]["state"] == "open");
}

const SCENARIOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");

#[test]
fn a_name_that_is_no_server_is_refused() {
    for given in ["jobs", "nats://", "nats://h/jobs", "nats://h?replicas=3"] {
        let ended = ringctl(&["list", given]).run().with_code(2);
        assert!(ended.stderr.contains("expected nats://HOST:PORT"), "{given}: {}", ended.stderr);
    }
    for (verb, option) in [("list", "--json"), ("test", "--over")] {
        let args = if verb == "list" { vec![verb, option] } else { vec![verb, SCENARIOS, option] };
        let ended = ringctl(&args).arg("nats://me:hush@127.0.0.1:1").run();
        assert!(ended.code == Some(2) && !ended.stderr.contains("hush"), "{}", ended.stderr);
    }
    let gone = name_at(free_port(), "x");
    ringctl(&["list", gone.strip_suffix("/x").unwrap()]).run().with_code(1).saying("cannot connect to");
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
    let ended = ringctl(&["repair", "nats://127.0.0.1:1/jobs"]).run().with_code(2);
    ended.saying("is a stream; expected a ring in shared memory");
}
