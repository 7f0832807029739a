//! Measures what a waiting consumer costs.
use std::{fs, time::Duration};

use nix::{
    time::{ClockId, clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};
use serde::Serialize;

use super::{
    Bench,
    job::{Job, Work},
    rings::{RingKind, SHARED},
    team::{Halt, Team},
};
use crate::{
    cli::common::{exit::Failure, signals},
    sys::command::clock,
};

/// How many times longer this takes than other measurements: there is little to count.
const LENGTH: f64 = 10.0;
/// How many times longer the wait before it takes, since a wait begins with shorter sleeps.
const SETTLING: f64 = 3.0;

#[derive(Debug, Serialize)]
pub struct Line {
    seconds: f64,
    pub cpu_percent: f64,
    pub wakeups_per_second: f64,
}

/// The processor time and the wake-ups of a blocked consumer.
pub fn measure(bench: &Bench<'_>) -> Result<(), Halt> {
    bench.report.step("a consumer that waits");
    let line = cost(bench, SHARED)?;
    let Line { seconds, cpu_percent, wakeups_per_second } = line;
    bench.report.emit("idle", &[line], |_| {
        format!(
            "\nIdle: a consumer that waits takes {cpu_percent:.3} % of a core, and wakes {wakeups_per_second:.1} \
             times a second (over {seconds:.1} s)\n"
        )
    })?;
    Ok(())
}

/// The cost of a consumer of such a ring, with a producer attached that sends nothing.
pub fn cost(bench: &Bench<'_>, kind: RingKind) -> Result<Line, Halt> {
    let ring = kind.make(64, 1, false)?;
    let _producer = ring.producer().map_err(|error| Failure::of_ring(ring.name(), &error))?;
    let work = Work::Take { ring: ring.name().into() };
    let mut team = Team::of_one(Job { core: None, work }, bench.stop)?;
    team.go()?;
    let sleep =
        |times: f64| match signals::sleep(Duration::from_secs_f64(times * bench.seconds()), bench.stop) {
            true => Ok(()),
            false => Err(Halt::Stopped),
        };
    sleep(SETTLING)?;
    // The team has one process.
    let id = team.ids().next().unwrap_or_default();
    let before = Reading::of(id)?;
    sleep(LENGTH)?;
    Ok(Reading::of(id)?.since(&before))
}

/// What a process has used so far.
struct Reading {
    at_ns: u64,
    cpu: Duration,
    wakeups: u64,
}

impl Reading {
    fn of(id: u32) -> Result<Self, Failure> {
        let failed = |error: nix::Error| Failure::io("reading a process' clock", &error.into());
        let clock: ClockId = clock_getcpuclockid(Pid::from_raw(id as i32)).map_err(failed)?;
        let cpu = Duration::from(clock_gettime(clock).map_err(failed)?);
        let path = format!("/proc/{id}/status");
        let status = fs::read_to_string(&path).map_err(|error| Failure::io(path, &error))?;
        let wakeups = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        let wakeups = wakeups.and_then(|number| number.trim().parse().ok()).unwrap_or_default();
        Ok(Reading { at_ns: clock::monotonic_ns(), cpu, wakeups })
    }

    fn since(&self, before: &Reading) -> Line {
        let seconds = (self.at_ns - before.at_ns) as f64 / 1e9;
        Line {
            seconds,
            cpu_percent: 100.0 * self.cpu.saturating_sub(before.cpu).as_secs_f64() / seconds,
            wakeups_per_second: self.wakeups.saturating_sub(before.wakeups) as f64 / seconds,
        }
    }
}
