//! `consumer --dedup`: an item that was sent twice under one key is processed once.

use ringpipe::ItemKey;
use serde_json::{Value, json};

use crate::support::{Ended, TestName, consumer, ringctl};

/// Sends items under these keys of one producer; each is `text` and its number.
fn send(name: &TestName, keys: &[u64], text: &str) {
    let mut producer = name.open().producer().unwrap();
    for sequence in keys {
        let key = ItemKey { producer: 5, sequence: *sequence };
        producer.send_as(key, format!("{text}{sequence}").as_bytes()).unwrap();
    }
}

fn statistics(ended: &Ended) -> (u64, u64, Value) {
    let stats = ended.statistics();
    (stats["items"].as_u64().unwrap(), stats["bytes"].as_u64().unwrap(), stats["duplicates"].clone())
}

fn is_empty(name: &TestName) -> bool {
    name.inspect()["used_slots"] == 0
}

const DOUBLED: [u64; 12] = [0, 1, 1, 2, 0, 5, 4, 5, 3, 4, 2, 9];

#[test]
fn each_key_is_written_once() {
    for more in
        [&[][..], &["--ack", "write"], &["--rate", "1000000"], &["-0"], &["--frame", "len32"], &["--json"]]
    {
        let name = TestName::ring("dedup", &[]);
        send(&name, &DOUBLED, "item ");
        let once = TestName::ring("once", &[]);
        send(&once, &[0, 1, 2, 5, 4, 3, 9], "item ");
        let read = |name: &TestName, options: &[&str]| {
            let all = [&["--drain", "--stats"], options, more].concat();
            consumer(name, &all).run().succeeds()
        };
        let (ended, expected) = (read(&name, &["--dedup"]), read(&once, &[]));
        if more == ["--json"] {
            let texts = |ended: &Ended| {
                ended.json_lines().iter().map(|item| item["text"].clone()).collect::<Vec<_>>()
            };
            assert_eq!(texts(&ended), texts(&expected));
            assert_eq!(statistics(&ended), (7, 42, json!(5)));
            // Without the option, the statistics are as before.
            assert_eq!(statistics(&expected), (7, 42, Value::Null));
        } else {
            assert!(
                ended.stdout == expected.stdout,
                "{more:?}: {:?}",
                String::from_utf8_lossy(&ended.stdout)
            );
            ended.saying("received 7 items").saying(", 5 dropped as duplicates");
        }
        assert!(is_empty(&name), "{more:?}");
    }
}

/// Those are written without a copy, one by one.
#[test]
fn long_items_are_written_once() {
    let name = TestName::ring("dedup-long", &["--capacity", "8192"]);
    let long = "x".repeat(20_000);
    send(&name, &[0, 0, 1, 0, 1, 2], &long);
    let ended = consumer(&name, &["--drain", "--dedup", "--raw", "--stats"]).run().succeeds();
    let expected: String = (0..3).map(|n| format!("{long}{n}")).collect();
    assert!(ended.text() == expected, "{} bytes", ended.stdout.len());
    ended.saying("received 3 items").saying(", 3 dropped as duplicates");
    assert!(is_empty(&name));
}

#[test]
fn duplicates_are_none_of_the_wanted_items() {
    let name = TestName::ring("dedup-n", &[]);
    send(&name, &DOUBLED, "");
    let ended = consumer(&name, &["--dedup", "-n", "6"]).run().succeeds();
    assert_eq!(ended.text(), "0\n1\n2\n5\n4\n3\n");
    let ended = consumer(&name, &["--dedup", "-n", "3", "--no-wait"]).run();
    assert_eq!(ended.text(), "4\n2\n9\n");
    assert!(is_empty(&name));

    send(&name, &DOUBLED, "");
    let ended = consumer(&name, &["--dedup", "-n", "7", "--", "cat"]).run().succeeds();
    assert_eq!(ended.text(), "0125439");
    assert!(is_empty(&name));
}

#[test]
fn without_the_option_every_item_is_written() {
    let name = TestName::ring("dedup-off", &[]);
    send(&name, &[0, 0, 0], "");
    assert_eq!(consumer(&name, &["--drain"]).run().succeeds().text(), "0\n0\n0\n");
}

#[test]
fn a_command_runs_once_for_each_key() {
    let name = TestName::ring("dedup-worker", &[]);
    send(&name, &DOUBLED, "");
    let ended = consumer(&name, &["--drain", "--dedup", "--stats", "--", "sh", "-c", "echo $RING_SEQ"])
        .run()
        .succeeds();
    assert_eq!(ended.text(), "0\n1\n2\n5\n4\n3\n9\n");
    ended.saying("done 7 items").saying(", 5 dropped as duplicates");
    assert!(is_empty(&name));
}

#[test]
fn several_items_for_one_command_have_no_duplicate_of_earlier_ones() {
    let name = TestName::ring("dedup-batch", &[]);
    send(&name, &[0, 1, 0, 2, 1, 3], "");
    let options = ["--drain", "--dedup", "--max-items", "2", "--", "sh", "-c", "tr '\\n' ,; echo"];
    let ended = consumer(&name, &options).run().succeeds();
    assert_eq!(ended.text(), "0,1,\n2,3,\n");
    assert!(is_empty(&name));
}

#[test]
fn a_standing_command_gets_each_key_once() {
    let name = TestName::ring("dedup-standing", &[]);
    send(&name, &DOUBLED, "");
    let command = ["sh", "-c", "while read -r n; do echo $n >&2; echo ok; done"];
    let options = ["--drain", "--dedup", "--coprocess", "--"];
    let ended = consumer(&name, &[&options[..], &command].concat()).run().succeeds();
    assert_eq!(ended.stderr, "0\n1\n2\n5\n4\n3\n9\n");
    assert!(is_empty(&name));
}

/// An item that failed for good was not done.
#[test]
fn an_item_that_failed_is_no_duplicate_when_it_comes_again() {
    let name = TestName::ring("dedup-failed", &[]);
    send(&name, &[0, 0, 1, 1, 0], "");
    let command = ["--", "sh", "-c", "read -r n; echo $n; test $n = 1"];
    let options = ["--drain", "--dedup", "--stats", "--retries", "0", "--drop-failed"];
    let ended = consumer(&name, &[&options[..], &command].concat()).run().with_code(123);
    assert_eq!(ended.text(), "0\n0\n1\n0\n");
    ended.saying("done 1 items").saying(", 3 failed for good, 1 dropped as duplicates");
    assert!(is_empty(&name));
}

/// The answer of a worker that is killed after its answer and before its acknowledgement comes twice.
#[test]
fn a_doubled_answer_is_read_once() {
    let (jobs, answers) = (TestName::ring("dedup-jobs", &[]), TestName::ring("dedup-answers", &[]));
    jobs.send_lines("a\nb\n");
    let work = |count| {
        let options = ["--drain", "-n", count, "--reply", &answers, "--", "tr", "a-z", "A-Z"];
        consumer(&jobs, &options).run().succeeds();
    };
    work("1");
    // As that worker left it: the answer is there, and the item is to be delivered again.
    let first = ItemKey { producer: 0, sequence: 0 };
    jobs.open().producer().unwrap().send_as(first, b"a").unwrap();
    work("2");
    let keys: Vec<Value> = ringctl(&["peek", &answers, "--json"]).succeeds().json_lines();
    assert_eq!(keys.iter().map(|item| item["sequence"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 0]);
    assert_eq!(consumer(&answers, &["--drain", "--dedup"]).run().succeeds().text(), "A\nB\n");
}
