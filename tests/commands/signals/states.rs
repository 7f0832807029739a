//! The states in which a signal may find a producer or a consumer.

use std::collections::BTreeMap;
use std::time::Duration;

use ringpipe::{Consumer, Producer, Ring, RingOptions};

use crate::signals::trial::{ASKING, Times, ask_to_leave, left_as_asked};
use crate::support::{Run, Running, TestName, consumer, producer, scale};

/// A state, by how the process is called and what it finds.
struct State {
    name: &'static str,
    is_producer: bool,
    options: &'static [&'static str],
    /// Items that wait before it comes.
    before: u64,
    /// It comes to a ring that is not there.
    no_ring: bool,
    input: Input,
    /// Longest time after its start at which the signal comes, in microseconds.
    within: u64,
    /// Its output has no reader.
    unread: bool,
}

#[derive(Clone, Copy)]
enum Input {
    /// Lines without end; how many were sent it says itself.
    Endless,
    /// Nothing, and no end.
    Open,
    /// This number of lines.
    Lines(u64),
}

const PLAIN: State = State {
    name: "",
    is_producer: false,
    options: &[],
    before: 0,
    no_ring: false,
    input: Input::Open,
    within: 40_000,
    unread: false,
};

const CAPACITY: u64 = 256;

const STATES: [State; 16] = [
    State { name: "consumer, starting up", before: 100, within: 4_000, ..PLAIN },
    State { name: "consumer, waiting for items", ..PLAIN },
    State { name: "consumer, waiting for items with --follow", options: &["--follow"], ..PLAIN },
    State { name: "consumer, waiting for items with --timeout", options: &["--timeout", "1h"], ..PLAIN },
    State { name: "consumer, waiting for the ring", no_ring: true, within: 60_000, ..PLAIN },
    State { name: "consumer, working", before: 200, within: 12_000, ..PLAIN },
    State { name: "consumer, paused by --rate", options: &["--rate", "1/m"], before: 9, ..PLAIN },
    State { name: "consumer, paused by --delay", options: &["--delay", "3ms..9s"], before: 9, ..PLAIN },
    State { name: "consumer, output blocked", options: &["--json"], before: 200, unread: true, ..PLAIN },
    State {
        name: "producer, starting up",
        is_producer: true,
        input: Input::Lines(50),
        within: 4_000,
        ..PLAIN
    },
    State {
        name: "producer, starting up, without a ring",
        is_producer: true,
        no_ring: true,
        within: 8_000,
        ..PLAIN
    },
    State { name: "producer, waiting for input", is_producer: true, ..PLAIN },
    State {
        name: "producer, waiting for room",
        is_producer: true,
        input: Input::Endless,
        before: CAPACITY,
        ..PLAIN
    },
    State {
        name: "producer, working, then full",
        is_producer: true,
        input: Input::Endless,
        within: 12_000,
        ..PLAIN
    },
    State {
        name: "producer, paused by --rate",
        is_producer: true,
        options: &["--rate", "1/m"],
        input: Input::Lines(9),
        ..PLAIN
    },
    State {
        name: "producer, at its end",
        is_producer: true,
        input: Input::Lines(200),
        within: 12_000,
        ..PLAIN
    },
];

/// How often each text is expected, and has come.
#[derive(Default)]
struct Count(BTreeMap<String, (u64, u64)>);

impl Count {
    fn sent(&mut self, text: String) {
        self.0.entry(text).or_default().0 += 1;
    }

    fn received(&mut self, text: String) {
        self.0.entry(text).or_default().1 += 1;
    }

    /// The same of an item that was delivered before. A consumer that leaves gives back what it has written and its
    /// reader had not taken yet: then the reader has it, too.
    fn received_again(&mut self, text: String) {
        self.0.entry(text).or_default().1 = 1;
    }

    /// Each came as often as it was sent; what is right needs no more attention.
    #[track_caller]
    fn adds_up(&mut self, what: &str) {
        for (text, (sent, received)) in &self.0 {
            assert!(sent == received, "{what}: {text:?} was sent {sent} times and received {received} times");
        }
        self.0.clear();
    }
}

fn trials() -> u64 {
    let usual = if scale::is_ci() { 320 } else { 120 };
    std::env::var("RINGPIPE_SIGNALS").map_or(usual, |trials| trials.parse().unwrap())
}

#[test]
fn a_signalled_command_exits_and_holds_nothing() {
    let seed = std::env::var("RINGPIPE_SEED").map_or(5, |seed| seed.parse().unwrap());
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut all, per_state) = (Times::default(), trials().div_ceil(STATES.len() as u64));
    println!("| state | signals | p50 ms | p99 ms | max ms | later than 100 ms |\n|---|---|---|---|---|---|");
    for state in &STATES {
        let mut times = Times::default();
        for turn in 0..per_state {
            let time = trial(state, turn, &mut random);
            times.add(time);
            all.add(time);
        }
        times.tell(state.name);
    }
    all.tell("all");
}

/// One process in this state, and one signal; how long it took to leave.
fn trial(state: &State, turn: u64, random: &mut fastrand::Rng) -> Duration {
    let what = format!("{}, {turn}", state.name);
    let ring = match state.no_ring {
        true => TestName::new("asked"),
        false => TestName::made("asked", &RingOptions::new().capacity(CAPACITY)),
    };
    let mut count = Count::default();
    // The others of the ring are this process: so the stream does not end.
    let mut others = (!state.no_ring).then(|| others(&ring));
    if let Some((sender, _)) = &mut others {
        for number in 0..state.before {
            sender.send(format!("before {number}").as_bytes()).unwrap();
            count.sent(format!("before {number}"));
        }
    }
    let mut process = start(state, &ring);
    std::thread::sleep(Duration::from_micros(random.u64(..state.within)));
    let signal = ASKING[random.usize(..ASKING.len())];
    if random.u8(..) < 64 {
        // Stopped for a moment between; the signal may come while it is.
        process.signal(libc::SIGTSTP);
        std::thread::sleep(Duration::from_micros(random.u64(..3000)));
        process.signal(libc::SIGCONT);
    }
    let (status, time) = ask_to_leave(&mut process, signal);
    left_as_asked(status, signal, &what);
    holds_nothing(&ring, process.pid(), &what);
    let said = process.messages();
    if state.is_producer {
        // It says how many it has sent. Without that it was not attached yet.
        let sent = said.lines().last().and_then(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let sent = sent.map_or(0, |stats| stats["items"].as_u64().unwrap());
        (1..=sent).for_each(|number| count.sent(number.to_string()));
        assert!(!state.no_ring || !ring.exists(), "{what}: it had sent nothing, and left a ring");
    } else {
        let bytes = process.output();
        let text = String::from_utf8(bytes).unwrap();
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            count.received(match state.unread {
                true => {
                    serde_json::from_str::<serde_json::Value>(line).unwrap()["text"].as_str().unwrap().into()
                }
                false => line.into(),
            });
        }
    }
    if let Some((sender, receiver)) = others {
        drop(sender);
        drain(receiver, &mut count, &what);
        let left = ring.open().snapshot().unwrap();
        assert_eq!(
            (left.used_slots, left.held.len(), left.participants.len()),
            (0, 0, 0),
            "{what}: {left:?}"
        );
    }
    count.adds_up(&what);
    time
}

fn others(ring: &TestName) -> (Producer, Consumer) {
    let ring = ring.open();
    (ring.producer().unwrap(), ring.consumer().unwrap())
}

fn start(state: &State, ring: &TestName) -> Running {
    let options = |run: Run| run.args(state.options);
    if !state.is_producer {
        let run = options(consumer(ring, &[]));
        return if state.unread { run.paused_output().spawn() } else { run.spawn() };
    }
    let run = options(producer(ring, &["--json", "-q"]));
    match state.input {
        Input::Endless => run.input(crate::support::seq(20_000)).spawn(),
        Input::Lines(lines) => run.input(crate::support::seq(lines)).spawn(),
        Input::Open => run.open_input().spawn(),
    }
}

/// An observer sees neither the process nor anything that it holds, from the moment it has ended.
#[track_caller]
fn holds_nothing(ring: &TestName, pid: i32, what: &str) {
    let Ok(ring) = Ring::open(&ring.name) else { return };
    let snapshot = ring.snapshot().unwrap();
    let listed = snapshot.participants.iter().any(|one| one.pid == pid as u32);
    assert!(!listed, "{what}: it has left, and is listed: {snapshot:?}");
    assert!(snapshot.held.is_empty(), "{what}: it has left, and slots are held: {snapshot:?}");
    assert_eq!(snapshot.writing, 0, "{what}: it has left, and a slot is being written");
}

/// All that is left, none of it delivered before but for what was given back.
fn drain(mut receiver: Consumer, count: &mut Count, what: &str) {
    loop {
        match receiver.try_recv() {
            Ok(item) => {
                let text = String::from_utf8(item.to_vec()).unwrap();
                if item.redelivered() {
                    count.received_again(text)
                } else {
                    count.received(text)
                }
                item.ack();
            }
            Err(error) => {
                let is_end = matches!(error.kind(), ringpipe::ErrorKind::Ended | ringpipe::ErrorKind::Empty);
                assert!(is_end, "{what}: {error}");
                return;
            }
        }
    }
}
