//! `ringctl`, between real processes.

mod ctl_support;

use std::{
    fs,
    io::Write,
    os::unix::fs::symlink,
    process::{Command, Stdio},
    thread,
};

use ctl_support::*;
use nix::sys::signal::Signal;

/// Longer than a pipe takes, so that a consumer that nobody reads holds it.
fn long_line() -> String {
    "x".repeat(100_000) + "\n"
}

#[test]
fn a_created_ring_says_how_it_was_rounded_and_is_listed_and_removed() {
    let name = Name::new("create");
    let ended = ringctl(&["create", &name.0, "--capacity", "1000", "--slot-size", "50", "--mode", "640"]);
    let ended = ended.succeeds();
    assert_eq!(ended.stdout, "");
    assert!(ended.stderr.contains("1,000 rounded up to 1,024 slots"), "{ended:?}");
    assert!(ended.stderr.contains("50 rounded up to 56 bytes"), "{ended:?}");
    let seen = name.inspect();
    assert_eq!((&seen["schema"], &seen["mode"]), (&"ringpipe.inspect/1".into(), &"0640".into()));
    assert_eq!((&seen["capacity"], &seen["slot_size"]), (&1024.into(), &56.into()));
    assert_eq!((&seen["timestamps"], &seen["ephemeral"]), (&true.into(), &false.into()));

    let again = ringctl(&["create", &name.0]).ends_with(1);
    assert_eq!(again.complaint(), format!("ringctl: ring {:?} exists already", name.0));
    assert!(again.stderr.contains("\nhint: ringctl inspect"), "{again:?}");

    let names = ringctl(&["list", "-n"]).succeeds().stdout;
    assert!(names.lines().any(|line| line == name.0));
    ringctl(&["rm", &name.0]).succeeds();
    assert!(!name.path().exists());
}

#[test]
fn create_tells_in_json_what_it_made() {
    let name = Name::new("create-json");
    let made =
        ringctl(&["create", &name.0, "--capacity=4", "--exclusive", "--no-timestamps", "--json"]).json();
    assert_eq!((&made["schema"], &made["ring"]), (&"ringpipe.create/1".into(), &name.0.as_str().into()));
    assert_eq!((&made["exclusive"], &made["timestamps"]), (&true.into(), &false.into()));
    assert_eq!(made["size"].as_u64().unwrap(), fs::metadata(name.path()).unwrap().len());
    assert_eq!(made["id"], name.inspect()["id"]);
}

#[test]
fn of_a_hundred_processes_that_create_a_ring_one_succeeds() {
    let name = Name::new("race");
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringctl"));
        command.args(["create", &name.0]).stderr(Stdio::piped());
        Process(command.spawn().unwrap())
    };
    let mut processes: Vec<Process> = (0..100).map(|_| start()).collect();
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
        return eprintln!("not tested, no user namespaces here: {ended:?}");
    }
    assert_eq!(ended.stdout, "code 1\n", "{ended:?}");
    let line = ended.complaint();
    assert!(line.contains("bytes required, 1048576 available"), "{line}");
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
        &["wait", "x", "--until", "empty", "--timeout", "5"],
        &["peek", "x", "-n", "-1"],
        &["list", "extra"],
        &["rm"],
        &["run", "-p", "0"],
        &["run", "--lines", "5", "file"],
        &["frobnicate"],
        &[],
    ] {
        let ended = ringctl(arguments).ends_with(2);
        assert!(ended.stdout.is_empty() && !ended.stderr.is_empty(), "{arguments:?}: {ended:?}");
    }
    let ended = ringctl(&["inspect", "a/b"]).ends_with(2);
    assert!(ended.stderr.contains("expected NAME, /NAME or shm:NAME"), "{ended:?}");
}

#[test]
fn a_missing_ring_is_not_found() {
    let missing = Name::new("missing");
    let name = &missing.0;
    for verb in ["inspect", "peek", "close", "rm", "repair"] {
        let ended = ringctl(&[verb, name]).ends_with(3);
        assert_eq!(ended.complaint(), format!("ringctl: ring {name:?} does not exist"));
        assert!(ended.stderr.contains("hint: ringctl list"), "{ended:?}");
    }
    ringctl(&["rm", "-f", name]).succeeds();
}

#[test]
fn a_foreign_object_is_refused_left_alone_and_not_listed() {
    let check = |name: &Name| {
        for arguments in [
            &["inspect", &name.0][..],
            &["peek", &name.0],
            &["close", &name.0],
            &["rm", &name.0],
            &["rm", "-f", &name.0],
            &["repair", &name.0],
            &["wait", &name.0, "--until", "empty"],
        ] {
            ringctl(arguments).ends_with(6);
        }
        assert!(name.path().symlink_metadata().is_ok());
        assert!(!ringctl(&["list"]).succeeds().stdout.contains(&name.0));
        assert!(!ringctl(&["clean", "--json"]).succeeds().stdout.contains(&name.0));
    };
    for content in [&b""[..], b"short", &[0; 8192], &[7; 8192]] {
        let name = Name::new("foreign");
        fs::write(name.path(), content).unwrap();
        check(&name);
        assert_eq!(fs::read(name.path()).unwrap(), content);
    }
    let (fifo, link) = (Name::new("fifo"), Name::new("link"));
    nix::unistd::mkfifo(&fifo.path(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    check(&fifo);
    symlink("/etc/hostname", link.path()).unwrap();
    check(&link);
}

#[test]
fn a_damaged_ring_is_listed_as_unusable_and_removed_by_force() {
    let name = Name::ring("damaged", &[]);
    let mut bytes = fs::read(name.path()).unwrap();
    bytes[32] ^= 1; // the capacity
    fs::write(name.path(), &bytes).unwrap();
    let list = ringctl(&["list", "--json"]).succeeds();
    let row = list.json_lines().into_iter().find(|row| row["ring"] == name.0.as_str()).unwrap();
    assert_eq!(row["state"], "unusable");
    assert!(row["error"].as_str().unwrap().contains("damaged"), "{row}");
    assert!(ringctl(&["list"]).succeeds().stdout.contains("unusable"));
    assert!(ringctl(&["rm", &name.0]).ends_with(6).stderr.contains("rm -f"));
    ringctl(&["rm", "-f", &name.0]).succeeds();
    assert!(!name.path().exists());
}

#[test]
fn what_a_creator_left_that_died_halfway_is_removed_by_force_only() {
    let name = Name::new("half-made");
    let mut bytes = vec![0; 8192];
    bytes[4080..4096].copy_from_slice(b"ringpipe segment");
    fs::write(name.path(), bytes).unwrap();
    ringctl(&["rm", &name.0]).ends_with(6);
    assert!(name.path().exists());
    ringctl(&["rm", "-f", &name.0]).succeeds();
    assert!(!name.path().exists());
}

#[test]
fn looking_changes_no_byte() {
    let name = Name::ring("looking", &[]);
    name.send(&long_line());
    let mut dead = consumer_that_holds(&name);
    name.send("one\ntwo\n");
    dead.kill();
    let before = fs::read(name.path()).unwrap();
    for arguments in [
        &["inspect", &name.0][..],
        &["inspect", &name.0, "--json"],
        &["list"],
        &["list", "--json"],
        &["list", "-n"],
        &["peek", &name.0],
        &["peek", &name.0, "--json"],
        &["wait", &name.0, "--until", "exists"],
        &["clean"],
    ] {
        ringctl(arguments).succeeds();
        assert!(fs::read(name.path()).unwrap() == before, "{arguments:?}");
    }
    for until in ["empty", "closed", "gone", "producers=1"] {
        ringctl(&["wait", &name.0, "--until", until, "--timeout", "20ms"]).ends_with(4);
        assert!(fs::read(name.path()).unwrap() == before, "{until}");
    }
}

#[test]
fn peek_shows_the_oldest_items_and_takes_none() {
    let name = Name::ring("peek", &[]);
    ringctl(&["peek", &name.0]).ends_with(3);
    name.send("one\n\nthree\n");
    assert_eq!(ringctl(&["peek", &name.0]).succeeds().stdout, "one\n\nthree\n");
    assert_eq!(ringctl(&["peek", &name.0, "-n", "1"]).succeeds().stdout, "one\n");
    assert_eq!(ringctl(&["peek", &name.0, "-0"]).succeeds().stdout, "one\0\0three\0");
    assert_eq!(ringctl(&["peek", &name.0, "-d", ","]).succeeds().stdout, "one,,three,");
    let items = ringctl(&["peek", &name.0, "--json"]).succeeds().json_lines();
    assert_eq!(
        items.iter().map(|item| item["text"].as_str().unwrap()).collect::<Vec<_>>(),
        ["one", "", "three"]
    );
    assert_eq!(items.iter().map(|item| item["sequence"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(items[0]["sent_at_ns"].as_u64().unwrap() > 0);
    assert_eq!(name.inspect()["items_waiting"], 3);
}

#[test]
fn bytes_that_are_no_text_are_peeked_in_base64() {
    let name = Name::ring("base64", &[]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_producer"));
    command.args(["--no-create", &name.0]);
    run_with(command, b"\xff\xfe\n").succeeds();
    let item = ringctl(&["peek", &name.0, "--json"]).json();
    assert_eq!((&item["base64"], item.get("text")), (&"//4=".into(), None));
}

#[test]
fn inspect_shows_who_waits_and_what_was_counted() {
    let name = Name::ring("inspect", &["--producers", "3"]);
    name.send("1\n22\n");
    let mut producer = idle_producer(&name);
    ringctl(&["wait", &name.0, "--until", "producers=1", "--timeout", "60s"]).succeeds();
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

    let text = ringctl(&["inspect", &name.0]).succeeds().stdout;
    for part in
        ["2 items waiting", "head 0, tail 2", "2 producers came (3 expected)", "2 sent (3 B)", "alive"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains('\x1b'));
    producer.kill();
    let coloured = ringctl(&["inspect", &name.0, "--color", "always"]).succeeds().stdout;
    assert!(coloured.contains("\x1b[1;31mdead\x1b[0m"), "{coloured}");
}

#[test]
fn what_a_stopped_and_then_killed_process_holds_is_shown_as_such_and_repaired_after_death_only() {
    let name = Name::ring("held", &[]);
    name.send(&long_line());
    let mut consumer = consumer_that_holds(&name);
    let pid = u64::from(consumer.0.id());
    consumer.signal(Signal::SIGSTOP);
    wait_until(|| name.inspect()["participants"][0]["state"] == "stopped");
    let held = &name.inspect()["held"][0];
    assert_eq!((held["pid"].as_u64(), &held["state"]), (Some(pid), &"stopped".into()));
    assert_eq!((&held["doing"], &held["attempt"]), (&"reading".into(), &1.into()));
    assert!(held["slots"].as_u64().unwrap() > 1000 && held["for_ns"].as_u64().unwrap() > 0, "{held}");
    assert_eq!(ringctl(&["repair", &name.0]).succeeds().stdout, format!("{}: nothing to fix\n", name.0));

    consumer.kill();
    wait_until(|| name.inspect()["held"][0]["state"] == "dead");
    let text = ringctl(&["inspect", &name.0]).succeeds().stdout;
    assert!(text.contains(&format!("ringctl repair {}", name.0)), "{text}");
    let fixed = ringctl(&["repair", &name.0, "--json"]).json();
    assert_eq!((&fixed["participants_freed"], &fixed["items_returned"]), (&1.into(), &1.into()));
    assert_eq!((fixed["dead"][0]["pid"].as_u64(), &fixed["writes_given_up"]), (Some(pid), &0.into()));
    let seen = name.inspect();
    assert_eq!((&seen["items_waiting_again"], &seen["participants"]), (&1.into(), &serde_json::json!([])));
    assert_eq!(ringctl(&["peek", &name.0]).succeeds().stdout, long_line());
    assert!(ringctl(&["repair", &name.0]).succeeds().stdout.contains("nothing to fix"));
}

#[test]
fn repair_says_whom_it_buried() {
    let name = Name::ring("buried", &[]);
    let mut producer = idle_producer(&name);
    ringctl(&["wait", &name.0, "--until", "producers=1", "--timeout", "60s"]).succeeds();
    producer.kill();
    let text = ringctl(&["repair", &name.0]).succeeds().stdout;
    let dead = format!("producer 0 was dead (process {}, producer)", producer.0.id());
    // The number depends on the order of coming; the first has serial 0 and takes number 0.
    assert!(text.contains(&dead), "{text}");
    assert!(text.contains("1 participant freed, 0 half-written items given up, 0 items returned"), "{text}");
}

#[test]
fn a_closed_ring_takes_no_more_and_says_so() {
    let name = Name::ring("close", &[]);
    ringctl(&["close", &name.0]).succeeds();
    let again = ringctl(&["close", &name.0]).succeeds();
    assert!(again.stderr.contains("was closed already"), "{again:?}");
    assert_eq!(ringctl(&["close", &name.0, "--json"]).json()["changed"], false);
    assert_eq!(name.inspect()["state"], "closed");
    let mut producer = Command::new(env!("CARGO_BIN_EXE_producer"));
    producer.args(["--no-create", &name.0]);
    run_with(producer, b"late\n").ends_with(5);
}

#[test]
fn rm_goes_on_after_a_failure_and_removes_each_it_can() {
    let (one, two, missing) = (Name::ring("rm", &[]), Name::ring("rm", &[]), Name::new("rm"));
    let ended = ringctl(&["rm", "--json", &one.0, &missing.0, &two.0]).ends_with(3);
    assert_eq!(ended.json_lines().len(), 2);
    assert!(!one.path().exists() && !two.path().exists());
}

#[test]
fn clean_lists_first_and_removes_only_what_is_deserted() {
    let (deserted, with_items, lived_in) =
        (Name::ring("clean", &[]), Name::ring("clean", &[]), Name::ring("clean", &[]));
    with_items.send("left\nbehind\n");
    let _alive = idle_producer(&lived_in);
    ringctl(&["wait", &lived_in.0, "--until", "producers=1", "--timeout", "60s"]).succeeds();
    // Other tests have rings of their own: --yes runs where there are none but these.
    let row = |ended: &Ended, name: &Name| {
        ended.json_lines().into_iter().find(|row| row["ring"] == name.0.as_str())
    };
    let listed = ringctl(&["clean", "--json"]).succeeds();
    assert_eq!(row(&listed, &deserted).unwrap()["action"], "would-remove");
    let kept = row(&listed, &with_items).unwrap();
    assert_eq!((&kept["action"], &kept["items"]), (&"kept".into(), &2.into()));
    assert!(row(&listed, &lived_in).is_none());
    let text = ringctl(&["clean"]).succeeds();
    assert!(text.stdout.contains("has 2 items; --with-items"), "{text:?}");
    assert!(text.stderr.contains("nothing was removed"), "{text:?}");
    assert!(deserted.path().exists());
}

#[test]
fn clean_removes_for_real_in_a_shared_memory_directory_of_its_own() {
    let script = "mount -t tmpfs -o size=16m none /dev/shm || exit 99
        set -e; r() { \"$0\" \"$@\"; }
        r create empty; r create full; echo item | \"$1\" --no-create full
        r create lived; sleep 30 | \"$1\" --no-create lived & r wait lived --until producers=1 --timeout 20s
        head -c 8192 /dev/zero > /dev/shm/foreign
        r clean; echo --; r clean --yes; echo --; r list -n; echo --; r clean --yes --with-items; echo --
        ls /dev/shm; r rm lived; kill %1";
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
        return eprintln!("not tested, no user namespaces here: {ended:?}");
    }
    let parts: Vec<&str> = ended.stdout.split("--\n").collect();
    let [dry, empty, names, rest, files] = parts[..] else { panic!("{ended:?}") };
    assert!(dry.contains("would-remove") && !dry.contains(" removed"), "{dry}");
    assert!(empty.contains("removed") && empty.contains("kept"), "{empty}");
    assert_eq!(names, "full\nlived\n");
    assert!(rest.contains("removed") && rest.contains("has 1 item"), "{rest}");
    assert_eq!(files, "foreign\nlived\n");
}

#[test]
fn wait_ends_when_its_condition_comes_true() {
    let name = Name::new("wait");
    let waiting = |until: &'static str| {
        let name = name.0.clone();
        thread::spawn(move || {
            ringctl(&["wait", &name, "--until", until, "--timeout", "60s", "--json"]).json()
        })
    };
    let reached = |thread: thread::JoinHandle<serde_json::Value>| {
        let waited = thread.join().unwrap();
        assert_eq!((&waited["schema"], &waited["reached"]), (&"ringpipe.wait/1".into(), &true.into()));
    };
    ringctl(&["wait", &name.0, "--until", "gone"]).succeeds();
    let (exists, producers) = (waiting("exists"), waiting("producers=2"));
    ringctl(&["create", &name.0]).succeeds();
    reached(exists);
    let mut producer = idle_producer(&name);
    let mut other = idle_producer(&name);
    reached(producers);
    let fewer = waiting("producers=1");
    other.kill();
    reached(fewer);

    writeln!(producer.0.stdin.take().unwrap(), "item").unwrap();
    producer.wait();
    ringctl(&["wait", &name.0, "--until", "empty", "--timeout", "20ms"]).ends_with(4);
    let (empty, consumers) = (waiting("empty"), waiting("consumers=1+"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_consumer"));
    let consumer = command.args(["--follow", &name.0]).stdout(Stdio::null()).spawn().unwrap();
    let _consumer = Process(consumer);
    reached(consumers);
    reached(empty);

    let (closed, gone) = (waiting("closed"), waiting("gone"));
    ringctl(&["close", &name.0]).succeeds();
    reached(closed);
    ringctl(&["rm", &name.0]).succeeds();
    reached(gone);
}

#[test]
fn a_wait_that_times_out_says_what_was_not_reached() {
    let name = Name::new("timeout");
    let ended =
        ringctl(&["wait", &name.0, "--until", "producers=3+", "--timeout", "30ms", "--json"]).ends_with(4);
    assert_eq!(ended.complaint(), format!("ringctl: ring {:?}: not producers=3+ after 30ms", name.0));
    assert_eq!(ended.json_lines()[0]["reached"], false);
}

#[test]
fn an_abandoned_or_full_output_is_no_panic() {
    let name = Name::ring("stdout", &[]);
    let bash = |script: String| {
        let mut command = Command::new("bash");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_ringctl")]);
        run_with(command, b"")
    };
    name.send(&"line\n".repeat(5000));
    for verb in ["list", "list --json", "inspect NAME", "peek NAME -n 5000", "repair NAME", "clean", "--help"]
    {
        let verb = verb.replace("NAME", &name.0);
        bash(format!("\"$0\" {verb} | head -c 0; exit ${{PIPESTATUS[0]}}")).succeeds();
        let full = bash(format!("\"$0\" {verb} > /dev/full")).ends_with(1);
        assert!(full.complaint().contains("No space left"), "{verb}: {full:?}");
    }
}

#[test]
fn help_names_examples_and_exit_codes() {
    for verb in
        ["create", "list", "inspect", "peek", "close", "rm", "repair", "clean", "wait", "run", "bench"]
    {
        let help = ringctl(&[verb, "--help"]).succeeds().stdout;
        assert!(help.contains("Examples:") && help.contains("Exit codes:"), "{verb}: {help}");
    }
}

#[test]
fn a_damaged_ring_is_one_line_and_a_hint_how_to_remove_it() {
    let name = Name::ring("damaged-hint", &[]);
    let file = fs::OpenOptions::new().write(true).open(name.path()).unwrap();
    file.set_len(64 * 1024).unwrap();
    let ended = ringctl(&["inspect", &name.0]).ends_with(6);
    assert!(ended.complaint().contains("it has 65536 bytes"), "{ended:?}");
    assert!(ended.stderr.contains("\nhint: ringctl rm -f"), "{ended:?}");
    ringctl(&["rm", "-f", &name.0]).succeeds();
}
