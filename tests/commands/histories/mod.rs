//! `--log`, RINGPIPE_LOG and `ringctl run --log`: what the commands write about what they do is a history that
//! `ringctl check` finds clean, whatever is killed when.

mod full;
mod kills;
mod others;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::*;
use ringpipe::RingOptions;

/// The variable that names the folder for logs.
const VARIABLE: &str = "RINGPIPE_LOG";

/// A folder for logs.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn files(&self) -> Vec<PathBuf> {
        fs::read_dir(self.path()).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    /// Whether a log has such an event.
    fn has(&self, event: &str) -> bool {
        let has = |path: &PathBuf| fs::read_to_string(path).unwrap().contains(&format!(" {event} "));
        self.files().iter().any(has)
    }

    /// What `ringctl check` says about it.
    #[track_caller]
    fn is_clean(&self) -> Value {
        let ended = ringctl(&["check", "--json", self.path().to_str().unwrap()]);
        assert_eq!(ended.code, Some(0), "{}{}", ended.stderr, ended.text());
        ended.json()
    }
}

/// The words of a log's lines: event, sequence, attempt, and whether there is a hash.
fn events(path: impl AsRef<Path>) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let short = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let hash = if words.len() > 6 { " hash" } else { "" };
        format!("{} {} {}{hash}", words[2], words[4], words[5])
    };
    text.lines().map(short).collect()
}

#[test]
fn a_producer_and_a_consumer_log_each_step_of_each_item() {
    let (ring, folder) = (TestName::new("log").stays(), Folder::new());
    let log = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    producer(&ring, &["--log", &log("p"), "--item", "a", "--item", "b"]).run().succeeds().quiet();
    let out = fs::File::create(log("out")).unwrap();
    consumer(&ring, &["--log", &log("c"), "-n", "1"]).stdout(out).run().succeeds().quiet();
    fs::remove_file(log("out")).unwrap();
    consumer(&ring, &["--log", &log("c")]).run().succeeds().quiet();
    assert_eq!(events(log("p")), ["attempt 0 0 hash", "attempt 1 0 hash", "sent 0 0", "sent 1 0"]);
    let each = |n| [format!("got {n} 1 hash"), format!("acking {n} 1"), format!("acked {n} 1")];
    assert_eq!(events(log("c")), [each(0), each(1)].concat());
    let report = folder.is_clean();
    for (what, count) in [("attempts", 2), ("sent", 2), ("acknowledged", 2), ("unsure", 0), ("files", 2)] {
        assert_eq!(report[what], count, "{what}: {report}");
    }
    // A planted fault is found, and named.
    let text = fs::read_to_string(log("c")).unwrap();
    let forged: String =
        text.lines().filter(|line| !line.contains("ack")).map(|line| format!("{line}\n")).collect();
    fs::write(log("c"), forged).unwrap();
    let ended = ringctl(&["check", folder.path().to_str().unwrap()]).with_code(10);
    assert!(ended.complaint().ends_with("2 lost"), "{ended:?}");
}

/// The library counts from 255 on to 128.
#[test]
fn an_item_that_was_delivered_hundreds_of_times_has_a_clean_history() {
    let (ring, folder) = (TestName::new("log").stays(), Folder::new());
    let log = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    producer(&ring, &["--log", &log("p"), "--item", "a"]).run().succeeds().quiet();
    let mut consumer_handle = ring.open().consumer().unwrap();
    (1..255).for_each(|_| drop(consumer_handle.recv().unwrap()));
    drop(consumer_handle);
    let fails = ["--log", &log("c"), "--retries", "0", "--", "false"];
    consumer(&ring, &fails).run().with_code(123);
    consumer(&ring, &["--log", &log("d"), "-n", "1"]).run().succeeds();
    assert_eq!(events(log("c")), ["got 0 255 hash", "returning 0 255"]);
    assert_eq!(events(log("d")), ["got 0 255 hash", "acking 0 255", "acked 0 255"]);
    assert_eq!(folder.is_clean()["acknowledged"], 1);
}

#[test]
fn each_process_gets_a_log_in_the_folder_that_the_environment_names() {
    let (ring, folder) = (TestName::new("log").stays(), Folder::new());
    let inner = folder.path().join("made/here");
    let run = |run: Run| run.env(VARIABLE, &inner).run().succeeds().quiet();
    // The ring comes and goes, and its numbers with it: these are other items.
    for _ in 0..3 {
        run(producer(&ring, &[]).input("x\ny\n"));
        run(consumer(&ring, &[]));
    }
    let names: Vec<_> = fs::read_dir(&inner).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 6, "{names:?}");
    assert!(names.iter().all(|name| name.to_str().unwrap().ends_with(".log")), "{names:?}");
    let report = ringctl(&["check", "--json", inner.to_str().unwrap()]).json();
    assert_eq!((&report["acknowledged"], &report["files"]), (&6.into(), &6.into()), "{report}");
    // An option wins; an empty variable is none.
    let own = folder.path().join("own");
    run(producer(&ring, &["--item", "x", "--log", own.to_str().unwrap()]));
    consumer(&ring, &[]).env(VARIABLE, "").run().succeeds().quiet();
    assert_eq!(events(&own).len(), 2);
    assert_eq!(fs::read_dir(&inner).unwrap().count(), 6);
}

#[test]
fn a_log_that_cannot_be_opened_is_an_error_before_anything_happens() {
    let (ring, folder) = (TestName::new("log").stays(), Folder::new());
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    fs::write(path("other"), "not a log").unwrap();
    let refused = |run: Run, why: &str| {
        let ended = run.run().with_code(1);
        assert!(ended.complaint().contains(": log \"") && ended.complaint().contains(why), "{ended:?}");
    };
    for (log, why) in [("/no/such/log", "No such file"), ("/", "directory"), ("/dev", "directory")] {
        refused(producer(&ring, &["--log", log]).input("x\n"), why);
        refused(consumer(&ring, &["--log", log]), why);
        refused(consumer(&ring, &["--log", log, "--", "cat"]), why);
        assert!(!ring.exists(), "a ring was made");
    }
    refused(producer(&ring, &["--log", &path("other")]), "is not an event");
    assert_eq!(fs::read_to_string(path("other")).unwrap(), "not a log");
    refused(producer(&ring, &[]).env(VARIABLE, "/dev/null/x"), "Not a directory");
    let long = "x".repeat(5000);
    refused(producer(&ring, &[]).env(VARIABLE, long), "too long");
    let mut first = producer(&ring, &["--log", &path("one")]).open_input().spawn();
    wait_until("the log", || Path::new(&path("one")).exists());
    wait_until("the ring", || ring.exists());
    refused(producer(&ring, &["--log", &path("one"), "--item", "x"]), "another process writes it");
    first.close_input();
    first.end().succeeds();
}

#[test]
fn a_producer_logs_what_the_policies_for_full_rings_do() {
    let settle = |ring: &TestName, folder: &Folder| {
        consumer(ring, &["--drain"]).env(VARIABLE, folder.path()).run().succeeds().into_text()
    };
    for (options, code, sent, refused, dropped) in [
        (&["--on-full", "fail"][..], 4, 4, 4, 0),
        (&["--no-wait"], 4, 4, 4, 0),
        (&["--timeout", "1ms"], 4, 4, 4, 0),
        (&["--on-full", "drop-newest"], 0, 4, 4, 0),
        (&["--on-full", "drop-oldest"], 0, 8, 0, 4),
    ] {
        let (ring, folder) = (TestName::ring("full", &["--capacity", "4"]), Folder::new());
        let run = producer(&ring, options).input(seq(8)).env(VARIABLE, folder.path());
        run.run().with_code(code);
        let text = settle(&ring, &folder);
        let report = folder.is_clean();
        assert_eq!(text.lines().count(), 4, "{options:?}");
        for (what, count) in [("sent", sent), ("refused", refused), ("dropped", dropped), ("acknowledged", 4)]
        {
            assert_eq!(report[what], count, "{options:?}: {what}: {report}");
        }
    }
}

#[test]
fn pieces_of_a_stream_and_long_items_are_logged_whole() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = noise(3 << 20);
    let input = file(&dir, "in", &bytes);
    for options in [&["--raw"][..], &["--raw", "--exclusive"], &["--block", "64K"]] {
        let (ring, folder) = (TestName::new("pieces").stays(), Folder::new());
        let sending = producer(&ring, &[options, &[&input]].concat()).env(VARIABLE, folder.path()).spawn();
        let out = dir.path().join("out");
        let receiving = consumer(&ring, &["--raw"]).env(VARIABLE, folder.path());
        receiving.stdout(fs::File::create(&out).unwrap()).run().succeeds();
        sending.end().succeeds();
        assert!(fs::read(&out).unwrap() == bytes, "{options:?}");
        let report = folder.is_clean();
        assert!(report["acknowledged"].as_u64() > Some(2), "{options:?}: {report}");
        let files = folder.files();
        let one = files.iter().find(|path| path.to_str().unwrap().contains("consumer")).unwrap();
        assert!(events(one)[0].ends_with("hash"), "{options:?}");
    }
}

#[test]
fn held_items_of_scripts_are_logged() {
    let (ring, folder) = (TestName::made("hold", &RingOptions::new().capacity(8)), Folder::new());
    let script = "
        $P $R --item done --item fail --item release --item killed
        for verb in done fail release; do
            token=$($C $R --hold --hold-for $$ | head -1)
            $T $verb \"$token\"
        done
        $C $R --drain > /dev/null
    ";
    shell(&ring, script).env(VARIABLE, folder.path()).run().succeeds();
    let report = folder.is_clean();
    assert_eq!((&report["acknowledged"], &report["redelivered"]), (&4.into(), &2.into()), "{report}");
}

#[test]
fn answers_and_dead_letters_that_come_back_are_logged_and_clean() {
    let folder = Folder::new();
    let ring = |label| TestName::ring(label, &["--capacity", "64", "--slot-size", "256"]);
    let (jobs, answers, dead) = (ring("jobs"), ring("answers"), ring("dead"));
    let logged = |run: Run| run.env(VARIABLE, folder.path()).run();
    logged(producer(&jobs, &["--item", "good", "--item", "bad"])).succeeds();
    let work = ["--drain", "--retries", "1", "--backoff", "1ms", "--reply", &answers, "--dead-letter", &dead];
    let worker = || consumer(&jobs, &work).args(&["--", "grep", "good"]);
    logged(worker()).with_code(123);
    let requeue = Run::new(env!("CARGO_BIN_EXE_ringctl")).args(&["requeue", &dead]);
    logged(requeue).succeeds();
    logged(worker()).with_code(123);
    for ring in [&answers, &dead] {
        logged(consumer(ring, &["--drain"])).succeeds();
    }
    let report = folder.is_clean();
    // The answer, two letters, and the item once more.
    assert_eq!((&report["sent"], &report["forwarded"]), (&2.into(), &4.into()), "{report}");
    // A letter that no process takes is lost.
    logged(producer(&jobs, &["--item", "bad"])).succeeds();
    logged(worker()).with_code(123);
    let ended = ringctl(&["check", folder.path().to_str().unwrap()]).with_code(10);
    assert!(ended.complaint().ends_with("1 lost"), "{ended:?}");
}

#[test]
fn a_run_with_logs_checks_them_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let logs = dir.path().join("new/logs");
    let logs = logs.to_str().unwrap();
    let ended = ringctl(&["run", "--lines", "5000", "-p", "2", "-c", "2", "--log", logs]).succeeds();
    assert!(ended.text().contains("history   25,000 events in 4 files: "), "{ended:?}");
    ringctl(&["check", "--capacity", "8192", logs]).succeeds();
    let again = ringctl(&["run", "--lines", "9", "--log", logs]).with_code(1);
    assert!(again.complaint().contains("is not empty; expected"), "{again:?}");
    let other = dir.path().join("other").to_str().unwrap().to_string();
    let report = ringctl(&["run", "--json", "--lines", "99", "-p", "1", "-c", "1", "--log", &other]).json();
    let history = &report["history"];
    assert_eq!(
        (&history["schema"], &history["clean"]),
        (&"ringpipe.check/1".into(), &true.into()),
        "{report}"
    );
    assert_eq!((&history["acknowledged"], &report["verified"]), (&99.into(), &true.into()), "{report}");
}

#[test]
fn a_run_whose_history_has_a_fault_is_not_verified() {
    let dir = tempfile::tempdir().unwrap();
    for program in ["ringctl", "consumer"] {
        let from = Path::new(env!("CARGO_BIN_EXE_ringctl")).with_file_name(program);
        copy_program(from, dir.path().join(program));
    }
    // A producer that forgets to tell what it sent.
    let real = env!("CARGO_BIN_EXE_producer");
    write_script(dir.path().join("producer"), &format!("#!/bin/sh\nunset {VARIABLE}\nexec {real} \"$@\"\n"));
    let run = Run::new(dir.path().join("ringctl").to_str().unwrap());
    let logs = dir.path().join("logs");
    let ended =
        run.args(&["run", "--lines", "9", "-p", "1", "-c", "1", "--log"]).arg(logs).run().with_code(10);
    assert!(ended.complaint().contains("not verified: the history is not clean: 9 unexpected"), "{ended:?}");
    assert!(ended.text().contains("not verified") && ended.text().contains("unexpected: item"), "{ended:?}");
}
