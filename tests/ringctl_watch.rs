//! `ringctl watch`, beside real producers and consumers, and on a terminal.

mod ctl_support;

use std::{
    fs,
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    os::{
        fd::OwnedFd,
        unix::process::{CommandExt, ExitStatusExt},
    },
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Instant,
};

use ctl_support::*;
use nix::{
    pty::{Winsize, openpty},
    sys::{
        signal::Signal,
        termios::{LocalFlags, Termios, tcgetattr},
    },
};
use ringpipe::Ring;
use serde_json::Value;

/// The sentences of a watch that goes on, as they come.
struct Watch {
    process: Process,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Watch {
    fn start(name: &Name, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringctl"));
        command.args(["watch", &name.0]).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Process(command.spawn().unwrap());
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (stdout, seen) = (process.0.stdout.take().unwrap(), lines.clone());
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                seen.lock().unwrap().push(line.unwrap());
            }
        });
        Watch { process, lines }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Waits until this is told.
    #[track_caller]
    fn tells(&self, sentence: &str) {
        let start = Instant::now();
        while !self.lines().iter().any(|line| line == sentence) {
            assert!(start.elapsed() < WATCHDOG, "{sentence:?} is not among {:#?}", self.lines());
            thread::sleep(std::time::Duration::from_millis(1));
        }
    }
}

/// First and last number after `word` in a sentence, as in `item 3` and `items 3 to 5`.
fn numbers(sentence: &str, word: &str) -> Option<(u64, u64)> {
    let mut words = sentence.split([' ', ':', ',', ';']).filter(|part| !part.is_empty());
    words.find(|part| *part == word || part.strip_suffix('s') == Some(word))?;
    let first = words.next()?.parse().ok()?;
    let last = (words.next() == Some("to")).then(|| words.next()?.parse().ok()).flatten();
    Some((first, last.unwrap_or(first)))
}

#[test]
fn each_step_of_an_item_is_told_in_turn() {
    let name = Name::ring("watch-steps", &["--capacity", "4"]);
    let me = std::process::id();
    let ring = Ring::open(&name.0).unwrap();
    let mut watch = Watch::start(&name, &["--interval", "1ms"]);
    watch.tells(&format!("ring {:?}: 4 slots, 0 in use; 0 items waiting, 0 held", name.0));
    let mut producer = ring.producer().unwrap();
    watch.tells(&format!("producer {me} comes"));
    let reserved = producer.reserve(5).unwrap();
    watch.tells(&format!("producer {me} writes slot 0"));
    reserved.commit();
    watch.tells("slot 0: item 0 is ready");
    let mut consumer = ring.consumer().unwrap();
    watch.tells(&format!("consumer {me} comes"));
    let item = consumer.recv().unwrap();
    watch.tells(&format!("consumer {me} takes item 0 from slot 0"));
    item.give_back();
    watch.tells(&format!("consumer {me} gives item 0 back: to be delivered again"));
    let item = consumer.recv().unwrap();
    watch.tells(&format!("consumer {me} takes item 0 from slot 0, its delivery no. 2"));
    item.ack();
    watch.tells(&format!("consumer {me} is done with item 0: slot 0 is free"));
    producer.send(b"second").unwrap();
    watch.tells(&format!("producer {me} wrote item 1 into slot 1: it is ready"));
    let batch = producer.send_batch(&["c", "d"]).unwrap();
    assert_eq!(batch, 2);
    watch.tells(&format!("producer {me} wrote items 2 to 3 into slots 2 to 3: they are ready"));
    drop(producer);
    watch.tells(&format!("producer {me} leaves"));
    ring.close();
    watch.tells("the ring is closed: no more items come in");
    ring.remove().unwrap();
    assert_eq!(watch.process.wait(), Some(0));
    watch.tells("the ring was removed");
}

#[test]
fn a_paced_run_is_told_with_the_right_slots_in_the_right_order() {
    const ITEMS: u64 = 40;
    // More slots than items: nothing is overwritten, however late a look comes.
    let name = Name::ring("watch-paced", &["--capacity", "64"]);
    let mut watch = Watch::start(&name, &["--interval", "2ms"]);
    watch.tells(&format!("ring {:?}: 64 slots, 0 in use; 0 items waiting, 0 held", name.0));
    let mut consumer = Command::new(env!("CARGO_BIN_EXE_consumer"));
    consumer.args(["--rate", "100", &name.0]).stdin(Stdio::null()).stdout(Stdio::null());
    let mut consumer = Process(consumer.spawn().unwrap());
    let mut producer = Command::new(env!("CARGO_BIN_EXE_producer"));
    producer.args(["--rate", "200", &name.0]);
    let input: String = (0..ITEMS).map(|n| format!("line {n}\n")).collect();
    run_with(producer, input.as_bytes()).succeeds();
    assert_eq!(consumer.wait(), Some(0));
    ringctl(&["rm", &name.0]).succeeds();
    assert_eq!(watch.process.wait(), Some(0));
    watch.tells("the ring was removed");

    let lines = watch.lines();
    let (mut written, mut taken) = (0, 0);
    for line in &lines {
        let Some(items) = numbers(line, "item") else { continue };
        assert_eq!(numbers(line, "slot"), Some(items), "an item in another's slot: {line}");
        let wrote = line.contains(" ready") || line.contains(" went through ");
        let took = ["takes", "took"].iter().any(|word| line.contains(word));
        assert!(wrote || took || line.contains("is done with"), "{line}");
        for item in items.0..=items.1 {
            if wrote {
                assert_eq!(item, written, "{lines:#?}");
                written += 1;
            }
            if took {
                assert_eq!(item, taken, "{lines:#?}");
                assert!(item < written, "taken before it was written: {lines:#?}");
                taken += 1;
            }
        }
    }
    assert_eq!((written, taken), (ITEMS, ITEMS), "{lines:#?}");
}

#[test]
fn a_killed_consumer_is_told_and_what_becomes_of_its_item() {
    let name = Name::ring("watch-killed", &["--capacity", "256", "--slot-size", "1K"]);
    name.send(&("x".repeat(100_000) + "\n"));
    let mut consumer = consumer_that_holds(&name);
    let pid = consumer.0.id();
    let watch = Watch::start(&name, &["--interval", "2ms"]);
    watch.tells(&format!("consumer {pid} is here"));
    consumer.signal(Signal::SIGSTOP);
    watch.tells(&format!("consumer {pid} is stopped; it keeps what it holds"));
    consumer.kill();
    watch.tells(&format!("consumer {pid} died; item 0 will be delivered again"));
    let next = consumer_that_holds_now(&name);
    watch.tells(&format!("consumer {} takes item 0 from slots 0 to 97, its delivery no. 2", next.0.id()));
}

/// As [`consumer_that_holds`], where another one's item is held at first.
fn consumer_that_holds_now(name: &Name) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_consumer"));
    command.arg(&name.0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    Process(command.spawn().unwrap())
}

#[test]
fn who_waits_for_room_or_for_items_is_told() {
    let name = Name::ring("watch-waits", &["--capacity", "2"]);
    let watch = Watch::start(&name, &["--interval", "2ms"]);
    watch.tells(&format!("ring {:?}: 2 slots, 0 in use; 0 items waiting, 0 held", name.0));
    let mut consumer = Command::new(env!("CARGO_BIN_EXE_consumer"));
    consumer.arg(&name.0).stdin(Stdio::null()).stdout(Stdio::null());
    let mut consumer = Process(consumer.spawn().unwrap());
    watch.tells(&format!("consumer {} waits for an item: all 2 slots are free", consumer.0.id()));
    consumer.kill();
    let mut producer = idle_producer(&name);
    producer.0.stdin.as_mut().unwrap().write_all(b"a\nb\nc\n").unwrap();
    watch.tells(&format!("producer {} waits for room: all 2 slots are full", producer.0.id()));
}

#[test]
fn a_fast_ring_is_told_in_numbers() {
    let name = Name::ring("watch-fast", &["--capacity", "4"]);
    let ring = Ring::open(&name.0).unwrap();
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    let watch = Watch::start(&name, &["--interval", "20ms"]);
    let summary = |line: &String| line.starts_with("in ") && line.contains(" items came in and ");
    wait_until(|| {
        for _ in 0..1000 {
            producer.send(b"x").unwrap();
            consumer.recv().unwrap().ack();
        }
        watch.lines().iter().any(summary)
    });
}

#[test]
fn json_has_an_object_per_look() {
    let name = Name::ring("watch-json", &["--capacity", "8"]);
    name.send("text\n");
    let mut binary = Command::new(env!("CARGO_BIN_EXE_producer"));
    binary.args(["--no-create", &name.0]);
    run_with(binary, b"\xff\xfe\n").succeeds();
    let ended = ringctl(&["watch", &name.0, "--json", "-n", "3", "--interval", "1ms"]).succeeds();
    let looks = ended.json_lines();
    assert_eq!(looks.iter().map(|look| look["look"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
    for look in &looks {
        assert_eq!((&look["schema"], &look["state"]), (&"ringpipe.watch/1".into(), &"open".into()));
        assert_eq!((&look["states"]["ready"], &look["states"]["free"]), (&2.into(), &6.into()));
        let items = look["items"].as_array().unwrap();
        assert_eq!((&items[0]["slot"], &items[0]["state"]), (&0.into(), &"ready".into()));
        assert_eq!((&items[0]["text"], &items[1]["base64"]), (&"text".into(), &"//4=".into()));
        assert_eq!(look["semaphores"]["items"]["sleepers"], 0);
    }
    let told = |look: &Value| look["events"].as_array().unwrap().len();
    assert_eq!((told(&looks[0]), told(&looks[1])), (1, 0));
}

#[test]
fn once_shows_each_slot_of_a_small_ring_as_text() {
    let name = Name::ring("watch-once", &["--capacity", "4"]);
    name.send("first\nse\tcond\n");
    let shown = ringctl(&["watch", &name.0, "--once"]).succeeds().stdout;
    assert_eq!(shown.matches("READY").count(), 3, "two slots and the legend:\n{shown}");
    assert_eq!(shown.matches("FREE").count(), 3, "two slots and the legend:\n{shown}");
    for part in ["#0", "first", "#1", "se\\tcond", "nobody takes part", "items", "room", "2 of 4 in use"] {
        assert!(shown.contains(part), "no {part} in\n{shown}");
    }
    assert!(!shown.contains('\x1b'), "{shown}");
    let coloured = ringctl(&["watch", &name.0, "--once", "--color", "always"]).succeeds().stdout;
    assert!(coloured.contains("\x1b["), "{coloured}");
}

#[test]
fn looking_changes_nothing() {
    let name = Name::ring("watch-only", &["--capacity", "16"]);
    name.send("a\nb\n");
    let before = fs::read(name.path()).unwrap();
    ringctl(&["watch", &name.0, "--events", "-n", "5", "--interval", "1ms"]).succeeds();
    ringctl(&["watch", &name.0, "--once"]).succeeds();
    assert!(before == fs::read(name.path()).unwrap(), "the segment's bytes have changed");
}

#[test]
fn a_missing_ring_is_not_found_or_waited_for() {
    let name = Name::new("watch-missing");
    let ended = ringctl(&["watch", &name.0]).ends_with(3);
    assert_eq!(ended.complaint(), format!("ringctl: ring {:?} does not exist", name.0));
    assert!(ended.stderr.contains("hint: ") && ended.stderr.contains("--wait"), "{ended:?}");
    let mut watch = Watch::start(&name, &["--wait", "-n", "1"]);
    ringctl(&["create", &name.0]).succeeds();
    assert_eq!(watch.process.wait(), Some(0));
    wait_until(|| watch.lines().len() == 1);
}

#[test]
fn bad_arguments_are_usage_errors() {
    for arguments in [
        &["--interval", "0"][..],
        &["--interval", "2h"],
        &["--interval", "5"],
        &["--once", "--json"],
        &["--json", "--events"],
        &["--once", "-n", "2"],
        &["-n", "x"],
    ] {
        let ended = ringctl(&[&["watch", "x"], arguments].concat()).ends_with(2);
        assert!(ended.stdout.is_empty() && !ended.stderr.is_empty(), "{arguments:?}: {ended:?}");
    }
}

#[test]
fn a_closed_output_is_a_clean_stop_and_a_full_one_is_not() {
    let name = Name::ring("watch-output", &["--capacity", "4"]);
    let mut watch = Command::new(env!("CARGO_BIN_EXE_ringctl"));
    watch.args(["watch", &name.0, "--interval", "1ms"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut watch = Process(watch.spawn().unwrap());
    // Nothing more happens in the ring: that nobody reads is noticed without a write.
    drop(watch.0.stdout.take());
    assert_eq!(watch.wait(), Some(0));
    let mut full = Command::new(env!("CARGO_BIN_EXE_ringctl"));
    full.args(["watch", &name.0, "--events"]).stdout(File::create("/dev/full").unwrap());
    let mut full = Process(full.stderr(Stdio::piped()).spawn().unwrap());
    assert_eq!(full.wait(), Some(1));
}

/// A watch on a terminal of its own.
struct Screen {
    process: Process,
    keys: File,
    /// The side of the terminal that the process has.
    terminal: OwnedFd,
    shown: Arc<Mutex<String>>,
    before: Termios,
}

const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";

impl Screen {
    fn start(name: &Name) -> Self {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(&size, None).unwrap();
        let before = tcgetattr(&pair.slave).unwrap();
        let side = || Stdio::from(pair.slave.try_clone().unwrap());
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringctl"));
        command.args(["watch", &name.0, "--interval", "5ms"]).env("TERM", "xterm-256color");
        // A job of its own, as a shell would have it.
        command.stdin(side()).stdout(side()).stderr(side()).process_group(0);
        let process = Process(command.spawn().unwrap());
        let shown = Arc::new(Mutex::new(String::new()));
        let (mut output, seen) = (File::from(pair.master.try_clone().unwrap()), shown.clone());
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n) = output.read(&mut bytes) {
                seen.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..n]));
            }
        });
        Screen { process, keys: File::from(pair.master), terminal: pair.slave, shown, before }
    }

    #[track_caller]
    fn shows(&self, part: &str, times: usize) {
        let start = Instant::now();
        while self.shown.lock().unwrap().matches(part).count() < times {
            assert!(start.elapsed() < WATCHDOG, "no {part:?} in {:?}", self.shown.lock().unwrap());
            thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
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
fn the_screen_shows_the_ring_and_gives_the_terminal_back_on_q() {
    let name = Name::ring("watch-screen", &["--capacity", "4"]);
    name.send("in a box\n");
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
fn the_terminal_is_given_back_however_watching_ends() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let name = Name::ring("watch-signal", &[]);
        let mut screen = Screen::start(&name);
        screen.shows("What happens", 1);
        screen.process.signal(signal);
        assert_eq!(screen.process.wait(), None);
        assert_eq!(screen.process.0.wait().unwrap().signal(), Some(signal as i32));
        screen.is_given_back();
    }
    let name = Name::ring("watch-key", &[]);
    let mut screen = Screen::start(&name);
    screen.shows("What happens", 1);
    screen.press("\x03");
    assert_eq!(screen.process.wait(), Some(0));
    screen.is_given_back();

    let name = Name::ring("watch-removed", &[]);
    let mut screen = Screen::start(&name);
    screen.shows("What happens", 1);
    ringctl(&["rm", &name.0]).succeeds();
    assert_eq!(screen.process.wait(), Some(0));
    screen.is_given_back();
    screen.shows("the ring was removed", 1);
}

#[test]
fn a_stopped_watch_gives_the_terminal_back_and_comes_again() {
    let name = Name::ring("watch-stop", &["--capacity", "4"]);
    let state = |screen: &Screen| {
        let stat = fs::read_to_string(format!("/proc/{}/stat", screen.process.0.id())).unwrap();
        stat.rsplit(") ").next().unwrap().chars().next().unwrap()
    };
    let mut screen = Screen::start(&name);
    screen.shows("What happens", 1);
    for round in 1..=2 {
        match round {
            1 => screen.process.signal(Signal::SIGTSTP),
            _ => screen.press("\x1a"),
        }
        wait_until(|| state(&screen) == 'T');
        screen.is_given_back();
        screen.process.signal(Signal::SIGCONT);
        screen.shows(ENTER, 1 + round);
        wait_until(|| screen.is_raw());
        screen.shows("What happens", 1 + round);
    }
    screen.press("q");
    assert_eq!(screen.process.wait(), Some(0));
    screen.is_given_back();
}

#[test]
fn a_terminal_that_goes_away_ends_the_watch() {
    let name = Name::ring("watch-hangup", &["--capacity", "4"]);
    let screen = Screen::start(&name);
    screen.shows("What happens", 1);
    let Screen { mut process, keys, terminal, shown, .. } = screen;
    // The reader of the test holds the other side, too, until this one has closed.
    drop((keys, terminal, shown));
    process.signal(Signal::SIGHUP);
    assert_eq!(process.wait(), None);
}
