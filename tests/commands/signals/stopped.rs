//! TSTP and CONT: a suspended process neither counts as dead nor blocks others.

use std::time::Duration;

use ringpipe::{Activity, Liveness, RingOptions, Role};

use crate::support::{TestName, consumer, producer, scale, seq, wait_until};

/// Whether the kernel shows the process as stopped.
fn is_stopped(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
}

#[test]
fn other_processes_continue_while_one_is_suspended_and_do_not_take_it_for_dead() {
    const LINES: u64 = 20_000;
    for turn in 0..if scale::is_ci() { 4 } else { 2 } {
        let ring = TestName::made("tstp", &RingOptions::new().capacity(64));
        // One of each side will be stopped, at some time; the other goes on.
        let mut senders = [0, 1].map(|_| producer(&ring, &["--rate", "9000"]).input(seq(LINES)).spawn());
        let mut receivers = [0, 1].map(|_| consumer(&ring, &["--rate", "90000"]).spawn());
        let held = ring.open();
        let acknowledged = || held.snapshot().unwrap().totals.acknowledged;
        wait_until("all take part", || held.participants().len() == 4);
        for _ in 0..5 {
            let from = acknowledged();
            wait_until("some items", || acknowledged() > from + 50);
            let victim = if turn % 2 == 0 { &senders[0] } else { &receivers[0] };
            let pid = victim.pid();
            victim.signal(libc::SIGTSTP);
            wait_until("stopped process", || is_stopped(pid));
            // The others get on, by more than the ring has room for.
            let (from, returned) = (acknowledged(), held.snapshot().unwrap().totals.returned);
            wait_until("others that go on", || acknowledged() > from + 200);
            let snapshot = held.snapshot().unwrap();
            let seen = snapshot.participants.iter().find(|one| one.pid == pid as u32);
            assert_eq!(seen.map(|one| one.liveness == Liveness::Dead), Some(false), "{snapshot:?}");
            assert_eq!(held.repair().participants, 0, "a live participant was recovered");
            assert_eq!(
                held.snapshot().unwrap().totals.returned,
                returned,
                "an item was taken from the living"
            );
            victim.signal(libc::SIGCONT);
            wait_until("continued process", || !is_stopped(pid));
        }
        let mut seen: Vec<u64> = Vec::new();
        senders.iter_mut().for_each(|sender| assert!(sender.ended().success()));
        for receiver in &mut receivers {
            assert!(receiver.ended().success());
            seen.extend(
                String::from_utf8(receiver.output())
                    .unwrap()
                    .lines()
                    .map(|line| line.parse::<u64>().unwrap()),
            );
        }
        seen.sort_unstable();
        assert!(
            seen.into_iter().eq((1..=LINES).flat_map(|line| [line, line])),
            "turn {turn}: lost, or twice"
        );
    }
}

#[test]
fn a_suspended_waiter_exits_on_a_signal_once_continued() {
    for signal in crate::signals::trial::ASKING {
        let ring = TestName::made("asleep", &RingOptions::new().capacity(8));
        let _stays = ring.open().producer().unwrap();
        let mut waiter = consumer(&ring, &[]).spawn();
        ring.wait_for(Role::Consumer, Activity::WaitingForItems);
        waiter.signal(libc::SIGTSTP);
        wait_until("stopped process", || is_stopped(waiter.pid()));
        waiter.signal(signal);
        std::thread::sleep(Duration::from_millis(20));
        assert!(waiter.is_running(), "it is stopped");
        waiter.signal(libc::SIGCONT);
        let status = waiter.ended();
        crate::signals::trial::left_as_asked(status, signal, "a stopped waiter");
        assert!(ring.open().participants().iter().all(|one| one.role == Role::Producer));
    }
}

#[test]
fn two_signals_at_once_end_a_process_by_one_of_them_and_return_its_items() {
    let mut before = 0;
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..30 {
        let ring = TestName::made("both", &RingOptions::new().capacity(256));
        producer(&ring, &[]).input(seq(200)).run().with_code(0);
        let mut process = consumer(&ring, &["--follow"]).spawn();
        std::thread::sleep(Duration::from_micros(random.u64(..10_000)));
        process.signal(libc::SIGTERM);
        if process.is_running() {
            process.signal(libc::SIGHUP);
        }
        process.ended();
        let written = process.output().iter().filter(|&&byte| byte == b'\n').count() as u64;
        let rest = consumer(&ring, &[]).run().with_code(0).lines().len() as u64;
        // What was written and not yet acknowledged when the second signal came is delivered again.
        assert!(written + rest >= 200, "{written} and {rest}: lost");
        assert_eq!(ring.open().snapshot().unwrap().used_slots, 0);
        before += written;
    }
    println!("{before} lines came before the signals");
}
