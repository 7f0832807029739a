//! What is left when a test ends, however it ends.

use std::fs;

use super::Bench;
use crate::support::wait_until;

const FAMILY: &str = r#"
timeout = "1h"
[ring.jobs]
[process.p]
run = "yes | producer {ring.jobs}"
[consumer.c]
run = "sleep 1000"
[process.x]
run = "setsid sleep 1000 & sleep 1000 & echo {ring.jobs} > started; sleep 1000"
"#;

/// The session of a scenario that runs: the entry in the environment of its processes, and its ring.
fn started(bench: &Bench) -> (String, String) {
    let mut found = None;
    wait_until("the scenario runs", || {
        let ring = fs::read_to_string(bench.path("kept/scenario/dir/started")).unwrap_or_default();
        found = ring
            .trim()
            .strip_prefix("ringpipe-test-")
            .and_then(|rest| rest.split_once('-'))
            .map(|(id, _)| (format!("RINGPIPE_TEST_{id}="), ring.trim().to_string()));
        found.is_some()
    });
    found.unwrap()
}

/// How many processes have this in their environment.
fn members(marker: &str) -> usize {
    let processes = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| fs::read(entry.unwrap().path().join("environ")).ok());
    processes
        .filter(|environment| environment.windows(marker.len()).any(|part| part == marker.as_bytes()))
        .count()
}

#[test]
fn nothing_outlives_a_test_that_is_killed() {
    let bench = Bench::new(FAMILY);
    let mut running = bench.command(&["--keep", "kept"]).spawn();
    let (marker, ring) = started(&bench);
    wait_until("all run", || members(&marker) >= 6);
    running.signal(libc::SIGKILL);
    running.ended();
    wait_until("all processes have ended", || members(&marker) == 0);
    wait_until("the ring is gone", || !fs::exists(format!("/dev/shm/{ring}")).unwrap());
}

#[test]
fn an_interrupted_test_ends_everything_at_once() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let bench = Bench::new(FAMILY);
        let running = bench.command(&["--keep", "kept"]).spawn();
        let (marker, ring) = started(&bench);
        running.signal(signal);
        running.end().by_signal(signal).saying("interrupted: not all scenarios were run");
        assert_eq!(members(&marker), 0);
        assert!(!fs::exists(format!("/dev/shm/{ring}")).unwrap());
    }
}

#[test]
fn a_run_that_stalls_is_described_before_anything_is_killed() {
    let text = FAMILY.replace("1h", "1s");
    let bench = Bench::new(&text);
    let ended = bench.run(&["--keep", "kept"]).with_code(10);
    assert!(ended.text().contains("not over after 1s, still running: p-1, c-1, x-1"), "{}", ended.text());
    let state = fs::read_to_string(bench.path("kept/scenario/state.txt")).unwrap();
    for part in ["ring jobs:", "geometry", "x-1 (process ", "sleep 1000", "thread ", "sleeping"] {
        assert!(state.contains(part), "{part:?} is missing in {state}");
    }
}

#[test]
fn folders_stay_only_of_runs_that_did_not_pass() {
    let bench = Bench::new("[process.x]\nrun = \"exit 0\"\n");
    bench.run(&[]).succeeds();
    let count = |bench: &Bench| fs::read_dir(bench.folder.path()).unwrap().count();
    assert_eq!(count(&bench), 1, "the scenario alone");
    let bench = Bench::new("[process.x]\nrun = \"echo out; exit 1\"\n");
    let ended = bench.run(&[]).with_code(10);
    let folder =
        ended.lines().into_iter().find_map(|line| line.trim().strip_prefix("output: ")).unwrap().to_string();
    assert_eq!(fs::read_to_string(format!("{folder}/x-1.stdout")).unwrap(), "out\n");
}

#[test]
fn many_scenarios_run_side_by_side() {
    let bench = Bench::new("[process.x]\nrun = \"exec sleep 0.1\"\n");
    for number in 0..20 {
        fs::copy(bench.path("scenario.toml"), bench.path(&format!("s{number}.toml"))).unwrap();
    }
    let ended = crate::support::Run::new(env!("CARGO_BIN_EXE_ringctl"))
        .args(&["test", ".", "--jobs", "10"])
        .env("TMPDIR", bench.folder.path())
        .current_dir(bench.folder.path())
        .run()
        .succeeds();
    assert_eq!(
        ended.lines().iter().filter(|line| line.starts_with("passed")).count(),
        21,
        "{}",
        ended.text()
    );
}

#[test]
fn a_program_that_writes_without_end_ends_the_run_as_a_failure() {
    for (line, stream) in [
        ("exec yes", "standard output"),
        ("exec yes >&2", "standard error"),
        ("exec yes >&3", "the descriptor of its history"),
        // The one that writes is not the one that was started.
        ("yes & exec sleep 1000", "standard output"),
    ] {
        let text = format!(
            "timeout = \"1h\"\n[process.x]\nrun = \"{line}\"\nhistory = {{ fd = 3 }}\noutput-limit = \"1M\"\n\
             [process.other]\nrun = \"exec sleep 1000\"\n[expect]\nlost = 0\n"
        );
        let bench = Bench::new(&text);
        let ended = bench.run(&["--keep", "kept"]).with_code(10);
        let found =
            ended.lines().into_iter().find(|line| line.contains("(output-limit)")).unwrap_or_default();
        assert!(found.contains("x-1 wrote ") && found.contains(" bytes to "), "{}", ended.text());
        assert!(found.contains(&format!("{stream}, expected at most 1048576")), "{}", ended.text());
        assert!(fs::exists(bench.path("kept/scenario/state.txt")).unwrap());
    }
}

#[test]
fn the_limit_of_an_output_counts_while_input_is_generated() {
    let text = "timeout = \"1h\"\n[process.x]\nrun = \"head -c 2000000 /dev/zero; exec sleep 1000\"\noutput-limit = \"1M\"\n\
                [process.z]\nrun = \"cat\"\nstdin = { items = 100_000_000, size = 10 }\n";
    let bench = Bench::new(text);
    let ended = bench.run(&["--keep", "kept"]).with_code(10);
    assert!(ended.text().contains("x-1 wrote "), "{}", ended.text());
    let generated = fs::metadata(bench.path("kept/scenario/z-1.stdin")).unwrap().len();
    assert!(generated < 1_000_000_000, "{generated} bytes of input were made first");
}

#[test]
fn the_limit_of_an_output_counts_while_the_children_of_a_traced_process_run() {
    let text = "[process.x]\nrun = \"yes & true\"\noutput-limit = 0\n\
                [[fault]]\ndo = \"kill\"\non = \"x\"\nat = { syscall = 1, calls = [\"mkdirat\"] }\nmust-strike = false\n";
    super::fails(text, "bytes to standard output, expected at most 0 (output-limit)");
}

#[test]
fn the_limit_of_an_output_counts_to_the_end_and_can_be_lifted() {
    let text =
        |limit: &str| format!("[process.x]\nrun = \"head -c 3000000 /dev/zero\"\noutput-limit = {limit}\n");
    let over = "x-1 wrote 3000000 bytes to standard output, expected at most 2999999";
    super::fails(&text("2999999"), over);
    super::passes(&text("3000000"));
    super::passes(&text("\"none\""));
    let late = "[process.x]\nrun = \"trap 'exec yes' TERM; echo ready; while :; do sleep 0.01; done\"\n\
                ready = { stdout = \"ready\" }\nbackground = true\noutput-limit = \"1M\"\n\
                stop = { grace = \"1h\" }\n[process.y]\nafter = \"x\"\nrun = \"true\"\n";
    super::fails(late, "bytes to standard output, expected at most 1048576 (output-limit)");
}
