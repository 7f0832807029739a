//! Throughput and round trip between two processes on two cores, side by side in interleaved rounds.
//!
//! ```text
//! cargo bench --bench exchange                 # about two minutes, 5 rounds
//! cargo bench --bench exchange -- --rounds 9 --seconds 1 --only 64
//! ```
//!
//! Every message carries its number in each of its 8-byte words, and the receiver checks all of them.
//! The same work for everybody: copied in, copied out, nothing lost, blocking when full. What is
//! compared: a ring for many (`ringpipe`) and an exclusive one, each message acknowledged; the textbook
//! ring with the semaphores room, items and mutex; a pipe; and, as a reference between threads of one
//! process, crossbeam's ArrayQueue, spinning.

mod link;
mod links;
mod report;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use link::{BATCH, Kind, Link, Way, check, fill};
use report::{Report, Row};

const SIZES: [usize; 3] = [8, 64, 1024];
const END: u64 = u64::MAX;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if arguments.first().is_some_and(|arg| arg == "child") {
        return child(&arguments[1..]);
    }
    let option = |name: &str| {
        let at = arguments.iter().position(|arg| arg == name)?;
        arguments.get(at + 1)?.parse::<f64>().ok()
    };
    let rounds = option("--rounds").unwrap_or(5.0) as usize;
    let seconds = option("--seconds").unwrap_or(0.4);
    let only = option("--only").map(|size| size as usize);
    let mut report = Report::default();
    for _ in 0..rounds {
        for size in SIZES.into_iter().filter(|size| only.is_none_or(|only| only == *size)) {
            for way in [Way::One, Way::Batch] {
                for kind in Kind::ALL {
                    let rate = throughput(kind, way, size, seconds);
                    report.add(Row::rate(kind, way, size), rate);
                }
            }
        }
        for kind in Kind::ALL {
            let [middle, high] = round_trip(kind, seconds);
            report.add(Row::round_trip(kind, "p50"), middle);
            report.add(Row::round_trip(kind, "p99"), high);
        }
    }
    report.print(rounds, seconds);
}

/// Messages per second from one process to another.
fn throughput(kind: Kind, way: Way, size: usize, seconds: f64) -> f64 {
    let name = format!("bench-{}", std::process::id());
    if kind == Kind::Threads {
        return between_threads(way, size, seconds);
    }
    let _guard = links::create(kind, &name, size);
    let arguments = |role: &str| {
        [
            role.into(),
            format!("{kind:?}"),
            format!("{way:?}"),
            size.to_string(),
            name.clone(),
            seconds.to_string(),
        ]
    };
    let (to, from) = links::stdio(kind);
    let consumer = spawn(&arguments("consume"), from, 1);
    let mut producer = spawn(&arguments("produce"), to, 0);
    let rate = answer(consumer)[0];
    producer.wait().expect("the producer ends");
    rate
}

/// Median and 99th percentile of a round trip of 8 bytes, in microseconds.
fn round_trip(kind: Kind, seconds: f64) -> [f64; 2] {
    let names = [format!("bench-a-{}", std::process::id()), format!("bench-b-{}", std::process::id())];
    if kind == Kind::Threads {
        return links::threads_round_trip(seconds);
    }
    let _guards = names.each_ref().map(|name| links::create(kind, name, 8));
    let arguments = |role: &str, there: &str, back: &str| {
        [
            role.into(),
            format!("{kind:?}"),
            "One".into(),
            "8".into(),
            format!("{there},{back}"),
            seconds.to_string(),
        ]
    };
    let ((ping_out, pong_in), (pong_out, ping_in)) = (links::stdio(kind), links::stdio(kind));
    let mut pong = spawn_both(&arguments("pong", &names[0], &names[1]), pong_in, pong_out, 1);
    let ping = spawn_both(&arguments("ping", &names[0], &names[1]), ping_in, ping_out, 0);
    let figures = answer(ping);
    pong.wait().expect("the other side ends");
    [figures[0], figures[1]]
}

fn between_threads(way: Way, size: usize, seconds: f64) -> f64 {
    let (mut to, mut from) = links::threads(size);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            links::pin(0);
            produce(&mut *to, way, size, seconds);
        });
        links::pin(1);
        consume(&mut *from, way, size)
    })
}

fn spawn(arguments: &[String], pipe: Option<Stdio>, core: usize) -> Child {
    let (input, output) = match arguments[0].as_str() {
        "produce" => (None, pipe),
        _ => (pipe, None),
    };
    spawn_both(arguments, input, output, core)
}

fn spawn_both(arguments: &[String], input: Option<Stdio>, output: Option<Stdio>, core: usize) -> Child {
    let program = std::env::current_exe().expect("the path of this program");
    Command::new(program)
        .arg("child")
        .arg(core.to_string())
        .args(arguments)
        .stdin(input.unwrap_or_else(Stdio::null))
        .stdout(output.unwrap_or_else(Stdio::null))
        .stderr(Stdio::piped())
        .spawn()
        .expect("a child process starts")
}

fn answer(mut child: Child) -> Vec<f64> {
    let lines: Vec<String> =
        BufReader::new(child.stderr.take().expect("a pipe")).lines().map_while(Result::ok).collect();
    child.wait().expect("the child ends");
    let figures = lines.last().map(|line| line.split(' ').map_while(|word| word.parse().ok()).collect());
    match figures {
        Some(figures) if lines.len() == 1 => figures,
        _ => panic!("a child answered {lines:?}"),
    }
}

fn child(arguments: &[String]) {
    let [core, role, kind, way, size, name, seconds] = arguments else { panic!("seven arguments") };
    links::pin(core.parse().expect("a core"));
    let (kind, way) = (Kind::parse(kind), Way::parse(way));
    let (size, seconds) = (size.parse().expect("a size"), seconds.parse().expect("seconds"));
    let answer = |figures: &[f64]| {
        let words: Vec<String> = figures.iter().map(f64::to_string).collect();
        writeln!(std::io::stderr(), "{}", words.join(" ")).expect("the parent reads");
    };
    match role.as_str() {
        "produce" => produce(&mut *links::sender(kind, name, size), way, size, seconds),
        "consume" => answer(&[consume(&mut *links::receiver(kind, name, size), way, size)]),
        _ => {
            let (there, back) = name.split_once(',').expect("two names");
            match role.as_str() {
                "ping" => {
                    let (mut to, mut from) = (links::sender(kind, there, 8), links::receiver(kind, back, 8));
                    answer(&link::ping(&mut *to, &mut *from, seconds));
                }
                _ => {
                    let (mut from, mut to) = (links::receiver(kind, there, 8), links::sender(kind, back, 8));
                    link::pong(&mut *to, &mut *from);
                }
            }
        }
    }
}

fn produce(link: &mut dyn Link, way: Way, size: usize, seconds: f64) {
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let mut sequence = 0;
    let mut messages = vec![vec![0u64; size / 8]; BATCH];
    loop {
        match way {
            Way::One => {
                for _ in 0..BATCH {
                    fill(&mut messages[0], sequence);
                    link.send(bytemuck::cast_slice(&messages[0]));
                    sequence += 1;
                }
            }
            Way::Batch => {
                for message in &mut messages {
                    fill(message, sequence);
                    sequence += 1;
                }
                link.send_batch(&messages);
            }
        }
        if Instant::now() >= end {
            fill(&mut messages[0], END);
            link.send(bytemuck::cast_slice(&messages[0]));
            return link.finish();
        }
    }
}

fn consume(link: &mut dyn Link, way: Way, size: usize) -> f64 {
    let mut expected = 0;
    let mut start = None;
    loop {
        let mut ended = false;
        let mut look = |message: &[u8]| {
            let (number, sound) = check(message, size);
            assert!(sound, "message {number} is not whole");
            ended |= number == END;
            assert!(ended || number == expected, "message {number} instead of {expected}");
            expected += !ended as u64;
        };
        match way {
            Way::One => link.recv(&mut look),
            Way::Batch => link.recv_batch(&mut look),
        }
        let start = *start.get_or_insert_with(Instant::now);
        if ended {
            return expected as f64 / start.elapsed().as_secs_f64();
        }
    }
}
