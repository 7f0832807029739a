//! Dead letters: `ringctl requeue` sends their items again, `ringctl peek` shows them.

use ringpipe::{ItemKey, Ring};
use serde_json::{Value, json};

use crate::support::{Ended, Run, TestName, consumer, ringctl, wait_until};

/// The bytes of a dead letter.
fn letter(ring: &str, key: ItemKey, exit: Option<i32>, stderr: &str, item: &[u8]) -> Vec<u8> {
    let head = json!({
        "schema": "ringpipe.dead/1", "ring": ring, "producer": key.producer, "sequence": key.sequence, "failures": 4,
        "reason": exit.map_or("signal 9 (KILL)".into(), |code| format!("exit {code}")), "exit": exit,
        "signal": exit.is_none().then_some(9), "time": "2026-01-02T03:04:05Z", "stderr": stderr,
    });
    [head.to_string().as_bytes(), b"\n", item].concat()
}

fn key(producer: u32, sequence: u64) -> ItemKey {
    ItemKey { producer, sequence }
}

/// Sends letters about items 0, 1, ... of producer 7 of ring `of`; each item is its number.
fn send_letters(from: &TestName, of: &str, number: u64) {
    let mut producer = from.open().producer().unwrap();
    for sequence in 0..number {
        let key = key(7, sequence);
        producer.send_as(key, &letter(of, key, Some(3), "", sequence.to_string().as_bytes())).unwrap();
    }
}

fn peek(name: &TestName) -> Vec<Value> {
    ringctl(&["peek", name, "-n", "100000", "--json"]).succeeds().json_lines()
}

/// Keys and texts of all items, in order.
fn items(name: &TestName) -> Vec<(u64, u64, String)> {
    let number = |item: &Value, field| item[field].as_u64().unwrap();
    let text = |item: &Value| item["text"].as_str().unwrap().to_string();
    let each = |item: &Value| (number(item, "producer"), number(item, "sequence"), text(item));
    peek(name).iter().map(each).collect()
}

fn is_empty(name: &TestName) -> bool {
    name.inspect()["used_slots"] == 0
}

fn requeue(arguments: &[&str]) -> Ended {
    ringctl(&[&["requeue"], arguments].concat())
}

#[test]
fn items_that_failed_for_good_come_back_and_are_done() {
    let (jobs, dead) = (TestName::ring("requeue-jobs", &[]), TestName::new("requeue-dead").stays());
    jobs.send_lines("one\ntwo\n\nfour\n");
    let fails = ["--drain", "--retries", "1", "--backoff", "0s", "--dead-letter", &dead, "--"];
    let command = ["sh", "-c", "echo no such luck >&2; exit 3"];
    consumer(&jobs, &[&fails[..], &command].concat()).run().with_code(123);
    assert!(is_empty(&jobs));

    let shown = ringctl(&["peek", &dead]).succeeds().into_text();
    let lines: Vec<&str> = shown.lines().collect();
    let failed = format!("{:?} 0:0 failed 2 times, exit 3, ", jobs.name);
    assert!(lines[0].starts_with(&failed) && lines[0].ends_with(": no such luck"), "{shown}");
    assert_eq!([lines[1], lines[3], lines[5], lines[7]], ["one", "two", "", "four"]);

    // The letters name their ring.
    let told = requeue(&[&dead]).succeeds().quiet().into_text();
    assert_eq!(told, format!("{}: 4 items sent to {}\n", dead.name, jobs.name));
    let back = items(&jobs);
    let expected = [(0, 0, "one"), (0, 1, "two"), (0, 2, ""), (0, 3, "four")];
    assert_eq!(back, expected.map(|(producer, sequence, text)| (producer, sequence, text.to_string())));
    assert!(peek(&jobs).iter().all(|item| item["failures"] == 0));
    // The ring that the worker made is removed when it is drained.
    wait_until("the ring of dead letters is removed", || !dead.exists());

    let done =
        consumer(&jobs, &["--drain", "--", "sh", "-c", "echo $RING_SEQ $RING_ATTEMPT"]).run().succeeds();
    assert_eq!(done.text(), "0 1\n1 1\n2 1\n3 1\n");
    assert!(is_empty(&jobs));
}

#[test]
fn bytes_and_keys_are_as_they_were() {
    let (from, to) = (TestName::ring("requeue-from", &[]), TestName::ring("requeue-to", &[]));
    let bodies: [&[u8]; 4] = [b"", b"\n", b"\xff\0\n{}", &[b'x'; 10_000]];
    let mut producer = from.open().producer().unwrap();
    for (n, body) in bodies.iter().enumerate() {
        let key = key(n as u32 + 3, ItemKey::MAX_SEQUENCE - n as u64);
        producer.send_as(key, &letter("elsewhere", key, Some(1), "", body)).unwrap();
    }
    drop(producer);
    let report = requeue(&[&from, &to, "--json"]).json();
    let sent_to = json!([{ "ring": to.name, "items": 4 }]);
    assert_eq!(
        report,
        json!({ "schema": "ringpipe.requeue/1", "ring": from.name, "sent": 4, "to": sent_to, "others": 0,
                "not_chosen": 0, "kept": false })
    );
    let mut consumer = to.open().consumer().unwrap();
    for (n, body) in bodies.iter().enumerate() {
        let item = consumer.recv().unwrap().into_owned();
        assert_eq!(item.key(), key(n as u32 + 3, ItemKey::MAX_SEQUENCE - n as u64));
        assert!(*item == **body, "item {n}");
        item.ack();
    }
    assert!(is_empty(&from));
}

#[test]
fn what_is_no_dead_letter_stays_in_its_place() {
    let (from, to) = (TestName::ring("requeue-mixed", &[]), TestName::ring("requeue-to", &[]));
    from.send(&["first"]);
    send_letters(&from, &to, 2);
    from.send(&["{}\nnot a letter", "{\"schema\":\"ringpipe.dead/1\"}\nx"]);
    let before = items(&from);
    let told = requeue(&[&from]).succeeds().into_text();
    let sent = format!("{}: 2 items sent to {}", from.name, to.name);
    assert_eq!(told, format!("{sent}, 3 items that are not dead letters stay\n"));
    assert_eq!(items(&to), [(7, 0, "0".into()), (7, 1, "1".into())]);
    assert_eq!(items(&from), [&before[..1], &before[3..]].concat());
    let again = requeue(&[&from]).succeeds().into_text();
    assert_eq!(again, format!("{}: nothing to send, 3 items that are not dead letters stay\n", from.name));
    assert_eq!(items(&from).len(), 3);
}

#[test]
fn a_number_of_items_or_those_with_an_exit_code_or_a_reason_are_sent() {
    let (from, to) = (TestName::ring("requeue-some", &[]), TestName::ring("requeue-to", &[]));
    let mut producer = from.open().producer().unwrap();
    let ends = [(Some(3), ""), (Some(4), "disk full\n"), (None, ""), (Some(3), "disk full"), (Some(3), "")];
    for (n, (exit, stderr)) in (0..).zip(ends) {
        let key = key(1, n);
        producer.send_as(key, &letter(&to, key, exit, stderr, b"x")).unwrap();
    }
    drop(producer);
    let sequences = |name: &TestName| items(name).iter().map(|item| item.1).collect::<Vec<_>>();
    let told = requeue(&[&from, "--exit", "3", "-n", "1"]).succeeds().into_text();
    assert_eq!((told, sequences(&to)), (format!("{}: 1 item sent to {}\n", from.name, to.name), vec![0]));
    let told = requeue(&[&from, "--exit", "3", "--reason", "disk"]).succeeds().into_text();
    assert!(told.ends_with(", 3 dead letters not chosen\n"), "{told}");
    assert_eq!((sequences(&from), sequences(&to)), (vec![1, 2, 4], vec![0, 3]));
    requeue(&[&from, "--reason", "KILL", "--keep"]).succeeds();
    assert_eq!((sequences(&from), sequences(&to)), (vec![1, 2, 4], vec![0, 3, 2]));
    requeue(&[&from, "-n", "0"]).succeeds();
    assert_eq!((sequences(&from).len(), sequences(&to).len()), (3, 3));
}

#[test]
fn a_missing_ring_is_made_unless_that_is_forbidden() {
    let (from, to) = (TestName::ring("requeue-from", &[]), TestName::new("requeue-none").stays());
    let missing = requeue(&[&to, &from]).with_code(3);
    assert!(missing.complaint().contains("does not exist"), "{missing:?}");
    send_letters(&from, &to, 1);
    let refused = requeue(&[&from, "--no-create"]).with_code(3);
    assert!(refused.complaint().contains(&to.name) && !to.exists(), "{refused:?}");
    assert_eq!(items(&from).len(), 1);
    requeue(&[&from]).succeeds();
    assert_eq!(items(&to), [(7, 0, "0".into())]);
    assert!(is_empty(&from));
}

#[test]
fn a_full_ring_is_waited_for_up_to_the_limit_and_keeps_the_rest_of_the_letters() {
    let (from, to) =
        (TestName::ring("requeue-from", &[]), TestName::ring("requeue-small", &["--capacity", "4"]));
    send_letters(&from, &to, 6);
    for limit in ["0s", "10ms"] {
        let full = requeue(&[&from, "--timeout", limit]).with_code(4);
        assert!(full.complaint().contains(&format!("ring {:?} is full", to.name)), "{full:?}");
        assert!(full.complaint().ends_with(&format!("ring {:?} keeps the others", from.name)), "{full:?}");
        full.saying("hint: ringctl inspect");
        assert_eq!((items(&to).len(), items(&from).len()), (4, 2));
    }
    // Without a limit it waits for a consumer.
    let waiting = Run::new(env!("CARGO_BIN_EXE_ringctl")).args(&["requeue", &from]).spawn();
    let read = consumer(&to, &["--follow", "-n", "6"]).run().succeeds();
    assert_eq!(read.text(), "0\n1\n2\n3\n4\n5\n");
    waiting.end().succeeds();
    assert!(is_empty(&from));
}

#[test]
fn a_signal_ends_the_wait_for_room_and_gives_everything_back() {
    let (from, to) =
        (TestName::ring("requeue-from", &[]), TestName::ring("requeue-small", &["--capacity", "4"]));
    send_letters(&from, &to, 6);
    from.send(&["no letter"]);
    let waiting = Run::new(env!("CARGO_BIN_EXE_ringctl")).args(&["requeue", &from]).spawn();
    wait_until("it waits for room", || {
        let seen = to.inspect();
        seen["participants"].as_array().unwrap().iter().any(|one| one["activity"] == "waiting for room")
    });
    waiting.signal(libc::SIGTERM);
    waiting.end().by_signal(libc::SIGTERM);
    assert_eq!((items(&to).len(), items(&from).len()), (4, 3));
}

#[test]
fn a_closed_ring_and_an_item_that_is_too_long_stay_in_the_ring_of_dead_letters() {
    let (from, to) =
        (TestName::ring("requeue-from", &[]), TestName::ring("requeue-to", &["--capacity", "2"]));
    let key = key(1, 1);
    from.open().producer().unwrap().send_as(key, &letter(&to, key, None, "", &[b'x'; 200])).unwrap();
    let long = requeue(&[&from]).with_code(1);
    assert!(long.complaint().contains(&format!("ring {:?}", to.name)), "{long:?}");
    ringctl(&["close", &to]).succeeds();
    let closed = requeue(&[&from]).with_code(5);
    assert!(closed.complaint().contains(&format!("ring {:?}: the ring is closed", to.name)), "{closed:?}");
    assert_eq!(items(&from).len(), 1);
}

#[test]
fn a_ring_is_made_with_room_for_its_first_item() {
    let (from, to) =
        (TestName::ring("requeue-wide", &["--capacity", "32768"]), TestName::new("requeue-none").stays());
    let (first, long) = (key(1, 1), vec![b'x'; 300_000]);
    from.open().producer().unwrap().send_as(first, &letter(&to, first, None, "", &long)).unwrap();
    requeue(&[&from]).succeeds().quiet();
    assert!(is_empty(&from));
    let read = consumer(&to, &["--raw", "-n", "1"]).run().succeeds();
    assert!(read.stdout == long, "{} bytes", read.stdout.len());
    // A ring that another process has made may have another size.
    let (next, to) = (key(1, 2), TestName::ring("requeue-other", &["--capacity", "32768"]));
    from.open().producer().unwrap().send_as(next, &letter(&to, next, None, "", &long)).unwrap();
    requeue(&[&from]).succeeds().quiet();
}

#[test]
fn a_ring_gets_no_letters_from_itself() {
    let from = TestName::ring("requeue-self", &[]);
    requeue(&[&from, &from]).with_code(2);
    send_letters(&from, &from, 1);
    requeue(&[&from]).with_code(2).saying("hint: ringctl requeue");
    assert_eq!(items(&from).len(), 1);
}

/// Between sending and acknowledging, there is one item at most.
#[test]
fn a_kill_doubles_one_item_at_most_and_loses_none() {
    const LETTERS: u64 = 2000;
    for kill_at in [1, 10, 100, 500, 1000, 1500] {
        let from = TestName::ring("requeue-kill", &["--capacity", "32768"]);
        let to = TestName::ring("requeue-to", &[]);
        send_letters(&from, &to, LETTERS);
        let killed = Run::new(env!("CARGO_BIN_EXE_ringctl")).args(&["requeue", &from]).spawn();
        let ring = Ring::open(&to.name).unwrap();
        wait_until("some items were sent", || ring.snapshot().unwrap().ready >= kill_at);
        killed.signal(libc::SIGKILL);
        // It may have come to its end before.
        killed.end();
        ringctl(&["repair", &from]).succeeds();
        ringctl(&["repair", &to]).succeeds();
        let sent = items(&to).len() as u64;
        let left = if is_empty(&from) { 0 } else { items(&from).len() as u64 };
        assert!((LETTERS..=LETTERS + 1).contains(&(sent + left)), "{sent} sent, {left} left");
        requeue(&[&from]).succeeds();
        let mut all: Vec<u64> = items(&to).iter().map(|item| item.1).collect();
        let number = all.len() as u64;
        all.sort_unstable();
        all.dedup();
        assert_eq!(all, (0..LETTERS).collect::<Vec<_>>());
        assert!(number <= LETTERS + 1, "{} items were sent twice", number - LETTERS);
    }
}

#[test]
fn peek_shows_letters_readably_and_other_items_as_they_are() {
    let from = TestName::ring("peek-dead", &[]);
    let mut producer = from.open().producer().unwrap();
    let first = key(3, 17);
    let odd = letter("a\x1b[2Jb", first, Some(3), "first\nlast \u{9b}1m line\n\n", b"i\xfftem");
    producer.send_as(first, &odd).unwrap();
    producer.send(b"plain").unwrap();
    let second = key(4, 0);
    producer.send_as(second, &letter("jobs", second, None, "", b"text")).unwrap();
    drop(producer);
    let head = r#""a\u{1b}[2Jb" 3:17 failed 4 times, exit 3, 2026-01-02T03:04:05Z: last \u{9b}1m line"#;
    let other = "\"jobs\" 4:0 failed 4 times, signal 9 (KILL), 2026-01-02T03:04:05Z";
    let expected = [head.as_bytes(), b"\ni\xfftem\nplain\n", other.as_bytes(), b"\ntext\n"].concat();
    let told = ringctl(&["peek", &from]).succeeds().quiet();
    assert_eq!(String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&expected));
    let raw = ringctl(&["peek", &from, "--raw", "-n", "1"]).succeeds();
    assert!(raw.stdout == [&odd[..], b"\n"].concat());

    let all = peek(&from);
    assert_eq!(all[0]["dead_letter"]["ring"], "a\x1b[2Jb");
    assert_eq!((&all[0]["base64"], &all[0]["bytes"]), (&json!("af90ZW0="), &json!(5)));
    assert_eq!((&all[1]["text"], all[1].get("dead_letter")), (&json!("plain"), None));
    assert_eq!(all[2]["text"], "text");
    let letter = &all[2]["dead_letter"];
    assert_eq!([&letter["producer"], &letter["sequence"], &letter["failures"]], [4, 0, 4]);
    assert_eq!((&letter["exit"], &letter["signal"]), (&Value::Null, &json!(9)));
    assert_eq!([&letter["reason"], &letter["stderr"]], ["signal 9 (KILL)", ""]);
}
