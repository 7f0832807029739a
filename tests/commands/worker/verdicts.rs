//! How an exit code settles an item; what a command gets; commands that read, write and fork as they like.

use super::*;

/// Runs of the command, which are the lines of `log`.
const COUNTED: &str = "echo $RING_ATTEMPT >> $D/log; ";

fn ends(script: &str, options: &[&str]) -> (Work, Ended, usize) {
    let work = Work::new("verdict", &["item"]);
    let options = [&["--retries", "2", "--drop-failed"], options].concat();
    let ended = work.script(&options, &format!("{COUNTED}{script}")).run();
    let runs = work.lines("log").len();
    (work, ended, runs)
}

#[test]
fn exit_codes_and_signals_settle_an_item() {
    for (script, options, code, runs) in [
        ("exit 0", &[][..], 0, 1),
        ("exit 65", &[], 123, 1),
        ("exit 75", &[], 123, 3),
        ("exit 1", &[], 123, 3),
        ("exit 255", &[], 123, 3),
        ("kill -9 $$", &[], 123, 3),
        ("kill -TERM $$", &[], 123, 3),
        ("exit 3", &["--on-exit", "3=dead"], 123, 1),
        ("exit 5", &["--on-exit", "3=dead,5=ack"], 0, 1),
        ("exit 65", &["--on-exit", "65=retry"], 123, 3),
        ("exit 9", &["--on-exit", "*=dead"], 123, 1),
        ("exit 126", &[], 123, 3),
        ("exit 127", &[], 123, 3),
    ] {
        let (work, ended, ran) = ends(script, options);
        ended.with_code(code);
        assert_eq!((ran, work.ring.acknowledged()), (runs, 1), "{script} {options:?}");
    }
}

#[test]
fn a_command_that_is_missing_or_not_executable_takes_no_item() {
    let work = Work::new("missing", &["item"]);
    work.touch("plain");
    for (command, code) in [
        ("/nowhere/command", 127),
        ("no-such-command-at-all", 127),
        (work.path("plain").as_str(), 126),
        (work.path("").as_str(), 126),
    ] {
        work.worker(&[], &[command]).run().with_code(code);
    }
    assert_eq!(work.ring.open().snapshot().unwrap().totals.received, 0, "not even delivered");
    assert_eq!(work.rest(), ["item:1"]);
}

#[test]
fn a_command_that_goes_away_while_the_worker_runs_costs_no_attempt() {
    for (change, code) in [("rm -f $0", 127), ("chmod -x $0", 126)] {
        // With a descriptor for the facts, too, that could take the place of one that reports the error.
        for fd in std::iter::once(None).chain((3..=30).map(Some)) {
            let work = Work::new("removed", &["first", "second"]);
            write_script(work.path("command"), &format!("#!/bin/sh\n{change}\n"));
            let fd = fd.map(|fd: i32| fd.to_string());
            let options = fd.as_ref().map_or(vec![], |fd| vec!["--meta-fd", fd.as_str()]);
            let ended = work.worker(&options, &[&work.path("command")]).run().with_code(code);
            assert!(ended.stdout.is_empty());
            assert_eq!(work.ring.acknowledged(), 1, "{fd:?}: {}", ended.stderr);
            assert_eq!(work.rest(), ["second:1"], "{fd:?}");
        }
    }
}

#[test]
fn an_interpreter_that_is_missing_stops_the_worker() {
    let work = Work::new("interpreter", &["item"]);
    write_script(work.path("command"), "#!/nowhere/interpreter\n");
    work.worker(&[], &[&work.path("command")]).run().with_code(127);
    assert_eq!(work.rest(), ["item:1"]);
}

const HOSTILE: [&str; 14] = [
    "plain",
    "",
    "two words",
    "'",
    "\"",
    "a\nb",
    "$(touch $D/pwned)",
    "`touch $D/pwned`",
    "; touch $D/pwned",
    "'; touch $D/pwned; '",
    "\"; touch $D/pwned; \"",
    "-n",
    "{} {#} {%} $@ $1",
    "\u{e9}\\ \t*",
];

#[test]
fn hostile_items_are_one_argument_each() {
    let work = Work::new("hostile", &HOSTILE);
    let expected: String = HOSTILE.iter().map(|item| format!("<{item}>")).collect();
    let ended = work.worker(&[], &["printf", "<%s>", "{}"]).run().succeeds().quiet();
    assert_eq!(ended.text(), expected);
    let bytes: &[&[u8]] = &[b"\xff\xfe\x80", b"\x01\x7f\r"];
    let work = Work::of_bytes("hostile", bytes);
    let ended = work.worker(&[], &["printf", "%s", "{}"]).run().succeeds();
    assert_eq!(ended.stdout, bytes.concat());
    for script in ["printf '<%s>' {}", "printf '<%s>' \"\"{}", "f() { printf '<%s>' \"$1\"; }; f {}"] {
        let work = Work::new("hostile", &HOSTILE);
        let ended = work.worker(&["--shell"], &[script]).run().succeeds().quiet();
        assert_eq!(ended.text(), expected, "{script}");
        assert!(!work.exists("pwned"), "{script}");
    }
    // Inside quotes the text may come out in another form, but is not executed.
    for script in ["printf '<%s>' \"a {}\"", "printf '<%s>' 'a {}'", "echo $(echo {})"] {
        let work = Work::new("hostile", &HOSTILE);
        work.worker(&["--shell"], &[script]).run().succeeds();
        assert!(!work.exists("pwned"), "{script}");
    }
    for script in ["printf '<%s>' \"{}\"", "printf '<%s>' '{}'"] {
        let work = Work::new("hostile", &HOSTILE);
        work.worker(&["--shell"], &[script]).run().with_code(2).saying("{} within quotes");
    }
}

#[test]
fn placeholders_and_environment_tell_the_command_about_its_item() {
    let work = Work::new("facts", &["a", "b", "c"]);
    let ended = work.worker(&[], &["printf", "%s;", "x{}y{}", "{#}", "{%}", "{", "{}{"]).run().succeeds();
    assert_eq!(ended.text(), "xaya;1;1;{;a{;xbyb;2;1;{;b{;xcyc;3;1;{;c{;");
    let work = Work::new("facts", &["a", "b"]);
    let print = "echo $RING_NAME $RING_PRODUCER $RING_SEQ $RING_ATTEMPT $RING_JOB $RING_SLOT $RING_ITEMS";
    let ended = work.script(&[], print).run().succeeds();
    let name = &work.ring.name;
    assert_eq!(ended.text(), format!("{name} 0 0 1 1 1 1\n{name} 0 1 1 2 1 1\n"));
}

#[test]
fn the_facts_are_on_the_descriptor_that_was_asked_for() {
    for fd in ["3", "7", "11", "100"] {
        let work = Work::new("meta", &["a", "b"]);
        let script = format!("cat /dev/fd/{fd}; cat > /dev/null");
        let facts = work.script(&["--meta-fd", fd], &script).run().succeeds().json_lines();
        let told: Vec<_> =
            facts.iter().map(|one| (one["sequence"].as_u64(), one["attempt"].as_u64())).collect();
        assert_eq!(told, [(Some(0), Some(1)), (Some(1), Some(1))], "{fd}");
        assert_eq!(facts[1]["ring"], *work.ring.name);
    }
}

#[test]
fn an_item_that_cannot_be_an_argument_fails_at_once_and_the_worker_goes_on() {
    let long = vec![b'x'; 200_000];
    let work = Work::of_bytes("argument", &[b"nul \0 inside", &long, b"short"]);
    let ended = work.worker(&["--drop-failed"], &["printf", "%s", "{}"]).run().with_code(123);
    assert_eq!(ended.text(), "short");
    assert_eq!(work.ring.acknowledged(), 3);
    let work = Work::of_bytes("argument", &[b"nul \0 inside"]);
    assert_eq!(work.script(&[], "cat").run().succeeds().stdout, b"nul \0 inside", "standard input takes it");
}

#[test]
fn an_item_larger_than_a_pipe_is_read_whole_or_not_at_all() {
    let large = noise(250_000);
    let work = Work::of_bytes("large", &[&large, b"small", b""]);
    let ended = work.script(&[], "cat").run().succeeds().quiet();
    assert!(ended.stdout == [&large[..], b"small"].concat(), "{} bytes", ended.stdout.len());
    for script in ["exit 0", "exec <&-; exit 0", "head -c 10 > /dev/null"] {
        let work = Work::of_bytes("large", &[&large, &large]);
        work.script(&[], script).run().succeeds().quiet();
        assert_eq!(work.ring.acknowledged(), 2, "{script}");
    }
}

#[test]
fn a_command_that_closes_its_outputs_early_is_waited_for() {
    let work = Work::of_bytes("closes", &[&noise(200_000)]);
    let script = format!("echo out; exec >&- 2>&-; touch $D/closed; {}; wc -c > $D/count", until("go"));
    let running = work.script(&[], &script).spawn();
    work.wait_for_file("closed");
    assert_eq!(work.ring.acknowledged(), 0);
    work.touch("go");
    running.end().succeeds();
    assert_eq!((work.read("count").trim(), work.ring.acknowledged()), ("200000", 1));
}

#[test]
fn what_a_command_leaves_in_its_group_is_killed_and_not_waited_for() {
    let work = Work::new("left", &["a", "b"]);
    let script = "sleep 1000 & (sleep 1001; echo late) & echo done";
    let ended = work.script(&[], script).run().succeeds();
    assert_eq!(ended.text(), "done\ndone\n");
    work.nothing_runs();
}

#[test]
fn a_process_that_left_the_group_with_the_output_open_is_not_waited_for() {
    let work = Work::new("session", &["a"]);
    let script =
        "setsid sh -c 'echo $$ > $D/id; exec sleep 1000' & until test -s $D/id; do :; done; echo done";
    let ended = work.script(&[], script).run().succeeds();
    assert_eq!(ended.text(), "done\n");
    assert_eq!(work.ring.acknowledged(), 1);
    kill(work.read("id").trim().parse().unwrap());
    work.nothing_runs();
}

#[test]
fn a_command_has_the_signals_of_a_fresh_process() {
    let work = Work::new("signals", &["a"]);
    // PIPE is not ignored: yes ends when head has left.
    let script = "grep -E '^Sig(Blk|Ign)' /proc/self/status | tr -d '\\t'; yes | head -n 1";
    let ended = work.script(&[], script).run().succeeds().quiet();
    let lines = ended.lines();
    assert_eq!((lines[0], lines[2]), ("SigBlk:0000000000000000", "y"));
    // The C library uses signals 32 and 33 itself; cargo starts its children with them ignored, and no program can change that.
    let ignored = u64::from_str_radix(lines[1].strip_prefix("SigIgn:").unwrap(), 16).unwrap();
    assert_eq!(ignored & !(0b11 << 31), 0, "{}", lines[1]);
}
