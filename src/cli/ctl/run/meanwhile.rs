//! Reports during a run: what it waits for, and its progress.
use std::{
    io::{self, IsTerminal},
    path::Path,
    time::{Duration, Instant},
};

use super::{Args, DEMONSTRATION, Input, Run};
use crate::cli::common::progress::{Goal, Progress, Subject};
use crate::cli::common::ui::Ui;
use crate::cli::transport::shm;

/// An input that has given nothing for this long is reported as awaited.
const PATIENCE: Duration = Duration::from_millis(500);
/// A run that takes longer than this shows its progress.
const LONG: Duration = Duration::from_secs(1);
/// The time between two checks.
const LOOK: Duration = Duration::from_millis(100);

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
            [Input::Lines(lines)] => Some(*lines),
            _ => None,
        };
        let bytes = inputs.iter().map(Input::size).sum::<Option<u64>>().filter(|&bytes| bytes > 0);
        let waits = inputs.iter().filter(|input| items.is_none() && input.size().is_none());
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
    pub fn look(&mut self, run: &Run) {
        if Instant::now() < self.due {
            return;
        }
        self.due = Instant::now() + LOOK;
        let time = run.start.elapsed();
        let (sent, received) = run.so_far();
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
            let ring = run.ring.clone();
            let look = move || shm::fill(&ring);
            let progress =
                Progress::start(self.ui.program(), Subject::new("received"), look, self.goal, run.start);
            self.progress = Some(progress);
        }
        if let Some(progress) = &self.progress {
            progress.update(received.items, received.bytes);
        }
    }
}
