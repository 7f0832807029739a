//! What cannot be had over a server says so in one line, and secrets stay secret.

use serde_json::{Value, json};

use crate::raw;
use crate::server::{Server, consumer, free_port, name_at, producer};
use crate::support::wait_until;

#[test]
fn what_only_shared_memory_has_is_refused_in_one_line() {
    let Some(server) = Server::start() else { return };
    let jobs = server.name("jobs");
    for (option, words) in [
        (&["--fixed", "8"][..], "--fixed"),
        (&["--exclusive"], "--exclusive"),
        (&["--sync", "polling"], "--sync"),
        (&["--mode", "600"], "--mode"),
        (&["--slot-size", "64"], "--slot-size"),
        (&["--shared"], "--shared"),
        (&["--on-full", "drop-oldest"], "drop-oldest"),
    ] {
        let ended = producer(&jobs, &["--item", "x"]).args(option).run().with_code(2).saying(words);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        assert!(ended.stderr.contains("for rings in shared memory"), "{}", ended.stderr);
    }
    consumer(&jobs, &["--shared"]).run().with_code(2).saying("--shared");
    let mixed = consumer(&jobs, &["--dead-letter", "failed", "--", "true"]).run().with_code(2);
    mixed.saying("is in shared memory; expected a stream");
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let gone = name_at(free_port(), "jobs");
    let server = gone.strip_suffix("/jobs").unwrap();
    let ended = producer(&gone, &["--item", "x"]).run().with_code(1);
    ended.saying(&format!("cannot connect to {server}"));
    consumer(&gone, &["--timeout", "200ms"]).run().with_code(1).saying("cannot connect");
}

#[test]
fn a_stream_of_other_settings_is_refused() {
    let Some(server) = Server::start() else { return };
    let jobs = server.name("jobs");
    producer(&jobs, &["--capacity", "5", "--item", "x"]).run().succeeds();
    // Its bucket is a stream, too, with other settings.
    let bucket = server.name("KV_ringpipe-state-jobs");
    let ended = producer(&bucket, &["--item", "x"]).run().with_code(6);
    ended.saying("its retention is Limits; expected WorkQueue");
    let ended = producer(&jobs, &["--capacity", "7", "--item", "y"]).run().succeeds();
    ended.saying("exists with 5 slots: --capacity 7 has no effect");
}

/// Makes the stream again with each of these settings, which other tools allow, and lets a producer open it.
fn refused(of_stream: &[(Value, &str)], of_consumer: &[(Value, &str)]) {
    let Some(server) = Server::start() else { return };
    let (port, jobs, none) = (server.port(), server.name("jobs"), json!({}));
    producer(&jobs, &["--item", "x"]).run().succeeds();
    let [stream, consumer] = raw::configs(port, "jobs");
    raw::make_again(port, "jobs", &stream, &consumer);
    producer(&jobs, &["--item", "x"]).run().succeeds();
    let of_stream = of_stream.iter().map(|(changes, words)| (changes, &none, words));
    let of_consumer = of_consumer.iter().map(|(changes, words)| (&none, changes, words));
    for (in_stream, in_consumer, words) in of_stream.chain(of_consumer) {
        let changed = (raw::changed(&stream, in_stream), raw::changed(&consumer, in_consumer));
        raw::make_again(port, "jobs", &changed.0, &changed.1);
        let ended = producer(&jobs, &["--item", "x"]).run().with_code(6);
        let first = ended.stderr.lines().next().unwrap();
        assert!(first.contains(words) && first.contains("; expected "), "{words}: {first}");
    }
}

#[test]
fn a_stream_whose_items_would_not_stay_is_refused() {
    let second: u64 = 1_000_000_000;
    refused(
        &[
            (json!({"max_msgs_per_subject": 3}), "max_msgs_per_subject"),
            (json!({"storage": "memory"}), "storage"),
            (json!({"duplicate_window": second}), "duplicate_window"),
            (json!({"sources": [{"name": "KV_ringpipe-live-jobs"}]}), "sources"),
            (json!({"republish": {"src": "ringpipe.jobs", "dest": "copies"}}), "republish"),
            (json!({"allow_rollup_hdrs": true}), "allow_rollup_hdrs"),
            (json!({"max_age": 3600 * second}), "max_age"),
            (json!({"max_bytes": 100_000_000}), "max_bytes"),
        ],
        &[],
    );
}

#[test]
fn a_consumer_that_would_not_deliver_all_is_refused() {
    refused(
        &[],
        &[
            (json!({"headers_only": true}), "headers_only"),
            (json!({"filter_subject": "ringpipe.jobs"}), "filter_subject"),
            (json!({"max_ack_pending": 10}), "max_ack_pending"),
            (json!({"max_deliver": 5}), "max_deliver"),
            (json!({"max_batch": 5}), "max_batch"),
            (json!({"mem_storage": true}), "mem_storage"),
            (json!({"backoff": [1_000_000_000_u64]}), "backoff"),
        ],
    );
}

#[test]
fn credentials_come_from_the_environment_and_from_contexts_alone() {
    let Some(server) = Server::start_with(&["--user", "me", "--pass", "hush"]) else { return };
    let jobs = server.name("jobs");
    let refused = producer(&jobs, &["--item", "x"]).run().with_code(1);
    refused.saying("authorization violation");
    let given = jobs.replace("nats://", "nats://me:hush@");
    let refused = producer(&given, &["--item", "x"]).run().with_code(2);
    assert!(!refused.stderr.contains("hush"), "{}", refused.stderr);
    let refused = producer(&given.replace("/jobs", "/a.b"), &["--item", "x"]).run().with_code(2);
    assert!(!refused.stderr.contains("hush"), "{}", refused.stderr);
    let run = producer(&jobs, &["--item", "x"]).env("NATS_USER", "me").env("NATS_PASSWORD", "hush");
    run.run().succeeds().quiet();
    let wrong = producer(&jobs, &["--item", "x"]).env("NATS_USER", "me").env("NATS_PASSWORD", "shush");
    assert!(!wrong.run().with_code(1).stderr.contains("shush"));
    let home = tempfile::tempdir().unwrap();
    let contexts = home.path().join("nats/context");
    std::fs::create_dir_all(&contexts).unwrap();
    let context = r#"{"description": "a test", "url": "nats://elsewhere", "user": "me", "password": "hush"}"#;
    std::fs::write(contexts.join("prod.json"), context).unwrap();
    let with_home = |run: crate::support::Run| run.env("XDG_CONFIG_HOME", home.path());
    let taken = with_home(consumer(&jobs, &[])).env("NATS_CONTEXT", "prod").run().succeeds();
    assert_eq!(taken.text(), "x\n");
    with_home(producer(&format!("{jobs}?context=prod"), &["--item", "x"])).run().succeeds();
    with_home(producer(&format!("{jobs}?context=other"), &["--item", "x"])).run().with_code(1);
}

#[test]
fn a_silent_server_is_noted_and_not_called_a_full_ring() {
    let Some(mut server) = Server::start() else { return };
    let jobs = server.name("jobs");
    let mut sending = producer(&jobs, &["-v", "--timeout", "4s"]).open_input().spawn();
    sending.wait_for_stderr("made stream");
    server.kill();
    sending.wait_for_stderr("the connection is lost; trying again");
    std::io::Write::write_all(sending.stdin.as_mut().unwrap(), b"1\n").unwrap();
    sending.end().with_code(4).saying("its server does not answer");
    let waiting = {
        server.restart();
        consumer(&jobs, &["-v"]).spawn()
    };
    waiting.wait_for_stderr("found stream");
    server.kill();
    waiting.wait_for_stderr("the connection is lost");
    server.restart();
    waiting.wait_for_stderr("connected again");
    producer(&jobs, &["--item", "late"]).run().succeeds();
    wait_until("the late item", || waiting.has_printed("late\n"));
}
