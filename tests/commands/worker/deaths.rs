//! Workers that are killed, stopped, suspended or told to end while commands run.

use super::*;

/// A shell with grandchildren that last, which has said that they run.
const FAMILY: &str =
    "trap '' TERM; sleep 1000 & (sleep 1001 & sleep 1002) & echo $(cat) >> $D/log; wait; wait";

#[test]
fn no_command_outlives_a_killed_worker_and_others_get_its_items() {
    for _ in 0..5 {
        let work = Work::numbered("killed", 5);
        let running = work.script(&["-j", "3"], FAMILY).spawn();
        work.wait_for_lines("log", 3);
        assert!(work.processes().len() >= 3);
        running.signal(libc::SIGKILL);
        running.end().by_signal(libc::SIGKILL);
        // They come at once, while the processes may still be on their way out.
        assert_eq!(work.rest(), ["1:1", "2:1", "3:1", "4:1", "5:1"]);
        work.nothing_runs();
    }
}

#[test]
fn a_worker_whose_guard_is_killed_goes_on_and_its_commands_still_end_with_it() {
    let work = Work::numbered("unguarded", 3);
    let script =
        format!("echo $(cat) >> $D/log; {}; rm $D/go; test $RING_SEQ = 0 || exec sleep 1000", until("go"));
    let running = work.script(&[], &script).spawn();
    work.wait_for_lines("log", 1);
    kill(guard_of(&running));
    work.touch("go");
    work.wait_for_lines("log", 2);
    assert_eq!(work.ring.acknowledged(), 1);
    work.touch("go");
    wait_until("the second command is past its file", || !work.exists("go"));
    running.signal(libc::SIGKILL);
    running.end().by_signal(libc::SIGKILL);
    work.nothing_runs();
    assert_eq!(work.rest(), ["2:1", "3:1"]);
}

#[test]
fn a_guard_that_was_killed_is_replaced_while_the_command_runs() {
    let work = Work::numbered("replaced", 1);
    let running = work.script(&[], "sleep 1000 & echo $(cat) >> $D/log; exec sleep 1001").spawn();
    work.wait_for_lines("log", 1);
    for _ in 0..3 {
        let guard = guard_of(&running);
        kill(guard);
        wait_until("another guard", || !is_running(guard) && guard_of(&running) != guard);
    }
    running.signal(libc::SIGKILL);
    running.end().by_signal(libc::SIGKILL);
    // The grandchild, too.
    work.nothing_runs();
    assert_eq!(work.rest(), ["1:1"]);
}

#[test]
fn signals_that_end_the_worker_do_not_end_its_guard() {
    let work = Work::numbered("term", 1);
    let script = format!("sleep 1000 & echo $(cat) >> $D/log; {}", until("go"));
    let running = work.script(&[], &script).spawn();
    work.wait_for_lines("log", 1);
    let guard = guard_of(&running);
    let others = [libc::SIGQUIT, libc::SIGUSR1, libc::SIGALRM, libc::SIGRTMIN()];
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP].into_iter().chain(others) {
        // SAFETY: no pointers; the guard is a child of a process that is not reaped.
        assert_eq!(unsafe { libc::kill(guard as i32, signal) }, 0);
    }
    running.signal(libc::SIGKILL);
    running.end().by_signal(libc::SIGKILL);
    work.nothing_runs();
    assert_eq!(work.rest(), ["1:1"]);
}

#[test]
fn guard_and_worker_killed_together_leave_no_first_process() {
    let work = Work::numbered("both", 2);
    let running = work.script(&["-j", "2"], "echo $(cat) >> $D/log; exec sleep 1000").spawn();
    work.wait_for_lines("log", 2);
    kill(guard_of(&running));
    running.signal(libc::SIGKILL);
    running.end().by_signal(libc::SIGKILL);
    work.nothing_runs();
    assert_eq!(work.rest(), ["1:1", "2:1"]);
}

#[test]
fn a_stopped_worker_lets_commands_end_and_takes_no_further_item() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        let work = Work::numbered("grace", 5);
        let script = format!("echo started >> $D/log; {}; cat", until("go"));
        let running = work.script(&["-j", "2"], &script).spawn();
        work.wait_for_lines("log", 2);
        running.signal(signal);
        // It says nothing about that; it would have started a third one.
        wait_until("it has taken the signal", || pending_is_empty(running.pid(), signal));
        work.touch("go");
        let ended = running.end().by_signal(signal);
        let mut lines: Vec<char> = ended.text().chars().collect();
        lines.sort_unstable();
        assert_eq!((lines, work.ring.acknowledged()), (vec!['1', '2'], 2));
        assert_eq!(work.rest(), ["3:1", "4:1", "5:1"]);
    }
}

/// Whether the process has handled the signal.
fn pending_is_empty(pid: i32, signal: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("ShdPnd:")).unwrap();
    u64::from_str_radix(line.trim(), 16).unwrap() & (1 << (signal - 1)) == 0
}

#[test]
fn after_the_grace_a_command_gets_term_and_its_item_is_given_back_without_a_failure() {
    let work = Work::numbered("ladder", 3);
    let script =
        "trap 'echo term >> $D/log; exit 1' TERM; echo started >> $D/log; while :; do sleep 0.01; done";
    let running =
        work.script(&["-j", "2", "--grace", "100ms", "--joblog", &work.path("jobs")], script).spawn();
    work.wait_for_lines("log", 2);
    running.signal(libc::SIGTERM);
    running.end().by_signal(libc::SIGTERM);
    assert_eq!(work.lines("log"), ["started", "started", "term", "term"]);
    assert_eq!(work.rest(), ["1:1", "2:1", "3:1"]);
    work.nothing_runs();
}

/// With 0 it says that it ended in an orderly way, not that its work is done.
#[test]
fn the_item_of_a_command_that_exits_with_0_after_term_is_given_back() {
    let work = Work::numbered("heeds", 1);
    let script = "trap 'echo saved; exit 0' TERM; touch $D/started; while :; do sleep 0.01; done";
    let running = work.script(&["--grace", "0s", "--joblog", &work.path("jobs")], script).spawn();
    work.wait_for_file("started");
    running.signal(libc::SIGTERM);
    assert_eq!(running.end().by_signal(libc::SIGTERM).text(), "");
    assert_eq!(work.rest(), ["1:1"]);
    // Nothing that --resume would take for done.
    assert_eq!(work.lines("jobs").len(), 1, "the header");
}

#[test]
fn a_command_that_ignores_term_is_killed_with_its_group() {
    let work = Work::numbered("stubborn", 1);
    let running = work.script(&["--grace", "0s"], FAMILY).spawn();
    work.wait_for_lines("log", 1);
    running.signal(libc::SIGINT);
    running.end().by_signal(libc::SIGINT);
    work.nothing_runs();
    assert_eq!(work.rest(), ["1:1"]);
}

#[test]
fn a_second_signal_ends_worker_and_commands_at_once() {
    let work = Work::numbered("twice", 2);
    let running = work.script(&["--grace", "1h"], FAMILY).spawn();
    work.wait_for_lines("log", 1);
    running.signal(libc::SIGTERM);
    wait_until("it has taken the signal", || pending_is_empty(running.pid(), libc::SIGTERM));
    running.signal(libc::SIGTERM);
    running.end().by_signal(libc::SIGTERM);
    work.nothing_runs();
    assert_eq!(work.rest(), ["1:1", "2:1"]);
}

#[test]
fn a_suspended_worker_keeps_its_item() {
    let work = Work::numbered("suspended", 2);
    let running = work.script(&["-n", "1"], &format!("touch $D/started; {}; cat", until("go"))).spawn();
    work.wait_for_file("started");
    running.signal(libc::SIGSTOP);
    wait_until("it is suspended", || {
        fs::read_to_string(format!("/proc/{}/stat", running.pid())).unwrap().contains(") T ")
    });
    assert_eq!(work.rest(), ["2:1"]);
    let other = work.script(&["--timeout", "300ms", "--follow"], "cat").run().with_code(4);
    assert!(other.stdout.is_empty());
    work.touch("go");
    running.signal(libc::SIGCONT);
    assert_eq!(running.end().succeeds().text(), "1");
    assert_eq!(work.ring.acknowledged(), 2);
}

#[test]
fn suspended_commands_are_ended_too() {
    let work = Work::numbered("frozen", 1);
    let script = "touch $D/started; kill -STOP $$";
    let running = work.script(&["--grace", "0s"], script).spawn();
    work.wait_for_file("started");
    running.signal(libc::SIGTERM);
    running.end().by_signal(libc::SIGTERM);
    work.nothing_runs();
    assert_eq!(work.rest(), ["1:1"]);
}

#[test]
fn a_command_that_is_told_to_end_together_with_its_worker_has_not_failed() {
    for (signal, rest) in [("TERM", "1:1"), ("KILL", "1:1"), ("SEGV", "1:2")] {
        let work = Work::numbered("service", 1);
        let script = format!("echo $$ > $D/id; {}; kill -{signal} $$", until("go"));
        let running = work.script(&["--grace", "1h"], &script).spawn();
        work.wait_for_lines("id", 1);
        running.signal(libc::SIGTERM);
        wait_until("it has taken the signal", || pending_is_empty(running.pid(), libc::SIGTERM));
        work.touch("go");
        running.end().by_signal(libc::SIGTERM);
        assert_eq!(work.rest(), [rest], "{signal}");
    }
}

#[test]
fn a_worker_killed_while_it_starts_commands_leaves_nothing_behind() {
    let mut random = Random::new(seed());
    for round in 0..40 {
        let work = Work::numbered("starting", 4);
        let running = work.script(&["-j", "4"], "sleep 1000 & exec sleep 1001").spawn();
        // From before the ring is attached, by way of half-started commands, to all of them.
        std::thread::sleep(std::time::Duration::from_micros(random.below(round * 1000 + 1)));
        running.signal(libc::SIGKILL);
        running.end().by_signal(libc::SIGKILL);
        assert_eq!(work.rest(), ["1:1", "2:1", "3:1", "4:1"]);
        work.nothing_runs();
    }
}

#[test]
fn a_command_that_kills_its_group_does_not_reach_the_worker() {
    let work = Work::numbered("group", 2);
    work.script(&["--retries", "1", "--drop-failed"], "kill -9 0").run().with_code(123);
    assert_eq!(work.ring.acknowledged(), 2);
}

#[test]
fn a_suspended_guard_does_not_keep_its_worker() {
    let work = Work::numbered("asleep", 1);
    let running = work.script(&[], &format!("touch $D/started; {}", until("go"))).spawn();
    work.wait_for_file("started");
    let guard = guard_of(&running);
    // SAFETY: no pointers; the guard is a child of a process that is not reaped.
    assert_eq!(unsafe { libc::kill(guard as i32, libc::SIGSTOP) }, 0);
    work.touch("go");
    running.end().succeeds();
    wait_until("the end of the guard", || !is_running(guard));
}

#[test]
fn without_descriptors_for_another_command_the_worker_stops_and_gives_back() {
    let work = Work::numbered("nofile", 40);
    let running = work.script(&["-j", "40", "--grace", "0s"], "exec sleep 1000");
    let ended = running.limited(nix::sys::resource::Resource::RLIMIT_NOFILE, 40).run();
    assert!(matches!(ended.code, Some(1 | 126)), "{ended:?}");
    assert!(ended.complaint().contains("open files"), "{}", ended.stderr);
    work.nothing_runs();
    assert_eq!(work.rest().len(), 40);
}

/// The system would reap the commands, and the worker could not learn how they ended.
#[test]
fn a_worker_that_was_started_with_sigchld_ignored_learns_how_its_commands_end() {
    let work = Work::numbered("chld", 2);
    let command = "cat; grep SigIgn /proc/self/status >> $D/log; exit $((RING_SEQ * 7))";
    let script = format!(
        "trap '' CHLD; grep SigIgn /proc/self/status > $D/inherited; \
         exec $C $R --drain --drop-failed --retries 0 -- sh -c '{command}'"
    );
    let ended = shell(&work.ring, &script).env("D", work.dir.path()).run().with_code(123);
    assert_eq!(ended.text(), "12");
    assert!(ended.stderr.contains("1 item failed for good"), "{}", ended.stderr);
    assert_eq!(work.ring.acknowledged(), 2);
    let ignores = |line: &String| {
        let set = u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap();
        set >> (libc::SIGCHLD - 1) & 1 == 1
    };
    assert!(work.lines("inherited").iter().all(ignores));
    let commands = work.lines("log");
    assert!(commands.len() == 2 && !commands.iter().any(ignores), "{commands:?}");
}

/// Runs `test` in a thread whose processes have a system call filter that refuses close_range, as some containers do; kernels
/// before Linux 5.9 do not have it.
pub fn without_close_range(test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            refuse_close_range();
            test();
        });
    });
}

/// In this thread, and in the processes that it starts.
fn refuse_close_range() {
    let step = |code: u32, jt, k| libc::sock_filter { code: code as u16, jt, jf: 0, k };
    let steps = [
        // The number of the system call; if it is that one, skips one step.
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, libc::SYS_close_range as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
        step(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
    ];
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_ptr().cast_mut() };
    // SAFETY: the pointers are to locals, which the kernel reads.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program), 0);
    }
}

#[test]
fn without_close_range_the_guard_notices_the_death_of_its_worker_and_keeps_no_pipe() {
    without_close_range(|| {
        let work = Work::numbered("range", 1);
        let script = "sleep 1000 & echo $(cat) >> $D/log; exec sleep 1001";
        let running = work.script(&[], script).spawn();
        work.wait_for_lines("log", 1);
        let guard = guard_of(&running);
        wait_until("the guard has closed all but its pipe", || {
            fs::read_dir(format!("/proc/{guard}/fd")).unwrap().count() == 1
        });
        running.signal(libc::SIGKILL);
        running.end().by_signal(libc::SIGKILL);
        work.nothing_runs();
        wait_until("the end of the guard", || !is_running(guard));
        assert_eq!(work.rest(), ["1:1"]);
    });
}
