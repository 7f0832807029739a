//! The line on a terminal that shows what runs.

use std::io::{self, IsTerminal};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::common::escape;
use crate::cli::ctl::show;
use crate::cli::ctl::test::series::{Event, What};

/// How often the line is drawn.
const REDRAW_EVERY: Duration = Duration::from_millis(200);

/// The line on standard error. Elsewhere than on a terminal, nothing is shown.
#[derive(Debug, Clone)]
pub struct Live {
    bar: ProgressBar,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    /// How often scenarios have ended, and how often they will.
    ended: u64,
    all: Option<u64>,
    /// The scenarios that run, in the order of their begin.
    running: Vec<Running>,
    is_over: bool,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Running {
    place: usize,
    round: u64,
    name: String,
    runs: u64,
    /// How often a fault has struck.
    struck: usize,
}

impl Live {
    /// For this number of scenarios and of rounds.
    pub fn new(scenarios: usize, rounds: Option<u64>) -> Self {
        let all = rounds.map(|rounds| rounds.saturating_mul(scenarios as u64));
        let state = State { ended: 0, all, running: Vec::new(), is_over: false, thread: None };
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        // The template is a constant. If it were wrong, the default style would be used.
        if let Ok(style) = ProgressStyle::with_template("{elapsed:>4}  {wide_msg}") {
            bar.set_style(style);
        }
        let live = Live { bar, state: Arc::new(Mutex::new(state)) };
        if io::stderr().is_terminal() {
            live.bar.set_draw_target(ProgressDrawTarget::stderr());
            let shown = live.clone();
            // Without the thread, the line changes less often.
            let thread = thread::Builder::new().spawn(move || shown.keep_drawing()).ok();
            live.state().thread = thread;
        }
        live
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows the time while nothing happens.
    fn keep_drawing(&self) {
        while !self.state().is_over {
            self.bar.tick();
            thread::park_timeout(REDRAW_EVERY);
        }
    }

    /// Takes the next event.
    pub fn take(&self, event: &Event<'_>) {
        let mut state = self.state();
        let one = |running: &Running| (running.place, running.round) == (event.place, event.round);
        match event.what {
            What::Begun => state.running.push(Running {
                place: event.place,
                round: event.round,
                name: escape::text(&event.scenario.name),
                runs: 0,
                struck: 0,
            }),
            What::Run(outcome, _) => {
                if let Some(running) = state.running.iter_mut().find(|running| one(running)) {
                    running.runs += 1;
                    running.struck += outcome.strikes.len();
                }
            }
            What::Skipped(_) => state.ended += 1,
            What::Ended => {
                state.running.retain(|running| !one(running));
                state.ended += 1;
            }
            What::Broken(_) | What::Interrupted => {}
        }
        let text = state.text();
        drop(state);
        self.bar.set_message(text);
    }

    /// Calls `write` while the line is not shown.
    pub fn suspend<R>(&self, write: impl FnOnce() -> R) -> R {
        self.bar.suspend(write)
    }

    /// Removes the line.
    pub fn end(&self) {
        let thread = {
            let mut state = self.state();
            state.is_over = true;
            state.thread.take()
        };
        if let Some(thread) = thread {
            thread.thread().unpark();
            // If the thread has failed, less was shown; nothing else is lost.
            let _ = thread.join();
        }
        self.bar.finish_and_clear();
    }
}

impl State {
    fn text(&self) -> String {
        let mut text = match self.all {
            Some(all) => format!("{} of {}", show::count(self.ended), show::count(all)),
            None => format!("{} done", show::count(self.ended)),
        };
        if let Some(first) = self.running.first() {
            let struck = match first.struck {
                0 => String::new(),
                struck => format!(", {} struck", show::counted(struck as u64, "fault")),
            };
            text += &format!("  {}: run {}{struck}", first.name, show::count(first.runs + 1));
        }
        match self.running.len() {
            0 | 1 => text,
            more => text + &format!(" (and {} more)", more - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_names_the_oldest_scenario_that_runs() {
        let running =
            |name: &str, struck| Running { place: 0, round: 0, name: name.into(), runs: 13, struck };
        let running = vec![running("old", 1), running("new", 0)];
        let mut state = State { ended: 3, all: Some(20), running, is_over: false, thread: None };
        assert_eq!(state.text(), "3 of 20  old: run 14, 1 fault struck (and 1 more)");
        state.running.remove(0);
        assert_eq!(state.text(), "3 of 20  new: run 14");
        state.running.clear();
        state.all = None;
        assert_eq!(state.text(), "3 done");
    }
}
