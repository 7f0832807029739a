//! `ringctl bench`: figures of this machine. Their values are not checked here, only that they are there.

use std::{
    fs,
    process::{Command, Stdio},
};

use crate::support::*;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use ringpipe::{Discipline, Ring, Role};
use serde_json::Value;

/// A long measurement of two senders and a receiver, under way.
fn under_way() -> (Kept, String, Vec<u32>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringctl"));
    command.args(["bench", "--only=throughput", "--size=64", "-p2", "-c1", "--seconds=60", "--rounds=1"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let process = Kept::start(&mut command);
    let pid = process.0.id();
    wait_until("the bench has its ring", || !rings_of("bench", pid).is_empty());
    let ring = rings_of("bench", pid).remove(0);
    wait_until("the bench has sent an item", || {
        Ring::open(&ring).unwrap().snapshot().is_ok_and(|seen| seen.ready > 0)
    });
    (process, ring, children_of(pid))
}

/// Runs it, and sees that it leaves nothing.
fn bench(arguments: &[&str]) -> Ended {
    let running = Run::new(env!("CARGO_BIN_EXE_ringctl")).arg("bench").args(arguments).spawn();
    let pid = running.pid() as u32;
    let ended = running.end();
    assert_eq!(rings_of("bench", pid), [""; 0]);
    ended
}

/// Every number in a figure, with its name.
fn numbers(value: &Value, name: &str, found: &mut Vec<(String, f64)>) {
    match value {
        Value::Number(number) => found.push((name.into(), number.as_f64().unwrap())),
        Value::Object(fields) => {
            fields.iter().for_each(|(field, value)| numbers(value, &format!("{name}.{field}"), found));
        }
        _ => {}
    }
}

#[test]
fn every_kind_gives_figures_in_json() {
    let ended = bench(&["--seconds", "0.01", "--rounds", "2", "--json"]).succeeds();
    let lines = ended.json_lines();
    let mut kinds: Vec<&str> = lines.iter().map(|line| line["kind"].as_str().unwrap()).collect();
    kinds.dedup();
    assert_eq!(kinds, ["machine", "throughput", "latency", "idle", "recovery", "start"]);
    for line in &lines {
        assert_eq!(line["schema"], "ringpipe.bench/1");
        let mut found = Vec::new();
        numbers(line, "", &mut found);
        // Waiting may cost nothing.
        let free = |name: &str| name == ".cpu_percent" || name == ".wakeups_per_second";
        assert!(found.iter().all(|(name, number)| *number > 0.0 || free(name)), "{line}");
    }
    let of = |kind: &'static str| lines.iter().filter(move |line| line["kind"] == kind);
    assert!(
        !lines[0]["cpu"].as_str().unwrap().is_empty() && !lines[0]["kernel"].as_str().unwrap().is_empty()
    );
    // Four sizes, on two rings, in two ways; and two of each on one ring, in two ways.
    assert_eq!(of("throughput").count(), 4 * 2 * 2 + 2);
    assert_eq!(of("throughput").filter(|line| line["producers"] == 2 && line["consumers"] == 2).count(), 2);
    // Awake and asleep, on two rings.
    assert_eq!(of("latency").count(), 4);
    for line in of("latency") {
        assert!(line["p50_ns"]["median"].as_f64() <= line["p99_ns"]["median"].as_f64(), "{line}");
    }
}

#[test]
fn only_what_is_asked_for_is_measured_and_the_text_names_the_machine() {
    let ended = bench(&[
        "--only",
        "throughput",
        "--seconds",
        "0.01",
        "--rounds",
        "1",
        "--size",
        "100",
        "-p",
        "3",
        "-c",
        "2",
        "--no-pin",
    ])
    .succeeds();
    assert!(ended.stderr.is_empty(), "no progress but on a terminal: {ended:?}");
    let lines: Vec<&str> = ended.text().lines().collect();
    assert!(lines[0].starts_with("ringpipe ") && lines[0].contains("Linux"), "{ended:?}");
    assert!(lines[1].starts_with("not pinned"), "{ended:?}");
    let rows: Vec<&&str> = lines.iter().filter(|line| line.trim_start().starts_with("3 x 2")).collect();
    assert!(rows.len() == 1 && rows[0].contains("100 B") && rows[0].contains("for many"), "{ended:?}");
    assert!(!ended.text().contains("Round trip"), "{ended:?}");
}

#[test]
fn large_messages_are_measured_too() {
    let ended = bench(&["--only=throughput", "--size=8M", "--seconds=0.01", "--rounds=1", "--json"]);
    assert_eq!(ended.succeeds().json_lines().len(), 1 + 2 * 2 + 2);
}

#[test]
fn disciplines_are_compared_with_what_a_message_costs_under_each() {
    let ended = bench(&["--sync", "all", "--rounds", "1", "--seconds", "0.01", "--json"]).succeeds();
    let lines = ended.json_lines();
    assert!(lines[1..].iter().all(|line| line["kind"] == "sync" && line["schema"] == "ringpipe.bench/1"));
    let refused = ended.stderr.contains("tracing is refused");
    for discipline in Discipline::ALL {
        let discipline = discipline.name();
        let of = |work: &'static str| {
            lines.iter().filter(move |line| line["work"] == work && line["discipline"] == discipline)
        };
        // Two rings, and two of each on one of them; one at a time, and in batches.
        assert_eq!(of("stream").count(), 3 * 2);
        for line in of("stream") {
            assert!(line["messages_per_second"]["median"].as_f64().unwrap() > 0.0, "{line}");
            let cost = &line["per_message"];
            assert!(cost["cpu_ns"]["median"].as_f64().unwrap() > 0.0, "{line}");
            for switches in ["voluntary_switches", "involuntary_switches"] {
                assert!(cost[switches]["median"].as_f64().unwrap() >= 0.0, "{line}");
            }
            assert!(if refused { cost["system_calls"].is_null() } else { cost["system_calls"].is_number() });
        }
        assert_eq!(of("round trip").count(), 2);
        for line in of("round trip") {
            assert!(line["p50_ns"]["median"].as_f64().unwrap() > 0.0, "{line}");
            // The asking process pauses: the other one has gone to sleep, or has given its processor away.
            let calls = &line["per_round_trip"]["system_calls"];
            assert!(if refused { calls.is_null() } else { calls.as_f64().unwrap() > 0.0 }, "{line}");
        }
        assert_eq!(of("wait").count(), 1);
    }
    // While both sides are busy, it sleeps now and then.
    let busy = lines.iter().filter(|line| line["work"] == "stream" && line["discipline"] == "adaptive");
    for line in busy {
        let calls = &line["per_message"]["system_calls"];
        assert!(refused || calls.as_f64().unwrap() < 1.0, "{line}");
    }
}

#[test]
fn the_chosen_disciplines_are_drawn_in_the_terminal_and_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plot.svg");
    let file = file.to_str().unwrap();
    let quick = ["--rounds=1", "--seconds=0.01", "-p1", "-c2", "--sync", "monitor,semaphore"];
    let ended = bench(&[&quick[..], &["--plot", file]].concat()).succeeds();
    for text in [ended.text(), &fs::read_to_string(file).unwrap()] {
        for group in ["Messages a second", "Processor time", "Context switches", "System calls", "Cores"] {
            assert!(text.contains(group), "{group}: {text}");
        }
        assert!(text.contains("semaphore") && text.contains("monitor") && text.contains("1 x 2"), "{text}");
        assert!(!text.contains("adaptive") && !text.contains("polling"), "{text}");
    }
    assert!(ended.text().contains("traced"), "{ended:?}");
    assert!(!ended.text().contains("Throughput"), "only what was asked for: {ended:?}");
    let nowhere = format!("{file}/plot.svg");
    let ended = bench(&[&quick[..], &["--plot", &nowhere]].concat()).with_code(1);
    assert!(ended.stderr.contains("plot.svg: Not a directory") && ended.text().is_empty(), "{ended:?}");
}

#[test]
fn bars_are_plain_ascii_in_a_locale_without_utf8() {
    for (locale, signs) in [("C", '#'), ("en_US.UTF-8", '█')] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringctl"));
        command.args(["bench", "--sync=adaptive", "--rounds=1", "--seconds=0.01", "-p1", "-c2"]);
        command.env("LC_ALL", locale);
        let ended = run_with(command, b"").succeeds();
        assert!(ended.text().contains(signs), "{ended:?}");
        assert_eq!(ended.text().contains(['█', '▌', '▏']), signs == '█', "{ended:?}");
    }
}

#[test]
fn bad_options_are_usage_errors() {
    for (arguments, expected) in [
        (["--size", "7"], "8 bytes to 16M"),
        (["--size", "17M"], "8 bytes to 16M"),
        (["--size", "big"], "this is not a size"),
        (["--seconds", "0"], "0.001 to 3600"),
        (["--seconds", "nan"], "0.001 to 3600"),
        (["--rounds", "0"], "1..=1000"),
        (["--only", "speed"], "speed"),
        (["-p", "0"], "1..=64"),
        (["-c", "65"], "1..=64"),
        (["--sync", "busy"], "adaptive, semaphore, polling, monitor or all"),
        (["--sync", "adaptive,"], "adaptive, semaphore, polling, monitor or all"),
        (["--plot", "plot.svg"], "--sync"),
        (["--sync=all", "--plot=plot.png"], "ends in .svg"),
        (["--json", "ring"], "unexpected argument"),
    ] {
        let ended = bench(&arguments).with_code(2);
        assert!(ended.stderr.contains(expected) && ended.text().is_empty(), "{ended:?}");
    }
}

#[test]
fn an_interrupted_bench_ends_by_its_signal_and_leaves_nothing() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let (mut process, ring, workers) = under_way();
        process.signal(signal);
        assert_eq!(process.wait(), None);
        assert_eq!(rings_of("bench", process.0.id()), [""; 0], "{ring}");
        assert!(!workers.iter().any(|worker| is_running(*worker)));
    }
}

#[test]
fn a_killed_worker_fails_the_bench_and_nothing_is_left() {
    for victim in [0, 2] {
        let (mut process, _, workers) = under_way();
        assert_eq!(workers.len(), 3);
        kill(Pid::from_raw(workers[victim] as i32), Signal::SIGKILL).unwrap();
        assert_eq!(process.wait(), Some(1));
        assert_eq!(rings_of("bench", process.0.id()), [""; 0]);
        wait_until("the workers have ended", || !workers.iter().any(|worker| is_running(*worker)));
    }
}

#[test]
fn a_killed_bench_leaves_no_process_behind() {
    let (mut process, ring, workers) = under_way();
    process.kill();
    wait_until("the workers have ended", || !workers.iter().any(|worker| is_running(*worker)));
    // The ring has no participant any more: `ringctl clean --yes` would remove it.
    ringctl(&["rm", &ring]).succeeds();
}

#[test]
fn an_unexpected_message_is_detected() {
    let (mut process, ring, _) = under_way();
    let ring = Ring::open(&ring).unwrap();
    assert_eq!(ring.participants().iter().filter(|one| one.role == Role::Producer).count(), 2);
    ring.producer().unwrap().send(b"an unexpected message").unwrap();
    assert_eq!(process.wait(), Some(10));
    assert_eq!(rings_of("bench", process.0.id()), [""; 0]);
}
