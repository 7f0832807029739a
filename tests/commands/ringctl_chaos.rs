//! `ringctl run --chaos`: processes are killed while real input goes through, nothing is lost, and what is lost on purpose
//! is found.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::libc::{SIGINT, SIGTERM};
use serde_json::Value;

use crate::support::terminal::Terminal;
use crate::support::*;

fn chaos(arguments: &[&str]) -> Run {
    Run::new(env!("CARGO_BIN_EXE_ringctl")).args(&["run", "--chaos"]).args(arguments)
}

fn number(report: &Value, key: &str) -> u64 {
    report[key].as_u64().unwrap_or_else(|| panic!("no number {key}: {report}"))
}

/// The numbers of a verified run fit together.
#[track_caller]
fn is_verified(report: &Value, items: u64) {
    assert_eq!(
        (&report["schema"], &report["verified"]),
        (&"ringpipe.chaos/1".into(), &true.into()),
        "{report}"
    );
    assert_eq!((number(report, "items"), number(report, "lost")), (items, 0), "{report}");
    let (producers, consumers) = (number(report, "killed_producers"), number(report, "killed_consumers"));
    assert!(producers + consumers > 0 && number(report, "killed") == producers + consumers, "{report}");
    for fault in ["unexplained", "unexpected", "altered"] {
        assert_eq!(number(report, fault), 0, "{report}");
    }
    // An item that is written again was received again; not every item that was received had been written.
    let history = &report["history"];
    assert_eq!(history["clean"], true, "{report}");
    assert!(number(report, "delivered_again") <= number(history, "redelivered"), "{report}");
    assert!(number(report, "delivered_again") == 0 || consumers > 0, "{report}");
}

/// The children of all threads of a process, without the guard of its folder.
fn children_of_threads(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
    let is_guard = |id: &u32| {
        fs::read_to_string(format!("/proc/{id}/comm")).is_ok_and(|name| name.trim_end() == "ringpipe-guard")
    };
    lists
        .flat_map(|list| list.split_whitespace().map(|id| id.parse().unwrap()).collect::<Vec<u32>>())
        .filter(|id| !is_guard(id))
        .collect()
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().next().is_none()
}

#[test]
fn processes_of_both_roles_are_killed_and_nothing_is_lost() {
    let temporary = tempfile::tempdir().unwrap();
    let mut killed = [0, 0];
    // Chance chooses the processes: usually the first run has kills of both roles.
    while killed.contains(&0) {
        let report = chaos(&["--lines", "20000", "--json"]).env("TMPDIR", temporary.path()).run().json();
        is_verified(&report, 20_000);
        assert!(is_empty(temporary.path()), "logs were left");
        // Each killed process has a successor.
        for (role, sum) in ["producers", "consumers"].iter().zip(&mut killed) {
            let killed = number(&report, &format!("killed_{role}"));
            assert_eq!(number(&report, role), killed + 2 * number(&report, "rounds"), "{report}");
            *sum += killed;
        }
        assert!(number(&report["history"], "events") >= 4 * 20_000, "{report}");
    }
}

#[test]
fn the_summary_ends_with_the_counts() {
    let ended = chaos(&["--lines", "5000", "--seed", "7"]).run().succeeds();
    let last = ended.text().lines().last().unwrap();
    assert!(last.starts_with("verified: 5,000 items, ") && last.contains(" killed, 0 lost, "), "{ended:?}");
    assert!(last.ends_with(" delivered again"), "{ended:?}");
    assert!(ended.text().contains("the same choices: --seed 7\n"), "{ended:?}");
}

#[test]
fn what_arrives_is_the_input_and_perhaps_items_again() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out").to_str().unwrap().to_string();
    for shape in [["-p", "1", "-c", "1"], ["-p", "3", "-c", "2"]] {
        let run = chaos(&["--json", "--output", &out]).args(&shape).input(seq(10_000));
        let report = run.run().json();
        is_verified(&report, 10_000);
        let text = fs::read_to_string(&out).unwrap();
        let mut lines: Vec<u64> = text.lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(lines.len() as u64, 10_000 + number(&report, "delivered_again"), "{report}");
        lines.sort_unstable();
        lines.dedup();
        assert!(lines.iter().copied().eq(1..=10_000), "{report}");
    }
}

#[test]
fn every_framing_and_equal_items_pass_through_kills() {
    let prefixed: Vec<u8> =
        (0..2000).flat_map(|n: u32| [&[0, 0, 0, 4][..], &(n % 3).to_be_bytes()].concat()).collect();
    let lines: String = (0..2000).map(|n| format!("{}\n", "x".repeat(n % 200))).collect();
    for (options, input) in [
        (&["--null"][..], lines.replace('\n', "\0").into_bytes()),
        (&["--delimiter=,"], lines.replace('\n', ",").into_bytes()),
        (&["--frame=len32"], prefixed),
        (&["--capacity", "64", "--slot-size", "32"], lines.into_bytes()),
    ] {
        let report = chaos(options).arg("--json").input(input).run().json();
        is_verified(&report, 2000);
    }
}

#[test]
fn files_go_whole_to_the_producers() {
    let dir = tempfile::tempdir().unwrap();
    let a = file(&dir, "a", seq(4000).as_bytes());
    // Without a line break at the end.
    let b = file(&dir, "b", b"one\ntwo");
    // A FILE right after --chaos would be its time.
    let report = chaos(&["--json", "-p", "2", &a, &b]).run().json();
    is_verified(&report, 4002);
}

#[test]
fn the_input_is_read_to_its_end_even_if_one_file_ends_early() {
    let folder = tempfile::tempdir().unwrap();
    let long = vec![b'x'; 65_000];
    let lines: Vec<u8> =
        (0..1200).flat_map(|line| [format!("{line} ").as_bytes(), &long, b"\n"].concat()).collect();
    // More than a round has room for, beside a file that ends in the first one.
    let files = [file(&folder, "short", b"one\n"), file(&folder, "long", &lines)];
    let arguments = ["--json", "-p", "2", "-c", "2", &files[0], &files[1]];
    is_verified(&chaos(&arguments).run().json(), 1201);
}

#[test]
fn a_run_that_is_killed_leaves_no_logs() {
    let temporary = tempfile::tempdir().unwrap();
    let mut running = chaos(&["10m"]).env("TMPDIR", temporary.path()).spawn();
    wait_until("it has logs", || !is_empty(temporary.path()));
    running.signal(nix::libc::SIGKILL);
    running.ended();
    wait_until("its folder is gone", || is_empty(temporary.path()));
    // Its ring is left to ringctl clean.
    let ring = |name: &String| name.starts_with(&format!("ringpipe-run-{}-", running.pid()));
    let rings = || rings_of("run", running.pid() as u32);
    wait_until("its processes are gone", || rings().iter().filter(|name| ring(name)).count() <= 1);
    rings().iter().for_each(|name| drop(fs::remove_file(format!("/dev/shm/{name}"))));
}

#[test]
fn kept_logs_are_clean_and_show_what_came_again() {
    let dir = tempfile::tempdir().unwrap();
    let logs = dir.path().join("logs").to_str().unwrap().to_string();
    let report = chaos(&["--lines", "5000", "--json", "--log", &logs]).run().json();
    is_verified(&report, 5000);
    let processes = number(&report, "producers") + number(&report, "consumers");
    let checked = ringctl(&["check", "--json", &logs]).json();
    // A process that was killed at its start has no log.
    assert!(number(&checked, "files") <= processes && number(&checked, "files") >= 4, "{checked}");
    assert_eq!(checked["redelivered"], report["history"]["redelivered"], "{report}{checked}");
    let again = chaos(&["--lines", "9", "--log", &logs]).run().with_code(1);
    assert!(again.complaint().contains("is not empty; expected"), "{again:?}");
}

#[test]
fn a_time_bounds_the_kills_and_the_generated_lines() {
    let report = chaos(&["500ms", "--json"]).run().json();
    is_verified(&report, number(&report, "items"));
    assert!(report["seconds"].as_f64() >= Some(0.5), "{report}");
    // No process is killed after that time; the input goes through all the same.
    let ended = chaos(&["0", "--lines", "3000", "--json"]).run().with_code(3);
    let report: Value = serde_json::from_str(ended.text()).unwrap();
    assert_eq!((number(&report, "items"), number(&report, "killed")), (3000, 0), "{report}");
    let line = "nothing was verified: no process was killed while 3,000 items passed; expected a longer time";
    assert_eq!(ended.complaint(), format!("ringctl: {line}"));
}

#[test]
fn the_shortest_input_sees_a_kill_and_an_empty_one_is_not_called_verified() {
    let ended = chaos(&[]).input("one\n").run().succeeds();
    let last = ended.text().lines().last().unwrap();
    // On a busy machine the item may take long enough for several.
    assert!(last.starts_with("verified: 1 item, ") && last.contains(" killed, 0 lost, "), "{last}");
    assert!(!last.contains(" 0 processes killed"), "{last}");
    let ended = chaos(&[]).input("").run().with_code(3);
    assert_eq!(ended.complaint(), "ringctl: nothing was verified: the input had no items");
}

/// Programs beside a copy of ringctl: the stand-ins have the process id of the program, so kills reach it.
struct Planted(tempfile::TempDir);

impl Planted {
    fn new(role: &str, script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let real = Path::new(env!("CARGO_BIN_EXE_ringctl"));
        copy_program(real, dir.path().join("ringctl"));
        for name in ["producer", "consumer"] {
            match role == name {
                true => {
                    let script = script.replace("REAL", real.with_file_name(name).to_str().unwrap());
                    write_script(dir.path().join(name), &format!("#!/bin/bash\n{script}\n"));
                }
                false => copy_program(real.with_file_name(name), dir.path().join(name)),
            }
        }
        Planted(dir)
    }

    fn run(&self, lines: &str) -> Ended {
        let ringctl = self.0.path().join("ringctl");
        Run::new(ringctl.to_str().unwrap()).args(&["run", "--chaos", "--lines", lines]).run()
    }
}

#[test]
fn a_consumer_that_loses_changes_or_doubles_an_item_is_detected() {
    for (filter, complaint) in [
        ("sed -u 20d", " lost"),
        ("sed -u 20p", " more than were received"),
        ("sed -u s/^/0/", " with other bytes than were received"),
    ] {
        let planted = Planted::new("consumer", &format!("exec REAL \"$@\" > >({filter})"));
        let ended = planted.run("5000").with_code(10);
        let line = ended.complaint();
        assert!(
            line.starts_with("ringctl: not verified: ") && line.ends_with(complaint),
            "{filter}: {ended:?}"
        );
        assert!(ended.text().contains("\nnot verified: "), "{filter}: {ended:?}");
    }
}

#[test]
fn a_producer_that_loses_or_doubles_an_item_is_detected() {
    for filter in ["sed -u 20d", "sed -u 20p"] {
        let planted = Planted::new("producer", &format!("exec REAL \"$@\" < <({filter})"));
        let ended = planted.run("5000").with_code(10);
        assert!(ended.complaint().starts_with("ringctl: not verified: "), "{filter}: {ended:?}");
    }
}

#[test]
fn a_process_that_fails_by_itself_ends_the_run() {
    let planted = Planted::new("consumer", "exit 3");
    let ended = planted.run("5000").with_code(1);
    assert!(ended.complaint().contains("ended by exit status 3"), "{ended:?}");
    // It kills itself: that is no kill of this run.
    let planted = Planted::new("consumer", "kill -9 $$");
    let ended = planted.run("5000");
    assert!(matches!(ended.code, Some(1)), "{ended:?}");
    assert!(ended.complaint().contains("ended by signal 9"), "{ended:?}");
}

#[test]
fn an_interrupt_ends_all_processes_and_leaves_nothing() {
    for signal in [SIGINT, SIGTERM] {
        let temporary = tempfile::tempdir().unwrap();
        let mut running = chaos(&[]).open_input().env("TMPDIR", temporary.path()).spawn();
        let pid = running.pid() as u32;
        // Before there is an item, since with the first ones kills begin: a killed producer is not replaced while the
        // input gives nothing.
        wait_until("the run has its processes", || children_of_threads(pid).len() == 4);
        running.stdin.as_mut().unwrap().write_all(seq(3000).as_bytes()).unwrap();
        let children = children_of_threads(pid);
        running.signal(signal);
        let ended = running.end();
        assert_eq!(ended.signal, Some(signal), "{ended:?}");
        assert!(ended.stderr.contains("interrupted: nothing was verified"), "{ended:?}");
        assert!(!children.iter().any(|child| is_running(*child)), "a process was left");
        assert!(rings_of("run", pid).is_empty(), "a ring was left");
        assert!(is_empty(temporary.path()), "logs were left");
    }
}

#[test]
fn a_killed_run_leaves_no_process_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringctl"));
    command.args(["run", "--chaos"]).env("TMPDIR", temporary.path());
    let run = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut run = Kept(run.spawn().unwrap());
    let pid = run.0.id();
    wait_until("the run has its processes", || children_of_threads(pid).len() == 4);
    let children = children_of_threads(pid);
    run.kill();
    wait_until("the processes have ended", || !children.iter().any(|child| is_running(*child)));
    for name in rings_of("run", pid) {
        ringctl(&["rm", &name]).succeeds();
    }
}

#[test]
fn the_progress_on_a_terminal_shows_the_kills() {
    let terminal = Terminal::new(100);
    let mut running = chaos(&[]).open_input().stderr(terminal.side()).spawn();
    running.stdin.as_mut().unwrap().write_all(seq(5000).as_bytes()).unwrap();
    terminal.wait_for(" processes killed");
    running.close_input();
    running.end().succeeds();
}

#[test]
fn a_missing_folder_for_temporary_files_is_one_line() {
    let ended = chaos(&["--lines", "9"]).env("TMPDIR", "/no/such/folder").run().with_code(1);
    assert!(ended.complaint().contains("log folder \"/no/such/folder/"), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
}

#[test]
fn an_item_that_is_too_long_ends_the_run() {
    let ended = chaos(&["--capacity", "16"]).input(vec![b'x'; 10_000]).run().with_code(1);
    assert!(ended.stderr.contains("standard input: ") && ended.stderr.contains("--slot-size"), "{ended:?}");
}
