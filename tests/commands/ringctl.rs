//! `ringctl`, between real processes.

use std::{
    fs,
    io::Write,
    os::unix::fs::symlink,
    process::{Command, Stdio},
    thread,
};

use crate::support::*;
use nix::sys::signal::Signal;

/// Longer than a pipe takes, so that a consumer without a reader holds it.
fn long_line() -> String {
    "x".repeat(100_000) + "\n"
}

#[test]
fn create_reports_rounding_and_the_ring_is_listed_and_removed() {
    let name = TestName::new("create");
    let ended = ringctl(&["create", &name.name, "--capacity", "1000", "--slot-size", "50", "--mode", "640"]);
    let ended = ended.succeeds();
    assert_eq!(ended.text(), "");
    assert!(ended.stderr.contains("1,000 rounded up to 1,024 slots"), "{ended:?}");
    assert!(ended.stderr.contains("50 rounded up to 56 bytes"), "{ended:?}");
    let seen = name.inspect();
    assert_eq!((&seen["schema"], &seen["mode"]), (&"ringpipe.inspect/1".into(), &"0640".into()));
    assert_eq!((&seen["capacity"], &seen["slot_size"]), (&1024.into(), &56.into()));
    assert_eq!((&seen["timestamps"], &seen["ephemeral"]), (&true.into(), &false.into()));

    let again = ringctl(&["create", &name.name]).with_code(1);
    assert_eq!(again.complaint(), format!("ringctl: ring {:?} exists already", name.name));
    assert!(again.stderr.contains("\nhint: ringctl inspect"), "{again:?}");

    let names = ringctl(&["list", "-n"]).succeeds().into_text();
    assert!(names.lines().any(|line| line == name.name));
    ringctl(&["rm", &name.name]).succeeds();
    assert!(!name.path().exists());
}

#[test]
fn create_describes_the_ring_in_json() {
    let name = TestName::new("create-json").stays();
    let made =
        ringctl(&["create", &name.name, "--capacity=4", "--exclusive", "--no-timestamps", "--json"]).json();
    assert_eq!((&made["schema"], &made["ring"]), (&"ringpipe.create/1".into(), &name.name.as_str().into()));
    assert_eq!((&made["exclusive"], &made["timestamps"]), (&true.into(), &false.into()));
    assert_eq!(made["size"].as_u64().unwrap(), fs::metadata(name.path()).unwrap().len());
    assert_eq!(made["id"], name.inspect()["id"]);
}

#[test]
fn of_a_hundred_processes_that_create_a_ring_one_succeeds() {
    let name = TestName::new("race").stays();
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringctl"));
        command.args(["create", &name.name]).stderr(Stdio::piped());
        Kept::start(&mut command)
    };
    let mut processes: Vec<Kept> = (0..100).map(|_| start()).collect();
    let codes: Vec<_> = processes.iter_mut().map(|process| process.wait().unwrap()).collect();
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == 1).count(), 99, "{codes:?}");
    assert_eq!(name.inspect()["state"], "open");
}

#[test]
fn too_little_shared_memory_is_one_line_with_both_sizes_and_leaves_nothing() {
    let script = "mount -t tmpfs -o size=1m none /dev/shm || exit 99
        \"$0\" create small --capacity 65536; echo \"code $?\"; ls -A /dev/shm";
    let arguments =
        ["--user", "--map-root-user", "--mount", "sh", "-c", script, env!("CARGO_BIN_EXE_ringctl")];
    let mut unshare = Command::new("unshare");
    unshare.args(arguments);
    let ended = run_with(unshare, b"");
    if ended.code == Some(99) || ended.stderr.contains("unshare") {
        return not_tested(&format!("no user namespaces here: {ended:?}"));
    }
    assert_eq!(ended.text(), "code 1\n", "{ended:?}");
    let line = ended.complaint();
    assert!(line.contains("required, 1 MiB available"), "{line}");
    assert!(line.starts_with("ringctl: ring \"small\": not enough shared memory: "), "{line}");
}

#[test]
fn bad_arguments_are_usage_errors() {
    for arguments in [
        &["create"][..],
        &["create", "a/b"],
        &["create", "x", "--capacity", "1"],
        &["create", "x", "--capacity", "0"],
        &["create", "x", "--slot-size", "0"],
        &["create", "x", "--mode", "999"],
        &["create", "x", "--participants", "1"],
        &["create", "x", "--participants", "5", "--exclusive"],
        &["wait", "x"],
        &["wait", "x", "--until", "full"],
        &["wait", "x", "--until", "empty", "--timeout", "5x"],
        &["peek", "x", "-n", "-1"],
        &["list", "extra"],
        &["rm"],
        &["run", "-p", "0"],
        &["run", "--lines", "5", "file"],
        &["frobnicate"],
        &[],
    ] {
        let ended = ringctl(arguments).with_code(2);
        assert!(ended.text().is_empty() && !ended.stderr.is_empty(), "{arguments:?}: {ended:?}");
    }
    let ended = ringctl(&["inspect", "a/b"]).with_code(2);
    assert!(ended.stderr.contains("expected NAME, /NAME or shm:NAME"), "{ended:?}");
}

#[test]
fn a_missing_ring_is_not_found() {
    let missing = TestName::new("missing");
    let name = &missing.name;
    for verb in ["inspect", "peek", "close", "rm", "repair", "requeue"] {
        let ended = ringctl(&[verb, name]).with_code(3);
        assert_eq!(ended.complaint(), format!("ringctl: ring {name:?} does not exist"));
        assert!(ended.stderr.contains("hint: ringctl list"), "{ended:?}");
    }
    ringctl(&["rm", "-f", name]).succeeds();
}

#[test]
fn a_foreign_object_is_refused_left_alone_and_not_listed() {
    let check = |name: &TestName| {
        for arguments in [
            &["inspect", &name.name][..],
            &["peek", &name.name],
            &["close", &name.name],
            &["rm", &name.name],
            &["rm", "-f", &name.name],
            &["repair", &name.name],
            &["requeue", &name.name],
            &["wait", &name.name, "--until", "empty"],
        ] {
            ringctl(arguments).with_code(6);
        }
        assert!(name.path().symlink_metadata().is_ok());
        assert!(!ringctl(&["list"]).succeeds().text().contains(&name.name));
        assert!(!ringctl(&["clean", "--json"]).succeeds().text().contains(&name.name));
    };
    for content in [&b""[..], b"short", &[0; 8192], &[7; 8192]] {
        let name = TestName::new("foreign").stays();
        fs::write(name.path(), content).unwrap();
        check(&name);
        assert_eq!(fs::read(name.path()).unwrap(), content);
    }
    let (fifo, link) = (TestName::new("fifo").stays(), TestName::new("link").stays());
    nix::unistd::mkfifo(&fifo.path(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    check(&fifo);
    symlink("/etc/hostname", link.path()).unwrap();
    check(&link);
}

#[test]
fn a_damaged_ring_is_listed_as_unusable_and_removed_by_force() {
    let name = TestName::ring("damaged", &[]);
    let mut bytes = fs::read(name.path()).unwrap();
    bytes[32] ^= 1; // the capacity
    fs::write(name.path(), &bytes).unwrap();
    let list = ringctl(&["list", "--json"]).succeeds();
    let row = list.json_lines().into_iter().find(|row| row["ring"] == name.name.as_str()).unwrap();
    assert_eq!(row["state"], "unusable");
    assert!(row["error"].as_str().unwrap().contains("damaged"), "{row}");
    assert!(ringctl(&["list"]).succeeds().text().contains("unusable"));
    assert!(ringctl(&["rm", &name.name]).with_code(6).stderr.contains("rm -f"));
    ringctl(&["rm", "-f", &name.name]).succeeds();
    assert!(!name.path().exists());
}

#[test]
fn an_incomplete_ring_of_a_killed_creator_is_removed_by_force_only() {
    let name = TestName::new("half-made");
    let mut bytes = vec![0; 8192];
    bytes[4080..4096].copy_from_slice(b"ringpipe segment");
    fs::write(name.path(), bytes).unwrap();
    ringctl(&["rm", &name.name]).with_code(6);
    assert!(name.path().exists());
    ringctl(&["rm", "-f", &name.name]).succeeds();
    assert!(!name.path().exists());
}

#[test]
fn observing_changes_no_byte() {
    let name = TestName::ring("looking", &[]);
    name.send_lines(&long_line());
    let mut dead = consumer_that_holds(&name);
    name.send_lines("one\ntwo\n");
    dead.kill();
    let before = fs::read(name.path()).unwrap();
    for arguments in [
        &["inspect", &name.name][..],
        &["inspect", &name.name, "--json"],
        &["list"],
        &["list", "--json"],
        &["list", "-n"],
        &["peek", &name.name],
        &["peek", &name.name, "--json"],
        &["wait", &name.name, "--until", "exists"],
        &["clean"],
    ] {
        ringctl(arguments).succeeds();
        assert!(fs::read(name.path()).unwrap() == before, "{arguments:?}");
    }
    for until in ["empty", "closed", "gone", "producers=1"] {
        ringctl(&["wait", &name.name, "--until", until, "--timeout", "20ms"]).with_code(4);
        assert!(fs::read(name.path()).unwrap() == before, "{until}");
    }
}

#[test]
fn peek_shows_the_oldest_items_and_takes_none() {
    let name = TestName::ring("peek", &[]);
    ringctl(&["peek", &name.name]).with_code(3);
    name.send_lines("one\n\nthree\n");
    assert_eq!(ringctl(&["peek", &name.name]).succeeds().into_text(), "one\n\nthree\n");
    assert_eq!(ringctl(&["peek", &name.name, "-n", "1"]).succeeds().into_text(), "one\n");
    assert_eq!(ringctl(&["peek", &name.name, "-0"]).succeeds().into_text(), "one\0\0three\0");
    assert_eq!(ringctl(&["peek", &name.name, "-d", ","]).succeeds().into_text(), "one,,three,");
    let items = ringctl(&["peek", &name.name, "--json"]).succeeds().json_lines();
    assert_eq!(
        items.iter().map(|item| item["text"].as_str().unwrap()).collect::<Vec<_>>(),
        ["one", "", "three"]
    );
    assert_eq!(items.iter().map(|item| item["sequence"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(items[0]["sent_at_ns"].as_u64().unwrap() > 0);
    assert_eq!(name.inspect()["items_waiting"], 3);
}

#[test]
fn peek_and_inspect_show_which_items_have_failed() {
    let name = TestName::ring("failed", &[]);
    name.send_lines("one\ntwo\n");
    let failures = || {
        let items = ringctl(&["peek", &name.name, "--json"]).succeeds().json_lines();
        items.iter().map(|item| item["failures"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!((failures(), name.inspect()["items_waiting_failed"].as_u64()), (vec![0, 0], Some(0)));
    ringctl(&["peek", &name.name]).succeeds().quiet();

    let ring = name.open();
    let mut consumer = ring.consumer().unwrap();
    let first = consumer.recv().unwrap().into_owned();
    let second = consumer.recv().unwrap().into_owned();
    assert_eq!((second.record_failure(), second.record_failure()), (1, 2));
    let key = second.key();
    first.give_back();
    second.give_back();
    drop(consumer);
    assert_eq!((failures(), name.inspect()["items_waiting_failed"].as_u64()), (vec![0, 2], Some(1)));
    let told = ringctl(&["peek", &name.name]).succeeds();
    assert_eq!(told.stderr, format!("ringctl: ring {:?}: item {key} has 2 failures\n", name.name));
    assert_eq!(told.into_text(), "one\ntwo\n");
    let text = ringctl(&["inspect", &name.name]).succeeds().into_text();
    assert!(text.contains("2 items waiting (2 to be delivered again, 1 with failures)"), "{text}");
}

#[test]
fn bytes_that_are_no_text_are_peeked_in_base64() {
    let name = TestName::ring("base64", &[]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_producer"));
    command.args(["--no-create", &name.name]);
    run_with(command, b"\xff\xfe\n").succeeds();
    let item = ringctl(&["peek", &name.name, "--json"]).json();
    assert_eq!((&item["base64"], item.get("text")), (&"//4=".into(), None));
}

#[test]
fn inspect_shows_waiting_participants_and_counters() {
    let name = TestName::ring("inspect", &["--producers", "3"]);
    name.send_lines("1\n22\n");
    let mut producer = idle_producer(&name);
    ringctl(&["wait", &name.name, "--until", "producers=1", "--timeout", "60s"]).succeeds();
    let seen = name.inspect();
    assert_eq!((&seen["items_waiting"], &seen["used_slots"]), (&2.into(), &2.into()));
    assert_eq!((&seen["totals"]["sent"], &seen["totals"]["bytes_sent"]), (&2.into(), &3.into()));
    assert_eq!((&seen["producers_ever"], &seen["producers_expected"]), (&2.into(), &3.into()));
    assert!(seen["oldest_age_ns"].as_u64().unwrap() > 0);
    let one = &seen["participants"][0];
    assert_eq!(one["pid"].as_u64().unwrap(), u64::from(producer.0.id()));
    assert_eq!(
        (&one["role"], &one["command"], &one["state"]),
        (&"producer".into(), &"producer".into(), &"alive".into())
    );

    let text = ringctl(&["inspect", &name.name]).succeeds().into_text();
    for part in
        ["2 items waiting", "head 0, tail 2", "2 producers came (3 expected)", "2 sent (3 B)", "alive"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains('\x1b'));
    producer.kill();
    let coloured = ringctl(&["inspect", &name.name, "--color", "always"]).succeeds().into_text();
    assert!(coloured.contains("\x1b[1;31mdead\x1b[0m"), "{coloured}");
}

#[test]
fn a_suspended_processs_items_are_shown_so_and_repaired_only_after_its_death() {
    let name = TestName::ring("held", &[]);
    name.send_lines(&long_line());
    let mut consumer = consumer_that_holds(&name);
    let pid = u64::from(consumer.0.id());
    consumer.signal(Signal::SIGSTOP);
    wait_until("it counts as stopped", || name.inspect()["participants"][0]["state"] == "stopped");
    let held = &name.inspect()["held"][0];
    assert_eq!((held["pid"].as_u64(), &held["state"]), (Some(pid), &"stopped".into()));
    assert_eq!((&held["doing"], &held["attempt"]), (&"reading".into(), &1.into()));
    assert!(held["slots"].as_u64().unwrap() > 1000 && held["for_ns"].as_u64().unwrap() > 0, "{held}");
    assert_eq!(
        ringctl(&["repair", &name.name]).succeeds().into_text(),
        format!("{}: nothing to fix\n", name.name)
    );

    consumer.kill();
    wait_until("it counts as dead", || name.inspect()["held"][0]["state"] == "dead");
    let text = ringctl(&["inspect", &name.name]).succeeds().into_text();
    assert!(text.contains(&format!("ringctl repair {}", name.name)), "{text}");
    let fixed = ringctl(&["repair", &name.name, "--json"]).json();
    assert_eq!((&fixed["participants_freed"], &fixed["items_returned"]), (&1.into(), &1.into()));
    assert_eq!((fixed["dead"][0]["pid"].as_u64(), &fixed["writes_given_up"]), (Some(pid), &0.into()));
    let seen = name.inspect();
    assert_eq!((&seen["items_waiting_again"], &seen["participants"]), (&1.into(), &serde_json::json!([])));
    assert_eq!(ringctl(&["peek", &name.name]).succeeds().into_text(), long_line());
    assert!(ringctl(&["repair", &name.name]).succeeds().text().contains("nothing to fix"));
}

#[test]
fn repair_lists_the_processes_it_recovered() {
    let name = TestName::ring("recovered", &[]);
    let mut producer = idle_producer(&name);
    ringctl(&["wait", &name.name, "--until", "producers=1", "--timeout", "60s"]).succeeds();
    producer.kill();
    let text = ringctl(&["repair", &name.name]).succeeds().into_text();
    let dead = format!("producer 0 was dead (process {}, producer)", producer.0.id());
    // The number depends on the order of coming; the first has serial 0 and takes number 0.
    assert!(text.contains(&dead), "{text}");
    assert!(text.contains("1 participant freed, 0 half-written items given up, 0 items returned"), "{text}");
}

#[test]
fn a_closed_ring_takes_no_more_and_says_so() {
    let name = TestName::ring("close", &[]);
    ringctl(&["close", &name.name]).succeeds();
    let again = ringctl(&["close", &name.name]).succeeds();
    assert!(again.stderr.contains("was closed already"), "{again:?}");
    assert_eq!(ringctl(&["close", &name.name, "--json"]).json()["changed"], false);
    assert_eq!(name.inspect()["state"], "closed");
    let mut producer = Command::new(env!("CARGO_BIN_EXE_producer"));
    producer.args(["--no-create", &name.name]);
    run_with(producer, b"late\n").with_code(5);
}

#[test]
fn rm_continues_after_a_failure() {
    let (one, two, missing) = (TestName::ring("rm", &[]), TestName::ring("rm", &[]), TestName::new("rm"));
    let ended = ringctl(&["rm", "--json", &one.name, &missing.name, &two.name]).with_code(3);
    assert_eq!(ended.json_lines().len(), 2);
    assert!(!one.path().exists() && !two.path().exists());
}

#[test]
fn clean_lists_first_and_removes_only_deserted_rings() {
    let (deserted, with_items, lived_in) =
        (TestName::ring("clean", &[]), TestName::ring("clean", &[]), TestName::ring("clean", &[]));
    with_items.send_lines("left\nbehind\n");
    let _alive = idle_producer(&lived_in);
    ringctl(&["wait", &lived_in.name, "--until", "producers=1", "--timeout", "60s"]).succeeds();
    // Other tests have rings of their own: --yes runs where there are none but these.
    let row = |ended: &Ended, name: &TestName| {
        ended.json_lines().into_iter().find(|row| row["ring"] == name.name.as_str())
    };
    let listed = ringctl(&["clean", "--json"]).succeeds();
    assert_eq!(row(&listed, &deserted).unwrap()["action"], "would-remove");
    let kept = row(&listed, &with_items).unwrap();
    assert_eq!((&kept["action"], &kept["items"]), (&"kept".into(), &2.into()));
    assert!(row(&listed, &lived_in).is_none());
    let text = ringctl(&["clean"]).succeeds();
    assert!(text.text().contains("has 2 items; --with-items"), "{text:?}");
    assert!(text.stderr.contains("nothing was removed"), "{text:?}");
    assert!(deserted.path().exists());
}

#[test]
fn clean_removes_deserted_rings_in_a_private_shared_memory_directory() {
    let script = "mount -t tmpfs -o size=16m none /dev/shm || exit 99
        set -e; r() { \"$0\" \"$@\"; }
        r create empty; r create full; echo item | \"$1\" --no-create full
        r create lived; sleep 30 | \"$1\" --no-create lived & r wait lived --until producers=1 --timeout 20s
        head -c 8192 /dev/zero > /dev/shm/foreign
        r clean; echo --; r clean --yes; echo --; r list -n; echo --; r clean --yes --with-items; echo --
        ls /dev/shm; kill %1; wait; r rm lived";
    let mut unshare = Command::new("unshare");
    unshare.args([
        "--user",
        "--map-root-user",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "bash",
        "-c",
        script,
    ]);
    unshare.args([env!("CARGO_BIN_EXE_ringctl"), env!("CARGO_BIN_EXE_producer")]);
    let ended = run_with(unshare, b"");
    if ended.code == Some(99) || ended.stderr.contains("unshare") {
        return not_tested(&format!("no user namespaces here: {ended:?}"));
    }
    let parts: Vec<&str> = ended.text().split("--\n").collect();
    let [dry, empty, names, rest, files] = parts[..] else { panic!("{ended:?}") };
    assert!(dry.contains("would-remove") && !dry.contains(" removed"), "{dry}");
    assert!(empty.contains("removed") && empty.contains("kept"), "{empty}");
    assert_eq!(names, "full\nlived\n");
    assert!(rest.contains("removed") && rest.contains("has 1 item"), "{rest}");
    assert_eq!(files, "foreign\nlived\n");
}

#[test]
fn wait_ends_when_its_condition_comes_true() {
    let name = TestName::new("wait");
    let waiting = |until: &'static str| {
        let name = name.name.clone();
        thread::spawn(move || {
            ringctl(&["wait", &name, "--until", until, "--timeout", "60s", "--json"]).json()
        })
    };
    let reached = |thread: thread::JoinHandle<serde_json::Value>| {
        let waited = thread.join().unwrap();
        assert_eq!((&waited["schema"], &waited["reached"]), (&"ringpipe.wait/1".into(), &true.into()));
    };
    ringctl(&["wait", &name.name, "--until", "gone"]).succeeds();
    let (exists, producers) = (waiting("exists"), waiting("producers=2"));
    ringctl(&["create", &name.name]).succeeds();
    reached(exists);
    let mut producer = idle_producer(&name);
    let mut other = idle_producer(&name);
    reached(producers);
    let fewer = waiting("producers=1");
    other.kill();
    reached(fewer);

    writeln!(producer.0.stdin.take().unwrap(), "item").unwrap();
    producer.wait();
    ringctl(&["wait", &name.name, "--until", "empty", "--timeout", "20ms"]).with_code(4);
    // One item waits: the first condition holds, the second does not.
    reached(waiting("items=1"));
    let (two, mut third) = (waiting("items=2"), idle_producer(&name));
    writeln!(third.0.stdin.take().unwrap(), "another").unwrap();
    third.wait();
    reached(two);
    ringctl(&["wait", &name.name, "--until", "items=3", "--timeout", "20ms"]).with_code(4);
    let (empty, consumers) = (waiting("empty"), waiting("consumers=1+"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_consumer"));
    let _consumer = Kept::start(command.args(["--follow", &name.name]).stdout(Stdio::null()));
    reached(consumers);
    reached(empty);

    let (closed, gone) = (waiting("closed"), waiting("gone"));
    ringctl(&["close", &name.name]).succeeds();
    reached(closed);
    ringctl(&["rm", &name.name]).succeeds();
    reached(gone);
}

#[test]
fn a_wait_that_times_out_names_the_unmet_condition() {
    let name = TestName::new("timeout");
    let ended =
        ringctl(&["wait", &name.name, "--until", "producers=3+", "--timeout", "30ms", "--json"]).with_code(4);
    assert_eq!(ended.complaint(), format!("ringctl: ring {:?}: not producers=3+ after 30ms", name.name));
    assert_eq!(ended.json_lines()[0]["reached"], false);
}

#[test]
fn an_abandoned_or_full_output_is_no_panic() {
    let name = TestName::ring("stdout", &[]);
    let bash = |script: String| {
        let mut command = Command::new("bash");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_ringctl")]);
        run_with(command, b"")
    };
    name.send_lines(&"line\n".repeat(5000));
    for verb in ["list", "list --json", "inspect NAME", "peek NAME -n 5000", "repair NAME", "clean", "--help"]
    {
        let verb = verb.replace("NAME", &name.name);
        bash(format!("\"$0\" {verb} | head -c 0; exit ${{PIPESTATUS[0]}}")).succeeds();
        let full = bash(format!("\"$0\" {verb} > /dev/full")).with_code(1);
        assert!(full.complaint().contains("No space left"), "{verb}: {full:?}");
    }
}

#[test]
fn help_names_examples_and_exit_codes() {
    for verb in [
        "create", "list", "inspect", "peek", "close", "rm", "repair", "requeue", "clean", "wait", "run",
        "bench",
    ] {
        let help = ringctl(&[verb, "--help"]).succeeds().into_text();
        assert!(help.contains("Examples:") && help.contains("Exit codes:"), "{verb}: {help}");
    }
}

#[test]
fn a_damaged_ring_is_one_line_and_a_hint_how_to_remove_it() {
    let name = TestName::ring("damaged-hint", &[]);
    let file = fs::OpenOptions::new().write(true).open(name.path()).unwrap();
    file.set_len(64 * 1024).unwrap();
    let ended = ringctl(&["inspect", &name.name]).with_code(6);
    assert!(ended.complaint().contains("it has 65536 bytes"), "{ended:?}");
    assert!(ended.stderr.contains("\nhint: ringctl rm -f"), "{ended:?}");
    ringctl(&["rm", "-f", &name.name]).succeeds();
}

#[test]
fn rm_says_how_many_items_are_discarded() {
    let said =
        |name: &TestName, options: &[&str]| ringctl(&[&["rm", &name.name], options].concat()).succeeds();
    let empty = TestName::ring("rm-empty", &[]);
    assert_eq!(said(&empty, &[]).stderr, "");
    for (lines, text) in [("a\n", "1 item discarded"), ("a\nb\nc\n", "3 items discarded")] {
        let name = TestName::ring("rm-items", &[]);
        name.send_lines(lines);
        let ended = said(&name, &[]);
        assert_eq!(ended.stderr, format!("ringctl: ring {:?}: {text}\n", name.name));
        assert_eq!(ended.text(), "");
    }
    let discarded = |name: &TestName, options: &[&str]| {
        said(name, &[&["--json"], options].concat()).json()["discarded"].clone()
    };
    assert_eq!(discarded(&TestName::ring("rm-json", &[]), &[]), 0);
    // What a dead consumer held is one of them, and what a live one may still receive is none.
    let name = TestName::ring("rm-held", &[]);
    name.send_lines("a\nb\n");
    let ring = ringpipe::Ring::open(&name.name).unwrap();
    let mut dead = ring.consumer().unwrap();
    std::mem::forget(dead.recv().unwrap());
    drop(dead);
    assert_eq!(discarded(&name, &[]), 2);
    let name = TestName::ring("rm-live", &[]);
    name.send_lines("a\nb\n");
    let _live = ringpipe::Ring::open(&name.name).unwrap().consumer().unwrap();
    assert_eq!(discarded(&name, &[]), 0);
    // What a damaged one had is not known.
    let name = TestName::ring("rm-damaged", &[]);
    fs::File::options().write(true).open(name.path()).unwrap().set_len(4096).unwrap();
    assert_eq!(discarded(&name, &["-f"]), serde_json::Value::Null);
    assert_eq!(discarded(&TestName::new("rm-none"), &["-f"]), 0);
}

/// Names of the shells that are installed.
fn shells() -> impl Iterator<Item = (&'static str, bool)> {
    let has =
        |shell: &str| Command::new(shell).args(["-c", "exit"]).status().is_ok_and(|status| status.success());
    ["bash", "zsh", "fish"].into_iter().map(move |shell| (shell, has(shell)))
}

#[test]
fn completions_of_each_program_parse_in_each_installed_shell() {
    for (shell, is_installed) in shells() {
        let all = ringctl(&["completions", shell]).succeeds().into_text();
        for option in ["until-consumers-gone", "idle-exit", "wake-at"] {
            assert!(all.contains(option), "{shell}: no {option}");
        }
        assert!(all.contains("adaptive") && !all.contains("bench-worker"), "{shell}");
        let programs = ["ringctl", "producer", "consumer"];
        let parts = programs.map(|program| ringctl(&["completions", shell, program]).succeeds().into_text());
        assert_eq!(parts.concat(), all, "{shell}: the scripts in a row are the whole");
        println!("{shell}: {}", if is_installed { "parsed" } else { "not installed" });
        if is_installed {
            let mut command = Command::new(shell);
            command.arg(if shell == "fish" { "--no-execute" } else { "-n" });
            let ended = run_with(command, all.as_bytes()).succeeds();
            assert_eq!(ended.stderr, "", "{shell}");
        }
    }
}

#[test]
fn bash_completes_verbs_options_and_values() {
    let script = ringctl(&["completions", "bash"]).succeeds().into_text();
    let complete = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let (program, [.., before, last]) = (words[0], &words[..]) else { panic!("{line} has two words") };
        let text = format!(
            "{script}\nCOMP_WORDS=({line}); COMP_CWORD={}; _{program} {program} {last} {before}\n\
             printf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
            words.len() - 1,
        );
        run_with(Command::new("bash"), text.as_bytes()).succeeds().into_text()
    };
    assert_eq!(complete("ringctl ins"), "inspect\n");
    assert_eq!(complete("ringctl wait --un"), "--until\n");
    assert_eq!(complete("consumer --idle"), "--idle-exit\n");
    assert_eq!(complete("producer --on-full drop-o"), "drop-oldest\n");
}

#[test]
fn man_writes_a_page_for_each_program_and_each_verb() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("new/man1");
    ringctl(&["man", pages.to_str().unwrap()]).succeeds();
    let mut expected: Vec<String> =
        ["ringctl", "producer", "consumer"].map(|name| format!("{name}.1")).into();
    for verbs in [&[][..], &["sem"]] {
        let help = ringctl(&[verbs, &["--help"]].concat()).succeeds().into_text();
        let listed = help.split("Commands:\n").nth(1).unwrap().lines().take_while(|line| !line.is_empty());
        let names =
            listed.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
        let path = |verb| [&["ringctl"], verbs, &[verb]].concat().join("-") + ".1";
        expected.extend(names.filter(|verb| *verb != "help").map(path));
    }
    let mut written: Vec<String> =
        fs::read_dir(&pages).unwrap().map(|page| page.unwrap().file_name().into_string().unwrap()).collect();
    expected.sort_unstable();
    written.sort_unstable();
    assert_eq!(written, expected);
    let has_groff = Command::new("groff").arg("--version").output().is_ok_and(|ended| ended.status.success());
    for page in &written {
        let text = fs::read_to_string(pages.join(page)).unwrap();
        for part in [".TH ", ".SH NAME", ".SH SYNOPSIS", "EXIT CODES"] {
            // The verbs of `sem` have their codes in its page.
            let is_elsewhere = part == "EXIT CODES" && page.starts_with("ringctl-sem-");
            assert!(text.contains(part) || is_elsewhere, "{page} has no {part}:\n{text}");
        }
        if has_groff {
            let mut command = Command::new("groff");
            command.args(["-man", "-Tutf8", "-ww", "-z"]).arg(pages.join(page));
            assert_eq!(run_with(command, b"").succeeds().stderr, "", "{page}");
        }
    }
}
