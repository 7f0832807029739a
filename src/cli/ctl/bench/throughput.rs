//! Measures messages per second.
use serde::Serialize;

use super::{
    BATCH, Bench,
    cost::Used,
    figure::Figure,
    job::{Answer, Job, Timed, Work},
    message::Tally,
    rings::{RINGS, RingKind, SHARED},
    team::{Halt, Team},
};
use crate::cli::common::exit::{Failure, code};
use crate::cli::common::paint::Paint;
use crate::cli::common::table::{Table, cell};
use crate::cli::ctl::show;

/// The default sizes of messages.
const SIZES: [usize; 4] = [8, 64, 1 << 10, 16 << 10];
/// The size of messages with several processes on each side.
const CROWD_SIZE: usize = 64;
/// The number of those processes on each side.
const CROWD: usize = 2;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    pub ring: RingKind,
    pub producers: usize,
    pub consumers: usize,
    pub size: usize,
    pub batch: usize,
}

/// The result of one measurement.
#[derive(Debug)]
pub struct Streamed {
    pub messages: u64,
    /// What all processes used together.
    pub used: Used,
    timed: Vec<Timed>,
}

#[derive(Debug, Serialize)]
struct Line {
    ring: &'static str,
    producers: usize,
    consumers: usize,
    size: usize,
    batch: usize,
    messages_per_second: Figure,
    bytes_per_second: f64,
}

/// All rates, in interleaved rounds.
pub fn measure(bench: &Bench<'_>) -> Result<(), Halt> {
    let cases = cases(bench.size, bench.processes);
    let mut rates = vec![Vec::new(); cases.len()];
    for _ in 0..bench.rounds() {
        for (case, rates) in cases.iter().zip(&mut rates) {
            bench.report.step(&format!(
                "throughput of {} x {} processes, {} B",
                case.producers, case.consumers, case.size
            ));
            rates.push(case.stream(bench, bench.seconds(), Team::work)?.rate()?);
        }
    }
    let lines: Vec<Line> = cases.iter().zip(rates).map(|(case, rates)| case.line(rates)).collect();
    bench.report.emit("throughput", &lines, |paint| text(&lines, paint))?;
    Ok(())
}

/// The number of measurements in a round.
pub fn steps(size: Option<usize>, processes: Option<(usize, usize)>) -> usize {
    cases(size, processes).len()
}

/// The cases of a round: each with single messages, followed by the same in batches.
pub fn cases(size: Option<usize>, processes: Option<(usize, usize)>) -> Vec<Case> {
    let sizes = size.map_or(SIZES.to_vec(), |size| vec![size]);
    let (producers, consumers) = processes.unwrap_or((1, 1));
    let mut cases = Vec::new();
    let mut add = |ring: RingKind, producers, consumers, size| {
        if !ring.exclusive || (producers, consumers) == (1, 1) {
            cases.extend([1, BATCH].map(|batch| Case { ring, producers, consumers, size, batch }));
        }
    };
    for size in sizes {
        RINGS.iter().for_each(|&ring| add(ring, producers, consumers, size));
    }
    if processes.is_none() {
        add(SHARED, CROWD, CROWD, size.unwrap_or(CROWD_SIZE));
    }
    cases
}

impl Case {
    /// One measurement of `seconds`; `work` makes the processes work, and returns their answers.
    pub fn stream<'b>(
        &self,
        bench: &Bench<'b>,
        seconds: f64,
        work: impl FnOnce(&mut Team<'b>) -> Result<Vec<Answer>, Halt>,
    ) -> Result<Streamed, Halt> {
        let ring = self.ring.make(self.size, self.producers, bench.args.fixed)?;
        let mut team = Team::start(&self.jobs(ring.name(), bench, seconds), bench.stop)?;
        Ok(Streamed::of(work(&mut team)?)?)
    }

    fn jobs(&self, ring: &str, bench: &Bench<'_>, seconds: f64) -> Vec<Job> {
        let (size, batch) = (self.size, self.batch);
        let send = |number| Work::Send { ring: ring.into(), sender: number as u8, size, batch, seconds };
        let receive = |_| Work::Receive { ring: ring.into(), size, batch };
        let works = (0..self.producers).map(send).chain((0..self.consumers).map(receive));
        works.enumerate().map(|(number, work)| Job { core: bench.machine.core(number), work }).collect()
    }

    fn line(&self, rates: Vec<f64>) -> Line {
        let rate = Figure::of(rates);
        Line {
            ring: self.ring.title,
            producers: self.producers,
            consumers: self.consumers,
            size: self.size,
            batch: self.batch,
            messages_per_second: rate,
            bytes_per_second: rate.median * self.size as f64,
        }
    }
}

impl Streamed {
    fn of(answers: Vec<Answer>) -> Result<Self, Failure> {
        let (mut sent, mut received) = (Tally::default(), Tally::default());
        let (mut all_used, mut all_timed) = (Vec::new(), Vec::new());
        for answer in answers {
            match answer {
                Answer::Sent { tally, used } => {
                    sent = sent.and(tally);
                    all_used.push(used);
                }
                Answer::Received { tally, timed, used } => {
                    received = received.and(tally);
                    all_used.push(used);
                    all_timed.extend(timed);
                }
                answer => return Err(Failure::new(code::RUNTIME, format!("unexpected: {answer:?}"))),
            }
        }
        compare(sent, received)?;
        Ok(Streamed { messages: received.count, used: all_used.into_iter().sum(), timed: all_timed })
    }

    /// Messages per second.
    pub fn rate(&self) -> Result<f64, Failure> {
        rate(&self.timed)
    }
}

/// Checks that everything that was sent came exactly once.
fn compare(sent: Tally, received: Tally) -> Result<(), Failure> {
    if sent == received {
        return Ok(());
    }
    let line = match sent.count == received.count {
        true => "other messages were received than sent".into(),
        false => format!("{} messages were sent, and {} received", sent.count, received.count),
    };
    Err(Failure::new(code::ASSERTION, line))
}

/// The rate of all consumers together: from the first message to the last.
fn rate(timed: &[Timed]) -> Result<f64, Failure> {
    let messages: u64 = timed.iter().map(|timed| timed.messages).sum();
    let start = timed.iter().map(|timed| timed.start_ns).min().unwrap_or_default();
    let end = timed.iter().map(|timed| timed.end_ns).max().unwrap_or_default();
    if messages == 0 || end <= start {
        let failure = Failure::new(code::RUNTIME, "too few messages arrived to compute a rate");
        return Err(failure.hint("a longer --seconds"));
    }
    Ok(messages as f64 * 1e9 / (end - start) as f64)
}

fn text(lines: &[Line], paint: Paint) -> String {
    let mut table =
        Table::new(&["PROCESSES", ">SIZE", "RING", ">ONE AT A TIME", ">BATCHES OF 64", ">BYTES/S"]);
    // Each case with single messages, followed by the same in batches.
    for pair in lines.chunks_exact(2) {
        let [one, batches] = pair else { continue };
        table.row(vec![
            cell(format!("{} x {}", one.producers, one.consumers)),
            cell(show::bytes(one.size as u64)),
            cell(one.ring),
            cell(one.messages_per_second.rate()),
            cell(batches.messages_per_second.rate()),
            cell(show::bytes(one.bytes_per_second.max(batches.bytes_per_second) as u64)),
        ]);
    }
    format!(
        "\nThroughput: messages a second, each copied in, copied out, checked and acknowledged\n{}",
        table.render("  ", paint)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_doubled_or_exchanged_message_fails_an_assertion() {
        assert!(compare(Tally::of(0..9), Tally::of(0..9)).is_ok());
        for received in [0..8, 0..10, 1..10] {
            assert_eq!(compare(Tally::of(0..9), Tally::of(received)).unwrap_err().code, code::ASSERTION);
        }
    }

    #[test]
    fn several_consumers_count_together() {
        let timed = |messages, start_ns, end_ns| Timed { messages, start_ns, end_ns };
        assert_eq!(rate(&[timed(10, 0, 500), timed(20, 400, 1000)]).unwrap(), 30e6);
        assert!(rate(&[timed(0, 5, 5)]).is_err());
        assert!(rate(&[]).is_err());
    }

    #[test]
    fn an_exclusive_ring_is_measured_with_one_producer_and_one_consumer() {
        assert_eq!(cases(None, None).len(), 4 * 2 * 2 + 2);
        assert_eq!(cases(Some(100), Some((1, 1))).len(), 4);
        let cases = cases(None, Some((3, 1)));
        assert!(cases.len() == 8 && cases.iter().all(|case| case.ring == SHARED && case.producers == 3));
    }
}
