use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::os::fd::FromRawFd;
use std::os::unix::process::CommandExt;

use nix::sys::signal::{SigSet, Signal, kill};

use super::*;
use crate::sys::descriptors::memory_file;
use crate::sys::testing::wait_until;

fn shell(line: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", line]);
    command
}

fn wait(child: &Child) -> Ended {
    let mut ended = None;
    wait_until(|| {
        ended = child.ended().unwrap();
        ended.is_some()
    });
    ended.unwrap()
}

/// A file that a process of the test writes, and that is removed with this.
struct Note(std::path::PathBuf);

impl Note {
    fn new(name: &str) -> Self {
        Note(std::env::temp_dir().join(format!("ringpipe-tree-{}-{name}", process::id())))
    }

    /// The ids that were written, once there are `count`.
    fn ids(&self, count: usize) -> Vec<Pid> {
        let mut ids = Vec::new();
        wait_until(|| {
            let text = fs::read_to_string(&self.0).unwrap_or_default();
            let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            ids = lines.map(|line| Pid::from_raw(line.trim().parse().unwrap())).collect();
            ids.len() == count
        });
        ids
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Descendants of all kinds, which write their ids: in the group, without the environment, in another session.
fn family(note: &Note) -> String {
    let note = note.0.display();
    format!(
        "sleep 1000 & echo $! >> {note}; env -i /bin/sleep 1000 & echo $! >> {note}; \
         setsid sh -c 'echo $$ >> {note}; exec sleep 1000' & \
         (setsid sh -c 'sleep 1000 & echo $! >> {note}' &); echo $$ >> {note}; wait"
    )
}

const FAMILY: usize = 5;

fn is_gone(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_none_or(|rest| matches!(rest.trim_start().chars().next(), None | Some('Z' | 'X')))
}

#[test]
fn the_end_of_a_process_is_seen_and_leaves_its_number_in_use() {
    let tree = Tree::new().unwrap();
    let seven = tree.start(shell("exit 7"), vec![], None).unwrap();
    assert_eq!(wait(&seven), Ended::Code(7));
    let child = tree.start(shell("exec sleep 1000"), vec![], None).unwrap();
    assert_eq!(child.ended(), Ok(None));
    child.signal(Signal::SIGTERM).unwrap();
    assert_eq!(wait(&child), Ended::Signal(libc::SIGTERM));
    assert_eq!(wait(&seven), Ended::Code(7), "a second time");
    assert_eq!(kill(seven.id(), None), Ok(()), "a zombie");
    drop(tree);
    assert_eq!(seven.ended(), Err(Errno::ECHILD));
}

/// More than a start makes descriptors of its own.
const ROTATED: usize = 12;

#[test]
fn descriptors_can_have_each_others_numbers() {
    let tree = Tree::new().unwrap();
    let [mut one, mut two] = [(); 2].map(|()| memory_file().unwrap());
    let [first, second] = [one.as_raw_fd(), two.as_raw_fd()];
    let copies = [one.try_clone().unwrap(), two.try_clone().unwrap()];
    let line = format!("echo one > /proc/self/fd/{second}; echo two > /proc/self/fd/{first}");
    (one, two) = {
        let also = vec![(one.into(), second), (two.into(), first)];
        assert_eq!(wait(&tree.start(shell(&line), also, None).unwrap()), Ended::Code(0));
        copies.into()
    };
    for (file, text) in [(&mut one, "one\n"), (&mut two, "two\n")] {
        let mut found = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut found).unwrap();
        assert_eq!(found, text);
    }
    // The pipe through which an error comes has none of the numbers, even where lower ones were free for the copies.
    let lower: Vec<File> = (0..ROTATED).map(|_| memory_file().unwrap()).collect();
    let rotated: Vec<File> = (0..ROTATED).map(|_| memory_file().unwrap()).collect();
    drop(lower);
    let mut numbers: Vec<RawFd> = rotated.iter().map(AsRawFd::as_raw_fd).collect();
    numbers.rotate_left(1);
    let also = rotated.into_iter().map(OwnedFd::from).zip(numbers).collect();
    let error = tree.start(Command::new("/no/such/program"), also, None).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

#[test]
fn all_descendants_end_with_the_tree() {
    // Where no control group can be made, this tests the same twice.
    for cgroup in [Cgroup::new, |_: &str| None] {
        let note = Note::new("family");
        let tree = Tree::with(cgroup, |_| vec![]).unwrap();
        ends_with_its_family(tree, &note);
    }
}

fn ends_with_its_family(tree: Tree, note: &Note) {
    tree.start(shell(&family(note)), vec![], None).unwrap();
    let mut ids = note.ids(FAMILY);
    ids.sort();
    let mut survivors = tree.survivors();
    survivors.sort();
    assert!(ids.iter().all(|id| survivors.contains(id)), "{ids:?} {survivors:?}");
    drop(tree);
    assert!(ids.iter().all(|id| is_gone(*id)), "{ids:?}");
}

/// The process that is killed in the next test.
#[test]
#[ignore = "started by another test"]
fn starts_a_family_and_waits() {
    let note = Note(std::env::var_os("RINGPIPE_NOTE").unwrap().into());
    let file = note.0.with_extension("file");
    let folder = note.0.with_extension("folder");
    let tree = Tree::with(|_| None, |_| vec![file.clone(), folder.clone()]).unwrap();
    fs::create_dir(&folder).unwrap();
    (0..1000).for_each(|n| fs::write(folder.join(n.to_string()), "").unwrap());
    fs::write(file, "").unwrap();
    tree.start(shell(&family(&note)), vec![], None).unwrap();
    // A process that is not of the tree, with a copy of all descriptors: the guard must notice the end without it.
    let mut other = shell("exec sleep 60");
    let null = process::Stdio::null;
    // It outlives this process, which is killed.
    #[allow(clippy::zombie_processes)]
    let other = other.process_group(0).stdout(null()).stderr(null()).spawn().unwrap();
    let mut file = File::options().create(true).append(true).open(&note.0).unwrap();
    writeln!(file, "{}", other.id()).unwrap();
    std::mem::forget(note);
    thread::sleep(Duration::from_secs(1000));
}

#[test]
fn all_descendants_end_when_the_process_that_started_them_is_killed() {
    let note = Note::new("killed");
    let mut actor = Command::new(std::env::current_exe().unwrap());
    actor.args(["--exact", "sys::tree::tests::starts_a_family_and_waits", "--ignored"]);
    let mut actor = actor.env("RINGPIPE_NOTE", &note.0).stdout(process::Stdio::null()).spawn().unwrap();
    let ids = note.ids(FAMILY + 1);
    let file = note.0.with_extension("file");
    let folder = note.0.with_extension("folder");
    assert!(file.exists() && folder.exists());
    actor.kill().unwrap();
    actor.wait().unwrap();
    wait_until(|| ids.iter().filter(|id| !is_gone(**id)).count() == 1 && !file.exists() && !folder.exists());
    let other = *ids.iter().find(|id| !is_gone(**id)).unwrap();
    let program = fs::read_to_string(format!("/proc/{other}/cmdline")).unwrap();
    assert_eq!(program.split('\0').collect::<Vec<_>>(), ["sleep", "60", ""]);
    kill(other, Signal::SIGKILL).unwrap();
}

#[test]
fn a_process_can_be_prepared_before_it_executes_its_program() {
    let tree = Tree::new().unwrap();
    let name = |pid: Pid| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    let seen = Mutex::new(None);
    let before = |pid| {
        *seen.lock().unwrap() = Some((pid, name(pid)));
        Ok(())
    };
    let child = tree.start(shell("sleep 1000; true"), vec![], Some(&before)).unwrap();
    let (pid, program) = seen.lock().unwrap().take().unwrap();
    assert_eq!(pid, child.id());
    assert!(program != "sh\n" && name(pid) == "sh\n", "{program}");
}

#[test]
fn a_process_that_cannot_be_prepared_does_not_execute_its_program() {
    let note = Note::new("refused");
    let tree = Tree::new().unwrap();
    let refuse = |_| Err(io::Error::from_raw_os_error(libc::EPERM));
    let error =
        tree.start(shell(&format!("echo 1 > {}", note.0.display())), vec![], Some(&refuse)).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EPERM));
    wait_until(|| tree.survivors().is_empty());
    assert!(!note.0.exists());
    let missing = tree.start(Command::new("/does/not/exist"), vec![], Some(&|_| Ok(()))).unwrap_err();
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
}

#[test]
fn a_process_has_the_descriptors_that_it_is_given_under_their_numbers() {
    let tree = Tree::new().unwrap();
    let (mut reader, writer) = io::pipe().unwrap();
    let child = tree.start(shell("echo ready >&9; exec sleep 1000"), vec![(writer.into(), 9)], None).unwrap();
    let mut text = [0; 6];
    reader.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"ready\n");
    child.signal(Signal::SIGKILL).unwrap();
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"", "this process has kept the writing end");
}

#[test]
fn a_process_has_the_default_actions_for_signals() {
    let blocked: SigSet = [Signal::SIGTSTP, Signal::SIGUSR1].into_iter().collect();
    blocked.thread_block().unwrap();
    let tree = Tree::new().unwrap();
    let (mut reader, writer) = io::pipe().unwrap();
    // SAFETY: a copy of a descriptor that is closed below.
    let copy = unsafe { File::from_raw_fd(libc::dup(writer.as_raw_fd())) };
    let mut command = shell("grep Sig[BI] /proc/self/status");
    command.stdout(copy);
    tree.start(command, vec![], None).unwrap();
    drop(writer);
    blocked.thread_unblock().unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    let masks =
        text.lines().map(|line| u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap());
    // The C library keeps signals 32 and 33 for itself, and does not let a program set their actions.
    let own = 3 << 31;
    assert_eq!(masks.map(|mask| mask & !own).collect::<Vec<_>>(), [0, 0], "{text}");
}
