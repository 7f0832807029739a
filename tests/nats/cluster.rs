//! Three servers that store each item of a stream, of which one is killed.

use std::collections::BTreeSet;
use std::io::Write;

use crate::server::{Server, consumer, free_port, name_at, producer, ringctl, sorted};
use crate::support::{Running, seq, wait_until};

/// Three servers of one cluster.
fn start() -> Option<[Server; 3]> {
    let ports = [free_port(), free_port(), free_port()];
    let routes = ports.map(|port| format!("nats://127.0.0.1:{port}"));
    let mut servers = Vec::new();
    for (place, route) in routes.iter().enumerate() {
        let name = format!("s{place}");
        let routes = routes.join(",");
        let more = ["-n", &name, "-cluster_name", "test", "-cluster", route, "-routes", &routes];
        servers.push(Server::start_with(&more)?);
    }
    servers.try_into().ok()
}

/// Waits until the cluster has a leader, and makes a stream.
fn make(servers: &[Server; 3], stream: &str, more: &[&str]) -> String {
    let name = name_at(servers[0].port(), &format!("{stream}?replicas=3&ack-wait=2s"));
    wait_until("a stream that three servers store", || {
        // An attempt whose answer was lost may have made it.
        let ended = ringctl(&["create", &name]).args(more).run();
        ended.code == Some(0) || ended.stderr.contains("exists already")
    });
    name
}

/// The stream, by the name of this server.
fn at(server: &Server, stream: &str) -> String {
    server.name(&format!("{stream}?ack-wait=2s"))
}

fn lines(running: &mut Running) -> usize {
    running.output().iter().filter(|byte| **byte == b'\n').count()
}

/// The server whose death the others have to replace for this stream.
fn leader(servers: &[Server; 3], stream: &str) -> usize {
    let name = crate::raw::leader(servers[0].port(), stream).expect("a leader");
    name.strip_prefix('s').and_then(|place| place.parse().ok()).expect("a name as given")
}

#[test]
fn a_killed_server_of_three_loses_no_item() {
    let Some(mut servers) = start() else { return };
    make(&servers, "jobs", &[]);
    let mut sending = producer(&at(&servers[0], "jobs"), &[]).open_input().spawn();
    let mut send = |numbers: std::ops::RangeInclusive<u64>| {
        let lines: String = numbers.map(|number| format!("{number}\n")).collect();
        sending.stdin.as_mut().unwrap().write_all(lines.as_bytes()).unwrap();
    };
    let mut receiving = consumer(&at(&servers[1], "jobs"), &[]).spawn();
    send(1..=2000);
    wait_until("the first lines", || lines(&mut receiving) >= 100);
    // First the one that leads the stream, then another. After each death there is more to send.
    let first = leader(&servers, "jobs");
    servers[first].kill();
    send(2001..=4000);
    wait_until("lines after the death of the leader", || lines(&mut receiving) > 2000);
    servers[first].restart();
    let second = (first + 1) % 3;
    wait_until("three servers again", || crate::raw::leader(servers[first].port(), "jobs").is_some());
    servers[second].kill();
    let count = 6000;
    send(4001..=count);
    wait_until("lines after the second death", || lines(&mut receiving) > 4000);
    servers[second].restart();
    sending.close_input();
    sending.end().succeeds();
    let ended = receiving.end().succeeds();
    let all = sorted(ended.text());
    let distinct: BTreeSet<u64> = all.iter().copied().collect();
    assert!(distinct.iter().copied().eq(1..=count), "{} of {count}", distinct.len());
    println!("{} of {count} lines came again", all.len() - distinct.len());
}

#[test]
fn a_stream_of_three_servers_survives_each_of_them_in_turn() {
    let Some(mut servers) = start() else { return };
    make(&servers, "jobs", &["--capacity", "100"]);
    producer(&at(&servers[0], "jobs"), &[]).input(seq(60)).run().succeeds();
    for place in 0..3 {
        servers[place].kill();
        let other = &servers[(place + 1) % 3];
        wait_until("an answer of the two others", || {
            ringctl(&["inspect", "--json", &at(other, "jobs")]).run().code == Some(0)
        });
        assert_eq!(ringctl(&["inspect", "--json", &at(other, "jobs")]).run().json()["used"], 60);
        servers[place].restart();
        wait_until("a leader", || crate::raw::leader(servers[place].port(), "jobs").is_some());
    }
    let ended = consumer(&at(&servers[0], "jobs"), &[]).run().succeeds();
    assert!(sorted(ended.text()).into_iter().eq(1..=60), "{}", ended.text());
}
