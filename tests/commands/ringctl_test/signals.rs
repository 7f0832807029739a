//! A signal that comes while a run makes its input, or judges what was done.

use std::fs::{self, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::thread;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::{Bench, fails};
use crate::support::{Ended, join_soon, wait_until};

/// It has ended by the signal, without a verdict.
#[track_caller]
fn was_interrupted(ended: Ended) {
    let ended = ended.by_signal(libc::SIGTERM).saying("interrupted: not all scenarios were run");
    let has_verdict = |line: &&str| line.starts_with("passed") || line.starts_with("failed");
    assert_eq!(ended.lines().into_iter().find(has_verdict), None, "{}", ended.text());
}

/// Writes a history of `items` items that are sent, received and acknowledged.
fn write_history(path: &Path, items: u64) {
    let mut file = BufWriter::new(fs::File::create(path).unwrap());
    for item in 0..items {
        let time = item * 10;
        writeln!(file, "{time} 1 attempt 1 {item} 0 aa\n{time} 1 sent 1 {item}").unwrap();
        writeln!(file, "{time} 1 got 1 {item} 1 aa\n{time} 1 acked 1 {item} 1").unwrap();
    }
    file.flush().unwrap();
}

/// Whether a process has a file open.
fn has_open(pid: i32, file: &Path) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    descriptors.filter_map(|one| fs::read_link(one.path()).ok()).any(|path| path == file)
}

/// Whether all threads of a process are suspended.
fn is_stopped(pid: i32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let states = threads.map(|one| fs::read_to_string(one.unwrap().path().join("stat")).unwrap_or_default());
    states.into_iter().all(|stat| stat.rsplit(')').next().unwrap().trim_start().starts_with(['T', 't']))
}

#[test]
fn a_signal_ends_the_check_of_a_long_history() {
    let bench = Bench::new(
        "[process.x]\nrun = \"mkdir -p $RINGPIPE_LOG; ln -s {file}/long $RINGPIPE_LOG/long\"\n\
         [expect]\nlost = 0\nduplicated = \"redelivered\"\nstall = \"1h\"\n",
    );
    let history = bench.folder.path().canonicalize().unwrap().join("long");
    write_history(&history, 250_000);
    for _ in 0..10 {
        let mut running = bench.command(&[]).spawn();
        let pid = running.pid();
        wait_until("the check has begun", || has_open(pid, &history) || !running.is_running());
        running.signal(libc::SIGSTOP);
        wait_until("it is suspended", || is_stopped(pid) || !running.is_running());
        // Between its two passes over the history, or after them, it proves nothing.
        let is_within = running.is_running() && has_open(pid, &history);
        running.signal(libc::SIGTERM);
        running.signal(libc::SIGCONT);
        let ended = running.end();
        if is_within {
            return was_interrupted(ended);
        }
    }
    panic!("the check was never met");
}

#[test]
fn a_signal_ends_the_reading_of_an_endless_file() {
    for rest in [
        "[history]\nfiles = [\"{file}/pipe\"]\nsent = 'y(?<id>)'\n",
        "[expect]\nequal = [[\"{file}/pipe\", \"{file}/scenario.toml\"]]\n",
        "[expect.sha256]\n\"{file}/pipe\" = \"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"\n",
    ] {
        let bench = Bench::new(&format!("[process.x]\nrun = \"true\"\n{rest}"));
        let pipe = bench.path("pipe");
        mkfifo(&pipe, Mode::S_IRWXU).unwrap();
        let running = bench.command(&[]).spawn();
        // This waits for a reader.
        let mut pipe = OpenOptions::new().write(true).open(&pipe).unwrap();
        let writer = thread::spawn(move || while pipe.write_all(b"yes\n").is_ok() {});
        running.signal(libc::SIGTERM);
        was_interrupted(running.end());
        join_soon(writer);
    }
}

/// More lines than a test has time for.
const ENDLESS: &str = "[process.x]\nrun = \"cat\"\nstdin = { items = 100_000_000 }\n";

#[test]
fn a_signal_ends_the_making_of_a_long_input() {
    let bench = Bench::new(ENDLESS);
    let running = bench.command(&["--keep", "kept"]).spawn();
    let input = bench.path("kept/scenario/x-1.stdin");
    wait_until("the input is begun", || fs::metadata(&input).is_ok_and(|about| about.len() > 0));
    running.signal(libc::SIGTERM);
    was_interrupted(running.end());
    assert!(!fs::exists(bench.path("kept/scenario/x-1.stdout")).unwrap(), "it was started");
}

#[test]
fn an_input_that_takes_too_long_to_make_is_a_timeout() {
    let text = format!("timeout = \"200ms\"\n{ENDLESS}[process.y]\nrun = \"exec sleep 1000\"\n");
    let line = "not over after 200ms, not started, for want of its input: x-1, still running: y-1";
    fails(&text, line);
}
