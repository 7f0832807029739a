//! Measures how long the item of a killed consumer takes to reach another one.
use std::time::Duration;

use serde::Serialize;

use super::{
    Bench, TRIALS,
    figure::Figure,
    job::{Answer, Job, Work},
    rings::SHARED,
    team::{Halt, Team},
};
use crate::cli::common::exit::{Failure, code};
use crate::cli::common::signals;

/// How long the other consumer waits before the holder is killed, in milliseconds: it sleeps by then, and is at a
/// random point of its sleep.
const WAIT_MS: std::ops::Range<u64> = 30..80;

#[derive(Debug, Serialize)]
struct Line {
    trials: usize,
    redelivery_ns: Figure,
}

/// The time from SIGKILL of a consumer that holds an item to the moment at which a waiting consumer has it.
pub fn measure(bench: &Bench<'_>) -> Result<(), Halt> {
    let mut times = Vec::new();
    for _ in 0..TRIALS {
        bench.report.step("redelivery after SIGKILL");
        times.push(trial(bench)?);
    }
    let line = Line { trials: TRIALS, redelivery_ns: Figure::of(times) };
    let (median, most) =
        (line.redelivery_ns.time(), crate::cli::ctl::show::duration(line.redelivery_ns.most as u64));
    bench.report.emit("recovery", &[line], |_| {
        format!(
            "\nRecovery: another consumer has the item of a killed one after {median} (median of {TRIALS}; \
             at most {most})\n"
        )
    })?;
    Ok(())
}

fn trial(bench: &Bench<'_>) -> Result<f64, Halt> {
    let ring = SHARED.make(64, 1, false)?;
    let failed = |error| Failure::of_ring(ring.name(), &error);
    let mut producer = ring.producer().map_err(failed)?;
    producer.send(b"held").map_err(failed)?;
    let holder = Team::of_one(Job { core: None, work: Work::Hold { ring: ring.name().into() } }, bench.stop)?;
    let take = Work::Take { ring: ring.name().into() };
    let mut waiting = Team::of_one(Job { core: None, work: take }, bench.stop)?;
    waiting.go()?;
    if !signals::sleep(Duration::from_millis(fastrand::u64(WAIT_MS)), bench.stop) {
        return Err(Halt::Stopped);
    }
    let killed_ns = holder.kill();
    match waiting.answers()?[..] {
        [Answer::Taken { at_ns, redelivered: true }] => Ok(at_ns.saturating_sub(killed_ns) as f64),
        ref other => {
            let line = format!("the item that a killed consumer held came back as {other:?}");
            Err(Failure::new(code::ASSERTION, line).into())
        }
    }
}
