//! Items that the server delivers again: each is held from when it comes, and comes once more only if its holder is gone.

use std::thread;
use std::time::Duration;

use crate::proxy::Proxy;
use crate::server::{Server, consumer, name_at, producer, ringctl, sorted};
use crate::support::{Running, seq, wait_until};

fn figure(name: &str, figure: &str) -> u64 {
    ringctl(&["inspect", name, "--json"]).run().json()[figure].as_u64().unwrap()
}

/// A worker that holds this many items until it is killed.
fn holder(name: &str, items: u64) -> Running {
    let worker = consumer(name, &["-j", &items.to_string(), "--", "sleep", "600"]).spawn();
    wait_until("held items", || figure(name, "items_held") == items);
    worker
}

#[test]
fn redelivered_items_do_not_lie_unheld_in_a_bridge_that_waits_for_room() {
    let Some(server) = Server::start() else { return };
    let (jobs, slow) = (server.name("jobs?ack-wait=1s"), server.name("slow"));
    ringctl(&["create", &slow, "--capacity", "3"]).run().succeeds();
    producer(&jobs, &[]).input(seq(40)).run().succeeds();
    let mut killed = holder(&jobs, 40);
    killed.signal(libc::SIGKILL);
    killed.ended();
    let bridge = ringctl(&["bridge", "-v", &jobs, &slow]).spawn();
    bridge.wait_for_stderr("takes nothing");
    // Several times as long as the server waits for a sign of a holder.
    thread::sleep(Duration::from_secs(4));
    // The first may have been passed on alone.
    assert_eq!(figure(&jobs, "items_held"), figure(&jobs, "used"));
    // The first delivery went to the killed worker, the second to the bridge: a third is one too many.
    let mut receiving = consumer(&slow, &[]).spawn();
    bridge.end().succeeds();
    wait_until("40 lines", || receiving.output().iter().filter(|byte| **byte == b'\n').count() >= 40);
    assert_eq!(sorted(receiving.end().succeeds().text()), (1..=40).collect::<Vec<_>>());
}

#[test]
fn items_of_a_worker_that_was_stopped_for_too_long_are_settled_once_more() {
    let Some(server) = Server::start() else { return };
    let jobs = server.name("jobs?ack-wait=1s");
    producer(&jobs, &["--item", "x"]).run().succeeds();
    let script = "echo $RING_ATTEMPT; sleep 3";
    let worker = consumer(&jobs, &["-j", "2", "--", "sh", "-c", script]).spawn();
    worker.wait_for_stdout(b"1\n");
    // The server gives the item up, and delivers it again to the only one that asks: the worker that has it.
    worker.signal(libc::SIGSTOP);
    thread::sleep(Duration::from_millis(1500));
    worker.signal(libc::SIGCONT);
    assert_eq!(worker.end().succeeds().text(), "1\n");
}

#[test]
fn an_item_is_not_tried_too_often_because_an_answer_was_missing() {
    let Some(server) = Server::start() else { return };
    let proxy = Proxy::start(server.port());
    let (jobs, failed) = (server.name("jobs?ack-wait=1s"), server.name("failed"));
    producer(&jobs, &["--item", "x"]).run().succeeds();
    let first = consumer(&jobs, &["--backoff", "60s", "-v", "--", "false"]).spawn();
    first.wait_for_stderr("attempt 2 of 4");
    drop(first);
    // The question how often the item has failed is not answered.
    proxy.forge(
        "DIRECT.GET.KV_ringpipe-state-jobs.$KV.ringpipe-state-jobs.fail",
        "DIRECX.GET.KV_ringpipe-state-jobs.$KV.ringpipe-state-jobs.fail",
        1,
    );
    let dir = tempfile::tempdir().unwrap();
    let tries = dir.path().join("tries");
    let script = format!("echo >> {}; false", tries.display());
    let through = |stream: &str| name_at(proxy.port(), stream);
    let args = ["--retries", "1", "--backoff", "1ms", "--dead-letter", &through("failed")];
    consumer(&through("jobs"), &args).args(&["--", "sh", "-c", &script]).run().with_code(123);
    assert!(proxy.has_forged_all());
    assert_eq!(std::fs::read_to_string(&tries).unwrap().len(), 1, "one attempt was left");
    assert!(consumer(&failed, &["--drain"]).run().succeeds().text().contains("\"failures\":2"));
}
