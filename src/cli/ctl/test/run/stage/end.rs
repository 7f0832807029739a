//! When a run is over: each process has ended, the time is up, or an output is too large.

use std::thread;
use std::time::{Duration, Instant};

use super::Stage;
use crate::cli::common::exit::Failure;
use crate::cli::ctl::test::run::instance::{Instance, ended_text};
use crate::cli::ctl::test::run::outcome::Cut;
use crate::cli::ctl::test::run::{Ended, after};
use crate::cli::ctl::test::scenario::ProgramSpec;

/// The time between two checks of a process that was asked to end.
const POLL: Duration = Duration::from_millis(1);

/// The time between two checks of the sizes of the outputs.
pub const SIZES: Duration = Duration::from_millis(20);

impl Stage<'_> {
    /// Whether the run is over, and why.
    pub fn has_ended(&mut self, will_restart: bool) -> Result<Option<Ended>, Failure> {
        let ended = self.end(will_restart);
        let now = Instant::now();
        if now >= self.sizes_due || ended.is_some() {
            self.sizes_due = now + SIZES;
            if let Some(why) = self.flooded()? {
                return Ok(Some(Ended::Cut(Cut::Output, why)));
            }
        }
        Ok(ended)
    }

    fn end(&self, will_restart: bool) -> Option<Ended> {
        let failed = |one: &&Instance| one.ready.is_none() && one.ended.is_some() && !one.was_struck_down();
        // Until its trace has said whether a fault struck it, that is open.
        if let Some(one) = self.instances.iter().find(failed).filter(|one| one.traces.is_empty()) {
            let how = one.ended.map(|(ended, _)| ended_text(ended)).unwrap_or_default();
            let why = format!("{} {how} before it was ready", one.process.name());
            return Some(Ended::Cut(Cut::Unready, why));
        }
        let started =
            self.started.iter().zip(&self.scenario.programs).all(|(count, one)| *count == one.count);
        let waits = |one: &Instance| !self.program(one).background && one.is_active();
        // A process that was started again must come to be ready, or end.
        let becomes_ready = |one: &Instance| one.ready.is_none() && one.ended.is_none();
        let runs = self.instances.iter().any(|one| waits(one) || becomes_ready(one));
        if started && !runs && !will_restart && self.unstarted.is_empty() {
            return Some(Ended::Over);
        }
        let timeout = self.timeout();
        if Instant::now() < after(self.began, timeout) {
            return None;
        }
        let names = |is_meant: &dyn Fn(&Instance) -> bool| {
            let meant = self.instances.iter().filter(|one| is_meant(one));
            meant.map(|one| one.process.name()).collect::<Vec<_>>().join(", ")
        };
        let part = |what: &str, names: String| {
            if names.is_empty() { String::new() } else { format!(", {what}: {names}") }
        };
        let unready = part("not ready", names(&|one| one.ready.is_none() && one.ended.is_none()));
        let running = part("still running", names(&waits));
        let unstarted = part("not started, for want of its input", self.unstarted.join(", "));
        Some(Ended::Cut(Cut::TimedOut, format!("not over after {timeout:?}{unstarted}{unready}{running}")))
    }

    /// Whether an output is too large, as far as it was looked at.
    pub fn is_flooded(&mut self) -> bool {
        let now = Instant::now();
        let is_due = now >= self.sizes_due;
        if is_due {
            self.sizes_due = now + SIZES;
        }
        is_due && !matches!(self.flooded(), Ok(None))
    }

    /// The first output that has more bytes than its limit, in words.
    ///
    /// # Errors
    /// The size of an output is not known.
    pub fn flooded(&self) -> Result<Option<String>, Failure> {
        for one in &self.instances {
            let Some(most) = self.program(one).output_limit else { continue };
            let process = &one.process;
            let history = process.log().map(|log| ("the descriptor of its history", log));
            let streams = [("standard output", process.stdout()), ("standard error", process.stderr())];
            for (stream, output) in streams.into_iter().chain(history) {
                let failed = |error| Failure::io(format!("{:?}", output.path()), &error);
                let size = output.size().map_err(failed)?;
                if size > most {
                    let name = process.name();
                    let line = format!(
                        "{name} wrote {size} bytes to {stream}, expected at most {most} (output-limit)"
                    );
                    return Ok(Some(line));
                }
            }
        }
        Ok(None)
    }

    /// Asks the processes of the background to end, and kills those that do not.
    pub fn end_background(&mut self) {
        let begin = Instant::now();
        let specs: Vec<&ProgramSpec> = self.instances.iter().map(|one| self.program(one)).collect();
        for (one, spec) in self.instances.iter_mut().zip(&specs) {
            one.descriptors = one.descriptors.filter(|_| one.ended.is_none());
            if one.is_active() && spec.background {
                // Fails only if it has ended meanwhile.
                let _ = one.process.signal(spec.stop.0.0 as i32);
                let _ = one.process.resume();
            }
        }
        for (place, spec) in specs.iter().enumerate() {
            while self.instances[place].is_active() && begin.elapsed() < spec.stop.1 && !self.stop.is_raised()
            {
                match self.instances[place].process.ended() {
                    Ok(Some(ended)) => self.instances[place].ended = Some((ended, Instant::now())),
                    // The caller sees that an output is too large.
                    Ok(None) if self.is_flooded() => return,
                    Ok(None) => thread::sleep(POLL),
                    Err(_) => break,
                }
            }
        }
    }
}
