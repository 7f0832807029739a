//! Logs on a file system that is full: nothing happens to an item whose event could not be written.

use std::fs;

use crate::support::*;
use ringpipe::RingOptions;

/// Bytes of a file system that takes only some events.
const MOUNT: &str = "mount -t tmpfs -o size=64k none /mnt";

/// The messages of a command that cannot log.
#[track_caller]
fn says(ended: &Ended, log: &str, message: &str) {
    let line = format!(": log {log:?}: {message}");
    assert!(ended.code == Some(1) && ended.complaint().contains(&line), "{ended:?}");
}

/// A ring with many lines.
fn filled(label: &str, lines: u64) -> TestName {
    let ring = TestName::made(label, &RingOptions::new().capacity(4096).slot_size(64));
    ring.send_lines(&seq(lines));
    ring
}

#[test]
fn a_producer_whose_log_is_full_sends_nothing_more() {
    let ring = TestName::new("full").stays();
    let ended = producer(&ring, &["--log", "/dev/full", "--item", "x"]).run();
    says(&ended, "/dev/full", "No space left on device");
    assert!(!ring.exists(), "an item was sent");
    if !namespace::is_inside() {
        namespace::run_inside(namespace::this_test!(), MOUNT);
        return;
    }
    let ring = TestName::made("full", &RingOptions::new().capacity(4096).slot_size(64));
    says(
        &producer(&ring, &["--log", "/mnt/log"]).input(seq(4000)).run(),
        "/mnt/log",
        "No space left on device",
    );
    let sent = ring.ready() as usize;
    let announced = fs::read_to_string("/mnt/log").unwrap().matches(" attempt ").count();
    assert!((1..4000).contains(&sent) && sent <= announced, "{sent} of {announced}");
}

#[test]
fn a_consumer_whose_log_is_full_acknowledges_nothing_more() {
    for options in [
        &[][..],
        &["--ack", "write"],
        &["--", "true"],
        &["-j", "2", "--coprocess", "--", "sed", "-u", "s/.*/ok/"],
    ] {
        let ring = filled("full", 3);
        says(
            &consumer(&ring, &[&["--log", "/dev/full"], options].concat()).run(),
            "/dev/full",
            "No space left on device",
        );
        assert_eq!((ring.ready(), ring.acknowledged()), (3, 0), "{options:?}");
    }
    if !namespace::is_inside() {
        namespace::run_inside(namespace::this_test!(), MOUNT);
        return;
    }
    for options in [
        &["--drain"][..],
        &["--drain", "--ack", "write"],
        &["--drain", "--coprocess", "--", "sed", "-u", "s/.*/ok/"],
    ] {
        let ring = filled("full", 4000);
        let ended = consumer(&ring, &[&["--log", "/mnt/log"], options].concat()).run();
        says(&ended, "/mnt/log", "No space left on device");
        let text = fs::read_to_string("/mnt/log").unwrap();
        let acking = text.lines().filter(|line| line.contains(" acking ")).count() as u64;
        let acknowledged = ring.acknowledged();
        assert!(
            acknowledged <= acking && acknowledged + ring.ready() == 4000,
            "{options:?}: {acknowledged} of {acking}"
        );
        fs::remove_file("/mnt/log").unwrap();
    }
}

#[test]
fn a_holder_whose_log_is_full_gives_the_item_back() {
    let ring = filled("full", 1);
    let ended = consumer(&ring, &["--hold", "--hold-for", "1", "--log", "/dev/full"]).run();
    says(&ended, "/dev/full", "No space left on device");
    assert_eq!((ring.ready(), ring.acknowledged()), (1, 0));
}

#[test]
fn a_producer_whose_log_is_full_drops_no_old_item() {
    if !namespace::is_inside() {
        namespace::run_inside(namespace::this_test!(), MOUNT);
        return;
    }
    let ring = TestName::made("full", &RingOptions::new().capacity(16).slot_size(64));
    let ended = producer(&ring, &["--log", "/mnt/log", "--on-full", "drop-oldest"]).input(seq(4000)).run();
    says(&ended, "/mnt/log", "No space left on device");
    let text = fs::read_to_string("/mnt/log").unwrap();
    let dropping = text.lines().filter(|line| line.contains(" dropping ")).count() as u64;
    let dropped = ring.open().snapshot().unwrap().totals.dropped_oldest;
    assert!(dropped > 0 && dropped <= dropping, "{dropped} of {dropping}");
}
