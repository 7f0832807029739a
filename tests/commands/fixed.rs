//! Rings of fixed items with the commands: what they take, what they refuse, and how their items are shown.

use std::fs;

use crate::support::*;
use ringpipe::{Activity, RingOptions, Role};
use serde_json::Value;

/// A ring of items of this many bytes, which stays.
fn ring(label: &str, bytes: &str, options: &[&str]) -> TestName {
    TestName::ring(label, &[&["--fixed", bytes], options].concat())
}

/// The items that wait in a ring.
fn waiting(ring: &TestName) -> Vec<String> {
    ring.open().peek(1 << 20).into_iter().map(|item| String::from_utf8(item.bytes).unwrap()).collect()
}

#[test]
fn lines_of_one_length_go_through_a_ring_that_a_producer_makes() {
    let lines: String = (0..5000).map(|number| format!("{number:08}\n")).collect();
    for options in [&[][..], &["--exclusive"], &["--capacity", "4"], &["--sync", "semaphore"]] {
        let ring = TestName::new("fixed-lines");
        let sender = producer(&ring, &[&["--fixed", "8"], options].concat()).input(lines.clone()).spawn();
        wait_until("the ring", || ring.exists());
        let out = consumer(&ring, &[]).run().succeeds().quiet();
        sender.end().succeeds().quiet();
        assert!(out.text() == lines, "{options:?}");
    }
}

#[test]
fn raw_input_is_cut_into_items_of_the_length_whatever_a_read_gives() {
    for size in [1, 8, 13, 4096, 300_000, 1 << 20] {
        let bytes = noise(size * if size < 100 { 20_000 } else { 7 });
        let (ring, fixed) = (TestName::new("fixed-raw"), size.to_string());
        let options = ["--raw", "--fixed", &fixed, "--capacity", "16"];
        let folder = tempfile::tempdir().unwrap();
        let path = file(&folder, "bytes", &bytes);
        for from_file in [true, false] {
            let sender = producer(&ring, &options);
            let sender = if from_file { sender.arg(&path) } else { sender.input(bytes.clone()) }.spawn();
            let out = consumer(&ring, &["--raw", "--stats"]).run().succeeds();
            sender.end().succeeds().quiet();
            assert!(out.stdout == bytes, "items of {size} bytes: {}", out.stdout.len());
            assert!(out.stderr.contains("items"), "{out:?}");
        }
    }
}

#[test]
fn an_item_of_another_length_ends_a_producer_after_the_items_before_it() {
    let raw = "an item is a line without its line break; --raw cuts the input into items of that length";
    let other = "a ring that is made without --fixed takes items of any length";
    let pad = "truncate -s %3 FILE makes a file longer, to a multiple of 3 bytes";
    let cases: [(&[&str], &[u8], &str, &str); 7] = [
        (&[], b"abc\ndef\nlonger\nghi\n", "standard input: item 3 (at byte 8) has 6 bytes", raw),
        (&[], b"abc\ndef\n\nghi\n", "standard input: item 3 (at byte 8) has 0 bytes", raw),
        (&[], b"abc\ndef\ngh", "standard input: item 3 (at byte 8) has 2 bytes", raw),
        (&["-0"], b"abc\0def\0x\0", "standard input: item 3 (at byte 8) has 1 byte", other),
        (&["--raw"], b"abcdefgh", "standard input: item 3 (at byte 6) has 2 bytes", pad),
        (
            &["--frame", "len32"],
            b"\0\0\0\x03abc\0\0\0\x03def\0\0\0\x04ghij",
            "standard input: item 3 (at byte 14) has 4 bytes",
            other,
        ),
        (&["--item", "abc", "--item", "def", "--item", "four"], b"", "--item number 3 has 4 bytes", other),
    ];
    for (options, input, complaint, hint) in cases {
        let ring = ring("fixed-other", "3", &[]);
        let ended = producer(&ring, options).input(input).run().with_code(1);
        let line = format!(
            "producer: {complaint}; expected exactly 3, the length of each item of ring {:?}\nhint: {hint}\n",
            ring.name
        );
        assert_eq!(ended.stderr, line, "{options:?}");
        assert_eq!(waiting(&ring), ["abc", "def"], "{options:?}");
    }
    let ring = ring("fixed-whole", "3", &[]);
    let folder = tempfile::tempdir().unwrap();
    let (right, wrong) = (file(&folder, "right", b"abc"), file(&folder, "wrong", b"abcd"));
    let ended = producer(&ring, &["--whole-file", &right, &wrong]).run().with_code(1);
    assert!(ended.stderr.contains("wrong: item 1 (at byte 0) has "), "{}", ended.stderr);
    assert_eq!(waiting(&ring), ["abc"]);
}

#[test]
fn after_a_wrong_item_the_next_command_reads_on_at_it() {
    let ring = ring("fixed-on", "3", &[]);
    let folder = tempfile::tempdir().unwrap();
    let input = fs::File::open(file(&folder, "input", b"abc\ndef\nlonger\nghi\n")).unwrap();
    producer(&ring, &[]).stdin(input.try_clone().unwrap()).run().with_code(1);
    let rest = Run::new("cat").stdin(input).run().succeeds();
    assert_eq!(rest.text(), "longer\nghi\n");
}

#[test]
fn a_killed_producer_resumes_with_the_next_item() {
    let ring = ring("fixed-resume", "3", &["--capacity", "4"]);
    let folder = tempfile::tempdir().unwrap();
    let (input, progress) =
        (file(&folder, "input", b"aaabbbcccdddeeefff"), format!("{}/sent", folder.path().display()));
    let options = ["--raw", "--progress-file", &progress, "--resume", &input];
    let first = producer(&ring, &options).spawn();
    ring.wait_for(Role::Producer, Activity::WaitingForRoom);
    first.signal(libc::SIGKILL);
    first.end().by_signal(libc::SIGKILL);
    let second = producer(&ring, &options).spawn();
    // The stream is over for a consumer that finds no producer.
    ring.wait_for(Role::Producer, Activity::WaitingForRoom);
    let out = consumer(&ring, &["--raw"]).run().succeeds();
    second.end().succeeds();
    assert_eq!(out.text(), "aaabbbcccdddeeefff");
}

#[test]
fn what_cannot_be_is_refused_before_a_ring_is_made() {
    let ring = TestName::new("fixed-not");
    let log = "/dev/null";
    let refused: [(&[&str], &str); 8] = [
        (&["--fixed", "0"], "expected 1 byte to 1G"),
        (&["--fixed", "2G"], "expected 1 byte to 1G"),
        (&["--fixed", "8", "--slot-size", "8"], "cannot be used with"),
        (&["--fixed", "8", "--timestamps"], "cannot be used with"),
        (&["--fixed", "8", "--block", "1K"], "cannot be used with"),
        (&["--fixed", "8", "--log", log], "it has no history; expected an ordinary ring"),
        (&["--fixed", "8", "--exclusive", "--on-full", "drop-oldest"], "--on-full drop-oldest"),
        (&["--fixed", "8", "--no-create"], "does not exist"),
    ];
    for (options, complaint) in refused {
        let ended = producer(&ring, &[options, &["--item", "12345678"]].concat()).run();
        assert!(ended.code == Some(2) || options.contains(&"--no-create"), "{options:?}: {ended:?}");
        assert!(ended.stderr.contains(complaint), "{options:?}: {}", ended.stderr);
        assert!(!ring.exists(), "{options:?}");
    }
    let logs = tempfile::tempdir().unwrap();
    let ended =
        producer(&ring, &["--fixed", "8", "--item", "12345678"]).env("RINGPIPE_LOG", logs.path()).run();
    ended.with_code(2).saying("leave out --log and RINGPIPE_LOG");
    assert!(!ring.exists());
}

#[test]
fn a_ring_of_another_form_is_refused_and_no_process_counts_as_one_that_came() {
    let fixed = ring("fixed-form", "8", &[]);
    let ordinary = TestName::ring("fixed-ordinary", &[]);
    let send = |ring: &TestName, options: &[&str]| {
        producer(ring, &[options, &["--item", "12345678"]].concat()).run().with_code(2)
    };
    let says =
        format!("ring {:?} exists with fixed items of 8 bytes; expected fixed items of 9 bytes", fixed.name);
    send(&fixed, &["--fixed", "9"]).saying(&says);
    let says = format!("ring {:?} exists with items of any length; expected fixed items of 8", ordinary.name);
    send(&ordinary, &["--fixed", "8"]).saying(&says);
    send(&fixed, &["--block", "1K"]).saying("--block makes items of different lengths");
    send(&fixed, &["--log", "/dev/null"]).saying("it has no history");
    consumer(&fixed, &["--log", "/dev/null"]).run().with_code(2).saying("it has no history");
    for ring in [&fixed, &ordinary] {
        let seen = ring.open().snapshot().unwrap();
        assert_eq!((seen.producers_ever, seen.consumers_ever, seen.ready), (0, 0, 0));
    }
    producer(&fixed, &["--fixed", "8", "--item", "12345678"]).run().succeeds().quiet();
}

#[test]
fn answers_dead_letters_and_requeued_items_are_refused_before_an_item_is_taken() {
    let target = ring("fixed-target", "8", &[]);
    let jobs = TestName::ring("fixed-jobs", &[]);
    jobs.send(&["one"]);
    let says = format!(
        "ring {:?} has fixed items of 8 bytes, which cannot keep the keys of dead letters, answers and requeued items",
        target.name
    );
    let folder = tempfile::tempdir().unwrap();
    let touched = format!("{}/touched", folder.path().display());
    for option in ["--reply", "--dead-letter"] {
        let worker = consumer(&jobs, &[option, &target, "--", "touch", &touched]).run();
        worker.with_code(2).saying(&says);
    }
    assert!(!fs::exists(&touched).unwrap());
    assert_eq!(jobs.open().snapshot().unwrap().consumers_ever, 0);
    ringctl(&["requeue", &jobs, &target]).with_code(2).saying(&says);
    assert_eq!((jobs.ready(), target.ready(), jobs.open().peek(1)[0].attempt), (1, 0, 0));
    let script = r#"read -r token < <($C $R --hold --hold-for $$); $T fail $token --dead-letter $X; echo $?; $T release $token"#;
    let failed = shell(&jobs, script).env("X", &target.name).run();
    assert_eq!(failed.succeeds().saying(&says).lines(), ["2"]);
    assert_eq!((jobs.ready(), target.ready()), (1, 0));
}

#[test]
fn letters_about_fixed_items_go_to_an_ordinary_ring_and_from_there_to_another() {
    let jobs = ring("fixed-letters", "3", &[]);
    let (dead, to) = (TestName::new("fixed-dead").stays(), TestName::new("fixed-to").stays());
    producer(&jobs, &["--item", "abc", "--item", "def"]).run().succeeds();
    let ended = consumer(&jobs, &["--retries", "0", "--dead-letter", &dead, "--", "false"]).run();
    ended.with_code(123);
    let letters = consumer(&dead, &["--json", "--no-wait", "-n", "2", "--", "cat"]).run();
    assert_ne!(letters.code, Some(0), "--json is not for workers");
    let peeked = ringctl(&["peek", &dead, "--json"]).json_lines();
    for (letter, (text, at)) in peeked.iter().zip([("abc", 0), ("def", 1)]) {
        assert_eq!((&letter["producer"], &letter["sequence"]), (&Value::Null, &at.into()));
        let head = &letter["dead_letter"];
        assert_eq!(
            (&head["producer"], &head["sequence"], &letter["text"]),
            (&Value::Null, &at.into(), &text.into())
        );
    }
    let shown = ringctl(&["peek", &dead]).succeeds();
    assert!(shown.text().contains(&format!("{:?} -:1 failed once, exit 1", jobs.name)), "{}", shown.text());
    // The ring that they came from keeps no keys.
    let refused = ringctl(&["requeue", &dead]).with_code(2);
    assert!(refused.stderr.contains("0 items sent before") && dead.ready() == 2, "{}", refused.stderr);
    ringctl(&["requeue", &dead, &to]).succeeds();
    let again = consumer(&to, &["--json", "--drain"]).run().succeeds().json_lines();
    let keys: Vec<_> = again.iter().map(|item| (&item["producer"], item["sequence"].as_u64())).collect();
    assert_eq!(keys, [(&Value::Null, Some(0)), (&Value::Null, Some(1))]);
}

#[test]
fn a_fixed_item_is_shown_by_its_length_and_without_a_producer() {
    let ring = TestName::new("fixed-shown").stays();
    let made = ringctl(&["create", &ring, "--fixed", "13", "--capacity", "8", "--json"]).json();
    let of = |value: &Value| (value["fixed"].clone(), value["slot_size"].clone(), value["max_item"].clone());
    assert_eq!(of(&made), (13.into(), 16.into(), 13.into()));
    assert_eq!(made["timestamps"], false);
    producer(&ring, &["--item", "thirteen-byte"]).run().succeeds();
    let inspected = ring.inspect();
    assert_eq!(of(&inspected), (13.into(), 16.into(), 13.into()));
    let text = ringctl(&["inspect", &ring]).succeeds();
    assert!(text.text().contains("8 slots for fixed items of 13 B, "), "{}", text.text());
    let row = |json: &Value| json["ring"] == *ring.name;
    let listed = ringctl(&["list", "--json"]).json_lines().into_iter().find(row).unwrap();
    assert_eq!((&listed["fixed"], &listed["slot_size"]), (&13.into(), &16.into()));
    let table = ringctl(&["list"]).succeeds();
    let line = table.lines().into_iter().find(|line| line.contains(&ring.name)).unwrap().to_string();
    assert!(line.contains(" 13 fixed "), "{line}");
    let peeked = ringctl(&["peek", &ring, "--json"]).json();
    assert_eq!((&peeked["producer"], &peeked["sequence"]), (&Value::Null, &0.into()));
    let watched = ringctl(&["watch", &ring, "--json", "-n", "1"]).json();
    let item = &watched["items"][0];
    assert_eq!((item.get("producer"), &item["sequence"], &item["bytes"]), (None, &0.into(), &13.into()));
    let picture = ringctl(&["watch", &ring, "--once"]).succeeds();
    assert!(picture.text().contains("8 slots for items of 13 B"), "{}", picture.text());
    let taken = consumer(&ring, &["--json", "-n", "1"]).run().succeeds().json();
    assert_eq!((&taken["producer"], &taken["sequence"]), (&Value::Null, &0.into()));
    // Of other rings it says nothing.
    let other = TestName::ring("fixed-unlike", &[]);
    assert_eq!(other.inspect()["fixed"], Value::Null);
}

#[test]
fn the_events_of_a_watch_name_no_producer_for_fixed_items() {
    let ring = ring("fixed-events", "3", &["--capacity", "4"]);
    let watch = Run::new(env!("CARGO_BIN_EXE_ringctl")).args(&["watch", &ring, "--events"]).spawn();
    let tells = |text: &str| wait_until(text, || watch.has_printed(text));
    tells("0 in use");
    // Two producers came, so that items of an ordinary ring would be told apart by them.
    for item in ["abc", "def"] {
        producer(&ring, &["--item", item]).run().succeeds();
    }
    tells("wrote item");
    consumer(&ring, &["-n", "2"]).run().succeeds();
    watch.signal(libc::SIGTERM);
    let text = watch.end().by_signal(libc::SIGTERM).into_text();
    assert!(!text.contains("producer no.") && !text.contains("4294967295"), "{text}");
}

#[test]
fn a_command_is_told_the_position_and_no_producer() {
    let ring = ring("fixed-told", "3", &[]);
    producer(&ring, &["--item", "abc", "--item", "def"]).run().succeeds();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| format!("{}/{name}", folder.path().display());
    let (joblog, results) = (path("joblog"), path("results"));
    let options = ["--joblog", &joblog, "--results", &results, "--meta-fd", "3", "--"];
    let script = "echo $RING_PRODUCER $RING_SEQ; cat <&3";
    let out = consumer(&ring, &[&options[..], &["sh", "-c", script]].concat()).run().succeeds();
    let lines = out.lines();
    assert_eq!((lines[0], lines[2]), ("- 0", "- 1"));
    let meta: Value = serde_json::from_str(lines[1]).unwrap();
    assert_eq!((&meta["producer"], &meta["sequence"]), (&Value::Null, &0.into()));
    assert!(fs::read_to_string(&joblog).unwrap().contains("\t1\t-\t1\n"));
    let mut names: Vec<String> = fs::read_dir(&results)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(names.iter().all(|name| name.starts_with(['0', '1'])) && names.len() >= 2, "{names:?}");
    // A ring with the same positions: the joblog has them as done.
    let again = self::ring("fixed-told-again", "3", &[]);
    producer(&again, &["--item", "abc", "--item", "def", "--item", "ghi"]).run().succeeds();
    let resumed =
        consumer(&again, &["--joblog", &joblog, "--resume", "--drain", "--", "echo", "{}"]).run().succeeds();
    assert_eq!(resumed.lines(), ["ghi"]);
}

#[test]
fn failures_are_counted_with_a_fixed_item_over_workers_and_laps() {
    let ring = ring("fixed-retries", "8", &["--capacity", "4"]);
    let folder = tempfile::tempdir().unwrap();
    let log = format!("{}/log", folder.path().display());
    // Each item fails twice, then succeeds.
    let script = format!("echo $RING_SEQ $RING_ATTEMPT >> {log}; test $RING_ATTEMPT -gt 2");
    let sender = producer(&ring, &[]).input((0..40).map(|n| format!("{n:08}\n")).collect::<String>()).spawn();
    let options = ["--retries", "2", "--backoff", "1ms", "-j", "2", "--", "sh", "-c", &script];
    let workers = [consumer(&ring, &options).spawn(), consumer(&ring, &options).spawn()];
    sender.end().succeeds();
    workers.into_iter().for_each(|worker| drop(worker.end().succeeds()));
    let mut attempts: std::collections::BTreeMap<u64, Vec<u64>> = Default::default();
    for line in fs::read_to_string(&log).unwrap().lines() {
        let (name, attempt) = line.split_once(' ').unwrap();
        attempts.entry(name.parse().unwrap()).or_default().push(attempt.parse().unwrap());
    }
    assert_eq!(attempts.len(), 40, "each item has a name of its own: {attempts:?}");
    assert!(attempts.values().all(|each| *each == [1, 2, 3]), "{attempts:?}");
    assert_eq!(ring.acknowledged(), 40);
}

#[test]
fn an_item_of_a_killed_worker_keeps_its_name_though_others_used_the_ring_meanwhile() {
    let ring = ring("fixed-killed", "8", &["--capacity", "4"]);
    let folder = tempfile::tempdir().unwrap();
    let log = format!("{}/log", folder.path().display());
    producer(&ring, &["--item", "held----"]).run().succeeds();
    let script = format!("echo $RING_SEQ >> {log}; sleep 1000");
    let worker = consumer(&ring, &["--", "sh", "-c", &script]).spawn();
    wait_until("the command has begun", || fs::read_to_string(&log).is_ok_and(|text| text == "0\n"));
    // Many laps: producers step over the held item.
    let items: String = (0..2000).map(|number| format!("{number:08}\n")).collect();
    let sender = producer(&ring, &[]).input(items.clone()).spawn();
    let others = consumer(&ring, &["-n", "2000", "--json", "--dedup"]).run().succeeds().json_lines();
    sender.end().succeeds();
    let texts: String = others.iter().map(|item| format!("{}\n", item["text"].as_str().unwrap())).collect();
    assert!(texts == items, "each item once");
    let names: std::collections::BTreeSet<u64> =
        others.iter().map(|item| item["sequence"].as_u64().unwrap()).collect();
    assert!(names.len() == 2000 && !names.contains(&0));
    worker.signal(libc::SIGKILL);
    worker.end().by_signal(libc::SIGKILL);
    let again = consumer(&ring, &["--json", "-n", "1"]).run().succeeds().json();
    assert_eq!(
        (&again["sequence"], &again["attempt"], &again["text"]),
        (&0.into(), &2.into(), &"held----".into())
    );
}

#[test]
fn a_script_holds_a_fixed_item_and_settles_it() {
    let ring = ring("fixed-hold", "3", &[]);
    producer(&ring, &["--item", "abc", "--item", "def"]).run().succeeds();
    let script = r#"for verb in fail done; do
        read -r line < <($C $R --hold --hold-for $$ --json); echo "$line"
        $T $verb $(echo "$line" | sed 's/.*"token":"\([^"]*\)".*/\1/')
    done"#;
    let out = shell(&ring, script).run().succeeds();
    let told = out.json_lines();
    assert!(told.len() == 2 && told.iter().all(|one| one["producer"] == Value::Null), "{told:?}");
    let failures: Vec<_> = ring.open().peek(2).into_iter().map(|item| item.failures).collect();
    assert!(ring.acknowledged() == 1 && ring.ready() == 1, "{failures:?}");
}

#[test]
fn a_run_sends_numbers_of_one_width_and_verifies_them() {
    for options in [&["-p", "1", "-c", "1"][..], &[]] {
        let ended = ringctl(&[&["run", "--fixed", "8", "--lines", "20000", "--json"], options].concat());
        let report = ended.succeeds().json();
        assert_eq!(
            (&report["verified"], &report["sent"]["bytes"]),
            (&true.into(), &160_000.into()),
            "{report}"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "in", b"abc\ndef\nlonger\n");
    let ended = ringctl(&["run", "--fixed", "3", &path]).with_code(1);
    assert!(ended.stderr.contains("item 3 (at byte 8) has 6 bytes; expected exactly 3"), "{}", ended.stderr);
    let few = ringctl(&["run", "--fixed", "3", "--lines", "1000"]).with_code(2);
    assert!(few.stderr.contains("have up to 4 digits; expected 4 bytes or more"), "{}", few.stderr);
    ringctl(&["run", "--fixed", "4", "--lines", "1000", "-p", "1", "-c", "1"]).succeeds();
}

#[test]
fn a_bench_measures_rings_of_fixed_items() {
    let quick = ["--rounds", "1", "--seconds", "0.01", "-p", "1", "-c", "1", "--json"];
    let lines =
        ringctl(&[&["bench", "--fixed", "--only", "throughput,latency"], &quick[..]].concat()).succeeds();
    let lines = lines.json_lines();
    assert_eq!(lines[0]["fixed"], true);
    assert!(
        lines.iter().any(|line| line["kind"] == "throughput")
            && lines.iter().any(|line| line["kind"] == "latency")
    );
}

#[test]
fn a_library_process_and_a_command_share_a_ring_of_a_type() {
    let ring = TestName::made("fixed-shared", &RingOptions::new().typed::<u64>().capacity(8));
    let mut producer = ring.open().producer().unwrap().typed::<u64>();
    producer.send(&0x0102_0304_0506_0708).unwrap();
    drop(producer);
    let out = consumer(&ring, &["--raw"]).run().succeeds();
    assert_eq!(out.stdout, 0x0102_0304_0506_0708_u64.to_ne_bytes());
}
