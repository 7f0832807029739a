//! When a worker stops, and what it tells about its jobs.

use super::*;

#[test]
fn it_halts_after_failures_or_successes() {
    let script = "case $(cat) in *3|*6) exit 65;; esac";
    for (halt, settled, code) in [
        ("never", 9, 123),
        ("soon,fail=1", 3, 123),
        ("now,fail=2", 6, 123),
        ("soon,fail=30%", 3, 123),
        ("soon,done=2", 2, 0),
        ("now,done=4", 4, 123),
    ] {
        let work = Work::numbered("halt", 9);
        work.script(&["--drop-failed", "--halt", halt], script).run().with_code(code);
        assert_eq!(work.ring.acknowledged(), settled, "{halt}");
        assert_eq!(work.rest().len() as u64, 9 - settled, "{halt}");
    }
}

#[test]
fn halt_soon_lets_commands_end_and_now_ends_them() {
    for (halt, settled) in [("soon,fail=1", 2), ("now,fail=1", 1)] {
        let work = Work::numbered("halt", 3);
        // The second command runs while the first one fails.
        let script = format!(
            "echo >> $D/here; until test $(wc -l < $D/here) -ge 2; do sleep 0.01; done; \
             test $RING_SEQ != 0 || exit 65; {}",
            until("go")
        );
        let running = work.script(&["-j", "2", "--drop-failed", "--halt", halt], &script).spawn();
        work.wait_for_acknowledged(1);
        if settled == 2 {
            work.touch("go");
        }
        running.end().with_code(123);
        work.nothing_runs();
        assert_eq!(work.ring.acknowledged(), settled, "{halt}");
        let rest = work.rest();
        // None has a failure that it did not cause itself.
        assert_eq!(rest, if settled == 2 { vec!["3:1"] } else { vec!["2:1", "3:1"] });
    }
}

#[test]
fn a_signal_after_halt_soon_gives_its_own_grace() {
    let work = Work::numbered("halt", 2);
    let script = format!(
        "echo >> $D/here; until test $(wc -l < $D/here) -ge 2; do sleep 0.01; done; \
         test $RING_SEQ != 0 || exit 65; trap 'touch $D/term; exit 1' TERM; {}",
        until("go")
    );
    let options = ["-j", "2", "--drop-failed", "--halt", "soon,fail=1", "--grace", "1h"];
    let running = work.script(&options, &script).spawn();
    work.wait_for_acknowledged(1);
    running.signal(libc::SIGTERM);
    work.touch("go");
    running.end();
    assert!(!work.exists("term"));
    assert_eq!(work.ring.acknowledged(), 2);
}

#[test]
fn the_joblog_has_a_line_per_attempt_in_the_columns_of_parallel() {
    let work = Work::new("joblog", &["good", "bad", "tab\there"]);
    let log = work.path("jobs");
    let script = "case $1 in bad) kill -9 $$;; tab*) exit 65;; esac; echo done";
    let command = ["sh", "-c", script, "worker", "{}"];
    let options = ["--joblog", &log, "--retries", "1", "--drop-failed"];
    work.worker(&options, &command).run().with_code(123);
    let lines = work.lines("jobs");
    let header: Vec<&str> = lines[0].split('\t').collect();
    let columns =
        "Seq Host Starttime JobRuntime Send Receive Exitval Signal Command Sequence Producer Attempt";
    assert_eq!(header, columns.split(' ').collect::<Vec<_>>());
    let mut rows: Vec<Vec<&str>> = lines[1..].iter().map(|line| line.split('\t').collect()).collect();
    assert!(rows.iter().all(|row| row.len() == 12), "{lines:?}");
    rows.sort_by_key(|row| (row[9].to_string(), row[11].to_string()));
    // Job, receive, exit, signal, sequence, attempt.
    let told: Vec<[&str; 6]> =
        rows.iter().map(|row| [row[0], row[5], row[6], row[7], row[9], row[11]]).collect();
    assert_eq!(
        told,
        [
            ["1", "5", "0", "0", "0", "1"],
            ["2", "0", "0", "9", "1", "1"],
            ["2", "0", "0", "9", "1", "2"],
            ["3", "0", "65", "0", "2", "1"],
        ]
    );
}

#[test]
fn resume_skips_what_the_joblog_has_as_done() {
    let work = Work::numbered("resume", 5);
    let log = work.path("jobs");
    let options = ["--joblog", &log, "-n", "3"];
    work.script(&options, "cat >> $D/ran; echo >> $D/ran").run().succeeds();
    assert_eq!(work.lines("ran"), ["1", "2", "3"]);
    // The same work again: a ring with the same name, filled again by the first producer.
    let again = Work::numbered("resume", 5);
    let ended = again.script(&["--joblog", &log, "--resume"], "cat; echo").run().succeeds();
    assert_eq!(ended.text(), "4\n5\n");
    assert_eq!(again.ring.acknowledged(), 5);
    assert_eq!(again.ring.open().snapshot().unwrap().ready, 0);
}

#[test]
fn a_dry_run_prints_command_lines_and_changes_nothing() {
    let work = Work::new("dry", &["a", "two words", "$(x)"]);
    let log = work.path("jobs");
    fs::write(&log, "1\t:\t1.0\t1.0\t0\t0\t0\t0\tcat\t0\t0\t1\n").unwrap();
    for options in
        [&["--dry-run"][..], &["--dry-run", "-j", "3"], &["--dry-run", "--joblog", &log, "--resume"]]
    {
        let ended = work.worker(options, &["touch", "{}", "{#}"]).run().succeeds();
        assert!(!Path::new("a").exists());
        let skips = options.len() > 3;
        assert_eq!(ended.lines().len(), if skips { 2 } else { 3 }, "{}", ended.text());
        assert!(ended.text().contains("touch 'two words' "), "{}", ended.text());
        assert_eq!(work.ring.acknowledged(), 0, "{options:?}");
    }
    assert_eq!(work.rest(), ["a:1", "two words:1", "$(x):1"]);
}

#[test]
fn counts_and_ends() {
    let work = Work::numbered("count", 5);
    work.script(&["-n", "2"], "cat").run().succeeds();
    assert_eq!(work.ring.acknowledged(), 2);
    work.script(&["-n", "9"], "cat").run().with_code(3).saying("after 3 of 9 items");
    assert_eq!(work.ring.acknowledged(), 5);
    work.script(&["--no-wait"], "cat").run().succeeds();
    work.script(&["--drain"], "cat").run().succeeds();
    work.script(&["--no-wait", "--follow"], "cat").run().with_code(3);
    work.script(&["--idle-exit", "50ms", "--follow"], "cat").run().succeeds();
    work.script(&["--timeout", "50ms", "--follow"], "cat").run().with_code(4);
    // An item that is tried again counts once.
    work.ring.send(&["a", "b"]);
    work.script(&["-n", "1"], "test $RING_ATTEMPT = 3").run().succeeds();
    assert_eq!(work.rest(), ["b:1"]);
    let missing = TestName::new("missing");
    for options in ["--drain", "--no-wait"] {
        consumer(&missing, &[options, "--", "cat"]).run().with_code(3);
    }
}

#[test]
fn a_drain_and_an_idle_exit_wait_for_the_commands_that_run() {
    for option in [&["--drain"][..], &["--idle-exit", "1ms", "--follow"]] {
        let work = Work::numbered("drain", 1);
        let running = work.script(option, &format!("touch $D/started; {}; cat", until("go"))).spawn();
        work.wait_for_file("started");
        work.touch("go");
        assert_eq!(running.end().succeeds().text(), "1");
        assert_eq!(work.ring.acknowledged(), 1);
    }
}

#[test]
fn a_worker_that_follows_stays_when_producers_come_and_go() {
    let work = Work::numbered("follow", 1);
    let running = work.script(&["--follow"], "cat; echo").spawn();
    work.wait_for_acknowledged(1);
    work.ring.send(&["2"]);
    work.wait_for_acknowledged(2);
    running.signal(libc::SIGTERM);
    assert_eq!(running.end().by_signal(libc::SIGTERM).text(), "1\n2\n");
}

#[test]
fn commands_that_run_when_the_ring_is_closed_end_well() {
    let work = Work::numbered("closed", 2);
    let running = work.script(&["--follow"], &format!("touch $D/started; {}; cat", until("go"))).spawn();
    work.wait_for_file("started");
    ringctl(&["close", &work.ring]).succeeds();
    work.touch("go");
    assert_eq!(running.end().succeeds().text(), "12");
}

#[test]
fn the_work_is_counted() {
    let work = Work::numbered("stats", 4);
    let script = "n=$(cat); test $n != 2 || exit 65; test $n.$RING_ATTEMPT != 3.1";
    let ended = work.script(&["--drop-failed", "--stats"], script).run().with_code(123);
    assert!(ended.stderr.contains("3 items"), "{}", ended.stderr);
    assert!(ended.stderr.contains("1 item failed for good"), "{}", ended.stderr);
}

#[test]
fn options_of_a_worker_need_a_command() {
    let work = Work::numbered("usage", 1);
    for options in
        [&["-j", "2"][..], &["--retries", "1"], &["--reply", "x"], &["--keep-order"], &["--halt", "never"]]
    {
        consumer(&work.ring, options).run().with_code(2);
    }
    consumer(&work.ring, &["--"]).run();
    work.worker(&["--json"], &["cat"]).run().with_code(2);
    work.worker(&["--dead-letter", "x", "--drop-failed"], &["cat"]).run().with_code(2);
    work.worker(&[], &["{}"]).run().with_code(2);
}

#[test]
fn resume_takes_for_done_what_on_exit_does() {
    for (codes, code, again) in [("3=ack", 3, 0), ("0=retry,3=dead", 0, 2), ("0-2=dead", 0, 2)] {
        let work = Work::numbered("codes", 2);
        let jobs = work.path("jobs");
        let options = ["--on-exit", codes, "--joblog", &jobs, "--retries", "0", "--drop-failed", "--resume"];
        let script = format!("echo >> $D/log; exit {code}");
        work.script(&options, &script).run();
        let refilled = Work::numbered("codes-again", 2);
        refilled.script(&options, &script).env("D", work.path("")).run();
        assert_eq!(work.lines("log").len(), 2 + again, "{codes}");
    }
}
