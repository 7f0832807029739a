//! Measures round trips: a message and its return.
use serde::Serialize;

use super::{
    Bench,
    cost::Used,
    figure::Figure,
    job::{Answer, Job, RoundTrips, Work},
    rings::{RINGS, RingKind},
    team::{Halt, Team},
    worker::ROUND_TRIP_SIZE,
};
use crate::cli::common::exit::{Failure, code};
use crate::cli::common::paint::Paint;
use crate::cli::common::table::{Table, cell};

/// How long the asking process pauses before each message where the other one must be asleep: many times longer
/// than any process spins.
const PAUSE_US: u64 = 1000;

/// The state of the other process when a message comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    pub title: &'static str,
    pause_us: u64,
}

const PEERS: [Peer; 2] = [Peer { title: "awake", pause_us: 0 }, ASLEEP];
pub const ASLEEP: Peer = Peer { title: "asleep", pause_us: PAUSE_US };

#[derive(Debug, Serialize)]
struct Line {
    ring: &'static str,
    peer: &'static str,
    size: usize,
    round_trips: u64,
    p50_ns: Figure,
    p99_ns: Figure,
    p999_ns: Figure,
}

/// The number of measurements in a round.
pub fn steps() -> usize {
    PEERS.len() * RINGS.len()
}

/// Percentiles of round trips, in interleaved rounds.
pub fn measure(bench: &Bench<'_>) -> Result<(), Halt> {
    let cases: Vec<(Peer, RingKind)> =
        PEERS.iter().flat_map(|&peer| RINGS.map(|ring| (peer, ring))).collect();
    let mut all = vec![Vec::new(); cases.len()];
    for _ in 0..bench.rounds() {
        for (&(peer, ring), all) in cases.iter().zip(&mut all) {
            bench.report.step(&format!("round trip, peer {}", peer.title));
            all.push(round_trips(bench, ring, peer, bench.seconds(), Team::work)?.0);
        }
    }
    let lines: Vec<Line> = cases.iter().zip(all).map(|(&(peer, ring), all)| line(peer, ring, &all)).collect();
    bench.report.emit("latency", &lines, |paint| text(&lines, paint))?;
    Ok(())
}

/// One measurement of `seconds`; `work` makes the processes work, and returns their answers. Also returns what
/// both processes used.
pub fn round_trips<'b>(
    bench: &Bench<'b>,
    kind: RingKind,
    peer: Peer,
    seconds: f64,
    work: impl FnOnce(&mut Team<'b>) -> Result<Vec<Answer>, Halt>,
) -> Result<(RoundTrips, Used), Halt> {
    let make = || kind.make(ROUND_TRIP_SIZE, 1, bench.args.fixed);
    let rings = [make()?, make()?];
    let [there, back] = rings.each_ref().map(|ring| ring.name().to_string());
    let pong = Work::Pong { there: there.clone(), back: back.clone() };
    let ping = Work::Ping { there, back, seconds, pause_us: peer.pause_us };
    let job = |number, work| Job { core: bench.machine.core(number), work };
    let mut team = Team::start(&[job(0, ping), job(1, pong)], bench.stop)?;
    match work(&mut team)?[..] {
        [Answer::RoundTrips { times, used }, Answer::Returned { used: others }] => {
            Ok((times, [used, others].into_iter().sum()))
        }
        ref other => Err(Failure::new(code::RUNTIME, format!("unexpected: {other:?}")).into()),
    }
}

fn line(peer: Peer, ring: RingKind, all: &[RoundTrips]) -> Line {
    let figure = |ns: fn(&RoundTrips) -> u64| Figure::of(all.iter().map(|one| ns(one) as f64).collect());
    Line {
        ring: ring.title,
        peer: peer.title,
        size: ROUND_TRIP_SIZE,
        round_trips: all.iter().map(|one| one.count).sum(),
        p50_ns: figure(|one| one.p50_ns),
        p99_ns: figure(|one| one.p99_ns),
        p999_ns: figure(|one| one.p999_ns),
    }
}

fn text(lines: &[Line], paint: Paint) -> String {
    let mut table = Table::new(&["PEER", "RING", ">P50", ">P99", ">P99.9"]);
    for line in lines {
        // A sleeping process answers too rarely for a thousandth to mean much.
        let rare = if line.peer == "awake" { line.p999_ns.time() } else { "-".into() };
        table.row(vec![
            cell(line.peer),
            cell(line.ring),
            cell(line.p50_ns.time()),
            cell(line.p99_ns.time()),
            cell(rare),
        ]);
    }
    format!(
        "\nRound trip: {ROUND_TRIP_SIZE} bytes to another process and back\n{}",
        table.render("  ", paint)
    )
}
