//! Real programs, traced.
#![allow(unsafe_code)]

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::*;

/// After this time a program ends by SIGALRM, and a test fails: it hangs.
const WATCHDOG: Duration = Duration::from_secs(60);
/// The number of a point that no program here reaches.
const NEVER: u64 = u64::MAX;

/// False where processes may not be traced, which in CI is a failure.
fn can_trace() -> bool {
    let allowed = Trace::start(quiet(Command::new("true")), all_calls());
    match allowed {
        Ok((child, trace)) => {
            let _ = trace.outcome();
            end(child);
            true
        }
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
            assert!(env::var("CI").as_deref() != Ok("true"), "trace: NOT TRIED: {error}");
            // Past the test harness, which keeps what passing tests print to itself.
            let _ = writeln!(io::stderr(), "not tested: trace: {error}");
            false
        }
    }
}

/// Without input, with pipes for the output, in English, and with a watchdog.
fn quiet(mut command: Command) -> Command {
    command.env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // SAFETY: a system call without memory, which is allowed between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::alarm(WATCHDOG.as_secs() as u32);
            Ok(())
        })
    };
    command
}

fn shell(script: &str) -> Command {
    let mut command = quiet(Command::new("sh"));
    command.args(["-c", script]);
    command
}

/// A shell whose working directory is this folder.
fn shell_in(folder: &Path, script: &str) -> Command {
    let mut command = shell(script);
    command.current_dir(folder);
    command
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < WATCHDOG, "{what} did not come about");
        thread::sleep(Duration::from_millis(1));
    }
}

/// How a child ends.
fn end(mut child: Child) -> ExitStatus {
    wait_until("the end of a child", || has_ended(child.id()));
    child.wait().unwrap()
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id() as i32)
}

#[derive(Debug)]
struct Ended {
    status: ExitStatus,
    stdout: String,
    stderr: String,
    outcome: Outcome,
}

/// A whole life of a command under a plan.
fn run(command: Command, plan: Plan) -> Ended {
    let (mut child, trace) = Trace::start(command, plan).unwrap();
    let (mut stdout, mut stderr) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    let outcome = trace.outcome().unwrap();
    Ended { status: end(child), stdout, stderr, outcome }
}

fn calls(names: &[&str]) -> Plan {
    Plan::count(Unit::Syscall(Calls::named(names).unwrap()))
}

fn all_calls() -> Plan {
    Plan::count(Unit::Syscall(Calls::All))
}

fn state(process: u32) -> char {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit(')').next().and_then(|rest| rest.trim().chars().next()).unwrap_or('-')
}

/// What the processes do that are this test program: `act` says which.
fn helper(act: &str) -> Command {
    let mut command = quiet(Command::new(env::current_exe().unwrap()));
    command.args(["--exact", "sys::trace::tests::helper_process", "--nocapture", "--test-threads=1"]);
    command.env("TRACE_HELPER", act);
    command
}

/// Not a test: the process of [`helper`].
#[test]
fn helper_process() {
    match env::var("TRACE_HELPER").as_deref() {
        Ok("threads") => {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    thread::spawn(|| {
                        (0..25).for_each(|_| nix::unistd::setpgid(Pid::this(), Pid::this()).unwrap())
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }
        Ok("spawn") => {
            // `std` makes this one by posix_spawn.
            let status = Command::new("/bin/echo").arg("from a child").status().unwrap();
            println!("ended: {status}");
        }
        Ok("exec") => {
            thread::spawn(|| panic!("{}", Command::new("/bin/echo").arg("from a thread").exec()));
            loop {
                thread::park();
            }
        }
        Ok("tracer") => {
            let (child, _trace) = Trace::start(shell("sleep 1000; exit 1"), all_calls()).unwrap();
            wait_until("the shell's child", || {
                fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id()))
                    .is_ok_and(|children| !children.is_empty())
            });
            println!("\ntraced {}", child.id());
            loop {
                thread::park();
            }
        }
        _ => {}
    }
}

#[test]
fn the_calls_of_a_simple_program_repeat_from_run_to_run() {
    if !can_trace() {
        return;
    }
    let counts = [(); 3].map(|()| run(quiet(Command::new("cat")), all_calls()).outcome.count);
    assert!(counts[0] > 10 && counts.iter().all(|count| *count == counts[0]), "{counts:?}");
}

#[test]
fn a_process_killed_at_a_write_has_not_written() {
    if !can_trace() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = "exec dd if=/dev/zero of=out bs=10 count=3";
    let plan = calls(&["write"]).below(folder.path()).at(3, Strike::Kill);
    let ended = run(shell_in(folder.path(), script), plan);
    assert_eq!(ended.status.signal(), Some(libc::SIGKILL), "{ended:?}");
    assert_eq!(fs::metadata(folder.path().join("out")).unwrap().len(), 20);
    let struck = ended.outcome.struck.unwrap();
    assert_eq!((struck.number, struck.call.as_deref(), struck.process), (3, Some("write"), struck.thread));
    assert!(struck.place.unwrap().contains("libc"), "the write is a function of the C library");
}

#[test]
fn a_kill_at_each_call_leaves_every_state_that_a_file_can_have() {
    if !can_trace() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out");
    let script = "echo text > out; echo more >> out";
    let points = run(shell_in(folder.path(), script), all_calls()).outcome.count;
    let mut seen = Vec::new();
    for point in 1..=points {
        let _ = fs::remove_file(&file);
        let ended = run(shell_in(folder.path(), script), all_calls().at(point, Strike::Kill));
        assert_eq!(ended.outcome.struck.map(|struck| struck.number), Some(point));
        assert_eq!(ended.status.signal(), Some(libc::SIGKILL), "at {point}");
        let text = fs::read_to_string(&file).unwrap_or_else(|_| "none".into());
        if seen.last() != Some(&text) {
            seen.push(text);
        }
    }
    assert_eq!(seen, ["none", "", "text\n", "text\nmore\n"]);
}

#[test]
fn a_full_disk_is_reported_by_the_program() {
    if !can_trace() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("in"), "text").unwrap();
    let plan = || Plan { begin: Begin::Exec, ..Plan::full_disk(Lasting::Always) }.below(folder.path());
    let ended = run(shell_in(folder.path(), "exec cp in out"), plan());
    assert!(ended.stderr.contains("No space left on device"), "{ended:?}");
    assert!(!ended.status.success() && !folder.path().join("out").exists(), "{ended:?}");
    // The file is there already, so its opening needs no room.
    fs::write(folder.path().join("out"), "").unwrap();
    let ended = run(shell_in(folder.path(), "exec cat in > out"), plan());
    assert!(ended.stderr.contains("No space left on device"), "{ended:?}");
    assert_eq!(fs::read(folder.path().join("out")).unwrap(), b"");
    assert_eq!(ended.outcome.count, 1);
    // Elsewhere there is room.
    let ended = run(shell_in(folder.path(), "exec cat in"), plan());
    assert!(ended.status.success() && ended.outcome.struck.is_none(), "{ended:?}");
}

/// Four lines are written to a file; the second write fails, and what comes after it as the plan says.
fn lines_that_failed(lasting: Lasting) -> String {
    let folder = tempfile::tempdir().unwrap();
    let script = "for n in 1 2 3 4; do echo $n >> out || echo $n; done";
    let strike = Strike::Fail { errno: libc::EIO, lasting };
    let ended = run(shell_in(folder.path(), script), calls(&["write"]).below(folder.path()).at(2, strike));
    let written = fs::read_to_string(folder.path().join("out")).unwrap();
    let mut both: Vec<&str> = written.lines().chain(ended.stdout.lines()).collect();
    both.sort();
    assert_eq!(both, ["1", "2", "3", "4"], "{ended:?}");
    ended.stdout.replace('\n', " ")
}

#[test]
fn calls_fail_once_or_several_times_or_for_a_time_or_always() {
    if !can_trace() {
        return;
    }
    assert_eq!(lines_that_failed(Lasting::Once), "2 ");
    assert_eq!(lines_that_failed(Lasting::Times(2)), "2 3 ");
    assert_eq!(lines_that_failed(Lasting::For(Duration::ZERO)), "2 ");
    assert_eq!(lines_that_failed(Lasting::For(WATCHDOG)), "2 3 4 ");
    assert_eq!(lines_that_failed(Lasting::Always), "2 3 4 ");
}

#[test]
fn the_calls_of_all_threads_are_counted() {
    if !can_trace() {
        return;
    }
    let ended = run(helper("threads"), calls(&["setpgid"]));
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(ended.outcome.count, 100);
    let ended = run(helper("threads"), calls(&["setpgid"]).at(50, Strike::Kill));
    let struck = ended.outcome.struck.unwrap();
    assert_ne!(struck.process, struck.thread);
    assert_eq!(ended.status.signal(), Some(libc::SIGKILL));
}

#[test]
fn children_of_a_shell_are_followed_and_struck_alone() {
    if !can_trace() {
        return;
    }
    let script = "/bin/echo one; /bin/echo two & wait $!; echo $?";
    let ended = run(shell(script), calls(&["execve"]));
    assert_eq!((ended.outcome.count, ended.stdout.as_str()), (2, "one\ntwo\n0\n"));
    let ended = run(shell(script), calls(&["execve"]).at(2, Strike::Kill));
    assert_eq!(ended.stdout, "one\n137\n");
    assert!(ended.status.success(), "{ended:?}");
}

#[test]
fn a_child_made_by_posix_spawn_is_followed() {
    if !can_trace() {
        return;
    }
    let plain = run(helper("spawn"), calls(&["execve"]));
    assert!(plain.stdout.contains("from a child\nended: exit status: 0"), "{plain:?}");
    assert_eq!(plain.outcome.count, 1);
    let ended = run(helper("spawn"), calls(&["execve"]).at(1, Strike::Kill));
    assert!(ended.stdout.contains("ended: signal: 9"), "{ended:?}");
}

#[test]
fn a_program_that_another_thread_executes_is_followed() {
    if !can_trace() {
        return;
    }
    let ended = run(helper("exec"), calls(&["exit_group"]));
    assert!(ended.stdout.ends_with("from a thread\n"), "{ended:?}");
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(ended.outcome.count, 1);
}

#[test]
fn a_process_that_ends_before_the_point_was_not_struck() {
    if !can_trace() {
        return;
    }
    let ended = run(shell("exit 7"), all_calls().at(NEVER, Strike::Kill));
    assert_eq!((ended.status.code(), ended.outcome.struck), (Some(7), None));
    assert!(ended.outcome.count > 0);
}

#[test]
fn the_outcome_comes_where_the_parent_has_collected_the_process() {
    if !can_trace() {
        return;
    }
    let (child, trace) = Trace::start(shell("exit 7"), all_calls().at(NEVER, Strike::Kill)).unwrap();
    assert_eq!(end(child).code(), Some(7));
    assert_eq!(trace.outcome().unwrap().struck, None);
}

#[test]
fn a_traced_process_that_is_killed_from_outside_was_not_struck() {
    if !can_trace() {
        return;
    }
    let plan = all_calls().at(NEVER, Strike::Kill);
    let (mut child, trace) = Trace::start(shell("exec sleep 1000"), plan).unwrap();
    assert!(!trace.is_over());
    child.kill().unwrap();
    assert_eq!(end(child).signal(), Some(libc::SIGKILL));
    assert_eq!(trace.outcome().unwrap().struck, None);
}

#[test]
fn a_released_process_continues_untraced() {
    if !can_trace() {
        return;
    }
    let mut command = shell("while read -r line; do echo $line; done");
    command.stdin(Stdio::piped());
    let (mut child, trace) = Trace::start(command, all_calls().at(NEVER, Strike::Kill)).unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut answer = |text: &[u8]| {
        input.write_all(text).unwrap();
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        line
    };
    assert_eq!(answer(b"one\n"), "one\n");
    trace.release();
    assert_eq!(answer(b"two\n"), "two\n");
    assert_eq!(trace.outcome().unwrap().struck, None);
    let status = || fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    wait_until("its release", || status().contains("TracerPid:\t0\n"));
    assert_eq!(answer(b"three\n"), "three\n");
    child.kill().unwrap();
    end(child);
}

#[test]
fn exit_codes_reach_the_parents_of_traced_processes() {
    if !can_trace() {
        return;
    }
    let ended = run(shell("(exit 3); echo $?; (exit 4) & wait $!; echo $?; kill -9 $$"), all_calls());
    assert_eq!((ended.stdout.as_str(), ended.status.signal()), ("3\n4\n", Some(libc::SIGKILL)));
}

#[test]
fn a_background_process_is_followed_after_its_shell() {
    if !can_trace() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = "(while [ ! -e go ]; do sleep 0.01; done; echo text > out) >/dev/null 2>&1 & exit 0";
    let plan = calls(&["write"]).below(folder.path());
    let (child, trace) = Trace::start(shell_in(folder.path(), script), plan).unwrap();
    // It is not collected: its tracer must see the others beside it.
    wait_until("the end of the shell", || has_ended(child.id()));
    assert!(!trace.is_over());
    fs::write(folder.path().join("go"), "").unwrap();
    assert_eq!(trace.outcome().unwrap().count, 1);
    assert!(end(child).success());
}

#[test]
fn a_traced_process_stops_and_continues_from_outside() {
    if !can_trace() {
        return;
    }
    let mut command = shell("while read -r line; do echo $line; done");
    command.stdin(Stdio::piped());
    let (mut child, trace) = Trace::start(command, all_calls().at(NEVER, Strike::Kill)).unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    for text in ["one\n", "two\n"] {
        request::send(pid(&child), libc::SIGSTOP).unwrap();
        wait_until("the stop", || {
            fs::read_to_string(format!("/proc/{}/wchan", child.id())).is_ok() && is_stopped(child.id())
        });
        input.write_all(text.as_bytes()).unwrap();
        assert!(is_stopped(child.id()), "{}", state(child.id()));
        request::send(pid(&child), libc::SIGCONT).unwrap();
        output.read_line(&mut line).unwrap();
    }
    assert_eq!(line, "one\ntwo\n");
    drop(input);
    assert!(trace.outcome().unwrap().struck.is_none());
    assert!(end(child).success());
}

/// Whether a process is stopped now, and a little later.
fn is_stopped(process: u32) -> bool {
    (0..20).all(|_| {
        thread::yield_now();
        matches!(state(process), 't' | 'T')
    })
}

#[test]
fn signals_for_real_time_pass_through() {
    if !can_trace() {
        return;
    }
    let ended = run(shell("trap 'echo caught' 40; kill -40 $$; echo after"), all_calls());
    assert_eq!(ended.stdout, "caught\nafter\n", "{ended:?}");
}

#[test]
fn a_signal_reaches_the_process_before_the_call() {
    if !can_trace() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let plan = || calls(&["write"]).below(folder.path()).at(1, Strike::Signal(libc::SIGTERM));
    let ended = run(shell_in(folder.path(), "echo text > out"), plan());
    assert_eq!(ended.status.signal(), Some(libc::SIGTERM), "{ended:?}");
    assert_eq!(fs::read(folder.path().join("out")).unwrap(), b"");
    // The call is made after the handler, with the same arguments.
    let ended =
        run(shell_in(folder.path(), "trap 'echo caught; exit 5' TERM; echo text > out; echo no"), plan());
    assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(5), "caught\n"), "{ended:?}");
    assert_eq!(fs::read(folder.path().join("out")).unwrap(), b"text\n");
}

#[test]
fn a_process_stopped_before_a_call_makes_it_when_it_continues() {
    if !can_trace() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out");
    let plan = |resume_after| calls(&["write"]).below(folder.path()).at(1, Strike::Stop { resume_after });
    let (child, trace) = Trace::start(shell_in(folder.path(), "echo text > out"), plan(None)).unwrap();
    let struck = trace.outcome().unwrap().struck.unwrap();
    wait_until("the stop", || state(struck.process) == 'T');
    assert_eq!(fs::read(&file).unwrap(), b"");
    request::send(pid(&child), libc::SIGCONT).unwrap();
    assert!(end(child).success());
    assert_eq!(fs::read(&file).unwrap(), b"text\n");
    let begin = Instant::now();
    let ended = run(shell_in(folder.path(), "echo text > out"), plan(Some(Duration::from_millis(20))));
    assert!(ended.status.success() && begin.elapsed() >= Duration::from_millis(20), "{ended:?}");
    assert_eq!(fs::read(&file).unwrap(), b"text\n");
}

#[test]
fn instructions_are_points_too() {
    if !can_trace() {
        return;
    }
    let instructions = || Plan::count(Unit::Instruction);
    let stop = Strike::Stop { resume_after: Some(Duration::ZERO) };
    let whole = run(quiet(Command::new("true")), instructions().at(3000, stop));
    assert!(whole.status.success() && whole.outcome.count == 3000, "{whole:?}");
    for number in [1, 2, 1000] {
        let ended = run(quiet(Command::new("true")), instructions().at(number, Strike::Kill));
        let struck = ended.outcome.struck.unwrap();
        assert_eq!((struck.number, struck.call, ended.status.signal()), (number, None, Some(libc::SIGKILL)));
        assert!(number > 2 || struck.place.unwrap().starts_with("ld-"), "programs begin in their loader");
    }
}

#[test]
fn a_running_process_is_followed_from_now_on_with_its_children() {
    if !can_trace() {
        return;
    }
    // The reader is a child of the shell, and was there before.
    let mut command =
        shell("exec 3<&0; { while read -r line; do echo $line; done; } <&3 & echo ready; wait $!; echo $?");
    command.stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    input.write_all(b"before\n").unwrap();
    output.read_line(&mut line).unwrap();
    let trace = Trace::attach(child.id(), calls(&["write"]).from_now().at(2, Strike::Kill)).unwrap();
    let twice = Trace::attach(child.id(), all_calls()).unwrap_err();
    assert_eq!(twice.kind(), io::ErrorKind::PermissionDenied);
    assert!(twice.to_string().contains("already traces it"), "{twice}");
    input.write_all(b"one\ntwo\n").unwrap();
    output.read_to_string(&mut line).unwrap();
    assert_eq!(line, "ready\nbefore\none\n137\n");
    let struck = trace.outcome().unwrap().struck.unwrap();
    assert_ne!(struck.process, child.id());
    assert!(end(child).success());
}

#[test]
fn what_cannot_be_traced_or_started_says_why() {
    let missing = Trace::attach(i32::MAX as u32, all_calls()).unwrap_err();
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    let expected = format!("process {} cannot be traced: there is no such process", i32::MAX);
    assert_eq!(missing.to_string(), expected);
    if can_trace() {
        let missing = Trace::start(quiet(Command::new("/no/such/program")), all_calls()).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}

#[test]
fn traced_processes_die_with_their_tracer() {
    if !can_trace() {
        return;
    }
    let mut tracer = helper("tracer").spawn().unwrap();
    let mut output = BufReader::new(tracer.stdout.take().unwrap()).lines();
    let traced = output.find_map(|line| line.unwrap().strip_prefix("traced ").map(str::to_string));
    let traced: u32 = traced.unwrap().parse().unwrap();
    let children = fs::read_to_string(format!("/proc/{traced}/task/{traced}/children")).unwrap();
    let child: u32 = children.trim().parse().unwrap();
    tracer.kill().unwrap();
    tracer.wait().unwrap();
    wait_until("the end of the traced", || {
        [traced, child].iter().all(|&id| matches!(state(id), '-' | 'Z' | 'X'))
    });
}

#[test]
fn fifty_processes_are_traced_at_the_same_time() {
    if !can_trace() {
        return;
    }
    let alone = run(shell("echo text"), all_calls()).outcome.count;
    let start = |n: u64| {
        let number = if n.is_multiple_of(2) { 1 } else { NEVER };
        Trace::start(shell("echo text"), all_calls().at(number, Strike::Kill))
    };
    let all: Vec<_> = (0..50).map(|n| start(n).unwrap()).collect();
    for (n, (child, trace)) in all.into_iter().enumerate() {
        let outcome = trace.outcome().unwrap();
        let status = end(child);
        match n % 2 {
            0 => assert_eq!((outcome.count, status.signal()), (1, Some(libc::SIGKILL))),
            _ => assert_eq!((outcome.count, status.code()), (alone, Some(0))),
        }
    }
}

#[test]
fn the_names_of_system_calls_are_unique_and_lead_to_their_numbers() {
    assert_eq!(names::name(libc::SYS_write), Some("write"));
    assert_eq!(names::number("write"), Some(Some(libc::SYS_write)));
    assert_eq!(names::number("open"), Some(cfg!(target_arch = "x86_64").then_some(2)));
    assert_eq!(names::number("wirte"), None);
    assert_eq!(Calls::named(&["write", "wirte"]), Err(UnknownCall("wirte".to_string())));
    assert_eq!(UnknownCall("wirte".into()).to_string(), "there is no system call \"wirte\"");
    let mut all: Vec<&str> = Calls::names().collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), Calls::names().count());
    assert!(all.len() > 300);
    for name in all {
        if let Some(Some(number)) = names::number(name) {
            assert_eq!(names::name(number), Some(name));
        }
    }
}
