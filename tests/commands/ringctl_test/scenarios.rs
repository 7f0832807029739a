//! The files of `scenarios/`: each passes, and each of a faulty queue finds its fault every time.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::support::{Ended, Run, scale, wait_until};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");

/// The scenario files.
fn files() -> Vec<PathBuf> {
    let entries = fs::read_dir(FOLDER).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    assert!(files.len() >= 12, "{files:?}");
    files
}

fn text(file: &Path) -> String {
    fs::read_to_string(file).unwrap()
}

/// Whether the file is one of a queue with a known fault.
fn is_faulty(file: &Path) -> bool {
    text(file).lines().any(|line| line.starts_with("fails = "))
}

/// `ringctl test` with two jobs. What it makes is in the folder.
fn command(folder: &TempDir) -> Run {
    Run::new(env!("CARGO_BIN_EXE_ringctl"))
        .args(&["test", "--jobs", "2"])
        .env("TMPDIR", folder.path())
        .current_dir(folder.path())
}

/// All passed; a scenario was only left out for want of a program.
#[track_caller]
fn all_passed(ended: &Ended) {
    for line in ended.lines() {
        let is_judged = !["failed", "inconclusive", "broken"].iter().any(|word| line.starts_with(word));
        let may_be_skipped = line.contains("was not found in PATH");
        assert!(is_judged && (!line.starts_with("skipped") || may_be_skipped), "{}", ended.text());
    }
}

#[test]
fn all_scenarios_pass() {
    let folder = tempfile::tempdir().unwrap();
    let ended = command(&folder).args(&[FOLDER]).run();
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.text(), ended.stderr);
    all_passed(&ended);
    for file in files() {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(ended.text().contains(&name), "{name} is missing in {}", ended.text());
    }
}

#[test]
fn the_fault_of_a_faulty_queue_is_found_every_time() {
    let faulty: Vec<String> =
        files().iter().filter(|file| is_faulty(file)).map(|file| file.to_string_lossy().into()).collect();
    assert!(faulty.len() >= 6, "{faulty:?}");
    let arguments: Vec<&str> = faulty.iter().map(String::as_str).collect();
    let folder = tempfile::tempdir().unwrap();
    let times = if scale::is_ci() { "5" } else { "1" };
    let ended = command(&folder).args(&["--repeat", times]).args(&arguments).run();
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.text(), ended.stderr);
    all_passed(&ended);
}

#[test]
fn a_faulty_queue_names_the_issue_and_every_scenario_says_what_it_shows() {
    let readme = text(&Path::new(FOLDER).join("README.md"));
    for file in files() {
        let (text, name) = (text(&file), file.file_name().unwrap().to_string_lossy().into_owned());
        assert!(text.starts_with("# ") && text.contains("\nabout = \""), "{name}");
        let names_issue =
            text.lines().any(|line| line.starts_with("# ") && line.contains('/') && line.contains('#'));
        assert!(!is_faulty(&file) || names_issue, "{name} names no issue");
        assert!(readme.contains(&format!("[{name}]({name})")), "scenarios/README.md needs a row for {name}");
    }
}

/// The processes that have `text` in their environment, and their sessions.
fn members(text: &str) -> (usize, BTreeSet<String>) {
    let mut sessions = BTreeSet::new();
    let mut count = 0;
    for entry in fs::read_dir("/proc").unwrap() {
        let Ok(environment) = fs::read(entry.unwrap().path().join("environ")) else { continue };
        let environment = String::from_utf8_lossy(&environment).into_owned();
        if environment.contains(text) {
            count += 1;
            let markers = environment.split('\0').filter_map(|entry| entry.strip_prefix("RINGPIPE_TEST_"));
            sessions.extend(markers.filter_map(|marker| Some(marker.split_once('=')?.0.to_string())));
        }
    }
    (count, sessions)
}

#[test]
fn a_test_of_all_scenarios_that_is_killed_leaves_nothing() {
    for wanted in 1..=3 {
        let folder = tempfile::tempdir().unwrap();
        let marker = format!("TMPDIR={}", folder.path().display());
        let mut running = command(&folder).args(&[FOLDER]).spawn();
        let mut seen = BTreeSet::new();
        wait_until("scenarios run", || {
            seen.extend(members(&marker).1);
            seen.len() > wanted
        });
        running.signal(libc::SIGKILL);
        running.ended();
        wait_until("all processes have ended", || members(&marker).0 == 0);
        let is_left = |name: &String| seen.iter().any(|id| name.starts_with(&format!("ringpipe-test-{id}-")));
        let left = || {
            let entries = fs::read_dir("/dev/shm").unwrap();
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).find(is_left)
        };
        wait_until("all rings are gone", || left().is_none());
    }
}
