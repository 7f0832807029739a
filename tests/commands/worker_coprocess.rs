//! `consumer RING --coprocess -- COMMAND`: one command for many items, which answers each with a line.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::*;
use ringpipe::RingOptions;

/// Reads items by line, appends each to `$D/got`, and answers as it says.
const OBEDIENT: &str = r#"
    while IFS= read -r item; do
        printf '%s\n' "$item" >> "$D/got"
        case $item in
            again*) test -e "$D/$item" && echo ok || { : > "$D/$item"; echo retry later; } ;;
            bad*) echo "about $item" >&2; echo "dead no place for $item" ;;
            kill*) test -e "$D/$item" && echo ok || { : > "$D/$item"; kill -9 $$; } ;;
            hang*) test -e "$D/$item" && echo ok || { : > "$D/$item"; exec sleep 1000; } ;;
            babble*) test -e "$D/$item" && echo ok || { : > "$D/$item"; echo well done; exec sleep 1000; } ;;
            poison*) kill -9 $$ ;;
            exit*) test -e "$D/$item" && echo ok || { : > "$D/$item"; exit 0; } ;;
            *) echo ok ;;
        esac
    done
    : > "$D/bye"
"#;

/// Answers at once, but waits for `$D/go` at items whose name begins with "stop". Logs what it has done.
const QUICK: &str = r#"
    while IFS= read -r item; do
        case $item in
            stop*) : > "$D/has.$$.$item"; until test -e "$D/go"; do sleep 0.01; done ;;
        esac
        echo "$item $PPID" >> "$D/done"
        echo ok
    done
"#;

/// Says that it has an item by a file `$D/has.PID.NUMBER`, and answers when `$D/go` is there.
const PATIENT: &str = r#"
    number=0
    while IFS= read -r item; do
        number=$((number + 1))
        : > "$D/has.$$.$number"
        until test -e "$D/go"; do sleep 0.01; done
        echo "$RING_SLOT" >> "$D/slots"
        echo ok
    done
"#;

/// A folder with a script, and a ring.
struct Place {
    dir: tempfile::TempDir,
    ring: TestName,
}

impl Place {
    fn new(label: &str, script: &str, items: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        write_script(dir.path().join("work"), &format!("#!/bin/sh\n{script}"));
        let ring = TestName::made(label, &RingOptions::new().capacity(1024).slot_size(256));
        ring.send(items);
        Place { dir, ring }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A worker with the script as its command.
    fn worker(&self, options: &[&str]) -> Run {
        let run = consumer(&self.ring, options).arg("--").arg(self.path("work"));
        run.env("D", self.dir.path())
    }

    fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(name)).unwrap_or_default();
        text.lines().map(String::from).collect()
    }

    /// How often each command has said that it has an item: process and count.
    fn having(&self) -> Vec<(u32, usize)> {
        let mut counts = std::collections::BTreeMap::new();
        for entry in fs::read_dir(self.dir.path()).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let mut parts = name.strip_prefix("has.").into_iter().flat_map(|rest| rest.split('.'));
            if let Some(pid) = parts.next() {
                *counts.entry(pid.parse().unwrap()).or_default() += 1;
            }
        }
        counts.into_iter().collect()
    }

    fn go(&self) {
        fs::write(self.path("go"), "").unwrap();
    }

    /// Sequence, attempt and exit value of each line of the joblog, in order of the first two.
    fn joblog(&self) -> Vec<(u64, u32, i32)> {
        let lines = self.lines("log");
        let columns = lines.iter().skip(1).map(|line| line.split('\t').collect::<Vec<_>>());
        let mut all: Vec<_> =
            columns.map(|c| (c[9].parse().unwrap(), c[11].parse().unwrap(), c[6].parse().unwrap())).collect();
        all.sort_unstable();
        all
    }
}

/// The letters of a ring: reason, standard error, item.
fn letters(ring: &TestName) -> Vec<(String, String, Vec<u8>)> {
    let out = consumer(ring, &["--drain", "--frame", "len32"]).run().succeeds().stdout;
    let (mut rest, mut all) = (&out[..], Vec::new());
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let (letter, after) = after.split_at(u32::from_be_bytes(*length) as usize);
        let end = letter.iter().position(|&byte| byte == b'\n').unwrap();
        let facts: serde_json::Value = serde_json::from_slice(&letter[..end]).unwrap();
        let text = |name: &str| facts[name].as_str().unwrap().to_string();
        all.push((text("reason"), text("stderr"), letter[end + 1..].to_vec()));
        rest = after;
    }
    all
}

fn path_text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn an_answer_acknowledges_an_item_or_has_it_tried_again_or_sends_it_to_the_dead_letters() {
    let place = Place::new("answers", OBEDIENT, &["a", "again", "bad", "", "b"]);
    let dead = TestName::new("answers-dead").stays();
    let log = place.path("log");
    let options = ["--drain", "--coprocess", "--backoff", "1ms", "--stats", "--dead-letter", &dead.name];
    let run = place.worker(&[&options[..], &["--joblog", path_text(&log)]].concat()).run();
    let run = run.with_code(123).saying("about bad\n").saying("1 item failed for good");
    assert!(run.stderr.contains("done 4 items"), "{}", run.stderr);
    assert!(run.stdout.is_empty());
    let mut got = place.lines("got");
    got.sort_unstable();
    assert_eq!(got, ["", "a", "again", "again", "b", "bad"]);
    let expected = [("no place for bad".into(), "about bad\n".into(), b"bad".to_vec())];
    assert_eq!(letters(&dead), expected);
    assert_eq!(place.joblog(), [(0, 1, 0), (1, 1, -1), (1, 2, 0), (2, 1, -1), (3, 1, 0), (4, 1, 0)]);
    assert!(place.path("bye").exists(), "it saw the end of its input and ended by itself");
    assert_eq!(place.ring.acknowledged(), 5);
}

#[test]
fn items_of_any_bytes_arrive_whole_behind_their_lengths() {
    let script = r#"
        while set -- $(dd bs=1 count=4 2>/dev/null | od -An -tu1) && test $# = 4; do
            length=$((($1 * 256 + $2) * 65536 + $3 * 256 + $4))
            printf '%s\n' $length >> "$D/lengths"
            test $length = 0 || dd bs=1 count=$length 2>/dev/null >> "$D/bytes"
            echo ok
        done
    "#;
    let place = Place::new("binary", script, &[]);
    let items = [noise(200), Vec::new(), b"\n\n\0\n".to_vec(), vec![0; 7], Vec::new(), noise(256)];
    let mut sender = place.ring.open().producer().unwrap();
    items.iter().for_each(|item| sender.send(item).unwrap());
    drop(sender);
    for prefetch in ["0", "3"] {
        let run = place.worker(&["--drain", "--coprocess=length", "--prefetch", prefetch]).run();
        run.succeeds().quiet();
        assert_eq!(place.lines("lengths"), ["200", "0", "4", "7", "0", "256"]);
        assert_eq!(fs::read(place.path("bytes")).unwrap(), items.concat());
        ["lengths", "bytes"].iter().for_each(|name| fs::remove_file(place.path(name)).unwrap());
        let mut sender = place.ring.open().producer().unwrap();
        items.iter().for_each(|item| sender.send(item).unwrap());
    }
}

#[test]
fn an_item_with_a_newline_cannot_be_a_line_and_fails_for_good() {
    let place = Place::new("newline", OBEDIENT, &["a", "b\nc", "\n", "d"]);
    let dead = TestName::new("newline-dead").stays();
    place.worker(&["--drain", "--coprocess=line", "--dead-letter", &dead.name]).run().with_code(123);
    assert_eq!(place.lines("got"), ["a", "d"]);
    let letters = letters(&dead);
    assert_eq!(letters.iter().map(|(_, _, item)| &item[..]).collect::<Vec<_>>(), [&b"b\nc"[..], b"\n"]);
    assert!(letters.iter().all(|(reason, ..)| reason.contains("newline")), "{letters:?}");
}

#[test]
fn answers_belong_to_their_items_also_when_many_are_sent_ahead() {
    let items: Vec<String> =
        (0..300).map(|n| if n % 3 == 0 { format!("bad{n}") } else { n.to_string() }).collect();
    let items: Vec<&str> = items.iter().map(String::as_str).collect();
    let place = Place::new("ahead", OBEDIENT, &items);
    let dead = TestName::new("ahead-dead").stays();
    let options = ["--drain", "--coprocess", "-j2", "--prefetch", "20", "--dead-letter", &dead.name];
    place.worker(&options).run().with_code(123).saying("100 items failed for good");
    assert_eq!(place.lines("got").len(), 300);
    let letters = letters(&dead);
    assert_eq!(letters.len(), 100);
    for (reason, _, item) in letters {
        assert_eq!(reason, format!("no place for {}", String::from_utf8(item).unwrap()));
    }
    assert_eq!(place.ring.acknowledged(), 300);
}

/// Runs a worker over items of which the third makes the command end once, and checks that it alone has failed.
#[track_caller]
fn one_fails_once(item: &str, options: &[&str], exit: i32) {
    let place = Place::new("ends", OBEDIENT, &["a", "b", item, "c", "d"]);
    let log = place.path("log");
    let common = ["--drain", "--coprocess", "--prefetch", "4", "--backoff", "1ms"];
    place.worker(&[&common[..], &["--joblog", path_text(&log)], options].concat()).run().succeeds();
    let expected = [(0, 1, 0), (1, 1, 0), (2, 1, exit), (2, 2, 0), (3, 1, 0), (4, 1, 0)];
    assert_eq!(place.joblog(), expected, "{item}");
    let got = place.lines("got");
    assert_eq!(got.iter().filter(|got| *got == item).count(), 2, "{got:?}");
    assert_eq!(place.ring.acknowledged(), 5);
}

#[test]
fn when_a_command_is_killed_its_first_item_without_an_answer_has_failed_and_no_other_one() {
    one_fails_once("kill", &[], 0);
}

#[test]
fn when_a_command_exits_with_0_before_its_answer_the_item_has_failed() {
    one_fails_once("exit", &[], -1);
}

#[test]
fn a_command_that_answers_something_else_is_replaced() {
    one_fails_once("babble", &[], -1);
    let place = Place::new("babble", OBEDIENT, &["babble"]);
    let dead = TestName::new("babble-dead").stays();
    place.worker(&["--drain", "--coprocess", "--retries", "0", "--dead-letter", &dead.name]).run();
    assert_eq!(letters(&dead)[0].0, "unexpected answer \"well done\"");
}

#[test]
fn a_command_that_is_silent_for_too_long_is_replaced() {
    let place = Place::new("silent", OBEDIENT, &["a", "hang", "b"]);
    let dead = TestName::new("silent-dead").stays();
    // Its other items have their full time each; on a busy machine one may still be late.
    let options = ["--drain", "--coprocess", "--prefetch", "2", "--item-timeout", "500ms"];
    let log = place.path("log");
    let more = ["--backoff", "1ms", "--retries", "100", "--joblog", path_text(&log)];
    place.worker(&[&options[..], &more].concat()).run().succeeds();
    let joblog = place.joblog();
    let is_done = joblog.iter().any(|&(item, attempt, exit)| (item, exit) == (1, 0) && attempt > 1);
    assert!(joblog.contains(&(1, 1, -1)) && is_done, "{joblog:?}");
    assert_eq!(place.ring.acknowledged(), 3);

    fs::remove_file(place.path("hang")).unwrap();
    place.ring.send(&["hang"]);
    let options = ["--drain", "--coprocess", "--item-timeout", "500ms", "--retries", "0"];
    place.worker(&[&options[..], &["--dead-letter", &dead.name]].concat()).run().with_code(123);
    assert_eq!(letters(&dead)[0].0, "time limit");
}

#[test]
fn a_worker_stops_when_its_command_ends_three_times_without_an_answer() {
    for (script, reason) in [
        ("exit 7", "exit 7 without an answer"),
        ("kill -11 $$", "signal 11 (SEGV)"),
        ("echo hello; exec cat", "unexpected answer \"hello\""),
        ("exec cat", "unexpected answer \"a\""),
    ] {
        for prefetch in ["0", "5"] {
            let place = Place::new("useless", script, &["a", "a", "a", "a", "a"]);
            let options = ["--drain", "--coprocess", "--backoff", "1ms", "--prefetch", prefetch];
            let run =
                place.worker(&options).run().with_code(1).saying(&format!("{reason}, 3 times in a row"));
            assert!(run.stderr.contains("expected ok, retry TEXT or dead TEXT"), "{}", run.stderr);
            assert_eq!((place.ring.ready(), place.ring.acknowledged()), (5, 0));
        }
    }
}

#[test]
fn an_item_that_ends_each_command_fails_for_good_where_others_were_answered() {
    let place = Place::new("poison", OBEDIENT, &["a", "poison"]);
    let dead = TestName::new("poison-dead").stays();
    let options = ["--drain", "--coprocess", "--backoff", "1ms", "--dead-letter", &dead.name];
    place.worker(&options).run().with_code(123).saying("1 item failed for good");
    let expected = [("signal 9 (KILL)".into(), String::new(), b"poison".to_vec())];
    assert_eq!(letters(&dead), expected);
    assert_eq!(place.lines("got"), ["a", "poison", "poison", "poison", "poison"]);
}

#[test]
fn a_worker_that_is_told_to_stop_sends_no_more_items_and_waits_for_answers() {
    let place = Place::new("grace", PATIENT, &[]);
    let ring = TestName::made("grace-long", &RingOptions::new().capacity(8).slot_size(40_000));
    let item = "x".repeat(40_000);
    ring.send(&[&item[..]; 6]);
    let run = consumer(&ring, &["--coprocess", "--prefetch", "5", "--"]).arg(place.path("work"));
    let worker = run.env("D", place.dir.path()).spawn();
    // More than a pipe holds: it has all, and has sent some.
    wait_until("all items in hand", || ring.ready() == 0 && !place.having().is_empty());
    worker.signal(libc::SIGTERM);
    wait_until("items given back that were not sent", || ring.ready() > 0);
    let given_back = ring.ready();
    place.go();
    assert_ne!(worker.end().code, Some(0));
    assert_eq!((ring.ready(), ring.acknowledged()), (given_back, 6 - given_back));
}

#[test]
fn after_the_grace_the_command_is_ended_and_its_items_go_back_without_a_failure() {
    let place = Place::new("graceless", PATIENT, &["a", "b", "c"]);
    let log = place.path("log");
    let options = ["--coprocess", "--prefetch", "1", "--grace", "1ms", "--joblog", path_text(&log)];
    let worker = place.worker(&options).spawn();
    wait_until("an item in hand", || !place.having().is_empty());
    let [(pid, 1)] = place.having()[..] else { panic!("{:?}", place.having()) };
    worker.signal(libc::SIGTERM);
    worker.end();
    assert!(!is_running(pid));
    assert_eq!((place.ring.ready(), place.ring.acknowledged()), (3, 0));
    let mut next = place.ring.open().consumer().unwrap();
    let items = [(); 3].map(|()| next.recv().unwrap().into_owned());
    assert!(items.iter().all(|item| item.failures() == 0));
}

#[test]
fn a_worker_that_is_killed_leaves_no_command_and_its_items_come_to_others() {
    let place = Place::new("killed", PATIENT, &["a", "b", "c", "d", "e"]);
    let worker = place.worker(&["--coprocess", "-j2", "--prefetch", "3"]).spawn();
    wait_until("two commands with an item", || place.having().len() == 2);
    worker.signal(libc::SIGKILL);
    worker.end().by_signal(libc::SIGKILL);
    let pids = place.having();
    wait_until("no command", || pids.iter().all(|(pid, _)| !is_running(*pid)));
    let run = consumer(&place.ring, &["--drain"]).run().succeeds();
    let mut items = run.lines();
    items.sort_unstable();
    assert_eq!(items, ["a", "b", "c", "d", "e"]);
}

#[test]
fn two_workers_share_a_short_list_evenly() {
    let place = Place::new("even", PATIENT, &["a", "b", "c", "d"]);
    let workers = [(); 2].map(|()| place.worker(&["--coprocess", "-j2", "--idle-exit", "10ms"]).spawn());
    wait_until("four commands with an item each", || {
        place.having().iter().filter(|(_, items)| *items == 1).count() == 4
    });
    for worker in &workers {
        let of_this = place.having().iter().filter(|(pid, _)| parent(*pid) == worker.pid()).count();
        assert_eq!(of_this, 2);
    }
    place.go();
    workers.into_iter().for_each(|worker| drop(worker.end().succeeds()));
    assert_eq!(place.ring.acknowledged(), 4);
}

#[test]
fn two_slots_share_a_short_list_evenly_although_each_may_hold_all_of_it() {
    let place = Place::new("slots", PATIENT, &["a", "b", "c", "d"]);
    let worker = place.worker(&["--coprocess", "-j2", "--prefetch", "10", "--idle-exit", "10ms"]).spawn();
    wait_until("all items in hand", || place.ring.ready() == 0 && place.having().len() == 2);
    place.go();
    worker.end().succeeds();
    let mut slots = place.lines("slots");
    slots.sort_unstable();
    assert_eq!(slots, ["1", "1", "2", "2"]);
}

#[test]
fn as_many_items_are_held_as_commands_run_also_after_many_quick_answers() {
    let mut items: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    items.splice(150..150, ["stop-a".into(), "stop-b".into()]);
    let place = Place::new("exact", QUICK, &items.iter().map(String::as_str).collect::<Vec<_>>());
    let worker = place.worker(&["--coprocess", "-j2"]).spawn();
    wait_until("both commands at work", || place.having().len() == 2);
    for _ in 0..20 {
        // The main thread looks at the ring meanwhile.
        std::thread::sleep(Duration::from_millis(10));
        let ring = place.ring.open().snapshot().unwrap();
        assert_eq!((ring.held.len(), ring.ready + 2 + place.lines("done").len() as u64), (2, 302));
    }
    place.go();
    worker.end().succeeds();
    let mut done: Vec<String> =
        place.lines("done").iter().map(|line| line.split(' ').next().unwrap().into()).collect();
    items.sort_unstable();
    done.sort_unstable();
    assert_eq!(done, items);
}

#[test]
fn a_worker_takes_no_item_beyond_its_count_or_after_the_item_that_halts_it() {
    let items: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    for options in [["-n", "40", "-j2"], ["--halt", "soon,done=40", "-j1"], ["--halt", "now,done=40", "-j1"]]
    {
        let place = Place::new("count", QUICK, &items.iter().map(String::as_str).collect::<Vec<_>>());
        place.worker(&[&["--coprocess"], &options[..]].concat()).run().succeeds();
        assert_eq!((place.lines("done").len(), place.ring.acknowledged()), (40, 40), "{options:?}");
        assert_eq!(place.ring.ready(), 60, "{options:?}");
    }
}

#[test]
fn no_item_is_lost_when_workers_are_killed_whose_commands_answer_quickly() {
    let kills = if scale::is_ci() { 40 } else { 15 };
    let (seed, count) = (seed(), 1000);
    let mut random = Random::new(seed);
    let items: Vec<String> = (0..count).map(|n| n.to_string()).collect();
    let place = Place::new("kills", QUICK, &items.iter().map(String::as_str).collect::<Vec<_>>());
    let start = || place.worker(&["--coprocess", "-j2"]).spawn();
    let mut workers = [start(), start()];
    let mut victims = std::collections::BTreeSet::new();
    for _ in 0..kills {
        let goal = place.lines("done").len() + 1 + random.below(20) as usize;
        wait_until("more answers", || place.lines("done").len() >= goal || place.ring.ready() == 0);
        let victim = std::mem::replace(&mut workers[random.below(2) as usize], start());
        victims.insert(victim.pid().to_string());
        victim.signal(libc::SIGKILL);
        drop(victim.end());
    }
    workers.into_iter().for_each(|worker| drop(worker.end().succeeds()));
    assert_eq!(place.ring.open().snapshot().unwrap().used_slots, 0, "seed {seed}");
    let mut done = std::collections::BTreeMap::<String, Vec<String>>::new();
    for line in place.lines("done") {
        let (item, worker) = line.split_once(' ').unwrap();
        done.entry(item.into()).or_default().push(worker.into());
    }
    assert_eq!(done.len(), count, "seed {seed}");
    for (item, workers) in done {
        let again = workers.iter().rev().skip(1).find(|worker| !victims.contains(*worker));
        assert_eq!(again, None, "item {item}: {workers:?}, seed {seed}");
    }
}

fn parent(pid: u32) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(')').next().unwrap().split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_command_knows_ring_and_slot_and_nothing_about_an_item() {
    let script = r#"while read item; do env | grep ^RING_ > "$D/env"; echo ok; done"#;
    let place = Place::new("knows", script, &["a"]);
    place.worker(&["--drain", "--coprocess"]).run().succeeds();
    let mut variables = place.lines("env");
    variables.sort_unstable();
    assert_eq!(variables, [format!("RING_NAME={}", place.ring.name), "RING_SLOT=1".into()]);
}

#[test]
fn arguments_and_options_that_belong_to_one_item_are_refused() {
    let ring = TestName::new("refused");
    for argument in ["{}", "x{#}"] {
        let run = consumer(&ring, &["--coprocess", "--", "cat", argument]).run().with_code(2);
        run.saying("expected arguments that are the same for all items");
    }
    for option in [&["--tag"][..], &["--on-exit", "3=dead"], &["--reply", "other"], &["--dry-run"]] {
        let options = [&["--coprocess"], option, &["--", "cat"]].concat();
        consumer(&ring, &options).run().with_code(2).saying("cannot be used with");
    }
    consumer(&ring, &["--coprocess", "--", "/no/such/program"]).run().with_code(127);
}
