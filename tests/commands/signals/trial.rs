//! One process, one signal, and what is there afterwards.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use crate::support::Running;

/// Signals that ask a process to leave.
pub const ASKING: [i32; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// Sends the signal, waits, and answers how the process ended and how long that took.
pub fn ask_to_leave(process: &mut Running, signal: i32) -> (ExitStatus, Duration) {
    let start = Instant::now();
    process.signal(signal);
    (process.ended(), start.elapsed())
}

/// It was ended by this signal, or had ended by itself, well, before the signal came.
#[track_caller]
pub fn left_as_asked(status: ExitStatus, signal: i32, what: &str) {
    let ended = status.signal() == Some(signal) || status.code() == Some(0);
    assert!(ended, "{what}: signal {signal}, and then {status}");
}

/// A tally of how long leaving took.
#[derive(Default)]
pub struct Times(Vec<Duration>);

impl Times {
    pub fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// The share of `of` that took no longer, in milliseconds.
    fn at(&self, share: f64) -> f64 {
        let last = self.0.len() - 1;
        self.0[(last as f64 * share).round() as usize].as_secs_f64() * 1e3
    }

    pub fn tell(&mut self, what: &str) {
        self.0.sort();
        let (p50, p99, most) = (self.at(0.5), self.at(0.99), self.at(1.0));
        let late = self.0.iter().filter(|time| **time > Duration::from_millis(100)).count();
        println!("| {what} | {} | {p50:.1} | {p99:.1} | {most:.1} | {late} |", self.0.len());
    }
}
