//! Several items for one command.

use super::*;

#[test]
fn a_batch_is_framed_as_chosen_and_acknowledged_together() {
    for (framing, separator) in [(&[][..], "\n"), (&["-0"][..], "\0")] {
        let work = Work::numbered("batch", 7);
        let options = [framing, &["--max-items", "3"]].concat();
        let ended = work.script(&options, "cat; printf '[%s]' $RING_ITEMS").run().succeeds();
        let expected: String = [&["1", "2", "3"][..], &["4", "5", "6"], &["7"]]
            .iter()
            .map(|batch| {
                batch.iter().map(|item| format!("{item}{separator}")).collect::<String>()
                    + &format!("[{}]", batch.len())
            })
            .collect();
        assert_eq!(ended.text(), expected, "{framing:?}");
    }
    let work = Work::of_bytes("batch", &[b"a\nb", b"", b"\0"]);
    let ended = work.script(&["--frame", "len32", "--max-items", "9"], "cat").run().succeeds();
    assert_eq!(ended.stdout, b"\0\0\0\x03a\nb\0\0\0\0\0\0\0\x01\0");
}

#[test]
fn every_framing_with_a_batch_carries_items_that_it_can_carry() {
    for framing in [&[][..], &["-0"], &["-d", ";"], &["--raw"], &["--block", "1K"], &["--frame", "len32"]] {
        let work = Work::new("framing", &["abc", "def", "ghi"]);
        let options = [framing, &["--max-items", "3"]].concat();
        let ended = work.script(&options, "wc -c").run().succeeds();
        let bytes: usize = ended.text().trim().parse().unwrap();
        assert!((9..=21).contains(&bytes), "{framing:?}: {bytes}");
    }
}

#[test]
fn each_item_of_a_batch_is_an_argument() {
    let work = Work::new("arguments", &["a b", "c", "d"]);
    let ended = work.worker(&["--max-items", "2"], &["printf", "<%s>", "{}", "end"]).run().succeeds();
    assert_eq!(ended.text(), "<a b><c><end><d><end>");
}

#[test]
fn a_batch_fails_together_and_is_counted_for_each_item() {
    let work = Work::numbered("fails", 3);
    let script = "echo $RING_ATTEMPT:$(tr '\\n' ,) >> $D/log; exit 1";
    work.script(&["--max-items", "2", "--retries", "1"], script).run().with_code(123);
    assert_eq!(work.lines("log"), ["1:1,2,", "2:1,2,"]);
    assert_eq!(work.ring.acknowledged(), 0);
    assert_eq!(work.rest(), ["1:3", "2:3", "3:1"]);
}

#[test]
fn a_batch_that_failed_for_good_is_a_dead_letter_per_item() {
    let work = Work::numbered("letters", 3);
    let dead = TestName::new("dead").stays();
    work.script(&["--max-items", "3", "--dead-letter", &dead], "exit 65").run().with_code(123);
    let letters = consumer(&dead, &["--json", "--drain"]).run().succeeds().json_lines();
    let items: Vec<_> =
        letters.iter().map(|one| one["text"].as_str().unwrap().split_once('\n').unwrap().1).collect();
    assert_eq!(items, ["1", "2", "3"]);
    assert_eq!(work.ring.acknowledged(), 3);
}

#[test]
fn a_batch_waits_for_more_items_as_long_as_allowed() {
    let work = Work::new("waits", &["a"]);
    let mut producer = work.ring.open().producer().unwrap();
    let options = ["--max-items", "3", "--max-wait", "1h"];
    let running = work.script(&options, "tr '\\n' ,").spawn();
    for received in [1, 2] {
        wait_until("it is received", || work.ring.open().snapshot().unwrap().totals.received == received);
        assert_eq!(work.ring.acknowledged(), 0);
        if received == 1 {
            producer.send(b"b").unwrap();
        }
    }
    producer.send(b"c").unwrap();
    running.wait_for_stdout(b"a,b,c,");
    producer.send(b"d").unwrap();
    // The end of the stream ends the wait.
    drop(producer);
    assert_eq!(running.end().succeeds().text(), "a,b,c,d,");
}

#[test]
fn a_batch_that_waits_for_more_is_given_back_when_the_worker_is_stopped() {
    let work = Work::new("stopped", &["a"]);
    let producer = work.ring.open().producer().unwrap();
    let options = ["--max-items", "3", "--max-wait", "1h"];
    let running = work.script(&options, "touch $D/ran").spawn();
    wait_until("it is received", || work.ring.open().snapshot().unwrap().totals.received == 1);
    running.signal(libc::SIGTERM);
    running.end().by_signal(libc::SIGTERM);
    drop(producer);
    assert!(!work.exists("ran"));
    assert_eq!(work.rest(), ["a:1"]);
}

#[test]
fn a_batch_does_not_take_more_than_the_count() {
    let work = Work::numbered("count", 5);
    let ended = work.script(&["--max-items", "4", "-n", "3"], "tr '\\n' ,").run().succeeds();
    assert_eq!(ended.text(), "1,2,3,");
    assert_eq!(work.rest(), ["4:1", "5:1"]);
}

#[test]
fn a_request_to_stop_is_heeded_while_a_batch_waits_for_more() {
    for halt in ["soon,fail=1", "now,fail=1"] {
        let work = Work::numbered("halt", 3);
        let producer = work.ring.open().producer().unwrap();
        // The first batch fails once the worker has the first item of the second one.
        let options = ["--max-items", "2", "--max-wait", "1h", "-j", "2", "--drop-failed", "--halt", halt];
        let running = work.script(&options, &format!("{}; exit 65", until("go"))).spawn();
        wait_until("all are received", || work.ring.open().snapshot().unwrap().totals.received == 3);
        work.touch("go");
        running.end().with_code(123);
        drop(producer);
        assert_eq!(work.rest(), ["3:1"], "{halt}");
    }
}

#[test]
fn an_item_that_cannot_be_an_argument_does_not_condemn_its_batch() {
    let work = Work::of_bytes("condemned", &[b"good1", b"bad\0", b"good3"]);
    let options = ["--max-items", "10", "--drop-failed", "--keep-order"];
    let ended = work.worker(&options, &["echo", "{}"]).run().with_code(123).saying("1 item failed for good");
    assert_eq!(ended.text(), "good1\ngood3\n");
    assert_eq!(work.ring.acknowledged(), 3);
}

#[test]
fn arguments_take_as_many_items_as_fit() {
    let item = "x".repeat(1000);
    let work = Work::new("fit", &vec![item.as_str(); 300]);
    let ended = work.script_with_items(&["--max-items", "300", "--drain"], "echo $#").run().succeeds();
    let counts: Vec<u32> = ended.lines().iter().map(|line| line.parse().unwrap()).collect();
    assert!(counts.len() > 1 && counts.iter().sum::<u32>() == 300, "{counts:?}");
}

#[test]
fn a_failed_item_is_tried_again_while_a_batch_waits_for_more() {
    let work = Work::new("meanwhile", &["bad", "other"]);
    let producer = work.ring.open().producer().unwrap();
    // The first batch has both items; it fails once. The second one waits for more than one item.
    let options = ["--max-items", "2", "--max-wait", "1h", "-j", "2", "--backoff", "100ms"];
    let running = work.script(&options, &format!("{}; test $RING_ATTEMPT = 2", until("go"))).spawn();
    wait_until("both are received", || work.ring.open().snapshot().unwrap().totals.received == 2);
    work.ring.send(&["third"]);
    wait_until("all are received", || work.ring.open().snapshot().unwrap().totals.received == 3);
    work.touch("go");
    work.wait_for_acknowledged(2);
    running.signal(libc::SIGTERM);
    running.end().by_signal(libc::SIGTERM);
    drop(producer);
    assert_eq!(work.rest(), ["third:1"]);
}
