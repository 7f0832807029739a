//! Several commands at a time, and several workers: each holds what it runs.

use super::*;

/// Waits until `count` commands have come here: with fewer at a time, they would wait for ever.
fn barrier(count: u32) -> String {
    format!("echo >> $D/here; until test $(wc -l < $D/here) -ge {count}; do sleep 0.01; done")
}

#[test]
fn as_many_commands_run_at_a_time_as_asked_for_and_no_more_items_are_held() {
    for (jobs, prefetch) in [(1, 0), (4, 0), (7, 0), (2, 3)] {
        let work = Work::numbered("jobs", 20);
        let script = format!("{}; echo $RING_SLOT >> $D/slots; {}", barrier(jobs), until("go"));
        let (j, k) = (jobs.to_string(), prefetch.to_string());
        let running = work.script(&["-j", &j, "--prefetch", &k], &script).spawn();
        work.wait_for_lines("slots", jobs as usize);
        let held = u64::from(jobs + prefetch);
        wait_until("as many items are held", || {
            let totals = work.ring.open().snapshot().unwrap().totals;
            assert!(totals.received <= held, "{totals:?}");
            totals.received == held
        });
        let mut slots = work.lines("slots");
        slots.sort();
        assert_eq!(slots, (1..=jobs).map(|slot| slot.to_string()).collect::<Vec<_>>());
        assert_eq!(work.ring.inspect()["held"].as_array().unwrap().len() as u64, held);
        work.touch("go");
        running.end().succeeds();
        assert_eq!(work.ring.acknowledged(), 20);
    }
}

#[test]
fn a_slow_command_costs_its_slot_only() {
    let work = Work::numbered("slow", 200);
    let script = format!("test $RING_SEQ != 0 || {{ {}; }}", until("go"));
    let running = work.script(&["-j", "2"], &script).spawn();
    work.wait_for_acknowledged(199);
    work.touch("go");
    running.end().succeeds();
}

#[test]
fn two_workers_share_a_short_list_and_none_holds_more_than_it_runs() {
    let work = Work::numbered("share", 300);
    // Long commands are a few in a hundred; when the list is empty, every item that is left runs.
    let script =
        format!("echo $RING_SEQ >> $D/begun; case $RING_SEQ in *7) sleep 0.02;; 0|1) {};; esac", until("go"));
    let first = work.script(&["-j", "2"], &script).spawn();
    let second = work.script(&["-j", "2"], &script).spawn();
    work.wait_for_acknowledged(298);
    assert_eq!(work.lines("begun").len(), 300);
    assert_eq!(work.ring.open().snapshot().unwrap().totals.received, 300);
    work.touch("go");
    first.end().succeeds();
    second.end().succeeds();
    assert_eq!(work.ring.acknowledged(), 300);
}

#[test]
fn a_share_of_the_processors_is_a_number_of_jobs() {
    let work = Work::numbered("share", 10);
    work.script(&["-j", "100%"], "cat").run().succeeds();
    for wrong in ["0", "0%", "-1", "x", "5000"] {
        work.script(&["-j", wrong], "cat").run().with_code(2);
    }
}

#[test]
fn workers_do_the_same_on_rings_of_every_kind() {
    for kind in [
        &["--exclusive"][..],
        &["--sync", "semaphore"],
        &["--sync", "polling"],
        &["--sync", "monitor"],
        &["--no-timestamps"],
        &["--slot-size", "8", "--capacity", "64"],
    ] {
        let ring = TestName::ring("kind", kind);
        ring.send_lines(&seq(20));
        let work = Work { ring, dir: tempfile::tempdir().unwrap() };
        // In another order than they came, some after failures; and after the death of a worker.
        let script = "n=$(cat); echo $n >> $D/log; case $n.$RING_ATTEMPT in *5.1|1.1) exit 1;; 4.1) kill -9 $PPID;; esac; \
                      echo $n";
        let killed = work.script(&["-j", "3", "--backoff", "1ms"], script).run().by_signal(libc::SIGKILL);
        let acknowledged = work.ring.acknowledged();
        assert!(killed.lines().len() as u64 >= acknowledged, "{kind:?}");
        let script = "n=$(cat); test $n.$RING_ATTEMPT != 6.1 || exit 1; echo $n";
        let rest = work.script(&["-j", "3"], script).run().succeeds();
        let mut seen: Vec<u64> =
            [killed.lines(), rest.lines()].concat().iter().map(|line| line.parse().unwrap()).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, (1..=20).collect::<Vec<_>>(), "{kind:?}");
        assert_eq!(work.ring.acknowledged(), 20, "{kind:?}");
        work.nothing_runs();
    }
}
