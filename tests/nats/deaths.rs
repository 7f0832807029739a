//! Kills of workers, producers and servers, and connections that break: nothing is lost, and what comes twice is a
//! redelivery.

use std::collections::BTreeSet;
use std::io::Write;
use std::thread;
use std::time::Duration;

use crate::proxy::Proxy;
use crate::server::{Server, consumer, name_at, producer, sorted};
use crate::support::{Running, seq, wait_until};

/// The numbers from 1 to `last` are all there; returns how many came more than once.
fn all_there(texts: &str, last: u64) -> usize {
    let all = sorted(texts);
    let distinct: BTreeSet<u64> = all.iter().copied().collect();
    let missing: Vec<u64> = (1..=last).filter(|n| !distinct.contains(n)).collect();
    assert!(missing.is_empty(), "lost: {missing:?}");
    assert_eq!(distinct.last(), Some(&last));
    all.len() - distinct.len()
}

fn wait_for_lines(running: &mut Running, count: usize) {
    wait_until(&format!("{count} lines"), || {
        running.output().iter().filter(|byte| **byte == b'\n').count() >= count
    });
}

#[test]
fn the_items_of_a_killed_worker_go_to_another() {
    let Some(server) = Server::start() else { return };
    let jobs = server.name("jobs?ack-wait=1s");
    producer(&jobs, &[]).input(seq(200)).run().succeeds();
    let work = ["-j", "4", "--", "sh", "-c", "sleep 0.05; echo $1", "sh", "{}"];
    let mut killed = consumer(&jobs, &work).spawn();
    let living = consumer(&jobs, &work).spawn();
    wait_for_lines(&mut killed, 10);
    killed.signal(libc::SIGKILL);
    killed.ended();
    let text = String::from_utf8(killed.output()).unwrap() + living.end().succeeds().text();
    let doubled = all_there(&text, 200);
    assert!(doubled <= 4, "{doubled} doubled, with 4 commands");
}

#[test]
fn the_stream_of_a_killed_producer_ends() {
    let Some(server) = Server::start() else { return };
    let jobs = server.name("jobs");
    let mut killed = producer(&jobs, &[]).open_input().spawn();
    killed.stdin.as_mut().unwrap().write_all(b"1\n2\n").unwrap();
    let receiving = consumer(&jobs, &[]).spawn();
    receiving.wait_for_stdout(b"1\n2\n");
    killed.signal(libc::SIGKILL);
    killed.ended();
    assert_eq!(receiving.end().succeeds().text(), "1\n2\n");
}

#[test]
fn a_stopped_producer_that_was_counted_as_dead_comes_back() {
    let Some(server) = Server::start() else { return };
    let jobs = server.name("jobs");
    let mut stopped = producer(&jobs, &["-v"]).open_input().spawn();
    stopped.wait_for_stderr("made stream");
    stopped.stdin.as_mut().unwrap().write_all(b"1\n").unwrap();
    let first = consumer(&jobs, &[]).spawn();
    first.wait_for_stdout(b"1\n");
    stopped.signal(libc::SIGSTOP);
    assert_eq!(first.end().succeeds().text(), "1\n");
    let second = consumer(&jobs, &[]).spawn();
    stopped.signal(libc::SIGCONT);
    stopped.stdin.as_mut().unwrap().write_all(b"2\n").unwrap();
    stopped.close_input();
    stopped.end().succeeds();
    assert_eq!(second.end().succeeds().text(), "2\n");
}

#[test]
fn a_server_that_is_killed_and_started_again_loses_nothing() {
    let Some(mut server) = Server::start() else { return };
    let jobs = server.name("jobs?ack-wait=1s");
    let sending = producer(&jobs, &["--capacity", "300"]).input(seq(6000)).spawn();
    let mut plain = consumer(&jobs, &["--ack", "write"]).spawn();
    let worker = consumer(&jobs, &["-j", "2", "--", "echo", "{}"]).spawn();
    for round in 1..=2 {
        wait_for_lines(&mut plain, round * 600);
        server.kill();
        thread::sleep(Duration::from_millis(200));
        server.restart();
    }
    sending.end().succeeds();
    let text = plain.end().succeeds().into_text() + worker.end().succeeds().text();
    all_there(&text, 6000);
}

#[test]
fn a_cut_connection_loses_nothing_and_doubles_no_send() {
    let Some(server) = Server::start() else { return };
    let proxy = Proxy::start(server.port());
    let sending =
        producer(&name_at(proxy.port(), "jobs"), &["-v", "--capacity", "20000"]).input(seq(20_000)).spawn();
    // Requests that open a stream are not tried again.
    sending.wait_for_stderr("made stream");
    for _ in 0..5 {
        thread::sleep(Duration::from_millis(150));
        proxy.cut();
    }
    sending.end().succeeds();
    // Sent twice would be received twice, in first deliveries.
    let ended = consumer(&server.name("jobs"), &[]).run().succeeds();
    assert!(ended.text() == seq(20_000), "{} lines", ended.lines().len());
}

#[test]
fn a_consumer_goes_on_after_its_connection_was_cut() {
    let Some(server) = Server::start() else { return };
    let proxy = Proxy::start(server.port());
    producer(&server.name("jobs?ack-wait=1s"), &["--capacity", "20000"]).input(seq(20_000)).run().succeeds();
    let mut receiving = consumer(&name_at(proxy.port(), "jobs"), &["--ack", "write"]).spawn();
    wait_for_lines(&mut receiving, 1);
    for _ in 0..3 {
        proxy.cut();
        thread::sleep(Duration::from_millis(100));
    }
    all_there(receiving.end().succeeds().text(), 20_000);
}

#[test]
fn a_half_open_connection_is_found() {
    let Some(server) = Server::start() else { return };
    let proxy = Proxy::start(server.port());
    let mut sending = producer(&name_at(proxy.port(), "jobs"), &["-v"]).open_input().spawn();
    sending.wait_for_stderr("made stream");
    proxy.set_silent(true);
    sending.stdin.as_mut().unwrap().write_all(b"1\n").unwrap();
    sending.wait_for_stderr("the connection is lost; trying again");
    proxy.set_silent(false);
    proxy.cut();
    sending.close_input();
    sending.end().succeeds();
    assert_eq!(consumer(&server.name("jobs"), &[]).run().succeeds().text(), "1\n");
}
