//! `ringctl bridge` between rings in shared memory and streams.

use std::collections::BTreeSet;
use std::io::Write;

use crate::server::{Server, consumer, producer, ringctl, sorted};
use crate::support::{self, TestName, seq, wait_until};

#[test]
fn items_keep_their_bytes_keys_and_order_either_way() {
    let Some(server) = Server::start() else { return };
    let (there, back, far) = (TestName::new("there"), TestName::new("back"), server.name("jobs"));
    let sending = support::producer(&there, &[]).input(seq(3000)).spawn();
    ringctl(&["bridge", &there.name, &far]).run().succeeds().quiet();
    sending.end().succeeds();
    let receiving = support::consumer(&back, &["--json"]).spawn();
    ringctl(&["bridge", &far, &back.name, "--stats"]).run().succeeds().saying("3,000 items");
    let ended = receiving.end().succeeds();
    for (n, object) in ended.json_lines().into_iter().enumerate() {
        assert_eq!(
            (&object["sequence"], &object["text"]),
            (&n.into(), &(n + 1).to_string().into()),
            "{object}"
        );
    }
    assert_eq!(ended.lines().len(), 3000);
}

#[test]
fn a_full_stream_holds_up_the_bridge_and_its_ring() {
    let Some(server) = Server::start() else { return };
    let (near, far) = (TestName::new("near"), server.name("jobs"));
    ringctl(&["create", &far, "--capacity", "5"]).run().succeeds();
    let sending = support::producer(&near, &["--capacity", "8"]).input(seq(100)).spawn();
    let bridge = ringctl(&["bridge", "-v", &near.name, &far]).spawn();
    bridge.wait_for_stderr("takes nothing");
    assert_eq!(ringctl(&["inspect", &far, "--json"]).run().json()["used"], 5);
    let receiving = consumer(&far, &[]).spawn();
    sending.end().succeeds();
    bridge.end().succeeds();
    assert_eq!(receiving.end().succeeds().text(), seq(100));
}

#[test]
fn a_killed_bridge_loses_and_doubles_nothing_in_a_stream() {
    let Some(mut server) = Server::start() else { return };
    let (near, far) = (TestName::new("near"), server.name("jobs"));
    ringctl(&["create", &far, "--capacity", "10000"]).run().succeeds();
    // A ring that stays: the last bridge may come when the items are all on the server, and the producer has left.
    ringctl(&["create", &near.name]).run().succeeds();
    let mut sending = support::producer(&near, &[]).open_input().spawn();
    let mut bridge = ringctl(&["bridge", &near.name, &far]).spawn();
    let used = |name: &str| ringctl(&["inspect", name, "--json"]).run().json()["used"].as_u64().unwrap();
    let mut sent = 0;
    for round in 1..=4_u64 {
        let lines: String = (sent + 1..=sent + 1000).map(|n| format!("{n}\n")).collect();
        sent += 1000;
        sending.stdin.as_mut().unwrap().write_all(lines.as_bytes()).unwrap();
        wait_until("some items on the server", || used(&far) > (round - 1) * 1000 + 50);
        bridge.signal(libc::SIGKILL);
        bridge.ended();
        if round == 2 {
            // It forgets the ids of items then: not while items are under way.
            bridge = ringctl(&["bridge", &near.name, &far]).spawn();
            wait_until("all items on the server", || used(&far) == sent);
            server.kill();
            server.restart();
        } else {
            bridge = ringctl(&["bridge", &near.name, &far]).spawn();
        }
    }
    sending.close_input();
    sending.end().succeeds();
    bridge.end().succeeds();
    ringctl(&["rm", &near.name]).run().succeeds();
    let ended = consumer(&far, &["--json"]).run().succeeds();
    let objects = ended.json_lines();
    let numbers: Vec<u64> =
        objects.iter().map(|object| object["text"].as_str().unwrap().parse().unwrap()).collect();
    let distinct: BTreeSet<u64> = numbers.iter().copied().collect();
    assert_eq!(distinct.len(), 4000, "lost");
    assert_eq!(numbers.len(), 4000, "doubled");
}

#[test]
fn a_bridge_stops_at_a_signal_and_at_a_number() {
    let Some(server) = Server::start() else { return };
    let (far, other) = (server.name("jobs"), server.name("other"));
    producer(&far, &[]).input(seq(10)).run().succeeds();
    ringctl(&["bridge", &far, &other, "-n", "4", "--rate", "100/s"]).run().succeeds();
    let bridge = ringctl(&["bridge", &far, &other, "--follow"]).spawn();
    wait_until("all items", || {
        ringctl(&["wait", &far, "--until", "empty", "--timeout", "0"]).run().code == Some(0)
    });
    bridge.signal(libc::SIGTERM);
    bridge.end().by_signal(libc::SIGTERM);
    assert_eq!(sorted(consumer(&other, &["--drain"]).run().succeeds().text()), (1..=10).collect::<Vec<_>>());
    ringctl(&["bridge", &far, &far]).run().with_code(2).saying("expected two");
}
