//! `ringctl check`: each fault forged once, right histories of every kind, and a real run with kills.
//!
//! `RINGPIPE_HISTORY_EVENTS=100000000 RINGPIPE_HISTORY_FOLDER=/tmp/history cargo test --release --test
//! ringctl_check large -- --nocapture` writes a large history, keeps it there, and says how fast it was
//! checked and in how much memory.

mod simulation;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use ringpipe::testing::history::{Log, process_number};
use ringpipe::{Error, Ring, RingOptions};
use serde_json::Value;

use crate::support::{Ended, ringctl};
use crate::support::{Kept, Random, TestName, again, die_with_parent, env_number, report, scale, seed};
use simulation::{CAPACITY, CONSUMERS, PRODUCERS, Simulation, history, mutate};

/// Checks these texts, each a log of its own.
fn check(logs: &[&str], options: &[&str]) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    let write = |(n, log): (usize, &&str)| {
        let path = folder.path().join(format!("{n}.log"));
        fs::write(&path, log).unwrap();
        path.to_str().unwrap().to_string()
    };
    let paths: Vec<String> = logs.iter().enumerate().map(write).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    ringctl(&[&["check"], options, &paths].concat())
}

/// The faults that were found, with their numbers.
fn faults(logs: &[&str], options: &[&str]) -> Vec<(String, u64)> {
    let ended = check(logs, &[options, &["--json"]].concat());
    let report: Value = serde_json::from_str(ended.text()).unwrap_or_else(|_| panic!("{ended:?}"));
    assert_eq!(report["schema"], "ringpipe.check/1");
    let faults = report["faults"].as_object().unwrap().iter();
    let found: Vec<(String, u64)> =
        faults.map(|(name, n)| (name.clone(), n.as_u64().unwrap())).filter(|(_, n)| *n > 0).collect();
    assert_eq!(report["clean"], found.is_empty());
    ended.with_code(if found.is_empty() { 0 } else { 10 });
    found
}

const SENT: &str = "10 1 attempt 7 1 0 ab\n20 1 sent 7 1 0 ab\n";
const TAKEN: &str = "30 2 got 7 1 1 ab\n40 2 acking 7 1 1\n50 2 acked 7 1 1\n";

#[test]
fn a_right_history_is_clean() {
    let report = check(&[SENT, TAKEN], &["--json", "--capacity", "1"]).json();
    for (what, count) in
        [("events", 5), ("files", 2), ("attempts", 1), ("sent", 1), ("acknowledged", 1), ("most_at_once", 1)]
    {
        assert_eq!(report[what], count, "{what}");
    }
    // The order of the files does not matter, and a producer may tell late that it has sent.
    assert_eq!(faults(&[TAKEN, SENT], &[]), []);
    let late = "10 1 attempt 7 1 0 ab\n99 1 sent 7 1\n";
    assert_eq!(faults(&[TAKEN, late], &["--capacity", "1"]), []);
    assert!(check(&[SENT, TAKEN], &[]).succeeds().text().ends_with("clean\n"));
}

#[test]
fn faults_explained_by_deaths_are_clean_and_counted() {
    let attempt = "10 1 attempt 7 1\n";
    let counted =
        |logs: &[&str], what: &str| assert_eq!(check(logs, &["--json"]).json()[what], 1, "{logs:?}");
    counted(&[attempt, TAKEN], "recovered");
    counted(&[SENT, "30 2 got 7 1 1\n40 2 acking 7 1 1\n"], "unsure");
    let second = "60 3 got 7 1 2 ab\n70 3 acking 7 1 2\n80 3 acked 7 1 2\n";
    for first in ["", "30 2 acking", "30 2 returning"] {
        let first = if first.is_empty() { String::new() } else { format!("{first} 7 1 1\n") };
        counted(&[SENT, &format!("25 2 got 7 1 1\n{first}"), second], "redelivered");
    }
    counted(&["10 1 attempt 7 1\n20 1 refused 7 1\n25 1 attempt 7 1\n28 1 sent 7 1\n", TAKEN], "refused");
    assert_eq!(faults(&[attempt], &[]), []);
}

#[test]
fn each_fault_is_found_and_named() {
    let again = "60 3 got 7 1 2\n70 3 acking 7 1 2\n80 3 acked 7 1 2\n";
    let held = "30 2 got 7 1 1\n65 2 acking 7 1 1\n67 2 acked 7 1 1\n";
    let two = "10 1 attempt 7 1\n11 1 sent 7 1\n12 1 attempt 7 2\n13 1 sent 7 2\n";
    let second = "20 2 got 7 2 1\n21 2 acking 7 2 1\n22 2 acked 7 2 1\n";
    let cases: [(&str, &[&str]); 15] = [
        ("lost", &[SENT]),
        ("lost", &[SENT, "30 2 got 7 1 1\n"]),
        ("lost", &[SENT, "30 2 got 7 1 1\n40 2 returning 7 1 1\n"]),
        ("unexpected", &[TAKEN]),
        ("unexpected", &["10 1 attempt 7 1\n20 1 refused 7 1\n", TAKEN]),
        ("unexpected", &["10 1 attempt 7 1\n60 1 refused 7 1\n", TAKEN]),
        ("unexpected", &[SENT, "30 2 acking 7 1 1\n"]),
        ("corrupted", &[SENT, "30 2 got 7 1 1 ac\n40 2 acking 7 1 1\n"]),
        ("duplicated", &[SENT, TAKEN, again]),
        ("acknowledged_twice", &[SENT, TAKEN, "60 2 acked 7 1 1\n"]),
        ("held_twice", &[SENT, TAKEN, "35 3 got 7 1 1\n"]),
        ("held_twice", &[SENT, held, again]),
        ("held_twice", &[SENT, "30 2 got 7 1 1\n40 2 returning 7 1 1\n45 2 acking 7 1 1\n"]),
        ("out_of_order", &[two, second, TAKEN]),
        ("renamed", &[SENT, "25 1 attempt 7 1\n", TAKEN]),
    ];
    for (fault, logs) in cases {
        let found = faults(logs, &[]);
        assert!(found.iter().any(|(name, _)| name == fault), "{fault} in {logs:?}: {found:?}");
        let told = check(logs, &[]).with_code(10);
        let name = fault.replace('_', " ");
        assert!(told.text().contains(&format!("{name}: item 1 of producer 7: ")), "{told:?}");
        assert!(told.complaint().starts_with("ringctl: the history is not clean: "), "{told:?}");
        assert!(told.complaint().contains(&name), "{told:?}");
    }
    let first = "30 2 got 7 1 1\n40 2 acking 7 1 1\n41 2 got 7 2 1\n42 2 acking 7 2 1\n";
    assert_eq!(faults(&[two, first], &["--capacity", "2"]), []);
    assert_eq!(faults(&[two, first], &["--capacity", "1"]), [("over_capacity".into(), 1)]);
}

#[test]
fn all_faults_are_counted_and_the_first_described() {
    let log: String = (0..50).map(|n| format!("{n} 1 attempt 7 {n}\n{n} 1 sent 7 {n}\n")).collect();
    let ended = check(&[&log], &["--describe", "3"]).with_code(10);
    assert_eq!(ended.text().lines().filter(|line| line.starts_with("lost: ")).count(), 3, "{ended:?}");
    assert!(ended.complaint().ends_with("50 lost"), "{ended:?}");
}

#[test]
fn a_killed_writers_last_line_is_left_out_and_counted() {
    let whole = format!("# a log\n\n{SENT}");
    for cut in ["3", "30 1 attempt 7 2", "30 1 attempt 7 2 0 ffffff"] {
        let report = check(&[&format!("{whole}{cut}"), TAKEN], &["--json"]).json();
        assert_eq!((&report["truncated"], &report["events"]), (&1.into(), &5.into()), "{cut}");
    }
    let told = check(&[&format!("{whole}3"), TAKEN], &[]).succeeds();
    assert!(told.text().contains("1 file ends within a line, which was left out\n"), "{told:?}");
    assert_eq!(check(&["", SENT, TAKEN], &["--json"]).json()["truncated"], 0);
}

#[test]
fn garbage_is_one_line_that_says_where() {
    let long = "x".repeat(5000);
    for (line, wrong) in [
        ("hello", r#"time "hello""#),
        ("-1 1 sent 7 1", r#"time "-1""#),
        ("18446744073709551616 1 sent 7 1", "time"),
        ("30", "no process"),
        ("30 1", "no event"),
        ("30 1 seen 7 1", r#"event "seen""#),
        ("30 1 sent x 1", r#"producer "x""#),
        ("30 1 sent 7", "no sequence"),
        ("30 1 sent  7 1", r#"producer """#),
        ("30 1 got 7 1", "no attempt"),
        ("30 1 got 7 1 0", r#"attempt "0""#),
        ("30 1 got 7 1 256", r#"attempt "256""#),
        ("30 1 sent 7 1 1", r#"attempt "1""#),
        ("30 1 got 7 1 1 xyz", r#"hash "xyz""#),
        ("30 1 got 7 1 1 11111111111111111", "hash"),
        ("30 1 got 7 1 1 ab more", r#"more than was expected: "more""#),
        ("19 1 sent 7 1", "time 19 after 20"),
        ("30 1 sent 7 1\r", r#"sequence "1\r""#),
        (long.as_str(), "a line of 256 bytes or more"),
        ("\u{1b}[31m", "time"),
    ] {
        let ended = check(&[TAKEN, &format!("{SENT}{line}\n")], &[]).with_code(6);
        let told = ended.complaint();
        assert!(told.contains(&format!("1.log\", line 3: {wrong}")), "{line}: {told}");
        assert!(told.contains("expected TIME PROCESS EVENT") && !told.contains('\u{1b}'), "{told}");
        assert_eq!(ended.text(), "");
    }
}

#[test]
fn a_file_that_cannot_be_read_and_bad_usage_have_their_codes() {
    assert!(ringctl(&["check", "/no/such"]).with_code(1).complaint().contains("/no/such"));
    let folder = tempfile::tempdir().unwrap();
    let empty = ringctl(&["check", folder.path().to_str().unwrap()]).with_code(1);
    assert!(empty.complaint().contains("a folder without files"), "{empty:?}");
    ringctl(&["check"]).with_code(2);
    ringctl(&["check", "--capacity", "0", "x"]).with_code(2);
    ringctl(&["check", "--capacity", "many", "x"]).with_code(2);
}

#[test]
fn a_folder_stands_for_the_files_in_it() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a"), SENT).unwrap();
    fs::write(folder.path().join("b"), TAKEN).unwrap();
    fs::create_dir(folder.path().join("inner")).unwrap();
    fs::write(folder.path().join("inner/c"), "no log").unwrap();
    let path = folder.path().to_str().unwrap();
    let report = ringctl(&["check", "--json", path]).json();
    assert_eq!((&report["files"], &report["acknowledged"]), (&2.into(), &1.into()));
    fs::write(folder.path().join("b"), "30 2 got 7 1 1 ac\n40 2 acking 7 1 1\n").unwrap();
    let told = ringctl(&["check", path]).with_code(10);
    assert!(told.text().contains(&format!("({path}/b, line 1)")), "{told:?}");
}

#[test]
fn items_that_producers_drop_are_not_lost_and_cannot_come_again() {
    let dropping = "30 1 dropping 7 1 1\n";
    let dropped = &format!("{dropping}40 1 dropped 7 1 1\n");
    let second = "60 3 got 7 1 2 ab\n70 3 acking 7 1 2\n80 3 acked 7 1 2\n";
    let report = check(&[SENT, dropped], &["--json", "--capacity", "1"]).json();
    assert_eq!(
        (&report["dropped"], &report["acknowledged"], &report["unsure"]),
        (&1.into(), &0.into(), &0.into())
    );
    assert_eq!(check(&[SENT, dropping], &["--json"]).json()["unsure"], 1);
    // The producer died before it had dropped the item.
    assert_eq!(faults(&[SENT, dropping, second], &[]), []);
    let text = check(&[SENT, dropped], &[]).succeeds().into_text();
    assert!(text.contains("1 dropped to make room"), "{text}");
    let cases: [(&str, &[&str]); 5] = [
        ("duplicated", &[SENT, dropped, second]),
        ("acknowledged_twice", &[SENT, dropped, "41 2 acked 7 1 1\n"]),
        ("unexpected", &[dropped]),
        ("unexpected", &[SENT, "40 1 dropped 7 1 1\n"]),
        ("held_twice", &[SENT, "25 2 got 7 1 1\n50 2 acking 7 1 1\n", dropped]),
    ];
    for (fault, logs) in cases {
        let found = faults(logs, &[]);
        assert!(found.iter().any(|(name, _)| name == fault), "{fault} in {logs:?}: {found:?}");
    }
}

#[test]
fn a_forwarded_key_may_come_many_times_but_not_never() {
    let forwarded = "100 5 forwarding 7 1\n110 5 sent 7 1\n";
    let again = "120 2 got 7 1 1 ff\n130 2 acking 7 1 1\n140 2 acked 7 1 1\n";
    assert_eq!(faults(&[SENT, TAKEN, forwarded, again], &[]), []);
    let report = check(&[forwarded, again], &["--json"]).json();
    assert_eq!(
        (&report["forwarded"], &report["sent"], &report["acknowledged"]),
        (&1.into(), &0.into(), &1.into())
    );
    assert_eq!(faults(&[forwarded], &[]), [("lost".into(), 1)]);
    assert_eq!(faults(&[forwarded, "120 2 got 7 1 1\n"], &[]), [("lost".into(), 1)]);
    assert_eq!(faults(&["100 5 forwarding 7 1\n"], &[]), []);
}

#[test]
fn random_right_histories_are_clean_and_any_one_mutation_is_found() {
    let seed = seed();
    let capacity = CAPACITY.to_string();
    for n in 0..if scale::is_ci() { 60 } else { 20 } {
        let mut logs = history(seed + n, 300);
        let texts = |logs: &[String]| {
            let logs: Vec<&str> = logs.iter().map(String::as_str).collect();
            faults(&logs, &["--capacity", &capacity])
        };
        assert_eq!(texts(&logs), [], "seed {}", seed + n);
        let mut random = Random::new(seed ^ n);
        let what = mutate(&mut logs, &mut random);
        assert!(!texts(&logs).is_empty(), "seed {}, not found: {what}\n{}", seed + n, logs.join("--\n"));
    }
}

#[test]
fn a_large_history_is_checked_in_one_pass() {
    let events =
        env_number("RINGPIPE_HISTORY_EVENTS").unwrap_or(if scale::is_ci() { 1_000_000 } else { 300_000 });
    let temporary = tempfile::tempdir().unwrap();
    let kept = std::env::var_os("RINGPIPE_HISTORY_FOLDER");
    let folder = kept.as_deref().map_or(temporary.path(), Path::new);
    let path = |log: usize| folder.join(format!("{log}.log")).to_str().unwrap().to_string();
    let file = |log| Box::new(BufWriter::new(File::create(path(log)).unwrap())) as Box<dyn Write>;
    let mut simulation = Simulation::new(seed(), file);
    simulation.run(events);
    let (events, items) = (simulation.events, simulation.next.iter().sum::<u64>());
    let begin = Instant::now();
    let paths: Vec<String> = (0..PRODUCERS + CONSUMERS).map(path).collect();
    let capacity = CAPACITY.to_string();
    let mut arguments = vec!["check", "--json", "--capacity", &capacity];
    arguments.extend(paths.iter().map(String::as_str));
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ringctl"));
    // Not by the watchdog of a minute: how long it takes depends on the number asked for.
    let output = command.args(&arguments).output().unwrap();
    let took = begin.elapsed().as_secs_f64();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    assert_eq!((&told["clean"], &told["events"]), (&true.into(), &events.into()), "{told}");
    assert_eq!(told["attempts"], items);
    let rss = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN).unwrap().max_rss();
    let rate = events as f64 / took;
    report(&format!("history: {events} events, {items} items: {took:.1} s, {rate:.0} events/s, {rss} KiB"));
}

/// Tells a worker of the real run what to do: ring, log, role and number.
const ORDERS: &str = "RINGPIPE_HISTORY_WORKER";

/// Not a test: what the processes of the real run do.
#[test]
fn worker() {
    let Ok(orders) = std::env::var(ORDERS) else { return };
    die_with_parent();
    let words: Vec<&str> = orders.split(' ').collect();
    let [ring, path, role, number] = words[..] else { panic!("{orders}") };
    let ring = Ring::open(ring).unwrap();
    let mut log = Log::open(path).unwrap();
    if role == "producer" {
        let mut producer = ring.producer().unwrap();
        let number = number.parse().unwrap();
        // Numbers of its own, which the items carry in their bytes.
        for sequence in 1_u64.. {
            let text = format!("{number} {sequence}{}", " ".repeat(sequence as usize % 90));
            log.attempt(number, sequence, text.as_bytes()).unwrap();
            match producer.send_timeout(text.as_bytes(), Duration::from_micros(500)) {
                Ok(()) => log.sent(number, sequence).unwrap(),
                Err(_) => log.refused(number, sequence).unwrap(),
            }
        }
    }
    receive(&ring, &mut log, false);
}

/// Receives until it is killed, and gives some items back; the last consumer takes all, until no more will come.
fn receive(ring: &Ring, log: &mut Log, last: bool) {
    let mut consumer = ring.consumer().unwrap();
    let mut random = Random::new(process_number());
    loop {
        let item = match consumer.recv_timeout(Duration::from_secs(20)) {
            Ok(item) => item,
            Err(Error::Ended) if last => return,
            // No producer lives at this moment; the next one comes soon.
            Err(Error::Ended) => {
                std::thread::sleep(Duration::from_micros(200));
                continue;
            }
            Err(error) => panic!("receiving: {error}"),
        };
        let (text, attempt) = (item.to_vec(), item.attempt());
        let name = std::str::from_utf8(&text).unwrap().trim_end().split_once(' ').unwrap();
        let (producer, sequence) = (name.0.parse().unwrap(), name.1.parse().unwrap());
        log.got(producer, sequence, attempt, &text).unwrap();
        if !last && random.one_in(10) {
            log.returning(producer, sequence, attempt).unwrap();
            item.give_back();
        } else {
            log.acking(producer, sequence, attempt).unwrap();
            item.ack();
            log.acked(producer, sequence, attempt).unwrap();
        }
    }
}

#[test]
fn a_real_run_with_kills_is_clean() {
    let folder = tempfile::tempdir().unwrap();
    let name = TestName::new("check");
    let ring = RingOptions::new().capacity(16).slot_size(64).participants(12).create(&name).unwrap();
    let mut paths = Vec::new();
    let mut start = |role: &str| {
        let number = paths.len();
        paths.push(folder.path().join(format!("{number}-{role}")).display().to_string());
        let orders = format!("{} {} {role} {number}", &*name, paths[number]);
        Kept(again("ringctl_check::worker", ORDERS, &orders).spawn().unwrap())
    };
    let roles = ["producer", "producer", "producer", "consumer", "consumer", "consumer"];
    let mut workers: Vec<Kept> = roles.iter().map(|role| start(role)).collect();
    let mut random = Random::new(seed());
    for _ in 0..60 {
        std::thread::sleep(Duration::from_millis(2 + random.below(20)));
        let n = random.below(6) as usize;
        workers[n].kill();
        workers[n] = start(roles[n]);
    }
    for worker in &mut workers {
        worker.kill();
    }
    let survivor = folder.path().join("survivor").display().to_string();
    let mut log = Log::open(&survivor).unwrap();
    ring.repair();
    receive(&ring, &mut log, true);
    ring.remove().unwrap();
    paths.push(survivor);
    // Some were killed before they had a log.
    let paths: Vec<&str> = paths.iter().map(String::as_str).filter(|path| Path::new(path).exists()).collect();
    let told = ringctl(&[&["check", "--json", "--capacity", "16"], &paths[..]].concat()).json();
    assert!(told["acknowledged"].as_u64() > Some(0) && told["redelivered"].as_u64() > Some(0), "{told}");
    report(&format!("history of a real run: {told}"));
    // The same without what the producers told is not.
    let consumers: Vec<&str> = paths.into_iter().filter(|path| !path.ends_with("-producer")).collect();
    ringctl(&[&["check"], &consumers[..]].concat()).with_code(10);
}
