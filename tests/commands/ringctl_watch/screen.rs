//! The picture on a terminal.

use std::{
    fs,
    fs::File,
    io::{Read, Write},
    os::{
        fd::OwnedFd,
        unix::process::{CommandExt, ExitStatusExt},
    },
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Instant,
};

use nix::{
    sys::{
        signal::{Signal, kill},
        termios::{LocalFlags, Termios, tcgetattr},
    },
    unistd::Pid,
};

use crate::support::*;

/// A watch on a terminal of its own.
struct Screen {
    process: Kept,
    keys: File,
    /// The side of the terminal that the process has.
    terminal: OwnedFd,
    shown: Arc<Mutex<String>>,
    before: Termios,
}

const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";

impl Screen {
    fn start(name: &TestName) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringctl"));
        // A job of its own, as a shell would have it.
        command.args(["watch", &name.name, "--interval", "5ms"]).process_group(0);
        Self::of(command)
    }

    /// A command on a terminal of its own.
    fn of(mut command: Command) -> Self {
        let (master, terminal) = terminal::pair(24, 80);
        let before = tcgetattr(&terminal).unwrap();
        let side = || Stdio::from(terminal.try_clone().unwrap());
        command.stdin(side()).stdout(side()).stderr(side()).env("TERM", "xterm-256color");
        let process = Kept::start(&mut command);
        let shown = Arc::new(Mutex::new(String::new()));
        let (mut output, seen) = (master.try_clone().unwrap(), shown.clone());
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n) = output.read(&mut bytes) {
                seen.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..n]));
            }
        });
        Screen { process, keys: master, terminal, shown, before }
    }

    #[track_caller]
    fn shows(&self, part: &str, times: usize) {
        let start = Instant::now();
        while self.shown.lock().unwrap().matches(part).count() < times {
            let shown = self.shown.lock().unwrap();
            // The end of it: there are many pictures.
            let end: String = shown.chars().rev().take(1000).collect::<Vec<_>>().into_iter().rev().collect();
            assert!(start.elapsed() < watchdog(), "no {part:?} in {end:?}");
            drop(shown);
            thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Presses return: before its next prompt, a shell says what became of its jobs.
    fn says_after_return(&mut self, part: &str) -> bool {
        self.press("\n");
        thread::sleep(std::time::Duration::from_millis(10));
        self.shown.lock().unwrap().contains(part)
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.terminal).unwrap().local_flags.contains(LocalFlags::ICANON)
    }

    /// The terminal is as it was before.
    #[track_caller]
    fn is_given_back(&self) {
        self.shows(LEAVE, 1);
        self.shows("\x1b[?25h", 1);
        assert_eq!(tcgetattr(&self.terminal).unwrap(), self.before);
    }
}

#[test]
fn the_screen_shows_the_ring_and_q_restores_the_terminal() {
    let name = TestName::ring("watch-screen", &["--capacity", "4"]);
    name.send_lines("in a box\n");
    let mut screen = Screen::start(&name);
    screen.shows(ENTER, 1);
    screen.shows("box", 1);
    assert!(screen.is_raw());
    screen.press("?");
    screen.shows("What is to be seen", 1);
    screen.press("x");
    screen.press(" ");
    screen.shows("paused", 1);
    screen.press("q");
    assert_eq!(screen.process.wait(), Some(0));
    screen.is_given_back();
}

#[test]
fn the_terminal_is_restored_however_watching_ends() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let name = TestName::ring("watch-signal", &[]);
        let mut screen = Screen::start(&name);
        screen.shows("What happens", 1);
        screen.process.signal(signal);
        assert_eq!(screen.process.ended().signal(), Some(signal as i32));
        screen.is_given_back();
    }
    let name = TestName::ring("watch-key", &[]);
    let mut screen = Screen::start(&name);
    screen.shows("What happens", 1);
    screen.press("\x03");
    assert_eq!(screen.process.wait(), Some(0));
    screen.is_given_back();

    let name = TestName::ring("watch-removed", &[]);
    let mut screen = Screen::start(&name);
    screen.shows("What happens", 1);
    ringctl(&["rm", &name.name]).succeeds();
    assert_eq!(screen.process.wait(), Some(0));
    screen.is_given_back();
    screen.shows("the ring was removed", 1);
}

/// The state of a process, as /proc has it.
fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(") ").next()?.chars().next()
}

#[test]
fn a_stopped_watch_restores_the_terminal_and_redraws_when_continued() {
    let name = TestName::ring("watch-stop", &["--capacity", "4"]);
    let mut screen = Screen::start(&name);
    screen.shows("What happens", 1);
    for round in 1..=2 {
        match round {
            1 => screen.process.signal(Signal::SIGTSTP),
            _ => screen.press("\x1a"),
        }
        wait_until("it is stopped", || state(screen.process.0.id()) == Some('T'));
        screen.is_given_back();
        screen.process.signal(Signal::SIGCONT);
        screen.shows(ENTER, 1 + round);
        wait_until("the terminal is raw", || screen.is_raw());
        screen.shows("What happens", 1 + round);
    }
    screen.press("q");
    assert_eq!(screen.process.wait(), Some(0));
    screen.is_given_back();
}

#[test]
fn a_terminal_that_goes_away_ends_the_watch() {
    let name = TestName::ring("watch-hangup", &["--capacity", "4"]);
    let screen = Screen::start(&name);
    screen.shows("What happens", 1);
    let Screen { mut process, keys, terminal, shown, .. } = screen;
    // The reader of the test holds the other side, too, until this one has closed.
    drop((keys, terminal, shown));
    process.signal(Signal::SIGHUP);
    assert_eq!(process.wait(), None);
}

/// The only child of a shell.
fn child_of(shell: u32) -> Option<u32> {
    fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).ok()?.trim().parse().ok()
}

/// How often a process was taken off its processor: more often when it has run since.
fn switches(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let count = |line: &str| line.split_once("ctxt_switches:")?.1.trim().parse::<u64>().ok();
    status.lines().filter_map(count).sum()
}

/// A command for a shell to run when it has noticed that its job is stopped.
fn once_stopped(command: &str) -> String {
    format!("until [ -n \"$(jobs -s)\" ]; do :; done; {command}\n")
}

/// A shell with job control, whose terminal is its own.
fn shell() -> Screen {
    let mut command = Command::new("setsid");
    command.args(["--ctty", "bash", "--norc", "--noediting", "-i"]).env("PS1", "").env("LC_ALL", "C");
    let screen = Screen::of(command);
    wait_until("it sleeps", || state(screen.process.0.id()) == Some('S'));
    screen
}

#[test]
fn a_watch_in_the_background_is_stopped_and_leaves_the_terminal_alone() {
    let name = TestName::ring("watch-job", &["--capacity", "4"]);
    let mut screen = shell();
    let shell = screen.process.0.id();
    screen.press(&format!("{} watch {} --interval 5ms &\n", env!("CARGO_BIN_EXE_ringctl"), name.name));
    let is_stopped = || child_of(shell).is_some_and(|pid| state(pid) == Some('T'));
    wait_until("it is stopped", is_stopped);
    assert!(!screen.shown.lock().unwrap().contains(ENTER));
    for round in 1..=2 {
        screen.press(&once_stopped("fg"));
        screen.shows(ENTER, round);
        screen.shows("What happens", round);
        assert!(screen.is_raw());
        screen.press("\x1a");
        screen.shows(LEAVE, round);
        wait_until("it is stopped", is_stopped);
        // Continued in the background, it stops again at once.
        let before = child_of(shell).map(switches);
        screen.press(&once_stopped("bg; echo is in the back"));
        screen.shows("\nis in the back", round);
        wait_until("it went on", || child_of(shell).map(switches) > before);
        wait_until("it is stopped", is_stopped);
        assert_eq!(screen.shown.lock().unwrap().matches(ENTER).count(), round);
    }
    screen.press(&once_stopped("kill %1"));
    wait_until("the watch has ended", || child_of(shell).is_none());
    wait_until("the shell reports the end", || screen.says_after_return("Terminated"));
    assert_eq!(screen.shown.lock().unwrap().matches(ENTER).count(), 2);
    screen.press("exit\n");
    screen.process.wait();
}

#[test]
fn a_signal_ends_the_watch_after_a_stop_that_did_not_restore_the_terminal() {
    let name = TestName::ring("watch-stopped", &["--capacity", "4"]);
    let mut screen = shell();
    let shell = screen.process.0.id();
    screen.press(&format!("{} watch {} --interval 5ms &\n", env!("CARGO_BIN_EXE_ringctl"), name.name));
    wait_until("it is stopped", || child_of(shell).and_then(state) == Some('T'));
    screen.press(&once_stopped("fg"));
    screen.shows("What happens", 1);
    let watch = child_of(shell).unwrap();
    let send = |signal| kill(Pid::from_raw(watch as i32), signal).unwrap();
    send(Signal::SIGSTOP);
    wait_until("it is stopped", || state(watch) == Some('T'));
    send(Signal::SIGHUP);
    screen.press(&once_stopped("kill -CONT %1"));
    screen.shows(LEAVE, 1);
    wait_until("the watch has ended", || child_of(shell).is_none());
    wait_until("the shell reports the end", || screen.says_after_return("Hangup"));
    screen.press("exit\n");
    screen.process.wait();
}

#[test]
fn the_help_scrolls_to_its_end_and_back() {
    let name = TestName::ring("watch-help", &["--capacity", "4"]);
    let mut screen = Screen::start(&name);
    screen.shows("What happens", 1);
    screen.press("?");
    screen.shows("\u{2193} more", 1);
    assert!(!screen.shown.lock().unwrap().contains("other key"));
    screen.press("\x1b[F");
    screen.shows("other", 1);
    screen.shows("\u{2191}", 1);
    screen.press("x");
    screen.press("q");
    assert_eq!(screen.process.wait(), Some(0));
    screen.is_given_back();
}

#[test]
fn neither_the_name_nor_an_item_controls_the_screen() {
    let title = "\x1b]0;title\x07";
    let name = TestName::named(format!("{title}\u{9b}2J\u{202e}watch-{}", std::process::id())).stays();
    ringctl(&["create", &name.name, "--capacity", "4", "--slot-size", "64"]).succeeds();
    name.send_lines(&format!("{title}\n\u{9b}2J\u{202e}\n"));
    let mut screen = Screen::start(&name);
    screen.shows("\\u{1b}]0;title\\u{7}\\u{9b}2J\\u{202e}watch", 1);
    // The items, too, are drawn by now.
    screen.press("?");
    screen.shows("What is to be seen", 1);
    screen.press("x");
    screen.press("q");
    assert_eq!(screen.process.wait(), Some(0));
    screen.is_given_back();
    let shown = screen.shown.lock().unwrap();
    let steering = |c: char| matches!(c, '\u{7}' | '\u{80}'..='\u{9f}' | '\u{202a}'..='\u{202e}');
    assert!(!shown.contains("\x1b]") && !shown.contains(steering), "{shown:?}");
}
