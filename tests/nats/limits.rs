//! A deadline bounds a call, whatever the server does; what passes by itself is waited for until then.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::proxy::Proxy;
use crate::raw;
use crate::server::{Server, consumer, name_at, producer, ringctl};
use crate::support::{Running, seq, times_slower};

/// How long a client of this program waits for one answer: what has a deadline ends long before that.
const ANSWER: Duration = Duration::from_secs(5);

/// A producer with an open input, attached through a proxy that holds the answers back from now on.
fn unanswered(args: &[&str]) -> Option<(Server, Proxy, Running)> {
    let server = Server::start()?;
    let proxy = Proxy::start(server.port());
    let mut sending = producer(&name_at(proxy.port(), "jobs"), &["-v"]).args(args).open_input().spawn();
    sending.wait_for_stderr("made stream");
    proxy.hold_answers();
    sending.stdin.as_mut().unwrap().write_all(b"1\n2\n").unwrap();
    Some((server, proxy, sending))
}

#[test]
fn a_producer_with_a_deadline_does_not_wait_longer_for_a_silent_server() {
    let Some((_server, _proxy, sending)) = unanswered(&["--timeout", "1s"]) else { return };
    let start = Instant::now();
    sending.end().with_code(4).saying("its server does not answer, waited 1s");
    assert!(start.elapsed() < ANSWER * times_slower(), "{:?}", start.elapsed());
}

#[test]
fn a_producer_that_is_not_to_wait_ends_although_the_server_is_silent() {
    let Some((_server, _proxy, sending)) = unanswered(&["--on-full", "fail"]) else { return };
    sending.end().with_code(4).saying("its server does not answer");
}

#[test]
fn a_consumer_with_a_deadline_does_not_wait_longer_for_a_silent_server() {
    let Some(server) = Server::start() else { return };
    let proxy = Proxy::start(server.port());
    ringctl(&["create", &server.name("jobs")]).run().succeeds();
    let waiting = consumer(&name_at(proxy.port(), "jobs"), &["-v", "--timeout", "2s"]).spawn();
    waiting.wait_for_stderr("found stream");
    proxy.hold_answers();
    let start = Instant::now();
    waiting.end().with_code(4);
    assert!(start.elapsed() < ANSWER * times_slower(), "{:?}", start.elapsed());
}

#[test]
fn a_command_with_a_deadline_does_not_open_a_silent_stream_for_longer() {
    let Some(server) = Server::start() else { return };
    let proxy = Proxy::start(server.port());
    proxy.hold_answers();
    let start = Instant::now();
    producer(&name_at(proxy.port(), "jobs"), &["--item", "x", "--timeout", "1s"]).run().with_code(1);
    assert!(start.elapsed() < ANSWER * times_slower(), "{:?}", start.elapsed());
}

#[test]
fn a_server_without_room_on_its_disk_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("server.conf");
    std::fs::write(&config, "jetstream { max_file_store: 1000000 }\n").unwrap();
    let Some(server) = Server::start_with(&["-c", config.to_str().unwrap()]) else { return };
    let jobs = server.name("jobs");
    let mut late = producer(&jobs, &["-v", "--producers", "2", "--timeout", "3s"]).open_input().spawn();
    late.wait_for_stderr("made stream");
    // While there is no room, no process can enter: the record is on the same disk.
    let receiving = consumer(&jobs, &["-v"]).spawn();
    receiving.wait_for_stderr("found stream");
    receiving.signal(libc::SIGSTOP);
    let long = format!("{}\n", "x".repeat(100_000));
    let sending = producer(&jobs, &["-v"]).input(long.repeat(20)).spawn();
    sending.wait_for_stderr("waiting for room");
    late.stdin.as_mut().unwrap().write_all(long.as_bytes()).unwrap();
    late.end().with_code(4).saying("its server cannot store items now: insufficient");
    receiving.signal(libc::SIGCONT);
    sending.end().succeeds();
    assert_eq!(receiving.end().succeeds().lines().len(), 20);
}

#[test]
fn one_denial_of_a_stream_is_not_its_removal() {
    let Some(server) = Server::start() else { return };
    let proxy = Proxy::start(server.port());
    let jobs = server.name("jobs");
    ringctl(&["create", &jobs]).run().succeeds();
    let waiting = consumer(&name_at(proxy.port(), "jobs"), &["-v"]).spawn();
    waiting.wait_for_stderr("found stream");
    // The server has no such consumer, and no such stream, once each.
    proxy.forge("STREAM.INFO.jobs", "STREAM.INFO.jobz", 1);
    proxy.forge("MSG.NEXT.jobs", "MSG.NEXT.jobz", 1);
    crate::support::wait_until("a denial", || proxy.has_forged_all());
    producer(&jobs, &["--item", "late"]).run().succeeds();
    assert_eq!(waiting.end().succeeds().text(), "late\n");
}

#[test]
fn a_stream_that_another_tool_removes_ends() {
    let Some(server) = Server::start() else { return };
    let jobs = server.name("jobs");
    let mut sending = producer(&jobs, &["-v"]).open_input().spawn();
    sending.wait_for_stderr("made stream");
    let receiving = consumer(&jobs, &["-v"]).spawn();
    receiving.wait_for_stderr("found stream");
    raw::ask(server.port(), "STREAM.DELETE.jobs", &serde_json::json!({}));
    sending.stdin.as_mut().unwrap().write_all(b"1\n").unwrap();
    sending.end().with_code(5).saying("was removed");
    receiving.end().succeeds();
}

#[test]
fn a_damaged_record_is_no_removal() {
    let Some(server) = Server::start() else { return };
    let jobs = server.name("jobs");
    let mut sending = producer(&jobs, &["-v"]).open_input().spawn();
    sending.wait_for_stderr("made stream");
    let receiving = consumer(&jobs, &["-v"]).spawn();
    receiving.wait_for_stderr("found stream");
    raw::publish(server.port(), "$KV.ringpipe-state-jobs.state", "{\"schema\": 3}");
    receiving.end().with_code(6).saying("is not one of ringpipe.stream/1");
    let _ = sending.stdin.as_mut().unwrap().write_all(b"1\n");
    sending.end().with_code(6).saying("is not one of ringpipe.stream/1");
    producer(&jobs, &["--item", "x"]).run().with_code(6);
}

#[test]
fn a_connection_that_is_cut_while_a_stream_is_opened_is_made_again() {
    let Some(server) = Server::start() else { return };
    let proxy = Proxy::start(server.port());
    // Pieces from the server: the first two belong to the connection itself.
    let cuts = 3..=14;
    for cut in cuts.clone() {
        proxy.cut_after(cut);
        producer(&name_at(proxy.port(), "jobs"), &["--item", &cut.to_string()]).run().succeeds();
    }
    let items: String = cuts.clone().map(|cut| format!("{cut}\n")).collect();
    let seen = ringctl(&["inspect", &server.name("jobs"), "--json"]).run().json();
    assert_eq!(seen["producers_ever"], cuts.count(), "each counts once");
    assert_eq!(consumer(&server.name("jobs"), &[]).run().succeeds().text(), items);
}

#[test]
fn a_server_without_jetstream_gets_one_clear_line() {
    let Some(server) = Server::start_plain() else { return };
    for ended in [
        producer(&server.name("jobs"), &["--item", "x"]).run(),
        consumer(&server.name("jobs"), &[]).run(),
        ringctl(&["inspect", &server.name("jobs")]).run(),
    ] {
        let ended =
            ended.with_code(1).saying("the server has no JetStream; expected one that was started with -js");
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
}

#[test]
fn a_settlement_waits_for_the_server_as_a_producer_does() {
    let Some(mut server) = Server::start() else { return };
    let jobs = server.name("jobs");
    producer(&jobs, &[]).input(seq(3)).run().succeeds();
    let worker = consumer(&jobs, &["-v", "--", "sh", "-c", "echo {}; sleep 1"]).spawn();
    worker.wait_for_stdout(b"1\n");
    server.kill();
    worker.wait_for_stderr("the connection is lost");
    server.restart();
    let mut all = crate::server::sorted(worker.end().succeeds().text());
    // What the killed server had not written comes again.
    all.dedup();
    assert_eq!(all, [1, 2, 3]);
}
