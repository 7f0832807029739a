//! Reports during a run: what it waits for, and its progress.
use std::{
    io::{self, IsTerminal},
    path::Path,
    time::{Duration, Instant},
};

use super::{Args, DEMONSTRATION, Input, verify::Digest};
use crate::Ring;
use crate::cli::common::progress::{Extra, Goal, Kind, Progress, Subject};
use crate::cli::common::ui::Ui;
use crate::cli::transport::shm;

/// An input that has given nothing for this long is reported as awaited.
const PATIENCE: Duration = Duration::from_millis(500);
/// A run that takes longer than this shows its progress.
const LONG: Duration = Duration::from_secs(1);
/// The time between two checks.
const LOOK: Duration = Duration::from_millis(100);

/// The progress of a run with kills.
const WITH_KILLS: Subject =
    Subject { extras: &[Extra { word: "processes killed", kind: Kind::Total }], ..Subject::new("received") };

/// How far a run is.
pub struct Standing<'r> {
    pub start: Instant,
    /// What the producers got and the consumers wrote.
    pub sent: Digest,
    pub received: Digest,
    /// The ring, if it stays the same during the run.
    pub ring: Option<&'r Ring>,
    /// The number of killed processes, in a run with kills.
    pub killed: Option<u64>,
}

/// Checks a run from time to time.
pub struct Meanwhile {
    ui: Ui,
    /// The inputs that may have nothing for a while; `None` once that was reported.
    waits_for: Option<String>,
    goal: Goal,
    /// Whether there is a terminal for the progress that nothing else is written to.
    may_show: bool,
    progress: Option<Progress>,
    due: Instant,
}

impl Meanwhile {
    /// For a run of these inputs.
    pub fn new(args: &Args, inputs: &[Input], ui: Ui) -> Self {
        let framing = args.framing().extra_bytes();
        let items = match inputs {
            [Input::Lines { count, .. }] => Some(*count).filter(|count| *count < u64::MAX),
            _ => None,
        };
        let bytes = inputs.iter().map(Input::size).sum::<Option<u64>>().filter(|&bytes| bytes > 0);
        let waits =
            inputs.iter().filter(|input| !matches!(input, Input::Lines { .. }) && input.size().is_none());
        let names: Vec<String> = waits.map(Input::name).collect();
        let takes_terminal = args.output.as_deref() == Some(Path::new("-")) && io::stdout().is_terminal();
        Meanwhile {
            ui,
            waits_for: (!names.is_empty()).then(|| names.join(", ")),
            goal: Goal { items, bytes, framing, ..Goal::default() },
            may_show: io::stderr().is_terminal() && !takes_terminal,
            progress: None,
            due: Instant::now(),
        }
    }

    /// Checks the run. Call this often.
    pub fn look<'r>(&mut self, standing: impl FnOnce() -> Standing<'r>) {
        if Instant::now() < self.due {
            return;
        }
        self.due = Instant::now() + LOOK;
        let Standing { start, sent, received, ring, killed } = standing();
        let time = start.elapsed();
        if sent.items > 0 {
            self.waits_for = None;
        } else if time >= PATIENCE
            && let Some(names) = self.waits_for.take()
        {
            self.ui.note(&format!(
                "waiting for items from {names} (ringctl run --lines {DEMONSTRATION} makes its own)"
            ));
        }
        if self.may_show && time >= LONG && self.progress.is_none() {
            let subject = if killed.is_some() { WITH_KILLS } else { Subject::new("received") };
            let ring = ring.cloned();
            let look = move || ring.as_ref().and_then(|ring| shm::fill(ring));
            self.progress = Some(Progress::start(self.ui.program(), subject, look, self.goal, start));
        }
        if let Some(progress) = &self.progress {
            progress.update(received.items, received.bytes);
            progress.update_extras([killed.unwrap_or_default()]);
        }
    }
}
