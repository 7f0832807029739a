//! One ring, its users, the process that corrupts it, and how they all end.

use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ringpipe::internal::layout::geometry::Geometry;
use ringpipe::{Discipline, RingOptions};

use super::worker;
use crate::corruption::Seen;
use crate::corruption::acts::{self, Orders, Style};
use crate::support::{Ended, Run, Running, consumer, producer};
use crate::support::{Kept, Random, TestName};

/// How long a process that is not asked to end may take.
const GRACE: Duration = Duration::from_secs(1);
/// What `ringctl` is asked in between; each of them has an end.
const LOOKS: [&[&str]; 8] = [
    &["inspect"],
    &["inspect", "--json"],
    &["peek"],
    &["watch", "--once"],
    &["repair"],
    &["list"],
    &["wait", "--until", "empty", "--timeout", "50ms"],
    &["wait", "--until", "producers=0", "--timeout", "50ms"],
];

pub fn run(random: &mut Random, seen: &mut Seen) {
    let exclusive = random.one_in(5);
    let (capacity, slot_size) = (2 << random.below(9), 8 << random.below(6));
    // Each other one as often as the rest, and the default more often.
    let discipline = Discipline::ALL.get(random.below(6) as usize).copied().unwrap_or_default();
    let participants = if exclusive { 2 } else { 64 };
    let options = RingOptions::new().capacity(capacity).slot_size(slot_size).participants(participants);
    let options = options.exclusive(exclusive).timestamps(random.one_in(2)).sync(discipline);
    let ring = TestName::made("corrupted", &options);
    let flags = exclusive as u64 | (ring.open().has_timestamps() as u64) << 1;
    let geometry = Geometry::new(capacity, slot_size, participants, 1, flags).unwrap();
    let style = Style::ALL[random.below(6) as usize];
    let time = Duration::from_millis(300 + random.below(900));
    let pause = [0, 50, 2000][random.below(3) as usize];
    let orders =
        Orders { style, seed: random.next(), pause, time, words: geometry.words, payload: geometry.payload };
    let what = format!(
        "{style:?}, pause {pause} us, {discipline:?}, exclusive {exclusive}, {capacity} x {slot_size}"
    );

    let mut users = Vec::new();
    for _ in 0..if exclusive { 1 } else { 2 } {
        users.push(("producer", a_producer(&ring, random)));
        users.push(("consumer", a_consumer(&ring, random)));
    }
    let workers: Vec<Kept> = (0..if exclusive { 0 } else { 2 })
        .map(|_| started(worker::of(&ring.name, random.next(), time + GRACE / 2)))
        .collect();
    std::thread::sleep(Duration::from_millis(random.below(60)));
    let corruption = started(acts::of(&ring.name, &orders));
    let begin = Instant::now();
    while begin.elapsed() < time {
        let verb = LOOKS[random.below(LOOKS.len() as u64) as usize];
        let look = Run::new(env!("CARGO_BIN_EXE_ringctl")).args(verb);
        let look = if verb == ["list"] { look } else { look.arg(&ring.name) };
        judge("ringctl", look.run(), false, &what, seen);
    }
    seen.acts +=
        end_of(corruption, "the corrupting process", &what).trim().parse::<u64>().expect("its count");
    for (program, user) in users {
        let (ended, asked) = ask_to_end(user, begin + time + GRACE);
        judge(program, ended, asked, &what, seen);
    }
    for worker in workers {
        let said = end_of(worker, "a worker", &what);
        *seen.ends.entry(said.trim().to_string()).or_default() += 1;
        seen.processes += 1;
    }
    let removed = Run::new(env!("CARGO_BIN_EXE_ringctl")).args(&["rm", "-f"]).arg(&ring.name).run();
    judge("ringctl", removed, false, &what, seen);
    // A file that is no longer recognisable as a ring stays.
    let _ = std::fs::remove_file(ring.path());
    a_fresh_ring_works(&options);
    seen.rounds += 1;
}

fn a_producer(ring: &TestName, random: &mut Random) -> Running {
    let mut args = vec!["--no-create"];
    args.extend(match random.below(4) {
        0 => ["--on-full", "drop-newest"],
        1 => ["--timeout", "300ms"],
        _ => ["--slot-size", "8"],
    });
    args.extend(match random.below(3) {
        0 => ["--raw", "/dev/zero"],
        1 => ["--delimiter", "e"],
        _ => ["--stats", "--null"],
    });
    let mut run = producer(ring, &args);
    if !args.contains(&"--raw") {
        run = run.input(
            std::iter::repeat_n(&b"some words of varied length\0"[..], 20_000).collect::<Vec<_>>().concat(),
        );
    }
    run.spawn()
}

fn a_consumer(ring: &TestName, random: &mut Random) -> Running {
    let args: &[&str] = match random.below(6) {
        0 => &["--json"],
        1 => &["--raw"],
        2 => &["--frame", "len32", "--timeout", "200ms"],
        3 => &["--follow"],
        4 => &["-n", "5000"],
        _ => &["--stats"],
    };
    consumer(ring, args).stdout(File::create("/dev/null").unwrap()).spawn()
}

fn started(mut command: Command) -> Kept {
    Kept(command.stdout(Stdio::null()).spawn().expect("a process"))
}

/// What a helper process said when it ended, which it does by itself.
fn end_of(mut process: Kept, who: &str, what: &str) -> String {
    let mut ended = None;
    crate::support::wait_until(&format!("the end of {who}: {what}"), || {
        ended = process.0.try_wait().unwrap();
        ended.is_some()
    });
    let mut said = String::new();
    process.0.stderr.take().expect("piped").read_to_string(&mut said).unwrap();
    assert!(ended.is_some_and(|status| status.success()), "{who} ended by {ended:?}: {what}\n{said}");
    said
}

/// Waits until then, asks to end if need be, and waits.
fn ask_to_end(mut user: Running, until: Instant) -> (Ended, bool) {
    while user.is_running() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(2));
    }
    let asked = user.is_running();
    if asked {
        user.signal(libc::SIGTERM);
    }
    (user.end(), asked)
}

/// No signal but the one that was sent, a documented code, and one line with perhaps a hint.
fn judge(program: &str, ended: Ended, asked: bool, what: &str, seen: &mut Seen) {
    let Ended { code, signal, stderr, .. } = &ended;
    let fine = match (code, signal) {
        (Some(0 | 1 | 3 | 4 | 5 | 6), None) => true,
        (None, Some(libc::SIGTERM)) => asked,
        _ => false,
    };
    assert!(fine, "{program} ended by {code:?} {signal:?}: {what}\n{stderr}");
    let failed = code.is_some_and(|code| code != 0);
    let begins = format!("{program}: ");
    let mut whys = stderr.lines().filter(|line| line.starts_with(&begins));
    let others = stderr.lines().filter(|line| !line.starts_with(&begins) && !line.starts_with("hint: "));
    // Statistics, where they were asked for, are the only other lines.
    assert!(others.clone().count() <= 3 && (!failed || whys.clone().count() >= 1), "{what}\n{stderr}");
    assert!(!stderr.contains("panicked") && !stderr.contains("(os error"), "{what}\n{stderr}");
    let why = if failed { whys.next_back().map(kind_of).unwrap_or_default() } else { String::new() };
    let code = code.map_or("asked to end".into(), |code| code.to_string());
    *seen.ends.entry(format!("{program} {code}{why}")).or_default() += 1;
    seen.processes += 1;
    seen.asked += asked as u64;
}

/// What a line says, without names and numbers.
fn kind_of(line: &str) -> String {
    let text: String = line.chars().filter(|c| !c.is_ascii_digit()).collect();
    let text =
        text.split('"').enumerate().filter(|(n, _)| n % 2 == 0).map(|(_, part)| part).collect::<String>();
    format!(" {}", text.split_once(": ").map_or(text.as_str(), |(_, rest)| rest).trim())
}

fn a_fresh_ring_works(options: &RingOptions) {
    let name = TestName::new("corrupted-fresh");
    let ring = options.create(&name).unwrap();
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    for n in 0..100u64 {
        while producer.send_timeout(&n.to_le_bytes(), Duration::from_secs(20)).is_err() {}
        let item = consumer.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(*item, n.to_le_bytes());
        item.ack();
    }
    ring.remove().unwrap();
}
