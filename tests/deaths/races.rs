//! Create races: a hundred processes create, attach to and remove the ring of one name at the same time, round
//! after round. Each succeeds or gets the right error; in the end the name is free or belongs to a complete ring.
//!
//! `cargo test --test deaths races::` takes a few rounds. A thousand:
//!
//! ```text
//! RINGPIPE_RACES=1000 cargo test --test deaths races:: -- --nocapture
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{ChildStderr, ChildStdin, Stdio};
use std::time::Duration;

use crate::support::{
    Kept, Random, TestName, again, die_with_parent, env_number, mix, options, report, seed, times_slower,
};
use ringpipe::{Error, ErrorKind, Ring};

const RACER: &str = "RINGPIPE_TEST_RACER";
const CROWD: u64 = 100;
const SLOTS: u64 = 4;
const ROUNDS: u64 = 40;
/// A racer that does not answer so long has hung.
const WATCHDOG: libc::c_uint = 120;

/// What a racer does in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Create,
    OpenOrCreate,
    Send,
    Receive,
    Remove,
    RemoveIfDeserted,
}

const PARTS: [Part; 6] =
    [Part::Create, Part::OpenOrCreate, Part::Send, Part::Receive, Part::Remove, Part::RemoveIfDeserted];

impl Part {
    /// The errors that are right. All others are wrong.
    fn may_answer(self, kind: ErrorKind) -> bool {
        match self {
            // Removed at once by another, before its maker had it.
            Part::Create => matches!(kind, ErrorKind::Exists | ErrorKind::NotFound),
            Part::OpenOrCreate => false,
            Part::Send => matches!(kind, ErrorKind::NotFound | ErrorKind::Closed | ErrorKind::Full),
            Part::Receive => matches!(kind, ErrorKind::NotFound | ErrorKind::Empty | ErrorKind::Ended),
            Part::Remove | Part::RemoveIfDeserted => kind == ErrorKind::NotFound,
        }
    }

    /// Answers which ring it was, and whether this removed it.
    fn play(self, name: &str) -> Result<(String, bool), Error> {
        let options = options().capacity(SLOTS).slot_size(64);
        let ring = match self {
            Part::Create => options.create(name)?,
            Part::OpenOrCreate => options.open_or_create(name)?,
            _ => Ring::open(name)?,
        };
        let mut removed = false;
        match self {
            Part::Create | Part::OpenOrCreate => is_whole(&ring),
            Part::Send => ring.producer()?.try_send(b"item")?,
            Part::Receive => {
                let mut consumer = ring.consumer()?;
                let item = consumer.try_recv()?;
                assert_eq!(&*item, b"item");
                item.ack();
            }
            Part::Remove => removed = ring.remove()?,
            Part::RemoveIfDeserted => removed = ring.remove_if_deserted(true)?,
        }
        Ok((identity(&ring), removed))
    }
}

fn identity(ring: &Ring) -> String {
    format!("{:032x}", u128::from_ne_bytes(ring.id()))
}

fn is_whole(ring: &Ring) {
    let snapshot = ring.snapshot().expect("a ring can be looked at");
    assert_eq!((snapshot.capacity, snapshot.slot_size), (SLOTS, 64));
    assert!(snapshot.used_slots <= SLOTS);
}

/// The lot of racer `index` in a round, from the round's own number.
fn lot(round: u64, index: u64) -> Part {
    PARTS[(mix(round ^ index << 32) % PARTS.len() as u64) as usize]
}

/// Not a test: what the racers run. Each line is a round: its number, and when it begins.
#[test]
fn racer() {
    let Some(index) = env_number(RACER) else { return };
    die_with_parent();
    let name = std::env::var("RINGPIPE_TEST_RING").expect("set by the starter");
    for line in std::io::stdin().lines().map_while(Result::ok) {
        // SAFETY: a system call without memory.
        unsafe { libc::alarm(WATCHDOG * times_slower()) };
        let (round, begin) = line.split_once(' ').expect("two numbers");
        let part = lot(round.parse().expect("a number"), index);
        wait_for(begin.parse().expect("a time"));
        let answer = match part.play(&name) {
            Ok((ring, removed)) => format!("{} {ring}", if removed { "removed" } else { "ok" }),
            Err(error) if part.may_answer(error.kind()) => format!("{:?}", error.kind()),
            Err(error) => format!("wrong {error} ({error:?})"),
        };
        eprintln!("{answer}");
        // SAFETY: as above.
        unsafe { libc::alarm(0) };
    }
}

fn now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_micros() as u64
}

fn wait_for(begin: u64) {
    std::thread::sleep(Duration::from_micros(begin.saturating_sub(now())));
}

struct Racer {
    _process: Kept,
    to: ChildStdin,
    from: Lines<BufReader<ChildStderr>>,
}

fn racers(name: &str) -> Vec<Racer> {
    let start = |index: u64| {
        let mut command = again("races::racer", RACER, &index.to_string());
        command.env("RINGPIPE_TEST_RING", name).stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("a racer");
        let to = child.stdin.take().expect("piped");
        let from = BufReader::new(child.stderr.take().expect("piped")).lines();
        Racer { _process: Kept(child), to, from }
    };
    (0..CROWD).map(start).collect()
}

#[test]
fn a_hundred_processes_that_create_attach_and_remove_at_once_get_right_answers() {
    let name = TestName::new("races");
    let mut racers = racers(&name);
    let rounds = env_number("RINGPIPE_RACES").unwrap_or(ROUNDS);
    let seed = seed();
    let mut random = Random::new(seed);
    let mut answers = BTreeMap::<(Part, String), u64>::new();
    let (mut left, mut before) = (0, None);
    for round in 0..rounds {
        let number = random.next();
        let begin = now() + 3000;
        racers.iter_mut().for_each(|racer| writeln!(racer.to, "{number} {begin}").expect("it listens"));
        let mut rings = Rings::default();
        rings.seen.extend(before.take());
        for (index, racer) in racers.iter_mut().enumerate() {
            let part = lot(number, index as u64);
            let words = racer.from.next().expect("it answers").expect("in text");
            let (answer, ring) = words.split_once(' ').unwrap_or((&words, ""));
            assert_ne!(answer, "wrong", "round {round}, seed {seed}: {part:?} by {index}: {words}");
            rings.note(part, answer == "removed", ring);
            *answers.entry((part, answer.into())).or_default() += 1;
        }
        before = works_or_is_free(&name);
        rings.check(before.as_deref());
        left += u64::from(before.is_some());
    }
    let made = answers.iter().filter(|((part, answer), _)| *part == Part::Create && answer == "ok");
    assert!(made.map(|(_, times)| times).sum::<u64>() > 0, "no process created a ring: {answers:?}");
    if std::env::var_os("RINGPIPE_RACES").is_some() {
        report(&format!("{rounds} rounds of {CROWD}, a ring left in {left}: {answers:#?}"));
    }
    if let Ok(ring) = Ring::open(&name) {
        ring.remove().expect("it can be removed");
    }
}

/// The rings that a round has seen.
#[derive(Default)]
struct Rings {
    seen: BTreeSet<String>,
    removed: BTreeSet<String>,
    /// Rings that may have been retired: then the next open removes their name, and does not report it.
    retired: BTreeSet<String>,
}

impl Rings {
    fn note(&mut self, part: Part, removed: bool, ring: &str) {
        if ring.is_empty() {
            return;
        }
        self.seen.insert(ring.into());
        if removed {
            assert!(self.removed.insert(ring.into()), "{ring} was removed twice: another one for it");
        } else if part == Part::RemoveIfDeserted {
            self.retired.insert(ring.into());
        }
    }

    /// Every ring is still there, or a process has removed it.
    fn check(&self, left: Option<&str>) {
        let gone =
            self.seen.iter().filter(|ring| !self.removed.contains(*ring) && !self.retired.contains(*ring));
        let lost: Vec<_> = gone.filter(|ring| Some(ring.as_str()) != left).collect();
        assert!(lost.is_empty(), "{lost:?} are gone, and no process has removed them");
        assert!(left.is_none_or(|left| !self.removed.contains(left)), "removed, and still there");
    }
}

/// The ring that there is after the round, all of which can be used.
fn works_or_is_free(name: &TestName) -> Option<String> {
    let ring = match Ring::open(name) {
        Ok(ring) => ring,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
            assert!(!name.exists(), "not found, but there");
            return None;
        }
    };
    is_whole(&ring);
    assert!(!ring.is_closed(), "a closed ring kept its name");
    assert_eq!(ring.participants(), [], "all have left");
    let mut consumer = ring.consumer().expect("there is room for one");
    while let Ok(item) = consumer.try_recv() {
        item.ack();
    }
    let mut producer = ring.producer().expect("there is room for one");
    (0..SLOTS).for_each(|_| producer.try_send(b"item").expect("every slot is free"));
    assert_eq!(producer.try_send(b"item").map_err(|error| error.kind()), Err(ErrorKind::Full));
    Some(identity(&ring))
}
