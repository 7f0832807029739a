//! No thread and no process beside the first (`ulimit -u`).

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::libc::SIGINT;
use nix::sys::resource::Resource;
use nix::unistd::geteuid;
use ringpipe::{Activity, Role};

use crate::machines::{program, refused};
use crate::support::{Run, TestName, copy_program, not_tested, wait_until};

/// Runs the programs as a user that may have one process. Root may always have more, so that it becomes another user.
struct Lonely {
    programs: tempfile::TempDir,
    user: Option<u32>,
}

impl Lonely {
    /// `None`: this user cannot become another one.
    fn new() -> Option<Self> {
        let programs = tempfile::tempdir().unwrap();
        fs::set_permissions(programs.path(), Permissions::from_mode(0o755)).unwrap();
        for name in ["producer", "consumer", "ringctl"] {
            copy_program(program(name), programs.path().join(name));
        }
        // One that has no other processes, those of the tests beside this one among them.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = || 1_000_000 + std::process::id() * 8 + NEXT.fetch_add(1, Ordering::Relaxed);
        let user = geteuid().is_root().then(next);
        let lonely = Lonely { programs, user };
        let ended = lonely.command("ringctl --version").run();
        if ended.code != Some(0) {
            not_tested(&format!("this user cannot become another one here: {}", ended.stderr));
        }
        (ended.code == Some(0)).then_some(lonely)
    }

    fn command(&self, line: &str) -> Run {
        let mut words = line.split(' ');
        let program = self.programs.path().join(words.next().unwrap());
        let run = match self.user {
            Some(user) => Run::new("setpriv")
                .args(&[&format!("--reuid={user}"), &format!("--regid={user}"), "--clear-groups"])
                .arg(program),
            None => Run::new(program.to_str().unwrap()),
        };
        run.args(&words.collect::<Vec<_>>()).limited(Resource::RLIMIT_NPROC, 1)
    }
}

#[test]
fn producers_and_consumers_need_no_thread_to_wait_and_to_end_by_an_interrupt() {
    let Some(lonely) = Lonely::new() else { return };
    let ring = TestName::new("lonely").stays();
    let line = |line: &str| line.replace('R', &ring.name);
    let mut producer = lonely.command(&line("producer R")).open_input().spawn();
    wait_until("ring", || ring.exists());
    let consumer = lonely.command(&line("consumer R")).spawn();
    std::io::Write::write_all(producer.stdin.as_mut().unwrap(), b"one\n").unwrap();
    consumer.wait_for_stdout(b"one\n");
    ring.wait_for(Role::Consumer, Activity::WaitingForItems);
    consumer.signal(SIGINT);
    consumer.end().by_signal(SIGINT).quiet();
    producer.signal(SIGINT);
    producer.end().by_signal(SIGINT).quiet();
}

#[test]
fn an_interrupt_ends_a_wait_for_a_token_without_a_thread() {
    let Some(lonely) = Lonely::new() else { return };
    let ring = TestName::named(format!("sem.lonely-{}", std::process::id()));
    let name = &ring.name["sem.".len()..];
    lonely.command(&format!("ringctl sem create {name}")).run().with_code(0);
    let waiting = lonely.command(&format!("ringctl sem wait {name}")).spawn();
    wait_until("process that catches interrupts", || catches(waiting.pid(), SIGINT));
    waiting.signal(SIGINT);
    waiting.end().by_signal(SIGINT).quiet();
    lonely.command(&format!("ringctl sem rm {name}")).run().with_code(0);
}

fn catches(pid: i32, signal: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(caught.trim(), 16).unwrap() >> (signal - 1) & 1 == 1
}

#[test]
fn a_command_that_cannot_start_processes_says_so() {
    let Some(lonely) = Lonely::new() else { return };
    for line in ["ringctl run /etc/passwd", "ringctl bench --only start"] {
        let ended = lonely.command(line).run();
        refused(line, &ended, "Resource temporarily unavailable");
        assert!(ended.stderr.contains("hint: ulimit -u"), "{}", ended.stderr);
    }
}
